"""`RatesInTime`: a network whose rates move with time, for the continuum: piece after piece, with what events do to counts in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cme import ratelaw
from cme.clockwork import Clockwork, with_amounts_apart
from cme.compiled import starting_states
from cme.continuum.vector_field import NetworkField
from cme.errors import ModelError, describe_state
from cme.infix import to_infix
from cme.network import Network
from cme.pieces import Instant, Piece
from cme.rates_in_piece import RatesInPiece
from cme.results import Distribution
from cme.times_ahead import times_in_piece

LOOKS = 32  # no step of an integrator is longer than such a part of the time
BLINK = 1e-14  # a piece of time that is shorter, relatively, is the rounding of two times, and less than an integrator can do
NEGATIVE = 1e-9  # a rate may be below zero by this part of the largest, by rounding


class Stretch(NamedTuple):
    """A piece of time, and the times asked for in it (moved into it, where rounding put them outside)."""

    piece: Piece
    field: "MovingField"
    times: np.ndarray
    ends: np.ndarray  # between which no rate has a pulse


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What events do to amounts at an instant: x -> matrix @ x + shift."""

    matrix: np.ndarray
    shift: np.ndarray


class RatesInTime:
    """A network from time 0 to the last of some times, after its clock variables have been worked out.

    Attributes
    ----------
    network
        Without the species whose course is known in advance: they are among the variables.
    states, p : (K, S), (K,)
        Where it starts.
    """

    def __init__(self, network: Network, initial, times: np.ndarray):
        if initial is not None and not isinstance(initial, Distribution):
            network, initial = network.with_initial(initial), None
        self.network, self.times = with_amounts_apart(network), times
        self.states, self.p = starting_states(self.network, initial, whole=False)
        self.clockwork = Clockwork(self.network, float(times[-1]))
        self._ends: dict[Piece, np.ndarray] = {}

    @property
    def longest(self) -> float:
        """How long a step of an integrator may be."""
        return float(self.times[-1]) / LOOKS

    def stretches(self) -> Iterator[Stretch]:
        """All pieces, with the times that belong to each. Times after the last piece are those of its end, after what happens then."""
        done = 0
        for piece in self.clockwork.pieces:
            stop = int(np.searchsorted(self.times, piece.limit))
            yield Stretch(piece, MovingField(self.network, piece), np.clip(self.times[done:stop], piece.start, piece.end), self.ends(piece))
            done = stop

    def ends(self, piece: Piece) -> np.ndarray:
        """Times in a piece between which no rate has a pulse."""
        if piece not in self._ends:
            self._ends[piece] = np.empty(0) if is_blink(piece) else times_in_piece(self.network, piece)
        return self._ends[piece]

    def maps(self, instant: Instant) -> list[tuple[float, LinearMap]]:
        """What events do at an instant, for each order that chance may choose, with its probability; nothing if they change no count."""
        if not self.clockwork.changes_counts(instant):
            return []
        n = len(self.network.species)
        corners = np.concatenate([np.zeros((1, n)), np.eye(n)])
        return [(weight, LinearMap((image[1:] - image[0]).T, image[0])) for weight, image in self.clockwork.images(instant, corners)]

    def variables(self) -> dict[str, np.ndarray]:
        """The variables whose course is known in advance, (T,)."""
        known = self.clockwork.at(self.times)
        return {name: known[name] for name in self.clockwork.names}

    def observables(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Rules in states (..., T, S), (..., T)."""
        values = self.clockwork.at(self.times) | {name: states[..., s] for s, name in enumerate(self.network.species_names)}
        found = {rule.name: ratelaw.evaluate(self.network.resolve(rule.formula), values) for rule in self.network.rules}
        return {name: np.broadcast_to(value, states.shape[:-1]) for name, value in found.items()}


def is_blink(piece: Piece) -> bool:
    """Is a piece of time so short that nothing moves in it?"""
    return piece.end - piece.start <= BLINK * piece.end


class MovingField(NetworkField):
    """The right-hand side of the rate equations in one piece of time."""

    def __init__(self, network: Network, piece: Piece):
        self.network, self._in_piece = network, RatesInPiece(network, piece)
        self.name, self.names = network.name, network.species_names
        self.change = network.stoichiometry.astype(np.float64)

    def rates(self, time: float, state: np.ndarray) -> np.ndarray:
        """Rates (R,) at amounts >= 0; `ModelError` where one is undefined or negative."""
        state = np.maximum(state, 0.0)  # an integrator may look just below zero; what it returns there is refused by `check_bounds`
        rates = self._in_piece.rates(state, time)
        self._check(rates, state)
        if rates.min(initial=0.0) < -NEGATIVE * np.abs(rates).max(initial=0.0):
            reaction = self.network.reactions[int(np.argmin(rates))]
            where = describe_state(self.names, state)
            raise ModelError(
                f"the rate {to_infix(reaction.rate)} of reaction {reaction.name!r} is negative at t={time:g} in state {where}; "
                "guard the law, for example with piecewise()"
            )
        return rates

    def rate_jacobian(self, time: float, state: np.ndarray) -> np.ndarray:
        """Derivatives of the rates (R, S)."""
        state = np.maximum(state, 0.0)
        derivatives = self._in_piece.rate_jacobian(state, time)
        self._check_derivatives(derivatives, state)
        return derivatives


class PropensitiesInTime:
    """The propensities of a network at any time, for a density on a grid: what `Compiled` is to one with constant rates."""

    def __init__(self, moving: RatesInTime):
        self.moving, self.network = moving, moving.network
        pieces = moving.clockwork.pieces
        self._starts = np.array([piece.start for piece in pieces])
        self._rates = [RatesInPiece(self.network, piece) for piece in pieces]

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which rates may jump."""
        return tuple(self._starts[1:].tolist())

    @property
    def ends(self) -> tuple[float, ...]:
        """Times between which no rate has a pulse."""
        return tuple(time for piece in self.moving.clockwork.pieces for time in self.moving.ends(piece).tolist())

    def propensities(self, states: np.ndarray, time: float) -> np.ndarray:
        """Propensities (..., R) in states (..., S), as the formulas give them, unchecked."""
        return self._rates[max(int(np.searchsorted(self._starts, time, side="right")) - 1, 0)].propensities(states, time)

    def observable(self, name: str, states: np.ndarray) -> np.ndarray:
        """The value of a rule in states (N, S): (N,), or (T, N) if it moves with time."""
        rule = next(rule for rule in self.network.rules if rule.name == name)
        formula = self.network.resolve(rule.formula)
        clocks = {name: row[:, None] for name, row in self.moving.clockwork.at(self.moving.times).items()}
        shape = (len(states),) if ratelaw.names(formula).isdisjoint(clocks) else (len(self.moving.times), len(states))
        values = clocks | {name: states[:, s] for s, name in enumerate(self.network.species_names)}
        return np.broadcast_to(ratelaw.evaluate(formula, values), shape)
