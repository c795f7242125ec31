"""Where a chain ends: its closed classes of states, the chance of each, and the law in it."""

import time
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cme.abilities import require
from cme.arguments import check_count, record
from cme.compiled import Compiled
from cme.generator import Generator
from cme.network import Network
from cme.projection.censored import Censored
from cme.projection.null_vector import stationary_vector
from cme.results import Distribution
from cme.states import StateSpace


class ClosedClass(NamedTuple):
    """A set of states that is never left once it is entered."""

    probability: float  # to end there
    law: Distribution  # the stationary law in it; one state of probability 1 where it is absorbing


def closed_classes(network: Network | Generator, *, initial=None, max_states: int | None = None) -> tuple[ClosedClass, ...]:
    r"""Find the closed classes that can be reached, the chance to end in each, and the stationary law there.

    .. math:: p(\infty) = \sum_c h_c\, \pi^{(c)}, \qquad h_c = p_c(0) + 1^T A_{cT} (-A_{TT})^{-1} p_T(0)

    with the transient states T.

    Parameters
    ----------
    network
        A network with finitely many reachable states, or the `Generator` of any jump process that does not leak.
    initial
        Another start than the network's own; needed for a generator.
    max_states
        Give up beyond this many reachable states (a million by default).

    Returns
    -------
    tuple of ClosedClass
        ``(probability, law)``, the most probable first.

    Raises
    ------
    ConvergenceError
        If more than `max_states` states can be reached.

    Notes
    -----
    Elimination without subtraction: every probability is right in relative terms, however small. One class with probability 1 is what
    `stationary` gives.

    Examples
    --------
    >>> import cme
    >>> ends = cme.closed_classes(cme.parse("X -> Y @ 1; X -> Z @ 3; X = 1"))
    >>> [(round(end.probability, 12), end.law.states[0].tolist()) for end in ends]
    [(0.75, [0, 0, 1]), (0.25, [0, 1, 0])]
    """
    started = time.perf_counter()
    require(network, "stationary")
    if isinstance(network, Generator):
        if max_states is not None:
            raise ValueError("a generator has its states already; leave out max_states")
        if initial is None:
            raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
        if np.any(network.leak > 0):
            raise ValueError(f"the generator leaks at rates of up to {network.leak.max():.3g}, so that where it ends is not known")
        generator, start, title = network, network.start(initial), "generator"
    else:
        most = 1_000_000 if max_states is None else check_count("max_states", max_states)
        space = StateSpace.reachable(network, max_states=most, initial=initial)
        generator, title = Generator.from_network(network, space), network.name
        states, p = Compiled(network).start(initial)
        start = np.bincount(space.index(states), weights=p, minlength=len(space))
    rates = generator.rates
    n_classes, label = connected_components(rates.T, directed=True, connection="strong")
    links = rates.tocoo()
    ends = np.ones(n_classes, dtype=bool)
    ends[label[links.col[(label[links.row] != label[links.col]) & (links.data > 0)]]] = False
    arrives = start.copy()
    transient = np.flatnonzero(~ends[label])
    if np.any(start[transient] > 0):
        out = sp.csr_array(rates[:, transient])
        inside = np.zeros(len(generator), dtype=bool)
        inside[transient] = True
        chain = Censored(sp.csc_array(out[transient]), np.asarray(out[~inside].sum(axis=0)).ravel())
        arrives += np.where(inside, 0.0, out @ chain.occupy(start[transient]))
    found = []
    for c in np.flatnonzero(ends):
        members = np.flatnonzero(label == c)
        probability = float(arrives[members].sum())
        if probability > 0:
            found.append(ClosedClass(probability, _law(network, generator, members, probability, title, started)))
    return tuple(sorted(found, key=lambda each: -each.probability))


def _law(network: Network | Generator, generator: Generator, members: np.ndarray, probability: float, title: str, started: float):
    matrix = sp.csc_array(generator.sparse("the closed classes")[members][:, members])
    pi, method, correction = stationary_vector(matrix)
    states = generator.states[members]
    observables = {}
    if isinstance(network, Network):
        compiled = Compiled(network)
        observables = {name: compiled.observable(name, states) for name in network.observables}
    info = record("closed_classes", title, started, {}, method=method, states=len(states), absorbed=probability)
    widths = generator.widths
    times, lost, error = np.array([np.inf]), np.zeros(1), np.array([correction])
    return Distribution(times, generator.names, states, pi[None], lost, error, info, observables, widths=widths, cells=widths)
