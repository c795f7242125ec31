"""ssa: the kernel against its plain-Python form, an independent twin, closed forms, and its own promises."""

import inspect
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
from numba import njit
from scipy import stats
from scipy.linalg import expm
from strategies import networks

import cme
from cme import errors
from cme.arguments import check_seed
from cme.compiled import Compiled
from cme.kernels import direct
from cme.kernels.record import Sink
from cme.sampling.channels import prepare_dependents
from cme.sampling.methods import make_job

TIMES = [0.0, 0.3, 1.0, 2.5]

# Reaction text, and the same network as (propensity, change) pairs with the constants in the order in which they are multiplied.
TWINS = {
    "birth-death": ("0 -> X @ 10; X -> 0 @ 1; X = 3", [(lambda x: 10.0, (1,)), (lambda x: 1.0 * x, (-1,))], (3,)),
    "orders 1 to 3": (
        "A -> B @ 0.7; A + B -> C @ 0.05; 2 A -> B @ 0.03; 3 A -> 0 @ 0.01; 2 A + B -> 3 A @ 0.002; C -> 2 A @ 0.4; A = 20; B = 6",
        [
            (lambda a, b, c: 0.7 * a, (-1, 1, 0)),
            (lambda a, b, c: 0.05 * a * b, (-1, -1, 1)),
            (lambda a, b, c: 0.03 / 2 * a * (a - 1), (-2, 1, 0)),
            (lambda a, b, c: 0.01 / 6 * a * ((a - 1) * (a - 2)), (-3, 0, 0)),
            (lambda a, b, c: 0.002 / 2 * a * ((a - 1) * b), (1, -1, 0)),
            (lambda a, b, c: 0.4 * c, (2, 0, -1)),
        ],
        (20, 6, 0),
    ),
    "falling convention": ("2 P <-> D @ 0.01, 0.5; P = 30; convention falling", [
        (lambda p, d: 0.01 * p * (p - 1), (-2, 1)),
        (lambda p, d: 0.5 * d, (2, -1)),
    ], (30, 0)),
    "toggle, Hill laws": ("0 => U @ 50/(1 + V^2.5); 0 => V @ 16/(1 + U); U -> 0 @ 1; V -> 0 @ 1", [
        (lambda u, v: 50.0 / (float(v) ** 2.5 + 1.0), (1, 0)),
        (lambda u, v: 16.0 / (u + 1.0), (0, 1)),
        (lambda u, v: 1.0 * u, (-1, 0)),
        (lambda u, v: 1.0 * v, (0, -1)),
    ], (0, 0)),
    "boundary species, piecewise law": ("$S -> X @ 0.1; X => 0 @ piecewise(2*X, X > 5, X); S = 40", [
        (lambda s, x: 0.1 * s, (0, 1)),
        (lambda s, x: 2.0 * x if x > 5 else float(x), (0, -1)),
    ], (40, 0)),
    "comes to rest": ("X -> 0 @ 4; X = 3", [(lambda x: 4.0 * x, (-1,))], (3,)),
}  # fmt: skip


def ring(n):
    """A ring of n species with 2 n reactions, and its pairs. All propensities are whole, so that their sums are exact in any order."""
    start = tuple(8 * (i == 3) + 5 * (i == 9) for i in range(n))
    hops = [(i, (i + step) % n, rate) for i in range(n) for step, rate in ((1, 2.0), (-1, 1.0))]
    text = ["species " + ", ".join(f"X{i}" for i in range(n)), "X3 = 8", "X9 = 5"]
    text += [f"X{i} -> X{to} @ {rate}" for i, to, rate in hops]
    pairs = [(lambda *x, i=i, rate=rate: rate * x[i], tuple((s == to) - (s == i) for s in range(n))) for i, to, rate in hops]
    return "; ".join(text), pairs, start


MANY = {f"ring of {n}": ring(n) for n in (33, 260)}  # of more reactions than have running sums: summed by eights on 3 and 4 levels


def run(text, n_paths=8, **options):
    return cme.ssa(cme.parse(text), TIMES, n_paths=n_paths, seed=5, every_event=True, **options)


# -------------------------------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize("name", [*TWINS, *MANY])
def test_kernel_equals_the_independent_twin_bit_by_bit(name):
    text, reactions, start = (TWINS | MANY)[name]
    paths, (key, _) = run(text), check_seed(5)
    assert paths.info["method"] == "direct"
    for i in range(paths.n_paths):
        samples, events = twins.direct(reactions, start, TIMES, twins.Stream(key, i))
        assert paths.counts[i].tolist() == samples
        when, which = paths.events[i]
        assert list(zip(when.tolist(), which.tolist(), strict=True)) == events


def fingerprint():
    """Every bit of the runs of TWINS and MANY, as text."""
    lines = []
    for text, _, _ in (TWINS | MANY).values():
        paths = run(text, n_paths=3, threads=1)
        lines.append(paths.counts.tobytes().hex() + "".join(when.tobytes().hex() + which.tobytes().hex() for when, which in paths.events))
    return "\n".join(lines)


def test_kernel_equals_its_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_ssa; print(test_ssa.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


def test_kernel_constants_are_those_of_errors():
    for name in "OK NEGATIVE_COUNT NEGATIVE_PROPENSITY UNDEFINED_PROPENSITY FULL CANCELLED OVERFLOW STALLED".split():
        assert getattr(direct, name) == getattr(errors, name)


# ------------------------------------------------------------------------------------------------------------ mutants


def twin_with(old="", new=""):
    """The twin with one line of it changed."""
    source = inspect.getsource(twins.direct)
    assert not old or source.count(old) == 1
    namespace = dict(vars(twins))
    exec(source.replace(old, new) if old else source, namespace)
    return namespace["direct"]


def twin_counts(algorithm, reactions, start, time, n_paths=2000):
    key, _ = check_seed(3)
    return np.array([algorithm(reactions, start, [time], twins.Stream(key, i))[0][0] for i in range(n_paths)])


def test_verdict_catches_a_state_saved_one_event_late():
    poisson = stats.poisson.pmf(np.arange(30), 1.0)
    growth = [(lambda x: 1.0, (1,))]
    verdict.samples_match_pmf(twin_counts(twin_with(), growth, (0,), 1.0)[:, 0], poisson)
    late = twin_with("times[len(samples)] < following", "times[len(samples)] < t")
    with pytest.raises(verdict.Refused, match="chi-square"):
        verdict.samples_match_pmf(twin_counts(late, growth, (0,), 1.0)[:, 0], poisson)


def test_verdict_catches_a_wrong_choice_of_reaction():
    fork = [(lambda x, y, z: 1.0 * x, (-1, 1, 0)), (lambda x, y, z: 3.0 * x, (-1, 0, 1))]
    verdict.probability_matches(twin_counts(twin_with(), fork, (1, 0, 0), 50.0)[:, 2] == 1, 0.75)
    blind = twin_with("r = sum(share <= u for share in sums)", "r = int(stream.uniform() * len(sums))")
    with pytest.raises(verdict.Refused, match="frequency"):
        verdict.probability_matches(twin_counts(blind, fork, (1, 0, 0), 50.0)[:, 2] == 1, 0.75)


def kernel_counts(network, time, n_paths=2000, *, dependents=None, **changed):
    """Counts (M, S) from the kernel, with some of the network's arrays replaced."""
    job = make_job(Compiled(network), None, np.array([time]), check_seed(3)[0])
    channels, dependents = job.channels._replace(**changed), dependents or prepare_dependents(job.channels)
    counts = np.zeros((n_paths, 1, job.starts.shape[1]), dtype=np.int64)
    walker = direct.new_walker(counts.shape[2], len(job.kept), channels.stack_size)
    none, flags = (np.zeros(0), np.zeros(0, dtype=np.int64)), (np.zeros(1, np.uint8), np.zeros(2))
    start = job.key, 0, n_paths, job.starts, job.cumulative
    assert direct.run_paths(channels, dependents, job.times, *start, walker, *none, *flags, Sink(counts)) == direct.OK
    return counts[:, 0]


def test_verdict_catches_a_forgotten_half():
    pair = cme.parse("2 A -> 0 @ 1; A = 2")
    verdict.probability_matches(kernel_counts(pair, 1.0)[:, 0] == 2, math.exp(-1))
    with pytest.raises(verdict.Refused, match="frequency"):
        verdict.probability_matches(kernel_counts(pair, 1.0, constant=np.array([1.0]))[:, 0] == 2, math.exp(-1))


def test_verdict_catches_a_stale_propensity():
    chain = cme.parse("X -> Y @ 1; Y -> Z @ 1; X = 1")
    arrived = 1 - 2 * math.exp(-1)
    verdict.probability_matches(kernel_counts(chain, 1.0)[:, 2] == 1, arrived)
    forgetful = direct.Dependents(np.array([0, 1, 2], np.uint32), np.array([0, 1], np.uint32), np.array([0, 1]), everything=False)
    with pytest.raises(verdict.Refused, match="frequency"):
        verdict.probability_matches(kernel_counts(chain, 1.0, dependents=forgetful)[:, 2] == 1, arrived)


# ------------------------------------------------------------------------------------------------------- closed forms


def test_immigration_death_is_binomial_plus_poisson():  # THEORY A.1
    n0, k, g = 12, 6.0, 0.8
    paths = cme.ssa(cme.parse(f"0 -> X @ {k}; X -> 0 @ {g}; X = {n0}"), [0.5, 2.0], n_paths=8000, seed=1)
    for t, time in enumerate(paths.times):
        q = math.exp(-g * time)
        law = np.convolve(stats.binom.pmf(np.arange(n0 + 1), n0, q), stats.poisson.pmf(np.arange(60), k / g * (1 - q)))
        verdict.samples_match_pmf(paths["X"][:, t], law)


def test_monomolecular_network_has_the_moments_of_jahnke_and_huisinga():  # THEORY A.2
    network = cme.parse("0 -> A @ 4; A -> B @ 1; B -> A @ 0.3; B -> C @ 0.5; C -> 0 @ 0.7; A -> 0 @ 0.1; A = 10; B = 5")
    paths = cme.ssa(network, 1.3, n_paths=8000, seed=2)
    rates = np.array([[-1.1, 0.3, 0.0], [1.0, -0.8, 0.0], [0.0, 0.5, -0.7]])
    p = expm(1.3 * rates)  # column i: where a molecule of species i is
    lam = np.linalg.solve(rates, (p - np.eye(3)) @ [4.0, 0.0, 0.0])
    start = np.array([10.0, 5.0, 0.0])
    mean = lam + p @ start
    covariance = np.diag(mean) - (p * start) @ p.T
    for i in range(3):
        verdict.mean_matches(paths.counts[:, 0, i], mean[i], math.sqrt(covariance[i, i]))
        verdict.variance_matches(paths.counts[:, 0, i], covariance[i, i])
        for j in range(i):
            products = (paths.counts[:, 0, i] - mean[i]) * (paths.counts[:, 0, j] - mean[j])
            verdict.mean_matches(products, covariance[i, j])


def test_many_reactions_in_blocks_follow_the_same_law():  # THEORY A.2 on a ring of 40 species, with an idle reaction in between
    n = 40
    ring = [f"X{i} -> X{(i + 1) % n} @ 1; X{i} => 0 @ max(0, -X{i})" for i in range(n)]
    network = cme.parse("\n".join([*ring, "X0 = 60"]))
    assert len(network.reactions) > direct.LINEAR
    paths = cme.ssa(network, 6.0, n_paths=2000, seed=4)
    assert np.all(paths.counts.sum(axis=2) == 60)
    p = sum(stats.poisson.pmf(np.arange(n) + n * turn, 6.0) for turn in range(3))
    for i in range(0, 15, 2):
        verdict.samples_match_pmf(paths[f"X{i}"][:, 0], stats.binom.pmf(np.arange(61), 60, p[i]))


def test_linear_birth_death_follows_kendall():  # THEORY A.16
    birth, death, n0, t = 0.6, 0.4, 4, 1.5
    paths = cme.ssa(cme.parse(f"X -> 2 X @ {birth}; X -> 0 @ {death}; X = {n0}"), t, n_paths=8000, seed=3)
    e = math.exp((birth - death) * t)
    alpha, beta = death * (e - 1) / (birth * e - death), birth * (e - 1) / (birth * e - death)
    single = np.concatenate([[alpha], (1 - alpha) * (1 - beta) * beta ** np.arange(80)])
    law = np.array([1.0])
    for _ in range(n0):
        law = np.convolve(law, single)
    verdict.samples_match_pmf(paths["X"][:, 0], law)


# SBML stochastic suite, t = 50: THEORY A.9 (iv), A.16, A.1, A.7 and A.23
SUITE = {
    "00001": ("X -> 2 X @ 0.1; X -> 0 @ 0.11; X = 100", 60.65306597, 22.38677196),
    "00020": ("0 -> X @ 1; X -> 0 @ 0.1", 9.93262, 3.15160594),
    "00030": ("2 P -> P2 @ 0.001; P2 -> 2 P @ 0.01; P = 100", 28.54229779, 4.78933072),
    "00031": ("2 P -> P2 @ 0.0002; P2 -> 2 P @ 0.004; P = 1000", 144.99596468, 11.16571077),
    "00037": ("0 -> 5 X @ 1; X -> 0 @ 0.2", 24.998865, 8.660189),
    "00039": ("0 -> 100 X @ 1; X -> 0 @ 4", 25.0, 35.53168),
}


@pytest.mark.parametrize("name", SUITE)
def test_stochastic_suite(name):
    text, mean, sd = SUITE[name]
    paths = cme.ssa(cme.parse(text), 50.0, n_paths=2000, seed=7)
    verdict.mean_matches(paths.counts[:, 0, 0], mean, sd)
    verdict.variance_matches(paths.counts[:, 0, 0], sd**2)


# --------------------------------------------------------------------------------------------------------- promises


def test_same_numbers_on_any_number_of_threads_and_paths():
    network = cme.parse("0 -> M @ 5; M -> M + P @ 2; M -> 0 @ 1; P -> 0 @ 0.5; 2 P <-> D @ 0.01, 0.3")
    times = np.linspace(0, 6, 7)
    reference = cme.ssa(network, times, n_paths=1000, seed=9, threads=1)
    for threads in (2, 8):
        assert np.array_equal(cme.ssa(network, times, n_paths=1000, seed=9, threads=threads).counts, reference.counts)
    first = cme.ssa(network, times, n_paths=100, seed=9)
    assert np.array_equal(first.counts, reference.counts[:100])
    assert not np.array_equal(cme.ssa(network, times, n_paths=100, seed=10).counts, first.counts)
    assert reference.info["events"] == cme.ssa(network, times, n_paths=1000, seed=9, threads=3).info["events"]


def test_every_event_gives_the_same_samples_and_each_change():
    network = cme.parse("0 -> X @ 300; X -> 0 @ 1; X = 100; total := 2*X")
    times = np.linspace(0, 10, 5)
    plain = cme.ssa(network, times, n_paths=5, seed=2)
    full = cme.ssa(network, times, n_paths=5, seed=2, every_event=True)
    assert np.array_equal(plain.counts, full.counts)
    assert plain.events is None
    assert full.info["events"] == plain.info["events"] == sum(len(when) for when, _ in full.events)
    for (when, which), after, counts in zip(full.events, full.event_counts, full.counts, strict=True):
        assert len(when) > 2048  # the record grew several times
        assert np.all(np.diff(when) > 0)
        assert when[-1] <= 10
        assert np.array_equal(after, 100 + np.cumsum(network.stoichiometry[which], axis=0))
        held = np.vstack([[100], after])[np.searchsorted(when, times, side="right")]
        assert np.array_equal(held, counts)
    frame = full.events_frame()
    assert frame.index.names == ["path", "time"]
    assert len(frame) == full.info["events"]
    assert np.array_equal(full["total"], 2 * full["X"])
    with pytest.raises(ValueError, match="the events were not kept"):
        plain.events_frame()


def test_start_may_be_a_distribution():
    network = cme.parse("X -> 0 @ 0; Y -> 0 @ 0").with_initial({(0, 5): 0.2, (3, 1): 0.5, (7, 0): 0.3})
    paths = cme.ssa(network, 0, n_paths=4000, seed=1)
    verdict.samples_match_pmf(paths["X"][:, 0], [0.2, 0, 0, 0.5, 0, 0, 0, 0.3])
    assert np.all(paths["Y"][paths["X"] == 3] == 1)
    states, p = np.array([[2, 0], [4, 4]]), np.array([[0.0, 1.0], [0.225, 0.675]])
    start = cme.Distribution(np.array([0.0, 1.0]), ("X", "Y"), states, p, 1 - p.sum(axis=1), np.zeros(2), {})
    paths = cme.ssa(network, 0, n_paths=4000, seed=1, initial=start)
    verdict.probability_matches(paths["X"][:, 0] == 4, 0.75)
    assert paths.info["initial_lost"] == pytest.approx(0.1)
    halves = cme.Distribution(np.zeros(1), ("X", "Y"), np.array([[0.5, 1.0]]), np.ones((1, 1)), np.zeros(1), np.zeros(1), {})
    with pytest.raises(cme.ModelError, match="the initial distribution holds fractions of a molecule"):
        cme.ssa(network, 0, initial=halves)
    assert cme.ssa(network, 0, n_paths=3, seed=1, initial=(9, 8)).counts.tolist() == [[[9, 8]]] * 3


def test_information_says_how_to_repeat_the_run():
    network = cme.parse("0 -> X @ 10; X -> 0 @ 1")
    fresh = cme.ssa(network, [1.0], n_paths=3)
    again = cme.ssa(network, [1.0], n_paths=3, seed=fresh.info["seed"])
    assert np.array_equal(fresh.counts, again.counts)
    assert fresh.info["solver"] == "ssa"
    assert fresh.info["method"] == "direct"
    assert fresh.info["options"]["n_paths"] == 3
    assert again.counts.dtype == np.int64


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("X -> 0 @ 0; X = 4", [[4], [4]]),  # nothing ever happens
        ("species X; X = 4", [[4], [4]]),  # no reactions
        ("0 -> 0 @ 5", [[], []]),  # no species
        ("X -> X @ 5; X = 1", [[1], [1]]),  # a reaction that changes nothing
    ],
)
def test_networks_in_which_nothing_changes(text, counts):
    paths = cme.ssa(cme.parse(text), [0, 1], n_paths=2, seed=1)
    assert paths.counts.tolist() == [counts, counts]
    events = cme.ssa(cme.parse(text), [0, 1], n_paths=2, seed=1, every_event=True)
    assert np.array_equal(events.counts, paths.counts)


def test_time_zero_is_the_start():
    assert cme.ssa(cme.parse("X -> 0 @ 1e9; X = 50"), [0], n_paths=1, seed=1).counts.tolist() == [[[50]]]


@settings(max_examples=25, deadline=None)
@given(networks())
def test_laws_of_random_networks(network):
    times = [0.0, 0.5, 2.0]
    paths = cme.ssa(network, times, n_paths=20, seed=1, every_event=True)
    assert np.all(paths.counts >= 0)
    assert np.array_equal(paths.counts[:, 0], np.broadcast_to(np.array(network.initial.states), paths.counts[:, 0].shape))
    for law in cme.graphs.conservation_laws(network):
        assert np.all(paths.counts @ law == paths.counts[:, :1] @ law)
    for (_, which), after in zip(paths.events, paths.event_counts, strict=True):
        assert np.all(after >= 0)
        if len(which):
            before = after - network.stoichiometry[which]
            a = Compiled(network).propensities(before)
            assert np.all(a[np.arange(len(which)), which] > 0)


# ---------------------------------------------------------------------------------------------------------- refusals


def refuse(text, error, match, times=(50.0,), **options):
    with pytest.raises(error, match=match):
        cme.ssa(cme.parse(text), times, **{"n_paths": 40, "seed": 1, **options})


def test_refusals_of_models():
    refuse("drain: X => 0 @ 1; X = 3", cme.ModelError, r"reaction 'drain' fires in state \{X: 0\} and would drive a count below zero")
    refuse(
        "0 -> X @ 1; odd: 0 => Y @ 5 - X",
        cme.ModelError,
        r"the propensity 5 - X of reaction 'odd' is negative in state \{X: 6, Y: \d+\}; a propensity must be >= 0",
    )
    refuse("X -> 0 @ 1; bad: X => 0 @ 1/(X - 1); X = 4", cme.ModelError, r"the propensity 1/\(X - 1\) of reaction 'bad' is not a finite")
    refuse("r: X => 0 @ ln(X - 9); X = 1", cme.ModelError, r"ln\(X - 9\) of reaction 'r' is not a finite number in state \{X: 1\}")
    refuse("up: X => 2 X @ 1; X = 4611686018427387904", cme.ModelError, "does not fit 64-bit counts")
    refuse("up: 0 => 4000000000 X @ 1e9; X = 4611686014427387904", cme.ModelError, r"reaction 'up' drives a count past 2\^62 in state")
    refuse(
        "r: X => 2 X @ X^4; X = 3", cme.ModelError, r"reaction 'r' .* fires so often in state \{X: \d.*\} that time stands still", (9.0,)
    )
    refuse("X -> 0 @ 1; X = 2.5", cme.ModelError, "species 'X' starts at 2.5, not a whole number of molecules")


def test_the_complaint_is_the_same_on_any_number_of_threads():
    text = "0 -> X @ 1; X -> 0 @ 0.1; odd: 0 => Y @ 3 - X + 0*Y; Y -> 0 @ 1"
    complaints = set()
    for threads in (1, 2, 8):
        with pytest.raises(cme.ModelError) as caught:
            cme.ssa(cme.parse(text), [30.0], n_paths=200, seed=4, threads=threads)
        complaints.add(str(caught.value))
    with pytest.raises(cme.ModelError) as caught:
        cme.ssa(cme.parse(text), [30.0], n_paths=200, seed=4, every_event=True)
    assert complaints == {str(caught.value)}


def test_refusals_of_arguments():
    text = "0 -> X @ 1"
    refuse(text, ValueError, "times must be >= 0 and strictly increasing", times=[1.0, 0.5])
    refuse(text, ValueError, "n_paths must be at least 1, not 0", n_paths=0)
    refuse(text, TypeError, "n_paths must be a whole number", n_paths=2.5)
    refuse(text, ValueError, "threads must be at least 1", threads=0)
    refuse(text, TypeError, "seed must be an integer", seed="one")
    refuse(text, cme.ModelError, "no species 'Z'", initial={"Z": 1})
    refuse(text, MemoryError, r"1000000000 paths x 100 times x 1 species take 745 GiB, this machine has", n_paths=10**9, times=range(100))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
@pytest.mark.parametrize("every_event", [False, True])
def test_ctrl_c_stops_the_threads(every_event):
    def interrupt(*_):
        raise KeyboardInterrupt

    network = cme.parse("0 -> X @ 1000; X -> 0 @ 1")
    cme.ssa(network, 1.0, n_paths=1, seed=1, every_event=every_event)
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            cme.ssa(network, 1e4 if every_event else 1e6, n_paths=10, seed=1, every_event=every_event)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_pick_never_takes_what_cannot_happen():
    pick = njit(lambda *args: direct.pick(*args))
    weights = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    assert [pick(weights, 0, 5, u)[0] for u in (1e-300, 0.999, 1.0, 2.999)] == [1, 1, 3, 3]
    assert pick(weights, 0, 5, 3.0)[0] == 3  # round-off took u to the very end
