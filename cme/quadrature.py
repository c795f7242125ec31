"""Integrals of a jump kernel W(x, y) over the cells of a grid, with their error estimated."""

from collections.abc import Callable

import numpy as np

CHUNK = 2_000_000  # kernel values in memory at a time


def check_edges(edges) -> tuple[np.ndarray, ...]:
    """Cell edges of one or two axes, each increasing with at least two cells."""
    axes = tuple(edges) if isinstance(edges, tuple | list) and np.ndim(edges[0]) == 1 else (edges,)
    checked = tuple(np.asarray(axis, dtype=np.float64) for axis in axes)
    if len(checked) not in (1, 2):
        raise ValueError(f"a grid has one or two axes of cell edges, not {len(checked)}")
    for axis in checked:
        if axis.ndim != 1 or len(axis) < 3 or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
            raise ValueError("the cell edges of an axis must be finite, increasing, and enclose at least two cells")
    return checked


def centres_of(axes: tuple[np.ndarray, ...]) -> np.ndarray:
    """The centres of all cells, the last axis running fastest, (N, D)."""
    middles = [(axis[1:] + axis[:-1]) / 2 for axis in axes]
    return np.stack([column.ravel() for column in np.meshgrid(*middles, indexing="ij")], axis=1)


def _points(axes: tuple[np.ndarray, ...], order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss points in every cell (N, Q, D), their weights as parts of the cell (Q,), and the cell volumes (N,)."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = [np.diff(axis) / 2 for axis in axes]
    middle = [(axis[1:] + axis[:-1]) / 2 for axis in axes]
    columns = [m[:, None] + h[:, None] * nodes for m, h in zip(middle, half, strict=True)]  # (n, order) each
    if len(axes) == 1:
        return columns[0][:, :, None], weights / 2, 2 * half[0]
    shape = (len(half[0]), len(half[1]), order, order)
    first = np.broadcast_to(columns[0][:, None, :, None], shape).reshape(-1, order**2)
    second = np.broadcast_to(columns[1][None, :, None, :], shape).reshape(-1, order**2)
    return np.stack([first, second], axis=-1), np.outer(weights, weights).ravel() / 4, 4 * np.outer(half[0], half[1]).ravel()


def kernel_rates(kernel: Callable, axes: tuple[np.ndarray, ...], order: int) -> np.ndarray:
    """Rates from cell j to cell i, (N, N): the integral of W over cell i, averaged over cell j.

    Raises
    ------
    ValueError
        If the kernel is negative or not finite somewhere; the message gives the place.
    """
    points, weights, volume = _points(axes, order)
    n_cells, n_points, dimensions = points.shape
    to = points.reshape(-1, dimensions)
    rates = np.empty((n_cells, n_cells))
    step = max(1, CHUNK // (len(to) * n_points))
    for first in range(0, n_cells, step):
        sources = points[first : first + step].reshape(-1, dimensions)
        x, y = to[:, None, :], sources[None, :, :]
        if dimensions == 1:
            x, y = x[..., 0], y[..., 0]
        values = np.asarray(kernel(x, y), dtype=np.float64)
        values = np.broadcast_to(values, (len(to), len(sources)))
        if not np.all(values >= 0):
            _complain(values, to, sources)
        values = values.reshape(n_cells, n_points, -1, n_points)
        rates[:, first : first + step] = np.einsum("iqjr,q,r->ij", values, weights, weights) * volume[:, None]
    if not np.all(np.isfinite(rates)):
        i, j = np.argwhere(~np.isfinite(rates))[0]
        raise ValueError(f"the kernel W(x, y) is infinite near x = {_place(points[i, 0])}, y = {_place(points[j, 0])}")
    return rates


def _complain(values: np.ndarray, to: np.ndarray, sources: np.ndarray) -> None:
    i, j = np.argwhere(~(values >= 0))[0]
    raise ValueError(
        f"the kernel W(x, y) is {values[i, j]:.6g} at x = {_place(to[i])}, y = {_place(sources[j])}; a jump rate must be a number >= 0"
    )


def _place(point: np.ndarray) -> str:
    return f"{point[0]:.6g}" if len(point) == 1 else f"({', '.join(f'{c:.6g}' for c in point)})"
