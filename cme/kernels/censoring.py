"""Sparse elimination of a Markov chain without subtraction: states are censored one by one, in a given order.

To censor a state is to look away while the chain is in it: jumps through it become jumps between its neighbours, and exits through it
become exits from them. All numbers are positive and none is subtracted, so that every result is right in relative terms, whatever powers
of ten lie between the rates and the mean times (Grassmann, Taksar and Heyman, Oper. Res. 33, 1107 (1985), doi:10.1287/opre.33.5.1107;
Alfa, Xue and Ye, Math. Comp. 71, 217 (2002), doi:10.1090/S0025-5718-01-01325-4).

The states are numbered in the order in which they are censored. `later` lists, for each, the states after it to which it is linked
by then, in order: those of state n are at start[n], ..., start[n + 1] - 1. Beside them, `down` holds the rates from n to each, and `up` the
rates from each to n.
"""

import numpy as np

from cme.kernels.jit import bare, inlined

STUCK = 1  # no way leads out of a state
TINY = 1e-290  # rates below this have lost digits


@bare
def count_links(pointer, index, parent, mark, n_links):
    """How many later states each will be linked to, n_links (N,), and the first of them, parent (N,).

    The symmetric pattern of the rates comes as CSR (pointer, index).
    """
    for n in range(mark.shape[0]):
        parent[n], mark[n], n_links[n] = -1, n, 0
        for p in range(pointer[n], pointer[n + 1]):
            k = index[p]
            while k < n and mark[k] != n:  # up the tree of who is censored into whom
                if parent[k] == -1:
                    parent[k] = n
                n_links[k] += 1
                mark[k] = n
                k = parent[k]
    return 0


@bare
def list_links(pointer, index, parent, mark, cursor, later):
    """Fill `later`; cursor (N,) comes as the first N of `start`."""
    for n in range(mark.shape[0]):
        mark[n] = n
        for p in range(pointer[n], pointer[n + 1]):
            k = index[p]
            while k < n and mark[k] != n:
                later[cursor[k]] = n
                cursor[k] += 1
                mark[k] = n
                k = parent[k]
    return 0


@bare
def group_states(parent, n_links, head):
    """The first of each run of states that are linked to each other and to the same later states, for each state, head (N,)."""
    for n in range(head.shape[0]):
        together = n > 0 and parent[n - 1] == n and n_links[n - 1] == n_links[n] + 1
        head[n] = head[n - 1] if together else n
    return 0


@inlined
def _add_jumps_through(down, up, source, into, onto, to_down, to_up, goal, length):
    """Add multiples of `length` rates from `source` on to those from `goal` on."""
    source, goal = np.uint64(source), np.uint64(goal)
    for i in range(np.uint64(length)):
        to_down[goal + i] += down[source + i] * into
        to_up[goal + i] += up[source + i] * onto


@bare
def censor(from_pointer, from_index, from_rate, to_pointer, to_index, to_rate, exit_rate, start, later, head, place, chain, first, cursor,
           sum_down, sum_up, down, up, left, out):  # fmt: skip
    """Censor all states; 0, or STUCK if one can't be left.

    The rates come twice, by the state they lead from (CSC) and by the one they lead to (CSR), and `exit_rate` (N,) is the rate out of all.
    On return `left` (N,) is the exit rate from each state when it is censored, and `out` (N,) the total rate out of it then.
    place, chain, first, cursor, sum_down and sum_up (N,) are workspace.

    Jumps through a whole group of censored states are added up before they are added to those from and to a state: the states of a
    group are linked to the same later ones, so that their rates lie side by side.
    """
    n_states = out.shape[0]
    for n in range(n_states):
        first[n] = -1
    for n in range(n_states):
        begin, end = start[n], start[n + 1]
        for p in range(begin, end):
            place[later[p]] = p
            down[p] = 0.0
            up[p] = 0.0
        for p in range(from_pointer[n], from_pointer[n + 1]):
            if from_index[p] > n:
                down[place[from_index[p]]] += from_rate[p]
        for p in range(to_pointer[n], to_pointer[n + 1]):
            if to_index[p] > n:
                up[place[to_index[p]]] += to_rate[p]
        lost = exit_rate[n]
        for k in range(head[n], n):  # the states before it in its own group
            at = start[k] + (n - k - 1)
            into, onto = up[at] / out[k], down[at] / out[k]
            lost += left[k] * into
            _add_jumps_through(down, up, at + 1, into, onto, down, up, begin, end - begin)
        last = first[n]
        while last != -1:  # the groups of censored states, by their last, through which jumps from and to n lead
            following, at = chain[last], cursor[last]
            length = start[last + 1] - at - 1
            for i in range(length):
                sum_down[i] = 0.0
                sum_up[i] = 0.0
            for k in range(head[last], last + 1):
                here = start[k + 1] - length - 1
                into, onto = up[here] / out[k], down[here] / out[k]
                lost += left[k] * into
                _add_jumps_through(down, up, here + 1, into, onto, sum_down, sum_up, 0, length)
            for i in range(length):
                q = place[later[at + 1 + i]]
                down[q] += sum_down[i]
                up[q] += sum_up[i]
            cursor[last] = at + 1
            if length > 0:
                m = later[at + 1]
                chain[last] = first[m]
                first[m] = last
            last = following
        total = lost
        for p in range(begin, end):
            total += down[p]
        if total < TINY:
            return STUCK
        left[n], out[n] = lost, total
        if begin < end and not (n + 1 < n_states and head[n + 1] == head[n]):
            cursor[n] = begin
            m = later[begin]
            chain[n] = first[m]
            first[m] = n
    return 0


@bare
def pass_through(start, later, down, up, out, x):
    """What has passed through each state before the exit, in place of x (N,): what is put into each.

    With x the law of where the chain starts, that is the mean time spent in each state. With `down` and `up` swapped everything goes
    against the jumps: with x what is collected per unit time in each state, it is the mean of all that is collected from each on.
    """
    n_states = out.shape[0]
    for n in range(n_states):
        share = x[n] / out[n]
        for p in range(start[n], start[n + 1]):
            x[later[p]] += down[p] * share
    for n in range(n_states - 1, -1, -1):
        total = x[n]
        for p in range(start[n], start[n + 1]):
            total += up[p] * x[later[p]]
        x[n] = total / out[n]
    return 0
