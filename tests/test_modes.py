"""The slowest mode of a chain that stops, and the law of where it is late."""

import numpy as np
import pytest
import scipy.sparse as sp

import cme
from cme.projection.censored import Censored
from cme.projection.modes import slow_rates, slowest_mode


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


def line(n_states, up):
    """Rates of a birth-death line (from column to row), which is left upwards from its last state."""
    x = np.arange(n_states)
    return sp.diags_array([np.full(n_states - 1, up), x[1:].astype(float)], offsets=[-1, 1], format="csc"), np.where(
        x == n_states - 1, up, 0.0
    )


@pytest.mark.parametrize(("k", "apart"), [(1e-8, 1e-5), (1e-9, 1e-6)])
def test_two_wells_that_are_left_nearly_alike(k, apart):
    """Two lines with an exchange at rate k: to leading order a chain of two states, with the rates of the lines alone."""
    n, up = 400, 340.0
    alone = []
    for each in (up, up * (1 + apart)):
        rates, exits = line(n, each)
        alone.append((rates, exits, slowest_mode(Censored(rates, exits), rates, exits, np.ones(n)).rate))
    (a, out_a, rate_a), (b, out_b, rate_b) = alone
    swap = k * sp.eye_array(n, format="csc")
    rates, exits = sp.csc_array(sp.block_array([[a, swap], [swap, b]])), np.append(out_a, out_b)
    slow = slowest_mode(Censored(rates, exits + 0.0), rates, exits, np.append(np.ones(n), np.zeros(n)))
    values, modes = np.linalg.eigh(np.array([[rate_a + k, -k], [-k, rate_b + k]]))
    part = abs(modes[:, 0]) / abs(modes[:, 0]).sum()
    assert slow.rate == pytest.approx(values[0], rel=1e-6)
    assert slow.lower <= slow.rate <= slow.upper <= slow.lower * (1 + 1e-9)
    assert slow.law[n:].sum() == pytest.approx(part[1], rel=1e-3)
    assert slow_rates(rates, exits, 2).values == pytest.approx(values, rel=1e-6)


def test_wells_that_can_not_be_told_apart():
    n, up = 400, 340.0
    (a, out_a), (b, out_b) = line(n, up), line(n, up * (1 + 1e-12))
    swap = 1e-15 * sp.eye_array(n, format="csc")
    rates, exits = sp.csc_array(sp.block_array([[a, swap], [swap, b]])), np.append(out_a, out_b)
    with pytest.raises(cme.ConvergenceError, match=r"decay so nearly alike, .* can't be told apart; decay_rates\(2\) gives both rates"):
        slowest_mode(Censored(rates, exits), rates, exits, np.ones(2 * n))


def test_jordan_blocks_of_states_that_follow_on_each_other():
    """Three molecules go the same way beside a switch: rates 1, 2, 3 with blocks, all of them again plus 1, and no digit is lost."""
    found = cme.first_passage(cme.parse("A -> B @ 1; B -> C @ 1; X <-> Y @ .3, .7; A = 3; X = 1"), "C == 3")
    truth = sorted([1.0] * 2 + [2.0] * 3 + [3.0] * 4 + [2.0] * 2 + [3.0] * 3 + [4.0] * 4)
    rates = found.decay_rates(18)
    assert rates == pytest.approx(truth, rel=1e-13)
    assert found.decay_rate_errors(18).max() < 1e-12


@pytest.mark.parametrize(("back", "least", "most"), [(1e-2, 1e-15, 1e-13), (1e-8, 1e-12, 1e-9), (1e-12, 1e-9, 1e-5), (0.0, 0, 1e-12)])
def test_the_error_of_modes_that_are_nearly_one(back, least, most):
    """States in a line that is left at rate 1, with a way back from the last: (1 - rate)^4 = back."""
    n = 4
    rates = np.diag(np.ones(n - 1), -1)
    rates[0, -1] = back
    exits = np.append(np.zeros(n - 1), 1.0 - back)
    found = slow_rates(sp.csc_array(rates), exits, n)
    truth = 1 - back ** (1 / n) * np.exp(2j * np.pi * np.arange(n) / n)
    off = np.abs(found.values[:, None] - truth).min(axis=1) / np.abs(found.values)
    assert np.all(off <= 10 * found.errors + 1e-15)
    assert least <= found.errors.max() < most


@pytest.mark.parametrize("down", [1.0, 0.98, 0.8, 0.5])
def test_the_error_of_modes_of_many_states(down):
    """A line of more states than are taken at once, left at both ends, against its rates in closed form.

    Where it leads strongly to one side modes are right since states are counted in units in which they lead both ways alike.
    """
    n, x = 600, np.arange(600)
    rates = sp.diags_array([np.full(n - 1, 1.0), np.full(n - 1, down)], offsets=[-1, 1], format="csc")
    found = slow_rates(rates, 1.0 * (x == n - 1) + down * (x == 0), 4)
    truth = (1 - np.sqrt(down)) ** 2 + 4 * np.sqrt(down) * np.sin(np.pi * np.arange(1, 5) / (2 * n + 2)) ** 2
    assert np.all(np.abs(found.values / truth - 1) <= 3 * found.errors)
    assert found.errors.max() < 1e-10


def test_no_digits_of_modes_that_are_not_known():
    """A ring of states that are left one after another at rates which differ a little: its modes are lost in rounding, and this is told."""
    n = 600
    up = 1 + 1e-3 * np.sin(np.arange(n))
    rates = sp.csc_array(sp.diags_array([up[:-1], np.full(1, 1e-200)], offsets=[-1, n - 1]))
    found = slow_rates(rates, np.append(np.zeros(n - 1), up[-1]), 3)
    assert np.all(found.errors > 1e-3)
