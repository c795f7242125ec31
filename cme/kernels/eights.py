"""Sums of many propensities by eights: the sum of all, and the one in whose share a number falls, without adding up all of them.

Propensities are summed in blocks of eight, the sums of the blocks in blocks of eight again, and so on up to one sum. Each block also
keeps the sum of those before each entry, so that a choice counts in every level how many of eight numbers are not above u: no branch
that a processor could guess wrong. When some propensities have changed, the blocks above them are summed anew. Nothing is
subtracted from a sum: they depend on the propensities alone and do not drift.
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.jit import inlined

_EIGHT = np.uint64(8)
_0, _1, _2, _3, _4, _5, _6, _7 = (np.uint64(place) for place in range(8))


class Eights(NamedTuple):
    """Propensities and their sums, level by level, each filled up with zeros to whole blocks of eight."""

    sums: np.ndarray  # the R propensities, the sums of their blocks, of the blocks of these, ..., the sum of all
    before: np.ndarray  # of each the sum of those before it in its block
    level: np.ndarray  # (L,) uint64: where each level begins
    changed: np.ndarray  # blocks that are to be summed anew


def new_eights(n):
    """The memory for n propensities, all zero (plain Python)."""
    sizes = [n]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 8))
    edges = np.append(0, np.cumsum([-(-size // 8) * 8 for size in sizes]))
    return Eights(np.zeros(edges[-1]), np.zeros(edges[-1]), edges[:-1].astype(np.uint64), np.zeros(-(-n // 8), np.int64))


@inlined
def sum_all(eights):
    """Sum up all propensities."""
    for b in range(len(eights.changed)):
        eights.changed[b] = b
    return sum_changed(eights, len(eights.changed))


@inlined
def sum_changed(eights, n):
    """Sum up after propensities have changed in the first n blocks of ``eights.changed``, which are in order. Returns the sum of all."""
    sums, before, level, changed = eights.sums, eights.before, eights.level, eights.changed
    top = len(level) - 1
    for k in range(top):
        first, above, n_above, last = level[k], level[k + 1], 0, np.int64(-1)
        for i in range(n):
            b = changed[i]
            sums[above + np.uint64(b)] = sum_block(sums, before, first + (np.uint64(b) << _3))
            if b >> 3 != last:
                last = b >> 3
                changed[n_above] = last
                n_above += 1
        n = n_above
    return sums[level[top]]


@inlined
def sum_block(a, before, i):
    """The sum of the block that begins at i, and of what is before each of its entries: few additions wait for one another.

    Whatever is rounded, no sum is below the one before it, and they are equal where the entry between them is zero.
    """
    a1, a3, a5 = a[i + _1], a[i + _3], a[i + _5]
    two, third, fifth, seventh = a[i] + a1, a[i + _2], a[i + _4], a[i + _6]
    four, pair = two + (third + a3), fifth + a5
    before[i + _1] = a[i]
    before[i + _2] = two
    before[i + _3] = two + third
    before[i + _4] = four
    before[i + _5] = four + fifth
    before[i + _6] = four + pair
    before[i + _7] = four + (pair + seventh)
    return four + (pair + (seventh + a[i + _7]))


@inlined
def choose(eights, u):
    """The propensity in whose share u falls, from 0 to the sum of all, which is not zero."""
    sums, before, level, r = eights.sums, eights.before, eights.level, _0
    for k in range(len(level) - 2, -1, -1):
        block = level[k] + (r << _3)
        n = _0
        for i in range(_EIGHT):
            n += np.uint64(before[block + i] <= u)
        n -= _1  # nothing is before the first
        while sums[block + n] == 0.0 and n > _0:  # round-off took u past the end of the block
            n -= _1
        u -= before[block + n]
        r = (r << _3) + n
    return np.int64(r)
