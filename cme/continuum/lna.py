"""`lna`: the linear noise approximation, a Gaussian around the rate equations."""

import time

import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_continuous_lyapunov

from cme.abilities import Kind, features, is_chain, require
from cme.arguments import check_positive, check_times, record
from cme.continuum.diffusion import Diffusion, with_jump_moments
from cme.continuum.drawn_jumps import DrawnField
from cme.continuum.rate_equations import describe_initial, integrate, steady_state
from cme.continuum.rates_in_time import LinearMap, RatesInTime, is_blink
from cme.continuum.vector_field import VectorField, refuse_negative, vector_field
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.network import Network
from cme.results import Moments

DENSE = 500  # unknowns up to which the Jacobian of the moment equations is kept dense


def lna(network: Network | Diffusion, times, *, initial=None, rtol: float = 1e-9, atol: float = 1e-9) -> Moments:
    r"""Solve the linear noise approximation.

    .. math::
        d\phi/dt = S^T f(\phi), \qquad
        d\Sigma/dt = J \Sigma + \Sigma J^T + S^T \mathrm{diag}(f)\, S, \qquad J = S^T \partial f / \partial \phi

    with the deterministic rates f and the net changes S, all in molecules. At t = inf the covariance solves the Lyapunov equation
    at the steady state that the rate equations reach.

    Parameters
    ----------
    network
        S species, R reactions; rates may depend on time, and on variables whose course does not depend on counts. Events at times that
        are known in advance may set variables, and counts to linear functions of counts. Where rates are constant, reactions may draw
        numbers of molecules, like ``geometric(5)``. Or a `Diffusion`: its drift takes the place of
        S^T f, its noise B that of S^T diag(f) S.
    times : (T,), in the model's time unit
        Increasing. The single time inf asks for the stationary law.
    initial
        Amounts (real numbers are allowed), or a distribution, whose mean and covariance are taken; None for the network's own start.
        A `Diffusion` needs a position, see `Diffusion.start`.
    rtol, atol : float
        Relative tolerance of the integrator, and its absolute tolerance (in molecules, and molecules squared), per step.

    Returns
    -------
    Moments
        Means (T, S) and covariances (T, S, S). Observables are evaluated at the mean, which for a nonlinear one is not its mean.
        Variables that change in time are among them.

    Raises
    ------
    ModelError
        If a rate is undefined, or the rates drive an amount below zero (a position out of its domain); if a rate that moves with time is
        negative, or a stationary law of such rates is asked for.
    ConvergenceError
        If the rate equations diverge or never come to rest, or the steady state is not stable: then no stationary Gaussian exists.

    Notes
    -----
    Exact for mean and covariance where every propensity is at most linear in the amounts, and numbers of molecules that a reaction draws
    do not depend on these: their mean and second moment take the place of S^T f and S^T diag(f) S. Otherwise it is the leading order
    for large volumes at fixed times and around one stable state: it knows nothing of other wells, of the correction of the mean by the
    noise, of skewness or of the boundary at zero. A variance that the integrator leaves below zero, by less than its tolerance, is zero.
    Conserved totals keep the covariance that they have at the start (zero for a sharp start).
    Rates are integrated piece by piece, from one switch of a condition on the time to the next, in steps of at most a 32nd of the
    time, none of which passes over a pulse of the rates, however short (see `cme.resolved_times`).
    Cost: S (S + 3) / 2 coupled equations; the stationary law O(S^3).

    References
    ----------
    Van Kampen, Can. J. Phys. 39:551 (1961), doi:10.1139/p61-056.
    Elf and Ehrenberg, Genome Res. 13:2475 (2003), doi:10.1101/gr.1196503.

    Examples
    --------
    >>> import cme
    >>> gene = cme.parse("0 -> M @ 50; M -> M + P @ 4; M -> 0 @ 0.5; P -> 0 @ 0.2")
    >>> result = cme.lna(gene, float("inf"))
    >>> round(float(result.covariance[0, 0, 1]), 6)  # v1 <M> / (d0 + d1)
    571.428571
    """
    started = time.perf_counter()
    times = check_times(times, infinity=True)
    rtol, atol = check_positive("rtol", rtol), check_positive("atol", atol)
    require(network, "lna")
    if isinstance(network, Network) and not is_chain(network):
        return _in_time(network, times, initial, rtol, atol, started)
    network = with_jump_moments(network)
    if isinstance(network, Network) and network.varying:
        field: VectorField = DrawnField(network)
    else:
        field = vector_field(network, stationary=bool(np.isinf(times[0])))
    states, p = field.start(initial)
    mean = p @ states
    covariance = ((states - mean).T * p) @ (states - mean)
    if np.isinf(times[0]):
        means, covariances, found = _stationary(field, mean, covariance, rtol, atol)
    else:
        means, covariances = _transient(field, mean, covariance, times, rtol, atol)
        found = {}
    field.check_bounds("lna", times, means, atol)
    _check_variances(field.names, times, covariances, atol)
    options = {"initial": describe_initial(initial), "rtol": rtol, "atol": atol}
    info = record("lna", field.name, started, options, **found)
    return Moments(times, field.names, means, covariances, info, field.observables(means))


def _check_variances(names: tuple[str, ...], times: np.ndarray, covariances: np.ndarray, atol: float) -> None:
    """Set to zero what round-off has left below zero; `ModelError` where a variance is negative otherwise."""
    variances = np.einsum("tss->ts", covariances)  # a view of the diagonals
    rounded = (variances < 0) & (variances > -1e3 * atol - 1e-6 * np.abs(variances).max(initial=0.0))
    variances[rounded] = 0.0
    if np.any(variances < 0):
        t, s = np.unravel_index(np.argmin(variances), variances.shape)
        raise ModelError(
            f"lna finds a variance of {variances[t, s]:.3g} for {names[s]!r} at t = {times[t]:g}: a rate must have been negative, and its "
            "noise with it; guard the law, for example with piecewise(), or split a reversible reaction in two"
        )


def _in_time(network: Network, times: np.ndarray, initial, rtol: float, atol: float, started: float) -> Moments:
    """The same for a network whose rates move with time, or where events happen at known times: one piece of time after the other."""
    if network.varying:
        law = next(each for each in features(network) if each.kind is Kind.VARYING)
        raise ModelError(f"{law}, and other things move with time; lna takes either, but not both: use ssa or fsp")
    if np.isinf(times[0]):
        raise ModelError(f"{network.name!r} comes to rest in no way that can be looked for: {features(network)[0]}; ask for finite times")
    moving = RatesInTime(network, initial, times)
    mean = moving.p @ moving.states
    covariance = ((moving.states - mean).T * moving.p) @ (moving.states - mean)
    mean, covariance = _mapped(moving.maps(moving.clockwork.first), mean, covariance)
    means, covariances = list[np.ndarray](), list[np.ndarray]()
    for piece, field, wanted, ends in moving.stretches():
        if is_blink(piece):
            means, covariances = means + [mean] * len(wanted), covariances + [covariance] * len(wanted)
            mean, covariance = _mapped(moving.maps(piece.instant), mean, covariance)
            continue
        ticks = np.unique(np.append(wanted, piece.end))
        m, c = _transient(field, mean, covariance, ticks, rtol, atol, piece.start, ends, moving.longest)
        field.check_bounds("lna", ticks, m, atol)
        places = np.searchsorted(ticks, wanted)
        means, covariances = [*means, *m[places]], [*covariances, *c[places]]
        mean, covariance = _mapped(moving.maps(piece.instant), m[-1], c[-1])
    if len(means) < len(times):
        means, covariances = [*means, mean], [*covariances, covariance]
    at, spread = np.array(means), np.array(covariances)
    names = moving.network.species_names
    refuse_negative("lna", names, times, at, atol)  # also what an event has set
    _check_variances(names, times, spread, atol)
    options = {"initial": describe_initial(initial), "rtol": rtol, "atol": atol}
    info = record("lna", network.name, started, options, pieces=len(moving.clockwork.pieces), executed_events=moving.clockwork.executions)
    return Moments(times, names, at, spread, info, moving.observables(at) | moving.variables())


def _mapped(maps: list[tuple[float, LinearMap]], mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance after events: of a mixture, where chance chooses their order."""
    if not maps:
        return mean, covariance
    means = np.array([each.matrix @ mean + each.shift for _, each in maps])
    weights = np.array([weight for weight, _ in maps])
    after = weights @ means
    inside = sum(weight * each.matrix @ covariance @ each.matrix.T for weight, each in maps)
    return after, inside + ((means - after).T * weights) @ (means - after)


def _transient(
    field: VectorField,
    mean,
    covariance,
    times,
    rtol: float,
    atol: float,
    since: float = 0.0,
    ends: np.ndarray | None = None,
    longest: float = np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the mean and the upper triangle of the covariance together."""
    n = len(mean)
    upper = np.triu_indices(n)
    spread, pick = _triangle_maps(n)

    def velocity(time, y):
        sigma = (spread @ y[n:]).reshape(n, n)
        drift = field.jacobian(time, y[:n]) @ sigma
        return np.concatenate([field.velocity(time, y[:n]), (drift + drift.T + field.noise(time, y[:n]))[upper]])

    def jacobian(time, y):
        # The block that couples the covariance to the mean (second derivatives of the rates) is left out: this matrix only serves
        # Newton's method inside the integrator, which still converges since the system is block triangular.
        j = field.jacobian(time, y[:n])
        if n * (n + 3) // 2 > DENSE:
            j = sp.csr_array(j)
        kronecker = sp.kron(j, sp.eye_array(n)) + sp.kron(sp.eye_array(n), j)
        whole = sp.block_diag([j, pick @ kronecker @ spread], format="csc")
        return whole if whole.shape[0] > DENSE else whole.toarray()

    start = np.concatenate([mean, covariance[upper]])
    method = "LSODA" if len(start) <= DENSE else "BDF"  # BDF takes the sparse Jacobian
    y = integrate(
        "lna", velocity, jacobian, start, times, field.names,
        method=method, rtol=rtol, atol=atol, since=since, ends=ends, max_step=longest,
    )  # fmt: skip
    return y[:, :n], (y[:, n:] @ spread.T).reshape(len(times), n, n)


def _triangle_maps(n: int) -> tuple[sp.csr_array, sp.csr_array]:
    """The matrices that spread an upper triangle over a whole symmetric matrix (n^2), and that pick it out again."""
    row, column = np.triu_indices(n)
    size = np.arange(len(row))
    pick = sp.csr_array((np.ones(len(row)), (size, row * n + column)), shape=(len(row), n * n))
    off = row != column
    mirrored = sp.csr_array((np.ones(off.sum()), (size[off], column[off] * n + row[off])), shape=pick.shape)
    return sp.csr_array((pick + mirrored).T), pick


def _stationary(field: VectorField, mean, covariance, rtol: float, atol: float):
    """The Lyapunov equation on the directions that reactions can change, and what conserved totals keep of their spread."""
    steady = steady_state(field, mean, rtol=rtol, atol=atol)
    where = describe_state(field.names, steady.state)
    if not steady.stable:
        kind = "unstable" if steady.slowest_rate < 0 else "only marginally stable"
        raise ConvergenceError(
            f"the steady state {where} is {kind} (a small disturbance decays at rate {steady.slowest_rate:.3g}), so there is no "
            "stationary Gaussian around it; ask for finite times, or start elsewhere"
        )
    basis = field.directions()
    jacobian, noise = field.jacobian(0.0, steady.state), field.noise(0.0, steady.state)
    reduced = basis.T @ jacobian @ basis
    sigma = np.zeros_like(covariance)
    kept = np.eye(len(mean))
    if basis.shape[1]:
        inner = solve_continuous_lyapunov(reduced, -(basis.T @ noise @ basis))
        sigma = basis @ ((inner + inner.T) / 2) @ basis.T
        kept = kept - basis @ np.linalg.solve(reduced, basis.T @ jacobian)  # the limit of exp(J t)
    found = {"slowest_rate": steady.slowest_rate, "settled_after": steady.settled_after}
    return steady.state[None, :], (sigma + kept @ covariance @ kept.T)[None, :, :], found
