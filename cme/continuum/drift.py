"""A drift p(x, t), given as a number or a function: checked, evaluated on arrays, tabulated, differentiated and integrated."""

from collections.abc import Callable

import numpy as np

from cme.errors import ConvergenceError

MOST_PIECES = 4096  # into which an interval is cut to integrate the drift over it


def check_drift(drift: float | Callable) -> None:
    """A drift is a finite number or a function p(x, t)."""
    if not callable(drift) and not (isinstance(drift, int | float | np.number) and np.isfinite(drift)):
        raise ValueError(f"the drift must be a finite number or a function p(x, t), not {drift!r}")


def evaluate_drift(drift: float | Callable, x: np.ndarray, t: float) -> np.ndarray:
    """The drift at positions x and a time, in the shape of x."""
    p = np.asarray(drift(x, t) if callable(drift) else drift, dtype=np.float64)
    if p.shape not in ((), x.shape):
        raise ValueError(f"the drift p(x, t) must give one value for each x, shape {x.shape}, and gives shape {p.shape}")
    return np.broadcast_to(p, x.shape)


def tabulate(function: float | Callable, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A function at all x and times, (B, K); what it says beyond where walks get to does not matter."""
    with np.errstate(all="ignore"):
        return np.stack([evaluate_drift(function, x, float(t)) for t in times])


def describe(drift: float | Callable) -> float | str:
    """A drift as it is written in `info`."""
    return getattr(drift, "__name__", "a function") if callable(drift) else float(drift)


CENTRAL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
FORWARD = ((0, -25 / 12), (1, 4.0), (2, -3.0), (3, 4 / 3), (4, -1 / 4))


def slope(function: Callable[[float], np.ndarray], stencil: tuple[tuple[int, float], ...], h: float) -> np.ndarray:
    """The derivative of function(h) at 0, of fourth order."""
    return sum(weight / h * function(k * h) for k, weight in stencil)  # type: ignore[return-value]


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(5)


class Quadrature:
    """Integrals of functions from a reference to each of the points x, by Gauss's rule between neighbours."""

    def __init__(self, x: np.ndarray, reference: float):
        self.shape = np.shape(x)
        self.points = np.unique(np.append(np.ravel(x), reference))
        self.origin = np.searchsorted(self.points, reference)
        self.place = np.searchsorted(self.points, np.ravel(x))
        self.nodes = [self._nodes(pieces) for pieces in (1, 2)]  # kept: the same points are used again at another time

    def _nodes(self, pieces: int) -> np.ndarray:
        part = np.diff(self.points)[:, None] / pieces
        return self.points[:-1, None] + part * (np.arange(pieces)[:, None] + (_POINTS + 1) / 2).ravel()

    def integrate(self, function: Callable[[np.ndarray], np.ndarray], tol: float, unit: float) -> np.ndarray:
        """The integrals, in the shape of x; neighbours are bridged in ever more pieces until the sum stays within tol (unit + sum)."""
        last, pieces = None, 1
        while pieces <= MOST_PIECES and pieces * len(self.points) <= 2_000_000:
            nodes = self.nodes[pieces - 1] if pieces <= 2 else self._nodes(pieces)
            between = function(nodes.ravel()).reshape(nodes.shape) @ np.tile(_WEIGHTS / (2 * pieces), pieces) * np.diff(self.points)
            total = np.zeros(len(self.points))
            np.cumsum(between, out=total[1:])
            if last is not None and np.all(np.abs(total - last) <= tol * (unit + np.abs(total).max())):
                return (total[self.place] - total[self.origin]).reshape(self.shape)
            last, pieces = total, 2 * pieces
        raise ConvergenceError(
            f"the drift can't be integrated from {self.points[0]:g} to {self.points[-1]:g} to {tol:g} "
            "(it may be singular or jump); give drift_integral"
        )
