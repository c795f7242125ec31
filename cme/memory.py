"""How much memory is left, asked of the system, and the sentence for what would not fit, said before memory is taken."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

from cme.errors import ConvergenceError

GIGABYTE = 1e9


def require_memory(needed: float, what: str, way_out: str) -> None:
    """`ConvergenceError` if more memory is needed than there is.

    Parameters
    ----------
    needed
        Bytes that are about to be taken.
    what
        What needs them, the subject of the sentence, in the plural.
    way_out
        What to do instead.
    """
    left = available()
    if left is not None and needed > left:
        raise ConvergenceError(
            f"{what} need about {needed / GIGABYTE:.2g} GB of memory, and {left / GIGABYTE:.2g} GB are available; {way_out}"
        )


def available() -> int | None:
    """The bytes that this process may still take without others being pushed out to disk; None where the system does not say.

    The least of what the machine has free, what the container may use, and what the process is limited to.
    """
    found = [each() for each in (_free, _container, _limit)]
    return min((each for each in found if each is not None), default=None)


def _free() -> int | None:
    """What the machine has free."""
    if sys.platform == "win32":
        return _free_on_windows()
    if sys.platform == "darwin":
        return _free_on_a_mac()
    text = _read("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def _container(root: str = "/sys/fs/cgroup") -> int | None:
    """What the limits of control groups leave, of this group and of those that it is in; caches of files are given back when needed."""
    least = None
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = Path(root) / "memory" if controllers else Path(root)
        most, used = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        path = Path(own)
        for group in (path, *path.parents):
            place = top / str(group).lstrip("/")
            limit, now = _read(place / most).strip(), _read(place / used).strip()
            if limit.isdigit() and now.isdigit() and int(limit) < 2**60:
                cached = re.search(r"^(?:total_)?inactive_file (\d+)", _read(place / "memory.stat"), re.MULTILINE)
                left = int(limit) - int(now) + (int(cached[1]) if cached else 0)
                least = left if least is None else min(least, left)
    return None if least is None else max(least, 0)


def _limit() -> int | None:
    """What the limit on addresses of this process leaves (ulimit -v)."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _read("/proc/self/statm").split()
    if most == resource.RLIM_INFINITY or not pages:
        return None
    return max(most - int(pages[0]) * resource.getpagesize(), 0)


def _free_on_a_mac() -> int | None:
    try:
        text = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    size = re.search(r"page size of (\d+) bytes", text)
    pages = [int(n) for n in re.findall(r"^Pages (?:free|inactive|speculative|purgeable):\s+(\d+)", text, re.MULTILINE)]
    return int(size[1]) * sum(pages) if size and pages else None


def _free_on_windows() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [(f"size{i}", ctypes.c_ulonglong) for i in range(7)]

    status = Status()
    status.length = ctypes.sizeof(Status)
    windows = getattr(ctypes, "windll", None)
    if windows is None or not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.size1)  # physical memory available


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
