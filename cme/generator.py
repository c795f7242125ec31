"""`Generator`: the sparse matrix A of the master equation dp/dt = A p.

A[i, j] is the rate of the jump j -> i. Columns sum to -leak: what leaves the kept states is not redirected, it is counted.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from cme.network import Network
from cme.states import StateSpace


@dataclass(frozen=True, eq=False, repr=False)
class Generator:
    """A (sub-)generator on N states.

    Attributes
    ----------
    matrix : scipy.sparse.csc_array (N, N)
        Off the diagonal A[i, j] >= 0 is the rate from j to i; A[j, j] is minus the total rate out of j, leak included.
    leak : (N,)
        Rate out of the kept states: the column sums of A are -leak.
    states : (N, S)
        What the indices mean: counts, or cell centres of a grid.
    """

    matrix: sp.csc_array
    leak: np.ndarray
    states: np.ndarray

    @classmethod
    def from_network(cls, network: Network, space: StateSpace | None = None) -> "Generator":
        """The generator of a network's master equation, W(x + nu_r, x) = a_r(x).

        Parameters
        ----------
        network
            Where the propensities come from.
        space
            The states to keep; by default all that can be reached.

        Examples
        --------
        >>> import cme
        >>> cme.Generator.from_network(cme.parse("A <-> B @ 1, 2; A = 1")).matrix.toarray()
        array([[-1.,  2.],
               [ 1., -2.]])
        """
        space = StateSpace.reachable(network) if space is None else space
        pointer, row, rate, leak = space.transitions()
        matrix = sp.csc_array((rate, row, pointer), shape=(len(space), len(space)))
        matrix.sum_duplicates()  # two reactions may lead from one state to the same other
        return cls(matrix, leak, space.states)

    @property
    def largest_rate(self) -> float:
        """The largest total rate out of a state."""
        return float(-self.matrix.diagonal().min(initial=0.0))

    def __matmul__(self, p: np.ndarray) -> np.ndarray:
        return self.matrix @ p

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def __repr__(self) -> str:
        return f"Generator: {len(self)} states, {self.matrix.nnz} entries, leak up to {self.leak.max(initial=0.0):g}"
