"""Quasi-stationary laws: where a chain is late, given that it has not died out or left a well."""

import time

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components

from cme.abilities import require
from cme.arguments import check_count, check_positive, record
from cme.compiled import Compiled
from cme.conditions import network_condition
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.generator import Generator
from cme.network import Network
from cme.progress import progress as progress_bar
from cme.projection.censored import Censored
from cme.projection.hitting import leads_out
from cme.projection.stopped import generator_condition, label_states
from cme.results import Distribution
from cme.states import StateSpace

FIRST_SIZE = 4000
FIRST_OF_DRAWS = 600  # where a reaction draws numbers of molecules: jumps lead from every state to nearly all others
GROWTH = 1.4
MOST_STEPS = 5000
LARGE = 0.05  # a class of this part of the states that leads out of them is an end, a smaller one the rim
NO_TIME = "the law of late times is what is asked for"


def quasi_stationary(
    network: Network | Generator,
    *,
    within: str | None = None,
    tol: float = 1e-6,
    initial=None,
    max_states: int | None = None,
    progress: bool | None = None,
) -> Distribution:
    r"""Solve for the quasi-stationary law, that of late times given that the end has not come, and the rate at which it comes.

    .. math:: A_{TT}\,p = -\lambda\,p, \qquad \sum_n p_n = 1

    T are the states that are reached from the start and are in no closed class (extinction, say); from the law p, the time until T is left
    is exponential with mean 1 / lambda.

    Parameters
    ----------
    network
        A network, or the `Generator` of any jump process.
    within
        A condition such as ``"X < 256"``: T is then what is reached while it holds, a well of a bistable network, say.
    tol
        Largest change of the law in the 1-norm, and of the rate as a part of it, allowed at the last growth of the set.
    initial
        Another start than the network's own; needed for a generator. It selects T, and nothing else. From several states, the likeliest.
    max_states
        Give up when the set would be larger (a million by default).
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    Distribution
        One time, infinity. ``info["decay_rate"]`` is lambda. `integration_error` is an estimate.
        `lost` is 0 where T is finite, else the change of the law when the set last grew by two fifths, an estimate.

    Raises
    ------
    ModelError
        If no way leads out of T: then its law is stationary.
    ConvergenceError
        If the law still changes at `max_states`, or no way out of T is found among so many states (without `within`, among the first
        4000); there may be none.

    Notes
    -----
    Inverse iteration by elimination without subtraction: the rate is right in relative terms, however small. Where T is infinite there may
    be many quasi-stationary laws, or none; found is the limit of those on finite sets, that with the largest rate.

    References
    ----------
    J. N. Darroch, E. Seneta, J. Appl. Probab. 4, 192 (1967), doi:10.2307/3212311.

    Examples
    --------
    Of molecules that decay one by one the last stays longest.

    >>> import cme
    >>> law = cme.quasi_stationary(cme.parse("X -> 0 @ 0.5; X = 20"))
    >>> law.states[law.p[0].argmax()].tolist(), round(law.info["decay_rate"], 12)
    ([1], 0.5)
    """
    started = time.perf_counter()
    tol = check_positive("tol", tol)
    require(network, "stationary")
    options = {"within": within, "tol": tol}
    if isinstance(network, Generator):
        if max_states is not None:
            raise ValueError("a generator has its states already; leave out max_states")
        if initial is None:
            raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
        condition = None if within is None else {within: generator_condition(network, within, "within")}
        home = network.states[int(np.argmax(network.start(initial)))]
        law, lost, expansions, found = _Class(network, home, condition), 0.0, 0, network.states
        if np.any(network.leak[law.members] > 0):
            lost = np.nan
        names, title = network.names, "generator"
    else:
        max_states = 1_000_000 if max_states is None else check_count("max_states", max_states)
        options |= {"max_states": max_states}
        condition = None if within is None else {within: network_condition(network, within, "within", NO_TIME)}
        with progress_bar("quasi_stationary", max_states, progress) as bar:
            found, law, lost, expansions = _adapt(network, initial, condition, tol, max_states, bar)
        names, title = network.species_names, network.name
    states = found[law.members]
    info = record(
        "quasi_stationary",
        title,
        started,
        options,
        method="elimination without subtraction",
        states=len(states),
        expansions=expansions,
        decay_rate=law.rate,
        certificate=_certificate(law, lost),
    )
    observables = {}
    if isinstance(network, Network):
        compiled = Compiled(network)
        observables = {name: compiled.observable(name, states) for name in network.observables}
    widths = network.widths if isinstance(network, Generator) else None
    times, error = np.array([np.inf]), np.array([law.error])
    return Distribution(times, names, states, law.p[None], np.array([lost]), error, info, observables, widths=widths, cells=widths)


def _certificate(law: "_Class", lost: float) -> str:
    if not np.any(law.leak > 0):
        return "exact: no jump leads to states that are not kept"
    return "none: nothing is known of states that are not kept" if np.isnan(lost) else "estimate: the law on two sets is compared"


def _adapt(network: Network, initial, condition, tol: float, max_states: int, bar) -> tuple[np.ndarray, "_Class", float, int]:
    start, p = Compiled(network).start(initial)
    home = start[np.argmax(p)]
    space = StateSpace.around(network, initial=initial, size=FIRST_OF_DRAWS if network.varying else FIRST_SIZE)
    before: tuple[StateSpace, _Class] | None = None
    expansions = 0
    while True:
        try:
            law = _Class(Generator.from_network(network, space), home, condition)
        except NoWayOutYetError as yet:
            larger = space.grow(yet.rim, size=int(GROWTH * len(space)) + 1)
            if condition is None or len(larger) > max_states:  # a condition names an end, which may lie far off
                way_out = "give within=" if condition is None else f"raise max_states={max_states}"
                raise ConvergenceError(
                    f"no way leads out of the states that are reached from {describe_state(network.species_names, home)} among the "
                    f"{len(space)} that were looked at; {way_out}, or use stationary if there is none"
                ) from None
            before, space, expansions = None, larger, expansions + 1
            continue
        if not np.any(law.leak > 0):
            return space.states, law, 0.0, expansions
        change, rate_change = np.inf, np.inf
        if before is not None:
            change, rate_change = _change(*before, space, law), abs(law.rate / before[1].rate - 1)
        bar.to(len(space), f"changed by {change:.1e}")
        if max(change, rate_change) <= tol:
            return space.states, law, change, expansions
        flux = law.leak * law.p
        order = np.argsort(flux)
        sources = law.members[order[np.cumsum(flux[order]) > 1e-3 * flux.sum()]] if flux.sum() > 0 else law.members[law.leak > 0]
        larger = space.grow(sources, size=int(GROWTH * len(space)) + 1)
        if len(larger) > max_states:
            raise ConvergenceError(
                f"quasi_stationary needs more than max_states={max_states} states (the law still changes by {change:.1e}, its rate by a "
                f"part of {rate_change:.1e}, tol={tol:g}); raise max_states or loosen tol; if the counts grow without bound there is none"
            )
        before, space, expansions = (space, law), larger, expansions + 1


def _change(before: StateSpace, old: "_Class", space: StateSpace, law: "_Class") -> float:
    """The 1-norm distance of the laws on two sets."""
    place, whole = space.index(before.states[old.members]), np.zeros(len(space))
    whole[law.members] = law.p
    common = whole[place]
    whole[place] = 0.0
    return float(np.abs(common - old.p).sum() + whole.sum())


class NoWayOutYetError(ModelError):
    """No way leads out through the states that are kept, but some lead to others: the places of those that do are `rim`."""

    def __init__(self, message: str, rim: np.ndarray):
        super().__init__(message)
        self.rim = rim


class _Class:
    """The states that are reached from a start before the end, their quasi-stationary law and rate.

    Jumps out of the kept states are dropped; `leak` (K,) are their rates, from the members.
    """

    def __init__(self, generator: Generator, home: np.ndarray, condition):
        inside = np.ones(len(generator), dtype=bool)
        if condition is not None:
            inside = label_states(condition, generator.names, generator.states) >= 0
        at = int(np.flatnonzero(np.all(generator.states == home, axis=1))[0])
        if not inside[at]:
            raise ValueError(f"within={next(iter(condition))!r} does not hold at the start {describe_state(generator.names, home)}")
        rates = generator.rates
        inside &= ~_ends(generator, rates, at)
        kept = np.flatnonzero(inside)
        jumps = sp.csr_array(rates[kept][:, kept].T)
        inside[:] = False
        inside[kept[breadth_first_order(jumps, int(np.searchsorted(kept, at)), return_predecessors=False)]] = True
        reached = sp.csr_array(rates[:, inside])
        exits = np.asarray(reached[~inside].sum(axis=0)).ravel()
        if not np.any(exits > 0):
            which, rim = (
                f"the states that are reached from {describe_state(generator.names, home)}",
                np.flatnonzero(inside & (generator.leak > 0)),
            )
            if len(rim):
                raise NoWayOutYetError(f"no way leads out of {which} but to states that are not kept; keep more", rim)
            raise ModelError(f"no way leads out of {which}: their law is stationary, not quasi-stationary; use stationary, or give within=")
        # At the rim there may be states whose ways out lead through others that are not kept.
        leads = leads_out(sp.csc_array(reached[inside]), np.ones(len(exits), dtype=bool), exits)
        self.members = np.flatnonzero(inside)[leads]
        rim = np.flatnonzero(inside)[~leads]
        self.leak = generator.leak[self.members] + np.asarray(reached[rim][:, leads].sum(axis=0)).ravel()
        chain = Censored(sp.csc_array(reached[self.members][:, leads]), exits[leads])
        p, total = np.full(len(self.members), 1 / len(self.members)), np.inf
        for _ in range(MOST_STEPS):
            x = chain.occupy(p)
            total_before, total = total, float(x.sum())
            moved, p = float(np.abs(x / total - p).sum()), x / total
            if moved <= 1e-13 and abs(total - total_before) <= 1e-13 * total:
                break
        else:
            raise ConvergenceError(f"inverse iteration still moves the quasi-stationary law by {moved:.1e} after {MOST_STEPS} steps")
        self.p, self.rate, self.error = p, 1 / total, 10 * moved


def _ends(generator: Generator, rates: sp.csc_array, at: int) -> np.ndarray:
    """The states of classes that are not left, as far as the kept states show; not those that are small and lead out of these."""
    n_classes, label = connected_components(rates.T, directed=True, connection="strong")
    links = rates.tocoo()
    ends = np.ones(n_classes, dtype=bool)
    ends[label[links.col[(label[links.row] != label[links.col]) & (links.data > 0)]]] = False
    leaks = np.zeros(n_classes, dtype=bool)
    leaks[label[generator.leak > 0]] = True
    ends &= ~leaks | (np.bincount(label) > LARGE * len(generator))
    ends[label[at]] = False
    return ends[label]
