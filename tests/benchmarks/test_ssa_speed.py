"""`ssa` on one thread, in CPU time, beside the direct method in C: ``make bench``. Not part of ``make test``."""

import functools

import networks
import pytest
import yardstick

import cme

ALL = [each.name for each in networks.NETWORKS]
SAMPLED = [each.name for each in networks.NETWORKS if each.paths]
ROUNDS = 5


@pytest.mark.parametrize("engine", ["cme", "C"])
@pytest.mark.parametrize("name", ALL)
def test_one_long_path(benchmark, name, engine):
    timed, _ = _read(name)
    events = _run(benchmark, name, engine, [timed.length], 1)
    _note(benchmark, name, "path", engine, events)


@pytest.mark.parametrize("engine", ["cme", "C"])
@pytest.mark.parametrize("name", SAMPLED)
def test_an_ensemble_at_51_times(benchmark, name, engine):
    timed, _ = _read(name)
    events = _run(benchmark, name, engine, timed.times(), timed.paths)
    _note(benchmark, name, "ensemble", engine, events)


@pytest.mark.parametrize("engine", ["cme", "C"])
@pytest.mark.parametrize("name", SAMPLED)
def test_means_and_histograms_at_51_times(benchmark, name, engine):
    """`ensemble` with all it keeps by default; in C, the paths alone."""
    timed, _ = _read(name)
    events = _run(benchmark, name, engine, timed.times(), timed.paths, cme.ensemble)
    _note(benchmark, name, "streamed", engine, events)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(benchmark, threads):
    """The wall time of an ensemble: run it on free cores with ``--benchmark-timer=time.perf_counter``."""
    timed, network = _read("telegraph")
    benchmark.group = "threads, telegraph"
    options = {"n_paths": timed.paths, "seed": 1, "threads": threads, "progress": False}
    benchmark.pedantic(cme.ssa, (network, timed.times()), options, rounds=ROUNDS, warmup_rounds=1)


def test_egfr_net_from_the_file_to_100(benchmark):
    timed, _ = _read("egfr_net")
    path = networks.folder_of_networks() / "egfr_net.net"
    benchmark.group = "egfr_net, from the file to t = 100"
    benchmark.pedantic(lambda: cme.ssa(cme.load(path), [timed.end], n_paths=1, seed=1, threads=1, progress=False), rounds=2)


def _run(benchmark, name, engine, times, n_paths, solver=cme.ssa) -> int:
    """Time one engine; the seed is the same in every round, so is the number of events."""
    if engine == "C":
        compiled = _in_c(name)
        return benchmark.pedantic(compiled.paths, (times, n_paths, 1), rounds=ROUNDS, warmup_rounds=1)[1]
    _, network = _read(name)
    options = {"n_paths": n_paths, "seed": 1, "threads": 1, "progress": False}
    return benchmark.pedantic(solver, (network, times), options, rounds=ROUNDS, warmup_rounds=1).info["events"]


def _note(benchmark, name, kind, engine, events):
    benchmark.group = f"{kind}, {name}"
    benchmark.extra_info.update(network=name, kind=kind, engine=engine, events=events)


@functools.cache
def _read(name: str):
    """A timed network, or a skip with the reason."""
    timed = next(each for each in networks.NETWORKS if each.name == name)
    if timed.text is not None:
        return timed, cme.parse(timed.text)
    path = networks.folder_of_networks() / f"{name}.net"
    if not path.exists():
        pytest.skip(f"needs {path}; CME_NETWORKS may name another folder")
    return timed, cme.load(path)


@functools.cache
def _in_c(name: str) -> yardstick.Yardstick:
    if yardstick.compiler() is None:
        pytest.skip("no C compiler (CC, or cc)")
    return yardstick.Yardstick(_read(name)[1])
