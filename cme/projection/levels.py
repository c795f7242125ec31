"""The stationary law on millions of states, level by level, in little more memory than the generator takes."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from cme import memory
from cme.errors import ConvergenceError
from cme.kernels import aggregation

METHOD = "aggregation on levels"
COARSEST = 120  # states that are solved at once
BITS = 2  # a group is at most 2^BITS states
SWEEPS = 2  # before and after groups are solved
CYCLES = 200
REMEMBERED = 4  # cycles that are combined
LOOKED_AT = 1_000_000  # jumps that tell how fast the process moves along each axis


def multilevel_law(matrix: sp.csc_array, states: np.ndarray, tol: float = 1e-12) -> tuple[np.ndarray, float]:
    """The law of an irreducible generator on a lattice, closed by dropping the jumps that leave it.

    Neighbouring states are taken together in groups of four, groups in larger groups, until few are left. A cycle sweeps over the
    states, finds the law of the groups with the proportions that the states in each have by now, in the same way, and gives each group
    its probability. What is combined and how does not depend on the number of states: neither does the number of cycles, by and large.

    Parameters
    ----------
    matrix : (N, N)
        Rates off the diagonal; the diagonal is not looked at.
    states : (N, D)
        Whole numbers.
    tol
        Largest change in the 1-norm that is still to come.

    Returns
    -------
    pi : (N,)
        Positive, sums to one. Every operation adds and multiplies what is positive, but for the combination of cycles, which changes no
        number by more than a factor: tails come out right in relative terms too.
    error : float
        What is still to come, as estimated from the last changes.

    Raises
    ------
    ConvergenceError
        If cycles come to no end, or there is not the memory.

    References
    ----------
    G. Horton, S. T. Leutenegger, SIGMETRICS 1994, 191, doi:10.1145/183018.183040. H. De Sterck et al., SIAM J. Sci. Comput. 32, 40
    (2010), doi:10.1137/080719157.

    Notes
    -----
    Time for 1e6 states of two species: a few seconds; memory: 200 bytes for each state.
    """
    n_states = matrix.shape[0]
    memory.require_memory(28 * matrix.nnz + 100 * n_states, f"the levels above {n_states} states", "keep fewer states")
    order, level = _finest(matrix, states)
    x = level.x
    combined, change, factor = _Combination(n_states), np.inf, 0.0
    for _ in range(CYCLES):
        before = x.copy()
        level.cycle()
        last, change = change, float(np.abs(x - before).sum())
        factor = min(max(factor**0.5 * (change / last) ** 0.5, 0.1), 0.99) if last < np.inf else 0.9
        error = change * factor / (1 - factor)
        if not np.isfinite(change):
            break
        if error <= tol:
            pi = np.empty(n_states)
            pi[order] = x
            return pi, error
        combined.improve(before, x)
    raise ConvergenceError(
        f"the stationary law on {n_states} states still changes by {change:.1e} in a cycle; keep fewer states, which are solved at once"
    )


class _Combination:
    """Anderson's combination of the last cycles, that which would have changed least."""

    def __init__(self, n_states: int):
        self._after = np.empty((REMEMBERED, n_states))
        self._change = np.empty((REMEMBERED, n_states))
        self._weight = np.empty(n_states)
        self._n, self._last = 0, np.inf

    def improve(self, before: np.ndarray, x: np.ndarray) -> None:
        """Replace x, where a cycle led from `before`."""
        size = float(np.abs(x - before).sum())
        if size > 2 * self._last:
            self._n = 0
        self._last = size
        here = self._n % REMEMBERED
        self._after[here] = x
        np.subtract(x, before, out=self._change[here])
        self._n += 1
        others = [k for k in range(min(self._n, REMEMBERED)) if k != here]
        if not others:
            return
        np.sqrt(x, out=self._weight)
        now = self._change[here] / self._weight
        steps = np.array([now - self._change[k] / self._weight for k in others])
        gram = steps @ steps.T
        gram[np.diag_indices_from(gram)] *= 1 + 1e-12
        part = np.linalg.lstsq(gram, steps @ now, rcond=1e-14)[0]
        for k, share in zip(others, part, strict=True):
            x += share * (self._after[k] - self._after[here])
        np.clip(x, 0.3 * self._after[here], 3 * self._after[here], out=x)
        x /= x.sum()


@dataclass(eq=False)
class _Level:
    """The rates between states, or groups of states, and their law by now."""

    pointer: np.ndarray
    source: np.ndarray
    rate: np.ndarray
    out: np.ndarray
    x: np.ndarray

    def build(self, keys: np.ndarray) -> None:
        """The levels above; keys (N,), in order, say what is taken together."""
        self.above: _Level | None = None
        if len(self.out) <= COARSEST:
            self._work = np.empty((len(self.out), len(self.out)))
            return
        groups = keys >> BITS
        self._start = np.flatnonzero(np.diff(groups, prepend=-1, append=-1))
        n_groups = len(self._start) - 1
        self._group = np.repeat(np.arange(n_groups, dtype=np.int32), np.diff(self._start))
        self._slot, self._before = np.full(n_groups, -1), np.empty(n_groups)
        room = np.empty(len(self.source), dtype=np.int32), np.empty(len(self.rate))
        above = _Level(np.empty(n_groups + 1, dtype=np.int64), *room, np.empty(n_groups), np.empty(n_groups))
        self._gather(above)
        n_entries = int(above.pointer[-1])
        above.source, above.rate = above.source[:n_entries].copy(), above.rate[:n_entries].copy()
        self.above = above
        above.build(groups[self._start[:-1]])

    def cycle(self) -> None:
        """Improve the law once."""
        rows = self.pointer, self.source, self.rate
        if (above := self.above) is None:
            if aggregation.eliminate(*rows, self._work, self.x) != 0:
                raise ConvergenceError("the states do not communicate in double precision; the rates span too many orders of magnitude")
            return
        for _ in range(SWEEPS):
            aggregation.sweep(*rows, self.out, self.x, False)
        self._gather(above)
        self._before[:] = above.x
        for _ in range(1 if above.above is None else 2):
            above.cycle()
        aggregation.share(self._start, self._before, above.x, self.x)
        for _ in range(SWEEPS):
            aggregation.sweep(*rows, self.out, self.x, True)
        self.x /= self.x.sum()

    def _gather(self, above: "_Level") -> None:
        groups = self._start, self._group, self._slot
        aggregation.gather(
            self.pointer, self.source, self.rate, self.x, *groups, above.pointer, above.source, above.rate, above.out, above.x
        )


def _finest(matrix: sp.csc_array, states: np.ndarray) -> tuple[np.ndarray, _Level]:
    """The order in which neighbours are near, and the states in it with all levels above."""
    keys = _keys(matrix, states)
    order = np.argsort(keys, kind="stable")
    n_states = len(order)
    place = np.empty(n_states, dtype=np.int32)
    place[order] = np.arange(n_states, dtype=np.int32)
    row = place[matrix.indices]
    column = np.repeat(place, np.diff(matrix.indptr))
    off = row != column
    ordered = sp.csr_array((matrix.data[off], (row[off], column[off])), shape=matrix.shape)
    out = np.bincount(ordered.indices, weights=ordered.data, minlength=n_states)
    x = np.full(n_states, 1.0 / n_states)
    level = _Level(ordered.indptr.astype(np.int64), ordered.indices.astype(np.int32, copy=False), ordered.data, out, x)
    level.build(keys[order])
    return order, level


def _keys(matrix: sp.csc_array, states: np.ndarray) -> np.ndarray:
    """Numbers in whose order neighbours are near: the bits of the counts, those first along whose axis the process moves fastest."""
    axes = _independent(states)
    skip = max(matrix.nnz // LOOKED_AT, 1)
    jumps = np.arange(0, matrix.nnz, skip)
    columns = np.searchsorted(matrix.indptr, jumps, side="right") - 1
    rows, rates = matrix.indices[jumps], np.abs(matrix.data[jumps])
    speed = [float(rates @ (states[rows, a] - states[columns, a]) ** 2.0) for a in axes]
    low = states.min(axis=0)
    left = [int(n).bit_length() for n in (states.max(axis=0) - low)[axes]]
    keys, place, halved = np.zeros(len(states), dtype=np.int64), 0, [0] * len(axes)
    while any(left):
        k = max((k for k in range(len(axes)) if left[k]), key=lambda k: speed[k] / 4.0 ** halved[k])
        keys |= (((states[:, axes[k]] - low[axes[k]]) >> halved[k]) & 1) << place
        left[k], halved[k], place = left[k] - 1, halved[k] + 1, place + 1
    return keys


def _independent(states: np.ndarray) -> list[int]:
    """Columns that tell states apart: each adds to what those before it span."""
    sample = states[:: max(len(states) // 5000, 1)].astype(np.float64)
    sample = sample - sample.mean(axis=0)
    found = list[int]()
    for a in np.argsort(-np.ptp(sample, axis=0), kind="stable").tolist():
        if np.linalg.matrix_rank(sample[:, [*found, a]]) > len(found):
            found.append(a)
    return found
