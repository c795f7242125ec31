"""Flow where everything moves in straight lines: times of turns have a closed form, and are then made exact to the last bit.

A turn is the first floating-point time at which a watch has jumped, so that ``time >= 25`` turns at 25 exactly. See `cme.kernels.hybrid`.
"""

import numpy as np

from cme.kernels.events import COORDINATE, OK, PROGRAM
from cme.kernels.jit import apart, inlined, inner
from cme.kernels.propensity import run_program
from cme.kernels.thinned import cross_cells

SAMPLES, EVENTS, CULPRIT, STOP, STEPS, FIRED = range(6)  # places in Walker.cursor, and PASSED
REACTION, TURN, END = 1, 2, 3  # what stops a flow
UNDEFINED_FLOW = 15
FLOOR, CEILING = 1, 2  # kinds of rounding
LEFT, HORIZON, STEP, NEXT_TURN, NEXT_PLANNED = range(5)  # places in Walker.real
BASE, SINCE, RATE = range(3)  # rows of Walker.lines
MOVES, TURNS, STIRS = range(3)  # columns of Motion.reactions
_DOUBTS = 60  # how often the doubt about a turn is quadrupled


@inlined
def glide_straight(field, lines, thinning, times, walker, samples):
    """Go to the next stop, and write the samples on the way. A sample at the time of a stop sees what is after it."""
    if lines is None:  # the rest is not compiled then: numba drops what can't be reached where an argument is None, and only there
        return OK
    y, cursor = walker.y, walker.cursor
    t, total = y[field.clock], 0.0
    for r in range(len(walker.a)):
        total += walker.a[r]
    stop = min(walker.real[NEXT_TURN], walker.real[NEXT_PLANNED])
    t, total, walker.real[LEFT] = cross_cells(thinning, walker, t, total, walker.real[LEFT], stop)
    reaction = t + walker.real[LEFT] / total if total > 0.0 else np.inf
    following = min(stop, reaction)
    while times[cursor[SAMPLES]] < following:
        move_to(field, walker, times[cursor[SAMPLES]])
        if record(walker, samples):
            cursor[STOP] = END
            return OK
    move_to(field, walker, following)
    if stop <= reaction:
        walker.real[LEFT] = max(walker.real[LEFT] - total * (stop - t), 0.0)
        cursor[STOP] = TURN
    else:
        cursor[STOP] = REACTION
    return OK


@inlined
def record(walker, samples):
    """Write a sample; was it the last?"""
    k = walker.cursor[SAMPLES]
    for i in range(samples.shape[1]):
        samples[k, i] = walker.y[i]
    walker.cursor[SAMPLES] = k + 1
    return k + 1 == samples.shape[0]


@inlined
def move_to(field, walker, t):
    """Move along the lines to time t."""
    walker.y[field.clock] = t
    for c in range(walker.lines.shape[1]):
        if walker.lines[RATE, c] != 0.0:
            i = field.lists[field.first_flow + c, COORDINATE]
            walker.y[i] = walker.lines[BASE, c] + walker.lines[RATE, c] * (t - walker.lines[SINCE, c])


@inner
def find_turns(field, lines, walker):
    """Lay the lines through the present state, and find the next time at which a watch jumps."""
    if lines is None:
        return OK
    apart()
    y, t = walker.y, walker.y[field.clock]
    for c in range(walker.lines.shape[1]):
        i = field.first_flow + c
        value, slope = y[field.lists[i, COORDINATE]], run_program(field.laws, field.lists[i, PROGRAM], y, field.stack)
        if not np.isfinite(slope):
            walker.cursor[CULPRIT] = c
            return UNDEFINED_FLOW
        # A line that goes on keeps its origin, so that round-off does not add up from jump to jump.
        if not (slope == walker.lines[RATE, c] and value == walker.lines[BASE, c] + slope * (t - walker.lines[SINCE, c])):
            walker.lines[BASE, c], walker.lines[SINCE, c], walker.lines[RATE, c] = value, t, slope
    walker.real[NEXT_TURN] = np.inf
    for w in range(len(field.rounding)):
        walker.real[NEXT_TURN] = min(walker.real[NEXT_TURN], turn(field, walker, w, t))
    move_to(field, walker, t)
    return OK


@inner
def turn(field, walker, w, t):
    """The first time after t at which watch w differs from what it is at t; inf if there is none."""
    ahead = walker.real[HORIZON]
    now = run_program(field.laws, field.first_watch + 2 * w, walker.y, field.stack)
    measure = run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack)
    move_to(field, walker, t + ahead)
    gain = run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack) - measure
    target = 0.0
    if field.rounding[w] == FLOOR:  # jumps on reaching a whole number from below, and on leaving it downwards
        target = np.floor(measure) + (1.0 if gain > 0.0 else 0.0)
    elif field.rounding[w] == CEILING:
        target = np.ceil(measure) - (0.0 if gain > 0.0 else 1.0)
    wait = ahead * ((target - measure) / gain)
    if 0.0 < wait < np.inf:  # once more, from nearby: now all digits are right
        move_to(field, walker, t + wait)
        wait *= (target - measure) / (run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack) - measure)
    found = np.inf
    if 0.0 <= wait < np.inf:
        found = bracket(field, walker, w, now, t, t + wait)
    move_to(field, walker, t)
    return found


@inner
def bracket(field, walker, w, now, t, guess):
    """The first time at which watch w is no longer `now`, near a guess; inf if it stays."""
    doubt = 4e-16 * max(abs(guess), abs(t))
    for _ in range(_DOUBTS):
        if doubt > 1e-6 * (guess - t) + 1e-12 * abs(guess):
            return np.inf
        late = max(guess + doubt, np.nextafter(t, np.inf))
        if jumped(field, walker, w, now, late):
            break
        doubt *= 4.0
    else:
        return np.inf
    early = guess - doubt
    if early < t or jumped(field, walker, w, now, early):
        early = t
    while True:
        middle = early + 0.5 * (late - early)
        if not early < middle < late:
            return late
        if jumped(field, walker, w, now, middle):
            late = middle
        else:
            early = middle


@inlined
def jumped(field, walker, w, now, t):
    move_to(field, walker, t)
    return run_program(field.laws, field.first_watch + 2 * w, walker.y, field.stack) != now
