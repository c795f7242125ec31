"""Conditions that end paths: first-passage times against closed forms, and what is kept of paths that ended."""

import math

import numpy as np
import pytest
import verdict
from scipy import stats

import cme
from cme.sampling.methods import METHODS
from cme.sampling.stopping import stop_condition

BIRTH_DEATH = "0 -> X @ 10; X -> 0 @ 1; limit = 15; twice := 2*X"


def test_decay_to_a_count_takes_a_sum_of_exponential_times():  # mean sum 1/i, variance sum 1/i^2
    paths = cme.ssa(cme.parse("X -> 0 @ 1; X = 20"), 1e6, n_paths=8000, seed=1, stop="X <= 4")
    rest = np.arange(5, 21)
    verdict.mean_matches(paths.stopped, np.sum(1 / rest), math.sqrt(np.sum(1 / rest**2.0)))
    verdict.variance_matches(paths.stopped, np.sum(1 / rest**2.0))
    assert np.all(paths.counts == 4)
    assert np.all(paths.stopped < 1e6)


def first_passage_up(birth, death, target):
    """Mean time from 0 to a target of a chain with steps up by birth(n) and down by death(n): THEORY A.17 turned upside down."""
    step = total = 1 / birth(0)
    for n in range(1, target):
        step = (1 + death(n) * step) / birth(n)
        total += step
    return total


@pytest.mark.parametrize("method", METHODS)
def test_first_passage_of_birth_and_death_upwards(method):
    mean = first_passage_up(lambda n: 10.0, float, 15)
    paths = cme.ssa(cme.parse(BIRTH_DEATH), 1e5, n_paths=4000, seed=2, stop="X >= limit", method=method)
    verdict.mean_matches(paths.stopped, mean)
    assert np.all(paths["X"] == 15)


def test_extinction_from_the_top():  # THEORY A.17: S_i = 1/mu_i + (lambda_i/mu_i) S_{i+1}, tau_n = sum_{i <= n} S_i
    top, start, tau, s = 30, 4, 0.0, 0.0
    steps = {}
    for i in range(top, 0, -1):
        s = 1 / i + (0.9 * (i < top)) * s
        steps[i] = s
    tau = sum(steps[i] for i in range(1, start + 1))
    network = cme.parse(f"X => 2 X @ piecewise(0.9*X, X < {top}, 0); X -> 0 @ 1; X = {start}")
    paths = cme.ssa(network, 1e6, n_paths=8000, seed=3, stop="X == 0")
    verdict.mean_matches(paths.stopped, tau)


def test_survival_in_an_ensemble_is_that_of_the_paths():
    times = np.linspace(0, 3, 7)
    options = {"n_paths": 4000, "seed": 4, "stop": "X <= 2 || twice > 60"}
    network = cme.parse("X -> 0 @ 1; X = 6; twice := 2*X")
    paths, found = cme.ssa(network, times, **options), cme.ensemble(network, times, threads=2, **options)
    assert found.stopped.tolist() == [int((paths.stopped <= time).sum()) for time in times]
    np.testing.assert_array_equal(found.histogram("X", 6).counts, np.bincount(paths["X"][:, 6])[2:])
    law = stats.binom.cdf(2, 6, np.exp(-times))  # two or fewer of six are left
    for stopped, p in zip(found.stopped, law, strict=True):
        verdict.probability_matches(np.arange(4000) < stopped, p)
    at_once = cme.ensemble(network, times, n_paths=10, seed=4, stop="X >= 6")  # met at time zero, by which it counts
    assert at_once.stopped.tolist() == [10] * 7


@pytest.mark.parametrize("method", ["direct", "rejection", "next_reaction"])
def test_a_path_is_that_without_a_condition_until_it_ends(method):
    times = np.linspace(0, 2, 21)
    network = cme.parse(BIRTH_DEATH)
    free = cme.ssa(network, times, n_paths=50, seed=5, method=method, every_event=True)
    ended = cme.ssa(network, times, n_paths=50, seed=5, method=method, stop="X >= 8", threads=2)
    with_events = cme.ssa(network, times, n_paths=50, seed=5, method=method, stop="X >= 8", every_event=True)
    assert 0 < np.isfinite(ended.stopped).sum() < 50
    for m in range(50):
        (when, which), after = free.events[m], free.event_counts[m][:, 0]
        met = np.flatnonzero(after >= 8)
        end = when[met[0]] if met.size else np.inf
        assert ended.stopped[m] == end
        before = times < end
        np.testing.assert_array_equal(ended["X"][m, before], free["X"][m, before])
        assert np.all(ended["X"][m, ~before] == 8)
        kept = slice(0, met[0] + 1 if met.size else len(when))
        np.testing.assert_array_equal(with_events.events[m][0], when[kept])
        np.testing.assert_array_equal(with_events.events[m][1], which[kept])
    np.testing.assert_array_equal(with_events.counts, ended.counts)
    np.testing.assert_array_equal(with_events.stopped, ended.stopped)
    never = cme.ssa(network, times, n_paths=50, seed=5, method=method, stop="X >= 1000")
    np.testing.assert_array_equal(never.counts, free.counts)
    assert np.all(never.stopped == np.inf)
    assert free.stopped is None


@pytest.mark.parametrize("method", ["direct", "rejection", "next_reaction"])
def test_a_path_may_end_where_it_begins_and_goes_no_further(method):
    network = cme.parse("odd: 0 => X @ 5 - X; X = 5")  # beyond 5 the propensity would be negative
    paths = cme.ssa(network, [0.0, 1.0], n_paths=3, seed=1, method=method, stop="X == 5")
    assert paths.stopped.tolist() == [0, 0, 0]
    assert paths.counts.tolist() == [[[5], [5]]] * 3
    grown = cme.ssa(cme.parse("up: 0 => X @ piecewise(1, X < 5, 0/0)"), 100.0, n_paths=3, seed=1, method=method, stop="X >= 5")
    assert np.all(grown.counts == 5)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("X >", "stop='X >' can't be read"),
        ("Xx > 3", "stop='Xx > 3' uses 'Xx', which the network does not have; did you mean 'X'"),
        ("time > 3", "stop='time > 3' uses the time; paths end at the last of the times anyway"),
        ("X > poisson(3)", r"stop='X > poisson\(3\)' draws a random number; a condition is on what there is"),
        ("X + 1", "stop='X . 1' is no condition; write one that is true or false, such as 'X >= 100'"),
    ],
)
def test_refusals(text, match):
    for solver in (cme.ssa, cme.ensemble):
        with pytest.raises(ValueError, match=match):
            solver(cme.parse(BIRTH_DEATH), 1.0, n_paths=2, seed=1, stop=text)


def test_refusals_of_models():
    generator = cme.Generator.from_network(cme.parse("A -> B @ 1; A = 2"))
    with pytest.raises(ValueError, match="stop= is for networks; take first_passage for the times at which a generator comes to a state"):
        cme.ssa(generator, 1.0, n_paths=2, seed=1, stop="X > 3", initial=[1, 0, 0])


def test_the_condition_holds_only_species():
    network = cme.parse(BIRTH_DEATH)
    assert cme.ratelaw.names(stop_condition(network, "twice >= limit && X < 99")) == {"X"}
