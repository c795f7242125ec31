"""Lumping: degenerate levels, the hypercube and the urn, identical copies and indistinguishable sites, and what is refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import expm
from scipy.special import comb
from scipy.stats import binom, multinomial

import cme
from cme.projection.propagator import evolve

STEADY = cme.Generator.from_rates(np.random.default_rng(7).random((6, 6)))


def random_levels():
    degeneracy = np.array([1, 3, 2])
    micro = np.array([[0.0, 0.7, 1.3], [0.4, 0.0, 0.9], [2.0, 0.6, 0.0]])
    level = np.repeat(np.arange(3), degeneracy)
    return degeneracy, micro, level, cme.Generator.from_rates(micro[np.ix_(level, level)])


def test_degeneracy_of_the_destination_is_right():
    degeneracy, micro, level, full = random_levels()
    lumped = full.lump(level)
    assert lumped.generator.matrix.toarray() == pytest.approx(cme.Generator.from_levels(micro, degeneracy).matrix.toarray(), abs=1e-14)
    start = np.eye(6)[0]
    exact = lumped.lump(cme.propagator(full, 0.8) @ start)
    assert cme.propagator(lumped.generator, 0.8) @ lumped.lump(start) == pytest.approx(exact, abs=1e-14)


def test_mean_microstate_probabilities_have_their_own_equation():
    """d pi_x/dt = sum over y of d_y [w(x, y) pi_y - w(y, x) pi_x], pi = P / d."""
    degeneracy, micro, _, _ = random_levels()
    p = np.array([0.5, 0.2, 0.3])
    pi = p / degeneracy
    right = [sum(degeneracy[y] * (micro[x, y] * pi[y] - micro[y, x] * pi[x]) for y in range(3)) for x in range(3)]
    assert (cme.Generator.from_levels(micro, degeneracy) @ p) / degeneracy == pytest.approx(right, abs=1e-14)


def test_the_commenters_source_degeneracy_is_wrong():
    degeneracy, micro, level, full = random_levels()
    wrong = cme.Generator.from_rates(micro * degeneracy[None, :])  # weights what leaves by the degeneracy of the source
    exact = full.lump(level).lump(cme.propagator(full, 0.8) @ np.eye(6)[0])
    assert np.abs(cme.propagator(wrong, 0.8) @ np.array([1.0, 0, 0]) - exact).sum() > 0.3


def test_symmetric_rates_fill_levels_by_their_degeneracy():
    micro = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0.0]])
    law = cme.stationary(cme.Generator.from_levels(micro, [1, 3, 2]))
    assert law.p[0] == pytest.approx(np.array([1, 3, 2]) / 6, abs=1e-14)


def cube(n):
    flips = "; ".join(f"u{i} <-> d{i} @ 1, 1; d{i} = 1" for i in range(n))
    return cme.parse(flips + "; up := " + " + ".join(f"u{i}" for i in range(n)))


def test_hypercube_lumps_to_the_ehrenfest_urn():
    """4096 corners to 13 levels: up rate N - n, down rate n, spectrum -2k, binomial law."""
    lumped = cme.lump(cube(12), keep=["up"])
    assert repr(lumped) == "Lumping: 4096 states in 13 levels, 315 times fewer"
    order = np.argsort(lumped.generator.states[:, 0])
    a = lumped.generator.matrix.toarray()[np.ix_(order, order)]
    assert np.diag(a, -1) == pytest.approx(12.0 - np.arange(12), abs=1e-12)
    assert np.diag(a, 1) == pytest.approx(1.0 + np.arange(12), abs=1e-12)
    assert lumped.sizes[order].tolist() == [comb(12, k, exact=True) for k in range(13)]
    assert lumped.generator.spectrum().real == pytest.approx(-2.0 * np.arange(13), abs=2e-12 * 24)
    law = cme.fsp(lumped.generator, [0.3], initial={"up": 0}, tol=1e-11)
    assert law.p[0][order] == pytest.approx(binom.pmf(np.arange(13), 12, (1 - np.exp(-0.6)) / 2), abs=1e-11)


def test_spectrum_of_the_cube_has_binomial_multiplicities():
    full = cme.Generator.from_network(cube(7))
    values = np.round(full.spectrum(pi=np.full(128, 1 / 128)), 9)
    found, times = np.unique(values + 0.0, return_counts=True)
    assert found.tolist() == [-2.0 * k for k in range(7, -1, -1)]
    assert times.tolist() == [comb(7, k, exact=True) for k in range(7, -1, -1)]


def test_identical_gene_copies_shrink():
    """Three copies of a telegraph gene with one mRNA: which copy is on does not matter to the mRNA."""
    text = "; ".join(f"f{i} <-> n{i} @ 0.5, 1; n{i} -> n{i} + M @ 4; f{i} = 1" for i in range(3))
    network = cme.parse(text + "; M -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"M": 25})
    lumped = cme.lump(network, keep=["M"], space=space)
    assert len(space) == 8 * 26
    assert len(lumped.generator) == 4 * 26
    full = cme.Generator.from_network(network, space)
    start = full.start({name: float(name.startswith("f")) for name in network.species_names})  # all copies off, no mRNA
    p = evolve(full, start, [1.5], tol=1e-10).p[0]
    assert evolve(lumped.generator, lumped.lump(start), [1.5], tol=1e-10).p[0] == pytest.approx(lumped.lump(p), abs=1e-10)


def test_a_partition_that_is_not_lumpable_is_refused_with_the_defect():
    generator = cme.Generator.from_rates([[0, 1, 2], [1, 0, 0], [3, 0, 0]])
    partition = np.array([0, 1, 1])
    assert cme.lumping_defect(generator, partition) == (0.5, 0, (1, 2), (1.0, 2.0))
    with pytest.raises(
        cme.ModelError, match=r"from \{x: 1\} and from \{x: 2\}, both of level 1, the rates into level 0 are 1 and 2; split"
    ):
        generator.lump(partition)
    assert len(np.unique(cme.coarsest_lumping(generator, [[0.0], [1.0], [1.0]]))) == 3


def test_slow_rates_count_as_much_as_fast_ones():
    """Two slow exits at different rates, beside a reaction 1e11 times faster, are not the same: 2 - exp(-0.3) - exp(-0.9)."""
    network = cme.parse("A <-> B @ 1e7, 1e7; C -> D @ 1e-4; E -> F @ 3e-4; C = 1; E = 1; A = 1; done := D + F")
    lumped = cme.lump(network, keep=["done"]).generator
    assert sorted(lumped.states[:, 0]) == [0, 1, 1, 2]
    p = cme.propagator(lumped, 3000.0) @ lumped.start({"done": 0})
    assert p @ lumped.states[:, 0] == pytest.approx(2 - np.exp(-0.3) - np.exp(-0.9), rel=1e-12)
    w = np.zeros((6, 6))
    w[5, 4] = w[4, 5] = 1e6
    w[2, 0] = w[0, 2] = w[1, 3] = 1e-5
    w[3, 1] = 3e-5
    generator, partition = cme.Generator.from_rates(w), np.array([0, 0, 1, 1, 2, 3])
    assert cme.lumping_defect(generator, partition).size == pytest.approx(2 / 3)
    with pytest.raises(cme.ModelError, match=r"the rates into level 1 are 1e-05 and 3e-05"):
        generator.lump(partition)
    w[3, 1] = 1e-5  # the fast pair inside two levels must not blur the slow rates of their generator
    slow = cme.Generator.from_rates(w).lump(np.array([0, 0, 1, 1, 2, 2])).generator.matrix.toarray()
    assert slow == pytest.approx(np.array([[-1, 1, 0], [1, -1, 0], [0, 0, 0]]) * 1e-5, rel=1e-14, abs=0)


def test_rates_that_differ_little_from_one_to_the_next():
    """What keep= finds is lumpable by the test of a partition, also where small differences add up."""
    for n, spread in ((2000, 1e-6), (5000, 2.5e-7), (50, 1e-13)):
        w = sp.csr_array((np.linspace(1, 1 + spread, n), (np.zeros(n, dtype=int), np.arange(1, n + 1))), shape=(n + 1, n + 1))
        generator = cme.Generator.from_rates(w)
        labels = cme.coarsest_lumping(generator, (np.arange(n + 1) > 0)[:, None])
        assert len(generator.lump(labels).generator) == labels.max() + 1
        assert (labels.max() == 1) == (spread == 1e-13)


@pytest.mark.parametrize("off", [3e-9, 1e-4])
def test_a_difference_above_rounding_is_a_difference(off):
    generator = cme.Generator.from_rates([[0, 1, 1 + off], [1, 0, 0], [1, 0, 0]])
    with pytest.raises(cme.ModelError, match="the partition is not lumpable"):
        generator.lump(np.array([0, 1, 1]))


def test_what_leaks_must_be_the_same_in_a_level():
    network = cme.parse("A -> B @ 1; A = 2; B = 0")
    leaking = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"B": 1}))
    assert leaking.leak.tolist() == [0, 1]
    two = cme.Generator(leaking.matrix * 0, np.array([1.0, 2.0]), np.arange(2)[:, None])
    assert cme.coarsest_lumping(two).tolist() == [0, 1]
    with pytest.raises(cme.ModelError, match="the rates out of the kept states are 1 and 2"):
        two.lump(np.array([0, 0]))
    same = cme.Generator(leaking.matrix * 0, np.array([2.0, 2.0]), np.arange(2)[:, None]).lump(np.array([0, 0])).generator
    assert same.leak.tolist() == [2.0]
    assert same.matrix.toarray().tolist() == [[-2.0]]


@pytest.mark.parametrize("m", [3, 4])
def test_indistinguishable_sites_become_counts(m):
    """n sites with m states each, any rates between them: m^n states in C(n + m - 1, n) levels; each site by itself is multinomial."""
    n, rng = 5, np.random.default_rng(m)
    rates = rng.random((m, m))
    jumps = [f"s{i}_{a} -> s{i}_{b} @ {rates[b, a]}" for i in range(n) for a in range(m) for b in range(m) if a != b]
    counts = [f"n{a} := " + " + ".join(f"s{i}_{a}" for i in range(n)) for a in range(m)]
    network = cme.parse("; ".join([*jumps, *(f"s{i}_0 = 1" for i in range(n)), *counts]))
    names = [f"n{a}" for a in range(m)]
    lumped = cme.lump(network, keep=names)
    assert len(lumped.labels) == m**n
    assert len(lumped.generator) == comb(n + m - 1, n, exact=True)
    one = expm(0.7 * (rates - np.diag(np.diag(rates)) - np.diag(rates.sum(axis=0) - np.diag(rates))))[:, 0]
    p = cme.propagator(lumped.generator, 0.7) @ lumped.generator.start((n, *[0] * (m - 1)))
    assert p == pytest.approx(multinomial(n, one).pmf(lumped.generator.states), abs=1e-13)


def test_coarsest_lumping_is_lumpable_and_no_finer_than_needed():
    rng = np.random.default_rng(11)
    for _ in range(20):
        blocks = rng.integers(0, 4, size=12)
        blocks = np.unique(blocks, return_inverse=True)[1]
        between = rng.random((blocks.max() + 1, blocks.max() + 1))
        members = np.bincount(blocks)
        w = between[np.ix_(blocks, blocks)] / members[blocks][:, None]  # lumpable by design
        generator = cme.Generator.from_rates(w)
        labels = cme.coarsest_lumping(generator, blocks[:, None].astype(float))
        assert cme.lumping_defect(generator, labels).size < 1e-9
        assert labels.max() == blocks.max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cme.lump(STEADY), "give the partition, or the names whose values to keep apart, not both"),
        (lambda: cme.lump(STEADY, keep=["y"]), "keep names 'y'; there are x"),
        (lambda: cme.lump(STEADY, keep=["x"], space="all"), "a generator has its states already; leave out space"),
        (lambda: STEADY.lump([[0, 1], [2, 3, 4, 5]]), "must give the level of each of the 6 states, and not the members of each level"),
        (lambda: cme.coarsest_lumping(STEADY, [[0.0], [np.nan], [0], [0], [0], [0]]), "the value to keep apart of state 1 is nan"),
        (lambda: STEADY.lump(np.array([0, 1])), "a partition must give a whole number for each of the 6 states"),
        (lambda: STEADY.lump(np.array([0, 0, 0, 2, 2, 2])), r"numbered 0, 1, ..., L-1 without gaps"),
    ],
)
def test_lumping_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
