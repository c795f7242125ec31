"""The null vector of an irreducible generator on a finite set of states."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from cme.errors import ConvergenceError
from cme.kernels.gth import gth_banded
from cme.projection.cycle import SparseCycle

COMMON = 0.1  # a part of all states that leads to one is large
WIDEST_BAND = 40  # up to this half-bandwidth, elimination without subtraction is as fast as sparse LU


def stationary_vector(matrix: sp.csc_array, reference: int | None = None) -> tuple[np.ndarray, str, float]:
    """The null vector of an irreducible generator whose columns sum to zero.

    Parameters
    ----------
    matrix : (N, N)
        Its columns sum to zero.
    reference
        A state that is not improbable, if one is known.

    Returns
    -------
    pi : (N,)
        Non-negative, sums to one.
    method : str
    correction : float
        1-norm of the last iterative refinement; zero for elimination without subtraction.

    Raises
    ------
    ConvergenceError
        If the linear solver breaks down.
    """
    if matrix.shape[0] == 1:
        return np.ones(1), "one state", 0.0
    pi = eliminated(matrix)
    if pi is not None:
        return pi, "GTH elimination", 0.0
    cycle = sparse_cycle(matrix, reference)
    total = cycle.z.sum()
    return cycle.z / total, cycle.method, (float(np.abs(cycle.correction).sum()) + cycle.below) / total


def eliminated(matrix: sp.csc_array) -> np.ndarray | None:
    """The null vector by elimination without subtraction; None if there is no order of the states in which the band is narrow."""
    n_states = matrix.shape[0]
    order = reverse_cuthill_mckee(sp.csr_matrix(matrix), symmetric_mode=False)
    place = np.empty(n_states, dtype=np.int64)
    place[order] = np.arange(n_states)
    links = matrix.tocoo()
    row, col = place[links.row], place[links.col]
    half = int(np.abs(row - col).max())
    if half > WIDEST_BAND:
        return None
    band = np.zeros((n_states, 2 * half + 1))
    band[col, half + row - col] = links.data
    inner = np.empty(n_states)
    if gth_banded(band, half, inner) != 0:
        raise ConvergenceError("the states do not communicate in double precision; the rates span too many orders of magnitude")
    pi = np.zeros(n_states)
    pi[order] = inner
    return pi


def sparse_cycle(matrix: sp.csc_array, reference: int | None = None) -> SparseCycle:
    """The cycle around a state that is not much less probable than the others."""
    fixed = likely_state(matrix) if reference is None else reference
    for attempt in range(4):
        cycle = SparseCycle(matrix, fixed)
        finite = bool(np.all(np.isfinite(cycle.z)))
        correction = (float(np.abs(cycle.correction).sum()) + cycle.below) / cycle.z.sum() if finite else np.inf
        if cycle.z.max() <= 1e6 and correction <= 1e-3:
            return cycle
        fixed = int(np.nanargmax(cycle.z)) if cycle.z.max() > 1e6 or attempt else late_state(matrix)
    raise ConvergenceError(
        f"the sparse solver for the stationary law lost its way (its last correction was {correction:.1e} of the whole): to no state that "
        "was tried does the process come back in times that double precision can hold; give a space= without improbable states"
    )


def likely_state(matrix: sp.csc_array) -> int:
    """A state that is not improbable.

    Where most states lead if the most likely jump is always taken; where these ways end in many places, the `late_state`.
    """
    n_states = matrix.shape[0]
    links = matrix.tocoo()
    off = (links.row != links.col) & (links.data > 0)
    row, col, rate = links.row[off], links.col[off], links.data[off]
    to = np.arange(n_states)
    if len(col):
        order = np.lexsort((rate, col))
        last = np.flatnonzero(np.diff(col[order], append=n_states) > 0)
        to[col[order[last]]] = row[order[last]]
    for _ in range(n_states.bit_length() + 1):  # twice as many jumps each time
        to = to[to]
    often = np.bincount(to, minlength=n_states)
    if often.max() > COMMON * n_states:
        return int(np.argmax(often))
    return late_state(matrix)


def late_state(matrix: sp.csc_array) -> int:
    """Where a uniform start is most likely after a long random time, 1e6 of the fastest jumps."""
    n_states = matrix.shape[0]
    gamma = 1e6 / float(-matrix.diagonal().min())
    shifted = sp.csc_matrix(sp.eye_array(n_states, format="csc") - gamma * sp.csc_matrix(matrix))
    solve = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve
    return int(np.argmax(solve(np.ones(n_states))))
