"""Lanes against the scalar direct method (itself held against an independent twin in test_ssa): the same bits, whatever a path does."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_ssa import TWINS

import cme
from cme.arguments import check_seed
from cme.compiled import Compiled
from cme.kernels import lanes
from cme.kernels.record import Sink
from cme.sampling.channels import prepare_lanes
from cme.sampling.methods import ENGINES, make_job


def both(network, times, n_paths=70, **options):
    """The counts and the number of events by lanes, after a check that direct has the same; or the complaint of both."""
    found = []
    for method in ("lanes", "direct"):
        try:
            paths = cme.ssa(network, times, n_paths=n_paths, seed=5, method=method, threads=1, **options)
            stopped = None if paths.stopped is None else paths.stopped.tobytes()
            found.append((paths.counts.tobytes(), paths.info["events"], stopped, paths.info["method"] == method))
        except cme.ModelError as error:
            found.append(str(error))
    assert found[0] == found[1]
    return found[0] if isinstance(found[0], str) else paths.counts


# --------------------------------------------------------------------------------------------------------------- bits


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("n_paths", [1, 33, 300])
def test_lanes_have_the_bits_of_direct(name, n_paths):
    both(cme.parse(TWINS[name][0]), [0.0, 0.3, 1.0, 2.5], n_paths)


@pytest.mark.parametrize(
    "text",
    [
        "; ".join(f"X{i} -> X{(i + 1) % 30} @ 1; X{i} = 3" for i in range(30)),  # changes lane by lane
        "0 => X @ 30/(1 + X/9); X -> 0 @ 0.001; X = 3000; Y => 0 @ Y/(9 + Y); X -> 2 X + 2000 Y @ 0.001",  # past the end of tables
        "0 => A @ 9*exp(-A/(1 + B)); 0 => B @ 5*min(A, B, 3) + 1; A -> B @ 1; B => 0 @ piecewise(B, A > 3, 2*B, A > 1, 0)",  # programs
        "0 => A @ abs(sin(A*B)) + (A + 1)^(B/(1 + B)); A -> 0 @ 1; A + B -> 0 @ 0.1; species S; 0 => B @ floor(5*S/2); S = 2",
        "A + B -> C @ 1e-9; C -> A + B @ 1e3; A = 1000000000; B = 1000000000; 2 A -> A @ 1e-18; 3 A -> 0 @ 1e-27",
        "3 A -> 2 A @ 0.3; A = 40",
        "2 A + B -> A + B @ 0.01; 3 B -> A + B @ 0.1; A = 30; B = 12",
        "4 A -> A @ 0.001; 2 A + 2 B -> 3 A + B @ 1e-4; 0 -> A @ 10; A -> B @ 1; B -> A @ 1; A = 20",  # of fourth order: programs
        "A -> B @ 1e6; B -> A @ 1e-6; A -> C @ 1; C -> A @ 1e-3; A = 200; B -> 0 @ 1e-6",  # propensities that collapse by 12 orders
    ],
)
def test_lanes_have_the_bits_of_direct_in_every_kind_of_law(text):
    network = cme.parse(text)
    a0 = Compiled(network).propensities(np.array(network.initial.states, dtype=float)).sum()
    both(network, np.array([0.0, 0.1, 1.0, 30.0, 200.0]) / a0, 150)


RATES = st.integers(-6, 6).flatmap(lambda power: st.sampled_from([1.0, 0.3, 7.7]).map(lambda digit: digit * 10.0**power))
LAWS = {
    "hill": "0 => {x} @ {k}/(1 + ({y}/5)^2.5)",
    "two species": "{x} => {y} @ {k}*{x}/(1 + {x} + {z})",
    "piecewise": "{x} => 0 @ piecewise({k}*{x}, {y} > 3, 0)",
    "powers": "0 => {x} @ {k}*min({y}, 4)^({z}/(1 + {z}))",
    "exp": "{x} + {y} => 0 @ {k}*{x}*{y}*exp(-{z}/9)",
    "inflow": "0 -> 2 {x} @ {k}",
    "decay": "{x} -> 0 @ {k}",
    "conversion": "{x} -> {y} @ {k}",
    "pair": "2 {x} -> {y} @ {k}",
    "binding": "{x} + {y} -> {z} @ {k}",
    "triple": "3 {x} -> {z} @ {k}",
    "may be negative": "0 => {x} @ {k}*(7 - {y})",
    "may be undefined": "{x} => {y} @ {k}*{x}/({z} - 2)",
    "may drain": "{x} => 0 @ {k}",
    "may leave its domain": "0 => {x} @ {k}*ln({x} + {y} - 1)",
}


@st.composite
def wild_networks(draw):
    """A network that may do everything odd, from few molecules or from 1e9, and the sum of its rate constants."""
    lines, total = ["species A, B, C"], 0.0
    for _ in range(draw(st.integers(1, 6))):
        (x, y, z), k = (draw(st.sampled_from("ABC")) for _ in range(3)), draw(RATES)
        lines.append(LAWS[draw(st.sampled_from(sorted(LAWS)))].format(x=x, y=y, z=z, k=k))
        total += k
    lines += [f"{name} = {draw(st.sampled_from([0, 0, 1, 3, 8, 30, 5000, 10**9]))}" for name in "ABC"]
    return cme.parse("\n".join(lines)), total


@settings(max_examples=60, deadline=None, derandomize=True)
@given(wild_networks())
def test_lanes_have_the_bits_of_direct_on_random_networks(drawn):
    network, total = drawn
    with np.errstate(all="ignore"):
        a = Compiled(network).propensities(np.array(network.initial.states, dtype=float))
    a0 = float(np.abs(a[np.isfinite(a)]).sum()) + total
    both(network, np.array([0.0, 0.5, 3.0, 12.0]) / a0, 40)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0 -> X @ 1; odd: 0 => Y @ 5 - X", "5 - X of reaction 'odd' is negative"),
        ("0 -> X @ 1; odd: 0 => Y @ 5 - X + 0*Y; Y -> 0 @ 1", "of reaction 'odd' is negative"),
        ("X -> 0 @ 1; odd: X => 0 @ 1/(X - 1); X = 4", "of reaction 'odd' is not a finite"),
        ("drain: X => 0 @ 1; X = 3", "'drain' fires in state {X: 0}"),
        ("pair: 2 X => 0 @ X; X = 5", "'pair' fires in state {X: 1}"),
        ("up: 0 => 4000000000 X @ 1e9; X = 4611686014427387904", r"'up' drives a count past 2^62"),
        ("up: 0 => 5000000000000 X @ 1e9", r"'up' drives a count past 2^62"),
        ("r: X => 2 X @ X^4; X = 3", "fires so often"),
    ],
)
def test_lanes_complain_as_direct_does(text, complaint):
    assert complaint in both(cme.parse(text), [0.1, 9.0, 50.0])


@pytest.mark.parametrize(
    "text",
    [
        "X -> 0 @ 1e-16; X -> Y @ 1e-17; X = 4000000000000000; Y -> X @ 1",  # more than a float64 counts
        "0 -> X @ 1000; X -> 0 @ 1e-16; X = 9007199254740792",  # past it, on the way
        "0 -> 2000000000000 X @ 1; X -> 0 @ 1e-13",  # changes that might pass 2^53 between two looks
        "0 -> 999999999999999 X @ 20",  # the tenth passes it, and is odd, so that a float64 rounds it
        "A -> B @ 1e17; B -> A @ 1e17; A -> C @ 1e17; A = 1; B = 1",  # so fast that time might stand still, but it comes to rest
    ],
)
def test_paths_that_lanes_give_up_are_run_by_direct(text):
    both(cme.parse(text), [0.0, 0.5, 1.0])


def test_time_zero_and_rest():
    both(cme.parse("X -> 0 @ 1e9; X = 50"), [0.0])
    both(cme.parse("X -> 0 @ 0; X = 4"), [0.0, 1.0])
    both(cme.parse("0 -> 0 @ 5"), [0.0, 1.0])
    both(cme.parse("X -> X @ 5; X = 1; Y -> 0 @ 1; Y = 2"), [0.0, 1.0])


def test_a_start_that_is_drawn():
    network = cme.parse("X -> 0 @ 1; Y -> 0 @ 2").with_initial({(0, 5): 0.2, (3, 1): 0.5, (7, 0): 0.3})
    both(network, [0.0, 0.5], 200)


@pytest.mark.parametrize("condition", ["X >= 8", "X == 5", "Y > 2 && X < 3", "X > 1e9"])
def test_paths_that_stop(condition):
    both(cme.parse("0 -> X @ 10; X -> Y @ 1; Y -> 0 @ 1; X = 5"), [0.0, 0.5, 2.0], 300, stop=condition)


# ----------------------------------------------------------------------------------------------------------- promises


def test_same_numbers_on_any_number_of_threads_and_paths():
    network = cme.parse("0 => M @ 5/(1 + P/20); M -> M + P @ 2; M -> 0 @ 1; P -> 0 @ 0.5; 2 P <-> D @ 0.01, 0.3")
    times = np.linspace(0, 6, 7)
    reference = cme.ssa(network, times, n_paths=2000, seed=9, threads=1)
    assert reference.info["method"] == "lanes"
    for threads in (2, 8):
        again = cme.ssa(network, times, n_paths=2000, seed=9, threads=threads)
        assert np.array_equal(again.counts, reference.counts)
        assert again.info["events"] == reference.info["events"]
    for n_paths in (1, 7, 40, 129, 1000):
        assert np.array_equal(cme.ssa(network, times, n_paths=n_paths, seed=9).counts, reference.counts[:n_paths])


def test_any_width_gives_the_same_numbers():
    network, times = cme.parse("0 -> X @ 10; X -> 0 @ 1"), np.array([1.0, 4.0])
    job = make_job(Compiled(network), None, times, check_seed(2)[0])
    run = ENGINES["lanes"](job)
    whole = np.zeros((500, 2, 1), dtype=np.int64)
    run(0, 500, np.zeros(1, np.uint8), np.zeros(2), Sink(whole))
    for first, stop in ((0, 20), (20, 90), (90, 300), (300, 500)):
        part = np.zeros((stop - first, 2, 1), dtype=np.int64)
        run(first, stop, np.zeros(1, np.uint8), np.zeros(2), Sink(part))
        assert np.array_equal(part, whole[first:stop])


def fingerprint():
    """Every bit of short runs of TWINS by lanes, as text."""
    networks = [cme.parse(text) for text, _, _ in TWINS.values()]
    runs = [cme.ssa(network, [0.0, 0.3, 1.0], n_paths=40, seed=5, method="lanes", threads=1) for network in networks]
    return "\n".join(paths.counts.tobytes().hex() for paths in runs)


def test_lanes_equal_their_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_lanes; print(test_lanes.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


def test_auto_takes_lanes_for_many_paths_of_few_reactions():
    few = cme.parse("0 -> X @ 1; X -> 0 @ 1")
    many = cme.parse("; ".join(f"X{i} -> X{(i + 1) % 70} @ 1; X{i} = 1" for i in range(70)))
    assert cme.ssa(few, 1.0, n_paths=100, seed=1).info["method"] == "lanes"
    assert cme.ssa(few, 1.0, n_paths=2, seed=1).info["method"] == "direct"
    assert cme.ssa(many, 1.0, n_paths=100, seed=1).info["method"] == "direct"
    with pytest.raises(ValueError, match="method='lanes' takes up to 64 reactions, and 70 can fire here; leave it out, or use 'direct'"):
        cme.ssa(many, 1.0, n_paths=100, seed=1, method="lanes")
    with pytest.raises(ValueError, match="method='lanes' does not list events; leave out every_event, or use 'direct'"):
        cme.ssa(few, 1.0, n_paths=100, seed=1, method="lanes", every_event=True)
    with pytest.raises(ValueError, match="method must be one of 'auto', 'direct', 'lanes', 'rejection', 'next_reaction'"):
        cme.ssa(few, 1.0, n_paths=100, seed=1, method="fast")


# ------------------------------------------------------------------------------------------------------------ verdict


@pytest.mark.parametrize("name", ["birth_death", "schlogl", "toggle_switch", "gene_expression", "telegraph"])
def test_lanes_follow_the_master_equation_on_the_shelf(name):
    network = cme.load(name)
    exact = cme.fsp(network, [2.0])
    paths = cme.ssa(network, [2.0], n_paths=8000, seed=3, method="lanes")
    for species in network.species_names:
        verdict.samples_match_pmf(paths[species][:, 0], exact.marginal(species, -1).p, lost=float(exact.lost[-1]))


def lane_counts(network, time, n_paths=2000, *, plan=None, **changed):
    """Counts (M, S) from the kernel, with some of the network's arrays or of the plan replaced."""
    job = make_job(Compiled(network), None, np.array([time]), check_seed(3)[0])
    channels = job.channels._replace(**changed)
    counts = np.zeros((n_paths, 1, job.starts.shape[1]), dtype=np.int64)
    memory = lanes.new_lanes(counts.shape[2], len(job.kept), channels.stack_size, n_paths)
    start = job.key, 0, n_paths, job.starts, job.cumulative
    chosen = prepare_lanes(channels, counts.shape[2])._replace(**(plan or {}))
    assert lanes.run_lanes(channels, chosen, job.times, *start, memory, np.zeros(1, np.uint8), np.zeros(2), Sink(counts)) == lanes.OK
    return counts[:, 0]


def test_verdict_catches_a_table_that_is_off_by_one():
    network = cme.parse("0 => X @ 2/(1 + X)")
    verdict.probability_matches(lane_counts(network, 0.5)[:, 0] == 0, math.exp(-1))
    table = make_job(Compiled(network), None, np.array([1.0]), check_seed(3)[0]).channels.table
    with pytest.raises(verdict.Refused, match="frequency"):
        verdict.probability_matches(lane_counts(network, 0.5, table=np.append(table[1:], 0.0))[:, 0] == 0, math.exp(-1))


def test_verdict_catches_a_forgotten_factor():
    lone = cme.parse("2 A -> A @ 1; A = 3")
    verdict.probability_matches(lane_counts(lone, 0.2)[:, 0] == 3, math.exp(-0.6))
    with pytest.raises(verdict.Refused, match="frequency"):
        verdict.probability_matches(lane_counts(lone, 0.2, n_factors=np.array([1]))[:, 0] == 3, math.exp(-0.6))


def test_verdict_catches_changes_of_the_wrong_reaction():
    fork = cme.parse("X -> Y @ 1; X -> Z @ 3; X = 1")
    verdict.probability_matches(lane_counts(fork, 50.0)[:, 2] == 1, 0.75)
    swapped = make_job(Compiled(fork), None, np.array([1.0]), check_seed(3)[0]).channels.change_species.reshape(2, 2)[::-1].ravel().copy()
    with pytest.raises(verdict.Refused, match="frequency"):
        verdict.probability_matches(lane_counts(fork, 50.0, change_species=swapped)[:, 2] == 1, 0.75)


def test_masks_and_single_lanes_change_the_same_counts():
    network = cme.parse("0 -> X @ 10; X -> Y @ 1; 2 Y -> X @ 0.3; Y -> 0 @ 0.5")
    assert np.array_equal(lane_counts(network, 3.0), lane_counts(network, 3.0, plan={"few": False}))
    immigration = cme.parse("0 -> X @ 8; X -> 0 @ 1")
    law = stats.poisson.pmf(np.arange(40), 8 * (1 - math.exp(-2)))
    verdict.samples_match_pmf(lane_counts(immigration, 2.0, 8000, plan={"few": False})[:, 0], law)
