"""One segment of uniformisation: p(t) = sum over k of Poisson(k; qt) P^k p with P = I + A/q, all terms non-negative."""

from cme.kernels.jit import bare


@bare
def uniformise(pointer, index, rate, q, weights, current, following, out):
    """Accumulate sum_k weights[j, k] P^k p for every output j into out (J, N).

    The matrix comes by rows (CSR). `current` holds p on entry and P^K p on return; `following` is workspace.
    """
    n_states, n_outputs, n_terms = current.shape[0], weights.shape[0], weights.shape[1]
    for k in range(n_terms):
        for j in range(n_outputs):
            w = weights[j, k]
            if w > 0.0:
                for n in range(n_states):
                    out[j, n] += w * current[n]
        if k == n_terms - 1:
            break
        for n in range(n_states):
            total = 0.0
            for i in range(pointer[n], pointer[n + 1]):
                total += rate[i] * current[index[i]]
            moved = current[n] + total / q
            following[n] = moved if moved > 1e-250 else 0.0  # numbers near the end of the exponent range cost a hundredfold
        for n in range(n_states):
            current[n] = following[n]
    return 0
