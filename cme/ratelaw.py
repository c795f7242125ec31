"""Kinetic-law expressions as trees of three immutable nodes, `Number`, `Symbol` and `Apply`: build, evaluate, simplify.

No tree can be deeper than `MAX_DEPTH` or larger than `MAX_SIZE`: the constructor of `Apply` refuses it. `cme.infix` reads and writes
them as text.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cme.errors import ModelError

MAX_DEPTH = 200
MAX_SIZE = 100_000


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator or function of `OPERATORS` applied to its arguments."""

    op: str
    args: tuple["Expr", ...]
    depth: int = field(init=False, compare=False, repr=False)
    size: int = field(init=False, compare=False, repr=False)

    def __post_init__(self):
        depth = 1 + max((_depth(arg) for arg in self.args), default=0)
        total = 1 + sum(size(arg) for arg in self.args)
        if depth > MAX_DEPTH:
            raise ModelError(f"a formula is nested more than {MAX_DEPTH} levels deep; name its parts with assignment rules")
        if total > MAX_SIZE:
            raise ModelError(f"a formula has more than {MAX_SIZE} terms once functions and rules are filled in")
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "size", total)


Expr = Number | Symbol | Apply

# The functions a user may write, with the least and largest number of arguments (None: any).
_ELEMENTARY = (
    "exp ln log10 sqrt abs floor ceil factorial "
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh"
).split()  # fmt: skip
OPERATORS: Mapping[str, tuple[int, int | None]] = (
    dict.fromkeys([*_ELEMENTARY, "neg", "not", "now"], (1, 1))
    | dict.fromkeys(["/", "^", "rem", "<", "<=", ">", ">=", "==", "!="], (2, 2))
    | dict.fromkeys(["+", "*", "min", "max", "and", "or", "xor", "piecewise"], (1, None))
)
# Random numbers (those of the SBML package distrib, and our own): how many arguments each may have. The two last bounds, where there are
# two more than it needs, truncate it. A location that is left out is 0.
DRAWS: Mapping[str, tuple[int, ...]] = {
    "normal": (2, 4), "uniform": (2,), "bernoulli": (1,), "binomial": (2, 4), "cauchy": (1, 2, 4), "chisquare": (1, 3),
    "exponential": (1, 3), "gamma": (2, 4), "laplace": (1, 2, 4), "lognormal": (2, 4), "poisson": (1, 3), "rayleigh": (1, 3),
    "geometric": (1, 3),
}  # fmt: skip
OWN_DRAWS = {"geometric"}  # which SBML has not: on 0, 1, 2, ... with the given mean
TIME = "time"  # the symbol of the model's time, where it is not the name of something else
CONSTANTS = {
    "pi": math.pi, "exponentiale": math.e, "true": 1.0, "false": 0.0,
    "infinity": math.inf, "inf": math.inf, "notanumber": math.nan, "nan": math.nan,
}  # fmt: skip
_ALIASES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "ceiling": "ceil", "plus": "+", "times": "*", "divide": "/", "power": "^", "pow": "^",
    "lt": "<", "leq": "<=", "gt": ">", "geq": ">=", "eq": "==", "neq": "!=",
}  # fmt: skip
ONE, ZERO = Number(1.0), Number(0.0)


def _depth(expr: Expr) -> int:
    return expr.depth if isinstance(expr, Apply) else 0


def size(expr: Expr) -> int:
    """The number of numbers, symbols and operators in an expression."""
    return expr.size if isinstance(expr, Apply) else 1


# ---------------------------------------------------------------------------------------------------------- building


def call(name: str, args: Iterable[Expr]) -> Expr:
    """Apply a function by any of its SBML names, writing derived functions (`sec`, `root`, ...) with the basic ones."""
    args = tuple(args)
    name = _ALIASES.get(name, name)
    if name in ("+", "*") and not args:
        return ZERO if name == "+" else ONE
    if name in ("and", "or", "xor") and not args:
        return ONE if name == "and" else ZERO
    if name in OPERATORS:
        least, most = OPERATORS[name]
        if len(args) < least or (most is not None and len(args) > most):
            wanted = f"{least}" if most == least else f"at least {least}"
            raise ModelError(f"function {name} takes {wanted} argument{'s' if wanted != '1' else ''}, not {len(args)}")
        if name == "piecewise" and len(args) % 2 == 0:
            args += (Number(math.nan),)  # no piece holds and there is no otherwise: undefined, as in SBML
        return flat(name, args)
    if name in DRAWS:
        if len(args) not in DRAWS[name]:
            raise ModelError(f"function {name} takes {' or '.join(map(str, DRAWS[name]))} arguments, not {len(args)}")
        return Apply(name, args)
    if name in _DERIVED:
        counts, write = _DERIVED[name]
        if len(args) not in counts:
            raise ModelError(f"function {name} takes {' or '.join(map(str, counts))} arguments, not {len(args)}")
        return write(*args)
    raise ModelError(
        f"there is no function {name!r}; known are {', '.join(sorted([*_ELEMENTARY, *_DERIVED, *DRAWS]))}, piecewise, min, max"
    )


def flat(op: str, args: tuple[Expr, ...]) -> Expr:
    """Apply an operator; (a + b) + c is one sum of three, so that a long sum is not a deep tree and has one way to be written."""
    first = args[0] if args else None
    if op in ("+", "*", "and", "or") and isinstance(first, Apply) and first.op == op:
        args = (*first.args, *args[1:])
    return Apply(op, args)


_DERIVED: dict[str, tuple[tuple[int, ...], Callable[..., Expr]]] = {
    "minus": ((1, 2), lambda a, b=None: Apply("neg", (a,)) if b is None else flat("+", (a, Apply("neg", (b,))))),
    "sqr": ((1,), lambda x: Apply("^", (x, Number(2.0)))),
    "root": ((1, 2), lambda n, x=None: Apply("sqrt", (n,)) if x is None else Apply("^", (x, Apply("/", (ONE, n))))),
    "log": ((1, 2), lambda b, x=None: Apply("log10", (b,)) if x is None else Apply("/", (Apply("ln", (x,)), Apply("ln", (b,))))),
    "quotient": ((2,), lambda a, b: Apply("/", (Apply("+", (a, Apply("neg", (Apply("rem", (a, b)),)))), b))),
    "implies": ((2,), lambda a, b: Apply("or", (Apply("not", (a,)), b))),
    **{
        name: ((1,), lambda x, op=op: Apply("/", (ONE, Apply(op, (x,)))))
        for name, op in [("sec", "cos"), ("csc", "sin"), ("cot", "tan"), ("sech", "cosh"), ("csch", "sinh"), ("coth", "tanh")]
    },
    **{
        name: ((1,), lambda x, op=op: Apply(op, (Apply("/", (ONE, x)),)))
        for stem, op in [("sec", "acos"), ("csc", "asin"), ("cot", "atan"), ("sech", "acosh"), ("csch", "asinh"), ("coth", "atanh")]
        for name in ("arc" + stem, "a" + stem)
    },
}


# ---------------------------------------------------------------------------------------------------- names and values


def names(expr: Expr) -> set[str]:
    """All symbols in an expression."""
    if isinstance(expr, Symbol):
        return {expr.name}
    return set().union(*(names(arg) for arg in expr.args)) if isinstance(expr, Apply) else set()


def uses(expr: Expr, op: str) -> bool:
    """Is a function used in an expression?"""
    return isinstance(expr, Apply) and (expr.op == op or any(uses(arg, op) for arg in expr.args))


def has_draws(expr: Expr) -> bool:
    """Does an expression draw random numbers?"""
    return isinstance(expr, Apply) and (expr.op in DRAWS or any(has_draws(arg) for arg in expr.args))


def draws_in(expr: Expr) -> list[Apply]:
    """The random numbers in an expression, outer ones alone."""
    if not isinstance(expr, Apply):
        return []
    return [expr] if expr.op in DRAWS else [draw for arg in expr.args for draw in draws_in(arg)]


def substitute(expr: Expr, values: Mapping[str, Expr]) -> Expr:
    """Replace symbols by expressions, all at once."""
    if isinstance(expr, Symbol):
        return values.get(expr.name, expr)
    if isinstance(expr, Apply) and expr.args:
        return flat(expr.op, tuple(substitute(arg, values) for arg in expr.args))
    return expr


def _factorial(x):
    from scipy.special import gamma

    return gamma(np.asarray(x, dtype=float) + 1.0)


_UFUNC: dict[str, Callable] = {
    **{name: getattr(np, name) for name in "exp log10 sqrt abs floor ceil sin cos tan sinh cosh tanh".split()},
    **{name: getattr(np, "arc" + name[1:]) for name in "asin acos atan asinh acosh atanh".split()},
    "ln": np.log, "factorial": _factorial, "neg": np.negative, "now": np.positive, "/": np.true_divide, "^": np.power, "rem": np.fmod,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
    "not": lambda x: x == 0, "and": lambda a, b: (a != 0) & (b != 0), "or": lambda a, b: (a != 0) | (b != 0),
    "xor": lambda a, b: (a != 0) ^ (b != 0), "+": np.add, "*": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def evaluate(expr: Expr, values: Mapping[str, np.ndarray | float]):
    """Evaluate an expression, vectorised over the arrays in `values` (which broadcast together).

    Division by zero and the like give inf or nan, as in IEEE arithmetic, without a warning: the caller knows the reaction and
    the state, and names them.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        return _evaluate(expr, values)


def _evaluate(expr: Expr, values):
    if isinstance(expr, Number):
        return np.float64(expr.value)
    if isinstance(expr, Symbol):
        return np.asarray(values[expr.name], dtype=np.float64)
    args = [_evaluate(arg, values) for arg in expr.args]
    if expr.op == "piecewise":
        result = args[-1]
        for value, condition in reversed(list(zip(args[0:-1:2], args[1:-1:2], strict=True))):
            result = np.where(condition != 0, value, result)
        return result
    result, function = args[0], _UFUNC[expr.op]
    if OPERATORS[expr.op][1] == 1:
        result = function(result)
    else:
        for arg in args[1:]:
            result = function(result, arg)
    return np.asarray(result, dtype=np.float64)


def simplify(expr: Expr) -> Expr:
    """Fold constants and drop neutral terms: what is left is what a kernel must compute."""
    if not isinstance(expr, Apply):
        return expr
    args = tuple(simplify(arg) for arg in expr.args)
    if expr.op in DRAWS:
        return Apply(expr.op, args)
    if all(isinstance(arg, Number) for arg in args):
        return Number(float(evaluate(Apply(expr.op, args), {})))
    if expr.op == "+":
        return sum_of(args)
    if expr.op == "*":
        return product_of(args)
    if expr.op == "/" and args[1] == ONE:
        return args[0]
    if expr.op == "/" and isinstance(args[1], Number) and isinstance(args[0], Number) and args[0].value == 0 != args[1].value:
        return ZERO
    if expr.op == "^" and args[1] == ONE:
        return args[0]
    if expr.op == "^" and args[1] == ZERO:
        return ONE
    if expr.op == "neg" and isinstance(args[0], Apply) and args[0].op == "neg":
        return args[0].args[0]
    return Apply(expr.op, args)


def sum_of(args: Iterable[Expr]) -> Expr:
    """The sum of simplified terms, simplified."""
    constant, rest = 0.0, list[Expr]()
    for arg in args:
        for term in arg.args if isinstance(arg, Apply) and arg.op == "+" else (arg,):
            if isinstance(term, Number):
                constant += term.value
            else:
                rest.append(term)
    if constant or not rest:
        rest.append(Number(constant))
    return rest[0] if len(rest) == 1 else Apply("+", tuple(rest))


def product_of(args: Iterable[Expr]) -> Expr:
    """The product of simplified factors, simplified."""
    constant, rest = 1.0, list[Expr]()
    for arg in args:
        for term in arg.args if isinstance(arg, Apply) and arg.op == "*" else (arg,):
            if isinstance(term, Number):
                constant *= term.value
            else:
                rest.append(term)
    if constant == 0 or not rest:
        return Number(constant)
    if constant != 1.0:
        rest.insert(0, Number(constant))
    return rest[0] if len(rest) == 1 else Apply("*", tuple(rest))
