"""Products with the generator on a full box of states, without stored indices: a jump is a shift, its rates are tables along the axes."""

from typing import NamedTuple

import numpy as np

from cme.kernels.chebyshev import SKIPPED
from cme.kernels.jit import apart, bare, inlined, inner

_LEAST = 1e-250  # numbers near the end of the exponent range cost a hundredfold
_BETWEEN = 16  # steps from one look at the rim of the window to the next


class Stencil(NamedTuple):
    """The jumps of R reactions on a box with D axes; states in the order in which the last axis runs fastest.

    The rate of r is the product of a table for each axis or, where it is none, kept for each state.
    """

    shape: np.ndarray  # (D,)
    change: np.ndarray  # (R, D)
    first: np.ndarray  # (R, D) where the table of a reaction along an axis begins
    table: np.ndarray
    kept: np.ndarray  # (R,) where the rates of a reaction begin in `rate`, -1 where there are tables
    rate: np.ndarray  # one after the other, N each
    out: np.ndarray  # (N,) the total rate out of a state


@bare
def multiply(stencil, keep, scale, low, high, at, p, y):
    """Fill y with keep p + scale A p in the window low <= index < high; p is read beyond it too. at (D,) is workspace."""
    fill(stencil, keep, scale, 0.0, False, low, high, at, p, y)
    return 0


@inner
def fill(stencil, keep, scale, less, clean, low, high, at, p, y):
    """See `multiply`; `less` times what was there is taken off it, and with `clean` the smallest numbers become 0.

    Jumps are added two at a time, the first two together with what stays, so that memory is read while there is much to compute.
    """
    apart()
    last, n_reactions = len(stencil.shape) - 1, stencil.change.shape[0]
    left, right = low[last], high[last]
    for a in range(len(stencil.shape)):
        at[a] = low[a]
    going = True
    while going:
        line = line_of(stencil.shape, at) * stencil.shape[last]
        waiting, fresh = False, True
        factor, other, begin, end, rates, comes = 0.0, 0.0, left, left, stencil.table[:0], p[:0]
        for r in range(n_reactions + 1):
            next_factor, source = jump_to(stencil, at, r) if r < n_reactions else (0.0, 0)
            if r < n_reactions and next_factor == 0.0:
                continue
            other, next_begin, next_end, next_rates, next_comes = scale * next_factor, left, left, stencil.table[:0], p[:0]
            if r < n_reactions:
                shift = stencil.change[r, last]
                next_begin, next_end = max(left, shift), min(right, stencil.shape[last] + shift)
                if next_begin >= next_end:
                    continue
                offset = source * stencil.shape[last] - shift
                next_comes = p[offset + next_begin : offset + next_end]
                if stencil.kept[r] < 0:
                    row = stencil.first[r, last] - shift
                    next_rates = stencil.table[row + next_begin : row + next_end]
                else:
                    next_rates = stencil.rate[stencil.kept[r] + offset + next_begin : stencil.kept[r] + offset + next_end]
                if not waiting:
                    factor, begin, end, rates, comes, waiting = other, next_begin, next_end, next_rates, next_comes, True
                    continue
            if not (waiting or fresh):
                continue
            both = max(begin, next_begin)  # where both jumps lead
            stop = max(both, min(end, next_end))
            target = y[line + both : line + stop]
            one, two = rates[both - begin : stop - begin], next_rates[both - next_begin : stop - next_begin]
            x, z = comes[both - begin : stop - begin], next_comes[both - next_begin : stop - next_begin]
            if fresh:
                out, here = stencil.out[line + left : line + right], p[line + left : line + right]
                if both > left:
                    stay(keep, scale, less, out[: both - left], here[: both - left], y[line + left : line + both])
                if right > stop:
                    stay(keep, scale, less, out[stop - left :], here[stop - left :], y[line + stop : line + right])
                out, here = out[both - left : stop - left], here[both - left : stop - left]
                stay_and_add(keep, scale, less, out, here, factor, one, x, other, two, z, target)
            else:
                add_both(factor, one, x, other, two, z, target)
            # Where one of them leads to is a cell or two at the ends, and often there is none.
            if both > begin:
                add(factor, rates[: both - begin], comes[: both - begin], y[line + begin : line + both])
            if end > stop:
                add(factor, rates[stop - begin :], comes[stop - begin :], y[line + stop : line + end])
            if both > next_begin:
                add(other, next_rates[: both - next_begin], next_comes[: both - next_begin], y[line + next_begin : line + both])
            if next_end > stop:
                add(other, next_rates[stop - next_begin :], next_comes[stop - next_begin :], y[line + stop : line + next_end])
            waiting, fresh = False, False
        if clean:
            target = y[line + left : line + right]
            for j in range(len(target)):
                target[j] = target[j] if abs(target[j]) > _LEAST else 0.0
        going = next_line(low, high, at, -1)


@inlined
def jump_to(stencil, at, r):
    """What the rate of a jump to a line has from the other axes, 0 if no such jump leads there, and the line that it comes from."""
    factor, source = 1.0, 0
    for a in range(len(stencil.shape) - 1):
        i = at[a] - stencil.change[r, a]
        if not 0 <= i < stencil.shape[a]:
            return 0.0, 0
        source = source * stencil.shape[a] + i
        if stencil.kept[r] < 0:
            factor *= stencil.table[stencil.first[r, a] + i]
    return factor, source


@inner
def stay_and_add(keep, scale, less, out, here, factor, rates, comes, other, next_rates, next_comes, target):
    """What stays in a part of a line, and what comes with two jumps."""
    apart()
    if less != 0.0:
        for j in range(len(target)):
            come = factor * rates[j] * comes[j] + other * next_rates[j] * next_comes[j]
            target[j] = (keep - scale * out[j]) * here[j] - less * target[j] + come
    else:
        for j in range(len(target)):
            target[j] = (keep - scale * out[j]) * here[j] + factor * rates[j] * comes[j] + other * next_rates[j] * next_comes[j]


@inner
def add_both(factor, rates, comes, other, next_rates, next_comes, target):
    """What comes into a part of a line with two jumps."""
    apart()
    for j in range(len(target)):
        target[j] += factor * rates[j] * comes[j] + other * next_rates[j] * next_comes[j]


@inner
def stay(keep, scale, less, out, here, target):
    """What stays in a part of a line."""
    apart()
    for j in range(len(out)):
        target[j] = (keep - scale * out[j]) * here[j] - (less * target[j] if less != 0.0 else 0.0)


@inner
def add(factor, rates, comes, target):
    """What comes into a part of a line with one jump."""
    apart()
    for j in range(len(rates)):
        target[j] += factor * rates[j] * comes[j]


@inlined
def line_of(shape, at):
    """The number of a line along the last axis."""
    line = 0
    for a in range(len(shape) - 1):
        line = line * shape[a] + at[a]
    return line


@inlined
def next_line(low, high, at, fixed):
    """Go on to the next line of a window, with the place on one axis fixed; False after the last."""
    a = len(at) - 2
    while a >= 0:
        if a != fixed:
            at[a] += 1
            if at[a] < high[a]:
                break
            at[a] = low[a]
        a -= 1
    return a >= 0


@bare
def uniformise_in_window(stencil, q, n_outputs, weights, budget, low, high, at, dropped, current, following, out):
    """Accumulate sum_k weights[j K + k] P^k p with P = I + A / q for J outputs into out (J N,), where p is not negligible.

    `current` holds p on entry, and `following` (N,) zeros; both are 0 outside the window low <= index < high. The window grows with
    each step, and slices at its rim are set to zero as long as all that was in them adds up to at most `budget`: dropped (D, 2) says how
    much that was, a bound on the error in the 1-norm. at (D,) is workspace.
    """
    n_terms, n_axes, n_states = len(weights) // n_outputs, len(stencil.shape), len(current)
    for k in range(n_terms):
        for j in range(n_outputs):
            weight = weights[j * n_terms + k]
            if weight > 0.0:
                if k % 2 == 0:
                    accumulate(stencil.shape, weight, low, high, at, current, out[j * n_states : (j + 1) * n_states])
                else:
                    accumulate(stencil.shape, weight, low, high, at, following, out[j * n_states : (j + 1) * n_states])
        if k == n_terms - 1:
            break
        widen(stencil, low, high)
        if k % 2 == 0:
            fill(stencil, 1.0, 1.0 / q, 0.0, True, low, high, at, current, following)
        else:
            fill(stencil, 1.0, 1.0 / q, 0.0, True, low, high, at, following, current)
        if k % _BETWEEN == _BETWEEN - 1:
            allowed = budget * (k + 1.0) / (n_terms * 2.0 * n_axes)
            for a in range(n_axes):
                for side in range(2):
                    if k % 2 == 0:
                        trim(stencil.shape, a, side, allowed, low, high, at, dropped, following, current)
                    else:
                        trim(stencil.shape, a, side, allowed, low, high, at, dropped, current, following)
    return 0


@bare
def chebyshev_in_window(
    stencil, q, n_outputs, weights, tails, enough, allowed, rounding, budget, low, high, at, dropped, cursor, previous, current, norms, out
):
    """Accumulate sum over k of weights[j K + k] T_k(P) p for J outputs into out (J N,), see `cme.kernels.chebyshev.chebyshev_series`.

    `previous` holds p on entry, and `current` (N,) zeros; both are 0 outside the window, in which each term is computed: it grows with
    each term, so that nothing is left out. What lies at the rim of p at first is, up to `budget`, see `uniformise_in_window`.
    """
    n_terms, n_axes, n_states = len(weights) // n_outputs, len(stencil.shape), len(current)
    for a in range(n_axes):
        for side in range(2):
            trim(stencil.shape, a, side, budget / (2.0 * n_axes), low, high, at, dropped, previous, current)
    norms[0] = absolute_sum(stencil.shape, low, high, at, previous)
    for j in range(n_outputs):
        accumulate(stencil.shape, weights[j * n_terms], low, high, at, previous, out[j * n_states : (j + 1) * n_states])
    first, made = 0, 2.0 * rounding * tails[0] * norms[0]
    for k in range(1, n_terms - 1):
        while weights[first * n_terms + k] < SKIPPED and first < n_outputs - 1:
            first += 1
        widen(stencil, low, high)
        factor, less = (1.0, 0.0) if k == 1 else (2.0, 1.0)
        if k % 2 == 1:
            fill(stencil, factor, factor / q, less, True, low, high, at, previous, current)
            norms[k] = absolute_sum(stencil.shape, low, high, at, current)
        else:
            fill(stencil, factor, factor / q, less, True, low, high, at, current, previous)
            norms[k] = absolute_sum(stencil.shape, low, high, at, previous)
        for j in range(first, n_outputs):
            target = out[j * n_states : (j + 1) * n_states]
            if k % 2 == 1:
                accumulate(stencil.shape, weights[j * n_terms + k], low, high, at, current, target)
            else:
                accumulate(stencil.shape, weights[j * n_terms + k], low, high, at, previous, target)
        cursor[0] = k + 1
        made += 2.0 * rounding * tails[k] * norms[k]
        if not made <= allowed:
            return 1
        if tails[k] * (2.0 * norms[k] + norms[k - 1]) + tails[k + 1] * norms[k] <= enough:
            return 0
    return 1


@inlined
def widen(stencil, low, high):
    """The window after one more jump."""
    for a in range(len(low)):
        down, up = 0, 0
        for r in range(stencil.change.shape[0]):
            down, up = min(down, stencil.change[r, a]), max(up, stencil.change[r, a])
        low[a], high[a] = max(low[a] + down, 0), min(high[a] + up, stencil.shape[a])


@inner
def absolute_sum(shape, low, high, at, p):
    """The 1-norm of p in the window."""
    apart()
    last, total = len(shape) - 1, 0.0
    for a in range(len(shape)):
        at[a] = low[a]
    going = True
    while going:
        line = line_of(shape, at) * shape[last]
        here = p[line + low[last] : line + high[last]]
        first, second, third, fourth = 0.0, 0.0, 0.0, 0.0  # four sums at once need not wait for each other
        whole = len(here) // 4 * 4
        for j in range(0, whole, 4):
            first += abs(here[j])
            second += abs(here[j + 1])
            third += abs(here[j + 2])
            fourth += abs(here[j + 3])
        for j in range(whole, len(here)):
            first += abs(here[j])
        total += (first + second) + (third + fourth)
        going = next_line(low, high, at, -1)
    return total


@inner
def accumulate(shape, weight, low, high, at, p, out):
    """Add weight p to out in the window."""
    apart()
    last = len(shape) - 1
    for a in range(len(shape)):
        at[a] = low[a]
    going = True
    while going:
        line = line_of(shape, at) * shape[last]
        target, here = out[line + low[last] : line + high[last]], p[line + low[last] : line + high[last]]
        for j in range(len(target)):
            target[j] += weight * here[j]
        going = next_line(low, high, at, -1)


@inner
def trim(shape, a, side, allowed, low, high, at, dropped, p, other):
    """Take slices with little in them off one end of the window along axis a."""
    apart()
    while high[a] - low[a] > 1:
        place = high[a] - 1 if side == 1 else low[a]
        total = slice_sum(shape, a, place, False, low, high, at, p)
        if dropped[a, side] + total > allowed:
            break
        dropped[a, side] += total
        slice_sum(shape, a, place, True, low, high, at, p)
        slice_sum(shape, a, place, True, low, high, at, other)
        if side == 1:
            high[a] -= 1
        else:
            low[a] += 1


@inner
def slice_sum(shape, a, place, clear, low, high, at, p):
    """The sum over the slice of the window at a place on axis a; with `clear` it is set to zero."""
    apart()
    last, total = len(shape) - 1, 0.0
    for b in range(len(shape)):
        at[b] = low[b]
    at[a] = place
    going = True
    while going:
        line = line_of(shape, at) * shape[last]
        start, end = low[last], high[last]
        if a == last:
            start, end = place, place + 1
        values = p[line + start : line + end]
        for j in range(len(values)):
            total += values[j]
        if clear:
            for j in range(len(values)):
                values[j] = 0.0
        going = next_line(low, high, at, a)
    return total
