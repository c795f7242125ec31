"""Cycles on large sets: Gauss-Seidel sweeps, and blocks of states between which the slow modes are solved exactly."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from cme.errors import ConvergenceError
from cme.kernels.sweeps import coarse_entries, gather_residual, pull, push, scatter
from cme.projection.cycle import ROUNDING
from cme.projection.polynomials import by_counts

MOST_BLOCKS = 3000
MOST_CYCLES = 300
ENOUGH = 1e-11  # change of the law in a cycle, as a part of it
REMEMBERED = 6
REFRESHED = (2, 8)
RARE = 1e4  # times as probable as the reference state may others be; what is found is off by so many roundings
LOOKED_AT = 1_000_000  # jumps that tell how fast the process moves along each axis
FIRST_SWEEPS = 12  # before the weights of states in their blocks are set


class IteratedCycle:
    """By sweeps and blocks: iterated until nothing moves; what is still missing is in the residual, and bounded by it."""

    method = "Gauss-Seidel sweeps and aggregation"

    def __init__(
        self,
        matrix: sp.csc_array,
        states: np.ndarray,
        at: int,
        guess: np.ndarray | None = None,
        *,
        enough: float = ENOUGH,
        closed: np.ndarray | None = None,
    ):
        """`closed` (N,) are those of the rates out of the states, as the diagonal counts them, that lead nowhere: the law stays."""
        exits = -matrix.diagonal() if closed is None else -matrix.diagonal() - closed
        order = by_counts(states)  # neighbours lie near each other in memory: up to ten times as fast
        self._order = None if np.array_equal(order, np.arange(len(order))) else order
        if self._order is not None:
            place = np.empty(len(order), dtype=matrix.indices.dtype)
            place[order] = np.arange(len(order), dtype=place.dtype)
            matrix = sp.csc_array((matrix.data, place[matrix.indices], matrix.indptr), shape=matrix.shape)[:, order]
            states, guess, exits = states[order], None if guess is None else guess[order], exits[order]
        self._columns, self._exits, self._enough = (matrix.indptr, matrix.indices, matrix.data), exits, enough
        self._terms = int(np.diff(matrix.indptr).max(initial=0)) + 3
        self._refer_to(at if self._order is None else int(place[at]))
        self._block = blocks(states, matrix)
        del states
        self._chances: np.ndarray | None = None
        self._times: np.ndarray | None = None
        self._solve(guess)

    @property
    def _model(self) -> tuple:
        return *self._columns, self._exits, self._place

    def _refer_to(self, place: int) -> None:
        """Cycles are those between visits to the state at this place."""
        self._place, self.reference = place, place if self._order is None else int(self._order[place])
        self._exits[place] = max(self._exits[place], 1e-300)
        indptr, indices, rates = self._columns
        column, n_states = slice(indptr[place], indptr[place + 1]), len(self._exits)
        self._source = np.zeros(n_states)
        self._source[indices[column]] = rates[column]
        self._source[place] = 0.0
        self._to = sp.csc_array((rates, indices, indptr), shape=(n_states, n_states))[[place]].toarray().ravel()
        self._to[place] = 0.0

    def _solve(self, guess: np.ndarray | None) -> None:
        x = np.zeros(len(self._exits)) if guess is None else np.maximum(guess / guess[self._place], 0.0)
        x[self._place] = 0.0
        residual = self._source.copy()
        scatter(*self._model, x, residual)
        for i in range(FIRST_SWEEPS):
            residual[self._place] = 0.0
            push(*self._model, i % 2, x, residual)
        self._set_blocks(x)
        mixed = Mixing()
        for cycle in range(MOST_CYCLES):
            old = x.copy()
            self._correct(x, residual)
            for backward in (0, 1):
                residual[self._place] = 0.0
                push(*self._model, backward, x, residual)
            moved = float(np.abs(x - old).sum() / np.abs(x).sum())
            if moved <= self._enough:
                break
            if cycle in REFRESHED:
                if x.max() > RARE:  # the reference is a poor one: rounding would move the law for ever
                    x[self._place] = 1.0
                    x /= x.max()
                    self._refer_to(int(np.argmax(x)))
                    x[self._place] = 0.0
                    residual[:] = self._source
                    scatter(*self._model, x, residual)
                self._set_blocks(x)
                mixed = Mixing()
            else:
                x = mixed.next(old, x)
                residual[:] = self._source
                scatter(*self._model, x, residual)
        else:
            raise ConvergenceError(
                f"{MOST_CYCLES} cycles of the iterative solver still move the law by {moved:.1e}, more than the {self._enough:.0e} at "
                "which they end; use method='lu', or give a space= of fewer states"
            )
        self.cycles = cycle + 1
        self.below = -float(x[x < 0].sum())
        x[x < 0] = 0.0
        residual = self._source.copy()
        scatter(*self._model, x, residual)
        residual[self._place] = 0.0
        flow = self._terms * ROUNDING * (2 * self._exits * x + self._source)
        flow[self._place] = 0.0
        self._residual = self._restored(np.abs(residual) + flow)
        self.correction = 20 * moved
        x[self._place] = 1.0
        self.z = self._restored(x)

    def _sorted(self, x: np.ndarray) -> np.ndarray:
        return x if self._order is None else x[self._order]

    def _restored(self, x: np.ndarray) -> np.ndarray:
        if self._order is None:
            return x
        out = np.empty_like(x)
        out[self._order] = x
        return out

    def _set_blocks(self, x: np.ndarray) -> None:
        """The coarse equations, with the states of each block weighed by x."""
        block = self._block
        n_blocks = int(block.max()) + 1
        weight = np.maximum(x, 0.0)
        total = np.bincount(block, weights=weight, minlength=n_blocks)
        count = np.bincount(block, minlength=n_blocks)
        self._weight = np.where(total[block] > 0, weight / np.maximum(total[block], 1e-300), 1.0 / count[block])
        order = np.argsort(block, kind="stable")
        start = np.concatenate([[0], np.cumsum(count)])
        room = 64 * n_blocks + 4096
        while True:
            row, value = np.empty(room, dtype=np.int64), np.empty(room)
            pointer, last = np.zeros(n_blocks + 1, dtype=np.int64), np.full(n_blocks, -1)
            if coarse_entries(*self._model, block, order, start, self._weight, last, row, value, pointer) == 0:
                break
            room *= 2
        entries = pointer[-1]
        coarse = sp.csc_matrix((value[:entries], row[:entries], pointer), shape=(n_blocks, n_blocks))
        alone = np.flatnonzero(coarse.diagonal() <= 0)  # a block of the reference state alone
        if alone.size:
            coarse = coarse + sp.csc_matrix((np.ones(len(alone)), (alone, alone)), shape=coarse.shape)
        self._coarse = splu(coarse, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def _correct(self, x: np.ndarray, residual: np.ndarray) -> None:
        residual[self._place] = 0.0
        step = self._coarse.solve(np.bincount(self._block, weights=residual, minlength=self._coarse.shape[0]))
        step = self._weight * step[self._block]
        step[self._place] = 0.0
        x += step
        scatter(*self._model, step, residual)

    def returns(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        upper = self.times(outside)
        if self._chances is None:
            chances, self._off = self._adjoint(self._to, np.ones(len(upper)), None, 1e-3 / float(upper.max()))
            self._chances = self._restored(chances)
        lower = self._chances - self._off * upper
        lower[self.reference] = 1.0
        return upper, lower

    def times(self, outside: np.ndarray) -> np.ndarray:
        """The first of these alone."""
        spent = 1.0 + self._sorted(outside)
        self._times, defect = self._adjoint(spent, spent, self._times, 0.05)
        upper = np.abs(self._times) / (1 - defect) if defect < 1 else np.full(len(spent), np.inf)
        upper[self._place] = 0.0
        return self._restored(upper)

    def _adjoint(self, right: np.ndarray, scale: np.ndarray, guess: np.ndarray | None, enough: float) -> tuple[np.ndarray, float]:
        """The solution of the transposed equations, and a bound of the part of `scale` by which they fail."""
        x = np.zeros(len(right)) if guess is None else guess.copy()
        residual = np.empty(len(right))
        rounding = self._terms * ROUNDING * 2
        defect = np.inf
        mixed = Mixing()
        for _ in range(MOST_CYCLES):
            gather_residual(*self._model, right, x, residual)
            defect = float(np.max((np.abs(residual) + rounding * self._exits * np.abs(x)) / scale))
            if defect <= enough:
                break
            old = x.copy()
            coarse = np.bincount(self._block, weights=self._weight * residual, minlength=self._coarse.shape[0])
            x += self._coarse.solve(coarse, "T")[self._block]
            for backward in (0, 1):
                pull(*self._model, backward, right, x)
            x = mixed.next(old, x)
        return x, defect

    def inaccuracy(self, times: np.ndarray) -> float:
        return float(self._residual @ times) + self.below


class Mixing:
    """Anderson's acceleration of a linear iteration: the mix of the last steps that leaves least to do, as in GMRES."""

    def __init__(self) -> None:
        self._steps: list[tuple[np.ndarray, np.ndarray]] = []  # differences of what came out, and of how far that was from what went in
        self._products = np.zeros((0, 0))  # of the latter with each other
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def next(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Where to go on, from what the last iteration made of `before`."""
        moved = after - before
        if self._last is not None:
            first = max(len(self._steps) + 1 - REMEMBERED, 0)
            self._steps = [*self._steps[first:], (after - self._last[0], moved - self._last[1])]
            latest = np.array([self._steps[-1][1] @ each for _, each in self._steps])
            self._products = np.block([[self._products[first:, first:], latest[:-1, None]], [latest[None]]])
        self._last = after, moved
        if not self._steps:
            return after
        product = self._products + 1e-14 * np.trace(self._products) * np.eye(len(self._products))
        share = np.linalg.lstsq(product, np.array([each @ moved for _, each in self._steps]), rcond=None)[0]
        out = after.copy()
        for part, (step, _) in zip(share, self._steps, strict=True):
            out -= part * step
        return out


def blocks(states: np.ndarray, matrix: sp.csc_array) -> np.ndarray:
    """Blocks of states for the slow modes, (N,): boxes that are wide where jumps are fast."""
    states = np.asarray(states)
    low = states.min(axis=0)
    some = np.arange(0, matrix.nnz, max(matrix.nnz // LOOKED_AT, 1))
    row, col = matrix.indices[some], np.searchsorted(matrix.indptr, some, side="right") - 1
    jump = (states[row] - states[col]).astype(np.float64)
    speed = np.where(row != col, matrix.data[some], 0.0) @ jump**2
    width = np.ones(states.shape[1], dtype=np.int64)
    extent = states.max(axis=0) - low + 1
    sample = states[:: max(len(states) // 100_000, 1)]
    while True:
        block = _numbered(sample, low, extent, width)
        if block is not None and block.max() < MOST_BLOCKS:
            block = block if len(sample) == len(states) else _numbered(states, low, extent, width)
            if block is not None and block.max() < MOST_BLOCKS:
                return block.astype(np.int64, copy=False)
        ahead = np.where(width < extent, speed / width**2, -1.0)
        if ahead.max() < 0:
            return np.zeros(len(states), dtype=np.int64)
        width[int(np.argmax(ahead))] *= 2


def _numbered(states: np.ndarray, low: np.ndarray, extent: np.ndarray, width: np.ndarray) -> np.ndarray | None:
    """The box in which each state lies, numbered in order, (N,); None if there are too many for their numbers."""
    shape = (extent - 1) // width + 1
    if np.prod(shape.astype(np.float64)) >= 2**62:
        return None
    number = np.zeros(len(states), dtype=np.int64)
    for s, size in enumerate(shape):
        number *= size
        number += (states[:, s] - low[s]) // width[s]
    if np.prod(shape) > 100 * MOST_BLOCKS:
        return np.unique(number, return_inverse=True)[1]
    return (np.cumsum(np.bincount(number) > 0) - 1)[number]
