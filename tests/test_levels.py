"""The stationary law level by level, against closed forms and against elimination."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import strategies
from hypothesis import HealthCheck, given, settings
from scipy.sparse.csgraph import connected_components
from scipy.stats import poisson

import cme
from cme.projection import levels
from cme.projection import stationary as adaptive
from cme.projection.cycle import SparseCycle
from cme.projection.null_vector import stationary_vector

few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
TOGGLE = "0 => U @ 2 + 60*400/(400+V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400+U^2); V -> 0 @ 1"
TELEGRAPH = "Off -> On @ .1; On -> Off @ .2; On -> On + M @ 10; M -> 0 @ .5; M -> M + P @ 2; P -> 0 @ .05; Off = 1"


def closed(text, **bounds):
    """The generator on all reachable states within the bounds, without the jumps that leave, and the states."""
    network = cme.parse(text)
    space = cme.StateSpace.reachable(network, bounds=bounds)
    generator = cme.Generator.from_network(network, space)
    matrix = generator.sparse().copy()
    matrix.setdiag(matrix.diagonal() + generator.leak)
    return matrix, space.states


def test_A1_two_poisson_laws_and_their_tails():
    """A birth-death process cut off is the Poisson law cut off: right in relative terms where it is 1e-200."""
    matrix, states = closed("0 -> X @ 30; X -> 0 @ 1; 0 -> Y @ 50; Y -> 0 @ 1", X=199, Y=249)
    pi, error = levels.multilevel_law(matrix, states)
    exact = poisson.pmf(states[:, 0], 30) * poisson.pmf(states[:, 1], 50)
    exact /= exact.sum()
    assert np.abs(pi - exact).sum() < 1e-12
    assert error <= 1e-12
    seen = exact > 1e-100
    assert exact[seen].min() < 1e-95
    assert np.abs(pi[seen] / exact[seen] - 1).max() < 1e-3


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        (TOGGLE, {"U": 119, "V": 119}),
        (TELEGRAPH, {"M": 40, "P": 300}),
        ("0 -> A @ 6; A -> B @ 1; B -> A @ .5; B -> C @ .8; C -> 0 @ .6", {"A": 15, "B": 15, "C": 15}),
        ("A <-> B @ 1, 2; B <-> C @ 3, .4; A = 60", {}),
        ("2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250", {"X": 900}),  # two modes far apart
    ],
)
def test_laws_equal_those_by_elimination(text, bounds):
    matrix, states = closed(text, **bounds)
    pi, _ = levels.multilevel_law(matrix, states)
    exact, _, correction = stationary_vector(matrix)
    assert np.abs(pi - exact).sum() < 1e-10 + 10 * correction
    assert np.all(pi > 0)


def test_random_networks(monkeypatch):
    monkeypatch.setattr(levels, "COARSEST", 3)

    @few
    @given(strategies.networks())
    def check(network):
        space = cme.StateSpace.reachable(network, bounds=dict.fromkeys(network.species_names, 12))
        generator = cme.Generator.from_network(network, space)
        _, label = connected_components(generator.matrix.T, connection="strong")
        members = np.flatnonzero(label == np.argmax(np.bincount(label)))
        if len(members) < 4:
            return
        matrix = sp.csc_array(generator.matrix[members][:, members])
        matrix.setdiag(0.0)
        matrix.setdiag(-np.asarray(matrix.sum(axis=0)).ravel())
        pi, _ = levels.multilevel_law(matrix, space.states[members])
        exact, _, correction = stationary_vector(matrix)
        assert np.abs(pi - exact).sum() < 1e-9 + 10 * correction

    check()


def test_the_number_of_cycles_does_not_grow_with_the_states(monkeypatch):
    cycles = []
    for size in (40, 80, 160):
        matrix, states = closed("0 -> X @ 16; X -> 0 @ 1; 0 -> Y @ 16; Y -> 0 @ 1", X=size, Y=size)
        seen = []
        improve = levels._Combination.improve
        monkeypatch.setattr(levels._Combination, "improve", lambda *args, improve=improve, seen=seen: seen.append(1) or improve(*args))
        levels.multilevel_law(matrix, states)
        monkeypatch.undo()
        cycles.append(len(seen))
    assert max(cycles) < 1.5 * min(cycles)


def test_stationary_solves_large_given_spaces_level_by_level(monkeypatch):
    monkeypatch.setattr(adaptive, "AT_ONCE", 1000)
    network = cme.parse(TOGGLE)
    space = cme.StateSpace.reachable(network, bounds={"U": 149, "V": 149})
    law = cme.stationary(network, space=space)
    assert law.info["method"] == "aggregation on levels"
    assert law.info["certificate"] == "estimate: 22500 states are solved level by level, which gives no bounds"
    assert np.isnan(law.lost[0])
    assert law.integration_error[0] < 1e-11
    monkeypatch.undo()
    other = cme.stationary(network, space=space)
    assert other.info["method"] == "sparse LU, one state deleted"
    assert np.abs(law["U"][0] - other["U"][0]).sum() < 1e-9
    generator = cme.Generator.from_network(network, space)
    monkeypatch.setattr(adaptive, "SOONER", 1000)
    assert cme.stationary(generator).info["method"] == "aggregation on levels"


def test_what_is_refused(monkeypatch):
    matrix, states = closed(TOGGLE, U=39, V=39)
    monkeypatch.setattr(levels, "CYCLES", 2)
    with pytest.raises(
        cme.ConvergenceError, match=r"on 1600 states still changes by .* in a cycle; keep fewer states, which are solved at"
    ):
        levels.multilevel_law(matrix, states)
    monkeypatch.setattr("cme.memory.available", lambda: 100_000)
    with pytest.raises(cme.ConvergenceError, match=r"the levels above 1600 states need about 0\.00038 GB of memory, and 0\.0001 GB are"):
        levels.multilevel_law(matrix, states)
    matrix, states = closed(TOGGLE, U=59, V=59)
    factors = r"the factors of a matrix of 3600 states need about 0\.0028 GB .* solved level by level"
    with pytest.raises(cme.ConvergenceError, match=factors):
        SparseCycle(matrix, 0)


def fingerprint():
    matrix, states = closed(TOGGLE, U=14, V=16)
    return levels.multilevel_law(matrix, states, 1e-4)[0].tobytes().hex()


def test_kernels_equal_their_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_levels; print(test_levels.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()
