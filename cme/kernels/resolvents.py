"""(z - A)^-1 p for many complex z and a banded generator A, by elimination without subtraction.

A state that is eliminated leaves rates between the states after it, and the rate z + leak at which a path ends, as in
`cme.kernels.gth`. Nothing is subtracted, so that stiffness costs no digits where Re z > 0; where it is not, little is cancelled as long
as z is far from the spectrum. Four points z are worked on at once, since each step waits for the division in the one before.
"""

from cme.kernels.jit import bare

LANES = 4
_TINY = 1e-250  # numbers near the end of the exponent range cost a hundredfold


@bare
def solve_banded(band, leak, scale, p, z_re, z_im, w_re, w_im, end_re, end_im, pivot_re, pivot_im, y_re, y_im, x_re, x_im):
    """x[k] = (z_k - scale A)^-1 p, (K, N), real and imaginary parts apart; K is a multiple of four.

    ``band[j, half + i - j]`` is the rate from j to i for 0 < |i - j| <= half, the diagonal is not used; ``leak`` (N,) are rates out of
    the set. Workspace: w (N, 2 half + 1, 4); the end, pivot and y (N, 4).
    """
    n_states, width = band.shape
    half = width // 2
    for first in range(0, x_re.shape[0], LANES):
        for n in range(n_states):
            for j in range(width):
                rate = scale * band[n, j]
                for k in range(LANES):
                    w_re[n, j, k] = rate
                    w_im[n, j, k] = 0.0
            for k in range(LANES):
                end_re[n, k] = z_re[first + k] + scale * leak[n]
                end_im[n, k] = z_im[first + k]
                y_re[n, k] = p[n]
                y_im[n, k] = 0.0
        for i in range(n_states):
            last = min(i + half, n_states - 1)
            for k in range(LANES):
                a, b = end_re[i, k], end_im[i, k]
                for later in range(i + 1, last + 1):
                    a += w_re[i, half + later - i, k]
                    b += w_im[i, half + later - i, k]
                square = 1.0 / (a * a + b * b)
                a, b = a * square, -b * square
                pivot_re[i, k] = a
                pivot_im[i, k] = b
                c, d = y_re[i, k], y_im[i, k]
                c, d = a * c - b * d, a * d + b * c
                there = abs(c) + abs(d) > _TINY
                y_re[i, k] = c if there else 0.0
                y_im[i, k] = d if there else 0.0
            for j in range(i + 1, last + 1):
                for k in range(LANES):
                    a, b = w_re[i, half + j - i, k], w_im[i, half + j - i, k]
                    c, d = y_re[i, k], y_im[i, k]
                    y_re[j, k] += a * c - b * d
                    y_im[j, k] += a * d + b * c
                    a, b = w_re[j, half + i - j, k], w_im[j, half + i - j, k]
                    c, d = pivot_re[i, k], pivot_im[i, k]
                    a, b = a * c - b * d, a * d + b * c  # the part of what comes to i that comes from j
                    w_re[j, half + i - j, k] = a
                    w_im[j, half + i - j, k] = b
                    c, d = end_re[i, k], end_im[i, k]
                    end_re[j, k] += a * c - b * d
                    end_im[j, k] += a * d + b * c
                for later in range(i + 1, last + 1):
                    if later != j:
                        for k in range(LANES):
                            a, b = w_re[j, half + i - j, k], w_im[j, half + i - j, k]
                            c, d = w_re[i, half + later - i, k], w_im[i, half + later - i, k]
                            w_re[j, half + later - j, k] += a * c - b * d
                            w_im[j, half + later - j, k] += a * d + b * c
        for i in range(n_states - 1, -1, -1):
            for k in range(LANES):
                a, b = y_re[i, k], y_im[i, k]
                for j in range(i + 1, min(i + half, n_states - 1) + 1):
                    a += w_re[j, half + i - j, k] * y_re[j, k] - w_im[j, half + i - j, k] * y_im[j, k]
                    b += w_re[j, half + i - j, k] * y_im[j, k] + w_im[j, half + i - j, k] * y_re[j, k]
                there = abs(a) + abs(b) > _TINY
                a, b = a if there else 0.0, b if there else 0.0
                y_re[i, k] = a
                y_im[i, k] = b
                x_re[first + k, i] = a
                x_im[first + k, i] = b
    return 0
