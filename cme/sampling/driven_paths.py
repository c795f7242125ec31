"""Paths of a jump process whose rates depend on time: from one output time to the next by the propagator."""

import time

import numpy as np

from cme import errors
from cme.arguments import Seed, check_memory, check_seed, record
from cme.errors import ModelError
from cme.generator_in_time import TimeDependentGenerator
from cme.projection.propagator import propagator
from cme.results import Trajectories

TOL = 1e-10  # of the probabilities of a step, in the 1-norm
CHUNK = 2_000_000  # probabilities in memory at a time


def sample_in_time(generator: TimeDependentGenerator, times: np.ndarray, n_paths: int, seed: Seed, initial) -> Trajectories:
    """Sample states at the times: a Markov chain whose steps have the probabilities U(t, s) of the propagator.

    No jump in between is drawn, and none is needed: the law at the times is that of the process, to `TOL`. Path i is a function of
    (seed, i) alone.
    """
    started = time.perf_counter()
    if initial is None:
        raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
    key, recorded_seed = check_seed(seed)
    start = generator.start(initial)
    initial_lost, start = max(0.0, 1.0 - float(start.sum())), start / start.sum()  # what is missing is not drawn
    first = generator.at(0.0)
    check_memory(f"{n_paths} paths x {len(times)} times", n_paths * (2 * len(times) + 1) * 8)
    streams = (np.random.Generator(np.random.Philox(counter=[0, 0, 0, m], key=key)) for m in range(n_paths))
    random = np.stack([stream.random(len(times) + 1) for stream in streams])  # (M, T + 1)
    here = _draw(np.repeat(start[:, None], len(start), axis=1), np.zeros(n_paths, dtype=np.int64), random[:, 0])
    visited, before = np.zeros((n_paths, len(times)), dtype=np.int64), 0.0
    for t, now in enumerate(times.tolist()):
        if now > before:
            after = _draw(propagator(generator, now, before, tol=TOL), here, random[:, t + 1])
            if np.any(after == len(first)):
                where = errors.describe_state(first.names, first.states[here[np.argmax(after == len(first))]])
                raise ModelError(
                    f"a path left the states of the generator between t = {before:g}, at {where}, and t = {now:g}; keep more states"
                )
            here = after
        visited[:, t], before = here, now
    info = record("ssa", "generator", started, {"n_paths": n_paths}, method="propagator", seed=recorded_seed, initial_lost=initial_lost)
    return Trajectories(times, first.names, first.states[visited], info, cells=first.widths)


def _draw(u: np.ndarray, here: np.ndarray, random: np.ndarray) -> np.ndarray:
    """The next states (M,), from the columns of U at those states; N where a path leaks out."""
    sums = np.cumsum(u, axis=0)
    total = np.where(sums[-1] > 1 - 1e3 * TOL, sums[-1], 1.0)  # what is missing by rounding is no leak
    out = np.empty(len(here), dtype=np.int64)
    for first in range(0, len(here), step := max(1, CHUNK // len(u))):
        part = slice(first, first + step)
        out[part] = (sums[:, here[part]] <= random[part] * total[here[part]]).sum(axis=0)
    return out
