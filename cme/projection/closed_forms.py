"""The door to closed forms: which solver has which, and when one answers of itself."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from cme import ratelaw
from cme.abilities import features
from cme.arguments import record
from cme.compiled import starting_states
from cme.errors import ConvergenceError, ModelError
from cme.network import Network
from cme.projection.columns import Block, Laws, places_in
from cme.projection.monomolecular import monomolecular
from cme.projection.one_step import one_step
from cme.projection.product_form import product_form
from cme.results import Distribution

STATIONARY = ("product_form", "one_step", "generating_function")  # in the order in which they are tried
STATIONARY_METHODS = ("auto", "projection", *STATIONARY)
TRANSIENT = ("monomolecular", "generating_function")
TRANSIENT_METHODS = ("auto", "projection", *TRANSIENT)
MOST_MATRIX = 1_000_000  # reactions times species, up to which "auto" looks for a closed form
FOREVER = np.array([np.inf])
OTHERWISE = "; use method='projection'"  # at the end of a refusal: of no use where projection fails as well
BOUND, ESTIMATE = "a bound", "an estimate"  # what `info` says of the integration error


class Answer(NamedTuple):
    """The law in closed form, if it is there and not dearer than projection; else why one that is there does not come within `tol`."""

    law: Distribution | None = None
    refusal: str = ""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Projection in its stead: where that fails too, both reasons are told, since either may be the easier one to mend."""
        try:
            yield
        except ConvergenceError as error:
            if self.refusal:
                raise ConvergenceError(f"{error}; {self.refusal}") from error
            raise


def transient_law(
    network: Network, times: np.ndarray, method: str, tol: float, initial, max_states: int, keep: Sequence[str] | None, started: float
) -> Answer:
    """The law at times in closed form, or none, and the network is to be solved by projection.

    Raises
    ------
    ModelError
        If a closed form is asked for by name that the network does not have: the message says why.
    """

    def solve(name: str) -> Distribution | None:
        states, weights = starting_states(network, initial)
        lack, excess = initial.lack_and_excess if isinstance(initial, Distribution) else (0.0, 0.0)
        if lack + excess > 0.5 * tol:
            raise ConvergenceError(
                f"the initial distribution has already lost {lack + excess:.1e}; give it with a smaller tol, or raise tol={tol:g}"
            )
        own = None if keep is None else [network.species_names.index(each) for each in keep]
        if name == "monomolecular":
            laws = monomolecular(network, times, states, weights, tol, max_states, method == "auto", own)
        else:
            from cme.projection.first_order_law import generating_function  # slow to import

            laws = generating_function(network, times, states, weights, tol, max_states, method == "auto", own)
        if laws is None:
            return None
        species = network.species_names if keep is None else tuple(keep)
        law = _distribution(
            "fsp", network, species, times, laws, float(weights.sum()), _options(tol, method, max_states, keep), name, started
        )
        law = replace(law, lost=law.lost + lack, integration_error=law.integration_error + excess)
        if np.any(law.error_bound - lack - excess > tol):
            worst = float(law.error_bound.max())
            raise ConvergenceError(f"the closed form only comes within {worst:.1e} of the law, rounding included; loosen tol={tol:g}")
        return law

    return _first(solve, TRANSIENT, method, network, initial)


def stationary_law(
    network: Network, method: str, tol: float, initial, max_states: int, keep: Sequence[str] | None, started: float
) -> Answer:
    """The stationary law in closed form, see `transient_law`."""

    def solve(name: str) -> Distribution | None:
        options = _options(tol, method, max_states, keep)
        own = None if keep is None else [network.species_names.index(each) for each in keep]
        if name == "generating_function":
            from cme.projection.first_order_law import generating_function

            states, weights = starting_states(network, initial)
            laws = generating_function(network, FOREVER, states, weights / weights.sum(), tol, max_states, method == "auto", own)
            if laws is None:
                return None
            species = network.species_names if keep is None else tuple(keep)
            return _distribution("stationary", network, species, FOREVER, laws, 1.0, options, name, started)
        if name == "product_form":
            answer = product_form(network, initial, tol, max_states, own)
        else:
            answer = one_step(network, initial, tol, max_states)
        laws = Laws([Block(answer.states, answer.p)], np.array([answer.rounding]), answer.exact_by)
        law = _distribution("stationary", network, network.species_names, FOREVER, laws, 1.0, options, name, started)
        law = replace(law, lost=np.array([answer.lost]))
        return law if keep is None else only(law, network, keep)

    return _first(solve, STATIONARY, method, network, initial)


def _first(solve, names: tuple[str, ...], method: str, network: Network, initial) -> Answer:
    """What the first closed form gives that there is, or the one that was asked for."""
    if method in names:
        return Answer(solve(method))
    if method != "auto" or not _may_be_plain(network, initial):
        return Answer()
    refusal = ""
    for name in names:
        try:
            found = solve(name)
        except ModelError:  # the network has no such form: projection is for all
            continue
        except ConvergenceError as error:
            refusal = refusal or f"with method={name!r}: {str(error).removesuffix(OTHERWISE)}"
            continue
        if found is not None:
            return Answer(found)
    return Answer(refusal=refusal)


def _may_be_plain(network: Network, initial) -> bool:
    """Can a closed form be looked for, or does the model go beyond, or have a mistake of which projection tells?"""
    try:
        starting_states(network, initial)
    except (ModelError, ValueError, TypeError):  # projection reads the same start, and says what is wrong with it
        return False
    return len(network.reactions) * len(network.species) <= MOST_MATRIX and not features(network)


def _options(tol: float, method: str, max_states: int, keep: Sequence[str] | None) -> dict[str, Any]:
    return {"tol": tol, "method": method, "max_states": max_states} | ({} if keep is None else {"keep": list(keep)})


def _distribution(
    solver: str,
    network: Network,
    species: tuple[str, ...],
    times: np.ndarray,
    laws: Laws,
    total: float,
    options: Mapping[str, Any],
    name: str,
    started: float,
) -> Distribution:
    states, p = _at_all_times(laws.blocks)
    lost = np.maximum(0.0, total - p.sum(axis=1))
    known = {"method": name.replace("_", " "), "exact_by": laws.exact_by, "states": len(states)}
    known |= {"integration_error": BOUND, "certificate": "certified: in closed form"}
    if name == "generating_function":
        known |= {"integration_error": ESTIMATE, "certificate": "estimate: the integrator's error is found from two tolerances"}
    info = record(solver, network.name, started, options, **known)
    return Distribution(times, species, states, p, lost, laws.error, info, observables(network, species, states))


def _at_all_times(blocks: list[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Laws at several times on one set of states: N states and p (T, N)."""
    if len(blocks) == 1:
        return blocks[0].states, blocks[0].p[None]
    states, place = places_in(blocks)
    p = np.zeros((len(blocks), len(states)))
    for row, block, where in zip(p, blocks, np.split(place, np.cumsum([len(block.p) for block in blocks])[:-1]), strict=True):
        row[where] = block.p
    return states, p


def observables(network: Network, species: Sequence[str], states: np.ndarray) -> dict[str, np.ndarray]:
    """The rules in each state, (N,), that the counts of some species determine."""
    values = {name: states[:, s].astype(np.float64) for s, name in enumerate(species)}
    formulas = {rule.name: network.resolve(rule.formula) for rule in network.rules}
    return {
        name: np.broadcast_to(ratelaw.evaluate(formula, values), (len(states),))
        for name, formula in formulas.items()
        if ratelaw.names(formula) <= set(values)
    }


def check_keep(network: Network, keep: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of species, each once."""
    if keep is None:
        return None
    if not isinstance(keep, Iterable):
        raise TypeError(f"keep must be the names of species, not {keep!r}")
    names = (keep,) if isinstance(keep, str) else tuple(keep)
    for name in names:
        if name not in network.species_names:
            raise ValueError(f"keep names {name!r}, which is no species; there are {', '.join(network.species_names)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"keep must name one species or more, each once, not {list(names)}")
    return names


def only(law: Distribution, network: Network, keep: Sequence[str]) -> Distribution:
    """The joint law of some species: the others are summed over."""
    columns = [law.species_index(name) for name in keep]
    states, place = places_in([Block(law.states[:, columns], law.p[0])])
    p = np.array([np.bincount(place, weights=row, minlength=len(states)) for row in law.p])
    kept = {name: values for name, values in law.observables.items() if _is_determined(network, name, keep)}
    first = np.unique(place, return_index=True)[1]
    found = {name: values[..., first] for name, values in kept.items()}
    floor = None if law.floor is None else np.array([np.bincount(place, weights=row, minlength=len(states)) for row in law.floor])
    return replace(law, species=tuple(keep), states=states, p=p, observables=found, floor=floor)


def _is_determined(network: Network, rule: str, keep: Sequence[str]) -> bool:
    """Does a rule depend on no other species than some?"""
    formula = next(network.resolve(each.formula) for each in network.rules if each.name == rule)
    return ratelaw.names(formula).isdisjoint(set(network.species_names) - set(keep))
