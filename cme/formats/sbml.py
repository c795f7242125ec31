"""SBML, Levels 1 to 3, to `Network` (through libsbml) and back.

What SBML leaves open is fixed as follows.

- Amounts are counts of molecules, whatever unit is declared; kinetic laws are propensities, taken as written.
- In a formula, a species that SBML reads as a concentration becomes count / volume. Rate rules, events and starts of a concentration
  become those of the count: where the volume moves, d(count)/dt = rate volume + count/volume d(volume)/dt, and an event uses the volume
  just before it is carried out. When a volume changes, counts stay.
- A species that an assignment rule sets is no state but an observable, and it too is an amount; a volume that a rule sets is one as well.
- A compartment whose size nothing sets has size 1. A parameter that nothing sets and nothing uses is left out. What is infinite or
  undefined for good (INF, NaN) is a rule, so that results have it by name.
- A compartment without dimensions has no size in Level 2, and its species are amounts. In Level 3 dimensions change no formula.
- What is declared constant stays so: a rule, event or reaction that changes it all the same is refused.
- `rateOf` is filled in: the rate rule, or the sum over reactions, where a reaction counts with its rate.
- The identifier of a reaction in a formula means its (net) rate; a rule of that name gives it.
- Units, notes, annotations, layouts and other packages that are not required do not change the numbers and are not read. Before Level 2
  Version 3, where they could scale a number, differing units are refused.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from cme import ratelaw
from cme.elements import Event, Initial, MassAction, Rule, Species, Values
from cme.errors import ModelError
from cme.formats.reversible import Splitter
from cme.formats.sbml_events import event_targets, read_events
from cme.formats.sbml_initial import Start, read_initial, start_targets
from cme.formats.sbml_model import Model, check_constants, read_rules
from cme.formats.sbml_open import annotation, constraints, items, open_document
from cme.formats.sbml_rates import Rates
from cme.formats.sbml_reactions import directed, read_laws, read_reactions
from cme.formats.sbml_write import write as write
from cme.network import Network
from cme.ratelaw import ONE, Expr, Number


def read(source: str | os.PathLike, *, name: str | None = None) -> Network:
    """Read a network from SBML.

    Parameters
    ----------
    source
        A path, or the text of an SBML document (a string that starts with ``<``).
    name
        The name of the network; otherwise the model's name, id, or that of the file.

    Returns
    -------
    Network
        Everything in counts. Local parameters become parameters named ``reaction_parameter``, function definitions are filled in.

    Raises
    ------
    ModelError
        If the document is no SBML, or holds anything that is not supported or means nothing: all of it is listed, by name and line.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Notes
    -----
    All of Level 1 to Level 3 Version 2 core is read with the meaning of the standard, and the random numbers of the package `distrib`,
    except for algebraic rules, `delay()`, fast reactions, and other packages that are required; these are refused. A constraint changes
    no trajectory; it is not watched, which `Network.notes` and `cme.check` say.

    A reversible reaction whose law is a difference of two terms that can't be negative becomes two, the second named ``reaction_back``;
    where that can't be shown it stays one with a net flux, which only `rate_equations` takes.

    The time is linear in the size of the file.
    """
    document, label = open_document(source)
    try:
        return _Reader(Model(document, label)).network(name)
    except ModelError as error:
        if str(error).startswith(label):
            raise
        raise ModelError(f"{label}: {error}") from None


class _Reader:
    """Puts the parts of a model together, and works out what depends on all of them: rates, signs, and values at the start."""

    def __init__(self, model: Model):
        self.model = model
        read_rules(model)
        check_constants(model)
        moving = event_targets(model) | {*model.rules, *model.flows}
        laws = read_laws(model)
        self.events = read_events(model, moving)
        self.memory: dict[str, float] = {}  # parameters that are not in the document
        self.initial = read_initial(model)
        named = _names([*laws.values(), *model.rules.values(), *model.flows.values(), *self.initial.values(), *_formulas(self.events)])
        self.moving_references = (moving | start_targets(model) | named) & set(model.references)
        self.reactions = read_reactions(model, laws, self.moving_references)
        self.flows: dict[str, Expr] = {}
        self.expand_rates()
        self.used = self.used_names()

    def network(self, name: str | None) -> Network:
        model = self.model
        for each, reaction in self.reactions.items():
            if each in self.used:  # a formula may use the rate of a reaction
                model.rules[each] = reaction.propensity
        if model.clock.name in self.used and model.clock.name != ratelaw.TIME:  # `time` is the name of something else
            self.flows[model.clock.name] = ONE
            self.memory[model.clock.name] = 0.0
        self.check_values()
        start = Start(model, self.initial)
        values = {each: start.given(each) for each in self.initial} | model.local_values | self.memory
        variable = {*self.flows, *(draw.name for draw in start.draws), *(each.name for event in self.events for each in event.assignments)}
        values |= {each: math.nan for each in model.references if each in variable and each not in values}
        values |= {each: math.nan for each in model.parameters if each not in values and each not in model.rules}
        for each, value in values.items():  # what is infinite or undefined for good is no parameter
            if not math.isfinite(value) and each not in variable and each not in model.species:
                model.rules[each] = Number(value)
        self.check_start(values)
        states = [each for each in model.species if each not in model.rules]
        # References whose rule stands in their reaction; only documents of ours have them.
        inlined = {each for each in self.references() if annotation(model.references[each], "formula") is not None}
        parameters = (*model.parameters, *self.references(), *model.local_values, *self.memory)
        splitter = self.splitter(values, {draw.name for draw in start.draws})
        with self.noting_problems():
            network = Network(
                species=tuple(self.make_species(model.species[each]) for each in states),
                reactions=tuple(directed(model, self.reactions, splitter)),
                initial=Initial((tuple(values[each] for each in states),), draws=tuple(start.draws)),
                parameters=Values({each: values[each] for each in parameters if each in values and each not in model.rules}),
                compartments=Values(
                    {each: values[each] for each in model.compartments if each not in model.rules and not self.is_nowhere(each)}
                ),
                rules=tuple(Rule(each, formula) for each, formula in model.rules.items() if each not in inlined),
                rate_rules=tuple(Rule(each, formula) for each, formula in self.flows.items()),
                events=tuple(self.events),
                name=name or model.sbml.getName() or model.sbml.getId() or model.fallback_name,
                notes=constraints(model.document),
            )
        model.raise_problems()
        return network

    @contextmanager
    def noting_problems(self) -> Iterator[None]:
        """Note what is wrong with the network as a whole, but nothing more of elements that are refused already."""
        model = self.model
        try:
            yield
        except ModelError as error:
            refused = {problem.element for problem in model.problems}
            for problem in error.problems:
                kind, name = problem.kind, problem.element
                plain = name.rstrip("_").removesuffix("_back") if kind == "reaction" else name
                if name not in refused and plain not in refused:
                    model.refuse(model.elements.get((kind, name)) or model.elements.get((kind, plain)) or model.sbml, problem.what)
            model.raise_problems()
            raise

    def is_nowhere(self, compartment: str) -> bool:
        return annotation(self.model.compartments[compartment], "nowhere") is not None

    def references(self) -> list[str]:
        """Numbers of molecules that a formula sets or uses: they become parameters, the others are just numbers."""
        return [each for each in self.model.references if each in self.moving_references]

    # ---------------------------------------------------------------------------------------------------------- rates

    def expand_rates(self) -> None:
        """Fill in `rateOf` everywhere, and turn the rate rules of concentrations into those of counts."""
        model = self.model
        rates = Rates(model, self.reactions)

        def expand(element: Any, formula: Expr) -> Expr:
            return self.attempt(element, rates.expand, formula)

        rules = {rule.getVariable(): rule for rule in items(model.sbml, "Rule") if not rule.isAlgebraic()}
        starts = {item.getSymbol(): item for item in items(model.sbml, "InitialAssignment")}
        elements = {item.getId(): item for item in (*model.reactions, *model.events)}
        self.initial = {each: expand(starts.get(each), formula) for each, formula in self.initial.items()}
        self.events = [event.mapped(partial(expand, elements.get(event.name))) for event in self.events]
        for each in model.flows:
            self.flows[each] = self.attempt(rules[each], rates.count_flow, each)
        model.rules = {each: expand(rules[each], formula) for each, formula in model.rules.items()}
        for each, reaction in self.reactions.items():
            if not isinstance(reaction.law, MassAction):
                sides = [tuple((name, n if isinstance(n, int) else expand(elements[each], n)) for name, n in side)
                         for side in (reaction.reactants, reaction.products)]  # fmt: skip
                self.reactions[each] = replace(reaction, reactants=sides[0], products=sides[1], law=expand(elements[each], reaction.law))

    def attempt(self, element: Any, work: Callable[[Any], Expr], argument: Any) -> Expr:
        """What work gives; a problem is noted and gives 1."""
        try:
            return work(argument)
        except ModelError as error:
            self.model.refuse(element or self.model.sbml, str(error))
        except RecursionError:
            self.model.refuse(element or self.model.sbml, "rules depend on each other too deeply to find how fast they change")
        return ONE

    # --------------------------------------------------------------------------------------------------------- values

    def used_names(self) -> set[str]:
        formulas = [*self.model.rules.values(), *self.flows.values(), *self.initial.values()]
        for reaction in self.reactions.values():
            formulas.append(reaction.law.constant if isinstance(reaction.law, MassAction) else reaction.law)
            formulas += [n for _, n in (*reaction.reactants, *reaction.products) if not isinstance(n, int)]
        return _names([*formulas, *_formulas(self.events)])

    def check_values(self) -> None:
        """Refuse what has no value although a formula uses it."""
        model = self.model
        set_later = {each.name for event in self.events for each in event.assignments}
        used = {*self.used, *self.flows}
        for each, element in {**model.references, **model.parameters}.items():
            if each not in self.initial and each not in model.rules and each not in set_later and each in used:
                kind = "parameter" if each in model.parameters else "the species reference"
                model.refuse(element, f"{kind} {each!r} has no value; give it one, or a rule or an initial assignment")
                self.initial[each] = ONE
        for each, element in model.species.items():
            if each not in self.initial and each not in model.rules:
                model.refuse(element, f"species {each!r} has no initial amount; give it one, or a rule or an initial assignment")
                self.initial[each] = ONE

    def check_start(self, values: dict[str, float]) -> None:
        for each, element in self.model.species.items():
            if each not in self.model.rules and not math.isfinite(values[each]):
                self.model.refuse(element, f"species {each!r} starts at {values[each]}; give it a finite initial amount")

    def splitter(self, values: dict[str, float], drawn: set[str]) -> Splitter:
        """Knows what can be shown to be at least zero: counts of species, volumes, the time, and parameters that never get below."""
        model = self.model
        counts = {*model.species, *model.compartments}
        hopeful = {each for each, value in values.items() if value >= 0 and each not in self.flows and each not in drawn}
        hopeful |= ({*counts, *ratelaw.CONSTANTS} - {*self.flows}) | {ratelaw.TIME, model.clock.name}
        assigned = [each for event in self.events for each in event.assignments if each.name not in counts]
        while True:  # an assignment may use what turns out not to be so sure
            splitter = Splitter(model.rules, hopeful.__contains__)
            doubtful = {each.name for each in assigned if each.name in hopeful and not splitter.at_least_zero(each.formula, 0)}
            if not doubtful:
                return splitter
            hopeful -= doubtful

    def make_species(self, species: Any) -> Species:
        compartment = species.getCompartment()
        inside = None if compartment not in self.model.compartments or self.is_nowhere(compartment) else compartment
        return Species(species.getId(), inside, species.getBoundaryCondition() or species.getConstant())


def _formulas(events: list[Event]) -> list[Expr]:
    return [formula for event in events for formula in event.formulas()]


def _names(formulas: list[Expr]) -> set[str]:
    return set().union(*map(ratelaw.names, formulas))
