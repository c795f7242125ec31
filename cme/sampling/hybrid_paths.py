"""Paths of networks with rate rules, events, time or random draws: what `ssa` does where the plain direct method does not reach."""

from dataclasses import replace

import numpy as np

from cme import errors, ratelaw
from cme.elements import Initial
from cme.errors import ConvergenceError, ModelError
from cme.hybrid import Hybrid
from cme.kernels import curved, events, hybrid, straight
from cme.network import Network
from cme.ratelaw import Expr
from cme.results import Distribution
from cme.sampling.motion import Course
from cme.threads import Task
from cme.times_ahead import times_ahead


class HybridPaths:
    """Runs paths of a network with rate rules, events, time or random draws; see `cme.sampling.sampler.Sampler`.

    They end where the condition `stop` on coordinates and the time holds, if there is one.
    """

    def __init__(self, network: Network, times: np.ndarray, key: np.ndarray, initial, stop: Expr | None = None):
        network, self.starts, self.cumulative = _starts(network, initial)
        self.model, self.times, self.key = Hybrid(network), times, key
        course = Course(self.model, stop, float(times[-1]))
        self.machine, self.motion = course.machine, course.motion
        self.columns = self.model.coordinates
        self.found = {"method": "direct, in straight lines between jumps", "initial_lost": max(0.0, 1.0 - float(self.cumulative[-1]))}
        if course.motion.thinning is not None:
            self.found["method"] = "direct, thinned, in straight lines between jumps"
            self.found["bounds_in_time"] = len(course.motion.thinning.edges) - 1
        elif not course.motion.straight:  # straight lines have closed forms
            ends = _ends_of_steps(course, self.starts, self.cumulative, float(times[-1]))
            self.motion = self.motion._replace(ends=np.append(ends, np.inf))
            self.found |= {"method": "direct, with the hazard integrated between jumps", "resolved_times": len(ends)}

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


def _ends_of_steps(course: Course, starts: np.ndarray, cumulative: np.ndarray, horizon: float) -> np.ndarray:
    """Times at which a step must end, so that no pulse in time of a propensity, a rate rule or what ends a path falls into one."""
    model = course.model
    n_species = len(model.network.species)
    first = Initial(tuple(map(tuple, starts[:, :n_species].tolist())), tuple(np.diff(cumulative, prepend=0.0).tolist()))
    network = replace(model.network, initial=replace(first, draws=model.network.initial.draws))
    flows = (formula for _, formula in model.flow_formulas)
    return times_ahead(network, (*model.propensity_formulas, *flows, *course.ends), horizon)


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
    if status == hybrid.BROKEN_BOUND:
        raise ConvergenceError(f"the propensity of reaction {reaction!r} is above its bound {where}: a fault of cme; please report it")
    if status == errors.OVERFLOW:
        raise ModelError(f"reaction {reaction!r} drives a count past 2^53 {where}; the network grows without bound: stop earlier")
    names = model.coordinates if ratelaw.TIME in model.coordinates else (*model.coordinates, ratelaw.TIME)
    raise errors.propensity_error(status, reaction, network.formula(culprit), names, walker.y[: len(names)])
