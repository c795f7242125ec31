"""How many states a law will spread over: foreseen, and told early where they are too many; against laws known in closed form."""

import re

import numpy as np
import pytest
from scipy.stats import binom, poisson

import cme
from cme import memory
from cme.progress import Progress
from cme.projection.forecast import Forecast
from cme.states import StateSpace

SPREADING = cme.parse("Prey -> 2 Prey @ 10; Prey + Predator -> 2 Predator @ 0.01; Predator -> 0 @ 10; Prey = 1000; Predator = 1000")


def box(network, mean, covariance, half):
    """The states around a mean, and a Gaussian law on them."""
    axis = np.arange(-half, half + 1)
    away = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    p = np.exp(-0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away))
    return StateSpace.holding(network, away + np.array(mean)), p / p.sum()


def test_too_many_states_are_foreseen():
    with pytest.raises(
        cme.ConvergenceError,
        match=r"the law spreads: \d+ states are kept at t=0\.0\d+, .* about .* are needed .* max_states=100000 will be passed",
    ):
        cme.fsp(SPREADING, [10.0], max_states=100_000)


def test_too_much_memory_is_foreseen(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    with pytest.raises(cme.ConvergenceError, match=r"GB of memory, and 0\.02 GB are available: end earlier, loosen tol"):
        cme.fsp(SPREADING, [0.5])


def test_a_law_that_fits_is_not_refused():  # two Poisson laws, whose spread comes to rest
    network = cme.parse("0 -> X @ 500; X -> 0 @ 1; 0 -> Y @ 500; Y -> 0 @ 1; X = 400; Y = 400")
    law = cme.fsp(network, [3.0], tol=1e-4, method="projection", max_states=60_000)
    assert law.info["states_in_use"] > 20_000  # it has been looked at
    assert law.lost[-1] + law.integration_error[-1] <= 1e-4


def test_what_is_foreseen_is_told_beside_the_progress(monkeypatch):
    notes = []
    monkeypatch.setattr(Progress, "to", lambda self, done, note="": notes.append((done, note)))
    network = cme.parse("0 -> X @ 2000; X -> 0 @ 1; 0 -> Y @ 2000; Y -> 0 @ 1; X = 1500; Y = 1500")
    law = cme.fsp(network, [2.0], tol=1e-2, method="projection", max_states=400_000)
    told = [(done, float(match[1]), float(match[2])) for done, note in notes if (match := re.search(r"about (.*) by t=(.*)$", note))]
    assert told
    needed = int(np.searchsorted(np.sort(law.p[0])[::-1].cumsum(), 0.99)) + 1
    for done, number, when in told:
        assert done < 2.0
        assert when == pytest.approx(2.0, rel=0.1)
        assert number == pytest.approx(needed, rel=0.2)
    assert re.fullmatch(r"\d+ states", notes[0][1])  # nothing is foreseen from the start


def test_numbers_foreseen_are_those_of_poisson_laws():
    network, tol = cme.parse("0 -> X @ 400; X -> 0 @ 1; 0 -> Y @ 300; Y -> 0 @ 1; X = 100; Y = 100"), 1e-6
    times, numbers = Forecast(network, 0.0, 5.0, tol, 10**6)._ahead(0.0, np.array([100.0, 100.0]), 1e-9 * np.eye(2))
    for t in (1.0, 3.0):
        laws = []
        for rate in (400, 300):  # those that were there, and those that came
            there, came = binom.pmf(np.arange(101), 100, np.exp(-t)), poisson.pmf(np.arange(700), rate * (1 - np.exp(-t)))
            laws.append(np.convolve(there, came))
        p = np.sort(np.outer(*laws).ravel())[::-1]
        exact = np.searchsorted(np.cumsum(p), p.sum() - tol) + 1
        assert np.exp(np.interp(t, times, numbers)) == pytest.approx(exact, rel=0.05)


def test_pairs_count_half():
    """Counts that change by two: half as many states."""
    forecast = Forecast(cme.parse("0 -> 2 X @ 1; 2 X -> 0 @ 1; 0 -> Y @ 1; Y -> 0 @ 1"), 0.0, 1.0, 1e-6, 10**6)
    assert np.exp(forecast._log_states(np.eye(2) * 400)) == pytest.approx(np.pi * 200 * -2 * np.log(1e-6), rel=1e-6)


def test_two_clouds_tell_nothing():
    network = cme.parse("0 -> X @ 1000; X -> 0 @ 1; 0 -> Y @ 1000; Y -> 0 @ 1")
    forecast = Forecast(network, 0.0, 1.0, 1e-6, 10**4)
    forecast._next_look = 0
    space, p = box(network, (1000, 1000), np.eye(2) * 20.0, 60)
    forecast.look(space, p, 0.1)
    assert forecast._before is not None
    forecast._next_look = 0
    axis = space.states[:, 0] - 1000.0
    apart = np.exp(-0.5 * ((abs(axis) - 40) ** 2 + (space.states[:, 1] - 1000.0) ** 2) / 9)
    forecast.look(space, apart / apart.sum(), 0.2)
    assert forecast._before is None


def test_a_law_that_parts_is_not_foreseen():
    """From between two wells the approximation spreads for ever, the law comes to rest in both: nothing is said then."""
    network = cme.parse("""
        0 => X @ 900 + 2400*X^4/(2000^4 + X^4); X -> 0 @ 1.05; 0 -> Y @ 1500; Y -> 0 @ 1
        X = 2000; Y = 1500
    """)
    times, numbers = Forecast(network, 0.0, 200.0, 1e-6, 10**6)._ahead(0.0, np.array([2000.0, 1500.0]), np.diag([100.0, 1500.0]))
    assert times[-1] < 20
    assert numbers.max() < np.log(1.2e6)
    _, wide = Forecast(SPREADING, 0.0, 10.0, 1e-6, 10**6)._ahead(0.0, np.array([1000.0, 1000.0]), np.eye(2) * 100.0)
    assert wide.max() > np.log(1.2e6)  # where the drift is nearly linear


def test_what_is_fast_does_not_hide_that_the_drift_bends():
    """X leaves an unstable point for two peaks at 1000 +- 100, and Y follows fast: there are never more than about 182000 states."""
    network = cme.parse("""
        0 => X @ 900 + 200*X^40/(1000^40 + X^40); X -> 0 @ 1; 0 -> Y @ 19000; X -> X + Y @ 1; Y -> 0 @ 20
        X = 1000; Y = 1000
    """)
    forecast = Forecast(network, 0.0, 5.0, 1e-4, 250_000)
    _, numbers = forecast._ahead(0.0, np.array([1000.0, 1000.0]), np.array([[400.0, 5.0], [5.0, 1000.0]]))
    assert numbers.max() < np.log(182_000)


def test_one_look_is_no_forecast():
    """What is foreseen must have come true once before anything is refused."""
    network = cme.parse("0 -> X @ 1000; X -> 0 @ 1; 0 -> Y @ 1000; Y -> 0 @ 1")
    forecast = Forecast(network, 0.0, 5.0, 1e-6, 5000)
    forecast._next_look = 0
    forecast.look(*box(network, (1000, 1000), np.eye(2) * 20.0, 60), 0.01)
    forecast._next_look = 0
    forecast.look(*box(network, (1000, 1000), np.eye(2) * 90.0, 90), 0.0101)  # it has not
    forecast._next_look = 0
    with pytest.raises(cme.ConvergenceError, match="max_states=5000 will be passed near t="):
        forecast.look(*box(network, (1000, 1000), np.eye(2) * 90.0, 90), 0.0102)
