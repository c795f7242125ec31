"""The eigenvalues of a generator that decay most slowly."""

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigvals, eigvalsh
from scipy.sparse.linalg import eigs

DENSE = 2000  # up to this many states, all eigenvalues are computed


def slowest(matrix: sp.csc_array, k: int | None, symmetric: bool, largest_rate: float) -> np.ndarray:
    """The k eigenvalues of largest real part (all for None), and one more if the last is half of a complex pair."""
    n_states = matrix.shape[0]
    if k is None or k >= n_states - 2:
        values = eigvalsh((matrix + matrix.T).toarray() / 2) if symmetric else eigvals(matrix.toarray())
    else:
        shift = 1e-9 * largest_rate  # beside the eigenvalue 0, where the matrix itself is singular
        values = eigs(matrix.tocsc(), k=k + 1, sigma=shift, which="LM", return_eigenvectors=False)
        values = values.real if symmetric else values
    rounding = 1e-9 * max(largest_rate, 1e-300)
    values = values[np.lexsort((-values.imag, -np.round(values.real / rounding)))]  # the two of a pair side by side
    if k is not None and k < len(values) and values[k - 1].imag > rounding and abs(values[k] - values[k - 1].conj()) <= rounding:
        k += 1
    return values[:k]
