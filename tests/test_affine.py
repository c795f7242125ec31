"""Conditions that are bounds on sums."""

import numpy as np
import pytest

from cme.affine import as_affine, bounded_sums
from cme.infix import parse
from cme.ratelaw import Apply, evaluate

CONDITIONS = [
    "U + V <= 9",
    "U + V < 9",
    "9 > V",
    "2*U - V >= 3 and U + V <= 12",
    "U/2 + V <= 5",
    "0.1*U + 0.2*V <= 1.1",
    "0.5*U + 0.25*V < 2.5",
    "U*V <= 12 and U < 7 and V^2 <= 20",
    "U + V <= 9 or U < 2",
    "not (U + V <= 9)",
    "(U - 3)*2 < V + 1",
    "U == 3",
    "1 < 2",
    "U - U <= -1",
    "U <= 1e300",
]


@pytest.mark.parametrize("text", CONDITIONS)
def test_the_parts_say_the_same_as_the_whole(text):
    condition = parse(text)
    sums, rest = bounded_sums(condition)
    grid = np.meshgrid(np.arange(15.0), np.arange(15.0))
    values = {"U": grid[0], "V": grid[1]}
    found = np.ones_like(grid[0], dtype=bool)
    for weights, bound in sums:
        found &= sum((weight * values[name] for name, weight in weights.items()), np.zeros_like(grid[0])) <= bound
    if rest is not None:
        found &= evaluate(rest, values) != 0
    assert np.array_equal(found, np.broadcast_to(evaluate(condition, values) != 0, found.shape))


@pytest.mark.parametrize(
    ("text", "n_sums", "is_whole"),
    [
        ("2*U - V >= 3 and U + V <= 12", 2, True),
        ("U*V <= 12 and U < 7 and V^2 <= 20", 1, False),
        ("0.1*U + V <= 5", 0, False),  # a tenth is no sum of powers of two: the order of terms would matter
        ("U/3 <= 1", 0, False),
        ("U <= 1e300", 0, False),
        ("0.5*U < 2.5", 1, True),
    ],
)
def test_which_parts_are_sums(text, n_sums, is_whole):
    sums, rest = bounded_sums(parse(text))
    assert len(sums) == n_sums
    assert (rest is None) == is_whole
    assert n_sums or rest is not None


def test_a_strict_bound_is_one_grain_less():
    ((weights, bound),), _ = bounded_sums(Apply("<", (parse("0.5*U"), parse("2.5"))))
    assert weights == {"U": 0.5}
    assert 2.0 <= bound < 2.5


def test_what_is_affine():
    assert as_affine(parse("3 - 2*(A + 4*k)/2"), {"k": 0.5}) == {"": 1.0, "A": -1.0}
    assert as_affine(parse("A*B"), {}) is None
    assert as_affine(parse("A/0"), {}) is None
