"""Reaction text: a few lines that a person types.

::

    # gene expression with an observable
    compartment cell = 1.0
    species P in cell
    transcription: 0 -> M @ k1          # mass action: the rate constant
    translation:   M -> M + P @ k2
    M -> 0 @ 0.5;  P -> 0 @ 0.2         # several statements on a line
    2 P <-> D @ kf, kr                  # forward and backward
    0 => M @ a/(1 + (P/K)^2)            # the whole propensity
    $S -> P @ 1e-3                      # S is a boundary species: it is never changed
    k1 = 50;  k2 = 4;  M = 100          # a parameter, or the initial count if the name is a species
    total := P + 2*D                    # an assignment rule (observable)
    convention falling                  # 2 P means k*P*(P-1); the default, combinations, means k*P*(P-1)/2

A species that gets no initial count starts at 0.
"""

import re
from dataclasses import dataclass, field

from cme import infix, ratelaw
from cme.elements import Convention, Initial, MassAction, Reaction, Rule, Species, Values
from cme.errors import ModelError
from cme.network import Network
from cme.ratelaw import Expr

_NAME = r"[A-Za-z_]\w*"
_ARROW = re.compile(r"<->|->|=>")
_TERM = re.compile(rf"(?:(\d+)\s*\*?\s*)?(\$?)({_NAME})")
_LABEL = re.compile(rf"({_NAME})\s*:(?!=)")
_ASSIGN = re.compile(rf"({_NAME})\s*(:?=)(?![=>])\s*(.*)", re.DOTALL)
_ITEM = rf"\$?(?!in\b){_NAME}"
_SPECIES = re.compile(rf"species\s+((?:{_ITEM}[\s,]+)*{_ITEM})(?:\s+in\s+({_NAME}))?")
_COMPARTMENT = re.compile(rf"compartment\s+({_NAME})\s*=\s*(.*)", re.DOTALL)


@dataclass
class _Draft:
    """What has been read so far."""

    species: dict[str, Species] = field(default_factory=dict)
    reactions: list[Reaction] = field(default_factory=list)
    assigned: dict[str, tuple[Expr, str]] = field(default_factory=dict)  # name -> formula and the place it was read
    compartments: dict[str, tuple[Expr, str]] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    convention: Convention = "combinations"
    name: str = "network"


def parse(text: str, *, name: str | None = None, source: str = "reaction text") -> Network:
    """Read a network from reaction text.

    Parameters
    ----------
    text
        Reactions ``lhs -> rhs @ constant`` (mass action), ``lhs => rhs @ propensity``, ``lhs <-> rhs @ forward, backward``;
        assignments ``name = value``; rules ``name := formula``; ``species``, ``compartment``, ``convention`` and ``model`` lines.
        Statements end at a line end or a semicolon; ``#`` starts a comment. Formulas are SBML Level 3 infix.
    name
        The name of the network; otherwise that of a ``model NAME`` line.
    source
        What error messages call the text.

    Raises
    ------
    ModelError
        With the line, if the text can't be read or the network means nothing.

    Examples
    --------
    >>> import cme
    >>> cme.parse("2 A -> B @ k; A = 10; k = 0.1")
    Network 'network': 2 species, 1 reactions
      r1  2 A -> B  propensity k*A*(A - 1)/2
      k = 0.1
      A = 10; B = 0
    """
    draft = _Draft()
    statements = []
    for number, line in enumerate(text.splitlines(), 1):
        for statement in line.split("#", 1)[0].split(";"):
            if statement.strip():
                statements.append((statement.strip(), f"{source}, line {number}"))
    for statement, _ in statements:  # the convention holds for the whole text, wherever it stands
        if statement.split()[0] == "convention":
            draft.convention = _convention(statement, _)
    for statement, place in statements:
        try:
            _read(statement, draft, place)
        except ModelError as error:
            raise error if str(error).startswith(source) else ModelError(f"{place}: {error}") from None
    if not draft.reactions and not draft.species:
        raise ModelError(f"{source} holds no reaction; write for example 'A + B -> C @ 0.1'")
    return _finish(draft, name, source)


def _read(statement: str, draft: _Draft, place: str) -> None:
    word = statement.split()[0]
    if (arrow := _ARROW.search(statement)) and "@" in statement[arrow.end() :]:
        _read_reaction(statement, draft)
    elif arrow and not _ASSIGN.fullmatch(statement):
        raise ModelError(f"the reaction {statement!r} has no '@': write 'reactants -> products @ rate constant'")
    elif word == "convention":
        return
    elif word == "model" and len(statement.split()) == 2:
        draft.name = statement.split()[1]
    elif match := _SPECIES.fullmatch(statement):
        for item in re.split(r"[\s,]+", match[1].strip(" ,")):
            _declare(draft, item.lstrip("$"), item.startswith("$"), match[2])
    elif match := _COMPARTMENT.fullmatch(statement):
        draft.compartments[match[1]] = (infix.parse(match[2]), place)
    elif match := _ASSIGN.fullmatch(statement):
        variable, sign, formula = match.groups()
        if variable in draft.assigned or variable in draft.rules:
            raise ModelError(f"{variable!r} is assigned twice")
        if sign == ":=":
            draft.rules[variable] = Rule(variable, infix.parse(formula))
        else:
            draft.assigned[variable] = (infix.parse(formula), place)
    else:
        raise ModelError(f"cannot read {statement!r}; expected a reaction 'A -> B @ k', an assignment 'k = 1' or a rule 'y := A + B'")


def _convention(statement: str, place: str) -> Convention:
    match statement.split():
        case ["convention", "combinations"]:
            return "combinations"
        case ["convention", "falling"]:
            return "falling"
    raise ModelError(f"{place}: cannot read {statement!r}; write 'convention combinations' (k x(x-1)/2) or 'convention falling' (k x(x-1))")


def _read_reaction(statement: str, draft: _Draft) -> None:
    label = _LABEL.match(statement)
    body = statement[label.end() :] if label else statement
    equation, _, laws = body.partition("@")
    arrow = _ARROW.search(equation)
    if arrow is None:
        raise ModelError(f"the reaction {statement!r} has no arrow before '@'")
    reactants = _read_side(equation[: arrow.start()], draft)
    products = _read_side(equation[arrow.end() :], draft)
    name = label[1] if label else f"r{len(draft.reactions) + 1}"
    if arrow[0] == "=>":
        draft.reactions.append(Reaction(name, reactants, products, infix.parse(laws)))
        return
    directions = [(name, reactants, products, laws)]
    if arrow[0] == "<->":
        forward, comma, backward = _split_at_comma(laws)
        if not comma:
            raise ModelError(f"the reversible reaction {statement!r} needs two rate constants: '@ forward, backward'")
        directions = [(f"{name}_forward", reactants, products, forward), (f"{name}_backward", products, reactants, backward)]
    for each, left, right, law in directions:
        draft.reactions.append(Reaction(each, left, right, MassAction(infix.parse(law), draft.convention)))


def _split_at_comma(text: str) -> tuple[str, str, str]:
    """Split at the first comma outside parentheses."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            return text[:i], ",", text[i + 1 :]
    return text, "", ""


def _read_side(text: str, draft: _Draft) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    if text.strip() in ("", "0"):
        return ()
    for term in text.split("+"):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise ModelError(f"cannot read {term.strip()!r} as a species with an optional whole-number factor, such as 'X' or '2 X'")
        factor, dollar, name = match.groups()
        _declare(draft, name, bool(dollar), None)
        if factor != "0":
            counts[name] = counts.get(name, 0) + int(factor or 1)
    return tuple(counts.items())


def _declare(draft: _Draft, name: str, boundary: bool, compartment: str | None) -> None:
    old = draft.species.get(name, Species(name))
    draft.species[name] = Species(name, compartment or old.compartment, boundary or old.boundary)


def _finish(draft: _Draft, name: str | None, source: str) -> Network:
    """Evaluate the constants and check that every assignment matters."""
    formulas = [r.law.constant if isinstance(r.law, MassAction) else r.law for r in draft.reactions]
    formulas += [rule.formula for rule in draft.rules.values()]
    constants = {**draft.assigned, **draft.compartments}
    used = set().union(*(ratelaw.names(f) for f in [*formulas, *(formula for formula, _ in constants.values())]))
    spelled = {species.lower(): species for species in draft.species}
    for variable, (_, place) in draft.assigned.items():  # a spare parameter is harmless, a species in the wrong case is a slip
        meant = spelled.get(variable.lower())
        if variable not in used and variable not in draft.species and meant:
            raise ModelError(f"{place}: {variable!r} is assigned but nothing uses it; did you mean the species {meant!r}?")
    values: dict[str, float] = {}

    def value(variable: str, trail: tuple[str, ...] = ()) -> float:
        if variable in trail:
            raise ModelError(f"{constants[variable][1]}: {variable!r} is defined by itself")
        if variable not in values:
            formula, place = constants[variable]
            for needed in sorted(ratelaw.names(formula) - set(ratelaw.CONSTANTS)):
                if needed in draft.species:
                    raise ModelError(f"{place}: {variable!r} uses the species {needed!r}; write '{variable} := ...' to follow the species")
                if needed not in constants:
                    raise ModelError(f"{place}: {variable!r} uses {needed!r}, which has no value; write '{needed} = ...'")
            known = {needed: value(needed, (*trail, variable)) for needed in ratelaw.names(formula) if needed in constants}
            values[variable] = float(ratelaw.evaluate(formula, {**ratelaw.CONSTANTS, **known}))
        return values[variable]

    for variable in constants:
        value(variable)
    try:
        return Network(
            species=tuple(draft.species.values()),
            reactions=tuple(draft.reactions),
            initial=Initial((tuple(values.get(species, 0.0) for species in draft.species),)),
            parameters=Values({v: values[v] for v in draft.assigned if v not in draft.species}),
            compartments=Values({v: values[v] for v in draft.compartments}),
            rules=tuple(draft.rules.values()),
            name=name or draft.name,
        )
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
