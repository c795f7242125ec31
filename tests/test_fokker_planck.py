"""Fokker-Planck densities against closed forms (THEORY B, C1, C4, E12), the scheme's laws, and every refusal."""

import numpy as np
import pytest
from scipy.stats import gamma, ncx2, poisson

import cme
from cme.continuum.domain import divide, make_grid
from cme.continuum.network_flow import reduce_network
from cme.generator import Generator

SCHLOGL = "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250"
TOGGLE = "0 => U @ 50/(1+V^2.5); U -> 0 @ 1; 0 => V @ 16/(1+U); V -> 0 @ 1"
ENZYME = "S + E <-> ES @ 0.1, 1; ES -> E + P @ 1; S = 30; E = 4"


def birth_death(k, g=1.0, x0=0):
    return cme.parse(f"0 -> X @ {k}; X -> 0 @ {g}; X = {x0}")


def shifted_cir(k, g, x0, t):
    """B.2: 2 c (X + k/g) is noncentral chi-square; its distribution function."""
    c = 2 / (1 - np.exp(-g * t))
    return lambda x: ncx2.cdf(2 * c * (x + k / g), 8 * k / g, 2 * c * (x0 + k / g) * np.exp(-g * t))


def cell_error(density, cdf, t=0):
    """The total variation on the grid's own (equal) cells."""
    centres, half = density.states[:, 0], density.widths[0] / 2
    return 0.5 * np.abs(density.p[t] - (cdf(centres + half) - cdf(centres - half))).sum()


def on_integers(cdf, size):
    cuts = np.concatenate([[-np.inf], np.arange(size) + 0.5])
    return np.diff(cdf(cuts))


def total_variation(p, q):
    size = max(len(p), len(q))
    return 0.5 * np.abs(np.pad(p, (0, size - len(p))) - np.pad(q, (0, size - len(q)))).sum()


def grid_of(text, box, cells, natural=False):
    network = cme.parse(text)
    start = np.array(network.initial.states)
    flow = reduce_network(network, start, natural=natural)
    box, counts = divide(flow, np.array(box, dtype=float), cells)
    return make_grid(flow, box, counts, start[0, list(flow.columns)])


# ------------------------------------------------------------------------------------------------------ one species


@pytest.mark.parametrize(("cells", "error"), [(48, 2.69e-3), (96, 6.71e-4), (192, 1.69e-4), (384, 4.22e-5)])
def test_E12_stationary_density_on_its_own_cells(cells, error):
    density = cme.fokker_planck(birth_death(8), np.inf, boundary="natural", cells=cells, domain={"X": (-8, 40)})
    assert density.widths[0] == 48 / cells
    assert cell_error(density, gamma(32, loc=-8, scale=0.5).cdf) == pytest.approx(error, rel=5e-3)


def test_E12_transient_is_of_second_order():
    """E12 gives 9.9e-3, 2.6e-3, 6.4e-4, 1.6e-4 at spacings 1, 1/2, 1/4, 1/8 (start and time are not named there)."""
    errors = []
    for cells in (48, 96, 192, 384):
        density = cme.fokker_planck(birth_death(8, x0=20), [0.75], boundary="natural", cells=cells, domain={"X": (-8, 40)})
        errors.append(cell_error(density, shifted_cir(8, 1, 20, 0.75)))
    assert np.all(np.array(errors) < [9.9e-3, 2.6e-3, 6.4e-4, 1.6e-4])
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(2.0, abs=0.05)


def test_B2_transient_density_and_its_third_cumulant():
    times = np.array([0.2, 0.6, 5.0])
    density = cme.fokker_planck(birth_death(12, 0.8, 3), times, boundary="natural")
    for t in range(3):
        truth = on_integers(shifted_cir(12, 0.8, 3, times[t]), 80)
        assert total_variation(density.marginal("X", t).p, truth) < density.info["grid_error"] < 1e-4
    x = density.states[:, 0]
    mean = density.mean()[1, 0]
    assert mean == pytest.approx(3 * np.exp(-0.48) + 15 * (1 - np.exp(-0.48)), rel=1e-6)  # exact: the scheme keeps linear means
    assert density.p[1] @ (x - mean) ** 3 == pytest.approx(3.259, abs=1e-3)  # 5.550 in the master equation


@pytest.mark.parametrize(("lam", "mean"), [(0.5, 0.75), (1, 1.2105263), (2, 2.1254979), (5, 5.0187255)])
def test_B3_a_wall_at_zero_biases_the_mean(lam, mean):
    density = cme.fokker_planck(birth_death(lam), np.inf, tol=1e-6)
    assert density.mean()[0, 0] == pytest.approx(mean, abs=2e-6)
    assert density.marginal("X", 0).negative == 0.0


C1 = {  # lambda: natural TV, Hellinger, KL, W1, mass below zero; reflected TV, mean
    1: (1.656e-2, 1.47e-2, 8.43e-4, 0.0215, 0.1429, 0.1230, 1.2105),
    10: (2.15e-3, 6.15e-3, 1.39e-4, 0.0081, 5.3e-5, 2.12e-3, 10.0006),
    100: (1.93e-4, 4.33e-4, 7.48e-7, 0.0024, None, 1.93e-4, 100.0),
}


@pytest.mark.parametrize("lam", C1)
def test_C1_distances_from_poisson(lam):
    tv, hellinger, kl, w1, negative, reflected, mean = C1[lam]
    p = poisson.pmf(np.arange(int(lam + 8 * np.sqrt(lam) + 20)), lam)
    density = cme.fokker_planck(birth_death(lam), np.inf, boundary="natural", tol=1e-6)
    q = np.pad(density["X"][0], (0, 400))[: len(p)]
    held = p > 1e-14
    assert total_variation(p, q) == pytest.approx(tv, rel=6e-3)
    assert np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()) == pytest.approx(hellinger, rel=6e-3)
    assert (p[held] * np.log(p[held] / q[held]) - p[held] + q[held]).sum() == pytest.approx(kl, rel=6e-3)
    assert np.abs(np.cumsum(p - q)).sum() == pytest.approx(w1, abs=6e-5)
    if negative is not None:
        assert density.marginal("X", 0).negative == pytest.approx(negative, rel=6e-3)
    wall = cme.fokker_planck(birth_death(lam), np.inf, tol=1e-6)
    assert total_variation(p, wall["X"][0]) == pytest.approx(reflected, rel=6e-3)
    assert wall.mean()[0, 0] == pytest.approx(mean, abs=1e-4)


def test_C4_schlogl_with_reflecting_walls():
    network = cme.parse(SCHLOGL)
    density = cme.fokker_planck(network, np.inf, tol=1e-6, domain={"X": (0, 1200)})
    assert density.mean()[0, 0] == pytest.approx(454.963141, abs=2e-5)
    assert density.sd()[0, 0] == pytest.approx(199.812518, abs=2e-5)
    p = density["X"][0]
    assert p[:257].sum() == pytest.approx(0.22004470, abs=5e-8)
    assert total_variation(p, cme.stationary(network, tol=1e-9)["X"][0]) == pytest.approx(2.24e-4, rel=5e-3)


def test_C4_both_wells_are_found_and_filled_in_time():
    """From the lower well, the upper one fills at long times; the domain is found without a hint."""
    network = cme.parse(SCHLOGL)
    density = cme.fokker_planck(network, [1.0, 1e3, 1e7], initial={"X": 80})
    assert density.info["edge_mass"] < 1e-9
    below = density.probability(lambda X: X <= 256.5)
    assert below[0] > 0.999
    assert below[2] == pytest.approx(0.2200447, abs=1e-3)
    early = cme.fokker_planck(network, [10.0])
    assert early.mean()[0, 0] == pytest.approx(316.59, abs=0.05)  # the master equation has 316.591680 and 238.069673
    assert early.sd()[0, 0] == pytest.approx(238.07, abs=0.05)


def test_C4_a_set_where_the_diffusion_fails():
    """Total variation between the stationary laws at volume 20 and 40: 5.5e-2 and 9.3e-3."""
    for volume, distance in ((20, 5.5e-2), (40, 9.3e-3)):
        rates = f"0 -> X @ {0.6 * volume}; 2 X -> 3 X @ {5.6 / volume}; X -> 0 @ 6.55; 3 X -> 2 X @ {1 / volume**2}"
        network = cme.parse(f"convention falling; {rates}; X = 1")
        density, law = cme.fokker_planck(network, np.inf), cme.stationary(network, tol=1e-8)
        assert total_variation(density["X"][0], law["X"][0]) == pytest.approx(distance, rel=1e-2)


def test_B4_absorption_at_zero():
    """Linear birth-death, lam = 2, mu = 1, from 5: extinct by t = 1 and 5 with probability 5.127e-3 and 3.488e-2."""
    density = cme.fokker_planck(cme.parse("X -> 2 X @ 2; X -> 0 @ 1; X = 5"), [1.0, 5.0], domain={"X": (0, 12000)}, tol=1e-3)
    at_zero = density.p[:, density.states[:, 0] == 0].ravel()
    assert at_zero == pytest.approx([5.127e-3, 3.488e-2], rel=2e-2)
    assert density.mean().ravel() == pytest.approx(5 * np.exp([1.0, 5.0]), rel=1e-3)
    gone = cme.fokker_planck(cme.parse("X -> 0 @ 1; X = 20"), np.inf)
    assert gone.mean()[0, 0] == 0.0


def test_the_grid_error_bounds_the_error_also_on_graded_cells():
    for k, times in ((0.3, [1.0, 4.0]), (20.0, [0.3, 2.0])):
        reference = cme.fokker_planck(birth_death(k), times, cells=4096)
        density = cme.fokker_planck(birth_death(k), times, tol=1e-3)
        for t in range(len(times)):
            assert total_variation(density.marginal("X", t).p, reference.marginal("X", t).p) <= density.info["grid_error"] <= 1e-3


def test_amounts_between_the_nodes_keep_their_mean_and_time_zero_is_the_start():
    density = cme.fokker_planck(birth_death(10), [0.0, 0.5], initial=[2.7])
    assert density.mean()[0, 0] == pytest.approx(2.7, abs=1e-12)
    assert np.count_nonzero(density.p[0]) == 2
    spread = cme.fokker_planck(birth_death(10), [0.0], initial={(2,): 0.25, (8,): 0.75})
    assert spread.mean()[0, 0] == pytest.approx(6.5, abs=1e-12)
    assert spread["X"][0, 8] == pytest.approx(0.75, abs=0.05)


def test_dependent_species_follow_on_both_boundaries():
    """A <-> B with 50 molecules: the natural diffusion has the binomial's mean and variance."""
    network = cme.parse("A <-> B @ 1, 2; A = 50")
    for boundary in ("natural", "reflect"):
        density = cme.fokker_planck(network, np.inf, boundary=boundary)
        assert density.mean()[0] == pytest.approx([100 / 3, 50 / 3], abs=1e-3)
        assert density.sd()[0] == pytest.approx(np.full(2, np.sqrt(50 * 2 / 9)), rel=1e-3)
        assert np.ptp(density.states.sum(axis=1)) < 1e-9


# ------------------------------------------------------------------------------------------------------ two species


@pytest.mark.parametrize("times", [[0.4, 3.0], np.inf])
def test_A2_mean_and_full_covariance_of_a_linear_network(times):
    """0 -> A -> B -> 0, noises that are correlated: exact for cells of at most one molecule, and far from walls."""
    network = cme.parse("0 -> A @ 60; A -> B @ 1; B -> 0 @ 1; A = 50; B = 70")
    density, gauss = cme.fokker_planck(network, times, cells=120, domain={"A": (0, 120), "B": (0, 120)}), cme.lna(network, times)
    assert density.widths.tolist() == [1, 1]
    assert density.mean() == pytest.approx(gauss.means, abs=1e-6)
    assert density.covariance() == pytest.approx(gauss.covariance, abs=1e-5)


def test_the_central_scheme_with_whole_steps_is_the_master_equation_off_the_walls():
    """G1: on whole counts the drift and noise at the nodes are those of the jumps."""
    text = "0 -> A @ 3; A -> B @ 2; B -> 0 @ 1; A = 5; B = 5"
    grid = grid_of(text, [[0, 12], [0, 12]], 12)
    fluid = grid.generator(fitted=False).matrix.toarray()
    jumps = Generator.from_network(cme.parse(text), cme.StateSpace.reachable(cme.parse(text), bounds={"A": 12, "B": 12}))
    order = {tuple(state): i for i, state in enumerate(jumps.states.tolist())}
    same = [order[tuple(node)] for node in np.round(grid.nodes).astype(int).tolist()]
    exact = jumps.matrix.toarray()[np.ix_(same, same)]
    inner = np.flatnonzero(np.all((grid.nodes > 1) & (grid.nodes < 11), axis=1))
    assert fluid[:, inner] == pytest.approx(exact[:, inner], abs=1e-12)


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize(
    ("text", "box", "natural"),
    [
        (TOGGLE, [[0, 60], [0, 30]], False),
        (ENZYME, [[0, 30], [0, 4]], False),
        ("A + B <-> 0 @ 0.1, 20; A <-> B @ 1, 1; A = 10; B = 10", [[0, 40], [0, 40]], False),
        ("S + I -> 2 I @ 0.1; I -> R @ 0.5; S = 29; I = 1", [[0, 30], [0, 30]], False),
        (SCHLOGL, [[-40, 900]], True),
        ("0 -> 5 X @ 2; X -> 0 @ 1", [[0, 80]], False),
    ],
)
@pytest.mark.parametrize("cells", [10, 36])
def test_M8_rates_are_non_negative_and_columns_sum_to_zero(text, box, natural, cells, fitted):
    matrix = grid_of(text, box, cells, natural).generator(fitted).matrix
    off = matrix.copy()
    off.setdiag(0)
    assert off.data.min() >= 0
    assert np.abs(matrix.sum(axis=0)).max() <= 1e-12 * np.abs(matrix.diagonal()).max()
    assert np.all(np.isfinite(matrix.data))


def test_conservation_and_positivity_in_time():
    density = cme.fokker_planck(cme.parse(TOGGLE), [1.0, 5.0, 50.0])
    assert density.p.min() >= 0
    assert density.p.sum(axis=1) == pytest.approx(1.0, abs=1e-11)
    assert np.all(density.lost <= 1e-11)
    assert np.all(density.integration_error <= 1e-9)


def test_R1_toggle_at_rest_converges_and_differs_from_the_master_equation():
    """Wells at few molecules: the walls shift the weights, from P(U > V) = .289 in the master equation to .526."""
    network = cme.parse(TOGGLE)
    density = cme.fokker_planck(network, np.inf)
    finer = cme.fokker_planck(network, np.inf, cells=240)
    assert density.info["grid_error"] <= 1e-2
    wins = [float(d.probability(lambda U, V: U > V)[0]) for d in (density, finer)]
    assert wins[0] == pytest.approx(wins[1], abs=5e-3)
    assert wins[1] == pytest.approx(0.526, abs=2e-3)


def test_two_stage_gene_from_nothing():
    network = cme.parse("0 -> M @ 8; M -> M + P @ 4; M -> 0 @ 1; P -> 0 @ 0.64")
    density, gauss = cme.fokker_planck(network, [2.0, 10.0]), cme.lna(network, [2.0, 10.0])
    assert density.info["grid_error"] <= 1e-2
    assert density.mean()[1] == pytest.approx(gauss.means[1], rel=1e-3)
    assert density.covariance()[1] == pytest.approx(gauss.covariance[1], rel=1e-2)
    assert gauss.means[0, 1] == pytest.approx(23.41, abs=0.01)  # exact
    assert density.mean()[0, 1] == pytest.approx(24.535, abs=0.02)  # the wall, at which the path starts; from cells of 0.25 and 0.5


def test_a_closed_enzyme_keeps_its_totals_and_ends_as_product():
    density = cme.fokker_planck(cme.parse(ENZYME), [1.0, 60.0], tol=3e-2)
    states = density.states
    s, e, es, p = (states[:, density.species_index(name)] for name in ("S", "E", "ES", "P"))
    assert np.ptp(s + es + p) < 1e-9
    assert np.ptp(e + es) < 1e-9
    assert states.min() > -1e-9
    assert density.info["independent_species"] == ["S", "E"]
    assert density["P"][1, 30] == pytest.approx(1.0, abs=1e-5)
    exact = cme.fsp(cme.parse(ENZYME), [1.0])
    assert density.mean()[0] == pytest.approx(exact.mean()[0], abs=0.7)  # few molecules, and P starts on a wall


def test_jumps_that_leave_half_of_the_lattice_out():
    """A + B <-> 0 and A <-> B move the state on every second point; the total A + B and the symmetry tell that all is there."""
    density = cme.fokker_planck(cme.parse("A + B <-> 0 @ 0.01, 20; A <-> B @ 1, 1; A = 40; B = 40"), [0.0, 3.0])
    assert density.mean()[0] == pytest.approx([40, 40])
    assert density["A"][1] == pytest.approx(density["B"][1], abs=1e-9)
    assert density.p.sum(axis=1) == pytest.approx(1.0, abs=1e-10)


def test_genes_with_two_states_in_two_dimensions():
    """Off + On is kept. With 30 copies the law of M is near the exact one; a single gene is no diffusion at all."""
    for copies, rate, low, high in ((30, 2, 0.0, 0.02), (1, 60, 0.3, 0.5)):
        network = cme.parse(f"Off <-> On @ 2, 3; On -> On + M @ {rate}; M -> 0 @ 1; Off = {copies}")
        density = cme.fokker_planck(network, np.inf)
        assert sorted(density.info["independent_species"]) == ["M", "Off"]
        assert density.states[:, 0] + density.states[:, 1] == pytest.approx(float(copies))
        assert low < total_variation(density["M"][0], cme.stationary(network)["M"][0]) < high


# ------------------------------------------------------------------------------------------------------ the result


def test_coarse_companion_observables_and_info():
    density = cme.fokker_planck(cme.parse("0 -> X @ 8; X -> 0 @ 1; double := 2*X"), [1.0], cells=64)
    assert len(density.states) == 65
    assert len(density.coarse.states) == 33
    assert density.coarse.widths[0] > density.widths[0]
    assert density["double"].sum() == pytest.approx(1.0)
    info = density.info
    assert info["solver"] == "fokker_planck"
    assert info["options"]["cells"] == 64
    assert info["options"]["boundary"] == "reflect"
    assert info["cells"] == 65
    assert set(info["grid_errors"]) == {"X"}
    assert info["grid_error"] == info["grid_errors"]["X"] > 0
    assert info["domain"]["X"][0] == 0.0


def test_a_result_compares_with_the_master_equation():
    network = birth_death(10)
    table = cme.compare(cme.stationary(network), FP=cme.fokker_planck(network, np.inf, boundary="natural"))
    row = table[(table.method == "FP") & (table.metric == "total_variation")].iloc[0]
    assert row.lo <= 2.1526e-3 <= row.hi
    assert 0 < row.grid < 1e-4


@pytest.mark.parametrize(
    ("text", "arguments", "error", "message"),
    [
        ("A <-> B @ 1, 2; B <-> C @ 1, 1; C <-> D @ 1, 1; A = 9", {}, cme.ModelError, "3 independent species.*use langevin .* or lna"),
        ("$A -> 0 @ 1; A = 10", {}, cme.ModelError, "no reaction of 'network' changes a species"),
        (TOGGLE, {"boundary": "natural"}, cme.ModelError, "boundary='natural' needs a network of one independent species.*has 2"),
        (
            "0 -> A @ 10; 2 A -> 0 @ 0.2",
            {"boundary": "natural"},
            cme.ModelError,
            "no domain: the noise of A never vanishes, and the drift at A = .* points away from the counts; use boundary='reflect'",
        ),
        ("X => 0 @ X - 0.1; X = 5", {"boundary": "natural"}, cme.ModelError, "the propensity|negative|points away"),
        (
            "0 => X @ 5/(1+X^2.5); X -> 0 @ 1",
            {"boundary": "natural"},
            cme.ModelError,
            r"propensity 5/\(1 \+ X\^2.5\) of reaction 'r1' is not a finite number at .*, or use boundary='reflect'",
        ),
        ("0 => X @ 3 - X; X -> 0 @ 1; X = 5", {}, cme.ModelError, r"the propensity 3 - X of reaction 'r1' is negative in state"),
        ("0 -> X @ 3", {"times": np.inf}, cme.ConvergenceError, "still touches the edge of every domain tried.*or give domain="),
        ("S + I -> 2 I @ 0.01; I -> R @ 0.5; S = 99; I = 1", {"times": np.inf}, cme.ModelError, "stationary density is not unique"),
        (
            SCHLOGL,
            {"max_cells": 300},
            cme.ConvergenceError,
            r"reached a grid error of .* with \d+ cells and, for tol=0.0001, needs \d+ cells or more, but max_cells=300; raise max_cells",
        ),
        (SCHLOGL, {"max_cells": 50}, cme.ConvergenceError, r"fokker_planck needs \d+ cells or more, but max_cells=50; raise max_cells"),
        ("X -> 2 X @ 2; X -> 0 @ 1; X = 5", {"times": np.inf}, cme.ConvergenceError, "comes to rest, but 'X' may also grow without bound"),
        (SCHLOGL, {"tol": 1e-3, "cells": 100}, ValueError, "give tol or cells, not both"),
        (SCHLOGL, {"cells": 101}, ValueError, "cells must be even, not 101"),
        (SCHLOGL, {"boundary": "absorb"}, ValueError, "boundary must be one of 'reflect', 'natural', not 'absorb'"),
        (SCHLOGL, {"domain": {"Y": (0, 1)}}, ValueError, "domain names 'Y'; the independent species of this network are X"),
        (SCHLOGL, {"domain": {"X": (300, 900)}}, ValueError, r"the domain \(300, 900\) of 'X' does not hold the start at 250"),
        (SCHLOGL, {"domain": {"X": (900, 0)}}, ValueError, "must be two numbers, the lower one first"),
        (SCHLOGL, {"domain": {"X": (-5, 900)}}, ValueError, r"the domain of 'X' must lie in \[0, inf\]"),
        ("A <-> B @ 1, 2", {"initial": {(5, 0): 0.5, (6, 0): 0.5}}, cme.ModelError, "differ in a conserved total"),
    ],
)
def test_refusals(text, arguments, error, message):
    arguments = dict(arguments)
    with pytest.raises(error, match=message):
        cme.fokker_planck(cme.parse(text), arguments.pop("times", [1.0]), **arguments)
