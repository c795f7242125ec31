"""First-passage times against closed forms, however long they take; bounds against the truth; samples; refusals."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import verdict
from scipy.linalg import eigh_tridiagonal, expm

import cme
from cme.projection.censored import Censored


def down(birth, death, start, top, goal=0):
    """THEORY A.17: S_i = 1/mu_i + (lambda_i/mu_i) S_{i+1}, the mean time from start to goal below it is the sum of S_i."""
    total = s = 0.0
    for i in range(top, goal, -1):
        s = 1 / death(i) + (birth(i) / death(i) * s if i < top else 0.0)
        total += s if i <= start else 0.0
    return total


def up(birth, death, start, goal):
    """The mirror image of `down`, from start to a goal above it, where 0 is the lowest state."""
    total = s = 0.0
    for i in range(goal):
        s = 1 / birth(i) + (death(i) / birth(i) * s if i else 0.0)
        total += s if i >= start else 0.0
    return total


def schloegl(size):
    """The second set of THEORY C4, with rates c0 + c2 x^2 up and c1 x + c3 x^3 down and stable states at .1 and 4."""
    return (
        lambda n: size * 0.6 + 5.6 / size * n * (n - 1),
        lambda n: 6.55 * n + n * (n - 1) * (n - 2) / size**2,
        cme.parse(f"0 -> X @ {size * 0.6}; 2 X => 3 X @ {5.6 / size}*X*(X-1); X -> 0 @ 6.55; 3 X => 2 X @ X*(X-1)*(X-2)/{size**2}; X=0"),
    )


def sis(r0, n):
    start = round(n * (1 - 1 / r0))
    return start, cme.parse(f"X => 2 X @ {r0}*X*({n} - X)/{n}; X -> 0 @ 1; X = {start}")


# ---------------------------------------------------------------------------------------------------------- mean times


def test_schloegl_between_its_two_states():  # THEORY C4
    network = cme.load("schlogl")
    rise = cme.first_passage(network, "X >= 563", initial={"X": 82})
    fall = cme.first_passage(network, "X <= 82", initial={"X": 563})
    assert rise.mean() == pytest.approx(50307.861450, abs=1e-6)
    assert fall.mean() == pytest.approx(178100.490637, abs=1e-6)
    assert rise.escaped == 0
    assert rise.mean_bounds == (rise.mean(), rise.mean())
    assert fall.mean_bounds.lower < fall.mean() < fall.mean_bounds.upper
    assert fall.mean_bounds == pytest.approx((fall.mean(), fall.mean()), rel=1e-10)


@pytest.mark.parametrize(
    ("size", "rise", "fall"),
    [
        (5, 194.7053, 2.221833),
        (20, 92925.76, 25.49351),
        (40, 3.895671e8, 733.8984),
        (60, 1.702149e12, 23054.59),
        (80, 7.513471e15, 737350.2),
    ],
)
def test_schloegl_with_a_high_barrier(size, rise, fall):  # THEORY C4, second set
    birth, death, network = schloegl(size)
    low, high = round(0.1 * size), 4 * size
    found = cme.first_passage(network, f"X >= {high}", initial={"X": low})
    assert found.mean() == pytest.approx(rise, rel=5e-7)
    assert found.mean() == pytest.approx(up(birth, death, low, high), rel=1e-12)
    found = cme.first_passage(network, f"X <= {low}", initial={"X": high})
    assert found.mean() == pytest.approx(fall, rel=5e-7)
    assert found.mean() == pytest.approx(down(birth, death, high, 3000, low), rel=1e-12)


@pytest.mark.parametrize(
    ("r0", "n", "tau"), [(1.1, 100, 18.11527), (1.5, 400, 2.633583e12), (2, 400, 9.051151e32), (3, 200, 4.420292e36), (5, 100, 1.12335e34)]
)
def test_sis_extinction_however_late(r0, n, tau):  # THEORY C3
    start, network = sis(r0, n)
    found = cme.first_passage(network, "X == 0", times=[tau, 3 * tau])
    assert found.mean() == pytest.approx(tau, rel=1e-6)
    exact = down(lambda i: r0 * i * (n - i) / n, float, start, n)
    assert found.mean() == pytest.approx(exact, rel=1e-12)
    slow = found.decay()
    assert slow.bounds.lower <= slow.rate <= slow.bounds.upper
    if tau > 1e10:  # then nothing but the slowest mode is left
        assert found.sd() == pytest.approx(exact, rel=1e-9)
        assert slow.rate == pytest.approx(1 / exact, rel=1e-9)
        assert found.cdf[:, 0] == pytest.approx(-np.expm1(-found.times / exact), abs=1e-8)
        assert "slowest mode" in found.info["in_time"]


def test_times_beyond_1e200():
    _, network = sis(5, 600)
    found = cme.first_passage(network, "X == 0")
    exact = down(lambda i: 5 * i * (600 - i) / 600, float, 480, 600)
    assert found.mean() == pytest.approx(exact, rel=1e-11)
    assert exact > 1e200
    assert (found.moment(2), found.variance(), found.sd()) == (math.inf, math.inf, math.inf)  # beyond 1e308
    with pytest.raises(cme.ConvergenceError, match="a mean time is beyond 1e290"):
        cme.first_passage(sis(5, 900)[1], "X == 0")


def test_waiting_for_an_enzyme():  # THEORY A.13, closed
    network = cme.parse("E + S <-> C @ 0.5, 1.5; C -> E + P @ 2; E = 1; S = 7")
    found = cme.first_passage(network, "P == 7")
    assert found.mean() == pytest.approx(12.575, rel=1e-13)
    single = cme.first_passage(network.with_initial(S=1), "P == 1", times=[0.5, 1.0, 4.0])
    b = (0.5 + 1.5 + 2) / 2
    a = math.sqrt(b**2 - 0.5 * 2)
    density = 0.5 * 2 / (2 * a) * (np.exp((a - b) * single.times) - np.exp(-(a + b) * single.times))
    assert single.density[:, 0] == pytest.approx(density, rel=1e-6)
    mean = (0.5 + 1.5 + 2) / (0.5 * 2)
    assert single.mean() == pytest.approx(mean, rel=1e-13)
    assert single.variance() == pytest.approx((mean**2) * ((0.5 + 1.5 + 2) ** 2 - 2 * 0.5 * 2) / (0.5 + 1.5 + 2) ** 2, rel=1e-12)


def test_moments_of_any_order():  # a sum of 4 exponential times of rate 3: E T^k = (k + 3)! / 3! / 3^k
    found = cme.first_passage(cme.parse("0 -> X @ 3"), "X == 4")
    for k in range(8):
        assert found.moment(k) == pytest.approx(math.factorial(k + 3) / 6 / 3**k, rel=1e-13)
    assert found.moment(1, "X == 4") == found.mean()


def test_extinction_of_a_linear_chain():  # THEORY A.16, A.17
    network = cme.parse("X -> 2 X @ 0.5; X -> 0 @ 1; X = 1")
    found = cme.first_passage(network, "X == 0", times=[0.5, 2.0, 8.0])
    assert found.mean() == pytest.approx(math.log(2) / 0.5, rel=1e-12)
    grown = np.exp(-0.5 * found.times)
    exact = (grown - 1) / (0.5 * grown - 1)
    lower, upper = found.cdf_bounds()
    assert np.all(lower <= exact)
    assert np.all(exact <= upper)
    assert np.all(upper - lower < 1e-6)
    assert found.survival == pytest.approx(1 - exact, abs=1e-6)


def test_slow_modes_over_many_powers_of_ten():
    found = cme.first_passage(cme.parse("X -> 0 @ 1; X = 6"), "X == 0")
    assert found.decay_rates(4) == pytest.approx([1, 2, 3, 4], rel=1e-9)
    tau = down(lambda i: 2 * i * (60 - i) / 60, float, 30, 60)
    rates = cme.first_passage(sis(2, 60)[1], "X == 0").decay_rates(3)
    n = np.arange(1, 61.0)
    up, fall = 2 * n * (60 - n) / 60, n
    same = -eigh_tridiagonal(-(up + fall), np.sqrt(up[:-1] * fall[1:]), eigvals_only=True)[::-1]
    assert rates == pytest.approx(same[:3], rel=1e-8)
    assert rates[0] == pytest.approx(1 / tau, rel=1e-3)
    late = cme.first_passage(sis(2, 400)[1], "X == 0")
    assert late.decay_rates(1)[0] == pytest.approx(late.decay().rate, rel=1e-9)


def test_from_where_no_way_leads_the_chance_is_zero():
    table = cme.first_passage(cme.parse("A -> B @ 1; A -> C @ 1; C -> D @ 1; A = 1"), "B == 1").from_states()
    assert dict(zip(table["A"], table["P(B == 1)"], strict=True)) == {1: 0.5, 0: 0.0}
    assert math.isnan(table["mean"][table["A"] == 0].iloc[0])


def test_a_probability_is_one_at_most():
    found = cme.first_passage(cme.parse("X -> 0 @ 1; 0 -> X @ 0.1; X = 30"), "X == 0", times=[1e2, 1e3, 1e4])
    assert np.all(found.cdf <= 1)
    assert found.cdf[-1, 0] == pytest.approx(1, abs=1e-8)


def test_a_generator_offers_its_own_names():
    generator = cme.Generator.from_rates([[0, 1], [1, 0]], states=[[0], [1]], names=("s",))
    with pytest.raises(ValueError, match=r"uses 'x', which the generator does not have; there are s$"):
        cme.first_passage(generator, "x == 3", initial=0)


def test_an_elimination_in_any_order_is_right_entry_by_entry():
    rng = np.random.default_rng(3)
    rates = sp.random_array((60, 60), density=0.1, rng=rng, format="csc")
    rates.data = 10.0 ** rng.uniform(-3, 3, rates.nnz)
    rates.setdiag(0)
    rates.eliminate_zeros()
    exits = 10.0 ** rng.uniform(-3, 0, 60)
    a = rates.toarray() - np.diag(rates.sum(axis=0) + exits)
    chain, p = Censored(sp.csc_array(rates), exits), rng.random(60)
    np.testing.assert_allclose(chain.occupy(p), np.linalg.solve(-a, p), rtol=1e-8)
    np.testing.assert_allclose(chain.collect(p), np.linalg.solve(-a.T, p), rtol=1e-8)
    assert exits @ chain.occupy(p) == pytest.approx(p.sum(), rel=1e-13)


# -------------------------------------------------------------------------------------------------- which comes first


@pytest.mark.parametrize("r", [2.0, 0.5, 1.0])
def test_which_of_two_types_is_fixed(r):  # THEORY A.19
    n, start = 40, 5
    network = cme.parse(f"X => 2 X @ {r}*X*({n} - X)/{n}; X => 0 @ X*({n} - X)/{n}; X = {start}")
    found = cme.first_passage(network, {"fixed": f"X == {n}", "lost": "X == 0"}, times=[1.0, 1000.0])
    exact = start / n if r == 1 else (1 - r**-start) / (1 - r**-n)
    assert found.probability[0] == pytest.approx(exact, rel=1e-12)
    assert found.probability.sum() == pytest.approx(1, rel=1e-13)
    assert found.cdf[1] == pytest.approx(found.probability, abs=1e-6)
    assert found.mean() == pytest.approx(found.probability @ [found.mean("fixed"), found.mean("lost")], rel=1e-12)
    if r == 1:
        exact = sum((n - start) / (n - j) for j in range(1, start + 1)) + sum(start / j for j in range(start + 1, n))
        assert found.mean() == pytest.approx(exact, rel=1e-12)
    frame = found.from_states()
    assert len(frame) == n - 1
    assert frame.set_index("X")["P(fixed)"][start] == pytest.approx(found.probability[0], rel=1e-13)
    assert frame.set_index("X")["mean"][start] == pytest.approx(found.mean(), rel=1e-12)


def test_rare_fixation_to_all_digits():  # THEORY C3, last line: 2.753e-14
    found = cme.first_passage(
        cme.parse("X => 2 X @ 0.5*X*(50 - X)/50; X => 0 @ X*(50 - X)/50; X = 5"), {"fixed": "X == 50", "lost": "X == 0"}
    )
    assert found.probability[0] == pytest.approx((1 - 2.0**5) / (1 - 2.0**50), rel=1e-12)


def test_final_size_of_an_epidemic():  # THEORY A.18
    network = cme.parse("S + I -> 2 I @ 2/50; I -> 0 @ 1; S = 50; I = 1")
    found = cme.first_passage(network, {str(50 - s): f"I == 0 && S == {s}" for s in range(51)})
    assert found.probability @ [int(name) for name in found.targets] == pytest.approx(19.064087, abs=1e-6)
    assert found.probability[found.target_index("0")] == pytest.approx(1 / 3, rel=1e-13)


def test_duration_of_an_epidemic():  # THEORY A.18, transient
    network = cme.parse("S + I -> 2 I @ 2/100; I -> 0 @ 1; S = 95; I = 5")
    found = cme.first_passage(network, "I == 0", times=[1, 3, 5, 10], tol=1e-9)
    assert found.cdf[:, 0] == pytest.approx([0.01017139, 0.04093918, 0.06565120, 0.73519625], abs=6e-9)


def test_where_the_target_may_be_missed():  # THEORY B.4: extinction with probability (mu/lambda)^n0
    network = cme.parse("X -> 2 X @ 2; X -> 0 @ 1; X = 5")
    found = cme.first_passage(network, "X == 0", times=[1.0, 5.0])
    low, high = found.probability_bounds("X == 0")
    assert low == pytest.approx(1 / 32, rel=1e-9)
    assert high > 0.99
    assert found.cdf[:, 0] == pytest.approx([8.714e-3, 3.073e-2], abs=5e-6)
    assert found.certain is None
    assert math.isnan(found.mean())
    swapped = down(lambda i: i, lambda i: 2 * i, 5, 400)  # given extinction, births and deaths change places
    assert found.mean("X == 0") == pytest.approx(swapped, rel=1e-9)
    assert "probability 0.03125 to 1, mean time not known" in repr(found)


def test_a_trap_beside_the_target():
    network = cme.parse("A -> B @ 3; A -> C @ 1; A = 1")
    found = cme.first_passage(network, "B == 1", times=[0.1, 10.0])
    assert found.probability[0] == 0.75
    assert (found.never, found.certain, found.escaped) == (0.25, False, 0)
    assert (found.mean(), found.mean("B == 1"), found.sd("B == 1")) == (math.inf, 0.25, 0.25)
    assert found.mean_bounds == (math.inf, math.inf)
    assert found.cdf[:, 0] == pytest.approx(0.75 * -np.expm1(-4 * found.times), abs=1e-9)
    assert repr(found) == "FirstPassage to B == 1: probability 0.75, else never; 2 states, 0.0e+00 escapes; first_passage"


def test_starts_in_a_target_and_beyond_reach():
    network = cme.parse("X -> 0 @ 1; X = 3")
    found = cme.first_passage(network, {"low": "X <= 3", "high": "X > 3"}, times=[0.0, 1.0])
    assert found.probability.tolist() == [1, 0]
    assert found.cdf.tolist() == [[1, 0], [1, 0]]
    assert (found.mean(), found.mean("low")) == (0, 0)
    assert math.isnan(found.mean("high"))
    never = cme.first_passage(network, "X > 3", times=[1.0])
    assert (never.probability[0], never.never, never.mean()) == (0, 1, math.inf)
    assert never.cdf.tolist() == [[0]]


def test_starts_in_a_target_among_states_that_leak():
    found = cme.first_passage(cme.parse("0 -> X @ 3; X -> 0 @ 1; X = 4"), "X >= 2 && X < 9")
    assert (found.mean(), found.mean_bounds) == (0, (0, 0))
    network = cme.parse("0 -> X @ 3; X -> 0 @ 1; X = 4")
    small = cme.first_passage(network, "X >= 15", space=cme.StateSpace.reachable(network, bounds={"X": 12}))
    assert small.probability_bounds() == (0, 1)
    assert small.info["upper_mean"] == "from some of the kept states no target is met without leaving them"


def test_two_starts_and_a_distribution():
    network = cme.parse("X -> 0 @ 1; X = 3")
    mixed = cme.first_passage(network, "X == 0", initial={(3,): 0.5, (1,): 0.5})
    assert mixed.mean() == pytest.approx(0.5 * (1 + 1 / 2 + 1 / 3) + 0.5, rel=1e-14)
    law = cme.fsp(network, [0.3], tol=1e-10)
    later = cme.first_passage(network, "X == 0", [1.0], initial=law)
    assert later.cdf[0, 0] == pytest.approx((1 - math.exp(-1.3)) ** 3, abs=1e-9)
    assert later.escaped <= 1e-10


# ----------------------------------------------------------------------------------------------- samples and generators


def test_samples_have_these_times():
    network = cme.parse("0 => U @ 50/(1 + V^2.5); 0 => V @ 16/(1 + U); U -> 0 @ 1; V -> 0 @ 1; V = 15")
    goal, times = "U > 2*V && U > 20", np.array([50.0, 200.0, 600.0, 2000.0])
    found = cme.first_passage(network, goal, times)
    paths = cme.ssa(network, [60_000.0], n_paths=3000, seed=8, stop=goal)
    verdict.mean_matches(paths.stopped, found.mean(), found.sd())
    verdict.variance_matches(paths.stopped, found.variance())
    ensemble = cme.ensemble(network, times, n_paths=3000, seed=9, stop=goal)
    for stopped, p in zip(ensemble.stopped, found.cdf[:, 0], strict=True):
        verdict.probability_matches(np.arange(3000) < stopped, p)


def test_bursts():  # of geometric size with mean 2: a passage over a level in one jump
    network = cme.parse("0 -> geometric(2) X @ 1; X -> 0 @ 1; X = 0")
    found = cme.first_passage(network, "X >= 4", [0.5, 2.0])
    matrix = np.zeros((5, 5))
    for n in range(4):
        sizes = (2 / 3) ** np.arange(1, 4 - n) / 3
        matrix[n + 1 : 4, n] = sizes
        matrix[4, n] = (2 / 3) ** (4 - n)
        matrix[n - 1, n] += n
        matrix[n, n] -= matrix[:, n].sum()
    assert found.mean() == pytest.approx(np.linalg.solve(-matrix[:4, :4], np.eye(4)[0]).sum(), rel=1e-10)
    assert found.cdf[:, 0] == pytest.approx([expm(matrix * t)[4, 0] for t in found.times], abs=1e-6)


def test_a_generator_of_any_jumps():
    rng = np.random.default_rng(5)
    rates = rng.random((8, 8))
    found = cme.first_passage(cme.Generator.from_rates(rates), {"a": "x == 2", "b": "x >= 6"}, [0.1, 1.0], initial=0, tol=1e-9)
    a = rates * (1 - np.eye(8))
    a[:, [2, 6, 7]] = 0
    a -= np.diag(a.sum(axis=0))
    inner = [0, 1, 3, 4, 5]
    time = np.linalg.solve(-a[np.ix_(inner, inner)], np.eye(5)[0])
    assert found.mean() == pytest.approx(time.sum(), rel=1e-13)
    assert found.probability == pytest.approx([a[2, inner] @ time, (a[6, inner] + a[7, inner]) @ time], rel=1e-13)
    later = np.array([expm(a * t)[:, 0] for t in found.times])
    assert found.cdf == pytest.approx(np.stack([later[:, 2], later[:, 6] + later[:, 7]], axis=1), abs=1e-9)
    assert found.density == pytest.approx(
        np.stack([later[:, inner] @ a[2, inner], later[:, inner] @ (a[6] + a[7])[inner]], axis=1), abs=1e-8
    )


# ------------------------------------------------------------------------------------------------ tables and refusals


def test_tables():
    found = cme.first_passage(cme.parse("X -> 0 @ 1; X = 4"), {"one": "X == 1"}, [1.0, 2.0])
    frame = found.to_frame()
    assert list(frame.columns) == ["time", "target", "cdf", "lower", "upper", "density"]
    assert frame.attrs["solver"] == "first_passage"
    assert frame.cdf.tolist() == found.cdf[:, 0].tolist()
    summary = found.summary()
    assert summary.loc[0, "mean"] == pytest.approx(1 / 4 + 1 / 3 + 1 / 2)
    assert "first_passage" in found._repr_html_()
    assert repr(found) == "FirstPassage to one: mean time 1.08333; 3 states, 0.0e+00 escapes; first_passage"
    with pytest.raises(KeyError, match="there is no target 'two'; there are 'one'"):
        found.mean("two")
    with pytest.raises(ValueError, match=r"moments are numbered by whole numbers >= 0, not 1\.5"):
        found.moment(1.5)


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("X >", "target='X >' can't be read"),
        ("Y > 3", "target='Y > 3' uses 'Y', which the network does not have"),
        ("time > 3", "target='time > 3' uses the time; when it is met is what is asked for"),
        ({"a": "X + 1"}, "target 'a'='X . 1' is no condition"),
        ({}, "target names no condition"),
        ({"a": "X > 3", "b": "X == 4"}, "'a' and 'b' both hold at {X: 4}; make them exclude each other"),
    ],
)
def test_refusals(target, match):
    with pytest.raises(ValueError, match=match):
        cme.first_passage(cme.parse("0 -> X @ 1; X = 2"), target)


def test_refusals_of_models():
    with pytest.raises(cme.ModelError, match=r"first_passage can't take 'network': .* depends on time; use ssa or fsp"):
        cme.first_passage(cme.parse("0 => X @ 1 + time"), "X > 3")
    with pytest.raises(cme.ModelError, match=r"first_passage can't take 'network': event"):
        cme.first_passage(cme.parse("0 -> X @ 1; wash: at time >= 2: X = 0"), "X > 3")
    with pytest.raises(TypeError, match="first_passage takes a Network or a Generator, and not a TimeDependentGenerator"):
        cme.first_passage(cme.Generator.from_rates(lambda t: [[0, t], [1, 0]]), "x == 1")
    generator = cme.Generator.from_rates([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="give initial="):
        cme.first_passage(generator, "x == 1")
    with pytest.raises(ValueError, match="a generator has its states already"):
        cme.first_passage(generator, "x == 1", initial=0, max_states=3)
    network = cme.parse("0 -> X @ 1; X -> 0 @ 1")
    with pytest.raises(ValueError, match="a given space is kept as it is; leave out max_states"):
        cme.first_passage(network, "X > 3", space=cme.StateSpace.reachable(network, bounds={"X": 9}), max_states=10)
    with pytest.raises(ValueError, match="the given state space does not hold the initial state"):
        cme.first_passage(network, "X > 3", initial={"X": 12}, space=cme.StateSpace.reachable(network, bounds={"X": 9}))


def test_too_many_states():  # a symmetric walk comes to 0 for sure, but only after an infinite time on average
    network = cme.parse("0 => X @ 1; X => 0 @ 1; X = 1")
    with pytest.raises(
        cme.ConvergenceError,
        match=r"max_states=20000 states \(.*e-05 of the probability leaves them before a target is met\); raise max_states, loosen "
        "tol=1e-06, or give a space=, which .* gives bounds; if the mean is infinite, as in a fair game, no set is large enough",
    ):
        cme.first_passage(network, "X == 0", max_states=20_000)
    with pytest.raises(cme.ConvergenceError, match=r"\(the mean time changes by a part of 0?\.?[1-9][^ ]* if no jump leaves them\); raise"):
        cme.first_passage(network, "X == 0", max_states=20_000, tol=1e-3)
    fair = cme.parse("X -> 2 X @ 1; X -> 0 @ 1; X = 1")
    found = cme.first_passage(fair, "X == 0", space=cme.StateSpace.reachable(fair, bounds={"X": 999}))
    assert found.probability_bounds() == pytest.approx((0.999, 1), rel=1e-12)
    exit_time = sum((1000 - n) / (1000 * n) for n in range(1, 1000))  # of the time to 0 or 1000
    assert found.mean_bounds == (pytest.approx(exit_time, rel=1e-9), math.inf)


def test_a_target_in_none_of_the_states_around():
    with pytest.raises(
        cme.ConvergenceError, match=r"^'X < 0' holds in none of the 300 states around the start, and it takes longer than 1e290"
    ):
        cme.first_passage(cme.parse("0 -> X @ 0.5; X -> 0 @ 1"), "X < 0")


def test_several_slow_modes_are_not_taken_for_one():
    rates = np.zeros((4, 4))
    rates[1, 0], rates[2, 1], rates[3, 2], rates[0, 1] = 1e-13, 1e-13, 1e-12, 1.0
    generator = cme.Generator.from_rates(rates)
    early = cme.first_passage(generator, "x == 3", [1e5], initial=0)
    assert early.cdf[0, 0] < 1e-9
    with pytest.raises(cme.ConvergenceError, match="more than one slow mode is left"):
        cme.first_passage(generator, "x == 3", [1e14], initial=np.array([0.5, 0, 0.5, 0]))
