"""Chains of states along one direction: the stationary law is a product of ratios of neighbouring propensities."""

import numpy as np
from numpy.polynomial import Polynomial

from cme.abilities import features
from cme.compiled import Compiled, falling_product
from cme.errors import ConvergenceError, ModelError
from cme.network import Network
from cme.projection.columns import FAR, MOST_FAR, check_states, column_from_steps
from cme.projection.product_form import Answer
from cme.states import StateSpace

BLOCK = 4096
MOST_STEPS = 20_000_000  # states that are looked at


def one_step(network: Network, initial, tol: float, max_states: int) -> Answer:
    r"""Evaluate the stationary law of a birth-death chain.

    .. math:: \frac{\pi(n+1)}{\pi(n)} = \frac{w_+(n)}{w_-(n+1)}

    where every reaction makes the same step forth or back, along whatever direction.

    Raises
    ------
    ModelError
        If reactions go in different directions, the start is not sharp, a state can't be left, or the propensities are no polynomials
        of the counts while the chain has no end: then nothing would be known of what lies beyond.
    ConvergenceError
        If the law needs more than `max_states`, or may have no sum.

    Notes
    -----
    Without end, what lies beyond N is bounded by a geometric series: the polynomial ``rho w_-(n+1) - w_+(n)``, expanded about N, must
    have no negative coefficient for a rho < 1. Every probability is right to round-off in relative terms.
    """
    chain = _Chain(network, initial)
    up, down, beyond = chain.ends(tol, max_states)
    steps = np.concatenate([-down[::-1], up])
    column = column_from_steps(-len(down), steps)
    p = column.p / (1 + beyond * column.p[-1])
    lost = beyond * float(p[-1])
    if beyond:  # as far as there is anything, or as far as was asked for
        few = len(p) > min(MOST_FAR, max_states)
        last = int(np.searchsorted(-(np.cumsum(p[::-1])[::-1]), -(0.4 * tol if few else FAR), side="right"))
        lost += float(p[last:].sum())
        column, p = column._replace(p=p[:last]), p[:last]
    kept = np.flatnonzero(p > 0)
    check_states(len(kept), max_states)
    states = chain.states(column.first + kept)
    rounding = 8 * np.finfo(np.float64).eps * (4.0 + float(np.sqrt(len(p))))
    return Answer(states, p[kept], lost, rounding, "birth-death chain: product of ratios of propensities")


class _Chain:
    """The states start + n step, n = ..., -1, 0, 1, ..., and the propensities forth and back."""

    def __init__(self, network: Network, initial):
        for feature in features(network):
            raise ModelError(f"{network.name!r} is no birth-death chain: {feature}")
        changes = network.stoichiometry
        moving = np.flatnonzero(changes.any(axis=1)).tolist()
        if not moving:
            raise ModelError(f"no reaction of {network.name!r} changes a count")
        step = changes[moving[0]]
        self.step = step if step[np.flatnonzero(step)[0]] > 0 else -step
        self._forth = [r for r in moving if np.array_equal(changes[r], self.step)]
        self._back = [r for r in moving if np.array_equal(changes[r], -self.step)]
        if len(self._forth) + len(self._back) < len(moving):
            raise ModelError(f"{network.name!r} is no birth-death chain: its reactions make different steps")
        starts = StateSpace.around(network, initial=initial, size=1).states
        if len(starts) > 1:
            raise ModelError(f"{network.name!r} starts from several states, which may lie on different chains")
        self._network, self._start, self._compiled = network, starts[0], Compiled(network)

    def states(self, n: np.ndarray) -> np.ndarray:
        """(K, S)."""
        return self._start + np.asarray(n, dtype=np.int64)[:, None] * self.step

    def _rates(self, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """w+ and w- at positions (K,)."""
        a = self._compiled.propensities(self.states(n))
        forth, back = a[:, self._forth].sum(axis=1), a[:, self._back].sum(axis=1)
        if not (np.all(a >= 0) and np.all(np.isfinite(a))):
            raise ModelError(f"a propensity of {self._network.name!r} is negative or undefined")
        return forth, back

    def ends(self, tol: float, max_states: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Logarithms of ratios of neighbours, forth and back from the start; and what is beyond, relative to the last probability."""
        down, _ = self._logs(-1, tol, max_states)
        up, beyond = self._logs(1, tol, max_states)
        return up, down, beyond

    def _logs(self, way: int, tol: float, max_states: int) -> tuple[np.ndarray, float]:
        room = self._room(way)
        found, n, size, height, peak = list[np.ndarray](), 0, 64, 0.0, 0.0
        while True:
            last = n + size if room is None else min(n + size, room)
            places = way * np.arange(n, last + 1)
            forth, back = self._rates(places)
            leave, enter = (forth, back) if way > 0 else (back, forth)
            ends = np.flatnonzero(leave == 0)
            end = int(ends[0]) if len(ends) else len(places) - 1
            if np.any(enter[1 : end + 1] == 0):
                raise ModelError(f"{self._network.name!r} is no chain of states that communicate: from some there is no way back")
            logs = np.log(leave[:end]) - np.log(enter[1 : end + 1])
            found.append(logs)
            heights = height + np.cumsum(logs)
            peak, height = max(peak, float(heights.max(initial=peak))), float(heights[-1]) if len(heights) else height
            if len(ends):
                return np.concatenate(found), 0.0
            n, size = last, min(2 * size, 1 << 18)
            if n == room:
                raise ModelError(f"a reaction of {self._network.name!r} would drive a count below zero")
            if room is None and height < peak + np.log(FAR if n < min(MOST_FAR, max_states) else 0.05 * tol):
                beyond = self._beyond(way * n)
                if beyond is not None and height + np.log(max(beyond, 1e-300)) < peak + np.log(0.1 * tol):
                    return np.concatenate(found), beyond
            if n > MOST_STEPS:
                raise ConvergenceError(f"the chain of {self._network.name!r} has no end that could be found; use method='projection'")

    def _room(self, way: int) -> int | None:
        """How many steps there are before a count falls below zero; None if there is no end."""
        step = way * self.step
        falling = step < 0
        return int((self._start[falling] // -step[falling]).min()) if falling.any() else None

    def _beyond(self, n: int) -> float | None:
        """A bound on the sum of all that lies beyond n, relative to what is there; None if none is known."""
        forth, back = self._polynomial(self._forth), self._polynomial(self._back)
        here = forth(Polynomial([n, 1.0])), back(Polynomial([n + 1.0, 1.0]))  # about n
        ratio = here[0].coef[0] / here[1].coef[0]
        for rho in (0.5 * (1 + ratio), 1 - 0.1 * (1 - ratio), 1 - 0.01 * (1 - ratio)):
            if rho < 1 and np.all((rho * here[1] - here[0]).coef >= 0):
                return float(rho / (1 - rho))
        return None

    def _polynomial(self, reactions: list[int]) -> Polynomial:
        """The sum of some propensities as a polynomial of the position."""
        index = {name: s for s, name in enumerate(self._network.species_names)}
        total = Polynomial([0.0])
        for r in reactions:
            product = falling_product(self._compiled.propensity_formulas[r], index)
            if product is None:
                raise ModelError(
                    f"the propensity {self._network.formula(r)} of reaction {self._network.reactions[r].name!r} is no polynomial of "
                    "counts, so that nothing is known of the end of the chain"
                )
            term = Polynomial([product[0]])
            for s, offset in product[1]:
                term = term * Polynomial([self._start[s] - offset, float(self.step[s])])
            total = total + term
        return total
