"""Draws from the distributions of the SBML package distrib, against scipy.stats: whole and truncated, small and large."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import verdict
from scipy import stats

from cme.arguments import check_seed
from cme.kernels.distributions import CODES, draw
from cme.kernels.random import open_stream
from cme.ratelaw import DRAWS

INF = math.inf
WHOLE = (-INF, INF)
LAWS = {
    "normal": lambda a, b: stats.norm(a, b),
    "uniform": lambda a, b: stats.uniform(a, b - a),
    "cauchy": lambda a, b: stats.cauchy(a, b),
    "chisquare": lambda a, b: stats.chi2(a),
    "exponential": lambda a, b: stats.expon(scale=1 / a),
    "gamma": lambda a, b: stats.gamma(a, scale=b),
    "laplace": lambda a, b: stats.laplace(a, b),
    "lognormal": lambda a, b: stats.lognorm(b, scale=np.exp(a)),
    "rayleigh": lambda a, b: stats.rayleigh(scale=a),
    "poisson": lambda a, b: stats.poisson(a),
    "binomial": lambda a, b: stats.binom(a, b),
    "bernoulli": lambda a, b: stats.bernoulli(a),
    "geometric": lambda a, b: stats.geom(1 / (1 + a), loc=-1),
}


def samples(name, a, b=0.0, bounds=WHOLE, n=4000):
    state = np.zeros(4, np.uint64)
    open_stream(check_seed(11)[0], np.uint64(0), 0, state)
    return np.array([draw(CODES[name], float(a), float(b), float(bounds[0]), float(bounds[1]), state) for _ in range(n)])


CONTINUOUS = [
    ("normal", 0, 1.5, WHOLE), ("normal", 0, 1.5, (-0.5, INF)), ("normal", 0, 1.5, (-INF, -0.5)), ("normal", 0, 1, (0.3, 0.4)),
    ("normal", 0, 1, (-1.5, 4)), ("normal", 0, 1, (5, 6)), ("normal", 1e6, 1e-3, WHOLE), ("uniform", -1, 2, WHOLE), ("cauchy", 1, 2, WHOLE),
    ("cauchy", 1, 2, (3, 5)), ("cauchy", 0, 2, (-INF, -10)), ("cauchy", 0, 1e-3, (2, INF)), ("exponential", 0.5, 0, WHOLE),
    ("exponential", 1, 0, (-INF, 0.75)), ("exponential", 2, 0, (30, 31)), ("laplace", 1, 2, WHOLE), ("laplace", 1, 2, (0, 3)),
    ("laplace", 1, 2, (-INF, -3)), ("lognormal", 0.1, 0.5, WHOLE), ("lognormal", 0.1, 0.5, (1, 2)), ("lognormal", 0.1, 0.5, (-INF, 0.2)),
    ("rayleigh", 0.5, 0, WHOLE), ("rayleigh", 2, 0, (12, INF)), ("gamma", 2, 1.1, WHOLE), ("gamma", 0.3, 2, WHOLE),
    ("gamma", 0.01, 2, WHOLE), ("gamma", 1e6, 1e-3, WHOLE), ("gamma", 2, 1, (0.5, 1.5)), ("gamma", 2, 1, (20, INF)),
    ("gamma", 5, 1, (-INF, 0.1)),
    ("gamma", 0.5, 1, (3, 4)), ("chisquare", 3.2, 0, WHOLE), ("chisquare", 1, 0, (2, 9)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "a", "b", "bounds"), CONTINUOUS)
def test_continuous_laws(name, a, b, bounds):
    law, x = LAWS[name](a, b), samples(name, a, b, bounds)
    assert x.min() >= bounds[0]
    assert x.max() <= bounds[1]
    if law.cdf(bounds[0]) < 0.5:  # the probability integral transform, from the side that keeps its digits
        u = (law.cdf(x) - law.cdf(bounds[0])) / (law.cdf(bounds[1]) - law.cdf(bounds[0]))
    else:
        u = (law.sf(bounds[0]) - law.sf(x)) / (law.sf(bounds[0]) - law.sf(bounds[1]))
    verdict.samples_match_pmf(np.minimum(np.floor(50 * u), 49), np.full(50, 0.02))


DISCRETE = [
    ("poisson", 1.5, 0, WHOLE), ("poisson", 0.01, 0, WHOLE), ("poisson", 3.0, 0, WHOLE), ("poisson", 1000.3, 0, WHOLE),
    ("poisson", 1.5, 0, (2, 4)), ("poisson", 1.5, 0, (1.2, INF)), ("poisson", 1.5, 0, (12, INF)), ("poisson", 100, 0, (-INF, 60)),
    ("poisson", 100, 0, (90.5, 110)), ("binomial", 100, 0.2, WHOLE), ("binomial", 1, 0.3, WHOLE), ("binomial", 10, 0.99, WHOLE),
    ("binomial", 10, 0.5, WHOLE), ("binomial", 1e6, 1e-6, WHOLE), ("binomial", 1e7, 0.4, WHOLE), ("binomial", 100, 0.2, (25, 30)),
    ("binomial", 100, 0.2, (60, INF)), ("binomial", 5, 0.5, (5, INF)), ("bernoulli", 0.3, 0, WHOLE),
    ("geometric", 5, 0, WHOLE), ("geometric", 0.01, 0, WHOLE), ("geometric", 300, 0, WHOLE), ("geometric", 5, 0, (2.5, 7)),
    ("geometric", 5, 0, (40, INF)), ("geometric", 5, 0, (-INF, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "a", "b", "bounds"), DISCRETE)
def test_discrete_laws(name, a, b, bounds):
    law, x = LAWS[name](a, b), samples(name, a, b, bounds)
    low = int(max(np.ceil(bounds[0]), 0)) if bounds[0] > -INF else int(max(law.ppf(1e-13) - 2, 0))
    high = int(min(bounds[1], max(law.isf(1e-13) + 2, low + 100)))
    logs = law.logpmf(np.arange(low, high + 1))
    p = np.exp(logs - logs.max())
    verdict.samples_match_pmf(x - low, p / p.sum())  # both bounds belong to the range


# Truncations so far out, and parameters so small or large, that the law is a point or its moments are known.
@pytest.mark.parametrize(
    ("name", "a", "b", "bounds", "mean", "spread"),
    [
        ("normal", 0, 1, (1e10, INF), 1e10, 1e-6),
        ("normal", 0, 1e-300, (1e10, 2e10), 1e10, 1e-6),
        ("normal", 0, 1, (40, 41), 40 + 1 / 40, 2e-3),  # exponential with rate 40, nearly
        ("gamma", 1, 1, (1e20, INF), 1e20, 1e5),
        ("gamma", 1e18, 1, WHOLE, 1e18, 1e8),
        ("gamma", 1e-300, 1, WHOLE, 0, 0),
        ("poisson", 1e15, 0, WHOLE, 1e15, 3e6),
        ("poisson", 1e-5, 0, (100, INF), 100, 0.01),
        ("poisson", 1, 0, (1e15, INF), 1e15, 0),
        ("poisson", 1e5, 0, (-INF, 0), 0, 0),
        ("binomial", 1e15, 0.5, WHOLE, 5e14, 2e6),
        ("binomial", 1000, 1e-10, (900, 950), 900, 0.01),
        ("laplace", 0, 1, (1e5, INF), 1e5 + 1, 0.1),
        ("cauchy", 0, 1, (0.5, 0.5), 0.5, 0),
        ("gamma", 2, 1, (0.5, 0.5), 0.5, 0),
        ("normal", 3, 0, WHOLE, 3, 0),
        ("lognormal", 0, 0, WHOLE, 1, 0),
        ("binomial", 7, 1, WHOLE, 7, 0),
        ("poisson", 0, 0, WHOLE, 0, 0),
        ("geometric", 0, 0, WHOLE, 0, 0),
        ("geometric", 1e-320, 0, WHOLE, 0, 0),
        ("geometric", 1e12, 0, WHOLE, 1e12, 1.5e11),
    ],
)
def test_extremes(name, a, b, bounds, mean, spread):
    x = samples(name, a, b, bounds, n=1500)
    assert np.all((x >= bounds[0]) & (x <= bounds[1]))
    assert abs(x.mean() - mean) <= spread


@pytest.mark.parametrize(
    ("name", "a", "b", "bounds"),
    [
        ("normal", 0, -1, WHOLE),
        ("normal", math.nan, 1, WHOLE),
        ("normal", 0, INF, WHOLE),
        ("normal", 0, 1, (5, 4)),
        ("normal", 3, 0, (4, 5)),
        ("normal", 0, 1, (math.nan, 1)),
        ("normal", 0, 1, (INF, INF)),
        ("uniform", 2, 1, WHOLE),
        ("bernoulli", 2, 0, WHOLE),
        ("binomial", 2.5, 0.5, WHOLE),
        ("binomial", 2, 1.5, WHOLE),
        ("binomial", 2, 1, (0, 1)),
        ("cauchy", 0, 0, WHOLE),
        ("chisquare", 0, 0, WHOLE),
        ("exponential", 0, 0, WHOLE),
        ("exponential", 1, 0, (-2, -1)),
        ("gamma", -1, 1, WHOLE),
        ("gamma", 1, 0, WHOLE),
        ("laplace", 0, -1, WHOLE),
        ("lognormal", 0, 1, (-5, 0)),
        ("poisson", -1, 0, WHOLE),
        ("poisson", 1, 0, (1.2, 1.8)),
        ("rayleigh", 0, 0, WHOLE),
        ("geometric", -1, 0, WHOLE),
        ("geometric", 0, 0, (1, 2)),
        ("geometric", 1, 0, (1.2, 1.8)),
    ],
)
def test_what_can_not_be_drawn_is_nan(name, a, b, bounds):
    assert np.isnan(samples(name, a, b, bounds, n=1)[0])


def test_every_distribution_of_formulas_has_a_code():
    assert set(CODES) == set(DRAWS)


def some_of_all():
    cases = [*CONTINUOUS, *DISCRETE]
    return np.concatenate([samples(name, a, b, bounds, n=5) for name, a, b, bounds in cases])


def test_kernel_equals_its_plain_python_form():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_distributions as t; print(t.some_of_all().tolist())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(np.array(eval(done.stdout)), some_of_all(), rtol=1e-13)  # libraries differ in the last bit of exp
