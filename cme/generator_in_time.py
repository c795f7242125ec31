"""`TimeDependentGenerator`: the matrix A(t) of a master equation dp/dt = A(t) p whose rates move with time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cme.abilities import require
from cme.clockwork import Clockwork, with_amounts_apart
from cme.errors import ModelError
from cme.generator import Generator
from cme.moving_rates import MovingRates, spaces_in_time
from cme.network import Network
from cme.pieces import Piece
from cme.states import StateSpace
from cme.times_ahead import times_in_piece


@dataclass(frozen=True, eq=False, repr=False)
class TimeDependentGenerator:
    """A master equation dp/dt = A(t) p.

    Attributes
    ----------
    at
        The `Generator` at a time; its states are the same at all times.
    breaks
        Times at which rates jump, or a short pulse begins or ends, see `with_breaks`.
    ends
        Times at which a step must end, so that no pulse falls into one; those of a network are found on its formulas.
    """

    at: Callable[[float], Generator]
    breaks: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()

    @classmethod
    def of(cls, build: Callable[..., Generator], *arguments) -> "TimeDependentGenerator":
        """From a function of some arguments and the time that makes a generator, on the same states at all times; some are kept."""
        return cls(_Remembered(_with_the_states_kept, build, *arguments))

    @classmethod
    def from_network(cls, network: Network, until: float, space: StateSpace | None = None) -> "TimeDependentGenerator":
        """The generator of a network whose propensities move with time.

        Parameters
        ----------
        network
            Propensities may use the time, and variables whose course does not depend on counts. Timed events may set such variables.
        until
            The rates are known from time 0 to here.
        space
            The states to keep; by default all that the rates lead to.

        Raises
        ------
        ModelError
            If an event changes counts (`fsp` takes it), or what is set depends on counts or chance.

        Examples
        --------
        >>> import cme
        >>> g = cme.TimeDependentGenerator.from_network(cme.parse("A => B @ A*time; A = 1"), until=2.0)
        >>> g.at(1.5).matrix.toarray()
        array([[-1.5,  0. ],
               [ 1.5,  0. ]])
        """
        require(network, "fsp")
        network = with_amounts_apart(network)
        for event in network.events:
            for name in {each.name for each in event.assignments} & set(network.species_names):
                raise ModelError(f"event {event.name!r} changes the count of {name!r}, which no generator does; use fsp")
        pieces = _pieces(network, until)
        ends = [times_in_piece(network, piece) for piece in pieces]
        breaks = tuple(float(piece.start) for piece in pieces[1:])
        return cls(_Remembered(_from_piece_to_piece, network, until, space), breaks, tuple(np.concatenate(ends).tolist()))

    @classmethod
    def in_piece(cls, network: Network, piece: Piece, space: StateSpace, ends: tuple[float, ...] = ()) -> "TimeDependentGenerator":
        """The generator in one piece of time, between events and switches of the rates."""
        return cls(_Remembered(_in_piece, network, piece, space), ends=ends)

    def with_breaks(self, *breaks: float) -> "TimeDependentGenerator":
        """The same, with times at which rates jump, or a short pulse begins or ends, so that no solver steps over them.

        Examples
        --------
        >>> import cme, math  # a pulse of 0.004, at which no step would look
        >>> pulsed = cme.Generator.from_rates(lambda t: [[0, 0], [50.0 * (abs(t - 0.503) < 0.002), 0]])
        >>> law = cme.fsp(pulsed.with_breaks(0.501, 0.505), [1.0], initial=(0,))
        >>> bool(abs(law.p[0, 0] - math.exp(-50 * 0.004)) < 1e-9)
        True
        """
        if not np.all(np.isfinite(breaks)):
            raise ValueError(f"breaks must be finite times, not {breaks!r}")
        return replace(self, breaks=tuple(sorted({*self.breaks, *(float(each) for each in breaks)})))

    @property
    def states(self) -> np.ndarray:
        return self.at(0.0).states

    @property
    def names(self) -> tuple[str, ...]:
        return self.at(0.0).names

    def start(self, initial) -> np.ndarray:
        """A start as probabilities (N,), see `Generator.start`."""
        return self.at(0.0).start(initial)

    def __matmul__(self, p: np.ndarray) -> np.ndarray:
        raise TypeError("the rates depend on time; say when, generator.at(time) @ p")

    def __len__(self) -> int:
        return len(self.at(0.0))

    def __repr__(self) -> str:
        return f"TimeDependentGenerator: {len(self)} states"


class _Remembered:
    """A function of time, which is `make(*arguments)`, that keeps its last values; it is pickled as what made it."""

    def __init__(self, make: Callable[..., Callable[[float], Generator]], *arguments):
        self._made_by = make, *arguments
        self._at = lru_cache(maxsize=16)(make(*arguments))  # an integrator asks for the same times again

    def __call__(self, time: float) -> Generator:
        return self._at(time)

    def __reduce__(self):
        return type(self), self._made_by


def _with_the_states_kept(build: Callable[..., Generator], *arguments) -> Callable[[float], Generator]:
    first = build(*arguments, 0.0)

    def at(time: float) -> Generator:
        found = first if time == 0 else build(*arguments, time)
        if len(found) != len(first):
            raise ValueError(f"there are rates for {len(found)} states at t={time:g}, and for {len(first)} at t=0; keep the states")
        return found

    return at


def _from_piece_to_piece(network: Network, until: float, space: StateSpace | None) -> Callable[[float], Generator]:
    pieces = _pieces(network, until)
    parts = [_in_piece(network, piece, own) for piece, own in zip(pieces, spaces_in_time(network, pieces, space), strict=True)]
    starts = np.array([piece.start for piece in pieces])

    def at(time: float) -> Generator:
        if not 0 <= time <= until:
            raise ValueError(f"the rates are known from time 0 to {until:g}, not at {time:g}")
        return parts[np.searchsorted(starts, time, side="right") - 1](time)

    return at


def _in_piece(network: Network, piece: Piece, space: StateSpace) -> Callable[[float], Generator]:
    rates = MovingRates(network, piece, space)
    return lambda time: Generator(*rates.at(time), space.states, network.species_names)


def _pieces(network: Network, until: float) -> list[Piece]:
    pieces = Clockwork(network, until).pieces
    if not pieces:
        raise ValueError(f"until={until:g} must be above 0")
    return pieces
