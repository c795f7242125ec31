r"""An upper bound on a mean first-passage time, from states that are kept and a function that falls outside them.

Where g(x) falls on average at a rate c or more outside a core of the kept states J and outside the targets, the process comes back from
any y to one of them within a mean time of g(y) / c. With the mean time t to a target or out of J, the mean o of g at the exit, and the
chance h to meet a target first, the mean time from any z in the core is at most t + o / c + (1 - h) W, where W is the largest of them;
so that W is at most the largest (t + o / c) / h, and the mean from the start at most t + o / c + (1 - h) W.
"""

from collections.abc import Callable

import numpy as np

from cme.enclosure import enclose
from cme.projection.drift import MOST_CORNERS, NoDriftError, find_drifts
from cme.projection.hitting import Hitting
from cme.projection.way_back import distance_after_leaving, leading_back
from cme.ratelaw import Expr
from cme.states import StateSpace

Label = Callable[[np.ndarray], np.ndarray]
ROOM = 1e-9  # for the rounding of a sum of what adds and takes, as a part of it
ROUNDING = 1e-11  # of means, as a part of them
MOST_POINTS = 200_000  # states outside that are looked at one by one, or twenty for each that is kept
PARTS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)  # of the fall that is proved: a smaller one has a smaller core


def upper_mean(space: StateSpace, labels: np.ndarray, hitting: Hitting, label: Label, condition: Expr) -> tuple[float, str]:
    """A bound on the mean time of all paths, and what it rests on.

    Parameters
    ----------
    space
        The kept states, of the process that does not stop in the targets.
    labels : (N,)
        The target of each, -1 for none.
    hitting
        What happens on them if what leaves them is not followed.
    label
        Gives the labels of other states.
    condition
        Holds in all targets.

    Raises
    ------
    NoDriftError
        If nothing leads back for sure from outside, with the reason; `MoreStatesError` if it would with more states.
    """
    if not hitting.occupied.any():
        return 0.0, "all paths begin in a target"
    if hitting.goes_astray:
        raise NoDriftError("from some of the kept states no way leads to a target")
    member = labels >= 0
    member[hitting.alive] = True
    occupied = hitting.occupied
    drifts = find_drifts(space, hitting.alive, occupied / occupied.sum(), _limits(space, hitting.alive, condition))
    most = max(MOST_POINTS, 20 * len(space))
    drift = leading_back(drifts, space, member, most_points=most, goes_on=lambda states: label(states) < 0)
    change = drift.mean_change(space.states[hitting.alive])
    change += ROOM * np.abs(change)
    way = distance_after_leaving(drift, space, member, hitting.alive)
    times, returns, chances = hitting.collected(np.ones(len(way))), hitting.collected(way), hitting.collected(hitting.ways.sum(axis=0))
    found = np.inf
    for part in PARTS:
        fall = part * drift.fall
        core = change > -fall
        with np.errstate(divide="ignore", over="ignore"):
            longest = float(((times + returns / fall)[core] / chances[core]).max(initial=0.0))
            found = min(found, hitting.survived + float(occupied @ way) / fall + hitting.escaped * longest)
    if found == np.inf:
        raise NoDriftError("from some of the kept states no target is met without leaving them")
    return found * (1 + ROUNDING), f"outside the states {drift} falls at a rate of {drift.fall:.3g} or more"


def _limits(space: StateSpace, alive: np.ndarray, condition: Expr) -> dict[int, int]:
    """The largest counts of species that lie in a target whenever there are more of them; only of those that take few values."""
    largest, names = space.states[alive].max(axis=0), space.compiled.network.species_names
    found: dict[int, int] = {}
    for s in np.argsort(largest).tolist():
        top = int(largest[s])
        if (top + 1) * np.prod([each + 1.0 for each in found.values()]) > MOST_CORNERS:
            break
        box = dict.fromkeys(names, (np.float64(0.0), np.float64(np.inf))) | {names[s]: (np.float64(top + 1.0), np.float64(np.inf))}
        if float(enclose(condition, box)[0]) >= 1:
            found[s] = top
    return found
