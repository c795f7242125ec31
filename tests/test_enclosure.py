"""Bounds hold for every value between given ones, and tighten as the boxes shrink."""

import numpy as np
import pytest

from cme.enclosure import enclose
from cme.infix import parse
from cme.ratelaw import evaluate

FORMULAS = """
X + Y; X*Y; X/Y; X^2; X^3; X^Y; X^-2; X^0.5; -X; rem(X, 2); rem(X, -1.5); rem(X, Y); sin(X); cos(X); tan(X); exp(X); ln(X); log10(X);
sqrt(X); abs(X); floor(X); ceil(X); asin(X); acos(X); atan(X); sinh(X); cosh(X); tanh(X); asinh(X); acosh(X); atanh(X); factorial(X);
X < Y; X <= Y; X > Y; X >= Y; X == Y; X != Y; floor(X) == floor(Y); X < Y && X > 0; X < Y || X > 0; xor(X < Y, X > 0); !(X < Y); !X;
X && Y; min(X, Y, 1); max(X, Y, 1); piecewise(X, X < Y, Y, X > 1, 5); sin(3*X)*cos(Y)
"""


@pytest.mark.parametrize("text", [each.strip() for each in FORMULAS.split(";")])
def test_bounds_hold(text):
    formula, random = parse(text), np.random.default_rng(0)
    low = random.uniform(-4, 4, (200, 2))
    high = low + 10 ** random.uniform(-4, 0.7, (200, 1)) * random.uniform(0, 1, (200, 2))
    low[::3], high[::3] = np.round(low[::3]), np.maximum(np.round(high[::3]), np.round(low[::3]))
    lower, upper = enclose(formula, {"X": (low[:, 0], high[:, 0]), "Y": (low[:, 1], high[:, 1])})
    points = low + random.uniform(0, 1, (500, 200, 2)) * (high - low)
    points[0], points[1] = low, high
    values = np.broadcast_to(evaluate(formula, {"X": points[..., 0], "Y": points[..., 1]}), (500, 200))
    assert np.all(np.isnan(values) | ((values >= lower) & (values <= upper)))


@pytest.mark.parametrize("text", ["X^2 - 3*X", "sin(X)*exp(-X)", "X/(1 + X^2)", "piecewise(X, X > 0, -X)"])
def test_bounds_tighten(text):
    edges = np.linspace(-2, 3, 5001)
    lower, upper = enclose(parse(text), {"X": (edges[:-1], edges[1:])})
    assert np.all(upper - lower < 0.02)


def test_what_is_certain_and_what_is_not():
    lower, upper = enclose(parse("X >= 1"), {"X": (np.array([0.0, 0.5, 1.0]), np.array([0.9, 1.5, 2.0]))})
    assert lower.tolist() == [0, 0, 1]
    assert upper.tolist() == [0, 1, 1]
    assert enclose(parse("1/X"), {"X": (-1.0, 1.0)}) == (-np.inf, np.inf)
    assert enclose(parse("X < 1"), {"X": (np.nan, np.nan)}) == (0, 1)
