"""Where an SBML model starts: every value at time 0, each after what it depends on, and what is drawn at random."""

import math

from cme import ratelaw, wellformed
from cme.elements import Rule
from cme.formats.sbml_model import Model
from cme.formats.sbml_open import items
from cme.ratelaw import Apply, Expr, Number, Symbol


def start_targets(model: Model) -> set[str]:
    """What initial assignments set."""
    return {item.getSymbol() for item in items(model.sbml, "InitialAssignment") if item.isSetMath()}


def read_initial(model: Model) -> dict[str, Expr]:
    """The formula of every value at time 0, species in counts; what has none is left out.

    A volume that nothing sets is 1.
    """
    found: dict[str, Expr] = {}
    for each, compartment in model.compartments.items():
        found[each] = Number(_plain(compartment.getSize()) if compartment.isSetSize() else 1.0)
    for each, parameter in model.parameters.items():
        if parameter.isSetValue():
            found[each] = Number(_plain(parameter.getValue()))
    for each, reference in model.references.items():
        value = reference.getStoichiometry() / reference.getDenominator()
        if not math.isnan(value):
            found[each] = Number(value)
    for each, species in model.species.items():
        if species.isSetInitialAmount() and species.isSetInitialConcentration():
            model.refuse(species, f"species {each!r} has an initial amount and an initial concentration; drop one")
        if species.isSetInitialAmount():
            found[each] = Number(species.getInitialAmount())
        elif species.isSetInitialConcentration():
            volume = species.getCompartment()
            found[each] = Apply("*", (Number(species.getInitialConcentration()), Symbol(volume)))
    seen: set[str] = set()
    for item in items(model.sbml, "InitialAssignment"):
        symbol, where = item.getSymbol(), f"the initial assignment to {item.getSymbol()!r}"
        if symbol in seen:
            model.refuse(item, f"{where}: there are two of them; drop one")
        elif symbol in model.rules:
            model.refuse(item, f"{where}: an assignment rule sets it too")
        elif not model.is_variable(symbol):
            model.refuse(item, f"{where}: {symbol!r} is not defined")
        elif model.has_formula(item, where):
            found[symbol] = model.to_count(symbol, model.formula(item, where, draws=True))
        seen.add(symbol)
    return {each: formula for each, formula in found.items() if each not in model.rules}


def _plain(value: float) -> float:
    return math.nan if math.isnan(value) else value  # one nan, which equals itself in a mapping


class Start:
    """Evaluates what holds at time 0, each after what it depends on, without recursion."""

    def __init__(self, model: Model, initial: dict[str, Expr]):
        self.model, self.initial = model, initial
        self.formulas = {**model.rules, **initial}  # whatever a formula may use
        self.values: dict[str, float] = {**model.local_values, model.clock.name: 0.0}
        self.random: set[str] = set()  # what is drawn, or depends on it
        self.draws: list[Rule] = []
        opened: set[str] = set()
        for target in [*self.in_file_order(), *initial]:
            self.settle(target, opened)

    def in_file_order(self) -> list[str]:
        """What initial assignments set, so that random values are drawn in their order where none depends on another."""
        symbols = [item.getSymbol() for item in items(self.model.sbml, "InitialAssignment")]
        return [symbol for symbol in symbols if symbol in self.initial]

    def settle(self, target: str, opened: set[str]) -> None:
        stack = [target]
        while stack:
            name = stack[-1]
            if name in self.values or name in self.random:
                stack.pop()
                continue
            used = ratelaw.names(self.formulas[name])
            needed = [other for other in used if other not in self.values and other not in self.random and other in self.formulas]
            if not needed:
                self.set_value(name, used)
                stack.pop()
            elif name in opened:
                self.refuse_circle(name)
                stack.pop()
            else:
                opened.add(name)
                stack += needed

    def refuse_circle(self, name: str) -> None:
        """A circle of assignment rules alone is found where the network is made."""
        elements = self.model.elements
        if name not in self.model.rules or name not in wellformed.circular(self.model.rules):
            element = elements.get(("start", name)) or elements.get(("rule", name)) or self.model.sbml
            self.model.refuse(element, f"the initial value of {name!r} depends on itself; give a number somewhere in the circle")
        self.values[name] = 1.0

    def set_value(self, name: str, used: set[str]) -> None:
        formula = self.formulas[name]
        if not used.isdisjoint(self.random) or ratelaw.has_draws(formula):
            self.random.add(name)
            if name in self.initial:
                self.draws.append(Rule(name, formula))
            return
        self.values[name] = self.evaluate(name, formula)

    def evaluate(self, name: str, formula: Expr) -> float:
        if isinstance(formula, Number):
            return formula.value
        known = {other: self.values.get(other, ratelaw.CONSTANTS.get(other, math.nan)) for other in ratelaw.names(formula)}
        value = _plain(float(ratelaw.evaluate(formula, known)))
        if name in self.model.species and math.isfinite(value) and abs(value - round(value)) <= 1e-15 * abs(value) * 4:
            return float(round(value))  # 1.1 per litre in 10 litres is 11 molecules, not 11.000000000000002
        return value

    def given(self, name: str) -> float:
        """The value of what is known at the start; of what is drawn the one that the model gives besides, or 0."""
        if name not in self.random:
            return self.values[name]
        species, parameter = self.model.species.get(name), self.model.parameters.get(name)
        if species is not None and species.isSetInitialAmount() and species.getInitialAmount() >= 0:
            return species.getInitialAmount()
        if parameter is not None and parameter.isSetValue():
            return _plain(parameter.getValue())
        compartment = self.model.compartments.get(name)
        return compartment.getSize() if compartment is not None and compartment.isSetSize() else 0.0
