"""`Network` to reaction text."""

import json
import math
import re
from collections import Counter
from itertools import groupby

from cme.elements import Event, MassAction, Reaction, write_label, write_side
from cme.errors import ModelError
from cme.infix import format_number, shorten, to_infix
from cme.network import Network
from cme.ratelaw import Apply, Expr, Number


def write(network: Network) -> str:
    """Write a network as reaction text; `cme.parse` reads it back as an equal network.

    Raises
    ------
    ModelError
        If a reaction lists a species twice with whole numbers, or a formula holds an infinite or undefined number
        and `infinity` or `notanumber` is the name of something: text has no way to say it.

    Notes
    -----
    A value that is not a number is read back as one, but Python does not call it equal to itself. Sums of sums are written, and read,
    as one sum.
    """
    _check_literals(network)
    conventions = {reaction.law.convention for reaction in network.reactions if isinstance(reaction.law, MassAction)}
    common = "falling" if conventions == {"falling"} else "combinations"
    name = network.name if re.fullmatch(r"[\w.-]+", network.name) else json.dumps(network.name)
    lines = [] if name == "network" else [f"model {name}"]
    lines += [f"# {' '.join(note.split())}" for note in network.notes]
    lines += ["convention falling"] if common == "falling" else []
    lines += [f"compartment {name} = {_value(value)}" for name, value in network.compartments.items()]
    lines += _species(network)
    for number, reaction in enumerate(network.reactions, 1):
        lines.append(("" if reaction.name == f"r{number}" else f"{write_label(reaction.name)}: ") + _reaction(reaction, common))
    lines += [f"{rule.name} := {to_infix(rule.formula)}" for rule in network.rules]
    lines += [f"{rule.name}' = {to_infix(rule.formula)}" for rule in network.rate_rules]
    lines += [_event(event, number) for number, event in enumerate(network.events, 1)]
    lines += [f"{name} = {_value(value)}" for name, value in network.parameters.items()]
    lines += _initial(network)
    lines += [f"{draw.name} ~ {to_infix(draw.formula)}" for draw in network.initial.draws]
    return "\n".join(lines) + "\n"


def _species(network: Network) -> list[str]:
    """Every species in order, those of one compartment on a line."""
    lines = []
    for compartment, group in groupby(network.species, key=lambda species: species.compartment):
        names = [f"${species.name}" if species.boundary else species.name for species in group]
        place = "" if compartment is None else f" in {compartment}"
        lines += [f"species {', '.join(names[i : i + 12])}{place}" for i in range(0, len(names), 12)]
    return lines


def _reaction(reaction: Reaction, common: str) -> str:
    for side in (reaction.reactants, reaction.products):
        whole = Counter(name for name, n in side if isinstance(n, int))
        if whole and whole.most_common(1)[0][1] > 1:
            raise ModelError(f"reaction {reaction.name!r} lists {whole.most_common(1)[0][0]!r} twice on one side; add the two up")
    left, right = write_side(reaction.reactants), write_side(reaction.products)
    if isinstance(reaction.law, MassAction):
        own = "" if reaction.law.convention == common else f"[{reaction.law.convention}] "
        return f"{left} -> {right} @ {own}{to_infix(reaction.law.constant)}"
    return f"{left} {'<=>' if reaction.net_flux else '=>'} {right} @ {to_infix(reaction.law)}"


def _event(event: Event, number: int) -> str:
    return ("" if event.name == f"e{number}" else f"{write_label(event.name)}: ") + str(event)


def _initial(network: Network) -> list[str]:
    states = [
        [f"{name} = {_value(count)}" for name, count in zip(network.species_names, state, strict=True)] for state in network.initial.states
    ]
    if network.initial.probabilities == (1.0,):
        return ["; ".join(states[0][i : i + 12]) for i in range(0, len(states[0]), 12)]
    return [f"start {format_number(p)}: {', '.join(state)}" for p, state in zip(network.initial.probabilities, states, strict=True)]


def _value(value: float) -> str:
    """A number, so that it is not taken for the name of something."""
    if math.isfinite(value):
        return format_number(value)
    return "0/0" if math.isnan(value) else "1/0" if value > 0 else "-1/0"


def _check_literals(network: Network) -> None:
    """The words for numbers that are infinite or undefined must mean them."""
    taken = {*network.species_names, *network.parameters, *network.compartments, *network.observables} & {"infinity", "notanumber"}
    if not taken:
        return
    formulas = [each.law.constant if isinstance(each.law, MassAction) else each.law for each in network.reactions]
    formulas += [n for each in network.reactions for _, n in (*each.reactants, *each.products) if not isinstance(n, int)]
    formulas += [rule.formula for rule in (*network.rules, *network.rate_rules, *network.initial.draws)]
    formulas += [formula for event in network.events for formula in event.formulas()]
    for formula in formulas:
        if _has_infinity(formula):
            raise ModelError(
                f"the formula {shorten(to_infix(formula))} holds a number that is infinite or undefined, and {min(taken)!r}, the word for "
                "one in text, is the name of something; rename that"
            )


def _has_infinity(formula: Expr) -> bool:
    if isinstance(formula, Number):
        return not math.isfinite(formula.value)
    if not isinstance(formula, Apply):
        return False
    last = formula.args[-1]
    open_ended = formula.op == "piecewise" and isinstance(last, Number) and math.isnan(last.value)  # written without its otherwise
    return any(_has_infinity(arg) for arg in (formula.args[:-1] if open_ended else formula.args))
