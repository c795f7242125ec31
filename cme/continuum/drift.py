"""A drift p(x) or p(x, t), given as a number or a function: checked, evaluated on arrays, tabulated, differentiated and integrated."""

from collections.abc import Callable

import numpy as np

from cme.arguments import count_arguments
from cme.errors import ConvergenceError

MOST_PIECES = 4096  # into which an interval is cut to integrate the drift over it


def check_drift(drift: float | Callable) -> None:
    """A drift is a finite number or a function p(x) or p(x, t)."""
    if callable(drift):
        if count_arguments(drift) not in (1, 2):
            raise ValueError(f"the drift must be a function p(x) or p(x, t), not one of {count_arguments(drift)} arguments")
    elif not (isinstance(drift, int | float | np.number) and np.isfinite(drift)):
        raise ValueError(f"the drift must be a finite number or a function p(x) or p(x, t), not {drift!r}")


def moves(drift: float | Callable) -> bool:
    """Does a drift depend on time? One that takes a time does, whatever it does with it."""
    return callable(drift) and count_arguments(drift) == 2


def evaluate_drift(drift: float | Callable, x: np.ndarray, t: float) -> np.ndarray:
    """The drift at positions x and a time, in the shape of x."""
    try:
        p = np.asarray((drift(x, t) if moves(drift) else drift(x)) if callable(drift) else drift, dtype=np.float64)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"the drift must take an array of positions, and fails on one of shape {x.shape}: {error}; write it with numpy"
        ) from error
    if p.shape not in ((), x.shape):
        raise ValueError(f"the drift must give one value for each x, shape {x.shape}, and gives shape {p.shape}")
    return np.broadcast_to(p, x.shape)


def tabulate(function: float | Callable, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A function at all x and times, (B, K); what it says beyond where walks get to does not matter."""
    with np.errstate(all="ignore"):
        if not moves(function):
            return np.broadcast_to(evaluate_drift(function, x, 0.0), (len(times), len(x)))
        return np.stack([evaluate_drift(function, x, float(t)) for t in times])


def describe(drift: float | Callable) -> float | str:
    """A drift as it is written in `info`."""
    return getattr(drift, "__name__", "a function") if callable(drift) else float(drift)


CENTRAL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
FORWARD = ((0, -25 / 12), (1, 4.0), (2, -3.0), (3, 4 / 3), (4, -1 / 4))


STEP = 3e-4  # of a first finite difference, in the units of x and of t
ROUNDS, SHORTER = 7, 8.0  # how often it is made shorter, and by how much


def derivative(function: Callable[[float], np.ndarray], at: float, size: float | np.ndarray, room: float = np.inf) -> np.ndarray:
    """The derivative of function(h) at 0, in the shape of its values; nan where differences over no step agree with those over half of it.

    `at` is how far from zero the places or times are that h is added to; `size` is what counts as a large derivative, beside its own;
    the function may not exist farther than `room` below 0.
    """
    values = np.abs(function(0.0))
    values = np.maximum(values, np.median(values) if values.size else 0.0)  # one that is 0 may be a difference of large ones
    found = np.full(np.shape(values), np.nan)
    h = STEP * max(1.0, at)
    for _ in range(ROUNDS):
        stencil = CENTRAL if room >= 2 * h else FORWARD
        coarse, other, fine = (slope(function, stencil, part * h) for part in (1.0, 0.7309, 0.5))  # no period fits both
        rounding = 40 * np.finfo(np.float64).eps * values / h
        with np.errstate(invalid="ignore"):
            change = np.maximum(np.abs(coarse - fine), np.abs(other - fine))
            good = np.isnan(found) & (change <= 1e-6 * (np.abs(fine) + size) + rounding)
        found = np.where(good, fine, found)
        if not np.any(np.isnan(found)):
            break
        h /= SHORTER
    return found


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
