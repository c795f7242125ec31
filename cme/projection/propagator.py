"""dp/dt = A(t) p: the propagator U(t, s), and its action on one law, with step sizes chosen by the error."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.sparse.linalg import LinearOperator

from cme.abilities import require
from cme.arguments import check_positive, check_times
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator
from cme.kernels.uniformisation import uniformise
from cme.moving_rates import with_entries
from cme.progress import Progress
from cme.projection.polynomials import SEGMENT, poisson_weights
from cme.projection.propagate import Propagation, propagate

DENSE = 1500  # states up to which a propagator is computed as a full matrix
MAX_STEPS = 100_000
ROUND_OFF = 1e-14  # what rounding may make of the error that is found for a step, however short
ROUGH_STEPS = 20  # steps in which rounding may decide without being told of
_C = np.sqrt(3) / 6

Exponential = Callable[[Generator, float, np.ndarray], np.ndarray]  # exp(h A) applied to a vector or a matrix


def propagator(generator: Generator | TimeDependentGenerator, t: float, s: float = 0.0, *, tol: float = 1e-10) -> np.ndarray:
    """The propagator U(t, s) of a master equation: p(t) = U(t, s) p(s), a matrix (N, N) with non-negative entries.

    Where nothing leaks its columns sum to one. U(u, s) = U(u, t) U(t, s) for s < t < u (Chapman-Kolmogorov).

    Parameters
    ----------
    generator
        Up to 1500 states.
    t, s
        Times, t >= s; s matters only for a time-dependent generator.
    tol
        Error allowed in a column, in the 1-norm, by step doubling (time-dependent generators only).

    Raises
    ------
    ValueError
        If t < s, or the generator is too large or matrix-free.
    ConvergenceError
        If the steps become too many.

    Examples
    --------
    >>> import cme, math
    >>> u = cme.propagator(cme.Generator.from_rates([[0, 1], [1, 0]]), 1.0)
    >>> bool(abs(u[0, 0] - (1 + math.exp(-2)) / 2) < 1e-14)
    True
    """
    require(generator, "propagator")
    if not (np.isfinite(t) and np.isfinite(s)):
        raise ValueError(f"a propagator is from one finite time to another, not from s={s:g} to t={t:g}; for t = inf use stationary")
    if not t >= s:
        raise ValueError(f"a propagator goes forward in time: t={t:g} must not be before s={s:g}")
    if len(generator) > DENSE:
        raise ValueError(f"{len(generator)} states are too many for a full propagator (at most {DENSE}); propagate a law with fsp instead")
    if isinstance(generator, Generator):
        return _exponential(generator, t - s)
    start = np.eye(len(generator))

    def exponential(a: Generator, h: float, x: np.ndarray) -> np.ndarray:
        return _exponential(a, h) @ x

    return _march(generator, start, s, np.array([t]), check_positive("tol", tol), exponential)[0][0]


def _exponential(generator: Generator, h: float) -> np.ndarray:
    """exp(hA) as a full matrix without subtractions: a Poisson mixture of powers of I + A/q for a short time, squared up to h.

    What leaks goes to one more state, so that all columns sum to one. Dividing by the sums keeps rounding, which each square doubles, from
    growing: what stays off is as if rates were, by a few parts in 1e16 each.
    """
    n_states, q = len(generator), h * generator.largest_rate
    n_squarings = max(0, int(np.ceil(np.log2(max(q, 1e-300)))))
    step = h / 2.0**n_squarings
    jumps = np.zeros((n_states + 1, n_states + 1))
    jumps[:n_states, :n_states] = generator.sparse("a full propagator").toarray() * step
    np.fill_diagonal(jumps, 0.0)
    jumps[n_states, :n_states] = generator.leak * step
    out = jumps.sum(axis=0)
    mean = float(out.max())
    np.fill_diagonal(jumps, mean - out)
    total = np.eye(n_states + 1)
    for k in range(20, 0, -1):  # Horner's rule; 1/21! is below round-off
        total = np.eye(n_states + 1) + jumps @ total / k
    for squaring in range(n_squarings + 1):
        total = total @ total if squaring else total
        total /= total.sum(axis=0)
    return total[:n_states, :n_states]


def evolve(
    generator: Generator | TimeDependentGenerator,
    p0: np.ndarray,
    times,
    *,
    tol: float = 1e-10,
    method: str = "auto",
    progress: Progress | None = None,
) -> Propagation:
    """Solve dp/dt = A(t) p from p(0) = p0: `propagate` for a constant generator, Magnus steps for one that depends on time.

    In the second case `integration_error` is an estimate by step doubling, not a bound.
    """
    if isinstance(generator, Generator):
        return propagate(generator, p0, times, tol=tol, method=method, progress=progress)
    if method != "auto":
        raise ValueError(f'method="{method}" is for constant rates, and those of this generator depend on time; leave it out')

    times = check_times(times)
    outputs, errors = _march(generator, np.asarray(p0, dtype=np.float64), 0.0, times, tol, on_a_law(tol), progress)
    p = np.array(outputs)
    lost = p0.sum() - p.sum(axis=1)
    return Propagation(p, np.where(lost > 0, lost, 0.0), np.array(errors), "commutator-free Magnus, order 4")


def on_a_law(tol: float) -> Exponential:
    """The exponential on one law, with an error far below `tol`: by uniformisation where that takes few products."""

    def exponential(a: Generator, h: float, x: np.ndarray) -> np.ndarray:
        mean = h * a.largest_rate
        if isinstance(a.matrix, LinearOperator) or not 0 < mean <= SEGMENT:
            return propagate(a, x, [h], tol=1e-3 * tol).p[0]
        rows, out = a.matrix.tocsr(), np.zeros((1, len(x)))
        weights = poisson_weights(np.array([mean]), 1e-17)  # what is cut off a short step must not pass for its error
        uniformise(rows.indptr, rows.indices, rows.data, a.largest_rate, weights, x.copy(), np.empty_like(x), out)
        return out[0]

    return exponential


def _march(
    generator: TimeDependentGenerator,
    x: np.ndarray,
    now: float,
    times: np.ndarray,
    tol: float,
    exponential: Exponential,
    progress: Progress | None = None,
) -> tuple[list[np.ndarray], list[float]]:
    """Advance to each of the times with steps whose error, in the 1-norm of a column, adds up to at most `tol`."""
    outputs, errors, error = [], [], 0.0
    start, end = now, float(times[-1])
    breaks = [time for time in generator.breaks if start < time < end]
    for first, last in pairwise([start, *breaks, end]):
        share = tol * (last - first) / max(end - start, 1e-300)
        magnus = Magnus(_between(generator, first, last) if breaks else generator, first, last, share, exponential)
        inside = times[(times >= first) & (times < last)].tolist()
        for time in [*inside, last]:
            while not magnus.same(now, time):
                x, now, found = magnus.advance(x, now, time)
                error += found
                if magnus.rough >= ROUGH_STEPS and error > tol:
                    raise ConvergenceError(too_rough(error, now - start, end - start, error / tol, tol))
                if progress is not None:
                    progress.to(now)
            if time < last or last == end:
                outputs.append(x)
                errors.append(error)
    return outputs, errors


def _between(generator: TimeDependentGenerator, first: float, last: float) -> TimeDependentGenerator:
    """The generator between two breaks, whose ends look inward."""
    edge = 4 * np.spacing(max(abs(first), abs(last)))
    return TimeDependentGenerator(lambda time: generator.at(min(max(time, first + edge), last - edge)), ends=generator.ends)


class Magnus:
    """Steps in time whose errors, estimated by step doubling, add up to at most `tol` from `start` to `end`.

    No step is longer than a 32nd of that, or of `span`, or passes one of the generator's `ends`, so that no pulse of the rates falls
    between the points looked at. Rounding may make the errors add up to more than `tol`: the one who sums them up says so, see `rough`.
    """

    method = "commutator-free Magnus, order 4"

    def __init__(
        self,
        generator: TimeDependentGenerator,
        start: float,
        end: float,
        tol: float,
        exponential: Exponential,
        span: float | None = None,
    ):
        self.generator, self.tol, self._exponential = generator, tol, exponential
        self.rough = 0  # steps in which rounding decided
        self.duration = max(end - start, 1e-300)
        self.longest = max(self.duration if span is None else span, 1e-300) / 32
        self._blink = 64 * float(np.spacing(abs(end)))  # times closer than this are the same
        self._h, self._n_steps = self.longest, 0
        inside = [time for time in generator.ends if start < time < end]
        self._ends = np.array([start, *inside, end, np.inf])  # of cells, each of which gets its share of half the tolerance

    def same(self, now: float, time: float) -> bool:
        """Is there nothing to do between two times?"""
        return not time - now > self._blink

    def advance(self, x: np.ndarray, now: float, time: float) -> tuple[np.ndarray, float, float]:
        """One accepted step from `now`, not beyond `time`: where it leads, the time then, and its error."""
        generator, wanted = self.generator, self._h
        cell = int(np.searchsorted(self._ends, now + self._blink, side="right"))
        room, width = float(self._ends[cell]) - now, float(self._ends[cell] - self._ends[cell - 1])
        while True:
            h = min(wanted, self.longest, time - now, room)
            if self._n_steps >= MAX_STEPS or h < min(1e-13 * self.duration, 0.5 * min(time - now, room)):
                raise ConvergenceError(
                    f"the time-dependent rates need steps of {h:.1e} at t={now:.6g}; loosen tol={self.tol:g} or smooth the rates"
                )
            self._n_steps += 1
            whole, order = _step(generator, x, now, h, self._exponential)
            half, order_1 = _step(generator, x, now, h / 2, self._exponential)
            twice, order_2 = _step(generator, half, now + h / 2, h / 2, self._exponential)
            order = min(order, order_1, order_2)
            found = _column_norm(whole - twice) / (2.0**order - 1)
            found = max(found, h * _column_norm(_quadrature_gap(generator, now, h, x)))
            share = self.tol * h * 0.5 * (1 / self.duration + 1 / (width * (len(self._ends) - 2)))
            allowed = max(share, ROUND_OFF)
            # Round-off does not fall with h: what is found there says nothing against a longer step, as after a kink of the rates.
            least = 2.0 if found <= ROUND_OFF else 0.2
            was_cut, wanted = h < wanted, h * min(4.0, max(least, 0.9 * (allowed / max(found, 1e-300)) ** (1 / (order + 1))))
            if found <= allowed:
                self.rough += found > share
                self._h = max(wanted, self._h) if was_cut else wanted  # an output time says nothing about the step after it
                return twice, (time if now + h >= time - self._blink else now + h), found


def too_rough(error: float, passed: float, duration: float, excess: float, tol: float) -> str:
    """That the errors so far are above what is allowed, `excess` times, since steps are so many that rounding decides.

    Not foreseen but spent: rates that come to rest are followed in longer and longer steps, and what the first ones cost says nothing then.
    """
    return (
        "rates that move with time are followed in so short steps here that round-off alone is too much: "
        f"about {error:.1e} in {passed:.3g} of {duration:.3g} units of time; loosen tol={tol:g}, about "
        f"{np.ceil(1.2 * excess * duration / passed):.0f}-fold if it goes on like this"
    )


def _column_norm(x: np.ndarray) -> float:
    return float(np.abs(x).sum(axis=0).max())


def _quadrature_gap(generator: TimeDependentGenerator, now: float, h: float, x: np.ndarray) -> np.ndarray:
    """Simpson's minus Gauss's mean of A(t) x over a step: of the order of the step's error, and it sees a switch at the end of the step."""
    ends, middle = (generator.at(now) @ x + generator.at(now + h) @ x), generator.at(now + h / 2) @ x
    gauss = sum(generator.at(now + (0.5 + sign * _C) * h) @ x for sign in (-1, 1))
    return (ends + 4 * middle) / 6 - gauss / 2


def _step(generator: TimeDependentGenerator, x: np.ndarray, now: float, h: float, exponential: Exponential) -> tuple[np.ndarray, int]:
    """One step and its order: two exponentials of order 4 (Blanes and Moan 2006), or the midpoint rule where those need negative rates."""
    early, late = (generator.at(now + (0.5 + sign * _C) * h) for sign in (-1, 1))
    first, second = (_mix(a, b) for a, b in ((early, late), (late, early)))
    if first is None or second is None:
        return exponential(generator.at(now + h / 2), h, x), 2
    return exponential(second, h, exponential(first, h, x)), 4


def _mix(near: Generator, far: Generator) -> Generator | None:
    """(1/4 + sqrt(3)/6) A_near + (1/4 - sqrt(3)/6) A_far; None if a rate comes out negative."""
    if isinstance(near.matrix, LinearOperator):
        return None  # its entries can't be seen
    leak = (0.25 + _C) * near.leak + (0.25 - _C) * far.leak
    a, b = near.sparse(), far.sparse()
    if a.indices is b.indices and a.indptr is b.indptr:  # one pattern for all times: far cheaper than a sum of sparse matrices
        entries = (0.25 + _C) * a.data + (0.25 - _C) * b.data
        if np.any((entries < 0) & ((a.data > 0) | (b.data > 0))) or np.any(leak < 0):
            return None
        return Generator(with_entries(a, entries), leak, near.states, near.names, near.widths)
    matrix = (0.25 + _C) * a + (0.25 - _C) * b
    links = matrix.tocoo()
    if np.any(links.data[links.row != links.col] < 0) or np.any(leak < 0):
        return None
    return Generator(matrix.tocsc(), leak, near.states, near.names, near.widths)
