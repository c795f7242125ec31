"""Conditions as text, and arguments of the wrong kind: and, or and not as words, and sentences that name what is wrong."""

import numpy as np
import pytest

import cme
from cme.infix import parse, to_infix

NETWORK = "0 -> X @ 10; X -> 0 @ 1; Y -> 0 @ 1; Y = 1"


@pytest.fixture(scope="module")
def network():
    return cme.parse(NETWORK)


@pytest.mark.parametrize(
    ("words", "signs"),
    [
        ("X > 3 and Y < 2", "X > 3 && Y < 2"),
        ("X > 3 or Y < 2 or X == 0", "X > 3 || Y < 2 || X == 0"),
        ("X > 3 and (Y < 2 or X > 1)", "X > 3 && (Y < 2 || X > 1)"),
        ("not X > 3", "!(X > 3)"),
        ("not (X > 3) and Y < 2", "!(X > 3) && Y < 2"),
        ("X > 3 and not Y + 1 < 2", "X > 3 && !(Y + 1 < 2)"),
        ("not not X > 3", "!!(X > 3)"),
        ("and(X > 3, Y < 2)", "X > 3 && Y < 2"),
    ],
)
def test_words_are_read_as_signs(words, signs):
    assert parse(words) == parse(signs)
    assert parse(to_infix(parse(words))) == parse(signs)


@pytest.mark.parametrize("text", ["X > 3 or Y < 2 and X > 1", "X > 3 and Y < 2 or X > 1", "X > 3 || Y < 2 and X > 1", "X or Y && X"])
def test_words_of_two_kinds_need_parentheses(text):
    with pytest.raises(cme.ModelError, match="'and' and 'or' need parentheses where they meet at position"):
        parse(text)


def test_signs_of_two_kinds_are_read_from_left_to_right():
    assert parse("X > 3 || Y < 2 && X > 1") == parse("(X > 3 || Y < 2) && X > 1")


def test_a_name_that_is_a_word_stays_a_name():
    assert to_infix(parse("2*not + and")) == "2*not + and"


def test_words_end_paths_and_name_targets(network):
    options = {"n_paths": 50, "seed": 1}
    signs, words = (cme.ssa(network, 5.0, stop=stop, **options).stopped for stop in ("X >= 5 && !(Y > 0)", "X >= 5 and not Y > 0"))
    np.testing.assert_array_equal(signs, words)
    found = cme.first_passage(cme.parse("A -> B @ 1; A -> C @ 3; A = 1"), "B == 1 or C == 1")
    assert found.mean() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, r"stop must be a condition such as 'X >= 100', not 3$", lambda n: cme.ssa(n, 1, stop=3)),
        (TypeError, r"target 'low' must be a condition such as 'X >= 100', not 3$", lambda n: cme.first_passage(n, {"low": 3})),
        (TypeError, r"n_paths must be a whole number, not None$", lambda n: cme.ssa(n, 1, n_paths=None)),
        (TypeError, r"n_paths must be a whole number, not '3'$", lambda n: cme.ssa(n, 1, n_paths="3")),
        (TypeError, r"n_paths must be a whole number, not nan$", lambda n: cme.ssa(n, 1, n_paths=np.nan)),
        (TypeError, r"n_paths must be a whole number, not inf$", lambda n: cme.ssa(n, 1, n_paths=np.inf)),
        (ValueError, r"times must be a number or a one-dimensional array of numbers, not None$", lambda n: cme.ssa(n, None)),
        (ValueError, r"times must be a number or a one-dimensional array of numbers, not \['a'\]$", lambda n: cme.ssa(n, ["a"])),
        (ValueError, r"times must be a number or a one-dimensional array of numbers, not \[\]$", lambda n: cme.ssa(n, [])),
        (ValueError, r"times must be a number or a one-dimensional array of numbers, not shape \(1, 2\)$", lambda n: cme.ssa(n, [[1, 2]])),
        (ValueError, r"epsilon must be a finite number above 0, not 'a'$", lambda n: cme.tau_leap(n, 1, epsilon="a")),
        (
            TypeError,
            r"joint must be a list of pairs of names .*, not \['X'\]$",
            lambda n: cme.ensemble(n, 1, joint=["X"]),
        ),
        (TypeError, r"joint must be a list of pairs of names .*, not \('X', 'X'\)$", lambda n: cme.ensemble(n, 1, joint=("X", "X"))),
        (
            TypeError,
            r"histogram must be a list of names .*, not 'Species2'$",
            lambda n: cme.ensemble(n, 1, histogram="Species2"),
        ),
        (
            ValueError,
            r"for a fraction from 0 to 1, not 'a'$",
            lambda n: cme.ensemble(n, 1, n_paths=9).quantile("a", "X"),
        ),
    ],
)
def test_arguments_of_the_wrong_kind(network, error, match, call):
    with pytest.raises(error, match=match):
        call(network)


# ------------------------------------------------------------------------------------------- what is compared is a number


@pytest.mark.parametrize("method", ["direct", "lanes", "rejection", "next_reaction"])
@pytest.mark.parametrize("solver", [cme.ssa, cme.ensemble])
def test_a_condition_on_what_is_no_number_is_an_error(network, method, solver):
    options = {"n_paths": 40, "seed": 1, "method": method}
    with pytest.raises(cme.ModelError, match=r"stop='log\(X-100\) > 0' compares log10\(X - 100\), which is nan at \{X: 0, Y: 1\}"):
        solver(network, 5.0, stop="log(X-100) > 0", **options)
    with pytest.raises(cme.ModelError, match=r"stop='X/\(X-2\) > 1' compares X/\(X - 2\), which is inf at \{X: 2, Y: [01]\}; let"):
        solver(network, 5.0, stop="X/(X-2) > 1", **options)


def test_every_event_of_a_path_with_an_undefined_end_is_refused(network):
    with pytest.raises(cme.ModelError, match=r"stop='!\(1/\(X-3\) < 5\)' compares 1/\(X - 3\), which is inf"):
        cme.ssa(network, 5.0, n_paths=3, seed=1, stop="!(1/(X-3) < 5)", every_event=True)


@pytest.mark.parametrize(
    ("guarded", "plain"),
    [
        ("X > 3 && 10/X < 2", "X > 5"),
        ("(X <= 3 and Y > 5) or (X > 3 and 10/X < 2)", "X > 5"),
        ("!(X == 0 || 10/X >= 2)", "X > 5"),
        ("X == 8 || (X > 0 && sqrt(X) >= 3)", "X == 8 || X >= 9"),
    ],
)
def test_what_stands_after_a_part_that_decides_is_not_looked_at(network, guarded, plain):
    options = {"n_paths": 60, "seed": 2}
    found = [cme.ssa(network, 5.0, stop=stop, **options) for stop in (guarded, plain)]
    np.testing.assert_array_equal(found[0].stopped, found[1].stopped)
    np.testing.assert_array_equal(found[0].counts, found[1].counts)


def test_a_target_of_what_is_no_number_is_an_error():
    chain = cme.parse("0 -> X @ 1; X -> 0 @ 1; X = 2")
    with pytest.raises(cme.ModelError, match=r"the condition '5/X < 1' compares 5/X, which is inf at \{X: 0\}; let it be a number there"):
        cme.first_passage(chain, "5/X < 1")
    with pytest.raises(cme.ModelError, match=r"the condition 'far' compares 5/X, which is inf at \{X: 0\}"):
        cme.first_passage(chain, {"far": "5/X < 1", "none": "X == 9"})
    found = cme.first_passage(chain, "X > 0 && 5/X < 1")
    assert found.mean() == pytest.approx(cme.first_passage(chain, "X > 5").mean())
