"""Which states can be reached, and where each jump leads: breadth-first search with packed keys in an open-addressing table.

Where a jump leads is known when it is tried, and is written down: the generator comes out of the search, and nothing is looked up twice.
Kernels take these arrays, with room for more than there are: `states` (N, S), their `codes` (N,) uint64, where their jumps lead, `to`
(N, R) int32 (or OUT), at which `rate` (N, R), 0 where nothing moves (nan in the first place before a state is visited), and the `table`
of places, see `slot_of`, -1 where there is none. (Not as a tuple: the door remembers those, and would keep large arrays alive.)
"""

from typing import NamedTuple

import numpy as np

from cme.kernels.jit import apart, bare, inlined, inner
from cme.kernels.propensity import propensity, run_there

OK, NEGATIVE_COUNT, NEGATIVE_PROPENSITY, UNDEFINED_PROPENSITY, FULL, NARROW = 0, 1, 2, 3, 4, 21

OUT = -1  # instead of the place to which a jump leads: out of the set, or not known yet
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of splitmix64
_PLACE = 2**32 - 1
_TOGETHER = 256  # states whose rates are computed reaction by reaction


class Packing(NamedTuple):
    """How states become codes: places in a box of counts of the species that identify them or, where 64 bits are not enough, hashes."""

    species: np.ndarray  # (D,) int64
    stride: np.ndarray  # (D,) uint64: what one more molecule adds to a code
    step: np.ndarray  # (R,) uint64: what each reaction adds to a code
    back: np.ndarray  # (R,) a reaction that leads back from where this one leads, -1 if there is none
    cap: np.ndarray  # (S,) the largest counts that are in the bounds and in the box
    exact: int  # 1: different states have different codes
    slots: int  # where codes are small, each is its slot in a table of so many; 0: slots are found by hash


class Limits(NamedTuple):
    """Which states may be kept."""

    upper: np.ndarray  # (S,) the largest counts
    row_pointer: np.ndarray  # (K + 1,) sums of weights times counts
    row_species: np.ndarray
    row_weight: np.ndarray
    row_bound: np.ndarray  # (K,) and what they may be at most
    program_pointer: np.ndarray  # any other condition on states, as the program of a reaction; none if it is empty
    opcode: np.ndarray
    operand: np.ndarray


class Laws(NamedTuple):
    """Values of laws of one species, nan where none was needed yet."""

    reads: np.ndarray  # (R,) the species; -1 where nothing is remembered
    value: np.ndarray  # (R, W)


@inlined
def copy_to(target, source):
    """Copy one by one: numpy's copying between slices takes seconds to compile."""
    for s in range(len(target)):
        target[s] = source[s]


@inlined
def mix(h):
    h ^= h >> np.uint64(32)
    h *= _FIRST
    h ^= h >> np.uint64(29)
    h *= _SECOND
    h ^= h >> np.uint64(32)
    return h


@inlined
def code_of(packing, x):
    code = np.uint64(0)
    if packing.exact == 1:
        for k in range(len(packing.species)):
            code += np.uint64(x[packing.species[k]]) * packing.stride[k]
    else:
        for k in range(len(packing.species)):
            code = mix(code ^ np.uint64(x[packing.species[k]]) * _SECOND)
    return code


@inlined
def slot_of(packing, states, codes, table, code, x):
    """The slot of state x in the table: where it is, or the free slot where it would go.

    Where codes are too large to be slots, sixteen of them in a row lie close together, in an order of its own for each sixteen:
    neighbours in the search are neighbours in memory, and what is sparse in the codes is not in the table, whose size is a power of two,
    at least 16. A slot holds a place and 31 bits of the hash, so that the code of another state is seldom looked at.
    """
    if packing.slots > 0:
        return code
    mask = np.uint64(table.shape[0] - 1)
    h = mix(code >> np.uint64(4))
    slot = ((h << np.uint64(4)) | ((code ^ (h >> np.uint64(58))) & np.uint64(15))) & mask
    tag = np.int64(h >> np.uint64(37)) << 4 | np.int64(code & np.uint64(15))
    while table[slot] >= 0:
        if table[slot] >> 32 == tag:
            n = table[slot] & _PLACE
            same = codes[n] == code
            if packing.exact == 0:
                for k in range(len(packing.species)):
                    same = same and states[n, packing.species[k]] == x[packing.species[k]]
            if same:
                break
        slot = (slot + np.uint64(17)) & mask  # odd: every slot has its turn
    return slot


@inlined
def entry(packing, code, n):
    """What the table holds for state n."""
    if packing.slots > 0:
        return np.int64(n)
    h = mix(code >> np.uint64(4))
    return (np.int64(h >> np.uint64(37)) << 4 | np.int64(code & np.uint64(15))) << 32 | np.int64(n)


@inlined
def place_in(table, slot):
    """The place in a slot, -1 if it is free."""
    return table[slot] & _PLACE if table[slot] >= 0 else np.int64(-1)


@bare
def fill_table(packing, states, codes, table, first, n_states, coded):
    """Enter the states first, first + 1, ... into the table; stops with FULL at a state that is there twice.

    With `coded` their codes are known, else they are written down.
    """
    for n in range(first, n_states):
        if not coded:
            codes[n] = code_of(packing, states[n])
        slot = slot_of(packing, states, codes, table, codes[n], states[n])
        if table[slot] >= 0:
            return FULL
        table[slot] = entry(packing, codes[n], n)
    return OK


@bare
def look_up(packing, states, codes, table, wanted, found):
    """The index of each wanted state, -1 where it is not there."""
    for i in range(wanted.shape[0]):
        found[i] = -1
        may_be = True
        for s in range(wanted.shape[1]):
            may_be = may_be and 0 <= wanted[i, s] <= packing.cap[s]
        if may_be:
            n = place_in(table, slot_of(packing, states, codes, table, code_of(packing, wanted[i]), wanted[i]))
            if n >= 0:
                found[i] = n
                for s in range(wanted.shape[1]):  # the code decides among states of one conservation class; here any may come
                    if states[n, s] != wanted[i, s]:
                        found[i] = -1
    return OK


@inlined
def check(a, place, n, r):
    """The status of a propensity; the place is written down where it is wrong."""
    status = OK
    if not a >= 0.0:
        status = NEGATIVE_PROPENSITY if a < 0.0 else UNDEFINED_PROPENSITY
    elif a == np.inf:
        status = UNDEFINED_PROPENSITY
    if status != OK:
        place[0] = n
        place[1] = r
    return status


@inlined
def remembered(model, laws, r, state, stack):
    """The propensity of reaction r; a law of one species is computed once for each count."""
    s, a = laws.reads[r], np.nan
    if s >= 0 and 0 <= state[s] < laws.value.shape[1]:
        a = laws.value[r, state[s]]
    return compute(model, laws, r, state, stack) if np.isnan(a) else a


@inner
def compute(model, laws, r, state, stack):
    """The propensity of reaction r, to be remembered."""
    apart()
    s, a = laws.reads[r], propensity(model, r, state, stack)
    if s >= 0 and 0 <= state[s] < laws.value.shape[1]:
        laws.value[r, state[s]] = a
    return a


@inlined
def rate_row(model, laws, stack, n, state, rate, place):
    """Write down the rates of a state that was not visited before."""
    for r in range(model.constant.shape[0] - 1, -1, -1):  # the first at last: only then it is written down that the state was visited
        a = remembered(model, laws, r, state, stack)
        status = check(a, place, n, r)
        if status != OK:
            return status
        rate[n, r] = a if model.change_pointer[r] < model.change_pointer[r + 1] else 0.0
    return OK


@inner
def rate_rows(model, laws, stack, first, end, states, rate):
    """Write down the rates of states in a row, as many of the first as were not visited before; none if one is not a rate."""
    apart()
    last = first
    while last < end and np.isnan(rate[last, 0]):
        last += 1
    wrong = False
    for r in range(model.constant.shape[0]):
        moves = model.change_pointer[r] < model.change_pointer[r + 1]
        some, none = model.factor_pointer[r], model.factor_pointer[r] == model.factor_pointer[r + 1]
        if model.program_pointer[r] == model.program_pointer[r + 1] and (none or some + 1 == model.factor_pointer[r + 1]):
            k = model.constant[r]
            s, offset = (0, 0.0) if none else (model.factor_species[some], model.factor_offset[some])
            for n in range(np.uint64(first), np.uint64(last)):
                a = k if none else k * (states[n, s] - offset)
                wrong |= not 0.0 <= a < np.inf
                rate[n, r] = a if moves else 0.0
        else:
            for n in range(np.uint64(first), np.uint64(last)):
                a = remembered(model, laws, r, states[n], stack)
                wrong |= not 0.0 <= a < np.inf
                rate[n, r] = a if moves else 0.0
    if wrong:
        for n in range(first, last):
            rate[n, 0] = np.nan


@bare
def explore(model, laws, stack, x, packing, limits, adding, layers, target, sources, cursor, states, codes, to, rate, table, place):
    """Write down where the jumps from states lead; with `adding` to new states as well, layer by layer.

    Visited are the `sources`, and after them the states from cursor[4] on, until `layers` are done or `target` states are passed.
    `stack` and x (S,) are workspace. cursor = [number of states, states visited, end of the running layer, layers done, first state
    after the sources]. With FULL there is no room for one more state's successors, with NARROW a count does not fit into its field:
    mend it and call again.
    """
    n_reactions, n_sources = model.constant.shape[0], len(sources)
    while cursor[3] < layers and cursor[1] < cursor[2]:
        while cursor[1] < cursor[2]:
            if adding and cursor[0] + n_reactions > len(codes):
                return FULL
            i = cursor[1]
            n = sources[i] if i < n_sources else cursor[4] + (i - n_sources)
            if i >= n_sources and np.isnan(rate[n, 0]):
                rate_rows(model, laws, stack, n, min(n + _TOGETHER, cursor[4] + (cursor[2] - n_sources)), states, rate)
            if np.isnan(rate[n, 0]):
                status = rate_row(model, laws, stack, n, states[n], rate, place)
                if status != OK:
                    return status
            for r in range(n_reactions):
                if to[n, r] >= 0 or rate[n, r] == 0.0:
                    continue
                inside = True
                for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                    s = model.change_species[i]
                    count = states[n, s] + model.change_amount[i]
                    if count < 0:
                        place[0], place[1] = n, r
                        return NEGATIVE_COUNT
                    if count > packing.cap[s]:
                        inside = False
                        if adding and count <= limits.upper[s]:
                            place[0], place[1] = n, r
                            return NARROW
                if not inside:
                    continue
                code = codes[n] + packing.step[r]
                if packing.exact == 0:
                    jump(model, r, states[n], x)
                    code = code_of(packing, x)
                slot = slot_of(packing, states, codes, table, code, x)
                goal = place_in(table, slot)
                if goal < 0 and adding:
                    new = cursor[0]
                    jump(model, r, states[n], states[new])
                    if is_allowed(limits, states[new], stack):
                        table[slot], codes[new], rate[new, 0] = entry(packing, code, new), code, np.nan
                        for i in range(to.shape[1]):
                            to[new, i] = OUT
                        cursor[0], goal = new + 1, new
                if goal >= 0:
                    to[n, r] = goal
                    if packing.back[r] >= 0:
                        to[goal, packing.back[r]] = n
            cursor[1] += 1
        cursor[2] = n_sources + (cursor[0] - cursor[4])
        cursor[3] += 1
        if cursor[0] >= target:
            break
    return OK


@inlined
def is_allowed(limits, state, stack):
    """Does a state fulfil the conditions?"""
    for k in range(len(limits.row_bound)):
        total = 0.0
        for i in range(limits.row_pointer[k], limits.row_pointer[k + 1]):
            total += limits.row_weight[i] * state[limits.row_species[i]]
        if total > limits.row_bound[k]:
            return False
    return len(limits.opcode) == 0 or run_there(limits, 0, state, stack) != 0.0


@inlined
def jump(model, r, state, x):
    """Write the state that reaction r leads to into x."""
    copy_to(x, state)
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        x[model.change_species[i]] += model.change_amount[i]


@bare
def spread(to, rate, n_reactions, outside, slow, places, flow, reached):
    """Add what the states from `outside` on get of probability `flow` (K,) in visited states, in one jump, to `reached`, the first first.

    It is divided as the rates are, with `slow` for what stays; if that is negative, among the jumps that lead there.
    """
    for i in range(len(places)):
        n, total = places[i], max(slow, 0.0)
        for r in range(n_reactions):
            if slow >= 0.0 or to[n, r] >= outside:
                total += rate[n, r]
        for r in range(n_reactions):
            if to[n, r] >= outside and rate[n, r] > 0.0:
                reached[to[n, r] - outside] += flow[i] * rate[n, r] / total
    return OK


@bare
def list_columns(to, rate, n_reactions, n_states, order, came, pointer, row, entry, leak):
    """The generator's columns in CSC form, each in order: where a state goes and at which rate; what leaves the states is `leak`.

    A column has at most (R + 1) entries, the diagonal among them. Jumps that lead to the same state are one entry. `order` (R + 1,) holds
    the numbers up to R at first, in any order: jumps are taken in that which was right for the state before, since it seldom changes.
    came (R + 1,) is workspace.
    """
    entries = 0
    pointer[0] = 0
    for n in range(n_states):
        first, total, out = entries, 0.0, 0.0
        for r in range(n_reactions):
            total += rate[n, r]
            if to[n, r] < 0 or to[n, r] >= n_states:
                out += rate[n, r]
        leak[n] = out
        for k in range(n_reactions + 1):
            r, a, goal = order[k], -total, n
            if r < n_reactions:
                a, goal = rate[n, r], int(to[n, r])
                if a == 0.0 or goal < 0 or goal >= n_states:
                    continue
            i = entries
            while i > first and row[i - 1] > goal:
                i -= 1
            if i > first and row[i - 1] == goal:
                entry[i - 1] += a
                continue
            if i < entries:
                put_before(order, k, came[i - first])
            for j in range(entries, i, -1):
                row[j], entry[j], came[j - first] = row[j - 1], entry[j - 1], came[j - 1 - first]
            row[i], entry[i], came[i - first] = goal, a, r
            entries += 1
        pointer[n + 1] = entries
    return OK


@inlined
def put_before(order, k, other):
    """Move what is at place k of a list in front of `other`, which comes earlier."""
    moved = order[k]
    while order[k] != other:
        k -= 1
        order[k + 1] = order[k]
    order[k] = moved


@bare
def move_jumps(states, codes, to, rate, where, n_states, n_reactions, new_states, new_codes, new_to, new_rate):
    """The rows of the kept states at their new places: state n goes to where[n], and leaves the set if that is -1."""
    for n in range(n_states):
        new = where[n]
        if new < 0:
            continue
        copy_to(new_states[new], states[n])
        new_codes[new] = codes[n]
        new_rate[new, 0] = np.nan
        for r in range(n_reactions):
            goal = int(to[n, r])
            if goal >= 0:
                goal = where[goal] if goal < n_states else OUT
            new_to[new, r], new_rate[new, r] = goal, rate[n, r]
    return OK
