"""An SBML model on its way to a `Network`: what its identifiers mean, its formulas, and all that can't be taken, with lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cme import ratelaw
from cme.errors import ModelError
from cme.formats import mathml
from cme.formats.sbml_open import items, unsupported
from cme.formats.sbml_units import differing_units
from cme.ratelaw import ONE, ZERO, Apply, Expr, Symbol


class Model:
    """The elements of one SBML model by identifier, and what each identifier stands for in a formula.

    A symbol that SBML reads as a concentration stands for count / volume; all else stands for itself.
    """

    def __init__(self, document: Any, label: str):
        self.document, self.sbml, self.label = document, document.getModel(), label
        self.level = self.sbml.getLevel()
        self.fallback_name = Path(label).stem if Path(label).suffix else "network"
        self.problems = unsupported(document) + differing_units(self.sbml)
        self.compartments = {item.getId(): item for item in items(self.sbml, "Compartment")}
        self.species = {item.getId(): item for item in items(self.sbml, "Species")}
        self.parameters = {item.getId(): item for item in items(self.sbml, "Parameter")}
        self.reactions, self.events = items(self.sbml, "Reaction"), items(self.sbml, "Event")
        everyone = [item for each in self.reactions for side in ("Reactant", "Product") for item in items(each, side)]
        self.references = {item.getId(): item for item in everyone if item.isSetId()}
        self.definitions = {item.getId(): item for item in items(self.sbml, "FunctionDefinition")}
        self.bodies: dict[str, tuple[int, Expr]] = {}  # function definitions that have been read: number of arguments, body
        self.rules: dict[str, Expr] = {}  # assignment rules, species in counts
        self.flows: dict[str, Expr] = {}  # rate rules, the derivative of what the symbol means
        self.local_values: dict[str, float] = {}
        self.taken = self.check_identifiers(everyone)
        self.clock = Symbol(self.unused(ratelaw.TIME)) if ratelaw.TIME in self.taken else Symbol(ratelaw.TIME)
        self.scope = self.make_scope()
        self.meanings = {meaning: name for name, meaning in self.scope.items()}

    def refuse(self, element: Any, what: str) -> None:
        self.problems.append((element.getLine(), what))

    def raise_problems(self) -> None:
        lines = [f"line {line}: {what}" for line, what in sorted(set(self.problems))]
        if len(lines) == 1:
            raise ModelError(f"{self.label}, {lines[0]}")
        if lines:
            raise ModelError(f"{self.label}: {len(lines)} things in this SBML model can't be taken\n  " + "\n  ".join(lines))

    def check_identifiers(self, references: list[Any]) -> set[str]:
        """Refuse identifiers that are used twice, and species in compartments that do not exist."""
        seen: set[str] = set()
        everything = [item for kind in ("Compartment", "Species", "Parameter", "FunctionDefinition") for item in items(self.sbml, kind)]
        for item in (*everything, *self.reactions, *(item for item in (*references, *self.events) if item.isSetId())):
            if item.getId() in seen:
                self.refuse(item, f"the identifier {item.getId()!r} is used twice")
            seen.add(item.getId())
        for each, species in self.species.items():
            if species.getCompartment() not in self.compartments:
                self.refuse(species, f"species {each!r} is in compartment {species.getCompartment()!r}, which does not exist")
        return seen

    def unused(self, name: str) -> str:
        """The name, longer if it is taken."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    # -------------------------------------------------------------------------------------------------- identifiers

    def make_scope(self) -> dict[str, Expr]:
        named = (*self.compartments, *self.parameters, *(reaction.getId() for reaction in self.reactions), *self.references)
        scope: dict[str, Expr] = {each: Symbol(each) for each in named}
        for each, species in self.species.items():
            scope[each] = Apply("/", (Symbol(each), Symbol(species.getCompartment()))) if self.is_concentration(each) else Symbol(each)
        return scope

    def is_concentration(self, name: str) -> bool:
        """Whether the symbol of a species means its concentration; in a point, which has no volume, it means the amount."""
        species = self.species.get(name)
        if species is None or species.getHasOnlySubstanceUnits():
            return False
        compartment = self.compartments.get(species.getCompartment())
        return compartment is None or compartment.getSpatialDimensionsAsDouble() != 0

    def volume(self, name: str) -> Expr:
        """What turns the value that a symbol means into the one that the network holds: the volume for a concentration, else 1."""
        return Symbol(self.species[name].getCompartment()) if self.is_concentration(name) else ONE

    def to_count(self, name: str, formula: Expr) -> Expr:
        """The count of a species whose symbol equals `formula`; any other name keeps its value."""
        volume = self.volume(name)
        return formula if volume == ONE else _times(formula, volume)

    def is_variable(self, name: str) -> bool:
        """Whether this is a compartment, species, parameter or reference, which a rule, an event or a start may set."""
        return name in self.compartments or name in self.species or name in self.parameters or name in self.references

    def is_held(self, name: str) -> bool:
        """Whether this is a species that no reaction changes."""
        species = self.species[name]
        return species.getBoundaryCondition() or species.getConstant() or name in self.rules

    # ----------------------------------------------------------------------------------------------------- formulas

    def formula(self, element: Any, where: str, scope: Mapping[str, Expr] | None = None, draws: bool = False) -> Expr:
        """The formula of an element; a problem is noted and gives 0."""
        try:
            found = mathml.read(element.getMath(), self.scope if scope is None else scope, self.call, self.clock, self.taken)
        except ModelError as error:
            self.refuse(element, f"{where}: {error}")
        except RecursionError:
            self.refuse(element, f"{where}: function definitions call each other too deeply")
        else:
            if draws or not ratelaw.has_draws(found):
                return found
            self.refuse(element, f"{where} draws random numbers; only an event or an initial assignment may; draw into a parameter there")
        return ZERO

    def has_formula(self, element: Any, where: str) -> bool:
        """Whether an element has a formula; before Level 3 Version 2 it must, after that one without has no effect."""
        if element is not None and element.isSetMath():
            return True
        if element is not None and (self.level, self.sbml.getVersion()) < (3, 2):
            self.refuse(element, f"{where} has no formula")
        return False

    def call(self, name: str, args: tuple[Expr, ...]) -> Expr:
        """Fill the arguments into a function definition. Each definition is read once."""
        if name not in self.bodies:
            definition = self.definitions.pop(name, None)
            if definition is None:
                known = name in self.taken
                raise ModelError(f"function {name!r} {'calls itself, directly or through others' if known else 'is not defined'}")
            arity = definition.getNumArguments()
            scope: dict[str, Expr] = {definition.getArgument(i).getName(): Symbol(f"${i}") for i in range(arity)}
            try:
                if definition.getBody() is None:
                    raise ModelError("it has no formula")
                self.bodies[name] = arity, mathml.read(definition.getBody(), scope, self.call, self.clock, self.taken)
            except ModelError as error:
                self.refuse(definition, f"function definition {name!r}: {error}")
                self.bodies[name] = arity, ZERO
        arity, body = self.bodies[name]
        if len(args) != arity:
            raise ModelError(f"function {name!r} takes {arity} arguments, not {len(args)}")
        for i, arg in enumerate(args):
            if ratelaw.has_draws(arg) and _count(body, f"${i}") > 1:
                raise ModelError(
                    f"function {name!r} uses a random number more than once; set a parameter to the random number, and use that"
                )
        return ratelaw.substitute(body, {f"${i}": arg for i, arg in enumerate(args)})


def _count(expr: Expr, name: str) -> int:
    """How often a symbol stands in an expression."""
    if isinstance(expr, Apply):
        return sum(_count(arg, name) for arg in expr.args)
    return int(isinstance(expr, Symbol) and expr.name == name)


def _times(formula: Expr, volume: Expr) -> Expr:
    """A concentration times its volume; where count / volume stands in it the count is taken, so that whole numbers stay whole."""
    whole = _cancelled(formula, volume)
    return ratelaw.call("*", (formula, volume)) if whole is None else whole


def _cancelled(formula: Expr, volume: Expr) -> Expr | None:
    """The product without a division by the volume, None if there is none to drop."""
    if not isinstance(formula, Apply):
        return None
    op, args = formula.op, formula.args
    if op == "/" and args[1] == volume:
        return args[0]
    if op in ("neg", "/"):
        first = _cancelled(args[0], volume)
        return None if first is None else Apply(op, (first, *args[1:]))
    if op == "*":
        for i, arg in enumerate(args):
            whole = _cancelled(arg, volume)
            if whole is not None:
                return ratelaw.call("*", (*args[:i], whole, *args[i + 1 :]))
    if op in ("+", "piecewise"):  # every term, and every value of a piecewise
        terms = range(len(args)) if op == "+" else [*range(0, len(args) - 1, 2), len(args) - 1]
        found = {i: _cancelled(args[i], volume) for i in terms}
        if any(whole is not None for whole in found.values()):
            parts = [_times(arg, volume) if i in found else arg for i, arg in enumerate(args)]
            return ratelaw.call(op, parts)
    return None


def read_rules(model: Model) -> None:
    """Collect the assignment rules, species in counts, and the rate rules, in what the symbol means."""
    seen: set[str] = set()
    for rule in items(model.sbml, "Rule"):
        if rule.isAlgebraic():
            continue
        variable = rule.getVariable()
        where = f"the {'rate' if rule.isRate() else 'assignment'} rule for {variable!r}"
        if not model.is_variable(variable):
            model.refuse(rule, f"{where}: {variable!r} is not defined")
        elif variable in seen:
            model.refuse(rule, f"{where}: there are two rules for it")
        elif model.has_formula(rule, where):
            formula = model.formula(rule, where)
            if rule.isRate():
                model.flows[variable] = formula
            else:
                model.rules[variable] = model.to_count(variable, formula)
        seen.add(variable)
