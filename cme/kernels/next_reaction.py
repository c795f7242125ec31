"""The next reaction method: every reaction has a time at which it is due, and the earliest fires.

Reaction r fires when the integral of its propensity over time reaches an exponential number. What is `left` of that number shrinks at
rate a_r, so that the reaction is due at t + left / a_r. An event draws one random number, for the reaction that fired; all others keep
theirs: when a propensity changes, what is left by then gives the new due time. At propensity zero nothing is used up, and the reaction is
due at infinity until it returns. The due times are in a binary heap in which every reaction knows its place.

An event costs one random number and O(log R) for each propensity that it changes. Today random numbers are cheap and a heap's jumps in
memory are not: on births and deaths, chains and rings of up to 20 000 reactions the better one of the direct and the rejection method took
0.4 to 0.9 of its time, so that `ssa` never chooses it by itself. It is here to check those two by an algorithm that shares little with
them.

References: Gibson and Bruck, J. Phys. Chem. A 104 (2000) 1876, doi:10.1021/jp993732q (heap, re-use of random numbers); Anderson,
J. Chem. Phys. 127 (2007) 214107, doi:10.1063/1.2799998 (what is left in internal time, which needs no special case at zero).
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.direct import CANCELLED, CULPRIT, EVENTS, FULL, LARGEST_PROPENSITY, OK, SAMPLES, STALLED, fault, fire, largest, start_path
from cme.kernels.jit import bare, inlined
from cme.kernels.propensity import channel_propensity, is_over
from cme.kernels.random import exponential
from cme.kernels.record import record, record_end

_PAUSE = 4095  # events between two looks at the outside, less one (a mask)
# Times are rounded by 1e-16 of themselves. Where that is more than 1e-4 of the mean wait for a reaction, due times would tie, and the heap
# would decide which reaction fires.
_FASTEST = 4.5e11  # propensity times the time
UNRESOLVED = 21


class Walker(NamedTuple):
    """One path in progress: all that is needed to go on where it stopped."""

    x: np.ndarray  # (S + 1,) int64 counts, and a 1; see `cme.kernels.propensity.Channels`
    y: np.ndarray  # (S + 1,) the same as float64
    a: np.ndarray  # (R,) propensities
    left: np.ndarray  # (R,) of the exponential number of each reaction, at the time `since`
    since: np.ndarray  # (R,)
    due: np.ndarray  # (R,) when each reaction fires
    heap: np.ndarray  # (R,) reactions: none is due before the one at half its place
    place: np.ndarray  # (R,) of each reaction in the heap
    stack: np.ndarray
    random: np.ndarray  # (4,) uint64 generator state
    clock: np.ndarray  # (1,) time of the last event
    cursor: np.ndarray  # (3,) samples written, events so far, the reaction that went wrong


def new_walker(n_species, n_reactions, stack_size):
    """The memory of a path (plain Python)."""
    return Walker(
        x=np.ones(n_species + 1, np.int64),
        y=np.ones(n_species + 1),
        a=np.zeros(n_reactions),
        left=np.zeros(n_reactions),
        since=np.zeros(n_reactions),
        due=np.zeros(n_reactions),
        heap=np.zeros(n_reactions, np.int64),
        place=np.zeros(n_reactions, np.int64),
        stack=np.zeros(max(stack_size, 1)),
        random=np.zeros(4, np.uint64),
        clock=np.zeros(1),
        cursor=np.zeros(3, np.int64),
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
        status = begin_path(channels, dependents, key, first + m, starts, cumulative, walker)
        if status == OK:
            status = run_path(channels, dependents, times, walker, when, which, cancel, done, sink, m)
        if status != OK:
            return status
        done[1] += walker.cursor[EVENTS]
    done[0] = n_paths
    return OK


@bare
def begin_path(channels, dependents, key, path, starts, cumulative, walker):
    """Put the walker on its initial state, draw a number for every reaction and make the heap."""
    start_path(key, path, starts, cumulative, walker)
    if is_over(channels, walker.y, walker.stack):  # so that it does not matter what the propensities are
        return OK
    n = len(walker.a)
    for r in range(n):
        a = channel_propensity(channels, r, walker.x, walker.y, walker.stack)
        if not 0.0 <= a <= LARGEST_PROPENSITY:
            walker.cursor[CULPRIT] = r
            return fault(a)
        walker.a[r], walker.since[r], walker.left[r] = a, 0.0, exponential(walker.random)
        walker.due[r] = -np.inf
        walker.heap[r] = walker.place[r] = r
    for r in range(n - 1, -1, -1):
        sift(walker, r)
    return OK


@bare
def run_path(channels, dependents, times, walker, when, which, cancel, done, sink, path):
    """Go on with a path until its last sample. If `when` and `which` have room, every event is written there.

    Returns FULL when they are full. Called again with longer copies, the path goes on as if it had not stopped.
    """
    n_times, room = len(times), len(when)
    t, k, events = walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS]
    status, paths_done = OK, done[0]
    if is_over(channels, walker.y, walker.stack):
        record_end(sink, path, k, walker.x, t)
        return OK
    while True:
        if events & _PAUSE == _PAUSE:
            done[0] = paths_done + t / times[-1]
            if cancel[0] != 0:
                status = CANCELLED
                break
            if t + 1.0 / np.sum(walker.a) == t:
                status, walker.cursor[CULPRIT] = STALLED, largest(walker.a)
                break
        if events == room and room > 0:
            status = FULL
            break
        r = walker.heap[0] if len(walker.heap) > 0 else -1
        following = walker.due[r] if r >= 0 else np.inf
        while times[k] < following:
            record(sink, path, k, walker.x)
            k += 1
            if k == n_times:
                walker.cursor[SAMPLES], walker.cursor[EVENTS] = k, events
                return OK
        t = following

        status = fire(channels, r, walker.x, walker.y)
        if status != OK:
            walker.cursor[CULPRIT] = r
            break
        if room > 0:
            when[events] = t
            which[events] = r
        events += 1
        if is_over(channels, walker.y, walker.stack):
            record_end(sink, path, k, walker.x, t)
            break
        walker.left[r], walker.since[r] = exponential(walker.random), t
        if walker.a[r] * t > _FASTEST:
            status, walker.cursor[CULPRIT] = UNRESOLVED, r
            break
        for i in range(dependents.pointer[r], dependents.pointer[r + 1]):
            j = np.int64(dependents.reaction[i])
            a = channel_propensity(channels, j, walker.x, walker.y, walker.stack)
            if not 0.0 <= a <= LARGEST_PROPENSITY:
                walker.cursor[CULPRIT] = j
                status = fault(a)
                break
            if a == walker.a[j]:
                continue
            # Not less than zero: the reaction is not overdue, it only looks so by round-off.
            walker.left[j] = max(walker.left[j] - walker.a[j] * (t - walker.since[j]), 0.0)
            walker.a[j], walker.since[j] = a, t
            if a * t > _FASTEST:
                status, walker.cursor[CULPRIT] = UNRESOLVED, j
                break
            if j != r:  # which stays on top, due now, until the others have moved
                sift(walker, j)
        if status != OK:
            break
        sift(walker, r)
    walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS] = t, k, events
    return status


@inlined
def sift(walker, r):
    """Compute when a reaction is due, and move it to where it belongs in the heap."""
    heap, place, due, n = walker.heap, walker.place, walker.due, len(walker.heap)
    due[r] = walker.since[r] + walker.left[r] / walker.a[r] if walker.a[r] > 0.0 else np.inf
    i = place[r]
    while i > 0 and due[r] < due[heap[(i - 1) >> 1]]:  # up, while it comes before the one above
        heap[i] = heap[(i - 1) >> 1]
        place[heap[i]] = i
        i = (i - 1) >> 1
    while 2 * i + 1 < n:  # down, while one below comes before it
        below = 2 * i + 1
        if below + 1 < n and due[heap[below + 1]] < due[heap[below]]:
            below += 1
        if due[r] <= due[heap[below]]:
            break
        heap[i] = heap[below]
        place[heap[i]] = i
        i = below
    heap[i] = r
    place[r] = i
