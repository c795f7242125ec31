"""langevin: the scheme against its own exact moments, square-root diffusions, walls, and its promises."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import twins
import verdict
from hypothesis import given, settings
from scipy import stats
from strategies import networks

import cme
from cme import errors
from cme.arguments import check_seed
from cme.continuum.langevin import _complaint
from cme.kernels import langevin as engine

BIRTH_DEATH = "0 -> X @ {k}; X -> 0 @ {g}; X = {x}"
SCHLOGL = "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250"


# -------------------------------------------------------------------------------------------------------------- twins

TWINS = {
    "birth-death": (BIRTH_DEATH.format(k=2.0, g=1.0, x=1), [(lambda x: 2.0, (1,)), (lambda x: 1.0 * x, (-1,))], 1),
    "pairs": ("0 -> X @ 3; 2 X -> 0 @ 0.5; X = 4", [(lambda x: 3.0, (1,)), (lambda x: 0.5 / 2 * x * (x - 1), (-2,))], 4),
    "Schloegl": (
        SCHLOGL,
        [
            (lambda x: 0.03 / 2 * x * (x - 1), (1,)),
            (lambda x: 1e-4 / 6 * x * (x - 1) * (x - 2), (-1,)),
            (lambda x: 200.0, (1,)),
            (lambda x: 3.5 * x, (-1,)),
        ],
        250,
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_kernel_equals_the_independent_twin_bit_by_bit(name):
    text, reactions, start = TWINS[name]
    key, _ = check_seed(5)
    for boundary, twin in [("reflect", twins.euler_maruyama), ("natural", twins.euler_maruyama_natural)]:
        if name == "pairs" and boundary == "natural":
            continue  # escapes to minus infinity
        paths = cme.langevin(cme.parse(text), 2.0, n_paths=5, seed=5, dt=0.02, boundary=boundary)
        expected = [twin(reactions, start, 2.0, 50, twins.Stream(key, i, stream=1)) for i in range(5)]
        assert paths["X"][:, 0].tolist() == expected


def fingerprint():
    """Every bit of some runs, as text."""
    texts = [*(text for text, _, _ in TWINS.values()), "A + B -> C @ 0.5; C -> A @ 2; 0 => B @ 3/(1 + A); B -> 0 @ 1; A = 2; C = 1"]
    runs = [cme.langevin(cme.parse(text), [0.0, 0.4, 1.0], n_paths=3, seed=5, dt=0.02, threads=1) for text in texts]
    return "\n".join(paths.counts.tobytes().hex() + paths.coarse.counts.tobytes().hex() for paths in runs)


def test_kernel_equals_its_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_langevin; print(test_langevin.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


def test_kernel_constants_are_those_of_errors():
    for name in "OK NEGATIVE_PROPENSITY UNDEFINED_PROPENSITY CANCELLED OVERFLOW UNSETTLED".split():
        assert getattr(engine, name) == getattr(errors, name)


# ------------------------------------------------------------------------------------------------------------- oracles


def test_euler_maruyama_has_its_exact_moments_at_both_steps():
    # x' = x + (k - x) h + sqrt((k + x) h) z: mean k, variance k / (1 - h/2) when stationary; at x << 0 never within reach.
    k = 30.0
    network = cme.parse(BIRTH_DEATH.format(k=k, g=1, x=30))
    paths = cme.langevin(network, 12.0, n_paths=20000, seed=2, dt=0.2, boundary="natural")
    rough = cme.langevin(network, 12.0, n_paths=1000, seed=2, dt=0.2, boundary="natural").coarse
    for samples, h in [(paths["X"][:, 0], 0.2), (rough["X"][:, 0], 0.4)]:
        variance = k / (1 - h / 2)
        verdict.mean_matches(samples, k, math.sqrt(variance))
        verdict.variance_matches(samples, variance)
    with pytest.raises(verdict.Refused):  # the verdict is sharp enough to see the step
        verdict.variance_matches(paths["X"][:, 0], k)


def test_natural_birth_death_is_a_shifted_square_root_diffusion():  # THEORY B.2, transient
    k, g, x0, t = 12.0, 0.8, 3.0, 0.6
    paths = cme.langevin(cme.parse(BIRTH_DEATH.format(k=k, g=g, x=3)), t, n_paths=10000, seed=3, dt=0.004, boundary="natural")
    samples, q, shift = paths["X"][:, 0], math.exp(-g * t), k / g
    mean = x0 * q + shift * (1 - q)
    variance = (x0 + shift) * (q - q * q) + shift * (1 - q) ** 2
    bias = abs(np.var(samples[:1000]) - np.var(paths.coarse["X"][:, 0]))
    verdict.mean_matches(samples, mean, math.sqrt(variance))
    verdict.variance_matches(samples, variance, bias=bias)
    c = 2 / (1 - q)
    law = stats.ncx2(8 * k / g, 2 * c * (x0 + shift) * q)
    cells = np.minimum((law.cdf(2 * c * (samples + shift)) * 30).astype(int), 29)
    verdict.samples_match_pmf(cells, np.full(30, 1 / 30), lost=1e-3)
    third = np.mean((samples - mean) ** 3)  # 3.259 for this diffusion, 5.550 for the jump process
    assert abs(third - 3.259) < 5 * np.std((samples - mean) ** 3) / 100


@pytest.mark.parametrize(("lam", "mean"), [(0.5, 0.75), (1, 1.2105263), (2, 2.1254979)])
def test_a_reflecting_wall_biases_the_mean_as_it_must(lam, mean):  # THEORY B.3
    network = cme.parse(BIRTH_DEATH.format(k=lam, g=1, x=1))
    samples = cme.langevin(network, 8.0, n_paths=6000, seed=4, dt=0.01)["X"][:, 0]
    verdict.mean_matches(samples, mean, bias=0.003)
    with pytest.raises(verdict.Refused):
        verdict.mean_matches(samples, lam)
    natural = cme.langevin(network, 8.0, n_paths=6000, seed=4, dt=0.01, boundary="natural")["X"][:, 0]
    verdict.mean_matches(natural, lam, bias=0.003)


def test_absorption_tends_to_the_same_process_more_slowly():
    network = cme.parse(BIRTH_DEATH.format(k=1, g=1, x=1))
    times = np.arange(4.0, 12.0)
    for dt in (0.04, 0.01):
        absorbed = cme.langevin(network, times, n_paths=6000, seed=5, dt=dt, boundary="absorb").counts.mean()
        reflected = cme.langevin(network, times, n_paths=6000, seed=5, dt=dt).counts.mean()
        assert 1.2105 - absorbed == pytest.approx(0.25 * math.sqrt(dt), rel=0.35)
        assert abs(1.2105 - reflected) < 0.01


@pytest.mark.parametrize("boundary", ["reflect", "absorb"])
def test_extinction_is_final(boundary):  # THEORY B.4
    network = cme.parse("X -> 2 X @ 1; X -> 0 @ 2; X = 2")
    paths = cme.langevin(network, [1.0, 2.0], n_paths=8000, seed=6, dt=0.01, boundary=boundary)
    gone = paths["X"] == 0
    assert np.all(gone[:, 1] >= gone[:, 0])
    for t, time in enumerate(paths.times):
        e = math.exp(-time)
        verdict.probability_matches(gone[:, t], math.exp(4 * e / (3 * (e - 1))), bias=0.01)
        verdict.mean_matches(paths["X"][:, t], 2 * e)


def test_error_of_the_step_is_of_first_order():
    network = cme.parse(BIRTH_DEATH.format(k=20, g=1, x=60))
    effects = []
    for dt in (0.1, 0.05):
        paths = cme.langevin(network, 1.0, n_paths=1000, seed=7, dt=dt, boundary="natural")
        effects.append(paths.coarse["X"].mean() - paths["X"].mean())
        assert paths.coarse.info["dt"] == 2 * dt
    # mean - 20 = 40 (1 - h)^(1/h): the difference between h and 2 h, which common noise shows to three digits
    for effect, h in zip(effects, (0.1, 0.05), strict=True):
        assert effect == pytest.approx(40 * ((1 - 2 * h) ** (0.5 / h) - (1 - h) ** (1 / h)), abs=0.12)
    assert 1.6 < effects[0] / effects[1] < 2.8


@pytest.mark.parametrize("boundary", ["reflect", "absorb"])
def test_conserved_totals_stay(boundary):
    texts = {
        "A <-> B @ 1, 2; A = 3": [[1, 1]],
        "E + S <-> C @ 0.5, 1; C -> E + P @ 1; E = 2; S = 6": [[1, 0, 1, 0], [0, 1, 1, 1]],
        "S + I -> 2 I @ 0.1; I -> R @ 1; S = 9; I = 2": [[1, 1, 1]],
        "2 P <-> D @ 1, 2; P = 5": [[1, 2]],
    }
    for text, laws in texts.items():
        network = cme.parse(text)
        paths = cme.langevin(network, [0.5, 1.0, 5.0], n_paths=300, seed=8, dt=0.02, boundary=boundary)
        for result in (paths, paths.coarse):
            assert result.counts.min() >= 0
            for law in laws:
                start = np.dot(network.initial.states[0], law)
                assert np.abs(result.counts @ np.array(law) - start).max() < 1e-11


def test_reflection_between_two_walls_is_that_of_the_conserved_pair():
    # A + B = 3, A -> B at 1, B -> A at 2: the density on [0, 3] is that of one variable with walls at both ends.
    network = cme.parse("A <-> B @ 1, 2; A = 2; B = 1")
    samples = cme.langevin(network, 8.0, n_paths=8000, seed=9, dt=0.005)["A"][:, 0]
    a = np.linspace(0, 3, 30001)
    drift, noise = -a + 2 * (3 - a), a + 2 * (3 - a)
    exponent = np.concatenate([[0.0], np.cumsum((2 * drift / noise)[1:] + (2 * drift / noise)[:-1]) * (a[1] / 2)])
    density = np.exp(exponent) / noise
    density /= density.sum()
    verdict.mean_matches(samples, density @ a, bias=0.005)
    verdict.variance_matches(samples, density @ (a - density @ a) ** 2, bias=0.005)


def test_natural_takes_a_network_of_one_independent_species():
    paths = cme.langevin(cme.parse("A <-> B @ 1, 2; A = 2; B = 1"), 8.0, n_paths=6000, seed=9, dt=0.01, boundary="natural")
    verdict.mean_matches(paths["A"][:, 0], 2.0)
    assert np.abs(paths.counts.sum(axis=2) - 3).max() < 1e-12
    boundary_species = cme.langevin(cme.parse("$S -> X @ 2; X -> 0 @ 1; S = 3"), 4.0, n_paths=4000, seed=9, boundary="natural")
    verdict.mean_matches(boundary_species["X"][:, 0], 6 * (1 - math.exp(-4)), bias=0.01)
    assert np.all(boundary_species["S"] == 3)


# ------------------------------------------------------------------------------------------------------------ promises


def test_same_numbers_on_any_number_of_threads_and_paths():
    network = cme.parse("0 -> M @ 5; M -> M + P @ 2; M -> 0 @ 1; P -> 0 @ 0.5; total := M + P")
    times = [0.0, 0.5, 2.0]
    reference = cme.langevin(network, times, n_paths=1200, seed=9, dt=0.05, threads=1)
    for threads in (2, 8):
        again = cme.langevin(network, times, n_paths=1200, seed=9, dt=0.05, threads=threads)
        assert np.array_equal(again.counts, reference.counts)
        assert np.array_equal(again.coarse.counts, reference.coarse.counts)
    first = cme.langevin(network, times, n_paths=100, seed=9, dt=0.05)
    assert np.array_equal(first.counts, reference.counts[:100])
    assert np.array_equal(first.coarse.counts, reference.coarse.counts[:100])
    assert reference.coarse.n_paths == 1000
    assert np.array_equal(reference["total"], reference["M"] + reference["P"])
    assert np.all(reference.counts[:, 0] == 0)


def test_paths_are_independent_of_those_of_ssa_with_the_same_seed():
    network = cme.parse(BIRTH_DEATH.format(k=50, g=1, x=50))
    exact = cme.ssa(network, 0.2, n_paths=4000, seed=1)["X"][:, 0] - 50
    diffusion = cme.langevin(network, 0.2, n_paths=4000, seed=1, dt=0.1)["X"][:, 0] - 50
    verdict.mean_matches(exact * diffusion / (exact.std() * diffusion.std()), 0.0, 1.0)


def test_start_may_be_a_distribution():
    network = cme.parse("X -> 0 @ 0; Y -> 0 @ 0").with_initial({(0, 5): 0.2, (3, 1): 0.5, (7, 0): 0.3})
    paths = cme.langevin(network, 0, n_paths=4000, seed=1)
    verdict.samples_match_pmf(paths["X"][:, 0], [0.2, 0, 0, 0.5, 0, 0, 0, 0.3])
    assert cme.langevin(network, 0, n_paths=2, seed=1, initial=(2.5, 1)).counts.tolist() == [[[2.5, 1.0]]] * 2


@pytest.mark.parametrize(
    ("text", "times", "dt", "why"),
    [
        ("X -> 0 @ 4; X = 1000", [1.0], 0.005, "the fastest relaxation"),  # 0.02 / 4
        ("X -> 0 @ 4; X = 1000", [0.1], 0.002, "the last time"),  # 0.1 / 50
        ("0 -> X @ 1; X -> 0 @ 1; X = 1", [5.0], 0.005, "the noise"),  # 0.01 / (1 + 1)
        ("X -> 0 @ 4; X = 1000", [0.0], 1.0, "no time passes"),
    ],
)
def test_step_is_chosen_from_the_model(text, times, dt, why):
    info = cme.langevin(cme.parse(text), times, n_paths=2, seed=1).info
    assert info["dt"] == pytest.approx(dt, rel=1e-3)
    assert info["dt_from"] == why
    assert info["steps"] == (2 * math.ceil(times[0] / dt / 2) if times[0] else 0)


@pytest.mark.parametrize("text", ["species X; X = 4", "X -> X @ 5; X = 4", "X -> 0 @ 0; X = 4"])
@pytest.mark.parametrize("boundary", ["reflect", "natural"])
def test_networks_in_which_nothing_changes(text, boundary):
    assert cme.langevin(cme.parse(text), [0, 1], n_paths=2, seed=1, boundary=boundary).counts.tolist() == [[[4], [4]]] * 2


@settings(max_examples=20, deadline=None)
@given(networks())
def test_laws_of_random_networks(network):
    for boundary in ("reflect", "absorb"):
        paths = cme.langevin(network, [0.0, 0.5, 2.0], n_paths=10, seed=1, dt=0.05, boundary=boundary)
        assert np.all(paths.counts >= 0)
        for law in cme.graphs.conservation_laws(network):
            assert np.abs((paths.counts - paths.counts[:, :1]) @ law).max() < 1e-9


# ----------------------------------------------------------------------------------------------------------- refusals


def refuse(text, error, match, times=(5.0,), **options):
    with pytest.raises(error, match=match):
        cme.langevin(cme.parse(text), times, **{"n_paths": 20, "seed": 1, "dt": 0.05, **options})


def test_refusals():
    refuse("0 -> X @ 1", ValueError, "boundary must be one of 'natural', 'reflect', 'absorb', not 'wrap'", boundary="wrap")
    refuse("0 -> X @ 1", ValueError, "dt must be a finite number above 0, not -1", dt=-1)
    refuse("0 -> X @ 1; 0 -> Y @ 1", cme.ModelError, "needs a network of one independent species, 'network' has 2", boundary="natural")
    refuse("bad: 0 => X @ 1/(X - 1); X = 1", cme.ModelError, r"the propensity 1/\(X - 1\) of reaction 'bad' is not a finite number")
    refuse("odd: 0 => X @ 3 - X; X = 9", cme.ModelError, r"3 - X of reaction 'odd' is negative in state \{X: 9\}")
    refuse(
        "0 -> X @ 1; r: X => 0 @ X^1.5; X = 1",
        cme.ModelError,
        r"X\^1.5 of reaction 'r' is not a finite number in state \{X: -.*, or use boundary='reflect'",
        boundary="natural",
    )
    refuse("2 X -> 0 @ 1; 0 -> X @ 2; X = 2", cme.ConvergenceError, "a path ran away to .* or boundary='reflect'", boundary="natural")
    refuse(
        "X => 2 X @ X^2; X = 5",
        cme.ConvergenceError,
        r"a path ran away to \{X: .*\} with dt=0.05, or at twice that .*; give a smaller dt, or end",
    )
    refuse("0 -> X @ 1", MemoryError, r"1000000000 paths x 100 times x 1 species take 745 GiB", n_paths=10**9, times=range(100))
    refuse("X => 2 X @ X^2; X = 5", cme.ConvergenceError, "no step could be chosen from the rate equations: .*; or give dt", dt=None)
    refuse("0 => X @ 1 + 1e-3*factorial(X)", cme.ModelError, "no step could be chosen .* has no derivative here.*; or give dt", dt=None)
    stiff = r"langevin needs 500000 steps of 2\.0e-05 for a path, because of the fastest relaxation; raise max_steps \(now 50000\)"
    refuse("X -> Y @ 1000; X = 9", cme.ConvergenceError, stiff, times=(10.0,), dt=None)
    refuse("X -> Y @ 1000; X = 9", ValueError, "give dt or max_steps, not both", max_steps=10)
    swimmer = engine.new_swimmer(1, 0, 1, 1, 1)
    error = _complaint(cme.parse("0 -> X @ 1"), engine.UNSETTLED, swimmer, "reflect", 0.5)  # no network is known that does this
    assert str(error) == "a path could not be brought back from {X: 0} with dt=0.5 and boundary='reflect'; give a smaller dt"
