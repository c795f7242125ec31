"""`Piece`: a piece of time in which all that is known in advance moves smoothly, and `Instant`: what may happen at its end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cme import ratelaw
from cme.errors import ModelError
from cme.infix import to_infix
from cme.ratelaw import Apply, Expr, Number, Symbol

ORDERS = {"<", "<=", ">", ">="}


@dataclass(frozen=True, eq=False)
class Instant:
    """A moment at which events may happen: the variables and what the events remember, both just before."""

    time: float
    before: np.ndarray  # y, see `Hybrid`
    memory: Any  # an `Agenda`


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of time in which no event happens and no condition on the time changes.

    Attributes
    ----------
    start, end
        Times; what happens at the end, if anything, is `instant`.
    limit
        Output times before this belong to the piece: its end, give or take the rounding of times.
    values
        The clock variables at the start, after all events, and the time, by name.
    flowing
        The clock variables that move inside the piece, in the order of `course`, which gives them at times (K,) as (K, C).
    flows
        Their rates, by name, as they are in this piece.
    """

    start: float
    end: float
    limit: float
    values: Mapping[str, float]
    flowing: tuple[str, ...]
    course: Callable[[np.ndarray], np.ndarray]
    instant: Instant
    flows: Mapping[str, Expr] = field(default_factory=dict)

    def at(self, times) -> dict[str, np.ndarray]:
        """The time and all clock variables at times (...) in the piece, by name."""
        times = np.asarray(times, dtype=np.float64)
        found = {name: np.broadcast_to(value, times.shape) for name, value in self.values.items()}
        if self.flowing:
            moved = self.course(times.ravel()).reshape(*times.shape, len(self.flowing))
            found |= {name: moved[..., i] for i, name in enumerate(self.flowing)}
        return found | ({ratelaw.TIME: times} if ratelaw.TIME in self.values else {})

    def moves(self, formula: Expr) -> bool:
        """Does a frozen formula change inside the piece?"""
        return not {*self.flowing, ratelaw.TIME}.isdisjoint(ratelaw.names(formula) & set(self.values))

    def freeze(self, formula: Expr) -> Expr:
        """A resolved formula as it is in this piece: what is constant is a number, what holds conditions on the time has one branch."""
        return ratelaw.simplify(self._fold(formula)[0])

    def _fold(self, formula: Expr) -> tuple[Expr, bool]:
        """The folded formula, and whether it is known in advance."""
        if isinstance(formula, Number):
            return formula, True
        if isinstance(formula, Symbol):
            stays = formula.name in self.values and formula.name not in (*self.flowing, ratelaw.TIME)
            return (Number(float(self.values[formula.name])) if stays else formula), formula.name in self.values
        parts = [self._fold(arg) for arg in formula.args]
        args, known = tuple(part for part, _ in parts), all(each for _, each in parts)
        if known and jumps(formula.op):
            value = float(ratelaw.evaluate(formula, self.values))
            if formula.op != "rem":
                return Number(value), True
            if not np.isfinite(value):
                raise ModelError(f"{to_infix(formula)} divides by zero; guard it, for example with piecewise()")
            whole = np.rint((float(ratelaw.evaluate(args[0], self.values)) - value) / float(ratelaw.evaluate(args[1], self.values)))
            return Apply("+", (args[0], Apply("*", (Number(-float(whole)), args[1])))), True
        if formula.op == "piecewise":
            return _one_branch(args), known
        return Apply(formula.op, args), known


def jumps(op: str) -> bool:
    """Does an operator jump?"""
    return op in ORDERS or op in ("==", "!=", "floor", "ceil", "rem")


def _one_branch(args: tuple[Expr, ...]) -> Expr:
    """A piecewise formula without the conditions that are numbers."""
    kept: list[Expr] = []
    otherwise = args[-1]
    for value, condition in zip(args[0:-1:2], args[1:-1:2], strict=True):
        if not isinstance(condition, Number):
            kept += [value, condition]
        elif condition.value != 0:
            otherwise = value
            break
    return Apply("piecewise", (*kept, otherwise)) if kept else otherwise
