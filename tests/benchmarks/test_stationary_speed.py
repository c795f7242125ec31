"""`stationary` on published problems, everything included, and on given boxes beside scipy's sparse LU. CPU time: ``make bench``.

Each speed stands beside the bound on the error, and the true error where there is a closed form.
"""

import os

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.stats import poisson

import cme

TOGGLE = "0 => U @ {s}*(2 + 60*400/(400 + (V/{s})^2)); U -> 0 @ 1; 0 => V @ {s}*(2 + 50*400/(400 + (U/{s})^2)); V -> 0 @ 1; U = 0; V = 0"
TRIPLE = """
    0 => G1A @ (10 + 1.5*PA)*(1 - G1A); G1A => 0 @ (7 + 2*PC)*G1A; 0 => G1B @ (9 + 4*PB)*(1 - G1B); G1B => 0 @ (10 + 4*PA)*G1B
    0 => G1C @ (11 + 1.5*PC)*(1 - G1C); G1C => 0 @ (9 + 2*PB)*G1C
    G1A -> G1A + MA @ 1.5; G1B -> G1B + MB @ 1; G1C -> G1C + MC @ 1.1; MA -> 0 @ 0.5; MB -> 0 @ 0.3; MC -> 0 @ 0.425
    MA -> MA + PA @ 9.5; MB -> MB + PB @ 11; MC -> MC + PC @ 10; PA -> 0 @ 14.5; PB -> 0 @ 15; PC -> 0 @ 11
"""
PROBLEMS = {  # text, tolerance; SSIT takes 68 s for the two-stage gene and 598 s for the nine species
    "two-stage gene": ("0 -> M @ 50; M -> M + P @ 4; M -> 0 @ 0.5; P -> 0 @ 0.2; M = 100; P = 2000", 1e-6),
    "toggle": (TOGGLE.format(s=1), 1e-6),
    "birth-death 2 x 500": ("0 -> X @ 500; X -> 0 @ 1; 0 -> Y @ 500; Y -> 0 @ 1; X = 400; Y = 400", 1e-6),
    "Schlögl": ("2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250", 1e-9),
    "nine species": (TRIPLE, 1e-2),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_stationary(benchmark, name):
    if name == "nine species" and not os.environ.get("CME_LONG_BENCHMARKS"):
        pytest.skip("takes minutes; set CME_LONG_BENCHMARKS=1")
    text, tol = PROBLEMS[name]
    options = {"tol": tol, "method": "projection", "max_states": 8_000_000, "progress": False}
    rounds = 1 if name == "nine species" else 3
    law = benchmark.pedantic(cme.stationary, (cme.parse(text),), options, rounds=rounds, warmup_rounds=rounds // 3)
    assert law.info["certificate"].startswith("certified")
    error = None
    if name.startswith("birth"):
        truth = poisson.pmf(law.states, 500).prod(axis=1)
        error = float(np.abs(law.p[0] - truth).sum() + 1 - truth.sum())
        assert error <= law.error_bound[0] + 1e-11
    _note(benchmark, name, "cme", len(law.states), float(law.error_bound[0]), error)


@pytest.mark.parametrize("side", [200, 1000])
@pytest.mark.parametrize("solver", ["cme", "splu"])
def test_given_box(benchmark, side, solver):
    if side == 1000 and solver == "splu" and not os.environ.get("CME_LONG_BENCHMARKS"):
        pytest.skip("takes 1.4 GB; set CME_LONG_BENCHMARKS=1")
    generator = _box(side)
    if solver == "cme":
        law = benchmark.pedantic(cme.stationary, (generator,), {}, rounds=1 if side == 1000 else 3, warmup_rounds=1)
        pi, method = law.p[0], law.info["method"]
    else:
        pi, method = benchmark.pedantic(_splu, (generator.matrix,), rounds=1 if side == 1000 else 3), "scipy splu"
    residual = float(np.abs(generator.matrix @ pi).sum() / (generator.exit_rates @ pi))
    _note(benchmark, f"toggle, {side} x {side}", method[:14], side * side, None, residual)  # the residual stands for the error
    assert residual < 1e-9


def _note(benchmark, name: str, solver: str, n_states: int, bound: float | None, error: float | None) -> None:
    benchmark.extra_info.update(projection=f"{name}, t=inf"[:23], solver=solver, states=n_states, bound=bound, error=error)


def _box(side: int) -> cme.Generator:
    network = cme.parse(TOGGLE.format(s=side / 200))
    space = cme.StateSpace.reachable(network, bounds={"U": side - 1, "V": side - 1})
    generator = cme.Generator.from_network(network, space)
    return cme.Generator.from_rates(generator.rates, generator.states, names=generator.names)


def _splu(matrix: sp.csc_array) -> np.ndarray:
    """With the state of least exit rate taken out, which here is not unlikely."""
    fixed = int(np.argmax(matrix.diagonal()))
    others = np.delete(np.arange(matrix.shape[0]), fixed)
    block = sp.csc_matrix(matrix[others][:, others])
    solve = splu(block, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve
    x = np.insert(solve(-matrix[others][:, [fixed]].toarray().ravel()), fixed, 1.0)
    return x / x.sum()
