"""Solutions E1-E9 of the Fokker-Planck equation (12), P_t = (alpha/2) P_xx - (p P)_x from P = delta(x - x0), as formulas.

Each is a `Case` with its drift, its density and its V of (18). The formulas take the functions that they need from `m`: by default numpy
and scipy, for arrays; with ``m=mpmath.mp`` they are evaluated to any precision. Nothing of `cme`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.special import erf, erfc

ARRAYS = SimpleNamespace(
    exp=np.exp, sqrt=np.sqrt, cosh=np.cosh, tanh=np.tanh, cos=np.cos, sin=np.sin, erf=erf, erfc=erfc, sign=np.sign, pi=np.pi
)


@dataclass(frozen=True)
class Case:
    """p(x, t), P(x, t) and V(x, t), each a function of x, t and m; `domain` is where P lives."""

    drift: Callable
    density: Callable
    potential: Callable
    alpha: float
    x0: float
    domain: tuple[float, float] = (-np.inf, np.inf)
    moving: bool = False  # does the drift depend on time?

    @property
    def given(self):
        """The drift as one gives it to a solver: of x alone, unless it depends on time."""
        return (lambda x, t: self.drift(x, t)) if self.moving else (lambda x: self.drift(x, 0.0))

    def masses(self, edges, t, order=12):
        """The integrals of the density over cells, (K,), by Gauss's rule."""
        nodes, weights = np.polynomial.legendre.leggauss(order)
        half = np.diff(edges) / 2
        x = (edges[1:] + edges[:-1])[:, None] / 2 + half[:, None] * nodes
        return (self.density(x, t) @ weights) * half


def gauss(v, x, m=ARRAYS):
    """G_v(x) = exp(-x^2 / 2v) / sqrt(2 pi v)."""
    return m.exp(-x * x / (2 * v)) / m.sqrt(2 * m.pi * v)


def e1(alpha=1.0, x0=0.0):
    """p = 0: the heat equation."""
    return Case(
        lambda x, t, m=ARRAYS: 0 * x,
        lambda x, t, m=ARRAYS: gauss(alpha * t, x - x0, m),
        lambda x, t, m=ARRAYS: 0 * x,
        alpha,
        x0,
    )


def e2(c=0.8, alpha=1.0, x0=0.0):
    """p = c."""
    return Case(
        lambda x, t, m=ARRAYS: c + 0 * x,
        lambda x, t, m=ARRAYS: gauss(alpha * t, x - x0 - c * t, m),
        lambda x, t, m=ARRAYS: -c * c / 2 + 0 * x,
        alpha,
        x0,
    )


def e3(k=1.0, alpha=1.0, x0=0.7):
    """p = -k x: Ornstein and Uhlenbeck."""

    def density(x, t, m=ARRAYS):
        return gauss(alpha / (2 * k) * (1 - m.exp(-2 * k * t)), x - x0 * m.exp(-k * t), m)

    return Case(lambda x, t, m=ARRAYS: -k * x, density, lambda x, t, m=ARRAYS: k * (alpha - k * x * x) / 2, alpha, x0)


def e4(c=1.0, alpha=1.0, x0=0.0):
    """p = c tanh(c x / alpha): from x0 = 0 a mixture of two Gaussians."""
    kap = c / alpha

    def density(x, t, m=ARRAYS):
        return m.exp(-c * c * t / (2 * alpha)) * m.cosh(kap * x) / m.cosh(kap * x0) * gauss(alpha * t, x - x0, m)

    return Case(lambda x, t, m=ARRAYS: c * m.tanh(kap * x), density, lambda x, t, m=ARRAYS: -c * c / 2 + 0 * x, alpha, x0)


def e5(alpha=1.0, x0=1.0):
    """p = alpha / x on x > 0: the distance from the origin in three dimensions (Bessel)."""

    def density(x, t, m=ARRAYS):
        return x / x0 * (gauss(alpha * t, x - x0, m) - gauss(alpha * t, x + x0, m))

    return Case(lambda x, t, m=ARRAYS: alpha / x, density, lambda x, t, m=ARRAYS: 0 * x, alpha, x0, (0.0, np.inf))


def e6(a=1.5, w=4.0, alpha=1.0, x0=0.0):
    """p = a cos(w t): driven."""

    def potential(x, t, m=ARRAYS):
        return -((a * m.cos(w * t)) ** 2) / 2 + a * w * x * m.sin(w * t)

    return Case(
        lambda x, t, m=ARRAYS: a * m.cos(w * t) + 0 * x,
        lambda x, t, m=ARRAYS: gauss(alpha * t, x - x0 - a / w * m.sin(w * t), m),
        potential,
        alpha,
        x0,
        moving=True,
    )


def e7(c=1.0, alpha=1.0, x0=0.4):
    """p = -c tanh(c x / alpha): ergodic (Poeschl and Teller), stationary density (kap/2) / cosh(kap x)^2."""
    kap = c / alpha

    def density(x, t, m=ARRAYS):
        root, off = m.sqrt(2 * alpha * t), x - x0
        moving = m.cosh(kap * x0) / m.cosh(kap * x) * m.exp(-c * c * t / (2 * alpha)) * gauss(alpha * t, off, m)
        settled = kap / (4 * m.cosh(kap * x) ** 2) * (m.erf((c * t + off) / root) + m.erf((c * t - off) / root))
        return moving + settled

    def potential(x, t, m=ARRAYS):
        return c * c / m.cosh(kap * x) ** 2 - c * c / 2

    return Case(lambda x, t, m=ARRAYS: -c * m.tanh(kap * x), density, potential, alpha, x0)


def e8(c=1.0, alpha=1.0, x0=0.5):
    """p = -c sign(x): dry friction (Caughey and Dienes). V holds a delta function, alpha c delta(x)."""
    kap = c / alpha

    def density(x, t, m=ARRAYS):
        size, first = abs(x), abs(x0)
        moving = m.exp(-kap * (size - first) - c * c * t / (2 * alpha)) * gauss(alpha * t, x - x0, m)
        settled = c / (2 * alpha) * m.exp(-2 * kap * size) * (1 + m.erf((c * t - size - first) / m.sqrt(2 * alpha * t)))
        return moving + settled

    return Case(lambda x, t, m=ARRAYS: -c * m.sign(x), density, lambda x, t, m=ARRAYS: -c * c / 2 + 0 * x, alpha, x0)


def e9(v=-0.7, alpha=1.0, x0=1.0):
    """p = v on x > 0 with a reflecting wall at 0."""
    d = alpha / 2

    def density(x, t, m=ARRAYS):
        spread = 4 * d * t
        direct = m.exp(-((x - x0 - v * t) ** 2) / spread)
        mirrored = m.exp(-v * x0 / d) * m.exp(-((x + x0 - v * t) ** 2) / spread)
        piled = v / (2 * d) * m.exp(v * x / d) * m.erfc((x + x0 + v * t) / m.sqrt(spread))
        return (direct + mirrored) / m.sqrt(m.pi * spread) - piled

    return Case(lambda x, t, m=ARRAYS: v + 0 * x, density, lambda x, t, m=ARRAYS: -v * v / 2 + 0 * x, alpha, x0, (0.0, np.inf))


CASES = {
    "E1": e1(alpha=1.3, x0=0.2),
    "E2": e2(),
    "E3": e3(),
    "E4": e4(c=2.0, x0=0.3),
    "E5": e5(),
    "E6": e6(),
    "E7": e7(),
    "E8": e8(),
    "E9": e9(),
}
