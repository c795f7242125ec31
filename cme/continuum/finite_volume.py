"""Finite volumes for a `Flow`: a grid of nodes, and the Fokker-Planck equation on it as a master equation.

Between a node j and the next along a direction d, at distance s d, flows one of two fluxes, both of second order:

fitted (Scharfetter and Gummel, in Ito form on Q = B P), for densities at rest through whose nodes no flux passes: exact at the nodes
however strong the drift, if w is, so that the weights of wells are right,

    J = [Bn(-w) B_j P_j - Bn(w) B_j+1 P_j+1] / (2 s),    w = integral of 2 v / B from j to j + 1,    Bn(z) = z / (exp(z) - 1);

central, for all that flows: the drift and the noise at each node are exact, and so are the mean and covariance of a linear network
away from walls,

    J = [v_j P_j + v_j+1 P_j+1] / 2 - f [B_j+1 P_j+1 - B_j P_j] / (2 s),    f = max(1, s |v_j| / B_j, s |v_j+1| / B_j+1),

where f > 1 is the noise that must be added to keep the rates positive: for a network none for s <= 1, since |v| <= B, but much where
the spacing is coarse and a direction is irreversible (|v| = B). The rates between nodes are then non-negative for every s and their
columns sum to zero. Jumps that would leave the domain are dropped: no flux crosses its boundary.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cme.continuum.flow import EPS, Direction, Flow
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator

SMOOTH = (
    16  # the norm that stands for the maximum, f, where it moves with time: 1.07 where f is 1 for all pairs of nodes, 1.00001 below 1/2
)
SAMPLES = 8  # points across a cell or a face that is cut by a slanted wall, to measure what is left of it


@dataclass(frozen=True, eq=False)
class Axis:
    """Nodes (n,) in increasing order and the edges (n + 1,) of their cells, half way between; the outermost edges end the axis."""

    nodes: np.ndarray
    edges: np.ndarray

    def __post_init__(self) -> None:
        if not np.all(np.diff(self.nodes) > 0):
            raise ConvergenceError(
                f"the density is so narrow at {self.nodes[-1]:.3g} that double precision does not tell its cells apart; use ssa or lna"
            )

    @classmethod
    def on_ends(cls, nodes: np.ndarray) -> "Axis":
        """The first and last node lie on the ends of the axis, with half a cell."""
        return cls(nodes, np.concatenate([nodes[:1], (nodes[:-1] + nodes[1:]) / 2, nodes[-1:]]))

    @classmethod
    def between(cls, low: float, high: float, n_cells: int) -> "Axis":
        """Equal cells, nodes in their middle."""
        edges = np.linspace(low, high, n_cells + 1)
        return cls((edges[:-1] + edges[1:]) / 2, edges)

    @property
    def widths(self) -> np.ndarray:
        return np.diff(self.edges)


@dataclass(frozen=True, eq=False)
class Grid:
    """The product of axes, without the nodes outside the walls.

    Attributes
    ----------
    axes : D axes
        Evenly spaced and alike, if a direction is not along an axis.
    start : (D,)
        Where the density comes from; matters only if the jumps do not connect all nodes.
    """

    flow: Flow
    axes: tuple[Axis, ...]
    start: np.ndarray

    @cached_property
    def shape(self) -> np.ndarray:
        """Nodes per axis, those outside the walls included."""
        return np.array([len(axis.nodes) for axis in self.axes])

    @cached_property
    def index(self) -> np.ndarray:
        """Position of each node on the axes, (N, D)."""
        index = np.stack([axis.ravel() for axis in np.indices(tuple(self.shape.tolist()))], axis=1)
        y = self._pick([axis.nodes for axis in self.axes], index)
        kept = (self._inside(y) > 0) & self.flow.usable(y)
        origin = np.array([np.argmin(np.abs(axis.nodes - c)) for axis, c in zip(self.axes, self.start, strict=True)])
        return index[kept & _on_sublattice(self.flow, index - origin)]

    @staticmethod
    def _pick(columns: list[np.ndarray], index: np.ndarray) -> np.ndarray:
        return np.stack([column[i] for column, i in zip(columns, index.T, strict=True)], axis=1)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Coordinates, (N, D)."""
        return self._pick([axis.nodes for axis in self.axes], self.index)

    @cached_property
    def widths(self) -> np.ndarray:
        """Sides of each node's cell, (N, D)."""
        return self._pick([axis.widths for axis in self.axes], self.index)

    @cached_property
    def _number(self) -> np.ndarray:
        number = np.full(self.shape, -1, dtype=np.int64)
        number[tuple(self.index.T)] = np.arange(len(self.index))
        return number

    def find(self, index: np.ndarray) -> np.ndarray:
        """The nodes at positions (K, D); -1 where there is none."""
        valid = np.all((index >= 0) & (index < self.shape), axis=1)
        found = np.full(len(index), -1, dtype=np.int64)
        found[valid] = self._number[tuple(index[valid].T)]
        return found

    def _inside(self, y: np.ndarray) -> np.ndarray:
        """1 inside box and walls, 1/2 on the edge, 0 outside, (...,)."""
        slopes, base = self.flow.walls()
        if not base.size:
            return np.ones(y.shape[:-1])
        slack = [y - [axis.edges[0] for axis in self.axes], [axis.edges[-1] for axis in self.axes] - y, y @ slopes + base]
        least = np.concatenate(slack, axis=-1).min(axis=-1)
        return np.where(least > EPS, 1.0, np.where(least >= -EPS, 0.5, 0.0))

    @cached_property
    def volume(self) -> np.ndarray:
        """The volume of each cell inside the walls, (N,)."""
        low, high = (self._pick([axis.edges[side:][: len(axis.nodes)] for axis in self.axes], self.index) for side in (0, 1))
        corners, points = _lattice([0.0, 1.0], len(self.axes)), _lattice(_MIDPOINTS, len(self.axes))
        whole = np.prod(high - low, axis=1)
        cut = np.flatnonzero(self._inside(low[:, None] + corners * (high - low)[:, None]).min(axis=1) == 0)
        part = self._inside(low[cut, None] + points * (high - low)[cut, None]).mean(axis=1)
        whole[cut] *= np.maximum(part, 1.0 / len(points))
        return whole

    def _faces(self, direction: Direction, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The area of the face between each pair of neighbours inside the walls, (K,)."""
        if len(self.axes) == 1:
            return np.ones(len(i))
        middle = (self.nodes[i] + self.nodes[j]) / 2
        if np.count_nonzero(direction.step) == 1:
            across = np.where(direction.step == 0, self.widths[i], 0.0)
            centre = np.where(direction.step == 0, self._pick([(a.edges[1:] + a.edges[:-1]) / 2 for a in self.axes], self.index[i]), middle)
            area = across.sum(axis=1)
        else:
            spacing = np.array([axis.nodes[1] - axis.nodes[0] for axis in self.axes])
            across, centre = np.tile(_complement(direction.step) * spacing, (len(i), 1)), middle
            area = np.full(len(i), spacing[1] * direction.vector[0] / direction.step[0])  # times the distance: the volume of a cell
        ends = np.stack([centre - across / 2, centre + across / 2], axis=1)
        cut = np.flatnonzero(self._inside(ends).min(axis=1) == 0)
        points = centre[cut, None] + (_MIDPOINTS[:, None] - 0.5) * across[cut, None]
        area[cut] *= np.maximum(self._inside(points).mean(axis=1), 0.5 / SAMPLES)
        return area

    def place(self, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Probabilities p (K,) at points y (K, D), put on the nodes around with linear weights, which keep the mean; (N,).

        Next to a slanted wall, where such a node is missing, the nearest node takes all.
        """
        out = np.zeros(len(self.nodes))
        near = _lattice([0, 1], len(self.axes)).astype(np.int64)
        for point, weight in zip(y, p, strict=True):
            floor, share = np.empty(len(point), dtype=np.int64), np.empty(len(point))
            for a, axis in enumerate(self.axes):
                near_by = EPS * (axis.nodes[1] - axis.nodes[0])
                floor[a] = np.clip(np.searchsorted(axis.nodes, point[a] + near_by, side="right") - 1, 0, len(axis.nodes) - 2)
                share[a] = np.clip((point[a] - axis.nodes[floor[a]]) / (axis.nodes[floor[a] + 1] - axis.nodes[floor[a]]), 0, 1)
            share[np.minimum(share, 1 - share) < EPS] = np.round(share[np.minimum(share, 1 - share) < EPS])
            weights = np.prod(np.where(near, share, 1 - share), axis=1)
            found = self.find(floor + near[weights > 0])
            if np.all(found >= 0):
                np.add.at(out, found, weight * weights[weights > 0])
            else:
                out[np.argmin(np.sum(((self.nodes - point) / self.widths) ** 2, axis=1))] += weight
        return out

    @cached_property
    def _neighbours(self) -> list["_Neighbours"]:
        found = []
        for direction in self.flow.directions:
            ahead, behind = (self.find(self.index + sign * direction.step.astype(np.int64)) for sign in (1, -1))
            i = np.flatnonzero(ahead >= 0)
            j = ahead[i]
            along = int(np.flatnonzero(direction.step)[0])
            spacing = (self.nodes[j, along] - self.nodes[i, along]) / direction.vector[along]
            found.append(_Neighbours(i, j, spacing, self._faces(direction, i, j) / (2 * spacing), ahead, behind))
        return found

    def generator(self, fitted: bool, steepest: float = np.inf, t: float = 0.0) -> Generator:
        """The finite-volume operator at a time, with the fitted or the central flux.

        With `steepest`, the fitted |w| is kept below it by more noise, to look around on a grid that is too coarse.
        """
        rates: list[np.ndarray] = []
        drifts, noises = self.flow.at(self.nodes, t)
        for which, pair in enumerate(self._neighbours):
            drift, noise, (i, j, spacing) = drifts[:, which].copy(), noises[:, which].copy(), pair[:3]
            if self.flow.rough_at_walls:
                for neighbour, other in ((pair.ahead, pair.behind), (pair.behind, pair.ahead)):
                    on_wall = np.flatnonzero((neighbour >= 0) & (other < 0) & (noise > 0))
                    self._average_at_wall(which, on_wall, neighbour[on_wall], drift, noise, t)
            if fitted:
                w = self.flow.steepness(which, self.nodes[i], self.nodes[j], t)
                more = np.maximum(np.abs(w) / steepest, 1.0)
                up, down = more * bernoulli(-w / more) * noise[i], more * bernoulli(w / more) * noise[j]
            else:
                steep = np.abs(_ratio(drift, noise))
                more = spacing * np.maximum(steep[i], steep[j])
                if self.flow.static:
                    more = np.where(more > 1 + EPS, 1.001 * more, 1.0)  # a little more than needed: no jump is cut off
                else:  # without the kink, at which steps in time would collapse
                    more = (1 + (spacing * steep[i]) ** SMOOTH + (spacing * steep[j]) ** SMOOTH) ** (1 / SMOOTH)
                up = np.maximum(more * noise[i] + spacing * drift[i], 0.0)  # below zero by rounding at most
                down = np.maximum(more * noise[j] - spacing * drift[j], 0.0)
            rates += [pair.face * up / self.volume[i], pair.face * down / self.volume[j]]
        rate, n_nodes = np.concatenate(rates), len(self.nodes)
        column, order, indices, pointer = self._pattern
        data = np.concatenate([rate, -np.bincount(column, weights=rate, minlength=n_nodes)])[order]
        matrix = sp.csc_array((data, indices, pointer), shape=(n_nodes, n_nodes))
        if not np.all(data):
            matrix = matrix.copy()
            matrix.eliminate_zeros()  # a jump that never happens is none, also for those who look at the pattern
        return Generator(matrix, np.zeros(n_nodes), self.nodes, self.flow.names, self.widths.max(axis=0))

    def changing_generator(self, fitted: bool, steepest: float = np.inf) -> TimeDependentGenerator:
        """The same for drift and noise that depend on time."""
        at = lru_cache(maxsize=16)(lambda t: self.generator(fitted, steepest, t))
        return TimeDependentGenerator(at, self.flow.breaks, self.flow.ends)

    @cached_property
    def _pattern(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The sources of the rates, in their order, and how rates and diagonal are ordered in a matrix with these indices and pointer."""
        row = np.concatenate([each for pair in self._neighbours for each in (pair.j, pair.i)])
        column = np.concatenate([each for pair in self._neighbours for each in (pair.i, pair.j)])
        everything = np.arange(len(self.nodes))
        places = np.concatenate([row, everything]), np.concatenate([column, everything])
        order = np.lexsort(places)
        pointer = np.searchsorted(places[1][order], np.arange(len(everything) + 1))
        return column, order, places[0][order].astype(np.int32), pointer.astype(np.int32)

    def added_noise(self, p: np.ndarray, t: float = 0.0) -> float:
        """How much the central flux multiplies the noise to keep rates non-negative: the mean over masses p (T, N), at its largest."""
        spacing = self.widths.max(axis=1, keepdims=True)
        return float((p @ np.maximum(1.0, spacing * np.abs(_ratio(*self.flow.at(self.nodes, t))))).mean(axis=0).max())

    def _average_at_wall(self, which: int, nodes: np.ndarray, neighbours: np.ndarray, drift: np.ndarray, noise: np.ndarray, t: float):
        """Replace the noise of nodes on a wall by its harmonic mean over their half cells (Simpson's rule), in place.

        B P is smooth, so that P grows as 1/B towards a wall at which the noise is small; the value on the wall alone would
        overrate the mass there. The drift is scaled alike.
        """
        points = self.nodes[nodes] + np.array([0.25, 0.5])[:, None, None] * (self.nodes[neighbours] - self.nodes[nodes])
        quarter, half = self.flow.at(points, t)[1][..., which]
        with np.errstate(divide="ignore"):
            mean = 6.0 / (1.0 / noise[nodes] + 4.0 / quarter + 1.0 / half)
        drift[nodes] *= mean / noise[nodes]
        noise[nodes] = mean


class _Neighbours(NamedTuple):
    """Pairs of neighbours i, j (K,) along a direction, their spacing and the area of the face between them over twice that."""

    i: np.ndarray
    j: np.ndarray
    spacing: np.ndarray
    face: np.ndarray
    ahead: np.ndarray  # (N,) the next node of each, -1 where there is none
    behind: np.ndarray


_MIDPOINTS = (np.arange(SAMPLES) + 0.5) / SAMPLES


def _lattice(ticks, dimensions: int) -> np.ndarray:
    """All points whose coordinates are ticks, (K, D)."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*[ticks] * dimensions, indexing="ij")], axis=1)


def _ratio(drift: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Drift over noise, 0 where there is no noise (a flow has then no drift either)."""
    return np.divide(drift, noise, out=np.zeros_like(drift), where=noise > 0)


def bernoulli(z: np.ndarray) -> np.ndarray:
    """Bn(z) = z / (exp(z) - 1), 1 at zero, 0 far above, -z far below."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.where(np.abs(z) < 1e-8, 1 - z / 2, z / np.expm1(z))


def _complement(direction: np.ndarray) -> np.ndarray:
    """A whole vector that spans the plane's lattice together with a primitive direction."""
    a, b = (int(c) for c in direction)
    for x in range(-max(abs(a), 1), max(abs(a), 1) + 1):
        for y in range(-max(abs(b), 1), max(abs(b), 1) + 1):
            if abs(a * y - b * x) == 1:
                return np.array([x, y], dtype=np.float64)
    raise AssertionError(f"{direction} is not primitive")


def _on_sublattice(flow: Flow, index: np.ndarray) -> np.ndarray:
    """Which positions can be reached from position 0 by jumps; all, but for directions such as (1, 1) and (1, -1)."""
    steps = [direction.step.astype(int).tolist() for direction in flow.directions]
    if len(steps[0]) == 1:
        return np.ones(len(index), dtype=bool)
    minors = [a[0] * b[1] - a[1] * b[0] for a in steps for b in steps]
    if gcd(*minors) == 1:
        return np.ones(len(index), dtype=bool)
    # Hermite form of the lattice: vectors (a, b) and (0, c).
    a, b, c = 0, 0, 0
    for x, y in steps:
        while x:
            q = a // x
            a, b, x, y = x, y, a - q * x, b - q * y
        c = gcd(c, y)
    column, rest = np.divmod(index[:, 0], a)
    return (rest == 0) & ((index[:, 1] - column * b) % c == 0)
