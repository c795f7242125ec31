"""`Network`: which species there are, what reacts, and where it starts. Immutable, plain Python, knows no solver.

Everything is counted in molecules. A propensity is the probability per unit time that a reaction fires in a state; a rate is its
deterministic counterpart, used by the continuum solvers.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import cast

import numpy as np

from cme import infix, ratelaw, stoichiometry, wellformed
from cme.elements import Event, Initial, MassAction, Reaction, Rule, Species, Values, write_label
from cme.errors import ModelError, rounded_count
from cme.ratelaw import Expr, Number
from cme.stoichiometry import Varying
from cme.wellformed import did_you_mean


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
        Values by name. A compartment's value is its volume. Both may be used in formulas. They are constant, unless a rate rule or an
        event changes them: then they are the `variables`, and this is their value at time 0.
    initial
        Counts, or a distribution over states.
    rate_rules
        The derivative in time of a species (in molecules), parameter or compartment.
    events
        See `Event`.
    notes
        What a reader left out because it changes no trajectory, such as the constraints of SBML: sentences. They make no network differ.

    Formulas may use `time`, unless that is the name of something else. What goes beyond a Markov chain on counts with constant rates
    is listed by `cme.abilities.features`, and taken by some of the solvers.

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
    rate_rules: tuple[Rule, ...] = ()
    events: tuple[Event, ...] = ()
    name: str = "network"
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self):
        wellformed.check(self)

    # ------------------------------------------------------------------------------------------------ structure

    @cached_property
    def species_names(self) -> tuple[str, ...]:
        return tuple(species.name for species in self.species)

    @property
    def observables(self) -> tuple[str, ...]:
        """Names of the assignment rules, in order."""
        return tuple(rule.name for rule in self.rules)

    @cached_property
    def sparse_stoichiometry(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reactions, species and net changes (int64) that are not zero, by reaction and then by species; without what varies.

        A network of 58 276 reactions has 1.7 GB of `stoichiometry`, and 3 MB of this.
        """
        column = {species.name: i for i, species in enumerate(self.species) if not species.boundary}
        found = []
        for r, reaction in enumerate(self.reactions):
            varying = self.varying.get(r)
            change = {} if varying is None else {column[name]: n for name, n in varying.constant.items()}
            for side, sign in ((reaction.reactants, -1), (reaction.products, 1)) if varying is None else ():
                for name, n in side:
                    if name in column:
                        change[column[name]] = change.get(column[name], 0) + sign * self._whole(n, name, reaction.name)
            found += [(r, s, change[s]) for s in sorted(change) if change[s]]
        rows, columns, amounts = np.ascontiguousarray(np.array(found, dtype=np.int64).reshape(-1, 3).T)
        return rows, columns, amounts

    @cached_property
    def stoichiometry(self) -> np.ndarray:
        """Net change of each species by each reaction, int64 (R, S); zero for boundary species.

        Raises
        ------
        ModelError
            If a reaction does not change the counts by constant whole numbers.
        """
        for r in self.varying:
            raise ModelError(f"what reaction {self.reactions[r].name!r} changes is not the same each time, so that there is no such matrix")
        rows, columns, amounts = self.sparse_stoichiometry
        change = np.zeros((len(self.reactions), len(self.species)), dtype=np.int64)
        change[rows, columns] = amounts
        change.flags.writeable = False
        return change

    @cached_property
    def varying(self) -> dict[int, Varying]:
        """The reactions, by number, that take or make numbers of molecules which are drawn, or depend on the counts."""
        counts = set(self.species_names) - {rule.name for rule in self.rate_rules}
        found = {}
        for r, reaction in enumerate(self.reactions):
            if not all(isinstance(n, int) for _, n in (*reaction.reactants, *reaction.products)):
                varying = stoichiometry.read(reaction.reactants, reaction.products, self._is_changed, self.resolve, counts)
                if varying is not None:
                    found[r] = varying
        return found

    def _is_changed(self, name: str) -> bool:
        return not self.is_boundary(name)

    @cached_property
    def propensity_formulas(self) -> tuple[Expr, ...]:
        """The propensities with every rule and constant filled in: kept, since to resolve a thousand takes longer than many a run."""
        return tuple(self.resolve(reaction.propensity) for reaction in self.reactions)

    @cached_property
    def changed_species(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of a reaction and a species that it changes, by reaction: their numbers."""
        rows, columns, _ = self.sparse_stoichiometry
        if not self.varying:
            return rows, columns
        pairs = set(zip(rows.tolist(), columns.tolist(), strict=True))
        pairs |= {(r, self.species_names.index(name)) for r, each in self.varying.items() for _, name, _ in each.terms}
        rows, columns = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
        return rows, columns

    def _whole(self, n: int | Expr, species: str, reaction: str) -> int:
        """A number of molecules, its formula evaluated."""
        number = n if isinstance(n, int) else self.resolve(n)
        if isinstance(number, Number) and number.value.is_integer():
            return int(number.value)
        if isinstance(number, int):
            return number
        raise ModelError(
            f"reaction {reaction!r} changes {species!r} by {infix.shorten(infix.to_infix(number))}, which is no constant whole number; "
            "use rate_equations"
        )

    @cached_property
    def constants(self) -> dict[str, float]:
        """Every name with a fixed value: parameters and compartments that are no variables."""
        return {name: value for name, value in {**self.parameters, **self.compartments}.items() if name not in self.variables}

    @cached_property
    def is_plain(self) -> bool:
        """No event, no rate rule, no draw, no time and no formula for a number of molecules: a Markov chain on counts, at a glance."""
        if self.rate_rules or self.events or self.initial.draws:
            return False
        declared = {*self.species_names, *self.observables, *self.parameters, *self.compartments}
        laws = [each.law.constant if isinstance(each.law, MassAction) else each.law for each in self.reactions]
        if ratelaw.TIME not in declared and any(
            ratelaw.TIME in ratelaw.names(formula) for formula in (*laws, *(rule.formula for rule in self.rules))
        ):
            return False
        whole = all(isinstance(n, int) for each in self.reactions for _, n in (*each.reactants, *each.products))
        return whole and not any(each.net_flux for each in self.reactions)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Parameters and compartments that a rate rule or an event changes, in order."""
        targets = {rule.name for rule in self.rate_rules} | {each.name for event in self.events for each in event.assignments}
        targets |= {draw.name for draw in self.initial.draws}
        return tuple(name for name in (*self.parameters, *self.compartments) if name in targets)

    def is_boundary(self, name: str) -> bool:
        """Is this a species that no reaction changes?"""
        return name in self._boundary_names

    @cached_property
    def _boundary_names(self) -> frozenset[str]:
        return frozenset(species.name for species in self.species if species.boundary)

    @cached_property
    def _known_values(self) -> dict[str, Expr]:
        """What every name that is not a species stands for: numbers, and rules in which only species are left."""
        moving = {*self.species_names, *self.variables}  # which hide constants of the same name
        values: dict[str, Expr] = {name: Number(value) for name, value in ratelaw.CONSTANTS.items() if name not in moving}
        values |= {name: Number(value) for name, value in self.constants.items()}
        rules = {rule.name: rule.formula for rule in self.rules}
        for name in wellformed.rule_order(self):
            values[name] = ratelaw.simplify(ratelaw.substitute(rules[name], values))
        return values

    def resolve(self, formula: Expr) -> Expr:
        """Fill in rules, constants and volumes, and simplify: what is left holds only species, and perhaps variables and the time."""
        return ratelaw.simplify(ratelaw.substitute(formula, self._known_values))

    def moves_with_time(self, formula: Expr) -> bool:
        """Does a formula use the time itself, directly or through rules?"""
        declared = (*self.species_names, *self.parameters, *self.compartments)
        return ratelaw.TIME not in declared and ratelaw.TIME in ratelaw.names(self.resolve(formula))

    # ------------------------------------------------------------------------------------------------ variations

    def with_parameters(self, /, **values: float) -> "Network":
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
                raise ModelError(f"{self.name!r} has no parameter {name!r}{did_you_mean(name, [*parameters, *compartments])}")
            home[name] = float(value)
        initial = replace(self.initial, draws=tuple(draw for draw in self.initial.draws if draw.name not in values))
        return replace(self, parameters=Values(parameters), compartments=Values(compartments), initial=initial)

    def with_initial(
        self, counts: Mapping[str, float] | Sequence[float] | Mapping[tuple[int, ...], float] | None = None, /, **named: float
    ) -> "Network":
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
            states = tuple(self._counts(cast(tuple, state)) for state in given)
            return replace(self, initial=Initial(states, tuple(float(p) for p in given.values())))
        if isinstance(given, Mapping):
            wanted = {str(name): value for name, value in given.items()}
            for name in wanted:
                if name not in self.species_names:
                    raise ModelError(f"{self.name!r} has no species {name!r}{did_you_mean(name, self.species_names)}")
            if len(self.initial.states) > 1 and len(wanted) < len(self.species):
                raise ModelError("this network starts from a distribution; give the counts of all species, by name or in order")
            old = dict(zip(self.species_names, self.initial.states[0], strict=True))
            return self._starting({**old, **wanted}.values(), set(wanted))
        if isinstance(given, str) or not isinstance(given, Iterable):
            name = next(iter(self.species_names), "X")
            raise TypeError(f"the initial counts must be numbers, in order or by name, such as {{{name!r}: 5}}, not {given!r}")
        return self._starting(given, set(self.species_names))

    def _starting(self, counts: Iterable[float], given: set[str]) -> "Network":
        draws = tuple(draw for draw in self.initial.draws if draw.name not in given)
        return replace(self, initial=Initial((self._counts(counts),), draws=draws))

    def _counts(self, counts: Iterable) -> tuple[float, ...]:
        """Counts as real numbers; `ModelError` for a whole number that these do not hold."""
        counts = tuple(counts)
        for name, count in zip(self.species_names, counts, strict=False):
            if isinstance(count, str) or np.ndim(count) or not hasattr(count, "__float__"):
                raise TypeError(f"the initial count of {name!r} must be a number, not {count!r}")
            if isinstance(count, Integral) and (what := rounded_count(name, int(count))):
                raise ModelError(what)
        return tuple(map(float, counts))

    def to_sbml(self) -> str:
        """The network as SBML Level 3 Version 2; `cme.load` reads it back as an equal network."""
        from cme.formats import sbml  # the one arrow that points back: a network can write itself

        return sbml.write(self)

    def to_text(self) -> str:
        """The network as reaction text; `cme.parse` reads it back as an equal network.

        Examples
        --------
        >>> import cme
        >>> network = cme.parse("2 A -> B @ k; A = 10; k = 0.1")
        >>> print(network.to_text())
        species A, B
        2 A -> B @ k
        k = 0.1
        A = 10; B = 0
        >>> cme.parse(network.to_text()) == network
        True
        """
        from cme.formats import text_write

        return text_write.write(self)

    # ------------------------------------------------------------------------------------------------ showing

    def formula(self, reaction: int) -> str:
        """The propensity of a reaction as text."""
        return infix.to_infix(self.reactions[reaction].propensity)

    def __repr__(self) -> str:
        kinds = ("propensity", "net rate")
        rows = [(each.name, str(each), f"{kinds[each.net_flux]} {self.formula(r)}") for r, each in enumerate(self.reactions)]
        wide = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        lines = [f"Network {self.name!r}: {len(self.species)} species, {len(self.reactions)} reactions"]
        lines += [f"  {name:<{wide[0]}}  {arrow:<{wide[1]}}  {law}" for name, arrow, law in rows]
        lines += [f"  {line}" for line in self._rule_texts()]
        if values := self._value_texts():
            lines.append("  " + "; ".join(values))
        lines.append("  " + self._initial_text())
        boundary = [species.name for species in self.species if species.boundary]
        if boundary:
            lines.append(f"  never changed by reactions: {', '.join(boundary)}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _rule_texts(self) -> list[str]:
        lines = [f"{rule.name} := {infix.to_infix(rule.formula)}" for rule in self.rules]
        lines += [f"{rule.name}' = {infix.to_infix(rule.formula)}" for rule in self.rate_rules]
        lines += [f"{write_label(event.name)}: {event}" for event in self.events]
        return lines + [f"{draw.name} ~ {infix.to_infix(draw.formula)}" for draw in self.initial.draws]

    def _value_texts(self) -> list[str]:
        return [f"{name} = {infix.format_number(value)}" for name, value in {**self.parameters, **self.compartments}.items()]

    def _initial_text(self) -> str:
        if len(self.initial.states) > 1:
            return f"starts from a distribution over {len(self.initial.states)} states"
        pairs = zip(self.species_names, self.initial.states[0], strict=True)
        return "; ".join(f"{name} = {infix.format_number(value)}" for name, value in pairs)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{html.escape(reaction.name)}</td><td>{html.escape(str(reaction))}</td><td><code>{html.escape(self.formula(r))}</code></td></tr>"
            for r, reaction in enumerate(self.reactions)
        )
        rules = "".join(f"<br><code>{html.escape(line)}</code>" for line in self._rule_texts())
        rules += "".join(f"<br>note: {html.escape(note)}" for note in self.notes)
        constants = "; ".join(self._value_texts())
        return (
            f"<b>{html.escape(self.name)}</b>: {len(self.species)} species, {len(self.reactions)} reactions"
            f"<table><tr><th>reaction</th><th></th><th>propensity</th></tr>{cells}</table>"
            f"<code>{html.escape(constants)}</code>{rules}<br>{html.escape(self._initial_text())}"
        )
