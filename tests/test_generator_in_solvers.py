"""Generators of any jump process in the solvers: what each takes, and that they agree."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats
import verdict

import cme

RNG = np.random.default_rng(7)
W0, W1 = RNG.random((6, 6)), RNG.random((6, 6))
P0 = np.array([0.4, 0.0, 0.1, 0.2, 0.3, 0.0])
STEADY = cme.Generator.from_rates(W0)
DRIVEN = cme.Generator.from_rates(lambda t: W0 + W1 * (1 + np.sin(3 * t)))


def hop(x, y):
    return 3 * np.exp(-2 * np.abs(x - y - 0.05))


def test_solvers_agree_on_a_generator():
    law = cme.fsp(STEADY, [0.4, 3.0], initial=(2,), tol=1e-10)
    assert law.lost.tolist() == [0.0, 0.0]
    paths = cme.ssa(STEADY, [0.4, 3.0], n_paths=20_000, seed=3, initial={"x": 2})
    for t in range(2):
        verdict.samples_match_pmf(paths.counts[:, t, 0], law.p[t])
    assert cme.stationary(STEADY).p[0] == pytest.approx(cme.propagator(STEADY, 60.0)[:, 0], abs=1e-12)
    some = cme.ssa(STEADY, [0.4, 3.0], n_paths=100, seed=3, initial={"x": 2}, threads=1)
    assert np.array_equal(some.counts, paths.counts[:100])
    table = cme.compare(law, SSA=paths)
    tv = table[(table.metric == "total_variation") & (table.method == "SSA")]
    assert (tv.lo == 0).all()


def test_a_distribution_is_a_start_by_its_states_and_what_it_lost_stays_lost():
    network = cme.parse("0 -> X @ 3; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 6})
    generator = cme.Generator.from_network(network, space)
    once = cme.fsp(generator, [0.5, 1.2], initial={"X": 1}, tol=1e-10)
    first = cme.fsp(generator, [0.5], initial={"X": 1}, tol=1e-10)
    assert first.lost[0] > 1e-4
    order = np.random.default_rng(3).permutation(len(first.states))
    mixed = replace(first, states=first.states[order], p=first.p[:, order])  # as other solvers may list them
    for start in (first, mixed):
        then = cme.fsp(generator, [0.7], initial=start, tol=1e-10)
        assert then.p[0] == pytest.approx(once.p[1], abs=1e-9)
        assert then.lost[0] == pytest.approx(once.lost[1], abs=1e-9)
    passage = cme.first_passage(generator, "X == 0", [0.7], initial=mixed)
    whole = cme.first_passage(network, "X == 0", [0.7], initial=first, tol=1e-2)
    assert passage.escaped >= first.lost[0]
    assert passage.probability[0] <= whole.probability[0] <= passage.probability_bounds().upper
    closed = cme.Generator.from_rates(STEADY.rates)
    half = replace(cme.fsp(closed, [0.1], initial=(2,)), p=np.full((1, 6), 0.15), lost=np.array([0.1]))
    assert cme.ssa(closed, [1.0], n_paths=50, seed=1, initial=half).info["initial_lost"] == pytest.approx(0.1)
    driven = cme.ssa(DRIVEN, [0.0, 1.0], n_paths=4000, seed=1, initial=half)
    assert driven.info["initial_lost"] == pytest.approx(0.1)
    verdict.samples_match_pmf(driven.counts[:, 0, 0], np.full(6, 1 / 6))


def test_bounds_hold_after_a_start_that_may_have_too_much():
    network = cme.parse("0 -> X @ 4; X -> 0 @ 1")
    poisson = scipy.stats.poisson.pmf(np.arange(41), 4)
    short, beyond = np.arange(9), scipy.stats.poisson.sf(8, 4)
    rough = cme.Distribution(  # cut off and made to sum to 1 again: too little beyond, too much everywhere else
        np.array([np.inf]),
        ("X",),
        short[:, None],
        poisson[None, :9] / poisson[:9].sum(),
        np.array([2 * beyond]),
        np.zeros(1),
        {},
    )
    lack, excess = rough.lack_and_excess
    assert (lack, excess) == pytest.approx((beyond, beyond), rel=1e-12)
    box = cme.StateSpace.reachable(network, bounds={"X": 40})
    generator = cme.Generator.from_network(network, box)
    for method in ("projection", "monomolecular"):
        law = cme.fsp(network, [0.5], initial=rough, method=method, tol=0.1)
        truth = scipy.stats.poisson.pmf(law.states[:, 0], 4)
        assert law.p.max() > truth.max()
        assert np.all(law.p[0] - law.integration_error[0] <= truth)
        assert np.all(truth <= law.p[0] + law.lost[0] + law.integration_error[0])
        assert law.error_bound[0] == pytest.approx(rough.lost[0], rel=0.1)
    law = cme.fsp(generator, [0.5], initial=rough)
    assert np.all(law.p[0] - law.integration_error[0] <= poisson[law.states[:, 0]])
    right = cme.first_passage(generator, {"low": "X <= 1", "high": "X >= 9"}, initial=poisson / poisson.sum())
    found = cme.first_passage(generator, {"low": "X <= 1", "high": "X >= 9"}, initial=rough)
    for name in ("low", "high"):
        low, high = found.probability_bounds(name)
        assert low <= right.probability_bounds(name).lower <= right.probability_bounds(name).upper <= high
    assert 0.9 * right.mean() < found.mean_bounds.lower <= right.mean()


def test_a_distribution_that_is_no_start():
    generator = cme.Generator.from_network(cme.parse("A <-> B @ 1, 1; A = 2"))
    law = cme.fsp(cme.parse("A <-> B @ 1, 1; A = 3"), [1.0])
    with pytest.raises(
        ValueError, match=r"the initial distribution has probability at \[[03]\.0, [03]\.0\], which is none of the 3 states of the"
    ):
        cme.fsp(generator, [1.0], initial=law)
    with pytest.raises(ValueError, match="the initial distribution is over C, the generator over A, B"):
        cme.fsp(generator, [1.0], initial=cme.fsp(cme.parse("C -> 0 @ 1; C = 3"), [1.0]))


def test_a_start_that_does_not_know_what_it_misses_makes_nothing_certain():
    network = cme.parse("0 => X @ 10/(1 + X^1.5); X => 0 @ X^1.5; X = 3")
    space = cme.StateSpace.reachable(network, bounds={"X": 8})
    law = cme.stationary(network, space=space)
    assert np.isnan(law.lost[0])
    for process in (network, cme.Generator.from_network(network, space)):
        assert np.isnan(cme.fsp(process, [1.0], initial=law).lost[0])
        found = cme.first_passage(process, "X == 7", initial=law)
        assert found.certain is None
        assert np.isnan(found.mean())
        assert found.probability_bounds("X == 7").upper == 1


def test_what_leaks_is_lost_and_paths_say_so():
    network = cme.parse("0 -> X @ 3; X -> 0 @ 1")
    generator = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 4}))
    law = cme.fsp(generator, [1.0], initial={"X": 0}, tol=1e-9)
    assert law.lost[0] == pytest.approx(1 - law.p.sum(), abs=1e-12)
    assert law.lost[0] > 0.05
    with pytest.raises(cme.ModelError, match=r"a path left the states of the generator from \{X: 4\}; keep more states"):
        cme.ssa(generator, [50.0], seed=1, initial={"X": 0})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cme.fsp(STEADY, [1.0]), "a generator does not say where it starts; give initial="),
        (lambda: cme.ssa(STEADY, [1.0]), "a generator does not say where it starts; give initial="),
        (lambda: cme.fsp(STEADY, [1.0], initial=(9,)), r"the initial state \(9,\) is not one of the 6 states"),
        (lambda: cme.fsp(STEADY, [1.0], initial=np.ones(3)), "initial must hold 6 probabilities or be one state"),
        (lambda: cme.fsp(STEADY, [1.0], initial=np.ones(6)), "must be >= 0 and sum to 1; they sum to 6"),
        (lambda: cme.fsp(STEADY, [1.0], initial=(0,), max_states=5), "a generator has its states already"),
        (lambda: cme.stationary(STEADY, initial=(0,)), "a generator has its states already"),
        (lambda: cme.ssa(STEADY, [1.0], initial=(0,), every_event=True), "every_event lists reactions, and a generator has none"),
        (lambda: cme.Generator.from_rates(np.ones((2, 3))), "a matrix of rates must be square, not 2 x 3"),
        (lambda: cme.Generator.from_rates(np.ones((2, 2, 2))), "a matrix of rates must be square, not 2 x 2 x 2"),
        (lambda: cme.Generator.from_rates(np.ones((0, 0))), "a matrix of rates must be square, not 0 x 0"),
        (lambda: cme.Generator.from_rates(1j * np.ones((2, 2))), "a matrix of rates must hold real numbers, not complex128"),
        (lambda: cme.Generator.from_rates(sp.csr_array(1j * np.ones((2, 2)))), "a matrix of rates must hold real numbers"),
        (lambda: cme.Generator.from_rates(W0, states=np.ones((6, 2)), names=("x", "x")), "must have different names, not"),
        (lambda: cme.Generator.from_rates(W0, states=[0, 1, 2, np.nan, 4, 5]), "state 3 is nan; states must be numbers"),
        (lambda: cme.Generator.from_rates(W0, states=np.ones((6, 1, 1))), "states must be N numbers or N rows of numbers"),
        (
            lambda: cme.Generator.from_rates(lambda t: np.ones((2 + (t > 1), 2 + (t > 1)))).at(2.0),
            "rates for 3 states at t=2, and for 2 at t=0",
        ),
        (lambda: cme.Generator.from_levels(W0, [1, 2]), "there are 6 levels in the rates and 2 in the degeneracy"),
        (lambda: STEADY.spectrum(0), "k must be at least 1, not 0"),
        (lambda: STEADY.detailed_balance_defect(np.full(6, np.nan)), "pi must give each of the 6 states a finite number >= 0"),
        (lambda: STEADY.detailed_balance_defect([1.0]), "pi must give each of the 6 states a finite number >= 0"),
        (lambda: DRIVEN.with_breaks(np.inf), "breaks must be finite times"),
        (lambda: cme.propagator(STEADY, np.inf), "from one finite time to another, not from s=0 to t=inf; for t = inf use stationary"),
        (lambda: cme.fsp(STEADY, [1.0], initial={"y": 0}), "the initial state must name x, not y"),
        (lambda: cme.Generator.from_kernel(hop, []), "enclose at least two cells"),
        (lambda: cme.Generator.from_kernel(hop, np.linspace(0, 1, 4), tol=0.0), "tol must be a finite number above 0"),
        (lambda: cme.Generator.from_kernel(lambda x: x, np.linspace(0, 1, 4)), r"must be a function W\(x, y\) or W\(x, y, t\)"),
        (lambda: cme.Generator.from_kernel(W0, np.linspace(0, 1, 4)), r"for rates between states use Generator.from_rates"),
        (lambda: cme.Generator.from_rates(W0, states=[1, 2]), "there are 6 states in the rates and 2 in states"),
        (lambda: cme.Generator.from_kernel(hop, [0.0, 1.0]), "finite, increasing, and enclose at least two cells"),
        (lambda: cme.Generator.from_levels(W0, [0.5] * 6), "a degeneracy must be a whole number >= 1"),
        (lambda: cme.propagator(STEADY, 0.0, 1.0), "t=0 must not be before s=1"),
        (lambda: STEADY.jump_moments(0), "jump moments are numbered from 1, not 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_paths_of_rates_that_depend_on_time_follow_the_law():
    law = cme.fsp(DRIVEN, [0.0, 0.3, 1.0], initial=P0, tol=1e-8)
    paths = cme.ssa(DRIVEN, [0.0, 0.3, 1.0], n_paths=20_000, seed=3, initial=P0)
    for t in range(3):
        verdict.samples_match_pmf(paths.counts[:, t, 0], law.p[t])
    both = np.bincount(6 * paths.counts[:, 1, 0] + paths.counts[:, 2, 0], minlength=36)
    joint = (cme.propagator(DRIVEN, 1.0, 0.3) * law.p[1]).T.ravel()
    verdict.samples_match_pmf(np.repeat(np.arange(36), both), joint)
    assert np.array_equal(cme.ssa(DRIVEN, [0.0, 0.3, 1.0], n_paths=50, seed=3, initial=P0).counts, paths.counts[:50])
    network = cme.parse("0 -> X @ 3; X -> 0 @ 1")
    leaking = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 4}))
    with pytest.raises(cme.ModelError, match=r"a path left the states of the generator between t = 0, at \{X: 0\}, and t = 50; keep more"):
        cme.ssa(cme.TimeDependentGenerator(lambda t: leaking), [50.0], seed=1, initial={"X": 0})


def test_diffusion_approximations_of_a_generator_are_those_of_its_jump_moments():
    """Hops of 0.1 to the right at rate 50 + 5 (2 - x), to the left at 50: drift (2 - x) / 2, noise about 1."""
    x = 0.1 * np.arange(-20, 61)
    rates = np.diag(np.maximum(50 + 5 * (2 - x), 0)[:-1], -1) + np.diag(np.full(80, 50.0), 1)
    generator = cme.Generator.from_rates(rates, x)
    by_hand = cme.Diffusion.from_generator(generator)
    exact = 2 + (1 - 2) * np.exp(-0.5)
    assert cme.rate_equations(generator, 1.0, initial=1.0).means[0, 0] == pytest.approx(exact, abs=1e-6)
    assert cme.lna(generator, 1.0, initial=1.0).means[0, 0] == pytest.approx(exact, abs=1e-6)
    density = cme.fokker_planck(generator, 1.0, initial=1.0, tol=1e-3)
    assert np.array_equal(density.p, cme.fokker_planck(by_hand, 1.0, initial=1.0, tol=1e-3).p)
    assert density.mean()[0, 0] == pytest.approx(exact, abs=1e-2)
    paths = cme.langevin(generator, 1.0, initial=1.0, n_paths=500, seed=1)
    assert np.array_equal(paths.counts, cme.langevin(by_hand, 1.0, initial=1.0, n_paths=500, seed=1).counts)


def test_jump_moments_of_a_kernel_in_the_plane_make_a_diffusion():
    """Jumps with the mean -0.1 (x, 2 y) and variances 0.05 and 0.07, 30 per unit of time."""

    def kernel(x, y):
        z = (x - y + 0.1 * y * [1.0, 2.0]) / np.sqrt([0.05, 0.07])
        return 30 * np.exp(-(z**2).sum(axis=-1) / 2) / (2 * np.pi * np.sqrt(0.05 * 0.07))

    edges = np.linspace(-1.5, 1.5, 16)
    process = cme.Diffusion.from_generator(cme.Generator.from_kernel(kernel, (edges, edges), tol=1e-2, names=("u", "v")))
    place = np.array([[0.3, -0.2]])
    mean = -0.1 * place[0] * [1.0, 2.0]
    assert process.names == ("u", "v")
    assert process.drift_at(place)[0] == pytest.approx(30 * mean, abs=0.03)
    assert process.noise_at(place)[0] == pytest.approx(30 * (np.diag([0.05, 0.07]) + np.outer(mean, mean)), abs=0.2)  # on cells of 0.2
    with pytest.raises(ValueError, match=r"in two dimensions put it on a grid, Generator\.from_kernel"):
        cme.jump_moments(kernel, 1, [[0.0, 0.0]])


OTHERS = {"diffusion": cme.Diffusion(-1.0, 1.0), "walk": cme.RandomWalk(0.0, 1.0, 0.1), "form": cme.SchrodingerForm(0.0, 1.0)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cme.ssa(OTHERS["diffusion"], 1.0),
            r"^ssa takes a Network or a Generator or a TimeDependentGenerator, and not a Diffusion; make",
        ),
        (
            lambda: cme.fsp(OTHERS["diffusion"], 1.0),
            r"^fsp takes .*, and not a Diffusion; make a generator of it on a grid with \.generator\(",
        ),
        (lambda: cme.stationary(OTHERS["diffusion"]), r"^stationary takes a Network or a Generator, and not a Diffusion; make a generator"),
        (
            lambda: cme.stationary(DRIVEN),
            r"not a TimeDependentGenerator; its rates depend on time; take them as they are .* with \.at\(time\)",
        ),
        (lambda: cme.lump(DRIVEN, keep=["x"]), r"^lump takes a Network or a Generator, and not a TimeDependentGenerator; its rates depend"),
        (
            lambda: cme.lump(OTHERS["walk"], keep=["x"]),
            r"^lump takes .* not a RandomWalk; use its \.law\(\) or \.sample\(\), or its generator",
        ),
        (
            lambda: cme.propagator(cme.parse("A -> B @ 1; A = 1"), 1.0),
            r"not a Network; make a generator of it with Generator\.from_network",
        ),
        (
            lambda: cme.propagator(OTHERS["diffusion"], 1.0),
            r"^propagator takes a Generator or a TimeDependentGenerator, and not a Diffusion",
        ),
        (
            lambda: cme.feynman_kac(OTHERS["diffusion"], 1.0, ds=0.1),
            r"not a Diffusion; give its drift and noise as SchrodingerForm\(drift, alpha\)",
        ),
        (
            lambda: cme.fokker_planck(OTHERS["walk"], 1.0),
            r"^fokker_planck takes .*, and not a RandomWalk; .* the diffusion that it tends to",
        ),
        (lambda: cme.langevin(OTHERS["form"], 1.0), r"^langevin takes .* and not a SchrodingerForm; use its \.law\(\), or give Diffusion"),
        (lambda: cme.lna("A -> B", 1.0), r"^lna takes a Network or a Generator or a TimeDependentGenerator or a Diffusion, and not a str$"),
        (lambda: cme.rate_equations(np.ones(2), 1.0), r"^rate_equations takes .* and not a ndarray$"),
        (lambda: DRIVEN @ P0, r"the rates depend on time; say when, generator\.at\(time\) @ p"),
        (lambda: cme.jump_moments(OTHERS["diffusion"], 1), r"for a Diffusion they are its drift and noise"),
    ],
)
def test_a_solver_says_what_it_takes(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cme.jump_moments(STEADY, 1, time=1.0), "nothing here depends on time; leave out time"),
        (lambda: cme.jump_moments(STEADY, 1, domain=(0, 1)), "only a kernel has a domain; leave it out"),
        (lambda: cme.jump_moments(cme.parse("A -> B @ 1; A = 1"), 1, time=1.0), "nothing here depends on time; leave out time"),
        (lambda: cme.jump_moments(hop, 1, [0.0], time=1.0), "nothing here depends on time; leave out time"),
        (lambda: cme.Diffusion.from_kernel(lambda x: x), r"the kernel must be a function W\(x, y\) or W\(x, y, t\)"),
        (
            lambda: cme.lna(cme.Generator.from_network(cme.parse("A <-> B @ 1, 1; A = 3")), 1.0, initial=(3, 0)),
            "states on a whole rectangular",
        ),
        (lambda: cme.ssa(DRIVEN, 1.0, initial=P0, threads=2), "all paths advance together; leave out threads and progress"),
        (lambda: cme.ssa(DRIVEN, 1.0), "a generator does not say where it starts"),
    ],
)
def test_arguments_without_effect(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------- pickled


def stirred(t):
    return W0 + W1 * (1 + np.sin(3 * t))


def spreading(x, y, t):
    return (1 + t) * np.exp(-2 * np.abs(x - y))


def swaying(x, t):
    return 0.4 * np.sin(x + t)


def pulsed():
    network = cme.parse("A => B @ k*A*(1 + v); B -> A @ 1; v' = -v; v = 2; k = 1; at time >= 1: k = 5; A = 2")
    return cme.TimeDependentGenerator.from_network(network, until=3.0)


@pytest.mark.parametrize(
    "make",
    [
        pulsed,
        lambda: cme.Generator.from_rates(stirred).with_breaks(0.5),
        lambda: cme.Generator.from_kernel(spreading, np.linspace(0, 1, 5)),
        lambda: cme.RandomWalk(swaying, alpha=0.5, ds=0.25).generator(-1.0, 1.0),
    ],
    ids=["network", "rates", "kernel", "walk"],
)
def test_what_depends_on_time_can_be_pickled(make):
    generator = make()
    again = pickle.loads(pickle.dumps(generator))
    assert (again.breaks, again.ends) == (generator.breaks, generator.ends)
    assert np.array_equal(again.states, generator.states)
    for t in (0.0, 0.7, 2.0):
        assert np.array_equal(again.at(t).sparse().toarray(), generator.at(t).sparse().toarray())
        assert np.array_equal(again.at(t).leak, generator.at(t).leak)
    assert again.at(0.7) is again.at(0.7)
