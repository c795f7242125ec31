"""The classes of communicating states in a finite set: which is closed, and what only leads out of the set."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components

from cme.errors import ModelError, describe_state
from cme.generator import Generator
from cme.network import Network
from cme.projection.null_vector import late_state
from cme.states import StateSpace

LARGE = 0.05  # a part of the states that is more than the rim
FEW = 0.25  # times the root of their number: so many may be rim, or all that is left when a species has died out
PART = 2**17  # columns of a matrix that are looked at together
ROOM = 80_000  # states that are looked through, at least, for a way back, where jumps lead to few others


@dataclass(frozen=True)
class ClosedClass:
    """The one closed communicating class of a generator, as far as it lies in the kept states.

    Attributes
    ----------
    members : (K,)
        Places of its states.
    matrix : (K, K)
        Rates between them, with minus the total rate to other states, in or out of the kept set, on the diagonal.
    leak : (K,)
        Rates to all states that are no members.
    away : (K,)
        Those of them to kept states, from which no way leads back in the set.
    dead_ends
        A state of each other class from which no way leads on but out of the kept set.
    ways
        The jumps from members to kept states that are no members: places of these, and of the members among the members, and rates.
    largest_rate : float
        Out of any kept state.
    states : (N, S)
        Those of the whole set.
    """

    members: np.ndarray
    matrix: sp.csc_array
    leak: np.ndarray
    away: np.ndarray
    dead_ends: np.ndarray
    ways: tuple[np.ndarray, np.ndarray, np.ndarray]
    largest_rate: float
    states: np.ndarray

    @classmethod
    def of(cls, generator: Generator, *, speed: float = 1.0, late: bool = False) -> "ClosedClass":
        """Find it; `ModelError` if there are several that nothing leaves. What is found does not hold the generator.

        Some states may be left so many times (`speed`) as fast as the others. If `late`, the largest class is known to be left for
        others: what is found is where the process is late, however few states that are.
        """
        matrix = generator.sparse("the stationary law")
        n_classes, label = connected_components(matrix.T, directed=True, connection="strong")
        if n_classes == 1:
            everyone, nothing = np.arange(len(generator)), np.zeros(0, dtype=np.int64)
            none, ways = np.zeros(len(generator)), (nothing, nothing, np.zeros(0))
            return cls(everyone, matrix, generator.leak, none, nothing, ways, generator.largest_rate, generator.states)
        row, col, rate = _crossing(matrix, label)
        ends = np.ones(n_classes, dtype=bool)  # no jump leads to another class in the set
        ends[label[col]] = False
        leaks = np.zeros(n_classes, dtype=bool)
        leaks[label[generator.leak > 0]] = True
        size = np.bincount(label)
        # At the rim of a truncated set there are dead ends from which the way back leads through states that are not kept.
        closed, open_ = np.flatnonzero(ends & ~leaks), np.flatnonzero(ends & leaks)
        if len(closed) > 1:
            raise not_unique(generator.names, *(generator.states[np.argmax(label == c)] for c in closed[:2]))
        large = open_[size[open_] > LARGE * len(generator)]
        chosen = closed[0] if len(closed) else large[np.argmax(size[large])] if len(large) else np.argmax(size)
        rim = 0.0 if late else FEW * np.sqrt(len(generator))
        if chosen not in closed and chosen not in open_ and size[open_].max(initial=0) > rim:
            chosen = label[late_state(matrix, speed)]  # some species may have died out there, and others live on
        _, first = np.unique(label, return_index=True)
        members = np.flatnonzero(label == chosen)
        away = np.bincount(col, weights=rate, minlength=len(generator))[members].astype(np.float64)
        block, leak, ours = _among(matrix, label == chosen), generator.leak[members] + away, label[col] == chosen
        ways = row[ours], np.searchsorted(members, col[ours]), rate[ours]
        others = first[open_[open_ != chosen]]
        return cls(members, block, leak, away, others, ways, generator.largest_rate, generator.states)

    @property
    def member_states(self) -> np.ndarray:
        return self.states if len(self.members) == len(self.states) else self.states[self.members]

    @property
    def closed_matrix(self) -> sp.csc_array:
        """The same without the jumps that leave: columns sum to zero."""
        if not np.any(self.leak > 0):
            return self.matrix
        closed = self.matrix.copy()
        closed.setdiag(closed.diagonal() + self.leak)
        return closed


def _parts(matrix: sp.csc_array) -> Iterator[tuple[int, slice, np.ndarray]]:
    """Columns by parts, since lists of all entries would need more memory than the matrix: the first, the entries, their columns."""
    for first in range(0, matrix.shape[1], PART):
        pointer = matrix.indptr[first : first + PART + 1]
        yield first, slice(pointer[0], pointer[-1]), np.repeat(np.arange(first, first + len(pointer) - 1), np.diff(pointer))


def _crossing(matrix: sp.csc_array, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The entries (row, column, rate) above zero between states of different labels."""
    found = []
    for _, entries, col in _parts(matrix):
        row, rate = matrix.indices[entries], matrix.data[entries]
        crossing = np.flatnonzero((label[row] != label[col]) & (rate > 0))
        found.append((row[crossing].astype(np.int64), col[crossing], rate[crossing]))
    row, col, rate = map(np.concatenate, zip(*found, strict=True))
    return row, col, rate


def _among(matrix: sp.csc_array, member: np.ndarray) -> sp.csc_array:
    """The entries between members."""
    place, n_members = np.cumsum(member, dtype=matrix.indices.dtype) - 1, int(np.count_nonzero(member))
    index, rate = np.empty(matrix.nnz, dtype=matrix.indices.dtype), np.empty(matrix.nnz)
    count, filled = np.zeros(matrix.shape[1], dtype=np.int64), 0
    for first, entries, col in _parts(matrix):
        row = matrix.indices[entries]
        kept = member[row] & member[col]
        more = int(np.count_nonzero(kept))
        index[filled : filled + more], rate[filled : filled + more] = place[row[kept]], matrix.data[entries][kept]
        length = np.bincount(col[kept] - first)
        count[first : first + len(length)] = length
        filled += more
    pointer = np.append(0, np.cumsum(count[member])).astype(matrix.indptr.dtype)
    return sp.csc_array((rate[:filled], index[:filled], pointer), shape=(n_members, n_members))


def check_dead_ends(network: Network, space: StateSpace, home: np.ndarray, dead_ends: np.ndarray) -> None:
    """From every class that only leads out of the set there must be a way back to the law that was found."""
    budget = max(4 * len(space), 0 if network.varying else ROOM)  # drawn numbers lead from a state to nearly all others
    lost_ones, n_first = space.states[dead_ends], len(space)
    while len(lost_ones):
        sources = np.append(space.index(lost_ones), np.arange(n_first, len(space)))  # and what they led to, so that the search goes on
        larger = space.grow(sources, size=min(2 * len(space), budget))
        jumps = Generator.from_network(network, larger).sparse("the stationary law")
        back = breadth_first_order(jumps, int(larger.index(home)[0]), return_predecessors=False)  # against the jumps
        lost_ones = lost_ones[~np.isin(larger.index(lost_ones), back)]
        if len(lost_ones) and (len(larger) == len(space) or len(larger) >= budget):
            raise not_unique(network.species_names, home, lost_ones[0])
        space = larger


def not_unique(names: tuple[str, ...], one: np.ndarray, other: np.ndarray) -> ModelError:
    return ModelError(
        f"the stationary law is not unique: {describe_state(names, one)} and {describe_state(names, other)} can both be reached, and "
        "no way was found from the second to the first; where it ends depends on chance and start: closed_classes gives the chance of each "
        "end and the law there, fsp the law at a late time"
    )
