"""`DiffusionFlow`: a `Diffusion` as a grid sees it.

Drift acts along the axes. Correlated noise is divided between the axes and the diagonals of the grid, with spacings h and r = h2 / h1:

    B12 / r along (1, r) if B12 > 0, else -B12 / r along (1, -r);    B11 - |B12| / r and B22 - |B12| r along the axes.

No part is negative if |B12| / B11 <= r <= B22 / |B12|, so that one r must do for all places. It is sqrt(B22 / B11) for constant noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cme.continuum.flow import Direction
from cme.continuum.rough_paths import rough_box
from cme.errors import ModelError, describe_state

if TYPE_CHECKING:
    from cme.continuum.diffusion import Diffusion

SAMPLES = 33  # points along an axis, and times, at which the correlation is looked at
FAINT = 1e-6  # where there is a drift there is noise: at least this part of what the grid adds in any case
DEEPEST = 60  # how often an interval is halved to integrate over a jump of the drift
# Lobatto's rule, exact to degree 7. It looks at the ends as well, so that no jump close to one goes unseen.
_POINTS, _WEIGHTS = np.array([-1, -np.sqrt(3 / 7), 0, np.sqrt(3 / 7), 1]), np.array([1 / 10, 49 / 90, 32 / 45, 49 / 90, 1 / 10])


@dataclass(frozen=True, eq=False)
class DiffusionFlow:
    """A diffusion on a grid with the spacing (D,) along its axes; the proportions of the spacing matter where noises are correlated."""

    diffusion: "Diffusion"
    spacing: np.ndarray

    positions = True
    graded = False
    breaks = ()
    ends = ()
    rough_at_walls = False

    @property
    def names(self) -> tuple[str, ...]:
        return self.diffusion.names

    @property
    def species(self) -> tuple[str, ...]:
        return self.diffusion.names

    @property
    def columns(self) -> tuple[int, ...]:
        return tuple(range(len(self.names)))

    @property
    def static(self) -> bool:
        return self.diffusion.static

    @property
    def proportions(self) -> np.ndarray | None:
        return self.spacing / self.spacing[0] if self.diffusion.correlated else None

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        axes = [Direction(axis, axis) for axis in np.eye(len(self.names))]
        steps = [np.array([1.0, 1.0]), np.array([1.0, -1.0])] if self.diffusion.correlated else []
        return (*axes, *(Direction(step, step * self.spacing / self.spacing[0]) for step in steps))

    def states(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y)

    def observables(self, states: np.ndarray) -> Mapping[str, np.ndarray]:
        return {}

    def limits(self) -> np.ndarray:
        return self.diffusion.limits

    def walls(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(self.names), 0)), np.zeros(0)

    def usable(self, y: np.ndarray) -> np.ndarray:
        return np.ones(len(y), dtype=bool)

    def fitted(self, stationary: bool, looking: bool) -> bool:
        """Unless noises are correlated: what flows along a diagonal must flow back along the axes, also at rest."""
        return not self.diffusion.correlated

    def at(self, y: np.ndarray, t: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """v_d and B_d of the axes, then of the diagonals."""
        drift, matrix = self.diffusion.drift_at(y, t), self.diffusion.noise_at(y, t)
        noise = np.diagonal(matrix, axis1=-2, axis2=-1)
        if not self.diffusion.correlated:
            return drift, np.where(noise > 0, noise, FAINT * self.spacing * np.abs(drift))
        r = self.spacing[1] / self.spacing[0]
        shared = matrix[..., :1, 1] * np.array([1 / r, -1 / r])
        own = noise - np.abs(matrix[..., :1, 1]) * np.array([1 / r, r])
        if np.any(own < -1e-9 * noise):
            where = tuple(np.argwhere(own < -1e-9 * noise)[0][:-1])
            b = matrix[where]
            raise ModelError(
                f"the noises are too correlated for one grid: at {describe_state(self.names, y[where])}, t = {t:g}, the spacing of "
                f"{self.names[1]!r} must be between {abs(b[0, 1]) / b[0, 0]:.4g} and {b[1, 1] / abs(b[0, 1]):.4g} times that of "
                f"{self.names[0]!r}, and elsewhere not (it is {r:.4g}); narrow the domain, use other coordinates, or langevin"
            )
        own = np.where(own > 1e-9 * noise, own, FAINT * self.spacing * np.abs(drift))
        return np.concatenate([drift, np.zeros_like(drift)], axis=-1), np.concatenate([own, np.maximum(shared, 0.0)], axis=-1)

    def steepness(self, which: int, a: np.ndarray, b: np.ndarray, t: float = 0.0) -> np.ndarray:
        """By Lobatto's rule, on halves where that of the whole says otherwise: jumps of the drift may lie between nodes."""
        total = np.zeros(len(a))
        owner, low, high = np.arange(len(a)), a, b
        whole, size = self._lobatto(which, low, high, t)
        allowed = 1e-11 + np.where(size > 50, 1e-6, 1e-12) * size  # beyond 50 all flows one way
        for _ in range(DEEPEST):
            middle = (low + high) / 2
            halves, sizes = self._lobatto(which, np.stack([low, middle]), np.stack([middle, high]), t)
            open_ = np.abs(halves.sum(axis=0) - whole) > allowed[owner] + 1e-12 * sizes.sum(axis=0)
            np.add.at(total, owner[~open_], halves.sum(axis=0)[~open_])
            if not np.any(open_):
                return total
            owner, middle = np.tile(owner[open_], 2), middle[open_]
            low, high = np.concatenate([low[open_], middle]), np.concatenate([middle, high[open_]])
            whole = halves[:, open_].ravel()
        if np.abs(whole).max() > 1e-6:
            place = describe_state(self.names, np.round(low[np.argmax(np.abs(whole))] / self.spacing, 9) * self.spacing + 0.0)
            raise ModelError(f"the drift is singular at {place}, and can't be integrated over it; end the domain there with domain=")
        np.add.at(total, owner, whole)
        return total

    def _lobatto(self, which: int, a: np.ndarray, b: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """The integral, and that of the modulus."""
        half = (b - a)[..., which] / 2
        drift, noise = self.at((a + b)[..., None, :] / 2 + _POINTS[:, None] * (b - a)[..., None, :] / 2, t)
        steep = np.divide(2 * drift[..., which], noise[..., which], out=np.zeros(drift.shape[:-1]), where=drift[..., which] != 0)
        return half * (steep @ _WEIGHTS), np.abs(half) * (np.abs(steep) @ _WEIGHTS)

    def open_ends(self, box: np.ndarray) -> np.ndarray:
        """Walls on which no node may lie: drift or noise are no finite numbers there, or the noise ends and the drift doesn't.

        A node there would be a trap. Without a drift, a trap is what the wall is.
        """
        out = np.zeros(len(box), dtype=bool)
        for i, j in zip(*np.nonzero(box == self.limits()), strict=True):
            points = np.stack([np.linspace(low, high, SAMPLES) for low, high in box], axis=1)
            points[:, i] = box[i, j]
            drift, noise = self.diffusion.raw(points)
            defined = np.all(np.isfinite(drift)) and np.all(np.isfinite(noise))
            still = noise[:, i, i] <= 0
            step = 1e-11 * (box[i, 1] - box[i, 0])
            near, its_noise = self.diffusion.raw(points + (step if j == 0 else -step) * np.eye(len(box))[i])
            steep = 2 * step * np.abs(near[:, i]) / np.maximum(its_noise[:, i, i], 1e-300)
            out[i] |= bool(not defined or np.any(still & ((drift[:, i] != 0) | (steep > 1e-3))))
        return out

    def shaped(self, box: np.ndarray, times: np.ndarray) -> "DiffusionFlow":
        """With proportions between the largest |B12| / B11 and the least B22 / |B12| in the box."""
        if not self.diffusion.correlated:
            return self
        parts = (np.arange(SAMPLES) + 0.5) / SAMPLES
        ticks = [low + parts * (high - low) for low, high in box]
        points = np.stack([axis.ravel() for axis in np.meshgrid(*ticks, indexing="ij")], axis=1)
        when = [0.0] if self.static or not np.isfinite(times[-1]) else np.linspace(0.0, times[-1], SAMPLES).tolist()
        least, most = 0.0, np.inf
        for t in when:
            b = self.diffusion.noise_at(points, t)
            shared, held = np.abs(b[:, 0, 1]), b[:, 0, 1] != 0
            least = max(least, float((shared[held] / b[held, 0, 0]).max(initial=0.0)))
            most = min(most, float((b[held, 1, 1] / shared[held]).min(initial=np.inf)))
        if least == 0 or least > most * (1 + 1e-9):  # without any correlation cells that fit the box; with too much, `at` complains
            extent = box[:, 1] - box[:, 0]
            return replace(self, spacing=np.array([1.0, extent[1] / extent[0] if least == 0 else np.sqrt(least * most)]))
        return replace(self, spacing=np.array([1.0, np.sqrt(least * most)]))

    def spaced(self, spacing: np.ndarray) -> "DiffusionFlow":
        return replace(self, spacing=spacing)

    def guess(self, starts: np.ndarray, weights: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A box around some rough paths with room for the tails; and, at finite times, one that holds the path of their mean."""
        return rough_box(self.diffusion, starts, weights, float(times[-1]))
