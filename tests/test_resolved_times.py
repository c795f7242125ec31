"""No pulse of the rates in time is stepped over, however narrow: cells by interval arithmetic, and every solver against closed forms.

Immigration at a rate k(t) with decay d is Poisson with mean int k(s) exp(-d (T - s)) ds (THEORY.md A.1).
"""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

import cme
from cme import ratelaw
from cme.elements import Event, Rule, Values
from cme.errors import ConvergenceError
from cme.infix import parse
from cme.resolved_times import legs, peaks, resolve, whole


@pytest.fixture(autouse=True)
def integrated(monkeypatch):
    """What could be thinned is integrated instead: cells are for that."""
    monkeypatch.setattr("cme.sampling.motion.separate", lambda formula, moving: None)


def mean_of(rate, decay, end, places):
    """The mean of immigration at a rate, with the integral cut where pulses are."""
    cuts = [0.0, *places, end]
    pieces = (quad(lambda s: rate(s) * math.exp(-decay * (end - s)), a, b, limit=500) for a, b in pairwise(cuts))
    return sum(value for value, _ in pieces)


def gauss(place, width, area=20.0):
    return f"{area}/({width}*{math.sqrt(2 * math.pi)!r})*exp(-((time - {place})/{width})^2/2)"


def around(place, width):
    return [place + width * k for k in (-20, -6, -3, -1, 0, 1, 3, 6, 20)]


DOSES = "100*(exp(-((time-24)/0.5)^2) + exp(-((time-48)/0.5)^2) + exp(-((time-72)/0.5)^2))"
# Law of immigration, decay, end, exact mean.
PULSES = {
    "a tenth": (gauss(5.0123, 0.1), 0, 10, 20.0),
    "a thousandth": (gauss(5.0123, 0.001), 0, 10, 20.0),
    "1e-5 of the time": (gauss(5.0123, 1e-4), 0, 10, 20.0),
    "doses": (
        DOSES, 0.01, 96,
        mean_of(lambda t: 100 * sum(math.exp(-(((t - a) / 0.5) ** 2)) for a in (24, 48, 72)), 0.01, 96, [20, 24, 28, 44, 48, 52, 68, 72]),
    ),
    "a smooth box": (
        "10*(tanh((time-5)/0.01) - tanh((time-5.5)/0.01))", 0.1, 10,
        mean_of(lambda t: 10 * (math.tanh((t - 5) / 0.01) - math.tanh((t - 5.5) / 0.01)), 0.1, 10, [4.9, 5, 5.1, 5.4, 5.5, 5.6]),
    ),
    "circadian": (
        "10*exp(50*(sin(0.2618*time)-1))", 0.05, 96,
        mean_of(lambda t: 10 * math.exp(50 * (math.sin(0.2618 * t) - 1)), 0.05, 96, [4, 6, 8, 28, 30, 32, 52, 54, 56, 76, 78, 80]),
    ),
    "on a base": (
        "0.001 + " + gauss(720, 12), 0.001, 1440,
        1 - math.exp(-1.44) + mean_of(lambda t: 20 / 12 / math.sqrt(2 * math.pi) * math.exp(-(((t - 720) / 12) ** 2) / 2), 0.001, 1440,
                                      around(720, 12)),
    ),
    "a triangle": ("max(0, 1e5 - 1e9*abs(time - 3.33333))", 0, 10, 10.0),
    "triangles": ("200*max(0, 1 - abs(rem(time, 1) - 0.3)/0.05)", 0, 5, 50.0),
}  # fmt: skip


def immigration(law, decay):
    return cme.parse(f"0 => X @ {law}" + (f"; X -> 0 @ {decay}" if decay else "") + "; X = 0")


@pytest.mark.parametrize("name", PULSES)
@pytest.mark.parametrize("solver", ["ssa", "ensemble"])
def test_A1_paths_see_every_pulse(name, solver):
    law, decay, end, mean = PULSES[name]
    network = immigration(law, decay)
    if solver == "ssa":
        x = cme.ssa(network, [end], n_paths=400, seed=1, threads=1)["X"][:, 0]
        found, spread = x.mean(), x.var()
    else:
        run = cme.ensemble(network, [end], n_paths=400, seed=2, threads=1)
        found, spread = run.mean()[0, 0], run.variances[0, 0]
    assert abs(found - mean) < 5 * math.sqrt(mean / 400)
    assert abs(spread - mean) < 5 * math.sqrt((mean + 2 * mean**2) / 400)  # of the variance of a Poisson law


@pytest.mark.parametrize("name", PULSES)
def test_A1_moments_see_every_pulse(name):
    law, decay, end, mean = PULSES[name]
    network = immigration(law, decay)
    assert cme.rate_equations(network, [end]).means[0, 0] == pytest.approx(mean, rel=1e-6)
    noise = cme.lna(network, [end])
    assert noise.means[0, 0] == pytest.approx(mean, rel=1e-6)
    assert noise.covariance[0, 0, 0] == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("name", ["a tenth", "1e-5 of the time", "on a base", "a triangle", "triangles"])
def test_A1_fsp_sees_every_pulse(name):
    law, decay, end, mean = PULSES[name]
    assert cme.fsp(immigration(law, decay), [end]).mean()[0, 0] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("name", ["a tenth", "1e-5 of the time", "on a base", "a triangle"])
def test_A1_langevin_sees_every_pulse(name):
    law, decay, end, mean = PULSES[name]
    start = 400  # far from zero, where paths would be reflected
    network = replace_start(immigration(law, decay), start)
    paths = cme.langevin(network, [end], n_paths=400, seed=3)
    mean = mean + start * math.exp(-decay * end)
    assert abs(paths.mean()[0, 0] - mean) < 5 * math.sqrt(mean / 400) + 0.01 * 20


def replace_start(network, start):
    return network.with_initial({"X": start})


def test_pulses_in_the_sampling_times_and_between_them():
    network = immigration(gauss(5.0123, 0.003), 0)
    paths = cme.ssa(network, [4.9, 5.0123, 5.1, 10], n_paths=400, seed=4, threads=1)
    assert np.all(paths["X"][:, 0] == 0)
    assert abs(paths.mean()[1, 0] - 10) < 5 * math.sqrt(10 / 400)
    assert np.array_equal(paths["X"][:, 2], paths["X"][:, 3])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.floats(0.02, 0.98), st.floats(-5.5, -1.5))
def test_A1_any_place_and_width(place, exponent):
    width = 10.0**exponent
    share = 0.5 * (math.erf((1 - place) / width / math.sqrt(2)) + math.erf(place / width / math.sqrt(2)))
    network = immigration(gauss(place, width), 0)
    assert cme.rate_equations(network, [1.0]).means[0, 0] == pytest.approx(20 * share, rel=1e-6)
    x = cme.ssa(network, [1.0], n_paths=200, seed=5, threads=1)["X"][:, 0]
    assert abs(x.mean() - 20 * share) < 5 * math.sqrt(20 / 200)


def test_A1_a_pulse_in_a_rate_rule():
    """v' = pulse of area 3 - v, and immigration at v: the mean is the integral of v."""
    pulse = parse(gauss(4.321, 1e-3, 3.0))
    network = replace(
        cme.parse("0 => X @ v; v = 0; X = 0"),
        parameters=Values({"v": 0.0}),
        rate_rules=(Rule("v", ratelaw.Apply("+", (pulse, parse("-v")))),),
    )
    mean = 3 * (1 - math.exp(-(10 - 4.321)))
    assert cme.rate_equations(network, [10.0]).means[0, 0] == pytest.approx(mean, rel=1e-5)
    assert cme.fsp(network, [10.0]).mean()[0, 0] == pytest.approx(mean, rel=1e-5)
    x = cme.ssa(network, [10.0], n_paths=400, seed=6, threads=1)["X"][:, 0]
    assert abs(x.mean() - mean) < 5 * math.sqrt(mean / 400)


def test_A1_a_pulse_in_a_clock_that_an_event_resets():
    """A clock c that runs from 0 again at t = 4, with a pulse of area 5 where it is at 2.5: two pulses until t = 8."""
    law = ratelaw.substitute(parse(gauss(2.5, 1e-3, 5.0)), {"time": parse("c")})
    base = cme.parse("0 => X @ c; c = 0; X = 0")
    network = replace(
        base,
        reactions=(replace(base.reactions[0], law=law),),
        parameters=Values({"c": 0.0}),
        rate_rules=(Rule("c", parse("1")),),
        events=(Event("reset", parse("time >= 4"), (Rule("c", parse("0")),)),),
    )
    assert cme.fsp(network, [8.0]).mean()[0, 0] == pytest.approx(10, rel=1e-5)
    assert cme.rate_equations(network, [8.0]).means[0, 0] == pytest.approx(10, rel=1e-6)
    x = cme.ssa(network, [8.0], n_paths=400, seed=7, threads=1)["X"][:, 0]
    assert abs(x.mean() - 10) < 5 * math.sqrt(10 / 400)


def test_A1_a_pulse_that_multiplies_a_law_of_counts():
    """Each of 50 molecules survives a pulse of hazard with area 1."""
    network = cme.parse(f"X => 0 @ X*{gauss(6.54321, 1e-4, 1.0)}; X = 50")
    p = math.exp(-1)
    assert cme.rate_equations(network, [10.0]).means[0, 0] == pytest.approx(50 * p, rel=1e-6)
    assert cme.fsp(network, [10.0]).mean()[0, 0] == pytest.approx(50 * p, rel=1e-6)
    x = cme.ssa(network, [10.0], n_paths=400, seed=8, threads=1)["X"][:, 0]
    assert abs(x.mean() - 50 * p) < 5 * math.sqrt(50 * p * (1 - p) / 400)


def test_a_generator_of_a_network_knows_its_pulses():
    network = cme.parse(f"A => B @ A*{gauss(0.503, 1e-4, 1.0)}; A = 1")
    generator = cme.TimeDependentGenerator.from_network(network, until=1.0)
    assert len(generator.ends) > 5
    law = cme.fsp(generator, [1.0], initial=(1, 0))
    assert law.mean()[0, 0] == pytest.approx(math.exp(-1), rel=1e-6)


# ------------------------------------------------------------------------------------------------------------ cells


@pytest.mark.parametrize("law", ["2", "3*time", "time^2", "exp(-0.1*time)", "5/(1 + time)^2", "1 + 1e-4*sin(1000*time)"])
def test_laws_that_move_slowly_get_few_cells(law):
    assert len(resolve([parse(law)], whole(10.0))) <= 8


@pytest.mark.parametrize(("law", "periods", "most"), [("sin(time)", 10, 8), ("1 + sin(time)", 10, 8), ("sin(50*time)", 500, 8)])
def test_a_sine_gets_a_few_cells_a_period(law, periods, most):
    assert len(resolve([parse(law)], whole(20 * math.pi))) <= most * periods


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-6, 1e-9])
def test_the_number_of_cells_does_not_depend_on_the_width(width):
    times = resolve([parse(f"X*exp(-((time - 4.4)/{width})^2)")], whole(10.0))
    assert 10 < len(times) < 80
    inside = times[(times > 4.4 - 2 * width) & (times < 4.4 + 2 * width)]
    assert len(inside) >= 3


def test_cells_are_simple_where_the_formula_is_looked_at():
    """In each cell the values at many points lie between those that the slopes at its ends allow: no pulse inside."""
    law = parse("exp(-((time - 3)/0.01)^2) + 0.5*exp(-((time - 7)/0.002)^2)")
    edges = np.concatenate([[0.0], resolve([law], whole(10.0)), [10.0]])
    for a, b in pairwise(edges.tolist()):
        values = ratelaw.evaluate(law, {"time": np.linspace(a, b, 401)})
        slopes = np.diff(values)
        changes = np.count_nonzero(np.diff(np.sign(slopes[np.abs(slopes) > 1e-13])))
        assert changes <= 1  # one extremum at most


def test_parts_that_depend_on_the_time_alone_are_found_in_sums_products_and_rules():
    pulse = "exp(-((time - 2)/1e-4)^2)"
    for law in (f"k*X*{pulse}", f"X/(1 + {pulse})", f"X + 3*{pulse}", f"min(X, {pulse})"):
        times = resolve([parse(law)], whole(10.0))
        assert np.any(np.abs(times - 2) < 1e-3), law
    assert len(resolve([parse("exp(-(time - X)^2)")], whole(32.0))) >= 31  # nothing is known: equal cells


def test_the_end_of_what_can_be_resolved():
    with pytest.raises(ConvergenceError, match=r"sin\(1000000\*time\) \+ 1 moves so often between t=0 and t=100 .* stop earlier"):
        cme.ssa(cme.parse("0 => X @ 1 + sin(1000000*time)"), [100.0], n_paths=1, seed=1)


@pytest.mark.parametrize("law", ["ln(time - 5)", "1/(time - 5)", "factorial(time)", "sqrt(time - 3)", "tan(time)"])
def test_laws_without_bounds_come_to_an_end(law):
    assert len(resolve([parse(law)], whole(10.0))) < 20_000


def test_peaks():
    assert peaks(parse("X*exp(-((time - 2)/1e-4)^2)"), whole(10.0)) == pytest.approx([2.0], abs=1e-4)


def test_legs_take_cells_of_like_widths_together():
    times = np.array([4.0, 4.1, 4.2, 4.3, 4.4])
    found = list(legs(times, 0.0, 10.0, 1.0))
    assert [leg.end for leg in found] == [4.0, 4.4, 10.0]
    assert [leg.longest for leg in found] == pytest.approx([1.0, 0.1, 1.0])
    assert list(legs(np.empty(0), 0.0, 10.0, 0.5)) == [(10.0, 0.5)]


def test_info_counts_the_times():
    slow = cme.ssa(cme.parse("0 => X @ 3*time"), [1.0], n_paths=2, seed=1)
    fast = cme.ssa(immigration(gauss(5, 0.01), 0), [10.0], n_paths=2, seed=1)
    assert slow.info["resolved_times"] == 0
    assert 10 < fast.info["resolved_times"] < 100
