"""Paths of a `Diffusion`, for `langevin`: Euler-Maruyama, all paths together, at a step h and on the same noise at 2 h.

A step that ends beyond a wall is mirrored. Where noises are correlated the other coordinate is moved with it, along the column of B that
belongs to the wall's coordinate: no probability then flows through the wall (see `cme.kernels.langevin`).
"""

import time as clock

import numpy as np

from cme.arguments import Seed, check_memory, check_seed, record
from cme.continuum.diffusion import Diffusion
from cme.continuum.euler_steps import GIVEN, pairs_of_steps
from cme.continuum.rate_equations import describe_initial
from cme.continuum.rough_paths import rough_paths
from cme.errors import ConvergenceError, describe_state
from cme.kernels.random import DIFFUSION, fill_rows_with_normals, fill_with_uniforms
from cme.kernels.walk import open_streams
from cme.progress import progress as progress_bar
from cme.results import Trajectories

GROUP = 20_000  # paths that advance together
PAIRS = 16  # pairs of steps for which normals are drawn at once
MIRRORS = 100  # at two walls, or in the corner of walls with correlated noises
FARTHEST = 1e15


def diffusion_paths(
    diffusion: Diffusion,
    times: np.ndarray,
    n_paths: int,
    n_coarse: int,
    seed: Seed,
    dt: float | None,
    max_steps: int | None,
    initial,
    progress: bool | None,
) -> Trajectories:
    """Sample paths, the first `n_coarse` of them at twice the step as well."""
    started = clock.perf_counter()
    key, recorded_seed = check_seed(seed)
    starts, p = diffusion.start(initial)
    _refuse_infinite_walls(diffusion)
    dt, dt_from = (dt, GIVEN) if dt is not None else _choose_step(diffusion, starts, p, float(times[-1]))
    pairs = pairs_of_steps(times, dt, dt_from, max_steps)
    size = len(diffusion.names)
    check_memory(f"{n_paths} paths x {len(times)} times x {size} coordinates", (n_paths + n_coarse) * len(times) * size * 8)
    fine, coarse = np.zeros((n_paths, len(times), size)), np.zeros((n_coarse, len(times), size))
    words = np.zeros((n_paths, 4), dtype=np.uint64)
    open_streams(key, DIFFUSION, words)
    with progress_bar("langevin", n_paths * max(int(pairs.sum()), 1), progress) as bar:
        for first in range(0, n_paths, GROUP):
            part = slice(first, first + GROUP)
            x = _draw_starts(starts, p, words[part])
            run = _Run(diffusion, words[part], x, x[: max(n_coarse - first, 0)].copy(), dt)
            now = 0.0
            for t, when in enumerate(times):
                for pair in range(0, int(pairs[t]), PAIRS):
                    run.advance(now, float(when), pair, int(pairs[t]))
                    bar.to(first * int(pairs.sum()) + len(x) * (int(pairs[:t].sum()) + pair))
                now = float(when)
                fine[part, t], coarse[part, t] = run.x, run.y
    options = {"n_paths": n_paths, "boundary": "reflect", "initial": describe_initial(initial)}
    found = {"seed": recorded_seed, "dt": dt, "dt_from": dt_from, "steps": 2 * int(pairs.sum())}
    info = record("langevin", "diffusion", started, options, **found, initial_lost=max(0.0, 1.0 - float(p.sum())))
    cells = _cells(fine)
    rough = Trajectories(times, diffusion.names, coarse, {**info, "dt": 2 * dt}, cells=cells)
    return Trajectories(times, diffusion.names, fine, info, coarse=rough, cells=cells)


class _Run:
    """A group of paths x (M, D), and the first of them again, y (M', D), at twice the step."""

    def __init__(self, diffusion: Diffusion, words: np.ndarray, x: np.ndarray, y: np.ndarray, dt: float):
        self.diffusion, self.words, self.x, self.y, self.dt = diffusion, words, x, y, dt

    def advance(self, begin: float, end: float, first: int, n_pairs: int) -> None:
        """Up to PAIRS pairs of steps from pair `first` of those between two times."""
        count, size = min(PAIRS, n_pairs - first), self.x.shape[1]
        normals = np.empty((len(self.x), 2 * count * size))
        fill_rows_with_normals(self.words, normals)
        normals = normals.reshape(len(self.x), count, 2, size)
        h = (end - begin) / (2 * n_pairs)
        for pair in range(count):
            t = begin + 2 * h * (first + pair)
            both = normals[: len(self.y), pair].sum(axis=1)
            self.x = self._step(self.x, t, h, np.sqrt(h) * normals[:, pair, 0])
            self.x = self._step(self.x, t + h, h, np.sqrt(h) * normals[:, pair, 1])
            if len(self.y):
                self.y = self._step(self.y, t, 2 * h, np.sqrt(h) * both)

    def _step(self, x: np.ndarray, t: float, h: float, brownian: np.ndarray) -> np.ndarray:
        noise = self.diffusion.noise_at(x, t)
        moved = x + self.diffusion.drift_at(x, t) * h
        first = np.sqrt(noise[:, 0, 0])
        moved[:, 0] += first * brownian[:, 0]
        if x.shape[1] == 2:  # the triangular root of B
            # `noise_at` has refused what is not positive: below zero is rounding.
            along = np.divide(noise[:, 0, 1], first, out=np.zeros(len(x)), where=first > 0)
            moved[:, 1] += along * brownian[:, 0] + np.sqrt(np.maximum(noise[:, 1, 1] - along**2, 0.0)) * brownian[:, 1]
        if not np.all(np.abs(moved) <= FARTHEST):
            far = describe_state(self.diffusion.names, x[np.argmax(~(np.abs(moved) <= FARTHEST).all(axis=1))])
            raise ConvergenceError(
                f"a path ran away from {far} at t = {t:g} with dt={self.dt:g}, or at twice that where the error of the step is measured; "
                "give a smaller dt, or end before it grows without bound"
            )
        return self._mirror(moved, noise)

    def _mirror(self, x: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Bring paths back from beyond the walls."""
        limits = self.diffusion.limits
        if not np.any(np.isfinite(limits)):
            return x
        for _ in range(MIRRORS):
            inside = True
            for s, (low, high) in enumerate(limits):
                for wall, beyond in ((low, x[:, s] < low), (high, x[:, s] > high)):
                    if np.any(beyond):
                        inside = False
                        move = 2 * (wall - x[beyond, s])
                        column = noise[beyond][:, :, s]
                        share = np.divide(column, column[:, s : s + 1], out=np.zeros_like(column), where=column[:, s : s + 1] > 0)
                        share[:, s] = 1.0
                        x[beyond] += move[:, None] * share
            if inside:
                return x
        outside = np.any((x < limits[:, 0]) | (x > limits[:, 1]), axis=1)
        place = describe_state(self.diffusion.names, x[outside][0])
        raise ConvergenceError(f"a path could not be brought back from {place} with dt={self.dt:g}; give a smaller dt")


def _draw_starts(starts: np.ndarray, p: np.ndarray, words: np.ndarray) -> np.ndarray:
    if len(starts) == 1:
        return np.tile(starts, (len(words), 1))
    share, cumulative = np.empty(len(words)), np.cumsum(p)
    fill_with_uniforms(words, share)
    return starts[np.minimum(np.searchsorted(cumulative, share * cumulative[-1], side="right"), len(starts) - 1)].copy()


def _refuse_infinite_walls(diffusion: Diffusion) -> None:
    """Next to a wall where the drift is infinite a step of any length goes anywhere."""
    for s, ends in enumerate(diffusion.limits):
        for end in ends[np.isfinite(ends)]:
            point = diffusion.inside()[None].copy()
            point[0, s] = end
            drift, noise = diffusion.raw(point)
            if not (np.all(np.isfinite(drift)) and np.all(np.isfinite(noise))):
                raise ConvergenceError(
                    f"drift or noise are infinite at {diffusion.names[s]} = {end:g}, so that no step is short enough next to it; "
                    "use fokker_planck, or put the wall a little inside"
                )


def _choose_step(diffusion: Diffusion, starts: np.ndarray, p: np.ndarray, end: float) -> tuple[float, str]:
    """A step that resolves how drift and noise change along rough paths, and which of them decided."""
    if end == 0:
        return 1.0, "no time passes"
    times, places = rough_paths(diffusion, starts, p, end)
    relaxations, noises, jumps = [], [], []
    for t, x in zip(times.tolist(), places, strict=True):
        slopes, roots = _slopes(diffusion, x, t)
        relaxations.append(np.abs(np.linalg.eigvals(slopes)).max(axis=-1))
        noises.append((roots**2).max(axis=(-2, -1)))
        drift, apart = np.nan_to_num(diffusion.raw(x, t)[0], posinf=0.0, neginf=0.0).std(axis=0), x.std(axis=0)
        jumps.append(np.divide(drift, apart, out=np.zeros_like(drift), where=apart > 0).max())
    # A jump of the drift has no slope, but there are paths on both sides of it.
    fastest = max(float(np.quantile(relaxations, 0.95)), float(np.trapezoid(jumps, times)) / end)
    found = {"the last time": end / 50}
    for what, rate in (("the fastest relaxation", fastest), ("the noise", float(np.quantile(noises, 0.95)))):
        if rate > 0:
            found[what] = 0.02 / rate
    if not diffusion.static:
        mesh, middle = np.linspace(0.0, end, 1000), places[-1][:1]
        there = np.array([np.concatenate([each.ravel() for each in diffusion.raw(middle, t)]) for t in mesh])
        largest, change = np.abs(there).max(axis=0), np.abs(np.diff(there, axis=0)).sum(axis=0)
        fastest = float(np.divide(change, largest * end, out=np.zeros_like(largest), where=largest > 0).max())
        if fastest > 0:
            found["the change of drift and noise with time"] = 0.02 / fastest
    why = min(found, key=lambda name: found[name])
    return found[why], why


def _slopes(diffusion: Diffusion, x: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the drift and of the roots of the noise strengths at x (M, D), (M, D, D) each; 0 where they are no numbers."""
    slopes, roots = np.empty((*x.shape, x.shape[1])), np.empty((*x.shape, x.shape[1]))
    for j, axis in enumerate(np.eye(x.shape[1])):
        h = 1e-4 * np.maximum(np.abs(x), 1e-3) * axis
        (ahead, more), (behind, less) = (diffusion.raw(np.clip(x + sign * h, *diffusion.limits.T), t) for sign in (1, -1))
        slopes[:, :, j] = (ahead - behind) / (2 * h[:, j : j + 1])
        high, low = (np.sqrt(np.maximum(np.diagonal(b, axis1=-2, axis2=-1), 0.0)) for b in (more, less))
        roots[:, :, j] = (high - low) / (2 * h[:, j : j + 1])
    # They only choose a first step, whose error is measured.
    return np.nan_to_num(slopes, posinf=0.0, neginf=0.0), np.nan_to_num(roots, posinf=0.0, neginf=0.0)


def _cells(paths: np.ndarray) -> np.ndarray:
    """Widths of cells, (D,), that are fine beside the spread of the paths: powers of two."""
    spread = paths.std(axis=0).max(axis=0)
    return 2.0 ** np.floor(np.log2(np.where(spread > 0, spread / 8, 1.0)))
