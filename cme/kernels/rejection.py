"""Rejection-based simulation for large networks: bounds that hold for many events, in groups by powers of two.

Every species has a bracket, 10 % to either side of its count (counts below 10 have none to spare). A reaction of one or two molecules
has an upper bound on its propensity that holds while its species stay in their brackets; it is rounded up to a power of two, 2^g.
Reactions of the same g are a group, whose weight is the number of its members times 2^g. A trial takes a group by its weight and any
of its members alike, and fires it with probability propensity / 2^g. Fired or not, each trial takes an exponential time with the sum of
the weights as its rate. This thinning is exact. Bounds are computed anew only when a species leaves its bracket. The propensity of any
other law is its own bound, computed whenever a species that it reads changes.

Weights come from whole numbers, nothing is added up over events: they do not drift, and propensities may collapse by any number of
orders of magnitude. There are lists from species to reactions, and no graph from reactions to reactions.

It wins where an event changes some ten propensities, and from some 10 000 reactions on elsewhere: an event costs about the same in any
network, while the direct and the next reaction method pay for each propensity that an event changes.

References: Thanh, Priami and Zunino, J. Chem. Phys. 141 (2014) 134116, doi:10.1063/1.4896985 (bounds and rejection); Slepoy, Thompson
and Plimpton, J. Chem. Phys. 128 (2008) 205101, doi:10.1063/1.2919546 (groups by powers of two).
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.direct import CANCELLED, CULPRIT, EVENTS, FULL, LARGEST_PROPENSITY, OK, SAMPLES, STALLED, fault, fire, start_path
from cme.kernels.jit import bare, bits_of, inlined
from cme.kernels.propensity import channel_propensity, is_over
from cme.kernels.random import minus_log, uniform
from cme.kernels.record import record, record_end

BRACKET = 10  # a count x may move by x // 10 before its bounds are computed anew
N_GROUPS = 2047  # by exponent, biased as in a double: group g has bounds up to 2^(g - 1023). Group 0 is for what can't fire
LEVELS, SHIFT = 28, 4  # the members of a group are in chunks of 16, 32, 64, ...
OTHER, WIDE, WIDE_PAIR = 0, 1, 2  # kinds of bounds
LOWEST, HIGHEST, TOP = 0, 1, 2  # places in Walker.span
_PAUSE = 4095  # events between two looks at the outside, less one (a mask)
_FRACTION, _EXPONENT = np.uint64(2**52 - 1), np.uint64(52)


class Readers(NamedTuple):
    """Which bounds depend on a species. Rows in CSR form, by species.

    A reaction is `WIDE` with a propensity ``constant * x`` or ``constant * x * y``, and a `WIDE_PAIR` with ``constant * x * (x - 1)``: they
    have bounds on brackets. All others are computed whenever a species that they read changes.
    """

    kind: np.ndarray  # (R,) uint8
    wide_pointer: np.ndarray  # (S + 2,)
    wide: np.ndarray
    constant: np.ndarray
    partner: np.ndarray  # the other species, or S, of which there always is one
    other_pointer: np.ndarray  # (S + 2,)
    other: np.ndarray


class Walker(NamedTuple):
    """One path in progress: all that is needed to go on where it stopped."""

    x: np.ndarray  # (S + 1,) int64 counts, and a 1; see `cme.kernels.propensity.Channels`
    y: np.ndarray  # (S + 1,) the same as float64
    low: np.ndarray  # (S + 1,) int64 brackets
    high: np.ndarray
    most: np.ndarray  # (S + 1,) the upper ends as float64
    left: np.ndarray  # (S + 1,) species that have just left their brackets
    a: np.ndarray  # (R,) propensities of reactions that are not wide
    group: np.ndarray  # (R,) the group of each reaction
    place: np.ndarray  # (R,) its place in `pool`
    size: np.ndarray  # (N_GROUPS,) members
    below: np.ndarray  # (N_GROUPS,) weight of the group and all below
    scale: np.ndarray  # (N_GROUPS,) 2^(g - 1023)
    span: np.ndarray  # (3,) lowest and highest group that changed since weights were added up, and the highest with members
    chunk: np.ndarray  # (N_GROUPS, LEVELS) where the chunks of a group begin in `pool`
    pool: np.ndarray
    free: np.ndarray  # beginnings of the chunks that no group has: a stack for each level
    free_start: np.ndarray  # (LEVELS + 1,)
    free_stop: np.ndarray  # (LEVELS,)
    stack: np.ndarray
    random: np.ndarray  # (4,) uint64 generator state
    clock: np.ndarray  # (1,) time of the last event
    cursor: np.ndarray  # (3,) samples written, events so far, the reaction that went wrong


def new_walker(n_species, n_reactions, stack_size):
    """The memory of a path (plain Python)."""
    sizes = 1 << (SHIFT + np.arange(LEVELS))
    chunks = np.minimum(N_GROUPS, n_reactions // (sizes - sizes[0] + 1))  # of each level, that can be in use at once
    edges = np.append(0, np.cumsum(chunks))
    return Walker(
        x=np.ones(n_species + 1, np.int64),
        y=np.ones(n_species + 1),
        low=np.ones(n_species + 1, np.int64),
        high=np.ones(n_species + 1, np.int64),
        most=np.ones(n_species + 1),
        left=np.zeros(n_species + 1, np.int64),
        a=np.zeros(n_reactions),
        group=np.zeros(n_reactions, np.uint16),
        place=np.zeros(n_reactions, np.uint32),
        size=np.zeros(N_GROUPS, np.int64),
        below=np.zeros(N_GROUPS),
        scale=np.ldexp(1.0, np.arange(N_GROUPS) - 1023),
        span=np.zeros(3, np.int64),
        chunk=np.zeros((N_GROUPS, LEVELS), np.uint32),
        pool=np.zeros(int(chunks @ sizes), np.uint32),
        free=np.zeros(edges[-1], np.uint32),
        free_start=edges.astype(np.int64),
        free_stop=np.zeros(LEVELS, np.int64),
        stack=np.zeros(max(stack_size, 1)),
        random=np.zeros(4, np.uint64),
        clock=np.zeros(1),
        cursor=np.zeros(3, np.int64),
    )


@bare
def run_paths(channels, readers, times, key, first, n_paths, starts, cumulative, walker, when, which, cancel, done, sink):
    """Run the paths first, first + 1, ... into the sink; `done` (2,) holds the paths and events so far, `when` and `which` are empty.

    On a fault the walker stands where it happened.
    """
    done[1] = 0.0
    for m in range(n_paths):
        done[0] = m
        if cancel[0] != 0:
            return CANCELLED
        status = begin_path(channels, readers, key, first + m, starts, cumulative, walker)
        if status == OK:
            status = run_path(channels, readers, times, walker, when, which, cancel, done, sink, m)
        if status != OK:
            return status
        done[1] += walker.cursor[EVENTS]
    done[0] = n_paths
    return OK


@bare
def begin_path(channels, readers, key, path, starts, cumulative, walker):
    """Put the walker on its initial state, every species into a bracket and every reaction into a group."""
    start_path(key, path, starts, cumulative, walker)
    if is_over(channels, walker.y, walker.stack):  # so that it does not matter what the propensities are
        return OK
    empty_groups(walker)
    for s in range(starts.shape[1]):
        set_bracket(walker, s)
    for r in range(len(walker.a)):
        if readers.kind[r] == OTHER:
            bound = channel_propensity(channels, r, walker.x, walker.y, walker.stack)
        else:
            bound = product(channels, readers, r, walker.most)
        walker.a[r] = bound
        if not 0.0 <= bound <= LARGEST_PROPENSITY:
            walker.cursor[CULPRIT] = r
            return fault(bound)
        walker.group[r] = 0
        move(walker, r, group_of(bound))
    add_up(walker)
    return OK


@bare
def run_path(channels, readers, times, walker, when, which, cancel, done, sink, path):
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
        total = walker.below[walker.span[TOP]]
        if events & _PAUSE == _PAUSE:
            done[0] = paths_done + t / times[-1]
            if cancel[0] != 0:
                status = CANCELLED
                break
            if t + 1.0 / total == t:
                status, walker.cursor[CULPRIT] = STALLED, walker.pool[walker.chunk[walker.span[TOP], 0]]
                break
        if events == room and room > 0:
            status = FULL
            break
        following, r = np.inf, -1
        if total > 0.0:
            waiting, chance = 0.0, 1.0
            while r < 0:
                chance *= uniform(walker.random)  # exp(-waiting), so that many trials take one logarithm
                r = trial(channels, readers, walker, total)
                if chance < 1e-200:
                    waiting += minus_log(chance)
                    chance = 1.0
                    if t + waiting / total > times[-1]:  # where bounds underflow, almost no trial fires
                        break
            following = t + (waiting + minus_log(chance)) / total
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
        status = follow(channels, readers, walker, r)
        if status != OK:
            break
        if walker.span[LOWEST] < N_GROUPS:
            add_up(walker)
    walker.clock[0], walker.cursor[SAMPLES], walker.cursor[EVENTS] = t, k, events
    return status


@inlined
def trial(channels, readers, walker, total):
    """Take a reaction by its bound: it, if it fires, or -1. One random number says which group, which member, and whether it fires."""
    below, u, g = walker.below, uniform(walker.random) * total, walker.span[TOP]
    while u < below[g - 1]:
        g -= 1
    scale, size = walker.scale[g], walker.size[g]
    if scale < 1e-6 * total:  # too few digits of u are left
        u = uniform(walker.random) * size
    else:
        u = (u - below[g - 1]) / scale
    i = np.int64(u)
    if i >= size:  # round-off
        return -1
    r = np.int64(walker.pool[locate(walker, g, i)])
    a = walker.a[r] if readers.kind[r] == OTHER else product(channels, readers, r, walker.y)
    return r if (u - i) * scale < a else -1


@inlined
def follow(channels, readers, walker, r):
    """After reaction r has fired: brackets for the species that left theirs, then bounds that depend on what changed."""
    x, most, n_left = walker.x, walker.most, 0
    first, stop = channels.change_pointer[r], channels.change_pointer[r + 1]
    for i in range(first, stop):
        s = np.int64(channels.change_species[i])
        if x[s] < walker.low[s] or x[s] > walker.high[s]:
            set_bracket(walker, s)
            walker.left[n_left] = s
            n_left += 1
    for i in range(n_left):
        s = walker.left[i]
        for j in range(readers.wide_pointer[s], readers.wide_pointer[s + 1]):
            reaction, partner = np.int64(readers.wide[j]), np.int64(readers.partner[j])
            bound = readers.constant[j] * (most[s] * (most[partner] - (partner == s)))
            if not bound <= LARGEST_PROPENSITY:
                walker.cursor[CULPRIT] = reaction
                return fault(bound)
            g = group_of(bound)
            if g != walker.group[reaction]:
                move(walker, reaction, g)
    for i in range(first, stop):
        s = np.int64(channels.change_species[i])
        for j in range(readers.other_pointer[s], readers.other_pointer[s + 1]):
            reaction = np.int64(readers.other[j])
            a = channel_propensity(channels, reaction, x, walker.y, walker.stack)
            if not 0.0 <= a <= LARGEST_PROPENSITY:
                walker.cursor[CULPRIT] = reaction
                return fault(a)
            walker.a[reaction] = a
            g = group_of(a)
            if g != walker.group[reaction]:
                move(walker, reaction, g)
    return OK


@inlined
def product(channels, readers, r, y):
    """The propensity of a wide reaction. In this order of factors, the same for counts and brackets, rounding keeps it below its bound."""
    second = y[channels.factor_species[r, 1]] - (readers.kind[r] == WIDE_PAIR)
    return channels.constant[r] * (y[channels.factor_species[r, 0]] * second)


@inlined
def set_bracket(walker, s):
    x = walker.x[s]
    width = x // BRACKET if x > 0 else 0
    walker.low[s], walker.high[s], walker.most[s] = x - width, x + width, x + width


# ------------------------------------------------------------------------------------------------------------- groups


@inlined
def group_of(bound):
    """The group of a bound: the exponent of the next power of two; 1 for all below 2^-1022, 0 for zero."""
    return np.int64((bits_of(bound + 0.0) + _FRACTION) >> _EXPONENT)  # + 0.0 makes zero of minus zero


@inlined
def locate(walker, g, i):
    """Where member i of a group is in the pool: the chunk of level k begins with member 16 (2^k - 1)."""
    level = np.int64(bits_of(np.float64(i + (1 << SHIFT))) >> _EXPONENT) - (1023 + SHIFT)
    return np.int64(walker.chunk[g, level]) + i - (((1 << level) - 1) << SHIFT)


@inlined
def level_begun(i):
    """The level whose chunk begins with member i, or -1."""
    i += 1 << SHIFT
    if i & (i - 1) != 0:
        return -1
    return np.int64(bits_of(np.float64(i)) >> _EXPONENT) - (1023 + SHIFT)


@bare
def move(walker, r, g):
    """Move a reaction to another group."""
    size, chunk, pool, free, old = walker.size, walker.chunk, walker.pool, walker.free, np.int64(walker.group[r])
    if old != 0:  # its place is taken by the last member
        size[old] -= 1
        last = locate(walker, old, size[old])
        pool[walker.place[r]] = pool[last]
        walker.place[pool[last]] = walker.place[r]
        level = level_begun(size[old])
        if level >= 0:
            free[walker.free_stop[level]] = chunk[old, level]
            walker.free_stop[level] += 1
        walker.span[LOWEST], walker.span[HIGHEST] = min(walker.span[LOWEST], old), max(walker.span[HIGHEST], old)
    walker.group[r] = g
    if g != 0:
        level = level_begun(size[g])
        if level >= 0:
            walker.free_stop[level] -= 1
            chunk[g, level] = free[walker.free_stop[level]]
        last = locate(walker, g, size[g])
        pool[last] = r
        walker.place[r] = last
        size[g] += 1
        walker.span[LOWEST], walker.span[HIGHEST] = min(walker.span[LOWEST], g), max(walker.span[HIGHEST], g)


@inlined
def add_up(walker):
    """Add up the weights from the lowest group that has changed."""
    span, size, below = walker.span, walker.size, walker.below
    first, last = min(span[LOWEST], span[TOP] + 1), max(span[HIGHEST], span[TOP])
    weight = below[first - 1]
    for g in range(first, last + 1):
        weight += size[g] * walker.scale[g]
        below[g] = weight
    while last > 0 and size[last] == 0:
        last -= 1
    span[LOWEST], span[HIGHEST], span[TOP] = N_GROUPS, 0, last


@inlined
def empty_groups(walker):
    """Take all members out, and stack up all chunks: those with the lowest places come out first."""
    walker.size[:] = 0
    walker.below[:] = 0.0
    walker.span[LOWEST], walker.span[HIGHEST], walker.span[TOP] = N_GROUPS, 0, 0
    place = 0
    for level in range(LEVELS):
        first, stop = walker.free_start[level], walker.free_start[level + 1]
        for i in range(stop - 1, first - 1, -1):
            walker.free[i] = place
            place += 1 << (SHIFT + level)
        walker.free_stop[level] = stop
