"""Kernels called from Python: through our own door, through numba's where that does not fit, and the same bits through both."""

import importlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import cme
from cme.kernels import door, jit, notice, store
from cme.progress import progress

ROOT = Path(cme.__file__).parents[1]


class Inside(NamedTuple):
    numbers: np.ndarray
    plane: np.ndarray
    factor: float
    shift: int


class Outside(NamedTuple):
    inside: Inside
    words: np.ndarray
    nothing: None
    flag: bool


@jit.bare
def mix(outside, row, first, out):
    total = 0.0
    for i in range(outside.inside.plane.shape[0]):
        for j in range(outside.inside.plane.shape[1]):
            total += outside.inside.plane[i, j] * (i + 1) * outside.inside.factor
    for i in range(len(row)):
        out[i] = row[i] + outside.inside.numbers[i % len(outside.inside.numbers)] + outside.inside.shift + first
    if outside.flag and outside.nothing is None:
        out[0] = outside.words[0]
    return total


@jit.bare
def wide(x, out):
    out[0] = x


@jit.bare
def is_small(x):
    return x < 3


@jit.bare
def last_word(words):
    return words[len(words) - 1]


@jit.bare
def two(x):
    return x, x


def arguments(plane, row):
    inside = Inside(np.arange(3, dtype=np.uint32), plane, 0.1, -2)
    return Outside(inside, np.array([7], dtype=np.uint64), None, True), row, 5


def expected(outside, row, first):
    inside = outside.inside
    total = sum(inside.plane[i, j] * (i + 1) * 0.1 for i in range(inside.plane.shape[0]) for j in range(inside.plane.shape[1]))
    out = [row[i].item() + int(inside.numbers[i % 3]) - 2 + first for i in range(len(row))]
    return total, [7, *out[1:]]


PLANE = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("plane", "row"),
    [
        (PLANE, np.arange(4)),
        (PLANE.T, np.arange(4)),  # Fortran order
        (PLANE[::-1, ::2], np.arange(8)[::-2]),  # steps, also backwards
        (PLANE[1:1], np.arange(1, dtype=np.int32)),  # empty
        (np.broadcast_to(PLANE[0], (2, 4)), np.arange(3.0)),  # read-only
        (PLANE.astype(np.float32), np.arange(3, dtype=np.uint8)),
    ],
)
def test_arguments_of_all_kinds_come_through_the_door(plane, row):
    given = arguments(plane, row)
    out, out_by_numba = np.zeros(len(row)), np.zeros(len(row))
    total = mix(*given, out)
    assert (total, out.tolist()) == (pytest.approx(expected(*given)[0], rel=1e-5), expected(*given)[1])
    assert (mix._with_door(*given, out_by_numba), out_by_numba.tolist()) == (total, out.tolist())
    if door.usable():
        assert all(run is not None for run in mix._linked.values())


def test_numbers_keep_all_their_bits():
    out = np.zeros(1, dtype=np.int64)
    for x in (-(2**63), 2**63 - 1, 0, -1):
        wide(x, out)
        assert out[0] == x
    real = np.zeros(1)
    for x in (np.nan, -0.0, 5e-324, np.inf, np.float64(0.1)):
        wide(x, real)
        assert real.view(np.uint64)[0] == np.float64(x).view(np.uint64)
    assert [is_small(x) for x in (2, 3, np.int64(2), 2.5, True, np.bool_(False))] == [True, False, True, True, True, True]
    assert last_word(np.array([1, 2**64 - 1], dtype=np.uint64)) == 2**64 - 1


def test_what_does_not_fit_goes_through_numba():
    assert two(3) == (3, 3)  # returns a tuple
    assert is_small(np.float32(2.0)) is True  # a kind of number that has no word
    out = np.zeros(1, dtype=np.uint64)
    wide(2**64 - 1, out)  # larger than int64
    assert out[0] == 2**64 - 1


def test_a_network_passed_twice_is_seen_as_it_is_now():
    given = arguments(PLANE.copy(), np.arange(3))
    first = mix(*given, np.zeros(3))
    given[0].inside.plane[:] *= 2
    assert mix(*given, np.zeros(3)) == 2 * first


def test_many_threads_may_come_first():
    @jit.bare
    def double(x, out):
        out[0] = 2 * x

    def work(i):
        out = np.zeros(1, dtype=np.int64)
        double(i, out)
        return int(out[0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(64))) == list(range(0, 128, 2))
    if door.usable():
        assert "_with_door" not in vars(double)  # none of them went the long way round


@pytest.mark.parametrize(
    ("shown", "watched", "said"), [(None, True, True), (None, False, False), (True, False, True), (False, True, False)]
)
def test_whoever_waits_is_told(shown, watched, said, monkeypatch, capsys):
    monkeypatch.setattr(notice, "is_watched", lambda: watched)
    monkeypatch.setattr(notice, "shown", shown)
    notice.compiling("hybrid.run_paths", 45_000)
    assert capsys.readouterr().err == ("cme: compiling hybrid.run_paths, once per machine, about 10 s\n" if said else "")
    notice.compiling("random.philox", 5_000)
    assert capsys.readouterr().err == ""


def test_compiling_is_told_under_the_rule_of_the_progress_bar(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(store, "letters", lambda source: 20_000)
    monkeypatch.setattr(notice, "is_watched", lambda: True)
    for show, said in ((False, ""), (None, "cme: compiling test_jit.is_small, once per machine, about 5 s\n")):
        with progress("x", 1, show):
            assert jit.bare(is_small.__wrapped__)(2 if said else 2.0) is True
        assert capsys.readouterr().err.replace("\r", "").strip(" ") == said


def test_parts_are_only_called_by_kernels():
    part = jit.inner(lambda x: x)
    with pytest.raises(TypeError, match="is only called by kernels; in Python call it from a function compiled by numba"):
        part(1)


def test_without_the_door_numba_does_it_all(monkeypatch):
    monkeypatch.setattr(door, "usable", lambda: False)
    another = jit.bare(is_small.__wrapped__)
    assert another(2) is True
    assert another._linked == {(int,): None}


def test_every_kernel_of_the_solvers_goes_through_the_door():
    """A kernel that does not fit is not wrong, but a new process waits for numba."""
    if not door.usable():
        pytest.skip("kernels go through numba's door here")
    times = np.linspace(0, 1, 3)
    hill = cme.parse("X => 0 @ 5*X/(1 + X); 0 -> X @ 2; X = 1")
    moving = cme.parse("X => 0 @ X*(1 + sin(time)); 0 -> X @ 2; X = 1; at time > 0.5: X = 3")
    cme.ssa(hill, times, n_paths=3, seed=1)
    cme.ssa(hill, times, n_paths=3, seed=1, every_event=True)
    cme.ensemble(hill, times, n_paths=3, seed=1)
    cme.ssa(moving, times, n_paths=3, seed=1)
    cme.fsp(hill, times)
    cme.fsp(moving, times)
    cme.stationary(hill)
    cme.langevin(hill, times, n_paths=3, seed=1)
    cme.rate_equations(moving, times)
    kernels = [
        (name, value)
        for path in sorted((ROOT / "cme/kernels").glob("[a-z]*.py"))
        for name, value in vars(importlib.import_module(f"cme.kernels.{path.stem}")).items()
        if isinstance(value, jit._Kernel) and value.__module__.endswith(path.stem)
    ]
    assert len(kernels) > 15
    for name, kernel in kernels:
        assert isinstance(kernel, jit._BareKernel), name
        assert None not in kernel._linked.values(), name


LAWS = "X => 0 @ X*(0.3 + {}); 0 -> X @ 5; X = 4"
FUNCTIONS = "exp(-X) ln(X+1) log10(X+2) X^1.5 sin(X)^2 abs(cos(X)) tanh(X) factorial(X)/(1+factorial(X)) atan(X)".split()
RUN = """
import sys
import numpy as np, cme
for law in {functions!r}:
    paths = cme.ssa(cme.parse({laws!r}.format(law)), np.linspace(0, 3, 4), n_paths=5, seed=3)
    print(int(paths.counts.sum()), paths.counts[:, -1, 0].tolist())
print(*sorted({{"numba", "scipy", "pandas", "matplotlib", "networkx"}} & set(sys.modules)))
"""


def _run(cache):
    program = RUN.format(functions=FUNCTIONS, laws=LAWS)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=True)
    *numbers, modules = done.stdout.split("\n")[:-1]
    return numbers, modules


def test_a_warm_process_gives_the_same_bits_and_imports_neither_numba_nor_scipy(tmp_path):
    cold, _ = _run(tmp_path)
    warm, modules = _run(tmp_path)
    assert warm == cold
    assert modules == ("" if door.usable() else "numba scipy")
