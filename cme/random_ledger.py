"""`RandomLedger`: the same as `Ledger` where reactions draw numbers of molecules, and lead from one state to many at random."""

import numpy as np

from cme import errors, memory
from cme.kernels import reach_random, stoichiometry
from cme.ledger import FEWER, Ledger, one_at_a_time

SPARED = 0.1  # of the probability with which a reaction leads out of a set at random, this part may do so after a step of growth
FIRST_WIDTH, WIDEST = 256, 2**22  # values of a drawn number


class RandomLedger(Ledger):
    """The states of a network; where their jumps lead is not kept, since it would be nearly everywhere."""

    def explore(self, sources: np.ndarray, layers: int, size: int) -> None:
        """Add what the states `sources` lead to; stops at once when `size` states are passed, after the first of the sources."""
        with one_at_a_time:
            self._recall()
            before, room = self.size, len(self.codes)
            queue = _enlarge(np.asarray(sources, dtype=np.int64), room + len(sources))
            cursor, place = np.array([before, 0, len(sources), len(sources), 0]), np.zeros(2, dtype=np.int64)
            listing, spared = self._listing(), SPARED
            while True:
                limits, known = (self.upper, self.packing, layers, size, spared), (self.states, self.codes, self.table)
                status = reach_random.explore(*self._model, *limits, listing, cursor, queue, *known, place)
                self.size = int(cursor[0])
                if status == errors.FULL:
                    self._enlarge(4 * room + len(self.compiled.network.reactions))
                    queue, room = _enlarge(queue, len(queue) + len(self.codes)), len(self.codes)
                elif status == stoichiometry.WIDE:
                    listing = self._listing(listing)
                elif status == errors.OK and spared and cursor[4] < layers and cursor[0] < size:
                    # There is room for unlikely states as well, beyond the sources and beyond all that were added.
                    everyone = np.concatenate([sources, np.arange(before, cursor[0])])
                    queue, spared = _enlarge(everyone, len(self.codes) + len(everyone)), 0.0
                    cursor[1:4] = 0, len(everyone), len(everyone)
                else:
                    break
            self._raise(status, place)

    def columns(self, n_states: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """See `Ledger.columns`; rows are in no order, and may be there twice."""
        most = n_states * (len(self.compiled.network.reactions) + 1)
        pointer, row, rate = np.zeros(n_states + 1, dtype=np.int64), np.empty(most, dtype=np.int64), np.empty(most)
        leak, place, cursor, listing = np.zeros(n_states), np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), self._listing()
        status = errors.FULL
        while status in (errors.FULL, stoichiometry.WIDE):
            status = reach_random.assemble(*self._model, *self._first(n_states), listing, cursor, pointer, row, rate, leak, place)
            if status == errors.FULL:
                what = f"the rates between {n_states} states, each of which leads to many at random,"
                memory.require_memory(2 * len(row) * 2 * 16, what, FEWER)  # twice: they are sorted later
                row, rate = _enlarge(row, 2 * len(row)), _enlarge(rate, 2 * len(rate))
            elif status == stoichiometry.WIDE:
                listing = self._listing(listing)
        self._raise(status, place)
        return pointer, row[: pointer[-1]], rate[: pointer[-1]], leak

    def outcomes(self, reaction: int, fires: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """See `StateSpace.outcomes`."""
        n_states = len(fires)
        source, to, share = np.empty(n_states, dtype=np.int64), np.empty(n_states, dtype=np.int64), np.empty(n_states)
        wrong, cursor, listing = np.zeros(n_states, dtype=np.int64), np.zeros(2, dtype=np.int64), self._listing()
        status = errors.FULL
        while status in (errors.FULL, stoichiometry.WIDE):
            kept = *self._model[:2], *self._first(n_states)
            status = reach_random.list_outcomes(*kept, reaction, fires, listing, cursor, source, to, share, wrong)
            if status == errors.FULL:
                source, to, share = (_enlarge(array, 2 * len(array) + 1) for array in (source, to, share))
            elif status == stoichiometry.WIDE:
                listing = self._listing(listing)
        return source[: cursor[1]], to[: cursor[1]], share[: cursor[1]], wrong

    def _listing(self, narrow: stoichiometry.Listing | None = None) -> stoichiometry.Listing:
        """Room for the laws of the numbers of molecules that a reaction draws; twice as much as in a narrow one."""
        width = FIRST_WIDTH if narrow is None else 2 * narrow.probability.shape[1]
        if width > WIDEST:
            raise errors.ConvergenceError(f"a drawn number of molecules has more than {WIDEST // 2} likely values; use ssa")
        return stoichiometry.new_listing(self.compiled.arrays.varying, self.states.shape[1], width)

    def _first(self, n_states: int) -> tuple:
        """The first states, as kernels take them."""
        self._recall()
        states = self.states[:n_states]
        return self.packing, states, self.codes, self.table, states.max(axis=0, initial=0)

    @property
    def _model(self) -> tuple:
        """The network for kernels, their stack, and the memory of a state."""
        arrays = self.compiled.arrays
        return arrays, np.empty(arrays.stack_size), np.empty(self.states.shape[1], dtype=np.int64)


def _enlarge(array: np.ndarray, length: int) -> np.ndarray:
    larger = np.empty((max(length, len(array)), *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
