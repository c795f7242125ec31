"""Compiled kernels kept on disk, so that a machine compiles each of them once.

A file holds one piece of machine code. Its name is a hash of all that the code depends on: the text of the kernel's module and of the
kernel modules that it imports, the arguments' types, Python, numba, LLVM and the processor. So a file never goes stale and is never
changed: an edit or an upgrade asks for another name. Files are written under a temporary name and moved into place, so that processes
that start at once don't meet half a file; a check sum guards against a damaged disk.

The folder is ``cme`` in NUMBA_CACHE_DIR if that is set. Otherwise it is the user's cache folder, else (no home) the ``__pycache__`` of
this folder. If nothing can be written, each process compiles for itself.
"""

import contextlib
import hashlib
import os
import re
import sys
import time
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_SUFFIX = ".kernel"
_DAY = 86400.0
_UNUSED = 30 * _DAY  # files that no process has read for so long are removed
_ROOM = 200e6  # bytes in all; beyond them, those that were not read for longest are removed
_IMPORTS = re.compile(
    r"^[ \t]*(?:from|import) +(?:cme\.kernels)?\.(\w+)"  # from cme.kernels.x import y
    r"|^[ \t]*from +(?:cme\.kernels|\.) +import +([\w\s,(]+)",  # from cme.kernels import x, y
    re.MULTILINE,
)
_texts: dict[Path, str] = {}  # of kernel modules, as they were when they were imported


def fetch(name: str, key: str) -> bytes | None:
    """What was kept under a name and a key, None if nothing whole is there."""
    for folder in folders():
        path = folder / _file(name, key)
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if hashlib.sha256(data[32:]).digest() == data[:32]:
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _DAY:
                        os.utime(path)  # the date tells when it was last of use
                return data[32:]
    return None


def keep(name: str, key: str, data: bytes) -> bool:
    """Keep data under a name and a key in the first folder that can be written; False if there is none."""
    for folder in folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / _file(name, key), hashlib.sha256(data).digest() + data)
        except OSError:
            continue
        _tidy(folder)
        return True
    return False


def folders() -> list[Path]:
    """Where compiled kernels may be, best first."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen) / "cme"]
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        user = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        user = home / "Library" / "Caches"
    else:
        user = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return [folder for folder in (user / "cme", _HERE / "__pycache__") if folder.is_absolute()]


def read(source: str | Path) -> str:
    """The text of a module, read once: when the module is imported, so that a later edit is not taken for what runs here."""
    path = Path(source)
    if path not in _texts:
        _texts[path] = path.read_text(encoding="utf-8")
    return _texts[path]


@cache
def texts(source: str | Path) -> tuple[str, ...]:
    """The text of a module of kernels and of all modules here that it leads to, in the order of their names."""
    found, waiting = {}, [Path(source), _HERE / "jit.py"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = read(path)
        for module, names in _IMPORTS.findall(found[path]):
            waiting += [file for word in (module, *re.findall(r"\w+", names)) if word and (file := _HERE / f"{word}.py").exists()]
    return (found.pop(Path(source)), *(found[path] for path in sorted(found)))


@cache
def stamp(source: str | Path) -> str:
    """A hash of the text of a kernel's module, of all kernel modules that it imports, and of how this process compiles."""
    return hashlib.sha256("\n".join((*_machine(), *texts(source))).encode()).hexdigest()


def letters(source: str | Path) -> int:
    """How much there is to compile."""
    return sum(map(len, texts(source))) - sum(map(len, texts(_HERE / "jit.py")))


@cache
def _machine() -> tuple[str, ...]:
    """How this process compiles. Numba is not imported for it, which would take longer than loading a kernel."""
    from importlib.util import find_spec

    import llvmlite
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know them here
        features = ""
    settings = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR")
    numba = find_spec("numba")
    version = Path(numba.origin).with_name("_version.py") if numba is not None and numba.origin else None
    return (
        version.read_text(encoding="utf-8") if version is not None and version.exists() else _version_of("numba"),
        f"{llvmlite.__version__} {binding.llvm_version_info} {sys.version}",
        f"{binding.get_process_triple()} {binding.get_host_cpu_name()} {features}",
        *settings,
    )


def _version_of(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _file(name: str, key: str) -> str:
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}{_SUFFIX}"


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    temporary = path.with_name(f".{os.urandom(8).hex()}{_SUFFIX}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _tidy(folder: Path) -> None:
    """Remove what nobody reads any more. Another process may do the same at the same time."""
    files, now = [], time.time()
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    room = _ROOM
    for used, size, path in sorted(files, reverse=True):
        room -= size
        if room < 0 or now - used > _UNUSED:
            with contextlib.suppress(OSError):
                path.unlink()
