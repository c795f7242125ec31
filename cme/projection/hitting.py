"""`Hitting`: where a chain with constant rates that stops in its targets ends, and how long it takes, on a given set of states."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order

from cme.generator import Generator
from cme.projection.censored import Censored
from cme.projection.modes import Rates, slow_rates, slowest_mode


class Decay(NamedTuple):
    """How the chance that nothing has happened yet goes to zero in the end: like exp(-rate t)."""

    rate: float
    lower: float  # bounds on the rate, on the states that are kept (Collatz and Wielandt)
    upper: float
    law: np.ndarray  # (N,) the quasi-stationary law: where the chain is late, given that it has not arrived


class Hitting:
    """A chain on N states, K targets in which it stops, and its start.

    Parameters
    ----------
    generator
        With no way out of the targets.
    target : (N,)
        The number of the target each state is in, -1 for none.
    n_targets
        K.
    start : (N,)
        Where it starts; what is missing from 1 is nowhere.
    closed
        Drop the jumps that leave the states, rather than follow none of them any further.

    Attributes
    ----------
    arrived : (K,)
        The probability to come to each target, and to none before, without leaving the states.
    leaks : bool
        Is there a way out of the states?
    escaped : float
        The probability to leave the states before; it may be too small for a number of 64 bits.
    never : float
        The probability to come where no way leads to a target, or out of the states.
    """

    def __init__(self, generator: Generator, target: np.ndarray, n_targets: int, start: np.ndarray, *, closed: bool = False):
        rates, inner = generator.rates, target < 0
        n_states = len(target)
        leak = np.zeros(n_states) if closed else np.where(inner, generator.leak, 0.0)
        ways = np.zeros((n_targets, n_states))
        for k in range(n_targets):
            ways[k] = np.where(inner, np.asarray(rates[target == k].sum(axis=0)).ravel(), 0.0)
        alive = inner & leads_out(rates, inner, ways.sum(axis=0) + leak)
        self._hopeless = inner & ~alive
        if closed:  # where the jumps that are dropped lead is not known
            self._hopeless &= ~leads_out(rates, inner, np.where(inner, generator.leak, 0.0))
        astray = np.asarray(rates[inner & ~alive].sum(axis=0)).ravel()  # to where no way leads out
        self.alive = np.flatnonzero(alive)
        self.ways, self._leak, self._astray = ways[:, alive], leak[alive], astray[alive]
        self._n_states, self.leaks = n_states, bool(np.any(self._leak > 0))
        self.chain = None
        self._within, self._exits = sp.csc_array(rates[self.alive][:, self.alive]), self.ways.sum(axis=0) + self._leak + self._astray
        if len(self.alive):
            self.chain = Censored(self._within, self._exits)
        self._at_once = np.array([start[target == k].sum() for k in range(n_targets)])
        self._start, self._lost_at_once = start[alive], float(start[inner & ~alive].sum())
        time = self._occupy(self._start)
        self._occupied = [_scaled(time)]
        self.arrived = self._at_once + self.ways @ time
        self.entered = np.zeros(n_states)  # the probability to stop in each state of a target, by a jump
        self.entered[~inner] = rates[np.flatnonzero(~inner)][:, self.alive] @ time
        self.escaped = float(self._leak @ time)
        self.never = self._lost_at_once + float(self._astray @ time)
        self.leaving = np.zeros(n_states)  # the probability to leave from each state
        self.leaving[alive] = self._leak * time

    def _occupy(self, p: np.ndarray) -> np.ndarray:
        return p if self.chain is None else self.chain.occupy(p)

    def _collect(self, f: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return f if self.chain is None else self.chain.collect(f)

    @property
    def survived(self) -> float:
        """The mean time to a target, or to where the chain leaves the states or goes astray."""
        time, exponent = self._occupied[0]
        return float(np.ldexp(time.sum(), exponent))

    @property
    def occupied(self) -> np.ndarray:
        """The mean time in each of the states from which a way leads out."""
        time, exponent = self._occupied[0]
        return np.ldexp(time, exponent)

    @property
    def goes_astray(self) -> bool:
        """Does a jump lead from any of these states to where no way leads out?"""
        return bool(np.any(self._astray > 0))

    def collected(self, f: np.ndarray) -> np.ndarray:
        """The mean of the integral of f over the time before the chain stops, from each of these states."""
        return self._collect(f)

    def moment(self, k: int) -> np.ndarray:
        """The k-th moment of the time to each target on the paths that come to it, times their probability, (K,); inf beyond 1e308."""
        if k == 0:
            return self.arrived
        while len(self._occupied) <= k:
            last, exponent = self._occupied[-1]
            following, more = _scaled(len(self._occupied) * self._occupy(last))
            self._occupied.append((following, exponent + more))
        time, exponent = self._occupied[k]
        with np.errstate(over="ignore"):
            return np.ldexp(self.ways @ time, exponent)

    def from_states(self) -> tuple[np.ndarray, np.ndarray]:
        """From each state the probabilities to come to each target (N, K), and the mean time on the paths that come to any (N,).

        Both are nan in the targets themselves, and where all ways to a target lead through states that are not kept. Where no way
        leads to one the probabilities are 0.
        """
        chances, times = np.where(self._hopeless[:, None], 0.0, np.full((1, len(self.ways)), np.nan)), np.full(self._n_states, np.nan)
        inner = np.array([self._collect(way) for way in self.ways]).T.reshape(len(self.alive), len(self.ways))
        total = inner.sum(axis=1)
        chances[self.alive] = inner
        with np.errstate(divide="ignore", invalid="ignore"):
            times[self.alive] = self._collect(total) / total
        return chances, times

    def decay(self) -> Decay:
        """The slowest mode, right in relative terms; `ConvergenceError` where two modes decay nearly alike."""
        shape = np.zeros(self._n_states)
        if self.chain is None or not self._start.any():
            return Decay(np.inf, np.inf, np.inf, shape)
        mode = slowest_mode(self.chain, self._within, self._exits, self._start)
        shape[self.alive] = mode.law
        return Decay(mode.rate, mode.lower, mode.upper, shape)

    def decay_rates(self, k: int) -> Rates:
        """The k slowest rates at which modes of the chain decay, on all states from which a way leads out."""
        return slow_rates(self._within, self._exits, k) if len(self.alive) else Rates(np.zeros(0), np.zeros(0))

    def decayed_into(self, law: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The rates, from a law (N,), into each target (K,), out of the states, and to where no way leads out."""
        x = law[self.alive]
        return self.ways @ x, float(self._leak @ x), float(self._astray @ x)


def _scaled(x: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers of about 1 at most, and the power of two by which they are too small: high moments are beyond the range of numbers."""
    exponent = int(np.frexp(x.max(initial=0.0))[1])
    return np.ldexp(x, -exponent), exponent


def leads_out(rates: sp.csc_array, inner: np.ndarray, exits: np.ndarray) -> np.ndarray:
    """From which of the inner states does a way lead to one with an exit? (N,)"""
    n_states = len(inner)
    against = sp.csr_array(rates)  # row i: the states from which a jump leads to i
    links = against.tocoo()
    use = inner[links.row] & inner[links.col] & (links.data > 0)
    ends = np.flatnonzero(exits > 0)
    row = np.concatenate([links.row[use], np.full(len(ends), n_states)])
    column = np.concatenate([links.col[use], ends])
    graph = sp.csr_array((np.ones(len(row)), (row, column)), shape=(n_states + 1, n_states + 1))
    found = np.zeros(n_states + 1, dtype=bool)
    found[breadth_first_order(graph, n_states, return_predecessors=False)] = True
    return found[:-1]
