"""Stationary laws in closed form: complex balance and its product of Poissons (A.11), birth-death chains (A.12), and what is neither."""

import numpy as np
import oracles
import pytest
from scipy.stats import binom, nbinom, poisson

import cme
from cme.complex_balance import complex_balance
from cme.projection.columns import Column, poisson_column

BALANCED = {  # from the shelf, and what recognises each
    "birth_death": "product_form",
    "isomerisation": "product_form",
    "dimerisation": "product_form",
    "complex_balanced": "product_form",
    "potassium_channel": "product_form",
    "kinetic_proofreading": "product_form",
    "receptor_ligand": "product_form",
    "schlogl": "one_step",
    "schlogl_wkb": "one_step",
    "foraging_colony": "one_step",
    "birth_death_immigration": "one_step",
}
NEITHER = ["telegraph", "two_stage", "toggle_switch", "single_enzyme", "sis", "verhulst", "pair_annihilation", "batch_immigration"]


def one_norm(one, other):
    """The 1-norm distance of two stationary laws."""
    rest = {tuple(state): p for state, p in zip(other.states.tolist(), other.p[0], strict=True)}
    return sum(abs(p - rest.pop(tuple(state), 0.0)) for state, p in zip(one.states.tolist(), one.p[0], strict=True)) + sum(rest.values())


def agrees_with_projection(network, method, tol=1e-9):
    """The law in closed form, if it is what projection finds, within both errors, on states that can be reached."""
    law, found = cme.stationary(network, tol=tol, method=method), cme.stationary(network, tol=1e-12, method="projection")
    assert one_norm(law, found) <= law.error_bound[0] + found.error_bound[0] + 1e-12
    assert law.error_bound[0] <= tol
    assert law.p.sum() == pytest.approx(1 - law.lost[0], abs=1e-13)
    return law


@pytest.mark.parametrize(("name", "method"), BALANCED.items())
def test_models_of_the_shelf_that_are_recognised(name, method):
    network = cme.load(name)
    law = agrees_with_projection(network, "auto")
    assert law.info["method"] == method.replace("_", " ")
    assert ("10.1007/s11538-010-9517-4" in law.info["exact_by"]) == (method == "product_form")
    assert law.info["options"]["method"] == "auto"


@pytest.mark.parametrize("name", NEITHER)
def test_models_of_the_shelf_that_are_not(name):
    for method in ("product_form", "one_step"):
        with pytest.raises(cme.ModelError):
            cme.stationary(cme.load(name), method=method)


@pytest.mark.parametrize(
    "text",
    [
        "S + E <-> C @ 2, 1; C <-> E + P @ 0.5, 3; S = 12; E = 4",  # a finite class
        "convention falling; A -> 2 B @ 2; 2 B -> C @ 3; C -> A @ 5; A = 9",
        "0 <-> S @ 3, 1; E + S <-> C @ 0.2, 1; E = 5",  # infinite, with a conserved sum
        "0 -> 2 X @ 3; 2 X -> 0 @ 1",  # every other state
        "0 -> 2 X @ 3; 2 X -> 0 @ 1; X = 3",
        "2 X <-> 3 X @ 0.1, 0.3; X = 5",  # 0 and 1 are classes of their own
        "0 <-> A @ 4, 1; A <-> B @ 1, 2; 2 B <-> C @ 1, 1",  # all states
        "0 <-> A + B @ 20, 1; 0 <-> C @ 2, 1; A = 2",
        "2 A <-> B @ 1, 1; 0 <-> C @ 3, 1; A = 7",
        "0 -> A @ 5; A -> B @ 2; B -> 0 @ 0.3; B -> A @ 0.1",  # no detailed balance
        "A => B @ 2*A; B => A @ 3*B; A = 6",  # the law counts, not the arrow
        "G + A -> G + B @ 2; B -> A @ 3; A = 6; G = 4",  # G is a constant
        "E + S <-> C @ 2, 1; C <-> E + P @ 0.5, 3; A <-> B @ 1, 2; S = 5; A = 4",  # no enzyme: the first two never fire
        "0 <-> X @ 1, 1; X <-> 2 X @ 1, 2",  # deficiency 1, balanced by its rates
    ],
)
def test_A11_agrees_with_projection(text):
    law = agrees_with_projection(cme.parse(text), "product_form")
    assert "Anderson, Craciun and Kurtz" in law.info["exact_by"]
    assert ("balanced by these rate constants" in law.info["exact_by"]) == ("2 X @ 1, 2" in text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A -> B @ 1; B -> C @ 1; A = 5", "not weakly reversible: nothing leads from B back to A"),
        ("0 <-> X @ 1, 1; X <-> 2 X @ 1, 2.000001", "has deficiency 1, and its rate constants do not balance"),
        ("0 <-> X @ 3, 1; X -> 2 X @ 0.5", "not weakly reversible: nothing leads from 2 X back to X"),
        ("S + E <-> C @ 2, 1; C -> E + P @ 0.5; S = 12; E = 4", "nothing leads from E \\+ P back to C"),
        ("2 A => B @ A*A; B -> 2 A @ 1; A = 6", "the propensity A\\*A of reaction 'r1' is no mass action"),
        ("A => B @ A/(1 + A); B -> A @ 1; A = 6", "is no mass action"),
        ("0 -> X @ 1 + time; X -> 0 @ 1", "stationary can't take"),
        ("0 => X @ 0; X = 3", "no reaction of 'network' can ever fire"),
        ("0 -> X @ 4; X -> 0 @ 1; 0 -> Y @ 1; Y -> 0 @ 1; X + Y -> 0 @ 1", "nothing leads from"),
    ],
)
def test_mutants_one_reaction_away_are_not_recognised(text, reason):
    with pytest.raises(cme.ModelError, match=reason):
        cme.stationary(cme.parse(text), method="product_form")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 -> X @ 1; X -> 0 @ 1; 0 -> 2 X @ 1", "its reactions make different steps"),
        ("0 => X @ 10/(1 + X); X -> 0 @ 1", "is no polynomial of counts"),
        ("S + I -> 2 I @ 0.1; I -> S @ 1; S = 5; I = 5", "from some there is no way back"),
        ("X => 0 @ 1; 0 -> X @ 1; X = 2", "would drive a count below zero"),
        ("X -> X @ 1", "changes a count"),
    ],
)
def test_mutants_of_birth_death_chains(text, reason):
    with pytest.raises(cme.ModelError, match=reason):
        cme.stationary(cme.parse(text), method="one_step")


def test_A12_one_step_chain_in_relative_terms():
    """Hill functions on a bounded chain; a heavy tail without end, A.16."""
    n_max = 60
    network = cme.parse("S => P @ 0.1*S + S*P^2/(9 + P^2); P -> S @ 0.5; S = 60")
    law = cme.stationary(network, method="one_step")
    n = np.arange(n_max + 1.0)
    truth = oracles.one_step_stationary((n_max - n) * (0.1 + n**2 / (9 + n**2)), 0.5 * n)
    assert law["P"][0] == pytest.approx(truth, rel=1e-12)
    assert law.lost[0] == 0
    law = cme.stationary(cme.parse("0 -> X @ 1; X -> 2 X @ 0.995; X -> 0 @ 1"))
    truth = nbinom.pmf(law.states[:, 0], 1 / 0.995, 0.005)
    seen = truth > 1e-250
    assert np.abs(law.p[0, seen] / truth[seen] - 1).max() < 1e-9  # scipy's own roundings
    assert law.lost[0] < 1e-250


@pytest.mark.parametrize("tol", [1e-2, 1e-5, 1e-9])
def test_the_bound_holds_where_a_law_is_cut(tol):
    """Three Poisson laws, and a truncated class: `lost` is the true error."""
    law = cme.stationary(cme.parse("0 <-> A @ 4, 1; 0 <-> B @ 9, 2; 0 <-> C @ 1, 7"), tol=tol)
    truth = np.prod([poisson.pmf(law.states[:, s], mean) for s, mean in enumerate((4, 4.5, 1 / 7))], axis=0)
    error = np.abs(law.p[0] - truth).sum() + 1 - truth.sum()
    assert error <= law.error_bound[0] + 1e-15
    assert 0.05 * tol < law.lost[0] <= tol
    law = cme.stationary(cme.parse("0 <-> S @ 3, 1; E + S <-> C @ 0.2, 1; E = 5"), tol=tol)
    near = cme.stationary(cme.parse("0 <-> S @ 3, 1; E + S <-> C @ 0.2, 1; E = 5"), tol=1e-13, method="projection")
    assert one_norm(law, near) <= law.error_bound[0] + 1e-13
    assert law.lost[0] <= tol


def test_poisson_laws_in_relative_terms():
    """Against 40-digit arithmetic."""
    import mpmath

    for mean in (1e-3, 0.7, 30.0, 4000.5):
        column = poisson_column(mean)
        for n in np.linspace(column.first, column.first + len(column.p) - 1, 9).astype(int):
            with mpmath.workdps(40):
                truth = mpmath.exp(n * mpmath.log(mpmath.mpf(mean)) - mpmath.mpf(mean) - mpmath.loggamma(n + 1))
                assert abs(column.p[n - column.first] / truth - 1) < 2e-12
    assert poisson_column(0.0) == Column(0, np.ones(1))
    cut = poisson_column(100.0, 1e-3)
    assert 1 - 2e-3 <= cut.p.sum() < 1


def test_amounts_of_large_and_stiff_networks():
    """A ring of 40 complexes whose rates span 24 orders of magnitude: means are the stationary law of one molecule."""
    rates = 10.0 ** np.linspace(-12, 12, 40)
    ring = "; ".join(f"S{i} -> S{(i + 1) % 40} @ {rate:.17g}" for i, rate in enumerate(rates))
    balance = complex_balance(cme.parse(ring + "; S0 = 2"))
    assert balance.deficiency == 0
    logs = balance.log_amounts - balance.log_amounts[0]
    assert logs == pytest.approx(-np.log(rates / rates[0]), abs=1e-11)


def test_observables_and_other_starts():
    network = cme.parse("A <-> B @ 1, 2; both := A + B; A = 5")
    law = cme.stationary(network, initial={"A": 9})
    assert law.info["method"] == "product form"
    assert law["both"][0] == pytest.approx(np.eye(10)[9])
    two = cme.stationary(network, initial=cme.fsp(network, [1.0]))  # several states of one class: by projection
    assert two["A"][0] == pytest.approx(binom.pmf(np.arange(6), 5, 2 / 3), abs=1e-9)


def test_refusals():
    network = cme.parse("0 -> X @ 2; X -> 0 @ 1")
    with pytest.raises(ValueError, match=r"method must be one of 'auto', 'projection', 'product_form', 'one_step', .*, not 'qr'"):
        cme.stationary(network, method="qr")
    space = cme.StateSpace.reachable(network, bounds={"X": 30})
    with pytest.raises(ValueError, match="method='one_step' takes a network and finds its own states; leave out space"):
        cme.stationary(network, method="one_step", space=space)
    with pytest.raises(cme.ConvergenceError, match=r"the closed form needs .* states; raise max_states \(now 100\) or loosen tol"):
        cme.stationary(cme.parse("0 -> X @ 90; X -> 0 @ 1; 0 -> Y @ 90; Y -> 0 @ 1"), method="product_form", max_states=100)
    with pytest.raises(cme.ConvergenceError, match=r"a box of 1.* states first, which is too many"):
        cme.stationary(cme.parse("; ".join(f"0 <-> X{i} @ 900, 1" for i in range(4))), method="product_form")
