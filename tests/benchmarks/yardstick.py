"""The C yardstick: Gillespie's direct method, compiled for one network with the machine's own compiler (`CC`, or `cc`)."""

import ctypes
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from cme import ratelaw
from cme.compiled import Compiled
from cme.elements import MassAction
from cme.ratelaw import Apply, Expr, Number

FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
SWITCHED = 64  # up to so many reactions the network is written out as C code


def compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


class Yardstick:
    """`yardstick.c` compiled for a network."""

    def __init__(self, network):
        self.start = np.array(network.initial.states[0], dtype=np.float64)
        text = _switch(network) if len(network.reactions) <= SWITCHED else _tables(network)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.h").write_text(text)
            library, source = str(Path(folder, "model.so")), str(Path(__file__).with_name("yardstick.c"))
            sizes = [f"-DS={len(network.species)}", f"-DR={len(network.reactions)}"]
            command = compiler()
            assert command is not None
            subprocess.run([command, *FLAGS, *sizes, f"-I{folder}", source, "-lm", "-o", library], check=True)
            self.run = ctypes.CDLL(library).paths
        self.run.restype = ctypes.c_int64
        self.run.argtypes = [ctypes.c_uint64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]

    def paths(self, times, n_paths: int, seed: int) -> tuple[np.ndarray, int]:
        """Counts (M, T, S) and the number of events."""
        times = np.ascontiguousarray(times, dtype=np.float64)
        out = np.zeros((n_paths, len(times), len(self.start)), dtype=np.int64)
        return out, self.run(seed, n_paths, len(times), times.ctypes.data, self.start.ctypes.data, out.ctypes.data)


def _changes(network) -> list[list[tuple[int, int]]]:
    found: list[list[tuple[int, int]]] = [[] for _ in network.reactions]
    for r, s, n in zip(*(each.tolist() for each in network.sparse_stoichiometry), strict=True):
        found[r].append((s, int(n)))
    return found


def _switch(network) -> str:
    """The network as a switch over its reactions, with all constants filled in."""
    index = {name: f"x[{i}]" for i, name in enumerate(network.species_names)}
    laws = Compiled(network).propensity_formulas
    cases = [f"case -1: {_set(range(len(laws)), laws, index)} break;"]
    for r, changes in enumerate(_changes(network)):
        touched = {network.species_names[s] for s, _ in changes}
        readers = [j for j, law in enumerate(laws) if touched & ratelaw.names(law)]
        cases.append(f"case {r}: " + " ".join(f"x[{s}] += {n};" for s, n in changes) + f" {_set(readers, laws, index)} break;")
    body = "\n".join(cases)
    return f"""static inline void fire(int r, double *x, double *a, double *sum) {{
switch (r) {{
{body}
}}
}}
"""


def _set(reactions, laws, index) -> str:
    return " ".join(f"SET({j}, {to_c(laws[j], index)});" for j in reactions)


def to_c(expr: Expr, index: dict[str, str]) -> str:
    """A formula of + * / ^ neg and elementary functions as C."""
    if isinstance(expr, Number):
        return repr(float(expr.value))
    if not isinstance(expr, Apply):
        return index[expr.name]
    args = [to_c(arg, index) for arg in expr.args]
    if expr.op in ("+", "*", "/"):
        return "(" + f" {expr.op} ".join(args) + ")"
    if expr.op == "neg":
        return f"(-{args[0]})"
    return {"^": "pow", "ln": "log", "exp": "exp", "sqrt": "sqrt"}[expr.op] + "(" + ", ".join(args) + ")"


def _tables(network) -> str:
    """A large network of mass action as tables: what a reaction changes, its factors, and the reactions that read a species."""
    index = {name: i for i, name in enumerate(network.species_names)}
    factors, constants = [], []
    readers: list[list[int]] = [[] for _ in index]
    for r, reaction in enumerate(network.reactions):
        if not isinstance(reaction.law, MassAction):
            raise ValueError(f"the yardstick for large networks takes mass action; {reaction.name} has another law")
        orders = [(index[name], int(n)) for name, n in reaction.reactants]
        factors.append([(s, k) for s, n in orders for k in range(n)])
        counts = {name: Number(3.0) for name in index}  # any count at which no factor is zero
        product = math.prod(3.0 - k for _, k in factors[-1])
        constants.append(float(ratelaw.evaluate(network.resolve(reaction.propensity), {n: c.value for n, c in counts.items()})) / product)
        for s, _ in orders:
            readers[s].append(r)
    return f"""static const double constant[R] = {{{", ".join(map(repr, constants))}}};
{_ragged("change", _changes(network))}{_ragged("factor", factors)}{_ragged("reader", [[(r, 0) for r in row] for row in readers])}
static inline double propensity(int r, const double *x) {{
    double a = constant[r];
    for (int i = factor_at[r]; i < factor_at[r + 1]; i++) a *= x[factor[i][0]] - factor[i][1];
    return a;
}}
static inline void fire(int r, double *x, double *a, double *sum) {{
    if (r < 0) {{
        for (int j = 0; j < R; j++) SET(j, propensity(j, x));
        return;
    }}
    for (int i = change_at[r]; i < change_at[r + 1]; i++) x[change[i][0]] += change[i][1];
    for (int i = change_at[r]; i < change_at[r + 1]; i++)
        for (int k = reader_at[change[i][0]]; k < reader_at[change[i][0] + 1]; k++) SET(reader[k][0], propensity(reader[k][0], x));
}}
"""


def _ragged(name: str, rows: list[list[tuple[int, int]]]) -> str:
    at = [0, *np.cumsum([len(row) for row in rows]).tolist()]
    pairs = ", ".join(f"{{{a}, {b}}}" for row in rows for a, b in row)
    return f"static const int {name}_at[] = {{{', '.join(map(str, at))}}};\nstatic const int {name}[][2] = {{{pairs}}};\n"
