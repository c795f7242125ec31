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
    P <=> Q @ kf*P - kr*Q               # a net rate, forward minus backward, which only the rate equations can take
    $S -> P @ 1e-3                      # S is a boundary species: it is never changed
    M => (2*b) P @ k2*M                 # how many may be a formula, in parentheses
    0 -> geometric(b) P @ k2            # a burst: drawn each time, from 0, 1, 2, ... with MEAN b
    binomial(P, 1/2) P => 0 @ 0.1       # a division: each molecule goes to the other cell with probability 1/2
    k1 = 50;  k2 = 4;  M = 100          # a parameter, or the initial count if the name is a species
    total := P + 2*D                    # an assignment rule (observable)
    k1' = -0.1*k1                       # a rate rule: the derivative of a parameter, volume or species
    feed: at time >= 25 after 2: M = M + 50, k2 = 0     # an event, carried out 2 later
    M ~ normal(100, 10)                 # where each path starts is drawn at random
    convention falling                  # 2 P means k*P*(P-1); the default, combinations, means k*P*(P-1)/2

Numbers that are drawn (``bernoulli(p)``, ``binomial(n, p)``, ``geometric(mean)``, ``poisson(mean)``) are independent of each other, and of
all before; ``(1 + geometric(4)) P`` is a burst from 1 on. One that is written alike on both sides is the same number, so that
``binomial(A, 1/2) A => binomial(A, 1/2) B @ k`` moves molecules. They are drawn with the counts before the reaction. A species that gets no
initial count starts at 0. The options of an event stand before the colon, with the words and the defaults of
Antimony: ``at X > 5, priority = 2, persistent = false, t0 = false, fromTrigger = false: X = 0`` (see `cme.Event`); a value from the
trigger may have a last factor from the execution, ``X = 2*A*now(V)``. A start that is a distribution has a line for each state:
``start 0.25: X = 3, Y = 1``. A single reaction may differ from the convention: ``2 A -> B @ [falling] k``. A name with other characters
than letters, digits and _ stands in quotes: ``"R 1": A -> B @ k``.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from cme import infix, ratelaw
from cme.elements import Convention, Event, MassAction, Reaction, Rule, Side, Species
from cme.errors import ModelError, Problem, refusal, rounded_count
from cme.formats.text_draft import Draft, finish
from cme.network import Network
from cme.ratelaw import ZERO, Expr

_NAME = r"[^\W\d]\w*"
_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_ARROW = re.compile(r"<->|<=>|->|=>")
_TERM = re.compile(rf"(?:(\d+|(?:{_NAME}\s*)?\(.*\))\s*\*?\s*)?(\$?)({_NAME})", re.DOTALL)
_LABEL = re.compile(rf"({_NAME}|{_QUOTED})\s*:(?!=)\s*")
_ASSIGN = re.compile(rf"({_NAME})\s*(:=|'\s*=|=|~)(?![=>])\s*(.*)", re.DOTALL)
_WHOLE = re.compile(r"[0-9]+")
_EVENT = re.compile(r"at\b([^:]*):(.*)", re.DOTALL)
_START = re.compile(r"start\s+([^:=]*):(.*)", re.DOTALL)
_MODEL = re.compile(rf"model\s+({_QUOTED}|\S+)")
_COMPARTMENT = re.compile(rf"compartment\s+({_NAME})\s*=(?!=)\s*(.*)", re.DOTALL)
_CONVENTION = re.compile(r"\s*\[\s*(combinations|falling)\s*\]")
_FLAGS = {"persistent": "persistent", "t0": "initially", "fromTrigger": "values_from_trigger"}

MOST_PROBLEMS = 100


def parse(text: str, *, name: str | None = None, source: str = "reaction text") -> Network:
    """Read a network from reaction text.

    Parameters
    ----------
    text
        Reactions ``lhs -> rhs @ constant`` (mass action), ``lhs => rhs @ propensity``, ``lhs <-> rhs @ forward, backward``,
        ``lhs <=> rhs @ net rate``; assignments ``name = value``; rules ``name := formula`` and ``name' = formula``; events
        ``at trigger after delay: name = formula``; random starts ``name ~ formula``; ``species``, ``compartment``, ``convention``,
        ``start`` and ``model`` lines. Statements end at a line end or a semicolon; ``#`` starts a comment. Formulas are SBML Level 3
        infix. See `cme.formats.text` for all of it.
    name
        The name of the network; otherwise that of a ``model NAME`` line.
    source
        What error messages call the text.

    Raises
    ------
    ModelError
        If the text can't be read or the network means nothing: all of it, by line.

    Examples
    --------
    >>> import cme
    >>> cme.parse("2 A -> B @ k; A = 10; k = 0.1")
    Network 'network': 2 species, 1 reactions
      r1  2 A -> B  propensity k*A*(A - 1)/2
      k = 0.1
      A = 10; B = 0
    """
    draft, problems = Draft(), list[Problem]()
    conventions: dict[str, int] = {}
    for statement, line in _statements(text, source):  # the convention holds for the whole text, wherever it stands
        if statement.split(None, 1)[0] == "convention" and not _ASSIGN.fullmatch(statement):
            try:
                draft.convention = _convention(statement)
                conventions[draft.convention] = line
            except ModelError as error:
                problems.append(Problem("convention", "", str(error), line))
    if len(conventions) > 1:
        what = "the text states two conventions; drop one, or mark single reactions"
        problems.append(Problem("convention", "", what, max(conventions.values())))
    for statement, line in _statements(text, source):
        before = draft.counts()
        try:
            _read(statement, draft, line)
        except ModelError as error:
            problems.append(Problem("statement", "", str(error), line))
        draft.note_lines(before, line)
        if len(problems) >= MOST_PROBLEMS:
            raise refusal([*problems, Problem("text", "", "reading stops here", line)], source)
    if not (draft.reactions or draft.species or draft.rate_rules or draft.rules or draft.events or problems):
        raise ModelError(f"{source} holds no reaction; write for example 'A + B -> C @ 0.1'")
    return finish(draft, name, source, problems)


def _statements(text: str, source: str) -> Iterator[tuple[str, int]]:
    """Statements with their lines, one at a time; quotes may hold semicolons and number signs."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.isspace():
            continue
        begin = 0
        for mark in re.finditer(rf'{_QUOTED}|[;#"]', line):
            if mark[0] == '"':
                raise refusal([Problem("statement", "", "a quote is not closed", number)], source)
            if mark[0] in (";", "#"):
                if statement := line[begin : mark.start()].strip():
                    yield statement, number
                begin = mark.end()
            if mark[0] == "#":
                begin = len(line)
                break
        if statement := line[begin:].strip():
            yield statement, number


def _read(statement: str, draft: Draft, line: int) -> None:
    label = _LABEL.match(statement)
    body = statement[label.end() :] if label else statement
    name = _unquote(label[1]) if label else None
    word = statement.split(None, 1)[0]
    if (arrow := _ARROW.search(body)) and "@" in body[arrow.end() :]:
        _read_reaction(name, body, draft)
    elif arrow and not _ASSIGN.fullmatch(body):
        raise ModelError(f"the reaction {_short(statement)} has no '@': write 'reactants -> products @ rate constant'")
    elif match := _ASSIGN.fullmatch(statement):
        _assign(match[1], match[2][0], match[3], draft, line)
    elif match := _EVENT.fullmatch(body):
        draft.events.append(_event(f"e{len(draft.events) + 1}" if name is None else name, match[1], match[2]))
    elif word == "convention":
        return
    elif match := _MODEL.fullmatch(statement):
        if draft.name is not None:
            raise ModelError(f"the model is named twice, {draft.name!r} and {_unquote(match[1])!r}; drop one")
        draft.name = _unquote(match[1])
    elif word == "species":
        _read_species(statement, draft)
    elif match := _COMPARTMENT.fullmatch(statement):
        if match[1] in draft.compartments:
            raise ModelError(f"compartment {match[1]!r} is declared twice; drop one")
        draft.compartments[match[1]] = (infix.parse(match[2]), line)
    elif match := _START.fullmatch(statement):
        counts = {each.name: _number(each.formula) for each in _assignments(match[2])}
        for item in _split_outside(match[2], ","):
            species, _, count = (part.strip() for part in item.partition("="))
            if _WHOLE.fullmatch(count) and (what := rounded_count(species, int(count))):
                raise ModelError(what)
        draft.starts.append((_number(infix.parse(match[1])), counts, line))
    else:
        raise _unreadable(statement)


def _unreadable(statement: str) -> ModelError:
    return ModelError(f"cannot read {_short(statement)}; expected a reaction 'A -> B @ k', an assignment 'k = 1' or a rule 'y := A + B'")


def _short(text: str) -> str:
    return repr(infix.shorten(text, 200) if len(text) > 200 else text)


def _unquote(name: str) -> str:
    try:
        return json.loads(name) if name.startswith('"') else name
    except ValueError:
        raise ModelError(f'cannot read the name {_short(name)}; in quotes, write \\" for a quote and \\\\ for a backslash') from None


def _convention(statement: str) -> Convention:
    match statement.split():
        case ["convention", "combinations"]:
            return "combinations"
        case ["convention", "falling"]:
            return "falling"
    raise ModelError(f"cannot read {_short(statement)}; write 'convention combinations' (k x(x-1)/2) or 'convention falling' (k x(x-1))")


# -------------------------------------------------------------------------------------------------------- reactions


def _read_reaction(label: str | None, body: str, draft: Draft) -> None:
    equation, _, laws = body.partition("@")
    arrow = _ARROW.search(equation)
    if arrow is None:
        raise ModelError(f"the reaction {_short(body)} has no arrow before '@'")
    reactants = _read_side(equation[: arrow.start()], draft)
    products = _read_side(equation[arrow.end() :], draft)
    name = label if label is not None else f"r{len(draft.reactions) + 1}"
    if arrow[0] in ("=>", "<=>"):
        draft.reactions.append(Reaction(name, reactants, products, infix.parse(laws), net_flux=arrow[0] == "<=>"))
        return
    convention = draft.convention
    if own := _CONVENTION.match(laws):
        convention, laws = cast(Convention, own[1]), laws[own.end() :]
    directions = [(name, reactants, products, laws)]
    if arrow[0] == "<->":
        constants = _split_outside(laws, ",")
        if len(constants) != 2:
            raise ModelError(f"the reversible reaction {_short(body)} needs two rate constants: '@ forward, backward'")
        directions = [(f"{name}_forward", reactants, products, constants[0]), (f"{name}_backward", products, reactants, constants[1])]
    for each, left, right, law in directions:
        draft.reactions.append(Reaction(each, left, right, MassAction(infix.parse(law), convention)))


def _split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator outside parentheses."""
    parts, begin, depth = list[str](), 0, 0
    for mark in re.finditer(rf"[()]|{separator}", text):
        if mark[0] in "()":
            depth += 1 if mark[0] == "(" else -1
        elif depth == 0:
            parts.append(text[begin : mark.start()])
            begin = mark.end()
    return [*parts, text[begin:]]


def _read_side(text: str, draft: Draft) -> Side:
    counts: dict[str, int] = {}
    formulas: list[tuple[str, Expr]] = []
    if text.strip() in ("", "0"):
        return ()
    order = []
    for term in _split_outside(text, r"\+"):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise ModelError(
                f"cannot read {_short(term.strip())} as a species with an optional whole-number factor, such as 'X' or '2 X', "
                "a formula in parentheses, '(2*b) X', or a drawn number, 'geometric(5) X'"
            )
        factor, dollar, name = match.groups()
        _declare(draft, name, bool(dollar), None)
        if factor and not factor.isdigit():
            order.append((name, len(formulas)))
            formulas.append((name, infix.parse(factor)))
            continue
        if factor and len(factor.lstrip("0")) > 15:
            raise ModelError(f"{_short(factor)} molecules of {name!r} are too many")
        if int(factor or 1):
            if name not in counts:
                order.append((name, -1))
            counts[name] = counts.get(name, 0) + int(factor or 1)
    return tuple((name, counts[name]) if place < 0 else formulas[place] for name, place in order)


def _read_species(statement: str, draft: Draft) -> None:
    """``species A, $B C in cell``; any of the names may be the word `in` itself."""
    lists = [each.split() for each in statement.removeprefix("species").strip().strip(",").split(",")]
    compartment = lists[-1][-1] if len(lists[-1]) > 2 and lists[-1][-2] == "in" else None
    if compartment is not None:
        lists[-1] = lists[-1][:-2]
    for names in lists:
        for item in names:
            if not re.fullmatch(rf"\$?{_NAME}", item) or (item == "in" and len(names) > 1):
                raise _unreadable(statement)
            _declare(draft, item.lstrip("$"), item.startswith("$"), compartment)
    if not all(lists) or (compartment is not None and not re.fullmatch(_NAME, compartment)):
        raise _unreadable(statement)


def _declare(draft: Draft, name: str, boundary: bool, compartment: str | None) -> None:
    old = draft.species.get(name)
    if old is not None and compartment and old.compartment not in (None, compartment):
        raise ModelError(f"species {name!r} is put in {old.compartment!r} and in {compartment!r}; drop one")
    if old is None or (boundary and not old.boundary) or (compartment and not old.compartment):
        old = old or Species(name)
        draft.species[name] = Species(name, compartment or old.compartment, boundary or old.boundary)


# ------------------------------------------------------------------------------------- assignments, rules and events


def _assign(variable: str, sign: str, text: str, draft: Draft, line: int) -> None:
    formula = infix.parse(text)
    if sign == "'":
        draft.rate_rules.append(Rule(variable, formula))
        return
    random = sign == "~" or (sign == "=" and ratelaw.has_draws(formula))
    if variable in draft.rules or (sign != "~" and variable in draft.assigned):
        raise ModelError(f"{variable!r} is assigned twice")
    if random:
        draft.draws.append(Rule(variable, formula))
    elif sign == ":":
        draft.rules[variable] = Rule(variable, formula)
    else:
        draft.assigned[variable] = (formula, line)
        if _WHOLE.fullmatch(text.strip()) and int(text) != int(float(text)):
            draft.rounded[variable] = int(text)


def _assignments(text: str) -> tuple[Rule, ...]:
    """``X = 50, k = 0``."""
    made = []
    for item in _split_outside(text, ",") if text.strip() else []:
        match = _ASSIGN.fullmatch(item.strip())
        if match is None or match[2] != "=":
            raise ModelError(f"cannot read {_short(item.strip())} as an assignment 'name = formula'; commas go between them")
        made.append(Rule(match[1], infix.parse(match[3])))
    return tuple(made)


def _event(name: str, head: str, made: str) -> Event:
    when, *options = _split_outside(head, ",")
    trigger, *delays = _split_outside(when, r"\bafter\b")
    if len(delays) > 1:
        raise ModelError(f"the event {name!r} has two delays; write 'at trigger after delay: X = 1'")
    event = Event(name, infix.parse(trigger), _assignments(made), infix.parse(delays[0]) if delays else ZERO)
    for option in options:
        word, _, value = (part.strip() for part in option.partition("="))
        if word == "priority":
            event = replace(event, priority=infix.parse(value))
        elif word in _FLAGS and value in ("true", "false"):
            event = replace(event, **{_FLAGS[word]: value == "true"})  # type: ignore[arg-type]
        else:
            raise ModelError(
                f"cannot read the option {_short(option.strip())} of the event {name!r}; there are priority = formula, and "
                f"{', '.join(_FLAGS)} = true or false"
            )
    return event


def _number(formula: Expr) -> float:
    if unknown := ratelaw.names(formula) - set(ratelaw.CONSTANTS):
        raise ModelError(f"the start uses {min(unknown)!r}; write numbers")
    return float(ratelaw.evaluate(formula, ratelaw.CONSTANTS))
