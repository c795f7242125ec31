"""`RelativeProbability`: what random walks say of phi and of P = xi phi, with standard errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cme.results import Distribution

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class RelativeProbability:
    """The relative probability phi and the probability P = xi phi on the sites of a walk, each with its standard error.

    Attributes
    ----------
    times : (T,)
    x : (N,)
        Sites at a distance of ds, or of 2 ds if a walk is on every second of them at all times.
    phi, phi_error : (T, N)
        phi in cells of width 2 ds around the sites; those of the other parity hold 0.
    p, p_error : (T, N)
        xi phi times the width of a cell: probabilities.
    mass, mass_error : (T,)
        The integral of P, which (12) keeps at 1.
    relative_mass, relative_mass_error : (T,)
        The integral of phi, which nothing keeps.
    effective_paths : (T,)
        Kish's effective sample size, (sum w)^2 / sum w^2 of the weights that make phi; for branching, the weight of a path is that of all
        its descendants. Infinite for the sum over all walks.
    """

    times: np.ndarray
    x: np.ndarray
    phi: np.ndarray
    phi_error: np.ndarray
    p: np.ndarray
    p_error: np.ndarray
    mass: np.ndarray
    mass_error: np.ndarray
    relative_mass: np.ndarray
    relative_mass_error: np.ndarray
    effective_paths: np.ndarray
    width: float
    info: Mapping[str, Any]

    def distribution(self) -> Distribution:
        """P as a `Distribution`, for `compare`.

        Its `integration_error` is twice the sum of the standard errors of all sites: the 1-norm of what sampling has added is less, but
        for a chance of a few per cent. Sites that no path has reached add nothing to it.
        """
        none, width = np.zeros(len(self.times)), np.array([self.width])
        sampling = 2 * self.p_error.sum(axis=1)
        return Distribution(self.times, ("x",), self.x[:, None], self.p, none, sampling, self.info, widths=width, cells=width)

    def summary(self) -> "pd.DataFrame":
        """What is conserved and what is not: a row for each time."""
        import pandas as pd

        columns = ("mass", "mass_error", "relative_mass", "relative_mass_error", "effective_paths")
        frame = pd.DataFrame({"time": self.times} | {name: getattr(self, name) for name in columns})
        frame.attrs.update(self.info)
        return frame

    def to_frame(self) -> "pd.DataFrame":
        """Columns time, x, phi, phi_error, p, p_error; the sites where phi is not 0."""
        import pandas as pd

        t, n = np.nonzero(self.phi)
        columns = {name: getattr(self, name)[t, n] for name in ("phi", "phi_error", "p", "p_error")}
        frame = pd.DataFrame({"time": self.times[t], "x": self.x[n]} | columns)
        frame.attrs.update(self.info)
        return frame

    def __repr__(self) -> str:
        last = f"integral of P {self.mass[-1]:.5g} +- {self.mass_error[-1]:.1g}"
        return f"RelativeProbability on {len(self.x)} sites by {self.info['method']}; {last} at t = {self.times[-1]:g}"
