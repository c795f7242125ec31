"""How fast things in an SBML model change: `rateOf`, and concentrations in a volume that moves."""

from functools import cached_property

from cme.derivative import differentiate
from cme.elements import Reaction
from cme.errors import ModelError
from cme.formats.sbml_model import Model
from cme.ratelaw import ONE, ZERO, Apply, Expr, Symbol, names, product_of, simplify, sum_of


class Rates:
    """Derivatives in time as formulas, by the chain rule down to rate rules, kinetic laws and the time itself.

    Reactions count with their rates, also in a model that is run by chance. At an event things jump; that is no rate.
    """

    def __init__(self, model: Model, reactions: dict[str, Reaction]):
        self.model, self.reactions = model, reactions
        self.known: dict[str, Expr] = {}
        self.open: set[str] = set()  # what is being worked out, to see circles

    @cached_property
    def changes(self) -> dict[str, list[tuple[Expr, str]]]:
        """What changes each species by how much; made only where a rate is asked for."""
        found: dict[str, list[tuple[Expr, str]]] = {}
        for each, reaction in self.reactions.items():
            for name, n in reaction.changes().items():
                if not self.model.is_held(name):
                    found.setdefault(name, []).append((n, each))
        return found

    def expand(self, formula: Expr) -> Expr:
        """Replace every `rateOf` by the rate."""
        if not isinstance(formula, Apply) or not has_rate_of(formula):
            return formula
        if formula.op != "rateOf":
            return Apply(formula.op, tuple(self.expand(arg) for arg in formula.args))
        target = formula.args[0]
        name = self.model.meanings.get(target)
        if name in self.model.flows:
            return self.expand_flow(name)
        return self.of(self.expand(target))

    def expand_flow(self, name: str) -> Expr:
        """The rate rule of a variable."""
        key = f"{name}'"
        if key not in self.known:
            self.enter(key, name)
            self.known[key] = self.expand(self.model.flows[name])
            self.open.discard(key)
        return self.known[key]

    def of(self, formula: Expr) -> Expr:
        """The derivative of a formula in time."""
        if isinstance(formula, Symbol):
            return self.of_name(formula.name)
        if isinstance(formula, Apply) and formula.op == "/" and self.of(formula.args[1]) == ZERO:
            top = self.of(formula.args[0])
            return ZERO if top == ZERO else Apply("/", (top, formula.args[1]))
        parts = []
        for name in sorted(names(formula)):
            rate = self.of_name(name)
            if rate != ZERO:
                parts.append(product_of((differentiate(formula, name), rate)))
        return sum_of(parts)

    def of_name(self, name: str) -> Expr:
        """The derivative in time of what the network holds under a name: of a species the count."""
        if name not in self.known:
            self.enter(name, name)
            self.known[name] = simplify(self.work_out(name))
            self.open.discard(name)
        return self.known[name]

    def enter(self, key: str, name: str) -> None:
        if key in self.open:
            raise ModelError(f"the rate of change of {name!r} depends on itself")
        self.open.add(key)

    def work_out(self, name: str) -> Expr:
        model = self.model
        if Symbol(name) == model.clock:
            return ONE
        if name in model.rules:
            return self.of(self.expand(model.rules[name]))
        if name in model.flows:
            return self.count_flow(name)
        if name in self.reactions:
            return self.of(self.law(name))
        return sum_of(product_of((simplify(n), simplify(self.law(reaction)))) for n, reaction in self.changes.get(name, []))

    def law(self, reaction: str) -> Expr:
        return self.expand(self.reactions[reaction].propensity)

    def count_flow(self, name: str) -> Expr:
        """The rate rule of what the network holds: for a concentration in a volume V, d(count)/dt = rate V + count/V dV/dt."""
        flow, volume = self.expand_flow(name), self.model.volume(name)
        if volume == ONE:
            return flow
        growth = self.of(volume)
        made = product_of((flow, volume))
        return made if growth == ZERO else sum_of((made, product_of((self.model.scope[name], growth))))


def has_rate_of(expr: Expr) -> bool:
    return isinstance(expr, Apply) and (expr.op == "rateOf" or any(has_rate_of(arg) for arg in expr.args))
