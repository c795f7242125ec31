"""Which states can be reached, and the sparse generator on them: breadth-first search with an open-addressing hash table."""

import numpy as np

from cme.kernels.jit import bare, inlined, inner
from cme.kernels.propensity import propensity

OK, NEGATIVE_COUNT, NEGATIVE_PROPENSITY, UNDEFINED_PROPENSITY, FULL = 0, 1, 2, 3, 4


@inner
def slot_of(states, table, key, x):
    """The slot of state x in the table: where it is, or the free slot where it would go. Only the `key` species are compared."""
    mask = np.uint64(table.shape[0] - 1)
    h = np.uint64(0x9E3779B97F4A7C15)
    for k in range(key.shape[0]):
        h ^= np.uint64(x[key[k]])
        h *= np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
    slot = h & mask
    while table[slot] >= 0:
        n = table[slot]
        same = True
        for k in range(key.shape[0]):
            if states[n, key[k]] != x[key[k]]:
                same = False
                break
        if same:
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@bare
def fill_table(states, n_states, key, table):
    """Enter the first states into an empty table (all -1); stops with FULL at a state that is there twice, its index in place."""
    for n in range(n_states):
        slot = slot_of(states, table, key, states[n])
        if table[slot] >= 0:
            return FULL
        table[slot] = n
    return OK


@bare
def look_up(states, table, key, wanted, found):
    """The index of each wanted state, -1 where it is not kept."""
    for i in range(wanted.shape[0]):
        n = table[slot_of(states, table, key, wanted[i])]
        found[i] = n
        if n >= 0:
            for s in range(wanted.shape[1]):  # the key decides among states of one conservation class; here any may come
                if states[n, s] != wanted[i, s]:
                    found[i] = -1
    return OK


@inlined
def copy_to(target, source):
    """Copy one by one: numpy's copying between slices takes seconds to compile."""
    for s in range(len(target)):
        target[s] = source[s]


@inlined
def _check(a, place, n, r):
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


@bare
def explore(model, stack, x, upper, key, layers, target, cursor, queue, states, table, place):
    """Add the states that the queued ones lead to, layer by layer, until `layers` are done or `target` states are passed.

    `stack` and x (S,) are workspace. cursor = [number of states, position in the queue, end of the running layer, end of the queue,
    layers done]. With FULL the arrays have no room for one more state's successors: enlarge them, rebuild the table and call again.
    """
    n_reactions = model.constant.shape[0]
    while cursor[4] < layers and cursor[1] < cursor[3]:
        while cursor[1] < cursor[2]:
            if cursor[0] + n_reactions > states.shape[0] or cursor[3] + n_reactions > queue.shape[0]:
                return FULL
            n = queue[cursor[1]]
            for r in range(n_reactions):
                a = propensity(model, r, states[n], stack)
                status = _check(a, place, n, r)
                if status != OK:
                    return status
                if a == 0.0:
                    continue
                copy_to(x, states[n])
                inside = True
                for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                    s = model.change_species[i]
                    x[s] += model.change_amount[i]
                    if x[s] < 0:
                        place[0] = n
                        place[1] = r
                        return NEGATIVE_COUNT
                    inside = inside and x[s] <= upper[s]
                if not inside:
                    continue
                slot = slot_of(states, table, key, x)
                if table[slot] < 0:
                    table[slot] = cursor[0]
                    copy_to(states[cursor[0]], x)
                    queue[cursor[3]] = cursor[0]
                    cursor[0] += 1
                    cursor[3] += 1
            cursor[1] += 1
        cursor[2] = cursor[3]
        cursor[4] += 1
        if cursor[0] >= target:
            break
    return OK


@bare
def assemble(model, stack, x, key, states, table, pointer, row, rate, leak, place):
    """The generator's columns in CSC form: column n lists where state n goes and at which rate; what leaves the set is `leak`.

    `row` and `rate` hold at most (R + 1) entries per state, the last of which is the diagonal.
    """
    n_reactions = model.constant.shape[0]
    entries = 0
    pointer[0] = 0
    for n in range(states.shape[0]):
        total = 0.0
        leak[n] = 0.0
        for r in range(n_reactions):
            a = propensity(model, r, states[n], stack)
            status = _check(a, place, n, r)
            if status != OK:
                return status
            if a == 0.0 or model.change_pointer[r] == model.change_pointer[r + 1]:
                continue
            total += a
            copy_to(x, states[n])
            for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                x[model.change_species[i]] += model.change_amount[i]
                if x[model.change_species[i]] < 0:
                    place[0] = n
                    place[1] = r
                    return NEGATIVE_COUNT
            to = table[slot_of(states, table, key, x)]
            if to < 0:
                leak[n] += a
            else:
                row[entries] = to
                rate[entries] = a
                entries += 1
        row[entries] = n
        rate[entries] = -total
        entries += 1
        pointer[n + 1] = entries
    return OK
