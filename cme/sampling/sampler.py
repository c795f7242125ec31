"""`Sampler`: what runs paths of a model, block by block, whatever is then done with them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

from cme import errors
from cme.abilities import is_chain
from cme.arguments import check_choice
from cme.compiled import Compiled
from cme.errors import ModelError
from cme.kernels.lanes import WIDTH
from cme.kernels.record import Sink
from cme.network import Network
from cme.ratelaw import Expr
from cme.sampling.methods import ENGINES, METHODS, choose, every_event_task, make_job
from cme.threads import Task

if TYPE_CHECKING:  # importing it takes longer than a small simulation
    from cme.generator import Generator

Run = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


class Sampler(NamedTuple):
    """Runs any paths of a model. What it gives for path i is a function of (seed, i) alone."""

    columns: tuple[str, ...]  # C names: species, then what else the state holds
    n_species: int
    real: bool  # values are real numbers, otherwise whole ones
    run: Run  # run(first, values, stopped, cancel, done) writes paths first, first + 1, ... into values (B, T, C); raises on a fault
    observe: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]  # what else has a value, from values (..., T, C) and stopped (...)
    found: dict[str, Any]  # to be recorded
    list_events: Callable[[np.ndarray, np.ndarray, list], Task] | None = None  # see `cme.sampling.methods.every_event_task`
    batch: int = 1  # so many paths should be run in one call where there are enough


def sampler_for(
    model: Union[Network, "Generator"],
    times: np.ndarray,
    key: np.ndarray,
    initial,
    n_paths: int,
    method: str = "auto",
    stop: Expr | None = None,
) -> Sampler:
    """The sampler that the model needs; of those for constant rates, `method` is one (see `cme.sampling.methods`).

    `n_paths` is how many may run at once, which tells whether lanes are worth it. With a `stop` condition it writes the times at
    which paths met it into `stopped` (B,).
    """
    if not isinstance(model, Network):
        return _on_given_states(model, times, key, initial)
    if is_chain(model):
        return _on_counts(model, times, key, initial, n_paths, method, stop)
    from cme.sampling.hybrid_paths import HybridPaths

    paths = HybridPaths(model, times, key, initial, stop)
    return Sampler(paths.columns, len(model.species), True, paths.run, paths.observe, paths.found, paths.list_events)


def check_method(model, method: str) -> None:
    """The name of a method, if the model leaves a choice."""
    check_choice("method", method, METHODS)
    if method != "auto" and (not isinstance(model, Network) or not is_chain(model)):
        raise ValueError(f"method={method!r} is for networks with constant rates, and this model has an engine of its own; leave it out")


def _on_counts(network: Network, times: np.ndarray, key: np.ndarray, initial, n_paths: int, method: str, stop: Expr | None) -> Sampler:
    job = make_job(Compiled(network), initial, times, key, stop)
    chosen = choose(method, job, n_paths)
    sample = ENGINES[chosen](job)

    def run(first: int, values: np.ndarray, stopped: np.ndarray, cancel: np.ndarray, done: np.ndarray) -> None:
        sample(first, first + len(values), cancel, done, Sink(values, stopped))

    def observe(values: np.ndarray, _: np.ndarray) -> dict[str, np.ndarray]:
        return {name: job.compiled.observable(name, values) for name in network.observables}

    def list_events(values: np.ndarray, stopped: np.ndarray, kept: list) -> Task:
        return every_event_task(job, chosen, values, stopped, kept)

    found = {"method": chosen, "initial_lost": max(0.0, 1.0 - float(job.cumulative[-1]))}
    batch = 2 * WIDTH if chosen == "lanes" else 1
    return Sampler(network.species_names, len(network.species), False, run, observe, found, list_events, batch)


def _on_given_states(generator: "Generator", times: np.ndarray, key: np.ndarray, initial) -> Sampler:
    """Paths of a jump process on the states of its generator."""
    from cme.kernels import jumps

    if initial is None:
        raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
    start = np.cumsum(generator.start(initial))
    rates = generator.rates
    cumulative = np.concatenate([np.cumsum(column) for column in np.split(rates.data, rates.indptr[1:-1])])
    fixed = rates.indptr.astype(np.int64), rates.indices.astype(np.int64), cumulative, generator.leak

    def run(first: int, values: np.ndarray, _: np.ndarray, cancel: np.ndarray, done: np.ndarray) -> None:
        random, place, visited = np.zeros(4, np.uint64), np.zeros(1, np.int64), np.zeros(values.shape[:2], np.int64)
        status = jumps.jump_paths(*fixed, times, key, first, start, random, cancel, done, place, visited)
        if status == jumps.LEFT:
            where = errors.describe_state(generator.names, generator.states[place[0]])
            raise ModelError(f"a path left the states of the generator from {where}; keep more states, or end earlier")
        values[:] = generator.states[visited]

    real = not np.issubdtype(generator.states.dtype, np.integer)
    found = {"method": "direct", "initial_lost": max(0.0, 1.0 - float(start[-1]))}
    return Sampler(generator.names, len(generator.names), real, run, lambda *_: {}, found)
