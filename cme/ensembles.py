"""`Ensemble`: what very many random paths say together, without the paths. The fourth result, beside those of `cme.results`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cme.cells import Cells, Marginal, check_counts, count_points, single_counts
from cme.tables import ResultInTime, span_of, with_info

if TYPE_CHECKING:
    import pandas as pd


class Bins(NamedTuple):
    """Bins of one width: of whole numbers, lowest[n], ..., lowest[n] + width - 1; of others [lowest[n], lowest[n] + width)."""

    lowest: np.ndarray  # (K,) a multiple of the width
    width: float  # a power of two
    whole: bool  # are all values whole numbers?

    @property
    def middle(self) -> np.ndarray:
        """The value in the middle of each bin, (K,); the value itself where there is but one."""
        return self.lowest + (self.width - 1) / 2 if self.whole and self.width > 1 else self.lowest + (0 if self.whole else self.width / 2)

    @property
    def edges(self) -> np.ndarray:
        """Where the bins begin and end, (K + 1,): half way between whole numbers."""
        return np.append(self.lowest, self.lowest[-1:] + self.width) - (0.5 if self.whole else 0.0)


class Histogram(NamedTuple):
    """How many paths are in each bin at one time."""

    bins: Bins
    counts: np.ndarray  # (K,)
    unfit: int = 0  # values that are no finite numbers, and in no bin


class Joint(NamedTuple):
    """How many paths are in each pair of bins of two species or observables at one time."""

    bins: tuple[Bins, Bins]
    counts: np.ndarray  # (K, L)


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(ResultInTime):
    """Means, covariances and histograms of random paths at given times.

    Attributes
    ----------
    times : (T,)
    species : S names
    n_paths : M
    means : (T, S)
    variances : (T, S)
        With M - 1 in the denominator.
    covariances : (T, S, S) or None
        None if they were not asked for, nor kept by default.
    observables : name -> (T,)
        Means of observables, and of what else has a value of its own.
    observable_variances : name -> (T,)
    histograms : name -> T histograms
    joints : (name, name) -> T joint histograms
    stopped : (T,) or None
        How many paths have met the `stop` condition by each time.
    """

    times: np.ndarray
    species: tuple[str, ...]
    n_paths: int
    means: np.ndarray
    variances: np.ndarray
    covariances: np.ndarray | None
    info: Mapping[str, Any]
    observables: Mapping[str, np.ndarray] = field(default_factory=dict)
    observable_variances: Mapping[str, np.ndarray] = field(default_factory=dict)
    histograms: Mapping[str, tuple[Histogram, ...]] = field(default_factory=dict)
    joints: Mapping[tuple[str, str], tuple[Joint, ...]] = field(default_factory=dict)
    stopped: np.ndarray | None = None
    coarse: None = None  # it has no time step

    def __getitem__(self, name: str) -> np.ndarray:
        """The mean of a species or observable, (T,)."""
        return self.observables[name] if name in self.observables else self.means[:, self.species_index(name)]

    def mean(self) -> np.ndarray:
        """(T, S)."""
        return self.means

    def variance(self, name: str) -> np.ndarray:
        """The variance of a species or observable, (T,); nan for a single path."""
        return self.observable_variances[name] if name in self.observable_variances else self.variances[:, self.species_index(name)]

    def sd(self) -> np.ndarray:
        """Standard deviation with M - 1 in the denominator, (T, S); nan for a single path."""
        return np.sqrt(self.variances)

    def covariance(self) -> np.ndarray:
        """Covariance with M - 1 in the denominator, (T, S, S); nan for a single path."""
        if self.covariances is None:
            raise ValueError("covariances were not kept, as by default of more than 100 species; call ensemble(..., covariance=True)")
        return self.covariances

    def standard_error(self) -> np.ndarray:
        """Standard error of the mean, (T, S)."""
        return self.sd() / np.sqrt(self.n_paths)

    def variance_error(self) -> np.ndarray:
        """Standard error of the variance, (T, S), from the fourth moments of the histograms; these are rough where bins are wide."""
        out = np.empty_like(self.variances)
        for s, name in enumerate(self.species):
            for t, variance in enumerate(self.variances[:, s]):
                chart = self.histogram(name, t)
                fourth = float(chart.counts @ (chart.bins.middle - self.means[t, s]) ** 4) / self.n_paths
                out[t, s] = np.sqrt(max(fourth - variance**2 * (self.n_paths - 3) / max(self.n_paths - 1, 1), 0.0) / self.n_paths)
        return out

    def histogram(self, name: str, time_index: int) -> Histogram:
        """The histogram of a species or observable at one time, in bins as wide as it took for all values to fit."""
        if name not in self.histograms:
            if name not in self.observables:
                self.species_index(name)
            raise ValueError(f"no histogram of {name!r} was kept; call ensemble(..., histogram=True) or histogram=[{name!r}]")
        return self.histograms[name][time_index]

    def bin_width(self, name: str) -> np.ndarray:
        """The width of the bins of a histogram at each time, (T,)."""
        return np.array([self.histogram(name, t).bins.width for t in range(len(self.times))])

    def joint(self, a: str, b: str, time_index: int) -> Joint:
        """The joint histogram of two species or observables at one time, counts (K, L) with a first."""
        if (a, b) in self.joints:
            return self.joints[a, b][time_index]
        if (b, a) in self.joints:
            found = self.joints[b, a][time_index]
            return Joint(found.bins[::-1], found.counts.T)
        raise ValueError(f"no joint histogram of {a!r} and {b!r} was kept; call ensemble(..., joint=[({a!r}, {b!r})])")

    def quantile(self, q: float, name: str | None = None) -> np.ndarray:
        """The least value at or below which lies a fraction q of the paths, (T, S), or (T,) for one species or observable.

        Exact where bins have width 1 (see `bin_width`); otherwise the middle of the bin that holds it. nan where values are not finite.
        """
        if not (isinstance(q, int | float | np.number) and 0 <= q <= 1):
            raise ValueError(f"a quantile is asked for a fraction from 0 to 1, not {q!r}")
        if name is None:
            return np.stack([self.quantile(q, each) for each in self.species], axis=1) if self.species else np.empty(self.means.shape)
        out = np.full(len(self.times), np.nan)
        for t in range(len(self.times)):
            chart = self.histogram(name, t)
            if chart.unfit == 0:
                out[t] = chart.bins.middle[np.searchsorted(np.cumsum(chart.counts), max(q * self.n_paths, 1) * (1 - 1e-15), side="left")]
        return out

    def marginal(self, name: str, time_index: int, edges: np.ndarray | None = None, merged: int = 1) -> Marginal:
        """The empirical law of a species or observable at one time, on the integer cells that hold paths, or on given ones.

        The paths in a bin that is wider than a cell are spread evenly over it; `merged` bins are taken as one.
        """
        bins, counts, unfit = self.histogram(name, time_index)
        if unfit:
            raise ValueError(f"{name!r} is no finite number on {unfit} paths at t={self.times[time_index]:g}")
        mean, sd = float(self[name][time_index]), float(np.sqrt(self.variance(name)[time_index]))
        negative = float(counts[bins.lowest < 0].sum() / self.n_paths)
        if edges is not None:
            return Marginal(single_counts(count_points(bins.middle, edges, counts / self.n_paths)), negative, mean, sd, edges)
        check_counts(bins.edges)
        knots = np.unique(np.append(np.flatnonzero(bins.lowest % (merged * bins.width) == 0), [0, len(counts)]))
        starts = np.append(bins.lowest, bins.lowest[-1:] + (int(bins.width) if bins.whole else bins.width))[knots]
        return Marginal(_even_between(starts, np.append(0, np.cumsum(counts))[knots], bins.whole), negative, mean, sd)

    def to_frame(self) -> "pd.DataFrame":
        """A frame with columns time, species, mean, sd, standard_error, a row for each species and observable at each time."""
        import pandas as pd

        names = (*self.species, *self.observables)
        mean = np.array([self[name] for name in names]).reshape(len(names), len(self.times)).T.ravel()
        sd = np.sqrt(np.array([self.variance(name) for name in names]).reshape(len(names), len(self.times))).T.ravel()
        columns = {"time": np.repeat(self.times, len(names)), "species": list(names) * len(self.times), "mean": mean, "sd": sd}
        return with_info(pd.DataFrame(columns | {"standard_error": sd / np.sqrt(self.n_paths)}), self.info)

    def histogram_frame(self, name: str) -> "pd.DataFrame":
        """A frame with columns time, lowest, width, paths: a row for each bin of a histogram that holds any."""
        import pandas as pd

        frames = []
        for t, time in enumerate(self.times):
            bins, counts, _ = self.histogram(name, t)
            held = counts > 0
            frames.append(pd.DataFrame({"time": time, "lowest": bins.lowest[held], "width": bins.width, "paths": counts[held]}))
        return with_info(pd.concat(frames, ignore_index=True), self.info)

    def __repr__(self) -> str:
        return f"Ensemble: {self.n_paths} paths of {', '.join(self.species)}; {span_of(self.times)}; {self.info.get('solver')}"


def _even_between(starts: np.ndarray, below: np.ndarray, whole: bool) -> Cells:
    """The law of a sample of which so many lie below each start, evenly between two, on cells; the lowest takes everything below 1/2."""
    if not whole:
        starts = starts + 0.5  # the cell of n is now [n, n + 1)
    cuts = np.floor(starts).astype(np.int64)
    if not whole:  # a cell in which a bin starts is a block of its own
        cuts = np.unique(np.concatenate([cuts, cuts + 1]))
    if cuts[0] < 1:
        cuts = np.append([0, 1], cuts[cuts > 1])
    parts = np.interp(cuts, starts, below)
    counts, size = np.diff(parts), np.diff(cuts)
    counts[0] += parts[0]
    held = counts > 0
    return Cells(cuts[:-1][held], size[held], counts[held] / below[-1] / size[held])
