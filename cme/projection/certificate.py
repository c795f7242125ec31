"""What a stationary law on a finite set misses of the law on all states: a bound in the 1-norm, and a lower bound of each probability.

`certify` is for a class of states that jumps leave, `certify_end` for one that is never left, but perhaps not entered by all paths.
"""

from dataclasses import replace

import numpy as np

from cme.compiled import Compiled
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.projection.bursts import with_walkers
from cme.projection.closed_law import ClosedLaw
from cme.projection.cycle import bounds
from cme.projection.drift import Drift, NoDriftError, find_drifts
from cme.projection.hitting import Hitting
from cme.projection.way_back import distance_after_leaving, leading_back
from cme.states import StateSpace

LARGEST_INACCURACY = 1e-2
MOST_BESIDE, FEW_POINTS = 1000, 1_000_000  # states for each kept one in which a function may not fall; and how many at least
EXACT = "exact: no jump leaves the states"
FEW_PASSED, MANY_PASSED = 2000, 30_000  # states on the way to a class that tell little, and from which on no more are added
MOST_PRODUCTS = 5e9  # of elimination there, some seconds, from which on no more are added either
IDLE, PATIENCE = 0.7, 2  # of what never arrived: if more than this part is left, and so often, more states do not help


def certify(space: StateSpace, law: ClosedLaw, drifts: list[Drift] | None = None) -> ClosedLaw:
    """Bound what a law misses by what flows out of its states times the time that it takes to come back.

    Raises
    ------
    NoDriftError
        If nothing leads back for sure from outside the set, with the reason; `MoreStatesError` if it would with more states.
    """
    member = np.zeros(len(space), dtype=bool)
    member[law.members] = True
    if drifts is None:  # the set stays as it is: what would take so many more states is not looked at one by one
        most = max(MOST_BESIDE * len(space), FEW_POINTS)
        drift = leading_back(find_drifts(space, law.members, law.pi), space, member, most_points=most)
    else:
        drift = leading_back(drifts, space, member)
    assert law.cycle is not None
    change = drift.mean_change(space.states[law.members])
    change += 1e-9 * np.abs(change)
    rim, way = law.leak > 0, np.zeros(len(law.members))
    way[rim] = distance_after_leaving(drift, space, member, law.members[rim])
    drift, core = _core(law, drift, change, way)
    outside = way * ((1 + 1e-9) / drift.fall)
    found = bounds(law.cycle, law.leak, outside, core)
    kept = float(law.cycle.z.sum())
    hopeless = found.slowest_return == np.inf and law.outflow < 1e-200  # no more states would help
    if hopeless or not found.inaccuracy <= LARGEST_INACCURACY * kept:
        raise NoDriftError(f"round-off may matter in the {found.slowest_return:.1e} that it may take to come back from the rim of the set")
    floor = np.zeros(len(law.pi))
    if found.missing < np.inf:
        floor = law.cycle.z / (kept + found.missing)  # up to the inaccuracy
    lost = float(1 - floor.sum() + np.abs(law.pi - floor).sum())
    certificate = f"certified: outside the states {drift} falls at a rate of {drift.fall:.3g} or more"
    return replace(law, lost=min(lost, 2.0), floor=floor, inaccuracy=2 * found.inaccuracy / kept, certificate=certificate)


def _core(law: ClosedLaw, drift: Drift, change: np.ndarray, way: np.ndarray) -> tuple[Drift, np.ndarray]:
    """The core, outside of which the drift falls fast enough, members (K,) marked, and the fall; those that should give the best bound.

    For a larger fall the way back is shorter, but leads to a larger core, from parts of which little may come back to the middle.
    """
    times, chances = law.returns
    assert law.cycle is not None
    left, there = float(law.cycle.z @ law.leak), float(law.cycle.z @ way)
    best = np.inf, drift.fall, np.ones(len(change), dtype=bool)
    for part in (1.0, 0.5, 0.25, 0.1, 0.03, 0.01):
        fall = part * drift.fall
        core = change > -fall
        core[law.cycle.reference] = True
        with np.errstate(over="ignore"):
            slowest = float(np.max(times[core] / np.maximum(chances[core], 1e-300)))  # to choose by; the bound is found by `bounds`
        missing = there / fall + left * slowest
        if missing < best[0]:
            best = missing, fall, core
    return replace(drift, fall=best[1]), best[2]


def certify_end(space: StateSpace, law: ClosedLaw, initial, tol: float, max_states: int) -> ClosedLaw:
    """Say whether all paths come to a class of states that none leaves, from the other states that were looked at."""
    if not np.any(Generator.from_network(space.compiled.network, space).leak > 0):
        return replace(law, lost=0.0, certificate=EXACT)
    return certify_arrival(space, replace(law, lost=0.0, certificate="exact"), space.states[law.members], initial, tol, max_states)


def certify_arrival(space: StateSpace, law: ClosedLaw, members: np.ndarray, initial, tol: float, max_states: int) -> ClosedLaw:
    """Add to what is known of a law whether all paths come to the members (K, S) of its class, from the other states of a set.

    From each of those a way leads to the class. If a function of the counts falls outside of them, no path stays outside for ever, and
    none can miss the class in all of its visits. Else those that leave them may not come back.
    """
    try:
        everyone = np.arange(len(space))
        drift = leading_back(find_drifts(space, everyone, np.ones(len(space))), space, np.ones(len(space), dtype=bool))
    except NoDriftError as reason:
        gone = _gone(space, members, initial, max(tol - law.lost, 0.1 * tol) / 2, max_states)
        may = "how many may never come to them is not known" if np.isnan(gone) else f"a part of up to {gone:.1e} may never come to them"
        certificate = f"estimate: the law of the paths that end in these states, and {may}, since {reason}"
        return replace(law, lost=min(law.lost + 2 * gone, 2.0), floor=None, certificate=certificate)
    ground = f"all paths come to these states, since {drift} falls at a rate of {drift.fall:.3g} or more outside those looked at"
    return replace(law, certificate=f"{law.certificate}{': ' if law.certificate == 'exact' else '; '}{ground}")


def _gone(space: StateSpace, members: np.ndarray, initial, enough: float, max_states: int) -> float:
    """The probability to leave the states before one of the members (K, S) is met, or to end elsewhere; nan if it is not known.

    States are added where paths leave, until it is small enough or no longer falls, as where counts may grow for ever.
    """
    network, least, idle = space.compiled.network, np.nan, 0
    states, weights = Compiled(network).start(initial)
    if np.any(space.index(states) < 0):  # dropped on the way, since the law is elsewhere
        return np.nan
    while True:
        generator = with_walkers(network, space) or Generator.from_network(network, space)
        target = np.full(len(generator), -1)
        target[space.index(members)] = 0
        start = np.bincount(space.index(states), weights=weights, minlength=len(generator))
        try:
            met = Hitting(generator, target, 1, start)
        except ConvergenceError:
            return least
        gone = met.escaped + met.never
        idle = idle + 1 if gone > IDLE * least and len(space) > FEW_PASSED else 0
        least = np.fmin(least, gone)
        products = 0.0 if met.chain is None else float(met.chain.n_links) * met.chain.most_links
        if gone <= enough or idle == PATIENCE or len(space) >= min(max_states, MANY_PASSED) or products > MOST_PRODUCTS:
            return float(least)
        leaving = met.leaving[: len(space)]
        order = np.argsort(leaving)
        space = space.grow(order[np.cumsum(leaving[order]) > 1e-3 * leaving.sum()][::-1], size=min(2 * len(space), max_states))
