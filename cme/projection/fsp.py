"""Finite state projection: the master equation on a set of states that grows until what leaves it is less than `tol`, events included."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cme import ratelaw
from cme.abilities import features, require
from cme.arguments import check_choice, check_count, check_positive, check_times, record
from cme.clockwork import Clockwork, with_amounts_apart
from cme.compiled import Compiled
from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator
from cme.moving_rates import moves, standing_network
from cme.network import Network
from cme.pieces import Piece
from cme.progress import progress as progress_bar
from cme.projection import closed_forms
from cme.projection.bursts import with_bursts
from cme.projection.change_of_form import ChangeOfForm
from cme.projection.closed_forms import BOUND, ESTIMATE
from cme.projection.fast_pair import FastPair
from cme.projection.forecast import Forecast
from cme.projection.march import FIRST_SIZE, INTEGRATION, MOVING_FIRST_SIZE, March, MovingStepper, Output, Stepper, gather
from cme.projection.paired import NotOnModesError, Paired
from cme.projection.propagate import LEAST, METHODS, Integrator, Reach
from cme.projection.propagator import Magnus, evolve
from cme.projection.squaring import MOST_STATES
from cme.results import Distribution
from cme.states import StateSpace
from cme.times_ahead import times_in_piece

EVENT_DROP = 0.05  # of the tolerance of the time before an event, what may be dropped at it; see `march` for the rest
FAR = (
    "auto",
    "chebyshev",
    "rational_krylov",
    "contour",
)  # integrators for which states that are left fast, and hardly reached, cost little
FEW = 64  # states to begin with for the others
FIXED = 1e-11  # the integrator's tolerance on a given set, where `lost` is to be what has left it
LOOKS = 5  # times at which the quadrature error of a kernel that changes in time is looked at


def fsp(
    network: Network | Generator | TimeDependentGenerator,
    times,
    *,
    tol: float = 1e-6,
    method: str = "auto",
    initial=None,
    max_states: int | None = None,
    space: StateSpace | None = None,
    keep: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Distribution:
    r"""Solve the chemical master equation by finite state projection, with a certified error.

    .. math:: \frac{dp}{dt} = A_J(t)\, p, \qquad \| P(t) - p(t) \|_1 \le \mathrm{lost}(t) + \mathrm{integration\_error}(t)

    The states J are found on the way: where probability leaks out of the set faster than `tol` allows, the set grows in that direction
    and the step is done again; states that have become negligible are dropped and their mass is booked as lost. At the time of an event
    the probability of each state goes to the state that the event makes of it.

    Parameters
    ----------
    network
        S species with whole-number initial counts (or a distribution over such states). Propensities may depend on time, and on
        variables (or species under rate rules) whose course does not depend on counts; events may happen at times that are known in
        advance, and change counts. Or a `Generator` of any jump process, whose states are kept as they are; `initial` is then needed,
        and what leaks is reported as `lost`.
    times : (T,)
        Output times, in the model's unit. At the time of an event, the law is that after it.
    tol
        Largest error allowed at the last time, in the 1-norm over all states, everything included.
    method
        "projection": integrate on a set of states; "uniformisation", "chebyshev", "krylov", "rational_krylov", "contour", "squaring":
        with this one, which else is chosen from the matrix and the times, set by set (rates that move take Magnus steps).
        "monomolecular": Poisson and multinomial laws, where molecules come one by one, turn into one other, and vanish.
        "generating_function": where each molecule acts alone (a first-order network, such as a gene that makes mRNAs that make
        proteins), from the equations of single molecules. "fast_pair": projection in which the law along a fast reversible pair of
        reactions, such as 2 M <-> D, is a few modes instead of all states, as soon as it can be. "auto" takes monomolecular laws where
        they are cheaper, the generating function where some species are kept (then ``info["exact_by"]`` names it), else projection,
        whose error is certified, and which goes over to "fast_pair" where states are many and that is less work. What ran is in `info`.
    initial
        Another start: counts, or a `Distribution` (its last time; what it had lost counts as lost). For a `Generator`: one state, or
        probabilities (N,).
    max_states
        Give up when the set would be larger (a million by default); where a fast pair is followed, when its lines would be more.
    space
        A fixed set of states instead of an adaptive one; then `lost` may exceed `tol`, and is reported as it is.
    keep
        Species whose joint law is wanted; the others are summed over. In a first-order network that costs as much as these have states.
    progress
        Show a progress bar, with the states in use and, where it can be foreseen, how many there will be; None means in a terminal or a
        notebook.

    Returns
    -------
    Distribution
        p (T, N) on all states used at the output times, `lost` (T,) and `integration_error` (T,), which holds (beside `tol`) what the
        quadrature of a jump kernel may add. Rules are observables, (T, N) where
        they move with time; variables that move with time are `variables`, (T,).

    Raises
    ------
    ConvergenceError
        If `tol` can't be reached with `max_states`, or lies below round-off. Where the law looks Gaussian it is foreseen how many states
        it will spread over, and the message comes early.
    ModelError
        If a propensity is negative or undefined in a state that can be reached, an event leaves a count that is no whole number, or the
        network is more than a Markov chain on counts: the message names what, and the solvers that can.

    Notes
    -----
    For every state, p - integration_error <= P <= p + lost + integration_error, where P is the exact solution. The bound on the
    integrator is rigorous; round-off is estimated (see `cme.projection.propagate`). Cost: about sqrt(q t) products with the generator, q
    being the largest total propensity, or a few sparse factorisations where that is less; with one species of many molecules, an
    elimination along it for each of some eighty complex numbers, however long the time.

    A fast reversible pair makes q large, and spreads the law over many states that soon are near the pair's equilibrium. There a dozen
    modes along the pair serve instead of these, and the rates of the modes instead of q. What the other reactions bring to modes that
    are not kept is bounded by its 1-norm, and in `integration_error`.

    Where a reaction draws numbers of molecules, every state that it may lead to has its rate. Binomial laws are taken whole, geometric and
    Poisson laws but for less than 1e-17 of them, and all that leads out of J is in `lost`. Such a generator is dense: a burst from any of
    N states leads to any larger one. Large geometric bursts whose mean does not depend on counts are not written out but passed on from
    state to state, so that a product costs O(N).

    Between timed events and switches of the rates (piecewise in time) that are constant in between, all of this holds for each piece,
    and errors add up. Where rates move, commutator-free Magnus steps of fourth order take about four times as many products, and
    `integration_error` is an estimate by step doubling: `info` says which. The course of variables under rate rules is known to a
    relative 1e-11, which no error includes. Where chance decides about the order of events, the law is the mean over all orders. What an
    event sets a species to becomes the whole number that it is within a relative 1e-9 (at most 0.1), else it is refused.

    References
    ----------
    B. Munsky and M. Khammash, J. Chem. Phys. 124, 044104 (2006), doi:10.1063/1.2145882. S. Blanes and P. C. Moan, Appl. Numer. Math. 56,
    1519 (2006), doi:10.1016/j.apnum.2005.11.004.

    Examples
    --------
    >>> import cme, math
    >>> p = cme.fsp(cme.parse("0 -> X @ 2; X -> 0 @ 1"), [1.0], tol=1e-9)
    >>> mean = 2 * (1 - math.exp(-1))  # Poisson with this mean
    >>> bool(abs(p["X"][0, 0] - math.exp(-mean)) < 1e-9)
    True
    >>> emptied = cme.fsp(cme.parse("0 -> X @ 2; X -> 0 @ 1; purge: at time >= 3: X = 0"), [3.0, 4.0], tol=1e-9)
    >>> bool(abs(emptied["X"][1, 0] - p["X"][0, 0]) < 1e-9)  # one time unit after the event, as after the start
    True
    """
    started = time.perf_counter()
    times = check_times(times)
    tol = check_positive("tol", tol)
    if tol < 1e-12:
        raise ConvergenceError(f"tol={tol:g} lies below what double precision can certify; ask for 1e-12 or more")
    require(network, "fsp")
    check_choice("method", method, (*closed_forms.TRANSIENT_METHODS, *METHODS, Paired.method))
    if method in (*closed_forms.TRANSIENT, Paired.method) and (not isinstance(network, Network) or space is not None):
        raise ValueError(f"method={method!r} takes a network and finds its own states; leave out space, or use method='projection'")
    if not isinstance(network, Network):
        if keep is not None:
            raise ValueError("a generator has no species to sum over; leave out keep")
        if space is not None or max_states is not None:
            raise ValueError("a generator has its states already; leave out space and max_states")
        return _on_given_states(network, times, tol, method, initial, started, progress)
    max_states = 1_000_000 if max_states is None else check_count("max_states", max_states)
    keep = closed_forms.check_keep(network, keep)
    closed = closed_forms.Answer()
    if space is None:
        closed = closed_forms.transient_law(network, times, method, tol, initial, max_states, keep, started)
        if closed.law is not None:
            return closed.law
    if initial is not None and not isinstance(initial, Distribution):
        network, initial = network.with_initial(initial), None
    network = with_amounts_apart(network)
    states, weights = _counts(network).start(initial)
    lack, excess = initial.lack_and_excess if isinstance(initial, Distribution) else (0.0, 0.0)
    if lack + excess > 0.5 * tol and space is None:
        raise ConvergenceError(
            f"the initial distribution has already lost {lack + excess:.1e}; give it with a smaller tol, or raise tol={tol:g}"
        )
    if space is not None and space.compiled.network.species_names != network.species_names:
        raise ValueError(f"the state space is over {space.compiled.network.species_names}, the network over {network.species_names}")
    if space is not None and np.any(space.index(states) < 0):
        raise ValueError("the given state space does not hold the initial state")
    run = _Run(network, times, tol, method, max_states, space)
    with closed.beside(), progress_bar("fsp", float(times[-1]), progress) as bar:
        for now in run.through_time(states, weights):
            bar.to(now, run.note())
    found, p_out = gather(run.outputs)
    errors = np.maximum(2 * np.array([output.error for output in run.outputs]), np.where(times > 0, LEAST * weights.sum(), 0.0)) + excess
    lost = np.maximum(0.0, weights.sum() - p_out.sum(axis=1)) + lack  # round-off may leave a sum above one by 1e-16
    info = record(
        "fsp",
        network.name,
        started,
        {"tol": tol, "method": method, "max_states": max_states, "space": "given" if space is not None else "adaptive"},
        method=", ".join(run.methods) or "none",
        integration_error=ESTIMATE if Magnus.method in run.methods else BOUND,
        states=len(found),
        states_in_use=run.states_in_use,
        expansions=run.expansions,
        dropped=run.dropped,
        **run.found_out(),
    )
    observables, variables = run.observables(found), run.variables()
    law = Distribution(times, network.species_names, found, p_out, lost, errors, info, observables, variables=variables)
    return law if keep is None else closed_forms.only(law, network, keep)


def _counts(network: Network) -> Compiled:
    """The species alone, to say where they start."""
    return Compiled(replace(network, reactions=(), rules=(), rate_rules=(), events=()))


def _integrator(method: str) -> str:
    return method if method in METHODS or method == Paired.method else "auto"


class _Run:
    """One march after the other: through each piece of time between timed events and switches of the rates, and the events."""

    def __init__(self, network: Network, times: np.ndarray, tol: float, method: str, max_states: int, space: StateSpace | None):
        self.network, self.times, self.tol, self.given = network, times, tol, space
        self.max_states, self.advice, self.method = max_states, f"raise max_states (now {max_states})", _integrator(method)
        if method == "squaring" and max_states > MOST_STATES:
            self.max_states, self.advice = MOST_STATES, f'leave out method="squaring", which takes at most {MOST_STATES}'
        self.horizon = float(times[-1])
        self.clockwork = Clockwork(network, self.horizon)
        self.outputs: list[Output] = []
        self.methods: list[str] = []
        self.error, self.dropped, self.expansions, self.states_in_use = 0.0, 0.0, 0, 0
        self.forecast: Forecast | None = None
        self.fast_pair: str | None = None
        self.counted = "states"

    def through_time(self, states: np.ndarray, p: np.ndarray) -> Iterator[float]:
        """Advance to the last time, keeping the outputs; yields the time reached."""
        states, p = self.clockwork.push(self.clockwork.first, states, p)
        space = self.given
        for piece in self.clockwork.pieces:
            standing = standing_network(self.network, piece)
            if space is not None and states is space.states:
                space = space.under(standing)
            elif self.given is not None:
                space = self.given.under(standing)
                p = _placed(space, states, p)
            else:
                space = StateSpace.holding(standing, states)
            moving = moves(self.network, piece)
            if moving and self.method != "auto":
                raise ValueError(
                    f'method="{self.method}" is for constant rates, and those of {self.network.name!r} move with time; leave it out'
                )
            size = min(self.max_states, MOVING_FIRST_SIZE if moving else FIRST_SIZE if self.method in FAR else FEW)
            start = space if self.given is not None else space.grow(np.arange(len(space)), size=size)
            while self.given is None and len(start) > self.max_states and size > len(space):  # the last layer was too large
                size //= 2
                start = space.grow(np.arange(len(space)), size=size)
            duration = piece.end - piece.start
            ages = np.clip(self.times[len(self.outputs) :] - piece.start, 0.0, duration)[: self._n_before(piece.limit)]
            tol = self.tol * (0.1 / len(self.clockwork.pieces) + 0.9 * duration / self.horizon)
            run = self._march(start, standing, piece, tol, moving)
            found = dict[float, Output]()
            for now in self._legs(run, np.append(p, np.zeros(len(start) - len(p))), np.unique(np.append(ages, duration)), standing, found):
                yield piece.start + now
            self.outputs += [found[age] for age in ages.tolist()]
            if len(self.outputs) == len(self.times):
                return
            last, space = found[duration], run.space
            states, p = self.clockwork.push(piece.instant, last.states, last.p)
            if states is not last.states and self.given is None:
                states, p = self._without_the_negligible(states, p, tol)
        if len(self.outputs) < len(self.times):
            if self.given is not None:
                states, p = self.given.states, _placed(self.given, states, p)
            self.outputs.append(Output(states, p, self.error))

    def _legs(self, run: March, p: np.ndarray, times: np.ndarray, network: Network, found: dict[float, Output]) -> Iterator[float]:
        """March to the last time, in another form from where on that pays; yields the time reached, and puts what it finds into `found`."""
        may_change = self.method in ("auto", Paired.method) and self.given is None and run.stepper.many_times
        change = ChangeOfForm(network, self.method == Paired.method) if may_change else None
        begun, following = 0.0, None
        while True:
            left = np.array([age for age in times.tolist() if age not in found])
            ages = np.maximum(left - begun, 0.0)
            try:
                for now in run.run(p, ages):
                    self.states_in_use = len(run.space)
                    yield begun + now
                    if change is not None and now < ages[-1] and (following := change.look(run)) is not None:
                        break
            except NotOnModesError:
                assert change is not None
                following = change.undo(run)
            found |= {
                age: self._later(run.outputs[after])
                for age, after in zip(left.tolist(), ages.tolist(), strict=True)
                if after in run.outputs
            }
            self._book(run)
            if following is None:
                return
            begun, (run, p), following = begun + run.now, following, None
            self.counted = "lines" if isinstance(run.form, FastPair) else "states"

    def _march(self, space: StateSpace, standing: Network, piece: Piece, tol: float, moving: bool) -> March:
        """The march through one piece, with its share of the tolerance."""
        duration = piece.end - piece.start
        reach = Reach()
        integrator = "auto" if self.method == Paired.method else self.method
        ends = tuple(times_in_piece(self.network, piece).tolist()) if moving else ()

        def certified(space: StateSpace) -> Stepper:
            digits = None if self.given is None else FIXED
            generator = with_bursts(standing, space) if integrator in FAR else None
            generator = Generator.from_network(standing, space) if generator is None else generator
            return Integrator(generator, duration, INTEGRATION * tol / 2, integrator, digits, reach)

        def estimated(space: StateSpace) -> Stepper:
            generator = TimeDependentGenerator.in_piece(self.network, piece, space, ends)
            return MovingStepper(generator, piece.start, piece.end, self.horizon, INTEGRATION * tol / 2)

        foreseen = not moving and self.given is None and not standing.varying
        self.forecast = Forecast(standing, piece.start, duration, tol, self.max_states) if foreseen else None
        most = self.max_states, self.advice
        return March(space, estimated if moving else certified, tol, duration, most, self.given is not None, self.forecast)

    def _n_before(self, limit: float) -> int:
        """How many of the outputs that are still wanted lie before a time."""
        return int(np.searchsorted(self.times, limit)) - len(self.outputs)

    def _without_the_negligible(self, states: np.ndarray, p: np.ndarray, tol: float) -> tuple[np.ndarray, np.ndarray]:
        """Drop what an event has moved and is not worth following; its mass is booked."""
        order = np.argsort(p)
        n_negligible = int(np.searchsorted(np.cumsum(p[order]), EVENT_DROP * tol))
        self.dropped += float(p[order[:n_negligible]].sum())
        kept = np.sort(order[n_negligible:])
        return states[kept], p[kept]

    def _later(self, output: Output) -> Output:
        """An output of a march, with the error made before it."""
        return Output(output.states, output.p, self.error + output.error)

    def _book(self, run: March) -> None:
        self.error += run.error
        self.dropped += run.dropped
        self.expansions += run.expansions
        if run.method == Paired.method:
            self.fast_pair = str(run.form)
        self.methods += [run.method] if run.method not in (*self.methods, "none") else []

    # ------------------------------------------------------------------------------------------------ what is known

    def note(self) -> str:
        """How many states there are (or lines of a fast pair), and will be, where that is foreseen."""
        foreseen = self.forecast.foreseen if self.forecast is not None and self.counted == "states" else ""
        return f"{self.states_in_use} {self.counted}" + (f", {foreseen}" if foreseen else "")

    def found_out(self) -> dict[str, int | str]:
        """Which pair of reactions was followed by its modes, and how often something happened in time."""
        found: dict[str, int | str] = {} if self.fast_pair is None else {"fast_pair": self.fast_pair}
        if features(self.network):
            found |= {"pieces": len(self.clockwork.pieces), "executed_events": self.clockwork.executions}
        return found

    def variables(self) -> dict[str, np.ndarray]:
        """The variables whose course does not depend on counts, (T,)."""
        known = self.clockwork.at(self.times)
        return {name: known[name] for name in self.clockwork.names}

    def observables(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """The rules in every state, (N,); those that move with time at every time, (T, N)."""
        values = {name: states[:, s].astype(np.float64) for s, name in enumerate(self.network.species_names)}
        clocks = {name: row[:, None] for name, row in self.clockwork.at(self.times).items()}
        found = {}
        for rule in self.network.rules:
            formula = self.network.resolve(rule.formula)
            in_time = not ratelaw.names(formula).isdisjoint(clocks)
            shape = (len(self.times), len(states)) if in_time else (len(states),)
            found[rule.name] = np.broadcast_to(ratelaw.evaluate(formula, clocks | values), shape)
        return found


def _placed(space: StateSpace, states: np.ndarray, p: np.ndarray) -> np.ndarray:
    """A law on the states of a space; what lies on others is left out, and counts as lost."""
    where = space.index(states)
    placed = np.zeros(len(space))
    np.add.at(placed, where[where >= 0], p[where >= 0])
    return placed


def _on_given_states(
    generator: Generator | TimeDependentGenerator, times: np.ndarray, tol: float, method: str, initial, started: float, show: bool | None
) -> Distribution:
    """The law of a jump process on the states of its generator."""
    if initial is None:
        raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
    start, (lack, excess) = generator.start(initial), initial.lack_and_excess if isinstance(initial, Distribution) else (0.0, 0.0)
    with progress_bar("fsp", float(times[-1]), show) as bar:
        run = evolve(generator, start, times, tol=tol / 2, method=_integrator(method), progress=bar)
    steady = isinstance(generator, Generator)
    seen = [generator] if isinstance(generator, Generator) else [generator.at(now) for now in np.linspace(0.0, times[-1], LOOKS).tolist()]
    # A rate that is off is off in what comes in and in what goes out; a kernel that changes in time is looked at a few times.
    quadrature = max((float(each.quadrature_error.max()) for each in seen if each.quadrature_error is not None), default=0.0)
    error, first = 2 * run.integration_error + 2 * times * quadrature + excess, seen[0]
    found = {"integration_error": BOUND if steady and not quadrature else ESTIMATE, "quadrature_error": quadrature}
    info = record("fsp", "generator", started, {"tol": tol}, method=run.method, states=len(first), **found)
    lost = run.lost + lack
    return Distribution(times, first.names, first.states, run.p, lost, error, info, widths=first.widths, cells=first.widths)
