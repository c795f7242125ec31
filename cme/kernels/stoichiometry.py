"""Numbers of molecules that are not the same each time a reaction happens: drawn for a path, or listed with their probabilities.

A law is listed from its mode outwards by the ratios of neighbouring probabilities, which only fall (log-concave laws), so that
p r / (1 - r) bounds what lies beyond a probability p with ratio r. Where all of it counts, geometric and Poisson laws end where less than
`TAIL` lies beyond, and binomial laws are listed whole. What is not listed is never thrown away, but counted among what leaves the set.
"""

import math
from typing import NamedTuple

import numpy as np

from cme.kernels.distributions import BERNOULLI, BINOMIAL, GEOMETRIC, POISSON, draw, log_weight
from cme.kernels.jit import apart, inlined, inner
from cme.kernels.propensity import run_there

OK, NEGATIVE_COUNT, OVERFLOW, BAD_NUMBER, WIDE = 0, 1, 6, 19, 20

CERTAIN = -1  # the law of a formula of the counts
TAIL = 1e-17
_SMALLEST = 1e-300  # what a binomial law may leave out
_LARGEST_NUMBER = 2.0**53
_LARGEST_COUNT = 2**62


class RandomChanges(NamedTuple):
    """What reactions change counts by besides what is the same each time. Number n is drawn from ``law[n]``, and counts in its terms."""

    number_pointer: np.ndarray  # (R + 1,) the numbers of each reaction
    law: np.ndarray  # (D,) a code of `cme.kernels.distributions`, or CERTAIN
    term_pointer: np.ndarray  # (D + 1,) the terms of each number: species, and whole factors
    term_species: np.ndarray
    term_factor: np.ndarray
    term_alone: np.ndarray  # is it the only one of its reaction for the species?
    program_pointer: np.ndarray  # (2 D + 1,) programs of its two parameters, 2 n and 2 n + 1
    opcode: np.ndarray
    operand: np.ndarray
    stack_size: int


class Listing(NamedTuple):
    """The numbers of one reaction in one state with their probabilities, and a combination of them."""

    probability: np.ndarray  # (K, W) of the values first, first + 1, ...
    first: np.ndarray  # (K,) int64
    begin: np.ndarray  # (K,) which of them are looked at: begin, ..., end - 1
    end: np.ndarray
    at: np.ndarray  # (K,) the places of the running combination
    x: np.ndarray  # (S,) int64 the state that it leads to
    bins: np.ndarray  # probabilities, by powers of two


def new_listing(varying, n_species, width):
    """The memory of a listing (plain Python)."""
    most = 0 if varying is None else int(np.diff(varying.number_pointer).max(initial=0))
    wholes = {name: np.zeros(most, np.int64) for name in ("first", "begin", "end", "at")}
    return Listing(probability=np.zeros((most, width)), **wholes, x=np.zeros(n_species, np.int64), bins=np.zeros(80))


@inlined
def varies(varying, r):
    """Does reaction r change counts by what is not the same each time?"""
    if varying is None:
        return False
    return varying.number_pointer[r] < varying.number_pointer[r + 1]


# ------------------------------------------------------------------------------------------------------------ drawing


@inner
def fire_at_random(channels, varying, r, x, y, stack, random):
    """Change the counts x (and y, the same as float64) by reaction r with numbers drawn in this state; or leave them, and say why."""
    apart()
    if varying is None:
        return OK
    status = OK
    for i in range(channels.change_pointer[r], channels.change_pointer[r + 1]):
        x[channels.change_species[i]] += channels.change_amount[i]
    for n in range(varying.number_pointer[r], varying.number_pointer[r + 1]):
        a, b = run_there(varying, 2 * n, y, stack), run_there(varying, 2 * n + 1, y, stack)
        value = a
        if varying.law[n] != CERTAIN:
            value = draw(varying.law[n], a, b, -np.inf, np.inf, random)
        if not abs(value) <= _LARGEST_NUMBER:
            status = BAD_NUMBER if value != value else OVERFLOW
            break
        for i in range(varying.term_pointer[n], varying.term_pointer[n + 1]):
            if abs(value * varying.term_factor[i]) > 2.0 * _LARGEST_NUMBER:
                status = OVERFLOW
            else:
                x[varying.term_species[i]] += np.int64(value) * varying.term_factor[i]
    for i in range(channels.change_pointer[r], channels.change_pointer[r + 1]):
        status = check_count(x[channels.change_species[i]], status)
    first, stop = varying.term_pointer[varying.number_pointer[r]], varying.term_pointer[varying.number_pointer[r + 1]]
    for i in range(first, stop):
        status = check_count(x[varying.term_species[i]], status)
    for i in range(channels.change_pointer[r], channels.change_pointer[r + 1]):
        agree(x, y, channels.change_species[i], status)
    for i in range(first, stop):
        agree(x, y, varying.term_species[i], status)
    return status


@inlined
def check_count(count, status):
    if status != OK:
        return status
    if count < 0:
        return NEGATIVE_COUNT
    return OVERFLOW if count > _LARGEST_COUNT else OK


@inlined
def agree(x, y, s, status):
    """Make the two forms of a count agree: on the new one, or after a fault on the old one."""
    if status == OK:
        y[s] = x[s]
    else:
        x[s] = np.int64(y[s])


# ------------------------------------------------------------------------------------------------------------ listing


@inner
def begin_outcomes(varying, r, state, tail, listing, stack):
    """List the laws of the numbers of reaction r in a state but for their tails: a status, and a bound on what is not listed.

    Numbers that count in the same terms are listed as their sum, and 0: there are as many combinations as sums of them.
    """
    apart()
    missing = 0.0
    first = varying.number_pointer[r]
    for n in range(first, varying.number_pointer[r + 1]):
        a, b = run_there(varying, 2 * n, state, stack), run_there(varying, 2 * n + 1, state, stack)
        status, beyond_ends = list_law(varying.law[n], a, b, tail, n - first, listing)
        if status != OK:
            return status, 0.0
        missing += beyond_ends
        m = first
        while m < n and not alike(varying, m, n):
            m += 1
        if m < n and not add_to(listing, m - first, n - first):
            return WIDE, 0.0
        listing.at[n - first] = listing.begin[n - first]
    return OK, missing


@inlined
def alike(varying, m, n):
    """Do two numbers count in the same terms?"""
    a, b = varying.term_pointer[m], varying.term_pointer[n]
    size = varying.term_pointer[m + 1] - a
    if varying.term_pointer[n + 1] - b != size:
        return False
    species, factor = varying.term_species, varying.term_factor
    same = True
    for i in range(size):
        same = same and species[a + i] == species[b + i] and factor[a + i] == factor[b + i]
    return same


@inner
def add_to(listing, k, other):
    """Replace a number by its sum with another one, of which 0 is left; False where there is no room to list it."""
    row, added, width, more = listing.probability[k], listing.probability[other], listing.end[k], listing.end[other]
    if width + more - 1 > len(row):
        return False
    for j in range(width + more - 2, -1, -1):
        p = 0.0
        for i in range(max(0, j - more + 1), min(j, width - 1) + 1):
            p += row[i] * added[j - i]
        row[j] = p
    listing.first[k] += listing.first[other]
    listing.end[k] = width + more - 1
    listing.first[other], listing.end[other] = 0, 1
    added[0] = 1.0
    return True


@inner
def clip(model, varying, r, state, largest, listing):
    """Pass over the numbers that lead past the largest counts of a set of states: their probability, and if anything is left."""
    outside, first = 0.0, varying.number_pointer[r]
    for n in range(first, varying.number_pointer[r + 1]):
        k, clipped = n - first, 0.0
        for i in range(varying.term_pointer[n], varying.term_pointer[n + 1]):
            if varying.term_alone[i]:
                s, factor = varying.term_species[i], varying.term_factor[i]
                count = state[s]
                for j in range(model.change_pointer[r], model.change_pointer[r + 1]):
                    if model.change_species[j] == s:
                        count += model.change_amount[j]
                while listing.begin[k] < listing.end[k]:
                    place = listing.end[k] - 1 if factor > 0 else listing.begin[k]
                    if count + factor * (listing.first[k] + place) <= largest[s]:
                        break
                    clipped += listing.probability[k, place]
                    if factor > 0:
                        listing.end[k] -= 1
                    else:
                        listing.begin[k] += 1
        if listing.begin[k] == listing.end[k]:
            return 1.0, False
        listing.at[k] = listing.begin[k]
        outside += clipped - outside * clipped
    return outside, True


@inner
def outcome(model, varying, r, state, listing):
    """The probability of the running combination; the state that it leads to is in the listing."""
    x = listing.x
    for s in range(len(x)):
        x[s] = state[s]
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        x[model.change_species[i]] += model.change_amount[i]
    p = 1.0
    for n in range(varying.number_pointer[r], varying.number_pointer[r + 1]):
        k = n - varying.number_pointer[r]
        p *= listing.probability[k, listing.at[k]]
        value = listing.first[k] + listing.at[k]
        for i in range(varying.term_pointer[n], varying.term_pointer[n + 1]):
            x[varying.term_species[i]] += value * varying.term_factor[i]
    return p


@inner
def next_outcome(varying, r, listing):
    """Go on to the next combination; False after the last."""
    for k in range(varying.number_pointer[r + 1] - varying.number_pointer[r]):
        listing.at[k] += 1
        if listing.at[k] < listing.end[k]:
            return True
        listing.at[k] = listing.begin[k]
    return False


@inner
def list_law(code, a, b, tail, k, listing):
    """List a law but for its tails in row k: a status, and a bound on what is not listed. A binomial law may be too small to leave any."""
    if code == BERNOULLI:
        code, a, b = BINOMIAL, 1.0, a
    if not abs(a) <= _LARGEST_NUMBER or b != b:
        return BAD_NUMBER, 0.0
    if code != CERTAIN and not (a >= 0.0 and (code != BINOMIAL or (a == np.floor(a) and 0.0 <= b <= 1.0))):
        return BAD_NUMBER, 0.0
    if code == CERTAIN or a == 0.0 or (code == BINOMIAL and (b == 0.0 or b == 1.0)):
        listing.first[k], listing.begin[k], listing.end[k] = np.int64(a if code != BINOMIAL else a * b), 0, 1
        listing.probability[k, 0] = 1.0
        return OK, 0.0
    whole = code == BINOMIAL and tail <= TAIL
    if whole:
        tail = _SMALLEST
    mode, top = 0.0, 1.0 / (1.0 + a)
    if code != GEOMETRIC:
        mode = min(np.floor(a if code == POISSON else (a + 1.0) * b), a)
        top = math.exp(log_weight(code, a, b, mode))
    p, down, tail_below = top, 0, 0.0
    while mode - down > 0.0:
        fall = 1.0 / rise(code, a, b, mode - down - 1.0)
        tail_below = beyond(p, fall)
        if tail_below <= tail:
            break
        p *= fall
        down += 1
        tail_below = 0.0
    row = listing.probability[k]
    if down >= len(row):
        return WIDE, 0.0
    row[down] = top
    for j in range(down, 0, -1):
        row[j - 1] = row[j] / rise(code, a, b, mode - (down - j) - 1.0)
    last, tail_above = down, 0.0
    while code != BINOMIAL or mode + (last - down) < a:
        growth = rise(code, a, b, mode + (last - down))
        tail_above = beyond(row[last], growth)
        if tail_above <= tail:
            break
        if last + 1 == len(row):
            return WIDE, 0.0
        row[last + 1] = row[last] * growth
        last += 1
        tail_above = 0.0
    listing.first[k], listing.begin[k], listing.end[k] = np.int64(mode) - down, 0, last + 1
    return OK, 0.0 if whole else tail_below + tail_above


@inlined
def rise(code, a, b, k):
    """P(k + 1) / P(k)."""
    if code == GEOMETRIC:
        return a / (1.0 + a)
    if code == POISSON:
        return a / (k + 1.0)
    return (a - k) / (k + 1.0) * (b / (1.0 - b))


@inlined
def beyond(p, ratio):
    """A bound on the sum of what follows a probability, where no ratio of neighbours is larger than this one."""
    return p * ratio / (1.0 - ratio) if ratio < 1.0 else np.inf
