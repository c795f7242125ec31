"""`Network` to SBML Level 3 Version 2."""

import re
from xml.sax.saxutils import quoteattr

from cme.elements import MassAction, Reaction
from cme.errors import ModelError
from cme.formats import mathml
from cme.network import Network
from cme.ratelaw import Expr, names

# What SBML has no place for stands in annotations of this namespace: that a law is mass action and in which convention, the name of
# a reaction that is no SBML identifier, and a compartment that is only there because SBML wants one. Documents of others hold none of
# these, so their laws are always taken as written.
NAMESPACE = "urn:cme-networks:sbml"
_CORE = "http://www.sbml.org/sbml/level3/version2/core"
_MATHML = "http://www.w3.org/1998/Math/MathML"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def write(network: Network) -> str:
    """Write a network as SBML Level 3 Version 2; `cme.load` reads it back as an equal network.

    Species are written as amounts, a propensity as the kinetic law of an irreversible reaction, a rule as an assignment rule to a
    parameter.

    Raises
    ------
    ModelError
        If the network starts from a distribution over several states, or a name is no SBML identifier (ASCII letters, digits and _).
    """
    if len(network.initial.states) > 1:
        raise ModelError(
            f"SBML can't hold an initial distribution over {len(network.initial.states)} states; choose one state with with_initial()"
        )
    defined = {*network.species_names, *network.parameters, *network.compartments, *network.observables}
    for name in sorted(defined):
        if not _IDENTIFIER.fullmatch(name):
            raise ModelError(f"the name {name!r} is no SBML identifier; rename it with ASCII letters, digits and _")
    species, taken = set(network.species_names), set(defined)
    nowhere = _unused("nowhere", taken) if any(each.compartment is None for each in network.species) else None
    identifier = _unused(re.sub(r"[^A-Za-z0-9_]", "_", network.name) or "network", taken)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<sbml xmlns="{_CORE}" level="3" version="2">',
        f'  <model id="{identifier}" name={quoteattr(network.name)} substanceUnits="item" extentUnits="item">',
        *_listed("Compartments", _compartments(network, nowhere)),
        *_listed("Species", _species(network, nowhere)),
        *_listed("Parameters", _parameters(network)),
        *_listed("Rules", [_rule(rule.name, rule.formula, defined) for rule in network.rules]),
        *_listed("Reactions", [_reaction(reaction, species, defined, taken) for reaction in network.reactions]),
        "  </model>",
        "</sbml>",
    ]
    return "\n".join(lines) + "\n"


def _unused(name: str, taken: set[str]) -> str:
    if name[0].isdigit():
        name = "_" + name
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _listed(what: str, items: list[str]) -> list[str]:
    return [f"    <listOf{what}>", *items, f"    </listOf{what}>"] if items else []


def _number(value: float) -> str:
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _compartments(network: Network, nowhere: str | None) -> list[str]:
    items = [
        f'      <compartment id="{name}" spatialDimensions="3" size="{_number(value)}" constant="true"/>'
        for name, value in network.compartments.items()
    ]
    if nowhere is not None:
        annotation = f'<annotation><cme:nowhere xmlns:cme="{NAMESPACE}"/></annotation>'
        items.append(f'      <compartment id="{nowhere}" spatialDimensions="3" size="1" constant="true">{annotation}</compartment>')
    return items


def _species(network: Network, nowhere: str | None) -> list[str]:
    return [
        f'      <species id="{species.name}" compartment="{species.compartment or nowhere}" initialAmount="{_number(count)}" '
        f'hasOnlySubstanceUnits="true" boundaryCondition="{str(species.boundary).lower()}" constant="false"/>'
        for species, count in zip(network.species, network.initial.states[0], strict=True)
    ]


def _parameters(network: Network) -> list[str]:
    constants = [f'      <parameter id="{name}" value="{_number(value)}" constant="true"/>' for name, value in network.parameters.items()]
    return constants + [f'      <parameter id="{name}" constant="false"/>' for name in network.observables]


def _math(formula: Expr, defined: set[str]) -> str:
    return f'<math xmlns="{_MATHML}">{mathml.write(formula, defined)}</math>'


def _rule(name: str, formula: Expr, defined: set[str]) -> str:
    return f'      <assignmentRule variable="{name}">{_math(formula, defined)}</assignmentRule>'


def _reaction(reaction: Reaction, species: set[str], defined: set[str], taken: set[str]) -> str:
    known = _IDENTIFIER.fullmatch(reaction.name) and reaction.name not in taken
    identifier = _unused(reaction.name if known else re.sub(r"[^A-Za-z0-9_]", "_", reaction.name) or "reaction", taken)
    ours = "" if known else f" name={quoteattr(reaction.name)}"
    if isinstance(reaction.law, MassAction):
        ours += f' massAction="{reaction.law.convention}"'
    lines = [f'      <reaction id="{identifier}" reversible="false">']
    if ours:
        lines.append(f'        <annotation><cme:reaction xmlns:cme="{NAMESPACE}"{ours}/></annotation>')
    for what, side in (("Reactants", reaction.reactants), ("Products", reaction.products)):
        references = "".join(f'<speciesReference species="{name}" stoichiometry="{n}" constant="true"/>' for name, n in side)
        lines += [f"        <listOf{what}>{references}</listOf{what}>"] if side else []
    changed = {name for name, _ in (*reaction.reactants, *reaction.products)}
    modifiers = (names(reaction.propensity) & species) - changed
    if modifiers:
        references = "".join(f'<modifierSpeciesReference species="{name}"/>' for name in sorted(modifiers))
        lines.append(f"        <listOfModifiers>{references}</listOfModifiers>")
    lines.append(f"        <kineticLaw>{_math(reaction.propensity, defined)}</kineticLaw>")
    return "\n".join([*lines, "      </reaction>"])
