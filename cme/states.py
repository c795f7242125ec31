"""`StateSpace`: the states that are kept. Always a set of reachable states, never a box."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from cme import errors, memory, ratelaw
from cme.abilities import require
from cme.arguments import check_count
from cme.box import Box, BoxMatrix, reachable_box
from cme.compiled import Compiled
from cme.conditions import network_condition
from cme.graphs import conservation_laws, independent_species
from cme.least_states import least_states
from cme.ledger import FEWER, UNBOUNDED, Ledger
from cme.network import Network
from cme.random_ledger import RandomLedger

LONG = 2**22  # states, whose listing takes so long that it is first looked whether it will come to an end
LARGE = 2**16  # states of a full box from which on its generator is matrix-free: a sparse one would be larger than the cache

Condition = ratelaw.Expr | Callable[[np.ndarray], np.ndarray]


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
    within
        What is asked of states beside the bounds, as a formula with only species left in it, or a function of states; None if nothing is.
    box
        If these are all states of a large box, in the order of its axes: which. The generator is matrix-free then.
    """

    states: np.ndarray
    compiled: Compiled
    upper: np.ndarray
    key: np.ndarray
    within: Condition | None
    _known: Ledger | None
    box: Box | None = None

    @classmethod
    def reachable(
        cls,
        network: Network,
        *,
        max_states: int = 1_000_000,
        bounds: Mapping[str, int] | None = None,
        within: str | Callable | None = None,
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
        within
            A condition that states must fulfil, others are left out as well: a formula of species, parameters and rules, such as
            "U + V <= 100", or a function of states (N, S) that says True or False for each, which is slower where layers of states are
            many and small. Bounds on sums, also joined by "and", are the fastest.
        initial
            Where to start; the network's own start by default.

        Raises
        ------
        ConvergenceError
            If there are more than `max_states` (perhaps infinitely many), or more than fit into the memory that is left.
        ModelError
            If a propensity is negative or undefined, or a reaction would drive a count below zero.
        ValueError
            If a start lies outside, the condition is none, or a bound or `max_states` is no count.

        Notes
        -----
        Cost: about 0.1 microseconds for each state of a network of four reactions, and 60 bytes and more, where the generator will take
        as much again. A state is found by 64 bits that hold its counts, or by a hash of them where they do not fit.

        Examples
        --------
        >>> import cme
        >>> len(cme.StateSpace.reachable(cme.parse("A <-> B @ 1, 2; A = 9")))
        10
        >>> len(cme.StateSpace.reachable(cme.parse("0 -> U @ 1; 0 -> V @ 1"), within="U + V <= 2"))
        6
        """
        max_states = check_count("max_states", max_states)
        start = cls.around(network, initial=initial, size=1, bounds=bounds, within=within)
        whole = start._whole_box(max_states) if within is None else None
        if whole is not None:
            return whole
        if max_states > LONG and within is None and not network.varying:
            start._check_least(max_states)
        space = start.grow(np.arange(len(start)), size=max_states + 1)
        if len(space) > max_states:
            raise _too_many(max_states)
        return space._as_box() if len(space) >= LARGE and not network.varying else space

    def _check_least(self, max_states: int) -> None:
        """Refuse to list more states than are allowed, or than fit into memory, where it is plain from the reactions that there are."""
        rates = self.compiled.propensities(self.states)
        if np.all(np.isfinite(rates) & (rates >= 0)):  # else that is told first
            least = least_states(self.compiled.network, self.states[0], self.upper)
            if least > max_states:
                raise _too_many(max_states)
            what = f"at least {least:.3g} states of {len(self.upper)} species, which can be reached,"
            memory.require_memory(self._ledger.bytes_for(int(least)), what, FEWER)

    def _whole_box(self, max_states: int) -> "StateSpace | None":
        """The large box up to the bounds, if it is plain without a search that all of it is reached from here; rates are checked."""
        if self.compiled.network.varying:
            return None
        box = reachable_box(self.compiled, self.states[0], self.upper, self.key)
        if box is None or len(box) < LARGE:
            return None
        if len(box) > max_states:
            raise _too_many(max_states)
        memory.require_memory(8 * len(box) * (len(self.upper) + 8), f"{len(box)} states of {len(self.upper)} species", FEWER)
        space = StateSpace(box.states(), self.compiled, self.upper, self.key, None, None, box)
        _ = space.matrix_free
        return space

    def _as_box(self) -> "StateSpace":
        """The same states in order, if they fill a box."""
        box = Box.of(self.states, self.key)
        return self if box is None else StateSpace(box.states(), self.compiled, self.upper, self.key, self.within, None, box)

    @classmethod
    def around(
        cls,
        network: Network,
        *,
        size: int,
        initial=None,
        bounds: Mapping[str, int] | None = None,
        within: str | Callable | None = None,
    ) -> "StateSpace":
        """The initial states and, layer by layer, those they lead to, until there are at least `size` (or no more)."""
        require(network, "StateSpace")
        compiled = Compiled(network)
        states, _ = compiled.start(initial)
        upper = np.full(len(network.species), UNBOUNDED)
        if bounds is not None and not isinstance(bounds, Mapping):
            raise TypeError(f"bounds must be a mapping from species to largest counts, such as {{'X': 100}}, not {bounds!r}")
        for name, bound in (bounds or {}).items():
            if name not in network.species_names:
                raise ValueError(f"bounds names {name!r}, which is no species; there are {', '.join(network.species_names)}")
            upper[network.species_names.index(name)] = min(check_count(f"the bound of {name!r}", bound, least=0), UNBOUNDED)
        if np.any(states > upper):
            raise ValueError("an initial state lies outside the bounds")
        condition = _read(network, within)
        if condition is not None and not np.all(allowed := _holds(condition, network, states)):
            wrong = errors.describe_state(network.species_names, states[np.argmin(allowed)])
            raise ValueError(f"the initial state {wrong} does not fulfil within={within!r}")
        space = cls._build(np.unique(states, axis=0), compiled, upper, _key(network, states), condition)
        return space.grow(np.arange(len(space)), size=size)

    @classmethod
    def holding(cls, network: Network, states: np.ndarray) -> "StateSpace":
        """Exactly the given states (K, S), all different, in their order."""
        states = _check_states(network, states)
        upper = np.full(len(network.species), UNBOUNDED)
        return cls._build(np.ascontiguousarray(states, dtype=np.int64), Compiled(network), upper, _key(network, states))

    @classmethod
    def _build(
        cls, states: np.ndarray, compiled: Compiled, upper: np.ndarray, key: np.ndarray, within: Condition | None = None
    ) -> "StateSpace":
        ledger = _ledger_of(states, compiled, upper, key, within)
        return cls._first_of(ledger, len(states), within)

    @classmethod
    def _first_of(cls, ledger: Ledger, n_states: int, within: Condition | None) -> "StateSpace":
        return cls(ledger.states[:n_states], ledger.compiled, ledger.upper, ledger.key, within, ledger)

    @cached_property
    def _ledger(self) -> Ledger:
        """What is known of these states, and perhaps of later ones."""
        if self._known is not None:
            return self._known
        return _ledger_of(self.states, self.compiled, self.upper, self.key, self.within)

    @cached_property
    def matrix_free(self) -> BoxMatrix:
        """The generator on a box."""
        assert self.box is not None

        def entries() -> sp.csc_array:
            ledger = _ledger_of(self.states, self.compiled, self.upper, self.key, None)  # takes more memory than the entries
            pointer, row, rate, _ = ledger.columns(len(self))
            return sp.csc_array((rate, row, pointer), shape=(len(self), len(self)))

        return BoxMatrix(self.compiled, self.box, entries)

    def grow(self, sources: np.ndarray, *, layers: int = UNBOUNDED, size: int = UNBOUNDED) -> "StateSpace":
        """A larger space: what the states with indices `sources` lead to, in at most `layers` steps.

        Stops after the layer in which `size` states are passed; where reactions draw numbers of molecules, it stops at once then, after
        the first of the sources. This space remains as it is. What is known of it is not computed again.
        """
        if len(self) >= size:
            return self
        if self.within is None or self._ledger.within is not None:
            return self._grown(sources, layers, size)
        space, frontier, refused = self, np.asarray(sources), np.zeros(len(self), dtype=bool)
        while len(frontier) and layers > 0 and len(space) - refused.sum() < size:
            larger = space._grown(frontier, 1, UNBOUNDED)
            allowed = _holds(self.within, self.compiled.network, larger.states[len(space) :])
            frontier, refused = len(space) + np.flatnonzero(allowed), np.append(refused, ~allowed)
            space, layers = larger, layers - 1
        return space.keep(~refused)

    def _grown(self, sources: np.ndarray, layers: int, size: int) -> "StateSpace":
        ledger = self._ledger
        if ledger.size > len(self):  # another space has grown out of this one
            ledger = ledger.selected(np.arange(len(self)), len(self))
        ledger.explore(sources, layers, size)
        return self._first_of(ledger, ledger.size, self.within)

    def keep(self, kept: np.ndarray) -> "StateSpace":
        """The space with only the states where `kept` (N,) is true; or those at places (K,), in that order.

        `ValueError` if `kept` is neither, or holds a place twice.
        """
        kept = np.asarray(kept)
        places = np.flatnonzero(kept) if kept.dtype == bool else kept
        if kept.dtype == bool and kept.shape != (len(self),):
            raise ValueError(f"kept must say True or False for each of {len(self)} states, not be of shape {kept.shape}")
        if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
            raise ValueError(f"kept must be {len(self)} times True or False, or places of states, not {kept.dtype} of shape {kept.shape}")
        if places.size and not 0 <= places.min() <= places.max() < len(self):
            raise ValueError(f"kept names the place {next(i for i in places if not 0 <= i < len(self))}; there are {len(self)} states")
        if kept.dtype != bool and places.size and np.bincount(places).max() > 1:
            raise ValueError(f"kept names the place {np.bincount(places).argmax()} more than once")
        places = places.astype(np.int64, copy=False)
        return self._first_of(self._ledger.selected(places, len(self)), len(places), self.within)

    def forget(self) -> None:
        """Give back the memory of what is known of the states, until it is asked for again."""
        if self._known is not None:
            self._known.forget()

    def under(self, network: Network) -> "StateSpace":
        """The same states for another network over the same species."""
        if network is self.compiled.network:
            return self
        if network.species_names != self.compiled.network.species_names:
            raise ValueError(f"the state space is over {self.compiled.network.species_names}, the network over {network.species_names}")
        compiled = Compiled(network)
        if self.box is not None or _same_jumps(compiled, self.compiled):
            return StateSpace(self.states, compiled, self.upper, self.key, self.within, None if self.box else self._known, self.box)
        return self._build(self.states, compiled, self.upper, _key(network, self.states), self.within)

    def index(self, states: np.ndarray) -> np.ndarray:
        """The position of each of the given states (K, S), -1 where it is not kept; `ValueError` if these are no counts."""
        wanted = _check_states(self.compiled.network, np.atleast_2d(states))
        wanted = np.ascontiguousarray(wanted, dtype=np.int64)
        return self._ledger.index(wanted, len(self)) if self.box is None else self.box.index(wanted)

    def transitions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The generator's columns as CSC arrays (pointer, row, rate) with the diagonal, and the leak (N,) out of the set.

        Rows are in order and there once, unless reactions draw numbers of molecules. Most of it is known from the search: what the
        states lead to that were visited by `grow`, or by an earlier call, is not computed again.
        """
        return self._ledger.columns(len(self))

    def spread(self, places: np.ndarray, flow: np.ndarray, outside: int, slow: float = -1.0) -> np.ndarray:
        """What the states from `outside` on get, (N - outside,), of probability (K,) in the states (K,) that `grow` was last given.

        It makes one jump: it is divided as the propensities are, with the rate `slow` for what stays where it is. If that is negative, all
        goes to those states. Not for networks whose reactions draw numbers of molecules.
        """
        return self._ledger.spread(places, flow, outside, slow)

    def outcomes(self, reaction: int, fires: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where a reaction that does not change the counts by the same numbers each time leads from the states where it fires, (N,).

        Returns the places from and to (-1: out of the set), the probability, and the status of each state, 0 if nothing is wrong.
        """
        assert isinstance(self._ledger, RandomLedger)
        return self._ledger.outcomes(reaction, fires)

    def __len__(self) -> int:
        return len(self.states)

    def __repr__(self) -> str:
        return f"StateSpace: {len(self)} states of {', '.join(self.compiled.network.species_names)}"


def _check_states(network: Network, states) -> np.ndarray:
    """States as an array of whole numbers (K, S)."""
    try:
        found = np.asarray(states)
    except ValueError:  # rows of different lengths
        found = np.empty(0)
    if found.ndim != 2 or found.shape[1] != len(network.species):
        counted = ", ".join(network.species_names)
        raise ValueError(
            f"states must be an array of shape (K, {len(network.species)}), with columns {counted}, not of shape {found.shape}"
        )
    if found.dtype.kind not in "iu":
        wrong = found[found != np.round(found)] if found.dtype.kind == "f" else found.ravel()  # nan is not equal to itself
        if wrong.size:
            raise ValueError(f"states must be whole numbers of molecules, not {wrong[0]!s}")
    if (large := np.abs(found) >= 2.0**63 if found.dtype.kind == "f" else found > UNBOUNDED).any():  # int64 would hold another number
        raise ValueError(f"states must be counts below 2^63, not {found[large][0]!s}")
    return found


def _key(network: Network, states: np.ndarray) -> np.ndarray:
    """The species that identify a state among those reachable from `states`."""
    independent = np.array(independent_species(network), dtype=np.int64)
    if len(states) > 1 and np.any(conservation_laws(network) @ (states - states[0]).T):
        changed = np.zeros(states.shape[1], dtype=bool)  # in a class of states, and between classes
        changed[network.changed_species[1]] = True
        return np.flatnonzero(changed | np.any(states != states[0], axis=0))
    return independent


def _ledger_of(states: np.ndarray, compiled: Compiled, upper: np.ndarray, key: np.ndarray, within: Condition | None) -> Ledger:
    if compiled.network.varying:
        return RandomLedger(compiled, states, key, upper)
    return Ledger(compiled, states, key, upper, None if callable(within) else within)


def _same_jumps(one: Compiled, other: Compiled) -> bool:
    """Do two networks lead from the same states to the same ones at the same rates?"""
    a, b = one.network, other.network
    names = [reaction.name for reaction in a.reactions] == [reaction.name for reaction in b.reactions]
    same = names and not a.varying and not b.varying and one.propensity_formulas == other.propensity_formulas
    return same and all(map(np.array_equal, a.sparse_stoichiometry, b.sparse_stoichiometry))


def _too_many(max_states: int) -> errors.ConvergenceError:
    return errors.ConvergenceError(
        f"more than max_states={max_states} states can be reached from the initial state (perhaps infinitely many); "
        "give bounds={species: largest count} or within='a condition', raise max_states, or use fsp, which finds the states that matter"
    )


def _read(network: Network, within: str | Callable | None) -> Condition | None:
    """The condition with only species left in it."""
    if isinstance(within, str):
        return network_condition(network, within, "within", "a set of states is one for all times")
    if within is not None and not callable(within):
        raise TypeError(f"within must be a formula such as 'U + V <= 100', or a function of states (N, S), not {within!r}")
    return within


def _holds(condition: Condition, network: Network, states: np.ndarray) -> np.ndarray:
    """Which of the states (N, S) fulfil a condition, (N,)."""
    if not callable(condition):
        values = {name: column.astype(np.float64) for name, column in zip(network.species_names, states.T, strict=True)}
        return np.broadcast_to(ratelaw.evaluate(condition, values), len(states)) != 0
    found = np.asarray(condition(states.copy()))
    if found.shape != (len(states),) or found.dtype != bool:
        raise ValueError(f"within must say True or False for each of {len(states)} states, not {found.dtype} of shape {found.shape}")
    return found
