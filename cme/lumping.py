"""Lumping: when a Markov chain on groups of states is itself a Markov chain, and the fewest groups for which it is.

A partition with indicator matrix C (levels x states) is strongly lumpable if C A = A_L C for some A_L: the total rate into each level
is the same from every state of a level. Then the level probabilities C p obey their own master equation with the generator A_L.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cme.abilities import require
from cme.compiled import Compiled
from cme.errors import ModelError, describe_state
from cme.generator import Generator
from cme.network import Network
from cme.states import StateSpace

TOLERANCE = 1e-10  # rates are the same if they differ by less than this part of the largest rate


class Defect(NamedTuple):
    """By how much a partition fails to be lumpable.

    `size` is the largest difference of two rates that should be equal; `level` is where they lead, `states` the two states.
    """

    size: float
    level: int
    states: tuple[int, int]


@dataclass(frozen=True, eq=False, repr=False)
class Lumping:
    """A strongly lumpable partition of N states into L levels.

    Attributes
    ----------
    generator : Generator
        A_L on the levels. Its states are what all states of a level have in common.
    labels : (N,)
        The level of each state.
    """

    generator: Generator
    labels: np.ndarray

    def lump(self, p: np.ndarray) -> np.ndarray:
        """Level probabilities C p, (..., L), from state probabilities (..., N)."""
        return np.asarray(p, dtype=np.float64) @ _indicator(self.labels).T

    @property
    def sizes(self) -> np.ndarray:
        """The number of states in each level, (L,)."""
        return np.bincount(self.labels)

    def __repr__(self) -> str:
        n_states, n_levels = len(self.labels), len(self.generator)
        return f"Lumping: {n_states} states in {n_levels} levels, {n_states / n_levels:.3g} times fewer"


def lump(
    system: Network | Generator, partition: np.ndarray | None = None, *, keep: Sequence[str] | None = None, space: StateSpace | None = None
) -> Lumping:
    """Lump a Markov chain, by a given partition or by the coarsest that keeps some species apart.

    Parameters
    ----------
    system
        A generator, or a network, whose reachable states are enumerated first.
    partition : (N,)
        The level of each state, 0, 1, ..., L-1.
    keep
        Names of columns of the states (species) whose values must not be mixed: the coarsest lumpable partition that tells them
        apart is found. Give this or `partition`; for a network, observables may be named as well.
    space
        The states of the network to keep; all that can be reached by default.

    Returns
    -------
    Lumping
        With the states of its generator being the values of `keep` where that is given.

    Raises
    ------
    ModelError
        If the given partition is not strongly lumpable: the message names two states of a level and the rates that differ.

    Notes
    -----
    The coarsest partition is found by refinement: levels are split until every state of a level has the same total rate into each
    level (Derisavi, Hermanns and Sanders 2003). Networks with identical gene copies or indistinguishable sites shrink a lot.

    References
    ----------
    J. G. Kemeny and J. L. Snell, Finite Markov Chains (1960), section 6.3. S. Derisavi, H. Hermanns and W. H. Sanders, Inf. Process.
    Lett. 87, 309 (2003), doi:10.1016/S0020-0190(03)00343-0.

    Examples
    --------
    Two gene copies, each on or off, seen only through the number that is on:

    >>> import cme
    >>> genes = cme.parse("A <-> a @ 1, 2; B <-> b @ 1, 2; A = 1; B = 1; on := A + B")
    >>> cme.lump(genes, keep=["on"])
    Lumping: 4 states in 3 levels, 1.33 times fewer
    """
    if (partition is None) == (keep is None):
        raise ValueError("give the partition, or the names whose values to keep apart, not both")
    if isinstance(system, Network):
        require(system, "lump")
    generator = system if isinstance(system, Generator) else Generator.from_network(system, space)
    if keep is None:
        labels = _check_partition(partition, len(generator))
        defect = lumping_defect(generator, labels)
        if defect.size > TOLERANCE * max(generator.largest_rate, 1e-300):
            first, second = (describe_state(generator.names, generator.states[n]) for n in defect.states)
            raise ModelError(
                f"the partition is not lumpable: from {first} and from {second}, both of level {labels[defect.states[0]]}, the rates into "
                f"level {defect.level} differ by {defect.size:.6g}; split that level, or let keep= find the coarsest lumping"
            )
        return Lumping(_on_levels(generator, labels, np.arange(labels.max() + 1)[:, None], ("level",)), labels)
    values = np.column_stack([_column(system, generator, name) for name in keep]) if keep else np.zeros((len(generator), 0))
    labels = coarsest_lumping(generator, values)
    first_of = np.unique(labels, return_index=True)[1]
    return Lumping(_on_levels(generator, labels, values[first_of], tuple(keep)), labels)


def lumping_defect(generator: Generator, partition: np.ndarray) -> Defect:
    """How far a partition (N,) is from strongly lumpable: zero if all states of a level have the same rate into each level."""
    labels = _check_partition(partition, len(generator))
    into = sp.csr_array(_indicator(labels) @ generator.sparse("the lumping test"))  # (L, N): rates from each state into each level
    order = np.argsort(labels, kind="stable")
    first = np.flatnonzero(np.diff(labels[order], prepend=-1))
    worst = Defect(0.0, 0, (0, 0))
    rows = max(1, 4_000_000 // len(labels))  # so many levels at a time
    for block in range(0, into.shape[0], rows):
        dense = into[block : block + rows].toarray()[:, order]
        spread = np.maximum.reduceat(dense, first, axis=1) - np.minimum.reduceat(dense, first, axis=1)
        to, level = np.unravel_index(np.argmax(spread), spread.shape)
        if spread[to, level] > worst.size:
            members = order[labels[order] == level]
            column = dense[to][labels[order] == level]
            states = int(members[np.argmin(column)]), int(members[np.argmax(column)])
            worst = Defect(float(spread[to, level]), block + int(to), states)
    return worst


def coarsest_lumping(generator: Generator, values: np.ndarray | None = None) -> np.ndarray:
    """The level of each state in the coarsest strongly lumpable partition that keeps different `values` (N, K) apart, (N,)."""
    matrix = generator.sparse("the coarsest lumping")
    scale = max(generator.largest_rate, 1e-300)
    kept = np.zeros((len(generator), 1)) if values is None or values.shape[1] == 0 else np.asarray(values, dtype=np.float64)
    labels = np.unique(np.column_stack([kept, np.round(generator.leak / (TOLERANCE * scale))]), axis=0, return_inverse=True)[1].ravel()
    random = np.random.default_rng(0)
    quiet = 0
    while quiet < 3:
        # States of a level stay together if their total rates into every level agree. A random number for each level turns those
        # totals into one number; different totals give the same number with probability zero.
        weight = random.uniform(0.5, 1.5, size=labels.max() + 1)
        signature = np.asarray(matrix.T @ weight[labels]).ravel()
        finer = _split(labels, signature, TOLERANCE * scale)
        quiet = quiet + 1 if finer.max() == labels.max() else 0
        labels = finer
    return labels


def _split(labels: np.ndarray, signature: np.ndarray, tolerance: float) -> np.ndarray:
    """Split levels where sorted signatures leave a gap wider than the tolerance."""
    order = np.lexsort((signature, labels))
    new_level = np.ones(len(labels), dtype=bool)
    new_level[1:] = (np.diff(labels[order]) != 0) | (np.diff(signature[order]) > 10 * tolerance)
    finer = np.empty(len(labels), dtype=np.int64)
    finer[order] = np.cumsum(new_level) - 1
    return finer


def _on_levels(generator: Generator, labels: np.ndarray, states: np.ndarray, names: tuple[str, ...]) -> Generator:
    """A_L: the column of a level is that of any of its states, here of their mean."""
    c = _indicator(labels)
    spread = c.T @ sp.diags_array(1.0 / np.bincount(labels))
    matrix = sp.csc_array(c @ generator.matrix @ spread)
    leak = np.asarray(generator.leak @ spread).ravel()
    return Generator(matrix, leak, states, names)


def _indicator(labels: np.ndarray) -> sp.csr_array:
    n_states = len(labels)
    return sp.csr_array((np.ones(n_states), (labels, np.arange(n_states))), shape=(labels.max() + 1, n_states))


def _check_partition(partition, n_states: int) -> np.ndarray:
    labels = np.asarray(partition)
    if labels.shape != (n_states,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"a partition must give a whole number for each of the {n_states} states, not {labels.dtype} of shape {labels.shape}"
        )
    if labels.min(initial=0) < 0 or len(np.unique(labels)) != labels.max(initial=-1) + 1:
        raise ValueError("the levels of a partition must be numbered 0, 1, ..., L-1 without gaps")
    return labels.astype(np.int64)


def _column(system: Network | Generator, generator: Generator, name: str) -> np.ndarray:
    if name in generator.names:
        return generator.states[:, generator.names.index(name)]
    if isinstance(system, Network) and name in system.observables:
        return Compiled(system).observable(name, generator.states)
    known = [*generator.names, *(system.observables if isinstance(system, Network) else ())]
    raise ValueError(f"keep names {name!r}; there are {', '.join(known)}")
