"""plots: what is drawn where, and that matplotlib keeps no trace of it."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from cme import first_passage, parse, plots
from cme.results import Distribution, Moments, Trajectories

TIMES = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
RNG = np.random.default_rng(1)
P = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
ZERO = np.zeros(5)


def exact(species=("A", "B")):
    states = np.repeat(np.arange(5)[:, None], len(species), axis=1)
    return Distribution(TIMES, species, states, np.tile(P, (5, 1)), ZERO, ZERO, {"solver": "fsp"})


def sampled(species=("A", "B"), n_paths=40):
    return Trajectories(TIMES, species, RNG.choice(5, p=P, size=(n_paths, 5, len(species))), {"solver": "ssa"})


def gaussian(species=("A", "B")):
    return Moments(TIMES, species, np.full((5, len(species)), 2.0), np.tile(np.eye(len(species)), (5, 1, 1)), {"solver": "lna"})


def panels(figure):
    return figure.axes


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_marginals_has_a_row_for_each_species_and_a_column_for_each_time():
    means = Moments(TIMES, ("A",), np.full((5, 1), 2.0), None, {"solver": "rate_equations"})
    figure = plots.marginals(exact(), SSA=sampled(), LNA=gaussian(), RE=means)
    assert [axes.get_title("left") for axes in panels(figure)] == [f"{name},  t = {t}" for name in "AB" for t in (0, 1, 4, 8)]
    assert labels(figure) == ["fsp", "SSA", "LNA", "RE (mean)"]
    corner = [text.get_text() for text in panels(figure)[0].texts]
    assert corner[0] == "total variation"
    assert corner[1].startswith("SSA  0 to 0.")
    assert corner[2].startswith("LNA  0.0")
    assert len(corner) == 3


def test_the_drawn_law_is_the_law():
    figure = plots.marginals(exact(), times=[4.0], species=["B"])
    (outline,) = panels(figure)[0].collections[0].get_paths()
    assert {(n - 0.5, p) for n, p in enumerate(P)} | {(n + 0.5, p) for n, p in enumerate(P)} <= set(map(tuple, outline.vertices.tolist()))


def test_points_are_densities_of_their_bins():
    n = 4000
    paths = Trajectories(TIMES[:1], ("A",), RNG.poisson(2000, size=(n, 1, 1)), {"solver": "ssa"})
    figure = plots.marginals(paths, again=paths)
    points = panels(figure)[0].lines[0]
    x, y = points.get_data()
    width = np.diff(x).min()
    assert width > 1
    assert (y * width).sum() == pytest.approx(1)
    assert (x * y * width).sum() == pytest.approx(2000, abs=width)


def test_methods_differ_in_more_than_colour():
    others = {f"method{i}": gaussian() for i in range(6)}
    lines = panels(plots.marginals(exact(), **others))[0].lines
    assert len({str(line.get_linestyle()) + str(line._unscaled_dash_pattern) for line in lines}) == 6
    assert len({line.get_color() for line in lines}) == 6


def test_many_species_show_the_last_time_in_a_grid():
    names = tuple(f"S{i}" for i in range(10))
    figure = plots.marginals(exact(names), LNA=gaussian(names))
    assert [axes.get_title("left") for axes in panels(figure)] == [f"{name},  t = 8" for name in names]
    columns = {round(axes.get_position().x0, 3) for axes in figure.axes}
    assert len(columns) == 4


def test_a_stationary_law():
    law = Distribution(np.array([np.inf]), ("A",), np.arange(5)[:, None], P[None], ZERO[:1], ZERO[:1], {"solver": "stationary"})
    assert panels(plots.marginals(law))[0].get_title("left") == "A,  stationary"


def test_unknown_times_and_species_are_refused():
    with pytest.raises(KeyError, match="the result has no time 3; it has 5 from 0 to 8"):
        plots.marginals(exact(), times=[3.0])
    with pytest.raises(KeyError, match="no species or observable 'Z'; there are A, B"):
        plots.marginals(exact(), species=["Z"])


def test_paths_and_their_mean():
    trajectories = sampled()
    figure = plots.paths(trajectories, n_paths=7)
    assert len(panels(figure)) == 2
    lines = panels(figure)[0].lines
    assert len(lines) == 7 + 1
    np.testing.assert_allclose(lines[-1].get_ydata(), trajectories["A"].mean(axis=0))
    assert labels(figure) == ["mean of 40 paths", "± one standard deviation"]


def test_paths_with_events_are_steps():
    events = ((np.array([0.5, 3.0]), np.array([0, 0])),)
    counts = np.array([[[0], [1], [1], [2], [2]]])
    trajectories = Trajectories(TIMES, ("A",), counts, {"solver": "ssa"}, {}, events, (np.array([[1], [2]]),))
    line = panels(plots.paths(trajectories))[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 0.5, 3.0])
    np.testing.assert_allclose(line.get_ydata(), [0, 1, 2])
    assert line.get_drawstyle() == "steps-post"


def test_moments_in_time():
    figure = plots.moments(exact(), SSA=sampled(), LNA=gaussian(("A",)))
    first, second = panels(figure)
    assert len(first.lines) == 1 + 3 + 3
    assert len(second.lines) == 1 + 3  # LNA has no B
    assert labels(figure) == ["fsp: mean ± sd", "SSA", "LNA"]


def test_figures_are_png_and_leave_no_global_state():
    figure = plots.marginals(exact(), LNA=gaussian())
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")
    code = "import sys, test_plots as t; t.plots.marginals(t.exact()); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_positions_are_drawn_where_they_are():
    sites = np.array([-3.0, -1.0, 1.0, 3.0])  # a walk with steps of 1 lives on every second site after an odd number of them
    p, zero, now = np.array([[0.125, 0.375, 0.375, 0.125]]), np.zeros(1), np.array([3.0])
    walk = Distribution(now, ("x",), sites[:, None], p, zero, zero, {"solver": "random_walk"}, cells=np.array([2.0]))
    gauss = Moments(now, ("x",), np.zeros((1, 1)), np.full((1, 1, 1), 3.0), {"solver": "lna"})
    (panel,) = panels(plots.marginals(walk, gauss=gauss))
    x, y = panel.lines[0].get_data()
    assert y.sum() == pytest.approx(1)
    assert x[y.argmax()] in (-1.0, 1.0)
    assert panel.get_xlim()[0] < -3
    assert panel.get_xlabel() == "position"


def test_the_law_of_a_first_passage_is_drawn_for_each_target():
    times = np.geomspace(0.01, 10, 20)
    found = first_passage(parse("A -> B @ 1; A -> C @ 3; A = 1"), {"b": "B == 1", "c": "C == 1"}, times)
    figure = plots.first_passage(found)
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["b", "c"]
    np.testing.assert_array_equal(left.lines[1].get_ydata(), found.cdf[:, 1])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), found.density[:, 0])
    assert left.get_xscale() == "log"
    with pytest.raises(ValueError, match="drawn from two times or more, not 0"):
        plots.first_passage(first_passage(parse("A -> B @ 1; A = 1"), "B == 1"))


def test_what_was_computed_is_marked_where_times_are_few():
    network = parse("A -> B @ 1; A = 1")
    for n_times, marker in ((16, "o"), (17, "None")):
        figure = plots.first_passage(first_passage(network, "B == 1", np.linspace(0, 3, n_times)))
        assert [line.get_marker() for axes in panels(figure) for line in axes.lines] == [marker] * 2
