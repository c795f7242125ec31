r"""An upper bound on a mean first-passage time, from states that are kept and a function that falls outside them.

Where g(x) falls on average at a rate c or more outside a core of the kept states J and outside the targets, the process comes back from
any y to one of them within a mean time of g(y) / c. With the mean time t to a target or out of J, the mean o of g at the exit, and the
chance h to meet a target first, the mean time from any z in the core is at most t + o / c + (1 - h) W, where W is the largest of them;
so that W is at most the largest (t + o / c) / h, and the mean from the start at most t + o / c + (1 - h) W.
"""

from collections.abc import Callable

import numpy as np

from cme.enclosure import enclose
from cme.errors import describe_state
from cme.projection.drift import MOST_CORNERS, Drift, NoDriftError, find_drifts
from cme.projection.hitting import Hitting
from cme.ratelaw import Expr
from cme.states import StateSpace

Label = Callable[[np.ndarray], np.ndarray]
ROOM = 1e-9  # for the rounding of a sum of what adds and takes, as a part of it
ROUNDING = 1e-11  # of means, as a part of them
MOST_POINTS = 200_000  # states outside that are looked at one by one, or twenty for each that is kept
PARTS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)  # of the fall that is proved: a smaller one has a smaller core


class MoreStatesError(NoDriftError):
    """It would fall if the states were kept that are the second argument."""


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
        If nothing leads back for sure from outside, with the reason.
    """
    if not hitting.occupied.any():
        return 0.0, "all paths begin in a target"
    if hitting.goes_astray:
        raise NoDriftError("from some of the kept states no way leads to a target")
    member = labels >= 0
    member[hitting.alive] = True
    occupied = hitting.occupied
    best: tuple[Drift, np.ndarray] | None = None
    reason = NoDriftError("no function that falls was found")
    limits = _limits(space, hitting.alive, condition)
    for each in find_drifts(space, hitting.alive, occupied / occupied.sum(), limits):
        size = sum(float(np.prod(np.maximum(high - low + 1, 0))) for low, high in each.boxes)
        if size > max(MOST_POINTS, 20 * len(space)):
            reason = NoDriftError(f"{each} is only proved to fall beyond a box of {size:.0e} states")
            continue
        try:
            drift, slow = each.over(space, member)
        except NoDriftError as why:
            reason = why
            continue
        slow = slow[label(slow) < 0]
        if best is None or len(slow) < len(best[1]):
            best = drift, slow
    if best is None:
        raise reason
    drift, slow = best
    if len(slow):
        where = describe_state(space.compiled.network.species_names, slow[0])
        raise MoreStatesError(f"{len(slow)} states that are not kept, such as {where}, are not led back by {drift}", slow)
    change = drift.mean_change(space.states[hitting.alive])
    change += ROOM * np.abs(change)
    way = _way_back(space, hitting.alive, member, drift)
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


def _way_back(space: StateSpace, alive: np.ndarray, member: np.ndarray, drift: Drift) -> np.ndarray:
    """The value of the drift's function after leaving from each state, times the rate of leaving, (K,)."""
    states, out = space.states[alive], np.zeros(len(alive))
    propensities = space.compiled.propensities(states)
    for r, change in enumerate(space.compiled.network.stoichiometry):
        fires = np.flatnonzero(propensities[:, r] > 0)
        to = states[fires] + change
        place = space.index(to)
        leaves = ~((place >= 0) & member[place])
        out[fires[leaves]] += propensities[fires[leaves], r] * drift.value(to[leaves])
    return out
