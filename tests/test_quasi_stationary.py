"""Quasi-stationary laws and closed classes against closed forms."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla

import cme

KEIZER = "$A + X -> 2 X @ 1; 2 X -> $A + X @ 0.1; X -> 0 @ 1; A = 3; X = 20"


def test_A22_keizer_stationary_is_extinction_and_quasi_stationary_is_not():
    network = cme.parse(KEIZER)
    assert cme.stationary(network).states.tolist() == [[3, 0]]
    law = cme.quasi_stationary(network, tol=1e-9)
    n = np.arange(1.0, 400)
    chain = np.diag(-(3 * n + 0.05 * n * (n - 1) + n)) + np.diag(3 * n[:-1], -1) + np.diag(0.05 * n[1:] * (n[1:] - 1) + n[1:], 1)
    rates, vectors = np.linalg.eig(chain)
    slowest = np.argmax(rates.real)
    truth = vectors[:, slowest].real / vectors[:, slowest].real.sum()
    seen = law["X"][0, 1:400]
    assert np.abs(seen - truth[: len(seen)]).sum() < 1e-7
    assert law.info["decay_rate"] == pytest.approx(3.4143e-8, rel=1e-4)
    assert law.mean()[0, 1] == pytest.approx(truth @ n, rel=1e-7)


@pytest.mark.parametrize(("n", "r0", "tau"), [(50, 2, 12221.52), (100, 2, 1.28097e8), (400, 2, 9.051151e32), (50, 5, 4.241934e16)])
def test_C3_SIS_decays_as_slowly_as_it_takes_to_die_out(n, r0, tau):
    """Table C3; A.17 gives the mean time to extinction from the quasi-stationary law, which is 1 / rate exactly."""
    start = round(n * (1 - 1 / r0))
    law = cme.quasi_stationary(cme.parse(f"I => 2 I @ {r0}*I*({n}-I)/{n}; I -> 0 @ 1; I = {start}"))
    assert law.lost[0] == 0.0
    assert law.info["certificate"].startswith("exact")
    assert 1 / law.info["decay_rate"] == pytest.approx(tau, rel=2e-3)
    i = np.arange(1.0, n + 1)
    up = r0 * i * (n - i) / n
    step = np.zeros(n + 2)  # A.17: S_i = 1/mu_i + (lam_i/mu_i) S_{i+1}
    for k in range(n, 0, -1):
        step[k] = (1 + up[k - 1] * step[k + 1]) / k
    mean = law["I"][0, 1:] @ np.cumsum(step[1 : n + 1])[: len(law["I"][0]) - 1]
    assert 1 / law.info["decay_rate"] == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize(("birth", "death"), [(0.5, 1.0), (0.2, 2.0)])
def test_A16_linear_birth_and_death_is_geometric(birth, death):
    law = cme.quasi_stationary(cme.parse(f"X -> 2 X @ {birth}; X -> 0 @ {death}; X = 3"), tol=1e-10)
    q = birth / death
    assert law.info["decay_rate"] == pytest.approx(death - birth, rel=1e-9)
    seen = law["X"][0]
    assert seen[1:] == pytest.approx((1 - q) * q ** np.arange(len(seen) - 1), abs=1e-10)


def test_the_last_molecule_stays_longest():
    law = cme.quasi_stationary(cme.parse("X -> 0 @ 0.5; X = 20"))
    assert law["X"][0][:3] == pytest.approx([0, 1, 0], abs=1e-12)
    assert law.info["decay_rate"] == pytest.approx(0.5, rel=1e-12)


def test_C4_wells_are_left_at_the_rates_of_the_slowest_mode():
    """Out of both wells to the antimode, and half of these come back: the slowest eigenvalue -2.54967e-5 is half the sum of the rates."""
    network = cme.parse("2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 82")
    low = cme.quasi_stationary(network, within="X <= 256")
    high = cme.quasi_stationary(network, within="X > 256", initial={"X": 563})
    assert low.states.max() <= 256 < high.states.min()
    total = low.info["decay_rate"] + high.info["decay_rate"]
    assert total == pytest.approx(2 * 2.54967e-5, rel=0.08)


def test_two_species_against_the_eigenvector():
    network = cme.parse("A -> 2 A @ 1; A + B -> 2 B @ 0.1; B -> 0 @ 1; A => 0 @ 0.1*A*(A-1); A = 10; B = 3")
    law = cme.quasi_stationary(network, within="B > 0", tol=1e-8)
    space = cme.StateSpace.holding(network, law.states)
    matrix = cme.Generator.from_network(network, space).matrix
    assert np.abs(matrix @ law.p[0] + law.info["decay_rate"] * law.p[0]).sum() < 1e-6
    value = spla.eigs(matrix, k=1, sigma=0, which="LM", return_eigenvectors=False)[0]
    assert law.info["decay_rate"] == pytest.approx(-value.real, rel=1e-5)


def test_generator():
    rates = np.array([[0, 0.5, 0], [0, 0, 2.0], [0, 3.0, 0]])
    law = cme.quasi_stationary(cme.Generator.from_rates(rates), initial=(2,))
    value, vector = np.linalg.eig(np.array([[-3.5, 2.0], [3.0, -2.0]]))
    assert law.info["decay_rate"] == pytest.approx(-value.max(), rel=1e-12)
    expected = np.abs(vector[:, np.argmax(value)])
    assert law.p[0] == pytest.approx(expected / expected.sum(), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: cme.quasi_stationary(NETWORK),
            cme.ConvergenceError,
            "no way leads out of the states .* that were looked at; give within=, or use stationary if there is none",
        ),
        (
            lambda: cme.quasi_stationary(cme.parse("A <-> B @ 1, 1; A = 2")),
            cme.ModelError,
            r"from \{A: 2, B: 0\}: their law is stat",
        ),
        (lambda: cme.quasi_stationary(cme.parse("X -> 0 @ 1; X = 3"), within="X > 5"), ValueError, r"does not hold at the start \{X: 3\}"),
        (lambda: cme.quasi_stationary(cme.Generator.from_rates([[0, 1], [0, 0]])), ValueError, "does not say where it starts"),
        (
            lambda: cme.quasi_stationary(cme.Generator.from_rates([[0, 1], [0, 0]]), initial=(1,), max_states=5),
            ValueError,
            "leave out max_states",
        ),
        (
            lambda: cme.quasi_stationary(cme.parse("X -> 2 X @ 1; X -> 0 @ 1; X = 3"), max_states=6000),
            cme.ConvergenceError,
            "quasi_stationary needs more than max_states=6000 states .* there is none",
        ),
    ],
)
def test_refusals_of_quasi_stationary(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------------------------- closed classes


def test_absorbing_states_and_their_chances():
    ends = cme.closed_classes(cme.parse("A -> B @ 1; A -> C @ 2; A = 2"))
    found = {tuple(end.law.states[0].tolist()): end.probability for end in ends}
    assert found == pytest.approx({(0, 0, 2): 4 / 9, (0, 1, 1): 4 / 9, (0, 2, 0): 1 / 9}, rel=1e-13)
    assert all(end.law.p.tolist() == [[1.0]] for end in ends)


def test_classes_with_laws_of_their_own():
    """Each molecule falls into one of two sinks; in the second it goes back and forth: binomial with 1/4."""
    ends = cme.closed_classes(cme.parse("A -> B @ 1; A -> C @ 2; B <-> D @ 1, 3; A = 3"))
    assert [end.probability for end in ends] == pytest.approx([4 / 9, 8 / 27, 2 / 9, 1 / 27], rel=1e-13)
    three = min(ends, key=lambda end: end.probability).law
    assert three["D"][0] == pytest.approx([27 / 64, 27 / 64, 9 / 64, 1 / 64])
    assert three.lost[0] == 0.0


def test_A19_gambler_with_tiny_chances():
    """Moran with selection r: u_i = (1 - r^-i)/(1 - r^-N); the chance to lose is right in relative terms."""
    n, r, i = 100, 2.0, 60
    network = cme.parse(f"A + B -> 2 A @ {r}; A + B -> 2 B @ 1; A = {i}; B = {n - i}")
    ends = {tuple(end.law.states[0].tolist()): end.probability for end in cme.closed_classes(network)}
    lose = (r**-i - r**-n) / (1 - r**-n)
    assert ends[0, n] == pytest.approx(lose, rel=1e-11)
    assert ends[n, 0] == pytest.approx(1 - lose, rel=1e-12)


def test_one_class_is_the_stationary_law():
    network = cme.parse("A <-> B @ 1, 2; A = 9")
    (end,) = cme.closed_classes(network)
    law = cme.stationary(network)
    assert end.probability == 1.0
    assert end.law["A"][0] == pytest.approx(law["A"][0], abs=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cme.closed_classes(cme.parse("0 -> X @ 1; X -> 0 @ 1"), max_states=900), cme.ConvergenceError, "more than max_states=900"),
        (lambda: cme.closed_classes(cme.Generator.from_rates([[0, 1], [0, 0]])), ValueError, "does not say where it starts"),
        (
            lambda: cme.closed_classes(cme.Generator.from_rates([[0, 1], [0, 0]]), initial=(1,), max_states=9),
            ValueError,
            "leave out max_states",
        ),
        (
            lambda: cme.closed_classes(
                cme.Generator.from_network(NETWORK, cme.StateSpace.reachable(NETWORK, bounds={"X": 9})), initial=(0,)
            ),
            ValueError,
            "the generator leaks at rates of up to 2, so that where it ends is not known",
        ),
    ],
)
def test_refusals_of_closed_classes(call, error, message):
    with pytest.raises(error, match=message):
        call()


NETWORK = cme.parse("0 -> X @ 2; X -> 0 @ 1")


def test_an_end_beyond_the_first_set_is_found():
    flat = cme.quasi_stationary(cme.parse("0 -> X @ 100; X -> 0 @ 1; X = 100"), within="X < 150")
    text = "0 -> X @ 100; X -> 0 @ 1; 0 -> Y @ 100; Y -> 0 @ 1; X = 100; Y = 100"
    law = cme.quasi_stationary(cme.parse(text), within="X < 150")
    assert law.info["decay_rate"] == pytest.approx(flat.info["decay_rate"], rel=1e-9)
    assert np.abs(law["X"][0, : flat["X"].shape[1]] - flat["X"][0]).sum() < 1e-9


def test_an_end_that_is_nowhere_is_told_from_one_that_is_not_kept():
    network = cme.parse("0 -> X @ 10; X -> 0 @ 1; X = 10")
    with pytest.raises(cme.ConvergenceError, match=r"no way leads out .* {X: 10} among the .*; raise max_states=9000, or use stationary"):
        cme.quasi_stationary(network, within="X >= 0", max_states=9000)
    generator = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 20}))
    with pytest.raises(cme.ModelError, match="but to states that are not kept; keep more"):
        cme.quasi_stationary(generator, within="X < 30", initial=(0,))


def test_two_sets_that_agree_prove_nothing_and_draws_begin_with_few_states():
    text = "0 -> geometric(3) X @ 2; binomial(X, 1/2) X => 0 @ 0.5; X -> 0 @ 0.3; X = 30"
    law = cme.quasi_stationary(cme.parse(text), within="X >= 4")
    assert law.info["certificate"] == "estimate: the law on two sets is compared"
    assert len(law.states) < 1000
    space = cme.StateSpace.reachable(cme.parse(text), bounds={"X": 120})
    given = cme.quasi_stationary(cme.Generator.from_network(cme.parse(text), space), within="X >= 4", initial=30)
    assert given.info["certificate"] == "none: nothing is known of states that are not kept"
    assert law.info["decay_rate"] == pytest.approx(given.info["decay_rate"], rel=1e-9)
