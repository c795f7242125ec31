"""Conditions on counts, and on what else moves, that end a path."""

import numpy as np

from cme import ratelaw
from cme.abilities import is_chain
from cme.conditions import check_defined, network_condition, undefined
from cme.network import Network
from cme.ratelaw import Apply, Expr


def stop_condition(network, text: str) -> Expr:
    """The formula of a condition on species, parameters and rules of a network, with only species left in it, and what moves in time.

    Raises
    ------
    ValueError
        If it is no condition, uses what the network does not have, or the time where rates are constant; or the model is no network.
    """
    if not isinstance(network, Network):
        raise ValueError("stop= is for networks; take first_passage for the times at which a generator comes to a state, or the samples")
    return network_condition(network, text, "stop", "paths end at the last of the times anyway" if is_chain(network) else None)


def watched(condition: Expr) -> Expr:
    """The same, that holds as well where it compares what is no finite number, so that a path ends there and `check_ends` sees it."""
    wrong = undefined(condition)
    return condition if wrong is None else Apply("or", (condition, wrong))


def check_ends(condition: Expr, text: str, columns: tuple[str, ...], last: np.ndarray, stopped: np.ndarray) -> None:
    """`ModelError` if one of the paths, with these values (M, C) at the last time, ended where the condition is undefined."""
    ended = np.isfinite(stopped)
    last = last[ended]
    if ratelaw.TIME in ratelaw.names(condition) and ratelaw.TIME not in columns:
        columns, last = (*columns, ratelaw.TIME), np.column_stack([last, stopped[ended]])
    check_defined(condition, f"stop={text!r}", columns, last)
