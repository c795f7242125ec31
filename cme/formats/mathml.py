"""Formulas of SBML: libsbml's trees to `cme.ratelaw`, and back to MathML text."""

import math
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

from cme import infix, ratelaw
from cme.errors import ModelError
from cme.ratelaw import MAX_DEPTH, Apply, Expr, Number, Symbol

Functions = Callable[[str, tuple[Expr, ...]], Expr]
AVOGADRO = 6.02214179e23  # as SBML Level 3 fixes it


def read(node: Any, scope: Mapping[str, Expr], functions: Functions, time: Expr, hidden: Collection[str] = ()) -> Expr:
    """Turn a libsbml tree into an expression. What is still open in it are nodes `rateOf`, whose argument is a formula.

    Parameters
    ----------
    node
        A ``libsbml.ASTNode``.
    scope
        What each identifier stands for.
    functions
        Applies a function definition to its arguments.
    time
        What the csymbol for the time stands for.
    hidden
        Names of constants, such as pi, that the model uses for something else; the constants are then read as numbers.

    Raises
    ------
    ModelError
        If the formula uses an identifier that is not in scope, a construct without a counterpart, or is nested too deeply.
    """
    return _Reading(scope, functions, time, hidden).read(node, 1)


class _Reading:
    """One formula on its way from libsbml's tree to an expression."""

    def __init__(self, scope: Mapping[str, Expr], functions: Functions, time: Expr, hidden: Collection[str]):
        self.scope, self.functions, self.time, self.hidden = scope, functions, time, hidden

    def read(self, node: Any, depth: int) -> Expr:
        if depth > MAX_DEPTH:
            raise ModelError(f"a formula is nested more than {MAX_DEPTH} levels deep; name its parts with assignment rules")
        kinds, kind = _kinds(), node.getType()
        if node.isNumber():
            return Number(_number(node, kinds))
        if kind == kinds.NAME:
            if node.getName() not in self.scope:
                raise ModelError(f"{node.getName()!r} is not defined")
            return self.scope[node.getName()]
        if kind == kinds.TIME:
            return self.time
        if kind == kinds.AVOGADRO:
            return Number(AVOGADRO)
        if kind in kinds.constants:
            name = kinds.constants[kind]
            return Number(ratelaw.CONSTANTS[name]) if name in self.hidden else Symbol(name)
        if kinds.is_link(node):
            return self.chain(node, depth)
        args = tuple(self.read(child, depth + 1) for child in _children(node))
        if kind == kinds.FUNCTION:
            return self.functions(node.getName(), args)
        if kind == kinds.RATE_OF:
            return _rate_of(args)
        if kind not in kinds.operators:
            raise ModelError(kinds.refused.get(kind) or f"{node.getName() or 'an operator'}() is not supported")
        return _apply(kinds.operators[kind], args)

    def chain(self, node: Any, depth: int) -> Expr:
        """Read a + b - c + ..., which many tools nest to the left, as one node with many arguments."""
        kinds = _kinds()
        family = kinds.chains[node.getType()]
        tail: list[tuple[Any, bool]] = []
        while kinds.is_link(node) and kinds.chains[node.getType()] == family:
            minus = node.getType() == kinds.MINUS
            node, *others = _children(node)
            tail += [(child, minus) for child in reversed(others)]
        args = [self.read(node, depth + 1)]
        for child, minus in reversed(tail):
            arg = self.read(child, depth + 1)
            args.append(Apply("neg", (arg,)) if minus else arg)
        return ratelaw.call(family, args)


def _children(node: Any) -> list[Any]:
    """All children. libsbml walks to a child from the first one; so that this stays linear, each is taken from the front to the end."""
    count = node.getNumChildren()
    if count <= 100:
        return [node.getChild(i) for i in range(count)]
    found = []
    for _ in range(count):
        found.append(node.getChild(0))
        node.removeChild(0)
        node.addChild(found[-1])
    return found


def _rate_of(args: tuple[Expr, ...]) -> Expr:
    if len(args) != 1 or isinstance(args[0], Number):
        raise ModelError("rateOf() takes the name of one thing that has a value")
    return Apply("rateOf", args)


def _apply(name: str, args: tuple[Expr, ...]) -> Expr:
    chained = name in ("<", "<=", ">", ">=", "==") and len(args) > 2  # a < b < c
    if (chained or name == "quotient") and any(map(ratelaw.has_draws, args)):  # would be drawn twice
        raise ModelError(f"{name} of a random number is not supported; set a parameter to the random number, and use that")
    if chained:
        return ratelaw.call("and", [Apply(name, pair) for pair in pairwise(args)])
    if name == "minus" and args in ((Number(math.inf),), (Number(-math.inf),)):
        return Number(-args[0].value)
    if name == "log" and args[0] == Number(10.0):
        return Apply("log10", args[1:])
    if name == "root" and args[0] == Number(2.0):
        return Apply("sqrt", args[1:])
    return ratelaw.call(name, args)


def _number(node: Any, kinds: "_Kinds") -> float:
    if node.getType() == kinds.REAL_E and math.isfinite(node.getMantissa()):
        # libsbml multiplies by a power of ten, which costs the last digit
        mantissa, _, shift = repr(node.getMantissa()).partition("e")
        return float(f"{mantissa}e{node.getExponent() + int(shift or 0)}")
    if node.getType() == kinds.INTEGER:
        return float(node.getInteger())
    value = float(node.getReal())
    return math.nan if math.isnan(value) else value  # one nan, which equals itself


class _Kinds:
    """libsbml's node types, looked up once (libsbml is loaded only when SBML is read)."""

    def __init__(self):
        import libsbml

        self.NAME, self.FUNCTION, self.MINUS = libsbml.AST_NAME, libsbml.AST_FUNCTION, libsbml.AST_MINUS
        self.INTEGER, self.REAL_E = libsbml.AST_INTEGER, libsbml.AST_REAL_E
        self.TIME, self.AVOGADRO = libsbml.AST_NAME_TIME, libsbml.AST_NAME_AVOGADRO
        self.RATE_OF = libsbml.AST_FUNCTION_RATE_OF
        self.constants = {
            libsbml.AST_CONSTANT_PI: "pi", libsbml.AST_CONSTANT_E: "exponentiale",
            libsbml.AST_CONSTANT_TRUE: "true", libsbml.AST_CONSTANT_FALSE: "false",
        }  # fmt: skip
        self.chains = {
            libsbml.AST_PLUS: "+", libsbml.AST_MINUS: "+", libsbml.AST_TIMES: "*",
            libsbml.AST_LOGICAL_AND: "and", libsbml.AST_LOGICAL_OR: "or",
        }  # fmt: skip
        functions = (
            "abs arccos arccosh arccot arccoth arccsc arccsch arcsec arcsech arcsin arcsinh arctan arctanh ceiling cos cosh cot coth "
            "csc csch exp factorial floor ln log max min piecewise quotient rem root sec sech sin sinh tan tanh"
        )
        self.operators = {
            **self.chains, libsbml.AST_MINUS: "minus", libsbml.AST_DIVIDE: "/",
            libsbml.AST_POWER: "^", libsbml.AST_FUNCTION_POWER: "^",
            libsbml.AST_LOGICAL_NOT: "not", libsbml.AST_LOGICAL_XOR: "xor", libsbml.AST_LOGICAL_IMPLIES: "implies",
            libsbml.AST_RELATIONAL_LT: "<", libsbml.AST_RELATIONAL_LEQ: "<=", libsbml.AST_RELATIONAL_GT: ">",
            libsbml.AST_RELATIONAL_GEQ: ">=", libsbml.AST_RELATIONAL_EQ: "==", libsbml.AST_RELATIONAL_NEQ: "!=",
            **{getattr(libsbml, f"AST_FUNCTION_{name.upper()}"): name for name in functions.split()},
            **{getattr(libsbml, f"AST_DISTRIB_FUNCTION_{name.upper()}"): name for name in ratelaw.DRAWS if name not in ratelaw.OWN_DRAWS},
        }  # fmt: skip
        self.refused = {
            libsbml.AST_FUNCTION_DELAY: "delay() is not supported, since the state would need a memory; write the delay with an event or "
            "a chain of steps"
        }

    def is_link(self, node: Any) -> bool:
        """A sum, difference, product, conjunction or disjunction of at least two."""
        count = node.getNumChildren()
        return node.getType() in self.chains and (count == 2 or (count > 2 and node.getType() != self.MINUS))


@cache
def _kinds() -> _Kinds:
    return _Kinds()


# ----------------------------------------------------------------------------------------------------------- writing

_TAGS = {
    "+": "plus", "*": "times", "/": "divide", "^": "power", "neg": "minus", "ceil": "ceiling", "log10": "log", "sqrt": "root",
    "<": "lt", "<=": "leq", ">": "gt", ">=": "geq", "==": "eq", "!=": "neq",
    **{name: "arc" + name[1:] for name in "asin acos atan asinh acosh atanh".split()},
}  # fmt: skip
_CONSTANT_TAGS = {
    "pi": "pi", "exponentiale": "exponentiale", "true": "true", "false": "false",
    "infinity": "infinity", "inf": "infinity", "notanumber": "notanumber", "nan": "notanumber",
}  # fmt: skip


def write(expr: Expr, defined: Collection[str]) -> str:
    """Write an expression as the inside of a MathML ``math`` element.

    `defined` holds the names that the model defines; they hide constants of the same name, such as pi.
    """
    if isinstance(expr, Number):
        return _write_number(expr.value)
    if isinstance(expr, Symbol):
        if expr.name not in defined and expr.name in _CONSTANT_TAGS:
            return f"<{_CONSTANT_TAGS[expr.name]}/>"
        if expr.name not in defined and expr.name == ratelaw.TIME:
            return _csymbol("time", "time")
        return f"<ci>{expr.name}</ci>"
    if expr.op in ratelaw.OWN_DRAWS:
        mean = infix.to_infix(expr.args[0])
        raise ModelError(f"SBML has no distribution {expr.op}(); write poisson(exponential(1/({mean}))), a Poisson law with a random mean")
    parts = [write(arg, defined) for arg in expr.args]
    if expr.op in ratelaw.DRAWS:
        return f"<apply>{_csymbol(f'distrib/{expr.op}', expr.op)}{''.join(parts)}</apply>"
    if expr.op == "piecewise":
        pieces = [f"<piece>{value}{condition}</piece>" for value, condition in zip(parts[0:-1:2], parts[1:-1:2], strict=True)]
        last = expr.args[-1]
        otherwise = "" if isinstance(last, Number) and math.isnan(last.value) else f"<otherwise>{parts[-1]}</otherwise>"
        return f"<piecewise>{''.join(pieces)}{otherwise}</piecewise>"
    if expr.op == "+" and len(expr.args) == 2 and isinstance(expr.args[1], Apply) and expr.args[1].op == "neg":
        return f"<apply><minus/>{parts[0]}{write(expr.args[1].args[0], defined)}</apply>"
    return f"<apply><{_TAGS.get(expr.op, expr.op)}/>{''.join(parts)}</apply>"


def _csymbol(address: str, text: str) -> str:
    return f'<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/{address}">{text}</csymbol>'


def _write_number(value: float) -> str:
    if math.isnan(value):
        return "<notanumber/>"
    if math.isinf(value):
        return "<infinity/>" if value > 0 else "<apply><minus/><infinity/></apply>"
    # All digits and no exponent: an exponent is read back through a product, which costs the last digit in other tools.
    return f"<cn>{infix.format_number(value) if value.is_integer() and abs(value) < 1e15 else format(Decimal(repr(value)), 'f')}</cn>"
