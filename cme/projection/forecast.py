"""How many states a law will spread over, foreseen by the linear noise approximation: a set that will not suffice is told of early."""

from functools import cached_property

import numpy as np
from scipy.integrate import LSODA
from scipy.special import gammaln
from scipy.stats import chi2

from cme import memory
from cme.compiled import Compiled
from cme.errors import ConvergenceError
from cme.network import Network
from cme.projection.lattice import basis
from cme.states import StateSpace

FIRST_LOOK = 20_000, 0.04  # states from which on the law is looked at: at least, and a part of those that are allowed
SURE = 1.2  # times the states that are allowed: so many foreseen are too many. (Sets in use hold more than what is needed.)
ROUND = 1.3  # times the states that are needed, that a Gaussian law of the same covariance may need, if the law looks like one
TRUE = 1.5  # factor within which the forecast before must have come true
NARROW = 1 / 3  # of a mean, up to which a standard deviation lets the linear noise approximation be trusted
BENT = 0.5  # of the change of the drift over two standard deviations: so much of it may be no linear function of the counts
MOST_STEPS = 1000
BYTES = 200.0  # of memory for a state, with its rates and a few laws


class Forecast:
    """Looks ahead whenever the law has spread over twice as many states, and says so if they will be far more than allowed.

    Nothing is said unless the law looks Gaussian, the forecast before has come true, and the approximation holds until the states are too
    many: where it is not known, the march goes on. What is foreseen and not too much is told beside the progress.

    Parameters
    ----------
    network
        Its rates are constant, and change counts by fixed numbers.
    start, horizon
        When the march begins in the time of the user, and its length.
    tol
        Probability that the states may miss.
    max_states
        How many states are allowed.
    """

    def __init__(self, network: Network, start: float, horizon: float, tol: float, max_states: int):
        self._network, self._start, self._horizon, self._tol, self._allowed = network, start, horizon, tol, max_states
        self._before: tuple[np.ndarray, np.ndarray] | None = None  # the last forecast: times, and logarithms of numbers of states
        self.foreseen = ""  # how many states will be needed, and when, in a few words; nothing where it is not known
        self._next_look = max(FIRST_LOOK[0], FIRST_LOOK[1] * max_states)

    def look(self, space: StateSpace, p: np.ndarray, now: float) -> None:
        """Look ahead from a law; `ConvergenceError` if it is foreseen to need far too many states."""
        if len(space) < self._next_look:
            return
        self._next_look, self.foreseen = 2 * len(space), ""
        mean = p @ space.states / p.sum()
        away = space.states - mean
        covariance = (away.T * (p / p.sum())) @ away
        here = self._log_states(covariance)
        least = np.sort(p)[::-1].cumsum()
        needed = int(np.searchsorted(least, least[-1] - self._tol)) + 1
        if here > np.log(ROUND * needed):
            self._before = None
            return
        came_true = self._before is not None and abs(np.interp(now, *self._before) - here) < np.log(TRUE)
        times, numbers = self._before = self._ahead(now, mean, covariance)
        if not came_true:
            return
        most, left = float(np.exp(numbers.max())), memory.available()
        if most > len(space):
            self.foreseen = f"about {most:.1e} by t={self._start + float(times[numbers.argmax()]):.2g}"
        if most > SURE * self._allowed:
            in_use = numbers + max(np.log(len(space)) - here, 0.0)  # if it goes on to be more than what is needed
            passed = self._start + float(times[np.argmax(in_use > np.log(self._allowed))])
            raise ConvergenceError(
                f"{self._spreads(len(space), now, times, numbers)}; max_states={self._allowed} will be passed near t={passed:.2g}: "
                f"end earlier, raise max_states, loosen tol={self._tol:g}, or use ssa, langevin or lna"
            )
        if left is not None and BYTES * most > SURE * left:
            raise ConvergenceError(
                f"{self._spreads(len(space), now, times, numbers)}, which take {BYTES * most / memory.GIGABYTE:.2g} GB of memory, and "
                f"{left / memory.GIGABYTE:.2g} GB are available: end earlier, loosen tol={self._tol:g}, or use ssa, langevin or lna"
            )

    def _spreads(self, n_states: int, now: float, times: np.ndarray, numbers: np.ndarray) -> str:
        most = int(numbers.argmax())
        return (
            f"the law spreads: {n_states} states are kept at t={self._start + now:.2g}, and by t={self._start + float(times[most]):.2g} "
            f"about {np.exp(numbers[most]):.1e} are needed (foreseen by the linear noise approximation)"
        )

    @cached_property
    def _to_lattice(self) -> np.ndarray:
        """From counts to whole multiples of the vectors that span all changes, (D, S)."""
        return np.linalg.pinv(np.array(basis(self._network.stoichiometry), dtype=np.float64).T)

    def _log_states(self, covariance: np.ndarray) -> float:
        """The logarithm of the least number of states that hold all but `tol` of a Gaussian law: the volume of an ellipsoid."""
        spread = self._to_lattice @ covariance @ self._to_lattice.T
        d = len(spread)
        sign, log_det = np.linalg.slogdet(spread)
        ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1) + d / 2 * np.log(chi2.isf(self._tol, d))
        return float(ball + log_det / 2) if sign > 0 else -np.inf

    def _ahead(self, now: float, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The times to come, and the logarithm of how many states are needed then, as far as that is known."""
        compiled, change = Compiled(self._network), self._network.stoichiometry.astype(np.float64)
        n = len(mean)

        def slope(_, y: np.ndarray) -> np.ndarray:
            x, c = y[:n], y[n:].reshape(n, n)
            rates = compiled.rates(x)
            moved = change.T @ compiled.rate_jacobian(x) @ c
            return np.append(rates @ change, moved + moved.T + (change.T * rates) @ change)

        times, numbers = [now], [self._log_states(covariance)]
        with np.errstate(all="ignore"):
            run = LSODA(slope, now, np.append(mean, covariance), self._horizon, rtol=1e-4, atol=1e-4 * (1 + mean.max()))
            while run.status == "running" and len(times) < MOST_STEPS:
                run.step()
                x, c = run.y[:n], run.y[n:].reshape(n, n)
                if run.status == "failed" or not (np.all(np.isfinite(run.y)) and np.all(np.diag(c) < (NARROW * x) ** 2)):
                    break
                if not _is_straight(compiled, change, x, c):
                    break
                times.append(float(run.t))
                numbers.append(self._log_states(c))
        return np.array(times), np.maximum(np.array(numbers), 0.0)


def _is_straight(compiled: Compiled, change: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> bool:
    """Is the drift nearly linear where the law is? Else the law bends, or comes to rest in several places, and spreads less."""
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    sizes, axes = np.linalg.eigh(covariance / np.outer(sd, sd))
    steps = 2 * np.vstack([np.sqrt(np.maximum(sizes, 0.0))[:, None] * axes.T * sd, np.diag(sd)])  # along main axes, and of each count
    linear = steps @ (change.T @ compiled.rate_jacobian(mean)).T
    here = compiled.rates(mean) @ change
    bends = [compiled.rates(mean + sign * steps) @ change - here - sign * linear for sign in (-1, 1)]
    # Each count by itself: what is fast, and linear, must not hide that something slow bends.
    return bool(np.all(np.max(np.abs(bends), axis=(0, 1)) <= BENT * np.max(np.abs(linear), axis=0)))
