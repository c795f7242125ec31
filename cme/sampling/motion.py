"""`Course`: what of a hybrid model moves by itself between jumps, and along which kind of lines; prepared for `cme.kernels.hybrid`."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from cme import ratelaw
from cme.hybrid import Hybrid, jumps_in
from cme.kernels import events, hybrid, straight
from cme.kernels.propensity import NO_LAW
from cme.kernels.thinned import Thinning
from cme.programs import csr, to_program
from cme.ratelaw import Apply, Expr
from cme.sampling.straightness import degree, measure, turning
from cme.sampling.thinning import Term, cells_in_time, separate


class Course:
    """A hybrid model between jumps, on the paths that end where a condition `stop` holds, up to a horizon in time.

    Propensities that move may be integrated along, with all that flows. Where they are sums of terms f(t) g(x), and everything else moves
    in straight lines, candidates come at bounds of these terms and are thinned. That is exact too, and costs a tenth.
    """

    def __init__(self, model: Hybrid, stop: Expr | None = None, horizon: float | None = None):
        self.model, self.stop = model, stop
        self.moving = {name for name, _ in model.flow_formulas} | ({ratelaw.TIME} - set(model.coordinates))
        self.terms: tuple[tuple[Term, ...], ...] = ((),) * len(model.propensity_formulas)  # of the propensities that are thinned
        self.cells: tuple[tuple[Expr, ...], np.ndarray, np.ndarray, np.ndarray] | None = None  # their factors f, edges of cells, bounds
        if not self.motion.straight and horizon is not None:
            self._thin(horizon)

    def _thin(self, horizon: float) -> None:
        """See if candidates can be thinned; nothing changes if not."""
        found = [separate(formula, self.moving) for formula in self.model.propensity_formulas]
        if any(terms is None for terms in found):
            return
        terms = tuple(terms or () for terms in found)
        factors = tuple(dict.fromkeys(term.in_time for row in terms for term in row))
        others = self._others(terms)
        if self._in_straight_lines([formula for row in terms for _, formula in row], self._watches(others)):
            cells = cells_in_time(factors, horizon)
            if cells is not None:
                self.terms, self.cells = terms, (factors, *cells)
                del self.watches, self.motion

    # ------------------------------------------------------------------------------------------------- what is watched

    @cached_property
    def watches(self) -> list[Apply]:
        """What may jump between jumps, and is not known in advance."""
        return self._watches(self.model.switch_formulas if self.cells is None else self._others(self.terms))

    def _others(self, terms: tuple[tuple[Term, ...], ...]) -> tuple[Expr, ...]:
        """Whatever jumps in a formula that counts, but for the factors f(t), whose jumps their bounds hold."""
        model = self.model
        laws = [formula for formula, row in zip(model.propensity_formulas, terms, strict=True) if not row]
        laws += [term.in_counts for row in terms for term in row]
        laws += [n for row in model.change_formulas for _, n in row] + [formula for _, formula in model.flow_formulas]
        triggers = (Apply("not", (model.network.resolve(event.trigger),)) for event in model.network.events)  # marks it as a condition
        return jumps_in((*laws, *triggers))

    def _watches(self, switches: Iterable[Expr]) -> list[Apply]:
        return list(dict.fromkeys((*turning(switches, self.moving), *turning(self._ending, self.moving))))

    @property
    def _ending(self) -> tuple[Expr, ...]:
        return () if self.stop is None else jumps_in([Apply("not", (self.stop,))])

    @property
    def ends(self) -> list[Expr]:
        """What the condition that ends a path compares, as far as it moves."""
        return [measure(watch) for watch in turning(self._ending, self.moving)]

    # --------------------------------------------------------------------------------------------------------- machine

    @cached_property
    def machine(self) -> events.Machine:
        """The machine of the model, with more programs behind its own: watches, what ends a path, and the terms in counts.

        What reactions change is counted, the rest is real.
        """
        model = self.model
        index = {ratelaw.TIME: model.clock} | {name: i for i, name in enumerate(model.coordinates)}
        formulas = [formula for watch in self.watches for formula in (watch, measure(watch))]
        formulas += [] if self.stop is None else [self.stop]
        formulas += [term.in_counts for row in self.terms for term in row]
        compiled = [to_program(formula, index) for formula in formulas]
        pointer, code = csr([program for program, _ in compiled])
        laws, deepest = model.machine.laws, max((depth for _, depth in compiled), default=0)
        more = events.Programs(
            np.concatenate([laws.program_pointer, laws.program_pointer[-1] + pointer[1:]]),
            np.concatenate([laws.opcode, code[:, 0].astype(np.uint32)]),
            np.concatenate([laws.operand, code[:, 1].astype(np.float64)]),
        )
        counting = model.machine.counting(model.machine.changing[0])
        return counting._replace(laws=more, stack_size=max(model.machine.stack_size, deepest))

    # ---------------------------------------------------------------------------------------------------------- motion

    @cached_property
    def motion(self) -> hybrid.Motion:
        """What moves between jumps, and the watches on whatever may jump meanwhile."""
        model, network, watches = self.model, self.model.network, self.watches
        flows = [formula for _, formula in model.flow_formulas]
        first_watch = len(model.machine.laws.program_pointer) - 1
        after_watches = first_watch + 2 * len(watches)
        is_thinned = self.cells is not None
        straight_lines = is_thinned or self._in_straight_lines(model.propensity_formulas, watches)
        uses = [ratelaw.names(formula) for formula in model.propensity_formulas]
        changes = [{name for name, _ in row} for row in model.change_formulas]
        triggers = [ratelaw.names(network.resolve(event.trigger)) for event in network.events]
        watched = set[str]().union(*map(ratelaw.names, (*watches, *flows)))
        readers: dict[str, list[int]] = {}
        for r, names in enumerate(uses):
            for name in names:
                readers.setdefault(name, []).append(r)
        dependents = [sorted({r for name in change for r in readers.get(name, [])}) for change in changes]
        dependent_pointer, dependent = csr([[(r,) for r in row] for row in dependents], width=1)
        rows = [
            (
                not straight_lines and not self.moving.isdisjoint(names),
                straight_lines and not change.isdisjoint(watched),
                any(not change.isdisjoint(read) for read in triggers),
            )
            for names, change in zip(uses, changes, strict=True)
        ]
        kinds = {"floor": straight.FLOOR, "ceil": straight.CEILING}
        return hybrid.Motion(
            first_watch=first_watch,
            rounding=np.array([kinds.get(watch.op, 0) for watch in watches], dtype=np.int64),
            straight=straight_lines,
            reactions=np.array(rows, dtype=np.int64).reshape(-1, 3),
            dependent_pointer=dependent_pointer,
            dependent=dependent[:, 0].astype(np.int64),
            ends=np.array([np.inf]),
            stop=NO_LAW if self.stop is None else after_watches,
            thinning=self._thinning(after_watches + (self.stop is not None)) if is_thinned else None,
        )

    def _in_straight_lines(self, laws: Iterable[Expr], watches: Iterable[Expr]) -> bool:
        """Are propensities and slopes constant between jumps, and what is watched straight?"""
        flat = (*laws, *(formula for _, formula in self.model.flow_formulas))
        return all(degree(formula, self.moving, stepwise=True) == 0 for formula in flat) and all(
            degree(measure(watch), self.moving, stepwise=False) <= 1 for watch in watches
        )

    def _thinning(self, first_program: int) -> Thinning:
        assert self.cells is not None
        factors, edges, low, top = self.cells
        terms = [term for row in self.terms for term in row]
        return Thinning(
            edges=edges,
            top=top.ravel(),
            low=low.ravel(),
            n_factors=len(factors),
            pointer=np.cumsum([0, *map(len, self.terms)]),
            program=first_program + np.arange(len(terms)),
            factor=np.array([factors.index(term.in_time) for term in terms], dtype=np.int64),
        )
