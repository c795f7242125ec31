"""The stationary law of a large sparse generator, level by level: sweeps on states, and the law of groups of neighbouring states.

A level holds its rates by rows, what comes in from whom, without the diagonal: pointer (N + 1,), source int32, rate, and the total rate
`out` of each state. Every operation is a sum of products of numbers that are not negative: nothing is ever subtracted.
"""

from cme.kernels.jit import bare

_LEAST = 1e-280  # below the smallest numbers there are no ratios


@bare
def sweep(pointer, source, rate, out, x, backward):
    """One Gauss-Seidel sweep: each state gets what flows in over its total rate out."""
    n_states = len(out)
    for i in range(n_states):
        n = n_states - 1 - i if backward else i
        total = 0.0
        for k in range(pointer[n], pointer[n + 1]):
            total += rate[k] * x[source[k]]
        x[n] = max(total / out[n], _LEAST)
    return 0


@bare
def imbalance(pointer, source, rate, out, x):
    """The 1-norm of A x."""
    found = 0.0
    for n in range(len(out)):
        total = 0.0
        for k in range(pointer[n], pointer[n + 1]):
            total += rate[k] * x[source[k]]
        found += abs(total - out[n] * x[n])
    return found


@bare
def gather(pointer, source, rate, x, start, group, slot, coarse_pointer, coarse_source, coarse_rate, coarse_out, coarse_x):
    """The rates between groups of states, as they are if the states of each group are as probable relative to each other as in x.

    Group I holds the states start[I], ..., start[I + 1] - 1; group (N,) says it the other way round. slot (number of groups,) int64 is
    workspace, -1 in the beginning and in the end.
    """
    n_groups, entries = len(start) - 1, 0
    for i in range(n_groups):
        total = 0.0
        for n in range(start[i], start[i + 1]):
            total += x[n]
        coarse_x[i], coarse_out[i] = total, 0.0
    coarse_pointer[0] = 0
    for i in range(n_groups):
        first = entries
        for n in range(start[i], start[i + 1]):
            for k in range(pointer[n], pointer[n + 1]):
                j = group[source[k]]
                if j == i:
                    continue
                at = slot[j]
                if at < 0:
                    slot[j], at = entries, entries
                    coarse_source[at], coarse_rate[at] = j, 0.0
                    entries += 1
                coarse_rate[at] += rate[k] * x[source[k]]
        for k in range(first, entries):
            slot[coarse_source[k]] = -1
        coarse_pointer[i + 1] = entries
    for k in range(entries):
        j = coarse_source[k]
        coarse_out[j] += coarse_rate[k]
        coarse_rate[k] /= coarse_x[j]
    for i in range(n_groups):
        coarse_out[i] /= coarse_x[i]
    return 0


@bare
def share(start, before, after, x):
    """Give each group its new probability, in the old proportions."""
    for i in range(len(start) - 1):
        factor = after[i] / before[i]
        for n in range(start[i], start[i + 1]):
            x[n] *= factor
    return 0


@bare
def eliminate(pointer, source, rate, work, x):
    """The law of a few states by elimination without subtraction (Grassmann, Taksar and Heyman); 1 if they do not communicate.

    work (N, N) is workspace.
    """
    n_states = len(x)
    for n in range(n_states):
        for m in range(n_states):
            work[n, m] = 0.0
        for k in range(pointer[n], pointer[n + 1]):
            work[n, source[k]] += rate[k]
    for n in range(n_states - 1, 0, -1):
        total = 0.0
        for m in range(n):
            total += work[m, n]
        if not total > 0.0:
            return 1
        for m in range(n):
            work[n, m] /= total  # from m into n, per time spent in n
        for i in range(n):
            into = work[i, n]
            if into > 0.0:
                for m in range(n):
                    work[i, m] += into * work[n, m]
    x[0] = 1.0
    for n in range(1, n_states):
        total = 0.0
        for m in range(n):
            total += work[n, m] * x[m]
        x[n] = total
    norm = 0.0
    for n in range(n_states):
        norm += x[n]
    for n in range(n_states):
        x[n] /= norm
    return 0
