"""The chemical Langevin equation by the Euler-Maruyama method, at a step h and, on the same noise, at 2 h.

Walls at zero. A step that takes a species s below zero is corrected along B e_s, the direction in which the noise itself couples the
other species to s (B = sum of nu nu^T a): conserved totals stay, and no probability flows through the wall. In the metric of B that is
the mirror image of the state (REFLECT), or its projection on the wall (ABSORB). Mirror images through the faces of a polyhedron end
inside it after finitely many (Motzkin and Schoenberg, Canad. J. Math. 6 (1954) 393, doi:10.4153/CJM-1954-038-x).
"""

import math
from typing import NamedTuple

import numpy as np

from cme.kernels.direct import CANCELLED, LARGEST_COUNT, LARGEST_PROPENSITY, NEGATIVE_PROPENSITY, OK, OVERFLOW, UNDEFINED_PROPENSITY
from cme.kernels.jit import bare, inlined, inner
from cme.kernels.propensity import propensity
from cme.kernels.random import DIFFUSION, fill_normals, open_stream, place, uniform

UNSETTLED, OVERDRAWN = 8, 9
NATURAL, REFLECT, ABSORB = 0, 1, 2
_SWEEPS = 200
_PAUSE = 1023  # pairs of steps between two looks at the outside, less one (a mask)


class Schedule(NamedTuple):
    """What is the same for all paths: K marks in time, and the C values in the propensities that are known in advance.

    Marks are the T sampling times, and moments at which rates jump or events happen; several may be at one time.
    """

    times: np.ndarray  # (K,)
    pairs: np.ndarray  # (K,) pairs of steps from the mark before
    sample: np.ndarray  # (K,) which of the sampling times a mark is, -1 if it is none
    event: np.ndarray  # (K,) which of the maps acts at a mark, -1 if none
    maps: np.ndarray  # (E, S, S + 1) x -> A x + b
    known: np.ndarray  # (3 pairs in all, C) in the middle of each of two steps, and of both as one


class Swimmer(NamedTuple):
    """The memory of one path."""

    x: np.ndarray  # (S + C,) amounts, and what is known in advance
    y: np.ndarray  # (S + C,) the same path at twice the step
    a: np.ndarray  # (R,) propensities where the step began
    noise: np.ndarray  # (3 W,) normals of two steps and their sum, W = R, or 1 for NATURAL
    direction: np.ndarray  # (S,)
    wall: np.ndarray  # (S + C,)
    stack: np.ndarray
    random: np.ndarray  # (4,) uint64 generator state
    fault: np.ndarray  # (1 + S + C,) the reaction that went wrong, and the state


def new_swimmer(n_species, n_known, n_reactions, stack_size, n_noises):
    """The memory of a path (plain Python)."""
    x, y, wall, direction = *(np.zeros(n_species + n_known) for _ in range(3)), np.zeros(n_species)
    noise, stack = np.zeros(3 * n_noises), np.zeros(max(stack_size, 1))
    return Swimmer(x, y, np.zeros(n_reactions), noise, direction, wall, stack, np.zeros(4, np.uint64), np.zeros(1 + len(x)))


@bare
def run_paths(model, boundary, line, multiple, schedule, key, first, starts, cumulative, swimmer, cancel, done, counts, coarse):
    """Run paths first, first + 1, ... into counts (M, T, S), the first of them at twice the step into coarse (M', T, S) as well.

    `model` has S + C species, of which reactions change the first S. For NATURAL, reaction r changes the counts by
    multiple[r] (R,) times line (S,). `done` (2,) holds the paths and steps so far.
    """
    x, y, noise, width = swimmer.x, swimmer.y, swimmer.noise, len(swimmer.noise) // 3
    n_species, n_known = len(swimmer.direction), schedule.known.shape[1]
    times, pairs, known = schedule.times, schedule.pairs, schedule.known
    for m in range(counts.shape[0]):
        done[0] = m
        if cancel[0] != 0:
            return CANCELLED
        open_stream(key, DIFFUSION, first + m, swimmer.random)
        k = 0
        if starts.shape[0] > 1:
            k = place(cumulative, uniform(swimmer.random) * cumulative[-1])
        for s in range(n_species):
            x[s] = starts[k, s]
            y[s] = starts[k, s]
        before, row = 0.0, 0
        for t in range(len(times)):
            h = 0.5 * (times[t] - before) / max(pairs[t], 1)
            root = math.sqrt(h)
            before = times[t]
            for pair in range(pairs[t]):
                if pair & _PAUSE == _PAUSE:
                    done[0] = m + t / len(times)
                    if cancel[0] != 0:
                        return CANCELLED
                fill_normals(swimmer.random, noise, 2 * width)
                for w in range(width):
                    noise[2 * width + w] = noise[w] + noise[width + w]
                for i in range(3 if m < coarse.shape[0] else 2):  # two steps, then both of them as one
                    moving, length = (x, h) if i < 2 else (y, 2.0 * h)
                    for c in range(n_known):
                        moving[n_species + c] = known[row + i, c]
                    status = step(model, boundary, line, multiple, length, root, moving, noise, i * width, swimmer)
                    if status != OK:
                        return status
                row += 3
            done[1] += 2 * pairs[t]
            if schedule.event[t] >= 0:
                for moving in (x, y):
                    status = happen(schedule.maps[schedule.event[t]], boundary, moving, swimmer)
                    if status != OK:
                        return status
            if schedule.sample[t] >= 0:
                for s in range(n_species):
                    counts[m, schedule.sample[t], s] = x[s]
                    if m < coarse.shape[0]:
                        coarse[m, schedule.sample[t], s] = y[s]
    done[0] = counts.shape[0]
    return OK


@inlined
def step(model, boundary, line, multiple, h, root, x, noise, first, swimmer):
    """One step of length h from x; `root` times a normal is the increment of a Brownian motion."""
    a, stack = swimmer.a, swimmer.stack
    for r in range(len(a)):
        value = propensity(model, r, x, stack)
        if not abs(value) <= LARGEST_PROPENSITY:
            complain(r, x, swimmer)
            return UNDEFINED_PROPENSITY
        if value < 0.0 and boundary != NATURAL:  # between whole counts, such as x (x - 1) below 1, it counts as zero
            for s in range(len(x)):
                swimmer.wall[s] = math.floor(x[s] + 0.5) if s < len(swimmer.direction) else x[s]
            if propensity(model, r, swimmer.wall, stack) < 0.0:
                complain(r, swimmer.wall, swimmer)
                return NEGATIVE_PROPENSITY
            value = 0.0
        a[r] = value
    if boundary == NATURAL:
        drift, variance = 0.0, 0.0
        for r in range(len(a)):
            drift += multiple[r] * a[r]
            variance += multiple[r] * multiple[r] * a[r]
        move = drift * h + math.sqrt(max(variance, 0.0)) * root * noise[first]
        for s in range(len(line)):
            x[s] += move * line[s]
    else:
        for r in range(len(a)):
            extent = a[r] * h + math.sqrt(a[r]) * root * noise[first + r]
            for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                x[model.change_species[i]] += model.change_amount[i] * extent
    lowest = 0.0
    for s in range(len(swimmer.direction)):
        if not abs(x[s]) <= LARGEST_COUNT:
            complain(0, x, swimmer)
            return OVERFLOW
        lowest = min(lowest, x[s])
    return settle(model, boundary, x, swimmer) if lowest < 0.0 and boundary != NATURAL else OK


@inlined
def complain(r, x, swimmer):
    swimmer.fault[0] = r
    for s in range(len(x)):
        swimmer.fault[1 + s] = x[s]


@inner
def happen(event, boundary, x, swimmer):
    """What events do to the amounts at a mark."""
    after = swimmer.direction
    for s in range(len(after)):
        after[s] = event[s, len(after)]
        for j in range(len(after)):
            after[s] += event[s, j] * x[j]
    for s in range(len(after)):
        if after[s] < 0.0 and boundary != NATURAL:
            complain(0, x, swimmer)
            return OVERDRAWN
    for s in range(len(after)):
        x[s] = after[s]
    return OK


@inner
def settle(model, boundary, x, swimmer):
    """Bring a state back to x >= 0."""
    rounding = 0.0
    for s in range(len(swimmer.direction)):
        rounding = max(rounding, 1e-15 * abs(x[s]))
    for _ in range(_SWEEPS):
        inside = True
        for s in range(len(swimmer.direction)):
            if -rounding <= x[s] < 0.0:  # projections on two walls approach their edge without end
                x[s] = 0.0
            elif x[s] < 0.0:
                inside = False
                if not push(model, boundary, s, x, swimmer):
                    complain(0, x, swimmer)
                    return UNSETTLED
        if inside:
            return OK
    complain(0, x, swimmer)
    return UNSETTLED


@inner
def push(model, boundary, s, x, swimmer):
    """Bring species s back to the wall along B e_s, and as far beyond if it is to be reflected."""
    direction = swimmer.direction
    direction[:] = 0.0
    for r in range(len(swimmer.a)):
        change = 0.0
        for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
            if model.change_species[i] == s:
                change = model.change_amount[i] * swimmer.a[r]
        if change != 0.0:
            for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
                direction[model.change_species[i]] += change * model.change_amount[i]
    if not direction[s] > 0.0:
        return False
    depth = -x[s]
    share = depth / direction[s]
    for j in range(len(direction)):
        x[j] += share * direction[j]
    x[s] = 0.0
    if boundary == REFLECT and stirred(model, s, x, swimmer):
        for j in range(len(direction)):
            x[j] += share * direction[j]
        x[s] = depth
    return True


@inner
def stirred(model, s, x, swimmer):
    """Does any reaction still change species s on its wall? If none does, the wall absorbs: a mirror would bring the dead to life."""
    for j in range(len(x)):
        swimmer.wall[j] = max(x[j], 0.0) if j < len(swimmer.direction) else x[j]
    for r in range(len(swimmer.a)):
        for i in range(model.change_pointer[r], model.change_pointer[r + 1]):
            if model.change_species[i] == s and propensity(model, r, swimmer.wall, swimmer.stack) > 0.0:
                return True
    return False
