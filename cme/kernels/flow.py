"""The right-hand side of the deterministic equations of a hybrid model."""

from cme.kernels.jit import bare
from cme.kernels.propensity import run_program


@bare
def velocity(machine, y, stack, out):
    """Derivatives of the coordinates in y, out (S + V,): rates times what reactions change, and what flows by itself."""
    out[:] = 0.0
    n_reactions = len(machine.change_pointer) - 1
    for r in range(n_reactions):
        first, end = machine.change_pointer[r], machine.change_pointer[r + 1]
        if first == end:  # changes nothing, so that its rate does not matter
            continue
        rate = run_program(machine, n_reactions + r, y, stack)
        for i in range(first, end):
            out[machine.change_coordinate[i]] += rate * run_program(machine, machine.change_program[i], y, stack)
    for c in range(len(machine.flow_coordinate)):
        out[machine.flow_coordinate[c]] = run_program(machine, machine.flow_program[c], y, stack)
    return 0
