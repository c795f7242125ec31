"""What would not fit into memory is said before memory is taken."""

import sys

import numpy as np
import pytest

import cme
from cme import memory

WALK = "0 -> U @ 1; U -> 0 @ 1; 0 -> V @ 1; V -> 0 @ 1"


def test_a_set_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    box = r"9006001 states of 2 species need about 0\.72 GB of memory, and 0\.02 GB are available; keep fewer"
    with pytest.raises(cme.ConvergenceError, match=box):
        cme.StateSpace.reachable(cme.parse(WALK), bounds={"U": 3000, "V": 3000}, max_states=10_000_000)
    search = r"\d+ states of 2 species, with where their 4 reactions lead, need about 0\.02\d* GB of memory, and 0\.02 GB"
    with pytest.raises(cme.ConvergenceError, match=search):
        cme.StateSpace.reachable(cme.parse(WALK), within="U + V <= 5000", max_states=10_000_000)
    with pytest.raises(cme.ConvergenceError, match=r"keep fewer states \(bounds=, within=, max_states=, a larger tol\), or use ssa"):
        cme.StateSpace.reachable(cme.parse(WALK.replace("0 ->", "0 =>")), max_states=10_000_000)  # not told from mass action beforehand


def test_a_generator_that_does_not_fit(monkeypatch):
    space = cme.StateSpace.reachable(cme.parse(WALK), within="U + V <= 800")
    monkeypatch.setattr(memory, "available", lambda: 2_000_000)
    with pytest.raises(
        cme.ConvergenceError, match=r"the rates between 321201 states need about 0.026 GB of memory, and 0.002 GB are available"
    ):
        cme.Generator.from_network(space.compiled.network, space)


def test_dense_rates_that_do_not_fit(monkeypatch):
    network = cme.parse("0 -> geometric(100) X @ 1; X -> 0 @ 1")
    space = cme.StateSpace.reachable(network, bounds={"X": 1000})
    monkeypatch.setattr(memory, "available", lambda: 2_000_000)
    with pytest.raises(cme.ConvergenceError, match=r"the rates between 1001 states, each of which leads to many at random, need about"):
        cme.Generator.from_network(network, space)


def test_less_room_where_there_is_less_memory(monkeypatch):
    """Not twice as many states are made room for where there is no memory for so many."""
    monkeypatch.setattr(memory, "available", lambda: 40_000_000)
    space = cme.StateSpace.reachable(cme.parse(WALK), bounds={"U": 399, "V": 399})
    assert len(space) == 160_000
    assert np.array_equal(space.index(space.states), np.arange(len(space)))


def test_what_the_system_says():
    left = memory.available()
    if sys.platform in ("linux", "darwin", "win32"):
        assert left is not None
        assert 2**20 < left < 2**50
    memory.require_memory(2**20, "a few numbers", "take fewer")


def test_limits_of_control_groups(tmp_path, monkeypatch):
    """The least of what the groups leave, from the own one up; caches of files do not count as taken."""
    own = tmp_path / "jobs" / "mine"
    own.mkdir(parents=True)
    files = {
        own / "memory.max": "max\n",
        own / "memory.current": "1000\n",
        own.parent / "memory.max": "9000\n",
        own.parent / "memory.current": "5000\n",
        own.parent / "memory.stat": "anon 10\ninactive_file 700\nactive_file 5\n",
    }
    for path, text in files.items():
        path.write_text(text)
    real = memory._read
    monkeypatch.setattr(memory, "_read", lambda path: "0::/jobs/mine\n" if path == "/proc/self/cgroup" else real(path))
    assert memory._container(str(tmp_path)) == 9000 - 5000 + 700
    (own / "memory.max").write_text("1200\n")
    assert memory._container(str(tmp_path)) == 200
