"""A Krylov basis of A and p with incomplete orthogonalisation: each vector is made orthogonal to the two before it alone."""

import math

from cme.kernels.jit import bare

OK, EXHAUSTED = 0, 1


@bare
def extend_basis(pointer, index, rate, first, last, basis, diagonal, above, below):
    """Extend the basis from `first` to `last` vectors: A v_m = above[m] v_{m-1} + diagonal[m] v_m + below[m] v_{m+1}.

    The matrix comes by rows (CSR); `basis` (M + 1, N) holds the vectors 0 to `first`, of 2-norm one. EXHAUSTED: nothing is left to add.
    """
    n_states = basis.shape[1]
    for m in range(first, last):
        before = max(m - 1, 0)
        a, b = 0.0, 0.0
        for n in range(n_states):
            total = 0.0
            for i in range(pointer[n], pointer[n + 1]):
                total += rate[i] * basis[m, index[i]]
            basis[m + 1, n] = total
            a += total * basis[m, n]
            b += total * basis[before, n]
        if m == 0:
            b = 0.0
        square = 0.0
        for n in range(n_states):
            rest = basis[m + 1, n] - a * basis[m, n] - b * basis[before, n]
            if abs(rest) < 1e-250:
                rest = 0.0
            basis[m + 1, n] = rest
            square += rest * rest
        length = math.sqrt(square)
        diagonal[m], above[m], below[m] = a, b, length
        if not length > 1e-14 * (abs(a) + abs(b)):
            return EXHAUSTED
        for n in range(n_states):
            basis[m + 1, n] /= length
    return OK
