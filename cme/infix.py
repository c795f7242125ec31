"""Formulas as text: SBML Level 3 infix (`^` and `**` both mean power, `log` is log10, `ln` is natural), read and written.

Nothing is ever handed to Python's own evaluator, and the reader refuses text that is nested more than `MAX_DEPTH` levels deep.
"""

import math
import re
from collections.abc import Callable, Mapping

from cme.errors import ModelError
from cme.ratelaw import MAX_DEPTH, MAX_SIZE, Apply, Expr, Number, Symbol, call, flat

MAX_NAME = 1000  # characters

# ----------------------------------------------------------------------------------------------------------- reading

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<op>\*\*|<=|>=|==|!=|&&|\|\||[-+*/%^()<>!,]))"
)
_BINARY = {
    "||": (2, "or"), "&&": (2, "and"), "or": (2, "or"), "and": (2, "and"),  # of one level, from left to right, as in SBML Level 3
    "<": (3, "<"), "<=": (3, "<="), ">": (3, ">"), ">=": (3, ">="), "==": (3, "=="), "!=": (3, "!="),
    "+": (4, "+"), "-": (4, "-"), "*": (5, "*"), "/": (5, "/"), "%": (5, "rem"), "^": (7, "^"), "**": (7, "^"),
}  # fmt: skip


def parse(text: str, functions: Mapping[str, Callable[[list[Expr]], Expr]] | None = None) -> Expr:
    """Parse a formula in SBML Level 3 infix. `and`, `or` and `not` may be written as words.

    Parameters
    ----------
    text
        The formula.
    functions
        What else may be called, by name: each makes an expression of its arguments.

    Raises
    ------
    ModelError
        If the text is no formula, is nested more than `MAX_DEPTH` levels deep or has more than `MAX_SIZE` terms; the message shows the
        place.

    Examples
    --------
    >>> to_infix(parse("k*X*(X-1)/2"))
    'k*X*(X - 1)/2'
    """
    return _Parser(text, functions or {}).whole()


class _Parser:
    """Precedence climbing over a list of (kind, token, position)."""

    def __init__(self, text: str, functions: Mapping[str, Callable[[list[Expr]], Expr]]):
        self.text, self.functions, self.next, self.nesting = text, functions, 0, 0
        self.tokens: list[tuple[str, str, int]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                position = len(text) - len(text[position:].lstrip())
                raise self.error(f"unexpected {text[position]!r}", position)
            kind = match.lastgroup or "op"
            if kind == "name" and match.end() - match.start() > MAX_NAME:
                raise self.error(f"a name has more than {MAX_NAME} characters", match.start())
            self.tokens.append((kind, match[kind], match.start(kind)))
            if len(self.tokens) > 4 * MAX_SIZE:  # before the memory goes
                raise ModelError(
                    f"the formula {shorten(text[:200])!r} has more than {MAX_SIZE} terms; name its parts with assignment rules"
                )
            position = match.end()
        self.tokens.append(("end", "", end))

    def error(self, what: str, position: int) -> ModelError:
        near = self.text[max(0, position - 20) : position + 20].strip()
        return ModelError(f"cannot read the formula {shorten(self.text[:200])!r}: {what} at position {position + 1}, near {near!r}")

    def whole(self) -> Expr:
        if self.tokens[0][0] == "end":
            raise ModelError("a formula is empty")
        tree = self.expression(0)
        kind, token, position = self.tokens[self.next]
        if kind != "end":
            hint = "; write products with *" if kind in ("name", "number") or token == "(" else ""
            raise self.error(f"unexpected {token!r}{hint}", position)
        return tree

    def expression(self, lowest: int) -> Expr:
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            raise ModelError(f"the formula {shorten(self.text[:200])!r} is nested more than {MAX_DEPTH} levels deep")
        left, chain, chained, worded = self.operand(), list[Expr](), "", False
        while (entry := _BINARY.get(self.tokens[self.next][1])) and entry[0] >= max(lowest, 1):
            level, op = entry
            kind, _, position = self.tokens[self.next]
            if level == 2:
                worded = worded or kind == "name"
                if worded and chained in ("and", "or") and op != chained:  # in other languages 'and' binds tighter than 'or'
                    raise self.error("'and' and 'or' need parentheses where they meet", position)
            self.next += 1
            right = self.expression(6 if op == "^" else level + 1)  # power associates to the right, and 2^-x is allowed
            if level == 3 and self.tokens[self.next][1] in ("<", "<=", ">", ">=", "==", "!="):
                raise self.error("comparisons can't be chained; join them with &&", position)
            if op == "-":
                op, right = "+", Apply("neg", (right,))
            if op != chained:  # a chain of + or * becomes one node with many arguments
                left, chain, chained = _end(chained, left, chain), [], op
            chain.append(right)
        self.nesting -= 1
        return _end(chained, left, chain)

    def operand(self) -> Expr:
        kind, token, position = self.tokens[self.next]
        self.next += 1
        if kind == "number":
            if math.isinf(float(token)):
                raise self.error(f"the number {shorten(token, 20)} is too large", position)
            return Number(float(token))
        if kind == "name":
            if self.tokens[self.next][1] == "(":
                self.next += 1
                arguments = self.arguments(position)
                return self.functions[token](arguments) if token in self.functions else call(token, arguments)
            if token == "not" and self.tokens[self.next][0] in ("name", "number") and self.tokens[self.next][1] not in ("and", "or"):
                return Apply("not", (self.expression(3),))  # as a word it stands before a whole comparison
            return Symbol(token)
        if token == "(":
            tree = self.expression(0)
            self.expect(")", position)
            return tree
        if token in ("-", "+", "!"):
            inner = self.expression(6)
            if token == "+":
                return inner
            if token == "-" and isinstance(inner, Number) and self.tokens[self.next - 1][0] == "number":
                return Number(-inner.value)
            return Apply("neg" if token == "-" else "not", (inner,))
        raise self.error("the formula ends too early" if kind == "end" else f"unexpected {token!r}", position)

    def arguments(self, opened: int) -> list[Expr]:
        if self.tokens[self.next][1] == ")":
            self.next += 1
            return []
        found = [self.expression(0)]
        while self.tokens[self.next][1] == ",":
            self.next += 1
            found.append(self.expression(0))
        self.expect(")", opened)
        return found

    def expect(self, token: str, opened: int) -> None:
        if self.tokens[self.next][1] != token:
            raise self.error("a parenthesis is not closed", opened)
        self.next += 1


def _end(op: str, left: Expr, chain: list[Expr]) -> Expr:
    """Close a chain of operands; operators that take two bind from the left."""
    if op in ("+", "*", "and", "or"):
        return flat(op, (left, *chain))
    for right in chain:
        left = Apply(op, (left, right))
    return left


def shorten(text: str, width: int = 60) -> str:
    """Cut a formula to the width of a message."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."


# ----------------------------------------------------------------------------------------------------------- writing

_LEVEL = {"or": 2, "and": 2, "<": 3, "<=": 3, ">": 3, ">=": 3, "==": 3, "!=": 3, "+": 4, "*": 5, "/": 5, "neg": 6, "not": 6, "^": 7}
_SIGN = {"or": " || ", "and": " && ", "*": "*", "/": "/", "^": "^"}


def to_infix(expr: Expr) -> str:
    """Write an expression in SBML Level 3 infix; `parse` reads it back as the same tree."""
    return _write(expr)[0]


def _write(expr: Expr) -> tuple[str, int]:
    if isinstance(expr, Number):
        return format_number(expr.value), 8 if expr.value >= 0 or math.isnan(expr.value) else 6
    if isinstance(expr, Symbol):
        return expr.name, 8
    op, level = expr.op, _LEVEL.get(expr.op, 8)
    if level == 8 or (len(expr.args) == 1 and op not in ("neg", "not")):
        name, args = {"+": "plus", "*": "times"}.get(op, op), expr.args
        if op == "piecewise" and isinstance(args[-1], Number) and math.isnan(args[-1].value):
            args = args[:-1]  # the reader puts it back
        return f"{name}({', '.join(to_infix(arg) for arg in args)})", 8
    if op in ("neg", "not"):
        return ("-" if op == "neg" else "!") + _inside(expr.args[0], 7 if isinstance(expr.args[0], Apply) else 9), 6
    if op == "^":
        return f"{_inside(expr.args[0], 8)}^{_inside(expr.args[1], 6)}", 7
    text = _inside(expr.args[0], level if level != 3 else 4)
    for arg in expr.args[1:]:
        if op == "+" and isinstance(arg, Apply) and arg.op == "neg":
            text += " - " + _inside(arg.args[0], 5)
        elif op == "+":
            text += " + " + _inside(arg, 5)
        else:
            text += _SIGN.get(op, f" {op} ") + _inside(arg, level + 1)
    return text, level


def _inside(expr: Expr, least: int) -> str:
    text, level = _write(expr)
    if isinstance(expr, Symbol):
        return text
    return text if level >= least else f"({text})"


def format_number(value: float) -> str:
    """Write a number so that it reads back exactly, whole numbers without a point."""
    if math.isnan(value):
        return "notanumber"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))
