"""Row W21 of the theory sheet and the Feynman-Kac row of its table: phi of (19) by three kinds of random walks and by the sum over all."""

import os
import subprocess
import sys

import numpy as np
import pytest
import twins
from closed_forms import e3, e4, e5, e6, e7

import cme
from cme.arguments import check_seed
from cme.errors import ConvergenceError, ModelError
from cme.kernels.random import BRANCHING_WALK, WEIGHTED_WALK

OU = cme.SchrodingerForm(lambda x: -x, 1.0)
LARGEST_Z = 5.0


def z_scores(found, oracle, t=-1, least=1e-4):
    """How far phi is from that of the oracle, in standard errors, on the sites of some probability."""
    sites = {round(float(x), 9): n for n, x in enumerate(oracle.x)}
    scores = []
    for n, x in enumerate(found.x):
        if found.phi_error[t, n] > 0 and found.p[t, n] > least:
            scores.append((found.phi[t, n] - oracle.phi[t, sites[round(float(x), 9)]]) / found.phi_error[t, n])
    return np.array(scores)


def variation(found, case, t=-1):
    limit = case.density(found.x, found.times[t]) * found.width
    return (np.abs(found.p[t] - limit).sum() + max(1 - limit.sum(), 0.0)) / 2


# ----------------------------------------------------------------------------------------------- the table and W21


def test_W21_table_feynman_kac_row():
    """Trapezoid weights, ds = 0.2, 0.1, 0.05, 0.025: the distance from the limit falls as ds^2, the integral of P is not 1."""
    found = [cme.feynman_kac(OU, 1.0, ds=ds, start=0.7, method="sum") for ds in (0.2, 0.1, 0.05, 0.025)]
    assert [f"{variation(each, e3(x0=0.7)):.2e}" for each in found] == ["4.96e-03", "1.19e-03", "3.00e-04", "7.51e-05"]
    assert [f"{each.mass[0]:.5f}" for each in found] == ["0.99784", "0.99946", "0.99987", "0.99997"]
    walk = cme.RandomWalk(lambda x: -x, 1.0, 0.2).law(1.0, start=0.7)
    assert walk.p.sum() == pytest.approx(1, abs=1e-12)  # while the biased walk conserves it


TIMES = [0.5, 1.0]


@pytest.fixture(scope="module")
def three():
    return {m: cme.feynman_kac(OU, TIMES, ds=0.1, start=0.7, method=m, n_paths=100_000, seed=1) for m in ("biased", "weights", "branching")}


@pytest.fixture(scope="module")
def oracle():
    return cme.feynman_kac(OU, TIMES, ds=0.1, start=0.7, method="sum")


@pytest.mark.parametrize("method", ["weights", "branching"])
def test_W21_weights_and_branching_have_the_mean_of_the_sum(three, oracle, method):
    for t in range(2):
        scores = z_scores(three[method], oracle, t)
        assert len(scores) > 15
        assert np.abs(scores).max() < LARGEST_Z
        assert np.sqrt(np.mean(scores**2)) < 2
        for name in ("mass", "relative_mass"):
            off = getattr(three[method], name)[t] - getattr(oracle, name)[t]
            assert abs(off) < LARGEST_Z * getattr(three[method], name + "_error")[t]


def test_W21_the_biased_walk_samples_P_not_phi(three):
    law = cme.RandomWalk(lambda x: -x, 1.0, 0.1).law(TIMES, start=0.7)
    found = three["biased"]
    sites = {round(float(x), 9): n for n, x in enumerate(law.states[:, 0])}
    for t in range(2):
        for n, x in enumerate(found.x):
            if found.p[t, n] > 1e-3:
                exact = law.p[t, sites[round(float(x), 9)]]
                assert abs(found.p[t, n] - exact) < LARGEST_Z * np.sqrt(exact / 100_000)
                assert found.phi[t, n] == pytest.approx(found.p[t, n] / 0.2 / np.exp(-(x**2) / 2), rel=1e-9)  # phi = P / xi


def test_W21_the_three_agree(three):
    """They differ by a discretisation error of order ds^2, here 1.2e-3 in total variation, and by their standard errors."""
    for t in range(2):
        for one, other in (("biased", "weights"), ("biased", "branching"), ("weights", "branching")):
            a, b = three[one], three[other]
            places = {round(float(x), 9): n for n, x in enumerate(b.x)}
            for n, x in enumerate(a.x):
                if a.p[t, n] > 1e-3:
                    m = places[round(float(x), 9)]
                    error = np.hypot(a.p_error[t, n], b.p_error[t, m])
                    assert abs(a.p[t, n] - b.p[t, m]) < LARGEST_Z * error + 1.2e-3 * a.p[t, n] * 4


def test_W21_what_is_conserved(three, oracle):
    assert np.all(three["biased"].mass == 1)
    assert np.all(three["biased"].mass_error == 0)
    for method in ("weights", "branching"):
        assert np.all(three[method].mass != 1)
        assert np.all(np.abs(three[method].mass - 1) < LARGEST_Z * three[method].mass_error + 1e-3)
    assert oracle.mass[1] == pytest.approx(0.99946, abs=1e-5)
    for each in (*three.values(), oracle):  # the integral of phi, from exp(0.7^2 / 2) on
        assert each.relative_mass == pytest.approx([1.380, 1.407], rel=0.01)
    start = cme.feynman_kac(OU, 0.0, ds=0.1, start=0.7, method="sum")
    assert start.relative_mass[0] == pytest.approx(np.exp(0.245))


def test_W21_mean_by_brownian_paths(three):
    """The sheet's check with 2e5 Brownian paths: E[w] = 1.0011(14), mean 0.2577 against 0.2575."""
    found = three["weights"]
    mean = float(found.p[1] @ found.x / found.p[1].sum())
    assert abs(mean - 0.7 * np.exp(-1)) < 5 * 0.66 / np.sqrt(100_000) + 1e-3


# ----------------------------------------------------------------------------------------- other drifts and domains


@pytest.mark.parametrize(
    ("case", "start"), [(e4(c=1.0), 0.0), (e6(), 0.0), (e7(), 0.4), (e7(c=2.0, x0=0.4), 0.4)], ids=["E4", "E6", "E7", "E7, c=2"]
)
def test_the_sum_tends_to_the_closed_form(case, start):
    form = cme.SchrodingerForm(case.given, case.alpha)
    found = [variation(cme.feynman_kac(form, 1.0, ds=ds, start=start, method="sum"), case) for ds in (0.1, 0.05)]
    assert found[1] < 3e-3
    assert found[0] / found[1] == pytest.approx(4, rel=0.1)


def test_bessel_free_walks_that_die_at_zero():
    """E5: V = 0, but phi = 0 at x = 0; all weights are 1 until a walk is killed."""
    case = e5()
    form = cme.SchrodingerForm(case.given, 1.0, reference=1.0, domain=(0.0, np.inf), drift_derivative=lambda x: -1 / x**2)
    all_walks = cme.feynman_kac(form, 1.0, ds=0.1, start=1.0, method="sum")
    assert variation(all_walks, case) < 3e-3
    assert all_walks.mass[0] == pytest.approx(1, abs=1e-9)  # xi = x is a martingale of the killed walk, for every ds
    sampled = cme.feynman_kac(form, 1.0, ds=0.1, start=1.0, method="weights", n_paths=20_000, seed=3)
    assert np.abs(z_scores(sampled, all_walks)).max() < LARGEST_Z
    alive = sampled.effective_paths[0] / 20_000
    assert alive == pytest.approx(all_walks.relative_mass[0], abs=0.02)
    branched = cme.feynman_kac(form, 1.0, ds=0.1, start=1.0, method="branching", n_paths=20_000, seed=3)
    assert np.abs(z_scores(branched, all_walks)).max() < LARGEST_Z


def test_a_drift_in_time_by_paths():
    form = cme.SchrodingerForm(lambda x, t: 1.5 * np.cos(4 * t), 1.0)
    oracle = cme.feynman_kac(form, 1.0, ds=0.1, method="sum")
    for method in ("weights", "branching"):
        found = cme.feynman_kac(form, 1.0, ds=0.1, method=method, n_paths=20_000, seed=4)
        assert np.abs(z_scores(found, oracle)).max() < LARGEST_Z


def test_branching_keeps_going_where_weights_die_out():
    """After a long time the weights of a few free walks outweigh all others; branching walkers stay where the weight is."""
    form = cme.SchrodingerForm(lambda x: -x, 1.0)
    weighted, branched = (cme.feynman_kac(form, 20.0, ds=0.2, method=method, n_paths=5000, seed=5) for method in ("weights", "branching"))
    exact = cme.feynman_kac(form, 20.0, ds=0.2, method="sum")
    assert weighted.effective_paths[0] < 50
    assert branched.effective_paths[0] > 200
    assert branched.relative_mass_error[0] < weighted.relative_mass_error[0] / 2
    assert abs(branched.relative_mass[0] - exact.relative_mass[0]) < LARGEST_Z * branched.relative_mass_error[0]


# ------------------------------------------------------------------------------------------------------- twins


def gain_of(form, start, ds):
    def gain(site, step):
        return ds**2 / (2 * form.alpha) / form.alpha * float(form.V(np.array([start + ds * site]), step * ds**2 / form.alpha)[0])

    return gain


def test_weighted_paths_equal_their_twin():
    form, ds, start, n = cme.SchrodingerForm(lambda x, t: np.cos(4 * t) - x, 0.8), 0.1, 0.3, 90
    time = n * ds**2 / 0.8
    found = cme.feynman_kac(form, time, ds=ds, start=start, method="weights", n_paths=6, seed=7, threads=2)
    key, _ = check_seed(7)
    weights, xi0 = {}, float(form.xi(start, 0.0))
    for m in range(6):
        site, log_weight = twins.weighted_walk(gain_of(form, start, ds), n, twins.Stream(key, m, int(WEIGHTED_WALK)))
        weights[site] = weights.get(site, 0.0) + np.exp(log_weight) / 6 / xi0 / (2 * ds)
    for n, x in enumerate(found.x):
        assert found.phi[0, n] == pytest.approx(weights.get(round((x - start) / ds), 0.0), rel=1e-9)


def test_branching_populations_equal_their_twin():
    form, ds, size, n = OU, 0.1, 8, 90
    found = cme.feynman_kac(form, n * ds**2, ds=ds, start=0.3, method="branching", n_paths=24, populations=3, seed=7)
    key, _ = check_seed(7)
    weights, families = {}, []
    for r in range(3):
        stream = twins.Stream(key, r, int(BRANCHING_WALK))
        sites, ancestors, scale = twins.branching_walk(gain_of(form, 0.3, ds), n, size, stream)
        for site in sites:
            weights[site] = weights.get(site, 0.0) + np.exp(scale) / 24 / float(form.xi(0.3)) / (2 * ds)
        families += [ancestors.count(a) * np.exp(scale) for a in range(size)]
    for n, x in enumerate(found.x):
        assert found.phi[0, n] == pytest.approx(weights.get(round((x - 0.3) / ds), 0.0), rel=1e-9)
    assert found.effective_paths[0] == pytest.approx(sum(families) ** 2 / sum(f**2 for f in families))


def fingerprint():
    """Every bit of a short run of each kind of walk, as text."""
    runs = [cme.feynman_kac(OU, 0.3, ds=0.1, method=m, n_paths=60, populations=p, seed=3, threads=1) for m, p in KINDS]
    return "".join(run.phi.tobytes().hex() + run.phi_error.tobytes().hex() for run in runs)


KINDS = (("biased", None), ("weights", None), ("branching", 6))


def test_kernels_equal_their_plain_python_form_bit_by_bit():
    command = "import sys; sys.path.insert(0, sys.argv[1]); import test_feynman_kac; print(test_feynman_kac.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", command, os.path.dirname(__file__)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint()


@pytest.mark.parametrize("method", ["biased", "weights", "branching"])
def test_any_number_of_threads_gives_the_same(method):
    one, four = (
        cme.feynman_kac(OU, [0.1, 0.9], ds=0.1, start=0.2, method=method, n_paths=200, seed=9, threads=threads) for threads in (1, 4)
    )
    assert np.array_equal(one.x, four.x)
    assert np.array_equal(one.phi, four.phi)
    assert np.array_equal(one.phi_error, four.phi_error)


def test_standard_errors_are_those_of_repeated_runs():
    for method in ("biased", "weights", "branching"):
        runs = [cme.feynman_kac(OU, 0.5, ds=0.1, start=0.5, method=method, n_paths=1000, seed=seed) for seed in range(40)]
        totals = np.array([run.relative_mass[0] for run in runs])
        claimed = np.mean([run.relative_mass_error[0] for run in runs])
        assert 0.6 < totals.std(ddof=1) / claimed < 1.5


# ------------------------------------------------------------------------------------------------- what is given


def test_results_as_frames_and_for_compare(three):
    found = three["weights"]
    frame = found.to_frame()
    assert list(frame.columns) == ["time", "x", "phi", "phi_error", "p", "p_error"]
    assert frame.groupby("time").p.sum().tolist() == pytest.approx(found.mass.tolist())
    assert list(found.summary().columns) == ["time", "mass", "mass_error", "relative_mass", "relative_mass_error", "effective_paths"]
    assert found.summary().attrs["method"] == "weights"
    walk = cme.RandomWalk(lambda x: -x, 1.0, 0.1).law(TIMES, start=0.7)
    table = cme.compare(walk, weights=found.distribution())
    assert table[table.metric == "total_variation"].value.max() < 0.02
    assert repr(found).startswith("RelativeProbability on ")
    assert "sites by weights; integral of P 1.00" in repr(found)


def test_phi_error_shrinks_with_paths():
    errors = [cme.feynman_kac(OU, 0.5, ds=0.1, n_paths=n, seed=1).phi_error.max() for n in (1000, 16_000)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)


def test_it_says_what_it_did(three):
    info = three["branching"].info
    assert info["solver"] == "feynman_kac"
    assert info["seed"] == 1
    assert info["steps"] == 100
    assert info["options"]["populations"] == 50
    assert info["options"]["n_paths"] == 100_000


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: cme.feynman_kac(OU, 1.0, ds=0.1, method="magic"),
            ValueError,
            "method must be one of 'biased', 'weights', 'branching', 'sum', not 'magic'",
        ),
        (lambda: cme.feynman_kac(OU, 1.0, ds=0.1, method="sum", seed=1), ValueError, "seed has no effect with method='sum'; leave it out"),
        (lambda: cme.feynman_kac(OU, 1.0, ds=0.1, method="sum", n_paths=10), ValueError, "n_paths has no effect with method='sum'"),
        (
            lambda: cme.feynman_kac(OU, 1.0, ds=0.1, populations=5),
            ValueError,
            "populations has no effect with method='weights'; leave it out",
        ),
        (
            lambda: cme.feynman_kac(OU, 1.0, ds=0.1, method="branching", n_paths=101),
            ValueError,
            "n_paths=101 walkers can't be shared evenly among populations=50",
        ),
        (lambda: cme.feynman_kac(OU, 1.005, ds=0.1), ValueError, "the time 1.005 is no whole number of steps"),
        (
            lambda: cme.feynman_kac(cme.SchrodingerForm(0.0, 1.0, domain=(-1, 1)), 1.0, ds=0.1, start=1.5),
            ValueError,
            "the start 1.5 must lie inside the domain from -1 to 1",
        ),
        (
            lambda: cme.feynman_kac(cme.SchrodingerForm(0.0, 1.0, domain=(-0.5, 0.5)), 1.0, ds=0.1, method="biased", seed=1),
            ModelError,
            r"the biased walk left the domain and got to x = -?\d.*, where xi may be 0; widen the domain",
        ),
        (
            lambda: cme.feynman_kac(
                cme.SchrodingerForm(0.0, 1.0, domain=(-0.25, 0.25)), 4.0, ds=0.1, method="branching", n_paths=4, populations=2, seed=1
            ),
            ConvergenceError,
            "all 2 walkers of a population were killed by t = .*; give more n_paths or fewer populations",
        ),
        (
            lambda: cme.feynman_kac(cme.SchrodingerForm(lambda x, t: -np.sign(x), 1.0), 1.0, ds=0.1, start=0.5, seed=1),
            ConvergenceError,
            "the drift is too rough for its derivative at x = .*; give drift_derivative",
        ),
        (
            lambda: cme.feynman_kac(
                cme.SchrodingerForm(lambda x: -x, 1.0, drift_derivative=lambda x, t: np.where(x > 0.45, np.nan, -1.0)),
                1.0,
                ds=0.1,
                seed=1,
            ),
            ModelError,
            r"V has no value at x = 0\.5, t = .*, where a walk gets to; give a domain without that place",
        ),
        (
            lambda: cme.feynman_kac(
                cme.SchrodingerForm(lambda x: -x, 1.0, drift_derivative=lambda x, t: np.where(x > 0.45, np.nan, -1.0)),
                1.0,
                ds=0.1,
                method="sum",
            ),
            ModelError,
            r"V has no value at x = 0\.5, t = 0\.05, where a walk gets to",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_time_in_the_drift_far_from_the_start_counts():
    """Beyond |x| = 2.05, where no walk starts, the drift oscillates: as the same drift with its integral given has it."""

    def push(x, t):
        return -np.sign(x) * np.maximum(np.abs(x) - 2.05, 0) ** 3 * (2 + 2 * np.sin(7 * t))

    def integral(x, t):
        return -(np.maximum(np.abs(x) - 2.05, 0) ** 4) / 4 * (2 + 2 * np.sin(7 * t))

    plain, given = (cme.SchrodingerForm(push, 1.0, **options) for options in ({}, {"drift_integral": integral}))
    totals = [cme.feynman_kac(form, 1.0, ds=0.1, method="sum").relative_mass[0] for form in (plain, given)]
    frozen = cme.feynman_kac(cme.SchrodingerForm(lambda x: push(x, 0.0), 1.0), 1.0, ds=0.1, method="sum").relative_mass[0]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    assert abs(totals[0] - frozen) > 0.001


def test_what_sampling_adds_is_in_the_intervals_of_compare():
    exact = cme.feynman_kac(OU, 1.0, ds=0.1, start=0.7, method="sum").distribution()
    for seed in range(5):
        sampled = cme.feynman_kac(OU, 1.0, ds=0.1, start=0.7, method="weights", n_paths=500, seed=seed).distribution()
        row = cme.compare(exact, walks=sampled).set_index(["method", "metric"]).loc[("walks", "total_variation")]
        assert row.lo == 0
        assert row.value > 0.02
