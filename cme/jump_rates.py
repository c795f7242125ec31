"""A matrix of jump rates W, checked, as the matrix A of a master equation: A = W - diag(column sums of W), the diagonal of W ignored."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

CHUNK = 2_000_000  # entries of a matrix-free W in memory at a time


def master_matrix(rates) -> tuple[sp.csc_array | LinearOperator, np.ndarray]:
    """A (N, N) and the total rates out of each state (N,), from an array, a sparse matrix or a `LinearOperator`.

    Raises
    ------
    ValueError
        If W is not a square matrix of real numbers, or a rate off the diagonal is negative or not finite; the message gives its place.
    """
    if isinstance(rates, LinearOperator):
        return _matrix_free(rates)
    if not sp.issparse(rates):
        rates = np.atleast_2d(np.asarray(rates))
    _check_shape(rates)
    w = sp.coo_array(rates)
    off = w.row != w.col
    row, column, rate = w.row[off], w.col[off], w.data[off].astype(np.float64)
    wrong = np.flatnonzero(~((rate >= 0) & np.isfinite(rate)))
    if wrong.size:
        _complain(row[wrong[0]], column[wrong[0]], rate[wrong[0]])
    out = np.bincount(column, weights=rate, minlength=w.shape[0])
    here = np.arange(w.shape[0])
    entries = np.concatenate([rate, -out]), (np.concatenate([row, here]), np.concatenate([column, here]))
    return sp.csc_array(sp.coo_array(entries, shape=w.shape)), out


def _matrix_free(w: LinearOperator) -> tuple[LinearOperator, np.ndarray]:
    """Gain minus loss: what W brings, without its diagonal, less what leaves. Every column of W is looked at once."""
    _check_shape(w)
    n_states = w.shape[0]
    diagonal, out = np.empty(n_states), np.empty(n_states)
    step = max(1, CHUNK // n_states)
    for first in range(0, n_states, step):
        here = np.arange(first, min(first + step, n_states))
        columns = np.asarray(w @ np.eye(n_states, len(here), -first), dtype=np.float64)
        diagonal[here] = columns[here, here - first]
        columns[here, here - first] = 0.0
        wrong = np.argwhere(~((columns >= 0) & np.isfinite(columns)))
        if wrong.size:
            i, j = wrong[0]
            _complain(i, first + j, columns[i, j])
        out[here] = columns.sum(axis=0)

    def gain_minus_loss(p: np.ndarray) -> np.ndarray:
        p = p.ravel()
        return (w @ p - diagonal * p) - out * p

    return LinearOperator((n_states, n_states), matvec=gain_minus_loss, dtype=np.float64), out


def _check_shape(w) -> None:
    if len(w.shape) != 2 or w.shape[0] != w.shape[1] or not w.shape[0]:
        raise ValueError(f"a matrix of rates must be square, not {' x '.join(map(str, w.shape))}")
    if w.dtype is None or w.dtype.kind not in "biuf":
        raise ValueError(f"a matrix of rates must hold real numbers, not {w.dtype}")


def _complain(i: int, j: int, value: float) -> None:
    raise ValueError(f"the rate from state {j} to state {i}, W[{i}, {j}], is {value:g}; a rate must be finite and >= 0")


def label_states(states, names: Sequence[str] | None, n_states: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """What the indices of N states mean, (N, D), and D names."""
    places = np.arange(n_states)[:, None] if states is None else np.asarray(states)
    places = places[:, None] if places.ndim == 1 else places
    if places.ndim != 2:
        raise ValueError(f"states must be N numbers or N rows of numbers, not an array of shape {places.shape}")
    if places.dtype.kind == "f" and np.any(np.isnan(places)):
        raise ValueError(f"state {int(np.argwhere(np.isnan(places))[0, 0])} is nan; states must be numbers")
    if places.shape[0] != n_states:
        raise ValueError(f"there are {n_states} states in the rates and {places.shape[0]} in states")
    default = ("x",) if places.shape[1] == 1 else tuple(f"x{i + 1}" for i in range(places.shape[1]))
    labels = default if names is None else tuple(names)
    if len(labels) != places.shape[1]:
        raise ValueError(f"states have {places.shape[1]} columns and there are {len(labels)} names")
    if len(set(labels)) < len(labels):
        raise ValueError(f"the columns of states must have different names, not {labels!r}")
    return places, labels


def law_at_start(initial, states: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A start as probabilities (N,), see `Generator.start`."""
    if isinstance(initial, Mapping | tuple) or np.ndim(initial) == 0:
        if isinstance(initial, Mapping) and set(initial) != set(names):
            raise ValueError(f"the initial state must name {', '.join(names)}, not {', '.join(map(str, initial))}")
        wanted = [initial[name] for name in names] if isinstance(initial, Mapping) else np.atleast_1d(initial)
        found = np.flatnonzero(np.all(np.isclose(states, np.asarray(wanted, dtype=np.float64), rtol=1e-12, atol=1e-12), axis=1))
        if found.size != 1:
            raise ValueError(f"the initial state {initial!r} is not one of the {len(states)} states of the generator")
        return np.bincount(found, minlength=len(states)).astype(np.float64)
    p = np.array(initial, dtype=np.float64)
    if p.shape != (len(states),):
        raise ValueError(f"initial must hold {len(states)} probabilities or be one state, not an array of shape {p.shape}")
    if not np.all(p >= 0) or abs(p.sum() - 1) > 1e-9:
        raise ValueError(f"the initial probabilities must be >= 0 and sum to 1; they sum to {p.sum():.12g}")
    return p


def probabilities_on(states: np.ndarray, others: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The probabilities p (K,) of other states (K, D) on the states (N, D) that equal them; `ValueError` if one is none of these."""
    if np.array_equal(states, others):
        return np.array(p, dtype=np.float64)
    own, wanted = (np.ascontiguousarray(each, dtype=np.float64) + 0.0 for each in (states, others[p > 0]))  # no negative zero
    place = {row.tobytes(): n for n, row in enumerate(own)}
    found = [place.get(row.tobytes(), -1) for row in wanted]
    if -1 in found:
        where = wanted[found.index(-1)].tolist()
        raise ValueError(f"the initial distribution has probability at {where}, which is none of the {len(states)} states of the generator")
    out = np.zeros(len(states))
    np.add.at(out, found, p[p > 0])
    return out
