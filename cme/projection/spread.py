"""Laws of many counts: a rough law on few states tells where probability flows, and the set grows along it.

In many dimensions most states of a set lie at its rim, and much flows out wherever the set ends; a proof may take many times more
states than the law does. The set is closed here by dropping the jumps that leave it, and what it misses is estimated from how much the law
changed when the set last grew, and how much less flows out of it since: both fall alike.
"""

from dataclasses import replace

import numpy as np

from cme.errors import ConvergenceError, ModelError
from cme.generator import Generator
from cme.network import Network
from cme.projection.certificate import certify
from cme.projection.closed_class import ClosedClass, check_dead_ends
from cme.projection.closed_law import ClosedLaw
from cme.projection.drift import NoDriftError, find_drifts
from cme.projection.first_set import product_states
from cme.projection.polynomials import by_counts
from cme.projection.sweeps import ENOUGH
from cme.projection.way_back import MoreStatesError
from cme.states import StateSpace

FIRST = 200_000  # states of the first set
DEEPER = 0.01  # the least flow that is followed falls by this, until it is known what comes of it
LEAST_POWER = 0.85  # with which the outflow falls as it does
DEEPEST, SHALLOWEST = 1e-3, 0.1  # and then by no more and no less than this
DROPPED = 0.1  # of it: states through which less flows are dropped
MOST_GROWTH = 6.0  # times as many states at once
EASY_PROOF = 1_500_000  # states up to which a set goes on growing, once the law is known, until it is certified
SURE = 2.0  # what is still missing is estimated as so many times as much as the last changes say
ACCURACY, LOOSE = 3e-3, 0.03  # of the linear solver: as a part of the tolerance, or of so much of what is missing
MOST_EXPANSIONS = 12
MOST_JUMPS = 100_000  # from the start to the first set


class FarOutError(NoDriftError):
    """A proof would take more states."""


def spread_law(network: Network, start: StateSpace, tol: float, max_states: int, bar) -> tuple[StateSpace, ClosedLaw] | None:
    """The law on states that are found by following the flow; None if it is not known where to begin, or that leads nowhere.

    Raises
    ------
    ConvergenceError
        If more than `max_states` states would be needed.
    """
    if (first := product_states(network, start, tol, min(FIRST, max_states))) is None:
        return None
    space, guess = first
    del first  # sets of states are large
    least, deeper, missing, outflow, added = 0.0, DEEPER, np.inf, 0.0, np.zeros((0, len(network.species)), dtype=np.int64)
    answer: tuple[StateSpace, ClosedLaw] | None = None
    for expansions in range(MOST_EXPANSIONS):
        home = int(np.argmax(guess))
        try:
            law = _closed(network, space, home, guess, max(tol, LOOSE * min(missing, 1.0)))
        except (ModelError, ConvergenceError):
            return answer
        if not np.any(law.leak > 0) or (expansions == 0 and not _leads_back(space, law, start)):
            return answer
        whole = np.zeros(len(space))
        whole[law.members] = law.pi
        if expansions:
            change = float(np.abs(whole - guess).sum()) + max(1.0 - float(guess.sum()), 0.0)
            ratio = law.outflow / outflow
            # What is missing falls as the outflow does, and that as a power of the least flow.
            power = max(np.log(ratio) / np.log(deeper), LEAST_POWER) if ratio < 0.9 else 0.0
            missing = SURE * max(change * min(ratio / (1 - ratio) if ratio < 1 else 1.0, 1.0), law.escaping)
            if power:
                deeper = float(np.clip((0.8 * tol / missing) ** (1 / power), DEEPEST, SHALLOWEST))
        bar.to(len(space), f"missing {missing:.1e}")
        room = max_states
        if missing <= tol:
            room = min(max_states, EASY_PROOF)
            if law.inaccuracy > tol / 10:
                law = _closed(network, space, home, whole, tol)
                whole[law.members] = law.pi
            law = replace(law, lost=missing, expansions=expansions)
            try:
                return space, _proved(network, space, law, whole, tol)
            except ConvergenceError as reason:
                return space, replace(law, certificate=f"estimate: not certified: {reason}")
            except NoDriftError as reason:
                answer = space, replace(law, certificate=f"estimate: not certified: {reason.args[0]}")
                if isinstance(reason, MoreStatesError):
                    added = reason.args[1]
                elif not isinstance(reason, FarOutError) or 2 * len(space) > room:
                    return answer
        if not least:
            flow = law.leak * law.pi
            flow = flow[flow > 0]
            least = float(np.exp(flow @ np.log(flow) / flow.sum()))
        least *= deeper
        law = replace(law, cycle=None)  # it holds the matrix, and there are two sets of states soon
        larger = _followed(space, law, least, room, prune=answer is None)
        larger = _with(larger, added) if larger is not None and len(larger) + len(added) <= room else None
        if larger is None:
            break
        place = larger.index(space.states)
        outflow, guess = law.outflow, np.zeros(len(larger))
        guess[place[place >= 0]] = whole[place >= 0]
        space = larger
    if answer is None:
        raise ConvergenceError(
            f"stationary needs more than max_states={max_states} states (about {missing:.1e} of the law is still missing on {len(space)}, "
            f"tol={tol:g}); raise max_states or loosen tol"
        )
    return answer


def _closed(network: Network, space: StateSpace, home: int, guess: np.ndarray, tol: float) -> ClosedLaw:
    generator = Generator.from_network(network, space)
    space.forget()
    found = ClosedClass.of(generator)
    del generator  # it may be half of the memory
    return ClosedLaw.on(found, home, guess, solver="sweeps", reflecting=True, enough=max(ACCURACY * tol, ENOUGH))


def _leads_back(space: StateSpace, law: ClosedLaw, start: StateSpace) -> bool:
    """Does a way lead from where the process starts to the states of the law, and do all ways from there lead back?"""
    member, compiled, rng = np.zeros(len(space) + 1, dtype=bool), start.compiled, np.random.default_rng(1)
    member[law.members] = True  # and what is not kept, at place -1, is none
    for state in start.states:
        for _ in range(MOST_JUMPS):  # of some path
            if member[space.index(state)[0]]:
                break
            sums = np.cumsum(compiled.propensities(state[None])[0])
            if not sums[-1] > 0:
                return False
            state = state + compiled.network.stoichiometry[np.searchsorted(sums, rng.random() * sums[-1], side="right")]
        else:
            return False
    try:
        check_dead_ends(start.compiled.network, space, space.states[law.home], law.dead_ends)
    except ModelError:
        return False
    return True


def _proved(network: Network, space: StateSpace, law: ClosedLaw, whole: np.ndarray, tol: float) -> ClosedLaw:
    """The law with a bound of what it misses that is not above the tolerance."""
    drifts = find_drifts(space, law.members, law.pi)
    around = _around(law)
    if law.outflow * around > tol / 2:
        raise FarOutError(
            f"a proof would take many more states: {law.outflow:.1e} of the probability flows out of {len(space)} in each unit of time, "
            f"and the way back to the likeliest state takes {around:.2g}"
        )
    found = certify(space, ClosedLaw.on(Generator.from_network(network, space), law.home, whole), drifts)
    if found.lost > tol:
        raise FarOutError(f"on {len(space)} states only {found.lost:.1e} is proved, and more would be many")
    return replace(found, expansions=law.expansions)


def _around(law: ClosedLaw) -> float:
    """The mean time between visits to the reference state of the closed process."""
    assert law.cycle is not None
    return float(law.cycle.z.sum()) / law.exit_rates[law.cycle.reference]


def _followed(space: StateSpace, law: ClosedLaw, least: float, room: int, *, prune: bool) -> StateSpace | None:
    """A set without the states through which much less than `least` flows, with those outside into which more does; None if too many."""
    through, flow = law.inflow.copy(), law.inflow.copy()
    through[law.members], flow[law.members] = law.exit_rates * law.pi, law.leak * law.pi
    kept = through > DROPPED * least if prune else np.ones(len(space), dtype=bool)
    sources = np.flatnonzero(flow > 0)
    n_kept = int(kept.sum())
    for _ in range(3):
        larger = _reached(space, sources, flow[sources], least, int(min(MOST_GROWTH * len(space), room - n_kept + 1)))
        if n_kept + len(larger) - len(space) <= room:
            larger.forget()
            places = np.flatnonzero(np.append(kept, np.ones(len(larger) - len(space), dtype=bool)))
            return larger.keep(places[by_counts(larger.states[places])])  # in the order in which sweeps take them
        least *= 10
    return None


def _reached(space: StateSpace, sources: np.ndarray, flow: np.ndarray, least: float, room: int) -> StateSpace:
    """The space with the neighbours of all states that get more than `least` of the flow out of it.

    The flow is followed from each state once, when it has got so much. About `room` states are added at most.
    """
    inside, followed = len(space), np.zeros(0, dtype=bool)
    got, frontier = np.zeros(0), sources
    while len(frontier) and len(space) < inside + room:
        space = space.grow(frontier, layers=1)
        new = len(space) - inside - len(got)
        got, followed = np.append(got, np.zeros(new)), np.append(followed, np.zeros(new, dtype=bool))
        got += space.spread(frontier, flow, inside, -1.0 if frontier is sources else 0.0)
        frontier = np.flatnonzero((got > least) & ~followed)
        followed[frontier], flow = True, got[frontier]
        frontier += inside
    return space


def _with(space: StateSpace, states: np.ndarray) -> StateSpace:
    new = states[space.index(states) < 0] if len(states) else states
    return StateSpace.holding(space.compiled.network, np.concatenate([space.states, new])) if len(new) else space
