"""The first passage of a Markov chain to targets: how likely, how long it takes, and the law of the time, with bounds."""

import math
import time
from collections.abc import Mapping

import numpy as np

from cme.abilities import require
from cme.arguments import check_count, check_positive, check_times, record
from cme.generator import Generator
from cme.network import Network
from cme.passages import Bounds, Decay, FirstPassage, Solved
from cme.progress import progress as progress_bar
from cme.projection.mean_bound import ROUNDING
from cme.projection.passage_times import PassageTimes, passage_times
from cme.projection.stopped import Stopped, StoppedGenerator, StoppedNetwork
from cme.states import StateSpace


def first_passage(
    network: Network | Generator,
    target: str | Mapping[str, str],
    times=None,
    *,
    tol: float = 1e-6,
    initial=None,
    max_states: int | None = None,
    space: StateSpace | None = None,
    progress: bool | None = None,
) -> FirstPassage:
    r"""Solve for the time of the first passage to a target, and which of several is met first.

    .. math:: T = \min\{t : x(t) \in \mathrm{target}\}, \qquad E[T^k] = k!\; \mathbf 1^\top (-A_J)^{-k} p(0)

    The states J that are not in a target are found on the way, until less than `tol` of the probability leaves them before a target is
    met. Mean times and probabilities on J come from an elimination that subtracts nothing, and are right in relative terms: to about
    thirteen digits, whether the mean is 1 or 1e200. What escapes from J is beside them: a target that ``info["rare"]`` names is met so
    seldom that no more than `probability_bounds` is known of how often.

    Parameters
    ----------
    network
        A Markov chain with constant rates. Or a `Generator` of any jump process, whose states are kept as they are; `initial` is then
        needed.
    target
        A condition such as ``"X >= 5 && Y == 0"`` on species, parameters and rules (of a `Generator`, on its names). Or a mapping from
        names to conditions, no two of which hold together in a state that is reached before either is met.
    times : (L,)
        When the law of the time is wanted; None: only what happens in the end.
    tol
        What may escape from J, as a probability; the change of the mean from J closed and J open, as a part of it; and the error of the
        law at the last of `times`.
    initial
        Another start, as for `fsp`.
    max_states
        Give up when J would be larger (a million by default).
    space
        A fixed set of states instead; then more than `tol` may escape, and is reported as it is.
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    FirstPassage
        ``.probability`` (K,) to meet each target first, ``.mean()``, ``.sd()``, ``.moment(k)`` of T on all paths, ``.mean(name)`` on those
        that come to one target, ``.cdf`` and ``.density`` (L, K), ``.decay()`` and ``.decay_rates(k)``, and
        ``.from_states()``: probabilities and means from every state.

    Raises
    ------
    ValueError
        If a target is no condition, or two hold together in a state where the process may stop; the message names it.
    ModelError
        If a propensity is negative or undefined, a target compares what is no finite number in a state, or the network is
        more than a Markov chain with constant rates.
    ConvergenceError
        If `tol` can't be reached with `max_states`, or a mean is beyond 1e290.

    Notes
    -----
    Where no path leaves J (``info["truncation"]`` is "none") everything is exact but for round-off. Otherwise probabilities and the law
    at `times` are bounded from both sides: a path that leaves J may come to any target, or to none. So is the mean (`mean_bounds`): from
    below by the mean time to a target or out of J, from above with a function of the counts that is proved to fall outside J, if one is
    found (``info["upper_mean"]`` says which, or why not). Moments are those of J closed, without the jumps that leave it: estimates.

    ``.mean()`` is infinite where some paths come to states from which no way leads to a target. It is nan, for not known, where more
    than `tol` escapes from J and may come back or not, as where counts grow without bound: no more states are taken once a set sixteen
    times as large lets as much arrive and escape. The moments on the paths that come to a target, ``.mean(name)``, are given always.

    The law at `times` is that of `fsp` on the chain that stops in the targets, in absolute terms; times so long that double precision
    can't follow all jumps are reached by the slowest mode alone.

    References
    ----------
    J. Kuntz, P. Thomas, G.-B. Stan, M. Barahona, SIAM J. Sci. Comput. 41, A748 (2019), doi:10.1137/18M1168261 (bounds on the law).
    A. S. Alfa, J. Xue, Q. Ye, Math. Comp. 71, 217 (2002), doi:10.1090/S0025-5718-01-01325-4 (elimination). W. K. Grassmann,
    M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107 (1985), doi:10.1287/opre.33.5.1107.

    Examples
    --------
    The last of 20 molecules that decay at rate 1 goes after 1 + 1/2 + ... + 1/20 on average.

    >>> import cme
    >>> decay = cme.parse("X -> 0 @ 1; X = 20")
    >>> found = cme.first_passage(decay, "X == 0", times=[3.0])
    >>> bool(abs(found.mean() - sum(1 / i for i in range(1, 21))) < 1e-13)
    True
    >>> bool(abs(found.cdf[0, 0] - (1 - 2.718281828459045**-3) ** 20) < 1e-6)
    True
    """
    started = time.perf_counter()
    tol = check_positive("tol", tol)
    times = np.zeros(0) if times is None else check_times(times)
    require(network, "first_passage")
    texts = dict(target) if isinstance(target, Mapping) else {str(target): target}
    if not texts:
        raise ValueError("target names no condition; give one such as 'X >= 5', or a mapping from names to conditions")
    options = {"target": texts, "tol": tol}
    chain: Stopped
    if isinstance(network, Generator):
        if space is not None or max_states is not None:
            raise ValueError("a generator has its states already; leave out space and max_states")
        chain = StoppedGenerator(network, texts, initial, tol)
    else:
        if space is not None and max_states is not None:
            raise ValueError("a given space is kept as it is; leave out max_states")
        most = 1_000_000 if max_states is None else check_count("max_states", max_states)
        options |= {"max_states": most, "space": "given" if space is not None else "adaptive"}
        chain = StoppedNetwork(network, texts, initial, tol, most, space)
    with progress_bar("first_passage", chain.most, progress) as bar:
        for n_states, note in chain.solve():
            bar.to(n_states, note)
        law = passage_times(chain, times, tol)
    return _result(chain, law, times, started, options)


def _result(chain: Stopped, law: PassageTimes, times: np.ndarray, started: float, options: dict) -> FirstPassage:
    ended, inner = chain.open, chain.labels < 0
    little_escapes = chain.escaped <= options["tol"]  # not if it is nan: a start may not know what it misses
    certain = None if ended.never == 0 and (chain.for_good or not little_escapes) else ended.never == 0
    exact = not ended.leaks and not chain.missing and not chain.excess
    lower = float(ended.moment(1).sum() / ended.arrived.sum()) if exact and ended.never == 0 else _least_mean(chain)
    bounds = Bounds(lower, lower if exact else chain.upper_mean) if ended.never == 0 else Bounds(math.inf, math.inf)
    found = {
        "method": "elimination without subtraction",
        "in_time": law.method,
        "states": int(inner.sum()),
        "expansions": chain.expansions,
        "truncation": "none" if exact else "bounds on probabilities and the mean, estimates of moments",
        "rare": chain.rare,
        "upper_mean": "exact" if exact or ended.never > 0 else chain.ground,  # some never arrive: infinite for sure
        "mean_change": chain.change,
    }

    def from_states() -> tuple[np.ndarray, np.ndarray]:
        chances, means = chain.closed.from_states()
        return chances[inner], means[inner]

    def decay() -> Decay:
        slow = chain.decay()
        return Decay(slow.rate, Bounds(slow.lower, slow.upper), slow.law[inner])

    return FirstPassage(
        targets=tuple(chain.conditions),
        probability=ended.arrived,
        never=ended.never,
        escaped=chain.escaped,
        excess=chain.excess,
        certain=certain,
        mean_bounds=bounds,
        times=times,
        cdf=law.cdf,
        density=law.density,
        lost=law.lost,
        integration_error=law.error,
        species=chain.names,
        states=chain.generator.states[inner],
        info=record("first_passage", chain.title, started, options, **found),
        _solved=Solved(chain.closed.moment, decay, chain.decay_rates, from_states),
    )


def _least_mean(chain: Stopped) -> float:
    """A lower bound of the mean time: that until paths arrive or leave the states, less what the start may have too much of."""
    ended, excess = chain.open, 0.0
    if chain.excess and len(ended.alive):
        excess = chain.excess * float(ended.collected(np.ones(len(ended.alive))).max())
    least = ended.survived * (1 - ROUNDING) - excess
    return least if least > 0 else 0.0
