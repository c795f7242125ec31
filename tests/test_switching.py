"""Rates of switching between sets: against mean first-passage times, a dense solution, and samples; refusals."""

import math

import numpy as np
import pytest

import cme

SETS = {"low": "X <= 82", "high": "X >= 563"}


def test_with_one_way_in_the_rates_are_inverse_passage_times():  # THEORY C4
    found = cme.switching_rates(cme.load("schlogl"), SETS)
    assert 1 / found.rate("low", "high") == pytest.approx(50307.861450, abs=1e-6)
    assert 1 / found.rate("high", "low") == pytest.approx(178100.490637, abs=1e-6)
    assert found.share.sum() == pytest.approx(1, rel=1e-13)
    law = cme.stationary(cme.load("schlogl"))
    assert found.inside == pytest.approx([law.probability(lambda x: x <= 82)[0], law.probability(lambda x: x >= 563)[0]], rel=1e-6)
    assert found.flux[0, 1] == pytest.approx(found.flux[1, 0], rel=1e-12)
    assert found.change < 1e-6


def test_rates_of_1e_minus_16_to_all_digits():  # THEORY C4, second set, Om = 80
    network = cme.parse("0 -> X @ 48; 2 X => 3 X @ 0.07*X*(X-1); X -> 0 @ 6.55; 3 X => 2 X @ X*(X-1)*(X-2)/6400; X = 8")
    found = cme.switching_rates(network, {"low": "X <= 8", "high": "X >= 320"})
    assert 1 / found.rate("low", "high") == pytest.approx(cme.first_passage(network, "X >= 320").mean(), rel=1e-12)
    back = cme.first_passage(network, "X <= 8", initial={"X": 320})
    assert 1 / found.rate("high", "low") == pytest.approx(back.mean(), rel=1e-12)
    assert 1 / found.rate("low", "high") == pytest.approx(7.513471e15, rel=1e-6)


def test_a_generator_against_linear_algebra():
    rng = np.random.default_rng(2)
    rates = rng.random((7, 7))
    found = cme.switching_rates(cme.Generator.from_rates(rates), {"a": "x <= 1", "b": "x == 4 || x == 5", "c": "x == 6"})
    of = [0, 0, -1, -1, 1, 1, 2]
    nodes = [(x, k) for k in range(3) for x in range(7) if of[x] in (-1, k)]
    a = np.zeros((len(nodes), len(nodes)))
    for j, (y, last) in enumerate(nodes):
        for x in range(7):
            if x != y:
                a[nodes.index((x, last if of[x] < 0 else of[x])), j] += rates[x, y]
    a -= np.diag(a.sum(axis=0))
    pi = np.linalg.svd(a)[2][-1]
    pi /= pi.sum()
    share = [sum(p for p, (_, last) in zip(pi, nodes, strict=True) if last == k) for k in range(3)]
    assert found.share == pytest.approx(share, rel=1e-12)
    for k, (first, second) in {(0, 1): ("a", "b"), (1, 2): ("b", "c"), (2, 0): ("c", "a")}.items():
        flux = sum(rates[x, y] * p for p, (y, last) in zip(pi, nodes, strict=True) for x in range(7) if last == k[0] and of[x] == k[1])
        assert found.rate(first, second) == pytest.approx(flux / share[k[0]], rel=1e-12)
    assert np.all(np.diag(found.rates) == 0)


def test_relaxation_of_the_whole():  # THEORY C4: eigenvalues -2.54967e-5, -.782198, -1.103946
    found = cme.switching_rates(cme.load("schlogl"), SETS)
    assert found.relaxation_rates(3) == pytest.approx([2.54967e-5, 0.782198, 1.103946], rel=2e-6)
    assert found.rates.sum() == pytest.approx(found.relaxation_rates(1)[0], rel=2e-3)
    ring = cme.Generator.from_rates(np.roll(np.eye(5), 1, axis=0))  # eigenvalues exp(2 pi i k / 5) - 1
    rates = cme.switching_rates(ring, {"a": "x == 0", "b": "x == 2"}).relaxation_rates(1)
    assert np.sort_complex(rates) == pytest.approx(1 - np.exp([2j * np.pi / 5, -2j * np.pi / 5]), rel=1e-9)
    with pytest.raises(ValueError, match="k must be a whole number >= 1, not 0"):
        found.relaxation_rates(0)


def test_two_species_with_many_ways_in():  # the sum of the rates is nearly the slowest eigenvalue: THEORY R1, -5.87661e-3
    network = cme.parse("0 => U @ 50/(1 + V^2.5); 0 => V @ 16/(1 + U); U -> 0 @ 1; V -> 0 @ 1; V = 15")
    found = cme.switching_rates(network, {"u": "U > 2*V && U > 20", "v": "V > 2*U && V > 10"})
    assert found.rates.sum() == pytest.approx(5.87661e-3, rel=0.02)
    assert found.change < 1e-6
    frame = found.to_frame()
    assert frame.time.tolist() == pytest.approx([1 / found.rate("u", "v"), 1 / found.rate("v", "u")])
    assert "u to v 0.00413" in repr(found)
    assert "switching_rates" in found._repr_html_()


def test_three_sets_in_a_row():
    found = cme.switching_rates(cme.load("schlogl"), {"low": "X <= 82", "top": "X == 256", "high": "X >= 563"})
    assert found.rate("low", "high") == 0
    assert math.isinf(found.to_frame().time.max())
    rise = cme.first_passage(cme.load("schlogl"), {"low": "X <= 82", "high": "X >= 563"}, initial={"X": 256})
    assert found.rate("top", "high") == pytest.approx(rise.probability[1] / rise.mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("network", "sets", "error", "match"),
    [
        ("X -> 0 @ 1; X = 3", {"a": "X > 1"}, ValueError, "sets must hold two conditions or more"),
        ("X -> 0 @ 1; X = 3", {"a": "X > 1", "b": "Y > 1"}, ValueError, "set 'b'='Y > 1' uses 'Y'"),
        ("0 -> X @ 1; X -> 0 @ 1", {"a": "X > 1", "b": "X < 3"}, ValueError, "'a' and 'b' both hold at {X: 2}"),
        (
            "X -> 2 X @ 0.5; X -> 0 @ 1; X = 3",
            {"a": "X == 3", "b": "X == 5"},
            cme.ModelError,
            r"from {X: 3} the process misses 'b' \(X == 5\) with a probability of 0\.774, so that it does not go on",
        ),
        ("A <-> B @ 1, 1; A = 3", {"a": "A == 3", "b": "A > 3"}, ValueError, r"from {A: 3, B: 0} the process never comes to 'b' \(A > 3\)"),
        (
            "0 -> X @ 0.5; X -> 0 @ 1",
            {"a": "X == 3", "b": "X < 0"},
            cme.ConvergenceError,
            "'b' holds in none of the 300 states around the start",
        ),
        ("0 => X @ 1 + time", {"a": "X == 3", "b": "X == 0"}, cme.ModelError, "switching_rates can't take 'network'"),
    ],
)
def test_refusals(network, sets, error, match):
    with pytest.raises(error, match=match):
        cme.switching_rates(cme.parse(network), sets)


def test_a_network_that_starts_from_a_distribution():
    network = cme.parse("A <-> B @ 1, 1; A = 3").with_initial({(3, 0): 0.5, (2, 1): 0.5})
    found = cme.switching_rates(network, {"a": "A == 3", "b": "A == 0"})
    assert found.rate("a", "b") == pytest.approx(found.rate("b", "a"), rel=1e-12)


def test_refusals_of_generators():
    for sets in ("s == 0", None):
        with pytest.raises(TypeError, match=r"sets must be a mapping from names to conditions, such as {'off': .*}, not ('s == 0'|None)"):
            cme.switching_rates(cme.Generator.from_rates([[0, 1], [1, 0]]), sets)
    trapped = cme.Generator.from_rates([[0, 1, 0], [1, 0, 0], [1, 0, 0]])
    with pytest.raises(cme.ModelError, match="there is no long run of switching"):
        cme.switching_rates(trapped, {"a": "x == 0", "b": "x == 1"})
    with pytest.raises(ValueError, match="the process never is in 'b'"):
        cme.switching_rates(trapped, {"a": "x == 0", "b": "x == 7"})
    with pytest.raises(ValueError, match="a generator has its states already"):
        cme.switching_rates(trapped, {"a": "x == 0", "b": "x == 1"}, max_states=3)
    with pytest.raises(KeyError, match="there is no set 'c'; there are 'a', 'b'"):
        cme.switching_rates(cme.Generator.from_rates([[0, 1], [1, 0]]), {"a": "x == 0", "b": "x == 1"}).rate("a", "c")
