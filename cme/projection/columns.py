"""`Column`: the law of one count on a range, right in relative terms; and independent counts together."""

from typing import NamedTuple

import numpy as np

from cme.errors import ConvergenceError

FAR = 1e-280  # where a law of one count ends: tails are worth having, and cost little
MOST_FAR = 200_000  # counts that may be kept for tails alone
MOST_CELLS = 20_000_000  # of a box, before the improbable ones are left out


class Column(NamedTuple):
    """Probabilities of the counts first, first + 1, ...; they may sum to less than one."""

    first: int
    p: np.ndarray

    def trimmed(self, tail: float) -> "Column":
        """Without what holds at most `tail` at either side."""
        low = int(np.searchsorted(np.cumsum(self.p), tail, side="right"))
        high = len(self.p) - int(np.searchsorted(np.cumsum(self.p[::-1]), tail, side="right"))
        return Column(self.first + low, self.p[low : max(high, low + 1)])


def column_from_steps(first: int, steps: np.ndarray) -> Column:
    """The law on len(steps) + 1 counts from the logarithms of p(n + 1) / p(n), normalised.

    Sums start from the largest probability, so that what is probable has the fewest roundings, and nothing under- or overflows.
    """
    peak = int(np.argmax(np.concatenate([[0.0], np.cumsum(steps)])))
    logs = np.concatenate([-np.cumsum(steps[:peak][::-1])[::-1], [0.0], np.cumsum(steps[peak:])])
    p = np.exp(logs - logs.max())
    return Column(first, p / p.sum())


def poisson_column(mean: float, tail: float = FAR) -> Column:
    """A Poisson law, but for at most `tail` (and what underflows) at either side."""
    if mean == 0:
        return Column(0, np.ones(1))
    depth = -np.log(FAR)
    wide = np.sqrt(2 * depth * mean)  # Chernoff's bounds
    low, high = max(0, int(mean - wide)), int(mean + depth / 3 + np.sqrt((depth / 3) ** 2 + wide**2)) + 1
    if high - low > 2 * MOST_CELLS:
        raise ConvergenceError(f"a Poisson law with mean {mean:.3g} has too many counts; use langevin or lna")
    whole = column_from_steps(low, np.log(mean / np.arange(low + 1, high + 1)))
    return whole.trimmed(max(tail, FAR))


def most_probable(p: np.ndarray, negligible: float) -> np.ndarray:
    """The places, in order, without the least probable ones, which hold `negligible` at most in all, and without zeros.

    They are sorted by their binary exponents alone.
    """
    size = np.frexp(p)[1]
    low = int(size.min())
    mass = np.cumsum(np.bincount(size - low, weights=p))
    least = low + int(np.searchsorted(mass, negligible, side="right"))
    return np.flatnonzero((size >= least) & (p > 0))


def together(columns: list[Column], negligible: float, max_states: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent counts: states (N, S) and probabilities, without the least probable, which hold `negligible` at most in all."""
    shape = tuple(len(column.p) for column in columns)
    check_cells(float(np.prod([float(n) for n in shape])), max_states)
    p = np.ones(1)
    for column in columns:
        p = (p[:, None] * column.p).ravel()
    kept = most_probable(p, negligible)
    check_states(len(kept), max_states)
    places = np.unravel_index(kept, shape)
    return np.stack([place + column.first for place, column in zip(places, columns, strict=True)], axis=1).astype(np.int64), p[kept]


def check_cells(n_cells: float, max_states: int) -> None:
    """Refuse a box of states that is too large to fill."""
    if n_cells > max(MOST_CELLS, 4 * max_states):
        raise ConvergenceError(f"the closed form fills a box of {n_cells:.3g} states first, which is too many; loosen tol")


def check_states(n_states: int, max_states: int) -> None:
    """Refuse more states than were asked for."""
    if n_states > max_states:
        raise ConvergenceError(f"the closed form needs {n_states} states; raise max_states (now {max_states}) or loosen tol")
