"""The exact methods of `ssa`, an engine for each: which there are, what each takes, and which one `method="auto"` means."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from cme import errors
from cme.compiled import Compiled
from cme.errors import ModelError
from cme.kernels import direct, lanes, next_reaction, rejection
from cme.kernels.propensity import Channels
from cme.kernels.record import Sink
from cme.ratelaw import Expr
from cme.sampling.channels import coupling, prepare_channels, prepare_dependents, prepare_lanes, prepare_readers
from cme.threads import Task


@dataclass(frozen=True, eq=False)
class Job:
    """What there is to sample, as every engine is given it."""

    compiled: Compiled
    channels: Channels
    kept: np.ndarray  # the numbers that the channels' reactions have in the network
    starts: np.ndarray  # (K, S) int64
    cumulative: np.ndarray  # (K,) their running probabilities
    times: np.ndarray  # (T,)
    key: np.ndarray  # (2,) uint64

    def complain(self, status: int, walker: direct.Walker) -> None:
        """Raise what a kernel's status says, about the state in which the walker stands."""
        if status in (errors.OK, errors.CANCELLED):
            return
        network, r = self.compiled.network, int(self.kept[walker.cursor[direct.CULPRIT]])
        state = walker.x[: len(network.species)]
        raise errors.propensity_error(status, network.reactions[r].name, network.formula(r), network.species_names, state)


_WORTH_LANES = 8  # from so many paths on, lanes are faster than one path after the other

# Samples the paths first, ..., stop - 1 into the sink. `cancel` and `done` are those of `cme.threads.run_chunks`.
Chunk = Callable[[int, int, np.ndarray, np.ndarray, Sink], None]


def make_job(compiled: Compiled, initial, times: np.ndarray, key: np.ndarray, stop: Expr | None = None) -> Job:
    """Everything about a run that does not depend on the engine. Paths end where the condition `stop` on counts holds."""
    states, p = compiled.start(initial)
    if np.any(states != np.round(states)):
        raise ModelError("the initial distribution holds fractions of a molecule; ssa counts molecules")
    starts = np.ascontiguousarray(states, dtype=np.int64)
    channels, kept = prepare_channels(compiled, starts, stop)
    return Job(compiled, channels, kept, starts, np.cumsum(p), times, key)


def choose(method: str, job: Job, n_paths: int) -> str:
    """The engine that a method means for a job: the fastest one on the model, from its size and how much hangs together.

    Where an event changes up to four propensities, the direct and the rejection method meet at some 10 000 reactions; where it changes
    seven, at a hundred. The number of paths decides between direct and lanes alone, which give the same bits.
    """
    if job.channels.varying is not None:
        if method not in ("auto", "direct"):
            raise ValueError(f"only the direct method draws numbers of molecules; leave out method={method!r}")
        return "direct"
    n_reactions = len(job.kept)
    if method == "lanes" and n_reactions > direct.LINEAR:
        raise ValueError(
            f"method='lanes' takes up to {direct.LINEAR} reactions, and {n_reactions} can fire here; leave it out, or use 'direct'"
        )
    if method != "auto":
        return method
    if n_reactions <= direct.LINEAR:
        return "lanes" if n_paths >= _WORTH_LANES else "direct"
    return "rejection" if n_reactions > MANY or coupling(job.channels) > DENSE else "direct"


MANY, DENSE = 10_000, 8.0


# ----------------------------------------------------------------------------------------------------- the engines

# Kernels that run path after path, with the same functions, each with lists of its own of what depends on what.
KERNELS: dict[str, tuple[ModuleType, Callable[[Channels, int], Any]]] = {
    "direct": (direct, lambda channels, n_species: prepare_dependents(channels)),
    "rejection": (rejection, prepare_readers),
    "next_reaction": (next_reaction, lambda channels, n_species: prepare_dependents(channels)),
}


def path_by_path(method: str) -> Callable[[Job], Chunk]:
    """The engine around a kernel."""
    kernel, prepare = KERNELS[method]

    def engine(job: Job) -> Chunk:
        lists = prepare(job.channels, job.starts.shape[1])
        none = np.zeros(0), np.zeros(0, dtype=np.int64)

        def sample(first: int, stop: int, cancel: np.ndarray, done: np.ndarray, sink: Sink) -> None:
            walker = _walker(kernel, job)
            start = job.key, first, stop - first, job.starts, job.cumulative
            status = kernel.run_paths(job.channels, lists, job.times, *start, walker, *none, cancel, done, sink)
            job.complain(status, walker)

        return sample

    return engine


def lanes_engine(job: Job) -> Chunk:
    """The direct method for many paths in lockstep; what a lane gives up is run by itself."""
    n_species, n_reactions = job.starts.shape[1], len(job.kept)
    plan, dependents = prepare_lanes(job.channels, n_species), prepare_dependents(job.channels)
    none = np.zeros(0), np.zeros(0, dtype=np.int64)

    def sample(first: int, stop: int, cancel: np.ndarray, done: np.ndarray, sink: Sink) -> None:
        memory = lanes.new_lanes(n_species, n_reactions, job.channels.stack_size, stop - first)
        walker = _walker(direct, job)
        start = job.key, first, stop - first, job.starts, job.cumulative
        faulty: dict[int, ModelError] = {}
        status = lanes.GIVEN_UP
        while status == lanes.GIVEN_UP:
            status = lanes.run_lanes(job.channels, plan, job.times, *start, memory, cancel, done, sink)
            given_up = np.sort(memory.given_up[: memory.cursor[lanes.N_GIVEN_UP]]).tolist()
            memory.cursor[lanes.N_GIVEN_UP] = 0
            for m in given_up:
                direct.start_path(job.key, first + m, job.starts, job.cumulative, walker)
                try:
                    job.complain(direct.run_path(job.channels, dependents, job.times, walker, *none, cancel, done, sink, m), walker)
                except ModelError as error:  # a lower path may be at fault too, and is the one to complain about
                    faulty[m] = error
                    lanes.forget(memory, m)
                    break
                memory.cursor[lanes.EVENTS] += walker.cursor[direct.EVENTS]
        if faulty:
            raise faulty[min(faulty)]

    return sample


ENGINES: dict[str, Callable[[Job], Chunk]] = {method: path_by_path(method) for method in KERNELS} | {"lanes": lanes_engine}
METHODS = ("auto", "direct", "lanes", "rejection", "next_reaction")


# ----------------------------------------------------------------------------------------------------- every event


def every_event_task(job: Job, method: str, values: np.ndarray, stopped: np.ndarray, kept: list) -> Task:
    """Sample into values (M, T, S) and stopped (M,), and put when, which and the new counts of every event of path m into ``kept[m]``."""
    if method not in KERNELS:
        raise ValueError(f"method={method!r} does not list events; leave out every_event, or use 'direct', which gives the same numbers")
    kernel, prepare = KERNELS[method]
    lists = prepare(job.channels, job.starts.shape[1])
    network, n_species, none = job.compiled.network, job.starts.shape[1], (np.zeros(0), np.zeros(0, dtype=np.int64))
    rows, columns, amounts = network.sparse_stoichiometry
    import scipy.sparse as sp  # not above: a small simulation is done before it is imported

    changes = sp.csr_array((amounts, (rows, columns)), shape=(len(network.reactions), len(network.species)))

    def sample(first: int, stop: int, cancel: np.ndarray, done: np.ndarray) -> None:
        walker = _walker(kernel, job)
        for m in range(first, stop):
            done[0] = m - first
            if cancel[0]:
                return
            job.complain(kernel.begin_path(job.channels, lists, job.key, m, job.starts, job.cumulative, walker), walker)
            origin = walker.x[:n_species].copy()
            when, which, status = np.zeros(256), np.zeros(256, dtype=np.int64), direct.FULL
            while status == direct.FULL:
                when, which = np.resize(when, 2 * len(when)), np.resize(which, 2 * len(which))
                done[0] = m - first
                status = kernel.run_path(job.channels, lists, job.times, walker, when, which, cancel, done, Sink(values, stopped), m)
            job.complain(status, walker)
            n_events = int(walker.cursor[direct.EVENTS])
            done[1] += n_events
            when, which = when[:n_events].copy(), job.kept[which[:n_events]]
            after = sampled_again(m, when, cancel) if network.varying else origin + np.cumsum(changes[which].toarray(), axis=0)
            kept[m] = (when, which, after)
        done[0] = stop - first

    def sampled_again(m: int, when: np.ndarray, cancel: np.ndarray) -> np.ndarray:
        """The counts after events that do not change the same number each time: path m is run once more, and sampled at them."""
        counts = np.zeros((1, len(when), n_species), dtype=np.int64)
        if len(when):
            walker = _walker(kernel, job)
            kernel.begin_path(job.channels, lists, job.key, m, job.starts, job.cumulative, walker)
            kernel.run_path(job.channels, lists, when, walker, *none, cancel, np.zeros(2), Sink(counts, np.zeros(1)), 0)
        return counts[0]

    return sample


def _walker(kernel: ModuleType, job: Job):
    return kernel.new_walker(job.starts.shape[1], len(job.kept), job.channels.stack_size)
