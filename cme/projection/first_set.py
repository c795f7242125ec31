"""Where the law probably is: states around the point at which the rate equations come to rest, by the linear noise approximation."""

import numpy as np

from cme.compiled import Compiled
from cme.errors import ModelError
from cme.graphs import conservation_laws
from cme.network import Network
from cme.projection.lattice import TooManyPointsError, lattice_points
from cme.states import StateSpace

MOST_STATES = 400_000
RIM = 1e4  # what flows out of a set weighs more than what lies outside, by the way back and the width of the rim


def likely_states(network: Network, start: StateSpace, tol: float) -> tuple[StateSpace, int] | None:
    """States in an ellipsoid that would hold all but `tol` of a Gaussian law, and the place of one in the middle; None if none is known.

    Not all of them need be reachable.
    """
    if network.varying or len(start.key) == len(network.species) > len(conservation_laws(network)) + len(start.key):
        return None
    try:
        found = _fixed_point(start.compiled, start.states[0].astype(np.float64))
    except (ModelError, np.linalg.LinAlgError):
        return None
    if found is None:
        return None
    mean, covariance = found
    distance = 2 * np.log(RIM / tol)
    half = np.sqrt(distance * np.diag(covariance)) + 1.0
    try:
        points = lattice_points(network, np.maximum(np.ceil(mean - half), 0), np.floor(mean + half), start.states[0])
    except TooManyPointsError:
        return None
    key = start.key
    spread = covariance[np.ix_(key, key)] + 0.25 * np.eye(len(key))
    away = points[:, key] - mean[key]
    far = np.einsum("nk,nk->n", away @ np.linalg.inv(spread), away)
    points, far = points[far <= distance], far[far <= distance]
    if not 1 <= len(points) <= MOST_STATES:
        return None
    return StateSpace.holding(network, points), int(np.argmin(far))


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
