"""Where a `Diffusion` goes, roughly: a few random paths in long steps, for the first box of `fokker_planck` and the step of `langevin`."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cme.errors import ConvergenceError, describe_state

if TYPE_CHECKING:
    from cme.continuum.diffusion import Diffusion

N_PATHS, N_STEPS = 64, 160
ROOM = 6.0  # standard deviations beyond the outermost path
FARTHEST = 1e60


def rough_box(diffusion: "Diffusion", starts: np.ndarray, weights: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """A box (D, 2) around the paths with room for the tails; and one that holds the path of their mean, nan for a density at rest."""
    _, places = rough_paths(diffusion, starts, weights, end)
    places = places[N_STEPS // 2 :] if np.isinf(end) else places
    middle, low, high = places.mean(axis=1), places.min(axis=(0, 1)), places.max(axis=(0, 1))
    room = ROOM * places.std(axis=1).max(axis=0) + 1e-3 * (high - low)
    room = np.where(room > 0, room, np.maximum(np.abs(high), 1.0))
    limits = diffusion.limits
    box = np.clip(np.stack([low - room, high + room], axis=1), limits[:, :1], limits[:, 1:])
    held = np.stack([middle.min(axis=0), middle.max(axis=0)], axis=1)
    return box, np.full_like(held, np.nan) if np.isinf(end) else held


def rough_paths(diffusion: "Diffusion", starts: np.ndarray, weights: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Times (N + 1,) and positions (N + 1, M, D); until the paths have long come to rest if the end is infinite.

    Each step solves the equation with drift and noise made linear where it begins, and each axis by itself; it leads no farther than
    half of all the way so far, and than the noise.
    """
    share = (np.arange(N_PATHS) + 0.5) / N_PATHS
    x = starts[np.searchsorted(np.cumsum(weights) / weights.sum(), share)]
    if np.isinf(end):
        drift, slope, noise = _local(diffusion, x, 0.0)
        fastest = float((np.abs(slope) + drift**2 / np.where(noise > 0, noise, np.inf)).max())
        times = np.append(0.0, np.geomspace(1e-3, 1e6, N_STEPS) / (fastest if fastest > 0 else 1.0))
    else:
        times = np.append(0.0, end * np.geomspace(1e-4, 1.0, N_STEPS))
    random, places, reach = np.random.default_rng(0), [x], np.zeros(x.shape[1])
    for now, after in pairwise(times.tolist()):
        drift, slope, noise = _local(diffusion, x, 0.0 if np.isinf(end) else now)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            h = np.minimum(after - now, np.where(slope > 0, 1 / slope, np.inf))
            if np.isinf(end):  # steps grow without end, but not beyond what the linear equation is good for
                h = np.minimum(h, np.where(slope < 0, 50 / -slope, 0.0) + np.nan_to_num(10 * noise / drift**2, nan=np.inf))
            move, spread = drift * h * _mean_of_exp(slope * h), np.sqrt(np.maximum(noise, 0.0) * h * _mean_of_exp(2 * slope * h))
            farthest = reach / 2 + spread + np.abs(drift) * times[1]
            x = _reflect(x + np.clip(move, -farthest, farthest) + spread * random.standard_normal(x.shape), diffusion.limits)
        reach = np.maximum(reach, np.abs(x - places[0]).max(axis=0))
        if not np.all(reach < FARTHEST):
            raise ConvergenceError(
                f"paths run away from {describe_state(diffusion.names, places[0][0])}, past {FARTHEST:g} by t = {after:g}; "
                "end before the density explodes, or keep it in a domain"
            )
        places.append(x)
    return times, np.array(places)


def _local(diffusion: "Diffusion", x: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drift, its derivative and noise along each axis, (M, D) each; 0 where they are no numbers, which is for others to refuse."""
    h = 1e-5 * np.maximum(np.abs(x), 1e-3)
    drift, noise = diffusion.raw(x, t)
    slope = np.empty_like(x)
    with np.errstate(all="ignore"):
        for i, axis in enumerate(np.eye(x.shape[1])):
            ahead, behind = (diffusion.raw(x + sign * h * axis, t)[0][:, i] for sign in (1, -1))
            slope[:, i] = (ahead - behind) / (2 * h[:, i])
    drift, slope, noise = (np.where(np.isfinite(each), each, 0.0) for each in (drift, slope, np.diagonal(noise, axis1=-2, axis2=-1)))
    return drift, slope, noise


def _mean_of_exp(z: np.ndarray) -> np.ndarray:
    """The mean of exp over (0, z)."""
    return np.where(np.abs(z) < 1e-8, 1.0, np.expm1(z) / np.where(z == 0, 1.0, z))


def _reflect(x: np.ndarray, limits: np.ndarray) -> np.ndarray:
    low, high = limits.T
    x = np.where(x < low, 2 * low - x, x)
    x = np.where(x > high, 2 * high - x, x)
    return np.clip(x, low, high)
