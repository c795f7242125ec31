"""Products with a generator on states in lines: within a line one count runs, so that a jump leads from a piece of a line to a piece.

The states of a line are neighbours in memory, and what a jump brings to a piece of it comes from neighbours too: one place and one length
stand for the indices of a whole piece. Its rates are a factor times a piece of a table, which stays in the cache, where they are such a
product, else they are kept one by one, in order.
"""

import numpy as np

from cme.kernels.chebyshev import SHORT, SKIPPED, add_term, verdict
from cme.kernels.jit import apart, bare, inner

_TINY = 1e-250  # numbers near the end of the exponent range cost a hundredfold


@bare
def find_pieces(pointer, index, line, filling, before, now, first_piece, target, source, length):
    """The pieces of a matrix by rows (CSR, indices in order), off the diagonal: rates from a run of states to a run of states.

    line (N,) says in which line a state is. first_piece (L + 1,) gets the first piece that leads to each line. With `filling`, where a
    piece leads, from where, and how long it is are written down. before and now (W,) are workspace, W being the longest row; returns the
    number of pieces.
    """
    n_pieces, n_before = 0, 0
    first_piece[0] = 0
    for n in range(len(line)):
        if n == 0 or line[n] != line[n - 1]:
            first_piece[line[n]], n_before = n_pieces, 0
        open_one, n_now = 0, 0
        for i in range(pointer[n], pointer[n + 1]):
            if index[i] == n:
                continue
            # before[2 k], before[2 k + 1]: from where the k-th piece came that the row before had a part in, and its number
            while open_one < n_before and before[2 * open_one] < index[i] - 1:
                open_one += 1
            piece = n_pieces
            if open_one < n_before and before[2 * open_one] == index[i] - 1 and line[index[i]] == line[index[i] - 1]:
                piece = before[2 * open_one + 1]
                if filling:
                    length[piece] += 1
            else:
                if filling:
                    target[piece], source[piece], length[piece] = n, index[i], 1
                n_pieces += 1
            now[2 * n_now], now[2 * n_now + 1] = index[i], piece
            n_now += 1
        for k in range(2 * n_now):
            before[k] = now[k]
        n_before = n_now
    first_piece[len(first_piece) - 1] = n_pieces
    return n_pieces


@bare
def find_kinds(code, target, source, kind, codes):
    """Number the kinds of jumps: kind (K,) of each piece, by the difference of the codes (N,) of where it leads and where it comes from.

    codes (W,) gets the difference for each kind; more kinds than W are one. Returns the number of kinds.
    """
    n_kinds, last = 0, 0
    for k in range(len(kind)):
        difference = code[target[k]] - code[source[k]]
        if last >= n_kinds or codes[last] != difference:
            last = 0
            while last < n_kinds and codes[last] != difference:
                last += 1
            if last == n_kinds and n_kinds < len(codes):
                codes[last] = difference
                n_kinds += 1
            last = min(last, len(codes) - 1)
        kind[k] = last
    return n_kinds


@bare
def factorise(pointer, index, rate, place, scale, deviation, target, source, length, kind, table, factor, rate_at, kept, found):
    """Write the rates of pieces as factor times table; those that are no such product within a relative `deviation` are kept.

    The rates are `rate` times `scale`; place (N,) is that of a state in the tables (one row for each kind, -1 for values not known yet).
    factor (K,) and rate_at (K,) say where the rates of a piece are: in the tables, or behind them in `kept`, where they are written down
    one after the other. found = [number of rates kept]; returns the largest relative deviation.
    """
    n_pieces, worst = len(target), 0.0
    width = table.shape[1]
    for seed in range(table.shape[0]):  # the longest piece of a kind gives its table a beginning
        longest, size = -1, 0
        for k in range(n_pieces):
            if kind[k] == seed and length[k] > size:
                longest, size = k, length[k]
        if longest >= 0:
            for j in range(min(size, width - place[source[longest]])):
                table[seed, place[source[longest]] + j] = scale * entry(pointer, index, rate, target[longest] + j, source[longest] + j)
    found[0] = 0
    for k in range(n_pieces):
        row, size, known = kind[k], length[k], -1
        for j in range(min(size, width - place[source[k]])):  # cells are looked at as they will be read
            if table[row, place[source[k]] + j] > 0.0:
                known = j
                break
        good = known >= 0 and place[source[k]] + size <= width
        if good:
            known_rate = scale * entry(pointer, index, rate, target[k] + known, source[k] + known)
            factor[k] = known_rate / table[row, place[source[k]] + known]
            for j in range(size):
                a, cell = scale * entry(pointer, index, rate, target[k] + j, source[k] + j), place[source[k]] + j
                if table[row, cell] < 0.0:
                    table[row, cell] = a / factor[k]
                off = abs(table[row, cell] * factor[k] - a)
                if not off <= deviation * a:
                    good = False
                    break
                worst = max(worst, off / a)
        if good:
            rate_at[k] = row * width + place[source[k]]
        else:
            factor[k], rate_at[k] = 1.0, table.size + found[0]
            for j in range(size):
                kept[found[0] + j] = scale * entry(pointer, index, rate, target[k] + j, source[k] + j)
            found[0] += size
    return worst


@inner
def entry(pointer, index, rate, n, source):
    """One entry of a row."""
    for i in range(pointer[n], pointer[n + 1]):
        if index[i] == source:
            return rate[i]
    return 0.0


@bare
def chebyshev_series(
    line,
    first_piece,
    target,
    source,
    length,
    factor,
    rate_at,
    rates,
    stay,
    weights,
    tails,
    enough,
    allowed,
    rounding,
    cursor,
    previous,
    current,
    norms,
    out,
):
    """See `cme.kernels.chebyshev.chebyshev_series`; the matrix is I + A/q in lines, with `stay` (N,) on its diagonal.

    line (L + 1,) says where lines begin. Terms are added to the outputs two at a time, since that takes as long as one.
    """
    n_terms = weights.shape[1]
    norms[0] = 0.0
    for n in range(previous.shape[0]):
        norms[0] += abs(previous[n])
    for j in range(out.shape[0]):
        for n in range(previous.shape[0]):
            out[j, n] = 0.0
    cursor[1], made, status, last = 0, 2.0 * rounding * tails[0] * norms[0], SHORT, n_terms - 1
    for k in range(1, n_terms):
        while weights[cursor[1], max(k - 2, 0)] < SKIPPED and cursor[1] < out.shape[0] - 1:
            cursor[1] += 1
        pieces = line, first_piece, target, source, length, factor, rate_at, rates, stay
        if k % 2 == 1:
            norms[k] = next_term(pieces, k, previous, current, weights, cursor[1], out)
        else:
            norms[k] = next_term(pieces, k, current, previous, weights, cursor[1], out)
        cursor[0] = k + 1
        made += 2.0 * rounding * tails[k] * norms[k]
        status = verdict(k, tails, norms, made, allowed, enough)
        if status != SHORT:
            last = k
            break
    if last % 2 == 1:  # the term before the last one is alone
        add_term(last - 1, previous, weights, cursor[1], out)
    return status


@inner
def next_term(pieces, k, x, y, weights, first, out):
    """Put term k into y, where term k - 2 is, x being term k - 1; returns its 1-norm. If k is even, both are added to the outputs."""
    apart()
    line, first_piece, target, source, length, factor, rate_at, rates, stay = pieces
    twice, back, norm = (1.0, 0.0, 0.0) if k == 1 else (2.0, 1.0, 0.0)
    for m in range(len(line) - 1):
        start, end = line[m], line[m + 1]
        here, there, keep = x[start:end], y[start:end], stay[start:end]
        if k % 2 == 0:
            for j in range(first, out.shape[0]):
                sums, w, v = out[j, start:end], weights[j, k - 2], weights[j, k - 1]
                for n in range(len(sums)):
                    sums[n] += w * there[n] + v * here[n]
        for n in range(len(there)):
            there[n] = twice * keep[n] * here[n] - back * there[n]
        for i in range(first_piece[m], first_piece[m + 1]):
            # Unsigned places, since for signed ones it would be looked each time whether they count from the end.
            f, to, comes, at = twice * factor[i], np.uint64(target[i]), np.uint64(source[i]), np.uint64(rate_at[i])
            for n in range(np.uint64(length[i])):
                y[to + np.uint64(n)] += f * rates[at + np.uint64(n)] * x[comes + np.uint64(n)]
        first_sum, second, third, fourth = 0.0, 0.0, 0.0, 0.0  # four sums at once need not wait for each other
        whole = len(there) // 4 * 4
        for n in range(0, whole, 4):
            first_sum += abs(there[n])
            second += abs(there[n + 1])
            third += abs(there[n + 2])
            fourth += abs(there[n + 3])
        for n in range(whole, len(there)):
            first_sum += abs(there[n])
        norm += (first_sum + second) + (third + fourth)
        for n in range(len(there)):
            there[n] = there[n] if abs(there[n]) > _TINY else 0.0
    return norm
