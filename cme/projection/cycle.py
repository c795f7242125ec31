r"""Cycles of a jump process between visits to one state: how long it is where, and what may happen outside a finite set of states.

A stationary law is the mean time spent in each state between two visits to a reference state, over the mean length of such a cycle. On
a finite set J the time until the process comes back *or leaves J* is a lower bound z of it, and how much is missing is bounded by
what leaves, times the longest mean time to come back to the reference: with the mean times t to come back or leave, and the chances h to
come back before leaving, that is at most max (t + what is spent outside) / h, since the chance to fail again and again falls
geometrically. The largest value is taken over a core of J that is met for sure after leaving. These are the bounds of Courtois and
Semal over all states in which J can be entered, by three solves.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import splu

from cme import memory
from cme.errors import ConvergenceError
from cme.kernels.gth import gth_cycle
from cme.projection.censored import Censored

FEWER = "give a space= of fewer states, or one of more than 1.5 million, which is solved level by level"
WIDEST_BAND = 60  # up to this half-bandwidth around the reference state, elimination without subtraction is as fast as sparse LU
SMALLEST = 1e-290  # about where numbers vanish
ROUNDING = 4.5e-16  # of a sum of products, for each of its terms


class Cycle(Protocol):
    """Between visits to a reference state, in which a unit of time is spent: the mean time z (N,) in each state before leaving the set."""

    reference: int
    method: str
    z: np.ndarray

    def returns(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each start: upper bounds of the time until the reference is met or the set is left, lower ones of the chance to meet it.

        `outside` (N,) is the mean time spent outside per unit of time in a state: it counts as well.
        """

    def times(self, outside: np.ndarray) -> np.ndarray:
        """The first of these alone, where that is less work."""

    def inaccuracy(self, times: np.ndarray) -> float:
        """A bound of the 1-norm error of z, given the times of `returns`."""


@dataclass(frozen=True)
class Bounds:
    """What is missing of the cycle on a finite set.

    Attributes
    ----------
    missing : float
        The time spent outside the set, or in it after leaving it, per unit of time in the reference state, is at most this.
    inaccuracy : float
        And what is known of it is off by at most this, in the 1-norm.
    slowest_return : float
        The time to come back to the reference state from anywhere in the core is at most this on average.
    """

    missing: float
    inaccuracy: float
    slowest_return: float


def bounds(cycle: Cycle, leak: np.ndarray, outside: np.ndarray, core: np.ndarray) -> Bounds:
    """Bound what is missing of a cycle.

    Parameters
    ----------
    cycle
        On N states.
    leak : (N,)
        Rates out of the set.
    outside : (N,)
        The mean time until the core is met after leaving, times the rate of leaving.
    core : (N,)
        States, marked, of which one is met for sure from everywhere outside.
    """
    times, chances = cycle.returns(outside)
    slowest = 0.0
    if np.any(leak > 0):
        slowest = float(np.max(times[core] / chances[core])) if chances[core].min(initial=1.0) > 0 else np.inf
    left = max(float(cycle.z @ leak), SMALLEST * float(leak.max(initial=0.0)))
    missing = float(cycle.z @ outside) + (left * slowest if left > 0 else 0.0)
    return Bounds(missing, cycle.inaccuracy(times), slowest)


def banded(matrix: sp.csc_array, reference: int) -> tuple[np.ndarray, int]:
    """An order of the states by distance from the reference state, and the half-bandwidth of the matrix in it."""
    pattern = sp.csr_array(matrix)
    order = breadth_first_order(sp.csr_array(pattern + pattern.T), reference, directed=False, return_predecessors=False)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    links = matrix.tocoo()
    return order, int(np.abs(place[links.row] - place[links.col]).max(initial=0))


class BandedCycle:
    """By elimination without subtraction: every number is right in relative terms, however small."""

    method = "GTH elimination"

    def __init__(self, matrix: sp.csc_array, leak: np.ndarray, reference: int, order: np.ndarray, half: int):
        self.reference, self._order, self._half, self._leak = reference, order, half, leak
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        links = matrix.tocoo()
        self._band = np.zeros((len(order), 2 * half + 1))
        self._band[place[links.col], half + place[links.row] - place[links.col]] = links.data
        self.z, _, _ = self._solve(np.zeros(len(order)))

    def _solve(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n, order = len(self._order), self._order
        away, spent = self._leak[order].copy(), 1.0 + outside[order]
        z, times, chances = np.zeros(n), np.zeros(n), np.ones(n)
        inner = np.empty(n), np.empty(n), np.empty(n)
        if gth_cycle(self._band.copy(), self._half, away, spent, *inner) != 0:
            raise ConvergenceError("the states do not communicate in double precision; the rates span too many orders of magnitude")
        z[order], times[order], chances[order] = inner
        return z, times, chances

    @property
    def _relative(self) -> float:
        return ROUNDING * len(self.z) * (self._half + 2)

    def returns(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, times, chances = self._solve(outside)
        # Where numbers have run out (inf times 0), a time without bound and no chance are the safe side.
        times, chances = np.nan_to_num(times, nan=np.inf, posinf=np.inf), np.nan_to_num(chances)
        return times * (1 + self._relative), chances * (1 - self._relative)

    def times(self, outside: np.ndarray) -> np.ndarray:
        return self.returns(outside)[0]

    def inaccuracy(self, times: np.ndarray) -> float:
        return self._relative * float(self.z.sum())


class SparseCycle:
    """By sparse LU with the reference state taken out."""

    method = "sparse LU, one state deleted"

    def __init__(self, matrix: sp.csc_array, reference: int):
        n_states = matrix.shape[0]  # the factors of a lattice with two axes; with more there are more
        memory.require_memory(66 * n_states * np.log2(n_states), f"the factors of a matrix of {n_states} states", FEWER)
        self.reference = reference
        self._others = np.delete(np.arange(matrix.shape[0]), reference)
        matrix = sp.csc_matrix(matrix)
        self._block = matrix[self._others][:, self._others].tocsc()
        self._from = matrix[self._others][:, [reference]].toarray().ravel()
        self._to = matrix[[reference]][:, self._others].toarray().ravel()
        options = {"SymmetricMode": True}
        try:
            self._lu = splu(self._block, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        except RuntimeError as error:
            raise np.linalg.LinAlgError("a pivot is zero by rounding: parts of the states hardly communicate") from error
        x = self._lu.solve(-self._from)
        self.correction = self._lu.solve(-self._from - self._block @ x)
        x = x + self.correction
        below = x < 0
        self.below = -float(x[below].sum())
        x[below] = 0.0  # round-off in the far tails; it is in the residual
        self.z = np.insert(x, reference, 1.0)
        self._transposed = sp.csr_matrix(self._block.T)
        self._terms = int(np.diff(self._block.indptr).max(initial=0)) + 3

    def returns(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spent, upper = 1.0 + outside[self._others], self.times(outside)
        chances = self._adjoint(-self._to)
        off = self._defect(chances, self._to, spent)
        lower = chances - off * upper[self._others]
        return upper, np.insert(lower, self.reference, 1.0)

    def times(self, outside: np.ndarray) -> np.ndarray:
        spent = 1.0 + outside[self._others]
        times = self._adjoint(-spent)
        defect = self._defect(times, spent, spent)
        upper = np.abs(times) / (1 - defect) if defect < 1 else np.full(len(times), np.inf)
        return np.insert(upper, self.reference, 0.0)

    def _defect(self, x: np.ndarray, right: np.ndarray, spent: np.ndarray) -> float:
        """The defect of a solution x of B^T x = -right, as a part of `spent`: right within that part of the times (-B is an M-matrix)."""
        size = self._terms * ROUNDING * 2 * np.abs(self._block.diagonal())
        return float(np.max((np.abs(self._transposed @ x + right) + size * np.abs(x)) / spent))

    def _adjoint(self, right: np.ndarray) -> np.ndarray:
        x = self._lu.solve(right, "T")
        return x + self._lu.solve(right - self._transposed @ x, "T")

    def inaccuracy(self, times: np.ndarray) -> float:
        x, flow = self.z[self._others], np.abs(self._block.diagonal())
        residual = np.abs(self._block @ x + self._from) + self._terms * ROUNDING * (2 * flow * x + self._from)
        return float(residual @ times[self._others])


class CensoredCycle:
    """By sparse elimination without subtraction: right in relative terms, however long the ways back, at several times the price of LU."""

    method = "elimination without subtraction"

    def __init__(self, matrix: sp.csc_array, leak: np.ndarray, reference: int, most_products: float):
        self.reference = reference
        others = self._others = np.delete(np.arange(matrix.shape[0]), reference)
        rates = sp.csc_array(matrix - sp.diags_array(matrix.diagonal()))
        rates.eliminate_zeros()
        self._to = rates[[reference]][:, others].toarray().ravel()
        self._chain = Censored(sp.csc_array(rates[others][:, others]), self._to + leak[others], most_products)
        self.z = np.insert(self._chain.occupy(rates[others][:, [reference]].toarray().ravel()), reference, 1.0)

    @property
    def _relative(self) -> float:
        return ROUNDING * len(self.z) * (self._chain.most_links + 2)

    def returns(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chances = self._chain.collect(self._to) * (1 - self._relative)
        return self.times(outside), np.insert(chances, self.reference, 1.0)

    def times(self, outside: np.ndarray) -> np.ndarray:
        times = self._chain.collect(1.0 + outside[self._others])
        return np.insert(times * (1 + self._relative), self.reference, 0.0)

    def inaccuracy(self, times: np.ndarray) -> float:
        return self._relative * float(self.z.sum())
