"""First-order networks: each molecule acts alone, whatever the others do."""

from dataclasses import dataclass

import numpy as np

from cme.abilities import features
from cme.affine import as_affine
from cme.compiled import starting_states
from cme.errors import ModelError
from cme.infix import shorten, to_infix
from cme.network import Network

NOTHING = -1  # the source of what comes from nothing


@dataclass(frozen=True)
class FirstOrder:
    """A network in which single molecules turn into others, and molecules come from nothing at constant rates.

    Attributes
    ----------
    source : (C,)
        The species, by place, of which one molecule reacts in each channel, or `NOTHING`.
    rate : (C,)
        Per molecule (or in all, from nothing).
    offspring : (C, S)
        What there is in place of the molecule afterwards.
    """

    names: tuple[str, ...]
    source: np.ndarray
    rate: np.ndarray
    offspring: np.ndarray

    @property
    def is_monomolecular(self) -> bool:
        """Does each molecule turn into one other or vanish, and do molecules come one by one?"""
        total = self.offspring.sum(axis=1)
        return bool(np.all(np.where(self.source == NOTHING, total == 1, total <= 1)))

    def mean_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """A (S, S) and b (S,) of the mean counts: d<x>/dt = A <x> + b."""
        n = self.offspring.shape[1]
        a, b = np.zeros((n, n)), np.zeros(n)
        for source, rate, offspring in zip(self.source, self.rate, self.offspring, strict=True):
            if source == NOTHING:
                b += rate * offspring
            else:
                a[:, source] += rate * offspring
                a[source, source] -= rate
        return a, b


def first_order(network: Network, starts: np.ndarray | None = None) -> FirstOrder:
    """Read a network as one of first order, from its propensities.

    Parameters
    ----------
    network
        Its propensities must be constants plus multiples of counts. Species whose counts never change are part of the constants, and so is
        their start.
    starts : (K, S)
        Where it starts; the network's own start by default.

    Raises
    ------
    ModelError
        If a propensity is not linear in the counts, or a reaction takes molecules that do not set its rate.

    Examples
    --------
    >>> import cme
    >>> from cme.first_order import first_order
    >>> first_order(cme.parse("A -> B @ 2; 0 -> A @ 1")).is_monomolecular
    True
    >>> first_order(cme.parse("A -> A + B @ 2; A -> 0 @ 1")).is_monomolecular
    False
    """
    for feature in features(network):
        raise ModelError(f"{network.name!r} is no network with constant rates and constant stoichiometry: {feature}")
    starts = starting_states(network)[0] if starts is None else starts
    changed = {network.species_names[s] for s in network.changed_species[1].tolist()}
    constants = {}
    for name, counts in zip(network.species_names, starts.T, strict=True):
        if name not in changed and len(np.unique(counts)) == 1:
            constants[name] = float(counts[0])
    index = {name: s for s, name in enumerate(network.species_names)}
    source, rates, offspring = list[int](), list[float](), list[np.ndarray]()
    for reaction, change in zip(network.reactions, network.stoichiometry, strict=True):
        if not change.any():
            continue
        law = network.resolve(reaction.propensity)
        affine = as_affine(law, constants)
        if affine is None:
            raise ModelError(f"the propensity {shorten(to_infix(law), 80)} of reaction {reaction.name!r} is not linear in the counts")
        for name, rate in affine.items():
            if rate == 0:
                continue
            after = change.copy()
            if name:
                after[index[name]] += 1
            if not (np.isfinite(rate) and rate > 0 and np.all(after >= 0)):
                text = shorten(to_infix(law), 80)
                raise ModelError(f"the propensity {text} of reaction {reaction.name!r} is not that of single molecules which it takes")
            source.append(index[name] if name else NOTHING)
            rates.append(rate)
            offspring.append(after)
    empty = np.zeros((0, len(index)), dtype=np.int64)
    return FirstOrder(network.species_names, np.array(source, dtype=np.int64), np.array(rates), np.array(offspring or empty))


def closed_groups(network: FirstOrder) -> tuple[np.ndarray, np.ndarray]:
    """The group of each species among those that turn into each other, (S,), and whether each group keeps its total, (G,).

    Of a monomolecular network.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(network.names)
    target = np.where(network.offspring.any(axis=1), network.offspring.argmax(axis=1), NOTHING)
    inside = (network.source != NOTHING) & (target != NOTHING)
    graph = coo_array((np.ones(int(inside.sum())), (target[inside], network.source[inside])), shape=(n, n))
    n_groups, group = connected_components(graph, directed=False)
    keeps = np.ones(n_groups, dtype=bool)
    for source, end in zip(network.source[~inside], target[~inside], strict=True):
        keeps[group[source if source != NOTHING else end]] = False
    return group, keeps
