"""First-order networks by their generating function (A.3, A.5, A.7, A.16): laws, marginal laws, bounds, and what is not of first order."""

import math

import numpy as np
import oracles
import pytest

import cme
from cme.projection.first_order_law import _moments, first_order

TWO_STAGE = "0 -> M @ 50; M -> M + P @ 4; M -> 0 @ 0.5; P -> 0 @ 0.2; M = 100; P = 2000"
NETWORKS = {
    "monomolecular": "0 -> X @ 30; X -> 0 @ 1.5; X = 7",
    "branching": "X -> 2 X @ 1; X -> 0 @ 1.1; X = 4",
    "immigration in batches": "0 -> 3 X @ 2; X -> 0 @ 1; X = 1",
    "a gene": "Off -> On @ 0.4; On -> Off @ 0.7; On -> On + M @ 6; M -> 0 @ 1; Off = 1",
    "two copies": "A <-> B @ 1, 2; B -> B + C @ 3; C -> 0 @ 1; A = 1; B = 1",
    "two stages": "0 -> M @ 2; M -> M + P @ 3; M -> 0 @ 2; P -> 0 @ 1; M = 1",
    "pairs": "0 -> A + B @ 2; A -> 0 @ 1; B -> A @ 3; A -> A + B @ 0.3",
    "sums": "0 => X @ 1 + 2*C + X/2; X -> 0 @ 1; C = 2",
}
SHELF = ["telegraph", "two_stage", "bursty_expression", "batch_immigration", "birth_death_immigration", "three_stage", "birth_death"]
NOT = ["dimerisation", "schlogl", "sir", "single_enzyme", "autoregulated", "verhulst", "bursty_protein", "driven_transcription"]
STATIONARY = ["monomolecular", "immigration in batches", "a gene", "two copies", "two stages", "sums"]


def one_norm(one, other, t):
    """The 1-norm distance of two laws at one time."""
    rest = {tuple(state): p for state, p in zip(other.states.tolist(), other.p[t], strict=True)}
    return sum(abs(p - rest.pop(tuple(state), 0.0)) for state, p in zip(one.states.tolist(), one.p[t], strict=True)) + sum(rest.values())


@pytest.mark.parametrize("tol", [1e-3, 1e-8])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_projection_within_the_bounds(name, tol):
    network, times = cme.parse(NETWORKS[name]), [0.4, 2.0]
    law = cme.fsp(network, times, tol=tol, method="generating_function")
    found = cme.fsp(network, times, tol=1e-10, method="projection")
    for t in range(2):
        assert one_norm(law, found, t) <= law.error_bound[t] + found.error_bound[t]
    assert np.all(law.error_bound <= tol)
    reached = {tuple(state) for state in found.states.tolist()}
    assert {tuple(state) for state in law.states.tolist()} <= reached


@pytest.mark.parametrize("name", SHELF)
def test_models_of_the_shelf_that_are_of_first_order(name):
    network = cme.load(name)
    last = network.species_names[-1]
    law = cme.fsp(network, [1.0], tol=1e-7, keep=[last], method="generating_function")
    found = cme.fsp(network, [1.0], tol=1e-7, keep=[last], method="projection")
    size = max(law[last].shape[1], found[last].shape[1])
    one, other = (np.pad(each[last][0], (0, size - each[last].shape[1])) for each in (law, found))
    assert np.abs(one - other).sum() <= law.error_bound[0] + found.error_bound[0]


@pytest.mark.parametrize("name", NOT)
def test_models_of_the_shelf_that_are_not(name):
    with pytest.raises(cme.ModelError, match=r"linear in the counts|single molecules|constant rates"):
        first_order(cme.load(name))


@pytest.mark.parametrize("name", STATIONARY)
def test_stationary_laws_agree_with_projection(name):
    network = cme.parse(NETWORKS[name])
    law = cme.stationary(network, tol=1e-8, method="generating_function")
    found = cme.stationary(network, tol=1e-11, method="projection")
    assert one_norm(law, found, 0) <= law.error_bound[0] + 1e-10
    assert law.info["method"] == "generating function"


@pytest.mark.parametrize("name", ["a gene", "two stages", "pairs"])
def test_marginal_laws_are_those_of_the_joint_law(name):
    network = cme.parse(NETWORKS[name])
    last = network.species_names[-1]
    joint = cme.fsp(network, [1.5], tol=1e-9, method="projection")
    law = cme.fsp(network, [1.5], tol=1e-9, keep=[last])
    assert law.info["method"] == "generating function"
    assert law.species == (last,)
    size = min(law[last].shape[1], joint[last].shape[1])
    assert np.abs(law[last][0, :size] - joint[last][0, :size]).sum() <= law.error_bound[0] + joint.error_bound[0]
    summed = cme.fsp(network, [1.5], tol=1e-9, keep=last, method="projection")
    assert summed[last][0] == pytest.approx(joint[last][0], abs=1e-15)


def test_keep_in_nonlinear_networks_and_of_rules():
    network = cme.parse("0 -> X @ 3; 2 X -> Y @ 0.1; Y -> 0 @ 1; twice := 2*X; both := X + Y")
    whole, law = (cme.fsp(network, [1.0, 2.0], tol=1e-8, keep=keep) for keep in (None, ["X"]))
    assert law.states.shape[1] == 1
    assert law["X"] == pytest.approx(whole["X"], abs=1e-15)
    assert law["twice"][1, ::2][: law["X"].shape[1]] == pytest.approx(law["X"][1])
    assert list(law.observables) == ["twice"]
    assert law.lost == pytest.approx(whole.lost)
    steady = cme.stationary(network, keep=["Y", "X"])
    assert steady.species == ("Y", "X")
    assert steady.mean()[0] == pytest.approx(cme.stationary(network).mean()[0][::-1])


@pytest.mark.parametrize(("on", "off", "make"), [(2, 3, 15), (0.3, 0.4, 30), (0.5, 4, 60)])
def test_A3_telegraph(on, off, make):
    network = cme.parse(f"Off -> On @ {on}; On -> Off @ {off}; On -> On + M @ {make}; M -> 0 @ 1; Off = 1")
    law = cme.stationary(network, tol=1e-9, keep=["M"])
    p = law["M"][0]
    truth = oracles.telegraph_stationary(300, on, off, make)
    assert np.abs(np.pad(p, (0, 300 - len(p))) - truth).sum() <= law.error_bound[0]


def test_A5_R6_two_stages_with_thousands_of_proteins():
    law = cme.stationary(cme.parse(TWO_STAGE), tol=1e-8, method="generating_function")
    assert law.info["method"] == "generating function"
    assert law.mean()[0] == pytest.approx([100, 2000], rel=1e-6)
    assert law.covariance()[0] == pytest.approx(np.array([[100, 571.428571], [571.428571, 2000 * (1 + 8 / 1.4)]]), rel=1e-5)
    protein = cme.stationary(cme.parse(TWO_STAGE), tol=1e-8, keep=["P"])
    joint = law["P"][0]
    size = min(len(joint), protein["P"].shape[1])
    assert np.abs(joint[:size] - protein["P"][0, :size]).sum() < 2e-8


def test_A5_fano_factor_of_the_short_example():
    law = cme.stationary(cme.parse("0 -> M @ 2; M -> 0 @ 3; M -> M + P @ 6; P -> 0 @ 1"), tol=1e-10, keep=["P"])
    assert law.sd()[0, 0] ** 2 / law.mean()[0, 0] == pytest.approx(2.5, abs=1e-6)
    p = law["P"][0]
    assert 0.5 * np.abs(p - oracles.burst_negative_binomial(len(p), 2, 2)).sum() == pytest.approx(0.0396, abs=5e-5)


@pytest.mark.parametrize(("lam", "mu", "n0", "t"), [(1.0, 1.1, 10, 2.0), (0.5, 0.5, 4, 3.0), (2.0, 1.0, 3, 1.0)])
def test_A16_linear_birth_death(lam, mu, n0, t):
    law = cme.fsp(cme.parse(f"X -> 2 X @ {lam}; X -> 0 @ {mu}; X = {n0}"), [t], tol=1e-9, method="generating_function")
    truth = oracles.linear_birth_death(400, lam, mu, n0, t)
    found = np.zeros(len(truth))
    found[law.states[:, 0]] = law.p[0]
    assert np.abs(found - truth).sum() <= law.error_bound[0]


def test_a_mixture_at_the_start():
    network = cme.parse(NETWORKS["two stages"])
    mixed = network.with_initial({(0, 0): 0.25, (3, 1): 0.75})
    law = cme.fsp(mixed, [1.0], tol=1e-9, method="generating_function")
    found = cme.fsp(mixed, [1.0], tol=1e-10, method="projection")
    assert one_norm(law, found, 0) <= law.error_bound[0] + found.error_bound[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_moments_are_those_of_the_linear_noise_approximation(name):
    """It is exact for mean and covariance here."""
    network, times = cme.parse(NETWORKS[name]), np.array([0.4, 2.0])
    moments = cme.lna(network, times)
    states = np.array(network.initial.states, dtype=np.int64)
    found = _moments(first_order(network), times, states, np.ones(1))
    means, variances = found[..., 0].T, found[..., 1].T
    assert means == pytest.approx(moments.mean(), rel=1e-7, abs=1e-9)
    assert variances == pytest.approx(moments.sd() ** 2, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 -> M @ 2; M -> M + P @ 3; M -> 0 @ 2; P -> 0 @ 1; 2 P -> P @ 0.1", "is not linear in the counts"),
        ("A + B -> B @ 1; 0 -> B @ 1; A = 3", "is not linear in the counts"),
        ("0 => X @ 1/(1 + X); X -> 0 @ 1", "is not linear in the counts"),
        ("A => B @ 2*C; 0 -> C @ 1; A = 3", "is not that of single molecules which it takes"),
        ("0 -> geometric(3) X @ 1", "is no network with constant rates and constant stoichiometry"),
    ],
)
def test_mutants_one_reaction_away_are_not_of_first_order(text, reason):
    with pytest.raises(cme.ModelError, match=reason):
        cme.fsp(cme.parse(text), [1.0], method="generating_function")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("X -> 2 X @ 1; X -> 0 @ 0.9; X = 3", "no unique stationary law that is known in closed form: 'X' may gather or grow"),
        ("A -> B @ 1; A -> C @ 2; A = 4", "may gather or grow"),
        ("0 -> A @ 1; A -> B @ 1; B -> A @ 1", "'A' may gather or grow"),
    ],
)
def test_networks_without_a_unique_stationary_law(text, reason):
    with pytest.raises(cme.ModelError, match=reason):
        cme.stationary(cme.parse(text), method="generating_function")


def test_stiff_networks_are_refused():
    stiff = cme.parse("A -> B @ 1e9; B -> A @ 2e9; B -> B + C @ 1; C -> 0 @ 0.01; A = 1")
    with pytest.raises(cme.ConvergenceError, match=r"too stiff: one reacts 2e\+09 times in a unit of time, until t=4e\+03"):
        cme.stationary(stiff, method="generating_function")
    assert cme.stationary(stiff, keep=["C"], tol=1e-4).mean()[0, 0] == pytest.approx(100 / 3, rel=1e-3)  # by projection


def test_auto_keeps_what_is_certified():
    """Joint laws go by projection, with its certificate; marginal laws by what is a thousand times cheaper."""
    gene = cme.parse(NETWORKS["a gene"])
    assert "exact_by" not in cme.fsp(gene, [1.0]).info
    assert "exact_by" not in cme.stationary(gene).info
    assert "generating function" in cme.stationary(gene, keep=["M"]).info["exact_by"]
    assert cme.stationary(gene, keep=["M"]).info["options"]["keep"] == ["M"]
    assert "certified" in cme.stationary(gene, keep=["M"], method="projection").info["certificate"]
    with pytest.raises(ValueError, match="there are no bounds of this law; estimate: the integrator's error is found from two tolerances"):
        cme.stationary(gene, keep=["M"]).bounds("M")
    lower, upper = cme.stationary(gene, keep=["M"], method="projection").bounds("M")
    truth = cme.stationary(gene, keep=["M"], tol=1e-10)["M"][0][: lower.shape[1]]
    assert np.all((lower[0, : len(truth)] - 1e-9 <= truth) & (truth <= upper[0, : len(truth)] + 1e-9))


def test_extinction_and_single_counts():
    law = cme.stationary(cme.parse("X -> 2 X @ 1; X -> 0 @ 1.5; X = 3"), method="generating_function")
    assert law["X"][0, 0] == pytest.approx(1)
    law = cme.fsp(cme.parse("A -> 0 @ 1; A = 1"), [math.log(2)], method="generating_function")
    assert law["A"][0] == pytest.approx([0.5, 0.5])


def test_nothing_moves():
    for reaction in ("A <-> B @ 0, 0", "A -> A @ 1"):
        network = cme.parse(f"species A, B; {reaction}; A = 2; B = 3")
        for method in ("generating_function", "monomolecular"):
            law = cme.fsp(network, [1.0], method=method)
            assert law.states.tolist() == [[2, 3]]
            assert law.p[0] == pytest.approx([1.0])


def test_refusals():
    network = cme.parse(NETWORKS["two stages"])
    with pytest.raises(TypeError, match="keep must be the names of species, not 5"):
        cme.fsp(network, [1.0], keep=5)
    with pytest.raises(ValueError, match="keep names 'Q', which is no species; there are M, P"):
        cme.fsp(network, [1.0], keep=["Q"])
    with pytest.raises(ValueError, match="keep must name one species or more, each once"):
        cme.stationary(network, keep=["P", "P"])
    with pytest.raises(ValueError, match="a generator has no species to sum over; leave out keep"):
        cme.fsp(cme.Generator.from_rates([[0, 1], [1, 0]]), [1.0], initial=[1, 0], keep=["X"])
    with pytest.raises(ValueError, match="a generator has no species to sum over; leave out keep"):
        cme.stationary(cme.Generator.from_rates([[0, 1], [1, 0]]), keep=["X"])
    with pytest.raises(cme.ConvergenceError, match=r"diverges beyond 1|which is too many"):
        cme.fsp(cme.parse("X -> 2 X @ 1; X = 3"), [40.0], method="generating_function")
