"""What is refused as a diffusion, by its solvers and elsewhere, and in which words."""

import numpy as np
import pytest

import cme

OU = cme.Diffusion(lambda x: -x, 1.0)
FACTOR = "and fails on it: .*; write it with numpy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda x: -x, 1.0, ("x", "y", "z")), "one or two coordinates with different names, not .*'z'"),
        ((lambda x: -x, 1.0, ("x", "x")), "with different names"),
        (("x", 1.0), "could not convert string to float"),
        ((lambda x: x[:2], 1.0), r"the drift must be a number, or values \(K\) for K positions; at 3 positions it has the shape \(2,\)"),
        ((lambda x: 1.0 if x > 0 else -1.0, 1.0), f"the drift must take an array of positions, shape \\(3,\\), {FACTOR}"),
        ((lambda x, t, u: -x, 1.0), "the drift must be a function of x, or of x and t, not of 3 arguments"),
        ((lambda x: -x, [[1.0, 2.0]]), "the diffusion must be a number"),
        ((lambda x: -x[:, 0], 1.0, ("x", "y")), r"numbers of the shape \(2,\), or values \(K, 2\) for K positions; at 3 .* shape \(3,\)"),
        ((0.0, 1.0, ("x",), {"y": (0, 1)}), "domain names 'y'; the coordinates of this diffusion are x"),
        ((0.0, 1.0, ("x",), {"x": (1, 0)}), "the domain of 'x' must be two numbers, the lower one first"),
    ],
)
def test_refused_as_a_diffusion(arguments, message):
    with pytest.raises(ValueError, match=message):
        cme.Diffusion(*arguments)


def tilted(x):
    """Noises (1 + x^2, x; x, 1)."""
    return np.array([[1 + x[:, 0] ** 2, x[:, 0]], [x[:, 0], 1 + 0 * x[:, 0]]]).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("process", "arguments", "error", "message"),
    [
        (OU, {}, ValueError, "does not say where it starts; give initial="),
        (OU, {"initial": (1.0, 2.0)}, ValueError, "must give a finite number for x, not"),
        (OU, {"initial": {"y": 1.0}}, ValueError, "the initial position must name x, not y"),
        (OU, {"initial": {0.0: 0.5, 1.0: 0.6}}, ValueError, "must be >= 0 and sum to 1; they sum to 1.1"),
        (OU, {"initial": 1.0, "boundary": "natural"}, ValueError, "boundary='natural' is for networks; the walls of a diffusion reflect"),
        (OU, {"initial": 1.0, "domain": {"y": (0, 1)}}, ValueError, "domain names 'y'; the coordinates of this diffusion are x"),
        (OU, {"initial": 1.0, "domain": {"x": (2, np.inf)}}, ValueError, r"the domain .* of 'x' does not hold the start at 1"),
        (cme.Diffusion(1.0, 1.0, domain={"x": (0, 1)}), {"initial": 2.0}, ValueError, r"can't start at \{x: 2\}, outside its domain"),
        (cme.Diffusion(1.0, 0.0), {"initial": 1.0}, ValueError, "without noise has no density; use rate_equations"),
        (cme.Diffusion(lambda x, t: -x, 1.0), {"times": np.inf}, ValueError, "depend on time, so that there is no stationary density"),
        (
            cme.Diffusion(0.0, lambda x: x),
            {"initial": 1.0},
            cme.ModelError,
            r"the diffusion is -.* at \{x: -.*\}, t = 0; it must be at least 0",
        ),
        (
            cme.Diffusion(lambda x: np.log(x), 1.0),
            {"initial": 1.0},
            cme.ModelError,
            r"the drift is no finite number at \{x: -.*\}, t = 0, .*; keep it away by a wall, for example with domain=\{'x': \(0, inf\)\}",
        ),
        (
            cme.Diffusion(lambda x: 1 / x, 1.0),
            {"initial": 1.0, "domain": {"x": (-9, 10)}},
            cme.ModelError,
            r"singular at \{x: 0\}|no finite number at \{x: 0\}",
        ),
        (cme.Diffusion(lambda x: x, 1.0), {"times": np.inf}, cme.ConvergenceError, "still touches the edge of every domain tried"),
        (OU, {"initial": 1.0, "times": [1e-9, 1.0]}, cme.ConvergenceError, "reached a grid error of 1.0e.00 with .* max_cells=50000"),
        (
            cme.Diffusion(lambda x: -x, tilted, ("x", "y")),
            {"initial": (0, 0)},
            cme.ModelError,
            r"too correlated for one grid: at \{.*\}, t = 0, the spacing of 'y' must be between .* times that of 'x', and elsewhere not",
        ),
        (
            cme.Diffusion([0, 0], [[1, 2], [2, 1]], ("x", "y")),
            {"initial": (0, 0)},
            cme.ModelError,
            r"the diffusion is \[\[1.0, 2.0\], \[2.0, 1.0\]\] at .*; it must be symmetric without negative eigenvalues",
        ),
    ],
)
def test_refused_by_fokker_planck(process, arguments, error, message):
    arguments = dict(arguments)
    with pytest.raises(error, match=message):
        cme.fokker_planck(process, arguments.pop("times", [1.0]), **arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: OU.generator((np.arange(4), np.arange(4))), ValueError, "edges has 2 axes, and the diffusion 1 coordinates"),
        (
            lambda: cme.Diffusion(0.0, 1.0, domain={"x": (0, 1)}).generator([-1, 0, 1]),
            ValueError,
            r"the cells of 'x' must lie in its domain \[0, 1\]",
        ),
        (
            lambda: cme.Diffusion([0, 0], [[1, 0.5], [0.5, 1]], ("x", "y")).generator(([0, 1, 3], [0, 1, 2])),
            ValueError,
            "the cells of 'x' must be evenly spaced, since the noises are correlated",
        ),
        (lambda: cme.langevin(OU, [1.0], initial=0.0, threads=2), ValueError, "leave out threads and boundary"),
        (lambda: cme.langevin(OU, [1.0], initial=0.0, boundary="absorb"), ValueError, "leave out threads and boundary"),
        (
            lambda: cme.langevin(cme.Diffusion(lambda x: 1 / x, 1.0, domain={"x": (0, np.inf)}), [1.0], initial=1.0),
            cme.ConvergenceError,
            "infinite at x = 0, so that no step is short enough next to it; use fokker_planck, or put the wall a little inside",
        ),
        (
            lambda: cme.langevin(cme.Diffusion(lambda x: x**3, 1.0), [9.0], initial=1.0, dt=0.01, seed=1, n_paths=5),
            cme.ConvergenceError,
            "a path ran away from .* with dt=0.01.*; give a smaller dt, or end before it grows without bound",
        ),
        (
            lambda: cme.lna(cme.Diffusion(-1.0, 1.0, domain={"x": (0, np.inf)}), [2.0], initial=1.0),
            cme.ModelError,
            r"lna drives 'x' to -1 by t=2, out of its domain \[0, inf\]; it knows nothing of walls: use fokker_planck or langevin",
        ),
        (lambda: cme.rate_equations(cme.Diffusion(lambda x, t: -x, 1.0), np.inf, initial=1.0), ValueError, "nothing comes to rest"),
        (lambda: cme.jump_moments(lambda x, y: 1 / (1 + (x - y) ** 2), 2, [0.0]), cme.ConvergenceError, "long jumps are too frequent"),
        (lambda: cme.jump_moments(lambda x, y: np.abs(x - y) ** -3.5, 2, [0.0]), cme.ConvergenceError, "short jumps are too frequent"),
        (lambda: cme.jump_moments(lambda x, y: x - y, 1, [0.0]), ValueError, "the kernel .* a jump rate must be a finite number"),
        (lambda: cme.jump_moments(lambda x, y: x - y, 0, [0.0]), ValueError, "numbered 1, 2, ..., not 0"),
        (lambda: cme.jump_moments(lambda x, y: x - y, 1), ValueError, "say with at= at which places y"),
        (lambda: cme.jump_moments(cme.Generator.from_rates(np.ones((2, 2))), 1, at=[0]), ValueError, "has its own states; leave out at"),
        (
            lambda: cme.Diffusion.from_generator(cme.Generator.from_rates(np.ones((2, 2)), [[0, 0], [1, 1]])),
            ValueError,
            "states on a whole rectangular grid, none of which leaks",
        ),
    ],
)
def test_refused_elsewhere(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("drift", "noise", "what"), [(np.nan, 1.0, "drift"), (0.0, np.inf, "diffusion")])
def test_numbers_that_are_none(drift, noise, what):
    with pytest.raises(ValueError, match=f"the {what} must hold finite numbers, not"):
        cme.Diffusion(drift, noise)


def test_states_that_leak_do_not_say_how_far_jumps_go():
    """At its ends a walk has lost the jumps that leave: drift and noise there are those of the next states."""
    process = cme.Diffusion.from_generator(cme.RandomWalk(0.4, 1.0, 0.5).generator(-1.0, 1.0))
    ends = np.array([[-1.0], [1.0]])
    assert process.drift_at(ends).ravel() == pytest.approx([0.4, 0.4])
    assert process.noise_at(ends).ravel() == pytest.approx([1.0, 1.0])
