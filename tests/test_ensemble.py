"""ensemble: the very paths of ssa, exact sums on any threads and in any blocks, histograms that widen, and closed forms."""

import math
import signal
from fractions import Fraction

import numpy as np
import oracles
import pytest
import verdict
from hypothesis import given, settings
from hypothesis import strategies as st

import cme
from cme.sampling import ensemble as module
from cme.sampling.methods import METHODS
from cme.sampling.sampler import sampler_for
from cme.sampling.tally import LEAF, RealSums, Tally, WholeSums, pairs

TIMES = np.linspace(0, 4, 5)
EXPRESSION = "0 -> M @ 5; M -> M + P @ 2; M -> 0 @ 1; P -> 0 @ 0.5; 2 P <-> D @ 0.01, 0.3; total := P + 2*D; share := M/(M + P + 1)"
CLOCKED = "0 => X @ k*X + 3; X -> 0 @ 1; X = 5; k = 1; k' = -k/2; at time >= 1.5: k = 2; level := X + k"
JOINT = [("M", "P"), ("share", "P")]


def same(a, b):
    """Are two ensembles the same to the last bit?"""
    np.testing.assert_array_equal(a.means, b.means)
    np.testing.assert_array_equal(a.variances, b.variances)
    np.testing.assert_array_equal(a.covariances, b.covariances)
    for name in a.observables:
        np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_array_equal(a.variance(name), b.variance(name))
    for mine, others in ((a.histograms, b.histograms), (a.joints, b.joints)):
        assert set(mine) == set(others)
        for name, charts in mine.items():
            for one, other in zip(charts, others[name], strict=True):
                np.testing.assert_array_equal(one.counts, other.counts)
                assert repr(one.bins) == repr(other.bins)


@pytest.fixture(scope="module")
def pair():
    """Paths, and the ensemble with the same seed."""
    network = cme.parse(EXPRESSION)
    paths = cme.ssa(network, TIMES, n_paths=1500, seed=9)
    return paths, cme.ensemble(network, TIMES, n_paths=1500, seed=9, joint=JOINT, threads=2)


# ------------------------------------------------------------------------------------------------ the paths of ssa


def test_moments_are_the_exact_ones_of_the_paths_of_ssa(pair):
    paths, found = pair
    for t in range(len(TIMES)):
        x = [[int(count) for count in row] for row in paths.counts[:, t]]
        sums = [sum(column) for column in zip(*x, strict=True)]
        for i in range(3):
            assert found.means[t, i] == float(Fraction(sums[i], 1500))
            for j in range(3):
                products = sum(row[i] * row[j] for row in x)
                assert found.covariance()[t, i, j] == float(Fraction(1500 * products - sums[i] * sums[j], 1500 * 1499))
    np.testing.assert_array_equal(found.sd() ** 2, np.sqrt(found.variances) ** 2)
    np.testing.assert_array_equal(found.variances, np.diagonal(found.covariance(), axis1=1, axis2=2))
    np.testing.assert_allclose(found.standard_error(), paths.standard_error(), rtol=1e-12)
    assert found.info["events"] == paths.info["events"]


def test_observables_have_moments_and_histograms_too(pair):
    paths, found = pair
    for name in ("total", "share"):
        np.testing.assert_allclose(found[name], paths[name].mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(found.variance(name), paths[name].var(axis=0, ddof=1), rtol=1e-13)
        for t in range(len(TIMES)):
            bins, counts, unfit = found.histogram(name, t)
            assert bins.whole == (name == "total" or t == 0)
            np.testing.assert_array_equal(counts, np.histogram(paths[name][:, t], np.append(bins.lowest, bins.lowest[-1] + bins.width))[0])
            assert unfit == 0
    assert np.all(found.bin_width("total") == 1)
    assert np.all(found.bin_width("share")[1:] < 0.01)


def test_histograms_quantiles_and_marginals_are_those_of_the_paths(pair):
    paths, found = pair
    for name in paths.species:
        assert np.all(found.bin_width(name) == 1)
        for t in range(len(TIMES)):
            bins, counts, _ = found.histogram(name, t)
            np.testing.assert_array_equal(counts, np.bincount(paths[name][:, t])[bins.lowest[0] :])
            one, other = found.marginal(name, t), paths.marginal(name, t)
            np.testing.assert_array_equal(one.p, other.p)
            assert one.negative == other.negative == 0
            assert one.mean == pytest.approx(other.mean, rel=1e-14)
    for q in (0, 0.01, 0.25, 0.5, 0.9, 1):
        np.testing.assert_array_equal(found.quantile(q), np.quantile(paths.counts, q, axis=0, method="inverted_cdf"))
    np.testing.assert_array_equal(found.quantile(0.5, "total"), np.quantile(paths["total"], 0.5, axis=0, method="inverted_cdf"))


def test_joint_histograms_are_those_of_the_paths(pair):
    paths, found = pair
    for a, b in JOINT:
        bins, counts = found.joint(a, b, 4)
        expected = np.histogram2d(paths[a][:, 4], paths[b][:, 4], [np.append(each.lowest, each.lowest[-1] + each.width) for each in bins])
        np.testing.assert_array_equal(counts, expected[0])
        np.testing.assert_array_equal(found.joint(b, a, 4).counts, counts.T)


def test_frames_and_summaries(pair):
    _, found = pair
    frame = found.to_frame()
    assert list(frame.columns) == ["time", "species", "mean", "sd", "standard_error"]
    assert list(frame.species[:5]) == ["M", "P", "D", "total", "share"]
    row = frame[(frame.time == 4) & (frame.species == "total")].iloc[0]
    assert (row["mean"], row.standard_error) == (found["total"][4], math.sqrt(found.variance("total")[4] / 1500))
    assert frame.attrs["seed"] == 9
    assert len(found.summary()) == 15
    bins = found.histogram_frame("P")
    assert bins.groupby("time").paths.sum().tolist() == [1500] * 5
    assert repr(found) == "Ensemble: 1500 paths of M, P, D; 5 times from 0 to 4; ensemble"


@pytest.mark.parametrize("method", METHODS)
def test_every_engine_streams(method):
    network = cme.parse(EXPRESSION)
    options = {"n_paths": 300, "seed": 11, "method": method}
    paths, found = cme.ssa(network, TIMES, **options), cme.ensemble(network, TIMES, threads=3, **options)
    assert found.info["method"] == paths.info["method"]
    np.testing.assert_array_equal(found.means, paths.counts.sum(axis=0) / 300)
    for t in range(len(TIMES)):
        np.testing.assert_array_equal(found.marginal("P", t).p, paths.marginal("P", t).p)


def test_events_and_rates_in_time_are_taken_too():
    network = cme.parse(CLOCKED)
    paths, found = cme.ssa(network, TIMES, n_paths=200, seed=3), cme.ensemble(network, TIMES, n_paths=200, seed=3, joint=[("X", "k")])
    np.testing.assert_allclose(found.means, paths.mean(), rtol=1e-14)
    np.testing.assert_allclose(found.covariance()[:, 0, 0], paths["X"].var(axis=0, ddof=1), rtol=1e-13)
    for name in ("k", "level"):
        np.testing.assert_allclose(found[name], paths[name].mean(axis=0), rtol=1e-14)
    assert found.histogram("X", 4).bins.whole
    np.testing.assert_array_equal(found.marginal("X", 4).p, paths.marginal("X", 4).p)
    assert np.ptp(found.histogram("k", 4).bins.lowest) < 1e-8  # a clock is the same on all paths, but for its integration
    same(found, cme.ensemble(network, TIMES, n_paths=200, seed=3, joint=[("X", "k")], threads=3))


def test_a_generator_is_taken_too():
    generator = cme.Generator.from_network(cme.parse("A -> B @ 2; B -> A @ 1; A = 20"))
    start = np.eye(21)[3]
    paths, found = (solver(generator, [1.0], n_paths=300, seed=5, initial=start) for solver in (cme.ssa, cme.ensemble))
    assert found.means[0].tolist() == paths.mean()[0].tolist()
    np.testing.assert_array_equal(found.marginal("A", 0).p, paths.marginal("A", 0).p)
    assert found.covariance()[0, 0, 1] == -found.variances[0, 0]


# ------------------------------------------------------------------------------------ any threads, any blocks, all bits


@pytest.mark.parametrize("bins", [3, 500])
def test_same_bits_on_any_number_of_threads_and_in_any_blocks(bins, monkeypatch):
    network = cme.parse(EXPRESSION)
    options = {"n_paths": 700, "seed": 9, "joint": JOINT, "bins": bins}
    reference = cme.ensemble(network, TIMES, threads=1, **options)
    for threads in (2, 8):
        same(reference, cme.ensemble(network, TIMES, threads=threads, **options))
    monkeypatch.setattr(module, "_MOST_PATHS", LEAF)
    same(reference, cme.ensemble(network, TIMES, threads=3, **options))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**53) + 1, 2**53 - 1), min_size=2, max_size=40), st.integers(1, 5))
def test_sums_in_128_bits_are_those_of_python(values, size):
    values = np.array(values + values[::-1], dtype=np.int64).reshape(1, 2, -1)
    sums = [WholeSums(1, 2, True), WholeSums(1, 2, True)]
    for i, start in enumerate(range(0, values.shape[2], size)):
        sums[i % 2].add(np.ascontiguousarray(values[..., start : start + size]))
    sums[0].merge(sums[1])
    n, x, y = values.shape[2], values[0, 0].tolist(), values[0, 1].tolist()
    means, covariances = sums[0].moments(n)
    assert means.tolist() == [[sum(x) / n, sum(y) / n]]
    exact = [n * sum(a * b for a, b in zip(u, v, strict=True)) - sum(u) * sum(v) for u, v in ((x, x), (x, y), (y, y))]
    assert covariances.tolist() == [[each / (n * (n - 1)) for each in exact]] if n > 1 else np.isnan(covariances).all()


def test_counts_of_1e9_do_not_overflow():
    found = cme.ensemble(cme.parse("X -> X @ 0; Y -> Y @ 0; X = 1000000000; Y = 999999999"), 0, n_paths=20_000, seed=1)
    assert found.means.tolist() == [[1e9, 999999999.0]]
    assert np.all(found.covariance() == 0)
    assert found.quantile(0.5).tolist() == [[1e9, 999999999.0]]
    law = found.marginal("X", 0)
    assert (law.cells.lowest.tolist(), law.cells.p.tolist()) == ([10**9], [1.0])
    with pytest.raises(ValueError, match=r"a law that reaches 1e\+09 is too long an array from 0 on; take the counts"):
        law.p  # noqa: B018


def test_overflow_is_an_error():
    with pytest.raises(cme.ModelError, match=r"a count reaches 9.01e\+15, and an ensemble sums counts below 2\^53; use ssa"):
        cme.ensemble(cme.parse(f"X -> X @ 0; X = {2**53}"), 0, n_paths=3, seed=1)
    sums = WholeSums(1, 1, True)
    sums.add(np.full((1, 1, 5), 2**53 - 1))
    with pytest.raises(cme.ModelError, match=r"the squares of 2097153 counts of up to 9.01e\+15 do not fit 128 bits; take fewer paths"):
        sums.moments(2**21 + 1)


def test_real_sums_are_a_tree_over_the_paths():
    rng = np.random.default_rng(1)
    values = rng.lognormal(3, 2, (2, 3, 10 * LEAF + 7)) * [[[1], [1e-9], [1e9]]]
    first, second = pairs(3, True)
    bits = set()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        parts = [RealSums(2, 3, True) for _ in range(3)]
        for i, (start, stop) in enumerate(((0, 3 * LEAF), (3 * LEAF, 8 * LEAF), (8 * LEAF, 10 * LEAF + 7))):
            parts[i].add(start, np.ascontiguousarray(values[..., start:stop]))
        whole = RealSums(2, 3, True)
        for i in order:
            whole.merge(parts[i])
        mean, covariance = whole.moments(values.shape[2])
        bits.add(mean.tobytes() + covariance.tobytes())
    assert len(bits) == 1
    np.testing.assert_allclose(mean, values.mean(axis=2), rtol=1e-14)
    for t in range(2):
        np.testing.assert_allclose(covariance[t], np.cov(values[t])[first, second], rtol=1e-11, atol=1e-30)


# ------------------------------------------------------------------------------------------------------ closed forms


def test_immigration_death():  # THEORY A.1
    n0, k, g = 12, 6.0, 0.8
    found = cme.ensemble(cme.parse(f"0 -> X @ {k}; X -> 0 @ {g}; X = {n0}"), [0.5, 2.0], n_paths=20_000, seed=1)
    for t, time in enumerate(found.times):
        law = oracles.immigration_death(60, k, g, n0, time)
        n = np.arange(60)
        mean = float(n @ law)
        verdict.samples_match_pmf(np.repeat(found.histogram("X", t).bins.lowest, found.histogram("X", t).counts), law)
        assert abs(found["X"][t] - mean) < 5 * found.standard_error()[t, 0]
        assert abs(found.variance("X")[t] - float((n - mean) ** 2 @ law)) < 5 * found.variance_error()[t, 0]


def test_covariances_of_a_monomolecular_network():  # THEORY A.2
    found = cme.ensemble(cme.parse("0 -> A @ 4; A -> B @ 1; B -> 0 @ 0.5; A = 10; B = 5"), 1.3, n_paths=20_000, seed=2)
    convert = np.array([[0.0, 0.0], [1.0, 0.0]])
    mean, covariance = oracles.monomolecular_moments([4.0, 0.0], convert, [0.0, 0.5], [10, 5], 1.3)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(found.means[0] - mean) < 5 * sd / math.sqrt(20_000))
    error = np.sqrt((np.outer(sd**2, sd**2) + covariance**2) / 20_000)  # as if Gaussian
    assert np.all(np.abs(found.covariance()[0] - covariance) < 5 * error)


# ------------------------------------------------------------------------------------------------------ compare, plots


def test_compare_gives_the_rows_of_the_paths():
    network, times = cme.load("birth_death"), [1.0, 5.0]
    exact = cme.fsp(network, times)
    paths, found = cme.ssa(network, times, n_paths=2000, seed=3), cme.ensemble(network, times, n_paths=2000, seed=3)
    rows = cme.compare(exact, a=paths, b=found)
    one, other = (rows[rows.method == method].drop(columns="method").reset_index(drop=True) for method in "ab")
    numbers = ["value", "lo", "hi", "monte_carlo", "truncation", "integration", "grid"]
    np.testing.assert_allclose(one[numbers], other[numbers], rtol=1e-12, atol=1e-14)
    wide = cme.compare(exact, wide=cme.ensemble(network, times, n_paths=2000, seed=3, bins=6))
    worst = wide[(wide.metric == "total_variation") & (wide.time == 5)].iloc[0]
    assert worst.grid > 0.05  # bins of 4 molecules cannot tell
    assert worst.lo == 0
    pytest.importorskip("matplotlib")
    assert len(cme.plots.marginals(exact, b=found).axes) == 2
    assert len(cme.plots.moments(found, fsp=exact).axes) == 1


# ---------------------------------------------------------------------------------------------------------- refusals


def chain_of(n):
    return ";".join(f"X{i} -> X{i + 1} @ 1" for i in range(n - 1)) + "; X0 = 50"


def refuse(error, match, text="0 -> X @ 1", times=(1.0,), **options):
    with pytest.raises(error, match=match):
        cme.ensemble(cme.parse(text), times, **{"n_paths": 40, "seed": 1, **options})


def test_refusals():
    refuse(ValueError, "no species or observable 'Z' to keep a histogram of; there are X", histogram=["Z"])
    refuse(ValueError, "no species or observable 'Z' to keep a histogram of; there are X", joint=[("X", "Z")])
    refuse(ValueError, "bins must be at least 2, not 1", bins=1)
    refuse(ValueError, "n_paths must be at least 1, not 0", n_paths=0)
    refuse(ValueError, "threads must be at least 1", threads=0)
    refuse(MemoryError, "histograms and covariances for 2 threads take", bins=10**10, threads=2)
    refuse(
        MemoryError,
        "histograms and covariances for 1 threads take",
        chain_of(300),
        range(10**5),
        covariance=True,
        histogram=False,
        threads=1,
    )
    refuse(cme.ModelError, "reaction 'drain' fires in state", "drain: X => 0 @ 1; X = 3", times=(50.0,))
    found = cme.ensemble(cme.parse("0 -> X @ 1; 0 -> Y @ 1"), 1.0, n_paths=1, seed=1, histogram=["Y"], covariance=False)
    assert np.isnan(found.variances).all()
    with pytest.raises(ValueError, match=r"no histogram of 'X' was kept; call ensemble\(..., histogram=True\) or histogram=\['X'\]"):
        found.histogram("X", 0)
    with pytest.raises(KeyError, match="no species or observable 'Z'; there are X, Y"):
        found.histogram("Z", 0)
    with pytest.raises(ValueError, match=r"covariances were not kept, .*; call ensemble\(..., covariance=True\)"):
        found.covariance()
    with pytest.raises(ValueError, match=r"no joint histogram of 'X' and 'Y' was kept; call ensemble\(..., joint="):
        found.joint("X", "Y", 0)
    with pytest.raises(ValueError, match="a quantile is asked for a fraction from 0 to 1, not 50"):
        found.quantile(50, "Y")
    assert found.quantile(0.5, "Y").shape == (1,)


def test_refusals_of_models():
    walk = cme.RandomWalk(lambda x: 0.0 * x, 1.0, 0.1).generator(-1.0, 1.0)
    with pytest.raises(ValueError, match="the states of this generator are positions, and an ensemble counts; sample it with ssa"):
        cme.ensemble(walk, 1.0, initial=np.eye(len(walk.states))[0], seed=1)
    driven = cme.Generator.from_rates(lambda t: np.array([[0.0, 1.0], [1.0 + t, 0.0]]))
    with pytest.raises(TypeError, match="ensemble takes a Network or a Generator, and not a TimeDependentGenerator; its"):
        cme.ensemble(driven, 1.0, initial=[1, 0], seed=1)


def test_the_complaint_is_the_same_on_any_number_of_threads():
    text = "0 -> X @ 1; X -> 0 @ 0.1; odd: 0 => Y @ 3 - X + 0*Y; Y -> 0 @ 1"
    complaints = set()
    for threads in (1, 2, 8):
        with pytest.raises(cme.ModelError) as caught:
            cme.ensemble(cme.parse(text), [30.0], n_paths=200, seed=4, threads=threads)
        complaints.add(str(caught.value))
    assert len(complaints) == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_ctrl_c_stops_the_threads():
    def interrupt(*_):
        raise KeyboardInterrupt

    network = cme.parse("0 -> X @ 1000; X -> 0 @ 1")
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            cme.ensemble(network, 1e6, n_paths=1000, seed=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_memory_of_a_tally_does_not_depend_on_the_number_of_paths():
    tally = Tally(2, (1, 0), (True, False), {"X": (0, 0)}, {}, 8)
    before = [each.nbytes for each in (tally.wholes.sums, tally.wholes.products, tally.charts["X"][1].counts)]
    for first in range(0, 320, 32):
        tally.add(first, np.full((32, 2, 1), first), np.empty((32, 2, 0)))
    assert before == [each.nbytes for each in (tally.wholes.sums, tally.wholes.products, tally.charts["X"][1].counts)]
    nodes = RealSums(1, 1, True)
    for first in range(0, 1024 * LEAF, LEAF):
        nodes.add(first, np.ones((1, 1, LEAF)))
        assert len(nodes.nodes) <= 11


# --------------------------------------------------------------------------------------------------------- many species


def test_covariances_are_kept_by_default_up_to_a_hundred_species():
    options = {"n_paths": 100, "seed": 3}
    small, large = (cme.ensemble(cme.parse(chain_of(n)), [1.0, 2.0], **options) for n in (100, 101))
    assert (small.info["options"]["covariance"], large.info["options"]["covariance"]) == (True, False)
    np.testing.assert_allclose(small.covariance()[:, 3, 3], small.variances[:, 3])
    with pytest.raises(ValueError, match=r"covariances were not kept, as by default of more than 100 species; call ensemble"):
        large.covariance()
    asked = cme.ensemble(cme.parse(chain_of(101)), [1.0, 2.0], covariance=True, **options)
    np.testing.assert_array_equal(asked.variances, large.variances)
    paths = cme.ssa(cme.parse(chain_of(101)), [1.0, 2.0], **options).counts[:, 1]
    np.testing.assert_allclose(asked.covariance()[1], np.cov(paths.T), atol=1e-12)
    assert cme.ensemble(cme.parse(chain_of(3)), [1.0], covariance=False, **options).info["options"]["covariance"] is False


def test_what_is_taken_at_the_end_and_by_blocks_is_counted():
    def size(n, covariance, n_paths=10_000):
        sampler = sampler_for(cme.parse(chain_of(n)), TIMES, np.zeros(2, np.uint64), None, n_paths, "auto", None)
        return module._Plan(sampler, TIMES, covariance, False, (), 500).n_bytes(1, n_paths)

    assert size(200, False) < 2.2 * size(100, False)
    for n in (100, 400):
        held = 8 * len(TIMES) * n**2  # the covariances, a sum of 16 bytes for each pair in two tallies, and their quotients
        assert size(n, True) - size(n, False) > 2.5 * held


@pytest.mark.parametrize(("bits", "n_paths"), [(10, 50), (10, 2**17), (30, 1000)])
def test_moments_of_short_and_of_long_numbers_are_those_of_python(bits, n_paths):
    rng = np.random.default_rng(bits)
    values = rng.integers(-(2**bits), 2**bits, size=(2, 3, n_paths))
    sums = WholeSums(2, 3, True)
    sums.add(np.ascontiguousarray(values))
    means, covariances = sums.moments(n_paths)
    for k in range(2):
        rows = values[k].tolist()
        totals = [sum(row) for row in rows]
        assert means[k].tolist() == [total / n_paths for total in totals]
        exact = [
            (n_paths * sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) - totals[i] * totals[j]) / (n_paths * (n_paths - 1))
            for i in range(3)
            for j in range(i, 3)
        ]
        assert covariances[k].tolist() == exact
