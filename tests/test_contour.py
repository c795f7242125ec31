"""Contour integrals over resolvents: against exponentials in whole numbers (E10) and closed forms, however stiff; their certificate."""

import numpy as np
import oracles
import pytest
from scipy.stats import multinomial

import cme
from cme.compiled import Compiled
from cme.kernels.resolvents import LANES, solve_banded
from cme.projection.contour import Banded, Window, contour
from cme.projection.propagate import Integrator, propagate
from cme.projection.squaring import Squares

BISTABLE = "2 X -> 3 X @ 0.4; 3 X -> 2 X @ 1.2e-2; 0 -> X @ 60; X -> 0 @ 9; X = 20"
SWITCHING = "A <-> B @ 1, 2; B <-> C @ 300, 20; B -> B + M @ 5; C -> C + M @ 20; M -> 0 @ 1; A = 1; B = 0; C = 0; M = 0"
PAIRS = "2 X -> 0 @ 0.01; 0 -> 3 X @ 5; X -> 0 @ 1; X = 4"


def on_a_set(text, **bounds):
    network = cme.parse(text)
    space = cme.StateSpace.reachable(network, bounds=bounds)
    start = (space.states == Compiled(network).start(None)[0]).all(axis=1).astype(float)
    return cme.Generator.from_network(network, space), start


@pytest.mark.parametrize(
    ("text", "bounds", "half"),
    [(BISTABLE, {"X": 150}, 1), (SWITCHING, {"M": 45}, 3), (PAIRS, {"X": 120}, 3)],
    ids=["bistable", "gene", "pairs"],
)
def test_E9_the_bound_is_above_the_error_however_stiff_and_tight(text, bounds, half):
    """Sets that leak, from one state, at times at which up to 1e13 jumps have happened."""
    generator, start = on_a_set(text, **bounds)
    assert Banded(generator).half == half
    times = np.array([1e-3, 1e-1, 1.0, 10.0, 1e3, 1e6, 1e9])
    run = propagate(generator, start, times, tol=1e-9, method="contour")
    truth, off = Squares(generator).laws(start, times)
    error = np.abs(run.p - truth).sum(axis=1)
    assert np.all(error <= run.integration_error + off)
    assert np.all(run.integration_error < 1e-11)
    assert np.all(error < 1e-12)


def test_round_off_is_seen_in_the_total_and_is_in_the_error():
    generator, start = on_a_set(BISTABLE, X=150)
    window = Window(Banded(generator), start, 0.0, 0.01, 10.0)
    assert window.after(start, 0.01, np.array([5.0])).round_off < 1e-12
    assert Window(Banded(generator), 3 * start, 0.0, 0.01, 10.0)._residual == pytest.approx(3 * window._residual, rel=1e-9, abs=0)
    window._x[0][:8] *= 1 + 1e-6
    law = window.after(start, 1.0, np.array([1.0])).p
    astray = window.after(law, 1.0, np.array([2.0, 5.0]))
    assert astray.round_off > 1e-8
    assert np.all(astray.errors >= astray.round_off)


def test_resolvents_whose_errors_cancel_at_the_start_are_told_by_the_total():
    """Of the slowest two, so that the law at the start is as it should be, and later ones are not."""
    generator, start = on_a_set(BISTABLE, X=150)
    window = Window(Banded(generator), start, 0.0, 0.01, 1e6)
    truth, _ = Squares(generator).laws(start, np.array([1e3, 1e6]))
    slow = np.argsort(np.abs(window._z))[:2]
    sums = window._w[slow] * np.exp(window._z[slow] * 1e-3) * window._sums[slow]  # what each adds to the total at t=1000
    for k, off in zip(slow, np.array([1e-6, -1e-6]) / sums * abs(sums[0]), strict=True):
        x = (1 + off) * (window._x[0][k] + 1j * window._x[1][k])
        window._x[0][k], window._x[1][k] = x.real, x.imag
    step = window.after(truth[0], 1e3, np.array([1e6]))
    error = np.abs(step.p - truth[1]).sum()
    assert 1e-9 < error <= step.error
    assert step.error - step.round_off < 1e-3 * error  # so nothing but the total has told of it


@pytest.mark.parametrize(("time", "tol"), [(1e3, 1.5e-12), (1e6, 3e-12), (1e6, 1e-12)])
def test_a_contour_is_taken_where_the_round_off_of_series_would_be_larger(time, tol):
    """Series went on for hours, since the estimate of the contour's round-off was above its share of tol."""
    law = cme.fsp(cme.parse(BISTABLE), [time], tol=tol)
    assert law.info["method"] == "contour"
    assert law.error_bound[0] <= tol


def test_A1_a_law_that_travels_is_left_to_series_until_it_settles():
    network = cme.parse("0 -> X @ 500; X -> 0 @ 1")
    generator = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 900}))
    times = np.array([0.2, 1.0, 4.0, 50.0])
    integrator = Integrator(generator, 50.0, 1e-9, "contour")
    steps = list(integrator.steps(np.eye(1, 901)[0], 0.0, times))
    done, series = 0.0, 0
    for step in steps:
        for t, law, error in zip(step.times, step.laws, step.errors, strict=True):
            assert np.abs(law - oracles.immigration_death(901, 500, 1, 0, t)).sum() <= done + error + 2e-12
            series += t < 1.0
        done += step.error
    assert series > 5  # the contour is 1e20 off to begin with
    assert done < 1e-9
    assert integrator._ahead.after(steps[-1].p, 50.0, np.array([50.0])).error < 1e-12


@pytest.mark.parametrize("off", [1e-9, 1e-6])
def test_resolvents_that_are_wrong_do_not_pass(monkeypatch, off):
    generator, start = on_a_set(BISTABLE, X=150)
    true = Banded.resolvents

    def wrong(self, p, z, unit):
        x = true(self, p, z, unit)
        x[0][3] *= 1 + off
        return x

    monkeypatch.setattr(Banded, "resolvents", wrong)
    run = propagate(generator, start, [1.0], tol=1e-7, method="contour")
    truth, _ = Squares(generator).laws(start, np.array([1.0]))
    assert np.abs(run.p - truth).sum() <= run.integration_error[0] <= 1e-7


@pytest.mark.parametrize("k", [2, 3, 7, 13, 20, 33, 43])
def test_the_residual_of_a_contour(k):
    """The integral of |e| on a grid forty times as fine, and what it says of A = 0: that the total stays."""
    z, w, residual = contour(k)
    times = np.geomspace(2.0**-k, 1.0, int(2400 * np.log(2.0**k)))
    size = np.concatenate([np.abs((np.exp(np.outer(part, z)) @ w).real) for part in np.array_split(times, 50)])
    fine = float(np.sum(0.5 * (size[1:] + size[:-1]) * np.diff(times)))
    assert 0.5 * residual < fine <= residual < 1e-12
    total = (np.exp(np.outer(times[::100], z)) @ (w / z)).real
    assert np.abs(total - total[0]).max() <= 2 * residual + 1e-13
    assert total[0] == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize("half", [1, 2, 5])
def test_resolvents_lose_no_digits_to_stiffness(half):
    """Rates over sixteen decades: against numbers of 60 digits, and the total, which z tells whatever the rates."""
    import mpmath

    rng, n_states = np.random.default_rng(half), 12
    band = 10.0 ** rng.uniform(-8, 8, (n_states, 2 * half + 1))
    leak, p = 10.0 ** rng.uniform(-12, -8, n_states), rng.dirichlet(np.ones(n_states))
    z = np.array([1e-9, 1e-9 + 1e-9j, 1.0 + 2j, 1e3 + 1e5j])
    x = np.empty((4, n_states)), np.empty((4, n_states))
    work = [np.empty((n_states, 2 * half + 1, LANES)) for _ in range(2)] + [np.empty((n_states, LANES)) for _ in range(6)]
    assert solve_banded(band, leak, 1.0, p, z.real.copy(), z.imag.copy(), *work, *x) == 0
    found = x[0] + 1j * x[1]
    assert z * found.sum(axis=1) + found @ leak == pytest.approx(np.ones(4), rel=1e-13)
    with mpmath.workdps(60):
        for k in range(4):
            a = mpmath.diag([mpmath.mpc(complex(z[k])) + mpmath.mpf(float(each)) for each in leak])
            for j in range(n_states):
                for i in range(max(0, j - half), min(n_states, j + half + 1)):
                    if i != j:
                        rate = mpmath.mpf(float(band[j, half + i - j]))
                        a[i, j] -= rate
                        a[j, j] += rate
            exact = np.array([complex(each) for each in mpmath.lu_solve(a, mpmath.matrix(p.tolist()))])
            assert np.abs(found[k] - exact).max() <= 1e-13 * np.abs(exact).max()


def test_a_window_serves_any_later_time():
    """From the law at 0.3 on as from that at the beginning, and no law but that which came of it."""
    generator, start = on_a_set(BISTABLE, X=150)
    window = Window(Banded(generator), start, 0.0, 0.01, 5.0)
    laws, _ = Squares(generator).laws(start, np.array([0.3, 2.0]))
    step = window.after(laws[0], 0.3, np.array([2.0]))
    assert np.abs(step.p - laws[1]).sum() <= step.error < 1e-12
    assert window.after(laws[1], 0.3, np.array([2.0])).error > 0.1


def test_what_a_coarse_contour_adds_is_in_the_bound():
    """From a law that it gives itself, so that nothing else is off."""
    generator, start = on_a_set(BISTABLE, X=150)
    window = Window(Banded(generator), start, 0.0, 0.01, 5.0, 6.0)
    p = window.after(start, 0.0, np.array([0.03])).p
    times = np.array([0.05, 0.3, 1.0, 5.0])
    step = window.after(p, 0.03, times)
    error = np.abs(step.laws - Squares(generator).laws(p, times - 0.03)[0]).sum(axis=1)
    assert np.all(error <= step.errors)
    assert step.error < 30 * error.max()
    assert error.max() > 1e-5


def test_a_start_far_from_where_the_law_rests_takes_few_steps():
    """Quadrature is amplified by what is improbable about the start; rational Krylov goes on until the contour serves."""
    network = cme.parse("A <-> B @ 1e6, 2e6; B -> C @ 1; C -> A @ 0.1; A = 20; B = 0; C = 0")
    generator = cme.Generator.from_network(network)
    start = (generator.states == [20, 0, 0]).all(axis=1).astype(float)
    steps = list(Integrator(generator, 10.0, 1e-6, "contour").steps(start, 0.0, np.array([10.0])))
    assert len(steps) < 30
    assert sum(step.n_products for step in steps) < 10_000
    # Each molecule is one of three on its own: its chances after 10 from the chain of one molecule, in whole numbers.
    one = cme.Generator.from_network(network.with_initial(A=1))
    alone, _ = Squares(one).laws((one.states == [1, 0, 0]).all(axis=1).astype(float), np.array([10.0]))
    chances = one.states.T @ alone[0]
    truth = multinomial.pmf(generator.states, 20, chances / chances.sum())
    assert np.abs(steps[-1].p - truth).sum() <= sum(step.error for step in steps) + 1e-12 < 1e-6


def test_which_sets_it_is_for():
    law = cme.fsp(cme.parse(BISTABLE), [5.0], tol=1e-8)
    assert law.info["method"] == "contour"
    toggle = "0 => U @ 60/(1 + V^2); U -> 0 @ 1; 0 => V @ 60/(1 + U^2); V -> 0 @ 1; U = 0; V = 0"
    generator, start = on_a_set(toggle, U=101, V=101)
    entries = cme.Generator(generator.sparse(), generator.leak, generator.states, generator.names)
    assert Integrator(entries, 100.0, 1e-8).method != "contour"
    told = r'method="contour" is for at most 200000 states in a narrow band, .* 10404 states here are too many, or their links lead too far'
    with pytest.raises(ValueError, match=told):
        propagate(entries, start, [1.0], method="contour")
