"""Other simulators and cme on the same SBML files, in one run: a table of ratios, as Markdown.

    python tests/benchmarks/peers.py --install envs                        # make an environment for each peer with pip, then run
    python tests/benchmarks/peers.py --python copasi=envs/copasi/bin/python --only telegraph,schlogl --rounds 2

Every network is written by cme as SBML; libRoadRunner, COPASI and GillesPy2 read that file. BioNetGen's run_network and rebop read no
SBML and are given the same reactions, made from the file. In each round every simulator has a fresh process, one after the other:
it loads the file and gives one path at 51 times (the first result), then one long path, then an ensemble at 51 times. Times are CPU
seconds with children, the least of the rounds; events of a long path are estimated from its own samples, because the paths of a bistable
network differ. Peak memory is that of the process or of its largest child. The error of the mean is the largest, over species and
times, of |mean - exact| in standard errors, all rounds together, but for those at which the paths differ by less than 25 molecules in
all: chance alone gives 2 to 4, above 5 the mean is wrong.

This program holds the standard library alone, so that what it starts does not inherit its memory; cme is imported in child processes.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import networks  # noqa: E402
import peers_table  # noqa: E402

PACKAGES = {
    "libroadrunner": ["libroadrunner"], "copasi": ["copasi-basico"], "gillespy2": ["gillespy2", "python-libsbml"],
    "bionetgen": ["bionetgen"], "rebop": ["rebop"],
}  # fmt: skip
LONG = 201  # samples of a long path


@dataclass
class Found:
    """What one simulator did with one network."""

    first: list[float] = field(default_factory=list)  # CPU seconds to the first result
    path: list[float] = field(default_factory=list)  # CPU nanoseconds per event
    ensemble: list[float] = field(default_factory=list)  # CPU seconds per path
    whole: list[float] = field(default_factory=list)  # CPU seconds of a process that gives the first result and then the ensemble
    memory: list[float] = field(default_factory=list)  # MB
    mean: list[list[list[float]]] = field(default_factory=list)
    sd: list[list[list[float]]] = field(default_factory=list)
    n_paths: list[int] = field(default_factory=list)
    error: str = ""
    version: str = ""


class Simulator:
    """A worker process that answers one request at a time; whatever takes longer than `limit` seconds is ended."""

    def __init__(self, name: str, python: str, job: Path, limit: float):
        env = {key: value for key, value in os.environ.items() if name == "cme" or key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        self.limit = limit
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name, str(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, start_new_session=True,
        )  # fmt: skip

    def ask(self, **request) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        late = threading.Timer(self.limit, os.killpg, (self.process.pid, signal.SIGKILL))
        late.start()
        started = time.monotonic()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        except KeyboardInterrupt:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        finally:
            late.cancel()
        if not line:
            return {"error": f"more than {self.limit:g} s" if time.monotonic() - started >= self.limit else "it ended without an answer"}
        return json.loads(line)

    def close(self) -> float:
        """End the process; its peak memory, or that of its largest child, in MB."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        _, self.process.returncode, usage = os.wait4(self.process.pid, 0)
        return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    options = arguments()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    pythons, missing = environments(options)
    table: dict[str, dict[str, Found]] = {}
    exact: dict[str, dict | None] = {}
    chosen = [each for each in networks.NETWORKS if each.name in options.only]
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):  # which prints what is there
        for timed in chosen:
            if timed.text is None and not (networks.folder_of_networks() / f"{timed.name}.net").exists():
                missing[timed.name] = f"no {timed.name}.net in {networks.folder_of_networks()}"
                continue
            subprocess.run([sys.executable, __file__, "--prepare", f"{timed.name}={folder}"], check=True)
            job = json.loads(Path(folder, f"{timed.name}.json").read_text())
            exact[timed.name] = job["exact"]
            table[timed.name] = {name: Found() for name in pythons}
            for turn in range(options.rounds):
                shift = turn % len(pythons)
                for name in [*list(pythons)[shift:], *list(pythons)[:shift]]:
                    if not table[timed.name][name].error:
                        print(f"{timed.name}, round {turn + 1}: {name}", file=sys.stderr)
                        measure(table[timed.name][name], name, pythons[name], Path(folder, f"{timed.name}.json"), timed, turn, options)
    print(peers_table.markdown(table, exact, missing, machine(), options.rounds))


def measure(found: Found, name: str, python: str, path: Path, timed: networks.Timed, turn: int, options) -> None:
    """One round of one simulator: a process, the first result, a long path, an ensemble."""
    job = json.loads(path.read_text())
    grid = [timed.length * k / (LONG - 1) for k in range(LONG)]
    requests = {"long": {"times": grid, "n_paths": 1, "seed": turn + 1, "keep": True}}
    if timed.paths:
        n_paths = max(20, round(timed.paths * options.scale))
        requests = {
            "first": {"times": timed.times(), "n_paths": 1, "seed": turn + 1, "keep": False},
            **requests,
            "ensemble": {"times": timed.times(), "n_paths": n_paths, "seed": turn + 101, "keep": False},
        }
    simulator, answers = Simulator(name, python, path, options.limit), {}
    try:
        for what, request in requests.items():
            answers[what] = simulator.ask(**request)
            if "error" in answers[what]:
                found.error = answers[what]["error"]
                return
    finally:
        memory = simulator.close()
    long, first = answers["long"], answers.get("first", answers["long"])
    found.version = long["version"]
    found.memory.append(memory)
    found.first.append(first["cpu_so_far"])
    found.path.append(1e9 * long["cpu"] / (timed.length * hazard(job, long["path"])))
    if timed.paths:
        ensemble = answers["ensemble"]
        found.ensemble.append(ensemble["cpu"] / n_paths)
        found.whole.append(first["cpu_so_far"] + ensemble["cpu"])
        found.mean.append(ensemble["mean"])
        found.sd.append(ensemble["sd"])
        found.n_paths.append(n_paths)


def hazard(job: dict, path: list[list[float]]) -> float:
    """The mean over the samples of a path of the sum of all propensities."""
    code = compile(f"sum([{', '.join(job['propensities'])}])", "propensities", "eval")
    return math.fsum(eval(code, {"sum": math.fsum}, dict(zip(job["species"], row, strict=True))) for row in path[1:]) / (len(path) - 1)


def arguments() -> argparse.Namespace:
    names = [each.name for each in networks.NETWORKS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--install", metavar="FOLDER", help="make the environments that are missing, with pip, in FOLDER/NAME")
    parser.add_argument(
        "--python", metavar="NAME=PATH", action="append", default=[], help=f"the interpreter of a peer: {', '.join(PACKAGES)}"
    )
    parser.add_argument("--only", default=",".join(names), help="networks, by name")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each simulator for each network")
    parser.add_argument("--scale", type=float, default=1.0, help="paths of an ensemble, as a multiple of the usual")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one answer")
    parser.add_argument("--cpu", type=int, help="run everything on this processor")
    parser.add_argument("--prepare", metavar="NAME=FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(*options.prepare.split("=", 1))
        sys.exit()
    options.only = options.only.split(",")
    if unknown := [each for each in options.only if each not in names]:
        parser.error(f"no network {unknown[0]!r}; there are {', '.join(names)}")
    if unknown := [each for each in options.python if each.split("=")[0] not in PACKAGES or "=" not in each]:
        parser.error(f"--python {unknown[0]!r} is no NAME=PATH with a name of {', '.join(PACKAGES)}")
    return options


def environments(options) -> tuple[dict[str, str], dict[str, str]]:
    """The interpreter of each simulator, and why a peer is left out."""
    pythons, missing = {"cme": sys.executable}, {}
    given = dict(each.split("=", 1) for each in options.python)
    for name, packages in PACKAGES.items():
        python = given.get(name)
        if python is None and options.install:
            folder = Path(options.install).resolve() / name
            python = str(folder / "bin" / "python")
            if not Path(python).exists():
                venv.create(folder, with_pip=True)
            done = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
            if done.returncode:
                missing[name] = "pip: " + done.stderr.strip().splitlines()[-1]
                continue
        if python is None:
            missing[name] = "no environment was given"
        elif not os.access(python, os.X_OK):
            missing[name] = f"{python} is no program"
        else:
            pythons[name] = python
    return pythons, missing


def prepare(name: str, folder: str) -> None:
    """Write what all simulators are given of a network: SBML by cme, a `.net` file and reactions made from it, and exact means."""
    import prepare_job

    timed = next(each for each in networks.NETWORKS if each.name == name)
    Path(folder, f"{name}.json").write_text(json.dumps(prepare_job.job(timed, Path(folder))))


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"cme at commit {commit or 'unknown'}; {model}, {os.cpu_count()} cores, load {load}; Python {platform.python_version()}"


if __name__ == "__main__":
    main()
