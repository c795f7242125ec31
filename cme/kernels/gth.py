"""Grassmann-Taksar-Heyman elimination of a banded generator: no subtraction, so every probability is right in relative terms."""

from cme.kernels.jit import bare


@bare
def gth_banded(band, half, pi):
    """The stationary law pi (N,) of an irreducible generator given by its band; `band` is overwritten.

    ``band[j, half + i - j]`` is the rate from j to i for |i - j| <= half; the diagonal is not used.

    W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33, 1107 (1985), doi:10.1287/opre.33.5.1107.
    """
    n_states = band.shape[0]
    for n in range(n_states - 1, 0, -1):  # censor state n: jumps through it become jumps between its lower neighbours
        low = max(0, n - half)
        out = 0.0
        for i in range(low, n):
            out += band[n, half + i - n]
        if out <= 0.0:
            return 1
        for j in range(low, n):
            enter = band[j, half + n - j]
            if enter > 0.0:
                for i in range(low, n):
                    if i != j:
                        band[j, half + i - j] += enter * band[n, half + i - n] / out
        band[n, half] = out
    pi[0] = 1.0
    total = 1.0
    for n in range(1, n_states):
        low = max(0, n - half)
        inflow = 0.0
        for j in range(low, n):
            inflow += pi[j] * band[j, half + n - j]
        pi[n] = inflow / band[n, half]
        total += pi[n]
        if total > 1e280:  # the mass lies further on: rescale what is there
            for j in range(n + 1):
                pi[j] *= 1e-280
            total *= 1e-280
    for n in range(n_states):
        pi[n] /= total
    return 0


@bare
def gth_cycle(band, half, away, spent, z, times, chances):
    """Cycles of a banded chain between visits to state 0, without subtraction.

    The band as for `gth_banded`; ``away`` (N,) are rates out of the set, ``spent`` (N,) is what a unit of time in a state counts. All three
    are overwritten. On return: z, the mean time in each state until 0 is met again or the set is left, per unit of time in 0; for
    each start, what is spent until then (0 for state 0), and the chance that 0 is met (1).
    """
    n_states = band.shape[0]
    for n in range(n_states - 1, 0, -1):  # censor state n
        low = max(0, n - half)
        out = away[n]
        for i in range(low, n):
            out += band[n, half + i - n]
        if out <= 0.0:
            return 1
        for j in range(low, n):
            enter = band[j, half + n - j]
            if enter > 0.0:
                share = enter / out
                for i in range(low, n):
                    if i != j:
                        band[j, half + i - j] += share * band[n, half + i - n]
                away[j] += share * away[n]
                spent[j] += share * spent[n]
        band[n, half] = out
    z[0], times[0], chances[0] = 1.0, 0.0, 1.0
    for n in range(1, n_states):
        low = max(0, n - half)
        inflow, time, chance = 0.0, spent[n], 0.0
        for i in range(low, n):
            inflow += z[i] * band[i, half + n - i]
            time += band[n, half + i - n] * times[i]
            chance += band[n, half + i - n] * chances[i]
        z[n], times[n], chances[n] = inflow / band[n, half], time / band[n, half], chance / band[n, half]
        if not z[n] < 1e300:
            return 2
    return 0
