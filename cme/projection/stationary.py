"""The stationary law of the master equation: A pi = 0, on a set of states that grows until the law no longer changes."""

import time

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from cme.abilities import require
from cme.arguments import check_choice, check_count, check_positive, record
from cme.compiled import Compiled
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.generator import Generator
from cme.kernels.gth import gth_banded
from cme.network import Network
from cme.progress import progress as progress_bar
from cme.projection import closed_forms
from cme.results import Distribution
from cme.states import StateSpace

FIRST_SIZE = 4000  # enough to look past the barrier of most bistable networks
GROWTH = 1.4
WIDEST_BAND = 40  # up to this half-bandwidth, elimination without subtraction is as fast as sparse LU


def stationary(
    network: Network | Generator,
    *,
    tol: float = 1e-6,
    method: str = "auto",
    initial=None,
    max_states: int | None = None,
    space: StateSpace | None = None,
    progress: bool | None = None,
) -> Distribution:
    r"""Solve for the stationary law of the chemical master equation.

    .. math:: A\,\pi = 0, \qquad \sum_n \pi_n = 1

    Where the reachable states are finite in number, the law is exact to round-off (`lost` is 0). Otherwise a set of states is closed by
    dropping the jumps that leave it, and grows where they carry flux until a set larger by two fifths changes the law by less than
    `tol` in the 1-norm; that change is reported as `lost`.

    Parameters
    ----------
    network
        The initial counts select the conservation class (and nothing else). Or a `Generator` of any jump process, whose states are
        kept as they are (closed by dropping what leaks, if it leaks).
    tol
        Largest change of the law allowed at the last growth of the set, in the 1-norm.
    method
        "projection": linear algebra on a set of states. "product_form": the product of Poisson laws of a complex-balanced network, such as
        any weakly reversible mass-action network of deficiency 0. "one_step": the product of ratios of neighbouring propensities of a
        birth-death chain. "auto" takes a closed form where there is one (then ``info["exact_by"]`` names it), else projection.
    initial
        Another start than the network's own.
    max_states
        Give up when the set would be larger (a million by default).
    space
        A fixed set of states, closed by dropping the jumps that leave it; `lost` is then nan, since nothing is known of the rest.
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    Distribution
        One time, infinity. `integration_error` is the residual-based correction of the linear solver, an estimate.

    Raises
    ------
    ModelError
        If the law is not unique: the message names two closed classes of states.
    ConvergenceError
        If the law still changes at `max_states` (it may not exist: the counts may grow without bound).

    Notes
    -----
    `lost` is an estimate from two sets, not a bound, unless it is zero; a further mode behind a barrier that the smaller set does not
    reach is not seen. For nearly one-dimensional sets the law is found by Grassmann-Taksar-Heyman elimination, and every
    probability is right in relative terms, however small; otherwise by a sparse LU with one state taken out.

    In closed form, `lost` is a bound: what lies outside the states that are given. `integration_error` is an estimate of round-off. Laws
    of one count come with their tails, down to 1e-280.

    References
    ----------
    W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107 (1985), doi:10.1287/opre.33.5.1107.
    A. Gupta, J. Mikelson, M. Khammash, J. Chem. Phys. 147, 154101 (2017), doi:10.1063/1.5006484.
    D. F. Anderson, G. Craciun, T. G. Kurtz, Bull. Math. Biol. 72, 1947 (2010), doi:10.1007/s11538-010-9517-4.

    Examples
    --------
    >>> import cme, math
    >>> law = cme.stationary(cme.parse("0 -> X @ 2; X -> 0 @ 1"))  # Poisson with mean 2
    >>> bool(abs(law["X"][0, 3] - math.exp(-2) * 2**3 / 6) < 1e-12)
    True
    """
    started = time.perf_counter()
    tol = check_positive("tol", tol)
    require(network, "stationary")
    check_choice("method", method, closed_forms.STATIONARY_METHODS)
    if method not in ("auto", "projection") and (isinstance(network, Generator) or space is not None):
        raise ValueError(f"method={method!r} takes a network and finds its own states; leave out space, or use method='projection'")
    if isinstance(network, Generator):
        if space is not None or max_states is not None or initial is not None:
            raise ValueError("a generator has its states already; leave out initial, space and max_states")
        return _on_given_states(network, started, tol)
    if space is not None and max_states is not None:
        raise ValueError("a given space is kept as it is; leave out max_states")
    max_states = 1_000_000 if max_states is None else check_count("max_states", max_states)
    if space is None and (known := closed_forms.stationary_law(network, method, tol, initial, max_states, started)) is not None:
        return known
    compiled = Compiled(network)
    fixed = space is not None
    if space is None:
        space = StateSpace.around(network, initial=initial, size=FIRST_SIZE)
    pi, info = _solve(Generator.from_network(network, space))
    lost = np.nan if fixed else 0.0
    expansions = 0
    with progress_bar("stationary", max_states, progress) as bar:
        while not fixed:
            larger = _grow(space, pi, info["leak"])
            if larger is None:
                break
            if len(larger) > max_states:
                raise ConvergenceError(
                    f"stationary needs more than max_states={max_states} states (the law still changes by {lost:.1e}, tol={tol:g}); "
                    "raise max_states or loosen tol; if the counts grow without bound there is no stationary law"
                )
            bar.to(len(larger), f"changed by {lost:.1e}")
            before, (space, (pi, info)) = pi, (larger, _solve(Generator.from_network(network, larger)))
            expansions += 1
            lost = float(np.abs(pi[: len(before)] - before).sum() + pi[len(before) :].sum())
            lost = max(lost, info["escaping"])  # a law that holds states with a one-way exit is none
            if lost <= tol:
                break
    _check_dead_ends(network, space, info["members"], info["dead_ends"])
    kept = pi > 0
    record_ = record(
        "stationary",
        network.name,
        started,
        {"tol": tol, "method": method, "max_states": max_states, "space": "given" if fixed else "adaptive"},
        method=info["method"],
        states=int(kept.sum()),
        expansions=expansions,
        outflow=float(info["leak"] @ pi),
    )
    found = space.states[kept]
    observables = {name: compiled.observable(name, found) for name in network.observables}
    error = np.array([info["correction"]])
    return Distribution(
        np.array([np.inf]), network.species_names, found, pi[kept][None], np.array([lost]), error, record_, observables
    )  # fmt: skip


def _grow(space: StateSpace, pi: np.ndarray, leak: np.ndarray) -> StateSpace | None:
    """A larger set, beyond the states with nearly all of the outflow; None if nothing flows out."""
    flux = leak * pi
    if not np.any(leak > 0):
        return None
    order = np.argsort(flux)
    sources = order[np.cumsum(flux[order]) > 1e-3 * flux.sum()] if flux.sum() > 0 else np.flatnonzero(leak > 0)
    larger = space.grow(sources[::-1] if space.compiled.network.varying else sources, size=int(GROWTH * len(space)) + 1)
    return larger if len(larger) > len(space) else None


def _on_given_states(generator: Generator, started: float, tol: float) -> Distribution:
    """The stationary law of a jump process on the states of its generator."""
    pi, info = _solve(generator)
    if info["correction"] > tol:
        raise ConvergenceError(f"the linear solver only comes within {info['correction']:.1e} of a stationary law; loosen tol={tol:g}")
    unknown = np.nan if np.any(generator.leak > 0) else 0.0
    record_ = record("stationary", "generator", started, {"tol": tol}, method=info["method"], states=len(generator))
    times, lost, error = np.array([np.inf]), np.array([unknown]), np.array([info["correction"]])
    widths = generator.widths
    return Distribution(times, generator.names, generator.states, pi[None], lost, error, record_, widths=widths, cells=widths)


def _solve(generator: Generator) -> tuple[np.ndarray, dict]:
    """The law on a set that is closed by dropping the jumps that leave it."""
    matrix = generator.sparse("the stationary law").copy()
    matrix.setdiag(matrix.diagonal() + generator.leak)
    members, dead_ends = _closed_class(matrix, generator)
    pi = np.zeros(len(generator))
    block = sp.csc_array(matrix[members][:, members])
    one_way = -np.asarray(block.sum(axis=0)).ravel()  # rates to kept states from which no way leads back
    block.setdiag(block.diagonal() + one_way)
    pi[members], method, correction = stationary_vector(block)
    escaping = float(pi[members][one_way > 1e-12 * generator.largest_rate].sum())
    found = {"method": method, "correction": correction, "leak": generator.leak, "escaping": escaping}
    return pi, found | {"members": members, "dead_ends": dead_ends}


def _closed_class(matrix: sp.csc_array, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    """The states of the one closed communicating class, and a state of each other class that only leads out of the set.

    `ModelError` if there are several closed classes.
    """
    n_classes, label = connected_components(matrix.T, directed=True, connection="strong")
    if n_classes == 1:
        return np.arange(len(generator)), np.zeros(0, dtype=np.int64)
    links = matrix.tocoo()
    ends = np.ones(n_classes, dtype=bool)  # no jump leads to another class in the set
    ends[label[links.col[(label[links.row] != label[links.col]) & (links.data > 0)]]] = False
    leaks = np.zeros(n_classes, dtype=bool)
    leaks[label[generator.leak > 0]] = True
    size = np.bincount(label)
    # At the rim of a truncated set there are dead ends from which the way back leads through states that are not kept.
    closed, open_ = np.flatnonzero(ends & ~leaks), np.flatnonzero(ends & leaks)
    if len(closed) > 1:
        raise _not_unique(generator.names, *(generator.states[np.argmax(label == c)] for c in closed[:2]))
    large = open_[size[open_] > 0.05 * len(generator)]
    chosen = closed[0] if len(closed) else large[np.argmax(size[large])] if len(large) else np.argmax(size)
    _, first = np.unique(label, return_index=True)
    return np.flatnonzero(label == chosen), first[open_[open_ != chosen]]


def _check_dead_ends(network: Network, space: StateSpace, members: np.ndarray, dead_ends: np.ndarray) -> None:
    """From every class that only leads out of the set there must be a way back to the law that was found."""
    home, budget = space.states[members[0]], max(4 * len(space), 20 * FIRST_SIZE)
    lost_ones = space.states[dead_ends]
    while len(lost_ones):
        larger = space.grow(space.index(lost_ones), size=2 * len(space))
        jumps = Generator.from_network(network, larger).sparse("the stationary law")
        back = breadth_first_order(jumps, int(larger.index(home)[0]), return_predecessors=False)  # against the jumps
        lost_ones = lost_ones[~np.isin(larger.index(lost_ones), back)]
        if len(lost_ones) and (len(larger) == len(space) or len(larger) > budget):
            raise _not_unique(network.species_names, home, lost_ones[0])
        space = larger


def _not_unique(names: tuple[str, ...], one: np.ndarray, other: np.ndarray) -> ModelError:
    return ModelError(
        f"the stationary law is not unique: {describe_state(names, one)} and {describe_state(names, other)} can both be reached, and "
        "no way was found from the second to the first; where it ends depends on chance and start: use fsp at a late time instead"
    )


def stationary_vector(matrix: sp.csc_array) -> tuple[np.ndarray, str, float]:
    """The null vector of an irreducible generator whose columns sum to zero.

    Returns
    -------
    pi : (N,)
        Non-negative, sums to one.
    method : str
    correction : float
        1-norm of the last iterative refinement; zero for elimination without subtraction.

    Raises
    ------
    ConvergenceError
        If the linear solver breaks down.
    """
    n_states = matrix.shape[0]
    if n_states == 1:
        return np.ones(1), "one state", 0.0
    order = reverse_cuthill_mckee(sp.csr_matrix(matrix), symmetric_mode=False)
    ordered = sp.csc_array(matrix)[order][:, order].tocoo()
    half = int(np.abs(ordered.row - ordered.col).max())
    pi = np.zeros(n_states)
    if half <= WIDEST_BAND:
        band = np.zeros((n_states, 2 * half + 1))
        band[ordered.col, half + ordered.row - ordered.col] = ordered.data
        inner = np.empty(n_states)
        if gth_banded(band, half, inner) != 0:
            raise ConvergenceError("the states do not communicate in double precision; the rates span too many orders of magnitude")
        pi[order] = inner
        return pi, "GTH elimination", 0.0
    return _delete_one_state(sp.csc_matrix(matrix))


def _delete_one_state(matrix: sp.csc_matrix) -> tuple[np.ndarray, str, float]:
    """Fix the probability of one state to one, solve for the others by sparse LU, normalise."""
    n_states = matrix.shape[0]
    fixed = _likely_state(matrix)
    for _ in range(4):
        others = np.delete(np.arange(n_states), fixed)
        block, right = matrix[others][:, others].tocsc(), -matrix[others][:, [fixed]].toarray().ravel()
        solve = splu(block, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve
        x = solve(right)
        correction = solve(right - block @ x)
        x = x + correction
        if np.all(np.isfinite(x)) and x.max() <= 1e6:  # the fixed state should not be much less probable than the others
            break
        fixed = int(others[np.nanargmax(x)])
    else:
        raise ConvergenceError("the sparse solver for the stationary law broke down; the rates span too many orders of magnitude")
    pi = np.insert(x, fixed, 1.0)
    below = -pi[pi < 0].sum()
    pi[pi < 0] = 0.0  # round-off in the far tails; its size goes into the reported correction
    total = pi.sum()
    correction = float((np.abs(correction).sum() + below) / total)
    if correction > 1e-3:
        raise ConvergenceError(
            f"the sparse solver for the stationary law lost its way (its last correction was {correction:.1e} of the whole); "
            "the rates span too many orders of magnitude"
        )
    return pi / total, "sparse LU, one state deleted", correction


def _likely_state(matrix: sp.csc_matrix) -> int:
    """A state that is not improbable: where a uniform start is after a long random time, 1e6 of the fastest jumps."""
    gamma = 1e6 / float(-matrix.diagonal().min())
    shifted = sp.csc_matrix(sp.eye_array(matrix.shape[0], format="csc") - gamma * matrix)
    solve = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve
    return int(np.argmax(solve(np.ones(matrix.shape[0]))))
