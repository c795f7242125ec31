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

TOLERANCE = 1e-10  # rates are the same if they differ by less than this part of the larger one


class Defect(NamedTuple):
    """Where a partition fails most to be lumpable.

    `size` is the difference of two rates that should be equal, as a part of the larger: 0 if the partition is lumpable, 1 at most.
    `level` is where they lead (the number of levels stands for all that is not kept), `states` are where from, `rates` the two.
    """

    size: float
    level: int
    states: tuple[int, int]
    rates: tuple[float, float]


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
    require(system, "lump")
    if space is not None and not isinstance(system, Network):
        raise ValueError("a generator has its states already; leave out space")
    generator = system if isinstance(system, Generator) else Generator.from_network(system, space)
    if keep is None:
        labels = _check_partition(partition, len(generator))
        defect = lumping_defect(generator, labels)
        if defect.size > TOLERANCE:
            first, second = (describe_state(generator.names, generator.states[n]) for n in defect.states)
            where = "out of the kept states" if defect.level > labels.max() else f"into level {defect.level}"
            raise ModelError(
                f"the partition is not lumpable: from {first} and from {second}, both of level {labels[defect.states[0]]}, the rates "
                f"{where} are {defect.rates[0]:.6g} and {defect.rates[1]:.6g}; split that level, or let keep= find the coarsest lumping"
            )
        return Lumping(_on_levels(generator, labels, np.arange(labels.max() + 1)[:, None], ("level",)), labels)
    values = np.column_stack([_column(system, generator, name) for name in keep]) if keep else np.zeros((len(generator), 0))
    labels = coarsest_lumping(generator, values)
    first_of = np.unique(labels, return_index=True)[1]
    return Lumping(_on_levels(generator, labels, values[first_of], tuple(keep)), labels)


def lumping_defect(generator: Generator, partition: np.ndarray) -> Defect:
    """Find how far a partition is from strongly lumpable: by how much rates into one level differ within another.

    Parameters
    ----------
    generator
        N states.
    partition : (N,)
        The level of each state, 0, 1, ..., L-1.

    Returns
    -------
    Defect
        The worst, relative to the rates themselves: slow rates count as much as fast ones.

    Examples
    --------
    >>> import cme
    >>> cme.lumping_defect(cme.Generator.from_rates([[0, 1, 2], [1, 0, 0], [3, 0, 0]]), [0, 1, 1])
    Defect(size=0.5, level=0, states=(1, 2), rates=(1.0, 2.0))
    """
    labels = _check_partition(partition, len(generator))
    into = sp.csr_array(_between_levels(generator, labels))
    order = np.argsort(labels, kind="stable")
    first = np.flatnonzero(np.diff(labels[order], prepend=-1))
    worst = Defect(0.0, 0, (0, 0), (0.0, 0.0))
    rows = max(1, 4_000_000 // len(labels))  # so many levels at a time
    for block in range(0, into.shape[0], rows):
        dense = into[block : block + rows].toarray()[:, order]
        most, least = np.maximum.reduceat(dense, first, axis=1), np.minimum.reduceat(dense, first, axis=1)
        size = (most - least) / np.where(most > 0, most, 1.0)
        to, level = np.unravel_index(np.argmax(size), size.shape)
        if size[to, level] > worst.size:
            members = order[labels[order] == level]
            column = dense[to][labels[order] == level]
            low, high = int(np.argmin(column)), int(np.argmax(column))
            states, rates = (int(members[low]), int(members[high])), (float(column[low]), float(column[high]))
            worst = Defect(float(size[to, level]), block + int(to), states, rates)
    return worst


def coarsest_lumping(generator: Generator, values: np.ndarray | None = None) -> np.ndarray:
    """Find the coarsest strongly lumpable partition that keeps different values apart.

    Parameters
    ----------
    generator
        N states.
    values : (N, K)
        What must not be mixed; None allows everything.

    Returns
    -------
    array
        The level of each state, (N,), numbered in the order of their first states.

    Examples
    --------
    >>> import cme
    >>> square = cme.Generator.from_rates([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
    >>> cme.coarsest_lumping(square, [[0], [1], [1], [2]]).tolist()
    [0, 1, 1, 2]
    """
    kept = np.zeros((len(generator), 1)) if values is None else np.asarray(values, dtype=np.float64).reshape(len(generator), -1)
    kept = kept if kept.shape[1] else np.zeros((len(generator), 1))
    if np.any(np.isnan(kept)):
        raise ValueError(f"the value to keep apart of state {int(np.argwhere(np.isnan(kept))[0, 0])} is nan; give each state a number")
    labels = np.unique(kept, axis=0, return_inverse=True)[1].ravel()
    random = np.random.default_rng(0)
    while True:
        finer = _split(labels, _between_levels(generator, labels), random)
        if finer.max() == labels.max():
            break
        labels = finer
    first = np.unique(labels, return_index=True)[1]
    return np.argsort(np.argsort(first))[labels]


def _between_levels(generator: Generator, labels: np.ndarray) -> sp.coo_array:
    """The rates from each state into each other level, (L + 1, N); the last row is what leaks.

    Rates within a level are left out: sums of the others are then sums of positive numbers, exact in relative terms.
    """
    jumps = generator.rates.tocoo()
    across = (labels[jumps.row] != labels[jumps.col]) & (jumps.data > 0)
    leaking, outside = np.flatnonzero(generator.leak > 0), labels.max() + 1
    to = np.append(labels[jumps.row[across]], np.full(len(leaking), outside))
    source, rate = np.append(jumps.col[across], leaking), np.append(jumps.data[across], generator.leak[leaking])
    found = sp.coo_array((rate, (to, source)), shape=(outside + 1, len(labels)))
    found.sum_duplicates()
    return found


def _split(labels: np.ndarray, into: sp.coo_array, random: np.random.Generator) -> np.ndarray:
    """Split levels whose states differ in a rate into some level."""
    to, source, rate = into.row, into.col, into.data
    order = np.lexsort((rate, labels[source], to))
    to, source, rate = to[order], source[order], rate[order]
    apart = np.ones(len(rate), dtype=bool)  # does a rate differ from the one before?
    apart[1:] = (np.diff(to) != 0) | (np.diff(labels[source]) != 0) | (np.diff(rate) > TOLERANCE * rate[1:])
    least = rate[np.maximum.accumulate(np.where(apart, np.arange(len(rate)), 0))]
    steps = np.floor((rate - least) / (TOLERANCE * least))  # rates that differ little from one to the next may differ much in the end
    apart[1:] |= np.diff(steps) != 0
    # A random number for each class of equal rates; states with the same sum have the same classes, but for a chance of 2^-64.
    number = random.integers(0, 2**64, size=int(apart.sum()), dtype=np.uint64)
    signature = np.zeros(len(labels), dtype=np.uint64)
    if len(rate):
        np.add.at(signature, source, number[np.cumsum(apart) - 1])
    order = np.lexsort((signature, labels))
    new_level = np.ones(len(labels), dtype=bool)
    new_level[1:] = (np.diff(labels[order]) != 0) | (signature[order][1:] != signature[order][:-1])
    finer = np.empty(len(labels), dtype=np.int64)
    finer[order] = np.cumsum(new_level) - 1
    return finer


def _on_levels(generator: Generator, labels: np.ndarray, states: np.ndarray, names: tuple[str, ...]) -> Generator:
    """A_L: the column of a level is that of any of its states, here of their mean."""
    mean = _indicator(labels).T @ sp.diags_array(1.0 / np.bincount(labels))
    into = sp.csr_array(_between_levels(generator, labels)) @ mean
    rates, leak = into[:-1], into[[-1]].toarray().ravel()
    out = np.asarray(rates.sum(axis=0)).ravel() + leak
    return Generator(sp.csc_array(rates - sp.diags_array(out)), leak, states, names)


def _indicator(labels: np.ndarray) -> sp.csr_array:
    n_states = len(labels)
    return sp.csr_array((np.ones(n_states), (labels, np.arange(n_states))), shape=(labels.max() + 1, n_states))


def _check_partition(partition, n_states: int) -> np.ndarray:
    try:
        labels = np.asarray(partition)
    except ValueError:  # lists of different lengths
        raise ValueError(f"a partition must give the level of each of the {n_states} states, and not the members of each level") from None
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
