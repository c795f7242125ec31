"""The slowest mode of a chain that stops, and the law of where it is late."""

import pytest

import cme


@pytest.mark.parametrize(
    ("text", "target", "rate", "law"),
    [
        ("0 -> X @ 3", "X >= 12", 3.0, {(11,): 1.0}),  # all states are left at the same rate: a single Jordan block
        ("X -> 0 @ 1; X = 200", "X == 0", 1.0, {(1,): 1.0}),
        ("0 -> X @ 3; X -> 2 X @ 1", "X >= 4", 3.0, {(0,): 1 / 20, (1,): 3 / 20, (2,): 6 / 20, (3,): 10 / 20}),  # lambda 3 + n
        ("A <-> B @ 1, 1; A -> A + X @ 1; B -> B + X @ 1; A = 1", "X >= 9", 1.0, {(1, 0, 8): 0.5, (0, 1, 8): 0.5}),
        ("A -> B @ 2; A -> C @ 2; B -> D @ 2; C -> E @ 3; D -> E @ 2; A = 1", "E == 1", 2.0, {(0, 0, 0, 1, 0): 1.0}),
    ],
)
def test_the_slowest_mode_where_there_is_no_way_back(text, target, rate, law):
    slow = (found := cme.first_passage(cme.parse(text), target)).decay()
    assert slow.rate == pytest.approx(rate, rel=1e-12)
    assert slow.bounds.lower <= rate <= slow.bounds.upper < rate * (1 + 1e-10)
    states = dict(zip(map(tuple, found.states.tolist()), slow.law, strict=True))
    assert all(states[state] == pytest.approx(p, abs=1e-10) for state, p in law.items())
    assert slow.law.sum() == pytest.approx(1, abs=1e-12)


def test_a_law_that_does_not_settle_is_no_answer():
    with pytest.raises(cme.ConvergenceError, match=r"decay so nearly alike, at rates of 3 and more, .* decay_rates\(2\) gives both"):
        cme.first_passage(cme.parse("0 -> X @ 3"), "X >= 700").decay()
