"""exp(tA) p from a Krylov basis, for several times at once: of A itself with incomplete orthogonalisation, or of (I - gamma A)^-1.

Both are certified by the residual y' - A y, which is one fixed vector times a scalar function of time: exp(tA) is a contraction in the
1-norm, so that the error is at most the integral of the residual's 1-norm.
"""

from functools import cache

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from threadpoolctl import ThreadpoolController

from cme.generator import Generator
from cme.kernels import arnoldi
from cme.projection.bursts import BurstMatrix
from cme.projection.polynomials import Rows, Step

FULL, MOST_FULL = 0.1, 10_000  # part of entries that are not zero from which on factors are full matrices, and states up to which
MAX_BASIS = 100  # Arnoldi vectors in one window
SIZES = (16, 24, 36, 54)  # vectors of an incompletely orthogonal basis after which the bound is looked at


def krylov(rows: Rows, p: np.ndarray, now: float, times: np.ndarray, share, longest: float) -> Step:
    """As many of the times as one basis reaches within `share` (of the tolerance, from one time to another); or a time before the first.

    With incomplete orthogonalisation A V = V H + h v e^T holds as it does with a complete one, up to rounding.
    """
    beta = float(np.linalg.norm(p))
    basis = np.zeros((SIZES[-1] + 1, len(p)))
    basis[0] = rows.sorted(p) / beta
    diagonal, above, below = (np.zeros(SIZES[-1]) for _ in range(3))
    first, end = 0, min(float(times[-1]), now + longest)
    with one_thread():
        for size in SIZES:
            status = arnoldi.extend_basis(*rows.entries, first, size, basis, diagonal, above, below)
            size = int(np.flatnonzero(below == 0.0)[0]) + 1 if status == arnoldi.EXHAUSTED else size
            small = np.diag(diagonal[:size]) + np.diag(above[1:size], 1) + np.diag(below[: size - 1], -1)
            scale = 0.0 if status == arnoldi.EXHAUSTED else beta * below[size - 1] * float(np.abs(basis[size]).sum())
            first = size

            def bound(time: float, scale=scale, small=small) -> float:
                return scale * integral_of_residual(np.eye(len(small))[-1], small, time - now) if scale else 0.0

            if bound(end) <= share(now, end):
                break
        while bound(end) > share(now, end):
            end = now + 0.7 * (end - now)
        reached = times[times <= end]
        reached = reached if len(reached) else np.array([end])
        weights = beta * np.array([exponential((time - now) * small)[:, 0] for time in reached])
    laws = rows.restored(np.maximum(weights @ basis[: len(small)], 0.0))  # the law is not negative: this brings the answer nearer to it
    errors = np.array([bound(time) for time in reached]) + 1e-15 * len(small)
    return Step(now, reached, laws, errors)


def rational_krylov(generator: Generator, p: np.ndarray, now: float, times: np.ndarray, tol: float) -> Step | None:
    """A window of shift-invert Arnoldi, with one sparse factorisation; None where the basis does not suffice."""
    with one_thread():
        return _window(generator, p, now, times, tol)


def _window(generator: Generator, p: np.ndarray, now: float, times: np.ndarray, tol: float) -> Step | None:
    length = float(times[-1]) - now
    gamma = length / 8.0
    matrix = generator.matrix if isinstance(generator.matrix, BurstMatrix) else generator.sparse()
    solve = matrix.factorised(gamma) if isinstance(matrix, BurstMatrix) else _factorise(matrix, gamma)
    beta = float(np.linalg.norm(p))
    basis, h = np.zeros((MAX_BASIS + 1, len(p))), np.zeros((MAX_BASIS + 1, MAX_BASIS))
    basis[0] = p / beta
    error, last = np.inf, np.inf
    for m in range(1, MAX_BASIS + 1):
        w = solve(basis[m - 1])
        for _ in range(2):  # twice is enough (Kahan): the basis stays orthogonal to round-off
            c = basis[:m] @ w
            w -= c @ basis[:m]
            h[:m, m - 1] += c
        h[m, m - 1] = np.sqrt(np.einsum("n,n", w, w))
        exhausted = h[m, m - 1] <= 1e-14 * abs(h[:m, :m]).max()
        if not exhausted:
            basis[m] = w / h[m, m - 1]
        if exhausted or m % 6 == 0 or m == MAX_BASIS:
            try:
                inverse = la.inv(h[:m, :m])
            except la.LinAlgError:  # a basis that can't be used: another step is tried
                return None
            small = (np.eye(m) - inverse) / gamma  # A seen from the basis
            residual = basis[m] - gamma * (matrix @ basis[m])
            scale = beta * h[m, m - 1] / gamma * float(np.abs(residual).sum())
            error = scale * integral_of_residual(inverse[-1], small, length)
            if error <= tol or exhausted:
                break
            if m >= 36 and error > 0.3 * last:  # stagnation: round-off, or a window that is too long
                return None
            last = error
    else:
        return None

    with_leak = np.zeros((m + 1, m + 1))  # one row more, for what has leaked
    with_leak[:m, :m], with_leak[m, :m] = small, basis[:m] @ generator.leak
    found = beta * np.array([exponential((time - now) * with_leak)[:, 0] for time in times])
    out, leaked = found[:, :m] @ basis[:m], found[:, m]
    # What round-off and the approximation left below zero is set to zero and booked as error.
    below = max(float(-row[row < 0].sum()) for row in out)
    out[out < 0] = 0.0
    # Round-off grows as the largest rate times the length of the window. It is worst in what never decays, the total, where it can be
    # seen and undone; it is booked all the same, since what decays slowly has suffered alike.
    there, due = out.sum(axis=1), p.sum() - np.maximum(leaked, 0.0)
    astray = float(np.abs(there - due).max())
    out *= (due / there)[:, None]
    error += below + astray + 1e-15 * m
    return Step(now, times, out, np.full(len(times), error), astray)


def one_thread():
    """The matrices are small: threads of the linear algebra would spend their time waiting for each other."""
    return _blas_threads().limit(limits=1, user_api="blas")


@cache
def _blas_threads() -> ThreadpoolController:
    return ThreadpoolController()


def is_full(n_states: int, n_entries: int) -> bool:
    """Are the factors of a matrix taken as full ones? Where reactions draw numbers of molecules, most of its entries are not zero."""
    return n_states <= MOST_FULL and n_entries > FULL * n_states**2


def _factorise(matrix: sp.csc_array, gamma: float):
    """Solve with I - gamma A: a column diagonally dominant M-matrix, so that no pivoting is needed."""
    if is_full(matrix.shape[0], matrix.nnz):
        dense = matrix.toarray(order="F")
        dense *= -gamma
        np.einsum("nn->n", dense)[:] += 1.0  # the diagonal, in place
        factors = la.lu_factor(dense, overwrite_a=True, check_finite=False)
        return lambda right: la.lu_solve(factors, right, check_finite=False)
    shifted = sp.csc_matrix(sp.eye_array(matrix.shape[0], format="csc") - gamma * matrix)
    return splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def integral_of_residual(row: np.ndarray, small: np.ndarray, length: float) -> float:
    """The integral over (0, length) of |row exp(s small) e_1|, by Gauss quadrature on panels that double.

    exp on the next panel is the square of exp on this one, so that all panels cost little more than one.
    """
    n_panels = max(_halvings(length * small), 8)
    s = length * 0.5**n_panels
    steps = s * np.append(0.5 * (1 + _NODES), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # a basis that is too small may grow without bound: no bound then
        powers = exponential(steps[:, None, None] * small)  # (11, m, m)
        integral = 0.5 * s * (_WEIGHTS @ np.abs(powers[:-1, :, 0] @ row))
        for _ in range(n_panels):  # the panel (s, 2 s)
            integral += 0.5 * s * (_WEIGHTS @ np.abs(powers[:-1, :, 0] @ (row @ powers[-1])))
            powers, s = powers @ powers, 2 * s
    return float(integral) if np.isfinite(integral) else np.inf


def exponential(x: np.ndarray) -> np.ndarray:
    """The exponential of small matrices (..., m, m), by Taylor's series and squaring.

    These are products alone. The linear systems of Pade's method keep the threads of the linear algebra library waiting for each other:
    scipy's expm took fifty times as long on a busy machine.
    """
    n_squarings = _halvings(x)
    x = x * 0.5**n_squarings
    total = one = np.eye(x.shape[-1])
    for k in range(14, 0, -1):  # 0.5^15 / 15! is below round-off
        total = one + x @ total / k
    for _ in range(n_squarings):
        total = total @ total
    return total


def _halvings(x: np.ndarray) -> int:
    """How often a matrix must be halved until its norm is at most 1/2."""
    norm = float(np.abs(x).sum(axis=-1).max())
    return max(int(np.ceil(np.log2(2 * norm))), 0) if norm > 0 else 0
