"""Lyapunov functions: a function g of the counts that falls on average, at least at rate c, outside a finite set of states.

Then the time to come back to the set is at most g / c on average, there is one stationary law, and the set can't be left for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order

from cme.compiled import Compiled
from cme.graphs import conservation_laws
from cme.projection.lattice import TooManyPointsError, lattice_points
from cme.projection.law_bounds import NoBoundError, Polynomial, bound, constant, variable
from cme.states import StateSpace

MOST_CORNERS = 128  # values of the bounded species together
MOST_VERTICES = 64
CHUNK = 200_000  # states at a time
MOST_DIMENSIONS = 20  # of quadratic forms
DEPTHS, EASY = (20.0, 10.0, 4.0, 1.0, 0.5), 400_000  # falls to prove, and so many states to look at that it takes no time
LIFTS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)  # how far out, in largest counts of the set, a fall is looked for


class NoDriftError(Exception):
    """No function was found; the argument says why."""


@dataclass(frozen=True)
class Drift:
    r"""A function g with :math:`\sum_r a_r(x) [g(x + \nu_r) - g(x)] \le -c` in every state that can be reached outside a box.

    Attributes
    ----------
    linear : (S,)
    quadratic : (S, S)
    centre : (S,)
        g(x) = linear . x + (x - centre) . quadratic . (x - centre), which is >= 0.
    fall : float
        c, once the states inside the boxes are checked as well (`over`).
    boxes : (corner (S,), lower (S,), upper (S,)) for each value of the bounded species
        Where the fall is not proved for all states at once.
    """

    compiled: Compiled
    linear: np.ndarray
    quadratic: np.ndarray
    centre: np.ndarray
    fall: float
    boxes: tuple[tuple[np.ndarray, np.ndarray], ...]

    def value(self, states: np.ndarray) -> np.ndarray:
        """g, (N,)."""
        away = states - self.centre
        return states @ self.linear + np.einsum("ns,ns->n", away @ self.quadratic, away)

    def mean_change(self, states: np.ndarray) -> np.ndarray:
        """The mean rate at which g changes, (N,)."""
        if len(states) > CHUNK:
            return np.concatenate([self.mean_change(chunk) for chunk in np.array_split(states, len(states) // CHUNK + 1)])
        total = np.zeros(len(states))
        here = self.value(states)
        propensities = self.compiled.propensities(states)
        for r, change in enumerate(self.compiled.network.stoichiometry):
            fires = propensities[:, r] > 0
            total[fires] += propensities[fires, r] * (self.value(states[fires] + change) - here[fires])
        return total

    def over(self, space: StateSpace, member: np.ndarray) -> tuple["Drift", np.ndarray]:
        """The fall outside the states of `space` that are marked (N,), and the states (K, S) outside where g does not fall enough.

        Where there are such states, it is that of the set with them.
        """
        home = space.states[np.argmax(member)]
        try:
            found = [lattice_points(self.compiled.network, low, high, home) for low, high in self.boxes]
        except TooManyPointsError as size:
            raise NoDriftError(f"a fall is only proved beyond a box of {size.args[0]:.1e} states") from None
        inside = np.concatenate([np.zeros((0, len(home)), dtype=np.int64), *found])
        place = space.index(inside) if len(inside) else np.zeros(0, dtype=np.int64)
        outside = inside[~((place >= 0) & member[place])]
        change = self.mean_change(outside)
        change += 1e-9 * np.abs(change)
        slow = change > -self.fall
        slow[slow] = self._entered(outside[slow])
        least = float(-change[slow].max(initial=-self.fall))
        if least >= 0.02 * self.fall:
            return replace(self, fall=least), np.zeros((0, len(home)), dtype=np.int64)
        slow[slow] = change[slow] > -0.1 * self.fall
        return replace(self, fall=0.1 * self.fall), outside[slow]

    def _entered(self, states: np.ndarray) -> np.ndarray:
        """Which of some different states can be entered at all from others than themselves, (N,)."""
        n_states = len(states)
        if not n_states:
            return np.zeros(0, dtype=bool)
        own, ways = StateSpace.holding(self.compiled.network, states), [np.zeros((2, 0), dtype=np.int64)]
        for r, change in enumerate(self.compiled.network.stoichiometry):
            if change.any():
                before = states - change
                to = np.flatnonzero(np.all(before >= 0, axis=1))
                to = to[self.compiled.propensities(before[to])[:, r] > 0]
                source = own.index(before[to])
                ways.append(np.stack([np.where(source < 0, n_states, source), to]))  # the last one stands for all others
        source, to = np.concatenate(ways, axis=1)
        graph = sp.csr_array((np.ones(len(to)), (source, to)), shape=(n_states + 1, n_states + 1))
        entered = np.zeros(n_states + 1, dtype=bool)
        entered[breadth_first_order(graph, n_states, return_predecessors=False)] = True
        return entered[:n_states]

    def __str__(self) -> str:
        names = self.compiled.network.species_names
        if np.any(self.quadratic):
            used = [name for s, name in enumerate(names) if self.quadratic[s].any()]
            return f"a quadratic form in {', '.join(used)}"
        return " + ".join(f"{w:.3g} {name}" for w, name in zip(self.linear, names, strict=True) if w > 0)


def find_drifts(space: StateSpace, members: np.ndarray, pi: np.ndarray, limits: Mapping[int, int] | None = None) -> list[Drift]:
    """Functions that fall far out, for a set of states and a law on its members; those more likely to fall close by first.

    `limits` are largest counts of species beyond which nothing need fall, since the process stops there.

    Raises
    ------
    NoDriftError
        If there is none, with the reason.
    """
    compiled = space.compiled
    if compiled.network.varying:
        raise NoDriftError("reactions draw numbers of molecules")
    likely = members[pi > 0]
    largest = np.array([column[likely].max() for column in space.states.T])
    frame = _Frame.of(compiled, space.states[likely[0]], largest, limits or {})
    found, reasons = [], []
    for search in (_quadratic, _linear):
        try:
            found.append(search(frame, space.states, members, pi))
        except NoDriftError as reason:
            reasons.append(str(reason))
        except NoBoundError as formula:
            raise NoDriftError("no bound is known for the rate law " + _written(compiled, formula)) from None
    if not found:
        raise NoDriftError(reasons[-1])
    return found


def _written(compiled: Compiled, formula: NoBoundError) -> str:
    from cme.infix import shorten, to_infix

    return shorten(to_infix(formula.args[0])) if formula.args else "with so many terms"


# ------------------------------------------------------------------------------------------------ which counts are bounded


@dataclass(frozen=True)
class _Frame:
    """The species without a known bound (free), and each combination of counts of the others."""

    compiled: Compiled
    free: list[int]
    corners: np.ndarray  # (K, S), zero for free species
    largest: np.ndarray  # (S,) counts where the law holds any weight

    @classmethod
    def of(cls, compiled: Compiled, state: np.ndarray, largest: np.ndarray, limits: Mapping[int, int]) -> "_Frame":
        laws = conservation_laws(compiled.network)
        totals = laws @ state
        bounds = dict(limits)
        for law, total in zip(laws, totals, strict=True):
            if law.min() >= 0:
                for s in np.flatnonzero(law).tolist():
                    bounds[s] = min(bounds.get(s, 2**62), int(total) // int(law[s]))
        for s, top in enumerate(map(int, largest)):
            if s not in bounds and top < MOST_CORNERS and stops_at(compiled, s, top):
                bounds[s] = top
        if np.prod([bound_ + 1.0 for bound_ in bounds.values()]) > 1e5:
            raise NoDriftError("the species that are bounded take too many values")
        counts = np.array(list(product(*(range(top + 1) for top in bounds.values()))), dtype=np.int64)
        corners = np.zeros((len(counts), len(largest)), dtype=np.int64)
        corners[:, list(bounds)] = counts
        free = [s for s in range(len(largest)) if s not in bounds]
        for law, total in zip(laws, totals, strict=True):
            if not law[free].any():
                corners = corners[corners @ law == total]
        if len(corners) > MOST_CORNERS:
            raise NoDriftError(f"the species that are bounded take {len(corners)} values together, more than {MOST_CORNERS}")
        return cls(compiled, free, corners, largest)

    def propensities(self, corner: np.ndarray) -> list[Polynomial]:
        """Polynomial bounds of the propensities in what the free counts have above a corner, for each reaction."""
        return _propensities(self.compiled, self.free, corner)


def _propensities(compiled: Compiled, free: list[int], corner: np.ndarray) -> list[Polynomial]:
    n = len(free)
    values = {name: constant(float(corner[s]), n) for s, name in enumerate(compiled.network.species_names)}
    for i, s in enumerate(free):
        values[compiled.network.species_names[s]] = variable(i, n, float(corner[s]))
    return [bound(formula, values, n) for formula in compiled.propensity_formulas]


def stops_at(compiled: Compiled, s: int, top: int) -> bool:
    """No reaction makes more of a species once there are so many, whatever the other counts are."""
    makes = compiled.network.stoichiometry[:, s]
    free = [i for i in range(len(compiled.network.species)) if i != s]
    for count in range(max(top - int(makes.max(initial=0)) + 1, 0), top + 1):
        corner = np.zeros(len(free) + 1)
        corner[s] = count
        try:
            propensities = _propensities(compiled, free, corner)
        except NoBoundError:  # it may make more, as far as is known
            return False
        if any(propensities[r] for r in np.flatnonzero(makes > top - count)):
            return False
    return True


# ----------------------------------------------------------------------------------------------------- linear functions


def _linear(frame: _Frame, states: np.ndarray, members: np.ndarray, pi: np.ndarray) -> Drift:
    """Weights w >= 0 such that w . x falls wherever one free count is large, by linear programming.

    It falls where all coefficients of its mean change, a polynomial in what the counts have above a corner, are at most 0.
    """
    if not frame.free:
        raise NoDriftError("all species are bounded, but not all states that the bounds allow are kept")
    for lift in LIFTS:
        reach = np.ceil(lift * (frame.largest + 1.0))
        found = _weights(frame, reach)
        if found is not None:
            weights, fall = found
            boxes = []
            for corner in frame.corners:
                high = corner.astype(np.float64)
                high[frame.free] = reach[frame.free] - 1
                boxes.append((corner.astype(np.float64), high))
            n = len(weights)
            return Drift(frame.compiled, weights, np.zeros((n, n)), np.zeros(n), fall, tuple(boxes))
    raise NoDriftError("no linear function of the counts was found that falls wherever counts are large")


def _weights(frame: _Frame, reach: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The weights with the fastest fall beyond `reach`, and how fast it is; None if there are none."""
    from scipy.optimize import linprog

    change = frame.compiled.network.stoichiometry.astype(np.float64)
    n_reactions, n_species = change.shape
    # Unknowns: weights (S), how much a reaction adds and takes (R each; what it adds less what it takes is its change), the fall.
    rows, right = [], []
    for s in frame.free:
        for base in frame.corners:
            corner = base.astype(np.float64)
            corner[s] = reach[s]
            row: dict[tuple[int, ...], np.ndarray] = {(0,) * len(frame.free): np.zeros(n_species + 2 * n_reactions + 1)}
            for r, polynomial in enumerate(frame.propensities(corner)):
                for m, (low, high) in polynomial.items():
                    entry = row.setdefault(m, np.zeros(n_species + 2 * n_reactions + 1))
                    entry[n_species + r] += high
                    entry[n_species + n_reactions + r] -= low
            row[(0,) * len(frame.free)][-1] = 1.0
            rows += list(row.values())
            right += [0.0] * len(row)
    scale = 1.0 / (frame.largest + 1.0)
    total = np.zeros(n_species + 2 * n_reactions + 1)
    total[:n_species] = 1 / scale
    split = np.hstack([-change, np.eye(n_reactions), -np.eye(n_reactions), np.zeros((n_reactions, 1))])
    lower = np.zeros(len(total))
    lower[frame.free] = 1e-6 * scale[frame.free]
    solved = linprog(
        -np.eye(1, len(total), len(total) - 1)[0],
        A_ub=np.vstack([*rows, total]),
        b_ub=np.array([*right, 1.0]),
        A_eq=split,
        b_eq=np.zeros(n_reactions),
        bounds=list(zip(lower, [None] * len(total), strict=True)),
    )
    if solved.status != 0 or not solved.x[-1] > 0:
        return None
    # The weights alone count: what follows from them is worked out again, with room for rounding.
    weights = np.maximum(solved.x[:n_species], lower[:n_species])
    weights[weights < 1e-12 * weights.max()] = 0.0
    gain = change @ weights
    fall = np.inf
    for s in frame.free:
        for base in frame.corners:
            corner = base.astype(np.float64)
            corner[s] = reach[s]
            mean: dict[tuple[int, ...], float] = {}
            size: dict[tuple[int, ...], float] = {}
            for g, polynomial in zip(gain, frame.propensities(corner), strict=True):
                for m, (low, high) in polynomial.items():
                    mean[m] = mean.get(m, 0.0) + max(g * low, g * high)
                    size[m] = size.get(m, 0.0) + max(abs(g * low), abs(g * high))
            origin = (0,) * len(frame.free)
            if any(value > 0 for m, value in mean.items() if m != origin):
                return None
            fall = min(fall, -mean.get(origin, 0.0) - 1e-10 * size.get(origin, 0.0))
    return (weights, fall) if fall > 1e-6 * solved.x[-1] else None


# -------------------------------------------------------------------------------------------------- quadratic functions


def _quadratic(frame: _Frame, states: np.ndarray, members: np.ndarray, pi: np.ndarray) -> Drift:
    r"""A quadratic form around the mean of the law that falls outside an ellipsoid, for propensities of first order.

    .. math:: J^T Q + Q J = -C^{-1}

    with the covariance C of the law and its regression J of drift on counts. For linear propensities the mean change of the form
    is then S - (x - mean) . C^{-1} (x - mean) plus what is linear: it falls some standard deviations away from the mean.
    """
    compiled, free = frame.compiled, frame.free
    if not free or len(free) > MOST_DIMENSIONS:
        raise NoDriftError(f"{len(free)} species are unbounded, more than {MOST_DIMENSIONS}")
    weight, change = pi / pi.sum(), compiled.network.stoichiometry[:, free].astype(np.float64)
    mean = np.array([weight @ states[members, s] for s in free])
    covariance, cross = 1e-9 * np.eye(len(free)), np.zeros((len(free), len(free)))
    for first in range(0, len(members), CHUNK):  # propensities of all would take several times the memory of the states
        here, share = states[members[first : first + CHUNK]], weight[first : first + CHUNK]
        away = here[:, free] - mean
        covariance += (away.T * share) @ away
        cross += (away.T * share) @ (compiled.propensities(here) @ change)
    regression = np.linalg.solve(covariance, cross).T
    one = np.eye(len(free))
    both = np.kron(one, regression.T) + np.kron(regression.T, one)
    form = np.linalg.lstsq(both, -np.linalg.inv(covariance).ravel(), rcond=None)[0].reshape(covariance.shape)
    form = (form + form.T) / 2
    if not np.all(np.isfinite(form)) or np.linalg.eigvalsh(form).min() <= 0:
        raise NoDriftError("the drift does not lead back to the mean")
    n_species = len(frame.largest)
    quadratic, centre = np.zeros((n_species, n_species)), np.zeros(n_species)
    quadratic[np.ix_(free, free)], centre[free] = form, mean
    for depth in DEPTHS:  # the faster it falls outside, the shorter the way back that is proved
        fall, boxes = depth * len(free), []
        for corner in frame.corners:
            found = _ellipsoids(frame, corner, form, mean, fall)
            if found is not None:
                low, high = corner.astype(np.float64), corner.astype(np.float64)
                low[free], high[free] = np.maximum(found[0], 0.0), found[1]
                boxes.append((low, high))
        if sum(float(np.prod(high - low + 1)) for low, high in boxes) < EASY:
            break
    return Drift(compiled, np.zeros(n_species), quadratic, centre, fall, tuple(boxes))


def _ellipsoids(frame: _Frame, corner: np.ndarray, form: np.ndarray, mean: np.ndarray, fall: float):
    """A box around all states with one value of the bounded species where the form does not fall at rate `fall`; None if there are none."""
    free, n = frame.free, len(frame.free)
    change = frame.compiled.network.stoichiometry[:, free].astype(np.float64)
    fixed, open_ = np.zeros((n + 1, n + 1)), []  # quadratic polynomials in (1, x) as matrices
    for nu, polynomial in zip(change, frame.propensities(corner), strict=True):
        if not nu.any():
            continue
        gain = 2 * form @ nu
        grown = np.concatenate([[nu @ form @ nu - gain @ mean], gain])
        for m, (low, high) in polynomial.items():
            if sum(m) > 1:
                raise NoDriftError("a propensity is not of first order")
            factor = np.array([float(sum(m) == 0), *map(float, m)])
            term = (np.outer(factor, grown) + np.outer(grown, factor)) / 2
            fixed += low * term
            if high > low:
                open_.append((high - low) * term)
    if 2 ** len(open_) > MOST_VERTICES:
        raise NoDriftError(f"{len(open_)} rate laws are only known to lie between bounds")
    lows, highs = [], []
    for chosen in product((0, 1), repeat=len(open_)):
        whole = fixed + sum((pick * term for pick, term in zip(chosen, open_, strict=True)), np.zeros_like(fixed))
        steep = -whole[1:, 1:]
        if np.linalg.eigvalsh(steep).min() <= 1e-12 * np.abs(steep).max():
            raise NoDriftError("the quadratic form does not fall in all directions")
        inverse = np.linalg.inv(steep)
        top = inverse @ whole[0, 1:]
        height = whole[0, 0] + whole[0, 1:] @ top + fall
        height += 1e-9 * (abs(height) + abs(whole[0, 0]))
        if height >= 0:
            half = np.sqrt(height * np.diag(inverse)) * (1 + 1e-9) + 1e-9
            lows.append(np.ceil(top - half - 1e-9))
            highs.append(np.floor(top + half + 1e-9))
    return (np.min(lows, axis=0), np.max(highs, axis=0)) if lows else None
