"""The continuum with rates that move with time: closed forms, `fsp`, and the linear noise approximation where it is exact."""

import numpy as np
import pytest
from verdict import mean_matches, variance_matches

import cme

TIMES = [0.0, 0.5, 1.0, 3.0, 7.0]
DRIVEN = "0 => X @ 20*(1 + sin(3*time)); X -> 0 @ 1; X = 7"


def driven_mean(t, k=20.0, w=3.0, start=7.0):
    """dm/dt = k (1 + sin wt) - m, and the part that the molecules of the start leave."""
    particular = k + k * (np.sin(w * t) - w * np.cos(w * t)) / (1 + w**2)
    return particular + (start - k + k * w / (1 + w**2)) * np.exp(-t)


def test_A1_lna_of_a_birth_rate_in_time_is_exact():
    """Poisson births, and what is left of the start (binomial): mean m(t), variance m(t) - 7 exp(-2t)."""
    found = cme.lna(cme.parse(DRIVEN), TIMES)
    t = np.array(TIMES)
    assert found["X"] == pytest.approx(driven_mean(t), rel=1e-7)
    assert found.covariance[:, 0, 0] == pytest.approx(driven_mean(t) - 7 * np.exp(-2 * t), rel=1e-6, abs=1e-8)


def test_two_known_times_that_differ_by_rounding():
    """0.1 + 0.2 is not 0.3, and what lies between them is no piece of time to integrate over. B decays: 3 exp(-t)."""
    network = cme.parse("B -> 0 @ 1; B = 3; k = 0; at time >= 0.3: B = 2*B; at time >= 0.1 after 0.2: k = 2")
    times = [0.2, 0.3, 1.0]
    exact = 3 * np.exp(-np.array(times)) * [1, 2, 2]
    assert cme.lna(network, times)["B"] == pytest.approx(exact, rel=1e-7)
    paths = cme.langevin(network, times, n_paths=2000, seed=1)
    assert paths.mean()[2, 0] == pytest.approx(exact[2], rel=0.1)


@pytest.mark.parametrize(
    "text",
    [
        "0 -> X @ 10; X => 0 @ X*(1 + 0.5*cos(time)); X = 7",
        "A => B @ A*(1 + sin(time)); B => A @ B*time; A = 30; B = 4",
        "0 => X @ k; X -> 0 @ 1; k = 1; k' = -k + 20*(time >= 2); X = 5",  # a clock
        "0 => X @ piecewise(5, time < 1, 20, time < 1.25, 0); X -> 0 @ 1; X = 5",
        "0 => X @ 200*exp(-((time - 2)/0.2)^2); X -> 0 @ 1; X = 5",  # a pulse, not much longer than the longest step
        "0 -> X @ 10*k; X -> 0 @ 1; X = 7; k = 1; h: at time >= 2 after 1: k = 4",
        "0 -> X @ 10; X -> Y @ 1; X = 7; h: at time >= 1: X = 3*X + 2*Y, Y = 1; h2: at time >= 2: X = 5",
        "0 -> X @ 2; X -> 0 @ 1; X = 7; g: at time >= 1: X = 3*X; h: at time >= 1: X = X + 6",  # in any order: a mixture
        "X -> 0 @ 1; X = 7; now: at time >= 0, t0 = false: X = 3*X",
    ],
)  # fmt: skip
def test_lna_of_linear_networks_has_the_moments_of_the_master_equation(text):
    network = cme.parse(text)
    found, exact = cme.lna(network, TIMES), cme.fsp(network, TIMES, tol=1e-9)
    assert found.means == pytest.approx(exact.mean(), rel=1e-6, abs=1e-6)
    for t in range(len(TIMES)):
        states = exact.states - exact.mean()[t]
        assert found.covariance[t] == pytest.approx((states.T * exact.p[t]) @ states, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "0 => X @ 8 + sin(time)^2 + cos(time)^2; X -> 0 @ 1; X = 30",
        "2 X => 0 @ 0.01*X*(X - 1)*(sin(time)^2 + cos(time)^2); 0 -> X @ 8; X = 30",
    ],
)
def test_lna_of_rates_that_only_look_as_if_they_moved(text):
    plain = text.replace("(sin(time)^2 + cos(time)^2)", "1").replace("sin(time)^2 + cos(time)^2", "1")
    moving, still = cme.lna(cme.parse(text), TIMES), cme.lna(cme.parse(plain), TIMES)
    assert ("pieces" in moving.info, "pieces" in still.info) == (True, False)
    assert moving.means == pytest.approx(still.means, rel=1e-7)
    assert moving.covariance == pytest.approx(still.covariance, rel=1e-6, abs=1e-7)


def test_lna_gives_variables_and_rules_in_time():
    network = cme.parse("0 => X @ k*time; X -> 0 @ 1; k = 2; k' = 1; y := X + k")
    found = cme.lna(network, [1.0, 2.0])
    assert found["k"] == pytest.approx([3.0, 4.0])
    assert found["y"] == pytest.approx(found["X"] + [3.0, 4.0])
    assert found.info["pieces"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 => X @ cos(time); X -> 0 @ 1", r"the rate cos\(time\) of reaction 'r1' is negative at t=1\.\d+ in state \{X: "),
        ("0 => X @ ln(1 - time); X -> 0 @ 1", "of reaction 'r1' is (negative|not a finite number)"),
        ("0 -> X @ 1; h: at time >= 1: X = X^2", "lna can't take 'network': event 'h' happens at .* not linear in them; use ssa or fsp"),
        ("0 -> X @ 1; h: at X > 3: X = 0", "lna can't take 'network': event 'h' happens at times, or .*; use ssa or rate_equations"),
        ("X -> 0 @ 1; X = 3; h: at time >= 1: X = X - 9", "lna drives 'X' to -7.9 by t=3"),
    ],
)  # fmt: skip
def test_lna_in_time_refuses(text, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.lna(cme.parse(text), [3.0])


def test_nothing_that_moves_has_a_stationary_gaussian():
    with pytest.raises(cme.ModelError, match=r"comes to rest in no way that can be looked for: the propensity .* depends on time; ask for"):
        cme.lna(cme.parse(DRIVEN), np.inf)


# ------------------------------------------------------------------------------------------------------------ langevin


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("0 => X @ 2000*(1 + sin(3*time)); X -> 0 @ 1; X = 700", {}),
        ("0 -> X @ 1000; X => 0 @ X*(1 + 0.5*cos(time)); X = 700", {"boundary": "natural"}),
        ("A => B @ A*(1 + sin(time)); B => A @ B*time; A = 3000; B = 400", {}),
        ("0 => X @ k; X -> 0 @ 1; k = 1000; k' = -k + 2000*(time >= 2); X = 500", {}),
        ("0 => X @ piecewise(500, time < 1, 2000, time < 1.01, 0); X -> 0 @ 0.1; X = 500", {"dt": 0.05}),
        ("0 -> X @ 1000; X -> Y @ 1; X = 700; h: at time >= 1: X = 3*X + 2*Y, Y = 100; h2: at time >= 2: X = X/2", {}),
        ("X -> 0 @ 1; X = 5000; now: at time >= 0, t0 = false: X = 3*X", {}),
    ],
)  # fmt: skip
def test_langevin_of_many_molecules_has_the_moments_of_the_gaussian(text, options):
    network, times = cme.parse(text), [0.0, 1.0, 2.0, 2.5]
    gauss = cme.lna(network, times)
    paths = cme.langevin(network, times, n_paths=2000, seed=5, threads=1, **options)
    step = np.abs(paths.coarse.mean() - paths.counts[:1000].mean(axis=0))  # of first order, so that this is the error that is left
    spread = np.abs(paths.coarse.counts.var(axis=0) - paths.counts[:1000].var(axis=0))
    for t, s in np.ndindex(*gauss.means.shape):
        variance = gauss.covariance[t, s, s]
        mean_matches(paths.counts[:, t, s], gauss.means[t, s], np.sqrt(variance), bias=1.5 * step[t, s] + 1e-6)
        variance_matches(paths.counts[:, t, s], variance, bias=0.02 * variance + 1.5 * spread[t, s] + 1e-6)


def test_langevin_of_rates_that_only_look_as_if_they_moved_draws_the_same_paths():
    options = {"n_paths": 5, "seed": 1, "dt": 0.01, "threads": 1}
    moving = cme.langevin(cme.parse("0 => X @ 8 + sin(time)^2 + cos(time)^2; 2 X -> 0 @ 0.1; X = 3"), [1.0, 2.0], **options)
    still = cme.langevin(cme.parse("0 -> X @ 9; 2 X -> 0 @ 0.1; X = 3"), [1.0, 2.0], **options)
    assert moving.counts == pytest.approx(still.counts, rel=1e-9)
    assert moving.coarse.counts == pytest.approx(still.coarse.counts, rel=1e-9)
    assert (moving.info["pieces"], "pieces" in still.info) == (1, False)


def test_langevin_gives_variables_and_rules_in_time():
    paths = cme.langevin(cme.parse("0 => X @ k*time; X -> 0 @ 1; k = 2; k' = 1; y := X + k"), [1.0, 2.0], n_paths=3, seed=1, threads=1)
    assert paths["k"] == pytest.approx(np.tile([3.0, 4.0], (3, 1)))
    assert paths["y"] == pytest.approx(paths["X"] + [3.0, 4.0])


def test_the_step_of_langevin_resolves_how_rates_move():
    paths = cme.langevin(cme.parse("0 => X @ 200*(1 + sin(40*time)); X -> 0 @ 1; X = 200"), [1.0], n_paths=2, seed=1, threads=1)
    assert paths.info["dt_from"] == "how fast rates move"
    assert 0.02 / 40 < paths.info["dt"] < 0.05 / 40


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("0 => X @ cos(time); X -> 0 @ 1", {}, r"no step could be chosen .* the rate cos\(time\) of reaction 'r1' is negative at t=1"),
        ("0 => X @ cos(time); X -> 0 @ 1", {"dt": 0.1}, r"the propensity cos\(time\) of reaction 'r1' is negative in state \{X: "),
        ("X -> 0 @ 1; X = 3; h: at time >= 1: X = X - 9", {"dt": 0.1}, r"an event takes an amount below zero from \{X: "),
        ("X -> 0 @ 1; X = 3; h: at time >= 1: X = X^2", {}, "langevin can't take 'network': event 'h' happens at .*; use ssa or fsp"),
        ("X -> 0 @ 1; X = 3; h: at time >= 1: X = 2*X; g: at time >= 1: X = 7", {}, "their order decides about a count; give them priorit"),
    ],
)  # fmt: skip
def test_langevin_in_time_refuses(text, options, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.langevin(cme.parse(text), [3.0], n_paths=3, seed=1, threads=1, **options)


@pytest.mark.parametrize(
    "text",
    [
        "0 => X @ 60*(1 + 0.5*sin(3*time)); X -> 0 @ 1; X = 60",
        "0 => X @ piecewise(60, time < 1, 90); X -> 0 @ 1; X = 60",
        "0 -> X @ 60*k; X -> 0 @ 1; X = 60; k = 1; h: at time >= 1: k = 1.5",
        "A => B @ A*(1 + sin(time)); B => A @ B*(1 + time/2); A = 80; B = 80",
    ],
)
def test_fokker_planck_of_linear_networks_has_the_moments_of_the_gaussian_far_from_walls(text):
    network, times = cme.parse(text), [0.5, 2.0]
    density, gauss = cme.fokker_planck(network, times, tol=1e-3), cme.lna(network, times)
    assert density.mean() == pytest.approx(gauss.means, rel=1e-5)
    assert density.sd() == pytest.approx(gauss.sd(), rel=2e-3)
    assert density.info["grid_error"] < 1e-3
    assert density.integration_error.max() < 1e-4


def test_fokker_planck_of_rates_that_only_look_as_if_they_moved():
    moving = cme.fokker_planck(cme.parse("0 => X @ 30*(sin(time)^2 + cos(time)^2); X -> 0 @ 1; X = 20"), [1.0], cells=100)
    still = cme.fokker_planck(cme.parse("0 -> X @ 30; X -> 0 @ 1; X = 20"), [1.0], cells=100)
    assert moving.mean() == pytest.approx(still.mean(), rel=1e-5)
    assert moving.sd() == pytest.approx(still.sd(), rel=1e-2)  # another box, and the other flux


def test_fokker_planck_in_two_dimensions_in_time():
    network = cme.parse("0 => A @ 30*(1 + 0.5*sin(time)); A -> 0 @ 1; A -> A + B @ 1; B -> 0 @ 1; A = 30; B = 30")
    density, gauss = cme.fokker_planck(network, [1.0], cells=64), cme.lna(network, [1.0])
    assert density.mean() == pytest.approx(gauss.means, rel=1e-3)
    assert density.sd() == pytest.approx(gauss.sd(), rel=0.05)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (DRIVEN, {"times": np.inf}, "has no stationary density: .*depends on time"),
        (DRIVEN, {"boundary": "natural"}, "move with time, and its end with them; use 'reflect'"),
        ("0 -> X @ 1; X -> 0 @ 1; X = 5; e: at time >= 1: X = 0", {}, "event 'e'"),
    ],
)
def test_fokker_planck_in_time_refuses(text, options, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.fokker_planck(cme.parse(text), options.pop("times", [1.0]), **options)
