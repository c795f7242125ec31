"""`Compiled`: a network as flat arrays and vectorised functions. The only bridge from names to kernels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cme import ratelaw
from cme.abilities import Kind, features
from cme.derivative import differentiate
from cme.errors import ModelError, describe_state
from cme.network import Network
from cme.programs import csr, to_program
from cme.ratelaw import ZERO, Apply, Expr, Number, Symbol
from cme.results import Distribution


@dataclass(frozen=True, eq=False)
class Compiled:
    """A Markov chain on counts prepared for computing: every rule, parameter and volume is filled in, only species are left.

    `cme.hybrid.Hybrid` is its counterpart for what changes in time. Letters: S species, R reactions, N states.
    """

    network: Network

    def __post_init__(self):
        for feature in features(self.network):
            if feature.kind is not Kind.VARYING:
                raise ModelError(f"{self.network.name!r} has no constant rates: {feature}; ssa and rate_equations take more")

    @property
    def propensity_formulas(self) -> tuple[Expr, ...]:
        return self.network.propensity_formulas

    @cached_property
    def rate_formulas(self) -> tuple[Expr, ...]:
        return tuple(self.network.resolve(reaction.rate) for reaction in self.network.reactions)

    # ------------------------------------------------------------------------------------------- vectorised numpy

    def _values(self, states: np.ndarray) -> dict[str, np.ndarray]:
        return {name: states[..., i] for i, name in enumerate(self.network.species_names)}

    def _evaluate(self, formulas: tuple[Expr, ...], states: np.ndarray) -> np.ndarray:
        states = np.asarray(states, dtype=np.float64)
        out = np.empty((*states.shape[:-1], len(formulas)))
        values = self._values(states)
        for r, formula in enumerate(formulas):
            out[..., r] = ratelaw.evaluate(formula, values)
        return out

    def propensities(self, states: np.ndarray) -> np.ndarray:
        """Propensities (..., R) in states (..., S), as the formulas give them, unchecked."""
        return self._evaluate(self.propensity_formulas, states)

    def rates(self, states: np.ndarray) -> np.ndarray:
        """Deterministic rates (..., R) in real states (..., S)."""
        return self._evaluate(self.rate_formulas, states)

    @cached_property
    def _rate_derivatives(self) -> tuple[tuple[tuple[int, Expr], ...], ...]:
        names = self.network.species_names
        index = {name: i for i, name in enumerate(names)}
        return tuple(
            tuple((index[name], differentiate(formula, name)) for name in sorted(ratelaw.names(formula), key=index.__getitem__))
            for formula in self.rate_formulas
        )

    def rate_jacobian(self, states: np.ndarray) -> np.ndarray:
        """Derivatives of the rates with respect to species, (..., R, S)."""
        states = np.asarray(states, dtype=np.float64)
        out = np.zeros((*states.shape[:-1], len(self.network.reactions), len(self.network.species)))
        values = self._values(states)
        for r, row in enumerate(self._rate_derivatives):
            for s, derivative in row:
                out[..., r, s] = ratelaw.evaluate(derivative, values)
        return out

    def observable(self, name: str, states: np.ndarray) -> np.ndarray:
        """The value of a rule in states (..., S)."""
        rule = next(rule for rule in self.network.rules if rule.name == name)
        values = ratelaw.evaluate(self.network.resolve(rule.formula), self._values(np.asarray(states, dtype=np.float64)))
        return np.broadcast_to(values, np.shape(states)[:-1])

    # ------------------------------------------------------------------------------------------------- for kernels

    @cached_property
    def arrays(self):
        """The network as `cme.kernels.propensity.Arrays`."""
        from cme.kernels.propensity import Arrays

        rows, columns, amounts = self.network.sparse_stoichiometry
        factors, programs, stack_size = [], [], 1
        constants = np.zeros(len(self.network.reactions))
        index = {name: i for i, name in enumerate(self.network.species_names)}
        for r, formula in enumerate(self.propensity_formulas):
            product = falling_product(formula, index)
            if product is None:
                program, depth = to_program(formula, index)
                stack_size = max(stack_size, depth)
            else:
                constants[r], program = product[0], []
            factors.append([] if product is None else product[1])
            programs.append(program)
        factor_pointer, factor = csr(factors)
        program_pointer, code = csr(programs)
        return Arrays(
            change_pointer=np.searchsorted(rows, np.arange(len(self.network.reactions) + 1)).astype(np.uint32),
            change_species=columns.astype(np.uint32),
            change_amount=amounts,
            constant=constants,
            factor_pointer=factor_pointer,
            factor_species=factor[:, 0].astype(np.uint32),
            factor_offset=factor[:, 1].astype(np.float64),
            program_pointer=program_pointer,
            opcode=code[:, 0].astype(np.uint32),
            operand=code[:, 1].astype(np.float64),
            stack_size=max(stack_size, self.random_changes.stack_size if self.random_changes else 1),
            varying=self.random_changes,
        )

    @cached_property
    def random_changes(self):
        """What reactions change that is not the same each time, as `cme.kernels.stoichiometry.RandomChanges`; None if nothing is."""
        return pack_varying(self.network, range(len(self.network.reactions)))

    # ------------------------------------------------------------------------------------------------------- start

    def start(self, initial=None, *, whole: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The initial states (K, S) and their probabilities (K,).

        Parameters
        ----------
        initial
            None for the network's own start, a mapping or sequence as in `Network.with_initial`, or a `Distribution`
            (its last time is used).
        whole
            Counts must be whole numbers (int64 is returned); otherwise real amounts are allowed (float64).

        Raises
        ------
        ModelError
            If the start does not fit the network or holds a fraction of a molecule.
        """
        return starting_states(self.network, initial, whole=whole)


def pack_varying(network: Network, reactions: Iterable[int]):
    """What some reactions, in order, change that is not the same each time, as `cme.kernels.stoichiometry.RandomChanges`."""
    from cme.kernels.distributions import CODES
    from cme.kernels.stoichiometry import CERTAIN, RandomChanges

    if not network.varying:
        return None
    index = {name: i for i, name in enumerate(network.species_names)}
    pointer, laws, terms, compiled = [0], list[int](), list[list[tuple[int, int]]](), []
    for r in reactions:
        varying = network.varying.get(r)
        for i, number in enumerate(varying.numbers if varying else ()):
            drawn = isinstance(number, Apply) and number.op in ratelaw.DRAWS
            parameters = number.args if isinstance(number, Apply) and drawn else (number,)
            laws.append(CODES[number.op] if isinstance(number, Apply) and drawn else CERTAIN)
            terms.append([(index[name], factor) for which, name, factor in varying.terms if which == i] if varying else [])
            compiled += [to_program(formula, index) for formula in (*parameters, ZERO)[:2]]
        pointer.append(len(laws))
    if not laws:
        return None
    program_pointer, code = csr([program for program, _ in compiled])
    flat = np.array([term for row in terms for term in row], dtype=np.int64).reshape(-1, 2)
    everywhere = np.repeat(np.arange(len(pointer) - 1), np.diff(np.cumsum([0, *map(len, terms)])[pointer]))  # the reaction of each term
    _, place, often = np.unique(np.stack([everywhere, flat[:, 0]]), axis=1, return_inverse=True, return_counts=True)
    return RandomChanges(
        number_pointer=np.array(pointer, dtype=np.int64),
        law=np.array(laws, dtype=np.int64),
        term_pointer=np.cumsum([0, *map(len, terms)], dtype=np.int64),
        term_species=flat[:, 0].copy(),
        term_factor=flat[:, 1].copy(),
        term_alone=often[place.ravel()] == 1,
        program_pointer=program_pointer,
        opcode=code[:, 0].astype(np.uint32),
        operand=code[:, 1].astype(np.float64),
        stack_size=max(depth for _, depth in compiled),
    )


def starting_states(network: Network, initial=None, *, whole: bool = True, below_zero: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The initial states (K, S) of any network and their probabilities (K,), see `Compiled.start`.

    With `below_zero` any amount may start below zero, otherwise only what no reaction changes.
    """
    if isinstance(initial, Distribution):
        if initial.species != network.species_names:
            raise ModelError(f"the initial distribution is over {initial.species}, the network over {network.species_names}")
        if initial.widths is not None:
            raise ModelError("the initial distribution is a density on a grid; give counts or a Distribution over counts")
        p = initial.p[-1]
        kept = p > 0
        return np.ascontiguousarray(initial.states[kept]), p[kept]
    network = network if initial is None else network.with_initial(initial)
    states, p = np.array(network.initial.states, dtype=np.float64), np.array(network.initial.probabilities)
    free = {rule.name for rule in network.rate_rules} | {each.name for each in network.species if each.boundary}
    for species, column in zip(network.species_names, states.T, strict=True):
        if column.min() < 0 and not below_zero and species not in free:
            raise ModelError(
                f"species {species!r} starts at {column.min():g}; an initial count must be >= 0 (only rate_equations with "
                "below_zero='allow' takes less)"
            )
    if not whole:
        return states, p
    for species, column in zip(network.species_names, states.T, strict=True):
        wrong = column[column != np.round(column)]
        if wrong.size:
            raise ModelError(
                f"species {species!r} starts at {wrong[0]:g}, not a whole number of molecules; "
                "stochastic solvers count molecules, so round it with with_initial() or use rate_equations or lna"
            )
    if states.max(initial=0) >= 2**62:
        raise ModelError(f"the initial state {describe_state(network.species_names, states[0])} does not fit 64-bit counts")
    return states.astype(np.int64), p


def falling_product(formula: Expr, index: Mapping[str, int]) -> tuple[float, list[tuple[int, float]]] | None:
    """Read c * (X - a) * (Y - b) ... / d as a constant and a list of (species, offset); None if it is anything else."""
    if isinstance(formula, Number):
        return formula.value, []
    if isinstance(formula, Symbol):
        return 1.0, [(index[formula.name], 0.0)]
    if formula.op == "*":
        parts = [falling_product(arg, index) for arg in formula.args]
        constant, factors = 1.0, []
        for part in parts:
            if part is None:
                return None
            constant *= part[0]
            factors += part[1]
        return constant, factors
    if formula.op == "/" and isinstance(formula.args[1], Number) and formula.args[1].value != 0:
        part = falling_product(formula.args[0], index)
        return None if part is None else (part[0] / formula.args[1].value, part[1])
    if formula.op == "^" and isinstance(formula.args[1], Number) and formula.args[1].value in (2.0, 3.0):
        part = falling_product(formula.args[0], index)
        power = int(formula.args[1].value)
        return None if part is None or abs(part[0]) > 1e100 else (part[0] ** power, part[1] * power)
    if formula.op == "+" and len(formula.args) == 2:
        species, offset = formula.args
        if isinstance(species, Symbol) and isinstance(offset, Number):
            return 1.0, [(index[species.name], -offset.value)]
    return None
