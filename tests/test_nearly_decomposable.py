"""Stationary laws of chains whose parts hardly communicate: how the probability is shared between them is a matter of tiny numbers."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import poisson

import cme
from cme.projection import null_vector
from cme.projection.cycle import SparseCycle


def toggle(strength):
    k = strength / 4
    return cme.parse(f"0 => X @ {strength}/(1 + (Y/{k})^4); 0 => Y @ {strength}/(1 + (X/{k})^4); X -> 0 @ 1; Y -> 0 @ 1; X = {strength}")


@pytest.mark.parametrize("strength", [40, 80, 120])
def test_a_symmetric_toggle_is_as_often_in_one_well_as_in_the_other(strength):
    law = cme.stationary(toggle(strength))
    assert "certified" in law.info["certificate"]
    assert law.error_bound[0] <= 1e-6
    x, y = law.states.T
    for side in (x > y, y > x):
        assert abs(law.p[0, side].sum() - 0.5 * (1 - law.p[0, x == y].sum())) <= law.error_bound[0]


def test_a_generator_of_a_symmetric_toggle():
    network = toggle(120)
    inside = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 139, "Y": 139}))
    law = cme.stationary(cme.Generator.from_rates(inside.rates))
    x, y = inside.states.T
    assert law.info["method"] == "elimination without subtraction"
    assert law.p[0, x > y].sum() == pytest.approx(law.p[0, y > x].sum(), rel=1e-9)
    assert law.integration_error[0] < 1e-7


@pytest.mark.parametrize("weak", [1e-5, 1e-10, 1e-14, 1e-18, 1e-30, 1e-200])
def test_two_blocks_with_weak_links(weak):
    rng = np.random.default_rng(1)
    rates = np.zeros((100, 100))
    rates[:50, :50], rates[50:, 50:] = rng.exponential(size=(50, 50)), rng.exponential(size=(50, 50))
    rates[53, 2], rates[4, 57] = weak, 3 * weak
    np.fill_diagonal(rates, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law = cme.stationary(cme.Generator.from_rates(rates))
    # What flows from block to block balances, and to first order in the weak links each block has a law of its own.
    assert rates[53, 2] * law.p[0, 2] == pytest.approx(rates[4, 57] * law.p[0, 57], rel=1e-9)
    own = [np.linalg.svd(block - np.diag(block.sum(axis=0)))[2][-1] for block in (rates[:50, :50], rates[50:, 50:])]
    first, second = (each / each.sum() for each in own)
    share = 3 * second[7] / (3 * second[7] + first[2])
    assert law.p[0, :50].sum() == pytest.approx(share, rel=1e-9 + 10 * weak)
    assert law.integration_error[0] < 1e-9


@pytest.mark.parametrize("c", [1e-3, 1e-10, 1e-20, 1e-40])
def test_a_slow_switch_beside_fast_species(c):
    text = f"0 -> X @ 5; X -> 0 @ 1; 0 -> Y @ 5; Y -> 0 @ 1; A <-> B @ {c}, {3 * c}; B -> B + X @ 3; A = 1"
    law = cme.stationary(cme.parse(text), method="projection")
    assert law.mean()[0] == pytest.approx([5.75, 5, 0.75, 0.25], abs=1e-5)
    assert abs(law["A"][0, 1] - 0.75) <= law.error_bound[0] + 1e-12


def test_a_mode_beyond_a_gap_is_found_through_the_states_that_are_not_led_back():
    text = "0 => X @ 5 + 70*(X >= 30); X -> 0 @ 1; X = 5; 0 -> Y @ 10; Y -> 0 @ 1"
    alone = cme.stationary(cme.parse(text.split("; 0 -> Y")[0]))
    law = cme.stationary(cme.parse(text), method="projection")
    assert "certified" in law.info["certificate"]
    n = alone["X"].shape[1]
    assert np.abs(law["X"][0, :n] - alone["X"][0, : law["X"].shape[1]]).sum() <= law.error_bound[0] + 1e-9


def test_what_sparse_LU_loses_is_seen():
    network = toggle(120)
    space = cme.StateSpace.reachable(network, bounds={"X": 139, "Y": 139})
    closed = cme.Generator.from_rates(cme.Generator.from_network(network, space).rates).matrix
    at = int(space.index(np.array([[120, 0]]))[0])
    lu = SparseCycle(sp.csc_array(closed), at)
    assert not null_vector._inaccuracy(lu) <= null_vector.TRUSTED


def test_a_species_that_dies_out_beside_others_that_live_on():
    law = cme.stationary(cme.parse("X -> 2 X @ .5; X -> 0 @ 1; 0 <-> Y @ 5, 1; X = 3"))
    assert "certified" in law.info["certificate"]
    assert "all paths come to these states, since" in law.info["certificate"]
    assert np.abs(law["Y"][0] - poisson.pmf(np.arange(law["Y"].shape[1]), 5)).sum() <= law.error_bound[0] + 1e-13
    assert law.mean()[0] == pytest.approx([0, 5], abs=1e-9)


def test_paths_that_may_never_come_to_the_end_are_in_what_is_lost():
    law = cme.stationary(cme.parse("X -> 2 X @ 2; X -> 0 @ 1; 0 <-> Y @ 5, 1; X = 3"))
    assert "a part of up to 8.7e-01 may never come to them" in law.info["certificate"]
    assert law.lost[0] == pytest.approx(2 * (1 - 0.5**3), rel=1e-6)  # each of three families survives with probability 1 / 2
    assert law.floor is None
