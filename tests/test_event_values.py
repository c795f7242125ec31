"""What events set: whole numbers where molecules are counted, concentrations in volumes that move, and what is no number."""

import math
import re

import numpy as np
import pytest
import verdict
from sbml_documents import check_round_trip
from scipy.stats import binom

import cme
from cme.elements import Rule
from cme.infix import parse as formula


def solve(solver, text, times):
    options = {"n_paths": 20, "seed": 1} if solver == "ssa" else {}
    return getattr(cme, solver)(cme.parse(text), times, **options)


# -------------------------------------------------------------------------------------------------- whole numbers


@pytest.mark.parametrize("solver", ["ssa", "fsp"])
@pytest.mark.parametrize(
    ("start", "formula", "message"),
    [
        ("5", "X/2", r"event 'h' sets 'X' to 2.5 at t=1.*, which is no whole number of molecules; round it with floor\(\) in the formula"),
        ("5", "X*(1 + 1e-8)", r"event 'h' sets 'X' to 5.00000005 at t=1"),
        ("1000000000", "X + 0.5", r"event 'h' sets 'X' to 1000000000.5 at t=1"),
        ("5", "X - 7", r"event 'h' sets 'X' to -2 at t=1.*, and a count can't be negative; bound it with max\(0, ...\) in the formula"),
        ("5", "X*2^51", r"event 'h' sets 'X' to \S+e\+16 at t=1.*, and a count must be a number below 2\^53; guard the formula, or use"),
        ("5", "0/(X - 5)", r"event 'h' assigns what is not a number at t=1"),
    ],
)
def test_an_event_must_leave_a_whole_number_of_molecules(solver, start, formula, message):
    with pytest.raises(cme.ModelError, match=message):
        solve(solver, f"X -> 0 @ 1e-15; X = {start}; h: at time >= 1: X = {formula}", [2.0])


def test_a_fraction_is_refused_when_it_comes_and_taken_by_the_rate_equations():
    text = "X => 0 @ k*X; k = 0; X = 20; h: at time >= t: X = X/2, t = t + 1; t = 1"
    for solver in ("ssa", "fsp"):
        result = solve(solver, text, [2.5])
        assert result["X"][0, 0 if solver == "ssa" else 5] == pytest.approx(5 if solver == "ssa" else 1)
        with pytest.raises(cme.ModelError, match=r"event 'h' sets 'X' to 2.5 at t=3"):
            solve(solver, text, [3.5])
    assert solve("rate_equations", text, [3.5])["X"][0] == pytest.approx(2.5)
    rounded = solve("ssa", text.replace("X/2", "floor(X/2)"), [5.5])
    assert np.all(rounded["X"] == 0)


def test_what_no_reaction_changes_may_be_a_fraction():
    text = "$B => A @ 1; A => A + C @ 1; A = 2; B = 3; D = 5; species D; h: at time >= 1: B = B/2, D = D/2"
    paths = solve("ssa", text, [2.0])
    assert np.all(paths["B"] == 1.5)
    assert np.all(paths["D"] == 2.5)


def test_a_random_start_is_a_whole_number_where_reactions_change_it():
    with pytest.raises(cme.ModelError, match=r"the random start sets 'X' to \d+\.\d+ at t=0, which is no whole number of molecules"):
        solve("ssa", "X -> 0 @ 1; X ~ normal(50, 1)", [1.0])
    with pytest.raises(cme.ModelError, match=r"the random start sets 'X' to -2 at t=0, and a count can't be negative"):
        solve("ssa", "X -> 0 @ 1; X ~ 0*uniform(0, 1) - 2", [1.0])
    assert np.all(solve("ssa", "$X -> Y @ 1; X ~ normal(50, 1)", [1.0])["X"] % 1 != 0)


@pytest.mark.parametrize("growth", ["0.1", "0.1*V", "0.1*cos(time)"])
def test_a_count_is_whole_although_a_concentration_in_a_moving_volume_is_rounded(growth):
    """2 (S/V) V is 2 S but for round-off. The survivors of 60 are binomial, and twice as many of them are there at t = 3."""
    text = f"V = 0.7; V' = {growth}; S -> 0 @ 0.1; S = 60; h: at time >= 3: S = S/V*2*V"
    alive = math.exp(-0.3)
    paths = cme.ssa(cme.parse(text), [3.0], n_paths=3000, seed=1)
    assert np.all(paths["S"] % 2 == 0)
    verdict.samples_match_pmf(paths["S"][:, 0] / 2, binom.pmf(np.arange(61), 60, alive))
    law = cme.fsp(cme.parse(text), [3.0])["S"][0]
    np.testing.assert_allclose(law[::2], binom.pmf(np.arange(61), 60, alive)[: len(law[::2])], atol=1e-6)
    assert not law[1::2].any()


# ---------------------------------------------------------------------------- concentrations in volumes that change


CHAIN = """
compartment V = 4
species S in V
V' = 1
S -> 0 @ 0.2
S = 8
first: at time >= 1 after 3: S = 3*now(V)
second: at time >= 5 after 1: S = 2*now(V)
"""


def test_a_timed_chain_of_delayed_concentrations():
    """V = 4 + t: 24 molecules at t = 4, 20 at t = 6; binomial survivors of these."""
    times = [4.0, 5.0, 6.0, 7.5]
    network = cme.parse(CHAIN)
    law, paths = cme.fsp(network, times), cme.ssa(network, times, n_paths=3000, seed=2)
    mean = cme.rate_equations(network, times)["S"]
    for k, (start, wait) in enumerate([(24, 0), (24, 1), (20, 0), (20, 1.5)]):
        exact = binom.pmf(np.arange(25), start, math.exp(-0.2 * wait))
        found = np.zeros(25)
        found[: len(law["S"][k])] = law["S"][k][:25]
        np.testing.assert_allclose(found, exact, atol=1e-6)
        verdict.samples_match_pmf(paths["S"][:, k], exact)
        assert mean[k] == pytest.approx(start * math.exp(-0.2 * wait))
    assert set(paths.observables) == {"V"}


@pytest.mark.parametrize(("factor", "grown"), [("now(V)", 2), ("V", 1)])
def test_a_volume_that_another_event_changes_first(factor, grown):
    """Both trigger at 1; the volume is doubled first: a concentration that is kept doubles the count, a count that is kept does not."""
    text = f"V = 2; S -> 0 @ 0.5; S = 30; a: at time >= 1, priority = 2: V = 2*V; b: at time >= 1, priority = 1: S = S/V*{factor}"
    exact = binom.pmf(np.arange(31), 30, math.exp(-0.5))
    law = cme.fsp(cme.parse(text), [1.0])["S"][0]
    np.testing.assert_allclose(law[::grown], exact[: len(law[::grown])], atol=1e-6)
    paths = cme.ssa(cme.parse(text), [1.0], n_paths=2000, seed=3)
    verdict.samples_match_pmf(paths["S"][:, 0] / grown, exact)


def sbml_of(network):
    return cme.load(network.to_sbml())


def test_a_late_factor_in_text_and_sbml():
    network = cme.parse(CHAIN)
    assert network.events[0].assignments == (Rule("S", formula("3*now(V)")),)
    assert "first: at time >= 1 after 3: S = 3*now(V)" in network.to_text()
    check_round_trip(network)
    assert sbml_of(network).variables == ("V",)


@pytest.mark.parametrize(("other", "priority"), [("", "<cn>1</cn>"), (", priority = 2*k", "<cn>7</cn>"), (", priority = V", "<infinity/>")])
def test_the_second_event_in_sbml_goes_before_all_others(other, priority):
    """An infinite number only where it must be: libantimony can't read one."""
    text = cme.parse(CHAIN + f"k = 3; third: at time >= 4{other}: V = 2*V").to_sbml()
    second = text[text.index('id="first_then_event"') :]
    assert f'<math xmlns="http://www.w3.org/1998/Math/MathML">{priority}</math></priority>' in second[: second.index("</event>")]


def test_other_tools_read_the_same_from_the_two_events_in_sbml():
    """Without our annotations there are four events; they mean the same."""
    more = "; k = 1; third: at time >= 3: V = 1, S = S/V*now(V), k = S; fourth: at time >= 3: S = 2*S/V*now(V); A -> 0 @ k; A = 5"
    network = cme.parse(CHAIN + more.replace("third: at time >= 3", "third: at time >= 3, priority = 1"))
    foreign = cme.load(re.sub(r"<annotation><cme:event.*?</annotation>", "", network.to_sbml()))
    assert len(foreign.events) == 8
    times = [1.0, 3.0, 3.5, 4.5, 6.5, 8.0]
    ours, theirs = cme.rate_equations(network, times), cme.rate_equations(foreign, times)
    for name in ("S", "A", "V", "k"):
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-7)
    check_round_trip(network)


@pytest.mark.parametrize("target", ["nothing", "first", "second", "first_then", "second_then_event"])
def test_a_wrong_annotation_leaves_two_events(target):
    text = cme.parse(CHAIN).to_sbml().replace('then="first_then_event"', f'then="{target}"')
    network = cme.load(text)
    times = [4.0, 5.0, 7.0]
    np.testing.assert_allclose(cme.rate_equations(network, times)["S"], cme.rate_equations(cme.parse(CHAIN), times)["S"], rtol=1e-7)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("h: at time >= 1: A = now(V)", r"event 'h' uses now\(\), which can only be the last factor of what an event sets, like 2\*A\*now"),
        ("h: at time >= 1: A = 2*now(V) + 1", r"event 'h' uses now\(\), which can only be the last factor"),
        ("h: at time >= 1: A = now(V)*2", r"event 'h' uses now\(\), which can only be the last factor"),
        ("h: at time >= 1: A = 2*now(now(V))", r"event 'h' uses now\(\), which can only be the last factor"),
        ("h: at now(time) >= 1: A = 2", r"the trigger of event 'h' uses now\(\), which can only be the last factor"),
        ("0 -> A @ now(V)", r"the rate law of reaction 'r2' uses now\(\), which can only be the last factor"),
        ("h: at time >= 1: A = 2*now(normal(0, 1))", r"event 'h' draws random numbers"),
        (
            "h: at time >= 1, fromTrigger = false: A = 2*now(V)",
            r"event 'h' uses now\(\), but all its values are those of its execution already; leave now\(\) out",
        ),
    ],
)
def test_where_now_can_stand(event, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.parse(f"A -> 0 @ 1; V = 1; {event}")


# ----------------------------------------------------------------------------------------------- what is no number


@pytest.mark.parametrize("solver", ["rate_equations", "ssa", "fsp"])
def test_a_parameter_without_a_number_is_kept_where_no_rate_reads_it(solver):
    text = "X -> 0 @ 1; X = 3; p = 1; h: at time >= 1: p = 0/(time - 1); g: at time >= 3: p = 7"
    result = solve(solver, text, [0.5, 1.0, 2.0, 3.0])
    values = result["p"][0] if solver == "ssa" else result["p"]
    np.testing.assert_array_equal(np.asarray(values, dtype=float).ravel()[-4:], [1, math.nan, math.nan, 7])


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        ("rate_equations", r"the rate p\*X of reaction 'r1' is nan at t=1"),
        ("ssa", r"the propensity p\*X of reaction 'r1' is not a finite number in state"),
        ("fsp", r"the propensity notanumber\*X of reaction 'r1' is not a finite number in state"),
    ],
)
def test_a_rate_that_reads_no_number_is_named(solver, message):
    with pytest.raises(cme.ModelError, match=message):
        solve(solver, "X => 0 @ p*X; X = 3; p = 1; h: at time >= 1: p = 0/(time - 1)", [2.0])


@pytest.mark.parametrize("solver", ["rate_equations", "ssa", "fsp", "lna"])
def test_a_species_must_be_a_number(solver):
    with pytest.raises(cme.ModelError, match="event 'h' assigns what is not a number at t=1; guard its formulas"):
        solve(solver, "X -> 0 @ 1; X = 3; h: at time >= 1: X = 0/(time - 1)", [2.0])
