"""Large statistical runs of ssa and langevin, some minutes: ``pytest -o addopts= tests/verification``."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
import test_agreement
import verdict

import cme

MODELS = {
    **test_agreement.MODELS,
    "bursty_expression": 3.0, "michaelis_menten_closed": 1.0, "pap_operon": 5.0, "brusselator": 0.02, "goutsias": 5.0,
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_ssa_follows_fsp_on_many_paths(name):
    network = cme.load(name)
    times = [0.4 * MODELS[name], MODELS[name]]
    exact = cme.fsp(network, times, tol=1e-6)
    test_agreement.compare_with(exact, cme.ssa(network, times, n_paths=10_000 if name == "schlogl" else 100_000, seed=21))


def test_immigration_death_in_a_million_paths():  # THEORY A.1
    paths = cme.ssa(cme.parse("0 -> X @ 6; X -> 0 @ 0.8; X = 12"), [0.5, 2.0], n_paths=1_000_000, seed=1)
    for t, time in enumerate(paths.times):
        q = math.exp(-0.8 * time)
        law = np.convolve(stats.binom.pmf(np.arange(13), 12, q), stats.poisson.pmf(np.arange(80), 7.5 * (1 - q)))
        verdict.samples_match_pmf(paths["X"][:, t], law)


@pytest.mark.parametrize("n", [30, 300, 3000])
def test_blocks_of_reactions_on_a_ring(n):  # THEORY A.2
    network = cme.parse("\n".join(f"X{i} -> X{(i + 1) % n} @ 1; X{i} = {5 if i % 3 else 0}" for i in range(n)))
    paths = cme.ssa(network, 4.0, n_paths=200_000 // n, seed=2)
    p = stats.poisson.pmf(np.arange(60), 4.0)
    for i in (0, 1, n // 2, n - 1):
        law = np.array([1.0])
        for steps, arrives in enumerate(p):
            if steps < n and (i - steps) % n % 3:
                moved = arrives if n >= 60 else p[steps::n].sum()
                law = np.convolve(law, stats.binom.pmf(np.arange(6), 5, moved))[:80]
        verdict.samples_match_pmf(paths[f"X{i}"][:, 0], law)


def test_both_modes_of_ssa_agree_on_a_long_path():
    network = cme.load("schlogl")
    times = np.linspace(0, 1000, 50)
    plain = cme.ssa(network, times, n_paths=2, seed=3)
    full = cme.ssa(network, times, n_paths=2, seed=3, every_event=True)
    assert np.array_equal(plain.counts, full.counts)
    assert full.info["events"] > 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "0 -> A @ 2; 0 -> B @ 1; A + B -> 0 @ 1; A -> 0 @ 1; B -> 0 @ 0.5",
        "0 -> A @ 1; A -> B @ 1; B -> 0 @ 1",
        "0 -> A + B @ 1; A -> 0 @ 1; B -> 0 @ 1",
        "0 -> P @ 3; 2 P <-> D @ 0.5, 1; D -> 0 @ 0.5",
    ],
)
def test_oblique_reflection_is_the_zero_flux_wall_of_fokker_planck(text):
    network = cme.parse(text)
    density = cme.fokker_planck(network, [1.0, 6.0])
    paths = cme.langevin(network, [1.0, 6.0], n_paths=40_000, seed=4, dt=0.002)
    for t in range(2):
        for s in range(2):
            grid = abs(density.mean()[t, s] - density.coarse.mean()[t, s])
            step = abs(paths.first(1000).mean()[t, s] - paths.coarse.mean()[t, s])
            verdict.mean_matches(paths.counts[:, t, s], density.mean()[t, s], bias=grid + 2 * step)


def test_reflected_means_at_a_fine_step():  # THEORY B.3
    for lam, mean in [(0.5, 0.75), (1, 1.2105263), (2, 2.1254979), (5, 5.0187255)]:
        network = cme.parse(f"0 -> X @ {lam}; X -> 0 @ 1; X = 1")
        samples = cme.langevin(network, [8.0, 12.0, 16.0, 20.0], n_paths=20_000, seed=5, dt=0.002).counts.mean(axis=1)[:, 0]
        verdict.mean_matches(samples, mean, bias=0.002)


def test_extinction_of_the_feller_diffusion():  # THEORY B.4
    for birth, death, n0, t in [(2.0, 1.0, 5, 1.0), (2.0, 1.0, 5, 5.0), (1.0, 2.0, 2, 1.0)]:
        network = cme.parse(f"X -> 2 X @ {birth}; X -> 0 @ {death}; X = {n0}")
        gone = cme.langevin(network, t, n_paths=40_000, seed=6, dt=0.002)["X"][:, 0] == 0
        growth = math.exp((birth - death) * t)
        verdict.probability_matches(gone, math.exp(-2 * (birth - death) * n0 * growth / ((birth + death) * (growth - 1))), bias=0.003)
