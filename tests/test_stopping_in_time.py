"""Conditions that end paths whose rates, or whose condition, move with time; and lists of every event there."""

import math

import numpy as np
import pytest
import verdict
from scipy import stats

import cme


@pytest.fixture(params=["straight", "thinned", "integrated"])
def more(request, monkeypatch):
    """A condition is met in straight lines between jumps or along curves; what is added makes a curve of a line, and is below 1e-290."""
    if request.param == "integrated":
        monkeypatch.setattr("cme.sampling.motion.separate", lambda formula, moving: None)
    return {"straight": ""}.get(request.param, " + 1e-300*sin(time)")


def uniform(values):
    """Judge whether numbers are uniform in (0, 1), in 50 cells."""
    assert np.all((values > 0) & (values < 1))
    verdict.samples_match_pmf(np.floor(50 * np.asarray(values)), np.full(50, 0.02))


# -------------------------------------------------------------------------------------------------- first passages


def test_first_arrival_at_a_rate_in_time():
    """Survival exp(-L(t)) with L the integral of the rate, 2 (1 + sin t): L is 2 (t + 1 - cos t)."""
    network = cme.parse("0 => X @ 2*(1 + sin(time)); k := 2*(1 + sin(time))")
    paths = cme.ssa(network, [0.2, 30.0], n_paths=10_000, seed=1, stop="X >= 1")
    t = paths.stopped
    uniform(np.exp(-2 * (t + 1 - np.cos(t))))
    assert np.all(paths["X"][:, 1] == 1)
    np.testing.assert_array_equal(paths["X"][:, 0], t <= 0.2)
    np.testing.assert_allclose(paths["k"][:, 1], 2 * (1 + np.sin(t)), rtol=1e-12)  # and stays as it was when the path ended


@pytest.mark.parametrize("steps", [False, True])
def test_deaths_at_a_rate_in_time(steps):
    """With survival p(t) of each of ten, four or fewer are left by t with probability B(4; 10, p); p = exp(-0.15 t^2) or in steps."""
    if steps:  # in straight lines: the rate is 0.1 until 1, 0.8 until 2.5, then 2
        text = "X => 0 @ X*k; X = 10; k = 0.1; at time >= 1: k = 0.8; at time >= 2.5: k = 2"
    else:
        text = "X => 0 @ X*0.3*time; X = 10"
    paths = cme.ssa(cme.parse(text), 50.0, n_paths=8000, seed=2, stop="X <= 4")
    assert ("thinned" in paths.info["method"]) != steps
    t = paths.stopped
    hazard = 0.1 * np.minimum(t, 1) + 0.8 * np.clip(t - 1, 0, 1.5) + 2 * np.maximum(t - 2.5, 0) if steps else 0.15 * t**2
    uniform(stats.binom.cdf(4, 10, np.exp(-hazard)))
    assert np.all(paths.counts == 4)


def test_a_constant_rate_takes_the_same_time_in_each_engine(more):
    """Up to 12 at birth 10 and death 1: the direct method, and the engine for rates in time."""
    plain = cme.ssa(cme.parse("0 -> X @ 10; X -> 0 @ 1"), 1e3, n_paths=4000, seed=3, stop="X >= 12").stopped
    moving = cme.parse(f"0 => X @ 10*k{more}; X -> 0 @ 1; k = 1; at time >= 900: k = 2")
    found = cme.ssa(moving, 1e3, n_paths=4000, seed=4, stop="X >= 12")
    cells = np.quantile(plain, np.linspace(0, 1, 30)[1:-1])
    verdict.samples_match(np.searchsorted(cells, plain), np.searchsorted(cells, found.stopped))
    step = mean = 1 / 10
    for n in range(1, 12):
        step = (1 + n * step) / 10
        mean += step
    verdict.mean_matches(found.stopped, mean)


def test_a_line_that_rises_meets_arrivals_at_whole_times(more):
    """t = 1 + N(t) for arrivals at rate 1/2 comes first at n with the Borel law: the busy period of a queue with service time 1."""
    network = cme.parse(f"0 => X @ 0.5{more}; served = 0; served' = 1")
    paths = cme.ssa(network, [1.0, 2.5, 400.0], n_paths=4000, seed=5, stop="served >= 1 + X")
    met = np.rint(paths.stopped)
    np.testing.assert_allclose(paths.stopped, met, rtol=1e-9)
    if "straight" in paths.info["method"]:
        np.testing.assert_array_equal(paths.stopped, met)
        np.testing.assert_array_equal(paths["served"][:, 2], paths.stopped)
    n = np.arange(1, 60)
    verdict.samples_match_pmf(met - 1, np.exp(-n / 2 + (n - 1) * np.log(n / 2) - np.array([math.lgamma(k + 1) for k in n])))
    np.testing.assert_array_equal(paths["X"][:, 2], met - 1)


# ------------------------------------------------------------------------------- conditions that move by themselves


@pytest.mark.parametrize(
    ("text", "stop", "when"),
    [
        ("0 -> X @ 1; c = 0; c' = 1", "time >= 2.5", 2.5),
        ("0 -> X @ 1; c = 0; c' = 1", "time == 2.5", 2.5),
        ("0 -> X @ 1; c = 0; c' = 1", "c > 0.1 && time < 9", np.nextafter(0.1, 1)),
        ("0 => X @ 1 + sin(time)", "time >= 2.5", 2.5),
        ("0 -> X @ 1; c = 1; c' = -c", "c <= 0.5", math.log(2)),
        ("0 -> X @ 1; c = 0; c' = 1", "exp(-((time - 7.3)/1e-5)^2) > 0.5", 7.3 - 1e-5 * math.sqrt(math.log(2))),
        ("0 -> X @ 1; c = 0; at time >= 4: c = 1", "c == 1", 4.0),
        ("0 -> X @ 1; X = 3; c = 0; at time >= 4: X = 20", "X == 20", 4.0),
        ("0 -> X @ 1; c = 0; c' = 1", "c >= 0", 0.0),
    ],
)
def test_a_condition_is_met_when_it_turns_true(text, stop, when):
    paths = cme.ssa(cme.parse(text), [1.0, 20.0], n_paths=5, seed=6, stop=stop)
    np.testing.assert_allclose(paths.stopped, when, rtol=1e-9 if "-c" in text or "exp" in stop else 0)
    found = cme.ensemble(cme.parse(text), [1.0, 20.0], n_paths=5, seed=6, stop=stop)
    assert found.stopped.tolist() == [5 * (when <= 1), 5]


def test_it_is_looked_at_before_and_after_the_events_that_a_reaction_sets_off():
    divides = "0 -> X @ 3; c = 0; at X >= 10: X = 0, c = c + 1"
    before, after = (cme.ssa(cme.parse(divides), 50.0, n_paths=200, seed=7, stop=stop) for stop in ("X >= 10", "c > 0"))
    np.testing.assert_array_equal(before.stopped, after.stopped)
    assert np.all(before["X"] == 10)
    assert not before["c"].any()
    assert not after["X"].any()
    verdict.mean_matches(before.stopped, 10 / 3, math.sqrt(10) / 3)


def test_no_propensity_is_looked_at_once_a_path_has_ended():
    network = cme.parse("up: 0 => X @ piecewise(1 + time, X < 5, 0/0)")
    assert np.all(cme.ssa(network, 100.0, n_paths=3, seed=1, stop="X >= 5").counts == 5)


# ------------------------------------------------------------------------------------------------------ the path


def test_a_path_is_that_without_a_condition_until_it_ends(more):
    times = np.linspace(0, 2, 21)
    network = cme.parse(f"0 => X @ 10*k{more.replace('1e-300', '1')}; X -> 0 @ 1; k = 1; at time > 0.3: k = 1.5")
    free = cme.ssa(network, times, n_paths=30, seed=5, every_event=True)
    plain = cme.ssa(network, times, n_paths=30, seed=5, threads=1)
    ended = cme.ssa(network, times, n_paths=30, seed=5, stop="X >= 12", threads=2)
    listed = cme.ssa(network, times, n_paths=30, seed=5, stop="X >= 12", every_event=True)
    np.testing.assert_array_equal(free.counts, plain.counts)
    assert 0 < np.isfinite(ended.stopped).sum() < 30
    for m in range(30):
        (when, which), after = free.events[m], free.event_counts[m][:, 0]
        np.testing.assert_array_equal(np.append(0, after)[np.searchsorted(when, times, side="right")], free["X"][m])
        np.testing.assert_array_equal(np.diff(after, prepend=0), np.where(which == 0, 1, -1))
        met = np.flatnonzero(after >= 12)
        end = when[met[0]] if met.size else np.inf
        assert ended.stopped[m] == end
        before = times < end
        np.testing.assert_array_equal(ended["X"][m, before], free["X"][m, before])
        assert np.all(ended["X"][m, ~before] == 12)
        kept = slice(0, met[0] + 1 if met.size else len(when))
        np.testing.assert_array_equal(listed.events[m][0], when[kept])
    np.testing.assert_array_equal(listed.counts, ended.counts)
    np.testing.assert_array_equal(listed.stopped, ended.stopped)
    assert free.events_frame()["X"].tolist() == np.concatenate(free.event_counts)[:, 0].tolist()


def test_long_lists_of_events():  # more than there is room for at first
    network = cme.parse("0 => X @ 1000*(1 + 0.5*sin(time))")
    paths = cme.ssa(network, [1.0, 4.0], n_paths=3, seed=8, every_event=True)
    for (when, which), after, counts in zip(paths.events, paths.event_counts, paths.counts, strict=True):
        assert len(when) == counts[1, 0] > 3000
        np.testing.assert_array_equal(after[:, 0], np.arange(1, len(when) + 1))
        assert not which.any()


def test_an_ensemble_counts_the_same_paths():
    options = {"n_paths": 500, "seed": 9, "stop": "X <= 3 || time > 2.25"}
    network, times = cme.parse("X => 0 @ X*0.3*time; X = 10; k := time"), [1.0, 2.0, 2.25, 3.0]
    paths, found = cme.ssa(network, times, **options), cme.ensemble(network, times, threads=2, **options)
    assert found.stopped.tolist() == [int((paths.stopped <= time).sum()) for time in times]
    np.testing.assert_allclose(found["X"], paths["X"].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["k"], np.minimum(np.array(times), paths.stopped[:, None]).mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("stop", "match"),
    [
        ("log(X - 1) > 0", r"stop='log\(X - 1\) > 0' compares log10\(X - 1\), which is nan at \{X: 0\}; let it be a number there"),
        ("log(5 - time) > 10", r"compares log10\(-time \+ 5\), which is -inf at \{X: \d+, time: 5\}"),
    ],
)
@pytest.mark.parametrize("solver", [cme.ssa, cme.ensemble])
def test_what_is_compared_must_be_a_number(solver, stop, match):
    with pytest.raises(cme.ModelError, match=match):
        solver(cme.parse("0 => X @ 1 + time"), [20.0], n_paths=3, seed=1, stop=stop)


def test_names_are_checked():
    with pytest.raises(ValueError, match="stop='T > 3' uses 'T', which the network does not have; there are X, time"):
        cme.ssa(cme.parse("0 => X @ 1 + time"), [20.0], n_paths=3, seed=1, stop="T > 3")
