"""Rate equations against closed forms, and every refusal."""

import numpy as np
import oracles
import pytest

import cme

SCHLOGL = "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250"
LOTKA = "X -> 2 X @ 1; X + Y -> 2 Y @ 0.01; Y -> 0 @ 1; X = 50; Y = 80"


@pytest.mark.parametrize("method", ["LSODA", "BDF", "Radau"])
def test_A2_monomolecular_means(method):
    network = cme.parse("0 -> S1 @ 6; S1 <-> S2 @ 1, 0.5; S2 -> S3 @ 0.8; S3 -> 0 @ 0.6; S1 = 20")
    convert = np.zeros((3, 3))
    convert[1, 0], convert[0, 1], convert[2, 1] = 1.0, 0.5, 0.8
    result = cme.rate_equations(network, [0.0, 0.7, 5.0], method=method)
    assert result.covariance is None
    assert result.means[0].tolist() == [20.0, 0.0, 0.0]
    for t, mean in zip([0.7, 5.0], result.means[1:], strict=True):
        exact, _ = oracles.monomolecular_moments([6.0, 0, 0], convert, np.array([0, 0, 0.6]), [20.0, 0, 0], t)
        assert mean == pytest.approx(exact, rel=1e-6)


def test_stiff_and_nonlinear_dimerisation():
    """dx/dt = k - 2 c x^2 with c x^2 the rate of 2 X -> 0: x = x* tanh(2 c x* t)."""
    result = cme.rate_equations(cme.parse("convention falling; 0 -> X @ 1e6; 2 X -> 0 @ 1e3"), np.geomspace(1e-6, 1e3, 12))
    rest = np.sqrt(1e6 / 2e3)
    assert result["X"] == pytest.approx(rest * np.tanh(2e3 * rest * result.times), rel=1e-6)


def test_C4_steady_states_of_schlogl_from_either_side():
    network = cme.parse(SCHLOGL)
    for start, root in ((0, 85.4897), (247, 85.4897), (248, 566.9079), (2000, 566.9079)):
        result = cme.rate_equations(network, np.inf, initial={"X": start})
        assert result.means[0, 0] == pytest.approx(root, abs=5e-5)
        assert result.info["stable"]


def test_conserved_totals_are_kept_at_the_steady_state():
    network = cme.parse("S + E <-> ES @ 0.1, 1; ES -> S + E @ 0.3; S = 100; E = 10")
    mean = cme.rate_equations(network, np.inf).means[0]
    s, e, es = mean
    assert s + es == pytest.approx(100, abs=1e-9)
    assert e + es == pytest.approx(10, abs=1e-9)
    assert 0.1 * s * e == pytest.approx(1.3 * es, rel=1e-9)


def test_a_line_of_steady_states_is_reached_where_the_path_leads():
    """SIR: ln(S_inf / S_0) = -(beta / gamma) (N - S_inf)."""
    result = cme.rate_equations(cme.parse("S + I -> 2 I @ 0.01; I -> R @ 0.5; S = 99; I = 1"), np.inf)
    s = result["S"][0]
    assert np.log(s / 99) == pytest.approx(-0.02 * (100 - s), abs=1e-6)
    assert not result.info["stable"]


def test_algebraic_decay_and_a_start_at_rest():
    assert cme.rate_equations(cme.parse("2 X -> 0 @ 1; X = 5"), np.inf)["X"][0] == pytest.approx(0, abs=1e-9)
    assert cme.rate_equations(cme.parse("X -> 0 @ 1"), np.inf)["X"][0] == 0.0


def test_a_start_on_a_saddle_stays_and_is_called_unstable():
    toggle = cme.parse("0 => U @ 50/(1+V^2); U -> 0 @ 1; 0 => V @ 50/(1+U^2); V -> 0 @ 1")
    result = cme.rate_equations(toggle, np.inf)
    assert result["U"][0] == pytest.approx(result["V"][0], rel=1e-12)
    assert not result.info["stable"]
    assert result.info["slowest_rate"] < 0
    assert cme.rate_equations(toggle, np.inf, initial={"U": 1})["U"][0] > 40


def test_real_amounts_distributions_and_observables():
    network = cme.parse("X -> 0 @ 1; double := 2*X")
    assert cme.rate_equations(network, [1.0], initial=[2.5])["double"][0] == pytest.approx(5 * np.exp(-1), rel=1e-7)
    mean = cme.rate_equations(network, [1.0], initial={(0,): 0.5, (6,): 0.5})["X"][0]
    assert mean == pytest.approx(3 * np.exp(-1), rel=1e-7)
    law = cme.fsp(cme.parse("0 -> X @ 4; X -> 0 @ 1"), [30.0], tol=1e-10)
    assert cme.rate_equations(network, [1.0], initial=law)["X"][0] == pytest.approx(4 * np.exp(-1), rel=1e-6)


def test_boundary_species_and_time_zero():
    result = cme.rate_equations(cme.parse("$A + X <-> 2 X @ 1, 1; X -> 0 @ 3; A = 10; X = 1"), np.inf)
    assert result.means[0] == pytest.approx([10.0, 14.0])  # x (10 - x/2 - 3) = 0: the reverse rate is x^2 / 2
    assert cme.rate_equations(cme.parse("X -> 0 @ 1; X = 3"), 0.0).means.tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("text", "times", "message"),
    [
        (LOTKA, np.inf, r"reached no steady state by t=.* still moves between .*as in an oscillation; ask for finite times"),
        ("0 -> X @ 3", np.inf, r"'X' grows without bound \(past 1e\+15 molecules .*ask for finite times"),
        ("2 X -> 3 X @ 1; X = 5", np.inf, r"grow.? without bound"),
        ("2 X -> 3 X @ 1; X = 5", [1.0], r"grow without bound|could not go on after t="),
    ],
)
def test_no_answer_is_said_with_its_reason(text, times, message):
    with pytest.raises(cme.ConvergenceError, match=message):
        cme.rate_equations(cme.parse(text), times)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X => 0 @ 1; X = 2", r"rate_equations drives 'X' to -.* by t=5; a rate must vanish where a species that it consumes is used up"),
        ("X => 0 @ 1/(X-X); X = 2", r"the rate 1/\(X - X\) of reaction 'r1' is not a finite number in state \{X: 2\}"),
        ("0 => X @ sqrt(X)", r"the rate sqrt\(X\) of reaction 'r1' has no finite derivative in state \{X: 0\}; start elsewhere, or guard"),
    ],
)
def test_models_that_mean_nothing_are_refused(text, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.rate_equations(cme.parse(text), [1.0, 5.0], method="BDF")


def test_arguments_are_checked():
    network = cme.parse("X -> 0 @ 1; X = 3")
    with pytest.raises(ValueError, match="method must be one of 'LSODA', 'BDF', 'Radau', not 'RK45'"):
        cme.rate_equations(network, [1.0], method="RK45")
    with pytest.raises(ValueError, match="method 'BDF' has no effect on the steady state"):
        cme.rate_equations(network, np.inf, method="BDF")
    with pytest.raises(ValueError, match="rtol must be a finite number above 0, not 0"):
        cme.rate_equations(network, [1.0], rtol=0)
    with pytest.raises(ValueError, match="times must be >= 0 and strictly increasing"):
        cme.rate_equations(network, [2.0, 1.0])


def test_info_names_what_ran():
    info = cme.rate_equations(cme.parse("X -> 0 @ 1; X = 3"), [1.0]).info
    assert info["solver"] == "rate_equations"
    assert info["options"] == {"initial": "the network's own", "method": "LSODA", "rtol": 1e-9, "atol": 1e-9}
