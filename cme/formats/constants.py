"""The values of constants that are given by formulas of each other."""

from collections.abc import Callable, Mapping

from cme import ratelaw
from cme.errors import ModelError
from cme.ratelaw import Expr


def evaluate_constants(
    formulas: Mapping[str, tuple[Expr, str]], unknown: Callable[[str, str], str], known: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Evaluate formulas of each other, in whatever order they stand.

    Parameters
    ----------
    formulas
        The formula of each constant and the place it was read.
    unknown
        What to say when a constant (first) uses a name (second) that has no value.
    known
        Further values.

    Returns
    -------
    dict
        The values, in the order of `formulas`.

    Raises
    ------
    ModelError
        With the place, if a constant is defined by itself or uses a name without a value.

    Notes
    -----
    Linear in the size of the formulas, and without recursion: a chain of any length will do.
    """
    values = {**ratelaw.CONSTANTS, **(known or {})}
    for name in formulas:
        values.pop(name, None)
    for first in formulas:
        stack, open_ = [first], set[str]()
        while stack:
            name = stack[-1]
            if name in values:
                stack.pop()
                continue
            formula, place = formulas[name]
            used = ratelaw.names(formula)
            wanted = sorted(used - values.keys())
            for needed in wanted:
                if needed not in formulas:
                    raise ModelError(f"{place}: {unknown(name, needed)}")
                if needed in open_ or needed == name:
                    raise ModelError(f"{place}: {needed!r} is defined by itself")
            if wanted:
                open_.add(name)
                stack += wanted
            elif ratelaw.has_draws(formula):
                raise ModelError(f"{place}: {name!r} draws a random number, which no constant can")
            else:
                values[name] = float(ratelaw.evaluate(formula, {each: values[each] for each in used}))
                open_.discard(name)
                stack.pop()
    return {name: values[name] for name in formulas}
