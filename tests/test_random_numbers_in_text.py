"""Reactions that draw numbers of molecules, as text."""

import pytest

import cme
from cme.abilities import Kind, features
from cme.elements import Reaction
from cme.ratelaw import Apply, Number, Symbol
from cme.stoichiometry import Varying

MOVE = "binomial(A, p) A => binomial(A, p) B @ 1; B -> A @ 0.5; p = 0.3; A = 12"


@pytest.mark.parametrize(
    "text",
    [
        "0 -> geometric(b) P @ a",
        "X -> X + 2 Y + poisson(3 + X) P @ a",
        "binomial(P, 1/2) P + binomial(X, 0.5) X => 0 @ a",
        "(P) P => binomial(P, b/10) P @ a*X",
        "0 -> (1 + geometric(b)) P @ a",
        "0 -> (2*bernoulli(0.3) - poisson(1)) P @ a",
        "(floor(P/2)) P => 0 @ a",
    ],
)
def test_text_reads_back(text):
    network = cme.parse(f"species P, X, Y; {text}; a = 2; b = 5")
    assert cme.parse(network.to_text()) == network
    assert text.split("@")[0].replace("->", "=>") in network.to_text().replace("->", "=>")
    assert [feature.kind for feature in features(network)] == [Kind.VARYING] * len(features(network)) != []


def test_reading():
    network = cme.parse("burst: 0 -> geometric(5) P @ 2;  half: 2 M + binomial (P, 1/2) P => 3 M @ 1")
    assert network.reactions[0] == Reaction("burst", (), (("P", Apply("geometric", (Number(5.0),))),), network.reactions[0].law)
    assert str(network.reactions[1]) == "2 M + binomial(P, 1/2) P -> 3 M"
    half = Apply("binomial", (Symbol("P"), Number(0.5)))
    assert network.varying[1] == Varying({"M": 1}, (half,), ((0, "P", -1),))
    with pytest.raises(cme.ModelError, match="what reaction 'burst' changes is not the same each time, so that there is no such matrix"):
        network.stoichiometry  # noqa: B018


def test_a_draw_on_both_sides_is_one():
    moved = cme.parse(MOVE).varying[0]
    assert len(moved.numbers) == 1
    assert moved.terms == ((0, "A", -1), (0, "B", 1))
    apart = cme.parse("0 -> geometric(5) A + geometric(5) B @ 1; 2 A -> 0 @ 1").varying
    assert list(apart) == [0]
    assert len(apart[0].numbers) == 2
    split = cme.parse("binomial(A, p) A => (2*binomial(A, p)) B + binomial(A, q) C @ 1; p = 0.5; q = 0.5")
    assert split.varying[0].terms == ((0, "A", -1), (0, "B", 2), (1, "C", 1))  # q is not p, even if their values are equal


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "0 -> normal(5, 1) P @ 1",
            r"draws a number of molecules from normal\(\); draw it from bernoulli, binomial, geometric, poisson",
        ),
        ("0 -> poisson(3, 1, 9) P @ 1", r"'r1' draws a number of molecules from poisson\(\) between bounds; leave those out"),
        ("0 -> poisson(geometric(3)) P @ 1", r"from poisson\(\) with a parameter that is drawn; give the law of the number itself"),
        ("0 -> (2^poisson(3)) P @ 1", "takes a drawn number into a formula; it can only be added, subtracted and multiplied by a whole"),
        ("0 -> (poisson(3)*poisson(3)) P @ 1", "takes a drawn number into a formula"),
        ("poisson(3) A -> 0 @ 1", "is mass action, but how many of 'A' it takes is a formula; give the propensity"),
        ("A -> 0 @ geometric(3)", "only numbers of molecules, and what an event or the start of a path sets, can be drawn"),
        ("0 -> geometric() P @ 1", "function geometric takes 1 or 3 arguments, not 0"),
        ("0 -> geometric(q) P @ 1", "the stoichiometry of 'P' in reaction 'r1' uses 'q', which is not defined"),
        (
            "poisson(2) A + poisson(2) B => poisson(2) C @ 1",
            r"two numbers that are drawn alike, and makes a third, which would be one of the two: write the poisson\(\) that is meant",
        ),
    ],
)
def test_what_can_not_be_drawn(text, what):
    with pytest.raises(cme.ModelError, match=what):
        cme.parse(text)


def test_a_drawn_number_times_a_fraction_is_no_count():
    network = cme.parse("0 -> (0.5*poisson(4)) P @ 3; P -> 0 @ 1")
    assert [feature.kind for feature in features(network)] == [Kind.STOICHIOMETRY]
    assert cme.rate_equations(network, [100.0])["P"][0] == pytest.approx(6)
    with pytest.raises(cme.ModelError, match=r"0.5\*poisson\(4\), is no constant whole number; use rate_equations"):
        cme.ssa(network, [1.0])
