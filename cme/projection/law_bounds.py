"""Bounds of rate laws by polynomials with interval coefficients, valid for all counts above a corner however large."""

from collections.abc import Mapping

import numpy as np

from cme.enclosure import Bounds, enclose
from cme.ratelaw import Apply, Expr, Number, Symbol

# Exponents of the free variables -> (lower, upper) coefficient. The variables are >= 0, so a polynomial lies between the two.
Polynomial = dict[tuple[int, ...], tuple[float, float]]
MOST_TERMS, HIGHEST_POWER = 2000, 64


class NoBoundError(Exception):
    """A formula has no known polynomial bound; the argument is the formula."""


def constant(value: float, n_variables: int) -> Polynomial:
    return {(0,) * n_variables: (value, value)} if value else {}


def variable(i: int, n_variables: int, corner: float) -> Polynomial:
    """The count ``corner + y_i``."""
    exponent = tuple(int(j == i) for j in range(n_variables))
    return {exponent: (1.0, 1.0)} | constant(corner, n_variables)


def bound(formula: Expr, values: Mapping[str, Polynomial], n_variables: int) -> Polynomial:
    r"""Bound a formula between two polynomials of the same monomials.

    .. math:: \sum_m l_m y^m \le f(y) \le \sum_m u_m y^m \quad \text{for all } y \ge 0

    Parameters
    ----------
    formula
        A rate law.
    values
        What each symbol is: a polynomial in the free variables y.
    n_variables
        Their number.

    Raises
    ------
    NoBoundError
        If none is found.

    Notes
    -----
    Sums, products and whole powers are exact. A ratio of polynomials with non-negative coefficients is an average of the ratios of
    their coefficients, with weights d_m y^m / D(y), so that it lies between the smallest and the largest of these. Everything else is
    bounded by a constant, from interval arithmetic.

    Examples
    --------
    >>> from cme.infix import parse
    >>> bound(parse("3*X/(5 + X)"), {"X": variable(0, 1, 10.0)}, 1)  # between 2 and 3 for X >= 10
    {(0,): (2.0, 3.0)}
    """
    if isinstance(formula, Number):
        return constant(formula.value, n_variables)
    if isinstance(formula, Symbol):
        return values[formula.name]
    try:
        return _apply(formula, values, n_variables)
    except NoBoundError:
        return _by_intervals(formula, values, n_variables)


def _apply(formula: Apply, values: Mapping[str, Polynomial], n: int) -> Polynomial:
    if formula.op not in ("+", "*", "/", "^", "neg"):
        raise NoBoundError(formula)
    if formula.op == "^":
        power = formula.args[1]
        if not isinstance(power, Number) or power.value not in range(HIGHEST_POWER + 1):
            raise NoBoundError(formula)
        base, out = bound(formula.args[0], values, n), constant(1.0, n)
        for _ in range(int(power.value)):
            out = times(out, base)
        return out
    args = [bound(arg, values, n) for arg in formula.args]
    if formula.op == "neg":
        return {m: (-high, -low) for m, (low, high) in args[0].items()}
    out = args[0]
    for arg in args[1:]:
        out = plus(out, arg) if formula.op == "+" else times(out, arg) if formula.op == "*" else _ratio(out, arg, n, formula)
    return out


def plus(a: Polynomial, b: Polynomial) -> Polynomial:
    out = dict(a)
    for m, (low, high) in b.items():
        other = out.get(m, (0.0, 0.0))
        out[m] = other[0] + low, other[1] + high
    return out


def times(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > MOST_TERMS:
        raise NoBoundError
    out: Polynomial = {}
    for m, (p, q) in a.items():
        for k, (r, s) in b.items():
            corners = p * r, p * s, q * r, q * s
            both = tuple(i + j for i, j in zip(m, k, strict=True))
            other = out.get(both, (0.0, 0.0))
            out[both] = other[0] + min(corners), other[1] + max(corners)
    return {m: each for m, each in out.items() if each != (0.0, 0.0)}


def _ratio(top: Polynomial, below: Polynomial, n: int, formula: Expr) -> Polynomial:
    origin = (0,) * n
    if not below or any(low < 0 for low, _ in below.values()):
        raise NoBoundError(formula)
    least = below.get(origin, (0.0, 0.0))[0]  # of the denominator
    if all(below.get(m, (0.0, 0.0))[0] > 0 for m in top):
        lows, highs = [], []
        for m, (d_low, d_high) in below.items():
            low, high = top.get(m, (0.0, 0.0))
            if d_low <= 0:  # may be absent: then it has no say
                continue
            lows.append(low / (d_high if low >= 0 else d_low))
            highs.append(high / (d_low if high >= 0 else d_high))
        if all(d_low > 0 for d_low, _ in below.values()) and lows:
            low, high = min(lows), max(highs)
            return {origin: (low, high)} if (low, high) != (0.0, 0.0) else {}
    if least <= 0:
        raise NoBoundError(formula)
    greatest = below[origin][1] if len(below) == 1 else np.inf
    return times(top, {origin: (1.0 / greatest, 1.0 / least)})


def _by_intervals(formula: Expr, values: Mapping[str, Polynomial], n: int) -> Polynomial:
    boxes = {name: _range(polynomial, n) for name, polynomial in values.items()}
    low, high = (float(each) for each in enclose(formula, boxes))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise NoBoundError(formula)
    return {(0,) * n: (low, high)} if (low, high) != (0.0, 0.0) else {}


def _range(polynomial: Polynomial, n: int) -> Bounds:
    origin = (0,) * n
    low, high = polynomial.get(origin, (0.0, 0.0))
    moving = [each for m, each in polynomial.items() if m != origin]
    least, most = -np.inf if any(p < 0 for p, _ in moving) else low, np.inf if any(q > 0 for _, q in moving) else high
    return np.asarray(least), np.asarray(most)
