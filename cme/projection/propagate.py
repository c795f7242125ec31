"""The propagator: p(t) = exp(tA) p(0) for a (sub-)generator A, with a bound on the integrator's error in the 1-norm.

Two integrators, chosen from the matrix and the time span alone:

*uniformisation* (Jensen 1953): a Poisson mixture of powers of the non-negative matrix I + A/q. Its cost is q t products, its error the
Poisson tail that is left out. It also starts every run of the other one.

*rational Krylov*: shift-invert Arnoldi, one sparse factorisation of I - gamma A for a time window that grows with the age of the
solution. Its cost does not grow with the stiffness of A. Its error is certified by the residual: exp(tA) is a contraction in the
1-norm, so that the error is at most the integral of ||y' - A y||_1, and the residual of shift-invert Arnoldi is one fixed vector
times a scalar function of time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, splu
from scipy.special import gammaln
from threadpoolctl import ThreadpoolController

from cme.arguments import check_times
from cme.box import BoxMatrix
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.kernels.uniformisation import uniformise
from cme.progress import Progress

SEGMENT = 400  # products in one segment of uniformisation: exp(-q t) stays far from underflow
WINDOW = 8.0  # a window ends at this multiple of the solution's age: the solution varies on the scale of its age
MAX_JUMPS = 1e15
MAX_BASIS = 100  # Arnoldi vectors in one window


@dataclass(frozen=True)
class Propagation:
    """p (T, N); `lost` (T,) is the mass that leaked; `integration_error` (T,) bounds the 1-norm of what the integrator added."""

    p: np.ndarray
    lost: np.ndarray
    integration_error: np.ndarray
    method: str


class Step(NamedTuple):
    """One accepted piece of a run: from `start` to `end`, with the solution at `end` and at the output times inside."""

    start: float
    end: float
    p: np.ndarray  # (N,) at the end
    outputs: np.ndarray  # (J, N) at the output times in (start, end]
    error: float  # bound on the 1-norm error made in this step
    within: Callable[[], np.ndarray]  # the solution at a few times inside the step, (K, N), computed when asked for
    round_off: float = 0.0  # how much of the error no smaller step would help against


def propagate(generator: Generator, p0: np.ndarray, times, *, tol: float = 1e-10, progress: Progress | None = None) -> Propagation:
    """Solve dp/dt = A p from p(0) = p0.

    Parameters
    ----------
    generator
        N states; leak is allowed.
    p0 : (N,)
        The start, non-negative.
    times : (T,)
        Output times, >= 0 and increasing.
    tol
        The integrator's error over the whole span, in the 1-norm, is kept below this, but for the round-off of very many jumps, which
        is in `integration_error` too.
    progress
        Told the time reached.

    Raises
    ------
    ConvergenceError
        If the error can't be kept below `tol` (round-off limits it to about 1e-12).

    References
    ----------
    A. Jensen, Scand. Actuar. J. 1953, 87. J. van den Eshof and M. Hochbruck, SIAM J. Sci. Comput. 27, 1438 (2006),
    doi:10.1137/040605461. M. A. Botchev, V. Grimm and M. Hochbruck, SIAM J. Sci. Comput. 35, A1376 (2013), doi:10.1137/110820191.
    """
    times = check_times(times)
    p, lost, error = np.empty((len(times), len(p0))), np.zeros(len(times)), np.zeros(len(times))
    total = float(p0.sum())
    p[times == 0] = p0
    done = unavoidable = 0.0
    integrator = Integrator(generator, times[-1], tol)
    for step in integrator.steps(p0, 0.0, times):
        inside = (times > step.start) & (times <= step.end)
        p[inside] = step.outputs
        done += step.error
        unavoidable += step.round_off
        error[inside] = done
        if progress is not None:
            progress.to(step.end)
    if done - unavoidable > tol:
        raise ConvergenceError(f"the integrator's error is only bounded by {done:.1e}, more than tol={tol:g}; loosen tol")
    if np.any(generator.leak > 0):  # otherwise what is missing is the integrator's, and in its error
        lost[:] = np.maximum(total - p.sum(axis=1), 0.0)
    return Propagation(p, lost, error, integrator.method)


class Integrator:
    """Marches one solution; `fsp` stops it, changes the states and goes on, `propagate` lets it run."""

    def __init__(self, generator: Generator, horizon: float, tol: float):
        self.generator, self.horizon, self.tol = generator, horizon, tol
        self.q = generator.largest_rate
        if self.q * horizon > MAX_JUMPS:
            raise ConvergenceError(
                f"the largest total propensity is {self.q:.1e}, so that {self.q * horizon:.1e} jumps may happen by t={horizon:g}, more "
                f"than double precision can follow ({MAX_JUMPS:.0e}); end earlier, or use stationary, lna or rate_equations"
            )
        self.box = generator.matrix if isinstance(generator.matrix, BoxMatrix) else None
        self.rows = None if isinstance(generator.matrix, LinearOperator) else generator.matrix.tocsr()
        has_entries = self.rows is not None or self.box is not None
        self.method = "rational Krylov" if has_entries and self._prefer_krylov() else "uniformisation"

    @property
    def leak(self) -> np.ndarray:
        """The rate out of the states, (N,)."""
        return self.generator.leak

    def _prefer_krylov(self) -> bool:
        """Compare the products of uniformisation with about log(t) sparse factorisations.

        The factors of a lattice of N states fill about as much as a band whose width is N over the lattice's longest side.
        """
        n_products, entries, n_states = self.q * self.horizon, self.generator.matrix.nnz, len(self.generator)
        longest = max((len(np.unique(column)) for column in self.generator.states.T), default=1)
        band = max(n_states / max(longest, 1), entries / n_states)
        windows = 1 + np.log(max(n_products / SEGMENT, 1)) / np.log(WINDOW)
        factorise = n_states * (0.1 * band**2 + 120 * min(band, 60.0))  # the factors, and sixty solves with them
        return n_products > 4 * SEGMENT and n_products * (1.5 * entries + 1000) > windows * factorise

    def steps(self, p: np.ndarray, now: float, times: np.ndarray) -> Iterator[Step]:
        """Yield the steps from time `now` to the last of `times`."""
        while now < times[-1]:
            step = self.step(p, now, times)
            yield step
            p, now = step.p, step.end

    def step(self, p: np.ndarray, now: float, times: np.ndarray, longest: float = np.inf) -> Step:
        """One step: a segment of uniformisation, or a window of rational Krylov once the solution is old enough to be smooth.

        It is at most about `longest` long, but not shorter than a segment.
        """
        last = float(times[-1])
        if self.q == 0.0:
            outputs = times[(times > now)]
            return Step(now, last, p, np.repeat(p[None], len(outputs), axis=0), 0.0, lambda: p[None])
        segment = 0.95 * SEGMENT / self.q
        if self.method == "uniformisation" or now < 0.99 * segment:
            end = last if last - now <= SEGMENT / self.q else now + segment
            return self._uniformise(p, now, end, times)
        end = last if last <= 1.3 * WINDOW * now else WINDOW * now
        end = min(end, now + longest)
        if end - now <= 4 * segment:  # too little for a factorisation to pay
            return self._uniformise(p, now, min(end, now + segment), times)
        while True:
            # The matrices are small: threads of the linear algebra would spend their time waiting for each other.
            with _blas_threads().limit(limits=1, user_api="blas"):
                step = self._window(p, now, end, times)
            if step is not None:
                return step
            end = now + (end - now) / 4
            if end - now <= segment:
                return self._uniformise(p, now, end, times)

    def _share(self, now: float, end: float) -> float:
        """The error that a step may make: half of the tolerance goes with the time, half with its logarithm."""
        early = SEGMENT / self.q
        if self.horizon <= early:
            return self.tol
        log_part = np.log(max(end, early) / max(now, early)) / np.log(self.horizon / early)
        return 0.5 * self.tol * ((end - now) / self.horizon + log_part) + 1e-3 * self.tol

    # --------------------------------------------------------------------------------------------- uniformisation

    def _uniformise(self, p: np.ndarray, now: float, end: float, times: np.ndarray) -> Step:
        wanted = np.append(times[(times > now) & (times < end)], end)
        share = self.tol * min((end - now) / self.horizon, 1.0)
        weights = poisson_weights(self.q * (wanted - now), 0.1 * share)
        out, dropped = np.zeros((len(wanted), len(p))), 0.0
        if self.box is not None:
            dropped = self.box.uniformise(self.q, weights, p, out, 0.5 * share)
        elif (rows := self.rows) is None:  # matrix-free
            current = p
            for column in weights.T:
                out += np.outer(column, current)
                current = current + (self.generator @ current) / self.q
        else:
            uniformise(rows.indptr, rows.indices, rows.data, self.q, weights, p.copy(), np.empty_like(p), out)
        left_out = float(p.sum()) * (1.0 - weights[-1].sum())
        error = max(left_out, 0.0) + dropped + 1e-16 * weights.shape[1]
        outputs = out if end in times else out[:-1]
        return Step(now, end, out[-1], outputs, error, lambda: np.array([p, out[-1]]))

    # ----------------------------------------------------------------------------------------------- rational Krylov

    def _window(self, p: np.ndarray, now: float, end: float, times: np.ndarray) -> Step | None:
        """A window of rational Krylov, or None where the basis does not suffice."""
        length, tol = end - now, self._share(now, end)
        gamma = length / 8.0
        matrix = self.generator.sparse()
        solve = _factorise(matrix, gamma)
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
                except la.LinAlgError:
                    return None
                small = (np.eye(m) - inverse) / gamma  # A seen from the basis
                residual = basis[m] - gamma * (matrix @ basis[m])
                scale = beta * h[m, m - 1] / gamma * float(np.abs(residual).sum())
                error = scale * _integral_of_residual(inverse[-1], small, length)
                if error <= tol or exhausted:
                    break
                if m >= 36 and error > 0.3 * last:  # stagnation: round-off, or a window that is too long
                    return None
                last = error
        else:
            return None

        with_leak = np.zeros((m + 1, m + 1))  # one row more, for what has leaked
        with_leak[:m, :m], with_leak[m, :m] = small, basis[:m] @ self.generator.leak

        def solution(ages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = beta * np.array([_exponential(age * with_leak)[:, 0] for age in ages])
            return found[:, :m] @ basis[:m], found[:, m]

        out, leaked = solution(np.append(times[(times > now) & (times < end)], end) - now)
        # What round-off and the approximation left below zero is set to zero and booked as error.
        below = max(float(-row[row < 0].sum()) for row in out)
        out[out < 0] = 0.0
        # Round-off grows as the largest rate times the length of the window. It is worst in what never decays, the total, where it can be
        # seen and undone; it is booked all the same, since what decays slowly has suffered alike.
        there, due = out.sum(axis=1), p.sum() - np.maximum(leaked, 0.0)
        astray = float(np.abs(there - due).max())
        out *= (due / there)[:, None]
        outputs = out if end in times else out[:-1]
        error += below + astray + 1e-15 * m
        return Step(now, end, out[-1], outputs, error, lambda: solution(length * 0.5 ** np.arange(8))[0], astray)


@cache
def _blas_threads() -> ThreadpoolController:
    return ThreadpoolController()


def poisson_weights(means: np.ndarray, tail: float) -> np.ndarray:
    """Poisson probabilities (J, K) for each mean, cut where at most `tail` is left out of the largest mean."""
    largest = float(means[-1])
    k = np.arange(int(largest + 12 * np.sqrt(largest) + 60))
    weights = np.zeros((len(means), len(k)))
    for row, mean in zip(weights, means, strict=True):
        log_p = k * np.log(mean) - mean - gammaln(k + 1.0)
        row[:] = np.exp(log_p - log_p.max())
        row /= row.sum()  # the sum over all k is one: this removes the rounding of log-gamma, the tail at 12 sigma is below 1e-30
    beyond = np.cumsum(weights[-1][::-1])[::-1]
    n_terms = max(int(np.count_nonzero(beyond > tail)), 1)
    return np.ascontiguousarray(weights[:, :n_terms])


def _factorise(matrix: sp.csc_array, gamma: float):
    """Solve with I - gamma A: a column diagonally dominant M-matrix, so that no pivoting is needed."""
    shifted = sp.csc_matrix(sp.eye_array(matrix.shape[0], format="csc") - gamma * matrix)
    return splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def _integral_of_residual(row: np.ndarray, small: np.ndarray, length: float) -> float:
    """The integral over (0, length) of |row exp(s small) e_1|, by Gauss quadrature on panels that double.

    exp on the next panel is the square of exp on this one, so that all panels cost little more than one.
    """
    n_panels = max(_halvings(length * small), 8)
    s = length * 0.5**n_panels
    steps = s * np.append(0.5 * (1 + _NODES), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # a basis that is too small may grow without bound: no bound then
        powers = _exponential(steps[:, None, None] * small)  # (11, m, m)
        integral = 0.5 * s * (_WEIGHTS @ np.abs(powers[:-1, :, 0] @ row))
        for _ in range(n_panels):  # the panel (s, 2 s)
            integral += 0.5 * s * (_WEIGHTS @ np.abs(powers[:-1, :, 0] @ (row @ powers[-1])))
            powers, s = powers @ powers, 2 * s
    return float(integral) if np.isfinite(integral) else np.inf


def _exponential(x: np.ndarray) -> np.ndarray:
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
