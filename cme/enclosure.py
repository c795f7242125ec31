"""Interval arithmetic on formulas: bounds that hold for all values between given ones, so that what they rule out does not happen."""

from collections.abc import Callable, Mapping

import numpy as np

from cme.ratelaw import OPERATORS, Apply, Expr, Number, Symbol

Bounds = tuple[np.ndarray, np.ndarray]
_RISING = {"exp", "ln", "log10", "sqrt", "floor", "ceil", "atan", "sinh", "tanh", "asinh", "asin", "acosh", "atanh"}
_EXACT = {"sqrt", "floor", "ceil"}  # rounded like the formula itself, so that no room is needed


def enclose(formula: Expr, values: Mapping[str, Bounds]) -> Bounds:
    r"""Bound a formula over boxes of its symbols.

    .. math:: l \le f(x) \le u \quad \text{for all } x \text{ with } l_i \le x_i \le u_i

    Parameters
    ----------
    formula
        With symbols among the names of `values`. Comparisons are 0 or 1, so that bounds of 0 and 1 mean: not certain.
    values
        Lower and upper bounds of each symbol, arrays (...) that broadcast together: one box per entry.

    Returns
    -------
    (lower, upper) : arrays (...)
        Minus and plus infinity where nothing is known, as for 1/x if x may be 0.

    Notes
    -----
    Sums, products and quotients round as the formula does, so their bounds hold in floating point; elementary functions get 1e-14 of
    room. Bounds are wide where a symbol occurs twice (x - x is not 0), and tighten as the boxes shrink.

    References
    ----------
    Moore, Kearfott and Cloud, Introduction to Interval Analysis, SIAM (2009), doi:10.1137/1.9780898717716.

    Examples
    --------
    >>> from cme.infix import parse
    >>> lower, upper = enclose(parse("X^2 - 3"), {"X": (-1.0, 2.0)})
    >>> float(lower), round(float(upper), 9)
    (-3.0, 1.0)
    """
    with np.errstate(all="ignore"):
        return _enclose(formula, values)


def _enclose(formula: Expr, values: Mapping[str, Bounds]) -> Bounds:
    if isinstance(formula, Number):
        return _known(np.float64(formula.value), np.float64(formula.value))
    if isinstance(formula, Symbol):
        lower, upper = values[formula.name]
        return _known(np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64))
    args = [_enclose(arg, values) for arg in formula.args]
    if formula.op == "piecewise":
        return _piecewise(args)
    if OPERATORS[formula.op][1] == 1:
        return _known(*_function(formula.op, *args[0]))
    total = args[0]
    for arg in args[1:]:
        total = _known(*_BINARY[formula.op](*total, *arg))
    return total


def _known(lower, upper) -> Bounds:
    """Whatever is not a number may be anything."""
    unknown = np.isnan(lower) | np.isnan(upper)
    return np.where(unknown, -np.inf, lower), np.where(unknown, np.inf, upper)


def _widened(lower, upper) -> Bounds:
    return lower - 1e-14 * np.abs(lower) - 1e-300, upper + 1e-14 * np.abs(upper) + 1e-300


def _piecewise(args: list[Bounds]) -> Bounds:
    lower, upper = args[-1]
    for (low, high), (surely, maybe) in reversed(list(zip(args[0:-1:2], args[1:-1:2], strict=True))):
        holds, fails = (surely > 0) | (maybe < 0), (surely == 0) & (maybe == 0)
        lower = np.where(holds, low, np.where(fails, lower, np.minimum(low, lower)))
        upper = np.where(holds, high, np.where(fails, upper, np.maximum(high, upper)))
    return lower, upper


# --------------------------------------------------------------------------------------------------------- functions


def _function(op: str, a, b) -> Bounds:
    from cme.ratelaw import evaluate  # one table of functions for values and for bounds

    def at(x):
        return evaluate(Apply(op, (Symbol("x"),)), {"x": x})

    if op == "neg":
        return -b, -a
    if op == "not":
        zero, never = (a == 0) & (b == 0), (a > 0) | (b < 0)
        return np.where(zero, 1.0, 0.0), np.where(never, 0.0, 1.0)
    if op == "abs":
        return np.where((a <= 0) & (b >= 0), 0.0, np.minimum(np.abs(a), np.abs(b))), np.maximum(np.abs(a), np.abs(b))
    if op in _RISING:
        return (at(a), at(b)) if op in _EXACT else _widened(at(a), at(b))
    if op == "acos":
        return _widened(at(b), at(a))
    if op == "cosh":
        least = np.where((a <= 0) & (b >= 0), 0.0, np.minimum(np.abs(a), np.abs(b)))
        return _widened(at(least), at(np.maximum(np.abs(a), np.abs(b))))
    if op in ("sin", "cos"):
        return _wave(at, a, b, 0.25 if op == "sin" else 0.0)
    if op == "tan":
        same = np.floor(a / np.pi + 0.5) == np.floor(b / np.pi + 0.5)
        lower, upper = _widened(at(a), at(b))
        return np.where(same & (lower <= upper), lower, np.nan), upper
    if op == "factorial":  # the gamma function rises from 1.4616 on
        lower, upper = _widened(at(a), at(b))
        return np.where((a >= 0.4617) | (a == b), lower, np.nan), upper
    raise AssertionError(f"there are no bounds for {op!r}")


def _wave(at: Callable, a, b, crest: float) -> Bounds:
    """Bounds of a sine: at the ends, or 1 and -1 if a crest or a trough lies between; the crests lie at (n + crest) 2 pi."""
    turns_a, turns_b = _widened(a / (2 * np.pi) - crest, b / (2 * np.pi) - crest)
    ends = _widened(np.minimum(at(a), at(b)), np.maximum(at(a), at(b)))
    has_crest = np.floor(turns_b) >= np.ceil(turns_a)
    has_trough = np.floor(turns_b - 0.5) >= np.ceil(turns_a - 0.5)
    finite = np.isfinite(a) & np.isfinite(b)
    return np.where(has_trough | ~finite, -1.0, ends[0]), np.where(has_crest | ~finite, 1.0, ends[1])


# --------------------------------------------------------------------------------------------------------- operators


def _corners(function: Callable, a, b, c, d) -> Bounds:
    found = np.broadcast_arrays(function(a, c), function(a, d), function(b, c), function(b, d))
    return np.min(found, axis=0), np.max(found, axis=0)


def _divide(a, b, c, d) -> Bounds:
    lower, upper = _corners(np.true_divide, a, b, c, d)
    return np.where((c <= 0) & (d >= 0), np.nan, lower), upper


def _power(a, b, c, d) -> Bounds:
    lower, upper = _widened(*_corners(np.power, a, b, c, d))  # monotone in each for a base above 0
    whole = (c == d) & (c == np.floor(c)) & (c >= 0)
    even = whole & (c % 2 == 0)
    lower = np.where(even & (a < 0) & (b > 0), np.where(c == 0, 1.0, 0.0), lower)
    return np.where((a > 0) | whole | ((a == 0) & (c > 0)), lower, np.nan), upper


def _remainder(a, b, c, d) -> Bounds:
    size = np.maximum(np.abs(c), np.abs(d))
    low, high = np.fmod(a, c), np.fmod(b, c)
    unbroken = (c == d) & (b - a < np.abs(c)) & (low <= high) & ((a >= 0) | (b <= 0))
    lower = np.where((c <= 0) & (d >= 0), np.nan, np.where(unbroken, low, np.where(a >= 0, 0.0, -size)))
    return lower, np.where(unbroken, high, np.where(b <= 0, 0.0, size))


def _less(a, b, c, d) -> Bounds:
    return (b < c) * 1.0, (a < d) * 1.0


def _at_most(a, b, c, d) -> Bounds:
    return (b <= c) * 1.0, (a <= d) * 1.0


def _equal(a, b, c, d) -> Bounds:
    return ((a == b) & (c == d) & (a == c)) * 1.0, ((a <= d) & (c <= b)) * 1.0


def _opposite(function: Callable) -> Callable:
    def bounds(a, b, c, d) -> Bounds:
        lower, upper = function(a, b, c, d)
        return 1.0 - upper, 1.0 - lower

    return bounds


def _is_true(a, b) -> Bounds:
    return ((a > 0) | (b < 0)) * 1.0, ~((a == 0) & (b == 0)) * 1.0


def _both(a, b, c, d) -> Bounds:
    (p, q), (r, s) = _is_true(a, b), _is_true(c, d)
    return np.minimum(p, r), np.minimum(q, s)


def _either(a, b, c, d) -> Bounds:
    (p, q), (r, s) = _is_true(a, b), _is_true(c, d)
    return np.maximum(p, r), np.maximum(q, s)


def _one_of_two(a, b, c, d) -> Bounds:
    (p, q), (r, s) = _is_true(a, b), _is_true(c, d)
    sure = (p == q) & (r == s)
    return np.where(sure, p != r, 0.0), np.where(sure, p != r, 1.0)


_BINARY: Mapping[str, Callable] = {
    "+": lambda a, b, c, d: (a + c, b + d),
    "*": lambda a, b, c, d: _corners(np.multiply, a, b, c, d),
    "/": _divide, "^": _power, "rem": _remainder,
    "min": lambda a, b, c, d: (np.minimum(a, c), np.minimum(b, d)),
    "max": lambda a, b, c, d: (np.maximum(a, c), np.maximum(b, d)),
    "<": _less, "<=": _at_most, ">": _opposite(_at_most), ">=": _opposite(_less), "==": _equal, "!=": _opposite(_equal),
    "and": _both, "or": _either, "xor": _one_of_two,
}  # fmt: skip
