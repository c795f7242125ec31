"""Where the law probably is: states around the point at which the rate equations come to rest, by the linear noise approximation."""

import numpy as np
from scipy.stats import nbinom, poisson

from cme.compiled import Compiled
from cme.errors import ModelError
from cme.graphs import conservation_laws
from cme.network import Network
from cme.projection.drift import stops_at
from cme.projection.lattice import TooManyPointsError, lattice_points, spanned, too_many
from cme.states import StateSpace

RIM_OF_MANY = 1e5  # the same where there are so many species that every state is at the rim
MOST_OF_MANY = 0.7, 1_500_000  # of the states that are allowed, and at all
DEEPEST = 64.0  # the logarithm of the largest number there is by which a product may fall in a set
FEW = 4
RIM = 1e4  # what flows out of a set weighs more than what lies outside, by the way back and the width of the rim


def likely_states(network: Network, start: StateSpace, tol: float, most_states: int) -> tuple[StateSpace, int] | None:
    """States in an ellipsoid that would hold all but `tol` of a Gaussian law, and the place of one in the middle; None if none is known.

    Not all of them need be reachable.
    """
    if network.varying or len(start.key) == len(network.species) > len(conservation_laws(network)) + len(start.key):
        return None
    try:
        found = _fixed_point(start.compiled, start.states[0].astype(np.float64))
    except (ModelError, np.linalg.LinAlgError):  # a guess alone: without it the set grows from the start, where a mistake is told
        return None
    if found is None:
        return None
    mean, covariance = found
    key = start.key
    spread = covariance[np.ix_(key, key)] + 0.25 * np.eye(len(key))
    distance = 2 * np.log(RIM / tol)
    try:
        points = lattice_points(network, *_box(mean, covariance, tol), start.states[0])
        away = points[:, key] - mean[key]
        far = np.einsum("nk,nk->n", away @ np.linalg.inv(spread), away)
        points, far = points[far <= distance], far[far <= distance]
    except TooManyPointsError:
        if len(key) < len(mean):
            return None
        most = min(MOST_OF_MANY[0] * most_states, MOST_OF_MANY[1])
        points, far = _product(start.compiled, start.states[0], mean, np.diag(covariance), np.log(RIM_OF_MANY / tol), most)
    if not 1 <= len(points) <= most_states:
        return None
    return StateSpace.holding(network, points), int(np.argmin(far))


def _box(mean: np.ndarray, covariance: np.ndarray, tol: float) -> tuple[np.ndarray, np.ndarray]:
    half = np.sqrt(2 * np.log(RIM / tol) * np.maximum(np.diag(covariance), 0.0)) + 1.0  # round-off may leave a variance below zero
    return np.maximum(np.ceil(mean - half), 0), np.floor(mean + half)


def product_states(network: Network, start: StateSpace, tol: float, most: float) -> tuple[StateSpace, np.ndarray] | None:
    """The states that are most probable in a product of laws of single counts, and their probabilities (N,).

    None if no law is known, or if there are so few species that their states can be looked at one by one.
    """
    if network.varying or len(start.key) < len(network.species):
        return None
    try:
        found = _fixed_point(start.compiled, start.states[0].astype(np.float64))
    except (ModelError, np.linalg.LinAlgError):
        return None
    if found is None or not too_many(*_box(*found, tol)):
        return None
    points, depth = np.zeros((0, len(network.species)), dtype=np.int64), np.zeros(0)
    low, high = 0.0, DEEPEST
    while high - low > 0.25:
        deepest = (low + high) / 2
        more, their_depth = _product(start.compiled, start.states[0], found[0], np.diag(found[1]), deepest, most)
        if len(more):
            points, depth, low = more, their_depth, deepest
        else:
            high = deepest
    weight = np.exp(-depth)
    return (StateSpace.holding(network, points), weight / weight.sum()) if len(points) else None


def _product(
    compiled: Compiled, state: np.ndarray, mean: np.ndarray, variance: np.ndarray, deepest: float, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """The states in which a product of laws has more than exp(-deepest) of its largest value, and how deep they are; none if too many.

    Each count has a Poisson law, or a negative binomial one where its variance is larger. Species that stop at a few are free to be any.
    """
    points, depth = np.zeros((1, 0), dtype=np.int64), np.zeros(1)
    for s, (m, v) in enumerate(zip(mean, variance, strict=True)):
        top = next((top for top in range(max(int(state[s]), 1), FEW + 1) if stops_at(compiled, s, top)), None)
        if top is not None:
            cost = np.zeros(top + 1)
        else:
            n = np.arange(int(m + 60 * np.sqrt(max(m, v)) + 60))
            log_law = nbinom.logpmf(n, m * m / (v - m), m / v) if v > 1.001 * m else poisson.logpmf(n, m)
            cost = log_law.max() - log_law
        values = np.flatnonzero(cost <= deepest)
        kept = [np.flatnonzero(depth + cost[value] <= deepest) for value in values]
        if sum(map(len, kept)) > most:
            return np.zeros((0, len(mean)), dtype=np.int64), np.zeros(0)
        points = np.concatenate([np.column_stack([points[k], np.full(len(k), value)]) for k, value in zip(kept, values, strict=True)])
        depth = np.concatenate([depth[k] + cost[value] for k, value in zip(kept, values, strict=True)])
    order = np.lexsort(points.T[::-1])
    order = order[spanned(points[order] - state, compiled.network.stoichiometry)]
    return points[order], depth[order]


def _fixed_point(compiled: Compiled, state: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A stable point of rest of the rate equations that is near a state or reached from it, and the covariance around it."""
    from scipy.linalg import solve_continuous_lyapunov

    change = compiled.network.stoichiometry.astype(np.float64)

    def drift(x):
        return compiled.rates(x) @ change

    force, step = drift(state), None
    for _ in range(400):
        jacobian = change.T @ compiled.rate_jacobian(state)
        if not (np.all(np.isfinite(force)) and np.all(np.isfinite(jacobian))):
            return None
        scale = np.abs(jacobian).sum(axis=1).max()
        if scale == 0:
            return None
        step = 1.0 / scale if step is None else step
        moved = np.maximum(state + np.linalg.solve(np.eye(len(state)) / step - jacobian, force), 0.0)
        before, force, state = np.abs(force).max(), drift(moved), moved
        now = np.abs(force).max()
        if now <= 1e-9 * scale * (1 + np.abs(state).max()):
            break
        step *= 2.0 if now >= before else min(10.0, 2.0 * before / now)
        step = min(step, 1e9 / scale)
    else:
        return None
    left, values, _ = np.linalg.svd(change.T, full_matrices=False)
    basis = left[:, values > 1e-9 * values.max(initial=0)]
    jacobian = change.T @ compiled.rate_jacobian(state)
    reduced = basis.T @ jacobian @ basis
    if not basis.shape[1] or np.linalg.eigvals(reduced).real.max() >= -1e-9 * np.abs(reduced).max():
        return None
    noise = (change.T * compiled.rates(state)) @ change
    inner = solve_continuous_lyapunov(reduced, -(basis.T @ noise @ basis))
    covariance = basis @ ((inner + inner.T) / 2) @ basis.T
    return (state, covariance) if np.all(np.isfinite(covariance)) and np.diag(covariance).min() >= -1e-9 else None
