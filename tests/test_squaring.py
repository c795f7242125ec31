"""The exponential in whole numbers: against mpmath, at times at which 1e10 and more jumps have happened."""

import mpmath
import numpy as np
import pytest

import cme
from cme.projection import squaring
from cme.projection.propagate import propagate

STIFF = "A + B -> C @ 1e4; C -> A + B @ 1e3; C -> D @ 1e-3; A=3; B=3; C=0; D=0"


def exact(generator, p, t, digits=60):
    """exp(tA) p with mpmath, each rate as the double that it is."""
    with mpmath.workdps(digits):
        rates = generator.rates.toarray()
        a = mpmath.matrix(rates.tolist())
        for j in range(len(rates)):
            a[j, j] = -sum(a[i, j] for i in range(len(rates)) if i != j) - mpmath.mpf(float(generator.leak[j]))
        values, right = mpmath.eig(a)
        weights = mpmath.lu_solve(right, mpmath.matrix(p.tolist()))
        found = [sum(right[i, k] * mpmath.exp(values[k] * mpmath.mpf(t)) * weights[k] for k in range(len(p))) for i in range(len(p))]
        return np.array([float(mpmath.re(each)) for each in found])


def test_E10_many_jumps_cost_no_digits():
    network = cme.parse(STIFF)
    times = [1e-9, 1e-4, 0.37, 1.0, 1000.0, 1e5]
    law = cme.fsp(network, times, tol=1e-9)
    assert law.info["method"] == "squaring"
    generator = cme.Generator.from_network(network)
    start = (generator.states == [3, 3, 0, 0]).all(axis=1).astype(float)
    place = [int(np.flatnonzero((generator.states == state).all(axis=1))[0]) for state in law.states]
    for t, p, bound in zip(times, law.p, law.error_bound, strict=True):
        assert np.abs(p - exact(generator, start, t)[place]).sum() <= bound + 1e-300
    assert law.error_bound.max() < 1e-12


@pytest.mark.parametrize("n_states", [2, 13])
def test_E10_laws_that_leak_have_the_digits_that_are_certified(n_states):
    """Random rates from 1e-3 to 1e3, with leaks."""
    rng = np.random.default_rng(n_states)
    rates = 10.0 ** rng.uniform(-3, 3, (n_states, n_states)) * (rng.random((n_states, n_states)) < 0.5)
    whole = cme.Generator.from_rates(rates)
    leak = np.where(rng.random(n_states) < 0.5, 1e-4, 0.0)
    matrix = whole.matrix.copy()
    matrix.setdiag(matrix.diagonal() - leak)
    generator = cme.Generator(matrix.tocsc(), leak, whole.states)
    start = rng.dirichlet(np.ones(n_states))
    times = np.array([1e-5, 0.8, 7.0, 1e4])
    run = propagate(generator, start, times, tol=1e-9, method="squaring")
    for t, p, error in zip(times, run.p, run.integration_error, strict=True):
        assert np.abs(p - exact(generator, start, t)).sum() <= error < 1e-14
    assert run.lost[-1] == pytest.approx(1 - run.p[-1].sum(), abs=1e-15)


def test_E10_what_comes_out_is_nowhere_above_the_truth():
    """Two states (closed form) in the units that are computed in."""
    generator = cme.Generator.from_rates([[0, 3.0], [0.25, 0]])
    squares = squaring.Squares(generator)
    start = np.array([squaring.UNIT, 0, 0], dtype=object)
    with mpmath.workdps(60):
        for t in (0.001, 1.7, 300.0, 1e12):
            first, second, leaked = squares._after(squaring.Fraction(t), start)
            there = mpmath.mpf("0.25") / mpmath.mpf("3.25") * (1 - mpmath.exp(-mpmath.mpf("3.25") * mpmath.mpf(t)))
            assert leaked == 0
            assert first <= (1 - there) * squaring.UNIT
            assert second <= there * squaring.UNIT
            assert squaring.UNIT - first - second < 1e6 * max(t, 1.0)


def test_products_of_limbs_are_those_of_whole_numbers():
    rng = np.random.default_rng(1)
    a, b = ([[int.from_bytes(rng.bytes(16)) >> 2 for _ in range(9)] for _ in range(9)] for _ in range(2))
    a, b = np.array(a, dtype=object), np.array(b, dtype=object)
    assert np.all(squaring._numbers(squaring._limbs(a)) == a)
    missing = a @ b // squaring.UNIT - squaring._numbers(squaring._product(squaring._limbs(a), squaring._limbs(b)))
    assert 0 <= missing.min() <= missing.max() < 100


def test_squaring_is_for_few_states():
    network = cme.parse("0 -> X @ 5; X -> 0 @ 1")
    with pytest.raises(ValueError, match=r'method="squaring" is for at most 200 states .* and there are 301 states; use "chebyshev"'):
        cme.fsp(network, [1.0], method="squaring", space=cme.StateSpace.reachable(network, bounds={"X": 300}))
    given = cme.fsp(network, [1.0], method="squaring", space=cme.StateSpace.reachable(network, bounds={"X": 60}))
    assert given.info["method"] == "squaring"
    assert given.error_bound[0] < 1e-14
    assert given["X"][0, 0] == pytest.approx(np.exp(-5 * (1 - np.exp(-1))), rel=1e-13)


def test_a_set_that_grows_takes_as_many_states_as_squaring_can():
    law = cme.fsp(cme.parse("0 -> X @ 110; X -> 0 @ 1"), [5.0], method="squaring")
    assert law.info["states"] <= 200
    assert law.info["expansions"] > 0
    many = cme.parse("0 -> X @ 500; X -> 0 @ 1")
    told = r'fsp needs \d+ states and more \(.*tol=1e-06\); leave out method="squaring", which takes at most 200, loosen tol, or use ssa'
    with pytest.raises(cme.ConvergenceError, match=told):
        cme.fsp(many, [5.0], method="squaring")
    with pytest.raises(cme.ConvergenceError, match=r"raise max_states \(now 150\), loosen tol, or use ssa"):
        cme.fsp(many, [5.0], method="squaring", max_states=150)
