"""Propensities that move with time, thinned: the bounds against the formulas, the paths against closed forms and the integrated hazard."""

import math
from itertools import pairwise

import numpy as np
import pytest
import verdict
from scipy import stats
from scipy.integrate import quad

import cme
from cme import ratelaw
from cme.infix import parse, to_infix
from cme.sampling import motion
from cme.sampling.thinning import MOST_CELLS, cells_in_time, separate

# Factors f(t) >= 0 that bounds must hold: smooth, with zeros, jumps, kinks, pulses, a singular slope, and very fast.
FACTORS = [
    "1 + sin(time)", "2 + cos(3*time) + sin(7*time)", "time^2", "exp(-time)", "abs(sin(time))", "max(0, sin(2*time))", "sqrt(time)",
    "exp(-((time - 5)/0.001)^2)", "piecewise(1, sin(time) > 0, 0)", "floor(time)/(1 + time)", "1/(0.001 + (time - 3)^2)",
    "1 + sin(1000000*time)", "1 + tanh(50*(time - 4))", "(1 + 0.1*sin(time))^8", "rem(time, 1)",
]  # fmt: skip


@pytest.mark.parametrize("text", FACTORS)
def test_bounds_hold_on_their_cells(text):
    factor, horizon = parse(text), 10.0
    edges, low, top = cells_in_time([factor], horizon)
    assert edges[0] == 0
    assert edges[-1] == np.inf
    assert len(edges) - 1 == len(top) <= MOST_CELLS
    inner = np.append(edges[:-1], horizon)
    assert np.all(np.diff(inner) > 0)
    rng = np.random.default_rng(1)
    t = np.unique(np.concatenate([inner, np.nextafter(inner[1:], 0), np.nextafter(inner[:-1], 20), rng.uniform(0, horizon, 200_000)]))
    t = t[t <= horizon]
    f = np.broadcast_to(ratelaw.evaluate(factor, {"time": t}), t.shape)
    cell = np.searchsorted(inner, t, side="right") - 1
    for side in (np.minimum(cell, len(top) - 1), np.maximum(cell - (t == inner[cell]), 0)):  # an edge belongs to both
        assert np.all(f <= top[side, 0])
        assert np.all(f >= low[side, 0])
    waste = np.sum(np.diff(inner) * top[:, 0]) / max(np.mean(f) * horizon, 1e-300)
    assert waste < (2.1 if "1000000" in text else 1.4)


@pytest.mark.parametrize("text", ["sin(time)", "time - 5", "ln(time)", "1/time", "exp(exp(time))", "2*sin(time)^3"])
def test_what_may_be_negative_or_endless_is_not_thinned(text):
    assert cells_in_time([parse(text)], 10.0) is None


@pytest.mark.parametrize(
    ("law", "terms"),
    [
        ("X*k", {}),
        ("X*(1 + time)", {"X": "time + 1"}),
        ("X*0.7 + X*sin(time)", {"X": "0.7 + sin(time)"}),
        ("Y*X*2*time + X*Y", {"X*Y": "2*time + 1"}),
        ("piecewise(X, sin(time) > 0, 2*X)", {"X": "piecewise(1, sin(time) > 0, 0) + piecewise(0, sin(time) > 0, 2)"}),
        ("X*Y*time/(1 + Y) + 3*time", {"X*Y/(1 + Y)": "time", "1": "3*time"}),
        ("X*time/(1 + time)", {"X": "time/(time + 1)"}),
        ("(X + time)*(Y + 1)", {"X*(Y + 1)": "1", "Y + 1": "time"}),
        ("piecewise(X*time, X < 5, 7)", {"piecewise(X, X < 5, 0)": "time", "piecewise(0, X < 5, 7)": "1"}),
        ("-(X*(-time))", {"X": "time"}),
    ],
)
def test_terms_add_up_to_the_propensity(law, terms):
    formula = parse(law)
    found = separate(formula, {"time"})
    assert len(found) == len(terms)
    for term in found:
        assert ratelaw.names(term.in_time) <= {"time", "k"}
        assert "time" not in ratelaw.names(term.in_counts)
    values = {"X": np.array([0.0, 2.0, 9.0]), "Y": np.array([1.0, 0.5, 3.0]), "k": 0.7, "time": np.array([0.0, 1.3, 8.0])}
    if found:
        total = sum(ratelaw.evaluate(f, values) * ratelaw.evaluate(g, values) for f, g in found)
        np.testing.assert_allclose(total, ratelaw.evaluate(formula, values), rtol=1e-14)


@pytest.mark.parametrize("law", ["exp(-(time - X)^2)", "X/(X + time)", "min(X, time)", "X^time", "piecewise(X*time, time^2 < X, 0)"])
def test_what_mixes_time_and_counts_is_integrated(law):
    assert separate(parse(law), {"time"}) is None


# ----------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(("text", "places"), [(text, [3.0, 4.0, 5.0]) for text in FACTORS])
def test_immigration_is_poisson_with_the_integral_of_the_rate(text, places):
    scale = {"exp(-((time - 5)/0.001)^2)": 4000.0, "1/(0.001 + (time - 3)^2)": 0.1, "time^2": 0.03}.get(text, 1.0)
    rate = parse(f"{scale}*({text})")
    paths = cme.ssa(cme.parse(f"0 => X @ {to_infix(rate)}; X => 0 @ X*0"), [10.0], n_paths=4000, seed=1)
    assert "thinned" in paths.info["method"]
    if "1000000" in text:
        mean = 10 + (1 - math.cos(1e7)) / 1e6
    else:
        edges = sorted({*np.linspace(0, 10, 101), *places, 2.99, 3.01, 4.99, 5.01, 4.999, 5.001, 4.997, 5.003, *(np.pi * np.arange(4))})
        mean = sum(quad(lambda t: float(ratelaw.evaluate(rate, {"time": t})), a, b, limit=200)[0] for a, b in pairwise(edges))
    verdict.samples_match_pmf(paths["X"][:, 0], stats.poisson.pmf(np.arange(200), mean))


def test_a_gene_under_a_rhythm_has_the_law_of_the_master_equation():
    network = cme.parse("0 => X @ 6*(1 + cos(2*time))/(1 + (X/4)^2) + 1; X -> 0 @ 1; X + X => X @ 0.1*X*(X - 1)*time/(1 + time)")
    times = [0.5, 2.0, 5.0]
    paths, law = cme.ssa(network, times, n_paths=6000, seed=2), cme.fsp(network, times, tol=1e-9)
    assert paths.info["method"] == "direct, thinned, in straight lines between jumps"
    for k in range(3):
        verdict.samples_match_pmf(paths["X"][:, k], law["X"][k], lost=float(law.lost[k]))


def test_thinned_and_integrated_paths_have_one_law_with_events_clocks_and_conditions(monkeypatch):
    """A dose at a time, one that waits for counts, a delay, a clock that is set back, and a condition on the time."""
    network = cme.parse(
        "0 => X @ k*(1 + 0.9*sin(3*time)) + d*exp(-time); X -> 0 @ 0.5; k = 8; d = 4; c = 0; c' = 1; "
        "at time >= 1.5: k = 2*k; at X >= 12 after 0.25: X = 3; at c >= 0.9: c = 0, X = X + 1"
    )
    options = {"n_paths": 3000, "stop": "X >= 17 || time > 3.75"}
    thinned = cme.ssa(network, [1.0, 2.5, 4.0], seed=3, **options)
    monkeypatch.setattr(motion, "separate", lambda formula, moving: None)
    integrated = cme.ssa(network, [1.0, 2.5, 4.0], seed=4, **options)
    assert ("thinned" in thinned.info["method"], "thinned" in integrated.info["method"]) == (True, False)
    for k in range(3):
        verdict.samples_match(thinned["X"][:, k], integrated["X"][:, k])
    cells = np.quantile(integrated.stopped, np.linspace(0, 1, 20)[1:-1])
    verdict.samples_match(np.searchsorted(cells, thinned.stopped), np.searchsorted(cells, integrated.stopped))
    assert np.all((thinned.stopped < 3.75) | np.isclose(thinned.stopped, 3.75, rtol=1e-15))


@pytest.mark.parametrize("threads", [1, 2])
def test_paths_do_not_depend_on_threads_or_on_each_other(threads):
    network = cme.parse("0 => X @ 5*(1 + sin(time)); X -> 0 @ 1")
    whole = cme.ssa(network, [1.0, 5.0], n_paths=40, seed=5, threads=1)
    part = cme.ssa(network, [1.0, 5.0], n_paths=17, seed=5, threads=threads)
    np.testing.assert_array_equal(whole.counts[:17], part.counts)


@pytest.mark.parametrize(
    ("text", "times", "mean"),
    [
        ("0 => Y @ 2 + (1 - X)*(1 + cos(time)); X -> 0 @ 1e-9; X = 2", [0.5, 3.0], lambda t: t - np.sin(t)),
        ("0 => Y @ 4.8 + (1 - X)*0.8*(1 + sin(1000000*time)); X -> 0 @ 1e-9; X = 4", [1.0, 3.0], lambda t: 2.4 * t),
        ("0 => Y @ 8 + (1 - 4*X)*(1 + sin(3*time)); X -> 0 @ 1e-9; X = 1", [0.5, 2.0], lambda t: 5 * t - (1 - np.cos(3 * t))),
        ("0 => Y @ 7*exp(-time) + (2 - X)*exp(-time)*2; X -> 0 @ 1e-9; X = 4", [0.5, 2.0], lambda t: 3 * (1 - np.exp(-t))),
    ],
)
def test_terms_below_zero_in_a_sum_that_is_not(text, times, mean):
    """Poisson laws: Y only arrives, at a rate in time."""
    found = cme.ssa(cme.parse(text + "; Y = 0"), times, n_paths=20_000, seed=3)
    assert "thinned" in found.info["method"]
    expected = mean(np.array(times))
    y = found.counts[:, :, found.species_index("Y")]
    assert np.all(np.abs(y.mean(axis=0) - expected) < 5 * np.sqrt(expected / 20_000))
    assert np.all(np.abs(y.var(axis=0) / expected - 1) < 5 * np.sqrt((2 + 1 / expected) / 20_000))


def test_a_bound_that_is_nothing_but_rounding_is_no_negative_propensity():
    network = cme.parse("0 => X @ 20*(1 + sin(time)) + (3 - X)*(1 + sin(time)); X = 23")
    assert np.all(cme.ssa(network, [1.0, 3.0], n_paths=50, seed=1).counts == 23)
    grown = cme.ssa(network.with_initial(X=0), [60.0], n_paths=50, seed=1)
    assert np.all(grown.counts == 23)


def test_what_may_be_undefined_is_not_taken_for_sure():
    found = cme.ssa(cme.parse("0 => X @ piecewise(0, rem(1, max(time - 1, 0)) < 2, 5)"), [0.5, 0.9], n_paths=4000, seed=1)
    assert np.all(np.abs(found.counts[:, :, 0].mean(axis=0) - [2.5, 4.5]) < 5 * np.sqrt(np.array([2.5, 4.5]) / 4000))


# ---------------------------------------------------------------------------------------------------------- faults


def test_a_bound_that_does_not_hold_is_noticed(monkeypatch):
    def too_low(factors, horizon):
        edges, low, top = cells_in_time(factors, horizon)
        return edges, low, 0.9 * top

    monkeypatch.setattr(motion, "cells_in_time", too_low)
    with pytest.raises(cme.ConvergenceError, match=r"the propensity of reaction 'r1' is above its bound at time .* please report it"):
        cme.ssa(cme.parse("0 => X @ 5*(1 + sin(time))"), [50.0], n_paths=20, seed=1)


@pytest.mark.parametrize(
    ("law", "match"),
    [
        ("X*(sin(time) + 0.5)", "negative"),
        ("(5 - X)*(1 + time)*X", "negative"),
        ("(1 + time)/(4 - X)", "not a finite number|no finite number|is inf"),
    ],
)
def test_propensities_that_are_none_are_told_as_before(law, match):
    with pytest.raises(cme.ModelError, match=match):
        cme.ssa(cme.parse(f"0 => 2 X @ {law}; X = 2"), [50.0], n_paths=20, seed=1)
