"""Histograms that widen as values come, on any order of blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cme
from cme.kernels import tally as kernels
from cme.sampling.tally import Chart


def chart_of(blocks, bins, finest=0):
    chart = Chart(1, [finest], bins)
    for block in blocks:
        rows = np.array(block).reshape(1, 1, -1)
        extremes = [np.empty((1, 1)), np.empty((1, 1)), np.empty((1, 1), np.int64), np.empty((1, 1), np.int64)]
        kernels.extremes(rows, *extremes)
        chart.widen([tuple(each[:, 0] for each in extremes)])
        kernels.count(rows, 0, chart.scale(0), chart.first[0], chart.counts)
    return chart


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(2, 9), st.randoms())
def test_widths_double_as_they_must_whatever_the_order(blocks, bins, random):
    found = chart_of(blocks, bins).finish()[0]
    values = np.array([value for block in blocks for value in block])
    (axis,), counts, _ = found
    width = int(axis.width)
    assert values.max() // width - values.min() // width < bins  # they fit
    assert width == 1 or values.max() // (width // 2) - values.min() // (width // 2) >= bins  # and would not in bins half as wide
    assert axis.lowest.tolist() == list(range(values.min() // width * width, values.max() + 1, width))
    np.testing.assert_array_equal(counts, np.bincount((values - axis.lowest[0]) // width))
    random.shuffle(blocks)
    parts = chart_of(blocks[: len(blocks) // 2], bins), chart_of(blocks[len(blocks) // 2 :], bins)
    parts[0].merge(parts[1])
    (other,), again, _ = parts[0].finish()[0]
    np.testing.assert_array_equal(again, counts)
    assert repr(other) == repr(axis)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e300, 1e300) | st.floats(-2, 2), min_size=1, max_size=5), min_size=1, max_size=5),
    st.integers(2, 9),
    st.randoms(),
)
def test_bins_of_real_numbers_too(blocks, bins, random):
    (axis,), counts, unfit = chart_of(blocks, bins, -1000).finish()[0]
    assert counts.sum() == sum(map(len, blocks))
    assert unfit == 0
    for value in (value for block in blocks for value in block):
        assert np.any((axis.lowest <= value) & (value <= axis.lowest + axis.width))
    random.shuffle(blocks)
    (other,), again, _ = chart_of(blocks, bins, -1000).finish()[0]
    np.testing.assert_array_equal(again, counts)
    assert repr(other) == repr(axis)


def test_values_that_are_not_finite_are_told():
    network = cme.parse("X -> 0 @ 1; X = 1; odd := 1/X")
    found = cme.ensemble(network, [0.0, 1.0], n_paths=100, seed=1)
    paths = cme.ssa(network, [0.0, 1.0], n_paths=100, seed=1)
    gone = int((paths["X"][:, 1] == 0).sum())
    assert found.histogram("odd", 1).unfit == gone
    assert found.histogram("odd", 1).counts.tolist() == [100 - gone]
    assert found["odd"][0] == 1
    assert not np.isfinite(found["odd"][1])
    assert np.isnan(found.quantile(0.5, "odd")[1])
    with pytest.raises(ValueError, match=f"'odd' is no finite number on {gone} paths at t=1"):
        found.marginal("odd", 1)
