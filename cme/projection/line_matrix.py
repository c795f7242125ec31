"""`LineMatrix`: what the jumps of a network do to the modes of lines of a fast pair, as blocks between lines."""

import numpy as np

from cme.kernels.paired import Blocks
from cme.projection.fast_pair import FastPair, Jump
from cme.states import StateSpace


class LineMatrix:
    """The matrix K of x' = K x for the modes x of L lines, in an order in which lines of one kind are neighbours.

    Attributes
    ----------
    kinds : (C, U - 1)
        The kinds of lines that there are.
    n_modes : (C,)
    q
        Half of what the fastest mode decays with, or more.
    blocks
        I + K/q for the kernel.
    defect
        The rate at which the 1-norm of what strays grows with each mode.
    roughness
        What the rounding errors of a product are larger by than those of a product with a generator.
    leak, exit_rates : (L,)
        The rate out of the set, and in all, where the pair is in equilibrium; lines in the order of the space.
    """

    def __init__(self, pair: FastPair, space: StateSpace):
        self._pair = pair
        n_lines = len(space)
        self.kinds, kind = pair.kinds(space.states)
        self.n_modes = pair.n_modes(self.kinds)
        self.order = np.argsort(kind, kind="stable")
        self._lines, self._kind = space.states[self.order], kind[self.order]
        self._first_of_kind = np.searchsorted(self._kind, np.arange(len(self.kinds)))
        widths = self.n_modes[self._kind]
        self._begin = np.append(0, np.cumsum(widths))
        self._width = int(self.n_modes.max())
        self._held = np.arange(self._width) < widths[:, None]  # which places of an array (L, M) are modes
        place = np.empty(n_lines, dtype=np.int64)
        place[self.order] = np.arange(n_lines)
        self._heads = pair.heads(self._lines)
        goals = [space.index(self._lines + jump.move) for jump in pair.jumps]
        self._goals = [np.where(goal < 0, -1, place[goal]) for goal in goals]
        self._assemble()

    def _assemble(self) -> None:
        pair, kind, n_lines = self._pair, self._kind, len(self._lines)
        lines = [pair.line(each) for each in self.kinds]
        parts = _Parts()
        stay, leak, exit_rates = np.zeros(n_lines), np.zeros(n_lines), np.zeros(n_lines)
        speed = np.array([-line.decay.min() for line in lines])[kind]
        defect = self._of_kinds([line.inexact for line in lines])[kind]
        # What strays: the rates (L,) of jumps, the 1-norms for modes of each kind (C, M), and to which kinds it goes, (C,).
        self._strays: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        acting = dict[tuple, tuple[np.ndarray, list]]()  # what multiplies a block within lines, all jumps together
        for head, goal, jump in zip(self._heads, self._goals, pair.jumps, strict=True):
            leads = (goal >= 0) & (head != 0)
            mean, largest = np.ones(n_lines), np.ones(n_lines)
            if jump.factors:
                within = [pair.within(each, jump) for each in self.kinds]
                mean, largest = np.array([found.mean for found in within])[kind], np.array([found.largest for found in within])[kind]
                acting.setdefault(within[0].factors, (np.zeros(n_lines), within))[0][:] += head * within[0].slope
                stay -= head * np.array([found.constant for found in within])[kind]
            else:
                stay -= head
            reached = np.bincount(kind[leads], minlength=len(lines)) > 0
            across = [pair.across(each, jump) if reached[c] else None for c, each in enumerate(self.kinds)]
            some = np.flatnonzero(leads)
            parts.add(goal[some], some, head[some], kind[some], [None if found is None else found[0] for found in across])
            off = self._of_kinds([np.zeros(1) if found is None else found[1] for found in across])
            self._strays.append((np.where(leads, head, 0.0), off, self._kinds_after(jump)))
            exit_rates += head * mean
            leak += np.where(goal < 0, head * mean, 0.0)
            speed += 2 * head * largest
        for slope, within in acting.values():
            some = np.flatnonzero(slope)
            parts.add(some, some, -slope[some], kind[some], [found.block for found in within])
            self._strays.append((np.abs(slope), self._of_kinds([found.strays for found in within]), np.arange(len(lines))))
        for rate, off, _ in self._strays:
            defect += rate[:, None] * off[kind]
        self.q = 0.5 * float(speed.max())
        self.roughness = 1.0 + float((parts.row_sums(n_lines) + np.abs(stay) + speed).max()) / self.q
        decay_at = np.append(0, np.cumsum(self.n_modes))
        self.blocks = Blocks(
            begin=self._begin,
            **parts.sorted(n_lines, self.q),
            stay=1.0 + stay / self.q,
            decay_at=decay_at[kind],
            decay=np.concatenate([line.decay for line in lines]) / self.q,
        )
        self.defect = defect[self._held]
        self.leak, self.exit_rates = np.empty(n_lines), np.empty(n_lines)
        self.leak[self.order], self.exit_rates[self.order] = leak, exit_rates

    def _of_kinds(self, rows: list[np.ndarray]) -> np.ndarray:
        """Numbers for the modes of each kind as one array (C, M)."""
        whole = np.zeros((len(rows), self._width))
        for row, found in zip(whole, rows, strict=True):
            row[: len(found)] = found
        return whole

    def _kinds_after(self, jump: Jump) -> np.ndarray:
        """To which kind a jump leads from each, -1 if there is none."""
        place = {kind.tobytes(): c for c, kind in enumerate(self.kinds)}
        return np.array([place.get(kind.tobytes(), -1) for kind in self.kinds + self._pair.move_of_kind(jump)])

    def strays(self, x: np.ndarray) -> np.ndarray:
        """The rate at which a law strays from the modes that are kept on lines of each kind, (C,)."""
        size, strays = np.zeros(self._held.shape), np.zeros(len(self.kinds))
        size[self._held] = np.abs(x)
        for rate, off, to in self._strays:
            brought = (np.add.reduceat(rate[:, None] * size, self._first_of_kind, axis=0) * off).sum(axis=1)
            np.add.at(strays, to[to >= 0], brought[to >= 0])
        return strays

    def flat(self, p: np.ndarray) -> tuple[np.ndarray, float]:
        """The modes of a law (L, M) one after the other, and the 1-norm of what is cut off where fewer are kept."""
        whole = np.zeros(self._held.shape)
        width = min(p.shape[1], self._width)
        whole[:, :width] = p[self.order, :width]
        rest = p[self.order]
        rest[:, :width][self._held[:, :width]] = 0.0
        return whole[self._held], float(np.sqrt(np.square(rest).sum(axis=1)).sum())

    def by_line(self, x: np.ndarray) -> np.ndarray:
        """Laws (J, L, M) from their modes one after the other, (J, ...)."""
        laws = np.zeros((len(x), *self._held.shape))
        for law, row in zip(laws, x, strict=True):
            law[self._held] = row
        whole = np.empty_like(laws)
        whole[:, self.order] = laws
        return whole


class _Parts:
    """The parts of the matrix: from a line to a line, with a factor, and with a block or without."""

    def __init__(self):
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._numbers, self._entries, self._largest = dict[int, int](), list[np.ndarray](), list[float]()
        self._alive: list[np.ndarray] = []  # blocks are told apart by where they are in memory

    def add(self, to: np.ndarray, source: np.ndarray, factor: np.ndarray, kind: np.ndarray, blocks: list) -> None:
        """From lines (K,) of such kinds to lines (K,), with the blocks of each kind."""
        used = np.unique(kind)
        number = np.full(len(blocks), -1, dtype=np.int64)
        number[used] = [-1 if blocks[c] is None else self._number(blocks[c]) for c in used]
        self._parts.append((to, source, factor, number[kind]))

    def _number(self, block: np.ndarray) -> int:
        if id(block) not in self._numbers:
            self._numbers[id(block)] = len(self._entries)
            self._entries.append(block.T.ravel())  # column by column
            self._largest.append(float(np.abs(block).sum(axis=1).max()))
            self._alive.append(block)
        return self._numbers[id(block)]

    def row_sums(self, n_lines: int) -> np.ndarray:
        """The largest row sum of absolute values of what comes to each line, (L,)."""
        largest = np.append(self._largest, 1.0)  # -1 stands for the identity
        return np.bincount(
            np.concatenate([to for to, *_ in self._parts]),
            weights=np.concatenate([largest[block] * np.abs(factor) for _, _, factor, block in self._parts]),
            minlength=n_lines,
        )

    def sorted(self, n_lines: int, q: float) -> dict[str, np.ndarray]:
        """The fields of `Blocks` that tell of them."""
        to, source, factor, block = (np.concatenate([part[i] for part in self._parts]) for i in range(4))
        order = np.lexsort((block, to))
        pointer = np.searchsorted(to[order], np.arange(n_lines + 1))
        return {
            "pointer": pointer,
            "middle": pointer[:-1] + np.bincount(to[block < 0], minlength=n_lines),
            "source": source[order].astype(np.int32),
            "factor": factor[order] / q,
            "block": block[order].astype(np.int32),
            "first": np.append(0, np.cumsum([len(entries) for entries in self._entries], dtype=np.int64)),
            "entries": np.concatenate([*self._entries, np.zeros(1)]),
        }
