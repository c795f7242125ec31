"""Points of the lattice on which the reactions of a network move."""

import numpy as np

from cme.graphs import conservation_laws
from cme.network import Network

MOST_NUMBERS = 24_000_000  # counts that are looked at one by one


class TooManyPointsError(Exception):
    """A box holds too many points; the argument is their number."""


def lattice_points(network: Network, low: np.ndarray, high: np.ndarray, home: np.ndarray) -> np.ndarray:
    """The states of a box that have the conserved totals of a state, and differ from it by whole numbers of reactions, (K, S)."""
    if np.any(high < low):
        return np.zeros((0, len(low)), dtype=np.int64)
    if too_many(low, high):
        raise TooManyPointsError(np.prod(high - low + 1))
    axes = [np.arange(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(low))
    laws = conservation_laws(network)
    points = points[np.all((points - home) @ laws.T == 0, axis=1)] if len(laws) else points
    return points[spanned(points - home, network.stoichiometry)]


def too_many(low: np.ndarray, high: np.ndarray) -> bool:
    """Are the points of a box too many to look at one by one?"""
    return bool(np.prod(high - low + 1) * len(low) > MOST_NUMBERS)


def spanned(differences: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Which differences (K, S) are sums of whole multiples of changes (R, S)."""
    rest = differences.copy()
    for column, row in _echelon(changes):
        whole, remainder = np.divmod(rest[:, column], row[column])
        rest -= np.where(remainder == 0, whole, 0)[:, None] * row
    return np.all(rest == 0, axis=1)


def basis(changes: np.ndarray) -> list[np.ndarray]:
    """Vectors (S,) of which all sums of changes (R, S) are whole multiples' sums, and none is one of the others'."""
    return [row for _, row in _echelon(changes)]


def _echelon(changes: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """A basis of the lattice of all sums of changes, each vector with the place of its first entry, in order (Hermite's form)."""
    rows = [[int(n) for n in row] for row in np.unique(changes, axis=0) if row.any()]
    basis = []
    for column in range(changes.shape[1]):
        active = [row for row in rows if row[column]]
        rows = [row for row in rows if not row[column]]
        while len(active) > 1:
            active.sort(key=lambda row: abs(row[column]))
            least = active[0]
            reduced = [[a - (row[column] // least[column]) * b for a, b in zip(row, least, strict=True)] for row in active[1:]]
            rows += [row for row in reduced if not row[column] and any(row)]
            active = [least] + [row for row in reduced if row[column]]
        if active:
            basis.append((column, np.array(active[0], dtype=np.int64)))
    return basis
