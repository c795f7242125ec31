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


def integrate(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, reference: float, tol: float, unit: float) -> np.ndarray:
    """The integral of a function from the reference to each x, by Gauss quadrature between neighbours in ever more pieces."""
    points = np.unique(np.append(np.ravel(x), reference))
    widths = np.diff(points)
    if widths.size == 0:
        return np.zeros(np.shape(x))
    last, pieces = None, 1
    while pieces <= MOST_PIECES and pieces * widths.size <= 2_000_000:
        part = widths / pieces
        nodes = points[:-1, None, None] + part[:, None, None] * (np.arange(pieces)[:, None] + (_POINTS + 1) / 2)
        between = (function(nodes.ravel()).reshape(nodes.shape) @ _WEIGHTS / 2).sum(axis=1) * part
        total = np.append(0.0, np.cumsum(between))
        if last is not None and np.all(np.abs(total - last) <= tol * (unit + np.abs(total).max())):
            found = total - total[np.searchsorted(points, reference)]
            return found[np.searchsorted(points, np.ravel(x))].reshape(np.shape(x))
        last, pieces = total, 2 * pieces
    raise ConvergenceError(
        f"the drift can't be integrated from {points[0]:g} to {points[-1]:g} to {tol:g} (it may be singular or jump); give drift_integral"
    )
