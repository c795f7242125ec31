"""The exact engines behind `ssa`: which there are, what each takes, and which one `method="auto"` means."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from cme import errors
from cme.compiled import Compiled
from cme.errors import ModelError
from cme.kernels import direct, next_reaction, rejection
from cme.kernels.propensity import Channels
from cme.kernels.record import Sink
from cme.ratelaw import Expr
from cme.sampling.channels import coupling, prepare_channels, prepare_dependents, prepare_readers
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


def choose(method: str, job: Job) -> str:
    """The engine that a method means for a job: the fastest one on the model, from its size and how much hangs together.

    Where an event changes two propensities, the direct and the rejection method meet at some 500 reactions; where it changes six, at 100.
    """
    if method != "auto":
        return method
    n_reactions = len(job.kept)
    many = n_reactions > MANY or (n_reactions > direct.LINEAR and coupling(job.channels) > DENSE)
    return "rejection" if many else "direct"


MANY, DENSE = 500, 4.0


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


ENGINES: dict[str, Callable[[Job], Chunk]] = {method: path_by_path(method) for method in KERNELS}
METHODS = ("auto", *ENGINES)


# ----------------------------------------------------------------------------------------------------- every event


def every_event_task(job: Job, method: str, values: np.ndarray, stopped: np.ndarray, kept: list) -> Task:
    """Sample into values (M, T, S) and stopped (M,), and put when, which and the new counts of every event of path m into ``kept[m]``."""
    kernel, prepare = KERNELS[method]
    lists = prepare(job.channels, job.starts.shape[1])
    network = job.compiled.network
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
            origin = walker.x[: job.starts.shape[1]].copy()
            when, which, status = np.zeros(256), np.zeros(256, dtype=np.int64), direct.FULL
            while status == direct.FULL:
                when, which = np.resize(when, 2 * len(when)), np.resize(which, 2 * len(which))
                done[0] = m - first
                status = kernel.run_path(job.channels, lists, job.times, walker, when, which, cancel, done, Sink(values, stopped), m)
            job.complain(status, walker)
            n_events = int(walker.cursor[direct.EVENTS])
            done[1] += n_events
            when, which = when[:n_events].copy(), job.kept[which[:n_events]]
            kept[m] = (when, which, origin + np.cumsum(changes[which].toarray(), axis=0))
        done[0] = stop - first

    return sample


def _walker(kernel: ModuleType, job: Job):
    return kernel.new_walker(job.starts.shape[1], len(job.kept), job.channels.stack_size)
