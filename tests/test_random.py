"""kernels.random: the streams against numpy's Philox and against Python integers."""

import math

import numpy as np
import pytest
import twins
import verdict
from numba import njit
from scipy import stats

from cme.arguments import check_seed
from cme.kernels import random

# These are built into the kernels that call them, and have no door to Python.
high_product = njit(lambda a, b: random.high_product(a, b))
next_word, uniform, exponential, minus_log = (
    njit(lambda state: random.next_word(state)),
    njit(lambda state: random.uniform(state)),
    njit(lambda state: random.exponential(state)),
    njit(lambda u: random.minus_log(u)),
)
KEYS = [np.array(key, dtype=np.uint64) for key in [(0, 0), (1, 2), (2**64 - 1, 2**63), (0x123456789ABCDEF0, 0xFEDCBA9876543210)]]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("counter", [(1, 0, 0, 0), (2**64 - 1, 1, 2, 3), (7, 2**63 + 5, 2**32, 2**64 - 1)])
def test_philox_is_that_of_numpy_and_of_python_integers(key, counter):
    out = np.zeros(4, np.uint64)
    random.philox(key, *(np.uint64(c) for c in counter), out)
    before = sum(c << (64 * i) for i, c in enumerate(counter)) - 1  # numpy increments its counter before it draws
    assert out.tolist() == np.random.Philox(key=key, counter=before).random_raw(4).tolist()
    assert out.tolist() == twins.philox4x64([int(k) for k in key], counter)


@pytest.mark.parametrize(("a", "b"), [(0, 5), (2**64 - 1, 2**64 - 1), (2**32, 2**32), (0xDEADBEEFCAFEBABE, 0x0123456789ABCDEF)])
def test_high_product_is_exact(a, b):
    assert int(high_product(np.uint64(a), np.uint64(b))) == (a * b) >> 64


@pytest.mark.parametrize("path", [0, 1, 10**12])
def test_stream_is_that_of_python_integers(path):
    for stream in (random.JUMPS, random.DIFFUSION):
        state, twin = np.zeros(4, np.uint64), twins.Stream(KEYS[3], path, int(stream))
        random.open_stream(KEYS[3], stream, path, state)
        for _ in range(200):
            assert next_word(state) == twin.word()
        for _ in range(200):
            assert uniform(state) == twin.uniform()
        normals = np.zeros(50)
        random.fill_normals(state, normals, len(normals))
        assert normals.tolist() == twin.normals(50)


def test_uniform_lies_inside_the_open_interval():
    # A state whose next word is all zeros or all ones: the extremes of the midpoints.
    zeros = np.zeros(4, np.uint64)
    assert uniform(zeros.copy()) == 2.0**-53
    ones = np.array([2**64 - 1, 0, 0, 1], np.uint64)  # s0 + s3 = 0, so the word is s0
    assert uniform(ones) == 1 - 2.0**-53
    assert exponential(zeros) == pytest.approx(53 * np.log(2))


def test_logarithm_is_that_of_the_library_to_the_last_bits():
    near = np.concatenate([c + np.arange(-2000, 2000) * np.spacing(c) / 2 for c in (0.5, 2**-0.5, 0.25, 1e-3)])
    ends = np.arange(1, 4000, 2) * 2.0**-53
    wide = 2.0 ** np.random.default_rng(1).uniform(-53, 0, 20000)
    for u in np.concatenate([near, ends, 1 - ends, wide[wide < 1]]).tolist():
        assert minus_log(u) == pytest.approx(-math.log(u), rel=3e-16, abs=0)
        assert minus_log(u) == twins.minus_log(u)


def test_laws_of_the_draws():
    state = np.zeros(4, np.uint64)
    key, _ = check_seed(11)
    random.open_stream(key, random.JUMPS, 0, state)
    uniforms = np.array([uniform(state) for _ in range(20000)])
    waits = np.array([exponential(state) for _ in range(20000)])
    normals = np.zeros(20000)
    random.fill_normals(state, normals, len(normals))
    for samples, law in [(uniforms, stats.uniform), (waits, stats.expon), (normals, stats.norm)]:
        cells = np.minimum((law.cdf(samples) * 50).astype(int), 49)
        verdict.samples_match_pmf(cells, np.full(50, 0.02))
        verdict.mean_matches(samples, law.mean(), law.std())
    verdict.mean_matches(normals[::2] * normals[1::2], 0.0, 1.0)  # a pair of the polar method is independent


def test_seeds_open_different_streams():
    seen = set()
    for seed in (0, 1, 2, 2**70):
        for path in (0, 1):
            for stream in (random.JUMPS, random.DIFFUSION):
                state = np.zeros(4, np.uint64)
                random.open_stream(check_seed(seed)[0], stream, path, state)
                seen.add(tuple(state.tolist()))
    assert len(seen) == 16
