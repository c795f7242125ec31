"""Stationary laws with a bound: the bound is at least the true error, and what it rests on is true."""

import re

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from scipy.stats import poisson

import cme
from cme.compiled import Compiled
from cme.infix import parse as formula
from cme.projection import certificate, cycle, drift, lattice, law_bounds, sweeps, way_back
from cme.projection.closed_law import ClosedLaw
from cme.ratelaw import evaluate


def error(law, name, truth):
    """The 1-norm distance to a law of one species, over all counts."""
    p = np.zeros(max(len(truth), int(law.values(name, 0).max()) + 1))
    p[: len(law[name][0])] = law[name][0]
    p[: len(truth)] -= truth
    return np.abs(p).sum()


def queue(n):
    return oracles.one_step_stationary(np.full(n, 0.8), np.arange(n) / (0.01 + np.maximum(np.arange(n), 1e-9)))


ONE_STEP = {
    "A1": ("0 -> X @ 20; X -> 0 @ 1", lambda n: poisson.pmf(np.arange(n), 20), (24, 30, 40, 60)),
    "A16": (
        "0 -> X @ 1; X -> 2 X @ 0.9; X -> 0 @ 1",
        lambda n: oracles.burst_negative_binomial(n, 1 / 0.9, 9.0),
        (30, 80, 150, 300),
    ),
    "C4": (
        "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250",
        lambda n: oracles.one_step_stationary(
            0.015 * np.arange(n) * (np.arange(n) - 1.0) + 200,
            1e-4 / 6 * np.arange(n) * (np.arange(n) - 1.0) * (np.arange(n) - 2.0) + 3.5 * np.arange(n),
        ),
        (600, 650, 700, 800, 1000),
    ),
    "a queue": ("0 -> X @ 0.8; X => 0 @ X/(0.01 + X)", queue, (20, 40, 80, 120)),
    "a Hill law": (
        "0 => X @ 1 + 30*X^4/(20^4 + X^4); X -> 0 @ 1",
        lambda n: oracles.one_step_stationary(1 + 30 * np.arange(n) ** 4.0 / (20**4 + np.arange(n) ** 4.0), np.arange(n) * 1.0),
        (45, 60, 70),
    ),
    "a fractional power": (
        "0 => X @ 50/(1 + X^2.5); X -> 0 @ 1",
        lambda n: oracles.one_step_stationary(50 / (1 + np.arange(n) ** 2.5), np.arange(n) * 1.0),
        (8, 12, 20),
    ),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_the_bound_on_a_set_too_small_is_above_the_true_error(name):
    text, law_of, tops = ONE_STEP[name]
    truth = law_of(5000 if name != "C4" else 1500)
    network = cme.parse(text)
    before = 2.0
    for top in tops:
        law = cme.stationary(network, method="projection", space=cme.StateSpace.reachable(network, bounds={"X": top}))
        true = error(law, "X", truth)
        if not law.info["certificate"].startswith("certified"):  # the drift only falls beyond the states that are kept
            assert top == tops[0]
            continue
        assert 0.99 * true <= law.lost[0] + 1e-12
        assert name == "C4" or law.lost[0] <= 2000 * true + 1e-9  # the way back to the likelier well is long there
        assert law.lost[0] <= before
        before = law.lost[0]
        lower, upper = law.bounds("X")
        assert np.all(lower[0] <= truth[: top + 1] * (1 + 1e-9) + 1e-300)
        assert np.all(truth[: top + 1] <= upper[0] + 1e-15)
    assert before < 1e-4


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("name", ONE_STEP)
def test_the_bound_of_an_adapted_set_is_above_the_true_error(name, tol):
    text, law_of, _ = ONE_STEP[name]
    law = cme.stationary(cme.parse(text), tol=tol, method="projection")
    assert law.info["certificate"].startswith("certified: outside the states")
    assert error(law, "X", law_of(5000 if name != "C4" else 1500)) <= law.error_bound[0] + 1e-12
    assert law.lost[0] <= tol


MORE = {
    "A3": (
        "Off -> On @ 2; On -> Off @ 3; On -> On + M @ 15; M -> 0 @ 1; Off = 1",
        "M",
        lambda: oracles.telegraph_stationary(150, 2, 3, 15),
    ),
    "A13": (
        "0 -> S @ 2; E + S -> C @ 0.5; C -> E + S @ 1; C -> E @ 3; E = 1",
        "S",
        lambda: oracles.michaelis_menten_open(400, 2.0, 0.5, 1.0, 3.0).sum(axis=0),
    ),
    "two Poisson laws": ("0 -> X @ 90; X -> 0 @ 1; 0 -> Y @ 70; Y -> 0 @ 2", "X", lambda: poisson.pmf(np.arange(400), 90)),
}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
def test_several_species_are_certified(name, tol):
    text, species, truth = MORE[name]
    truth = truth()
    law = cme.stationary(cme.parse(text), tol=tol, method="projection")
    assert law.info["certificate"].startswith("certified")
    assert error(law, species, truth) <= law.error_bound[0] + 1e-12
    assert law.lost[0] <= tol
    lower, upper = law.bounds(species)
    n = min(len(truth), lower.shape[1])
    assert np.all(lower[0, :n] <= truth[:n] * (1 + 1e-9) + 1e-300)
    assert np.all(truth[:n] <= upper[0, :n] + 1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "0 -> M @ 2; M -> 0 @ 3; M -> M + P @ 6; P -> 0 @ 1",
        "0 => U @ 2 + 60*400/(400 + V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400 + U^2); V -> 0 @ 1",
        "0 -> A @ 10; A + B -> 0 @ 0.1; 0 -> B @ 8; B -> 0 @ 0.5; A -> 0 @ 0.2",
        "G -> G + P @ 20; P -> 0 @ 1; G + 2 P -> H @ 0.02; H -> G + 2 P @ 1; H -> H + P @ 2; G = 1",
    ],
)
def test_a_loose_law_is_within_its_bound_of_a_tight_one(text):
    network = cme.parse(text)
    tight = cme.stationary(network, tol=1e-10)
    assert tight.info["certificate"].startswith("certified")
    exact = dict(zip(map(tuple, tight.states.tolist()), tight.p[0], strict=True))
    for tol in (1e-1, 1e-3, 1e-5):
        loose = cme.stationary(network, tol=tol)
        mine = dict(zip(map(tuple, loose.states.tolist()), loose.p[0], strict=True))
        true = sum(abs(exact.get(state, 0.0) - mine.get(state, 0.0)) for state in exact.keys() | mine.keys())
        assert true <= loose.error_bound[0] + 1e-9
        assert loose.lost[0] <= tol


def test_a_mode_far_away_is_found():
    """From 20 molecules to 40 000, past a barrier; a well that is too deep for double precision is not certified."""
    law = cme.stationary(cme.parse("0 => X @ 20 + 40000*X^4/(600^4 + X^4); X -> 0 @ 1; X = 20"), method="projection")
    assert law.info["certificate"].startswith("certified")
    assert law.mean()[0, 0] == pytest.approx(40019.998, abs=0.01)
    deep = cme.stationary(cme.parse("0 => X @ 20 + 40000*X^20/(6000^20 + X^20); X -> 0 @ 1; X = 20"), method="projection")
    assert deep.info["certificate"].startswith("estimate: round-off may matter in the inf")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 -> X @ 3; X => 0 @ X^1.5", r"^estimate: no bound is known for the rate law X\^1\.5$"),
        ("0 -> geometric(2) X @ 1; X -> 0 @ 1", "^estimate: reactions draw numbers of molecules$"),
    ],
)
def test_says_why_there_is_no_certificate(text, reason):
    law = cme.stationary(cme.parse(text), method="projection")
    assert re.search(reason, law.info["certificate"])
    with pytest.raises(ValueError, match=r"there are no bounds of this law; estimate: "):
        law.bounds("X")


def test_a_finite_class_is_exact():
    law = cme.stationary(cme.parse("A <-> B @ 1, 2; A = 9"), method="projection")
    assert law.info["certificate"] == "exact: no jump leaves the states"
    assert law.lost[0] == 0.0


@pytest.mark.parametrize(
    ("text", "falls"),
    [
        ("X -> 2 X @ 0.5; X -> 0 @ 1; X = 5", "a quadratic form in X"),
        ("A + B -> 2 B @ 1; B -> 0 @ 0.1; A -> 2 A @ 0.5; A -> 0 @ 1; A = 10; B = 2", r"[\d.e-]+ A \+ [\d.e-]+ B"),
    ],
)
def test_an_end_to_which_all_paths_come_is_exact(text, falls):
    law = cme.stationary(cme.parse(text))
    assert law.states.tolist() == [[0] * len(law.species)]
    assert (law.lost[0], law.p[0, 0]) == (0, 1)
    assert re.search(f"^exact: all paths come to these states, since {falls} falls at a rate of .* outside those", law.info["certificate"])


@pytest.mark.parametrize(
    ("text", "ratio"),  # of deaths to births
    [
        ("X -> 2 X @ 2; X -> 0 @ 1; X = 5", lambda n: 0.5),
        ("X -> 2 X @ 1; X -> 0 @ 1; X = 5", lambda n: 1.0),
        ("X => 2 X @ X*(X - 1)/2 + 0.1*X; X -> 0 @ 1; X = 5", lambda n: 1 / ((n - 1) / 2 + 0.1)),  # to infinity in a finite time
    ],
)
def test_an_end_that_paths_may_miss_is_no_exact_answer(text, ratio):
    law = cme.stationary(cme.parse(text))
    assert law.states.tolist() == [[0]]
    weights = np.cumprod([1.0, *(ratio(n) for n in range(1, 400_000))])  # THEORY A.19: the chance to come to so many before 0
    gone = weights[:5].sum() / weights.cumsum()
    assert 2 * gone[-1] * (1 - 1e-3) < law.lost[0] < 2 * gone[4000] * (1 + 1e-3)
    with pytest.raises(
        ValueError, match=r"estimate: the law of the paths that end in these states, and a part of up to .* never come to them"
    ):
        law.bounds("X")


# ---------------------------------------------------------------------------------------------------------------- parts


def chain(seed, n=40, reach=3):
    """A random chain on a line that leaks at one end: matrix with its leak, and the leak."""
    rng = np.random.default_rng(seed)
    rates = np.zeros((n, n))
    for i in range(n):
        for j in range(max(0, i - reach), min(n, i + reach + 1)):
            if i != j:
                rates[i, j] = rng.exponential() * (rng.random() < 0.8 or abs(i - j) == 1)
    leak = np.where(np.arange(n) >= n - 3, rng.exponential(size=n), 0.0)
    return sp.csc_array(rates - np.diag(rates.sum(axis=0) + leak)), leak


@pytest.mark.parametrize("seed", range(3))
def test_cycles_by_elimination_and_by_LU_solve_the_same_equations(seed):
    matrix, leak = chain(seed)
    outside = leak * 2.5
    reference = 17
    order, half = cycle.banded(matrix, reference)
    banded, sparse = cycle.BandedCycle(matrix, leak, reference, order, half), cycle.SparseCycle(matrix, reference)
    censored = cycle.CensoredCycle(matrix, leak, reference, np.inf)
    others = np.delete(np.arange(40), reference)
    block = matrix.toarray()[np.ix_(others, others)]
    z = np.insert(np.linalg.solve(block, -matrix.toarray()[others, reference]), reference, 1.0)
    times = np.insert(np.linalg.solve(block.T, -(1 + outside)[others]), reference, 0.0)
    chances = np.insert(np.linalg.solve(block.T, -matrix.toarray()[reference, others]), reference, 1.0)
    for each in (banded, sparse, censored):
        assert each.z == pytest.approx(z, rel=1e-10)
        upper, lower = each.returns(outside)
        assert upper == pytest.approx(times, rel=1e-9)
        assert lower == pytest.approx(chances, rel=1e-9)
        assert np.all(upper >= times * (1 - 1e-12))
        assert np.all(lower <= chances * (1 + 1e-12))
        assert np.abs(each.z - z).sum() <= each.inaccuracy(upper) <= 1e-9 * z.sum()


def box(shape, seed):
    """A birth-death chain on a box with random rates, which fall towards the middle, and a leak at the far corner."""
    rng = np.random.default_rng(seed)
    states = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=-1)
    row, col, rate = [], [], []
    for s in range(len(shape)):
        for jump in (1, -1):
            to = states.copy()
            to[:, s] += jump
            inside = (to[:, s] >= 0) & (to[:, s] < shape[s])
            row.append(np.ravel_multi_index(tuple(to[inside].T), shape))
            col.append(np.flatnonzero(inside))
            rate.append((shape[s] / 3 if jump > 0 else states[inside, s]) * rng.uniform(0.5, 1.5, size=inside.sum()))
    row, col, rate = map(np.concatenate, (row, col, rate))
    leak = np.where(states.sum(axis=1) >= sum(shape) - len(shape) - 1, 1.0, 0.0)
    rates = sp.csc_array((rate, (row, col)), shape=(len(states), len(states)))
    return sp.csc_array(rates - sp.diags_array(rates.sum(axis=0) + leak)), leak, states


@pytest.mark.parametrize("shape", [(90, 80), (9, 8, 7, 9), (4, 5, 4, 5, 4, 4)])
def test_sweeps_and_blocks_solve_the_same_equations_as_LU(shape):
    matrix, leak, states = box(shape, 3)
    direct = cycle.SparseCycle(matrix, int(np.ravel_multi_index(tuple(n // 3 for n in shape), shape)))
    iterated = sweeps.IteratedCycle(matrix, states, direct.reference)
    assert len(np.unique(sweeps.blocks(states, matrix))) < 3000
    times, chances = direct.returns(3 * leak)
    upper, lower = iterated.returns(3 * leak)
    true = np.abs(iterated.z - direct.z).sum()
    assert true <= iterated.inaccuracy(upper) + direct.inaccuracy(times)
    assert iterated.inaccuracy(upper) <= 1e-6 * direct.z.sum()
    assert np.all(upper >= times * (1 - 1e-9))
    assert np.all(lower <= chances * (1 + 1e-9))
    assert upper == pytest.approx(times, rel=0.2)
    assert lower == pytest.approx(chances, abs=0.01)


def test_many_species_are_solved_by_sweeps_and_certified():
    """Three independent genes, each with the law of one alone."""
    one = "0 => G{i} @ 2*(1 - G{i}); G{i} -> 0 @ 3; G{i} -> G{i} + M{i} @ 4; M{i} -> 0 @ 1"
    network = cme.parse("; ".join(one.format(i=i) for i in range(3)))
    law = cme.stationary(network, tol=2e-2)
    assert law.info["method"] == "Gauss-Seidel sweeps and aggregation"
    assert law.info["certificate"].startswith("certified")
    truth = oracles.telegraph_stationary(40, 2, 3, 4)
    for i in range(3):
        assert error(law, f"M{i}", truth) <= law.error_bound[0] <= 2.1e-2


@pytest.mark.parametrize("text", ["3*X*(X-1)/2 - X*Y/7 + 4", "X^2/(3 + X + X^2)", "5/(1 + Y^2.5)", "2 + X*Y/(1 + Y)", "X*(1 - Y/(2 + Y))"])
def test_polynomials_bound_a_formula(text):
    rng = np.random.default_rng(1)
    for corner in ((0, 0), (4, 0), (3, 50)):
        values = {"X": law_bounds.variable(0, 2, corner[0]), "Y": law_bounds.variable(1, 2, corner[1])}
        found = law_bounds.bound(formula(text), values, 2)
        y = rng.exponential(30, size=(500, 2)).round()
        true = evaluate(formula(text), {"X": corner[0] + y[:, 0], "Y": corner[1] + y[:, 1]})
        low = sum(each[0] * y[:, 0] ** m[0] * y[:, 1] ** m[1] for m, each in found.items())
        high = sum(each[1] * y[:, 0] ** m[0] * y[:, 1] ** m[1] for m, each in found.items())
        assert np.all(low <= true + 1e-9 * np.abs(true))
        assert np.all(true <= high + 1e-9 * np.abs(true))


@pytest.mark.parametrize("text", ["X^1.5", "exp(X)", "1/X", "X/(Y - 1)"])
def test_formulas_without_a_bound(text):
    values = {"X": law_bounds.variable(0, 2, 0.0), "Y": law_bounds.variable(1, 2, 0.0)}
    with pytest.raises(law_bounds.NoBoundError):
        law_bounds.bound(formula(text), values, 2)


@pytest.mark.parametrize("name", ["A3", "A13", "two Poisson laws"])
def test_the_drift_falls_everywhere_outside(name):
    network = cme.parse(MORE[name][0])
    space = cme.StateSpace.around(network, size=12_000)
    law = ClosedLaw.on(cme.Generator.from_network(network, space))
    member = np.zeros(len(space), dtype=bool)
    member[law.members] = True
    rng = np.random.default_rng(5)
    for each in drift.find_drifts(space, law.members, law.pi):
        found, slow = each.over(space, member)
        assert not len(slow)
        far = space.states[rng.integers(len(space), size=4000)]
        free = [s for s in range(far.shape[1]) if far[:, s].max() > 1]
        far[:, free] += rng.exponential(10.0 ** rng.uniform(0, 5, size=(4000, 1)), size=(4000, len(free))).astype(np.int64)
        place = space.index(far)
        outside = far[~((place >= 0) & member[place])]
        assert len(outside) > 100
        assert found.mean_change(outside).max() <= -found.fall
        assert found.value(outside).min() >= 0


def test_the_way_back_from_a_set_that_leaves_it_by_one_jump():
    network = cme.parse("0 -> X @ 8; X -> 0 @ 1; X = 3")
    space = cme.StateSpace.reachable(network, bounds={"X": 20})
    member, everyone = np.ones(21, dtype=bool), np.arange(21)
    functions = drift.find_drifts(space, everyone, poisson.pmf(space.states[:, 0], 8))
    found = way_back.leading_back(functions, space, member)
    after = way_back.distance_after_leaving(found, space, member, everyone)
    np.testing.assert_allclose(after, np.where(space.states[:, 0] == 20, 8 * found.value(np.array([[21]])), 0.0), rtol=1e-13)
    member[space.states[:, 0] == 5] = False  # where the count rises on average
    with pytest.raises(
        way_back.MoreStatesError, match=r"^{X: 5} is not kept, and is not led back by ([\d.e-]+ X|a quadratic form in X)$"
    ) as more:
        way_back.leading_back(functions, space, member)
    assert more.value.states.tolist() == [[5]]
    member[space.states[:, 0] == 4] = False
    with pytest.raises(way_back.MoreStatesError, match=r"^2 states that are not kept, such as {X: [45]}, are not led back by"):
        way_back.leading_back(functions, space, member)
    there = way_back.leading_back(functions, space, member, goes_on=lambda states: states[:, 0] > 5)
    assert there.fall > 0
    with pytest.raises(drift.NoDriftError, match=r"is only proved to fall beyond a box of \de\+\d\d states"):
        way_back.leading_back(functions, space, member, most_points=1)


def test_what_would_not_be_a_bound():
    """Deliberate mutants: without the way back from outside, or without the chance to fail again, the bound is below the error."""
    network = cme.parse(ONE_STEP["a queue"][0])
    space = cme.StateSpace.reachable(network, bounds={"X": 40})
    law = ClosedLaw.on(cme.Generator.from_network(network, space))
    right = certificate.certify(space, law)
    truth = queue(3000)
    order = np.argsort(space.states[:, 0])
    true = np.abs(law.pi[order] - truth[:41]).sum() + truth[41:].sum()
    assert true <= right.lost
    kept = law.cycle.z.sum()
    mutant = law.cycle.z @ law.leak * 1.0  # one time unit outside, nothing afterwards
    assert 2 * mutant / (kept + mutant) < true


def test_lattice_knows_parity_and_conserved_sums():
    network = cme.parse("0 <-> 2 X @ 1, 1; A <-> B @ 1, 1; A = 2")
    home = np.array([0, 2, 0])
    points = lattice.lattice_points(network, np.zeros(3), np.array([5.0, 5, 5]), home)
    assert sorted(map(tuple, points.tolist())) == sorted((x, a, 2 - a) for x in (0, 2, 4) for a in range(3))
    with pytest.raises(lattice.TooManyPointsError):
        lattice.lattice_points(network, np.zeros(3), np.full(3, 1e4), home)
    changes = np.array([[2, 1], [0, 3]])
    found = lattice.spanned(np.array([[0, 0], [2, 1], [2, 4], [4, 5], [2, 2], [1, 0], [0, 3]]), changes)
    assert found.tolist() == [True, True, True, True, False, False, True]


@pytest.mark.parametrize("x", [0, 20])
def test_a_start_far_from_where_the_law_is_takes_no_accuracy(x):  # the fastest jumps alone lead to improbable states
    network = cme.parse(f"0 -> X @ 20; X -> 0 @ 1; 0 -> Y @ 3; Y -> 0 @ .5; X = {x}")
    law = cme.stationary(network, method="projection")
    p = poisson.pmf(law.states[:, 0], 20) * poisson.pmf(law.states[:, 1], 6)
    assert np.abs(p - law.p[0]).sum() + 1 - p.sum() <= law.error_bound[0]


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("2 X <-> 3 X @ 1, 1; X = 1", "X", [0, 1]),
        ("2 X -> 3 X @ 1; 3 X -> 2 X @ 5; Y -> 0 @ 1; 0 -> Y @ 1; X = 1; Y = 0", "X", [0, 1]),
        ("0 -> 2 B @ 1; 2 B -> 0 @ 0.2; B = 1; B + C -> C @ 0.5; C -> B + C @ 1; C = 0", "B", [0, 0.26819403]),
    ],
)
@pytest.mark.parametrize("method", ["auto", "projection"])
def test_states_that_no_path_reaches_have_no_part(text, name, values, method):  # though the proof may need them, or they lie in the box
    law = cme.stationary(cme.parse(text), method=method)
    np.testing.assert_allclose(law[name][0, :2], values, atol=1e-6)


def test_given_states_that_are_far_too_few_are_not_looked_beyond(monkeypatch):
    """Where thousands of times as many states would be needed, they are not listed for a sentence."""
    network = cme.parse("0 -> X @ 5; 0 -> Y @ 8; Y -> 0 @ .1; X -> 0 @ .01; Y = 1")
    space = cme.StateSpace.reachable(network, within="X + Y < 15")
    monkeypatch.setattr(drift, "lattice_points", None)
    law = cme.stationary(network, space=space)
    assert np.isnan(law.lost[0])
    assert re.search(r"^estimate: .* is only proved to fall beyond a box of \de\+\d\d states", law.info["certificate"])


def test_which_states_can_be_entered_from_others():
    network = cme.parse("A -> 2 A @ 1; 2 A -> B @ 1; B -> 2 B @ 1; B -> A @ 1")
    states = np.array([[0, 0], [1, 0], [0, 1], [2, 0], [0, 2], [3, 3]])
    rises = drift.Drift(Compiled(network), np.ones(2), np.zeros((2, 2)), np.zeros(2), 1.0, ())
    for kept in (states, states[1:3], states[:0], states[:2]):
        sources = {tuple(row) for row in np.ndindex(8, 8)} - {tuple(row) for row in kept.tolist()}
        met = set()
        while more := {to for a in sources | met for to in _jumps(*a) if list(to) in kept.tolist()} - met:
            met |= more
        assert rises._entered(kept).tolist() == [tuple(row) in met for row in kept.tolist()]


def _jumps(a: int, b: int) -> list[tuple[int, int]]:
    return [(a + 1, b)] * (a > 0) + [(a - 2, b + 1)] * (a > 1) + [(a, b + 1), (a + 1, b - 1)] * (b > 0)
