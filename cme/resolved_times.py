"""Times at which a step must end, so that no pulse of the rates falls into one: found on the formulas, by interval arithmetic.

Between two of them, each part of a formula that is known in advance is a simple curve: flat, or its slope or its curvature keeps its
sign and moves by no more than a factor of 16, or it is less than 1e-12 of its largest value. A pulse would break that, however short.

Reference: Moore, Kearfott and Cloud, Introduction to Interval Analysis, SIAM (2009), doi:10.1137/1.9780898717716.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cme import ratelaw
from cme.derivative import differentiate
from cme.enclosure import Bounds, enclose
from cme.errors import ConvergenceError, ModelError
from cme.hybrid import jumps_in
from cme.infix import shorten, to_infix
from cme.pieces import Piece
from cme.ratelaw import ZERO, Apply, Expr

MOST_CELLS = 1_000_000
FLAT = 1e-3  # what moves by less than this part of its value is flat
STEADY = 16.0  # the factor by which a slope may move
NOTHING = 1e-12  # of the largest value: a pulse that stays below is none
UNDERFLOW = 1e-250  # less than this is none either: what an exponential leaves far from a pulse
NARROWEST = 2.0**-40  # of the piece: where a formula jumps or is singular, nothing shorter is looked at
OPEN = 2.0**-12  # of the piece: where no bounds are known at all, like those of a factorial below 0.46
LARGEST_SLOPE = 20_000  # terms of a derivative
LOOKS = 5  # at what flows, in a cell
ALIKE = 8.0  # cells whose widths differ by less share the longest step
POINT = 1e-10  # of the time: a cell that is shorter holds a jump or a kink, which integrators find by themselves
LOOSE = 32  # cells where time and counts are mixed in a way that can't be told apart
SIDE_BY_SIDE = {"+", "*", "neg", "min", "max", "piecewise", "<", "<=", ">", ">=", "==", "!=", "and", "or", "xor", "not", "floor", "ceil"}


def resolve(formulas: Iterable[Expr], piece: Piece) -> np.ndarray:
    r"""Find times between which no formula has a pulse.

    Each maximal part f(t) of a formula that depends on nothing but what is known in the piece gets cells, by bisection, until on each

    .. math:: \max f - \min f \le 10^{-3} \max |f|, \quad \max f' \le 16 \min f', \quad \max f'' \le 16 \min f''
              \quad \text{or} \quad |f| \le 10^{-12} \sup |f|

    (f' and f'' above zero, or both signs turned), as their enclosures tell.

    Parameters
    ----------
    formulas
        Resolved.
    piece
        What is known in advance, and where. Formulas may jump in it.

    Returns
    -------
    array (K,)
        Increasing times inside the piece; none if the formulas move slowly.

    Raises
    ------
    ConvergenceError
        If more than a million cells are needed.

    Notes
    -----
    Rigorous in the time; the course of variables under rate rules is looked at at five points of a cell. Slopes count where nothing jumps,
    curvatures where no abs, min or max has a kink. Where a formula depends on the time and on counts but is no sum, product or quotient
    of such parts, like exp(-(time - X)^2), nothing can be known in advance: there the piece gets 32 equal cells. Cost: some ten
    enclosures of each part, on all cells at once. A sine gets about four cells a period, exp(-t^2) about forty.

    Examples
    --------
    >>> from cme.infix import parse
    >>> resolve([parse("X*exp(-((time - 5)/0.01)^2)")], whole(10.0)).round(2)[[0, -1]]
    array([4.92, 5.05])
    """
    found, known = dict[Expr, None](), set(piece.values)
    moving = known & {ratelaw.TIME, *piece.flowing}
    loose = [_collect(formula, known, moving, found) for formula in formulas]
    edges = [_edges(part, piece) for part in found]
    if any(loose):
        edges.append(np.linspace(piece.start, piece.end, LOOSE + 1))
    times = np.unique(np.concatenate([np.empty(0), *edges]))
    return times[(times > piece.start) & (times < piece.end)]


def whole(horizon: float) -> Piece:
    """All time up to a horizon, where nothing is known in advance but the time itself."""
    return Piece(0.0, horizon, horizon, {ratelaw.TIME: 0.0}, (), lambda times: np.empty((len(times), 0)), None)  # type: ignore[arg-type]


def peaks(formula: Expr, piece: Piece) -> np.ndarray:
    """Times at which the parts of a formula that are known in advance are largest, (K,)."""
    found, known = dict[Expr, None](), set(piece.values)
    _collect(formula, known, known & {ratelaw.TIME, *piece.flowing}, found)
    times = []
    for part in found:
        edges = _edges(part, piece)
        looks = np.concatenate([edges, edges[:-1] + 0.5 * np.diff(edges)])
        size = np.abs(np.broadcast_to(ratelaw.evaluate(part, piece.at(looks)), looks.shape))
        times.append(looks[np.argmax(np.where(np.isfinite(size), size, -1.0))])
    return np.unique(times)


class Leg(NamedTuple):
    """A part of the time that is integrated at one go, with the longest step that passes over no cell."""

    end: float
    longest: float


def legs(times: np.ndarray, start: float, end: float, longest: float) -> Iterator[Leg]:
    """Cells of like widths taken together, from `start` to `end`, for integrators that begin anew at the end of each leg."""
    inside = times[(times > start) & (times < end)]
    edges = np.concatenate([[start], inside, [end]])
    least = most = 0.0
    for before, after, width in zip(edges[:-1].tolist(), edges[1:].tolist(), np.diff(edges).tolist(), strict=True):
        if width > POINT * (end - start):
            if least and max(most, width) > ALIKE * min(least, width):
                yield Leg(before, min(longest, least))
                least = most = 0.0
            least, most = min(least or width, width), max(most, width)
        if after == end:
            yield Leg(end, min(longest, least) if len(inside) else longest)


# ------------------------------------------------------------------------------------------------------------ parts


def _collect(formula: Expr, known: set[str], moving: set[str], found: dict[Expr, None]) -> bool:
    """Find the largest parts that are known and move. True if the rest mixes them with what is not known in some other way."""
    names = ratelaw.names(formula)
    if moving.isdisjoint(names):
        return False
    if names <= known:
        found[ratelaw.simplify(formula)] = None
        return False
    assert isinstance(formula, Apply)
    args = formula.args
    if formula.op in ("+", "*"):
        together = tuple(arg for arg in args if ratelaw.names(arg) <= known)
        if together:
            _collect(Apply(formula.op, together), known, moving, found)
        args = tuple(arg for arg in args if not ratelaw.names(arg) <= known)
    loose = [_collect(arg, known, moving, found) for arg in args]
    if formula.op == "/":
        return any(loose) or not (moving.isdisjoint(names_below := ratelaw.names(args[1])) or names_below <= known)
    return any(loose) or formula.op not in SIDE_BY_SIDE


class _Curve(NamedTuple):
    """A part that is known in advance, its slope and curvature along the course of what flows, and the conditions where these break."""

    value: Expr
    slope: Expr | None
    curvature: Expr | None
    jumps: tuple[Expr, ...]
    kinks: tuple[Expr, ...]


def _curve(part: Expr, flows: Mapping[str, Expr]) -> _Curve:
    slope = curvature = None
    try:
        slope = _along(part, flows)
        curvature = _along(slope, flows)
    except ModelError:  # a function whose derivative is not known, or one that is too long
        pass
    kinks = dict[Expr, None]()
    _collect_kinks(part, kinks)
    return _Curve(part, slope, curvature, jumps_in([part]), tuple(kinks))


def _along(formula: Expr, flows: Mapping[str, Expr]) -> Expr:
    """The derivative with respect to time along the flow."""
    terms = [differentiate(formula, ratelaw.TIME)]
    terms += [ratelaw.product_of((differentiate(formula, name), flow)) for name, flow in flows.items()]
    slope = ratelaw.simplify(ratelaw.sum_of(terms))
    if ratelaw.size(slope) > LARGEST_SLOPE:
        raise ModelError(f"a derivative has more than {LARGEST_SLOPE} terms")
    return slope


def _collect_kinks(formula: Expr, found: dict[Expr, None]) -> None:
    """Conditions that change where a slope jumps but not the value."""
    if not isinstance(formula, Apply):
        return
    for arg in formula.args:
        _collect_kinks(arg, found)
    if formula.op == "abs":
        found[Apply("<", (formula.args[0], ZERO))] = None
    elif formula.op in ("min", "max"):
        found.update((Apply("<", pair), None) for pair in combinations(formula.args, 2))


# ------------------------------------------------------------------------------------------------------------ cells


def _edges(part: Expr, piece: Piece) -> np.ndarray:
    """The edges of cells in which a part is simple: bisection, then neighbours that are simple together are joined."""
    curve, largest = _curve(part, piece.flows), 0.0
    low, high = np.array([piece.start]), np.array([piece.end])
    done, n_done = [low[:0]], 0
    while low.size:
        largest = max(largest, _largest(part, piece, low, high))
        simple = _is_simple(curve, piece, low, high, largest)
        simple |= high - low <= max(NARROWEST * (piece.end - piece.start), 8 * np.spacing(piece.end))
        done.append(low[simple])
        n_done += int(simple.sum())
        low, high = low[~simple], high[~simple]
        if n_done + 2 * len(low) > MOST_CELLS:
            raise ConvergenceError(
                f"the formula {shorten(to_infix(part))} moves so often between t={piece.start:g} and t={piece.end:g} that more than "
                f"{MOST_CELLS} steps would be needed to miss nothing, as at t={low[0]:g}; stop earlier, or replace what is fast by its mean"
            )
        middle = low + 0.5 * (high - low)
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    edges = np.append(np.sort(np.concatenate(done)), piece.end)
    for first in (1, 2) * 20:  # every other edge: does it go?
        inner = np.arange(first, len(edges) - 1, 2)
        if not inner.size:
            break
        goes = _is_simple(curve, piece, edges[inner - 1], edges[inner + 1], largest)
        edges = np.delete(edges, inner[goes])
        if first == 2 and not goes.any():
            break
    return edges


def _largest(part: Expr, piece: Piece, low: np.ndarray, high: np.ndarray) -> float:
    """The largest absolute value at the ends and in the middle of cells."""
    found = np.abs(ratelaw.evaluate(part, piece.at(np.concatenate([low, low + 0.5 * (high - low), high]))))
    return float(np.max(found, where=np.isfinite(found), initial=0.0))


def _is_simple(curve: _Curve, piece: Piece, low: np.ndarray, high: np.ndarray, largest: float) -> np.ndarray:
    """In which cells is a curve simple? Bounds of slopes count where nothing jumps, bounds of curvatures where nothing bends either."""
    boxes = _boxes(piece, low, high)
    size = low.shape

    def bounds(formula: Expr) -> Bounds:
        lower, upper = enclose(formula, boxes)
        return np.broadcast_to(lower, size), np.broadcast_to(upper, size)

    def stands(conditions: tuple[Expr, ...]) -> np.ndarray:
        found = np.ones(size, dtype=bool)
        for condition in conditions:
            lower, upper = bounds(condition)
            found &= lower == upper
        return found

    lower, upper = bounds(curve.value)
    with np.errstate(invalid="ignore"):
        most = np.maximum(np.abs(lower), np.abs(upper))
        flat = FLAT if curve.slope is not None else 100 * FLAT
        unknown = ~np.isfinite(most)
        simple = ~unknown & ((upper - lower <= flat * most) | (most <= max(NOTHING * largest, UNDERFLOW)))
    if unknown.any():
        simple |= unknown & (high - low <= OPEN * (piece.end - piece.start))
        ends = ratelaw.evaluate(curve.value, piece.at(np.stack([low, low + 0.5 * (high - low), high])))
        simple |= unknown & ~np.any(np.isfinite(np.broadcast_to(ends, (3, *size))), axis=0)  # the solver says where it is undefined
    if curve.slope is None or simple.all():
        return simple
    calm, (least, greatest) = stands(curve.jumps), bounds(curve.slope)
    if curve.curvature is not None:
        bend, smooth = bounds(curve.curvature), calm & stands(curve.kinks)
        simple |= smooth & _is_steady(*bend)
        middle = np.broadcast_to(ratelaw.evaluate(curve.slope, piece.at(low + 0.5 * (high - low))), size)
        with np.errstate(invalid="ignore", over="ignore"):  # by the mean value theorem: tighter where terms cancel
            reach = 0.5 * (high - low) * np.maximum(np.abs(bend[0]), np.abs(bend[1]))
            tighter = smooth & np.isfinite(middle) & np.isfinite(reach)
            least = np.where(tighter, np.maximum(least, middle - reach), least)
            greatest = np.where(tighter, np.minimum(greatest, middle + reach), greatest)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (high - low) * np.maximum(np.abs(least), np.abs(greatest))
        return simple | (
            calm & (_is_steady(least, greatest) | (moved <= flat * np.where(unknown, 0.0, np.minimum(np.abs(lower), np.abs(upper)))))
        )


def _is_steady(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Does something keep its sign, and its size within a factor?"""
    with np.errstate(invalid="ignore", over="ignore"):
        rising, falling = (lower > 0) & (upper <= STEADY * lower), (upper < 0) & (lower >= STEADY * upper)
    return rising | falling | ((lower == 0) & (upper == 0))


def _boxes(piece: Piece, low: np.ndarray, high: np.ndarray) -> dict[str, Bounds]:
    boxes: dict[str, Bounds] = {name: (np.asarray(value), np.asarray(value)) for name, value in piece.values.items()}
    if ratelaw.TIME in piece.values:
        boxes[ratelaw.TIME] = low, high
    if piece.flowing:
        inside = piece.at(np.linspace(low, high, LOOKS))
        boxes |= {name: (inside[name].min(axis=0), inside[name].max(axis=0)) for name in piece.flowing}
    return boxes
