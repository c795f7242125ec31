"""State spaces and generators."""

import numpy as np
import pytest
from scipy.special import comb

import cme


def test_conserved_classes_are_simplices():
    network = cme.parse("A <-> B @ 1, 2; B <-> C @ 3, 4; A = 20")
    space = cme.StateSpace.reachable(network)
    assert len(space) == comb(22, 2, exact=True)
    assert np.all(space.states.sum(axis=1) == 20)
    assert len(space.key) == 2  # the third species is given by the total


def test_states_that_no_path_reaches_are_not_there():
    even = cme.StateSpace.reachable(cme.parse("2 A <-> B @ 1, 1; A = 10"))
    assert np.all(even.states[:, 0] % 2 == 0)
    gene = cme.StateSpace.reachable(cme.parse("Off <-> On @ 1, 1; On -> On + M @ 1; M -> 0 @ 1; Off = 1"), bounds={"M": 5})
    assert len(gene) == 2 * 6


def test_initial_states_of_different_classes_are_told_apart():
    network = cme.parse("A <-> B @ 1, 2; A = 1").with_initial({(2, 0): 0.5, (3, 0): 0.5})
    assert len(cme.StateSpace.reachable(network)) == 3 + 4
    idle = cme.parse("A <-> B @ 1, 2; species C; A = 1").with_initial({(1, 0, 0): 0.5, (1, 0, 7): 0.5})
    assert len(cme.StateSpace.reachable(idle)) == 4


def test_index_finds_states_and_only_those():
    space = cme.StateSpace.reachable(cme.parse("A <-> B @ 1, 2; A = 9"))
    assert np.all(space.index(space.states) == np.arange(10))
    assert list(space.index(np.array([[0, 10], [9, 1], [9, 0]]))) == [-1, -1, 0]
    assert list(space.index([9.0, 0.0])) == [0]
    assert len(space.index(np.zeros((0, 2)))) == 0


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([5], r"states must be an array of shape \(K, 2\), with columns A, B, not of shape \(1, 1\)"),
        ([[[9, 0]]], r"states must be an array of shape \(K, 2\), with columns A, B, not of shape \(1, 1, 2\)"),
        ([8.5, 0.5], "states must be whole numbers of molecules, not 8.5"),
        ([2**63, 0], "states must be counts below 2^63, not 9.22"),
    ],
)
def test_states_that_are_looked_up_are_counts(states, message):
    space = cme.StateSpace.reachable(cme.parse("A <-> B @ 1, 2; A = 9"))
    with pytest.raises(ValueError, match=message.replace("^", r"\^")):
        space.index(states)


def test_growth_keeps_old_states_first_and_keep_rebuilds():
    space = cme.StateSpace.around(cme.parse("0 -> X @ 1; X -> 0 @ 1; X = 5"), size=3)
    larger = space.grow(np.arange(len(space)), layers=3)
    assert np.all(larger.states[: len(space)] == space.states)
    assert len(larger) == len(space) + 6 - max(0, 3 - space.states.min())
    odd = larger.keep(larger.states[:, 0] % 2 == 1)
    assert np.all(odd.index(odd.states) == np.arange(len(odd)))


def test_no_reactions_is_one_state():
    space = cme.StateSpace.reachable(cme.parse("species A; A = 4"))
    assert space.states.tolist() == [[4]]
    assert cme.Generator.from_network(cme.parse("species A; A = 4")).matrix.toarray().tolist() == [[0.0]]


def test_generator_against_rates_by_hand():
    """M14: W(x + nu, x) = a(x); the diagonal is minus the sum."""
    network = cme.parse("0 -> X @ 3; 2 X -> 0 @ 0.5")
    space = cme.StateSpace.reachable(network, bounds={"X": 3})
    generator = cme.Generator.from_network(network, space)
    order = np.argsort(space.states[:, 0])
    expected = np.zeros((4, 4))
    for n in range(4):
        if n < 3:
            expected[n + 1, n] += 3
        if n >= 2:
            expected[n - 2, n] += 0.5 * n * (n - 1) / 2
        expected[n, n] = -3 - 0.5 * n * (n - 1) / 2
    assert np.array_equal(generator.matrix.toarray()[np.ix_(order, order)], expected)
    assert generator.leak[order].tolist() == [0, 0, 0, 3]
    assert np.allclose(generator.matrix.sum(axis=0), -generator.leak, atol=1e-15)


def test_two_reactions_between_the_same_states_add_up():
    generator = cme.Generator.from_network(cme.parse("A -> B @ 1; A -> B @ 2; A = 1"))
    assert generator.matrix.toarray().tolist() == [[-3.0, 0.0], [3.0, 0.0]]


def test_ehrenfest_spectrum():
    """A.20, A.21: A <-> B with unit rates has eigenvalues -2 k."""
    matrix = cme.Generator.from_network(cme.parse("A <-> B @ 1, 1; A = 8")).matrix.toarray()
    assert np.allclose(np.sort(np.linalg.eigvals(matrix).real), -2.0 * np.arange(8, -1, -1), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 -> X @ 1", "more than max_states=50 states can be reached .* give bounds"),
        ("A => B @ 1; A = 2", r"reaction 'r1' fires in state \{A: 0, B: 2\} and would drive a count below zero; its propensity 1 must"),
        ("A -> B @ -1; A = 2", r"the propensity -1\*A of reaction 'r1' is negative in state \{A: 2, B: 0\}"),
        ("A => B @ A/B; A = 2", r"the propensity A/B of reaction 'r1' is not a finite number in state \{A: 2, B: 0\}"),
        ("A -> B @ 1; A = 0.5", "species 'A' starts at 0.5, not a whole number of molecules"),
    ],
)
def test_refusals(text, message):
    with pytest.raises((cme.ModelError, cme.ConvergenceError), match=message):
        cme.StateSpace.reachable(cme.parse(text), max_states=50)


def test_bounds_name_species():
    with pytest.raises(ValueError, match="bounds names 'Y', which is no species; there are X"):
        cme.StateSpace.reachable(cme.parse("0 -> X @ 1"), bounds={"Y": 3})
    with pytest.raises(ValueError, match="outside the bounds"):
        cme.StateSpace.reachable(cme.parse("0 -> X @ 1; X = 9"), bounds={"X": 3})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bounds": {"X": 2.7}}, TypeError, "the bound of 'X' must be a whole number, not 2.7"),
        ({"bounds": {"X": "a"}}, TypeError, "the bound of 'X' must be a whole number, not 'a'"),
        ({"bounds": {"X": np.nan}}, TypeError, "the bound of 'X' must be a whole number, not nan"),
        ({"bounds": {"X": -1}}, ValueError, "the bound of 'X' must be at least 0, not -1"),
        ({"bounds": [3]}, TypeError, r"bounds must be a mapping from species to largest counts, such as {'X': 100}, not \[3\]"),
        ({"max_states": 2.5}, TypeError, "max_states must be a whole number, not 2.5"),
        ({"max_states": 0}, ValueError, "max_states must be at least 1, not 0"),
    ],
)
def test_bounds_are_counts(options, error, message):
    with pytest.raises(error, match=message):
        cme.StateSpace.reachable(cme.parse("0 -> X @ 1; X = 9"), **options)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([[5.5]], "whole numbers of molecules, not 5.5"),
        ([[np.nan]], "whole numbers of molecules, not nan"),
        ([["a"]], "whole numbers of molecules, not a"),
        (np.array([[2**63]], dtype=np.uint64), r"counts below 2\^63, not 9223372036854775808"),
        ([[1e30]], r"counts below 2\^63, not 1e\+30"),
        ([1, 2], r"an array of shape \(K, 1\), with columns X, not of shape \(2,\)"),
        ([[1, 2]], r"an array of shape \(K, 1\), with columns X, not of shape \(1, 2\)"),
        ([[1], [1, 2]], r"an array of shape \(K, 1\), with columns X"),
    ],
)
def test_given_states_are_whole_counts_of_all_species(states, message):
    with pytest.raises(ValueError, match=f"states must be {message}"):
        cme.StateSpace.holding(cme.parse("0 -> X @ 1"), states)
    assert cme.StateSpace.holding(cme.parse("0 -> X @ 1"), [[3.0], [4]]).states.tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ([True, False], r"True or False for each of 3 states, not be of shape \(2,\)"),
        ([1, 1], "names the place 1 more than once"),
        ([1, 1000], "names the place 1000; there are 3 states"),
        ([-1], "names the place -1; there are 3 states"),
        ([1.5], "3 times True or False, or places of states, not float64"),
        ([[0]], "3 times True or False, or places of states, not int64"),
    ],
)
def test_kept_is_a_mask_or_places(kept, message):
    space = cme.StateSpace.holding(cme.parse("0 -> X @ 1"), [[0], [1], [2]])
    with pytest.raises(ValueError, match=f"^kept .*{message}"):
        space.keep(kept)
    assert space.keep([2, 0]).states.tolist() == [[2], [0]]
    assert len(space.keep([])) == 0


def test_large_space_is_enumerated():
    network = cme.parse("0 => U @ 2 + 60*400/(400+V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400+U^2); V -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"U": 449, "V": 449})
    generator = cme.Generator.from_network(network, space)
    assert len(space) == 450**2
    assert abs(generator.sparse().sum(axis=0) + generator.leak).max() < 1e-11
