"""The right-hand side of the deterministic equations of a hybrid model."""

from cme.kernels.events import COORDINATE, PROGRAM
from cme.kernels.jit import bare
from cme.kernels.propensity import run_program


@bare
def velocity(machine, y, stack, out):
    """Derivatives of the coordinates in y, out (S + V,): rates times what reactions change, and what flows by itself."""
    out[:] = 0.0
    for r in range(machine.n_reactions):
        first, end = machine.list_pointer[r], machine.list_pointer[r + 1]
        if first == end:  # changes nothing, so that its rate does not matter
            continue
        rate = run_program(machine.laws, machine.n_reactions + r, y, stack)
        for i in range(first, end):
            out[machine.lists[i, COORDINATE]] += rate * run_program(machine.laws, machine.lists[i, PROGRAM], y, stack)
    flows = machine.n_reactions + len(machine.events)
    for i in range(machine.list_pointer[flows], machine.list_pointer[flows + 1]):
        out[machine.lists[i, COORDINATE]] = run_program(machine.laws, machine.lists[i, PROGRAM], y, stack)
    return 0
