"""`March`: one solution of the master equation through time, on a set of states that grows and shrinks with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cme.errors import ConvergenceError
from cme.generator import TimeDependentGenerator
from cme.projection.propagate import Step
from cme.projection.propagator import Magnus, on_a_law
from cme.states import StateSpace

FIRST_SIZE = 1000  # states to begin with, where so many can be reached
MOVING_FIRST_SIZE = 200  # the same with moving rates, where each step costs as much as there are states, and the fastest of them sets it
GROWTH, FAST_GROWTH = 1.3, 1.8  # the least factor by which a set grows that leaks too much, and one that leaks far too much
# How the tolerance is spent: what leaks, what is dropped, what the integrator may add (counted twice: what it loses looks like a leak).
LEAK, DROP, INTEGRATION = 0.7, 0.1, 0.1


class Stepper(Protocol):
    """What takes a law forward on a fixed set of states."""

    method: str

    @property
    def leak(self) -> np.ndarray:
        """The rate out of the states, (N,)."""

    def step(self, p: np.ndarray, now: float, times: np.ndarray, longest: float = np.inf) -> Step:
        """One step from `now`, at most to the last of `times`, and at most about `longest` long."""


class MovingStepper:
    """Steps with rates that move with time; their errors are estimates. Times count from `start`."""

    method = Magnus.method

    def __init__(self, generator: TimeDependentGenerator, start: float, end: float, span: float, tol: float):
        self._generator = TimeDependentGenerator(lambda time: generator.at(min(start + time, end)))
        self._magnus = Magnus(self._generator, 0.0, end - start, tol, on_a_law(tol), span)
        self.leak = generator.at(start).leak

    def step(self, p: np.ndarray, now: float, times: np.ndarray, longest: float = np.inf) -> Step:
        """See `Stepper`; a step never passes an output time."""
        next_time = float(times[times > now][0])
        after, end, error = self._magnus.advance(p, now, min(next_time, now + longest))
        self.leak = np.max([self._generator.at(time).leak for time in (now, 0.5 * (now + end), end)], axis=0)
        return Step(now, end, after, after[None] if end == next_time else np.empty((0, len(p))), error, lambda: np.array([p, after]))


@dataclass(frozen=True)
class Output:
    """A law at an output time, and the integrator's error by then."""

    states: np.ndarray
    p: np.ndarray
    error: float


class March:
    """The march in time: propagate a step, look at what leaked, grow or drop, go on.

    Parameters
    ----------
    space
        The set of states to begin with.
    assemble
        Makes a `Stepper` for a set of states.
    tol
        What may leak, be dropped, and be added by the integrator, from time 0 to `horizon`.
    fixed
        Keep the set as it is, whatever leaks.
    """

    def __init__(
        self, space: StateSpace, assemble: Callable[[StateSpace], Stepper], tol: float, horizon: float, max_states: int, fixed: bool
    ):
        self.space, self._assemble, self.tol, self.horizon = space, assemble, tol, horizon
        self.max_states, self.fixed = max_states, fixed
        self.outputs: dict[float, Output] = {}
        self.error, self.dropped, self.expansions = 0.0, 0.0, 0
        self.method = "none"
        self._check_size()
        self.stepper = assemble(space)

    def run(self, p: np.ndarray, times: np.ndarray) -> Iterator[float]:
        """Advance to the last time, keeping the outputs; yields the time reached."""
        total, now, longest, failures = float(p.sum()), 0.0, np.inf, 0
        if times[0] == 0:
            self.outputs[0.0] = Output(self.space.states, p.copy(), 0.0)
        while now < times[-1]:
            step = self.stepper.step(p, now, times, longest)
            leaked = total - self.dropped - float(step.p.sum())
            if not self.fixed and leaked > self._allowed(step.end):
                # A law that travels needs a set that follows it: after two growths, a shorter step instead of a third.
                p = self._grow(p, step, leaked)
                failures += 1
                if failures % 2 == 0:
                    longest = (step.end - step.start) / 3
                continue
            longest, failures = 2 * longest, 0
            self.error += step.error
            for t, row in zip(times[(times > step.start) & (times <= step.end)], step.outputs, strict=True):
                self.outputs[float(t)] = Output(self.space.states, row, self.error)
            now, p = step.end, step.p
            self.method = self.stepper.method
            if not self.fixed and now < times[-1]:
                p = self._drop(p, now, step.end - step.start)
            yield now
        if self.error > INTEGRATION * self.tol and not self.fixed:
            raise ConvergenceError(f"the integrator's error is only bounded by {self.error:.1e}; loosen tol={self.tol:g}")

    def _allowed(self, now: float) -> float:
        """What may have leaked by now: a tenth is there at once, the rest comes with time."""
        return LEAK * self.tol * (0.1 + 0.9 * now / self.horizon)

    def _grow(self, p: np.ndarray, step: Step, leaked: float) -> np.ndarray:
        """Enlarge the set beyond the states through which probability leaked; returns p on the larger set."""
        factor = GROWTH if leaked < 100 * self._allowed(step.end) else FAST_GROWTH
        flux = self.stepper.leak * np.max(step.within(), axis=0) * (step.end - step.start)
        if flux.sum() <= 0.1 * (p.sum() - step.p.sum()):  # the probability passed between the times that were looked at
            flux = self.stepper.leak
        larger = self._expand(p, flux, int(factor * len(p)) + 1)
        if len(larger) == len(p):
            raise ConvergenceError(
                f"probability {leaked:.1e} is lost near t={step.end:g} and no new states are found where it went; "
                f"loosen tol={self.tol:g}, or smooth the rates in time"
            )
        self._check_size(lost=float(1 - step.p.sum()))
        self.expansions += 1
        self.stepper = self._assemble(self.space)
        return larger

    def _expand(self, p: np.ndarray, flux: np.ndarray, size: int) -> np.ndarray:
        """Add states beyond those with nearly all of the flux, up to `size` in all; returns p on the larger set."""
        order = np.argsort(flux)
        sources = order[np.cumsum(flux[order]) > 0.01 * flux.sum()]  # harmless boundary states need no company
        self.space = self.space.grow(sources[::-1] if self.space.compiled.network.varying else sources, size=size)
        return np.concatenate([p, np.zeros(len(self.space) - len(p))])

    def _drop(self, p: np.ndarray, now: float, duration: float) -> np.ndarray:
        """Drop the least probable states when that makes the set much smaller; their mass is booked.

        A law that travels needs room ahead: where the smaller set would leak at once, it gets new states there.
        """
        if len(p) < 4 * FIRST_SIZE:
            return p
        budget = DROP * self.tol * (0.1 + 0.9 * now / self.horizon) - self.dropped
        order = np.argsort(p)
        n_negligible = int(np.searchsorted(np.cumsum(p[order]), 0.5 * budget))
        if n_negligible < 0.4 * len(p):
            return p
        kept = np.ones(len(p), dtype=bool)
        kept[order[:n_negligible]] = False
        self.dropped += float(p[~kept].sum())
        self.space = self.space.keep(kept)
        self.stepper = self._assemble(self.space)
        smaller, flux = p[kept], self.stepper.leak * p[kept] * duration
        if flux.sum() > 0.01 * self.tol:
            smaller = self._expand(smaller, flux, int(0.6 * len(p)))
            self.stepper = self._assemble(self.space)
        return smaller

    def _check_size(self, lost: float = 0.0) -> None:
        if len(self.space) > self.max_states and not self.fixed:
            raise ConvergenceError(
                f"fsp needs {len(self.space)} states and more (lost so far {lost:.1e}, tol={self.tol:g}); "
                f"raise max_states (now {self.max_states}), loosen tol, or use ssa"
            )


def gather(outputs: list[Output]) -> tuple[np.ndarray, np.ndarray]:
    """All outputs on one set of states: N states and p (T, N)."""
    if all(output.states is outputs[0].states for output in outputs):
        return outputs[0].states, np.array([output.p for output in outputs])
    distinct = {id(output.states): output.states for output in outputs}
    everything, slot = np.unique(np.concatenate(list(distinct.values())), axis=0, return_inverse=True)
    ends = np.cumsum([len(states) for states in distinct.values()])
    slots = dict(zip(distinct, np.split(slot.ravel(), ends[:-1]), strict=True))
    p = np.zeros((len(outputs), len(everything)))
    for row, output in zip(p, outputs, strict=True):
        row[slots[id(output.states)]] = output.p
    return everything, p
