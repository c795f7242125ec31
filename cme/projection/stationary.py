"""The stationary law of the master equation: A pi = 0, on a set of states that grows until what it misses is small."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cme.abilities import require
from cme.arguments import check_choice, check_count, check_positive, record
from cme.compiled import Compiled
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.network import Network
from cme.progress import progress as progress_bar
from cme.projection import closed_forms
from cme.projection.adapted_set import adapted_law
from cme.projection.certificate import certify
from cme.projection.closed_class import check_dead_ends
from cme.projection.closed_law import SOLVERS, ClosedLaw
from cme.projection.drift import NoDriftError
from cme.projection.levels import METHOD
from cme.results import Distribution
from cme.states import StateSpace

AT_ONCE = 1_500_000  # states from which on the factors of a sparse matrix take too much memory
SOONER = 150_000  # and from which on they take longer, on a lattice
ROUND_OFF = 1e-8  # of large sets, by a bound that is far from what it is: no smaller `tol` is refused for it


def stationary(
    network: Network | Generator,
    *,
    tol: float = 1e-6,
    method: str = "auto",
    initial=None,
    max_states: int | None = None,
    space: StateSpace | None = None,
    keep: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Distribution:
    r"""Solve for the stationary law of the chemical master equation.

    .. math:: A\,\pi = 0, \qquad \sum_n \pi_n = 1

    Where the reachable states are finite in number, the law is exact to round-off (`lost` is 0). Otherwise it is solved on a set of
    states that grows where probability flows out and drops what matters little, until what it misses is at most `tol`:

    .. math:: \|\pi - p\|_1 \le \mathrm{lost}, \qquad \mathrm{floor}_n \le \pi_n \le \mathrm{floor}_n + 1 - \sum \mathrm{floor}

    This is a theorem where ``info["certificate"]`` begins with "certified": then a function of the counts is known that falls on average
    outside the set, so that the way back is short; `Distribution.bounds` gives both bounds of every marginal probability. Where no such
    function is found it says "estimate" and why, and `lost` is how much the law changed when the set last grew by two fifths. With many
    species most states are at the rim of a set, and a proof may take many times more of them than the law: then it says "not certified",
    the set follows the flow of probability, and `lost` is estimated from the last change and from how much less flows out since. Where
    paths end in states that none leaves, as by extinction, and it is not proved that all do, the law is that of the paths that do, and
    `lost` bounds the distance from it to where the paths of this start really are in the end.

    Parameters
    ----------
    network
        The initial counts select the conservation class (and nothing else). Or a `Generator` of any jump process, whose states are
        kept as they are (closed by dropping what leaks, if it leaks).
    tol
        Largest error of the law allowed, in the 1-norm, beside round-off below 1e-8 (which is in `integration_error`).
    method
        "projection": linear algebra on a set of states. "product_form": the product of Poisson laws of a complex-balanced network, such as
        any weakly reversible mass-action network of deficiency 0. "one_step": the product of ratios of neighbouring propensities of a
        birth-death chain. "generating_function": where each molecule acts alone (a first-order network, such as a gene that makes mRNAs
        that make proteins), from the equations of single molecules; right in absolute terms, by an estimate, which is why "auto" takes it
        only where some species are kept. "auto" takes a closed form where there is one (then ``info["exact_by"]`` names it), else
        projection. Projection chooses a solver for each set of states, which can be asked for instead: "elimination" (without subtraction;
        best for nearly one-dimensional sets, and right in relative terms), "lu" (sparse, one state taken out; best for two and three
        dimensions; without subtraction too where its residual does not prove it right), "sweeps" (Gauss-Seidel and blocks; best from four
        dimensions on) and "levels" (aggregation; least memory for millions of given states, without bounds, tails right in relative
        terms). ``info["method"]`` says which it was.
    initial
        Another start than the network's own.
    max_states
        Give up when the set would be larger (a million by default).
    space
        A fixed set of states. Jumps that leave it are dropped; or, where `lost` is a bound, "lu" and "sweeps" may lead them to one of its
        states instead, so that laws of two solvers differ, each by no more than its own `lost`. That is nan where nothing is known of the
        rest.
    keep
        Species whose joint law is wanted; the others are summed over. In a first-order network that costs as much as these have states.
    progress
        Show a progress bar; None means in a terminal or a notebook.

    Returns
    -------
    Distribution
        One time, infinity. `integration_error` bounds what the linear solver adds in the 1-norm, from its residual or its number of
        roundings; of sweeps and levels that are not certified it is the last correction, an estimate.

    Raises
    ------
    ModelError
        If the law is not unique: the message names two closed classes of states.
    ConvergenceError
        If the law still changes at `max_states` (it may not exist: the counts may grow without bound).

    Notes
    -----
    The function that falls is a linear or quadratic form in the counts, found by linear programming or from the Lyapunov equation of the
    law, and proved by bounding the rate laws by polynomials: mass action, and laws that are bounded or ratios of polynomials
    (Hill, Michaelis-Menten). It also proves that the law exists and is the only one, and that no mode is missed. An estimate is none of
    this: a further mode behind a barrier that the smaller set does not reach is not seen.

    For nearly one-dimensional sets the law is found by Grassmann-Taksar-Heyman elimination, and every probability is right in relative
    terms, however small; otherwise by a sparse LU with one state taken out, or, where its residual does not prove that it is right to nine
    digits, as with states that hardly communicate, by sparse elimination without subtraction. Where factors would hold too many numbers, as
    in four dimensions and more, sweeps and aggregation take its place. Given states (a space or a generator) that are more than 1.5
    million, or 150 000 on the lattice of a generator, are solved level by level, in 400 bytes for each, without bounds.

    In closed form, `lost` is a bound: what lies outside the states that are given. `integration_error` is an estimate of round-off. Laws
    of one count come with their tails, down to 1e-280.

    References
    ----------
    W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107 (1985), doi:10.1287/opre.33.5.1107.
    P.-J. Courtois, P. Semal, J. ACM 31, 804 (1984), doi:10.1145/1634.1637.
    T. Dayar, H. Hermanns, D. Spieler, V. Wolf, Numer. Linear Algebra Appl. 18, 931 (2011), doi:10.1002/nla.795.
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
    check_choice("method", method, (*closed_forms.STATIONARY_METHODS, *SOLVERS))
    solver = method if method in SOLVERS else "auto"
    if method in closed_forms.STATIONARY and (isinstance(network, Generator) or space is not None):
        raise ValueError(f"method={method!r} takes a network and finds its own states; leave out space, or use method='projection'")
    if method == "levels" and space is None and not isinstance(network, Generator):
        raise ValueError("method='levels' takes given states and finds none itself; give space=, or use method='projection'")
    if isinstance(network, Generator):
        if keep is not None:
            raise ValueError("a generator has no species to sum over; leave out keep")
        if space is not None or max_states is not None or initial is not None:
            raise ValueError("a generator has its states already; leave out initial, space and max_states")
        return _on_given_states(network, started, tol, solver)
    if space is not None and max_states is not None:
        raise ValueError("a given space is kept as it is; leave out max_states")
    max_states = 1_000_000 if max_states is None else check_count("max_states", max_states)
    keep = closed_forms.check_keep(network, keep)
    closed = closed_forms.Answer()
    if space is None:
        closed = closed_forms.stationary_law(network, method, tol, initial, max_states, keep, started)
        if closed.law is not None:
            return closed.law
    fixed = space is not None
    with closed.beside(), progress_bar("stationary", max_states, progress) as bar:
        if space is not None:
            space, law = _fixed_set(network, space, solver)
        else:
            space, law = adapted_law(network, initial, tol, max_states, solver, bar)
    _check_solved(law, tol)
    kept = law.pi > 0
    found = space.states[law.members[kept]]
    record_ = record(
        "stationary",
        network.name,
        started,
        {"tol": tol, "method": method, "max_states": max_states, "space": "given" if fixed else "adaptive"},
        method=law.method,
        states=len(found),
        expansions=law.expansions,
        outflow=law.outflow,
        certificate=law.certificate,
    )
    compiled = Compiled(network)
    observables = {name: compiled.observable(name, found) for name in network.observables}
    lost, error = np.array([max(law.lost, 0.0)]), np.array([law.inaccuracy])  # round-off may leave it below zero
    floor = None if law.floor is None else law.floor[None, kept]
    times, names = np.array([np.inf]), network.species_names
    whole = Distribution(times, names, found, law.pi[None, kept], lost, error, record_, observables, floor=floor)
    return whole if keep is None else closed_forms.only(whole, network, keep)


def _fixed_set(network: Network, space: StateSpace, solver: str) -> tuple[StateSpace, ClosedLaw]:
    """The law on given states; certified if the drift outside of them is known."""
    if not len(space):
        raise ValueError("the given state space holds no states; give one that holds at least one")
    space = space.under(network)
    generator = Generator.from_network(network, space)
    law = ClosedLaw.on(generator, at_once=AT_ONCE, solver=solver)
    if law.method == METHOD:
        why = f"{len(space)} states are solved level by level, which gives no bounds"
    elif np.any(law.leak > 0):
        try:
            return space, certify(space, law)
        except NoDriftError as reason:
            why = str(reason.args[0])
            # Leading the leaks to one state is for bounds. Where there are none, a law that nothing leaves is nearer to the one sought.
            law = ClosedLaw.on(generator, solver=solver, reflecting=True)
    else:
        why = "nothing is known of states that are not among the given ones"
    check_dead_ends(network, space, space.states[law.home], law.dead_ends)
    return space, replace(law, certificate=f"estimate: {why}")


def _on_given_states(generator: Generator, started: float, tol: float, solver: str) -> Distribution:
    """The stationary law of a jump process on the states of its generator."""
    lattice = np.issubdtype(generator.states.dtype, np.integer) and generator.states.shape[1] > 1
    law = ClosedLaw.on(generator, at_once=SOONER if lattice else AT_ONCE, solver=solver, reflecting=True)
    _check_solved(law, tol)
    unknown = np.nan if np.any(generator.leak > 0) else 0.0
    record_ = record("stationary", "generator", started, {"tol": tol}, method=law.method, states=len(generator))
    pi = np.zeros(len(generator))
    pi[law.members] = law.pi
    times, lost, error = np.array([np.inf]), np.array([unknown]), np.array([law.inaccuracy])
    widths = generator.widths
    return Distribution(times, generator.names, generator.states, pi[None], lost, error, record_, widths=widths, cells=widths)


def _check_solved(law: ClosedLaw, tol: float) -> None:
    if law.inaccuracy > max(tol, ROUND_OFF):
        raise ConvergenceError(f"the linear solver only comes within {law.inaccuracy:.1e} of a stationary law; loosen tol={tol:g}")
