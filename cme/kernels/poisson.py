"""Poisson random numbers of any mean: inversion for small means, transformed rejection above.

The probabilities are evaluated by Stirling's series around the mean, so that nothing cancels up to means of 1e15, where neighbouring
whole numbers are still told apart.

References: Hoermann, Insurance: Mathematics and Economics 12 (1993) 39, doi:10.1016/0167-6687(93)90997-4 (the rejection, PTRS);
Loader, "Fast and accurate computation of binomial probabilities" (2000) (the series).
"""

import math

import numpy as np

from cme.kernels.jit import bare, inlined
from cme.kernels.random import open_stream, uniform

SMALL_MEAN = 10.0  # from here on Hoermann's hat fits
_HALF_LOG_TWO_PI = 0.9189385332046727
# log n! less Stirling's n log n - n + log(2 pi n) / 2; the series has it to 1e-13 from 16 on
_STIRLING = np.array([0.0, *(math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - _HALF_LOG_TWO_PI for n in range(1, 16))])


@inlined
def poisson(random, mean):
    """A Poisson number, as a float64 that is whole."""
    if mean < SMALL_MEAN:
        u, k, p = uniform(random), 0.0, math.exp(-mean)
        total = p
        while u > total:
            k += 1.0
            p *= mean / k
            if total + p == total:  # the rest is below rounding
                break
            total += p
        return k
    root = math.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform(random) - 0.5
        v = uniform(random)
        side = 0.5 - abs(u)
        k = np.floor((2.0 * a / side + b) * u + mean + 0.43)
        if side >= 0.07 and v <= squeeze:
            return k
        if k < 0.0 or (side < 0.013 and v > side):
            continue
        if math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (side * side) + b)) <= log_probability(mean, k):
            return k


@inlined
def log_probability(mean, k):
    """log(mean^k exp(-mean) / k!) of a whole k >= 0."""
    if k == 0.0:
        return -mean
    if k < 16.0:
        rest = _STIRLING[int(k)]
    else:
        square = 1.0 / (k * k)
        rest = (0.08333333333333333 - (0.002777777777777778 - 0.0007936507936507937 * square) * square) / k
    return (k - mean) - k * math.log1p((k - mean) / mean) - 0.5 * math.log(k) - _HALF_LOG_TWO_PI - rest


@bare
def fill_with_poisson(key, stream, path, mean, random, out):
    """The first Poisson numbers of a stream, into out (N,)."""
    open_stream(key, stream, path, random)
    for i in range(len(out)):
        out[i] = poisson(random, mean)
