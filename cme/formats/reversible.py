"""A net flux as the difference of a forward and a backward propensity, where both can be shown to be at least zero."""

from collections.abc import Callable, Mapping
from itertools import product

from cme.ratelaw import ONE, ZERO, Apply, Expr, Number, Symbol, call

Terms = tuple[list[Expr], list[Expr]]  # what is added, and what is subtracted
MOST = 64  # terms; a law that multiplies out to more stays whole
DEEPEST = 50  # rules within rules
_POSITIVE = {"exp", "abs", "cosh", "sqrt", "acos", "<", "<=", ">", ">=", "==", "!=", "and", "or", "xor", "not"}
_SAME_SIGN = {"sinh", "tanh", "asinh", "asin", "atan", "floor", "ceil", "factorial"}


class Splitter:
    """Takes laws apart.

    Parameters
    ----------
    rules
        Assignment rules, which are looked into.
    is_nonnegative
        Can what has this name, and no rule, be shown to be at least zero?
    """

    def __init__(self, rules: Mapping[str, Expr], is_nonnegative: Callable[[str], bool]):
        self.rules, self.is_nonnegative = rules, is_nonnegative
        self.known_terms: dict[str, Terms | None] = {}
        self.known_signs: dict[str, bool] = {}

    def split(self, law: Expr) -> tuple[Expr, Expr] | None:
        """The forward and the backward propensity of a law, 0 for one that is missing; None if it is not clear that neither is negative.

        Products are multiplied out only where a factor is a difference; rules are filled in where they hold one. The factors X - 1,
        X - 2, ... beside X count molecules and are no differences. A law without a difference is all forward, whatever its sign.
        """
        terms = self.terms(law, 0)
        if terms is None:
            return None
        if not terms[1]:
            return law, ZERO
        if not all(self.at_least_zero(term, 0) for side in terms for term in side):
            return None
        return total(terms[0]), total(terms[1])

    # -------------------------------------------------------------------------------------------------------- terms

    def terms(self, expr: Expr, depth: int) -> Terms | None:
        """The terms that a law adds and those that it subtracts; None if there are too many."""
        if isinstance(expr, Number) and expr.value < 0:
            return [], [Number(-expr.value)]
        if isinstance(expr, Symbol) and expr.name in self.rules:
            return self.rule_terms(expr, depth)
        if not isinstance(expr, Apply) or expr.op not in ("+", "*", "/", "neg", "piecewise"):
            return [expr], []
        if expr.op == "neg":
            inner = self.terms(expr.args[0], depth)
            return None if inner is None else (inner[1], inner[0])
        if expr.op == "/":
            return self.quotient(expr, depth)
        args = expr.args[0::2] if expr.op == "piecewise" else expr.args
        found = [([arg], []) if expr.op == "*" and _is_falling(arg, args) else self.terms(arg, depth) for arg in args]
        known = [part for part in found if part is not None]
        if len(known) < len(found):
            return None
        if not any(part[1] for part in known):
            return [expr], []
        if expr.op == "+":
            count = sum(len(part[0]) + len(part[1]) for part in known)
            sums = [term for part in known for term in part[0]], [term for part in known for term in part[1]]
            return None if count > MOST else sums
        return _pieces(expr, known) if expr.op == "piecewise" else _multiplied(expr.args, known)

    def rule_terms(self, symbol: Symbol, depth: int) -> Terms | None:
        if symbol.name not in self.known_terms:
            if depth == DEEPEST:
                return None
            inside = self.terms(self.rules[symbol.name], depth + 1)
            self.known_terms[symbol.name] = ([symbol], []) if inside is not None and not inside[1] else inside
        return self.known_terms[symbol.name]

    def quotient(self, expr: Apply, depth: int) -> Terms | None:
        top, bottom = self.terms(expr.args[0], depth), expr.args[1]
        if top is None:
            return None
        if isinstance(bottom, Number) and bottom.value < 0:
            top, bottom = (top[1], top[0]), Number(-bottom.value)
        if not top[1] and bottom is expr.args[1]:
            return [expr], []
        return [Apply("/", (term, bottom)) for term in top[0]], [Apply("/", (term, bottom)) for term in top[1]]

    # -------------------------------------------------------------------------------------------------------- signs

    def at_least_zero(self, expr: Expr, depth: int) -> bool:
        if isinstance(expr, Number):
            return expr.value >= 0
        if isinstance(expr, Symbol):
            return self.name_at_least_zero(expr.name, depth)
        if expr.op in _POSITIVE:
            return True
        args = expr.args
        if expr.op == "*":
            args = tuple(arg for arg in args if not _is_falling(arg, expr.args))
        elif expr.op == "piecewise":
            args = args[0::2]
        elif expr.op == "max":
            return any(self.at_least_zero(arg, depth) for arg in args)
        elif expr.op == "^" and isinstance(args[1], Number) and args[1].value % 2 == 0:
            return True
        elif expr.op in ("^", "rem"):
            args = args[:1]
        elif expr.op not in ("+", "/", "min", *_SAME_SIGN):
            return False
        return all(self.at_least_zero(arg, depth) for arg in args)

    def name_at_least_zero(self, name: str, depth: int) -> bool:
        if name not in self.rules:
            return self.is_nonnegative(name)
        if name not in self.known_signs:
            self.known_signs[name] = depth < DEEPEST and self.at_least_zero(self.rules[name], depth + 1)
        return self.known_signs[name]


def total(terms: list[Expr]) -> Expr:
    return ZERO if not terms else terms[0] if len(terms) == 1 else Apply("+", tuple(terms))


def _multiplied(factors: tuple[Expr, ...], found_in: list[Terms]) -> Terms | None:
    choices = [
        [(term, 1) for term in part[0]] + [(term, -1) for term in part[1]] if part[1] else [(factor, 1)]
        for factor, part in zip(factors, found_in, strict=True)
    ]
    found: Terms = [], []
    for count, chosen in enumerate(product(*choices), 1):
        if count > MOST:
            return None
        sign, kept = 1, list[Expr]()
        for term, s in chosen:
            sign *= s
            if term != ONE:
                kept.append(term)
        found[sign < 0].append(call("*", kept) if len(kept) != 1 else kept[0])
    return found


def _pieces(expr: Apply, found: list[Terms]) -> Terms:
    made: Terms = [], []
    for side in (0, 1):
        args = list(expr.args)
        args[0::2] = [total(part[side]) for part in found]
        if any(value != ZERO for value in args[0::2]):
            made[side].append(Apply("piecewise", tuple(args)))
    return made


def _is_falling(factor: Expr, factors: tuple[Expr, ...]) -> bool:
    """X - n where X, X - 1, ..., X - n + 1 are factors too: a number of ways to choose molecules, never negative on whole numbers."""
    fallen = _fallen(factor)
    if fallen is None:
        return False
    others = [found for found in map(_fallen, factors) if found is not None]
    return fallen[0] in factors and all((fallen[0], j) in others for j in range(1, fallen[1]))


def _fallen(expr: Expr) -> tuple[Expr, int] | None:
    if not isinstance(expr, Apply) or expr.op != "+" or len(expr.args) != 2:
        return None
    last = expr.args[1]
    value = last.value if isinstance(last, Number) else 0.0
    if isinstance(last, Apply) and last.op == "neg" and isinstance(last.args[0], Number):
        value = -last.args[0].value
    return (expr.args[0], int(-value)) if -100 < value < 0 and value.is_integer() else None
