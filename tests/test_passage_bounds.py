"""Bounds on first passages where paths leave the states that are kept: against the truth, and the reason where there are none."""

import math

import numpy as np
import pytest

import cme
from cme.projection.stopped import Stopped


def mean_down_to_four(top):
    """THEORY A.17: from 10 to 4, with births at rate 10 up to `top` and deaths at rate n."""
    total = s = 0.0
    for i in range(top, 4, -1):
        s = 1 / i + (10 / i * s if i < top else 0.0)
        total += s if i <= 10 else 0.0
    return total


def test_bounds_hold_on_a_set_that_is_too_small():
    network = cme.parse("0 -> X @ 10; X -> 0 @ 1; X = 10")
    exact = cme.first_passage(network, {"low": "X <= 4", "high": "X >= 25"}, [1.0, 5.0, 20.0], tol=1e-10)
    for most in (14, 18, 22):
        space = cme.StateSpace.reachable(network, bounds={"X": most})
        found = cme.first_passage(network, {"low": "X <= 4", "high": "X >= 25"}, [1.0, 5.0, 20.0], space=space)
        for name in found.targets:
            low, high = found.probability_bounds(name)
            assert low <= exact.probability_bounds(name).lower <= exact.probability_bounds(name).upper <= high
            lower, upper = found.cdf_bounds(name)
            assert np.all(lower <= exact.cdf_bounds(name)[0] + 1e-10)
            assert np.all(upper >= exact.cdf_bounds(name)[1] - 1e-10)
        assert found.mean_bounds.lower <= exact.mean() <= found.mean_bounds.upper < math.inf
        assert found.info["truncation"].startswith("bounds on probabilities")
        assert found.probability_bounds() == (1, 1)


def test_bounds_hold_late_on_sets_that_leak():
    network = cme.parse("0 -> X @ 10; X -> 0 @ 1; X = 10")  # empty after about 2e3, gone beyond 22 molecules after about 1e3
    times = np.array([10.0, 1e3, 1e8, 1e12])
    exact = cme.first_passage(network, "X == 0", times)
    for most in (22, 30):
        found = cme.first_passage(network, "X == 0", times, space=cme.StateSpace.reachable(network, bounds={"X": most}))
        lower, upper = found.cdf_bounds()
        assert np.all(lower <= exact.cdf_bounds()[1])
        assert np.all(upper >= exact.cdf_bounds()[0])
        assert "slowest mode" in found.info["in_time"]
        assert found.cdf[-1, 0] == pytest.approx(found.probability[0], abs=1e-6)
    assert exact.cdf[-1, 0] == pytest.approx(1, abs=1e-6)


def test_bounds_of_the_mean_close_as_the_states_are_more():
    network = cme.parse("0 -> X @ 10; X -> 0 @ 1; X = 10")
    exact, widths = mean_down_to_four(400), []
    for most in (14, 18, 24, 32):
        found = cme.first_passage(network, "X <= 4", space=cme.StateSpace.reachable(network, bounds={"X": most}))
        assert found.mean_bounds.lower <= exact <= found.mean_bounds.upper
        widths.append(found.mean_bounds.upper / found.mean_bounds.lower - 1)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 1e-5
    assert "falls at a rate of" in found.info["upper_mean"]
    small = cme.first_passage(network, "X <= 4", space=cme.StateSpace.reachable(network, bounds={"X": 14}))
    assert "mean time 1.8" in repr(small) or "mean time" in repr(small)
    assert math.isnan(small.mean())


def test_the_mean_is_bounded_in_two_species_and_on_one_side_where_nothing_leads_back():
    genes = cme.load("gene_expression")
    found = cme.first_passage(genes, "protein >= 60")
    assert 0 < found.escaped < 1e-6
    larger = cme.first_passage(genes, "protein >= 60", space=cme.StateSpace.reachable(genes, bounds={"mRNA": 60, "protein": 61}))
    assert found.mean_bounds.lower <= larger.mean() <= found.mean_bounds.upper
    assert found.mean_bounds.upper <= found.mean_bounds.lower * (1 + 1e-5)
    bursts = cme.first_passage(cme.parse("0 -> geometric(2) X @ 1; X -> 0 @ 1; X = 30"), "X == 0")
    assert bursts.mean_bounds.upper == math.inf
    assert bursts.info["upper_mean"] == "reactions draw numbers of molecules"


def test_sets_grow_until_hardly_anything_escapes():
    network = cme.parse("0 => U @ 50/(1 + V^2.5); 0 => V @ 16/(1 + U); U -> 0 @ 1; V -> 0 @ 1; U = 30")
    found = cme.first_passage(network, "V > 2*U && V > 10", tol=1e-7)
    assert 0 < found.escaped <= 1e-7
    assert found.mean_bounds.lower == pytest.approx(found.mean(), rel=1e-7)
    box = cme.StateSpace.reachable(network, bounds={"U": 120, "V": 70})  # leaks far less
    larger = cme.first_passage(network, "V > 2*U && V > 10", space=box)
    assert larger.escaped < 1e-12
    assert found.mean() == pytest.approx(larger.mean(), rel=1e-7)
    assert larger.mean_bounds.lower <= found.mean() * (1 + 1e-12)


# -------------------------------------------------------------------------------------------- why there is no upper bound


def test_the_reason_speaks_of_what_was_given():
    growing = cme.first_passage(cme.parse("X -> 2 X @ 2; X -> 0 @ 1; X = 5"), "X == 0")
    assert growing.info["upper_mean"] == "too much escapes for a bound to be sought"
    network = cme.parse("0 -> X @ 10; X -> 0 @ 1; X = 10")
    cut = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"X": 14}))
    found = cme.first_passage(cut, "X <= 4", initial=10)
    assert found.info["upper_mean"] == "nothing is known of the states of a generator that are not kept"
    decay = cme.parse("X -> 0 @ 1; X = 3")
    law = cme.fsp(decay, [0.3], space=cme.StateSpace.reachable(decay, within="X >= 2"))
    assert law.lost[0] > 0.1
    part = cme.first_passage(decay, "X == 0", initial=law)
    assert part.info["upper_mean"] == "the start misses a part of its law, of which nothing is known"
    assert part.mean_bounds.upper == math.inf


def test_where_some_paths_never_arrive_the_mean_is_infinite_for_sure():
    network = cme.parse("A -> B @ 1; A -> X @ 1; X -> 2 X @ 1; A = 1")
    found = cme.first_passage(network, "X >= 100", space=cme.StateSpace.reachable(network, bounds={"X": 50}))
    assert (found.never, found.mean_bounds, found.info["upper_mean"]) == (0.5, (math.inf, math.inf), "exact")
    assert found.escaped == pytest.approx(0.5, rel=1e-13)


def test_every_chain_says_how_its_states_are_found():
    with pytest.raises(TypeError, match="abstract class Stopped"):
        Stopped(("X",), {})


def test_a_rare_target_is_found():
    """The gambler's ruin: (1 - r^333) / (1 - r^1000) with r = 3/2."""
    ruin = "X => 2 X @ 0.4*(X<{0})*(X>0); X => 0 @ 0.6*(X<{0})*(X>0); X=333"
    targets = {"ruin": "X == 0", "win": "X == {0}"}
    found = cme.first_passage(cme.parse(ruin.format(1000)), {name: text.format(1000) for name, text in targets.items()})
    log = 333 * math.log(1.5) + math.log1p(-(1.5**-333)) - 1000 * math.log(1.5)
    assert found.probability[1] == pytest.approx(math.exp(log), rel=1e-10)
    assert math.isfinite(found.mean("win"))
    assert found.info["rare"] == []
    # What is further away than a few thousand states is not looked for, but said.
    far = cme.first_passage(cme.parse(ruin.format(100_000)), {name: text.format(100_000) for name, text in targets.items()})
    assert far.info["rare"] == ["win"]
    assert far.probability[1] == 0
    assert 0 < far.probability_bounds("win").upper < 1e-200


def beside(rate):
    """A birth-death process, and a gene that plays no part in it and hardly ever switches."""
    return cme.parse(f"0 -> X @ 350; X -> 0 @ 1; A <-> B @ {rate}, {3 * rate}; B <-> C @ {2 * rate}, {rate}; A = 1; X = 350")


@pytest.mark.parametrize("rate", [1e-8, 1e-10])
def test_targets_one_jump_outside_are_arrived_at_when_the_set_is_closed(rate):
    network, alone = beside(rate), 0.0284775909496  # the birth-death process by itself
    x, c = (network.species_names.index(name) for name in "XC")
    everything = cme.StateSpace.reachable(network, bounds={"X": 400})
    given = everything.keep((everything.states[:, c] == 0) | (everything.states[:, x] < 400))
    assert cme.first_passage(network, "X >= 400", space=given).decay_rates(1)[0] == pytest.approx(alone, rel=1e-10)
    found = cme.first_passage(network, "X >= 400")
    assert found.mean() == pytest.approx(35.66193810838872, rel=1e-13)
    assert found.mean_bounds.lower <= found.mean() <= found.mean_bounds.upper < found.mean() * (1 + 1e-10)
    assert found.decay_rates(1)[0] == pytest.approx(alone, rel=1e-10)
    with pytest.raises(cme.ConvergenceError, match=r"two modes decay so nearly alike, at rates of 0\.0284776 and 0\.0284776"):
        found.decay()


def test_a_mode_that_would_leave_the_states_tells_no_rate():
    network = beside(1e-8)
    everything = cme.StateSpace.reachable(network, bounds={"X": 400})
    x, c = (network.species_names.index(name) for name in "XC")
    space = everything.keep((everything.states[:, c] == 0) | (everything.states[:, x] <= 360))
    found = cme.first_passage(network, "X >= 400", space=space)  # where C=1, no target is one jump away
    assert found.mean() == pytest.approx(35.66193810838872, rel=1e-5)
    for ask in (found.decay, lambda: found.decay_rates(2)):
        with pytest.raises(
            cme.ConvergenceError, match=r"mode decays at a rate of 1e-08 on .* would leave them at one of .*; take more states"
        ):
            ask()
