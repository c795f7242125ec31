"""One simulator in a process of its own: ``python worker.py NAME JOB``. It runs in that simulator's environment and knows nothing of cme.

JOB is a JSON file: the SBML file, and for the two that read no SBML a `.net` file and a list of reactions, both made from the SBML file.
Requests come as lines of JSON on standard input, ``{"times": [...], "n_paths": M, "seed": s, "keep": false}``, and answers go to standard
output: the CPU seconds of the request, children included, those of the process so far, and the mean and standard deviation at the times
(T, S), or the path itself if it is to be kept. The times are 0, dt, 2 dt, ...
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


class Sums:
    """Mean and standard deviation of paths that come one by one, each (T, S) nested lists or an array."""

    def __init__(self):
        import numpy as np

        self.np, self.n, self.total, self.squares = np, 0, 0.0, 0.0

    def add(self, path) -> None:
        path = self.np.asarray(path, dtype=float)
        self.n, self.total, self.squares = self.n + 1, self.total + path, self.squares + path * path

    def answer(self) -> dict:
        mean = self.total / self.n
        variance = self.np.maximum(self.squares - self.n * mean * mean, 0) / max(self.n - 1, 1)
        return {"mean": mean.tolist(), "sd": self.np.sqrt(variance).tolist()}


class Cme:
    """cme on one thread; an ensemble to means and standard deviations, as with the others."""

    def __init__(self, job: dict):
        import cme

        self.cme, self.network, self.version = cme, cme.load(job["sbml"]), ""

    def run(self, times: list[float], n_paths: int, seed: int, keep: bool) -> dict:
        options = {"n_paths": n_paths, "seed": seed, "threads": 1, "progress": False}
        if keep:
            paths = self.cme.ssa(self.network, times, **options)
            self.version = paths.info["version"]
            return {"path": paths.counts[0].tolist()}
        sums = self.cme.ensemble(self.network, times, covariance=False, histogram=False, **options)
        self.version = sums.info["version"]
        return {"mean": sums.mean().tolist(), "sd": sums.sd().tolist()}


class Roadrunner:
    """libRoadRunner's gillespie integrator, a call per path."""

    def __init__(self, job: dict):
        import roadrunner

        self.version = roadrunner.__version__
        self.model = roadrunner.RoadRunner(job["sbml"])
        self.model.timeCourseSelections = job["species"]
        self.model.setIntegrator("gillespie")
        self.model.getIntegrator().setValue("variable_step_size", False)

    def run(self, times, n_paths, seed, keep) -> dict:
        self.model.getIntegrator().setValue("seed", seed)
        sums = Sums()
        for _ in range(n_paths):
            self.model.reset()
            path = self.model.simulate(0, times[-1], len(times))
            sums.add(path)
        return {"path": [list(row) for row in path]} if keep else sums.answer()


class Copasi:
    """COPASI's direct method by the C++ interface that basico stands on; basico itself takes several times longer in ensembles."""

    def __init__(self, job: dict):
        import COPASI

        self.version = COPASI.__version__
        self.data = COPASI.CRootContainer.addDatamodel()
        if not self.data.importSBML(job["sbml"]):
            raise RuntimeError("importSBML failed")
        self.task = self.data.getTask("Time-Course")
        if not self.task.setMethodType(COPASI.CTaskEnum.Method_directMethod):
            raise RuntimeError("the direct method refuses the model")
        method = self.task.getMethod()
        method.getParameter("Use Random Seed").setBoolValue(True)
        method.getParameter("Max Internal Steps").setIntValue(2_000_000_000)
        self.seed = method.getParameter("Random Seed")
        self.problem = self.task.getProblem()
        self.problem.setTimeSeriesRequested(True)
        self.species = job["species"]

    def run(self, times, n_paths, seed, keep) -> dict:
        self.problem.setDuration(times[-1])
        self.problem.setStepNumber(len(times) - 1)
        sums = Sums()
        for m in range(n_paths):
            self.seed.setUIntValue(seed * 1_000_000 + m)
            if not self.task.process(True):
                raise RuntimeError("the task failed")
            series = self.task.getTimeSeries()
            if series.getRecordedSteps() != len(times):
                raise RuntimeError(f"only {series.getRecordedSteps()} of {len(times)} times")
            column = {series.getTitle(j): j for j in range(series.getNumVariables())}
            columns = [column[name] for name in self.species]
            get = series.getData
            path = [[get(k, j) for j in columns] for k in range(len(times))]
            sums.add(path)
        return {"path": path} if keep else sums.answer()


class Gillespy2:
    """GillesPy2's SSA solver in C++, compiled for the model; all paths in one call."""

    def __init__(self, job: dict):
        packages = str(Path(__import__("numpy").__file__).parents[1])
        os.environ["PYTHONPATH"] = packages  # it calls scons by the interpreter behind a virtual environment
        os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
        import gillespy2

        self.version, self.package, self.species = gillespy2.__version__, gillespy2, job["species"]
        self.model, errors = gillespy2.import_SBML(job["sbml"])
        if self.model is None or errors:
            raise RuntimeError(f"import_SBML: {errors}")
        self.solver = None

    def run(self, times, n_paths, seed, keep) -> dict:
        self.model.timespan(self.package.TimeSpan.linspace(times[-1], len(times)))
        if self.solver is None:
            self.solver = self.package.SSACSolver(model=self.model)
        self.solver.model.timespan(self.model.tspan)
        results = self.solver.run(number_of_trajectories=n_paths, seed=seed, timeout=0)
        sums = Sums()
        for result in results:
            path = list(zip(*(result[name] for name in self.species), strict=True))
            sums.add(path)
        return {"path": [list(map(float, row)) for row in path]} if keep else sums.answer()


class Bionetgen:
    """BioNetGen's run_network, a process per path."""

    def __init__(self, job: dict):
        from importlib import metadata, util

        package = util.find_spec("bionetgen")  # the program alone is needed, and the package takes half a second to import
        if package is None or package.origin is None:
            raise ModuleNotFoundError("No module named 'bionetgen'")
        self.version = metadata.version("bionetgen")
        folder = {"linux": "bng-linux", "darwin": "bng-mac"}[sys.platform]
        self.program = str(Path(package.origin).parent / folder / "bin" / "run_network")
        self.net, self.species = job["net"], job["species"]

    def run(self, times, n_paths, seed, keep) -> dict:
        sums = Sums()
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder, "out"))
            for m in range(n_paths):
                options = ["-p", "ssa", "-h", str((seed * 1_000_000 + m) % 2**31), "--cdat", "1", "--fdat", "0", "-g", self.net, "-o", out]
                command = [self.program, *options, self.net, repr(times[1]), str(len(times) - 1)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                rows = Path(out + ".cdat").read_text().splitlines()[1:]
                path = [[float(word) for word in row.split()[1 : 1 + len(self.species)]] for row in rows]
                if len(path) != len(times):
                    raise RuntimeError(f"{len(path)} of {len(times)} times")
                sums.add(path)
        return {"path": path} if keep else sums.answer()


class Rebop:
    """rebop, a call per path; it reads no SBML and is given the reactions, with rate constants where they are mass action."""

    def __init__(self, job: dict):
        import rebop

        self.version, self.species = rebop.__version__, job["species"]
        self.model = rebop.Gillespie()
        for reactants, products, rate in job["reactions"]:
            self.model.add_reaction(rate, reactants, products)
        self.start = dict(zip(self.species, map(int, job["start"]), strict=True))

    def run(self, times, n_paths, seed, keep) -> dict:
        import numpy as np

        sums = Sums()
        for m in range(n_paths):
            found = self.model.run(self.start, times[-1], len(times) - 1, rng=seed * 1_000_000 + m)
            path = np.stack([found[name].values for name in self.species], axis=1)
            sums.add(path)
        return {"path": path.tolist()} if keep else sums.answer()


SIMULATORS = {
    "cme": Cme, "libroadrunner": Roadrunner, "copasi": Copasi, "gillespy2": Gillespy2, "bionetgen": Bionetgen, "rebop": Rebop,
}  # fmt: skip


def cpu() -> float:
    """CPU seconds of the process and its children, in microseconds: `os.times` counts hundredths, of which a short path may take none."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return math.fsum(each.ru_utime + each.ru_stime for each in found)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    name, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    simulator = None
    for line in sys.stdin:
        try:
            simulator = simulator or SIMULATORS[name](job)
            before = cpu()
            answer = simulator.run(**json.loads(line))
            answer |= {"cpu": cpu() - before, "cpu_so_far": cpu(), "version": simulator.version}
        except Exception as error:  # whatever a peer raises becomes a cell of the table
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
