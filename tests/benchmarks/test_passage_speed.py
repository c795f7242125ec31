"""Mean first-passage times, everything included, beside scipy's sparse LU on the generator of the same states. CPU time: ``make bench``.

Errors are relative: from the closed form of a one-step chain (THEORY.md A.17) where there is one, otherwise from our own mean. LU loses
digits as the mean time grows, without a warning.
"""

import functools
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import cme


class Passage(NamedTuple):
    """A problem: the network, the target, a box that holds all states that matter, and rates up and down of a one-step chain."""

    text: str
    target: str
    box: dict
    steps: tuple | None = None


TOGGLE = "0 => U @ 50/(1 + V^2.5); 0 => V @ 16/(1 + U); U -> 0 @ 1; V -> 0 @ 1; U = 30"
CHAIN = "0 -> A @ 3; A -> 0 @ 1; A -> A + B @ 1; B -> 0 @ 1; B -> B + C @ 1; C -> 0 @ 1"


def sis(r0, n):
    """Infection of n that ends: X infected, of whom one infects r0 others on average while few are."""
    text = f"X => 2 X @ {r0}*X*({n} - X)/{n}; X -> 0 @ 1; X = {round(n * (1 - 1 / r0))}"
    return Passage(text, "X == 0", {}, (lambda i: r0 * i * (n - i) / n, float))


PASSAGES = {
    "SIS, R0=1.1, N=100": sis(1.1, 100),
    "SIS, R0=2, N=50": sis(2, 50),
    "SIS, R0=2, N=400": sis(2, 400),
    "toggle back": Passage(TOGGLE, "V > 2*U && V > 10", {"U": 120, "V": 70}),
    "toggle, 4e4 states": Passage(TOGGLE, "V > 2*U && V > 10", {"U": 200, "V": 200}),
    "three genes in a row": Passage(CHAIN, "C >= 14", {"A": 30, "B": 30, "C": 14}),
}


@pytest.mark.parametrize("name", PASSAGES)
@pytest.mark.parametrize("given", [False, True], ids=["own states", "box"])
def test_first_passage(benchmark, name, given):
    problem = PASSAGES[name]
    if given and not problem.box:
        pytest.skip("all states are kept in any case")
    network, options = cme.parse(problem.text), {"progress": False}
    if given:
        options["space"] = cme.StateSpace.reachable(network, bounds=problem.box)
    found = benchmark.pedantic(cme.first_passage, (network, problem.target), options, rounds=3, warmup_rounds=1)
    low, high = found.mean_bounds
    truth = _truth(name)
    assert low * (1 - 1e-12) <= truth <= high * (1 + 1e-12)
    _note(benchmark, name, "cme, box" if given else "cme", len(found.states), high / low - 1, abs(found.mean() / truth - 1))


@pytest.mark.parametrize("name", PASSAGES)
def test_sparse_lu(benchmark, name):
    problem = PASSAGES[name]
    network = cme.parse(problem.text)
    space = cme.StateSpace.reachable(network, bounds=problem.box or None)
    inside = cme.first_passage(network, problem.target, space=space, progress=False).states
    kept = np.sort(space.index(inside))
    generator = cme.Generator.from_network(network, space)
    closed = generator.matrix + sp.diags_array(generator.leak)  # as our own means are
    matrix = sp.csc_matrix(closed[kept][:, kept])
    start = np.eye(1, len(kept), int(np.flatnonzero(kept == 0)[0]))[0]

    def solve():
        return -splu(matrix, permc_spec="MMD_AT_PLUS_A").solve(start).sum()

    mean = benchmark.pedantic(solve, rounds=3, warmup_rounds=1)
    _note(benchmark, name, "scipy splu", len(kept), None, abs(mean / _truth(name) - 1))


@functools.cache
def _truth(name):
    """The closed form, or our own mean with a far smaller tolerance."""
    problem = PASSAGES[name]
    network = cme.parse(problem.text)
    if problem.steps is None:
        return cme.first_passage(network, problem.target, tol=1e-10, progress=False).mean()
    up, down = problem.steps
    start, total, s = int(network.initial.states[0][0]), 0.0, 0.0
    top = next(n for n in range(start, 10**6) if up(n) == 0)
    for n in range(top, 0, -1):
        s = 1 / down(n) + up(n) / down(n) * s
        total += s if n <= start else 0.0
    return total


def _note(benchmark, name, solver, n_states, bound, error):
    benchmark.group = f"first passage, {name}"
    benchmark.extra_info.update(projection=name, solver=solver, states=n_states, bound=bound, error=error)
