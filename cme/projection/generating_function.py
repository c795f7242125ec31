"""First-order networks by their generating function: what a single molecule leaves behind obeys small equations, whatever the counts."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cme.errors import ConvergenceError
from cme.first_order import NOTHING, FirstOrder

RTOL, ATOL = 1e-12, 1e-14  # of the integrator; once more with a hundred times as much, to see what it may have added
COARSER = 100.0
INFINITE = 1e4  # of a generating function beyond 1, from here on it is taken to diverge
MOST_STEPS = 20_000


class Piece(NamedTuple):
    """Species that can turn into each other, and what is known of them.

    `linear`: a molecule leaves at most one of them. Then their functions are linear in their own variables: column 0 is the constant,
    the others belong to the members that are variables.
    """

    members: list[int]
    linear: bool
    own: list[int]  # axes of members that are variables
    columns: list[int]  # the members that they are
    channels: list[tuple[int, float, list[tuple[int, int]], int]]  # member, rate, other offspring with numbers, own offspring or -1
    below: list[int]  # axes of what they leave behind


class GeneratingFunction:
    r"""The generating function G(z, t) of some counts of a first-order network.

    .. math:: G(z, t) = e^{\Lambda(z, t)} \prod_i F_i(z, t)^{x_i(0)}, \quad
        \dot F_i = \sum_r c_r \Big(\prod_j F_j^{o_{rj}} - F_i\Big), \quad
        \dot\Lambda = \sum_m b_m \Big(\prod_j F_j^{o_{mj}} - 1\Big)

    F_i is the generating function of what one molecule of species i has become; F_i = z_i and Lambda = 0 at time 0.

    Parameters
    ----------
    network
        Channels.
    kept
        The species whose counts are wanted; the others have z = 1.
    values
        For each of them the values of z, an axis each.

    Notes
    -----
    These are the characteristics of the equation for G. Species from which a molecule leaves at most one of those that turn into
    each other are linear in z, so that their equations only live on the axes of what they leave behind: those of an mRNA that makes
    proteins have the protein's axis alone.
    """

    def __init__(self, network: FirstOrder, kept: list[int], values: list[np.ndarray]):
        self.network, self.kept = network, kept
        d = len(kept)
        self.z = [np.reshape(each, [-1 if a == axis else 1 for a in range(d)]) for axis, each in enumerate(values)]
        self.pieces = self._read()
        self._piece_of = {i: k for k, piece in enumerate(self.pieces) for i in piece.members}
        self._shapes = [self._shape(piece) for piece in self.pieces]
        self._inflows, self._wide = self._read_inflows()
        self._inflow_shapes = [(self._shapes[k][1:] if k >= 0 else self._grid(self._wide)) for k, *_ in self._inflows]
        self.size = sum(int(np.prod(shape)) for shape in (*self._shapes, *self._inflow_shapes))
        self._n_functions = sum(int(np.prod(shape)) for shape in self._shapes)
        self._dtype = np.result_type(*values) if values else np.float64

    # -------------------------------------------------------------------------------------------------- structure

    def _read(self) -> list[Piece]:
        """The pieces from which something that is kept can come, what comes from them first."""
        source, offspring = self.network.source, self.network.offspring
        n = offspring.shape[1]
        inside = source != NOTHING
        r, to = np.nonzero(offspring[inside])
        leads = coo_array((np.ones(len(r)), (source[inside][r], to)), shape=(n, n)).tocsr()
        n_groups, group = connected_components(leads, directed=True, connection="strong")
        useful = np.zeros(n, dtype=bool)
        useful[self.kept] = True
        while True:
            more = useful | (leads @ useful > 0)
            if np.array_equal(more, useful):
                break
            useful = more
        pieces, done = list[Piece](), dict[int, list[int]]()
        waiting = [np.flatnonzero(group == g).tolist() for g in range(n_groups) if useful[np.flatnonzero(group == g)[0]]]
        while waiting:
            for members in waiting:
                targets = {j for i in members for j in leads[[i]].indices.tolist() if useful[j]}
                if all(j in done or j in members for j in targets):
                    break
            waiting.remove(members)
            below = sorted({axis for j in targets if j not in members for axis in done[j]})
            own = [axis for axis, s in enumerate(self.kept) if s in members]
            channels, linear = [], True
            for c in np.flatnonzero(np.isin(source, members)):
                after = [(j, int(offspring[c, j])) for j in np.flatnonzero(offspring[c]).tolist() if useful[j]]
                mine = [(j, m) for j, m in after if j in members]
                linear &= sum(m for _, m in mine) <= 1
                rest = [(j, m) for j, m in after if j not in members]
                channels.append(
                    (members.index(int(source[c])), float(self.network.rate[c]), rest, members.index(mine[0][0]) if mine else -1)
                )
            if not linear:
                for k, c in enumerate(np.flatnonzero(np.isin(source, members))):
                    after = [(j, int(offspring[c, j])) for j in np.flatnonzero(offspring[c]).tolist() if useful[j]]
                    channels[k] = (*channels[k][:2], after, -1)
            pieces.append(Piece(members, linear, own, [members.index(self.kept[axis]) for axis in own], channels, below))
            for i in members:
                done[i] = sorted({*below, *own})
        return pieces

    def _grid(self, axes: list[int]) -> tuple[int, ...]:
        return tuple(self.z[a].size if a in axes else 1 for a in range(len(self.kept)))

    def _shape(self, piece: Piece) -> tuple[int, ...]:
        if piece.linear:
            return len(piece.members), 1 + len(piece.own), *self._grid(piece.below)
        return len(piece.members), 1, *self._grid(sorted({*piece.below, *piece.own}))

    def _read_inflows(self) -> tuple[list[tuple[int, float, list[tuple[int, int]], int]], list[int]]:
        """Inflows by the piece in which they are linear, -1 if in none: piece, rate, other offspring, own offspring."""
        found, wide = [], set[int]()
        for c in np.flatnonzero(self.network.source == NOTHING):
            after = [(j, int(m)) for j, m in enumerate(self.network.offspring[c].tolist()) if m and j in self._piece_of]
            if not after:
                continue
            top = max(self._piece_of[j] for j, _ in after)
            piece, mine = self.pieces[top], [(j, m) for j, m in after if self._piece_of[j] == top]
            rest = [(j, m) for j, m in after if self._piece_of[j] != top]
            axes = {a for j, _ in rest for a in (*self.pieces[self._piece_of[j]].own, *self.pieces[self._piece_of[j]].below)}
            if piece.linear and len(mine) == 1 and mine[0][1] == 1 and axes <= set(piece.below):
                found.append((top, float(self.network.rate[c]), rest, piece.members.index(mine[0][0])))
            else:
                wide |= axes | {*piece.own, *piece.below}
                found.append((-1, float(self.network.rate[c]), after, -1))
        return found, sorted(wide)

    # ---------------------------------------------------------------------------------------------------- the flow

    def start(self) -> np.ndarray:
        """All unknowns at time 0, flat."""
        parts = [np.zeros(0, dtype=self._dtype)]
        for piece, shape in zip(self.pieces, self._shapes, strict=True):
            y = np.zeros(shape, dtype=self._dtype)
            if piece.linear:
                y[:, 0] = 1
                for column, member in enumerate(piece.columns):
                    y[member, 0], y[member, 1 + column] = 0, 1
            else:
                y[:] = 1
                for axis, member in zip(piece.own, piece.columns, strict=True):
                    y[member] = self.z[axis]
            parts.append(y.ravel())
        parts += [np.zeros(int(np.prod(shape)), dtype=self._dtype) for shape in self._inflow_shapes]
        return np.concatenate(parts)

    def _split(self, y: np.ndarray) -> list[np.ndarray]:
        found, done = [], 0
        for shape in (*self._shapes, *self._inflow_shapes):
            size = int(np.prod(shape))
            found.append(y[done : done + size].reshape(shape))
            done += size
        return found

    def _function(self, parts: list[np.ndarray], i: int) -> np.ndarray:
        """F of one species, on the axes that it depends on."""
        k = self._piece_of[i]
        piece, y = self.pieces[k], parts[k]
        member = piece.members.index(i)
        return self._sum(piece, y[member]) if piece.linear else y[member, 0]

    def _sum(self, piece: Piece, y: np.ndarray) -> np.ndarray:
        total = y[0]
        for column, axis in enumerate(piece.own):
            total = total + y[1 + column] * self.z[axis]
        return total

    def derivative(self, _: float, y: np.ndarray) -> np.ndarray:
        """The right-hand side."""
        parts, functions = self._split(y), dict[int, np.ndarray]()

        def product(after: list[tuple[int, int]]) -> np.ndarray | float:
            found: np.ndarray | float = 1.0
            for j, m in after:
                if j not in functions:
                    functions[j] = self._function(parts, j)
                found = found * (functions[j] if m == 1 else functions[j] ** m)
            return found

        moved = []
        for piece, now in zip(self.pieces, parts, strict=False):
            slope = np.zeros_like(now)
            for member, rate, after, mine in piece.channels:
                factor = product(after)
                if not piece.linear:
                    slope[member, 0] += rate * (factor - now[member, 0])
                    continue
                slope[member] -= rate * now[member]
                if mine >= 0:
                    slope[member] += rate * factor * now[mine]
                else:
                    slope[member, 0] += rate * factor
            moved.append(slope.ravel())
        for (k, rate, after, mine), shape in zip(self._inflows, self._inflow_shapes, strict=True):
            slope = np.empty(shape, dtype=y.dtype)
            if k >= 0:
                slope[:] = rate * product(after) * parts[k][mine]
                slope[0] -= rate
            else:
                slope[:] = rate * (product(after) - 1)
            moved.append(slope.ravel())
        total = np.concatenate(moved)
        if self._dtype == np.float64:  # beyond the circle it may explode: there it stops, and is told by `diverged`
            n = self._n_functions
            total[:n][np.abs(y[:n]) > INFINITE] = 0.0
        return total

    def advance(self, y: np.ndarray, start: float, end: float, loose: float = 1.0) -> np.ndarray:
        """The unknowns at a later time."""
        if end <= start or not y.size:
            return y
        from scipy.integrate import DOP853  # slow to import, and fsp seldom comes here

        solver = DOP853(self.derivative, start, y, end, rtol=RTOL * loose, atol=ATOL * loose)
        for _ in range(MOST_STEPS):
            message = solver.step()
            if solver.status == "failed":
                raise ConvergenceError(f"the equations of the generating function can't be integrated beyond t={solver.t:g}: {message}")
            if solver.status == "finished":
                return solver.y
        raise ConvergenceError(
            f"the equations of the generating function are too stiff: {MOST_STEPS} steps reach t={solver.t:g}; use method='projection'"
        )

    def log_value(self, y: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Log of G on the whole grid, from one start; -inf where it is zero."""
        parts = self._split(y)
        total: np.ndarray = np.zeros((1,) * len(self.kept), dtype=self._dtype)
        for (k, *_), inflow in zip(self._inflows, parts[len(self.pieces) :], strict=True):
            total = total + (self._sum(self.pieces[k], inflow) if k >= 0 else inflow)
        with np.errstate(divide="ignore"):
            for i in np.flatnonzero(start):
                if int(i) in self._piece_of:
                    total = total + int(start[i]) * np.log(self._function(parts, int(i)))
        return np.broadcast_to(total, tuple(each.size for each in self.z))

    def diverged(self, y: np.ndarray) -> np.ndarray:
        """Where on a single axis the functions have grown out of range, (K,)."""
        found = np.zeros(self.z[0].size, dtype=bool)
        for part in self._split(y)[: len(self.pieces)]:
            found |= np.any(np.abs(part.reshape(-1, part.shape[-1])) > INFINITE, axis=0)
        return found
