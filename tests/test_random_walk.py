"""The random walk of the second essay: rows W1-W12 of the theory sheet and its table; exact laws, paths, continuous time."""

import dataclasses
from itertools import pairwise
from math import comb

import numpy as np
import pytest
import sympy
from closed_forms import e1, e2, e3, e4, e6

import cme
from cme.results import Moments

OU = lambda x: -x  # noqa: E731


def gaussian(time, mean, variance):
    return Moments(np.array([time]), ("x",), np.array([[mean]]), np.array([[[variance]]]), {"solver": "limit"})


def metric(table, method, name="total_variation"):
    return float(table[(table.method == method) & (table.metric == name)].value.iloc[0])


def free(n, alpha=2.0, time=1.5):
    """A walk without drift that makes n steps in a time."""
    walk = cme.RandomWalk(0.0, alpha, np.sqrt(alpha * time / n))
    return walk, walk.law(time, tol=0)


# ------------------------------------------------------------------------------------------------ rows W1 to W7


@pytest.mark.parametrize("method", ["binomial", "fft", "transfer"])
def test_W1_coefficients_of_the_generating_function(method):
    """((z + 1/z)/2)^n: C(n, k) / 2^n at x = 2k - n, on the sites of the parity of n alone; k is the number of steps to the right."""
    walk = cme.RandomWalk(0.0, 1.0, 1.0)
    for n in (1, 2, 7, 30):
        law = walk.law(float(n), tol=0, method=method)
        assert law.states[:, 0].tolist() == list(range(-n, n + 1, 2))
        assert law.p[0] == pytest.approx([comb(n, k) / 2**n for k in range(n + 1)], rel=1e-13, abs=1e-15)


def test_W1_the_label_of_the_power_matters_once_the_walk_is_biased():
    """'The coefficient of z^(n - 2k)' is right for p = 0 only because C(n, k) = C(n, n - k)."""
    n, right = 9, 0.8
    law = cme.RandomWalk(0.6, 1.0, 1.0).law(float(n), tol=0)  # P(right) = (1 + 0.6) / 2
    by_rights = [comb(n, k) * right**k * (1 - right) ** (n - k) for k in range(n + 1)]
    assert law.p[0] == pytest.approx(by_rights, rel=1e-13)  # at x = 2k - n
    assert np.abs(law.p[0] - by_rights[::-1]).max() > 0.2


def test_W2_characteristic_function_from_the_law_by_fft():
    walk, law = free(24)
    n = len(law.states)
    w = np.pi * np.arange(n) / (n * walk.ds)  # where the discrete Fourier transform over sites 2 ds apart is taken
    by_fft = np.fft.fft(law.p[0]) * np.exp(-1j * w * law.states[0, 0])
    assert np.abs(by_fft - np.cos(w * walk.ds) ** 24).max() < 1e-14
    assert np.abs(walk.characteristic_function(w, 1.5) - by_fft).max() < 1e-14


def test_W3_the_error_of_the_characteristic_function_is_of_order_dt():
    errors = [abs(free(n)[0].characteristic_function(1.3, 1.5) - np.exp(-(1.3**2) * 2.0 * 1.5 / 2)) for n in (10, 40, 160, 640)]
    assert [f"{error:.2e}" for error in errors] == ["1.74e-02", "4.27e-03", "1.06e-03", "2.65e-04"]
    walk = free(640)[0]
    assert abs((1 - (1.3 * walk.ds) ** 2 / 2) ** 640 - np.exp(-(1.3**2) * 1.5)) < 2 * errors[-1]  # (4)


def test_W4_the_limit_is_gaussian_if_ds2_is_alpha_dt():
    for w in (0.3, 1.0, 2.0):
        errors = [abs(free(n)[0].characteristic_function(w, 1.5) - np.exp(-(w**2) * 2.0 * 1.5 / 2)) for n in (400, 1600)]
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


def test_W5_density_of_the_free_walk():
    largest, variation = [], []
    for n in (10, 40, 160, 640, 2560):
        walk, law = free(n)
        x, density = law.states[:, 0], law.p[0] / (2 * walk.ds)  # every second site: a cell is 2 ds wide
        largest.append(np.abs(density - e1(alpha=2.0).density(x, 1.5)).max())
        cells = e1(alpha=2.0).masses(np.append(x - walk.ds, x[-1] + walk.ds), 1.5)
        variation.append(np.abs(law.p[0] - cells).sum() / 2)
        whole = variation[-1] + (1 - cells.sum()) / 2  # with what the limit has beyond the last cells
        assert metric(cme.compare(law, limit=walk.limit_law(1.5)), "limit") == pytest.approx(whole, rel=1e-8)
        kurtosis = law.p[0] @ x**4 / (law.p[0] @ x**2) ** 2 - 3
        assert kurtosis == pytest.approx(-2 / n, rel=1e-7)
    assert largest == pytest.approx([5.68e-3, 1.44e-3, 3.60e-4, 8.99e-5, 2.25e-5], rel=4e-3)  # half a unit of the last digit
    assert variation == pytest.approx([7.2e-3, 1.93e-3, 4.8e-4, 1.2e-4, 3.0e-5], rel=1e-2)


def test_W5_without_the_factor_two_of_the_parity_the_density_is_wrong():
    walk, law = free(640)
    wrong = law.p[0] / walk.ds - e1(alpha=2.0).density(law.states[:, 0], 1.5)
    assert np.abs(wrong).max() == pytest.approx(1 / np.sqrt(2 * np.pi * 3), rel=1e-3)


SCALINGS = {  # |characteristic function| at w = 1, t = 1 for ds = dt^g, dt = 1e-2 .. 1e-5
    0.4: [0.283, 0.136, 0.043, 0.0067],
    0.5: [0.6065] * 4,
    0.6: [0.819, 0.882, 0.924, 0.951],
}


@pytest.mark.parametrize("g", SCALINGS)
def test_W6_other_scalings_have_no_limit_or_a_trivial_one(g):
    for dt, expected in zip((1e-2, 1e-3, 1e-4, 1e-5), SCALINGS[g], strict=True):
        ds = dt**g
        found = abs(cme.RandomWalk(0.0, ds**2 / dt, ds).characteristic_function(1.0, 1.0))
        assert found == pytest.approx(expected, abs=2e-3 if g == 0.5 else 0.6 * 10 ** (-3 if expected > 0.01 else -4))


def test_W6_a_vanishing_limit_is_mass_that_escapes_and_no_certainty():
    """The reply to a comment says that both limits are deterministic: that is so for g > 1/2 (delta at 0) alone."""
    within = {}
    for g in (0.25, 0.75):
        for dt in (1e-2, 1e-4):
            ds = dt**g
            law = cme.RandomWalk(0.0, ds**2 / dt, ds).law(1.0)
            within[g, dt] = float(law.probability(lambda x: np.abs(x) < 0.5)[0])
    assert within[0.25, 1e-4] < 0.05 < within[0.25, 1e-2]  # spread over a width dt^-1/4 that grows without limit
    assert within[0.75, 1e-4] > 0.999 > within[0.75, 1e-2]  # at the start


def test_W7_alpha_has_the_units_of_action_over_mass():
    """With length in units of L and time in units of T, alpha becomes alpha T / L^2 and p becomes p T / L: nothing else changes."""
    length, duration = 100.0, 60.0
    first = cme.RandomWalk(lambda x, t: np.tanh(x - t), 2.0, 0.1)
    second = cme.RandomWalk(lambda x, t: np.tanh(x * length - t * duration) * duration / length, 2.0 * duration / length**2, 0.1 / length)
    one, other = first.law(1.0), second.law(1.0 / duration)
    assert other.states == pytest.approx(one.states / length)
    assert other.p == pytest.approx(one.p, abs=1e-13)


# ------------------------------------------------------------------------------------------------ rows W8 to W12


def test_W8_probabilities_of_a_step():
    walk = cme.RandomWalk(lambda x, t: 0.5 * x + t, 2.0, 0.5)
    law = walk.law(walk.dt, start=1.0)
    assert law.p[0].tolist() == [(1 - 0.5 * 0.5 / 2) / 2, (1 + 0.5 * 0.5 / 2) / 2]
    second = walk.law(2 * walk.dt, start=1.0)
    at_half, at_one_and_a_half = ((1 + (0.5 * x + walk.dt) * 0.25) / 2 for x in (0.5, 1.5))
    assert second.p[0, -1] == pytest.approx(law.p[0, 1] * at_one_and_a_half, rel=1e-14)
    assert second.p[0, 1] == pytest.approx(law.p[0, 1] * (1 - at_one_and_a_half) + law.p[0, 0] * at_half, rel=1e-14)


def test_W8_the_bound_is_enforced_with_its_place_and_the_way_out():
    with pytest.raises(
        ValueError, match=r"^the drift is 3, so that \|p\| ds = 1\.5 is more than alpha = 1 .* ds must be at most 0\.333333, and is 0\.5$"
    ):
        cme.RandomWalk(3.0, 1.0, 0.5)
    walk = cme.RandomWalk(lambda x: 2 * x, 1.0, 0.5)
    with pytest.raises(ValueError, match=r"the drift is -3 at x = -1\.5, t = 0\.75, so that \|p\| ds = 1\.5 is more .* at most 0\.333333"):
        walk.law(1.0)
    with pytest.raises(ValueError, match=r"the drift is -?3 at x = -?1\.5, t = 0\.75, .* would have a negative probability"):
        walk.sample(2.0, n_paths=50, seed=1)
    with pytest.raises(ValueError, match=r"the drift is -4 at x = -2, t = 0, so that \|p\| ds = 2"):
        walk.generator(-2.0, 2.0)
    assert cme.RandomWalk(2.0, 1.0, 0.5).law(1.0, tol=0).states.tolist() == [[2.0]]  # at the bound all go right


def test_W8_sites_beyond_the_bound_matter_only_if_they_hold_something():
    """p = -x passes the bound at x = 1/ds; what gets there is left out, or the walk is refused."""
    walk = cme.RandomWalk(OU, 1.0, 0.2)
    law = walk.law(1.0, start=0.7)
    assert 0 < law.lost[0] < 1e-12
    with pytest.raises(ValueError, match=r"the drift is -5\.1 at x = 5\.1, t = 0\.88"):
        walk.law(1.0, start=0.7, tol=0)


def test_W9_one_step():
    """cos(w ds) - i (p ds/alpha) sin(w ds), and the next term of its expansion, ds^4 (w^4/24 + i p w^3 / (6 alpha))."""
    w = np.array([0.4, 1.0, 2.7])
    walk = cme.RandomWalk(0.7, 1.3, 0.1)
    law = walk.law(walk.dt)
    assert np.abs(walk.characteristic_function(w, walk.dt) - np.exp(-1j * np.outer(w, law.states[:, 0])) @ law.p[0]).max() < 1e-15
    ds, frequency, p, alpha = sympy.symbols("ds w p alpha", positive=True)
    factor = sympy.cos(frequency * ds) - sympy.I * p * ds / alpha * sympy.sin(frequency * ds)
    dt = ds**2 / alpha
    rest = sympy.series(factor - (1 - frequency**2 * alpha * dt / 2 - sympy.I * frequency * p * dt), ds, 0, 5).removeO()
    assert sympy.expand(rest - ds**4 * (frequency**4 / 24 + sympy.I * p * frequency**3 / (6 * alpha))) == 0


@pytest.mark.parametrize("ds", [0.04, 0.02])
def test_W10_the_equation_in_fourier_space(ds):
    """d/dt F[P] = -(w^2 alpha/2) F[P] - i w F[p P], against the right side as the walk's master equation has it (a finite-volume one)."""
    alpha, x = 1.3, np.arange(-10, 10 + ds / 2, ds)
    density = np.exp(-((x - 0.3) ** 2)) * (1 + 0.5 * np.sin(x))
    rate = cme.RandomWalk(lambda x: np.sin(x) - 0.3 * x, alpha, ds).generator(-10.0, 10.0) @ density
    for w in (0.5, 1.5):
        transform = np.exp(-1j * w * x) * ds
        expected = -(w**2) * alpha / 2 * transform @ density - 1j * w * transform @ ((np.sin(x) - 0.3 * x) * density)
        assert abs(transform @ rate - expected) < 1.5 * w**2 * ds**2


TABLE = {  # columns of the table: drift and limit, and the total variation at ds = 0.2, 0.1, 0.05, 0.025
    "Ornstein-Uhlenbeck": (e3(k=1.0, x0=0.7), ["4.42e-03", "1.06e-03", "2.66e-04", "6.64e-05"]),
    "tanh, c=1": (e4(c=1.0, x0=0.0), ["9.95e-03", "2.40e-03", "5.97e-04", "1.49e-04"]),
    "tanh, c=2": (e4(c=2.0, x0=0.3), ["3.95e-02", "9.13e-03", "2.24e-03", "5.58e-04"]),
    "constant": (e2(c=0.8), ["8.55e-03", "2.08e-03", "5.16e-04", "1.29e-04"]),
    "driven": (e6(a=1.5, w=4.0), ["2.07e-02", "5.01e-03", "1.24e-03", "3.10e-04"]),
}
STEPS = (0.2, 0.1, 0.05, 0.025)


def point_variation(x, p, density, width):
    """The total variation if the limit's mass of a cell is its density in the middle times the width; the rest lies outside."""
    limit = density * width
    return (np.abs(p - limit).sum() + max(1 - limit.sum(), 0.0)) / 2


@pytest.mark.parametrize("column", TABLE)
def test_W11_table_walk_to_limit(column):
    case, expected = TABLE[column]
    found, on_cells = [], []
    for ds in STEPS:
        law = cme.RandomWalk(case.given, 1.0, ds).law(1.0, start=case.x0)
        x, p = law.states[:, 0], law.p[0]
        assert p.sum() + law.lost[0] == pytest.approx(1, abs=1e-13)
        found.append(point_variation(x, p, case.density(x, 1.0), 2 * ds))
        edges = np.append(x - ds, x[-1] + ds)
        limit = case.masses(edges, 1.0)
        on_cells.append((np.abs(p - limit).sum() + 1 - limit.sum()) / 2)
    for value, digits in zip(found, expected, strict=True):
        assert abs(value - float(digits)) < 0.501 * 10.0 ** (int(digits[-3:]) - 2), (value, digits)
    assert all(3.8 < more / less < 4.4 for more, less in pairwise(found))  # order 2 in ds, that is, 1 in dt
    assert all(3.8 < more / less < 4.4 for more, less in pairwise(on_cells))  # integrated over cells, too


def test_W11_compare_measures_the_convergence():
    """The law against its limit on the walk's own cells; the limit's mass of a cell is integrated."""
    found = []
    for ds in STEPS:
        law = cme.RandomWalk(OU, 1.0, ds).law(1.0, start=0.7)
        table = cme.compare(law, limit=gaussian(1.0, 0.7 * np.exp(-1), (1 - np.exp(-2)) / 2))
        found.append(metric(table, "limit"))
        assert metric(table, "limit", "wasserstein_1") < 3 * ds**2 / 4
    assert [f"{value:.3e}" for value in found] == ["5.382e-03", "1.335e-03", "3.352e-04", "8.373e-05"]


def test_W12_without_drift_it_is_the_heat_equation():
    case, h = e1(), 1e-3
    x, t = np.linspace(-3, 3, 13), 0.8
    rate = (case.density(x, t + h) - case.density(x, t - h)) / (2 * h)
    spread = (case.density(x + h, t) - 2 * case.density(x, t) + case.density(x - h, t)) / h**2
    assert np.abs(rate - spread / 2).max() < 1e-6
    laplacian = cme.RandomWalk(0.0, 1.0, 0.1).generator(0.0, 1.0).matrix.toarray() * 0.1**2
    assert laplacian[1:-1] == pytest.approx((np.eye(11, k=1) - 2 * np.eye(11) + np.eye(11, k=-1))[1:-1] / 2)


def test_W11_the_limit_of_a_constant_drift():
    walk = cme.RandomWalk(0.8, 1.3, 0.05)
    limit = walk.limit_law([0.5, 1.0], start=0.3)
    case = e2(c=0.8, alpha=1.3, x0=0.3)
    for t in range(2):
        marginal = limit.marginal("x", t, np.linspace(-5, 6, 50))
        assert marginal.p[1:-1] == pytest.approx(case.masses(np.linspace(-5, 6, 50), limit.times[t])[1:-1], abs=1e-12)
    table = cme.compare(cme.RandomWalk(0.8, 1.0, 0.1).law(1.0), limit=cme.RandomWalk(0.8, 1.0, 0.1).limit_law(1.0))
    assert f"{metric(table, 'limit'):.3e}" == "2.482e-03"


# ------------------------------------------------------------------------------------------------ exact laws


@pytest.mark.parametrize("drift", [0.0, 0.7, -1.3])
def test_methods_for_a_constant_drift_agree(drift):
    walk = cme.RandomWalk(drift, 1.0, 0.1)
    laws = [walk.law([0.01, 1.0, 2.0], tol=0, method=method) for method in ("binomial", "fft", "transfer")]
    for law in laws[1:]:  # the FFT leaves zeros where there is less than its round-off, and these are left out
        held = np.searchsorted(laws[0].states[:, 0], law.states[:, 0] - 1e-9)
        assert law.states == pytest.approx(laws[0].states[held])
        assert np.abs(law.p - laws[0].p[:, held]).max() < 2e-15
        assert np.abs(law.p.sum(axis=1) - 1).max() < law.integration_error[0] + 2e-14
    assert laws[0].mean()[:, 0] == pytest.approx(drift * laws[0].times, abs=1e-13)
    step = 0.01 - drift**2 * 0.01**2  # the variance of a step is alpha dt - p^2 dt^2
    assert laws[0].sd()[:, 0] ** 2 == pytest.approx(step * np.array([1, 100, 200]), rel=1e-11)


def test_times_of_both_parities_keep_their_own_cells():
    law = cme.RandomWalk(0.3, 1.0, 0.5).law([0.0, 0.25, 0.5, 1.25], start=1.0)
    assert law.states[:, 0] == pytest.approx(np.arange(-1.5, 3.6, 0.5))
    for row, n in zip(law.p, (0, 1, 2, 5), strict=True):
        sites = np.round((law.states[row > 0, 0] - 1.0) / 0.5).astype(int)
        assert len(sites) == n + 1
        assert np.all((sites - n) % 2 == 0)
    assert law.widths == 1.0
    for t in range(4):
        marginal = law.marginal("x", t)
        assert marginal.p.sum() == pytest.approx(1)
        middles = (marginal.edges[1:] + marginal.edges[:-1]) / 2
        assert marginal.p @ middles == pytest.approx(law.mean()[t, 0])


def test_a_walk_against_another_on_half_the_step():
    """Both as densities: the coarser one is spread over its cells."""
    coarse, fine = (cme.RandomWalk(OU, 1.0, ds).law(1.0, start=0.5) for ds in (0.1, 0.05))
    assert metric(cme.compare(coarse, fine=fine), "fine") < 2e-3
    assert metric(cme.compare(fine, coarse=coarse), "coarse") < 5e-3


def test_what_is_left_out_is_lost():
    walk = cme.RandomWalk(0.5, 1.0, 0.05)
    for drift in (0.5, lambda x: 0.5):
        whole, part = (dataclasses.replace(walk, drift=drift).law(1.0, tol=tol) for tol in (0, 1e-4))
        assert len(part.states) < 0.3 * len(whole.states)
        assert whole.lost[0] == 0
        assert 0 < part.lost[0] <= 1e-4
        kept = np.searchsorted(whole.states[:, 0], part.states[:, 0] - 1e-9)
        assert np.abs(whole.p[0, kept] - part.p[0]).max() < 1e-5
        assert np.all(whole.p[0, kept] >= part.p[0] - 1e-15)


def test_characteristic_function_of_any_drift_is_that_of_the_law():
    walk = cme.RandomWalk(lambda x, t: np.cos(4 * t), 1.0, 0.1)
    w = np.array([[0.0, 0.5], [1.0, 3.0]])
    product = np.ones_like(w, dtype=complex)
    for n in range(100):
        product *= np.cos(w * 0.1) - 1j * 0.1 * np.cos(4 * n * 0.01) * np.sin(w * 0.1)
    assert np.abs(walk.characteristic_function(w, 1.0, start=0.3) - product * np.exp(-0.3j * w)).max() < 1e-12


def test_ten_thousand_steps():
    law = cme.RandomWalk(OU, 1.0, 0.01).law(1.0, start=0.7)
    assert metric(cme.compare(law, limit=gaussian(1.0, 0.7 * np.exp(-1), (1 - np.exp(-2)) / 2)), "limit") == pytest.approx(
        1.34e-5, rel=0.01
    )


def test_bessel_walk_never_reaches_zero():
    """p = alpha/x: from x = ds all steps go right, and x = 0, where p is infinite, holds nothing."""
    with np.errstate(divide="ignore"):
        walk = cme.RandomWalk(lambda x: 1 / x, 1.0, 0.1)
        law = walk.law(2.0, start=1.0)
        paths = walk.sample(2.0, n_paths=2000, seed=1, start=1.0)
    assert law.states.min() > 0.05
    assert law.p.sum() == pytest.approx(1, abs=1e-12)
    assert paths.counts.min() > 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cme.RandomWalk("fast", 1.0, 0.1), r"^the drift must be a finite number or a function p\(x\) or p\(x, t\), not 'fast'$"),
        (lambda: cme.RandomWalk(np.inf, 1.0, 0.1), r"the drift must be a finite number .* not inf"),
        (lambda: cme.RandomWalk(OU, 1.0, 0.1).law(1.0, start=np.nan), "start must be a finite number, not nan"),
        (lambda: cme.RandomWalk(OU, 1.0, 0.1).sample(1.0, start=np.inf), "start must be a finite number, not inf"),
        (lambda: cme.RandomWalk(0.0, 1.0, 0.1).generator(np.nan, 1.0), "low must be a finite number, not nan"),
        (lambda: cme.RandomWalk(0.5, 1.0, 0.1).limit(time=1.0), "the drift does not depend on time; leave out time"),
        (lambda: cme.RandomWalk(OU, 1.0, 0.1).generator(-1, 1, time=0.0), "the drift does not depend on time; leave out time"),
        (
            lambda: cme.RandomWalk(lambda x: float(x) if x.size > 1 else x, 1.0, 0.1).law(1.0),
            "must take an array of positions, and fails on one",
        ),
        (lambda: cme.RandomWalk(0.0, 0.0, 0.1), r"alpha must be a finite number above 0, not 0\.0"),
        (lambda: cme.RandomWalk(0.0, 1.0, -0.1), r"ds must be a finite number above 0, not -0\.1"),
        (
            lambda: cme.RandomWalk(0.0, 1.0, 0.2).law(0.5),
            r"^the time 0\.5 is no whole number of steps dt = ds\^2 / alpha = 0\.04; nearest are 0\.48 and 0\.52$",
        ),
        (lambda: cme.RandomWalk(0.0, 1.0, 0.1).sample(0.005, seed=1), r"the time 0\.005 is no whole number of steps"),
        (
            lambda: cme.RandomWalk(OU, 1.0, 0.1).law(1.0, method="fft"),
            r"method='fft' needs a constant drift, and the drift is a function; use",
        ),
        (lambda: cme.RandomWalk(OU, 1.0, 0.1).law(1.0, method="best"), r"method must be one of 'auto', 'binomial', 'fft', 'transfer', not"),
        (lambda: cme.RandomWalk(OU, 1.0, 0.1).law(1.0, tol=1.0), r"tol must be at least 0 and below 1, not 1\.0"),
        (
            lambda: cme.RandomWalk(lambda x: [1, 2], 1.0, 0.1).law(1.0),
            r"must give one value for each x, shape \(1,\), and gives shape \(2,\)",
        ),
        (
            lambda: cme.RandomWalk(lambda x, t: 0 * x + (np.nan if t > 0.505 else 0), 1.0, 0.1).law(1.0),
            r"the drift is nan at x = .*, t = 0\.51, where the walk gets to; it must be a finite number",
        ),
        (lambda: cme.RandomWalk(lambda x, t: 0 * x + np.nan, 1.0, 0.1).sample(1.0, seed=1), r"the drift is nan at x = 0, t = 0, where"),
        (
            lambda: cme.RandomWalk(OU, 1.0, 0.5).limit_law(1.0),
            r"the limit has a closed form for a constant drift only; solve \(12\) with fokker_planck\(walk\.limit\(\), times, initial=",
        ),
        (lambda: cme.RandomWalk(0.0, 1.0, 0.5).generator(0.0, 0.4), r"from 0 to 0\.4 there are no two sites at a distance of ds = 0\.5"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------------ continuous time


def test_jump_moments_of_the_walk_in_continuous_time():
    """a_1 = p and a_2 = alpha exactly for every ds; a_3 = p ds^2, a_4 = alpha ds^2."""
    walk = cme.RandomWalk(lambda x: np.sin(x), 1.7, 0.25)
    generator = walk.generator(-2.0, 2.0)
    x = generator.states[1:-1, 0]
    moments = [generator.jump_moments(k).reshape(len(generator))[1:-1] for k in (1, 2, 3, 4)]
    assert moments[0] == pytest.approx(np.sin(x), abs=1e-13)
    assert moments[1] == pytest.approx(np.full_like(x, 1.7))
    assert moments[2] == pytest.approx(np.sin(x) * 0.25**2, abs=1e-13)
    assert moments[3] == pytest.approx(np.full_like(x, 1.7 * 0.25**2))


def test_what_jumps_over_the_ends_leaks():
    generator = cme.RandomWalk(0.4, 1.0, 0.5).generator(-1.0, 1.1)
    assert generator.states[:, 0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert generator.leak == pytest.approx([2.0 - 0.4, 0, 0, 0, 2.0 + 0.4])
    assert generator.matrix.sum(axis=0) == pytest.approx(-generator.leak)


def test_p_equal_alpha_equal_a_is_the_poisson_jump():
    network = cme.parse("0 -> x @ 2.5")
    counted = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"x": 12}))
    walked = cme.RandomWalk(2.5, 2.5, 1.0).generator(0.0, 12.0)
    assert np.array_equal(walked.states, counted.states)
    assert np.array_equal(walked.matrix.toarray(), counted.matrix.toarray())
    assert np.array_equal(walked.leak, counted.leak)


def test_in_continuous_time_there_is_no_parity_and_the_same_limit():
    found = []
    for ds in (0.2, 0.1):
        law = cme.fsp(cme.RandomWalk(OU, 1.0, ds).generator(-4.9, 4.9), 1.0, tol=1e-6, initial=0.7)
        law = dataclasses.replace(law, cells=np.array([ds]))
        assert np.all(law.p[0, 10:-10] > 0)
        assert law.mean()[0, 0] == pytest.approx(0.7 * np.exp(-1), abs=1e-6)  # mean and variance are exact for every ds
        assert law.sd()[0, 0] ** 2 == pytest.approx((1 - np.exp(-2)) / 2, abs=1e-6)
        found.append(metric(cme.compare(law, limit=gaussian(1.0, 0.7 * np.exp(-1), (1 - np.exp(-2)) / 2)), "limit"))
    assert found[0] / found[1] == pytest.approx(4, rel=0.05)


def test_a_drift_in_time_gives_a_time_dependent_generator():
    generator = cme.RandomWalk(lambda x, t: 1.5 * np.cos(4 * t), 1.0, 0.2).generator(-6.0, 6.0)
    assert isinstance(generator, cme.TimeDependentGenerator)
    law = cme.fsp(generator, 1.0, tol=1e-6, initial=0.0)
    assert law.mean()[0, 0] == pytest.approx(1.5 / 4 * np.sin(4), abs=1e-5)
