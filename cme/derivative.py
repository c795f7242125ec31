"""The derivative of a rate law, as a formula."""

from cme.errors import ModelError
from cme.infix import parse, shorten, to_infix
from cme.ratelaw import MAX_SIZE, ONE, ZERO, Apply, Expr, Number, Symbol, names, product_of, simplify, substitute, sum_of

_D = {  # derivative of an elementary function, written with x for its argument
    "exp": "exp(x)", "ln": "1/x", "log10": "1/(x*ln(10))", "sqrt": "1/(2*sqrt(x))",
    "abs": "piecewise(1, x > 0, -1, x < 0, 0)", "floor": "0", "ceil": "0", "not": "0",
    "sin": "cos(x)", "cos": "-sin(x)", "tan": "1/cos(x)^2", "asin": "1/sqrt(1-x^2)", "acos": "-1/sqrt(1-x^2)", "atan": "1/(1+x^2)",
    "sinh": "cosh(x)", "cosh": "sinh(x)", "tanh": "1/cosh(x)^2",
    "asinh": "1/sqrt(x^2+1)", "acosh": "1/sqrt(x^2-1)", "atanh": "1/(1-x^2)",
}  # fmt: skip


def differentiate(expr: Expr, name: str) -> Expr:
    """The derivative with respect to one symbol, simplified. Steps and comparisons have derivative zero off their jumps.

    Examples
    --------
    >>> from cme.infix import parse, to_infix
    >>> to_infix(differentiate(parse("k/(K + X)^2"), "X"))
    '-(2*k*(K + X))/((K + X)^2)^2'
    """
    return simplify(_differentiate(expr, name))


def _differentiate(expr: Expr, name: str) -> Expr:
    if isinstance(expr, Symbol):
        return ONE if expr.name == name else ZERO
    if isinstance(expr, Number) or name not in names(expr):
        return ZERO
    op, args = expr.op, expr.args
    if op in ("<", "<=", ">", ">=", "==", "!=", "and", "or", "xor", "not"):
        return ZERO
    if op == "piecewise":
        return Apply(op, tuple(arg if i % 2 and i < len(args) - 1 else _differentiate(arg, name) for i, arg in enumerate(args)))
    d = [simplify(_differentiate(arg, name)) for arg in args]
    if op == "+":
        return sum_of(simplify(term) for term in d)
    if op == "neg":
        return Apply("neg", (d[0],))
    if op == "*":
        moving = [i for i, di in enumerate(d) if di != ZERO]
        if len(moving) * len(args) > MAX_SIZE:  # before the memory goes
            raise ModelError(f"the derivative of a product of {len(args)} factors has more than {MAX_SIZE} terms; write powers of fewer")
        return sum_of(product_of((*args[:i], d[i], *args[i + 1 :])) for i in moving)
    if op == "/":
        top = sum_of((product_of((simplify(d[0]), args[1])), simplify(Apply("neg", (product_of((args[0], simplify(d[1]))),)))))
        return Apply("/", (top, Apply("^", (args[1], Number(2.0)))))
    if op == "^":
        base, exponent = args
        falling = product_of((exponent, simplify(Apply("^", (base, simplify(sum_of((exponent, Number(-1.0))))))), simplify(d[0])))
        if name not in names(exponent):
            return falling
        return sum_of((falling, product_of((expr, Apply("ln", (base,)), simplify(d[1])))))
    if op in ("min", "max"):
        return _differentiate_extreme(op, args, name)
    if op == "rem":
        whole = Apply("/", (Apply("+", (args[0], Apply("neg", (expr,)))), args[1]))
        return sum_of((d[0], Apply("neg", (product_of((whole, d[1])),))))
    if op in _D:
        return product_of((substitute(parse(_D[op]), {"x": args[0]}), simplify(d[0])))
    raise ModelError(f"{op}() has no derivative here; the continuum solvers can't take the formula {shorten(to_infix(expr))}")


def _differentiate_extreme(op: str, args: tuple[Expr, ...], name: str) -> Expr:
    result, best = _differentiate(args[0], name), args[0]
    for arg in args[1:]:
        wins = Apply("<" if op == "min" else ">", (arg, best))
        result = Apply("piecewise", (_differentiate(arg, name), wins, result))
        best = Apply(op, (best, arg))
    return result
