"""`Network`: which species there are, what reacts, and where it starts. Immutable, plain Python, knows no solver.

Everything is counted in molecules. A propensity is the probability per unit time that a reaction fires in a state; a rate is its
deterministic counterpart, used by the continuum solvers.
"""

import difflib
import html
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from cme import ratelaw
from cme.errors import ModelError
from cme.ratelaw import Apply, Expr, Number, Symbol

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


@dataclass(frozen=True)
class Reaction:
    """A reaction: what it consumes, what it makes, and its law (mass action, or the whole propensity as a formula)."""

    name: str
    reactants: tuple[tuple[str, int], ...]
    products: tuple[tuple[str, int], ...]
    law: MassAction | Expr

    @cached_property
    def propensity(self) -> Expr:
        """The propensity as a formula in counts, for example k*X*(X - 1)/2."""
        if not isinstance(self.law, MassAction):
            return self.law
        factors = [self.law.constant]
        for name, n in self.reactants:
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
        for name, n in self.reactants:
            factors.append(Symbol(name) if n == 1 else Apply("^", (Symbol(name), Number(float(n)))))
        return self._over_permutations(factors)

    def _over_permutations(self, factors: list[Expr]) -> Expr:
        assert isinstance(self.law, MassAction)
        product: Expr = factors[0]
        if len(factors) > 1:
            first = factors[0].args if isinstance(factors[0], Apply) and factors[0].op == "*" else (factors[0],)
            product = Apply("*", (*first, *factors[1:]))
        permutations = math.prod(math.factorial(n) for _, n in self.reactants)
        if self.law.convention == "falling" or permutations == 1:
            return product
        return Apply("/", (product, Number(float(permutations))))

    def __str__(self) -> str:
        return f"{_side(self.reactants)} -> {_side(self.products)}"


def _side(side: tuple[tuple[str, int], ...]) -> str:
    return " + ".join(name if n == 1 else f"{n} {name}" for name, n in side) or "0"


@dataclass(frozen=True)
class Rule:
    """An assignment rule: `name` always equals `formula`. A name that nothing else uses is an observable."""

    name: str
    formula: Expr


@dataclass(frozen=True)
class Initial:
    """Where the network starts: K states, each a tuple of S counts, with their probabilities (one state: probability 1)."""

    states: tuple[tuple[float, ...], ...]
    probabilities: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, repr=False)
class Network:
    """A reaction network.

    Build one with `cme.parse` (reaction text) or `cme.load` (SBML, text, shelf). The constructor checks everything: names,
    duplicate and undefined symbols, cyclic rules, negative counts.

    Parameters
    ----------
    species, reactions, rules
        In order; the order of species is the last axis of every array.
    parameters, compartments
        Constants by name. A compartment's value is its volume. Both may be used in formulas.
    initial
        Counts, or a distribution over states.

    Raises
    ------
    ModelError
        If the network means nothing; the message names the element.
    """

    species: tuple[Species, ...]
    reactions: tuple[Reaction, ...]
    initial: Initial
    parameters: Values = field(default_factory=Values)
    compartments: Values = field(default_factory=Values)
    rules: tuple[Rule, ...] = ()
    name: str = "network"

    def __post_init__(self):
        _check_names(self)
        _check_initial(self)
        _check_formulas(self)

    # ------------------------------------------------------------------------------------------------ structure

    @property
    def species_names(self) -> tuple[str, ...]:
        return tuple(species.name for species in self.species)

    @property
    def observables(self) -> tuple[str, ...]:
        """Names of the assignment rules, in order."""
        return tuple(rule.name for rule in self.rules)

    @cached_property
    def stoichiometry(self) -> np.ndarray:
        """Net change of each species by each reaction, int64 (R, S); zero for boundary species."""
        column = {species.name: i for i, species in enumerate(self.species) if not species.boundary}
        change = np.zeros((len(self.reactions), len(self.species)), dtype=np.int64)
        for r, reaction in enumerate(self.reactions):
            for side, sign in ((reaction.reactants, -1), (reaction.products, 1)):
                for name, n in side:
                    if name in column:
                        change[r, column[name]] += sign * n
        change.flags.writeable = False
        return change

    @cached_property
    def constants(self) -> dict[str, float]:
        """Every name with a fixed value: parameters and compartments."""
        return {**self.parameters, **self.compartments}

    @cached_property
    def _known_values(self) -> dict[str, Expr]:
        """What every name that is not a species stands for: numbers, and rules in which only species are left."""
        values: dict[str, Expr] = {name: Number(value) for name, value in ratelaw.CONSTANTS.items() if name not in self.species_names}
        values |= {name: Number(value) for name, value in self.constants.items()}
        rules = {rule.name: rule.formula for rule in self.rules}
        for name in _rule_order(self):
            values[name] = ratelaw.simplify(ratelaw.substitute(rules[name], values))
        return values

    def resolve(self, formula: Expr) -> Expr:
        """Fill in rules, parameters and volumes, and simplify: what is left holds only species."""
        return ratelaw.simplify(ratelaw.substitute(formula, self._known_values))

    # ------------------------------------------------------------------------------------------------ variations

    def with_parameters(self, **values: float) -> "Network":
        """A new network with some parameters or volumes changed.

        Raises
        ------
        ModelError
            If a name is no parameter and no compartment.
        """
        parameters, compartments = dict(self.parameters), dict(self.compartments)
        for name, value in values.items():
            home = parameters if name in parameters else compartments
            if name not in home:
                raise ModelError(f"{self.name!r} has no parameter {name!r}{_did_you_mean(name, [*parameters, *compartments])}")
            home[name] = float(value)
        return replace(self, parameters=Values(parameters), compartments=Values(compartments))

    def with_initial(self, counts: Mapping[str, float] | Sequence[float] | Mapping[tuple[int, ...], float] | None = None, **named: float):
        """A new network that starts elsewhere.

        Parameters
        ----------
        counts
            A mapping from species to counts (others keep theirs), S counts in species order, or a distribution given as a mapping
            from states (tuples of S counts) to probabilities.
        **named
            Counts by species name.

        Examples
        --------
        >>> import cme
        >>> n = cme.parse("0 -> X @ 1; X -> 0 @ 1; X = 5")
        >>> n.with_initial(X=7).initial.states
        ((7.0,),)
        >>> n.with_initial({(0,): 0.5, (1,): 0.5}).initial.probabilities
        (0.5, 0.5)
        """
        if counts is not None and named:
            raise TypeError("give the initial counts as one mapping or sequence, or by name, not both")
        given = named if counts is None else counts
        if isinstance(given, Mapping) and given and all(isinstance(key, tuple) for key in given):
            states = tuple(tuple(float(value) for value in state) for state in given)
            return replace(self, initial=Initial(states, tuple(float(p) for p in given.values())))
        if isinstance(given, Mapping):
            wanted = {str(name): float(value) for name, value in given.items()}
            for name in wanted:
                if name not in self.species_names:
                    raise ModelError(f"{self.name!r} has no species {name!r}{_did_you_mean(name, self.species_names)}")
            if len(self.initial.states) > 1:
                raise ModelError("this network starts from a distribution; give the counts of all species in order")
            old = dict(zip(self.species_names, self.initial.states[0], strict=True))
            return replace(self, initial=Initial((tuple(float(value) for value in {**old, **wanted}.values()),)))
        return replace(self, initial=Initial((tuple(float(value) for value in given),)))

    def to_sbml(self) -> str:
        """The network as SBML Level 3 Version 2; `cme.load` reads it back as an equal network."""
        from cme.formats import sbml  # the one arrow that points back: a network can write itself

        return sbml.write(self)

    # ------------------------------------------------------------------------------------------------ showing

    def formula(self, reaction: int) -> str:
        """The propensity of a reaction as text."""
        return ratelaw.to_infix(self.reactions[reaction].propensity)

    def __repr__(self) -> str:
        rows = [(reaction.name, str(reaction), self.formula(r)) for r, reaction in enumerate(self.reactions)]
        wide = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        lines = [f"Network {self.name!r}: {len(self.species)} species, {len(self.reactions)} reactions"]
        lines += [f"  {name:<{wide[0]}}  {arrow:<{wide[1]}}  propensity {law}" for name, arrow, law in rows]
        lines += [f"  {rule.name} := {ratelaw.to_infix(rule.formula)}" for rule in self.rules]
        if self.constants:
            lines.append("  " + "; ".join(f"{name} = {ratelaw.format_number(value)}" for name, value in self.constants.items()))
        lines.append("  " + self._initial_text())
        boundary = [species.name for species in self.species if species.boundary]
        if boundary:
            lines.append(f"  never changed by reactions: {', '.join(boundary)}")
        return "\n".join(lines)

    def _initial_text(self) -> str:
        if len(self.initial.states) > 1:
            return f"starts from a distribution over {len(self.initial.states)} states"
        pairs = zip(self.species_names, self.initial.states[0], strict=True)
        return "; ".join(f"{name} = {ratelaw.format_number(value)}" for name, value in pairs)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{html.escape(reaction.name)}</td><td>{html.escape(str(reaction))}</td><td><code>{html.escape(self.formula(r))}</code></td></tr>"
            for r, reaction in enumerate(self.reactions)
        )
        rules = "".join(f"<br><code>{rule.name} := {html.escape(ratelaw.to_infix(rule.formula))}</code>" for rule in self.rules)
        constants = "; ".join(f"{name} = {ratelaw.format_number(value)}" for name, value in self.constants.items())
        return (
            f"<b>{html.escape(self.name)}</b>: {len(self.species)} species, {len(self.reactions)} reactions"
            f"<table><tr><th>reaction</th><th></th><th>propensity</th></tr>{cells}</table>"
            f"<code>{html.escape(constants)}</code>{rules}<br>{html.escape(self._initial_text())}"
        )


# ------------------------------------------------------------------------------------------------------------- checks


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else ""


def _check_names(network: Network) -> None:
    seen: dict[str, str] = {}
    kinds = [("species", network.species_names), ("parameter", network.parameters), ("compartment", network.compartments)]
    for kind, names in [*kinds, ("rule", network.observables)]:
        for name in names:
            if not name or not (name[0].isalpha() or name[0] == "_") or not all(c.isalnum() or c == "_" for c in name):
                raise ModelError(f"{kind} {name!r} is no valid name; use letters, digits and _, not starting with a digit")
            if name in seen:
                raise ModelError(f"the name {name!r} stands for a {seen[name]} and for a {kind}; rename one")
            seen[name] = kind
    for species in network.species:
        if species.compartment is not None and species.compartment not in network.compartments:
            raise ModelError(f"species {species.name!r} is in compartment {species.compartment!r}, which does not exist")
    names = [reaction.name for reaction in network.reactions]
    if len(set(names)) < len(names):
        raise ModelError(f"two reactions are named {Counter(names).most_common(1)[0][0]!r}; give each its own name")
    for name, value in network.constants.items():
        if not math.isfinite(value):
            raise ModelError(f"{seen[name]} {name!r} is {value}; give it a finite value")
    for name, value in network.compartments.items():
        if value <= 0:
            raise ModelError(f"compartment {name!r} has volume {value:g}; a volume must be positive")


def _check_initial(network: Network) -> None:
    states, probabilities = network.initial.states, network.initial.probabilities
    if len(states) != len(probabilities) or not states:
        raise ModelError(f"the initial distribution has {len(states)} states and {len(probabilities)} probabilities")
    for state in states:
        if len(state) != len(network.species):
            raise ModelError(f"an initial state has {len(state)} counts for {len(network.species)} species")
        for species, value in zip(network.species, state, strict=True):
            if not math.isfinite(value) or value < 0:
                raise ModelError(f"species {species.name!r} starts at {value:g}; an initial count must be finite and >= 0")
    if any(not p >= 0 for p in probabilities) or abs(math.fsum(probabilities) - 1) > 1e-9:
        raise ModelError(f"the initial probabilities must be >= 0 and sum to 1; they sum to {math.fsum(probabilities):.12g}")


def _check_formulas(network: Network) -> None:
    species = set(network.species_names)
    moving = species | set(network.observables)
    known = moving | set(network.constants)
    for reaction in network.reactions:
        for name, n in (*reaction.reactants, *reaction.products):
            if name not in species:
                raise ModelError(f"reaction {reaction.name!r} uses species {name!r}, which is not declared{_did_you_mean(name, species)}")
            if n != int(n) or n < 1:
                raise ModelError(f"reaction {reaction.name!r} has stoichiometry {n} for {name!r}; it must be a positive whole number")
        law = reaction.law.constant if isinstance(reaction.law, MassAction) else reaction.law
        _check_defined(law, known, f"the rate law of reaction {reaction.name!r}")
        if isinstance(reaction.law, MassAction) and (used := ratelaw.names(law) & moving):
            raise ModelError(
                f"the rate constant of reaction {reaction.name!r} uses {', '.join(sorted(used))}; mass action multiplies by its reactants "
                "itself, so give the whole propensity instead (=> in reaction text)"
            )
    for rule in network.rules:
        _check_defined(rule.formula, known, f"the rule for {rule.name!r}")
    _rule_order(network)


def _check_defined(formula: Expr, known: set[str], where: str) -> None:
    for name in sorted(ratelaw.names(formula) - known):
        if name not in ratelaw.CONSTANTS:
            raise ModelError(f"{where} uses {name!r}, which is not defined{_did_you_mean(name, known)}")


def _rule_order(network: Network) -> list[str]:
    """Rule names so that each comes after those it uses; refuses cycles. Linear in the number of rules."""
    rules = set(network.observables)
    needs = {rule.name: ratelaw.names(rule.formula) & rules for rule in network.rules}
    users: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in needs.items():
        for other in wanted:
            users[other].append(name)
    missing = {name: len(wanted) for name, wanted in needs.items()}
    order = [name for name, count in missing.items() if count == 0]
    for name in order:  # grows while it is read
        for user in users[name]:
            missing[user] -= 1
            if missing[user] == 0:
                order.append(user)
    if len(order) < len(needs):
        raise ModelError(f"the assignment rules for {', '.join(sorted(set(needs) - set(order)))} depend on each other in a cycle")
    return order
