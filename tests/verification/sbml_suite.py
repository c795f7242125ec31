"""Adapters of `cme` to the SBML Test Suite: what its columns mean in a result. `score.py` beside the cases calls them."""

import numpy as np

import cme
from cme.hybrid import Hybrid


class Unsupported(Exception):
    """A model that is refused on purpose."""


def semantic(path, times, columns, kinds):
    """The columns of a deterministic case, (T, C), by the rate equations."""
    try:
        network = cme.load(path)
        result = cme.rate_equations(network, times, below_zero="allow")  # as SBML has it
    except cme.ModelError as error:
        raise Unsupported(str(error)) from error
    return np.column_stack([_column(path, network, result, name, kind) for name, kind in zip(columns, kinds, strict=True)])


def _column(path, network, result, name, kind):
    constants = {**network.parameters, **network.compartments}
    known = {each: np.full(len(result.times), value) for each, value in constants.items()}
    known |= {each: result[each] for each in (*network.species_names, *network.observables, *network.variables)}
    if name not in known:
        return _reaction_rate(network, known, name, result.times)
    if kind != "concentration":
        return known[name]
    home = _compartment_of(path, name)
    return known[name] / known[home]


def _reaction_rate(network, known, name, times):
    """The net rate of a reaction, which may have been split in two."""
    model = Hybrid(network)
    states = np.column_stack([known[each] for each in model.coordinates]) if model.coordinates else np.empty((len(times), 0))
    rates = dict(zip([each.name for each in network.reactions], model.evaluate(model.rate_formulas, states, times).T, strict=True))
    if name not in rates and f"{name}_back" not in rates:
        raise KeyError(f"{name!r} is nothing in {network.name!r}")
    return rates.get(name, 0.0) - rates.get(f"{name}_back", 0.0)


def _compartment_of(path, name):
    """Where a species is, also one that is an observable of the network."""
    import libsbml

    return libsbml.readSBMLFromFile(path).getModel().getSpecies(name).getCompartment()


def exact(path, times, variables):
    """Mean and standard deviation of a stochastic case, (T, V) each, by the master equation."""
    try:
        law = cme.fsp(cme.load(path), times, tol=1e-10)
    except cme.ModelError as error:
        raise Unsupported(str(error)) from error
    mean, sd = np.empty((len(times), len(variables))), np.empty((len(times), len(variables)))
    for t, p in enumerate(law.p):
        for v, name in enumerate(variables):
            values = law.values(name, t)
            mean[t, v] = p @ values
            sd[t, v] = np.sqrt(p @ (values - mean[t, v]) ** 2)
    return mean, sd


def stochastic(path, times, n_runs, seed, variables):
    """Amounts of a stochastic case on random paths, (M, T, V)."""
    try:
        paths = cme.ssa(cme.load(path), times, n_paths=n_runs, seed=seed)
    except cme.ModelError as error:
        raise Unsupported(str(error)) from error
    return np.stack([paths[name] for name in variables], axis=-1)
