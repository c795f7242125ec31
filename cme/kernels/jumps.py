"""Paths of a jump process whose generator is a sparse matrix: exponential waiting times, the next state by bisection."""

import numpy as np

from cme.kernels.jit import bare
from cme.kernels.random import JUMPS, exponential, open_stream, uniform

OK, LEFT, CANCELLED = 0, 1, 5
_PAUSE = 4095  # jumps between two looks at the outside, less one (a mask)


@bare
def jump_paths(pointer, target, cumulative, leak, times, key, first, start, random, cancel, done, place, out):
    """Sample state indices at the times: out (M, T) for the paths first, first + 1, ...

    Column n of the rates leads to the states ``target[pointer[n]:pointer[n + 1]]``; `cumulative` holds the running sums of the rates in
    the column, `leak` (N,) the rate of leaving all kept states, which ends the run with LEFT and the state in `place`. `start` (N,)
    holds cumulative probabilities.
    """
    for m in range(out.shape[0]):
        open_stream(key, JUMPS, first + m, random)
        n = np.searchsorted(start, uniform(random) * start[-1])
        time, sample, events = 0.0, 0, 0
        while sample < times.shape[0]:
            low, high = pointer[n], pointer[n + 1]
            within = cumulative[high - 1] if high > low else 0.0
            total = within + leak[n]
            time = time + exponential(random) / total if total > 0.0 else np.inf
            while sample < times.shape[0] and times[sample] < time:
                out[m, sample] = n
                sample += 1
            if sample == times.shape[0]:
                break
            u = uniform(random) * total
            if u >= within:
                place[0] = n
                return LEFT
            n = target[low + np.searchsorted(cumulative[low:high], u, side="right")]
            events += 1
            if events & _PAUSE == 0:
                done[1] += _PAUSE + 1
                if cancel[0]:
                    return CANCELLED
        done[0] += 1
        done[1] += events & _PAUSE
        if cancel[0]:
            return CANCELLED
    return OK
