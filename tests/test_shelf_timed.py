"""What the catalogue says is exact about the models whose rates change in time; see test_shelf_models.py."""

import math

import numpy as np
import pytest
from scipy.stats import binom, poisson
from test_shelf_models import pmf

import cme


def check_law(name, times, exact):
    """`fsp`, and the means of `rate_equations` (these networks are linear), against a law (T, N)."""
    network = cme.load(name)
    law, species = cme.fsp(network, times, tol=1e-6), network.species_names[0]
    for t, p in enumerate(exact):
        np.testing.assert_allclose(pmf(law, species, len(p), t), p, atol=1e-6)
    means = [p @ np.arange(len(p)) for p in exact]
    assert cme.rate_equations(network, times)[species] == pytest.approx(means, rel=1e-6)


def test_driven_transcription():  # A.1 with a rate that changes in time
    times, w, d = np.array([3.0, 15.0, 30.0]), 2 * math.pi / 24, 0.5
    q = np.exp(-d * times)
    mean = 20 / d * (1 - q) + 20 * 0.9 * (w * q + d * np.sin(w * times) - w * np.cos(w * times)) / (d * d + w * w)
    check_law("driven_transcription", times, poisson.pmf(np.arange(160), mean[:, None]))


def test_induction():  # A.1, piece by piece
    times, d, made = [1.5, 4.0, 9.0], 0.8, {2.0: 25.5, 6.0: 0.5}
    exact = []
    for time in times:
        mean, now, rate = 0.0, 0.0, 0.5
        for change, later in [*made.items(), (time, 0.0)]:
            until = min(change, time)
            mean = rate / d + (mean - rate / d) * math.exp(-d * (until - now))
            now, rate = until, later if change < time else rate
        exact.append(np.convolve(poisson.pmf(np.arange(100), mean), binom.pmf(np.arange(6), 5, math.exp(-d * time))))
    check_law("induction", times, exact)


def test_outbreak_control():  # A.16: one generating function inside the other
    times = [2.0, 3.5, 12.0]

    def one_line(z, growth, t):
        grown = math.exp((growth - 1) * t)
        lost, more = (grown - 1) / (growth * grown - 1), growth * (grown - 1) / (growth * grown - 1)
        return (lost + (1 - lost - more) * z) / (1 - more * z)

    size = 4096
    z = np.exp(-2j * np.pi * np.arange(size) / size)
    exact = [np.fft.ifft(one_line(one_line(z, 0.6, max(t - 3, 0)), 1.8, min(t, 3)) ** 2).real for t in times]
    check_law("outbreak_control", times, exact)
