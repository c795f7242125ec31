"""The slowest modes of a Markov chain, each right in relative terms, however many powers of ten lie between them."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, eigs

from cme.errors import ConvergenceError
from cme.projection.censored import Censored

DENSE = 300  # up to this many states, all eigenvalues are computed
WINDOW = 1e6  # a mode within this factor of the shift has at least nine digits
LOWEST = 1e-280


def slow_rates(rates: sp.csc_array, exits: np.ndarray, k: int) -> np.ndarray:
    r"""Find the k smallest rates at which modes of a chain decay: minus the eigenvalues of its generator, slowest first.

    .. math:: (s - A)^{-1} v = \frac{v}{s + \lambda}

    The resolvent at a shift s > 0 is that of a chain with further exits at rate s: an elimination that subtracts nothing gives it with all
    digits, and modes whose rates are about s can be told apart. Shifts go down in steps until nothing slower is left.

    Parameters
    ----------
    rates : (N, N)
        From column to row.
    exits : (N,)
        Out of all states; zero for a chain that goes on for ever, whose slowest mode is the stationary law, with rate 0.
    k
        How many; one more where the last would be half of a complex pair.
    """
    n_states, closed = len(exits), not np.any(exits > 0)
    k = min(k, n_states)
    total = np.asarray(rates.sum(axis=0)).ravel() + exits
    shift, found = 4 * float(total.max()) / WINDOW, np.zeros(0, dtype=complex)  # no mode is faster than twice the largest rate
    while True:
        chain = Censored(rates, exits + shift)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = 1 / _largest(chain, n_states, k + 2) - shift
        size = np.abs(seen)
        below = int(np.count_nonzero(size < shift / WINDOW))
        here = seen[(size >= shift / WINDOW) & (size <= shift * WINDOW)]
        found = np.concatenate([here, found[np.abs(found) > 0.5 * shift * WINDOW]])
        if below <= int(closed) or shift < LOWEST:
            break
        shift *= 1 / WINDOW
    if below > int(closed):
        raise ConvergenceError("there are several modes with a rate of 0; the chain has several closed classes of states")
    found = np.concatenate([np.zeros(below), found])
    found = found[np.lexsort((found.imag, np.round(found.real / np.maximum(np.abs(found), 1e-300), 9), np.abs(found)))]
    kept = k + int(k < len(found) and found[k - 1].imag != 0 and abs(found[k] - found[k - 1].conj()) <= 1e-6 * abs(found[k]))
    found = found[:kept]
    return found.real.copy() if np.all(np.abs(found.imag) <= 1e-9 * np.abs(found)) else found


def _largest(chain: Censored, n_states: int, k: int) -> np.ndarray:
    """The k largest eigenvalues of the resolvent."""
    if n_states <= DENSE or k >= n_states - 1:
        inverse = np.array([chain.occupy(unit) for unit in np.eye(n_states)]).T
        values = np.linalg.eigvals(inverse)
        return values[np.argsort(-np.abs(values))][:k]
    start = chain.occupy(np.ones(n_states))
    operator = LinearOperator((n_states, n_states), matvec=lambda x: chain.occupy(np.asarray(x).ravel()), dtype=np.float64)
    return eigs(operator, k=k, which="LM", v0=start, return_eigenvectors=False)
