"""The other solvers on a few problems of PEERS' kind: densities, stationary laws, diffusion paths, moments. CPU time: ``make bench``."""

import numpy as np
import pytest

import cme

TOGGLE = "0 => U @ 50/(1 + (V/10)^2); 0 => V @ 50/(1 + (U/10)^2); U -> 0 @ 1; V -> 0 @ 1; U = 0; V = 0"
TIMES = np.linspace(0, 10, 11)

# name: the model, the solver, and its options
PROBLEMS = {
    "fsp, toggle": (TOGGLE, cme.fsp, {"times": TIMES, "tol": 1e-8}),
    "fsp, schlogl": ("schlogl", cme.fsp, {"times": TIMES, "tol": 1e-8}),
    "fsp, telegraph": ("telegraph", cme.fsp, {"times": TIMES, "tol": 1e-8}),
    "fsp, three stages": ("three_stage", cme.fsp, {"times": [1.0], "tol": 1e-6}),
    "stationary, toggle": (TOGGLE, cme.stationary, {}),
    "stationary, schlogl": ("schlogl", cme.stationary, {}),
    "fokker_planck, schlogl": ("schlogl", cme.fokker_planck, {"times": TIMES}),
    "fokker_planck, toggle": (TOGGLE, cme.fokker_planck, {"times": [1.0, 10.0]}),
    "langevin, schlogl": ("schlogl", cme.langevin, {"times": TIMES, "n_paths": 1000, "seed": 1, "threads": 1, "progress": False}),
    "langevin, toggle": (TOGGLE, cme.langevin, {"times": TIMES, "n_paths": 1000, "seed": 1, "threads": 1, "progress": False}),
    "lna, two stages": ("two_stage", cme.lna, {"times": TIMES}),
    "lna, repressilator": ("repressilator", cme.lna, {"times": TIMES}),
    "rate_equations, repressilator": ("repressilator", cme.rate_equations, {"times": TIMES}),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_solver(benchmark, problem):
    model, solver, options = PROBLEMS[problem]
    network = cme.parse(model) if "->" in model else cme.load(model)
    benchmark.group = problem.split(",")[0]
    result = benchmark.pedantic(solver, (network,), options, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update({key: value for key, value in result.info.items() if key in ("method", "states", "wall_seconds")})
