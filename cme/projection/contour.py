"""exp(tA) p for a banded generator A as a contour integral: a sum of resolvents, which serve for all times of a window, however stiff A.

With points z_k on a hyperbola around the negative real axis, and the weights w_k of the trapezoidal rule on it,

    y(t) = Re sum_k w_k exp(z_k t) x_k,    (z_k - A) x_k = p

has the residual y' - A y = e(t) p, where e(t) = Re sum_k w_k exp(z_k t) does not depend on A. exp(tA) is a contraction in the 1-norm:
if the law at some time is known from a series, the error later on is at most what y is off there and the integral of |e| since. While the
law travels y is far off, and a series goes on until it is not.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cme import memory
from cme.generator import Generator
from cme.kernels.resolvents import LANES, solve_banded
from cme.projection.polynomials import ROUNDING, Step

WIDEST, FAR_APART = 12, 100  # half-bandwidths up to which a contour may be the cheapest way, and up to which one is made
MANY = 200_000  # states of which a hundred resolvents take 300 MB
DIGITS = 33.0  # the quadrature is off by about exp(-DIGITS), times what the law is when written in modes that decay, as large numbers
PER_OSCILLATION = 1.1  # |e| is looked at ten times in each of its oscillations, between which it may be 1.05 times as large
LARGE = 2**27  # bytes from which on it is asked whether they are there
ROUNDINGS = 8  # that a resolvent may suffer where there is no cancellation


class Contour(NamedTuple):
    """Points and weights for times from 2^-k to 1, and the integral of |e| over them."""

    z: np.ndarray
    w: np.ndarray
    residual: float


@lru_cache(maxsize=64)
def contour(k: int, digits: float = DIGITS) -> Contour:
    """The hyperbola that is best for times from 2^-k to 1, with a quadrature that is off by about exp(-digits).

    J. A. C. Weideman and L. N. Trefethen, Math. Comp. 76, 1341 (2007), doi:10.1090/S0025-5718-07-01945-X.
    """
    longest = 2.0**k

    def width(angle: np.ndarray) -> np.ndarray:
        return np.arccosh(((np.pi - 2 * angle) * longest + 4 * angle - np.pi) / ((4 * angle - np.pi) * np.sin(angle)))

    angles = np.linspace(np.pi / 4, np.pi / 2, 1001)[1:-1]
    angle = float(angles[np.argmax((np.pi - 2 * angles) / width(angles))])
    a = float(width(np.array(angle)))
    n_points = LANES * int(np.ceil(digits * a / (np.pi**2 - 2 * np.pi * angle) / LANES))
    u = (np.arange(n_points) + 0.5) * (a / n_points)
    scale = (4 * angle - np.pi) * np.pi * n_points / a
    z = scale * (1 + np.sin(1j * u - angle))
    w = scale * np.cos(1j * u - angle) * (a / (n_points * np.pi))  # the points below the real axis are counted with these
    times = np.geomspace(1.0 / longest, 1.0, int(60 * np.log(longest)) + 2)
    size = np.abs((np.exp(np.outer(times, z)) @ w).real)
    return Contour(z, w, PER_OSCILLATION * float(np.maximum(size[1:], size[:-1]) @ np.diff(times)))


def about_n_points(longest: float) -> float:
    """About how many points a window takes whose ends are so far apart, as a ratio."""
    return 32 + 13 * float(np.log10(longest))


class Banded:
    """A generator by its band, with the states in the order of their counts."""

    def __init__(self, generator: Generator):
        self._matrix, self.order = generator.sparse(), _along(generator.states)
        self.leak = generator.leak[self.order]
        self.half = int(np.abs(np.subtract(*self._links)).max(initial=0))

    @property
    def _links(self) -> tuple[np.ndarray, np.ndarray]:
        """Where from and to links lead in the order."""
        place = np.empty(len(self.order), dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        return np.repeat(place, np.diff(self._matrix.indptr)), place[self._matrix.indices]

    def resolvents(self, p: np.ndarray, z: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
        """(z_k - A)^-1 p for points z (K,) in a unit of time, real and imaginary parts (K, N), in the order; p as the states are."""
        n_states, width, (source, target) = len(p), 2 * self.half + 1, self._links
        n_bytes = 8 * n_states * (2 * len(z) + width + 2 * LANES * width + 6 * LANES)
        if n_bytes > LARGE:
            memory.require_memory(n_bytes, f"{len(z)} resolvents of {n_states} states", 'use method="rational_krylov" or "chebyshev"')
        band = np.zeros((n_states, width))
        band[source, self.half + target - source] = self._matrix.data
        x = np.empty((len(z), n_states)), np.empty((len(z), n_states))
        work = [np.empty((n_states, width, LANES)) for _ in range(2)] + [np.empty((n_states, LANES)) for _ in range(6)]
        solve_banded(band, self.leak, unit, p[self.order], z.real.copy(), z.imag.copy(), *work, *x)
        return x


class Window:
    """The laws after p at `start`, from `first` to `end`."""

    def __init__(self, banded: Banded, p: np.ndarray, start: float, first: float, end: float, digits: float = DIGITS):
        self.start, self.first, self.digits = start, first, digits
        self._length, self._order, self._total = end - start, banded.order, float(p.sum())
        self._z, self._w, residual = contour(max(int(np.ceil(np.log2((end - start) / (first - start)))), 2), digits)
        self._x = banded.resolvents(p, self._z, end - start)
        self._residual = residual * self._total
        with np.errstate(over="ignore", invalid="ignore"):  # resolvents of a law that travels may be beyond all numbers: no law then
            leaks = self._x[0] @ banded.leak + 1j * (self._x[1] @ banded.leak)
            self._sums = (self._total - leaks * self._length) / self._z  # of the resolvents
            self._sizes = (np.abs(self._x[0]) + np.abs(self._x[1])).sum(axis=1)

    def after(self, p: np.ndarray, now: float, times: np.ndarray) -> Step:
        """The laws at times after that of a law p, which came of the one at the start; from `first` to `end`."""
        with np.errstate(over="ignore", invalid="ignore"):
            factors = self._w * np.exp(np.outer((np.append(now, times) - self.start) / self._length, self._z))
            laws = np.empty((len(factors), len(p)))
            laws[:, self._order] = factors.real @ self._x[0] - factors.imag @ self._x[1]
            apart = float(np.abs(laws[0] - p).sum())
            # What round-off does is seen in the total, and estimated from the size of the terms.
            astray = float(np.abs(laws.sum(axis=1) - (factors @ self._sums).real).max())
            rounded = astray + ROUNDINGS * ROUNDING * float((np.abs(factors) @ self._sizes).max())
        laws = np.maximum(laws[1:], 0.0)  # the law is not negative: this brings the answer nearer to it
        return Step(now, times, laws, np.full(len(times), apart + self._residual + rounded), rounded)


def _along(states: np.ndarray) -> np.ndarray:
    """An order in which jumps of few molecules do not lead far: the count with most different values changes last."""
    if states.dtype.kind != "i":
        return np.arange(len(states))
    spans = states.max(axis=0) - states.min(axis=0)
    return np.lexsort(states[:, np.argsort(spans)].T)
