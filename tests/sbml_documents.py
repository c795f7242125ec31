"""Small SBML documents, written from parts, for the tests of SBML."""

import os
from pathlib import Path

import cme
from cme.ratelaw import DRAWS, OWN_DRAWS, evaluate

_SUITE = Path(os.environ.get("CME_SBML_SUITE", Path(__file__).resolve().parents[1].parent / "shared" / "sbml-suite"))


def _cases(kind):
    folder = next((each for each in (_SUITE / "cases" / kind, _SUITE / kind) if each.is_dir()), None)
    return [] if folder is None else sorted(each for each in folder.iterdir() if each.name.isdigit())


SUITE_CASES = [*_cases("stochastic"), *_cases("semantic")]


def law(formula, draws=False):
    """MathML of a formula; with `draws`, names of distributions are those of the package distrib."""
    import libsbml

    text = libsbml.writeMathMLToString(libsbml.parseL3Formula(formula))
    for name in DRAWS.keys() - OWN_DRAWS if draws else ():
        address = f"http://www.sbml.org/sbml/symbols/distrib/{name}"
        text = text.replace(f"<ci> {name} </ci>", f'<csymbol encoding="text" definitionURL="{address}"> {name} </csymbol>')
    return text[text.index("<math") :]


_VOLUME = '<compartment id="c" spatialDimensions="3" size="4" constant="true"/>'
_RATE = '<parameter id="k" value="2" constant="false"/>'


def model(body="", *, species="", parameters=_RATE, reactions="", rules="", functions="", assignments="", compartments=_VOLUME,
          attributes="", level=3):  # fmt: skip
    """A document with one species S of 8 molecules in compartment c of size 4, and what is added."""
    core = {3: "level3/version2/core", 2: "level2/version4"}[level]
    constant = 'constant="false"'
    species = (
        species or f'<species id="S" compartment="c" initialAmount="8" hasOnlySubstanceUnits="false" boundaryCondition="false" {constant}/>'
    )
    lists = [
        ("FunctionDefinitions", functions), ("Compartments", compartments), ("Species", species), ("Parameters", parameters),
        ("InitialAssignments", assignments), ("Rules", rules), ("Reactions", reactions),
    ]  # fmt: skip
    inside = "\n".join(f"<listOf{name}>\n{items}\n</listOf{name}>" for name, items in lists if items)
    if "symbols/distrib" in inside + body:
        attributes += ' xmlns:distrib="http://www.sbml.org/sbml/level3/version1/distrib/version1" distrib:required="true"'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<sbml xmlns="http://www.sbml.org/sbml/{core}" level="{level}" '
        f'version="{ {3: 2, 2: 4}[level] }" {attributes}>\n<model id="m">\n{inside}\n{body}\n</model>\n</sbml>'
    )


def reaction(formula="k*S", name="R", *, reactants="S", products="", local="", reversible="false", extra=""):
    def side(what, names):
        references = "".join(f'<speciesReference species="{each}" stoichiometry="1" constant="true"/>' for each in names.split())
        return f"<listOf{what}>{references}</listOf{what}>" if names else ""

    parameters = f"<listOfLocalParameters>{local}</listOfLocalParameters>" if local else ""
    return (
        f'<reaction id="{name}" reversible="{reversible}" {extra}>{side("Reactants", reactants)}{side("Products", products)}'
        f"<kineticLaw>{law(formula)}{parameters}</kineticLaw></reaction>"
    )


def rule(variable, formula, draws=False):
    return f'<assignmentRule variable="{variable}">{law(formula, draws)}</assignmentRule>'


def rate_rule(variable, formula):
    return f'<rateRule variable="{variable}">{law(formula)}</rateRule>'


def event(trigger, assignments, *, name="E", delay="", priority="", early="true", initially="true", persistent="true", draws=False):
    """A list of one event; assignments are written as "x = 1; y = 2"."""
    made = [each.split("=") for each in assignments.split(";")]
    listed = "".join(f'<eventAssignment variable="{x.strip()}">{law(formula, draws)}</eventAssignment>' for x, formula in made)
    later = f"<delay>{law(delay, draws)}</delay>" if delay else ""
    first = f"<priority>{law(priority)}</priority>" if priority else ""
    return (
        f'<listOfEvents><event id="{name}" useValuesFromTriggerTime="{early}">'
        f'<trigger initialValue="{initially}" persistent="{persistent}">{law(trigger)}</trigger>{first}{later}'
        f"<listOfEventAssignments>{listed}</listOfEventAssignments></event></listOfEvents>"
    )


def assignment(symbol, formula, draws=False):
    return f'<initialAssignment symbol="{symbol}">{law(formula, draws)}</initialAssignment>'


def parameter(name, value=None):
    return f'<parameter id="{name}" constant="false"' + ("/>" if value is None else f' value="{value}"/>')


def species(name, value=8, *, kind="initialAmount", amount="true", boundary="false", constant="false"):
    start = "" if value is None else f'{kind}="{value}"'
    return (
        f'<species id="{name}" compartment="c" {start} hasOnlySubstanceUnits="{amount}" '
        f'boundaryCondition="{boundary}" constant="{constant}"/>'
    )


def propensity(network, r=0, **counts):
    values = {**dict(zip(network.species_names, network.initial.states[0], strict=True)), **counts}
    return float(evaluate(network.resolve(network.reactions[r].propensity), values))


def function(name, text):
    return f'<functionDefinition id="{name}">{law(text)}</functionDefinition>'


def check_round_trip(network):
    """Written and read again it is equal, and libsbml finds no fault with what was written."""
    import libsbml

    text = network.to_sbml()
    assert cme.load(text) == network
    document = libsbml.readSBMLFromString(text)
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, False)
    document.checkConsistency()
    errors = [document.getError(i) for i in range(document.getNumErrors())]
    assert not [error.getMessage() for error in errors if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
