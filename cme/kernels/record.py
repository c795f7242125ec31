"""What is kept of a path at the sample times: the one place through which every engine records."""

from typing import NamedTuple

import numpy as np

from cme.kernels.jit import inlined


class Sink(NamedTuple):
    """Where samples go: those of the paths of one chunk, in one thread."""

    counts: np.ndarray  # (M, T, S) whole paths


@inlined
def record(sink, path, k, x):
    """Keep the counts x (S, or longer) of a path of the chunk at its sample time k."""
    for s in range(sink.counts.shape[2]):
        sink.counts[path, k, s] = x[s]
