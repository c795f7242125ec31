"""Exact paths of a network with rate rules, events and time: a piecewise-deterministic Markov process.

Between jumps the variables flow, and the hazard (the sum of the propensities) is integrated along with them; the next reaction comes when
the integral reaches an exponential number of mean one, and is chosen by the propensities at that time. What jumps at a time of its own
(a comparison that changes its truth, a delayed execution) stops the flow exactly there. `cme.kernels.straight` flows where everything
moves in straight lines and all of this has a closed form; propensities that move with time are then thinned (`cme.kernels.thinned`).
`cme.kernels.curved` flows anywhere else.

References: Davis, J. R. Stat. Soc. B 46 (1984) 353, doi:10.1111/j.2517-6161.1984.tb01308.x (the process); Alfonsi et al.,
ESAIM Proc. 14 (2005) 1, doi:10.1051/proc:2005001 (its simulation for reaction networks).
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.curved import ROWS, glide_curved
from cme.kernels.direct import CANCELLED, FULL, LARGEST_PROPENSITY, NEGATIVE_COUNT, OVERFLOW, STALLED, fault, largest, pick
from cme.kernels.events import (
    COORDINATE,
    LARGEST_EXACT,
    LONGEST,
    OK,
    PROGRAM,
    TOTAL,
    UNSETTLED,
    Programs,
    draw_all,
    next_planned,
    prepare,
    settle,
)
from cme.kernels.jit import bare, inlined, inner
from cme.kernels.propensity import NO_LAW, run_program, run_there
from cme.kernels.random import JUMPS, exponential, open_stream, place, uniform
from cme.kernels.straight import (
    CULPRIT,
    END,
    EVENTS,
    FIRED,
    HORIZON,
    LEFT,
    MOVES,
    NEXT_PLANNED,
    REACTION,
    STEP,
    STEPS,
    STIRS,
    STOP,
    TURNS,
    find_turns,
    glide_straight,
    record,
)  # fmt: skip
from cme.kernels.thinned import Thinning, bound, is_thinned

BAD_NUMBER, BROKEN_BOUND = 19, 20
ENDLESS, NOTHING = 17, 18
_ROOM = 1e-9  # of a bound: round-off between it and the propensity, which may be below zero by as much
_PAUSE = 1023  # jumps between two looks at the outside, less one (a mask)
_NO_PROGRESS = 1e-12  # of the time: stops that are closer than this, LONGEST of them in a row, will not end


class Motion(NamedTuple):
    """What moves by itself, and what depends on it. A watch is a value that jumps, and a measure the smooth number that makes it jump."""

    first_watch: int  # watch w is program first_watch + 2 w of the machine, and its measure the next one
    rounding: np.ndarray  # (W,) FLOOR or CEILING if it jumps at whole numbers; 0 if at zero
    straight: bool  # does everything move in straight lines, and are the propensities constant between jumps?
    reactions: np.ndarray  # (R, 3): does the propensity move; does the reaction turn a line or a watch; may it stir a trigger?
    dependent_pointer: np.ndarray  # (R + 1,) propensities that it changes
    dependent: np.ndarray
    ends: np.ndarray  # (K + 1,) times at which a step along curves must end, and inf
    stop: int = NO_LAW  # the program of the condition that ends a path
    thinning: Thinning | None = None


class Ledger(NamedTuple):
    """Every reaction of a path, if there is room for any: when, which, and the counts after it."""

    when: np.ndarray  # (E,)
    which: np.ndarray  # (E,)
    counts: np.ndarray  # (E S,)


class Field(NamedTuple):
    """What a flow needs of a machine and its motion, and no more: handing on all their arrays would cost more than many a call."""

    laws: Programs
    lists: np.ndarray
    first_flow: int  # row of `lists`
    first_watch: int
    clock: int
    rounding: np.ndarray
    reactions: np.ndarray
    ends: np.ndarray
    thinning: Thinning | None
    stack: np.ndarray


class Walker(NamedTuple):
    """One path in progress. Places in `real` and `cursor`, and rows of the tables, are named in `straight` and `curved`."""

    y: np.ndarray  # the state
    a: np.ndarray  # (R,) propensities
    real: np.ndarray  # (5,) hazard to go until the next reaction, the last time, next step, times of next turn and next execution
    cursor: np.ndarray  # (7,) samples, reactions so far, culprit, what stopped the flow, steps since, last reaction, ends passed
    lines: np.ndarray | None  # (3, C) straight lines of what flows; None if there are curves
    curve: np.ndarray | None  # (15, C + 1) curves of what flows and of the integrated hazard; None if all lines are straight
    seen: np.ndarray  # (W,) watches at the start of a step
    measured: np.ndarray  # (9,) a measure along a step
    heads: np.ndarray | None  # (N,) the values g of the terms of what is thinned


def new_walker(machine, motion):
    """The memory of a path (plain Python)."""
    n_flows = len(machine.changing[1])
    sizes = {"y": machine.size, "a": machine.n_reactions, "real": 5, "seen": len(motion.rounding), "measured": 9}
    lines, curve = (np.zeros((3, n_flows)), None) if motion.straight else (None, np.zeros((ROWS, n_flows + 1)))
    heads = None if motion.thinning is None else np.zeros(len(motion.thinning.program))
    places = {name: np.zeros(size) for name, size in sizes.items()}
    return Walker(**places, lines=lines, curve=curve, heads=heads, cursor=np.zeros(7, np.int64))


@bare
def run_paths(machine, motion, times, key, first, starts, cumulative, walker, agenda, cancel, done, ledger, states, stopped):
    """Run paths first, first + 1, ... into states (M, T, S + V); `done` (2,) holds the paths and reactions so far.

    A path that meets the condition of `motion` ends there, and its time goes into stopped (M,). A ledger with room is for a single path,
    and FULL is returned where it takes more. On a fault the walker stands where it happened.
    """
    first_flow = machine.list_pointer[machine.n_reactions + len(machine.events)]
    field = Field(machine.laws, machine.lists, first_flow, motion.first_watch, machine.clock, motion.rounding, motion.reactions,
                  motion.ends, motion.thinning, agenda.stack)  # fmt: skip
    y, cursor, real = walker.y, walker.cursor, walker.real
    stops, mark, in_a_row, stirred, looked = 0, 0.0, 0, True, False
    done[1] = 0.0
    for m in range(states.shape[0]):
        done[0] = m
        if cancel[0] != 0:
            return CANCELLED
        start_path(key, first + m, starts, cumulative, times[-1], walker, agenda.random)
        status = prepare(machine, y, agenda)
        if status != OK:
            return status
        real[LEFT] = exponential(agenda.random)
        mark, in_a_row, stirred, looked = -1.0, 0, True, False
        over = is_over(field, motion.stop, walker)
        while not over:
            if stirred:
                before = agenda.marks[TOTAL]
                status = settle(machine, y, agenda)
                if status != OK:
                    return status
                looked = looked and agenda.marks[TOTAL] == before
                real[NEXT_PLANNED] = next_planned(agenda)
                over = agenda.marks[TOTAL] != before and is_over(field, motion.stop, walker)
                if over:
                    break
            if not looked:
                status = look_around(field, motion.straight, walker)
                if status != OK:
                    return status
            status = glide(field, walker.curve, times, walker, states[m])
            if status != OK:
                return status
            if cursor[STOP] == END:
                break
            if cursor[STOP] == REACTION:
                status = react(field, machine.draws, machine.list_pointer, walker, agenda.random)
                stirred, looked = status == OK and motion.reactions[cursor[FIRED], STIRS] != 0, True
                if status == OK:
                    if len(ledger.when) > 0 and not enter(ledger, walker, y[machine.clock]):
                        return FULL
                    over = is_over(field, motion.stop, walker)
                    if over:
                        break
                    status = follow(field, motion.dependent_pointer, motion.dependent, walker)
                if status not in (OK, NOTHING):
                    return status
            else:
                over = is_over(field, motion.stop, walker)
                stirred, looked = True, False
                in_a_row = in_a_row + 1 if y[machine.clock] <= mark * (1.0 + _NO_PROGRESS) else 0
                mark = y[machine.clock]
                if in_a_row > LONGEST:
                    return UNSETTLED if agenda.marks[TOTAL] > 0 else ENDLESS
            stops += 1
            if stops & _PAUSE == 0:
                done[0] = m + y[machine.clock] / real[HORIZON]
                if cancel[0] != 0:
                    return CANCELLED
                if has_stalled(y[machine.clock], walker):
                    return STALLED
        if over:
            record_end(walker, states[m], stopped, m, y[machine.clock])
        done[1] += cursor[EVENTS]
    done[0] = states.shape[0]
    return OK


@inlined
def is_over(field, stop, walker):
    """Does a path end in this state?"""
    return stop != NO_LAW and run_there(field.laws, stop, walker.y, field.stack) != 0.0


@inner
def record_end(walker, samples, stopped, path, t):
    """A path ends at time t: the samples that are left are of this state."""
    stopped[path] = t
    while not record(walker, samples):
        pass


@inner
def enter(ledger, walker, t):
    """Put a reaction on the list; False if it is full."""
    n = walker.cursor[EVENTS] - 1
    if n == len(ledger.when):
        return False
    ledger.when[n] = t
    ledger.which[n] = walker.cursor[FIRED]
    n_species = len(ledger.counts) // len(ledger.when)
    for s in range(n_species):
        ledger.counts[n * n_species + s] = walker.y[s]
    return True


@inner
def has_stalled(t, walker):
    """Is the time until the next reaction lost in the rounding of the time?"""
    total = 0.0
    for r in range(len(walker.a)):
        total += walker.a[r]
    walker.cursor[CULPRIT] = largest(walker.a)
    return t + 1.0 / total == t


@inner
def start_path(key, path, starts, cumulative, last, walker, random):
    """Open the random stream of a path and put the walker on its initial state, drawn if there are several."""
    open_stream(key, JUMPS, path, random)
    k = 0
    if starts.shape[0] > 1:
        u = uniform(random) * cumulative[-1]
        k = place(cumulative, u)
    for i in range(len(walker.y)):
        walker.y[i] = 0.0
    for i in range(starts.shape[1]):
        walker.y[i] = starts[k, i]
    walker.cursor[:] = 0
    walker.real[HORIZON] = last if last > 0.0 else 1.0
    walker.real[STEP] = 1e-6 * walker.real[HORIZON]
    fill(walker.lines, np.nan)
    fill(walker.curve, 0.0)


@inner
def fill(table, value):
    if table is not None:
        table[:] = value


@inner
def glide(field, curve, times, walker, samples):
    """Go to the next stop. Of the two ways, only that which a model needs is compiled: what the other needs is None."""
    if curve is None:
        return glide_straight(field, walker.lines, field.thinning, times, walker, samples)
    return glide_curved(field, times, walker, samples)


@inner
def look_around(field, straight, walker):
    """Compute everything anew after a jump that may have changed anything."""
    for r in range(len(walker.a)):
        status = compute(field, walker, r)
        if status != OK:
            return status
    if straight:
        return find_turns(field, walker.lines, walker)
    return OK


@inlined
def compute(field, walker, r):
    """The propensity of reaction r. That of one that moves by itself is looked at along its way; see `curved`."""
    if is_thinned(field.thinning, r):
        value = bound(field, field.thinning, walker, r)
    else:
        value = run_program(field.laws, r, walker.y, field.stack)
    walker.a[r] = value
    if not 0.0 <= value <= LARGEST_PROPENSITY and field.reactions[r, MOVES] == 0:
        walker.cursor[CULPRIT] = r
        return fault(value)
    return OK


@inlined
def react(field, draws, list_pointer, walker, random):
    """A reaction, chosen by the propensities."""
    y, a, cursor = walker.y, walker.a, walker.cursor
    total = 0.0
    for r in range(len(a)):
        if field.reactions[r, MOVES] != 0:
            a[r] = max(run_program(field.laws, r, y, field.stack), 0.0)
        total += a[r]
    walker.real[LEFT] = exponential(random)
    if not total > 0.0:
        return NOTHING  # by round-off the hazard came to nothing just as it was used up
    r, rest = pick(a, 0, len(a), uniform(random) * total)
    if is_thinned(field.thinning, r):
        status = judge(field, walker, r, rest)
        if status != OK:
            return status
    cursor[FIRED] = r
    cursor[EVENTS] += 1
    cursor[STEPS] = 0
    draw_numbers(field, draws, list_pointer[r], list_pointer[r + 1], y, random)
    for i in range(list_pointer[r], list_pointer[r + 1]):
        number = y[field.lists[i, COORDINATE]] + run_program(field.laws, field.lists[i, PROGRAM], y, field.stack)
        if not 0.0 <= number < LARGEST_EXACT:
            cursor[CULPRIT] = r
            if number != number:
                return BAD_NUMBER
            return NEGATIVE_COUNT if number < 0.0 else OVERFLOW
    for i in range(list_pointer[r], list_pointer[r + 1]):
        y[field.lists[i, COORDINATE]] += run_program(field.laws, field.lists[i, PROGRAM], y, field.stack)
    return OK


@inlined
def judge(field, walker, r, rest):
    """Does a candidate of reaction r pass, which fell at `rest` into its bound? OK, NOTHING if it does not, or what is wrong."""
    value, most = run_program(field.laws, r, walker.y, field.stack), walker.a[r]
    if -_ROOM * max(1.0, most) <= value <= most * (1.0 + _ROOM):
        return OK if rest < value else NOTHING
    walker.cursor[CULPRIT] = r
    return BROKEN_BOUND if value > most else fault(value)


@inlined
def draw_numbers(field, draws, first, stop, y, random):
    """Draw the numbers of molecules of a reaction, which belong to its first program."""
    if draws is None:
        return
    if first < stop:
        program = field.lists[first, PROGRAM]
        draw_all(field.laws, draws.table, draws.pointer[program], draws.pointer[program + 1], y, field.stack, random)


@inlined
def follow(field, dependent_pointer, dependent, walker):
    """What a reaction changes besides counts."""
    r = walker.cursor[FIRED]
    for i in range(dependent_pointer[r], dependent_pointer[r + 1]):
        status = compute(field, walker, dependent[i])
        if status != OK:
            return status
    if field.reactions[r, TURNS] != 0:
        return find_turns(field, walker.lines, walker)
    return OK
