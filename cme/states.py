"""`StateSpace`: the states that are kept. Always a set of reachable states, never a box."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cme import errors
from cme.abilities import require
from cme.compiled import Compiled
from cme.graphs import conservation_laws, independent_species
from cme.kernels import reach, stoichiometry
from cme.network import Network

UNBOUNDED = np.iinfo(np.int64).max
SPARED = 0.1  # of the probability with which a reaction leads out of a set at random, this part may do so after a step of growth
FIRST_WIDTH, WIDEST = 256, 2**22  # values of a drawn number


@dataclass(frozen=True, eq=False, repr=False)
class StateSpace:
    """An ordered set of states of a network.

    Attributes
    ----------
    states : (N, S) int64
        A space that was grown holds the old states first, in their old order.
    compiled
        The network the states belong to.
    upper : (S,) int64
        Largest count allowed for each species.
    key : (D,) int64
        The species that identify a state: where all states share the conserved totals, the independent ones are enough.
    """

    states: np.ndarray
    compiled: Compiled
    upper: np.ndarray
    key: np.ndarray
    _table: np.ndarray

    @classmethod
    def reachable(
        cls,
        network: Network,
        *,
        max_states: int = 1_000_000,
        bounds: Mapping[str, int] | None = None,
        initial=None,
    ) -> "StateSpace":
        """Every state that can be reached from the initial ones.

        Parameters
        ----------
        network
            What reacts.
        max_states
            Give up beyond this many.
        bounds
            Largest count by species; states beyond are left out (the generator then leaks there).
        initial
            Where to start; the network's own start by default.

        Raises
        ------
        ConvergenceError
            If there are more than `max_states` (perhaps infinitely many).
        ModelError
            If a propensity is negative or undefined, or a reaction would drive a count below zero.

        Examples
        --------
        >>> import cme
        >>> len(cme.StateSpace.reachable(cme.parse("A <-> B @ 1, 2; A = 9")))
        10
        """
        start = cls.around(network, initial=initial, size=1, bounds=bounds)
        space = start.grow(np.arange(len(start)), size=max_states + 1)
        if len(space) > max_states:
            raise errors.ConvergenceError(
                f"more than max_states={max_states} states can be reached from the initial state (perhaps infinitely many); "
                "give bounds={species: largest count}, raise max_states, or use fsp, which finds the states that matter"
            )
        return space

    @classmethod
    def around(cls, network: Network, *, size: int, initial=None, bounds: Mapping[str, int] | None = None) -> "StateSpace":
        """The initial states and, layer by layer, those they lead to, until there are at least `size` (or no more)."""
        require(network, "StateSpace")
        compiled = Compiled(network)
        states, _ = compiled.start(initial)
        upper = np.full(len(network.species), UNBOUNDED)
        for name, bound in (bounds or {}).items():
            if name not in network.species_names:
                raise ValueError(f"bounds names {name!r}, which is no species; there are {', '.join(network.species_names)}")
            upper[network.species_names.index(name)] = bound
        if np.any(states > upper):
            raise ValueError("an initial state lies outside the bounds")
        space = cls._build(np.unique(states, axis=0), compiled, upper, _key(network, states))
        return space.grow(np.arange(len(space)), size=size)

    @classmethod
    def holding(cls, network: Network, states: np.ndarray) -> "StateSpace":
        """Exactly the given states (K, S), all different, in their order."""
        upper = np.full(len(network.species), UNBOUNDED)
        return cls._build(np.ascontiguousarray(states, dtype=np.int64), Compiled(network), upper, _key(network, states))

    @classmethod
    def _build(cls, states: np.ndarray, compiled: Compiled, upper: np.ndarray, key: np.ndarray) -> "StateSpace":
        table = _empty_table(len(states))
        reach.fill_table(states, len(states), key, table)
        return cls(states, compiled, upper, key, table)

    def grow(self, sources: np.ndarray, *, layers: int = UNBOUNDED, size: int = UNBOUNDED) -> "StateSpace":
        """A larger space: what the states with indices `sources` lead to, in at most `layers` steps.

        Stops after the layer in which `size` states are passed; where reactions draw numbers of molecules, it stops at once then, after
        the first of the sources.
        """
        if len(self) >= size:
            return self
        n_reactions = len(self.compiled.network.reactions)
        room = max(4 * len(self), 1024) + n_reactions
        states, table = _enlarge(self.states, room), np.empty(0, dtype=np.int64)
        queue = _enlarge(np.asarray(sources, dtype=np.int64), room + len(sources))
        cursor = np.array([len(self), 0, len(sources), len(sources), 0])
        place = np.zeros(2, dtype=np.int64)
        model, listing, spared = self.compiled.arrays, self._listing(), SPARED
        while True:
            table = _empty_table(len(states))
            reach.fill_table(states, cursor[0], self.key, table)
            limits = self.upper, self.key, layers, size, spared
            status = reach.explore(*self._model, *limits, listing, cursor, queue, states, table, place)
            if status == errors.FULL:
                states, queue = _enlarge(states, 2 * len(states)), _enlarge(queue, 2 * len(queue))
            elif status == stoichiometry.WIDE:
                listing = self._listing(listing)
            elif status == errors.OK and model.varying is not None and spared and cursor[4] < layers and cursor[0] < size:
                # There is room for unlikely states as well, beyond the sources and beyond all that were added.
                everyone = np.concatenate([sources, np.arange(len(self), cursor[0])])
                queue, spared = _enlarge(everyone, len(states) + len(everyone)), 0.0
                cursor[1:4] = 0, len(everyone), len(everyone)
            else:
                break
        self._raise(status, place, states)
        return StateSpace(states[: cursor[0]].copy(), self.compiled, self.upper, self.key, table)

    def _listing(self, narrow: stoichiometry.Listing | None = None) -> stoichiometry.Listing:
        """Room for the laws of the numbers of molecules that a reaction draws; twice as much as in a narrow one."""
        width = FIRST_WIDTH if narrow is None else 2 * narrow.probability.shape[1]
        if width > WIDEST:
            raise errors.ConvergenceError(f"a drawn number of molecules has more than {WIDEST // 2} likely values; use ssa")
        return stoichiometry.new_listing(self.compiled.arrays.varying, self.states.shape[1], width)

    def keep(self, kept: np.ndarray) -> "StateSpace":
        """The space with only the states where `kept` (N,) is true."""
        return self._build(self.states[kept], self.compiled, self.upper, self.key)

    def under(self, network: Network) -> "StateSpace":
        """The same states for another network over the same species."""
        if network is self.compiled.network:
            return self
        if network.species_names != self.compiled.network.species_names:
            raise ValueError(f"the state space is over {self.compiled.network.species_names}, the network over {network.species_names}")
        return self._build(self.states, Compiled(network), self.upper, _key(network, self.states))

    def index(self, states: np.ndarray) -> np.ndarray:
        """The position of each of the given states (K, S), -1 where it is not kept."""
        wanted = np.ascontiguousarray(np.atleast_2d(states), dtype=np.int64)
        found = np.empty(len(wanted), dtype=np.int64)
        reach.look_up(self.states, self._table, self.key, wanted, found)
        return found

    def transitions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The generator's columns as CSC arrays (pointer, row, rate) with the diagonal, and the leak (N,) out of the set."""
        most = len(self) * (len(self.compiled.network.reactions) + 1)
        pointer, row, rate = np.zeros(len(self) + 1, dtype=np.int64), np.empty(most, dtype=np.int64), np.empty(most)
        leak, place, cursor, listing = np.zeros(len(self)), np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), self._listing()
        status = errors.FULL
        while status in (errors.FULL, stoichiometry.WIDE):
            kept = *self._model, self.key, self.states, self._table, self.states.max(axis=0)
            status = reach.assemble(*kept, listing, cursor, pointer, row, rate, leak, place)
            if status == errors.FULL:
                row, rate = _enlarge(row, 2 * len(row)), _enlarge(rate, 2 * len(rate))
            elif status == stoichiometry.WIDE:
                listing = self._listing(listing)
        self._raise(status, place, self.states)
        return pointer, row[: pointer[-1]], rate[: pointer[-1]], leak

    def outcomes(self, reaction: int, fires: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where a reaction that does not change the counts by the same numbers each time leads from the states where it fires, (N,).

        Returns the places from and to (-1: out of the set), the probability, and the status of each state, 0 if nothing is wrong.
        """
        source, to, share = np.empty(len(self), dtype=np.int64), np.empty(len(self), dtype=np.int64), np.empty(len(self))
        wrong, cursor, listing = np.zeros(len(self), dtype=np.int64), np.zeros(2, dtype=np.int64), self._listing()
        status = errors.FULL
        while status in (errors.FULL, stoichiometry.WIDE):
            kept = *self._model[:2], self.key, self.states, self._table, self.states.max(axis=0)
            status = reach.list_outcomes(*kept, reaction, fires, listing, cursor, source, to, share, wrong)
            if status == errors.FULL:
                source, to, share = (_enlarge(array, 2 * len(array) + 1) for array in (source, to, share))
            elif status == stoichiometry.WIDE:
                listing = self._listing(listing)
        return source[: cursor[1]], to[: cursor[1]], share[: cursor[1]], wrong

    @property
    def _model(self) -> tuple:
        """The network for kernels, their stack, and the memory of a state."""
        arrays = self.compiled.arrays
        return arrays, np.empty(arrays.stack_size), np.empty(self.states.shape[1], dtype=np.int64)

    def _raise(self, status: int, place: np.ndarray, states: np.ndarray) -> None:
        if status != errors.OK:
            network, reaction = self.compiled.network, int(place[1])
            name, formula = network.reactions[reaction].name, network.formula(reaction)
            raise errors.propensity_error(status, name, formula, network.species_names, states[place[0]])

    def __len__(self) -> int:
        return len(self.states)

    def __repr__(self) -> str:
        return f"StateSpace: {len(self)} states of {', '.join(self.compiled.network.species_names)}"


def _key(network: Network, states: np.ndarray) -> np.ndarray:
    """The species that identify a state among those reachable from `states`."""
    if len(states) > 1 and np.any(conservation_laws(network) @ (states - states[0]).T):
        return np.arange(states.shape[1])
    return np.array(independent_species(network), dtype=np.int64)


def _enlarge(array: np.ndarray, length: int) -> np.ndarray:
    larger = np.empty((max(length, len(array)), *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def _empty_table(n_states: int) -> np.ndarray:
    return np.full(1 << (2 * max(n_states, 8) - 1).bit_length(), -1, dtype=np.int64)
