"""Reactions of SBML: local parameters, how many molecules, conversion factors, kinetic laws; and reversible ones in two."""

import math
from collections import ChainMap
from dataclasses import replace
from typing import Any

from cme import ratelaw
from cme.elements import MassAction, Reaction, Side
from cme.formats.reversible import Splitter
from cme.formats.sbml_model import Model
from cme.formats.sbml_open import annotation, items
from cme.ratelaw import ONE, ZERO, Apply, Expr, Number, Symbol


def read_laws(model: Model) -> dict[str, Expr]:
    """The net law of every reaction as it stands."""
    return {item.getId(): _Reading(model, item, set()).law() for item in model.reactions}


def read_reactions(model: Model, laws: dict[str, Expr], moving: set[str]) -> dict[str, Reaction]:
    """Every reaction under its SBML identifier; `moving` are the references that a formula sets or uses."""
    return {item.getId(): _Reading(model, item, moving).reaction(laws[item.getId()]) for item in model.reactions}


class _Reading:
    """One reaction of a model."""

    def __init__(self, model: Model, element: Any, moving: set[str]):
        self.model, self.element, self.moving = model, element, moving
        self.name = element.getId()
        self.where = f"reaction {self.name!r}"
        self.taken, self.made = list[tuple[str, int | Expr]](), list[tuple[str, int | Expr]]()

    def law(self) -> Expr:
        law = self.element.getKineticLaw()
        if law is None or not law.isSetMath():
            what = "has no kinetic law" if law is None else "has a kinetic law without a formula"
            self.model.refuse(self.element, f"{self.where} {what}, so that its rate is not known; give it one")
            return ONE
        own = self.local_parameters(law)
        formula = self.model.formula(law, f"the kinetic law of {self.where}", ChainMap[str, Expr](dict(own), self.model.scope))
        used = ratelaw.names(formula)
        for parameter in items(law, self.local_kind):
            symbol = own[parameter.getId()]
            if parameter.isSetValue():
                value = parameter.getValue()
                self.model.local_values[symbol.name] = math.nan if math.isnan(value) else value
            elif symbol.name in used:
                what = f"the local parameter {parameter.getId()!r} of {self.where} has no value; give it one"
                self.model.refuse(parameter, what)
                self.model.local_values[symbol.name] = 1.0
        return formula

    def reaction(self, law: Expr) -> Reaction:
        self.read_side("Reactant", self.taken, self.made)
        self.read_side("Product", self.made, self.taken)
        ours = annotation(self.element, "reaction") or {}
        name = ours.get("name", self.name)
        found = Reaction(name, _merged(self.taken), _merged(self.made), law, net_flux="netFlux" in ours)
        return _as_mass_action(found, ours["massAction"]) if "massAction" in ours else found

    @property
    def local_kind(self) -> str:
        return "LocalParameter" if self.model.level >= 3 else "Parameter"

    def local_parameters(self, law: Any) -> dict[str, Symbol]:
        """They become parameters of the network, and hide what has the same name outside."""
        found: dict[str, Symbol] = {}
        for parameter in items(law, self.local_kind):
            each = parameter.getId()
            if each in found:
                self.model.refuse(parameter, f"{self.where} has two local parameters {each!r}; rename one")
                continue
            found[each] = Symbol(self.model.unused(f"{self.name}_{each}"))
            self.model.elements["parameter", found[each].name] = parameter
        return found

    def read_side(self, kind: str, here: list[tuple[str, int | Expr]], there: list[tuple[str, int | Expr]]) -> None:
        """The species of one side that the reaction changes, and by how much; a negative number belongs to the other side."""
        model = self.model
        for reference in items(self.element, kind):
            name = reference.getSpecies()
            if name not in model.species:
                model.refuse(reference, f"{self.where} uses species {name!r}, which does not exist")
                continue
            free = model.species[name].getBoundaryCondition()
            if not free and (model.species[name].getConstant() or name in model.rules or name in model.flows):
                fixed = "constant" if model.species[name].getConstant() else "set by a rule"
                model.refuse(reference, f"{self.where} changes species {name!r}, which is {fixed} and no boundary species")
            n = self.number(reference)
            if n == 0 or name in model.rules:  # a species that a rule sets is no state: there is nothing to change
                continue
            if isinstance(n, Number) and n.value < 0 and annotation(reference, "formula") is None:
                there.append((name, int(-n.value) if n.value.is_integer() else Number(-n.value)))
            else:
                here.append((name, n))

    def number(self, reference: Any) -> int | Expr:
        """How many molecules, as a whole number where it is one."""
        model, name, each = self.model, reference.getSpecies(), reference.getId()
        if reference.isSetStoichiometryMath() and reference.getStoichiometryMath().isSetMath():
            where = f"the stoichiometry of {name!r} in {self.where}"
            return self.converted(name, model.formula(reference.getStoichiometryMath(), where))
        if each and each in self.moving:
            inlined = each in model.rules and annotation(reference, "formula") is not None
            return model.rules[each] if inlined else self.converted(name, Symbol(each))
        value = reference.getStoichiometry() / reference.getDenominator()
        if math.isnan(value):
            if model.is_held(name):
                return 1  # no matter: the reaction does not change it
            model.refuse(
                reference, f"{self.where}: the stoichiometry of {name!r} is not given; give it, or a rule or an initial assignment"
            )
            return 1
        return self.converted(name, Number(value))

    def converted(self, name: str, n: Expr) -> int | Expr:
        """Times the conversion factor, which turns the extent of the reaction into the unit of the species."""
        factor = self.model.species[name].getConversionFactor() or self.model.sbml.getConversionFactor()
        if factor and factor not in self.model.parameters:
            self.model.refuse(self.model.species[name], f"the conversion factor {factor!r} of species {name!r} is no parameter")
        elif factor and not self.model.is_held(name):
            return Symbol(factor) if n == ONE else ratelaw.call("*", (n, Symbol(factor)))
        return int(n.value) if isinstance(n, Number) and n.value.is_integer() and n.value >= 0 else n


def _merged(side: list[tuple[str, int | Expr]]) -> Side:
    """Whole numbers of the same species added up, where the species stands first."""
    total: dict[str, int] = {}
    for name, n in side:
        if isinstance(n, int):
            total[name] = total.get(name, 0) + n
    merged = list[tuple[str, int | Expr]]()
    for name, n in side:
        if not isinstance(n, int):
            merged.append((name, n))
        elif name in total:
            merged.append((name, total.pop(name)))
    return tuple(merged)


def _as_mass_action(reaction: Reaction, convention: str) -> Reaction:
    """Read a law that `write` made from mass action back as mass action; any other law stays as written."""
    assert not isinstance(reaction.law, MassAction)
    if convention not in ("combinations", "falling"):
        return reaction
    counts = [n for _, n in reaction.reactants if isinstance(n, int)]
    order = sum(counts)
    law: Expr = reaction.law
    permutations = math.prod(map(math.factorial, counts))
    if convention == "combinations" and permutations > 1 and isinstance(law, Apply) and law.op == "/":
        law = law.args[0]
    if order and isinstance(law, Apply) and law.op == "*" and len(law.args) > order:
        constants = law.args[: len(law.args) - order]
        law = constants[0] if len(constants) == 1 else Apply("*", constants)
    found = Reaction(reaction.name, reaction.reactants, reaction.products, MassAction(law, convention))  # type: ignore[arg-type]
    return found if found.propensity == reaction.law else reaction


def _split(splitter: Splitter, law: Expr) -> tuple[Expr, Expr] | None:
    try:
        return splitter.split(law)
    except RecursionError:  # rules within rules, each of them long
        return None


def directed(model: Model, reactions: dict[str, Reaction], splitter: Splitter) -> list[Reaction]:
    """Split reversible reactions where the law is a difference of two terms that can't be negative; else the law is a net flux."""
    found = list[Reaction]()
    names = {each.name for each in reactions.values()}
    for item in model.reactions:
        reaction = reactions[item.getId()]
        parts: tuple[Expr, Expr] | None = (reaction.propensity, ZERO)
        if item.getReversible() and not isinstance(reaction.law, MassAction) and not reaction.net_flux:
            parts = _split(splitter, reaction.law)
        if parts is None:
            found.append(replace(reaction, net_flux=True))
        elif parts[1] == ZERO:
            found.append(reaction)
        elif parts[0] == ZERO:
            found.append(Reaction(reaction.name, reaction.products, reaction.reactants, parts[1]))
        else:
            name = f"{reaction.name}_back"
            while name in names:
                name += "_"
            names.add(name)
            found += [replace(reaction, law=parts[0]), Reaction(name, reaction.products, reaction.reactants, parts[1])]
    return found
