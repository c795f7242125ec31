"""Propensities as sums of terms f(t) g(x), and bounds of the factors f on cells of time: what it takes to thin candidates.

Reference: Lewis and Shedler, Naval Res. Logist. Quart. 26 (1979) 403, doi:10.1002/nav.3800260304 (thinning).
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from cme import ratelaw
from cme.enclosure import Bounds, enclose
from cme.ratelaw import ONE, ZERO, Apply, Expr, Number, product_of, simplify, sum_of
from cme.sampling.straightness import is_still

MOST_TERMS = 32
MOST_CELLS = 2**14
NARROWEST = 2.0**-40  # of the horizon
LOOSE = 0.25  # the part of a bound that may be wasted in a cell
LITTLE = 1e-4  # of all candidates: what a cell wastes does not matter
WORST = 0.1  # the share of candidates that pass; with fewer, integrating is faster
ROOM = 1e-12  # for round-off between bounds and propensities


class Term(NamedTuple):
    """A product f(t) g(x)."""

    in_time: Expr  # depends on the time and nothing else
    in_counts: Expr  # constant between jumps


def separate(formula: Expr, moving: set[str]) -> tuple[Term, ...] | None:
    """The terms of a propensity that moves, of different g; none if it is constant between jumps. None if it is no sum of such terms.

    Examples
    --------
    >>> from cme.infix import parse, to_infix
    >>> [term] = separate(parse("2*X + X*sin(time)"), {"time"})
    >>> to_infix(term.in_time), to_infix(term.in_counts)
    ('sin(time) + 2', 'X')
    """
    if is_still(formula, moving):
        return ()
    pairs = _terms(formula, moving)
    if pairs is None or len(pairs) > MOST_TERMS:
        return None
    together: dict[Expr, list[Expr]] = {}
    for in_time, in_counts in pairs:
        constant, rest = _apart(simplify(in_counts))
        together.setdefault(rest, []).append(product_of((constant, simplify(in_time))))
    return tuple(Term(sum_of(factors), in_counts) for in_counts, factors in together.items())


def _apart(formula: Expr) -> tuple[Expr, Expr]:
    """The constant factor of a product, and the other factors in an order of their own."""
    args = formula.args if isinstance(formula, Apply) and formula.op == "*" else (formula,)
    return product_of(arg for arg in args if isinstance(arg, Number)), product_of(
        sorted((arg for arg in args if not isinstance(arg, Number)), key=repr)
    )


def _terms(formula: Expr, moving: set[str]) -> list[Term] | None:
    names = ratelaw.names(formula)
    if names == {ratelaw.TIME} and ratelaw.TIME in moving:
        return [Term(formula, ONE)]
    if is_still(formula, moving):
        return [Term(ONE, formula)]
    if not isinstance(formula, Apply):
        return None
    if formula.op == "/":
        above, below = _terms(formula.args[0], moving), separate_factor(formula.args[1], moving)
        if above is None or below is None:
            return None
        return [Term(Apply("/", (f, below.in_time)), Apply("/", (g, below.in_counts))) for f, g in above]
    if formula.op == "piecewise":
        return _piecewise(formula.args, moving)
    parts = [_terms(arg, moving) for arg in formula.args] if formula.op in ("+", "neg", "*") else [None]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if formula.op == "neg":
        return [Term(Apply("neg", (f,)), g) for f, g in known[0]]
    if formula.op == "+":
        return [term for part in known for term in part]
    if np.prod([len(part) for part in known]) > MOST_TERMS:
        return None
    return [Term(product_of(f for f, _ in each), product_of(g for _, g in each)) for each in product(*known)]


def separate_factor(formula: Expr, moving: set[str]) -> Term | None:
    """The same of a formula that is a single term."""
    terms = _terms(formula, moving)
    return terms[0] if terms is not None and len(terms) == 1 else None


def _piecewise(args: tuple[Expr, ...], moving: set[str]) -> list[Term] | None:
    """Terms for each value, with a factor that is zero where another value holds: the conditions use the time alone, or not at all."""
    conditions = args[1::2]
    in_time = ratelaw.names(Apply("or", conditions)) <= {ratelaw.TIME}
    if not in_time and not all(is_still(each, moving) for each in conditions):
        return None
    found: list[Term] = []
    for i, value in enumerate(args[0::2]):
        terms = _terms(value, moving)
        if terms is None:
            return None
        before = [each for condition in conditions[:i] for each in (ZERO, condition)]

        def here(factor: Expr, i: int = i, before: list[Expr] = before) -> Expr:
            parts = (*before, factor, conditions[i], ZERO) if i < len(conditions) else (*before, factor)
            return Apply("piecewise", parts)

        found += [Term(here(f), g) if in_time else Term(f, here(g)) for f, g in terms]
    return found


def cells_in_time(factors: Sequence[Expr], horizon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Edges (K + 1,) of cells of time from 0 to infinity, and lower and upper bounds (K, J) of J factors f(t) on them, up to the horizon.

    Cells are halved where bounds are loose, as enclosures tell (see `cme.enclosure`), until the waste is small. The bounds hold
    whatever the cells are: these decide on the cost alone. None if a factor may be below zero or has no bound, or the waste is large.
    """
    edges = np.array([0.0, max(horizon, 1e-300)])
    lower, upper = _bounds(factors, edges[:-1], edges[1:])
    narrow = max(NARROWEST * horizon, 8 * np.spacing(horizon))
    while True:
        width = np.diff(edges)
        with np.errstate(invalid="ignore", over="ignore"):
            sure = np.maximum(lower, 0.0)
            waste = width * (upper - sure)
            loose = (upper - sure > LOOSE * upper) & ~(waste <= LITTLE * (width * upper).sum(axis=1, keepdims=True))
            doubtful = ~np.isfinite(upper) | (lower < -ROOM * np.maximum(upper.max(axis=1), 0.0)[:, None])
        split = np.flatnonzero((loose | doubtful).any(axis=0) & (width > narrow))
        if not split.size or len(width) + len(split) > MOST_CELLS:
            break
        middle = edges[split] + 0.5 * width[split]
        left, right = _bounds(factors, edges[split], middle), _bounds(factors, middle, edges[split + 1])
        lower[:, split], upper[:, split] = left
        lower, upper = (np.insert(bound, split + 1, more, axis=1) for bound, more in zip((lower, upper), right, strict=True))
        edges = np.insert(edges, split + 1, middle)
    if not np.all(np.isfinite(upper)) or np.any(lower < -ROOM * np.maximum(upper.max(axis=1), 0.0)[:, None]):
        return None
    top = np.maximum(upper, 0.0) * (1.0 + ROOM)
    middle = 0.5 * (edges[1:] + edges[:-1])
    values = np.array([np.broadcast_to(ratelaw.evaluate(f, {ratelaw.TIME: middle}), middle.shape) for f in factors])
    if np.any((values * width).sum(axis=1) < WORST * (top * width).sum(axis=1)):
        return None
    edges[-1] = np.inf
    return edges, np.ascontiguousarray((lower - ROOM * np.abs(lower)).T), np.ascontiguousarray(top.T)


def _bounds(factors: Sequence[Expr], low: np.ndarray, high: np.ndarray) -> Bounds:
    found = [enclose(factor, {ratelaw.TIME: (low, high)}) for factor in factors]
    lower, upper = (np.array([np.broadcast_to(each[side], low.shape) for each in found]) for side in (0, 1))
    return lower, upper
