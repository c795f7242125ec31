"""What in a network goes beyond a Markov chain on counts with constant rates, and which solvers can take it."""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from cme import ratelaw
from cme.elements import Event, MassAction, Reaction
from cme.errors import ModelError
from cme.infix import shorten, to_infix
from cme.network import Network
from cme.ratelaw import Apply, Expr, Number


class Kind(Enum):
    """Kinds of features; the value says what is the matter with one."""

    TIME = "depends on time"
    CLOCK = "changes in time, whatever the counts are"
    RATE_RULE = "changes in time, and on the way depends on counts"
    TIMED_SWITCH = "sets parameters at times that are known in advance"
    TIMED_EVENT = "happens at times that are known in advance"
    TIMED_MAP = "happens at times that are known in advance, and what it sets counts to is not linear in them"
    EVENT = "happens at times, or remembers values, that depend on counts or on chance"
    DRAW = "is drawn at random"
    NET_FLUX = "is the difference of a forward and a backward rate, and no propensity"
    STOICHIOMETRY = "is no constant whole number"
    VARYING = "is not the same each time"


_RATES_IN_TIME = {Kind.TIME, Kind.CLOCK, Kind.TIMED_SWITCH}
_CHAIN_IN_TIME = _RATES_IN_TIME | {Kind.TIMED_EVENT, Kind.TIMED_MAP}
TAKES: dict[str, set[Kind]] = {
    "ssa": _CHAIN_IN_TIME | {Kind.RATE_RULE, Kind.EVENT, Kind.DRAW, Kind.VARYING},
    "tau_leap": {Kind.VARYING},
    "fsp": _CHAIN_IN_TIME | {Kind.VARYING},
    "stationary": {Kind.VARYING},
    "rate_equations": set(Kind) - {Kind.DRAW},
    "lna": _RATES_IN_TIME | {Kind.TIMED_EVENT, Kind.VARYING},
    "langevin": _RATES_IN_TIME | {Kind.TIMED_EVENT},
    "fokker_planck": _RATES_IN_TIME,
}  # fmt: skip

# What takes the same as another, and need not be named beside it.
_LIKE = {
    "ensemble": "ssa",
    "StateSpace": "stationary",
    "Generator": "stationary",
    "first_passage": "stationary",
    "switching_rates": "stationary",
}


# The kinds of models that a solver takes, and what to do with one that it does not take, by what would do.
_JUMPS, _FLOWS = ("Network", "Generator", "TimeDependentGenerator"), ("Network", "Generator", "TimeDependentGenerator", "Diffusion")
MODELS: dict[str, tuple[str, ...]] = {
    "ssa": _JUMPS,
    "ensemble": ("Network", "Generator"),
    "fsp": _JUMPS,
    "stationary": ("Network", "Generator"),
    "first_passage": ("Network", "Generator"),
    "switching_rates": ("Network", "Generator"),
    "lump": ("Network", "Generator"),
    "propagator": ("Generator", "TimeDependentGenerator"),
    "rate_equations": _FLOWS,
    "lna": _FLOWS,
    "langevin": _FLOWS,
    "fokker_planck": _FLOWS,
    "feynman_kac": ("SchrodingerForm",),
}
REMEDIES: dict[str, dict[str, str]] = {
    "Network": {"Generator": "make a generator of it with Generator.from_network(network)"},
    "TimeDependentGenerator": {"Generator": "its rates depend on time; take them as they are at one time with .at(time)"},
    "Diffusion": {
        "Generator": "make a generator of it on a grid with .generator(edges), or use fokker_planck",
        "SchrodingerForm": "give its drift and noise as SchrodingerForm(drift, alpha)",
    },
    "RandomWalk": {
        "Generator": "use its .law() or .sample(), or its generator in continuous time, .generator(low, high)",
        "Diffusion": "use its .law() or .sample(), or the diffusion that it tends to, .limit()",
    },
    "SchrodingerForm": {
        "Generator": "use its .law(), or fokker_planck of Diffusion(drift, alpha)",
        "Diffusion": "use its .law(), or give Diffusion(drift, alpha)",
    },
}


def _remedy(what: str, wanted: tuple[str, ...]) -> str:
    ways = REMEDIES[what]
    return next((ways[kind] for kind in (*reversed(wanted), "Generator") if kind in ways), f"give {wanted[0]}")


class Feature(NamedTuple):
    """One thing in a network that not every solver can take."""

    kind: Kind
    what: str  # the element in words
    element: str  # its name

    def __str__(self) -> str:
        return f"{self.what} {self.kind.value}"


def features(network: Network) -> tuple[Feature, ...]:
    """Everything in a network that goes beyond a Markov chain on counts with constant rates."""
    if network.is_plain:
        return ()
    found: list[Feature] = []
    moving = clocks(network)
    for r, reaction in enumerate(network.reactions):
        found += _features_of_reaction(network, r, reaction)
    for rule in network.rules:
        if network.moves_with_time(rule.formula):
            found.append(Feature(Kind.TIME, f"the rule for {rule.name!r}", rule.name))
    for rule in network.rate_rules:
        found.append(Feature(Kind.CLOCK if rule.name in moving else Kind.RATE_RULE, f"{rule.name!r}, set by a rate rule,", rule.name))
    for event in network.events:
        found.append(Feature(_kind_of_event(network, event, moving), f"event {event.name!r}", event.name))
        if any(ratelaw.has_draws(formula) for formula in event.formulas()):
            found.append(Feature(Kind.DRAW, f"a value in event {event.name!r}", event.name))
    found += [Feature(Kind.DRAW, f"the start of {draw.name!r}", draw.name) for draw in network.initial.draws]
    return tuple(found)


def is_chain(network: Network) -> bool:
    """Is a network a Markov chain on counts with constant rates, be it that a reaction does not change them the same each time?"""
    return all(feature.kind is Kind.VARYING for feature in features(network))


def _features_of_reaction(network: Network, r: int, reaction: Reaction) -> Iterator[Feature]:
    def law() -> str:
        return f"the propensity {shorten(to_infix(reaction.propensity))} of reaction {reaction.name!r}"

    if reaction.net_flux:
        yield Feature(Kind.NET_FLUX, law(), reaction.name)
    if network.moves_with_time(reaction.law.constant if isinstance(reaction.law, MassAction) else reaction.law):
        yield Feature(Kind.TIME, law(), reaction.name)
    if all(isinstance(n, int) for _, n in (*reaction.reactants, *reaction.products)):
        return
    varies = {name for _, name, _ in network.varying[r].terms} if r in network.varying else None
    for name, change in reaction.changes().items():
        number = network.resolve(change)
        if network.is_boundary(name) or (isinstance(number, Number) and number.value.is_integer()):
            continue
        if varies is None or name in varies:
            what = f"what reaction {reaction.name!r} changes {name!r} by, {shorten(to_infix(number))},"
            yield Feature(Kind.STOICHIOMETRY if varies is None else Kind.VARYING, what, reaction.name)
            if varies is not None and network.moves_with_time(change):
                yield Feature(Kind.TIME, what, reaction.name)


def require(model, solver: str) -> None:
    """Raise if a solver can't take a model: `TypeError` if it is none of its kinds; `ModelError` if a network holds more than it takes.

    The message names what is in the way, and what to do about it. Whatever is not in the tables, like a state space, takes only
    networks that are Markov chains on counts with constant rates.
    """
    kinds_of_model = MODELS.get(solver, ("Network",))
    found = {each.__name__ for each in type(model).__mro__}  # by name: generators and diffusions live in rooms that import this one
    if found.isdisjoint(kinds_of_model):
        what = next((kind for kind in REMEDIES if kind in found), None)
        taken = " or ".join(f"a {kind}" for kind in kinds_of_model)
        way_out = "" if what is None else f"; {_remedy(what, kinds_of_model)}"
        raise TypeError(f"{solver} takes {taken}, and not a {what or type(model).__name__}{way_out}")
    if not isinstance(model, Network):
        return
    network = model
    takes = TAKES.get(_LIKE.get(solver, solver), set())
    obstacles = [feature for feature in features(network) if feature.kind not in takes]
    if not obstacles:
        return
    kinds = {feature.kind for feature in features(network)}
    able = [name for name, kinds_taken in TAKES.items() if kinds <= kinds_taken]
    more = f" (and {len(obstacles) - 1} more like it)" if len(obstacles) > 1 else ""
    way_out = f"use {' or '.join(able)}" if able else "no solver takes all of this model together"
    raise ModelError(f"{solver} can't take {network.name!r}: {obstacles[0]}{more}; {way_out}")


def clocks(network: Network) -> frozenset[str]:
    """What has a course that is known in advance: what rate rules and events set it to never depends on counts or chance.

    These are variables, and species under rate rules that start from one amount: those are amounts, no counts.
    """
    starts = dict(zip(network.species_names, zip(*network.initial.states, strict=True), strict=True))
    amounts = {rule.name for rule in network.rate_rules if len(set(starts.get(rule.name, ()))) == 1}
    chance = set(network.species_names) - amounts
    needs = {rule.name: _names(network, [rule.formula]) for rule in network.rate_rules}  # what each depends on
    for event in network.events:
        when = [event.trigger, event.delay, *([] if event.priority is None else [event.priority])]
        needed = _names(network, when)
        for each in event.assignments:
            needs.setdefault(each.name, set()).update(needed, _names(network, [each.formula]))
            if any(map(ratelaw.has_draws, (*when[1:], each.formula))):
                chance.add(each.name)
    chance |= {draw.name for draw in network.initial.draws}
    users: dict[str, list[str]] = {}
    for name, needed in needs.items():
        for other in needed:
            users.setdefault(other, []).append(name)
    open_ = list(chance)
    for name in open_:  # grows while it is read
        more = {user for user in users.get(name, ()) if user not in chance}
        chance |= more
        open_ += more
    return (frozenset(network.variables) | amounts) - chance


def _names(network: Network, formulas: list[Expr]) -> set[str]:
    return set().union(*(ratelaw.names(network.resolve(formula)) for formula in formulas))


def _kind_of_event(network: Network, event: Event, moving: frozenset[str]) -> Kind:
    if not _is_timed(network, event, moving):
        return Kind.EVENT
    counts = set(network.species_names) - moving
    maps = [network.resolve(each.formula) for each in event.assignments if each.name in counts]
    if not maps:
        return Kind.TIMED_SWITCH
    return Kind.TIMED_EVENT if all(_is_linear(formula, counts) for formula in maps) else Kind.TIMED_MAP


def _is_linear(formula: Expr, counts: set[str]) -> bool:
    """Is a resolved formula a constant plus multiples of counts, as it is written?"""
    if ratelaw.names(formula).isdisjoint(counts) or not isinstance(formula, Apply):
        return True
    moving = [not ratelaw.names(arg).isdisjoint(counts) for arg in formula.args]
    once = {"+": True, "neg": True, "*": sum(moving) == 1, "/": moving == [True, False]}
    return once.get(formula.op, False) and all(_is_linear(arg, counts) for arg in formula.args)


def _is_timed(network: Network, event: Event, moving: frozenset[str]) -> bool:
    """Whether an event's times are known in advance, and what it does to the counts is a map of counts to counts."""
    declared = {*network.species_names, *network.variables}
    known = moving | ({ratelaw.TIME} - declared)
    when = [event.trigger, event.delay, *([] if event.priority is None else [event.priority])]
    if any(ratelaw.names(network.resolve(formula)) - known or ratelaw.has_draws(formula) for formula in when):
        return False
    changed = {each.name for each in event.assignments}
    later = event.delay != ratelaw.ZERO and event.values_from_trigger
    if changed - moving - set(network.species_names):
        return False  # a variable that remembers counts
    return not later or not any(ratelaw.names(network.resolve(each.formula)) - known for each in event.assignments)
