"""`check`: what to know about a model before any run. Laws that go wrong at low counts, conversions, sizes, and who can solve it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cme import errors, graphs, ratelaw
from cme.abilities import TAKES, Feature, Kind, features
from cme.arguments import check_count
from cme.complex_balance import complex_balance
from cme.derivative import differentiate
from cme.elements import MassAction, Reaction
from cme.first_order import first_order
from cme.hybrid import Hybrid
from cme.infix import format_number, shorten, to_infix
from cme.network import Network
from cme.ratelaw import Apply, Expr, Number, Symbol
from cme.states import StateSpace
from cme.stoichiometry import is_whole

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 6.0  # the least count of the other species when a law is tried at a low count of one
_SEVERAL = np.array([1.0, 2.0, 3.0, 5.0, 8.0])
MOST_TRIED = 1000  # low counts of one species in one law
MOST_STATES, MOST_COUNTS = 100_000, 10_000_000  # states, and numbers in them, that are looked at by default
MOST_MATRIX = 1_000_000  # reactions times species, up to which closed forms are looked for
MOST_TERMS = 200_000  # of rates that are differentiated
COUNTING = ("ssa", "tau_leap", "fsp", "stationary")  # solvers that stop where a count would fall below zero


@dataclass(frozen=True)
class Finding:
    """One thing to know: a `warning` will give a wrong number or an error, a `note` is harmless if it is meant."""

    severity: str
    topic: str
    element: str
    message: str


@dataclass(frozen=True, repr=False)
class Checkup:
    """What `check` found.

    Attributes
    ----------
    network
        The name of the network.
    findings
        In the order of the model.
    conserved
        Conserved sums as text; None where they can't be told (numbers of molecules that change).
    n_states
        States that can be reached, None if they were not counted to the end.
    states
        The same in words.
    solvers
        For each solver what is in its way, an empty text if nothing is.
    stops
        For each solver that nothing is in the way of, what may stop it on its way, an empty text if nothing is known to.
    exact
        What is known in closed form.
    """

    network: str
    findings: tuple[Finding, ...]
    conserved: tuple[str, ...] | None
    n_states: int | None
    states: str
    solvers: dict[str, str]
    stops: dict[str, str]
    exact: tuple[str, ...] = ()

    def to_frame(self) -> "pd.DataFrame":
        """The findings, a row each: severity, topic, element, message."""
        import pandas as pd

        return pd.DataFrame([vars(each) for each in self.findings], columns=["severity", "topic", "element", "message"])

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return vars(self) | {"findings": [vars(each) for each in self.findings]}

    def __repr__(self) -> str:
        lines = [f"Checkup of {self.network!r}"]
        lines += [f"  {each.severity}: {each.message}" for each in self.findings] or ["  nothing to remark"]
        kept = "not constant numbers of molecules" if self.conserved is None else _listed(self.conserved)
        lines += [f"  conserved: {kept}", f"  states: {self.states}"]
        lines += [f"  in closed form: {'; '.join(self.exact)}"] if self.exact else []
        wide = max(map(len, self.solvers))
        for name, obstacle in self.solvers.items():
            able = f"yes, but it stops {self.stops[name]}" if self.stops[name] else "yes"
            lines.append(f"  {name:<{wide}}  {'no: ' + obstacle if obstacle else able}")
        return "\n".join(lines)


def _listed(sums: tuple[str, ...]) -> str:
    """Sums in a row; long ones, and many, are cut, since a report is for reading."""
    shown = [shorten(each, 300) for each in sums[:20]] + ([f"and {len(sums) - 20} more"] if len(sums) > 20 else [])
    return "; ".join(shown) or "nothing"


def check(network: Network, *, max_states: int | None = None) -> Checkup:
    """Diagnose a model before any run.

    Parameters
    ----------
    network
        Any network, also one that only some solvers can take.
    max_states
        Reachable states are counted up to this number; by default 100 000, or fewer where there are more than 100 species or reactions.

    Returns
    -------
    Checkup
        It prints as a report, and has `to_frame` and `to_dict`.

    Notes
    -----
    A law is tried where a reaction would take more molecules of one species than there are, the others being plentiful. One that is
    not zero there drives a count below zero; `ssa` and `fsp` stop then. A law k A A of a reaction that takes two A is
    told apart, since k A (A - 1) was probably meant: with 1 molecule, nothing can meet. The law of a reaction that takes more than 1000 of
    one species is tried at 0 and at the 1000 counts below what it takes. Whether a law has a derivative, which `lna` and `langevin` need,
    is looked at for the first 200 000 terms.

    Whether an event or a random start leaves whole numbers of molecules is seen from its formula: whole numbers, counts, floor(), ceil()
    and their sums and products do. What is not sure to is a note.

    Cost: linear in the size of the network, and that of the state space, up to `max_states`.

    Examples
    --------
    >>> import cme
    >>> dimers = cme.parse("2 A => D @ k*A*A; k = 0.1; A = 10")
    >>> cme.check(dimers).findings[0].topic
    'low counts'
    """
    if max_states is None:
        max_states = max(100, min(MOST_STATES, MOST_COUNTS // max(len(network.species), len(network.reactions), 1)))
    check_count("max_states", max_states)
    beyond = features(network)
    laws = tuple(_laws(network))
    notes = (Finding("note", "as read", network.name, note) for note in network.notes)
    findings = (*notes, *laws, *_numbers(network, beyond), *_assigned(network), *_conversions(network), *_idle(network))
    whole = not any(feature.kind is Kind.STOICHIOMETRY for feature in beyond)
    conserved = tuple(graphs.conserved_sums(network)) if whole else None
    n_states, states, wrong = _size(network, max_states, beyond)
    if wrong and not any(each.severity == "warning" for each in findings):  # one of which tells why
        findings = (*findings, Finding("warning", "states", network.name, f"a state that is reached has no meaning: {wrong}"))
    solvers = {name: "; ".join(each) for name, each in _obstacles(network, beyond, conserved).items()}
    low = [each.element for each in laws if each.topic == "low counts"] if n_states is None else []  # else no state is so low
    more = f" or {len(low) - 1} others" if len(low) > 1 else ""
    stop = f"where reaction {low[0]!r}{more} fires with too few molecules left (see the warning)" if low else ""
    stop = "in a state that it reaches (see the warning)" if wrong and not stop else stop
    stops = {name: stop if name in COUNTING and not obstacle else "" for name, obstacle in solvers.items()}
    return Checkup(network.name, findings, conserved, n_states, states, solvers, stops, tuple(_closed_forms(network, beyond)))


def _closed_forms(network: Network, beyond: tuple[Feature, ...]) -> Iterator[str]:
    """What the structure of a network gives in closed form."""
    if beyond or len(network.reactions) * len(network.species) > MOST_MATRIX:
        return
    with contextlib.suppress(errors.ModelError):
        deficiency = complex_balance(network).deficiency
        balanced = "its rate constants balance all complexes" if deficiency else "weakly reversible of deficiency 0"
        yield f"the stationary law, a product of Poissons ({balanced})"
    with contextlib.suppress(errors.ModelError):
        if first_order(network).is_monomolecular:
            yield "the law at any time, Poissons and multinomials (monomolecular)"
        else:
            yield "the generating function (each molecule acts alone)"


def _laws(network: Network) -> Iterator[Finding]:
    """Propensities at low counts of what they take."""
    model = Hybrid(network)
    species = set(network.species_names)
    base = {name: max(value, ENOUGH) if name in species else value for name, value in zip(model.coordinates, model.start, strict=True)}
    base[ratelaw.TIME] = base.get(ratelaw.TIME, 0.0)
    for reaction in network.reactions:
        if reaction.net_flux:
            text = shorten(to_infix(reaction.rate))
            message = f"the law {text} of reaction {reaction.name!r} is a net flux, and no propensity; write forward and backward reactions"
            yield Finding("warning", "net flux", reaction.name, message)
            continue
        needed = {name: n for name, n in reaction.reactants if isinstance(n, int) and not network.is_boundary(name)}
        if not needed or _vanishes(network, reaction):
            continue
        law = network.resolve(reaction.propensity)
        known = {name: base[name] for name in ratelaw.names(law)}
        for name, n in needed.items():
            tried = np.arange(max(0, n - MOST_TRIED), n, dtype=float)
            tried = tried if tried[0] == 0 else np.array([0.0, *tried])
            values = _at(law, known, name, tried)
            wrong = np.flatnonzero(values != 0)  # also where it is undefined
            if wrong.size:
                count, value = tried[wrong[-1]], values[wrong[-1]]
                yield Finding("warning", "low counts", reaction.name, _low_count(reaction, law, known, name, n, count, value))


def _vanishes(network: Network, reaction: Reaction) -> bool:
    """Mass action with a finite constant is zero where there are too few molecules."""
    if not isinstance(reaction.law, MassAction):
        return False
    constant = network.resolve(reaction.law.constant)
    return isinstance(constant, Number) and bool(np.isfinite(constant.value))


def _at(law: Expr, known: Mapping[str, float], name: str, counts: np.ndarray) -> np.ndarray:
    """A law at some counts of one species."""
    return np.broadcast_to(ratelaw.evaluate(law, {**known, name: counts}), counts.shape)


def _low_count(reaction: Reaction, law: Expr, known: Mapping[str, float], name: str, n: int, count: float, value: float) -> str:
    text = shorten(to_infix(reaction.propensity))
    if 1 < n <= 10:
        powers = _at(law, known, name, _SEVERAL) / _SEVERAL**n
        if np.all(np.isfinite(powers)) and powers[0] > 0 and np.ptp(powers) <= 1e-9 * powers[0]:
            meant = "*".join([name, *(f"({name} - {i})" for i in range(1, n))])
            return (
                f"the law {text} of reaction {reaction.name!r} goes with {name}^{n}, but takes {n} molecules of {name!r}; {meant} was "
                f"probably meant in place of {'*'.join([name] * n)}, which does not vanish at {name} = {count:.15g}"
            )
    how = f"is {value:.6g}" if np.isfinite(value) else "is undefined"
    return (
        f"the law {text} of reaction {reaction.name!r} {how} at {name} = {count:.15g}, but the reaction takes {n} of {name!r}; "
        "it must vanish there, or the count falls below zero"
    )


def _numbers(network: Network, beyond: tuple[Feature, ...]) -> Iterator[Finding]:
    """Numbers of molecules that are none."""
    for feature in beyond:
        if feature.kind is Kind.STOICHIOMETRY:
            yield Finding("warning", "stoichiometry", feature.element, f"{feature}; only rate_equations can take it")
    drawn = {draw.name for draw in network.initial.draws}
    for s, name in enumerate(network.species_names):
        fractions = {state[s] for state in network.initial.states if state[s] != round(state[s])} if name not in drawn else set()
        for value in sorted(fractions):
            message = f"{name!r} starts at {format_number(value)}, not a whole number of molecules; round it with with_initial()"
            yield Finding("warning", "amounts", name, message)
        least = min(state[s] for state in network.initial.states)
        if least < 0:
            message = f"{name!r} starts at {format_number(least)}, below zero; only rate_equations can take that, with below_zero='allow'"
            yield Finding("warning", "amounts", name, message)


def _assigned(network: Network) -> Iterator[Finding]:
    """What events and random starts set counts to, where that is not sure to be a whole number."""
    changed = {name for each in network.reactions for name in _net_changes(network, each) if not network.is_boundary(name)}
    real = {rule.name for rule in network.rate_rules} - changed
    real |= {rule.name for rule in (*network.initial.draws, *(each for event in network.events for each in event.assignments))} - changed
    counts = set(network.species_names) - real
    sets = [(f"event {event.name!r}", event.name, each) for event in network.events for each in event.assignments]
    sets += [("a random start", draw.name, draw) for draw in network.initial.draws]
    for who, element, rule in sets:
        if rule.name in changed and not is_whole(network.resolve(rule.formula), counts):
            message = (
                f"{who} sets {rule.name!r} to {shorten(to_infix(rule.formula))}, which need not be a whole number of molecules; "
                "ssa and fsp stop where it is none, so round it with floor()"
            )
            yield Finding("note", "amounts", element, message)


def _conversions(network: Network) -> Iterator[Finding]:
    """Where a law reads a concentration: the count over the volume."""
    if not any(species.compartment for species in network.species):
        return
    formulas: list[Expr] = [reaction.propensity for reaction in network.reactions]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    volumes = {species.name: species.compartment for species in network.species if species.compartment is not None}
    read = set().union(*(_concentrations(formula, volumes) for formula in formulas))
    for name in (name for name in network.species_names if name in read):
        volume = volumes[name]
        if volume in network.compartments:
            when = " at time 0" if volume in network.variables else ""
            volume += f" = {format_number(network.compartments[volume])}{when}"
        else:
            volume += ", which a rule sets"
        message = f"laws read the concentration of {name!r}, which is its count divided by the volume {volume}"
        yield Finding("note", "conversions", name, message)


def _concentrations(formula: Expr, volumes: Mapping[str, str]) -> set[str]:
    """Species that a formula divides by their own volume."""
    if not isinstance(formula, Apply):
        return set()
    found = set().union(*(_concentrations(arg, volumes) for arg in formula.args))
    if formula.op == "/" and isinstance(formula.args[0], Symbol):
        name = formula.args[0].name
        if name in volumes and formula.args[1] == Symbol(volumes[name]):
            found.add(name)
    return found


def _idle(network: Network) -> Iterator[Finding]:
    """Species that nothing changes, parameters that nothing uses."""
    changed = {name for reaction in network.reactions for name in _net_changes(network, reaction)}
    changed -= {species.name for species in network.species if species.boundary}
    changed |= {rule.name for rule in network.rate_rules} | {each.name for event in network.events for each in event.assignments}
    for name in network.species_names:
        if name not in changed:
            yield Finding("note", "unchanged", name, f"nothing changes {name!r}: it keeps its initial count")
    formulas = [n for each in network.reactions for side in (each.reactants, each.products) for _, n in side if not isinstance(n, int)]
    formulas += [each.law.constant if isinstance(each.law, MassAction) else each.law for each in network.reactions]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules, *network.initial.draws)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    used = set().union(*map(ratelaw.names, formulas))
    for name in network.parameters:
        if name not in used and name not in network.variables:
            yield Finding("note", "unused", name, f"nothing uses the parameter {name!r}")


def _net_changes(network: Network, reaction: Reaction) -> set[str]:
    """The species of which a reaction takes and makes different numbers."""
    total: dict[str, int] = {}
    for side, sign in ((reaction.reactants, -1), (reaction.products, 1)):
        for name, n in side:
            if not isinstance(n, int):
                return {name for name, n in reaction.changes().items() if network.resolve(n) != ratelaw.ZERO}
            total[name] = total.get(name, 0) + sign * n
    return {name for name, n in total.items() if n}


def _size(network: Network, max_states: int, beyond: tuple[Feature, ...]) -> tuple[int | None, str, str]:
    """How many states can be reached, if they can be counted, and in words; and what is wrong in a state that was reached."""
    if any(feature.kind is Kind.STOICHIOMETRY for feature in beyond):
        return None, "not counts", ""
    if any(feature.kind is not Kind.VARYING for feature in beyond):
        return None, "not counted, since not all is a chain with constant rates", ""
    if _starts_broken(network):
        return None, "not counted, since the start is no whole number", ""
    try:
        n = len(StateSpace.reachable(network, max_states=max_states))
    except errors.ConvergenceError:
        moving = set(network.changed_species[1].tolist())
        bounded = moving <= graphs.bounded_species(network)
        return None, f"more than {max_states}, " + ("bounded by what is conserved" if bounded else "perhaps without bound"), ""
    except errors.ModelError as error:
        return None, f"not counted: {shorten(str(error), 400)}", shorten(str(error), 400)
    return n, str(n), ""


def _starts_broken(network: Network) -> bool:
    return any(value != round(value) for state in network.initial.states for value in state)


def _obstacles(network: Network, beyond: tuple[Feature, ...], conserved: tuple[str, ...] | None) -> dict[str, list[str]]:
    """For each solver what is in its way."""
    found = {solver: [str(feature) for feature in beyond if feature.kind not in kinds] for solver, kinds in TAKES.items()}
    n_free = len(network.species) - len(conserved or ())
    rough = list(_without_derivative(network)) if not (found["lna"] and found["langevin"]) else []
    for solver, obstacles in found.items():
        if obstacles:
            continue
        if solver in COUNTING and _starts_broken(network):
            obstacles.append("the start is no whole number of molecules")
        if solver in ("lna", "langevin"):
            obstacles += rough
        if solver == "fokker_planck" and n_free > 2:
            obstacles.append(f"{n_free} independent species; it takes one or two")
    return found


def _without_derivative(network: Network) -> Iterator[str]:
    """Rates that the linearised equations can't take; mass action is a product, which has one."""
    species, left = set(network.species_names), MOST_TERMS
    for reaction in network.reactions:
        if isinstance(reaction.law, MassAction):
            continue
        rate = network.resolve(reaction.rate)
        try:
            for name in sorted(ratelaw.names(rate) & species):
                left -= ratelaw.size(rate)
                if left < 0:
                    return
                differentiate(rate, name)
        except errors.ModelError as error:
            yield f"reaction {reaction.name!r}: {error}"
            return
