"""Moving the set of states to where the law is: growing it where probability flows out, dropping what matters little."""

import numpy as np

from cme.projection.closed_law import ClosedLaw
from cme.projection.cycle import BandedCycle
from cme.states import StateSpace

GROWTH = 1.4
DROPPED = 0.02  # of the tolerance may be lost with states that are dropped before the set grows
SPARED = 0.1  # of the tolerance may flow out of the set when it has grown
DEPTHS = (2, 6, 14)  # how far behind the rim the fall of the law is measured, in jumps
STRETCH = 0.4  # of the extent of the set, a ray is no longer


def grow(space: StateSpace, law: ClosedLaw) -> StateSpace:
    """A larger set, beyond the states with nearly all of the outflow."""
    flux = law.inflow.copy()
    flux[law.members] = law.leak * law.pi
    if flux.sum() > 0:
        order = np.argsort(flux)
        sources = order[np.cumsum(flux[order]) > 1e-3 * flux.sum()]
    else:
        sources = law.members[law.leak > 0]
    sources = sources[::-1] if space.compiled.network.varying else sources
    size = int(GROWTH * len(space)) + 1
    larger = space.grow(sources, size=size)
    if len(larger) > len(space):
        return larger
    return space.grow(np.arange(len(space))[::-1], size=size)  # all flows to kept states that do not lead back: the law may be there


def reshape(space: StateSpace, law: ClosedLaw, tol: float) -> StateSpace:
    """A set from which little enough flows out, if the law goes on to fall beyond the rim as it does behind it.

    What may be dropped at the cost of a small part of `tol` is dropped.
    """
    if law.cycle is None or isinstance(law.cycle, BandedCycle) or space.compiled.network.varying:
        return grow(space, law)
    added = _rays(space, law, tol)
    if not len(added):
        return grow(space, law)
    weight = law.loss_if_dropped
    order = np.argsort(weight)
    kept = np.ones(len(space), dtype=bool)
    kept[law.members[order[np.cumsum(weight[order]) <= DROPPED * tol]]] = False
    return StateSpace.holding(space.compiled.network, np.concatenate([space.states[kept], added]))


def _rays(space: StateSpace, law: ClosedLaw, tol: float) -> np.ndarray:
    """States outside, on lines along reactions from the states of the rim, as far as the law is expected to matter, (K, S)."""
    compiled, network = space.compiled, space.compiled.network
    whole = np.zeros(len(space))
    whole[law.members] = law.pi
    rim = law.members[(law.leak > 0) & (law.pi > 0)]
    states = space.states[rim]
    propensities = compiled.propensities(states)
    allowed = SPARED * tol / (law.longest * max(len(rim), 1))
    found = []
    for r, change in enumerate(network.stoichiometry):
        flux = propensities[:, r] * whole[rim]
        leaves = (flux > allowed) & (space.index(states + change) < 0)
        if not change.any() or not np.any(leaves):
            continue
        start, excess = states[leaves], np.log(flux[leaves] / allowed)
        length = _lengths(space, whole, start, change, excess)
        ray = np.repeat(np.arange(len(start)), length)
        step = np.arange(len(ray)) - np.repeat(np.cumsum(length) - length, length) + 1
        points = start[ray] + step[:, None] * change
        fails = np.any(points < 0, axis=1)
        fails[~fails] = ~(compiled.propensities(points[~fails] - change)[:, r] > 0)
        first = np.full(len(start), np.iinfo(np.int64).max)
        np.minimum.at(first, ray[fails], step[fails])
        found.append(points[step < first[ray]])
    if not found:
        return np.zeros((0, space.states.shape[1]), dtype=np.int64)
    points = np.unique(np.concatenate(found), axis=0)
    return points[space.index(points) < 0]


def _lengths(space: StateSpace, whole: np.ndarray, start: np.ndarray, change: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """How many jumps beyond the rim the logarithm of the law falls by `excess`, from its slope and curvature behind the rim."""
    near, middle, far = (_log_law(space, whole, start - depth * change) for depth in DEPTHS)
    a, b, c = DEPTHS
    slope = (middle - near) / (b - a)
    inner = (far - middle) / (c - b)
    curvature = np.nan_to_num(np.maximum((slope - inner) / ((c - a) / 2), 0.0))
    steep = slope + curvature * (a + b) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        length = 2 * excess / (steep + np.sqrt(steep**2 + 2 * curvature * excess))
    length = np.where(np.isfinite(length) & (steep > 0), length, b)
    moving = change != 0
    extent = (np.ptp(space.states[:, moving], axis=0) / np.abs(change[moving])).min()
    return np.clip(np.ceil(length), 1, max(STRETCH * extent, 2)).astype(np.int64)


def _log_law(space: StateSpace, whole: np.ndarray, states: np.ndarray) -> np.ndarray:
    place = space.index(states)
    with np.errstate(divide="ignore"):
        return np.where(place >= 0, np.log(whole[place]), np.nan)
