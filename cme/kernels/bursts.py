"""What bursts of geometric size bring to states in lines, passed on from each state to the next: O(N) where all pairs of states are O(N^2).

A geometric number ends, at each value that it reaches, with the same probability `stop`. So what a burst brings walks along a line, and
at each state a part `stop` of what has come so far stays there. `keep` (N,) is the part of what is at the state before, on the same line,
that comes to this one: (1 - stop)^gap, 0 at the beginning of a line. States are in the order of lines; `place` says which they are.
"""

from cme.kernels.jit import bare


@bare
def hand_on(entry, rate, keep, place, stop, p, passing, out):
    """Add to out (N,) what bursts bring in unit time: rate[n] p[n] enters the lines at entry[n] (-1: nowhere). `passing` is workspace."""
    n_states = p.shape[0]
    for n in range(n_states):
        passing[n] = 0.0
    for n in range(n_states):
        if entry[n] >= 0:
            passing[entry[n]] += rate[n] * p[n]
    walking = 0.0
    for k in range(n_states):
        walking = keep[k] * walking + passing[k]
        if abs(walking) < 1e-250:  # numbers near the end of the exponent range cost a hundredfold
            walking = 0.0
        out[place[k]] += stop * walking
    return 0


@bare
def find_lost(keep, missed, stop, lost):
    """Which part of what comes to a state, in the order of lines, ends at none of the states. No difference is taken.

    missed (N,) is what ends on the way from the state before to this one; at the beginning of a line, what goes on from the line before.
    """
    last = keep.shape[0] - 1
    lost[last] = 1.0 - stop
    for k in range(last - 1, -1, -1):
        lost[k] = missed[k + 1] + keep[k + 1] * lost[k + 1]
    return 0
