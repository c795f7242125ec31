"""One random number from each of the distributions of the SBML package distrib, or geometric, truncated or not. Nothing is remembered.

Continuous laws are truncated to [low, high), discrete ones to [low, high]; low = high is the limit of a narrow interval, the point itself.
Nothing here loops without end: a rejection has a bounded chance, whatever the parameters and bounds are. What can't be drawn (a bad
parameter, bounds that hold no value) is nan.

References: Smith et al., J. Integr. Bioinform. 17 (2020) 20200018, doi:10.1515/jib-2020-0018 (SBML Level 3 distrib, version 1);
Robert, Stat. Comput. 5 (1995) 121, doi:10.1007/BF00143942 (a truncated normal by rejection); Devroye, Non-Uniform Random Variate
Generation (1986), doi:10.1007/978-1-4613-8643-8, ch. VII (log-concave densities by rejection from a flat hat with exponential tails);
Loader, Fast and accurate computation of binomial probabilities (2000) (saddle-point form of the weights).
"""

import math

import numpy as np

from cme.kernels.jit import apart, bare, inlined, inner
from cme.kernels.random import uniform

CODES = {
    name: code
    for code, name in enumerate(
        "normal uniform bernoulli binomial cauchy chisquare exponential gamma laplace lognormal poisson rayleigh geometric".split()
    )
}
(_NORMAL, _UNIFORM, BERNOULLI, BINOMIAL, _CAUCHY, _CHISQUARE, _EXPONENTIAL, _GAMMA, _LAPLACE, _LOGNORMAL, POISSON,
 _RAYLEIGH, GEOMETRIC) = range(len(CODES))  # fmt: skip

_TRIES = 1000  # rejections in a row; each has a chance of less than 0.9
_FARTHEST = 1e300
_WIDEST = 2.0  # up to this width, in standard deviations, a truncated normal near its centre is drawn from a flat hat


@bare
def draw(code, a, b, low, high, random):
    """A random number: of the parameters a and b in the order of the package, between the bounds.

    normal(mean, sd), uniform(least, most), bernoulli(p), binomial(n, p), cauchy(location, scale), chisquare(degrees of freedom),
    exponential(rate), gamma(shape, scale), laplace(location, scale), lognormal(mean and sd of the logarithm), poisson(rate),
    rayleigh(scale), geometric(mean), which starts at 0.
    """
    apart()
    if not (np.isfinite(a) and np.isfinite(b) and low <= high and low < np.inf and high > -np.inf):
        return np.nan
    if code in (POISSON, BINOMIAL, BERNOULLI):
        return count(code, a, b, low, high, random)
    if code == GEOMETRIC:
        return geometric_between(a, max(np.ceil(low), 0.0), np.floor(high), random)
    if code == _NORMAL:
        if b < 0.0:
            return np.nan
        value = a + b * normal_between(in_units(low, a, b), in_units(high, a, b), random)
    elif code == _LOGNORMAL:
        if b < 0.0 or high < 0.0 or (high == 0.0 and b > 0.0):
            return np.nan
        least, most = math.log(low) if low > 0.0 else -np.inf, math.log(high) if high > 0.0 else -np.inf
        value = np.exp(a + b * normal_between(in_units(least, a, b), in_units(most, a, b), random))
    elif code == _UNIFORM:
        least, most = max(a, low), min(b, high)
        if not least <= most:
            return np.nan
        value = least + (most - least) * uniform(random)
        low, high = least, most
    elif code == _CAUCHY:
        if not b > 0.0:
            return np.nan
        value = a + b * cauchy_between(in_units(low, a, b), in_units(high, a, b), random)
    elif code == _LAPLACE:
        if not b > 0.0:
            return np.nan
        value = a + b * laplace_between(in_units(low, a, b), in_units(high, a, b), random)
    else:  # on the positive half line
        if not a > 0.0 or high < 0.0 or (code == _GAMMA and not b > 0.0):
            return np.nan
        low = max(low, 0.0)
        if code == _EXPONENTIAL:
            value = low + exponential_below(a * (high - low), random) / a
        elif code == _RAYLEIGH:  # half the square is exponential
            least = 0.5 * (low / a) ** 2
            value = a * math.sqrt(2.0 * (least + exponential_below(0.5 * ((high - low) / a) * ((high + low) / a), random)))
        elif code == _CHISQUARE:
            value = gamma_between(0.5 * a, 2.0, low, high, random)
        else:
            value = gamma_between(a, b, low, high, random)
    if code in (_NORMAL, _LOGNORMAL) and b == 0.0:
        return value if low <= value <= high else np.nan
    return min(max(value, low), high) if value == value else np.nan  # round-off may lead across a bound


@inlined
def in_units(bound, location, scale):
    """A bound as a distance from the location; only one that was given as infinite is."""
    if scale == 0.0:
        return 0.0
    return bound if np.isinf(bound) else min(max((bound - location) / scale, -_FARTHEST), _FARTHEST)


@inlined
def exponential_below(limit, random):
    """An exponential number of mean one, given that it is below a limit."""
    if limit == np.inf:
        return -math.log(uniform(random))
    return -math.log1p(uniform(random) * math.expm1(-limit))


@inner
def geometric_between(mean, least, most, random):
    """The whole part of an exponential number: P(k) = (mean / (1 + mean))^k / (1 + mean) for k = 0, 1, ...; it has no memory."""
    if not (mean >= 0.0 and least <= most):
        return np.nan
    if mean == 0.0:
        return 0.0 if least == 0.0 else np.nan
    slope = math.log1p(1.0 / mean)
    return min(least + np.floor(exponential_below(slope * (most - least + 1.0), random) / slope), most)


@inner
def standard_normal(random):
    """Marsaglia's polar method; the second number is not kept, so that a path's stream is all that it remembers."""
    square = 2.0
    u = 0.0
    while square >= 1.0:
        u = 2.0 * uniform(random) - 1.0
        v = 2.0 * uniform(random) - 1.0
        square = u * u + v * v
    return u * math.sqrt(-2.0 * math.log(square) / square)


@inner
def normal_between(low, high, random):
    """A standard normal number between bounds: tails from an exponential hat, a narrow centre from a flat one."""
    if low == high:
        return low
    mirrored = high <= 0.0
    if mirrored:
        low, high = -high, -low
    for _ in range(_TRIES):
        if low >= 1.0:  # exp(-x^2/2) = exp(-low^2/2) exp(-low d) exp(-d^2/2) at x = low + d
            d = exponential_below(low * (high - low), random) / low
            if uniform(random) < math.exp(-0.5 * d * d):
                return -low - d if mirrored else low + d
        elif high - low <= _WIDEST:
            x = low + (high - low) * uniform(random)
            nearest = max(low, 0.0)
            if uniform(random) < math.exp(0.5 * (nearest - x) * (nearest + x)):
                return -x if mirrored else x
        else:
            x = standard_normal(random)
            if low <= x <= high:
                return -x if mirrored else x
    return np.nan


@inner
def cauchy_between(low, high, random):
    """A standard Cauchy number: the cotangent of a uniform angle. Small angles, which have most digits, are kept for the tail."""
    mirrored = high <= 0.0
    if mirrored:
        low, high = -high, -low
    if low == high:
        return -low if mirrored else low
    least, most = math.atan2(1.0, high), math.atan2(1.0, low)
    angle = least + (most - least) * uniform(random)
    x = 1.0 / math.tan(angle)
    return -x if mirrored else x


@inner
def laplace_between(low, high, random):
    """Two exponentials back to back."""
    if low == high:
        return low
    if low >= 0.0:
        return low + exponential_below(high - low, random)
    if high <= 0.0:
        return high - exponential_below(high - low, random)
    left, right = -math.expm1(low), -math.expm1(-high)
    if uniform(random) * (left + right) < left:
        return -exponential_below(-low, random)
    return exponential_below(high, random)


@inner
def gamma_between(shape, scale, low, high, random):
    """A gamma number as the exponential of a number z whose density is log-concave for every shape, with its peak at log(mean)."""
    if low == high:
        return low
    mean = shape * scale
    peak = min(max(mean, low), high)
    weight = min(peak / mean, _FARTHEST)
    least = np.log(low / peak) if low > 0.0 else -np.inf
    width = 1.0 / max(shape * abs(weight - 1.0), math.sqrt(shape * weight))
    code = np.int64(_GAMMA)  # a literal would have the function compiled once more
    return peak * np.exp(log_concave(code, shape, weight, least, np.log(high / peak), 0.0, width, random))


@inner
def count(code, a, b, low, high, random):
    """A number from a discrete law."""
    if code == BERNOULLI:
        code, a, b = BINOMIAL, 1.0, a
    least, most = max(np.ceil(low), 0.0), np.floor(high)
    if code == POISSON:
        if not a >= 0.0:
            return np.nan
        mean, spread = a, a
        certain, value = a == 0.0, 0.0
    else:
        if not (a >= 0.0 and a == np.floor(a) and 0.0 <= b <= 1.0):
            return np.nan
        most = min(most, a)
        mean, spread = (a + 1.0) * b, a * b * (1.0 - b)
        certain, value = a == 0.0 or b == 0.0 or b == 1.0, a * b
    if not least <= most:
        return np.nan
    if certain:
        return value if least <= value <= most else np.nan
    peak = min(max(np.floor(mean), least), most)
    return log_concave(code, a, b, least, most, peak, np.floor(math.sqrt(spread)) + 1.0, random)


@inner
def log_concave(code, a, b, low, high, peak, width, random):
    """A number from a law whose weights are log-concave, by rejection: flat around the peak, exponential (geometric) tails beyond.

    A tail starts where the weight has dropped by a factor between e and e^4, and falls as steeply as from the peak to there: by
    concavity it stays above the weights. Whole numbers are the floors of real ones, so that both kinds are one.
    """
    whole = 1.0 if code != _GAMMA else 0.0
    top = log_weight(code, a, b, peak)
    right, right_drop = reach(code, a, b, peak, top, 1.0, high - peak, width, whole)
    left, left_drop = reach(code, a, b, peak, top, -1.0, peak - low, width, whole)
    flat = max(left - whole, 0.0) + max(right - whole, 0.0) + whole
    right_mass = tail_mass(right, right_drop, high - peak - right + whole, whole)
    left_mass = tail_mass(left, left_drop, peak - low - left + whole, whole)
    if flat + right_mass + left_mass == 0.0:
        return peak
    for _ in range(_TRIES):
        u = uniform(random) * (flat + right_mass + left_mass)
        bound = 0.0
        if u < flat:
            x = peak - max(left - whole, 0.0) + u
            if whole == 1.0:
                x = np.floor(x)
        else:
            sign, start, drop, room = 1.0, right, right_drop, high - peak - right
            if u - flat < left_mass:
                sign, start, drop, room = -1.0, left, left_drop, peak - low - left
            slope = drop / start
            beyond = exponential_below(slope * (room + whole), random) / slope
            if whole == 1.0:
                beyond = min(np.floor(beyond), room)
            x = peak + sign * (start + beyond)
            bound = -drop - slope * beyond
        if uniform(random) < math.exp(min(log_weight(code, a, b, x) - top - bound, 0.0)):
            return x
    return np.nan


@inlined
def tail_mass(start, drop, length, whole):
    """The mass of a tail that starts at a distance from the peak."""
    if start == 0.0:
        return 0.0
    slope = drop / start
    return -math.exp(-drop) * math.expm1(-slope * length) / (-math.expm1(-slope) if whole == 1.0 else slope)


@inner
def reach(code, a, b, peak, top, sign, room, width, whole):
    """How far from the peak a tail starts, and by how much the logarithm has dropped there; 0 if there is no room."""
    if room <= 0.0:
        return 0.0, 0.0
    near, far, step, drop = 0.0, np.inf, min(width, room), 0.0
    for _ in range(_TRIES):
        drop = top - log_weight(code, a, b, peak + sign * step)
        if drop < 1.0:
            if step == room:
                break
            near = step
            step = min(2.0 * step if far == np.inf else 0.5 * (near + far), room)
        elif not drop <= 4.0:
            far = step
            step = 0.5 * (near + far)
        else:
            break
        if whole == 1.0:
            step = np.ceil(step)
            if step == far:
                break
    return step, max(drop, 1e-12)  # a slope of its own even where two weights are equal


@inner
def log_weight(code, a, b, x):
    """The logarithm of a density or probability, up to a constant; relative to its peak it keeps all its digits."""
    if code == _GAMMA:
        return a * (x - b * np.expm1(x))  # x = log(value / its peak), b = peak / mean
    if code == POISSON:
        return -a if x == 0.0 else -stirling_rest(x) - deviance(x, a) - 0.5 * math.log(2.0 * math.pi * x)
    if x == 0.0:
        return a * math.log1p(-b)
    if x == a:
        return a * math.log(b)
    rests = stirling_rest(a) - stirling_rest(x) - stirling_rest(a - x)
    half_logarithm = 0.5 * (math.log(a / x) - math.log(a - x) - math.log(2.0 * math.pi))
    return rests - deviance(x, a * b) - deviance(a - x, a * (1.0 - b)) + half_logarithm


@inner
def stirling_rest(n):
    """log(n!) - log(sqrt(2 pi n) (n/e)^n), n > 0."""
    if n < 16.0:
        return math.lgamma(n + 1.0) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2.0 * math.pi)
    square = n * n
    return (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0) / square) / square) / square) / n


@inner
def deviance(x, mean):
    """Compute x log(x / mean) + mean - x with all its digits where the two are close."""
    d = (x - mean) / (x + mean)
    if abs(d) > 0.1:
        return x * math.log(x / mean) + mean - x
    # x log(x/mean) = 2 x (d + d^3/3 + d^5/5 + ...), and mean - x + 2 x d = (x - mean) d
    total, power = (x - mean) * d, 2.0 * x * d
    for j in range(3, 40, 2):
        power *= d * d
        following = total + power / j
        if following == total:
            break
        total = following
    return total
