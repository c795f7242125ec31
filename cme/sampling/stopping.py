"""Conditions on counts that end a path."""

import numpy as np

from cme.abilities import is_chain
from cme.conditions import check_defined, network_condition, undefined
from cme.network import Network
from cme.ratelaw import Apply, Expr


def stop_condition(network, text: str) -> Expr:
    """The formula of a condition on species, parameters and rules of a network, with only species left in it.

    Raises
    ------
    ValueError
        If it is no condition, uses what the network does not have or the time, or the model is none with constant rates.
    """
    if not isinstance(network, Network) or not is_chain(network):
        raise ValueError("stop= is for networks with constant rates; in others an event can set what ends the path, or look at the samples")
    return network_condition(network, text, "stop", "paths end at the last of the times anyway")


def watched(condition: Expr) -> Expr:
    """The same, that holds as well where it compares what is no finite number, so that a path ends there and `check_ends` sees it."""
    wrong = undefined(condition)
    return condition if wrong is None else Apply("or", (condition, wrong))


def check_ends(condition: Expr, text: str, species: tuple[str, ...], last: np.ndarray, stopped: np.ndarray) -> None:
    """`ModelError` if one of the paths, with these counts (M, S) at the last time, ended where the condition is undefined."""
    check_defined(condition, f"stop={text!r}", species, last[np.isfinite(stopped), : len(species)])
