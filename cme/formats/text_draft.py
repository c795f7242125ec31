"""What has been read of a reaction text so far, and the network that comes of it, with the lines of what is wrong."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import cast

from cme import ratelaw
from cme.elements import Convention, Event, Initial, MassAction, Reaction, Rule, Side, Species, Values
from cme.errors import ModelError, Problem, refusal, rounded_count
from cme.formats.constants import evaluate_constants
from cme.network import Network
from cme.ratelaw import Apply, Expr, Number, Symbol


@dataclass
class Draft:
    """Everything in the order in which it was read."""

    species: dict[str, Species] = field(default_factory=dict)
    reactions: list[Reaction] = field(default_factory=list)
    assigned: dict[str, tuple[Expr, int]] = field(default_factory=dict)  # name -> formula and its line
    compartments: dict[str, tuple[Expr, int]] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    rate_rules: list[Rule] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    draws: list[Rule] = field(default_factory=list)
    rounded: dict[str, int] = field(default_factory=dict)  # whole numbers that were assigned, and that double precision does not hold
    starts: list[tuple[float, dict[str, float], int]] = field(default_factory=list)  # probability, counts and line
    convention: Convention = "combinations"
    name: str | None = None
    lines: dict[tuple[str, str], int] = field(default_factory=dict)  # kind and name -> where it stands

    def counts(self) -> tuple[int, ...]:
        return len(self.reactions), len(self.events), len(self.rate_rules), len(self.draws), len(self.species), len(self.rules)

    def note_lines(self, before: tuple[int, ...], line: int) -> None:
        """Remember where everything stands that came after `before`, which `counts` gave."""
        lists = (self.reactions, self.events, self.rate_rules, self.draws)
        for kind, found, n in zip(("reaction", "event", "rate rule", "start"), lists, before, strict=False):
            for each in cast(list, found)[n:]:
                self.lines.setdefault((kind, each.name), line)
        for kind, named, n in (("species", self.species, before[4]), ("rule", self.rules, before[5])):
            for name in islice(reversed(cast(dict, named)), len(named) - n):
                self.lines.setdefault((kind, name), line)

    def used_names(self) -> set[str]:
        """Every name that a formula uses, or that something but an assignment sets."""
        formulas = [r.law.constant if isinstance(r.law, MassAction) else r.law for r in self.reactions]
        formulas += [n for r in self.reactions for _, n in (*r.reactants, *r.products) if not isinstance(n, int)]
        formulas += [rule.formula for rule in (*self.rules.values(), *self.rate_rules, *self.draws)]
        formulas += [formula for event in self.events for formula in event.formulas()]
        formulas += [formula for formula, _ in (*self.assigned.values(), *self.compartments.values())]
        used = {name for formula in set(formulas) for name in ratelaw.names(formula)}
        targets = {rule.name for rule in (*self.rate_rules, *self.draws, *(each for event in self.events for each in event.assignments))}
        return used | targets


def finish(draft: Draft, name: str | None, source: str, problems: list[Problem]) -> Network:
    """Evaluate the constants, check that every assignment matters, and find the lines of what is wrong with the whole."""
    _read_literals(draft)
    found = list(_slips(draft))

    def unknown(variable: str, needed: str) -> str:
        if needed in draft.species:
            return f"{variable!r} uses the species {needed!r}; write '{variable} := ...' to follow the species"
        return f"{variable!r} uses {needed!r}, which has no value; write '{needed} = ...'"

    for each in sorted(draft.assigned.keys() & draft.compartments.keys()):
        what = f"{each!r} is a compartment, which has its volume already; drop one of the two"
        found.append(Problem("compartment", each, what, draft.assigned[each][1]))
    constants = {each: pair for each, pair in draft.assigned.items() if each not in draft.species} | draft.compartments
    counts = {each: pair for each, pair in draft.assigned.items() if each in draft.species}
    values, wrong = evaluate_constants(constants, unknown)
    starts, wrong_too = evaluate_constants(counts, unknown, values)
    found += wrong + wrong_too
    values |= starts
    home = {**draft.species, **values}
    values |= {draw.name: 0.0 for draw in draft.draws if draw.name not in home}
    initial, wrong = _initial(draft, values)
    found += wrong
    try:
        network = Network(
            species=tuple(draft.species.values()),
            reactions=tuple(draft.reactions),
            initial=initial,
            parameters=Values({v: values[v] for v in values if v not in draft.species and v not in draft.compartments}),
            compartments=Values({v: values[v] for v in draft.compartments}),
            rules=tuple(draft.rules.values()),
            rate_rules=tuple(draft.rate_rules),
            events=tuple(draft.events),
            name=name or draft.name or "network",
        )
    except ModelError as error:
        found += [each._replace(line=_line(draft, each)) for each in error.problems]
    if problems:  # what is missing may be what could not be read
        found = [each for each in found if not each.missing]
    if problems or found:
        raise refusal([*problems, *found], source)
    return network


def _read_literals(draft: Draft) -> None:
    """Infinite and undefined numbers are words, `infinity` and `notanumber`, unless something has that name."""
    words = {"infinity", "inf", "notanumber", "nan"} - {*draft.species, *draft.assigned, *draft.compartments, *draft.rules}
    words -= {each.name for each in (*draft.rate_rules, *draft.draws)}
    if words.isdisjoint(draft.used_names()):
        return

    def read(formula: Expr) -> Expr:
        if isinstance(formula, Symbol) and formula.name in words:
            return Number(ratelaw.CONSTANTS[formula.name])
        if not isinstance(formula, Apply) or words.isdisjoint(ratelaw.names(formula)):
            return formula
        args = tuple(map(read, formula.args))
        if formula.op == "neg" and args[0] == Number(math.inf):
            return Number(-math.inf)
        return ratelaw.flat(formula.op, args)

    def read_side(side: Side) -> Side:
        return tuple((name, n if isinstance(n, int) else read(n)) for name, n in side)

    def read_law(law: MassAction | Expr) -> MassAction | Expr:
        return replace(law, constant=read(law.constant)) if isinstance(law, MassAction) else read(law)

    def read_rule(rule: Rule) -> Rule:
        return Rule(rule.name, read(rule.formula))

    draft.reactions = [
        replace(each, reactants=read_side(each.reactants), products=read_side(each.products), law=read_law(each.law))
        for each in draft.reactions
    ]
    draft.rules = {name: read_rule(rule) for name, rule in draft.rules.items()}
    draft.rate_rules, draft.draws = [read_rule(rule) for rule in draft.rate_rules], [read_rule(rule) for rule in draft.draws]
    draft.events = [event.mapped(read) for event in draft.events]


def _line(draft: Draft, problem: Problem) -> int | None:
    """The line of what a problem is about."""
    kind, name = problem.kind, problem.element
    homes = {"parameter": (draft.assigned,), "compartment": (draft.compartments,), "count": (draft.assigned,)}
    given = next((home[name][1] for home in homes.get(kind, ()) if name in home), None)
    return draft.lines.get(("species" if kind == "count" else kind, name)) if given is None else given


def _slips(draft: Draft) -> Iterator[Problem]:
    """A spare parameter is harmless, a species in the wrong case is a slip, unless that species has a count of its own."""
    used = draft.used_names()
    spelled = {species.lower(): species for species in draft.species if species not in draft.assigned}
    for variable, count in draft.rounded.items():
        if variable in draft.species and (what := rounded_count(variable, count)):
            yield Problem("count", variable, what, draft.assigned[variable][1])
    for variable, (_, line) in draft.assigned.items():
        meant = spelled.get(variable.lower())
        if variable not in used and variable not in draft.species and meant and not draft.starts:
            what = f"{variable!r} is assigned but nothing uses it; did you mean the species {meant!r}?"
            yield Problem("parameter", variable, what, line, missing=True)


def _initial(draft: Draft, values: dict[str, float]) -> tuple[Initial, list[Problem]]:
    draws = tuple(draft.draws)
    if not draft.starts:
        return Initial((tuple(values.get(species, 0.0) for species in draft.species),), draws=draws), []
    problems = []
    for species in draft.species:
        if species in draft.assigned:
            what = f"species {species!r} has a count, and there are 'start' lines; give its count in them"
            problems.append(Problem("count", species, what, draft.assigned[species][1]))
    for name, line in {name: line for _, counts, line in reversed(draft.starts) for name in counts}.items():
        if name not in draft.species:
            problems.append(Problem("count", name, f"a 'start' line sets {name!r}, which is no species", line, missing=True))
    states = tuple(tuple(counts.get(species, 0.0) for species in draft.species) for _, counts, _ in draft.starts)
    return Initial(states, tuple(p for p, _, _ in draft.starts), draws), problems
