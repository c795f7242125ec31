"""tau_leap: the kernel against its plain-Python form and an independent twin, the rule for the length of leaps, closed forms, refusals."""

import itertools
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import twins
import verdict
from hypothesis import given, settings
from scipy import stats
from scipy.linalg import expm
from strategies import networks

import cme
from cme import errors
from cme.arguments import check_seed
from cme.kernels import leap as engine
from cme.kernels import poisson
from cme.kernels.random import LEAPS
from cme.sampling import tau_leap as solver

BIRTH_DEATH = "0 -> X @ {k}; X -> 0 @ {g}; X = {x}"
DIMERS = "S1 -> 0 @ 1; 2 S1 -> S2 @ 0.002; S2 -> 2 S1 @ 0.5; S2 -> S3 @ 0.04; S1 = {n}; S2 = 0; S3 = 0"
MADE = ("leaps", "exact_steps", "rejected_leaps")


def run(text, times, **options):
    return cme.tau_leap(cme.parse(text), times, **{"n_paths": 2000, "seed": 1, **options})


def made(paths):
    return [paths.info[name] for name in MADE]


# ------------------------------------------------------------------------------------------------------ random numbers


def poisson_numbers(mean, size, path=0):
    random, out = np.zeros(4, np.uint64), np.zeros(size)
    key, _ = check_seed(11)
    poisson.fill_with_poisson(key, LEAPS, path, mean, random, out)
    return out


@pytest.mark.parametrize("mean", [1e-3, 0.1, 1.0, 4.7, 9.99, 10.0, 10.5, 13.0, 37.0, 250.0, 9000.0])
def test_poisson_numbers_follow_their_law(mean):
    numbers = poisson_numbers(mean, 200_000)
    low = max(0, int(mean - 12 * math.sqrt(mean)) - 1)
    law = stats.poisson.pmf(np.arange(low, mean + 12 * math.sqrt(mean) + 40), mean)
    verdict.samples_match_pmf(numbers - low, law)


@pytest.mark.parametrize("mean", [1e6, 1e9, 1e12, 1e15])
def test_poisson_numbers_of_large_means_are_normal(mean):
    numbers = poisson_numbers(mean, 200_000)
    assert np.array_equal(numbers, np.floor(numbers))
    z = (numbers - mean) / math.sqrt(mean)
    verdict.mean_matches(z, 0.0, 1.0)
    verdict.variance_matches(z, 1.0, 3.0)
    cells = np.minimum((stats.norm.cdf(z) * 50).astype(int), 49)
    verdict.samples_match_pmf(cells, np.full(50, 0.02), lost=1e-4 + 1 / math.sqrt(mean))  # a skew of 1 / sqrt(mean)


def test_verdict_catches_a_wrong_poisson_number():
    law = stats.poisson.pmf(np.arange(120), 37.0)
    with pytest.raises(verdict.Refused, match="chi-square"):
        verdict.samples_match_pmf(poisson_numbers(37.2, 200_000), law)


# --------------------------------------------------------------------------------------------------------------- twins

TWINS = {
    "birth-death": (
        BIRTH_DEATH.format(k=3e4, g=2.0, x=100),
        [(lambda x: 3e4, (1,), None), (lambda x: 2.0 * x, (-1,), lambda x: 2.0)],
        100,
    ),
    "small numbers": (
        BIRTH_DEATH.format(k=5, g=1.0, x=3),
        [(lambda x: 5.0, (1,), None), (lambda x: 1.0 * x, (-1,), lambda x: 1.0)],
        3,
    ),
    "pairs": (
        "0 -> X @ 4e4; 2 X -> 0 @ 0.02; X -> 0 @ 0.5; X = 0",
        [
            (lambda x: 4e4, (1,), None),
            (lambda x: 0.02 / 2 * x * (x - 1), (-2,), lambda x: twins.central(lambda y: 0.02 / 2 * y * (y - 1), x)),
            (lambda x: 0.5 * x, (-1,), lambda x: 0.5),
        ],
        0,
    ),
    "a reaction that dies out": ("X -> 0 @ 3; X = 5000", [(lambda x: 3.0 * x, (-1,), lambda x: 3.0)], 5000),
    "a Hill law": (
        "0 => X @ 20000/(1 + X/1000); X -> 0 @ 1; X = 400",
        [
            (lambda x: 20000.0 / (x / 1000.0 + 1.0), (1,), lambda x: twins.central(lambda y: 20000.0 / (y / 1000.0 + 1.0), x)),
            (lambda x: 1.0 * x, (-1,), lambda x: 1.0),
        ],
        400,
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_kernel_equals_the_independent_twin_bit_by_bit(name):
    text, reactions, start = TWINS[name]
    paths, (key, _) = run(text, 2.5, n_paths=6, seed=5, method="explicit"), check_seed(5)
    expected = [twins.tau_leap(reactions, start, 2.5, 0.03, twins.Stream(key, i, stream=5)) for i in range(6)]
    assert paths["X"][:, 0].tolist() == [count for count, _ in expected]
    assert made(paths) == np.sum([each for _, each in expected], axis=0).tolist()
    rough = [twins.tau_leap(reactions, start, 2.5, 0.06, twins.Stream(key, i, stream=5))[0] for i in range(6)]
    assert paths.coarse["X"][:, 0].tolist() == rough


STIFF_DIMERS = "S1 -> 0 @ 1; 2 S1 <-> S2 @ 10, 1000; S2 -> S3 @ 0.1; S1 = 400; S2 = 798; S3 = 0"  # Rathinam et al. 2003


def fingerprint():
    """Every bit of some runs, as text."""
    texts = [*(text for text, _, _ in TWINS.values()), DIMERS.format(n=3000), STIFF_DIMERS]
    texts += ["0 => U @ 5e4/(1 + (V/1e3)^2.5); 0 => V @ 1.6e4/(1 + U/1e3); U -> 0 @ 1; V -> 0 @ 1", "A + B -> C @ 0.01; A = 9; B = 500"]
    texts += ["0 -> poisson(b) X @ 30; X -> 0 @ 1; binomial(X, 0.1) X => 0 @ 9; X = 6000; b = 200"]
    lines = []
    for text in texts:
        for method in ("auto", "implicit"):
            paths = run(text, [0.0, 0.05, 0.1], n_paths=2, threads=1, method=method)
            lines.append(paths.counts.tobytes().hex() + paths.coarse.counts.tobytes().hex() + str(made(paths)))
    return "\n".join(lines)


def test_kernel_equals_its_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_leap; print(test_leap.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


def test_kernel_constants_are_those_of_errors():
    for name in "OK NEGATIVE_COUNT CANCELLED OVERFLOW STALLED".split():
        assert getattr(engine, name) == getattr(errors, name)


# ------------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("method", ["auto", "explicit", "implicit"])
@pytest.mark.parametrize("times", [[5.0], [50.0]])
def test_birth_death_at_rest_keeps_its_spread(method, times):  # THEORY A.1: Poisson; KERNELS: 1047 in place of 316 without the cap
    paths = run(BIRTH_DEATH.format(k=1e5, g=1, x=100000), times, n_paths=4000, method=method)
    verdict.mean_matches(paths["X"][:, -1], 1e5, math.sqrt(1e5))
    verdict.variance_matches(paths["X"][:, -1], 1e5, bias=0.04 * 1e5)  # explicit 1 / (1 - epsilon), implicit 1 / (1 + epsilon)
    assert paths.info["leaps"] < 4000 * 1000


def test_without_the_cap_one_leap_leads_far_past_the_relaxation(monkeypatch):
    plan = solver._plan
    monkeypatch.setattr(solver, "_plan", lambda *args: plan(*args)._replace(row_pointer=np.zeros(2, np.uint32)))
    paths = run(BIRTH_DEATH.format(k=1e5, g=1, x=100000), 5.0, method="explicit")
    assert paths.info["leaps"] == 2000
    assert 950 < paths.sd()[0, 0] < 1150


def test_explicit_leaps_widen_a_linear_network_by_the_factor_that_they_must():
    # x' = x + P(k h) - P(g x h) at rest has variance (k / g) / (1 - g h / 2), h = 2 epsilon / g.
    paths = run(BIRTH_DEATH.format(k=4e4, g=2, x=20000), [10.0], n_paths=8000, epsilon=0.1, method="explicit")
    for result, epsilon in [(paths, 0.1), (paths.coarse, 0.2)]:
        verdict.variance_matches(result["X"][:, 0], 2e4 / (1 - epsilon), bias=0.01 * 2e4)  # an even number of leaps, a little shorter


def test_relaxation_is_capped_on_other_networks_too():
    # A chain of conversions, an exchange, and one with feedback: all at rest; THEORY A.2 (Poisson), A.11.
    chain = run("0 -> A @ 1e5; A -> B @ 1; B -> C @ 2; C -> 0 @ 0.5; A = 100000; B = 50000; C = 200000", [6.0], method="explicit")
    exchange = run("A <-> B @ 1, 3; A = 75000; B = 25000", [6.0], method="explicit")
    pairs = run("0 -> A @ 1e6; 2 A -> 0 @ 1e-4; A = 100000", [2.0], method="explicit")
    for name, mean in [("A", 1e5), ("B", 5e4), ("C", 2e5)]:
        verdict.variance_matches(chain[name][:, 0], mean, bias=0.05 * mean)
        verdict.mean_matches(chain[name][:, 0], mean, math.sqrt(mean))
    verdict.variance_matches(exchange["A"][:, 0], 1e5 * 0.75 * 0.25, bias=0.05 * 1e5 * 0.75 * 0.25)
    kappa = 1e6 / 0.5e-4  # THEORY A.10: variance (3/4) sqrt(kappa / 2) for large kappa
    verdict.variance_matches(pairs["A"][:, 0], 0.75 * math.sqrt(kappa / 2), bias=0.05 * 0.75 * math.sqrt(kappa / 2))
    for paths in (chain, exchange, pairs):
        assert paths.info["exact_steps"] == 0


def test_monomolecular_network_has_the_moments_of_jahnke_and_huisinga():  # THEORY A.2
    paths = run("0 -> A @ 4e4; A -> B @ 1; B -> A @ 0.3; B -> C @ 0.5; C -> 0 @ 0.7; A -> 0 @ 0.1; A = 10000; B = 50000; C = 0", 1.3)
    rates = np.array([[-1.1, 0.3, 0.0], [1.0, -0.8, 0.0], [0.0, 0.5, -0.7]])
    p = expm(1.3 * rates)
    start = np.array([10000.0, 50000.0, 0.0])
    mean = np.linalg.solve(rates, (p - np.eye(3)) @ [4e4, 0.0, 0.0]) + p @ start
    covariance = np.diag(mean) - (p * start) @ p.T
    for i, name in enumerate("ABC"):
        verdict.mean_matches(paths[name][:, 0], mean[i], bias=0.03 * mean[i])
        verdict.variance_matches(paths[name][:, 0], covariance[i, i], bias=0.08 * covariance[i, i])


def test_the_error_shrinks_with_epsilon_and_the_coarse_twin_tells_how_large_it_is():
    # Decay: a leap h = epsilon / g leaves (1 - epsilon) of x, so that the mean at g t = 1 is too low by epsilon / 2 or so.
    errors_, told = [], []
    for epsilon in (0.1, 0.05, 0.025):
        paths = run("X -> 0 @ 1; X = 1000000", 1.0, n_paths=500, epsilon=epsilon, method="explicit")
        errors_.append(1e6 * math.exp(-1) - paths["X"].mean())
        told.append(paths["X"].mean() - paths.coarse["X"].mean())
        verdict.mean_matches(paths["X"][:, 0], 1e6 * (1 - epsilon) ** (1 / epsilon), bias=0.1 * epsilon * 1e6 * math.exp(-1))
    for found, half in itertools.pairwise(errors_):
        assert 1.7 < found / half < 2.3
    assert np.allclose(told, errors_, rtol=0.2)


def test_dimers_follow_the_law_of_exact_paths():  # Cao, Gillespie and Petzold 2006, figure 2
    network = cme.parse(DIMERS.format(n=6000))
    exact = cme.ssa(network, [3.0], n_paths=1500, seed=3)
    leaps = cme.tau_leap(network, [3.0], n_paths=1500, seed=3)
    assert leaps.info["leaps"] * 12 < exact.info["events"]
    for name in ("S1", "S2", "S3"):
        ours, theirs = leaps[name][:, 0], exact[name][:, 0]
        step = max(1, int(theirs.std() / 4))
        verdict.samples_match(ours // step, theirs // step)


def test_where_a_leap_is_not_worth_it_steps_are_exact():  # THEORY A.1
    n0, k, g, t = 12, 6.0, 0.8, 2.0
    paths = run(BIRTH_DEATH.format(k=k, g=g, x=n0), t, n_paths=8000)
    q = math.exp(-g * t)
    law = np.convolve(stats.binom.pmf(np.arange(n0 + 1), n0, q), stats.poisson.pmf(np.arange(60), k / g * (1 - q)))
    verdict.samples_match_pmf(paths["X"][:, 0], law)
    assert paths.info["leaps"] == 0
    assert np.array_equal(paths.counts, paths.coarse.counts)  # from the same random streams


def test_a_gene_switches_exactly_while_its_product_is_leapt_over():  # THEORY A.3: mean, Fano factor of the telegraph
    on, off, make = 0.6, 0.9, 4000.0
    paths = run(f"G0 -> G1 @ {on}; G1 -> G0 @ {off}; G1 -> G1 + M @ {make}; M -> 0 @ 1; G0 = 1; G1 = 0; M = 0", 15.0, n_paths=6000)
    assert paths.info["leaps"] > 100 * 6000
    assert np.all(paths["G0"] + paths["G1"] == 1)
    mean = make * on / (on + off)
    fano = 1 + make * off / ((on + off) * (on + off + 1))
    verdict.probability_matches(paths["G1"][:, 0] == 1, on / (on + off))
    verdict.mean_matches(paths["M"][:, 0], mean, math.sqrt(fano * mean), bias=0.01 * mean)
    verdict.variance_matches(paths["M"][:, 0], fano * mean, bias=0.05 * fano * mean)


# --------------------------------------------------------------------------------------------------------------- stiff


def test_reactions_that_undo_each_other_are_leapt_over_implicitly():
    assert run("A <-> B @ 1e4, 1e4; B -> C @ 1; A = 1000; B = 1000; C = 0", [0.05], n_paths=2).info["implicit_leaps"] > 0
    pairs = cme.parse("A + B <-> C @ 1, 2; 2 A <-> D @ 1, 1; C -> 0 @ 1; 0 -> C @ 1; A -> B @ 1; B => A @ B*B")
    assert solver._partners(solver.Compiled(pairs)).tolist() == [1, 0, 3, 2, 5, 4, 8, 8]


def test_stiff_conversion_keeps_means_and_spreads():
    # A and B in balance 10 000 times faster than what drains B: binomial, the total decays at rate 1/2.
    paths = run("A <-> B @ 1e4, 1e4; B -> C @ 1; A = 1000; B = 1000; C = 0", [1.0, 2.0], n_paths=3000)
    assert paths.info["implicit_leaps"] > 0
    assert paths.info["leaps"] + paths.info["exact_steps"] < 3000 * 3000  # 4e7 events in each exact path
    for t, time in enumerate(paths.times):
        left = math.exp(-time / 2)
        verdict.mean_matches(paths["C"][:, t], 2000 * (1 - left), bias=0.02 * 2000 * left)
        verdict.variance_matches(paths["C"][:, t], 2000 * left * (1 - left), bias=0.06 * 2000 * left * (1 - left))
        for name in "AB":
            verdict.mean_matches(paths[name][:, t], 1000 * left, bias=0.02 * 1000 * left)
            verdict.variance_matches(paths[name][:, t], 1000 * left * (1 - left / 2), bias=0.08 * 1000 * left)


@pytest.mark.parametrize("method", ["auto", "implicit"])
def test_stiff_dimers_agree_with_the_master_equation(method):
    network = cme.parse("2 A <-> B @ 50, 1000; A -> C @ 1; A = 40; B = 30; C = 0")
    exact = cme.fsp(network, [0.3], tol=1e-6)
    paths = cme.tau_leap(network, [0.3], n_paths=3000, seed=2, method=method)
    assert paths.info["implicit_leaps"] > 0
    for s, name in enumerate("ABC"):
        mean, sd = exact.mean()[0, s], exact.sd()[0, s]
        verdict.mean_matches(paths[name][:, 0], mean, sd, bias=0.05 * sd)
        verdict.variance_matches(paths[name][:, 0], sd**2, bias=0.08 * sd**2)


def test_two_stable_states_are_never_leapt_over():
    # Every production and decay of the toggle is balanced where it rests, but they do not undo each other: no implicit leap may skip
    # the switching. Schloegl's pairs do, but are not balanced there.
    toggle = run("0 => U @ 3000/(1 + (V/100)^2); 0 => V @ 3000/(1 + (U/100)^2); U -> 0 @ 1; V -> 0 @ 1; U = 2900; V = 3", 1e3, n_paths=2)
    assert toggle.info["implicit_leaps"] == 0
    schlogl = cme.tau_leap(cme.load("schlogl"), [20.0], n_paths=100, seed=1)
    assert schlogl.info["implicit_leaps"] == 0


# ----------------------------------------------------------------------------------------------------------- promises


def test_same_numbers_on_any_number_of_threads_and_paths():
    network, times = cme.parse(DIMERS.format(n=2000)), [0.0, 0.5, 2.0]
    reference = cme.tau_leap(network, times, n_paths=300, seed=9, threads=1)
    for threads in (2, 8):
        again = cme.tau_leap(network, times, n_paths=300, seed=9, threads=threads)
        assert np.array_equal(again.counts, reference.counts)
        assert np.array_equal(again.coarse.counts, reference.coarse.counts)
        assert made(again) == made(reference)
    first = cme.tau_leap(network, times, n_paths=50, seed=9)
    assert np.array_equal(first.counts, reference.counts[:50])
    assert not np.array_equal(cme.tau_leap(network, times, n_paths=50, seed=10).counts, first.counts)


@settings(max_examples=40, deadline=None)
@given(networks(max_start=400))
def test_laws_of_random_networks(network):
    for method in ("auto", "implicit"):
        paths = cme.tau_leap(network, [0.0, 0.5, 4.0], n_paths=10, seed=1, epsilon=0.2, method=method)
        assert np.all(paths.counts >= 0)
        assert np.array_equal(paths.counts[:, 0], np.broadcast_to(np.array(network.initial.states), paths.counts[:, 0].shape))
        for law in cme.graphs.conservation_laws(network):
            assert np.all(paths.counts @ law == paths.counts[:, :1] @ law)


def test_extinction_leaves_no_negative_counts_and_rejects_leaps():
    # A and B annihilate from large numbers: which is left over is the difference, whatever the leaps.
    for epsilon in (0.03, 0.2):
        paths = run("A + B -> 0 @ 1; A + A -> 0 @ 0; A = 20000; B = 20150", [0.001, 10.0], n_paths=200, epsilon=epsilon)
        assert paths.counts.min() >= 0
        assert np.all(paths["A"][:, 1] == 0)
        assert np.all(paths["B"][:, 1] == 150)
    linear = run("X -> 0 @ 1; X = 30", 3.0, n_paths=4000, epsilon=0.2)
    verdict.samples_match_pmf(linear["X"][:, 0], stats.binom.pmf(np.arange(31), 30, math.exp(-3)), lost=0.02)
    many = run("X -> 0 @ 1; X -> Y @ 1; 3 X + Y -> 0 @ 1e-6; X = 100; Y = 20", [1.0, 9.0], n_paths=3000, epsilon=0.2)
    assert many.counts.min() >= 0


def test_start_may_be_a_distribution():
    network = cme.parse("X -> 0 @ 0; Y -> 0 @ 0").with_initial({(0, 5): 0.2, (3, 1): 0.5, (7, 0): 0.3})
    paths = cme.tau_leap(network, 0, n_paths=4000, seed=1)
    verdict.samples_match_pmf(paths["X"][:, 0], [0.2, 0, 0, 0.5, 0, 0, 0, 0.3])
    assert np.all(paths["Y"][paths["X"] == 3] == 1)
    assert cme.tau_leap(network, 0, n_paths=3, seed=1, initial=(9, 8)).counts.tolist() == [[[9, 8]]] * 3


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("X -> 0 @ 0; X = 4", [[4], [4]]),
        ("species X; X = 4", [[4], [4]]),
        ("0 -> 0 @ 5", [[], []]),
        ("X -> X @ 5000; X = 100", [[100], [100]]),
    ],
)
def test_networks_in_which_nothing_changes(text, counts):
    for method in ("auto", "explicit", "implicit"):
        assert run(text, [0, 1], n_paths=2, method=method).counts.tolist() == [counts, counts]


def test_a_law_without_a_value_beside_a_state_is_stepped_through_exactly():
    paths = run("up: 0 => X @ piecewise(1e5*sqrt(1/(50 - X)), X < 50, 1/0); X -> 0 @ 1; X = 49", 1e-12, n_paths=1)
    assert paths.counts.tolist() == [[[49]]]


def test_results_carry_what_was_done():
    paths = run(DIMERS.format(n=2000) + "; mass := S1 + 2*S2", [1.0], n_paths=20, epsilon=0.05)
    assert paths.info["solver"] == "tau_leap"
    assert paths.info["options"] == {"n_paths": 20, "epsilon": 0.05, "method": "auto", "initial": "the network's own", "threads": 2} | {
        "threads": paths.info["options"]["threads"]
    }
    assert paths.coarse.info["options"]["epsilon"] == 0.1
    assert paths.counts.dtype == np.int64
    assert np.array_equal(paths["mass"], paths["S1"] + 2 * paths["S2"])
    assert np.array_equal(paths.coarse["mass"], paths.coarse["S1"] + 2 * paths.coarse["S2"])


def test_compare_takes_the_error_of_leaping_from_the_coarse_twin():
    network = cme.parse("X -> 0 @ 1; X = 2000")
    exact = cme.fsp(network, [0.7], tol=1e-8)
    rough = cme.tau_leap(network, [0.7], n_paths=4000, seed=1, epsilon=0.1)
    table = cme.compare(exact, leap=rough).set_index(["method", "metric"])
    mean = table.loc[("leap", "mean")]
    assert mean.monte_carlo > 0
    assert mean.grid == pytest.approx(abs(rough["X"].mean() - rough.coarse["X"].mean()))
    assert abs(mean.value - exact.mean()[0, 0]) == pytest.approx(mean.grid, rel=0.2)
    assert mean.grid > 5 * mean.monte_carlo  # leaps that are too long are told from too few paths


# ----------------------------------------------------------------------------------------------------------- refusals


def refuse(text, error, match, times=(50.0,), **options):
    with pytest.raises(error, match=match):
        cme.tau_leap(cme.parse(text), times, **{"n_paths": 40, "seed": 1, **options})


def test_refusals_of_models():
    refuse("drain: X => 0 @ 1; X = 3", cme.ModelError, r"reaction 'drain' fires in state \{X: 0\} and would drive a count below zero")
    refuse(
        "0 -> X @ 1; odd: 0 => Y @ 5 - X", cme.ModelError, r"the propensity 5 - X of reaction 'odd' is negative in state \{X: 6, Y: \d+\}"
    )
    refuse("X -> 0 @ 1; bad: X => 0 @ 1/(X - 1); X = 4", cme.ModelError, r"the propensity 1/\(X - 1\) of reaction 'bad' is not a finite")
    refuse(
        "up: 0 => X @ 1e60", cme.ModelError, r"reaction 'up' drives a count past 2\^52 from state \{X: 0\}; stop earlier, or use rate_eq"
    )
    refuse("up: X -> 2 X @ 5; X = 100", cme.ModelError, r"reaction 'up' drives a count past 2\^52 from state \{X: 4.*\}")
    refuse("X -> 0 @ 1; X = 5e15", cme.ModelError, r"the start \{X: 5e\+15\} is past 2\^52; use rate_equations")
    refuse("X -> 0 @ 1; X = 2.5", cme.ModelError, "species 'X' starts at 2.5, not a whole number of molecules")
    refuse("r: X => 2 X @ X^4; X = 3", cme.ModelError, r"reaction 'r' .*(time stands still|past 2\^52)", (9.0,))
    refuse("X => 0 @ X*(2 + sin(time)); X = 3", cme.ModelError, r"tau_leap can't take .* depends on time; use ssa or fsp or rate_equations")
    refuse("X -> 0 @ 1; X = 9; on: at X < 5: X = 9", cme.ModelError, r"tau_leap can't take .*event .* use ssa")
    halves = cme.Distribution(np.zeros(1), ("X",), np.array([[0.5]]), np.ones((1, 1)), np.zeros(1), np.zeros(1), {})
    refuse(
        "X -> 0 @ 1", cme.ModelError, "the initial distribution holds fractions of a molecule; tau_leap counts molecules", initial=halves
    )
    with pytest.raises(TypeError, match="tau_leap takes a Network, and not a Generator"):
        cme.tau_leap(cme.Generator.from_rates(np.array([[0.0, 1.0], [1.0, 0.0]])), 1.0)


def test_refusals_of_arguments():
    text = "0 -> X @ 1"
    refuse(text, ValueError, "times must be >= 0 and strictly increasing", times=[1.0, 0.5])
    refuse(text, ValueError, "n_paths must be at least 1, not 0", n_paths=0)
    refuse(text, ValueError, "epsilon must be a finite number above 0, not 0", epsilon=0)
    refuse(text, ValueError, "epsilon must be at most 0.2, not 0.3; leaps at twice that, which measure the error, must be", epsilon=0.3)
    refuse(text, ValueError, "method must be one of 'auto', 'explicit', 'implicit', not 'midpoint'", method="midpoint")
    refuse(text, ValueError, "threads must be at least 1", threads=0)
    refuse(text, MemoryError, "1000000000 paths x 100 times x 1 species, twice, take", n_paths=10**9, times=range(100))


def test_the_complaint_is_the_same_on_any_number_of_threads():
    text, complaints = "0 -> X @ 1; X -> 0 @ 0.1; odd: 0 => Y @ 3 - X + 0*Y; Y -> 0 @ 1", set()
    for threads in (1, 2, 8):
        with pytest.raises(cme.ModelError) as caught:
            run(text, [30.0], n_paths=200, seed=4, threads=threads)
        complaints.add(str(caught.value))
    assert len(complaints) == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_ctrl_c_stops_the_threads():
    def interrupt(*_):
        raise KeyboardInterrupt

    network = cme.parse(DIMERS.format(n=1000) + "; 0 -> S1 @ 1000")
    cme.tau_leap(network, 1.0, n_paths=1, seed=1)
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            cme.tau_leap(network, 1e7, n_paths=10, seed=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
