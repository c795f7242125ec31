"""`fokker_planck`: the density of a diffusion, of a network or given by functions, in one and two dimensions, on a grid found by itself."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from cme.abilities import features, require
from cme.arguments import check_choice, check_count, check_positive, check_times, record
from cme.compiled import Compiled
from cme.continuum.diffusion import Diffusion, with_jump_moments
from cme.continuum.diffusion_flow import DiffusionFlow
from cme.continuum.domain import divide, find_domain, make_grid, snap
from cme.continuum.finite_volume import Grid
from cme.continuum.flow import EPS, Flow, along_axes
from cme.continuum.network_flow import reduce_network
from cme.continuum.rate_equations import describe_initial
from cme.continuum.rates_in_time import RatesInTime
from cme.distances import total_variation
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.generator_in_time import TimeDependentGenerator
from cme.network import Network
from cme.progress import Progress
from cme.progress import progress as progress_bar
from cme.projection.null_vector import stationary_vector
from cme.projection.propagate import propagate
from cme.projection.propagator import evolve
from cme.results import Distribution

FIRST_CELLS = (64, 32)  # along an axis, on the coarser of the two first grids, in one and in two dimensions
TOL = (1e-4, 1e-2)
MAX_CELLS = (50_000, 200_000)
NARROWEST = 0.4  # a law over positions that has more in one cell than this is narrower than the grid can see
LOOKING_STEPS = 32
INTEGRATION = 1e-10  # error allowed to the time integrator: nothing beside the grid's
IN_TIME = 0.1  # part of `tol` that the integrator may add where coefficients move with time


def fokker_planck(
    network: Network | Diffusion,
    times,
    *,
    boundary: str = "reflect",
    tol: float | None = None,
    cells: int | None = None,
    max_cells: int | None = None,
    domain: Mapping[str, tuple[float, float]] | None = None,
    initial=None,
    progress: bool | None = None,
) -> Distribution:
    r"""Solve the Fokker-Planck equation of a network's chemical Langevin equation, or of a `Diffusion`.

    .. math::
        \partial_t P = -\sum_i \partial_i (A_i P) + \tfrac12 \sum_{ij} \partial_i \partial_j (B_{ij} P), \qquad
        A = S^T a, \quad B = S^T \mathrm{diag}(a)\, S

    with the propensities a and the net changes S (Ito form). Conserved totals are used: a network may have many species, but one or
    two independent ones. A `Diffusion` has the drift A and the noise B that it was given, also with time in them.

    Parameters
    ----------
    network
        S species; rates may depend on time, and on variables whose course does not depend on counts, also if timed events set those.
        Or a `Diffusion`. A `Generator` stands for the diffusion with its jump moments, `Diffusion.from_generator`.
    times : (T,)
        Increasing, in the model's unit. The single time inf asks for the stationary density.
    boundary : "reflect" or "natural"
        "reflect": no amount falls below zero; jumps of the scheme that would leave the domain are dropped, so that no probability
        crosses a wall. "natural" (one independent species): the propensities are taken as they are below zero, down to where the
        noise vanishes; no boundary condition is needed there, and means of linear networks are right. The walls of a `Diffusion` are
        where its domain ends, and reflect.
    tol
        Largest grid error: the total variation, on integer cells (of positions: on those of the coarser grid), between the marginals on
        this grid and on one of twice the spacing, at any time above 0. By default 1e-4 with one, 1e-2 with two independent species.
    cells
        Cells along each axis, an even number, instead of `tol`; where reactions change both species, along the longer axis.
    max_cells
        Give up before there are more cells in all (by default 50 000 with one, 200 000 with two independent species).
    domain
        From independent species to (lowest, highest) amount; walls are put there. Found automatically where not given, and at ends
        that are infinite.
    initial
        Amounts, or a distribution over counts; None for the network's own start. It is put on the grid with its mean kept. A `Diffusion`
        needs a position, see `Diffusion.start`; not so for its stationary density.
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    Distribution
        A density on cells: `states` (N, S) holds their centres, dependent species included, `p` (T, N) their masses, `widths` (S,)
        the largest spacing, and `coarse` the solution on twice the spacing. ``info["grid_error"]`` (what `tol` bounds) falls with
        the square of the spacing, so that the error of the finer solution is about a third of it.

    Raises
    ------
    ModelError
        If there are more than two independent species, if "natural" has no domain, if a propensity (a drift) is undefined, if noises are
        too correlated for a grid, or if a stationary density is not unique.
    ConvergenceError
        If `tol` is not reached with `max_cells`, or no finite domain holds the density.

    Notes
    -----
    Finite volumes along the directions of the reactions (see `cme.continuum.finite_volume`): the scheme is itself a master equation,
    so that p >= 0 and the total is kept to round-off, for any spacing and any correlation of the noises. Cells are equal where a
    reaction changes both independent species; otherwise they shrink towards walls as the square root of the distance. An irreversible
    reaction that changes both asks for cells of about one molecule: more on large counts, where `lna` is the better choice.

    What the diffusion gets wrong is not in the grid error. It is a good approximation where many molecules react in the time in
    which propensities change. Near zero it is not: a wall at zero biases even linear networks (0 -> X -> 0 with mean 0.5, 1, 2, 5:
    mean 0.75, 1.21, 2.13, 5.02), while "natural" leaves mass below zero (26 %, 14 %, 5 %, 0.3 %). For a reaction that changes several
    species a wall reflects along that reaction's own direction (the constrained Langevin equation). A propensity that turns negative
    between whole counts, such as x (x - 1) below 1, counts as zero with "reflect". Where every propensity vanishes on a wall the
    density is absorbed there. Transition rates between wells are off by a factor exponential in the volume.

    For a `Diffusion` the drift is integrated between nodes and may jump there. The stationary density of a drift with a potential is
    then exact at the nodes, unless noises are correlated. Correlated noises are divided between the axes and the diagonals of the
    grid, for which the spacings are chosen. Where that leaves an axis next to no noise, or there is none to begin with, the error falls
    with the spacing only, not with its square. Rates and coefficients that depend on time are integrated by Magnus steps, some
    hundred of them; `integration_error`, about a tenth of `tol` or less, is an estimate then.

    Cost: in one dimension well below a second (if rates depend on time some seconds), in two about a second for 1e4 cells (half a minute).

    References
    ----------
    D. L. Scharfetter and H. K. Gummel, IEEE Trans. Electron Devices 16, 64 (1969), doi:10.1109/T-ED.1969.16566.
    S. C. Leite and R. J. Williams, Ann. Appl. Probab. 29, 1541 (2019), doi:10.1214/18-AAP1421.

    Examples
    --------
    >>> import cme
    >>> network = cme.parse("0 -> X @ 8; X -> 0 @ 1")  # X + 8 has the law Gamma(32, rate 2)
    >>> density = cme.fokker_planck(network, float("inf"), boundary="natural")
    >>> round(float(density.mean()[0, 0]), 2), round(float(density.sd()[0, 0] ** 2), 1)
    (8.0, 8.0)
    """
    started = time.perf_counter()
    times = check_times(times, infinity=True)
    check_choice("boundary", boundary, ("reflect", "natural"))
    require(network, "fokker_planck")
    network = with_jump_moments(network)
    problem, given = _problem(network, times, boundary, domain, initial)
    flow, dimensions = problem.flow, len(problem.flow.names)
    if cells is not None and tol is not None:
        raise ValueError("give tol or cells, not both: with cells the grid error is reported, not bounded")
    if cells is not None and (check_count("cells", cells, 4) % 2):
        raise ValueError(f"cells must be even, not {cells}: the grid error is estimated on half as many")
    tol = TOL[dimensions - 1] if tol is None else check_positive("tol", tol)
    problem = replace(problem, in_time=IN_TIME * tol)
    max_cells = MAX_CELLS[dimensions - 1] if max_cells is None else check_count("max_cells", max_cells)
    with progress_bar("fokker_planck", max_cells, progress) as bar:
        box = find_domain(problem, given)
        shaped = flow.shaped(box, times)
        if cells is not None:
            box, counts = divide(shaped, box, cells)
        else:
            box, counts = snap(shaped, box, FIRST_CELLS[dimensions - 1], problem.starts[0])
            counts = 2 * counts
        fine, coarse, errors = _refine(problem, box, counts, None if cells else tol, max_cells, bar)
    edge_mass = _edge_mass(flow, fine, box, given)
    if edge_mass > max(0.1 * tol, 1e-6):
        raise ConvergenceError(
            f"the domain that was found, {_describe_box(flow, box)}, holds {edge_mass:.1e} of the density at an edge that is no wall, "
            "so that it is too small; give a larger one as domain="
        )
    options = {"boundary": boundary, "tol": None if cells else tol, "cells": cells, "max_cells": max_cells}
    options |= {"domain": str(domain) if domain else None, "initial": describe_initial(initial)}
    found: dict[str, Any] = {"domain": _describe_box(flow, box), "independent_species": list(flow.names)}
    name = network.name if isinstance(network, Network) else "diffusion"
    coarse = replace(coarse, info=record("fokker_planck", name, started, options, **coarse.info, **found))
    found |= {"grid_error": max(errors.values()), "grid_errors": errors, "edge_mass": edge_mass}
    return replace(fine, coarse=coarse, info=record("fokker_planck", name, started, options, **fine.info, **found))


def _problem(network: Network | Diffusion, times: np.ndarray, boundary: str, domain, initial) -> tuple["_Problem", np.ndarray]:
    """What is to be solved, and what the caller fixed of the box, (D, 2), nan where nothing."""
    if isinstance(network, Network) and features(network):
        if np.isinf(times[0]):
            raise ModelError(f"{network.name!r} has no stationary density: {features(network)[0]}; ask for finite times")
        if boundary != "reflect":
            raise ModelError(
                f"boundary='natural' has no domain: rates of {network.name!r} move with time, and its end with them; use 'reflect'"
            )
        moving = RatesInTime(network, initial, times)
        flow = reduce_network(moving.network, moving.states, natural=False, in_time=moving)
        problem = _Problem(flow, times, moving.states[:, list(flow.columns)], moving.p, moving.variables())
        return problem, _check_domain(domain, flow, problem.starts)
    if isinstance(network, Network):
        states, weights = Compiled(network).start(initial, whole=False)
        flow = reduce_network(network, states, natural=boundary == "natural")
        problem = _Problem(flow, times, states[:, list(flow.columns)], weights)
        return problem, _check_domain(domain, flow, problem.starts)
    if not callable(network.diffusion) and not np.any(network.diffusion):
        raise ValueError("a diffusion without noise has no density; use rate_equations")
    if boundary != "reflect":
        raise ValueError(f"boundary={boundary!r} is for networks; the walls of a diffusion reflect, and an infinite domain has none")
    if np.isinf(times[0]) and not network.static:
        raise ValueError("drift or noise depend on time, so that there is no stationary density; ask for finite times")
    if np.isinf(times[0]) and initial is None:
        starts, weights = network.inside()[None], np.ones(1)
    else:
        starts, weights = network.start(initial)
    given = _check_domain(domain, DiffusionFlow(network, np.ones(len(network.names))), starts)
    walls = np.where(np.isfinite(given), given, network.limits)
    inside = replace(network, domain=dict(zip(network.names, walls.tolist(), strict=True)))
    return _Problem(DiffusionFlow(inside, np.ones(len(network.names))), times, starts, weights), given


def _refine(problem: "_Problem", box: np.ndarray, counts: np.ndarray, tol: float | None, max_cells: int, bar: Progress):
    """Solve with `counts` cells along the axes and with half as many, and double until the two agree to `tol`; without `tol`, once.

    Where the axes may be divided independently, one whose species agrees much better than the other's is left as it is, unless that
    was tried without success.
    """
    flow = problem.flow.shaped(box, problem.times)
    separate = along_axes(flow)
    solved: dict[tuple[int, ...], Distribution] = {}
    last, reached = np.inf, ""

    def check(counts: np.ndarray) -> None:
        if np.prod(counts) > max_cells:
            raise ConvergenceError(
                f"fokker_planck {reached}needs {np.prod(counts)} cells or more, but max_cells={max_cells}; raise max_cells, loosen tol, "
                f"or narrow the domain {_describe_box(flow, box)}"
            )

    def solve(counts: np.ndarray) -> Distribution:
        key = tuple(counts.tolist())
        if key not in solved:
            bar.to(int(np.prod(counts)), f"grid error {last:.1e}")
            solved[key] = _solution(problem, make_grid(flow, box, counts, problem.starts[0]))
        return solved[key]

    check(counts)
    while True:
        fine, coarse = solve(counts), solve(counts // 2)
        errors = _grid_errors(fine, coarse)
        error = max(errors.values())
        if tol is None or error <= tol:
            return fine, coarse, errors
        own = np.array([errors[name] for name in flow.names])
        double = own > 0.4 * error if separate and error < 0.7 * last else np.ones(len(own), dtype=bool)
        doublings = max(int(np.ceil(np.log(error / tol) / np.log(16))), 1)  # if each divides the error by 16, which would be luck
        reached = f"reached a grid error of {error:.1e} with {np.prod(counts)} cells and, for tol={tol:g}, "
        check(np.where(double, counts * 2**doublings, counts))
        last, counts = error, np.where(double, 2 * counts, counts)


@dataclass(frozen=True)
class _Problem:
    """A flow, where it starts (K points with weights) and when it is looked at."""

    flow: Flow
    times: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    variables: Mapping[str, np.ndarray] = field(default_factory=dict)
    in_time: float = 0.0

    def solve(
        self, grid: Grid, times: np.ndarray, steepest: float = np.inf, tol: float = INTEGRATION
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Masses (T, N), a bound or estimate of the solver's error (T,), and its name."""
        stationary, looking = bool(np.isinf(times[0])), bool(np.isfinite(steepest))
        fitted = self.flow.fitted(stationary, looking)
        if not self.flow.static:
            changing = grid.changing_generator(fitted, steepest)
            start = grid.place(self.starts, self.weights)
            if looking:
                return _by_midpoints(changing, start, times), np.zeros(len(times)), "midpoint rule"
            run = evolve(changing, start, times, tol=self.in_time)
            return run.p, run.integration_error, run.method
        generator = grid.generator(fitted, steepest)
        if stationary:
            members = _closed_class(generator.matrix, grid)
            p = np.zeros((1, len(generator)))
            p[0, members], method, correction = stationary_vector(generator.matrix[members][:, members])
            return p, np.array([correction]), method
        run = propagate(generator, grid.place(self.starts, self.weights), times, tol=tol)
        return run.p, run.integration_error, run.method


def _by_midpoints(generator: TimeDependentGenerator, p: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Masses (T, N) with the rates of the middle of each of some steps: enough to see where the density goes."""
    breaks = [time for time in (*generator.breaks, *generator.ends) if time < times[-1]]
    ticks = np.unique(np.concatenate([[0.0], times, np.linspace(0.0, times[-1], LOOKING_STEPS + 1), breaks]))
    reached = {0.0: p}
    for before, after in pairwise(ticks.tolist()):
        p = propagate(generator.at((before + after) / 2), p, [after - before], tol=1e-9).p[0]
        reached[after] = p
    return np.array([reached[time] for time in times.tolist()])


def _solution(problem: _Problem, grid: Grid) -> Distribution:
    p, error, method = problem.solve(grid, problem.times)
    flow, states = grid.flow, grid.flow.states(grid.nodes)
    widths = np.abs(flow.states(np.diag(grid.widths.max(axis=0))) - flow.states(np.zeros(len(flow.names)))).sum(axis=0)
    on_edge = bool(grid.axes[0].nodes[0] == grid.axes[0].edges[0])
    lost = np.maximum(problem.weights.sum() - p.sum(axis=1), 0.0)
    info = {"method": method, "cells": len(states), "widest_cell": dict(zip(flow.species, widths.tolist(), strict=True))}
    cells = widths if flow.positions else None
    return Distribution(
        problem.times, flow.species, states, p, lost, error, info, flow.observables(states), widths, None, on_edge, cells, problem.variables
    )


def _grid_errors(fine: Distribution, coarse: Distribution) -> dict[str, float]:
    """For each species that moves, the largest total variation between the marginals at any time above 0."""
    errors = {}
    for name in (name for s, name in enumerate(fine.species) if np.ptp(fine.states[:, s]) > 0):
        errors[name] = 0.0
        for t in np.flatnonzero(fine.times > 0).tolist():
            edges = None if coarse.cells is None else coarse.own_edges(name, t)
            laws = [each.marginal(name, t, edges).cells for each in (fine, coarse)]
            unseen = edges is not None and laws[1].p[1:-1].max(initial=0.0) > NARROWEST
            errors[name] = max(errors[name], 1.0 if unseen else total_variation(laws[0], laws[1]))
    return errors


def _edge_mass(flow: Flow, density: Distribution, box: np.ndarray, given: np.ndarray) -> float:
    """The largest mass, at any time, in the outermost cells of a side that is neither a wall nor given by the caller."""
    free = ~np.isfinite(given) & (np.abs(box - flow.limits()) > EPS)
    worst = 0.0
    for i, side in np.argwhere(free):
        values = density.states[:, flow.columns[i]]
        end = values.max() if side else values.min()
        worst = max(worst, float(density.p[:, values == end].sum(axis=1).max()))
    return worst


def _closed_class(matrix, grid: Grid) -> np.ndarray:
    """The nodes of the one class that the density can't leave; `ModelError` if there are several."""
    n_classes, label = connected_components(matrix.T, directed=True, connection="strong")
    if n_classes == 1:
        return np.arange(matrix.shape[0])
    jumps = matrix.tocoo()
    closed = np.ones(n_classes, dtype=bool)
    closed[label[jumps.col[(label[jumps.row] != label[jumps.col]) & (jumps.data > 0)]]] = False
    ends = np.flatnonzero(closed)
    _check_escape(grid)
    if len(ends) > 1:
        examples = [describe_state(grid.flow.species, grid.flow.states(grid.nodes[np.argmax(label == end)])) for end in ends[:2]]
        raise ModelError(
            f"the stationary density is not unique: the diffusion may come to rest at {examples[0]} and at {examples[1]}, "
            "and where depends on chance and start; ask for a late finite time instead"
        )
    return np.flatnonzero(label == ends[0])


def _check_escape(grid: Grid) -> None:
    """Where the density may come to rest, it must not be driven outward at the end of an axis that no wall bounds."""
    flow = grid.flow
    drift, _ = flow.at(grid.nodes, 0.0)
    velocity = drift @ np.array([direction.vector for direction in flow.directions])
    for i, (low, high) in enumerate(flow.limits()):
        for end, sign, limit in ((0, -1, low), (grid.shape[i] - 1, 1, high)):
            if np.isinf(limit) and np.any(sign * velocity[grid.index[:, i] == end, i] > 0):
                raise ConvergenceError(
                    f"part of the density comes to rest, but {flow.names[i]!r} may also grow without bound, "
                    "so that there is no stationary density; ask for finite times"
                )


def _check_domain(domain, flow: Flow, starts: np.ndarray) -> np.ndarray:
    """What the caller fixed of the box, (D, 2), nan where nothing."""
    given = np.full((len(flow.names), 2), np.nan)
    limits = flow.limits()
    for name, ends in (domain or {}).items():
        if name not in flow.names:
            what = "coordinates of this diffusion" if flow.positions else "independent species of this network"
            raise ValueError(f"domain names {name!r}; the {what} are {', '.join(flow.names)}")
        low, high = (float(end) for end in ends)
        i = flow.names.index(name)
        if not low < high:
            raise ValueError(f"the domain of {name!r} must be two numbers, the lower one first, not {ends!r}")
        if (np.isfinite(low) and low < limits[i, 0] - EPS) or (np.isfinite(high) and high > limits[i, 1] + EPS):
            raise ValueError(f"the domain of {name!r} must lie in [{limits[i, 0]:g}, {limits[i, 1]:g}], not {ends!r}")
        if np.any(starts[:, i] < low) or np.any(starts[:, i] > high):
            raise ValueError(f"the domain {ends!r} of {name!r} does not hold the start at {starts[:, i].min():g}")
        given[i] = np.where(np.isfinite([low, high]), [low, high], np.nan)
    return given


def _describe_box(flow: Flow, box: np.ndarray) -> dict[str, Any]:
    return {name: [round(float(end), 6) for end in ends] for name, ends in zip(flow.names, box, strict=True)}
