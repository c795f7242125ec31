"""What is kept of random paths when the paths themselves are not: exact sums, and counts in bins.

A block holds the values of some paths, (B, T, C) for C columns; they are turned to rows (T, C, B). Sums of whole numbers and of their
products are kept in 128 bits (the upper and the lower word), so that they are exact, and the same whatever the order and the blocks in
which paths come.
"""

import numpy as np

from cme.kernels.jit import bare, inlined
from cme.kernels.random import high_product


@bare
def turn(values, rows):
    """Values (B, T, C) as rows (T, C, B): what is at one time in one column lies together."""
    n_paths, n_times, n_columns = values.shape
    for start in range(0, n_paths, 8):  # a cache line of each row
        stop = min(start + 8, n_paths)
        for k in range(n_times):
            for i in range(n_columns):
                for m in range(start, stop):
                    rows[k, i, m] = values[m, k, i]
    return 0


@bare
def add_moments(rows, mixed, sums, products):
    """Add whole numbers, rows (T, C, B), to sums (T, C, 2) and to sums of products (T, P, 2).

    Products are of columns i <= j, in order; without `mixed` only those with i = j. Returns the bits that the numbers take; if more than
    53, nothing was added.
    """
    n_times, n_columns, n_paths = rows.shape
    largest = np.int64(0)
    for k in range(n_times):
        for i in range(n_columns):
            for m in range(n_paths):
                largest |= rows[k, i, m] ^ (rows[k, i, m] >> 63)  # as many bits as the largest needs, whatever its sign
    if largest >= 2**53:
        return largest
    short = (largest + 1.0) * (largest + 1.0) * n_paths < 2.0**62
    for k in range(n_times):
        p = 0
        for i in range(n_columns):
            if short:
                total = np.int64(0)
                for m in range(n_paths):
                    total += rows[k, i, m]
                add_wide(sums, k, i, sign(total), np.uint64(total))
            else:
                for m in range(n_paths):
                    add_wide(sums, k, i, sign(rows[k, i, m]), np.uint64(rows[k, i, m]))
            for j in range(i, n_columns if mixed else i + 1):
                if short:
                    total = np.int64(0)
                    for m in range(n_paths):
                        total += rows[k, i, m] * rows[k, j, m]
                    add_wide(products, k, p, sign(total), np.uint64(total))
                else:
                    for m in range(n_paths):
                        x, y = rows[k, i, m], rows[k, j, m]
                        a, b = np.uint64(x), np.uint64(y)
                        add_wide(products, k, p, high_product(a, b) - (a & sign(y)) - (b & sign(x)), a * b)
                p += 1
    return largest


@inlined
def sign(x):
    """The upper word of an int64 in 128 bits."""
    return np.uint64(x >> 63)


@inlined
def add_wide(total, k, i, high, low):
    before = total[k, i, 1]
    after = before + low
    total[k, i, 1] = after
    total[k, i, 0] += high + (np.uint64(1) if after < before else np.uint64(0))


@bare
def real_moments(rows, mixed, mean, spread):
    """The means (T, C) of real numbers, rows (T, C, B), and the sums (T, P) of products of their distances from these."""
    n_times, n_columns, n_paths = rows.shape
    for k in range(n_times):
        p = 0
        for i in range(n_columns):
            total = 0.0
            for m in range(n_paths):
                total += rows[k, i, m]
            mean[k, i] = total / n_paths
        for i in range(n_columns):
            for j in range(i, n_columns if mixed else i + 1):
                total = 0.0
                for m in range(n_paths):
                    total += (rows[k, i, m] - mean[k, i]) * (rows[k, j, m] - mean[k, j])
                spread[k, p] = total
                p += 1
    return 0


@bare
def extremes(rows, lowest, highest, broken, unfit):
    """Of rows (T, C, B): the least and the greatest finite value (T, C); how many are no whole numbers, and how many are not finite."""
    for k in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            low, high, between, outside = np.inf, -np.inf, 0, 0
            for m in range(rows.shape[2]):
                value = np.float64(rows[k, i, m])
                if np.isfinite(value):
                    low, high = min(low, value), max(high, value)
                    between += value != np.floor(value)
                else:
                    outside += 1
            lowest[k, i], highest[k, i], broken[k, i], unfit[k, i] = low, high, between, outside
    return 0


@bare
def count(rows, i, scale, first, counts):
    """Count column i of rows (T, C, B) into counts (T, K): bin n holds the values with floor(value * scale) = first + n."""
    for k in range(rows.shape[0]):
        for m in range(rows.shape[2]):
            value = np.float64(rows[k, i, m])
            if np.isfinite(value):
                counts[k, bin_of(value, scale[k]) - first[k]] += 1
    return 0


@bare
def count_pairs(rows, i, others, j, scale, first, other_scale, other_first, counts):
    """Count pairs, column i of rows (T, C, B) and column j of others, into counts (T, K, K)."""
    for k in range(rows.shape[0]):
        for m in range(rows.shape[2]):
            x, y = np.float64(rows[k, i, m]), np.float64(others[k, j, m])
            if np.isfinite(x) and np.isfinite(y):
                counts[k, bin_of(x, scale[k]) - first[k], bin_of(y, other_scale[k]) - other_first[k]] += 1
    return 0


@inlined
def bin_of(value, scale):
    """The number of the bin of a value."""
    place = np.floor(value * scale)
    if place == 0.0 and value < 0.0:  # the product was too small for a number
        place = -1.0
    return np.int64(place)
