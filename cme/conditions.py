"""Conditions on counts, written in the language of formulas: what ends a path, and what a first passage is to."""

import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cme import ratelaw
from cme.errors import ModelError, describe_state
from cme.infix import parse, to_infix
from cme.network import Network
from cme.ratelaw import Apply, Expr, Number, Symbol
from cme.wellformed import did_you_mean

_COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}
_CONDITIONS = _COMPARISONS | {"and", "or", "xor", "not"}


def read_condition(text: str, known: Iterable[str], what: str, owner: str, no_time: str | None, constants: Iterable[str] = ()) -> Expr:
    """The formula of a condition on names that are known.

    Parameters
    ----------
    text
        Such as 'X >= 100'.
    known
        The names it may use.
    what
        The argument it was given as, for messages.
    owner
        What the names belong to.
    no_time
        Why it can't use the time; None if it can.
    constants
        Further names that it may use, which no message lists.

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If it can't be read, uses another name or the time, draws a random number, or is a number and no condition.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a condition such as 'X >= 100', not {text!r}")
    try:
        formula = parse(text)
    except (ModelError, TypeError, AttributeError) as error:
        raise ValueError(f"{what}={text!r} can't be read: {error}") from None
    known = {*known, *constants, *([ratelaw.TIME] if no_time is None else [])}
    for name in sorted(ratelaw.names(formula) - known):
        if name == ratelaw.TIME:
            raise ValueError(f"{what}={text!r} uses the time; {no_time}")
        raise ValueError(
            f"{what}={text!r} uses {name!r}, which the {owner} does not have{did_you_mean(name, sorted(known - {*constants}))}"
        )
    if ratelaw.has_draws(formula):
        raise ValueError(f"{what}={text!r} draws a random number; a condition is on what there is, such as 'X >= 100'")
    if not (isinstance(formula, Apply) and formula.op in _CONDITIONS):
        raise ValueError(f"{what}={text!r} is no condition; write one that is true or false, such as 'X >= 100'")
    return formula


def network_condition(network: Network, text: str, what: str, no_time: str | None) -> Expr:
    """The formula of a condition on species, parameters and rules of a network, with only species and what moves in time left in it."""
    known = {*network.species_names, *network.parameters, *network.compartments, *(rule.name for rule in network.rules)}
    return network.resolve(read_condition(text, known, what, "network", no_time))


# ------------------------------------------------------------------------------------------- what is compared is a number


def undefined(condition: Expr) -> Expr | None:
    """Where a condition compares what is no finite number, itself as a condition; None if it never does.

    What stands after a part that decides, as in ``X > 0 && 1/X < 2``, is not looked at.
    """
    if not isinstance(condition, Apply):
        return None
    if condition.op in ("and", "or"):
        found, before = [], list[Expr]()
        for part in condition.args:
            if (wrong := undefined(part)) is not None:
                found.append(Apply("and", (*before, wrong)) if before else wrong)
            before.append(part if condition.op == "and" else Apply("not", (part,)))
        return _any(found)
    if condition.op in _COMPARISONS:
        return _any([Apply("not", (_is_finite(side),)) for side in condition.args if _may_fail(side)])
    return _any([wrong for part in condition.args if (wrong := undefined(part)) is not None])


def check_defined(condition: Expr, what: str, names: Sequence[str], states: np.ndarray) -> None:
    """`ModelError` if a condition compares what is no finite number in one of the states (K, S)."""
    wrong = undefined(condition)
    if wrong is None or not len(states):
        return
    values = {name: states[:, s].astype(np.float64) for s, name in enumerate(names)}
    with np.errstate(all="ignore"):
        where = np.flatnonzero(np.broadcast_to(ratelaw.evaluate(wrong, values), (len(states),)) != 0)
        if not where.size:
            return
        state = states[where[0]]
        here = {name: float(n) for name, n in zip(names, state, strict=True)}
        sides = [(to_infix(side).replace(" + -", " - "), float(ratelaw.evaluate(side, here))) for side in _compared(condition)]
    side, value = next((side, value) for side, value in sides if not np.isfinite(value))
    raise ModelError(
        f"{what} compares {side}, which is {value} at {describe_state(tuple(names), state)}; "
        "let it be a number there, or say before when it is, as in 'X > 0 && 1/X < 2'"
    )


def _any(parts: list[Expr]) -> Expr | None:
    return None if not parts else parts[0] if len(parts) == 1 else Apply("or", tuple(parts))


def _is_finite(side: Expr) -> Expr:
    return Apply("<=", (Apply("abs", (side,)), Number(sys.float_info.max)))


def _may_fail(side: Expr) -> bool:
    """Sums and products of numbers are numbers."""
    if isinstance(side, Number | Symbol):
        return False
    return side.op not in ("+", "*", "neg") or any(map(_may_fail, side.args))


def _compared(condition: Expr) -> Iterator[Expr]:
    if isinstance(condition, Apply):
        for part in condition.args:
            if condition.op in _COMPARISONS:
                yield part
            else:
                yield from _compared(part)
