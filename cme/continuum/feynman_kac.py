"""`feynman_kac`: the relative probability phi of (19) by random walks, in three ways, and by the sum over all walks.

Equation numbers are those of the essay that this follows (https://kexue.fm/archives/3750).
"""

import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from cme.abilities import require
from cme.arguments import Seed, check_choice, check_count, check_memory, check_seed, check_threads, check_times, record
from cme.continuum.drift import describe
from cme.continuum.random_walk import BLOCK, RandomWalk, blocks, gather
from cme.continuum.relative_probability import RelativeProbability
from cme.continuum.schrodinger import SchrodingerForm
from cme.errors import ConvergenceError, ModelError
from cme.kernels import walk as engine
from cme.kernels.random import BRANCHING_WALK, WEIGHTED_WALK
from cme.progress import progress as progress_bar
from cme.threads import run_chunks

METHODS = ("biased", "weights", "branching", "sum")


def feynman_kac(
    form: SchrodingerForm,
    times,
    *,
    ds: float,
    start: float = 0.0,
    method: str = "weights",
    n_paths: int | None = None,
    populations: int | None = None,
    seed: Seed = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> RelativeProbability:
    r"""Solve alpha phi_t = (alpha^2/2) phi_xx + V phi (19) by random walks, from phi = delta(x - start) / xi.

    .. math:: \phi(x, t) = \Big\langle \delta(x_t - x) \exp\Big(\frac{1}{\alpha} \int_0^t V(x_s, s)\, ds\Big) \Big\rangle \Big/ \xi(x_0, 0)

    over free walks x_s from x_0 (Feynman and Kac).

    - "biased": the walk with drift p samples P; phi is P / xi. Every path counts the same in P: its integral is exactly 1.
    - "weights": free walks with the weight exp(sum of (dt / 2 alpha) (V before + V after)) of their steps. The integral of xi phi is 1 only
      on average and in the limit ds -> 0.
    - "branching": free walkers that branch or die at the rate V / alpha, in populations kept at their size; the weight that this takes out
      is kept as a factor, so that phi is unbiased. Its mean is that of "weights", for every ds.
    - "sum": all free walks with their weights, by the transfer operator. No randomness; the mean of the two before.

    Parameters
    ----------
    form
        Drift, alpha and domain. Free walkers that leave the domain are killed; the biased walk must not get there.
    times : (T,)
        Whole numbers of steps dt = ds^2 / alpha.
    ds
        The length of a step. The error is of order ds^2.
    start
        Where all walks start.
    method : "weights", "biased", "branching" or "sum"
        See above.
    n_paths
        Number of paths (walkers, for branching); 10000 by default. Not for "sum".
    populations
        For "branching" only: the number of independent populations, from which the standard errors come; 50 by default.
    seed
        Path i (for branching: population i) is a function of (seed, i) alone. Not for "sum".
    threads
        None means one for each processor. Not for "sum".
    progress
        Show a progress bar: None means in a terminal or a notebook. Not for "sum".

    Returns
    -------
    RelativeProbability

    Raises
    ------
    ModelError
        If V is not defined where a walk gets to.
    ConvergenceError
        If all walkers of a population are killed.

    Notes
    -----
    Weights spread as time goes on, and fewer and fewer paths carry the result: look at ``effective_paths``. Branching keeps the walkers
    where the weight is. V is evaluated once for each step and site: n steps cost O(n^1.5) of that.

    References
    ----------
    Kac, Trans. Amer. Math. Soc. 65, 1 (1949), doi:10.1090/S0002-9947-1949-0027960-X.
    Del Moral, Feynman-Kac Formulae (2004), doi:10.1007/978-1-4684-9393-1 (branching with population control, unbiased).

    Examples
    --------
    The integral of P for p = -x, which is not 1 but tends to 1:

    >>> import cme
    >>> form = cme.SchrodingerForm(lambda x: -x, alpha=1.0)
    >>> [float(cme.feynman_kac(form, 1.0, ds=ds, start=0.7, method="sum").mass[0].round(5)) for ds in (0.2, 0.1)]
    [0.99784, 0.99946]
    """
    started = clock.perf_counter()
    require(form, "feynman_kac")
    times = check_times(times)
    method = check_choice("method", method, METHODS)
    _refuse_what_has_no_effect(method, n_paths=n_paths, populations=populations, seed=seed, threads=threads, progress=progress)
    form.check_integral(float(times[-1]))
    walk = RandomWalk(form.drift if method == "biased" else 0.0, form.alpha, ds)
    task = _Task(form, walk, walk.numbers_of_steps(times), float(start), check_threads(threads), progress)
    if not form.domain[0] < start < form.domain[1]:
        raise ValueError(f"the start {start:g} must lie inside the domain from {form.domain[0]:g} to {form.domain[1]:g}")
    options = {"drift": describe(form.drift), "alpha": form.alpha, "reference": form.reference, "domain": form.domain}
    options |= {"ds": ds, "start": start}
    found: dict[str, Any] = {"method": method, "steps": int(task.numbers[-1])}
    if method == "sum":
        return task.result(times, task.sum_over_all(), record("feynman_kac", "diffusion", started, options, **found))
    n_paths = check_count("n_paths", 10_000 if n_paths is None else n_paths, 2)
    check_memory(f"{n_paths} paths x {len(times)} times", n_paths * len(times) * 16)
    key, found["seed"] = check_seed(seed)
    options |= {"n_paths": n_paths, "threads": task.threads}
    if method == "branching":
        populations = check_count("populations", 50 if populations is None else populations, 2)
        if n_paths % populations:
            raise ValueError(f"n_paths={n_paths} walkers can't be shared evenly among populations={populations}")
        options["populations"] = populations
        samples = list(task.branching(key, populations, n_paths // populations))
    else:
        samples = list(task.biased(key, n_paths) if method == "biased" else task.weighted(key, n_paths))
    return task.result(times, samples, record("feynman_kac", "diffusion", started, options, **found))


def _refuse_what_has_no_effect(method: str, **given) -> None:
    useless = {"sum": ("n_paths", "populations", "seed", "threads", "progress")}.get(
        method, () if method == "branching" else ("populations",)
    )
    for name in useless:
        if given[name] is not None:
            raise ValueError(f"{name} has no effect with method={method!r}; leave it out")


@dataclass
class _Sample:
    """What one time gives: sums over groups of paths of the weights that make phi, on sites."""

    lowest: int  # every second site from here
    phi: np.ndarray  # (K,) mean weight on each site
    phi_error: np.ndarray
    mass: float
    mass_error: float
    total: float
    total_error: float
    effective: float


@dataclass
class _Task:
    form: SchrodingerForm
    walk: RandomWalk
    numbers: np.ndarray
    start: float
    threads: int
    show: bool | None

    def position(self, sites) -> np.ndarray:
        return self.start + self.walk.ds * np.asarray(sites)

    def xi_ratio(self, sites, number: int) -> np.ndarray:
        """The factor xi at sites after a number of steps, over xi at the start."""
        form = self.form
        after = form.action(self.position(sites), number * self.walk.dt)
        return np.exp((after - form.action(self.start, 0.0)) / form.alpha)

    # -------------------------------------------------------------------------------------------------- the sum

    def sum_over_all(self) -> list[_Sample]:
        half = self.walk.dt / (2 * self.form.alpha)

        def gain(x: np.ndarray, t: float) -> np.ndarray:
            first = round((float(x[0]) - self.start) / self.walk.ds)
            v = self._potential(first, first + 2 * len(x) - 2, t)[::2]
            wrong = np.flatnonzero(~(v < np.inf))
            if wrong.size:
                raise self._undefined(first + 2 * int(wrong[0]), t)
            return np.exp(half * v)

        out = []
        for number, (lowest, weight) in zip(self.numbers.tolist(), self.walk.transfer(self.numbers, self.start, 0.0, gain), strict=True):
            mass = float(weight @ self.xi_ratio(lowest + 2 * np.arange(len(weight)), number))
            out.append(_Sample(lowest, weight, np.zeros_like(weight), mass, 0.0, float(weight.sum()), 0.0, np.inf))
        return out

    # ---------------------------------------------------------------------------------------------------- paths

    def biased(self, key: np.ndarray, n_paths: int) -> Iterator[_Sample]:
        paths = self.walk.march(self.numbers, self.start, n_paths, key, self.threads, self.show)
        for number, sites in zip(self.numbers.tolist(), paths, strict=True):
            x = self.position(sites)
            outside = x[(x <= self.form.domain[0]) | (x >= self.form.domain[1])]
            if outside.size:
                raise ModelError(f"the biased walk left the domain and got to x = {outside[0]:g}, where xi may be 0; widen the domain")
            weight = 1.0 / self.xi_ratio(sites, number)
            yield _of_independent(sites, weight, np.ones(n_paths))

    def weighted(self, key: np.ndarray, n_paths: int) -> Iterator[_Sample]:
        sites, log_weight = np.zeros(n_paths, dtype=np.int64), np.zeros(n_paths)
        words = np.zeros((n_paths, 4), dtype=np.uint64)
        engine.open_streams(key, WEIGHTED_WALK, words)

        def move(gain: np.ndarray, lowest: int, first: int, stop: int, cancel: np.ndarray, done: np.ndarray, fault: np.ndarray) -> int:
            part = slice(first, stop)
            return engine.walk_weighted(gain, lowest, words[part], cancel, done, fault, sites[part], log_weight[part])

        for number in self._march(sites, move):
            weight = np.exp(log_weight)
            alive = np.flatnonzero(weight > 0)
            mass = np.zeros(n_paths)
            mass[alive] = weight[alive] * self.xi_ratio(sites[alive], number)
            yield _of_independent(sites, weight, mass)

    def branching(self, key: np.ndarray, populations: int, size: int) -> Iterator[_Sample]:
        sites, words = np.zeros((populations, size), dtype=np.int64), np.zeros((populations, 4), dtype=np.uint64)
        ancestors = np.tile(np.arange(size), (populations, 1))
        alive, log_scale = np.ones(populations, dtype=np.int64), np.zeros(populations)
        engine.open_streams(key, BRANCHING_WALK, words)

        def move(gain: np.ndarray, lowest: int, first: int, stop: int, cancel: np.ndarray, done: np.ndarray, fault: np.ndarray) -> int:
            part, scratch = slice(first, stop), np.zeros((3, size))
            return engine.walk_branching(
                gain, lowest, words[part], cancel, done, fault, scratch, sites[part], ancestors[part], alive[part], log_scale[part]
            )

        for number in self._march(sites, move):
            if not np.all(alive):
                raise ConvergenceError(
                    f"all {size} walkers of a population were killed by t = {number * self.walk.dt:g}; "
                    "give more n_paths or fewer populations"
                )
            yield self._of_populations(sites, ancestors, np.exp(log_scale), number)

    def _march(self, sites: np.ndarray, move: Callable) -> Iterator[int]:
        """Let free walks run, block by block, with the table of V; yields after each of the numbers of steps."""
        with progress_bar("feynman_kac", float(self.numbers[-1]), self.show) as bar:
            for before, number in pairwise([0, *self.numbers.tolist()]):
                for step, n_steps in blocks(before, number):
                    bar.to(step)
                    self._advance(sites, move, step, n_steps)
                yield number

    def _advance(self, sites: np.ndarray, move: Callable, step: int, n_steps: int) -> None:
        lowest, highest = int(sites.min()) - n_steps, int(sites.max()) + n_steps
        times = (step + np.arange(n_steps + 1)) * self.walk.dt
        gain = np.stack([self._potential(lowest, highest, t) for t in times.tolist()]) * (self.walk.dt / (2 * self.form.alpha))

        def advance(first: int, stop: int, cancel: np.ndarray, done: np.ndarray) -> None:
            fault = np.zeros(2, dtype=np.int64)
            if move(gain, lowest, first, stop, cancel, done, fault) == engine.UNDEFINED:
                raise self._undefined(int(fault[1]), float(times[fault[0]]))

        run_chunks(advance, len(sites), threads=self.threads, label="feynman_kac", unit="steps", show=False)

    @cached_property
    def _static(self) -> np.ndarray | None:
        """V on all sites that can be reached, if the drift does not depend on time."""
        if not self.form.static:
            return None
        last = int(self.numbers[-1])
        return self._evaluate(self.position(np.arange(-last - BLOCK, last + BLOCK + 1)), 0.0, self.form.static_part)

    def _potential(self, lowest: int, highest: int, t: float) -> np.ndarray:
        """V on the sites from lowest to highest, -inf outside the domain (there walks are killed), not a number where it has no value."""
        if self._static is not None:
            middle = len(self._static) // 2
            return self._static[middle + lowest : middle + highest + 1]
        return self._evaluate(self.position(np.arange(lowest, highest + 1)), t, self.form.V)

    def _evaluate(self, x: np.ndarray, t: float, function: Callable) -> np.ndarray:
        inside = (x > self.form.domain[0]) & (x < self.form.domain[1])
        v = np.full(len(x), -np.inf)
        with np.errstate(all="ignore"):
            v[inside] = function(x[inside], t, strict=False)
        return v

    def _undefined(self, site: int, t: float) -> ModelError:
        x = self.position(site)
        self.form.V(x, t)  # says what is wrong with a rough drift
        return ModelError(f"V has no value at x = {x:g}, t = {t:g}, where a walk gets to; give a domain without that place")

    # --------------------------------------------------------------------------------------------------- results

    def _of_populations(self, sites: np.ndarray, ancestors: np.ndarray, scale: np.ndarray, number: int) -> _Sample:
        """Each population is one sample of phi; the size of each descent counts for the effective number of paths."""
        populations, size = sites.shape
        lowest, slots = _slots(sites)
        n_slots = int(slots.max()) + 1
        each = np.stack([np.bincount(row, minlength=n_slots) for row in slots]) * (scale / size)[:, None]
        xi = self.xi_ratio(lowest + 2 * np.arange(n_slots), number)
        masses, totals = each @ xi, each.sum(axis=1)
        families = np.stack([np.bincount(row, minlength=size) for row in ancestors]) * scale[:, None]
        effective = float(families.sum() ** 2 / (families**2).sum())
        root = np.sqrt(populations)
        errors = [values.std(axis=0, ddof=1) / root for values in (each, masses, totals)]
        return _Sample(
            lowest, each.mean(axis=0), errors[0], float(masses.mean()), float(errors[1]), float(totals.mean()), float(errors[2]), effective
        )

    def result(self, times: np.ndarray, samples: list[_Sample], info: dict) -> RelativeProbability:
        ds, form = self.walk.ds, self.form
        sites, weight = gather([(sample.lowest, sample.phi) for sample in samples])
        _, error = gather([(sample.lowest, sample.phi_error) for sample in samples])
        held = weight > 0
        p, p_error = np.zeros_like(weight), np.zeros_like(weight)
        for t, number in enumerate(self.numbers.tolist()):
            xi = self.xi_ratio(sites[held[t]], number)
            p[t, held[t]], p_error[t, held[t]] = weight[t, held[t]] * xi, error[t, held[t]] * xi
        unit = float(np.exp(-form.action(self.start, 0.0) / form.alpha))  # phi starts as delta / xi
        columns = [np.array([getattr(s, name) for s in samples]) for name in ("mass", "mass_error", "total", "total_error", "effective")]
        mass, mass_error, total, total_error, effective = columns
        return RelativeProbability(
            times, self.position(sites), unit * weight / (2 * ds), unit * error / (2 * ds), p, p_error,
            mass, mass_error, unit * total, unit * total_error, effective, 2 * ds, info,
        )  # fmt: skip


def _slots(sites: np.ndarray) -> tuple[int, np.ndarray]:
    lowest = int(sites.min())
    return lowest, (sites - lowest) // 2


def _of_independent(sites: np.ndarray, weight: np.ndarray, mass: np.ndarray) -> _Sample:
    """Means over independent paths, and their standard errors."""
    n_paths = len(sites)
    alive = weight > 0
    lowest, slots = _slots(sites[alive]) if np.any(alive) else (0, np.zeros(0, dtype=np.int64))
    n_slots = int(slots.max(initial=0)) + 1
    phi = np.bincount(slots, weights=weight[alive], minlength=n_slots) / n_paths
    square = np.bincount(slots, weights=weight[alive] ** 2, minlength=n_slots) / n_paths
    error = np.sqrt(np.maximum(square - phi**2, 0.0) / (n_paths - 1))  # below zero by rounding, where all weights are nearly equal
    total_error, mass_error = (float(values.std(ddof=1) / np.sqrt(n_paths)) for values in (weight, mass))
    top = weight.max()
    effective = float((weight / top).sum() ** 2 / ((weight / top) ** 2).sum()) if top > 0 else 0.0
    return _Sample(lowest, phi, error, float(mass.mean()), mass_error, float(weight.mean()), total_error, effective)
