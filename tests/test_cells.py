"""Laws of positions on cells of any width and place, in results and in `compare`."""

import numpy as np
import pytest
from scipy.stats import norm

import cme
from cme.cells import count_points, lattice_edges, spread_points
from cme.results import Distribution, Moments, Trajectories

NONE = np.zeros(1)


def density(low, high, n_cells, mean=-1.0, sd=0.6):
    """A Gaussian on cells of a grid."""
    edges = np.linspace(low, high, n_cells + 1)
    p = np.diff(norm.cdf(edges, mean, sd))
    width = np.array([edges[1] - edges[0]])
    centres = (edges[1:] + edges[:-1]) / 2
    return Distribution(np.array([1.0]), ("x",), centres[:, None], p[None], NONE, NONE, {"solver": "grid"}, widths=width, cells=width)


def gaussian(mean=-1.0, sd=0.6):
    return Moments(np.array([1.0]), ("x",), np.array([[mean]]), np.array([[[sd**2]]]), {"solver": "gauss"})


def values(table, method):
    return table[table.method == method].set_index("metric").value


def test_cells_lie_around_a_centre_and_cover_what_they_must():
    assert lattice_edges(0.1, 0.5, -0.9, 0.6).tolist() == pytest.approx([-1.15, -0.65, -0.15, 0.35, 0.85])
    assert lattice_edges(0.0, 1.0, 2.0, 2.0).tolist() == [1.5, 2.5]


def test_points_on_an_edge_belong_above_it_also_after_rounding():
    edges = lattice_edges(0.0, 0.2, -0.2, 0.2)
    assert count_points(np.array([0.1 + 1e-17, 0.3 - 0.2, -0.1]), edges).tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    with pytest.raises(ValueError, match=r"the value 7 lies outside the cells from -0\.3 to 0\.3"):
        count_points(np.array([7.0]), edges)


def test_a_density_goes_to_other_cells_by_its_distribution_function():
    fine = density(-4, 2, 200)
    edges = lattice_edges(0.13, 0.4, -4, 2)
    found = spread_points(fine.states[:, 0], fine.p[0], 0.03, edges)
    cuts = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    assert np.abs(found - np.diff(norm.cdf(cuts, -1, 0.6))).max() < 2e-6
    assert spread_points(
        fine.states[:, 0], fine.p[0], 0.03, lattice_edges(fine.states[0, 0], fine.widths[0], -3.99, 1.99)
    ) == pytest.approx(fine.p[0])


def test_marginals_of_positions_keep_what_lies_below_zero_where_it_is():
    law = density(-4, 2, 60)
    marginal = law.marginal("x", 0)
    assert marginal.p == pytest.approx(law.p[0])
    assert (marginal.edges[1:] + marginal.edges[:-1]) / 2 == pytest.approx(law.states[:, 0])
    assert marginal.negative == pytest.approx(norm.cdf(0, -1, 0.6), abs=0.02)
    assert law["x"] == pytest.approx(law.p)
    assert list(law.summary().columns) == ["time", "species", "mean", "sd"]  # a Fano factor of a position means nothing


def test_compare_puts_all_on_the_cells_of_the_reference():
    law = density(-4, 2, 60)
    table = cme.compare(law, Gauss=gaussian(), Other=density(-3.9, 2.3, 311), Moved=gaussian(mean=-0.9))
    assert set(table.metric) == {"mean", "sd", "total_variation", "hellinger", "kl", "wasserstein_1"}
    assert values(table, "Gauss").total_variation < 1e-6
    assert values(table, "Other").total_variation < 1e-5
    assert values(table, "Moved").wasserstein_1 == pytest.approx(0.1, rel=1e-5)  # in units of length
    moved = 2 * norm.cdf(0.05 / 0.6) - 1
    assert values(table, "Moved").total_variation == pytest.approx(moved, rel=5e-3)


def test_compare_counts_paths_on_the_cells_of_the_reference():
    rng = np.random.default_rng(1)
    samples = rng.normal(-1, 0.6, (20_000, 1, 1))
    paths = Trajectories(np.array([1.0]), ("x",), samples, {"solver": "langevin"}, cells=np.array([0.1]))
    table = cme.compare(density(-6, 4, 100), paths=paths)
    row = table[(table.metric == "total_variation") & (table.method == "paths")].iloc[0]
    assert row.lo == 0 < row.value < row.hi
    row = table[(table.metric == "wasserstein_1") & (table.method == "paths")].iloc[0]
    assert row.lo == 0 < row.value < row.hi < 0.1
    own = paths.marginal("x", 0)
    assert own.p.sum() == pytest.approx(1)
    assert np.diff(own.edges) == pytest.approx(0.1)


def test_compare_measures_the_grid_on_the_same_cells():
    fine, coarse = density(-4, 2, 60), density(-4, 2, 30)
    law = Distribution(
        fine.times, fine.species, fine.states, fine.p, NONE, NONE, {"solver": "grid"}, widths=fine.widths, cells=fine.widths, coarse=coarse
    )
    table = cme.compare(law, Gauss=gaussian())
    row = table[(table.metric == "total_variation") & (table.method == "Gauss")].iloc[0]
    assert 0 < row.grid < 0.02


def test_a_reference_over_amounts_refuses_positions():
    n = np.arange(3)[:, None]
    counts = Distribution(np.array([1.0]), ("x",), n, np.ones((1, 3)) / 3, NONE, NONE, {"solver": "fsp"})
    with pytest.raises(
        ValueError, match=r"'x' is a position in walk and not in fsp, whose integer cells would hide.*make walk the reference"
    ):
        cme.compare(counts, walk=density(-4, 2, 60))
    assert values(cme.compare(density(-1.5, 4.5, 6), fsp=counts), "fsp").total_variation > 0.5
