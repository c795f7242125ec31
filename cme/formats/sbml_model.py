"""An SBML model on its way to a `Network`: what its identifiers mean, its formulas, and all that can't be taken, with lines."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from cme import ratelaw
from cme.errors import ModelError, Problem, refusal
from cme.formats import mathml
from cme.formats.sbml_open import items, unsupported
from cme.formats.sbml_units import differing_units
from cme.ratelaw import ONE, Apply, Expr, Symbol

# Kinetic laws that had a name in Level 1; libsbml knows none of their formulas.
_RATE_LAWS = set(
    "mass massi massr uui uur uuhr isouur hilli hillr hillmr hillmmr usii usir uai ucii ucir unii unir uuci uucr umi umr uaii uar ucti "
    "uctr umai umar uhmi uhmr ualii ordubr ordbur ordbbr ppbr".split()
)


class Model:
    """The elements of one SBML model by identifier, and what each identifier stands for in a formula.

    A symbol that SBML reads as a concentration stands for count / volume; all else stands for itself.
    """

    def __init__(self, document: Any, label: str):
        self.document, self.sbml, self.label = document, document.getModel(), label
        self.level = self.sbml.getLevel()
        self.fallback_name = Path(label).stem if Path(label).suffix else "network"
        self.problems: list[Problem] = []
        for element, what in (*unsupported(document), *differing_units(self.sbml)):
            self.refuse(element, what)
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
        """Note what is wrong. Reading goes on, with 1 in place of what could not be read, to find what else is."""
        self.problems.append(Problem(element.getElementName(), element.getId(), what, element.getLine()))

    def raise_problems(self) -> None:
        if self.problems:
            raise refusal(self.problems, self.label)

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
                self.refuse(
                    species,
                    f"species {each!r} is in compartment {species.getCompartment()!r}, which does not exist; declare it with its size",
                )
        return seen

    @cached_property
    def elements(self) -> dict[tuple[str, str], Any]:
        """Elements by what the network calls them, kind and name."""
        found = {("reaction", item.getId()): item for item in self.reactions}
        for rule in items(self.sbml, "Rule"):
            if not rule.isAlgebraic():
                found["rate rule" if rule.isRate() else "rule", rule.getVariable()] = rule
        found |= {("event", item.getId()): item for item in self.events}
        found |= {("start", item.getSymbol()): item for item in items(self.sbml, "InitialAssignment")}
        for kind, named in (("compartment", self.compartments), ("parameter", self.references | self.parameters), ("count", self.species)):
            found |= {(kind, each): item for each, item in named.items()}
        return found | {("species", each): item for each, item in self.species.items()}

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
        """Whether the symbol of a species means its concentration; in a point, which has no size, it means the amount.

        In Level 3 a compartment without dimensions may have a size all the same: dimensions do not change what formulas mean there.
        """
        species = self.species.get(name)
        if species is None or species.getHasOnlySubstanceUnits():
            return False
        home = species.getCompartment()
        return home in self.compartments and (home not in self.points or home in self.sized)

    @cached_property
    def points(self) -> set[str]:
        """Compartments without dimensions."""
        return {each for each, item in self.compartments.items() if self.level >= 2 and item.getSpatialDimensionsAsDouble() == 0}

    @cached_property
    def sized(self) -> set[str]:
        """Compartments that something gives a size."""
        targets = {item.getSymbol() for item in items(self.sbml, "InitialAssignment")}
        targets |= {rule.getVariable() for rule in items(self.sbml, "Rule") if not rule.isAlgebraic()}
        targets |= {each.getVariable() for event in self.events for each in items(event, "EventAssignment")}
        return {each for each, item in self.compartments.items() if item.isSetSize() or each in targets}

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
        return ONE

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
                raise ModelError(self.why_no_function(name))
            arity = definition.getNumArguments()
            scope: dict[str, Expr] = {definition.getArgument(i).getName(): Symbol(f"${i}") for i in range(arity)}
            try:
                if definition.getBody() is None:
                    raise ModelError("it has no formula")
                self.bodies[name] = arity, mathml.read(definition.getBody(), scope, self.call, self.clock, self.taken)
            except ModelError as error:
                self.refuse(definition, f"function definition {name!r}: {error}")
                self.bodies[name] = arity, ONE
        arity, body = self.bodies[name]
        if len(args) != arity:
            raise ModelError(f"function {name!r} takes {arity} arguments, not {len(args)}")
        for i, arg in enumerate(args):
            if ratelaw.has_draws(arg) and _count(body, f"${i}") > 1:
                raise ModelError(
                    f"function {name!r} uses a random number more than once; set a parameter to the random number, and use that"
                )
        return ratelaw.substitute(body, {f"${i}": arg for i, arg in enumerate(args)})

    def why_no_function(self, name: str) -> str:
        if name in self.taken:
            return f"function {name!r} calls itself, directly or through others"
        if self.level == 1 and name in _RATE_LAWS:
            return f"the predefined rate law {name}() of SBML Level 1 is not supported; write its formula in its place"
        return f"function {name!r} is not defined; define it with a functionDefinition, or write its formula in its place"


def check_constants(model: Model) -> None:
    """Refuse rules and events that set what is declared constant, and whatever gives a point a size in Level 2."""
    setters = [(rule, rule.getVariable(), "a rule", "drop the rule") for rule in items(model.sbml, "Rule") if not rule.isAlgebraic()]
    for event in model.events:
        setters += [(each, each.getVariable(), "an event", "drop the assignment") for each in items(event, "EventAssignment")]
    kinds = {"species": model.species, "parameter": model.parameters, "compartment": model.compartments}
    if model.level >= 3:
        kinds["the species reference"] = model.references
    for element, name, what, way_out in setters if model.level >= 2 else ():
        for kind, named in kinds.items():
            if name in named and named[name].getConstant():
                model.refuse(element, f'{kind} {name!r} is declared constant, but {what} sets it; write constant="false", or {way_out}')
    if model.level == 2:
        for each in sorted(model.points & model.sized):
            what = f"compartment {each!r} has no dimensions, but something gives it a size; drop the size, or write its spatialDimensions"
            model.refuse(model.compartments[each], what)
        for each, species in model.species.items():
            if species.getCompartment() in model.points and species.isSetInitialConcentration():
                what = f"species {each!r} starts with a concentration in {species.getCompartment()!r}, which has no size; give the amount"
                model.refuse(species, what)


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
