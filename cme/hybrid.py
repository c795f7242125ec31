"""`Hybrid`: a network with rate rules, events, time or random draws as flat arrays. Between jumps it flows, at events it is set.

The state is y: counts of the S species, values of the V variables, the time, and a slot for each random number drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cme import ratelaw
from cme.network import Network
from cme.programs import csr, to_program
from cme.ratelaw import ZERO, Apply, Expr, Number, Symbol

_SWITCHES = {"<", "<=", ">", ">=", "==", "!=", "floor", "ceil", "rem"}
_LOGIC = {"and", "or", "xor", "not"}
_LOCATED = {"cauchy", "laplace"}  # draws whose location may be left out
_PARAMETERS = {
    "normal": 2, "uniform": 2, "bernoulli": 1, "binomial": 2, "cauchy": 2, "chisquare": 1, "exponential": 1, "gamma": 2, "laplace": 2,
    "lognormal": 2, "poisson": 1, "rayleigh": 1, "geometric": 1,
}  # fmt: skip
INFINITE = Number(np.inf)


@dataclass(frozen=True, eq=False)
class Hybrid:
    """A network prepared for computing in continuous time. Letters: S species, V variables, R reactions, E events."""

    network: Network

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """Species, then variables: what has a value of its own at any time."""
        return (*self.network.species_names, *self.network.variables)

    @cached_property
    def clock(self) -> int:
        """The place of the time in y."""
        return len(self.coordinates)

    @cached_property
    def start(self) -> np.ndarray:
        """The values of the coordinates at time 0, of the (first) initial state: (S + V,)."""
        network = self.network
        values = {**network.parameters, **network.compartments}
        return np.array([*network.initial.states[0], *(values[name] for name in network.variables)])

    @property
    def propensity_formulas(self) -> tuple[Expr, ...]:
        return self.network.propensity_formulas

    @cached_property
    def rate_formulas(self) -> tuple[Expr, ...]:
        """Deterministic rates."""
        return tuple(self.network.resolve(reaction.rate) for reaction in self.network.reactions)

    @cached_property
    def flow_formulas(self) -> tuple[tuple[str, Expr], ...]:
        """What moves by itself between jumps, and its derivative."""
        return tuple((rule.name, self.network.resolve(rule.formula)) for rule in self.network.rate_rules)

    @cached_property
    def change_formulas(self) -> tuple[tuple[tuple[str, Expr], ...], ...]:
        """For each reaction, the species that it changes and by how much."""
        everything = ({name: self.network.resolve(n) for name, n in reaction.changes().items()} for reaction in self.network.reactions)
        return tuple(
            tuple((name, n) for name, n in changes.items() if n != ZERO and not self.network.is_boundary(name)) for changes in everything
        )

    @cached_property
    def switch_formulas(self) -> tuple[Expr, ...]:
        """Whatever jumps in a formula that counts at all times: its comparisons, and roundings."""
        changes = (n for row in self.change_formulas for _, n in row)
        flows = (formula for _, formula in self.flow_formulas)
        triggers = (Apply("not", (self.network.resolve(event.trigger),)) for event in self.network.events)  # marks it as a condition
        return jumps_in((*self.propensity_formulas, *self.rate_formulas, *flows, *changes, *triggers))

    def values(self, states: np.ndarray, times: np.ndarray | float) -> dict[str, np.ndarray]:
        """Everything that has a value, from states (..., S + V) at times (...): coordinates, time and assignment rules, by name."""
        states = np.asarray(states, dtype=np.float64)
        known = {ratelaw.TIME: np.broadcast_to(times, states.shape[:-1])}
        known |= {name: states[..., i] for i, name in enumerate(self.coordinates)}
        rules = {rule.name: self.network.resolve(rule.formula) for rule in self.network.rules}
        found = {name: ratelaw.evaluate(formula, known) for name, formula in rules.items()}
        return known | {name: np.broadcast_to(value, states.shape[:-1]) for name, value in found.items()}

    def evaluate(self, formulas: Iterable[Expr], states: np.ndarray, times: np.ndarray | float) -> np.ndarray:
        """Resolved formulas (K of them) in states (..., S + V) at times (...): (..., K)."""
        states = np.asarray(states, dtype=np.float64)
        known = {ratelaw.TIME: np.asarray(times)} | {name: states[..., i] for i, name in enumerate(self.coordinates)}
        columns = [np.broadcast_to(ratelaw.evaluate(formula, known), states.shape[:-1]) for formula in formulas]
        return np.stack(columns, axis=-1) if columns else np.empty((*states.shape[:-1], 0))

    @cached_property
    def machine(self):
        """The network as `cme.kernels.events.Machine`."""
        return _Assembler(self).machine()


class _Assembler:
    """Collects programs and hands out their numbers."""

    def __init__(self, model: Hybrid):
        self.model, self.network = model, model.network
        self.index = {ratelaw.TIME: model.clock} | {name: i for i, name in enumerate(model.coordinates)}
        self.programs: list[list[tuple[int, float]]] = []
        self.draws: list[list[tuple[int, ...]]] = []  # per program: distribution, slot, four argument programs
        self.deepest = 1
        self.n_slots = 0

    def machine(self):
        from cme.kernels.events import Draws, Machine, Programs

        model, events = self.model, self.network.events
        # The propensities come first, then the rates, so that reaction r has programs r and R + r.
        for formula in (*model.propensity_formulas, *model.rate_formulas):
            self.add(formula)
        changes = [self.changes(r, row) for r, row in enumerate(model.change_formulas)]
        flows = [(self.index[name], self.add(formula), -1, 0) for name, formula in model.flow_formulas]
        switches = [self.add(formula) for formula in model.switch_formulas]
        triggers = [self.add(self.network.resolve(event.trigger)) for event in events]
        delays = [self.add(self.network.resolve(event.delay)) for event in events]
        priorities = [-1 if event.priority is None else self.add(self.network.resolve(event.priority)) for event in events]
        assignments = [[self.assignment(*part) for part in event.parts()] for event in events]
        starts = [self.assignment(draw.name, draw.formula) for draw in self.network.initial.draws]
        list_pointer, lists = csr([*changes, *assignments, flows, starts], width=4)
        program_pointer, code = csr(self.programs)
        draw_pointer, draws = csr([list(row) for row in self.draws], width=6)
        flags = [(event.persistent, event.initially, event.values_from_trigger) for event in events]
        rows = [(*programs, *row) for *programs, row in zip(triggers, delays, priorities, flags, strict=True)]
        return Machine(
            laws=Programs(program_pointer, code[:, 0].astype(np.uint32), code[:, 1].astype(np.float64)),
            draws=Draws(draw_pointer, draws.astype(np.int64)) if len(draws) else None,
            list_pointer=list_pointer.astype(np.int64),
            lists=lists.astype(np.int64),
            events=np.array(rows, dtype=np.int64).reshape(-1, 6),
            switch_program=np.array(switches, dtype=np.int64),
            n_reactions=len(changes),
            clock=model.clock,
            size=model.clock + 1 + self.n_slots,
            stack_size=self.deepest,
        )

    def add(self, formula: Expr) -> int:
        """The number of a program for a resolved formula; the random numbers in it are drawn first, inner ones before outer ones."""
        draws: list[tuple[int, ...]] = []
        program, depth = to_program(self.slotted(formula, draws), self.index)
        self.deepest = max(self.deepest, depth)
        self.programs.append(program)
        self.draws.append(draws)
        return len(self.programs) - 1

    def changes(self, r: int, row: tuple[tuple[str, Expr], ...]) -> list[tuple[int, int, int, int]]:
        """The changes of a reaction. Numbers that are drawn for it are those of its first program: they are drawn once for all."""
        varying = self.network.varying.get(r)
        if varying is None:
            return [(self.index[name], self.add(n), -1, 0) for name, n in row]
        draws: list[tuple[int, ...]] = []
        numbers = [self.slotted(number, draws) for number in varying.numbers]
        made = []
        for name in dict.fromkeys((*varying.constant, *(name for _, name, _ in varying.terms))):
            parts = [Apply("*", (Number(float(factor)), numbers[number])) for number, each, factor in varying.terms if each == name]
            total = ratelaw.sum_of([Number(float(varying.constant.get(name, 0))), *map(ratelaw.simplify, parts)])
            made.append((self.index[name], self.add(total), -1, 0))
        self.draws[made[0][1]] = draws
        return made

    def slotted(self, formula: Expr, draws: list[tuple[int, ...]]) -> Expr:
        """The formula with its draws replaced by the slots that hold their values."""
        from cme.kernels.distributions import CODES

        if not isinstance(formula, Apply) or not ratelaw.has_draws(formula):
            return formula
        args = tuple(self.slotted(arg, draws) for arg in formula.args)
        if formula.op not in ratelaw.DRAWS:
            return Apply(formula.op, args)
        n = _PARAMETERS[formula.op]
        if formula.op in _LOCATED and len(args) == 1:
            args = (ZERO, *args)
        parameters, bounds = args[:n], args[n:] or (Number(-np.inf), INFINITE)
        padded = (*parameters, *[ZERO] * (2 - n), *bounds)
        slot = self.model.clock + 1 + self.n_slots
        self.n_slots += 1
        name = f"${slot}"
        self.index[name] = slot
        draws.append((CODES[formula.op], slot, *(self.add(arg) for arg in padded)))
        return Symbol(name)

    def assignment(self, name: str, formula: Expr, factor: Expr | None = None) -> tuple[int, int, int, int]:
        from cme.kernels.events import AMOUNT, VARIABLE

        program, kind = self.add(self.network.resolve(formula)), AMOUNT if name in self.network.species_names else VARIABLE
        return self.index[name], program, -1 if factor is None else self.add(self.network.resolve(factor)), kind


def jumps_in(formulas: Iterable[Expr]) -> tuple[Expr, ...]:
    """Whatever jumps in some formulas, conditions among them: their comparisons, and roundings."""
    found: dict[Expr, None] = {}
    for formula in formulas:
        _collect_jumps(formula, found)
    return tuple(found)


def _collect_jumps(formula: Expr, found: dict[Expr, None]) -> None:
    if not isinstance(formula, Apply):
        return
    for i, arg in enumerate(formula.args):
        _collect_jumps(arg, found)
        if formula.op in _LOGIC or (formula.op == "piecewise" and i % 2 and i < len(formula.args) - 1):
            _collect_truth(arg, found)
    if formula.op == "rem":  # jumps where the whole part of the quotient does
        found[Apply("floor", (Apply("/", formula.args),))] = None
    elif formula.op in _SWITCHES:
        found[formula] = None
        if formula.op in ("==", "!="):  # two sides that meet only for an instant are seen to have passed each other
            found[Apply("<", formula.args)] = None


def _collect_truth(condition: Expr, found: dict[Expr, None]) -> None:
    """A number that is used as a condition jumps where it leaves zero."""
    if not isinstance(condition, Number) and not (isinstance(condition, Apply) and condition.op in _LOGIC | _SWITCHES):
        found[Apply("!=", (condition, ZERO))] = None
