"""`FirstPassage`: when a chain first comes to a target, and to which; `Switching`: the rates between sets of states in the long run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cme.tables import free_column, with_info

if TYPE_CHECKING:
    import pandas as pd


class Bounds(NamedTuple):
    """Between these the truth lies."""

    lower: float
    upper: float


class Decay(NamedTuple):
    """How the chance that no target has been met goes to zero in the end: like exp(-rate t)."""

    rate: float
    bounds: Bounds  # on the rate, on the states that are kept
    law: np.ndarray  # (N,) over `states`: where the chain is late, given that it has met no target (the quasi-stationary law)


class Solved(NamedTuple):
    """What a solver leaves behind, to be asked for more."""

    moment: Callable[[int], np.ndarray]  # of the time to each target on the paths that come to it, times their probability, (K,)
    decay: Callable[[], Decay]
    decay_rates: Callable[[int], tuple[np.ndarray, np.ndarray]]  # and their relative errors
    from_states: Callable[[], tuple[np.ndarray, np.ndarray]]


def _whole(k: int) -> int:
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"k must be a whole number >= 1, not {k!r}")
    return int(k)


@dataclass(frozen=True, eq=False, repr=False)
class FirstPassage:
    """The time T of the first passage to one of K targets, and which of them it is.

    Attributes
    ----------
    targets : K names
    probability : (K,)
        The probability that each target is met, and none before. The truth lies in [probability, probability + escaped].
    never : float
        The probability to come where no way leads to a target; the truth lies in [never, never + escaped].
    escaped : float
        The probability of all paths that leave the states that are kept, and are not followed any further.
    excess : float
        What a start that is a `Distribution` may have too much of: the truth may also be below `probability` and `never` by so much.
    certain : bool or None
        Is a target met on all paths (but for less than the tolerance, which escapes)? None: not known, since too much escapes.
    mean_bounds : Bounds
        On the mean of T. Both are infinite if some paths come where no way leads to a target, the upper one also where nothing is known
        of the paths that escape.
    times : (L,)
        The times that were asked for.
    cdf : (L, K)
        The probability that each target was met by each time, and none before. The truth lies in
        [cdf - integration_error, cdf + lost + integration_error].
    density : (L, K)
        The density of T on the paths that come to each target: the derivative of `cdf`.
    lost, integration_error : (L,)
        As in a `Distribution`: what has left the states by then, and a bound on what the integration in time may add.
    species : S names
    states : (N, S)
        The states that are kept, targets left out.
    """

    targets: tuple[str, ...]
    probability: np.ndarray
    never: float
    escaped: float
    excess: float
    certain: bool | None
    mean_bounds: Bounds
    times: np.ndarray
    cdf: np.ndarray
    density: np.ndarray
    lost: np.ndarray
    integration_error: np.ndarray
    species: tuple[str, ...]
    states: np.ndarray
    info: Mapping[str, Any]
    _solved: Solved

    # ------------------------------------------------------------------------------------------------ in the end

    def probability_bounds(self, target: str | None = None) -> Bounds:
        """Bounds on the probability that a target is met before all others (None: that any is met)."""
        if target is None and math.isfinite(self.mean_bounds.upper):  # then it is met for sure
            return Bounds(1.0, 1.0)
        found = float(self.probability.sum()) if target is None else float(self.probability[self.target_index(target)])
        if math.isnan(self.escaped):
            return Bounds(0.0, 1.0)
        return Bounds(max(found - self.excess, 0.0), min(found + self.escaped, 1.0))

    def moment(self, k: int, target: str | None = None) -> float:
        """The k-th moment of T.

        Parameters
        ----------
        k
            A whole number >= 0.
        target
            On the paths that come to this target, and to none before. None: on all paths; infinite if some never come to one, nan if that
            is not known (`certain` is None; see `mean_bounds`).
        """
        if isinstance(k, bool) or int(k) != k or k < 0:
            raise ValueError(f"moments are numbered by whole numbers >= 0, not {k!r}")
        index = None if target is None else self.target_index(target)
        if target is None and not self.certain and k:
            return math.nan if self.certain is None else math.inf
        found, chances = self._solved.moment(int(k)), self._solved.moment(0)
        above, below = (float(found.sum()), float(chances.sum())) if index is None else (float(found[index]), float(chances[index]))
        return above / below if below > 0 else math.nan

    def mean(self, target: str | None = None) -> float:
        """The mean of T, see `moment`."""
        return self.moment(1, target)

    def variance(self, target: str | None = None) -> float:
        """The variance of T, see `moment`."""
        mean, square = self.moment(1, target), self.moment(2, target)
        return square - mean * mean if math.isfinite(square) else square

    def sd(self, target: str | None = None) -> float:
        """The standard deviation of T, see `moment`."""
        return math.sqrt(max(self.variance(target), 0.0))  # a difference of large numbers where hardly any time is left to chance

    def decay(self) -> Decay:
        """The slowest mode: the rate with which the chance that no target has been met decays in the end, and the law then.

        `ConvergenceError` where two modes decay so nearly alike that they can't be told apart, which takes a relative distance of the rates
        of about 1e-7 (on up to 600 states 1e-12; rates nearer than that count as one, and the law is a mixture). Also where the mode
        would leave the states that are kept at more than a thousandth of its rate: then they are too few to tell.
        """
        return self._solved.decay()

    def decay_rates(self, k: int) -> np.ndarray:
        """The k slowest rates at which modes decay before a target is met, of all starts, slowest first.

        There is one more where the last would be half of a complex pair. `decay_rate_errors` says how many digits are known: nine and
        more, but where modes of states that all communicate are nearly one. States that follow on each other for good, at rates as equal
        as may be, are no such case.
        """
        return self._solved.decay_rates(_whole(k))[0]

    def decay_rate_errors(self, k: int) -> np.ndarray:
        """About how far each of `decay_rates` may be off by rounding, as a part of it: its condition number times that of an elimination.

        It is an estimate to first order. From about 1e-3 on, little more is known than where the rates of some modes lie together.
        """
        return self._solved.decay_rates(_whole(k))[1]

    # ----------------------------------------------------------------------------------------------------- in time

    @property
    def survival(self) -> np.ndarray:
        """The probability that no target has been met by each time, as far as it is on the kept states, (L,)."""
        return np.maximum(1.0 - self.cdf.sum(axis=1) - self.lost, 0.0)  # below zero by round-off or the integrator's error

    def cdf_bounds(self, target: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on the probability that a target was met by each time (None: that any was), (L,) each."""
        found = self.cdf.sum(axis=1) if target is None else self.cdf[:, self.target_index(target)]
        return np.maximum(found - self.integration_error, 0.0), np.minimum(found + self.lost + self.integration_error, 1.0)

    def target_index(self, target: str) -> int:
        """The column of a target; `KeyError` that lists the names if there is none."""
        if target not in self.targets:
            raise KeyError(f"there is no target {target!r}; there are {', '.join(map(repr, self.targets))}")
        return self.targets.index(target)

    # ---------------------------------------------------------------------------------------------------- as tables

    def summary(self) -> "pd.DataFrame":
        """A row for each target: its probability with bounds, and mean and standard deviation of the time on the paths that come to it."""
        import pandas as pd

        rows = []
        for name in self.targets:
            low, high = self.probability_bounds(name)
            rows.append((name, low, high, self.mean(name), self.sd(name)))
        return with_info(pd.DataFrame(rows, columns=["target", "probability", "probability_upper", "mean", "sd"]), self.info)

    def to_frame(self) -> "pd.DataFrame":
        """A row for each time and target: the probability that it was met by then, with bounds, and the density of the time."""
        import pandas as pd

        n_times, n_targets = self.cdf.shape
        bounds = [self.cdf_bounds(name) for name in self.targets]
        columns = {
            "time": np.repeat(self.times, n_targets),
            "target": list(self.targets) * n_times,
            "cdf": self.cdf.ravel(),
            "lower": np.array([low for low, _ in bounds]).T.ravel(),
            "upper": np.array([high for _, high in bounds]).T.ravel(),
            "density": self.density.ravel(),
        }
        return with_info(pd.DataFrame(columns), self.info)

    def from_states(self) -> "pd.DataFrame":
        """A row for each kept state: the probability to come from it to each target first, and the mean time on the paths that do.

        From where no way leads to a target the probability is 0 and the mean nan. Both are nan where it takes states that are not kept.
        """
        import pandas as pd

        chances, times = self._solved.from_states()
        columns = {name: self.states[:, s] for s, name in enumerate(self.species)}
        for k, name in enumerate(self.targets):
            columns[free_column(f"P({name})", columns)] = chances[:, k]
        return with_info(pd.DataFrame(columns | {free_column("mean", columns): times}), self.info)

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>" + self.summary().to_html(index=False)

    def __repr__(self) -> str:
        what = self.targets[0] if len(self.targets) == 1 else f"{len(self.targets)} targets"
        low, high = self.probability_bounds()
        chance = f"probability {low:.6g}" if high - low <= 1e-3 * low else f"probability {low:.4g} to {high:.4g}"
        bounds = self.mean_bounds
        if self.certain:
            found = f"mean time {self.mean():.6g}"
        elif math.isfinite(bounds.upper):
            found = f"mean time {bounds.lower:.4g} to {bounds.upper:.4g}"
        else:
            found = f"{chance}, mean time not known" if self.certain is None else f"{chance}, else never"
        return f"FirstPassage to {what}: {found}; {len(self.states)} states, {self.escaped:.1e} escapes; {self.info.get('solver')}"


@dataclass(frozen=True, eq=False, repr=False)
class Switching:
    """How a stationary process switches between K sets of states.

    Attributes
    ----------
    names : K names
    rates : (K, K)
        Row a, column b: the rate of switching from a to b, per unit time in which the process was last in a.
    flux : (K, K)
        How often per unit time the process comes to b, having been last in a.
    share : (K,)
        The probability to have been last in each set; they sum to 1.
    inside : (K,)
        The probability to be in each set.
    change : float
        The largest change of a rate at the last growth of the states, as a part of it: an estimate of the error. 0 if all states are kept.
    """

    names: tuple[str, ...]
    rates: np.ndarray
    flux: np.ndarray
    share: np.ndarray
    inside: np.ndarray
    change: float
    info: Mapping[str, Any]
    _relaxation: Callable[[int], tuple[np.ndarray, np.ndarray]]

    def relaxation_rates(self, k: int) -> np.ndarray:
        """The k slowest rates at which laws relax to the stationary one, on the states that are kept; see `FirstPassage.decay_rates`."""
        return self._relaxation(_whole(k))[0]

    def relaxation_rate_errors(self, k: int) -> np.ndarray:
        """About how far each of these may be off by rounding, as a part of it; see `FirstPassage.decay_rate_errors`."""
        return self._relaxation(_whole(k))[1]

    def rate(self, start: str, goal: str) -> float:
        """The rate of switching from one set to another."""
        for name in (start, goal):
            if name not in self.names:
                raise KeyError(f"there is no set {name!r}; there are {', '.join(map(repr, self.names))}")
        return float(self.rates[self.names.index(start), self.names.index(goal)])

    def to_frame(self) -> "pd.DataFrame":
        """A row for each pair of sets: the rate, its inverse as a time, and how often the process switches per unit time."""
        import pandas as pd

        pairs = [(a, b) for a in range(len(self.names)) for b in range(len(self.names)) if a != b]
        with np.errstate(divide="ignore"):
            rows = [(self.names[a], self.names[b], self.rates[a, b], 1 / self.rates[a, b], self.flux[a, b]) for a, b in pairs]
        return with_info(pd.DataFrame(rows, columns=["from", "to", "rate", "time", "flux"]), self.info)

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>" + self.to_frame().to_html(index=False)

    def __repr__(self) -> str:
        pairs = [(a, b) for a in range(len(self.names)) for b in range(len(self.names)) if a != b and self.rates[a, b] > 0]
        found = ", ".join(f"{self.names[a]} to {self.names[b]} {self.rates[a, b]:.6g}" for a, b in pairs[:4])
        return f"Switching: {found}{', ...' if len(pairs) > 4 else ''}; {self.info.get('states')} states; {self.info.get('solver')}"
