"""`rate_equations`: the deterministic law of large numbers, and the steady state that it reaches."""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import LSODA, solve_ivp

from cme import stoichiometry
from cme.abilities import features, require
from cme.arguments import check_choice, check_positive, check_times, record
from cme.compiled import starting_states
from cme.continuum.diffusion import Diffusion, with_jump_moments
from cme.continuum.hybrid_flow import follow
from cme.continuum.vector_field import DIVERGED, VectorField, refuse_negative, vector_field
from cme.elements import Side
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.hybrid import Hybrid
from cme.network import Network
from cme.resolved_times import legs
from cme.results import Distribution, Moments

METHODS = ("LSODA", "BDF", "Radau")
ATOL, ATOL_BEYOND_CHAINS = 1e-9, 1e-12
MOST_CALLS, NO_LENGTH = 20_000, 1e-13  # of the velocity, within so small a part of the time: a solution that ends there
MAX_STEPS = 10_000  # towards a steady state; a decay to rest takes some hundreds, an oscillation never ends


def rate_equations(
    network: Network | Diffusion,
    times,
    *,
    initial=None,
    method: str = "LSODA",
    rtol: float = 1e-9,
    atol: float | None = None,
    below_zero: str | None = None,
) -> Moments:
    r"""Solve the reaction rate equations.

    .. math:: d\phi/dt = S^T f(\phi), \qquad \phi(0) = \langle x(0) \rangle

    with the deterministic rates f (k x^2 / 2 where the propensity is k x (x-1) / 2) and the net changes S; and rate rules, events and
    whatever else a network may hold but random draws.

    Parameters
    ----------
    network
        S species, R reactions.
    times : (T,), in the model's time unit
        Increasing. The single time inf asks for the steady state that is reached from the start. What an event sets counts from the
        very time at which it happens.
    initial
        Amounts (real numbers are allowed), or a distribution, whose mean is taken; None for the network's own start. A `Diffusion`
        needs a position, see `Diffusion.start`.
    method : "LSODA", "BDF" or "Radau"
        The integrator, all of them safe for stiff systems and given the analytic Jacobian. For the steady state only LSODA.
    rtol, atol : float
        Its relative tolerance, and its absolute tolerance in molecules, per step. atol None: 1e-9; with rate rules, events or time, whose
        quantities may be small, 1e-12.
    below_zero : "refuse", "allow" or None
        Whether amounts may fall below zero. SBML allows it, and takes laws as they are written there; for a Markov chain on counts it shows
        that a law takes what is not there. None: refused for a chain with constant rates, allowed for all else.

    Returns
    -------
    Moments
        Means (T, S) without covariance. Observables are evaluated at the mean, which for a nonlinear one is not its mean. Parameters,
        compartments and the like that change in time are among the observables.

    Raises
    ------
    ModelError
        If a rate is undefined, or the rates drive an amount below zero (a position out of its domain); if something is drawn at random; if
        events go wrong; if a steady state is asked for, and rates change in time.
    ConvergenceError
        If the solution leaves every bound, jumps without end, or (for the steady state) keeps moving.

    Notes
    -----
    Cost: some hundred evaluations of all rates. The rates are only defined for amounts >= 0; where rounding takes an amount below zero
    they are evaluated at zero. The tolerances bound the error of a step, not of the solution; it is usually some ten times larger.

    With rate rules, events or time, or where amounts may fall below zero, laws are evaluated as they are there. Integration stops where
    a condition in a rate or a trigger changes, which is located to the last bit: one on the time alone (or on parameters that stand
    still in between) is never missed, however short it holds; one on amounts is looked for on the interpolant of each step. A trigger
    that holds at one value only, like ``x == 5`` or ``x >= 5 && x <= 5``, is refused where no number hits that value. Of executions
    of equal priority at one time, a fixed stream of random numbers takes one: the same in each run. A parameter that an event sets to what
    is no number stays so until another event sets it; a rate that reads it is refused.

    Where rates depend on time, or there are rate rules, no step is longer than a 32nd of the run, and none passes over a pulse of what is
    known in advance, however short: interval arithmetic finds them all, see `cme.resolved_times`. Of a pulse that depends on amounts, or
    of variables that do, nothing is known in advance.

    The steady state is found by integrating until Newton's method, confined to the amounts with the same conserved totals, finds a root
    next to the solution and stays there; ``info["stable"]`` says if its linearisation is stable.

    References
    ----------
    Kurtz, J. Chem. Phys. 57:2976 (1972), doi:10.1063/1.1678692.

    Examples
    --------
    >>> import cme
    >>> network = cme.parse("0 -> X @ 8; X -> 0 @ 1")
    >>> mean = cme.rate_equations(network, [1.0, 2.0])["X"]
    >>> [round(float(x), 6) for x in mean]  # 8 (1 - exp(-t))
    [5.056964, 6.917318]
    """
    started = time.perf_counter()
    times = check_times(times, infinity=True)
    check_choice("method", method, METHODS)
    rtol, atol = check_positive("rtol", rtol), None if atol is None else check_positive("atol", atol)
    options: dict[str, Any] = {"initial": describe_initial(initial), "method": method, "rtol": rtol, "atol": ATOL if atol is None else atol}
    require(network, "rate_equations")
    network = with_jump_moments(network)
    if isinstance(network, Network):
        network = _in_the_mean(network)
    at_rest = bool(np.isinf(times[0]))
    if below_zero is not None:
        check_choice("below_zero", below_zero, ("refuse", "allow"))
        if at_rest or isinstance(network, Diffusion):
            raise ValueError("below_zero has no effect on a steady state, or on a Diffusion, which has limits; leave it out")
    if isinstance(network, Network) and (features(network) or below_zero == "allow"):
        options |= {"atol": ATOL_BEYOND_CHAINS if atol is None else atol, "below_zero": below_zero or "allow"}
        return _beyond_chains(network, times, initial, options, started)
    field = vector_field(network, stationary=at_rest)
    states, p = field.start(initial)
    start = p @ states
    found: dict[str, Any] = {}
    tolerances = {"rtol": rtol, "atol": options["atol"]}
    if at_rest:
        if method != "LSODA":
            raise ValueError(f"method {method!r} has no effect on the steady state, which is found with LSODA; leave it out")
        steady = steady_state(field, start, **tolerances)
        means = steady.state[None, :]
        found = {"stable": steady.stable, "slowest_rate": steady.slowest_rate, "settled_after": steady.settled_after}
    else:
        means = integrate("rate_equations", field.velocity, field.jacobian, start, times, field.names, method=method, **tolerances)
    field.check_bounds("rate_equations", times, means, options["atol"])
    info = record("rate_equations", field.name, started, options, **found)
    return Moments(times, field.names, means, None, info, field.observables(means))


def _in_the_mean(network: Network) -> Network:
    """The network that takes and makes the means of the numbers of molecules which it draws."""
    if network.is_plain:
        return network

    def mean(side: Side) -> Side:
        return tuple((name, n if isinstance(n, int) else stoichiometry.mean(n)) for name, n in side)

    reactions = tuple(replace(each, reactants=mean(each.reactants), products=mean(each.products)) for each in network.reactions)
    return network if reactions == network.reactions else replace(network, reactions=reactions)


def _beyond_chains(network: Network, times: np.ndarray, initial, options: dict[str, Any], started: float) -> Moments:
    """The same for a network with events, rate rules, time, net fluxes, or amounts that are no whole numbers."""
    if np.isinf(times[0]):
        raise ModelError(f"{network.name!r} comes to rest in no way that can be looked for: {features(network)[0]}; ask for finite times")
    states, p = starting_states(network, initial, whole=False, below_zero=options["below_zero"] != "refuse")
    course = follow(network, p @ states, times, **{name: options[name] for name in ("method", "rtol", "atol")})
    amounts = course.states[:, : len(network.species)].copy()
    if options["below_zero"] == "refuse":
        refuse_negative("rate_equations", network.species_names, times, amounts, options["atol"])
    known = Hybrid(network).values(course.states, times)
    observables = {name: known[name] for name in (*network.observables, *network.variables)}
    info = record("rate_equations", network.name, started, options, n_events=course.executed, n_restarts=course.restarts)
    return Moments(times, network.species_names, amounts, None, info, observables)


def integrate(
    solver: str,
    velocity: Callable,
    jacobian: Callable,
    start: np.ndarray,
    times: np.ndarray,
    names: tuple[str, ...],
    *,
    method: str,
    rtol: float,
    atol: float,
    since: float = 0.0,
    ends: np.ndarray | None = None,
    max_step: float = np.inf,
) -> np.ndarray:
    """The solution of dy/dt = velocity from time `since` at the times asked for, (T, len(start)).

    `ends` are times between which the velocity has no pulse: no step leads over two of them.
    """
    if times[-1] == since:
        return start[None, :].copy()
    if ends is not None:
        found = [np.repeat(start[None, :], np.searchsorted(times, since, side="right"), axis=0)]
        for end, longest in legs(ends, since, float(times[-1]), max_step):
            inside = times[(times > since) & (times < end)]
            wanted = np.append(inside, end)
            leg = integrate(
                solver, velocity, jacobian, start, wanted, names,
                method=method, rtol=rtol, atol=atol, since=since, max_step=longest,
            )  # fmt: skip
            found.append(leg if end in times else leg[:-1])
            since, start = end, leg[-1]
        return np.concatenate(found)
    watched = _Watched(velocity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LSODA warns of a failure that is raised below with its cause
        with np.errstate(over="ignore", invalid="ignore"):
            span = since, times[-1]
            try:
                result = solve_ivp(watched, span, start, method, times, jac=jacobian, rtol=rtol, atol=atol, max_step=max_step)
            except _StalledError as stalled:
                raise ConvergenceError(
                    f"{solver} could not go on after t={stalled.args[0]:g}, asked to t={times[-1]:g}; the amounts may grow without bound "
                    f"in finite time: end before, or loosen rtol (now {rtol:g})"
                ) from None
    if not result.success or not np.all(np.isfinite(result.y)):
        reached = result.t[-1] if len(result.t) else since
        last = result.y[: len(names), -1] if len(result.t) else start[: len(names)]
        raise ConvergenceError(
            f"{solver} could not go on after t={reached:g}, asked to t={times[-1]:g}, from {describe_state(names, last)}; "
            f"the amounts may grow without bound in finite time: end before, or loosen rtol (now {rtol:g})"
        )
    return result.y.T


class _StalledError(Exception):
    """Time does not go on; the argument is where."""


class _Watched:
    """A velocity that notices when an integrator makes step after step of no length, as LSODA does where a solution ends in infinity."""

    def __init__(self, velocity: Callable):
        self._velocity, self._mark, self._calls = velocity, -np.inf, 0

    def __call__(self, time, y):
        self._calls += 1
        if time > self._mark + NO_LENGTH * abs(time):
            self._mark, self._calls = time, 0
        elif self._calls > MOST_CALLS:
            raise _StalledError(time)
        return self._velocity(time, y)


def describe_initial(initial) -> str:
    """What an `info` says about the start."""
    if initial is None:
        return "the network's own"
    return repr(initial) if isinstance(initial, Distribution) else str(initial)


# ------------------------------------------------------------------------------------------------------- steady state


class SteadyState(NamedTuple):
    """Where the rate equations come to rest."""

    state: np.ndarray  # (S,)
    stable: bool
    slowest_rate: float  # least decay rate of a small disturbance that keeps the conserved totals; <= 0 if unstable
    settled_after: float  # time


def steady_state(field: VectorField, start: np.ndarray, *, rtol: float, atol: float, max_steps: int = MAX_STEPS) -> SteadyState:
    """Integrate to rest, then polish with Newton's method on the amounts with the conserved totals of the start.

    A root counts once the solution lies within 1e-6 of it, at once if the root is stable; otherwise (a saddle, or a whole line of
    roots, as after an epidemic) only if the solution is still there when the time has doubled ten times.
    """
    basis = field.directions()
    if basis.shape[1] == 0 or not np.any(field.velocity(0.0, start)):
        return SteadyState(start, *_stability(field, start, basis), 0.0)
    stayed, check_at = 0, 0.0
    history: list[tuple[float, np.ndarray]] = []
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        solver = LSODA(field.velocity, 0.0, start, np.inf, jac=field.jacobian, rtol=rtol, atol=atol)
        for _ in range(max_steps):
            trouble = solver.step()
            if solver.status == "failed" or not np.all(np.isfinite(solver.y)):
                raise ConvergenceError(f"rate_equations could not go on after t={solver.t:g} ({trouble}); ask for earlier, finite times")
            if np.abs(solver.y).max() > DIVERGED:
                grown = field.names[int(np.argmax(np.abs(solver.y)))]
                raise ConvergenceError(
                    f"{grown!r} grows without bound (past {DIVERGED:g} molecules at t={solver.t:.3g}), so there is no steady state; "
                    "ask for finite times"
                )
            history.append((solver.t, solver.y))
            if solver.t < check_at:
                continue
            check_at = 2 * solver.t
            root = _newton(field, solver.y, basis)
            if root is None:
                stayed = 0
                continue
            stable, slowest = _stability(field, root, basis)
            stayed += 1
            if stable or stayed > 10:
                return SteadyState(root, stable, slowest, solver.t)
    tail = np.array([state for when, state in history if when >= 0.5 * history[-1][0]])
    low, high = tail.min(axis=0), tail.max(axis=0)
    s = int(np.argmax((high - low) / np.maximum(high, 1.0)))
    raise ConvergenceError(
        f"rate_equations reached no steady state by t={history[-1][0]:.3g} ({max_steps} steps): {field.names[s]!r} still moves between "
        f"{low[s]:.6g} and {high[s]:.6g}, as in an oscillation; ask for finite times"
    )


def _newton(field: VectorField, state: np.ndarray, basis: np.ndarray) -> np.ndarray | None:
    """A root within 1e-6 of the state with the same conserved totals, or None."""
    root, near = state, 1e-6 * np.maximum(np.abs(state), field.unit(state))
    for _ in range(60):
        reduced = basis.T @ field.jacobian(0.0, root) @ basis
        move = basis @ np.linalg.lstsq(reduced, -(basis.T @ field.velocity(0.0, root)), rcond=1e-13)[0]
        root = root + move
        if not np.all(np.abs(root - state) <= near):  # also if it is not a number
            return None
        if np.all(np.abs(move) <= 1e-13 * np.maximum(np.abs(root), 1e-3)):
            break
    return root if np.all(np.abs(field.velocity(0.0, root)) <= 1e-9 * field.turnover(root) + 1e-300) else None


def _stability(field: VectorField, state: np.ndarray, basis: np.ndarray) -> tuple[bool, float]:
    """Is the linearisation stable on what reactions can change, and how fast does the slowest disturbance decay?"""
    if basis.shape[1] == 0:
        return True, np.inf
    eigenvalues = np.linalg.eigvals(basis.T @ field.jacobian(0.0, state) @ basis)
    slowest = -float(eigenvalues.real.max())
    return slowest > 1e-12 * float(np.abs(eigenvalues).max()), slowest
