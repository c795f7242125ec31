"""What a network is made of: species, reactions, rules, events, and where it starts. Immutable, plain Python."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from cme.infix import to_infix
from cme.ratelaw import DRAWS, ONE, ZERO, Apply, Expr, Number, Symbol, names

Convention = Literal["combinations", "falling"]


class Values(Mapping[str, float]):
    """An immutable, hashable, ordered mapping from names to numbers."""

    def __init__(self, values: Mapping[str, float] | Iterable[tuple[str, float]] = ()):
        self._values = {str(name): float(value) for name, value in dict(values).items()}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True)
class Species:
    """A species. A `boundary` species takes part in reactions but is never changed by them."""

    name: str
    compartment: str | None = None
    boundary: bool = False


@dataclass(frozen=True)
class MassAction:
    """Mass-action kinetics with a stated convention for several molecules of one species.

    ``"combinations"`` (Gillespie): rate constant times the number of distinct sets of reactants, k x (x-1) / 2 for 2 X.
    ``"falling"`` (falling factorial): rate constant times the number of ordered sets, k x (x-1) for 2 X.
    """

    constant: Expr
    convention: Convention = "combinations"


Side = tuple[tuple[str, int | Expr], ...]


@dataclass(frozen=True)
class Reaction:
    """A reaction: what it consumes, what it makes, and its law (mass action, or the whole propensity as a formula).

    How many of a species is a whole number, or a formula. One that is drawn at random, like geometric(5), is drawn anew each time the
    reaction happens; see `cme.stoichiometry`. In SBML it may also be a fraction, or change in time.
    The law of a `net_flux` is the difference of a forward and a backward rate, which only the rate equations can take.
    """

    name: str
    reactants: Side
    products: Side
    law: MassAction | Expr
    net_flux: bool = False

    @cached_property
    def propensity(self) -> Expr:
        """The propensity as a formula in counts, for example k*X*(X - 1)/2."""
        if not isinstance(self.law, MassAction):
            return self.law
        factors = [self.law.constant]
        for name, n in self._molecules():
            factors += [Symbol(name) if i == 0 else Apply("+", (Symbol(name), Apply("neg", (Number(float(i)),)))) for i in range(n)]
        return self._over_permutations(factors)

    @cached_property
    def rate(self) -> Expr:
        """The deterministic rate: the law of large numbers of the propensity, k*X^2/2 where that is k*X*(X - 1)/2.

        A propensity that was given as a whole formula is its own rate.
        """
        if not isinstance(self.law, MassAction):
            return self.law
        factors = [self.law.constant]
        for name, n in self._molecules():
            factors.append(Symbol(name) if n == 1 else Apply("^", (Symbol(name), Number(float(n)))))
        return self._over_permutations(factors)

    def _over_permutations(self, factors: list[Expr]) -> Expr:
        assert isinstance(self.law, MassAction)
        product: Expr = factors[0]
        if len(factors) > 1:
            first = factors[0].args if isinstance(factors[0], Apply) and factors[0].op == "*" else (factors[0],)
            product = Apply("*", (*first, *factors[1:]))
        permutations = math.prod(math.factorial(n) for _, n in self._molecules())
        if self.law.convention == "falling" or permutations == 1:
            return product
        return Apply("/", (product, Number(float(permutations))))

    def _molecules(self) -> list[tuple[str, int]]:
        """The reactants of mass action, of which there are whole numbers."""
        return [(name, n) for name, n in self.reactants if isinstance(n, int)]

    def changes(self) -> dict[str, Expr]:
        """The net change of each species as a formula, boundary species included."""
        total: dict[str, Expr] = {}
        for side, sign in ((self.reactants, Number(-1.0)), (self.products, ONE)):
            for name, n in side:
                change = Apply("*", (sign, Number(float(n)) if isinstance(n, int) else n))
                total[name] = Apply("+", (total[name], change)) if name in total else change
        return total

    def __str__(self) -> str:
        return f"{write_side(self.reactants)} {'<=>' if self.net_flux else '->'} {write_side(self.products)}"


def write_side(side: Side) -> str:
    """One side of a reaction as text, 0 if it is empty."""
    return " + ".join(name if n == 1 else f"{_write_number(n)} {name}" for name, n in side) or "0"


def _write_number(n: int | Expr) -> str:
    if isinstance(n, int):
        return str(n)
    return to_infix(n) if isinstance(n, Apply) and n.op in DRAWS else f"({to_infix(n)})"


def write_label(name: str) -> str:
    """A name as it stands in reaction text, in quotes if it has other characters than letters, digits and _."""
    return name if re.fullmatch(r"[^\W\d]\w*", name) else json.dumps(name)


@dataclass(frozen=True)
class Rule:
    """A name and a formula: what it always equals (an assignment rule), its derivative (a rate rule), or what an event sets it to."""

    name: str
    formula: Expr


@dataclass(frozen=True)
class Event:
    """When `trigger` turns true, assignments are made `delay` later.

    Parameters
    ----------
    trigger
        A condition on species, parameters and time.
    assignments
        In counts and parameters; all formulas are evaluated before any is assigned.
    delay
        Evaluated when the event triggers, >= 0.
    priority
        Of events that are due at the same time the one with the highest priority, evaluated then, goes first; chance decides
        between equals, and where there is none.
    persistent
        Whether an event that has triggered is executed even if its trigger turns false before.
    initially
        What the trigger is taken to have been before time 0. False: an event whose trigger holds at time 0 triggers then.
    values_from_trigger
        Whether the formulas of the assignments are evaluated when the event triggers, or when it is executed. Then the last factor of a
        product may be one of the execution all the same: ``2*A*now(V)`` is 2*A at the trigger times V just before the execution, as for
        a concentration that is set in a volume V that changes.
    """

    name: str
    trigger: Expr
    assignments: tuple[Rule, ...]
    delay: Expr = ZERO
    priority: Expr | None = None
    persistent: bool = True
    initially: bool = True
    values_from_trigger: bool = True

    def parts(self) -> list[tuple[str, Expr, Expr | None]]:
        """What is assigned: the name, what is evaluated at the trigger, and x of a last factor now(x), None if there is none."""
        return [(each.name, *_before_and_now(each.formula)) for each in self.assignments]

    def formulas(self) -> list[Expr]:
        """Every formula of the event."""
        own = [self.trigger, self.delay, *(each.formula for each in self.assignments)]
        return own if self.priority is None else [*own, self.priority]

    def mapped(self, change: Callable[[Expr], Expr]) -> "Event":
        """The event with all its formulas changed."""
        return replace(
            self,
            trigger=change(self.trigger),
            delay=change(self.delay),
            priority=None if self.priority is None else change(self.priority),
            assignments=tuple(Rule(each.name, change(each.formula)) for each in self.assignments),
        )

    def __str__(self) -> str:
        """The event as reaction text, without its name."""
        head = f"at {self._part(self.trigger)}"
        if self.delay != ZERO:
            head += f" after {self._part(self.delay)}"
        if self.priority is not None:
            head += f", priority = {to_infix(self.priority)}"
        for word, value in (("persistent", self.persistent), ("t0", self.initially), ("fromTrigger", self.values_from_trigger)):
            head += "" if value else f", {word} = false"
        return f"{head}: " + ", ".join(f"{each.name} = {to_infix(each.formula)}" for each in self.assignments)

    @staticmethod
    def _part(formula: Expr) -> str:
        """A formula that stands before or after the word `after`, which may be the name of something."""
        return f"({to_infix(formula)})" if "after" in names(formula) else to_infix(formula)


def _before_and_now(formula: Expr) -> tuple[Expr, Expr | None]:
    last = formula.args[-1] if isinstance(formula, Apply) and formula.op == "*" else None
    if not (isinstance(formula, Apply) and isinstance(last, Apply) and last.op == "now"):
        return formula, None
    first = formula.args[:-1]
    return first[0] if len(first) == 1 else Apply("*", first), last.args[0]


@dataclass(frozen=True)
class Initial:
    """Where the network starts: K states, each a tuple of S counts, with their probabilities (one state: probability 1).

    `draws` are formulas with random numbers in them, evaluated anew for each path, in order, in place of the value given here.
    """

    states: tuple[tuple[float, ...], ...]
    probabilities: tuple[float, ...] = (1.0,)
    draws: tuple[Rule, ...] = ()
