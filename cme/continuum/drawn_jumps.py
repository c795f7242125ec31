"""`DrawnField`: the deterministic equations and the noise of a network in which reactions draw numbers of molecules."""

from dataclasses import replace

import numpy as np

from cme import ratelaw
from cme.continuum.vector_field import NetworkField
from cme.elements import Reaction
from cme.network import Network
from cme.ratelaw import ONE, ZERO, Apply, Expr, product_of, sum_of


class DrawnField(NetworkField):
    r"""The field of a network whose reactions change counts by c + sum_k N_k f_k, with independent numbers N_k of means m_k, variances v_k.

    .. math:: \text{drift} = \sum_r a_r \mu_r, \qquad \mu = c + \sum_k m_k f_k, \qquad
              \text{noise} = \sum_r a_r E[\nu_r \nu_r^T] = \sum_r a_r \Big(\mu_r \mu_r^T + \sum_k v_k f_k f_k^T\Big)

    The drift is that of a network with fixed changes: c at rate a_r, and each f_k at rate a_r m_k.
    """

    def __init__(self, network: Network):
        rows, columns, amounts = network.sparse_stoichiometry
        constant = np.zeros((len(network.reactions), len(network.species)), dtype=np.int64)
        constant[rows, columns] = amounts
        column = {name: s for s, name in enumerate(network.species_names)}
        reactions = [_fixed(network, each.name, network.resolve(each.rate), constant[r]) for r, each in enumerate(network.reactions)]
        owners, moments = list[int](), list[tuple[Expr, Expr]]()
        for r, varying in network.varying.items():
            for k, number in enumerate(varying.numbers):
                change = np.zeros(len(column), dtype=np.int64)
                for place, name, factor in varying.terms:
                    if place == k:
                        change[column[name]] += factor
                mean, variance = _moments(number)
                rate = product_of((network.resolve(network.reactions[r].rate), mean))
                reactions.append(_fixed(network, f"{network.reactions[r].name} (number {k + 1})", rate, change))
                owners.append(r)
                moments.append((mean, variance))
        super().__init__(replace(network, reactions=tuple(reactions)))
        self._owners, self._moments, self._n_reactions = np.array(owners), moments, len(network.reactions)

    def noise(self, time: float, state: np.ndarray) -> np.ndarray:
        rates = self.rates(time, state)[: self._n_reactions]
        values = dict(zip(self.names, np.maximum(state, 0.0), strict=True))
        mean, variance = np.array([[float(ratelaw.evaluate(each, values)) for each in pair] for pair in self._moments]).T
        jumps = self.change[: self._n_reactions].copy()  # mu
        drawn = self.change[self._n_reactions :]
        np.add.at(jumps, self._owners, mean[:, None] * drawn)
        return (jumps.T * rates) @ jumps + (drawn.T * (rates[self._owners] * variance)) @ drawn


def _fixed(network: Network, name: str, rate: Expr, change: np.ndarray) -> Reaction:
    """A reaction that changes the counts by the same each time."""
    changed = list(zip(network.species_names, change.tolist(), strict=True))
    taken, made = (tuple((species, sign * n) for species, n in changed if sign * n > 0) for sign in (-1, 1))
    return Reaction(name, taken, made, rate)


def _moments(number: Expr) -> tuple[Expr, Expr]:
    """Mean and variance of a number of molecules, as formulas of the counts."""
    if not isinstance(number, Apply) or number.op not in ratelaw.DRAWS:
        return number, ZERO
    a = number.args[0]
    if number.op == "poisson":
        return a, a
    if number.op == "geometric":  # its mean; it starts at 0
        return a, product_of((a, sum_of((ONE, a))))
    n, p = number.args if number.op == "binomial" else (ONE, a)
    return product_of((n, p)), product_of((n, p, sum_of((ONE, Apply("neg", (p,))))))
