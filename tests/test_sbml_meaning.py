"""What SBML documents mean beyond plain reactions: rates, events, moving volumes, rateOf, stoichiometries, random numbers, names.

Expected values are derived by hand from the SBML Level 3 Version 2 Core specification (doi:10.1515/jib-2017-0081); where it leaves room,
a case of the SBML Test Suite is named.
"""

import math

import numpy as np
import pytest
from sbml_documents import (
    assignment,
    check_round_trip,
    event,
    function,
    law,
    model,
    parameter,
    rate_rule,
    reaction,
    rule,
    species,
)  # fmt: skip

import cme
from cme.elements import Rule
from cme.hybrid import Hybrid
from cme.infix import parse
from cme.ratelaw import Number, Symbol

VOLUME = '<compartment id="c" spatialDimensions="3" size="4" constant="false"/>'


def value(network, formula, time=0.0, **values):
    """A formula in the network's names, at a state: the start, but for the values given."""
    hybrid = Hybrid(network)
    state = hybrid.start.copy()
    for name, number in values.items():
        state[hybrid.coordinates.index(name)] = number
    return float(hybrid.evaluate([network.resolve(parse(formula) if isinstance(formula, str) else formula)], state, time)[0])


def flow(network, name):
    return next(rule.formula for rule in network.rate_rules if rule.name == name)


# ------------------------------------------------------------------------------------------- rate rules, moving volumes


def test_a_rate_rule_of_a_parameter():
    network = cme.load(model(rules=rate_rule("k", "-k/2")))
    assert network.rate_rules == (Rule("k", parse("-k/2")),)
    assert network.variables == ("k",)
    np.testing.assert_allclose(cme.rate_equations(network, [0, 1, 2])["k"], 2 * np.exp([0, -0.5, -1]), rtol=1e-8)


def test_a_rate_rule_of_a_concentration_is_scaled_by_the_volume():
    network = cme.load(model(rules=rate_rule("S", "3*S")))
    assert value(network, flow(network, "S"), S=8) == 3 * (8 / 4) * 4
    assert value(cme.load(model(rules=rate_rule("S", "3*S"), species=species("S"))), "3*S") == 24


def test_a_concentration_in_a_volume_with_a_rate_rule():
    """d[S]/dt = 0.4, dc/dt = 0.2: [S] = 2 + 0.4 t, so the count is (2 + 0.4 t)(4 + 0.2 t)."""
    network = cme.load(model(rules=rate_rule("S", "0.4") + rate_rule("c", "0.2"), compartments=VOLUME))
    t = np.array([0.0, 1, 5])
    np.testing.assert_allclose(cme.rate_equations(network, t)["S"], (2 + 0.4 * t) * (4 + 0.2 * t), rtol=1e-9)


def test_a_concentration_in_a_volume_with_an_assignment_rule():
    """c = k + t^2 with k' = -1 and [S]' = 0.4 from [S] = 8/2: the count is (4 + 0.4 t)(2 - t + t^2)."""
    network = cme.load(model(rules=rate_rule("S", "0.4") + rule("c", "k + time^2") + rate_rule("k", "-1"), compartments=VOLUME))
    assert dict(network.compartments) == {}
    assert network.species[0].compartment == "c"
    t = np.array([0.0, 1, 3])
    result = cme.rate_equations(network, t)
    np.testing.assert_allclose(result["S"], (4 + 0.4 * t) * (2 - t + t**2), rtol=1e-8)
    np.testing.assert_allclose(result["c"], 2 - t + t**2, rtol=1e-8)


def test_counts_stay_when_the_volume_changes():
    """A species that reacts: k [S] c, where the law is k*S*c and the volume doubles in each unit of time."""
    network = cme.load(model(rules=rate_rule("c", "c"), reactions=reaction("k*S"), compartments=VOLUME))
    assert value(network, network.reactions[0].law, S=8, c=16) == 2 * 8 / 16
    network = cme.load(model(event("time > 1", "c = 8"), reactions=reaction("k*S"), compartments=VOLUME))
    assert network.events[0].assignments == (Rule("c", Number(8.0)),)
    assert network.variables == ("c",)


# --------------------------------------------------------------------------------------------------------------- events


def test_every_field_of_an_event():
    network = cme.load(model(event("S > k", "k = 2*k", delay="k", priority="3", early="false", initially="false", persistent="false")))
    (found,) = network.events
    assert (found.name, found.trigger, found.assignments) == ("E", parse("S/c > k"), (Rule("k", parse("2*k")),))
    assert (found.delay, found.priority) == (Symbol("k"), Number(3.0))
    assert (found.persistent, found.initially, found.values_from_trigger) == (False, False, False)
    check_round_trip(network)


def test_an_event_of_level_2():
    """No initial value: what holds at time 0 does not trigger. Values are those of the trigger unless it says otherwise."""
    text = model(event("S > k", "k = 3", delay="1"), level=2).replace(' initialValue="true" persistent="true"', "")
    (found,) = cme.load(text.replace(' constant="true"/></listOf', "/></listOf").replace(' useValuesFromTriggerTime="true"', "")).events
    assert (found.persistent, found.initially, found.values_from_trigger) == (True, True, True)


def test_a_concentration_that_an_event_sets_becomes_a_count():
    (found,) = cme.load(model(event("time > 1", "S = S + 1"))).events
    assert found.assignments == (Rule("S", parse("S + 1*c")),)
    (found,) = cme.load(model(event("time > 1", "S = S + 1"), species=species("S"))).events
    assert found.assignments == (Rule("S", parse("S + 1")),)


def test_an_event_sets_a_concentration_and_its_volume():
    """Case 01779: the count is the new concentration in the old volume, and the volume changes after that."""
    network = cme.load(model(event("time >= 1", "S = 3; c = 5"), compartments=VOLUME))
    result = cme.rate_equations(network, [0, 1, 2])
    np.testing.assert_allclose(result["S"], [8, 12, 12])
    np.testing.assert_allclose(result["c"], [4, 5, 5])


@pytest.mark.parametrize(("early", "expected"), [("true", (2 + 10) * 7), ("false", (8 / 7 + 10) * 7)])
def test_a_delayed_event_sets_a_concentration_in_a_volume_that_moves(early, expected):
    """Case 01508: [S] at the trigger, t = 0, is 8/4; the volume when it is carried out, t = 3, is 7."""
    text = model(
        event("time >= 0", "S = S + 10", delay="3", early=early, initially="false"), rules=rate_rule("c", "1"), compartments=VOLUME
    )
    network = cme.load(text)
    np.testing.assert_allclose(cme.rate_equations(network, [0, 2.9, 3, 4])["S"], [8, 8, expected, expected], rtol=1e-9)
    (found,) = network.events
    assert found.assignments == (Rule("S", parse("(S/c + 10)*now(c)" if early == "true" else "S + 10*c")),)
    check_round_trip(network)


def test_events_without_a_name_get_one():
    text = model(event("k > 3", "k = 1").replace('id="E" ', ""), parameters=parameter("k", 1) + parameter("event_1", 2))
    assert [each.name for each in cme.load(text).events] == ["event_1_"]


# --------------------------------------------------------------------------------------------------------------- rateOf


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("rateOf(p)", -3),  # by its rate rule
        ("rateOf(k)", 0),
        ("rateOf(S)", (-2 * 2 + 5) / 4),  # (- k [S] + 5) / c
        ("rateOf(T)", 4),  # an amount
        ("rateOf(c)", 0),
        ("rateOf(y)", 2 * -3),  # an assignment rule: 2 p
        ("rate(S) + rate(p)", (-2 * 2 + 5) / 4 - 3),
        ("2*rateOf(p)^2", 18),
    ],
)
def test_rate_of(formula, expected):
    functions = function("rate", "lambda(x, rateOf(x))")
    reactions = reaction("k*S", products="T") + reaction("5", name="Q", reactants="", products="S")
    text = model(
        functions=functions, parameters=parameter("p", 7) + parameter("k", 2) + parameter("y") + parameter("z"),
        species=species("S", amount="false") + species("T"), rules=rate_rule("p", "-3") + rule("y", "2*p") + rule("z", formula),
        reactions=reactions,
    )  # fmt: skip
    network = cme.load(text)
    assert value(network, "z") == expected
    check_round_trip(network)


def test_rate_of_a_concentration_in_a_volume_that_moves():
    """[S] = S/c: the count changes by -k [S] = -4 each second, the volume by 1: -4/4 - 8/16."""
    rules = rate_rule("c", "1") + rule("z", "rateOf(S)")
    network = cme.load(model(rules=rules, parameters=parameter("k", 2) + parameter("z"), reactions=reaction("k*S"), compartments=VOLUME))
    assert value(network, "z") == -1.5
    network = cme.load(model(rules=rules + rate_rule("S", "7"), parameters=parameter("z"), compartments=VOLUME))
    assert value(network, "z") == 7  # what the rate rule says, exactly


def test_rate_of_in_an_initial_assignment_and_an_event():
    text = model(
        event("rateOf(S) < -1", "k = rateOf(S)"), parameters=parameter("k", 2) + parameter("p"), assignments=assignment("p", "rateOf(S)"),
        reactions=reaction("4*S"),
    )  # fmt: skip
    network = cme.load(text)
    assert network.parameters["p"] == -2
    assert value(network, network.events[0].assignments[0].formula) == -2


def test_a_local_parameter_does_not_change():
    text = model(reactions=reaction("p + rateOf(p)", local='<localParameter id="p" value="5"/>'), rules=rate_rule("p", "3"),
                 parameters=parameter("p", 1))  # fmt: skip
    assert value(cme.load(text), cme.load(text).reactions[0].law) == 5


# -------------------------------------------------------------------------------------------------- numbers of molecules


def with_reference(extra, text, **parts):
    return model(reactions=reaction(text).replace("<speciesReference", f'<speciesReference id="n" {extra}'), **parts)


def test_the_number_of_molecules_follows_a_rule():
    changing = {"reactions": reaction().replace('speciesReference species="S" stoichiometry="1" constant="true"',
                                                'speciesReference id="n" species="S" constant="false"')}  # fmt: skip
    network = cme.load(model(rules=rule("n", "k*S"), **changing))
    assert network.reactions[0].reactants == (("S", Symbol("n")),)
    assert network.rules == (Rule("n", parse("k*(S/c)")),)
    check_round_trip(network)
    text = model(rules=rate_rule("n", "1"), **changing).replace('id="n"', 'id="n" stoichiometry="2"')
    network = cme.load(text)
    assert network.parameters["n"] == 2
    assert network.rate_rules == (Rule("n", Number(1.0)),)
    network = cme.load(model(event("time > 1", "n = 3"), assignments=assignment("n", "k"), **changing))
    assert (network.parameters["n"], network.events[0].assignments) == (2, (Rule("n", Number(3.0)),))


def test_a_number_of_molecules_in_a_formula_stays_linked():
    text = model(rules=rule("y", "2*n"), parameters=parameter("y") + parameter("k", 2), reactions=reaction().replace("<speciesReference ", '<speciesReference id="n" '))  # noqa: E501  # fmt: skip
    network = cme.load(text)
    assert network.stoichiometry.tolist() == [[-1]]
    assert network.with_parameters(n=3).stoichiometry.tolist() == [[-3]]
    plain = cme.load(text.replace("<ci> n </ci>", "<ci> k </ci>"))  # nothing uses it: just a number
    assert plain.reactions[0].reactants == (("S", 1),)
    assert plain.is_plain


def test_stoichiometry_math_of_level_2():
    formula = f"<stoichiometryMath>{law('2*k')}</stoichiometryMath>"
    text = model(reactions=reaction(), level=2).replace(' constant="true"/></listOf', "/></listOf")
    network = cme.load(text.replace('species="S" stoichiometry="1"/>', f'species="S">{formula}</speciesReference>'))
    assert network.reactions[0].reactants == (("S", parse("2*k")),)
    assert network.stoichiometry.tolist() == [[-4]]


def test_negative_and_broken_numbers_of_molecules():
    text = model(species=species("S") + species("T"), reactions=reaction(reactants="S", products="T"))
    network = cme.load(text.replace('species="S" stoichiometry="1"', 'species="S" stoichiometry="-2"'))
    assert (network.reactions[0].reactants, network.reactions[0].products) == ((), (("S", 2), ("T", 1)))
    network = cme.load(text.replace('species="S" stoichiometry="1"', 'species="S" stoichiometry="1.5"'))
    assert network.reactions[0].reactants == (("S", Number(1.5)),)
    check_round_trip(network)


def test_one_species_several_times():
    network = cme.load(model(reactions=reaction(reactants="S S", products="S")))
    assert network.reactions[0].reactants == (("S", 2),)
    assert network.stoichiometry.tolist() == [[-1]]


def test_conversion_factors_scale_the_change():
    """The species' own factor counts before the model's; boundary species and rate rules are not scaled."""
    three = species("S") + species("T").replace("/>", ' conversionFactor="f"/>') + species("B", boundary="true")
    parameters = "".join(f'<parameter id="{name}" value="{number}" constant="true"/>' for name, number in [("f", 3), ("g", 5), ("k", 2)])
    text = model(species=three, parameters=parameters, reactions=reaction(reactants="S B", products="T T"))
    network = cme.load(text.replace('<model id="m">', '<model id="m" conversionFactor="g">'))
    np.testing.assert_array_equal(network.stoichiometry, [[-5, 6, 0]])
    check_round_trip(network)
    with pytest.raises(cme.ModelError, match="the conversion factor 'h' of species 'T' is no parameter"):
        cme.load(text.replace('conversionFactor="f"', 'conversionFactor="h"'))


# -------------------------------------------------------------------------------------------------------- random numbers


def test_random_starts_come_after_what_they_need():
    text = model(
        assignments=assignment("S", "p + k") + assignment("p", "normal(k, 1)", draws=True) + assignment("q", "3*k"),
        parameters=parameter("k", 2) + parameter("p", 9) + parameter("q"),
    )
    network = cme.load(text)
    assert network.initial.draws == (Rule("p", parse("normal(k, 1)")), Rule("S", parse("(p + k)*c")))
    assert network.initial.states == ((8.0,),)
    assert dict(network.parameters) == {"k": 2.0, "p": 9.0, "q": 6.0}
    check_round_trip(network)


def test_random_numbers_in_an_event():
    text = model(event("time > 1", "k = uniform(0, S)", delay="exponential(k)", draws=True))
    (found,) = cme.load(text).events
    assert (found.assignments, found.delay) == ((Rule("k", parse("uniform(0, S/c)")),), parse("exponential(k)"))


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("twice(normal(0, 1))", "function 'twice' uses a random number more than once; set a parameter to the random number"),
        ("quotient(normal(0, 1), 2)", "quotient of a random number is not supported; set a parameter to the random number"),
    ],
)
def test_a_random_number_is_drawn_once(formula, message):
    text = model(assignments=assignment("k", formula, draws=True), functions=function("twice", "lambda(x, x + x)"))
    with pytest.raises(cme.ModelError, match=message):
        cme.load(text)
    assert cme.load(text.replace("<plus/>\n      <ci> x </ci>", "<plus/>\n      <cn> 1 </cn>")) if "twice" in formula else True


# ---------------------------------------------------------------------------------------------------- names and constants


def test_time_and_avogadro():
    network = cme.load(model(reactions=reaction("k*time + avogadro")))
    assert value(network, network.reactions[0].law, time=3) == 6 + 6.02214179e23


def test_a_parameter_named_time_hides_it():
    """The csymbol then is a parameter with rate 1."""
    text = model(parameters=parameter("time", 5) + parameter("time_", 1), reactions=reaction("k*time"))
    text = text.replace('<parameter id="time"', '<parameter id="k" value="1" constant="true"/><parameter id="time"')
    symbol = "<csymbol"
    assert symbol in text
    network = cme.load(text.replace("</apply>", "<ci>time</ci></apply>"))
    assert network.rate_rules == (Rule("time__", Number(1.0)),)
    assert value(network, network.reactions[0].law, time__=3) == 1 * 3 * 5
    check_round_trip(network)


@pytest.mark.parametrize("name", ["pi", "nan", "inf", "true", "exponentiale", "lambda", "None", "class", "e", "avogadro"])
def test_any_name_is_a_name(name):
    formula = law("2*q").replace("<ci> q </ci>", f"<apply><plus/><ci>{name}</ci><pi/></apply>")
    text = model(parameters=parameter(name, 5) + parameter("y"), rules='<assignmentRule variable="y">' + formula + "</assignmentRule>",
                 body=event("S > 1", "S = 2").replace('variable="S"', f'variable="{name}"'))  # fmt: skip
    network = cme.load(text)
    assert value(network, "y") == 2 * (5 + math.pi)
    assert network.variables == (name,)
    check_round_trip(network)


def test_a_constant_in_a_function_definition():
    functions = function("f", "lambda(x, x*2)").replace('<cn type="integer"> 2 </cn>', "<pi/>")
    network = cme.load(model(functions=functions, parameters=parameter("pi", 5), rules=rule("pi", "f(3)")))
    assert value(network, "pi") == 3 * math.pi


def test_infinite_and_undefined_values_are_rules():
    """Case 00950. No parameter holds them, but a result has them by name."""
    network = cme.load(
        model(parameters=parameter("p", "INF") + parameter("q", 0) + parameter("r", "NaN"), assignments=assignment("q", "-INF"))
    )
    assert network.rules == (Rule("p", Number(math.inf)), Rule("q", Number(-math.inf)), Rule("r", Number(math.nan)))
    check_round_trip(network)


def test_a_variable_may_have_no_value_until_an_event_sets_it():
    network = cme.load(model(event("time > 1", "p = 3"), parameters=parameter("p")))
    assert math.isnan(network.parameters["p"])
    check_round_trip(network)


# ------------------------------------------------------------------------------------------------- formulas that are missing


def test_without_a_formula_an_element_of_level_3_version_2_has_no_effect():
    """Cases 01234-01247 and 01600-01603."""
    body = event("time > 1", "k = 3", delay="1", priority="2")
    body = body.replace("</listOfEventAssignments>", '<eventAssignment variable="p"/></listOfEventAssignments>')
    body = body.replace(f"<delay>{law('1')}</delay>", "<delay/>").replace(f"<priority>{law('2')}</priority>", "<priority/>")
    rules = '<assignmentRule variable="q"/><rateRule variable="p"/><algebraicRule/>'
    text = model(body, rules=rules, parameters=parameter("k", 1) + parameter("p", 2) + parameter("q", 3),
                 assignments='<initialAssignment symbol="q"/>')  # fmt: skip
    network = cme.load(text)
    assert dict(network.parameters) == {"k": 1.0, "p": 2.0, "q": 3.0}
    assert (network.rules, network.rate_rules) == ((), ())
    (found,) = network.events
    assert (found.assignments, found.delay, found.priority) == ((Rule("k", Number(3.0)),), Number(0.0), None)


@pytest.mark.parametrize("trigger", ["", '<trigger initialValue="true" persistent="true"/>'])
def test_an_event_without_a_trigger_never_happens(trigger):
    text = model(event("time > 1", "k = 3"))
    start, end = text.index("<trigger"), text.index("</trigger>") + len("</trigger>")
    assert cme.load(text[:start] + trigger + text[end:]).events == ()


# ----------------------------------------------------------------------------------------------------------------- mathml


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("max(1, k, 3)", 3), ("min(1, k, 3)", 1), ("quotient(-7, 2)", -3), ("rem(-7, 2)", -1), ("implies(k > 1, k > 5)", 0),
        ("implies(k > 5, k > 9)", 1), ("xor(true, true, true)", 1), ("true + true", 2), ("piecewise(4, k, 5)", 4), ("3 && 0", 0),
        ("!7", 0), ("1 < k < 2", 0), ("1 < k < 3", 1), ("root(3, 27)", 3), ("log(2, 8)", 3), ("log10(100)", 2), ("ln(exponentiale)", 1),
        ("factorial(4)", 24), ("arccoth(2)", math.atanh(0.5)), ("plus()", 0), ("times()", 1), ("piecewise(1, k > 5)", math.nan),
        ("sech(1)", 1 / math.cosh(1)), ("ceil(-1.5)", -1), ("floor(-1.5)", -2), ("abs(-k)", 2), ("(-8)^2", 64),
    ],
)  # fmt: skip
def test_functions_of_mathml(formula, expected):
    network = cme.load(model(rules=rule("y", formula), parameters=parameter("y") + parameter("k", 2)))
    assert value(network, "y") == pytest.approx(expected, rel=1e-14, nan_ok=True)
