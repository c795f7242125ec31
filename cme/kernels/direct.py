"""Gillespie's direct method, driven by data arrays.

Each event draws a waiting time -log(U)/a0 and then a reaction with probability a_r/a0, where a0 is the sum of the propensities
a_r. Only the propensities that the event may have changed are computed anew. Sums are never updated by differences, so they do not drift:
with few reactions the running sums a_0 + ... + a_r are summed anew from the first changed one on, and the reaction is the number of them
that are not above U a0; with many, they are summed by eights. With few reactions this is, bit by bit, what `cme.kernels.lanes` does for
many paths at once.

Reference: Gillespie, J. Phys. Chem. 81 (1977) 2340, doi:10.1021/j100540a008.
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.eights import Eights, choose, new_eights, sum_all, sum_changed
from cme.kernels.jit import bare, inlined, inner
from cme.kernels.propensity import channel_propensity, is_over
from cme.kernels.random import JUMPS, advance, midpoint, minus_log, open_stream, place, uniform
from cme.kernels.record import record, record_end
from cme.kernels.stoichiometry import fire_at_random, varies

OK, NEGATIVE_COUNT, NEGATIVE_PROPENSITY, UNDEFINED_PROPENSITY, FULL, CANCELLED, OVERFLOW, STALLED = range(8)

LARGEST_COUNT = 2**62
LARGEST_PROPENSITY = 1e300  # so that no sum of propensities is infinite
LINEAR = 64  # up to this many reactions there are running sums of all of them
AHEAD = 32  # events for which random numbers are drawn at once: logarithms of many numbers are vector instructions
_ONE = np.uint64(1)
_PAUSE = 4095  # events between two looks at the outside, less one (a mask)
SAMPLES, EVENTS, CULPRIT, LEFT = 0, 1, 2, 3  # places in Walker.cursor


class Dependents(NamedTuple):
    """What is to be computed anew when reaction r has fired: all that it changes, and more where that is faster."""

    pointer: np.ndarray  # (R + 1,)
    reaction: np.ndarray  # in order
    first: np.ndarray  # (R,) the first running sum to be summed anew; R if none
    everything: bool  # all propensities are computed anew after each event: with few reactions, loops of one length are faster


class Walker(NamedTuple):
    """One path in progress: all that is needed to go on where it stopped."""

    x: np.ndarray  # (S + 1,) int64 counts, and a 1; see `cme.kernels.propensity.Channels`
    y: np.ndarray  # (S + 1,) the same as float64
    a: np.ndarray  # (R,) propensities
    sums: np.ndarray  # (R + 1,) running sums and inf, up to LINEAR reactions
    eights: Eights  # where there are more; the propensities are its first numbers
    stack: np.ndarray
    random: np.ndarray  # (4,) uint64 generator state
    waits: np.ndarray  # (AHEAD,) drawn ahead: exponential numbers of mean one
    shares: np.ndarray  # (AHEAD,) and uniform ones
    clock: np.ndarray  # (1,) time of the last event
    cursor: np.ndarray  # (4,) samples written, events so far, the reaction that went wrong, how many of the numbers drawn ahead are left


def new_walker(n_species, n_reactions, stack_size):
    """The memory of a path (plain Python)."""
    eights = new_eights(n_reactions)
    return Walker(
        x=np.ones(n_species + 1, np.int64),
        y=np.ones(n_species + 1),
        a=eights.sums[:n_reactions],
        sums=np.append(np.zeros(n_reactions), np.inf),
        eights=eights,
        stack=np.zeros(max(stack_size, 1)),
        random=np.zeros(4, np.uint64),
        waits=np.zeros(AHEAD),
        shares=np.zeros(AHEAD),
        clock=np.zeros(1),
        cursor=np.zeros(4, np.int64),
    )


@bare
def run_paths(channels, dependents, times, key, first, n_paths, starts, cumulative, walker, when, which, cancel, done, sink):
    """Run the paths first, first + 1, ... into the sink; `done` (2,) holds the paths and events so far, `when` and `which` are empty.

    On a fault the walker stands where it happened.
    """
    done[1] = 0.0
    for m in range(n_paths):
        done[0] = m
        if cancel[0] != 0:
            return CANCELLED
        start_path(key, first + m, starts, cumulative, walker)
        status = run_path(channels, dependents, times, walker, when, which, cancel, done, sink, m)
        if status != OK:
            return status
        done[1] += walker.cursor[EVENTS]
    done[0] = n_paths
    return OK


@bare
def begin_path(channels, dependents, key, path, starts, cumulative, walker):
    """Get ready to run a path. The engines that keep more than propensities fill it in here."""
    start_path(key, path, starts, cumulative, walker)
    return OK


@bare
def start_path(key, path, starts, cumulative, walker):
    """Open the random stream of a path and put the walker on its initial state, drawn if there are several."""
    open_stream(key, JUMPS, path, walker.random)
    k = draw_start(starts, cumulative, walker.random)
    for s in range(starts.shape[1]):
        walker.x[s] = starts[k, s]
        walker.y[s] = starts[k, s]
    walker.clock[0] = 0.0
    walker.cursor[:] = 0


@inlined
def draw_start(starts, cumulative, random):
    """Which of the initial states a path has."""
    if starts.shape[0] == 1:
        return 0
    return place(cumulative, uniform(random) * cumulative[-1])


@bare
def run_path(channels, dependents, times, walker, when, which, cancel, done, sink, path):
    """Go on with a path until its last sample. If `when` and `which` have room, every event is written there.

    Returns FULL when they are full. Called again with longer copies, the path goes on as if it had not stopped: propensities and
    their sums depend on the counts alone.
    """
    x, y, a, sums, eights, stack, random = walker.x, walker.y, walker.a, walker.sums, walker.eights, walker.stack, walker.random
    n_times, n_reactions, room = len(times), len(a), len(when)
    few, left = n_reactions <= LINEAR, np.uint64(walker.cursor[LEFT])
    t, k, events = walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS]
    status = OK
    if is_over(channels, y, stack):
        record_end(sink, path, k, x, t)
        return OK
    for r in range(n_reactions):
        a[r] = channel_propensity(channels, r, x, y, stack)
        if not 0.0 <= a[r] <= LARGEST_PROPENSITY:
            walker.cursor[CULPRIT] = r
            return fault(a[r])
    total = sum_up(a, sums, 0) if few else sum_all(eights)
    paths_done = done[0]
    while True:
        if events & _PAUSE == _PAUSE:
            done[0] = paths_done + t / times[-1]
            if cancel[0] != 0:
                status = CANCELLED
                break
            if t + 1.0 / total == t:
                status, walker.cursor[CULPRIT] = STALLED, largest(a)
                break
        if events == room and room > 0:
            status = FULL
            break
        following = np.inf
        if total > 0.0:
            if left == 0:
                left = draw_ahead(channels, walker)
            following = t + walker.waits[left - _ONE] / total
        while times[k] < following:
            record(sink, path, k, x)
            k += 1
            if k == n_times:
                walker.cursor[SAMPLES], walker.cursor[EVENTS] = k, events
                return OK
        t = following

        left -= _ONE
        u = walker.shares[left] * total
        if few:
            r = count_up_to(sums, u)
            if r == n_reactions:
                r = last_possible(a, 0, n_reactions)
        else:
            r = choose(eights, u)
        if varies(channels.varying, r):
            status = fire_at_random(channels, channels.varying, r, x, y, stack, random)
        else:
            status = fire(channels, r, x, y)
        if status != OK:
            walker.cursor[CULPRIT] = r
            break
        if room > 0:
            when[events] = t
            which[events] = r
        events += 1
        if is_over(channels, y, stack):
            record_end(sink, path, k, x, t)
            break

        if dependents.everything:
            total, lowest = 0.0, 0.0
            for i in range(n_reactions):
                value = channel_propensity(channels, i, x, y, stack)
                lowest = min(lowest, value)
                a[i] = value
                total += value
                sums[i] = total
            if lowest < 0.0 or not total <= LARGEST_PROPENSITY:
                status = first_fault(a, walker.cursor)
                if status != OK:
                    return status
            continue
        n_changed = 0
        for i in range(dependents.pointer[r], dependents.pointer[r + 1]):
            j = np.int64(dependents.reaction[i])
            value = channel_propensity(channels, j, x, y, stack)
            if not 0.0 <= value <= LARGEST_PROPENSITY:
                walker.cursor[CULPRIT] = j
                return fault(value)
            a[j] = value
            if not few and (n_changed == 0 or j >> 3 != eights.changed[n_changed - 1]):  # dependents are in order
                eights.changed[n_changed] = j >> 3
                n_changed += 1
        total = sum_up(a, sums, dependents.first[r]) if few else sum_changed(eights, n_changed)
    walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS], walker.cursor[LEFT] = t, k, events, left
    return status


@inlined
def draw_ahead(channels, walker):
    """Draw the numbers of the next events, in the order in which one event after the other would. Returns of how many events.

    They are used from the last place down. Where firing draws numbers, too, it is one event.
    """
    random = walker.random
    n = np.uint64(AHEAD if channels.varying is None else 1)
    s0, s1, s2, s3 = random[0], random[1], random[2], random[3]
    for i in range(n):
        word, s0, s1, s2, s3 = advance(s0, s1, s2, s3)
        walker.waits[n - _ONE - i] = midpoint(word)
        word, s0, s1, s2, s3 = advance(s0, s1, s2, s3)
        walker.shares[n - _ONE - i] = midpoint(word)
    for i in range(n):
        walker.waits[i] = minus_log(walker.waits[i])
    random[0], random[1], random[2], random[3] = s0, s1, s2, s3
    return n


@inlined
def fault(value):
    """The status of a propensity that is none."""
    return NEGATIVE_PROPENSITY if -LARGEST_PROPENSITY <= value < 0.0 else UNDEFINED_PROPENSITY


@inner
def first_fault(a, cursor):
    """The status of the first propensity that is none, if there is one."""
    for r in range(len(a)):
        if not 0.0 <= a[r] <= LARGEST_PROPENSITY:
            cursor[CULPRIT] = r
            return fault(a[r])
    return OK


@inlined
def sum_up(a, sums, first):
    """The running sums of a, those before `first` being right already; and the last of them."""
    total = sums[first - 1] if first > 0 else 0.0
    for r in range(first, len(a)):
        total += a[r]
        sums[r] = total
    return total


@inlined
def count_up_to(sums, u):
    """How many of the running sums are not above u: the reaction in whose share u falls."""
    r = 0
    while sums[r] <= u:
        r += 1
    return r


@inlined
def largest(a):
    """The place of the largest entry."""
    r = 0
    for i in range(len(a)):
        if a[i] > a[r]:
            r = i
    return r


@inlined
def pick(weights, first, stop, u):
    """The entry in which u falls when the weights are laid end to end, and how far into it."""
    for i in range(first, stop):
        if u < weights[i]:
            return i, u
        u -= weights[i]
    return last_possible(weights, first, stop), u


@inlined
def last_possible(weights, first, stop):
    """The last entry that can be picked, where round-off went past the end."""
    i = stop - 1
    while weights[i] == 0.0 and i > first:
        i -= 1
    return i


@inlined
def fire(channels, r, x, y):
    """Change the counts by reaction r, or leave them as they are and say why not."""
    first, stop = channels.change_pointer[r], channels.change_pointer[r + 1]
    negative, past = False, False
    for i in range(first, stop):
        s = channels.change_species[i]
        count = x[s] + channels.change_amount[i]
        negative |= count < 0
        past |= count > LARGEST_COUNT
        x[s] = count
        y[s] = count
    if not (negative or past):
        return OK
    for i in range(first, stop):
        x[channels.change_species[i]] -= channels.change_amount[i]
    return NEGATIVE_COUNT if negative else OVERFLOW
