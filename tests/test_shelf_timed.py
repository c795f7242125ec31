"""What the catalogue says is exact about the models whose rates change in time; see test_shelf_models.py."""

import math

import numpy as np
import pytest
import verdict
from scipy.stats import binom, poisson
from test_shelf_models import pmf

import cme


def check_law(name, times, exact):
    """`fsp`, `ssa` and the means of `rate_equations` (these networks are linear) against a law (T, N)."""
    network = cme.load(name)
    law, species = cme.fsp(network, times, tol=1e-6), network.species_names[0]
    paths = cme.ssa(network, times, n_paths=1000, seed=4)
    for t, p in enumerate(exact):
        np.testing.assert_allclose(pmf(law, species, len(p), t), p, atol=1e-6)
        verdict.samples_match_pmf(paths[species][:, t], p)
    means = [p @ np.arange(len(p)) for p in exact]
    assert cme.rate_equations(network, times)[species] == pytest.approx(means, rel=1e-6)


def test_driven_transcription():  # A.1 with a rate that changes in time
    times, w, d = np.array([3.0, 15.0]), 2 * math.pi / 24, 0.5
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


def test_dividing_cell():  # a Poisson law that is thinned by a half is a Poisson law
    times, mean, now, means = [0.9, 2.5, 5.5], 0.0, 0.0, {}
    for time in (0.9, 1, 2, 2.5, 3, 4, 5, 5.5):
        mean = 30 / 0.7 + (mean - 30 / 0.7) * math.exp(-0.7 * (time - now))
        mean, now = mean / 2 if isinstance(time, int) else mean, time
        means[time] = mean
    paths = cme.ssa(cme.load("dividing_cell"), times, n_paths=3000, seed=5)
    for t, time in enumerate(times):
        verdict.samples_match_pmf(paths["M"][:, t], poisson.pmf(np.arange(100), means[time]))
