"""Reaction text that a network writes of itself reads back as the same network."""

import math
from dataclasses import replace

import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import cme
from cme.elements import Event, Initial, MassAction, Reaction, Rule, Species, Values
from cme.infix import parse as formula
from cme.infix import to_infix
from cme.network import Network
from cme.ratelaw import MAX_SIZE, Apply, Number, Symbol, flat

EVERYTHING = """
model "my; #1 \\"model\\""
compartment cell = 3
species in, $B in cell
species A, after
"R 1; #@ ->": 2 A -> B @ [falling] k
pairs: 2 A -> (2*k) B @ 2*k
A <=> B @ k*A - B
(cell) A => 3 B + (1.5) A @ k*A
cell' = -0.1*cell
B' = sin(time)
"E; 1": at time >= 25 after 2: A = A + 50, k = 0
at (after > 3) && A > B after 2*(after), priority = min(A, 3), persistent = false, t0 = false, fromTrigger = false: after = normal(1, 2)
nothing: at A > 5:
k = 3; at = 1/3; start = 2; model = 1e300; species = 1e-300; compartment = 4; convention = -0.1
A = 7; after = 1; B = -2
A ~ poisson(10)
cell ~ uniform(1, 2)
q = bernoulli(0.5)
y := piecewise(A, A > 3)
z := piecewise(A, A > 3, 2, B > 1, 0) + at + start
α := y - z
"""


def test_everything_at_once():
    network = cme.parse(EVERYTHING)
    assert network.name == 'my; #1 "model"'
    assert [r.name for r in network.reactions] == ["R 1; #@ ->", "pairs", "r3", "r4"]
    assert [str(r) for r in network.reactions] == ["2 A -> B", "2 A -> (2*k) B", "A <=> B", "(cell) A -> 3 B + (1.5) A"]
    assert network.reactions[0].law == MassAction(formula("k"), "falling")
    assert [r.net_flux for r in network.reactions] == [False, False, True, False]
    assert network.rate_rules == (Rule("cell", formula("-0.1*cell")), Rule("B", formula("sin(time)")))
    first, second, third = network.events
    made = (Rule("A", formula("A + 50")), Rule("k", formula("0")))
    assert first == Event("E; 1", formula("time >= 25"), made, formula("2"))
    made = (Rule("after", formula("normal(1, 2)")),)
    assert second == Event("e2", formula("after > 3 && A > B"), made, formula("2*after"), formula("min(A, 3)"), False, False, False)
    assert (third.name, third.assignments) == ("nothing", ())
    assert network.initial.draws == (
        Rule("A", formula("poisson(10)")),
        Rule("cell", formula("uniform(1, 2)")),
        Rule("q", formula("bernoulli(0.5)")),
    )
    assert network.initial.states == ((0, -2, 7, 1),)
    assert network.parameters["q"] == 0
    assert cme.parse(network.to_text()) == network


@pytest.mark.parametrize("model", list(cme.catalogue().name))
def test_every_model_on_the_shelf_reads_back(model):
    network = cme.load(model)
    assert cme.parse(network.to_text()) == network


@settings(deadline=None, derandomize=True)
@given(strategies.networks())
def test_random_networks_read_back(network):
    assert cme.parse(network.to_text()) == network


names = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,3}", fullmatch=True),
    st.sampled_from(
        "at after in species model start compartment convention time exp normal nan inf pi true priority t0 lambda class é µ_1".split()
    ),
)
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**17), 10**17).map(float))
labels = st.one_of(names, st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))


@st.composite
def anything(draw):
    """A network that may hold all there is, under names that make trouble."""
    n_species, n_parameters = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    declared = draw(st.lists(names, min_size=n_species + n_parameters + 2, max_size=n_species + n_parameters + 2, unique=True))
    cell, observable, *rest = declared
    species = [Species(name, draw(st.sampled_from([None, cell])), draw(st.booleans())) for name in rest[:n_species]]
    parameters = rest[n_species:]

    def tree(depth=3, leaves=declared):
        kind = draw(st.integers(0, 7 if depth else 1))
        if kind == 0 or (kind == 1 and not leaves):
            return Number(draw(numbers))
        if kind == 1:
            return Symbol(draw(st.sampled_from(leaves)))
        a, b = tree(depth - 1, leaves), tree(depth - 1, leaves)
        match kind:
            case 2:
                return formula(f"({to_infix(a)}) + 2*({to_infix(b)})")
            case 3:
                return Apply("/", (a, b))
            case 4:
                return Apply("^", (a, b))
            case 5:
                return Apply("neg", (a,))
            case 6:
                return formula(f"piecewise(({to_infix(a)}), ({to_infix(b)}) > 1)")
        return Apply("max", (a, b))

    free = [*parameters, cell]
    reactions = []
    for label in draw(st.lists(labels, max_size=3, unique=True)):
        sides = [
            tuple((s.name, draw(st.integers(1, 4))) for s in draw(st.lists(st.sampled_from(species), max_size=2, unique=True)))
            for _ in "lr"
        ]
        law = MassAction(tree(2, free), draw(st.sampled_from(["combinations", "falling"]))) if draw(st.booleans()) else tree()
        if draw(st.booleans()):
            sides[1] += ((species[0].name, tree(1)),)
        reactions.append(Reaction(label, *sides, law, net_flux=not isinstance(law, MassAction) and draw(st.booleans())))
    changed = {name for reaction in reactions for name, _ in (*reaction.reactants, *reaction.products)}
    rated = [s.name for s in species if s.name not in changed or s.boundary]
    rates = [Rule(name, tree()) for name in draw(st.lists(st.sampled_from([*rated, *free]), max_size=2, unique=True))]
    events = []
    for label in draw(st.lists(labels, max_size=2, unique=True)):
        made = draw(st.lists(st.sampled_from([*(s.name for s in species), *free]), max_size=2, unique=True))
        flags = [draw(st.booleans()) for _ in range(3)]
        priority = tree() if draw(st.booleans()) else None
        factor = flags[-1] and draw(st.booleans())  # of the execution
        sets = tuple(Rule(name, flat("*", (tree(), Apply("now", (tree(1),)))) if factor else tree()) for name in made)
        events.append(Event(label, Apply(">", (tree(), tree())), sets, tree(1), priority, *flags))
    counts = st.one_of(st.integers(0, 10**6).map(float), st.floats(0, 1e6))
    states = tuple(tuple(draw(counts) for _ in species) for _ in range(draw(st.sampled_from([1, 1, 2]))))
    drawn = draw(st.lists(st.sampled_from([*(s.name for s in species), *free]), max_size=2, unique=True))
    return Network(
        species=tuple(species),
        reactions=tuple(reactions),
        initial=Initial(
            states, (1.0,) if len(states) == 1 else (0.25, 0.75), tuple(Rule(name, Apply("normal", (tree(), tree()))) for name in drawn)
        ),
        parameters=Values({name: draw(numbers) for name in parameters}),
        compartments=Values({cell: draw(st.floats(1e-9, 1e9))}),
        rules=(Rule(observable, tree(2, [s.name for s in species] + free)),),
        rate_rules=tuple(rates),
        events=tuple(events),
        name=draw(labels),
    )


@settings(deadline=None, derandomize=True, max_examples=200)
@given(anything())
def test_whatever_a_network_holds_reads_back(network):
    assert cme.parse(network.to_text()) == network


def test_a_long_sum_as_rate_constant_reads_back():
    constant = Apply("+", tuple(Symbol("k") for _ in range(20_000)))
    for convention in ("combinations", "falling"):
        reaction = Reaction("r", (("A", 2),), (), MassAction(constant, convention))
        network = Network((Species("A"),), (reaction,), Initial(((3.0,),)), Values({"k": 1.0}))
        assert cme.parse(network.to_text()) == network
    assert len(constant.args) < MAX_SIZE


def test_values_that_are_no_numbers_are_written():
    """A variable may have no value before an event sets it."""
    text = "A -> 0 @ 1; at time > 1: k = 2, m = 3, n = 4; k = notanumber; m = infinity; n = -infinity"
    network = cme.parse(cme.parse(text).to_text())
    assert str(list(network.parameters.values())) == "[nan, inf, -inf]"


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        (Reaction("r", (("A", 1), ("A", 1)), (), Number(1.0)), "reaction 'r' lists 'A' twice on one side; add the two up"),
        (
            Reaction("r", (), (), Apply("*", (Number(float("inf")), Symbol("A")))),
            r"the formula infinity\*A holds a number that is infinite or undefined, and 'infinity', the word for one in text, is",
        ),
    ],
)
def test_refusals(reaction, message):
    with pytest.raises(cme.ModelError, match=message):
        Network((Species("A"),), (reaction,), Initial(((3.0,),)), Values({"infinity": 1.0})).to_text()


def test_infinite_and_undefined_numbers_are_words():
    text = "0 => A @ piecewise(1, A < inf, -infinity); B := nan; (A*infinity) A => 0 @ -infinity; at A > infinity after inf: A = notanumber"
    network = cme.parse(text)
    assert network.reactions[0].law.args[1] == Apply("<", (Symbol("A"), Number(math.inf)))
    assert network.reactions[1].law == Number(-math.inf)
    assert network.rules[0].formula == Number(math.nan)
    assert cme.parse(network.to_text()) == network == cme.load(network.to_sbml())


def test_names_hide_the_words_for_infinite_numbers():
    network = cme.parse("nan => inf @ nan*inf; inf = 3")
    assert network.formula(0) == "nan*inf"
    assert cme.parse(network.to_text()) == network


def test_notes_become_comments():
    network = replace(cme.parse("A -> 0 @ 1"), notes=("constraint 1 is\nnot watched",))
    assert "# constraint 1 is not watched\n" in network.to_text()
    assert cme.parse(network.to_text()) == network
