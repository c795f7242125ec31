"""`Tabulated`: a costly function on a line, evaluated once in a while and interpolated in between."""

from collections.abc import Callable

import numpy as np

DEGREE = 15
ACCURACY = 1e-10
DEEPEST = 40  # halvings of an interval, until what is left of a jump does not matter

_NODES = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
_TO_COEFFICIENTS = 2 / (DEGREE + 1) * np.cos(np.outer(np.arange(DEGREE + 1), np.arccos(_NODES)))
_TO_COEFFICIENTS[0] /= 2


class Tabulated:
    """A function from places (N,) in a domain to values (N, M), by Chebyshev polynomials on intervals [k 2^j, (k + 1) 2^j].

    An interval is halved while its last coefficients do not vanish beside the largest.
    """

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], domain: tuple[float, float]):
        self.function, self.domain = function, domain
        self.found: dict[tuple[int, int], np.ndarray | None] = {}  # coefficients (DEGREE + 1, M), None where an interval is halved

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The values (N, M)."""
        x = np.asarray(x, dtype=np.float64)
        extent = float(np.ptp(x)) or max(float(np.abs(x).max()), 1e-300)
        level = top = int(np.ceil(np.log2(extent)))
        out, waiting = None, np.arange(len(x))
        while waiting.size:
            places = np.floor(x[waiting] / 2.0**level).astype(np.int64)
            cells, slot = np.unique(places, return_inverse=True)
            self._look_at(level, cells.tolist(), last=level <= top - DEEPEST)
            halved = np.array([self.found[level, k] is None for k in cells.tolist()])[slot]
            done = waiting[~halved]
            if done.size:
                values = self._evaluate(level, cells, slot[~halved], x[done])
                out = np.empty((len(x), values.shape[1])) if out is None else out
                out[done] = values
            waiting, level = waiting[halved], level - 1
        assert out is not None
        return out

    def _ends(self, level: int, cells) -> tuple[np.ndarray, np.ndarray]:
        k = np.asarray(cells, dtype=np.float64)
        return np.maximum(k * 2.0**level, self.domain[0]), np.minimum((k + 1) * 2.0**level, self.domain[1])

    def _look_at(self, level: int, cells: list[int], last: bool) -> None:
        new = [k for k in cells if (level, k) not in self.found]
        if not new:
            return
        low, high = self._ends(level, new)
        nodes = (low + high)[:, None] / 2 + (high - low)[:, None] / 2 * _NODES
        values = self.function(nodes.ravel()).reshape(len(new), DEGREE + 1, -1)
        for k, part in zip(new, _TO_COEFFICIENTS @ values, strict=True):
            smooth = np.all(np.abs(part[-3:]).max(axis=0) <= ACCURACY * np.abs(part).max(axis=0))
            self.found[level, k] = part if smooth or last else None

    def _evaluate(self, level: int, cells: np.ndarray, slot: np.ndarray, x: np.ndarray) -> np.ndarray:
        blank = np.zeros_like(next(each for k in cells.tolist() if (each := self.found[level, k]) is not None))
        table = np.array([blank if (each := self.found[level, k]) is None else each for k in cells.tolist()])
        low, high = self._ends(level, cells)
        z = (2 * x - low[slot] - high[slot]) / (high - low)[slot]
        polynomials = np.cos(np.arange(DEGREE + 1) * np.arccos(np.clip(z, -1.0, 1.0))[:, None])
        return np.einsum("nd,ndm->nm", polynomials, table[slot])
