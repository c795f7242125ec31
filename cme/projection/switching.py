"""Switching between sets of states in the long run: how often, and at which rates, by an elimination without subtraction."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cme.abilities import require
from cme.arguments import check_count, check_positive, record
from cme.conditions import network_condition
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.generator import Generator
from cme.network import Network
from cme.passages import Switching
from cme.progress import Progress
from cme.progress import progress as progress_bar
from cme.projection.censored import Censored
from cme.projection.hitting import leads_out
from cme.projection.modes import slow_rates
from cme.projection.stopped import StoppedNetwork, generator_condition, label_states
from cme.ratelaw import Expr
from cme.states import StateSpace

GROWTH = 1.5
NO_TIME = "rates are those of the long run"


def switching_rates(
    network: Network | Generator,
    sets: Mapping[str, str],
    *,
    tol: float = 1e-6,
    initial=None,
    max_states: int | None = None,
    progress: bool | None = None,
) -> Switching:
    r"""Solve for the rates of switching between sets of states in the stationary process.

    .. math:: k_{ab} = J_{ab} / \rho_a

    J_ab is how often per unit time the process comes to b when it was last in a, and rho_a the probability that it was last in a. So
    1 / k_ab, with two sets, is the mean time from an entrance into a to the next into b: a mean first-passage time whose start is as
    likely as the entrances are. Switching may take 1e100 of the fastest jumps: all numbers are right in relative terms.

    Parameters
    ----------
    network
        A Markov chain with constant rates and one stationary law. Or a `Generator`, whose states are kept as they are.
    sets
        Names and conditions, two or more, such as ``{"off": "X <= 80", "on": "X >= 560"}``, of which no two hold together in a state
        that the process comes to.
    tol
        Largest change of a rate allowed at the last growth of the set of states, as a part of it.
    initial
        Selects the conservation class, as for `stationary`.
    max_states
        Give up when there would be more states (a million by default).
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    Switching
        ``.rate(a, b)``, ``.rates`` (K, K), ``.flux`` (K, K), ``.share`` (K,) and a table.

    Raises
    ------
    ValueError
        If there are fewer than two sets, one is no condition, two hold together, or the process never is in one.
    ModelError, ConvergenceError
        As `stationary`; and if a rate still changes with `max_states`.

    Notes
    -----
    Where the reachable states are finite in number, the rates are exact but for round-off. Otherwise they are those of a set of states
    closed by dropping the jumps that leave it, which grows where these jumps carry the law or the switches, and `change` estimates
    the error. For the time from any state or law to a set, use `first_passage`.

    References
    ----------
    W. E and E. Vanden-Eijnden, Annu. Rev. Phys. Chem. 61, 391 (2010), doi:10.1146/annurev.physchem.040808.090412 (reactive flux).

    Examples
    --------
    >>> import cme
    >>> found = cme.switching_rates(cme.parse("A <-> B @ 1, 3; A = 1"), {"A": "A == 1", "B": "B == 1"})
    >>> [round(found.rate(*pair), 12) for pair in (("A", "B"), ("B", "A"))]
    [1.0, 3.0]
    """
    started = time.perf_counter()
    tol = check_positive("tol", tol)
    require(network, "switching_rates")
    if not isinstance(sets, Mapping):
        raise TypeError(f"sets must be a mapping from names to conditions, such as {{'off': 'X <= 80', 'on': 'X >= 560'}}, not {sets!r}")
    texts = dict(sets)
    if len(texts) < 2:
        raise ValueError("sets must hold two conditions or more, such as {'off': 'X <= 80', 'on': 'X >= 560'}")
    options = {"sets": texts, "tol": tol}
    if isinstance(network, Generator):
        if max_states is not None or initial is not None:
            raise ValueError("a generator has its states already; leave out initial and max_states")
        conditions = {name: generator_condition(network, text, f"set {name!r}") for name, text in texts.items()}
        known = _Known(network, label_states(conditions, network.names, network.states), list(texts))
        change, n_growths, title = np.nan if np.any(network.leak > 0) else 0.0, 0, "generator"
    else:
        most = 1_000_000 if max_states is None else check_count("max_states", max_states)
        options |= {"max_states": most}
        conditions = {name: network_condition(network, text, f"set {name!r}", NO_TIME) for name, text in texts.items()}
        with progress_bar("switching_rates", most, progress) as bar:
            space = _all_ways(network, texts, initial, tol, most, bar)
            known, change, n_growths = _settled(network, conditions, space, tol, most, bar)
        title = network.name
    found = {"method": "elimination without subtraction", "states": len(known.generator), "expansions": n_growths}
    info = record("switching_rates", title, started, options, **found)
    rates = known.flux / known.share[:, None]
    return Switching(tuple(texts), rates, known.flux, known.share, known.inside, change, info, known.relaxation_rates)


def _all_ways(network: Network, texts: dict[str, str], initial, tol: float, most: int, bar: Progress) -> StateSpace:
    """States on which the passages from each set to the others are found, up to `tol`."""
    names = list(texts)
    states: list[np.ndarray] = []
    starts: dict[str, Any] = {}  # a state in each set where it is likely to be entered

    def explore(goals: list[str], start) -> None:
        chain = StoppedNetwork(network, {name: texts[name] for name in goals}, start, tol, most, None)
        for n_states, note in chain.solve():
            bar.to(n_states, note)
        if chain.for_good or chain.open.never > 0:
            where = describe_state(chain.names, chain.generator.states[np.argmax(chain.start)])
            sets = " or ".join(f"{name!r} ({texts[name]})" for name in goals)
            if not chain.open.arrived.any():
                raise ValueError(f"from {where} the process never comes to {sets}; does it hold in any state that can be reached?")
            raise ModelError(
                f"from {where} the process misses {sets} with a probability of {chain.open.never + chain.open.escaped:.3g}, so that it "
                "does not go on switching; use first_passage"
            )
        states.append(chain.generator.states)
        for k, name in enumerate(goals):
            here = np.where(chain.labels == k, chain.open.entered + chain.start, 0.0)
            if here.max() > 0:
                starts.setdefault(name, dict(zip(chain.names, chain.generator.states[np.argmax(here)].tolist(), strict=True)))

    explore(names, initial)
    done: set[str] = set()
    while open_ := [name for name in names if name in starts and name not in done]:
        for name in open_:
            explore([other for other in names if other != name], starts[name])
            done.add(name)
    if missing := [name for name in names if name not in done]:
        raise ValueError(f"the process never is in {missing[0]!r}, that is {texts[missing[0]]}")
    return StateSpace.holding(network, np.unique(np.concatenate(states), axis=0))


def _settled(
    network: Network, conditions: dict[str, Expr], space: StateSpace, tol: float, most: int, bar: Progress
) -> tuple["_Known", float, int]:
    """The rates on a set of states that grows until they no longer change, the last change, and the number of growths."""

    def on(space: StateSpace) -> _Known:
        generator = Generator.from_network(network, space)
        return _Known(generator, label_states(conditions, network.species_names, space.states), list(conditions))

    known, n_growths = on(space), 0
    while True:
        flux = known.leaving
        if not np.any(flux > 0):
            return known, 0.0, n_growths
        order = np.argsort(flux)
        larger = space.grow(order[np.cumsum(flux[order]) > 1e-3 * flux.sum()][::-1], size=int(GROWTH * len(space)) + 1)
        if len(larger) > most:
            raise ConvergenceError(f"switching_rates needs more than max_states={most} states; raise max_states or loosen tol={tol:g}")
        bar.to(len(larger))
        space, before, known, n_growths = larger, known, on(larger), n_growths + 1
        with np.errstate(invalid="ignore", divide="ignore"):
            change = float(np.nanmax(np.abs(known.flux / known.share[:, None] * before.share[:, None] / before.flux - 1)))
        if change <= tol:
            return known, change, n_growths


class _Known:
    """The long run of a chain that remembers which of K sets it was in last: states outside come K times.

    Attributes
    ----------
    share : (K,)
        The probability to have been last in each set.
    inside : (K,)
        The probability to be in it.
    flux : (K, K)
        How often per unit time the chain comes to the second set, having been last in the first.
    leaving : (N,)
        The rate of jumps out of the kept states, which are dropped, per share of the set that the chain was in last.
    """

    def __init__(self, generator: Generator, label: np.ndarray, names: list[str]):
        self.generator, n_sets, n_states = generator, len(names), len(label)
        rates = generator.rates.tocoo()
        for k, name in enumerate(names):
            if not np.any(label == k):
                raise ValueError(f"the process never is in {name!r}")
        between = label < 0
        # Node of a state with each set as the last: those of a set have one node, others K.
        node = np.full((n_sets, n_states), -1)
        node[:, ~between] = np.flatnonzero(~between)
        node[0, between] = np.flatnonzero(between)
        for k in range(1, n_sets):
            node[k, between] = n_states + (k - 1) * between.sum() + np.arange(between.sum())
        n_nodes = n_states + (n_sets - 1) * int(between.sum())
        origin, goal, rate = [], [], []
        for k in range(n_sets):
            here = (label[rates.col] == k) | between[rates.col]
            origin.append(node[k, rates.col[here]])
            goal.append(node[k, rates.row[here]])
            rate.append(rates.data[here])
        entries = np.concatenate(rate), (np.concatenate(goal), np.concatenate(origin))
        jumps = sp.csc_array(sp.coo_array(entries, shape=(n_nodes, n_nodes)))
        law = _long_run(jumps, np.flatnonzero(~between), np.bincount(node.ravel(), np.tile(generator.leak, n_sets), n_nodes) > 0, generator)
        per_set = law[node]
        for k in range(n_sets):
            per_set[k, (label >= 0) & (label != k)] = 0.0
        self.share = per_set.sum(axis=1)
        self.inside = np.array([per_set[k, label == k].sum() for k in range(n_sets)])
        into = np.array([np.asarray(generator.rates[np.flatnonzero(label == k)].sum(axis=0)).ravel() for k in range(n_sets)])
        self.flux = per_set @ into.T
        np.fill_diagonal(self.flux, 0.0)
        self.leaving = (per_set / self.share[:, None]).sum(axis=0) * generator.leak

    def relaxation_rates(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k slowest rates of the chain, but for the rate 0 of its stationary law, (K,), and their relative errors."""
        found = slow_rates(self.generator.rates, np.zeros(len(self.generator)), k + 1)
        return found.values[1:], found.errors[1:]


def _long_run(jumps: sp.csc_array, home: np.ndarray, leaks: np.ndarray, generator: Generator) -> np.ndarray:
    """The stationary law of a chain, from what happens between two visits to a state among `home`."""
    n_nodes = jumps.shape[0]
    _, which = connected_components(jumps, directed=True, connection="strong")
    reference = int(home[np.argmax(np.bincount(which)[which[home]])])
    out, back = jumps[:, [reference]].toarray().ravel(), jumps[[reference], :].toarray().ravel()
    others = np.arange(n_nodes) != reference
    alive = leads_out(jumps, others, np.where(others, back, 0.0))
    dead = others & ~alive
    # At the rim of a set there are dead ends from which the way back leads through states that are not kept.
    traps = dead & ~leads_out(jumps, dead, np.where(dead & leaks, 1.0, 0.0))
    if np.any(jumps[:, alive | ~others][traps].sum(axis=1) > 0):
        raise ModelError(
            "there is no long run of switching: the process ends where no way leads back to "
            f"{describe_state(generator.names, generator.states[reference])}; use first_passage"
        )
    law, kept = np.zeros(n_nodes), np.flatnonzero(alive)
    law[reference] = 1.0
    if len(kept):
        law[kept] = Censored(sp.csc_array(jumps[kept][:, kept]), back[kept]).occupy(out[kept])
    return law / law.sum()
