"""Tau-leaping, explicit and implicit, with exact steps where a leap is not worth it. See `cme.tau_leap` for the rules and why.

The counts are kept as float64 numbers that are whole, up to 2^52: Newton's method needs real ones in the same formulas.
"""

import numpy as np

from cme.kernels.direct import CANCELLED, LARGEST_PROPENSITY, NEGATIVE_COUNT, OK, OVERFLOW, STALLED, draw_start, fault, largest, pick
from cme.kernels.jit import apart, bare, inlined, inner
from cme.kernels.leap_length import choose, differentiate, evaluate, survey
from cme.kernels.poisson import poisson
from cme.kernels.propensity import propensity
from cme.kernels.random import LEAPS, exponential, open_stream, uniform
from cme.kernels.stoichiometry import fire_at_random, varies

LARGEST_COUNT = 2.0**52
_EXACT_STEPS = 100  # exact steps before leaps are considered again
_NEWTON = 20  # iterations
_RESIDUAL = 0.01  # molecules
_PAUSE = 1023  # leaps between two looks at the outside, less one (a mask)
CULPRIT = 0  # place in Leaper.cursor
N_LEAPS, N_IMPLICIT, N_EXACT, N_REJECTED = range(4)  # places in the tally


@bare
def run_paths(model, plan, times, key, first, starts, cumulative, leaper, cancel, done, tally, counts):
    """Run paths first, first + 1, ... into counts (M, T, S); `done` (2,) holds the paths and leaps so far, `tally` (4,) what was done."""
    for m in range(counts.shape[0]):
        done[0] = m
        if cancel[0] != 0:
            return CANCELLED
        open_stream(key, LEAPS, first + m, leaper.random)
        k = draw_start(starts, cumulative, leaper.random)
        for s in range(len(leaper.x)):
            leaper.x[s] = starts[k, s]
        status = run_path(model, plan, times, leaper, cancel, done, tally, counts[m])
        if status != OK:
            return status
    done[0] = counts.shape[0]
    return OK


@inner
def run_path(model, plan, times, leaper, cancel, done, tally, counts):
    """One path to its last sample, counts (T, S)."""
    x, a = leaper.x, leaper.a
    n_times, n_reactions = len(times), len(a)
    t, k, paths_done = 0.0, 0, done[0]
    longest = np.inf  # less than that after a leap that was rejected
    while True:
        while times[k] <= t:
            for s in range(len(x)):
                counts[k, s] = np.int64(x[s])
            k += 1
            if k == n_times:
                return OK
        evaluate(model, x, leaper.stack, a)
        total = 0.0
        for r in range(n_reactions):
            if not 0.0 <= a[r] <= LARGEST_PROPENSITY:
                leaper.cursor[CULPRIT] = r
                return fault(a[r])
            total += a[r]
        if total == 0.0:
            t = np.inf
            continue
        if np.int64(done[1]) & _PAUSE == _PAUSE:
            done[0] = paths_done + t / times[-1]
            if cancel[0] != 0:
                return CANCELLED

        room = times[k] - t
        critical_total, smooth = survey(model, plan, leaper)
        tau, implicit = 0.0, 0
        if smooth:
            tau, implicit = choose(model, plan, leaper, room)
        tau = min(tau, longest)
        done[1] += 1.0
        if total * min(tau, room, 1.0 / critical_total if critical_total > 0.0 else np.inf) < plan.worth:
            status, t, k = exact_steps(model, plan, leaper, times, t, k, total, tally, counts)
            if status != OK or k == n_times:
                return status
            longest = np.inf
            continue
        if t + tau == t:
            leaper.cursor[CULPRIT] = largest(a)
            return STALLED

        chosen = n_reactions  # no critical reaction, or the one that ends the leap
        reaches = tau >= room
        if reaches:
            tau = room
        elif 2.0 * tau > room:  # two like leaps, and not a long one and a rest
            tau = 0.5 * room
        if critical_total > 0.0:
            wait = exponential(leaper.random) / critical_total
            if wait < tau:
                tau, reaches = wait, False
                u, chosen = uniform(leaper.random) * critical_total, 0
                while leaper.critical[chosen] == 0.0 or u >= a[chosen]:
                    if leaper.critical[chosen] != 0.0:
                        u -= a[chosen]
                    chosen += 1
                    if chosen == n_reactions:  # round-off took u past the end: the last one that can happen
                        chosen -= 1
                        while leaper.critical[chosen] == 0.0 or a[chosen] == 0.0:
                            chosen -= 1
                        break
        status = leap(model, plan, leaper, tau, implicit, chosen)
        if status > OK:
            return status
        if status < OK:
            tally[N_REJECTED] += 1
            longest = 0.5 * tau
            continue
        for s in range(len(x)):
            x[s] = leaper.y[s]
        tally[N_LEAPS] += 1
        tally[N_IMPLICIT] += implicit
        t = times[k] if reaches else t + tau
        longest = np.inf


@inlined
def leap(model, plan, leaper, tau, implicit, chosen):
    """Try a leap into leaper.y. Returns a status, or -1 if a count would be negative."""
    x, y, a, fired = leaper.x, leaper.y, leaper.a, leaper.fired
    for s in range(len(x)):
        y[s] = x[s]
    for r in range(len(a)):
        fired[r] = 0.0
        if a[r] > 0.0 and leaper.critical[r] == 0.0:
            if not a[r] * tau <= LARGEST_PROPENSITY:
                leaper.cursor[CULPRIT] = r
                return OVERFLOW
            fired[r] = poisson(leaper.random, a[r] * tau)
    if implicit != 0 and not correct(model, plan, leaper, tau):
        return -1
    drawn = chosen < len(a) and varies(model.varying, chosen)
    if chosen < len(a) and not drawn:
        fired[chosen] = 1.0
    top = 0.0
    for r in range(len(a)):
        if fired[r] != 0.0:
            for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                y[model.change_species[i]] += model.change_amount[i] * fired[r]
                top = max(top, y[model.change_species[i]])
    for s in range(len(y)):
        if y[s] < 0.0:
            return -1
    if not top <= LARGEST_COUNT:
        for s in range(len(y)):
            if not y[s] <= LARGEST_COUNT:
                leaper.cursor[CULPRIT] = largest(fired)
                return OVERFLOW
    status = fire_drawn(model, leaper, chosen, y) if drawn else OK
    return -1 if status == NEGATIVE_COUNT else status


@inner
def fire_drawn(model, leaper, r, x):
    """Change the counts x by a reaction whose numbers of molecules are drawn, in this state, or say why not."""
    apart()
    for s in range(len(x)):
        leaper.whole[s] = np.int64(x[s])
    leaper.cursor[CULPRIT] = r
    status = fire_at_random(model, model.varying, r, leaper.whole, x, leaper.stack, leaper.random)
    if status != OK:
        return status
    for s in range(len(x)):
        if x[s] > LARGEST_COUNT:
            return OVERFLOW
    return OK


@inner
def correct(model, plan, leaper, tau):
    """Make firings those of an implicit leap, k = round(P(a(x) tau) + (a(z) - a(x)) tau), with z solved by Newton's method from

    z = x + sum_r nu_r (P(a_r(x) tau) + (a_r(z) - a_r(x)) tau).

    Rounded up or down at random, so that the mean is kept: to the nearest whole number, a correction by less than 1/2 would be lost.
    """
    apart()
    x, z, a, fired, ahead, residual, matrix = leaper.x, leaper.spread, leaper.a, leaper.fired, leaper.ahead, leaper.residual, leaper.matrix
    for s in range(len(x)):
        z[s] = x[s]
    for _ in range(_NEWTON):
        evaluate(model, z, leaper.stack, ahead)
        differentiate(model, plan, z, ahead, leaper.stack, leaper.slope)
        most, worst = 0.0, 0.0
        for s in range(len(x)):
            residual[s] = x[s] - z[s]
            for j in range(len(x)):
                matrix[s, j] = 1.0 if s == j else 0.0
        for r in range(len(a)):
            if leaper.critical[r] != 0.0:
                continue
            if not abs(ahead[r]) <= LARGEST_PROPENSITY:
                return False
            most = max(most, abs(ahead[r]) * tau)
            extent = fired[r] + (ahead[r] - a[r]) * tau
            for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                s, change = model.change_species[i], model.change_amount[i]
                residual[s] += change * extent
                for j in range(plan.read_pointer[r], plan.read_pointer[r + 1]):
                    matrix[s, plan.read[j]] -= change * tau * leaper.slope[j]
        for s in range(len(x)):
            worst = max(worst, abs(residual[s]))
        if worst <= _RESIDUAL + 1e-14 * most:
            for r in range(len(a)):
                if leaper.critical[r] == 0.0:
                    fired[r] = np.floor(fired[r] + (ahead[r] - a[r]) * tau + uniform(leaper.random))
                    if fired[r] < 0.0:
                        return False
            return True
        if not solve(matrix, residual):
            return False
        for s in range(len(z)):
            z[s] += residual[s]
    return False


@inner
def solve(matrix, b):
    """Solve matrix z = b in place, by elimination with row pivots."""
    n = len(b)
    for c in range(n):
        p = c
        for i in range(c + 1, n):
            if abs(matrix[i, c]) > abs(matrix[p, c]):
                p = i
        if not 0.0 < abs(matrix[p, c]) <= LARGEST_PROPENSITY:
            return False
        if p != c:
            for j in range(c, n):
                matrix[c, j], matrix[p, j] = matrix[p, j], matrix[c, j]
            b[c], b[p] = b[p], b[c]
        for i in range(c + 1, n):
            ratio = matrix[i, c] / matrix[c, c]
            if ratio != 0.0:
                for j in range(c + 1, n):
                    matrix[i, j] -= ratio * matrix[c, j]
                b[i] -= ratio * b[c]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            b[i] -= matrix[i, j] * b[j]
        b[i] /= matrix[i, i]
    return True


@inner
def exact_steps(model, plan, leaper, times, t, k, total, tally, counts):
    """Some steps of Gillespie's direct method. Returns the status, the time, and the number of samples written."""
    apart()
    x, a = leaper.x, leaper.a
    for _ in range(_EXACT_STEPS):
        following = np.inf
        if total > 0.0:
            following = t + exponential(leaper.random) / total
        while times[k] < following:
            for s in range(len(x)):
                counts[k, s] = np.int64(x[s])
            k += 1
            if k == len(times):
                return OK, following, k
        if following == t and t + 1.0 / total == t:
            leaper.cursor[CULPRIT] = largest(a)
            return STALLED, t, k
        t = following
        r, _rest = pick(a, 0, len(a), uniform(leaper.random) * total)
        status = fire_drawn(model, leaper, r, x) if varies(model.varying, r) else fire_fixed(model, leaper, r)
        if status != OK:
            return status, t, k
        tally[N_EXACT] += 1
        if varies(model.varying, r):
            evaluate(model, x, leaper.stack, a)
        for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
            s = model.change_species[i]
            for n in range(plan.reader_pointer[s], plan.reader_pointer[s + 1]):
                j = np.int64(plan.reader[n])
                a[j] = propensity(model, j, x, leaper.stack)
        total = 0.0
        for r in range(len(a)):
            if not 0.0 <= a[r] <= LARGEST_PROPENSITY:
                leaper.cursor[CULPRIT] = r
                return fault(a[r]), t, k
            total += a[r]
    return OK, t, k


@inlined
def fire_fixed(model, leaper, r):
    """Change the counts by a reaction that changes the same numbers each time, or leave them as they are and say why not."""
    x = leaper.x
    leaper.cursor[CULPRIT] = r
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        count = x[model.change_species[i]] + model.change_amount[i]
        if count < 0.0:
            return NEGATIVE_COUNT
        if count > LARGEST_COUNT:
            return OVERFLOW
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        x[model.change_species[i]] += model.change_amount[i]
    return OK
