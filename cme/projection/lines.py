"""`Lines`: a generator whose states are put into lines, for products that read few numbers from memory."""

import numpy as np

from cme.kernels import lines

SHORT = 4  # entries in a piece, on the mean, below which indices of their own cost no more
KINDS = 64  # jumps of more kinds than this share tables
WIDEST = 8  # a table has at most so many places for each state
LOOKED_AT = 20_000  # pairs of neighbours from which it is told which way lines run


class Lines:
    """A matrix I + A/q by pieces of lines; states are in lexicographic order.

    Parameters
    ----------
    rows
        The generator (CSR: pointer, index and rate, indices in order).
    states : (N, S)
    exit_rates : (N,)
    deviation
        The largest relative error that a rate may have: 0, or a few times round-off.

    Attributes
    ----------
    worthwhile
        False if pieces are short; nothing else is known then.
    deviation
        The largest relative error of a rate. It acts as rounding errors of this size do, which each product makes anew.
    n_kept
        How many rates come from no table.
    """

    def __init__(self, rows: tuple[np.ndarray, np.ndarray, np.ndarray], states: np.ndarray, exit_rates: np.ndarray, deviation: float):
        pointer, index, rate = rows
        n_states, q = len(states), float(exit_rates.max())
        code = _codes(states)
        steps = np.diff(code)
        ways, how_often = np.unique(steps[:: max(1, len(steps) // LOOKED_AT)], return_counts=True)
        begins = np.append(True, steps != ways[np.argmax(how_often)])
        self._begin = np.append(np.flatnonzero(begins), n_states)
        line = (np.cumsum(begins) - 1).astype(np.int32)
        width = 2 * int(np.diff(pointer).max())
        work, self._first = (np.empty(width, dtype=np.int64), np.empty(width, dtype=np.int64)), np.empty(len(self._begin), dtype=np.int64)
        nothing = np.empty(0, dtype=np.int32)
        n_pieces = lines.find_pieces(pointer, index, line, False, *work, self._first, nothing, nothing, nothing)
        self._target, self._source, self._length = (np.empty(n_pieces, dtype=np.int32) for _ in range(3))
        lines.find_pieces(pointer, index, line, True, *work, self._first, self._target, self._source, self._length)
        place = _places(states, self._begin)
        self.worthwhile = 0 < SHORT * n_pieces <= len(index) - n_states and place.max() < WIDEST * n_states
        if not self.worthwhile:
            return
        kind = np.empty(n_pieces, dtype=np.int32)
        n_kinds = lines.find_kinds(code, self._target, self._source, kind, np.empty(KINDS, dtype=np.int64))
        tables, kept = np.full((n_kinds, int(place.max()) + 1), -1.0), np.empty(len(index))
        self._factor, self._rate_at, n_kept = np.empty(n_pieces), np.empty(n_pieces, dtype=np.int64), np.zeros(1, dtype=np.int64)
        pieces = self._target, self._source, self._length, kind, tables, self._factor, self._rate_at, kept, n_kept
        self.deviation = lines.factorise(pointer, index, rate, place, 1.0 / q, deviation, *pieces)
        self.n_kept = int(n_kept[0])
        self._rates = np.append(tables, kept[: self.n_kept])
        self._stay = 1.0 - exit_rates / q

    def series(self, *arguments) -> None:
        """Sum a Chebyshev series, see `cme.kernels.chebyshev.chebyshev_series` for what comes after the matrix."""
        where = self._begin, self._first, self._target, self._source, self._length
        lines.chebyshev_series(*where, self._factor, self._rate_at, self._rates, self._stay, *arguments)


def _codes(states: np.ndarray) -> np.ndarray:
    """A number for each state, linear in its counts modulo 2^64, so that equal jumps change it by the same."""
    weights = np.random.default_rng(0).integers(-(2**62), 2**62, states.shape[1])
    return states @ weights


def _places(states: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Where each state is along its line, by the count of a species that changes along lines: one more from each state to the next."""
    longest = int(np.argmax(np.diff(begin)))
    if begin[longest + 1] - begin[longest] == 1:
        return np.zeros(len(states), dtype=np.int64)
    step = states[begin[longest] + 1] - states[begin[longest]]
    s = int(np.argmax(np.abs(step)))
    count = states[:, s] * np.sign(step[s])
    return (count - count.min()) // abs(step[s])
