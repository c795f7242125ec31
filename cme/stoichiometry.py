"""Random stoichiometry: numbers of molecules that are drawn, or computed from the counts, each time a reaction happens.

Such a number is a sum of whole multiples of draws (``geometric(5)``, ``binomial(P, 1/2)``), of whole formulas of the counts, and of a
constant. Every draw is independent of all others, with one exception: one that is written alike on both sides of a reaction is one and
the same, so that ``binomial(A, 1/2) A => binomial(A, 1/2) B`` makes as many B as it takes A.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cme import ratelaw
from cme.ratelaw import ONE, Apply, Expr, Number, Symbol

DRAWN = {"bernoulli": 1, "binomial": 2, "geometric": 1, "poisson": 1}  # what may be drawn, and how many parameters it has
_ALWAYS_WHOLE = {"floor", "ceil", "<", "<=", ">", ">=", "==", "!=", "and", "or", "xor", "not", *DRAWN}
_KEEP_WHOLE = {"+", "*", "neg", "abs", "min", "max", "rem", "piecewise", "now"}
MOST = 2.0**53

Side = tuple[tuple[str, int | Expr], ...]
Term = tuple[int, Expr]  # a whole factor, and a draw or a formula of the counts


class Varying(NamedTuple):
    """What a reaction changes the counts by that is not the same each time."""

    constant: Mapping[str, int]  # what is: by species
    numbers: tuple[Expr, ...]  # the draws, and formulas of the counts
    terms: tuple[tuple[int, str, int], ...]  # which number, the species, and the whole factor by which it counts


def read(
    reactants: Side, products: Side, changes: Callable[[str], bool], resolve: Callable[[Expr], Expr], counts: set[str]
) -> Varying | None:
    """What a reaction changes by, if some of it varies and all of it is sure to be whole; otherwise None.

    Parameters
    ----------
    reactants, products
        Its sides.
    changes
        Whether reactions change a species.
    resolve
        Fills rules and constants into a formula.
    counts
        The species that are counted.
    """
    constant: dict[str, int] = {}
    numbers: list[Expr] = []
    terms: list[tuple[int, str, int]] = []
    taken: dict[Expr, int] = {}  # draws of the reactants
    for side, sign in ((reactants, -1), (products, 1)):
        for name, n in side:
            parts = [(n, ONE)] if isinstance(n, int) else _terms(n, resolve, counts)
            if parts is None:
                return None
            for factor, part in parts:
                if part == ONE:
                    constant[name] = constant.get(name, 0) + sign * factor
                    continue
                place = taken.get(part) if sign > 0 else None
                if place is None:
                    place = len(numbers)
                    numbers.append(_resolved(part, resolve))
                    if sign < 0:
                        taken.setdefault(part, place)
                terms.append((place, name, sign * factor))
    terms = [term for term in terms if changes(term[1])]
    if not terms:
        return None
    return Varying({name: n for name, n in constant.items() if n and changes(name)}, tuple(numbers), tuple(terms))


def _terms(formula: Expr, resolve: Callable[[Expr], Expr], counts: set[str]) -> list[Term] | None:
    """A number of molecules as a sum; draws stay as they are written, which tells whether two are one."""
    if not ratelaw.has_draws(formula):
        whole = resolve(formula)
        if isinstance(whole, Number):
            return [(int(whole.value), ONE)] if whole.value.is_integer() and abs(whole.value) < MOST else None
        return [(1, whole)] if is_whole(whole, counts) else None
    assert isinstance(formula, Apply)
    if formula.op in ratelaw.DRAWS:
        return [(1, formula)]
    factor, summands = 1, formula.args
    if formula.op == "neg":
        factor = -1
    elif formula.op == "*":
        others = resolve(Apply("*", tuple(arg for arg in formula.args if not ratelaw.has_draws(arg))))
        if not isinstance(others, Number) or not others.value.is_integer() or abs(others.value) >= MOST:
            return None
        factor, summands = int(others.value), tuple(arg for arg in formula.args if ratelaw.has_draws(arg))
    found: list[Term] = []
    for summand in summands:
        parts = _terms(summand, resolve, counts)
        if parts is None:
            return None
        found += [(factor * each, part) for each, part in parts]
    return [(each, part) for each, part in found if each]


def _resolved(part: Expr, resolve: Callable[[Expr], Expr]) -> Expr:
    if isinstance(part, Apply) and part.op in ratelaw.DRAWS:
        return Apply(part.op, tuple(map(resolve, part.args)))
    return part


def is_whole(formula: Expr, counts: set[str]) -> bool:
    """Is a resolved formula sure to be a whole number, as it is written?"""
    if isinstance(formula, Number):
        return formula.value.is_integer()
    if isinstance(formula, Symbol):
        return formula.name in counts
    if formula.op in _ALWAYS_WHOLE:
        return True
    if formula.op == "^":
        return isinstance(formula.args[1], Number) and formula.args[1].value >= 0 and all(is_whole(arg, counts) for arg in formula.args)
    values = (*formula.args[0:-1:2], formula.args[-1]) if formula.op == "piecewise" else formula.args
    return formula.op in _KEEP_WHOLE and all(is_whole(arg, counts) for arg in values)


# ------------------------------------------------------------------------------------------------------------ checks


def problems(reactants: Side, products: Side) -> list[str]:
    """What is wrong with the draws of a reaction, as sentences that begin with a verb."""
    found = [what for _, n in (*reactants, *products) if not isinstance(n, int) for what in _wrong_draws(n)]
    left, right = ([draw for _, n in side if not isinstance(n, int) for draw in ratelaw.draws_in(n)] for side in (reactants, products))
    for draw in dict.fromkeys(left):
        if left.count(draw) > 1 and draw in right:
            what = "takes two numbers that are drawn alike, and makes a third, which would be one of the two"
            found.append(f"{what}: write the {draw.op}() that is meant in another way, or make two reactions of it")
    return found


def _wrong_draws(formula: Expr) -> list[str]:
    draws = ratelaw.draws_in(formula)
    for draw in draws:
        if draw.op not in DRAWN:
            return [f"draws a number of molecules from {draw.op}(); draw it from {', '.join(sorted(DRAWN))}"]
        if len(draw.args) != DRAWN[draw.op]:
            return [f"draws a number of molecules from {draw.op}() between bounds; leave those out"]
        if any(map(ratelaw.has_draws, draw.args)):
            return [f"draws a number of molecules from {draw.op}() with a parameter that is drawn; give the law of the number itself"]
    if draws and not _is_sum(formula):
        return ["takes a drawn number into a formula; it can only be added, subtracted and multiplied by a whole number"]
    return []


def _is_sum(formula: Expr) -> bool:
    if not isinstance(formula, Apply) or formula.op in ratelaw.DRAWS or not ratelaw.has_draws(formula):
        return True
    alone = formula.op in ("+", "neg") or (formula.op == "*" and sum(map(ratelaw.has_draws, formula.args)) == 1)
    return alone and all(map(_is_sum, formula.args))


# ------------------------------------------------------------------------------------------------------------- means


def mean(formula: Expr) -> Expr:
    """A number of molecules with means in place of draws: m for geometric(m) and poisson(m), p for bernoulli(p), n p for binomial(n, p)."""
    if not isinstance(formula, Apply) or not ratelaw.has_draws(formula):
        return formula
    if formula.op == "binomial":
        return Apply("*", formula.args)
    if formula.op in DRAWN:
        return formula.args[0]
    return ratelaw.flat(formula.op, tuple(map(mean, formula.args)))
