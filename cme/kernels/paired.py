"""Chebyshev series for laws that are kept as a few modes on each of L lines: a matrix of small dense blocks between lines.

The modes of a line are neighbours in memory, and there are a multiple of four of them, as many as its kind needs. A reaction that does
nothing to the modes is a factor, any other a factor times a block, which all lines of one kind share: it stays in the cache while
these are done.
"""

import math
from typing import NamedTuple

import numpy as np

from cme.kernels.chebyshev import SHORT, SKIPPED, add_term, verdict
from cme.kernels.jit import apart, inlined, inner, packed

_TINY = 1e-250  # numbers near the end of the exponent range cost a hundredfold
_1, _2, _3, _4 = (np.uint64(place) for place in range(1, 5))


class Blocks(NamedTuple):
    """A matrix I + K/q. What comes to line n has the places ``pointer[n]:pointer[n + 1]``: factors, then blocks, equal ones together."""

    begin: np.ndarray  # (L + 1,) int64 where the modes of each line are
    pointer: np.ndarray  # (L + 1,) int64
    middle: np.ndarray  # (L,) int64 where those with blocks begin
    source: np.ndarray  # int32 the line it comes from
    factor: np.ndarray
    block: np.ndarray  # int32
    first: np.ndarray  # (blocks + 1,) int64 where the entries of each block are, column by column
    entries: np.ndarray
    stay: np.ndarray  # (L,) what the diagonal holds beside `decay`
    decay_at: np.ndarray  # (L,) int64 where the modes of each line are in `decay`
    decay: np.ndarray  # the rates of modes over q, for each kind of lines


@packed
def chebyshev_series(matrix, defect, weights, tails, enough, allowed, rounding, cursor, previous, current, mixed, norms, strays, out):
    """See `cme.kernels.chebyshev.chebyshev_series`; norms are sums over lines of 2-norms.

    `mixed` is workspace for the modes of one line. strays (K,) gets the sum of `defect` times the absolute values of each term.
    """
    n_terms = weights.shape[1]
    for j in range(out.shape[0]):
        for n in range(len(previous)):
            out[j, n] = 0.0
    norms[0], strays[0] = 0.0, 0.0
    for n in range(len(matrix.stay)):
        measure(previous[matrix.begin[n] : matrix.begin[n + 1]], defect[matrix.begin[n] : matrix.begin[n + 1]], 0, norms, strays)
    cursor[1], made, status, last = 0, 2.0 * rounding * tails[0] * norms[0], SHORT, n_terms - 1
    for k in range(1, n_terms):
        while weights[cursor[1], max(k - 2, 0)] < SKIPPED and cursor[1] < out.shape[0] - 1:
            cursor[1] += 1
        norms[k], strays[k] = 0.0, 0.0
        if k % 2 == 1:
            next_term(matrix, defect, k, previous, current, weights, cursor[1], mixed, norms, strays, out)
        else:
            next_term(matrix, defect, k, current, previous, weights, cursor[1], mixed, norms, strays, out)
        cursor[0] = k + 1
        made += 2.0 * rounding * tails[k] * norms[k]
        status = verdict(k, tails, norms, made, allowed, enough)
        if status != SHORT:
            last = k
            break
    if last % 2 == 1:  # the term before the last one is alone
        add_term(last - 1, previous, weights, cursor[1], out)
    return status


@inlined
def measure(here, off, k, norms, strays):
    """Add a line to the norm of term k, and to what strays from the modes."""
    square, stray = 0.0, 0.0
    for i in range(len(here)):
        square += here[i] * here[i]
        stray += off[i] * abs(here[i])
    norms[k] += math.sqrt(square)
    strays[k] += stray


@inner
def next_term(matrix, defect, k, x, y, weights, first, mixed, norms, strays, out):
    """Put term k into y, where term k - 2 is, x being term k - 1. If k is even, both are added to the outputs."""
    apart()
    twice, back = (1.0, 0.0) if k == 1 else (2.0, 1.0)
    begin, factor, entries = matrix.begin, matrix.factor, matrix.entries
    for n in range(len(matrix.stay)):
        here, there = x[begin[n] : begin[n + 1]], y[begin[n] : begin[n + 1]]
        if k % 2 == 0:
            for j in range(first, out.shape[0]):
                sums, w, v = out[j, begin[n] : begin[n + 1]], weights[j, k - 2], weights[j, k - 1]
                for i in range(len(sums)):
                    sums[i] += w * there[i] + v * here[i]
        stay, decay = matrix.stay[n], matrix.decay[matrix.decay_at[n] : matrix.decay_at[n] + len(here)]
        for i in range(len(here)):
            there[i] = twice * (stay + decay[i]) * here[i] - back * there[i]
        for e in range(matrix.pointer[n], matrix.middle[n]):
            f, come = twice * factor[e], x[begin[matrix.source[e]] : begin[matrix.source[e] + 1]]
            for i in range(len(come)):
                there[i] += f * come[i]
        e, end = matrix.middle[n], matrix.pointer[n + 1]
        while e < end:
            block, f, come = matrix.block[e], twice * factor[e], x[begin[matrix.source[e]] : begin[matrix.source[e] + 1]]
            for i in range(len(come)):
                mixed[i] = f * come[i]
            e += 1
            while e < end and matrix.block[e] == block:
                f, more = twice * factor[e], x[begin[matrix.source[e]] : begin[matrix.source[e] + 1]]
                for i in range(len(more)):
                    mixed[i] += f * more[i]
                e += 1
            multiply(entries, np.uint64(matrix.first[block]), np.uint64(len(there)), np.uint64(len(come)), mixed, y, np.uint64(begin[n]))
        for i in range(len(there)):
            there[i] = there[i] if abs(there[i]) > _TINY else 0.0
        measure(there, defect[begin[n] : begin[n + 1]], k, norms, strays)


@inlined
def multiply(entries, first, n_rows, n_columns, x, y, to):
    """Add a block, whose entries begin at `first`, times x to what begins at y[to].

    Four by four sums that need not wait for each other. Places are unsigned, since for signed ones it would be looked each time whether
    they count from the end.
    """
    for row in range(np.uint64(0), n_rows, _4):
        a0, a1, a2, a3, b0, b1, b2, b3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        c0, c1, c2, c3, d0, d1, d2, d3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        at = first + row
        for j in range(np.uint64(0), n_columns, _4):
            v = x[j]
            a0 += entries[at] * v
            a1 += entries[at + _1] * v
            a2 += entries[at + _2] * v
            a3 += entries[at + _3] * v
            at, v = at + n_rows, x[j + _1]
            b0 += entries[at] * v
            b1 += entries[at + _1] * v
            b2 += entries[at + _2] * v
            b3 += entries[at + _3] * v
            at, v = at + n_rows, x[j + _2]
            c0 += entries[at] * v
            c1 += entries[at + _1] * v
            c2 += entries[at + _2] * v
            c3 += entries[at + _3] * v
            at, v = at + n_rows, x[j + _3]
            d0 += entries[at] * v
            d1 += entries[at + _1] * v
            d2 += entries[at + _2] * v
            d3 += entries[at + _3] * v
            at += n_rows
        here = to + row
        y[here] += (a0 + b0) + (c0 + d0)
        y[here + _1] += (a1 + b1) + (c1 + d1)
        y[here + _2] += (a2 + b2) + (c2 + d2)
        y[here + _3] += (a3 + b3) + (c3 + d3)
