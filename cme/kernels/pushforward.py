"""Many states taken through one instant of timed events, by the machine of `cme.kernels.events`; what chance would decide is told."""

import numpy as np

from cme.kernels.events import LONGEST, OK, UNSETTLED, execute, look, value_of
from cme.kernels.jit import bare, inlined, kernel

BAD_COUNT, TIED = 13, 14


@kernel
def settle_states(machine, n_species, kept, agenda, free, choices, ties, tied, y, place):
    """Settle each row of y (N, size), every time from the memory `kept`; `agenda` is left as the last row leaves it.

    Where several executions have the same priority, the k-th time, the one numbered choices[k] goes first, and ties[k] says of how many;
    but the events marked `free`, whose order does not matter, go before that. `tied` is room for as many as may wait.
    """
    for n in range(y.shape[0]):
        recall(kept, agenda)
        status = settle_as_told(machine, n_species, agenda, free, choices, ties, tied, y[n])
        if status != OK:
            place[0] = n
            return status
    return OK


@bare
def recall(kept, agenda):
    """Make the memory what it was."""
    n = kept.waiting[0]
    agenda.waiting[0] = n
    for e in range(len(kept.truth)):
        agenda.truth[e] = kept.truth[e]
        agenda.executed[e] = kept.executed[e]
    for i in range(n):
        agenda.when[i] = kept.when[i]
        agenda.which[i] = kept.which[i]
        for j in range(kept.value.shape[1]):
            agenda.value[i, j] = kept.value[i, j]


@bare
def settle_as_told(machine, n_species, agenda, free, choices, ties, tied, y):
    """`cme.kernels.events.settle` without chance, for whole counts."""
    n_ties = 0
    for _ in range(LONGEST):
        status = look(machine, y, agenda)
        if status != OK:
            return status
        n_tied = first_due(machine, y, agenda, tied)
        if n_tied == 0:
            return OK
        i = tied[0]
        if n_tied > 1:
            i = one_that_is_free(agenda, free, tied, n_tied)
            if i < 0:
                if n_ties == len(choices):
                    return TIED
                i = tied[choices[n_ties]]
                ties[n_ties] = n_tied
                n_ties += 1
        e = agenda.which[i]
        status = execute(machine, y, agenda, i)
        if status != OK:
            return status
        for j in range(machine.assign_pointer[e], machine.assign_pointer[e + 1]):
            if machine.assign_coordinate[j] < n_species:
                x = y[machine.assign_coordinate[j]]
                if not (x >= 0.0 and x == np.floor(x) and x < 2.0**62):
                    agenda.culprit[0] = e
                    return BAD_COUNT
    return UNSETTLED


@inlined
def first_due(machine, y, agenda, tied):
    """Of what is due, all that has the highest priority: how many, and their places in `tied`."""
    best, n_tied = -np.inf, 0
    for i in range(agenda.waiting[0]):
        if agenda.when[i] > y[machine.clock]:
            continue
        program = machine.priority_program[agenda.which[i]]
        priority = -np.inf
        if program >= 0:
            priority = value_of(machine, program, y, agenda)
        if n_tied == 0 or priority > best:
            best = priority
            tied[0] = i
            n_tied = 1
        elif priority == best:
            tied[n_tied] = i
            n_tied += 1
    return n_tied


@inlined
def one_that_is_free(agenda, free, tied, n_tied):
    """An execution whose order does not matter, -1 if there is none. An event that is due twice is none."""
    for k in range(n_tied):
        e = agenda.which[tied[k]]
        n_same = 0
        for other in range(n_tied):
            if agenda.which[tied[other]] == e:
                n_same += 1
        if free[e] and n_same == 1:
            return tied[k]
    return -1
