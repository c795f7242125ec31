"""Diffusions given by functions: E1-E9 and rows M17 and M18 of THEORY, B.2, B.5, B.7, B.8 and E12, two dimensions, and every refusal."""

from itertools import pairwise

import numpy as np
import pytest
from closed_forms import CASES
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.stats import lognorm, multivariate_normal, ncx2, norm
from verdict import mean_matches, variance_matches

import cme


def diffusion_of(case, name, **options):
    """The drift of a closed form without its time, where it has none."""
    drift = (lambda x, t: case.drift(x, t)) if name == "E6" else (lambda x: case.drift(x, 0.0))
    return cme.Diffusion(drift, case.alpha, domain={"x": case.domain}, **options)


def ornstein_uhlenbeck(k=1.0, alpha=1.0):
    return cme.Diffusion(lambda x: -k * x, alpha)


def edges_of(density, low=-np.inf, high=np.inf):
    """The edges of the (equal) cells of a density on a line."""
    x, half = density.states[:, 0], density.widths[0] / 2
    return np.clip(np.append(x - half, x[-1] + half), low, high)


def error_of(density, masses, t=0):
    return 0.5 * np.abs(density.p[t] - masses).sum()


# ------------------------------------------------------------------------------------------------- closed forms of (12)


@pytest.mark.parametrize("name", CASES)
def test_E1_to_E9_the_error_falls_with_the_square_of_the_spacing(name):
    case = CASES[name]
    # Start, wall and the jump of the drift then lie on nodes (for E5 the start on an edge: no node may be on the wall).
    box = (case.x0 - 8, case.x0 + 8) if np.isinf(case.domain[0]) else (0.0, 8.0)
    errors = []
    for cells in (128, 256, 512) if name != "E6" else (64, 128, 256):
        density = cme.fokker_planck(diffusion_of(case, name), [1.0], initial=case.x0, cells=cells, domain={"x": box})
        errors.append(error_of(density, case.masses(edges_of(density, *box), 1.0)))
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(2.0, abs=0.15)
    assert errors[-1] < 6e-4


@pytest.mark.parametrize("name", [name for name in CASES if name != "E6"])
def test_E1_to_E9_on_a_grid_found_by_itself(name):
    case = CASES[name]
    density = cme.fokker_planck(diffusion_of(case, name), [0.25, 1.0], initial=case.x0)
    assert density.info["grid_error"] <= 1e-4
    assert density.info["edge_mass"] < 1e-8
    assert density.p.sum(axis=1) == pytest.approx(1.0, abs=1e-10)
    for t, time in enumerate(density.times):
        assert error_of(density, case.masses(edges_of(density, *case.domain), time), t) < density.info["grid_error"]


def test_E6_a_drift_that_changes_in_time_on_a_grid_found_by_itself():
    case = CASES["E6"]
    density = cme.fokker_planck(diffusion_of(case, "E6"), [0.3, 1.0], initial=case.x0, tol=2e-3)
    assert density.info["method"] == "commutator-free Magnus, order 4"
    for t, time in enumerate(density.times):
        assert error_of(density, case.masses(edges_of(density), time), t) < density.info["grid_error"] <= 2e-3
    assert density.mean().ravel() == pytest.approx(case.x0 + 1.5 / 4 * np.sin(4 * density.times), abs=1e-4)


def test_E7_and_E8_at_rest():
    rest = cme.fokker_planck(diffusion_of(CASES["E7"], "E7"), np.inf)
    cdf = (1 + np.tanh(edges_of(rest))) / 2
    assert error_of(rest, np.diff(cdf)) < rest.info["grid_error"] <= 1e-4
    friction = cme.fokker_planck(diffusion_of(CASES["E8"], "E8"), np.inf)
    edges = edges_of(friction)
    cdf = np.where(edges < 0, np.exp(-2 * np.abs(edges)) / 2, 1 - np.exp(-2 * np.abs(edges)) / 2)
    assert error_of(friction, np.diff(cdf)) < 1e-4


@pytest.mark.parametrize("kink", [0.0, 1e-4, 0.013, 0.03])
def test_E8_a_jump_of_the_drift_may_lie_anywhere_between_nodes(kink):
    """At rest exp(-2 |x - kink|) at the nodes, to rounding."""
    generator = cme.Diffusion(lambda x: -np.sign(x - kink), 1.0).generator(np.linspace(-6, 6, 201))
    x, p = generator.states[:, 0], cme.stationary(generator).p[0]
    weights = np.exp(-2 * np.abs(x - kink))
    assert p == pytest.approx(weights / weights.sum(), rel=1e-9)


# --------------------------------------------------------------------------------------------- a master equation (M17)

GENERATORS = {
    "well": lambda: cme.Diffusion(lambda x: x - x**3, 0.2).generator(np.linspace(-2, 2, 61)),
    "uneven cells": lambda: cme.Diffusion(lambda x: -x, lambda x: 1 + x**2).generator(np.sinh(np.linspace(-2, 2, 40))),
    "steep": lambda: cme.Diffusion(lambda x: -100 * x, 0.01).generator(np.linspace(-1, 1, 21)),
    "no noise": lambda: cme.Diffusion(lambda x: 1 + 0 * x, 0.0).generator(np.linspace(0, 1, 21)),
    "plane": lambda: cme.Diffusion(lambda x: -x, [1.0, 2.0], ("x", "y")).generator((np.linspace(-3, 3, 12), np.linspace(-4, 4, 9))),
    "correlated": lambda: cme.Diffusion(lambda x: -x, [[1, -1], [-1, 4]], ("x", "y")).generator(
        (np.linspace(-3, 3, 13), np.linspace(-6, 6, 13))
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_M17_the_operator_is_a_master_equation(name):
    """(8) columns sum to zero, rates are not negative, (7) the propagator conserves probability, (11) gain minus loss is A p."""
    generator = GENERATORS[name]()
    matrix = generator.matrix
    assert np.abs(matrix.sum(axis=0)).max() <= 1e-12 * generator.largest_rate
    assert generator.rates.data.min() >= 0
    u = cme.propagator(generator, 0.3)
    assert u.min() >= 0
    assert u.sum(axis=0) == pytest.approx(1.0, abs=1e-12)
    p = np.random.default_rng(1).dirichlet(np.ones(len(generator)))
    assert generator.gain_loss(p) == pytest.approx(generator @ p, abs=1e-12 * generator.largest_rate)


def test_M17_with_time_in_it_the_propagators_still_chain():
    generator = cme.Diffusion(lambda x, t: np.cos(3 * t) - x, lambda x, t: 1 + 0.5 * np.sin(t)).generator(np.linspace(-3, 3, 21))
    assert isinstance(generator, type(cme.Generator.from_rates(lambda t: np.ones((2, 2)))))
    first, second, both = (cme.propagator(generator, t, s, tol=1e-6) for t, s in ((0.4, 0.0), (1.0, 0.4), (1.0, 0.0)))
    assert second @ first == pytest.approx(both, abs=2e-6)


def test_E12_the_law_at_rest_is_exact_on_any_grid():
    for cells in (10, 20, 41):
        generator = ornstein_uhlenbeck().generator(np.linspace(-3, 3, cells + 1))
        x, p = generator.states[:, 0], cme.stationary(generator).p[0]
        weights = np.exp(-(x**2))
        assert p == pytest.approx(weights / weights.sum(), rel=1e-13)
        assert generator.detailed_balance_defect(p) < 1e-13


def test_E12_the_transient_is_of_second_order():
    """E12 gives 8.3e-2, 2.0e-2, 4.9e-3, 1.2e-3 at M = 10, 20, 40, 80 (start, time and domain are not named there)."""
    errors = []
    for cells in (10, 20, 40, 80):
        edges = np.linspace(-4, 4, cells + 1)
        generator = ornstein_uhlenbeck().generator(edges)
        x, h = generator.states[:, 0], edges[1] - edges[0]
        start = np.maximum(1 - np.abs(x - 1.0) / h, 0.0)
        density = cme.fsp(generator, [1.0], initial=start)
        truth = np.diff(norm(np.exp(-1.0), np.sqrt((1 - np.exp(-2.0)) / 2)).cdf(edges))
        errors.append(error_of(density, truth))
    assert np.all(np.array(errors) < [8.3e-2, 2.0e-2, 4.9e-3, 1.2e-3])
    assert np.log2(np.array(errors[1:-1]) / errors[2:]) == pytest.approx(2.0, abs=0.2)


KRAMERS = {0.05: 2.77614914e-3, 0.1: 3.35453271e-2, 0.2: 1.34778029e-1, 0.3: 2.38022449e-1}


@pytest.mark.parametrize("d", KRAMERS)
def test_B8_kramers_slowest_rate(d):
    generator = cme.Diffusion(lambda x: x - x**3, 2 * d).generator(np.linspace(-2.5, 2.5, 1501))
    pi = cme.stationary(generator).p[0]
    assert -generator.spectrum(3, pi=pi)[1] == pytest.approx(KRAMERS[d], rel=2e-5)


@pytest.mark.parametrize(("d", "passage"), [(0.05, 729.671526), (0.1, 66.269249), (0.3, 11.503355)])
def test_B8_mean_passage_time_from_well_to_well(d, passage):
    """T(-1 -> 1) by taking out the cells from 1 on; the first of them has its centre there."""
    h = 4e-3
    generator = cme.Diffusion(lambda x: x - x**3, 2 * d).generator(np.arange(-2.502, 1.2, h))
    x = generator.states[:, 0]
    inside = np.flatnonzero(x < 1 - h / 2)
    matrix = generator.matrix.toarray()[np.ix_(inside, inside)]
    times = np.linalg.solve(matrix.T, -np.ones(len(inside)))
    assert np.interp(-1.0, x[inside], times) == pytest.approx(passage, rel=1e-4)


def test_a_walk_and_its_limit_are_master_equations_alike():
    """Without drift the two have the same rates; W11: laws of walks tend to that of the limit."""
    walk = cme.RandomWalk(0.0, 1.0, 0.25)
    of_walk, of_limit = walk.generator(-1.0, 1.0), walk.limit().generator(np.arange(-1.125, 1.2, 0.25))
    assert of_walk.rates.toarray() == pytest.approx(of_limit.rates.toarray())
    well = cme.RandomWalk(lambda x: -x, 1.0, 0.1)
    assert well.limit().static
    assert not cme.RandomWalk(lambda x, t: -x, 1.0, 0.1).limit().static
    assert cme.RandomWalk(lambda x, t: -x, 1.0, 0.1).limit(time=0.0).static
    density = cme.fokker_planck(well.limit(), [1.0], initial=0.7, tol=1e-5)
    table = cme.compare(well.law([1.0], start=0.7), limit=density)
    row = table[(table.method == "limit") & (table.metric == "total_variation")].iloc[0]
    assert row.lo - 1e-6 < 1.335e-3 < row.hi + 1e-6  # from the Gaussian itself


# --------------------------------------------------------------------------------------------- noise that is not constant


def test_B5_geometric_brownian_motion():
    m, s = 0.3, 0.4
    process = cme.Diffusion(lambda x: m * x, lambda x: (s * x) ** 2, domain={"x": (0, np.inf)})
    density = cme.fokker_planck(process, [0.5, 1.0], initial=1.0)
    for t, time in enumerate(density.times):
        law = lognorm(s * np.sqrt(time), scale=np.exp((m - s**2 / 2) * time))
        assert error_of(density, np.diff(law.cdf(edges_of(density, 0))), t) < density.info["grid_error"] <= 1e-4
    assert density.mean().ravel() == pytest.approx(np.exp(m * density.times), rel=2e-5)  # Ito; exp((m + s^2/2) t) would be Stratonovich


def test_B2_cox_ingersoll_ross_whose_noise_vanishes_at_the_wall():
    kappa, theta, s = 1.0, 0.5, 0.8
    process = cme.Diffusion(lambda x: kappa * (theta - x), lambda x: s**2 * x, domain={"x": (0, np.inf)})
    density = cme.fokker_planck(process, [0.6], initial=1.0, tol=1e-3)
    c = 2 * kappa / (s**2 * (1 - np.exp(-kappa * 0.6)))
    cdf = ncx2(4 * kappa * theta / s**2, 2 * c * np.exp(-kappa * 0.6)).cdf(2 * c * edges_of(density, 0))
    assert error_of(density, np.diff(cdf)) < density.info["grid_error"]


def test_B4_absorption_where_drift_and_noise_vanish():
    """The branching diffusion, r = 1, s^2 = 3, from 5: extinct by t = 1 with probability exp(-2 r n0 e^rt / (s^2 (e^rt - 1)))."""
    process = cme.Diffusion(lambda x: x, lambda x: 3 * x, domain={"x": (0, np.inf)})
    density = cme.fokker_planck(process, [1.0], initial=5.0, tol=1e-3)
    assert density.p[0, density.states[:, 0] == 0] == pytest.approx(np.exp(-10 * np.e / (3 * (np.e - 1))), abs=1e-3)
    assert density.mean()[0, 0] == pytest.approx(5 * np.e, rel=1e-6)


def test_B7_the_density_without_flux():
    """P ~ (1/B) exp(integral of 2A/B)."""
    drift, noise = lambda x: np.sin(x) - x, lambda x: 0.5 + 0.3 * np.cos(2 * x)
    density = cme.fokker_planck(cme.Diffusion(drift, noise), np.inf, tol=1e-5)
    edges = edges_of(density)
    x = (edges[1:] + edges[:-1]) / 2
    steepness = np.concatenate([[0.0], [quad(lambda z: 2 * drift(z) / noise(z), a, b)[0] for a, b in pairwise(x)]])
    weights = np.exp(np.cumsum(steepness) - np.cumsum(steepness).max()) / noise(x)
    assert density.p[0] == pytest.approx(weights / weights.sum(), abs=1e-12)


def test_any_unit_of_length_and_place():
    for unit, place in ((1e-6, 0.0), (1e6, 0.0), (1.0, 1e4)):
        process = cme.Diffusion(lambda x, u=unit, c=place: -(x - c), unit**2)
        density = cme.fokker_planck(process, [1.0], initial=place + unit)
        assert density.sd()[0, 0] == pytest.approx(unit * np.sqrt((1 - np.exp(-2)) / 2), rel=1e-4)
        assert (density.mean()[0, 0] - place) / unit == pytest.approx(np.exp(-1), abs=1e-3)


def test_between_two_walls():
    process = cme.Diffusion(0.0, 1.0, domain={"x": (0, 2)})
    density = cme.fokker_planck(process, [0.2, 5.0], initial=0.5)
    k = np.arange(1, 60)
    for t, time in enumerate(density.times):
        cosines = np.cos(k * np.pi * 0.25) * np.exp(-((k * np.pi / 2) ** 2) * time / 2)
        cdf = [x / 2 + (cosines * np.sin(k * np.pi * x / 2) / k).sum() * 2 / np.pi for x in edges_of(density, 0, 2)]
        assert error_of(density, np.diff(cdf), t) < density.info["grid_error"] <= 1e-4


# ------------------------------------------------------------------------------------------------------ two dimensions

K = np.array([[1.0, 0.3], [-0.5, 0.7]])
NOISES = {"equal": 0.5, "different": [1.0, 2.0], "positive": [[1, 0.6], [0.6, 1]], "negative": [[1, -2], [-2, 9]]}


@pytest.mark.parametrize("name", NOISES)
def test_linear_drift_in_the_plane_against_its_gaussian(name):
    noise = NOISES[name]
    process = cme.Diffusion(lambda x: -x @ K.T, noise, names=("x", "y"))
    density = cme.fokker_planck(process, [0.5, 2.0], initial=(1.0, -0.5))
    b = np.eye(2) * noise if np.ndim(noise) < 2 else np.array(noise, dtype=float)
    rest = solve_continuous_lyapunov(-K, -b)
    assert density.info["grid_error"] <= 1e-2
    for t, time in enumerate(density.times):
        u = expm(-K * time)
        mean, covariance = u @ [1.0, -0.5], rest - u @ rest @ u.T
        assert density.mean()[t] == pytest.approx(mean, abs=2e-3)
        assert density.covariance()[t] == pytest.approx(covariance, abs=2e-3 * np.abs(covariance).max())
        truth = multivariate_normal(mean, covariance).pdf(density.states) * np.prod(density.widths)
        assert error_of(density, truth, t) < 5e-3
    if np.ndim(noise) == 2:  # the central flux keeps linear means and covariances
        assert density.covariance()[0] == pytest.approx(rest - expm(-K / 2) @ rest @ expm(-K.T / 2), abs=1e-6)


def test_correlated_noise_at_a_wall_flows_along_it():
    """Drift -B x has exp(-x^2 - y^2) at rest, without any flux, also on the half-plane x > 0."""
    b = np.array([[1, 0.5], [0.5, 1.0]])
    process = cme.Diffusion(lambda x: -x @ b, b, names=("x", "y"), domain={"x": (0, np.inf)})
    errors = []
    for cells in (48, 96):
        density = cme.fokker_planck(process, np.inf, cells=cells, domain={"x": (0, 5), "y": (-5, 5)})
        weights = np.exp(-(density.states**2).sum(axis=1)) * np.where(density.states[:, 0] == 0, 0.5, 1.0)
        errors.append(error_of(density, weights / weights.sum()))
    assert errors[1] < 1.5e-3
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)
    paths = cme.langevin(process, [6.0], initial=(1.0, 0.0), n_paths=2000, seed=1, dt=0.005)
    mean_matches(paths["x"][:, 0], 1 / np.sqrt(np.pi), bias=0.01)
    mean_matches(paths["y"][:, 0], 0.0, bias=0.01)


def moments(density):
    return density.mean(), density.covariance()


@pytest.mark.parametrize("noise", [1.0, [[1.0, 0.3], [0.3, 1.0]]], ids=["equal", "correlated"])
def test_time_in_a_drift_in_the_plane(noise):
    """u' = -u + sin 3t, v' = -v + u / 2: the mean is that of the equations, the covariance that of the linear ones without time."""
    a = np.array([[-1.0, 0.0], [0.5, -1.0]])
    process = cme.Diffusion(lambda x, t: x @ a.T + np.array([np.sin(3 * t), 0.0]), noise, names=("u", "v"))
    box = {"u": (-4, 4.5), "v": (-4, 4)}
    density = cme.fokker_planck(process, [1.0], initial=(0.0, 0.0), cells=24, domain=box)
    mean = solve_ivp(lambda t, m: a @ m + [np.sin(3 * t), 0.0], (0, 1), [0.0, 0.0], rtol=1e-10, atol=1e-12).y[:, -1]
    rest, u = solve_continuous_lyapunov(a, -(np.eye(2) * noise if np.ndim(noise) == 0 else np.array(noise))), expm(a)
    found = [each[0] for each in moments(density)]  # the central flux keeps those of linear drifts, the fitted one to second order
    if np.ndim(noise) == 0:
        found = [(4 * fine - coarse[0]) / 3 for fine, coarse in zip(found, moments(density.coarse), strict=True)]
    assert found[0] == pytest.approx(mean, abs=5e-3)
    assert found[1] == pytest.approx(rest - u @ rest @ u.T, abs=0.03)
    if np.ndim(noise) == 0:
        found = cme.fokker_planck(process, [1.0], initial=(0.0, 0.0), cells=16)
        assert found.info["edge_mass"] < 1e-6
        assert found.mean()[0] == pytest.approx(mean, abs=0.05)


def test_a_potential_in_the_plane_is_exact_at_rest():
    process = cme.Diffusion(lambda x: -(x**3) + x[:, ::-1] / 2, 0.5, names=("u", "v"))
    generator = process.generator((np.linspace(-2.5, 2.5, 31), np.linspace(-2.5, 2.5, 26)))
    u, v = generator.states.T
    weights = np.exp(-4 * (u**4 / 4 + v**4 / 4 - u * v / 2))
    assert cme.stationary(generator).p[0] == pytest.approx(weights / weights.sum(), rel=1e-8)


def test_noise_in_one_coordinate_only_is_solved_to_first_order():
    """A damped oscillator driven by noise in its velocity."""
    process = cme.Diffusion(lambda x: np.stack([x[:, 1], -x[:, 0] - x[:, 1]], axis=1), [0.0, 2.0], names=("q", "v"))
    a, b = np.array([[0.0, 1.0], [-1.0, -1.0]]), np.diag([0.0, 2.0])
    rest, u = solve_continuous_lyapunov(a, -b), expm(a)
    errors = []
    for cells in (64, 128):
        density = cme.fokker_planck(process, [1.0], initial=(0.5, 0.5), cells=cells, domain={"q": (-4, 4), "v": (-6, 6)})
        errors.append(np.abs(density.covariance()[0] - (rest - u @ rest @ u.T)).max())
    assert errors[1] < 0.1
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.15)


# --------------------------------------------------------------------------------------------------- the other solvers


def test_langevin_follows_the_closed_forms():
    for name in ("E3", "E6", "E7", "E8", "E9"):
        case = CASES[name]
        paths = cme.langevin(diffusion_of(case, name), [1.0], initial=case.x0, n_paths=4000, seed=2)
        edges = np.clip(np.linspace(-8, 10, 20001), *case.domain)
        x, p = (edges[1:] + edges[:-1]) / 2, case.masses(edges, 1.0)
        mean = p @ x
        cost = abs(paths.first(1000).mean() - paths.coarse.mean())[0, 0]
        mean_matches(paths["x"][:, 0], mean, bias=cost + 0.01)
        variance_matches(paths["x"][:, 0], p @ (x - mean) ** 2, bias=0.02)
        assert paths["x"].min() >= case.domain[0]


def test_langevin_in_the_plane_and_paths_that_are_functions_of_seed_and_number():
    process = cme.Diffusion(lambda x: -x @ K.T, NOISES["negative"], names=("x", "y"))
    start = {(1.0, 0.0): 0.5, (0.0, 2.0): 0.5}
    paths = cme.langevin(process, [0.3, 1.0], initial=start, n_paths=4000, seed=7)
    u, b = expm(-K), np.array(NOISES["negative"], dtype=float)
    rest = solve_continuous_lyapunov(-K, -b)
    spread = u @ np.array([[0.25, -0.5], [-0.5, 1.0]]) @ u.T + rest - u @ rest @ u.T
    for s in (0, 1):
        mean_matches(paths.counts[:, 1, s], (u @ [0.5, 1.0])[s], bias=0.02)
        variance_matches(paths.counts[:, 1, s], spread[s, s], bias=0.03 * spread[s, s])
    assert np.cov(paths.counts[:, 1].T)[0, 1] == pytest.approx(spread[0, 1], abs=0.2)
    few = cme.langevin(process, [0.3, 1.0], initial=start, n_paths=9, seed=7)
    assert np.array_equal(few.counts, paths.counts[:9])
    assert np.array_equal(few.coarse.counts, paths.coarse.counts[:9])
    assert paths.info["dt_from"] == "the fastest relaxation"


def test_lna_and_rate_equations_against_closed_forms():
    times = np.array([0.5, 2.0])
    gauss = cme.lna(ornstein_uhlenbeck(2.0, 3.0), times, initial=1.5)
    assert gauss["x"] == pytest.approx(1.5 * np.exp(-2 * times), abs=1e-8)
    assert gauss.covariance.ravel() == pytest.approx(0.75 * (1 - np.exp(-4 * times)), abs=1e-8)
    driven = cme.lna(diffusion_of(CASES["E6"], "E6"), times, initial=0.0)
    assert driven["x"] == pytest.approx(1.5 / 4 * np.sin(4 * times), abs=1e-8)
    assert driven.covariance.ravel() == pytest.approx(times, abs=1e-8)
    m, s = 0.3, 0.4
    growth = cme.lna(cme.Diffusion(lambda x: m * x, lambda x: (s * x) ** 2), times, initial=1.0)
    assert growth.covariance.ravel() == pytest.approx(s**2 * times * np.exp(2 * m * times), rel=1e-7)  # to leading order in s
    plane = cme.Diffusion(lambda x: -x @ K.T, NOISES["positive"], names=("x", "y"), jacobian=lambda x: -K)
    rest = cme.lna(plane, np.inf, initial={"x": 1.0, "y": 0.0})
    assert rest.covariance[0] == pytest.approx(solve_continuous_lyapunov(-K, -np.array(NOISES["positive"])), abs=1e-10)
    logistic = cme.Diffusion(lambda x: x * (1 - x), 0.01)
    assert cme.rate_equations(logistic, times, initial=0.1)["x"] == pytest.approx(1 / (1 + 9 * np.exp(-times)), abs=1e-8)
    assert cme.rate_equations(logistic, np.inf, initial=0.1)["x"] == pytest.approx([1.0], abs=1e-9)


def test_all_results_compare():
    process = ornstein_uhlenbeck()
    exact = cme.fokker_planck(process, [0.5, 2.0], initial=1.0)
    gauss, paths = cme.lna(process, [0.5, 2.0], initial=1.0), cme.langevin(process, [0.5, 2.0], initial=1.0, n_paths=500, seed=1)
    table = cme.compare(exact, LNA=gauss, CLE=paths)
    rows = table[table.metric == "total_variation"]
    assert rows[rows.method == "LNA"].value.max() < 1e-4
    assert np.all(rows.lo == 0)
    again = cme.fokker_planck(process, [1.5], initial=exact)
    assert again.sd()[0, 0] ** 2 == pytest.approx((1 - np.exp(-7)) / 2, rel=1e-3)
