"""What is kept of a path at the sample times: the one place through which every engine records."""

from typing import NamedTuple

import numpy as np

from cme.kernels.jit import inlined


class Sink(NamedTuple):
    """Where samples go: those of the paths of one chunk, in one thread."""

    counts: np.ndarray  # (M, T, S) whole paths
    stopped: np.ndarray = np.zeros(0)  # (M,) when each met the condition that ends it; left as it is where it did not


@inlined
def record(sink, path, k, x):
    """Keep the counts x (S, or longer) of a path of the chunk at its sample time k."""
    for s in range(sink.counts.shape[2]):
        sink.counts[path, k, s] = x[s]


@inlined
def record_end(sink, path, k, x, t):
    """A path ends at time t: keep its counts at sample time k and at all after it."""
    sink.stopped[path] = t
    for later in range(k, sink.counts.shape[1]):
        record(sink, path, later, x)
