"""`Network` to SBML Level 3 Version 2."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from xml.sax.saxutils import quoteattr

from cme import infix, ratelaw
from cme.elements import Event, MassAction, Reaction, Rule
from cme.errors import ModelError
from cme.formats import mathml
from cme.network import Network
from cme.ratelaw import ONE, ZERO, Apply, Expr, Number, Symbol, names

# What SBML has no place for stands in annotations of this namespace: that a law is mass action and in which convention or is a net flux,
# the name of a reaction or an event that is no SBML identifier, that a stoichiometry is a formula, and a compartment that is only there
# because SBML wants one, and that two events are one. Documents of others hold none of these, so their laws are always taken as written.
NAMESPACE = "urn:cme-networks:sbml"
_CORE = "http://www.sbml.org/sbml/level3/version2/core"
_DISTRIB = "http://www.sbml.org/sbml/level3/version1/distrib/version1"
_MATHML = "http://www.w3.org/1998/Math/MathML"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def write(network: Network) -> str:
    """Write a network as SBML Level 3 Version 2; `cme.load` reads it back as an equal network.

    Species are written as amounts, a propensity as the kinetic law of an irreversible reaction, a net flux as that of a reversible one,
    a rule as an assignment rule to a parameter, random numbers with the package `distrib`. An event with a factor ``now(x)`` is written as
    two: the first remembers its values in parameters, the second follows at once, with a priority above all others.

    Raises
    ------
    ModelError
        If the network starts from a distribution over several states, or a name is no SBML identifier (ASCII letters, digits and _), or
        what is drawn at the start depends on what is drawn later.
    """
    return _Writer(network).document()


class _Writer:
    def __init__(self, network: Network):
        self.network = network
        self.defined = {*network.species_names, *network.parameters, *network.compartments, *network.observables}
        self.check()
        self.memory: list[str] = []  # parameters in which events remember what they will set
        self.taken = {*self.defined, ratelaw.TIME, *ratelaw.CONSTANTS}  # an identifier would hide the time and the constants
        self.rules: list[str] = [self.rule(each) for each in network.rules]
        self.homes = {species.compartment for species in network.species if species.compartment in network.observables}

    def check(self) -> None:
        network = self.network
        if len(network.initial.states) > 1:
            raise ModelError(
                f"SBML can't hold an initial distribution over {len(network.initial.states)} states; choose one state with with_initial()"
            )
        for name in sorted(self.defined):
            if not _IDENTIFIER.fullmatch(name):
                raise ModelError(f"the name {name!r} is no SBML identifier; rename it with ASCII letters, digits and _")
        later = {draw.name for draw in network.initial.draws}
        for draw in network.initial.draws:
            if used := names(network.resolve(draw.formula)) & later:
                raise ModelError(f"SBML can't say that the random start of {draw.name!r} comes before that of {min(used)!r}, which it uses")
            later.discard(draw.name)

    def document(self) -> str:
        network = self.network
        nowhere = self.unused("nowhere") if any(each.compartment is None for each in network.species) else None
        identifier = self.unused(re.sub(r"[^A-Za-z0-9_]", "_", network.name) or "network")
        reactions = [self.reaction(reaction) for reaction in network.reactions]  # before the rules, which those of references join
        events = [self.event(event) for event in network.events]
        draws = [
            f'      <initialAssignment symbol="{draw.name}">{self.math(draw.formula)}</initialAssignment>' for draw in network.initial.draws
        ]
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<sbml xmlns="{_CORE}" level="3" version="2"{self.package()}>',
            f'  <model id="{identifier}" name={quoteattr(network.name)} substanceUnits="item" extentUnits="item">',
            *self.notes(),
            *_listed("Compartments", self.compartments(nowhere)),
            *_listed("Species", self.species(nowhere)),
            *_listed("Parameters", self.parameters()),
            *_listed("InitialAssignments", draws),
            *_listed("Rules", self.rules + [self.rule(each, "rateRule") for each in network.rate_rules]),
            *_listed("Reactions", reactions),
            *_listed("Events", events),
            "  </model>",
            "</sbml>",
        ]
        return "\n".join(lines) + "\n"

    def notes(self) -> list[str]:
        text = "\n".join(self.network.notes)
        return [f"    {_annotation('notes', f' text={quoteattr(text)}')}"] if text else []

    def package(self) -> str:
        formulas = [*(draw.formula for draw in self.network.initial.draws), *(f for event in self.network.events for f in event.formulas())]
        return f' xmlns:distrib="{_DISTRIB}" distrib:required="true"' if any(map(ratelaw.has_draws, formulas)) else ""

    def unused(self, name: str) -> str:
        if name[0].isdigit():
            name = "_" + name
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def identifier(self, name: str, otherwise: str) -> tuple[str, str]:
        """An SBML identifier, and the name as an attribute of an annotation where that is not the identifier."""
        known = _IDENTIFIER.fullmatch(name) and name not in self.taken
        identifier = self.unused(name if known else re.sub(r"[^A-Za-z0-9_]", "_", name) or otherwise)
        return identifier, "" if known else f" name={quoteattr(name)}"

    def math(self, formula: Expr) -> str:
        return f'<math xmlns="{_MATHML}">{mathml.write(formula, self.defined)}</math>'

    # --------------------------------------------------------------------------------------------------- things with values

    def compartments(self, nowhere: str | None) -> list[str]:
        items = [
            f'      <compartment id="{name}" spatialDimensions="3" size="{_number(value)}" constant="{self.constant(name)}"/>'
            for name, value in self.network.compartments.items()
        ]
        items += [f'      <compartment id="{name}" spatialDimensions="3" constant="false"/>' for name in self.in_order(self.homes)]
        if nowhere is not None:
            here = f'<compartment id="{nowhere}" spatialDimensions="3" size="1" constant="true">'
            items.append(f"      {here}{_annotation('nowhere', '')}</compartment>")
        return items

    def species(self, nowhere: str | None) -> list[str]:
        return [
            f'      <species id="{species.name}" compartment="{species.compartment or nowhere}" initialAmount="{_number(count)}" '
            f'hasOnlySubstanceUnits="true" boundaryCondition="{_truth(species.boundary)}" constant="false"/>'
            for species, count in zip(self.network.species, self.network.initial.states[0], strict=True)
        ]

    def parameters(self) -> list[str]:
        items = [
            f'      <parameter id="{name}" value="{_number(value)}" constant="{self.constant(name)}"/>'
            for name, value in self.network.parameters.items()
        ]
        items += [f'      <parameter id="{name}" value="0" constant="false"/>' for name in self.memory]
        return items + [f'      <parameter id="{name}" constant="false"/>' for name in self.network.observables if name not in self.homes]

    def constant(self, name: str) -> str:
        return _truth(name not in self.network.variables)

    def in_order(self, wanted: Iterable[str | None]) -> list[str]:
        return [name for name in self.network.observables if name in set(wanted)]

    def rule(self, rule: Rule, tag: str = "assignmentRule") -> str:
        return f'      <{tag} variable="{rule.name}">{self.math(rule.formula)}</{tag}>'

    # -------------------------------------------------------------------------------------------------- reactions and events

    def reaction(self, reaction: Reaction) -> str:
        identifier, ours = self.identifier(reaction.name, "reaction")
        if isinstance(reaction.law, MassAction):
            ours += f' massAction="{reaction.law.convention}"'
        if reaction.net_flux:
            ours += ' netFlux="true"'
        lines = [f'      <reaction id="{identifier}" reversible="{_truth(reaction.net_flux)}">']
        if ours:
            lines.append(f"        {_annotation('reaction', ours)}")
        for what, side in (("Reactants", reaction.reactants), ("Products", reaction.products)):
            references = "".join(self.reference(name, n, identifier) for name, n in side)
            lines += [f"        <listOf{what}>{references}</listOf{what}>"] if side else []
        changed = {name for name, _ in (*reaction.reactants, *reaction.products)}
        modifiers = (names(reaction.propensity) & set(self.network.species_names)) - changed
        if modifiers:
            references = "".join(f'<modifierSpeciesReference species="{name}"/>' for name in sorted(modifiers))
            lines.append(f"        <listOfModifiers>{references}</listOfModifiers>")
        lines.append(f"        <kineticLaw>{self.math(reaction.propensity)}</kineticLaw>")
        return "\n".join([*lines, "      </reaction>"])

    def reference(self, name: str, n: int | Expr, reaction: str) -> str:
        if isinstance(n, int):
            return f'<speciesReference species="{name}" stoichiometry="{n}" constant="true"/>'
        if isinstance(n, Number) and n.value > 0 and math.isfinite(n.value) and not n.value.is_integer():
            return f'<speciesReference species="{name}" stoichiometry="{_number(n.value)}" constant="true"/>'
        if ratelaw.has_draws(n):
            raise ModelError(
                f"SBML can't hold the number of {name!r} in reaction {reaction!r}, {infix.to_infix(n)}: numbers of molecules are not drawn "
                "there; write the network as reaction text"
            )
        each = self.unused(f"{reaction}_{name}")
        self.rules.append(self.rule(Rule(each, n)))
        return f'<speciesReference id="{each}" species="{name}" constant="false">{_annotation("formula", "")}</speciesReference>'

    def event(self, event: Event) -> str:
        identifier, ours = self.identifier(event.name, "event")
        if all(factor is None for _, _, factor in event.parts()):
            return self.one_event(event, identifier, ours)
        second = self.unused(f"{identifier}_then")
        slots = [self.unused(f"{identifier}_sets_{each.name}") for each in event.assignments]
        self.memory += [*slots, second]
        kept = [Rule(slot, formula) for slot, (_, formula, _) in zip(slots, event.parts(), strict=True)]
        made = [
            Rule(name, Symbol(slot) if factor is None else Apply("*", (Symbol(slot), factor)))
            for slot, (name, _, factor) in zip(slots, event.parts(), strict=True)
        ]
        first = replace(event, assignments=(*kept, Rule(second, ONE)))
        trigger = Apply(">", (Symbol(second), ZERO))
        follower = Event(second, trigger, (*made, Rule(second, ZERO)), priority=self.first_of_all(), values_from_trigger=False)
        after = self.unused(f"{second}_event")
        return "\n".join([self.one_event(first, identifier, f'{ours} then="{after}"'), self.one_event(follower, after, "")])

    def first_of_all(self) -> Number:
        """A priority above all others; infinite, which some tools can't read, only where those are formulas."""
        others = [self.network.resolve(event.priority) for event in self.network.events if event.priority is not None]
        constants = [each.value for each in others if isinstance(each, Number)]
        return Number(max([0.0, *constants]) + 1.0 if len(constants) == len(others) else math.inf)

    def one_event(self, event: Event, identifier: str, ours: str) -> str:
        first = f'initialValue="{_truth(event.initially)}" persistent="{_truth(event.persistent)}"'
        lines = [f'      <event id="{identifier}" useValuesFromTriggerTime="{_truth(event.values_from_trigger)}">']
        if ours:
            lines.append(f"        {_annotation('event', ours)}")
        lines.append(f"        <trigger {first}>{self.math(event.trigger)}</trigger>")
        if event.priority is not None:
            lines.append(f"        <priority>{self.math(event.priority)}</priority>")
        if event.delay != ZERO:
            lines.append(f"        <delay>{self.math(event.delay)}</delay>")
        made = "".join(f'<eventAssignment variable="{each.name}">{self.math(each.formula)}</eventAssignment>' for each in event.assignments)
        lines += [f"        <listOfEventAssignments>{made}</listOfEventAssignments>"] if made else []
        return "\n".join([*lines, "      </event>"])


def _listed(what: str, items: list[str]) -> list[str]:
    return [f"    <listOf{what}>", *items, f"    </listOf{what}>"] if items else []


def _annotation(what: str, attributes: str) -> str:
    return f'<annotation><cme:{what} xmlns:cme="{NAMESPACE}"{attributes}/></annotation>'


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
