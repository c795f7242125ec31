"""The door to closed forms: which solver has which, and when one answers of itself."""

from collections.abc import Callable

import numpy as np

from cme.arguments import record
from cme.compiled import Compiled
from cme.errors import ConvergenceError, ModelError
from cme.network import Network
from cme.projection.one_step import one_step
from cme.projection.product_form import product_form
from cme.results import Distribution

STATIONARY = {"product_form": product_form, "one_step": one_step}  # in the order in which they are tried
STATIONARY_METHODS = ("auto", "projection", *STATIONARY)
TRANSIENT: dict[str, Callable] = {}  # in the order in which they are tried
TRANSIENT_METHODS = ("auto", "projection", *TRANSIENT)


def transient_law(
    network: Network, times: np.ndarray, method: str, tol: float, initial, max_states: int, started: float
) -> Distribution | None:
    """The law at times in closed form; None if there is none, or none that is cheaper, and the network is to be solved by projection."""
    return None


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
        compiled = Compiled(network)
        observables = {each: compiled.observable(each, found.states) for each in network.observables}
        lost, error = np.array([found.lost]), np.array([found.rounding])
        info = record("stationary", network.name, started, options, **known)
        return Distribution(np.array([np.inf]), network.species_names, found.states, found.p[None], lost, error, info, observables)
    return None
