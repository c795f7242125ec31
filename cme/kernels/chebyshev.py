"""exp(tA) p as a Chebyshev series in P = I + A/q: exp(tA) = sum over k of c_k(qt) T_k(P), c_k(z) = 2 exp(-z) I_k(z) (half of it for k = 0).

About sqrt(qt) products do what takes uniformisation qt of them.
"""

from cme.kernels.jit import bare, inlined, inner

OK, SHORT, LARGE = 0, 1, 2
SKIPPED = 1e-45  # terms with smaller coefficients are not added to an output
_TINY = 1e-250  # numbers near the end of the exponent range cost a hundredfold


@bare
def scaled_bessel(z, values):
    """exp(-z) I_k(z) for k = 0, 1, ..., K - 1, by recurrence from above (Miller), normalised by their sum.

    K must be so large that the last value is far below round-off.
    """
    n = values.shape[0]
    above, here, total = 0.0, 1e-280, 0.0
    for k in range(n - 1, -1, -1):
        values[k] = here
        total += here if k == 0 else 2.0 * here
        above, here = here, above + 2.0 * k / z * here
        if here > 1e200:
            for i in range(k, n):
                values[i] *= 1e-250
            above, here, total = above * 1e-250, here * 1e-250, total * 1e-250
    for k in range(n):
        values[k] /= total
    return OK


@bare
def chebyshev_series(pointer, index, rate, weights, tails, enough, allowed, rounding, cursor, previous, current, norms, out):
    """Accumulate sum over k of weights[j, k] T_k(P) p for every output j into out (J, N).

    The matrix comes by rows (CSR); `rate` is A/q. `previous` holds p on entry, `current` is workspace, `norms` (K,) gets the 1-norms of
    the terms. The residual of the series that ends with term k is c_k T_{k+1} - c_{k+1} T_k times q/2, and exp(tA) is a contraction in the
    1-norm: with tails[k] = integral from 0 to z of exp(-x) I_k(x) dx the error is at most tails[k] |T_{k+1}| + tails[k+1] |T_k|. The series
    ends when that is below `enough`; SHORT: it never was; LARGE: round-off (a part `rounding` of each term, twice tails[k] times) is above
    `allowed`. cursor = [terms whose norms are known, the last of which is not in the series; first output that still gets some].
    """
    n_terms = weights.shape[1]
    norms[0] = 0.0
    for n in range(previous.shape[0]):
        norms[0] += abs(previous[n])
    for j in range(out.shape[0]):
        for n in range(previous.shape[0]):
            out[j, n] = 0.0
    cursor[1], made = 0, 2.0 * rounding * tails[0] * norms[0]
    for k in range(1, n_terms):
        while weights[cursor[1], k - 1] < SKIPPED and cursor[1] < out.shape[0] - 1:
            cursor[1] += 1
        factor = 1.0 if k == 1 else 2.0
        if k % 2 == 1:
            norms[k] = next_term(pointer, index, rate, factor, previous, current, weights, k - 1, cursor[1], out)
        else:
            norms[k] = next_term(pointer, index, rate, factor, current, previous, weights, k - 1, cursor[1], out)
        cursor[0] = k + 1
        made += 2.0 * rounding * tails[k] * norms[k]
        status = verdict(k, tails, norms, made, allowed, enough)
        if status != SHORT:
            return status
    return SHORT


@inlined
def verdict(k, tails, norms, made, allowed, enough):
    """Does a series end with term k? SHORT if not yet."""
    if not made <= allowed:
        return LARGE
    return OK if tails[k - 1] * norms[k] + tails[k] * norms[k - 1] <= enough else SHORT


@inlined
def add_term(k, x, weights, first, out):
    """Add x, term k, to the outputs from the `first` on."""
    for j in range(first, out.shape[0]):
        for n in range(x.shape[0]):
            out[j, n] += weights[j, k] * x[n]


@inner
def next_term(pointer, index, rate, factor, x, y, weights, k, first, out):
    """Add x, term k, to the outputs, and put factor P x - (factor - 1) y in the place of y; returns its 1-norm."""
    n_outputs, back, norm = out.shape[0], factor - 1.0, 0.0
    w = weights[first, k]
    for n in range(x.shape[0]):
        total = x[n]
        for i in range(pointer[n], pointer[n + 1]):
            total += rate[i] * x[index[i]]
        total = factor * total - back * y[n]
        size = abs(total)
        if size < _TINY:
            total = 0.0
        y[n] = total
        norm += size
        out[first, n] += w * x[n]
        for j in range(first + 1, n_outputs):
            out[j, n] += weights[j, k] * x[n]
    return norm
