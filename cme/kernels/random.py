"""Random numbers: one Philox block per path is the whole state of that path's xoshiro256++ generator.

Path i is a function of (key, i) alone, so that neither the number of threads nor the number of paths matters. All integers are uint64:
numba turns a mixture of int64 and uint64 into float64.

References: Salmon et al., SC'11 (2011), doi:10.1145/2063384.2063405 (Philox4x64-10); Blackman and Vigna, ACM Trans. Math. Softw.
47 (2021) 36, doi:10.1145/3460772 (xoshiro256++); Marsaglia and Bray, SIAM Rev. 6 (1964) 260, doi:10.1137/1006063 (polar method); the
logarithm and its coefficients are those of fdlibm, e_log.c (Sun Microsystems, 1993).
"""

import math

import numpy as np

from cme.kernels.jit import bare, bits_of, inlined, inner, number_of

# Solvers draw from streams of their own, so that the same seed makes no two of them dependent.
JUMPS, DIFFUSION, WALK, WEIGHTED_WALK, BRANCHING_WALK, LEAPS = (np.uint64(stream) for stream in range(6))

_ZERO, _HALF, _LOW = np.uint64(0), np.uint64(32), np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ONE, _TWO_52 = bits_of(1.0), bits_of(2.0**52)  # with its low bits set, 1.0 becomes 1 + k 2^-52, and 2^52 becomes 2^52 + k
_MANTISSA, _ROOT_HALF = np.uint64(2**52 - 1), np.uint64(0x3FE6A09E00000000)
_TO_ROOT = _ONE - _ROOT_HALF
_R52 = np.uint64(52)
_R17, _R23, _R41, _R45, _R19, _R12 = (np.uint64(bits) for bits in (17, 23, 41, 45, 19, 12))


@inlined
def high_product(a, b):
    """The upper 64 bits of a * b."""
    a0, a1, b0, b1 = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = ((a0 * b0) >> _HALF) + ((a1 * b0) & _LOW) + ((a0 * b1) & _LOW)
    return a1 * b1 + ((a1 * b0) >> _HALF) + ((a0 * b1) >> _HALF) + (middle >> _HALF)


@bare
def philox(key, c0, c1, c2, c3, out):
    """The Philox4x64-10 block of a key (2,) and a counter, into out (4,)."""
    k0, k1 = key[0], key[1]
    for _ in range(10):
        high0, low0, high1, low1 = high_product(_M0, c0), _M0 * c0, high_product(_M1, c2), _M1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += _W0
        k1 += _W1
    out[0], out[1], out[2], out[3] = c0, c1, c2, c3


@bare
def open_stream(key, stream, path, state):
    """Set the generator state (4,) of a path."""
    philox(key, np.uint64(path), stream, _ZERO, _ZERO, state)


@inlined
def next_word(state):
    """The next 64 random bits."""
    word, state[0], state[1], state[2], state[3] = advance(state[0], state[1], state[2], state[3])
    return word


@inlined
def advance(s0, s1, s2, s3):
    """The next 64 random bits (xoshiro256++), and the state after them."""
    total = s0 + s3
    word = ((total << _R23) | (total >> _R41)) + s0
    shifted = s1 << _R17
    s2 ^= s0
    s3 ^= s1
    return word, s0 ^ s3, s1 ^ s2, s2 ^ shifted, (s3 << _R45) | (s3 >> _R19)


@inlined
def uniform(state):
    """A uniform number in the open interval (0, 1): one of 2^52 midpoints, so that its logarithm is finite."""
    return midpoint(next_word(state))


@inlined
def midpoint(word):
    """(k + 1/2) 2^-52 for the upper 52 bits k of a word. No step rounds. Conversions of integers would not become vector instructions."""
    return (number_of((word >> _R12) | _ONE) - 1.0) + 1.1102230246251565e-16


@inlined
def minus_log(u):
    """-log(u) of a positive normal number, with a relative error below 3e-16: the same bits on every machine, alone or in a vector.

    u = 2^k (1 + f) with 1 + f from sqrt(1/2) to sqrt(2), and log(1 + f) is a polynomial in s = f / (2 + f).
    """
    shifted = bits_of(u) + _TO_ROOT
    k = number_of((shifted >> _R52) | _TWO_52) - 4503599627371519.0  # 2^52 + 1023
    f = number_of((shifted & _MANTISSA) + _ROOT_HALF) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
    half = 0.5 * f * f
    # log(2) in two parts, the first of which is exact when multiplied by k.
    return (half - (s * (half + (odd + even)) + k * 1.90821492927058770002e-10)) - f - k * 6.93147180369123816490e-01


@inner
def place(cumulative, u):
    """The first entry that is above u of running sums; the last one if none is."""
    low, high = 0, len(cumulative) - 1
    while low < high:
        middle = (low + high) >> 1
        if u < cumulative[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def exponential(state):
    """An exponential waiting time of mean one."""
    return minus_log(uniform(state))


@bare
def fill_normals(state, out, n):
    """Fill the first n (an even number) of out with independent standard normals, by Marsaglia's polar method.

    Its division by zero can't happen: a uniform number here is never 1/2.
    """
    for i in range(0, n, 2):
        square = 2.0
        while square >= 1.0:
            u = 2.0 * uniform(state) - 1.0
            v = 2.0 * uniform(state) - 1.0
            square = u * u + v * v
        scale = math.sqrt(-2.0 * math.log(square) / square)
        out[i] = u * scale
        out[i + 1] = v * scale


@bare
def fill_rows_with_normals(words, out):
    """Fill each row of out (M, K), K even, with the next normals of its own stream, words (M, 4)."""
    for m in range(out.shape[0]):
        fill_normals(words[m], out[m], out.shape[1])


@bare
def fill_with_uniforms(words, out):
    """The next uniform number of each stream, words (M, 4), into out (M,)."""
    for m in range(len(out)):
        out[m] = uniform(words[m])
