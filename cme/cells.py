"""Putting laws on cells: the integers for counts, a lattice of any width and place for positions on a line.

A law of counts is kept as blocks of counts (`Cells`): a sample as the counts that were met, a density on as many blocks as are of use.
What it takes grows with the number of blocks and not with the counts.
"""

import math
from typing import NamedTuple

import numpy as np

LARGEST = 2.0**62  # counts are below it
_MOST_BLOCKS = 2**18  # of a continuous law: a Gaussian has 10000 of them to a standard deviation at least
_LONGEST = 10**8  # of an array from 0 to the largest count


class Cells(NamedTuple):
    """The masses of counts, in blocks of neighbours that all have the same; there is nothing between blocks."""

    lowest: np.ndarray  # (K,) the first count of each block, in order
    size: np.ndarray  # (K,) how many counts it has
    p: np.ndarray  # (K,) the mass of each single one of them
    log: np.ndarray | None = None  # (K,) its logarithm, where that is known when the mass underflows

    @property
    def log_p(self) -> np.ndarray:
        """Logarithms of the masses of single counts, (K,)."""
        if self.log is not None:
            return self.log
        with np.errstate(divide="ignore"):
            return np.log(self.p)

    @property
    def mass(self) -> np.ndarray:
        """The masses of the blocks, (K,)."""
        return self.p * self.size

    @property
    def end(self) -> int:
        """One more than the greatest count; 0 if there is none."""
        return int(self.lowest[-1] + self.size[-1]) if len(self.lowest) else 0

    def dense(self) -> np.ndarray:
        """The masses of 0, 1, ..., up to the greatest count, (end,)."""
        if self.end > _LONGEST:
            raise ValueError(
                f"a law that reaches {self.end - 1:.3g} is too long an array from 0 on; "
                "take the counts that it has from .cells.lowest, and their masses from .cells.p"
            )
        out = np.zeros(self.end)
        starts = np.cumsum(self.size) - self.size
        out[np.repeat(self.lowest - starts, self.size) + np.arange(int(self.size.sum()))] = np.repeat(self.p, self.size)
        return out


def single_counts(p: np.ndarray, first: int = 0) -> Cells:
    """The masses of first, first + 1, ..."""
    return Cells(np.arange(first, first + len(p)), np.ones(len(p), dtype=np.int64), p)


def on_common_blocks(*laws: Cells) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Blocks on which each of the laws is even, without gaps: lowest counts, sizes, and of each law the masses and their logarithms."""
    held = [law for law in laws if len(law.lowest)]
    first, end = (int(held[0].lowest[0]), held[0].end) if held else (0, 0)
    for law in held[1:]:
        first, end = min(first, int(law.lowest[0])), max(end, law.end)
    if all(law.end - int(law.lowest[0]) == len(law.lowest) for law in held) and end - first <= 2 * sum(len(law.lowest) for law in held):
        lowest = np.arange(first, end)  # all are dense: nothing to sort
        places: list = [slice(int(law.lowest[0]) - first, law.end - first) if len(law.lowest) else slice(0) for law in laws]
        blocks_of: list = [slice(None)] * len(laws)
        size = np.ones(len(lowest), dtype=np.int64)
    else:
        cuts = np.unique(np.concatenate([each for law in held for each in (law.lowest, law.lowest + law.size)]))
        lowest, size = cuts[:-1], np.diff(cuts)
        found = [np.searchsorted(law.lowest, lowest, side="right") - 1 for law in laws]
        places = [
            (block >= 0) & (lowest < (law.lowest + law.size)[block]) if len(law.lowest) else np.zeros(len(lowest), dtype=bool)
            for law, block in zip(laws, found, strict=True)
        ]
        blocks_of = [block[place] for block, place in zip(found, places, strict=True)]
    masses, logs = np.zeros((len(laws), len(lowest))), np.full((len(laws), len(lowest)), -np.inf)
    for i, (law, place, block) in enumerate(zip(laws, places, blocks_of, strict=True)):
        masses[i, place], logs[i, place] = law.p[block], law.log_p[block]
    return lowest, size, list(masses), list(logs)


class Marginal(NamedTuple):
    """The law of one species at one time on counts, or of a position on K cells of a line.

    On counts, a continuous law is integrated over the cells [n - 1/2, n + 1/2); the lowest cell takes everything below 1/2.
    """

    cells: Cells  # of counts, or of the numbers 0, 1, ..., K-1 of the cells between the edges
    negative: float  # mass below zero; on counts, cell 0 holds it
    mean: float  # of the law itself, not of the cells
    sd: float
    edges: np.ndarray | None = None  # (K + 1,) of the cells of a position; None on counts

    @property
    def p(self) -> np.ndarray:
        """The masses of the counts 0, 1, ..., K-1, or of the cells between the edges, (K,); `ValueError` if these are too many."""
        return self.cells.dense()


def lattice_edges(centre: float, width: float, low: float, high: float) -> np.ndarray:
    """Edges of the cells [centre + (k - 1/2) width, centre + (k + 1/2) width), k whole, from that of `low` to that of `high`."""
    first, last = (int(np.floor((value - centre) / width + 0.5 + 1e-9)) for value in (low, high))
    return centre + width * (np.arange(first, last + 2) - 0.5)


def count_points(values: np.ndarray, edges: np.ndarray, p: np.ndarray | None = None) -> np.ndarray:
    """The masses p of points (by default 1/M each) in the cells between the edges; `ValueError` if a point lies in none."""
    values = np.asarray(values, dtype=np.float64)
    near = 1e-9 * (edges[1] - edges[0])  # sites are sums of rounded steps: those on an edge belong above it
    cell = np.searchsorted(edges, values + near, side="right") - 1
    outside = (cell < 0) | (cell >= len(edges) - 1)
    if np.any(outside):
        raise ValueError(f"the value {values[outside][0]:g} lies outside the cells from {edges[0]:g} to {edges[-1]:g}")
    weights = np.full(len(values), 1.0 / len(values)) if p is None else p
    return np.bincount(cell, weights=weights, minlength=len(edges) - 1)


def counted_points(values: np.ndarray, p: np.ndarray) -> Cells:
    """The masses p of whole numbers >= 0: of all from the least to the greatest, or of those that occur, where others are many."""
    check_counts(values)
    values = values.astype(np.int64)
    first, last = int(values.min()), int(values.max())
    if last - first < 4 * len(values) + 1000:
        return single_counts(np.bincount(values - first, weights=p), first)
    met, slot = np.unique(values, return_inverse=True)
    return Cells(met, np.ones(len(met), dtype=np.int64), np.bincount(slot, weights=p))


def spread_points(values: np.ndarray, p: np.ndarray, own_width: float, edges: np.ndarray, nodes_on_edge: bool = False) -> np.ndarray:
    """The masses of a density, known as masses p at centres of cells of its own, in the cells between the edges.

    If its own cells are the same, the masses stay as they are. Otherwise the distribution function is interpolated; what lies beyond
    the outermost edges goes into the outermost cells.
    """
    width = edges[1] - edges[0]
    place = (values - edges[0]) / width - 0.5
    if abs(own_width - width) < 1e-6 * width and np.all(np.abs(place - np.round(place)) < 1e-6):
        return count_points(values, edges, p)
    _, first, slot = np.unique(np.round(place, 6), return_index=True, return_inverse=True)
    cuts = edges.copy()
    cuts[[0, -1]] = -np.inf, np.inf
    return interpolate_masses(values[first], np.bincount(slot, weights=p), cuts, nodes_on_edge)[0]


def integer_cells(values: np.ndarray, p: np.ndarray, nodes_on_edge: bool, at: Cells | None = None) -> tuple[Cells, float]:
    """Put the masses of a density on the cells [n - 1/2, n + 1/2), n >= 0; the lowest takes all below 1/2. And the mass below zero.

    Where cells are too many they are taken in blocks, of which none reaches over a block of `at`.
    """
    centres, slot = np.unique(np.round(values, 9), return_inverse=True)
    mass = np.bincount(slot, weights=p)
    check_counts(centres)
    if centres.size == 1:
        return single_counts(mass, max(int(np.floor(centres[0] + 0.5)), 0)), float(mass[0] * (centres[0] < 0))
    edges = cell_edges(centres, nodes_on_edge)
    highest = max(int(np.ceil(edges[-1] + 0.5)), 1)
    lowest, size = blocks(max(int(np.floor(edges[0] + 0.5)), 0), highest, at)
    cuts = np.append(lowest, lowest[-1] + size[-1]) - 0.5
    cuts[0] = -np.inf
    cells, negative = interpolate_masses(centres, mass, cuts, nodes_on_edge)
    return Cells(lowest, size, cells / size), negative


def blocks(first: int, end: int, at: Cells | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Lowest counts and sizes of blocks from `first` to `end` - 1 and over all counts of `at`: single counts, or as few as are of use."""
    size = max(1, 2 ** math.ceil(math.log2((end - first) / _MOST_BLOCKS)))
    cuts = np.arange(first // size * size, end + size, size)
    if at is not None and len(at.lowest):
        cuts = np.unique(np.concatenate([cuts, at.lowest, at.lowest + at.size]))
    return cuts[:-1], np.diff(cuts)


def check_counts(values: np.ndarray) -> None:
    """`ValueError` if a value is none that can be put on integer cells."""
    if not np.all(np.abs(values) < LARGEST):  # nan is not
        worst = values[~(np.abs(values) < LARGEST)][0]
        raise ValueError(f"the value {worst:.3g} is on no integer cell; these go up to 2^62")


def cell_edges(centres: np.ndarray, nodes_on_edge: bool) -> np.ndarray:
    """A cell reaches half way to its neighbours; the outermost ones as far outward, or not at all if they lie on the edge."""
    edges = np.concatenate([centres[:1], (centres[:-1] + centres[1:]) / 2, centres[-1:]])
    if not nodes_on_edge:
        edges[[0, -1]] += [centres[0] - edges[1], centres[-1] - edges[-2]]
    return edges


def interpolate_masses(centres: np.ndarray, mass: np.ndarray, cuts: np.ndarray, nodes_on_edge: bool) -> tuple[np.ndarray, float]:
    """The masses between cuts, by monotone interpolation of the distribution function; and the mass below zero."""
    from scipy.interpolate import PchipInterpolator

    edges = cell_edges(centres, nodes_on_edge)
    with np.errstate(over="ignore"):  # the reciprocal of a slope of 1e-310 is infinite, and the slope then 0
        below = PchipInterpolator(edges, np.concatenate([[0.0], np.cumsum(mass)]))
        above = PchipInterpolator(edges, np.concatenate([np.cumsum(mass[::-1])[::-1], [0.0]]))
    cuts = np.clip(cuts, edges[0], edges[-1])
    from_below, from_above = below(cuts), above(cuts)  # differences are taken on the side where the numbers are small: tails stay accurate
    cells = np.where(from_below[1:] < from_above[1:], np.diff(from_below), -np.diff(from_above))
    return cells, float(below(np.clip(0.0, edges[0], edges[-1])))


def gaussian_log_masses(mean: float, sd: float, edges: np.ndarray) -> np.ndarray:
    """Logarithms of the Gaussian masses between edges, which do not underflow however far the tail."""
    from scipy.special import log_ndtr

    if sd == 0:
        with np.errstate(divide="ignore"):
            return np.log(((edges[:-1] <= mean) & (mean < edges[1:])).astype(np.float64))
    z = (edges - mean) / sd
    low = np.where(z[1:] > 0, -z[1:], z[:-1])  # reflect cells that end above the mean: both log_ndtr are then of the small tail
    high = np.where(z[1:] > 0, -z[:-1], z[1:])
    return log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))


def gaussian_marginal(mean: float, sd: float, edges: np.ndarray | None, at: Cells | None) -> Marginal:
    """A Gaussian law on integer cells, also on all counts of `at`, or between edges, of which the outermost cells take all beyond."""
    from scipy.special import ndtr

    negative = float(ndtr(-mean / sd)) if sd > 0 else float(mean < 0)
    if edges is None:
        return Marginal(_gaussian_cells(mean, sd, at), negative, mean, sd)
    log_p = gaussian_log_masses(mean, sd, np.concatenate([[-np.inf], edges[1:-1], [np.inf]]))
    return Marginal(single_counts(np.exp(log_p))._replace(log=log_p), negative, mean, sd, edges)


def _gaussian_cells(mean: float, sd: float, at: Cells | None) -> Cells:
    """To twelve standard deviations; the lowest cell takes everything below 1/2."""
    check_counts(np.array([mean, mean + 12 * sd]))
    centre = int(np.floor(mean + 0.5))
    if sd == 0:
        return Cells(np.array([max(centre, 0)]), np.ones(1, dtype=np.int64), np.ones(1), np.zeros(1))
    first, end = max(int(np.floor(mean - 12 * sd + 0.5)), 0), max(int(np.ceil(mean + 12 * sd)) + 1, 1)
    lowest, size = blocks(min(first, end - 1), end, at)
    edges = np.append(lowest, lowest[-1] + size[-1]) - centre - 0.5  # large counts have no halves in float64
    edges[0] = -np.inf
    log_p = gaussian_log_masses(mean - centre, sd, edges) - np.log(size)
    return Cells(lowest, size, np.exp(log_p), log_p)


def shifted(values: np.ndarray) -> np.ndarray:
    """Values, or if they are large whole numbers, of which float64 does not hold the mean well, their distances from the first."""
    large = np.issubdtype(values.dtype, np.integer) and values.size and max(values.max(), -values.min()) >= 2**31
    return values - values[:1] if large else values


def kept_sd(values: np.ndarray, p: np.ndarray) -> float:
    """The standard deviation of masses p at values, about the mean of what is there: what was lost is no mass at zero."""
    if not p.sum() > 0:
        return 0.0
    off = values - values[np.argmax(p)]
    return float(np.sqrt(p @ (off - p @ off / p.sum()) ** 2))


def sampled_marginal(values: np.ndarray, edges: np.ndarray | None) -> Marginal:
    """Count values into integer cells, or into those between edges."""
    sd = float(np.std(shifted(values), ddof=1)) if len(values) > 1 else np.nan
    negative, mean = float(np.mean(values < 0)), float(np.mean(values))
    if edges is not None:
        return Marginal(single_counts(count_points(values, edges)), negative, mean, sd, edges)
    check_counts(values)
    whole = values if np.issubdtype(values.dtype, np.integer) else np.floor(np.asarray(values, dtype=np.float64) + 0.5).astype(np.int64)
    met, counts = np.unique(np.maximum(whole, 0), return_counts=True)  # the lowest cell takes everything below 1/2
    return Marginal(Cells(met.astype(np.int64), np.ones(len(met), dtype=np.int64), counts / len(values)), negative, mean, sd)
