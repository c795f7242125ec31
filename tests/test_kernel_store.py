"""Compiled kernels on disk: what a file depends on, and what happens when the disk does not play along."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cme
from cme.kernels import store

ROOT = Path(cme.__file__).parents[1]
# A small package of kernels in a file of its own; `helper` is what an upgrade changes.
MODULES = {
    "jit.py": (ROOT / "cme/kernels/jit.py").read_text(encoding="utf-8"),
    "deep.py": "from cme.kernels.jit import inlined\n\n@inlined\ndef deep(x):\n    return x + FAR\n\nFAR = 1\n",
    "middle.py": "from cme.kernels.deep import (\n    deep,\n)\n\ndef middle(x):\n    return deep(x)\n",
    "top.py": "from cme.kernels.jit import bare\nfrom cme.kernels.middle import middle\n\n@bare\ndef top(x):\n    return middle(x)\n",
    "other.py": "OTHER = 1\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for compiled kernels."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cme"


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """A folder of kernel modules that may be edited."""
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(store, "_HERE", tmp_path)
    monkeypatch.setattr(store, "_texts", {})
    return tmp_path


def _stamp(path):
    """The stamp as a new process would find it."""
    store.stamp.cache_clear()
    store.texts.cache_clear()
    store._machine.cache_clear()
    store._texts.clear()
    return store.stamp(str(path))


def test_stamp_follows_imports_and_nothing_else(kernels):
    before = {name: _stamp(kernels / name) for name in MODULES}
    (kernels / "deep.py").write_text(MODULES["deep.py"].replace("FAR = 1", "FAR = 2"))
    after = {name: _stamp(kernels / name) for name in MODULES}
    assert [name for name in MODULES if before[name] != after[name]] == ["deep.py", "middle.py", "top.py"]
    (kernels / "jit.py").write_text(MODULES["jit.py"] + "# options\n")
    assert all(_stamp(kernels / name) != after[name] for name in MODULES)


@pytest.mark.parametrize(
    "line",
    ["from cme.kernels import other, top", "from cme.kernels import (\n    other,\n)", "from . import other", "import cme.kernels.other"],
)
def test_stamp_sees_every_way_to_import(kernels, line):
    (kernels / "top.py").write_text(f"{line}\n")
    before = _stamp(kernels / "top.py")
    (kernels / "other.py").write_text("OTHER = 2\n")
    assert _stamp(kernels / "top.py") != before


def test_stamp_of_the_real_kernels_covers_their_callees():
    source = str(ROOT / "cme/kernels/direct.py")
    before = store.stamp(source)
    try:
        store.stamp.cache_clear()
        store.texts.cache_clear()
        store._texts[ROOT / "cme/kernels/random.py"] += "#"
        assert store.stamp(source) != before
    finally:
        store._texts.clear()
        store.stamp.cache_clear()
        store.texts.cache_clear()
    assert store.stamp(source) == before


def test_an_edit_after_the_import_is_not_taken_for_what_runs(kernels):
    store.stamp.cache_clear()
    store.texts.cache_clear()
    for name in MODULES:
        store.read(kernels / name)
    (kernels / "deep.py").write_text("def deep(x): return -x\n")
    late = store.stamp(str(kernels / "top.py"))
    (kernels / "deep.py").write_text(MODULES["deep.py"])
    assert late == _stamp(kernels / "top.py")


def test_stamp_changes_with_numba_settings(monkeypatch):
    source = ROOT / "cme/kernels/direct.py"
    before = _stamp(source)
    monkeypatch.setenv("NUMBA_OPT", "1")
    changed = _stamp(source)
    monkeypatch.delenv("NUMBA_OPT")
    assert changed != before == _stamp(source)


def test_what_is_kept_comes_back(folder):
    assert store.fetch("a.b", "key") is None
    assert store.keep("a.b", "key", b"code")
    assert store.fetch("a.b", "key") == b"code"
    assert store.fetch("a.b", "another key") is None
    assert store.fetch("a.c", "key") is None
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:40] + b"!" + data[41:]])
def test_a_damaged_file_is_ignored_and_replaced(folder, damage):
    store.keep("a.b", "key", b"code" * 100)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert store.fetch("a.b", "key") is None
    store.keep("a.b", "key", b"code" * 100)
    assert store.fetch("a.b", "key") == b"code" * 100


def test_writers_and_readers_at_once_see_whole_files_only(folder):
    data = os.urandom(200_000)

    def work(i):
        store.keep("a.b", "key", data)
        return store.fetch("a.b", "key") == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert len(list(folder.iterdir())) == 1


def test_what_nobody_reads_is_removed(folder, monkeypatch):
    store.keep("a.old", "key", b"code")
    store.keep("a.new", "key", b"code")
    (old,) = folder.glob("a.old-*")
    os.utime(old, (time.time() - 31 * 86400,) * 2)
    store.keep("a.b", "key", b"code")
    assert store.fetch("a.old", "key") is None
    assert store.fetch("a.new", "key") == b"code"
    monkeypatch.setattr(store, "_ROOM", 1000)
    for i in range(20):
        store.keep("a.b", str(i), bytes(100))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1000
    assert store.fetch("a.b", "19") == bytes(100)


def test_reading_keeps_a_file_alive(folder):
    store.keep("a.b", "key", b"code")
    (path,) = folder.iterdir()
    os.utime(path, (time.time() - 29 * 86400,) * 2)
    store.fetch("a.b", "key")
    assert time.time() - path.stat().st_mtime < 3600


def test_the_next_folder_is_used_when_the_first_is_read_only(tmp_path, monkeypatch):
    closed = tmp_path / "file"  # a file where a folder should be: no user can write there, root included
    closed.write_text("")
    monkeypatch.setattr(store, "folders", lambda: [closed / "cme", tmp_path / "cme"])
    assert store.keep("a.b", "key", b"code")
    assert store.fetch("a.b", "key") == b"code"
    monkeypatch.setattr(store, "folders", lambda: [closed / "cme"])
    assert not store.keep("a.b", "key", b"code")
    assert store.fetch("a.b", "key") is None


def test_folders_by_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    beside = ROOT / "cme/kernels/__pycache__"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if sys.platform.startswith("linux"):
        assert store.folders() == [tmp_path / ".cache/cme", beside]
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
        assert store.folders() == [tmp_path / "x/cme", beside]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "n"))
    assert store.folders() == [tmp_path / "n/cme"]


PROGRAM = """
import numpy as np, cme
from cme.kernels import random
out = np.zeros(4, np.uint64)
random.philox(np.array([1, 2], np.uint64), np.uint64(3), np.uint64(4), np.uint64(5), np.uint64(6), out)
print(*out)
"""


def _start(cache, program=PROGRAM):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process):
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    return out


@pytest.fixture(scope="module")
def expected():
    from cme.kernels import random

    out = np.zeros(4, np.uint64)
    random.philox(np.array([1, 2], np.uint64), *(np.uint64(i) for i in (3, 4, 5, 6)), out)
    return " ".join(map(str, out)) + "\n"


def test_two_first_runs_at_once(tmp_path, expected):
    running = [_start(tmp_path) for _ in range(2)]
    assert [_finish(process) for process in running] == [expected] * 2
    kept = {path: path.read_bytes() for path in (tmp_path / "cme").iterdir()}
    assert kept
    assert _finish(_start(tmp_path)) == expected  # from the files
    assert {path: path.read_bytes() for path in (tmp_path / "cme").iterdir()} == kept
    for path in kept:
        path.write_bytes(b"rubbish")
    assert _finish(_start(tmp_path)) == expected
    assert all(path.read_bytes() != b"rubbish" for path in kept)


def test_with_nowhere_to_write_each_process_compiles(tmp_path, expected):
    closed = tmp_path / "file"
    closed.write_text("")
    assert _finish(_start(closed)) == expected
