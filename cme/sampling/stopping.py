"""Conditions on counts that end a path."""

from cme.abilities import is_chain
from cme.conditions import network_condition
from cme.network import Network
from cme.ratelaw import Expr


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
