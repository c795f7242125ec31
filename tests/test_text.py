"""Reaction text: what it may say, and what is refused with its line."""

import pytest

import cme
from cme.elements import MassAction, Species
from cme.infix import parse as formula

EVERYTHING = """
model example                       # the name
compartment cell = 2*1.5
species P, $S in cell
transcription: 0 -> M @ k1
translation:   M -> M + P @ k2;  M -> 0 @ 0.5
2 P <-> D @ kf, max(kr, 0)
0 => M @ a/(1 + (P/K)^2)
$F + S -> P @ 1e-3
k1 = 50;  k2 = 2*k1;  kf = 1; kr = 2; a = 1; K = 3
M = 100; S = k1/2
total := P + 2*D
"""


def test_everything_at_once():
    n = cme.parse(EVERYTHING)
    assert n.name == "example"
    assert n.species == (Species("P", "cell"), Species("S", "cell", True), Species("M"), Species("D"), Species("F", None, True))
    assert [r.name for r in n.reactions] == ["transcription", "translation", "r3", "r4_forward", "r4_backward", "r6", "r7"]
    assert dict(n.parameters) == {"k1": 50, "k2": 100, "kf": 1, "kr": 2, "a": 1, "K": 3}
    assert dict(n.compartments) == {"cell": 3}
    assert n.initial.states == ((0, 25, 100, 0, 0),)
    assert n.observables == ("total",)
    laws = {r.name: r.law for r in n.reactions}
    assert laws["transcription"] == MassAction(formula("k1"))
    assert formula("a/(1 + (P/K)^2)") in laws.values()


def test_reversible_reactions_become_two():
    n = cme.parse("bind: 2 A <-> B @ f, max(g, 1); f = 1; g = 2")
    assert [(r.name, str(r)) for r in n.reactions] == [("bind_forward", "2 A -> B"), ("bind_backward", "B -> 2 A")]
    assert [n.formula(r) for r in (0, 1)] == ["f*A*(A - 1)/2", "max(g, 1)*B"]


@pytest.mark.parametrize("text", ["A+A->0 @ 1", "2A -> 0 @ 1", "2*A -> 0 @ 1", "2 A->0@1", "A + A -> 0 @ 1 # both", "  2 A -> @ 1"])
def test_ways_to_write_two_molecules(text):
    n = cme.parse(text)
    assert n.reactions[0].reactants == (("A", 2),)
    assert n.reactions[0].products == ()


def test_the_convention_holds_for_the_whole_text():
    first, last = cme.parse("convention falling; 2 A -> 0 @ 1"), cme.parse("2 A -> 0 @ 1; convention falling")
    assert first == last
    assert first.formula(0) == "1*A*(A - 1)"
    assert cme.parse("2 A -> 0 @ 1").formula(0) == "1*A*(A - 1)/2"


def test_name_beats_the_model_line():
    assert cme.parse("model a; X -> 0 @ 1", name="b").name == "b"


def test_a_zero_coefficient_declares_a_species():
    n = cme.parse("0 A + B -> 0 @ 1")
    assert n.species_names == ("A", "B")
    assert n.reactions[0].reactants == (("B", 1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "reaction text holds no reaction; write for example 'A \\+ B -> C @ 0.1'"),
        ("A -> B", "reaction text, line 1: the reaction 'A -> B' has no '@'"),
        ("A -> 0 @ 1\nB ->> C @ 1", "reaction text, line 2: cannot read '> C' as a species"),
        ("A + 1.5 B -> C @ 1", "cannot read '1.5 B' as a species with an optional whole-number factor"),
        ("A -> B @", "line 1: a formula is empty"),
        ("A -> B @ k*(", "line 1: cannot read the formula"),
        ("A -> B @ k", "the rate law of reaction 'r1' uses 'k', which is not defined"),
        ("A -> B @ k; k = 1; k = 2", "line 1: 'k' is assigned twice"),
        ("A -> B @ 1\n\na = 1", "line 3: 'a' is assigned but nothing uses it; did you mean the species 'A'?"),
        ("A -> B @ k; k = 2*q", "'k' uses 'q', which has no value"),
        ("A -> B @ k; k = 2*A", "'k' uses the species 'A'; write 'k := ...' to follow the species"),
        ("A -> B @ k; k = 2*k2; k2 = k", "is defined by itself"),
        ("A <-> B @ 1", "the reversible reaction 'A <-> B @ 1' needs two rate constants"),
        ("A -> B @ 1; convention molar", "cannot read 'convention molar'; write 'convention combinations'"),
        ("A -> B @ 1; hello world", "cannot read 'hello world'; expected a reaction"),
        ("r: A -> B @ 1; r: B -> A @ 1", "two reactions are named 'r'"),
        ("A -> B @ 1; species A in cell", "species 'A' is in compartment 'cell', which does not exist"),
        ("A -> B @ 2*B", "the rate constant of reaction 'r1' uses B; mass action multiplies by its reactants itself"),
        ("A -> B @ 1; y := A + z", "the rule for 'y' uses 'z', which is not defined"),
        ("compartment c = 1; compartment c = 2; species X in c; X -> 0 @ 1", "compartment 'c' is declared twice; drop one"),
        ("compartment c = 1; compartment d = 1; species X in c; species X in d; X -> 0 @ 1", "'X' is put in 'c' and in 'd'; drop one"),
        ("model a; model b; X -> 0 @ 1", "the model is named twice, 'a' and 'b'; drop one"),
        ("convention falling; convention combinations; X -> 0 @ 1", "the text states two conventions; drop one"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.parse(text)


def test_the_source_is_named():
    with pytest.raises(cme.ModelError, match=r"model\.txt, line 2: a formula is empty"):
        cme.parse("A -> B @ 1\nB -> A @", source="model.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "A -> B @ 1; at A > 3, prio = 2: A = 0",
            "line 1: cannot read the option 'prio = 2' of the event 'e1'; there are priority = formula",
        ),
        ("A -> B @ 1; at A > 3, t0 = 2: A = 0", "cannot read the option 't0 = 2' of the event 'e1'"),
        ("A -> B @ 1; at A > 3 after 1 after 2: A = 0", "the event 'e1' has two delays"),
        ("A -> B @ 1; at A > 3: A := 0", "cannot read 'A := 0' as an assignment 'name = formula'"),
        ("A -> B @ 1; at A > 3: Q = 0", "event 'e1' sets 'Q', which is not declared"),
        ("A -> B @ 1; at : A = 0", "cannot read .at : A = 0.; expected a reaction"),
        ("A -> B @ 1; A' = 3", "reaction 'r1' and a rate rule both change 'A'"),
        ("A -> B @ 1; Q' = 3", "the rate rule for 'Q' sets 'Q', which is not declared"),
        ("A -> B @ 1; Q := normal(1, 2)", "the rule for 'Q' draws random numbers"),
        ("A -> B @ 1; A = 3; A = normal(1, 2)", "'A' is assigned twice"),
        ("compartment c = normal(1, 2); A -> B @ 1", "'c' draws a random number, which no constant can"),
        ("A -> (k B @ 1", "cannot read '\\(k B' as a species with an optional whole-number factor"),
        ("(k) A -> B @ 1; k = 1", "reaction 'r1' is mass action, but how many of 'A' it takes is a formula; give the propensity"),
        ("A -> 12345678901234567890 B @ 1", "'12345678901234567890' molecules of 'B' are too many"),
        ("A -> 9007199254740993 B @ 1", "molecules of 'B' are too many"),
        ("101 A -> B @ 1", "reaction 'r1' is mass action of 101 molecules; more than 100 can't meet, give the propensity"),
        ("A -> B @ [mean] 1", "cannot read the formula"),
        ("A -> B @ 1e999", "the number 1e999 is too large"),
        ('"r: A -> B @ 1', "line 1: a quote is not closed"),
        (r'"\q": A -> B @ 1', "cannot read the name"),
        ("A -> B @ 1; species A in", "cannot read 'species A in'; expected a reaction"),
        ("A -> B @ 1; start 0.5: A = 1; start 0.4: A = 2", "the initial probabilities must be >= 0 and sum to 1; they sum to 0.9"),
        ("A -> B @ 1; start k: A = 1; k = 1", "the start uses 'k'; write numbers"),
        ("A -> B @ 1; start 1: Q = 1", "a 'start' line sets 'Q', which is no species"),
        ("A -> B @ 1; A = 2; start 1: A = 1", "species 'A' has a count, and there are 'start' lines"),
        ("compartment c = 1; A -> B @ 1; c = 2", "line 1: 'c' is a compartment, which has its volume already"),
        ("compartment A = 1; A -> B @ 1", "the name 'A' stands for a species and for a compartment"),
        ("A -> B @ k; k = k", "line 1: 'k' is defined by itself"),
    ],
)
def test_refusals_of_what_goes_beyond_reactions(text, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.parse(text)


def test_repr_speaks_reaction_text():
    n = cme.parse("A <=> B @ A - B; k' = -k; k = 1; go: at time >= 2 after k: A = 3; B ~ poisson(5); y := A + B")
    assert repr(n).splitlines() == [
        "Network 'network': 2 species, 1 reactions",
        "  r1  A <=> B  net rate A - B",
        "  y := A + B",
        "  k' = -k",
        "  go: at time >= 2 after k: A = 3",
        "  B ~ poisson(5)",
        "  k = 1",
        "  A = 0; B = 0",
    ]


def test_a_spare_parameter_that_looks_like_a_species_with_a_count_is_no_slip():
    assert dict(cme.parse("A -> B @ 1; A = 3; a = 1").parameters) == {"a": 1}


def test_constants_may_stand_in_any_order_and_in_a_long_chain():
    n = 3000
    text = "\n".join(["A -> B @ k0", *(f"k{i} = k{i + 1} + 1" for i in range(n)), f"k{n} = 0"])
    assert cme.parse(text).parameters["k0"] == n


def test_every_problem_is_told_at_once_by_line():
    text = """
    A -> B @ k*(
    X -> Y @ nowhere
    A + -> C @ 1
    y := z;  z := y
    cell = 3 3
    """
    with pytest.raises(cme.ModelError) as error:
        cme.parse(text, source="model.txt")
    assert [line[:48] for line in str(error.value).splitlines()] == [
        "model.txt: 4 things in this model can't be taken",
        "  line 2: cannot read the formula 'k*(': the for",
        "  line 4: cannot read '' as a species with an op",
        "  line 5: the assignment rules for y, z depend o",
        "  line 6: cannot read the formula '3 3': unexpec",
    ]  # what is not defined may stand in lines that could not be read, so line 3 is not blamed
    assert [each.line for each in error.value.problems] == [2, 4, 5, 6]


def test_what_is_missing_is_told_once_everything_could_be_read():
    text = "X -> Y @ nowhere; k = 2*q\nr: X -> 0 @ k*a\nat X > b: c = 1\nX = 1/0\nspecies Z in cell\nd = d"
    with pytest.raises(cme.ModelError) as error:
        cme.parse(text)
    found = [(each.line, each.kind, each.element, each.what.split(";")[0]) for each in error.value.problems]
    assert found == [
        (1, "parameter", "k", "'k' uses 'q', which has no value"),
        (1, "reaction", "r1", "the rate law of reaction 'r1' uses 'nowhere', which is not defined"),
        (2, "reaction", "r", "the rate law of reaction 'r' uses 'a', which is not defined"),
        (3, "event", "e1", "event 'e1' sets 'c', which is not declared"),
        (3, "event", "e1", "the trigger of event 'e1' uses 'b', which is not defined"),
        (4, "count", "X", "species 'X' starts at inf"),
        (5, "species", "Z", "species 'Z' is in compartment 'cell', which does not exist"),
        (6, "parameter", "d", "'d' is defined by itself"),
    ]


def test_a_message_stays_short_and_reading_stops():
    with pytest.raises(cme.ModelError) as error:
        cme.parse("what is this\n" * 5000)
    assert str(error.value).startswith("reaction text: 101 things in this model can't be taken\n  line 1: cannot read 'what is this'")
    assert "\n  and 7" in str(error.value)
    assert error.value.problems[-1].what == "reading stops here"
    assert len(str(error.value)) < 4000
