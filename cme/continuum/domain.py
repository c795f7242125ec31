"""Where a density lives: the box that holds it, and how it is divided into cells."""

from math import gcd

import numpy as np

from cme.continuum.finite_volume import Axis, Grid
from cme.continuum.flow import Flow, along_axes
from cme.errors import ConvergenceError

LOOK = ((256, 1024), (40, 80))  # cells along an axis when looking around, at first and at most, in one and in two dimensions
STEEPEST = 30.0  # largest exponent between two cells when looking around
# Two tail masses that tell how fast a tail falls, and how much farther to go, as a part of their distance: to 1e-15, and 1e-9.
BLURRED = (1e-3, 1e-4, 0.0)  # where the noise that the grid adds makes the tails; the box then does not grow
TAILS = ((1e-5, 1e-9, 1.5), (1e-3, 1e-6, 1.0))
ROUNDS = 40
OFF_WALL = 0.1  # molecules: keeps the spacing at a wall from falling to zero


def find_domain(problem, given: np.ndarray) -> np.ndarray:
    """The box (D, 2) outside of which there is next to nothing at any time.

    It starts from what the flow itself guesses (for a network, from the linear noise approximation and steady states). Then the equation
    is solved coarsely; sides that hold mass move outward, empty ones inward, until the box fits and twice as many cells do not say
    otherwise (a coarse grid spreads a moving density).
    """
    limits = problem.flow.limits()
    fixed = np.isfinite(given)
    if np.all(fixed):
        return given
    guess, held = problem.flow.guess(problem.starts, problem.weights, problem.times)
    box = _in_order(np.where(fixed, given, guess), fixed)
    least = 1e-6 * (box[:, 1:] - box[:, :1]) if problem.flow.positions else 1.0  # of the extent of a density that came to rest
    times = _times_to_look_at(problem.times)
    first, most = LOOK[len(box) - 1]
    cells, confirmed = first, False
    sure = np.full_like(box, np.nan)  # what a grid that added little noise has asked for
    for _ in range(ROUNDS):
        box, wanted, blurred = _look(problem, box, times, cells, least)
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
        fits = bool(np.all((needed > (0.7 if confirmed else 0.5) * extent) | np.all(fixed, axis=1)))
        if fits and (confirmed or 2 * cells > most):
            return wanted
        if fits:
            box, cells, confirmed = wanted, 2 * cells, True
            continue
        margin = 0.1 * (wanted[:, 1:] - wanted[:, :1]) * np.array([-1, 1])
        box = np.where(fixed, given, np.clip(wanted + margin, limits[:, :1], limits[:, 1:]))
        cells, confirmed = cells if confirmed else first, confirmed
    raise ConvergenceError(
        f"the density of {', '.join(problem.flow.names)} still touches the edge of every domain tried, the last up to "
        f"{', '.join(f'{end:.3g}' for end in box[:, 1])}: it may spread without bound; end before, or give domain="
    )


def _look(problem, box: np.ndarray, times: np.ndarray, cells: int, least) -> tuple[np.ndarray, np.ndarray, bool]:
    """Solve on a coarse grid; the box that was used, the one that is wanted, and whether the grid added much noise."""
    flow = problem.flow.shaped(box, problem.times)
    box, counts = divide(flow, box, cells)
    grid = make_grid(flow, box, counts, problem.starts[0])
    p, _, _ = problem.solve(grid, times, STEEPEST, tol=0.01 * TAILS[len(box) - 1][1])
    wanted = np.empty_like(box)
    blurred = (len(box) > 1 or bool(np.isfinite(times[0]))) and grid.added_noise(p, float(times[-1])) > 1.3
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
    at_rest = (wanted[:, 1:] - wanted[:, :1]) < least  # perhaps at a single point
    wanted = np.where(at_rest, wanted + least * np.array([-1.0, 1.0]), wanted)
    limits = flow.limits()
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


def _in_order(box: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """A free end that lies beyond the one that is fixed is moved to the other side of it."""
    out = box.copy()
    for i in np.flatnonzero(box[:, 0] >= box[:, 1]):
        out[i] = (box[i, 0], box[i, 0] + 1.0) if fixed[i, 0] else (box[i, 1] - 1.0, box[i, 1])
    return out


# ------------------------------------------------------------------------------------------------------------ division


def make_grid(flow: Flow, box: np.ndarray, counts: np.ndarray, start: np.ndarray) -> Grid:
    """Divide a box into `counts` cells along each axis."""
    axes = make_axes(flow, box, counts)
    return Grid(flow.spaced((box[:, 1] - box[:, 0]) / counts), axes, start)


def make_axes(flow: Flow, box: np.ndarray, counts: np.ndarray) -> tuple[Axis, ...]:
    """The axes of a box.

    Cells are equal, except where a network's reactions move along an axis each and the box touches walls that stand across the axes.
    There the spacing falls as the square root of the distance from the wall, as the noise of small counts does.
    """
    limits = flow.limits()
    at_wall = flow.graded & np.isfinite(limits) & (np.abs(box - limits) <= 1e-9 * (box[:, 1:] - box[:, :1]))
    axes = []
    for (low, high), n, walls, open_ended in zip(box, counts, at_wall, flow.open_ends(box), strict=True):
        if open_ended:
            axes.append(Axis.between(low, high, int(n)))
        else:
            axes.append(_graded(low, high, int(n), *walls) if np.any(walls) else _equal(low, high, int(n)))
    return tuple(axes)


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


def divide(flow: Flow, box: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of cells along each axis: `cells`; where directions lie across the axes, `cells` on the longer axis, in proportion.

    The box is then widened to a whole, even number of cells; nodes beyond a wall are not used.
    """
    extent = box[:, 1] - box[:, 0]
    if along_axes(flow):
        return box, np.full(len(box), cells)
    unit = np.ones(len(box)) if flow.proportions is None else flow.proportions
    step = unit * min((extent / unit).max() / cells, (extent / unit).min() / 8)
    counts = 2 * np.ceil(extent / (2 * step) - 1e-9)
    return _widen(flow, box, counts * step), counts.astype(np.int64)


def _widen(flow: Flow, box: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """A box of another extent, upward; but not past the end of a domain of positions."""
    limits = flow.limits()
    high = box[:, 0] + extent
    if not flow.positions:
        return np.stack([box[:, 0], high], axis=1)
    at_upper = box[:, 1] >= limits[:, 1]
    low = np.where(at_upper, np.maximum(box[:, 1] - extent, limits[:, 0]), box[:, 0])
    return np.stack([low, np.where(at_upper, box[:, 1], np.minimum(high, limits[:, 1]))], axis=1)


def snap(flow: Flow, box: np.ndarray, cells: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About `cells` cells along each axis, and a box widened so that nodes lie on walls and, for positions, on the start.

    For a network on fine enough grids they lie on whole counts.
    """
    limits = flow.limits()
    extent = box[:, 1] - box[:, 0]
    at_lower, at_upper = (np.abs(box - limits) <= 1e-9 * extent[:, None]).T
    between_walls = at_lower & at_upper
    if flow.positions:
        unit = extent if flow.proportions is None else flow.proportions
        largest = unit * min((extent / unit).max() / cells, (extent / unit).min() / 8)
        step = np.array([_step_to(start[i] - box[i], walls, largest[i]) for i, walls in enumerate(np.stack([at_lower, at_upper], axis=1))])
        anchor = np.where(at_lower, box[:, 0], np.where(at_upper, box[:, 1], start))
    else:
        if along_axes(flow):
            step = np.array([_step(e / cells, [e] if walls else []) for e, walls in zip(extent, between_walls, strict=True)])
        else:
            step = np.full(len(box), _step(min(extent.max() / cells, extent.min() / 8), extent[between_walls].tolist()))
        anchor = np.where(at_lower, box[:, 0], np.where(at_upper, box[:, 1], 0.0))
    low = anchor - step * np.ceil((anchor - box[:, 0]) / step - 1e-9)
    counts = np.maximum(np.ceil((box[:, 1] - low) / step - 1e-9), 2)
    return np.stack([low, low + step * counts], axis=1), counts.astype(np.int64)


def _step_to(distances: np.ndarray, walls: np.ndarray, largest: float) -> float:
    """A step of at most `largest` that divides what lies between the walls, and (if need be, once halved) between them and the start."""
    span, other = float(distances[0] - distances[1]), np.abs(distances)
    if np.all(walls):
        n = np.arange(int(np.ceil(span / largest)), 2 * int(np.ceil(span / largest)) + 1)
        off = np.abs(n * other[0] / span - np.round(n * other[0] / span))
        return span / float(n[np.argmin(np.round(off, 9))])
    reach = float(other[walls][0]) if np.any(walls) else 0.0
    if reach == 0.0:
        return largest
    return reach / np.ceil(reach / largest) if reach >= largest else reach * 2.0 ** np.floor(np.log2(largest / reach))


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
