"""The closed forms E1-E9 themselves: they solve (12), hold probability 1, start as a point, and have the V that they claim (18)."""

import mpmath
import numpy as np
import pytest
from closed_forms import CASES, e4, e7, e9, gauss
from scipy.integrate import quad

MP = mpmath.mp
POINTS = {name: [(0.3, 0.5), (1.7, 1.2)] if name in ("E5", "E9") else [(0.3, 0.5), (-0.9, 1.2)] for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_the_residual_of_12_vanishes(name):
    case = CASES[name]
    with mpmath.workdps(40):
        alpha = mpmath.mpf(case.alpha)
        for x, t in POINTS[name]:
            x, t = mpmath.mpf(x), mpmath.mpf(t)
            rate = mpmath.diff(lambda s, x=x: case.density(x, s, MP), t)
            spread = mpmath.diff(lambda y, t=t: case.density(y, t, MP), x, 2)
            flow = mpmath.diff(lambda y, t=t: case.drift(y, t, MP) * case.density(y, t, MP), x)
            assert abs(rate - alpha / 2 * spread + flow) < 1e-15
            assert abs(rate) > 1e-4  # the zero is no accident


@pytest.mark.parametrize("name", CASES)
def test_probability_is_one_and_starts_at_a_point(name):
    case = CASES[name]
    low = max(case.domain[0], -30.0)
    for t in (1e-4, 0.1, 2.0):
        middle = [case.x0 + k * np.sqrt(case.alpha * t) for k in (-9, -4, 0, 4, 9)] + [0.0]
        whole = quad(case.density, low, 30, args=(t,), points=sorted(max(m, low) for m in middle), epsabs=1e-12, limit=400)[0]
        assert whole == pytest.approx(1, abs=1e-9)
    near = 5 * np.sqrt(case.alpha * 1e-4)
    assert quad(case.density, case.x0 - near, case.x0 + near, args=(1e-4,))[0] > 0.9999


@pytest.mark.parametrize("name", CASES)
def test_V_is_that_of_18(name):
    """V = -(alpha p_x + p^2)/2 - integral of p_t from 0 (from 1 for E5, whose p_t is zero anyway)."""
    case = CASES[name]
    with mpmath.workdps(30):
        for x, t in POINTS[name]:
            p = case.drift(mpmath.mpf(x), t, MP)
            p_x = mpmath.diff(lambda y, t=t: case.drift(y, t, MP), x)
            turned = mpmath.quad(lambda y, t=t: mpmath.diff(lambda s: case.drift(y, s, MP), t), [0 if name != "E5" else 1, x])
            v = -(mpmath.mpf(case.alpha) * p_x + p**2) / 2 - turned
            assert abs(v - case.potential(mpmath.mpf(x), t, MP)) < 1e-12


def test_E4_from_the_middle_is_a_mixture_of_two_gaussians():
    x, t = np.linspace(-4, 4, 9), 1.3
    assert np.allclose(e4(c=1.0).density(x, t), (gauss(t, x - t) + gauss(t, x + t)) / 2, rtol=1e-13)


def test_E7_settles():
    x = np.linspace(-3, 3, 7)
    assert np.allclose(e7().density(x, 60.0), 0.5 / np.cosh(x) ** 2, atol=1e-12)


def test_E9_no_flux_through_the_wall():
    case = e9()
    with mpmath.workdps(40):
        for t in (0.1, 1.0):
            slope = mpmath.diff(lambda y, t=t: case.density(y, mpmath.mpf(t), MP), mpmath.mpf(0))
            assert abs(mpmath.mpf(-0.7) * case.density(mpmath.mpf(0), mpmath.mpf(t), MP) - mpmath.mpf(case.alpha) / 2 * slope) < 1e-15
