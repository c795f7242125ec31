"""Does a network mean something? Names, values, formulas, and the order of rules; the first thing that is wrong is named."""

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cme import ratelaw
from cme.elements import Event, MassAction, Reaction
from cme.errors import ModelError
from cme.infix import MAX_NAME, shorten
from cme.ratelaw import Apply, Expr

if TYPE_CHECKING:
    from cme.network import Network


MAX_ORDER = 100  # molecules that mass action may take at once


def check(network: "Network") -> None:
    """Raise `ModelError` if a network means nothing."""
    _check_names(network)
    _check_initial(network)
    _check_targets(network)
    _check_formulas(network)


def _check_names(network: "Network") -> None:
    seen: dict[str, str] = {}
    kinds = [("species", network.species_names), ("parameter", network.parameters), ("compartment", network.compartments)]
    for kind, names in [*kinds, ("rule", network.observables)]:
        for name in names:
            if not name or not (name[0].isalpha() or name[0] == "_") or not all(c.isalnum() or c == "_" for c in name):
                raise ModelError(f"{kind} {shorten(name)!r} is no valid name; use letters, digits and _, not starting with a digit")
            if len(name) > MAX_NAME:
                raise ModelError(f"{kind} {shorten(name)!r} has a name of {len(name)} characters; at most {MAX_NAME} are allowed")
            if name in seen:
                raise ModelError(f"the name {name!r} stands for a {seen[name]} and for a {kind}; rename one")
            seen[name] = kind
    for kind, named in (("reaction", network.reactions), ("event", network.events)):
        names = [each.name for each in named]
        if len(set(names)) < len(names):
            raise ModelError(f"two {kind}s are named {Counter(names).most_common(1)[0][0]!r}; give each its own name")
    for species in network.species:
        if species.compartment is not None and species.compartment not in (*network.compartments, *network.observables):
            raise ModelError(f"species {species.name!r} is in compartment {species.compartment!r}, which does not exist")
    for name, value in network.constants.items():  # a variable may have no value until an event sets it
        if not math.isfinite(value):
            raise ModelError(f"{seen[name]} {name!r} is {value}; give it a finite value")


def _check_initial(network: "Network") -> None:
    states, probabilities = network.initial.states, network.initial.probabilities
    if len(states) != len(probabilities) or not states:
        raise ModelError(f"the initial distribution has {len(states)} states and {len(probabilities)} probabilities")
    for state in states:
        if len(state) != len(network.species):
            raise ModelError(f"an initial state has {len(state)} counts for {len(network.species)} species")
        for species, value in zip(network.species, state, strict=True):
            if not math.isfinite(value):
                raise ModelError(f"species {species.name!r} starts at {value:g}; an initial count must be finite")
    if any(not p >= 0 for p in probabilities) or abs(math.fsum(probabilities) - 1) > 1e-9:
        raise ModelError(f"the initial probabilities must be >= 0 and sum to 1; they sum to {math.fsum(probabilities):.12g}")


def _check_targets(network: "Network") -> None:
    """Rate rules, events and draws set what exists, and nothing is set in two ways at once."""
    rules, changeable = set(network.observables), {*network.species_names, *network.parameters, *network.compartments}
    by_rate = [rule.name for rule in network.rate_rules]
    set_by = [(name, f"the rate rule for {name!r}") for name in by_rate]
    set_by += [(each.name, f"event {event.name!r}") for event in network.events for each in event.assignments]
    set_by += [(draw.name, f"the random start of {draw.name!r}") for draw in network.initial.draws]
    for name, what in set_by:
        if name in rules:
            raise ModelError(f"{what} sets {name!r}, which an assignment rule sets already; drop one of the two")
        if name not in changeable:
            raise ModelError(f"{what} sets {name!r}, which is not declared{did_you_mean(name, changeable)}")
    for name in {name for name in by_rate if by_rate.count(name) > 1}:
        raise ModelError(f"there are two rate rules for {name!r}; drop one")
    for reaction in network.reactions:
        for name in {name for name, _ in (*reaction.reactants, *reaction.products)} & set(by_rate):
            if not network.is_boundary(name):
                raise ModelError(f"reaction {reaction.name!r} and a rate rule both change {name!r}; only one of them may")
    for event in network.events:
        names = [each.name for each in event.assignments]
        if len(set(names)) < len(names):
            raise ModelError(f"event {event.name!r} sets {Counter(names).most_common(1)[0][0]!r} twice; drop one of the two")


def _check_formulas(network: "Network") -> None:
    species, rules = set(network.species_names), set(network.observables)
    known = species | rules | set(network.parameters) | set(network.compartments)
    for reaction in network.reactions:
        _check_reaction(reaction, species, rules, known)
    for rule in network.rules:
        _check_formula(rule.formula, known, f"the rule for {rule.name!r}")
    for rule in network.rate_rules:
        _check_formula(rule.formula, known, f"the rate rule for {rule.name!r}")
    for event in network.events:
        _check_event(event, known)
    _check_volumes(network)
    for draw in network.initial.draws:
        _check_formula(draw.formula, known, f"the random start of {draw.name!r}", draws=True)
    rule_order(network)


def _check_volumes(network: "Network") -> None:
    """A volume of zero is no harm while nothing is divided by it."""
    given = {name: value for name, value in network.compartments.items() if name not in network.variables}
    for name, value in given.items():
        if value < 0:
            raise ModelError(f"compartment {name!r} has volume {value:g}; a volume must be positive")
    flat = {name for name, value in given.items() if value == 0}
    if not flat:
        return
    formulas = [each.law.constant if isinstance(each.law, MassAction) else each.law for each in network.reactions]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    for name in flat & set().union(*map(_denominators, formulas)):
        raise ModelError(f"compartment {name!r} has volume 0, and a formula divides by it; a volume must be positive")


def _denominators(formula: Expr) -> set[str]:
    if not isinstance(formula, Apply):
        return set()
    found = set().union(*map(_denominators, formula.args))
    return found | ratelaw.names(formula.args[1]) if formula.op == "/" else found


def _check_reaction(reaction: Reaction, species: set[str], rules: set[str], known: set[str]) -> None:
    mass_action = isinstance(reaction.law, MassAction)
    for name, n in (*reaction.reactants, *reaction.products):
        if name not in species:
            raise ModelError(f"reaction {reaction.name!r} uses species {name!r}, which is not declared{did_you_mean(name, species)}")
        if isinstance(n, int | float):
            if n != int(n) or not 1 <= n < 2**53:
                raise ModelError(f"reaction {reaction.name!r} has stoichiometry {n} for {name!r}; it must be a positive whole number")
            continue
        if mass_action and (name, n) in reaction.reactants:
            raise ModelError(
                f"reaction {reaction.name!r} is mass action, but how many of {name!r} it takes is a formula; give the propensity"
            )
        _check_formula(n, known, f"the stoichiometry of {name!r} in reaction {reaction.name!r}")
    order = sum(n for _, n in reaction.reactants if isinstance(n, int))
    if mass_action and order > MAX_ORDER:  # the product of so many factors, and its factorial, fit nowhere
        raise ModelError(
            f"reaction {reaction.name!r} is mass action of {order} molecules; more than {MAX_ORDER} can't meet, give the propensity"
        )
    law = reaction.law.constant if isinstance(reaction.law, MassAction) else reaction.law
    _check_formula(law, known, f"the rate law of reaction {reaction.name!r}")
    used = {name for name in ratelaw.names(law) if name in species or name in rules} if mass_action else set()
    if used:
        raise ModelError(
            f"the rate constant of reaction {reaction.name!r} uses {', '.join(sorted(used))}; mass action multiplies by its reactants "
            "itself, so give the whole propensity instead (=> in reaction text)"
        )


def _check_event(event: Event, known: set[str]) -> None:
    _check_formula(event.trigger, known, f"the trigger of event {event.name!r}")
    _check_formula(event.delay, known, f"the delay of event {event.name!r}", draws=True)
    if event.priority is not None:
        _check_formula(event.priority, known, f"the priority of event {event.name!r}", draws=True)
    where = f"event {event.name!r}"
    for _, formula, factor in event.parts():
        _check_formula(formula, known, where, draws=True)
        if factor is not None:
            _check_formula(factor, known, where)
            if not event.values_from_trigger:
                raise ModelError(f"{where} uses now(), but all its values are those of its execution already; leave now() out")


def _check_formula(formula: Expr, known: set[str], where: str, draws: bool = False) -> None:
    for name in sorted(ratelaw.names(formula) - known):
        if name not in ratelaw.CONSTANTS and name != ratelaw.TIME:
            raise ModelError(f"{where} uses {name!r}, which is not defined{did_you_mean(name, known)}")
    if not draws and ratelaw.has_draws(formula):
        raise ModelError(f"{where} draws random numbers; only what an event or the start of a path sets can be drawn")
    if ratelaw.uses(formula, "now"):
        raise ModelError(f"{where} uses now(), which can only be the last factor of what an event sets, like 2*A*now(V)")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = [other for other in known if abs(len(other) - len(name)) <= 3] if len(name) <= 100 else []  # comparing takes long
    close = difflib.get_close_matches(name, near[:5000], n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else ""


def rule_order(network: "Network") -> list[str]:
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
