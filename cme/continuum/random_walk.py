"""`RandomWalk`: steps of +-ds in times ds^2/alpha, exactly, by paths, as a master equation, and its Fokker-Planck limit.

Equation numbers are those of the essay that this follows (Su Jianlin, "Random walk and the Fokker-Planck equation",
https://kexue.fm/archives/3750).
"""

import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from cme.arguments import (
    Seed,
    check_choice,
    check_count,
    check_memory,
    check_number,
    check_positive,
    check_seed,
    check_threads,
    check_times,
    record,
)
from cme.continuum.diffusion import Diffusion
from cme.continuum.drift import check_drift, describe, evaluate_drift, moves, tabulate
from cme.errors import ModelError
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator
from cme.kernels import walk as engine
from cme.kernels.random import WALK
from cme.progress import progress as progress_bar
from cme.results import Distribution, Moments, Trajectories
from cme.threads import run_chunks

BLOCK = 64  # steps for which a table of the drift is made at once
ROUNDING = 1e-9  # of a probability: x / x may come out as 1 + 2e-16


@dataclass(frozen=True)
class RandomWalk:
    r"""A walk on a line in steps of +-ds, one in each time dt = ds^2 / alpha (5).

    .. math:: P(\text{right}) = \tfrac12 (1 + p(x, t)\, ds / \alpha), \qquad P(\text{left}) = \tfrac12 (1 - p(x, t)\, ds / \alpha)

    As ds -> 0 its law tends to that of the Fokker-Planck equation (12), dP/dt = (alpha/2) d2P/dx2 - d(p P)/dx, with an error of order
    ds^2, that is, of order dt.

    Parameters
    ----------
    drift
        p: a number, or a function p(x) or p(x, t) of an array x (K,) and a number t. Length per time.
    alpha
        The noise strength, a constant above 0: length^2 per time. (D of the physics texts is alpha / 2.)
    ds
        The length of a step.

    Notes
    -----
    The probabilities make sense only where abs(p) ds <= alpha; where a walk gets to another place, there is an error that says where,
    and which ds would do. With ds^2 = alpha dt any other way is excluded: for ds = dt^g the law tends to the start for g > 1/2 and
    spreads without limit for g < 1/2.

    In discrete time the walk is on every second site only: its laws have cells of width 2 ds around the sites of the right parity.

    Examples
    --------
    >>> import cme
    >>> walk = cme.RandomWalk(drift=0.8, alpha=1.0, ds=0.1)
    >>> law = walk.law([0.5, 1.0])
    >>> law.mean().round(9).tolist()  # x = 0.8 t
    [[0.4], [0.8]]
    """

    drift: float | Callable
    alpha: float
    ds: float

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)
        check_positive("ds", self.ds)
        check_drift(self.drift)
        if not callable(self.drift):
            self._bias(np.zeros(1), 0.0)

    @property
    def dt(self) -> float:
        """The time of a step, ds^2 / alpha."""
        return self.ds**2 / self.alpha

    # ------------------------------------------------------------------------------------------------- exact laws

    def law(self, times, *, start: float = 0.0, tol: float = 1e-12, method: str = "auto") -> Distribution:
        """Compute the exact law of the position x at given times.

        Parameters
        ----------
        times : (T,)
            Whole numbers of steps dt.
        start
            Where all walks start.
        tol
            Sites at either end are left out while they hold less than this in all; `lost` says what they held. With 0 all sites
            are kept that the walk can reach.
        method : "auto", "binomial", "fft" or "transfer"
            "binomial": the coefficients of (q/z + r z)^n (1), in closed form. "fft": the same from its values on the unit circle.
            "transfer": step by step, for any drift. "auto" takes the binomial for a constant drift.

        Returns
        -------
        Distribution
            States (N, 1) are positions, p (T, N) their probabilities, on cells of width 2 ds; sites of the other parity hold 0.

        Raises
        ------
        ValueError
            If a time is no whole number of steps, or abs(p) ds > alpha at a site that is kept.

        Notes
        -----
        n steps cost O(n) for a constant drift; otherwise O(n^2) with tol=0, and about O(n^1.5) with the default.
        """
        started = clock.perf_counter()
        times, start = check_times(times), check_number("start", start)
        numbers = self.numbers_of_steps(times)
        constant = not callable(self.drift)
        method = check_choice("method", method, ("auto", "binomial", "fft", "transfer"))
        if method in ("binomial", "fft") and not constant:
            raise ValueError(f"method={method!r} needs a constant drift, and the drift is a function; use 'transfer' or 'auto'")
        if not (np.isfinite(tol) and 0 <= tol < 1):
            raise ValueError(f"tol must be at least 0 and below 1, not {tol!r}")
        method = ("binomial" if constant else "transfer") if method == "auto" else method
        if method == "transfer":
            found = list(self.transfer(numbers, start, tol))
        else:
            coefficients = binomial if method == "binomial" else by_fft
            right = self._step_right(np.zeros(1), 0.0)[0]
            found = [trim(-n, coefficients(n, right), tol)[:2] for n in numbers.tolist()]
        rounding = 2.2e-16 * (int(numbers[-1]) + 1) ** 1.5 if method == "fft" else 0.0  # of the powers, relative to the largest value
        options = {"drift": describe(self.drift), "alpha": self.alpha, "ds": self.ds, "start": start, "tol": tol}
        info = record("random_walk", "walk", started, options, method=method, steps=int(numbers[-1]))
        sites, p = gather(found)
        lost = np.maximum(1.0 - p.sum(axis=1), 0.0)
        lost[lost < 1e-13] = 0.0  # rounding
        width, error = np.array([2 * self.ds]), np.full(len(times), rounding)
        return Distribution(times, ("x",), start + self.ds * sites[:, None], p, lost, error, info, widths=width, cells=width)

    def transfer(
        self, numbers: np.ndarray, start: float, tol: float, gain: Callable[[np.ndarray, float], np.ndarray] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Step by step: after each of the numbers of steps, the lowest site kept and the masses (K,) on every second site from there.

        With `gain`, masses are multiplied by gain(x, t) before and after each step.
        """
        lowest, p, left_out, step, last = 0, np.ones(1), 0.0, 0, max(int(numbers[-1]), 1)
        for number in numbers.tolist():
            while step < number:
                x, t = start + self.ds * (lowest + 2.0 * np.arange(len(p))), step * self.dt
                if gain is not None:
                    p = p * gain(x, t)
                right = self._step_right(x, t)
                moved = np.zeros(len(p) + 1)
                moved[:-1] = p * (1.0 - right)
                moved[1:] += p * right
                lowest, p, step = lowest - 1, moved, step + 1
                if gain is not None:
                    p = p * gain(start + self.ds * (lowest + 2.0 * np.arange(len(p))), step * self.dt)
                lowest, p, out = trim(lowest, p, tol * step / last - left_out)
                left_out += out
            yield lowest, p

    def numbers_of_steps(self, times: np.ndarray) -> np.ndarray:
        steps = times / self.dt
        numbers = np.round(steps)
        wrong = np.abs(steps - numbers) > 1e-6
        if np.any(wrong):
            time, below = float(times[wrong][0]), float(np.floor(steps[wrong][0]))
            raise ValueError(
                f"the time {time:g} is no whole number of steps dt = ds^2 / alpha = {self.dt:g}; "
                f"nearest are {below * self.dt:g} and {(below + 1) * self.dt:g}"
            )
        return numbers.astype(np.int64)

    def _bias(self, x: np.ndarray, t: float) -> np.ndarray:
        """The number p ds / alpha at positions x; `ValueError` where it is beyond 1."""
        p = evaluate_drift(self.drift, x, t)
        bias = p * (self.ds / self.alpha)
        wrong = np.flatnonzero(~(np.abs(bias) <= 1.0 + ROUNDING))
        if wrong.size:
            raise self._beyond_the_bound(float(x[wrong[0]]), t, float(p[wrong[0]]))
        return np.clip(bias, -1.0, 1.0)  # beyond by rounding at most

    def _beyond_the_bound(self, x: float, t: float, p: float) -> ValueError:
        if not np.isfinite(p):
            return ModelError(f"the drift is {p} at x = {x:g}, t = {t:g}, where the walk gets to; it must be a finite number")
        where = "" if not callable(self.drift) else f" at x = {x:.6g}, t = {t:.6g}"
        return ValueError(
            f"the drift is {p:.6g}{where}, so that |p| ds = {abs(p) * self.ds:.6g} is more than alpha = {self.alpha:g} and a step would "
            f"have a negative probability; ds must be at most {self.alpha / abs(p):.6g}, and is {self.ds:g}"
        )

    def _step_right(self, x: np.ndarray, t: float) -> np.ndarray:
        return (1.0 + self._bias(x, t)) / 2.0

    def characteristic_function(self, w, time: float, *, start: float = 0.0) -> np.ndarray:
        """Compute the characteristic function, the mean of exp(-i w x), at one time.

        One step multiplies it by cos(w ds) - i (p ds / alpha) sin(w ds) (9): a product for a constant drift (2), else a sum over the law.

        Parameters
        ----------
        w
            Wave numbers, any shape.
        time
            A whole number of steps.
        start
            Where all walks start.
        """
        w = np.asarray(w, dtype=np.float64)
        if callable(self.drift):
            law = self.law(time, start=start)
            return np.exp(-1j * w[..., None] * law.states[:, 0]) @ law.p[0]
        number = self.numbers_of_steps(check_times(time))[0]
        factor = np.cos(w * self.ds) - 1j * self._bias(np.zeros(1), 0.0)[0] * np.sin(w * self.ds)
        return np.exp(-1j * w * start) * factor**number

    def limit(self, *, time: float | None = None) -> Diffusion:
        """Give the diffusion that the walk tends to as ds -> 0, that of (12), for `fokker_planck` and the others.

        Parameters
        ----------
        time
            Take a drift p(x, t) as it is at this time. With None it keeps its time.
        """
        if time is None:
            return Diffusion(self.drift, self.alpha)
        time = self._time(time)
        return Diffusion(lambda x: evaluate_drift(self.drift, x, time), self.alpha)

    def _time(self, time: float) -> float:
        if not moves(self.drift):
            raise ValueError("the drift does not depend on time; leave out time")
        return check_number("time", time)

    def limit_law(self, times, *, start: float = 0.0) -> Moments:
        """Give the law that this one tends to as ds -> 0, for a constant drift: Gaussian with mean start + p t and variance alpha t (7).

        That of another drift solves (12); see `limit`.

        Parameters
        ----------
        times : (T,)
            Any times >= 0.
        start
            Where all walks start.

        Raises
        ------
        ValueError
            If the drift is a function.
        """
        times = check_times(times)
        if callable(self.drift):
            raise ValueError(
                "the limit has a closed form for a constant drift only; solve (12) with fokker_planck(walk.limit(), times, initial=...)"
            )
        info = {"solver": "limit of the random walk", "options": {"drift": float(self.drift), "alpha": self.alpha, "start": start}}
        return Moments(times, ("x",), (start + self.drift * times)[:, None], (self.alpha * times)[:, None, None], info)

    # ------------------------------------------------------------------------------------- continuous time

    def generator(self, low: float, high: float, *, time: float | None = None) -> Generator | TimeDependentGenerator:
        """The walk in continuous time as a master equation on the sites low, low + ds, ..., up to `high`.

        Jumps of +ds and -ds have the rates alpha / (2 ds^2) + p / (2 ds) and alpha / (2 ds^2) - p / (2 ds). The jump moments are then
        a_1 = p and a_2 = alpha, those of (12), for every ds; a_3 = p ds^2, a_4 = alpha ds^2. With p = alpha = a and ds = 1 nothing jumps
        back: it is the reaction 0 -> X at rate a.

        Parameters
        ----------
        low, high
            The ends of the sites that are kept. What jumps beyond them leaks.
        time
            Take a drift p(x, t) as it is at this time. With None it gives a time-dependent generator.

        Raises
        ------
        ValueError
            If abs(p) ds > alpha at a site.
        """
        low, high = check_number("low", low), check_number("high", high)
        n_sites = int(np.floor((high - low) / self.ds + 1e-9)) + 1
        if n_sites < 2:
            raise ValueError(f"from {low:g} to {high:g} there are no two sites at a distance of ds = {self.ds:g}")
        x = low + self.ds * np.arange(n_sites)
        if time is None and moves(self.drift):
            return TimeDependentGenerator.of(self._generator_at, x)
        return self._generator_at(x, 0.0 if time is None else self._time(time))

    def _generator_at(self, x: np.ndarray, t: float) -> Generator:
        fastest, right = self.alpha / self.ds**2, self._step_right(x, t)
        up, down = fastest * right, fastest * (1.0 - right)
        leak = np.concatenate([down[:1], np.zeros(len(x) - 2), up[-1:]])
        matrix = sp.diags_array([down[1:], np.full(len(x), -fastest), up[:-1]], offsets=[1, 0, -1]).tocsc()
        matrix.eliminate_zeros()
        return Generator(matrix, leak, x[:, None], ("x",), widths=np.array([self.ds]))

    # ------------------------------------------------------------------------------------------------------ paths

    def sample(
        self,
        times,
        *,
        n_paths: int = 1000,
        seed: Seed = None,
        start: float = 0.0,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> Trajectories:
        """Sample paths of the walk.

        Parameters
        ----------
        times : (T,)
            Whole numbers of steps dt.
        n_paths
            M, the number of paths.
        seed
            As in `ssa`: path i is a function of (seed, i) alone.
        start
            Where all walks start.
        threads
            None means one for each processor.
        progress
            Show a progress bar: None means in a terminal or a notebook.

        Returns
        -------
        Trajectories
            Positions (M, T, 1).

        Raises
        ------
        ValueError
            If a time is no whole number of steps, or a path gets to a place where abs(p) ds > alpha.
        """
        started = clock.perf_counter()
        times, start = check_times(times), check_number("start", start)
        n_paths, threads = check_count("n_paths", n_paths), check_threads(threads)
        key, recorded_seed = check_seed(seed)
        numbers = self.numbers_of_steps(times)
        check_memory(f"{n_paths} paths x {len(times)} times", n_paths * len(times) * 8)
        sites = np.zeros((n_paths, len(times)), dtype=np.int64)
        for t, now in enumerate(self.march(numbers, start, n_paths, key, threads, progress)):
            sites[:, t] = now
        options = {"drift": describe(self.drift), "alpha": self.alpha, "ds": self.ds}
        options |= {"n_paths": n_paths, "start": start, "threads": threads}
        info = record("random_walk", "walk", started, options, method="paths", seed=recorded_seed, steps=int(numbers[-1]))
        positions = (start + self.ds * sites)[:, :, None]
        return Trajectories(times, ("x",), positions, info, cells=np.array([2 * self.ds]))

    def march(
        self, numbers: np.ndarray, start: float, n_paths: int, key: np.ndarray, threads: int, show: bool | None
    ) -> Iterator[np.ndarray]:
        """The sites (M,) of sampled paths after each of the numbers of steps."""
        sites, words = np.zeros(n_paths, dtype=np.int64), np.zeros((n_paths, 4), dtype=np.uint64)
        engine.open_streams(key, WALK, words)
        with progress_bar("walk", float(numbers[-1]), show) as bar:
            for before, number in pairwise([0, *numbers.tolist()]):
                for step, n_steps in blocks(before, number):
                    bar.to(step)
                    self._advance(sites, words, step, n_steps, start, threads)
                yield sites.copy()

    def _advance(self, sites: np.ndarray, words: np.ndarray, step: int, n_steps: int, start: float, threads: int) -> None:
        """Move all paths by a block of steps."""
        lowest, x = window(sites, n_steps, start, self.ds)
        times = (step + np.arange(n_steps)) * self.dt
        drift = tabulate(self.drift, x, times)
        right = (1.0 + drift * (self.ds / self.alpha)) / 2.0
        near = np.abs(right - 0.5) <= 0.5 + ROUNDING
        right = np.where(near, np.clip(right, 0.0, 1.0), right)

        def advance(first: int, stop: int, cancel: np.ndarray, done: np.ndarray) -> None:
            fault, part = np.zeros(2, dtype=np.int64), slice(first, stop)
            if engine.walk_biased(right, lowest, words[part], cancel, done, fault, sites[part]) == engine.NO_PROBABILITY:
                b, site = int(fault[0]), int(fault[1])
                raise self._beyond_the_bound(start + self.ds * site, float(times[b]), float(drift[b, site - lowest]))

        run_chunks(advance, len(sites), threads=threads, label="walk", unit="steps", show=False)


# ------------------------------------------------------------------------------------- the coefficients of (q/z + r z)^n


def binomial(n: int, right: float) -> np.ndarray:
    """The probabilities of 0, ..., n steps to the right, by their ratios from the most probable number outward."""
    if right in (0.0, 1.0):
        return np.eye(1, n + 1, n if right == 1.0 else 0)[0]
    top = min(int((n + 1) * right), n)
    odds = right / (1.0 - right)
    k = np.arange(top, n)
    above = np.cumprod((n - k) / (k + 1.0) * odds)
    k = np.arange(top, 0, -1)
    below = np.cumprod(k / (n - k + 1.0) / odds)
    p = np.concatenate([below[::-1], [1.0], above])
    return p / p.sum()


def by_fft(n: int, right: float) -> np.ndarray:
    """The same from the values of (1 - r + r y)^n on the unit circle, but for round-off of about 1e-16 in each."""
    y = np.exp(-2j * np.pi * np.arange(n + 1) / (n + 1))
    return np.maximum(np.fft.ifft((1.0 - right + right * y) ** n).real, 0.0)  # below zero by that round-off, which is in the error


def trim(lowest: int, p: np.ndarray, allowed: float) -> tuple[int, np.ndarray, float]:
    """Leave out sites at both ends that hold at most `allowed` together (or nothing): the lowest site kept, the rest, what was left out."""
    share = max(allowed, 0.0) / 2
    left = min(int(np.searchsorted(np.cumsum(p), share, side="right")), len(p) - 1)
    right = min(int(np.searchsorted(np.cumsum(p[::-1]), share, side="right")), len(p) - 1 - left)
    kept = slice(left, len(p) - right)
    return lowest + 2 * left, p[kept], float(p[:left].sum() + p[len(p) - right :].sum())


def gather(found: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Masses on every second site from a lowest one on, at each time: all the sites (N,), and the masses on them (T, N)."""
    low, high = min(lowest for lowest, _ in found), max(lowest + 2 * len(p) - 2 for lowest, p in found)
    stride = 2 if len({(lowest - low) % 2 for lowest, _ in found}) == 1 else 1
    sites = np.arange(low, high + 1, stride)
    out = np.zeros((len(found), len(sites)))
    for row, (lowest, p) in zip(out, found, strict=True):
        row[(lowest - low) // stride :: 2 // stride][: len(p)] = p
    return sites, out


# ------------------------------------------------------------------------------------------------------------- blocks


def blocks(before: int, number: int) -> Iterator[tuple[int, int]]:
    """Pieces of at most BLOCK steps: the first step of each, and how many."""
    for step in range(before, number, BLOCK):
        yield step, min(BLOCK, number - step)


def window(sites: np.ndarray, n_steps: int, start: float, ds: float) -> tuple[int, np.ndarray]:
    """The sites that walks may get to in so many steps: the lowest, and the positions of all."""
    lowest, highest = int(sites.min()) - n_steps, int(sites.max()) + n_steps
    return lowest, start + ds * np.arange(lowest, highest + 1)
