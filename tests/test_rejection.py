"""ssa(method="rejection"): the kernel against its independent twin, its plain-Python form, fsp, the direct method, and its own groups."""

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import twins
import verdict
from hypothesis import given, settings
from scipy import stats
from strategies import networks

import cme
from cme.arguments import check_seed
from cme.compiled import Compiled
from cme.kernels import rejection
from cme.kernels.record import Sink
from cme.sampling.channels import prepare_readers
from cme.sampling.methods import make_job

TIMES = [0.0, 0.3, 1.0, 2.5]

# Reaction text, and the same network for the twin: constant and reactants by place, or a function and what it reads; changes; the start.
TWINS = {
    "birth-death": ("0 -> X @ 10; X -> 0 @ 1; X = 3", [(10.0, (), (1,)), (1.0, (0,), (-1,))], (3,)),
    "orders 1 to 3": (
        "A -> B @ 0.7; A + B -> C @ 0.05; 2 A -> B @ 0.03; 3 A -> 0 @ 0.01; 2 A + B -> 3 A @ 0.002; C -> 2 A @ 0.4; A = 20; B = 6",
        [
            (0.7, (0,), (-1, 1, 0)),
            (0.05, (0, 1), (-1, -1, 1)),
            (0.03 / 2, (0, 0), (-2, 1, 0)),
            (lambda a, b, c: 0.01 / 6 * a * (a - 1) * (a - 2), (0,), (-3, 0, 0)),
            (lambda a, b, c: 0.002 / 2 * a * (a - 1) * b, (0, 1), (1, -1, 0)),
            (0.4, (2,), (2, 0, -1)),
        ],
        (20, 6, 0),
    ),
    "large counts": ("A + B <-> C @ 0.0005, 0.3; 2 A <-> D @ 1e-4, 2; A = 2000; B = 300", [
        (5e-4, (0, 1), (-1, -1, 1, 0)),
        (0.3, (2,), (1, 1, -1, 0)),
        (0.5e-4, (0, 0), (-2, 0, 0, 1)),
        (2.0, (3,), (2, 0, 0, -1)),
    ], (2000, 300, 0, 0)),
    "toggle, Hill laws": ("0 => U @ 50/(1 + V^2.5); 0 => V @ 16/(1 + U); U -> 0 @ 1; V -> 0 @ 1", [
        (lambda u, v: 50.0 / (float(v) ** 2.5 + 1.0), (1,), (1, 0)),
        (lambda u, v: 16.0 / (u + 1.0), (0,), (0, 1)),
        (1.0, (0,), (-1, 0)),
        (1.0, (1,), (0, -1)),
    ], (0, 0)),
    "propensities of very different size": ("A -> B @ 1e-7; B -> A @ 3; C -> 0 @ 1; A = 5000000; B = 2; C = 3", [
        (1e-7, (0,), (-1, 1, 0)),
        (3.0, (1,), (1, -1, 0)),
        (1.0, (2,), (0, 0, -1)),
    ], (5000000, 2, 3)),
    "a rare one among fast ones": ("A <-> B @ 30, 30; C -> 0 @ 1e-5; A = 40; C = 2000", [
        (30.0, (0,), (-1, 1, 0)),
        (30.0, (1,), (1, -1, 0)),
        (1e-5, (2,), (0, 0, -1)),
    ], (40, 0, 2000)),
    "groups of several chunks": (
        "\n".join(["species " + ", ".join(f"X{i}" for i in range(60)), *(f"X{i} -> X{(7 * i + 1) % 60} @ 1" for i in range(60)), "X0=90"]),
        [(1.0, (i,), tuple((s == (7 * i + 1) % 60) - (s == i) for s in range(60))) for i in range(60)],
        (90, *[0] * 59),
    ),
    "comes to rest": ("X -> 0 @ 4; X = 3", [(4.0, (0,), (-1,))], (3,)),
}  # fmt: skip


def run(text, n_paths=8, **options):
    return cme.ssa(cme.parse(text), TIMES, n_paths=n_paths, seed=5, method="rejection", every_event=True, **options)


# -------------------------------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize("name", TWINS)
def test_kernel_equals_the_independent_twin_bit_by_bit(name):
    text, reactions, start = TWINS[name]
    paths, (key, _) = run(text), check_seed(5)
    assert paths.info["method"] == "rejection"
    for i in range(paths.n_paths):
        samples, events = twins.rejection(reactions, start, TIMES, twins.Stream(key, i))
        assert paths.counts[i].tolist() == samples
        when, which = paths.events[i]
        assert list(zip(when.tolist(), which.tolist(), strict=True)) == events


def fingerprint():
    """Every bit of the runs of TWINS, as text."""
    lines = []
    for text, _, _ in TWINS.values():
        paths = run(text, n_paths=3, threads=1)
        lines.append(paths.counts.tobytes().hex() + "".join(when.tobytes().hex() + which.tobytes().hex() for when, which in paths.events))
    return "\n".join(lines)


def test_kernel_equals_its_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_rejection; print(test_rejection.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


# ------------------------------------------------------------------------------------------------------------ mutants


def twin_counts(reactions, start, time, old="", new="", n_paths=600):
    """Counts (M, S) from the twin, with one line of it changed."""
    source = inspect.getsource(twins.rejection)
    assert not old or source.count(old) == 1
    namespace = dict(vars(twins))
    exec(source.replace(old, new) if old else source, namespace)
    key, _ = check_seed(3)
    return np.array([namespace["rejection"](reactions, start, [time], twins.Stream(key, i))[0][0] for i in range(n_paths)])


MUTANTS = {
    "every trial fires": ("return r if (u - i) * 2.0**g < propensity(r, x) else None", "return r"),
    "one group too high in acceptance": ("(u - i) * 2.0**g <", "(u - i) * 2.0 ** (g + 1) <"),
    "the next reaction is asked": ("< propensity(r, x) else", "< propensity((r + 1) % len(reactions), x) else"),
    "trials that do not fire take no time": ("chance *= stream.uniform()", "chance = stream.uniform()"),
    "a bracket is forgotten": ("for s in left:\n            low", "for s in left[:0]:\n            low"),
}
# From 2 molecules, at time 1.5: THEORY A.1
GROWTH = [(12.0, (), (1,)), (lambda x: 12.0, (), (1,)), (0.5, (0,), (-1,)), (lambda x: 0.5 * x, (0,), (-1,))]
LAW = np.convolve(stats.binom.pmf(np.arange(3), 2, math.exp(-1.5)), stats.poisson.pmf(np.arange(70), -24 * math.expm1(-1.5)))


def test_verdict_accepts_the_twin():
    verdict.samples_match_pmf(twin_counts(GROWTH, (2,), 1.5)[:, 0], LAW)


@pytest.mark.parametrize("name", MUTANTS)
def test_verdict_catches_a_mutant(name):
    with pytest.raises(verdict.Refused):
        verdict.samples_match_pmf(twin_counts(GROWTH, (2,), 1.5, *MUTANTS[name])[:, 0], LAW)


def kernel_run(network, time, n_paths=1, **changed):
    """Counts (M, S) from the kernel with some lists replaced, the channels, the readers, and the walker as the last path left it."""
    job = make_job(Compiled(network), None, np.array([time]), check_seed(3)[0])
    n_species = len(network.species)
    readers = prepare_readers(job.channels, n_species)._replace(**changed)
    counts = np.zeros((n_paths, 1, n_species), dtype=np.int64)
    walker = rejection.new_walker(n_species, len(job.kept), job.channels.stack_size)
    none, flags = (np.zeros(0), np.zeros(0, dtype=np.int64)), (np.zeros(1, np.uint8), np.zeros(2))
    start = job.key, 0, n_paths, job.starts, job.cumulative
    assert rejection.run_paths(job.channels, readers, job.times, *start, walker, *none, *flags, Sink(counts)) == rejection.OK
    return counts[:, 0], job.channels, readers, walker


@pytest.mark.parametrize(("law", "lists"), [("X -> 0 @ 1", "wide_pointer"), ("X => 0 @ max(X, 0)", "other_pointer")])
def test_verdict_catches_lists_that_lack_a_reader(law, lists):
    network = cme.parse(f"0 -> X @ 24; {law}; X = 2")
    verdict.samples_match_pmf(kernel_run(network, 1.5, 2000)[0][:, 0], LAW)
    with pytest.raises(verdict.Refused):
        verdict.samples_match_pmf(kernel_run(network, 1.5, 2000, **{lists: np.zeros(3, np.uint32)})[0][:, 0], LAW)


# ------------------------------------------------------------------------------------------------------------- groups


def test_groups_hold_what_they_should_after_many_events():
    rng = np.random.default_rng(0)
    lines = [f"X{i} = {rng.integers(0, 200)}" for i in range(60)]
    for _ in range(400):
        a, b, c = rng.choice(60, 3)
        lines.append(f"X{a} + X{b} <-> X{c} @ {10 ** rng.uniform(-6, -1):.3g}, {10 ** rng.uniform(-3, 1):.3g}")
    lines += [f"X{i} => X{i + 1} @ X{i}/(1 + X{i + 2})" for i in range(50)]
    network = cme.parse("\n".join(lines))
    _, channels, readers, walker = kernel_run(network, 3.0)
    assert walker.cursor[rejection.EVENTS] > 5000
    n = len(channels.constant)
    assert set(readers.kind) == {rejection.OTHER, rejection.WIDE, rejection.WIDE_PAIR}
    a = Compiled(network).propensities(walker.x[:-1].astype(float))
    members = {g: [] for g in range(rejection.N_GROUPS)}
    for r in range(n):
        members[walker.group[r]].append(r)
        assert a[r] <= walker.scale[walker.group[r]] or walker.group[r] == a[r] == 0
        assert walker.group[r] == 0 or walker.pool[walker.place[r]] == r
    used = 0
    for g, found in members.items():
        if g:
            assert walker.size[g] == len(found)
            used += sum(1 for level in range(rejection.LEVELS) if walker.size[g] > 16 * (2**level - 1))
    assert used + np.sum(walker.free_stop - walker.free_start[:-1]) == len(walker.free)
    assert max(walker.size[1:]) > 16  # a group of more than one chunk
    weights = np.array(walker.size) * walker.scale
    top = walker.span[rejection.TOP]
    assert walker.below[1 : top + 1] == pytest.approx(np.cumsum(weights[1:])[:top], rel=1e-14)
    x, low, high = walker.x[:-1], walker.low[:-1], walker.high[:-1]
    assert np.all((low <= x) & (x <= high))


# --------------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize(
    ("model", "species", "time"),
    [
        ("schlogl", "X", 2.0),
        ("toggle_switch", "U", 5.0),
        ("dimerisation", None, 1.0),
        ("two_stage", None, 3.0),
        ("michaelis_menten", None, 5.0),
    ],
)
def test_shelf_models_have_the_law_of_fsp(model, species, time):
    network = cme.load(model)
    exact = cme.fsp(network, [time], tol=1e-9)
    paths = cme.ssa(network, [time], n_paths=3000, seed=11, method="rejection")
    for name in network.species_names if species is None else [species]:
        verdict.samples_match_pmf(paths[name][:, 0], exact.marginal(name, 0).p, lost=exact.error_bound[0])


@settings(max_examples=10, deadline=None)
@given(networks())
def test_random_networks_have_the_law_of_the_direct_method(network):
    paths = cme.ssa(network, 1.5, n_paths=500, seed=31, method="rejection")
    others = cme.ssa(network, 1.5, n_paths=500, seed=32, method="direct")
    for s in range(len(network.species)):
        verdict.samples_match(paths.counts[:, 0, s], others.counts[:, 0, s])


def test_propensities_that_collapse_by_many_orders_of_magnitude():
    # 20 A are gone in a nanosecond, and B decays 15 orders of magnitude slower; then C makes them come back
    network = cme.parse("A -> 0 @ 1e10; B -> 0 @ 1e-5; A = 20; B = 30")
    paths = cme.ssa(network, [1e-8, 7e4], n_paths=3000, seed=2, method="rejection")
    assert np.all(paths["A"] == 0)
    assert np.all(paths["B"][:, 0] == 30)
    verdict.samples_match_pmf(paths["B"][:, 1], stats.binom.pmf(np.arange(31), 30, math.exp(-0.7)))
    again = cme.parse("A -> 0 @ 1e12; 0 -> A @ 0.5; A -> A + P @ 1e12; A = 1")  # each A makes a geometric number of P
    paths = cme.ssa(again, [6.0], n_paths=2000, seed=3, method="rejection")
    made = 1 + 0.5 * 6.0
    verdict.mean_matches(paths["P"][:, 0], made)
    verdict.variance_matches(paths["P"][:, 0], 2.0 + 3.0 * 2.0 + 3.0)


def test_bounds_that_underflow_do_not_hang():
    paths = cme.ssa(cme.parse("X + Y -> 0 @ 4e-320; X = 3; Y = 2"), [1e300], n_paths=2, seed=1, method="rejection")
    assert paths.counts[:, 0].tolist() == [[3, 2]] * 2


def test_counts_to_a_thousand_million():
    n = 10**9
    network = cme.parse(f"A -> B @ 1e-6; 2 C -> D @ 4e-15; A = {n}; C = {n}")
    paths = cme.ssa(network, [1.0], n_paths=400, seed=4, method="rejection")
    verdict.mean_matches(paths["B"][:, 0], n * -math.expm1(-1e-6), math.sqrt(1000))
    verdict.mean_matches(paths["D"][:, 0], 2000, math.sqrt(2000), bias=0.01)  # a few in 10^6 of C are used up
    assert np.all(paths["A"] + paths["B"] == n)
    assert np.all(paths["C"] + 2 * paths["D"] == n)


# ----------------------------------------------------------------------------------------------------------- promises


def test_same_numbers_on_any_number_of_threads_and_paths():
    network = cme.parse("0 -> M @ 5; M -> M + P @ 20; M -> 0 @ 1; P -> 0 @ 0.5; 2 P <-> D @ 0.01, 0.3; 0 => M @ 1/(1 + D)")
    times, options = np.linspace(0, 6, 7), {"seed": 9, "method": "rejection"}
    reference = cme.ssa(network, times, n_paths=600, threads=1, **options)
    for threads in (2, 8):
        assert np.array_equal(cme.ssa(network, times, n_paths=600, threads=threads, **options).counts, reference.counts)
    assert np.array_equal(cme.ssa(network, times, n_paths=100, **options).counts, reference.counts[:100])


def test_every_event_gives_the_same_samples():
    network = cme.parse("0 -> X @ 300; X -> 0 @ 1; X = 100")
    times, options = np.linspace(0, 10, 5), {"seed": 2, "n_paths": 5, "method": "rejection"}
    plain, full = (cme.ssa(network, times, every_event=every_event, **options) for every_event in (False, True))
    assert np.array_equal(plain.counts, full.counts)
    assert full.info["events"] == plain.info["events"] == sum(len(when) for when, _ in full.events)
    assert all(len(when) > 2048 for when, _ in full.events)  # the record grew several times


def chain(n):
    return cme.parse("\n".join([f"X{i} -> X{i + 1} @ 1" for i in range(n)] + ["X0 = 1"]))


@pytest.mark.parametrize(
    ("network", "method"),
    [
        (chain(60), "direct"),
        (chain(400), "direct"),  # each event changes two propensities
        (chain(10_010), "rejection"),
        (cme.parse("\n".join(f"A + X{i} <-> Y{i} @ 1, 1; X{i} = 1" for i in range(32)) + "; A = 1"), "direct"),
        (cme.parse("\n".join(f"A + X{i} <-> Y{i} @ 1, 1; X{i} = 1" for i in range(40)) + "; A = 1"), "rejection"),  # they all read A
    ],
)
def test_auto_chooses_by_size_and_coupling(network, method):
    for n_paths in (1, 5):
        assert cme.ssa(network, 0.1, n_paths=n_paths, seed=1).info["method"] == method


@pytest.mark.parametrize("text", ["X -> 0 @ 0; X = 4", "species X; X = 4", "0 -> 0 @ 5", "X -> X @ 5; X = 4"])
def test_networks_in_which_nothing_changes(text):
    network = cme.parse(text)
    paths = cme.ssa(network, [0, 1], n_paths=2, seed=1, method="rejection")
    assert paths.counts.tolist() == [[[4] * len(network.species)] * 2] * 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("drain: X => 0 @ 1; X = 3", r"reaction 'drain' fires in state \{X: 0\} and would drive a count below zero"),
        ("0 -> X @ 1; odd: 0 => Y @ 5 - X", r"propensity 5 - X of reaction 'odd' is negative in state \{X: 6, Y: \d+\}"),
        ("X -> 0 @ 1; bad: X => 0 @ 1/(X - 1); X = 4", r"the propensity 1/\(X - 1\) of reaction 'bad' is not a finite"),
        ("r: X => 0 @ ln(X - 9); X = 1", r"ln\(X - 9\) of reaction 'r' is not a finite number in state \{X: 1\}"),
        ("r: 2 X -> 0 @ 1e290; X = 4000000", r"of reaction 'r' is not a finite number in state \{X: 4e\+06\}"),
        ("r: X -> 1000001 X @ 1e292; X = 12", r"of reaction 'r' is not a finite number in state"),
        ("up: 0 => 4000000000 X @ 1e9; X = 4611686014427387904", r"reaction 'up' drives a count past 2\^62 in state"),
        ("r: X => 2 X @ X^4; X = 3", r"reaction 'r' .* fires so often in state \{X: \d.*\} that time stands still"),
        ("r: 2 X -> 2000 X @ 100; X = 3", r"reaction 'r' .* fires so often in state \{X: \d.*\} that time stands still"),
    ],
)
def test_refusals_of_models(text, match):
    with pytest.raises(cme.ModelError, match=match):
        cme.ssa(cme.parse(text), 50.0, n_paths=40, seed=1, method="rejection")


# ----------------------------------------------------------------------------------------------------- large networks


@pytest.mark.skipif(not (Path(__file__).parents[2] / "shared" / "networks").is_dir(), reason="needs ../shared/networks")
def test_egfr_net_has_the_means_of_the_direct_method():
    network = cme.load(Path(__file__).parents[2] / "shared" / "networks" / "egfr_net.net")
    times, n = [0.01, 0.4], 24
    paths = cme.ssa(network, times, n_paths=n, seed=1, method="rejection")
    others = cme.ssa(network, times, n_paths=n, seed=2, method="direct")
    for name in (*network.species_names, *network.observables):
        for t in range(2):
            if paths[name][:, t].sum() + others[name][:, t].sum() > 20:
                verdict.mean_matches(paths[name][:, t] - others[name][:, t], 0.0)
