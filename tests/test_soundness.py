"""What bounds of infinite sets rest on: each test fails if one term or one side of its inequality is left out."""

import numpy as np
import pytest

import cme
from cme.generator import Generator
from cme.infix import parse as formula
from cme.projection.drift import find_drifts
from cme.projection.hitting import Hitting
from cme.projection.mean_bound import PARTS, upper_mean
from cme.projection.stopped import label_states
from cme.projection.way_back import MoreStatesError, distance_after_leaving, leading_back

JUMP = "0 => X @ 5 + 70*(X >= 30); X -> 0 @ 1; X = 5"  # from 30 on, X stays at 75
TOGGLE = "0 => U @ 2 + 60*400/(400 + V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400 + U^2); V -> 0 @ 1"
ACTIVATED = "0 => U @ 1 + 40*V^2/(100 + V^2); U -> 0 @ 1; 0 -> V @ 9; V -> 0 @ 1"


def on_a_box(text, **bounds):
    """The states of a box, all of them members, and functions that fall outside some of these."""
    network = cme.parse(text)
    space = cme.StateSpace.reachable(network, bounds=bounds)
    law = cme.stationary(network, space=space)
    pi = np.zeros(len(space))
    pi[space.index(law.states)] = law.p[0]
    return space, np.ones(len(space), dtype=bool), find_drifts(space, np.arange(len(space)), pi)


def test_states_outside_that_are_not_led_back_are_asked_for():
    space, member, drifts = on_a_box(JUMP, X=25)
    for goes_on in (None, lambda states: np.ones(len(states), dtype=bool)):
        with pytest.raises(MoreStatesError) as error:
            leading_back(drifts, space, member, goes_on=goes_on)
        assert {30, 40, 50} <= set(error.value.states[:, 0].tolist())
    leading_back(drifts, space, member, goes_on=lambda states: states[:, 0] < 28)  # where it stops nothing need fall


def test_the_mean_to_a_target_counts_the_well_behind_the_barrier():
    network = cme.parse("0 => X @ 5 + 12*(X >= 15); X -> 0 @ 1; X = 5")
    truth = cme.first_passage(network, "X == 0", space=cme.StateSpace.reachable(network, bounds={"X": 120})).mean()
    found = cme.first_passage(network, "X == 0", tol=1e-2)
    assert found.mean_bounds.lower <= truth * (1 + 1e-9)
    assert found.mean_bounds.upper >= truth * (1 - 1e-9)


@pytest.mark.parametrize(("text", "bounds"), [(TOGGLE, {"U": 70, "V": 60}), (ACTIVATED, {"U": 60, "V": 30})])
def test_functions_fall_outside_as_fast_as_is_said(text, bounds):
    space, member, drifts = on_a_box(text, **bounds)
    rng, n_checked = np.random.default_rng(0), 0
    for each in drifts:
        drift, slow = each.over(space, member)
        if len(slow):
            continue
        points = rng.integers(0, [3 * bounds[name] for name in space.compiled.network.species_names], (4000, 2))
        rim = np.concatenate([np.stack(np.meshgrid([bounds["U"] + 1], np.arange(200)), -1).reshape(-1, 2), points])
        outside = rim[space.index(rim) < 0]
        assert np.all(drift.mean_change(outside) <= -drift.fall * (1 - 1e-9))
        n_checked += 1
    assert n_checked > 0


@pytest.mark.parametrize("top", [9, 12])
def test_the_upper_mean_is_that_of_its_formula(top):
    network = cme.parse("0 -> X @ 5; X -> 0 @ 1; X = 5")
    space, member, _ = on_a_box("0 -> X @ 5; X -> 0 @ 1; X = 5", X=top)
    condition = formula("X == 0")

    def label(states):
        return label_states({"X == 0": condition}, ("X",), states)

    labels = label(space.states)
    generator = Generator.from_network(cme.parse("0 => X @ 5*(X > 0); X -> 0 @ 1; X = 5"), space)
    start = (space.states[:, 0] == 5).astype(float)
    hitting = Hitting(generator, labels, 1, start)
    found, _ = upper_mean(space, labels, hitting, label, condition)
    # The same by dense algebra: t the mean time in the set, h the chance to come to 0 within it, o the mean of g at the exit.
    alive = np.flatnonzero(labels < 0)
    inner = generator.sparse().toarray()[np.ix_(alive, alive)]
    occupied = np.linalg.solve(-inner, start[alive])
    drifts = find_drifts(space, alive, occupied / occupied.sum(), {})
    drift = leading_back(drifts, space, member, goes_on=lambda states: label(states) < 0)
    way = distance_after_leaving(drift, space, member, alive)
    x = space.states[alive][:, 0]
    assert way == pytest.approx(np.where(x == top, 5 * drift.value(np.array([[top + 1]]))[0], 0.0))
    into = generator.sparse().toarray()[np.flatnonzero(labels >= 0)][:, alive].sum(axis=0)
    t, o, h = (np.linalg.solve(-inner.T, each) for each in (np.ones(len(alive)), way, into))
    change, at = drift.mean_change(space.states[alive]), int(np.flatnonzero(x == 5)[0])
    values = []
    for fall in (part * drift.fall for part in PARTS):
        core = change > -fall
        values.append(t[at] + o[at] / fall + (1 - h[at]) * ((t + o / fall)[core] / h[core]).max(initial=0.0))
    assert found == pytest.approx(min(values), rel=1e-6)
    assert found >= cme.first_passage(network, "X == 0").mean()


@pytest.mark.parametrize("tol", [1e-2, 1e-5])
def test_lost_holds_both_what_is_missing_and_what_is_too_much(tol):
    law = cme.stationary(cme.parse(TOGGLE), tol=tol)
    assert "certified" in law.info["certificate"]
    missing, distance = 1 - law.floor[0].sum(), np.abs(law.p[0] - law.floor[0]).sum()
    assert law.lost[0] == pytest.approx(missing + distance, rel=1e-6, abs=1e-12)


def test_a_quasi_stationary_law_on_a_part_of_its_states_is_an_estimate():
    text = "0 -> X @ 100; X -> 0 @ 1; 0 -> Y @ 100; Y -> 0 @ 1; X = 100; Y = 100"
    assert "estimate" in cme.quasi_stationary(cme.parse(text), within="X < 140").info["certificate"]
    assert "exact" in cme.quasi_stationary(cme.parse(text.split("; 0 -> Y")[0] + "; X = 100"), within="X < 140").info["certificate"]
