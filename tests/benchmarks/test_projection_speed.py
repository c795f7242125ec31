"""`fsp` on published problems, everything included, beside other integrators on the same generator. CPU time: ``make bench``.

A fixed box is given to the others (scipy's `expm_multiply` and BDF, and SLEPc's Krylov exponential where slepc4py imports); `fsp` finds
its own states, and takes no closed form; its integrators are timed one by one on the box too. Each speed stands beside the bound on its
error, and the true error where there is a closed form.
"""

import functools
import os

import numpy as np
import projections
import pytest

import cme

BY_NAME = {each.name: each for each in projections.PROJECTIONS}
PAIRS = [(each.name, peer) for each in projections.PROJECTIONS for peer in each.peers]


@pytest.mark.parametrize("name", BY_NAME)
def test_fsp(benchmark, name):
    problem = BY_NAME[name]
    if problem.long and not os.environ.get("CME_LONG_BENCHMARKS"):
        pytest.skip("takes minutes; set CME_LONG_BENCHMARKS=1")
    network, options = cme.parse(problem.text), {"tol": problem.tol, "method": "projection", "max_states": 8_000_000, "progress": False}
    rounds = 1 if problem.long else 3
    law = benchmark.pedantic(cme.fsp, (network, [problem.time]), options, rounds=rounds, warmup_rounds=rounds // 3)
    error = _true_error(problem, law.states, law.p[-1])
    _note(benchmark, problem, "cme", len(law.states), float(law.error_bound[-1]), error)
    assert error is None or error <= law.error_bound[-1] <= problem.tol


@pytest.mark.parametrize("name", [each.name for each in projections.PROJECTIONS if each.truth is not None])
def test_closed_form(benchmark, name):
    """What `fsp` does of itself where it knows a closed form; the truth is worked out apart."""
    problem = BY_NAME[name]
    options = {"tol": problem.tol, "max_states": 8_000_000, "progress": False}
    law = benchmark.pedantic(cme.fsp, (cme.parse(problem.text), [problem.time]), options, rounds=3, warmup_rounds=1)
    assert "exact_by" in law.info
    error = _true_error(problem, law.states, law.p[-1])
    _note(benchmark, problem, "cme, closed form", len(law.states), float(law.error_bound[-1]), error)
    assert error <= law.error_bound[-1] + 1e-12


@pytest.mark.parametrize("name", ["telegraph, t=10", "telegraph, t=200"])
def test_law_of_the_protein_alone(benchmark, name):
    problem = BY_NAME[name]
    options = {"tol": problem.tol, "keep": ["P"], "progress": False}
    law = benchmark.pedantic(cme.fsp, (cme.parse(problem.text), [problem.time]), options, rounds=1)
    assert law.info["method"] == "generating function"
    _note(benchmark, problem, "cme, generating function of P", len(law.states), float(law.error_bound[-1]), None)


@pytest.mark.parametrize("method", ["uniformisation", "chebyshev", "krylov", "rational_krylov"])
@pytest.mark.parametrize("name", ["toggle, t=10", "birth-death 300"])
def test_integrators_on_the_box(benchmark, name, method):
    problem = BY_NAME[name]
    generator, start = _on_the_box(name)
    generator = cme.Generator(generator.sparse(), generator.leak, generator.states, generator.names)
    options = {"tol": problem.tol, "method": method, "initial": start, "progress": False}
    law = benchmark.pedantic(cme.fsp, (generator, [problem.time]), options, rounds=1, warmup_rounds=1)
    _note(benchmark, problem, method, len(generator), float(law.error_bound[-1]), _true_error(problem, law.states, law.p[-1]))


@pytest.mark.parametrize(("name", "peer"), PAIRS)
def test_peer(benchmark, name, peer):
    problem = BY_NAME[name]
    solve = {"expm_multiply": _expm_multiply, "BDF": _bdf, "SLEPc": _slepc}[peer]
    generator, start = _on_the_box(name)
    p = benchmark.pedantic(solve, (generator.sparse(), start, problem.time, problem.tol), rounds=1)
    law = _law(name)
    where = {tuple(state): value for state, value in zip(law.states.tolist(), law.p[-1].tolist(), strict=True)}
    ours = np.array([where.get(tuple(state), 0.0) for state in generator.states.tolist()])
    error = _true_error(problem, generator.states, p)  # where no closed form is known, the distance from our own law
    _note(benchmark, problem, peer, len(p), None, float(np.abs(p - ours).sum()) if error is None else error)


def _note(benchmark, problem, solver, n_states, bound, error):
    benchmark.group = f"fsp, {problem.name}"
    benchmark.extra_info.update(projection=problem.name, solver=solver, states=n_states, bound=bound, error=error)


def _true_error(problem, states, p):
    """The 1-norm distance from the closed form, over all states."""
    if problem.truth is None:
        return None
    truth = problem.truth(states, problem.time)
    return float(np.abs(p - truth).sum() + max(1 - truth.sum(), 0.0))


@functools.cache
def _law(name):
    problem = BY_NAME[name]
    return cme.fsp(cme.parse(problem.text), [problem.time], tol=problem.tol, method="projection", progress=False)


@functools.cache
def _on_the_box(name):
    problem = BY_NAME[name]
    network = cme.parse(problem.text)
    space = cme.StateSpace.reachable(network, bounds=problem.box, max_states=2_000_000)
    generator, start = cme.Generator.from_network(network, space), np.zeros(len(space))
    start[space.index(np.array(network.initial.states))] = network.initial.probabilities
    return generator, start


# ------------------------------------------------------------------------------------------------------------- the others


def _expm_multiply(matrix, start, time, tol):
    from scipy.sparse.linalg import expm_multiply

    return expm_multiply(matrix.tocsr() * time, start)


def _bdf(matrix, start, time, tol):
    from scipy.integrate import solve_ivp

    rows = matrix.tocsr()
    run = solve_ivp(lambda t, p: rows @ p, (0, time), start, "BDF", jac=matrix, rtol=tol, atol=1e-3 * tol, t_eval=[time])
    return run.y[:, -1]


def _slepc(matrix, start, time, tol):
    pytest.importorskip("slepc4py", reason="needs petsc4py and slepc4py")
    from petsc4py import PETSc
    from slepc4py import SLEPc

    rows = matrix.tocsr()
    operator = PETSc.Mat().createAIJ(rows.shape, csr=(rows.indptr.astype("i4"), rows.indices.astype("i4"), rows.data))
    before, after = operator.createVecs()
    before.setArray(start)
    exponential = SLEPc.MFN().create()
    exponential.setType("expokit")  # its default takes no steps in time, and may return another law without a word
    exponential.setOperator(operator)
    function = exponential.getFN()
    function.setType(SLEPc.FN.Type.EXP)
    function.setScale(time, 1.0)
    exponential.setTolerances(tol, 10_000)
    exponential.solve(before, after)
    if exponential.getConvergedReason() < 0:  # in one step, or after 10 000
        pytest.skip(f"SLEPc gives up at t={time:g} (reason {exponential.getConvergedReason()})")
    return after.getArray().copy()
