"""`MovingRates`: the propensities of a network on fixed states while they move with time, as a sparse matrix with a fixed pattern."""

from copy import copy
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from cme import errors, infix, ratelaw
from cme.abilities import is_chain
from cme.elements import Reaction, Values
from cme.network import Network
from cme.pieces import Piece
from cme.ratelaw import ONE, ZERO, Apply, Expr, Number, Symbol
from cme.resolved_times import peaks
from cme.states import StateSpace

SAMPLES = np.linspace(0.02, 0.98, 17)  # where in a piece of time a propensity is looked at to see which states it leads to


def standing_network(network: Network, piece: Piece) -> Network:
    """A network with constant rates that reaches every state which this one reaches in a piece of time.

    Where no propensity moves in the piece, it is the network itself as it is then: the master equation is the same.
    """
    if is_chain(network):
        return network
    reactions = []
    rules = tuple(rule for rule in network.rules if ratelaw.names(network.resolve(rule.formula)).isdisjoint(piece.values))
    moving_rules = {rule.name: network.resolve(rule.formula) for rule in network.rules if rule not in rules}
    rows, columns, amounts = (each.tolist() for each in network.sparse_stoichiometry)
    fewer: dict[int, dict[str, int]] = {}
    for r, s, n in zip(rows, columns, amounts, strict=True):
        fewer.setdefault(r, {})[network.species_names[s]] = n
    for r, reaction in enumerate(network.reactions):
        law = network.resolve(reaction.propensity)
        if not ratelaw.names(law).isdisjoint(piece.values):
            law = piece.freeze(law)
            reaction = replace(reaction, law=_envelope(law, piece, fewer.get(r, {})) if piece.moves(law) else law)
        if r in network.varying:
            reaction = _with_numbers_of(network, r, reaction, piece, moving_rules)
        reactions.append(reaction)
    return replace(  # no law reads what has a value of its own in this piece any more: it may be no number there
        network,
        reactions=tuple(reactions),
        rules=rules,
        rate_rules=(),
        events=(),
        parameters=Values({name: value for name, value in network.parameters.items() if name not in piece.values}),
        compartments=Values({name: 1.0 if name in piece.values else value for name, value in network.compartments.items()}),
    )


def _with_numbers_of(network: Network, r: int, reaction: Reaction, piece: Piece, rules: dict[str, Expr]) -> Reaction:
    """A reaction that draws numbers of molecules, without rules that depend on what changes from piece to piece."""
    for number in network.varying[r].numbers:
        if piece.moves(number):
            raise errors.ModelError(
                f"fsp can't take {network.name!r}: reaction {reaction.name!r} draws from {infix.to_infix(number)}, whose parameters move "
                "with time; use ssa"
            )

    def filled(n: int | Expr) -> int | Expr:
        return n if isinstance(n, int) else piece.freeze(ratelaw.substitute(n, rules))

    sides = [tuple((name, filled(n)) for name, n in side) for side in (reaction.reactants, reaction.products)]
    return replace(reaction, reactants=sides[0], products=sides[1])


def spaces_in_time(network: Network, pieces: list[Piece], space: StateSpace | None) -> list[StateSpace]:
    """One set of states for all pieces of time: the given one, or all that the rates of any of them lead to."""
    standing = [standing_network(network, piece) for piece in pieces]
    if space is None:
        space = StateSpace.reachable(standing[0])
        for other in standing[1:]:
            larger = StateSpace.holding(other, space.states)
            space = larger.grow(np.arange(len(larger)))
    return [space.under(other) for other in standing]


def moves(network: Network, piece: Piece) -> bool:
    """Does a propensity move inside a piece of time?"""
    return any(piece.moves(piece.freeze(network.resolve(reaction.propensity))) for reaction in network.reactions)


def _envelope(law: Expr, piece: Piece, change: dict[str, int]) -> Expr:
    """1 where a law is above zero at one of a few times and there are enough molecules, else 0.

    What is wrong with a law is found where it is used, and told in its own words.
    """
    times = np.concatenate([piece.start + SAMPLES * (piece.end - piece.start), peaks(law, piece)])
    known = piece.at(times)
    factor, rest = _split(law, piece)
    if rest is not None:
        ever = np.any(np.broadcast_to(ratelaw.evaluate(factor, known), times.shape) != 0)
        fires = Apply("!=", (rest, ZERO)) if ever else ZERO
    else:
        shots = [{name: Number(float(value[k])) for name, value in known.items()} for k in range(len(times))]
        fires = Apply("or", tuple(Apply("!=", (ratelaw.simplify(ratelaw.substitute(law, shot)), ZERO)) for shot in shots))
    enough = [Apply(">=", (Symbol(name), Number(float(-n)))) for name, n in change.items() if n < 0]
    return Apply("and", (fires, *enough))


def _split(law: Expr, piece: Piece) -> tuple[Expr, Expr | None]:
    """A law as f(t) g(x): f and g; g is None where it is no such product."""
    known = set(piece.values)
    symbols = ratelaw.names(law)
    if symbols <= known:
        return law, ONE
    if symbols.isdisjoint(known):
        return ONE, law
    if isinstance(law, Apply) and law.op in ("*", "/", "neg"):
        factors, rests = [], []
        for arg in law.args:
            factor, rest = _split(arg, piece)
            if rest is None:
                return law, None
            factors.append(factor)
            rests.append(rest)
        state = Apply(law.op, tuple(rests)) if law.op != "neg" else rests[0]
        return ratelaw.simplify(Apply(law.op, tuple(factors))), ratelaw.simplify(state)
    return law, None


class MovingRates:
    """A(t) = sum over c of w_c(t) A_c on the states of a space: a propensity f(t) g(x) is one term, any other one term per state."""

    def __init__(self, network: Network, piece: Piece, space: StateSpace):
        self.network, self.piece, self.states = network, piece, space.states
        n_states = len(space)
        self._factors: list[tuple[int, Expr, np.ndarray]] = []  # reaction, f, g in each state
        self._general: list[tuple[int, Expr, np.ndarray]] = []  # reaction, law, the status that it would have if it fired in each state
        columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # of each term: from, to (-1: out), weight
        everywhere = np.arange(n_states)
        values = {name: self.states[:, s] for s, name in enumerate(network.species_names)}
        general: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        rows, species, amounts = network.sparse_stoichiometry
        for r, reaction in enumerate(network.reactions):
            law = piece.freeze(network.resolve(reaction.propensity))
            change = np.zeros(len(network.species), dtype=np.int64)
            change[species[rows == r]] = amounts[rows == r]
            if law == ZERO or not (change.any() or r in network.varying):
                continue
            factor, rest = _split(law, piece)
            weight = np.ones(n_states)
            if rest is not None:
                weight = np.broadcast_to(ratelaw.evaluate(rest, values), (n_states,)).astype(np.float64)
            undefined = ~np.isfinite(weight)
            if undefined.any():
                raise self._error(errors.UNDEFINED_PROPENSITY, r, int(np.argmax(undefined)), piece.start)
            if r in network.varying:
                source, to, share, wrong = space.outcomes(r, weight != 0)
            else:
                target = self.states + change
                wrong = np.where(np.all(target >= 0, axis=1), errors.OK, errors.NEGATIVE_COUNT)
                source, to, share = everywhere, space.index(target), np.ones(n_states)
            if rest is None:
                self._general.append((r, law, wrong))
                general.append((source, to, share))
                continue
            if np.any(weight[wrong != errors.OK]):
                n = int(np.argmax((wrong != errors.OK) & (weight != 0)))
                raise self._error(int(wrong[n]), r, n, piece.start)
            self._factors.append((r, factor, weight))
            columns.append((source, to, weight[source] * share))
        self._assemble(columns, general, n_states)

    def _assemble(self, columns: list, general: list, n_states: int) -> None:
        """Terms as columns of two sparse matrices, which give the entries of A and the leak as products with w(t)."""
        n_terms = len(columns) + n_states * len(general)
        empty = np.empty(0, dtype=np.int64)
        source = np.concatenate([empty, *(c[0] for c in (*columns, *general))])
        to = np.concatenate([empty, *(c[1] for c in (*columns, *general))])
        weight = np.concatenate([np.empty(0), *(c[2] for c in (*columns, *general))])
        one_term = [np.full(len(column[0]), i) for i, column in enumerate(columns)]
        term = np.concatenate([empty, *one_term, *(len(columns) + n_states * i + column[0] for i, column in enumerate(general))])
        kept = weight != 0
        source, to, weight, term = source[kept], to[kept], weight[kept], term[kept]
        inside = to >= 0
        here = np.arange(n_states)
        places, slot = np.unique(
            np.concatenate([source[inside] * n_states + to[inside], source * n_states + source, here * n_states + here]),
            return_inverse=True,
        )
        n_inside = int(inside.sum())
        pointer = np.searchsorted(places // n_states, np.arange(n_states + 1))
        self._pattern = sp.csc_array((np.zeros(len(places)), places % n_states, pointer), shape=(n_states, n_states))
        entries = np.concatenate([weight[inside], -weight])
        slots = slot[: n_inside + len(source)]
        self._entries = sp.csr_array((entries, (slots, np.concatenate([term[inside], term]))), shape=(len(places), n_terms))
        self._leak = sp.csr_array((weight[~inside], (source[~inside], term[~inside])), shape=(n_states, n_terms))

    def at(self, time: float) -> tuple[sp.csc_array, np.ndarray]:
        """A and the leak (N,) at a time.

        Raises
        ------
        ModelError
            If a propensity is negative or undefined then, or would drive a count below zero.
        """
        known = {name: float(value) for name, value in self.piece.at(time).items()}
        terms = []
        for r, factor, weight in self._factors:
            f = float(ratelaw.evaluate(factor, known))
            if not np.isfinite(f):
                raise self._error(errors.UNDEFINED_PROPENSITY, r, 0, time)
            if (f < 0 and weight.max(initial=0.0) > 0) or (f > 0 and weight.min(initial=0.0) < 0):
                raise self._error(errors.NEGATIVE_PROPENSITY, r, int(np.argmin(f * weight)), time)
            terms.append(np.array([f]))
        for r, law, wrong in self._general:
            values = {name: self.states[:, s] for s, name in enumerate(self.network.species_names)}
            a = np.broadcast_to(ratelaw.evaluate(law, {**values, **known}), (len(self.states),))
            for places, status in (
                (~np.isfinite(a), errors.UNDEFINED_PROPENSITY),
                (a < 0, errors.NEGATIVE_PROPENSITY),
                ((wrong != errors.OK) & (a > 0), None),
            ):
                if places.any():
                    n = int(np.argmax(places))
                    raise self._error(int(wrong[n]) if status is None else status, r, n, time)
            terms.append(a)
        w = np.concatenate(terms) if terms else np.empty(0)
        return with_entries(self._pattern, self._entries @ w), self._leak @ w

    def _error(self, status: int, r: int, n: int, time: float) -> errors.ModelError:
        names, state = self.network.species_names, self.states[n]
        if ratelaw.TIME not in names:
            names, state = (*names, ratelaw.TIME), np.append(state.astype(np.float64), time)
        return errors.propensity_error(status, self.network.reactions[r].name, self.network.formula(r), names, state)


def with_entries(pattern: sp.csc_array, entries: np.ndarray) -> sp.csc_array:
    """A matrix with the places of another; the constructor would check them anew each time."""
    matrix = copy(pattern)
    matrix.data = entries
    return matrix
