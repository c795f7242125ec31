"""The one judge of statistical tests: |z| < 5 for moments, chi-square p > 1e-6 for laws, on a fixed seed.

A right program is then refused about once in a million checks. Every function returns its statistic, or raises `Refused` with what it saw.
"""

import numpy as np
from scipy.stats import chi2

LARGEST_Z = 5.0
SMALLEST_P = 1e-6


class Refused(AssertionError):
    """The samples do not follow the law."""


def mean_matches(samples, mean, sd=None, *, bias=0.0):
    """Judge the mean of independent samples.

    Parameters
    ----------
    sd
        The standard deviation of the law; None estimates it from the samples.
    bias
        A known bound on how far the mean of a right program may be from `mean` (a time step, what a truncation lost).
    """
    samples = np.asarray(samples, dtype=np.float64)
    error = (np.std(samples, ddof=1) if sd is None else sd) / np.sqrt(len(samples))
    return _judge(f"the mean of {len(samples)} samples", float(np.mean(samples)), float(mean), float(error), bias)


def variance_matches(samples, variance, fourth=None, *, bias=0.0):
    """Judge the variance of independent samples; `fourth` is the fourth central moment of the law, None estimates it."""
    samples = np.asarray(samples, dtype=np.float64)
    n, s2 = len(samples), float(np.var(samples, ddof=1))
    if fourth is None:
        fourth = float(np.mean((samples - samples.mean()) ** 4))
    error = np.sqrt(max(fourth - variance**2 * (n - 3) / (n - 1), 0.0) / n)
    return _judge(f"the variance of {n} samples", s2, float(variance), float(error), bias)


def probability_matches(hits, p, *, bias=0.0):
    """Judge how often an event happened, hits (n,) of booleans, against its probability."""
    hits = np.asarray(hits, dtype=bool)
    return _judge(f"the frequency in {len(hits)} samples", float(hits.mean()), float(p), float(np.sqrt(p * (1 - p) / len(hits))), bias)


def _judge(what, found, expected, error, bias):
    excess = max(abs(found - expected) - bias, 0.0)
    if error == 0.0:
        z = 0.0 if excess <= 1e-9 * max(abs(expected), 1.0) else np.inf
    else:
        z = excess / error
    if not z < LARGEST_Z:
        allowed = f" and a bias of {bias:.3g}" if bias else ""
        raise Refused(
            f"{what} is {found:.6g}, expected {expected:.6g} with standard error {error:.3g}{allowed}: |z| = {z:.2f} >= {LARGEST_Z}"
        )
    return z


def samples_match_pmf(samples, pmf, lost=0.0):
    """Judge counts (n,) against probabilities of 0, 1, ..., K-1; neighbours are merged to an expected count of at least 5.

    `lost` is the probability that `pmf` may lack, on any cells: the truth lies in [pmf, pmf + lost]. Samples of K or more fall into the
    last cell, which takes what is left to 1.
    """
    samples, pmf = np.asarray(samples), np.asarray(pmf, dtype=np.float64)
    if not np.array_equal(samples, np.round(samples)) or np.any(samples < 0):
        raise Refused("samples of a count must be whole numbers >= 0")
    n = len(samples)
    expected = n * np.append(pmf, max(0.0, 1.0 - pmf.sum()))
    observed = np.bincount(np.minimum(samples.astype(np.int64), len(pmf)), minlength=len(pmf) + 1)
    expected, observed = _merge(expected, observed)
    below, above = np.maximum(expected - observed, 0.0), np.maximum(observed - expected - n * lost, 0.0)
    return _chi_square(f"{n} samples", float(np.sum((below + above) ** 2 / expected)), len(expected) - 1, observed, expected)


def samples_match(samples, others):
    """Judge whether two independent sets of counts have the same law (two-sample chi-square)."""
    samples, others = np.asarray(samples, dtype=np.int64), np.asarray(others, dtype=np.int64)
    lowest = min(samples.min(), others.min())
    size = int(max(samples.max(), others.max()) - lowest) + 1
    first, second = np.bincount(samples - lowest, minlength=size), np.bincount(others - lowest, minlength=size)
    share = len(samples) / (len(samples) + len(others))
    pooled, first = _merge((first + second) * min(share, 1 - share), first)
    pooled = pooled / min(share, 1 - share)
    second = pooled - first
    statistic = np.sum((first - pooled * share) ** 2 / (pooled * share) + (second - pooled * (1 - share)) ** 2 / (pooled * (1 - share)))
    return _chi_square(f"{len(samples)} and {len(others)} samples", float(statistic), len(pooled) - 1, first, pooled * share)


def _merge(expected, observed, least=5.0):
    """Merge neighbouring cells until each expects at least `least`."""
    cells, waiting = [], np.zeros(2)
    for pair in zip(expected, observed, strict=True):
        waiting = waiting + pair
        if waiting[0] >= least:
            cells.append(waiting)
            waiting = np.zeros(2)
    if cells:
        cells[-1] = cells[-1] + waiting
    else:
        cells = [waiting]
    return np.array(cells).T


def _chi_square(what, statistic, degrees, observed, expected):
    if degrees == 0:
        if observed.sum() and not expected.sum():
            raise Refused(f"{what} lie where the law has no probability")
        return 1.0
    p = float(chi2.sf(statistic, degrees))
    if not p > SMALLEST_P:
        worst = int(np.argmax((observed - expected) ** 2 / expected))
        raise Refused(
            f"{what} give chi-square {statistic:.1f} in {degrees} degrees of freedom: p = {p:.1e} <= {SMALLEST_P}; "
            f"worst of the merged cells is number {worst} with {observed[worst]:.0f} where {expected[worst]:.1f} are expected"
        )
    return p
