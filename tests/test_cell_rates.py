"""Jump kernels on grids: integrals over pairs of cells against closed forms, and the error that goes with them."""

import re

import numpy as np
import pytest
from scipy.stats import norm

import cme
from cme.cell_rates import kernel_rates

SECOND_INTEGRALS = {  # of W as a function of x - y: the rate from [a, b] to [c, d] is a second difference of these
    "kinked": (lambda u: np.exp(-np.abs(u)), lambda u: np.abs(u) + np.exp(-np.abs(u))),
    "jump": (lambda u: 1.0 * (np.abs(u) < 0.37), lambda u: np.where(np.abs(u) < 0.37, (u + 0.37) ** 2 / 2, np.where(u < 0, 0.0, 0.74 * u))),
    "asymmetric": (lambda u: np.where(u > 0, np.exp(-3 * u), 0.0), lambda u: np.where(u > 0, (3 * u - 1 + np.exp(-3 * u)) / 9, 0.0)),
}


def gaussian(sd, shift=0.0):
    def second(u):
        z = (u - shift) / sd
        return sd * (z * norm.cdf(z) + norm.pdf(z))

    return (lambda u: norm.pdf(u, shift, sd)), second


for sd in (0.5, 0.02, 0.003, 1e-6):
    SECOND_INTEGRALS[f"normal, sd {sd:g}"] = gaussian(sd)
SECOND_INTEGRALS["shifted"] = gaussian(0.1, 0.45)


def exact_rates(second, edges):
    a, b = edges[:-1], edges[1:]
    c, d = a[:, None], b[:, None]
    return (second(d - a) - second(c - a) - second(d - b) + second(c - b)) / (b - a)


@pytest.mark.parametrize("name", SECOND_INTEGRALS)
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
@pytest.mark.parametrize("edges", [np.linspace(-1, 1, 11), np.sort(np.random.default_rng(1).uniform(-1, 1, 9))], ids=["even", "uneven"])
def test_quadrature_error_is_above_the_true_one(name, tol, edges):
    kernel, second = SECOND_INTEGRALS[name]
    if name == "jump" and tol < 1e-4:
        pytest.skip("a kernel that jumps takes too many values")
    exact = exact_rates(second, edges)
    rates, error = kernel_rates(lambda x, y: kernel(x - y), (edges,), tol)
    np.fill_diagonal(exact, 0.0)
    np.fill_diagonal(rates, 0.0)
    rounding = 1e-13 * np.abs(second(np.ptp(edges))) / np.diff(edges)
    assert np.all(np.abs(rates - exact).sum(axis=0) <= error.sum(axis=0) + 10 * rounding)
    assert error.sum(axis=0).max() <= tol * exact.sum(axis=0).max()


def test_a_kernel_narrower_than_a_cell():
    """Only what is near an edge crosses it, at the rate sd / sqrt(2 pi) over the width, to either side."""
    generator = cme.Generator.from_kernel(lambda x, y: norm.pdf(x - y, 0, 0.003), np.linspace(-3, 3, 31))
    assert generator.exit_rates[15] == pytest.approx(2 * 0.003 / np.sqrt(2 * np.pi) / 0.2, rel=1e-5)


def test_in_two_dimensions():
    """A product of two kernels has products of rates."""
    one, other = np.linspace(0, 1, 6), np.array([0.0, 0.1, 0.4, 1.0])
    for sd in (0.4, 0.2):
        kernel, second = gaussian(sd)
        exact = np.kron(exact_rates(second, one), exact_rates(second, other))
        rates, error = kernel_rates(lambda x, y, w=kernel: np.prod(w(x - y), axis=-1), (one, other), 1e-3)
        for each in (exact, rates):
            np.fill_diagonal(each, 0.0)
        assert np.all(np.abs(rates - exact).sum(axis=0) <= error.sum(axis=0) + 1e-12)
        assert error.sum(axis=0).max() <= 1e-3 * exact.sum(axis=0).max()


def test_the_error_of_the_quadrature_is_in_the_law():
    def jumping(x, y):
        return 1.0 * (np.abs(x - y) < 0.37)

    edges = np.linspace(-1, 1, 9)
    rough, fine = (cme.fsp(cme.Generator.from_kernel(jumping, edges, tol=tol), [2.0], initial=np.eye(8)[2]) for tol in (0.03, 1e-3))
    assert 1e-4 < np.abs(rough.p - fine.p).sum() <= rough.integration_error[0]
    assert rough.info["quadrature_error"] > fine.info["quadrature_error"] > 0
    assert rough.info["integration_error"] == "an estimate"
    in_time = cme.fsp(
        cme.Generator.from_kernel(lambda x, y, t: jumping(x, y) + 0 * t, edges, tol=0.2), [2.0], initial=np.eye(8)[2], tol=1e-2
    )
    assert np.abs(in_time.p - fine.p).sum() <= in_time.integration_error[0]
    assert in_time.info["quadrature_error"] > 0


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda x, y: 1.0 * (np.sin(1e4 * x * y) > 0), r"rates between cells are off by .*, more than tol=1e-05 of the largest, after"),
        (lambda x, y: float(x) - y, r"must take arrays of places, here of shapes .* and fails on them"),
        (lambda x, y: np.ones(3), r"must give one rate for each x and y, here of shape .*, and gives shape \(3,\)"),
        (lambda x, y: x - y, r"the kernel W\(x, y\) is -.* at x = .*, y = .*; a jump rate must be a finite number >= 0"),
        (lambda x, y: np.inf * np.ones_like(x - y), r"the kernel W\(x, y\) is inf at x = .*, y = "),
    ],
)
def test_refusals(kernel, message, monkeypatch):
    monkeypatch.setattr("cme.cell_rates.MOST", 1_000_000)
    with pytest.raises((ValueError, cme.ConvergenceError), match=re.compile(message)):
        cme.Generator.from_kernel(kernel, np.linspace(0, 1, 6))
