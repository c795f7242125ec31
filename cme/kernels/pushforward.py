"""Many states taken through one instant of timed events, by the machine of `cme.kernels.events`; what chance would decide is told."""

import numpy as np

from cme.kernels.events import (
    EVENT,
    EXECUTED,
    LONGEST,
    OK,
    PRIORITY,
    TOTAL,
    TRUTH,
    UNSETTLED,
    WAITING,
    WHEN,
    execute,
    look,
    value_of,
)  # fmt: skip
from cme.kernels.jit import bare, inlined, inner

TIED = 14


@bare
def settle_states(machine, kept, agenda, free, choices, ties, tied, y, place):
    """Settle each row of y (N, size), every time from the memory `kept`; `agenda` is left as the last row leaves it.

    Where several executions have the same priority, the k-th time, the one numbered choices[k] goes first, and ties[k] says of how many;
    but the events marked `free`, whose order does not matter, go before that. `tied` is room for as many as may wait.
    """
    for n in range(y.shape[0]):
        recall(kept, agenda)
        status = settle_as_told(machine, agenda, free, choices, ties, tied, y[n])
        if status != OK:
            place[0] = n
            return status
    return OK


@inner
def recall(kept, agenda):
    """Make the memory what it was."""
    agenda.marks[WAITING], agenda.marks[TOTAL] = kept.marks[WAITING], kept.marks[TOTAL]
    for e in range(kept.known.shape[0]):
        agenda.known[e, TRUTH], agenda.known[e, EXECUTED] = kept.known[e, TRUTH], kept.known[e, EXECUTED]
    for i in range(kept.marks[WAITING]):
        for j in range(kept.queue.shape[1]):
            agenda.queue[i, j] = kept.queue[i, j]


@inner
def settle_as_told(machine, agenda, free, choices, ties, tied, y):
    """`cme.kernels.events.settle` without chance."""
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
            i = one_that_is_free(agenda.queue, free, tied, n_tied)
            if i < 0:
                if n_ties == len(choices):
                    return TIED
                i = tied[choices[n_ties]]
                ties[n_ties] = n_tied
                n_ties += 1
        status = execute(machine, y, agenda, i)
        if status != OK:
            return status
    return UNSETTLED


@inlined
def first_due(machine, y, agenda, tied):
    """Of what is due, all that has the highest priority: how many, and their places in `tied`."""
    best, n_tied = -np.inf, 0
    for i in range(agenda.marks[WAITING]):
        if agenda.queue[i, WHEN] > y[machine.clock]:
            continue
        program = machine.events[np.int64(agenda.queue[i, EVENT]), PRIORITY]
        priority = -np.inf
        if program >= 0:
            priority = value_of(machine.laws, machine.draws, program, y, agenda)
        if n_tied == 0 or priority > best:
            best = priority
            tied[0] = i
            n_tied = 1
        elif priority == best:
            tied[n_tied] = i
            n_tied += 1
    return n_tied


@inlined
def one_that_is_free(queue, free, tied, n_tied):
    """An execution whose order does not matter, -1 if there is none. An event that is due twice is none."""
    for k in range(n_tied):
        e = np.int64(queue[tied[k], EVENT])
        n_same = 0
        for other in range(n_tied):
            if queue[tied[other], EVENT] == e:
                n_same += 1
        if free[e] and n_same == 1:
            return tied[k]
    return -1
