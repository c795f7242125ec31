"""Which states a law needs next: those that its outflow reaches, and none that it has left."""

import numpy as np

from cme.states import StateSpace

MANY_LAYERS = 200


def beyond(
    space: StateSpace,
    sources: np.ndarray,
    outflow: np.ndarray,
    exit_rates: np.ndarray,
    *,
    least: float,
    ahead: float,
    wanted: int,
    room: int,
) -> StateSpace:
    """The space with the states outside that the flow from its edge passes through.

    The probability `outflow` (K,) that leaves through the states `sources`, whose total rates are `exit_rates` (K,), is followed jump by
    jump, as the propensities divide it, until it comes back or a time of about `ahead` is over. States that get more than `least` of it are
    followed further; those that get most of it, until `wanted` states are added. About `room` states are added at most.
    """
    inside, frontier, flow = len(space), sources, outflow
    jumps_ahead = float(flow @ exit_rates / flow.sum()) * ahead
    layers, passed = min(np.ceil(jumps_ahead + 4 * np.sqrt(jumps_ahead) + 2), MANY_LAYERS), 0
    while len(frontier) and passed < layers and len(space) < inside + room:
        space = space.grow(frontier, layers=1)
        reached = space.spread(frontier, flow, inside, 1 / ahead if passed else -1.0)
        more = len(space) < inside + wanted
        frontier = np.flatnonzero(reached > (min(least, 1e-3 * reached.max(initial=0.0)) if more else least))
        flow, frontier = reached[frontier], frontier + inside
        passed += 1
    return space


def worth_keeping(weight: np.ndarray, budget: float) -> np.ndarray:
    """False for the states of least weight, of which there is no more than `budget` in all. They are told apart by powers of two."""
    size = np.frexp(weight)[1]
    there = weight > 0
    low = int(size[there].min(initial=0))
    size[~there] = low
    mass = np.cumsum(np.bincount(size - low, weights=weight))
    return there & (size >= low + int(np.searchsorted(mass, budget, side="right")))
