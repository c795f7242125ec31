"""The errors of `cme`, and the sentence for each status a kernel may return.

Kernels never raise: they return one of the status integers below, and the words are made here.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """One thing that is wrong with a model: the kind and the name of the element, a sentence, and its line if it was read from a file.

    `missing`: something is used that is not there, as may be because it could not be read.
    """

    kind: str
    element: str
    what: str
    line: int | None = None
    missing: bool = False


class ModelError(ValueError):
    """A model that means nothing, or that the chosen solver can't take. Names the element and the way out.

    Attributes
    ----------
    problems
        Where a whole model was looked through, everything that is wrong with it, a `Problem` each.
    """

    def __init__(self, message: str, problems: Iterable[Problem] = ()):
        super().__init__(message)
        self.problems = tuple(problems)


LONGEST = 3500  # characters of a message


def refusal(problems: Iterable[Problem], source: str = "") -> ModelError:
    """The `ModelError` that lists problems by line; very many are cut in the message, and all there in its `problems`."""
    found = sorted(dict.fromkeys(problems), key=lambda each: -1 if each.line is None else each.line)
    lines = [each.what if each.line is None else f"line {each.line}: {each.what}" for each in found]
    if len(lines) == 1:
        between = "" if not source else ": " if found[0].line is None else ", "
        return ModelError(f"{source}{between}{lines[0]}", found)
    message = f"{source + ': ' if source else ''}{len(lines)} things in this model can't be taken"
    for i, line in enumerate(lines):
        if len(message) + len(line) > LONGEST:
            message += f"\n  and {len(lines) - i} more"
            break
        message += f"\n  {line}"
    return ModelError(message, found)


class ConvergenceError(RuntimeError):
    """An accuracy that was asked for and not reached. Names what was reached and what to change."""


# Statuses shared with cme.kernels (which import nothing of cme; one test holds the two lists together).
OK = 0
NEGATIVE_COUNT = 1
NEGATIVE_PROPENSITY = 2
UNDEFINED_PROPENSITY = 3
FULL = 4
CANCELLED = 5
OVERFLOW = 6
STALLED = 7
UNSETTLED = 8
CROWDED, BAD_DELAY, BAD_DRAW, UNDEFINED_VALUE, BAD_COUNT = 9, 10, 11, 12, 13  # these, and 8 once more, from cme.kernels.events
BAD_NUMBER = 19  # from cme.kernels.stoichiometry
UNRESOLVED = 21  # from cme.kernels.next_reaction


def rounded_count(species: str, count: int) -> str | None:
    """What is wrong with a whole number of molecules that double precision does not hold; None if it does."""
    try:
        held = int(float(count))
    except OverflowError:
        return f"species {species!r} starts at more than a number can hold"
    if held == count:
        return None
    return f"species {species!r} starts at {count}, which double precision rounds to {held}; write {held}, if that will do"


def describe_state(species, state):
    """Write a state as `{X: 3, Y: 0}`, leaving out zeros when there are many species."""
    pairs = [(name, value) for name, value in zip(species, np.asarray(state).tolist(), strict=True)]
    if len(pairs) > 8:
        pairs = [(name, value) for name, value in pairs if value] or pairs[:1]
    shown = ", ".join(f"{name}: {value:.6g}" for name, value in pairs[:12])
    return "{" + shown + (", ..." if len(pairs) > 12 else "") + "}"


def propensity_error(status, reaction, formula, species, state):
    """The `ModelError` for a reaction that misbehaves in a state (statuses 1, 2, 3, 6, 7, 19 and 21)."""
    where = f"in state {describe_state(species, state)}"
    if status == NEGATIVE_COUNT:
        return ModelError(
            f"reaction {reaction!r} fires {where} and would drive a count below zero; "
            f"its propensity {formula} must vanish when too few molecules are left"
        )
    if status == NEGATIVE_PROPENSITY:
        return ModelError(
            f"the propensity {formula} of reaction {reaction!r} is negative {where}; "
            "a propensity must be >= 0 in every state that can be reached (split a reversible law in two reactions)"
        )
    if status == UNDEFINED_PROPENSITY:
        return ModelError(
            f"the propensity {formula} of reaction {reaction!r} is not a finite number {where}; "
            "guard the law against division by zero and overflow, for example with piecewise()"
        )
    if status == BAD_NUMBER:
        return ModelError(
            f"a number of molecules of reaction {reaction!r} can't be drawn {where}; a mean must be >= 0 (and below 2^53), "
            "a number of trials whole and >= 0, and a probability lie between 0 and 1"
        )
    if status == OVERFLOW:
        return ModelError(f"reaction {reaction!r} drives a count past 2^62 {where}; the network grows without bound: stop earlier")
    if status == STALLED:
        return ModelError(
            f"reaction {reaction!r} with propensity {formula} fires so often {where} that time stands still; "
            "the network explodes in finite time: stop earlier or bound its growth"
        )
    if status == UNRESOLVED:
        return ModelError(
            f"reaction {reaction!r} with propensity {formula} is so fast {where} that its due times can't be told apart by then; "
            "use method='direct' or 'rejection', which add up waiting times"
        )
    raise AssertionError(f"kernel status {status} has no sentence")


def count_error(who, species, value, where):
    """The `ModelError` for an event or a random start that sets a count to what is none (status 13)."""
    what = f"{who} sets {species!r} to {value:.12g} {where}"
    if value < 0:
        return ModelError(f"{what}, and a count can't be negative; bound it with max(0, ...) in the formula, or use rate_equations")
    if not value < 2**53:
        return ModelError(f"{what}, and a count must be a number below 2^53; guard the formula, or use rate_equations")
    return ModelError(f"{what}, which is no whole number of molecules; round it with floor() in the formula, or use rate_equations")


def event_error(status, name, time):
    """The `ModelError` for an event that misbehaves at a time (statuses 8 to 12; for 11, the name is what starts at random)."""
    sentences = {
        UNSETTLED: f"events set each other off without end at t={time:g}, {name!r} most often; let a trigger turn false for good",
        CROWDED: f"too many executions of events wait at t={time:g}, when {name!r} triggers once more; shorten its delay",
        BAD_DELAY: f"the delay of event {name!r} is negative or no number at t={time:g}; it must be >= 0",
        BAD_DRAW: f"the random start of {name!r} can't be drawn; check the parameters of its distribution",
        UNDEFINED_VALUE: f"event {name!r} assigns what is not a number at t={time:g}; guard its formulas, for example with piecewise(), "
        "and check the parameters and bounds of what it draws",
    }
    return ModelError(sentences[status])
