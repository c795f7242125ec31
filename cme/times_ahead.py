"""The times at which the steps of a whole network must end, from what is known of its course before anything has happened."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from cme import ratelaw
from cme.abilities import clocks
from cme.clockwork import Clockwork, with_amounts_apart
from cme.errors import ConvergenceError, ModelError
from cme.network import Network
from cme.pieces import Piece
from cme.ratelaw import ZERO, Apply, Expr
from cme.resolved_times import SIDE_BY_SIDE, resolve, whole


def times_ahead(network: Network, formulas: Iterable[Expr], horizon: float) -> np.ndarray:
    """Times (K,) in (0, horizon) between which no pulse of some resolved formulas falls: see `cme.resolved_times`.

    Of the variables, those whose course never depends on counts or chance are known in advance, with the events that set them.
    """
    formulas = tuple(formulas)
    used = set[str]().union(*map(ratelaw.names, formulas))
    declared = {*network.species_names, *network.variables}
    if horizon <= 0 or used.isdisjoint({ratelaw.TIME} - declared | clocks(network)):
        return np.empty(0)
    if any(_bends(formula, clocks(network)) for formula in formulas) and all(event.delay == ZERO for event in network.events):
        alone = _clocks_alone(network)
        try:
            pieces = Clockwork(alone, horizon).pieces
        except (ModelError, ConvergenceError):  # the order of its events is left to chance, or a rule ends: the time alone is known
            pieces = []
        if pieces:
            edges = [piece.end for piece in pieces if piece.end < horizon]
            return np.unique(np.concatenate([edges, *(resolve(formulas, piece) for piece in pieces)]))
    return resolve(formulas, whole(horizon)) if ratelaw.TIME not in declared else np.empty(0)


def _bends(formula: Expr, names: frozenset[str]) -> bool:
    """Is one of the names inside a function that may make a pulse of it?"""
    if not isinstance(formula, Apply) or names.isdisjoint(ratelaw.names(formula)):
        return False
    return formula.op not in SIDE_BY_SIDE | {"*"} or any(_bends(arg, names) for arg in formula.args)


def times_in_piece(network: Network, piece: Piece) -> np.ndarray:
    """The same for the propensities and deterministic rates of a network in a piece of time, where nothing that is known jumps."""
    laws = {law: None for reaction in network.reactions for law in (reaction.propensity, reaction.rate)}
    return resolve([piece.freeze(network.resolve(law)) for law in laws], piece)


def _clocks_alone(network: Network) -> Network:
    """The network without reactions, and without what depends on counts or chance."""
    known = clocks(network)
    events = [
        replace(event, assignments=tuple(each for each in event.assignments if each.name in known))
        for event in network.events
        if not known.isdisjoint(each.name for each in event.assignments)
    ]
    alone = replace(
        network,
        reactions=(),
        rate_rules=tuple(rule for rule in network.rate_rules if rule.name in known),
        events=tuple(events),
        initial=replace(network.initial, draws=()),
    )
    return with_amounts_apart(alone)
