"""Networks with a fast reversible pair, small sets of their lines, and the matrix of modes with all its entries."""

import numpy as np

import cme
from cme.projection.fast_pair import FastPair
from cme.projection.line_matrix import LineMatrix
from cme.states import StateSpace

DIMER = "2 M <-> D @ 4, 30; 0 -> M @ 6; M -> 0 @ 1; D + G <-> H @ .05, .3; G -> G + 3 M @ .4; G = 1; H = 0; M = 3; D = 2"
ISOMER = "A <-> B @ 30, 50; 0 -> A @ 5; B -> 0 @ .6; 2 B -> C @ .01; C -> 0 @ 1; A = 4; B = 2; C = 0"
COMPLEX = "E + S <-> C @ 8, 40; C -> E + P @ 1; 0 -> S @ 2; P -> 0 @ 1; E => 0 @ .05*E; E = 4; S = 6; C = 0; P = 0"
BURDENED = "2 M <-> D @ 4, 30; 0 => M @ 6/(1 + R^2); R -> 0 @ 1; D -> D + R @ .1; D -> 0 @ .3; M -> 0 @ .2; M = 3; D = 2; R = 0"
NETWORKS = {"dimer": DIMER, "isomer": ISOMER, "complex": COMPLEX, "other laws": BURDENED}
MOLECULES = {DIMER: 15, ISOMER: 9, COMPLEX: 10, BURDENED: 10}


def the_pair(network: cme.Network, reaction: int = 0) -> FastPair:
    return next(pair for pair in FastPair.candidates(network) if pair.forward == reaction)


def small_set(network: cme.Network, n_molecules: int) -> tuple[FastPair, StateSpace, StateSpace]:
    """A pair, a few lines, and all the states on them."""
    pair = the_pair(network)
    lines = np.unique(
        pair.lines_of(StateSpace.reachable(network, within=" + ".join(network.species_names) + f" <= {n_molecules}").states)[0], axis=0
    )
    places = [np.arange(n) for n in pair.length(lines[:, pair._of_line])]
    states = np.zeros((sum(map(len, places)), len(network.species)), dtype=np.int64)
    states[:, pair.others] = np.repeat(lines, list(map(len, places)), axis=0)
    states += np.concatenate(places)[:, None] * network.stoichiometry[pair.forward]
    return pair, StateSpace.holding(pair.slow, lines), StateSpace.holding(network, states)


def dense(matrix: LineMatrix) -> np.ndarray:
    """The entries of a matrix of blocks."""
    blocks, n = matrix.blocks, len(matrix.defect)
    found = np.zeros((n, n))
    for line in range(len(blocks.stay)):
        own = slice(blocks.begin[line], blocks.begin[line + 1])
        width = own.stop - own.start
        found[own, own] += np.diag(blocks.stay[line] - 1 + blocks.decay[blocks.decay_at[line] : blocks.decay_at[line] + width])
        for e in range(blocks.pointer[line], blocks.pointer[line + 1]):
            source = slice(blocks.begin[blocks.source[e]], blocks.begin[blocks.source[e] + 1])
            b = blocks.block[e]
            if e < blocks.middle[line]:
                block = np.eye(width)
            else:
                block = blocks.entries[blocks.first[b] : blocks.first[b + 1]].reshape(-1, width).T
            found[own, source] += blocks.factor[e] * block
    return matrix.q * found


def all_modes(pair: FastPair, matrix: LineMatrix, lines: np.ndarray, states: StateSpace) -> np.ndarray:
    """Each mode of each line as a law on all states, (N, modes)."""
    found, at = np.zeros((len(states), len(matrix.defect))), 0
    kinds, kind = pair.kinds(lines)
    for n in matrix.order:
        line = pair.line(kinds[kind[n]])
        on_line = np.zeros((len(line.counts), len(states.states[0])), dtype=np.int64)
        on_line[:, pair.others] = lines[n]
        on_line += np.arange(len(line.counts))[:, None] * pair.network.stoichiometry[pair.forward]
        found[states.index(on_line), at : at + len(line.decay)] = line.modes
        at += len(line.decay)
    return found
