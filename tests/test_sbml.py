"""SBML: how it is meant. Concentrations and amounts, local parameters, functions, rules, initial values, Levels 1 and 2, real files."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sbml_documents import assignment, check_round_trip, function, model, parameter, propensity, reaction, rule, species

import cme
from cme.elements import Rule, Species
from cme.formats import sbml
from cme.infix import parse
from cme.ratelaw import Number

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
SUITE = Path(os.environ.get("CME_SBML_SUITE", SHARED / "sbml-suite"))
STOCHASTIC = next((folder for folder in (SUITE / "cases" / "stochastic", SUITE / "stochastic") if folder.is_dir()), None)
needs_suite = pytest.mark.skipif(STOCHASTIC is None, reason="the SBML Test Suite is not here; name its folder in CME_SBML_SUITE")


# ------------------------------------------------------------------------------------------ amounts and concentrations


def test_a_species_in_a_formula_is_a_concentration():
    network = cme.load(model(reactions=reaction("k*S*c")))
    assert network.species == (Species("S", "c"),)
    assert network.formula(0) == "k*(S/c)*c"
    assert propensity(network) == 16
    assert propensity(network.with_parameters(c=2)) == 16
    assert network.name == "m"


@pytest.mark.parametrize(
    ("dimensions", "amount", "value"), [("3", "false", 4), ("3", "true", 16), ("2", "false", 4), ("0", "false", 16), ("0", "true", 16)]
)
def test_when_a_symbol_is_an_amount(dimensions, amount, value):
    size = "" if dimensions == "0" else 'size="4"'
    compartment = f'<compartment id="c" spatialDimensions="{dimensions}" {size} constant="true"/>'
    assert propensity(cme.load(model(species=species("S", amount=amount), compartments=compartment, reactions=reaction()))) == value


@pytest.mark.parametrize(("size", "value"), [("", 16), ('size="4"', 4)])
def test_dimensions_do_not_change_what_a_formula_means_in_level_3(size, value):
    """A compartment without dimensions may have a size in Level 3; the symbol of a species is then its amount over that size."""
    compartment = f'<compartment id="c" spatialDimensions="0" {size} constant="true"/>'
    assert propensity(cme.load(model(species=species("S", amount="false"), compartments=compartment, reactions=reaction()))) == value


def test_a_point_has_no_size_in_level_2():
    def point(more, **parts):
        text = model(compartments=f'<compartment id="c" spatialDimensions="0"{more}/>', reactions=reaction(), level=2, **parts)
        return text.replace(' constant="true"/></listOf', "/></listOf")

    assert propensity(cme.load(point(""))) == 16
    for text in (point(' size="4"'), point("", assignments=assignment("c", "3"))):
        with pytest.raises(cme.ModelError, match="compartment 'c' has no dimensions, but something gives it a size; drop"):
            cme.load(text)
    with pytest.raises(cme.ModelError, match="species 'S' starts with a concentration in 'c', which has no size; give the amount"):
        cme.load(point("", species=species("S", kind="initialConcentration", amount="false")))


def test_an_initial_concentration_becomes_a_count():
    """1.1 per volume in a volume of 10 is 11 molecules, although 1.1*10 is 11.000000000000002."""
    compartment = '<compartment id="c" spatialDimensions="3" size="10" constant="true"/>'
    network = cme.load(model(species=species("S", 1.1, kind="initialConcentration", amount="false"), compartments=compartment))
    assert network.initial.states == ((11.0,),)
    half = cme.load(model(species=species("S", 1.15, kind="initialConcentration", amount="false"), compartments=compartment))
    assert half.initial.states == ((11.5,),)


@pytest.mark.parametrize("level", [2, 3])
def test_a_size_that_nothing_sets_is_one(level):
    constant = 'constant="true"' if level == 3 else ""
    text = model(compartments=f'<compartment id="c" {constant}/>', reactions=reaction(), level=level)
    text = text if level == 3 else text.replace(' constant="true"/></listOf', "/></listOf")
    network = cme.load(text)
    assert dict(network.compartments) == {"c": 1.0}
    assert propensity(network) == 16


def test_boundary_and_constant_species_are_not_changed():
    """DSMTS 00024: a simulator that changes boundary species fails."""
    three = species("S") + species("B", 3, boundary="true") + species("K", 5, boundary="true", constant="true")
    network = cme.load(model(species=three, reactions=reaction("k*S*B*K", reactants="S B K", products="B")))
    assert [each.boundary for each in network.species] == [False, True, True]
    np.testing.assert_array_equal(network.stoichiometry, [[-1, 0, 0]])
    assert propensity(network) == 240


# ----------------------------------------------------------------------------------------- parameters and functions


def test_a_local_parameter_hides_a_global_one():
    """DSMTS 00022."""
    local = '<localParameter id="k" value="5"/>'
    network = cme.load(model(reactions=reaction("k*S", local=local) + reaction("k*S", name="R2") + reaction("S", name="R_k")))
    assert dict(network.parameters) == {"k": 2.0, "R_k_": 5.0}
    assert [propensity(network, r) for r in range(3)] == [10, 4, 2]


def test_a_local_parameter_that_nothing_uses_needs_no_value():
    local = '<localParameter id="q"/><localParameter id="r" value="3"/>'
    assert dict(cme.load(model(reactions=reaction("r*k*S", local=local))).parameters) == {"k": 2.0, "R_r": 3.0}


def test_a_local_parameter_hides_a_species():
    assert propensity(cme.load(model(reactions=reaction("k*S", local='<localParameter id="S" value="5"/>')))) == 10


def test_function_definitions_are_filled_in():
    functions = (
        function("twice", "lambda(x, 2*x)") + function("f", "lambda(k, x, k*twice(x) - k)") + function("unused", "lambda(x, unused(x))")
    )
    network = cme.load(model(functions=functions, reactions=reaction("f(S, k)")))
    assert network.formula(0) == "S/c*(2*k) - S/c"
    assert propensity(network) == 6


@pytest.mark.parametrize(
    ("functions", "formula", "message"),
    [
        (function("f", "lambda(x, g(x))") + function("g", "lambda(x, f(x))"), "f(S)", "function 'f' calls itself, directly or"),
        (function("f", "lambda(x, x)"), "f(S, 1)", "the kinetic law of reaction 'R': function 'f' takes 1 arguments, not 2"),
        (function("f", "lambda(x, k*x)"), "f(S)", "function definition 'f': 'k' is not defined"),
        ("", "g(S)", "the kinetic law of reaction 'R': function 'g' is not defined"),
        ("".join(function(f"f{i}", f"lambda(x, f{i - 1}(x) + f{i - 1}(x))") for i in range(1, 20)) + function("f0", "lambda(x, x)"),
         "f19(S)", "function definition 'f17': a formula has more than 100000 terms once functions and rules are filled in"),
        ("".join(function(f"f{i}", f"lambda(x, f{i - 1}(x))") for i in range(1, 2000)) + function("f0", "lambda(x, x)"),
         "f1999(S)", "function definitions call each other too deeply"),
    ],
)  # fmt: skip
def test_refusals_of_functions(functions, formula, message):
    with pytest.raises(cme.ModelError, match=message.replace("(", r"\(").replace(")", r"\)")):
        cme.load(model(functions=functions, reactions=reaction(formula)))


def test_only_a_parameter_that_is_used_needs_a_value():
    assert dict(cme.load(model(parameters=parameter("k", 2) + parameter("spare"), reactions=reaction())).parameters) == {"k": 2.0}
    with pytest.raises(cme.ModelError, match="SBML text, line 11: parameter 'q' has no value"):
        cme.load(model(parameters=parameter("k", 2) + parameter("q"), reactions=reaction("k*q")))


# -------------------------------------------------------------------------------------------- rules and assignments


def test_initial_assignments_are_evaluated_after_what_they_need():
    parameters = parameter("k", 2) + parameter("p") + parameter("q") + parameter("y")
    assignments = assignment("S", "p*q") + assignment("q", "y + 1") + assignment("p", "k") + assignment("c", "k*5")
    network = cme.load(
        model(parameters=parameters, assignments=assignments, rules=rule("y", "T/c + 4"), species=species("S") + species("T", 30))
    )
    assert dict(network.compartments) == {"c": 10.0}
    assert dict(network.parameters) == {"k": 2.0, "p": 2.0, "q": 8.0}
    assert network.initial.states == ((16.0, 30.0),)
    assert network.rules == (Rule("y", parse("T/c + 4")),)


def test_an_initial_assignment_sets_a_concentration():
    assert cme.load(model(assignments=assignment("S", "3*k"))).initial.states == ((24.0,),)


def test_a_chain_of_assignments_is_not_limited_by_recursion():
    names = [f"p{i}" for i in range(3000)]
    assignments = "".join(assignment(a, f"{b} + 1") for a, b in pairwise(names))
    parameters = "".join(map(parameter, names[:-1])) + parameter(names[-1], 1)
    network = cme.load(model(parameters=parameters, assignments=assignments))
    assert network.parameters["p0"] == 3000


def test_circular_initial_values_are_refused():
    assignments = assignment("p", "q") + assignment("q", "y")
    with pytest.raises(cme.ModelError, match=r"the initial value of '[pqy]' depends on itself"):
        cme.load(model(parameters="".join(map(parameter, "pqy")), assignments=assignments, rules=rule("y", "p")))


def test_a_species_that_a_rule_sets_is_an_observable_in_molecules():
    two = species("S", amount="false") + species("T", None, amount="false", boundary="true")
    network = cme.load(model(species=two, rules=rule("T", "3*S"), reactions=reaction("k*T", products="T")))
    assert network.species_names == ("S",)
    assert network.rules == (Rule("T", parse("3*S")),)  # the rule sets the concentration; the observable is the amount
    assert network.reactions[0].products == ()
    assert propensity(network) == 12  # k*T means the concentration, 3*8/4
    amounts = species("S") + species("T", None, boundary="true")
    assert cme.load(model(species=amounts, rules=rule("T", "3*S"), reactions=reaction())).rules == (Rule("T", parse("3*S")),)


def test_a_rule_without_a_use_is_an_observable():
    """DSMTS 00019."""
    network = cme.load(model(parameters=parameter("k", 2) + parameter("y", 7), rules=rule("y", "2*S"), reactions=reaction()))
    assert network.observables == ("y",)
    assert "y" not in network.parameters


def test_a_formula_may_use_the_rate_of_a_reaction():
    network = cme.load(model(parameters=parameter("k", 2) + parameter("y"), rules=rule("y", "3*R"), reactions=reaction()))
    assert network.rules == (Rule("y", parse("3*R")), Rule("R", parse("k*(S/c)")))
    check_round_trip(network)


# ------------------------------------------------------------------------------------------------- levels 1 and 2

LEVEL_1 = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2">
<model name="old">
<listOfCompartments><compartment name="c" volume="2"/></listOfCompartments>
<listOfSpecies><species name="S" compartment="c" initialAmount="6" boundaryCondition="false"/></listOfSpecies>
<listOfParameters><parameter name="y"/></listOfParameters>
<listOfRules><parameterRule name="y" formula="log(S) + S^2"/></listOfRules>
<listOfReactions><reaction name="R" reversible="false">
<listOfReactants><speciesReference species="S" stoichiometry="2"/></listOfReactants>
<kineticLaw formula="k*S*c"><listOfParameters><parameter name="k" value="5"/></listOfParameters></kineticLaw>
</reaction></listOfReactions>
</model></sbml>"""


def test_level_1():
    network = cme.load(LEVEL_1)
    assert network.name == "old"
    assert network.rules == (Rule("y", parse("ln(S/c) + (S/c)^2")),)  # log is natural in Level 1
    assert dict(network.parameters) == {"R_k": 5.0}
    assert propensity(network) == 30
    assert network.stoichiometry.tolist() == [[-2]]
    half = cme.load(LEVEL_1.replace('stoichiometry="2"', 'stoichiometry="1" denominator="2"'))
    assert half.reactions[0].reactants == (("S", Number(0.5)),)
    assert cme.load(LEVEL_1.replace('stoichiometry="2"', 'stoichiometry="6" denominator="2"')).stoichiometry.tolist() == [[-3]]


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("abs(0 - S)", 3), ("acos(S/4)", np.arccos(0.75)), ("asin(S/4)", np.arcsin(0.75)), ("atan(S)", np.arctan(3)), ("ceil(S/2)", 2),
        ("cos(S)", np.cos(3)), ("exp(S)", np.exp(3)), ("floor(S/2)", 1), ("log(S)", np.log(3)), ("log10(S)", np.log10(3)), ("pow(S,2)", 9),
        ("sqr(S)", 9), ("sqrt(S)", np.sqrt(3)), ("sin(S)", np.sin(3)), ("tan(S)", np.tan(3)), ("S^2/(S+1)", 2.25),
    ],
)  # fmt: skip
def test_functions_of_level_1(formula, value):
    """SBML Level 1 Version 2, table 6; S is a concentration, 6 molecules in a volume of 2."""
    assert propensity(cme.load(LEVEL_1.replace('formula="k*S*c"', f'formula="{formula}"'))) == pytest.approx(value, rel=1e-14)


def test_level_2_reactions_are_reversible_unless_they_say_no():
    text = model(reactions=reaction("k*S - k", extra=""), level=2).replace(' constant="true"/></listOf', "/></listOf")
    assert len(cme.load(text).reactions) == 1
    assert len(cme.load(text.replace('reversible="false"', "")).reactions) == 2


def test_numbers_are_read_to_the_last_digit():
    """libsbml reads 3.7e-5 as 3.7*10^-5 = 3.7000000000000005e-05."""
    cn = '<cn type="e-notation">3.7<sep/>-5</cn>'
    text = model(reactions=reaction("k")).replace("<ci> k </ci>", cn)
    assert cn in text
    assert propensity(cme.load(text)) == 3.7e-5
    assert propensity(cme.load(text.replace("3.7<sep/>-5", "1e-300<sep/>-5"))) == 1e-305


# ------------------------------------------------------------------------------------------------ real documents


@needs_suite
@pytest.mark.parametrize("case", [f"{i:05d}" for i in range(1, 40)])
def test_stochastic_suite_loads_or_says_why(case):
    """DSMTS: all levels of a case are the same network."""
    files = sorted(STOCHASTIC.glob(f"{case}/*-sbml-*.xml"))
    if not files:
        pytest.skip("this case is not here")
    loaded = [cme.load(path) for path in files]
    for network in loaded:
        check_round_trip(network)
        np.testing.assert_array_equal(network.stoichiometry, loaded[0].stoichiometry)
        assert network.initial == loaded[0].initial
        values = [propensity(network, r) for r in range(len(network.reactions))]
        assert values == pytest.approx([propensity(loaded[0], r) for r in range(len(network.reactions))], rel=1e-15)


@pytest.mark.parametrize(
    ("name", "shape", "rules"), [("multistate", (18, 9), 4), ("multisite2", (288, 66), 3), ("egfr_net", (3749, 356), 13)]
)
def test_networks_from_the_literature(name, shape, rules):
    path = SHARED / "networks" / f"{name}.xml"
    if not path.is_file():
        pytest.skip("the networks of the benchmark set are not here")
    network = cme.load(path)
    assert network.stoichiometry.shape == shape
    assert len(network.rules) == rules
    assert cme.load(network.to_sbml()) == network
    assert sbml.read(path, name="other").name == "other"
