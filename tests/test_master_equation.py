"""The first essay, from a Markov process to the master equation, row by row (M1-M18 of the theory sheet)."""

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.sparse.linalg import aslinearoperator

import cme
from cme.projection.propagator import evolve

RNG = np.random.default_rng(7)
W0, W1 = RNG.random((6, 6)), RNG.random((6, 6))
P0 = np.array([0.4, 0.0, 0.1, 0.2, 0.3, 0.0])
STEADY = cme.Generator.from_rates(W0)
DRIVEN = cme.Generator.from_rates(lambda t: W0 + W1 * (1 + np.sin(3 * t)))


def hop(x, y):
    return 3 * np.exp(-2 * np.abs(x - y - 0.05))


BUILT = {
    "dense": STEADY,
    "sparse": cme.Generator.from_rates(sp.random_array((40, 40), density=0.2, rng=np.random.default_rng(1))),
    "matrix-free": cme.Generator.from_rates(aslinearoperator(W0)),
    "at a time": DRIVEN.at(0.7),
    "kernel": cme.Generator.from_kernel(hop, np.linspace(-1, 1, 31)),
    "kernel in two dimensions": cme.Generator.from_kernel(
        lambda x, y: np.exp(-np.sum((x - y) ** 2, axis=-1)), (np.linspace(0, 2, 9), np.linspace(0, 1, 5))
    ),
    "levels": cme.Generator.from_levels([[0, 2, 1], [3, 0, 1], [1, 1, 0]], [1, 3, 2]),
    "network": cme.Generator.from_network(cme.parse("A + B <-> C @ 1, 2; A = 9; B = 7")),
}


@pytest.mark.parametrize("t", [0.1, 2.0])
def test_M1_a_law_is_carried_by_the_transition_matrix(t):
    whole = cme.propagator(STEADY, t) @ P0
    assert cme.fsp(STEADY, [t], initial=P0, tol=1e-11).p[0] == pytest.approx(whole, abs=1e-11)
    assert cme.fsp(BUILT["matrix-free"], [t], initial=P0, tol=1e-11).p[0] == pytest.approx(whole, abs=1e-11)


@pytest.mark.parametrize("generator", [STEADY, DRIVEN])
def test_M1b_chapman_kolmogorov_is_what_makes_it_markov(generator):
    late, early = cme.propagator(generator, 1.7, 0.6, tol=1e-8), cme.propagator(generator, 0.6, 0.2, tol=1e-8)
    assert late @ early == pytest.approx(cme.propagator(generator, 1.7, 0.2, tol=1e-8), abs=2e-8)


def test_M1b_two_times_matter():
    assert np.abs(cme.propagator(DRIVEN, 0.9, 0.4, tol=1e-6) - cme.propagator(DRIVEN, 0.5, 0.0, tol=1e-6)).max() > 0.005


@pytest.mark.parametrize("generator", [STEADY, DRIVEN])
def test_M2_M3_short_times(generator):
    rates = generator.at(0.3).matrix.toarray() if generator is DRIVEN else generator.matrix.toarray()
    errors = [np.abs((cme.propagator(generator, 0.3 + eps, 0.3) - np.eye(6)) / eps - rates).max() for eps in (1e-3, 5e-4, 2.5e-4)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.02)


def test_M4_rates_are_the_derivative_of_the_propagator():
    """The post drops t: the rates at (x, y) belong to the time t."""
    for t in (0.3, 1.1):
        one, two = (cme.propagator(DRIVEN, t + step, t, tol=1e-13) for step in (1e-4, 2e-4))
        derivative = (4 * one - two - 3 * np.eye(6)) / 2e-4
        assert derivative == pytest.approx(DRIVEN.at(t).matrix.toarray(), abs=1e-5)


def test_M5_first_order():
    residuals = [np.abs(cme.propagator(STEADY, eps) @ P0 - P0 - eps * (STEADY @ P0)).sum() for eps in (1e-3, 5e-4)]
    assert residuals[0] / residuals[1] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("generator", [STEADY, DRIVEN])
def test_M6_the_equation(generator):
    def right(t, p):
        return (generator.at(t) if generator is DRIVEN else generator) @ p

    ode = solve_ivp(right, (0, 2), P0, rtol=1e-11, atol=1e-13, t_eval=[0.5, 2.0])
    run = evolve(generator, P0, [0.5, 2.0], tol=1e-9)
    assert run.p == pytest.approx(ode.y.T, abs=2e-9)
    assert np.all(np.abs(run.p - ode.y.T).sum(axis=1) <= run.integration_error + 1e-10)


@pytest.mark.parametrize("name", [name for name in BUILT if name != "matrix-free"])
def test_M7_probability_is_conserved(name):
    u = cme.propagator(BUILT[name], 1.3)
    assert u.sum(axis=0) == pytest.approx(np.ones(len(u)), abs=1e-13)
    assert u.min() >= -1e-15


@pytest.mark.parametrize("t", [1.0, 3.0, 1e3, 1e9])
def test_M7_also_after_a_long_time_and_with_fast_rates(t):
    """Rates between 1e6 and 1e-3, against 60 digits."""
    w = RNG.random((5, 5)) * 10.0 ** RNG.integers(-3, 7, size=(5, 5))
    with mpmath.workdps(60):
        a = mpmath.matrix((w - np.diag(np.diag(w))).tolist())
        for j in range(5):
            a[j, j] = -sum(a[i, j] for i in range(5) if i != j)
        values, left = mpmath.eig(a)
        u = left * mpmath.diag([mpmath.exp(t * value) for value in values]) * mpmath.inverse(left)
        exact = np.array([[float(mpmath.re(u[i, j])) for j in range(5)] for i in range(5)])
    found = cme.propagator(cme.Generator.from_rates(w), t)
    assert found == pytest.approx(exact, rel=1e-12, abs=1e-14)
    assert found.sum(axis=0) == pytest.approx(np.ones(5), abs=1e-15)


def test_M7_what_leaks_leaves():
    network = cme.parse("0 -> X @ 3e5; X -> 0 @ 1e5")
    generator = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 4}))
    u = cme.propagator(generator, 2e-4)
    assert u == pytest.approx(expm(2e-4 * generator.matrix.toarray()), abs=1e-12)
    assert cme.propagator(cme.Generator.from_network(cme.parse("X -> 0 @ 1e8; X = 1")), 1e-8)[0, 0] == pytest.approx(np.exp(-1), rel=1e-14)


@pytest.mark.parametrize("name", BUILT)
def test_M8_columns_sum_to_zero(name):
    generator = BUILT[name]
    ones = np.ones(len(generator))
    columns = np.array([ones @ (generator @ unit) for unit in np.eye(len(generator))])
    assert np.abs(columns).max() <= 1e-12 * generator.largest_rate


def test_M9_the_swap_of_names():
    """sum over x of W_xy = sum over x of delta_xy (sum over z of W_zx): what the generator takes off its diagonal is the latter."""
    delta = np.eye(6)
    w = STEADY.rates.toarray()
    assert np.einsum("xy,zx->xy", delta, w) == pytest.approx(w - STEADY.matrix.toarray(), abs=1e-15)
    assert np.einsum("xy,zx->y", delta, w) == pytest.approx(STEADY.exit_rates, abs=1e-15)


def test_M10_rates_less_what_leaves():
    assert STEADY.matrix.toarray() == pytest.approx(W0 - np.diag(W0.sum(axis=0)), abs=1e-14)


@pytest.mark.parametrize("name", [name for name in BUILT if name != "matrix-free"])
def test_M11_gain_minus_loss(name):
    generator = BUILT[name]
    p = np.random.default_rng(3).random(len(generator))
    assert generator.gain_loss(p) == pytest.approx(generator @ p, abs=1e-12 * generator.largest_rate)


def test_M11_matrix_free():
    """The matrix-free form is nothing but gain minus loss."""
    assert BUILT["matrix-free"] @ P0 == pytest.approx(STEADY @ P0, abs=1e-14)
    assert BUILT["matrix-free"].gain_loss(P0) == pytest.approx(STEADY.gain_loss(P0), abs=1e-14)
    assert BUILT["matrix-free"].exit_rates == pytest.approx(STEADY.exit_rates, abs=1e-14)
    with pytest.raises(ValueError, match="the spectrum needs the entries of the generator, and this one is matrix-free"):
        BUILT["matrix-free"].spectrum()


def test_M12_any_function_conserves_but_only_rates_keep_probabilities_positive():
    w = np.array([[0.0, 2.0, 1.0], [-0.5, 0.0, 1.0], [1.0, 1.0, 0.0]])
    a = w - np.diag(w.sum(axis=0))
    u = expm(0.05 * a)
    assert u.sum(axis=0) == pytest.approx(np.ones(3), abs=1e-14)
    assert u.min() < -0.01
    with pytest.raises(ValueError, match=r"the rate from state 0 to state 1, W\[1, 0\], is -0.5; a rate must be finite and >= 0"):
        cme.Generator.from_rates(w)
    with pytest.raises(ValueError, match=r"W\[1, 0\], is -0.5"):
        cme.Generator.from_rates(sp.csr_array(w))
    with pytest.raises(ValueError, match=r"W\[1, 0\], is nan"):
        cme.Generator.from_rates([[0, 1], [np.nan, 0]])
    with pytest.raises(ValueError, match=r"the kernel W\(x, y\) is -.* at x = .*, y = .*; a jump rate must be a finite number >= 0"):
        cme.Generator.from_kernel(lambda x, y: x - y, np.linspace(0, 1, 5))
    with pytest.raises(ValueError, match=r"the rate from state 1 to state 0, W\[0, 1\], is -3; a rate must be finite and >= 0"):
        cme.Generator.from_rates(aslinearoperator(np.array([[0.0, -3.0], [1.0, 0.0]])))
    with pytest.raises(ValueError, match=r"W\[0, 1\], is -0"):
        cme.fsp(cme.Generator.from_rates(lambda t: np.array([[0, 1 - 2 * t], [1, 0]])), [1.0], initial=(0,))


def test_M13_the_diagonal_is_gauge():
    noise = np.diag(10 * np.random.default_rng(5).standard_normal(6))
    assert cme.Generator.from_rates(W0 + noise).matrix.toarray() == pytest.approx(STEADY.matrix.toarray(), abs=1e-14)
    for each in (noise, -1e3 * np.eye(6), 1e3 * np.eye(6)):
        shifted = cme.Generator.from_rates(aslinearoperator(W0 + each))
        assert shifted @ P0 == pytest.approx(STEADY @ P0, abs=1e-12)
        assert shifted.exit_rates == pytest.approx(STEADY.exit_rates, abs=1e-12)
    law = cme.fsp(shifted, [0.7], initial=P0, tol=1e-10)
    assert law.p[0] == pytest.approx(expm(0.7 * STEADY.matrix.toarray()) @ P0, abs=1e-10)


def test_M14_discrete_states_and_reactions():
    p = np.array([0.3, 0.5, 0.2])
    w = np.array([[0, 1, 2], [3, 0, 4], [5, 6, 0.0]])
    right = [sum(w[n, m] * p[m] - w[m, n] * p[n] for m in range(3)) for n in range(3)]
    assert cme.Generator.from_rates(w) @ p == pytest.approx(right, abs=1e-14)
    network = cme.parse("0 -> X @ 3; X -> 0 @ 0.5; 2 X -> X @ 0.1")
    space = cme.StateSpace.reachable(network, bounds={"X": 12})
    n = space.states[:, 0]
    by_hand = np.zeros((13, 13))
    for i in range(13):
        for j in range(13):
            by_hand[i, j] = 3.0 * (n[i] == n[j] + 1) + (0.5 * n[j] + 0.05 * n[j] * (n[j] - 1)) * (n[i] == n[j] - 1)
    assert cme.Generator.from_network(network, space).rates.toarray() == pytest.approx(by_hand, abs=1e-14)


def test_M15_time_dependent_rates():
    frozen = expm(0.8 * DRIVEN.at(0.0).matrix.toarray())
    true = cme.propagator(DRIVEN, 0.8, 0.0, tol=1e-8)
    assert np.abs(true - frozen).max() > 0.01
    ode = solve_ivp(lambda t, u: (DRIVEN.at(t).matrix @ u.reshape(6, 6)).ravel(), (0, 0.8), np.eye(6).ravel(), rtol=1e-11, atol=1e-13)
    assert true == pytest.approx(ode.y[:, -1].reshape(6, 6), abs=1e-8)
    assert true.sum(axis=0) == pytest.approx(np.ones(6), abs=1e-12)
    assert true.min() > 0


def test_M15_rates_that_switch_off():
    """A pulse that ends and comes back must not be stepped over: two of area 2/5 before t = 2."""
    pulsed = cme.Generator.from_rates(lambda t: W0 * max(0.0, np.sin(5 * t)))
    run = evolve(pulsed, P0, [2.0], tol=1e-7)
    exact = expm(4 / 5 * STEADY.matrix.toarray()) @ P0
    assert np.abs(run.p[0] - exact).sum() <= run.integration_error[0] <= 1e-7


def test_M15_matrix_free_rates_in_time():
    """Rates that grow as t: those of the integral, t^2 / 2."""
    driven = cme.Generator.from_rates(lambda t: aslinearoperator(t * W0))
    law = cme.fsp(driven, [1.0], initial=P0, tol=1e-5)
    assert law.integration_error[0] <= 1e-5
    assert np.abs(law.p[0] - expm(STEADY.matrix.toarray() / 2) @ P0).sum() <= 1e-5


def test_M15_a_short_pulse():
    """50 for 0.004 about t = 0.503: seen where the rates say when they jump."""
    pulsed = cme.Generator.from_rates(lambda t: [[0, 0], [50.0 * (abs(t - 0.503) < 0.002), 0]]).with_breaks(0.505, 0.501)
    assert pulsed.breaks == (0.501, 0.505)
    for times in ([1.0], [0.2, 0.501, 0.503, 0.505, 0.9], [0.502]):
        law = cme.fsp(pulsed, times, initial=(0,), tol=1e-8)
        exact = np.exp(-50 * np.clip(np.array(times) - 0.501, 0, 0.004))
        assert law.p[:, 0] == pytest.approx(exact, abs=1e-8)
    assert cme.propagator(pulsed, 1.0, 0.503)[0, 0] == pytest.approx(np.exp(-0.1), abs=1e-9)


def test_M15_a_jump_kernel_in_time():
    edges = np.linspace(0, 1, 13)
    driven = cme.Generator.from_kernel(lambda x, y, t: (1 + t) * hop(x, y), edges)
    once = cme.fsp(cme.Generator.from_kernel(hop, edges), [4.0], initial=np.eye(12)[3], tol=1e-9)
    assert cme.fsp(driven, [2.0], initial=np.eye(12)[3], tol=1e-8).p[0] == pytest.approx(once.p[0], abs=1e-8)  # integral of 1 + t is 4


def test_M16_detailed_balance_gives_boltzmann_and_a_real_spectrum():
    energy = np.array([0.0, 1.0, 0.3, 2.0, 0.7])
    symmetric = np.abs(energy[:, None] - energy[None, :]) + 1
    generator = cme.Generator.from_rates(symmetric * np.exp((energy[None, :] - energy[:, None]) / 2))
    boltzmann = np.exp(-energy) / np.exp(-energy).sum()
    law = cme.stationary(generator)
    assert law.p[0] == pytest.approx(boltzmann, abs=1e-14)
    assert generator.detailed_balance_defect(boltzmann) < 1e-15
    spectrum = generator.spectrum(pi=boltzmann)
    assert spectrum == pytest.approx(np.sort(np.linalg.eigvals(generator.matrix.toarray()).real)[::-1], abs=1e-10)
    assert spectrum[0] == pytest.approx(0, abs=1e-13)
    ring = cme.Generator.from_rates([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    assert ring.detailed_balance_defect(np.ones(3) / 3) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"not in detailed balance with pi \(relative defect 5.0e-01\)"):
        ring.spectrum(pi=np.ones(3) / 3)


def test_M16_a_complex_pair_is_not_torn():
    ring = cme.Generator.from_rates([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert ring.spectrum(2) == pytest.approx([0, -1.5 + 0.75**0.5 * 1j, -1.5 - 0.75**0.5 * 1j])
    long_ring = cme.Generator.from_rates(sp.csr_array(np.roll(np.eye(40), 1, axis=0)))
    turn = np.exp(2j * np.pi / 40)
    assert long_ring.spectrum(2) == pytest.approx([0, turn - 1, turn.conj() - 1], abs=1e-8)


def test_M16_a_few_eigenvalues_of_a_large_generator():
    chain = cme.Generator.from_network(cme.parse("A <-> B @ 1, 1; A = 3000"))
    assert chain.spectrum(4).real == pytest.approx([0, -2, -4, -6], abs=1e-5)
    with pytest.raises(ValueError, match="3001 states have too many eigenvalues to compute all; give k"):
        chain.spectrum()


def test_M18_jump_moments():
    """a_k(y) = integral of (x - y)^k W(x, y): for the hop kernel on a fine grid, and nu^k a for a reaction."""
    fine = cme.Generator.from_kernel(lambda x, y: np.exp(-((x - y - 0.1) ** 2) / 0.02) / np.sqrt(0.02 * np.pi), np.linspace(-2, 2, 401))
    middle = 200
    moments = [fine.jump_moments(k)[(middle, *[0] * k)] for k in (1, 2, 3)]
    assert moments == pytest.approx([0.1, 0.1**2 + 0.01, 0.1**3 + 3 * 0.1 * 0.01], abs=2e-5)  # cells of width 0.01
    network = cme.parse("0 -> 3 X @ 2; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 30})
    generator = cme.Generator.from_network(network, space)
    n = space.states[:, 0]
    inside = n <= 27
    for k in (1, 2, 3, 4):
        found = generator.jump_moments(k)[(inside, *[0] * k)]
        assert found == pytest.approx((3.0**k * 2 + (-1.0) ** k * n)[inside], abs=1e-12)
    plane = cme.Generator.from_rates([[0, 1], [2, 0]], states=[[0, 0], [1, 2]])
    assert plane.jump_moments(2)[0].tolist() == [[2, 4], [4, 8]]
