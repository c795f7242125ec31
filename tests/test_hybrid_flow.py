"""The rate equations of networks with events, rate rules, time and amounts that are no counts, against closed forms."""

import numpy as np
import pytest

import cme
from cme import errors
from cme.continuum.hybrid_flow import follow
from cme.kernels import events
from cme.network import Network

T = np.linspace(0.0, 10.0, 41)


def solve(text: str, times=T, **options):
    """Solve beside a reaction that minds its own business."""
    return cme.rate_equations(cme.parse(f"{text}; 0 -> Other @ 0.7"), times, **options)


# ------------------------------------------------------------------------------------------------------------ events


def test_growth_and_division():
    """dX/dt = X, halved at 2: X = exp(t mod ln 2)."""
    result = solve("X' = X; X = 1; at X >= 2: X = X/2")
    assert result["X"] == pytest.approx(np.exp(T % np.log(2)), rel=2e-7)
    assert result.info["n_events"] == 14


@pytest.mark.parametrize("method", ["LSODA", "BDF", "Radau"])
def test_bouncing_ball(method):
    """Without loss it is a parabola again and again, with the period 2 sqrt(2 h / g)."""
    result = solve("h' = v; v' = -10; h = 5; v = 0; at h <= 0 && v < 0: v = -v, h = 0", np.array([0.3, 1.2, 2.5, 7.75]), method=method)
    since_top = (result.times + 1) % 2 - 1
    assert result["h"] == pytest.approx(5 - 5 * since_top**2, abs=1e-6)


def test_delays_and_what_is_remembered_from_the_trigger():
    text = "X' = 1; X = 0; early = 0; late = 0; at X >= 1 after 2.5: early = X; at X >= 1 after 2.5, fromTrigger = false: late = X"
    result = solve(text, [3.49, 3.5, 5.0])
    assert result["early"] == pytest.approx([0, 1, 1])
    assert result["late"] == pytest.approx([0, 3.5, 3.5])


def test_priorities_decide_and_are_evaluated_when_due():
    text = "k = 0; p = {}; at time >= 1, priority = p, fromTrigger = false: k = 2*k + 1; at time >= 1, priority = 2: k = 10"
    assert solve(text.format(1), [0.5, 1.0])["k"].tolist() == [0, 21]
    assert solve(text.format(3), [0.5, 1.0])["k"].tolist() == [0, 10]
    assert solve(text.format(3) + "; at time >= 1, priority = 4: p = 1", [0.5, 1.0])["k"].tolist() == [0, 21]


def test_equal_priorities_are_decided_by_the_same_chance_in_each_run():
    event = "at rem(time, 1) >= 0.5, fromTrigger = false: last = "
    text = f"last = 0; one: {event}1; two: {event}2"
    once, again = solve(text, np.arange(1.0, 32)), solve(text, np.arange(1.0, 32))
    assert np.array_equal(once["last"], again["last"])
    assert 4 < (once["last"] == 1).sum() < 27  # 31 tosses: 4 sd are 11


def test_a_cascade_happens_at_one_time():
    result = solve("a = 0; b = 0; c = 0; at time >= 2: a = 1; at a > 0: b = 2; at b > 1: c = a + b", [1.999, 2.0])
    assert [float(result[name][1]) for name in "abc"] == [1, 2, 3]
    assert result["c"][0] == 0


def test_an_execution_that_does_not_persist_is_cancelled():
    """X = sin(t) is above 1/2 from pi/6 to 5 pi/6, for 2.09."""
    text = "X' = Y; Y' = -X; X = 0; Y = 1; n = 0; at X > 0.5 after {}, persistent = false: n = n + 1"
    assert solve(text.format(2.0), [2.5, 2.6, 6.0])["n"].tolist() == [0, 1, 1]
    assert solve(text.format(2.2), [2.5, 2.8, 6.0])["n"].tolist() == [0, 0, 0]


def test_triggers_at_time_zero():
    text = "X = 0; at time >= 0, t0 = {}: X = 7"
    assert solve(text.format("true"), [0.0, 1.0])["X"].tolist() == [0, 0]
    assert solve(text.format("false"), [0.0, 1.0])["X"].tolist() == [7, 7]


@pytest.mark.parametrize(("sign", "at_once"), [(">=", True), (">", False)])
@pytest.mark.parametrize("rate", ["1", "0.3", "0.1"])
def test_an_output_at_the_very_time_of_an_event(sign, at_once, rate):
    """Rounded sums of steps do not decide what is seen there, but the condition does."""
    times = np.arange(11.0)
    for n in range(1, 10):
        seen = solve(f"p' = {rate}; p = 0; q = 0; at p {sign} {n}*{rate}: q = 1", times)["q"]
        assert np.array_equal(seen, times >= n if at_once else times > n)


def test_sums_of_times_are_compared_as_times():
    times = [0.1, 0.2, 0.3, 0.4]  # 0.1 + 0.2 is not 0.3
    assert solve("q = 0; at time >= 0.1 after 0.2: q = 1", times)["q"].tolist() == [0, 0, 1, 1]
    assert solve("q = 0; at time - 0.1 >= 0.2: q = 1", times)["q"].tolist() == [0, 0, 1, 1]


def test_a_condition_that_holds_twice_within_a_step():
    """y = cos(2 pi t) is above 1 - 1e-8 for 4.5e-5 around each whole number."""
    text = "x' = 6.283185307179586*y; y' = -6.283185307179586*x; x = 0; y = 1; n = 0; at y > 0.99999999: n = n + 1"
    assert solve(text, [0.5, 3.5, 10.5])["n"].tolist() == [0, 3, 10]


def test_pulses_much_shorter_than_a_step():
    """1000 per unit time during the first thousandth of each unit; decay at rate 1."""
    result = solve("0 => X @ piecewise(1000, rem(time, 1) < 0.001, 0); X -> 0 @ 1", np.arange(0.25, 10))
    dose = 1000 * (1 - np.exp(-1e-3))
    doses = np.exp(-np.subtract.outer(result.times, np.arange(10) + 1e-3))
    assert result["X"] == pytest.approx(np.where(doses < 1, dose * doses, 0).sum(axis=1), rel=1e-7)


def test_a_condition_on_time_is_met_however_short_it_holds():
    assert solve("n = 0; at time >= 77 && time < 77.0000001: n = n + 1", [76.0, 1e4])["n"].tolist() == [0, 1]
    assert solve("n = 0; at time == 77: n = n + 1", [76.0, 77.0])["n"].tolist() == [0, 1]
    assert solve("n = 0; at sin(6.283185307179586*time) > 0.999999: n = n + 1", [20.0])["n"].tolist() == [20]


# ----------------------------------------------------------------------------------- rate rules, volumes, stoichiometry


def test_dilution_in_a_growing_volume():
    """The amount stays, the volume is exp(g t)."""
    result = solve("compartment cell = 2; species X in cell; X = 6; cell' = 0.3*cell; conc := X/cell; X -> X @ 1")
    assert result["cell"] == pytest.approx(2 * np.exp(0.3 * T), rel=1e-7)
    assert result["conc"] == pytest.approx(3 * np.exp(-0.3 * T), rel=1e-7)
    assert result["X"] == pytest.approx(6)


def test_synthesis_in_a_growing_volume():
    """c' = k V / V - g c where the reaction makes k V: c = k/g (1 - exp(-g t))."""
    result = solve("compartment V = 1; V' = 0.5*V; conc := X/V; 0 => X @ 2*V")
    assert result["conc"] == pytest.approx(4 * (1 - np.exp(-0.5 * T)), rel=1e-7, abs=1e-9)


def test_fractions_of_molecules_and_numbers_that_change():
    fixed = solve("A => (1.5) B @ A; A = 4")
    assert fixed["B"] == pytest.approx(6 * (1 - np.exp(-T)), rel=1e-7, abs=1e-9)
    moving = solve("n' = 0.5; n = 1; 0 => (n) X @ 2")  # X' = 2 (1 + t/2)
    assert moving["X"] == pytest.approx(2 * T + 0.5 * T**2, rel=1e-7, abs=1e-9)
    by_event = solve("n = 1; 0 => (n) X @ 2; at time >= 4: n = 3")
    assert by_event["X"] == pytest.approx(np.where(T < 4, 2 * T, 8 + 6 * (T - 4)), rel=1e-7, abs=1e-9)


def test_a_net_flux():
    """A <=> B relaxes at rate kf + kr to the ratio kf : kr."""
    result = solve("A <=> B @ 2*A - 0.5*B; A = 10")
    assert result["A"] == pytest.approx(2 + 8 * np.exp(-2.5 * T), rel=1e-7)


def test_time_in_a_rate_and_in_an_observable():
    result = solve("0 => X @ 2*time; clock := 3*time")
    assert result["X"] == pytest.approx(T**2, rel=1e-7, abs=1e-9)
    assert result["clock"] == pytest.approx(3 * T)


def test_amounts_may_fall_below_zero_where_that_is_asked_for():
    assert solve("X => 0 @ 1; X = 2", [5.0], below_zero="allow")["X"][0] == pytest.approx(-3)
    assert solve("X => 0 @ 1 + 0*time; X = 2; p' = 1; p = 0", [5.0])["X"][0] == pytest.approx(-3)
    with pytest.raises(cme.ModelError, match=r"rate_equations drives 'X' to -3 by t=5; a rate must vanish"):
        solve("X => 0 @ 1; X = 2; p' = 1; p = 0", [5.0], below_zero="refuse")


def test_small_quantities_keep_their_digits():
    result = solve("x' = -x; x = 1e-8", [5.0])
    assert result["x"][0] == pytest.approx(1e-8 * np.exp(-5), rel=1e-3)


def test_starts_and_what_the_result_says():
    network = cme.parse("X -> 0 @ k; k' = -k; k = 1; X = 3")
    other = cme.rate_equations(network.with_parameters(k=2), [1.0], initial={"X": 5})
    assert other["X"][0] == pytest.approx(5 * np.exp(-2 * (1 - np.exp(-1))), rel=1e-7)
    assert other["k"][0] == pytest.approx(2 * np.exp(-1), rel=1e-7)
    info = cme.rate_equations(network, [1.0]).info
    options = {"initial": "the network's own", "method": "LSODA", "rtol": 1e-9, "atol": 1e-12, "below_zero": "allow"}
    assert (info["options"], info["n_events"], info["n_restarts"]) == (options, 0, 1)


TWINS = [
    "0 -> X @ 8; X -> 0 @ 1",
    "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250",
    "0 => U @ 50/(1 + V^2); U -> 0 @ 1; 0 => V @ 50/(1 + U^2); V -> 0 @ 1; U = 3",
    "A + B <-> C @ 1, 0.1; C -> A + D @ 1000; A = 10; B = 100",
]


@pytest.mark.parametrize("text", TWINS)
def test_the_path_for_chains_and_the_path_for_all_else_agree(text):
    network = cme.parse(text)
    course = follow(network, np.array(network.initial.states[0]), T, method="LSODA", rtol=1e-9, atol=1e-12)
    assert course.states == pytest.approx(cme.rate_equations(network, T).means, rel=1e-6, abs=1e-7)


# ------------------------------------------------------------------------------------------------- what has no value


def test_each_status_of_the_event_machine_has_a_sentence():
    for name in ("UNSETTLED", "CROWDED", "BAD_DELAY", "BAD_DRAW", "UNDEFINED_VALUE"):
        assert getattr(errors, name) == getattr(events, name)
        assert "'E'" in str(errors.event_error(getattr(errors, name), "E", 1.0))
    assert errors.BAD_COUNT == events.BAD_COUNT


def test_what_is_undefined_and_unused_does_no_harm():
    text = "X -> 0 @ 1; X = 1; p = 0; p' = 1; at time >= 3: p = 2"
    network = cme.parse(text)
    unset = Network(**{**vars_of(network), "parameters": {**network.parameters, "p": np.nan}})
    result = cme.rate_equations(unset, [1.0, 3.0, 4.0])
    assert np.array_equal(result["p"], [np.nan, 2, 3], equal_nan=True)
    assert result["X"] == pytest.approx(np.exp(-result.times), rel=1e-7)


def vars_of(network: Network) -> dict:
    return {name: getattr(network, name) for name in network.__dataclass_fields__}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "X => 0 @ X/(X - 1); X = 1; p' = 1; p = 0",
            r"the rate X/\(X \+ -1\) of reaction 'r1' is inf at t=0 in state \{X: 1, Other: 0, p: 0\}",
        ),
        ("x' = -sqrt(x); x = 1", r"the rate rule -sqrt\(x\) for 'x' gives nan at t=2 .*start elsewhere, or guard the law"),
        ("x = 0; bad: at time >= 3 after -1: x = 1", r"the delay of event 'bad' is negative or no number at t=3; it must be >= 0"),
        ("0 -> X @ 1; bad: at time >= 3: X = 0/(time - 3)", r"event 'bad' assigns what is not a number at t=3; guard its formulas"),
        (
            "a = 0; up: at a < 1 && time > 3: a = 1; down: at a > 0 && time > 3: a = 0",
            r"events set each other off without end at t=3, '(up|down)' most often",
        ),
        ("x' = 1; x = 0; q = 0; hit: at x/3 == 0.7: q = 1", r"event 'hit' waits for x/3 == 0.7, which holds for an instant at t=2.1"),
        (
            "x' = 1; x = 0; q = 0; hit: at x/3 >= 0.7 && x/3 <= 0.7: q = 1",
            r"event 'hit' waits for x/3 >= 0.7 and x/3 <= 0.7, which holds for an instant at t=2.1 and is hit by no number; write >= or <=",
        ),
        ("x' = 1; x = 0; q = 0; hit: at !(x/3 < 0.7 || x/3 > 0.7): q = 1", r"event 'hit' waits for x/3 < 0.7 and x/3 > 0.7, which holds"),
        ("x = 1; at time >= 3: x = normal(0, 1)", r"rate_equations can't take 'network': a value in event .* is drawn at random; use ssa"),
    ],
)
def test_models_that_go_wrong_name_the_element(text, message):
    with pytest.raises(cme.ModelError, match=message):
        solve(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x' = piecewise(-1, x > 0, 1); x = 1", r"met 200 jumps of events or rates between t=1.* and t=1.*switches to and fro there"),
        ("x' = x^2; x = 1", r"could not go on after t=1 .*asked to t=10.*something may grow without bound there"),
        ("x' = 1/(time - 3); x = 1", r"could not go on after t=3 .*asked to t=10"),
    ],
)
def test_no_answer_is_said_with_its_reason(text, message):
    with pytest.raises(cme.ConvergenceError, match=message):
        solve(text)


@pytest.mark.parametrize(
    "text",
    ["A => 0 @ A*max(0, 5 - abs(time - 62)); A = 10", "A' = -A*max(0, 5 - abs(s - 62)); A = 10; s' = 1; s = 0"],
)
@pytest.mark.parametrize("method", ["LSODA", "BDF", "Radau"])
def test_a_pulse_of_a_tenth_of_the_run_is_not_stepped_over(text, method):
    """A = 10 exp(-25): the pulse is a triangle of height 5 and width 10."""
    assert cme.rate_equations(cme.parse(text), [100.0], method=method)["A"] == pytest.approx(10 * np.exp(-25), abs=1e-10)


def test_a_steady_state_needs_constant_rates():
    with pytest.raises(
        cme.ModelError, match=r"comes to rest in no way that can be looked for: 'x', set by a rate rule, .*ask for finite times"
    ):
        solve("x' = -x; x = 1", np.inf)
    with pytest.raises(ValueError, match="below_zero has no effect on a steady state"):
        solve("X -> 0 @ 1", np.inf, below_zero="allow")
    with pytest.raises(ValueError, match="below_zero must be one of 'refuse', 'allow', not 'no'"):
        solve("X -> 0 @ 1", below_zero="no")


@pytest.mark.parametrize(("trigger", "times"), [("x >= 5 && x <= 5", 1), ("!(x < 5 || 5 < x)", 1), ("x < 5 || x == 5", 0), ("5 >= x", 0)])
@pytest.mark.parametrize("flow", ["1", "0.3", "exp(-x/7)"])
def test_a_trigger_that_holds_at_one_value_only(trigger, times, flow):
    """x passes 5 on its way up: what holds at 5 alone turns true there, what ends at 5 does not."""
    result = cme.rate_equations(cme.parse(f"x = 0; x' = {flow}; n = 0; hit: at {trigger}: n = n + 1"), [30.0])
    assert result["n"].tolist() == [times]
