"""`March`: one solution of the master equation through time, on a set of states that grows and shrinks with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cme.errors import ConvergenceError
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator
from cme.projection.forecast import Forecast
from cme.projection.growth import beyond, worth_keeping
from cme.projection.polynomials import Step
from cme.projection.propagator import Magnus, on_a_law, too_rough
from cme.states import StateSpace

FIRST_SIZE = 1000  # states to begin with, where so many can be reached
MOVING_FIRST_SIZE = 200  # the same with moving rates, where each step costs as much as there are states, and the fastest of them sets it
SMALL = 4000  # states up to which it costs little to look at the law at many times
GROWTH, FAST_GROWTH = (
    1.3,
    1.8,
)  # the least factor by which a set with random jumps grows that leaks too much, and one that leaks far too much
LITTLE = 1.1  # the same for a large set whose reactions change counts by fixed numbers: it is known where the probability goes
TELLING = 100  # leaks up to this multiple of what is allowed say where the probability goes
FURTHER = 30  # the most by which a leak is taken to grow between what was seen and what comes next
HOPELESS = 3000, 3e12  # steps after which it is asked how many products, times states, are still to come, and how many are too many
STEP = 3e5  # what a step costs beside its products, in products times states
MUCH = 1.4  # growth by which a set was not made for what is to come in one piece
# How the tolerance is spent: what leaks, what is dropped, what the integrator may add (counted twice: what it loses looks like a leak).
LEAK, DROP, INTEGRATION = 0.7, 0.1, 0.1
WRITTEN = 0.03  # of it, what may be left out when a law is written out state by state, which is not dropped for what comes after


class Stepper(Protocol):
    """What takes a law forward on a fixed set of states."""

    method: str
    many_times: bool  # does the law at times on the way cost little?

    @property
    def leak(self) -> np.ndarray:
        """The rate out of the states, (N,)."""

    @property
    def exit_rates(self) -> np.ndarray:
        """The total rate out of each state, (N,)."""

    def least_stride(self, now: float) -> float:
        """The length of a step that is worth its price."""

    def note_travel(self, now: float, time: float) -> None:
        """Until about this time long steps are not worth while, since the set of states will change."""

    def step(self, p: np.ndarray, now: float, times: np.ndarray) -> Step:
        """One step from `now` to the last of `times`, or as far as is possible at once, with the law at the times on the way."""


class Form(Protocol):
    """How laws on a set of states are kept: N numbers, or more where each stands for states that are not told apart."""

    def probability(self, laws: np.ndarray) -> np.ndarray:
        """The probability of each state of the set, (..., N)."""

    def size(self, p: np.ndarray) -> np.ndarray:
        """A bound on the 1-norm of what is kept of each state, (N,)."""

    def written_out(self, space: StateSpace, p: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
        """States (K, S) and their probabilities (K,); at most `budget` may be left out."""


class PlainForm:
    """The probability of each state."""

    def probability(self, laws: np.ndarray) -> np.ndarray:
        """See `Form`."""
        return laws

    def size(self, p: np.ndarray) -> np.ndarray:
        """See `Form`."""
        return p

    def written_out(self, space: StateSpace, p: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
        """See `Form`."""
        return space.states, p


class MovingStepper:
    """Steps with rates that move with time; their errors are estimates. Times count from `start`."""

    method, many_times = Magnus.method, False

    def __init__(self, generator: TimeDependentGenerator, start: float, end: float, span: float, tol: float):
        ends = tuple(time - start for time in generator.ends)
        self._generator = TimeDependentGenerator(lambda time: generator.at(min(start + time, end)), ends=ends)
        self._magnus = Magnus(self._generator, 0.0, end - start, tol, on_a_law(tol), span)
        self._note(generator.at(start))

    def least_stride(self, now: float) -> float:
        """See `Stepper`."""
        return 0.0

    def note_travel(self, now: float, time: float) -> None:
        """See `Stepper`."""

    def step(self, p: np.ndarray, now: float, times: np.ndarray) -> Step:
        """See `Stepper`; a step never passes an output time."""
        after, end, error = self._magnus.advance(p, now, float(times[times > now][0]))
        self._note(*(self._generator.at(time) for time in (now, 0.5 * (now + end), end)))
        return Step(now, np.array([end]), after[None], np.array([error]))

    def _note(self, *generators: Generator) -> None:
        self.leak = np.max([each.leak for each in generators], axis=0)
        self.exit_rates = np.max([each.exit_rates for each in generators], axis=0)


@dataclass(frozen=True)
class Output:
    """A law at an output time, and the integrator's error by then."""

    states: np.ndarray
    p: np.ndarray
    error: float


class March:
    """The march in time: try a step, take as much of it as leaks little enough, grow where it leaked and drop what is left behind.

    Parameters
    ----------
    space
        The set of states to begin with.
    assemble
        Makes a `Stepper` for a set of states.
    tol
        What may leak, be dropped, and be added by the integrator, from time 0 to `horizon`.
    most
        States that there may be, and what to do where there would be more.
    fixed
        Keep the set as it is, whatever leaks.
    forecast
        Looks ahead whether there will be too many states, if that can be known.
    form
        How laws are kept.

    Attributes
    ----------
    now, p, stride
        The time reached, the law there, and how long a step is tried next.
    """

    def __init__(
        self, space: StateSpace, assemble: Callable[[StateSpace], Stepper], tol: float, horizon: float, most: tuple[int, str], fixed: bool,
        forecast: Forecast | None = None, form: Form | None = None,
    ):  # fmt: skip
        self.space, self.assemble, self.tol, self.horizon = space, assemble, tol, horizon
        (self.max_states, self.advice), self.fixed, self._forecast = most, fixed, forecast
        self.form: Form = PlainForm() if form is None else form
        self.outputs: dict[float, Output] = {}
        self.error, self.dropped, self.expansions, self.stride = 0.0, 0.0, 0, np.inf
        self._spent = 0.0  # of what may be dropped and leak from what was dropped
        self.method = "none"
        self._check_size()
        self.stepper = assemble(space)

    def run(self, p: np.ndarray, times: np.ndarray) -> Iterator[float]:
        """Advance to the last time, keeping the outputs; yields the time reached."""
        end, pace = float(times[-1]), Pace(float(times[-1]))
        self.now, self.p, self.stride = 0.0, p, min(end, self.stride)
        self._total, self._failures, self._grown = float(self.form.probability(p).sum()), 0, False
        if times[0] == 0:
            self.outputs[0.0] = self._output(p.copy(), 0.0)
        while self.now < end:
            if not self.now + self.stride > self.now or (self._grown and pace.hopeless(self.now)):
                raise ConvergenceError(
                    f"the law moves on faster than the states that are kept can follow near t={self.now:g}; give space=, or use ssa or lna"
                )
            step = self.stepper.step(self.p, self.now, self._marks(self.now, self.now + self.stride, times))
            pace.note(self.now, len(self.p) * float(np.sqrt(40 * self.stepper.exit_rates.max() * (step.end - self.now) + 400)))
            before, laws = self.form.probability(self.p), self.form.probability(step.laws)
            leaked = self._total - self.dropped - laws.sum(axis=1) - self.error - step.errors  # what the integrator loses is no leak
            n_good = int(np.count_nonzero(np.logical_and.accumulate(leaked <= self._allowed(step.times)) | self.fixed))
            if n_good:
                self._accept(step, n_good, times)
            if not self.fixed and self.now < end:
                self._prepare(step, before, laws, leaked, n_good, end)
            if n_good:
                yield self.now

    def _accept(self, step: Step, n_good: int, times: np.ndarray) -> None:
        """Go on to the last of the first `n_good` times of a step."""
        self._keep_outputs(times, step, n_good)
        self.now, self.p = float(step.times[n_good - 1]), step.laws[n_good - 1]
        self.error += float(step.errors[n_good - 1])
        self.method = self.stepper.method
        self._check_error(self.now, self._total - float(self.form.probability(self.p).sum()))

    def _prepare(self, step: Step, before: np.ndarray, laws: np.ndarray, leaked: np.ndarray, n_good: int, end: float) -> None:
        """The length of the next step, and the set for it: larger where too much leaks or will, perhaps smaller where not.

        `before` (N,) and `laws` (J, N) are the probabilities at the start and the times of the last step, `leaked` (J,) what left by then.
        """
        now, length = self.now, float(step.times[max(n_good - 1, 0)]) - step.start
        self._failures = 0 if n_good else self._failures + 1
        whole = n_good == len(step.times)
        seen = len(step.times) if whole else max(n_good + 1, int(np.count_nonzero(leaked <= TELLING * self._allowed(step.times))))
        ahead = float(step.times[seen - 1]) - now  # what was tried in vain
        if whole:
            stride = max((2 if self._grown else 4) * length, self.stepper.least_stride(now))
        else:
            stride = max(ahead, 2 * length if n_good else 0.0) * 0.5 ** max(self._failures - 1, 0)
        self.stride = min(stride, end - now)
        factor, leak = self._next_leak(step, leaked, seen, self.stride - ahead)
        self._grown = not whole or float(leaked[n_good - 1]) + leak > float(self._allowed(np.array(now + self.stride)))
        if not self._grown:
            self.p = self._drop(self.p, now, self.stride)
            return
        self.stepper.note_travel(now, now + 0.25 * (step.end - step.start))
        most = np.max([before, *laws[:seen], factor * laws[seen - 1]], axis=0)
        gone = max(float(before.sum() - laws[seen - 1].sum()), leak)
        n_states = len(self.space)
        duration = max(float(step.times[seen - 1]) - step.start, self.stride)
        self.p = self._follow(self.p, most, now, duration, self.stride, gone)
        self.stride *= 0.5 if len(self.space) > MUCH * n_states else 1.0
        if self._forecast is not None:
            self._forecast.look(self.space, self.p, now)

    def _check_error(self, now: float, gone: float) -> None:
        """Refuse an integrator's error above what is left of the tolerance: the one can only grow, and the other shrink."""
        left = max(self.tol - gone, 2 * INTEGRATION * self.tol)  # by what has leaked and been dropped
        if self.fixed or not 2 * self.error > left:
            return
        if self.method == Magnus.method:  # steps in which rounding does not decide add up to far less
            raise ConvergenceError(too_rough(self.error, now, self.horizon, 2 * self.error / left, self.tol))
        raise ConvergenceError(f"the integrator's error is only bounded by {self.error:.1e}; loosen tol={self.tol:g}")

    def _marks(self, now: float, end: float, times: np.ndarray) -> np.ndarray:
        """The times at which the law is looked at: those that are wanted, and fractions of the step."""
        end = float(times[-1]) if end > times[-1] - 1e-9 * (end - now) else end
        wanted = times[(times > now) & (times <= end)]
        if self.fixed:
            return wanted
        if not self.stepper.many_times:
            return np.unique(np.append(wanted, end))
        fractions = 0.5 ** np.array([0.0, 1, 2, 4, 6, 8, 10]) if len(self.space) <= SMALL else np.array([0.125, 0.25, 0.5, 1.0])
        return np.unique(np.append(wanted, np.append(now + (end - now) * fractions[fractions < 1], end)))

    def _next_leak(self, step: Step, leaked: np.ndarray, seen: int, time: float) -> tuple[float, float]:
        """By what factor the leak may grow in a time after the last law that was seen, and how much leaks then if the set stays."""
        rate = max(float(self.stepper.leak @ self.form.probability(step.laws[seen - 1])), 0.0)  # modes may be a little below zero
        if not self.stepper.many_times or seen < 2 or time <= 0 or rate == 0:
            return 1.0, rate * max(time, 0.0) if self.stepper.many_times else 0.0
        between = float(step.times[seen - 1] - step.times[seen - 2])
        mean = max(float(leaked[seen - 1] - leaked[seen - 2]), 1e-300) / between
        growth = max(np.log(rate / mean), 0.0) / (0.5 * between)
        factor = min(float(np.exp(min(growth * time, 50.0))), FURTHER)
        return factor, 0.5 * rate * factor * time

    def _keep_outputs(self, times: np.ndarray, step: Step, n_good: int) -> None:
        for time, law, error in zip(step.times[:n_good].tolist(), step.laws, step.errors, strict=False):
            if time in times:
                self.outputs[time] = self._output(law, self.error + float(error))

    def _output(self, p: np.ndarray, error: float) -> Output:
        states, law = self.form.written_out(self.space, p, WRITTEN * self.tol)
        return Output(states, law, error)

    def _allowed(self, now: np.ndarray) -> np.ndarray:
        """What may have leaked by now: a tenth is there at once, the rest comes with time."""
        return LEAK * self.tol * (0.1 + 0.9 * now / self.horizon)

    def _follow(self, p: np.ndarray, seen: np.ndarray, now: float, duration: float, ahead: float, gone: float) -> np.ndarray:
        """A set for what comes next: states beyond those through which probability leaked, but not those that the law has left.

        `seen` is the largest that each probability was in the step, `duration` how long that was. Returns p on the new set.
        """
        flux = self.stepper.leak * seen * duration
        if flux.sum() <= 0.1 * gone:  # it passed between the times that were looked at
            flux = self.stepper.leak * duration
        allowed = LEAK * self.tol * duration / self.horizon
        least = 0.5 * allowed / max(int(np.count_nonzero(flux)), 1)
        sources = np.flatnonzero(flux > min(least, 0.5 * float(flux.max())))
        n_states, exit_rates = len(p), self.stepper.exit_rates[sources]
        p, place = self._without(p, seen, sources, now, ahead, worth=0.05)
        sources, flux = place[sources], flux[sources]
        n_kept = len(self.space)
        cheap = n_states > SMALL and self.stepper.least_stride(now) == 0  # to try again on a set that is a little larger
        wanted = int((LITTLE if cheap else GROWTH) * n_states) - n_states
        if self.space.compiled.network.varying:
            self._expand(sources[np.argsort(-flux)], int((GROWTH if gone < 100 * allowed else FAST_GROWTH) * n_states) + 1)
        else:
            room = min(max(n_states, FIRST_SIZE), max(self.max_states - n_kept, 1))
            self.space = beyond(self.space, sources, flux, exit_rates, least=least, ahead=ahead, wanted=wanted, room=room)
        if len(self.space) == n_kept:
            raise ConvergenceError(
                f"probability {gone:.1e} is lost near t={now + duration:g} and no new states are found where it went; "
                f"loosen tol={self.tol:g}, or smooth the rates in time"
            )
        self._check_size(lost=gone)
        self.expansions += 1
        self.stepper = self.assemble(self.space)
        return np.concatenate([p, np.zeros((len(self.space) - n_kept, *p.shape[1:]))])

    def _expand(self, sources: np.ndarray, size: int) -> None:
        """Add states beyond some, up to `size` in all."""
        self.space = self.space.grow(sources, size=size)

    def _drop(self, p: np.ndarray, now: float, ahead: float) -> np.ndarray:
        """Drop what the law has left, where that makes the set much smaller."""
        if len(p) < 4 * FIRST_SIZE:
            return p
        smaller, _ = self._without(p, self.form.probability(p), np.empty(0, dtype=np.int64), now, ahead, worth=0.4)
        if len(smaller) < len(p):
            self.stepper = self.assemble(self.space)
        return smaller

    def _without(
        self, p: np.ndarray, seen: np.ndarray, spared: np.ndarray, now: float, ahead: float, worth: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Drop the states that matter least, if they are at least a part `worth` of all; returns p and the new place of each old state.

        What is dropped is lost, and so is what flows into those states after now, about as much as flows out of them.
        """
        budget = DROP * self.tol * (0.1 + 0.9 * now / self.horizon) - self._spent
        weight = seen * (1 + self.stepper.exit_rates * ahead)
        kept = worth_keeping(weight, 0.5 * budget)
        kept[spared] = True
        if np.count_nonzero(kept) > (1 - worth) * len(p) or len(p) < FIRST_SIZE:
            return p, np.arange(len(p))
        self._spent += float(weight[~kept].sum())
        gone = float(self.form.probability(p[~kept]).sum())
        self.dropped += gone
        self.error += max(float(self.form.size(p[~kept]).sum()) - gone, 0.0)
        self.space = self.space.keep(kept)
        return p[kept], np.cumsum(kept) - 1

    def _check_size(self, lost: float = 0.0) -> None:
        if len(self.space) > self.max_states and not self.fixed:
            raise ConvergenceError(
                f"fsp needs {len(self.space)} states and more (lost so far {lost:.1e}, tol={self.tol:g}); "
                f"{self.advice}, loosen tol, or use ssa"
            )


class Pace:
    """How much work the way to the horizon takes if it goes on as in the last steps."""

    def __init__(self, horizon: float):
        self._horizon, self._steps = horizon, list[tuple[float, float]]()
        self._work = 0.0

    def note(self, now: float, work: float) -> None:
        """A step from `now` takes about so many products, times states."""
        self._work += work + STEP
        self._steps.append((now, self._work))

    def hopeless(self, now: float) -> bool:
        """Is it far too much?"""
        n_steps, most = HOPELESS
        if len(self._steps) < n_steps:
            return False
        then, work = self._steps[len(self._steps) // 2]
        return (self._work - work) * (self._horizon - now) > most * (now - then)


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
