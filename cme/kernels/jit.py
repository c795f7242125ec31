"""The one way to compile: `kernel`, and `bare`, `inner` and `inlined` for inner loops. Cached on disk, without the GIL, IEEE arithmetic.

Importing a module of kernels compiles nothing and does not import numba. A kernel is looked for on disk when it is first called
(`cme.kernels.store`), linked if it is there (`cme.kernels.door`), and compiled otherwise (`cme.kernels.compiling`).
"""

import contextlib
import functools
import os
import struct
import threading
from functools import cached_property

import numpy as np

from cme.kernels import door, notice, store

_IN_PYTHON = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")  # the twin tests run kernels as they are written
_lock = threading.RLock()


def kernel(function):
    """Compile a kernel: takes arrays and scalars, writes its outputs last, returns a status, never raises."""
    return function if _IN_PYTHON else _Kernel(function)


def bare(function):
    """Compile a kernel that neither makes nor returns arrays, without reference counts on those that it is given.

    A network is a tuple of a dozen arrays; counting references to them took 100 ns in each call that passes it on. Such a kernel is
    also ready sooner in a new process: its machine code is called without importing numba.
    """
    return function if _IN_PYTHON else _BareKernel(function)


def packed(function):
    """Compile a bare kernel in which neighbouring sums are written out one by one: they are packed into vectors."""
    return function if _IN_PYTHON else _BareKernel(function, packed=True)


def inner(function):
    """Compile a part of a bare kernel that only kernels call: without the door to Python, which takes long to compile."""
    return function if _IN_PYTHON else _Part(function)


def inlined(function):
    """Compile a short piece of a loop: inner, and always inlined in its callers."""
    return function if _IN_PYTHON else _Part(function, inlined=True)


def apart():
    """Called first in a kernel, keeps it from being copied into its callers.

    LLVM likes to copy a program's interpreter into each of dozens of places, which then takes a minute to compile.
    """


def bits_of(value):
    """The 64 bits of a floating-point number, as uint64."""
    return np.float64(value).view(np.uint64)


def number_of(bits):
    """The floating-point number of 64 bits."""
    return np.uint64(bits).view(np.float64)


def name(function) -> str:
    """The name under which a function's machine code is kept."""
    return f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"


class _Part:
    """A function that kernels call."""

    bare = True

    def __init__(self, function, inlined=False):
        functools.update_wrapper(self, function)
        self._function, self._inlined = function, inlined
        with contextlib.suppress(OSError):
            store.read(function.__code__.co_filename)

    @cached_property
    def _compiler(self):
        from cme.kernels.compiling import dispatcher

        return dispatcher(self._function, bare=self.bare, inlined=self._inlined, has_door=False)

    @property
    def _numba_type_(self):
        """What numba takes this for when it compiles a caller."""
        return self._compiler._numba_type_

    def __call__(self, *arguments):
        raise TypeError(f"{self._function.__name__} is only called by kernels; in Python call it from a function compiled by numba")


class _Kernel(_Part):
    """A function that Python calls too, through numba's own door."""

    bare = False

    @cached_property
    def _with_door(self):
        from cme.kernels.compiling import dispatcher

        return dispatcher(self._function, bare=self.bare, inlined=False, has_door=True)

    def __call__(self, *arguments):
        return self._with_door(*arguments)


class _BareKernel(_Kernel):
    """A function that Python calls too, through a door of our own."""

    bare = True

    def __init__(self, function, packed=False):
        super().__init__(function)
        self._packed = packed
        self._linked = {}  # by the kinds of the arguments; None if they do not fit through the door

    def __call__(self, *arguments):
        kinds: list = []
        words: list = []
        try:
            door.flatten(arguments, kinds, words)
        except door.Unfit:
            return self._with_door(*arguments)
        key = tuple(kinds)
        run = self._linked[key] if key in self._linked else self._link(key, arguments)
        if run is not None:
            with contextlib.suppress(struct.error):  # a whole number that needs more than 63 bits
                return run(words)
        return self._with_door(*arguments)

    def _link(self, kinds, arguments):
        with _lock:
            if kinds not in self._linked:  # another thread may have been here meanwhile
                run = None
                if door.usable():
                    with contextlib.suppress(door.Unfit, OSError):
                        run = door.link(self._machine_code(kinds, arguments), kinds)
                self._linked[kinds] = run
            return self._linked[kinds]

    def _machine_code(self, kinds, arguments):
        own, key = name(self._function), f"object {door.describe(kinds)} {store.stamp(self._function.__code__.co_filename)}"
        code = store.fetch(own, key)
        if code is None:
            notice.compiling(own, store.letters(self._function.__code__.co_filename))
            from cme.kernels.compiling import machine_code

            code = machine_code(self._compiler, arguments, self._packed)
            store.keep(own, key, code)
        return code
