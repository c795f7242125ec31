"""The law on the closed class of a finite set of states, and the cycle that tells what it misses."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cme.generator import Generator
from cme.projection.closed_class import ClosedClass
from cme.projection.cycle import WIDEST_BAND, BandedCycle, CensoredCycle, SparseCycle, banded
from cme.projection.levels import METHOD, multilevel_law
from cme.projection.null_vector import WIDEST_BAND as WIDEST_OF_ALL
from cme.projection.null_vector import eliminated, likely_state, sparse_cycle
from cme.projection.sweeps import ENOUGH, IteratedCycle

WIDEST_CUT = 1000  # states of which factors would hold the links of all with all

SOLVERS = ("elimination", "lu", "sweeps", "levels")

AnyCycle = BandedCycle | SparseCycle | CensoredCycle | IteratedCycle


@dataclass(frozen=True)
class ClosedLaw:
    """A law on the closed class of a set of states.

    Attributes
    ----------
    members : (K,)
        Places of its states in the set.
    pi, leak, exit_rates : (K,)
        Probabilities, rates to states that are no members, and to all others.
    inflow : (N,)
        What flows from members to each state of the set that is none.
    cycle
        None if nothing leaves the class, or the law was found level by level.
    escaping : float
        Probability of states from which a jump leads to kept states that are no members.
    lost, floor, certificate
        What is known of the law on all states: a bound or estimate of the 1-norm error, and lower bounds (K,) of the probabilities.
    """

    members: np.ndarray
    pi: np.ndarray
    leak: np.ndarray
    exit_rates: np.ndarray
    method: str
    inaccuracy: float
    dead_ends: np.ndarray
    inflow: np.ndarray
    cycle: AnyCycle | None
    escaping: float
    lost: float = np.nan
    floor: np.ndarray | None = None
    certificate: str = ""
    expansions: int = 0

    @classmethod
    def on(
        cls,
        generator: Generator | ClosedClass,
        home: int | None = None,
        guess: np.ndarray | None = None,
        *,
        at_once: float = np.inf,
        solver: str = "auto",
        reflecting: bool = False,
        enough: float = ENOUGH,
    ) -> "ClosedLaw":
        """The law on a set that is closed by dropping the jumps that leave it or, for large sets, by leading them to one state.

        `home` is the place of a state that is not improbable, and `guess` (N,) a law to start from, if they are known. More than
        `at_once` states are solved level by level: then nothing is known of the cycle. `solver` is one of `SOLVERS`, or "auto". If
        `reflecting`, all sets are closed by dropping jumps, and the cycle is one of the closed process, if there is one.
        Sweeps go on until they change no more than `enough`. Given the closed class alone, the generator need not be held in memory.
        """
        found = generator if isinstance(generator, ClosedClass) else ClosedClass.of(generator)
        members, n_states = found.members, len(found.states)
        outside = np.ones(n_states, dtype=bool)
        outside[members] = False
        at = None if home is None or outside[home] else int(np.searchsorted(members, home))
        cycle: AnyCycle | None
        if solver in ("sweeps", "levels") and not np.issubdtype(found.states.dtype, np.integer):
            raise ValueError(f"method={solver!r} takes states that are counts; use method='lu' or 'auto'")
        alone = len(members) == 1
        if not alone and (solver == "levels" or (solver == "auto" and len(members) > at_once)):
            (pi, inaccuracy), method, cycle = multilevel_law(found.matrix, found.member_states), METHOD, None
        elif not alone and (solver == "sweeps" or (solver == "auto" and _is_wide(found.member_states))):
            known, at = None if guess is None else guess[members], likely_state(found.matrix) if at is None else at
            closed = found.leak if reflecting else None
            cycle = IteratedCycle(found.matrix, found.member_states, at, known, enough=enough, closed=closed)
            total = float(cycle.z.sum())
            pi, method, inaccuracy = cycle.z / total, cycle.method, cycle.correction
        else:
            pi, method, inaccuracy, cycle = _solve(found, at, solver, reflecting)
        there, here, rate = found.ways
        inflow = np.bincount(there, weights=rate * pi[here], minlength=n_states).astype(np.float64)  # of nothing, it counts in integers
        escaping = float(pi[found.away > 1e-12 * found.largest_rate].sum())
        rates = -found.matrix.diagonal()
        return cls(members, pi, found.leak, rates, method, inaccuracy, found.dead_ends, inflow, cycle, escaping)

    def on_first(self, n_states: int) -> "ClosedLaw":
        """The law on the first states of the set alone, where no time is spent in the others."""
        ours = self.members < n_states
        pi = self.pi[ours]
        return replace(
            self,
            members=self.members[ours],
            pi=pi / float(pi.sum()),
            leak=self.leak[ours],
            exit_rates=self.exit_rates[ours],
            inflow=self.inflow[:n_states],
            dead_ends=self.dead_ends[self.dead_ends < n_states],
        )

    @property
    def outflow(self) -> float:
        return float(self.leak @ self.pi)

    @property
    def home(self) -> int:
        """The place of the most probable state."""
        return int(self.members[np.argmax(self.pi)])

    @cached_property
    def returns(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean times (K,) to the reference state of the cycle or out of the set, and chances of the first."""
        assert self.cycle is not None
        return self.cycle.returns(np.zeros(len(self.cycle.z)))

    @cached_property
    def longest(self) -> float:
        """The longest of the mean times."""
        if self.cycle is None:
            return 0.0
        if isinstance(self.cycle, IteratedCycle):
            return float(self.cycle.times(np.zeros(len(self.cycle.z))).max())
        return float(self.returns[0].max())

    @property
    def away(self) -> float:
        """About what is missing of the law, if the way back from outside takes as long as the longest in the set."""
        return min(self.outflow * self.longest, 1.0) if self.cycle is not None and self.outflow > 0 else 0.0

    @property
    def loss_if_dropped(self) -> np.ndarray:
        """About what would be missing if a state were dropped: what flows through it, times the longest time to come back, (K,)."""
        return self.pi * self.exit_rates * self.longest


def _is_wide(states: np.ndarray) -> bool:
    """Would factors hold too many numbers? The states are cut apart by those at one value of the count that is best for it."""
    if not np.issubdtype(states.dtype, np.integer) or len(states) <= WIDEST_CUT:
        return False
    cuts = [np.bincount(column - column.min()).max() for column in states.T if np.ptp(column) < len(states)]
    return bool(cuts and min(cuts) > WIDEST_CUT)


def _solve(found: ClosedClass, at: int | None, solver: str, reflecting: bool) -> tuple[np.ndarray, str, float, AnyCycle | None]:
    if len(found.members) == 1:
        return np.ones(1), "one state", 0.0, BandedCycle(found.matrix, found.leak, 0, np.zeros(1, dtype=np.int64), 0)
    leaky = bool(np.any(found.leak > 0)) and not reflecting
    pi = None if solver == "lu" else eliminated(found.closed_matrix)
    if pi is None and solver == "elimination":
        raise ValueError(
            f"method='elimination' takes states in a narrow band, and {len(found.members)} states here have links to more than "
            f"{WIDEST_OF_ALL} places away in every order that was tried; use method='lu', 'sweeps' or 'auto'"
        )
    if pi is None:
        matrix, leak = (found.matrix, found.leak) if leaky else (found.closed_matrix, np.zeros(len(found.members)))
        sparse, inaccuracy = sparse_cycle(matrix, leak, likely_state(found.closed_matrix) if at is None else at)
        return sparse.z / float(sparse.z.sum()), sparse.method, inaccuracy, sparse if leaky else None
    cycle: AnyCycle | None = None
    if leaky:
        reference = int(np.argmax(pi))
        order, half = banded(found.matrix, reference)
        if half <= WIDEST_BAND:
            cycle = BandedCycle(found.matrix, found.leak, reference, order, half)
        else:
            cycle = SparseCycle(found.matrix, reference)
    return pi, "GTH elimination", 0.0, cycle
