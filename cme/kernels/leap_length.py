"""How far tau-leaping may leap, and how: explicitly or implicitly. See `cme.tau_leap` for the rules and why."""

import math
from typing import NamedTuple

import numpy as np

from cme.kernels.direct import LARGEST_PROPENSITY
from cme.kernels.jit import inlined
from cme.kernels.propensity import propensity
from cme.kernels.stoichiometry import varies

EXPLICIT, IMPLICIT, AUTO = 0, 1, 2
_CRITICAL = 10.0  # a reaction that can fire less often than this before a species is used up is never leapt over
_BALANCED = 0.05  # forward and backward propensities that differ by less, or by less than they fluctuate, are in partial equilibrium
_STIFF = 100.0  # how much longer an implicit leap must be
_ONE = np.uint64(1)


class Plan(NamedTuple):
    """What of a network tau-leaping needs besides its arrays: D derivatives of propensities, E entries of the Jacobian of the drift.

    Of the Jacobian only the entries that lie on cycles, where two species depend on each other, count for how fast the drift relaxes:
    the rest of the spectrum is that of a triangular matrix.
    """

    read_pointer: np.ndarray  # (R + 1,) the species that propensity r reads
    read: np.ndarray  # (D,)
    place_pointer: np.ndarray  # (R + 1,)
    place: np.ndarray  # for each reaction, each net change, each species read: the entry to which this adds, E if it does not count
    row_pointer: np.ndarray  # (S + 1,) entries of a row of the Jacobian
    column: np.ndarray  # (E,)
    reactant: np.ndarray  # the species that any propensity reads
    reader_pointer: np.ndarray  # (S + 1,) the reactions whose propensity reads species s
    reader: np.ndarray
    partner: np.ndarray  # (R,) the reverse reaction, R if there is none
    worth: float  # events that a leap must replace
    epsilon: float
    method: int


class Leaper(NamedTuple):
    """The memory of one path."""

    x: np.ndarray  # (S,) counts
    whole: np.ndarray  # (S,) int64, where numbers of molecules are drawn
    y: np.ndarray  # (S,) counts after the leap that is tried
    a: np.ndarray  # (R,) propensities
    slope: np.ndarray  # (D,) their derivatives
    critical: np.ndarray  # (R,) 1 for a reaction that fires at most once in a leap, as every one does whose numbers are drawn
    balanced: np.ndarray  # (R,) 1 for a reaction that relaxes within an implicit leap
    fired: np.ndarray  # (R,) how often each fires in the leap
    ahead: np.ndarray  # (R,) propensities at the end of an implicit leap
    order: np.ndarray  # (S,) g of Cao, Gillespie and Petzold
    mean: np.ndarray  # (S,) drift
    spread: np.ndarray  # (S,) variance per time
    jacobian: np.ndarray  # (E + 1,)
    matrix: np.ndarray  # (S, S), or empty where no leap is implicit
    residual: np.ndarray  # (S,)
    stack: np.ndarray
    random: np.ndarray  # (4,) uint64 generator state
    cursor: np.ndarray  # (1,) the reaction that went wrong


def new_leaper(n_species, n_reactions, plan, stack_size):
    """The memory of a path (plain Python)."""
    per_species = [np.zeros(n_species) for _ in range(6)]
    per_reaction = [np.zeros(n_reactions) for _ in range(5)]
    may_be_implicit = plan.method == IMPLICIT or (plan.method == AUTO and bool(np.any(plan.partner < n_reactions)))
    side = n_species if may_be_implicit else 0
    return Leaper(
        x=per_species[0],
        whole=np.zeros(n_species, np.int64),
        y=per_species[1],
        a=per_reaction[0],
        slope=np.zeros(len(plan.read)),
        critical=per_reaction[1],
        balanced=per_reaction[2],
        fired=per_reaction[3],
        ahead=per_reaction[4],
        order=per_species[2],
        mean=per_species[3],
        spread=per_species[4],
        jacobian=np.zeros(len(plan.column) + 1),
        matrix=np.zeros((side, side)),
        residual=per_species[5],
        stack=np.zeros(max(stack_size, 1)),
        random=np.zeros(4, np.uint64),
        cursor=np.zeros(1, np.int64),
    )


@inlined
def evaluate(model, x, stack, out):
    """The propensities, out (R,)."""
    for r in range(len(out)):
        out[r] = propensity(model, r, x, stack)


@inlined
def differentiate(model, plan, x, a, stack, out):
    """The derivatives of the propensities by the species that they read, out (D,), from the propensities a (R,).

    Central differences, which are exact up to mass action of second order. Infinite where a law has no value beside x.
    """
    for r in range(len(a)):
        alone = model.factor_pointer[r + 1] - model.factor_pointer[r] == 1 and model.program_pointer[r] == model.program_pointer[r + 1]
        for i in range(plan.read_pointer[r], plan.read_pointer[r + 1]):
            if alone:
                out[i] = model.constant[r]
                continue
            s = plan.read[i]
            middle, difference, width = x[s], 0.0, 0.0
            step = 1.0 + np.floor(max(middle, 0.0) * 9.5367431640625e-07)  # 2^-20
            for sign in (1.0, -1.0):
                if sign > 0.0 or middle >= step:
                    x[s] = middle + sign * step
                    value = propensity(model, r, x, stack)
                    if abs(value) <= LARGEST_PROPENSITY:
                        difference += sign * (value - a[r])
                        width += step
            x[s] = middle
            out[i] = difference / width if width > 0.0 else np.inf


@inlined
def survey(model, plan, leaper):
    """Which reactions are critical, and how propensities depend on counts.

    Returns the sum of the critical propensities, and whether all derivatives are finite.
    """
    x, a, order = leaper.x, leaper.a, leaper.order
    differentiate(model, plan, x, a, leaper.stack, leaper.slope)
    order[:] = 1.0
    total, smooth = 0.0, True
    for r in range(len(a)):
        leaper.critical[r] = 1.0 if varies(model.varying, r) else 0.0
        for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
            if x[model.change_species[i]] + _CRITICAL * model.change_amount[i] < 0.0:
                leaper.critical[r] = 1.0
        if leaper.critical[r] != 0.0:
            total += a[r]
        sensitivity = 0.0
        for i in range(plan.read_pointer[r], plan.read_pointer[r + 1]):
            smooth = smooth and leaper.slope[i] < np.inf
            sensitivity += abs(leaper.slope[i]) * x[plan.read[i]]
        if sensitivity > a[r] > 0.0:
            sensitivity /= a[r]
            for i in range(plan.read_pointer[r], plan.read_pointer[r + 1]):
                order[plan.read[i]] = max(order[plan.read[i]], sensitivity)
    return total, smooth


@inlined
def choose(model, plan, leaper, room):
    """The length of the next leap, and whether it is implicit (1) or explicit (0)."""
    tau = np.inf
    if plan.method != IMPLICIT:
        tau = longest_leap(model, plan, leaper, False)
        if plan.method == EXPLICIT or room <= _STIFF * tau:
            return tau, 0
    if len(leaper.matrix) == 0:
        return tau, 0
    settling = balance(model, plan, leaper, room)
    if plan.method == AUTO and (settling == 0.0 or room - settling <= _STIFF * tau):  # no implicit leap can be long enough
        return tau, 0
    longer = min(longest_leap(model, plan, leaper, True), room - settling)
    return (longer, 1) if plan.method == IMPLICIT or longer > _STIFF * tau else (tau, 0)


@inlined
def longest_leap(model, plan, leaper, implicit):
    """The longest leap over which no propensity moves by more than epsilon, and that resolves what relaxes."""
    x, a, mean, spread, jacobian = leaper.x, leaper.a, leaper.mean, leaper.spread, leaper.jacobian
    mean[:] = 0.0
    spread[:] = 0.0
    jacobian[:] = 0.0
    for r in range(len(a)):
        if leaper.critical[r] != 0.0 or (implicit and leaper.balanced[r] != 0.0):
            continue
        low, high, e = plan.read_pointer[r], plan.read_pointer[r + 1], np.uint64(plan.place_pointer[r])
        for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
            change = model.change_amount[i]
            part = change * a[r]
            mean[model.change_species[i]] += part
            spread[model.change_species[i]] += change * part
            for j in range(low, high):
                jacobian[plan.place[e]] += change * leaper.slope[j]
                e += _ONE
    haste = 0.0
    for s in plan.reactant:
        count = max(x[s], 1.0)
        inverse = 1.0 / max(plan.epsilon * x[s] / leaper.order[s], 1.0)
        haste = max(haste, abs(mean[s]) * inverse, spread[s] * inverse * inverse)
        relaxation = 0.0
        for i in range(plan.row_pointer[s], plan.row_pointer[s + 1]):
            relaxation += abs(jacobian[i]) * max(x[plan.column[i]], 1.0)
        haste = max(haste, relaxation / (2.0 * plan.epsilon * count))
    return 1.0 / haste if haste > 0.0 else np.inf


@inlined
def balance(model, plan, leaper, room):
    """Mark the reversible pairs that relax within an implicit leap; returns the time that is kept for them before the next sample.

    That is log(1 / epsilon) of the slowest's relaxation times. Only pairs to which this leaves at least half of the time are marked.
    """
    a, settling = leaper.a, 0.0
    leaper.balanced[:] = 0.0
    patience = -math.log(plan.epsilon)
    for r in range(len(a)):
        other = np.int64(plan.partner[r])
        if other >= len(a) or other < r or leaper.critical[r] + leaper.critical[other] > 0.0:
            continue
        rate = pull(model, plan, leaper, r, r) - pull(model, plan, leaper, r, other)
        smaller = min(a[r], a[other])
        if not rate * room >= 2.0 * patience or smaller == 0.0:
            continue
        if abs(a[r] - a[other]) <= max(_BALANCED * smaller, math.sqrt(smaller * rate)):
            leaper.balanced[r] = 1.0
            leaper.balanced[other] = 1.0
            settling = max(settling, patience / rate)
    return settling


@inlined
def pull(model, plan, leaper, r, other):
    """By how much propensity `other` falls with every reaction r."""
    total = 0.0
    for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
        for j in range(plan.read_pointer[other], plan.read_pointer[other + 1]):
            if plan.read[j] == model.change_species[i]:
                total -= model.change_amount[i] * leaper.slope[j]
    return total
