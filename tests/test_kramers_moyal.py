"""Jump moments of kernels, generators and networks, and the diffusions that have them (M18)."""

import numpy as np
import pytest

import cme
from cme.continuum.tabulated import Tabulated


def gaussian_jumps(size, pull=1.0):
    """Jumps of sd `size` at rate 1/size^2, with a bias that pulls to 0: drift -pull x, noise 1 + (pull size x)^2."""
    return lambda x, y: np.exp(-((x - y * (1 - pull * size**2)) ** 2) / (2 * size**2)) / (np.sqrt(2 * np.pi) * size**3)


def test_M18_jump_moments_of_kernels():
    y = np.linspace(-3, 3, 50)
    hop = gaussian_jumps(0.3)
    assert cme.jump_moments(hop, 1, y) == pytest.approx(-y, abs=1e-10)
    assert cme.jump_moments(hop, 2, y) == pytest.approx(1 + (0.3 * y) ** 2, abs=1e-10)
    assert cme.jump_moments(hop, 3, y) == pytest.approx(-(0.3**4) * y**3 - 3 * 0.3**2 * y, abs=1e-10)
    box = cme.jump_moments(lambda x, y: (np.abs(x - y) < 0.37) * 1.0, 2, y)
    assert box == pytest.approx(2 * 0.37**3 / 3, abs=1e-11)
    ends = cme.jump_moments(lambda x, y: 1.0 + 0 * x, 1, y, domain=(-4, 5))
    assert ends == pytest.approx(((5 - y) ** 2 - (y + 4) ** 2) / 2, abs=1e-11)
    late = cme.jump_moments(lambda x, y, t: (1 + t) * np.exp(-np.abs(x - y)), 2, [0.0], time=2.0)
    assert late == pytest.approx([12.0])


def test_M18_jump_moments_of_generators_and_networks():
    network = cme.parse("0 -> 2 A @ 3; A -> B @ 1; A = 5; B = 1")
    first, second = cme.jump_moments(network, 1), cme.jump_moments(network, 2, at=[[2, 0], [4, 0]])
    assert first.tolist() == [[1.0, 5.0]]
    assert second.tolist() == [[[14.0, -2.0], [-2.0, 2.0]], [[16.0, -4.0], [-4.0, 4.0]]]
    walk = cme.RandomWalk(0.5, 1.0, 0.1).generator(0.0, 1.0)
    assert cme.jump_moments(walk, 1)[1:-1, 0] == pytest.approx(0.5)
    assert cme.jump_moments(walk, 2)[1:-1, 0, 0] == pytest.approx(1.0)
    changing = cme.Generator.from_rates(lambda t: np.full((2, 2), 1 + t))
    assert cme.jump_moments(changing, 1, time=1.0).ravel().tolist() == [2.0, -2.0]


def test_M18_the_error_of_the_truncation_falls_with_the_square_of_the_jumps():
    distances = []
    for size in (0.4, 0.2):
        kernel = gaussian_jumps(size)
        jumps = cme.Generator.from_kernel(kernel, np.linspace(-6, 6, 481))
        start = np.zeros(len(jumps))
        start[np.abs(jumps.states[:, 0] - 1.0) < 0.02] = 0.5
        exact = cme.fsp(jumps, [1.0], initial=start)
        density = cme.fokker_planck(cme.Diffusion.from_kernel(kernel), [1.0], initial=1.0)
        table = cme.compare(exact, FP=density)
        row = table[(table.method == "FP") & (table.metric == "total_variation")].iloc[0]
        assert row.hi - row.lo < 0.02 * row.value
        distances.append(row.value)
    assert distances[0] == pytest.approx(0.0408, abs=5e-4)
    assert np.log2(distances[0] / distances[1]) == pytest.approx(2.0, abs=0.3)


def test_M18_a_diffusion_from_a_generator_and_from_a_kernel_in_time():
    ds = 0.05
    x = -5 + ds * np.arange(201)
    up, down = (0.5 / ds**2 - x / 2 / ds)[:-1], (0.5 / ds**2 + x / 2 / ds)[1:]
    process = cme.Diffusion.from_generator(cme.Generator.from_rates(np.diag(up, -1) + np.diag(down, 1), x))
    assert process.drift_at(np.array([[0.321]]))[0, 0] == pytest.approx(-0.321, abs=1e-9)
    assert cme.fokker_planck(process, [1.0], initial=1.0).sd()[0, 0] ** 2 == pytest.approx((1 - np.exp(-2)) / 2, rel=1e-4)
    driven = cme.Diffusion.from_kernel(lambda x, y, t: (1 + t) * np.exp(-(((x - y) / 0.1) ** 2)) / 0.1**3, domain=(-4, 4))
    assert not driven.static
    assert driven.noise_at(np.array([[0.0]]), 1.0)[0, 0, 0] == pytest.approx(np.sqrt(np.pi), rel=1e-9)


def test_a_table_of_a_smooth_function_is_as_good_as_the_function():
    calls = []

    def function(x):
        calls.append(len(x))
        return np.stack([np.sin(5 * x), np.where(x > 0.3, 1.0, 0.0)], axis=1)

    table = Tabulated(function, (-2.0, 3.0))
    x = np.random.default_rng(3).uniform(-2, 3, 5000)
    found = table(x)
    assert found[:, 0] == pytest.approx(np.sin(5 * x), abs=1e-9)
    assert found[:, 1] == pytest.approx(np.where(x > 0.3, 1.0, 0.0), abs=1e-9)
    asked = sum(calls)
    assert table(x[:10]) == pytest.approx(found[:10], abs=1e-9)
    assert sum(calls) < asked + 10_000
