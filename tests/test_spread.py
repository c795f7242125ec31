"""Laws of many counts on sets that follow the flow: what is said to be missing is not less than what is."""

import numpy as np
import oracles
import pytest
from scipy.stats import poisson

import cme
from cme.projection import first_set, lattice, spread

CHAIN = "0 -> A @ 1; A -> B @ 1; B -> C @ 1; C -> D @ 1; D -> 0 @ 1"
GENES = "; ".join(
    f"0 => G{i} @ 2*(1 - G{i}); G{i} -> 0 @ 3; G{i} -> G{i} + M{i} @ 4; M{i} -> 0 @ 1" for i in range(3)
)  # independent, each with the law of one alone


@pytest.fixture
def many(monkeypatch):
    """Few states count as many where the first set is sought."""

    def refused(network, low, high, home):
        raise lattice.TooManyPointsError(np.prod(high - low + 1))

    monkeypatch.setattr(first_set, "lattice_points", refused)
    monkeypatch.setattr(first_set, "too_many", lambda low, high: True)
    monkeypatch.setattr(first_set, "MOST_OF_MANY", (0.7, 0))
    monkeypatch.setattr(spread, "FIRST", 60)


def chain_error(law):
    """The 1-norm distance to the product of four Poisson laws (A.5), over all states."""
    truth = np.prod(poisson.pmf(law.states, 1.0), axis=1)
    return np.abs(law.p[0] - truth).sum() + 1 - truth.sum()


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3, 1e-5])
def test_A5_what_is_missing_of_a_product_of_poisson_laws(many, monkeypatch, tol):
    monkeypatch.setattr(spread, "EASY_PROOF", 0)
    monkeypatch.setattr(spread, "_around", lambda law: np.inf)
    law = cme.stationary(cme.parse(CHAIN), method="projection", tol=tol)
    true = chain_error(law)
    assert 1e-3 * law.lost[0] <= true <= law.error_bound[0]
    assert law.lost[0] <= tol
    if tol < 1e-1:
        assert law.info["certificate"].startswith("estimate: not certified: a proof would take many more states")
        assert law.floor is None
    assert law.info["expansions"] <= spread.MOST_EXPANSIONS


@pytest.mark.parametrize("tol", [1e-1, 1e-3])
def test_A5_goes_on_to_a_proof_where_that_is_easy(many, tol):
    law = cme.stationary(cme.parse(CHAIN), method="projection", tol=tol)
    assert law.info["certificate"].startswith("certified")
    assert chain_error(law) <= law.lost[0] <= tol
    truth = np.prod(poisson.pmf(law.states, 1.0), axis=1)
    assert np.all(law.floor[0] <= truth * (1 + 1e-9) + 1e-12)


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_A3_three_genes_at_once(many, monkeypatch, tol):
    monkeypatch.setattr(spread, "EASY_PROOF", 0)
    monkeypatch.setattr(spread, "_around", lambda law: np.inf)
    law = cme.stationary(cme.parse(GENES), tol=tol)
    assert law.info["certificate"].startswith("estimate: not certified")
    truth = oracles.telegraph_stationary(60, 2, 3, 4)
    joint = np.prod([np.where(law.values(f"G{i}", 0) == 1, 0.4, 0.6) for i in range(3)], axis=0)
    assert joint.sum() > 0
    for i in range(3):
        marginal = np.zeros(60)
        marginal[: len(law[f"M{i}"][0])] = law[f"M{i}"][0]
        assert np.abs(marginal - truth).sum() <= law.error_bound[0] <= 1.1 * tol


def test_a_start_far_away(many):
    """E decays into the chain; then what is left is its law."""
    law = cme.stationary(cme.parse(CHAIN + "; E -> A @ 1; E = 40"), method="projection", tol=1e-2)
    away = law.states[:, 4] > 0
    assert law.p[0][away].sum() <= law.error_bound[0]
    truth = np.prod(poisson.pmf(law.states[~away, :4], 1.0), axis=1)
    assert np.abs(law.p[0][~away] - truth).sum() + law.p[0][away].sum() + 1 - truth.sum() <= law.error_bound[0] <= 1.1e-2


def test_more_states_than_are_allowed(many):
    message = r"more than max_states=300 states \(about .* of the law is still missing on \d+, tol=1e-06\); raise max_states or loosen tol"
    with pytest.raises(cme.ConvergenceError, match=message):
        cme.stationary(cme.parse(CHAIN), method="projection", max_states=300)


def test_a_parity_that_is_kept_is_kept(many):
    """Pairs are made and lost, and each number is even or odd for ever; four such numbers."""
    text = "; ".join(f"0 -> 2 {x} @ 0.5; 2 {x} -> 0 @ 1; {x} = {n}" for x, n in zip("ABCD", (0, 1, 2, 3), strict=True))
    law = cme.stationary(cme.parse(text), method="projection", tol=1e-2)
    assert np.all(law.states % 2 == [0, 1, 0, 1])
    one = cme.stationary(cme.parse("0 -> 2 A @ 0.5; 2 A -> 0 @ 1"), tol=1e-10)
    n = min(len(one["A"][0]), len(law["A"][0]))
    assert np.abs(one["A"][0][:n] - law["A"][0][:n]).sum() <= law.error_bound[0] + one.error_bound[0]
