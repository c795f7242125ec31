"""Rates between the cells of a grid from a jump kernel W(x, y): integrals over pairs of cells, cut finer where W asks for it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cme.errors import ConvergenceError

CHUNK = 2_000_000  # kernel values in memory at a time
MOST = 500_000_000  # kernel values in all, beyond those of the first look
UNRESOLVED = 0.01  # two rules that differ by this part of the integral do not resolve the kernel
FAR = 0.3  # they may agree by chance if a third differs by this part of the integral,
CHANCE = (1.0, 1e-3)  # and their difference is this part of that: in two dimensions, where it would cost too much to be wary
# Points of a cell and weights, along an axis: Gauss's rule, and Lobatto's, which sees the ends. There a peak at x = y shows between two
# neighbouring cells, however narrow it is, and no jump of the kernel can cut off a corner unseen.
_GAUSS, _FINER_GAUSS = (((nodes + 1) / 2, weights[None] / 2) for nodes, weights in map(np.polynomial.legendre.leggauss, (3, 4)))
_LOBATTO = np.array([0.0, 0.5, 1.0]), np.array([[1, 4, 1], [3, 0, 3]]) / 6  # and the trapezoidal rule, from the same values
_FINER_LOBATTO = (np.array([-1, -np.sqrt(0.2), np.sqrt(0.2), 1]) + 1) / 2, np.array([[1, 5, 5, 1], [6, 0, 0, 6]]) / 12


def check_edges(edges) -> tuple[np.ndarray, ...]:
    """Cell edges of one or two axes, each increasing with at least two cells."""
    axes = tuple(edges) if isinstance(edges, tuple | list) and len(edges) and np.ndim(edges[0]) == 1 else (edges,)
    checked = tuple(np.asarray(axis, dtype=np.float64) for axis in axes)
    if len(checked) not in (1, 2):
        raise ValueError(f"a grid has one or two axes of cell edges, not {len(checked)}")
    for axis in checked:
        if axis.ndim != 1 or len(axis) < 3 or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
            raise ValueError("the cell edges of an axis must be finite, increasing, and enclose at least two cells")
    return checked


def centres_of(axes: tuple[np.ndarray, ...]) -> np.ndarray:
    """The centres of all cells, the last axis running fastest, (N, D)."""
    return _on_all_cells([(axis[1:] + axis[:-1]) / 2 for axis in axes])


def _on_all_cells(columns: list[np.ndarray]) -> np.ndarray:
    return np.stack([column.ravel() for column in np.meshgrid(*columns, indexing="ij")], axis=1)


def kernel_rates(kernel: Callable, axes: tuple[np.ndarray, ...], tol: float) -> tuple[np.ndarray, np.ndarray]:
    """Rates from cell j to cell i, (N, N): the integral of W over cell i, averaged over cell j; and how far each may be off.

    Each pair of cells is integrated by two rules. Pairs where they differ too much are cut into halves along all axes, and so on.

    Raises
    ------
    ValueError
        If the kernel is negative or not finite somewhere; the message gives the place.
    ConvergenceError
        If the error of a column of rates is above `tol` times the largest column, and there are too many pieces.
    """
    low, side = _on_all_cells([axis[:-1] for axis in axes]), _on_all_cells([np.diff(axis) for axis in axes])
    n_cells, dimensions = low.shape
    rates = _between_all(kernel, low, side, _GAUSS)[0]
    chance = CHANCE[dimensions - 1]
    gauss, lobatto = (_GAUSS, _LOBATTO) if dimensions == 1 else (_FINER_GAUSS, _FINER_LOBATTO)  # of pieces: halving four axes is costly
    error = _off(rates, _between_all(kernel, low, side, _LOBATTO), chance)
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(error, 0.0)
    to, source = np.divmod(np.arange(rates.size), n_cells)
    pieces = _Pieces(to, source, np.zeros((rates.size, 2 * dimensions), dtype=np.int64), 0)
    found, off, spent = rates.ravel().copy(), error.ravel().copy(), 0
    while True:
        most = tol * rates.sum(axis=0).max() / 2
        n_pieces = np.maximum(np.bincount(pieces.source, minlength=n_cells), 1)
        refined = off > np.where(error.sum(axis=0) > most, most / n_pieces, np.inf)[pieces.source]
        if not np.any(refined):
            return np.maximum(rates, 0.0), np.maximum(error, 0.0)  # what is left of differences of equal numbers is rounding
        spent += int(refined.sum()) * 4**dimensions * 2 * len(gauss[0]) ** (2 * dimensions)
        if spent > MOST:
            raise ConvergenceError(
                f"rates between cells are off by {error.sum(axis=0).max():.1e}, more than tol={tol:g} of the largest, "
                f"after {MOST:g} values of the kernel: it may jump, or be narrower than a cell; loosen tol, or take narrower cells"
            )
        for total, part in ((rates, found), (error, off)):  # pieces take the place of the whole
            np.subtract.at(total, (pieces.to[refined], pieces.source[refined]), part[refined])
        pieces = pieces.halves(refined)
        found = _between_pieces(kernel, pieces, low, side, gauss)[0]
        off = _off(found, _between_pieces(kernel, pieces, low, side, lobatto), chance)
        for total, part in ((rates, found), (error, off)):
            np.add.at(total, (pieces.to, pieces.source), part)


def _off(gauss: np.ndarray, others: np.ndarray, chance: float) -> np.ndarray:
    """How far the first rule may be off: by less than it differs from the second, if both resolve the kernel.

    Otherwise they may agree by chance, as they do for some kernels that jump; then the third, of lower order, is far from both.
    """
    lobatto, trapezoid = others
    off, gap, most = np.abs(gauss - lobatto), np.abs(gauss - trapezoid), np.maximum(np.maximum(gauss, lobatto), trapezoid)
    off = np.where(off > UNRESOLVED * gauss, 4 * off, off)
    return np.maximum(
        off, np.where((gap > FAR * most) & (np.abs(gauss - lobatto) <= chance * gap), gap**2 / np.where(most > 0, most, 1.0), 0.0)
    )


class _Pieces(NamedTuple):
    """Pieces of pairs of cells, cut `level` times: the cells (P,), and which part of the two it is along their axes (P, 2 D)."""

    to: np.ndarray
    source: np.ndarray
    part: np.ndarray
    level: int

    def halves(self, chosen: np.ndarray) -> "_Pieces":
        corner = _on_all_cells([np.arange(2)] * self.part.shape[1])
        part = (2 * self.part[chosen][:, None] + corner).reshape(-1, self.part.shape[1])
        to, source = (np.repeat(each[chosen], len(corner)) for each in (self.to, self.source))
        return _Pieces(to, source, part, self.level + 1)


def _product(rule: tuple[np.ndarray, np.ndarray], dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a cell as parts of its sides (Q, D), and their weights in some rules as parts of it (R, Q)."""
    nodes, weights = rule
    return _on_all_cells([nodes] * dimensions), np.stack([np.prod(_on_all_cells([each] * dimensions), axis=1) for each in weights])


def _between_all(kernel: Callable, low: np.ndarray, side: np.ndarray, rule: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The rates between all pairs of cells by rules on the same points, (R, N, N)."""
    nodes, weights = _product(rule, low.shape[1])
    points = low[:, None] + side[:, None] * nodes  # (N, Q, D)
    n_cells, n_points, dimensions = points.shape
    to = points.reshape(-1, 1, dimensions)
    rates = np.empty((len(weights), n_cells, n_cells))
    step = max(1, CHUNK // (len(to) * n_points))
    for first in range(0, n_cells, step):
        values = _values(kernel, to, points[first : first + step].reshape(1, -1, dimensions))
        values = values.reshape(n_cells * n_points, -1, n_points)
        for each, w in zip(rates, weights, strict=True):
            each[:, first : first + step] = np.einsum("q,iqj->ij", w, (values @ w).reshape(n_cells, n_points, -1))
    return rates * np.prod(side, axis=1)[:, None]


def _between_pieces(
    kernel: Callable, pieces: _Pieces, low: np.ndarray, side: np.ndarray, rule: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """What pieces of pairs of cells add to the rates by one rule, (P,)."""
    dimensions, n_parts = low.shape[1], 2**pieces.level
    nodes, weights = _product(rule, dimensions)
    out = np.empty((len(weights), len(pieces.to)))
    step = max(1, CHUNK // len(nodes) ** 2)
    for first in range(0, len(pieces.to), step):
        here, points = slice(first, first + step), []
        for cells, columns in ((pieces.to[here], slice(0, dimensions)), (pieces.source[here], slice(dimensions, None))):
            inside = (pieces.part[here, columns][:, None] + nodes) / n_parts
            points.append(low[cells][:, None] + side[cells][:, None] * inside)
        values = _values(kernel, points[0][:, :, None], points[1][:, None])
        for each, w in zip(out, weights, strict=True):
            each[here] = values @ w @ w
    return out * np.prod(side[pieces.to], axis=1) / n_parts ** (2 * dimensions)


def _values(kernel: Callable, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """W at x from y, arrays that broadcast against each other with the coordinates last."""
    shape = np.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    values = evaluate_kernel(kernel, x[..., 0] if x.shape[-1] == 1 else x, y[..., 0] if y.shape[-1] == 1 else y, shape)
    if not np.all((values >= 0) & (values < np.inf)):
        where = tuple(np.argwhere(~((values >= 0) & (values < np.inf)))[0])
        complain(values[where], np.broadcast_to(x, (*shape, x.shape[-1]))[where], np.broadcast_to(y, (*shape, y.shape[-1]))[where])
    return values


def evaluate_kernel(kernel: Callable, x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of a kernel in a shape; `ValueError` if it can't take arrays, or gives something of another shape."""
    try:
        values = np.asarray(kernel(x, y), dtype=np.float64)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"the kernel W(x, y) must take arrays of places, here of shapes {x.shape} and {y.shape}, and fails on them: {error}; "
            "write it with numpy"
        ) from error
    if values.shape not in ((), shape):
        raise ValueError(
            f"the kernel W(x, y) must give one rate for each x and y, here of shape {shape}, and gives shape {values.shape}; "
            "with two axes the coordinates are the last axis of x and y"
        )
    return np.broadcast_to(values, shape)


def complain(value: float, x: np.ndarray, y: np.ndarray) -> None:
    """Refuse a value of the kernel at x from y."""
    raise ValueError(f"the kernel W(x, y) is {value:.6g} at x = {_place(x)}, y = {_place(y)}; a jump rate must be a finite number >= 0")


def _place(point: np.ndarray) -> str:
    return f"{point[0]:.6g}" if len(point) == 1 else f"({', '.join(f'{c:.6g}' for c in point)})"
