"""The stationary law on a set of states that grows and is pruned until what it misses is small."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order

from cme.compiled import Compiled
from cme.errors import ConvergenceError, ModelError
from cme.generator import Generator
from cme.network import Network
from cme.projection.bursts import FAST, with_bursts, with_walkers
from cme.projection.certificate import certify, certify_arrival, certify_end
from cme.projection.closed_class import ClosedClass, check_dead_ends
from cme.projection.closed_law import ClosedLaw
from cme.projection.drift import Drift, NoDriftError, find_drifts
from cme.projection.first_set import likely_states
from cme.projection.reshape import GROWTH, grow, reshape
from cme.projection.spread import spread_law
from cme.projection.sweeps import IteratedCycle
from cme.projection.way_back import MoreStatesError
from cme.states import StateSpace

MOST_EXPANSIONS = 40  # of a set of states; most settle in fewer than 15
FIRST_SIZE = 4000  # enough to look past the barrier of most bistable networks
FIRST_OF_DRAWS = 600  # where a reaction draws numbers of molecules: jumps lead from every state to all larger ones
FASTER = 1.3  # times as fast as before: a law of which the outflow falls so need not be judged yet
TREND, FAR_TOO_MANY = 4, 10.0  # expansions from which it is told how fast a law settles; and times `max_states` that it must not take
HELD = 0.5  # of what escapes to kept states from which no way leads back: if the rim grows and more of it than this remains, it is no rim
MOST_ROUNDS = 4  # of adding states from which the drift does not lead back
MOST_ADDED = 200_000  # of these, where the law on them is found by elimination; else a few times those that are kept


def adapted_law(network: Network, initial, tol: float, max_states: int, solver: str, bar) -> tuple[StateSpace, ClosedLaw]:
    """A set of states and the law on it, which misses at most `tol`; see `cme.stationary`."""
    start = StateSpace.around(network, initial=initial, size=1)
    guess = likely_states(network, start, tol, max_states)
    if guess is not None and len(guess[0]) > FIRST_SIZE:
        found = _Search(network, *guess, initial, tol, max_states, solver, bar, tentative=True).run()
        if found is not None:
            return found
    found = spread_law(network, start, tol, max_states, bar) if solver in ("auto", "sweeps") else None
    if found is not None:
        return found
    first = start.grow(np.arange(len(start)), size=min(FIRST_OF_DRAWS if network.varying else FIRST_SIZE, max_states))
    if len(first) > (most := max(max_states, len(start))):  # by a part of the last layer
        first = first.keep(np.arange(most))
    found = _Search(network, first, None, initial, tol, max_states, solver, bar, tentative=False).run()
    assert found is not None
    return found


class _Search:
    """From a first set of states to one that misses little.

    Parameters
    ----------
    home
        The place of a state that is not improbable, if one is known.
    tentative
        The first set may hold states that can't be reached: only a law that is certified is an answer.
    """

    def __init__(
        self, network: Network, space: StateSpace, home: int | None, initial, tol: float, max_states: int, solver: str, bar, *,
        tentative: bool,
    ):  # fmt: skip
        self.network, self.initial, self.tol, self.max_states, self.solver, self.bar = network, initial, tol, max_states, solver, bar
        self.space, self.home, self.tentative = space, home, tentative
        self._first_states, self._foreign = space.states, tentative  # may the set hold states that can't be reached?
        self._drifts: list[Drift] | None = None
        self._generator: Generator | None = None
        self._before: tuple[StateSpace, ClosedLaw] | None = None
        self._reason = ""  # why the law can't be certified
        self._change = np.inf  # of the law when the set last grew
        self._changes, self._outflows = list[float](), list[float]()  # all of these, and what flows out of the sets
        self._escaping = list[float]()  # and the probability of states from which ways lead out of the class that was taken for closed
        self._late = False  # is the largest class left for good, for one with few states?
        self._expansions = self._rounds = 0
        self._starts_elsewhere = False  # in states that are left for good

    def run(self) -> tuple[StateSpace, ClosedLaw] | None:
        """The set and its law; None if there is no answer from a tentative set."""
        while True:
            try:
                self._solve()
            except ModelError:
                if self.tentative:
                    return None
                raise
            if not np.any(self.law.leak > 0):
                return None if self.tentative else self._whole()
            if not self._reason and (self.law.away <= self.tol / 2 or self._change <= self.tol):
                try:
                    certified = self._certified()
                except MoreStatesError as more:
                    if self._add(more.states):
                        continue
                    self._reason = str(more)
                except NoDriftError as why:
                    self._reason = str(why)
                else:
                    if certified.lost <= self.tol:
                        return self.space, self._with_arrival(certified)
                if self._reason and self.tentative:
                    return None
            if self._reason and self._change <= self.tol:
                self._check_dead_ends()
                return self.space, self._with_arrival(replace(self.law, lost=self._change, certificate=f"estimate: {self._reason}"))
            self._reshape()

    def _solve(self) -> None:
        """The law on the set, and how far it has changed."""
        guess = None
        if self._before is not None:
            space, law = self._before
            guess, place = np.zeros(len(self.space)), self.space.index(space.states[law.members])
            guess[place[place >= 0]] = law.pi[place >= 0]
        self._generator = None
        law = self._with_walkers(guess) or self._with_all_entries(guess)
        self.law = replace(law, expansions=self._expansions)
        start = self.space.index(Compiled(self.network).start(self.initial)[0])
        if not self.tentative and np.any(start >= 0):
            self._starts_elsewhere = not np.all(np.isin(start[start >= 0], self.law.members))
        if self._before is not None:
            self._change = max(_distance(*self._before, self.space, self.law), self.law.escaping)
            self._changes.append(self._change)
            self._outflows.append(self.law.outflow)
            self._escaping.append(self.law.escaping)
            self._look_for_a_later_class()
        self.bar.to(len(self.space), f"missing {min(self.law.away, self._change):.1e}")

    def _look_for_a_later_class(self) -> None:
        """Is the largest class left for good? And was it the law on another one that changed until now?

        Where ways out of it to kept states lead on to none but out of the set, these are a rim, which is met less and less often as the
        set grows. If they are met as often as before, a species dies out there, and the law is where the process is late.
        """
        held = len(self._escaping) > TREND and self._escaping[-1] > HELD * self._escaping[-1 - TREND]
        self._late = self._late or (held and self.law.escaping > self.tol)
        assert self._before is not None
        space, law = self._before
        if not np.isin(self.space.index(space.states[law.home]), self.law.members).all():
            self._changes, self._outflows = [], []

    def _with_all_entries(self, guess: np.ndarray | None) -> ClosedLaw:
        return ClosedLaw.on(ClosedClass.of(self.generator, late=self._late), self.home, guess, solver=self.solver)

    def _with_walkers(self, guess: np.ndarray | None) -> ClosedLaw | None:
        """The law where large bursts lead from each state to nearly all others; None where they do not."""
        walking, n_states = with_walkers(self.network, self.space), len(self.space)
        if walking is None:
            return None
        found = ClosedClass.of(walking, speed=FAST, late=self._late)
        members = found.members[found.members < n_states]
        if len(members) < n_states:
            return self._with_walkers_on(members, found.dead_ends, guess)
        guess = None if guess is None else np.append(guess, np.zeros(len(found.states) - n_states))
        return ClosedLaw.on(found, self.home, guess, solver=self.solver).on_first(n_states)

    def _with_walkers_on(self, members: np.ndarray, dead_ends: np.ndarray, guess: np.ndarray | None) -> ClosedLaw | None:
        """The same on the closed class, of which walkers must not lead out, since jumps are dropped, not led elsewhere."""
        part = self.space.keep(members)
        found = ClosedClass.of(with_walkers(self.network, part) or Generator.from_network(self.network, part))
        if len(found.members) < len(found.states):
            return None
        guess = None if guess is None else np.append(guess[members], np.zeros(len(found.states) - len(part)))
        home = None if self.home is None or self.home not in members else int(np.searchsorted(members, self.home))
        law = ClosedLaw.on(found, home, guess, solver=self.solver).on_first(len(part))
        whole = with_bursts(self.network, self.space)
        assert whole is not None
        outside, pi = np.ones(len(self.space)), np.zeros(len(self.space))
        outside[members], pi[members] = 0.0, law.pi
        away = law.leak - whole.leak[members]  # the rates to kept states that are no members, with rounding errors far below 1e-12
        escaping = float(law.pi[away > 1e-12 * whole.largest_rate].sum())
        return replace(law, members=members, dead_ends=dead_ends, inflow=outside * (whole.matrix @ pi), escaping=escaping)

    @property
    def generator(self) -> Generator:
        """With all its entries."""
        if self._generator is None:
            self._generator = Generator.from_network(self.network, self.space)
        return self._generator

    def _whole(self) -> tuple[StateSpace, ClosedLaw]:
        """The answer on a set that nothing leaves."""
        self._check_dead_ends()
        return self.space, certify_end(self.space, self.law, self.initial, self.tol, self.max_states)

    def _certified(self) -> ClosedLaw:
        if self._drifts is None:
            self._drifts = find_drifts(self.space, self.law.members, self.law.pi)
        return certify(self.space, self.law, self._drifts)

    def _with_arrival(self, law: ClosedLaw) -> ClosedLaw:
        """The law, with what is known of the paths from a start that lies elsewhere."""
        if not self._starts_elsewhere:
            return law
        members = self.space.states[self.law.members]
        others = self._first_states[self.space.index(self._first_states) < 0]
        space = StateSpace.holding(self.network, np.concatenate([self.space.states, others]))
        return certify_arrival(space, law, members, self.initial, self.tol, self.max_states)

    def _check_dead_ends(self) -> None:
        dead_ends = self.law.dead_ends
        if self._foreign:
            dead_ends = _met(dead_ends, self.generator, self.space, self._first_states)
        check_dead_ends(self.network, self.space, self.space.states[self.law.home], dead_ends)

    def _add(self, states: np.ndarray) -> bool:
        """Keep further states (K, S), so that a function falls outside the set; False if they are too many, or it has not helped."""
        self._rounds += 1
        n_kept = len(self.space)
        most = 4 * n_kept + 20_000 if isinstance(self.law.cycle, IteratedCycle) else max(4 * n_kept, MOST_ADDED)
        if self._rounds > MOST_ROUNDS or len(states) > min(most, self.max_states - n_kept):
            return False
        place = self.space.index(states)
        if np.any(place < 0):
            self._foreign = True
            larger = StateSpace.holding(self.network, np.concatenate([self.space.states, states[place < 0]]))
        else:  # they are kept, but the set has no way from there to the others
            larger = self.space.grow(np.concatenate([self.law.members[self.law.leak > 0], place]), size=2 * n_kept)
        self._go_on_with(larger)
        self._before = None
        return True

    def _reshape(self) -> None:
        """A set from which less flows out."""
        unsettled = self._change if self._reason else min(self.law.away, self._change)
        if self._expansions >= MOST_EXPANSIONS:
            raise ConvergenceError(
                f"the set of states has not settled after {self._expansions} changes (the law still changes by {unsettled:.1e}, "
                f"tol={self.tol:g}); loosen tol, or give a space=; {_without_end(self.network)}"
            )
        if self.network.varying and self._expected_states() > FAR_TOO_MANY * self.max_states:
            raise ConvergenceError(
                f"the law on {len(self.space)} states still changes by {unsettled:.1e} (tol={self.tol:g}) when states are added, and "
                f"settles so slowly that more than {FAR_TOO_MANY * self.max_states:.0e} would be needed; loosen tol; "
                f"{_without_end(self.network)}"
            )
        space, law = self.space, self.law
        if self.network.varying and self._starts_elsewhere and not law.inflow.any():  # the way there is looked at in the end
            if np.all(space.index(Compiled(self.network).start(self.initial)[0]) >= 0):
                self._first_states = space.states
            space, law = space.keep(law.members), replace(law, members=np.arange(len(law.members)), inflow=law.inflow[law.members])
        larger = grow(space, law) if self._reason or self._rounds else reshape(space, law, self.tol)
        if len(larger) > self.max_states:
            raise ConvergenceError(
                f"stationary needs more than max_states={self.max_states} states (the law still changes by {unsettled:.1e}, "
                f"tol={self.tol:g}); raise max_states or loosen tol; {_without_end(self.network)}"
            )
        self._go_on_with(larger)

    def _expected_states(self) -> float:
        """How many states it takes if the law goes on to settle as it does: by the faster of its last changes, and of twice as many.

        0 if that is not known yet: before some changes, where the law is about to leave for a later class, and where less flows out of
        the set faster and faster, as from light tails.
        """
        if len(self._changes) <= 2 * TREND or self.law.escaping > HELD:
            return 0.0
        log = np.log(np.maximum(self._changes, 1e-300))
        outflow = np.log(np.maximum(self._outflows, 1e-300))
        earlier, lately = outflow[-1 - 2 * TREND] - outflow[-1 - TREND], outflow[-1 - TREND] - outflow[-1]
        if lately > FASTER * max(earlier, 0.0):
            return 0.0
        fall = max((log[-1 - k * TREND] - log[-1]) / (k * TREND) for k in (1, 2))
        more = np.inf if fall <= 0 else max(log[-1] - np.log(self.tol), 0.0) / fall
        return float(len(self.space) * np.exp(min(more * np.log(GROWTH), 600.0)))

    def _go_on_with(self, space: StateSpace) -> None:
        self.home = int(space.index(self.space.states[self.law.home])[0])
        self._before, self.space = (self.space, self.law), space
        self._expansions += 1


def _distance(before: StateSpace, old: ClosedLaw, space: StateSpace, law: ClosedLaw) -> float:
    """The 1-norm distance of the laws on two sets."""
    place = space.index(before.states[old.members])
    kept, whole = place >= 0, np.zeros(len(space))
    whole[law.members] = law.pi
    common = whole[place[kept]]
    whole[place[kept]] = 0.0
    return float(np.abs(common - old.pi[kept]).sum() + old.pi[~kept].sum() + whole.sum())


def _met(places: np.ndarray, generator: Generator, space: StateSpace, first_states: np.ndarray) -> np.ndarray:
    """Those of some states to which the first states lead inside the set; the others were added to prove something, not reached."""
    jumps = generator.sparse("the stationary law").T.tocsr()
    place = space.index(first_states)
    place = place[place >= 0]
    start = sp.csr_array((np.ones(len(place)), place, [0, len(place)]), shape=(1, len(space)))
    ways = sp.block_array([[jumps, None], [start, sp.csr_array((1, 1))]], format="csr")
    met = breadth_first_order(ways, len(space), return_predecessors=False)
    return places[np.isin(places, met)]


def _without_end(network: Network) -> str:
    """When there may be no stationary law, and what to ask for instead."""
    change = np.zeros((1, 1)) if network.varying else network.stoichiometry
    grown = np.flatnonzero((change >= 0).all(axis=0) & (change > 0).any(axis=0))
    if not len(grown):
        return "if the counts grow without bound there is no stationary law, and fsp gives the law at a time"
    names = " and ".join(repr(network.species_names[s]) for s in grown)
    return (
        f"no reaction takes {names} away, so that there is no stationary law unless its making comes to an end; fsp gives the law at a time"
    )
