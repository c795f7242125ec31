"""The values of constants that are given by formulas of each other."""

from collections.abc import Callable, Mapping

from cme import ratelaw
from cme.errors import Problem
from cme.ratelaw import Expr


def evaluate_constants(
    formulas: Mapping[str, tuple[Expr, int]], unknown: Callable[[str, str], str], known: Mapping[str, float] | None = None
) -> tuple[dict[str, float], list[Problem]]:
    """Evaluate formulas of each other, in whatever order they stand.

    Parameters
    ----------
    formulas
        The formula of each constant and the line it was read from.
    unknown
        What to say when a constant (first) uses a name (second) that has no value.
    known
        Further values.

    Returns
    -------
    dict
        The values, in the order of `formulas`; 1 for one that has no value, so that reading can go on.
    list
        Constants that are defined by themselves, use a name without a value, or draw random numbers.

    Notes
    -----
    Linear in the size of the formulas, and without recursion: a chain of any length will do.
    """
    values = {**ratelaw.CONSTANTS, **(known or {})}
    problems: list[Problem] = []

    def refuse(name: str, what: str, missing: bool = False) -> None:
        problems.append(Problem("parameter", name, what, formulas[name][1], missing))
        values[name] = 1.0

    for name in formulas:
        values.pop(name, None)
    for first in formulas:
        stack, open_ = [first], set[str]()
        while stack:
            name = stack[-1]
            if name in values:
                stack.pop()
                continue
            formula = formulas[name][0]
            used = ratelaw.names(formula)
            wanted = sorted(used - values.keys())
            absent = [needed for needed in wanted if needed not in formulas]
            circle = [needed for needed in wanted if needed in open_ or needed == name]
            if absent:
                refuse(name, "; ".join(unknown(name, needed) for needed in absent[:10]), missing=True)
            elif circle:
                refuse(name, f"{circle[0]!r} is defined by itself; give a number somewhere in the circle")
            elif wanted:
                open_.add(name)
                stack += wanted
            elif ratelaw.has_draws(formula):
                refuse(name, f"{name!r} draws a random number, which no constant can; write '{name} ~ ...' to draw it for each path")
            else:
                values[name] = float(ratelaw.evaluate(formula, {each: values[each] for each in used}))
                open_.discard(name)
                stack.pop()
    return {name: values[name] for name in formulas}, problems
