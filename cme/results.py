"""The three results: `Trajectories` (random paths), `Distribution` (probabilities of states), `Moments` (mean and covariance).

All are frozen, carry their own error and an `info` record, know no solver, and give pandas tables. Letters: M paths, T times,
S species, N states. Times and rates are in the model's time unit, counts in molecules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cme.cells import (
    Cells,
    Marginal,
    count_points,
    counted_points,
    gaussian_marginal,
    integer_cells,
    kept_sd,
    sampled_marginal,
    shifted,
    single_counts,
    spread_points,
)
from cme.tables import ResultInTime, free_column, span_of, with_info

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Trajectories(ResultInTime):
    """Random paths sampled at given times.

    Attributes
    ----------
    times : (T,)
    species : S names
    counts : (M, T, S)
        Whole numbers from `ssa` (as float64 where rules and events may set any number), real numbers from `langevin`.
    events : M pairs (times, reactions), or None
        Every reaction of every path, if it was asked for: when, and which.
    coarse : Trajectories or None
        The first paths again at twice the time step, on the same noise: what the step costs.
    cells : (S,) or None
        For positions on a line: widths of the cells on which their laws are compared. None for amounts, which go on integer cells.
    stopped : (M,) or None
        When each path met its `stop` condition; inf if it has not by the last time.
    """

    times: np.ndarray
    species: tuple[str, ...]
    counts: np.ndarray
    info: Mapping[str, Any]
    observables: Mapping[str, np.ndarray] = field(default_factory=dict)
    events: tuple[tuple[np.ndarray, np.ndarray], ...] | None = None
    event_counts: tuple[np.ndarray, ...] | None = None
    coarse: "Trajectories | None" = None
    cells: np.ndarray | None = None
    stopped: np.ndarray | None = None

    @property
    def n_paths(self) -> int:
        return self.counts.shape[0]

    def __getitem__(self, name: str) -> np.ndarray:
        """One species or observable on every path, (M, T)."""
        return self.observables[name] if name in self.observables else self.counts[:, :, self.species_index(name)]

    def mean(self) -> np.ndarray:
        """(T, S)."""
        return self.counts.mean(axis=0)

    def sd(self) -> np.ndarray:
        """Standard deviation with M - 1 in the denominator, (T, S); nan for a single path."""
        if self.n_paths < 2:
            return np.full(self.counts.shape[1:], np.nan)
        return shifted(self.counts).std(axis=0, ddof=1)

    def standard_error(self) -> np.ndarray:
        """Standard error of the mean, (T, S)."""
        return self.sd() / np.sqrt(self.n_paths)

    def marginal(self, name: str, time_index: int, edges: np.ndarray | None = None) -> Marginal:
        """The empirical law of a species or observable at one time, on the counts met; that of a position on its own, or given, cells."""
        if edges is None and self.cells is not None and name in self.species:
            edges = self.own_edges(name, time_index)
        return sampled_marginal(self[name][:, time_index], edges)

    def _values_and_centre(self, s: int, time_index: int) -> tuple[np.ndarray, float]:
        values = self.counts[:, time_index, s]
        return values, float(values[0])

    def first(self, n_paths: int) -> "Trajectories":
        """The first paths alone."""
        observables = {name: value[:n_paths] for name, value in self.observables.items()}
        return Trajectories(self.times, self.species, self.counts[:n_paths], self.info, observables, cells=self.cells)

    def to_frame(self, tidy: bool = False) -> "pd.DataFrame":
        """A frame with index (path, time) and a column per species; with `tidy`, columns path, time, species, count.

        Where a species is named path or time, that level of the index is named path_ or time_.
        """
        import pandas as pd

        taken = (*self.species, *self.observables)
        index = pd.MultiIndex.from_product([range(self.n_paths), self.times], names=[free_column(each, taken) for each in ("path", "time")])
        columns = {name: self[name].ravel() for name in taken}
        frame = with_info(pd.DataFrame(columns, index=index), self.info)
        if tidy:
            frame = frame.melt(ignore_index=False, var_name="species", value_name="count").reset_index()
        return with_info(frame, self.info)

    def events_frame(self) -> "pd.DataFrame":
        """Every event: index (path, time), the reaction's index and the counts just after it."""
        import pandas as pd

        if self.events is None or self.event_counts is None:
            raise ValueError("the events were not kept; call ssa(..., every_event=True)")
        names = [free_column(each, self.species) for each in ("path", "time")]
        path = np.repeat(np.arange(self.n_paths), [len(when) for when, _ in self.events])
        index = pd.MultiIndex.from_arrays([path, np.concatenate([when for when, _ in self.events])], names=names)
        counts = np.concatenate(self.event_counts)
        columns = {free_column("reaction", self.species): np.concatenate([which for _, which in self.events])}
        columns |= {name: counts[:, s] for s, name in enumerate(self.species)}
        return with_info(pd.DataFrame(columns, index=index), self.info)

    def __repr__(self) -> str:
        return f"Trajectories: {self.n_paths} paths of {', '.join(self.species)}; {span_of(self.times)}; {self.info.get('solver')}"


@dataclass(frozen=True, eq=False, repr=False)
class Distribution(ResultInTime):
    """Probabilities of states.

    Attributes
    ----------
    times : (T,)
        Infinity for a stationary law.
    species : S names
    states : (N, S)
        Counts; for a density on a grid, the centres of the cells.
    p : (T, N)
        Probabilities, never renormalised. Over counts the truth lies in [p, p + lost], up to the integrator's error.
    lost : (T,)
        The probability that is not on the states: what has left them, was never on them, or was dropped.
    integration_error : (T,)
        A bound on what the time integrator may have added, in the 1-norm.
    widths : (S,) or None
        The largest widths of the cells of a density; None for counts.
    coarse : Distribution or None
        The same density on cells of twice the width: what the grid costs.
    nodes_on_edge : bool
        The outermost centres lie on the edge of the domain of a density, so that only half of their cells is inside.
    cells : (S,) or None
        For positions on a line (any sign, no counts): widths of the cells on which their laws are compared, usually `widths`. None for
        amounts, which go on integer cells.
    observables
        Values of rules in each state, (N,), or (T, N) where they move with time.
    floor : (T, N) or None
        Lower bounds of the probabilities, where these are not p less `integration_error` (certified stationary laws).
    variables
        What moves with time, whatever the counts are, (T,).
    """

    times: np.ndarray
    species: tuple[str, ...]
    states: np.ndarray
    p: np.ndarray
    lost: np.ndarray
    integration_error: np.ndarray
    info: Mapping[str, Any]
    observables: Mapping[str, np.ndarray] = field(default_factory=dict)
    widths: np.ndarray | None = None
    coarse: "Distribution | None" = None
    nodes_on_edge: bool = False
    cells: np.ndarray | None = None
    variables: Mapping[str, np.ndarray] = field(default_factory=dict)
    floor: np.ndarray | None = None

    @property
    def error_bound(self) -> np.ndarray:
        """A bound on the 1-norm error over all states, (T,): what was lost, plus what the integrator may have added."""
        return self.lost + self.integration_error

    @property
    def lack_and_excess(self) -> tuple[float, float]:
        """How much the law at the last time may have too little and too much, where it is the start of something else; nan if not known.

        Together they are the bound on its 1-norm error, and they differ by what its sum has below 1.
        """
        bound = np.maximum(self.error_bound[-1], 0.0)
        gap = np.clip(1.0 - self.p[-1].sum(), -bound, bound)  # beyond the bound by round-off alone
        return float((bound + gap) / 2), float((bound - gap) / 2)

    def values(self, name: str, time_index: int) -> np.ndarray:
        """What a species, observable or variable is in each state at one time, (N,)."""
        if name in self.variables:
            return np.full(len(self.states), self.variables[name][time_index])
        if name in self.observables:
            values = self.observables[name]
            return values[time_index] if values.ndim == 2 else values
        return self.states[:, self.species_index(name)]

    def __getitem__(self, name: str) -> np.ndarray:
        """The marginal of a species or observable on the counts 0, 1, ..., (T, K); of a position, on its values from low to high.

        A variable that moves with time, whatever the counts are, is given as it is, (T,).
        """
        if name in self.variables:
            return self.variables[name]
        if self.cells is not None and name in self.species:
            _, slot = np.unique(self.values(name, 0), return_inverse=True)
            return np.array([np.bincount(slot, weights=p) for p in self.p])
        marginals = [self.marginal(name, t).p for t in range(len(self.times))]
        out = np.zeros((len(marginals), max(len(p) for p in marginals)))
        for row, p in zip(out, marginals, strict=True):
            row[: len(p)] = p
        return out

    def bounds(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of the marginal of a species or observable on the counts 0, 1, ..., two (T, K).

        What is not known to lie anywhere may lie on any count. `ValueError` for a density, or where only an estimate of `lost` is known.

        Examples
        --------
        >>> import cme, math
        >>> lower, upper = cme.stationary(cme.parse("0 -> X @ 2; X -> 0 @ 1")).bounds("X")  # Poisson with mean 2
        >>> bool(lower[0, 3] <= math.exp(-2) * 2**3 / 6 <= upper[0, 3] < lower[0, 3] + 1e-6)
        True
        """
        known = str(self.info.get("certificate", "certified"))
        if self.widths is not None or not np.all(np.isfinite(self.lost)) or known.startswith("estimate"):
            raise ValueError(
                f"there are no bounds of this law; {known if known.startswith('estimate') else 'how far it is off is not known'}"
            )
        sure = self if self.floor is None else replace(self, p=self.floor, floor=None)
        missing, slack = 1 - sure.p.sum(axis=1), self.integration_error
        marginal = sure[name]
        return np.maximum(marginal - slack[:, None], 0.0), np.minimum(marginal + (missing + slack)[:, None], 1.0)

    def mean(self) -> np.ndarray:
        """Mean over the kept states, (T, S)."""
        return self.p @ self.states

    def covariance(self) -> np.ndarray:
        """Covariance over the kept states, (T, S, S)."""
        out = []
        for p in self.p:
            centred = self._centred(p)
            out.append((centred * p[:, None]).T @ centred)
        return np.array(out)

    def sd(self) -> np.ndarray:
        """Standard deviation over the kept states, (T, S)."""
        return np.sqrt(np.array([p @ self._centred(p) ** 2 for p in self.p]))

    def _centred(self, p: np.ndarray) -> np.ndarray:
        """The states less the mean of what is kept, (N, S): what was lost is no mass at zero."""
        off = self.states - self.states[np.argmax(p)]
        return off - p @ off / (p.sum() or 1.0)

    def probability(self, predicate) -> np.ndarray:
        """Probability of an event, (T,).

        Parameters
        ----------
        predicate
            A function of one array per species, in order, that returns a boolean array; for example ``lambda U, V: U > V``.
        """
        return self.p @ np.asarray(predicate(*self.states.T), dtype=np.float64)

    def marginal(self, name: str, time_index: int, edges: np.ndarray | None = None, at: Cells | None = None) -> Marginal:
        """The law of a species or observable at one time, on integer cells; that of a position on its own, or given, cells.

        A density that reaches over very many counts is taken in blocks of them, of which none reaches over a block of `at`.
        """
        values, p = self.values(name, time_index), self.p[time_index]
        mean, sd = float(p @ values), kept_sd(values, p)
        if edges is None and self.cells is not None and name in self.species:
            edges = self.own_edges(name, time_index)
        if edges is not None:
            return Marginal(single_counts(self._on_cells(name, time_index, edges)), float(p[values < 0].sum()), mean, sd, edges)
        if self.widths is None:
            if np.any(values != np.round(values)) or values.min() < 0:
                raise ValueError(f"{name!r} takes values that are no counts; use its values and p directly")
            return Marginal(counted_points(values, p), 0.0, mean, sd)
        cells, negative = integer_cells(values, p, self.nodes_on_edge, at)
        return Marginal(cells, negative, mean, sd)

    def _values_and_centre(self, s: int, time_index: int) -> tuple[np.ndarray, float]:
        values = self.states[:, s]
        return values, float(values[np.argmax(self.p[time_index])])

    def _on_cells(self, name: str, time_index: int, edges: np.ndarray) -> np.ndarray:
        values, p = self.values(name, time_index), self.p[time_index]
        if self.widths is None or name not in self.species:
            return count_points(values, edges, p)
        if self.cells is not None:  # a walk's law is zero on the sites of the other parity: they are no cells of it
            own = self.own_edges(name, time_index)
            place = (values - own[0]) / (own[1] - own[0]) - 0.5
            kept = (p > 0) | (np.abs(place - np.round(place)) < 1e-6)
            values, p = values[kept], p[kept]
        return spread_points(values, p, float(self.widths[self.species_index(name)]), edges, self.nodes_on_edge)

    def to_frame(self, drop_below: float = 0.0) -> "pd.DataFrame":
        """A frame with columns time, one per species, p; without the rows whose p is not above `drop_below`.

        Where a species is named time or p, the column of that meaning is named time_ or p_.
        """
        import pandas as pd

        t, n = np.nonzero(self.p > drop_below)
        columns = {free_column("time", self.species): self.times[t]} | {name: self.states[n, s] for s, name in enumerate(self.species)}
        return with_info(pd.DataFrame(columns | {free_column("p", self.species): self.p[t, n]}), self.info)

    def __repr__(self) -> str:
        kind = "states" if self.widths is None else "cells"
        lost = f"; lost {self.lost.max():.1e}" if self.widths is None else ""
        where = f"{len(self.states)} {kind}; {span_of(self.times)}{lost}"
        return f"Distribution of {', '.join(self.species)} on {where}; {self.info.get('solver')}"


@dataclass(frozen=True, eq=False, repr=False)
class Moments(ResultInTime):
    """Mean and covariance; as a law, the Gaussian that has them.

    Attributes
    ----------
    times : (T,)
        Infinity for a stationary law.
    means : (T, S)
    covariance : (T, S, S) or None
        None where a solver gives means alone (`rate_equations`).
    """

    times: np.ndarray
    species: tuple[str, ...]
    means: np.ndarray
    covariance: np.ndarray | None
    info: Mapping[str, Any]
    observables: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """The mean of a species, or an observable evaluated at the mean, (T,)."""
        return self.observables[name] if name in self.observables else self.means[:, self.species_index(name)]

    def mean(self) -> np.ndarray:
        """(T, S)."""
        return self.means

    def sd(self) -> np.ndarray | None:
        """(T, S), or None without covariance."""
        if self.covariance is None:
            return None
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def marginal(self, name: str, time_index: int, edges: np.ndarray | None = None, at: Cells | None = None) -> Marginal:
        """The Gaussian law of a species at one time, on integer cells, or on those of a position, of which the outermost take all beyond.

        The logarithms in its cells do not underflow however far the tail. It reaches to twelve standard deviations and over all counts
        of `at`; over very many counts it is taken in blocks of them, of which none reaches over a block of `at`.
        """
        return gaussian_marginal(*self._mean_and_sd(name, time_index), edges, at)

    def _mean_and_sd(self, name: str, time_index: int) -> tuple[float, float]:
        sd = self.sd()
        if sd is None:
            raise ValueError(f"{self.info.get('solver')} gives means alone, not a law; use lna, langevin or fokker_planck")
        s = self.species_index(name)
        return float(self.means[time_index, s]), float(sd[time_index, s])

    def to_frame(self) -> "pd.DataFrame":
        """The same as `summary`."""
        return self.summary()

    def __repr__(self) -> str:
        what = "Mean" if self.covariance is None else "Mean and covariance"
        return f"Moments: {what.lower()} of {', '.join(self.species)}; {span_of(self.times)}; {self.info.get('solver')}"
