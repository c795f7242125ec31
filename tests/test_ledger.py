"""Sets of states and what is known of them: against a dictionary, however codes are packed, and however a set came about."""

import os
import subprocess
import sys
from collections import deque

import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cme
from cme import ledger
from cme.compiled import Compiled
from cme.kernels import reach

few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
TOGGLE = "0 => U @ 1 + 9/(1 + V^2); U -> 0 @ 1; 0 => V @ 1 + 9/(1 + U^2); V -> 0 @ 1"
GENE = "Off <-> On @ 1, 2; On -> On + M @ 5; M -> 0 @ 1; 2 M <-> D @ .1, .2; Off = 1"


@pytest.fixture(autouse=True, params=[2**16, 0], ids=["by hash", "direct"])
def _slots(request, monkeypatch):
    """Each test with small sets looked up by hash, as is usual, and with codes that are slots wherever there is room for that."""
    monkeypatch.setattr(ledger, "DIRECT", request.param)


def twin(network, upper, within=lambda state: True):
    """States in the order in which breadth-first search meets them, and the generator and leak on them, by plain dictionaries."""
    start = [tuple(state) for state in np.unique(Compiled(network).start()[0], axis=0).tolist()]
    index, queue = {state: n for n, state in enumerate(start)}, deque(start)
    while queue:
        state = queue.popleft()
        for a, change in zip(Compiled(network).propensities(np.array(state)), network.stoichiometry, strict=True):
            new = tuple((np.array(state) + change).tolist())
            if a > 0 and all(x <= y for x, y in zip(new, upper, strict=True)) and new not in index and within(new):
                index[new] = len(index)
                queue.append(new)
    return index, *columns_of(network, index)


def columns_of(network, index):
    matrix, leak = np.zeros((len(index), len(index))), np.zeros(len(index))
    for state, n in index.items():
        for a, change in zip(Compiled(network).propensities(np.array(state)), network.stoichiometry, strict=True):
            if np.any(change):
                to = index.get(tuple((np.array(state) + change).tolist()))
                matrix[n, n] -= a
                if to is None:
                    leak[n] += a
                else:
                    matrix[to, n] += a
    return matrix, leak


def agrees(space):
    """Is the generator of a space what its states say?"""
    network = space.compiled.network
    index = {tuple(state): n for n, state in enumerate(space.states.tolist())}
    assert len(index) == len(space)
    matrix, leak = columns_of(network, index)
    generator = cme.Generator.from_network(network, space)
    assert np.allclose(generator.matrix.toarray(), matrix, rtol=1e-13, atol=1e-300)
    assert np.allclose(generator.leak, leak, rtol=1e-13, atol=1e-300)
    rows, columns = generator.matrix.indices, np.repeat(np.arange(len(space)), np.diff(generator.matrix.indptr))
    assert np.all(np.diff(columns * len(space) + rows) > 0)  # in order, and each entry once
    assert np.array_equal(space.index(space.states), np.arange(len(space)))
    return True


@pytest.mark.parametrize("bits", [64, 11, 6, 0])
def test_states_and_generator_equal_those_of_a_dictionary(bits, monkeypatch):
    """64 bits; so few that fields are too narrow and chosen again, and at last hashes take their place; hashes alone."""
    monkeypatch.setattr(ledger, "BITS", bits)

    @few
    @given(strategies.networks())
    def check(network):
        upper = [11] * len(network.species)
        network = network.with_initial([min(int(x), 11) for x in Compiled(network).start()[0][0]])
        space = cme.StateSpace.reachable(network, bounds=dict.fromkeys(network.species_names, 11))
        index, matrix, leak = twin(network, upper)
        assert space.states.tolist() == [list(state) for state in index]
        generator = cme.Generator.from_network(network, space)
        assert np.allclose(generator.matrix.toarray(), matrix, rtol=1e-13, atol=1e-300)
        assert np.allclose(generator.leak, leak, rtol=1e-13, atol=1e-300)

    check()


def test_fields_are_chosen_again_when_counts_outgrow_them(monkeypatch):
    monkeypatch.setattr(ledger, "BITS", 8)
    monkeypatch.setattr(ledger, "DIRECT", 2**16)
    packings = []
    choose = ledger.Ledger._packing
    monkeypatch.setattr(ledger.Ledger, "_packing", lambda self, most: packings.append(choose(self, most)) or packings[-1])
    space = cme.StateSpace.around(cme.parse("Off <-> On @ 1, 1; 0 -> A @ 1; A -> 0 @ 1; Off = 1"), size=600)
    assert [packing.exact for packing in packings] == [1, 1, 1, 0]
    assert np.array_equal(space.index(space.states), np.arange(len(space)))


def test_counts_up_to_2_to_the_31():
    large = 2**31
    pair = cme.StateSpace.around(cme.parse(f"A <-> B @ 1, 1; 0 -> C @ 1; C -> 0 @ 1; A = {large}; C = {large}"), size=2000)
    assert pair._ledger.packing.exact
    assert agrees(pair.keep(np.arange(len(pair)) < 300))
    names = "ABCD"
    four = cme.StateSpace.around(cme.parse("; ".join(f"0 -> {x} @ 1; {x} -> 0 @ 1; {x} = {large}" for x in names)), size=300)
    assert not four._ledger.packing.exact
    assert agrees(four)


@pytest.mark.parametrize(
    ("text", "bounds", "size"),
    [
        (";".join(f"A{i} <-> B{i} @ .001, 1; A{i} = 1" for i in range(70)), {}, 200),
        ("0 -> X @ 1; X -> 0 @ 1; 0 -> Y @ 1; Y -> 0 @ 1; X -> Z @ 1; Z -> 0 @ 1", {"Z": 0}, 60),
        ("0 -> X @ 1; X -> 0 @ 1; 0 -> Y @ 1; Y -> 0 @ 1; X -> Z @ 1; Z -> 0 @ 1", {"X": 5, "Y": 4, "Z": 0}, 30),
    ],
)
def test_a_count_that_is_left_no_bits_as_others_take_all(text, bounds, size):
    """As it is always 0, or of more than 64 species: then the fields are chosen again when it is needed."""
    network = cme.parse(text)
    within = {} if len(bounds) == 3 else {"within": lambda states: states.sum(axis=1) < 10}
    space = cme.StateSpace.reachable(network, bounds=bounds, **within) if bounds else cme.StateSpace.around(network, size=size)
    assert len(space) >= 30
    assert agrees(space if bounds else space.keep(np.arange(len(space)) < size))


def test_what_no_reaction_changes_is_not_in_the_key():
    network = cme.parse("A <-> B @ 1, 2; species C; species D; A = 1").with_initial({(1, 0, 0, 4): 0.5, (2, 0, 0, 4): 0.5})
    space = cme.StateSpace.reachable(network)
    assert space.key.tolist() == [0, 1]
    assert agrees(space)
    apart = cme.StateSpace.reachable(network.with_initial({(1, 0, 0, 4): 0.5, (1, 0, 3, 4): 0.5}))
    assert apart.key.tolist() == [0, 1, 2]
    assert agrees(apart)


def test_codes_are_slots_where_there_is_room_for_a_box_of_states(monkeypatch):
    """Counts that outgrow the box ask for a larger one; one species that is far ahead of the others for hashes."""
    monkeypatch.setattr(ledger, "DIRECT", 0)
    network = cme.parse("0 -> A @ 1; A -> 0 @ 1; 0 -> B @ 1; B -> 0 @ 1")
    space = cme.StateSpace.around(network, size=3)
    while len(space) < 2000:
        space = space.grow(np.arange(len(space)), layers=3)
        assert space._ledger.packing.slots
        assert len(space._ledger.table) == space._ledger.packing.slots
    assert agrees(space.keep(space.states.sum(axis=1) % 7 < 5))
    assert np.all(space.index(space.states + np.array([0, 1000])) == -1)
    far = cme.StateSpace.around(cme.parse("0 -> A @ 1; A -> 0 @ 1; 0 -> B @ 1; B -> 0 @ 1; A = 100000"), size=300)
    assert far._ledger.packing.slots == 0
    assert agrees(far)


def test_a_large_set_knows_its_bounds_and_its_jumps():
    """More states than codes that are slots begin with: a triangle, in which place and neighbours are known."""
    network = cme.parse("0 -> U @ 3; U -> 0 @ 1; 0 -> V @ 2; V -> 0 @ 1")
    space = cme.StateSpace.reachable(network, within="2*U + 2*V <= 2*600 && U - V < 500")
    assert len(space) == sum(1 for u in range(601) for v in range(601 - u) if u - v < 500)
    assert space._ledger.packing.slots == 601 * 601
    assert space._ledger.ends.tolist() == [600, 600]
    generator = cme.Generator.from_network(network, space)
    u, v = space.states.T
    out = 5.0 * (u + v == 600) + 3.0 * ((u - v == 499) & (u + v < 600)) + v * (u - v == 499)
    assert np.array_equal(generator.leak, out)
    assert np.array_equal(generator.matrix.diagonal(), -(5.0 + u + v))
    moves = generator.matrix.tocoo()
    du, dv = (space.states[moves.row] - space.states[moves.col]).T
    for change, rate in (((1, 0), 3.0 + 0 * u), ((-1, 0), u), ((0, 1), 2.0 + 0 * v), ((0, -1), v)):
        there = space.index(space.states + change)
        here = (du == change[0]) & (dv == change[1])
        assert np.array_equal(moves.row[here], there[moves.col[here]])
        assert np.array_equal(moves.data[here], rate[moves.col[here]])
        assert here.sum() == np.count_nonzero(rate[there >= 0])


# --------------------------------------------------------------------------------------------------------------- conditions


@few
@given(strategies.networks(max_start=4), st.booleans())
def test_a_condition_as_formula_and_as_function(network, as_formula):
    total = " + ".join(network.species_names)
    index, matrix, leak = twin(network, [2**40] * len(network.species), lambda state: sum(state) <= 15)
    within = f"{total} <= 15" if as_formula else lambda states: states.sum(axis=1) <= 15
    space = cme.StateSpace.reachable(network, within=within)
    assert space.states.tolist() == [list(state) for state in index]
    generator = cme.Generator.from_network(network, space)
    assert np.allclose(generator.matrix.toarray(), matrix, rtol=1e-13, atol=1e-300)
    assert np.allclose(generator.leak, leak, rtol=1e-13, atol=1e-300)
    assert len(space.grow(np.arange(len(space)))) == len(space)


def test_a_condition_knows_parameters_rules_and_bounds():
    network = cme.parse("0 -> U @ 1; 0 -> V @ 1; most = 6; W := 2*U + V")
    space = cme.StateSpace.reachable(network, within="W <= most && !(U == 1 && V == 1)", bounds={"V": 3})
    expected = [(u, v) for u in range(4) for v in range(4) if 2 * u + v <= 6 and (u, v) != (1, 1)]
    assert sorted(map(tuple, space.states.tolist())) == expected
    other = space.under(network.with_parameters(most=1))  # the same states
    assert len(other.grow(np.arange(len(other)))) == len(space)


@pytest.mark.parametrize("within", ["P <= 9", lambda states: states[:, 0] <= 9])
def test_conditions_where_numbers_are_drawn(within):
    network = cme.parse("0 -> geometric(2) P @ 1; P -> 0 @ 1")
    space = cme.StateSpace.reachable(network, within=within)
    assert sorted(space.states[:, 0].tolist()) == list(range(10))
    same = cme.StateSpace.reachable(network, bounds={"P": 9})
    order, other = np.argsort(space.states[:, 0]), np.argsort(same.states[:, 0])
    one, two = cme.Generator.from_network(network, space).matrix.toarray(), cme.Generator.from_network(network, same).matrix.toarray()
    assert np.allclose(one[np.ix_(order, order)], two[np.ix_(other, other)], rtol=1e-13)


def test_fsp_on_a_triangle():
    """A.1: two Poisson laws cut off at U + V <= 12; what is lost is what is missing."""
    network = cme.parse("0 -> U @ 1; U -> 0 @ 1; 0 -> V @ 1; V -> 0 @ 1")
    law = cme.fsp(network, [1.0], space=cme.StateSpace.reachable(network, within="U + V <= 12"))
    assert len(law.states) == 13 * 14 // 2
    mean = 1 - np.exp(-1.0)
    gap = law["U"][0, :8] - mean ** np.arange(8) * np.exp(-mean) / np.cumprod([1, *range(1, 8)])
    assert np.abs(gap).sum() <= law.error_bound[0] < 1e-7


@pytest.mark.parametrize(
    ("within", "error", "message"),
    [
        ("U + W <= 3", ValueError, "within='U [+] W <= 3' uses 'W', which the network does not have"),
        ("U + V", ValueError, "within='U [+] V' is no condition; write one that is true or false"),
        ("U < time", ValueError, "within='U < time' uses the time; a set of states is one for all times"),
        ("V >= 1", ValueError, r"the initial state \{U: 1, V: 0\} does not fulfil within='V >= 1'"),
        (7, TypeError, "within must be a formula such as 'U [+] V <= 100', or a function of states"),
        (lambda states: states, ValueError, r"within must say True or False for each of 1 states, not int64 of shape \(1, 2\)"),
    ],
)
def test_conditions_that_are_none(within, error, message):
    with pytest.raises(error, match=message):
        cme.StateSpace.reachable(cme.parse("0 -> U @ 1; 0 -> V @ 1; U = 1"), within=within)


# ---------------------------------------------------------------------------------------------------- growing and keeping


@few
@given(
    strategies.networks(max_start=6),
    st.lists(st.tuples(st.sampled_from(["layers", "size", "keep", "order", "look", "forget"]), st.integers(0, 2**32))),
)
def test_a_set_that_grew_and_shrank_equals_one_made_afresh(network, steps):
    space = cme.StateSpace.around(network, size=5)
    before = []
    for step, seed in steps[:6]:
        rng = np.random.default_rng(seed)
        before.append((space, space.states.copy()))
        sources = rng.permutation(len(space))[: int(rng.integers(1, len(space) + 1))]
        match step:
            case "layers":
                space = space.grow(sources, layers=int(rng.integers(1, 3)), size=120)
            case "size":
                space = space.grow(sources, size=len(space) + int(rng.integers(0, 20)))
            case "keep":
                kept = rng.random(len(space)) < 0.7
                kept[0] = True
                space = space.keep(kept)
            case "order":
                space = space.keep(sources)
                assert np.array_equal(space.states, before[-1][1][sources])
            case "look":
                space.transitions()
            case "forget":
                space.forget()
    assert agrees(space)
    for old, states in before[::2]:
        assert np.array_equal(old.states, states)
        assert agrees(old)


def test_what_is_forgotten_is_found_again():
    space = cme.StateSpace.around(cme.parse(TOGGLE), size=300)
    pointer, row, rate, leak = space.transitions()
    space.forget()
    assert space._ledger.rate.nbytes + space._ledger.to.nbytes + space._ledger.table.nbytes == 0
    few = space.keep(np.arange(10)[::-1])
    assert space._ledger.is_asleep
    assert np.array_equal(few.states, space.states[9::-1])
    assert np.array_equal(space.index(space.states), np.arange(len(space)))
    for one, other in zip((pointer, row, rate, leak), space.transitions(), strict=True):
        assert np.array_equal(one, other)
    space.forget()
    assert len(space.grow(np.arange(len(space)), size=500)) >= 500
    drawing = cme.StateSpace.around(cme.parse("0 -> geometric(2) P @ 1; P -> 0 @ 1"), size=20)
    drawing.forget()
    assert len(drawing.grow(np.arange(len(drawing)), size=40)) >= 40
    drawing.forget()
    assert drawing.transitions()[0][-1] > 100


def test_two_sets_that_grow_out_of_one():
    space = cme.StateSpace.around(cme.parse(TOGGLE), size=30)
    one, other = space.grow(np.array([len(space) - 1]), layers=4), space.grow(np.array([5, 6]), layers=9)
    assert one.states.tolist() != other.states.tolist()
    assert agrees(space)
    assert agrees(one)
    assert agrees(other)
    assert np.all(space.index(one.states[len(space) :]) == -1)


def test_what_is_known_is_not_computed_again(monkeypatch):
    visited = []
    explore = reach.explore

    def watched(*arguments):
        rate = arguments[-3]
        size = arguments[-7][0]
        before = np.isnan(rate[:size, 0]).sum()
        status = explore(*arguments)
        visited.append(int(before - np.isnan(rate[:size, 0]).sum()))
        return status

    space = cme.StateSpace.around(cme.parse(TOGGLE), size=300)
    space.transitions()
    monkeypatch.setattr(reach, "explore", watched)
    larger = space.grow(np.arange(200, 300), layers=1)
    assert sum(visited) == 0  # the sources were visited
    larger.transitions()
    assert sum(visited) == len(larger) - len(space)
    larger.keep(np.arange(len(larger)) % 3 > 0).transitions()
    larger.transitions()
    assert len(visited) == 2


def test_after_an_error_the_space_is_as_it_was():
    network = cme.parse("0 => X @ 4 - X; X -> 0 @ 1")
    space = cme.StateSpace.around(network, size=3)
    for _ in range(2):
        with pytest.raises(cme.ModelError, match=r"the propensity 4 - X of reaction 'r1' is negative in state \{X: 5\}"):
            cme.StateSpace.holding(network, np.array([[4], [5]])).grow(np.array([0, 1]))
        larger = space.grow(np.arange(len(space)), size=5)
        assert agrees(larger)
        assert agrees(space)


def test_a_state_given_twice():
    with pytest.raises(ValueError, match="holds each state once, and one is given twice"):
        cme.StateSpace.holding(cme.parse(TOGGLE), np.array([[1, 1], [2, 1], [1, 1]]))


# ------------------------------------------------------------------------------------------------------------ plain Python


def fingerprint():
    """What the kernels make of two networks, as text."""
    lines = []
    for text, size in ((TOGGLE, 60), (GENE, 40)):
        space = cme.StateSpace.around(cme.parse(text), size=size)
        space = space.grow(np.arange(3), layers=2).keep(np.arange(len(space.grow(np.arange(3), layers=2))) % 5 > 0)
        lines += [array.tobytes().hex() for array in (space.states, *space.transitions(), space.index(space.states + 1))]
    return "\n".join(lines)


@pytest.mark.parametrize("bits", ["64", "0"])
def test_kernels_equal_their_plain_python_form_bit_by_bit(bits, monkeypatch):
    monkeypatch.setattr(ledger, "BITS", int(bits))
    command = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_ledger; test_ledger.ledger.BITS = int(sys.argv[2]); "
        "print(test_ledger.fingerprint())"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__), bits], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()
