"""Paths of networks with rate rules, events, time or random draws: what `ssa` does where the plain direct method does not reach."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from cme import errors, ratelaw
from cme.elements import Initial
from cme.errors import ModelError
from cme.hybrid import Hybrid, jumps_in
from cme.kernels import curved, events, hybrid, straight
from cme.kernels.propensity import NO_LAW
from cme.network import Network
from cme.programs import csr, to_program
from cme.ratelaw import Apply, Expr
from cme.results import Distribution
from cme.threads import Task
from cme.times_ahead import times_ahead

_STEPWISE = {"<", "<=", ">", ">=", "==", "!=", "and", "or", "not", "xor", "floor", "ceil"}


class HybridPaths:
    """Runs paths of a network with rate rules, events, time or random draws; see `cme.sampling.sampler.Sampler`.

    They end where the condition `stop` on coordinates and the time holds, if there is one.
    """

    def __init__(self, network: Network, times: np.ndarray, key: np.ndarray, initial, stop: Expr | None = None):
        network, self.starts, self.cumulative = _starts(network, initial)
        self.model, self.times, self.key = Hybrid(network), times, key
        self.machine, self.motion = machine_of(self.model, stop), motion_of(self.model, stop)
        ends = np.empty(0)
        if not self.motion.straight:  # straight lines have closed forms
            ends = _ends_of_steps(self.model, self.starts, self.cumulative, float(times[-1]), stop)
        self.motion = self.motion._replace(ends=np.append(ends, np.inf))
        self.columns = self.model.coordinates
        method = "direct, in straight lines between jumps" if self.motion.straight else "direct, with the hazard integrated between jumps"
        self.found = {"method": method, "initial_lost": max(0.0, 1.0 - float(self.cumulative[-1]))}
        if not self.motion.straight:
            self.found["resolved_times"] = len(ends)

    def run(self, first: int, states: np.ndarray, stopped: np.ndarray, cancel: np.ndarray, done: np.ndarray) -> None:
        """Write paths first, first + 1, ... into states (B, T, S + V), and when they met the condition into stopped (B,)."""
        walker, agenda = hybrid.new_walker(self.machine, self.motion), events.new_agenda(self.machine)
        self._run(first, walker, agenda, cancel, done, _ledger(0, 0), states, stopped)

    def _run(self, first: int, walker: hybrid.Walker, agenda: events.Agenda, *rest) -> int:
        fixed = self.machine, self.motion, self.times, self.key, first, self.starts, self.cumulative
        status = hybrid.run_paths(*fixed, walker, agenda, *rest)
        _complain(self.model, status, walker, agenda)
        return status

    def list_events(self, values: np.ndarray, stopped: np.ndarray, kept: list) -> Task:
        """Sample into values (M, T, S + V) and stopped (M,); when, which and the new counts of each reaction of path m go into kept[m]."""
        _check_only_reactions_count(self.model)
        n_species = len(self.model.network.species)

        def sample(first: int, last: int, cancel: np.ndarray, done: np.ndarray) -> None:
            walker, agenda = hybrid.new_walker(self.machine, self.motion), events.new_agenda(self.machine)
            ledger, n_before = _ledger(256, n_species), 0.0
            for m in range(first, last):
                while True:
                    status = self._run(m, walker, agenda, cancel, done, ledger, values[m : m + 1], stopped[m : m + 1])
                    if status != errors.FULL:
                        break
                    ledger = _ledger(4 * len(ledger.when), n_species)  # and the same path from its start, since it may remember much
                n_events = int(walker.cursor[straight.EVENTS])
                n_before += n_events
                done[:] = [m + 1 - first, n_before, 0, 0]
                if cancel[0]:
                    return
                after = ledger.counts[: n_events * n_species].reshape(n_events, n_species)
                kept[m] = ledger.when[:n_events].copy(), ledger.which[:n_events].copy(), after.copy()

        return sample

    def observe(self, states: np.ndarray, stopped: np.ndarray) -> dict[str, np.ndarray]:
        """Everything else that has a value by name, (..., T), from states (..., T, S + V) of paths that ended at some times (...)."""
        values = self.model.values(states, np.minimum(self.times, stopped[..., None]))
        return {name: values[name] for name in (*self.model.network.observables, *self.model.network.variables)}


# ------------------------------------------------------------------------------------------------------------ start


def _starts(network: Network, initial) -> tuple[Network, np.ndarray, np.ndarray]:
    """The network without the random starts that `initial` replaces, its initial states (K, S + V), and their cumulative probabilities."""
    if isinstance(initial, Distribution):
        if initial.species != network.species_names:
            raise ModelError(f"the initial distribution is over {initial.species}, the network over {network.species_names}")
        if initial.widths is not None:
            raise ModelError("the initial distribution is a density on a grid; give counts or a Distribution over counts")
        kept = initial.p[-1] > 0
        states, p = initial.states[kept].astype(np.float64), initial.p[-1][kept]
        draws = tuple(draw for draw in network.initial.draws if draw.name not in network.species_names)
        network = replace(network, initial=Initial(network.initial.states, network.initial.probabilities, draws))
    else:
        network = network if initial is None else network.with_initial(initial)
        states, p = np.array(network.initial.states, dtype=np.float64), np.array(network.initial.probabilities)
    model = Hybrid(network)
    counted = {name for row in model.change_formulas for name, _ in row}
    for name, column in zip(network.species_names, states.T, strict=True):
        wrong = column[column != np.round(column)]
        if wrong.size and name in counted:
            raise ModelError(
                f"species {name!r} starts at {wrong[0]:g}, not a whole number of molecules; "
                "ssa counts molecules, so round it with with_initial() or use rate_equations"
            )
    variables = np.broadcast_to(model.start[len(network.species) :], (len(states), len(network.variables)))
    return network, np.ascontiguousarray(np.concatenate([states, variables], axis=1)), np.cumsum(p)


# ----------------------------------------------------------------------------------------------------- every event


def _ledger(room: int, n_species: int) -> hybrid.Ledger:
    return hybrid.Ledger(np.zeros(room), np.zeros(room, dtype=np.int64), np.zeros(room * n_species))


def _check_only_reactions_count(model: Hybrid) -> None:
    """`ValueError` if counts change between reactions, too."""
    network = model.network
    setters = [(f"event {event.name!r}", {each.name for each in event.assignments}) for event in network.events]
    setters += [(f"the rate rule of {rule.name!r}", {rule.name}) for rule in network.rate_rules]
    for who, names in setters:
        if not names.isdisjoint(network.species_names):
            raise ValueError(f"every_event lists reactions, and {who} changes counts between these too; sample it at more times instead")


# ------------------------------------------------------------------------------------------- what moves by itself


def machine_of(model: Hybrid, stop: Expr | None = None) -> events.Machine:
    """The machine of a model, with the programs of the watches behind its own, and that of what ends a path.

    What reactions change is counted, the rest is real.
    """
    index = {ratelaw.TIME: model.clock} | {name: i for i, name in enumerate(model.coordinates)}
    formulas = [formula for watch in _all_watches(model, stop) for formula in (watch, _measure(watch))]
    compiled = [to_program(formula, index) for formula in (*formulas, *([] if stop is None else [stop]))]
    pointer, code = csr([program for program, _ in compiled])
    laws, deepest = model.machine.laws, max((depth for _, depth in compiled), default=0)
    more = events.Programs(
        np.concatenate([laws.program_pointer, laws.program_pointer[-1] + pointer[1:]]),
        np.concatenate([laws.opcode, code[:, 0].astype(np.uint32)]),
        np.concatenate([laws.operand, code[:, 1].astype(np.float64)]),
    )
    counting = model.machine.counting(model.machine.changing[0])
    return counting._replace(laws=more, stack_size=max(model.machine.stack_size, deepest))


def _moving(model: Hybrid) -> set[str]:
    return {name for name, _ in model.flow_formulas} | ({ratelaw.TIME} - set(model.coordinates))


def _all_watches(model: Hybrid, stop: Expr | None = None) -> list[Apply]:
    switches = (*model.switch_formulas, *([] if stop is None else jumps_in([Apply("not", (stop,))])))
    return list(dict.fromkeys(_watches(switches, _moving(model))))


def motion_of(model: Hybrid, stop: Expr | None = None) -> hybrid.Motion:
    """What moves between jumps, and the watches on whatever may jump meanwhile."""
    network, moving, watches = model.network, _moving(model), _all_watches(model, stop)
    measures = [_measure(watch) for watch in watches]
    flows = [formula for _, formula in model.flow_formulas]
    flat = (*model.propensity_formulas, *flows)
    straight_lines = all(_degree(formula, moving, stepwise=True) == 0 for formula in flat) and all(
        _degree(measure, moving, stepwise=False) <= 1 for measure in measures
    )
    uses = [ratelaw.names(formula) for formula in model.propensity_formulas]
    changes = [{name for name, _ in row} for row in model.change_formulas]
    triggers = [ratelaw.names(network.resolve(event.trigger)) for event in network.events]
    watched = set[str]().union(*map(ratelaw.names, (*watches, *flows)))
    readers: dict[str, list[int]] = {}
    for r, names in enumerate(uses):
        for name in names:
            readers.setdefault(name, []).append(r)
    dependents = [sorted({r for name in change for r in readers.get(name, [])}) for change in changes]
    dependent_pointer, dependent = csr([[(r,) for r in row] for row in dependents], width=1)
    rows = [
        (
            not straight_lines and not moving.isdisjoint(names),
            straight_lines and not change.isdisjoint(watched),
            any(not change.isdisjoint(read) for read in triggers),
        )
        for names, change in zip(uses, changes, strict=True)
    ]
    kinds = {"floor": straight.FLOOR, "ceil": straight.CEILING}
    return hybrid.Motion(
        first_watch=len(model.machine.laws.program_pointer) - 1,
        rounding=np.array([kinds.get(watch.op, 0) for watch in watches], dtype=np.int64),
        straight=straight_lines,
        reactions=np.array(rows, dtype=np.int64).reshape(-1, 3),
        dependent_pointer=dependent_pointer,
        dependent=dependent[:, 0].astype(np.int64),
        ends=np.array([np.inf]),
        stop=NO_LAW if stop is None else len(model.machine.laws.program_pointer) - 1 + 2 * len(watches),
    )


def _ends_of_steps(model: Hybrid, starts: np.ndarray, cumulative: np.ndarray, horizon: float, stop: Expr | None) -> np.ndarray:
    """Times at which a step must end, so that no pulse in time of a propensity, a rate rule or what `stop` compares falls into one."""
    n_species = len(model.network.species)
    first = Initial(tuple(map(tuple, starts[:, :n_species].tolist())), tuple(np.diff(cumulative, prepend=0.0).tolist()))
    network = replace(model.network, initial=replace(first, draws=model.network.initial.draws))
    measures = [] if stop is None else [_measure(watch) for watch in _watches(jumps_in([Apply("not", (stop,))]), _moving(model))]
    return times_ahead(network, (*model.propensity_formulas, *(formula for _, formula in model.flow_formulas), *measures), horizon)


def _watches(switches: Iterable[Expr], moving: set[str]) -> Iterable[Apply]:
    """The switches that may jump between jumps, besides those that do so only where another one inside them does.

    Of an equality, which holds for one instant, both sides are watched.
    """
    for switch in switches:
        assert isinstance(switch, Apply)
        if any(_degree(arg, moving, stepwise=True) for arg in switch.args):
            yield from (Apply(op, switch.args) for op in ((">=", "<=") if switch.op in ("==", "!=") else (switch.op,)))


def _measure(watch: Apply) -> Expr:
    """The smooth number whose zeros (of a comparison) or whole values (of a rounding) make a watch jump."""
    if watch.op in ("floor", "ceil"):
        return watch.args[0]
    return ratelaw.simplify(Apply("+", (watch.args[0], Apply("neg", (watch.args[1],)))))


def _degree(formula: Expr, moving: set[str], *, stepwise: bool) -> float:
    """The degree of a formula in what moves, inf if it is no polynomial; with `stepwise`, what jumps counts as constant."""
    if moving.isdisjoint(ratelaw.names(formula)):
        return 0
    if not isinstance(formula, Apply):
        return 1
    if formula.op in _STEPWISE:
        return 0 if stepwise else np.inf
    degrees = [_degree(arg, moving, stepwise=stepwise) for arg in formula.args]
    if formula.op in ("+", "neg"):
        return max(degrees)
    if formula.op == "*":
        return sum(degrees)
    if formula.op == "/":
        return degrees[0] if degrees[1] == 0 else np.inf
    if formula.op == "piecewise" and stepwise:
        return max(degrees)
    return 0 if max(degrees) == 0 else np.inf


# ----------------------------------------------------------------------------------------------------------- faults


def _complain(model: Hybrid, status: int, walker: hybrid.Walker, agenda: events.Agenda) -> None:
    if status in (errors.OK, errors.CANCELLED, errors.FULL):
        return
    network, at = model.network, float(walker.y[model.clock])
    where = f"at time {at:.6g} in state {errors.describe_state(model.coordinates, walker.y[: model.clock])}"
    if status == errors.BAD_COUNT:
        target, culprit = int(agenda.marks[events.TARGET]), int(agenda.marks[events.CULPRIT])
        who = "the random start" if culprit < 0 else f"event {network.events[culprit].name!r}"
        raise errors.count_error(who, model.coordinates[target], float(walker.y[target]), f"at t={at:g}")
    if status == errors.BAD_DRAW:
        raise errors.event_error(status, network.initial.draws[-1 - int(agenda.marks[events.CULPRIT])].name, at)
    if status in (errors.UNSETTLED, errors.CROWDED, errors.BAD_DELAY, errors.UNDEFINED_VALUE):
        e = np.argmax(agenda.executed) if status == errors.UNSETTLED else agenda.marks[events.CULPRIT]
        raise errors.event_error(status, network.events[int(e)].name, at)
    if status == hybrid.ENDLESS:
        raise ModelError(f"conditions turn true and false without end {where}; keep a rate rule from turning back where it switches")
    culprit = int(walker.cursor[straight.CULPRIT])
    if status == straight.UNDEFINED_FLOW:
        name = model.flow_formulas[culprit][0]
        raise ModelError(f"the rate of {name!r} is not a finite number {where}; guard its rate rule, for example with piecewise()")
    if status == curved.TOO_MANY_STEPS:
        raise ModelError(
            f"{', '.join(name for name, _ in model.flow_formulas) or 'a propensity'} changes too fast to be followed {where}; "
            "it grows without bound, or the model is stiff: stop earlier, or use rate_equations"
        )
    reaction = network.reactions[culprit].name
    if status == errors.OVERFLOW:
        raise ModelError(f"reaction {reaction!r} drives a count past 2^53 {where}; the network grows without bound: stop earlier")
    names = model.coordinates if ratelaw.TIME in model.coordinates else (*model.coordinates, ratelaw.TIME)
    raise errors.propensity_error(status, reaction, network.formula(culprit), names, walker.y[: len(names)])
