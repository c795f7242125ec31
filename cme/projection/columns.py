"""`Column`: the law of one count on a range, right in relative terms; and independent counts together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cme.errors import ConvergenceError

UNIT = 2.0**-53  # a rounding, relative
FAR = 1e-280  # where a law of one count ends: tails are worth having, and cost little
DEPTH = -np.log(FAR)
MOST_FAR = 200_000  # counts that may be kept for tails alone
MOST_CELLS = 20_000_000  # of a box, before the improbable ones are left out


class Column(NamedTuple):
    """Probabilities of the counts first, first + 1, ...; they may sum to less than one. Rounding has made so much of them at most."""

    first: int
    p: np.ndarray
    rounding: float = 0.0

    def trimmed(self, tail: float) -> "Column":
        """Without what holds at most `tail` at either side."""
        low = int(np.searchsorted(np.cumsum(self.p), tail, side="right"))
        high = len(self.p) - int(np.searchsorted(np.cumsum(self.p[::-1]), tail, side="right"))
        return Column(self.first + low, self.p[low : max(high, low + 1)], self.rounding)


def column_from_steps(first: int, steps: np.ndarray, off: np.ndarray | float = 0.0) -> Column:
    """The law on len(steps) + 1 counts from the logarithms of p(n + 1) / p(n), which are `off` by so many roundings each, normalised.

    Sums start from the largest probability, so that what is probable has the fewest roundings, and nothing under- or overflows. A sum
    that is rounded at each step is off by the sum of its values, and of what is off in what is added.
    """
    peak = int(np.argmax(np.concatenate([[0.0], np.cumsum(steps)])))
    logs = np.concatenate([-np.cumsum(steps[:peak][::-1])[::-1], [0.0], np.cumsum(steps[peak:])])
    p = np.exp(logs - logs.max())
    p /= p.sum()
    each = np.broadcast_to(off, steps.shape) + np.abs(np.concatenate([logs[:peak], logs[peak + 1 :]]))
    far = np.concatenate([np.cumsum(each[:peak][::-1])[::-1], [0.0], np.cumsum(each[peak:])])
    return Column(first, p, float(2 * UNIT * (p @ (far + np.abs(logs)) + 24.0 + np.log2(len(p)))))  # twice, since they are normalised


def poisson_column(mean: float, tail: float = FAR) -> Column:
    """A Poisson law, but for at most `tail` (and what underflows) at either side."""
    if mean == 0:
        return Column(0, np.ones(1))
    wide = np.sqrt(2 * DEPTH * mean)  # Chernoff's bounds
    low, high = mean - wide, mean + DEPTH / 3 + np.sqrt((DEPTH / 3) ** 2 + wide**2) + 1
    first, last = _range(low, high, np.inf)
    steps = np.log(mean / np.arange(first + 1, last + 1))
    return column_from_steps(first, steps, 1 + 2 * np.abs(steps)).trimmed(max(tail, FAR))


def binomial_column(n: int, p: float, rest: float, tail: float = FAR) -> Column:
    """How many of n are there that each is with probability p, and not with `rest`; but for at most `tail` at either side."""
    if p == 0 or rest == 0 or n == 0:
        return Column(n if rest == 0 else 0, np.ones(1))
    share = p / (p + rest)
    wide = DEPTH / 3 + np.sqrt((DEPTH / 3) ** 2 + 2 * DEPTH * n * share * (rest / (p + rest)))  # Bernstein's bound
    first, last = _range(n * share - wide - 1, n * share + wide + 1, n)
    counts = np.arange(first, last)
    ratios, odds = np.log((n - counts) / (counts + 1)), np.log(p / rest)
    steps = ratios + odds
    return column_from_steps(first, steps, 2 + 2 * (np.abs(ratios) + abs(odds)) + np.abs(steps)).trimmed(max(tail, FAR))


def _range(low: float, high: float, most: float) -> tuple[int, int]:
    if high > 2.0**53 or min(high, most) - max(low, 0.0) > 2 * MOST_CELLS:
        raise ConvergenceError(f"a count near {0.5 * (low + high):.3g} has too many likely values; use langevin or lna")
    return int(max(low, 0.0)), int(min(high, most))


def most_probable(p: np.ndarray, negligible: float) -> np.ndarray:
    """The places, in order, without the least probable ones, which hold `negligible` at most in all, and without zeros.

    They are sorted by their binary exponents alone.
    """
    size = np.frexp(p)[1]
    low = int(size.min())
    mass = np.cumsum(np.bincount(size - low, weights=p))
    least = low + int(np.searchsorted(mass, negligible, side="right"))
    return np.flatnonzero((size >= least) & (p > 0))


class Block(NamedTuple):
    """The joint law of a few counts: states (N, S) and probabilities (N,), which may sum to less than one."""

    states: np.ndarray
    p: np.ndarray


def together(parts: Sequence[Column | Block], negligible: float, max_states: int) -> Block:
    """Independent counts, without the least probable states, which hold `negligible` at most in all."""
    blocks = [_block(part) if isinstance(part, Column) else part for part in parts]
    check_cells(float(np.prod([float(len(block.p)) for block in blocks])), max_states)
    p = np.ones(1)
    for block in blocks:
        p = (p[:, None] * block.p).ravel()
    kept = most_probable(p, negligible)
    check_states(len(kept), max_states)
    places = np.unravel_index(kept, [len(block.p) for block in blocks])
    states = [block.states[place] for place, block in zip(places, blocks, strict=True)]
    return Block(np.concatenate(states, axis=1), p[kept])


def _block(column: Column) -> Block:
    return Block(column.first + np.arange(len(column.p), dtype=np.int64)[:, None], column.p)


def check_cells(n_cells: float, max_states: int) -> None:
    """Refuse a box of states that is too large to fill."""
    if n_cells > max(MOST_CELLS, 4 * max_states):
        raise ConvergenceError(f"the closed form fills a box of {n_cells:.3g} states first, which is too many; loosen tol")


def check_states(n_states: int, max_states: int) -> None:
    """Refuse more states than were asked for."""
    if n_states > max_states:
        raise ConvergenceError(f"the closed form needs {n_states} states; raise max_states (now {max_states}) or loosen tol")


class Laws(NamedTuple):
    """Laws at several times in closed form: for each, what rounding may have added, and by what."""

    blocks: list[Block]
    error: np.ndarray
    exact_by: str


def mixture(blocks: Sequence[Block], weights: np.ndarray) -> Block:
    """The sum of laws with weights, on the states of any."""
    if len(blocks) == 1:
        return Block(blocks[0].states, weights[0] * blocks[0].p)
    states, place = places_in(blocks)
    p = np.concatenate([weight * block.p for weight, block in zip(weights, blocks, strict=True)])
    return Block(states, np.bincount(place, weights=p, minlength=len(states)))


def places_in(blocks: Sequence[Block]) -> tuple[np.ndarray, np.ndarray]:
    """All states of some laws, each once, and where those of one after the other are among them."""
    rows = np.concatenate([block.states for block in blocks])
    low, size = rows.min(axis=0), np.ptp(rows, axis=0) + 1
    if np.prod(size.astype(np.float64)) < 2**62:  # one number for each state sorts faster than a row
        key = np.ravel_multi_index(tuple((rows - low).T), tuple(size.tolist()))
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
        return rows[first], place
    found, place = np.unique(rows, axis=0, return_inverse=True)
    return found, place.ravel()
