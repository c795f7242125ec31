"""Propensities from data arrays: products of falling factors for mass action, a postfix program for any other law.

`Arrays` holds a network for any solver. `Channels` holds it for the exact engines, which also read the laws of one species from tables.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from cme.kernels.jit import apart, bare, inlined, inner


class Arrays(NamedTuple):
    """A network as flat arrays. Sparse rows are in CSR form: row r holds entries ``pointer[r]:pointer[r + 1]``.

    Reaction r with an empty program has propensity ``constant[r] * prod(x[factor_species] - factor_offset)``, so that
    2 X gives x (x - 1). Otherwise its program is run on a stack.
    """

    change_pointer: np.ndarray  # (R + 1,) net changes
    change_species: np.ndarray
    change_amount: np.ndarray
    constant: np.ndarray  # (R,)
    factor_pointer: np.ndarray  # (R + 1,) mass-action factors
    factor_species: np.ndarray
    factor_offset: np.ndarray
    program_pointer: np.ndarray  # (R + 1,) postfix programs
    opcode: np.ndarray
    operand: np.ndarray  # float64: a constant, or a species index for LOAD
    stack_size: int
    varying: Any = None  # `cme.kernels.stoichiometry.RandomChanges`, None if there are none: then nothing that draws is compiled


class Channels(NamedTuple):
    """The reactions that can fire, as the exact engines take them.

    The propensity of r is a head times (y[species] - offset) for three factors. The head is ``constant[r]``, or the value of law
    ``law[r]``. A state is x (S + 1,) int64 and the same counts y as float64; its last entry is always 1 and stands in for factors that a
    reaction does not have.
    """

    constant: np.ndarray  # (R,)
    law: np.ndarray  # (R,) int64; -1 where the head is a constant
    n_factors: np.ndarray  # (R,) how many of the three it has; the others are 1
    factor_species: np.ndarray  # (R, 3)
    factor_offset: np.ndarray  # (R, 3)
    change_pointer: np.ndarray  # (R + 1,) net changes; short rows may be filled up with changes of species S by 0
    change_species: np.ndarray
    change_amount: np.ndarray
    table_species: np.ndarray  # (L,) the species that law l reads; S if it reads none
    table_pointer: np.ndarray  # (L + 1,) its values at 0, 1, ... molecules; none if it reads several species
    table: np.ndarray
    program_pointer: np.ndarray  # (L + 1,) its postfix program, for counts past the table; there may be one more, see `stop`
    opcode: np.ndarray
    operand: np.ndarray
    stack_size: int
    stop: int  # the program of the condition that ends a path, after those of the laws; NO_LAW if there is none
    varying: Any = None  # as in `Arrays`; what is the same each time stands in the changes


NO_LAW = -1


CONSTANT, LOAD = 0, 1
OPCODES = {
    name: code
    for code, name in enumerate(
        "+ * / ^ neg rem < <= > >= == != and or xor not min max select "
        "exp ln log10 sqrt abs floor ceil factorial sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh".split(),
        start=2,
    )
}  # fmt: skip
(ADD, MUL, DIV, POW, NEG, _REM, _LT, _LE, _GT, _GE, _EQ, _NE, _AND, _OR, _XOR, NOT, _MIN, MAX, SELECT,
 _EXP, _LN, _LOG10, _SQRT, _ABS, _FLOOR, _CEIL, _FACTORIAL, _SIN, _COS, _TAN, _ASIN, _ACOS, _ATAN,
 _SINH, _COSH, _TANH, _ASINH, _ACOSH, _ATANH) = range(2, 2 + len(OPCODES))  # fmt: skip


@inlined
def propensity(model, r, x, stack):
    """The propensity of reaction r in state x (integers, or reals for diffusions)."""
    if model.program_pointer[r] == model.program_pointer[r + 1]:
        a = model.constant[r]
        for i in range(model.factor_pointer[r], model.factor_pointer[r + 1]):
            a *= x[model.factor_species[i]] - model.factor_offset[i]
        return a
    return run_here(model, r, x, stack)


@inlined
def channel_propensity(channels, r, x, y, stack):
    """The propensity of reaction r in the state x, y."""
    law = channels.law[r]
    a = channels.constant[r]
    if law != NO_LAW:
        a = law_value(channels, np.uint64(law), x, y, stack)
    n_factors = channels.n_factors[r]
    if n_factors == 0:
        return a
    first = y[channels.factor_species[r, 0]] - channels.factor_offset[r, 0]
    if n_factors == 1:
        return a * first
    second = y[channels.factor_species[r, 1]] - channels.factor_offset[r, 1]
    third = y[channels.factor_species[r, 2]] - channels.factor_offset[r, 2]
    return a * first * (second * third)


@inlined
def law_value(channels, law, x, y, stack):
    """The value of a law: from its table, past the end of that by its program."""
    first, count = channels.table_pointer[law], x[channels.table_species[law]]
    if count < np.int64(channels.table_pointer[law + np.uint64(1)] - first):
        return channels.table[first + np.uint64(count)]
    return run_there(channels, law, y, stack)


@inlined
def is_over(channels, y, stack):
    """Does a path end in this state?"""
    return channels.stop != NO_LAW and run_there(channels, channels.stop, y, stack) != 0.0


@bare
def fill_tables(channels, y, stack):
    """The tables of all laws; species that a law reads besides its own stand at their values in y for good."""
    for law in range(len(channels.table_species)):
        species, first = channels.table_species[law], channels.table_pointer[law]
        before = y[species]
        for i in range(channels.table_pointer[law + 1] - first):
            if species < len(y) - 1:
                y[species] = i
            channels.table[first + i] = run_there(channels, law, y, stack)
        y[species] = before
    return 0


@inlined
def run_program(model, r, x, stack):
    """Run a program where many others are run too: here if it is a single number, else out of line."""
    first, stop = model.program_pointer[r], model.program_pointer[r + 1]
    if stop - first == 1:
        value = model.operand[first]
        return value if model.opcode[first] == CONSTANT else np.float64(x[int(value)])
    return run_there(model, r, x, stack)


@inner
def run_there(model, r, x, stack):
    """Run a program out of line."""
    apart()
    return run_here(model, r, x, stack)


@inlined
def run_here(model, r, x, stack):
    """Run the postfix program of reaction r; `stack` holds at least ``model.stack_size`` floats."""
    top = -1
    for i in range(model.program_pointer[r], model.program_pointer[r + 1]):
        code = model.opcode[i]
        if code == CONSTANT:
            top += 1
            stack[top] = model.operand[i]
        elif code == LOAD:
            top += 1
            stack[top] = x[int(model.operand[i])]
        elif code <= MAX and code != NEG and code != NOT:
            top -= 1
            stack[top] = binary(code, stack[top], stack[top + 1])
        elif code == SELECT:  # value, condition, otherwise
            top -= 2
            if stack[top + 1] == 0.0:
                stack[top] = stack[top + 2]
        else:
            stack[top] = unary(code, stack[top])
    return stack[0]


@inlined
def binary(code, a, b):
    if code == ADD:
        return a + b
    if code == MUL:
        return a * b
    if code == DIV:
        return a / b
    if code == POW:
        return a**b
    if code == _REM:
        return np.fmod(a, b)
    if code == _MIN:
        return b if (b < a or b != b) else a
    if code == MAX:
        return b if (b > a or b != b) else a
    if code == _LT:
        truth = a < b
    elif code == _LE:
        truth = a <= b
    elif code == _GT:
        truth = a > b
    elif code == _GE:
        truth = a >= b
    elif code == _EQ:
        truth = a == b
    elif code == _NE:
        truth = a != b
    elif code == _AND:
        truth = a != 0.0 and b != 0.0
    elif code == _OR:
        truth = a != 0.0 or b != 0.0
    else:
        truth = (a != 0.0) != (b != 0.0)
    return 1.0 if truth else 0.0


@inner
def binary_there(code, a, b):
    """The same out of line."""
    apart()
    return binary(code, a, b)


@inner
def unary(code, a):
    apart()
    if code == NEG:
        return -a
    if code == NOT:
        return 1.0 if a == 0.0 else 0.0
    if code == _EXP:
        return math.exp(a)
    if code == _LN:
        return math.log(a)
    if code == _LOG10:
        return math.log10(a)
    if code == _SQRT:
        return math.sqrt(a)
    if code == _ABS:
        return abs(a)
    if code == _FLOOR:
        return np.floor(a)  # math.floor goes through int64
    if code == _CEIL:
        return np.ceil(a)
    if code == _FACTORIAL:
        return math.gamma(a + 1.0)
    if code == _SIN:
        return math.sin(a)
    if code == _COS:
        return math.cos(a)
    if code == _TAN:
        return math.tan(a)
    if code == _ASIN:
        return math.asin(a)
    if code == _ACOS:
        return math.acos(a)
    if code == _ATAN:
        return math.atan(a)
    if code == _SINH:
        return math.sinh(a)
    if code == _COSH:
        return math.cosh(a)
    if code == _TANH:
        return math.tanh(a)
    if code == _ASINH:
        return math.asinh(a)
    if code == _ACOSH:
        return math.acosh(a)
    return math.atanh(a)


@bare
def propensities(model, states, stack, out):
    """Every propensity in every state: out (N, R)."""
    for n in range(states.shape[0]):
        for r in range(out.shape[1]):
            out[n, r] = propensity(model, r, states[n], stack)
    return 0
