"""`Law`: what `compare` asks of the law of one species at one time, whichever result it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cme import distances
from cme.ensembles import Ensemble
from cme.results import Distribution, Moments, Trajectories

Result = Distribution | Trajectories | Ensemble | Moments


@dataclass(frozen=True)
class Law:
    """The law of one species at one time, with what limits it. `p` is empty if the values are no counts or only moments are known."""

    mean: float
    sd: float
    p: np.ndarray  # on the cells 0, 1, ..., K-1, or on those of a position
    log_p: np.ndarray
    negative: float = 0.0
    lost: float = 0.0
    integration: float = 0.0
    span: tuple[float, float] = (0.0, 0.0)  # the least and the greatest value that is kept
    samples: np.ndarray | None = None
    weights: np.ndarray | None = None  # how many paths have each of the samples; None if one
    unresolved: float = 0.0  # less probability than this is not told from none on this grid
    twin: "tuple[Law, Law] | None" = None  # on this grid and on one twice as wide, alike in all else
    width: float | None = None  # of the cells of a position; None for an amount

    @property
    def n_paths(self) -> int:
        if self.samples is None:
            return 0
        return len(self.samples) if self.weights is None else int(self.weights.sum())


NO_CELLS = np.empty(0)


def law_of(result: Result, name: str, t: int, *, cells: int = 0, edges: np.ndarray | None = None) -> Law:
    """The law of a species or observable at time number t, on at least so many cells, or between the edges of given ones."""
    width = None if edges is None else float(edges[1] - edges[0])
    if isinstance(result, Moments):
        return replace(_law_of_moments(result, name, t, cells, edges), width=width)
    if isinstance(result, Ensemble):
        return replace(_law_of_ensemble(result, name, t, edges), width=width)
    make: Callable = _law_of_paths if isinstance(result, Trajectories) else _law_of_states
    law = replace(make(result, name, t, edges), width=width)
    if result.coarse is None:
        return law
    coarse = replace(make(result.coarse, name, result.coarse.time_index(result.times[t]), edges), width=width)
    if isinstance(result, Trajectories):
        return replace(law, twin=(make(result.first(result.coarse.n_paths), name, t, edges), coarse))
    law, coarse = (replace(each, unresolved=distances.total_variation(law.p, coarse.p)) for each in (law, coarse))
    return replace(law, twin=(law, coarse))


def _law_of_moments(result: Moments, name: str, t: int, cells: int, edges: np.ndarray | None) -> Law:
    if result.covariance is None or name in result.observables:
        return Law(float(result[name][t]), np.nan, NO_CELLS, NO_CELLS)
    marginal = result.marginal(name, t, edges)
    log_p = result.log_cells(name, t, max(cells, len(marginal.p)), edges)
    return Law(marginal.mean, marginal.sd, np.exp(log_p), log_p, marginal.negative)


def _law_of_paths(result: Trajectories, name: str, t: int, edges: np.ndarray | None) -> Law:
    samples = result[name][:, t]
    no_count = np.issubdtype(result.counts.dtype, np.integer) and bool(np.any((samples != np.round(samples)) | (samples < 0)))
    if edges is None and (result.cells is not None or no_count):
        sd = float(np.std(samples, ddof=1)) if len(samples) > 1 else np.nan
        return Law(float(samples.mean()), sd, NO_CELLS, NO_CELLS, samples=samples)  # an observable that is no count
    marginal = result.marginal(name, t, edges)
    return Law(marginal.mean, marginal.sd, marginal.p, _log(marginal.p), marginal.negative, samples=samples)


def _law_of_ensemble(result: Ensemble, name: str, t: int, edges: np.ndarray | None) -> Law:
    """The law in the bins of a histogram; where these are wider than a count, its twin is in bins twice as wide."""
    bins, counts, _ = result.histogram(name, t)
    kept = counts > 0
    values, weights = bins.middle[kept], counts[kept]
    if edges is None and name in result.observables and not (bins.whole and values[0] >= 0):
        mean, sd = float(result[name][t]), float(np.sqrt(result.variance(name)[t]))
        return Law(mean, sd, NO_CELLS, NO_CELLS, samples=values, weights=weights)  # an observable that is no count
    laws = []
    for merged in (1, 2):
        marginal = result.marginal(name, t, edges, merged=merged)
        law = Law(marginal.mean, marginal.sd, marginal.p, _log(marginal.p), marginal.negative, samples=values, weights=weights)
        laws.append(law)
    exact = bins.width <= (1 if bins.whole else 0.5)
    return laws[0] if exact else replace(laws[0], twin=(laws[0], laws[1]))


def _law_of_states(result: Distribution, name: str, t: int, edges: np.ndarray | None) -> Law:
    values, p = result.values(name, t), result.p[t]
    span, lost, integration = (float(values.min()), float(values.max())), float(result.lost[t]), float(result.integration_error[t])
    if edges is None and not _has_cells(result, values):
        mean = float(p @ values)
        return Law(mean, float(np.sqrt(p @ (values - mean) ** 2)), NO_CELLS, NO_CELLS, 0.0, lost, integration, span)
    marginal = result.marginal(name, t, edges)
    kept = np.maximum(marginal.p, 0.0)  # an integrator may leave entries just below zero: they are counted as its error
    integration += float((kept - marginal.p).sum())
    return Law(marginal.mean, marginal.sd, kept, _log(kept), marginal.negative, lost, integration, span)


def _has_cells(result: Distribution, values: np.ndarray) -> bool:
    """A density is put on integer cells; a law of counts must take whole values >= 0."""
    return (result.cells is None and result.widths is not None) or bool(values.min() >= 0 and np.all(values == np.round(values)))


def _log(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(p)
