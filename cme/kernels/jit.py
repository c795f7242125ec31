"""The one way to compile: `kernel`, and `bare` and `inlined` for inner loops. Cached on disk, without the GIL, IEEE arithmetic."""

import contextlib
import hashlib
from pathlib import Path

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.options import DefaultOptions

# numba's own cache looks only at the file of the compiled function, so that an edited callee in another file would go unseen
# (KERNELS: "stale cache"). Every entry is therefore stamped with the text of the whole folder.
_STAMP = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


class _FolderCache(FunctionCache):
    def __init__(self, py_func):
        super().__init__(py_func)
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, _STAMP)


def kernel(function):
    """Compile a kernel: takes arrays and scalars, writes its outputs last, returns a status, never raises."""
    return _compile(function)


def bare(function):
    """Compile a kernel that neither makes nor returns arrays, without reference counts on those that it is given.

    A network is a tuple of a dozen arrays; counting references to them took 100 ns in each call that passes it on.
    """
    return _compile(function, **_BARE)


def inlined(function):
    """Compile a short piece of a loop: bare, and always inlined in its callers."""
    return _compile(function, forceinline=True, **_BARE)


_BARE = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}  # numba does not document it; without it the loops are slower


def _compile(function, **options):
    dispatcher = njit(nogil=True, error_model="numpy", **options)(function)
    if hasattr(dispatcher, "enable_caching"):  # absent when numba is switched off (NUMBA_DISABLE_JIT), as the twin tests do
        with contextlib.suppress(RuntimeError):  # no folder to write to: compile anew in each process
            dispatcher._cache = _FolderCache(function)
    return dispatcher
