"""Gillespie's direct method for many paths of a small network in lockstep: in each step, every lane has one event of its own path.

A lane's step is that of `cme.kernels.direct`, with the same numbers from the same stream and the same operations in the same order, so
that a path has the same bits here and there. All that differs between lanes is data, so that loops over them become vector instructions:
all propensities are computed anew in each step, and the counts are changed under masks or lane by lane. A lane takes the next path when
its own has ended. Where a path does anything odd (a propensity that is none, a count below zero or too large for a float64, propensities
so high that time may stand still) the lane gives it up, to be run by `direct` from its start.

Reference: Gillespie, J. Phys. Chem. 81 (1977) 2340, doi:10.1021/j100540a008.
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.direct import CANCELLED, LARGEST_PROPENSITY, OK, draw_start
from cme.kernels.jit import bare, bits_of, inlined, inner, number_of
from cme.kernels.propensity import ADD, CONSTANT, DIV, LOAD, MAX, MUL, NEG, NO_LAW, NOT, POW, SELECT, binary_there, run_there, unary
from cme.kernels.random import JUMPS, midpoint, minus_log, open_stream
from cme.kernels.record import record, record_end

WIDTH = 128  # lanes; fewer run if there are fewer paths
GROUP = 32  # lanes run in whole groups: what a loop of vector instructions takes at a time
GIVEN_UP = 16  # a status: some paths were given up, go on when they are dealt with
_PAUSE = 1023  # steps between two looks at the outside, less one (a mask)
_LARGEST_COUNT = 2.0**51  # found late, but before a count reaches 2^53: a step adds less than 2^40

# Rows of the table of lanes, WIDTH numbers each. The generator's words are kept as the floating-point numbers of the same bits: the rows
# of one array lie at known distances, and with those alone are loops that use many rows turned into vector instructions.
# All indices are unsigned: numba lets signed ones count from the end of an array, and then LLVM can't tell what a loop reaches.
_W, _GROUP, _ONE, _THREE, _EIGHT = (np.uint64(number) for number in (WIDTH, GROUP, 1, 3, 8))
_WORD_0, _WORD_1, _WORD_2, _WORD_3, _CLOCK, _DUE, _SHARE, _ODD, _TOTAL = (np.uint64(row * WIDTH) for row in range(9))
# Words of the generator; the time of the next event; the next sample time; U a0; above zero where the path is to be given up; a0, the last
# of the running sums, whereupon the others follow in reverse order, and then a row of zeros.
_R12, _R17, _R19, _R23, _R41, _R45 = (np.uint64(bits) for bits in (12, 17, 19, 23, 41, 45))
_TWO_52 = 2.0**52
_TWO_52_BITS = bits_of(_TWO_52)

STEP, NEXT_PATH, N_LANES, IN_USE, FINISHED, EVENTS, N_GIVEN_UP = range(7)  # places in Lanes.cursor
OWNER, SAMPLES, SINCE = range(3)  # rows of Lanes.path


class Plan(NamedTuple):
    """What lanes need to know about the channels besides them."""

    watched: np.ndarray  # (R,) may the propensity be negative?
    depleted: np.ndarray  # species that may fall below zero
    few: bool  # few changes in all: they are made under masks
    strides: bool  # changes so large that counts might pass 2^53 unseen: all paths are given up


class Lanes(NamedTuple):
    """Paths in progress."""

    table: np.ndarray  # (rows * WIDTH,) see above; after the zeros, the counts of each species and a row of ones; then the stack
    path: np.ndarray  # (3, WIDTH) the path of the chunk in the lane (-1: none), its samples so far, the step of its first event
    chosen: np.ndarray  # (WIDTH,) the reaction that fires
    flags: np.ndarray  # (WIDTH,) uint8: is the lane to be looked at?
    flag_words: np.ndarray  # (WIDTH / 8,) the same memory as uint64
    cursor: np.ndarray  # (7,) steps so far, next path, lanes that run, those with a path, paths finished, their events, paths given up
    given_up: np.ndarray  # (WIDTH,) paths of the chunk
    x: np.ndarray  # (S + 1,) one state
    y: np.ndarray  # (S + 1,)
    stack: np.ndarray
    random: np.ndarray  # (4,)


def new_lanes(n_species, n_reactions, stack_size, n_paths):
    """The memory of lanes (plain Python)."""
    rows = 8 + n_reactions + 1 + n_species + 1 + stack_size
    flags = np.zeros(WIDTH, np.uint8)
    lanes = Lanes(
        table=np.zeros(rows * WIDTH),
        path=np.full((3, WIDTH), -1),
        chosen=np.zeros(WIDTH, np.int64),
        flags=flags,
        flag_words=flags.view(np.uint64),
        cursor=np.zeros(7, np.int64),
        given_up=np.zeros(WIDTH, np.int64),
        x=np.ones(n_species + 1, np.int64),
        y=np.ones(n_species + 1),
        stack=np.zeros(max(stack_size, 1)),
        random=np.zeros(4, np.uint64),
    )
    lanes.cursor[N_LANES] = min(WIDTH, -(-n_paths // GROUP) * GROUP)
    lanes.table.reshape(rows, WIDTH)[8 + n_reactions + 1 + n_species] = 1.0
    return lanes


def forget(lanes, m):
    """Let go of all paths after path m of the chunk (plain Python)."""
    table = lanes.table.reshape(-1, WIDTH)
    after = lanes.path[OWNER] > m
    lanes.path[OWNER, after] = -1
    table[5, after] = np.inf  # their next samples
    lanes.cursor[IN_USE] -= np.count_nonzero(after)
    lanes.cursor[NEXT_PATH] = np.iinfo(np.int64).max // 2


@bare
def run_lanes(channels, plan, times, key, first, n_paths, starts, cumulative, lanes, cancel, done, sink):
    """Run the paths first, first + 1, ... into the sink, or go on with them; `done` (2,) holds the paths and events so far.

    Returns GIVEN_UP when paths were: they are in ``lanes.given_up``, and the others go on when this is called again.
    """
    table, cursor = lanes.table, lanes.cursor
    n_reactions = np.uint64(len(channels.constant))
    counts = _TOTAL + _W * (n_reactions + _ONE)
    limit = min(_TWO_52 / times[-1], LARGEST_PROPENSITY)  # below it, no waiting time is lost in the rounding of the time
    n = np.uint64(cursor[N_LANES])
    if cursor[STEP] == 0:
        for w in range(n):
            take_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, w)
        if channels.stop != NO_LAW:
            stop_paths(channels, plan, times, key, first, n_paths, starts, cumulative, lanes, counts, sink, n)
    while cursor[IN_USE] > 0:
        cursor[STEP] += 1
        for r in range(n_reactions):
            after = _TOTAL + _W * (n_reactions - _ONE - r)
            sum_up(channels, plan, lanes, r, after, counts, n)
        draw_events(table, lanes.flags, limit, n)
        for i in range(n >> _THREE):
            if lanes.flag_words[i] != 0:  # of eight lanes
                for w in range(i << _THREE, (i << _THREE) + _EIGHT):
                    if lanes.flags[w] != 0 and lanes.path[OWNER, w] >= 0:
                        look(channels, plan, times, key, first, n_paths, starts, cumulative, lanes, limit, counts, sink, w)
        if n - np.uint64(cursor[IN_USE]) >= _GROUP and n > _GROUP:
            n = close_ranks(table, lanes.path, cursor, n)
        if plan.few:
            fire_under_masks(channels, table, n_reactions, counts, n)
        else:
            fire_by_lane(channels, table, lanes.chosen, n_reactions, counts, n)
        for i in range(len(plan.depleted)):
            mark_below_zero(table, counts + _W * np.uint64(plan.depleted[i]), n)
        if channels.stop != NO_LAW:
            stop_paths(channels, plan, times, key, first, n_paths, starts, cumulative, lanes, counts, sink, n)
        if cursor[STEP] & _PAUSE == 0:
            for s in range(starts.shape[1]):
                mark_too_large(table, counts + _W * np.uint64(s), n)
            done[0], done[1] = cursor[FINISHED], cursor[EVENTS]
            for w in range(n):
                if lanes.path[OWNER, w] >= 0:
                    done[0] += min(table[_CLOCK + w] / times[-1], 1.0)
                    done[1] += cursor[STEP] - lanes.path[SINCE, w]
            if cancel[0] != 0:
                return CANCELLED
        if cursor[N_GIVEN_UP] > 0:
            return GIVEN_UP
    done[0], done[1] = n_paths, cursor[EVENTS]
    return OK


# ------------------------------------------------------------------------------------------------------- propensities


@inlined
def sum_up(channels, plan, lanes, r, after, counts, n):
    """The running sum with the propensity of reaction r, from the one before it."""
    table, before, factors = lanes.table, after + _W, channels.n_factors[r]
    one = counts + _W * np.uint64(channels.factor_species[r, 0])
    two = counts + _W * np.uint64(channels.factor_species[r, 1])
    three = counts + _W * np.uint64(channels.factor_species[r, 2])
    a, b, c = channels.factor_offset[r, 0], channels.factor_offset[r, 1], channels.factor_offset[r, 2]
    head = channels.constant[r]
    if plan.watched[r] != 0 or channels.law[r] != NO_LAW:
        value = counts + _W * np.uint64(len(lanes.x))
        if channels.law[r] == NO_LAW:
            for w in range(n):
                table[value + w] = head * (table[one + w] - a) * ((table[two + w] - b) * (table[three + w] - c))
        else:
            evaluate_law(channels, channels.law[r], lanes, counts, value, n)
        if plan.watched[r] != 0:
            mark_below_zero(table, value, n)
        for w in range(n):
            table[after + w] = table[before + w] + table[value + w]
    elif factors == 0:
        for w in range(n):
            table[after + w] = table[before + w] + head
    elif factors == 1:
        for w in range(n):
            table[after + w] = table[before + w] + head * (table[one + w] - a)
    elif factors == 2:
        for w in range(n):
            table[after + w] = table[before + w] + head * (table[one + w] - a) * (table[two + w] - b)
    else:
        for w in range(n):
            table[after + w] = table[before + w] + head * (table[one + w] - a) * ((table[two + w] - b) * (table[three + w] - c))


@inlined
def evaluate_law(channels, law, lanes, counts, value, n):
    """The values of a law in all lanes."""
    table, first = lanes.table, channels.table_pointer[law]
    size = channels.table_pointer[law + 1] - first
    if size == 0:
        run_in_lanes(channels, law, table, counts, value, n)
        return
    row, last, past = counts + _W * np.uint64(channels.table_species[law]), size - _ONE, 0
    for w in range(n):
        count = bits_of(table[row + w] + _TWO_52) - _TWO_52_BITS  # as a whole number
        past += count > last
        table[value + w] = number_of(first + min(count, last))
    for w in range(n):
        table[value + w] = channels.table[bits_of(table[value + w])]
    if past > 0:
        for w in range(n):
            if table[row + w] > last:
                for s in range(len(lanes.y)):
                    lanes.y[s] = table[counts + _W * np.uint64(s) + w]
                table[value + w] = run_there(channels, law, lanes.y, lanes.stack)
        mark_below_zero(table, value, n)


@inlined
def run_in_lanes(channels, law, table, counts, value, n):
    """Run the program of a law in all lanes; the stack are the rows from `value` on."""
    top = value - _W
    for i in range(channels.program_pointer[law], channels.program_pointer[law + 1]):
        code, operand = channels.opcode[i], channels.operand[i]
        if code == CONSTANT:
            top += _W
            for w in range(n):
                table[top + w] = operand
        elif code == LOAD:
            top += _W
            row = counts + _W * np.uint64(operand)
            for w in range(n):
                table[top + w] = table[row + w]
        elif code <= MAX and code != NEG and code != NOT:
            top -= _W
            two_operands(code, table, top, n)
        elif code == SELECT:
            top -= _W + _W
            for w in range(n):
                table[top + w] = table[top + w] if table[top + _W + w] != 0.0 else table[top + (_W + _W) + w]
        elif code == NEG:
            for w in range(n):
                table[top + w] = -table[top + w]
        else:
            for w in range(n):
                table[top + w] = unary(code, table[top + w])


@inlined
def two_operands(code, table, top, n):
    """Arithmetic as vector instructions; what is rarer, lane by lane."""
    if code == ADD:
        for w in range(n):
            table[top + w] += table[top + _W + w]
    elif code == MUL:
        for w in range(n):
            table[top + w] *= table[top + _W + w]
    elif code == DIV:
        for w in range(n):
            table[top + w] /= table[top + _W + w]
    elif code == POW:
        for w in range(n):
            table[top + w] = table[top + w] ** table[top + _W + w]
    else:
        for w in range(n):
            table[top + w] = binary_there(code, table[top + w], table[top + _W + w])


# -------------------------------------------------------------------------------------------------------------- events


@inlined
def draw_events(table, flags, limit, n):
    """The time of each lane's next event, and U a0 for its choice. Flags lanes with a sample that is due, or with anything odd."""
    for w in range(n):
        s0, s1 = bits_of(table[_WORD_0 + w]), bits_of(table[_WORD_1 + w])
        s2, s3 = bits_of(table[_WORD_2 + w]), bits_of(table[_WORD_3 + w])
        total = s0 + s3
        first = ((total << _R23) | (total >> _R41)) + s0
        shifted = s1 << _R17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        s3 = (s3 << _R45) | (s3 >> _R19)
        total = s0 + s3
        second = ((total << _R23) | (total >> _R41)) + s0
        shifted = s1 << _R17
        s2 ^= s0
        s3 ^= s1
        table[_WORD_1 + w] = number_of(s1 ^ s2)
        table[_WORD_0 + w] = number_of(s0 ^ s3)
        table[_WORD_2 + w] = number_of(s2 ^ shifted)
        table[_WORD_3 + w] = number_of((s3 << _R45) | (s3 >> _R19))
        hazard = table[_TOTAL + w]
        clock = table[_CLOCK + w] + minus_log(midpoint(first)) / hazard
        share = midpoint(second) * hazard
        table[_CLOCK + w] = clock
        table[_SHARE + w] = share
        fine = (clock <= table[_DUE + w]) & (share < hazard) & (hazard < limit) & (table[_ODD + w] == 0.0)
        flags[w] = 0 if fine else 1


@inlined
def fire_under_masks(channels, table, n_reactions, counts, n):
    """Change the counts: each change in all lanes, where its reaction fires."""
    for r in range(n_reactions):
        after = _TOTAL + _W * (n_reactions - _ONE - r)
        for i in range(channels.change_pointer[r], channels.change_pointer[r + 1]):
            amount = np.float64(channels.change_amount[i])
            if amount != 0.0:
                row = counts + _W * np.uint64(channels.change_species[i])
                for w in range(n):
                    share = table[_SHARE + w]
                    table[row + w] += amount if (table[after + _W + w] <= share) & (share < table[after + w]) else 0.0


@inlined
def fire_by_lane(channels, table, chosen, n_reactions, counts, n):
    """Change the counts: each lane's reaction, which is the number of running sums that are not above U a0."""
    for w in range(n):
        chosen[w] = 0
    for r in range(n_reactions):
        for w in range(n):
            chosen[w] += table[_TOTAL + _W * r + w] <= table[_SHARE + w]
    for w in range(n):
        if chosen[w] < n_reactions:
            for i in range(channels.change_pointer[chosen[w]], channels.change_pointer[chosen[w] + 1]):
                table[counts + _W * np.uint64(channels.change_species[i]) + w] += channels.change_amount[i]


@inlined
def mark_below_zero(table, row, n):
    for w in range(n):
        table[_ODD + w] += 1.0 if table[row + w] < 0.0 else 0.0


@inlined
def mark_too_large(table, row, n):
    for w in range(n):
        table[_ODD + w] += 1.0 if table[row + w] > _LARGEST_COUNT else 0.0


# -------------------------------------------------------------------------------------------------------------- paths


@inlined
def look(channels, plan, times, key, first, n_paths, starts, cumulative, lanes, limit, counts, sink, w):
    """Record the samples that are due in a lane; hand out the next path where one ends or is given up."""
    table, path, cursor = lanes.table, lanes.path, lanes.cursor
    hazard, share = table[_TOTAL + w], table[_SHARE + w]
    if table[_ODD + w] != 0.0 or not (hazard == 0.0 or (share < hazard and hazard < limit)):
        lanes.given_up[cursor[N_GIVEN_UP]] = path[OWNER, w]
        cursor[N_GIVEN_UP] += 1
        next_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, 0, w)
        return
    take_counts(lanes, counts, w)
    k = path[SAMPLES, w]
    while k < len(times) and times[k] < table[_CLOCK + w]:
        record(sink, path[OWNER, w], k, lanes.x)
        k += 1
    path[SAMPLES, w] = k
    if k < len(times):
        table[_DUE + w] = times[k]
    else:
        next_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, cursor[STEP] - path[SINCE, w], w)


@inlined
def stop_paths(channels, plan, times, key, first, n_paths, starts, cumulative, lanes, counts, sink, n):
    """End the paths that meet the stop condition. The next ones may do so at their start, and then end as well."""
    table, path, cursor = lanes.table, lanes.path, lanes.cursor
    value = counts + _W * np.uint64(len(lanes.x))
    looking = True
    while looking:
        looking = False
        run_in_lanes(channels, channels.stop, table, counts, value, n)
        for w in range(n):
            if table[value + w] != 0.0 and path[OWNER, w] >= 0 and table[_ODD + w] == 0.0:
                looking = True
                take_counts(lanes, counts, w)
                record_end(sink, path[OWNER, w], path[SAMPLES, w], lanes.x, table[_CLOCK + w])
                n_events = cursor[STEP] - path[SINCE, w] + 1
                next_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, n_events, w)


@inlined
def take_counts(lanes, counts, w):
    for s in range(len(lanes.x)):
        lanes.x[s] = np.int64(lanes.table[counts + _W * np.uint64(s) + w])


@inlined
def next_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, n_events, w):
    """A lane's path is done with; it takes another."""
    lanes.cursor[FINISHED] += 1
    lanes.cursor[IN_USE] -= 1
    lanes.cursor[EVENTS] += n_events
    take_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, w)


@inner
def take_path(plan, times, key, first, n_paths, starts, cumulative, lanes, counts, w):
    """Put the next path of the chunk into a lane, from its next step on; or nobody's path, if there is none left."""
    table, path, cursor, random = lanes.table, lanes.path, lanes.cursor, lanes.random
    m = cursor[NEXT_PATH]
    cursor[NEXT_PATH] += 1
    if m < n_paths:
        cursor[IN_USE] += 1
    path[OWNER, w] = m if m < n_paths else -1
    path[SAMPLES, w] = 0
    path[SINCE, w] = cursor[STEP] + 1
    open_stream(key, JUMPS, first + m, random)
    k = draw_start(starts, cumulative, random)
    table[_WORD_0 + w], table[_WORD_1 + w] = number_of(random[0]), number_of(random[1])
    table[_WORD_2 + w], table[_WORD_3 + w] = number_of(random[2]), number_of(random[3])
    largest = 0.0
    for s in range(starts.shape[1]):
        table[counts + _W * np.uint64(s) + w] = starts[k, s]
        largest = max(largest, np.float64(starts[k, s]))
    table[_CLOCK + w] = 0.0
    table[_DUE + w] = times[0] if m < n_paths else np.inf
    table[_SHARE + w] = np.inf  # fires nothing
    table[_ODD + w] = 1.0 if plan.strides or largest > _LARGEST_COUNT else 0.0


@inlined
def close_ranks(table, path, cursor, n):
    """Move the lanes that have a path to the front, so that fewer need to run. Returns how many do."""
    used = np.uint64(0)
    for w in range(n):
        if path[OWNER, w] >= 0:
            for i in range(w, np.uint64(len(table)), _W):
                table[i - w + used] = table[i]
            path[OWNER, used], path[SAMPLES, used], path[SINCE, used] = path[OWNER, w], path[SAMPLES, w], path[SINCE, w]
            used += _ONE
    for w in range(used, n):
        path[OWNER, w] = -1
        table[_DUE + w] = np.inf
    n = (used + _GROUP - _ONE) // _GROUP * _GROUP
    cursor[N_LANES] = n
    return n
