"""Finite state projection and its propagator against closed forms and reference numbers."""

import math

import numpy as np
import oracles
import pytest

import cme
from cme.projection.propagate import METHODS, Integrator, propagate

TOGGLE = "0 => U @ 50/(1+V^2.5); U -> 0 @ 1; 0 => V @ 16/(1+U); V -> 0 @ 1"
SCHLOGL = "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250"


def one_norm_error(law, name, truth):
    """The 1-norm distance between a one-species result at its last time and a pmf."""
    found = law[name][-1]
    size = max(len(found), len(truth))
    return np.abs(np.pad(found, (0, size - len(found))) - np.pad(truth, (0, size - len(truth)))).sum()


@pytest.mark.parametrize("method", ["projection", "monomolecular"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize(("k", "g", "n0", "t"), [(20, 1.0, 0, 0.7), (20, 1.0, 60, 3.0), (300, 2.0, 5, 2.0), (0.5, 0.1, 3, 20.0)])
def test_A1_immigration_death_and_the_bound(k, g, n0, t, tol, method):
    law = cme.fsp(cme.parse(f"0 -> X @ {k}; X -> 0 @ {g}; X = {n0}"), [t], tol=tol, method=method)
    error = one_norm_error(law, "X", oracles.immigration_death(1500, k, g, n0, t))
    assert error <= law.error_bound[-1] + 1e-13
    assert law.error_bound[-1] <= tol


@pytest.mark.parametrize("size", [20, 30, 40, 50])
def test_E8_lost_is_the_true_error_on_a_fixed_set(size):
    """Munsky-Khammash: on a fixed set the lost mass is the exact 1-norm error over all states."""
    network = cme.parse("0 -> X @ 20; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": size})
    law = cme.fsp(network, [5.0], space=space)
    error = one_norm_error(law, "X", oracles.immigration_death(400, 20, 1, 0, 5.0))
    assert error == pytest.approx(law.lost[-1], rel=1e-3, abs=2e-12)
    assert error <= law.error_bound[-1]


@pytest.mark.parametrize("method", ["projection", "monomolecular"])
def test_A2_monomolecular_moments(method):
    network = cme.parse("0 -> A @ 6; A -> B @ 1; B -> A @ 0.5; B -> C @ 0.8; C -> 0 @ 0.6; A = 5; B = 2")
    law = cme.fsp(network, [0.5, 2.0], tol=1e-9, method=method)
    convert = [[0, 0.5, 0], [1, 0, 0], [0, 0.8, 0]]
    for i, t in enumerate([0.5, 2.0]):
        mean, covariance = oracles.monomolecular_moments([6, 0, 0], convert, [0, 0, 0.6], [5, 2, 0], t)
        assert law.mean()[i] == pytest.approx(mean, abs=1e-6)
        assert law.covariance()[i] == pytest.approx(covariance, abs=1e-5)


def test_A9_dimerisation_pure_death():
    """A.9 (i), (ii): 2 A -> B in closed form, and McQuarrie's mean for 20 and 21 molecules."""
    for n0, mean in [(20, 7.34640072732), (21, 7.46866396089)]:
        law = cme.fsp(cme.parse(f"2 A -> B @ 0.1; A = {n0}"), [0.9], tol=1e-11)
        assert law.mean()[0, 0] == pytest.approx(mean, abs=1e-9)
        pairs = n0 // 2
        rates = [0.1 * math.comb(n0 - 2 * (pairs - m), 2) for m in range(1, pairs + 1)]
        truth = oracles.pure_death(rates, pairs, 0.9)
        remaining = law["B"][0]
        assert np.abs(remaining[::-1] - truth[-len(remaining) :]).max() < 1e-11


def test_A9_suite_case_30():
    """A.9 (iv), DSMTS 00030."""
    law = cme.fsp(cme.parse("2 P -> P2 @ 0.001; P2 -> 2 P @ 0.01; P = 100"), [50.0], tol=1e-10)
    assert law.mean()[0, 0] == pytest.approx(28.54229779, abs=1e-7)
    assert law.sd()[0, 0] == pytest.approx(4.78933072, abs=1e-7)


@pytest.mark.parametrize(("lam", "mu", "n0", "t"), [(1.0, 1.1, 10, 2.0), (0.5, 0.5, 4, 3.0), (2.0, 1.0, 3, 1.0)])
def test_A16_linear_birth_death(lam, mu, n0, t):
    law = cme.fsp(cme.parse(f"X -> 2 X @ {lam}; X -> 0 @ {mu}; X = {n0}"), [t], tol=1e-9)
    assert one_norm_error(law, "X", oracles.linear_birth_death(400, lam, mu, n0, t)) <= law.error_bound[-1] + 1e-12


def test_A16_suite_case_1():
    law = cme.fsp(cme.parse("X -> 2 X @ 0.1; X -> 0 @ 0.11; X = 100"), [50.0], tol=1e-9)
    assert law.mean()[0, 0] == pytest.approx(60.65306597, abs=1e-5)
    assert law.sd()[0, 0] == pytest.approx(22.38677196, abs=1e-5)


def test_C4_schlogl_transient():
    law = cme.fsp(cme.parse(SCHLOGL), [2, 4, 10, 20], tol=1e-9)
    assert law.mean()[:, 0] == pytest.approx([279.699892, 309.884731, 316.591680, 316.642696], abs=1e-6)
    assert law.sd()[:, 0] == pytest.approx([145.336688, 216.008606, 238.069673, 238.295509], abs=1e-6)
    assert law.probability(lambda x: x <= 256) == pytest.approx([0.52780732, 0.51649228, 0.51332167, 0.51321661], abs=1e-8)


def test_R1_toggle_transient():
    law = cme.fsp(cme.parse(TOGGLE), [1, 5, 10, 50], tol=1e-9)
    means = [[18.13034687, 1.92089062], [29.94314353, 3.06670021], [31.05729438, 3.63099269], [27.15958339, 5.22814606]]
    assert law.mean() == pytest.approx(np.array(means), abs=2e-8)
    assert law.probability(lambda u, v: u > v) == pytest.approx([0.82313225, 0.78960936, 0.77325904, 0.67173514], abs=1e-8)


def test_R5_michaelis_menten_with_dropping():
    network = cme.parse("S + E -> ES @ 1; ES -> S + E @ 1; ES -> E + P @ 0.1; S = 100; E = 1000")
    law = cme.fsp(network, [70.0], tol=1e-8)
    assert law.mean()[0, 3] == pytest.approx(99.90815262, abs=5e-7)
    assert law.sd()[0, 3] == pytest.approx(0.30292428, abs=5e-7)
    assert law.mean()[0, 2] == pytest.approx(0.09175561, abs=5e-7)


def test_R2_pap_operon():
    law = cme.fsp(cme.load("pap_operon").with_initial(PapI=5), [10.0, 100.0], tol=1e-9)
    genes = [law.mean()[0, law.species_index(g)] for g in ("G1", "G2", "G3", "G4")]
    assert genes == pytest.approx([0.0031276148, 0.3755308334, 0.3136099467, 0.3077316051], abs=1e-9)
    papi = law.species_index("PapI")
    assert law.mean()[:, papi] == pytest.approx([3.7557799049, 3.7551773535], abs=1e-7)
    assert law.sd()[0, papi] == pytest.approx(3.46351654, abs=1e-6)


def test_A18_sir_transient():
    network = cme.load("sir")
    law = cme.fsp(network, [1.0, 3.0, 5.0, 10.0], tol=1e-9)
    s, i = law.species_index("S"), law.species_index("I")
    assert law.mean()[:, s] == pytest.approx([81.79772505, 49.27829064, 33.13290184, 25.43363479], abs=1e-6)
    assert law.mean()[:, i] == pytest.approx([10.55285334, 14.76275748, 7.92198811, 0.61234858], abs=1e-6)
    gone = law.p @ (law.states[:, i] == 0)
    assert gone == pytest.approx([0.01017139, 0.04093918, 0.06565120, 0.73519625], abs=1e-8)


def test_the_integrators_agree_within_their_bounds():
    network = cme.parse(TOGGLE)
    space = cme.StateSpace.reachable(network, bounds={"U": 90, "V": 40})
    generator = cme.Generator.from_network(network, space)
    start = np.zeros(len(space))
    start[0] = 1
    found = {}
    for method in METHODS[:-1]:
        integrator = Integrator(generator, 8.0, 1e-10, method)
        error = 0.0
        for step in integrator.steps(start, 0.0, np.array([8.0])):
            error += step.error
        found[method] = (step.p, error)
    for a, error_a in found.values():
        assert error_a <= 1e-10
        for b, error_b in found.values():
            assert np.abs(a - b).sum() <= error_a + error_b


def test_propagation_bound_holds_where_the_answer_is_known():
    """E9: the residual certificate is above the true error, and within two orders of it, on a stiff chain."""
    network = cme.parse("0 -> X @ 100; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 400})
    generator = cme.Generator.from_network(network, space)
    start = np.zeros(401)
    start[0] = 1
    for t in (0.5, 5.0, 50.0):
        for tol in (1e-5, 1e-8, 1e-11):
            run = propagate(generator, start, [t], tol=tol)
            truth = oracles.immigration_death(401, 100, 1, 0, t)
            error = np.abs(run.p[0] - truth).sum()
            assert error <= run.integration_error[0] + 2e-12
            assert run.integration_error[0] <= tol


@pytest.mark.parametrize("given", ["space", "generator"])
def test_E8_what_the_integrator_adds_hides_as_much_of_what_is_lost(monkeypatch, given):
    """Too much on the set looks like less lost: an error of the integrator counts twice, and no less where nothing else hides it."""
    network, added = cme.parse("0 -> X @ 20; X -> 0 @ 1"), 1e-4
    space = cme.StateSpace.reachable(network, bounds={"X": 28})
    first, true_step = int(space.index(np.array([[0]]))[0]), Integrator.step

    def generous(self, p, now, times):
        step = true_step(self, p, now, times)
        laws, errors = step.laws.copy(), step.errors.copy()
        laws[-1, first] += added
        errors[-1] += added
        return step._replace(laws=laws, errors=errors)

    monkeypatch.setattr(Integrator, "step", generous)
    if given == "space":
        law = cme.fsp(network, [2.0], tol=1e-3, space=space)
    else:
        law = cme.fsp(cme.Generator.from_network(network, space), [2.0], tol=1e-3, initial=(0,))
    truth = oracles.immigration_death(1500, 20, 1, 0, 2.0)
    known = np.zeros(1500)
    known[law.states[:, 0]] = law.p[-1]
    error = np.abs(known - truth).sum()
    assert 1e-3 < law.lost[-1] < error - added  # by so much less than has left
    assert error <= law.error_bound[-1] < 1.001 * error
    assert np.all(known <= truth + law.integration_error[-1])
    assert np.all(truth <= known + law.lost[-1] + law.integration_error[-1])


def test_semigroup():
    """M1b: one run to t = 3 equals a run to 1 and from there to 3."""
    network = cme.parse(TOGGLE)
    whole = cme.fsp(network, [1.0, 3.0], tol=1e-9)
    half = cme.fsp(network, [1.0], tol=1e-9)
    rest = cme.fsp(network, [2.0], initial=half, tol=4e-9)
    assert rest.mean()[-1] == pytest.approx(whole.mean()[-1], abs=1e-6)
    assert rest.lost[-1] >= half.lost[-1]


def test_initial_distribution():
    """A.1 from a mixture of two starts."""
    network = cme.parse("0 -> X @ 4; X -> 0 @ 1")
    law = cme.fsp(network.with_initial({(0,): 0.25, (9,): 0.75}), [0.5], tol=1e-10)
    truth = 0.25 * oracles.immigration_death(80, 4, 1, 0, 0.5) + 0.75 * oracles.immigration_death(80, 4, 1, 9, 0.5)
    assert one_norm_error(law, "X", truth) < 1e-10


def test_time_zero_and_frozen_networks():
    law = cme.fsp(cme.parse("A -> B @ 0; A = 3"), [0.0, 5.0])
    assert law.mean().tolist() == [[3.0, 0.0], [3.0, 0.0]]
    assert law.lost.tolist() == [0.0, 0.0]
    dead = cme.fsp(cme.parse("A -> 0 @ 1; A = 0"), [1.0])
    assert dead.mean().tolist() == [[0.0]]


def test_observables_and_boundary_species():
    law = cme.fsp(cme.parse("$S -> P @ 0.5; P -> 0 @ 1; twice := 2*P + S; S = 4"), [1.0], tol=1e-10)
    assert law.mean()[0, 0] == pytest.approx(4.0, abs=1e-9)
    mean = 2 * (1 - math.exp(-1))
    assert law["twice"][0] @ np.arange(law["twice"].shape[1]) == pytest.approx(2 * mean + 4, abs=1e-8)


def test_doubling_all_rates_halves_time():
    slow = cme.fsp(cme.parse("0 -> X @ 5; 2 X -> 0 @ 0.2"), [2.0], tol=1e-10)
    fast = cme.fsp(cme.parse("0 -> X @ 10; 2 X -> 0 @ 0.4"), [1.0], tol=1e-10)
    assert slow.mean() == pytest.approx(fast.mean(), abs=1e-8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"times": [1.0], "max_states": 1100, "method": "projection"},
            cme.ConvergenceError,
            "raise max_states .now 1100., loosen tol, or use ssa",
        ),
        ({"times": [1.0], "tol": 1e-16}, cme.ConvergenceError, "tol=1e-16 lies below what double precision can certify"),
        ({"times": [1.0], "tol": -1}, ValueError, "tol must be a finite number above 0, not -1"),
        ({"times": [2.0, 1.0]}, ValueError, "times must be >= 0 and strictly increasing"),
        ({"times": [np.inf]}, ValueError, "for the stationary law use stationary"),
        ({"times": []}, ValueError, "times must be a number or a one-dimensional array"),
        ({"times": [1.0], "initial": {"Y": 3}}, cme.ModelError, "has no species 'Y'"),
        ({"times": [1.0], "max_states": 1.5}, TypeError, "max_states must be a whole number"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        cme.fsp(cme.parse("0 -> X @ 1e5; X -> 0 @ 1"), **arguments)


def test_a_law_that_goes_wrong_is_named():
    with pytest.raises(cme.ModelError, match=r"the propensity 10 - X of reaction 'r1' is negative in state \{X: 11\}"):
        cme.fsp(cme.parse("0 => X @ 10 - X; 0 -> X @ 1"), [1.0])


# ------------------------------------------------------------------------------------------- long times, stiff networks


@pytest.mark.parametrize("t", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("method", ["projection", "rational_krylov"])
def test_round_off_of_long_times_is_undone_and_booked(t, method):
    law = cme.fsp(cme.parse("0 -> X @ 1; X -> 0 @ 1"), [t], method=method)
    truth = np.array([math.exp(-1 - math.lgamma(n + 1)) for n in law.states[:, 0].tolist()])
    assert np.abs(law.p[0] - truth).sum() < 1e-13
    assert law.p[0].sum() == pytest.approx(1, abs=1e-14)
    if method == "rational_krylov":
        assert 1e-18 * t < law.error_bound[0] < 1e-6  # eps times the number of jumps is what could have gone wrong
    else:  # nothing is subtracted
        assert law.info["method"] == "contour"
        assert law.error_bound[0] < 1e-12


@pytest.mark.parametrize("method", ["projection", "monomolecular"])
def test_a_stiff_cycle_over_twelve_decades(method):
    k = [465869.0, 7.36, 380253.0, 3.7e-07, 29854.0, 1.87]
    law = cme.fsp(cme.parse("A <-> B @ {}, {}; B <-> C @ {}, {}; C <-> A @ {}, {}; A = 1".format(*k)), [1e6], tol=1e-4, method=method)
    # Kirchhoff: the weight of a state is the sum over the spanning trees that lead to it.
    ab, ba, bc, cb, ca, ac = k
    weights = {"A": ba * ca + ba * cb + bc * ca, "B": ab * ca + ab * cb + ac * cb, "C": ac * ba + ac * bc + ab * bc}
    found = {name: float(law.mean()[0, law.species_index(name)]) for name in "ABC"}
    assert found == pytest.approx({name: weight / sum(weights.values()) for name, weight in weights.items()}, rel=1e-12)


@pytest.mark.parametrize("text", ["0 -> X @ 1e300; X -> 0 @ 1", "X -> 0 @ 1; X = 1e17"])
def test_more_jumps_than_double_precision_can_follow(text):
    with pytest.raises(cme.ConvergenceError, match=r"jumps may happen by t=1, more than double precision can follow \(1e\+15\)"):
        cme.fsp(cme.parse(text), [1.0])


def test_a_law_that_outruns_its_set_of_states_is_refused():
    with pytest.raises(cme.ConvergenceError, match="the law moves on faster than the states that are kept can follow near t="):
        cme.fsp(cme.parse("A -> B @ 1; A = 1000000000"), [1.0], method="projection")


def test_what_the_initial_law_had_lost_counts():
    network = cme.parse("0 -> X @ 5; X -> 0 @ 1")
    first = cme.fsp(network, [1.0], space=cme.StateSpace.reachable(network, bounds={"X": 14}))
    assert first.lost[0] > 1e-7
    for method in ("auto", "projection"):
        again = cme.fsp(network, [1e-9], initial=first, tol=1e-2, method=method)
        assert again.lost[0] >= first.lost[0]


def test_what_is_dropped_is_within_its_budget():
    from cme.projection.growth import worth_keeping

    rng = np.random.default_rng(0)
    for _ in range(100):
        weight = 10.0 ** rng.uniform(-30, 3, 200) * (rng.random(200) < 0.9)
        budget = 10.0 ** rng.uniform(-12, 2)
        kept = worth_keeping(weight, budget)
        assert weight[~kept].sum() <= budget * (1 + 1e-12)
        assert weight[~kept].max(initial=0.0) < weight[kept].min(initial=np.inf)
    assert worth_keeping(np.array([1.0, 2.0, 0.0]), 0.0).tolist() == [True, True, False]


def test_the_first_states_are_no_more_than_may_be():
    network = cme.parse("0 -> X @ 2; X -> 0 @ 1; 0 -> Y @ 2; Y -> 0 @ 1")
    law = cme.fsp(network, [1.0], max_states=500, method="projection")
    assert len(law.states) <= 500
    assert law.lost[0] <= 1e-6


def test_what_the_integrator_loses_is_not_taken_for_a_leak():
    with pytest.raises(cme.ConvergenceError, match=r"the integrator's error is only bounded by .*; loosen tol=1e-10"):
        cme.fsp(cme.parse("0 -> X @ 500; X -> 0 @ 0.01; X = 300"), [1e6], tol=1e-10, method="projection")
