"""`langevin`: random paths of the chemical Langevin equation, the diffusion approximation of the network."""

import time

import numpy as np

from cme import errors
from cme.abilities import features, require
from cme.arguments import Seed, check_choice, check_count, check_memory, check_positive, check_seed, check_threads, check_times, record
from cme.compiled import Compiled
from cme.continuum.diffusion import Diffusion, with_jump_moments
from cme.continuum.diffusion_paths import diffusion_paths
from cme.continuum.euler_steps import GIVEN, pairs_of_steps
from cme.continuum.langevin_in_time import PathsInTime
from cme.continuum.rate_equations import describe_initial, integrate
from cme.continuum.vector_field import NetworkField
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.kernels import langevin as engine
from cme.network import Network
from cme.results import Trajectories
from cme.threads import run_chunks

BOUNDARIES = {"natural": engine.NATURAL, "reflect": engine.REFLECT, "absorb": engine.ABSORB}
REPEATED = 1000  # paths that are run again at twice the step
_RESOLVED = 4.0  # the noise of a step in units of the last place: with less, rounding adds a half per cent to the variance


def langevin(
    network: Network | Diffusion,
    times,
    *,
    n_paths: int = 1000,
    seed: Seed = None,
    dt: float | None = None,
    max_steps: int | None = None,
    boundary: str = "reflect",
    initial=None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Trajectories:
    r"""Sample paths of the chemical Langevin equation with the Euler-Maruyama method.

    .. math:: dx = \sum_r \nu_r \left( a_r(x)\, dt + \sqrt{a_r(x)}\, dW_r \right)

    with the propensities a_r at real amounts, the net changes nu_r, and independent Brownian motions W_r.

    Parameters
    ----------
    network
        S species, R reactions; rates may depend on time, and on variables whose course does not depend on counts. Events at times that
        are known in advance may set variables, and counts to linear functions of counts. Or a `Diffusion`, dx = p dt + sqrt(B) dW.
    times : (T,)
        When the paths are sampled, in the model's time unit; they start at time 0.
    n_paths
        M, the number of paths.
    seed
        As in `ssa`. Path i is a function of (seed, i) alone, and independent of the path i of `ssa` with the same seed.
    dt
        The longest time step; each interval between sampling times is divided evenly. None chooses one from the model (see Notes).
    max_steps
        Give up where a path would need more steps than this of the length that is chosen without `dt` (by default 50 000).
    boundary : "reflect", "absorb" or "natural"
        What happens at zero, see Notes.
    initial
        Amounts, or a `Distribution` over counts from which each path draws its start; None means the network's own. A `Diffusion`
        needs a position, see `Diffusion.start`.
    threads
        None means one for each processor.
    progress
        Show a progress bar: None means in a terminal or a notebook.

    Returns
    -------
    Trajectories
        counts (M, T, S) of real numbers. ``coarse`` holds the first min(M, 1000) paths again at twice the step, on the same Brownian
        motions: the difference shows what the step costs, without Monte Carlo noise between them.

    Raises
    ------
    ModelError
        If a propensity is undefined, or negative at whole counts ("reflect", "absorb"); or if "natural" is asked of a network with more
        than one independent species; or (rates constant) if the noise of a step is lost in the rounding of large counts.
    ConvergenceError
        If more than `max_steps` are needed; or if a path runs away, because the step is too long or the equation has no solution
        there.
    MemoryError
        If the counts do not fit this machine.

    Notes
    -----
    Boundary. The equation has no meaning of its own below zero, so a rule is needed, and the rule changes the answer:

    - "reflect": a step that ends below zero is mirrored, x -> abs(x). If a reaction changes several species, they are moved together,
      along the column of the noise matrix B that belongs to the species (oblique reflection without flux through the wall), so that
      conserved totals stay. Where no reaction changes the species on its wall, the species stays there: extinction is final. The wall
      biases even linear networks: 0 -> X -> 0 with mean 0.5, 1, 2, 5 gets 0.75, 1.21, 2.13, 5.02.
    - "absorb": a species below zero is set to zero, its partners moved as above, until a reaction makes it again. As dt -> 0 this rule
      and "reflect" tend to the same process, but here the error shrinks as sqrt(dt) only.
    - "natural" (one independent species): the noises are added to one, sqrt(sum of nu^2 a), the formulas are used below zero as they
      are, and the noise is zero where that sum is negative. Means and variances of linear networks are right; amounts below zero occur.

    With "reflect" and "absorb" a propensity that is negative between whole counts, such as x (x - 1) below 1, counts as zero.

    Step. Without `dt` it is the smallest of 0.02 / (the largest eigenvalue, in modulus, of the Jacobian of the rate equations along
    their solution), 0.01 / (the average over time of B_ss / max(x_s, 1)^2, for the species with the largest) and 1/50 of the last
    time; rates that move with time move by at most 0.02 of their largest value in a step, are taken in its middle, and no step leads over
    a switch of a condition on the time, or an event. ``info["dt"]`` has it and ``info["dt_from"]`` which of them it was. Euler-Maruyama is
    of weak order 1: an error of g dt / 2 in the variance of a species that decays at rate g.

    A `Diffusion` has reflecting walls where its domain ends; its functions are evaluated for all paths at once, in one thread. The step
    is chosen likewise, from the slopes of p and of sqrt(B) along some rough paths (95 of 100 are below that which counts) and from how
    fast they change with time.

    The diffusion approximation itself is good where many events fall into the time in which propensities change; this error is not in
    ``coarse``, and `compare` shows it.

    References
    ----------
    Gillespie, J. Chem. Phys. 113 (2000) 297, doi:10.1063/1.481811.
    Leite and Williams, Ann. Appl. Probab. 29 (2019) 1541, doi:10.1214/18-AAP1421 (oblique reflection).
    Lord, Koekkoek and van Dijk, Quant. Finance 10 (2010) 177, doi:10.1080/14697680802392496 (absorption, reflection).
    Schnoerr, Sanguinetti and Grima, J. Chem. Phys. 141 (2014) 024103, doi:10.1063/1.4885345 (the bias of boundaries).

    Examples
    --------
    >>> import cme
    >>> network = cme.parse("0 -> X @ 8; X -> 0 @ 1; X = 8")
    >>> paths = cme.langevin(network, 3.0, n_paths=4000, seed=1, boundary="natural")
    >>> bool(abs(paths["X"].mean() - 8) < 5 * paths.standard_error()[0, 0])
    True
    """
    started = time.perf_counter()
    times, n_paths = check_times(times), check_count("n_paths", n_paths)
    if dt is not None and max_steps is not None:
        raise ValueError("give dt or max_steps, not both: the length of the steps decides their number")
    max_steps = None if max_steps is None else check_count("max_steps", max_steps)
    rule = BOUNDARIES[check_choice("boundary", boundary, tuple(BOUNDARIES))]
    require(network, "langevin")
    network = with_jump_moments(network)
    if isinstance(network, Diffusion):
        if threads is not None or rule != engine.REFLECT:
            raise ValueError("a diffusion's paths all advance together, and its walls reflect; leave out threads and boundary")
        dt = dt if dt is None else check_positive("dt", dt)
        return diffusion_paths(network, times, n_paths, min(n_paths, REPEATED), seed, dt, max_steps, initial, progress)
    threads = check_threads(threads)
    key, recorded_seed = check_seed(seed)
    paths = PathsInTime(network, initial, times) if features(network) else _Paths(network, initial, times)
    network, model = paths.network, paths.compiled.arrays
    starts, cumulative = np.ascontiguousarray(paths.states, dtype=np.float64), np.cumsum(paths.p)
    line, multiple = _one_line(network) if rule == engine.NATURAL else (np.zeros(0), np.zeros(0))
    dt, dt_from = (check_positive("dt", dt), GIVEN) if dt is not None else paths.choose_step()
    schedule = paths.schedule(dt, dt_from, max_steps)

    n_species, n_coarse = starts.shape[1], min(n_paths, REPEATED)
    need = (n_paths + n_coarse) * len(times) * n_species * 8
    check_memory(f"{n_paths} paths x {len(times)} times x {n_species} species", need)
    counts, coarse = np.zeros((n_paths, len(times), n_species)), np.zeros((n_coarse, len(times), n_species))
    n_noises = 1 if rule == engine.NATURAL else len(network.reactions)

    def sample(first: int, stop: int, cancel: np.ndarray, done: np.ndarray) -> None:
        swimmer = engine.new_swimmer(n_species, schedule.known.shape[1], len(network.reactions), model.stack_size, n_noises)
        fine, rough = counts[first:stop], coarse[first:stop]
        status = engine.run_paths(model, rule, line, multiple, schedule, key, first, starts, cumulative, swimmer, cancel, done, fine, rough)
        if status not in (errors.OK, errors.CANCELLED):
            raise _complaint(network, status, swimmer, boundary, dt)

    run_chunks(sample, n_paths, threads=threads, label="langevin", unit="steps", show=progress)
    if isinstance(paths, _Paths):
        _check_resolution(paths.compiled, np.concatenate([starts[:1], counts[0]]), dt, times[-1])
    options = {"n_paths": n_paths, "boundary": boundary, "initial": describe_initial(initial), "threads": threads}
    found = {"seed": recorded_seed, "dt": dt, "dt_from": dt_from, "steps": 2 * int(schedule.pairs.sum()), **paths.found()}
    info = record("langevin", network.name, started, options, **found, initial_lost=max(0.0, 1.0 - float(cumulative[-1])))
    rough_info = {**info, "dt": 2 * dt}
    return Trajectories(
        times,
        network.species_names,
        counts,
        info,
        paths.observables(counts),
        coarse=Trajectories(times, network.species_names, coarse, rough_info, paths.observables(coarse)),
    )


def _check_resolution(compiled: Compiled, states: np.ndarray, dt: float, horizon: float) -> None:
    """`ModelError` if the noise of a step is lost in the rounding of one of the states (K, S), and comes to more than a molecule in all."""
    change = compiled.network.stoichiometry.astype(np.float64)
    spread = np.maximum(compiled.propensities(states), 0.0) @ change**2
    noise, unit = np.sqrt(spread * dt), np.spacing(np.abs(states))
    lost = (noise < _RESOLVED * unit) & (spread * horizon > 1.0)
    if lost.any():
        k, s = np.argwhere(lost)[0]
        raise ModelError(
            f"the noise of {compiled.network.species_names[s]!r} in a step, {noise[k, s]:.3g}, is lost in the rounding of "
            f"{states[k, s]:.3g} to multiples of {unit[k, s]:.3g}; give a longer dt, or use lna, which keeps mean and noise apart"
        )


class _Paths:
    """A network with constant rates as the kernel takes it; `PathsInTime` is the same for rates that move."""

    def __init__(self, network: Network, initial, times: np.ndarray):
        self.network, self.times, self.compiled = network, times, Compiled(network)
        self.states, self.p = self.compiled.start(initial, whole=False)

    def choose_step(self) -> tuple[float, str]:
        return _choose_step(self.network, self.p @ self.states / self.p.sum(), self.times[-1])

    def schedule(self, dt: float, dt_from: str, max_steps: int | None) -> engine.Schedule:
        pairs, n, n_times = pairs_of_steps(self.times, dt, dt_from, max_steps), self.states.shape[1], len(self.times)
        return engine.Schedule(self.times, pairs, np.arange(n_times), np.full(n_times, -1), np.zeros((0, n, n + 1)), np.zeros((0, 0)))

    def observables(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {name: self.compiled.observable(name, counts) for name in self.network.observables}

    def found(self) -> dict[str, int]:
        return {}


def _one_line(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """The direction (S,) along which all reactions move the state, and how many times each does (R,)."""
    change = network.stoichiometry.astype(np.float64)
    rank = np.linalg.matrix_rank(change) if change.size else 0
    if rank > 1:
        raise ModelError(
            f"boundary='natural' needs a network of one independent species, {network.name!r} has {rank}: "
            "with several noises there is no domain without walls; use boundary='reflect' or 'absorb'"
        )
    if rank == 0:
        return np.zeros(change.shape[1]), np.zeros(len(change))
    line = change[np.flatnonzero(np.any(change, axis=1))[0]]
    return line, change @ line / (line @ line)


def _choose_step(network: Network, start: np.ndarray, end: float) -> tuple[float, str]:
    """A step that resolves the fastest relaxation, the noise and the time asked for, and which of them decided."""
    if end == 0:
        return 1.0, "no time passes"
    field = NetworkField(network)
    points = end * np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 20), np.linspace(0.05, 1.0, 20)[:-1]])
    points = np.unique(points)
    try:
        states = integrate(
            "the pilot run", field.velocity, field.jacobian, start, points, field.names, method="LSODA", rtol=1e-6, atol=1e-6
        )
        states = np.maximum(states, 0.0)
        fastest = max(np.abs(np.linalg.eigvals(field.jacobian(0.0, x))).max(initial=0.0) for x in states)
        noise = np.array([np.diagonal(field.noise(0.0, x)) / np.maximum(x, 1.0) ** 2 for x in states])
    except (ModelError, ConvergenceError) as error:
        raise type(error)(f"no step could be chosen from the rate equations: {error}; or give dt") from None
    noisiest = (np.trapezoid(noise, points, axis=0) / end).max(initial=0.0)
    found = {"the last time": end / 50}
    if fastest > 0:
        found["the fastest relaxation"] = float(0.02 / fastest)
    if noisiest > 0:
        found["the noise"] = float(0.01 / noisiest)
    why = min(found, key=lambda name: found[name])
    return found[why], why


def _complaint(network: Network, status: int, swimmer: engine.Swimmer, boundary: str, dt: float) -> Exception:
    r, state = int(swimmer.fault[0]), swimmer.fault[1 : 1 + len(network.species)]
    where = describe_state(network.species_names, state)
    if status == engine.OVERFLOW:
        other = "" if boundary == "reflect" else ", or boundary='reflect'"
        return ConvergenceError(
            f"a path ran away to {where} with dt={dt:g}, or at twice that where the error of the step is measured; "
            f"give a smaller dt{other}, or end before it grows without bound"
        )
    if status == engine.UNSETTLED:
        return ConvergenceError(
            f"a path could not be brought back from {where} with dt={dt:g} and boundary={boundary!r}; give a smaller dt"
        )
    if status == engine.OVERDRAWN:
        return ModelError(f"an event takes an amount below zero from {where}; guard what it sets, or use ssa")
    error = errors.propensity_error(status, network.reactions[r].name, network.formula(r), network.species_names, state)
    if status == engine.UNDEFINED_PROPENSITY and boundary == "natural" and state.min() < 0:
        return ModelError(f"{error}, or use boundary='reflect'")
    return error
