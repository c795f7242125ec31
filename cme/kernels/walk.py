"""Random walks on a lattice whose probabilities and rates are tables: the biased walk, the weighted one, and the branching one.

A block is B steps. A table has a row for each step (the weights have one more, for the end of the last) and a column for each site from
`lowest` on; the tables reach as far as the walks can in a block. Sites are whole numbers. A walk's generator state lives in `words`
between blocks, so that walk i is a function of (key, i) alone.
"""

import math

import numpy as np

from cme.kernels.jit import bare
from cme.kernels.random import open_stream, uniform

OK, CANCELLED, NO_PROBABILITY, UNDEFINED = 0, 5, 30, 31


@bare
def open_streams(key, stream, words):
    """Start the streams of the walks 0, 1, ... in words (M, 4)."""
    for m in range(words.shape[0]):
        open_stream(key, stream, m, words[m])


@bare
def walk_biased(right, lowest, words, cancel, done, fault, sites):
    """Move sites (M,) by the steps of a block; right (B, K) holds the probabilities of a step to the right.

    A value outside [0, 1] on the way, or none, ends the run with NO_PROBABILITY and the step and site in fault (2,).
    """
    for m in range(sites.shape[0]):
        if cancel[0]:
            return CANCELLED
        state, site = words[m], sites[m]
        for b in range(right.shape[0]):
            probability = right[b, site - lowest]
            if not (probability >= 0.0 and probability <= 1.0):
                fault[0], fault[1] = b, site
                return NO_PROBABILITY
            site += 1 if uniform(state) < probability else -1
        sites[m] = site
        done[0] += 1
        done[1] += right.shape[0]
    return OK


@bare
def walk_weighted(gain, lowest, words, cancel, done, fault, sites, log_weight):
    """Move free walks, and add gain (B + 1, K) at both ends of each step to log_weight (M,).

    A gain of -inf kills the walk: it stops, with weight -inf. One that is not a number ends the run with UNDEFINED.
    """
    for m in range(sites.shape[0]):
        if cancel[0]:
            return CANCELLED
        state, site, total = words[m], sites[m], log_weight[m]
        for b in range(gain.shape[0] - 1):
            if total == -math.inf:
                break
            here = gain[b, site - lowest]
            site += 1 if uniform(state) < 0.5 else -1
            there = gain[b + 1, site - lowest]
            if not (here < math.inf and there < math.inf):
                fault[0], fault[1] = b, site
                return UNDEFINED
            total += here + there
        sites[m], log_weight[m] = site, total
        done[0] += 1
        done[1] += gain.shape[0] - 1
    return OK


@bare
def walk_branching(gain, lowest, words, cancel, done, fault, scratch, sites, ancestors, alive, log_scale):
    """Move populations of free walkers, with branching and killing: sites and ancestors (R, N), alive (R,), log_scale (R,).

    Walker i gets the factor g_i = exp(gain before + gain after) in a step, and is replaced by g_i / c copies on average, where
    c = (sum of g) / N keeps the population at N; log_scale adds up log c. Copies are drawn by systematic resampling: one uniform number
    places a comb of spacing c on the cumulative sum of g. If all walkers are killed, alive becomes 0.
    `scratch` is (3, N): cumulative sums, sites, ancestors.
    """
    n_walkers = sites.shape[1]
    for r in range(sites.shape[0]):
        if cancel[0]:
            return CANCELLED
        state, site, ancestor = words[r], sites[r], ancestors[r]
        for b in range(gain.shape[0] - 1):
            if alive[r] == 0:
                break
            total = 0.0
            for i in range(n_walkers):
                here = gain[b, site[i] - lowest]
                site[i] += 1 if uniform(state) < 0.5 else -1
                there = gain[b + 1, site[i] - lowest]
                if not (here < math.inf and there < math.inf):
                    fault[0], fault[1] = b, site[i]
                    return UNDEFINED
                total += math.exp(here + there)
                scratch[0, i], scratch[1, i], scratch[2, i] = total, site[i], ancestor[i]
            if not total > 0.0:
                alive[r] = 0
                break
            spacing = total / n_walkers
            log_scale[r] += math.log(spacing)
            tooth, i = uniform(state), 0
            for copy in range(n_walkers):
                while i < n_walkers - 1 and scratch[0, i] <= (copy + tooth) * spacing:
                    i += 1
                site[copy], ancestor[copy] = np.int64(scratch[1, i]), np.int64(scratch[2, i])
        done[0] += 1
        done[1] += (gain.shape[0] - 1) * n_walkers
    return OK
