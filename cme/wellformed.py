"""Does a network mean something? Names, values, formulas, and the order of rules; everything that is wrong is named."""

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING

from cme import ratelaw, stoichiometry
from cme.elements import Event, MassAction, Reaction
from cme.errors import Problem, refusal
from cme.infix import MAX_NAME, shorten
from cme.ratelaw import Apply, Expr

if TYPE_CHECKING:
    from cme.network import Network


MOST_PROBLEMS = 100
MAX_ORDER = 100  # molecules that mass action may take at once


def check(network: "Network") -> None:
    """Raise `ModelError` if a network means nothing; it names everything that is wrong, or the first 100 things."""
    everything = chain(_check_names(network), _check_initial(network), _check_targets(network), _check_formulas(network))
    found = list(islice(everything, MOST_PROBLEMS))
    if found:
        raise refusal(found)


def _check_names(network: "Network") -> Iterator[Problem]:
    seen: dict[str, str] = {}
    kinds = [("species", network.species_names), ("parameter", network.parameters), ("compartment", network.compartments)]
    for kind, names in [*kinds, ("rule", network.observables)]:
        for name in names:
            if not name or not (name[0].isalpha() or name[0] == "_") or not all(c.isalnum() or c == "_" for c in name):
                what = f"{kind} {shorten(name)!r} is no valid name; use letters, digits and _, not starting with a digit"
                yield Problem(kind, name, what)
            elif len(name) > MAX_NAME:
                what = f"{kind} {shorten(name)!r} has a name of {len(name)} characters; at most {MAX_NAME} are allowed"
                yield Problem(kind, name, what)
            if name in seen:
                yield Problem(kind, name, f"the name {shorten(name)!r} stands for a {seen[name]} and for a {kind}; rename one")
            seen[name] = kind
    for kind, named in (("reaction", network.reactions), ("event", network.events)):
        for name, count in Counter(each.name for each in named).items():
            if count > 1:
                how_many = "two" if count == 2 else str(count)
                yield Problem(kind, name, f"{how_many} {kind}s are named {shorten(name)!r}; give each its own name")
    homes = {*network.compartments, *network.observables}
    for species in network.species:
        if species.compartment is not None and species.compartment not in homes:
            what = f"species {species.name!r} is in compartment {species.compartment!r}, which does not exist; declare it with its volume"
            yield Problem("species", species.name, what, missing=True)
    for name, value in network.constants.items():  # a variable may have no value until an event sets it
        if not math.isfinite(value):
            yield Problem(seen[name], name, f"{seen[name]} {name!r} is {value}; give it a finite value")


def _check_initial(network: "Network") -> Iterator[Problem]:
    states, probabilities = network.initial.states, network.initial.probabilities
    if len(states) != len(probabilities) or not states:
        yield Problem("start", "", f"the initial distribution has {len(states)} states and {len(probabilities)} probabilities")
        return
    reported = set()
    for state in states:
        if len(state) != len(network.species):
            yield Problem("start", "", f"an initial state has {len(state)} counts for {len(network.species)} species")
            return
        for species, value in zip(network.species, state, strict=True):
            if not math.isfinite(value) and species.name not in reported:
                reported.add(species.name)
                yield Problem("count", species.name, f"species {species.name!r} starts at {value:g}; an initial count must be finite")
    if any(not p >= 0 for p in probabilities) or abs(math.fsum(probabilities) - 1) > 1e-9:
        what = f"the initial probabilities must be >= 0 and sum to 1; they sum to {math.fsum(probabilities):.12g}"
        yield Problem("start", "", what)


def _check_targets(network: "Network") -> Iterator[Problem]:
    """Rate rules, events and draws set what exists, and nothing is set in two ways at once."""
    rules, changeable = set(network.observables), {*network.species_names, *network.parameters, *network.compartments}
    by_rate = Counter(rule.name for rule in network.rate_rules)
    set_by = [(name, "rate rule", name, f"the rate rule for {name!r}") for name in by_rate]
    set_by += [(each.name, "event", event.name, f"event {event.name!r}") for event in network.events for each in event.assignments]
    set_by += [(draw.name, "start", draw.name, f"the random start of {draw.name!r}") for draw in network.initial.draws]
    for name, kind, element, who in set_by:
        if name in rules:
            yield Problem(kind, element, f"{who} sets {name!r}, which an assignment rule sets already; drop one of the two")
        elif name not in changeable:
            yield Problem(kind, element, f"{who} sets {name!r}, which is not declared{did_you_mean(name, changeable)}", missing=True)
    for name, count in by_rate.items():
        if count > 1:
            yield Problem("rate rule", name, f"there are {'two' if count == 2 else count} rate rules for {name!r}; drop one")
    for reaction in network.reactions:
        for name in sorted({name for name, _ in (*reaction.reactants, *reaction.products)} & by_rate.keys()):
            if not network.is_boundary(name):
                what = f"reaction {reaction.name!r} and a rate rule both change {name!r}; only one of them may"
                yield Problem("reaction", reaction.name, what)
    for event in network.events:
        for name, count in Counter(each.name for each in event.assignments).items():
            if count > 1:
                yield Problem("event", event.name, f"event {event.name!r} sets {name!r} twice; drop one of the two")


def _check_formulas(network: "Network") -> Iterator[Problem]:
    species, rules = set(network.species_names), set(network.observables)
    known = species | rules | set(network.parameters) | set(network.compartments)
    for reaction in network.reactions:
        yield from _check_reaction(reaction, species, rules, known)
    for rule in network.rules:
        yield from _check_formula(rule.formula, known, "rule", rule.name, f"the rule for {rule.name!r}")
    for rule in network.rate_rules:
        yield from _check_formula(rule.formula, known, "rate rule", rule.name, f"the rate rule for {rule.name!r}")
    for event in network.events:
        yield from _check_event(event, known)
    yield from _check_volumes(network)
    for draw in network.initial.draws:
        yield from _check_formula(draw.formula, known, "start", draw.name, f"the random start of {draw.name!r}", draws=True)
    for cycle in _cycles(_needs(network)):
        what = f"the assignment rules for {shorten(', '.join(cycle), 200)} depend on each other in a cycle; solve them for one of the names"
        yield Problem("rule", cycle[0], what)


def _check_volumes(network: "Network") -> Iterator[Problem]:
    """A volume of zero is no harm while nothing is divided by it."""
    given = {name: value for name, value in network.compartments.items() if name not in network.variables}
    for name, value in given.items():
        if value < 0:
            yield Problem("compartment", name, f"compartment {name!r} has volume {value:g}; a volume must be positive")
    flat = {name for name, value in given.items() if value == 0}
    if not flat:
        return
    formulas = [each.law.constant if isinstance(each.law, MassAction) else each.law for each in network.reactions]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    for name in sorted(flat & set().union(*map(_denominators, formulas))):
        what = f"compartment {name!r} has volume 0, and a formula divides by it; a volume must be positive"
        yield Problem("compartment", name, what)


def _denominators(formula: Expr) -> set[str]:
    if not isinstance(formula, Apply):
        return set()
    found = set().union(*map(_denominators, formula.args))
    return found | ratelaw.names(formula.args[1]) if formula.op == "/" else found


def _check_reaction(reaction: Reaction, species: set[str], rules: set[str], known: set[str]) -> Iterator[Problem]:
    mass_action = isinstance(reaction.law, MassAction)
    unknown = dict.fromkeys(name for name, _ in (*reaction.reactants, *reaction.products) if name not in species)
    for name in unknown:
        what = f"reaction {reaction.name!r} uses species {name!r}, which is not declared{did_you_mean(name, species)}"
        yield Problem("reaction", reaction.name, what, missing=True)
    for name, n in (*reaction.reactants, *reaction.products):
        if isinstance(n, int | float):
            if n != int(n) or not 1 <= n < 2**53:
                what = f"reaction {reaction.name!r} has stoichiometry {n} for {name!r}; it must be a positive whole number"
                yield Problem("reaction", reaction.name, what)
            continue
        if mass_action and (name, n) in reaction.reactants:
            what = f"reaction {reaction.name!r} is mass action, but how many of {name!r} it takes is a formula; give the propensity"
            yield Problem("reaction", reaction.name, what)
        where = f"the stoichiometry of {name!r} in reaction {reaction.name!r}"
        yield from _check_formula(n, known, "reaction", reaction.name, where, draws=True)
    for what in stoichiometry.problems(reaction.reactants, reaction.products):
        yield Problem("reaction", reaction.name, f"reaction {reaction.name!r} {what}")
    order = sum(n for _, n in reaction.reactants if isinstance(n, int))
    if mass_action and order > MAX_ORDER:  # the product of so many factors, and its factorial, fit nowhere
        what = f"reaction {reaction.name!r} is mass action of {order} molecules; more than {MAX_ORDER} can't meet, give the propensity"
        yield Problem("reaction", reaction.name, what)
    law = reaction.law.constant if isinstance(reaction.law, MassAction) else reaction.law
    yield from _check_formula(law, known, "reaction", reaction.name, f"the rate law of reaction {reaction.name!r}")
    used = {name for name in ratelaw.names(law) if name in species or name in rules} if mass_action else set()
    if used:
        what = (
            f"the rate constant of reaction {reaction.name!r} uses {', '.join(sorted(used))}; mass action multiplies by its reactants "
            "itself, so give the whole propensity instead (=> in reaction text)"
        )
        yield Problem("reaction", reaction.name, what)


def _check_event(event: Event, known: set[str]) -> Iterator[Problem]:
    yield from _check_formula(event.trigger, known, "event", event.name, f"the trigger of event {event.name!r}")
    yield from _check_formula(event.delay, known, "event", event.name, f"the delay of event {event.name!r}", draws=True)
    if event.priority is not None:
        yield from _check_formula(event.priority, known, "event", event.name, f"the priority of event {event.name!r}", draws=True)
    where = f"event {event.name!r}"
    for _, formula, factor in event.parts():
        yield from _check_formula(formula, known, "event", event.name, where, draws=True)
        if factor is not None:
            yield from _check_formula(factor, known, "event", event.name, where)
            if not event.values_from_trigger:
                what = f"{where} uses now(), but all its values are those of its execution already; leave now() out"
                yield Problem("event", event.name, what)


def _check_formula(formula: Expr, known: set[str], kind: str, element: str, where: str, draws: bool = False) -> Iterator[Problem]:
    for name in sorted(ratelaw.names(formula) - known):
        if name not in ratelaw.CONSTANTS and name != ratelaw.TIME:
            yield Problem(kind, element, f"{where} uses {name!r}, which is not defined{did_you_mean(name, known)}", missing=True)
    if not draws and ratelaw.has_draws(formula):
        what = f"{where} draws random numbers; only numbers of molecules, and what an event or the start of a path sets, can be drawn"
        yield Problem(kind, element, what)
    if ratelaw.uses(formula, "now"):
        what = f"{where} uses now(), which can only be the last factor of what an event sets, like 2*A*now(V)"
        yield Problem(kind, element, what)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = [other for other in known if abs(len(other) - len(name)) <= 3] if len(name) <= 100 else []  # comparing takes long
    close = difflib.get_close_matches(name, near[:1000], n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else ""


def rule_order(network: "Network") -> list[str]:
    """Rule names so that each comes after those it uses. Linear in the number of rules."""
    return _sorted(_needs(network))


def circular(rules: Mapping[str, Expr]) -> set[str]:
    """The rules, by name, that depend on themselves, directly or through others."""
    return {name for cycle in _cycles({name: ratelaw.names(formula) & rules.keys() for name, formula in rules.items()}) for name in cycle}


def _needs(network: "Network") -> dict[str, set[str]]:
    """The rules that each rule uses."""
    rules = set(network.observables)
    return {rule.name: ratelaw.names(rule.formula) & rules for rule in network.rules}


def _sorted(needs: Mapping[str, set[str]]) -> list[str]:
    """Names after all that they need; those in a cycle, and what needs them, are left out."""
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
    return order


def _cycles(needs: Mapping[str, set[str]]) -> list[list[str]]:
    """Names that need each other in a circle, a sorted list for each group of circles that hang together."""
    for _ in range(2):  # first drop what comes before all circles, then, with the arrows turned round, what comes after
        left = needs.keys() - set(_sorted(needs))
        turned: dict[str, set[str]] = {name: set() for name in left}
        for name in left:
            for other in needs[name] & left:
                turned[other].add(name)
        needs = turned
    near = {name: set(others) for name, others in needs.items()}
    for name, others in needs.items():
        for other in others:
            near[other].add(name)
    groups, seen = [], set[str]()
    for first in sorted(needs):
        if first in seen:
            continue
        group = [first]
        seen.add(first)
        for name in group:  # grows while it is read
            more = near[name] - seen
            seen |= more
            group += more
        groups.append(sorted(group))
    return groups
