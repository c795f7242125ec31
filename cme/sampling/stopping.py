"""Conditions on counts that end a path."""

from cme import ratelaw
from cme.abilities import is_chain
from cme.errors import ModelError
from cme.infix import parse
from cme.network import Network
from cme.ratelaw import Apply, Expr
from cme.wellformed import did_you_mean

_CONDITIONS = {"<", "<=", ">", ">=", "==", "!=", "and", "or", "xor", "not"}


def stop_condition(network, text: str) -> Expr:
    """The formula of a condition on species, parameters and rules of a network, with only species left in it.

    Raises
    ------
    ValueError
        If it is no condition, uses what the network does not have or the time, or the model is none with constant rates.
    """
    if not isinstance(network, Network) or not is_chain(network):
        raise ValueError("stop= is for networks with constant rates; in others an event can set what ends the path, or look at the samples")
    try:
        formula = parse(text)
    except ModelError as error:
        raise ValueError(f"stop={text!r} can't be read: {error}") from None
    known = {*network.species_names, *network.parameters, *network.compartments, *(rule.name for rule in network.rules)}
    for name in sorted(ratelaw.names(formula) - known):
        if name == ratelaw.TIME:
            raise ValueError(f"stop={text!r} uses the time; paths end at the last of the times anyway")
        raise ValueError(f"stop={text!r} uses {name!r}, which the network does not have{did_you_mean(name, sorted(known))}")
    if not (isinstance(formula, Apply) and formula.op in _CONDITIONS):
        raise ValueError(f"stop={text!r} is no condition; write one that is true or false, such as 'X >= 100'")
    return network.resolve(formula)
