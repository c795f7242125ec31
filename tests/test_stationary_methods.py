"""The solvers that `stationary` chooses from, by name: they agree, and each says where it does not apply."""

import numpy as np
import oracles
import pytest
from scipy.optimize import brentq
from scipy.stats import nbinom, poisson

import cme
from cme.generator import Generator
from cme.projection import adapted_set, sweeps
from cme.projection.closed_law import SOLVERS

SHELF = {
    "C4 Schlögl": ("2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250", {"X": 1000}),
    "R1 toggle": ("0 => U @ 50/(1 + V^2.5); U -> 0 @ 1; 0 => V @ 16/(1 + U); V -> 0 @ 1", {"U": 90, "V": 40}),
    "A3 telegraph": ("Off -> On @ 1; On -> Off @ 2; On -> On + M @ 20; M -> 0 @ 1; Off = 1", {"M": 80}),
    "two genes": (
        "0 -> A @ 3; A -> A + B @ 2; A -> 0 @ 1; B -> 0 @ 1; 0 -> C @ 1; A + C -> C @ 0.1; C -> 0 @ 1",
        {"A": 15, "B": 25, "C": 9},
    ),
}
NAMES = {
    "elimination": ("GTH elimination",),
    "lu": ("sparse LU, one state deleted", "elimination without subtraction"),  # the latter where the former is not proved
    "sweeps": ("Gauss-Seidel sweeps and aggregation",),
    "levels": ("aggregation on levels",),
}


@pytest.mark.parametrize("name", SHELF)
def test_all_agree_on_the_states_of_a_generator(name):
    text, bounds = SHELF[name]
    network = cme.parse(text)
    generator = Generator.from_network(network, cme.StateSpace.reachable(network, bounds=bounds))
    best = cme.stationary(generator, method="lu")
    assert np.abs(generator.sparse() @ best.p[0] + generator.leak * best.p[0]).sum() < 1e-2
    for method in ("sweeps", "levels") if name in ("R1 toggle", "two genes") else SOLVERS:
        law = cme.stationary(generator, method=method)
        assert law.info["method"] in NAMES[method]
        assert np.abs(law.p[0] - best.p[0]).sum() <= 1e-8


@pytest.mark.parametrize("name", SHELF)
def test_given_states_that_leak_are_within_their_bounds(name):
    text, bounds = SHELF[name]
    network = cme.parse(text)
    space = cme.StateSpace.reachable(network, bounds=bounds)
    one, other = (cme.stationary(network, space=space, method=method) for method in ("lu", "sweeps"))
    assert one.info["certificate"].startswith("certified")
    assert other.info["certificate"].startswith("certified")
    places = space.index(one.states), space.index(other.states)
    p = np.zeros((2, len(space)))
    p[0, places[0]], p[1, places[1]] = one.p[0], other.p[0]
    assert np.abs(p[0] - p[1]).sum() <= one.error_bound[0] + other.error_bound[0]


@pytest.mark.parametrize("method", SOLVERS)
def test_all_agree_on_a_generator(method):
    network = cme.parse("0 -> X @ 6; X -> 0 @ 1; 0 -> Y @ 4; Y -> 0 @ 1")
    generator = Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 25, "Y": 20}))
    law = cme.stationary(generator, method=method)
    truth = poisson.pmf(law.states[:, 0], 6) * poisson.pmf(law.states[:, 1], 4)
    assert law.info["method"] in NAMES[method]
    assert np.abs(law.p[0] - truth / truth.sum()).sum() < 1e-9


@pytest.mark.parametrize("method", ["elimination", "levels"])
def test_A1_tails_are_right_in_relative_terms(method):
    network = cme.parse("0 -> X @ 20; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 140})
    law = cme.stationary(network, space=space, method=method)
    assert law["X"][0] == pytest.approx(poisson.pmf(np.arange(141), 20) / poisson.cdf(140, 20), rel=1e-8)


@pytest.mark.parametrize("method", ["elimination", "lu", "sweeps"])
def test_those_that_find_their_states_are_certified(method):
    law = cme.stationary(cme.parse("Off -> On @ 1; On -> Off @ 2; On -> On + M @ 20; M -> 0 @ 1; Off = 1"), method=method, tol=1e-5)
    truth = oracles.telegraph_stationary(400, 1, 2, 20)
    assert law.info["method"] in NAMES[method]
    assert law.info["certificate"].startswith("certified")
    p = np.zeros(400)
    p[: len(law["M"][0])] = law["M"][0]
    assert np.abs(p - truth).sum() <= law.error_bound[0] <= 2e-5


@pytest.mark.parametrize("tol", [1e-4, 1e-9])
def test_A5_sweeps_that_begin_from_a_rare_state(tol):
    """The likeliest jumps lead to X = 8, which has a chance of 1e-10: times between visits to it can't be found to eleven digits."""
    law = cme.stationary(cme.parse("0 -> X @ 0.3; 0 -> Y @ 8; X -> 0 @ 1; Y -> 0 @ 1"), tol=tol, method="sweeps")
    x, y = (law.states[:, law.species_index(name)] for name in "XY")
    truth = poisson.pmf(x, 0.3) * poisson.pmf(y, 8)
    assert np.abs(law.p[0] - truth).sum() + 1 - truth.sum() <= law.error_bound[0] + 1e-14
    assert law.error_bound[0] <= tol
    assert law.info["certificate"].startswith("certified")


def test_sweeps_that_do_not_settle(monkeypatch):
    monkeypatch.setattr(sweeps, "MOST_CYCLES", 2)
    network = cme.parse("0 -> X @ 6; X -> 0 @ 1; 0 -> Y @ 4; Y -> 0 @ 1")
    message = r"2 cycles of the iterative solver still move the law by .*, more than the 1e-11 at which they end; use method='lu', or give"
    with pytest.raises(cme.ConvergenceError, match=message):
        cme.stationary(network, method="sweeps")


def test_what_is_refused():
    network = cme.parse("0 -> X @ 6; X -> 0 @ 1")
    with pytest.raises(ValueError, match="method='levels' takes given states and finds none itself; give space="):
        cme.stationary(network, method="levels")
    between = Generator.from_rates(np.array([[0.0, 1.0], [2.0, 0.0]]), states=np.array([[0.5], [1.5]]))
    for method in ("sweeps", "levels"):
        with pytest.raises(ValueError, match=f"method='{method}' takes states that are counts; use method='lu' or 'auto'"):
            cme.stationary(between, method=method)
    wide = cme.parse("0 -> X @ 30; X -> 0 @ 1; 0 -> Y @ 30; Y -> 0 @ 1")
    space = cme.StateSpace.reachable(wide, bounds={"X": 60, "Y": 60})
    with pytest.raises(ValueError, match=r"method='elimination' takes states in a narrow band, and 3721 states here .* use method='lu'"):
        cme.stationary(wide, space=space, method="elimination")


@pytest.mark.parametrize(("rate", "burst", "tol"), [(0.1, 50, 1e-2), (2, 10, 1e-4), (0.5, 20, 1e-6)])
def test_A4_bursts_that_are_drawn(rate, burst, tol):
    """A negative binomial law; the estimate is not below the error."""
    law = cme.stationary(cme.parse(f"0 -> geometric({burst}) X @ {rate}; X -> 0 @ 1"), tol=tol)
    n = np.arange(20_000)
    p = np.zeros(len(n))
    p[law.states[:, 0]] = law.p[0]
    assert np.abs(p - nbinom.pmf(n, rate, 1 / (1 + burst))).sum() <= law.error_bound[0] + 1e-14
    assert law.lost[0] <= tol


def test_A4_bursts_beside_a_species_that_dies_out(monkeypatch):
    """The same law where not all states communicate, and without all entries."""
    sizes, on = [], adapted_set.ClosedLaw.on
    monkeypatch.setattr(
        adapted_set.ClosedLaw, "on", lambda found, *a, **k: sizes.append(found.matrix.nnz / len(found.states)) or on(found, *a, **k)
    )
    law = cme.stationary(cme.parse("0 -> geometric(60) X @ .5; X -> 0 @ 1; Z -> 0 @ 1; Z = 3"), method="projection", tol=1e-4)
    x = law.states[:, law.species_index("X")]
    p = np.zeros(20_000)
    p[x] = law.p[0]
    assert np.abs(p - nbinom.pmf(np.arange(len(p)), 0.5, 1 / 61)).sum() <= law.error_bound[0] + 1e-14
    assert law.lost[0] <= 1e-4
    assert len(sizes) > 5
    assert max(sizes) < 6  # entries for each state; all would be hundreds


@pytest.mark.parametrize("births", ["geometric(8) X @ .05", "geometric(3) X @ .1"])
def test_A4_bursts_that_die_out(births):
    """Fewer are born than die: X is 0 at last, of which the first sets hold few states or none, and Y is Poisson."""
    law = cme.stationary(cme.parse(f"X -> X + {births}; X -> 0 @ 1; X = 5; 0 -> Y @ 3; Y -> 0 @ 1"), method="projection", tol=1e-4)
    x, y = (law.states[:, law.species_index(name)] for name in "XY")
    truth = (x == 0) * poisson.pmf(y, 3)
    assert np.abs(law.p[0] - truth).sum() + 1 - truth.sum() <= law.error_bound[0] + 1e-14
    assert law.lost[0] <= 1e-4


def test_A4_bursts_that_may_die_out_or_not():
    """1.04 are born for each that dies: what is found is the law where X died out, and `lost` holds the paths where it did not."""
    network = cme.parse("X -> X + geometric(8) X @ .13; X -> 0 @ 1; X = 5; 0 -> Y @ 1; Y -> 0 @ 1")
    law = cme.stationary(network, method="projection", tol=1e-2)
    q = brentq(lambda q: 1 - q + 0.13 * q * (1 / (1 + 8 * (1 - q)) - 1), 0.1, 0.9999)  # the chance that what comes of one dies out
    assert not law.states[:, law.species_index("X")].any()
    assert law.lost[0] >= 2 * (1 - q**5) > 0.04
    assert "may never come to them, since reactions draw numbers of molecules" in law.info["certificate"]


@pytest.mark.parametrize("method", ["auto", "lu", "sweeps"])
def test_given_states_without_bounds_are_closed_by_dropping_what_leaves(method):
    """Where the bounds can't be had, all solvers give one law, which nothing leaves; nothing is known of the rest."""
    network = cme.parse("0 -> M @ 5; M -> 0 @ 1; M -> M + P @ 4; P -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"M": 8, "P": 30})
    law = cme.stationary(network, space=space, method=method)
    generator = cme.Generator.from_network(network, space)
    closed = generator.sparse().toarray() + np.diag(generator.leak)
    closed[0] = 1.0
    exact = np.linalg.solve(closed, np.eye(len(space))[0])
    found = np.zeros(len(space))
    found[space.index(law.states)] = law.p[-1]
    assert abs(found - exact).sum() < 1e-10
    assert np.isnan(law.lost[-1])
    assert np.isnan(law.error_bound[-1])
    assert law.info["certificate"].startswith("estimate: ")
