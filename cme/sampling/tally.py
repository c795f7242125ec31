"""`Tally`: what an ensemble keeps of its paths. The same to the last bit in whatever order, blocks and threads the paths come.

Whole numbers are summed exactly. Real numbers are summed over the 32 paths of a leaf, and leaves are merged two by two in a tree that
is laid out over the numbers of the paths, once and for all. The bins of a histogram are [j w, (j + 1) w) with w the smallest power of
two at which all values so far fit into K bins; going over from w to 2 w merges whole bins, and w depends on the least and the
greatest value alone.
"""

import math
from collections.abc import Iterable

import numpy as np

from cme.ensembles import Bins
from cme.errors import ModelError
from cme.kernels import tally as kernels

LEAF = 32
_FINEST = -1000  # bins of real numbers are at least 2^-1000 wide, those of whole numbers 1
_LARGEST_PLACE = 2.0**53  # numbers of bins that float64 holds

Place = tuple[int, int]  # 0 for whole numbers and 1 for real ones; the column there


class Tally:
    """Sums, histograms and joint histograms of columns of whole and of real numbers."""

    def __init__(self, n_times: int, widths: tuple[int, int], mixed: tuple[bool, bool], charts: dict[str, Place], joints: dict, bins: int):
        """`widths` and `mixed` (are products of columns kept?) are of whole and of real numbers; joints: names -> places."""
        self.wholes = WholeSums(n_times, widths[0], mixed[0])
        self.reals = RealSums(n_times, widths[1], mixed[1])
        kinds = (0, _FINEST)
        self.charts = {name: (place, Chart(n_times, [kinds[place[0]]], bins)) for name, place in charts.items()}
        side = math.isqrt(8 * bins)
        self.joints = {pair: (places, Chart(n_times, [kinds[table] for table, _ in places], side)) for pair, places in joints.items()}
        self.stopped = np.zeros(n_times, dtype=np.int64)

    def add(self, first: int, wholes: np.ndarray, reals: np.ndarray) -> None:
        """Add paths first, first + 1, ...: (B, T, C) of whole numbers and of real ones; then `first` is a multiple of LEAF."""
        rows = (_rows(wholes), _rows(reals))
        extremes = tuple(_extremes(each) for each in rows)
        self.wholes.add(rows[0])
        self.reals.add(first, rows[1])
        for (table, i), chart in self.charts.values():
            chart.widen([tuple(each[:, i] for each in extremes[table])])
            kernels.count(rows[table], i, chart.scale(0), chart.first[0], chart.counts)
        for ((table, i), (other, j)), chart in self.joints.values():
            chart.widen([tuple(each[:, i] for each in extremes[table]), tuple(each[:, j] for each in extremes[other])])
            places = chart.scale(0), chart.first[0], chart.scale(1), chart.first[1]
            kernels.count_pairs(rows[table], i, rows[other], j, *places, chart.counts)

    def merge(self, other: "Tally") -> None:
        """Add the paths of another tally."""
        self.wholes.merge(other.wholes)
        self.reals.merge(other.reals)
        for mine, others in ((self.charts, other.charts), (self.joints, other.joints)):
            for name, (_, chart) in mine.items():
                chart.merge(others[name][1])
        self.stopped += other.stopped


def _rows(values: np.ndarray) -> np.ndarray:
    rows = np.empty((*values.shape[1:], len(values)), dtype=values.dtype)
    if rows.size:
        kernels.turn(values, rows)
    return rows


def _extremes(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    shape = rows.shape[:2]
    found = np.empty(shape), np.empty(shape), np.empty(shape, np.int64), np.empty(shape, np.int64)
    if rows.size:
        kernels.extremes(rows, *found)
    return found


# ------------------------------------------------------------------------------------------------------------- sums


def pairs(n_columns: int, mixed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The columns i <= j of the products, in order; without `mixed` only i = j."""
    return np.triu_indices(n_columns) if mixed else (np.arange(n_columns), np.arange(n_columns))


class WholeSums:
    """Sums of whole numbers and of their products, in 128 bits."""

    def __init__(self, n_times: int, n_columns: int, mixed: bool):
        self.pairs, self.mixed = pairs(n_columns, mixed), mixed
        self.sums = np.zeros((n_times, n_columns, 2), dtype=np.uint64)
        self.products = np.zeros((n_times, len(self.pairs[0]), 2), dtype=np.uint64)
        self.bits = 0  # at least as large as each number, whatever its sign

    def add(self, rows: np.ndarray) -> None:
        """Add rows (T, C, B)."""
        if not rows.size:
            return
        self.bits |= kernels.add_moments(rows, self.mixed, self.sums, self.products)
        if self.bits >= 2**53:
            raise ModelError(f"a count reaches {np.abs(rows).max():.3g}, and an ensemble sums counts below 2^53; use ssa, which keeps them")

    def merge(self, other: "WholeSums") -> None:
        """Add other sums."""
        for mine, more in ((self.sums, other.sums), (self.products, other.products)):
            mine[..., 1] += more[..., 1]
            mine[..., 0] += more[..., 0] + (mine[..., 1] < more[..., 1])
        self.bits |= other.bits

    def moments(self, n_paths: int) -> tuple[np.ndarray, np.ndarray]:
        """Means (T, C), and covariances (T, P) with M - 1 in the denominator, each the float64 next to the exact number."""
        if n_paths * (self.bits + 1) ** 2 >= 2**127:
            raise ModelError(f"the squares of {n_paths} counts of up to {self.bits:.3g} do not fit 128 bits; take fewer paths")
        short = n_paths**2 * (self.bits + 1) ** 2 < 2**53  # then float64 holds all that is divided, and its quotient is the one next to it
        means, covariance = np.empty(self.sums.shape[:2]), np.full(self.products.shape[:2], np.nan)
        first, second = self.pairs
        for k in range(len(means)):  # Python's integers take ten times the memory: those of one time at once
            sums, products = (words[k, :, 1].astype(np.int64) if short else _whole(words[k]) for words in (self.sums, self.products))
            means[k] = sums / n_paths
            if n_paths > 1:
                covariance[k] = (n_paths * products - sums[first] * sums[second]) / (n_paths * (n_paths - 1))
        return means, covariance


def _whole(words: np.ndarray) -> np.ndarray:
    """Python's integers from two words each."""
    return words[..., 0].astype(np.int64).astype(object) * 2**64 + words[..., 1].astype(object)


class RealSums:
    """Means of real numbers and sums of products of the distances from them, merged in a fixed tree over the paths.

    Chan, Golub and LeVeque, Amer. Statist. 37 (1983) 242, doi:10.1080/00031305.1983.10483115, eq (2.1).
    """

    def __init__(self, n_times: int, n_columns: int, mixed: bool):
        self.pairs, self.mixed = pairs(n_columns, mixed), mixed
        self.shape = (n_times, n_columns), (n_times, len(self.pairs[0]))
        self.nodes: dict[tuple[int, int], tuple[int, np.ndarray, np.ndarray]] = {}  # (level, number): paths, means, sums of products

    def add(self, first: int, rows: np.ndarray) -> None:
        """Add rows (T, C, B) of paths first, first + 1, ..."""
        if not self.shape[0][1]:
            return
        for start in range(0, rows.shape[2], LEAF):
            leaf = np.ascontiguousarray(rows[..., start : start + LEAF])
            mean, spread = np.empty(self.shape[0]), np.empty(self.shape[1])
            kernels.real_moments(leaf, self.mixed, mean, spread)
            self._insert(0, (first + start) // LEAF, (leaf.shape[2], mean, spread))

    def _insert(self, level: int, number: int, node: tuple[int, np.ndarray, np.ndarray]) -> None:
        while (sibling := self.nodes.pop((level, number ^ 1), None)) is not None:
            node = self._merged(sibling, node) if number & 1 else self._merged(node, sibling)
            level, number = level + 1, number >> 1
        self.nodes[level, number] = node

    def _merged(self, left: tuple[int, np.ndarray, np.ndarray], right: tuple[int, np.ndarray, np.ndarray]):
        (n, mean, spread), (more, other_mean, other_spread) = left, right
        first, second = self.pairs
        with np.errstate(invalid="ignore", over="ignore"):  # an infinite value makes nan
            apart = other_mean - mean
            between = apart[:, first] * apart[:, second] * (n * (more / (n + more)))
            return n + more, mean + apart * (more / (n + more)), spread + other_spread + between

    def merge(self, other: "RealSums") -> None:
        """Add the nodes of another tree over the same paths."""
        for (level, number), node in other.nodes.items():
            self._insert(level, number, node)

    def moments(self, n_paths: int) -> tuple[np.ndarray, np.ndarray]:
        """Means (T, C) and covariances (T, P) with M - 1 in the denominator."""
        if not self.shape[0][1]:
            return np.empty(self.shape[0]), np.empty(self.shape[1])
        rest = sorted(self.nodes.items(), key=lambda item: item[0][1] << item[0][0])
        whole = rest[0][1]
        for _, node in rest[1:]:
            whole = self._merged(whole, node)
        assert whole[0] == n_paths
        return whole[1], whole[2] / (n_paths - 1) if n_paths > 1 else np.full(self.shape[1], np.nan)


# ------------------------------------------------------------------------------------------------------- histograms


class Chart:
    """Counts in bins at each time, of one column or of two together: (T, K) or (T, K, K)."""

    def __init__(self, n_times: int, finest: list[int], bins: int):
        self.counts = np.zeros((n_times, *[bins] * len(finest)), dtype=np.int64)
        shape = (len(finest), n_times)  # an axis for each column
        self.lowest, self.highest = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.broken, self.unfit = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.level = np.repeat(np.array(finest, dtype=np.int64)[:, None], n_times, axis=1)  # the width is 2^level
        self.first = np.zeros(shape, dtype=np.int64)  # bin n holds [first + n, first + n + 1) times the width

    def scale(self, axis: int) -> np.ndarray:
        """One over the width, (T,)."""
        return np.ldexp(1.0, -self.level[axis])

    def widen(self, extremes: Iterable[tuple[np.ndarray, ...]]) -> None:
        """Make the bins hold all from the least to the greatest value of each axis; what more there is at each time is given as (T,)."""
        level, first, grown = self.level.copy(), self.first.copy(), False
        for axis, (lowest, highest, broken, unfit) in enumerate(extremes):
            self.broken[axis] += broken
            self.unfit[axis] += unfit
            if np.all(lowest >= self.lowest[axis]) and np.all(highest <= self.highest[axis]):
                continue
            grown = True
            np.minimum(self.lowest[axis], lowest, out=self.lowest[axis])
            np.maximum(self.highest[axis], highest, out=self.highest[axis])
            seen = self.lowest[axis] <= self.highest[axis]
            low, high = np.where(seen, self.lowest[axis], 0.0), np.where(seen, self.highest[axis], 0.0)
            level[axis], first[axis] = _bins_for(low, high, level[axis], first[axis], self.counts.shape[1])
        if grown:
            self._move(level, first)

    def _move(self, level: np.ndarray, first: np.ndarray) -> None:
        moved = np.any((level != self.level) | (first != self.first), axis=0)
        for k in np.flatnonzero(moved).tolist():
            before = self.counts[k].copy()
            self.counts[k] = 0
            self._pour(k, before, self.level[:, k], self.first[:, k], level[:, k], first[:, k])
        self.level, self.first = level, first

    def _pour(self, k: int, source: np.ndarray, level, first, to_level, to_first) -> None:
        """Add counts in other bins, as wide or narrower, to those at time k."""
        held = np.nonzero(source)
        where = tuple(
            ((f + place) >> np.minimum(to - lev, 63)) - to_f
            for f, lev, to, to_f, place in zip(first, level, to_level, to_first, held, strict=True)
        )
        np.add.at(self.counts[k], where, source[held])

    def merge(self, other: "Chart") -> None:
        """Add the counts of another chart."""
        self.widen(zip(other.lowest, other.highest, other.broken, other.unfit, strict=True))
        for k, source in enumerate(other.counts):
            self._pour(k, source, other.level[:, k], other.first[:, k], self.level[:, k], self.first[:, k])

    def finish(self) -> list[tuple[tuple[Bins, ...], np.ndarray, int]]:
        """At each time: the bins of each axis from that of the least to that of the greatest value, the counts, and how many are unfit."""
        level = np.where(self.broken == 0, np.maximum(self.level, 0), self.level)  # no bins between whole numbers
        seen = self.lowest <= self.highest
        self._move(level, _place(np.where(seen, self.lowest, 0.0), level))
        sizes = np.where(seen, _place(np.where(seen, self.highest, 0.0), level) - self.first + 1, 0)
        rows = zip(level.T.tolist(), self.first.T.tolist(), sizes.T.tolist(), (self.broken == 0).T.tolist(), strict=True)
        found = []
        for counts, row, unfit in zip(self.counts, rows, self.unfit.max(axis=0).tolist(), strict=True):
            bins = [_bins(*each) for each in zip(*row, strict=True)]
            held = tuple(slice(0, len(each.lowest)) for each in bins)
            found.append((tuple(bins), counts[held].copy(), unfit))
        return found


def _bins(level: int, first: int, size: int, whole: bool) -> Bins:
    lowest = np.ldexp(np.arange(first, first + size, dtype=np.float64), level)
    counted = whole and max(abs(first), abs(first + size)) * 2.0**level < 2.0**62
    return Bins(lowest.astype(np.int64) if counted else lowest, 2.0**level, whole)


def _bins_for(low: np.ndarray, high: np.ndarray, level: np.ndarray, first: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The levels and the first bins (T,): as they are where they hold low to high, else of the least levels at which bins can."""
    unfit = ~_do_fit(low, high, level, bins)
    if unfit.any():
        level = level.copy()
        span, largest = np.frexp(high - low)[1], np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
        surely = np.maximum(np.where(high > low, span - math.frexp(bins)[1] - 3, _FINEST), largest - 54)  # finer ones do not fit
        level[unfit] = np.maximum(level, surely)[unfit]
        while (unfit := ~_do_fit(low, high, level, bins)).any():
            level[unfit] += 1
    lowest, highest = _place(low, level), _place(high, level)
    outside = (lowest < first) | (highest >= first + bins)
    return level, np.where(outside, lowest - ((bins - 1 - (highest - lowest)) >> 1), first)


def _do_fit(low: np.ndarray, high: np.ndarray, level: np.ndarray, bins: int) -> np.ndarray:
    """Do the bins hold low to high, and float64 their numbers?"""
    with np.errstate(over="ignore"):
        holds = np.maximum(np.abs(low), np.abs(high)) * np.ldexp(1.0, -level) <= _LARGEST_PLACE
    return holds & (_place(np.where(holds, high, 0.0), level) - _place(np.where(holds, low, 0.0), level) < bins)


def _place(value, level) -> np.ndarray:
    """The number of the bin of a value, as in the kernel."""
    place = np.floor(value * np.ldexp(1.0, -level))
    return np.where((place == 0.0) & (np.asarray(value) < 0.0), -1.0, place).astype(np.int64)
