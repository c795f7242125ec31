"""Finite state projection with rates that move with time, clock variables and timed events, against closed forms."""

import json
import math
from pathlib import Path

import numpy as np
import oracles
import pytest
import verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.stats import binom, poisson
from strategies import networks

import cme
from cme.elements import Rule
from cme.projection.propagator import Magnus

SUITE = Path(__file__).resolve().parents[1].parent / "shared" / "sbml-suite"
ESTIMATED, BOUNDED = "an estimate", "a bound"


def one_norm_error(law, t, truth):
    found = law["X"][t]
    size = max(len(found), len(truth))
    return np.abs(np.pad(found, (0, size - len(found))) - np.pad(truth, (0, size - len(truth)))).sum()


def binomial_plus_poisson(n0, q, mean, size=500):
    return np.convolve(binom.pmf(np.arange(n0 + 1), n0, q), poisson.pmf(np.arange(size), mean))[:size]


# ------------------------------------------------------------------------------------------------- rates that move


@pytest.mark.parametrize("tol", [1e-5, 1e-8])
def test_A1_with_a_birth_rate_that_oscillates(tol):
    """A.1: X(t) = Binomial(n0, q) + Poisson(lam(t)) for k(t) = k0 (1 + A sin wt)."""
    k0, a, w, g, n0, times = 40, 0.5, 2.0, 1.0, 10, [0.0, 0.5, 1.7, 5.0]
    law = cme.fsp(cme.parse(f"0 => X @ {k0}*(1 + {a}*sin({w}*time)); X -> 0 @ {g}; X = {n0}"), times, tol=tol)
    for i, t in enumerate(times):
        q = math.exp(-g * t)
        mean = k0 / g * (1 - q) + k0 * a * (w * q + g * math.sin(w * t) - w * math.cos(w * t)) / (g**2 + w**2)
        assert one_norm_error(law, i, binomial_plus_poisson(n0, q, mean)) <= law.error_bound[i] + 1e-12
    assert 0 < law.error_bound[-1] <= tol
    assert law.info["integration_error"] == ESTIMATED


def test_A1_with_a_death_rate_that_moves():
    """Pure death with g(t) = 0.3 + 0.2 t: every molecule survives with probability exp(-integral of g)."""
    law = cme.fsp(cme.parse("X => 0 @ X*(0.3 + 0.2*time); X = 30"), [1.0, 3.0], tol=1e-9)
    for i, t in enumerate(law.times):
        truth = binom.pmf(np.arange(31), 30, math.exp(-0.3 * t - 0.1 * t**2))
        assert one_norm_error(law, i, truth) <= law.error_bound[i] + 1e-13


def test_A1_with_a_rate_under_a_rate_rule_that_an_event_changes():
    """k' = -k/2 from 10, raised by 5 at t = 3; the mean obeys m' = k(t) - m, the law is Poisson."""
    network = cme.parse("0 => X @ k; X -> 0 @ 1; k = 10; k' = -0.5*k; up: at time >= 3: k = k + 5; y := 2*X; z := k*X; w := k + time")
    law = cme.fsp(network, [0.0, 2.0, 3.0, 5.0], tol=1e-9)
    k_3 = 10 * math.exp(-1.5)
    k = [10, 10 * math.exp(-1), k_3 + 5, (k_3 + 5) * math.exp(-1)]
    mean = [0.0, 20 * (math.exp(-1) - math.exp(-2)), 20 * (math.exp(-1.5) - math.exp(-3))]
    mean.append(mean[2] * math.exp(-2) + 2 * (k_3 + 5) * (math.exp(-1) - math.exp(-2)))
    assert law["k"] == pytest.approx(k, rel=1e-9)
    for i in range(4):
        assert one_norm_error(law, i, poisson.pmf(np.arange(100), mean[i])) <= law.error_bound[i] + 1e-9
        assert law.values("z", i) == pytest.approx(k[i] * law.states[:, 0], rel=1e-9)
        assert law.values("w", i) == pytest.approx(np.full(len(law.states), k[i] + law.times[i]), rel=1e-9)
    assert law["y"].shape == (4, 2 * law.states.max() + 1)
    assert law.info["executed_events"] == 1
    with pytest.raises(ValueError, match="'z' takes values that are no counts"):
        law["z"]
    with pytest.raises(KeyError, match="no species or observable 'q'; there are X, y, z, w, k"):
        law["q"]


def test_a_species_under_a_rate_rule_is_an_amount_and_drives_the_counts():
    """An inducer decays as I' = -I/2 from 10; X is Poisson with m' = 3 I - m."""
    network = cme.parse("$I -> $I + X @ 3; X -> 0 @ 1; I = 10; I' = -0.5*I; halve: at time >= 4: I = I/2; both := I + X")
    law = cme.fsp(network, [2.0, 4.0], tol=1e-9)
    assert law.species == ("X",)
    assert law["I"] == pytest.approx([10 * math.exp(-1), 5 * math.exp(-2)], rel=1e-9)
    assert one_norm_error(law, 0, poisson.pmf(np.arange(150), 60 * (math.exp(-1) - math.exp(-2)))) <= law.error_bound[0] + 1e-9
    assert law.values("both", 0) == pytest.approx(law.states[:, 0] + 10 * math.exp(-1))
    assert cme.fsp(network, [2.0], initial={"I": 1.5}).mean()[0, 0] == pytest.approx(9 * (math.exp(-1) - math.exp(-2)), abs=1e-4)


def test_formulas_for_how_many_that_come_out_whole():
    law = cme.fsp(cme.parse("0 => (2*b) X @ 3; X => (b/b) Y @ X; b = 1.5"), [1.0], tol=1e-9)
    assert law.mean()[0] == pytest.approx([9 * (1 - math.exp(-1)), 9 * math.exp(-1)], abs=1e-7)


def test_A3_telegraph_with_switching_that_moves_against_its_matrix():
    """A product of small-step dense exponentials is replaced by a tight integration of dp/dt = A(t) p."""
    network = cme.parse("Off => On @ Off*(1 + 0.8*cos(3*time)); On => Off @ On*(0.5 + 0.2*time); On -> On + M @ 3; M -> 0 @ 1; Off = 1")
    standing = cme.parse("Off -> On @ 1; On -> Off @ 1; On -> On + M @ 3; M -> 0 @ 1; Off = 1")
    space = cme.StateSpace.reachable(standing, bounds={"M": 12})
    law = cme.fsp(network, [0.5, 2.0], space=space, tol=1e-8)
    place = {tuple(state): i for i, state in enumerate(space.states.tolist())}

    def matrix(t):
        a = np.zeros((len(place), len(place)))
        for (off, on, m), i in place.items():
            jumps = [((off - 1, on + 1, m), off * (1 + 0.8 * math.cos(3 * t))), ((off + 1, on - 1, m), on * (0.5 + 0.2 * t))]
            for to, rate in [*jumps, ((off, on, m + 1), 3.0 * on), ((off, on, m - 1), float(m))]:
                a[i, i] -= rate
                if to in place:
                    a[place[to], i] += rate
        return a

    start = np.zeros(len(place))
    start[place[(1, 0, 0)]] = 1.0
    truth = solve_ivp(lambda t, p: matrix(t) @ p, (0, 2), start, t_eval=law.times, rtol=1e-11, atol=1e-14, method="DOP853").y.T
    assert np.abs(law.p - truth).sum(axis=1).max() < 1e-8
    assert law.lost == pytest.approx(1 - truth.sum(axis=1), abs=1e-9)


def test_a_law_that_is_no_product_of_time_and_state():
    network = cme.parse("0 => X @ 30/(1 + (X/(10 + 5*sin(time)))^2); X -> 0 @ 1")
    law = cme.fsp(network, [2.0], tol=1e-8)
    x = np.arange(150)

    def derivative(t, p):
        birth = 30 / (1 + (x / (10 + 5 * math.sin(t))) ** 2)
        birth[-1] = 0
        return np.concatenate([[0], birth[:-1] * p[:-1]]) - birth * p - x * p + np.concatenate([(x * p)[1:], [0]])

    truth = solve_ivp(derivative, (0, 2), np.eye(150)[0], rtol=1e-11, atol=1e-14, method="DOP853").y[:, -1]
    assert one_norm_error(law, 0, truth) <= law.error_bound[0] + 1e-9


def test_rates_that_switch_are_solved_piece_by_piece_with_a_bound():
    law = cme.fsp(cme.parse("0 => X @ piecewise(5, time < 2, 1); X -> 0 @ 1"), [1.0, 2.0, 3.0], tol=1e-10)
    mean = [5 * (1 - math.exp(-1)), 5 * (1 - math.exp(-2))]
    mean.append(1 + (mean[1] - 1) * math.exp(-1))
    for i in range(3):
        assert one_norm_error(law, i, poisson.pmf(np.arange(60), mean[i])) <= law.error_bound[i] + 1e-13
    assert law.info["integration_error"] == BOUNDED
    assert law.info["pieces"] == 2


def test_a_pulse_that_is_short_and_a_rate_that_starts_late_are_seen():
    pulse = cme.fsp(cme.parse("0 => X @ piecewise(500, abs(time - 1.2345) < 0.0005, 0); X -> 0 @ 1"), [2.0], tol=1e-10)
    assert pulse.mean()[0, 0] == pytest.approx(500 * (1 - math.exp(-0.001)) * math.exp(-(2 - 1.235)), rel=1e-9)
    late = cme.fsp(cme.parse("A => B @ A*max(0, time - 1); A = 6"), [0.5, 3.0], tol=1e-9)
    assert late.mean()[:, 0] == pytest.approx([6, 6 * math.exp(-2)], abs=1e-8)


@pytest.mark.parametrize("rate", ["(sin(time)^2 + cos(time)^2)", "(k + 0*time)", "c"])
def test_constant_rates_written_with_time_are_the_static_law(rate):
    """Twin: the same law by Magnus steps, or once the time has been simplified away."""
    text = f"0 => X @ 8*{rate}; 2 X -> Y @ 0.1; Y => 0 @ Y*{rate}; X = 3; k = 1; c = 1; "
    moved = cme.fsp(cme.parse(text + ("c' = 0*c" if rate == "c" else "")), [1.0, 4.0], tol=1e-8)
    static = cme.fsp(cme.parse("0 -> X @ 8; 2 X -> Y @ 0.1; Y -> 0 @ 1; X = 3"), [1.0, 4.0], tol=1e-8)
    for name in ("X", "Y"):
        size = min(moved[name].shape[1], static[name].shape[1])
        assert moved[name][:, :size] == pytest.approx(static[name][:, :size], abs=2e-8)


def test_a_set_that_grows_and_travels_with_the_law():
    """The mean climbs from 0 to 660; the law is Poisson, and what is lost bounds the error."""
    law = cme.fsp(cme.parse("0 => X @ 100*time; X -> 0 @ 0.1"), [2.0, 4.0], tol=1e-6)
    for i, t in enumerate(law.times):
        mean = 1000 * t - 10000 * (1 - math.exp(-0.1 * t))
        assert one_norm_error(law, i, poisson.pmf(np.arange(1500), mean)) <= law.error_bound[i] + 1e-12
    assert law.info["expansions"] > 0
    assert law.error_bound[-1] <= 1e-6


# -------------------------------------------------------------------------------------------------------- events


def test_suite_28_immigration_death_with_a_reset():
    """DSMTS 00028: after X = 50 at t = 25, X(t) = Binomial(50, q) + Poisson(10 (1 - q))."""
    times = np.arange(51.0)
    law = cme.fsp(cme.parse("0 -> X @ 1; X -> 0 @ 0.1; reset: at time >= 25, t0 = false: X = 50"), times, tol=1e-10)
    for t in (24, 25, 26, 50):
        q = math.exp(-0.1 * (t if t < 25 else t - 25))
        assert one_norm_error(law, t, binomial_plus_poisson(50 if t >= 25 else 0, q, 10 * (1 - q))) <= law.error_bound[t] + 1e-13
    assert law.sd()[25, 0] < 1e-4  # all is at 50 but for what was lost
    assert law.error_bound[-1] <= 1e-10


def test_suite_32_dimerisation_with_a_reset():
    """DSMTS 00032: starts anew at t = 25."""
    times = np.arange(51.0)
    law = cme.fsp(cme.parse("2 P -> P2 @ 0.001; P2 -> 2 P @ 0.01; P = 100; reset: at time >= 25: P = 100, P2 = 0"), times, tol=1e-10)
    assert law.mean()[25:50] == pytest.approx(law.mean()[:25], abs=1e-8)
    assert law.sd()[25:50] == pytest.approx(law.sd()[:25], abs=1e-6)
    if not SUITE.exists():
        return
    exact = json.loads((SUITE / "exact_refs.json").read_text())["00032"]
    for s, name in enumerate(law.species):
        assert law.mean()[:, s] == pytest.approx(np.array(exact[name]["mean"]), abs=1e-7)
        assert law.sd()[:, s] == pytest.approx(np.array(exact[name]["sd"]), abs=1e-6)


def test_an_output_at_an_event_is_after_it_and_one_just_before_is_not():
    law = cme.fsp(cme.parse("X -> 0 @ 0.5; X = 8; dose: at time >= 2: X = X + 4"), [0.0, 2 - 1e-9, 2.0], tol=1e-9)
    assert law.mean()[:, 0] == pytest.approx([8, 8 * math.exp(-1), 8 * math.exp(-1) + 4], abs=1e-8)


def test_times_that_differ_by_rounding_are_the_same_and_strict_conditions_count_just_after():
    """0.1 + 0.2 is due at 0.3; time > 0.3 holds after 0.3, time >= 0.3 at 0.3."""
    for trigger, at_it in (("time >= 0.1 after 0.2", 9), ("time > 0.3", 4), ("time >= 0.1 + 0.2", 9), ("!(time <= 0.3)", 4)):
        network = cme.parse(f"X -> 0 @ 0; X = 4; a: at {trigger}: X = 9; k = 1; b: at {trigger}: k = 2")
        law = cme.fsp(network, [0.1, 0.3, 0.5])
        assert law.mean()[:, 0].tolist() == [4, at_it, 9]
        assert law["k"].tolist() == [1, 1 if at_it == 4 else 2, 2]
        assert cme.fsp(network, [0.3]).mean()[0, 0] == at_it


def test_events_at_time_0():
    text = "X -> 0 @ 1; X = 4; double: at time >= 0, t0 = {}: X = 2*X"
    for before, count in (("false", 8), ("true", 4)):
        law = cme.fsp(cme.parse(text.format(before)), [0.0, 1.0], tol=1e-9)
        assert law.mean()[:, 0] == pytest.approx([count, count * math.exp(-1)], abs=1e-8)
        assert cme.fsp(cme.parse(text.format(before)), [0.0]).mean()[0, 0] == count


def test_delays_values_from_trigger_time_and_executions_at_the_last_time():
    text = "X -> 0 @ 1; X = 9; k = 1; k' = 1; fill: at time >= 1 after {}: X = {}"
    assert cme.fsp(cme.parse(text.format("0.5*k", "floor(k + 0.5)")), [1.9, 2.0]).mean()[:, 0] == pytest.approx(
        [9 * math.exp(-1.9), 2], abs=1e-5
    )
    late = cme.parse("X -> 0 @ 1; X = 9; fill: at time >= 1 after 1, fromTrigger = false: X = X + 3")
    assert cme.fsp(late, [2.0, 3.0]).mean()[:, 0] == pytest.approx([9 * math.exp(-2) + 3, 9 * math.exp(-3) + 3 * math.exp(-1)], abs=1e-5)


def test_several_events_at_once_go_by_priority():
    each = "at time >= 1, fromTrigger = false, priority = "
    for first, second, count in ((2, 1, 8), (1, 2, 7)):
        law = cme.fsp(cme.parse(f"X -> 0 @ 0; X = 3; a: {each}{first}: X = X + 1; b: {each}{second}: X = 2*X"), [1.0])
        assert law.probability(lambda x, count=count: x == count)[0] == 1.0


def test_where_chance_decides_about_the_order_the_law_is_the_mean_of_both():
    """With values from the trigger time, the last one stays: 4 or 6; otherwise 2 (3 + 1) = 8 or 2 * 3 + 1 = 7."""
    for flag, counts in (("true", (4, 6)), ("false", (7, 8))):
        each = f"at time >= 1, fromTrigger = {flag}"
        law = cme.fsp(cme.parse(f"X -> 0 @ 0; X = 3; a: {each}: X = X + 1; b: {each}: X = 2*X"), [0.5, 1.0])
        assert [law.probability(lambda x, n=n: x == n)[1] for n in counts] == [0.5, 0.5]
    many = "; ".join(f"e{i}: at time >= 1: X{i} = {i}" for i in range(12))  # their order does not matter: one of 12! is enough
    law = cme.fsp(cme.parse("; ".join(f"X{i} -> 0 @ 0" for i in range(12)) + "; " + many), [1.0])
    assert law.states[law.p[0] == 1].tolist() == [list(range(12))]


@pytest.mark.parametrize(
    "text",
    [
        "X -> 0 @ 0.1; Y -> X @ 0.2; X = 5; Y = 6; "
        "a: at time >= 2: X = X + Y; b: at time >= 2: Y = 2*X; c: at time >= 2, fromTrigger = false: X = X + 1",
        "0 -> X @ 3; X -> 0 @ 0.4; s = 0; a: at time >= 1: s = 1; b: at s > 0.5 after 1, fromTrigger = false: X = 2*X, s = 0; "
        "c: at s < 0.5 && time > 1.5: X = X + 1",
        "0 => X @ k*(1 + 0.5*sin(time)); X -> 0 @ 0.5; k = 6; k' = -0.2*k; dose: at rem(time, 3) < 1 && time > 1: X = X + 5",
    ],
)
def test_ssa_and_fsp_agree(text):
    """Two implementations of events and moving rates that share nothing but the order of executions."""
    network, times, n_paths = cme.parse(text), [0.5, 2.0, 3.5], 4000
    law, paths = cme.fsp(network, times, tol=1e-7), cme.ssa(network, times, n_paths=n_paths, seed=3)
    for t in range(3):
        for name in law.species:
            verdict.samples_match_pmf(paths[name][:, t], law[name][t], law.lost[t])


def test_equal_images_are_added_up():
    law = cme.fsp(cme.parse("0 -> X @ 2; X -> 0 @ 1; halve: at time >= 1: X = floor(X/2)"), [1.0], tol=1e-9)
    before = poisson.pmf(np.arange(80), 2 * (1 - math.exp(-1)))
    assert one_norm_error(law, 0, before.reshape(-1, 2).sum(axis=1)) <= law.error_bound[0]


def test_doses_again_and_again():
    """Each period the mean falls by q = exp(-0.3) and three molecules are added."""
    law = cme.fsp(cme.parse("X -> 0 @ 0.3; dose: at rem(time, 1) < 0.5: X = X + 3"), [40.0], tol=1e-7)
    q = math.exp(-0.3)
    assert law.mean()[0, 0] == pytest.approx(3 * (1 - q**40) / (1 - q), rel=1e-6)
    assert law.info["executed_events"] == 40
    assert law.error_bound[0] <= 1e-7


def test_an_event_that_moves_the_law_out_of_a_given_space_is_counted_as_lost():
    network = cme.parse("X -> 0 @ 1; X = 3; dose: at time >= 1: X = X + 2")
    space = cme.StateSpace.reachable(cme.parse("X -> 0 @ 1; X = 3"))
    law = cme.fsp(network, [0.5, 1.0], space=space)
    stays = binom.pmf(np.arange(4), 3, math.exp(-1))
    assert law.lost == pytest.approx([0, stays[2:].sum()], abs=1e-9)


@settings(max_examples=12, deadline=None)
@given(network=networks(max_species=2, max_reactions=3, hill=False), cut=st.floats(0.05, 0.95))
def test_a_run_cut_by_an_event_that_changes_nothing_is_the_uncut_one(network, cut):
    """Law, for random networks; and one cut by a switch whose two sides are the same."""
    name = network.species_names[0]
    idle = cme.Event("idle", cme.infix.parse(f"time >= {cut!r}"), (Rule(name, cme.infix.parse(name)),))
    whole = cme.fsp(network, [cut, 1.0], tol=1e-7)
    pieces = cme.fsp(cme.Network(**{**vars_of(network), "events": (idle,)}), [cut, 1.0], tol=1e-7)
    assert pieces.info["executed_events"] == 1
    for species in network.species_names:
        size = max(whole[species].shape[1], pieces[species].shape[1])
        a, b = (np.pad(law[species], ((0, 0), (0, size - law[species].shape[1]))) for law in (whole, pieces))
        assert np.all(np.abs(a - b).sum(axis=1) <= whole.error_bound + pieces.error_bound + 1e-12)


def vars_of(network):
    return {name: getattr(network, name) for name in ("species", "reactions", "initial", "parameters", "compartments", "rules", "name")}


# ----------------------------------------------------------------------------------------------------- generators


def test_a_time_dependent_generator_of_a_network():
    network = cme.parse("A => B @ A*(1 + time)*k; B -> A @ 2; A = 2; k = 1; faster: at time >= 1: k = 3")
    generator = cme.TimeDependentGenerator.from_network(network, until=2.0)
    order = np.argsort(generator.states[:, 0])
    assert generator.at(0.5).matrix.toarray()[np.ix_(order, order)].tolist() == [[-4, 1.5, 0], [4, -3.5, 3], [0, 2, -3]]
    assert generator.at(1.0).matrix.toarray()[np.ix_(order, order)][:, 2].tolist() == [0, 12, -12]
    with pytest.raises(ValueError, match="known from time 0 to 2, not at 3"):
        generator.at(3.0)
    with pytest.raises(cme.ModelError, match="event 'dose' changes the count of 'X', which no generator does; use fsp"):
        cme.TimeDependentGenerator.from_network(cme.parse("X -> 0 @ 1; dose: at time >= 1: X = 2"), until=2.0)
    law = cme.fsp(cme.TimeDependentGenerator.from_network(cme.parse("A => B @ A*time; A = 2"), 3.0), [1.0], initial=(2, 0))
    assert law.mean()[0, 0] == pytest.approx(2 * math.exp(-0.5), abs=1e-6)


def test_a_space_of_another_network_holds_states_not_rates():
    slow, fast = (cme.parse(f"0 -> X @ {k}; X -> 0 @ 1") for k in (2, 6))
    space = cme.StateSpace.reachable(slow, bounds={"X": 40})
    assert cme.fsp(fast, [1.0], space=space).mean()[0, 0] == pytest.approx(6 * (1 - math.exp(-1)), abs=1e-6)


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 => X @ cos(time); X -> 0 @ 1", r"the propensity cos\(time\) of reaction 'r1' is negative in state \{X: 0, time: 1\.\d+\}"),
        ("0 => X @ 1 + X*log(1.5 - time)", r"is (negative|not a finite number) in state \{X: \d+, time: "),
        ("X => 0 @ 1 + time; X = 1", r"would drive a count below zero; its propensity 1 \+ time must vanish"),
        ("X => 0 @ 1 + time + X; X = 1", "would drive a count below zero"),
        ("0 -> X @ 1; X = 3; h: at time >= 1: X = X/2", r"event 'h' sets 'X' to 1.5 at t=1 in state \{X: 3\}, which is no whole"),
        ("0 -> X @ 1; X = 3; h: at time >= 1: X = X - 5", r"event 'h' sets 'X' to -\d at t=1 in state \{X: \d\}, and a count can't"),
        ("0 -> X @ 1; h: at time >= 1: X = 1/X", "event 'h' sets 'X' to inf at t=1 in state {X: 0}, and a count must"),
        ("0 => X @ k; k = 1; a: at time >= 1: k = 2; b: at time >= 1: k = 3", "same priority, and their order decides about a variable"),
        ("0 -> X @ 1; a: at X >= 5: X = 0", "fsp can't take 'network': event 'a' happens at times, or .*; use ssa or rate_equations"),
        ("X -> 0 @ 1; a: at time >= 1 after 1: X = 2*X", "fsp can't take 'network': event 'a' happens at times, or remembers values"),
        ("0 => X @ k; k = 1; k' = X", "'k', set by a rate rule, changes in time, and on the way depends on counts; use ssa or"),
        ("X -> 0 @ 1; X ~ poisson(3)", "the start of 'X' is drawn at random; use ssa"),
        ("0 -> X @ 1; a: at time >= 1: X = 2, a2 = 1; a2 = 0; b: at a2 > 0: a2 = 0; c: at a2 == 0: a2 = 1", "without end at t=1"),
        ("0 -> X @ 1; a: at time >= 1 after -1: X = 2", "the delay of event 'a' is negative"),
    ],
)  # fmt: skip
def test_refusals(text, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.fsp(cme.parse(text), [3.0])


@pytest.mark.parametrize("solver", ["stationary", "Generator", "StateSpace", "lump", "jump_moments"])
def test_what_takes_constant_rates_alone_says_what_is_in_the_way_and_who_can(solver):
    network = cme.parse("0 => X @ 1 + time; X -> 0 @ 1")
    call = {
        "stationary": cme.stationary,
        "Generator": cme.Generator.from_network,
        "StateSpace": cme.StateSpace.reachable,
        "lump": lambda network: cme.lump(network, keep=["X"]),
        "jump_moments": lambda network: cme.jump_moments(network, 1),
    }[solver]
    message = rf"{solver} can't take 'network': the propensity 1 \+ time of reaction 'r1' depends on time; use ssa or fsp or rate_equations"
    with pytest.raises(cme.ModelError, match=message):
        call(network)


@pytest.mark.parametrize("tol", [1e-6, 1e-9])
@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("A => 0 @ A*max(0, 1 - abs(time - 5)); A = 10", 10 * math.exp(-1)),
        ("0 => A @ 20*(1 + abs(sin(time))); A = 30", 30 + 20 * (10 + 7 + math.cos(10))),  # |sin| integrates to 2 each half period
    ],
)
def test_steps_grow_again_after_a_kink_of_the_rates(text, exact, tol):
    """Steps that short find an error of round-off, whatever their length."""
    law = cme.fsp(cme.parse(text), [10.0], tol=tol)
    assert law.mean()[0, 0] == pytest.approx(exact, rel=20 * tol)
    assert law.error_bound[0] < tol


def test_A1_poisson_oracle_agrees_with_the_repository_oracle():
    """The two ways in which this file and `oracles` write A.1 are the same."""
    q = math.exp(-0.7)
    assert np.abs(binomial_plus_poisson(60, q, 20 * (1 - q)) - oracles.immigration_death(500, 20, 1.0, 60, 0.7)).max() < 1e-13


def test_a_remainder_by_zero_is_told():
    with pytest.raises(cme.ModelError, match=r"divides by zero; guard it, for example with piecewise\(\)"):
        cme.fsp(cme.parse("0 => X @ piecewise(0, rem(1, max(time - 1, 0)) < 2, 5)"), [0.5, 0.9])


# ------------------------------------------------------------------------------------------- what rounding leaves of accuracy


BREATHING = cme.parse("0 => X @ 20*(1 + sin(time)); X -> 0 @ 1")  # Poisson, with the mean that follows


def breathing_mean(t):
    return 20 * (1 - math.exp(-t)) + 10 * (math.sin(t) - math.cos(t) + math.exp(-t))


def test_A20_ten_digits_with_rates_that_move():
    law = cme.fsp(BREATHING, [1.0], tol=1e-10)
    truth = poisson.pmf(law.states[:, 0], breathing_mean(1.0))
    assert np.abs(law.p[0] - truth).sum() <= law.error_bound[0] <= 1e-10


def test_that_rounding_is_too_much_is_told_when_it_is(monkeypatch):
    steps, true_step = [], Magnus.advance

    def counted(self, *arguments):
        steps.append(1)
        return true_step(self, *arguments)

    monkeypatch.setattr(Magnus, "advance", counted)
    told = (
        r"rates that move with time are followed in so short steps here that round-off alone is too much: "
        r"about \d\.\de-13 in 0\.\d+ of 5 units of time; loosen tol=1e-12, about \d+-fold if it goes on like this"
    )
    with pytest.raises(cme.ConvergenceError, match=told):
        cme.fsp(BREATHING, [5.0], tol=1e-12)
    assert len(steps) < 150
    moving = cme.TimeDependentGenerator.from_network(cme.parse("A => B @ A*(2 + sin(time)); B -> A @ 1; A = 1"), until=50.0)
    with pytest.raises(cme.ConvergenceError, match=r"of 50 units of time; loosen tol=5e-13, about"):
        cme.fsp(moving, [50.0], tol=1e-12, initial=(1, 0))
    with pytest.raises(cme.ConvergenceError, match="loosen tol=1e-13"):
        cme.propagator(moving, 50.0, tol=1e-13)


def test_A1_rates_that_come_to_rest_are_not_refused_for_what_their_first_steps_cost():
    law = cme.fsp(cme.parse("0 => X @ 20*exp(-time)"), [40.0], tol=2e-11)
    assert np.abs(law.p[0] - poisson.pmf(law.states[:, 0], 20.0)).sum() <= law.error_bound[0] <= 2e-11


def test_on_a_given_set_the_error_is_reported_as_it_is():
    law = cme.fsp(BREATHING, [0.5], tol=1e-12, space=cme.StateSpace.reachable(cme.parse("0 -> X @ 1; X -> 0 @ 1"), bounds={"X": 60}))
    truth = poisson.pmf(law.states[:, 0], breathing_mean(0.5))
    assert np.abs(law.p[0] - truth).sum() <= law.error_bound[0] < 1e-11
