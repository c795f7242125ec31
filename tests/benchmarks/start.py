"""How long a user waits before anything is simulated: CPU seconds of whole processes, on an empty and on a warm kernel cache.

Run it as ``python tests/benchmarks/start.py``; ``--solver ssa`` measures one row. Every figure is of a process of its own, which starts
Python, imports cme and numpy, and answers once; the smallest of a few runs. A bare ``import numpy`` is the yardstick.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MOVING = "'X => 0 @ X*(1 + sin(time)); 0 -> X @ 2; X = 1; at time > 0.5: X = 3'"
_HEAD = "import numpy as np, cme; times = np.linspace(0, 10, 11); "
PROGRAMS = {
    "python": "pass",
    "numpy": "import numpy",
    "import cme": "import cme",
    "ssa": _HEAD + "cme.ssa(cme.load('birth_death'), times, n_paths=1000, seed=1)",
    "ssa, Hill laws": _HEAD + "cme.ssa(cme.load('toggle_switch'), times, n_paths=100, seed=1)",
    "ssa, every event": _HEAD + "cme.ssa(cme.load('birth_death'), times, n_paths=100, seed=1, every_event=True)",
    "ssa, rejection": _HEAD + "cme.ssa(cme.load('birth_death'), times, n_paths=100, seed=1, method='rejection')",
    "ssa, next_reaction": _HEAD + "cme.ssa(cme.load('birth_death'), times, n_paths=100, seed=1, method='next_reaction')",
    "ssa, moving rates": _HEAD + f"cme.ssa(cme.parse({_MOVING}), times, n_paths=10, seed=1)",
    "ensemble": _HEAD + "cme.ensemble(cme.load('birth_death'), times, n_paths=1000, seed=1)",
    "tau_leap": _HEAD + "cme.tau_leap(cme.load('birth_death'), times, n_paths=100, seed=1)",
    "fsp": _HEAD + "cme.fsp(cme.load('birth_death'), times)",
    "stationary": _HEAD + "cme.stationary(cme.load('birth_death'))",
    "langevin": _HEAD + "cme.langevin(cme.load('birth_death'), times, n_paths=100, seed=1)",
    "rate_equations": _HEAD + "cme.rate_equations(cme.load('birth_death'), times)",
    "rate_equations, events": _HEAD + f"cme.rate_equations(cme.parse({_MOVING}), times)",
    "command line": "import sys; sys.argv = 'cme ssa birth_death --times 0:10:1 --seed 1'.split(); from cme.cli import main; main()",
}
_NEW = """
import time
import numpy as np, cme
times = np.linspace(0, 1, 2)
text = "0 => A @ {0}/(1 + B^2); 0 => B @ {0}/(1 + A^2.5); A -> 0 @ 1; B -> 0 @ 1; A = 3"
cme.ssa(cme.parse(text.format(10)), times, n_paths=1, seed=1, threads=1)
best = 1.0
for i in range(20):
    began = time.process_time()
    cme.ssa(cme.parse(text.format(11 + i)), times, n_paths=1, seed=1, threads=1)
    best = min(best, time.process_time() - began)
print(best)
"""


def measure(program: str, cache: str) -> tuple[float, str]:
    """CPU seconds of a process that runs a program, children included, and what it printed."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled to bytecode once
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], cwd=cache, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description="CPU seconds of whole processes: cold and warm.")
    options.add_argument("--solver", choices=PROGRAMS, action="append", help="only this row; may be repeated")
    options.add_argument("--runs", type=int, default=5, help="warm runs, of which the fastest counts")
    given = options.parse_args()
    print(f"{'':24}{'cold / s':>10}{'warm / s':>10}")
    for name in given.solver or PROGRAMS:
        with tempfile.TemporaryDirectory() as cache:
            cold, _ = measure(PROGRAMS[name], cache)
            warm = min(measure(PROGRAMS[name], cache)[0] for _ in range(given.runs))
        print(f"{name:24}{cold:10.2f}{warm:10.2f}", flush=True)
    if not given.solver:
        with tempfile.TemporaryDirectory() as cache:
            measure(_NEW, cache)
            print(f"\na new network with Hill laws, in a running process: {1e3 * float(measure(_NEW, cache)[1]):.1f} ms")


if __name__ == "__main__":
    main()
