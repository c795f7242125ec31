"""The jump moments of a kernel W(x, y) at single places: integrals over the length of the jump."""

from collections.abc import Callable

import numpy as np

from cme.cell_rates import complain, evaluate_kernel
from cme.errors import ConvergenceError

LONGEST = 30.0  # the logarithm of the longest jump that is looked at, in the units of the kernel; the shortest is 60 less
FINE, GROUP, ORDER = 0.25, 4, 10  # panels in the logarithm of the length, how many make a wider one, and Gauss points in each
SCANNED = 33  # places at which all panels are looked at
ACCURACY = 1e-10


def kernel_moments(kernel: Callable, k: int, y: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
    """The integrals of (x - y)^k W(x, y) over x in a domain of the line, at places y (N,).

    The length of the jump to either side is integrated on a logarithmic scale: first in fine panels at some places, then in panels as
    wide as those places allow at all of them; a panel is halved until that changes nothing.

    Raises
    ------
    ValueError
        If the kernel is negative or no number somewhere.
    ConvergenceError
        If the integral does not exist, or does not converge to 1e-10 of that of |x - y|^k W.
    """
    total, size = np.zeros(len(y)), np.zeros(len(y))
    sides = []
    for sign, end in ((-1.0, domain[0]), (1.0, domain[1])):
        room = np.abs(end - y)
        sides.append(_Side(kernel, k, y, sign, np.where(np.isfinite(room), room, np.exp(LONGEST))))
        sides[-1].check_ends(bool(np.isinf(end)))
    panels = [side.panels() for side in sides]
    for first in range(0, len(y), 512):
        here = slice(first, first + 512)
        for side, (low, high) in zip(sides, panels, strict=True):
            size[here] += np.abs(side.on(low, high, here)).sum(axis=0)
        for side, (low, high) in zip(sides, panels, strict=True):
            total[here] += side.integral(low, high, here, ACCURACY * size[here])
    return total


class _Side:
    """Jumps to one side, from places y (N,), up to a length of room (N,): panels are in s, with jumps of room exp(s)."""

    def __init__(self, kernel: Callable, k: int, y: np.ndarray, sign: float, room: np.ndarray):
        self.kernel, self.k, self.y, self.sign, self.room = kernel, k, y, sign, room
        self.scanned = np.unique(np.argsort(y)[np.linspace(0, len(y) - 1, min(SCANNED, len(y))).astype(int)])

    def on(self, low: np.ndarray, high: np.ndarray, places) -> np.ndarray:
        """The moment on each panel from each of some places, (P, n)."""
        nodes, weights = np.polynomial.legendre.leggauss(ORDER)
        half = (high - low)[:, None] / 2
        y = self.y[places]
        length = self.room[places] * np.exp((low + half[:, 0])[:, None] + half * nodes)[:, :, None]  # (P, Q, n)
        value = evaluate_kernel(self.kernel, y + self.sign * length, np.broadcast_to(y, length.shape), length.shape)
        if not np.all(value >= 0):
            p, q, n = np.argwhere(~(value >= 0))[0]
            complain(value[p, q, n], np.atleast_1d(y[n] + self.sign * length[p, q, n]), np.atleast_1d(y[n]))
        with np.errstate(invalid="ignore", over="ignore"):
            return np.einsum("pqn,pq->pn", self.sign**self.k * value * length ** (self.k + 1), half * weights)

    def check_ends(self, unbounded: bool) -> None:
        """The shortest jumps must not matter, nor (without an end of the domain) the longest."""
        all_ = np.abs(self.on(*self._fine(), self.scanned)).sum(axis=0)
        for low, what, wanted in ((-2 * LONGEST, "short jumps", True), (-2.0, "long jumps", unbounded)):
            last = np.abs(self.on(np.array([low]), np.array([low + 2.0]), self.scanned))
            if wanted and np.any(last > 0) and not np.all(last <= 1e-9 * all_):
                raise self._failure(f"{what} are too frequent")

    @staticmethod
    def _fine() -> tuple[np.ndarray, np.ndarray]:
        ticks = np.arange(-2 * LONGEST, FINE / 2, FINE)
        return ticks[:-1], ticks[1:]

    def panels(self) -> tuple[np.ndarray, np.ndarray]:
        """Panels that hold nearly everything: wide ones where they see the same as fine ones."""
        low, high = self._fine()
        fine = self.on(low, high, self.scanned)
        if not np.all(np.isfinite(fine)):
            raise self._failure("the kernel is infinite somewhere")
        allowed = ACCURACY * np.abs(fine).sum(axis=0)
        groups = fine.reshape(-1, GROUP, fine.shape[1])
        wide = np.abs(self.on(low[::GROUP], high[GROUP - 1 :: GROUP], self.scanned) - groups.sum(axis=1)) <= allowed
        held = np.any(np.abs(groups).sum(axis=1) > 1e-3 * allowed, axis=1)
        held |= np.append(held[1:], False) | np.append(False, held[:-1])  # and their neighbours, for the other places
        wide = np.all(wide, axis=1)
        each = np.repeat(held & ~wide, GROUP)
        return np.append(low[::GROUP][held & wide], low[each]), np.append(high[GROUP - 1 :: GROUP][held & wide], high[each])

    def integral(self, low: np.ndarray, high: np.ndarray, places, allowed: np.ndarray) -> np.ndarray:
        """The moment (n,), each panel halved until its own part changes by less than is allowed."""
        whole, total = self.on(low, high, places), np.zeros(len(self.y[places]))
        for _ in range(50):
            middle = (low + high) / 2
            halves = np.stack([self.on(low, middle, places), self.on(middle, high, places)])
            done = np.all(np.abs(halves.sum(axis=0) - whole) <= allowed, axis=1)
            total += halves[:, done].sum(axis=(0, 1))
            if np.all(done):
                return total
            low, high = np.concatenate([low[~done], middle[~done]]), np.concatenate([middle[~done], high[~done]])
            whole = np.concatenate(list(halves[:, ~done]))
            if len(low) > 5000:
                break
        raise self._failure("it may be singular there")

    def _failure(self, why: str) -> ConvergenceError:
        return ConvergenceError(
            f"the jump moment a_{self.k} of the kernel does not converge, near y = {self.y[0]:.6g}: {why}; "
            "end the domain, or cut the kernel off"
        )
