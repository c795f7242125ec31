"""Formulas that are constants plus multiples of symbols, and conditions that bound such sums."""

import math
from collections.abc import Mapping

from cme.ratelaw import Apply, Expr, Number, Symbol, uses

_GRAIN, _LARGE = 2.0**10, 2.0**30  # numbers that are multiples of 1 / _GRAIN and below _LARGE give sums of counts without rounding
_NO_CONSTANTS: Mapping[str, float] = {}


def as_affine(formula: Expr, constants: Mapping[str, float]) -> dict[str, float] | None:
    """A formula as a constant (under "") plus multiples of counts; None if it is anything else."""
    if isinstance(formula, Number):
        return {"": formula.value}
    if isinstance(formula, Symbol):
        return {"": constants[formula.name]} if formula.name in constants else {formula.name: 1.0}
    if formula.op not in ("+", "neg", "*", "/"):
        return None
    parts = [as_affine(arg, constants) for arg in formula.args]
    if any(part is None for part in parts):
        return None
    total = parts[0] or {}
    for part in parts[1:]:
        assert part is not None
        if formula.op == "+":
            total = {name: total.get(name, 0.0) + part.get(name, 0.0) for name in {**total, **part}}
            continue
        if formula.op == "*" and not _is_constant(part):
            total, part = part, total
        if not _is_constant(part):
            return None
        factor = part.get("", 0.0)
        if formula.op == "/" and factor == 0:
            return None
        total = {name: value / factor if formula.op == "/" else value * factor for name, value in total.items()}
    return {name: -value for name, value in total.items()} if formula.op == "neg" else total


def _is_constant(affine: dict[str, float]) -> bool:
    return all(value == 0 for name, value in affine.items() if name)


def bounded_sums(condition: Expr) -> tuple[list[tuple[dict[str, float], float]], Expr | None]:
    """The parts of a condition on counts that are bounds on sums, as (weights, largest sum), and the rest of it, None if there is none.

    Only such sums are taken as are known without rounding, so that both forms of a condition say the same of every state.
    """
    sums, rest = list[tuple[dict[str, float], float]](), list[Expr]()
    for part in condition.args if isinstance(condition, Apply) and condition.op == "and" else (condition,):
        found = _bounded_sum(part)
        if found is None:
            rest.append(part)
        else:
            sums.append(found)
    if not sums:
        return [], condition
    return sums, (Apply("and", tuple(rest)) if len(rest) > 1 else rest[0]) if rest else None


def _bounded_sum(condition: Expr) -> tuple[dict[str, float], float] | None:
    if not isinstance(condition, Apply) or condition.op not in ("<", "<=", ">", ">=") or not all(map(_is_round, _numbers(condition))):
        return None
    left, right = condition.args if condition.op in ("<", "<=") else condition.args[::-1]
    low, high = as_affine(left, _NO_CONSTANTS), as_affine(right, _NO_CONSTANTS)
    if low is None or high is None or uses(condition, "/"):
        return None
    weights = {name: low.get(name, 0.0) - high.get(name, 0.0) for name in {**low, **high} if name}
    bound = high.get("", 0.0) - low.get("", 0.0)
    if not (all(map(_is_round, weights.values())) and _is_round(bound)):
        return None
    return weights, bound if condition.op in ("<=", ">=") else bound - 1 / _GRAIN


def _numbers(formula: Expr) -> list[float]:
    """All numbers that are written in a formula."""
    if isinstance(formula, Number):
        return [formula.value]
    return [x for arg in formula.args for x in _numbers(arg)] if isinstance(formula, Apply) else []


def _is_round(x: float) -> bool:
    return abs(x) < _LARGE and x * _GRAIN == math.floor(x * _GRAIN)
