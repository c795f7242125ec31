"""Rate laws: parse, write, evaluate, simplify. Twin: libsbml's own infix parser."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cme import infix, ratelaw
from cme.errors import ModelError
from cme.infix import parse, to_infix
from cme.ratelaw import Apply, Number, Symbol, evaluate, simplify, substitute

HERE = {**ratelaw.CONSTANTS, "x": 1.3, "y": 0.7, "z": 2.9}


def value(text, **names):
    return float(evaluate(parse(text), {**HERE, **names}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2*3", 7), ("(1 + 2)*3", 9), ("2^3^2", 512), ("2**3**2", 512), ("-2^2", -4), ("(-2)^2", 4), ("2^-1", 0.5),
        ("8/4/2", 1), ("8 - 4 - 2", 2), ("7 % 3", 1), ("-7 % 3", -1), ("1e-3 + .5 + 2.", 2.501), ("!0 + !5", 1),
        ("1 < 2 && 2 < 1 || 1", 1), ("log(100)", 2), ("log(2, 8)", 3), ("ln(exponentiale)", 1), ("root(3, 27)", 3), ("sqr(3)", 9),
        ("sin(pi/2)", 1), ("piecewise(1, x > 5, 2, x > 1, 3)", 2), ("piecewise(1, x > 5, 3)", 3), ("min(3, 1, 2)", 1), ("max(3, 1, 2)", 3),
        ("factorial(5)", 120), ("floor(-1.5)", -2), ("ceiling(-1.5)", -1), ("quotient(-7, 2)", -3), ("xor(1, 1, 1)", 1), ("sec(0)", 1),
        ("arctan(1)*4", math.pi), ("implies(1, 0)", 0), ("plus()", 0), ("times(2, 3, 4)", 24), ("minus(5)", -5), ("abs(-3)", 3),
        ("true + false", 1), ("arccoth(2)", math.atanh(0.5)),
    ],
)  # fmt: skip
def test_value(text, expected):
    assert value(text) == pytest.approx(expected, rel=1e-15)


def test_a_piecewise_without_a_true_piece_is_undefined():
    assert math.isnan(value("piecewise(1, x > 5)"))


# ------------------------------------------------------------------------------------------------- random formulas

_ATOMS = st.sampled_from(["x", "y", "z", "2", "0.5", "1e-3", "3", "pi", "7.25e2"])


def _compound(inner):
    infix = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "^", "**"]), inner).map(" ".join)
    compare = st.tuples(inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner).map(lambda t: f"({' '.join(t)})")
    joint = st.sampled_from(["&&", "||"])  # of one level in SBML: a || b && c is (a || b) && c
    logic = st.tuples(compare, joint, compare, joint, compare).map(lambda t: f"({t[0]} {t[1]} !{t[2]} {t[3]} {t[4]})")
    function = st.tuples(st.sampled_from("exp ln log10 sqrt abs floor ceil sin cos tan atan tanh arcsinh sec csch".split()), inner)
    return st.one_of(
        infix,
        inner.map(lambda t: f"({t})"),
        inner.map(lambda t: f"-{t}"),
        function.map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, st.one_of(compare, logic), inner).map(lambda t: f"piecewise({', '.join(t)})"),
    )


formulas = st.recursive(_ATOMS, _compound, max_leaves=12)


@settings(deadline=None, derandomize=True)
@given(formulas)
def test_written_formulas_read_back_as_the_same_tree(text):
    tree = parse(text)
    assert parse(to_infix(tree)) == tree


@settings(deadline=None, derandomize=True)
@given(formulas)
def test_twin_libsbml_reads_the_same_formula(text):
    import libsbml

    from cme.formats import mathml

    node = libsbml.parseL3Formula(text.replace("**", "^"))
    theirs = mathml.read(node, {name: Symbol(name) for name in "xyz"}, lambda name, args: pytest.fail(name), Symbol("time"))
    np.testing.assert_allclose(evaluate(parse(text), HERE), evaluate(theirs, HERE), rtol=1e-13)


@settings(deadline=None, derandomize=True)
@given(formulas)
def test_mathml_reads_back_as_the_same_tree(text):
    import libsbml

    from cme.formats import mathml

    tree = parse(text)
    node = libsbml.readMathMLFromString(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{mathml.write(tree, set("xyz"))}</math>')
    assert mathml.read(node, {name: Symbol(name) for name in "xyz"}, lambda name, args: pytest.fail(name), Symbol("time")) == tree


@settings(deadline=None, derandomize=True)
@given(formulas)
def test_simplify_keeps_the_value(text):
    tree = parse(text)
    np.testing.assert_allclose(evaluate(simplify(tree), HERE), evaluate(tree, HERE), rtol=1e-9)


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a formula is empty"),
        ("2 x", "unexpected 'x'; write products with \\*"),
        ("x +", "the formula ends too early"),
        ("(x + 1", "a parenthesis is not closed"),
        ("x $ 1", r"unexpected '\$' at position 3"),
        ("x < y < z", "comparisons can't be chained"),
        ("hill(x)", "there is no function 'hill'; known are"),
        ("exp(x, y)", "function exp takes 1 argument, not 2"),
        ("log(1, 2, 3)", "function log takes 1 or 2 arguments, not 3"),
        ("__import__('os')", 'unexpected "\'"'),
        ("(" * 300 + "x" + ")" * 300, "nested more than 200 levels deep"),
        ("-" * 300 + "x", "nested more than 200 levels deep"),
        ("sin(" * 199 + "x" + ")" * 199 + "^" + "exp(" * 199 + "x" + ")" * 199, "nested more than 200 levels deep"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(ModelError, match=message):
        parse(text)


def test_a_formula_that_grows_past_the_limit_is_refused():
    tree = parse("x*x")
    for _ in range(14):
        tree = substitute(tree, {"x": parse("x + x")})
    with pytest.raises(ModelError, match="more than 100000 terms once functions and rules are filled in"):
        substitute(tree, {"x": parse("x + x + x + x")})


# ----------------------------------------------------------------------------------------------------- trees as values


def test_long_sums_are_one_node():
    text = " + ".join(f"x{i}" for i in range(5000))
    tree = parse(text)
    assert isinstance(tree, Apply)
    assert len(tree.args) == 5000
    assert to_infix(tree) == text


def test_sums_in_any_notation_are_the_same_tree():
    assert parse("plus(plus(x, y), z)") == parse("(x + y) + z") == parse("x + y + z")
    assert parse("minus(minus(x, y), z)") == parse("x - y - z")
    assert substitute(parse("a*z"), {"a": parse("x*y")}) == parse("x*y*z")


def test_trees_are_immutable_hashable_and_travel():
    tree = parse("k*x*(x - 1)/2")
    assert hash(tree) == hash(parse("k * x * (x-1) / 2.0"))
    assert pickle.loads(pickle.dumps(tree)) == copy.deepcopy(tree) == tree
    with pytest.raises(AttributeError):
        tree.op = "*"


def test_values_broadcast_without_warnings():
    x = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(evaluate(parse("1/x"), {"x": x}), [-1, math.inf, 0.5])
    np.testing.assert_array_equal(evaluate(parse("x*y"), {"x": x, "y": x[:, None]}), np.outer(x, x))
    assert np.isnan(evaluate(parse("ln(x)"), {"x": -1.0}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(allow_nan=False, allow_infinity=True))
def test_numbers_are_written_exactly(number):
    assert value(infix.format_number(number)) == number


def test_simplify_drops_what_does_nothing():
    for text, simple in [("1*x*1", "x"), ("x + 0 + 2 + 3", "x + 5"), ("0*x", "0"), ("x/1", "x"), ("x^1", "x"), ("--x", "x"), ("2*3", "6")]:
        assert to_infix(simplify(parse(text))) == simple
    assert simplify(parse("0*x")) == Number(0.0)
