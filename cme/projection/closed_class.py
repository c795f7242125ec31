"""The classes of communicating states in a finite set: which is closed, and what only leads out of the set."""

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
ROOM = 80_000  # states that are looked through, at least, for a way back


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
    """

    members: np.ndarray
    matrix: sp.csc_array
    leak: np.ndarray
    away: np.ndarray
    dead_ends: np.ndarray

    @classmethod
    def of(cls, generator: Generator) -> "ClosedClass":
        """Find it; `ModelError` if there are several that nothing leaves."""
        matrix = generator.sparse("the stationary law")
        n_classes, label = connected_components(matrix.T, directed=True, connection="strong")
        if n_classes == 1:
            everyone, none = np.arange(len(generator)), np.zeros(len(generator))
            return cls(everyone, matrix, generator.leak, none, np.zeros(0, dtype=np.int64))
        links = matrix.tocoo()
        crossing = (label[links.row] != label[links.col]) & (links.data > 0)
        ends = np.ones(n_classes, dtype=bool)  # no jump leads to another class in the set
        ends[label[links.col[crossing]]] = False
        leaks = np.zeros(n_classes, dtype=bool)
        leaks[label[generator.leak > 0]] = True
        size = np.bincount(label)
        # At the rim of a truncated set there are dead ends from which the way back leads through states that are not kept.
        closed, open_ = np.flatnonzero(ends & ~leaks), np.flatnonzero(ends & leaks)
        if len(closed) > 1:
            raise not_unique(generator.names, *(generator.states[np.argmax(label == c)] for c in closed[:2]))
        large = open_[size[open_] > LARGE * len(generator)]
        chosen = closed[0] if len(closed) else large[np.argmax(size[large])] if len(large) else np.argmax(size)
        if chosen not in closed and chosen not in open_ and size[open_].max(initial=0) > FEW * np.sqrt(len(generator)):
            chosen = label[late_state(matrix)]  # some species may have died out there, and others live on
        _, first = np.unique(label, return_index=True)
        members = np.flatnonzero(label == chosen)
        away = np.bincount(links.col[crossing], weights=links.data[crossing], minlength=len(generator))[members]
        block = sp.csc_array(matrix[members][:, members])
        return cls(members, block, generator.leak[members] + away, away, first[open_[open_ != chosen]])

    @property
    def closed_matrix(self) -> sp.csc_array:
        """The same without the jumps that leave: columns sum to zero."""
        if not np.any(self.leak > 0):
            return self.matrix
        closed = self.matrix.copy()
        closed.setdiag(closed.diagonal() + self.leak)
        return closed


def check_dead_ends(network: Network, space: StateSpace, home: np.ndarray, dead_ends: np.ndarray) -> None:
    """From every class that only leads out of the set there must be a way back to the law that was found."""
    budget = max(4 * len(space), ROOM)
    lost_ones = space.states[dead_ends]
    while len(lost_ones):
        larger = space.grow(space.index(lost_ones), size=2 * len(space))
        jumps = Generator.from_network(network, larger).sparse("the stationary law")
        back = breadth_first_order(jumps, int(larger.index(home)[0]), return_predecessors=False)  # against the jumps
        lost_ones = lost_ones[~np.isin(larger.index(lost_ones), back)]
        if len(lost_ones) and (len(larger) == len(space) or len(larger) > budget):
            raise not_unique(network.species_names, home, lost_ones[0])
        space = larger


def not_unique(names: tuple[str, ...], one: np.ndarray, other: np.ndarray) -> ModelError:
    return ModelError(
        f"the stationary law is not unique: {describe_state(names, one)} and {describe_state(names, other)} can both be reached, and "
        "no way was found from the second to the first; where it ends depends on chance and start: closed_classes gives the chance of each "
        "end and the law there, fsp the law at a late time"
    )
