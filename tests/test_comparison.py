"""compare: metrics against closed forms, intervals against what they promise to hold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import gammainc, gammaln

import cme
from cme import distances
from cme.results import Distribution, Moments, Trajectories

NOW = np.array([1.0])
METRICS = ["mean", "sd", "fano", "total_variation", "hellinger", "kl", "wasserstein_1", "mass_outside"]


def poisson(mean, n_cells):
    n = np.arange(n_cells)
    return np.exp(n * np.log(mean) - mean - gammaln(n + 1))


def counts(p, *, lost=0.0, error=0.0, times=NOW, **observables):
    p = np.atleast_2d(p)
    states = np.arange(p.shape[1])[:, None]
    values = {name: function(states[:, 0]) for name, function in observables.items()}
    return Distribution(times, ("X",), states, p, np.full(len(times), lost), np.full(len(times), error), {"solver": "fsp"}, values)


def gaussian(mean, variance, times=NOW):
    shape = len(times)
    return Moments(times, ("X",), np.full((shape, 1), mean), np.full((shape, 1, 1), variance), {"solver": "lna"})


def sample(x, times=NOW):
    return Trajectories(times, ("X",), np.reshape(x, (-1, len(times), 1)), {"solver": "ssa"})


def grid(edges, cumulative, coarse=None):
    width = np.diff(edges)[:1]
    centres = (edges[1:] + edges[:-1])[:, None] / 2
    zero = np.zeros(1)
    return Distribution(
        NOW, ("X",), centres, np.diff(cumulative)[None], zero, zero, {"solver": "fokker_planck"}, widths=width, coarse=coarse
    )


def rows(table, method):
    return table[table.method == method].set_index("metric")


def shifted_gamma(lam, width, lowest=None):
    """The stationary law of the Langevin equation of birth and death, X + lam ~ Gamma(4 lam, rate 2) on [-lam, inf): THEORY.md B.2."""
    edges = -lam + width * np.arange(int((2 * lam + 40 * np.sqrt(lam) + 40) / width)) if lowest is None else lowest
    cumulative = gammainc(4 * lam, 2 * (edges + lam))
    coarse = grid(edges[::2], cumulative[::2]) if lowest is None else None
    return grid(edges, cumulative, coarse)


# THEORY.md table C1: total variation, KL, Wasserstein-1, P(X < 0) of the linear-noise law against Poisson(lam). The sheet has KL 4.86e-2 at
# lam = 0.5 and 2.62e-2 at 1, with a floor of 1e-300 under tail cells that underflow; without it KL is 4.7955e-2 and 2.6119e-2 (60 digits).
LNA = {
    0.5: (0.1186, 4.7955e-2, 0.1321, 0.2398),
    1: (7.28e-2, 2.6119e-2, 0.1340, 0.1587),
    2: (6.74e-2, 1.91e-2, 0.1225, 0.0786),
    5: (5.70e-2, 1.68e-2, 0.1581, 0.0127),
    10: (4.02e-2, 8.82e-3, 0.1640, 7.8e-4),
    20: (2.82e-2, 4.28e-3, 0.1621, 3.9e-6),
    50: (1.78e-2, 1.68e-3, 0.1620, None),
    100: (1.26e-2, 8.38e-4, 0.1617, None),
    1000: (3.98e-3, 8.34e-5, 0.1613, None),
}
# The same table, natural domain: total variation, Hellinger, KL, Wasserstein-1, P(X < 0).
CLE = {
    0.5: (1.413e-2, 1.46e-2, 8.05e-4, 0.0185, 0.2642),
    1: (1.656e-2, 1.47e-2, 8.43e-4, 0.0215, 0.1429),
    2: (5.84e-3, 6.84e-3, 1.81e-4, 0.0119, 0.0511),
    5: (4.81e-3, 1.10e-2, 4.63e-4, 0.0111, 3.45e-3),
    10: (2.15e-3, 6.15e-3, 1.39e-4, 0.0081, 5.3e-5),
    20: (1.02e-3, 2.54e-3, 2.50e-5, 0.0055, None),
    50: (3.92e-4, 9.02e-4, 3.22e-6, 0.0034, None),
    100: (1.93e-4, 4.33e-4, 7.48e-7, 0.0024, None),
}


@pytest.mark.parametrize("lam", LNA)
def test_linear_noise_against_poisson_c1(lam):
    exact = counts(poisson(lam, int(lam + 40 * np.sqrt(lam) + 40)))
    found = rows(cme.compare(exact, LNA=gaussian(lam, lam)), "LNA").value
    for metric, value in zip(["total_variation", "kl", "wasserstein_1", "mass_outside"], LNA[lam], strict=True):
        if value is not None:
            assert found[metric] == pytest.approx(value, rel=1e-2), metric
    assert found["fano"] == pytest.approx(1)


def test_linear_noise_asymptotics_c1():
    found = rows(cme.compare(counts(poisson(1e4, 20_000)), LNA=gaussian(1e4, 1e4)), "LNA").value
    assert found["total_variation"] == pytest.approx(0.125834 / 100, rel=1e-3)
    assert found["wasserstein_1"] == pytest.approx(0.161314, rel=1e-3)


@pytest.mark.parametrize("lam", CLE)
def test_langevin_density_on_integer_cells_c1(lam):
    exact = counts(poisson(lam, int(lam + 12 * np.sqrt(lam) + 20)))
    found = rows(cme.compare(exact, CLE=shifted_gamma(lam, 0.01 * max(1, np.sqrt(lam)))), "CLE")
    for metric, value in zip(METRICS[3:], CLE[lam], strict=True):
        if value is not None:
            assert found.value[metric] == pytest.approx(value, rel=1e-2), metric


# ------------------------------------------------------------------------------------------------ what the intervals hold


@pytest.mark.parametrize("cut", [14, 18, 25])
@pytest.mark.parametrize("lam", [10.0, 11.0])
def test_truncation_holds_the_metrics_of_the_whole_law(cut, lam):
    whole, other = poisson(10.0, 90), poisson(lam, 90)
    truth = rows(cme.compare(counts(whole), other=counts(other)), "other").value
    cuts = [counts(p[:cut], lost=p[cut:].sum()) for p in (whole, other)]
    for reference, method in [(cuts[0], counts(other)), (counts(whole), cuts[1]), (cuts[0], cuts[1])]:
        found = rows(cme.compare(reference, other=method), "other")
        for metric in METRICS[3:]:
            assert found.lo[metric] <= truth[metric] + 1e-13, metric
            if metric != "kl" or method is not cuts[1]:  # a method that is cut has no mass where the reference has some
                assert truth[metric] <= found.hi[metric] + 1e-13, metric
        assert (found.truncation["total_variation"]) == pytest.approx((reference.lost[0] + method.lost[0]) / 2)
        assert (found[["monte_carlo", "integration", "grid"]].drop("kl") == 0).all(axis=None)


def test_truncation_error_of_the_mean_goes_up_only():
    p = poisson(10.0, 18)
    found = rows(cme.compare(counts(p, lost=1 - p.sum())), "fsp")
    assert found.lo["mean"] == found.value["mean"]
    assert found.hi["mean"] == pytest.approx(found.value["mean"] + (1 - p.sum()) * 17)
    assert found.lo["fano"] < found.value["fano"] < found.hi["fano"]


def test_integration_error_is_kept_apart():
    rng = np.random.default_rng(5)
    whole, other = poisson(10.0, 60), poisson(11.0, 60)
    truth = rows(cme.compare(counts(whole), other=counts(other)), "other").value
    for _ in range(20):
        noise = rng.uniform(-1, 1, size=60) * whole
        noise -= noise.sum() * whole
        noise *= 1e-3 / np.abs(noise).sum()
        found = rows(cme.compare(counts(whole + noise, error=1e-3), other=counts(other)), "other")
        assert ((found.lo <= truth + 1e-12) & (truth <= found.hi + 1e-12)).all()
        assert found.integration["total_variation"] == 5e-4
        assert (found.truncation == 0).all()


def test_entries_below_zero_are_counted_as_integration_error():
    p = poisson(5.0, 40)
    p[30] = -1e-9
    found = rows(cme.compare(counts(p), LNA=gaussian(5.0, 5.0)), "LNA")
    assert found.integration["total_variation"] == pytest.approx(5e-10)
    assert np.isfinite(found.loc[["hellinger", "kl"], "value"]).all()


def test_grid_error_is_what_a_grid_twice_as_wide_changes():
    exact, fine = counts(poisson(2.0, 60)), shifted_gamma(2.0, 0.3)
    found, coarse = (rows(cme.compare(exact, CLE=each), "CLE") for each in (fine, fine.coarse))
    change = np.abs(found.value - coarse.value)
    moments = ["mean", "sd", "fano", "mass_outside"]
    np.testing.assert_allclose(found.grid[moments], change[moments])
    assert (coarse.grid == 0).all()
    p, q = (each.marginal("X", 0).p for each in (fine, fine.coarse))
    assert found.grid["total_variation"] == pytest.approx(distances.total_variation(p, q))
    assert found.grid["hellinger"] == pytest.approx(distances.hellinger(p, q))
    assert found.grid["wasserstein_1"] == pytest.approx(distances.wasserstein(p, q))
    assert found.grid["kl"] > 0.9 * change["kl"]


def test_a_grid_error_sideways_is_seen():
    """Two grids at the same distance from the reference, and the limit at another."""
    n = np.arange(60)
    exact, limit = poisson(5.0, 60), poisson(5.2, 60)
    sideways = 1e-4 * np.sin(n) * (n < 12)
    sideways -= sideways.sum() * exact
    laws = []
    for scale in (1.0, 4.0):
        p = limit + scale * sideways
        zero = np.zeros(1)
        widths = np.ones(1)
        laws.append(Distribution(NOW, ("X",), n[:, None].astype(float), p[None], zero, zero, {}, widths=widths))
    fine = replace(laws[0], coarse=laws[1], info={"solver": "fokker_planck"})
    found = rows(cme.compare(counts(exact), FP=fine), "FP")
    truth = rows(cme.compare(counts(exact), FP=counts(limit)), "FP").value
    for metric in ("total_variation", "hellinger", "kl", "wasserstein_1"):
        assert found.lo[metric] <= truth[metric] <= found.hi[metric]


def test_step_error_compares_the_same_paths():
    rng = np.random.default_rng(3)
    x = rng.normal(10, 3, size=1000)
    coarse = sample(x[:200] + 0.25)
    paths = Trajectories(NOW, ("X",), x[:, None, None], {"solver": "langevin"}, coarse=coarse)
    found = rows(cme.compare(counts(poisson(10.0, 60)), CLE=paths), "CLE")
    assert found.grid["mean"] == pytest.approx(0.25)  # no noise of the 800 other paths
    assert found.grid["sd"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("lam", "mu", "n_paths"), [(10.0, 10.0, 200), (10.0, 11.0, 1000), (1.0, 1.2, 1000)])
def test_monte_carlo_intervals_cover(lam, mu, n_paths):
    """At least 95 % of the intervals must hold the truth; for 300 repeats fewer than 264 has a chance of 1e-6 (binomial)."""
    rng = np.random.default_rng(11)
    exact = counts(poisson(lam, 80))
    truth = rows(cme.compare(exact, other=counts(poisson(mu, 80))), "other").value
    held = pd.Series(0, index=METRICS)
    for _ in range(300):
        found = rows(cme.compare(exact, SSA=sample(rng.poisson(mu, n_paths))), "SSA")
        held += (found.lo <= truth + 1e-12) & (truth <= found.hi + 1e-12)
    assert (held >= 264).all(), held


def test_monte_carlo_of_both_sides_covers():
    rng = np.random.default_rng(12)
    truth = rows(cme.compare(counts(poisson(4.0, 80)), other=counts(poisson(5.0, 80))), "other").value
    held = pd.Series(0, index=METRICS)
    for _ in range(200):
        table = cme.compare(sample(rng.poisson(4.0, 500)), other=sample(rng.poisson(5.0, 2000)))
        found = rows(table, "other")
        held += (found.lo <= truth + 1e-12) & (truth <= found.hi + 1e-12)
    assert (held >= 172).all(), held


def test_a_finite_divergence_of_a_sample_has_an_interval():
    rng = np.random.default_rng(13)
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.4, 0.3])
    truth, held = distances.kullback_leibler(p, q), 0
    for _ in range(200):
        found = rows(cme.compare(counts(p), SSA=sample(rng.choice(3, size=2000, p=q))), "SSA").loc["kl"]
        held += found.lo <= truth <= found.hi
        assert found.monte_carlo > 0
    assert held >= 172


def test_the_error_of_a_mean_shrinks_with_the_root_of_the_paths():
    rng = np.random.default_rng(2)
    found = rows(cme.compare(sample(rng.poisson(9.0, 40_000))), "ssa")
    assert found.monte_carlo["mean"] == pytest.approx(1.96 * 3 / 200, rel=0.02)
    assert found.monte_carlo["sd"] == pytest.approx(1.96 * np.sqrt((9 + 2 * 81) / (36 * 40_000)), rel=0.05)  # mu4 = lam + 3 lam^2


# ----------------------------------------------------------------------------------------------------------- divergence


def test_a_count_the_method_never_has_makes_kl_infinite_and_pinsker_bounds_it():
    exact = counts([0.5, 0.3, 0.2])
    found = rows(cme.compare(exact, other=counts([0.5, 0.5])), "other")
    assert found.value["kl"] == np.inf
    assert found.hi["kl"] == np.inf
    assert found.lo["kl"] == pytest.approx(2 * 0.2**2)
    assert found.loc["kl", ["monte_carlo", "truncation", "integration", "grid"]].isna().all()


def test_only_what_the_reference_cannot_tell_from_zero_is_merged():
    tail = [0.5, 0.5 - 1e-9, 1e-9]
    empty = counts([0.4, 0.6])
    assert rows(cme.compare(counts(tail, error=1e-10), other=empty), "other").value["kl"] == np.inf
    merged = rows(cme.compare(counts(tail, error=1e-8), other=empty), "other")
    assert merged.value["kl"] == pytest.approx(distances.kullback_leibler([0.5, 0.5], [0.4, 0.6]), abs=1e-12)


def test_far_tails_of_a_gaussian_do_not_underflow():
    """A count 1000 standard deviations away: KL = p log(p/q) + ..., finite, in closed form up to rounding of the cell."""
    p = np.zeros(101)
    p[0], p[100] = 1 - 1e-6, 1e-6
    found = rows(cme.compare(counts(p), LNA=gaussian(0.0, 0.01)), "LNA").value
    cell = -0.5 * (99.5 / 0.1) ** 2 - np.log(99.5 / 0.1 * np.sqrt(2 * np.pi))  # leading order of the tail of a normal law
    assert found["kl"] == pytest.approx(1e-6 * (np.log(1e-6) - cell), rel=1e-4)


# ---------------------------------------------------------------------------------------------------------------- the table


def test_table_is_tidy_and_carries_info():
    times = np.array([0.0, 1.0])
    exact = counts([[0, 1, 0], [0.25, 0.5, 0.25]], times=times)
    means = Moments(times, ("X",), np.array([[1.0], [1.1]]), None, {"solver": "rate_equations"})
    table = cme.compare(exact, RE=means)
    columns = ["time", "species", "method", "metric", "value", "lo", "hi", "monte_carlo", "truncation", "integration", "grid"]
    assert list(table.columns) == columns
    assert table[["method", "metric"]].drop_duplicates().to_numpy().tolist() == [
        ["fsp", "mean"], ["fsp", "sd"], ["fsp", "fano"], ["RE", "mean"],
    ]  # fmt: skip
    assert table.time.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert table.attrs == {"reference": "fsp", "results": {"fsp": {"solver": "fsp"}, "RE": {"solver": "rate_equations"}}}


def test_stationary_laws_are_compared_at_infinity():
    steady = np.array([np.inf])
    table = cme.compare(counts(poisson(3.0, 40), times=steady), LNA=gaussian(3.0, 3.0, steady))
    assert set(table.time) == {np.inf}


def test_a_law_that_is_certain():
    table = cme.compare(counts([0, 0, 1.0]), LNA=gaussian(2.0, 0.0), SSA=sample([2, 2, 2]))
    value = table.set_index(["method", "metric"]).value
    for method in ("LNA", "SSA"):
        assert value[method, "total_variation"] == value[method, "kl"] == value[method, "wasserstein_1"] == value[method, "sd"] == 0
    nothing = rows(cme.compare(counts([1.0])), "fsp").loc["fano"]
    assert nothing[["value", "lo", "hi"]].isna().all()  # 0/0 has no Fano factor


def test_observables_that_are_counts_have_distances_and_others_moments_alone():
    p = poisson(3.0, 40)
    exact = counts(p, double=lambda n: 2 * n, ratio=lambda n: n / 3)
    x = np.random.default_rng(1).poisson(3.0, 100)[:, None]
    paths = Trajectories(NOW, ("X",), x[:, :, None], {"solver": "ssa"}, {"double": 2 * x, "ratio": x / 3})
    table = cme.compare(exact, SSA=paths)
    found = {species: set(part.metric) for species, part in table[table.method == "SSA"].groupby("species")}
    assert found["double"] == found["X"] == set(METRICS)
    assert found["ratio"] == {"mean", "sd", "fano"}
    assert table[(table.species == "ratio") & (table.metric == "mean")].value.iloc[0] == pytest.approx(1.0)


def test_results_must_share_times():
    exact = counts(np.tile(poisson(3.0, 40), (2, 1)), times=np.array([1.0, 5.0]))
    message = r"LNA has no time 5, which fsp has; compute both at the same times \(LNA has 1\)"
    with pytest.raises(ValueError, match=message):
        cme.compare(exact, LNA=gaussian(3.0, 3.0))


def test_results_must_share_a_species():
    other = Moments(NOW, ("Y",), np.ones((1, 1)), None, {"solver": "lna"})
    with pytest.raises(ValueError, match="LNA and fsp share no species or observable; LNA has Y, fsp has X"):
        cme.compare(counts([1.0]), LNA=other)


def test_a_result_may_not_have_the_name_of_the_reference():
    with pytest.raises(
        ValueError, match="the reference is called 'fsp' in the table, after its solver; give the other result another name"
    ):
        cme.compare(counts([1.0]), fsp=counts([1.0]))


def test_more_times_and_species_than_the_reference_are_left_out():
    times = np.array([1.0, 2.0])
    more = Moments(times, ("Y", "X"), np.array([[1.0, 3.0], [1.0, 4.0]]), None, {"solver": "lna"})
    table = cme.compare(counts(poisson(3.0, 40)), LNA=more)
    assert rows(table, "LNA").value["mean"] == 3.0
    assert set(table.species) == {"X"}


# ------------------------------------------------------------------------------------------------------- with the solvers

# THEORY.md table C1: natural (total variation, Hellinger, KL, Wasserstein-1, P(X < 0)), reflected (total variation, mean), linear noise
# (total variation, KL, Wasserstein-1, P(X < 0)).
C1 = {
    1: (CLE[1], (0.1230, 1.2105), LNA[1]),
    10: (CLE[10], (2.12e-3, 10.0006), LNA[10]),
    100: (CLE[100], (1.93e-4, 100.0), LNA[100]),
}


@pytest.mark.parametrize("lam", C1)
def test_table_c1_by_the_solvers(lam):
    """Two digits, half a unit of the second; the printed grid error must explain what is left."""
    network = cme.load("birth_death").with_parameters(k=lam)
    exact = cme.stationary(network, tol=1e-12)
    densities = {boundary: cme.fokker_planck(network, np.inf, boundary=boundary, tol=1e-6) for boundary in ("natural", "reflect")}
    table = cme.compare(exact, **densities, LNA=cme.lna(network, np.inf))
    natural, reflected, noise = (rows(table, method) for method in (*densities, "LNA"))
    expected = [(natural, metric, value) for metric, value in zip(METRICS[3:], C1[lam][0], strict=True)]
    expected += [(reflected, "total_variation", C1[lam][1][0]), (reflected, "mean", C1[lam][1][1])]
    metrics = ["total_variation", "kl", "wasserstein_1", "mass_outside"]
    expected += [(noise, metric, value) for metric, value in zip(metrics, C1[lam][2], strict=True)]
    for found, metric, value in expected:
        if value is not None:
            unit = 10.0 ** np.floor(np.log10(value))
            assert found.value[metric] == pytest.approx(value, abs=0.06 * unit), metric
    assert natural.value["mean"] == pytest.approx(lam, abs=natural.grid["mean"] + 1e-9)
    assert natural.value["fano"] == pytest.approx(1, abs=natural.grid["fano"] + 1e-9)


@pytest.mark.parametrize(
    ("omega", "exact_mean", "mean_error", "exact_variance", "variance_error"),
    [
        (1, 0.88781779, -0.204, 0.59959736, -0.116),
        (10, 7.19950536, -1.78e-2, 5.36662795, -1.18e-2),
        (100, 70.83601075, -1.77e-3, 53.09559145, -1.18e-3),
    ],
)
def test_linear_noise_of_pair_annihilation_c2(omega, exact_mean, mean_error, exact_variance, variance_error):
    network = cme.parse(f"convention falling; 0 -> A @ k0*V; 2 A -> 0 @ k1/V; k0 = 1; k1 = 1; V = {omega}")
    table = cme.compare(cme.stationary(network, tol=1e-12), LNA=cme.lna(network, np.inf))
    exact, noise = rows(table, "stationary").value, rows(table, "LNA").value
    assert exact["mean"] == pytest.approx(exact_mean, rel=1e-8)
    assert exact["sd"] ** 2 == pytest.approx(exact_variance, rel=1e-7)
    assert noise["mean"] / exact["mean"] - 1 == pytest.approx(mean_error, rel=1e-2)
    assert (noise["sd"] / exact["sd"]) ** 2 - 1 == pytest.approx(variance_error, rel=1e-2)
    if omega == 100:  # distribution level: sqrt(omega) TV -> 0.0752
        assert noise["total_variation"] * 10 == pytest.approx(0.0752, rel=2e-2)


def test_paths_that_all_agree_are_not_certain():
    """If a sample of 100 is all ones, the true mean may differ: 0.999 must be inside the interval."""
    found = rows(cme.compare(sample(np.ones(100, dtype=np.int64))), "ssa")
    assert found.lo["mean"] == pytest.approx(1 - (1 - 0.025**0.01))
    assert found.hi["sd"] == pytest.approx(np.sqrt(1 - 0.025**0.01))
    assert found.lo["sd"] == 0
