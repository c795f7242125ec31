"""What the catalogue says is exact about each model, held against the closed form or the reference: one test for each model.

This file holds the classics of reactions, populations, epidemics and oscillations; genes, enzymes and signals are in
test_shelf_genes.py, rates that change in time in test_shelf_timed.py, and what takes long in tests/verification/test_shelf_slow.py.
"""

import math
import re
from pathlib import Path

import numpy as np
import oracles
import pytest
import verdict
from scipy.optimize import brentq
from scipy.special import comb
from scipy.stats import betabinom, binom, nbinom

import cme
from cme.continuum.vector_field import vector_field


def test_every_model_has_a_test_of_what_is_exact():
    folder = Path(__file__).parent
    files = [*folder.glob("test_shelf_*.py"), folder / "verification" / "test_shelf_slow.py"]
    tested = set(re.findall(r"^def test_(\w+)\(", "\n".join(file.read_text(encoding="utf-8") for file in files), re.MULTILINE))
    assert set(cme.catalogue().name) <= tested


def pmf(law, name, size=None, t=-1):
    """P(name = 0, 1, ..., size-1) at one time."""
    counts = np.bincount(law.states[:, law.species_index(name)], weights=law.p[t])
    return counts if size is None else np.append(counts, np.zeros(max(size - len(counts), 0)))[:size]


def moments(law, name, t=-1):
    s = law.species_index(name)
    return law.mean()[t][s], law.sd()[t][s] ** 2


def mean_time_until(network, reached, **bounds):
    """The mean time from the start until `reached(states)`, from the generator: A^T tau = -1 on the other states."""
    space = cme.StateSpace.reachable(network, bounds=bounds or None)
    generator = cme.Generator.from_network(network, space)
    inside = np.flatnonzero(~reached(space.states))
    matrix = generator.matrix.toarray()[np.ix_(inside, inside)]
    start = int(space.index(np.array(network.initial.states, dtype=np.int64))[0])
    return float(np.linalg.solve(matrix.T, -np.ones(len(inside)))[np.flatnonzero(inside == start)[0]])


def chain_time(up, down, start):
    """A.17: mean time from `start` to 0 of a chain on 0..N with rates up[n], down[n]: sums of positive terms."""
    total = np.zeros(len(up) + 1)
    for n in range(len(up) - 1, 0, -1):
        total[n] = 1 / down[n] + up[n] / down[n] * total[n + 1]
    return float(total[1 : start + 1].sum())


def check_at_rest(network, point):
    """The rate equations stand still at `point`: every velocity is round-off of the terms that it is the sum of."""
    field = vector_field(network, stationary=True)
    point = np.array([point[name] for name in network.species_names], dtype=float)
    assert np.all(np.abs(field.velocity(0.0, point)) <= 1e-12 * field.turnover(point))
    return field, point


# ------------------------------------------------------------------------------------------------------------ reactions


def test_birth_death():  # A.1
    law = cme.fsp(cme.load("birth_death"), [0.7, 3.0], tol=1e-10)
    for t, time in enumerate(law.times):
        np.testing.assert_allclose(pmf(law, "X", 50, t), oracles.immigration_death(50, 10, 1, 0, time), atol=1e-10)


def test_isomerisation():  # A.20
    law = cme.fsp(cme.load("isomerisation").with_initial({"A": 20, "B": 10}), [0.7], tol=1e-10)
    decay = math.exp(-1.5 * 0.7)
    from_a, from_b = binom.pmf(range(31), 20, (1 - decay) / 1.5), binom.pmf(range(31), 10, 1 - (1 - decay) * 0.5 / 1.5)
    np.testing.assert_allclose(pmf(law, "B", 31), np.convolve(from_a, from_b)[:31], atol=1e-10)


def test_dimerisation():  # A.9 (iv), the suite's case 30
    mean, variance = moments(cme.fsp(cme.load("dimerisation"), [50.0], tol=1e-10), "P")
    assert (mean, math.sqrt(variance)) == pytest.approx((28.54229779, 4.78933072), abs=1e-8)


def test_pair_annihilation():  # A.10
    found = moments(cme.stationary(cme.load("pair_annihilation"), tol=1e-10), "A")
    assert found == pytest.approx(oracles.pair_annihilation_moments(10, 0.1), rel=1e-9)


def test_complex_balanced():  # A.11
    law = cme.stationary(cme.load("complex_balanced"))
    np.testing.assert_allclose(law.p[-1], oracles.product_form(law.states, np.array([1, math.sqrt(2), 0.5])), atol=1e-14)
    assert np.all(law.states @ [2, 1, 2] == 20)


def test_nucleation():  # A.9 (ii)
    law = cme.fsp(cme.load("nucleation"), [1.5, 6.0], tol=1e-10)
    rates = [a * (0.013 + 0.05 * (20 - a)) for a in range(1, 21)]
    for t, time in enumerate(law.times):
        np.testing.assert_allclose(pmf(law, "A", 21, t), oracles.pure_death(rates, 20, time), atol=1e-10)


# ---------------------------------------------------------------------------------------------------------- populations


def test_batch_immigration():  # A.7
    network = cme.load("batch_immigration")
    law, q = cme.fsp(network, [4.0], tol=1e-10), math.exp(-0.2 * 4)
    assert moments(law, "X") == pytest.approx((25 * (1 - q), 25 * (1 - q * q) / 0.4 + 5 * (1 - q) ** 2 / 0.4), rel=1e-7)
    assert moments(cme.stationary(network, tol=1e-10), "X") == pytest.approx((25, 75), rel=1e-7)


def test_birth_death_immigration():  # A.16
    network = cme.load("birth_death_immigration")
    grown = math.exp(-0.4 * 2)
    beta = 0.6 * (grown - 1) / (0.6 * grown - 1)
    np.testing.assert_allclose(pmf(cme.fsp(network, [2.0], tol=1e-10), "X", 60), nbinom.pmf(range(60), 2, 1 - beta), atol=1e-10)
    np.testing.assert_allclose(pmf(cme.stationary(network, tol=1e-10), "X", 60), nbinom.pmf(range(60), 2, 0.4), atol=1e-10)


def test_verhulst():  # A.17
    network = cme.load("verhulst")
    n = np.arange(400)
    exact = chain_time(2.0 * n, n * (1 + n / 20), 20)
    assert mean_time_until(network, lambda states: states[:, 0] == 0, X=400) == pytest.approx(exact, rel=1e-9)
    check_at_rest(network, {"X": 19})
    assert cme.rate_equations(network, [np.inf])["X"] == pytest.approx([19])


def test_moran():  # A.19
    network = cme.load("moran")
    fixed = (1 - 1.5**-2) / (1 - 1.5**-20)
    assert pmf(cme.fsp(network, [400.0], tol=1e-10), "A")[[0, 20]] == pytest.approx([1 - fixed, fixed], abs=1e-10)
    neutral = sum((20 - 2) / (20 - j) if j <= 2 else 2 / j for j in range(1, 20))
    decided = mean_time_until(network.with_parameters(r=1), lambda states: states.prod(axis=1) == 0)
    assert decided == pytest.approx(neutral, rel=1e-12)


def test_coalescent():  # A.9 (ii) with k lines as state k - 1
    network = cme.load("coalescent")
    law = cme.fsp(network, [0.1, 1.0], tol=1e-10)
    for t, time in enumerate(law.times):
        np.testing.assert_allclose(pmf(law, "Line", 11, t)[1:], oracles.pure_death(comb(np.arange(2, 11), 2), 9, time), atol=1e-10)
    assert mean_time_until(network, lambda states: states[:, 0] == 1) == pytest.approx(2 * (1 - 1 / 10), rel=1e-12)


# ------------------------------------------------------------------------------------------------------------ epidemics


def test_sis():  # A.17, C3
    n = np.arange(51)
    exact = chain_time(2 * n * (50 - n) / 50, n, 25)
    assert exact == pytest.approx(12221.52, rel=1e-6)
    assert mean_time_until(cme.load("sis"), lambda states: states[:, 1] == 0) == pytest.approx(exact, rel=1e-9)


def test_sir():  # A.18
    network = cme.load("sir")
    law = cme.fsp(network, [5.0, 200.0], tol=1e-9)
    assert law.mean()[0][:2] == pytest.approx([33.13290184, 7.92198811], abs=1e-6)
    np.testing.assert_allclose(pmf(law, "S", 96), sir_final_size(95, 5, 2.0, 100), atol=1e-8)


def sir_final_size(susceptible, infected, beta, size):
    """P(S in the end = 0, ..., susceptible): the next event is an infection with probability beta S / (beta S + size)."""
    reached = np.zeros((susceptible + 1, susceptible + infected + 2))  # the probability to pass through (S, I)
    reached[susceptible, infected] = 1
    for s in range(susceptible, -1, -1):
        for i in range(susceptible + infected - s, 0, -1):
            infection = beta * s / (beta * s + size)
            reached[s, i - 1] += (1 - infection) * reached[s, i]
            reached[s - 1, i + 1] += infection * reached[s, i] if s else 0
    return reached[:, 0]


def test_viral_infection():
    check_at_rest(cme.load("viral_infection"), {"tem": 20, "gen": 200, "struct": 10000})
    assert cme.rate_equations(cme.load("viral_infection"), [np.inf]).mean()[0] == pytest.approx([20, 200, 10000])


# ------------------------------------------------------------------------------------------------------------ switching


def schlogl_rates(name, n):
    return {
        "schlogl": (0.015 * n * (n - 1) + 200, 1e-4 / 6 * n * (n - 1) * (n - 2) + 3.5 * n),
        "schlogl_wkb": (10 * (0.6 + 5.6 * n * (n - 1) / 100), 10 * (6.55 * n / 10 + n * (n - 1) * (n - 2) / 1000)),
    }[name]


def test_schlogl():  # A.12, C4
    law = cme.stationary(cme.load("schlogl"), tol=1e-10)
    exact = oracles.one_step_stationary(*schlogl_rates("schlogl", np.arange(1200.0)))
    np.testing.assert_allclose(pmf(law, "X", 1200), exact, atol=1e-12)
    mean, variance = moments(law, "X")
    assert (mean, math.sqrt(variance)) == pytest.approx((454.861348, 199.878830), abs=1e-6)


def test_schlogl_wkb():  # A.12, A.17, C4
    network = cme.load("schlogl_wkb")
    exact = oracles.one_step_stationary(*schlogl_rates("schlogl_wkb", np.arange(120.0)))
    np.testing.assert_allclose(pmf(cme.stationary(network, tol=1e-10), "X", 120), exact, atol=1e-12)
    assert mean_time_until(network, lambda states: states[:, 0] >= 40, X=60) == pytest.approx(1504.038, rel=1e-6)
    down = mean_time_until(network.with_initial({"X": 40}), lambda states: states[:, 0] <= 1, X=150)
    assert down == pytest.approx(5.126292, rel=1e-6)


def test_foraging_colony():
    law = cme.stationary(cme.load("foraging_colony"))
    np.testing.assert_allclose(pmf(law, "A", 51), betabinom.pmf(range(51), 50, 0.4, 0.4), rtol=1e-9)


def test_potassium_channel():  # A.2: gates open one by one, each with probability n(t)
    alpha, beta = 0.01 * -40 / (math.exp(-4) - 1), 0.125 * math.exp(-50 / 80)
    law = cme.fsp(cme.load("potassium_channel"), [1.5], tol=1e-9)
    gate = alpha / (alpha + beta) * (1 - math.exp(-(alpha + beta) * 1.5))
    states = binom.pmf(range(5), 4, gate)
    for i in range(5):
        np.testing.assert_allclose(pmf(law, f"N{i}", 11), binom.pmf(range(11), 10, states[i]), atol=1e-9)
    assert law.covariance()[0][0, 4] == pytest.approx(-10 * states[0] * states[4], abs=1e-6)


# ---------------------------------------------------------------------------------------------------------- oscillation


def test_brusselator():
    field, point = check_at_rest(cme.load("brusselator"), {"X": 1000, "Y": 2000})
    np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(field.jacobian(0.0, point))), [10 - 5j, 10 + 5j], rtol=1e-9)


def test_oregonator():
    check_at_rest(cme.load("oregonator"), {"X": 500, "Y": 1000, "Z": 2000})


def test_lotka_volterra():
    network = cme.load("lotka_volterra")
    check_at_rest(network, {"Prey": 1000, "Predator": 1000})
    course = cme.rate_equations(network.with_initial({"Prey": 500, "Predator": 1500}), np.linspace(0, 2, 21), rtol=1e-11)
    prey, predator = course["Prey"], course["Predator"]
    conserved = 0.01 * (prey + predator) - 10 * np.log(prey) - 10 * np.log(predator)
    np.testing.assert_allclose(conserved, conserved[0], rtol=1e-8)
    assert np.ptp(prey) > 500


def test_repressilator():
    rate = math.log(2) / 2
    m = brentq(lambda m: rate * m - 0.03 - 29.97 * 1600 / (1600 + (100 * m) ** 2), 1e-3, 100, xtol=1e-15)
    names = {"mLacI": m, "mTetR": m, "mcI": m, "LacI": 100 * m, "TetR": 100 * m, "cI": 100 * m}
    field, point = check_at_rest(cme.load("repressilator"), names)
    assert max(np.linalg.eigvals(field.jacobian(0.0, point)).real) > 0  # and so it oscillates


def test_repressilator_proteins():
    network = cme.load("repressilator_proteins")
    x = brentq(lambda x: x * (1 + 20 * x**6) - 100, 0.1, 10, xtol=1e-15)
    check_at_rest(network, {"A": x, "B": x, "C": x})
    law = cme.fsp(network, [0.1], tol=1e-7)
    turned = cme.fsp(network.with_initial({"A": 0, "B": 21, "C": 0}), [0.1], tol=1e-7)
    for before, after in ("AB", "BC", "CA"):
        size = 60
        np.testing.assert_allclose(pmf(law, before, size), pmf(turned, after, size), atol=1e-7)


def test_vilar_oscillator():
    def repressor(a):
        return 5 * (0.01 + 49.99 * a / (a + 100)) / 0.5 / 0.2

    def surplus(a):  # of activator: made, less what dies bound and what dies free
        return 50 * (50 + 450 * a / (a + 50)) / 10 - 2 * a * repressor(a) - a

    a = brentq(surplus, 1e-3, 1e3, xtol=1e-15)
    r, on_a, on_r = repressor(a), a / (a + 50), a / (a + 100)
    proteins = {"A": a, "R": r, "C": 2 * a * r, "MA": (50 + 450 * on_a) / 10, "MR": 0.2 * r / 5}
    check_at_rest(cme.load("vilar_oscillator"), {**proteins, "DA": 1 - on_a, "DAp": on_a, "DR": 1 - on_r, "DRp": on_r})
    paths = cme.ssa(cme.load("vilar_oscillator"), [1.0, 5.0], n_paths=20, seed=1)
    assert np.all(paths["DA"] + paths["DAp"] == 1)
    assert np.all(paths["DR"] + paths["DRp"] == 1)


def test_cyclic_dominance():  # d<ABC>/dt = k/N <ABC (B-A-1 + C-B-1 + A-C-1)>
    law = cme.fsp(cme.load("cyclic_dominance"), [1.0, 8.0], tol=1e-9)
    product = law.p @ law.states.prod(axis=1)
    np.testing.assert_allclose(product, 1000 * np.exp(-0.1 * law.times), rtol=1e-7)
    np.testing.assert_allclose(law.mean(), 10, rtol=1e-7)


def test_p53():
    k1, k2, k3, k4, k6, k7 = 90, 0.002, 1.7, 1.1, 0.96, 0.01
    a, b = k2 + k3 * k4 / k6, k2 * k7 - k1  # k1 (x + k7) = k2 x (x + k7) + k3 (k4/k6) x^2
    x = (-b + math.sqrt(b * b + 4 * a * k1 * k7)) / (2 * a)
    network = cme.load("p53")
    check_at_rest(network, {"p53": x, "preMdm2": k4 * x / 0.93, "Mdm2": k4 * x / k6})
    paths = cme.ssa(network, np.linspace(0, 3, 301), n_paths=400, seed=2)
    made = np.trapezoid(k4 * paths["p53"] - 0.93 * paths["preMdm2"], paths.times, axis=1)
    verdict.mean_matches(paths["preMdm2"][:, -1] - 30 - made, 0, bias=0.1)
