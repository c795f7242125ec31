"""The deterministic equations of a network with events, rate rules, time and all else, between jumps and across them."""

from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import BDF, LSODA, Radau

from cme.continuum.crossing import Curve, Watch
from cme.errors import ConvergenceError, ModelError, describe_state, event_error
from cme.hybrid import Hybrid, jumps_in
from cme.infix import shorten, to_infix
from cme.kernels.events import CULPRIT, OK, UNSETTLED, begin, new_agenda, next_planned, settle
from cme.kernels.flow import velocity
from cme.kernels.random import JUMPS, open_stream
from cme.network import Network
from cme.ratelaw import TIME, Apply, Expr, Number, names
from cme.resolved_times import legs
from cme.times_ahead import times_ahead

INTEGRATORS: dict[str, Any] = {"LSODA": LSODA, "BDF": BDF, "Radau": Radau}
KEY = np.zeros(2, dtype=np.uint64)  # of the stream that decides between executions of equal priority: always the same
NEAR = 1e-11  # times that differ by less, relatively, are the same: sums of times are rounded, and so are integrated ramps
CROWD = 200  # so many jumps within a
MOMENT = 1e-9  # of the time asked for are too many
RETRIES = 30  # with a tenth of the step, after a derivative that was no number
LOOKS = 32  # where rates move with time, no step is longer than such a part of it
STILL = 100  # steps that do not get on
_WHEN_EQUAL = {"<": 0.0, "<=": 1.0, ">": 0.0, ">=": 1.0, "==": 1.0, "!=": 0.0}  # comparisons of equal sides


class Course(NamedTuple):
    """What the deterministic equations give."""

    states: np.ndarray  # (T, S + V) at the times asked for, after the events of that time
    executed: int  # how many events were carried out
    restarts: int  # how often the integrator began anew


def follow(network: Network, start: np.ndarray, times: np.ndarray, *, method: str, rtol: float, atol: float) -> Course:
    r"""Solve the deterministic equations of any network.

    .. math:: dy/dt = \sum_r f_r(y, t) S_r(y, t) + g(y, t) \quad \text{between jumps}

    Parameters
    ----------
    network
        Any, without random draws.
    start : (S,)
        Amounts at time 0; the variables start as the network says.
    times : (T,)
        Finite, increasing.
    method, rtol, atol
        See `rate_equations`.

    Notes
    -----
    The integrator never crosses a jump whose time is known beforehand (a delayed event, a condition on the time and on what stands
    still), however short what lies between two of them. All other conditions are looked for on the integrator's interpolant after
    each step, and the first that changes is located to the last bit. It begins anew wherever something jumped.
    """
    return _Run(network, start, times, method, rtol, atol).to_the_end()


class _Run:
    """One solution on its way. `y` holds the coordinates, the time, and slots for random numbers, as in `Hybrid`."""

    def __init__(self, network: Network, start: np.ndarray, times: np.ndarray, method: str, rtol: float, atol: float):
        self.model = Hybrid(network)
        self.machine, self.n = self.model.machine, self.model.clock
        self.agenda = new_agenda(self.machine)
        self.y = np.zeros(self.machine.size)
        self.y[: self.n] = [*start, *self.model.start[len(start) :]]
        self.times, self.sampled = times, 0
        self.states = np.empty((len(times), self.n))
        self.integrator, self.tolerances = INTEGRATORS[method], {"rtol": rtol, "atol": atol}
        self.trial, self.stack, self.derivative = self.y.copy(), np.empty(self.machine.stack_size), np.empty(self.n)
        self.restarts, self.recent = 0, [-np.inf] * CROWD
        self._sort_switches()

    def _sort_switches(self) -> None:
        """Which conditions depend on the time and on what stands still between events, and which of the others bend the curve?"""
        model = self.model
        self.moving = np.unique(np.concatenate(self.machine.changing))
        flowing = {model.coordinates[i] for i in self.moving}
        by_flow = [not flowing.isdisjoint(names(formula)) for formula in model.switch_formulas]
        constant = [not by and TIME not in names(formula) for by, formula in zip(by_flow, model.switch_formulas, strict=True)]
        timed = [i for i, by in enumerate(by_flow) if not by and not constant[i]]
        self.timed = Watch(model, timed, None)
        self.watched = Watch(model, [i for i, by in enumerate(by_flow) if by], 3)
        changes = (n for row in model.change_formulas for _, n in row)
        formulas = (*model.rate_formulas, *changes, *(formula for _, formula in model.flow_formulas))
        bending = jumps_in(formulas)
        in_time = bool(model.flow_formulas) or any(TIME in names(formula) for formula in formulas)  # a rate rule may be a clock
        self.longest = float(self.times[-1]) / LOOKS if in_time else np.inf
        ends = times_ahead(model.network, formulas, float(self.times[-1]))  # no pulse falls between two steps
        self.legs = list(legs(ends, 0.0, float(self.times[-1]), self.longest))
        self.leg_ends = np.array([leg.end for leg in self.legs[:-1]])
        self.bends = np.array([formula in bending for formula in self.watched.formulas], dtype=bool)

    # ------------------------------------------------------------------------------------------------ from jump to jump

    def to_the_end(self) -> Course:
        open_stream(KEY, JUMPS, 0, self.agenda.random)
        self._carry_out(begin)
        while self.sampled < len(self.times):
            self._smooth_piece()
        return Course(self.states, int(self.agenda.executed.sum()), self.restarts)

    @property
    def now(self) -> float:
        return float(self.y[self.n])

    def _smooth_piece(self) -> None:
        """Go on to the next jump, or to the last time asked for."""
        self._count_restart()
        stop = min(next_planned(self.agenda), float(self.times[-1]))
        now = self.timed.look(self.y[: self.n], self.now)
        change = self.timed.first_change(self._standing(), self.now, stop, now)
        if change is None:
            until, limit = stop, stop - NEAR * stop
        else:  # end at the last number before it, where the right-hand side has not yet jumped
            until, limit = float(np.nextafter(change, -np.inf)), self._limit(self.timed, now, self.y[: self.n], change, stop)
            stop = change
        if not self._integrate(until, stop, limit):
            self._sample(self._standing(), limit)
            self.y[self.n] = stop
            self._carry_out(settle)

    def _limit(self, watch: Watch, old: np.ndarray, state: np.ndarray, change: float, due: float) -> float:
        """Up to which output time does what holds before a change count? To that of the change itself if there nothing has changed yet."""
        new = watch.look(state, change)
        self._refuse_instants(watch, old, new, state, change)
        at_once = any(_holds_on_the_edge(*each) for each in zip(watch.formulas, old, new, strict=True))
        return change - NEAR * change if at_once or due - change <= NEAR * due else change + NEAR * change

    def _standing(self) -> Curve:
        state = self.y[: self.n].copy()
        return lambda times: np.broadcast_to(state, (len(times), self.n))

    def _carry_out(self, action) -> bool:
        """Let the events happen that are due; did anything jump? Then the state counts as that of this time."""
        before = self.y[: self.n].copy()
        status = action(self.machine, self.y, self.agenda)
        if status != OK:
            culprit = int(self.agenda.marks[CULPRIT]) if status != UNSETTLED else int(np.argmax(self.agenda.executed))
            raise event_error(status, self.model.network.events[culprit].name, self.now)
        self._sample(self._standing(), np.nextafter(self.now, np.inf))
        return not np.array_equal(before, self.y[: self.n], equal_nan=True)

    def _sample(self, curve: Curve, before: float) -> None:
        """Keep the states at the times asked for that lie before the given one and have not been kept."""
        end = int(np.searchsorted(self.times, before, side="left"))
        if end > self.sampled:
            self.states[self.sampled : end] = curve(self.times[self.sampled : end])
            self.sampled = end

    def _count_restart(self) -> None:
        self.restarts += 1
        first = self.recent[self.restarts % CROWD]
        self.recent[self.restarts % CROWD] = self.now
        if self.now - first < MOMENT * self.times[-1]:
            raise ConvergenceError(
                f"rate_equations met {CROWD} jumps of events or rates between t={first:.17g} and t={self.now:.17g}, in state "
                f"{self._described()}; a law or an event switches to and fro there: end before, or smooth it"
            )

    # ----------------------------------------------------------------------------------------------------- integration

    def _integrate(self, until: float, stop: float, limit: float) -> bool:
        """Integrate to the time `until`; True if a condition changed before, and something jumped or bends there."""
        active = self.moving[np.isfinite(self.y[self.moving])]  # what has no value has none until an event sets it
        tries, longest = 0, self.longest
        while self.now < until:
            leg = int(np.searchsorted(self.leg_ends, self.now * (1 + 1e-14), side="right"))
            end = min([until, *self.leg_ends[leg : leg + 1].tolist()])
            try:
                if not len(active) or until - self.now <= 1e-14 * until:  # nothing moves, or less than an integrator can do
                    return self._accept(self._straight_on(active), until, stop, limit)
                if self._steps(active, end, stop, limit, min(longest, self.legs[leg].longest)):
                    return True
            except _Undefined as problem:  # perhaps a trial that went too far
                tries, longest = tries + 1, min(longest, until - self.now) / 10
                if tries > RETRIES or self.now == problem.time:
                    raise self._undefined(problem) from None
        return False

    def _straight_on(self, active: np.ndarray) -> Curve:
        start, slope, here = self.y[: self.n].copy(), np.zeros(self.n), self.now
        slope[active] = self._right_hand_side(here, start[active], active)
        return lambda times: start + np.subtract(times, here)[:, None] * slope

    def _steps(self, active: np.ndarray, until: float, stop: float, limit: float, longest: float) -> bool:
        start = self.y[: self.n].copy()

        def derivative(time, moving):
            return self._right_hand_side(time, moving, active)

        with np.errstate(over="ignore", invalid="ignore"):
            solver = self.integrator(derivative, self.now, start[active], until, max_step=longest, **self.tolerances)
            still = 0
            while solver.status == "running":
                trouble = solver.step()
                still += solver.t - solver.t_old <= 4 * np.spacing(solver.t) and solver.t < until
                if solver.status == "failed" or still > STILL:
                    why = trouble or "time stands still"
                    raise ConvergenceError(
                        f"rate_equations could not go on after t={solver.t:g} ({why}), asked to t={self.times[-1]:g}, from "
                        f"{self._described()}; something may grow without bound there: end before, or loosen rtol and atol"
                    )
                piece = solver.dense_output()

                def curve(times, piece=piece):
                    states = np.repeat(start[None], len(times), axis=0)
                    states[:, active] = piece(times).T
                    return states

                if self._accept(curve, solver.t, stop, limit):
                    return True
        return False

    def _right_hand_side(self, time: float, moving: np.ndarray, active: np.ndarray) -> np.ndarray:
        self.trial[: self.n] = self.y[: self.n]
        self.trial[active], self.trial[self.n] = moving, time
        velocity(self.machine, self.trial, self.stack, self.derivative)
        found = self.derivative[active]
        if not np.all(np.isfinite(found)):
            raise _Undefined(time, self.trial[: self.n].copy(), int(active[np.flatnonzero(~np.isfinite(found))[0]]))
        return found

    def _accept(self, curve: Curve, until: float, stop: float, limit: float) -> bool:
        """Go along a curve to the time `until`. True if something jumped or bends on the way; the state is then that after it.

        At `stop` something is known to happen; output times from `limit` on are those after it.
        """
        while True:
            old = self.watched.look(self.y[: self.n], self.now)
            change = self.watched.first_change(curve, self.now, until, old)
            if change is None:
                self._sample(curve, limit if until >= limit else np.nextafter(until, np.inf))
                self._move(curve, until)
                return False
            change = self._together(curve, change, until)
            state = curve(np.array([change]))[0]
            self._sample(curve, min(limit, self._limit(self.watched, old, state, change, stop)))
            self._move(curve, change)
            bent = bool(np.any((self.watched.look(state, change) != old) & self.bends))
            if self._carry_out(settle) or bent or next_planned(self.agenda) < stop or change == stop:
                return True

    def _move(self, curve: Curve, time: float) -> None:
        self.y[: self.n], self.y[self.n] = curve(np.array([time]))[0], time

    def _together(self, curve: Curve, change: float, until: float) -> float:
        """The time of a change, or a little later if by then more has changed, which for all that is known happens at once."""
        later = min(change + NEAR * change, until)
        first, both = (self.watched.look(curve(np.array([time]))[0], time) for time in (change, later))
        before = self.watched.look(self.y[: self.n], self.now)
        if not np.any(both != first) or not np.all((both == first) | (first == before)):
            return change
        triggers = [self.model.network.resolve(event.trigger) for event in self.model.network.events]
        here, there = (self.model.evaluate(triggers, curve(np.array([time]))[0], time) != 0 for time in (change, later))
        return change if np.any(here & ~there) else later  # like x >= 5 && x <= 5, which holds only here

    def _refuse_instants(self, watch: Watch, old: np.ndarray, new: np.ndarray, state: np.ndarray, time: float) -> None:
        """Refuse an event whose trigger holds only while two sides are equal that pass each other: no number hits that instant."""
        pairs: dict[frozenset[Expr], dict[Expr, tuple[float, float]]] = {}
        for formula, before, after in zip(watch.formulas, old, new, strict=True):
            if isinstance(formula, Apply) and formula.op in _WHEN_EQUAL:
                pairs.setdefault(frozenset(formula.args), {})[formula] = (before, after)
        for values in pairs.values():
            if all(before == after for before, after in values.values()):
                continue
            for event in self.model.network.events:
                trigger = self.model.network.resolve(event.trigger)
                was, met = trigger, trigger
                for formula, (before, _) in values.items():
                    assert isinstance(formula, Apply)
                    was, met = _replaced(was, formula, Number(float(before))), _replaced(met, formula, Number(_WHEN_EQUAL[formula.op]))
                there = self.model.evaluate([was, met, trigger], state, time)
                if there[1] and not there[0] and not there[2]:
                    waits = [formula for formula in values if _replaced(trigger, formula, Number(0.0)) != trigger]
                    raise ModelError(
                        f"event {event.name!r} waits for {shorten(' and '.join(map(to_infix, waits)))}, which holds for an instant at "
                        f"t={time:g} and is hit by no number; write >= or <="
                    )

    # ---------------------------------------------------------------------------------------------------------- words

    def _described(self) -> str:
        return describe_state(self.model.coordinates, self.y[: self.n])

    def _undefined(self, problem: "_Undefined") -> ModelError:
        """What in the derivative of a coordinate is no finite number?"""
        model, name = self.model, self.model.coordinates[problem.coordinate]
        where = f"at t={problem.time:g} in state {describe_state(model.coordinates, problem.state)}"
        way_out = "start elsewhere, or guard the law, for example with piecewise()"
        for reaction, rate, changes in zip(model.network.reactions, model.rate_formulas, model.change_formulas, strict=True):
            for formula in [rate, *(n for _, n in changes)] if name in dict(changes) else []:
                value = float(model.evaluate([formula], problem.state, problem.time)[0])
                if not np.isfinite(value):
                    what = "the rate" if formula is rate else "the stoichiometry"
                    return ModelError(f"{what} {shorten(to_infix(formula))} of reaction {reaction.name!r} is {value} {where}; {way_out}")
        for target, formula in model.flow_formulas:
            if target == name:
                value = float(model.evaluate([formula], problem.state, problem.time)[0])
                return ModelError(f"the rate rule {shorten(to_infix(formula))} for {name!r} gives {value} {where}; {way_out}")
        return ModelError(f"the rates that change {name!r} overflow {where}; {way_out}")


def _holds_on_the_edge(switch: Expr, old: float, new: float) -> bool:
    """Does a switch that changes have its new value already where both sides are equal, like >= that turns true?"""
    assert isinstance(switch, Apply)
    if switch.op in ("floor", "ceil"):
        return (new > old) == (switch.op == "floor") and new != old
    return new != old and bool(new) == (switch.op in ("<=", ">=", "=="))


def _replaced(formula: Expr, part: Expr, by: Expr) -> Expr:
    if formula == part:
        return by
    return Apply(formula.op, tuple(_replaced(arg, part, by) for arg in formula.args)) if isinstance(formula, Apply) else formula


class _Undefined(Exception):
    """A derivative that is no finite number."""

    def __init__(self, time: float, state: np.ndarray, coordinate: int):
        self.time, self.state, self.coordinate = time, state, coordinate
