"""The closed class of a set of states, and what it needs of the generator."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import poisson

import cme
from cme.generator import Generator
from cme.projection import closed_class, drift
from cme.projection.closed_class import ClosedClass
from cme.projection.closed_law import ClosedLaw
from cme.projection.sweeps import IteratedCycle
from cme.states import StateSpace

RIM = "0 -> A @ 4; A -> 0 @ 1; A -> A + B @ 1; B -> 0 @ 2; 2 A -> 3 A @ .01; A = 0; B = 0"


def with_a_tail():
    """A class of 40 states, a few before it that are left for good, and two at the rim that only lead out."""
    rng = np.random.default_rng(5)
    rates = np.zeros((50, 50))
    for n in range(40):
        rates[(n + 1) % 40, n] = rng.uniform(1, 3)
        rates[rng.integers(40), n] += rng.uniform(0, 1)
    for n in range(40, 48):
        rates[rng.integers(40), n] = 2.0
        rates[n + 1 if n < 47 else 0, n] += 1.0
    rates[48, 7], rates[49, 48] = 0.25, 1.0
    np.fill_diagonal(rates, 0.0)
    leak = np.zeros(50)
    leak[[3, 48, 49]] = 0.1
    order = rng.permutation(50)
    rates, leak = rates[np.ix_(order, order)], leak[order]
    return Generator(sp.csc_array(rates - np.diag(rates.sum(axis=0) + leak)), leak, np.arange(50)[:, None])


@pytest.mark.parametrize("part", [3, 2**17])
def test_members_and_the_jumps_that_leave_them(part, monkeypatch):
    monkeypatch.setattr(closed_class, "PART", part)
    generator = with_a_tail()
    found, dense = ClosedClass.of(generator), generator.matrix.toarray()
    assert len(found.members) == 40
    others = np.setdiff1d(np.arange(50), found.members)
    assert np.array_equal(found.matrix.toarray(), dense[np.ix_(found.members, found.members)])
    assert np.array_equal(found.away, dense[np.ix_(others, found.members)].sum(axis=0))
    assert np.array_equal(found.leak, generator.leak[found.members] + found.away)
    ways = np.zeros((50, 40))
    np.add.at(ways, found.ways[:2], found.ways[2])
    assert np.array_equal(ways[others], dense[np.ix_(others, found.members)])
    assert not ways[found.members].any()
    assert found.largest_rate == -dense.diagonal().min()
    law = ClosedLaw.on(generator)
    assert law.inflow[others] == pytest.approx(dense[np.ix_(others, law.members)] @ law.pi, rel=1e-14)
    assert not law.inflow[law.members].any()
    assert np.array_equal(ClosedLaw.on(found).pi, law.pi)


def test_sweeps_on_a_class_that_is_closed_without_a_copy():
    network = cme.parse(RIM)
    found = ClosedClass.of(Generator.from_network(network, StateSpace.reachable(network, bounds={"A": 20, "B": 15})))
    assert found.leak.any()
    states = found.member_states
    one = IteratedCycle(found.matrix, states, 0, closed=found.leak)
    other = IteratedCycle(found.closed_matrix, states, 0)
    assert one.z == pytest.approx(other.z, rel=1e-9)
    law = ClosedLaw.on(found, 0, solver="sweeps", reflecting=True)
    assert law.pi == pytest.approx(ClosedLaw.on(found, reflecting=True).pi, rel=1e-6, abs=1e-12)


def test_moments_of_a_law_are_found_by_parts(monkeypatch):
    """The function that falls is the same, whether it comes from all states at once or from a few at a time."""
    network = cme.parse("0 -> M @ 6; M -> 0 @ 1; M -> M + P @ 2; P -> 0 @ .5")
    space = StateSpace.reachable(network, bounds={"M": 25, "P": 70})
    law = ClosedLaw.on(Generator.from_network(network, space))
    (whole, *_) = drift.find_drifts(space, law.members, law.pi)
    monkeypatch.setattr(drift, "CHUNK", 17)
    (parts, *_) = drift.find_drifts(space, law.members, law.pi)
    assert np.any(whole.quadratic)
    assert parts.quadratic == pytest.approx(whole.quadratic, rel=1e-9)
    assert parts.fall == whole.fall


def test_a_way_back_that_is_far_out_is_searched_for():
    """Y takes no part in the rest and is Poisson; from where it is 0 and X is high, the way back lies outside twice the set."""
    rest = "0 => X @ 0.2 + X^2/(3^4 + X^4); X -> 0 @ 1; G <-> H @ .01, .02; G = 1; H -> H + 3 X @ 1"
    law = cme.stationary(cme.parse(rest + "; 0 -> Y @ 8; Y -> 0 @ 0.5"), tol=1e-6)
    network = cme.parse(rest)
    space = cme.StateSpace.reachable(network, bounds={"X": 120})
    generator = Generator.from_network(network, space)
    closed = generator.sparse().toarray() + np.diag(generator.leak)
    closed[0] = 1.0
    alone = np.linalg.solve(closed, np.eye(len(space))[0])
    places = [law.species_index(name) for name in network.species_names]
    truth = alone[space.index(law.states[:, places])] * poisson.pmf(law.states[:, law.species_index("Y")], 16)
    assert np.abs(law.p[0] - truth).sum() + 1 - truth.sum() <= law.error_bound[0] <= 2e-6
