"""A chain that stops in its targets, and the states on which its first passage is found."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from cme import ratelaw
from cme.compiled import Compiled
from cme.conditions import check_defined, network_condition, read_condition
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.generator import Generator
from cme.network import Network
from cme.projection.drift import NoDriftError
from cme.projection.fsp import fsp
from cme.projection.hitting import Decay, Hitting
from cme.projection.mean_bound import upper_mean
from cme.projection.modes import Rates
from cme.projection.way_back import MoreStatesError
from cme.ratelaw import ZERO, Apply, Expr
from cme.results import Distribution
from cme.states import StateSpace

FIRST_SIZE = 300
GROWTH, FAST_GROWTH = 1.5, 2.0  # of a set of states, and of one that is still small
SMALL = 4000
SAME, ENOUGH = 1e-4, 16.0  # what arrives and what escapes all the same from a set this many times as large does so for good,
LEAST = 30_000  # if the set is also as large as this
STAYS = 1e-3  # the part of the slowest rate at which the mode may leave the states: about the error of the rate
ATTEMPTS = 4  # at an upper bound of the mean, each with more states
NO_TIME = "when it is met is what is asked for"


class Stopped(ABC):
    """A chain without jumps out of its targets.

    Attributes
    ----------
    generator, labels, start
        The chain on the states that are kept, the target that each is in (-1 for none), and where it starts, (N,) each.
    missing, excess : float
        What the start may have too little and too much.
    open, closed : Hitting
        What happens on the states in the end if what leaves them is not followed, and, where that is little, if it does not leave.
    for_good : bool
        What escapes does not depend on how large the set is.
    upper_mean, ground : float, str
        A bound on the mean time of all paths, and what it rests on, or why there is none.
    """

    title = "generator"
    most = 1
    missing, excess = 0.0, 0.0
    expansions = 0
    for_good = False
    upper_mean = np.inf
    ground: str
    tol: float
    generator: Generator
    labels: np.ndarray
    start: np.ndarray
    open: Hitting
    closed: Hitting

    def __init__(self, names: tuple[str, ...], conditions: Mapping[str, Expr]):
        self.names, self.conditions = names, dict(conditions)

    def label(self, states: np.ndarray) -> np.ndarray:
        """The number of the target that each state (K, S) is in, -1 for none; `ValueError` if there are two."""
        return label_states(self.conditions, self.names, states)

    @abstractmethod
    def solve(self) -> Iterator[tuple[int, str]]:
        """Find the states and what happens on them in the end; yields how many there are, and a note."""

    @abstractmethod
    def law(self, times: np.ndarray, tol: float) -> Distribution:
        """Where the stopped chain is at some times."""

    @abstractmethod
    def rates_into(self, states: np.ndarray) -> np.ndarray:
        """The rate from each state of a law into each target, (K, N)."""

    def _hitting(self, closed: bool) -> Hitting:
        return Hitting(self.generator, self.labels, len(self.conditions), self.start, closed=closed)

    def _solve(self, tol: float) -> None:
        try:
            self.open = self.closed = self._hitting(closed=False)
        except ConvergenceError as error:
            if np.any(self.labels >= 0):
                raise
            raise ConvergenceError(
                f"{' or '.join(map(repr, self.conditions))} holds in none of the {len(self.labels)} states around the start, and it takes "
                "longer than 1e290 to leave them; does it hold in any state that can be reached?"
            ) from error
        if self.open.leaks and self.open.escaped <= tol:  # else what does not escape says more of the paths that arrive
            if self._take_targets():
                self.open = self.closed = self._hitting(closed=False)
            if self.open.leaks:
                self.closed = self._hitting(closed=True)

    def _take_targets(self) -> bool:
        """Keep the targets that are one jump away as well; False if there are none.

        Closed without them, the chain could not arrive by such a jump: where states are hardly ever visited it would stay for good.
        """
        return False

    @property
    def escaped(self) -> float:
        """The probability of all that is not known: what leaves the states before it meets a target, and what was not in the start."""
        return self.open.escaped + self.missing

    @property
    def rare(self) -> list[str]:
        """The targets whose probabilities are not known in relative terms: more escapes than `tol` times what comes to them."""
        return [name for name, p in zip(self.conditions, self.open.arrived, strict=True) if self.escaped > self.tol * p]

    @property
    def change(self) -> float:
        """How far the mean times with the states closed and open differ, as a part of the former."""
        if self.open is self.closed:
            return 0.0
        means = [float(each.moment(1).sum() / max(each.arrived.sum(), 1e-300)) for each in (self.closed, self.open)]
        if self.open.never == 0:
            means[1] = min(means[1], self.open.survived)
        return abs(means[0] - means[1]) / means[0] if means[0] > 0 else 0.0

    def decay(self) -> Decay:
        """The slowest mode, on the states closed; `ConvergenceError` where that says little of the chain."""
        slow = self.closed.decay()
        if self.closed is not self.open:
            _check_stays(slow.rate, float(self.generator.leak @ slow.law))
        return slow

    def decay_rates(self, k: int) -> Rates:
        """The k slowest rates, on the states closed; `ConvergenceError` where they surely hold the chain back."""
        found = self.closed.decay_rates(k)
        if self.closed is not self.open and len(rates := found.values):
            # With the states open, the slowest rate is not below 1 over the longest mean time that is spent in them from any.
            longest = float(self.open.collected(np.ones(len(self.open.alive))).max())
            _check_stays(float(np.real(rates[0])), 1 / longest - float(np.real(rates[0])))
        return found


class StoppedGenerator(Stopped):
    """A jump process on the states of its generator."""

    ground = "nothing is known of the states of a generator that are not kept"

    def __init__(self, generator: Generator, texts: Mapping[str, str], initial, tol: float):
        if initial is None:
            raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
        super().__init__(generator.names, {name: generator_condition(generator, text, _what(name, text)) for name, text in texts.items()})
        self.tol, self.initial = tol, initial
        self.start = generator.start(initial)
        if isinstance(initial, Distribution):
            self.missing, self.excess = initial.lack_and_excess
        self.labels = self.label(generator.states)
        moves = self.labels < 0
        matrix = sp.csc_array(generator.sparse("the first passage") @ sp.diags_array(moves.astype(np.float64)))
        self.generator = Generator(matrix, generator.leak * moves, generator.states, generator.names, generator.widths)

    def solve(self) -> Iterator[tuple[int, str]]:
        self._solve(self.tol)
        yield 1, ""

    def law(self, times: np.ndarray, tol: float) -> Distribution:
        return fsp(self.generator, times, tol=tol, initial=self.initial, progress=False)

    def rates_into(self, states: np.ndarray) -> np.ndarray:
        return _rates_into(self.generator, self.labels, len(self.conditions))


class StoppedNetwork(Stopped):
    """A network in which nothing reacts once a target is met; its states are found on the way."""

    ground = "too much escapes for a bound to be sought"

    def __init__(self, network: Network, texts: Mapping[str, str], initial, tol: float, most: int, space: StateSpace | None):
        conditions = {name: network_condition(network, text, _what(name, text), NO_TIME) for name, text in texts.items()}
        super().__init__(network.species_names, conditions)
        self.met = next(iter(conditions.values())) if len(conditions) == 1 else Apply("or", tuple(conditions.values()))
        laws = [Apply("piecewise", (ZERO, self.met, reaction.propensity)) for reaction in network.reactions]
        stopped = tuple(replace(reaction, law=law) for reaction, law in zip(network.reactions, laws, strict=True))
        self.network, self.original, self.title = replace(network, reactions=stopped), network, network.name
        self.initial, self.tol, self.most, self.given = initial, tol, most, space
        if isinstance(initial, Distribution):
            self.missing, self.excess = initial.lack_and_excess
        self._states, self._weights = Compiled(self.network).start(initial)

    def solve(self) -> Iterator[tuple[int, str]]:
        yield from self._find_states()
        if self.missing:
            self.ground = "the start misses a part of its law, of which nothing is known"
        if not self.open.leaks or self.open.never > 0 or self.for_good or self.missing:
            return
        for _ in range(ATTEMPTS):
            yield len(self.space), "upper bound of the mean"
            try:
                space = StateSpace.holding(self.original, self.space.states)
                self.upper_mean, self.ground = upper_mean(space, self.labels, self.open, self.label, self.met)
                return
            except MoreStatesError as more:
                self.ground, states = str(more), more.states
                if self.given is not None or len(states) > len(self.space) or len(states) + len(self.space) > self.most:
                    return
                self._on(StateSpace.holding(self.network, np.concatenate([self.space.states, states])))
                self._solve(self.tol)
            except NoDriftError as reason:
                self.ground = str(reason)
                return

    def _find_states(self) -> Iterator[tuple[int, str]]:
        if self.given is not None:
            self._on(self.given.under(self.network))
            self._solve(self.tol)
            yield len(self.space), ""
            return
        self._on(StateSpace.around(self.network, initial=self.initial, size=FIRST_SIZE))
        seen: list[tuple[int, float, float]] = []
        while True:
            self._solve(self.tol)
            n_states, escaped = len(self.space), self.open.escaped
            if not self.open.leaks:
                return
            if escaped <= self.tol and self.change <= self.tol:
                # Few more states may tell how likely the rare targets are.
                if not self.rare or FAST_GROWTH * n_states > SMALL or not self._grow(at_least=False):
                    return
                yield n_states, f"{escaped:.1e} escapes, less than comes to a target"
                continue
            yield n_states, f"{escaped:.1e} escapes"
            arrived = float(self.open.arrived.sum())
            seen.append((n_states, escaped, arrived))
            self.for_good = n_states >= LEAST and any(
                n * ENOUGH <= n_states and abs(then - escaped) <= SAME * escaped and before > 0 and abs(before - arrived) <= SAME * arrived
                for n, then, before in seen
            )
            if self.for_good:
                return
            if not self._grow():
                return

    def _on(self, space: StateSpace) -> None:
        self.space, self.generator = space, Generator.from_network(self.network, space)
        self.labels = self.label(space.states)
        where = space.index(self._states)
        if np.any(where < 0):
            raise ValueError("the given state space does not hold the initial state")
        self.start = np.bincount(where, weights=self._weights, minlength=len(space))

    def _take_targets(self) -> bool:
        if self.network.varying:  # drawn numbers may lead from every state to nearly all targets: they would be too many
            return False
        n_states, space = len(self.space), self.space
        if self.given is not None:  # without its bounds: a path that has arrived is at its end, in whichever state
            space = StateSpace.holding(self.network, space.states)
        beyond = space.grow(np.flatnonzero((self.labels < 0) & (self.generator.leak > 0)), layers=1)
        found = np.append(np.ones(n_states, dtype=bool), self.label(beyond.states[n_states:]) >= 0)
        if found.sum() == n_states:
            return False
        self._on(beyond.keep(found))
        return True

    def _grow(self, at_least: bool = True) -> bool:
        """A larger set, beyond the states through which nearly all escapes; False if there are no more.

        If it need not be, also False where it would be too large, or has states that mean nothing.
        """
        flux = self.open.leaving
        order = np.argsort(flux)
        sources = order[np.cumsum(flux[order]) > 1e-3 * flux.sum()][::-1]
        growth = FAST_GROWTH if len(self.space) < SMALL else GROWTH
        try:
            larger = self.space.grow(sources, size=int(growth * len(self.space)) + 1)
        except ModelError:  # of states that hardly any path comes to
            if at_least:
                raise
            return False
        if len(larger) == len(self.space) or (not at_least and len(larger) > self.most):
            return False
        if len(larger) > self.most:
            short = f"{self.open.escaped:.1e} of the probability leaves them before a target is met"
            if self.open.escaped <= self.tol:
                short = f"the mean time changes by a part of {self.change:.1e} if no jump leaves them"
            raise ConvergenceError(
                f"first_passage needs more than max_states={self.most} states ({short}); raise max_states, loosen tol={self.tol:g}, "
                "or give a space=, which takes its states as they are and gives bounds; if the mean is infinite, as in a fair game, "
                "no set is large enough"
            )
        self.expansions += 1
        self._on(larger)
        return True

    def law(self, times: np.ndarray, tol: float) -> Distribution:
        options = {"space": self.given.under(self.network)} if self.given is not None else {"max_states": self.most}
        return fsp(self.network, times, tol=tol, initial=self.initial, progress=False, **options)

    def rates_into(self, states: np.ndarray) -> np.ndarray:
        generator = Generator.from_network(self.network, StateSpace.holding(self.network, states))
        return _rates_into(generator, self.label(states), len(self.conditions))


def _check_stays(rate: float, leaves: float) -> None:
    """`ConvergenceError` if a mode leaves the states at a rate that matters beside its own: closed they would hold it back."""
    if leaves > STAYS * rate:
        raise ConvergenceError(
            f"the slowest mode decays at a rate of {rate:.3g} on the states that are kept if no jump leaves them, and would leave them at "
            f"one of {leaves:.3g}, so that its rate is not known; take more states, with a smaller tol or a larger space="
        )


def label_states(conditions: Mapping[str, Expr], names: tuple[str, ...], states: np.ndarray) -> np.ndarray:
    """The number of the condition that holds in each state (K, S), -1 for none; `ValueError` if there are two."""
    values = {name: states[:, s].astype(np.float64) for s, name in enumerate(names)}
    label, texts = np.full(len(states), -1), list(conditions)
    for k, formula in enumerate(conditions.values()):
        check_defined(formula, f"the condition {texts[k]!r}", names, states)
        holds = np.broadcast_to(ratelaw.evaluate(formula, values), (len(states),)) != 0
        both = np.flatnonzero(holds & (label >= 0))
        if both.size:
            raise ValueError(
                f"{texts[label[both[0]]]!r} and {texts[k]!r} both hold at {describe_state(names, states[both[0]])}; "
                "make them exclude each other"
            )
        label[holds] = k
    return label


def generator_condition(generator: Generator, text: str, what: str) -> Expr:
    """The formula of a condition on the states of a generator."""
    constants = {name: ratelaw.Number(value) for name, value in ratelaw.CONSTANTS.items() if name not in generator.names}
    formula = read_condition(text, generator.names, what, "generator", NO_TIME, constants)
    return ratelaw.substitute(formula, constants)


def _rates_into(generator: Generator, labels: np.ndarray, n_targets: int) -> np.ndarray:
    rates = sp.csr_array(generator.rates)
    return np.array([np.asarray(rates[labels == k].sum(axis=0)).ravel() for k in range(n_targets)])


def _what(name: str, text: str) -> str:
    """The argument, in a message: the one target, or one of several."""
    return "target" if name == text else f"target {name!r}"
