"""`BurstMatrix`: a generator in which bursts of geometric size are not written out, since they lead from each state to all larger ones."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, splu

from cme.generator import Generator
from cme.kernels import bursts
from cme.network import Network
from cme.ratelaw import Apply, Number
from cme.states import StateSpace
from cme.stoichiometry import Varying

FEW_STATES = 256  # up to which all entries cost no more
FAST = 2.0**20  # times the largest rate, walkers go on
SMALL_MEAN = 4.0  # of a burst, up to which few states are reached by it


class Burst(NamedTuple):
    """A reaction that makes geometric(mean) times `factor` molecules of species s, and changes counts by the same numbers beside."""

    reaction: int
    s: int
    factor: int
    mean: float


class Lines(NamedTuple):
    """The states in the order of lines along which a burst goes, see `cme.kernels.bursts`."""

    entry: np.ndarray
    rate: np.ndarray
    keep: np.ndarray
    place: np.ndarray
    stop: float


def with_bursts(network: Network, space: StateSpace) -> Generator | None:
    """The generator of a network whose reactions make bursts of geometric size, with a `BurstMatrix`; None where all entries cost less."""
    found = _bursts(network) if len(space) > FEW_STATES else []
    if not found:
        return None
    rates = space.compiled.propensities(space.states)
    if not np.all(np.isfinite(rates)) or rates.min() < 0:
        return None  # that is told where entries are listed
    others = replace(network, reactions=tuple(r for i, r in enumerate(network.reactions) if i not in {burst.reaction for burst in found}))
    rest = Generator.from_network(others, StateSpace.holding(others, space.states))
    matrix, leak, lines = rest.sparse(), rest.leak.copy(), []
    for burst in found:
        rate = rates[:, burst.reaction]
        start = space.states + _constant(network, burst.reaction)
        if np.any(start[rate > 0] < 0):
            return None
        entered, lost = _enter(space.states, start, rate, burst)
        lines.append(entered)
        leak += rate * lost
        matrix = matrix - sp.diags_array(rate)
    exits = -matrix.diagonal()
    off = max(float((rates[:, burst.reaction] * burst.mean).max()) for burst in found) / max(float(exits.max()), 1e-300)
    whole = BurstMatrix(sp.csc_array(matrix), lines, 2 * off)
    return Generator(whole, leak, space.states, network.species_names, _exit_rates=exits)


def with_walkers(network: Network, space: StateSpace) -> Generator | None:
    """The same process with what walks along the lines as states of its own, after the N others; None where all entries cost less.

    It has few entries, all between neighbours. Walkers that end at none of the states do not set out, and the others are led accordingly
    (by the chance to end inside, from each state), so that jumps that leave the set are dropped as they are with all entries. They go so
    fast that no time passes: the law on the first N states, normalised, is that of the generator.
    """
    found = with_bursts(network, space)
    if found is None:
        return None
    assert isinstance(found.matrix, BurstMatrix)
    n_states, speed, states = len(space), FAST * found.largest_rate, [space.states]
    blocks, walks = [[found.matrix.entries]], []
    for i, each in enumerate(found.matrix.lines):
        inside, ending = np.flatnonzero(each.entry >= 0), np.empty(n_states)
        bursts.find_lost(each.keep, np.full(n_states, each.stop), 1.0 - each.stop, ending)  # the same sums as of what is lost
        entered = each.rate[inside] * ending[each.entry[inside]]
        ends, goes_on = speed * each.stop / ending, speed * each.keep[1:] * ending[1:] / ending[:-1]
        blocks[0].append(sp.csc_array((ends, (each.place, np.arange(n_states))), shape=found.matrix.shape))
        walk = sp.diags_array([-(ends + np.append(goes_on, 0.0)), goes_on], offsets=[0, -1])
        enter = sp.csc_array((entered, (each.entry[inside], inside)), shape=found.matrix.shape)
        walks.append([enter, *[None] * i, walk, *[None] * (len(found.matrix.lines) - i - 1)])
        states.append(space.states[each.place])
    matrix = sp.csc_array(sp.block_array(blocks + walks, format="csc"))
    matrix.eliminate_zeros()
    leak = np.append(found.leak, np.zeros(len(walks) * n_states))
    return Generator(matrix, leak, np.concatenate(states), network.species_names)


class BurstMatrix(LinearOperator):
    """A generator with sparse entries, and geometric bursts along lines: products in O(N), and one sparse factorisation of I - gamma A.

    Attributes
    ----------
    entries
        The other reactions; on the diagonal, minus the rates of all. (So a burst of nothing goes out and comes in, which is no change.)
    roughness
        How many roundings more than a sparse product's a product may suffer, relative to the largest rate: what walks along a line is
        rounded at each state, and walks as far as a burst is long.
    """

    def __init__(self, entries: sp.csc_array, lines: list[Lines], roughness: float):
        super().__init__(np.dtype(np.float64), entries.shape)
        self.entries, self.lines, self.roughness = entries, lines, roughness
        self._passing = np.empty(entries.shape[0])

    @property
    def nnz(self) -> int:
        """How many numbers a product reads, about."""
        return int(self.entries.nnz) + 3 * len(self.lines) * self.entries.shape[0]

    def _matvec(self, p: np.ndarray) -> np.ndarray:
        p = np.ascontiguousarray(p, dtype=np.float64).ravel()
        out = self.entries @ p
        for each in self.lines:
            bursts.hand_on(each.entry, each.rate, each.keep, each.place, each.stop, p, self._passing, out)
        return out

    def factorised(self, gamma: float):
        """Solve with I - gamma A, from the factors of a sparse matrix that holds what walks along the lines as well.

        Its columns are diagonally dominant, so that no pivoting is needed: of what walks, all ends or goes on.
        """
        n_states = self.shape[0]
        one, blocks, walks = sp.eye_array(n_states, format="csc"), [], []
        blocks.append([one - gamma * self.entries])
        for i, each in enumerate(self.lines):
            inside = np.flatnonzero(each.entry >= 0)
            entered = sp.csc_array((gamma * each.rate[inside], (each.entry[inside], inside)), shape=self.shape)
            ends = sp.csc_array((np.full(n_states, each.stop), (each.place, np.arange(n_states))), shape=self.shape)
            blocks[0].append(-ends)
            walks.append([-entered, *[None] * i, one - sp.diags_array(each.keep[1:], offsets=-1), *[None] * (len(self.lines) - i - 1)])
        whole = sp.csc_matrix(sp.block_array(blocks + walks, format="csc"))
        factors = splu(whole, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        nothing = np.zeros(len(self.lines) * n_states)
        return lambda right: factors.solve(np.append(right, nothing))[:n_states]


def _bursts(network: Network) -> list[Burst]:
    """The reactions that draw one number, from a geometric law that does not depend on counts, and make so many of one species."""
    found = []
    for r, varying in network.varying.items():
        mean = _mean(varying)
        if mean > SMALL_MEAN:
            ((_, name, factor),) = varying.terms
            found.append(Burst(r, network.species_names.index(name), factor, mean))
    return found


def _mean(varying: Varying) -> float:
    """The mean of a burst, 0 if it is none."""
    if len(varying.numbers) != 1 or len(varying.terms) != 1 or varying.terms[0][2] < 1:
        return 0.0
    law = varying.numbers[0]
    if not isinstance(law, Apply) or law.op != "geometric" or not isinstance(law.args[0], Number) or not np.isfinite(law.args[0].value):
        return 0.0
    return law.args[0].value


def _constant(network: Network, reaction: int) -> np.ndarray:
    constant = network.varying[reaction].constant
    return np.array([constant.get(name, 0) for name in network.species_names], dtype=np.int64)


def _enter(states: np.ndarray, start: np.ndarray, rate: np.ndarray, burst: Burst) -> tuple[Lines, np.ndarray]:
    """The lines of a burst that begins at start (N, S), and which part of it ends at none of the states, (N,)."""
    n_states = len(states)
    stop, go_on = 1.0 / (1.0 + burst.mean), burst.mean / (1.0 + burst.mean)
    both = np.concatenate([start, states])
    step, line = np.divmod(both[:, burst.s], burst.factor)
    others = np.delete(both, burst.s, axis=1)
    order = np.lexsort((np.arange(2 * n_states), step, line, *others.T))  # a burst that begins at a state comes before that state
    same_line = np.all(others[order[1:]] == others[order[:-1]], axis=1) & (line[order[1:]] == line[order[:-1]])
    line_of = np.cumsum(np.append(0, ~same_line))
    is_state = order >= n_states
    place, at, line_at = order[is_state] - n_states, step[order[is_state]], line_of[is_state]
    follows = np.append(False, line_at[1:] == line_at[:-1])
    gap = np.append(1, np.diff(at))
    keep = np.where(follows, go_on ** np.where(follows, gap, 1.0), 0.0)
    missed = np.where(follows, -go_on * np.expm1(np.where(follows, gap - 1.0, 0.0) * np.log(go_on)), go_on)
    lost = np.empty(n_states)
    bursts.find_lost(keep, missed, stop, lost)
    behind = np.cumsum(is_state)[~is_state]  # the state that comes next, in the order of lines
    entry, gaps, part = np.full(n_states, -1), np.zeros(n_states), np.ones(n_states)
    next_one = np.minimum(behind, n_states - 1)
    there = (behind < n_states) & (line_at[next_one] == line_of[~is_state])
    who = order[~is_state]
    entry[who[there]] = next_one[there]
    gaps[who[there]] = at[next_one[there]] - step[order[~is_state]][there]
    inside = entry >= 0
    part[inside] = -np.expm1(gaps[inside] * np.log(go_on)) + go_on ** gaps[inside] * lost[entry[inside]]
    return Lines(entry, rate * go_on**gaps, keep, place, stop), part
