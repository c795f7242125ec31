"""Solvers that must agree: the paths of ssa against the probabilities of fsp, on models from the shelf."""

import numpy as np
import pytest
import verdict

import cme

# Model and last time: long enough that everything has happened, short enough to be quick.
MODELS = {
    "birth_death": 1.0, "isomerisation": 1.0, "telegraph": 3.0, "two_stage": 3.0, "batch_immigration": 3.0, "autoregulated": 2.0,
    "dimerisation": 50.0, "schlogl": 1.0, "schlogl_wkb": 3.0, "toggle_switch": 3.0, "toggle2": 4.0, "michaelis_menten": 4.0,
    "pair_annihilation": 1.0, "complex_balanced": 1.0, "sis": 2.0, "sir": 3.0,
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_ssa_follows_fsp(name):
    network = cme.load(name)
    times = [0.4 * MODELS[name], MODELS[name]]
    exact = cme.fsp(network, times, tol=1e-6)
    compare_with(exact, cme.ssa(network, times, n_paths=1500, seed=20))


def compare_with(exact, paths):
    """Every marginal by chi-square, and every product of two species by its mean."""
    for t in range(len(exact.times)):
        for i, name in enumerate(exact.species):
            verdict.samples_match_pmf(paths[name][:, t], exact.marginal(name, t).p, lost=exact.error_bound[t])
            for j in range(i):
                product = exact.states[:, i] * exact.states[:, j].astype(float)
                mean = float(exact.p[t] @ product)
                sd = float(np.sqrt(max(exact.p[t] @ (product - mean) ** 2, 0.0)))
                found = paths.counts[:, t, i] * paths.counts[:, t, j]
                verdict.mean_matches(found, mean, sd, bias=exact.error_bound[t] * product.max(initial=1.0))
