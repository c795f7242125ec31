"""`Flow`: what a grid asks of a diffusion, be it that of a network (`NetworkFlow`) or one given by functions (`DiffusionFlow`).

Probability flows along a few fixed directions d, with a drift v_d and a noise B_d along each:

    dP/dt = sum over d of [ -(d . grad)(v_d P) + 1/2 (d . grad)^2 (B_d P) ].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

EPS = 1e-9  # lengths (in molecules, or in parts of a cell) closer than this are the same


@dataclass(frozen=True)
class Direction:
    """A line along which probability flows: from a node to the next by `step` nodes, which is `vector` times a spacing."""

    step: np.ndarray  # (D,) whole numbers
    vector: np.ndarray  # (D,)


class Flow(Protocol):
    """A diffusion in D coordinates y, for results over S species (or the coordinates themselves)."""

    @property
    def names(self) -> tuple[str, ...]:
        """The D coordinates."""

    @property
    def species(self) -> tuple[str, ...]:
        """What results are over, S names."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Which of the species are the coordinates."""

    @property
    def directions(self) -> Sequence[Direction]: ...

    @property
    def proportions(self) -> np.ndarray | None:
        """The spacings along the axes, relative to each other, where a direction is not along an axis, (D,); None where they are free."""

    @property
    def static(self) -> bool:
        """Do drift and noise not depend on time?"""

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which drift or noise may jump."""

    @property
    def ends(self) -> tuple[float, ...]:
        """Times between which neither has a pulse."""

    @property
    def positions(self) -> bool:
        """Are the coordinates positions on a line rather than amounts?"""

    @property
    def graded(self) -> bool:
        """Do cells shrink towards walls?"""

    @property
    def rough_at_walls(self) -> bool:
        """May the noise be so small at a wall that a node there must stand for the mean over its half cell?"""

    def states(self, y: np.ndarray) -> np.ndarray:
        """All species (..., S) at coordinates (..., D)."""

    def observables(self, states: np.ndarray) -> Mapping[str, np.ndarray]:
        """What else is known in states (..., S)."""

    def limits(self) -> np.ndarray:
        """The least and largest value of each coordinate, (D, 2); infinite where nothing bounds it."""

    def walls(self) -> tuple[np.ndarray, np.ndarray]:
        """Half-planes ``y @ slopes[:, w] + base[w] >= 0`` that may cut cells: slopes (D, W) and bases (W,)."""

    def at(self, y: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """v_d and B_d of every direction at coordinates (..., D) and a time, (..., directions) each."""

    def steepness(self, which: int, a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
        """The integral of 2 v_d / B_d along direction `which` from points a to points b, (K,)."""

    def fitted(self, stationary: bool, looking: bool) -> bool:
        """Which flux is better (see `cme.continuum.finite_volume`)."""

    def usable(self, y: np.ndarray) -> np.ndarray:
        """Where a node may be, (K,)."""

    def open_ends(self, box: np.ndarray) -> np.ndarray:
        """Axes on whose ends no node may lie, since the diffusion stands still or is undefined there, (D,)."""

    def spaced(self, spacing: np.ndarray) -> "Flow":
        """The same diffusion on a grid with this spacing along its axes, (D,)."""

    def shaped(self, box: np.ndarray, times: np.ndarray) -> "Flow":
        """The same diffusion with proportions that suit a box (D, 2) and the times (T,)."""

    def guess(self, starts: np.ndarray, weights: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A box that may hold the density, and one that surely is needed, (D, 2) each; nan where nothing is sure."""


def along_axes(flow: Flow) -> bool:
    """Is every direction along an axis?"""
    return all(np.count_nonzero(direction.step) == 1 for direction in flow.directions)
