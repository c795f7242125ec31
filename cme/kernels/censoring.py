"""Sparse elimination of a Markov chain without subtraction: states are censored one by one, in a given order.

To censor a state is to look away while the chain is in it: jumps through it become jumps between its neighbours, and exits through it
become exits from them. All numbers are positive and none is subtracted, so that every result is right in relative terms, whatever powers
of ten lie between the rates and the mean times (Grassmann, Taksar and Heyman, Oper. Res. 33, 1107 (1985), doi:10.1287/opre.33.5.1107;
Alfa, Xue and Ye, Math. Comp. 71, 217 (2002), doi:10.1090/S0025-5718-01-01325-4).

The states are numbered in the order in which they are censored. `later` lists, for each, the states after it to which it is linked
by then, in order: those of state n are at start[n], ..., start[n + 1] - 1. Beside them, `down` holds the rates from n to each, and `up` the
rates from each to n.
"""

from cme.kernels.jit import bare

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
def censor(from_pointer, from_index, from_rate, to_pointer, to_index, to_rate, exit_rate, start, later, place, chain, first, cursor,
           down, up, left, out):  # fmt: skip
    """Censor all states; 0, or STUCK if one can't be left.

    The rates come twice, by the state they lead from (CSC) and by the one they lead to (CSR), and `exit_rate` (N,) is the rate out of all.
    On return `left` (N,) is the exit rate from each state when it is censored, and `out` (N,) the total rate out of it then.
    place, chain, first and cursor (N,) are workspace.
    """
    n_states = out.shape[0]
    for n in range(n_states):
        first[n] = -1
    for n in range(n_states):
        for p in range(start[n], start[n + 1]):
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
        k = first[n]
        while k != -1:  # the censored states through which jumps from and to n lead
            following, at = chain[k], cursor[k]
            into, onto = up[at] / out[k], down[at] / out[k]
            lost += left[k] * into
            for p in range(at + 1, start[k + 1]):
                q = place[later[p]]
                down[q] += down[p] * into
                up[q] += up[p] * onto
            cursor[k] = at + 1
            if at + 1 < start[k + 1]:
                m = later[at + 1]
                chain[k] = first[m]
                first[m] = k
            k = following
        total = lost
        for p in range(start[n], start[n + 1]):
            total += down[p]
        if total < TINY:
            return STUCK
        left[n], out[n] = lost, total
        cursor[n] = start[n]
        if start[n] < start[n + 1]:
            m = later[start[n]]
            chain[n] = first[m]
            first[m] = n
    return 0


@bare
def occupy(start, later, down, up, out, x):
    """The mean time that is spent in each state before the exit, in place of the law x (N,) of where the chain starts."""
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


@bare
def collect(start, later, down, up, out, x):
    """The mean of what is collected before the exit, from each state, in place of x (N,): what is collected per unit time in each."""
    n_states = out.shape[0]
    for n in range(n_states):
        share = x[n] / out[n]
        for p in range(start[n], start[n + 1]):
            x[later[p]] += up[p] * share
    for n in range(n_states - 1, -1, -1):
        total = x[n]
        for p in range(start[n], start[n + 1]):
            total += down[p] * x[later[p]]
        x[n] = total / out[n]
    return 0
