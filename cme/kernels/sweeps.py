"""Gauss-Seidel sweeps over a generator in columns, around a state that is left out, and the sums of a two-level method.

The columns come as CSC (pointer, index, rate), with or without the diagonal, which is not used; `exits` (N,) are total rates out of
the states.
"""

from cme.kernels.jit import bare


@bare
def push(pointer, index, rate, exits, fixed, backward, x, residual):
    """Solve for one state after the other what it holds, and push on what flows out: the residual is kept, and stays >= 0 if it is.

    For ``exits x - (rates x) = b`` with the state `fixed` left out; x (N,) and residual (N,) are changed.
    """
    n_states = exits.shape[0]
    for i in range(n_states):
        n = n_states - 1 - i if backward else i
        if n == fixed or residual[n] == 0.0:
            continue
        step = residual[n] / exits[n]
        x[n] += step
        residual[n] = 0.0
        for k in range(pointer[n], pointer[n + 1]):
            m = index[k]
            if m != n:
                residual[m] += rate[k] * step
    return 0


@bare
def pull(pointer, index, rate, exits, fixed, backward, right, x):
    """The same for the transposed equations, ``exits x - (rates^T x) = right``, with x[fixed] = 0."""
    n_states = exits.shape[0]
    x[fixed] = 0.0
    for i in range(n_states):
        n = n_states - 1 - i if backward else i
        if n == fixed:
            continue
        total = right[n]
        for k in range(pointer[n], pointer[n + 1]):
            m = index[k]
            if m != n:
                total += rate[k] * x[m]
        x[n] = total / exits[n]
    return 0


@bare
def gather_residual(pointer, index, rate, exits, fixed, right, x, residual):
    """What is missing of the transposed equations."""
    for n in range(exits.shape[0]):
        total = right[n] - exits[n] * x[n]
        for k in range(pointer[n], pointer[n + 1]):
            m = index[k]
            if m != n:
                total += rate[k] * x[m]
        residual[n] = total
    residual[fixed] = 0.0
    return 0


@bare
def scatter(pointer, index, rate, exits, fixed, step, residual):
    """Take ``exits step - rates step`` from the residual."""
    for n in range(exits.shape[0]):
        s = step[n]
        if n == fixed or s == 0.0:
            continue
        residual[n] -= exits[n] * s
        for k in range(pointer[n], pointer[n + 1]):
            m = index[k]
            if m != n:
                residual[m] += rate[k] * s
    return 0


@bare
def coarse_entries(pointer, index, rate, exits, fixed, block, order, start, weight, last, row, value, coarse_pointer):
    """The columns of the coarse matrix: rates between blocks of states with given weights, minus what flows out, on the diagonal.

    ``order`` lists the states by block, those of block c from start[c] to start[c + 1]; `last` (C,) is workspace, -1 on entry. Returns 1 if
    there is no room in row and value.
    """
    n_blocks = start.shape[0] - 1
    entries = 0
    for c in range(n_blocks):
        first = entries
        if entries + n_blocks > row.shape[0] and entries + 4096 > row.shape[0]:
            return 1
        row[entries] = c
        value[entries] = 0.0
        last[c] = entries
        entries += 1
        for i in range(start[c], start[c + 1]):
            n = order[i]
            if n == fixed:
                continue
            w = weight[n]
            value[first] += exits[n] * w
            for k in range(pointer[n], pointer[n + 1]):
                m = index[k]
                if m in (n, fixed):
                    continue
                to = block[m]
                if last[to] < first:
                    if entries >= row.shape[0]:
                        return 1
                    last[to] = entries
                    row[entries] = to
                    value[entries] = 0.0
                    entries += 1
                value[last[to]] -= rate[k] * w
        coarse_pointer[c + 1] = entries
    return 0
