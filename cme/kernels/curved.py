"""Flow along curves: Dormand and Prince's method of orders 5 and 4, with the hazard integrated along and turns found on its polynomial.

Each step keeps the error of every variable below 1e-9 of its size, and that of the integrated hazard below 1e-9. No step is longer than a
32nd of the run, and none passes a time of `cme.resolved_times`, between which there is no pulse of the rates in time. A step ends where a
watch jumps, so that the right-hand side is smooth on it. Watches are seen at eight points of a step and where their measures have extrema
between these; a step is halved until its measures are smooth there.

References: Dormand and Prince, J. Comput. Appl. Math. 6 (1980) 19, doi:10.1016/0771-050X(80)90013-3; Hairer, Norsett and Wanner,
Solving Ordinary Differential Equations I (1993), doi:10.1007/978-3-540-78862-1, section II.6 (the polynomial of order 4).
"""

import numpy as np

from cme.kernels.direct import LARGEST_PROPENSITY, fault
from cme.kernels.events import COORDINATE, OK, PROGRAM
from cme.kernels.jit import inlined, inner
from cme.kernels.propensity import run_program
from cme.kernels.straight import (
    CULPRIT,
    END,
    HORIZON,
    LEFT,
    MOVES,
    NEXT_PLANNED,
    REACTION,
    SAMPLES,
    STEP,
    STEPS,
    STOP,
    TURN,
    UNDEFINED_FLOW,
    record,
)  # fmt: skip
from cme.kernels.thinned import PASSED

TOLERANCE = 1e-9
LOOKS = 32.0  # no step is longer than such a part of the run; the longest gap between two stages is half a step
MOST_STEPS = 1_000_000  # between two stops or samples
TOO_MANY_STEPS = 16
_SECANTS = 4
_NODES = 8  # points of a step at which watches are looked at
_CUTS = 5  # how often a step is cut where a watch seems to jump
_NARROWEST = 1e-9  # of the whole time: steps that are not halved for a measure with a kink
START, FINISH, LARGEST, STAGE, CURVE, ROWS = 0, 1, 2, 3, 10, 15  # rows of Walker.curve: both ends, largest so far, stages, polynomial
_C = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
_A = np.array([
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [1 / 5, 0.0, 0.0, 0.0, 0.0, 0.0],
    [3 / 40, 9 / 40, 0.0, 0.0, 0.0, 0.0],
    [44 / 45, -56 / 15, 32 / 9, 0.0, 0.0, 0.0],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0.0, 0.0],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0.0],
    [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
])  # fmt: skip
_ERROR = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
_DENSE = np.array([
    -12715105075 / 11282082432, 0.0, 87487479700 / 32700410799, -10690763975 / 1880347072, 701980252875 / 199316789632,
    -1453857185 / 822651844, 69997945 / 29380423,
])  # fmt: skip


@inlined
def glide_curved(field, times, walker, samples):
    """Go to the next stop, and write the samples on the way. A sample at the time of a stop sees what is after it."""
    y, cursor = walker.y, walker.cursor
    still = 0.0
    for r in range(len(walker.a)):
        if field.reactions[r, MOVES] == 0:
            still += walker.a[r]
    limit = min(walker.real[NEXT_PLANNED], times[-1])
    for w in range(len(walker.seen)):
        walker.seen[w] = run_program(field.laws, field.first_watch + 2 * w, y, field.stack)
    status = derivatives(field, walker, still, np.int64(0))
    if status == OK:
        status = check(field, walker)
    while status == OK:
        t = y[field.clock]
        if not t < limit:  # only the last sample, or all of them at 0
            return finish(walker, samples)
        while field.ends[cursor[PASSED]] <= t:
            cursor[PASSED] += 1
            cursor[STEPS] = 0
        end = min(t + walker.real[STEP], limit, field.ends[cursor[PASSED]])
        hazard = walker.curve[STAGE, walker.curve.shape[1] - 1]
        if hazard > 0.0:
            end = min(end, t + 2.0 * walker.real[LEFT] / hazard + 1e-12 * walker.real[HORIZON])
        status, end, turn = step(field, walker, still, t, end)
        if status != OK:
            return status
        stop, stopped_by = end, TURN if end == walker.real[NEXT_PLANNED] else 0
        if turn < np.inf:
            stop, stopped_by = turn, TURN
        width = end - t
        if integrated(walker, (stop - t) / width) >= walker.real[LEFT]:
            stop, stopped_by = reaction_time(walker, t, width, stop), REACTION
        while times[cursor[SAMPLES]] < stop or (times[cursor[SAMPLES]] == stop and stopped_by == 0):
            interpolate(field, walker, t, width, times[cursor[SAMPLES]])
            cursor[STEPS] = 0
            if record(walker, samples):
                cursor[STOP] = END
                return OK
        walker.real[LEFT] = max(walker.real[LEFT] - integrated(walker, (stop - t) / width), 0.0)
        for c in range(walker.curve.shape[1] - 1):
            walker.curve[LARGEST, c] = max(walker.curve[LARGEST, c], abs(walker.curve[FINISH, c]))
        interpolate(field, walker, t, width, stop)
        if stopped_by != 0:
            cursor[STOP] = stopped_by
            return OK
        for c in range(walker.curve.shape[1] - 1):
            y[field.lists[field.first_flow + c, COORDINATE]] = walker.curve[FINISH, c]
        for c in range(walker.curve.shape[1]):
            walker.curve[STAGE, c] = walker.curve[STAGE + 6, c]
        status = check(field, walker)
        cursor[STEPS] += 1
        if cursor[STEPS] > MOST_STEPS:
            return TOO_MANY_STEPS
    return status


@inlined
def finish(walker, samples):
    record(walker, samples)
    walker.cursor[STOP] = END
    return OK


@inlined
def derivatives(field, walker, still, s):
    """What flows and the hazard, in the present state, into row s of the stages; the propensities that move into `a`."""
    n = walker.curve.shape[1] - 1
    for c in range(n):
        walker.curve[STAGE + s, c] = run_program(field.laws, field.lists[field.first_flow + c, PROGRAM], walker.y, field.stack)
    hazard = still
    for r in range(len(walker.a)):
        if field.reactions[r, MOVES] != 0:
            walker.a[r] = run_program(field.laws, r, walker.y, field.stack)
            hazard += max(walker.a[r], 0.0)
    walker.curve[STAGE + s, n] = hazard
    return OK


@inlined
def check(field, walker):
    """Is everything defined at the start of a step? A propensity may be below zero by no more than the tolerance, and counts as zero."""
    for r in range(len(walker.a)):
        if field.reactions[r, MOVES] != 0 and not -TOLERANCE <= walker.a[r] <= LARGEST_PROPENSITY:
            walker.cursor[CULPRIT] = r
            return fault(walker.a[r])
    for c in range(walker.curve.shape[1] - 1):
        if not np.isfinite(walker.curve[STAGE, c]):
            walker.cursor[CULPRIT] = c
            return UNDEFINED_FLOW
    return OK


@inlined
def step(field, walker, still, t, end):
    """A step from t to `end` or before: its status, where it ends, and the first time at which a watch has jumped (inf if none has).

    The state is left at t; the polynomial holds what is between.
    """
    y = walker.y
    tried = end - t
    for c in range(walker.curve.shape[1] - 1):
        walker.curve[START, c] = y[field.lists[field.first_flow + c, COORDINATE]]
    turn, cuts, factor = np.inf, 0, 1.0
    while True:
        width = end - t
        if not width > 0.0 or walker.cursor[STEPS] > MOST_STEPS:  # no room between floating-point numbers, or no patience
            return TOO_MANY_STEPS, end, np.inf
        walker.cursor[STEPS] += 1
        error = attempt(field, walker, still, t, end)
        early, turn, smooth = np.inf, np.inf, True
        if len(walker.seen) > 0 and np.isfinite(error):
            early, turn, smooth = look_along(field, walker, t, end)
        factor = min(max(0.9 * error**-0.2, 0.2), 5.0) if error > 0.0 else 5.0
        if not np.isfinite(error):
            end = t + 0.2 * width
        elif turn < np.inf and early <= t:
            break
        elif turn < np.inf and (error > 1.0 or end - early > 1e-6 * width) and cuts < _CUTS:
            end = early  # the last time before a jump: the right-hand side may not be smooth beyond it
            cuts += 1
        elif error > 1.0:
            end = t + factor * width
        elif not smooth and width > _NARROWEST * walker.real[HORIZON]:
            end = t + 0.5 * width
        else:
            break
    if cuts > 0 and turn == np.inf:
        after = np.nextafter(end, np.inf)
        for w in range(len(walker.seen)):
            if differs(field, walker, t, width, w, after):
                turn = after
    for c in range(walker.curve.shape[1] - 1):
        y[field.lists[field.first_flow + c, COORDINATE]] = walker.curve[START, c]
    y[field.clock] = t
    proposed = width * (min(factor, 2.0) if len(walker.seen) > 0 else factor)
    if cuts > 0 or width == tried < walker.real[STEP]:  # it was no error that kept the step short
        proposed = max(proposed, walker.real[STEP])
    walker.real[STEP] = min(proposed, walker.real[HORIZON] / LOOKS)
    return OK, end, turn


@inlined
def attempt(field, walker, still, t, end):
    """The stages of a step, its polynomial, and its error in units of the tolerance; stage 0 is there."""
    y, curve, n, width = walker.y, walker.curve, walker.curve.shape[1] - 1, end - t
    for s in range(1, 7):
        y[field.clock] = end if s >= 5 else t + _C[s] * width
        for c in range(n):
            total = 0.0
            for j in range(s):
                total += _A[s, j] * curve[STAGE + j, c]
            y[field.lists[field.first_flow + c, COORDINATE]] = walker.curve[START, c] + width * total
        derivatives(field, walker, still, s)
    worst = 0.0
    for c in range(n + 1):
        last, rise, error, dense = 0.0, 0.0, 0.0, 0.0
        for s in range(6):
            rise += _A[6, s] * curve[STAGE + s, c]
        for s in range(7):
            error += _ERROR[s] * curve[STAGE + s, c]
            dense += _DENSE[s] * curve[STAGE + s, c]
        rise *= width
        first = walker.curve[START, c] if c < n else 0.0
        last = first + rise
        walker.curve[CURVE, c] = first
        walker.curve[CURVE + 1, c] = rise
        walker.curve[CURVE + 2, c] = width * curve[STAGE, c] - rise
        walker.curve[CURVE + 3, c] = 2.0 * rise - width * (curve[STAGE + 6, c] + curve[STAGE, c])
        walker.curve[CURVE + 4, c] = width * dense
        scale = 1.0 + abs(last)  # a step across a kink may come out negative
        if c < n:
            walker.curve[FINISH, c] = last
            scale = max(abs(first), abs(last), width * abs(curve[STAGE, c])) + 1e-6 * walker.curve[LARGEST, c]
        ratio = width * abs(error) / (TOLERANCE * scale) if error != 0.0 else 0.0
        if not ratio <= worst:
            worst = ratio
    return worst


@inlined
def along(walker, c, u):
    """The polynomial of coordinate c at a fraction u of the step."""
    curve, v = walker.curve, 1.0 - u
    return curve[CURVE, c] + u * (curve[CURVE + 1, c] + v * (curve[CURVE + 2, c] + u * (curve[CURVE + 3, c] + v * curve[CURVE + 4, c])))


@inlined
def integrated(walker, u):
    """The hazard from the start of a step to a fraction of it."""
    return along(walker, walker.curve.shape[1] - 1, u)


@inner
def interpolate(field, walker, t, width, s):
    """The state at time s of a step."""
    walker.y[field.clock] = s
    for c in range(walker.curve.shape[1] - 1):
        walker.y[field.lists[field.first_flow + c, COORDINATE]] = along(walker, c, (s - t) / width)


@inlined
def reaction_time(walker, t, width, stop):
    """When the integrated hazard reaches what was left of it: secants come close, bisection finds the first floating-point time."""
    early, late, left = t, stop, walker.real[LEFT]
    below, above = -left, integrated(walker, (stop - t) / width) - left
    for _ in range(_SECANTS):
        guess = early - below * ((late - early) / (above - below))
        doubt = 4e-16 * (abs(guess) + abs(t))
        for near in (guess - doubt, guess + doubt):
            if early < near < late:
                excess = integrated(walker, (near - t) / width) - left
                if excess >= 0.0:
                    late, above = near, excess
                else:
                    early, below = near, excess
        if late - early <= 4.0 * doubt:
            break
    while True:
        middle = early + 0.5 * (late - early)
        if not early < middle < late:
            return late
        if integrated(walker, (middle - t) / width) >= walker.real[LEFT]:
            late = middle
        else:
            early = middle


@inlined
def look_along(field, walker, t, end):
    """Look for the first jump of a watch on a step: the last time before it, the first after it, and whether all measures are smooth."""
    early, late, smooth, width = np.inf, np.inf, True, end - t
    for w in range(len(walker.seen)):
        before, jump = t, np.inf
        for i in range(_NODES + 1):
            s = t + width * (i / _NODES) if i < _NODES else end
            interpolate(field, walker, t, width, s)
            walker.measured[i] = run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack)
            if run_program(field.laws, field.first_watch + 2 * w, walker.y, field.stack) != walker.seen[w]:
                jump = s
                break
            before = s
        if jump == np.inf:
            smooth = smooth and is_smooth(walker.measured)
            for i in range(1, _NODES):
                before, jump = look_at_extremum(field, walker, t, width, w, i)
                if jump < np.inf:
                    break
        if jump < late:
            while True:
                middle = before + 0.5 * (jump - before)
                if not before < middle < jump:
                    break
                if differs(field, walker, t, width, w, middle):
                    jump = middle
                else:
                    before = middle
            if jump < late:
                early, late = before, jump
    return early, late, smooth


@inlined
def is_smooth(g):
    """Are the fourth differences small? Then nothing happens between the points that they do not show."""
    low, high, rough = g[0], g[0], 0.0
    for i in range(len(g)):
        low, high = min(low, g[i]), max(high, g[i])
    for i in range(len(g) - 4):
        rough = max(rough, abs(g[i] - 4.0 * g[i + 1] + 6.0 * g[i + 2] - 4.0 * g[i + 3] + g[i + 4]))
    return not rough > 0.2 * (high - low) or high - low <= 1e-12 * max(abs(low), abs(high))


@inner
def differs(field, walker, t, width, w, s):
    interpolate(field, walker, t, width, s)
    return run_program(field.laws, field.first_watch + 2 * w, walker.y, field.stack) != walker.seen[w]


@inlined
def look_at_extremum(field, walker, t, width, w, i):
    """Does the watch jump and jump back around an extremum of its measure near point i? A time before it and one at it, or inf."""
    g, spacing = walker.measured, width / _NODES
    bend, tilt = g[i + 1] - 2.0 * g[i] + g[i - 1], 0.5 * (g[i + 1] - g[i - 1])
    if bend == 0.0 or not abs(tilt) <= abs(bend):
        return t, np.inf
    place = t + spacing * (i - tilt / bend)
    before, reach = t + spacing * (i - 1), 0.5 * spacing
    for _ in range(8):  # closer and closer parabolas
        if not t <= place <= t + width:
            return t, np.inf
        if differs(field, walker, t, width, w, place):
            return before, place
        at = run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack)
        gap = abs(at - np.round(at)) if field.rounding[w] != 0 else abs(at)
        if gap > 0.1 * abs(bend):  # an extremum that stays away from where the watch jumps
            return t, np.inf
        reach *= 0.25
        interpolate(field, walker, t, width, place - reach)
        left = run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack)
        interpolate(field, walker, t, width, place + reach)
        right = run_program(field.laws, field.first_watch + 2 * w + 1, walker.y, field.stack)
        curvature = right - 2.0 * at + left
        shift = -0.5 * (right - left) / curvature
        if curvature == 0.0 or not abs(shift) <= 4.0:
            return t, np.inf
        place += shift * reach
    return t, np.inf
