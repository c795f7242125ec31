"""Which states can be reached, and the sparse generator on them, where reactions draw numbers of molecules.

States are told apart as in `cme.kernels.reach`.
"""

import numpy as np

from cme.kernels.jit import bare, inlined, inner
from cme.kernels.propensity import propensity
from cme.kernels.reach import FULL, NEGATIVE_COUNT, OK, check, code_of, copy_to, entry, place_in, slot_of
from cme.kernels.stoichiometry import TAIL, WIDE, begin_outcomes, clip, next_outcome, outcome, varies

_COARSE = 1e-3  # of laws, tails of so much are left out first when likely states are looked for


@bare
def explore(model, stack, x, upper, packing, layers, target, spared, listing, cursor, queue, states, codes, table, place):
    """Add the states that the queued ones lead to, layer by layer, until `layers` are done or `target` states are passed.

    `stack`, x (S,) and `listing` are workspace. cursor = [number of states, position in the queue, end of the running layer, end of the
    queue, layers done]. With FULL the arrays have no room for one more state's successors: enlarge them, rebuild the table and call
    again; with WIDE the listing has not. Where reactions lead to many states at random, those are added first that are most likely, until
    of the probability which led out of the states before no more than a part `spared` still does; and layers need not be finished, since
    one may hold very many.
    """
    n_reactions = model.constant.shape[0]
    while cursor[4] < layers and cursor[1] < cursor[3]:
        while cursor[1] < cursor[2]:
            if model.varying is not None and cursor[0] >= target:
                return OK
            if cursor[0] + n_reactions > states.shape[0] or cursor[3] + n_reactions > queue.shape[0]:
                return FULL
            n = queue[cursor[1]]
            for r in range(n_reactions):
                a = propensity(model, r, states[n], stack)
                status = check(a, place, n, r)
                if status != OK:
                    return status
                if a == 0.0:
                    continue
                if varies(model.varying, r):
                    place[0], place[1] = n, r
                    arrays = listing, cursor, queue, states, codes, table
                    status = add_outcomes(model, model.varying, r, states[n], stack, upper, packing, spared, *arrays)
                    if status != OK:
                        return status
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
                code = code_of(packing, x)
                slot = slot_of(packing, states, codes, table, code, x)
                if table[slot] < 0:
                    if cursor[0] >= states.shape[0] or cursor[3] >= queue.shape[0]:  # a random jump from the same state took the room
                        return FULL
                    table[slot], codes[cursor[0]] = entry(packing, code, cursor[0]), code
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


@inner
def add_outcomes(model, varying, r, state, stack, upper, packing, spared, listing, cursor, queue, states, codes, table):
    """Add the likely states that a reaction leads to at random; called again after FULL, it goes on."""
    if varying is None:
        return OK
    tail, bins = _COARSE if spared > 0.0 else TAIL, listing.bins
    last, outside, missing = len(bins) - 1, 0.0, 1.0
    while True:
        status, missing = begin_outcomes(varying, r, state, tail, listing, stack)
        if status != OK:
            return status
        bins[:] = 0.0
        bins[last] = missing
        outside, more = missing, True
        while more:
            p = outcome(model, varying, r, state, listing)
            status = standing(listing.x, upper)
            if status == NEGATIVE_COUNT and p > 0.0:
                return status
            if p > 0.0 and status == OK and place_of(packing, states, codes, table, listing.x) < 0:
                bins[bin_of(p, bins)] += p
                outside += p
            more = next_outcome(varying, r, listing)
        if missing <= spared * outside or tail <= TAIL:
            break
        tail = max(_COARSE * tail, TAIL)
    left = 0.0
    while last >= 0 and left + bins[last] <= spared * outside:
        left += bins[last]
        last -= 1
    if last < 0:
        return OK
    status, missing = begin_outcomes(varying, r, state, tail, listing, stack)
    more = True
    while more:
        p = outcome(model, varying, r, state, listing)
        if p > 0.0 and bin_of(p, bins) <= last and standing(listing.x, upper) == OK:
            code = code_of(packing, listing.x)
            slot = slot_of(packing, states, codes, table, code, listing.x)
            if table[slot] < 0:
                if cursor[0] >= states.shape[0] or cursor[3] >= queue.shape[0]:
                    return FULL
                table[slot], codes[cursor[0]] = entry(packing, code, cursor[0]), code
                copy_to(states[cursor[0]], listing.x)
                queue[cursor[3]] = cursor[0]
                cursor[0] += 1
                cursor[3] += 1
        more = next_outcome(varying, r, listing)
    return OK


@inlined
def place_of(packing, states, codes, table, x):
    """The place of state x, -1 if it is not there."""
    return place_in(table, slot_of(packing, states, codes, table, code_of(packing, x), x))


@inlined
def standing(x, upper):
    """OK if a state may be kept, NEGATIVE_COUNT if it is none, FULL if it lies beyond the bounds."""
    status = OK
    for s in range(len(x)):
        if x[s] < 0:
            return NEGATIVE_COUNT
        if x[s] > upper[s]:
            status = FULL
    return status


@inlined
def bin_of(p, bins):
    """The bin of a probability above zero, by powers of two: the larger, the lower."""
    return min(int(-np.log2(p)) if p < 1.0 else 0, len(bins) - 1)


@bare
def assemble(model, stack, x, packing, states, codes, table, largest, listing, cursor, pointer, row, rate, leak, place):
    """The generator's columns in CSC form: column n lists where state n goes and at which rate; what leaves the set is `leak`.

    cursor = [columns done, entries so far]. A column has at most (R + 1) entries, the last of which is the diagonal, or more where a
    reaction leads to many states at random. With FULL there is no room for them: enlarge `row` and `rate` and call again; with WIDE the
    listing has none. `largest` holds the largest count of each species in the set.
    """
    n_reactions = model.constant.shape[0]
    pointer[0] = 0
    for n in range(cursor[0], states.shape[0]):
        cursor[0], entries = n, cursor[1]
        if entries + n_reactions + 1 > row.shape[0]:
            return FULL
        total = 0.0
        leak[n] = 0.0
        for r in range(n_reactions):
            a = propensity(model, r, states[n], stack)
            status = check(a, place, n, r)
            if status != OK:
                return status
            if a > 0.0 and varies(model.varying, r):
                place[0], place[1] = n, r
                room = row.shape[0] - (n_reactions + 1)
                status, entries, left = list_column(
                    model, model.varying, r, a, states[n], stack, packing, largest, listing, states, codes, table, entries, room, row, rate
                )
                if status != OK:
                    return status
                leak[n] += left
                continue
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
            to = place_of(packing, states, codes, table, x)
            if to < 0 or to >= len(states):
                leak[n] += a
            else:
                row[entries] = to
                rate[entries] = a
                entries += 1
        if model.varying is not None:
            total = leak[n]
            for i in range(cursor[1], entries):
                total += rate[i]
        row[entries] = n
        rate[entries] = -total
        cursor[1] = entries + 1
        pointer[n + 1] = entries + 1
    return OK


@inner
def list_column(model, varying, r, a, state, stack, packing, largest, listing, states, codes, table, entries, room, row, rate):
    """The rates at which a reaction leads from a state to others at random: a status, the entries by then, and what leaves the set."""
    if varying is None:
        return OK, entries, 0.0
    status, missing = begin_outcomes(varying, r, state, TAIL, listing, stack)
    if status != OK:
        return status, entries, 0.0
    outside, more = clip(model, varying, r, state, largest, listing)
    left = a * (missing + outside)
    while more:
        p = outcome(model, varying, r, state, listing)
        if p > 0.0:
            moved, negative = False, False
            for s in range(len(state)):
                moved = moved or listing.x[s] != state[s]
                negative = negative or listing.x[s] < 0
            if negative:
                return NEGATIVE_COUNT, entries, 0.0
            if moved:
                to = place_of(packing, states, codes, table, listing.x)
                if to < 0 or to >= len(states):
                    left += a * p
                else:
                    if entries >= room:
                        return FULL, entries, 0.0
                    row[entries] = to
                    rate[entries] = a * p
                    entries += 1
        more = next_outcome(varying, r, listing)
    return OK, entries, left


@bare
def list_outcomes(model, stack, packing, states, codes, table, largest, r, fires, listing, cursor, source, to, share, wrong):
    """Where reaction r leads from the states where it fires, and with which probability: entries (from, to, share), -1 for out of the set.

    cursor and statuses as for `assemble`; what is wrong with a state is written down there, and it has no entries.
    """
    for n in range(cursor[0], states.shape[0]):
        cursor[0], entries = n, cursor[1]
        if entries + 1 > source.shape[0]:
            return FULL
        if not fires[n]:
            continue
        status, entries, left = list_column(
            model,
            model.varying,
            r,
            1.0,
            states[n],
            stack,
            packing,
            largest,
            listing,
            states,
            codes,
            table,
            entries,
            len(source) - 1,
            to,
            share,
        )
        if status in (FULL, WIDE):
            return status
        wrong[n] = status
        if status != OK:
            continue
        if left > 0.0:
            to[entries], share[entries] = -1, left
            entries += 1
        for i in range(cursor[1], entries):
            source[i] = n
        cursor[1] = entries
    return OK
