"""The Schrödinger form of the second essay: rows W13-W20 of the theory sheet, spectra, and laws against the closed forms."""

from itertools import pairwise

import numpy as np
import pytest
import sympy
from closed_forms import e3, e4, e5, e6, e7, e8

import cme
from cme.errors import ConvergenceError

X, T, ALPHA = sympy.Symbol("x", real=True), sympy.Symbol("t", positive=True), sympy.Symbol("alpha", positive=True)
P_DRIFT = sympy.Function("p")(X, T)
PHI, XI = sympy.Function("phi")(X, T), sympy.Function("xi")(X, T)
D = sympy.diff


def residual_of_14(density):
    """(14): (12) times alpha, all on one side."""
    return ALPHA * D(density, T) - ALPHA**2 / 2 * D(density, X, 2) + ALPHA * D(P_DRIFT * density, X)


def form_of(case, domain, **options):
    return cme.SchrodingerForm(case.given, case.alpha, domain=domain, **options)


def variation(law, case, t=-1):
    """Total variation from a closed form, on the cells of the law."""
    x, h = law.states[:, 0], law.widths[0]
    exact = case.masses(np.append(x - h / 2, x[-1] + h / 2), law.times[t])
    return (np.abs(law.p[t] - exact).sum() + max(1 - exact.sum(), 0.0)) / 2


# ----------------------------------------------------------------------------------------------- rows W13 to W20


def operator_of_12(form, n_cells):
    """xi M / xi for the symmetric M of (19): what acts on P."""
    nodes, diagonal, beside, s = form.operator(n_cells)
    matrix = np.diag(diagonal) + beside * (np.eye(len(nodes), k=1) + np.eye(len(nodes), k=-1))
    return nodes, np.exp(s)[:, None] * matrix * np.exp(-s)


def test_W13_is_12_times_alpha():
    """alpha P_t = (alpha^2/2) P_xx - alpha (p P)_x, (14), for a density of which the right side is known; of second order in the cells."""
    density = sympy.exp(-(X**2)) * (2 + sympy.sin(X))
    right = (-residual_of_14(density).subs(P_DRIFT, -sympy.tanh(X)).doit()).subs(ALPHA, 1.3)
    p, rate = (sympy.lambdify(X, each, "numpy") for each in (density, right))
    errors = []
    for n_cells in (200, 400):
        x, matrix = operator_of_12(cme.SchrodingerForm(lambda x: -np.tanh(x), 1.3, domain=(-5, 5)), n_cells)
        errors.append(np.abs(1.3 * matrix @ p(x) - rate(x)).max())
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


def test_W14_the_product():
    """P = phi xi turns (14) into alpha phi_t = (alpha^2/2) phi_xx + eta phi_x + V phi with the eta and V of (15) and (16).

    With the xi of the form eta is zero, and its V is that of (16).
    """
    eta = ALPHA**2 * D(XI, X) / XI - ALPHA * P_DRIFT
    v = -(ALPHA * D(P_DRIFT, X) * XI + ALPHA * P_DRIFT * D(XI, X) - ALPHA**2 / 2 * D(XI, X, 2) + ALPHA * D(XI, T)) / XI
    product = ALPHA * D(PHI, T) - ALPHA**2 / 2 * D(PHI, X, 2) - eta * D(PHI, X) - v * PHI
    assert sympy.simplify(residual_of_14(PHI * XI) / XI - product) == 0
    form = cme.SchrodingerForm(lambda x, t: np.cos(x) * (1 + t * t), 1.3)
    x, t, h = np.linspace(-2, 2, 9), 0.7, 1e-3
    xi, p = form.xi(x, t), np.cos(x) * (1 + t * t)
    first, second = (form.xi(x + h, t) - form.xi(x - h, t)) / (2 * h), (form.xi(x + h, t) - 2 * xi + form.xi(x - h, t)) / h**2
    rate = (form.xi(x, t + h) - form.xi(x, t - h)) / (2 * h)
    assert 1.3**2 * first / xi - 1.3 * p == pytest.approx(np.zeros(9), abs=1e-5)  # eta
    of_16 = -(-1.3 * np.sin(x) * (1 + t * t) * xi + 1.3 * p * first - 1.3**2 / 2 * second + 1.3 * rate) / xi
    assert form.V(x, t) == pytest.approx(of_16, abs=2e-5)


def test_W15_no_first_derivative_if_xi_is_the_exponential_of_the_integral():
    action = sympy.Function("S")(X, T)
    eta = ALPHA**2 * D(XI, X) / XI - ALPHA * P_DRIFT
    with_action = eta.subs(XI, sympy.exp(action / ALPHA)).doit()
    assert sympy.simplify(with_action - ALPHA * (D(action, X) - P_DRIFT)) == 0  # zero just if S_x = p
    form = cme.SchrodingerForm(lambda x, t: np.cos(x) * (1 + t), 1.3)
    x, h = np.linspace(-2, 2, 9), 1e-5
    slope = (form.xi(x + h, 0.7) - form.xi(x - h, 0.7)) / (2 * h)
    assert slope == pytest.approx(form.xi(x, 0.7) * np.cos(x) * 1.7 / 1.3, rel=1e-8)
    assert form.xi(0.0, 0.7) == 1.0


def test_W16_V_from_16_is_18():
    """With xi = exp(S / alpha), (16) is (18), and so is what the form gives."""
    action = sympy.Function("S")(X, T)
    xi, p = sympy.exp(action / ALPHA), D(action, X)
    v = -(ALPHA * D(p, X) * xi + ALPHA * p * D(xi, X) - ALPHA**2 / 2 * D(xi, X, 2) + ALPHA * D(xi, T)) / xi
    assert sympy.simplify(v - (-(ALPHA * D(p, X) + p**2) / 2 - D(action, T))) == 0
    of_one = v.subs(action, (sympy.sin(2 * X) - X) * sympy.exp(-T)).doit().subs(ALPHA, 0.7)
    form = cme.SchrodingerForm(lambda x, t: (2 * np.cos(2 * x) - 1) * np.exp(-t), 0.7)
    x = np.linspace(-2, 2, 9)
    assert form.V(x, 0.4) == pytest.approx(sympy.lambdify((X, T), of_one, "numpy")(x, 0.4), abs=1e-8)


@pytest.mark.parametrize("case", [e3(k=0.8, alpha=1.3), e4(c=1.5), e6(), e7()], ids=["E3", "E4", "E6", "E7"])
def test_W16_V_with_the_integral_of_the_rate_of_the_drift(case):
    form = cme.SchrodingerForm(case.given, case.alpha)
    x = np.linspace(-3, 3, 13)
    for t in (0.0, 1e-4, 0.3, 2.0):
        assert form.V(x, t) == pytest.approx(case.potential(x, t), abs=2e-8)


@pytest.mark.parametrize("frequency", [1.0, 3000.0, 1e5])
@pytest.mark.parametrize("t", [0.0, 1e-3, 0.4])
def test_V_of_a_fast_drift(frequency, t):
    """p = cos(w t): V = -cos(w t)^2 / 2 + w sin(w t) x."""
    form = cme.SchrodingerForm(lambda x, t: np.cos(frequency * t) + 0 * x, 1.0)
    exact = -(np.cos(frequency * t) ** 2) / 2 + frequency * np.sin(frequency * t) * 2.0
    assert form.V(2.0, t) == pytest.approx(exact, abs=1e-5 * frequency)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_V_in_any_unit(unit):
    form = cme.SchrodingerForm(lambda x: -unit * np.sin(x / unit), unit**2)
    x = np.linspace(-3, 3, 13)
    assert form.V(x * unit) / unit**2 == pytest.approx((np.cos(x) - np.sin(x) ** 2) / 2, abs=1e-6)


def test_a_drift_that_jumps_in_time_has_no_V_there():
    form = cme.SchrodingerForm(lambda x, t: -x * (1 + (t > 0.5)), 1.0)
    assert form.V(1.0, 0.3) == pytest.approx(0.0, abs=1e-8)
    with pytest.raises(ConvergenceError, match=r"the drift is too rough in time at t = 0\.5 for its rate of change; smooth it"):
        form.V(1.0, 0.5)


def test_a_drift_that_takes_a_time_depends_on_it():
    """A pulse, nothing at most times: m' = -m + 2 exp(-((t - 0.55) / 0.02)^2)."""
    form = cme.SchrodingerForm(lambda x, t: -x + 2 * np.exp(-(((t - 0.55) / 0.02) ** 2)), 1.0, domain=(-6, 6))
    law = form.law([1.0], start=0.0, n_cells=40, tol=1e-2)
    assert law.info["method"] == "steps"
    assert law.mean()[0, 0] == pytest.approx(2 * 0.02 * np.sqrt(np.pi) * np.exp(-0.45), abs=4e-3)


def test_a_strong_drift_in_time_stays_in_range():
    """S / alpha from 0 to -1200: the mean and variance of p = -x (1 + sin(t) / 2)."""
    form = cme.SchrodingerForm(
        lambda x, t: -x * (1 + 0.5 * np.sin(t)), 0.01, domain=(-4, 4), drift_integral=lambda x, t: -(x**2) / 2 * (1 + 0.5 * np.sin(t))
    )
    law = form.law([1.0], start=0.5, n_cells=800, tol=1e-4)
    decay = lambda t: np.exp(-t - 0.5 * (1 - np.cos(t)))  # noqa: E731
    s = np.linspace(0, 1, 2001)
    mean, variance = (
        (4 * fine - coarse)[0, 0] / 3 for fine, coarse in ((law.mean(), law.coarse.mean()), (law.sd() ** 2, law.coarse.sd() ** 2))
    )
    assert mean == pytest.approx(0.5 * decay(1.0), abs=5e-4)
    assert variance == pytest.approx(np.trapezoid(0.01 * (decay(1.0) / decay(s)) ** 2, s), rel=2e-2)


def test_W16_gauge():
    """Another reference adds c(t) to S: V changes by -c'(t), phi by the factor exp(-c/alpha), P not at all; mixed references are wrong."""
    case, times = e6(alpha=0.8), np.array([0.5, 1.0])
    first, second = (form_of(case, (-6, 6), reference=reference) for reference in (0.0, 1.5))
    x = np.linspace(-2, 2, 5)
    shift = -1.5 * 1.5 * np.cos(4 * 0.3)  # S to 1.5 from 0, at t = 0.3
    assert second.action(x, 0.3) - first.action(x, 0.3) == pytest.approx(np.full(5, shift))
    rate = 1.5 * 1.5 * 4 * np.sin(4 * 0.3)
    assert second.V(x, 0.3) - first.V(x, 0.3) == pytest.approx(np.full(5, -rate), abs=1e-7)
    laws = [form.law(times, n_cells=100, tol=1e-5) for form in (first, second)]
    assert np.abs(laws[0].p - laws[1].p).max() < 2e-6
    mixed = laws[0].p[1] * np.exp(-shift / 0.8)  # xi from one reference, phi from the V of the other
    assert abs(mixed.sum() - 1) > 0.5


def test_W17_imaginary_time_schroedinger():
    """The energy is U = -V with hbar = alpha and mass 1: for p = -k x that of an oscillator, less the energy of its ground state."""
    k, alpha = 0.7, 1.3
    form = cme.SchrodingerForm(lambda x: -k * x, alpha, domain=(-9, 9))
    x = np.linspace(-2, 2, 5)
    assert -form.V(x) == pytest.approx(k**2 * x**2 / 2 - alpha * k / 2, abs=1e-9)
    levels = alpha * k * (np.arange(5) + 0.5) - alpha * k / 2
    assert -alpha * form.spectrum(5, n_cells=900).values == pytest.approx(levels, abs=2e-3)


def test_W18_the_integral_of_phi_is_not_conserved_that_of_P_is():
    case = e3(x0=0.7)
    form = form_of(case, (-7, 7))
    law = form.law([0.0, 0.25, 1.0, 4.0], start=0.7)
    assert law.p.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-9)
    phi = law.p / form.xi(law.states[:, 0])
    totals = phi.sum(axis=1)
    exact = [quadrature(lambda x, t=t: case.density(x, t) * np.exp(x**2 / 2)) for t in (0.25, 1.0)]
    assert totals[1:3] == pytest.approx(exact, rel=2e-3)
    assert totals.max() / totals.min() > 1.1
    assert (phi * form.xi(law.states[:, 0])).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-9)


def quadrature(function):
    x = np.linspace(-7, 7, 4001)
    return np.trapezoid(function(x), x)


def test_W19_one_spectrum_for_both_operators():
    """That of (12), as the walk's master equation, is that of the symmetric operator: 0, -k, -2k, ..."""
    k = 1.4
    form = cme.SchrodingerForm(lambda x: -k * x, 1.0, domain=(-5, 5))
    generator = cme.RandomWalk(lambda x: -k * x, 1.0, 0.025).generator(-5.0, 5.0)
    of_twelve = generator.spectrum(6)
    assert np.abs(of_twelve.imag).max() < 1e-6
    assert of_twelve.real == pytest.approx(-k * np.arange(6), abs=1e-2)
    assert form.spectrum(6).values == pytest.approx(-k * np.arange(6), abs=2e-2)
    nodes, h = form.operator(400).nodes, 0.025
    with_18 = np.diag(form.V(nodes) - 1 / h**2) + (np.eye(399, k=1) + np.eye(399, k=-1)) / (2 * h**2)  # (alpha/2) d2 + V/alpha, from (18)
    assert np.linalg.eigvalsh(with_18)[::-1][:6] == pytest.approx(-k * np.arange(6), abs=2e-2)


def test_W19_pulled_back_with_a_constant_force_there_is_one_bound_state():
    """E7: 0, then the continuum from -c^2 / 2 alpha on."""
    values = form_of(e7(), (-30, 30)).spectrum(4, n_cells=1200).values
    assert values[0] == pytest.approx(0, abs=1e-6)
    box = 0.5 + (np.pi / 60) ** 2 / 2
    assert -values[1] == pytest.approx(box, abs=0.01)
    assert np.all(-values[1:] > 0.5)


def test_W20_no_drift_no_V():
    assert np.all(cme.SchrodingerForm(0.0, 1.0).V(np.linspace(-1, 1, 5)) == 0)


def test_W20_the_converse_is_false():
    """p = alpha / x has V = 0 as well; its law is not that of p = 0."""
    case = e5(alpha=1.2)
    form = form_of(case, (0.0, 9.0), reference=1.0, drift_integral=lambda x, t: 1.2 * np.log(x))
    assert np.abs(form.V(np.array([0.2, 1.0, 5.0]))).max() < 1e-6
    law = form.law(1.0, start=1.0)
    assert law.p.sum() == pytest.approx(1, abs=1e-9)
    assert variation(law, case) < 2e-3
    assert law.mean()[0, 0] > 1.9  # without drift it would stay at 1


# --------------------------------------------------------------------------------------- laws and closed forms

LAWS = {  # on domains on whose grids the start is a node
    "E3": (e3(), (-7.0, 7.0)),
    "E4": (e4(c=2.0, x0=0.3), (-7.7, 8.3)),
    "E6": (e6(), (-7.0, 7.0)),
    "E7": (e7(), (-8.0, 8.0)),
    "E8": (e8(), (-10.0, 10.0)),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_converge_to_the_closed_forms(name):
    case, domain = LAWS[name]
    found = [variation(form_of(case, domain).law([0.3, 1.0], start=case.x0, n_cells=n, tol=1e-5), case) for n in (80, 160, 320)]
    assert found[-1] < 2e-3
    assert all(3.3 < more / less < 4.7 for more, less in pairwise(found)), found  # second order
    law = form_of(case, domain).law([0.3, 1.0], start=case.x0, n_cells=160, tol=1e-5)
    assert law.info["method"] == ("steps" if name == "E6" else "eigenfunctions")
    assert law.p.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert variation(law.coarse, case) == pytest.approx(found[0], rel=1e-3)


def test_steps_and_eigenfunctions_agree():
    form = form_of(e7(), (-8, 8))
    one, other = (form.law([0.01, 0.5, 2.0], start=0.4, n_cells=120, method=method, tol=1e-7) for method in ("eigenfunctions", "steps"))
    assert np.all(np.abs(one.p - other.p).sum(axis=1) <= one.integration_error + other.integration_error)
    assert other.integration_error.max() <= 1e-7


def test_at_time_zero_it_is_where_it_starts():
    law = form_of(e3(), (-7, 7)).law([0.0, 1.0], start=0.7)
    assert law.mean()[0, 0] == pytest.approx(0.7, abs=1e-12)
    assert np.count_nonzero(law.p[0]) <= 2


def test_what_reaches_the_ends_is_lost():
    """Free diffusion between absorbing walls: eigenvalues -(alpha/2) (n pi / L)^2, and the survival that they give."""
    form = cme.SchrodingerForm(0.0, 1.0, domain=(-1.0, 1.0))
    spectrum = form.spectrum(3, n_cells=800)
    assert spectrum.values == pytest.approx(-0.5 * (np.arange(1, 4) * np.pi / 2) ** 2, rel=1e-4)
    assert spectrum.functions[0] == pytest.approx(np.cos(np.pi * spectrum.nodes / 2), abs=1e-4)
    law = form.law([0.5, 1.0])
    n = np.arange(1, 80, 2)
    survival = [sum(4 / np.pi / n * (-1.0) ** (n // 2) * np.exp(-0.5 * (n * np.pi / 2) ** 2 * t)) for t in (0.5, 1.0)]
    assert law.p.sum(axis=1) == pytest.approx(survival, abs=2e-5)
    assert law.lost == pytest.approx(1 - np.array(survival), abs=2e-5)


def test_the_first_eigenfunction_times_xi_is_the_stationary_density():
    form = form_of(e7(), (-12, 12))
    spectrum = form.spectrum(1, n_cells=800)
    density = spectrum.functions[0] * form.xi(spectrum.nodes)
    density /= density.sum() * (spectrum.nodes[1] - spectrum.nodes[0])
    assert density == pytest.approx(0.5 / np.cosh(spectrum.nodes) ** 2, abs=1e-5)
    norm = (spectrum.functions**2).sum() * (spectrum.nodes[1] - spectrum.nodes[0])
    assert norm == pytest.approx(1)


def test_walk_and_form_agree_by_compare():
    """Two solutions of one equation: the walk on its cells, the form on its grid."""
    walk = cme.RandomWalk(lambda x: np.sin(2 * x) - x, 0.7, 0.05).law(0.5, start=0.2)
    law = cme.SchrodingerForm(lambda x: np.sin(2 * x) - x, 0.7, domain=(-4, 4)).law(0.5, start=0.2, n_cells=600)
    table = cme.compare(walk, form=law).set_index(["method", "metric"])
    row = table.loc[("form", "total_variation")]
    assert row.value < 1.5e-3
    assert 0 < row.grid < 5e-4


def test_given_integrals_and_derivatives_are_used():
    x = np.linspace(-2, 2, 9)
    plain = cme.SchrodingerForm(lambda x, t: np.sin(x) * t, 1.0)
    given = cme.SchrodingerForm(
        lambda x, t: np.sin(x) * t, 1.0, drift_derivative=lambda x, t: np.cos(x) * t, drift_integral=lambda x, t: 5 - np.cos(x) * t
    )
    for t in (0.0, 0.7):
        assert given.action(x, t) == pytest.approx(plain.action(x, t), abs=1e-11)
        assert given.V(x, t) == pytest.approx(plain.V(x, t), abs=1e-8)
    wrong = cme.SchrodingerForm(lambda x: np.sin(x), 1.0, drift_derivative=lambda x, t: 7 + 0 * x)
    assert wrong.V(0.0) == -3.5


def test_a_drift_that_jumps_needs_its_integral_only_away_from_the_reference():
    kinked = cme.SchrodingerForm(lambda x: -np.sign(x - 0.3), 1.0, reference=0.0)
    with pytest.raises(
        ConvergenceError, match=r"the drift can't be integrated from 0 to 1 to 1e-11 \(it may be singular or jump\); give drift_int"
    ):
        kinked.action(1.0)
    helped = cme.SchrodingerForm(lambda x: -np.sign(x - 0.3), 1.0, drift_integral=lambda x, t: -abs(x - 0.3))
    assert helped.action(1.0) == pytest.approx(-0.4)
    with pytest.raises(
        ConvergenceError, match=r"too rough for its derivative at x = 0\.3, t = 0: its differences do not settle; give drift_derivative"
    ):
        helped.V(np.array([0.0, 0.3]))
    assert np.isnan(helped.V(np.array([0.0, 0.3]), strict=False)).tolist() == [False, True]


def fast(x, t):
    return -x * (1 + 0.5 * np.sin(3000 * t))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: cme.SchrodingerForm(None, 1.0),
            ValueError,
            r"the drift must be a finite number or a function p\(x\) or p\(x, t\), not None",
        ),
        (lambda: cme.SchrodingerForm(0.0, -1.0), ValueError, r"alpha must be a finite number above 0, not -1\.0"),
        (
            lambda: cme.SchrodingerForm(0.0, 1.0, domain=(0.0, 5.0)),
            ValueError,
            r"the reference 0 must lie inside the domain from 0 to 5",
        ),
        (
            lambda: cme.SchrodingerForm(lambda x: -x, 1.0, reference=1.0, drift_integral=lambda x, t: x**2 / 2),
            ValueError,
            r"drift_integral grows by 1 per unit of x at x = 1, t = 0, where the drift is -1; it must be the integral",
        ),
        (lambda: cme.SchrodingerForm(0.0, lambda x: 1.0), ValueError, r"alpha must be a finite number above 0, not <function"),
        (
            lambda: cme.SchrodingerForm(lambda x, t, u: x, 1.0),
            ValueError,
            r"must be a function p\(x\) or p\(x, t\), not one of 3 arguments",
        ),
        (
            lambda: cme.SchrodingerForm(0.0, 1.0, domain=(-1, 1)).law(1.0, start=np.nan),
            ValueError,
            "start must be a finite number, not nan",
        ),
        (
            lambda: cme.SchrodingerForm(
                lambda x, t: -x * (1 + t), 1.0, reference=1.0, domain=(-3, 4), drift_integral=lambda x: -(x**2) / 2
            ).law(1.0, start=1.0),
            ValueError,
            r"drift_integral grows by -1 per unit of x at x = 1, t = 1, where the drift is -2; it must be the integral",
        ),
        (
            lambda: cme.SchrodingerForm(0.0, 1.0).law(1.0),
            ValueError,
            r"the domain from -inf to inf is infinite; give SchrodingerForm\(\.\.\., domain=\(low, high\)\) for a grid",
        ),
        (
            lambda: cme.SchrodingerForm(0.0, 1.0, domain=(-1, 1)).law(1.0, start=1.2),
            ValueError,
            r"the start 1\.2 must lie inside the domain, from -0\.99 to 0\.99 on 200 cells",
        ),
        (
            lambda: cme.SchrodingerForm(lambda x, t: t + 0 * x, 1.0, domain=(-1, 1)).law(1.0, method="eigenfunctions"),
            ValueError,
            r"the drift is a function of x and t, and eigenfunctions are those of a static one; use method='steps', or give it as p\(x\)",
        ),
        (
            lambda: cme.SchrodingerForm(0.0, 1.0, domain=(-1, 1)).spectrum(100, n_cells=50),
            ValueError,
            "a grid of 50 cells has 49 eigenvalues, not k=100; give more n_cells",
        ),
        (lambda: cme.SchrodingerForm(0.0, 1.0, domain=(-1, 1)).law(1.0, method="best"), ValueError, "method must be one of 'auto', 'eig"),
        (lambda: cme.SchrodingerForm(0.0, 1.0, domain=(-1, 1)).law(1.0, n_cells=4), ValueError, "n_cells must be at least 8, not 4"),
        (
            lambda: cme.SchrodingerForm(lambda x: -x, 1.0, domain=(-13, 13)).law(1.0, start=11.0),
            ConvergenceError,
            r"round-off may reach .*, more than tol=1e-06; narrow the domain or loosen tol",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_accuracy_that_is_not_reached_is_refused(monkeypatch):
    monkeypatch.setattr("cme.continuum.imaginary_time.MOST_DOUBLINGS", 3)
    with pytest.raises(
        ConvergenceError, match=r"after 256 steps the law still changes by .*, more than tol=1e-09; loosen tol or ask for later"
    ):
        cme.SchrodingerForm(fast, 1.0, domain=(-5, 5), drift_integral=lambda x, t: -(x**2) / 2 * (1 + 0.5 * np.sin(3000 * t))).law(
            1.0, n_cells=40, tol=1e-9
        )
