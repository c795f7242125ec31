"""The one way to compile: `kernel`, and `bare`, `inner` and `inlined` for inner loops. Cached on disk, without the GIL, IEEE arithmetic."""

import contextlib
import pickle

import numpy as np
from numba import njit, types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.options import DefaultOptions
from numba.core.serialize import dumps
from numba.extending import lower_builtin, type_callable

from cme.kernels import store


class _Cache(NullCache):
    """Numba's cache of one function, in files of our own.

    Numba's looks only at the file of the function, so that an edited callee in another file goes unseen (KERNELS: "stale cache"), and
    two processes that write at once can mix up its index.
    """

    def __init__(self, function):
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._source = function.__code__.co_filename
        with contextlib.suppress(OSError):
            store.read(self._source)

    def _key(self, signature, codegen):
        return f"{signature} {codegen.magic_tuple()} {store.stamp(self._source)}"

    def load_overload(self, signature, target_context):
        target_context.refresh()
        try:
            data = store.fetch(self._name, self._key(signature, target_context.codegen()))
            return None if data is None else CompileResult._rebuild(target_context, *pickle.loads(data))
        except Exception:  # whatever is wrong with it, compiling anew puts it right
            return None

    def save_overload(self, signature, result):
        if not result.lifted and not result.library.has_dynamic_globals:
            with contextlib.suppress(OSError):  # no source: compile in each process
                store.keep(self._name, self._key(signature, result.codegen), dumps(result._reduce()))


def kernel(function):
    """Compile a kernel: takes arrays and scalars, writes its outputs last, returns a status, never raises."""
    return _compile(function)


def bare(function):
    """Compile a kernel that neither makes nor returns arrays, without reference counts on those that it is given.

    A network is a tuple of a dozen arrays; counting references to them took 100 ns in each call that passes it on.
    """
    return _compile(function, **_BARE)


def inner(function):
    """Compile a part of a bare kernel that only kernels call: without the door to Python, which takes long to compile."""
    return _without_door(_compile(function, **_BARE, **_NO_DOOR))


def inlined(function):
    """Compile a short piece of a loop: inner, and always inlined in its callers."""
    return _without_door(_compile(function, forceinline=True, **_BARE, **_NO_DOOR))


_BARE = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}  # numba does not document it; without it the loops are slower
_NO_DOOR = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _without_door(dispatcher):
    """Refuse calls from Python, which would otherwise jump to nowhere."""

    def refuse(*_, **__):
        raise TypeError(f"{dispatcher.__name__} is only called by kernels; in Python call it from a function compiled by numba")

    if hasattr(dispatcher, "enable_caching"):
        dispatcher._insert = lambda *_, **__: None
        dispatcher._compile_for_args = refuse
    return dispatcher


def apart():
    """Called first in a kernel, keeps it from being copied into its callers.

    LLVM likes to copy a program's interpreter into each of dozens of places, which then takes a minute to compile.
    """


@type_callable(apart)
def _type_apart(_context):
    return lambda: types.none


@lower_builtin(apart)
def _lower_apart(context, builder, _signature, _arguments):
    builder.function.attributes.add("noinline")
    return context.get_dummy_value()


def bits_of(value):
    """The 64 bits of a floating-point number, as uint64."""
    return np.float64(value).view(np.uint64)


def number_of(bits):
    """The floating-point number of 64 bits."""
    return np.uint64(bits).view(np.float64)


@type_callable(bits_of)
def _type_bits_of(_context):
    return lambda _: types.uint64


@type_callable(number_of)
def _type_number_of(_context):
    return lambda _: types.float64


@lower_builtin(bits_of, types.float64)
@lower_builtin(number_of, types.uint64)
def _lower_bits(context, builder, signature, arguments):
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


def _compile(function, forceinline=False, **options):
    # Numba compiles what a function calls with that function's options, unless it has its own: all that an inlined function calls
    # would be inlined too.
    dispatcher = njit(nogil=True, error_model="numpy", forceinline=forceinline, **options)(function)
    if hasattr(dispatcher, "enable_caching"):  # absent when numba is switched off (NUMBA_DISABLE_JIT), as the twin tests do
        dispatcher._cache = _Cache(function)
    return dispatcher
