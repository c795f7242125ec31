"""The integrators of the master equation: their bounds against closed forms, on laws that travel and laws that rest."""

from fractions import Fraction

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, splu
from scipy.special import ive

import cme
from cme.kernels.chebyshev import scaled_bessel
from cme.projection import propagate as propagate_module
from cme.projection.propagate import METHODS, Integrator, entries_of_factors, propagate
from cme.projection.squaring import UNIT, Squares

BIRTH_DEATH = cme.parse("0 -> X @ 100; X -> 0 @ 1")


def chain(n_states=400):
    return cme.Generator.from_network(BIRTH_DEATH, cme.StateSpace.reachable(BIRTH_DEATH, bounds={"X": n_states}))


@pytest.mark.parametrize("method", METHODS[:-1])
@pytest.mark.parametrize("tol", [1e-4, 1e-8, 1e-11])
def test_E9_the_bound_is_above_the_error_of_every_integrator(method, tol):
    """A.1 at many times in one run, from a law in one state that travels."""
    times = np.array([0.01, 0.1, 0.5, 1.0, 3.0, 20.0])
    run = propagate(chain(), np.eye(1, 401)[0], times, tol=tol, method=method)
    assert run.method == method
    for t, p, error in zip(times, run.p, run.integration_error, strict=True):
        assert np.abs(p - oracles.immigration_death(401, 100, 1, 0, t)).sum() <= error + 2e-12
        assert p.min() >= 0
        assert error <= tol


@pytest.mark.parametrize("method", METHODS)
def test_E9_no_bound_is_below_the_rounding_of_a_law(method):
    """After hardly any jump: against the law in fractions of 2^-132."""
    rng = np.random.default_rng(3)
    for n_states in (2, 5, 30):
        generator, start = cme.Generator.from_rates(10.0 ** rng.uniform(-2, 2, (n_states, n_states))), rng.dirichlet(np.ones(n_states))
        times = np.array([0.0, 1e-6, 1e-3, 0.1, 1.0]) / generator.largest_rate
        run, squares = propagate(generator, start, times, tol=1e-9, method=method), Squares(generator)
        whole = np.array([int(Fraction(each) * UNIT) for each in start.tolist()] + [0], dtype=object)
        for t, p, error in zip(times.tolist(), run.p, run.integration_error, strict=True):
            exact = squares._after(Fraction(t), whole)[:-1].tolist()
            off = sum(abs(Fraction(one) - Fraction(int(other), UNIT)) for one, other in zip(p.tolist(), exact, strict=True))
            assert float(off) <= error + 1e-35
        assert run.integration_error[0] == 0
    network = cme.parse("0 -> X @ 2; X -> 0 @ 1")
    law = cme.fsp(network, [0.0, 1e-9], tol=1e-9, method=method, max_states=150)
    assert law.integration_error[0] == 0
    assert law.integration_error[1] >= 4e-16


@pytest.mark.parametrize(
    ("rates", "n", "t"),
    [
        ((1e6, 1e6, 1, 1), 12, 100.0),  # few states: in whole numbers
        ((1e6, 1e6, 1, 1), 20, 100.0),
        ((1e9, 1.7e9, 2e-4, 5e-5), 40, 100.0),
        ((1e12, 1e3, 1, 1e-3), 20, 1.0),  # with more points, since the slow law travels for long
    ],
)
def test_A2_stiff_rates_that_neither_series_nor_rational_functions_follow(rates, n, t):
    """Molecules on three sites, rates over up to fifteen decades: the law is multinomial."""
    network = cme.parse("A <-> B @ {}, {}; B <-> C @ {}, {}; A = {n}; B = 0; C = 0".format(*rates, n=n))
    law = cme.fsp(network, [t], tol=1e-8, method="projection")
    assert law.info["method"] == ("squaring" if n == 12 else "contour")
    truth = cme.fsp(network, [t], tol=1e-9, method="monomolecular")
    place = {tuple(state): k for k, state in enumerate(law.states.tolist())}
    p = np.zeros(len(place))
    p[[place[tuple(state)] for state in truth.states.tolist()]] = truth.p[0]
    assert np.abs(law.p[0] - p).sum() <= law.error_bound[0] + truth.error_bound[0]
    assert law.error_bound[0] < 1e-8


@pytest.mark.parametrize("method", ["chebyshev", "krylov"])
def test_E9_the_certificate_is_sharp(method):
    """Within 100 of the error where the error is above round-off."""
    for tol in (1e-3, 1e-5, 1e-7):
        integrator = Integrator(chain(), 1.0, tol, method, digits=tol)
        integrator.digits = tol
        (step,) = integrator.steps(oracles.immigration_death(401, 100, 1, 60, 0.3), 0.0, np.array([0.05]))
        truth = np.abs(step.p - oracles.immigration_death(401, 100, 1, 60, 0.35)).sum()
        assert truth <= step.error <= 100 * truth + 1e-12


def test_a_series_takes_far_fewer_products_than_uniformisation():
    generator, products = chain(), []

    def applied(p):
        products.append(1)
        return generator.matrix @ p

    free = cme.Generator(
        LinearOperator(generator.matrix.shape, matvec=applied, dtype=np.float64),
        generator.leak,
        generator.states,
        generator.names,
        _exit_rates=generator.exit_rates,
    )
    start = oracles.immigration_death(401, 100, 1, 60, 3.0)
    run = propagate(free, start, [20.0], tol=1e-8)
    assert run.method == "chebyshev"
    assert np.abs(run.p[0] - oracles.immigration_death(401, 100, 1, 60, 23.0)).sum() <= run.integration_error[0]
    assert len(products) < 0.15 * 20 * generator.largest_rate
    with pytest.raises(ValueError, match='method="krylov" needs the entries of the generator, this one can only be applied; use "cheb'):
        propagate(free, start, [20.0], method="krylov")


@pytest.mark.parametrize("z", [1e-9, 0.3, 17.0, 4e3, 1e6])
def test_scaled_bessel_functions(z):
    values = np.empty(int(np.sqrt(190 * z + 9000)) + 20)
    scaled_bessel(z, values)
    assert values == pytest.approx(ive(np.arange(len(values)), z), rel=1e-11, abs=1e-30)


def test_the_method_of_fsp():
    for method in METHODS:
        law = cme.fsp(BIRTH_DEATH, [0.5, 4.0], tol=1e-7, method=method)
        assert law.info["method"] == method
        for i, t in enumerate(law.times):
            truth = oracles.immigration_death(2000, 100, 1, 0, t)
            known = np.zeros(2000)
            known[law.states[:, 0]] = law.p[i]
            assert np.abs(known - truth).sum() <= law.error_bound[i] + 1e-13  # that much the formula for the truth is off
            assert law.error_bound[i] <= 1e-7
    with pytest.raises(ValueError, match=r'method="krylov" is for constant rates, and those of \'network\' move with time; leave it out'):
        cme.fsp(cme.parse("0 => X @ 1 + sin(time); X -> 0 @ 1"), [1.0], method="krylov")
    with pytest.raises(ValueError, match=r"those of this generator depend on time; leave it out"):
        cme.fsp(cme.Generator.from_rates(lambda t: [[0, 1], [1 + t, 0]]), [1.0], initial=0, method="krylov")
    with pytest.raises(ValueError, match="method"):
        cme.fsp(BIRTH_DEATH, [1.0], method="lanczos")


@pytest.mark.parametrize("tol", [1e-4, 1e-8])
@pytest.mark.parametrize("k", [300, 20_000])
def test_A1_the_bound_of_fsp_is_within_100_of_the_error(k, tol):
    law = cme.fsp(cme.parse(f"0 -> X @ {k}; X -> 0 @ 1; X = {k // 2}"), [0.7], tol=tol, method="projection")
    truth = oracles.immigration_death(2 * k + 1000, k, 1, k // 2, 0.7)
    known = np.zeros(2 * k + 1000)
    known[law.states[:, 0]] = law.p[0]
    error = np.abs(known - truth).sum()
    assert error <= law.error_bound[0] + 1e-13
    assert law.error_bound[0] <= 100 * error + 1e-11
    assert law.error_bound[0] <= tol


@pytest.mark.parametrize("tol", [1e-4, 1e-8])
def test_A16_the_bound_of_fsp_is_within_100_of_the_error(tol):
    law = cme.fsp(cme.parse("X -> 2 X @ 2; X -> 0 @ 1; X = 30"), [2.0], tol=tol, method="projection")
    truth = oracles.linear_birth_death(2000, 2, 1, 30, 2.0)
    known = np.zeros(2000)
    known[law.states[:, 0]] = law.p[0]
    error = np.abs(known - truth).sum()
    assert error <= law.error_bound[0] <= min(100 * error + 1e-11, tol)


def test_a_large_set_that_travels_is_tight():
    """Two independent processes (A.1): growth, dropping, states in another order than found, many times."""
    times, tol = [0.02, 0.3, 1.0], 1e-5
    text = "0 -> X @ 500; X -> 0 @ 1; 0 -> Y @ 500; Y -> 0 @ 1; X = 400; Y = 400"
    law = cme.fsp(cme.parse(text), times, tol=tol, method="projection")
    assert law.info["states_in_use"] > 20_000
    for i, t in enumerate(times):
        one = oracles.immigration_death(1500, 500, 1, 400, t)
        truth = one[law.states[:, 0]] * one[law.states[:, 1]]
        error = np.abs(law.p[i] - truth).sum() + 1 - truth.sum()
        assert error <= law.error_bound[i] + 1e-13
        assert law.error_bound[i] <= min(100 * error + 1e-11, tol)


@pytest.mark.parametrize("method", ["projection", "uniformisation", "krylov"])
def test_A1_as_many_states_as_the_law_needs_are_enough(method):
    network = cme.parse("0 -> X @ 2; X -> 0 @ 1")
    law = cme.fsp(network, [1.0], tol=1e-7, method=method, max_states=17)
    assert law.info["states"] <= 17
    truth = oracles.immigration_death(60, 2, 1, 0, 1.0)
    assert np.abs(law.p[0] - truth[law.states[:, 0]]).sum() + 1 - truth[law.states[:, 0]].sum() <= law.error_bound[0] <= 1e-7
    with pytest.raises(cme.ConvergenceError, match=r"fsp needs 3 states and more .*; raise max_states \(now 2\)"):
        cme.fsp(network, [1.0], tol=1e-7, method=method, max_states=2)


def test_terms_of_a_series_that_grow_to_1e42_are_not_certified_by_coefficients_taken_for_zero():
    """Jumps of two: a long series was off by 2e-3, with a bound of 4e-11; the mean is known."""
    network, times = (
        cme.parse("0 -> 2 X @ 17.738229441051857; X -> 0 @ 5.534934578095241; X = 96"),
        [27.07101141250837 / 3, 27.07101141250837],
    )
    law = cme.fsp(network, times, tol=1e-9, method="chebyshev")
    assert law.p.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-9)
    assert law.mean()[:, 0] == pytest.approx(2 * 17.738229441051857 / 5.534934578095241, abs=1e-6)


@pytest.mark.parametrize("counts", [(300, 100), (200, 20, 6), (16, 16, 16), (60, 8, 6, 4)])
def test_entries_of_factors_are_foreseen(counts):
    """By which a window is priced: in three dimensions they are many times those of a plane of as many states."""
    names = "ABCD"[: len(counts)]
    network = cme.parse("; ".join(f"0 -> {name} @ 1; {name} -> 0 @ 1" for name in names) + "".join(f"; {name} = 0" for name in names))
    space = cme.StateSpace.reachable(network, bounds={name: size - 1 for name, size in zip(names, counts, strict=True)})
    generator = cme.Generator.from_network(network, space)
    assert len(generator) == np.prod(counts)
    options = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    factors = splu((sp.eye_array(len(generator), format="csc") - generator.sparse()).tocsc(), **options)
    integrator = Integrator(generator, 1.0, 1e-8)
    assert 0.5 < entries_of_factors(integrator._sides) / factors.nnz < 2


def test_counts_that_follow_from_others_are_no_dimensions():
    network = cme.parse("Off <-> On @ 1, 2; On -> On + M @ 5; M -> 0 @ 1; Off = 1; On = 0; M = 0")
    space = cme.StateSpace.reachable(network, bounds={"M": 99})
    sides = Integrator(cme.Generator.from_network(network, space), 1.0, 1e-8)._sides
    assert sides == pytest.approx([100, 2])


def test_a_window_that_failed_is_weighed_against_series_before_the_next(monkeypatch):
    network = cme.parse("0 -> X @ 2000; X -> 0 @ 100; 0 -> Y @ 20; Y -> 0 @ 1; X = 20; Y = 20")
    space = cme.StateSpace.reachable(network, bounds={"X": 99, "Y": 79})
    generator, start = cme.Generator.from_network(network, space), np.full(len(space), 1 / len(space))
    tried = []
    monkeypatch.setattr(propagate_module, "rational_krylov", lambda *a: tried.append(a[2]))
    integrator = Integrator(generator, 1000.0, 1e-8, "rational_krylov")
    now = 1.0
    for k in (1, 2):
        integrator.step(start, now, np.array([100.0]))
        assert len(tried) == k
        assert integrator.reach.used == 0.25**k
        now = 1.01 * integrator.reach.smooth


@pytest.mark.parametrize(("counts", "method"), [((1000,), "contour"), ((5000, 5), "rational_krylov")])
def test_a_contour_is_chosen_where_it_is_far_cheaper(counts, method):
    """Not in a thin plane, though it would cost less there: while sets grow it is begun again and again."""
    names = "AB"[: len(counts)]
    network = cme.parse("; ".join(f"0 -> {name} @ 1000; {name} -> 0 @ 1; {name} = 0" for name in names))
    space = cme.StateSpace.reachable(network, bounds={name: size - 1 for name, size in zip(names, counts, strict=True)})
    generator = cme.Generator.from_network(network, space)
    assert Integrator(generator, 3e5 / generator.largest_rate, 5e-6).method == method
