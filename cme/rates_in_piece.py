"""`RatesInPiece`: the rates of a network in a piece of time, as functions of amounts and the time. The counterpart of `Compiled`."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cme import ratelaw
from cme.derivative import differentiate
from cme.network import Network
from cme.pieces import Piece
from cme.ratelaw import ZERO, Expr


@dataclass(frozen=True, eq=False)
class RatesInPiece:
    """What moves a network in a piece of time, in which all rates are smooth in time. Letters: S species, R reactions."""

    network: Network
    piece: Piece

    @cached_property
    def _propensities(self) -> tuple[Expr, ...]:
        return tuple(self.piece.freeze(self.network.resolve(reaction.propensity)) for reaction in self.network.reactions)

    @cached_property
    def _rates(self) -> tuple[Expr, ...]:
        return tuple(self.piece.freeze(self.network.resolve(reaction.rate)) for reaction in self.network.reactions)

    @cached_property
    def _derivatives(self) -> tuple[tuple[int, int, Expr], ...]:
        """Reaction, species, and the derivative of the rate of the one with respect to the other, where it is not zero."""
        found = []
        for r, formula in enumerate(self._rates):
            used = ratelaw.names(formula)
            for s, name in enumerate(self.network.species_names):
                if name in used and (derivative := differentiate(formula, name)) != ZERO:
                    found.append((r, s, derivative))
        return tuple(found)

    def _values(self, states: np.ndarray, time: float) -> dict[str, np.ndarray]:
        known = self.piece.at(min(max(time, self.piece.start), self.piece.end))
        return known | {name: states[..., s] for s, name in enumerate(self.network.species_names)}

    def _evaluate(self, formulas: tuple[Expr, ...], states: np.ndarray, time: float) -> np.ndarray:
        states = np.asarray(states, dtype=np.float64)
        values, out = self._values(states, time), np.empty((*states.shape[:-1], len(formulas)))
        for r, formula in enumerate(formulas):
            out[..., r] = ratelaw.evaluate(formula, values)
        return out

    def propensities(self, states: np.ndarray, time: float) -> np.ndarray:
        """Propensities (..., R) in states (..., S) at a time, as the formulas give them, unchecked."""
        return self._evaluate(self._propensities, states, time)

    def rates(self, states: np.ndarray, time: float) -> np.ndarray:
        """Deterministic rates (..., R) in real states (..., S) at a time."""
        return self._evaluate(self._rates, states, time)

    def rate_jacobian(self, states: np.ndarray, time: float) -> np.ndarray:
        """Derivatives of the rates with respect to species, (..., R, S)."""
        states = np.asarray(states, dtype=np.float64)
        values, out = self._values(states, time), np.zeros((*states.shape[:-1], len(self.network.reactions), len(self.network.species)))
        for r, s, derivative in self._derivatives:
            out[..., r, s] = ratelaw.evaluate(derivative, values)
        return out
