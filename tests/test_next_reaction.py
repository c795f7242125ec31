"""ssa(method="next_reaction"): the kernel against its independent twin, its plain-Python form, fsp, the direct method, and its own heap."""

import inspect
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
from test_ssa import TIMES, TWINS

import cme
from cme.arguments import check_seed
from cme.compiled import Compiled
from cme.kernels import next_reaction
from cme.kernels.record import Sink
from cme.sampling.channels import prepare_dependents
from cme.sampling.methods import make_job


def run(text, **options):
    return cme.ssa(cme.parse(text), TIMES, n_paths=8, seed=5, method="next_reaction", every_event=True, **options)


# -------------------------------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize("name", TWINS)
def test_kernel_equals_the_independent_twin_bit_by_bit(name):
    text, reactions, start = TWINS[name]
    paths, (key, _) = run(text), check_seed(5)
    assert paths.info["method"] == "next_reaction"
    for i in range(paths.n_paths):
        samples, events = twins.next_reaction(reactions, start, TIMES, twins.Stream(key, i))
        assert paths.counts[i].tolist() == samples
        when, which = paths.events[i]
        assert list(zip(when.tolist(), which.tolist(), strict=True)) == events


def fingerprint():
    """Every bit of the runs of TWINS, as text."""
    lines = []
    for text, _, _ in TWINS.values():
        paths = run(text, threads=1)
        lines.append(paths.counts.tobytes().hex() + "".join(when.tobytes().hex() + which.tobytes().hex() for when, which in paths.events))
    return "\n".join(lines)


def test_kernel_equals_its_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_next_reaction; print(test_next_reaction.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


# ------------------------------------------------------------------------------------------------------------ mutants

MUTANTS = {
    "a reaction that fired waits for its mean": ("left[r], since[r] = stream.exponential(), t", "left[r], since[r] = 1.0, t"),
    "what a changed reaction has used up is forgotten": ("max(left[j] - a[j] * (t - since[j]), 0.0)", "left[j]"),
    "what is used up is measured with the new propensity": ("left[j] - a[j] * (t", "left[j] - value * (t"),
}
GENE = "Off <-> On @ 2, 2; On -> On + P @ 10; P -> 0 @ 1; Off = 1"
REACTIONS = [
    (lambda off, on, p: 2.0 * off, (-1, 1, 0)),
    (lambda off, on, p: 2.0 * on, (1, -1, 0)),
    (lambda off, on, p: 10.0 * on, (0, 0, 1)),
    (lambda off, on, p: 1.0 * p, (0, 0, -1)),
]


def twin_counts(old="", new="", n_paths=1000):
    """Counts of P from the twin, with one line of it changed."""
    source = inspect.getsource(twins.next_reaction)
    assert not old or source.count(old) == 1
    namespace = dict(vars(twins))
    exec(source.replace(old, new) if old else source, namespace)
    key, _ = check_seed(3)
    return np.array([namespace["next_reaction"](REACTIONS, (1, 0, 0), [2.5], twins.Stream(key, i))[0][0][2] for i in range(n_paths)])


@pytest.fixture(scope="module")
def law():
    return cme.fsp(cme.parse(GENE), 2.5, tol=1e-9).marginal("P", 0).p


def test_verdict_accepts_the_twin(law):
    verdict.samples_match_pmf(twin_counts(), law)


@pytest.mark.parametrize("name", MUTANTS)
def test_verdict_catches_a_mutant(name, law):
    with pytest.raises(verdict.Refused):
        verdict.samples_match_pmf(twin_counts(*MUTANTS[name]), law)


# --------------------------------------------------------------------------------------------------------------- heap


def test_the_heap_is_one_after_many_events():
    rng = np.random.default_rng(0)
    lines = [f"X{i} = {rng.integers(0, 200)}" for i in range(60)]
    for _ in range(200):
        a, b, c = rng.choice(60, 3)
        lines.append(f"X{a} + X{b} <-> X{c} @ {10 ** rng.uniform(-6, -1):.3g}, {10 ** rng.uniform(-3, 1):.3g}")
    job = make_job(Compiled(cme.parse("\n".join(lines))), None, np.array([3.0]), check_seed(3)[0])
    walker = next_reaction.new_walker(60, len(job.kept), 1)
    none, flags = (np.zeros(0), np.zeros(0, dtype=np.int64)), (np.zeros(1, np.uint8), np.zeros(2))
    start, sink = (job.key, 0, 1, job.starts, job.cumulative), Sink(np.zeros((1, 1, 60), dtype=np.int64))
    dependents = prepare_dependents(job.channels)
    assert next_reaction.run_paths(job.channels, dependents, job.times, *start, walker, *none, *flags, sink) == next_reaction.OK
    assert walker.cursor[next_reaction.EVENTS] > 5000
    n = len(walker.heap)
    assert sorted(walker.heap) == list(range(n))
    assert np.array_equal(walker.heap[walker.place], np.arange(n))
    due = walker.due[walker.heap]
    assert all(due[(i - 1) // 2] <= due[i] for i in range(1, n))
    assert due[0] > 3.0
    assert np.array_equal(np.isinf(walker.due), walker.a == 0)
    assert np.any(walker.a == 0)


# --------------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize(("model", "time"), [("toggle_switch", 5.0), ("dimerisation", 1.0), ("two_stage", 3.0), ("michaelis_menten", 5.0)])
def test_shelf_models_have_the_law_of_fsp(model, time):
    network = cme.load(model)
    exact = cme.fsp(network, [time], tol=1e-9)
    paths = cme.ssa(network, [time], n_paths=3000, seed=11, method="next_reaction")
    for name in network.species_names:
        verdict.samples_match_pmf(paths[name][:, 0], exact.marginal(name, 0).p, lost=exact.error_bound[0])


@settings(max_examples=10, deadline=None)
@given(networks())
def test_random_networks_have_the_law_of_the_direct_method(network):
    paths = cme.ssa(network, 1.5, n_paths=500, seed=31, method="next_reaction")
    others = cme.ssa(network, 1.5, n_paths=500, seed=32, method="direct")
    for s in range(len(network.species)):
        verdict.samples_match(paths.counts[:, 0, s], others.counts[:, 0, s])


def test_a_reaction_that_comes_and_goes_keeps_what_is_left():  # THEORY A.1 for the time that a gene is on
    # The gene is on at random times; given its time on, s, the number of P is Poisson(20 s), whatever the intervals are.
    network = cme.parse("Off <-> On @ 40, 40; On -> On + P @ 20; On -> On + Q @ 20; Off = 1")
    paths = cme.ssa(network, 5.0, n_paths=3000, seed=6, method="next_reaction")
    exact = cme.fsp(cme.parse("Off <-> On @ 40, 40; On -> On + P @ 20; Off = 1"), 5.0, tol=1e-9)
    for name in "PQ":
        verdict.samples_match_pmf(paths[name][:, 0], exact.marginal("P", 0).p, lost=exact.error_bound[0])


def test_propensities_that_collapse_by_many_orders_of_magnitude():
    network = cme.parse("A -> 0 @ 1e10; B -> 0 @ 1e-5; A = 20; B = 30")
    paths = cme.ssa(network, [1e-8, 7e4], n_paths=3000, seed=2, method="next_reaction")
    assert np.all(paths["A"] == 0)
    verdict.samples_match_pmf(paths["B"][:, 1], stats.binom.pmf(np.arange(31), 30, math.exp(-0.7)))


@pytest.mark.parametrize(
    "text", ["T -> A @ 1e-3; A -> B @ 1e13; A -> C @ 1e13; T = 1", "T -> A @ 1e-3; A -> A + B @ 1e9; A -> C @ 1e9; T = 1"]
)
def test_due_times_that_tie_are_refused(text):  # the heap would decide which reaction fires
    with pytest.raises(
        cme.ModelError, match=r"reaction 'r\d' with propensity .* due times can't be told apart by then; use method='direct' or"
    ):
        cme.ssa(cme.parse(text), [1e5], n_paths=2000, seed=1, method="next_reaction")


def test_due_times_past_the_largest_number_are_infinity():
    paths = cme.ssa(cme.parse("X + Y -> 0 @ 4e-320; X = 3; Y = 2"), [1e300], n_paths=2, seed=1, method="next_reaction")
    assert paths.counts[:, 0].tolist() == [[3, 2]] * 2


def test_counts_to_a_thousand_million():
    network = cme.parse(f"A -> B @ 1e-6; A = {10**9}")
    paths = cme.ssa(network, [1.0], n_paths=400, seed=4, method="next_reaction")
    verdict.mean_matches(paths["B"][:, 0], 1e9 * -math.expm1(-1e-6), math.sqrt(1000))


# ----------------------------------------------------------------------------------------------------------- promises


def test_same_numbers_on_any_number_of_threads_and_paths():
    network = cme.parse("0 -> M @ 5; M -> M + P @ 20; M -> 0 @ 1; P -> 0 @ 0.5; 2 P <-> D @ 0.01, 0.3; 0 => M @ 1/(1 + D)")
    times, options = np.linspace(0, 6, 7), {"seed": 9, "method": "next_reaction"}
    reference = cme.ssa(network, times, n_paths=600, threads=1, **options)
    for threads in (2, 8):
        assert np.array_equal(cme.ssa(network, times, n_paths=600, threads=threads, **options).counts, reference.counts)
    assert np.array_equal(cme.ssa(network, times, n_paths=100, **options).counts, reference.counts[:100])


def test_every_event_gives_the_same_samples():
    network = cme.parse("0 -> X @ 300; X -> 0 @ 1; X = 100")
    times, options = np.linspace(0, 10, 5), {"seed": 2, "n_paths": 5, "method": "next_reaction"}
    plain, full = (cme.ssa(network, times, every_event=every_event, **options) for every_event in (False, True))
    assert np.array_equal(plain.counts, full.counts)
    assert full.info["events"] == plain.info["events"] == sum(len(when) for when, _ in full.events)


@pytest.mark.parametrize("text", ["X -> 0 @ 0; X = 4", "species X; X = 4", "0 -> 0 @ 5", "X -> X @ 5; X = 4"])
def test_networks_in_which_nothing_changes(text):
    network = cme.parse(text)
    paths = cme.ssa(network, [0, 1], n_paths=2, seed=1, method="next_reaction")
    assert paths.counts.tolist() == [[[4] * len(network.species)] * 2] * 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("drain: X => 0 @ 1; X = 3", r"reaction 'drain' fires in state \{X: 0\} and would drive a count below zero"),
        ("0 -> X @ 1; odd: 0 => Y @ 5 - X", r"propensity 5 - X of reaction 'odd' is negative in state \{X: 6, Y: \d+\}"),
        ("X -> 0 @ 1; bad: X => 0 @ 1/(X - 1); X = 4", r"the propensity 1/\(X - 1\) of reaction 'bad' is not a finite"),
        ("r: X => 0 @ ln(X - 9); X = 1", r"ln\(X - 9\) of reaction 'r' is not a finite number in state \{X: 1\}"),
        ("up: 0 => 4000000000 X @ 1e9; X = 4611686014427387904", r"reaction 'up' drives a count past 2\^62 in state"),
        ("r: X => 2 X @ X^4; X = 3", r"reaction 'r' .* is so fast in state \{X: \d.*\} that its due times"),
    ],
)
def test_refusals_of_models(text, match):
    with pytest.raises(cme.ModelError, match=match):
        cme.ssa(cme.parse(text), 50.0, n_paths=40, seed=1, method="next_reaction")
