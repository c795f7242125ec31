"""Integrals of a jump kernel W(x, y): over the cells of a grid, with their error estimated, and its moments at single places."""

from collections.abc import Callable

import numpy as np

from cme.errors import ConvergenceError

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


# ------------------------------------------------------------------------------------------------------- jump moments

LONGEST = 30.0  # the logarithm of the longest jump that is looked at, in the units of the kernel; the shortest is 60 less
FINE, GROUP, ORDER = 0.25, 4, 10  # panels in the logarithm of the length, how many make a wider one, and Gauss points in each
SCANNED = 33  # places at which all panels are looked at
ACCURACY = 1e-10


def kernel_moments(kernel: Callable, k: int, y: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
    """The integrals of (x - y)^k W(x, y) over x in a domain of the line, at places y (N,).

    The length of the jump to either side is integrated on a logarithmic scale: first in fine panels at some places, then in panels as
    wide as those places allow at all of them; a panel is halved until that changes nothing.

    Raises
    ------
    ValueError
        If the kernel is negative or no number somewhere.
    ConvergenceError
        If the integral does not exist, or does not converge to 1e-10 of that of |x - y|^k W.
    """
    total, size = np.zeros(len(y)), np.zeros(len(y))
    sides = []
    for sign, end in ((-1.0, domain[0]), (1.0, domain[1])):
        room = np.abs(end - y)
        sides.append(_Side(kernel, k, y, sign, np.where(np.isfinite(room), room, np.exp(LONGEST))))
        sides[-1].check_ends(bool(np.isinf(end)))
    panels = [side.panels() for side in sides]
    for first in range(0, len(y), 512):
        here = slice(first, first + 512)
        for side, (low, high) in zip(sides, panels, strict=True):
            size[here] += np.abs(side.on(low, high, here)).sum(axis=0)
        for side, (low, high) in zip(sides, panels, strict=True):
            total[here] += side.integral(low, high, here, ACCURACY * size[here])
    return total


class _Side:
    """Jumps to one side, from places y (N,), up to a length of room (N,): panels are in s, with jumps of room exp(s)."""

    def __init__(self, kernel: Callable, k: int, y: np.ndarray, sign: float, room: np.ndarray):
        self.kernel, self.k, self.y, self.sign, self.room = kernel, k, y, sign, room
        self.scanned = np.unique(np.argsort(y)[np.linspace(0, len(y) - 1, min(SCANNED, len(y))).astype(int)])

    def on(self, low: np.ndarray, high: np.ndarray, places) -> np.ndarray:
        """The moment on each panel from each of some places, (P, n)."""
        nodes, weights = np.polynomial.legendre.leggauss(ORDER)
        half = (high - low)[:, None] / 2
        y = self.y[places]
        length = self.room[places] * np.exp((low + half[:, 0])[:, None] + half * nodes)[:, :, None]  # (P, Q, n)
        value = np.asarray(self.kernel(y + self.sign * length, np.broadcast_to(y, length.shape)), dtype=np.float64)
        value = np.broadcast_to(value, length.shape)
        if not np.all(value >= 0):
            p, q, n = np.argwhere(~(value >= 0))[0]
            _complain(value[p, q, n].reshape(1, 1), (y[n] + self.sign * length[p, q, n]).reshape(1, 1), y[n].reshape(1, 1))
        with np.errstate(invalid="ignore", over="ignore"):
            return np.einsum("pqn,pq->pn", self.sign**self.k * value * length ** (self.k + 1), half * weights)

    def check_ends(self, unbounded: bool) -> None:
        """The shortest jumps must not matter, nor (without an end of the domain) the longest."""
        all_ = np.abs(self.on(*self._fine(), self.scanned)).sum(axis=0)
        for low, what, wanted in ((-2 * LONGEST, "short jumps", True), (-2.0, "long jumps", unbounded)):
            last = np.abs(self.on(np.array([low]), np.array([low + 2.0]), self.scanned))
            if wanted and np.any(last > 0) and not np.all(last <= 1e-9 * all_):
                raise self._failure(f"{what} are too frequent")

    @staticmethod
    def _fine() -> tuple[np.ndarray, np.ndarray]:
        ticks = np.arange(-2 * LONGEST, FINE / 2, FINE)
        return ticks[:-1], ticks[1:]

    def panels(self) -> tuple[np.ndarray, np.ndarray]:
        """Panels that hold nearly everything: wide ones where they see the same as fine ones."""
        low, high = self._fine()
        fine = self.on(low, high, self.scanned)
        if not np.all(np.isfinite(fine)):
            raise self._failure("the kernel is infinite somewhere")
        allowed = ACCURACY * np.abs(fine).sum(axis=0)
        groups = fine.reshape(-1, GROUP, fine.shape[1])
        wide = np.abs(self.on(low[::GROUP], high[GROUP - 1 :: GROUP], self.scanned) - groups.sum(axis=1)) <= allowed
        held = np.any(np.abs(groups).sum(axis=1) > 1e-3 * allowed, axis=1)
        held |= np.append(held[1:], False) | np.append(False, held[:-1])  # and their neighbours, for the other places
        wide = np.all(wide, axis=1)
        each = np.repeat(held & ~wide, GROUP)
        return np.append(low[::GROUP][held & wide], low[each]), np.append(high[GROUP - 1 :: GROUP][held & wide], high[each])

    def integral(self, low: np.ndarray, high: np.ndarray, places, allowed: np.ndarray) -> np.ndarray:
        """The moment (n,), each panel halved until its own part changes by less than is allowed."""
        whole, total = self.on(low, high, places), np.zeros(len(self.y[places]))
        for _ in range(50):
            middle = (low + high) / 2
            halves = np.stack([self.on(low, middle, places), self.on(middle, high, places)])
            done = np.all(np.abs(halves.sum(axis=0) - whole) <= allowed, axis=1)
            total += halves[:, done].sum(axis=(0, 1))
            if np.all(done):
                return total
            low, high = np.concatenate([low[~done], middle[~done]]), np.concatenate([middle[~done], high[~done]])
            whole = np.concatenate(list(halves[:, ~done]))
            if len(low) > 5000:
                break
        raise self._failure("it may be singular there")

    def _failure(self, why: str) -> ConvergenceError:
        return ConvergenceError(
            f"the jump moment a_{self.k} of the kernel does not converge, near y = {self.y[0]:.6g}: {why}; "
            "end the domain, or cut the kernel off"
        )
