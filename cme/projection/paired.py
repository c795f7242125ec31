"""`Paired`: steps of a law that is kept by its modes along the lines of a fast reversible pair, with a bound on all that they lose."""

import numpy as np

from cme.kernels import paired
from cme.projection.fast_pair import MOST_MODES, FastPair
from cme.projection.line_matrix import LineMatrix
from cme.projection.polynomials import LONGEST, ROUNDING, Coefficients, Step, n_products
from cme.projection.propagate import Reach
from cme.states import StateSpace

STRAY = 0.5  # of the integrator's tolerance, what may stray from the modes
AT_FIRST = 0.2  # of that, what may when a series begins: it grows until it ends
TINY = 1e-3  # times q, the shortest series that is tried
DECADES = 2.5  # by which four modes more lessen what strays, about


class NotOnModesError(Exception):
    """The law strays from the modes."""


class Paired:
    """The stepper of `cme.projection.march` for lines. A law is an array (L, M); its first column is the probability of each line.

    Let y be the law on all states that the modes stand for. Beside the remainder of a Chebyshev series, y' - A y is what the jumps
    bring to modes that are not kept. Its 1-norm is at most the sum over lines and modes of |x| times that norm for one mode; the
    series bounds its integral as it bounds x, since its coefficients are positive. In a sum of modes of one line the 1-norm is at most
    the 2-norm of their coefficients.
    """

    method, many_times = "fast_pair", True

    def __init__(self, pair: FastPair, space: StateSpace, horizon: float, tol: float, reach: Reach):
        self._pair, self._space, self._horizon, self._tol, self._reach = pair, space, horizon, tol, reach
        self._matrix, self._tuned = LineMatrix(pair, space), False

    @property
    def leak(self) -> np.ndarray:
        """The rate out of the set where the pair is in equilibrium, (L,)."""
        return self._matrix.leak

    @property
    def exit_rates(self) -> np.ndarray:
        """The total rate out of each line where the pair is in equilibrium, (L,)."""
        return self._matrix.exit_rates

    def least_stride(self, now: float) -> float:
        """See `cme.projection.march.Stepper`."""
        return 0.0

    def note_travel(self, now: float, time: float) -> None:
        """See `cme.projection.march.Stepper`."""

    def step(self, p: np.ndarray, now: float, times: np.ndarray) -> Step:
        """One series; with more modes where what strays is too much."""
        times = times[times > now]
        if not self._tuned:
            self._tune(p[None])
        limit = now + min(LONGEST, self._reach.jumps) / self._matrix.q
        while True:
            marks = times if times[-1] <= now + 1.3 * (limit - now) else np.append(times[times < limit], limit)
            tol = self._tol * float(marks[-1] - now) / self._horizon
            found, strayed = self._series(p, now, marks, (1 - STRAY) * tol)
            if found is None:
                if self._matrix.q * float(marks[0] - now) < TINY:
                    raise NotOnModesError
                limit = now + (marks[0] - now) / 4
                continue
            too_much = strayed / (STRAY * tol * float(found.end - now) / float(marks[-1] - now))
            if too_much > 1:
                self._tune(np.concatenate([p[None], found.laws]) if p.shape == found.p.shape else found.laws, too_much)
                continue
            tried = self._matrix.q * float(marks[-1] - now)
            if len(found.times) < len(marks) or marks[-1] == limit:
                self._reach.note_series(self._matrix.q * (found.end - now), tried, found.n_products / n_products(tried, tol))
            return found

    def work(self, p: np.ndarray) -> float:
        """What a law costs in a unit of time: modes, times the root of the fastest rate."""
        self._tune(p[None])
        return len(self._matrix.defect) * float(np.sqrt(self._matrix.q))

    def round_off(self) -> float:
        """About what rounding adds until the horizon."""
        return 2 * ROUNDING * self._matrix.roughness * self._matrix.q * self._horizon

    def _tune(self, laws: np.ndarray, too_much: float = 0.0) -> None:
        """Keep more modes on lines of those kinds where much strays from one of the laws, or has so many times too much."""
        self._tuned, first, asked = True, self._matrix, too_much > 0
        allowed = AT_FIRST * STRAY * self._tol / self._horizon
        while True:
            matrix = self._matrix
            strays = np.max([matrix.strays(matrix.flat(p)[0]) for p in laws], axis=0)
            if too_much:
                allowed, too_much = min(allowed, float(strays.sum()) / (4 * too_much)), 0.0
            if strays.sum() <= allowed:
                if matrix is first and asked:
                    raise NotOnModesError  # what strays is round-off of the modes
                return
            excess = strays / (0.5 * allowed / len(strays))
            more = np.where(excess > 1, np.ceil(np.log10(np.maximum(excess, 1.0)) / DECADES), 0).astype(np.int64)
            whole = (self._pair.length(matrix.kinds) + 3) // 4 * 4
            n_modes = np.minimum(matrix.n_modes + 4 * more, np.maximum(whole, matrix.n_modes))
            if n_modes.max() > MOST_MODES or np.array_equal(n_modes, matrix.n_modes):
                raise NotOnModesError
            self._pair.keep_modes(matrix.kinds, n_modes)
            self._matrix = LineMatrix(self._pair, self._space)

    def _series(self, p: np.ndarray, now: float, times: np.ndarray, tol: float) -> tuple[Step | None, float]:
        """As many of the times as one series certifies with what it leaves out below `tol`, None if there is none; and what strays."""
        matrix = self._matrix
        series = Coefficients(matrix.q * (times - now))
        norms, strays, cursor = np.zeros(series.n_terms), np.zeros(series.n_terms), np.zeros(2, dtype=np.int64)
        previous, cut = matrix.flat(p)
        out = np.empty((len(times), len(previous)))
        rounding = ROUNDING * matrix.roughness
        unavoidable = 4 * rounding * series.z * float(p[:, 0].sum())
        ends = series.tails[-1], 0.7 * tol, max(0.3 * tol, unavoidable[-1]), rounding
        workspace = np.zeros_like(previous), np.empty(MOST_MODES)
        paired.chebyshev_series(matrix.blocks, matrix.defect, series.weights, *ends, cursor, previous, *workspace, norms, strays, out)
        last = int(cursor[0]) - 1
        left_out, rounded = series.left_out(norms, last), rounding * 2 * (series.tails[:, : last + 1] @ norms[: last + 1])
        strayed = series.integrals[:, : last + 1] @ strays[: last + 1] / matrix.q
        certified = np.logical_and.accumulate(left_out + np.where(rounded <= unavoidable, 0.0, rounded) <= tol)
        n = int(np.count_nonzero(certified))
        if not n:
            return None, 0.0
        errors = (cut + left_out + strayed + rounded)[:n]
        return Step(now, times[:n], matrix.by_line(out[:n]), errors, float(rounded[n - 1]), last), float(strayed[n - 1])
