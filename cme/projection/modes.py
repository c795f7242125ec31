"""The slowest modes of a Markov chain, each right in relative terms, however many powers of ten lie between them."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eig
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

from cme.errors import ConvergenceError
from cme.projection.censored import Censored

DENSE = 300  # up to this many states, all eigenvalues are computed
WINDOW = 1e6  # a mode within this factor of the shift has at least nine digits
LOWEST = 1e-280
POLISHED, APART = 20, 1e-9  # steps of the iteration after modes were told apart otherwise, and what may be left of another mode
MOST_ITERATIONS, SETTLED = 300, 1e-13  # of an inverse iteration; what a law moves then, and the relative width of the bounds on a rate
SQUARED, MOST_SQUARINGS = 600, 60  # states up to which the iteration goes on by squaring its matrix; and how often
WIDEST = 1e-9  # of the bounds on a rate that is called found
UNIT, ROUNDINGS = 2.2e-16, 4.0  # of a double, and how many an entry of a resolvent has suffered, times the root of the number of states
LARGEST_LOG = 300.0  # of a unit of a state
ROUNDING = 1e-12  # of an elimination that subtracts nothing, as a part of its results


class Mode(NamedTuple):
    """A mode of a chain that stops: like exp(-rate t) in the end."""

    rate: float
    lower: float  # bounds on the rate (Collatz and Wielandt), round-off included
    upper: float
    law: np.ndarray  # (N,) sums to 1


class Rates(NamedTuple):
    """Rates at which modes decay, the slowest first, and about how far each may be off, as a part of it."""

    values: np.ndarray
    errors: np.ndarray


def slow_rates(rates: sp.csc_array, exits: np.ndarray, k: int) -> Rates:
    r"""Find the k smallest rates at which modes of a chain decay: minus the eigenvalues of its generator, slowest first.

    .. math:: (s - A)^{-1} v = \frac{v}{s + \lambda}

    The resolvent at a shift s > 0 is that of a chain with further exits at rate s: an elimination that subtracts nothing gives it with all
    digits, and modes whose rates are about s can be told apart. Shifts go down in steps until nothing slower is left. The rates of a
    chain are those of its classes of communicating states, each of them taken alone: so they are right as well where classes with the
    same rates follow on each other, and the modes of the whole chain are nearly one.

    Parameters
    ----------
    rates : (N, N)
        From column to row.
    exits : (N,)
        Out of all states; zero for a chain that goes on for ever, whose slowest mode is the stationary law, with rate 0.
    k
        How many; one more where the last would be half of a complex pair.

    Returns
    -------
    Rates
        The error is an estimate to first order in roundings: large where in one class modes are nearly one.
    """
    k = min(k, len(exits))
    n_classes, label = connected_components(rates, directed=True, connection="strong")
    links = rates.tocoo()
    onward = (label[links.row] != label[links.col]) & (links.data > 0)
    out = exits + np.bincount(links.col[onward], links.data[onward], len(exits))  # of the class
    size, least, most = np.bincount(label, minlength=n_classes), np.full(n_classes, np.inf), np.zeros(n_classes)
    np.minimum.at(least, label, out)  # no mode of a class decays more slowly than all of its states are left at least
    np.maximum.at(most, label, out)
    if np.count_nonzero(most == 0) > 1:
        raise ConvergenceError("there are several modes with a rate of 0; the chain has several closed classes of states")
    single = size[label] == 1
    found, errors = out[single].astype(complex), np.full(np.count_nonzero(single), len(exits) * UNIT)
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(size)[:-1])
    for c in np.argsort(least, kind="stable"):
        if size[c] > 1 and (len(found) < k or least[c] <= np.partition(np.abs(found), k - 1)[k - 1]):
            here = members[c]
            values, off = _of_class(sp.csc_array(rates[here][:, here]), out[here], k)
            found, errors = np.append(found, values), np.append(errors, off)
    order = np.lexsort((found.imag, np.round(found.real / np.maximum(np.abs(found), 1e-300), 9), np.abs(found)))
    found, errors = found[order], errors[order]
    kept = k + int(k < len(found) and found[k - 1].imag != 0 and abs(found[k] - found[k - 1].conj()) <= 1e-6 * abs(found[k]))
    found, errors = found[:kept], errors[:kept]
    return Rates(found.real.copy() if np.all(np.abs(found.imag) <= np.maximum(errors, 1e-9) * np.abs(found)) else found, errors)


def _of_class(rates: sp.csc_array, exits: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest rates of a chain whose states all communicate, k or more if there are so many, and their errors."""
    closed, scale = not np.any(exits > 0), _scale(rates)
    total = np.asarray(rates.sum(axis=0)).ravel() + exits
    shift, found, errors = 4 * float(total.max()) / WINDOW, np.zeros(0, dtype=complex), np.zeros(0)  # none is faster than twice the largest
    while True:
        chain = Censored(rates, exits + shift)
        resolved, off = _largest(chain, scale, k + 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = 1 / resolved - shift
            off = off / np.abs(resolved * (1 - shift * resolved))
        size = np.abs(seen)
        below = int(np.count_nonzero(size < shift / WINDOW))
        here, faster = (size >= shift / WINDOW) & (size <= shift * WINDOW), np.abs(found) > 0.5 * shift * WINDOW
        found, errors = np.concatenate([seen[here], found[faster]]), np.concatenate([off[here], errors[faster]])
        if below <= int(closed) or shift < LOWEST:
            break
        shift *= 1 / WINDOW
    if below > int(closed):
        raise ConvergenceError("there are several modes with a rate of 0; the chain has several closed classes of states")
    return np.concatenate([np.zeros(below), found]), np.concatenate([np.zeros(below), errors])


def _largest(chain: Censored, scale: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    r"""The k largest eigenvalues of the resolvent, and about how far they may be off.

    .. math:: |\delta\mu| \approx \frac{|w|^\top (|R v - \mu v| + \epsilon R |v|)}{|w^\top v|}

    with the left and right eigenvectors w and v, since all entries of the resolvent R are known to a few roundings.
    """
    n_states = len(scale)

    def occupy(x: np.ndarray) -> np.ndarray:
        return chain.occupy(scale * np.asarray(x).ravel()) / scale

    def collect(x: np.ndarray) -> np.ndarray:
        return chain.collect(np.asarray(x).ravel() / scale) * scale

    if n_states <= DENSE or k >= n_states - 1:
        inverse = np.array([occupy(unit) for unit in np.eye(n_states)]).T
        values, left, right = eig(inverse, left=True)
        order = np.argsort(-np.abs(values))[:k]
        values, left, right = values[order], left[:, order].conj(), right[:, order]
    else:
        values, right = eigs(
            LinearOperator((n_states, n_states), matvec=occupy, dtype=np.float64), k=k, which="LM", v0=occupy(np.ones(n_states))
        )
        adjoint = LinearOperator((n_states, n_states), matvec=collect, dtype=np.float64)
        also, left = eigs(adjoint, k=k, which="LM", v0=collect(np.ones(n_states)))
        left = left[:, np.argmin(np.abs(also[None] - values[:, None]), axis=1)]
    errors = np.empty(len(values))
    for i, (value, w, v) in enumerate(zip(values, left.T, right.T, strict=True)):
        off = np.abs(occupy(v.real) + 1j * occupy(v.imag) - value * v) + ROUNDINGS * np.sqrt(n_states) * UNIT * occupy(np.abs(v))
        with np.errstate(divide="ignore"):
            errors[i] = np.abs(w) @ off / np.abs(w @ v)
    return values, errors


def _scale(rates: sp.csc_array) -> np.ndarray:
    """Units of the states (N,) in which the rates there and back are more alike, as all are where every jump is balanced by its reverse.

    Without them modes of a chain that leads strongly to one side are lost in rounding. They are found along a tree of jumps.
    """
    both = sp.csr_array(rates.minimum(rates.T))  # has entries where there are jumps both ways
    both.eliminate_zeros()
    order, before = breadth_first_order(both, 0, directed=False)
    log = np.zeros(rates.shape[0])
    if len(order) < len(log):
        return np.ones(len(log))
    there, back = (np.asarray(a).ravel() for a in (rates[order[1:], before[order[1:]]], rates[before[order[1:]], order[1:]]))
    for n, parent, change in zip(order[1:].tolist(), before[order[1:]].tolist(), (0.5 * np.log(there / back)).tolist(), strict=True):
        log[n] = log[parent] + change
    scale = np.exp(np.clip(log - (log.max() + log.min()) / 2, -LARGEST_LOG, LARGEST_LOG))
    scaled = sp.diags_array(1 / scale) @ rates @ sp.diags_array(scale)
    return scale if sp.linalg.norm(scaled) < sp.linalg.norm(rates) else np.ones(len(log))


def slowest_mode(chain: Censored, rates: sp.csc_array, exits: np.ndarray, start: np.ndarray) -> Mode:
    """Find how a chain decays in the end from a start: its slowest mode there, by iterations with positive numbers alone.

    Of classes of states between which there is no way back each has a rate of its own, and the least of them is that of the chain. So
    its bounds are narrow even where the law settles slowly or not at all, as where states of the same rate follow on each other.

    Parameters
    ----------
    chain
        On all N states.
    rates : (N, N)
        From column to row.
    exits : (N,)
        Out of all states.
    start : (N,)
        Any weights, not all 0.

    Raises
    ------
    ConvergenceError
        If two modes decay so nearly alike that the law of the slowest does not settle.
    """
    reached = np.flatnonzero(chain.occupy(start) > 0)
    within = sp.csc_array(rates[reached][:, reached])
    n_classes, label = connected_components(within, directed=True, connection="strong")
    links = within.tocoo()
    onward = label[links.row] != label[links.col]
    out = exits[reached] + np.bincount(links.col[onward], links.data[onward], len(reached))  # of the class
    least = np.full(n_classes, np.inf)
    np.minimum.at(least, label, out)  # no slower than this: a class is left at this rate or more from everywhere
    single = np.bincount(label, minlength=n_classes) == 1
    low = np.where(single, least, np.inf)
    high = low.copy()
    laws: dict[int, np.ndarray] = {}
    for c in np.argsort(least):
        if least[c] > high.min() or not np.isfinite(least[c]):
            break
        if not single[c]:
            here = label == c
            whole = len(chain.order) == np.count_nonzero(here)
            alone = chain if whole else Censored(sp.csc_array(within[here][:, here]), out[here])
            laws[c], low[c], high[c] = _settle(alone, np.full(np.count_nonzero(here), 1 / np.count_nonzero(here)))
    lower, upper = float(low.min()), float(high.min())
    slowest = np.flatnonzero(low <= upper * (1 + ROUNDING))
    if len(slowest) == 1:  # nothing that leads there is left in the end, and all that comes after follows it
        law, c = np.zeros(len(exits)), slowest[0]
        law[reached[label == c]] = laws.get(c, 1.0)
        if np.any(links.data[onward & (label[links.col] == c)] > 0):
            law, _, _ = _settle(chain, law, rate=upper)
    else:
        law, _, _ = _settle(chain, start / start.sum(), rate=upper)
    rate = min(max(float(law.sum() / chain.occupy(law).sum()), lower), upper)
    return Mode(rate, lower * (1 - ROUNDING), upper * (1 + ROUNDING), law)


def _settle(chain: Censored, law: np.ndarray, rate: float | None = None) -> tuple[np.ndarray, float, float]:
    """The law that the mean times in the states come to when they are the start again and again, and bounds on its rate.

    Where the rate is given, the law alone is asked for.
    """
    moved, low, high = np.inf, 0.0, np.inf
    for _ in range(MOST_ITERATIONS):
        law, before = _normed(chain.occupy(law)), law
        moved = float(np.abs(law - before).sum())
        if moved <= SETTLED:
            low, high = _bounds(chain, law)
            if rate is not None or high - low <= SETTLED * high:
                return law, low, high
    if moved > SETTLED and len(law) <= SQUARED:  # the same with 2, 4, 8, ... steps at once
        many = np.array([chain.occupy(unit) for unit in np.eye(len(law))]).T
        for _ in range(MOST_SQUARINGS):
            many /= many.max()
            law, before = _normed(many @ law), law
            moved = float(np.abs(law - before).sum())
            if moved <= SETTLED:
                break
            many = many @ many
    elif moved > SETTLED:  # the part of a mode that decays nearly alike is told apart in a Krylov space, and the rest of the iteration
        law, moved = _apart(chain, law, moved)
    low, high = _bounds(chain, law)
    if moved > SETTLED or (rate is None and high - low > WIDEST * high):
        between = f"{low:.6g} and {high:.6g}" if rate is None else f"{rate:.6g} and more"
        raise ConvergenceError(
            f"two modes decay so nearly alike, at rates of {between}, that the law of the slowest still moves by {moved:.1e} after "
            f"{MOST_ITERATIONS} steps of inverse iteration, and the two can't be told apart; decay_rates(2) gives both rates, and the law "
            "at earlier times needs no mode"
        )
    return law, low, high


def _apart(chain: Censored, law: np.ndarray, moved: float) -> tuple[np.ndarray, float]:
    """The law without the mode that decays nearly alike, and how far a step still moves it; what it was where that does not help.

    Rounding leaves of the other mode what a step moves, over the relative distance of the two rates.
    """
    operator = LinearOperator((len(law), len(law)), matvec=lambda x: chain.occupy(np.asarray(x).ravel()), dtype=np.float64)
    try:
        values, modes = eigs(operator, k=2, which="LM", v0=law)
    except ArpackError:
        return law, moved
    slow = int(np.argmax(values.real))
    gap = 1 - abs(values[1 - slow] / values[slow])
    found = np.abs(
        modes[:, slow].real
    )  # the slowest mode has one sign, but for rounding; steps of the iteration make small entries right again
    for _ in range(POLISHED):
        found, before = _normed(chain.occupy(found)), found
    after = float(np.abs(found - before).sum())
    return (found, 0.0) if after <= min(moved, APART * gap) else (law, moved)


def _normed(time: np.ndarray) -> np.ndarray:
    return time / time.sum()


def _bounds(chain: Censored, law: np.ndarray) -> tuple[float, float]:
    """Between the least and the largest rate at which a law is left from its states lies that of the slowest mode."""
    time = chain.occupy(law)
    kept = (time > 1e-280 * time.max()) & (law > 0)
    ratio = time[kept] / law[kept]
    return float(1 / ratio.max()), float(1 / ratio.min())
