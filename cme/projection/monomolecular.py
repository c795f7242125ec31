"""Monomolecular networks: the whole law at any time, from what a single molecule does and a few means (Jahnke and Huisinga)."""

from math import comb, inf, prod
from typing import NamedTuple

import numpy as np

from cme.errors import ConvergenceError, ModelError
from cme.first_order import NOTHING, FirstOrder, closed_groups, first_order
from cme.network import Network
from cme.projection.columns import (
    FAR,
    MOST_FAR,
    UNIT,
    Block,
    Column,
    Laws,
    binomial_column,
    check_cells,
    mixture,
    most_probable,
    poisson_column,
    together,
)

REFERENCE = "Jahnke and Huisinga 2007, doi:10.1007/s00285-006-0034-x"
MOST_MOLECULES = 10**12  # of one kind, whose probabilities double precision can still tell apart
FEW = 20_000  # states of which none is left out
EVERY = 16  # molecules after which improbable counts are left out
MOST_SPECIES = 300  # whose probabilities are found by squaring matrices
PATIENCE = 300.0  # products with a generator that projection is taken to need at least, where "auto" compares costs


def monomolecular(
    network: Network,
    times: np.ndarray,
    states: np.ndarray,
    weights: np.ndarray,
    tol: float,
    max_states: int,
    auto: bool,
    keep: list[int] | None = None,
) -> Laws | None:
    r"""Evaluate the law of a monomolecular network at times.

    .. math:: X(t) = \mathrm{Poisson}(\lambda(t)) + \sum_i \mathrm{Multinomial}(x_i(0), p^{(i)}(t))

    where a molecule of species i is one of species k after t with probability :math:`p^{(i)}_k`, and lambda are the means from nothing
    (theorem 1 of Jahnke and Huisinga).

    Returns
    -------
    Laws or None
        None if `auto` and projection is taken to be cheaper.

    Raises
    ------
    ModelError
        If some reaction is none of 0 -> A, A -> B, A -> 0 with constant rates.
    ConvergenceError
        If the law needs too many states.

    Notes
    -----
    Probabilities and means come from doubling the time, in extended precision where the machine has it: only products and sums of
    positive numbers, at a cost that grows with the logarithm of t. Then one molecule is added after the other, or all where they go
    one way, to a box of counts that moves with the law, also without subtraction: no probability is above the truth but for round-off,
    and what is missing from one has been left out. What rounding of p and lambda may do is estimated from the same in double precision:
    n molecules with a p that is off by d have a law that is off by 2 d sqrt(n / p) at most, since the squared Hellinger distance of
    independent molecules adds up.
    """
    channels = first_order(network, states)
    if not channels.is_monomolecular:
        raise ModelError(f"{network.name!r} is not monomolecular: a molecule makes several, or several come at once")
    if states.max(initial=0) > MOST_MOLECULES:
        raise ConvergenceError(f"{network.name!r} starts with {states.max()} molecules of a kind, which are too many")
    if len(channels.names) > MOST_SPECIES:
        raise ConvergenceError(f"{network.name!r} has more than {MOST_SPECIES} species")
    chain = _Molecule(channels)
    flights = [chain.after(float(t)) for t in times]
    groups = _Groups(channels, keep)
    if auto and not _is_cheaper(groups.one_by_one(flights[-1]), chain, flights, times, states):
        return None
    found = [[groups.law(flight, state, tol, max_states) for state in states] for flight in flights]
    laws = [mixture([block for block, _ in blocks], weights) for blocks in found]
    rounding = np.array([weights @ [rounded for _, rounded in blocks] for blocks in found])
    doubt = np.array([weights @ [flight.doubt(state) for state in states] for flight in flights])
    return Laws(laws, doubt + rounding, f"Poisson and multinomial laws ({REFERENCE})")


class Flight(NamedTuple):
    """What happens in a time: p[k, i] that a molecule of i is one of k afterwards, the last row that it is gone; means from nothing."""

    p: np.ndarray
    means: np.ndarray
    off_p: np.ndarray
    off_means: np.ndarray

    def doubt(self, start: np.ndarray) -> float:
        """How far the law may be off in the 1-norm, if p and the means are off by so much.

        For each kind, the less of two bounds: that of molecules of which some go another way, and that by the Hellinger distance H: the
        1-norm is at most sqrt(8) H, and H^2 at most n / 2 sum_k off_k^2 / p_k for n molecules, off^2 / (2 mean) for a Poisson law.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(self.off_p > 0, self.off_p**2 / self.p, 0.0).sum(axis=0)
            steep = np.where(self.off_means > 0, self.off_means / np.sqrt(self.means), 0.0)
        molecules = np.minimum(start * self.off_p.sum(axis=0), np.sqrt(start * spread))
        return 2 * float(molecules.sum() + np.minimum(self.off_means, steep).sum())


class _Molecule:
    """The Markov chain of a single molecule, and what comes from nothing."""

    def __init__(self, channels: FirstOrder):
        n = len(channels.names)
        self.rates, self.inflow = np.zeros((n + 1, n)), np.zeros(n)
        for source, rate, offspring in zip(channels.source, channels.rate, channels.offspring, strict=True):
            to = int(offspring.argmax()) if offspring.any() else n
            if source == NOTHING:
                self.inflow[to] += rate
            elif to != source:
                self.rates[to, source] += rate
        self.out = self.rates.sum(axis=0)

    def after(self, t: float) -> Flight:
        """What has happened after t."""
        fine, coarse = self._doubled(t, np.longdouble), self._doubled(t, np.float64)
        p, means = (each.astype(np.float64) for each in fine)
        off_p, off_means = (np.abs(a - b).astype(np.float64) + UNIT * b for a, b in zip(fine, coarse, strict=True))
        return Flight(p, means, off_p.astype(np.float64), off_means.astype(np.float64))

    def _doubled(self, t: float, kind: type) -> tuple[np.ndarray, np.ndarray]:
        """The same by doubling a time in which little happens; each matrix has columns that sum to one."""
        n, fastest = len(self.inflow), float(self.out.max(initial=0.0))
        if fastest * t == 0:
            return np.eye(n + 1, n, dtype=kind), self.inflow.astype(kind) * kind(t)
        doublings = max(0, int(np.ceil(np.log2(fastest * t))) + 1)
        h, q = kind(t) / kind(2) ** doublings, kind(fastest)
        step: np.ndarray = np.zeros((n + 1, n + 1), dtype=kind)
        step[:, :n] = self.rates.astype(kind) / q
        step[np.arange(n), np.arange(n)] += 1 - self.out.astype(kind) / q
        step[n, n] = 1
        inflow = np.append(self.inflow.astype(kind), kind(0))
        shares = [np.exp(-q * h)]
        while shares[-1] > np.finfo(kind).eps / 64:
            shares.append(shares[-1] * q * h / len(shares))
        p: np.ndarray = np.zeros_like(step)
        means: np.ndarray = np.zeros_like(inflow)
        power: np.ndarray = np.eye(n + 1, dtype=kind)
        moved = inflow
        for k, share in enumerate(shares):
            p += share * power
            means += sum(shares[k + 1 :], start=kind(0)) / q * moved
            power, moved = step @ power, step @ moved
        p /= p.sum(axis=0)
        for _ in range(doublings):
            means = means + p @ means
            p = p @ p
            p /= p.sum(axis=0)
        return p[:, :n], means[:n]


class _Groups:
    """Species that turn into each other; different groups are independent. A group that keeps its total needs one count less."""

    def __init__(self, channels: FirstOrder, keep: list[int] | None):
        label, keeps = closed_groups(channels)
        self._members = [np.flatnonzero(label == g) for g in range(len(keeps))]
        self._n_species = len(channels.names)
        self._wanted = list(range(self._n_species)) if keep is None else keep
        wanted = np.isin(np.arange(self._n_species), self._wanted)
        self._keeps = [bool(kept and wanted[members].all()) for members, kept in zip(self._members, keeps, strict=True)]
        self._axes = [members[:-1] if kept else members[wanted[members]] for members, kept in zip(self._members, self._keeps, strict=True)]

    def one_by_one(self, flight: Flight) -> np.ndarray:
        """Are the molecules of a species added one after the other, (n,)? All of them at once where they count on one axis at most."""
        free = np.array([axis for axes in self._axes for axis in axes], dtype=np.int64)
        return np.count_nonzero(flight.p[free], axis=0) > 1

    def law(self, flight: Flight, start: np.ndarray, tol: float, max_states: int) -> tuple[Block, float]:
        """The law of the wanted counts from one start, and what rounding may have made of it."""
        axes, n_axes = self._axes, sum(map(len, self._axes))
        far = n_axes == 1 and len(start) <= 2 and start.sum() + flight.means.sum() < min(MOST_FAR, max_states) / 100
        few = self._n_states(start) <= FEW
        tail = 0.0 if few else FAR if far else 0.1 * tol / max(n_axes, 1)
        boxes = [self._group(flight, start, members, free, tail, max_states) for members, free in zip(self._members, axes, strict=True)]
        found, p = together([box.block() for box in boxes], 0.0 if far or few else 0.4 * tol, max_states)
        states = np.zeros((len(p), self._n_species), dtype=np.int64)
        done = 0
        for members, free, keeps in zip(self._members, axes, self._keeps, strict=True):
            states[:, free] = found[:, done : done + len(free)]
            if keeps:
                states[:, members[-1]] = start[members].sum() - found[:, done : done + len(free)].sum(axis=1)
            done += len(free)
        return Block(states[:, self._wanted], p), sum(box.rounding for box in boxes) + 8 * UNIT

    def _n_states(self, start: np.ndarray) -> float:
        """How many states all conserved totals leave."""
        sizes = [comb(int(start[members].sum()) + len(members) - 1, len(members) - 1) for members in self._members]
        return float(prod(sizes)) if all(self._keeps) else inf

    def _group(self, flight: Flight, start, members: np.ndarray, free: np.ndarray, tail: float, max_states: int) -> "_Box":
        """The law of the counts of a group."""
        box = _Box(len(free), tail, max_states)
        for i in members[start[members] > 0]:
            rest = float(np.delete(flight.p[:, i], free).sum())
            box.add_molecules(int(start[i]), flight.p[free, i], rest)
        for axis, mean in enumerate(flight.means[free]):
            box.add_count(axis, poisson_column(float(mean), tail))
        return box


class _Box:
    """A law of a few counts on a box that moves with it. What is left out at its sides is lost; nothing is ever too much."""

    def __init__(self, n_axes: int, tail: float, max_states: int):
        self.low, self.p = np.zeros(n_axes, dtype=np.int64), np.ones((1,) * n_axes)
        self._tail, self._max_states, self.rounding = tail, max_states, 0.0

    def add_molecules(self, n: int, p: np.ndarray, rest: float) -> None:
        """Add n molecules, each of which is on axis k with probability p[k], and on none with `rest`."""
        ways = np.flatnonzero(p > 0)
        if len(ways) == 0 or n == 0:
            return
        if len(ways) == 1:
            axis = int(ways[0])
            self.add_count(axis, binomial_column(n, float(p[axis]), rest, self._tail))
            return
        self.rounding += UNIT * n * (len(ways) + 2)
        for k in range(1, n + 1):
            check_cells(float(np.prod([float(size + 1) for size in self.p.shape])), self._max_states)
            larger = np.zeros([size + int(p[axis] > 0) for axis, size in enumerate(self.p.shape)])
            here = tuple(slice(0, size) for size in self.p.shape)
            if rest > 0:
                larger[here] += rest * self.p
            for axis in ways.tolist():
                moved = list(here)
                moved[axis] = slice(1, self.p.shape[axis] + 1)
                larger[tuple(moved)] += p[axis] * self.p
            self.p = larger
            if k % EVERY == 0 or k == n:
                for axis in range(self.p.ndim):
                    self._trim(axis, self._tail * EVERY / (2 * n) if n > EVERY else self._tail)

    def add_count(self, axis: int, column: Column) -> None:
        """Add an independent count to one axis."""
        first, p, rounding = column
        self.rounding += rounding + UNIT * (min(len(p), self.p.shape[axis]) + 2)
        if len(p) > 1 or p[0] != 1:
            before = np.moveaxis(self.p, axis, 0)
            sizes = [float(size) for size in before.shape[1:]]
            check_cells(float(np.prod(sizes)) * (len(p) + len(before)), self._max_states)
            places = np.subtract.outer(np.arange(len(p) + len(before) - 1), np.arange(len(before)))
            mix = np.where((places >= 0) & (places < len(p)), p[np.clip(places, 0, len(p) - 1)], 0.0)
            after = mix @ before.reshape(len(before), -1)
            self.p = np.moveaxis(after.reshape(-1, *before.shape[1:]), 0, axis)
            self._trim(axis, self._tail)
        self.low[axis] += first

    def _trim(self, axis: int, tail: float) -> None:
        sums = self.p.sum(axis=tuple(a for a in range(self.p.ndim) if a != axis))
        low = int(np.searchsorted(np.cumsum(sums), tail, side="right"))
        high = len(sums) - int(np.searchsorted(np.cumsum(sums[::-1]), tail, side="right"))
        if low or high < len(sums):
            self.p = np.ascontiguousarray(np.take(self.p, np.arange(low, max(high, low + 1)), axis=axis))
            self.low[axis] += low

    def block(self) -> Block:
        """The counts and their probabilities, without zeros and what is negligible beside the sides."""
        flat = self.p.ravel()
        kept = most_probable(flat, 0.0 if self.p.ndim < 2 else 0.5 * self._tail)  # its corners
        places = np.unravel_index(kept, self.p.shape) if self.p.ndim else ()
        counts = np.stack([place + low for place, low in zip(places, self.low, strict=True)], axis=1) if places else np.empty((1, 0))
        return Block(counts.astype(np.int64), flat[kept])


def _is_cheaper(slow: np.ndarray, chain: _Molecule, flights: list[Flight], times: np.ndarray, states: np.ndarray) -> bool:
    """Does adding molecules one by one, each for about what a product with the generator costs, take less than projection?

    That takes about q t products, q being the largest total propensity, but some hundred at least.
    """
    molecules = float(np.where(slow, states, 1).sum(axis=1).max())
    mean = max(float((flight.p[:-1] @ states.max(axis=0) + flight.means).max(initial=0.0)) for flight in flights)
    products = (float(chain.inflow.sum()) + float(chain.out.max(initial=0.0)) * mean) * float(times[-1])
    return len(times) * len(states) * (molecules + 5) <= max(PATIENCE, min(products, 100 * PATIENCE))
