"""Numbers of molecules that are drawn each time a reaction happens: bursts, partition at division, and what follows from them."""

import math

import numpy as np
import oracles
import pytest
import twins
import verdict
from scipy import stats
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

import cme
from cme.arguments import check_seed
from cme.kernels.stoichiometry import TAIL
from cme.projection.krylov import is_full

BURSTS = "0 -> geometric(b) P @ a; P -> 0 @ 1; a = 2; b = 5"
CELL = "0 -> M @ 2; M -> M + P @ 3; M -> 0 @ 1; P -> 0 @ 0.2; binomial(M, 1/2) M + binomial(P, 1/2) P => 0 @ 0.4"
MOVE = "binomial(A, p) A => binomial(A, p) B @ 1; B -> A @ 0.5; p = 0.3; A = 12"


def pmf(law, name, size, t=-1):
    counts = np.bincount(law.states[:, law.species_index(name)], weights=law.p[t], minlength=size)
    return counts[:size]


# ----------------------------------------------------------------------------------------------------- the generator


def test_columns_of_bursts():
    network = cme.parse("0 -> geometric(3) A + poisson(2) B @ 2; A -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"A": 8, "B": 6})
    assert len(space) == 9 * 7
    generator = cme.Generator.from_network(network, space)
    law = np.outer(stats.geom.pmf(np.arange(9), 1 / 4, loc=-1), stats.poisson.pmf(np.arange(7), 2))
    start = int(space.index([[0, 0]])[0])
    expected = 2 * law[space.states[:, 0], space.states[:, 1]]
    expected[start] = -2 * (1 - law[0, 0])
    np.testing.assert_allclose(generator.matrix[:, [start]].toarray()[:, 0], expected, rtol=1e-13)
    assert generator.leak[start] == pytest.approx(2 * (1 - law.sum()), rel=1e-13)
    np.testing.assert_allclose(generator.matrix.sum(axis=0), -generator.leak, atol=1e-14)


@pytest.mark.parametrize(
    ("numbers", "law"),
    [
        ("geometric(6) X + geometric(6) X", stats.nbinom(2, 1 / 7).pmf),
        (
            "poisson(2) X + binomial(3, 1/4) X + poisson(1) X",
            lambda k: np.convolve(stats.poisson(3).pmf(k), stats.binom(3, 0.25).pmf(k))[: len(k)],
        ),
        (
            "geometric(2) X + (2*geometric(1)) X",
            lambda k: np.convolve(stats.geom(1 / 3, loc=-1).pmf(k), np.where(k % 2, 0.0, stats.geom(0.5, loc=-1).pmf(k // 2)))[: len(k)],
        ),
    ],
)
def test_sums_of_numbers(numbers, law):
    """Numbers that count alike are listed as their sum: as many combinations as values, not as pairs."""
    network = cme.parse(f"0 -> {numbers} @ 1; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 80})
    generator = cme.Generator.from_network(network, space)
    start = int(space.index([[0]])[0])
    k = space.states[:, 0]
    expected = law(np.arange(81))
    leak = 1 - expected.sum()
    expected[0] = -(1 - expected[0])
    assert generator.matrix[:, [start]].toarray().ravel() == pytest.approx(expected[k], rel=1e-12, abs=1e-15)
    assert generator.leak[start] == pytest.approx(leak, abs=1e-14)
    if numbers.count("geometric(6)"):
        assert len(space.outcomes(0, k == 0)[0]) < 1000


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (60, 0.5), (60, 0.999), (2000, 0.01), (7, 1.0), (7, 0.0)])
def test_partition_is_listed_whole(n, p):
    network = cme.parse(f"binomial(P, q) P => 0 @ 1; q = {p}; P = {n}")
    space = cme.StateSpace.reachable(network)
    generator = cme.Generator.from_network(network, space)
    assert len(space) == (n + 1 if 0 < p < 1 else 2 if p else 1)
    assert np.all(generator.leak == 0)
    column = generator.matrix[:, [int(space.index([[n]])[0])]].toarray()[:, 0]
    taken = n - space.states[:, 0]
    np.testing.assert_allclose(column[taken > 0], stats.binom.pmf(taken[taken > 0], n, p), rtol=1e-9, atol=1e-299)


@pytest.mark.parametrize(
    ("number", "law"),
    [
        ("geometric(0.01)", stats.geom(1 / 1.01, loc=-1)),
        ("geometric(40)", stats.geom(1 / 41, loc=-1)),
        ("poisson(0.2)", stats.poisson(0.2)),
        ("poisson(4000)", stats.poisson(4000)),
        ("bernoulli(0.3)", stats.bernoulli(0.3)),
        ("geometric(0)", stats.bernoulli(0)),
    ],
)
def test_what_is_not_listed_is_counted_as_leak(number, law):
    network = cme.parse(f"species P; 0 -> {number} P @ 1")
    values = np.arange(30 + int(law.mean() + 42 * law.std()))
    space = cme.StateSpace.holding(network, np.ascontiguousarray(values[:, None]))
    generator = cme.Generator.from_network(network, space)
    column = generator.matrix[:, [0]].toarray()[1:, 0]
    np.testing.assert_allclose(column, law.pmf(values[1:]), rtol=1e-10, atol=2 * TAIL)
    assert 0 <= generator.leak[0] <= 2 * TAIL
    assert column.sum() + generator.leak[0] == pytest.approx(1 - law.pmf(0), abs=1e-12)


# ------------------------------------------------------------------------------------------------------------- bursts


@pytest.mark.parametrize(("a", "b", "tol"), [(2, 5, 1e-10), (0.3, 40, 1e-7), (5, 0.1, 1e-10)])
def test_law_of_bursts_at_any_time(a, b, tol):  # A.4
    law = cme.fsp(cme.parse(BURSTS).with_parameters(a=a, b=b), [0.3, 2.0], tol=tol)
    assert np.all(law.lost <= tol)
    for t, time in enumerate(law.times):
        found = pmf(law, "P", 600, t)
        expected = oracles.bursts(600, a, b, time)
        assert np.all(found <= expected + 1e-12)
        assert np.sum(expected - found) <= law.lost[t] + 2e-11


def test_stationary_law_of_bursts():  # A.4
    law = cme.stationary(cme.parse(BURSTS), tol=1e-10)
    np.testing.assert_allclose(pmf(law, "P", 300), oracles.burst_negative_binomial(300, 2, 5), atol=1e-10)
    assert law.mean()[0, 0] == pytest.approx(10)
    assert law.sd()[0, 0] ** 2 == pytest.approx(10 * (1 + 5), rel=1e-6)  # Fano factor 1 + b


def test_bursts_from_one_on_differ():  # A.4, the trap: mean b either way, but the Fano factor is b, not 1 + b
    network = cme.parse("0 -> (1 + geometric(4)) P @ 2; P -> 0 @ 1")
    law = cme.stationary(network, tol=1e-9)
    assert law.mean()[0, 0] == pytest.approx(10, rel=1e-6)
    assert law.sd()[0, 0] ** 2 == pytest.approx(10 * 5, rel=1e-5)


def test_paths_of_bursts():
    paths = cme.ssa(cme.parse(BURSTS), [0.3, 2.0], n_paths=20_000, seed=1)
    assert paths.info["method"] == "direct"
    for t, time in enumerate(paths.times):
        verdict.samples_match_pmf(paths["P"][:, t], oracles.bursts(600, 2, 5, time))


@pytest.mark.parametrize("mutant", ["0 -> (1 + geometric(4)) P @ 2; P -> 0 @ 1", "0 -> geometric(5.3) P @ 2; P -> 0 @ 1"])
def test_mutants_are_caught(mutant):
    paths = cme.ssa(cme.parse(mutant), [2.0], n_paths=20_000, seed=1)
    with pytest.raises(verdict.Refused):
        verdict.samples_match_pmf(paths["P"][:, 0], oracles.bursts(600, 2, 5, 2.0))


def test_twin():
    text = "0 -> geometric(b) P @ a; P -> 0 @ 1; (P) P => 0 @ 0.1; 0 -> (1 + 2*geometric(P/3)) Q @ 0.4; Q -> P @ 0.3; a = 2; b = 5; P = 3"
    key, times = check_seed(4)[0], [0.5, 2.0, 6.0]

    def geometric(mean, stream):
        return math.floor(-math.log(stream.uniform()) / math.log1p(1 / mean)) if mean > 0 else 0

    reactions = [
        (lambda p, q: 2.0, lambda x, stream: (geometric(5.0, stream), 0)),
        (lambda p, q: 1.0 * p, (-1, 0)),
        (lambda p, q: 0.1, lambda x, stream: (-x[0], 0)),
        (lambda p, q: 0.4, lambda x, stream: (0, 1 + 2 * geometric(x[0] / 3, stream))),
        (lambda p, q: 0.3 * q, (1, -1)),
    ]
    paths = cme.ssa(cme.parse(text), times, n_paths=50, seed=4)
    for m in range(50):
        samples, _ = twins.direct(reactions, (3, 0), times, twins.Stream(key, m))
        assert paths.counts[m].tolist() == samples


def test_paths_are_functions_of_seed_and_number():
    network, times = cme.parse(CELL), [1.0, 4.0]
    whole = cme.ssa(network, times, n_paths=300, seed=3, threads=1)
    np.testing.assert_array_equal(whole.counts, cme.ssa(network, times, n_paths=300, seed=3, threads=2).counts)
    np.testing.assert_array_equal(whole.counts[:40], cme.ssa(network, times, n_paths=40, seed=3).counts)
    summed = cme.ensemble(network, times, n_paths=300, seed=3)
    np.testing.assert_allclose(summed.mean(), whole.counts.mean(axis=0), rtol=1e-12)


def test_many_random_bursts_at_once():
    """A set grows by the likely states first: two bursts at a time lead to tens of thousands, few of which are needed."""
    network = cme.parse("0 -> geometric(8) A + geometric(4) B @ 0.2; A -> 0 @ 2; B -> 0 @ 2")
    law = cme.fsp(network, [0.5], tol=1e-4)
    one = cme.fsp(cme.parse("0 -> geometric(8) A @ 0.2; A -> 0 @ 2"), [0.5], tol=1e-9)
    assert np.abs(pmf(law, "A", 150) - pmf(one, "A", 150)).sum() <= law.lost[0] + 1e-8
    assert len(law.states) < 20_000


# ---------------------------------------------------------------------------------------------------------- partition


def test_partition_alone():
    """A division leaves each molecule with probability 1/2, so each factorial moment falls by 1 - 2^-k of itself at rate mu."""
    law = cme.fsp(cme.parse("binomial(P, 1/2) P => 0 @ mu; mu = 0.7; P = 40"), [0.5, 3.0], tol=1e-10)
    n, p = law.states[:, 0], law.p
    for t, time in enumerate(law.times):
        assert p[t] @ n == pytest.approx(40 * math.exp(-0.7 * time / 2), rel=1e-9)
        assert p[t] @ (n * (n - 1)) == pytest.approx(40 * 39 * math.exp(-0.7 * time * 3 / 4), rel=1e-9)
    assert np.all(law.lost <= 1e-10)


def test_one_division_halves():
    network = cme.parse("divide: (P) P + S => binomial(P, 1/2) P @ 50*S; P = 30; S = 1")
    law = cme.fsp(network, [2.0], tol=1e-9)
    np.testing.assert_allclose(pmf(law, "P", 31), stats.binom.pmf(np.arange(31), 30, 0.5), atol=1e-9)
    paths = cme.ssa(network, [2.0], n_paths=8000, seed=2)
    verdict.samples_match_pmf(paths["P"][:, 0], stats.binom.pmf(np.arange(31), 30, 0.5))


def test_what_goes_arrives():
    network = cme.parse(MOVE)
    np.testing.assert_array_equal(cme.graphs.conservation_laws(network), [[1, 1]])
    law = cme.fsp(network, [1.0], tol=1e-10)
    assert len(law.states) == 13
    # each A leaves at rate 1 with probability 0.3 if one asks for it alone, each B returns at rate 0.5
    assert law.mean()[0, 1] == pytest.approx(12 * 0.3 / 0.8 * (1 - math.exp(-0.8)), rel=1e-9)
    paths = cme.ssa(network, [0.5, 1.0], n_paths=8000, seed=5)
    assert np.all(paths.counts.sum(axis=2) == 12)
    verdict.samples_match_pmf(paths["B"][:, 1], pmf(law, "B", 13))
    independent = cme.parse(MOVE.replace("A, p) B", "A, q) B") + "; q = 0.3")
    assert len(cme.graphs.conservation_laws(independent)) == 0
    assert len(set(cme.ssa(independent, [1.0], n_paths=100, seed=5).counts.sum(axis=2).ravel().tolist())) > 1


def test_a_cell_that_divides():
    network = cme.parse(CELL)
    law = cme.fsp(network, [1.0, 4.0], tol=1e-5)
    paths = cme.ssa(network, [1.0, 4.0], n_paths=10_000, seed=6)
    for t in range(2):
        for name, size in (("M", 20), ("P", 80)):
            verdict.samples_match_pmf(paths[name][:, t], pmf(law, name, size, t), lost=law.lost[t])
    mean = cme.rate_equations(network, [1.0, 4.0])  # a linear network: exact for the means
    np.testing.assert_allclose(law.mean(), mean.mean(), atol=2e-3)
    verdict.mean_matches(paths["P"][:, 1], mean["P"][1])
    able = {name for name, obstacle in cme.check(network, max_states=1000).solvers.items() if not obstacle}
    assert able == {"tau_leap", "ssa", "fsp", "stationary", "rate_equations", "lna"}


def test_laws_follow_what_a_draw_changes():
    network = cme.parse("0 -> geometric(5) X @ 2; X -> 0 @ 1; 0 => Y @ X/(1 + Y); Y -> 0 @ 1; X = 0")
    exact = cme.fsp(network, [4.0], tol=1e-6, space=cme.StateSpace.reachable(network, bounds={"X": 120, "Y": 25}))
    paths = cme.ssa(network, [4.0], n_paths=20_000, seed=3)
    verdict.samples_match_pmf(paths["Y"][:, 0], exact.marginal("Y", 0).p, lost=exact.error_bound[0])


def test_catastrophe():
    """(P) P => 0 takes all: P(n) solves a chain with resets, whose mean relaxes at the rate of the resets."""
    network = cme.parse("(P) P => 0 @ 0.2; 0 -> P @ 5")
    assert cme.fsp(network, [2.0], tol=1e-9).mean()[0, 0] == pytest.approx(25 * (1 - math.exp(-0.4)), rel=1e-7)
    verdict.mean_matches(cme.ssa(network, [2.0], n_paths=8000, seed=1)["P"][:, 0], 25 * (1 - math.exp(-0.4)))


# ---------------------------------------------------------------------------------------------------- moving in time


def test_bursts_at_a_rate_that_moves():
    network = cme.parse("0 -> geometric(b) P @ 2*(1 + sin(time)); P -> 0 @ 1; b = 5")
    times = np.array([1.0, 2.0])
    mean = 10 * ((1 - np.exp(-times)) + (np.sin(times) - np.cos(times) + np.exp(-times)) / 2)
    law = cme.fsp(network, times, tol=1e-6)
    np.testing.assert_allclose(law.mean()[:, 0], mean, rtol=1e-5)
    paths = cme.ssa(network, times, n_paths=3000, seed=1)
    verdict.samples_match_pmf(paths["P"][:, 1], pmf(law, "P", 250), lost=law.lost[1])


def test_burst_sizes_that_events_change():
    text = "0 -> geometric(size) P @ 2; P -> 0 @ 1; b = 5; size := 2*b; at time >= 1: b = 1"
    late = cme.fsp(cme.parse(text), [1.0, 2.0], tol=1e-8)
    first = 20 * (1 - math.exp(-1))
    np.testing.assert_allclose(late.mean()[1, 0], first * math.exp(-1) + 4 * (1 - math.exp(-1)), rtol=1e-6)
    paths = cme.ssa(cme.parse(text), [2.0], n_paths=4000, seed=1)
    verdict.samples_match_pmf(paths["P"][:, 0], pmf(late, "P", 250), lost=late.lost[1])


def test_what_goes_arrives_in_time():
    network = cme.parse(MOVE.replace("@ 1;", "@ 1 + 0*time;"))
    law, steady = cme.fsp(network, [1.0], tol=1e-8), cme.fsp(cme.parse(MOVE), [1.0], tol=1e-10)
    np.testing.assert_allclose(pmf(law, "B", 13), pmf(steady, "B", 13), atol=1e-8)
    paths = cme.ssa(network, [1.0], n_paths=3000, seed=2)
    assert np.all(paths.counts.sum(axis=2) == 12)
    verdict.samples_match_pmf(paths["B"][:, 0], pmf(steady, "B", 13))


def test_sizes_that_move_are_left_to_ssa():
    network = cme.parse("0 -> geometric(1 + time) P @ 2; P -> 0 @ 1")
    with pytest.raises(cme.ModelError, match=r"reaction 'r1' draws from geometric\(time \+ 1\), whose parameters move with time; use ssa"):
        cme.fsp(network, [1.0])
    mean = 2 * 1.0  # dm/dt = 2 (1 + t) - m from 0: m = 2 t
    verdict.mean_matches(cme.ssa(network, [1.0], n_paths=3000, seed=3)["P"][:, 0], mean)


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("solver", [cme.langevin, cme.fokker_planck])
def test_other_solvers(solver):
    what = r"can't take 'network': what reaction 'r1' changes 'P' by, geometric\(5\), is not the same each time; use ssa or tau_leap or"
    with pytest.raises(cme.ModelError, match=what):
        solver(cme.parse(BURSTS), [1.0])


@pytest.mark.parametrize("solver", [cme.ssa, cme.fsp])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0 -> geometric(-1) P @ 1", r"a number of molecules of reaction 'r1' can't be drawn in state {P: 0}; a mean must be >= 0"),
        ("0 => binomial(P - 1, 0.5) P @ 1", "a number of molecules of reaction 'r1' can't be drawn in state {P: 0}"),
        ("0 -> binomial(3, 2) P @ 1", "a probability lie between 0 and 1"),
        ("poisson(30) A => 0 @ 1; A = 10", "reaction 'r1' fires in state {A: 10} and would drive a count below zero"),
        ("(A - 1) A => 0 @ 1; (2*A) A => 0 @ 1; A = 4", "reaction 'r2' fires in state {A: .} and would drive a count below zero"),
    ],
)
def test_numbers_that_are_none(solver, text, what):
    with pytest.raises(cme.ModelError, match=what):
        solver(cme.parse(text), [50.0])


def test_numbers_that_are_none_in_time():
    with pytest.raises(cme.ModelError, match=r"a number of molecules of reaction 'r1' can't be drawn in state {P: 0"):
        cme.ssa(cme.parse("0 -> geometric(-1) P @ 1 + time"), [50.0])
    with pytest.raises(cme.ModelError, match=r"a number of molecules of reaction 'r1' can't be drawn in state {P: 0"):
        cme.fsp(cme.parse("0 -> geometric(-1) P @ 1 + time"), [1.0])


def test_numbers_past_all_counts():
    with pytest.raises(cme.ModelError, match="reaction 'r1' drives a count past"):
        cme.ssa(cme.parse("0 -> geometric(1e17) P @ 1"), [50.0], n_paths=10, seed=1)
    with pytest.raises(cme.ConvergenceError, match=r"a drawn number of molecules has more than \d+ likely values; use ssa"):
        cme.fsp(cme.parse("0 -> geometric(1e7) P @ 1"), [1.0])


@pytest.mark.parametrize("text", [BURSTS, CELL, MOVE])
def test_every_event_has_the_counts_after_each(text):
    network, times = cme.parse(text), np.array([0.0, 1.0, 4.0])
    plain, full = (cme.ssa(network, times, n_paths=20, seed=3, every_event=every) for every in (False, True))
    assert np.array_equal(plain.counts, full.counts)
    changes = np.zeros((len(network.reactions), len(network.species)))
    rows, columns, amounts = network.sparse_stoichiometry
    changes[rows, columns] = amounts
    drawn = 0
    for m in range(20):
        (when, which), after = full.events[m], full.event_counts[m]
        states = np.concatenate([plain.counts[m, :1], after])
        assert np.array_equal(states[np.searchsorted(when, times, side="right")], plain.counts[m])
        fixed = [k for k, r in enumerate(which) if r not in network.varying]
        assert np.array_equal(np.diff(states, axis=0)[fixed], changes[which[fixed]])
        drawn += len(which) - len(fixed)
    assert drawn > 0


def test_tau_leap_takes_bursts_one_by_one():
    """Batches of Poisson size come at rate 3, molecules go at rate 1: what is left of the start, and a compound Poisson number."""
    t, size = 2.0, 2000.0
    paths = cme.tau_leap(cme.parse("0 -> poisson(b) X @ 3; X -> 0 @ 1; X = 6000; b = 2000"), [t], n_paths=1500, seed=2)
    assert paths.info["leaps"] > 10 * 1500
    verdict.mean_matches(paths["X"][:, 0], 6000.0)
    stay = math.exp(-t)
    variance = 6000 * stay * (1 - stay) + 3 * (size * (1 - stay) + size**2 * (1 - stay**2) / 2)
    assert paths["X"][:, 0].var(ddof=1) == pytest.approx(variance, rel=0.2)  # five standard errors
    fewer = cme.tau_leap(cme.parse("0 -> poisson(b) X @ 3; X -> 0 @ 1; X = 6000; b = 2000"), [t], n_paths=40, seed=2, threads=1)
    assert np.array_equal(fewer.counts, paths.counts[:40])


def test_tau_leap_without_leaps_follows_fsp():
    network = cme.parse(MOVE)
    paths = cme.tau_leap(network, [0.7], n_paths=4000, seed=1)
    assert paths.info["leaps"] == 0
    exact = cme.fsp(network, [0.7], tol=1e-9)
    verdict.samples_match_pmf(paths["B"][:, 0], exact["B"][0], exact.lost[0])


def test_options_that_need_more():
    network = cme.parse(BURSTS)
    stopped = cme.ssa(network, [10.0], n_paths=200, seed=1, stop="P >= 20")
    reached = np.isfinite(stopped.stopped)
    assert reached.sum() > 0
    assert np.all((stopped["P"][:, 0] >= 20) == reached)


def test_growth_is_the_same_as_all_at_once():
    """However the set of states was found, the generator on it is the same; here against the whole set and its exponential."""
    network = cme.parse("binomial(A, 0.3) A => binomial(A, 0.3) B @ 1; 2 B -> 2 A @ 0.1; A = 25")
    space = cme.StateSpace.reachable(network)
    assert len(space) == 26
    start = np.zeros(26)
    start[int(space.index([[25, 0]])[0])] = 1
    whole = expm_multiply(cme.Generator.from_network(network, space).matrix * 0.7, start)
    law = cme.fsp(network, [0.7], tol=1e-10)
    np.testing.assert_allclose(pmf(law, "A", 26), whole[np.argsort(space.states[:, 0])], atol=1e-10)


def test_means_of_numbers():
    text = "0 -> geometric(3) A + poisson(2) B + binomial(10, 0.25) C + bernoulli(0.5) D @ 2; (A) A => 0 @ 0.5"
    mean = cme.rate_equations(cme.parse(text), [3.0])
    assert mean["A"][0] == pytest.approx(12 * (1 - math.exp(-1.5)), rel=1e-5)
    np.testing.assert_allclose([mean["B"][0], mean["C"][0], mean["D"][0]], [12, 15, 3], rtol=1e-6)


def test_a_small_table_of_states_has_room_after_a_random_jump():
    network = cme.parse("0 -> geometric(2) X @ 1; X -> 0 @ 1; X = 30")
    space = cme.StateSpace.around(network, size=200)
    counts = np.unique(space.states)
    assert len(counts) == len(space) >= 200
    assert counts[-1] - counts[0] == len(counts) - 1


def test_full_factors_are_within_the_bound():
    network = cme.parse("0 -> geometric(20) X @ 0.5; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 600})
    generator = cme.Generator.from_network(network, space)
    assert is_full(len(generator), generator.matrix.nnz)
    law = cme.fsp(network, [4.0, 40.0], space=space, method="rational_krylov")
    start = np.eye(len(space))[space.index([[0]])[0]]
    for k, t in enumerate(law.times):
        exact = expm(t * generator.matrix.toarray()) @ start
        p = np.zeros(len(space))
        p[space.index(law.states)] = law.p[k]
        assert np.abs(p - exact).sum() <= law.integration_error[k] + 1e-12
        assert law.integration_error[k] < 1e-9
