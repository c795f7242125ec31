"""The law of a first-order network, joint or of a few species, from its generating function on the unit circle."""

from typing import NamedTuple

import numpy as np
from scipy.fft import irfftn, next_fast_len
from scipy.linalg import expm
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from cme.errors import ConvergenceError, ModelError
from cme.first_order import NOTHING, FirstOrder, first_order
from cme.graphs import conservation_laws
from cme.network import Network
from cme.projection.columns import Block, Laws, check_cells, check_states, most_probable
from cme.projection.generating_function import COARSER, GeneratingFunction

TILTS, OVER_FANO = np.array([1.0, 2.0, 4.0, 6.0, 8.0]), np.array([0.2, 0.4, 0.6, 0.8])  # log z for the bounds on tails, see `_tilts`
STEEPEST, SMALL = 3.0, np.array([0.02, 0.2])
LOOSE, MARGIN = 1e7, 0.05  # these need no more than five digits; what is added to each logarithm for it
MOST_SPECIES = 30  # whose covariances are found by one matrix exponential
STIFFEST = 1e5  # reactions of one molecule that are followed
SETTLED = 40.0  # relaxation times, after which a stationary law is there to 1e-17


class Target(NamedTuple):
    """Which counts are wanted, and which of them are axes; the others follow from conserved sums."""

    wanted: list[int]
    axes: list[int]
    sums: dict[int, tuple[np.ndarray, float]]  # species -> weights w and total: x_s = total - w . x(axes)


def generating_function(
    network: Network,
    times: np.ndarray,
    states: np.ndarray,
    weights: np.ndarray,
    tol: float,
    max_states: int,
    auto: bool,
    keep: list[int] | None,
) -> Laws | None:
    r"""Find the law of a first-order network at times, or its stationary law (the single time inf).

    .. math:: P(n, t) = \frac1N \sum_{z^N = 1} G(z, t)\, z^{-n}

    with N beyond the counts that hold all but a part of `tol`.

    Raises
    ------
    ModelError
        If molecules react with each other, or there is no unique stationary law.
    ConvergenceError
        If the box of counts is too large, or the equations are too stiff.

    Notes
    -----
    Where N ends is a bound (Chernoff's), from G at real z on both sides of 1, one species at a time; what lies beyond is folded back by
    the sum, and counts twice. The integrator's error is estimated from a run with a tolerance of a hundred times as much, in the
    norm of the circle, by Parseval's identity. Probabilities are right in absolute terms alone: those below the noise are left out.
    """
    channels = first_order(network, states)
    if auto and keep is None:
        return None  # of all counts, projection certifies more
    target = _target(network, channels, states, keep)
    settled = np.isinf(times[0])
    ends = np.array([_settling_time(network, channels, states)]) if settled else times
    fastest = float(np.bincount(channels.source[channels.source >= 0], weights=channels.rate[channels.source >= 0]).max(initial=0.0))
    if fastest * ends[-1] > STIFFEST:
        raise ConvergenceError(
            f"the equations of single molecules are too stiff: one reacts {fastest:.3g} times in a unit of time, until t={ends[-1]:.3g}; "
            "use method='projection'"
        )
    share = 1e-3 * tol / max(2 * len(target.axes), 1)
    spread = _moments(channels, ends, states, weights)
    windows = [_window(channels, axis, ends, states, weights, spread[axis], share) for axis in target.axes]
    shape = [next_fast_len(high - low + 1, real=True) for low, high in windows]
    n_cells = float(np.prod([float(n) for n in shape]))
    check_cells(n_cells, max_states)
    circle = [np.exp(-2j * np.pi * np.arange(n) / n) for n in shape]
    if circle:
        circle[-1] = circle[-1][: shape[-1] // 2 + 1]  # the other half is its complex conjugate
    function = GeneratingFunction(channels, target.axes, circle)
    fine, coarse, now = function.start(), function.start(), 0.0
    blocks, errors = [], []
    for end in ends.tolist():
        fine, coarse, now = function.advance(fine, now, end), function.advance(coarse, now, end, COARSER), end
        g, other = (_mixed(function, y, states, weights) for y in (fine, coarse))
        size = float(np.abs(function.log_value(fine, states[0])).max(initial=0.0, where=np.abs(g) > 0))
        off = np.abs(g - other) + np.finfo(np.float64).eps * (8 + 2 * size) * np.abs(g)
        p = g.real
        if shape:
            p = np.roll(irfftn(g, shape), [-low for low, _ in windows], axis=tuple(range(len(shape))))
        kept = most_probable(np.where(p > float(off.mean()), p, 0.0).ravel(), 0.4 * tol)
        check_states(len(kept), max_states)
        counts = [place + low for place, (low, _) in zip(np.unravel_index(kept, p.shape), windows, strict=True)] if shape else []
        blocks.append(Block(_placed(target, states, counts, len(kept)), p.ravel()[kept]))
        errors.append(2 * tol * 1e-3 + np.sqrt(n_cells) * float(np.sqrt(np.mean(off**2))))
    words = "generating function of a first-order network, by the equations of single molecules"
    return Laws(blocks, np.array(errors), words)


def _mixed(function: GeneratingFunction, y: np.ndarray, states: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """G on the grid for a mixture of starts."""
    total: np.ndarray | float = 0.0
    for state, weight in zip(states, weights, strict=True):
        total = total + weight * np.exp(function.log_value(y, state))
    return np.asarray(total)


def _target(network: Network, channels: FirstOrder, states: np.ndarray, keep: list[int] | None) -> Target:
    """Choose the axes: a conserved sum of species that are all wanted gives one of them from the others."""
    wanted = list(range(len(channels.names))) if keep is None else keep
    moving = set(network.changed_species[1].tolist())
    for s in set(wanted) - moving:
        if np.ptp(states[:, s]):
            raise ModelError(f"{channels.names[s]!r}, whose count never changes, has several at the start")
    axes, sums = [s for s in wanted if s in moving], dict[int, tuple[np.ndarray, float]]()
    for law in conservation_laws(network):
        inside = [s for s in np.flatnonzero(law).tolist() if s in moving]
        totals = states @ law
        free = [s for s in inside if law[s] == 1 and s in axes]
        if len(inside) > 1 and set(inside) <= set(axes) and free and not np.ptp(totals):
            dependent = free[-1]
            axes.remove(dependent)
            rest = np.where(np.arange(len(law)) == dependent, 0, law)
            sums[dependent] = rest, float(totals[0])
    return Target(wanted, axes, sums)


def _placed(target: Target, states: np.ndarray, counts: list[np.ndarray], n: int) -> np.ndarray:
    """All wanted counts, from those on the axes."""
    whole = np.repeat(states[:1], n, axis=0)
    for s, column in zip(target.axes, counts, strict=True):
        whole[:, s] = column
    for s, (law, total) in reversed(target.sums.items()):
        whole[:, s] = int(total) - whole @ law
    return whole[:, target.wanted]


def _window(
    channels: FirstOrder, axis: int, times: np.ndarray, states: np.ndarray, weights: np.ndarray, spread: np.ndarray, tail: float
) -> tuple[int, int]:
    """Counts of one species with at most `tail` below, and above, at each of the times; given its means and variances (T, 2)."""
    tilts = np.unique([_tilts(mean, variance) for mean, variance in spread])
    function = GeneratingFunction(channels, [axis], [np.exp(tilts)])
    y, now, low, high = function.start(), 0.0, np.inf, -np.inf
    for end in times.tolist():
        y, now = function.advance(y, now, end, LOOSE), end
        logs = np.array([function.log_value(y, state) for state in states]) + np.log(weights)[:, None]
        total = np.logaddexp.reduce(logs, axis=0) + MARGIN
        usable = np.isfinite(total) & ~function.diverged(y)
        bounds = (total - np.log(tail)) / tilts
        if not np.any(usable & (tilts > 0)):
            raise ConvergenceError(f"the generating function of {channels.names[axis]!r} diverges beyond 1; use method='projection'")
        high = max(high, float(bounds[usable & (tilts > 0)].min()))
        low = min(low, float(bounds[usable & (tilts < 0)].max(initial=0.0)))
    return max(0, int(np.floor(low))), max(int(np.ceil(high)), 1)


def _tilts(mean: float, variance: float) -> np.ndarray:
    """Values of log z for bounds on tails: as they suit a Gaussian, or at its upper side a law with an exponential tail."""
    sd = np.sqrt(max(variance, 1e-4))
    both = np.minimum(TILTS / sd, STEEPEST)
    over_fano = np.minimum(OVER_FANO * max(mean, 1e-9) / max(variance, 1e-9), STEEPEST)
    return np.concatenate([-both, both, over_fano, SMALL])


def _moments(channels: FirstOrder, times: np.ndarray, states: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means and variances (S, T, 2) at times, by the exponential of the linear equations of means and second moments."""
    mean, inflow = channels.mean_rates()
    n = len(mean)
    if n > MOST_SPECIES:
        raise ConvergenceError(f"the generating function is for {MOST_SPECIES} species or fewer, not {n}")
    # d E[x x'] / dt = A E + E A' + b m' + m b' + sum of rates times the products of changes
    whole = np.zeros((1 + n + n * n,) * 2)
    whole[1 : n + 1, 0], whole[1 : n + 1, 1 : n + 1] = inflow, mean
    whole[n + 1 :, n + 1 :] = np.kron(mean, np.eye(n)) + np.kron(np.eye(n), mean)
    whole[n + 1 :, 1 : n + 1] = np.kron(inflow[:, None], np.eye(n)) + np.kron(np.eye(n), inflow[:, None])
    for source, rate, offspring in zip(channels.source, channels.rate, channels.offspring, strict=True):
        change = offspring - (np.arange(n) == source)
        whole[n + 1 :, 1 + source if source != NOTHING else 0] += rate * np.kron(change, change)
    start = np.concatenate([[1.0], weights @ states, np.einsum("k,ki,kj->ij", weights, states, states).ravel()])
    found = np.array([expm(whole * t) @ start for t in times.tolist()])
    first, second = found[:, 1 : n + 1], found[:, n + 1 :].reshape(-1, n, n)
    return np.stack([first, np.einsum("tss->ts", second) - first**2], axis=-1).swapaxes(0, 1)


def _settling_time(network: Network, channels: FirstOrder, states: np.ndarray) -> float:
    """When the law is stationary to double precision.

    Raises
    ------
    ModelError
        If it may never be, or depends on chance or start: species that turn into each other must die out by themselves, or keep their
        total and be fed by nothing.
    """
    mean, inflow = channels.mean_rates()
    away = ~np.eye(len(mean), dtype=bool)
    reached = np.any(states > 0, axis=0) | (inflow > 0)
    while np.any(more := ~reached & np.any((mean > 0) & away & reached, axis=1)):
        reached |= more
    _, label = connected_components(csr_array((mean > 0) & away & reached & reached[:, None]), directed=True, connection="strong")
    rates = list[float]()
    for group in np.unique(label[reached]):
        inside = (label == group) & reached
        values = np.linalg.eigvals(mean[np.ix_(inside, inside)])
        if values.real.max() < -1e-13 * float(np.abs(values).max()):
            rates.append(-float(values.real.max()))
            continue
        name = channels.names[int(np.flatnonzero(inside)[0])]
        own = np.isin(channels.source, np.flatnonzero(inside))
        makes = channels.offspring[:, inside].sum(axis=1)
        if np.any(makes[own] != 1) or np.any(makes[~own & ((channels.source == NOTHING) | reached[channels.source])]):
            raise ModelError(f"{network.name!r} has no unique stationary law that is known in closed form: {name!r} may gather or grow")
        if np.ptp(states[:, inside].sum(axis=1)):
            raise ModelError(f"{network.name!r} starts from several states, with different conserved sums")
        rates += np.sort(-values.real)[1:].tolist()
    return SETTLED / min(rates) if rates else 0.0
