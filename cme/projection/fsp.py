"""Finite state projection: the master equation on a set of states that grows until what leaves it is less than `tol`."""

import time
from dataclasses import dataclass

import numpy as np

from cme.arguments import check_count, check_positive, check_times, record
from cme.compiled import Compiled
from cme.errors import ConvergenceError
from cme.generator import Generator, TimeDependentGenerator
from cme.network import Network
from cme.progress import progress as progress_bar
from cme.projection.propagate import Integrator, Step
from cme.projection.propagator import evolve
from cme.results import Distribution
from cme.states import StateSpace

FIRST_SIZE = 1000  # states to begin with, where so many can be reached
GROWTH, FAST_GROWTH = 1.3, 1.8  # the least factor by which a set grows that leaks too much, and one that leaks far too much
# How the tolerance is spent: what leaks, what is dropped, what the integrator may add (counted twice: what it loses looks like a leak).
LEAK, DROP, INTEGRATION = 0.7, 0.1, 0.1
CHEAP = 1e-11  # the integrator's digits cost little: it gets no more than this, even if the tolerance would allow it


def fsp(
    network: Network | Generator | TimeDependentGenerator,
    times,
    *,
    tol: float = 1e-6,
    initial=None,
    max_states: int | None = None,
    space: StateSpace | None = None,
    progress: bool | None = None,
) -> Distribution:
    r"""Solve the chemical master equation by finite state projection, with a certified error.

    .. math:: \frac{dp}{dt} = A_J\, p, \qquad \| P(t) - p(t) \|_1 \le \mathrm{lost}(t) + \mathrm{integration\_error}(t)

    The states J are found on the way: where probability leaks out of the set faster than `tol` allows, the set grows in that direction
    and the step is done again; states that have become negligible are dropped and their mass is booked as lost.

    Parameters
    ----------
    network
        S species with whole-number initial counts (or a distribution over such states). Or a `Generator` of any jump process, whose
        states are kept as they are; `initial` is then needed, and what leaks is reported as `lost`.
    times : (T,)
        Output times, in the model's unit.
    tol
        Largest error allowed at the last time, in the 1-norm over all states, everything included.
    initial
        Another start: counts, or a `Distribution` (its last time; what it had lost counts as lost). For a `Generator`: one state, or
        probabilities (N,).
    max_states
        Give up when the set would be larger (a million by default).
    space
        A fixed set of states instead of an adaptive one; then `lost` may exceed `tol`, and is reported as it is.
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    Distribution
        p (T, N) on the states of the largest set used, `lost` (T,) and `integration_error` (T,).

    Raises
    ------
    ConvergenceError
        If `tol` can't be reached with `max_states`, or lies below round-off.
    ModelError
        If a propensity is negative or undefined in a state that can be reached.

    Notes
    -----
    For every state, p - integration_error <= P <= p + lost + integration_error, where P is the exact solution. The bound on the
    integrator is rigorous but for round-off (see `cme.projection.propagate`). Cost: a few sparse factorisations for one or two
    species, about q t products with the generator otherwise, q being the largest total propensity.

    References
    ----------
    B. Munsky and M. Khammash, J. Chem. Phys. 124, 044104 (2006), doi:10.1063/1.2145882.

    Examples
    --------
    >>> import cme, math
    >>> p = cme.fsp(cme.parse("0 -> X @ 2; X -> 0 @ 1"), [1.0], tol=1e-9)
    >>> mean = 2 * (1 - math.exp(-1))  # Poisson with this mean
    >>> bool(abs(p["X"][0, 0] - math.exp(-mean)) < 1e-9)
    True
    """
    started = time.perf_counter()
    times = check_times(times)
    tol = check_positive("tol", tol)
    if tol < 1e-12:
        raise ConvergenceError(f"tol={tol:g} lies below what double precision can certify; ask for 1e-12 or more")
    if not isinstance(network, Network):
        if space is not None or max_states is not None:
            raise ValueError("a generator has its states already; leave out space and max_states")
        return _on_given_states(network, times, tol, initial, started, progress)
    max_states = 1_000_000 if max_states is None else check_count("max_states", max_states)
    compiled = Compiled(network)
    states, weights = compiled.start(initial)
    lost_before = float(max(initial.error_bound[-1], 0.0)) if isinstance(initial, Distribution) else 0.0
    if lost_before > 0.5 * tol and space is None:
        raise ConvergenceError(
            f"the initial distribution has already lost {lost_before:.1e}; give it with a smaller tol, or raise tol={tol:g}"
        )
    fixed = space is not None
    if space is None:
        space = StateSpace.around(network, initial=initial, size=FIRST_SIZE)
    elif space.compiled.network.species_names != network.species_names:
        raise ValueError(f"the state space is over {space.compiled.network.species_names}, the network over {network.species_names}")
    where = space.index(states)
    if np.any(where < 0):
        raise ValueError("the given state space does not hold the initial state")
    p = np.zeros(len(space))
    np.add.at(p, where, weights)
    run = _Run(network, space, tol, float(times[-1]), max_states, fixed)
    with progress_bar("fsp", float(times[-1]), progress) as bar:
        for now in run.march(p, times):
            bar.to(now, f"{len(run.space)} states")
    found, p_out = run.gather(times)
    lost = np.maximum(0.0, weights.sum() - p_out.sum(axis=1)) + lost_before  # round-off may leave a sum above one by 1e-16
    info = record(
        "fsp",
        network.name,
        started,
        {"tol": tol, "max_states": max_states, "space": "given" if fixed else "adaptive"},
        method=run.method,
        states=len(found),
        states_in_use=len(run.space),
        expansions=run.expansions,
        dropped=run.dropped,
    )
    observables = {name: compiled.observable(name, found) for name in network.observables}
    return Distribution(times, network.species_names, found, p_out, lost, 2 * run.errors, info, observables)


def _on_given_states(
    generator: Generator | TimeDependentGenerator, times: np.ndarray, tol: float, initial, started: float, show: bool | None
) -> Distribution:
    """The law of a jump process on the states of its generator."""
    if initial is None:
        raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
    if isinstance(initial, Distribution):
        initial = initial.p[-1]
    start = generator.start(initial)
    with progress_bar("fsp", float(times[-1]), show) as bar:
        run = evolve(generator, start, times, tol=tol / 2, progress=bar)
    first = generator if isinstance(generator, Generator) else generator.at(0.0)
    info = record("fsp", "generator", started, {"tol": tol}, method=run.method, states=len(first))
    return Distribution(
        times, first.names, first.states, run.p, run.lost, 2 * run.integration_error, info, widths=first.widths, cells=first.widths
    )


@dataclass
class _Output:
    states: np.ndarray
    p: np.ndarray
    error: float


class _Run:
    """The march in time: propagate a step, look at what leaked, grow or drop, go on."""

    def __init__(self, network: Network, space: StateSpace, tol: float, horizon: float, max_states: int, fixed: bool):
        self.network, self.space, self.tol, self.horizon = network, space, tol, horizon
        self.max_states, self.fixed = max_states, fixed
        self.outputs: dict[float, _Output] = {}
        self.error, self.dropped, self.expansions = 0.0, 0.0, 0
        self.method = "none"
        self._check_size()
        self.integrator = self._integrator()

    def _integrator(self) -> Integrator:
        generator = Generator.from_network(self.network, self.space)
        return Integrator(generator, self.horizon, min(INTEGRATION * self.tol / 2, CHEAP))

    def march(self, p: np.ndarray, times: np.ndarray):
        """Advance to the last time, keeping the outputs; yields the time reached."""
        total, now, longest, failures = float(p.sum()), 0.0, np.inf, 0
        if times[0] == 0:
            self.outputs[0.0] = _Output(self.space.states, p.copy(), 0.0)
        while now < times[-1]:
            step = self.integrator.step(p, now, times, longest)
            leaked = total - self.dropped - float(step.p.sum())
            if not self.fixed and leaked > self._allowed(step.end):
                # A law that travels needs a set that follows it: after two growths, a shorter step instead of a third.
                p = self._grow(p, step, leaked)
                failures += 1
                if failures % 2 == 0:
                    longest = (step.end - step.start) / 3
                continue
            longest, failures = 2 * longest, 0
            self.error += step.error
            for t, row in zip(times[(times > step.start) & (times <= step.end)], step.outputs, strict=True):
                self.outputs[float(t)] = _Output(self.space.states, row, self.error)
            now, p = step.end, step.p
            self.method = self.integrator.method
            if not self.fixed and now < times[-1]:
                p = self._drop(p, now, step.end - step.start)
            yield now
        if self.error > INTEGRATION * self.tol and not self.fixed:
            raise ConvergenceError(f"the integrator's error is only bounded by {self.error:.1e}; loosen tol={self.tol:g}")

    def _allowed(self, now: float) -> float:
        """What may have leaked by now: a tenth is there at once, the rest comes with time."""
        return LEAK * self.tol * (0.1 + 0.9 * now / self.horizon)

    def _grow(self, p: np.ndarray, step: Step, leaked: float) -> np.ndarray:
        """Enlarge the set beyond the states through which probability leaked; returns p on the larger set."""
        factor = GROWTH if leaked < 100 * self._allowed(step.end) else FAST_GROWTH
        flux = self.integrator.generator.leak * np.max(step.within(), axis=0) * (step.end - step.start)
        if flux.sum() <= 0.1 * (p.sum() - step.p.sum()):  # the probability passed between the times that were looked at
            flux = self.integrator.generator.leak
        p = self._expand(p, flux, int(factor * len(p)) + 1)
        self._check_size(lost=float(1 - step.p.sum()))
        self.expansions += 1
        self.integrator = self._integrator()
        return p

    def _expand(self, p: np.ndarray, flux: np.ndarray, size: int) -> np.ndarray:
        """Add states beyond those with nearly all of the flux, up to `size` in all; returns p on the larger set."""
        order = np.argsort(flux)
        sources = order[np.cumsum(flux[order]) > 0.01 * flux.sum()]  # harmless boundary states need no company
        self.space = self.space.grow(sources, size=size)
        return np.concatenate([p, np.zeros(len(self.space) - len(p))])

    def _drop(self, p: np.ndarray, now: float, duration: float) -> np.ndarray:
        """Drop the least probable states when that makes the set much smaller; their mass is booked.

        A law that travels needs room ahead: where the smaller set would leak at once, it gets new states there.
        """
        if len(p) < 4 * FIRST_SIZE:
            return p
        budget = DROP * self.tol * (0.1 + 0.9 * now / self.horizon) - self.dropped
        order = np.argsort(p)
        n_negligible = int(np.searchsorted(np.cumsum(p[order]), 0.5 * budget))
        if n_negligible < 0.4 * len(p):
            return p
        kept = np.ones(len(p), dtype=bool)
        kept[order[:n_negligible]] = False
        self.dropped += float(p[~kept].sum())
        self.space = self.space.keep(kept)
        self.integrator = self._integrator()
        smaller, flux = p[kept], self.integrator.generator.leak * p[kept] * duration
        if flux.sum() > 0.01 * self.tol:
            smaller = self._expand(smaller, flux, int(0.6 * len(p)))
            self.integrator = self._integrator()
        return smaller

    def _check_size(self, lost: float = 0.0) -> None:
        if len(self.space) > self.max_states:
            raise ConvergenceError(
                f"fsp needs {len(self.space)} states and more (lost so far {lost:.1e}, tol={self.tol:g}); "
                f"raise max_states (now {self.max_states}), loosen tol, or use ssa"
            )

    def gather(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All outputs on one set of states: N states and p (T, N)."""
        rows = [self.outputs[float(t)] for t in times]
        self.errors = np.array([row.error for row in rows])
        if all(row.states is rows[0].states for row in rows):
            return rows[0].states, np.array([row.p for row in rows])
        everything = np.unique(np.concatenate([row.states for row in rows]), axis=0)
        index = StateSpace._build(everything, self.space.compiled, self.space.upper, np.arange(everything.shape[1]))
        p = np.zeros((len(rows), len(everything)))
        for out, row in zip(p, rows, strict=True):
            out[index.index(row.states)] = row.p
        return everything, p
