"""The slowest modes of a Markov chain, each right in relative terms, however many powers of ten lie between them."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
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
ROUNDING = 1e-12  # of an elimination that subtracts nothing, as a part of its results


class Mode(NamedTuple):
    """A mode of a chain that stops: like exp(-rate t) in the end."""

    rate: float
    lower: float  # bounds on the rate (Collatz and Wielandt), round-off included
    upper: float
    law: np.ndarray  # (N,) sums to 1


def slow_rates(rates: sp.csc_array, exits: np.ndarray, k: int) -> np.ndarray:
    r"""Find the k smallest rates at which modes of a chain decay: minus the eigenvalues of its generator, slowest first.

    .. math:: (s - A)^{-1} v = \frac{v}{s + \lambda}

    The resolvent at a shift s > 0 is that of a chain with further exits at rate s: an elimination that subtracts nothing gives it with all
    digits, and modes whose rates are about s can be told apart. Shifts go down in steps until nothing slower is left.

    Parameters
    ----------
    rates : (N, N)
        From column to row.
    exits : (N,)
        Out of all states; zero for a chain that goes on for ever, whose slowest mode is the stationary law, with rate 0.
    k
        How many; one more where the last would be half of a complex pair.
    """
    n_states, closed = len(exits), not np.any(exits > 0)
    k = min(k, n_states)
    total = np.asarray(rates.sum(axis=0)).ravel() + exits
    shift, found = 4 * float(total.max()) / WINDOW, np.zeros(0, dtype=complex)  # no mode is faster than twice the largest rate
    while True:
        chain = Censored(rates, exits + shift)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = 1 / _largest(chain, n_states, k + 2) - shift
        size = np.abs(seen)
        below = int(np.count_nonzero(size < shift / WINDOW))
        here = seen[(size >= shift / WINDOW) & (size <= shift * WINDOW)]
        found = np.concatenate([here, found[np.abs(found) > 0.5 * shift * WINDOW]])
        if below <= int(closed) or shift < LOWEST:
            break
        shift *= 1 / WINDOW
    if below > int(closed):
        raise ConvergenceError("there are several modes with a rate of 0; the chain has several closed classes of states")
    found = np.concatenate([np.zeros(below), found])
    found = found[np.lexsort((found.imag, np.round(found.real / np.maximum(np.abs(found), 1e-300), 9), np.abs(found)))]
    kept = k + int(k < len(found) and found[k - 1].imag != 0 and abs(found[k] - found[k - 1].conj()) <= 1e-6 * abs(found[k]))
    found = found[:kept]
    return found.real.copy() if np.all(np.abs(found.imag) <= 1e-9 * np.abs(found)) else found


def _largest(chain: Censored, n_states: int, k: int) -> np.ndarray:
    """The k largest eigenvalues of the resolvent."""
    if n_states <= DENSE or k >= n_states - 1:
        inverse = np.array([chain.occupy(unit) for unit in np.eye(n_states)]).T
        values = np.linalg.eigvals(inverse)
        return values[np.argsort(-np.abs(values))][:k]
    start = chain.occupy(np.ones(n_states))
    operator = LinearOperator((n_states, n_states), matvec=lambda x: chain.occupy(np.asarray(x).ravel()), dtype=np.float64)
    return eigs(operator, k=k, which="LM", v0=start, return_eigenvectors=False)


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
