"""`ChangeOfForm`: from the probabilities of states to modes along the lines of a fast pair, where these are less work, and back."""

from collections.abc import Callable

import numpy as np

from cme.errors import ModelError
from cme.network import Network
from cme.projection.fast_pair import FastPair
from cme.projection.march import INTEGRATION, WRITTEN, March
from cme.projection.paired import NotOnModesError, Paired
from cme.projection.propagate import Reach
from cme.states import StateSpace

MANY = 100_000  # states from which on it is asked whether modes are less work
GROWN = 1.3  # times as many as when it was last asked
MOST_KINDS, MOST_PLACES = 5000, 2_000_000  # of lines, and on all of these: each has modes and blocks of its own
MOST_ENTRIES = 30_000_000  # states on all lines, in the set or not
MAINLY = 0.5  # of all that happens, what a pair does where modes may be less work
SLOWER = 2.0  # times the work for a mode as for a state, in a product
FIRST_WAIT = 2  # steps after which it is tried again where a law strayed from its modes, then four times as many
NEAR = 1.5  # times the probability, the 2-norm of modes of laws near the equilibrium of the pair: round-off grows with it
LEFT_OUT = 0.02  # of the tolerance, what modes may leave out of a law

Leg = tuple[March, np.ndarray]  # a march, and the law that it starts from


class ChangeOfForm:
    """Looks at a march on a network whether it should go on in another form.

    Parameters
    ----------
    network
        Its rates are constant.
    at_once
        Change as soon as it is possible, whether it pays or not.
    """

    def __init__(self, network: Network, at_once: bool):
        self._network, self._pairs, self._at_once = network, list(FastPair.candidates(network)), at_once
        if at_once and not self._pairs:
            raise ModelError(
                "method='fast_pair' needs two reactions by mass action that undo each other, such as 2 M <-> D, no third that does the "
                f"same, and no propensity that depends on their species in another way; {network.name!r} has none; use method='projection'"
            )
        self._next = 0.0 if at_once else MANY
        self._waiting, self._patience, self._missed = 0, FIRST_WAIT, 0
        self._assemble: Callable | None = None

    def look(self, run: March) -> Leg | None:
        """The march on lines that should follow, from where a march on states is."""
        if not self._pairs or len(run.space) < self._next or isinstance(run.stepper, Paired):
            return None
        if self._waiting > 0:
            self._waiting -= 1
            return None
        leg = self._changed(run)
        self._next = 0.0 if self._at_once else GROWN * len(run.space)
        if leg is None and self._at_once:
            self._waiting, self._missed = self._missed, 2 * self._missed + 1
        return leg

    def _changed(self, run: March) -> Leg | None:
        """A march on lines, if the pair is busy, the law is near its equilibrium, and modes are less work."""
        traffic, busiest = max(((pair.traffic(run.space.states, run.p), pair) for pair in self._pairs), key=lambda found: found[0])
        if not self._at_once and traffic < MAINLY * float(run.stepper.exit_rates @ run.p):
            return None
        pair = FastPair(self._network, busiest.forward, busiest.backward)  # with as few modes as there are at first
        kinds, kind = pair.kinds(np.unique(pair.lines_of(run.space.states)[0], axis=0))
        length = pair.length(kinds)
        if len(kinds) > MOST_KINDS or length.sum() > MOST_PLACES or length[kind].sum() > MOST_ENTRIES:
            return None
        left = 1 - run.now / run.horizon
        tol, horizon, reach = 0.9 * run.tol * left, run.horizon * left, Reach()
        lines, x, left_out = pair.project(run.space.states, run.p, LEFT_OUT * tol)
        if left_out > LEFT_OUT * tol or pair.size(x).sum() > NEAR * x[:, 0].sum():
            return None

        def assemble(space: StateSpace) -> Paired:
            return Paired(pair, space, horizon, INTEGRATION * tol / 2, reach)

        space = StateSpace.holding(pair.slow, lines)
        try:
            stepper = assemble(space)
            work = stepper.work(x)
        except NotOnModesError:
            return None
        if stepper.round_off() > 0.1 * INTEGRATION * tol:
            return None
        if not self._at_once and SLOWER * work > len(run.space) * float(np.sqrt(run.stepper.exit_rates.max())):
            return None
        self._assemble = run.assemble
        following = March(space, assemble, tol, horizon, (run.max_states, run.advice), False, None, pair)
        following.error, following.stride = left_out, run.stride
        return following, x

    def undo(self, run: March) -> Leg:
        """The march on states that should follow where a law strays from the modes; it is asked later whether it still does."""
        assert self._assemble is not None
        self._waiting, self._patience = self._patience, 4 * self._patience
        left = 1 - run.now / run.horizon
        states, p = run.form.written_out(run.space, run.p, WRITTEN * run.tol)
        space = StateSpace.holding(self._network, states)
        following = March(space, self._assemble, 0.9 * run.tol * left, run.horizon * left, (run.max_states, run.advice), False)
        following.stride = run.stride
        return following, p
