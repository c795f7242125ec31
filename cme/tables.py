"""What all results share: how they are asked for names and times, and how they become tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cme.cells import lattice_edges

if TYPE_CHECKING:
    import pandas as pd


class ResultInTime(ABC):
    """What the results at given times share: names, times, and how they show themselves."""

    times: np.ndarray
    species: tuple[str, ...]
    info: Mapping[str, Any]
    observables: Mapping[str, np.ndarray]
    variables: Mapping[str, np.ndarray] = {}
    cells: np.ndarray | None = None

    def species_index(self, name: str) -> int:
        """The column of a species; `KeyError` that lists the names if there is none."""
        try:
            return self.species.index(name)
        except ValueError:
            known = ", ".join([*self.species, *self.observables, *self.variables])
            raise KeyError(f"no species or observable {name!r}; there are {known}") from None

    def time_index(self, time: float) -> int:
        """The index of a time that was asked for; `KeyError` if it was not."""
        found = np.flatnonzero(np.isclose(self.times, time, rtol=1e-12, atol=0))
        if found.size == 0:
            raise KeyError(f"the result has no time {time:g}; it has {len(self.times)} from {self.times[0]:g} to {self.times[-1]:g}")
        return int(found[0])

    def own_edges(self, name: str, time_index: int, low: float | None = None, high: float | None = None) -> np.ndarray:
        """Edges of the cells of a position at one time, over all its values or from `low` to `high`; cell centres are values."""
        s = self.species_index(name)
        assert self.cells is not None
        values, centre = self._values_and_centre(s, time_index)
        ends = float(values.min()) if low is None else low, float(values.max()) if high is None else high
        return lattice_edges(centre, float(self.cells[s]), *ends)

    def _values_and_centre(self, s: int, time_index: int) -> tuple[np.ndarray, float]:
        raise AssertionError("a result over positions defines its cells")

    @abstractmethod
    def mean(self) -> np.ndarray:
        """Of each species at each time, (T, S)."""

    @abstractmethod
    def sd(self) -> np.ndarray | None:
        """Standard deviation of each species at each time, (T, S); None where it is not known."""

    def summary(self) -> "pd.DataFrame":
        """Mean, standard deviation and Fano factor of each species at each time, a tidy frame with `info` in its attrs."""
        import pandas as pd

        mean, sd = self.mean(), self.sd()
        columns = {
            "time": np.repeat(self.times, len(self.species)),
            "species": list(self.species) * len(self.times),
            "mean": mean.ravel(),
        }
        if sd is not None:
            with np.errstate(divide="ignore", invalid="ignore"):  # the Fano factor of a species that is absent is nan
                columns |= {"sd": sd.ravel()} if self.cells is not None else {"sd": sd.ravel(), "fano": (sd**2 / mean).ravel()}
        return with_info(pd.DataFrame(columns), self.info)

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>" + self.summary().to_html(index=False, max_rows=20)


def free_column(column: str, names: Iterable[str]) -> str:
    """The name of a column, with underscores added if a species has it."""
    while column in names:
        column += "_"
    return column


def with_info(frame: "pd.DataFrame", info: Mapping[str, Any]) -> "pd.DataFrame":
    """The same frame with the record of its solver in `attrs`."""
    frame.attrs.update(info)
    return frame


def span_of(times: np.ndarray) -> str:
    """The times, in a word or two."""
    return f"t = {times[0]:g}" if len(times) == 1 else f"{len(times)} times from {times[0]:g} to {times[-1]:g}"
