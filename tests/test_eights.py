"""Sums by eights: right, without order-dependent rounding, and never a choice of what has no share."""

import numpy as np
import pytest
from numba import njit

from cme.kernels import eights

CHOOSE = njit(lambda tree, u: eights.choose(tree, u))
SUM_ALL = njit(lambda tree: eights.sum_all(tree))
SUM_CHANGED = njit(lambda tree, n: eights.sum_changed(tree, n))


def tree_of(weights):
    tree = eights.new_eights(len(weights))
    tree.sums[: len(weights)] = weights
    return tree, SUM_ALL(tree)


@pytest.mark.parametrize("n", [2, 8, 9, 64, 65, 512, 513, 4097])
def test_shares_lie_end_to_end(n):
    weights = np.random.default_rng(n).integers(0, 4, n)
    tree, total = tree_of(weights)
    ends = np.cumsum(weights)
    assert total == ends[-1]
    for u in np.append(np.arange(0, total, max(1, total // 500)), [0.5, total - 0.5, np.nextafter(total, 0)]):
        assert CHOOSE(tree, float(u)) == np.searchsorted(ends, u, side="right")


@pytest.mark.parametrize("n", [70, 700])
def test_sums_depend_on_the_propensities_alone(n):
    generator = np.random.default_rng(n)
    weights = 10.0 ** generator.uniform(-12, 12, n) * (generator.random(n) < 0.7)
    tree, _ = tree_of(weights)
    for _ in range(200):
        places = np.sort(generator.choice(n, 5, replace=False))
        weights[places] = 10.0 ** generator.uniform(-12, 12, 5) * (generator.random(5) < 0.7)
        tree.sums[places] = weights[places]
        blocks = np.unique(places // 8)
        tree.changed[: len(blocks)] = blocks
        total = SUM_CHANGED(tree, len(blocks))
        fresh, again = tree_of(weights)
        assert total == again
        assert np.array_equal(tree.sums, fresh.sums)
        assert np.array_equal(tree.before, fresh.before)
        assert total == pytest.approx(weights.sum(), rel=1e-14)
        for u in generator.random(20) * total:
            assert weights[CHOOSE(tree, u)] > 0


def test_round_off_past_the_end_takes_the_last_one_that_can_happen():
    weights = np.zeros(100)
    weights[[3, 40, 41]] = 0.1, 0.7, 0.3
    tree, total = tree_of(weights)
    assert CHOOSE(tree, np.nextafter(total, 9)) == 41
    assert CHOOSE(tree, 0.0) == 3
