"""Putting laws on cells: the integers for counts, a lattice of any width and place for positions on a line."""

from typing import NamedTuple

import numpy as np


class Marginal(NamedTuple):
    """The law of one species at one time on the counts 0, 1, ..., K-1, or of a position on K cells of a line.

    On counts, a continuous law is integrated over the cells [n - 1/2, n + 1/2); the lowest cell takes everything below 1/2.
    """

    p: np.ndarray  # (K,)
    negative: float  # mass below zero; on counts, cell 0 holds it
    mean: float  # of the law itself, not of the cells
    sd: float
    edges: np.ndarray | None = None  # (K + 1,) of the cells of a position; None on counts


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


def integer_cells(values: np.ndarray, p: np.ndarray, nodes_on_edge: bool) -> tuple[np.ndarray, float]:
    """Put the masses of a density on the cells [n - 1/2, n + 1/2), n >= 0; the lowest takes all below 1/2. And the mass below zero."""
    centres, slot = np.unique(np.round(values, 9), return_inverse=True)
    mass = np.bincount(slot, weights=p)
    if centres.size == 1:
        return np.bincount(np.maximum(np.floor(centres + 0.5), 0).astype(np.int64), weights=mass), float(mass[0] * (centres[0] < 0))
    highest = max(int(np.ceil(cell_edges(centres, nodes_on_edge)[-1] + 0.5)), 1)
    cuts = np.arange(highest + 1) - 0.5
    cuts[0] = -np.inf
    return interpolate_masses(centres, mass, cuts, nodes_on_edge)


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


def sampled_marginal(values: np.ndarray, edges: np.ndarray | None) -> Marginal:
    """Count values into integer cells, or into those between edges."""
    if edges is not None:
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
        return Marginal(count_points(values, edges), float(np.mean(values < 0)), float(np.mean(values)), sd, edges)
    cells = np.floor(np.asarray(values, dtype=np.float64) + 0.5)
    counts = np.bincount(np.maximum(cells, 0).astype(np.int64))  # the lowest cell takes everything below 1/2
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    return Marginal(counts / len(values), float(np.mean(values < 0)), float(np.mean(values)), sd)
