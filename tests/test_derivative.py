"""Derivatives of rate laws. Twin: sympy."""

import pytest

from cme.derivative import differentiate
from cme.errors import ModelError
from cme.infix import parse
from cme.ratelaw import evaluate

HERE = {"x": 1.3, "y": 0.7, "z": 2.9}


@pytest.mark.parametrize(
    "text",
    [
        "k*x*(x - 1)/2", "x^2.5/(y^2.5 + x^2.5)", "exp(-x/y)*sin(x*y)", "sqrt(x + y^2)", "ln(x)/log10(y + 3)", "x^y", "2^x", "-x/-y",
        "tan(x) + cos(y)*atan(x)", "asin(x/5) - acos(x/6)", "sinh(x)*cosh(x)/tanh(x + 1)", "asinh(x) + acosh(x + 1) + atanh(x/9)",
        "abs(x - 5)", "root(3, x)", "sec(x) + coth(x)", "(x + y + z)*(x - y)*z", "x/(1 + x/(1 + x/(1 + x)))",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x", "y"])
def test_twin_derivatives_by_sympy(text, name):
    import sympy

    x, y, z, k = sympy.symbols("x y z k", positive=True)
    names = {"x": x, "y": y, "z": z, "k": k, "ln": sympy.log, "log10": lambda a: sympy.log(a) / sympy.log(10), "abs": sympy.Abs}
    names |= {"root": lambda n, a: a ** (sympy.Integer(1) / n)}
    expected = sympy.diff(sympy.sympify(text.replace("^", "**"), locals=names), {"x": x, "y": y}[name])
    at = {"x": 1.3, "y": 0.7, "z": 2.9, "k": 0.31}
    expected = float(expected.subs({x: 1.3, y: 0.7, z: 2.9, k: 0.31}))
    assert float(evaluate(differentiate(parse(text), name), at)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("min(x^2, 3)", 2.6), ("max(x^2, 3)", 0), ("piecewise(x^2, x < 2, x)", 2.6), ("x < 2", 0), ("floor(x)", 0), ("x % 0.5", 1), ("y", 0)],
)
def test_derivative_off_the_jumps(text, expected):
    assert float(evaluate(differentiate(parse(text), "x"), HERE)) == pytest.approx(expected)


def test_a_function_without_derivative_is_refused():
    with pytest.raises(
        ModelError, match=r"factorial\(\) has no derivative here; the continuum solvers can't take the formula factorial\(x\)"
    ):
        differentiate(parse("factorial(x)"), "x")
