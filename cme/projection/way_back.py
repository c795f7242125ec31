"""The way back to a set of states from all others: which function proves it, and how far it is after a jump out of the set."""

from collections.abc import Callable, Iterable

import numpy as np

from cme.errors import describe_state
from cme.projection.drift import Drift, NoDriftError
from cme.states import StateSpace


class MoreStatesError(NoDriftError):
    """There would be a way back if further states were kept."""

    def __init__(self, reason: str, states: np.ndarray):
        super().__init__(reason)
        self.states = states  # (K, S)


def leading_back(
    drifts: Iterable[Drift],
    space: StateSpace,
    member: np.ndarray,
    *,
    most_points: float = np.inf,
    goes_on: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Drift:
    """The first of some functions that falls in every state outside a set.

    Parameters
    ----------
    drifts
        The functions, the better ones first.
    space
        Holds the set.
    member : (N,)
        Which of its states are in the set.
    most_points
        A function that is only proved to fall beyond more states than this, which would be looked at one by one, is left out.
    goes_on
        Says in which of some states (K, S) the process goes on, (K,); in the others nothing need fall. By default it does in all.

    Raises
    ------
    MoreStatesError
        If none does; the states are those in which the function with the fewest of them does not fall.
    NoDriftError
        If all functions were left out, with the last reason.
    """
    best: tuple[Drift, np.ndarray] | None = None
    reason = NoDriftError("no function that falls was found")
    for each in drifts:
        size = sum(float(np.prod(np.maximum(high - low + 1, 0))) for low, high in each.boxes)
        if size > most_points:
            reason = NoDriftError(f"{each} is only proved to fall beyond a box of {size:.0e} states")
            continue
        try:
            drift, slow = each.over(space, member)
        except NoDriftError as why:
            reason = why
            continue
        slow = slow if goes_on is None else slow[goes_on(slow)]
        if not len(slow):
            return drift
        if best is None or len(slow) < len(best[1]):
            best = drift, slow
    if best is None:
        raise reason
    drift, slow = best
    where = describe_state(space.compiled.network.species_names, slow[0])
    what = f"{where} is not kept, and is" if len(slow) == 1 else f"{len(slow)} states that are not kept, such as {where}, are"
    raise MoreStatesError(f"{what} not led back by {drift}", slow)


def distance_after_leaving(drift: Drift, space: StateSpace, member: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The function's value after a jump from the states at some places out of the set, times the rate of such jumps, (K,).

    Divided by the rate of its fall, it is at least the mean time to come back after such a jump, times the rate.
    """
    states, out = space.states[places], np.zeros(len(places))
    propensities = space.compiled.propensities(states)
    for r, change in enumerate(space.compiled.network.stoichiometry):
        fires = np.flatnonzero(propensities[:, r] > 0)
        to = states[fires] + change
        place = space.index(to)
        leaves = ~((place >= 0) & member[place])
        out[fires[leaves]] += propensities[fires[leaves], r] * drift.value(to[leaves])
    return out
