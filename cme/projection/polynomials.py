"""exp(tA) p as a polynomial of A applied to p, for several times at once: uniformisation and Chebyshev's series.

Both know a bound on the 1-norm of what they leave out. Round-off is estimated.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator
from scipy.special import gammaln

from cme.box import BoxMatrix
from cme.generator import Generator
from cme.kernels import chebyshev
from cme.kernels.uniformisation import uniformise
from cme.projection.bursts import BurstMatrix
from cme.projection.lines import Lines

SEGMENT = 400  # products in one segment of uniformisation: exp(-q t) stays far from underflow
LARGE_BOX = 200_000  # states of a full box from which on it is not written out
SCATTERED = 2000  # states from which on it matters in which order they are
LONGEST = 1e6  # q t in one Chebyshev series
FAINT = 1e-40  # coefficients of a series that are left out from the start
ROUNDING = 2.2e-16  # of the 1-norm of a term, in a product


class Step(NamedTuple):
    """A piece of a run from `start` to the last of `times`, with the law at each of those."""

    start: float
    times: np.ndarray  # (J,)
    laws: np.ndarray  # (J, N)
    errors: np.ndarray  # (J,): bounds on the 1-norm of the error made since the start
    round_off: float = 0.0  # how much of the error no smaller step would help against
    n_products: int = 0  # of a series

    @property
    def end(self) -> float:
        return float(self.times[-1])

    @property
    def p(self) -> np.ndarray:
        return self.laws[-1]

    @property
    def error(self) -> float:
        return float(self.errors[-1])


def joined(steps: list[Step]) -> Step:
    """Steps one after the other as one."""
    if len(steps) == 1:
        return steps[0]
    before = np.append(0.0, np.cumsum([step.error for step in steps]))
    errors = np.concatenate([done + step.errors for done, step in zip(before, steps, strict=False)])
    times, laws = np.concatenate([step.times for step in steps]), np.concatenate([step.laws for step in steps])
    return Step(steps[0].start, times, laws, errors, sum(step.round_off for step in steps))


class Rows:
    """A generator by rows, for kernels. Without entries (a `LinearOperator`, or a large box) it is applied as it is.

    Rates may be off by a relative `deviation`, which is as if products had such rounding errors too.
    """

    def __init__(self, generator: Generator, deviation: float = 0.0):
        self.generator, self.q, self._deviation = generator, generator.largest_rate, deviation
        self.box = generator.matrix if isinstance(generator.matrix, BoxMatrix) else None
        self.has_entries = self.box is not None or not isinstance(generator.matrix, LinearOperator)
        self.bursts = generator.matrix if isinstance(generator.matrix, BurstMatrix) else None
        self.factorises = self.has_entries or self.bursts is not None
        self.matrix_free = not self.has_entries or (self.box is not None and len(generator) > LARGE_BOX)
        self.n_entries = generator.matrix.nnz if self.factorises else 0

    @cached_property
    def order(self) -> np.ndarray | None:
        """The states in the order of their counts, so that neighbours lie near each other in memory; None where that does not matter."""
        if len(self.generator) < SCATTERED or self.generator.states.dtype.kind != "i":
            return None
        return by_counts(self.generator.states)

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pointer, index and rate, of the states in `order`."""
        columns = self.generator.sparse()
        rows = columns.tocsr() if self.order is None else reordered(columns, self.order)
        narrow = np.int32 if rows.nnz < 2**31 else np.int64
        return rows.indptr.astype(narrow, copy=False), rows.indices.astype(narrow, copy=False), rows.data

    @cached_property
    def lines(self) -> Lines | None:
        """The matrix by pieces of lines, where states are many and lie in lines; `entries` are then not kept."""
        if self.order is None:
            return None
        states, exit_rates = self.generator.states[self.order], self.generator.exit_rates[self.order]
        found = Lines(self.entries, states, exit_rates, self._deviation)
        if found.worthwhile:
            del self.entries
        return found if found.worthwhile else None

    def sorted(self, p: np.ndarray) -> np.ndarray:
        """A copy of a law, as the entries are in order."""
        return p.copy() if self.order is None else p[self.order]

    def restored(self, laws: np.ndarray) -> np.ndarray:
        """Laws (J, N) as the states are."""
        if self.order is None:
            return laws
        out = np.empty_like(laws)
        out[:, self.order] = laws
        return out

    def jump(self, p: np.ndarray) -> np.ndarray:
        """(I + A/q) p."""
        return p + (self.generator @ p) / self.q


def by_counts(states: np.ndarray) -> np.ndarray:
    """The places of states (N, S) in lexicographic order; the species with most different counts comes last."""
    spans = states.max(axis=0) - states.min(axis=0) + 1
    code = np.zeros(len(states))
    for s in np.argsort(spans):
        code = code * float(spans[s]) + (states[:, s] - states[:, s].min())
    return np.argsort(code, kind="stable")


def reordered(columns: sp.csc_array, order: np.ndarray) -> sp.csr_array:
    """A matrix by rows, with rows and columns in another order."""
    place = np.empty(len(order), dtype=columns.indices.dtype)
    place[order] = np.arange(len(order), dtype=place.dtype)
    moved = sp.csc_array((columns.data, place[columns.indices], columns.indptr), shape=columns.shape)[:, order]
    return moved.tocsr()


# ------------------------------------------------------------------------------------------------------- uniformisation


def uniformisation(rows: Rows, p: np.ndarray, now: float, times: np.ndarray, tail: float) -> Step:
    """A mixture of powers of the non-negative matrix I + A/q, of which at most `tail` is left out; at most one segment long."""
    last = now + SEGMENT / rows.q
    if times[-1] > last:
        times = np.append(times[times < last], last)
    weights = poisson_weights(rows.q * (times - now), 0.5 * tail if rows.box is not None else tail)
    out, dropped = np.zeros((len(times), len(p))), 0.0
    if rows.box is not None:
        dropped = rows.box.uniformise(rows.q, weights, p, out, 0.5 * tail)
    elif rows.matrix_free:
        current = p
        for column in weights.T:
            out += np.outer(column, current)
            current = rows.jump(current)
    else:
        pointer, index, rate = rows.entries
        uniformise(pointer, index, rate, rows.q, weights, rows.sorted(p), np.empty_like(p), out)
        out = rows.restored(out)
    left_out = float(p.sum()) * np.maximum(1.0 - weights.sum(axis=1), 0.0)
    return Step(now, times, out, left_out + dropped + 1e-16 * weights.shape[1])


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


# -------------------------------------------------------------------------------------------------------- Chebyshev's series


def n_products(z: float, tol: float) -> float:
    """About how many products a Chebyshev series over q t = z takes."""
    digits = 2.0 - np.log(tol)
    return float(np.sqrt(2 * z * digits + digits**2))


class Coefficients:
    """The coefficients of exp(tA) as a Chebyshev series, for J times.

    Attributes
    ----------
    z : (J,)
        q t.
    weights : (J, K)
        exp(-z) I_k(z), twice that from k = 1 on.
    tails : (J, K)
        exp(-x) I_k(x) integrated from 0 to z.
    """

    def __init__(self, z: np.ndarray):
        self.z, self.n_terms = z, int(n_products(z[-1], FAINT) + 20)
        self.weights = values = np.zeros((len(z), self.n_terms))
        self._known = np.minimum([int(n_products(mean, FAINT) + 20) for mean in z.tolist()], self.n_terms)
        for row, mean, n_known in zip(values, z.tolist(), self._known.tolist(), strict=True):
            chebyshev.scaled_bessel(mean, row[:n_known])
        beyond = np.zeros_like(values)
        beyond[:, :-1] = np.cumsum(values[:, :0:-1], axis=1)[:, ::-1]  # the sum over all terms after k
        self.tails = 2 * np.cumsum(beyond[:, ::-1], axis=1)[:, ::-1]  # the integral: see its derivative
        values[:, 1:] *= 2

    @property
    def integrals(self) -> np.ndarray:
        """The weights integrated from 0 to z, (J, K)."""
        return self.tails * np.append(1.0, np.full(self.n_terms - 1, 2.0))

    def left_out(self, norms: np.ndarray, last: int) -> np.ndarray:
        """A bound on the error of the series that ends before term `last`, for terms with such norms, (J,)."""
        # Coefficients after the last known one are taken for zero, in the tails too. They fall at least as fast as exp(-i k/z), where
        # z < k^2: with the times that each counts in a tail they sum to at most k^2 times the last. It matters where terms have grown.
        largest = np.maximum.accumulate(norms[: last + 1])[np.minimum(self._known, last)]
        faint = self.n_terms**2 * self.weights[np.arange(len(self.z)), self._known - 1] * largest
        faint += np.where(self.weights < chebyshev.SKIPPED, self.weights, 0.0)[:, : last + 1] @ norms[: last + 1]
        return self.tails[:, last - 1] * norms[last] + self.tails[:, last] * norms[last - 1] + faint


def chebyshev_series(rows: Rows, p: np.ndarray, now: float, times: np.ndarray, tol: float) -> Step | None:
    """As many of the times as one series certifies, with errors of at most `tol`; None if there is not one.

    Terms of a law that travels may grow before their coefficients decay; the series is then given up where their round-off matters.
    """
    times = times[: max(int(np.searchsorted(rows.q * (times - now), LONGEST)), 1)]
    z = rows.q * (times - now)
    if z[0] > LONGEST:
        return None
    series = Coefficients(z)
    values, tails = series.weights, series.tails
    norms, cursor, out = np.zeros(series.n_terms), np.zeros(2, dtype=np.int64), np.empty((len(z), len(p)))
    by_entries = not rows.matrix_free
    rounding = ROUNDING + (rows.lines.deviation if by_entries and rows.lines is not None else 0.0)
    rounding *= 1.0 if rows.bursts is None else 1.0 + rows.bursts.roughness
    unavoidable = 4 * rounding * z * float(p.sum())  # a shorter series does not help against as much round-off
    dropped = 0.0
    if rows.box is not None and rows.matrix_free:
        out[:] = 0.0
        ends = tails[-1], 0.6 * tol, max(0.3 * tol, unavoidable[-1]), rounding
        dropped = rows.box.chebyshev(rows.q, p, values, ends, 0.1 * tol, (cursor, norms, out))
    elif rows.matrix_free:
        _without_entries(rows, p, values, tails[-1], tol, norms, cursor, out)
    else:
        previous, current = rows.sorted(p), np.zeros_like(p)
        arguments = values, tails[-1], 0.7 * tol, max(0.3 * tol, unavoidable[-1]), rounding, cursor, previous, current, norms, out
        if rows.lines is not None:
            rows.lines.series(*arguments)
        else:
            pointer, index, rate = rows.entries
            chebyshev.chebyshev_series(pointer, index, rate / rows.q, *arguments)
        out = rows.restored(out)
    last = int(cursor[0]) - 1
    left_out = series.left_out(norms, last) + dropped
    rounded = rounding * 2 * (tails[:, : last + 1] @ norms[: last + 1])
    certified = np.logical_and.accumulate(left_out + np.where(rounded <= unavoidable, 0.0, rounded) <= tol)
    if not certified[0]:
        return None
    n_certified = int(np.count_nonzero(certified))
    out = out[:n_certified]
    np.maximum(out, 0.0, out=out)  # the law is not negative: this brings the answer nearer to it
    return Step(now, times[:n_certified], out, (left_out + rounded)[:n_certified], float(rounded[n_certified - 1]), last)


def _without_entries(rows: Rows, p, weights, tails, tol, norms, cursor, out) -> None:
    """The kernel's twin for a generator that can only be applied."""
    previous, current = np.zeros_like(p), p
    norms[0], out[:] = np.abs(p).sum(), 0.0
    for k in range(1, weights.shape[1]):
        out += np.outer(weights[:, k - 1], current)
        previous, current = current, rows.jump(current) if k == 1 else 2 * rows.jump(current) - previous
        norms[k] = np.abs(current).sum()
        cursor[0] = k + 1
        if tails[k - 1] * norms[k] + tails[k] * norms[k - 1] <= 0.7 * tol or not norms[k] < 1e14 * norms[0]:
            return
