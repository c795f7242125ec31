"""Gillespie's direct method, driven by data arrays.

Each event draws a waiting time -log(U)/a0 and then a reaction with probability a_r/a0, where a0 is the sum of the propensities
a_r. Only the propensities that the event may have changed are computed anew. Sums are never updated by differences, so they do not drift:
with few reactions a0 is summed anew; with many, the sums of the touched blocks are, and a0 from them.

Reference: Gillespie, J. Phys. Chem. 81 (1977) 2340, doi:10.1021/j100540a008.
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.jit import bare, inlined
from cme.kernels.propensity import propensity
from cme.kernels.random import JUMPS, exponential, open_stream, place, uniform

OK, NEGATIVE_COUNT, NEGATIVE_PROPENSITY, UNDEFINED_PROPENSITY, FULL, CANCELLED, OVERFLOW, STALLED = range(8)

LARGEST_COUNT = 2**62
LARGEST_PROPENSITY = 1e300  # so that no sum of propensities is infinite
ONE_BLOCK = 16  # up to this many reactions are summed and searched one by one
_PAUSE = 4095  # events between two looks at the outside, less one (a mask)
SAMPLES, EVENTS, CULPRIT = 0, 1, 2  # places in Walker.cursor


class Walker(NamedTuple):
    """One path in progress: all that is needed to go on where it stopped."""

    x: np.ndarray  # (S,) int64 counts
    a: np.ndarray  # (R,) propensities
    block: np.ndarray  # (n_blocks,) their sums in blocks of 2**shift
    shift: int
    stack: np.ndarray
    random: np.ndarray  # (4,) uint64 generator state
    clock: np.ndarray  # (1,) time of the last event
    cursor: np.ndarray  # (3,) samples written, events so far, the reaction that went wrong


def new_walker(n_species, n_reactions, stack_size):
    """The memory of a path (plain Python)."""
    shift = 4
    if n_reactions > ONE_BLOCK:
        shift = 3
        while 4**shift < n_reactions:
            shift += 1
    n_blocks = (n_reactions + 2**shift - 1) >> shift
    return Walker(
        x=np.zeros(n_species, np.int64),
        a=np.zeros(n_reactions),
        block=np.zeros(n_blocks),
        shift=shift,
        stack=np.zeros(max(stack_size, 1)),
        random=np.zeros(4, np.uint64),
        clock=np.zeros(1),
        cursor=np.zeros(3, np.int64),
    )


@bare
def run_paths(model, times, key, first, starts, cumulative, walker, when, which, cancel, done, counts):
    """Run paths first, first + 1, ... into counts (M, T, S); `done` (2,) holds the paths and events so far, `when` and `which` are empty.

    On a fault the walker stands where it happened.
    """
    done[1] = 0.0
    for m in range(counts.shape[0]):
        done[0] = m
        if cancel[0] != 0:
            return CANCELLED
        start_path(key, first + m, starts, cumulative, walker)
        status = run_path(model, times, walker, when, which, cancel, done, counts[m])
        if status != OK:
            return status
        done[1] += walker.cursor[EVENTS]
    done[0] = counts.shape[0]
    return OK


@bare
def start_path(key, path, starts, cumulative, walker):
    """Open the random stream of a path and put the walker on its initial state, drawn if there are several."""
    open_stream(key, JUMPS, path, walker.random)
    k = 0
    if starts.shape[0] > 1:
        u = uniform(walker.random) * cumulative[-1]
        k = place(cumulative, u)
    for s in range(len(walker.x)):
        walker.x[s] = starts[k, s]
    walker.clock[0] = 0.0
    walker.cursor[:] = 0


@bare
def run_path(model, times, walker, when, which, cancel, done, counts):
    """Go on with a path until its last sample, counts (T, S). If `when` and `which` have room, every event is written there.

    Returns FULL when they are full. Called again with longer copies, the path goes on as if it had not stopped: propensities and
    their sums depend on the counts alone.
    """
    x, a, block, shift, stack, random = walker.x, walker.a, walker.block, walker.shift, walker.stack, walker.random
    n_times, n_reactions, n_blocks, room = len(times), len(a), len(block), len(when)
    t, k, events = walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS]
    status = OK
    for r in range(n_reactions):
        a[r] = propensity(model, r, x, stack)
        if not 0.0 <= a[r] <= LARGEST_PROPENSITY:
            walker.cursor[CULPRIT] = r
            return fault(a[r])
    for b in range(n_blocks):
        block[b] = block_sum(a, b, shift)
    paths_done = done[0]
    while True:
        total = 0.0
        for b in range(n_blocks):
            total += block[b]
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
            following = t + exponential(random) / total
        while times[k] < following:
            for s in range(len(x)):
                counts[k, s] = x[s]
            k += 1
            if k == n_times:
                walker.cursor[SAMPLES], walker.cursor[EVENTS] = k, events
                return OK
        t = following

        u = uniform(random) * total
        b = 0
        if n_blocks > 1:
            b, u = pick(block, 0, n_blocks, u)
        r, u = pick(a, b << shift, min((b + 1) << shift, n_reactions), u)
        status = fire(model, r, x)
        if status != OK:
            walker.cursor[CULPRIT] = r
            break
        if room > 0:
            when[events] = t
            which[events] = r
        events += 1

        touched = -1
        for i in range(model.dependent_pointer[r], model.dependent_pointer[r + 1]):
            j = np.int64(model.dependent[i])
            value = propensity(model, j, x, stack)
            if not 0.0 <= value <= LARGEST_PROPENSITY:
                walker.cursor[CULPRIT] = j
                return fault(value)
            if j >> shift != touched and touched >= 0:
                block[touched] = block_sum(a, touched, shift)
            touched = j >> shift  # dependents are in order, so that each block is summed once
            a[j] = value
        if touched >= 0:
            block[touched] = block_sum(a, touched, shift)
    walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS] = t, k, events
    return status


@inlined
def fault(value):
    """The status of a propensity that is none."""
    return NEGATIVE_PROPENSITY if -LARGEST_PROPENSITY <= value < 0.0 else UNDEFINED_PROPENSITY


@inlined
def block_sum(a, b, shift):
    total = 0.0
    for r in range(b << shift, min((b + 1) << shift, len(a))):
        total += a[r]
    return total


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
    i = stop - 1
    while weights[i] == 0.0:  # round-off took u past the end: the last entry that can be picked
        i -= 1
    return i, u


@inlined
def fire(model, r, x):
    """Change the counts by reaction r, or leave them as they are and say why not."""
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        count = x[model.change_species[i]] + model.change_amount[i]
        if count < 0:
            return NEGATIVE_COUNT
        if count > LARGEST_COUNT:
            return OVERFLOW
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        x[model.change_species[i]] += model.change_amount[i]
    return OK
