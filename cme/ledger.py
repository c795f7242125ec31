"""`Ledger`: what is known of a growing set of states, in arrays that are added to and copied only to make room."""

import math
from functools import cached_property
from threading import RLock

import numpy as np

from cme import errors, memory, ratelaw
from cme.affine import bounded_sums
from cme.compiled import Compiled
from cme.kernels import reach
from cme.programs import csr, to_program

UNBOUNDED = np.iinfo(np.int64).max
MOST = 2**31 - 1  # states, since places are kept in 32 bits
BITS = 64  # of a code
DIRECT = 2**16  # states from which on their codes may be slots of the table
MARGIN = 1.2  # codes that are slots leave at least so much room for larger counts
REMEMBERED = 4096  # counts for which values of a law of one species are kept
FEWER = "keep fewer states (bounds=, within=, max_states=, a larger tol), or use ssa"
one_at_a_time = RLock()  # sets that share a ledger may be used by several threads


class Ledger:
    """The states of a network with their codes, the rates of their jumps and where these lead.

    A set that grew out of another shares its ledger: the smaller one is the first states of it, and what leads to later ones leads out
    of it. Growing visits new states, and of the old ones only those from which it starts.

    Parameters
    ----------
    states : (N, S)
        All different.
    key : (D,)
        The species that tell them and all later states apart.
    upper : (S,)
        Largest counts of states to come.
    within
        A condition on states to come, with only species left in it.
    """

    states: np.ndarray
    codes: np.ndarray
    to: np.ndarray
    rate: np.ndarray
    table: np.ndarray
    packing: reach.Packing

    def __init__(self, compiled: Compiled, states: np.ndarray, key: np.ndarray, upper: np.ndarray, within: ratelaw.Expr | None = None):
        self.compiled, self.key, self.upper, self.within = compiled, key, upper, within
        self.size = 0
        self.settled = 0  # how many states there were when all jumps between them were known
        self._make_room(len(states))
        self.states[: len(states)] = states
        self.to[: len(states)], self.rate[: len(states), 0] = reach.OUT, np.nan
        self.size = len(states)
        self._pack(states.max(axis=0, initial=0))

    def explore(self, sources: np.ndarray, layers: int, size: int) -> None:
        """Add what the states `sources` lead to, layer by layer, until `layers` are done or `size` states are passed."""
        self._recall()
        sources = np.ascontiguousarray(sources, dtype=np.int64)
        with one_at_a_time:
            before, cursor = self.size, np.array([self.size, 0, len(sources), 0, self.size])
            self._walk(True, layers, size, sources, cursor)
            if cursor[1] == len(sources) + self.size - before and np.array_equal(sources, np.arange(before)):
                self.settled = self.size  # all of them were visited

    def columns(self, n_states: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The generator on the first states as CSC arrays (pointer, row, rate) in order, with the diagonal, and the leak (N,)."""
        with one_at_a_time:
            self._recall()
            if self.settled < self.size:
                self._walk(False, 1, UNBOUNDED, np.empty(0, dtype=np.int64), np.array([self.size, 0, self.size, 0, 0]))
                self.settled = self.size
        n_reactions = len(self.compiled.network.reactions)
        most = n_states * (n_reactions + 1)
        if most > 2**20:
            memory.require_memory(12 * most + 20 * n_states, f"the rates between {n_states} states", FEWER)
        pointer, leak = np.empty(n_states + 1, dtype=np.int32 if most <= MOST else np.int64), np.empty(n_states)
        row, rate, order = np.empty(most, dtype=np.int32), np.empty(most), np.arange(n_reactions + 1)
        reach.list_columns(self.to, self.rate, n_reactions, n_states, order, np.empty_like(order), pointer, row, rate, leak)
        n_entries = int(pointer[-1])
        if n_entries <= MOST:
            return pointer.astype(np.int32, copy=False), row[:n_entries], rate[:n_entries], leak
        return pointer, row[:n_entries].astype(np.int64), rate[:n_entries], leak

    def spread(self, places: np.ndarray, flow: np.ndarray, outside: int, slow: float) -> np.ndarray:
        """What the states from `outside` on get of a flow, see `reach.spread`."""
        self._recall()
        reached = np.zeros(self.size - outside)
        reach.spread(self.to, self.rate, len(self.compiled.network.reactions), outside, slow, places, flow, reached)
        return reached

    def index(self, wanted: np.ndarray, n_states: int) -> np.ndarray:
        """The place of each wanted state (K, S) among the first states, -1 where it is not."""
        self._recall()
        found = np.empty(len(wanted), dtype=np.int64)
        reach.look_up(self.packing, self.states, self.codes, self.table, wanted, found)
        found[found >= n_states] = -1
        return found

    def selected(self, places: np.ndarray, n_states: int) -> "Ledger":
        """A ledger of those of the first states that are at some places (K,), in that order; no rate is computed again."""
        n_kept = len(places)
        other = object.__new__(type(self))
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name not in _ARRAYS})
        other.size = other.settled = 0
        if self.is_asleep:
            other.states, other.codes, other.size = self.states[places], self.codes[places], n_kept
            other.forget()
            return other
        other._make_room(n_kept)
        where = np.full(n_states, reach.OUT, dtype=np.int64)
        where[places] = np.arange(n_kept)
        old, new = (self.states, self.codes, self.to, self.rate), (other.states, other.codes, other.to, other.rate)
        reach.move_jumps(*old, where, n_states, 0 if self._is_random else len(self.compiled.network.reactions), *new)
        other.size = n_kept
        other.settled = n_kept if self.settled >= n_states else 0
        other._fill(coded=True)
        return other

    # ------------------------------------------------------------------------------------------------------- arrays

    def forget(self) -> None:
        """Give the memory back of all but the states, most of it, until it is asked for again: then all is computed again."""
        self.states, self.codes = self.states[: self.size], self.codes[: self.size]
        self.to, self.rate, self.table = np.empty((0, 2), dtype=np.int32), np.empty((0, 2)), np.empty(0, dtype=np.int64)
        self.settled = 0

    @property
    def is_asleep(self) -> bool:
        return len(self.table) == 0

    def _recall(self) -> None:
        """Room for what was given back."""
        if self.is_asleep:
            known, self.size = (self.states, self.codes), 0
            self._make_room(len(known[0]))
            self.size = len(known[0])
            if self.size == len(self.codes):
                self.states, self.codes = known
            else:
                self.states[: self.size], self.codes[: self.size] = known
            self.to[: self.size], self.rate[: self.size, 0] = reach.OUT, np.nan
            self._fill(coded=True)

    def _make_room(self, room: int) -> None:
        """Arrays for `room` states, or for fewer if there is not the memory, with what is known; the table is not filled."""
        room, known = max(room, 8), self.size
        # Rows of one number would be arrays of another kind, for which kernels are compiled again. Random jumps are not kept.
        n_jumps = 2 if self._is_random else max(len(self.compiled.network.reactions), 2)
        least = max(known + known // 4 + len(self.compiled.network.reactions), room if not known else 0)
        if room > 2**16 and self.bytes_for(room) > (memory.available() or math.inf):
            room = min(room, least)
            what = f"{room} states of {len(self.upper)} species, with where their {n_jumps} reactions lead,"
            memory.require_memory(self.bytes_for(room), what, FEWER)
        if room > MOST:
            raise errors.ConvergenceError(f"{room} states are more than can be kept ({MOST}); {FEWER}")
        for name, row, kind in (
            ("states", (len(self.upper),), "i8"),
            ("codes", (), "u8"),
            ("to", (n_jumps,), "i4"),
            ("rate", (n_jumps,), "f8"),
        ):
            larger = np.empty((room, *row), dtype=kind)
            if known:
                larger[:known] = getattr(self, name)[:known]
            setattr(self, name, larger)

    def _enlarge(self, room: int) -> None:
        """Room for more states, and the table for it; where codes are slots, it remains as it is."""
        refill = self.packing.slots == 0
        if refill:
            self.table = np.empty(0, dtype=np.int64)  # its memory is of use
        self._make_room(room)
        if refill:
            self._fill(coded=True)

    def bytes_for(self, room: int) -> int:
        """The memory for so many states."""
        n_jumps = 2 if self._is_random else max(len(self.compiled.network.reactions), 2)
        return room * (8 * len(self.upper) + 8 + 12 * n_jumps) + 8 * _slots(room)

    def _pack(self, most: np.ndarray) -> None:
        """Codes for counts up to `most`, and the table."""
        self.packing = self._small_codes(most) or self._packing(most)
        self._fill(coded=False)

    def _fill(self, coded: bool) -> None:
        """The table; codes are written down unless that was done, or others are better now."""
        if coded and (self.packing.slots or len(self.codes) >= DIRECT):
            most = self._largest()
            if self.packing.slots or self._small_codes(most) is not None:
                self._pack(most)
                return
        self.table = np.full(self.packing.slots or _slots(len(self.codes)), -1, dtype=np.int64)
        status = reach.fill_table(self.packing, self.states, self.codes, self.table, 0, self.size, coded)
        if status != errors.OK:
            raise ValueError("a set of states holds each state once, and one is given twice")

    def _largest(self) -> np.ndarray:
        """The largest count of each species."""
        return np.array([column.max(initial=0) for column in self.states[: self.size].T])  # ten times as fast as along an axis

    def _small_codes(self, most: np.ndarray) -> reach.Packing | None:
        """Codes that are slots of the table, if that is no larger than one of hashes; None if it would be.

        They are places in a box of states, which has room for larger counts to come.
        """
        if self._is_random or len(self.codes) < DIRECT or len(self.key) == 0:
            return None
        needed, ends = [int(most[s]) + 1 for s in self.key], [int(self.ends[s]) + 1 for s in self.key]
        room = _slots(len(self.codes)) / math.prod(needed)
        if room < 1:
            return None
        wider = min(room ** (1 / len(needed)), 2.0)
        sizes = [max(min(int(wider * need), end), need) for need, end in zip(needed, ends, strict=True)]
        if any(size < min(MARGIN * need, end) for size, need, end in zip(sizes, needed, ends, strict=True)):
            return None
        strides = np.cumprod([1, *sizes])
        return self._exact_packing(strides[:-1].tolist(), np.array(sizes), int(strides[-1]))

    def _packing(self, most: np.ndarray) -> reach.Packing:
        """A field of bits for each species of the key: as many as its counts need, and a share of what is left over."""
        needed = [int(most[s]).bit_length() for s in self.key]
        ends = [max(min(int(self.ends[s]).bit_length(), 62), need) for s, need in zip(self.key, needed, strict=True)]
        spare = BITS - sum(needed)
        if self._is_random or spare < 0:
            none = np.zeros(len(self.key), dtype=np.uint64)
            return reach.Packing(self.key, none, np.zeros(len(self._back), dtype=np.uint64), self._back, self.ends.copy(), 0, 0)
        widths, left = np.array(needed, dtype=np.int64), len(needed)
        for k in np.argsort([end - need for end, need in zip(ends, needed, strict=True)]).tolist():
            widths[k] = min(ends[k], needed[k] + spare // left)
            spare, left = spare - int(widths[k] - needed[k]), left - 1
        before = np.cumsum([0, *widths])[:-1]
        # A field without bits, where all are given away before, holds only 0: its stride, 2^64, counts for nothing.
        return self._exact_packing([(1 << int(bits)) % 2**64 for bits in before], 1 << widths, 0)

    def _exact_packing(self, strides: list[int], sizes: np.ndarray, slots: int) -> reach.Packing:
        """Codes that are sums of counts, each below its size, times strides."""
        cap = self.ends.copy()
        cap[self.key] = np.minimum(cap[self.key], sizes - 1)
        step = np.array(self._steps(dict(zip(self.key.tolist(), strides, strict=True))), dtype=np.uint64)
        return reach.Packing(self.key, np.array(strides, dtype=np.uint64), step, self._back, cap, 1, slots)

    @cached_property
    def _back(self) -> np.ndarray:
        """For each reaction one whose changes are the opposite, -1 if there is none."""
        network = self.compiled.network
        changes: list[dict[int, int]] = [{} for _ in network.reactions]
        for r, s, n in zip(*(each.tolist() for each in network.sparse_stoichiometry), strict=True):
            changes[r][s] = n
        first = {frozenset(change.items()): r for r, change in reversed(list(enumerate(changes)))}
        back = [first.get(frozenset((s, -n) for s, n in change.items()), -1) for change in changes]
        return np.array(back or [-1], dtype=np.int64)

    def _steps(self, stride: dict[int, int]) -> list[int]:
        """What each reaction adds to a code, modulo 2^64."""
        change = [0] * len(self._back)
        for r, s, n in zip(*(each.tolist() for each in self.compiled.network.sparse_stoichiometry), strict=True):
            change[r] += n * stride.get(s, 0)
        return [each % 2**64 for each in change]

    @property
    def _is_random(self) -> bool:
        return bool(self.compiled.network.varying)

    # ------------------------------------------------------------------------------------------------------- search

    def _walk(self, adding: bool, layers: int, size: int, sources: np.ndarray, cursor: np.ndarray) -> None:
        """Visit states, see `reach.explore`; whatever happens, the ledger then says what is known."""
        arrays, limits, place = self.compiled.arrays, self._limits, np.zeros(2, dtype=np.int64)
        model = arrays, self._laws, np.empty(max(arrays.stack_size, self._stack_size)), np.empty(len(self.upper), dtype=np.int64)
        status = errors.FULL
        while status in (errors.FULL, reach.NARROW):
            known = self.states, self.codes, self.to, self.rate, self.table
            status = reach.explore(*model, self.packing, limits, adding, layers, size, sources, cursor, *known, place)
            self.size = int(cursor[0])
            if status == errors.FULL:
                self._enlarge(self._next_room() + len(arrays.constant))
            elif status == reach.NARROW:
                self._pack(np.maximum(self._largest(), self._after(*place.tolist())))
        self._raise(status, place)

    def _next_room(self) -> int:
        """For how many states there should be room after these. Memory is taken when it is used, so that much room costs little."""
        if self._most <= (16 if self.size >= DIRECT else 4) * len(self.codes):
            return max(self._most, self.size)
        return (4 if self.size < 2**20 else 2) * len(self.codes)

    @cached_property
    def _most(self) -> int:
        """No more states than this lie within the bounds."""
        return math.prod(int(self.ends[s]) + 1 for s in self.key)

    def _after(self, n: int, reaction: int) -> np.ndarray:
        """Where a reaction leads from state n."""
        rows, species, amounts = self.compiled.network.sparse_stoichiometry
        state = self.states[n].copy()
        state[species[rows == reaction]] += amounts[rows == reaction]
        return state

    def _raise(self, status: int, place: np.ndarray) -> None:
        if status != errors.OK:
            network, reaction = self.compiled.network, int(place[1])
            name, formula = network.reactions[reaction].name, network.formula(reaction)
            raise errors.propensity_error(status, name, formula, network.species_names, self.states[place[0]])

    @cached_property
    def _laws(self) -> reach.Laws:
        """Memory for laws of one species, but not for those of mass action, which are products of a few numbers."""
        arrays, network = self.compiled.arrays, self.compiled.network
        index = {name: s for s, name in enumerate(network.species_names)}
        reads = np.full(max(len(network.reactions), 1), -1)
        for r, formula in enumerate(self.compiled.propensity_formulas):
            names = ratelaw.names(formula)
            if arrays.program_pointer[r] < arrays.program_pointer[r + 1] and len(names) == 1:
                reads[r] = index[next(iter(names))]
        return reach.Laws(reads, np.full((len(reads) + 1, REMEMBERED if np.any(reads >= 0) else 2), np.nan))

    @cached_property
    def _sums(self) -> tuple[list[tuple[dict[str, float], float]], ratelaw.Expr | None]:
        """What is left of `within` without its bounds on sums, and these."""
        return ([], None) if self.within is None else bounded_sums(self.within)

    @cached_property
    def ends(self) -> np.ndarray:
        """Largest counts (S,) of states to come: the bounds, or fewer where a sum of terms >= 0 is bounded."""
        ends, names = self.upper.copy(), self.compiled.network.species_names
        for weights, bound in self._sums[0]:
            if all(weight >= 0 for weight in weights.values()):
                for name, weight in weights.items():
                    if weight > 0:
                        s = names.index(name)
                        ends[s] = min(int(ends[s]), max(int(bound // weight), 0))
        return ends

    @cached_property
    def _condition(self) -> tuple[list[tuple[int, float]], int]:
        """The program of what is asked of states beside bounds, and the stack it needs."""
        index = {name: s for s, name in enumerate(self.compiled.network.species_names)}
        return ([], 1) if self._sums[1] is None else to_program(self._sums[1], index)

    @property
    def _stack_size(self) -> int:
        return self._condition[1]

    @cached_property
    def _limits(self) -> reach.Limits:
        names = self.compiled.network.species_names
        rows, row = csr([[(names.index(name), weight) for name, weight in weights.items()] for weights, _ in self._sums[0]])
        bounds = np.array([bound for _, bound in self._sums[0]], dtype=np.float64)
        pointer, code = csr([self._condition[0]])
        sums = rows, row[:, 0].astype(np.uint32), np.ascontiguousarray(row[:, 1]), bounds
        return reach.Limits(self.ends, *sums, pointer, code[:, 0].astype(np.uint32), code[:, 1].astype(np.float64))


_ARRAYS = ("states", "codes", "to", "rate", "table")


def _slots(room: int) -> int:
    """The size of the table for so many states."""
    return max(16, 1 << (2 * room - 1).bit_length())
