"""SBML, Levels 1 to 3, to `Network` (through libsbml) and back.

What SBML leaves open is fixed as follows.

- Amounts are counts of molecules, whatever unit is declared; kinetic laws are propensities, taken as written.
- In a formula, a species that SBML reads as a concentration becomes count / volume.
- A species that an assignment rule sets is no state but an observable, and it too is an amount.
- A compartment whose size nothing sets has size 1. A parameter that nothing sets and nothing uses is left out.
- Units, notes, annotations, layouts and other packages that are not required do not change the numbers and are not read.
"""

import math
import os
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from cme import infix, ratelaw
from cme.elements import Initial, MassAction, Reaction, Rule, Species, Values
from cme.errors import ModelError
from cme.formats import mathml
from cme.formats.sbml_open import annotation, items, open_document, unsupported
from cme.formats.sbml_write import write as write
from cme.network import Network
from cme.ratelaw import Apply, Expr, Number, Symbol


def read(source: str | os.PathLike, *, name: str | None = None) -> Network:
    """Read a network from SBML.

    Parameters
    ----------
    source
        A path, or the text of an SBML document (a string that starts with ``<``).
    name
        The name of the network; otherwise the model's name or id.

    Returns
    -------
    Network
        Everything in counts. Local parameters become parameters named ``reaction_parameter``, function definitions are filled in.

    Raises
    ------
    ModelError
        If the document is no SBML, or holds anything that is not supported or means nothing: all of it is listed, by name and line.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Notes
    -----
    Supported: reactions with kinetic laws, global and local parameters, function definitions, compartments of constant size, amounts
    and concentrations, boundary and constant species, initial assignments, assignment rules to species and parameters. A
    reversible reaction whose law is a difference is a net flux and no propensity, and is refused.

    The time is linear in the size of the file.
    """
    document, label = open_document(source)
    return _Reader(document, label).network(name)


class _Reader:
    """One SBML model on its way to a `Network`. What can't be taken is collected, so that all of it is told at once."""

    def __init__(self, document: Any, label: str):
        self.document, self.model, self.label = document, document.getModel(), label
        self.problems = unsupported(document)
        self.compartments = {item.getId(): item for item in items(self.model, "Compartment")}
        self.species = {item.getId(): item for item in items(self.model, "Species")}
        self.parameters = {item.getId(): item for item in items(self.model, "Parameter")}
        self.reactions = items(self.model, "Reaction")
        self.references = [item for each in self.reactions for side in ("Reactant", "Product") for item in items(each, side)]
        self.definitions = {item.getId(): item for item in items(self.model, "FunctionDefinition")}
        self.bodies: dict[str, tuple[int, Expr]] = {}  # function definitions that have been read: number of arguments, body
        self.scope: dict[str, Expr] = {}  # what an identifier stands for in a formula
        self.rules: dict[str, Expr] = {}  # assignment rules, species in counts
        self.initial: dict[str, Expr] = {}  # values at t = 0, species in counts
        self.local_values: dict[str, float] = {}
        self.assigned = {item.getSymbol() for item in items(self.model, "InitialAssignment")}
        self.assigned |= {item.getVariable() for item in items(self.model, "Rule")}

    def refuse(self, element: Any, what: str) -> None:
        self.problems.append((element.getLine(), what))

    def network(self, name: str | None) -> Network:
        self.check_identifiers()
        self.define_scope()
        self.read_rules()
        reactions = [self.read_reaction(reaction) for reaction in self.reactions]
        self.read_initial()
        used = self.used_names(reactions)
        for item, reaction in zip(self.reactions, reactions, strict=True):
            if item.getId() in used:  # a formula may use the rate of a reaction
                self.rules[item.getId()] = reaction.propensity
        for each, parameter in self.parameters.items():
            if each in used and each not in self.initial and each not in self.rules:
                self.refuse(parameter, f"parameter {each!r} has no value")
        self.raise_problems()
        values = self.initial_values()
        self.raise_problems()
        states = [each for each in self.species if each not in self.rules]
        try:
            return Network(
                species=tuple(self.make_species(self.species[each]) for each in states),
                reactions=tuple(reactions),
                initial=Initial((tuple(values[each] for each in states),)),
                parameters=Values({each: values[each] for each in self.parameters if each in self.initial} | self.local_values),
                compartments=Values({each: values[each] for each, c in self.compartments.items() if annotation(c, "nowhere") is None}),
                rules=tuple(Rule(variable, formula) for variable, formula in self.rules.items()),
                name=name or self.model.getName() or self.model.getId() or "network",
            )
        except ModelError as error:
            raise ModelError(f"{self.label}: {error}") from None

    def raise_problems(self) -> None:
        lines = [f"line {line}: {what}" for line, what in sorted(self.problems)]
        if len(lines) == 1:
            raise ModelError(f"{self.label}, {lines[0]}")
        if lines:
            raise ModelError(f"{self.label}: {len(lines)} things in this SBML model can't be taken\n  " + "\n  ".join(lines))

    def check_identifiers(self) -> None:
        """Refuse identifiers that are used twice, and species in compartments that do not exist."""
        seen: set[str] = set()
        everything = [item for kind in ("Compartment", "Species", "Parameter", "FunctionDefinition") for item in items(self.model, kind)]
        for item in (*everything, *self.reactions, *(reference for reference in self.references if reference.isSetId())):
            if item.getId() in seen:
                self.refuse(item, f"the identifier {item.getId()!r} is used twice")
            seen.add(item.getId())
        for each, species in self.species.items():
            if species.getCompartment() not in self.compartments:
                self.refuse(species, f"species {each!r} is in compartment {species.getCompartment()!r}, which does not exist")
        self.taken = seen

    # ---------------------------------------------------------------------------------------------------- formulas

    def define_scope(self) -> None:
        for each in (*self.compartments, *self.parameters, *(reaction.getId() for reaction in self.reactions)):
            self.scope[each] = Symbol(each)
        self.scope |= {item.getId(): Number(item.getStoichiometry()) for item in self.references if item.isSetId()}
        for each, species in self.species.items():
            self.scope[each] = Apply("/", (Symbol(each), Symbol(species.getCompartment()))) if self.is_concentration(each) else Symbol(each)

    def is_concentration(self, name: str) -> bool:
        """Whether SBML reads the symbol of a species as its concentration."""
        species = self.species[name]
        compartment = self.compartments.get(species.getCompartment())
        point = compartment is not None and compartment.getSpatialDimensionsAsDouble() == 0
        return not (species.getHasOnlySubstanceUnits() or point)

    def to_count(self, name: str, formula: Expr) -> Expr:
        """The count of a species whose symbol equals `formula`; any other name keeps its value."""
        if name in self.species and self.is_concentration(name):
            return ratelaw.call("*", (formula, Symbol(self.species[name].getCompartment())))
        return formula

    def formula(self, element: Any, where: str, scope: Mapping[str, Expr] | None = None) -> Expr:
        """The formula of an element; a problem is noted and gives 0."""
        math = element.getMath() if element is not None else None
        if math is None:
            self.refuse(element, f"{where} has no formula")
            return ratelaw.ZERO
        try:
            return mathml.read(math, self.scope if scope is None else scope, self.call)
        except ModelError as error:
            self.refuse(element, f"{where}: {error}")
        except RecursionError:
            self.refuse(element, f"{where}: function definitions call each other too deeply")
        return ratelaw.ZERO

    def call(self, name: str, args: tuple[Expr, ...]) -> Expr:
        """Fill the arguments into a function definition. Each definition is read once."""
        if name not in self.bodies:
            definition = self.definitions.pop(name, None)
            if definition is None:
                known = name in self.taken
                raise ModelError(f"function {name!r} {'calls itself, directly or through others' if known else 'is not defined'}")
            arity = definition.getNumArguments()
            scope = {definition.getArgument(i).getName(): Symbol(f"${i}") for i in range(arity)}
            try:
                if definition.getBody() is None:
                    raise ModelError("it has no formula")
                self.bodies[name] = arity, mathml.read(definition.getBody(), scope, self.call)
            except ModelError as error:
                self.refuse(definition, f"function definition {name!r}: {error}")
                self.bodies[name] = arity, ratelaw.ZERO
        arity, body = self.bodies[name]
        if len(args) != arity:
            raise ModelError(f"function {name!r} takes {arity} arguments, not {len(args)}")
        return ratelaw.substitute(body, {f"${i}": arg for i, arg in enumerate(args)})

    def read_rules(self) -> None:
        for rule in items(self.model, "Rule"):
            variable, where = rule.getVariable(), f"the assignment rule for {rule.getVariable()!r}"
            if not rule.isAssignment():
                continue
            if variable in self.compartments:
                self.refuse(rule, f"{where}: a volume that a rule sets is not supported")
            elif variable in self.species or variable in self.parameters:
                if variable in self.rules:
                    self.refuse(rule, f"{where}: there are two")
                self.rules[variable] = self.to_count(variable, self.formula(rule, where))
            elif variable not in self.scope:
                self.refuse(rule, f"{where}: {variable!r} is not defined")
            # a rule for a stoichiometry is refused with its reaction

    # --------------------------------------------------------------------------------------------------- reactions

    def read_reaction(self, reaction: Any) -> Reaction:
        name, law = reaction.getId(), reaction.getKineticLaw()
        where = f"reaction {name!r}"
        reactants = self.read_side(items(reaction, "Reactant"), where)
        products = self.read_side(items(reaction, "Product"), where)
        if law is None:
            self.refuse(reaction, f"{where} has no kinetic law")
            return Reaction(name, reactants, products, ratelaw.ZERO)
        scope = ChainMap(self.read_local_parameters(law, name), self.scope)
        formula = self.formula(law, f"the kinetic law of {where}", scope)
        if reaction.getReversible() and self.is_difference(formula):
            shown = infix.shorten(infix.to_infix(formula), 80)
            self.refuse(
                reaction,
                f"{where} is reversible and its law {shown} is a difference, a net flux and no propensity; "
                'write the forward and the backward reaction as two, each reversible="false"',
            )
        ours = annotation(reaction, "reaction")
        if ours is not None:
            name = ours.get("name", name)
            if "massAction" in ours:
                return _as_mass_action(Reaction(name, reactants, products, formula), ours["massAction"])
        return Reaction(name, reactants, products, formula)

    def read_local_parameters(self, law: Any, reaction: str) -> dict[str, Expr]:
        scope: dict[str, Expr] = {}
        for parameter in items(law, "LocalParameter" if self.model.getLevel() >= 3 else "Parameter"):
            name = f"{reaction}_{parameter.getId()}"
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            if not math.isfinite(parameter.getValue()):
                self.refuse(parameter, f"the local parameter {parameter.getId()!r} of reaction {reaction!r} has no value")
                continue
            scope[parameter.getId()] = Symbol(name)
            self.local_values[name] = parameter.getValue()
        return scope

    def read_side(self, references: list[Any], where: str) -> tuple[tuple[str, int], ...]:
        counts: dict[str, int] = {}
        for reference in references:
            name = reference.getSpecies()
            if name not in self.species:
                self.refuse(reference, f"{where} uses species {name!r}, which does not exist")
                continue
            held = self.species[name].getConstant() or name in self.rules
            if held and not self.species[name].getBoundaryCondition():
                fixed = "set by an assignment rule" if name in self.rules else "constant"
                self.refuse(reference, f"{where} changes species {name!r}, which is {fixed} and no boundary species")
            if reference.isSetStoichiometryMath() or (reference.isSetId() and reference.getId() in self.assigned):
                self.refuse(reference, f"{where}: the stoichiometry of {name!r} is set by a formula, which is not supported")
                continue
            number = reference.getStoichiometry() / reference.getDenominator()
            if not number >= 0 or number != math.floor(number):
                self.refuse(reference, f"{where}: the stoichiometry of {name!r} is {number:g}, not a whole number >= 0")
            elif number and name not in self.rules:  # a species that a rule sets is no state: there is nothing to change
                counts[name] = counts.get(name, 0) + int(number)
        return tuple(counts.items())

    def is_difference(self, law: Expr, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a law subtracts a named quantity (not just a number, as in P*(P - 1)) outside denominators and function arguments."""
        if isinstance(law, Symbol) and law.name in self.rules and law.name not in seen:
            return self.is_difference(self.rules[law.name], seen | {law.name})
        if not isinstance(law, Apply) or law.op not in ("+", "*", "/", "neg", "piecewise"):
            return False
        if law.op == "+" and any(_is_negative(arg) and ratelaw.names(arg) for arg in law.args):
            return True
        return any(self.is_difference(arg, seen) for arg in (law.args[:1] if law.op == "/" else law.args))

    # ----------------------------------------------------------------------------------------------------- initial

    def read_initial(self) -> None:
        """Collect the formula of every value at t = 0."""
        for each, compartment in self.compartments.items():
            self.initial[each] = Number(compartment.getSize() if compartment.isSetSize() else 1.0)
        for each, parameter in self.parameters.items():
            if math.isfinite(parameter.getValue()) and each not in self.rules:
                self.initial[each] = Number(parameter.getValue())
        for each, species in self.species.items():
            if each in self.rules:
                continue
            if species.isSetInitialAmount():
                self.initial[each] = Number(species.getInitialAmount())
            elif species.isSetInitialConcentration():
                self.initial[each] = Apply("*", (Number(species.getInitialConcentration()), Symbol(species.getCompartment())))
            elif each not in self.assigned:
                self.refuse(species, f"species {each!r} has no initial amount")
        for item in items(self.model, "InitialAssignment"):
            symbol, where = item.getSymbol(), f"the initial assignment to {item.getSymbol()!r}"
            if symbol in self.rules:
                self.refuse(item, f"{where}: an assignment rule sets it too")
            elif symbol in self.compartments or symbol in self.parameters or symbol in self.species:
                self.initial[symbol] = self.to_count(symbol, self.formula(item, where))
            elif symbol not in self.scope:
                self.refuse(item, f"{where}: {symbol!r} is not defined")

    def used_names(self, reactions: list[Reaction]) -> set[str]:
        formulas = [r.law.constant if isinstance(r.law, MassAction) else r.law for r in reactions]
        return set().union(*(ratelaw.names(formula) for formula in [*formulas, *self.rules.values(), *self.initial.values()]))

    def initial_values(self) -> dict[str, float]:
        """Evaluate what holds at t = 0, each after what it depends on, without recursion."""
        formulas, values = {**self.rules, **self.initial}, dict(self.local_values)
        opened: set[str] = set()
        for target in self.initial:
            stack = [target]
            while stack:
                name = stack[-1]
                needed = [other for other in ratelaw.names(formulas[name]) if other not in values and other in formulas]
                if name in values:
                    stack.pop()
                elif not needed:
                    values[name] = self.evaluate(name, formulas[name], values)
                    stack.pop()
                elif name in opened:
                    self.refuse(self.model, f"the initial value of {name!r} depends on itself")
                    return values
                else:
                    opened.add(name)
                    stack += needed
        return values

    def evaluate(self, name: str, formula: Expr, values: dict[str, float]) -> float:
        if isinstance(formula, Number):
            return formula.value
        known = {other: values[other] if other in values else ratelaw.CONSTANTS[other] for other in ratelaw.names(formula)}
        value = float(ratelaw.evaluate(formula, known))
        if name in self.species and math.isfinite(value) and abs(value - round(value)) <= 1e-15 * abs(value) * 4:
            return float(round(value))  # 1.1 per litre in 10 litres is 11 molecules, not 11.000000000000002
        return value

    def make_species(self, species: Any) -> Species:
        compartment = species.getCompartment()
        inside = None if annotation(self.compartments[compartment], "nowhere") is not None else compartment
        return Species(species.getId(), inside, species.getBoundaryCondition() or species.getConstant())


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


def _is_negative(expr: Expr) -> bool:
    if isinstance(expr, Number):
        return expr.value < 0
    if isinstance(expr, Apply) and expr.op in ("*", "/"):
        return any(_is_negative(arg) for arg in expr.args)
    return isinstance(expr, Apply) and expr.op == "neg"
