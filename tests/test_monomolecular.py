"""The closed form of monomolecular networks (A.1, A.2, A.20) against projection, direct formulas and arithmetic of many digits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom, multinomial, poisson

import cme
from cme.first_order import first_order
from cme.projection.columns import Column, binomial_column
from cme.projection.monomolecular import Flight, _Box

RECOGNISED = ["birth_death", "isomerisation", "potassium_channel", "kinetic_proofreading"]
NOT = ["telegraph", "two_stage", "dimerisation", "batch_immigration", "birth_death_immigration", "schlogl", "sir"]


def one_norm(one, other, t):
    """The 1-norm distance of two laws at one time."""
    rest = {tuple(state): p for state, p in zip(other.states.tolist(), other.p[t], strict=True)}
    return sum(abs(p - rest.pop(tuple(state), 0.0)) for state, p in zip(one.states.tolist(), one.p[t], strict=True)) + sum(rest.values())


def agrees_with_projection(network, times, tol=1e-8, **start):
    law = cme.fsp(network, times, tol=tol, method="monomolecular", **start)
    found = cme.fsp(network, times, tol=1e-8, method="projection", **start)
    for t in range(len(times)):
        assert one_norm(law, found, t) <= law.error_bound[t] + found.error_bound[t]
    assert np.all(law.error_bound <= tol)
    assert np.all(law.states[law.p.max(axis=0) > 0] >= 0)
    return law


@pytest.mark.parametrize("name", RECOGNISED)
def test_models_of_the_shelf_that_are_recognised(name):
    network = cme.load(name)
    law = agrees_with_projection(network, [0.0, 0.3, 4.0])
    assert "Jahnke and Huisinga 2007, doi:10.1007/s00285-006-0034-x" in law.info["exact_by"]
    assert law.info["integration_error"] == "a bound"  # round-off estimated, as in every solver
    auto = cme.fsp(network, [0.3])
    assert auto.info["method"] == "monomolecular"
    assert auto.info["options"]["method"] == "auto"


@pytest.mark.parametrize("name", NOT)
def test_models_of_the_shelf_that_are_not(name):
    with pytest.raises(cme.ModelError, match="is not"):
        cme.fsp(cme.load(name), [1.0], method="monomolecular")


@pytest.mark.parametrize(
    "text",
    [
        "0 -> A @ 6; A -> B @ 1; B -> A @ 0.5; B -> C @ 0.8; C -> 0 @ 0.6; A = 5; B = 2",
        "A -> B @ 1; A -> C @ 2; A -> 0 @ 0.5; A = 9",
        "A <-> B @ 1, 2; C -> 0 @ 1; 0 -> C @ 3; A = 8; B = 3; C = 4; D = 2",  # independent groups, one closed, one still
        "A -> B @ 1; B -> C @ 2; C -> A @ 3; B = 12",
        "A -> B @ 3; A = 5; B = 2",
        "0 -> A @ 2; A = 3",  # grows without bound
        "G -> G + M @ 4; M -> 0 @ 1; G = 3",  # a gene that never changes is a constant
        "A => B @ 2*A + 0*B; B => A @ A*0 + B/4; A = 6",  # the law counts, not how it is written
        "A -> B @ 0; A = 2",
    ],
)
def test_A2_agrees_with_projection(text):
    agrees_with_projection(cme.parse(text), [0.0, 0.2, 1.5, 6.0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 -> X @ 3; X -> 2 X @ 0.1; X -> 0 @ 1", "is not monomolecular"),
        ("0 -> 2 X @ 3; X -> 0 @ 1", "is not monomolecular"),
        ("A -> B + C @ 1; A = 5", "is not monomolecular"),
        ("A + B -> C @ 1; A = 5; B = 2", r"the propensity A\*B of reaction 'r1' is not linear"),
        ("2 A -> B @ 1; A = 5", "is not linear in the counts"),
        ("A => B @ A/(1 + A); A = 5", "is not linear in the counts"),
        ("A => B @ 2*B; A = 5; B = 1", "is not that of single molecules which it takes"),
        ("A => B @ 3; A = 5", "is not that of single molecules which it takes"),
        ("A => 0 @ A - 1; A = 5", "is not that of single molecules which it takes"),
        ("A -> B @ 1 + time; A = 5", "is no network with constant rates"),
    ],
)
def test_mutants_one_reaction_away_are_not_recognised(text, reason):
    with pytest.raises(cme.ModelError, match=reason):
        cme.fsp(cme.parse(text), [1.0], method="monomolecular")


def test_one_start_is_a_multinomial_and_states_are_those_that_can_be_reached():
    law = cme.fsp(cme.parse("A -> B @ 1; B -> C @ 2; A = 7"), [0.8])
    assert len(law.states) == math.comb(9, 2)
    a, b = math.exp(-0.8), math.exp(-0.8) - math.exp(-1.6)
    truth = multinomial.pmf(law.states, 7, [a, b, 1 - a - b])
    assert law.p[0] == pytest.approx(truth, rel=1e-12)
    assert law.lost[0] < 1e-14


def test_A20_several_kinds_of_molecules():
    """Two binomials."""
    law = cme.fsp(cme.parse("A <-> B @ 1, 3; A = 30; B = 50"), [0.4])
    e = math.exp(-4 * 0.4)
    stay, back = 0.75 + 0.25 * e, 0.75 * (1 - e)
    truth = np.convolve(binom.pmf(np.arange(31), 30, stay), binom.pmf(np.arange(51), 50, back))
    found = law["A"][0]
    assert np.all(np.abs(found / truth[: len(found)] - 1) < 1e-11)
    assert law.mean()[0].sum() == pytest.approx(80)


@pytest.mark.parametrize("t", [1e-6, 1e-3, 1.0, 1e3])
def test_stiff_rates_against_many_digits(t):
    """Rates over 14 decades: what is certified is above the true error of means and probabilities."""
    import mpmath

    rates = {"ab": 3e9, "ba": 1.7e9, "bc": 2e-4, "cb": 5e-5, "b0": 1e-3}
    text = "A <-> B @ {ab}, {ba}; B <-> C @ {bc}, {cb}; B -> 0 @ {b0}; A = 1".format(**rates)
    law = cme.fsp(cme.parse(text), [t], tol=1e-7, method="monomolecular")
    with mpmath.workdps(60):
        r = {name: mpmath.mpf(value) for name, value in rates.items()}
        q = mpmath.matrix([[-r["ab"], r["ba"], 0], [r["ab"], -r["ba"] - r["bc"] - r["b0"], r["cb"]], [0, r["bc"], -r["cb"]]])
        whole = _expm(q, mpmath.mpf(t))
        truth = [float(whole[i, 0]) for i in range(3)]
    found = law.mean()[0]
    assert np.abs(found - truth).sum() <= law.error_bound[0]
    assert law.integration_error[0] < 1e-8
    assert found == pytest.approx(truth, rel=1e-10, abs=1e-9)


def _expm(q, t):
    """By eigenvalues, in the digits that are set."""
    import mpmath

    values, vectors = mpmath.eig(q)
    return vectors * mpmath.diag([mpmath.exp(value * t) for value in values]) * vectors**-1


def test_a_mixture_at_the_start():
    network = cme.parse("0 -> A @ 2; A -> B @ 1; B -> 0 @ 0.7")
    start = {(0, 0): 0.25, (4, 1): 0.5, (0, 6): 0.25}
    agrees_with_projection(network.with_initial(start), [0.5, 3.0])
    parts = [cme.fsp(network.with_initial(A=a, B=b), [0.5], tol=1e-10)["A"][0, :9] for a, b in start]
    whole = cme.fsp(network.with_initial(start), [0.5], tol=1e-10)
    assert whole["A"][0, :9] == pytest.approx(np.array(list(start.values())) @ parts, abs=1e-9)
    first = cme.fsp(network, [1.0], tol=1e-9)
    late = cme.fsp(network, [1.0], tol=1e-7, initial=first, method="monomolecular")
    assert late["B"][0, :12] == pytest.approx(cme.fsp(network, [2.0], tol=1e-9)["B"][0, :12], abs=1e-8)
    assert late.lost[0] >= first.lost[0]


@pytest.mark.parametrize("tol", [1e-2, 1e-5, 1e-9])
def test_the_bound_holds_where_the_law_is_cut(tol):
    law = cme.fsp(cme.parse("0 -> A @ 40; A -> 0 @ 1; 0 -> B @ 9; B -> 0 @ 1; A = 30; B = 12"), [0.6], tol=tol)
    q = math.exp(-0.6)
    n = np.arange(200)
    a = np.convolve(binom.pmf(n, 30, q), poisson.pmf(n, 40 * (1 - q)))[:200]
    b = np.convolve(binom.pmf(n, 12, q), poisson.pmf(n, 9 * (1 - q)))[:200]
    truth = np.outer(a, b)
    found = np.zeros_like(truth)
    found[tuple(law.states.T)] = law.p[0]
    error = np.abs(found - truth).sum()
    assert error <= law.error_bound[0] + 1e-14
    assert 0.05 * tol < law.error_bound[0] <= tol


def test_a_million_states_ahead():
    """A.1 twice, 500 molecules each: sums over either are Poisson."""
    law = cme.fsp(cme.parse("0 -> X @ 500; X -> 0 @ 1; 0 -> Y @ 500; Y -> 0 @ 1"), [1.0], tol=1e-8)
    n = np.arange(law["X"].shape[1])
    assert np.abs(law["X"][0] - poisson.pmf(n, 500 * (1 - math.exp(-1)))).sum() < 1e-8
    assert law.info["method"] == "monomolecular"


def test_observables_and_where_auto_prefers_projection():
    network = cme.parse("A <-> B @ 1, 3; B -> 0 @ 1; A = 400; all := A + B")
    law = cme.fsp(network, [0.0, 1.0], tol=1e-6)
    assert law["all"][0, 400] == 1
    assert law.info["method"] == "monomolecular"
    many = cme.fsp(network, np.linspace(0, 1e-3, 50), tol=1e-6)
    assert "exact_by" not in many.info


def test_channels_of_propensities_that_are_sums():
    channels = first_order(cme.parse("A => B @ 2*(A + 0) + k*A/4; 0 => A @ 1 + 2*C; k = 8; C = 3"))
    assert channels.source.tolist() == [0, -1]
    assert channels.rate.tolist() == [4.0, 7.0]
    mean = channels.mean_rates()
    assert mean[0].tolist() == [[-4, 0], [4, 0]]
    assert mean[1].tolist() == [7, 0]


def test_binomial_laws_in_relative_terms():
    import mpmath

    for n, p in ((5, 0.3), (1000, 1e-4), (40_000, 0.5), (10**9, 3e-8)):
        column = binomial_column(n, p, 1 - p)
        for k in np.linspace(column.first, column.first + len(column.p) - 1, 7).astype(int).tolist():
            with mpmath.workdps(40):
                truth = mpmath.binomial(n, k) * mpmath.mpf(p) ** k * mpmath.mpf(1 - p) ** (n - k)
                assert abs(column.p[k - column.first] / truth - 1) < 1e-6 * (n == 10**9) + 2e-11


@pytest.mark.parametrize("text", ["A -> B @ 1; A = 1000000000", "0 -> A @ 1e9; A -> 0 @ 1", "A <-> B @ 1, 0.01; A = 30000"])
def test_A2_rounding_of_very_many_molecules_is_bounded(text):
    """The relative error at quantiles of the law, whose mean is the 1-norm, against 40 digits; n eps would be 1e-7."""
    import mpmath

    law = cme.fsp(cme.parse(text), [1.0], tol=1e-7)
    assert law.info["method"] == "monomolecular"
    counts, p, n = law.states[:, 0], law.p[0], int(law.states[0].sum())
    order = np.argsort(counts)
    quantiles = order[np.searchsorted(np.cumsum(p[order]), np.linspace(0.005, 0.995, 100))]
    with mpmath.workdps(40):
        if "0 ->" in text:
            mean = 10**9 * (1 - mpmath.exp(-1))
            logs = [k * mpmath.log(mean) - mean - mpmath.loggamma(k + 1) for k in counts[quantiles].tolist()]
        else:
            back = mpmath.mpf(0.01) if "0.01" in text else mpmath.mpf(0)
            share = (back + mpmath.exp(-1 - back)) / (1 + back)
            logs = [
                mpmath.log(mpmath.binomial(n, k)) + k * mpmath.log(share) + (n - k) * mpmath.log(1 - share)
                for k in counts[quantiles].tolist()
            ]
        off = np.array([float(p[i] / mpmath.exp(each) - 1) for i, each in zip(quantiles, logs, strict=True)])
    assert np.abs(off).mean() <= law.integration_error[0] < 5e-11


def test_rounding_that_is_the_same_at_every_step_is_bounded():
    """The logarithm of the odds is rounded once and counts at every step: odds whose rounding is as bad as may be, against 40 digits."""
    import mpmath

    with mpmath.workdps(40):

        def off(p):
            return abs(float(mpmath.log(mpmath.mpf(p) / mpmath.mpf(1 - p)) - mpmath.mpf(float(np.log(p / (1 - p))))))

        n, p = 10**8, max((1e-3 * (1 + 1e-4 * k) for k in range(400)), key=off)
        column = binomial_column(n, p, 1 - p)
        share = mpmath.mpf(p) / (mpmath.mpf(p) + mpmath.mpf(1 - p))
        places = np.searchsorted(np.cumsum(column.p), np.linspace(0.005, 0.995, 100)).tolist()
        errors = []
        for place in places:
            k = column.first + place
            log = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
            truth = mpmath.exp(log + k * mpmath.log(share) + (n - k) * mpmath.log(1 - share))
            errors.append(abs(float(mpmath.mpf(float(column.p[place])) / truth - 1)))
    assert np.mean(errors) <= column.rounding < 50 * np.mean(errors)
    box = _Box(1, 0.0, 10**6)
    box.add_count(0, column)
    before = box.rounding
    assert before >= column.rounding  # of a box as well
    box.add_count(0, Column(0, np.full(8, 0.125)))
    assert box.rounding >= before + 8 * 2.0**-53  # sums of eight products


@pytest.mark.parametrize("n", [3, 20, 60])
def test_rounding_of_molecules_one_by_one_is_bounded(n):
    """Against fractions."""
    shares = np.array([0.1, 0.7]), 0.2
    a, b, c = Fraction(0.1), Fraction(0.7), Fraction(0.2)
    box = _Box(2, 0.0, 10**6)
    box.add_molecules(n, *shares)
    block = box.block()
    error = Fraction(0)
    for (i, j), p in zip(block.states.tolist(), block.p.tolist(), strict=True):
        error += abs(Fraction(p) - math.comb(n, i) * math.comb(n - i, j) * a**i * b**j * c ** (n - i - j))
    assert 0 < float(error) <= box.rounding < 300 * error


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (1000, 0.3), (1000, 1e-4), (50_000, 0.999)])
def test_what_an_error_of_p_makes_of_the_law(n, p):
    """The bound by the Hellinger distance where molecules are many, that by single molecules where few."""
    off = 1e-3 * p * (1 - p)
    flight = Flight(np.array([[p], [1 - p]]), np.zeros(1), np.full((2, 1), off), np.zeros(1))
    moved = np.abs(binom.pmf(np.arange(n + 1), n, p + off) - binom.pmf(np.arange(n + 1), n, p)).sum()
    assert moved <= flight.doubt(np.array([n])) * (1 + 1e-6) <= 4 * moved
    mean = n * p
    poissonian = Flight(np.zeros((1, 1)), np.array([mean]), np.zeros((1, 1)), np.array([1e-3 * mean]))
    counts = np.arange(int(mean + 12 * np.sqrt(mean) + 30))
    moved = np.abs(poisson.pmf(counts, 1.001 * mean) - poisson.pmf(counts, mean)).sum()
    assert moved <= poissonian.doubt(np.zeros(1)) * (1 + 1e-6) <= 4 * moved


def test_refusals():
    network = cme.parse("0 -> X @ 2; X -> 0 @ 1")
    with pytest.raises(ValueError, match=r"method must be one of 'auto', 'projection', .*'monomolecular'"):
        cme.fsp(network, [1.0], method="krylof")
    space = cme.StateSpace.reachable(network, bounds={"X": 30})
    with pytest.raises(ValueError, match="method='monomolecular' takes a network and finds its own states; leave out space"):
        cme.fsp(network, [1.0], method="monomolecular", space=space)
    with pytest.raises(cme.ConvergenceError, match=r"the closed form needs .* states; raise max_states \(now 50\)"):
        cme.fsp(cme.parse("0 -> X @ 90; 0 -> Y @ 90"), [1.0], method="monomolecular", max_states=50)
    first = cme.fsp(network, [1.0], space=cme.StateSpace.reachable(network, bounds={"X": 6}))
    for method in ("auto", "monomolecular"):
        with pytest.raises(cme.ConvergenceError, match=r"the initial distribution has already lost .* give it with a smaller tol"):
            cme.fsp(network, [1.0], tol=first.error_bound[0], initial=first, method=method)
    with pytest.raises(cme.ConvergenceError, match=r"a count near 1e.300 has too many likely values"):
        cme.fsp(cme.parse("0 -> X @ 1e300"), [1.0], method="monomolecular")
    with pytest.raises(cme.ConvergenceError, match="molecules of a kind, which are too many"):
        cme.fsp(cme.parse("X -> 0 @ 1; X = 1e15"), [1.0], method="monomolecular")


def test_where_projection_fails_too_the_closed_form_says_what_it_needs():
    told = r"the integrator's error .*; with method='monomolecular': the closed form only comes within 1.* loosen tol=1e-12"
    with pytest.raises(cme.ConvergenceError, match=told):
        cme.fsp(cme.parse("A -> 0 @ 1; A = 1000000"), [0.7], tol=1e-12)
    both = r"fsp needs .* states and more .*; with method='monomolecular': the closed form needs \d+ states; raise max_states \(now 300\)"
    with pytest.raises(cme.ConvergenceError, match=both):
        cme.fsp(cme.parse("A -> 0 @ 1; A = 10000"), [0.7], max_states=300)
    with pytest.raises(cme.ConvergenceError, match=r"or use ssa$"):  # of projection alone, where it alone was asked
        cme.fsp(cme.parse("A -> 0 @ 1; A = 10000"), [0.7], max_states=300, method="projection")
    with pytest.raises(cme.ConvergenceError, match=r"; with method='product_form': .*raise max_states \(now 10\)"):
        cme.stationary(cme.parse("0 -> X @ 1000; X -> 0 @ 1; X = 3"), max_states=10)


@pytest.mark.parametrize("keep", [["A"], ["B"], ["C"], ["C", "A"], ["A", "B", "D"], ["A", "B"]])
def test_laws_of_some_species_need_only_their_axes(keep):
    network = cme.parse("species A, B, C, D; A <-> B @ 1, 2; C -> 0 @ 1; 0 -> C @ 3; A = 8; B = 3; C = 4; D = 2")
    whole = cme.fsp(network, [0.5, 2.0], tol=1e-9)
    law = cme.fsp(network, [0.5, 2.0], tol=1e-9, keep=keep)
    assert law.species == tuple(keep)
    assert law.info["method"] == "monomolecular"
    for name in keep:
        size = max(law[name].shape[1], whole[name].shape[1])
        one, other = (np.pad(each[name], ((0, 0), (0, size - each[name].shape[1]))) for each in (law, whole))
        assert np.all(np.abs(one - other).sum(axis=1) <= law.error_bound + whole.error_bound)


def test_one_of_many_species():
    """Ten species, whose joint law has no box that fits; the means and the law of one."""
    chain = "0 -> S0 @ 90; " + "; ".join(f"S{i} -> S{i + 1} @ {i + 1}" for i in range(9)) + "; S9 -> 0 @ 1; S0 = 300; S4 = 20"
    law = cme.fsp(cme.parse(chain), [0.7], keep=["S9"])
    assert law.mean()[0] == pytest.approx(cme.rate_equations(cme.parse(chain), [0.7])["S9"], rel=1e-5)
    steady = cme.stationary(cme.parse(chain), keep=["S9"])
    assert steady["S9"][0] == pytest.approx(poisson.pmf(np.arange(steady["S9"].shape[1]), 90), abs=1e-9)
