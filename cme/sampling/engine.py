"""`Engine`: what runs paths of a model, block by block, whatever is then done with them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cme import errors
from cme.abilities import features
from cme.compiled import Compiled
from cme.errors import ModelError
from cme.generator import Generator
from cme.kernels import direct, jumps
from cme.network import Network
from cme.results import Distribution
from cme.sampling.hybrid_paths import HybridPaths

Run = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


class Engine(NamedTuple):
    """Runs any paths of a model. What it gives for path i is a function of (seed, i) alone."""

    columns: tuple[str, ...]  # C names: species, then what else the state holds
    n_species: int
    real: bool  # values are real numbers, otherwise whole ones
    run: Run  # run(first, values, cancel, done) writes paths first, first + 1, ... into values (B, T, C), and raises on a fault
    observe: Callable[[np.ndarray], dict[str, np.ndarray]]  # what else has a value, by name, from values (..., T, C): (..., T)
    found: dict[str, Any]  # to be recorded


def engine_for(model: Network | Generator, times: np.ndarray, key: np.ndarray, initial) -> Engine:
    """The engine that the model needs, and nothing else decides about it."""
    if isinstance(model, Generator):
        return _on_given_states(model, times, key, initial)
    if not features(model):
        return _on_counts(model, times, key, initial)
    paths = HybridPaths(model, times, key, initial)
    return Engine(paths.columns, len(model.species), True, paths.run, paths.observe, paths.found)


def _on_counts(network: Network, times: np.ndarray, key: np.ndarray, initial) -> Engine:
    compiled = Compiled(network)
    starts, cumulative = starts_of(compiled, initial)
    model = compiled.arrays
    none = np.zeros(0), np.zeros(0, dtype=np.int64)

    def run(first: int, values: np.ndarray, cancel: np.ndarray, done: np.ndarray) -> None:
        walker = direct.new_walker(starts.shape[1], len(network.reactions), model.stack_size)
        status = direct.run_paths(model, times, key, first, starts, cumulative, walker, *none, cancel, done, values)
        complain(compiled, status, walker)

    def observe(values: np.ndarray) -> dict[str, np.ndarray]:
        return {name: compiled.observable(name, values) for name in network.observables}

    found = {"method": "direct", "initial_lost": max(0.0, 1.0 - float(cumulative[-1]))}
    return Engine(network.species_names, len(network.species), False, run, observe, found)


def starts_of(compiled: Compiled, initial) -> tuple[np.ndarray, np.ndarray]:
    """The initial states (K, S) int64 and their cumulative probabilities (K,)."""
    states, p = compiled.start(initial)
    if np.any(states != np.round(states)):
        raise ModelError("the initial distribution holds fractions of a molecule; ssa counts molecules")
    return np.ascontiguousarray(states, dtype=np.int64), np.cumsum(p)


def complain(compiled: Compiled, status: int, walker: direct.Walker) -> None:
    """Raise what a status of the direct method means."""
    if status in (errors.OK, errors.CANCELLED):
        return
    r = int(walker.cursor[direct.CULPRIT])
    network = compiled.network
    raise errors.propensity_error(status, network.reactions[r].name, network.formula(r), network.species_names, walker.x)


def _on_given_states(generator: Generator, times: np.ndarray, key: np.ndarray, initial) -> Engine:
    """Paths of a jump process on the states of its generator."""
    if initial is None:
        raise ValueError("a generator does not say where it starts; give initial=, one state or N probabilities")
    start = np.cumsum(generator.start(initial.p[-1] if isinstance(initial, Distribution) else initial))
    rates = generator.rates
    cumulative = np.concatenate([np.cumsum(column) for column in np.split(rates.data, rates.indptr[1:-1])])
    fixed = rates.indptr.astype(np.int64), rates.indices.astype(np.int64), cumulative, generator.leak

    def run(first: int, values: np.ndarray, cancel: np.ndarray, done: np.ndarray) -> None:
        random, place, visited = np.zeros(4, np.uint64), np.zeros(1, np.int64), np.zeros(values.shape[:2], np.int64)
        status = jumps.jump_paths(*fixed, times, key, first, start, random, cancel, done, place, visited)
        if status == jumps.LEFT:
            where = errors.describe_state(generator.names, generator.states[place[0]])
            raise ModelError(f"a path left the states of the generator from {where}; keep more states, or end earlier")
        values[:] = generator.states[visited]

    real = not np.issubdtype(generator.states.dtype, np.integer)
    return Engine(generator.names, len(generator.names), real, run, lambda _: {}, {"method": "direct"})
