"""Closed-form answers, each with its row in the theory sheet or its source. Pure numpy, scipy and mpmath; nothing of `cme`."""

import math

import mpmath
import numpy as np
from scipy.linalg import expm
from scipy.signal import convolve
from scipy.special import gammaln, hyp1f1
from scipy.stats import binom, nbinom, poisson


def immigration_death(size, k, g, n0, t):
    """A.1: Binomial(n0, q) + Poisson((k/g)(1-q)), q = exp(-g t)."""
    n, q = np.arange(size), math.exp(-g * t)
    return convolve(binom.pmf(n, n0, q), poisson.pmf(n, k / g * (1 - q)))[:size]


def monomolecular_moments(inflow, convert, decay, x0, t):
    """A.2, Jahnke and Huisinga, J. Math. Biol. 54, 1 (2007): mean and covariance.

    `convert[k, j]` is the rate of S_j -> S_k.
    """
    a = np.array(convert, dtype=float)
    a -= np.diag(a.sum(axis=0) + decay)
    size = len(a)
    grown = np.zeros((size + 1, size + 1))
    grown[:size, :size], grown[:size, size] = a * t, np.asarray(inflow) * t
    p, lam = expm(a * t), expm(grown)[:size, size]
    x0 = np.asarray(x0, dtype=float)
    mean = lam + p @ x0
    covariance = np.diag(lam) + sum(x0[i] * (np.diag(p[:, i]) - np.outer(p[:, i], p[:, i])) for i in range(size))
    return mean, covariance


def telegraph_stationary(size, on, off, make):
    """A.3, Peccoud and Ycart (1995), decay rate 1."""
    n = np.arange(size)
    log_ratio = gammaln(on + n) - gammaln(on) - gammaln(on + off + n) + gammaln(on + off)
    return np.exp(n * math.log(make) - gammaln(n + 1) + log_ratio) * hyp1f1(on + n, on + off + n, -make)


def burst_negative_binomial(size, a, b):
    """A.4: geometric bursts of mean b at rate a per lifetime."""
    return nbinom.pmf(np.arange(size), a, 1 / (1 + b))


def bursts(size, a, b, t):
    """Bursts of mean b at rate a, decay at rate 1, none at time 0: [(1 - b (z - 1) e^-t) / (1 - b (z - 1))]^a on the unit circle."""
    z = np.exp(-2j * np.pi * np.arange(4 * size) / (4 * size))
    return np.fft.ifft(((1 - b * (z - 1) * np.exp(-t)) / (1 - b * (z - 1))) ** a).real[:size]


def pure_death(rates, n0, t):
    """A.9 (ii): P_m(t) of a pure-death chain with distinct rates mu_1..mu_n0 (mu_0 = 0), in 60 digits."""
    with mpmath.workdps(60):
        mu = [mpmath.mpf(0)] + [mpmath.mpf(r) for r in rates]
        out = []
        for m in range(n0 + 1):
            total = mpmath.mpf(0)
            for j in range(m, n0 + 1):
                others = [mu[i] - mu[j] for i in range(m, n0 + 1) if i != j]
                total += mpmath.exp(-mu[j] * t) / mpmath.fprod(others)
            out.append(float(total * mpmath.fprod(mu[m + 1 :])))
        return np.array(out)


def pair_annihilation_moments(k, c):
    """A.10: 0 -> A at rate k, A + A -> 0 at c n (n-1), stationary mean and variance."""
    with mpmath.workdps(30):
        kappa = mpmath.mpf(k) / c
        x = 2 * mpmath.sqrt(2 * kappa)
        mean = x / 4 * mpmath.besseli(0, x) / mpmath.besseli(1, x)
        return float(mean), float(kappa / 2 + mean - mean**2)


def michaelis_menten_open(size, k, k1, km1, k2):
    """A.13: one enzyme; joint law of S with the enzyme free (row 0) and bound (row 1)."""
    n, rho, r = np.arange(size), k / k2, (k + km1) / k1
    immigrant = poisson.pmf(n, k / k1)
    free = convolve(immigrant, nbinom.pmf(n, r, 1 - rho))[:size]
    bound = convolve(immigrant, nbinom.pmf(n, r + 1, 1 - rho))[:size]
    return np.array([(1 - rho) * free, rho * bound])


def linear_birth_death(size, lam, mu, n0, t):
    """A.16, Kendall (1948)."""
    if lam == mu:
        alpha = beta = lam * t / (1 + lam * t)
    else:
        e = math.exp((lam - mu) * t)
        alpha, beta = mu * (e - 1) / (lam * e - mu), lam * (e - 1) / (lam * e - mu)
    z = np.exp(-2j * np.pi * np.arange(4 * size) / (4 * size))  # the generating function on the unit circle, inverted by FFT
    return np.fft.ifft(((alpha + (1 - alpha - beta) * z) / (1 - beta * z)) ** n0).real[:size]


def one_step_stationary(up, down):
    """A.12: pi(n) ~ prod w+(i) / w-(i+1) from arrays of rates on 0..N."""
    log_pi = np.concatenate([[0.0], np.cumsum(np.log(up[:-1]) - np.log(down[1:]))])
    pi = np.exp(log_pi - log_pi.max())
    return pi / pi.sum()


def product_form(states, c):
    """A.11, Anderson, Craciun and Kurtz (2010): prod c_i^x_i / x_i! on the given states, normalised."""
    log_p = (states * np.log(c) - gammaln(states + 1.0)).sum(axis=1)
    p = np.exp(log_p - log_p.max())
    return p / p.sum()
