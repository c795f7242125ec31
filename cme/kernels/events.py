"""Events of a hybrid model: triggers watched, executions put on an agenda, delayed, ordered by priority, and carried out.

Semantics: SBML Level 3 Version 2 Core, section 4.11 (doi:10.1515/jib-2017-0081). The state y holds counts, variables, the time, and
slots for random numbers (see `cme.hybrid`).
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.distributions import draw
from cme.kernels.jit import apart, bare, inlined, inner
from cme.kernels.propensity import run_program
from cme.kernels.random import uniform

OK, UNSETTLED, CROWDED, BAD_DELAY, BAD_DRAW, UNDEFINED_VALUE, BAD_COUNT = 0, 8, 9, 10, 11, 12, 13
ROOM = 4096  # executions that may be waiting
LONGEST = 10_000  # executions at one instant
LARGEST_EXACT = 2.0**53  # up to here real numbers count every molecule
ROUND_OFF, MOST_ROUNDED = 1e-9, 0.1  # relative to the count, absolute: what is so near a whole number of molecules is that number


# Numba takes an array apart into seven numbers or nine when it is handed on, and a function that is handed hundreds of them takes seconds
# to compile. So what belongs together shares a table here, and its columns have names.
CODE, SLOT, FIRST_ARGUMENT = range(3)  # columns of Draws.table
COORDINATE, PROGRAM, FACTOR, KIND = range(4)  # columns of Machine.lists
VARIABLE, AMOUNT, COUNT = range(3)  # kinds of what is set: it may be no number; it is a real number; it is a whole number of molecules
TRIGGER, DELAY, PRIORITY, PERSISTENT, INITIALLY, EARLY = range(6)  # columns of Machine.events
WAITING, CULPRIT, TOTAL, TARGET = range(4)  # places in Agenda.marks
TRUTH, EXECUTED = range(2)  # columns of Agenda.known
WHEN, EVENT, FIRST_VALUE = range(3)  # columns of Agenda.queue


class Programs(NamedTuple):
    """Postfix programs, numbered; see `cme.kernels.propensity.run_program`."""

    program_pointer: np.ndarray  # (P + 1,)
    opcode: np.ndarray
    operand: np.ndarray


class Draws(NamedTuple):
    """The random numbers that programs need."""

    pointer: np.ndarray  # (P + 1,)
    table: np.ndarray  # (D, 6): distribution, slot in y, programs of two parameters and two bounds


class Machine(NamedTuple):
    """A hybrid model as flat arrays; sparse rows are in CSR form. Reaction r has the propensity of program r and the rate of R + r.

    A list says which program gives a coordinate its value, or what is added to it: lists 0 to R - 1 are what the reactions change,
    R to R + E - 1 what the events assign, R + E what flows, and R + E + 1 the random values at the start, in order. What an event assigns
    may have a factor that is evaluated when it is carried out.
    """

    laws: Programs
    draws: Draws | None  # None if there are none: then nothing that draws is compiled
    list_pointer: np.ndarray  # (R + E + 3,)
    lists: np.ndarray  # (K, 4): coordinate, program, program of a factor (-1 if none), kind
    events: np.ndarray  # (E, 6): programs of trigger, delay and priority (-1 if none); is it persistent, true initially, evaluated early?
    switch_program: np.ndarray  # (L,) values that jump
    n_reactions: int
    clock: int  # the place of the time in y
    size: int  # of y
    stack_size: int

    @property
    def changing(self):
        """The coordinates that reactions change, those that flow (plain Python)."""
        first, stop = self.list_pointer[[-3, -2]]
        return self.lists[: self.list_pointer[self.n_reactions], COORDINATE], self.lists[first:stop, COORDINATE]

    def counting(self, coordinates):
        """The machine for which these coordinates are counts of molecules (plain Python)."""
        lists = self.lists.copy()
        lists[np.isin(lists[:, COORDINATE], coordinates), KIND] = COUNT
        return self._replace(lists=lists)


class Agenda(NamedTuple):
    """What the events of one path remember."""

    marks: np.ndarray  # (4,) how many executions wait; which event or start went wrong; how many were carried out; what was set wrongly
    known: np.ndarray  # (E, 2): the trigger when last looked at, and how often the event was carried out
    queue: np.ndarray  # (ROOM, 2 + A) executions that wait: the time they are due, their event, and what they will assign
    stack: np.ndarray
    random: np.ndarray  # (4,) the path's stream

    @property
    def truth(self):
        """The triggers when last looked at, (E,) (plain Python)."""
        return self.known[:, TRUTH]

    @property
    def executed(self):
        """How often each event was carried out, (E,) (plain Python)."""
        return self.known[:, EXECUTED]

    @property
    def due(self):
        """When the executions that wait are due (plain Python)."""
        return self.queue[: self.marks[WAITING], WHEN]


def new_agenda(machine):
    """The memory of a path (plain Python)."""
    n_events = len(machine.events)
    widest = int(np.diff(machine.list_pointer[machine.n_reactions :][: n_events + 1]).max(initial=1))
    return Agenda(
        marks=np.zeros(4, np.int64),
        known=np.zeros((n_events, 2), np.int64),
        queue=np.zeros((ROOM if n_events else 1, FIRST_VALUE + widest)),
        stack=np.zeros(max(machine.stack_size, 1)),
        random=np.zeros(4, np.uint64),
    )


@inlined
def value_of(laws, draws, program, y, agenda):
    """Run a program; its random numbers are drawn first. nan if one can't be drawn."""
    if draws is not None:
        first, stop = draws.pointer[program], draws.pointer[program + 1]
        if first < stop:
            draw_all(laws, draws.table, first, stop, y, agenda.stack, agenda.random)
    return run_program(laws, program, y, agenda.stack)


@inner
def draw_all(laws, table, first, stop, y, stack, random):
    """Put the random numbers of some rows of `Draws.table` into their slots, in order."""
    apart()
    for d in range(first, stop):
        a = run_program(laws, table[d, FIRST_ARGUMENT], y, stack)
        b = run_program(laws, table[d, FIRST_ARGUMENT + 1], y, stack)
        low = run_program(laws, table[d, FIRST_ARGUMENT + 2], y, stack)
        high = run_program(laws, table[d, FIRST_ARGUMENT + 3], y, stack)
        y[table[d, SLOT]] = draw(table[d, CODE], a, b, low, high, random)


def begin(machine, y, agenda):
    """Draw the random values of the start and carry out what happens at time 0; the stream of `agenda` is open, y at the start.

    Plain Python, so that its two parts are compiled only once.
    """
    status = prepare(machine, y, agenda)
    return settle(machine, y, agenda) if status == OK else status


@bare
def prepare(machine, y, agenda):
    """Draw the random values of the start, and forget all that was before; what happens at time 0 is left to `settle`."""
    agenda.marks[WAITING], agenda.marks[TOTAL] = 0, 0
    starts = machine.n_reactions + len(machine.events) + 1
    first = machine.list_pointer[starts]
    for i in range(first, machine.list_pointer[starts + 1]):
        value = value_of(machine.laws, machine.draws, machine.lists[i, PROGRAM], y, agenda)
        if not np.isfinite(value):
            agenda.marks[CULPRIT] = -1 - (i - first)
            return BAD_DRAW
        status = put(machine.lists, i, value, y, agenda)
        if status != OK:
            agenda.marks[CULPRIT] = -1 - (i - first)
            return status
    for e in range(len(machine.events)):
        agenda.known[e, TRUTH], agenda.known[e, EXECUTED] = machine.events[e, INITIALLY], 0
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
    for e in range(len(machine.events)):
        now = run_program(machine.laws, machine.events[e, TRIGGER], y, agenda.stack) != 0.0
        before = agenda.known[e, TRUTH] != 0
        agenda.known[e, TRUTH] = 1 if now else 0
        if before and not now and machine.events[e, PERSISTENT] == 0:
            cancel(agenda, e)
        if now and not before:
            status = schedule(machine, y, agenda, e)
            if status != OK:
                agenda.marks[CULPRIT] = e
                return status
    return OK


@inlined
def cancel(agenda, e):
    kept = np.int64(0)  # a literal would have the function compiled once more
    for i in range(agenda.marks[WAITING]):
        if agenda.queue[i, EVENT] != e:
            move(agenda.queue, i, kept)
            kept += 1
    agenda.marks[WAITING] = kept


@inlined
def move(queue, source, target):
    for j in range(queue.shape[1]):
        queue[target, j] = queue[source, j]


@inlined
def schedule(machine, y, agenda, e):
    delay = value_of(machine.laws, machine.draws, machine.events[e, DELAY], y, agenda)
    if not delay >= 0.0:
        return BAD_DELAY
    n = agenda.marks[WAITING]
    if n == agenda.queue.shape[0]:
        return CROWDED
    agenda.queue[n, WHEN], agenda.queue[n, EVENT] = y[machine.clock] + delay, e
    agenda.marks[WAITING] = n + 1
    if machine.events[e, EARLY] != 0:
        return assigned_values(machine, y, agenda, e, n)
    return OK


@inlined
def assigned_values(machine, y, agenda, e, n):
    """What an event assigns, evaluated in y, into row n of the agenda. A formula may be no number, but not what is drawn."""
    first = machine.list_pointer[machine.n_reactions + e]
    for i in range(first, machine.list_pointer[machine.n_reactions + e + 1]):
        value = value_of(machine.laws, machine.draws, machine.lists[i, PROGRAM], y, agenda)
        if np.isnan(value) and is_drawn(machine.draws, machine.lists[i, PROGRAM]):
            return UNDEFINED_VALUE
        agenda.queue[n, FIRST_VALUE + i - first] = value
    return OK


@inlined
def is_drawn(draws, program):
    return draws is not None and draws.pointer[program] < draws.pointer[program + 1]


@inlined
def put(lists, i, value, y, agenda):
    """Give the coordinate of a row its value: a count the whole number that the value is but for round-off."""
    y[lists[i, COORDINATE]] = value
    if lists[i, KIND] == VARIABLE:
        return OK
    if np.isnan(value):
        return UNDEFINED_VALUE
    if lists[i, KIND] == AMOUNT:
        return OK
    whole = np.rint(value)
    if 0.0 <= whole < LARGEST_EXACT and abs(value - whole) <= min(ROUND_OFF * max(1.0, whole), MOST_ROUNDED):
        y[lists[i, COORDINATE]] = whole + 0.0  # no -0
        return OK
    agenda.marks[TARGET] = lists[i, COORDINATE]
    return BAD_COUNT


@inlined
def next_due(machine, y, agenda):
    """Of what is due, that with the highest priority; chance decides between equals. -1 if nothing is due."""
    best, chosen, equals = -np.inf, -1, 0
    for i in range(agenda.marks[WAITING]):
        if agenda.queue[i, WHEN] > y[machine.clock]:
            continue
        program = machine.events[np.int64(agenda.queue[i, EVENT]), PRIORITY]
        priority = -np.inf
        if program >= 0:
            priority = value_of(machine.laws, machine.draws, program, y, agenda)
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
    e = np.int64(agenda.queue[i, EVENT])
    first, stop = machine.list_pointer[machine.n_reactions + e], machine.list_pointer[machine.n_reactions + e + 1]
    status = OK
    if machine.events[e, EARLY] == 0:
        status = assigned_values(machine, y, agenda, e, i)
        if status != OK:
            agenda.marks[CULPRIT] = e
            return status
    for j in range(first, stop):
        if machine.lists[j, FACTOR] >= 0:
            agenda.queue[i, FIRST_VALUE + j - first] *= run_program(machine.laws, machine.lists[j, FACTOR], y, agenda.stack)
    for j in range(first, stop):
        status = put(machine.lists, j, agenda.queue[i, FIRST_VALUE + j - first], y, agenda)
        if status != OK:
            agenda.marks[CULPRIT] = e
            return status
    agenda.known[e, EXECUTED] += 1
    agenda.marks[TOTAL] += 1
    agenda.marks[WAITING] -= 1
    for k in range(i, agenda.marks[WAITING]):  # in the order in which they came
        move(agenda.queue, k + 1, k)
    return status


@bare
def next_planned(agenda):
    """When the next execution is due; inf if none waits."""
    soonest = np.inf
    for i in range(agenda.marks[WAITING]):
        soonest = min(soonest, agenda.queue[i, WHEN])
    return soonest


@bare
def switches(machine, y, stack, out):
    """The values that jump, (L,), in y: whatever lies between two equal rows is smooth."""
    for i in range(len(machine.switch_program)):
        out[i] = run_program(machine.laws, machine.switch_program[i], y, stack)
    return 0
