"""The null vector of an irreducible generator on a finite set of states."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from cme.errors import ConvergenceError
from cme.kernels.gth import gth_banded
from cme.projection.cycle import CensoredCycle, SparseCycle

COMMON = 0.1  # a part of all states that leads to one is large
TRUSTED = 1e-9  # inaccuracy of what sparse LU gives; it subtracts, which loses all digits where parts of the states hardly communicate
MOST_PRODUCTS = 2e11  # of elimination without subtraction in its place: some minutes
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
    inaccuracy : float
        A bound of the 1-norm error.

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
    cycle, inaccuracy = sparse_cycle(matrix, np.zeros(matrix.shape[0]), likely_state(matrix) if reference is None else reference)
    return cycle.z / cycle.z.sum(), cycle.method, inaccuracy


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


def sparse_cycle(matrix: sp.csc_array, leak: np.ndarray, reference: int) -> tuple[SparseCycle | CensoredCycle, float]:
    """The cycle around a state that is not much less probable than the others, and a bound of its error, as a part of it.

    Sparse LU has the first word. Where its result is not proved to be right, as with parts of the states that hardly communicate,
    elimination without subtraction has the last one.
    """
    fixed, found = reference, None
    for attempt in range(4):
        try:
            cycle = SparseCycle(matrix, fixed)
        except np.linalg.LinAlgError:
            break
        if np.all(np.isfinite(cycle.z)) and cycle.z.max() <= 1e6:
            found = cycle, _inaccuracy(cycle)
            break
        fixed = int(np.nanargmax(cycle.z)) if cycle.z.max() > 1e6 or attempt else late_state(matrix)
    if found is not None and found[1] <= TRUSTED:
        return found
    try:
        censored = CensoredCycle(matrix, leak, fixed, MOST_PRODUCTS)
    except ConvergenceError:  # it would take too long, or a state is met too rarely for numbers of 64 bits
        if found is None:
            raise
        return found
    return censored, _inaccuracy(censored)


def _inaccuracy(cycle: SparseCycle | CensoredCycle) -> float:
    with np.errstate(invalid="ignore"):  # times without bound
        found = cycle.inaccuracy(cycle.times(np.zeros(len(cycle.z)))) / float(cycle.z.sum())
    return np.inf if np.isnan(found) else found


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


def late_state(matrix: sp.csc_array, speed: float = 1.0) -> int:
    """Where a uniform start is most likely after a long random time, 1e6 of the fastest jumps; times `speed`."""
    n_states = matrix.shape[0]
    gamma = 1e6 * speed / float(-matrix.diagonal().min())
    shifted = sp.csc_matrix(sp.eye_array(n_states, format="csc") - gamma * sp.csc_matrix(matrix))
    solve = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve
    return int(np.argmax(solve(np.ones(n_states))))
