"""Where a density lives: the box that holds it, and how it is divided into cells."""

from math import gcd

import numpy as np

from cme.continuum.diffusion import EPS, Diffusion
from cme.continuum.finite_volume import Axis, Grid
from cme.continuum.lna import lna
from cme.continuum.rate_equations import VectorField, steady_state
from cme.errors import ConvergenceError, ModelError

LOOK = ((256, 1024), (40, 80))  # cells along an axis when looking around, at first and at most, in one and in two dimensions
STEEPEST = 30.0  # largest exponent between two cells when looking around
# Two tail masses that tell how fast a tail falls, and how much farther to go, as a part of their distance: to 1e-15, and 1e-9.
BLURRED = (1e-3, 1e-4, 0.0)  # where the noise that the grid adds makes the tails; the box then does not grow
TAILS = ((1e-5, 1e-9, 1.5), (1e-3, 1e-6, 1.0))
ROUNDS = 40
OFF_WALL = 0.1  # molecules: keeps the spacing at a wall from falling to zero


def find_domain(problem, given: np.ndarray) -> np.ndarray:
    """The box (D, 2) outside of which there is next to nothing at any time.

    It starts from the linear noise approximation, the initial states and every steady state found from the corners of a larger box.
    Then the equation is solved coarsely; sides that hold mass move outward, empty ones inward, until the box fits and twice as many
    cells do not say otherwise (a coarse grid spreads a moving density).
    """
    limits = problem.diffusion.limits()
    fixed = np.isfinite(given)
    if np.all(fixed):
        return given
    guess, held = _first_guess(problem, limits)
    box = np.where(fixed, given, guess)
    times = _times_to_look_at(problem.times)
    first, most = LOOK[len(box) - 1]
    cells, confirmed = first, False
    sure = np.full_like(box, np.nan)  # what a grid that added little noise has asked for
    for _ in range(ROUNDS):
        box, wanted, blurred = _look(problem, box, times, cells)
        if blurred:
            wanted = _union(np.clip(wanted, box[:, :1], box[:, 1:]), sure)
        else:
            sure = _union(wanted, sure)
        wanted = _union(wanted, held)
        wanted = np.where(fixed, given, np.clip(wanted, limits[:, :1], limits[:, 1:]))
        extent, needed = box[:, 1] - box[:, 0], wanted[:, 1] - wanted[:, 0]
        outward = np.stack([box[:, 0] - wanted[:, 0], wanted[:, 1] - box[:, 1]], axis=1)
        growing = ~fixed & (outward > 0.02 * extent[:, None])
        if np.any(growing) and 2 * cells <= most:  # perhaps only because coarse cells spread a moving density
            cells *= 2
            continue
        if np.any(growing):
            move = np.maximum(0.6 * extent[:, None], 1.2 * outward) * growing
            box = np.where(fixed, given, np.clip(box + np.array([-1, 1]) * move, limits[:, :1], limits[:, 1:]))
            continue
        fits = bool(np.all((needed > (0.7 if confirmed else 0.5) * extent) | fixed[:, 0]))
        if fits and (confirmed or 2 * cells > most):
            return wanted
        if fits:
            box, cells, confirmed = wanted, 2 * cells, True
            continue
        margin = 0.1 * (wanted[:, 1:] - wanted[:, :1]) * np.array([-1, 1])
        box = np.where(fixed, given, np.clip(wanted + margin, limits[:, :1], limits[:, 1:]))
        cells, confirmed = cells if confirmed else first, confirmed
    raise ConvergenceError(
        f"the density of {', '.join(problem.diffusion.names)} still touches the edge of every domain tried, the last up to "
        f"{', '.join(f'{end:.3g}' for end in box[:, 1])}: it may spread without bound; end before, or give domain="
    )


def _look(problem, box: np.ndarray, times: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Solve on a coarse grid; the box that was used, the one that is wanted, and whether the grid added much noise."""
    box, counts = divide(problem.diffusion, box, cells)
    grid = Grid(problem.diffusion, make_axes(problem.diffusion, box, counts), problem.starts[0])
    p, _, _ = problem.solve(grid, times, STEEPEST, tol=0.01 * TAILS[len(box) - 1][1])
    wanted = np.empty_like(box)
    blurred = (len(box) > 1 or bool(np.isfinite(times[0]))) and grid.added_noise(p) > 1.3
    near_tail, far_tail, more = BLURRED if blurred else TAILS[len(box) - 1]
    for i, axis in enumerate(grid.axes):
        mass = np.stack([np.bincount(grid.index[:, i], weights=row, minlength=len(axis.nodes)) for row in p])
        for side, order in ((0, slice(None)), (1, slice(None, None, -1))):
            tail, places = np.cumsum(mass[:, order], axis=1), axis.nodes[order]
            far, near = (np.argmax(tail > level * tail[:, -1:], axis=1) for level in (far_tail, near_tail))
            far = np.minimum(far, len(places) - 2)
            cell = places[far] - places[far + 1]  # one more
            reach = places[far] + cell + more * (places[far] - places[near])
            piled_up = tail[:, 0] > near_tail * tail[:, -1]
            reach = np.where(piled_up, places[0] + 0.1 * (places[0] - places[-1]), reach)
            wanted[i, side] = reach.min() if side == 0 else reach.max()
    at_rest = (wanted[:, 1:] - wanted[:, :1]) < 1.0  # perhaps at a single point
    wanted = np.where(at_rest, wanted + np.array([-1.0, 1.0]), wanted)
    limits = problem.diffusion.limits()
    close = np.abs(wanted - limits) < 0.1 * (wanted[:, 1:] - wanted[:, :1])  # a wall nearby is taken as the end
    return box, np.where(close, limits, wanted), blurred


def _union(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The smallest box around two; nan counts for nothing."""
    return np.stack([np.fmin(box[:, 0], other[:, 0]), np.fmax(box[:, 1], other[:, 1])], axis=1)


def _times_to_look_at(times: np.ndarray) -> np.ndarray:
    """At most a dozen of the times asked for, and some between, so that nothing passes through the walls unseen."""
    if np.isinf(times[0]):
        return times
    chosen = times[np.unique(np.linspace(0, len(times) - 1, 12).astype(int))]
    return np.unique(np.concatenate([chosen, times[-1] * 0.5 ** np.arange(6)]))


def _first_guess(problem, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A box around all that the deterministic equations and the linear noise approximation tell; and the one that holds the path.

    A stationary density does not ask for the path.
    """
    diffusion, network = problem.diffusion, problem.diffusion.model.network
    columns = list(diffusion.independent)
    points, spreads = [*problem.starts], [np.zeros(len(columns))] * len(problem.starts)
    mean = np.maximum(diffusion.states(problem.weights @ problem.starts), 0.0)
    try:
        mesh = problem.times
        if np.isfinite(mesh[0]):
            mesh = np.unique(np.concatenate([mesh, mesh[-1] * np.geomspace(1e-3, 1, 16)]))
        gauss = lna(network, mesh, initial=mean, rtol=1e-5, atol=1e-5)
        points += [*gauss.means[:, columns]]
        spreads += [*np.asarray(gauss.sd())[:, columns]]
    except (ConvergenceError, ModelError):  # no Gaussian: what follows looks around by itself
        pass
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    held = np.stack([low, high], axis=1) if np.isfinite(problem.times[0]) else np.full((len(columns), 2), np.nan)
    # Around a relaxation oscillation the Gaussian may be wider than any sense.
    spread = np.minimum(np.max(spreads, axis=0), high - low + 3 * np.sqrt(1 + np.abs(high))) + np.sqrt(1 + np.abs(high))
    for corner in np.stack([axis.ravel() for axis in np.meshgrid(*zip(low * 0, 8 * (high + spread), strict=True), indexing="ij")], axis=1):
        start = diffusion.states(np.clip(corner, limits[:, 0], limits[:, 1]))
        try:
            if start.min() >= 0:
                points.append(steady_state(VectorField(network), start, rtol=1e-6, atol=1e-6, max_steps=1000).state[columns])
        except (ConvergenceError, ModelError):
            continue
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    spread = np.maximum(8 * np.maximum(spread, np.sqrt(1 + np.abs(high))), 0.3 * (high - low))
    return np.clip(np.stack([low - spread, high + spread], axis=1), limits[:, :1], limits[:, 1:]), held


# ------------------------------------------------------------------------------------------------------------ division


def make_axes(diffusion: Diffusion, box: np.ndarray, counts: np.ndarray) -> tuple[Axis, ...]:
    """Divide a box into `counts` cells along each axis.

    Cells are equal, except where every reaction moves along an axis and the box touches walls that stand across the axes. There
    the spacing falls as the square root of the distance from the wall, as the noise of small counts does.
    """
    limits = diffusion.limits()
    at_wall = np.isfinite(limits) & (np.abs(box - limits) <= 1e-9 * (box[:, 1:] - box[:, :1]))
    if diffusion.natural:
        axis = Axis.between if _lets_in(diffusion, limits[0, 0]) else _equal
        return (axis(box[0, 0], box[0, 1], int(counts[0])),)
    if not (along_axes(diffusion) and _walls_across(diffusion)):
        at_wall[:] = False
    return tuple(
        _graded(low, high, int(n), *walls) if np.any(walls) else _equal(low, high, int(n))
        for (low, high), n, walls in zip(box, counts, at_wall, strict=True)
    )


def _equal(low: float, high: float, n_cells: int) -> Axis:
    return Axis.on_ends(np.linspace(low, high, n_cells + 1))


def _graded(low: float, high: float, n_cells: int, at_low: bool, at_high: bool) -> Axis:
    """Nodes y(u) at equal steps of u, with dy/du = sqrt(distance from the wall + OFF_WALL); with two walls, of the product of both."""
    u = np.linspace(0.0, 1.0, n_cells + 1)
    length = high - low
    if at_low and at_high:
        radius = length / 2 + OFF_WALL
        angle = np.arcsin(length / 2 / radius)
        nodes = low + length / 2 + radius * np.sin(angle * (2 * u - 1))
    else:
        near, far = np.sqrt(OFF_WALL), np.sqrt(length + OFF_WALL)
        distance = (near + (far - near) * u) ** 2 - OFF_WALL
        nodes = low + distance if at_low else high - distance[::-1]
    nodes[[0, -1]] = low, high
    return Axis.on_ends(nodes)


def _lets_in(diffusion: Diffusion, end: float) -> bool:
    """Does the drift lead inward at a natural end? A node there would be a trap."""
    if not np.isfinite(end):
        return False
    (direction,) = diffusion.directions
    drift, _ = diffusion.drift_and_noise(direction, diffusion.propensities(np.array([[end]])))
    return bool(drift[0] > EPS)


def _walls_across(diffusion: Diffusion) -> bool:
    """Does every wall bound one independent species alone?"""
    return bool(np.all(np.count_nonzero(diffusion.walls()[0], axis=0) == 1))


def along_axes(diffusion: Diffusion) -> bool:
    """Does every reaction change one independent species alone?"""
    return all(np.count_nonzero(direction.step) == 1 for direction in diffusion.directions)


def divide(diffusion: Diffusion, box: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of cells along each axis: `cells`; where reactions change both species, equal cells, and `cells` on the longer axis.

    The box is then widened to a whole, even number of cells; nodes beyond a wall are not used.
    """
    extent = box[:, 1] - box[:, 0]
    if along_axes(diffusion):
        return box, np.full(len(box), cells)
    step = min(extent.max() / cells, extent.min() / 8)
    counts = 2 * np.ceil(extent / (2 * step) - 1e-9)
    return np.stack([box[:, 0], box[:, 0] + counts * step], axis=1), counts.astype(np.int64)


def snap(diffusion: Diffusion, box: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """About `cells` cells along each axis, and a box widened so that walls and, on fine enough grids, whole counts lie on nodes."""
    limits = diffusion.limits()
    extent = box[:, 1] - box[:, 0]
    between_walls = np.all(np.abs(box - limits) <= 1e-9 * extent[:, None], axis=1)
    if along_axes(diffusion):
        step = np.array([_step(e / cells, [e] if walls else []) for e, walls in zip(extent, between_walls, strict=True)])
    else:
        step = np.full(len(box), _step(min(extent.max() / cells, extent.min() / 8), extent[between_walls].tolist()))
    anchor = np.where(np.abs(box[:, 0] - limits[:, 0]) <= 1e-9 * extent, box[:, 0], 0.0)
    at_upper = np.abs(box[:, 1] - limits[:, 1]) <= 1e-9 * extent
    anchor = np.where(at_upper & (anchor != box[:, 0]), box[:, 1], anchor)
    low = anchor - step * np.ceil((anchor - box[:, 0]) / step - 1e-9)
    counts = np.maximum(np.ceil((box[:, 1] - low) / step - 1e-9), 2)
    return np.stack([low, low + step * counts], axis=1), counts.astype(np.int64)


def _step(largest: float, spans: list[float]) -> float:
    """A step of at most `largest` that divides the spans; a power of two where it is free, so that halving meets whole counts."""
    if not spans:
        return float(2.0 ** np.floor(np.log2(largest)))
    whole = [round(span) for span in spans]
    common = gcd(*whole) if np.allclose(spans, whole, rtol=0, atol=1e-9) else 0
    if common and largest < 1:
        return float(2.0 ** np.floor(np.log2(largest)))
    divisors = [d for d in range(int(largest), int(largest / 2), -1) if common % d == 0] if common else []
    return float(divisors[0]) if divisors else min(spans) / np.ceil(min(spans) / largest)
