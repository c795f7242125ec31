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
