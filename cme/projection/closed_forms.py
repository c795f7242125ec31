"""The door to closed forms: which solver has which, and when one answers of itself."""

from collections.abc import Callable

import numpy as np

from cme.abilities import features
from cme.arguments import record
from cme.compiled import Compiled, starting_states
from cme.errors import ConvergenceError, ModelError
from cme.network import Network
from cme.projection.columns import Block, Laws, places_in
from cme.projection.monomolecular import monomolecular
from cme.projection.one_step import one_step
from cme.projection.product_form import product_form
from cme.results import Distribution

STATIONARY = {"product_form": product_form, "one_step": one_step}  # in the order in which they are tried
STATIONARY_METHODS = ("auto", "projection", *STATIONARY)
TRANSIENT: dict[str, Callable[..., Laws | None]] = {"monomolecular": monomolecular}  # in the order in which they are tried
TRANSIENT_METHODS = ("auto", "projection", *TRANSIENT)


def transient_law(
    network: Network, times: np.ndarray, method: str, tol: float, initial, max_states: int, started: float
) -> Distribution | None:
    """The law at times in closed form; None if there is none, or none that is cheaper, and the network is to be solved by projection."""
    if method not in ("auto", *TRANSIENT) or (method == "auto" and not _may_be_plain(network, initial)):
        return None
    states, weights = starting_states(network, initial)
    lost_before = float(max(initial.error_bound[-1], 0.0)) if isinstance(initial, Distribution) else 0.0
    for name, solve in TRANSIENT.items():
        if method not in ("auto", name):
            continue
        try:
            found = solve(network, times, states, weights, tol, max_states, method == "auto")
        except (ModelError, ConvergenceError):
            if method == "auto":
                continue
            raise
        if found is None:
            continue
        all_states, p = _at_all_times(found.blocks)
        lost = np.maximum(0.0, weights.sum() - p.sum(axis=1)) + lost_before
        if np.any(lost + found.error > tol):
            if method == "auto":
                continue
            worst = float((lost + found.error).max())
            raise ConvergenceError(f"the closed form only comes within {worst:.1e} of the law, rounding included; loosen tol={tol:g}")
        known = {"method": name.replace("_", " "), "exact_by": found.exact_by, "states": len(all_states)}
        info = record("fsp", network.name, started, {"tol": tol, "method": method, "max_states": max_states}, **known)
        return Distribution(times, network.species_names, all_states, p, lost, found.error, info, _observables(network, all_states))
    return None


def _may_be_plain(network: Network, initial) -> bool:
    """Can a closed form be looked for, or does the model go beyond, or have a mistake of which projection tells?"""
    try:
        starting_states(network, initial)
    except (ModelError, ValueError, TypeError):
        return False
    return not features(network)


def _at_all_times(blocks: list[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Laws at several times on one set of states: N states and p (T, N)."""
    if len(blocks) == 1:
        return blocks[0].states, blocks[0].p[None]
    states, place = places_in(blocks)
    p = np.zeros((len(blocks), len(states)))
    for row, block, where in zip(p, blocks, np.split(place, np.cumsum([len(block.p) for block in blocks])[:-1]), strict=True):
        row[where] = block.p
    return states, p


def _observables(network: Network, states: np.ndarray) -> dict[str, np.ndarray]:
    compiled = Compiled(network)
    return {name: compiled.observable(name, states) for name in network.observables}


def stationary_law(network: Network, method: str, tol: float, initial, max_states: int, started: float) -> Distribution | None:
    """The stationary law in closed form; None if there is none and the network is to be solved by projection.

    Raises
    ------
    ModelError
        If a closed form is asked for by name that the network does not have: the message says why.
    """
    if method not in ("auto", *STATIONARY):
        return None
    for name, solve in STATIONARY.items():
        if method not in ("auto", name):
            continue
        try:
            found = solve(network, initial, tol, max_states)
        except (ModelError, ConvergenceError):
            if method == "auto":
                continue
            raise
        options = {"tol": tol, "max_states": max_states, "method": method}
        known = {"method": name.replace("_", " "), "exact_by": found.exact_by, "states": len(found.states)}
        observables = _observables(network, found.states)
        lost, error = np.array([found.lost]), np.array([found.rounding])
        info = record("stationary", network.name, started, options, **known)
        return Distribution(np.array([np.inf]), network.species_names, found.states, found.p[None], lost, error, info, observables)
    return None
