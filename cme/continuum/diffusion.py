"""`Diffusion`: any drift and any noise, given as functions, in one and two dimensions; and itself a master equation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator, RegularGridInterpolator

from cme.arguments import count_arguments
from cme.cell_rates import check_edges
from cme.continuum.coefficient import Coefficient
from cme.continuum.diffusion_flow import DiffusionFlow
from cme.continuum.finite_volume import Axis, Grid
from cme.continuum.tabulated import Tabulated
from cme.errors import ModelError, describe_state
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator
from cme.quadrature import kernel_moments
from cme.results import Distribution


@dataclass(frozen=True, eq=False)
class Diffusion:
    r"""A diffusion process with the drift p and the noise B, in the sense of Ito.

    .. math:: \partial_t P = -\sum_i \partial_i (p_i P) + \tfrac12 \sum_{ij} \partial_i \partial_j (B_{ij} P), \qquad
        dx = p(x, t)\, dt + B(x, t)^{1/2}\, dW

    `fokker_planck`, `langevin`, `lna` and `rate_equations` take it wherever they take a network; what changes in a 32nd of the last time
    or less, such as a pulse, may go unseen by them unless a time asked for lies inside.

    Parameters
    ----------
    drift
        p, in length per time: a number, or a function p(x) or p(x, t) of an array of positions x and one time t. One coordinate:
        x (K,) gives (K,). Two: x (K, 2) gives (K, 2).
    diffusion
        B, in length^2 per time, likewise (the D of physics texts is B / 2). In two dimensions one number is the noise of both axes, two
        are the noises of each, and a symmetric matrix, (2, 2) or (K, 2, 2), correlates them.
    names
        Those of the one or two coordinates.
    domain
        From names to (lowest, highest) position. Finite ends are reflecting walls, unless the process never gets there; infinite
        ones are the default.
    jacobian
        The derivatives of the drift, (K,), or (K, 2, 2) with d p_i / d x_j in row i. Finite differences, if it is not given; only `lna` and
        `rate_equations` use it.

    Raises
    ------
    ValueError
        If a coefficient has a shape that does not fit, or the names or the domain mean nothing.

    Notes
    -----
    Drift and noise are looked at only where a solver gets to. There, a `ModelError` is raised where one is no finite number, or where
    B is negative (has a negative eigenvalue).

    A drift in the sense of Stratonovich becomes one in that of Ito by adding a quarter of the derivative of B (one coordinate).

    Examples
    --------
    The variance of the Ornstein-Uhlenbeck process is (1 - exp(-2 t)) / 2:

    >>> import cme
    >>> process = cme.Diffusion(lambda x: -x, 1.0)
    >>> density = cme.fokker_planck(process, [0.5, 1.0], initial=2.0)
    >>> (density.sd() ** 2).ravel().round(3).tolist()
    [0.316, 0.432]
    """

    drift: float | Sequence | np.ndarray | Callable
    diffusion: float | Sequence | np.ndarray | Callable
    names: tuple[str, ...] = ("x",)
    domain: Mapping[str, tuple[float, float]] | None = None
    jacobian: Callable | None = None

    def __post_init__(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else tuple(self.names)
        if len(names) not in (1, 2) or len(set(names)) < len(names):
            raise ValueError(f"a diffusion has one or two coordinates with different names, not {names!r}")
        object.__setattr__(self, "names", names)
        _ = self.limits, self._drift, self._noise, self._jacobian  # their complaints belong here

    @cached_property
    def limits(self) -> np.ndarray:
        """The ends of the domain, (D, 2)."""
        limits = np.tile([-np.inf, np.inf], (len(self.names), 1))
        for name, ends in (self.domain or {}).items():
            if name not in self.names:
                raise ValueError(f"domain names {name!r}; the coordinates of this diffusion are {', '.join(self.names)}")
            low, high = (float(end) for end in ends)
            if not low < high:
                raise ValueError(f"the domain of {name!r} must be two numbers, the lower one first, not {ends!r}")
            limits[self.names.index(name)] = low, high
        return limits

    @cached_property
    def _drift(self) -> Coefficient:
        return Coefficient.of("drift", self.drift, self.names, 1, self._samples)

    @cached_property
    def _noise(self) -> Coefficient:
        return Coefficient.of("diffusion", self.diffusion, self.names, 2, self._samples)

    @cached_property
    def _jacobian(self) -> Coefficient | None:
        return None if self.jacobian is None else Coefficient.of("jacobian", self.jacobian, self.names, 2, self._samples)

    @property
    def _samples(self) -> np.ndarray:
        """Three points inside, (3, D)."""
        return np.stack([self.inside(part) for part in (0.3, 0.5, 0.6)])

    def inside(self, part: float = 0.5) -> np.ndarray:
        """A point of the domain, (D,): at a part of it, or as far from its one end, or from zero."""
        low, high = self.limits.T
        one = np.where(np.isfinite(low), low + part, np.where(np.isfinite(high), high - part, part))
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(low) & np.isfinite(high), low + part * (high - low), one)

    @property
    def static(self) -> bool:
        """Do drift and noise not depend on time?"""
        return not (self._drift.in_time or self._noise.in_time)

    @property
    def correlated(self) -> bool:
        """May the noises of the two coordinates be correlated?"""
        return self._noise.shape == (2, 2)

    # ------------------------------------------------------------------------------------------------ evaluation

    def raw(self, x: np.ndarray, t: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Drift and noise as they come, unchecked."""
        return self._drift(x, t), self._noise(x, t)

    def drift_at(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The drift p at positions (..., D) and a time, (..., D); `ModelError` where it is no finite number."""
        return self._drift.checked(x, t)

    def noise_at(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The noise B at positions (..., D) and a time, (..., D, D); `ModelError` where it is none."""
        noise = self._noise.checked(x, t)
        bad = np.diagonal(noise, axis1=-2, axis2=-1).min(axis=-1) < 0
        if len(self.names) == 2:
            bad |= noise[..., 0, 1] != noise[..., 1, 0]
            bad |= noise[..., 0, 1] ** 2 > noise[..., 0, 0] * noise[..., 1, 1] * (1 + 1e-9)
        if np.any(bad):
            where = tuple(np.argwhere(bad)[0])
            what = f"{noise[where][0, 0]:.6g}" if len(self.names) == 1 else str(noise[where].tolist())
            must = "at least 0" if len(self.names) == 1 else "symmetric without negative eigenvalues"
            raise ModelError(f"the diffusion is {what} at {describe_state(self.names, x[where])}, t = {t:g}; it must be {must}")
        return noise

    def jacobian_at(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The derivatives d p_i / d x_j at positions (..., D), (..., D, D)."""
        if self._jacobian is not None:
            return self._jacobian.checked(x, t)
        out = np.empty((*x.shape, x.shape[-1]))
        for j in range(x.shape[-1]):
            h = np.zeros_like(x)
            h[..., j] = 6e-6 * np.maximum(np.abs(x[..., j]), 1e-3)  # the cube root of the precision
            inside = (self.limits[:, 0] <= x) & (x <= self.limits[:, 1])
            low, high = (np.where(inside, np.clip(x + sign * h, *self.limits.T), x + sign * h) for sign in (-1, 1))
            out[..., j] = (self.drift_at(high, t) - self.drift_at(low, t)) / (high - low)[..., j : j + 1]
        return out

    def start(self, initial) -> tuple[np.ndarray, np.ndarray]:
        """A start as points (K, D) with probabilities (K,).

        Parameters
        ----------
        initial
            A position (a number, D numbers, or a mapping from names), a mapping from positions to probabilities, or a `Distribution`
            over the same coordinates, whose last time is taken.
        """
        if initial is None:
            raise ValueError("a diffusion does not say where it starts; give initial=, a position or a Distribution")
        if isinstance(initial, Distribution):
            if initial.species != self.names:
                raise ModelError(f"the initial distribution is over {initial.species}, the diffusion over {self.names}")
            kept = initial.p[-1] > 0
            points, p = np.asarray(initial.states[kept], dtype=np.float64), initial.p[-1][kept]
        elif isinstance(initial, Mapping) and not all(isinstance(key, str) for key in initial):
            points = np.array([np.atleast_1d(key) for key in initial], dtype=np.float64)
            p = np.array(list(initial.values()), dtype=np.float64)
            if np.any(p < 0) or abs(p.sum() - 1) > 1e-9:
                raise ValueError(f"the initial probabilities must be >= 0 and sum to 1; they sum to {p.sum():.12g}")
        else:
            if isinstance(initial, Mapping) and set(initial) != set(self.names):
                raise ValueError(f"the initial position must name {', '.join(self.names)}, not {', '.join(initial)}")
            place = [initial[name] for name in self.names] if isinstance(initial, Mapping) else initial
            points, p = np.atleast_2d(np.asarray(place, dtype=np.float64)), np.ones(1)
        if points.shape[1:] != (len(self.names),) or not np.all(np.isfinite(points)):
            raise ValueError(f"the initial position must give a finite number for {', '.join(self.names)}, not {initial!r}")
        outside = np.any((points < self.limits[:, 0]) | (points > self.limits[:, 1]), axis=1)
        if np.any(outside):
            raise ValueError(f"the diffusion can't start at {describe_state(self.names, points[outside][0])}, outside its domain")
        return points, p

    # ------------------------------------------------------------------------------------------- master equations

    def generator(self, edges) -> Generator | TimeDependentGenerator:
        """The Fokker-Planck operator on a grid of cells, which is a master equation: rates between neighbours, none negative.

        Parameters
        ----------
        edges : (N + 1,) or two such
            Cell edges of one or two axes; evenly spaced where the noises are correlated. No probability crosses the outermost ones.

        Returns
        -------
        Generator or TimeDependentGenerator
            On the cell centres. With uncorrelated noises the fitted flux (Scharfetter and Gummel 1969) gives the stationary law of
            a drift with a potential exactly at the centres, in detailed balance.

        Raises
        ------
        ModelError
            If noises are so correlated that no rates on these cells are positive; the message says which proportions would do.

        Examples
        --------
        >>> import cme, numpy as np
        >>> walk = cme.Diffusion(0.0, 2.0).generator([0.0, 1.0, 2.0, 3.0])  # a walk with rates 1
        >>> walk.rates.toarray()
        array([[0., 1., 0.],
               [1., 0., 1.],
               [0., 1., 0.]])
        """
        axes = tuple(Axis((cuts[:-1] + cuts[1:]) / 2, cuts) for cuts in check_edges(edges))
        if len(axes) != len(self.names):
            raise ValueError(f"edges has {len(axes)} axes, and the diffusion {len(self.names)} coordinates")
        for name, axis, (low, high) in zip(self.names, axes, self.limits, strict=True):
            if axis.edges[0] < low or axis.edges[-1] > high:
                raise ValueError(f"the cells of {name!r} must lie in its domain [{low:g}, {high:g}]")
            if self.correlated and np.ptp(axis.widths) > 1e-9 * axis.widths.max():
                raise ValueError(f"the cells of {name!r} must be evenly spaced, since the noises are correlated")
        flow = DiffusionFlow(self, np.array([axis.widths.max() for axis in axes]))
        grid, fitted = Grid(flow, axes, np.array([axis.nodes[0] for axis in axes])), flow.fitted(True, False)
        return grid.generator(fitted) if self.static else grid.changing_generator(fitted)

    @classmethod
    def from_kernel(cls, kernel: Callable, *, name: str = "x", domain: tuple[float, float] = (-np.inf, np.inf)) -> "Diffusion":
        r"""The diffusion that has the first two jump moments of a jump process (Kramers 1940, Moyal 1949), on a line.

        .. math:: p(y) = \int (x - y)\, W(x, y)\, dx, \qquad B(y) = \int (x - y)^2\, W(x, y)\, dx

        It is good for many small jumps. Compare `fokker_planck` of it with ``fsp(Generator.from_kernel(W, edges), ...)`` to see how good.
        In two dimensions put the kernel on a grid, ``Diffusion.from_generator(Generator.from_kernel(W, edges))``.

        Parameters
        ----------
        kernel
            W(x, y) or W(x, y, t): the rate density at x of jumps from y, vectorised.
        name
            That of the coordinate.
        domain
            Where the process lives; jumps beyond it do not happen.

        Raises
        ------
        ValueError
            Where the kernel is negative.
        ConvergenceError
            Where a moment does not exist, or is not found to 1e-10 (see `cme.jump_moments`).

        Examples
        --------
        >>> import cme, numpy as np
        >>> hop = lambda x, y: 50 * np.exp(-((x - y + 0.1 * y) ** 2) / 0.02) / np.sqrt(0.02 * np.pi)
        >>> process = cme.Diffusion.from_kernel(hop)  # jumps with mean -0.1 y and variance 0.01, 50 per unit of time
        >>> [round(float(c[0]), 6) for c in (process.drift_at(np.array([2.0])), process.noise_at(np.array([2.0]))[0])]
        [-10.0, 2.5]
        """
        if not callable(kernel) or count_arguments(kernel) not in (2, 3):
            raise ValueError("the kernel must be a function W(x, y) or W(x, y, t)")
        in_time = count_arguments(kernel) == 3

        def moments(t: float) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
            here = (lambda x, y: kernel(x, y, t)) if in_time else kernel
            table = Tabulated(lambda x: np.stack([kernel_moments(here, k, x, domain) for k in (1, 2)], axis=1), domain)
            return lambda x: tuple(table(x).T)

        return cls._from_moments(moments, in_time, (name,), {name: domain})

    @classmethod
    def from_generator(cls, generator: Generator | TimeDependentGenerator) -> "Diffusion":
        """The same for a jump process on states on a line or on a rectangular grid: its jump moments, interpolated between the states.

        Parameters
        ----------
        generator
            With one or two names. The domain ends with the outermost states. On a line the interpolation is cubic and monotone, and the
            moments of states that leak are not used; on a grid it is linear, so that the noise stays one, and nothing may leak.

        Examples
        --------
        A walk with steps 0.1 at rates 50 and 60:

        >>> import cme, numpy as np
        >>> rates = np.diag(np.full(99, 50.0), 1) + np.diag(np.full(99, 60.0), -1)
        >>> process = cme.Diffusion.from_generator(cme.Generator.from_rates(rates, 0.1 * np.arange(100)))
        >>> [round(float(c[0]), 6) for c in (process.drift_at(np.array([2.0])), process.noise_at(np.array([2.0]))[0])]
        [1.0, 1.1]
        """
        in_time = isinstance(generator, TimeDependentGenerator)
        first = generator.at(0.0) if isinstance(generator, TimeDependentGenerator) else generator
        if len(first.names) > 2:
            raise ValueError(f"a diffusion has one or two coordinates, and these states have {len(first.names)}: {', '.join(first.names)}")
        places = np.asarray(first.states, dtype=np.float64)
        ticks = [np.unique(column) for column in places.T]
        if len(ticks) == 2 and (len(places) != len(ticks[0]) * len(ticks[1]) or min(map(len, ticks)) < 2 or np.any(first.leak > 0)):
            raise ValueError("a diffusion in two coordinates is made from states on a whole rectangular grid, none of which leaks")

        def moments(t: float) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
            here = generator.at(t) if isinstance(generator, TimeDependentGenerator) else generator
            drift, noise = here.jump_moments(1), here.jump_moments(2)
            if len(ticks) == 1:
                kept = np.flatnonzero(here.leak == 0)
                if len(kept) < 2:
                    raise ValueError("a diffusion is made from the states that do not leak, of which there must be two or more")
                order = kept[np.argsort(places[kept, 0])]
                between = PchipInterpolator(places[order, 0], np.stack([drift[order, 0], noise[order, 0, 0]], axis=1))
                low, high = places[order[0], 0], places[order[-1], 0]
                return lambda x: tuple(between(np.clip(x, low, high)).T)
            order = np.lexsort(places.T[::-1])
            shape = (len(ticks[0]), len(ticks[1]))
            both = [RegularGridInterpolator(ticks, each[order].reshape(*shape, *each.shape[1:])) for each in (drift, noise)]
            ends = np.array([tick[[0, -1]] for tick in ticks]).T
            return lambda x: tuple(each(np.clip(x, *ends)) for each in both)

        half = np.zeros(len(ticks)) if first.widths is None else first.widths / 2
        domain = {name: (float(tick[0] - h), float(tick[-1] + h)) for name, tick, h in zip(first.names, ticks, half, strict=True)}
        return cls._from_moments(moments, in_time, first.names, domain)

    @classmethod
    def _from_moments(
        cls,
        moments: Callable[[float], Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]],
        in_time: bool,
        names: tuple[str, ...],
        domain: Mapping[str, tuple[float, float]],
    ) -> "Diffusion":
        """From drift and noise at a time."""
        at = lru_cache(maxsize=16)(moments)
        positive = (lambda b: np.maximum(b, 0.0)) if len(names) == 1 else (lambda b: b)  # interpolation may round below zero
        if in_time:
            return cls(lambda x, t: at(t)(x)[0], lambda x, t: positive(at(t)(x)[1]), names, domain)
        return cls(lambda x: at(0.0)(x)[0], lambda x: positive(at(0.0)(x)[1]), names, domain)


def with_jump_moments(model):
    """A generator as the diffusion with its first two jump moments, which is its diffusion approximation; others as they are."""
    return Diffusion.from_generator(model) if isinstance(model, Generator | TimeDependentGenerator) else model
