"""SBML of levels 1 and 2, units, and amounts beside concentrations."""

import numpy as np
import pytest
from sbml_documents import event, model, parameter, reaction, species

import cme
from cme.elements import Rule
from cme.hybrid import Hybrid
from cme.infix import parse


def value(network, formula, time=0.0, **values):
    """A formula in the network's names, at a state: the start, but for the values given."""
    hybrid = Hybrid(network)
    state = hybrid.start.copy()
    for name, number in values.items():
        state[hybrid.coordinates.index(name)] = number
    return float(hybrid.evaluate([network.resolve(parse(formula) if isinstance(formula, str) else formula)], state, time)[0])


def flow(network, name):
    return next(rule.formula for rule in network.rate_rules if rule.name == name)


def test_rules_of_level_1():
    text = """<?xml version="1.0" encoding="UTF-8"?>
    <sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="old">
    <listOfCompartments><compartment name="c" volume="2"/><compartment name="d"/></listOfCompartments>
    <listOfSpecies><species name="S" compartment="c" initialAmount="6"/>
    <species name="T" compartment="d" initialAmount="6"/></listOfSpecies>
    <listOfParameters><parameter name="p" value="3"/></listOfParameters>
    <listOfRules><speciesConcentrationRule species="S" formula="p*S" type="rate"/><speciesConcentrationRule species="T" formula="p"/>
    <parameterRule name="p" formula="-p" type="rate"/><compartmentVolumeRule compartment="d" formula="4*p"/></listOfRules>
    </model></sbml>"""
    network = cme.load(text)
    assert [each.name for each in network.rate_rules] == ["S", "p"]
    assert value(network, flow(network, "S")) == 3 * 6
    assert network.observables == ("T", "d")
    assert value(network, "T") == 3 * 12  # the concentration 3 in a volume of 12


UNITS = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2" level="2" version="1"><model id="m">
<listOfUnitDefinitions><unitDefinition id="minute"><listOfUnits><unit kind="second" multiplier="60"/></listOfUnits></unitDefinition>
<unitDefinition id="same"><listOfUnits><unit kind="second" multiplier="10" scale="-1"/></listOfUnits></unitDefinition>
</listOfUnitDefinitions>
<listOfCompartments><compartment id="c"/></listOfCompartments>
<listOfSpecies><species id="S" compartment="c" initialAmount="3" spatialSizeUnits="SIZE"/></listOfSpecies>
<listOfReactions><reaction id="R"><listOfReactants><speciesReference species="S"/></listOfReactants>
<kineticLaw timeUnits="TIME" substanceUnits="SUBSTANCE"><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>S</ci></math></kineticLaw>
</reaction></listOfReactions></model></sbml>"""


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (("litre", "same", "mole"), ""), (("volume", "second", "substance"), ""),
        (("litre", "minute", "mole"), "line 9: the kinetic law of reaction 'R' is in units 'minute' where 'time' is expected; units scale"),
        (("litre", "time", "item"), "the kinetic law of reaction 'R' is in units 'item' where 'substance' is expected"),
        (("metre", "time", "mole"), "the concentration of species 'S' is in units 'metre' where 'volume' is expected"),
    ],
)  # fmt: skip
def test_units_that_would_scale_are_refused(units, message):
    text = UNITS.replace("SIZE", units[0]).replace("TIME", units[1]).replace("SUBSTANCE", units[2])
    if not message:
        assert cme.load(text).initial.states == ((3.0,),)
        return
    with pytest.raises(cme.ModelError, match=message):
        cme.load(text)


def test_whole_numbers_stay_whole_through_a_concentration():
    """A volume of 49 would turn 27 into 27.000000000000004."""
    volume = '<compartment id="c" spatialDimensions="3" size="49" constant="true"/>'
    for formula, expected in (("S", "S"), ("2*S", "2*S"), ("-S + 1", "-S + 1*c"), ("piecewise(S, S > 3, 0)", "piecewise(S, S/c > 3, 0*c)")):
        (found,) = cme.load(model(event("time > 1", f"S = {formula}"), compartments=volume)).events
        assert found.assignments == (Rule("S", parse(expected)),)


def test_a_count_may_start_below_zero_for_the_rate_equations_alone():
    network = cme.load(model(species=species("S", -3), reactions=reaction("k*S")))
    assert cme.rate_equations(network, [0.5], below_zero="allow")["S"] == pytest.approx([-3 * np.exp(-1)])
    for solver in (cme.ssa, cme.fsp, cme.lna, cme.rate_equations):
        with pytest.raises(cme.ModelError, match="species 'S' starts at -3; an initial count must be >= 0"):
            solver(network, [0.5])
    (found,) = cme.check(network).findings
    assert "starts at -3, below zero; only rate_equations" in found.message


def test_a_volume_of_zero_is_no_harm_while_nothing_is_divided_by_it():
    flat = '<compartment id="c" spatialDimensions="3" size="0" constant="true"/>'
    network = cme.load(model(species=species("S", 3), compartments=flat, reactions=reaction("k*S")))
    assert cme.rate_equations(network, [0.5])["S"] == pytest.approx([3 * np.exp(-1)])


def test_a_parameter_without_a_value_is_undefined_but_there():
    network = cme.load(model(parameters=parameter("k", 2) + parameter("p"), reactions=reaction("k*S")))
    assert np.isnan(cme.rate_equations(network, [1.0])["p"]).all()


def test_an_amount_and_a_concentration_contradict_each_other():
    both = species("S", 5).replace('initialAmount="5"', 'initialAmount="5" initialConcentration="7"')
    with pytest.raises(cme.ModelError, match="species 'S' has an initial amount and an initial concentration; drop one"):
        cme.load(model(species=both))
