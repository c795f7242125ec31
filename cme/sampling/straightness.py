"""What of a formula moves between jumps, and whether it does so in straight lines."""

from collections.abc import Iterable

import numpy as np

from cme import ratelaw
from cme.hybrid import jumps_in
from cme.ratelaw import Apply, Expr

_STEPWISE = {"<", "<=", ">", ">=", "==", "!=", "and", "or", "not", "xor", "floor", "ceil"}


def is_still(formula: Expr, moving: set[str]) -> bool:
    """Is a formula constant between jumps, and are these known in closed form?"""
    if degree(formula, moving, stepwise=True) > 0:
        return False
    return all(degree(measure(watch), moving, stepwise=False) <= 1 for watch in turning(jumps_in([formula]), moving))


def degree(formula: Expr, moving: set[str], *, stepwise: bool) -> float:
    """The degree of a formula in what moves, inf if it is no polynomial; with `stepwise`, what jumps counts as constant."""
    if moving.isdisjoint(ratelaw.names(formula)):
        return 0
    if not isinstance(formula, Apply):
        return 1
    if formula.op in _STEPWISE:
        return 0 if stepwise else np.inf
    degrees = [degree(arg, moving, stepwise=stepwise) for arg in formula.args]
    if formula.op in ("+", "neg"):
        return max(degrees)
    if formula.op == "*":
        return sum(degrees)
    if formula.op == "/":
        return degrees[0] if degrees[1] == 0 else np.inf
    if formula.op == "piecewise" and stepwise:
        return max(degrees)
    return 0 if max(degrees) == 0 else np.inf


def turning(switches: Iterable[Expr], moving: set[str]) -> Iterable[Apply]:
    """The switches that may jump between jumps, besides those that do so only where another one inside them does.

    Of an equality, which holds for one instant, both sides are watched.
    """
    for switch in switches:
        assert isinstance(switch, Apply)
        if any(degree(arg, moving, stepwise=True) for arg in switch.args):
            yield from (Apply(op, switch.args) for op in ((">=", "<=") if switch.op in ("==", "!=") else (switch.op,)))


def measure(watch: Expr) -> Expr:
    """The smooth number whose zeros (of a comparison) or whole values (of a rounding) make a watch jump."""
    assert isinstance(watch, Apply)
    if watch.op in ("floor", "ceil"):
        return watch.args[0]
    return ratelaw.simplify(Apply("+", (watch.args[0], Apply("neg", (watch.args[1],)))))
