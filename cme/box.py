"""Full boxes of states: which they are, and the generator on them as shifts and tables, without stored indices (`BoxMatrix`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from cme import errors, memory, ratelaw
from cme.compiled import Compiled
from cme.graphs import conservation_laws
from cme.kernels import stencil
from cme.ledger import FEWER, MOST, UNBOUNDED
from cme.ratelaw import ONE, Apply, Expr


@dataclass(frozen=True, eq=False)
class Box:
    """All states with index_a = 0, ..., shape_a - 1 along D axes, the last of which runs fastest: state = corner + slope @ index.

    Attributes
    ----------
    axes : (D,)
        The species that the axes are of, one each; other counts go with them.
    shape : (D,)
    corner : (S,)
    slope : (S, D)
    """

    axes: np.ndarray
    shape: np.ndarray
    corner: np.ndarray
    slope: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray, key: np.ndarray) -> "Box | None":
        """The box of two axes or more that different states (N, S) fill, in any order; None if they do not."""
        low, high = states.min(axis=0), states.max(axis=0)
        axes = np.array([s for s in key[np.argsort((high - low)[key], kind="stable")] if high[s] > low[s]], dtype=np.int64)
        shape = (high - low)[axes] + 1
        if len(axes) < 2 or np.prod(shape.astype(np.float64)) != len(states):
            return None
        slope = np.zeros((states.shape[1], len(axes)), dtype=np.int64)
        corner = states[np.argmax(np.all(states[:, axes] == low[axes], axis=1))]
        for d in range(len(axes)):
            place = low[axes].copy()
            place[d] += 1
            slope[:, d] = states[np.argmax(np.all(states[:, axes] == place, axis=1))] - corner
        box = cls(axes, shape, corner, slope)
        for s in range(states.shape[1]):  # one by one: all at once would take several times the memory of the states
            if np.any(corner[s] + (states[:, axes] - low[axes]) @ slope[s] != states[:, s]):
                return None
        return box

    def states(self) -> np.ndarray:
        """All states (N, S), in order."""
        found = np.empty((*self.shape, len(self.corner)), dtype=np.int64)
        for s, corner in enumerate(self.corner):
            found[..., s] = corner + sum(self.along(d, self.slope[s, d] * np.arange(n)) for d, n in enumerate(self.shape))
        return found.reshape(-1, len(self.corner))

    def index(self, states: np.ndarray) -> np.ndarray:
        """The place of each state (K, S), -1 if it is not in the box."""
        place = states[:, self.axes] - self.corner[self.axes]
        inside = np.all((place >= 0) & (place < self.shape), axis=1)
        place[~inside] = 0
        inside &= np.all(self.corner + place @ self.slope.T == states, axis=1)
        return np.where(inside, np.ravel_multi_index(tuple(place.T), tuple(self.shape)), -1)

    def __len__(self) -> int:
        return int(np.prod(self.shape.astype(object)))

    def along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """Values along one axis, to be broadcast over the others."""
        return values.reshape([-1 if d == axis else 1 for d in range(len(self.shape))])

    def counts(self, axis: int) -> np.ndarray:
        """The counts (n, S) of all species along an axis, from the corner."""
        return self.corner + np.arange(self.shape[axis])[:, None] * self.slope[:, axis]


class BoxMatrix(LinearOperator):
    """The generator A on a box: products by shifts and tables, a `LinearOperator` that can also give its entries.

    ``matrix @ p`` reads three numbers from memory for each state, where a sparse matrix reads two for each entry. A propensity that is a
    product of functions of one species each, as mass action and Hill laws are, costs a table along each axis; any other law is kept as
    one number for each state.

    Attributes
    ----------
    exit_rates, leak : (N,)
    nnz
        How many entries a sparse matrix would have, about.
    """

    def __init__(self, compiled: Compiled, box: Box, entries: Callable[[], sp.csc_array]):
        n_states = len(box)
        super().__init__(np.dtype(np.float64), (n_states, n_states))
        self.box, self._compiled, self._entries = box, compiled, entries
        network = compiled.network
        change = network.stoichiometry
        along = np.all(change == change[:, box.axes] @ box.slope.T, axis=1)  # else it leaves the box from every state
        moving = np.flatnonzero(np.any(change != 0, axis=1) & along)
        memory.require_memory(8 * 6 * n_states, f"the rates of {n_states} states", FEWER)
        self.leak, out = np.zeros(n_states), np.zeros(n_states)
        first, pieces = np.zeros((len(moving), len(box.shape)), dtype=np.int64), [np.zeros(1)]
        kept, rates = list[int](), list[np.ndarray]()
        for r in range(len(network.reactions)):
            tables = tables_along(compiled, box, r)
            rate = self._rates(r, tables)
            if not np.any(change[r]):
                continue
            out += rate
            self._book_leak(r, rate, change[r], bool(along[r]))
            if not along[r]:
                continue
            if tables is None:
                memory.require_memory(16 * n_states, f"the rates of {n_states} states", FEWER)
                kept.append(n_states * len(rates))
                rates.append(rate)
            else:
                first[len(kept)] = np.cumsum([sum(map(len, pieces)), *box.shape[:-1]])
                pieces += tables
                kept.append(-1)
        self._stencil = stencil.Stencil(
            shape=box.shape,
            change=np.ascontiguousarray(change[moving][:, box.axes]),
            first=first,
            table=np.concatenate(pieces),
            kept=np.array(kept, dtype=np.int64),
            rate=np.concatenate([np.zeros(0), *rates]),
            out=out,
        )
        self.exit_rates = out

    @property
    def nnz(self) -> int:
        return self.shape[0] * (len(self._stencil.kept) + 1)

    def diagonal(self) -> np.ndarray:
        return -self.exit_rates

    @cached_property
    def _as_columns(self) -> sp.csc_array:
        return self._entries()

    def tocsc(self) -> sp.csc_array:
        """The same as a sparse matrix, made when it is first asked for."""
        return self._as_columns

    def tocsr(self) -> sp.csr_array:
        return self._as_columns.tocsr()

    def toarray(self) -> np.ndarray:
        return self._as_columns.toarray()

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        p, y = np.ascontiguousarray(x, dtype=np.float64).ravel(), np.empty(self.shape[0])
        shape = self._stencil.shape
        stencil.multiply(self._stencil, 0.0, 1.0, np.zeros_like(shape), shape.copy(), np.empty_like(shape), p, y)
        return y

    def uniformise(self, q: float, weights: np.ndarray, p: np.ndarray, out: np.ndarray, budget: float) -> float:
        """Add sum over k of weights[j, k] (I + A/q)^k p to out (J, N), for p >= 0 and q no less than any exit rate.

        Only a window that follows the law is worked on. What lies at its rim is set to zero as long as that is at most `budget` in all;
        returned is how much it was, a bound on the error in the 1-norm for weights that sum to at most one.
        """
        low, high = self._window(p)
        dropped, work = np.zeros((len(low), 2)), np.empty_like(low)
        both = p.copy(), np.zeros_like(p)
        flat = weights.ravel(), budget, low, high, work, dropped, *both, out.reshape(-1)
        stencil.uniformise_in_window(self._stencil, q, len(weights), *flat)
        return float(dropped.sum())

    def chebyshev(self, q: float, p: np.ndarray, weights: np.ndarray, ends: tuple, budget: float, series: tuple) -> float:
        """Add sum over k of weights[j, k] T_k(I + A/q) p to an output (J, N), as `cme.kernels.chebyshev.chebyshev_series` does.

        `ends` are its arguments tails, enough, allowed and rounding, `series` are cursor, norms and the output. Only a window is worked
        on that starts around p and grows with the terms. Returned is how much of p at its rim was left out, at most `budget`.
        """
        low, high = self._window(p)
        dropped, (cursor, norms, out) = np.zeros((len(low), 2)), series
        window = budget, low, high, np.empty_like(low), dropped, cursor, p.copy(), np.zeros_like(p), norms, out.reshape(-1)
        stencil.chebyshev_in_window(self._stencil, q, len(weights), weights.ravel(), *ends, *window)
        return float(dropped.sum())

    def _window(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where p is not zero: low <= index < high."""
        shape = self._stencil.shape
        there = p.reshape(shape) != 0
        low, high = np.zeros_like(shape), np.ones_like(shape)
        for a in range(len(shape)):
            found = np.flatnonzero(there.any(axis=tuple(b for b in range(len(shape)) if b != a)))
            if len(found):
                low[a], high[a] = found[0], found[-1] + 1
        return low, high

    # ----------------------------------------------------------------------------------------------------- building

    def _rates(self, r: int, tables: list[np.ndarray] | None) -> np.ndarray:
        """The propensity of a reaction in every state, (N,), checked."""
        box, names = self.box, self._compiled.network.species_names
        rate = np.empty(tuple(box.shape))
        if tables is not None:
            rate[:] = 1.0
            for axis, table in enumerate(tables):
                rate *= box.along(axis, table)
            return rate.ravel()
        grid = np.meshgrid(*(np.arange(float(n)) for n in box.shape), indexing="ij", sparse=True)
        values = {
            name: box.corner[s] + sum(box.slope[s, d] * grid[d] for d in np.flatnonzero(box.slope[s])) for s, name in enumerate(names)
        }
        with np.errstate(all="ignore"):
            rate[:] = ratelaw.evaluate(self._compiled.propensity_formulas[r], values)
        wrong = ~((rate >= 0) & np.isfinite(rate))
        if np.any(wrong):
            n = int(np.argmax(wrong))
            raise self._error(errors.NEGATIVE_PROPENSITY if rate.flat[n] < 0 else errors.UNDEFINED_PROPENSITY, r, n)
        return rate.ravel()

    def _book_leak(self, r: int, rate: np.ndarray, change: np.ndarray, along: bool) -> None:
        """Add what a reaction takes out of the box to the leak; where it leads, no count may be below zero.

        One that does not lead along the box, such as from a count that is the same in all of it, leads out from everywhere.
        """
        shape = self.box.shape
        stays = tuple(slice(max(0, -d), max(0, n - max(0, d))) for n, d in zip(shape.tolist(), change[self.box.axes].tolist(), strict=True))
        leaving = rate.reshape(tuple(shape)).copy()
        if along:
            leaving[stays] = 0.0
        where = np.flatnonzero(leaving)
        below = np.any(self._states_at(where) + change < 0, axis=1)
        if np.any(below):
            raise self._error(errors.NEGATIVE_COUNT, r, int(where[np.argmax(below)]))
        self.leak += leaving.ravel()

    def _states_at(self, where: np.ndarray) -> np.ndarray:
        """The states (K, S) at places (K,)."""
        return self.box.corner + np.stack(np.unravel_index(where, tuple(self.box.shape)), axis=-1) @ self.box.slope.T

    def _error(self, status: int, r: int, n: int) -> errors.ModelError:
        network = self._compiled.network
        state = self._states_at(np.array([n]))[0]
        return errors.propensity_error(status, network.reactions[r].name, network.formula(r), network.species_names, state)


def tables_along(compiled: Compiled, box: Box, r: int) -> list[np.ndarray] | None:
    """The propensity of reaction r as a product of a table (n,) for each axis, all >= 0; None if it is none."""
    names = compiled.network.species_names
    axes = {name: frozenset(np.flatnonzero(box.slope[s]).tolist()) for s, name in enumerate(names)}
    tables = [np.ones(n) for n in box.shape]
    for factor in _factors(compiled.propensity_formulas[r]):
        read = frozenset().union(*(axes[name] for name in ratelaw.names(factor)))
        if len(read) > 1:
            return None
        axis = min(read, default=len(box.shape) - 1)
        values = {name: column.astype(np.float64) for name, column in zip(names, box.counts(axis).T, strict=True)}
        with np.errstate(all="ignore"):
            tables[axis] *= ratelaw.evaluate(factor, values)
    fine = all(np.all(np.isfinite(table)) and np.all(table >= 0) for table in tables)
    return tables if fine and np.isfinite(np.prod([table.max() for table in tables])) else None


def _factors(law: Expr) -> list[Expr]:
    """Formulas whose product a law is."""
    if isinstance(law, Apply) and law.op == "*":
        return [factor for arg in law.args for factor in _factors(arg)]
    if isinstance(law, Apply) and law.op == "/":
        return [*_factors(law.args[0]), *(Apply("/", (ONE, factor)) for factor in _factors(law.args[1]))]
    return [law]


def reachable_box(compiled: Compiled, start: np.ndarray, upper: np.ndarray, key: np.ndarray) -> Box | None:
    """The box from 0 up to the bounds where it is plain that all of it is reached from a state (S,); None if that is not plain.

    It is where each axis has a reaction that goes one up along it, and one that goes one down, both from everywhere in the box.
    """
    network = compiled.network
    laws = conservation_laws(network)
    most = [upper] + [np.where(law > 0, (law @ start) // np.maximum(law, 1), UNBOUNDED) for law in laws if np.all(law >= 0)]
    shape = np.min(most, axis=0)[key]
    if len(key) < 2 or len(laws) != len(upper) - len(key) or np.any(shape >= MOST) or np.any(shape < 1):
        return None
    order = np.argsort(shape, kind="stable")
    axes, shape = key[order], shape[order] + 1
    others = np.setdiff1d(np.arange(len(upper)), axes)
    corner, slope = np.zeros(len(upper), dtype=np.int64), np.zeros((len(upper), len(axes)), dtype=np.int64)
    slope[axes, np.arange(len(axes))] = 1
    if len(others):
        inverse = np.linalg.inv(laws[:, others].astype(np.float64))
        corner[others] = np.round(inverse @ (laws @ start))
        slope[others] = np.round(-inverse @ laws[:, axes])
    least = corner + np.minimum(slope * (shape - 1), 0).sum(axis=1)
    largest = corner + np.maximum(slope * (shape - 1), 0).sum(axis=1)
    if np.any(laws @ corner != laws @ start) or np.any(laws @ slope) or np.any(least < 0) or np.any(largest > upper):
        return None
    box = Box(axes, shape, corner, slope)
    ways = set()
    for r, change in enumerate(network.stoichiometry[:, axes]):
        if np.abs(change).sum() == 1 and (tables := tables_along(compiled, box, r)) is not None:
            axis = int(np.argmax(np.abs(change)))
            tables[axis] = tables[axis][:-1] if change[axis] > 0 else tables[axis][1:]
            if np.prod([table.min() for table in tables]) > 0:
                ways.add((axis, int(change[axis])))
    return box if len(ways) == 2 * len(axes) else None
