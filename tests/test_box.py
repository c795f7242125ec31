"""Full boxes of states: found to be such, and the generator on them without stored indices."""

import os
import subprocess
import sys

import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from scipy.stats import binom, poisson

import cme
from cme import states as rooms
from cme.box import Box, BoxMatrix, reachable_box
from cme.compiled import Compiled
from cme.projection.polynomials import poisson_weights
from cme.projection.propagate import propagate

few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
WALK = "0 -> U @ 9; U -> 0 @ 1; 0 -> V @ 8; V -> 0 @ 1; U = 4; V = 3"
TOGGLE = "0 => U @ 2 + 60*400/(400+V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400+U^2); V -> 0 @ 1"
GENE = "Off <-> On @ 1, 2; On -> On + M @ 5; M -> 0 @ 1; M -> M + P @ 2; P -> 0 @ .3; 2 P <-> D @ .1, .2; Off = 1"
MIXED = "0 => A @ 5/(1 + A*B); 0 => B @ 4/(1 + A); A + B -> 0 @ 0.1; A -> 0 @ 1; B -> 0 @ 1; 2 A -> 3 B @ .01"
CASES = {
    "walk": (WALK, {"U": 30, "V": 20}),
    "toggle": (TOGGLE, {"U": 25, "V": 31}),
    "gene": (GENE, {"M": 6, "P": 9, "D": 5}),
    "a law of two species": (MIXED, {"A": 13, "B": 17}),
    "a count that is the same everywhere": (
        WALK + "; U -> U + Z @ .1; V + Z -> 2 Z @ 1; 0 => Z @ U*V/(1 + V); Z = 0",
        {"U": 9, "V": 11, "Z": 0},
    ),
    "steps of two": ("0 -> 2 U @ 3; U -> 0 @ 1; 0 -> V @ 1; 2 V -> 0 @ 1; U -> V @ .1; V -> 0 @ 1", {"U": 9, "V": 10}),
}


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(rooms, "LARGE", 2)


def by_entries(network, bounds):
    """The same space without a box, and its sparse generator."""
    found = cme.StateSpace.reachable(network, bounds=bounds)
    space = cme.StateSpace.holding(network, found.states)
    return space, cme.Generator.from_network(network, space)


@pytest.mark.parametrize("case", CASES)
def test_products_equal_those_with_entries(case, all_are_large):
    network = cme.parse(CASES[case][0])
    space, plain = by_entries(network, CASES[case][1])
    free = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds=CASES[case][1]))
    assert isinstance(free.matrix, BoxMatrix)
    assert np.array_equal(free.states, space.states)
    p = np.random.default_rng(0).normal(size=len(space))
    scale = abs(plain.sparse()) @ abs(p)
    assert np.all(abs(free @ p - plain @ p) <= 1e-15 * scale)
    assert np.allclose(free.leak, plain.leak, rtol=1e-15, atol=0)
    assert np.allclose(free.exit_rates, plain.exit_rates, rtol=1e-15, atol=0)
    assert np.array_equal(free.sparse().toarray(), plain.matrix.toarray())
    assert np.allclose(free.matrix @ np.eye(len(space))[:, :3], plain.matrix.toarray()[:, :3], rtol=1e-15)


@few
@given(strategies.networks())
def test_random_networks_on_whole_boxes(network):
    """Any network on all states of a box, reached or not: counts below zero are refused in the same words, all else is equal."""
    if len(network.species) < 2:
        return
    shape = np.array([5, 6, 4])[: len(network.species)]
    n_species = len(shape)
    box = Box(np.arange(n_species), shape, np.zeros(n_species, dtype=np.int64), np.eye(n_species, dtype=np.int64))
    plain = cme.Generator.from_network(network, cme.StateSpace.holding(network, box.states()))
    free = BoxMatrix(Compiled(network), box, plain.sparse)
    p = np.random.default_rng(0).random(len(box))
    assert np.all(abs(free @ p - plain @ p) <= 1e-15 * (abs(plain.matrix) @ p))
    assert np.allclose(free.leak, plain.leak, rtol=1e-14, atol=0)


def test_boxes_are_recognised(all_are_large):
    walk = cme.parse(WALK)
    space = cme.StateSpace.reachable(walk, bounds={"U": 30, "V": 20})
    assert space.box.axes.tolist() == [1, 0]  # the longest axis last
    assert space.box.shape.tolist() == [21, 31]
    assert np.array_equal(space.index(space.states), np.arange(len(space)))
    assert space.index(np.array([[31, 0], [0, 21], [-1, 0], [30, 20]])).tolist() == [-1, -1, -1, len(space) - 1]
    gene = cme.StateSpace.reachable(cme.parse(GENE), bounds={"M": 6, "P": 9, "D": 5})
    assert gene.box.shape.tolist() == [2, 6, 7, 10]
    assert np.all(gene.states[:, 0] + gene.states[:, 1] == 1)
    assert gene.index(np.array([[1, 1, 0, 0, 0], [0, 1, 0, 0, 0]])).tolist()[0] == -1
    assert cme.StateSpace.reachable(walk, within="U + V <= 12").box is None
    pairs = cme.StateSpace.reachable(cme.parse("2 A <-> B @ 1, 1; 0 -> C @ 1; C -> 0 @ 1; A = 9"), bounds={"C": 5})
    assert pairs.box.shape.tolist() == [5, 6]  # A goes with B
    assert pairs.box.corner.tolist() == [9, 0, 0]
    assert cme.StateSpace.reachable(cme.parse("A <-> B @ 1, 1; B <-> C @ 1, 1; A = 9")).box is None
    assert cme.StateSpace.reachable(cme.parse("0 -> X @ 1; X -> 0 @ 1"), bounds={"X": 9}).box is None  # banded; nothing to gain


def test_small_boxes_have_entries():
    space = cme.StateSpace.reachable(cme.parse(WALK), bounds={"U": 30, "V": 20})
    assert space.box is None
    assert space.states[0].tolist() == [4, 3]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (WALK, True),
        (TOGGLE, True),
        ("0 -> U @ 1; U -> 0 @ 1; U -> U + V @ 1; V -> 0 @ 1", False),  # no V comes while U is 0, but it is reached in two steps
        ("0 -> 2 U @ 1; U -> 0 @ 1; 0 -> V @ 1; V -> 0 @ 1", False),
    ],
)
def test_a_box_is_taken_without_a_search_where_that_is_plain(text, plain, all_are_large, monkeypatch):
    network = cme.parse(text)
    searched = cme.StateSpace.reachable(network, bounds={"U": 12, "V": 9})
    compiled = Compiled(network)
    found = reachable_box(compiled, compiled.start()[0][0], np.array([12, 9]), np.array([0, 1]))
    assert (found is not None) == plain
    assert searched.box.shape.tolist() == [10, 13]


def test_errors_of_a_box_are_those_of_a_search(all_are_large):
    for text, message in [
        (
            "0 => U @ 4.1 - U/8; U -> 0 @ 1; 0 -> V @ 1; V -> 0 @ 1",
            r"the propensity 4[.]1 - U/8 of reaction 'r1' is negative in state \{U: 33, V: 0\}",
        ),
        ("0 -> U @ 1; U -> 0 @ 1; 0 -> V @ 1; V -> 0 @ 1; V => U @ 1", r"'r5' fires in state \{U: 0, V: 0\} and would drive a count below"),
        ("0 -> U @ 1; U -> 0 @ 1; 0 -> V @ 1; V -> 0 @ 1; V => V @ 1/(U-3)", r"1/\(U - 3\) of reaction 'r5' is"),
    ]:
        for large in (2, 2**30):
            rooms.LARGE = large
            with pytest.raises(cme.ModelError, match=message):
                cme.StateSpace.reachable(cme.parse(text), bounds={"U": 40, "V": 3})
    with pytest.raises(cme.ConvergenceError, match="more than max_states=100 states can be reached"):
        cme.StateSpace.reachable(cme.parse(WALK), bounds={"U": 40, "V": 30}, max_states=100)


def test_a_box_that_does_not_fit(all_are_large, monkeypatch):
    monkeypatch.setattr("cme.memory.available", lambda: 100_000)
    with pytest.raises(cme.ConvergenceError, match=r"2021 states of 2 species need about 0\.00016 GB of memory, and 0\.0001 GB are"):
        cme.StateSpace.reachable(cme.parse(WALK), bounds={"U": 46, "V": 42})


def test_growing_and_dropping_leave_the_box(all_are_large):
    space = cme.StateSpace.reachable(cme.parse(WALK), bounds={"U": 12, "V": 9})
    smaller = space.keep(space.states.sum(axis=1) < 9)
    assert smaller.box is None
    assert np.array_equal(smaller.index(smaller.states), np.arange(len(smaller)))
    again = smaller.grow(np.arange(len(smaller)))
    assert sorted(map(tuple, again.states.tolist())) == sorted(map(tuple, space.states.tolist()))
    faster = cme.parse(WALK.replace("@ 9", "@ 7"))
    assert np.array_equal(
        cme.Generator.from_network(faster, space).sparse().toarray(),
        cme.Generator.from_network(faster, cme.StateSpace.holding(faster, space.states)).matrix.toarray(),
    )


# ---------------------------------------------------------------------------------------------------------- propagation


def truth(t, n):
    """A.1: a birth-death process from x is binomial plus Poisson."""
    one = [
        np.convolve(binom.pmf(np.arange(start + 1), start, np.exp(-t)), poisson.pmf(np.arange(n), rate * (1 - np.exp(-t))))[:n]
        for rate, start in ((9, 4), (8, 3))
    ]
    return np.outer(*one)


@pytest.mark.parametrize("budget", [0.0, 1e-12, 1e-6])
def test_what_a_window_drops_bounds_its_error(budget, all_are_large):
    network = cme.parse(WALK)
    space = cme.StateSpace.reachable(network, bounds={"U": 199, "V": 149})
    matrix = cme.Generator.from_network(network, space).matrix
    q, p = matrix.exit_rates.max(), np.zeros(len(space))
    p[space.index(np.array([[4, 3]]))] = 1
    weights = poisson_weights(q * np.array([0.5, 1.0]), 1e-16)
    out = np.zeros((2, len(p)))
    dropped = matrix.uniformise(q, weights, p, out, budget)
    assert dropped <= budget
    assert (dropped > 0) == (budget > 0)
    for row, t in zip(out, (0.5, 1.0), strict=True):
        error = np.abs(row - truth(t, 200)[space.states[:, 0], space.states[:, 1]]).sum()
        assert error <= dropped + 1e-13
        assert error >= dropped / 1000


@pytest.mark.parametrize(
    ("method", "bounds", "times"),
    [
        ("uniformisation", {"U": 79, "V": 59}, [0.01, 0.3]),
        ("chebyshev", {"U": 79, "V": 59}, [0.3, 1.0]),
        ("rational_krylov", {"U": 39, "V": 34}, [1.0, 300.0]),
    ],
)
def test_propagation_on_a_box(method, bounds, times, all_are_large, monkeypatch):
    monkeypatch.setattr("cme.projection.polynomials.LARGE_BOX", 100)
    network = cme.parse(WALK)
    space = cme.StateSpace.reachable(network, bounds=bounds)
    generator = cme.Generator.from_network(network, space)
    p = np.zeros(len(space))
    p[space.index(np.array([[4, 3]]))] = 1
    run = propagate(generator, p, times, tol=1e-10, method=method)
    assert run.method == method
    for k, t in enumerate(times):
        error = np.abs(run.p[k] - truth(t, 300)[space.states[:, 0], space.states[:, 1]]).sum()
        assert error <= run.integration_error[k] + run.lost[k] + 1e-14
        assert run.integration_error[k] < 1e-10


def test_a_series_in_a_window_is_that_on_all_states(all_are_large, monkeypatch):
    """The window grows as fast as the terms do: only what lies at the rim of the start is left out, and is in the bound."""
    network = cme.parse(TOGGLE)
    space = cme.StateSpace.reachable(network, bounds={"U": 119, "V": 99})
    generator = cme.Generator.from_network(network, space)
    p = np.exp(-0.5 * ((space.states[:, 0] - 60.0) ** 2 / 20 + (space.states[:, 1] - 30.0) ** 2 / 9))
    p /= p.sum()
    whole = propagate(generator, p, [0.5, 2.0], tol=1e-10, method="chebyshev")
    monkeypatch.setattr("cme.projection.polynomials.LARGE_BOX", 100)
    window = propagate(generator, p, [0.5, 2.0], tol=1e-10, method="chebyshev")
    for k in range(2):
        gap = np.abs(whole.p[k] - window.p[k]).sum()
        assert 0 < gap <= whole.integration_error[k] + window.integration_error[k]


def test_fsp_and_stationary_on_a_box(all_are_large):
    network = cme.parse(WALK)
    space = cme.StateSpace.reachable(network, bounds={"U": 59, "V": 49})
    assert space.box is not None
    law = cme.fsp(network, [0.5, 2.0], tol=1e-9, space=space)
    for k, t in enumerate((0.5, 2.0)):
        error = np.abs(law.p[k] - truth(t, 200)[law.states[:, 0], law.states[:, 1]]).sum()
        assert error <= law.error_bound[k] < 1e-9
    steady = cme.stationary(network, space=space)
    assert np.allclose(steady["U"][0], poisson.pmf(np.arange(60), 9), atol=1e-12)


# --------------------------------------------------------------------------------------------------------- plain Python


def fingerprint():
    """What the kernels make of three boxes, as text."""
    rooms.LARGE, lines = 2, []
    for text, bounds in ((WALK, {"U": 7, "V": 5}), (MIXED, {"A": 4, "B": 5}), (GENE, {"M": 2, "P": 2, "D": 1})):
        network = cme.parse(text)
        space = cme.StateSpace.reachable(network, bounds=bounds)
        matrix = space.matrix_free
        p = np.exp(-np.arange(len(space)) / 3.0)
        out, q = np.zeros((2, len(p))), matrix.exit_rates.max()
        dropped = matrix.uniformise(q, poisson_weights(np.array([5.0, 11.0]), 1e-9), p, out, 1e-3)
        lines += [(matrix @ p).tobytes().hex(), out.tobytes().hex(), repr(dropped)]
        ends, series = (np.full(9, 1e-3), 1e-9, 1.0, 1e-16), (np.zeros(2, dtype=np.int64), np.zeros(9), np.zeros((2, len(p))))
        dropped = matrix.chebyshev(q, p, 0.5 ** np.arange(18.0).reshape(2, 9), ends, 1e-3, series)
        lines += [*(array.tobytes().hex() for array in series), repr(dropped)]
    return "\n".join(lines)


def test_kernels_equal_their_plain_python_form(all_are_large):
    """To the last bits, in which a sum of products may be rounded once or twice."""
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_box; print(test_box.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()
