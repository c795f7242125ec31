"""What the Langevin kernel needs to know in advance of a network whose rates move with time."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cme import ratelaw
from cme.compiled import Compiled
from cme.continuum.euler_steps import pairs_of_steps
from cme.continuum.rate_equations import integrate
from cme.continuum.rates_in_time import MovingField, RatesInTime, is_blink
from cme.elements import Species
from cme.errors import ConvergenceError, ModelError
from cme.kernels.langevin import Schedule
from cme.network import Network
from cme.pieces import Instant, Piece
from cme.ratelaw import Apply, Expr, Symbol

MESH = np.unique(np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 20), np.linspace(0.05, 1.0, 20)]))  # where a run is looked at
PAIRS = 4  # of steps for each cell, see `cme.resolved_times`
SAMPLES = 257  # points of a piece of time at which rates are looked at, to see how fast they move


class Mark(NamedTuple):
    """A moment at which paths are sampled, or events set counts, or rates jump."""

    time: float
    piece: int  # that leads to it
    sample: int
    event: int


class PathsInTime:
    """A network whose rates move with time, as the kernel takes it: the parts of propensities that are known in advance are tabulated.

    They are extra species to the kernel, which nothing changes, with other values in each step.
    """

    def __init__(self, network: Network, initial, times: np.ndarray):
        self.moving = RatesInTime(network, initial, times)
        self.network, self.states, self.p = self.moving.network, self.moving.states, self.moving.p
        self._known = set(self.moving.clockwork.at(times[:1]))
        self.parts: dict[Expr, str] = {}
        laws = [self._without_known(self.network.resolve(reaction.propensity)) for reaction in self.network.reactions]
        self.compiled = Compiled(self._extended(laws))
        self._maps: list[np.ndarray] = []
        self.marks = self._marks()

    def _without_known(self, formula: Expr) -> Expr:
        used = ratelaw.names(formula)
        if used and used <= self._known:
            name = self.parts.setdefault(formula, f"known_{len(self.parts)}")
            while name in self.network.species_names:
                name = self.parts[formula] = name + "_"
            return Symbol(name)
        if not isinstance(formula, Apply) or used.isdisjoint(self._known):
            return formula
        return Apply(formula.op, tuple(self._without_known(arg) for arg in formula.args))

    def _extended(self, laws: list[Expr]) -> Network:
        """The network with the known parts as species; its start does not matter."""
        network, more = self.network, tuple(Species(name) for name in self.parts.values())
        start = tuple(0.0 for _ in (*network.species, *more))
        return replace(
            network,
            species=(*network.species, *more),
            reactions=tuple(replace(reaction, law=law) for reaction, law in zip(network.reactions, laws, strict=True)),
            initial=replace(network.initial, states=(start,), probabilities=(1.0,)),
            rules=(),
            rate_rules=(),
            events=(),
        )

    def _event(self, instant: Instant) -> int:
        """The number of the map that events are at an instant, -1 if they change no count."""
        maps = self.moving.maps(instant)
        if not maps:
            return -1
        _, first = maps[0]
        for _, other in maps[1:]:
            if not (np.array_equal(first.matrix, other.matrix) and np.array_equal(first.shift, other.shift)):
                raise ModelError(
                    f"several events of {self.network.name!r} happen at t={instant.time:g} with the same priority, and their order decides "
                    "about a count; give them priorities, or use ssa, fsp or lna"
                )
        self._maps.append(np.column_stack([first.matrix, first.shift]))
        return len(self._maps) - 1

    def _marks(self) -> list[Mark]:
        first = self._event(self.moving.clockwork.first)
        marks, n = [Mark(0.0, 0, -1, first)] if first >= 0 else [], 0
        for i, (piece, _, wanted, _) in enumerate(self.moving.stretches()):
            marks += [Mark(time, i, n + k, -1) for k, time in enumerate(wanted.tolist())]
            marks.append(Mark(piece.end, i, -1, self._event(piece.instant)))
            n += len(wanted)
        last = len(self.moving.clockwork.pieces) - 1
        return marks + [Mark(time, last, n + k, -1) for k, time in enumerate(self.moving.times[n:].tolist())]

    def schedule(self, dt: float, dt_from: str, max_steps: int | None) -> Schedule:
        """All that is known in advance, with steps of at most dt, none of which leads over a mark."""
        n = len(self.network.species)
        # Times may be put into their piece, and thus fall behind the mark before by rounding.
        marks = sorted((*self.marks, *self._ends_of_cells(dt)), key=lambda mark: (mark.piece, mark.time))
        times = np.maximum.accumulate([min(mark.time, float(self.moving.times[-1])) for mark in marks])
        pairs, pieces = pairs_of_steps(times, dt, dt_from, max_steps), self.moving.clockwork.pieces
        pairs = np.maximum(pairs, self._pairs_in_cells(times, dt))
        tables = [np.zeros((0, len(self.parts)))]
        for mark, begin, end, count in zip(marks, np.append(0.0, times[:-1]), times, pairs, strict=True):
            if count:
                h = (end - begin) / (2 * count)
                middles = begin + h * (2 * np.arange(count)[:, None] + np.array([0.5, 1.5, 1.0]))
                tables.append(self._table(pieces[mark.piece], middles.ravel()))
        sample, event = (np.array(each, dtype=np.int64) for each in zip(*((m.sample, m.event) for m in marks), strict=True))
        maps = np.array(self._maps) if self._maps else np.zeros((0, n, n + 1))
        return Schedule(times, pairs, sample, event, maps, np.ascontiguousarray(np.concatenate(tables)))

    def _edges_of_cells(self) -> list[np.ndarray]:
        """The edges of the cells in which rates have no pulse, in each piece."""
        return [np.concatenate([[piece.start], self.moving.ends(piece), [piece.end]]) for piece in self.moving.clockwork.pieces]

    def _ends_of_cells(self, dt: float) -> list[Mark]:
        """Marks at the ends of the cells that are too short for steps of dt."""
        marks = []
        for i, edges in enumerate(self._edges_of_cells()):
            short = np.diff(edges) < 2 * PAIRS * dt
            marks += [Mark(time, i, -1, -1) for time in edges[1:-1][short[:-1] | short[1:]].tolist()]
        return marks

    def _pairs_in_cells(self, times: np.ndarray, dt: float) -> np.ndarray:
        """Pairs of steps up to each of the times, so that a cell gets `PAIRS` of them where steps of dt would be too long."""
        if not any(len(self.moving.ends(piece)) for piece in self.moving.clockwork.pieces):
            return np.zeros(len(times), dtype=np.int64)
        edges = np.unique(np.concatenate(self._edges_of_cells()))
        begins = np.append(0.0, times[:-1])
        cell = np.clip(np.searchsorted(edges, begins, side="right"), 1, len(edges) - 1)
        widths = edges[cell] - edges[cell - 1]
        wanted = np.where(widths < 2 * PAIRS * dt, PAIRS * (times - begins) / widths, 0.0)
        return np.ceil(wanted).astype(np.int64)

    def _table(self, piece: Piece, times: np.ndarray) -> np.ndarray:
        """The known parts at times (K,) in a piece, (K, C)."""
        known = piece.at(times)
        columns = [np.broadcast_to(ratelaw.evaluate(piece.freeze(part), known), times.shape) for part in self.parts]
        return np.stack(columns, axis=1) if columns else np.zeros((len(times), 0))

    def _steps(self) -> dict[str, float]:
        """Steps that resolve the fastest relaxation, the noise, and how rates move, with what asks for them."""
        end = float(self.moving.times[-1])
        fastest, noise, quickest = 0.0, np.zeros(len(self.network.species)), 0.0
        state = self._after(self.moving.clockwork.first, self.moving.p @ self.moving.states / self.moving.p.sum())
        for piece in self.moving.clockwork.pieces:
            if is_blink(piece):
                state = self._after(piece.instant, state)
                continue
            field, points = MovingField(self.network, piece), piece.start + MESH * (piece.end - piece.start)
            states = integrate(
                "the pilot run", field.velocity, field.jacobian, state, points, field.names,
                method="LSODA", rtol=1e-6, atol=1e-6, since=piece.start, ends=self.moving.ends(piece), max_step=self.moving.longest,
            )  # fmt: skip
            states = np.maximum(states, 0.0)
            both = list(zip(points.tolist(), states, strict=True))
            fastest = max(fastest, *(np.abs(np.linalg.eigvals(field.jacobian(t, x))).max(initial=0.0) for t, x in both))
            rows = [np.diagonal(field.noise(t, x)) / np.maximum(x, 1.0) ** 2 for t, x in both]
            noise += np.trapezoid(rows, points, axis=0)
            ticks = np.linspace(piece.start, piece.end, SAMPLES)
            table = self._table(piece, ticks)
            moved, size = np.abs(np.diff(table, axis=0)).max(axis=0, initial=0.0), np.abs(table).max(axis=0, initial=0.0)
            slopes = np.divide(moved, size * (ticks[1] - ticks[0]), out=np.zeros(len(size)), where=size > 0)
            quickest = max(quickest, float(slopes.max(initial=0.0)))
            state = self._after(piece.instant, states[-1])
        noisiest = float(noise.max(initial=0.0)) / end
        found = {"the fastest relaxation": (0.02, fastest), "the noise": (0.01, noisiest), "how fast rates move": (0.02, quickest)}
        return {name: part / rate for name, (part, rate) in found.items() if rate > 0}

    def choose_step(self) -> tuple[float, str]:
        """A step that resolves the fastest relaxation, the noise, how rates move and the time asked for, and which of them decided."""
        end = float(self.moving.times[-1])
        if end == 0:
            return 1.0, "no time passes"
        try:
            found = {"the last time": end / 50} | self._steps()
        except (ModelError, ConvergenceError) as error:
            raise type(error)(f"no step could be chosen from the rate equations: {error}; or give dt") from None
        why = min(found, key=lambda name: found[name])
        return found[why], why

    def _after(self, instant: Instant, mean: np.ndarray) -> np.ndarray:
        event = self._event(instant)
        return mean if event < 0 else np.maximum(self._maps[event][:, :-1] @ mean + self._maps[event][:, -1], 0.0)

    def observables(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Rules and variables on paths (M, T, S), (M, T)."""
        variables = {name: np.broadcast_to(course, counts.shape[:-1]) for name, course in self.moving.variables().items()}
        return self.moving.observables(counts) | variables

    def found(self) -> dict[str, int]:
        """How often something happened in time."""
        return {"pieces": len(self.moving.clockwork.pieces), "executed_events": self.moving.clockwork.executions}
