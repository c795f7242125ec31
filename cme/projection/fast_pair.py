"""`FastPair`: a fast reversible pair of reactions, such as 2 M <-> D, and the slowest modes of a law along its lines of states.

What the pair leaves alone (M + 2 D, and the counts of all others) makes a line of states, along which the pair alone is a birth-death
process. Its generator is symmetric with the weights 1/pi, pi being its stationary law: a law on the line is a sum of modes
sqrt(pi) q_j with orthonormal q_j, which decay at their own rates. The other reactions move a law by a molecule or two, which hardly
rouses any but the slowest modes. So a few numbers stand for each line, and the fastest rates are gone. What the other reactions would
bring to modes that are not kept is known by its 1-norm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cme import memory, ratelaw
from cme.compiled import falling_product
from cme.elements import Initial, Reaction, Species, write_side
from cme.network import Network
from cme.ratelaw import ONE, Apply, Expr, Number, Symbol, product_of, sum_of
from cme.states import StateSpace

FIRST_MODES, MOST_MODES = 8, 40  # on each kind of lines
STEEP = 300.0  # the largest exponent between two lines that is looked at: states where it is larger hold nothing
DIM = 1e-12  # sqrt(pi) below which it is not told what part a state has in the modes

Factors = tuple[tuple[int, float], ...]  # species and offset, as in X (X - 1) Y


class Line(NamedTuple):
    """One line: its K places, from no molecule of the product on, and its M slowest modes (columns; those past the K-th are zero)."""

    counts: np.ndarray  # (K, U) of the species of the pair
    log_pi: np.ndarray  # (K,)
    decay: np.ndarray  # (M,) not positive
    q: np.ndarray  # (K, M)
    modes: np.ndarray  # (K, M) sqrt(pi) q
    inexact: np.ndarray  # (M,) 1-norm of what the generator of the pair makes of a mode beside the mode


class Within(NamedTuple):
    """Factors on a line as a matrix for its modes: `constant` + `slope` times a block (M, M), from which strays (M,) in the 1-norm."""

    factors: Factors  # of the block
    constant: float
    slope: float
    block: np.ndarray
    strays: np.ndarray

    @property
    def mean(self) -> float:
        """In equilibrium."""
        return self.constant + self.slope * float(self.block[0, 0])

    @property
    def largest(self) -> float:
        """No eigenvalue is larger."""
        return float(np.abs(self.constant * np.eye(len(self.block)) + self.slope * self.block).sum(axis=1).max())


@dataclass(frozen=True)
class Jump:
    """What a reaction does to lines: how it moves them, and how the place on them; its propensity is a head times factors."""

    reaction: int
    move: np.ndarray  # (S - 1,) of the line
    step: int  # of the place
    factors: Factors  # of species of the pair, by their numbers among these
    head: Expr  # without them

    @cached_property
    def key(self) -> tuple:
        """Jumps with equal keys do the same to the modes of a line."""
        return tuple(self.move.tolist()), self.step, self.factors

    def along(self, line: Line) -> np.ndarray:
        """The factors at each place, (K,)."""
        return _product(line.counts, self.factors)


class FastPair:
    """A reversible pair by mass action that can be followed by its modes.

    Parameters
    ----------
    network
        S species; propensities hold species of the pair in factors of mass action only.
    forward, backward
        Two reactions that undo each other; the first makes one molecule of one species, out of one or two.

    How many modes are kept depends on the kind of line: a multiple of four.
    """

    def __init__(self, network: Network, forward: int, backward: int):
        self.network, self.forward, self.backward = network, forward, backward
        self._index = {name: i for i, name in enumerate(network.species_names)}
        self._change = network.stoichiometry[forward]
        self.product = int(np.argmax(self._change))
        self.others = np.delete(np.arange(len(self._index)), self.product)  # the species that lines count
        self.pair = np.append(np.flatnonzero(self._change < 0), self.product)
        self._of_line = np.searchsorted(self.others, self.pair[:-1])  # where lines count the reactants
        self._kept = dict[bytes, int]()  # modes by kind
        self._lines = dict[tuple[bytes, int], Line]()
        self._blocks = dict[tuple, tuple[np.ndarray, np.ndarray]]()

    @classmethod
    def candidates(cls, network: Network) -> Iterator["FastPair"]:
        """All pairs of a network that can be followed by their modes."""
        if network.varying or len(network.reactions) < 3:
            return
        changes = network.stoichiometry
        index = {name: i for i, name in enumerate(network.species_names)}
        read = [falling_product(formula, index) for formula in network.propensity_formulas]
        for forward, change in enumerate(changes):
            backward = np.flatnonzero(np.all(changes == -change, axis=1))
            if len(backward) != 1 or np.count_nonzero(np.all(changes == change, axis=1)) > 1:
                continue
            pair = np.flatnonzero(change)
            reactants = tuple((int(s), float(i)) for s in pair if change[s] < 0 for i in range(-change[s]))
            product = tuple((int(s), 0.0) for s in pair if change[s] > 0)
            if change[pair].max(initial=0) != 1 or len(product) != 1 or not 1 <= len(reactants) <= 2:
                continue
            there, back = read[forward], read[backward[0]]
            if there is None or back is None or min(there[0], back[0]) <= 0:
                continue
            if tuple(sorted(there[1])) != reactants or tuple(back[1]) != product:
                continue
            names = {network.species_names[s] for s in pair}
            if all(
                product is not None or names.isdisjoint(ratelaw.names(formula))
                for product, formula in zip(read, network.propensity_formulas, strict=True)
            ):
                yield cls(network, forward, int(backward[0]))

    def __str__(self) -> str:
        reaction = self.network.reactions[self.forward]
        return f"{write_side(reaction.reactants)} <-> {write_side(reaction.products)}"

    # ------------------------------------------------------------------------------------------------------ lines

    def lines_of(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lines (N, S - 1) and the places on them (N,) of states (N, S)."""
        place = states[:, self.product]
        return (states - place[:, None] * self._change)[:, self.others], place

    def kinds(self, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which kinds of lines there are, (C, U - 1), and of which each is, (N,): lines of one kind hold the same of the pair."""
        kinds, of = np.unique(lines[:, self._of_line], axis=0, return_inverse=True)
        return kinds, of.ravel()

    def n_modes(self, kinds: np.ndarray) -> np.ndarray:
        """How many modes are kept on lines of kinds (C, U - 1)."""
        return np.array([self._kept.get(kind.tobytes(), FIRST_MODES) for kind in kinds], dtype=np.int64)

    def keep_modes(self, kinds: np.ndarray, n_modes: np.ndarray) -> None:
        """Keep so many modes on lines of these kinds, multiples of four."""
        self._kept.update(zip((kind.tobytes() for kind in kinds), n_modes.tolist(), strict=True))

    def line(self, kind: np.ndarray) -> Line:
        """A line of a kind (U - 1,) with its modes."""
        key = kind.tobytes(), self._kept.get(kind.tobytes(), FIRST_MODES)
        if key not in self._lines:
            self._lines[key] = self._solve(kind, key[1])
        return self._lines[key]

    def length(self, kinds: np.ndarray) -> np.ndarray:
        """How many states there are on lines of kinds (..., U - 1)."""
        return (kinds // -self._change[self.pair[:-1]]).min(axis=-1) + 1

    def _solve(self, kind: np.ndarray, wanted: int) -> Line:
        n_states = int(self.length(kind))
        places = np.arange(n_states)
        counts = np.append(kind, 0) + places[:, None] * self._change[self.pair]
        up, down = self._propensity(self.forward, counts), self._propensity(self.backward, counts)
        log_pi = np.append(0.0, np.cumsum(np.log(up[:-1]) - np.log(down[1:])))
        log_pi -= log_pi.max()
        log_pi -= np.log(np.exp(log_pi).sum())
        n_modes = min(wanted, n_states)
        decay, q = np.zeros(wanted), np.zeros((n_states, wanted))
        q[:, 0] = np.exp(0.5 * log_pi)
        if n_modes > 1:
            from scipy.linalg import eigh_tridiagonal  # importing it takes longer than many a run

            beside = np.sqrt(up[:-1] * down[1:])
            found, vectors = eigh_tridiagonal(-(up + down), beside, select="i", select_range=(n_states - n_modes, n_states - 1))
            decay[1:n_modes], q[:, 1:n_modes] = found[-2::-1], vectors[:, -2::-1]
            for before in range(4, wanted, 4):  # laws that are known by fewer modes keep their meaning
                if (kind.tobytes(), before) in self._lines:
                    known = self._lines[kind.tobytes(), before].q
                    q[:, :before] *= np.where((q[:, :before] * known).sum(axis=0) < 0, -1.0, 1.0)
        modes = np.exp(0.5 * log_pi)[:, None] * q
        flow = up[:, None] * modes
        flow[:-1] -= (down[:, None] * modes)[1:]  # from each place to the next
        made = np.zeros_like(modes)
        made[:-1] -= flow[:-1]
        made[1:] += flow[:-1]
        return Line(counts, log_pi, decay, q, modes, np.abs(made - decay * modes).sum(axis=0))

    def _propensity(self, reaction: int, counts: np.ndarray) -> np.ndarray:
        constant, factors = self._read(reaction)
        return constant * _product(counts, factors)

    def _read(self, reaction: int) -> tuple[float, Factors]:
        found = falling_product(self.network.propensity_formulas[reaction], self._index)
        assert found is not None
        return found[0], tuple((int(np.flatnonzero(self.pair == s)[0]), offset) for s, offset in found[1])

    # ------------------------------------------------------------------------------------------------------ jumps

    @cached_property
    def jumps(self) -> tuple[Jump, ...]:
        """Of all reactions but the pair."""
        return tuple(self._jump(r) for r in range(len(self.network.reactions)) if r not in (self.forward, self.backward))

    def _jump(self, reaction: int) -> Jump:
        change, formula = self.network.stoichiometry[reaction], self.network.propensity_formulas[reaction]
        step = int(change[self.product])
        move = (change - step * self._change)[self.others]
        found = falling_product(formula, self._index)
        if found is None:
            return Jump(reaction, move, step, (), formula)
        inside = tuple(sorted((int(np.flatnonzero(self.pair == s)[0]), offset) for s, offset in found[1] if s in self.pair))
        outside = [_less(Symbol(self.network.species_names[s]), offset) for s, offset in found[1] if s not in self.pair]
        return Jump(reaction, move, step, inside, product_of([Number(found[0]), *outside]))

    def heads(self, lines: np.ndarray) -> np.ndarray:
        """The heads of the propensities of all jumps on lines, (R, N)."""
        values = {self.network.species_names[s]: column.astype(np.float64) for s, column in zip(self.others, lines.T, strict=True)}
        return np.array([np.broadcast_to(ratelaw.evaluate(jump.head, values), len(lines)) for jump in self.jumps])

    def move_of_kind(self, jump: Jump) -> np.ndarray:
        """By how much a jump changes the kind of a line, (U - 1,)."""
        return jump.move[self._of_line]

    def across(self, kind: np.ndarray, jump: Jump) -> tuple[np.ndarray, np.ndarray] | None:
        """What a jump brings from the modes of a line to those of another, (M, M), and the 1-norms of what strays, (M,).

        None if it brings the modes as they are, and nothing strays.
        """
        move = self.move_of_kind(jump)
        if not (move.any() or jump.step or jump.factors):
            return None
        return self._block(kind, kind + move, jump)

    def within(self, kind: np.ndarray, jump: Jump) -> "Within":
        """How the factors of a jump act on the modes of a line."""
        constant, slope, factors = 0.0, 1.0, jump.factors
        if len(factors) == 1:  # linear in the place on the line: one block serves for all such factors
            u, offset = factors[0]
            constant, slope, factors = float(np.append(kind, 0)[u]) - offset, float(self._change[self.pair[u]]), ((len(kind), 0.0),)
        return Within(factors, constant, slope, *self._block(kind, kind, Jump(jump.reaction, 0 * jump.move, 0, factors, ONE)))

    def _block(self, kind: np.ndarray, goal: np.ndarray, jump: Jump) -> tuple[np.ndarray, np.ndarray]:
        here, there = self.line(kind), self.line(goal)
        key = kind.tobytes(), goal.tobytes(), jump.step, jump.factors, len(here.decay), len(there.decay)
        if key not in self._blocks:
            rates, place = jump.along(here), np.arange(len(here.counts)) + jump.step
            held = (rates != 0) & (place >= 0) & (place < len(there.counts))
            place, moved = place[held], rates[held, None] * here.modes[held]
            steep = np.minimum(0.5 * (here.log_pi[held] - there.log_pi[place]), STEEP)
            block = there.q[place].T @ (np.exp(steep)[:, None] * rates[held, None] * here.q[held])
            block[0] = moved.sum(axis=0)  # no probability is lost
            arrives = np.zeros((len(there.counts), len(here.decay)))
            arrives[place] = moved
            self._blocks[key] = block, np.abs(arrives - there.modes @ block).sum(axis=0)
        return self._blocks[key]

    # ------------------------------------------------------------------------------------------- the slow network

    @cached_property
    def slow(self) -> Network:
        """A network whose states are the lines. Its rates are about those that the pair has in equilibrium: they tell where to look."""
        names = self.network.species_names
        species = tuple(Species(names[s]) for s in self.others)
        mean = dict(zip(self.pair.tolist(), self._equilibrium(), strict=True))
        reactions = []
        for jump in self.jumps:
            if jump.move.any():
                sides = [
                    tuple((names[s], abs(int(n))) for s, n in zip(self.others, jump.move, strict=True) if sign * n > 0) for sign in (-1, 1)
                ]
                factors = [self._about(int(self.pair[u]), offset, mean) for u, offset in jump.factors]
                law = product_of([jump.head, *self._somewhere(jump.factors), *factors])
                reactions.append(Reaction(self.network.reactions[jump.reaction].name, sides[0], sides[1], law))
        return Network(species, tuple(reactions), Initial(((0.0,) * len(species),)), name=self.network.name)

    def _equilibrium(self) -> tuple[Expr, ...]:
        """The counts of the pair's species where forward and backward rates are equal, in terms of what is on the line."""
        names, change = self.network.species_names, self._change
        (there, factors), (back, _) = self._read(self.forward), self._read(self.backward)
        ratio = back / there
        totals = [Symbol(names[s]) for s in self.pair[:-1]]
        if len(factors) == 1:
            bound: Expr = Apply("/", (totals[0], Number(1.0 + ratio)))
        else:  # the smaller root of (x - b)(y - b) = r b, or of (x - 2 b)(x - 2 b - 1) = r b with one half left out
            x, y = (totals * 2)[:2]
            scale = 2.0 if len(totals) == 1 else 1.0
            linear = sum_of([x, y, Number(ratio / scale)])
            inner = sum_of([_power(linear), product_of([Number(-4.0), x, y])])
            root = Apply("sqrt", (Apply("max", (Number(0.0), inner)),))
            bound = Apply("/", (sum_of([linear, Apply("neg", (root,))]), Number(2.0 * scale)))
        left = [sum_of([x, product_of([Number(float(change[s])), bound])]) for x, s in zip(totals, self.pair[:-1], strict=True)]
        return (*left, bound)

    def _somewhere(self, factors: Factors) -> list[Expr]:
        """What a line must hold so that factors are above zero, all at once, at one of its places at least."""
        names, needed = self.network.species_names, [0.0] * len(self.pair)
        for u, offset in factors:
            needed[u] = max(needed[u], offset + 1)
        least = [needed[u] - needed[-1] * float(self._change[s]) for u, s in enumerate(self.pair[:-1])]
        return [Apply(">", (Symbol(names[s]), Number(n - 0.5))) for s, n in zip(self.pair[:-1], least, strict=True) if n > 0]

    def _about(self, species: int, offset: float, mean: dict[int, Expr]) -> Expr:
        """A factor of mass action in equilibrium, not quite zero where it is rarely above."""
        above = _less(mean[species], offset)
        rounded = Apply("sqrt", (sum_of([_power(above), ONE]),))
        return product_of([Number(0.5), sum_of([above, rounded])])

    # ------------------------------------------------------------------------------------------------------- laws

    def traffic(self, states: np.ndarray, p: np.ndarray) -> float:
        """How often the pair reacts in a unit of time, both ways, in a law."""
        counts = states[:, self.pair]
        return float((self._propensity(self.forward, counts) + self._propensity(self.backward, counts)) @ p)

    def project(self, states: np.ndarray, p: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray, float]:
        """A law by its modes: lines (L, S - 1), modes (L, M), and the 1-norm of what they leave out.

        As many are kept on each kind of lines as leave out no more than `budget` in all, if that can be.
        """
        rows, place = self.lines_of(states)
        lines, of = np.unique(rows, axis=0, return_inverse=True)
        kinds, kind = self.kinds(lines)
        laws, owners = [], []
        for which, part in zip(kinds, _by_kind(kind[of.ravel()]), strict=True):
            own, column = np.unique(of.ravel()[part], return_inverse=True)
            law = np.zeros((int(self.length(which)), len(own)))
            law[place[part], column.ravel()] = p[part]
            laws.append(law)
            owners.append(own)
        left_out, most = np.full(len(kinds), np.inf), np.minimum(self.length(kinds), MOST_MODES)
        while True:
            n_modes = self.n_modes(kinds)
            modes = np.zeros((len(lines), int(n_modes.max())))
            for c, (which, own, law) in enumerate(zip(kinds, owners, laws, strict=True)):
                line = self.line(which)
                x = _modes(law, line)
                modes[own, : x.shape[1]], left_out[c] = x, np.abs(law - line.modes @ x.T).sum()
            more = (left_out > 0.5 * budget / len(kinds)) & (n_modes < most)
            if left_out.sum() <= budget or not more.any():
                return lines, modes, float(left_out.sum())
            self.keep_modes(kinds[more], n_modes[more] + 4)

    def probability(self, laws: np.ndarray) -> np.ndarray:
        """The probability of each line, (..., L)."""
        return laws[..., 0]

    def size(self, p: np.ndarray) -> np.ndarray:
        """A bound on the 1-norm of the law on each line, (L,)."""
        return np.sqrt(np.square(p).sum(axis=1))

    def written_out(self, space: StateSpace, p: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
        """States (N, S) and probabilities (N,) of a law that is known by its modes, without the least ones that sum up to `budget`."""
        lines, x = space.states, p
        kinds, kind = self.kinds(lines)
        pieces = list(zip(map(self.line, kinds), _by_kind(kind), strict=True))
        by_size, n_states = np.zeros(2100), np.zeros(2100)  # by powers of two, so that the whole law need not be in memory
        for line, part in pieces:
            law = np.maximum(_law(x[part], line), 0.0).ravel()
            size = np.frexp(law)[1] + 1075
            by_size += np.bincount(size, weights=law, minlength=2100)
            n_states += np.bincount(size, minlength=2100)
        first = int(np.searchsorted(np.cumsum(by_size), budget))
        least, n_kept = np.ldexp(0.5, first - 1075), int(n_states[first:].sum())
        memory.require_memory(16 * n_kept * (len(self._index) + 2), f"the {n_kept} states that the law lies on", "loosen tol")
        states, probabilities = [], []
        for line, part in pieces:
            law = _law(x[part], line)
            at, place = np.nonzero(law >= least)
            found = np.empty((len(at), len(self._index)), dtype=np.int64)
            found[:, self.others] = lines[part[at]]
            found[:, self.product] = 0
            states.append(found + place[:, None] * self._change)
            probabilities.append(law[at, place])
        return np.concatenate(states), np.concatenate(probabilities)


def _modes(law: np.ndarray, line: Line) -> np.ndarray:
    """The modes (L, M) of laws (K, L) on lines; no probability is lost."""
    root = np.exp(0.5 * line.log_pi)
    x = law.T @ (np.where(root > DIM, 1.0 / np.maximum(root, DIM), 0.0)[:, None] * line.q)
    x[:, 0] = law.sum(axis=0)
    return x


def _law(x: np.ndarray, line: Line) -> np.ndarray:
    """The probabilities at each place of lines whose modes are x (L, M)."""
    return x[:, : len(line.decay)] @ line.modes[:, : x.shape[1]].T


def _by_kind(kind: np.ndarray) -> list[np.ndarray]:
    """The places of each kind."""
    return np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])


def _product(counts: np.ndarray, factors: Factors) -> np.ndarray:
    """The product of (count - offset) over factors, for counts (K, U)."""
    product = np.ones(len(counts))
    for u, offset in factors:
        product = product * (counts[:, u] - offset)
    return product


def _less(formula: Expr, offset: float) -> Expr:
    return formula if offset == 0 else sum_of([formula, Number(-offset)])


def _power(formula: Expr) -> Expr:
    return Apply("^", (formula, Number(2.0)))
