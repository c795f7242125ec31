"""Written SBML: it reads back equal, libsbml finds no fault with it, and what it can't hold is refused."""

import pytest
from hypothesis import given, settings
from sbml_documents import check_round_trip, model, reaction
from strategies import networks

import cme
from cme.elements import Initial, MassAction, Reaction, Rule, Species, Values
from cme.network import Network
from cme.ratelaw import Symbol


@pytest.mark.parametrize("name", cme.catalogue().name)
def test_the_shelf_round_trips(name):
    check_round_trip(cme.load(name))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(networks())
def test_random_networks_round_trip(network):
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
    with pytest.raises(cme.ModelError, match="the name 'A_α' is no SBML identifier; rename it with ASCII letters, digits and _"):
        cme.parse("A_α -> B @ 1").to_sbml()
