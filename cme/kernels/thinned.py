"""Propensities that move with time, thinned: candidates come at an upper bound, and each fires with probability propensity over bound.

A propensity is a sum of terms f(t) g(x), with f >= 0 bounded on cells of time and g constant between jumps, so that its bound is constant
there: a term with g >= 0 is at most the greatest f times g, one with g < 0 at most the least f times g. Whatever the bounds are, what
fires has exactly the rates of the model.

Reference: Lewis and Shedler, Naval Res. Logist. Quart. 26 (1979) 403, doi:10.1002/nav.3800260304.
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.jit import inlined
from cme.kernels.propensity import run_program

CANCELLED_DIGITS = 1e-12  # of the terms of a sum: about what is left of them by rounding where they cancel
PASSED = 6  # place in Walker.cursor: how many cells are over


class Thinning(NamedTuple):
    """Bounds of the factors f of the terms in time; where none move, `Motion.thinning` is None, and nothing of this is compiled."""

    edges: np.ndarray  # (K + 1,) of cells of time; the last is inf
    top: np.ndarray  # (K J,) upper bounds of J factors on each
    low: np.ndarray  # (K J,) lower bounds
    n_factors: int
    pointer: np.ndarray  # (R + 1,) terms of the reactions; none if the propensity is constant between jumps
    program: np.ndarray  # (N,) of g
    factor: np.ndarray  # (N,) the number of f


@inlined
def is_thinned(thinning, r):
    if thinning is None:  # the rest is not compiled then
        return False
    return thinning.pointer[r] < thinning.pointer[r + 1]


@inlined
def bound(field, thinning, walker, r):
    """The bound of the propensity of r in the present cell, and the values of its terms in counts for the cells that follow."""
    if thinning is None:
        return 0.0
    for n in range(thinning.pointer[r], thinning.pointer[r + 1]):
        walker.heads[n] = run_program(field.laws, thinning.program[n], walker.y, field.stack)
    return bound_in_cell(thinning, walker, r)


@inlined
def bound_in_cell(thinning, walker, r):
    total, size, first = 0.0, 0.0, walker.cursor[PASSED] * thinning.n_factors
    for n in range(thinning.pointer[r], thinning.pointer[r + 1]):
        at, g = first + thinning.factor[n], walker.heads[n]
        term = (thinning.low[at] if g < 0.0 else thinning.top[at]) * g
        total += term
        size += abs(term)
    return total if total == size else total + CANCELLED_DIGITS * size


@inlined
def cross_cells(thinning, walker, t, total, left, stop):
    """Use up the hazard of cells that end before the next candidate and the next stop. Returns the time, the total and what is left."""
    if thinning is None:
        return t, total, left
    a = walker.a
    while True:
        end = thinning.edges[walker.cursor[PASSED] + 1]
        if not end < stop or (total > 0.0 and t + left / total <= end):
            return t, total, left
        left = max(left - total * (end - t), 0.0)
        t = end
        walker.cursor[PASSED] += 1
        total = 0.0
        for r in range(len(a)):
            if thinning.pointer[r] < thinning.pointer[r + 1]:
                a[r] = bound_in_cell(thinning, walker, r)
            total += a[r]
