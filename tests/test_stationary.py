"""Stationary laws against closed forms."""

import numpy as np
import oracles
import pytest
from scipy.stats import poisson

import cme


@pytest.mark.parametrize("method", ["projection", "product_form", "one_step"])
@pytest.mark.parametrize("lam", [0.3, 1, 10, 100, 1000])
def test_A1_poisson_right_in_relative_terms(lam, method):
    law = cme.stationary(cme.parse(f"0 -> X @ {lam}; X -> 0 @ 1"), tol=1e-9, method=method)["X"][0]
    truth = poisson.pmf(np.arange(len(law)), lam)
    seen = truth > 1e-250
    assert np.abs(law[seen] / truth[seen] - 1).max() < 1e-9
    assert seen.sum() > 10 * np.sqrt(lam)


@pytest.mark.parametrize(("on", "off", "make"), [(2, 3, 15), (0.3, 0.4, 30), (0.5, 4, 60)])
def test_A3_telegraph(on, off, make):
    network = cme.parse(f"Off -> On @ {on}; On -> Off @ {off}; On -> On + M @ {make}; M -> 0 @ 1; Off = 1")
    law = cme.stationary(network, tol=1e-11)["M"][0]
    truth = oracles.telegraph_stationary(min(len(law), 150), on, off, make)
    assert np.abs(law[: len(truth)] - truth).max() < 1e-9


def test_A4_burst_limit_of_the_two_stage_gene():
    """A.5 quotes TV(NB, exact) = 0.0396 for v0, d0, v1, d1 = 2, 3, 6, 1."""
    law = cme.stationary(cme.parse("0 -> M @ 2; M -> 0 @ 3; M -> M + P @ 6; P -> 0 @ 1"), tol=1e-10)
    p = law["P"][0]
    negative_binomial = oracles.burst_negative_binomial(len(p), 2, 2)
    assert 0.5 * np.abs(p - negative_binomial).sum() == pytest.approx(0.0396, abs=5e-5)
    assert law.sd()[0, 1] ** 2 / law.mean()[0, 1] == pytest.approx(2.5, abs=1e-8)


@pytest.mark.parametrize(
    ("rates", "mean", "variance", "bound"),
    [
        ((12, 30, 0.5, 3, 0.2), 21.27050421, 37.97449831, 0.52974310),
        ((40, 2, 1, 1, 0.05), 24.21873493, 85.91742450, 0.40464782),
        ((5, 25, 0, 0.4, 0.01), 7.51044666, 39.09544284, 0.12552233),
    ],
)
def test_A8_autoregulated_gene(rates, mean, variance, bound):
    make, make_bound, decay_bound, unbind, bind = rates
    network = cme.parse(
        f"U -> U + P @ {make}; B -> B + P @ {make_bound}; P -> 0 @ 1; U = 1;"
        f"U + P -> B @ {bind}; B -> U + P @ {unbind}; B -> U @ {decay_bound}"
    )
    law = cme.stationary(network, tol=1e-10)
    p, b = law.species_index("P"), law.species_index("B")
    assert law.mean()[0, p] == pytest.approx(mean, abs=2e-8)
    assert law.sd()[0, p] ** 2 == pytest.approx(variance, abs=2e-7)
    assert law.mean()[0, b] == pytest.approx(bound, abs=1e-8)


@pytest.mark.parametrize("kappa", [1, 2, 10, 100])
def test_A10_pair_annihilation(kappa):
    law = cme.stationary(cme.parse(f"convention falling; 0 -> A @ {kappa}; 2 A -> 0 @ 1"), tol=1e-10)
    mean, variance = oracles.pair_annihilation_moments(kappa, 1)
    assert law.mean()[0, 0] == pytest.approx(mean, abs=1e-9)
    assert law.sd()[0, 0] ** 2 == pytest.approx(variance, abs=1e-8)


@pytest.mark.parametrize(
    ("text", "c"),
    [
        ("S + E <-> C @ 2, 1; C <-> E + P @ 0.5, 3; S = 12; E = 4", (0.5, 1.0, 1.0, 0.5 / 3)),
        ("convention falling; A -> 2 B @ 2; 2 B -> C @ 3; C -> A @ 5; A = 9", (1.0, (2 / 3) ** 0.5, 2 / 5)),
    ],
)
@pytest.mark.parametrize("method", ["projection", "product_form"])
def test_A11_product_form(text, c, method):
    law = cme.stationary(cme.parse(text), tol=1e-10, method=method)
    assert law.lost[0] == 0.0
    assert law.p[0] == pytest.approx(oracles.product_form(law.states, np.array(c)), abs=1e-12)


def test_A13_open_michaelis_menten():
    k, k1, km1, k2 = 2.0, 0.5, 1.0, 3.0
    law = cme.stationary(cme.parse(f"0 -> S @ {k}; E + S -> C @ {k1}; C -> E + S @ {km1}; C -> E @ {k2}; E = 1"), tol=1e-11)
    truth = oracles.michaelis_menten_open(400, k, k1, km1, k2)
    s, c = law.species_index("S"), law.species_index("C")
    inside = law.states[:, s] < 400
    difference = law.p[0, inside] - truth[law.states[inside, c], law.states[inside, s]]
    assert np.abs(difference).max() < 1e-9
    assert np.abs(difference).sum() <= max(law.error_bound[0], 1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "G -> D @ 1; G -> L @ 1; D -> D + X @ 20; L -> L + X @ 3; L -> L + Y @ 3; X -> 0 @ 1; Y -> 0 @ 1; G = 1",
        "; ".join(f"G0 -> G{i} @ 1; G{i} -> G{i} + X @ {i}" for i in range(1, 23)) + "; X -> 0 @ 1; G0 = 1",
    ],
)
def test_branches_without_end_are_told_apart_from_the_rim_of_the_set(text):
    with pytest.raises(cme.ModelError, match="the stationary law is not unique"):
        cme.stationary(cme.parse(text))


@pytest.mark.parametrize("method", ["projection", "one_step"])
def test_C4_schlogl(method):
    law = cme.stationary(cme.parse("2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250"), tol=1e-9, method=method)
    assert law.mean()[0, 0] == pytest.approx(454.861348, abs=1e-6)
    assert law.sd()[0, 0] == pytest.approx(199.878830, abs=1e-6)
    assert law.probability(lambda x: x <= 256)[0] == pytest.approx(0.22026063, abs=1e-8)
    p = law["X"][0]
    assert [p[82], p[256], p[563]] == pytest.approx([5.77328e-3, 3.49942e-7, 6.85254e-3], rel=1e-5)
    n = np.arange(len(p), dtype=float)
    truth = oracles.one_step_stationary(0.015 * n * (n - 1) + 200, 1e-4 / 6 * n * (n - 1) * (n - 2) + 3.5 * n)
    assert np.abs(p / truth - 1)[truth > 1e-200].max() < 1e-9


@pytest.mark.parametrize("method", ["projection", "one_step"])
@pytest.mark.parametrize("omega", [5, 20, 60])
def test_C4_second_schlogl_finds_both_wells_from_either_side(omega, method):
    network = cme.load("schlogl_wkb").with_parameters(Om=omega)
    low = cme.stationary(network.with_initial(X=round(0.1 * omega)), tol=1e-9, method=method)["X"][0]
    high = cme.stationary(network.with_initial(X=4 * omega), tol=1e-9, method=method)["X"][0]
    size = min(len(low), len(high))
    assert np.abs(low[:size] - high[:size]).sum() < 1e-9


def test_R1_toggle():
    law = cme.stationary(cme.load("toggle_switch"), tol=1e-9)
    assert law.mean()[0] == pytest.approx([11.63077596, 11.01781703], abs=2e-8)
    assert law.sd()[0] == pytest.approx([19.450631, 7.702551], abs=1e-6)
    assert law.probability(lambda u, v: u > v)[0] == pytest.approx(0.28906228, abs=1e-8)


def test_lost_is_not_below_the_true_error():
    """A loose tolerance on a heavy-tailed law: the reported change of the law is above its error."""
    for tol in (1e-2, 1e-4, 1e-6):
        law = cme.stationary(cme.parse("0 -> X @ 1; X -> 2 X @ 0.995; X -> 0 @ 1"), tol=tol, method="projection")
        n = np.arange(200_000)
        truth = oracles.burst_negative_binomial(len(n), 1 / 0.995, 0.995 / 0.005)  # A.16: NB(nu/lam, lam/mu)
        p = np.zeros(len(n))
        p[law.states[:, 0]] = law.p[0]
        assert np.abs(p - truth).sum() <= law.lost[0] <= tol


def test_A22_keizer_extinction_is_the_only_stationary_law():
    law = cme.stationary(cme.parse("$A + X -> 2 X @ 1; 2 X -> $A + X @ 0.1; X -> 0 @ 1; A = 3; X = 20"), tol=1e-9)
    assert law.states.tolist() == [[3, 0]]
    assert law.p.tolist() == [[1.0]]


@pytest.mark.parametrize("method", ["projection", "product_form"])
def test_only_one_parity_is_reached(method):
    law = cme.stationary(cme.parse("0 -> 2 X @ 3; 2 X -> 0 @ 1"), tol=1e-9, method=method)
    assert np.all(law.states % 2 == 0)


def test_given_space_is_certified_where_the_drift_outside_is_known():
    network = cme.parse("0 -> X @ 2; X -> 0 @ 1")
    for top in (5, 12, 30):
        law = cme.stationary(network, method="projection", space=cme.StateSpace.reachable(network, bounds={"X": top}))
        truth = poisson.pmf(np.arange(200), 2)
        error = np.abs(truth[: top + 1] - law.p[0, np.argsort(law.states[:, 0])]).sum() + truth[top + 1 :].sum()
        assert error <= law.error_bound[0] <= max(200 * error, 1e-12)
        assert law.info["certificate"].startswith("certified: outside the states a quadratic form in X falls")


def test_fixed_space_says_that_nothing_is_known_of_the_rest():
    network = cme.parse("0 -> X @ 2; X => 0 @ X^1.5")
    law = cme.stationary(network, space=cme.StateSpace.reachable(network, bounds={"X": 30}))
    assert np.isnan(law.lost[0])
    assert law.info["certificate"] == "estimate: no bound is known for the rate law X^1.5"
    n = np.arange(31.0)
    truth = oracles.one_step_stationary(np.full(31, 2.0), n**1.5)
    assert law["X"][0] == pytest.approx(truth, abs=1e-12)
    with pytest.raises(ValueError, match="there are no bounds of this law"):
        law.bounds("X")


def test_agrees_with_a_late_transient():
    network = cme.load("toggle_switch")
    late = cme.fsp(network, [4000.0], tol=1e-8)
    assert late.mean()[0] == pytest.approx(cme.stationary(network, tol=1e-9).mean()[0], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "X -> Y @ 1; X -> Z @ 2; X = 1",
            cme.ModelError,
            r"not unique: \{X: 0, Y: 0, Z: 1\} and \{X: 0, Y: 1, Z: 0\} can both be reached, and no way was found from the second",
        ),
        (
            "0 -> X @ 1",
            cme.ConvergenceError,
            r"max_states=9000 states \(the law still changes by 2\.0e\+00, tol=1e-06\); raise max_states or loosen tol; no reaction takes "
            "'X' away, so that there is no stationary law unless its making comes to an end; fsp gives the law at a time",
        ),
        (
            "0 -> X @ 2; X -> 2 X @ 1; X -> 0 @ 0.5",
            cme.ConvergenceError,
            "if the counts grow without bound there is no stationary law, and fsp gives the law at a time",
        ),
        ("X => 0 @ 1; X = 1", cme.ModelError, "would drive a count below zero"),
    ],
)
def test_refusals(text, error, message):
    with pytest.raises(error, match=message):
        cme.stationary(cme.parse(text), max_states=9000)


def test_no_more_states_than_allowed_are_taken_at_the_first():
    network = cme.parse("0 -> X @ 3; X -> 0 @ 1; 0 -> Y @ 1; Y -> 0 @ 1")
    with pytest.raises(cme.ConvergenceError, match=r"needs more than max_states=50 states"):
        cme.stationary(network, method="projection", max_states=50)
    law = cme.stationary(network, method="projection", max_states=400)
    assert len(law.states) <= 400
    exact = poisson.pmf(law.states[:, 0], 3) * poisson.pmf(law.states[:, 1], 1)
    assert np.abs(law.p[0] - exact).sum() + 1 - exact.sum() <= law.lost[0] + law.integration_error[0] <= 1e-6


def test_a_space_without_states_has_no_law():
    network = cme.parse("0 -> X @ 3; X -> 0 @ 1")
    with pytest.raises(ValueError, match="the given state space holds no states; give one that holds at least one"):
        cme.stationary(network, space=cme.StateSpace.holding(network, np.zeros((0, 1), dtype=int)))
