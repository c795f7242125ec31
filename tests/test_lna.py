"""The linear noise approximation: exact for linear networks, and the leading order for others."""

import numpy as np
import oracles
import pytest
from scipy.stats import poisson

import cme
from cme.distances import total_variation

TIMES = [0.3, 1.0, 4.0]


def test_A1_immigration_death_mean_and_variance():
    result = cme.lna(cme.parse("0 -> X @ 20; X -> 0 @ 2; X = 7"), TIMES)
    q = np.exp(-2 * np.array(TIMES))
    assert result["X"] == pytest.approx(7 * q + 10 * (1 - q), rel=1e-7)
    assert result.covariance[:, 0, 0] == pytest.approx(7 * q * (1 - q) + 10 * (1 - q), rel=1e-6)


def test_A2_monomolecular_covariance():
    network = cme.parse("0 -> S1 @ 6; S1 <-> S2 @ 1, 0.5; S2 -> S3 @ 0.8; S3 -> 0 @ 0.6; S1 = 20")
    convert = np.zeros((3, 3))
    convert[1, 0], convert[0, 1], convert[2, 1] = 1.0, 0.5, 0.8
    result = cme.lna(network, TIMES)
    for t, mean, covariance in zip(TIMES, result.means, result.covariance, strict=True):
        exact = oracles.monomolecular_moments([6.0, 0, 0], convert, np.array([0, 0, 0.6]), [20.0, 0, 0], t)
        assert mean == pytest.approx(exact[0], rel=1e-6)
        assert covariance == pytest.approx(exact[1], rel=1e-6, abs=1e-7)


def test_A3_telegraph_fano_factor():
    """Mean s a/(a+b), Fano factor 1 + s b / ((a+b)(a+b+1))."""
    a, b, s = 0.3, 0.4, 30.0
    network = cme.parse("Off <-> On @ 0.3, 0.4; On -> On + M @ 30; M -> 0 @ 1; Off = 1")
    result = cme.lna(network, np.inf)
    m = result.species_index("M")
    assert result["M"][0] == pytest.approx(s * a / (a + b), rel=1e-9)
    assert result.covariance[0, m, m] / result["M"][0] == pytest.approx(1 + s * b / ((a + b) * (a + b + 1)), rel=1e-9)


@pytest.mark.parametrize(("v0", "d0", "v1", "d1"), [(2.0, 3.0, 6.0, 1.0), (50.0, 0.5, 4.0, 0.2)])
def test_A5_R6_two_stage_gene(v0, d0, v1, d1):
    """Mean v0 v1/(d0 d1), Fano factor 1 + b/(1 + d1/d0) with b = v1/d0, cov(M, P) = v1 <m>/(d0 + d1); R6: 571.428571."""
    network = cme.parse(f"0 -> M @ {v0}; M -> M + P @ {v1}; M -> 0 @ {d0}; P -> 0 @ {d1}")
    late = 60 / min(d0, d1)
    for result in (cme.lna(network, np.inf), cme.lna(network, [late])):
        assert result["P"][0] == pytest.approx(v0 * v1 / (d0 * d1), rel=1e-6)
        assert result.covariance[0, 1, 1] / result["P"][0] == pytest.approx(1 + v1 / d0 / (1 + d1 / d0), rel=1e-6)
        assert result.covariance[0, 0, 1] == pytest.approx(v1 * v0 / d0 / (d0 + d1), rel=1e-6)


@pytest.mark.parametrize("volume", [1, 10, 1000])
def test_C2_pair_annihilation(volume):
    """0 -> A, 2 A -> 0 (k1/volume n (n-1)): phi = sqrt(1/2) volume, variance 3/4 of it."""
    result = cme.lna(cme.parse(f"convention falling; 0 -> A @ {volume}; 2 A -> 0 @ {1 / volume}"), np.inf)
    phi = np.sqrt(0.5) * volume
    assert result["A"][0] == pytest.approx(phi, rel=1e-9)
    assert result.covariance[0, 0, 0] == pytest.approx(0.75 * phi, rel=1e-9)


def test_C1_the_gaussian_against_poisson():
    """THEORY C1, lambda = 10: TV 4.02e-2, mass below zero 7.8e-4."""
    law = cme.lna(cme.parse("0 -> X @ 10; X -> 0 @ 1"), np.inf).marginal("X", 0)
    assert total_variation(law.p, poisson.pmf(np.arange(80), 10)) == pytest.approx(4.02e-2, rel=5e-3)
    assert law.negative == pytest.approx(7.8e-4, rel=1e-2)


def test_transient_ends_in_the_stationary_law_also_when_nonlinear():
    network = cme.parse("0 => U @ 50/(1+V^2.5); U -> 0 @ 1; 0 => V @ 16/(1+U); V -> 0 @ 1; U = 20")
    still, moved = cme.lna(network, np.inf), cme.lna(network, [200.0])
    assert moved.means == pytest.approx(still.means, rel=1e-6)
    assert moved.covariance == pytest.approx(still.covariance, rel=1e-5)


def test_conserved_totals_have_no_spread_but_what_the_start_gives_them():
    network = cme.parse("A <-> B @ 1, 3; A = 8")
    covariance = cme.lna(network, np.inf).covariance[0]
    assert covariance == pytest.approx(np.array([[1.5, -1.5], [-1.5, 1.5]]))  # binomial: 8 * 3/4 * 1/4
    spread = {(8, 0): 0.5, (4, 0): 0.5}  # total 6 with variance 4
    still, moved = cme.lna(network, np.inf, initial=spread), cme.lna(network, [20.0], initial=spread)
    assert still.means[0] == pytest.approx([4.5, 1.5])
    assert still.covariance[0].sum() == pytest.approx(4.0)
    assert still.covariance[0, 0, 0] == pytest.approx(6 * 3 / 16 + 4 * 9 / 16)
    assert moved.covariance == pytest.approx(still.covariance, rel=1e-6)


def test_a_large_sparse_network_agrees_with_the_closed_form():
    """A2 for a cascade of 32 species (560 unknowns, the sparse Jacobian)."""
    n = 32
    text = "0 -> S0 @ 30; " + "; ".join(f"S{i} -> S{i + 1} @ 1" for i in range(n - 1)) + f"; S{n - 1} -> 0 @ 1; S0 = 50"
    result = cme.lna(cme.parse(text), [6.0], rtol=1e-6, atol=1e-6)
    inflow, decay = np.eye(n)[0] * 30, np.eye(n)[-1]
    mean, covariance = oracles.monomolecular_moments(inflow, np.eye(n, k=-1), decay, np.eye(n)[0] * 50, 6.0)
    assert result.means[0] == pytest.approx(mean, abs=1e-3)
    assert result.covariance[0] == pytest.approx(covariance, abs=1e-3)


def test_bursts_have_the_second_moment_of_their_size():
    """Bursts at rate 2 with a geometric number of mean 5, E[B^2] = 55: dV/dt = 110 + m - 2 V from 0, with m = 10 (1 - e^-t)."""
    network = cme.parse("0 -> geometric(b) P @ 2; P -> 0 @ 1; b = 5")
    t = np.array([0.3, 1.0, 4.0])
    found = cme.lna(network, t)
    assert found["P"] == pytest.approx(10 * (1 - np.exp(-t)), rel=1e-7)
    assert found.covariance[:, 0, 0] == pytest.approx(60 * (1 - np.exp(-2 * t)) - 10 * (np.exp(-t) - np.exp(-2 * t)), rel=1e-7)
    assert cme.lna(network, np.inf).covariance[0, 0, 0] == pytest.approx(60)


@pytest.mark.parametrize(
    "text",
    [
        "0 -> (2 + 3*poisson(1.5)) P @ 0.7; P -> 0 @ 1",
        "A -> (1 + binomial(2, 0.3)) B + (bernoulli(0.5) + binomial(2, 0.5)) C @ 1; B -> C @ 1; C -> 0 @ 1; A = 2",
        "G -> G + geometric(1) P @ 1; G -> H @ 1; H -> G @ 2; P -> 0 @ 1; G = 1",
        "A -> binomial(3, 0.6) B @ 1; B -> 0 @ 2; A = 3",
    ],
)
def test_drawn_numbers_in_linear_networks_have_the_moments_of_the_master_equation(text):
    network, times = cme.parse(text), [0.4, 2.0]
    law, found = cme.fsp(network, times, tol=1e-9), cme.lna(network, times)
    assert found.means == pytest.approx(law.mean(), rel=1e-6, abs=1e-7)
    assert found.covariance == pytest.approx(law.covariance(), rel=1e-5, abs=1e-6)


def test_drawn_numbers_and_rates_in_time_together_are_refused():
    with pytest.raises(cme.ModelError, match=r"what reaction 'r1' changes 'P' by, geometric\(5\), is not the same each time, and other"):
        cme.lna(cme.parse("0 => geometric(5) P @ 2 + sin(time); P -> 0 @ 1"), [1.0])


def test_no_species_moves_and_variances_are_never_negative():
    assert cme.lna(cme.parse("$X -> 0 @ 1; X = 3"), np.inf).covariance.tolist() == [[[0.0]]]
    assert cme.lna(cme.parse("X -> 0 @ 1; X = 3"), [1.0, 60.0]).sd()[1, 0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0 => U @ 50/(1+V^2); U -> 0 @ 1; 0 => V @ 50/(1+U^2); V -> 0 @ 1",
            r"the steady state \{U: 3.59357, V: 3.59357\} is unstable .*no stationary Gaussian around it; ask for finite times",
        ),
        ("S + I -> 2 I @ 0.01; I -> R @ 0.5; S = 99; I = 1", r"is only marginally stable"),
        ("0 -> X @ 3", r"'X' grows without bound"),
    ],
)
def test_no_stationary_gaussian_is_said_with_its_reason(text, message):
    with pytest.raises(cme.ConvergenceError, match=message):
        cme.lna(cme.parse(text), np.inf)


def test_refusals_and_observables():
    with pytest.raises(cme.ModelError, match="lna drives 'X' to -"):
        cme.lna(cme.parse("X => 0 @ 1; X = 2"), [5.0])
    result = cme.lna(cme.parse("0 -> X @ 4; X -> 0 @ 1; square := X^2"), np.inf)
    assert result["square"][0] == pytest.approx(16.0)  # at the mean, as documented
    assert result.info["solver"] == "lna"


def test_a_negative_variance_is_refused():  # not a standard deviation that is no number
    with pytest.raises(
        cme.ModelError, match=r"lna finds a variance of -1\.\d+ for 'X' at t = 0\.5: a rate must have been negative, .* guard"
    ):
        cme.lna(cme.parse("0 => X @ 5 - X; X = 10"), [0.5])
    with pytest.raises(cme.ModelError, match=r"the rate .* of reaction 'r1' is negative at t=0 in state {X: 10}; guard"):
        cme.lna(cme.parse("0 => X @ (5 - X)*(1 + 0*c); X = 10; c = 1; c' = -c"), [0.5])


@pytest.mark.parametrize("text", ["X => 3 X @ 0.1*X*X; X = 100", "X -> binomial(X, 0.5) X @ 0.1; X = 100"])
def test_an_explosion_is_told(text):
    with pytest.raises(cme.ConvergenceError, match=r"lna could not go on after t=.*without bound"):
        cme.lna(cme.parse(text), [3.0, 20.0])
