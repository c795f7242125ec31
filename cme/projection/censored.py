"""`Censored`: a Markov chain with exits, ready for mean times and probabilities that are right in relative terms, however large."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import reverse_cuthill_mckee

from cme.errors import ConvergenceError
from cme.kernels.censoring import censor, count_links, group_states, list_links, pass_through
from cme.kernels.dissection import dissect

NARROW = 4  # links per state up to which the order along the band is as good as any
MOST_PRODUCTS = 4e12  # about an hour


class Censored:
    """The chain with rates `rates` (N, N), column to row, and rates `exits` (N,) out of it; every state must lead out.

    Nothing is subtracted from anything, see `cme.kernels.censoring`.
    """

    def __init__(self, rates: sp.csc_array, exits: np.ndarray, most_products: float = MOST_PRODUCTS):
        n_states = len(exits)
        self.order = _order(rates)
        self._place = np.empty(n_states, dtype=np.int64)
        self._place[self.order] = np.arange(n_states)
        by_origin = sp.csc_array(rates[:, self.order][self.order])
        by_target = sp.csr_array(by_origin)
        both = sp.csr_array(sp.csr_array(by_target) + sp.csr_array(by_origin.T))
        pattern = both.indptr.astype(np.int64), both.indices.astype(np.int64)
        parent, mark, n_links, cursor = (np.empty(n_states, dtype=np.int64) for _ in range(4))
        count_links(*pattern, parent, mark, n_links)
        self.n_links, n_products = int(n_links.sum()), float((n_links.astype(np.float64) ** 2).sum())
        self.most_links = int(n_links.max(initial=0))
        if n_products > most_products:
            raise ConvergenceError(
                f"mean times on {n_states} states take {n_products:.0e} products and {20 * self.n_links / 2**30:.2g} GiB; "
                "give a smaller space, loosen tol, or use ensemble with stop="
            )
        start = np.concatenate([[0], np.cumsum(n_links)])
        later = np.empty(self.n_links, dtype=np.int32 if n_states < 2**31 else np.int64)
        cursor[:] = start[:-1]
        list_links(*pattern, parent, mark, cursor, later)
        down, up = np.empty(self.n_links), np.empty(self.n_links)
        left, out = np.empty(n_states), np.empty(n_states)
        head, *work = (np.empty(n_states, dtype=np.int64) for _ in range(4))
        group_states(parent, n_links, head)
        sums = np.empty(n_states), np.empty(n_states)
        arrays = [(each.indptr.astype(np.int64), each.indices.astype(np.int64), each.data) for each in (by_origin, by_target)]
        own = np.ascontiguousarray(exits[self.order], dtype=np.float64)
        if censor(*arrays[0], *arrays[1], own, start, later, head, *work, cursor, *sums, down, up, left, out) != 0:
            raise _too_long()
        self._links, self._down, self._up, self._out = (start, later), down, up, out

    def occupy(self, p: np.ndarray) -> np.ndarray:
        """The mean time spent in each state before the exit (N,), from a start with law p (N,): -A^-1 p."""
        x = np.ascontiguousarray(p[self.order], dtype=np.float64)
        pass_through(*self._links, self._down, self._up, self._out, x)
        return self._in_order(x)

    def collect(self, f: np.ndarray) -> np.ndarray:
        """The mean of the integral of f (N,) over the time before the exit, from each state (N,): -A^-T f."""
        x = np.ascontiguousarray(f[self.order], dtype=np.float64)
        pass_through(*self._links, self._up, self._down, self._out, x)
        return self._in_order(x)

    def _in_order(self, x: np.ndarray) -> np.ndarray:
        if not np.all(np.isfinite(x)):
            raise _too_long()
        return x[self._place]


def _too_long() -> ConvergenceError:
    return ConvergenceError("a mean time is beyond 1e290 of the model's time units, about as much as a number of 64 bits can hold")


def _order(rates: sp.csc_array) -> np.ndarray:
    """An order of elimination that links few states: along the band if it is narrow, else by nested dissection."""
    n_states = rates.shape[0]
    pattern = sp.csr_array((np.ones(rates.nnz), rates.indices, rates.indptr), shape=rates.shape)
    pattern = sp.csr_matrix(pattern + pattern.T)
    along = reverse_cuthill_mckee(pattern, symmetric_mode=True).astype(np.int64)
    place = np.empty(n_states, dtype=np.int64)
    place[along] = np.arange(n_states)
    links = pattern.tocoo()
    if np.abs(place[links.row] - place[links.col]).max(initial=0) <= NARROW:
        return along
    work = [np.empty(n_states, dtype=np.int64) for _ in range(3)]
    dissect(pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64), along, *work, np.empty((n_states + 2, 2), dtype=np.int64))
    return along
