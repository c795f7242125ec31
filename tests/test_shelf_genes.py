"""What the catalogue says is exact about the models of genes, enzymes and signals; see test_shelf_models.py."""

import math

import numpy as np
import oracles
import pytest
from scipy.linalg import expm
from scipy.special import gammaln
from scipy.stats import multinomial
from test_shelf_models import check_at_rest, mean_time_until, moments, pmf

import cme

# ------------------------------------------------------------------------------------------------------ gene expression


def test_telegraph():  # A.3
    law = cme.stationary(cme.load("telegraph"), tol=1e-10)
    np.testing.assert_allclose(pmf(law, "M", 80), oracles.telegraph_stationary(80, 0.3, 0.4, 30), atol=1e-10)


def two_stage_moments(v0, d0, v1, d1):  # A.5
    mean = v0 * v1 / (d0 * d1)
    return mean, mean * (1 + v1 / d0 / (1 + d1 / d0))


def test_two_stage():
    assert two_stage_moments(2, 3, 6, 1) == pytest.approx((4, 4 * 2.5))
    assert moments(cme.stationary(cme.load("two_stage"), tol=1e-10), "P") == pytest.approx((4, 10), rel=1e-7)


def test_two_stage_large():  # the linear noise approximation is exact for the first two moments of a linear network
    found = cme.lna(cme.load("two_stage_large"), [np.inf])
    assert found.mean()[0] == pytest.approx([100, 2000])
    assert found.covariance[0][0, 1] == pytest.approx(4 * 100 / 0.7)  # v1 <M> / (d0 + d1) = 571.428571
    assert found.sd()[0][1] ** 2 == pytest.approx(two_stage_moments(50, 0.5, 4, 0.2)[1])


def test_gene_expression():
    found = moments(cme.stationary(cme.load("gene_expression"), tol=1e-9), "protein")
    assert found == pytest.approx((48, 48 * (1 + 2 / 1.25)), rel=1e-6)


def test_bursty_expression():  # A.5; A.4 is its limit for d0/d1 to infinity, here 20
    law = cme.stationary(cme.load("bursty_expression"), tol=1e-9)
    assert moments(law, "P") == pytest.approx(two_stage_moments(2, 20, 200, 1), rel=1e-6)
    distance = np.abs(pmf(law, "P", 400) - oracles.burst_negative_binomial(400, 2, 10)).sum() / 2
    assert distance < 0.05


def test_bursty_protein():  # A.4
    network = cme.load("bursty_protein")
    np.testing.assert_allclose(pmf(cme.stationary(network, tol=1e-9), "P", 400), oracles.burst_negative_binomial(400, 2, 10), atol=1e-9)
    law = cme.fsp(network, [0.4], tol=1e-9)
    np.testing.assert_allclose(pmf(law, "P", 400), oracles.bursts(400, 2, 10, 0.4), atol=1e-9)


def test_random_division():  # d<M>/dt = k - (d + mu/2) <M>, d<M(M-1)>/dt = 2 k <M> - (2 d + 3 mu/4) <M(M-1)>
    k, d, mu, t = 30, 0.7, 1, 0.8
    one, two = d + mu / 2, 2 * d + 3 * mu / 4
    mean = k / one * (1 - math.exp(-one * t))
    pairs = 2 * k**2 / one * ((1 - math.exp(-two * t)) / two - (math.exp(-one * t) - math.exp(-two * t)) / (two - one))
    law = cme.fsp(cme.load("random_division"), [t], tol=1e-9)
    assert moments(law, "M") == pytest.approx((mean, pairs + mean - mean**2), rel=1e-6)


def test_three_stage():  # Paulsson (2005): the noise of the protein, its mRNA and its promoter add up
    k, on, v0, d0, v1, d1 = 1.5, 1 / 3, 6, 2, 3, 1
    m, p = on * v0 / d0, on * v0 * v1 / (d0 * d1)
    noise = 1 / p + d1 / (d0 + d1) / m + (1 - on) / on * d0 * d1 * (d0 + d1 + k) / ((d0 + d1) * (d0 + k) * (d1 + k))
    law = cme.stationary(cme.load("three_stage"), tol=1e-9)
    assert moments(law, "P") == pytest.approx((3, 9 * noise), rel=1e-6)
    assert moments(law, "M")[0] == pytest.approx(1, rel=1e-7)


def test_autoregulated():  # A.8
    law = cme.stationary(cme.load("autoregulated"), tol=1e-10)
    assert moments(law, "P") == pytest.approx((21.27050421, 37.97449831), abs=2e-8)
    assert moments(law, "Db")[0] == pytest.approx(0.52974310, abs=1e-8)


# ------------------------------------------------------------------------------------------------------------ switching


def test_toggle_switch():  # R1
    law = cme.stationary(cme.load("toggle_switch"), tol=1e-9)
    assert law.mean()[0] == pytest.approx([11.63077596, 11.01781703], abs=1e-6)


def test_pap_operon():  # R2
    law = cme.fsp(cme.load("pap_operon"), [10.0], tol=1e-9)
    assert moments(law, "PapI")[0] == pytest.approx(3.7557799049, abs=1e-7)
    assert moments(law, "G2")[0] == pytest.approx(0.3755308334, abs=1e-8)


# ----------------------------------------------------------------------------------------------------------- enzymology


def test_michaelis_menten():  # A.13
    law = cme.stationary(cme.load("michaelis_menten"), tol=1e-10)
    exact = oracles.michaelis_menten_open(80, k=1, k1=1, km1=1, k2=2)
    bound = law.states[:, law.species_index("C")]
    for c in (0, 1):
        counts = np.bincount(law.states[bound == c, law.species_index("S")], weights=law.p[-1][bound == c], minlength=80)[:80]
        np.testing.assert_allclose(counts, exact[c], atol=1e-9)
    assert moments(law, "C")[0] == pytest.approx(1 / 2, abs=1e-9)


def test_michaelis_menten_closed():  # R5
    mean, variance = moments(cme.fsp(cme.load("michaelis_menten_closed"), [70.0], tol=1e-9), "P")
    assert (mean, math.sqrt(variance)) == pytest.approx((99.90815262, 0.30292428), abs=1e-6)


def test_single_enzyme():  # A.13
    exact = 7 / 2 + (1.5 + 2) / (0.5 * 2) * sum(1 / n for n in range(1, 8))
    assert exact == pytest.approx(12.575)
    network = cme.load("single_enzyme")
    done = network.species_names.index("P")
    assert mean_time_until(network, lambda states: states[:, done] == 7) == pytest.approx(exact, rel=1e-12)


def test_futile_cycle():
    law = cme.fsp(cme.load("futile_cycle"), [20.0], tol=1e-10)
    exact = futile_cycle_law(20.0)
    np.testing.assert_allclose(pmf(law, "S5", 101), exact, atol=1e-9)
    np.testing.assert_allclose(pmf(law, "S5", 101), pmf(law, "S2", 101), atol=1e-10)
    np.testing.assert_allclose(pmf(law, "S3", 2), pmf(law, "S6", 2), atol=1e-10)


def futile_cycle_law(time):
    """P(S5 = 0..100) by a dense matrix exponential on all states (S3, S6, S5), of which S2 = 100 - S3 - S6 - S5."""
    states = [(a, b, s) for a in (0, 1) for b in (0, 1) for s in range(101 - a - b)]
    place, matrix = {state: i for i, state in enumerate(states)}, np.zeros((len(states), len(states)))
    for a, b, s in states:
        moves = {
            (1, b, s): (100 - a - b - s) if a == 0 else 0,
            (0, b, s): a,
            (0, b, s + 1): 0.1 * a,
            (a, 1, s - 1): s if b == 0 else 0,
            (a, 0, s + 1): b,
            (a, 0, s): 0.1 * b,
        }
        for target, rate in moves.items():
            if rate:
                matrix[place[target], place[a, b, s]] += rate
                matrix[place[a, b, s], place[a, b, s]] -= rate
    p = expm(matrix * time)[:, place[0, 0, 50]]
    return np.bincount([s for _, _, s in states], weights=p)


# ----------------------------------------------------------------------------------------------------------- signalling


def test_kinetic_proofreading():
    a = 1 / 1.25
    weights = np.array([0.25 / 0.5, 1 - a, (1 - a) * a, (1 - a) * a**2, a**3])
    law = cme.stationary(cme.load("kinetic_proofreading"))
    np.testing.assert_allclose(law.p[0], multinomial.pmf(law.states, 10, weights / weights.sum()), atol=1e-12)
    assert moments(law, "C3")[0] == pytest.approx(10 / 1.5 * a**3)


def test_receptor_ligand():  # A.11
    law = cme.stationary(cme.load("receptor_ligand"))
    c = np.arange(31)
    weight = np.exp(c * math.log(0.04) - gammaln(31 - c) - gammaln(41 - c) - gammaln(c + 1))
    np.testing.assert_allclose(pmf(law, "C", 31), weight / weight.sum(), atol=1e-12)


def test_phosphorylation_cycle():  # A.12; Goldbeter and Koshland (1981), equation 1, in amounts
    network = cme.load("phosphorylation_cycle")
    n = np.arange(101.0)
    exact = oracles.one_step_stationary(1.1 * (100 - n) / (105 - n), n / (5 + n))
    np.testing.assert_allclose(pmf(cme.stationary(network), "Wp", 101), exact, atol=1e-12)
    v1, v2, j1, j2 = 1.1, 1.0, 0.05, 0.05
    b = v2 - v1 + v2 * j1 + v1 * j2
    share = 2 * v1 * j2 / (b + math.sqrt(b * b - 4 * (v2 - v1) * v1 * j2))
    check_at_rest(network, {"W": 100 * (1 - share), "Wp": 100 * share})
