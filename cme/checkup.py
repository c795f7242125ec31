"""`check`: what to know about a model before any run. Laws that go wrong at low counts, conversions, sizes, and who can solve it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cme import errors, graphs, ratelaw
from cme.abilities import TAKES, Kind, features
from cme.arguments import check_count
from cme.derivative import differentiate
from cme.hybrid import Hybrid
from cme.infix import format_number, shorten, to_infix
from cme.network import Network
from cme.ratelaw import Apply, Expr, Symbol
from cme.states import StateSpace

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 6.0  # the least count of the other species when a law is tried at a low count of one
_SEVERAL = np.array([1.0, 2.0, 3.0, 5.0, 8.0])


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
    """

    network: str
    findings: tuple[Finding, ...]
    conserved: tuple[str, ...] | None
    n_states: int | None
    states: str
    solvers: dict[str, str]

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
        kept = "not constant numbers of molecules" if self.conserved is None else "; ".join(self.conserved) or "nothing"
        lines += [f"  conserved: {kept}", f"  states: {self.states}"]
        wide = max(map(len, self.solvers))
        lines += [f"  {name:<{wide}}  {'no: ' + obstacle if obstacle else 'yes'}" for name, obstacle in self.solvers.items()]
        return "\n".join(lines)


def check(network: Network, *, max_states: int = 100_000) -> Checkup:
    """Diagnose a model before any run.

    Parameters
    ----------
    network
        Any network, also one that only some solvers can take.
    max_states
        Reachable states are counted up to this number.

    Returns
    -------
    Checkup
        It prints as a report, and has `to_frame` and `to_dict`.

    Notes
    -----
    A law is tried where a reaction would take more molecules of one species than there are, the others being plentiful. One that is
    not zero there drives a count below zero; `ssa` and `fsp` stop then. A law k A A of a reaction that takes two A is
    told apart, since k A (A - 1) was probably meant: with 1 molecule, nothing can meet.

    Cost: that of the state space, up to `max_states`.

    Examples
    --------
    >>> import cme
    >>> dimers = cme.parse("2 A => D @ k*A*A; k = 0.1; A = 10")
    >>> cme.check(dimers).findings[0].topic
    'low counts'
    """
    check_count("max_states", max_states)
    findings = (*_laws(network), *_numbers(network), *_conversions(network), *_idle(network))
    beyond = features(network)
    whole = not any(feature.kind is Kind.STOICHIOMETRY for feature in beyond)
    conserved = tuple(graphs.conserved_sums(network)) if whole else None
    n_states, states = _size(network, max_states, whole)
    solvers = {name: "; ".join(_obstacles(network, name, conserved)) for name in TAKES}
    return Checkup(network.name, findings, conserved, n_states, states, solvers)


def _laws(network: Network) -> Iterator[Finding]:
    """Propensities at low counts of what they take."""
    model = Hybrid(network)
    for r, reaction in enumerate(network.reactions):
        if reaction.net_flux:
            text = shorten(to_infix(reaction.rate))
            message = f"the law {text} of reaction {reaction.name!r} is a net flux, and no propensity; write forward and backward reactions"
            yield Finding("warning", "net flux", reaction.name, message)
            continue
        law = model.propensity_formulas[r]
        needed = {name: n for name, n in reaction.reactants if isinstance(n, int) and not network.is_boundary(name)}
        base = np.maximum(model.start, ENOUGH * np.isin(model.coordinates, network.species_names))
        for name, n in needed.items():
            place = model.coordinates.index(name)
            tried = np.repeat(base[None], n, axis=0)
            tried[:, place] = np.arange(n)
            values = model.evaluate([law], tried, 0.0)[:, 0]
            wrong = np.flatnonzero(values != 0)  # also where it is undefined
            if wrong.size:
                yield Finding("warning", "low counts", reaction.name, _low_count(model, r, base, place, n, values, int(wrong[-1])))


def _low_count(model: Hybrid, r: int, base: np.ndarray, place: int, n: int, values: np.ndarray, wrong: int) -> str:
    reaction, name = model.network.reactions[r], model.coordinates[place]
    text = shorten(to_infix(reaction.propensity))
    several = np.repeat(base[None], len(_SEVERAL), axis=0)
    several[:, place] = _SEVERAL
    powers = model.evaluate([model.propensity_formulas[r]], several, 0.0)[:, 0] / _SEVERAL**n
    if n > 1 and np.all(np.isfinite(powers)) and powers[0] > 0 and np.ptp(powers) <= 1e-9 * powers[0]:
        meant = "*".join([name, *(f"({name} - {i})" for i in range(1, n))])
        return (
            f"the law {text} of reaction {reaction.name!r} goes with {name}^{n}, but takes {n} molecules of {name!r}; {meant} was probably "
            f"meant in place of {'*'.join([name] * n)}, which does not vanish at {name} = {wrong}"
        )
    how = f"is {values[wrong]:.6g}" if np.isfinite(values[wrong]) else "is undefined"
    return (
        f"the law {text} of reaction {reaction.name!r} {how} at {name} = {wrong}, but the reaction takes {n} of {name!r}; "
        "it must vanish there, or the count falls below zero"
    )


def _numbers(network: Network) -> Iterator[Finding]:
    """Numbers of molecules that are none."""
    for feature in features(network):
        if feature.kind is Kind.STOICHIOMETRY:
            yield Finding("warning", "stoichiometry", feature.what, f"{feature}; only rate_equations can take it")
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


def _conversions(network: Network) -> Iterator[Finding]:
    """Where a law reads a concentration: the count over the volume."""
    formulas: list[Expr] = [reaction.propensity for reaction in network.reactions]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    volumes = {species.name: species.compartment for species in network.species if species.compartment is not None}
    read = set().union(*(_concentrations(formula, volumes) for formula in formulas))
    for name in (name for name in network.species_names if name in read):
        volume = volumes[name]
        value = format_number(network.compartments[volume])
        when = " at time 0" if volume in network.variables else ""
        message = f"laws read the concentration of {name!r}, which is its count divided by the volume {volume} = {value}{when}"
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
    changed = {name for reaction in network.reactions for name, n in reaction.changes().items() if network.resolve(n) != ratelaw.ZERO}
    changed -= {species.name for species in network.species if species.boundary}
    changed |= {rule.name for rule in network.rate_rules} | {each.name for event in network.events for each in event.assignments}
    for name in network.species_names:
        if name not in changed:
            yield Finding("note", "unchanged", name, f"nothing changes {name!r}: it keeps its initial count")
    formulas = [n for each in network.reactions for side in (each.reactants, each.products) for _, n in side if not isinstance(n, int)]
    formulas += [reaction.propensity for reaction in network.reactions]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules, *network.initial.draws)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    used = set().union(*map(ratelaw.names, formulas))
    for name in network.parameters:
        if name not in used and name not in network.variables:
            yield Finding("note", "unused", name, f"nothing uses the parameter {name!r}")


def _size(network: Network, max_states: int, whole: bool) -> tuple[int | None, str]:
    """How many states can be reached, if they can be counted, and in words."""
    if not whole:
        return None, "not counts"
    if features(network):
        return None, "not counted, since not all is a chain with constant rates"
    if _starts_broken(network):
        return None, "not counted, since the start is no whole number"
    try:
        n = len(StateSpace.reachable(network, max_states=max_states))
    except errors.ConvergenceError:
        moving = np.any(network.stoichiometry != 0, axis=0)
        laws = graphs.conservation_laws(network)
        bounded = np.all(np.any(laws > 0, axis=0)[moving]) if len(laws) and not np.any(laws < 0) else not np.any(moving)
        return None, f"more than {max_states}, " + ("bounded by what is conserved" if bounded else "perhaps without bound")
    except errors.ModelError as error:
        return None, f"not counted: {error}"
    return n, str(n)


def _without_derivative(network: Network) -> Iterator[str]:
    """Rates that the linearised equations can't take."""
    for reaction in network.reactions:
        rate = network.resolve(reaction.rate)
        try:
            for name in ratelaw.names(rate) & set(network.species_names):
                differentiate(rate, name)
        except errors.ModelError as error:
            yield f"reaction {reaction.name!r}: {error}"
            return


def _starts_broken(network: Network) -> bool:
    return any(value != round(value) for state in network.initial.states for value in state)


def _obstacles(network: Network, solver: str, conserved: tuple[str, ...] | None) -> Iterator[str]:
    beyond = [feature for feature in features(network) if feature.kind not in TAKES[solver]]
    yield from (str(feature) for feature in beyond)
    if solver in ("ssa", "fsp", "stationary") and _starts_broken(network) and not beyond:
        yield "the start is no whole number of molecules"
    n_free = len(network.species) - len(conserved or ())
    if solver in ("lna", "langevin") and not beyond:
        yield from _without_derivative(network)
    if solver == "fokker_planck" and not beyond and n_free > 2:
        yield f"{n_free} independent species; it takes one or two"
