"""Conditions on counts, written in the language of formulas: what ends a path, and what a first passage is to."""

from collections.abc import Iterable

from cme import ratelaw
from cme.errors import ModelError
from cme.infix import parse
from cme.network import Network
from cme.ratelaw import Apply, Expr
from cme.wellformed import did_you_mean

_CONDITIONS = {"<", "<=", ">", ">=", "==", "!=", "and", "or", "xor", "not"}


def read_condition(text: str, known: Iterable[str], what: str, owner: str, no_time: str) -> Expr:
    """The formula of a condition on names that are known.

    Parameters
    ----------
    text
        Such as 'X >= 100'.
    known
        The names it may use.
    what
        The argument it was given as, for messages.
    owner
        What the names belong to.
    no_time
        Why it can't use the time.

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If it can't be read, uses another name or the time, or is a number and no condition.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a condition such as 'X >= 100', not {text!r}")
    try:
        formula = parse(text)
    except (ModelError, TypeError, AttributeError) as error:
        raise ValueError(f"{what}={text!r} can't be read: {error}") from None
    known = set(known)
    for name in sorted(ratelaw.names(formula) - known):
        if name == ratelaw.TIME:
            raise ValueError(f"{what}={text!r} uses the time; {no_time}")
        raise ValueError(f"{what}={text!r} uses {name!r}, which the {owner} does not have{did_you_mean(name, sorted(known))}")
    if not (isinstance(formula, Apply) and formula.op in _CONDITIONS):
        raise ValueError(f"{what}={text!r} is no condition; write one that is true or false, such as 'X >= 100'")
    return formula


def network_condition(network: Network, text: str, what: str, no_time: str) -> Expr:
    """The formula of a condition on species, parameters and rules of a network, with only species left in it."""
    known = {*network.species_names, *network.parameters, *network.compartments, *(rule.name for rule in network.rules)}
    return network.resolve(read_condition(text, known, what, "network", no_time))
