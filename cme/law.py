"""`Law`: what `compare` asks of the law of one species at one time, whichever result it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cme import distances
from cme.cells import LARGEST, Cells, kept_sd, shifted
from cme.ensembles import Ensemble
from cme.results import Distribution, Moments, Trajectories

Result = Distribution | Trajectories | Ensemble | Moments


@dataclass(frozen=True)
class Law:
    """The law of one species at one time, with what limits it. No cells: the values are no counts, or only moments are known."""

    mean: float
    sd: float
    cells: Cells | None  # of counts, or of the numbers of the cells of a position
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


def law_of(result: Result, name: str, t: int, *, at: Cells | None = None, edges: np.ndarray | None = None) -> Law:
    """The law of a species or observable at time number t, also on the cells of another law, or between the edges of given ones."""
    width = None if edges is None else float(edges[1] - edges[0])
    if isinstance(result, Moments):
        return replace(_law_of_moments(result, name, t, edges, at), width=width)
    if isinstance(result, Ensemble):
        return replace(_law_of_ensemble(result, name, t, edges), width=width)
    make: Callable = _law_of_paths if isinstance(result, Trajectories) else partial(_law_of_states, at=at)
    law = replace(make(result, name, t, edges), width=width)
    if result.coarse is None:
        return law
    coarse = replace(make(result.coarse, name, result.coarse.time_index(result.times[t]), edges), width=width)
    if isinstance(result, Trajectories):
        return replace(law, twin=(make(result.first(result.coarse.n_paths), name, t, edges), coarse))
    if law.cells is not None and coarse.cells is not None:
        unresolved = distances.total_variation(law.cells, coarse.cells)
        law, coarse = (replace(each, unresolved=unresolved) for each in (law, coarse))
    return replace(law, twin=(law, coarse))


def _law_of_moments(result: Moments, name: str, t: int, edges: np.ndarray | None, at: Cells | None) -> Law:
    if result.covariance is None or name in result.observables:
        return Law(float(result[name][t]), np.nan, None)
    marginal = result.marginal(name, t, edges, at)
    return Law(marginal.mean, marginal.sd, marginal.cells, marginal.negative)


def _law_of_paths(result: Trajectories, name: str, t: int, edges: np.ndarray | None) -> Law:
    samples = result[name][:, t]
    no_count = np.issubdtype(result.counts.dtype, np.integer) and bool(np.any((samples != np.round(samples)) | (samples < 0)))
    if edges is None and (result.cells is not None or no_count or not np.all(np.abs(samples) < LARGEST)):
        sd = float(np.std(shifted(samples), ddof=1)) if len(samples) > 1 else np.nan
        return Law(float(samples.mean()), sd, None, samples=samples)  # an observable that is no count
    marginal = result.marginal(name, t, edges)
    return Law(marginal.mean, marginal.sd, marginal.cells, marginal.negative, samples=samples)


def _law_of_ensemble(result: Ensemble, name: str, t: int, edges: np.ndarray | None) -> Law:
    """The law in the bins of a histogram; where these are wider than a count, its twin is in bins twice as wide."""
    bins, counts, _ = result.histogram(name, t)
    kept = counts > 0
    values, weights = bins.middle[kept], counts[kept]
    no_count = name in result.observables and not (bins.whole and values[0] >= 0)
    if edges is None and (no_count or not np.all(np.abs(bins.edges) < LARGEST)):
        mean, sd = float(result[name][t]), float(np.sqrt(result.variance(name)[t]))
        return Law(mean, sd, None, samples=values, weights=weights)  # an observable that is no count
    laws = []
    for merged in (1, 2):
        marginal = result.marginal(name, t, edges, merged=merged)
        laws.append(Law(marginal.mean, marginal.sd, marginal.cells, marginal.negative, samples=values, weights=weights))
    exact = bins.width <= (1 if bins.whole else 0.5)
    return laws[0] if exact else replace(laws[0], twin=(laws[0], laws[1]))


def _law_of_states(result: Distribution, name: str, t: int, edges: np.ndarray | None, at: Cells | None) -> Law:
    values, p = result.values(name, t), result.p[t]
    span, lost, integration = (float(values.min()), float(values.max())), float(result.lost[t]), float(result.integration_error[t])
    if edges is None and not _has_cells(result, values):
        return Law(float(p @ values), kept_sd(values, p), None, 0.0, lost, integration, span)
    marginal = result.marginal(name, t, edges, at)
    kept = np.maximum(marginal.cells.p, 0.0)  # an integrator may leave entries just below zero: they are counted as its error
    integration += float((kept - marginal.cells.p) @ marginal.cells.size)
    return Law(marginal.mean, marginal.sd, marginal.cells._replace(p=kept), marginal.negative, lost, integration, span)


def _has_cells(result: Distribution, values: np.ndarray) -> bool:
    """A density is put on integer cells; a law of counts must take whole values >= 0. None is beyond 2^62."""
    if not np.all(np.abs(values) < LARGEST):
        return False
    return (result.cells is None and result.widths is not None) or bool(values.min() >= 0 and np.all(values == np.round(values)))
