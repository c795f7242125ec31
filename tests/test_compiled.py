"""`Compiled`: a network as arrays. Twin: the kernel's postfix programs against numpy's evaluation of the same trees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ratelaw import formulas

import cme
from cme.compiled import Compiled
from cme.kernels.propensity import propensities


def kernel(network, states):
    out = np.empty((len(states), len(network.reactions)))
    arrays = Compiled(network).arrays
    propensities(arrays, states, np.zeros(arrays.stack_size), out)
    return out


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(formulas, min_size=5, max_size=20))
def test_twin_kernel_and_numpy_give_the_same_propensities(texts):
    network = cme.parse("species x, y, z\n" + "\n".join(f"0 => x @ {text}" for text in texts))
    states = np.array([[1, 2, 3], [0, 5, 2], [7, 0, 1]])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(kernel(network, states), Compiled(network).propensities(states), rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "law",
    [
        "x % 3", "7 % x", "x^y", "factorial(x)", "floor(x/2)", "ceil(x/2)", "xor(x > 1, y > 1, z > 1)", "min(x, y, z)", "max(x, y, z)",
        "asinh(x)", "acosh(x)", "asin(x/9)", "acos(x/9)", "atanh(x/9)", "sinh(x)", "x == 1 && !(y == 0) || z > 2", "piecewise(x, y > z)",
        "piecewise(1, x > 5, 2, x > 0, 3)", "1/x", "ln(x)", "sqrt(x - 3)", "quotient(x, 2)", "floor(1e300*x)", "floor(1/x)",
    ],
)  # fmt: skip
def test_twin_every_operator(law):
    network = cme.parse(f"species x, y, z; 0 => x @ {law}")
    states = np.array([[1, 2, 3], [0, 5, 2], [7, 0, 1], [2, 2, 2]])
    np.testing.assert_allclose(kernel(network, states)[:, 0], Compiled(network).propensities(states)[:, 0], rtol=1e-14, equal_nan=True)


@pytest.mark.parametrize("convention", ["combinations", "falling"])
def test_mass_action_needs_no_program(convention):
    text = f"convention {convention}; 0 -> A @ k; A -> 0 @ k*2; 2 A + B -> 0 @ k/V; 3 A -> B @ 1; compartment V = 4; k = 3"
    network = cme.parse(text)
    arrays = Compiled(network).arrays
    assert len(arrays.opcode) == 0
    states = np.array([[0, 0], [1, 1], [2, 3], [5, 7]])
    np.testing.assert_allclose(kernel(network, states), Compiled(network).propensities(states), rtol=1e-15)


def test_concentrations_in_a_volume_are_mass_action_to_the_kernel():
    network = cme.load("michaelis_menten_closed")
    arrays = Compiled(network).arrays
    assert len(arrays.opcode) == 0
    np.testing.assert_allclose(kernel(network, np.array([[100, 1000, 0, 0], [1, 2, 3, 4]])), [[1e5, 0, 0], [2, 3, 0.3]], rtol=1e-14)


def test_rate_jacobian_is_the_derivative_of_the_rates():
    network = cme.parse("2 A + B -> 0 @ 0.3; 0 => A @ 5/(1 + (B/3)^2.5)")
    compiled, state, step = Compiled(network), np.array([4.0, 6.0]), 1e-6
    for s in range(2):
        up, down = state.copy(), state.copy()
        up[s] += step
        down[s] -= step
        slope = (compiled.rates(up) - compiled.rates(down)) / (2 * step)
        np.testing.assert_allclose(compiled.rate_jacobian(state)[:, s], slope, rtol=1e-7)


def test_observables_follow_their_rules():
    network = cme.parse("A -> B @ 1; total := A + 2*B; fixed := 3; k2 := 2*total")
    states = np.array([[[1, 2], [3, 4]]])
    np.testing.assert_array_equal(Compiled(network).observable("k2", states), [[10, 22]])
    np.testing.assert_array_equal(Compiled(network).observable("fixed", states), [[3, 3]])


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ({"A": 1.5}, "species 'A' starts at 1.5, not a whole number of molecules; stochastic solvers count molecules"),
        ({"A": 1e19}, "does not fit 64-bit counts"),
    ],
)
def test_refusals_of_starts(initial, message):
    with pytest.raises(cme.ModelError, match=message):
        Compiled(cme.parse("A -> B @ 1")).start(initial)


def test_starts_may_be_real_for_the_continuum():
    states, p = Compiled(cme.parse("A -> B @ 1")).start({"A": 1.5}, whole=False)
    assert (states.tolist(), p.tolist()) == ([[1.5, 0.0]], [1.0])


def test_a_long_table_of_pieces_is_one_program():
    pieces = ", ".join(f"{i}, X < {i}" for i in range(1, 2001))
    network = cme.parse(f"0 => X @ piecewise({pieces}, 7); X = 3")
    assert Compiled(network).propensities(np.array([[0.0], [2.0], [1500.0], [3000.0]]))[:, 0].tolist() == [1, 3, 1501, 7]
    paths = cme.ssa(network, [1.0], n_paths=50, seed=1)
    assert (paths["X"][:, 0] >= 3).all()
