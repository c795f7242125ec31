"""The propagator: p(t) = exp(tA) p(0) for a (sub-)generator A, with a bound on the integrator's error in the 1-norm.

Six integrators, chosen from the matrix, the time span and the tolerance alone:

*uniformisation* (Jensen 1953): a Poisson mixture of powers of the non-negative matrix P = I + A/q. Its cost is q t products, its error
the Poisson tail that is left out.

*chebyshev*: the same function as a series of Chebyshev polynomials of P. Its cost is about sqrt(q t) products, for one time or many.

*krylov*: Arnoldi with incomplete orthogonalisation. A basis reaches as far as its certificate says.

*rational_krylov*: shift-invert Arnoldi, one sparse factorisation of I - gamma A for a time window that grows with the age of the
solution. Its cost does not grow with the stiffness of A.

*contour*: a contour integral over resolvents, where states lie in a narrow band. Its cost hardly depends on the time, nor its round-off.

*squaring*: exp(tA) by scaling and squaring in whole numbers of 132 bits. For few states, where so many jumps happen that round-off is felt.

Series and bases are certified by the residual: exp(tA) is a contraction in the 1-norm, so that the error is at most the integral of
||y' - A y||_1, and their residuals are one or two fixed vectors times scalar functions of time. So is that of a contour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cme.arguments import check_times
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.progress import Progress
from cme.projection import squaring
from cme.projection.contour import DIGITS, FAR_APART, MANY, WIDEST, Banded, Window, about_n_points
from cme.projection.krylov import is_full, krylov, rational_krylov
from cme.projection.polynomials import LONGEST, ROUNDING, SEGMENT, Rows, Step, chebyshev_series, joined, n_products, uniformisation

METHODS = ("uniformisation", "chebyshev", "krylov", "rational_krylov", "contour", "squaring")
FIRST_SERIES = 3e4  # q t in the first Chebyshev series: a longer one may be in vain
WINDOW = 8.0  # a window ends at this multiple of the solution's age: the solution varies on the scale of its age
EARLY = 4 * SEGMENT  # jumps of the fastest state before which the solution is too rough for rational functions
NEAREST = 2e-13  # how near the laws of a series and a contour may be expected to come
ROUGH = 100  # jumps of the fastest state that a series does before a contour
WINDOWED = 50  # q t up to which a law in a box is followed by uniformisation in a window
PATIENCE = 10  # series after which a window of rational Krylov, or a longer series, is tried again where one was in vain
GROWN = 1.5  # times the terms that a series takes, from which on two shorter ones take less
MAX_JUMPS = 1e15
LEAST = 2 * ROUNDING  # the error of a law that is written in double precision, relative to its total: no bound is below it
DEARER = 4  # times its price that a contour is worth: it has to wait until the law settles, on each set anew where sets grow
HOPELESS = 10  # times the tolerance that the round-off of series would be: that of rational Krylov is too much as well then
OFF = 1e-15  # a relative error that a rate may have
FEW = 1000  # states that tell how many dimensions the lattice has
SMALL, CHEAP = 4000, 1e-11  # up to so many states digits cost little: the integrator gets no more error than this


@dataclass(frozen=True)
class Propagation:
    """p (T, N); `lost` (T,) is the mass that leaked; `integration_error` (T,) bounds the 1-norm of what the integrator added."""

    p: np.ndarray
    lost: np.ndarray
    integration_error: np.ndarray
    method: str


def propagate(
    generator: Generator, p0: np.ndarray, times, *, tol: float = 1e-10, method: str = "auto", progress: Progress | None = None
) -> Propagation:
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
    method
        "uniformisation", "chebyshev", "krylov", "rational_krylov", "contour" or "squaring"; "auto" chooses from the matrix, the times
        and `tol`.
    progress
        Told the time reached.

    Raises
    ------
    ConvergenceError
        If the error can't be kept below `tol` (round-off limits it to about 1e-12).

    References
    ----------
    A. Jensen, Scand. Actuar. J. 1953, 87. H. Tal-Ezer and R. Kosloff, J. Chem. Phys. 81, 3967 (1984), doi:10.1063/1.448136. J. van
    den Eshof and M. Hochbruck, SIAM J. Sci. Comput. 27, 1438 (2006), doi:10.1137/040605461. M. A. Botchev, V. Grimm and M. Hochbruck,
    SIAM J. Sci. Comput. 35, A1376 (2013), doi:10.1137/110820191.
    """
    times = check_times(times)
    p, lost, error = np.empty((len(times), len(p0))), np.zeros(len(times)), np.zeros(len(times))
    total = float(p0.sum())
    p[times == 0] = p0
    done = unavoidable = 0.0
    integrator = Integrator(generator, float(times[-1]), tol, method)
    for step in integrator.steps(p0, 0.0, times):
        inside = (times > step.start) & (times <= step.end)
        wanted = np.isin(step.times, times)
        p[inside], error[inside] = step.laws[wanted], done + step.errors[wanted]
        done += step.error
        unavoidable += step.round_off
        if progress is not None:
            progress.to(step.end)
    error[times > 0] = np.maximum(error[times > 0], LEAST * total)
    if done - unavoidable > tol:
        raise ConvergenceError(f"the integrator's error is only bounded by {done:.1e}, more than tol={tol:g}; loosen tol")
    if np.any(generator.leak > 0):  # otherwise what is missing is the integrator's, and in its error
        lost[:] = np.maximum(total - p.sum(axis=1), 0.0)
    return Propagation(p, lost, error, integrator.method)


@dataclass
class Reach:
    """How far a basis or a series has reached, in jumps of the fastest state; what is learnt on one set holds for the next.

    `smooth` is the time from which a window of rational Krylov or a contour may be worth a trial, `used` the part of the last window
    before its set of states had to change; from `rough` on rational Krylov may be worth a trial where a contour does not serve yet. A law
    that travels makes the terms of a long series grow: `most` jumps in one are then tried for the next few series, `patience` of them.
    """

    jumps: float = FIRST_SERIES
    smooth: float = 0.0
    used: float = 1.0
    rough: float = 0.0
    most: float = np.inf
    patience: int = 0

    def note_series(self, reached: float, tried: float, growth: float) -> None:
        """A series reached so far of what was tried, with so many times the terms that it takes where none grows."""
        if reached < tried or growth > GROWN:
            self.most, self.patience = max(tried / 4, reached) if reached < tried else tried / 2, PATIENCE
            self.jumps = min(reached, self.most)
            return
        self.patience -= 1
        if self.patience <= 0:
            self.most = np.inf
        self.jumps = max(self.jumps, min(4 * reached, self.most))


class Integrator:
    """Marches one solution; `fsp` stops it, changes the states and goes on, `propagate` lets it run."""

    many_times = True

    def __init__(
        self,
        generator: Generator,
        horizon: float,
        tol: float,
        method: str = "auto",
        digits: float | None = None,
        reach: Reach | None = None,
    ):
        self.generator, self.horizon, self.tol = generator, horizon, tol
        self.digits = min(tol, digits or (CHEAP if len(generator) <= SMALL else tol))
        self.reach = Reach() if reach is None else reach
        self.q = generator.largest_rate
        # Rates may be a few roundings off, so that fewer numbers are read for them, where that is nothing beside the tolerance.
        self.rows = Rows(generator, OFF if 4 * OFF * self.q * horizon <= 0.01 * tol else 0.0)
        if self.q * horizon > MAX_JUMPS:
            raise ConvergenceError(
                f"the largest total propensity is {self.q:.1e}, so that {self.q * horizon:.1e} jumps may happen by t={horizon:g}, more "
                f"than double precision can follow ({MAX_JUMPS:.0e}); end earlier, or use stationary, lna or rate_equations"
            )
        entries, factors = self.rows.has_entries, self.rows.factorises
        if not {"krylov": entries, "rational_krylov": factors, "contour": entries}.get(method, True):
            raise ValueError(f'method="{method}" needs the entries of the generator, this one can only be applied; use "chebyshev"')
        if method == "squaring" and not (entries and len(generator) <= squaring.MOST_STATES):
            raise ValueError(
                f'method="squaring" is for at most {squaring.MOST_STATES} states with the entries of the generator, '
                f'and there are {len(generator)} states; use "chebyshev"'
            )
        if method == "contour" and (len(generator) > MANY or self._banded.half > FAR_APART):
            raise ValueError(
                f'method="contour" is for at most {MANY} states in a narrow band, with links to those at most {FAR_APART} places away, '
                f'and the {len(generator)} states here are too many, or their links lead too far; use "rational_krylov"'
            )
        self._ahead: Window | None = None
        self._window_tried = (0.0, 0.0)
        self.method = self._choice() if method == "auto" else method

    @property
    def leak(self) -> np.ndarray:
        """The rate out of the states, (N,)."""
        return self.generator.leak

    @property
    def exit_rates(self) -> np.ndarray:
        """The total rate out of each state, (N,)."""
        return self.generator.exit_rates

    def _choice(self) -> str:
        """Compare the products of series with about log(t) sparse factorisations, or eliminations of a band, in nanoseconds."""
        z = self.q * self.horizon
        if z <= 10 or (self.rows.box is not None and z <= WINDOWED):
            return "uniformisation"
        if not self.rows.factorises or z <= 4 * ROUGH:
            return "chebyshev"
        entries, n_states = self.rows.has_entries, len(self.generator)
        if entries and z > 4 * EARLY and n_states <= squaring.MOST_STATES and 4 * ROUNDING * z > 0.1 * self.tol:
            return "squaring"
        costs, hopeless = {"chebyshev": self._cost_of_series(z)}, ROUNDING * z > HOPELESS * self.tol
        if z > 4 * EARLY:
            windows = 1 + np.log(z / EARLY) / np.log(WINDOW)
            costs["rational_krylov"] = windows * self._cost_of_window * (100 if hopeless else 1)
        widest = FAR_APART if hopeless else WIDEST
        if entries and n_states <= MANY and self._band <= widest and self._banded.half <= widest:
            eliminate = DEARER * (8 + 8 * self._banded.half + 1.4 * self._banded.half**2)
            costs["contour"] = about_n_points(z / ROUGH) * n_states * eliminate + 100 * (1.5 * self.rows.n_entries + 1000) + 5e5
        return min(costs, key=lambda method: costs[method])

    def _cost_of_series(self, z: float) -> float:
        """Of Chebyshev series over q t = z, in nanoseconds."""
        n_series = max(z / min(self.reach.jumps, FIRST_SERIES), 1.0)
        cost = n_series * n_products(z / n_series, self.digits) * (1.5 * self.rows.n_entries + 1000)
        return cost * 100 if ROUNDING * z > 0.1 * self.tol else cost  # the round-off of so many products is felt

    @cached_property
    def _cost_of_window(self) -> float:
        """Of the factors for a window of rational Krylov, and some fifty solves with them, in nanoseconds."""
        n_states = len(self.generator)
        if is_full(n_states, self.rows.n_entries):
            return n_states**2 * (0.02 * n_states + 35) + 2e6
        filled = entries_of_factors(self._sides) / n_states
        return n_states * (1500 + 125 * filled + 0.25 * filled**2) + 2e6

    @cached_property
    def _sides(self) -> np.ndarray:
        """Those of a box of as many states, as long and about of the shape of the lattice on which the states are."""
        states = self.generator.states
        ranges = np.sort(states.max(axis=0) - states.min(axis=0) + 1.0)[::-1]
        seen = states[:: len(states) // FEW + 1]
        ranges = ranges[: max(int(np.linalg.matrix_rank(seen - seen[0])), 1)]  # counts that follow from others are no dimensions
        across = ranges[1:]
        return np.append(ranges[:1], across * (self._band / max(float(np.prod(across)), 1.0)) ** (1 / max(len(across), 1)))

    @cached_property
    def _band(self) -> float:
        """About how many states there are across the longest side of the lattice."""
        ranges = self.generator.states.max(axis=0) - self.generator.states.min(axis=0) + 1.0
        return len(self.generator) / min(float(ranges.max(initial=1.0)), len(self.generator))

    def steps(self, p: np.ndarray, now: float, times: np.ndarray) -> Iterator[Step]:
        """Yield the steps from time `now` to the last of `times`."""
        while now < times[-1]:
            step = self.step(p, now, times)
            yield step
            p, now = step.p, step.end

    def least_stride(self, now: float) -> float:
        """The length of a step that is worth its price: factorisations are made for a window that grows with time, or for all of it."""
        if self.method == "contour":
            return 8 * ROUGH / self.q if now >= self.reach.smooth else 0.0
        if self.method != "rational_krylov" or now < max(0.99 * EARLY / self.q, self.reach.smooth):
            return 0.0
        stride, used = 0.5 * now, self.reach.used
        return stride if used == 1 or self._cost_of_window <= self._cost_of_series(used * self.q * stride) else 0.0

    def note_travel(self, now: float, time: float) -> None:
        """Until about this time no window is worth while, since the set of states will change."""
        start, end = self._window_tried
        if start < now < end:
            self.reach.used = (now - start) / (end - start)
        self.reach.smooth = max(self.reach.smooth, min(time, now + PATIENCE * max(self.reach.jumps, SEGMENT) / max(self.q, 1e-300)))

    def step(self, p: np.ndarray, now: float, times: np.ndarray) -> Step:
        """One step, to the last of `times` or as far as one series, basis or factorisation reaches; the law at the times on the way."""
        times = times[times > now]
        if self.q == 0.0:
            return Step(now, times, np.repeat(p[None], len(times), axis=0), np.zeros(len(times)))
        if self.method == "uniformisation":
            return uniformisation(self.rows, p, now, times, 0.5 * self._share(now, min(times[-1], now + SEGMENT / self.q)))
        if self.method == "squaring":
            laws, errors = self._squares.laws(p, times - now)
            return Step(now, times, laws, errors, float(errors[-1]))
        if self.method == "krylov":
            reached = krylov(self.rows, p, now, times, self._share, self.reach.jumps / self.q)
            self.reach.jumps = 2 * self.q * (reached.end - now)
            return reached
        window = {"rational_krylov": self._window, "contour": self._contour}.get(self.method)
        step = None if window is None else window(p, now, times)
        return self._series(p, now, times) if step is None else step

    @cached_property
    def _banded(self) -> Banded:
        return Banded(self.generator)

    @cached_property
    def _squares(self) -> squaring.Squares:
        return squaring.Squares(self.generator)

    def _series(self, p: np.ndarray, now: float, times: np.ndarray, limit: float = np.inf) -> Step:
        """A Chebyshev series, up to a limit; where the law travels far, a shorter one."""
        limit = min(limit, now + min(LONGEST, self.reach.jumps) / self.q)
        if self.method == "rational_krylov" and self._cost_of_window < self._cost_of_series(self.reach.jumps):
            limit = min(limit, max(now + 0.25 * EARLY / self.q, EARLY / self.q))
        part = 1e-3 if self.method == "rational_krylov" and len(p) <= SMALL else 1.0  # a start with all digits costs next to nothing
        while True:
            marks = times if times[-1] <= now + 1.3 * (limit - now) else np.append(times[times < limit], limit)
            step = chebyshev_series(self.rows, p, now, marks, part * self._share(now, float(marks[-1])))
            if step is None:
                limit = now + (marks[0] - now) / 4
                continue
            tried, tol = self.q * float(marks[-1] - now), part * self._share(now, float(marks[-1]))
            if len(step.times) < len(marks) or marks[-1] == limit:
                self.reach.note_series(self.q * (step.end - now), tried, step.n_products / n_products(tried, tol))
            return step

    def _window(self, p: np.ndarray, now: float, times: np.ndarray) -> Step | None:
        """A window of rational Krylov once the solution is old enough to be smooth, and where a factorisation pays."""
        if self.least_stride(now) == 0:
            return None
        end = float(times[-1])
        if end > 1.3 * WINDOW * now:
            end = WINDOW * now
        if self.q * (end - now) <= min(EARLY, 4 * self.reach.jumps):
            return None
        marks = times if times[-1] <= end else np.append(times[times < end], end)
        step = rational_krylov(self.generator, p, now, marks, self._share(now, end))
        self._window_tried, self.reach.used = (now, end), 1.0 if step is not None else self.reach.used / 4
        if step is None:
            later = now + min(2 * (end - now), PATIENCE * max(self.reach.jumps, SEGMENT) / self.q)
            self.reach.smooth, self.reach.rough = (self.reach.smooth if self.method == "contour" else later), later
        return step

    def _contour(self, p: np.ndarray, now: float, times: np.ndarray) -> Step | None:
        """Series, or rational Krylov, until a contour leads to the same law, and the contour from there on."""
        start, enough, end = now, self.least_stride(now), float(times[-1])
        if enough == 0 or end - now <= enough or end > self.horizon:
            return None
        if self._ahead is None:
            self._ahead = Window(self._banded, p, now, now + ROUGH / self.q, self.horizon)
        window, share, steps = self._ahead, self._share(now, self.horizon), list[Step]()
        while now < end:
            later = times[times > now]
            if now >= window.first:
                beyond = window.after(p, now, later)
                # Its round-off is accepted where that of series would be larger: going on with them would not help. Nor does it where two
                # laws are as near to each other as their round-off is.
                unavoidable = 4 * ROUNDING * self.q * (end - now) * float(p.sum())
                if beyond.error - beyond.round_off <= max(share, NEAREST) and beyond.round_off <= max(share, unavoidable):
                    steps.append(beyond)
                    break
                if now >= EARLY / self.q and window.digits == DIGITS:  # the law goes on travelling, and less of that is felt
                    window = self._ahead = Window(self._banded, p, now, now + ROUGH / self.q, self.horizon, 2 * DIGITS)
                if now - start >= EARLY / self.q:
                    break
            pays = self._cost_of_window < self._cost_of_series(self.q * (WINDOW - 1) * now)
            step = self._window(p, now, later) if pays and now >= max(EARLY / self.q, self.reach.rough) else None
            if step is None:
                step = self._series(p, now, later, max(window.first, window.start + WINDOW * (now - window.start)))
            steps.append(step)
            p, now = step.p, step.end
        return joined(steps)

    def _share(self, now: float, end: float) -> float:
        """The error that a step may make: as much of the tolerance goes with the time as with its logarithm; some is left for rounding."""
        early = min(SEGMENT / self.q, self.horizon / 50)
        log_part = np.log(max(end, early) / max(now, early)) / np.log(self.horizon / early)
        return self.digits * (0.3 * (end - now) / self.horizon + 0.3 * log_part + 1e-3)


def entries_of_factors(sides: np.ndarray) -> float:
    """About how many entries there are in the factors of a matrix on a box with nearest neighbours, ordered by nested dissection.

    A box is cut across its longest side. The cut, with what the cuts around it have filled, makes a full matrix of a few times as many
    rows; so on with both halves.
    """
    sides, pieces, entries = np.array(sides, dtype=np.float64), 1, 0.0
    while sides.max() >= 2:
        longest = int(sides.argmax())
        entries += pieces * (float(np.prod(sides)) / sides[longest]) ** 2
        sides[longest] /= 2
        pieces *= 2
    return 4.5 * entries
