"""Net fluxes taken apart into a forward and a backward propensity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sbml_documents import event, model, parameter, rate_rule, reaction, rule, species

import cme
from cme.formats.reversible import Splitter
from cme.infix import parse, to_infix
from cme.ratelaw import ZERO, evaluate


def split(law, rules=None, nonnegative=lambda name: name != "n"):
    found = Splitter({name: parse(text) for name, text in (rules or {}).items()}, nonnegative).split(parse(law))
    return None if found is None else tuple(to_infix(part) for part in found)


@pytest.mark.parametrize(
    ("law", "forward", "backward"),
    [
        ("k*A - q*B", "k*A", "q*B"),
        ("k*(A - B/K)", "k*A", "k*(B/K)"),
        ("c*(k*A - q*B)", "c*(k*A)", "c*(q*B)"),
        ("(k*A - q*B)/(1 + A)", "k*A/(1 + A)", "q*B/(1 + A)"),
        ("-(q*B - k*A)", "k*A", "q*B"),
        ("k*A + -1*B", "k*A", "B"),
        ("(A - B)*(A - C)", "A*A + B*C", "A*C + B*A"),
        ("(A + B)*(A - C)", "(A + B)*A", "(A + B)*C"),
        ("k*A - 3", "k*A", "3"),
        ("-k*A", "0", "k*A"),
        ("-2", "0", "2"),
        ("A/-2 + B", "B", "A/2"),
        ("piecewise(k*A - B, A > 2, C)", "piecewise(k*A, A > 2, C)", "piecewise(B, A > 2, 0)"),
        ("k*A*(A - 1)/2 - q*B", "k*A*(A - 1)/2", "q*B"),
        ("k*A*(A - 1)*(A - 2) - q*B", "k*A*(A - 1)*(A - 2)", "q*B"),
        ("k*A^2 - abs(n)*n^2", "k*A^2", "abs(n)*n^2"),
        ("max(n, 0) - min(A, B)*exp(n)", "max(n, 0)", "min(A, B)*exp(n)"),
        ("tanh(A) - sqrt(B)*rem(A, 2)*ceil(B)", "tanh(A)", "sqrt(B)*rem(A, 2)*ceil(B)"),
    ],
)
def test_a_difference_of_two_terms(law, forward, backward):
    assert split(law) == (forward, backward)


@pytest.mark.parametrize("law", ["k*A", "k*A*(A - 1)/2", "k*A/(1 - B)", "k*exp(-A)", "max(A - k, 0)", "n", "sin(A)", "A*(A - 1)*(A - 2)"])
def test_a_law_without_a_difference_stays(law):
    assert split(law) == (law, "0")


@pytest.mark.parametrize(
    "law",
    ["n - A", "A - n", "A - n*B", "A - sin(B)", "A - n^3", "A - B/n", "A - (A - 1)*(n + 3)", "*".join(f"(A{i} - B{i})" for i in range(9))],
)
def test_a_difference_that_may_be_negative_stays_whole(law):
    assert split(law) is None


def test_rules_are_looked_into():
    rules = {"v": "k*A - w", "w": "q*B", "u": "2*A", "m": "n + 1"}
    assert split("c*v", rules) == ("c*(k*A)", "c*w")
    assert split("u - w", rules) == ("u", "w")
    assert split("u - m", rules) is None


def test_rules_within_rules_take_linear_time():
    rules = {f"r{i}": f"r{i - 1} + r{i - 1}" for i in range(1, 45)} | {"r0": "A - B"}
    assert split("r44", rules) is None
    rules = {f"r{i}": f"r{i - 1} + r{i - 1}" for i in range(1, 45)} | {"r0": "A"}
    assert split("r44 - B", rules) == ("r44", "B")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.recursive(
    st.sampled_from(["A", "B", "k", "2", "-3", "0.5"]),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner) | st.builds("(-{})".format, inner)
    | st.builds("({}/(1 + A))".format, inner) | st.builds("piecewise({}, A > k, {})".format, inner, inner),
    max_leaves=8,
), st.tuples(*[st.floats(0, 10)] * 3))  # fmt: skip
def test_forward_minus_backward_is_the_law(law, numbers):
    values = dict(zip("ABk", numbers, strict=True))
    found = Splitter({}, lambda name: True).split(parse(law))
    if found is None:
        return
    parts = [float(evaluate(part, values)) for part in found]
    np.testing.assert_allclose(parts[0] - parts[1], float(evaluate(parse(law), values)), rtol=1e-9, atol=1e-9)
    assert found[1] == ZERO or min(parts) >= 0


# ------------------------------------------------------------------------------------------------------- whole documents


def reversible(formula, **parts):
    two = species("S", amount="false") + species("T")
    return model(species=two, reactions=reaction(formula, products="T", reversible="true"), **parts)


def test_a_reversible_reaction_becomes_two():
    network = cme.load(reversible("k*S - T", parameters=parameter("k", 2) + parameter("y"), rules=rule("y", "R")))
    assert [(each.name, str(each)) for each in network.reactions] == [("R", "S -> T"), ("R_back", "T -> S")]
    assert [each.law for each in network.reactions] == [parse("k*(S/c)"), parse("T")]
    assert network.rules[1].formula == parse("k*(S/c) - T")  # a formula that uses R means the net rate
    paths = cme.ssa(network, [0.0, 1.0], n_paths=3, seed=1)
    assert np.all(paths["S"] + paths["T"] == 16)


def test_names_of_the_second_are_made_unique():
    two = reaction("k*S - 1", reversible="true") + reaction(name="R_back")
    assert [each.name for each in cme.load(model(reactions=two)).reactions] == ["R", "R_back_", "R_back"]


def test_a_law_that_is_only_negative_runs_backwards():
    (only,) = cme.load(reversible("-k*S")).reactions
    assert (only.name, str(only), only.law) == ("R", "T -> S", parse("k*(S/c)"))


def test_what_may_be_negative_stays_a_net_flux():
    network = cme.load(reversible("k*S - T", rules=rate_rule("k", "-1")))
    (only,) = network.reactions
    assert only.net_flux
    assert only.law == parse("k*(S/c) - T")
    with pytest.raises(cme.ModelError, match="use rate_equations"):
        cme.ssa(network, [0.0, 1.0], n_paths=1, seed=1)
    assert cme.rate_equations(network, [0.0, 0.1])["T"][0] == 8


@pytest.mark.parametrize(("assignment", "count"), [("k = 3*k", 2), ("k = S*2 + exp(-3)", 2), ("k = k - 1", 1), ("k = p", 1)])
def test_a_parameter_that_an_event_sets_may_never_be_negative(assignment, count):
    body = event("time > 1", f"{assignment}; p = p - 1")
    assert len(cme.load(reversible("k*S - T", body=body, parameters=parameter("k", 2) + parameter("p", 1))).reactions) == count


def test_an_irreversible_reaction_is_taken_as_written():
    text = reversible("k*S - T").replace('reversible="true"', 'reversible="false"')
    (only,) = cme.load(text).reactions
    assert not only.net_flux
