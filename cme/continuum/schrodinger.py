"""`SchrodingerForm`: the Fokker-Planck equation of a line as a Schrödinger equation in imaginary time, and its solution in that form.

Equation numbers are those of the essay that this follows (https://kexue.fm/archives/3750).
"""

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal

from cme.arguments import check_choice, check_count, check_number, check_positive, check_times, record
from cme.continuum.drift import Quadrature, check_drift, derivative, describe, evaluate_drift, moves
from cme.continuum.imaginary_time import Operator, Problem
from cme.errors import ConvergenceError
from cme.results import Distribution


class Spectrum(NamedTuple):
    """Eigenvalues (k,) of the Fokker-Planck operator from the largest on; eigenfunctions (k, N) of its symmetric form on nodes (N,)."""

    values: np.ndarray
    functions: np.ndarray
    nodes: np.ndarray


@dataclass(frozen=True)
class SchrodingerForm:
    r"""Write P = xi phi, so that the Fokker-Planck equation (12) with drift p becomes (19) for the relative probability phi.

    .. math::

        \alpha \phi_t = \tfrac{\alpha^2}{2} \phi_{xx} + V \phi, \qquad
        \xi = e^{S/\alpha}, \quad S = \int_{x_0}^x p\, dx', \quad V = -\tfrac12 (\alpha p_x + p^2) - \int_{x_0}^x p_t\, dx'

    These are (19), (17) and (18): a Schrödinger equation in imaginary time with hbar = alpha, mass 1 and the potential energy -V. Both
    integrals start from the same point x_0, `reference`. Another one multiplies phi by a function of time and leaves P as it is.

    Parameters
    ----------
    drift
        p: a number, or a function p(x) or p(x, t) of an array x and a number t. One that takes a time is taken to change in time.
    alpha
        The noise strength, a constant above 0; alpha / 2 is the diffusion coefficient.
    reference
        x_0, inside the domain.
    domain
        Where the equation holds; phi = 0 at its ends (what gets there is lost). `law` and `spectrum` need finite ends.
    drift_derivative
        p_x(x) or p_x(x, t), if you have it. Otherwise it is taken by finite differences, shorter and shorter until they agree with those
        over half the step, and there is an error where they don't.
    drift_integral
        An integral of p over x, as a function of x or of x and t, if you have it. Otherwise p is integrated numerically to 1e-11.

    References
    ----------
    Risken, The Fokker-Planck Equation (1996), section 5.4, doi:10.1007/978-3-642-61544-3.
    Gardiner, Stochastic Methods (2009), section 5.2.

    Examples
    --------
    The Ornstein-Uhlenbeck process p = -x becomes the harmonic oscillator, V = (1 - x^2) / 2; its rates of relaxation are 0, 1, 2, ...

    >>> import cme
    >>> form = cme.SchrodingerForm(lambda x: -x, alpha=1.0, domain=(-7, 7))
    >>> float(form.V(2.0).round(6))
    -1.5
    >>> (form.spectrum(3).values + 0.0).round(2).tolist()
    [-0.0, -1.0, -2.0]
    """

    drift: float | Callable
    alpha: float
    reference: float = 0.0
    domain: tuple[float, float] = (-np.inf, np.inf)
    drift_derivative: Callable | None = None
    drift_integral: Callable | None = None

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)
        check_drift(self.drift)
        low, high = self.domain
        if not low < self.reference < high:
            raise ValueError(f"the reference {self.reference:g} must lie inside the domain from {low:g} to {high:g}")
        self.check_integral(0.0)

    def check_integral(self, t: float) -> None:
        """Refuse a `drift_integral` that does not grow as the drift says at the reference, at a time."""
        if self.drift_integral is None:
            return
        here = np.array([self.reference])
        p = evaluate_drift(self.drift, here, t)
        found = derivative(lambda h: self.action(here + h, t), 0.0, np.abs(p))
        if not np.all(np.abs(found - p) <= 1e-4 * (np.abs(p) + self.alpha)):
            raise ValueError(
                f"drift_integral grows by {found[0]:.6g} per unit of x at x = {self.reference:g}, t = {t:g}, where the drift is "
                f"{p[0]:.6g}; it must be the integral of the drift over x"
            )

    @property
    def static(self) -> bool:
        """Does the drift not depend on time?"""
        return not moves(self.drift)

    # ---------------------------------------------------------------------------------------------- xi and V

    def action(self, x, t: float = 0.0, quadrature: Quadrature | None = None) -> np.ndarray:
        """S(x, t), the integral of the drift from the reference to x, in the shape of x; a `quadrature` for these x may be used again."""
        x = np.asarray(x, dtype=np.float64)
        if self.drift_integral is not None:
            with np.errstate(divide="ignore"):  # log(0) at an end of the domain
                return self._integral(x, t) - self._integral(np.float64(self.reference), t)
        if not callable(self.drift):
            return self.drift * (x - self.reference)
        quadrature = quadrature or Quadrature(x, self.reference)
        return quadrature.integrate(lambda y: evaluate_drift(self.drift, y, t), 1e-11, self.alpha)

    def _integral(self, x: np.ndarray | np.float64, t: float) -> np.ndarray:
        integral = self.drift_integral
        assert integral is not None
        return np.asarray(integral(x, t) if moves(integral) else integral(x), dtype=np.float64)

    def xi(self, x, t: float = 0.0) -> np.ndarray:
        """The factor in P = xi phi (17): exp(S / alpha), 1 at the reference."""
        return np.exp(self.action(x, t) / self.alpha)

    def V(self, x, t: float = 0.0, *, strict: bool = True) -> np.ndarray:
        """The function V of (18) at x and t, in the shape of x.

        Parameters
        ----------
        x, t
            Positions, and a time.
        strict
            If the drift is too rough for finite differences at some x, raise; otherwise V is not a number there.

        Raises
        ------
        ConvergenceError
            If the drift is too rough.
        """
        x = np.asarray(x, dtype=np.float64)
        return self.static_part(x, t, strict=strict) - self.action_rate(x, t)

    def static_part(self, x: np.ndarray, t: float, *, strict: bool = True) -> np.ndarray:
        """V without the integral of p_t: -(alpha p_x + p^2) / 2."""
        flat = np.ravel(x)
        p = evaluate_drift(self.drift, flat, t)
        if not callable(self.drift):
            gradient = np.zeros_like(flat)
        elif self.drift_derivative is not None:
            gradient = evaluate_drift(self.drift_derivative, flat, t)
        else:
            gradient = derivative(
                lambda h: evaluate_drift(self.drift, flat + h, t), float(np.abs(flat).max(initial=0.0)), p**2 / self.alpha
            )
            rough = np.flatnonzero(np.isnan(gradient))
            if rough.size and strict:
                raise ConvergenceError(
                    f"the drift is too rough for its derivative at x = {flat[rough[0]]:g}, t = {t:g}: its differences do not settle; "
                    "give drift_derivative"
                )
        return (-(self.alpha * gradient + p**2) / 2).reshape(np.shape(x))

    def action_rate(self, x: np.ndarray, t: float, quadrature: Quadrature | None = None) -> np.ndarray:
        """S_t, the integral of p_t from the reference to x."""
        if self.static:
            return np.zeros_like(x)

        def rate(function: Callable[[float], np.ndarray]) -> np.ndarray:
            """Its derivative by time; the drift need not exist before time 0."""
            found = derivative(lambda h: function(t + h), t, 0.0, room=t)
            if np.any(np.isnan(found)):
                raise ConvergenceError(f"the drift is too rough in time at t = {t:g} for its rate of change; smooth it")
            return found

        if self.drift_integral is not None:
            return rate(lambda later: self.action(x, later))
        quadrature = quadrature or Quadrature(x, self.reference)
        return quadrature.integrate(lambda y: rate(lambda later: evaluate_drift(self.drift, y, later)), 1e-9, self.alpha)

    # ------------------------------------------------------------------------------------ the symmetric operator

    def operator(self, n_cells: int = 400, time: float = 0.0) -> Operator:
        """The right side of (19) over alpha, (alpha/2) d2/dx2 + V/alpha, as a symmetric tridiagonal matrix on n_cells - 1 nodes.

        The static part of V is taken as -(alpha^2/2) xi''/xi with second differences of xi, which is (18) up to terms of order h^2, needs
        no derivative of the drift, and makes xi times the matrix over xi a master equation: P loses no probability but at the ends.
        """
        edges = self.edges(n_cells)
        return self.operator_from(edges, self.action(edges, time))

    def edges(self, n_cells: int) -> np.ndarray:
        """The ends of the domain and the nodes between them."""
        n_cells = check_count("n_cells", n_cells, 4)
        low, high = self.domain
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"the domain from {low:g} to {high:g} is infinite; give SchrodingerForm(..., domain=(low, high)) for a grid")
        return np.linspace(low, high, n_cells + 1)

    def operator_from(self, edges: np.ndarray, action: np.ndarray) -> Operator:
        """The static part, from S on the nodes and ends."""
        h, s = float(edges[1] - edges[0]), action / self.alpha
        up, down = np.exp(s[2:] - s[1:-1]), np.exp(s[:-2] - s[1:-1])
        beside = self.alpha / (2 * h**2)
        return Operator(edges[1:-1], -beside * (up + down), beside, s[1:-1])

    def spectrum(self, k: int = 10, *, n_cells: int = 400, time: float = 0.0) -> Spectrum:
        """Compute the k largest eigenvalues of the Fokker-Planck operator at a fixed time, and the eigenfunctions of its symmetric form.

        The operator of (12) and that of (19) have the same eigenvalues, since P = xi phi; the second is symmetric. For a confining drift
        the first eigenvalue is 0, its eigenfunction times xi is the stationary density, and the next are minus the rates of relaxation.

        Parameters
        ----------
        k
            How many.
        n_cells
            The domain is cut into so many cells; errors are of second order in their width.
        time
            When, if the drift depends on time.

        Returns
        -------
        Spectrum
            values (k,), functions (k, N) with integral of the square 1, nodes (N,).
        """
        nodes, diagonal, beside, _ = self.operator(n_cells, time)
        k = check_count("k", k)
        if k > len(nodes):
            raise ValueError(f"a grid of {n_cells} cells has {len(nodes)} eigenvalues, not k={k}; give more n_cells")
        select = (len(nodes) - k, len(nodes) - 1)
        values, vectors = eigh_tridiagonal(diagonal, np.full(len(nodes) - 1, beside), select="i", select_range=select)
        h = float(nodes[1] - nodes[0])
        functions = vectors[:, ::-1].T / np.sqrt(h)
        signs = np.sign(functions[np.arange(k), np.argmax(np.abs(functions) > 0.1 * np.abs(functions).max(axis=1)[:, None], axis=1)])
        return Spectrum(values[::-1], functions * signs[:, None], nodes)

    # -------------------------------------------------------------------------------------------------- the law

    def law(self, times, *, start: float = 0.0, n_cells: int = 400, tol: float = 1e-6, method: str = "auto") -> Distribution:
        """Solve (19) from phi = delta(x - start) / xi, and give P = xi phi.

        Parameters
        ----------
        times : (T,)
            Output times, >= 0.
        start
            Where P starts, inside the domain.
        n_cells
            The domain is cut into so many cells. The same on half as many is in ``coarse``.
        tol
            Largest error of the solution in time allowed, in the 1-norm of P.
        method : "auto", "eigenfunctions" or "steps"
            "eigenfunctions": the sum over all eigenfunctions psi_n exp(lambda_n t), for a drift p(x). "steps": TR-BDF2, extrapolated
            and with the number of steps doubled until the answer stays. "auto" takes the first for a number or a function of x alone.

        Returns
        -------
        Distribution
            Nodes (N, 1), the probabilities of their cells; ``lost`` is what reached the ends of the domain.

        Raises
        ------
        ValueError
            If the domain is infinite, the start is not in it, or "eigenfunctions" is asked of a drift that changes in time.
        ConvergenceError
            If `tol` is not reached.

        Notes
        -----
        ``integration_error`` bounds round-off ("eigenfunctions") or is estimated from the last two numbers of steps ("steps").

        References
        ----------
        Hosea and Shampine, Appl. Numer. Math. 20, 21 (1996), doi:10.1016/0168-9274(95)00115-8 (TR-BDF2).
        """
        started = clock.perf_counter()
        times, tol = check_times(times), check_positive("tol", tol)
        method = check_choice("method", method, ("auto", "eigenfunctions", "steps"))
        n_cells, start = check_count("n_cells", n_cells, 8), check_number("start", start)
        self.check_integral(float(times[-1]))
        if method == "eigenfunctions" and not self.static:
            raise ValueError(
                "the drift is a function of x and t, and eigenfunctions are those of a static one; use method='steps', or give it as p(x)"
            )
        method = ("eigenfunctions" if self.static else "steps") if method == "auto" else method
        options = {"drift": describe(self.drift), "alpha": self.alpha, "reference": self.reference, "domain": self.domain}
        options |= {"start": start, "n_cells": n_cells, "tol": tol}

        def solve(n_cells: int, coarse: Distribution | None) -> Distribution:
            problem = Problem(self, n_cells, start)
            p, error = problem.by_eigenfunctions(times) if method == "eigenfunctions" else problem.by_steps(times, tol)
            if error.max() > tol:
                raise ConvergenceError(f"round-off may reach {error.max():.1e}, more than tol={tol:g}; narrow the domain or loosen tol")
            width, lost = np.array([problem.h]), np.maximum(1.0 - p.sum(axis=1), 0.0)
            info = record("schrodinger", "diffusion", started, options | {"n_cells": n_cells}, method=method)
            nodes = problem.start_operator.nodes[:, None]
            return Distribution(times, ("x",), nodes, p, lost, error, info, widths=width, cells=width, coarse=coarse)

        return solve(n_cells, solve(n_cells // 2, None))
