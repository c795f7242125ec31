r"""BioNetGen `.net` files: the network that `generate_network` makes of rules.

Species are named S1, S2, ... as in BioNetGen's own SBML; their patterns are no names. Groups become observables, functions become rules.

==================  ===========================================================================================================
in the file         propensity, with x_i the reactants in order and n_i how often x_i stands before among them
==================  ===========================================================================================================
``c*k``             c k (x_1 - n_1) (x_2 - n_2) ...: falling factorials, so that the 1/2 of A + A stands in the file, ``0.5*k``
``c*f`` (function)  c f (x_1 - n_1) (x_2 - n_2) ...
``c*Sat k K_1 ..``  c k (x_1 - n_1) / (K_1 + x_1) ..., reactants that have no K as above
``c*Hill k K h``    c k x_1^h / (K^h + x_1^h) (x_2 - n_2) ...
``c*MM k K``        c k E s / (K + s) with s = (b + sqrt(b^2 + 4 x_1 K))/2, b = x_1 - K - E, E = x_2 + x_3 + ...
==================  ===========================================================================================================

These are the laws of BioNetGen's own simulator (`run_network`, with counts). A species that is marked with $ is never changed. The
blocks that say where the network came from (molecule types, reaction rules, compartments and the like) hold nothing that the simulator
uses, and are passed over.

References
----------
Blinov, Faeder, Goldstein & Hlavacek, BioNetGen: software for rule-based modeling of signal transduction based on the interactions of
molecular domains, Bioinformatics 20, 3289 (2004), doi:10.1093/bioinformatics/bth378
"""

import io
import math
import re
from collections.abc import Callable, Iterator

from cme import infix, ratelaw
from cme.elements import Initial, MassAction, Reaction, Rule, Side, Species, Values
from cme.errors import ModelError, Problem, refusal
from cme.formats.constants import evaluate_constants
from cme.network import Network
from cme.ratelaw import ONE, ZERO, Apply, Expr, Number, Symbol

_READ = ("parameters", "functions", "species", "reactions", "groups")
_PASSED_OVER = {
    "molecule types", "observables", "reaction rules", "compartments", "energy patterns", "population types", "population maps",
    "reactions_text", "seed species", "actions",
}  # fmt: skip
_INDEX = re.compile(r"\d{1,9}", re.ASCII)
_NAMED = re.compile(r"(?:\d+\s+)?([A-Za-z_]\w*)\s+(\S.*)", re.ASCII)
_FUNCTION = re.compile(r"(?:\d+\s+)?([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*=?\s*(\S.*)", re.ASCII)
_TYPED = re.compile(r"(?:(.*)\*)?(Sat|Hill|MM|FunctionProduct|Arrhenius)\b\s*(.*)")
_BUILT_IN = {"_pi": Number(math.pi), "_e": Number(math.e)}

Lines = list[tuple[int, str]]


def read(text: str, *, name: str = "network", source: str = "BioNetGen text") -> Network:
    r"""Read a BioNetGen `.net` file.

    Parameters
    ----------
    text
        What is in the file.
    name
        The name of the network.
    source
        What error messages call the file.

    Raises
    ------
    ModelError
        With the line, if the text is no `.net` file, holds a rate law that is not in the table above, or means nothing.

    Notes
    -----
    Linear in the length of the text.

    Examples
    --------
    >>> read("begin species\n 1 A(b) 5\n end species\n begin reactions\n 1 1,1 0 0.5*2\n end reactions")
    Network 'network': 1 species, 1 reactions
      r1  2 S1 -> 0  propensity 0.5*2*S1*(S1 - 1)
      S1 = 5
    """
    return _File(_blocks(text, source), source).network(name)


def _blocks(text: str, source: str) -> dict[str, Lines]:
    """The lines of each block, without comments."""
    blocks: dict[str, Lines] = {}
    block, opened = "", 0
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        words = line.split("#", 1)[0].strip()
        if not words:
            continue
        begins = re.fullmatch(r"(begin|end)\s+(\w+(?: \w+)?)", words)
        if begins and begins[1] == "begin" and not block:
            block, opened = begins[2], number
            if block in blocks or (block not in _READ and block not in _PASSED_OVER):
                what = "there are two blocks" if block in blocks else "there is no block"
                raise ModelError(f"{source}, line {number}: {what} {block!r} in a .net file; it has {', '.join(_READ)}")
            blocks[block] = []
        elif begins and begins[1] == "end" and begins[2] == block:
            block = ""
        elif begins and (begins[1] == "end" or block in _READ):
            raise ModelError(f"{source}, line {number}: {words!r} " + (f"inside the block {block!r}" if block else "without a begin"))
        elif block in _READ:
            blocks[block].append((number, words))
        elif not block and re.match(r"substanceUnits\(\s*[\"'](?!Number)", words):
            raise ModelError(f'{source}, line {number}: {infix.shorten(words)} gives concentrations; only counts ("Number") can be read')
    if block:
        raise ModelError(f"{source}, line {opened}: the block {block!r} has no end")
    for needed in ("species", "reactions"):
        if needed not in blocks:
            raise ModelError(f"{source} has no block {needed!r}; a .net file is what generate_network() of BioNetGen writes")
    return blocks


class _File:
    """The blocks, read one after the other: what a later one may use is there."""

    def __init__(self, blocks: dict[str, Lines], source: str):
        self.blocks, self.source = blocks, source
        self.places: dict[str, int] = {}  # name -> line
        self.laws: dict[str, Expr] = {}  # a few laws serve many reactions
        self.functions: dict[str, Callable[[list[Expr]], Expr]] = {
            "if": lambda args: ratelaw.call("piecewise", _many(args, 3, "if") and (args[1], args[0], args[2])),
            "rint": lambda args: ratelaw.call("floor", [ratelaw.call("+", [*_many(args, 1, "rint"), Number(0.5)])]),
            "sum": lambda args: ratelaw.call("+", args),
            "avg": lambda args: ratelaw.call("/", [ratelaw.call("+", args), Number(float(len(args)))]),
            "log2": lambda args: ratelaw.call("log", [Number(2.0), *_many(args, 1, "log2")]),
            "time": lambda args: Symbol(ratelaw.TIME) if not args else _no_arguments("time"),
            "log": lambda args: _refuse("log() is ambiguous; write ln or log10"),
            "mratio": lambda args: _refuse("the function mratio() is not supported"),
            "tfun": lambda args: _refuse("tables (tfun) are not supported; write the function as a formula"),
        }

    def lines(self, block: str) -> Iterator[tuple[int, str]]:
        yield from self.blocks.get(block, [])

    def place(self, number: int) -> str:
        return f"{self.source}, line {number}"

    def network(self, name: str) -> Network:
        # a name is known before it is used, wherever it stands
        parameters = {each: (number, text) for each, number, text in self.named("parameters")}
        groups = {each: (number, text) for each, number, text in self.named("groups", empty=True)}
        for each in groups:
            self.functions[each] = _nullary(each)
        rules = self.read_functions()
        values, problems = evaluate_constants(
            {each: (self.formula(text, number), number) for each, (number, text) in parameters.items()},
            lambda each, needed: f"parameter {each!r} uses {needed!r}, which is no parameter",
        )
        if problems:
            raise refusal(problems, self.source)
        species, counts = self.read_species(values)
        observables = [Rule(each, self.group(text, number, species)) for each, (number, text) in groups.items()]
        ruled = {rule.name for rule in rules} | {rule.name for rule in observables}
        reactions = tuple(self.read_reactions(species, ruled))
        try:
            return Network(
                species=species,
                reactions=reactions,
                initial=Initial((counts,)),
                parameters=Values(values),
                rules=(*observables, *rules),
                name=name,
                notes=tuple(map(_own_rate, filter(_is_own_rate, reactions))),
            )
        except ModelError as error:
            raise refusal([each._replace(line=self.line(each)) for each in error.problems], self.source) from None

    def line(self, problem: Problem) -> int | None:
        """The line of what a problem is about: species and reactions are named after their numbers."""
        if problem.kind in ("reaction", "count", "species"):
            block = "reactions" if problem.kind == "reaction" else "species"
            return self.blocks[block][int(problem.element.lstrip("rS_")) - 1][0]
        return self.places.get(problem.element)

    # ------------------------------------------------------------------------------------------------------ names

    def named(self, block: str, empty: bool = False) -> Iterator[tuple[str, int, str]]:
        """Lines ``index name formula``."""
        for number, text in self.lines(block):
            match = _NAMED.fullmatch(text + " ;" if empty else text)
            if match is None:
                raise ModelError(f"{self.place(number)}: cannot read {infix.shorten(text)!r}; expected 'index name value'")
            self.declare(match[1], number)
            yield match[1], number, match[2].removesuffix(";") if empty else match[2]

    def declare(self, name: str, number: int) -> None:
        if name in self.places:
            raise ModelError(f"{self.place(number)}: the name {name!r} is taken, by line {self.places[name]}")
        if name == ratelaw.TIME:
            raise ModelError(f"{self.place(number)}: the name {name!r} stands for the time; rename it")
        self.places[name] = number

    def formula(self, text: str, number: int) -> Expr:
        try:
            tree = infix.parse(text, self.functions)
        except ModelError as error:
            raise ModelError(f"{self.place(number)}: {error}") from None
        built_in = (ratelaw.names(tree) & _BUILT_IN.keys()) - self.places.keys() if "_" in text else ()
        return ratelaw.substitute(tree, {each: _BUILT_IN[each] for each in built_in}) if built_in else tree

    # ------------------------------------------------------------------------------------------------- the blocks

    def read_functions(self) -> list[Rule]:
        """A function without arguments is a rule; one with arguments is filled in where it is called."""
        found = []
        for number, text in self.lines("functions"):
            match = _FUNCTION.fullmatch(text)
            if match is None:
                raise ModelError(f"{self.place(number)}: cannot read the function {infix.shorten(text)!r}; expected 'index name() formula'")
            self.declare(match[1], number)
            arguments = [each.strip() for each in (match[2] or "").split(",") if each.strip()]
            if not arguments:
                self.functions[match[1]] = _nullary(match[1])
            found.append((number, match[1], arguments, match[3]))
        rules = []
        for number, name, arguments, text in found:
            tree = self.formula(text, number)
            if arguments:
                self.functions[name] = _template(name, arguments, tree)
            else:
                rules.append(Rule(name, tree))
        return rules

    def read_species(self, values: dict[str, float]) -> tuple[tuple[Species, ...], tuple[float, ...]]:
        prefix = "S"
        while any(re.fullmatch(prefix + r"\d+", name) for name in self.places):
            prefix += "_"
        species, counts = list[Species](), list[float]()
        known = {**ratelaw.CONSTANTS, **values}
        for number, text in self.lines("species"):
            words = text.split(None, 2)
            index = words.pop(0) if _INDEX.fullmatch(words[0]) else ""
            pattern, count = words[0] if words else "", " ".join(words[1:])
            if not count or (index and index != str(len(species) + 1)):
                raise ModelError(
                    f"{self.place(number)}: cannot read {infix.shorten(text)!r}; expected '{len(species) + 1} pattern count', as species "
                    "are counted from 1"
                )
            formula = self.formula(count, number)
            for unknown in sorted(ratelaw.names(formula) - known.keys()):
                raise ModelError(f"{self.place(number)}: the count uses {unknown!r}, which is no parameter")
            species.append(Species(f"{prefix}{len(species) + 1}", boundary=bool(re.match(r"(?:@\w+::?)?\$", pattern))))
            counts.append(float(ratelaw.evaluate(formula, known)))
        return tuple(species), tuple(counts)

    def group(self, text: str, number: int, species: tuple[Species, ...]) -> Expr:
        terms = list[Expr]()
        for item in text.split(",") if text.strip() else []:
            weight, star, index = item.rpartition("*")
            symbol = Symbol(species[self.index(index, number, len(species)) - 1].name)
            factor = self.formula(weight, number) if star else ONE
            if ratelaw.names(factor):
                raise ModelError(f"{self.place(number)}: the weight {weight.strip()!r} is no number")
            terms.append(symbol if factor == ONE else Apply("*", (factor, symbol)))
        return terms[0] if len(terms) == 1 else Apply("+", tuple(terms)) if terms else ZERO

    def index(self, text: str, number: int, largest: int, least: int = 1) -> int:
        text = text.strip()
        if not _INDEX.fullmatch(text) or not least <= int(text) <= largest:
            raise ModelError(f"{self.place(number)}: there is no species {infix.shorten(text)!r}; they are counted from 1 to {largest}")
        return int(text)

    # -------------------------------------------------------------------------------------------------- reactions

    def read_reactions(self, species: tuple[Species, ...], ruled: set[str]) -> Iterator[Reaction]:
        for r, (number, text) in enumerate(self.lines("reactions"), 1):
            parts = text.split(None, 3)
            if len(parts) < 4 or not _INDEX.fullmatch(parts[0]):
                raise ModelError(f"{self.place(number)}: cannot read {infix.shorten(text)!r}; expected 'index reactants products rate'")
            left, right = (
                [species[i - 1].name for each in side.split(",") if (i := self.index(each, number, len(species), 0))] for side in parts[1:3]
            )
            constant = self.laws.get(parts[3])
            law: Expr | MassAction | None = None if constant is not None else self.typed_law(parts[3], left, number)
            if law is None:
                if constant is None:
                    constant = self.laws[parts[3]] = self.formula(parts[3], number)
                    if unknown := ratelaw.names(constant) - self.places.keys() - ratelaw.CONSTANTS.keys():
                        raise ModelError(f"{self.place(number)}: the rate law uses {min(unknown)!r}, which is not defined")
                functional = not ruled.isdisjoint(ratelaw.names(constant)) if ruled else False
                law = _product([constant, *_falling(left)]) if functional else MassAction(constant, "falling")
            yield Reaction(f"r{r}", _side(left), _side(right), law)

    def typed_law(self, text: str, left: list[str], number: int) -> Expr | None:
        """The laws that have a name of their own, ``c*Sat k K``; None for any other."""
        match = _TYPED.fullmatch(text)
        if match is None:
            return None
        factor, kind, rest = match.groups()
        words = [each for each in re.split(r"[\s,]+", rest.strip("() \t")) if each]
        wanted = {"Sat": range(2, len(left) + 2), "Hill": range(3, 4), "MM": range(2, 3)}.get(kind, range(0))
        if kind == "MM" and len(left) < 2:
            wanted = range(0)
        if len(words) not in wanted or not left:
            raise ModelError(
                f"{self.place(number)}: the rate law {infix.shorten(text)!r} with {len(left)} reactants is not supported; there are "
                "Sat k K ... (up to a K for each reactant), Hill k K h, and MM k K with a substrate and an enzyme"
            )
        rate, *others = [self.formula(each, number) for each in words]
        parts = [rate] if factor is None else [self.formula(factor, number), rate]
        counts, first = _falling(left), Symbol(left[0])
        if kind == "Sat":
            for i, each in enumerate(others):
                parts.append(Apply("/", (counts[i], Apply("+", (each, Symbol(left[i]))))))
            return _product([*parts, *counts[len(others) :]])
        if kind == "Hill":
            power = Apply("^", (first, others[1]))
            return _product([*parts, Apply("/", (power, Apply("+", (Apply("^", tuple(others)), power)))), *counts[1:]])
        enzymes: Expr = Symbol(left[1]) if len(left) == 2 else Apply("+", tuple(map(Symbol, left[1:])))
        b = Apply("+", (first, Apply("neg", (others[0],)), Apply("neg", (enzymes,))))
        root = Apply("sqrt", (Apply("+", (Apply("^", (b, Number(2.0))), Apply("*", (Number(4.0), first, others[0])))),))
        free = Apply("/", (Apply("+", (b, root)), Number(2.0)))
        return _product([*parts, enzymes, Apply("/", (free, Apply("+", (others[0], free))))])


def _side(names: list[str]) -> Side:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return tuple(counts.items())


def _is_own_rate(reaction: Reaction) -> bool:
    return not isinstance(reaction.law, MassAction) and any(isinstance(n, int) and n > 1 for _, n in reaction.reactants)


def _own_rate(reaction: Reaction) -> str:
    return (
        f"reaction {reaction.name!r} has a functional rate and takes several of one species: its rate in the rate equations is "
        "its propensity, with x*(x - 1) where BioNetGen's own have x^2"
    )


def _falling(names: list[str]) -> list[Expr]:
    """X, X - 1, ..., Y, Y - 1, ... for the reactants in order."""
    seen: dict[str, int] = {}
    factors = list[Expr]()
    for name in names:
        n = seen[name] = seen.get(name, -1) + 1
        factors.append(Symbol(name) if n == 0 else Apply("+", (Symbol(name), Apply("neg", (Number(float(n)),)))))
    return factors


def _product(factors: list[Expr]) -> Expr:
    return ratelaw.flat("*", tuple(factors)) if len(factors) > 1 else factors[0]


# -------------------------------------------------------------------------------------------------------- functions


def _refuse(message: str) -> Expr:
    raise ModelError(message)


def _no_arguments(name: str) -> Expr:
    return _refuse(f"{name}() takes no argument; functions of single complexes can't be read")


def _nullary(name: str) -> Callable[[list[Expr]], Expr]:
    return lambda args: _no_arguments(name) if args else Symbol(name)


def _many(args: list[Expr], wanted: int, name: str) -> list[Expr]:
    if len(args) != wanted:
        raise ModelError(f"function {name} takes {wanted} argument{'s' * (wanted > 1)}, not {len(args)}")
    return args


def _template(name: str, arguments: list[str], tree: Expr) -> Callable[[list[Expr]], Expr]:
    return lambda args: ratelaw.substitute(tree, dict(zip(arguments, _many(args, len(arguments), name), strict=True)))
