"""Distances between two laws on the counts 0, 1, 2, ...

All take two arrays of probabilities; the shorter one ends in zeros. Neither needs to sum to 1: a law that has lost mass in a truncation is
compared as it is, and `cme.compare` says what the loss may have done.
"""

import numpy as np


def total_variation(p, q) -> float:
    """Compute sum |p - q| / 2: the most by which the probability of any event differs.

    Parameters
    ----------
    p, q : (K,), (L,)
        Probabilities of 0, 1, 2, ...

    Returns
    -------
    float
        Between 0 (equal) and 1 (nothing in common).

    Examples
    --------
    >>> round(total_variation([0.5, 0.5], [0.25, 0.25, 0.5]), 12)
    0.5
    """
    p, q = _aligned(p, q)
    return float(0.5 * np.abs(p - q).sum())


def hellinger(p, q) -> float:
    """Compute the Hellinger distance sqrt(sum (sqrt(p) - sqrt(q))^2 / 2), which is sqrt(1 - sum sqrt(p q)) if both sum to 1.

    It looks harder at rare counts than the total variation; H^2 <= TV <= H sqrt(2).

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    Two Poisson laws: H^2 = 1 - exp(-(sqrt(4) - sqrt(1))^2 / 2).

    >>> from scipy.special import gammaln
    >>> n = np.arange(60)
    >>> p, q = (np.exp(n * np.log(mean) - mean - gammaln(n + 1)) for mean in (1, 4))
    >>> bool(np.isclose(hellinger(p, q) ** 2, 1 - np.exp(-0.5)))
    True
    """
    p, q = _aligned(p, q)
    return float(np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()))


def kullback_leibler(p, q=None, *, log_q=None) -> float:
    """Compute the Kullback-Leibler divergence sum p log(p/q) - p + q of q from p, in nats; infinite if q = 0 somewhere where p > 0.

    The last two terms cancel if both sum to 1; they keep the sum from falling below zero if mass was lost.

    Parameters
    ----------
    p : (K,)
        Probabilities of 0, 1, 2, ...
    q : (L,)
        Probabilities of 0, 1, 2, ...
    log_q : (L,)
        Their logarithms, instead of `q`: these do not underflow in far tails.

    Returns
    -------
    float
        Between 0 and infinity; TV <= sqrt(KL/2) (Pinsker).

    Examples
    --------
    Two Poisson laws: KL = a log(a/b) - a + b.

    >>> from scipy.special import gammaln
    >>> n = np.arange(60)
    >>> p, q = (np.exp(n * np.log(mean) - mean - gammaln(n + 1)) for mean in (1, 4))
    >>> bool(np.isclose(kullback_leibler(p, q), np.log(1 / 4) - 1 + 4))
    True
    """
    p = np.asarray(p, dtype=np.float64)
    if log_q is None:
        with np.errstate(divide="ignore"):
            log_q = np.log(np.asarray(q, dtype=np.float64))
    size = max(len(p), len(log_q))
    p = np.pad(p, (0, size - len(p)))
    log_q = np.pad(log_q, (0, size - len(log_q)), constant_values=-np.inf)
    held = p > 0
    if np.any(held & (log_q == -np.inf)):
        return float("inf")
    terms = np.exp(log_q) - p
    terms[held] += p[held] * (np.log(p[held]) - log_q[held])
    return float(terms.sum())


def wasserstein(p, q) -> float:
    """Compute the Wasserstein-1 distance sum |F - G| of the distribution functions, in molecules.

    How far the molecules of one law must be moved, on average, to make the other.

    Examples
    --------
    >>> wasserstein([1.0], [0.0, 0.0, 0.5, 0.5])
    2.5
    """
    p, q = _aligned(p, q)
    return float(np.abs(np.cumsum(p - q))[:-1].sum())


def _aligned(p, q) -> tuple[np.ndarray, np.ndarray]:
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    size = max(len(p), len(q))
    return np.pad(p, (0, size - len(p))), np.pad(q, (0, size - len(q)))
