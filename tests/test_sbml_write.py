"""Written SBML: it reads back equal, libsbml finds no fault with it, and what it can't hold is refused."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sbml_documents import SUITE_CASES, check_round_trip, model, reaction
from strategies import networks

import cme
from cme.elements import Event, Initial, MassAction, Reaction, Rule, Species, Values
from cme.infix import parse
from cme.network import Network
from cme.ratelaw import Apply, Number, Symbol, flat


@pytest.mark.parametrize("name", cme.catalogue().name)
def test_the_shelf_round_trips(name):
    network = cme.load(name)
    if network.varying:
        with pytest.raises(cme.ModelError, match="numbers of molecules are not drawn there; write the network as reaction text"):
            network.to_sbml()
    else:
        check_round_trip(network)


def test_geometric_numbers_are_no_part_of_sbml():
    network = cme.parse("A -> 0 @ 1; at time >= 1: A = A + geometric(3)")
    with pytest.raises(
        cme.ModelError, match=r"SBML has no distribution geometric\(\); write poisson\(exponential\(1/\(3\)\)\), a Poisson law"
    ):
        network.to_sbml()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(networks())
def test_random_networks_round_trip(network):
    check_round_trip(network)


@pytest.mark.skipif(not SUITE_CASES, reason="the SBML Test Suite is not here; name its folder in CME_SBML_SUITE")
@pytest.mark.parametrize("case", SUITE_CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_the_suite_round_trips(case):
    """Every given case, at the lowest and the highest level it comes in."""
    files = sorted(case.glob("*-sbml-*.xml"))
    for path in {files[0], files[-1]}:
        check_round_trip(cme.load(path))


_FORMULAS = ["A", "k*A + B/V", "p", "2.5", "time*k", "piecewise(A, time > p, B)", "max(A, k)", "y + 1", "A > 3 && B < p"]


def _formulas(*more):
    return st.sampled_from([*_FORMULAS, *more]).map(parse)


_RANDOM = _formulas("normal(p, 1)", "uniform(0, k)*A", "exponential(k, 0, 5)", "poisson(A) + laplace(1)", "gamma(1, normal(2, 3, 1, 9))")


@st.composite
def hybrids(draw):
    """Networks with rate rules, events, time, random numbers, net fluxes and formulas for numbers of molecules."""
    yes = st.booleans()
    number = st.integers(1, 3) | st.sampled_from([Number(0.5), Number(-2.0), Number(3.0), parse("2*k"), parse("p"), parse("y")])
    sides = st.lists(st.tuples(st.sampled_from("AB"), number), max_size=2, unique_by=lambda pair: pair[0]).map(tuple)
    reactions = tuple(
        Reaction(name, draw(sides), draw(sides), draw(_formulas()), draw(yes))
        for name in draw(st.sampled_from([["r"], ["y", "time"], ["α", "E"]]))
    )
    by_rate = draw(st.lists(st.sampled_from(["C", "p", "V"]), unique=True))
    targets = st.lists(st.tuples(st.sampled_from("ABCpqV"), _RANDOM), unique_by=lambda pair: pair[0], max_size=3)
    events = tuple(
        Event(name, draw(_formulas()), tuple(Rule(*pair) for pair in draw(targets)), draw(_RANDOM), draw(st.none() | _RANDOM),
              draw(yes), draw(yes), draw(yes))
        for name in draw(st.sampled_from([[], ["E"], ["A", "r"]]))
    )  # fmt: skip
    if draw(yes):  # with factors of the execution
        factor = Apply("now", (draw(_formulas("V", "2*V*k")),))
        events = tuple(
            replace(event, assignments=tuple(Rule(each.name, flat("*", (each.formula, factor))) for each in event.assignments))
            if event.values_from_trigger
            else event
            for event in events
        )
    starts = draw(st.sampled_from([[], [("q", "normal(1, 2)")], [("q", "uniform(0, 2)"), ("A", "q + 1")]]))
    draws = tuple(Rule(name, parse(text)) for name, text in starts)
    undefined = {each.name for event in events for each in event.assignments} & {"q"} - set(by_rate)
    return Network(
        (Species("A", "V"), Species("B"), Species("C", "W", boundary=draw(yes))), reactions, Initial(((3.0, 0.0, 2.5),), draws=draws),
        Values({"k": 2.0, "p": 1e-7, "q": math.nan if undefined and not draws else 3.0}), Values({"V": 2.0}),
        (Rule("y", parse(draw(st.sampled_from(["B + 1", "time*p", "k*A"])))), Rule("W", parse("2*V"))),
        tuple(Rule(name, draw(_formulas())) for name in by_rate), events, "hybrid",
    )  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(hybrids())
def test_random_hybrids_round_trip(network):
    check_round_trip(network)


@pytest.mark.parametrize(
    "text",
    [
        "0 -> A @ k; A -> 0 @ 2*k; 2 A -> B @ k/3; A + B -> A @ k^2; 3 A + 2 B -> 0 @ 1; k = 0.1; A = 7",
        "convention falling; 0 -> A @ k; A -> 0 @ k; 2 A -> B @ k/3; 3 A + 2 B -> 0 @ k*k; k = 0.30000000000000004",
        "2 A => B @ k*A*(A - 1)/2; k = 1",  # mass action as a whole law stays a whole law
        "compartment V = 0.1; compartment W = 3; species A in V; species $B in W; A -> B @ V/W; A = 1.5",
        "A -> B @ 1; total := A + 2*B; twice := 2*total; 0 => A @ twice",
        "0 => pi @ pi + exponentiale; nowhere -> 0 @ 1; total := pi*2",
        "A: A -> 0 @ 1; m: 0 => A @ 8.765e-12 + 1e-300*A + 1.7976931348623157e308 - 5e-324",
        "species A, B; A = 3",
        "0 => A @ piecewise(1, A < 3, 2, A >= 5 && !(A == 7)) + xor(A > 1, true) + max(A, 2, 3) % 2 + factorial(A)",
        "0 => A @ log(A + 1) + ln(A + 1) + sqrt(A) + root(3, A) + log(2, A + 1) + exp(-A) + abs(-A) + ceil(A/2) + floor(A/3) + arcsinh(A)",
        "0 => A @ sin(A) + tan(A) + acos(A/9) + atanh(A/9) + sec(A) + quotient(A, 2) + (A != 2) - -A - (-2)^A - -3*A - (A - (A - 1))",
    ],
)
def test_networks_round_trip(text):
    check_round_trip(cme.parse(text, name='a "strange" <name> & more'))


def test_reaction_names_that_are_no_identifiers_round_trip():
    parts = [Reaction(name, (), (("A", 1),), MassAction(Symbol("k"))) for name in ("A", "α → β", "", "2x", "k", 'a "b"')]
    check_round_trip(Network((Species("A"),), tuple(parts), Initial(((1.0,),)), Values({"k": 1.0}), rules=(Rule("total", Symbol("A")),)))


def test_a_law_of_others_is_taken_as_written():
    network = cme.load(model(reactions=reaction("k*S")))
    assert not isinstance(network.reactions[0].law, MassAction)
    written = cme.parse("S -> 0 @ k; k = 2").to_sbml()
    assert isinstance(cme.load(written).reactions[0].law, MassAction)
    assert not isinstance(cme.load(written.replace("<times/>", "<plus/>")).reactions[0].law, MassAction)  # an edited law wins
    assert not isinstance(cme.load(written.replace('"combinations"', '"strange"')).reactions[0].law, MassAction)


def test_what_sbml_cannot_hold_is_refused():
    network = cme.parse("A -> B @ 1")
    with pytest.raises(cme.ModelError, match="SBML can't hold an initial distribution over 2 states; choose one state with with_initial"):
        network.with_initial({(0, 1): 0.5, (1, 0): 0.5}).to_sbml()
    draws = (Rule("A", parse("normal(B, 1)")), Rule("B", parse("normal(1, 1)")))
    late = Network((Species("A"), Species("B")), (), Initial(((1.0, 1.0),), draws=draws))
    with pytest.raises(cme.ModelError, match="SBML can't say that the random start of 'A' comes before that of 'B', which it uses"):
        late.to_sbml()
    with pytest.raises(cme.ModelError, match="the name 'A_α' is no SBML identifier; rename it with ASCII letters, digits and _"):
        cme.parse("A_α -> B @ 1").to_sbml()
