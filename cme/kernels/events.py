"""Events of a hybrid model: triggers watched, executions put on an agenda, delayed, ordered by priority, and carried out.

Semantics: SBML Level 3 Version 2 Core, section 4.11 (doi:10.1515/jib-2017-0081). The state y holds counts, variables, the time, and
slots for random numbers (see `cme.hybrid`).
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.distributions import draw
from cme.kernels.jit import bare, inlined
from cme.kernels.propensity import run_program
from cme.kernels.random import uniform

OK, UNSETTLED, CROWDED, BAD_DELAY, BAD_DRAW, UNDEFINED_VALUE = 0, 8, 9, 10, 11, 12
ROOM = 4096  # executions that may be waiting
LONGEST = 10_000  # executions at one instant


class Machine(NamedTuple):
    """A hybrid model as flat arrays; sparse rows are in CSR form, programs are numbered. Reaction r has propensity r and rate R + r."""

    program_pointer: np.ndarray  # (P + 1,) postfix programs
    opcode: np.ndarray
    operand: np.ndarray
    stack_size: int
    draw_pointer: np.ndarray  # (P + 1,) random numbers that a program needs
    draw: np.ndarray  # (D, 6): distribution, slot in y, programs of two parameters and two bounds
    clock: int  # the place of the time in y
    size: int  # of y
    change_pointer: np.ndarray  # (R + 1,) what reactions change
    change_coordinate: np.ndarray
    change_program: np.ndarray
    flow_coordinate: np.ndarray  # (C,) what flows
    flow_program: np.ndarray
    switch_program: np.ndarray  # (L,) values that jump
    trigger_program: np.ndarray  # (E,)
    delay_program: np.ndarray
    priority_program: np.ndarray  # -1 where there is none
    persistent: np.ndarray
    initially: np.ndarray
    early: np.ndarray  # are the values those when the event triggers?
    assign_pointer: np.ndarray  # (E + 1,)
    assign_coordinate: np.ndarray
    assign_program: np.ndarray
    start_coordinate: np.ndarray  # random values at the start, in order
    start_program: np.ndarray


class Agenda(NamedTuple):
    """What the events of one path remember."""

    truth: np.ndarray  # (E,) the triggers when last looked at
    when: np.ndarray  # (ROOM,) executions that wait: the time they are due,
    which: np.ndarray  # their event,
    value: np.ndarray  # and (ROOM, A) what they will assign
    waiting: np.ndarray  # (1,) how many wait
    executed: np.ndarray  # (E,) how often each event was carried out
    culprit: np.ndarray  # (1,) the event or program that went wrong
    stack: np.ndarray
    random: np.ndarray  # (4,) the path's stream


def new_agenda(machine):
    """The memory of a path (plain Python)."""
    n_events = len(machine.trigger_program)
    widest = int(np.diff(machine.assign_pointer.astype(np.int64)).max(initial=1))
    room = ROOM if n_events else 1
    return Agenda(
        truth=np.zeros(n_events, np.bool_),
        when=np.zeros(room),
        which=np.zeros(room, np.int64),
        value=np.zeros((room, max(widest, 1))),
        waiting=np.zeros(1, np.int64),
        executed=np.zeros(n_events, np.int64),
        culprit=np.zeros(1, np.int64),
        stack=np.zeros(max(machine.stack_size, 1)),
        random=np.zeros(4, np.uint64),
    )


class Programs(NamedTuple):
    """What `run_program` needs: a machine has so many arrays that handing all of them on would cost more than the call."""

    program_pointer: np.ndarray
    opcode: np.ndarray
    operand: np.ndarray


@inlined
def programs(machine):
    return Programs(machine.program_pointer, machine.opcode, machine.operand)


@inlined
def value_of(machine, program, y, agenda):
    """Run a program; its random numbers are drawn first. nan if one can't be drawn."""
    first, stop = machine.draw_pointer[program], machine.draw_pointer[program + 1]
    if first < stop:
        draw_all(programs(machine), machine.draw, first, stop, y, agenda.stack, agenda.random)
    return run_program(programs(machine), program, y, agenda.stack)


@bare
def draw_all(code, draws, first, stop, y, stack, random):
    """Put the random numbers of some rows of `Machine.draw` into their slots, in order."""
    for d in range(first, stop):
        a = run_program(code, draws[d, 2], y, stack)
        b = run_program(code, draws[d, 3], y, stack)
        low = run_program(code, draws[d, 4], y, stack)
        high = run_program(code, draws[d, 5], y, stack)
        y[draws[d, 1]] = draw(draws[d, 0], a, b, low, high, random)


@bare
def begin(machine, y, agenda):
    """Draw the random values of the start and carry out what happens at time 0; the stream of `agenda` is open, y at the start."""
    status = prepare(machine, y, agenda)
    return settle(machine, y, agenda) if status == OK else status


@inlined
def prepare(machine, y, agenda):
    """Draw the random values of the start, and forget all that was before; what happens at time 0 is left to `settle`."""
    agenda.waiting[0] = 0
    agenda.executed[:] = 0
    for i in range(len(machine.start_program)):
        value = value_of(machine, machine.start_program[i], y, agenda)
        if not np.isfinite(value):
            agenda.culprit[0] = -1 - i
            return BAD_DRAW
        y[machine.start_coordinate[i]] = value
    for e in range(len(machine.trigger_program)):
        agenda.truth[e] = machine.initially[e]
    return OK


@bare
def settle(machine, y, agenda):
    """Look at the triggers and carry out all that is due by now, until nothing is. To be called after whatever changed y."""
    for _ in range(LONGEST):
        status = look(machine, y, agenda)
        if status != OK:
            return status
        i = next_due(machine, y, agenda)
        if i < 0:
            return OK
        status = execute(machine, y, agenda, i)
        if status != OK:
            return status
    return UNSETTLED


@inlined
def look(machine, y, agenda):
    """See which triggers turned true, and put their events on the agenda; those that turned false may drop off it."""
    for e in range(len(machine.trigger_program)):
        now = run_program(programs(machine), machine.trigger_program[e], y, agenda.stack) != 0.0
        before = agenda.truth[e]
        agenda.truth[e] = now
        if before and not now and not machine.persistent[e]:
            cancel(agenda, e)
        if now and not before:
            status = schedule(machine, y, agenda, e)
            if status != OK:
                agenda.culprit[0] = e
                return status
    return OK


@inlined
def cancel(agenda, e):
    kept = 0
    for i in range(agenda.waiting[0]):
        if agenda.which[i] != e:
            move(agenda, i, kept)
            kept += 1
    agenda.waiting[0] = kept


@inlined
def move(agenda, source, target):
    agenda.when[target] = agenda.when[source]
    agenda.which[target] = agenda.which[source]
    for j in range(agenda.value.shape[1]):
        agenda.value[target, j] = agenda.value[source, j]


@inlined
def schedule(machine, y, agenda, e):
    delay = value_of(machine, machine.delay_program[e], y, agenda)
    if not delay >= 0.0:
        return BAD_DELAY
    n = agenda.waiting[0]
    if n == len(agenda.when):
        return CROWDED
    agenda.when[n] = y[machine.clock] + delay
    agenda.which[n] = e
    agenda.waiting[0] = n + 1
    if machine.early[e]:
        return assigned_values(machine, y, agenda, e, n)
    return OK


@inlined
def assigned_values(machine, y, agenda, e, n):
    """What an event assigns, evaluated in y, into row n of the agenda."""
    first = machine.assign_pointer[e]
    for i in range(first, machine.assign_pointer[e + 1]):
        value = value_of(machine, machine.assign_program[i], y, agenda)
        if np.isnan(value):
            return UNDEFINED_VALUE
        agenda.value[n, i - first] = value
    return OK


@inlined
def next_due(machine, y, agenda):
    """Of what is due, that with the highest priority; chance decides between equals. -1 if nothing is due."""
    best, chosen, equals = -np.inf, -1, 0
    for i in range(agenda.waiting[0]):
        if agenda.when[i] > y[machine.clock]:
            continue
        program = machine.priority_program[agenda.which[i]]
        priority = -np.inf
        if program >= 0:
            priority = value_of(machine, program, y, agenda)
        if chosen < 0 or priority > best:
            best, chosen, equals = priority, i, 1
        elif priority == best:
            equals += 1
            if uniform(agenda.random) * equals < 1.0:
                chosen = i
    return chosen


@inlined
def execute(machine, y, agenda, i):
    """Carry out execution i of the agenda and take it off."""
    e = agenda.which[i]
    first = machine.assign_pointer[e]
    status = OK
    if not machine.early[e]:
        status = assigned_values(machine, y, agenda, e, i)
        if status != OK:
            agenda.culprit[0] = e
            return status
    for j in range(first, machine.assign_pointer[e + 1]):
        y[machine.assign_coordinate[j]] = agenda.value[i, j - first]
    agenda.executed[e] += 1
    agenda.waiting[0] -= 1
    for k in range(i, agenda.waiting[0]):  # in the order in which they came
        move(agenda, k + 1, k)
    return status


@bare
def next_planned(agenda):
    """When the next execution is due; inf if none waits."""
    soonest = np.inf
    for i in range(agenda.waiting[0]):
        soonest = min(soonest, agenda.when[i])
    return soonest


@bare
def switches(machine, y, stack, out):
    """The values that jump, (L,), in y: whatever lies between two equal rows is smooth."""
    for i in range(len(machine.switch_program)):
        out[i] = run_program(machine, machine.switch_program[i], y, stack)
    return 0
