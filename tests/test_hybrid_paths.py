"""ssa with events, rate rules, time in propensities and random draws: closed forms, event semantics to the last bit, and refusals."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import verdict
from hypothesis import given, settings
from scipy import stats
from scipy.linalg import expm
from strategies import networks

import cme
from cme import errors
from cme.arguments import check_seed
from cme.elements import Event, Initial, Rule, Species, Values
from cme.hybrid import Hybrid
from cme.infix import parse as formula
from cme.kernels import curved, hybrid, straight
from cme.network import Network
from cme.sampling.hybrid_paths import HybridPaths
from cme.sampling.motion import Course


def event(name, trigger, sets, **options):
    """An event; the formulas of its delay and priority as text."""
    options = {key: formula(value) if isinstance(value, str) else value for key, value in options.items()}
    return Event(name, formula(trigger), tuple(Rule(target, formula(text)) for target, text in sets.items()), **options)


def model(text="", *, events=(), rates=None, draws=None, **parameters):
    """Reaction text and what has no reactions, with variables as keywords; without text, nothing reacts."""
    declared = "".join(f"; {name} = {value}" for name, value in parameters.items())
    network = cme.parse(text + declared) if text else Network((Species("X"),), (), Initial(((0.0,),)))
    return replace(
        network,
        parameters=Values({**network.parameters, **parameters}),
        rate_rules=tuple(Rule(name, formula(law)) for name, law in (rates or {}).items()),
        events=tuple(events),
        initial=replace(network.initial, draws=tuple(Rule(name, formula(law)) for name, law in (draws or {}).items())),
    )


def is_straight(network):
    return Course(Hybrid(network)).motion.straight


def one_path(network, times, **options):
    return cme.ssa(network, times, n_paths=1, seed=1, threads=1, **options)


# ------------------------------------------------------------------------------------- time in propensities (A.1)


@pytest.fixture(params=["thinned", "integrated"])
def engine(request, monkeypatch):
    """Rates in time are thinned where they can be; without, the hazard is integrated."""
    if request.param == "integrated":
        monkeypatch.setattr("cme.sampling.motion.separate", lambda formula, moving: None)
    return request.param


def test_a1_immigration_at_a_rate_that_depends_on_time(engine):
    """From 0 the law is Poisson with mean 2 (1 - e^-t) + (sin t - cos t + e^-t)."""
    network = model("0 => X @ 2*(1 + sin(time)); X -> 0 @ 1")
    times = np.array([0.0, 0.7, 2.0, 5.0])
    paths = cme.ssa(network, times, n_paths=4000, seed=1)
    assert not is_straight(network)
    assert engine in paths.info["method"]
    for k, t in enumerate(times):
        mean = 2 * (1 - math.exp(-t)) + math.sin(t) - math.cos(t) + math.exp(-t)
        verdict.samples_match_pmf(paths["X"][:, k], stats.poisson.pmf(np.arange(40), mean))


@pytest.mark.parametrize("law", ["A*time", "A*v"])
def test_a_hazard_that_grows_from_zero_is_not_frozen_between_reactions(law, engine):
    """A survives to t with probability exp(-t^2/2); with the hazard of the last reaction it would live for ever."""
    network = model(f"A => 0 @ {law}; A = 1; v = 0", rates={"v": "1"})
    paths = cme.ssa(network, [0.5, 1.0, 2.0], n_paths=4000, seed=2)
    for k, t in enumerate(paths.times):
        verdict.probability_matches(paths["A"][:, k] == 1, math.exp(-(t**2) / 2))
    np.testing.assert_allclose(paths["v"], np.broadcast_to(paths.times, (4000, 3)), rtol=1e-9)


@pytest.mark.parametrize("more", ["", " + 1e-13*time^2"])
def test_a_pulse_of_immigration_is_seen_whole(more, engine):
    """A rate of 300 in [1, 1.01) and none else: Poisson with mean 3, in straight lines and with the hazard integrated."""
    network = model(f"0 => X @ piecewise(300, (time >= 1) && (time < 1.01), 0){more}")
    assert is_straight(network) == (not more)
    paths = cme.ssa(network, [1.0, 1.01, 50.0], n_paths=2000, seed=3)
    assert not paths["X"][:, 0].any()
    assert np.array_equal(paths["X"][:, 1], paths["X"][:, 2])
    verdict.samples_match_pmf(paths["X"][:, 2], stats.poisson.pmf(np.arange(20), 3.0))


@pytest.mark.parametrize("law", ["100*max(0, 1 - abs(time - {})/0.1)", "50*max(0, min(1, 1e6*(0.1 - abs(time - {}))))"])
def test_a_kinked_pulse_of_a_fiftieth_of_the_run_is_not_passed_over(law, engine):  # Poisson with the pulse's area as its mean
    counts = [
        cme.ssa(cme.parse(f"0 => X @ {law.format(middle)}; X = 0"), [10.0], n_paths=100, seed=i)["X"][:, 0]
        for i, middle in enumerate(np.linspace(1.05, 9.37, 12))
    ]
    verdict.samples_match_pmf(np.concatenate(counts), stats.poisson.pmf(np.arange(40), 10.0))


def test_a_rate_that_steps_with_the_whole_hours():
    """Immigration at floor(time): Poisson with mean 0 + 1 + 2 + 3/2 at 3.5."""
    paths = cme.ssa(model("0 => X @ floor(time)"), 3.5, n_paths=2000, seed=4)
    verdict.samples_match_pmf(paths["X"][:, 0], stats.poisson.pmf(np.arange(30), 4.5))


# ---------------------------------------------------------------------------------------------------- rate rules


def test_a_variable_driven_by_a_switching_gene_has_the_moments_of_its_equations():
    """v' = 3 G - v, G switches: the moments E G, E v, E Gv, E v^2 obey linear equations."""
    on, off, k, g = 0.8, 0.5, 3.0, 1.0
    network = model(f"F -> G @ {on}; G -> F @ {off}; F = 1; v = 0", rates={"v": f"{k}*G - {g}*v"})
    a = np.array([
        [0, 0, 0, 0, 0], [on, -on - off, 0, 0, 0], [0, k, -g, 0, 0], [0, k, on, -on - off - g, 0], [0, 0, 0, 2 * k, -2 * g],
    ])  # fmt: skip
    paths = cme.ssa(network, [0.6, 2.0, 6.0], n_paths=4000, seed=5)
    for i, t in enumerate(paths.times):
        moments = expm(a * t) @ [1, 0, 0, 0, 0]
        v, gene = paths["v"][:, i], paths["G"][:, i]
        for found, exact in zip((gene, v, gene * v, v**2), moments[1:], strict=True):
            verdict.mean_matches(found, exact)


def test_a_flow_follows_its_equation():
    """A pendulum, x'' = -x, for ten periods, and v' = v (1 - v)."""
    network = model(x=1.0, p=0.0, v=0.1, rates={"x": "p", "p": "-x", "v": "v*(1 - v)"})
    t = np.linspace(0, 20 * np.pi, 7)
    paths = one_path(network, t)
    np.testing.assert_allclose(paths["x"][0], np.cos(t), atol=2e-7)
    np.testing.assert_allclose(paths["v"][0], 0.1 / (0.1 + 0.9 * np.exp(-t)), rtol=1e-7)


# -------------------------------------------------------------------------------------------------- when events happen


def test_a_timed_reset_of_immigration_and_death():
    """X = 50 at 25 exactly on every path, also for a sample at 25; then binomial survivors and a Poisson number of new ones."""
    network = model("0 -> X @ 1; X -> 0 @ 0.1; X = 100", events=[event("reset", "time >= 25", {"X": "50"})])
    paths = cme.ssa(network, [24.0, 25.0, 26.0], n_paths=4000, seed=6)
    assert is_straight(network)
    assert paths["X"].dtype == np.float64
    assert np.all(paths["X"][:, 1] == 50)
    for column, start, wait in ((0, 100, 24.0), (2, 50, 1.0)):
        alive = math.exp(-0.1 * wait)
        law = np.convolve(stats.binom.pmf(np.arange(start + 1), start, alive), stats.poisson.pmf(np.arange(60), 10 * (1 - alive)))
        verdict.samples_match_pmf(paths["X"][:, column], law)


@pytest.mark.parametrize("bend", [False, True])
@pytest.mark.parametrize(
    ("trigger", "exact"),
    [
        ("time >= 25", 25.0),
        ("time > 25", np.nextafter(25.0, 26.0)),
        ("time == 7.3", 7.3),
        ("3*time - 1 >= 6.5", 2.5),
        ("v >= 2.5", 5.0),
        ("!(v < 2.5)", 5.0),
        ("floor(time) == 3", 3.0),
        ("ceil(time) > 3", np.nextafter(3.0, 4.0)),
        ("rem(time, 4) < 1 && time > 2", 4.0),
    ],
)
def test_an_event_happens_at_its_trigger_time_to_the_last_bit(trigger, exact, bend):
    more = {"w": "cos(time)"} if bend else {}
    network = model(events=[event("E", trigger, {"at": "time", "n": "n + 1"})], v=0.0, w=0.0, at=-1.0, n=0.0, rates={"v": "0.5", **more})
    before, after = np.nextafter(exact, 0), exact
    paths = one_path(network, [1.0, before, after])
    assert is_straight(network) == (not bend and "rem" not in trigger)
    if "v" in trigger and bend:  # here the time comes from an integrator
        assert abs(one_path(network, [1.0, 6.0])["at"][0, 1] - exact) < 1e-8
        return
    assert paths["at"][0].tolist() == [-1.0, -1.0, exact]
    assert paths["n"][0].tolist() == [0.0, 0.0, 1.0]


def test_two_events_between_two_points_of_a_long_step_happen_in_their_order():
    events = [event("late", "time >= 1.00002", {"o": "10*o + 2"}), event("early", "time >= 1.00001", {"o": "10*o + 1", "at": "time"})]
    paths = one_path(model(events=events, w=0.0, o=0.0, at=0.0, rates={"w": "1 - w"}), [1.0, 1.00001, 3.0])
    assert paths["o"][0].tolist() == [0, 1, 12]
    assert paths["at"][0, 2] == 1.00001


def test_a_condition_that_holds_for_a_short_while_is_not_stepped_over():
    """sin(t) > 0.9999 holds for 0.028 in each of 16 periods; nothing else moves."""
    network = model(events=[event("E", "sin(time) > 0.9999", {"n": "n + 1", "at": "time"})], n=0.0, at=0.0)
    paths = one_path(network, np.array([1.5, 2.0, 100.0]))
    assert paths["n"][0].tolist() == [0, 1, 16]
    assert abs(paths["at"][0, 1] - math.asin(0.9999)) < 1e-12
    graze = model(events=[event("E", "x > 0.9999", {"n": "n + 1"})], n=0.0, x=0.0, p=1.0, rates={"x": "p", "p": "-x"})
    assert one_path(graze, [100.0])["n"][0, 0] == 16


def test_an_event_on_counts_happens_with_the_reaction():
    """X counts up to 3 and is set back at once: it is never seen above 2, and its law mod 3 is that of a Poisson number."""
    network = model("0 -> X @ 2", events=[event("full", "X >= 3", {"X": "X - 3"})])
    counts = cme.ssa(network, 4.0, n_paths=3000, seed=7)["X"][:, 0]
    verdict.samples_match_pmf(counts, stats.poisson.pmf(np.arange(60), 8.0).reshape(-1, 3).sum(axis=0))


# ---------------------------------------------------------------------------------------------- what events mean


@pytest.mark.parametrize(("early", "value"), [(True, 1.0), (False, 1.5)])
def test_a_delayed_event_takes_its_values_from_either_end_of_the_delay(early, value):
    later = event("E", "time >= 1", {"w": "v", "at": "time"}, delay="v/2", values_from_trigger=early)
    paths = one_path(model(events=[later], v=0.0, w=0.0, at=0.0, rates={"v": "1"}), [1.25, 1.5, 9.0])
    assert paths["w"][0].tolist() == [0.0, value, value]
    assert paths["at"][0, 2] == (1.0 if early else 1.5)


@pytest.mark.parametrize(("persistent", "done"), [(True, 1.0), (False, 0.0)])
def test_a_trigger_that_turns_false_meanwhile_cancels_what_is_not_persistent(persistent, done):
    short = event("E", "(time >= 1) && (time < 1.2)", {"n": "n + 1"}, delay="0.5", persistent=persistent)
    assert one_path(model(events=[short], n=0.0), 3.0)["n"][0, 0] == done


@pytest.mark.parametrize(("initially", "done"), [(True, 0.0), (False, 1.0)])
def test_the_initial_value_of_a_trigger_decides_about_time_0(initially, done):
    network = model(events=[event("E", "time >= 0", {"X": "X + 7"}, initially=initially)])
    assert one_path(network, [0.0, 1.0])["X"][0].tolist() == [7 * done, 7 * done]


def test_of_events_at_the_same_time_the_highest_priority_goes_first():
    events = [
        event(f"E{i}", "time >= 1", {"o": f"10*o + {i}"}, priority=p, values_from_trigger=False) for i, p in ((1, "1"), (2, "3"), (3, "2"))
    ]
    assert one_path(model(events=events, o=0.0), 2.0)["o"][0, 0] == 231


def test_chance_decides_between_equals():
    """Three events without priority: all six orders are equally likely, and come from the path's own stream."""
    events = [event(f"E{i}", "time >= 1", {"o": f"3*o + {i}"}, values_from_trigger=False) for i in range(3)]
    orders = cme.ssa(model(events=events, o=0.0), 2.0, n_paths=3000, seed=8)["o"][:, 0]
    values, index = np.unique(orders, return_inverse=True)
    assert len(values) == 6
    verdict.samples_match_pmf(index, np.full(6, 1 / 6))


def test_values_at_the_trigger_are_those_before_any_event_of_that_time():
    swap = [event("a", "time >= 1", {"p": "q"}), event("b", "time >= 1", {"q": "p"})]
    paths = one_path(model(events=swap, p=1.0, q=2.0), 2.0)
    assert (paths["p"][0, 0], paths["q"][0, 0]) == (2.0, 1.0)


# ---------------------------------------------------------------------------------------------------- random draws


@pytest.mark.parametrize(
    ("law", "sd"), [("normal(0, 1.5)", 1.5), ("uniform(0, 2) - 1", 1 / math.sqrt(3)), ("normal(exponential(1), 1) - 1", math.sqrt(2))]
)
def test_draws_by_a_clock_that_is_set_back(law, sd):
    """As in the suite's cases: t' = 1, at t >= 0.5 a new X is drawn and t set back. Draws are independent."""
    network = model(events=[event("E", "t >= 0.5", {"X": law, "t": "-0.5"})], t=0.0, rates={"t": "1"})
    paths = cme.ssa(network, np.arange(6.0), n_paths=4000, seed=9)
    x = paths["X"]
    assert not x[:, 0].any()
    for k in range(1, 6):
        verdict.mean_matches(x[:, k], 0.0, sd)
        verdict.variance_matches(x[:, k], sd**2)
    verdict.mean_matches(x[:, 1] * x[:, 2], 0.0, sd**2)
    np.testing.assert_allclose(paths["t"][:, 1:], 0.0, atol=1e-14)


def test_random_starts_are_drawn_in_order_for_each_path():
    network = model("X -> 0 @ k; X = 0", k=1.0, draws={"X": "poisson(20)", "k": "X/10 + 0*uniform(0, 1)"})
    paths = cme.ssa(network, [0.0, 1e-9], n_paths=3000, seed=10)
    verdict.samples_match_pmf(paths["X"][:, 0], stats.poisson.pmf(np.arange(60), 20))
    assert np.array_equal(paths["k"][:, 0], paths["X"][:, 0] / 10)
    fixed = cme.ssa(network, [0.0], n_paths=50, seed=10, initial={"X": 3})
    assert np.all(fixed["X"] == 3)
    assert np.all(fixed["k"] == 0.3)


def test_an_initial_distribution():
    law = cme.fsp(cme.parse("0 -> X @ 3; X -> 0 @ 1"), 5.0)
    paths = cme.ssa(model("X -> 0 @ k", k=1.0, events=[event("E", "time >= 9", {"k": "2"})]), 0.0, n_paths=2000, seed=11, initial=law)
    verdict.samples_match_pmf(paths["X"][:, 0], stats.poisson.pmf(np.arange(30), 3 * (1 - math.exp(-5))), lost=1e-6)


# ------------------------------------------------------------------------------------- the same engine, its promises

MODELS = {
    "straight": lambda: model(
        "0 -> X @ k; X -> 0 @ 0.3; X = 4",
        events=[event("a", "t >= 0.7", {"t": "0", "X": "X + poisson(2)"}), event("b", "X > 9", {"k": "k/2"}, delay="0.2")],
        t=0.0, k=5.0, rates={"t": "1"},
    ),
    "curved": lambda: model(
        "0 => X @ v; X -> 0 @ 0.3; X = 4",
        events=[event("a", "v > 3", {"v": "uniform(0, 1)"}), event("b", "X > 9", {"X": "2"}, priority="1")],
        v=1.0, rates={"v": "1 + 0.1*X - 0.2*v*sin(time)"},
    ),
}  # fmt: skip
TIMES = np.array([0.0, 0.4, 1.0, 2.5])


def fingerprint():
    rows = []
    for build in MODELS.values():
        paths = cme.ssa(build(), TIMES, n_paths=4, seed=5, threads=1)
        rows += [paths.counts.ravel().tolist(), *(paths[name].ravel().tolist() for name in paths.observables)]
        paths = cme.ssa(build(), TIMES, n_paths=4, seed=5, threads=1, stop="X >= 6 && time > 0.5")
        rows += [paths.stopped.tolist(), paths.counts.ravel().tolist()]
    paths = cme.ssa(model("0 => X @ 9*time; X -> 0 @ 1; X = 3"), TIMES, n_paths=2, seed=6, threads=1, every_event=True)
    rows += [each.ravel().tolist() for when, which in paths.events for each in (when, which)]
    return rows


def test_kernel_equals_its_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_hybrid_paths as t; print(t.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert eval(done.stdout) == fingerprint()


@pytest.mark.parametrize("name", MODELS)
def test_a_path_is_a_function_of_the_seed_and_its_number(name):
    network = MODELS[name]()
    assert is_straight(network) == (name == "straight")
    few = cme.ssa(network, TIMES, n_paths=20, seed=5, threads=1)
    many = cme.ssa(network, TIMES, n_paths=100, seed=5, threads=3)
    assert np.array_equal(few.counts, many.counts[:20])
    assert all(np.array_equal(few[each], many[each][:20]) for each in few.observables)
    assert set(few.observables) == set(network.variables)


@settings(max_examples=12, deadline=None)
@given(networks())
def test_a_plain_network_has_the_same_law_in_either_engine(network):
    times, key = np.array([1.5]), check_seed(21)[0]
    counts = np.zeros((400, 1, len(network.species)))
    HybridPaths(network, times, key, None).run(0, counts, np.zeros(400), np.zeros(1, np.uint8), np.zeros(2))
    plain = cme.ssa(network, times, n_paths=400, seed=22, threads=1).counts
    for s in range(len(network.species)):
        verdict.samples_match(counts[:, 0, s], plain[:, 0, s])


def test_rules_and_variables_are_there_by_name():
    network = replace(MODELS["curved"](), rules=(Rule("total", formula("X + v + time")),))
    paths = cme.ssa(network, TIMES, n_paths=5, seed=1)
    np.testing.assert_array_equal(paths["total"], paths["X"] + paths["v"] + TIMES)
    assert {"v", "total"} <= set(paths.to_frame().columns)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("network", "match"),
    [
        (
            model(events=[event("up", "n < 1", {"n": "1"}), event("down", "n > 0", {"n": "0"}, initially=False)], n=5.0),
            r"events set each other off without end at t=0",
        ),
        (
            model(events=[event("E", "time >= 1", {"X": "1"}, delay="0 - 1")]),
            r"the delay of event 'E' is negative or no number at t=1; it must be >= 0",
        ),
        (
            model(events=[event("E", "time >= 1", {"X": "normal(0, X - 1)"})]),
            r"event 'E' assigns what is not a number at t=1; .*bounds of what it draws",
        ),
        (model(draws={"X": "poisson(0 - 2)"}), r"the random start of 'X' can't be drawn"),
        (model("0 => X @ 1 - time"), r"the propensity 1 - time of reaction .* is negative in state {X: .*, time: 1"),
        (model("0 => X @ 1/(1 - time)"), r"fires|changes too fast|is not a finite number"),
        (model("0 => X @ log(v)", v=0.0, rates={"v": "0 - 1"}), r"is not a finite number in state"),
        (model("0 => Y @ 1; X => 0 @ 1; X = 0", events=[event("E", "time > 9", {"X": "1"})]), r"would drive a count below zero"),
        (
            model(v=1.0, rates={"v": "v^2"}),
            r"v changes too fast to be followed at time 1 in state .*it grows without bound, or the model is stiff",
        ),
        (model(v=0.0, rates={"v": "sqrt(v - 1)"}), r"the rate of 'v' is not a finite number at time 0 in state .*guard its rate rule"),
        (model(v=0.5, rates={"v": "piecewise(1, v < 1, -1)"}), r"conditions turn true and false without end at time 0.5"),
        (model("X => 1001 X @ X^2*k; X = 5", k=1.0, events=[event("E", "time > 9", {"k": "2"})]), r"time stands still"),
        (model(f"0 => X @ 9; X = {2**53 - 2}", events=[event("E", "time > 9", {"X": "2"})]), r"drives a count past 2\^53 at time"),
        (
            model("X -> 0 @ 1; X = 2.5", events=[event("E", "time > 9", {"X": "2"})]),
            r"species 'X' starts at 2.5, not a whole number of molecules",
        ),
    ],
)
def test_what_goes_wrong_is_said(network, match):
    with pytest.raises(cme.ModelError, match=match):
        cme.ssa(network, [2.0], n_paths=3, seed=1)


def test_crowded_agenda():
    events = [event("E", "t >= 0.001", {"t": "0"}), event("slow", "t < 0.0005", {"X": "1"}, delay="100")]
    with pytest.raises(
        cme.ModelError, match=r"too many executions of events wait at t=4.097, when 'E' triggers once more; shorten its delay"
    ):
        cme.ssa(model(events=events, t=0.0, rates={"t": "1"}), 9.0, n_paths=1, seed=1)


def test_every_event_is_refused_where_counts_change_between_reactions():
    told = "every_event lists reactions, and {} changes counts between these too; sample it at more times instead"
    with pytest.raises(ValueError, match=told.format("event 'b'")):
        cme.ssa(MODELS["curved"](), TIMES, every_event=True)
    with pytest.raises(ValueError, match=told.format("the rate rule of 'X'")):
        cme.ssa(model(rates={"X": "1"}), TIMES, every_event=True)


def test_an_initial_distribution_must_fit():
    law = cme.fsp(cme.parse("0 -> Y @ 3; Y -> 0 @ 1"), 5.0)
    with pytest.raises(cme.ModelError, match=r"the initial distribution is over \('Y',\), the network over \('X',\)"):
        cme.ssa(MODELS["curved"](), TIMES, initial=law)


def test_statuses_of_the_flow_differ_from_all_others():
    own = [straight.UNDEFINED_FLOW, curved.TOO_MANY_STEPS, hybrid.ENDLESS, hybrid.NOTHING, hybrid.BROKEN_BOUND]
    others = [value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)]
    assert len({*own, *others}) == len(own) + len(set(others))
