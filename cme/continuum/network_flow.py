"""`NetworkFlow`: the Fokker-Planck equation of a network in its independent species, as a `Flow`.

The reactions that move the state along the same line act as one: with net changes m d (d a primitive whole vector, m a whole number)
they give the drift v_d = sum m a and the noise B_d = sum m^2 a along d.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import gcd

import numpy as np
from scipy.optimize import brentq

from cme.compiled import Compiled
from cme.continuum.flow import EPS, Direction, along_axes
from cme.continuum.lna import lna
from cme.continuum.rate_equations import steady_state
from cme.continuum.rates_in_time import LOOKS, PropensitiesInTime, RatesInTime
from cme.continuum.vector_field import NetworkField
from cme.errors import NEGATIVE_PROPENSITY, ConvergenceError, ModelError, describe_state, propensity_error
from cme.network import Network

MOST = 2  # independent species


@dataclass(frozen=True)
class ReactionDirection(Direction):
    """Reaction ``reactions[i]`` moves the state by ``multiples[i]`` times the vector."""

    reactions: np.ndarray
    multiples: np.ndarray


@dataclass(frozen=True)
class NetworkFlow:
    """The diffusion approximation in D independent species y; all S species are ``base + y @ slopes``.

    Attributes
    ----------
    columns
        Which of the species are independent.
    base, slopes : (S,), (D, S)
        The other species follow from the conserved totals; those that no reaction changes are constant.
    natural : bool
        Propensities are taken as the formulas give them, of either sign; otherwise a negative one counts as zero.
    """

    model: Compiled | PropensitiesInTime
    columns: tuple[int, ...]
    base: np.ndarray
    slopes: np.ndarray
    directions: tuple[ReactionDirection, ...]
    natural: bool

    proportions = None
    positions = False

    @property
    def static(self) -> bool:
        return isinstance(self.model, Compiled)

    @property
    def breaks(self) -> tuple[float, ...]:
        return () if isinstance(self.model, Compiled) else self.model.breaks

    @property
    def ends(self) -> tuple[float, ...]:
        return () if isinstance(self.model, Compiled) else self.model.ends

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.species[s] for s in self.columns)

    @property
    def species(self) -> tuple[str, ...]:
        return self.model.network.species_names

    @property
    def graded(self) -> bool:
        across = bool(np.all(np.count_nonzero(self.walls()[0], axis=0) == 1))  # does every wall bound one independent species alone?
        return not self.natural and along_axes(self) and across

    @property
    def rough_at_walls(self) -> bool:
        return not self.natural

    def states(self, y: np.ndarray) -> np.ndarray:
        """All species (..., S) at independent amounts (..., D)."""
        x = self.base + np.asarray(y) @ self.slopes
        x[np.abs(x) < EPS] = 0.0  # what rounding leaves of a species that is used up
        return x

    def observables(self, states: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: np.array(self.model.observable(name, states)) for name in self.model.network.observables}

    def limits(self) -> np.ndarray:
        """The least and largest value of each independent species, (D, 2); infinite where nothing bounds it."""
        return (_natural_limits(self) if self.natural else _wall_limits(*self._half_planes())) + 0.0  # no negative zero

    def walls(self) -> tuple[np.ndarray, np.ndarray]:
        """One for each species that moves; none where the domain ends by itself."""
        slopes, base = self._half_planes()
        return (slopes[:, :0], base[:0]) if self.natural else (slopes, base)

    def _half_planes(self) -> tuple[np.ndarray, np.ndarray]:
        moving = np.any(self.slopes != 0, axis=0)
        return self.slopes[:, moving], self.base[moving]

    def propensities(self, y: np.ndarray, t: float = 0.0) -> np.ndarray:
        """Propensities (..., R); `ModelError` where one is undefined, or negative in a state of whole counts."""
        x = self.states(y)
        a = self.model.propensities(x) if isinstance(self.model, Compiled) else self.model.propensities(x, t)
        network = self.model.network
        if not np.all(np.isfinite(a)):
            *where, r = np.argwhere(~np.isfinite(a))[0]
            raise ModelError(
                f"the propensity {network.formula(int(r))} of reaction {network.reactions[r].name!r} is not a finite number at "
                f"{describe_state(network.species_names, x[tuple(where)])}, which the diffusion visits; guard the law, for example with "
                f"piecewise(){', or use boundary=' + repr('reflect') if self.natural else ''}"
            )
        if self.natural or not np.any(a < 0):
            return a
        wrong = (a < 0) & np.all(np.abs(x - np.round(x)) < EPS, axis=-1, keepdims=True)
        wrong &= a < -EPS * np.abs(a).max(axis=-1, keepdims=True)
        if np.any(wrong):
            *where, r = np.argwhere(wrong)[0]
            state = np.round(x[tuple(where)])
            raise propensity_error(NEGATIVE_PROPENSITY, network.reactions[r].name, network.formula(int(r)), network.species_names, state)
        return np.maximum(a, 0.0)  # between whole counts, such as x (x - 1) below 1, it counts as zero

    def at(self, y: np.ndarray, t: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """v_d and B_d (..., directions)."""
        a = self.propensities(y, t)
        drift = np.stack([a[..., d.reactions] @ d.multiples for d in self.directions], axis=-1)
        noise = np.stack([a[..., d.reactions] @ d.multiples**2 for d in self.directions], axis=-1)
        return drift, noise

    def steepness(self, which: int, a: np.ndarray, b: np.ndarray, t: float = 0.0) -> np.ndarray:
        """By the midpoint rule; 0 where there is no noise (with propensities >= 0 there is then no drift)."""
        drift, noise = (each[..., which] for each in self.at((a + b) / 2, t))
        along = int(np.flatnonzero(self.directions[which].step)[0])
        spacing = (b - a)[..., along] / self.directions[which].vector[along]
        return 2 * spacing * np.divide(drift, noise, out=np.zeros_like(drift), where=noise > 0)

    def fitted(self, stationary: bool, looking: bool) -> bool:
        return len(self.columns) == 1 and (stationary or looking)

    def usable(self, y: np.ndarray) -> np.ndarray:
        """Everywhere; with natural boundaries not where the noise is zero but not the drift: nothing could leave such a node."""
        if not self.natural:
            return np.ones(len(y), dtype=bool)
        drift, noise = (each[:, 0] for each in self.at(y))
        if np.any(noise < -EPS * np.abs(noise).max()):
            raise ModelError(
                f"boundary='natural': the noise strength is negative at {self.names[0]} = {y[np.argmin(noise), 0]:.6g}, inside the domain; "
                "use boundary='reflect'"
            )
        return (noise > 0) | (drift == 0)

    def open_ends(self, box: np.ndarray) -> np.ndarray:
        """Where the drift leads inward at a natural end, a node there would be a trap."""
        end = self.limits()[:, 0]
        inward = self.natural and bool(np.all(np.isfinite(end))) and bool(self.at(end[None])[0][0, 0] > EPS)
        return np.full(len(self.columns), inward)

    def shaped(self, box: np.ndarray, times: np.ndarray) -> "NetworkFlow":
        return self

    def spaced(self, spacing: np.ndarray) -> "NetworkFlow":
        return self

    def guess(self, starts: np.ndarray, weights: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A box around all that the deterministic equations and the linear noise approximation tell; and the one that holds the path.

        A stationary density does not ask for the path.
        """
        limits, columns = self.limits(), list(self.columns)
        points, spreads = [*starts], [np.zeros(len(columns))] * len(starts)
        mean = np.maximum(self.states(weights @ starts), 0.0)
        try:
            mesh = times
            if np.isfinite(mesh[0]):
                mesh = np.unique(np.concatenate([mesh, mesh[-1] * np.geomspace(1e-3, 1, 16), self._more_looks(mesh[-1])]))
            gauss = lna(self.model.network, mesh, initial=mean, rtol=1e-5, atol=1e-5)
            points += [*gauss.means[:, columns]]
            spreads += [*np.asarray(gauss.sd())[:, columns]]
        except (ConvergenceError, ModelError):  # no Gaussian: what follows looks around by itself
            pass
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        held = np.stack([low, high], axis=1) if np.isfinite(times[0]) else np.full((len(columns), 2), np.nan)
        # Around a relaxation oscillation the Gaussian may be wider than any sense.
        spread = np.minimum(np.max(spreads, axis=0), high - low + 3 * np.sqrt(1 + np.abs(high))) + np.sqrt(1 + np.abs(high))
        corners = np.meshgrid(*zip(low * 0, 8 * (high + spread), strict=True), indexing="ij")
        for corner in np.stack([axis.ravel() for axis in corners], axis=1) if self.static else ():  # what moves comes to no rest
            start = self.states(np.clip(corner, limits[:, 0], limits[:, 1]))
            try:
                if start.min() >= 0:
                    field = NetworkField(self.model.network)
                    points.append(steady_state(field, start, rtol=1e-6, atol=1e-6, max_steps=1000).state[columns])
            except (ConvergenceError, ModelError):  # from this corner no rest is found: the domain is judged by what is on its edge
                continue
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        spread = np.maximum(8 * np.maximum(spread, np.sqrt(1 + np.abs(high))), 0.3 * (high - low))
        return np.clip(np.stack([low - spread, high + spread], axis=1), limits[:, :1], limits[:, 1:]), held

    def _more_looks(self, end: float) -> np.ndarray:
        """Times between which rates do not move much."""
        return np.empty(0) if self.static else np.concatenate([np.linspace(0.0, end, LOOKS + 1), self.ends])


def reduce_network(network: Network, states: np.ndarray, *, natural: bool, in_time: RatesInTime | None = None) -> NetworkFlow:
    """Write a network's diffusion in its independent species.

    Raises
    ------
    ModelError
        If there are more than two, none, or the starts (K, S) differ in a conserved total.
    """
    change = network.stoichiometry
    moving = np.flatnonzero(np.any(change != 0, axis=0))
    rank = int(np.linalg.matrix_rank(change[:, moving])) if moving.size else 0
    if rank == 0:
        raise ModelError(f"no reaction of {network.name!r} changes a species; there is nothing to diffuse")
    if rank > MOST:
        raise ModelError(
            f"{network.name!r} has {rank} independent species, and fokker_planck takes one or two; "
            "use langevin (paths) or lna (mean and covariance)"
        )
    if natural and rank > 1:
        raise ModelError(
            f"boundary='natural' needs a network of one independent species, {network.name!r} has {rank}: "
            "with several noises there is no domain without walls; use boundary='reflect'"
        )
    independent, slopes = _choose_independent(change, moving, rank)
    base = states[0] - states[0, independent] @ slopes
    apart = np.abs(base + states[:, independent] @ slopes - states).max(axis=0)
    if apart.max() > 1e-6 * np.maximum(1.0, np.abs(states).max()):
        name = network.species_names[int(np.argmax(apart))]
        raise ModelError(
            f"the initial states differ in a conserved total ({name!r} does not follow from {network.species_names[independent[0]]!r}"
            f"{' and ' + repr(network.species_names[independent[1]]) if rank == 2 else ''}); solve for each total by itself"
        )
    base = np.where(np.abs(base) < EPS, 0.0, base)
    model = Compiled(network) if in_time is None else PropensitiesInTime(in_time)
    return NetworkFlow(model, tuple(independent), base, slopes, _directions(change[:, independent]), natural)


def _choose_independent(change: np.ndarray, moving: np.ndarray, rank: int) -> tuple[list[int], np.ndarray]:
    """Independent species such that the others are whole, small combinations of them, the first such in order."""
    best: tuple[float, list[int], np.ndarray] | None = None
    for columns in combinations(moving.tolist(), rank):
        part = change[:, columns].astype(np.float64)
        if np.linalg.matrix_rank(part) < rank:
            continue
        slopes = np.zeros((rank, change.shape[1]))
        slopes[:, moving] = np.linalg.lstsq(part, change[:, moving].astype(np.float64), rcond=None)[0]
        slopes = np.round(slopes * 27720.0) / 27720.0  # exact up to denominators of 12
        cost = np.abs(slopes).max() + 10.0 * np.any(slopes != np.round(slopes))
        if best is None or cost < best[0]:
            best = cost, list(columns), slopes
    assert best is not None
    return best[1], best[2]


def _directions(change: np.ndarray) -> tuple[ReactionDirection, ...]:
    """Group reactions with parallel net changes."""
    groups: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for r, row in enumerate(change.tolist()):
        if any(row):
            m = gcd(*row) * (1 if next(c for c in row if c) > 0 else -1)
            groups.setdefault(tuple(c // m for c in row), []).append((r, m))
    found = []
    for step, members in groups.items():
        reactions, multiples = np.array(members).T
        vector = np.array(step, dtype=np.float64)
        found.append(ReactionDirection(vector, vector, reactions, multiples.astype(np.float64)))
    return tuple(found)


def _wall_limits(slopes: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The box around ``y @ slopes + base >= 0``, by letting each wall bound each axis until nothing changes."""
    limits = np.tile([-np.inf, np.inf], (len(slopes), 1))
    for _ in range(4):
        for w, c in zip(slopes.T, base, strict=True):
            most = np.where(w > 0, limits[:, 1], limits[:, 0])
            with np.errstate(invalid="ignore"):
                reach = np.where(w == 0, 0.0, w * most)
            for i in np.flatnonzero(w):
                bound = -(c + np.delete(reach, i).sum()) / w[i]
                if w[i] > 0:
                    limits[i, 0] = max(limits[i, 0], bound)
                else:
                    limits[i, 1] = min(limits[i, 1], bound)
    return limits


def _natural_limits(diffusion: NetworkFlow) -> np.ndarray:
    """Where the noise vanishes outside the walls, so that no boundary condition is needed; infinite where it never does.

    At such an end the drift must not point outward.
    """
    limits = _wall_limits(*diffusion._half_planes())
    for side, outward in ((0, -1.0), (1, 1.0)):
        if np.isfinite(limits[0, side]):
            limits[0, side] = _natural_end(diffusion, limits[0, side], outward)
    return limits


def _natural_end(diffusion: NetworkFlow, wall: float, outward: float) -> float:
    """The zero of the noise at or beyond a wall, infinite if there is none."""

    def at(distance):
        y = wall + outward * np.atleast_1d(distance)
        return tuple(each[:, 0] for each in diffusion.at(y[:, None]))

    distance = np.concatenate([[0.0], np.geomspace(1e-3, 1e6, 4000)])
    drift, noise = at(distance)
    first = int(np.argmax(noise <= 0))
    vanishes = bool(noise[first] <= 0)
    if vanishes:
        end = 0.0
        if first > 0:
            end = brentq(lambda s: at(s)[1][0], distance[first - 1], distance[first], xtol=1e-12, rtol=1e-14)
        distance, drift = np.array([end]), at(end)[0]
    worst = int(np.argmax(outward * drift))
    if outward * drift[worst] > EPS * max(1.0, np.abs(drift).max()):
        name, place = diffusion.names[0], wall + outward * distance[worst]
        reason = f"the noise is zero at {name} = {place:.6g}" if vanishes else f"the noise of {name} never vanishes"
        raise ModelError(
            f"boundary='natural' has no domain: {reason}, and the drift at {name} = {place:.6g} points away from the counts; "
            "use boundary='reflect'"
        )
    return wall + outward * float(distance[0]) if vanishes else outward * np.inf
