"""Laws, distances, tables and figures at counts of 1e9 and more: the same numbers as at small counts, for the same work."""

import io
import math

import numpy as np
import pytest
from scipy.stats import norm
from test_comparison import METRICS, NOW, counts, gaussian, poisson, rows, sample

import cme
from cme import cells, distances, plots
from cme.cells import Cells, single_counts
from cme.ensembles import Bins, Ensemble, Histogram
from cme.results import Distribution, Moments, Trajectories

DISTANCES = METRICS[3:7]
SHIFTS = [10**6, 10**9, 10**15]


def some_blocks(rng):
    """Random blocks with gaps, of which the masses sum to 1, and the same as an array."""
    cuts = np.unique(rng.integers(0, 60, size=12))
    kept = rng.random(len(cuts) - 1) < 0.7
    kept[0] = True
    size = np.diff(cuts)[kept]
    mass = rng.dirichlet(np.ones(len(size)))
    return Cells(cuts[:-1][kept], size, mass / size)


def moved(result, shift):
    """The same law at counts that are larger by so much."""
    if isinstance(result, Trajectories):
        return Trajectories(NOW, ("X",), result.counts + shift, result.info)
    if isinstance(result, Moments):
        return gaussian(result.means[0, 0] + shift, result.covariance[0, 0, 0])
    return Distribution(NOW, ("X",), result.states + shift, result.p, result.lost, result.integration_error, result.info)


# ------------------------------------------------------------------------------------------------------------ distances


def test_distances_on_blocks_are_those_on_arrays():
    rng = np.random.default_rng(1)
    for _ in range(200):
        p, q = some_blocks(rng), some_blocks(rng)
        for distance in (distances.total_variation, distances.hellinger, distances.wasserstein):
            assert distance(p, q) == pytest.approx(distance(p.dense(), q.dense()), rel=1e-12, abs=1e-15)
        mixed = (single_counts(0.9 * p.dense() + 0.1 / 60), Cells(q.lowest, q.size, q.p))
        assert distances.kullback_leibler(mixed[1], mixed[0]) == pytest.approx(
            distances.kullback_leibler(q.dense(), mixed[0].dense()), rel=1e-12
        ) or not np.isfinite(distances.kullback_leibler(q.dense(), mixed[0].dense()))
        for bound in (distances.sampled_total_variation, distances.sampled_hellinger):
            assert bound((p, q), 50) == pytest.approx(bound((single_counts(p.dense()), single_counts(q.dense())), 50), rel=1e-12)
        dense = (single_counts(p.dense()), single_counts(q.dense()))
        assert distances.sampled_wasserstein((p, q), 2.0, 50) == pytest.approx(distances.sampled_wasserstein(dense, 2.0, 50), rel=1e-12)


def test_many_counts_in_a_block_take_no_less_than_one_by_one(monkeypatch):
    p = Cells(np.array([3, 1003]), np.array([1000, 500]), np.array([0.6 / 1000, 0.4 / 500]))
    exact = distances.sampled_wasserstein((p,), 1.0, 100)[0]
    monkeypatch.setattr(distances, "_FEW", 0)
    assert exact <= distances.sampled_wasserstein((p,), 1.0, 100)[0] < 1.2 * exact


def test_divergence_of_long_blocks():
    p = Cells(np.array([0, 10**12]), np.array([10, 10**9]), np.array([0.05, 0.5e-9]))
    q = Cells(np.array([0]), np.array([10**12 + 10**9]), np.array([1 / (10**12 + 10**9)]))
    expected = 0.5 * math.log(0.05 / q.p[0]) + 0.5 * math.log(0.5e-9 / q.p[0])
    assert distances.kullback_leibler(p, q) == pytest.approx(expected, rel=1e-12)
    assert distances.kullback_leibler(q, p) == math.inf


# ------------------------------------------------------------------------------------------------ compare, wherever it is


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_of_both_samples_changes_no_distance(shift):
    rng = np.random.default_rng(2)
    x, y = sample(rng.poisson(2000, 300)), sample(rng.poisson(2010, 400))
    here, there = (rows(cme.compare(moved(x, by), other=moved(y, by)), "other") for by in (0, shift))
    for column in ("value", "lo", "hi", "monte_carlo"):
        np.testing.assert_allclose(there.loc[DISTANCES, column], here.loc[DISTANCES, column], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(
        there.loc["sd", ["value", "lo", "hi"]].astype(float), here.loc["sd", ["value", "lo", "hi"]].astype(float), rtol=1e-2
    )
    assert there.value["mean"] - shift == pytest.approx(here.value["mean"], abs=2)


@pytest.mark.parametrize("shift", SHIFTS[:2])
def test_a_shift_of_laws_changes_no_distance(shift):
    p, q = poisson(400.0, 900), poisson(405.0, 900)
    pairs = {"law": counts(q, lost=1e-9), "LNA": gaussian(402.3, 390.0), "SSA": sample(np.random.default_rng(3).poisson(400, 500))}
    tables = [cme.compare(moved(counts(p), by), **{name: moved(each, by) for name, each in pairs.items()}) for by in (0, shift)]
    for name in pairs:
        here, there = (rows(table, name) for table in tables)
        for column in ("value", "lo", "hi"):
            metrics = DISTANCES if name != "law" else DISTANCES[:3]  # what was lost is carried from afar
            np.testing.assert_allclose(there.loc[metrics, column], here.loc[metrics, column], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("mean", [1e7, 1e12, 4e18])
def test_distances_of_two_gaussians(mean):
    """Half a standard deviation apart: TV = 2 Phi(1/4) - 1, KL = 1/8, H^2 = 1 - exp(-1/32), W1 = sd/2."""
    sd = np.sqrt(mean)
    found = rows(cme.compare(gaussian(mean, mean), other=gaussian(mean + sd / 2, mean)), "other").value
    expected = [2 * norm.cdf(0.25) - 1, np.sqrt(1 - np.exp(-1 / 32)), 1 / 8, sd / 2]
    np.testing.assert_allclose(found[DISTANCES].astype(float), expected, rtol=1e-4)


def test_a_gaussian_of_very_many_counts_is_exact_where_the_reference_is():
    law = gaussian(1e18, 1e18).marginal("X", 0, at=Cells(np.array([10**18 + 7]), np.array([1]), np.ones(1)))
    at = law.cells.lowest == 10**18 + 7
    assert law.cells.p[at] == pytest.approx(1 / np.sqrt(2 * np.pi * 1e18), rel=1e-9)
    assert law.cells.mass.sum() == pytest.approx(1)
    assert len(law.cells.p) < 2**19


def test_paths_apart_by_one_at_1e18_are_told_apart():
    x = 10**18 + np.array([0, 1, 1, 3])
    table = rows(cme.compare(sample(x)), "ssa")
    assert table.value["sd"] == pytest.approx(np.std([0, 1, 1, 3], ddof=1))
    assert table.monte_carlo["mean"] > 1
    assert sample(x).sd()[0, 0] == pytest.approx(np.std([0, 1, 1, 3], ddof=1))
    law = sample(x).marginal("X", 0)
    assert law.cells.lowest.tolist() == [10**18, 10**18 + 1, 10**18 + 3]
    assert law.cells.p.tolist() == [0.25, 0.5, 0.25]


def test_what_was_lost_does_not_widen_a_law_at_large_counts():
    p = poisson(9.0, 60)
    there = moved(counts(p * (1 - 1e-7), lost=1e-7), 10**9)
    assert there.sd()[0, 0] == pytest.approx(3, rel=1e-6)
    assert there.marginal("X", 0).sd == pytest.approx(3, rel=1e-6)
    assert there.covariance()[0, 0, 0] == pytest.approx(9, rel=1e-6)
    found = rows(cme.compare(there), "fsp").loc["sd"]
    assert found.lo <= 3 <= found.hi


def test_a_density_on_blocks_is_that_on_single_counts(monkeypatch):
    network = cme.parse("0 -> X @ 4000; X -> 0 @ 1; X = 4000")
    density, exact = cme.fokker_planck(network, 1.0), cme.fsp(network, 1.0)
    single = rows(cme.compare(exact, FP=density), "FP").value
    alone = density.marginal("X", 0)
    monkeypatch.setattr(cells, "_MOST_BLOCKS", 64)
    blocks = density.marginal("X", 0)
    assert len(blocks.cells.p) < 100 < len(alone.cells.p)
    assert blocks.cells.mass.sum() == pytest.approx(alone.p.sum(), rel=1e-12)
    assert distances.wasserstein(blocks.cells, alone.cells) < 0.02 * alone.sd
    found = rows(cme.compare(exact, FP=density), "FP").value
    np.testing.assert_allclose(found[DISTANCES[:3]], single[DISTANCES[:3]], rtol=1e-6)
    assert found["wasserstein_1"] == pytest.approx(single["wasserstein_1"], rel=0.1)  # between the counts of the reference


# ------------------------------------------------------------------------------------------------------------- ensembles


@pytest.mark.parametrize(
    ("lowest", "width", "whole"),
    [([0, 4, 8, 16], 4, True), ([-8, -4, 0, 4], 4, True), ([-4, 0, 8], 4, False), ([2, 3, 7], 1, False), ([-0.5, 0, 0.5, 3], 0.5, False)],
)
@pytest.mark.parametrize("merged", [1, 2])
def test_bins_are_spread_over_the_cells_that_they_cover(lowest, width, whole, merged):
    first = lowest[0]
    every = np.arange(first, lowest[-1] + width, width, dtype=np.int64 if whole else np.float64)
    paths = np.array([7 + 3 * i if n in lowest else 0 for i, n in enumerate(every.tolist())])
    n, one = int(paths.sum()), np.ones((1, 1))
    chart = Histogram(Bins(every, float(width), whole), paths)
    found = Ensemble(NOW, ("X",), n, one, one, None, {}, histograms={"X": (chart,)}).marginal("X", 0, merged=merged)
    edges = chart.bins.edges
    knots = np.unique(np.append(np.flatnonzero(every % (merged * width) == 0), [0, len(paths)]))
    highest = max(int(np.floor(edges[-1] + (0 if whole else 0.5))), 0)
    ends = np.append(-np.inf, np.arange(highest + 1) + 0.5)
    expected = np.diff(np.interp(ends, edges[knots], np.append(0, np.cumsum(paths))[knots])) / n
    size = max(len(expected), found.cells.end)
    np.testing.assert_allclose(np.pad(found.p, (0, size - found.cells.end)), np.pad(expected, (0, size - len(expected))), atol=1e-15)


@pytest.mark.parametrize("count", [10**9, 10**15])
def test_an_ensemble_agrees_with_its_paths_at_large_counts(count):
    network, t = cme.parse(f"A -> B @ 1; A = {count}"), [20 / count]
    paths, found = (solver(network, t, n_paths=300, seed=4) for solver in (cme.ssa, cme.ensemble))
    one, other = paths.marginal("A", 0).cells, found.marginal("A", 0).cells
    np.testing.assert_array_equal(one.lowest, other.lowest)
    np.testing.assert_array_equal(one.p, other.p)
    leap = cme.tau_leap(network, t, n_paths=300, seed=5)
    table = cme.compare(paths, ENS=found, leap=leap)
    assert rows(table[table.species == "A"], "ENS").value["total_variation"] == 0
    small = cme.compare(*(Trajectories(NOW, ("A",), count - each["A"][:, :, None], {"solver": "ssa"}) for each in (paths,)))
    assert rows(small, "ssa").value["sd"] == pytest.approx(rows(table[table.species == "A"], "ssa").value["sd"], rel=1e-6)


# --------------------------------------------------------------------------------------------------- refusals and figures


def test_a_law_that_reaches_far_is_no_array():
    paths = sample(np.array([1, 300_000_000]))
    assert paths.marginal("X", 0).cells.lowest.tolist() == [1, 300_000_000]
    with pytest.raises(ValueError, match=r"a law that reaches 3e\+08 is too long an array from 0 on; take the counts that it has"):
        paths.marginal("X", 0).p  # noqa: B018
    with pytest.raises(ValueError, match=r"too long an array from 0 on"):
        moved(counts(poisson(3.0, 20)), 10**9)["X"]


def test_values_past_every_integer_cell():
    paths = Trajectories(NOW, ("X",), np.full((3, 1, 1), 2.0**63), {"solver": "langevin"})
    with pytest.raises(ValueError, match=r"the value 9.22e\+18 is on no integer cell; these go up to 2\^62"):
        paths.marginal("X", 0)
    assert set(cme.compare(paths).metric) == {"mean", "sd", "fano"}
    with pytest.raises(ValueError, match=r"on no integer cell"):
        gaussian(1e19, 1.0).marginal("X", 0)


def test_a_grid_that_double_precision_cannot_hold():
    with pytest.raises(cme.ConvergenceError, match=r"so narrow at 1e\+18 that double precision does not tell its cells apart"):
        cme.fokker_planck(cme.parse("A -> B @ 1; A = 1000000000000000000"), 1e-18)


@pytest.mark.parametrize("shift", [0, 10**9, 10**18])
def test_figures(shift):
    rng = np.random.default_rng(5)
    x = sample(rng.poisson(2000, 300))
    law = counts(poisson(2000.0, 4000))
    figure = plots.marginals(moved(x, shift), again=moved(x, shift), law=moved(law, shift), LNA=moved(gaussian(2000.0, 2000.0), shift))
    (panel,) = figure.axes
    at, p = panel.lines[0].get_data()
    assert (p * np.diff(at).min()).sum() == pytest.approx(1) or shift > 2**53
    low, high = panel.get_xlim()
    assert shift + 1000 < low < high < shift + 3000 or shift > 2**53
    assert [text.get_text().split()[0] for text in panel.texts[1:]] == ["again", "law", "LNA"]
    figure.savefig(io.BytesIO())


def test_a_law_of_many_counts_is_drawn_with_as_many_steps_as_can_be_told_apart():
    figure = plots.marginals(gaussian(1e12, 1e12), other=gaussian(1e12 + 5e5, 1e12))
    (panel,) = figure.axes
    assert len(panel.lines[0].get_xdata()) <= 4000
    (outline,) = panel.collections[0].get_paths()
    assert len(outline.vertices) < 60_000
    assert outline.vertices[:, 1].max() == pytest.approx(1 / np.sqrt(2 * np.pi * 1e12), rel=1e-3)


# ------------------------------------------------------------------------------------------- counts past 2^53


@pytest.mark.parametrize(
    "start", ["X = 9007199254740993", "start 1: X = 9007199254740993", "X = 9007199254740993; Y = 3"], ids=["count", "start", "more"]
)
def test_a_whole_number_that_double_precision_does_not_hold_is_refused(start):
    told = r"species 'X' starts at 9007199254740993, which double precision rounds to 9007199254740992; write 9007199254740992, if that"
    with pytest.raises(cme.ModelError, match=told):
        cme.parse(f"X -> Y @ 1\n{start}")
    network = cme.parse("X -> 0 @ 1; X = 9007199254740992; N = 602214076000000000000001")  # a parameter is a real number
    assert network.initial.states == ((2.0**53,),)
    for given in ({"X": 2**53 + 1}, [np.int64(2**53 + 1)], {(2**53 + 1,): 1.0}):
        with pytest.raises(cme.ModelError, match=told):
            network.with_initial(given)
    with pytest.raises(cme.ModelError, match="species 'X' starts at more than a number can hold"):
        network.with_initial(X=10**400)
    assert network.with_initial(X=2**53 + 2).initial.states == ((2.0**53 + 2,),)
    assert cme.ssa(network, 0.0, n_paths=1, seed=1, initial={"X": 2**60})["X"][0, 0] == 2**60


def test_noise_that_rounding_swallows_is_refused():
    """1000 of 1e18 molecules decay: sd 31.6, where neighbouring numbers are 128 apart; a paths' sd of 0 would be no answer."""
    told = r"the noise of 'X' in a step, 4.47, is lost in the rounding of 1e\+18 to multiples of 128; give a longer dt, or use lna"
    with pytest.raises(cme.ModelError, match=told):
        cme.langevin(cme.parse("X -> 0 @ 1e-15; X = 1e18"), [1.0], n_paths=3, seed=1)
    lasting = cme.langevin(cme.parse("0 -> X @ 1e18; X -> 0 @ 1; X = 1e18"), [1.0], n_paths=3, seed=1)
    rare = cme.langevin(cme.parse("X -> 0 @ 1e-15; X = 1e6"), [1.0], n_paths=3, seed=1)  # less than a molecule in all
    assert min(lasting.sd()[0, 0], rare.sd()[0, 0]) > 0
