"""How many states can be reached at least, told from the reactions before any state is listed."""

from itertools import permutations
from typing import NamedTuple

import numpy as np

from cme.elements import MassAction
from cme.network import Network
from cme.ratelaw import Number

GRID = 256  # parts of a line of states, of which only the ends are looked at
MOST_PAIRS = 3000  # of reactions
SMALLEST = 1e-290  # of a rate constant that gives no propensity of 0 by rounding


class _Step(NamedTuple):
    """A reaction that happens wherever there is what it takes: what that is, and how it changes counts, (S,)."""

    takes: np.ndarray
    change: np.ndarray


def least_states(network: Network, start: np.ndarray, upper: np.ndarray) -> float:
    """Bound the number of states that can be reached from one (S,), with no count above `upper` (S,), from below.

    A reaction of mass action goes on as long as there is what it takes. Where it happened i times, and after it another one j times, all
    states are different if the two change the counts in different directions. How often the second can happen is, in i, the least of
    some linear functions that are rounded down, or 0 outside an interval: between two values of i it is never less than at both.
    """
    steps = _steps(network)
    most = float(max((1 + _times(step, start[None], upper)[0] for step in steps), default=1.0))
    for one, other in permutations(steps, 2) if len(steps) * (len(steps) - 1) <= MOST_PAIRS else ():
        if np.any(np.outer(one.change, other.change) != np.outer(other.change, one.change)):
            times = min(_times(one, start[None], upper)[0], 2.0**50)
            i = np.unique(np.linspace(0, times, GRID + 1).astype(np.int64))
            j = _times(other, start + i[:, None] * one.change, upper)
            most = max(most, 1 + j[-1] + float(np.diff(i) @ (1 + np.minimum(j[1:], j[:-1]))))
    return most


def _steps(network: Network) -> list[_Step]:
    found = []
    for r, reaction in enumerate(network.reactions):
        law, change = reaction.law, network.stoichiometry[r]
        constant = network.resolve(law.constant) if isinstance(law, MassAction) else None
        counted = all(name in network.species_names and isinstance(n, int) for name, n in reaction.reactants)
        if isinstance(constant, Number) and constant.value > SMALLEST and counted and change.any():
            takes = np.zeros_like(change)
            for name, n in reaction.reactants:
                takes[network.species_names.index(name)] += n
            found.append(_Step(takes, change))
    return found


def _times(step: _Step, states: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """How often a reaction can happen in a row from each state (K, S), (K,)."""
    spare, room = (states - step.takes).astype(np.float64), (upper - states).astype(np.float64)
    falls, grows = step.change < 0, step.change > 0
    times = np.full(len(states), np.inf)
    for s in np.flatnonzero(falls):
        times = np.minimum(times, spare[:, s] // -float(step.change[s]) + 1)
    for s in np.flatnonzero(grows):
        times = np.minimum(times, room[:, s] // float(step.change[s]))
    return np.where(np.all(spare >= 0, axis=1), np.maximum(times, 0.0), 0.0)
