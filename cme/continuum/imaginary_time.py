"""The Schrödinger equation in imaginary time (19) on a grid: by eigenfunctions, or step by step."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal, solve_banded

from cme.continuum.drift import Quadrature
from cme.errors import ConvergenceError

if TYPE_CHECKING:
    from cme.continuum.schrodinger import SchrodingerForm

ROUNDING = 1e-15
FIRST_STEPS, MOST_DOUBLINGS = 32, 10


class Operator(NamedTuple):
    """(alpha/2) d2/dx2 + V/alpha on nodes (N,) at a distance h: a symmetric tridiagonal matrix; and S/alpha on the nodes."""

    nodes: np.ndarray
    diagonal: np.ndarray
    beside: float
    s: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A form on a grid, with a start."""

    form: "SchrodingerForm"
    n_cells: int
    start: float

    @cached_property
    def start_operator(self) -> Operator:
        return self.form.operator(self.n_cells)

    @property
    def h(self) -> float:
        return float(self.start_operator.nodes[1] - self.start_operator.nodes[0])

    @cached_property
    def p0(self) -> np.ndarray:
        """The start on the two nodes around, so that its mean is right."""
        nodes, p = self.start_operator.nodes, np.zeros(self.n_cells - 1)
        place = (self.start - nodes[0]) / self.h
        if not 0 <= place <= len(nodes) - 1:
            raise ValueError(
                f"the start {self.start:g} must lie inside the domain, from {nodes[0]:g} to {nodes[-1]:g} on {self.n_cells} cells"
            )
        left = min(int(place + 1e-9), len(nodes) - 2)
        p[left + 1] = max(place - left, 0.0)
        p[left] = 1.0 - p[left + 1]
        return p

    @cached_property
    def _phi0(self) -> tuple[float, np.ndarray]:
        """The logarithm of a factor that keeps phi in range, and phi at the start times the factor."""
        s, held = self.start_operator.s, self.p0 > 0
        shift = float(s[held].max())
        phi0 = np.zeros(len(s))
        phi0[held] = self.p0[held] * np.exp(shift - s[held])
        return shift, phi0

    def by_eigenfunctions(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P (T, N) and a bound on its round-off (T,)."""
        _, diagonal, beside, s = self.start_operator
        values, vectors = eigh_tridiagonal(diagonal, np.full(len(s) - 1, beside))
        shift, phi0 = self._phi0
        phi = (np.exp(values * times[:, None]) * (vectors.T @ phi0)) @ vectors.T
        xi = np.exp(s - shift)
        error = np.full(len(times), ROUNDING * np.linalg.norm(xi) * np.linalg.norm(phi0))
        p = xi * phi
        error += np.maximum(-p, 0).sum(axis=1)
        p[times == 0] = self.p0
        return np.maximum(p, 0.0), error

    def by_steps(self, times: np.ndarray, tol: float) -> tuple[np.ndarray, np.ndarray]:
        """P (T, N) and its estimated error (T,), by TR-BDF2 with ever more steps, extrapolated."""
        above: list[np.ndarray] = []
        for doubling in range(MOST_DOUBLINGS + 1):
            row = [self._march(times, FIRST_STEPS * 2**doubling)]
            for order, less in enumerate(above[:3], start=2):  # the error holds all powers of the step from the second on
                row.append(row[-1] + (row[-1] - less) / (2.0**order - 1.0))
            if doubling > 1:
                changes = np.abs(row[-1] - row[-2]).sum(axis=1), np.abs(row[-1] - above[-1]).sum(axis=1) / 8  # of third order or better
                error = np.maximum(*changes)
                if error.max() <= tol / 2:
                    error += np.maximum(-row[-1], 0).sum(axis=1) + ROUNDING * FIRST_STEPS * 2**doubling + self._rounding(times)
                    return np.maximum(row[-1], 0.0), error
                if not np.all(np.isfinite(error)):
                    break
            above = row
        raise ConvergenceError(
            f"after {FIRST_STEPS * 2**MOST_DOUBLINGS} steps the law still changes by {error.max():.1e}, more than tol={tol:g}; "
            "loosen tol or ask for later times"
        )

    def _march(self, times: np.ndarray, n_steps: int) -> np.ndarray:
        """All times by n_steps or a little more, short ones at first, where the law is sharp."""
        operator = self._at(0.0)
        shift, phi = self._phi0
        out = []
        for before, time in pairwise([0.0, *times.tolist()]):
            if time > before:
                n = int(np.ceil(FIRST_STEPS * (time - before) / times[-1])) * (n_steps // FIRST_STEPS)
                grid = np.linspace(0.0, 1.0, n + 1)
                for now, then in pairwise(before + (time - before) * (grid**2 if before == 0 else grid)):
                    phi, operator = self._step(phi, operator, now, then)
            with np.errstate(over="ignore", invalid="ignore"):
                out.append(phi * np.exp(operator.s - shift))
        return np.array(out)

    def _rounding(self, times: np.ndarray) -> np.ndarray:
        """What rounding of phi may become in P = xi phi, (T,)."""
        shift, phi0 = self._phi0
        with np.errstate(over="ignore"):
            xi = [np.linalg.norm(np.exp(self._at(t).s - shift)) for t in times.tolist()]
        return ROUNDING * np.linalg.norm(phi0) * np.array(xi)

    def _step(self, phi: np.ndarray, operator: Operator, now: float, then: float) -> tuple[np.ndarray, Operator]:
        """One step of TR-BDF2: the trapezoidal rule to a point inside, then the second backward difference."""
        gamma, dt = 2.0 - np.sqrt(2.0), then - now
        inside, end = self._at(now + gamma * dt), self._at(then)
        middle = _solve(inside, gamma * dt / 2, phi + gamma * dt / 2 * _apply(operator, phi))
        right = (middle - (1 - gamma) ** 2 * phi) / (gamma * (2 - gamma))
        return _solve(end, (1 - gamma) / (2 - gamma) * dt, right), end

    def _at(self, t: float) -> Operator:
        """The operator at a time, the integral of p_t included."""
        if self.form.static:
            return self.start_operator
        edges, quadrature = self.quadrature
        operator = self.form.operator_from(edges, self.form.action(edges, t, quadrature))
        rate = self.form.action_rate(edges, t, quadrature)[1:-1]
        return operator._replace(diagonal=operator.diagonal - rate / self.form.alpha)

    @cached_property
    def quadrature(self) -> tuple[np.ndarray, Quadrature]:
        edges = self.form.edges(self.n_cells)
        return edges, Quadrature(edges, self.form.reference)


def _apply(operator: Operator, phi: np.ndarray) -> np.ndarray:
    out = operator.diagonal * phi
    out[1:] += operator.beside * phi[:-1]
    out[:-1] += operator.beside * phi[1:]
    return out


def _solve(operator: Operator, c: float, right: np.ndarray) -> np.ndarray:
    """Solve (I - c M) y = right."""
    bands = np.full((3, len(right)), -c * operator.beside)
    bands[1] = 1.0 - c * operator.diagonal
    return solve_banded((1, 1), bands, right, check_finite=False)
