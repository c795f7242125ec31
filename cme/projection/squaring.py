"""exp(tA) by scaling and squaring in whole numbers: for few states and any number of jumps, with the error known as it is.

Numbers are counted in units of 2^-132 and always rounded down. Nothing is ever subtracted, so that what comes out is nowhere above the
truth, and what is missing in the sum is the error in the 1-norm. With one more state for what leaks, the sum is one.
"""

from fractions import Fraction
from math import ceil, floor, log2

import numpy as np

from cme.generator import Generator

LIMB, LIMBS = 22, 6  # bits in a limb: sums of 512 products of two are exact in double precision
UNIT = 1 << LIMB * LIMBS
MOST_STATES = 200
ROUNDED = 2.3e-16  # a relative error that is made when a number is written in double precision
SHORT = 8  # the series is for a time in which 2^-SHORT jumps happen at most


class Squares:
    """exp(tA) p for times that are sums of h, 2h, 4h, ..., by the powers of exp(hA), and a series for what is left."""

    def __init__(self, generator: Generator):
        self._n = len(generator)
        self._rates = [(int(i), int(j), Fraction(float(a))) for i, j, a in _jumps(generator)]
        out = [Fraction(0)] * (self._n + 1)
        for _, j, a in self._rates:
            out[j] += a
        self._stay = [max(out) - each for each in out]
        self._fastest = max(out)
        self._bits = ceil(log2(self._fastest)) + SHORT if self._fastest else 0
        one = np.array([[UNIT * (i == j) for j in range(self._n + 1)] for i in range(self._n + 1)], dtype=object)
        self._powers = [_limbs(self._series(Fraction(2) ** -self._bits, one))]

    def laws(self, p: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The laws (J, N) at some times after p (N,), and their errors in the 1-norm: what is missing, and the last rounding."""
        whole = [Fraction(each) for each in p.tolist()]
        start = np.array([floor(each * UNIT) for each in whole] + [0], dtype=object)
        laws, errors = np.empty((len(times), self._n)), np.empty(len(times))
        for k, time in enumerate(times.tolist()):
            found = self._after(Fraction(time), start)
            laws[k] = [each / UNIT for each in found[:-1].tolist()]
            errors[k] = float(sum(whole) - Fraction(sum(found.tolist()), UNIT)) * (1 + ROUNDED) + ROUNDED * float(sum(whole))
        return laws, errors

    def _after(self, time: Fraction, p: np.ndarray) -> np.ndarray:
        """The law (N + 1,) in units, after a time."""
        steps = time * Fraction(2) ** self._bits
        n_steps, k = floor(steps), 0
        while n_steps >> k:
            if len(self._powers) == k:
                self._powers.append(_product(self._powers[-1], self._powers[-1]))
            if n_steps >> k & 1:
                p = _numbers(_product(self._powers[k], _limbs(p[:, None])))[:, 0]
            k += 1
        return self._series((steps - n_steps) * Fraction(2) ** -self._bits, p[:, None])[:, 0]

    def _series(self, time: Fraction, x: np.ndarray) -> np.ndarray:
        """exp(tA) x for a short time: exp(-qt) times the series of q t + A t, which is nowhere negative."""
        if time == 0:
            return x
        jumps = [(i, j, floor(a * time * UNIT)) for i, j, a in self._rates]
        stay = np.array([floor(each * time * UNIT) for each in self._stay], dtype=object)[:, None]
        total, term, k = x.copy(), x, 1
        while np.any(term):
            following = stay * term
            for i, j, a in jumps:
                following[i] += a * term[j]
            term = following // (UNIT * k)
            total, k = total + term, k + 1
        return total * _decay(self._fastest * time) // UNIT


def _jumps(generator: Generator) -> list[tuple[int, int, float]]:
    """Where from and to jumps lead, and their rates; what leaks goes to one state more."""
    rates = generator.rates.tocoo()
    inside = list(zip(rates.row.tolist(), rates.col.tolist(), rates.data.tolist(), strict=True))
    return inside + [(len(generator), j, float(a)) for j, a in enumerate(generator.leak) if a > 0]


def _decay(z: Fraction) -> int:
    """exp(-z) in units, rounded down, for 0 <= z < 1."""
    total, term, k = UNIT, UNIT, 1
    part = -floor(-z * UNIT)  # 1 / exp(z), from an exp(z) that is rounded up
    while term > 1:
        term = -(-term * part // (UNIT * k))
        total, k = total + term, k + 1
    return UNIT * UNIT // (total + 2)


def _limbs(x: np.ndarray) -> list[np.ndarray]:
    """Numbers in units as sums of limbs, the largest first."""
    mask = (1 << LIMB) - 1
    parts = [x >> LIMB * (LIMBS - 1)] + [x >> LIMB * k & mask for k in range(LIMBS - 2, -1, -1)]
    return [part.astype(np.float64) for part in parts]


def _numbers(limbs: list[np.ndarray]) -> np.ndarray:
    total = limbs[0].astype(np.int64).astype(object)
    for limb in limbs[1:]:
        total = (total << LIMB) + limb.astype(np.int64).astype(object)
    return total


def _product(a: list[np.ndarray], b: list[np.ndarray]) -> list[np.ndarray]:
    """A product of matrices in limbs, rounded down: what limbs multiply to far below a unit is left out."""
    carry: int | np.ndarray = 0
    limbs = []
    for level in range(LIMBS - 1, -1, -1):  # what limbs of weights 2^-22i and 2^-22j multiply to, i + j = level + 2
        total = carry + sum((a[i] @ b[level - i]).astype(np.int64) for i in range(level + 1))
        carry = total >> LIMB
        limbs.append((total & ((1 << LIMB) - 1)).astype(np.float64))
    return [np.asarray(carry, dtype=np.float64), *reversed(limbs[1:])]
