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
