"""`VectorField`: what the deterministic equations and the linear noise approximation ask of a network or a `Diffusion`."""

from typing import Protocol

import numpy as np

from cme.compiled import Compiled, starting_states
from cme.continuum.diffusion import Diffusion
from cme.errors import ConvergenceError, ModelError, describe_state
from cme.infix import to_infix
from cme.network import Network

DIVERGED = 1e15  # molecules, or lengths


class VectorField(Protocol):
    """A drift in S species or coordinates, its derivatives and its noise."""

    name: str
    names: tuple[str, ...]

    def start(self, initial) -> tuple[np.ndarray, np.ndarray]:
        """Points (K, S) and their probabilities (K,)."""

    def velocity(self, time: float, state: np.ndarray) -> np.ndarray:
        """The right-hand side, (S,)."""

    def jacobian(self, time: float, state: np.ndarray) -> np.ndarray:
        """Its derivatives, (S, S)."""

    def noise(self, time: float, state: np.ndarray) -> np.ndarray:
        """The strength of the noise, (S, S)."""

    def directions(self) -> np.ndarray:
        """An orthonormal basis (S, rank) of what may change; all else is conserved."""

    def unit(self, state: np.ndarray) -> np.ndarray:
        """What counts as a small amount or distance, (S,)."""

    def turnover(self, state: np.ndarray) -> np.ndarray:
        """How large the terms are of which the velocity is the sum, (S,)."""

    def check_bounds(self, solver: str, times: np.ndarray, means: np.ndarray, atol: float) -> None:
        """Refuse means (T, S) where nothing can be, by more than rounding."""

    def observables(self, means: np.ndarray) -> dict[str, np.ndarray]:
        """What else follows from means (T, S)."""


def vector_field(model: Network | Diffusion, *, stationary: bool) -> VectorField:
    """The field of a model; `ValueError` if it is to come to rest and depends on time."""
    if isinstance(model, Network):
        return NetworkField(model)
    if stationary and not model.static:
        raise ValueError("drift or noise depend on time, so that nothing comes to rest; ask for finite times")
    return DriftField(model)


class NetworkField:
    """The right-hand side of the rate equations of a network, in all S species."""

    def __init__(self, network: Network):
        self.network, self._model = network, Compiled(network)
        self.name, self.names = network.name, network.species_names
        self.change = network.stoichiometry.astype(np.float64)

    def start(self, initial) -> tuple[np.ndarray, np.ndarray]:
        return starting_states(self.network, initial, whole=False)

    def rates(self, time: float, state: np.ndarray) -> np.ndarray:
        """Rates (R,) at amounts >= 0; `ModelError` where one is undefined."""
        state = np.maximum(state, 0.0)  # an integrator may look just below zero; what it returns there is refused by `check_bounds`
        rates = self._model.rates(state)
        self._check(rates, state)
        return rates

    def _check(self, rates: np.ndarray, state: np.ndarray) -> None:
        if not np.all(np.isfinite(rates)):
            self._refuse(np.flatnonzero(~np.isfinite(rates))[0], state, "is not a finite number")

    def rate_jacobian(self, time: float, state: np.ndarray) -> np.ndarray:
        """Derivatives of the rates (R, S)."""
        state = np.maximum(state, 0.0)
        derivatives = self._model.rate_jacobian(state)
        self._check_derivatives(derivatives, state)
        return derivatives

    def _check_derivatives(self, derivatives: np.ndarray, state: np.ndarray) -> None:
        if not np.all(np.isfinite(derivatives)):
            self._refuse(np.flatnonzero(~np.isfinite(derivatives).all(axis=1))[0], state, "has no finite derivative")

    def _refuse(self, reaction: int, state: np.ndarray, what: str) -> None:
        if state.max(initial=0.0) > DIVERGED:
            raise ConvergenceError(f"the rate equations grow without bound, past {state.max():.1e} molecules; end before")
        name, formula = self.network.reactions[reaction].name, to_infix(self.network.reactions[reaction].rate)
        raise ModelError(
            f"the rate {formula} of reaction {name!r} {what} in state {describe_state(self.names, state)}; "
            "start elsewhere, or guard the law, for example with piecewise()"
        )

    def velocity(self, time: float, state: np.ndarray) -> np.ndarray:
        return self.rates(time, state) @ self.change

    def jacobian(self, time: float, state: np.ndarray) -> np.ndarray:
        return self.change.T @ self.rate_jacobian(time, state)

    def noise(self, time: float, state: np.ndarray) -> np.ndarray:
        return (self.change.T * self.rates(time, state)) @ self.change

    def directions(self) -> np.ndarray:
        _, sizes, rows = np.linalg.svd(self.change, full_matrices=False)
        return rows[sizes > 1e-10 * max(sizes.max(initial=0.0), 1e-300)].T

    def unit(self, state: np.ndarray) -> np.ndarray:
        return np.ones(len(state))

    def turnover(self, state: np.ndarray) -> np.ndarray:
        return np.abs(self.rates(0.0, state)) @ np.abs(self.change)

    def check_bounds(self, solver: str, times: np.ndarray, means: np.ndarray, atol: float) -> None:
        refuse_negative(solver, self.names, times, means, atol)

    def observables(self, means: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.array(self._model.observable(name, means)) for name in self.network.observables}


def refuse_negative(solver: str, names: tuple[str, ...], times: np.ndarray, means: np.ndarray, atol: float) -> None:
    """Refuse amounts (T, S) that fall below zero by more than rounding."""
    allowed = -1e3 * atol - 1e-6 * np.abs(means).max(initial=0.0)
    if means.min(initial=0.0) < allowed:
        t, s = np.unravel_index(np.argmin(means), means.shape)
        raise ModelError(
            f"{solver} drives {names[s]!r} to {means[t, s]:.3g} by t={times[t]:g}; "
            "a rate must vanish where a species that it consumes is used up"
        )


class DriftField:
    """The drift of a `Diffusion`."""

    name = "diffusion"

    def __init__(self, diffusion: Diffusion):
        self.diffusion, self.names = diffusion, diffusion.names

    def start(self, initial) -> tuple[np.ndarray, np.ndarray]:
        return self.diffusion.start(initial)

    def velocity(self, time: float, state: np.ndarray) -> np.ndarray:
        return self.diffusion.drift_at(state[None], time)[0]

    def jacobian(self, time: float, state: np.ndarray) -> np.ndarray:
        return self.diffusion.jacobian_at(state[None], time)[0]

    def noise(self, time: float, state: np.ndarray) -> np.ndarray:
        return self.diffusion.noise_at(state[None], time)[0]

    def directions(self) -> np.ndarray:
        return np.eye(len(self.names))

    def unit(self, state: np.ndarray) -> np.ndarray:
        """How far the noise gets in the time in which the drift acts; 1 if it does not."""
        slope, noise = np.abs(np.diagonal(self.jacobian(0.0, state))), np.diagonal(self.noise(0.0, state))
        return np.sqrt(np.divide(noise, slope, out=np.ones(len(state)), where=(slope > 0) & (noise > 0)))

    def turnover(self, state: np.ndarray) -> np.ndarray:
        return np.abs(self.jacobian(0.0, state)) @ np.maximum(np.abs(state), self.unit(state))

    def check_bounds(self, solver: str, times: np.ndarray, means: np.ndarray, atol: float) -> None:
        low, high = self.diffusion.limits.T
        allowed = 1e3 * atol + 1e-6 * np.abs(means).max(initial=0.0)
        outside = (means < low - allowed) | (means > high + allowed)
        if np.any(outside):
            t, s = np.argwhere(outside)[0]
            raise ModelError(
                f"{solver} drives {self.names[s]!r} to {means[t, s]:.3g} by t={times[t]:g}, out of its domain [{low[s]:g}, {high[s]:g}]; "
                "it knows nothing of walls: use fokker_planck or langevin"
            )

    def observables(self, means: np.ndarray) -> dict[str, np.ndarray]:
        return {}
