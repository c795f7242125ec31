"""Formulas as postfix programs for the kernels."""

from collections.abc import Mapping

import numpy as np

from cme.ratelaw import OPERATORS, Expr, Number, Symbol


def to_program(formula: Expr, index: Mapping[str, int]) -> tuple[list[tuple[int, float]], int]:
    """A postfix program (opcode, operand) and the stack it needs."""
    from cme.kernels.propensity import CONSTANT, LOAD, OPCODES

    program: list[tuple[int, float]] = []
    deepest = 0

    def emit(expr: Expr, depth: int) -> None:
        nonlocal deepest
        deepest = max(deepest, depth + 1)
        if isinstance(expr, Number):
            program.append((CONSTANT, expr.value))
        elif isinstance(expr, Symbol):
            program.append((LOAD, float(index[expr.name])))
        elif expr.op == "piecewise":
            emit_piecewise(expr.args, depth)
        else:
            emit(expr.args[0], depth)
            if expr.op == "now":  # says when, not what; see `cme.elements.Event`
                return
            if OPERATORS[expr.op][1] == 1:
                program.append((OPCODES[expr.op], 0.0))
            for arg in expr.args[1:]:
                emit(arg, depth + 1)
                program.append((OPCODES[expr.op], 0.0))

    def emit_piecewise(args: tuple[Expr, ...], depth: int) -> None:
        for i, arg in enumerate(args):  # value, condition, value, condition, ..., otherwise: chosen from the last to the first
            emit(arg, depth + i)
        program.extend([(OPCODES["select"], 0.0)] * (len(args) // 2))

    emit(formula, 0)
    return program, deepest


def csr(rows: list[list[tuple]], width: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as a pointer and one table: row r holds entries pointer[r] to pointer[r + 1]."""
    pointer = np.zeros(len(rows) + 1, dtype=np.uint32)
    np.cumsum([len(row) for row in rows], out=pointer[1:])
    return pointer, np.array([entry for row in rows for entry in row], dtype=np.float64).reshape(-1, width)
