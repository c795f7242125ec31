"""Where on a curve does a comparison change? Pieces of the curve in which none can are ruled out by bounds, the rest is bisected."""

from collections.abc import Callable, Sequence

import numpy as np

from cme.enclosure import enclose
from cme.hybrid import Hybrid
from cme.kernels.events import switches
from cme.ratelaw import TIME

Curve = Callable[[np.ndarray], np.ndarray]  # times (K,) to states (K, S + V)
PIECES = 16
LOOKS = 2000  # at most so many pieces are cut up further in one search
FINEST = 1e-13  # of the time: what rounding in a formula blurs is cut up no further


class Watch:
    """Some switches of a hybrid model: what their values are, and when they first change along a curve.

    Parameters
    ----------
    model
        Its `switch_formulas` are watched,
    which
        of these those with the numbers given here.
    depth
        How often a piece that holds no certainty is cut up. None: down to the rounding of the time, for a curve that is known exactly.
    """

    def __init__(self, model: Hybrid, which: Sequence[int], depth: int | None):
        self.which = np.array(which, dtype=np.int64)
        self.formulas = [model.switch_formulas[i] for i in which]
        self.names, self.depth, self.machine = model.coordinates, depth, model.machine
        self.y = np.zeros(self.machine.size)
        self.stack, self.out = np.empty(self.machine.stack_size), np.empty(len(model.switch_formulas))
        self.looks = 0

    def look(self, state: np.ndarray, time: float) -> np.ndarray:
        """The values of the switches at one time, as the kernels find them."""
        self.y[: len(self.names)], self.y[len(self.names)] = state, time
        switches(self.machine, self.y, self.stack, self.out)
        return self.out[self.which]

    def first_change(self, curve: Curve, start: float, end: float, now: np.ndarray) -> float | None:
        """The first time in (start, end] at which a switch has another value than `now`, to the last bit; None if none has.

        Nothing is missed that happens while the curve stays within the bounds of its pieces, which is sure for a curve that stands
        still. For one that moves, the bounds of a piece are its ends and eight times its bend.
        """
        if not len(self.which) or end <= start:
            return None
        self.looks = 0
        return self._search(curve, start, end, now, 0)

    def _search(self, curve: Curve, start: float, end: float, now: np.ndarray, level: int) -> float | None:
        nodes = np.unique(np.linspace(start, end, PIECES + 1))
        if len(nodes) == 2 or end - start <= FINEST * end or level == self.depth or self.looks >= LOOKS:
            return None if _same(self._look(curve, end), now) else self._bisect(curve, start, end, now)
        self.looks += 1
        for k in np.flatnonzero(~self._certain(curve, nodes, now)):
            found = self._search(curve, nodes[k], nodes[k + 1], now, level + 1)
            if found is not None:
                return found
        return None

    def _look(self, curve: Curve, time: float) -> np.ndarray:
        return self.look(curve(np.array([time]))[0], time)

    def _bisect(self, curve: Curve, before: float, after: float, now: np.ndarray) -> float:
        while True:
            middle = 0.5 * (before + after)
            if not before < middle < after:
                return after
            if _same(self._look(curve, middle), now):
                before = middle
            else:
                after = middle

    def _certain(self, curve: Curve, nodes: np.ndarray, now: np.ndarray) -> np.ndarray:
        """In which pieces between nodes does every switch surely keep its value? (K,)"""
        states = curve(nodes)
        with np.errstate(invalid="ignore"):
            low, high = np.minimum(states[:-1], states[1:]), np.maximum(states[:-1], states[1:])
            bend = np.abs(states[:-2] - 2 * states[1:-1] + states[2:])
            bend = np.maximum(np.concatenate([bend[:1], bend]), np.concatenate([bend, bend[-1:]]))
            low, high = np.where(bend > 0, low - bend, low), np.where(bend > 0, high + bend, high)
        values = {name: (low[:, i], high[:, i]) for i, name in enumerate(self.names)}
        values = {TIME: (nodes[:-1], nodes[1:])} | values
        certain = np.ones(len(nodes) - 1, dtype=bool)
        for formula, value in zip(self.formulas, now, strict=True):
            lower, upper = enclose(formula, values)
            certain &= (lower == value) & (upper == value)
        return certain


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))
