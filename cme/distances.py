"""Distances between two laws on the counts 0, 1, 2, ..., and what M random paths can tell of them.

The distances take two laws, each an array of the probabilities of 0, 1, 2, ... (the shorter one ends in zeros) or `cells.Cells`, which
are as quick at large counts as at small ones. Neither needs to sum to 1: a law that has lost mass in a truncation is compared as it is,
and `cme.compare` says what the loss may have done.

The distance of a sample is biased upwards (a distance is convex) and fluctuates. The functions named sampled_* bound or estimate both;
they return the bias and half a 95 % interval, and take several guesses of the unknown true law, of which the worst counts.
"""

from collections.abc import Sequence

import numpy as np

from cme.cells import Cells, on_common_blocks, single_counts


def total_variation(p, q) -> float:
    """Compute sum |p - q| / 2: the most by which the probability of any event differs.

    Parameters
    ----------
    p, q : (K,), (L,) or Cells
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
    size, p, q = _aligned(p, q)
    return float(0.5 * (size * np.abs(p - q)).sum())


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
    size, p, q = _aligned(p, q)
    return float(np.sqrt(0.5 * (size * (np.sqrt(p) - np.sqrt(q)) ** 2).sum()))


def kullback_leibler(p, q=None, *, log_q=None) -> float:
    """Compute the Kullback-Leibler divergence sum p log(p/q) - p + q of q from p, in nats; infinite if q = 0 somewhere where p > 0.

    The last two terms cancel if both sum to 1; they keep the sum from falling below zero if mass was lost.

    Parameters
    ----------
    p : (K,) or Cells
        Probabilities of 0, 1, 2, ...
    q : (L,) or Cells
        Probabilities of 0, 1, 2, ...
    log_q : (L,)
        Their logarithms, instead of `q`: these do not underflow in far tails. Those of `Cells` are taken anyway.

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
    if log_q is not None:
        log_q = np.asarray(log_q, dtype=np.float64)
        q = single_counts(np.exp(log_q))._replace(log=log_q)
    _, size, (p, _), (_, log_q) = on_common_blocks(_cells(p), _cells(q))
    return divergence(p, log_q, size)


def divergence(p: np.ndarray, log_q: np.ndarray, size: np.ndarray) -> float:
    """Give the same on blocks of so many counts, each of them as likely as the others."""
    held = p > 0
    if np.any(held & (log_q == -np.inf)):
        return float("inf")
    terms = np.exp(log_q) - p
    terms[held] += p[held] * (np.log(p[held]) - log_q[held])
    return float((size * terms).sum())


def wasserstein(p, q) -> float:
    """Compute the Wasserstein-1 distance sum |F - G| of the distribution functions, in molecules.

    How far the molecules of one law must be moved, on average, to make the other.

    Examples
    --------
    >>> wasserstein([1.0], [0.0, 0.0, 0.5, 0.5])
    2.5
    """
    size, p, q = _aligned(p, q)
    if not len(size):
        return 0.0
    step = p - q
    after = np.cumsum(size * step)
    before, size = np.append(0.0, after[:-1]), size.astype(np.float64)
    size[-1] -= 1  # what is beyond the last count was lost, and is not moved
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # after so many counts of a block F - G changes its sign
        turn = np.clip(np.nan_to_num(np.floor(-before / step), nan=0.0), 0.0, size)

    def moved(n: np.ndarray) -> np.ndarray:
        return n * before + step * (n * (n + 1) / 2)

    first = moved(turn)
    return float((np.abs(first) + np.abs(moved(size) - first)).sum())


def _aligned(p, q) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes of common blocks, and of each law the mass of a count there."""
    _, size, (p, q), _ = on_common_blocks(_cells(p), _cells(q))
    return size, p, q


def _cells(p) -> Cells:
    return p if isinstance(p, Cells) else single_counts(np.asarray(p, dtype=np.float64))


# ------------------------------------------------------------------------------------------------ of M random paths

_FEW = 2**16  # counts that are looked at one by one
Z = 1.96  # half a 95 % interval of a standard normal variable


def quantile(paths: int) -> float:
    """Half a 95 % interval of the mean of so many paths, in standard errors (Student's t)."""
    from scipy.special import stdtrit

    return float(stdtrit(paths - 1, 0.975))


def sampled_total_variation(guesses: Sequence[Cells], paths: int) -> tuple[float, float]:
    """Bound the bias of TV by sum sqrt(q(1-q)/M)/2, and its fluctuation by McDiarmid's inequality P(> t) <= 2 exp(-2 M t^2)."""
    bias = max(float(q.size @ np.sqrt(q.p * np.maximum(1 - q.p, 0))) for q in guesses) / (2 * np.sqrt(paths))
    return bias, float(np.sqrt(np.log(2 / 0.05) / (2 * paths)))


def sampled_hellinger(guesses: Sequence[Cells], paths: int) -> tuple[float, float]:
    """Estimate the 95 % quantile of H between a law and a sample of it, which bounds the change of any H (no bias apart).

    8 M H^2 is nearly chi-square. Its degrees of freedom come from its mean: a cell adds at most min(q, 0.23/M, (1-q)/2M) to the
    mean of H^2, and nearly 1/8M where many counts are expected.
    """
    from scipy.special import gammaincinv

    def mean_square(q: Cells) -> float:
        return float(q.size @ np.minimum(np.minimum(q.p, 0.23 / paths), np.maximum(1 - q.p, 0) / (2 * paths)))

    freedom = 8 * paths * max(map(mean_square, guesses))
    return 0.0, float(np.sqrt(2 * gammaincinv(freedom / 2, 0.95) / (8 * paths))) if freedom > 0 else 0.0


def sampled_wasserstein(guesses: Sequence[Cells], sd: float, paths: int) -> tuple[float, float]:
    """Bound the bias of W1 by sum sqrt(F(1-F)/M) and its standard deviation by sd/sqrt(M) (Efron-Stein).

    In a block sqrt(F(1-F)), which is concave, is on the mean at most what it is at the mean of F; that is taken if counts are many.
    """

    def spread(q: Cells) -> float:
        _, size, (p,), _ = on_common_blocks(q)
        if size.sum() <= _FEW:
            p, size = np.repeat(p, size), np.ones(int(size.sum()), dtype=np.int64)
        f = np.clip(np.cumsum(size * p) - p * ((size - 1) / 2), 0, 1)
        return float(size @ np.sqrt(f * (1 - f)))

    return max(map(spread, guesses)) / np.sqrt(paths), Z * sd / np.sqrt(paths)


def sampled_kullback_leibler(p: np.ndarray, log_q: np.ndarray, size: np.ndarray, reference: bool, paths: int) -> tuple[float, float]:
    """Estimate bias and fluctuation of KL, where it is finite, to second order: the paths are those of the reference p, or of q.

    P and log Q are those of single counts, on blocks of so many.
    """
    mass = size * p
    if reference:
        ratio = np.log(p) - log_q
        return float(size.sum() - 1) / (2 * paths), Z * float(np.sqrt(max(mass @ ratio**2 - (mass @ ratio) ** 2, 0.0) / paths))
    q = np.exp(log_q)
    spread = max(float((mass * p / q).sum() - mass.sum() ** 2), 0.0)
    return float((mass * (1 - q) / q).sum()) / (2 * paths), Z * float(np.sqrt(spread / paths))


def error_of_sampled_fraction(fraction: float, paths: int) -> tuple[float, float]:
    """Give the exact 95 % interval (Clopper-Pearson) of a probability seen in a fraction of the paths, as what lies below and above it.

    Examples
    --------
    Never seen in M paths: below 1 - 0.025^(1/M), about 3.7/M.

    >>> bool(np.isclose(error_of_sampled_fraction(0.0, 1000)[1], 1 - 0.025 ** (1 / 1000)))
    True
    """
    from scipy.special import betaincinv

    hits = round(fraction * paths)
    lo = float(betaincinv(hits, paths - hits + 1, 0.025)) if hits else 0.0
    hi = float(betaincinv(hits + 1, paths - hits, 0.975)) if hits < paths else 1.0
    return fraction - lo, hi - fraction
