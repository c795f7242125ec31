"""The door from Python into compiled kernels: machine code from disk, linked by LLVM and called through ctypes.

Numba's own door needs numba, which takes longer to import than a small simulation to run. Here a call packs its arguments, one word
for each array and number, and the machine code unpacks them: an array's word is the address of the numpy object, whose first fields
(data, dimensions, strides) have been in the same places in every numpy of the last twenty years and are checked once per process.
Where anything is not as expected `Unfit` is raised, and `cme.kernels.jit` goes through numba's door instead.
"""

import contextlib
import ctypes
import json
import struct
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

DATA, DIMENSIONS, STRIDES = 16, 32, 40  # bytes from the start of a numpy array object
_LAYOUT = 0x503  # which flags of an array matter to machine code: contiguous (two ways), aligned, writeable
_NUMBERS = {int: "q", np.int64: "q", float: "d", np.float64: "d", np.uint64: "Q", bool: "?", np.bool_: "?"}
_RETURNED = {"int64": ctypes.c_int64, "uint64": ctypes.c_uint64, "float64": ctypes.c_double, "bool": ctypes.c_bool, "none": None}
_REMEMBERED = 16
_tuples: dict[int, tuple[tuple, list, list]] = {}  # a network or a walker is passed many times; its arrays are looked at once
_engines: list[Any] = []  # machine code is never unloaded


class Unfit(Exception):
    """This can't go through this door."""


def flatten(arguments: tuple, kinds: list, words: list) -> None:
    """What decides on the machine code (the kinds of the arguments), and the words that are passed to it."""
    for each in arguments:
        kind = type(each)
        if kind is ndarray:
            kinds.append(each.dtype)
            kinds.append(each.ndim << 16 | each.flags.num & _LAYOUT)
            words.append(id(each))
        elif kind in _NUMBERS:
            kinds.append(kind)
            words.append(each)
        elif isinstance(each, tuple):
            known = _tuples.get(id(each))
            if known is None or known[0] is not each:
                known = (each, [kind, len(each)], [])
                flatten(each, known[1], known[2])
                if len(_tuples) >= _REMEMBERED:
                    _tuples.clear()
                _tuples[id(each)] = known
            kinds += known[1]
            words += known[2]
        elif each is None:
            kinds.append(kind)
        else:
            raise Unfit(f"{kind.__name__} is no array, number or tuple")


def describe(kinds: tuple) -> str:
    """The kinds of the arguments as a text that is the same in every process."""
    texts = []
    for each in kinds:
        if isinstance(each, np.dtype):
            texts.append(each.str)
        else:
            texts.append(f"{each.__name__}{getattr(each, '_fields', '')}" if isinstance(each, type) else str(each))
    return " ".join(texts)


def usable() -> bool:
    """If machine code can be called this way here."""
    return sys.platform == "linux" and sys.byteorder == "little" and _arrays_are_as_expected()


@cache
def _arrays_are_as_expected() -> bool:
    array = np.zeros((3, 5, 7))[1:, ::2]
    if object.__basicsize__ != DATA or not isinstance(array.flags.num, int):  # a build of Python with larger objects
        return False
    data, dimensions, strides = (ctypes.c_ssize_t.from_address(id(array) + offset).value for offset in (DATA, DIMENSIONS, STRIDES))
    size = [tuple((ctypes.c_ssize_t * 3).from_address(address)) for address in (dimensions, strides)]
    return data == array.ctypes.data and size == [array.shape, array.strides]


def pack(symbol: str, returned: str, objects: list[bytes]) -> bytes:
    """Machine code as it is kept: two object files, the function to call in them, and what they need from outside."""
    defined: set[str] = set()
    needed: set[str] = set()
    for each in objects:
        for name, is_here in _symbols(each):
            (defined if is_here else needed).add(name)
    needs = sorted(needed - defined - {"_GLOBAL_OFFSET_TABLE_"})
    if returned not in _RETURNED:
        raise Unfit(f"it returns {returned}")
    for name in needs:
        _address(name)
    head = {"symbol": symbol, "returned": returned, "needs": needs, "sizes": [len(each) for each in objects]}
    return json.dumps(head).encode() + b"\n" + b"".join(objects)


def link(packed: bytes, kinds: tuple) -> Callable[[list], Any]:
    """A function that takes words, calls the machine code without the GIL, and returns what it returns."""
    from llvmlite import binding

    head, _, code = packed.partition(b"\n")
    found = json.loads(head)
    for name in found["needs"]:
        address = _address(name)
        if address is not None:
            binding.add_symbol(name, address)
    engine = _new_engine()
    for size in found["sizes"]:
        engine.add_object_file(binding.ObjectFileRef.from_data(code[:size]))
        code = code[size:]
    engine.finalize_object()
    entry = engine.get_function_address(found["symbol"])
    if not entry:
        raise Unfit("no function in the object file")
    _engines.append(engine)
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)(entry)
    pack_words = struct.Struct(_form(kinds)).pack
    new_result, by_reference = _RETURNED[found["returned"]], ctypes.byref

    def run(words):
        if new_result is None:
            status, result = call(pack_words(*words), None), None
        else:
            place = new_result()
            status = call(pack_words(*words), by_reference(place))
            result = place.value
        if status != 0:
            raise RuntimeError("a kernel raised an exception; kernels return a status instead")
        return result

    return run


def _form(kinds: tuple) -> str:
    """The format of the words, 8 bytes each."""
    form, i = "=", 0
    while i < len(kinds):
        if kinds[i] in _NUMBERS:
            form += _NUMBERS[kinds[i]].replace("?", "?7x")
            i += 1
        elif kinds[i] is type(None):
            i += 1
        else:
            form += "" if isinstance(kinds[i], type) else "q"
            i += 2  # a data type and its layout, or a tuple and its length
    return form


def _new_engine():
    from llvmlite import binding

    with contextlib.suppress(RuntimeError):  # LLVM does it itself since 20
        binding.initialize()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    machine = target.create_target_machine(codemodel="jitdefault", jit=True)
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)


def _address(name: str) -> int | None:
    """Where a function from outside is: in numba's C library, or (None) in C's own, which LLVM searches by itself."""
    functions = _numba_functions()
    address = functions.get(name.removeprefix("numba_"))
    if address is not None and not name.startswith(("Py", "NRT_")):
        return address
    if not hasattr(ctypes.CDLL(None), name):
        raise Unfit(f"it needs {name}")
    return None


@cache
def _numba_functions() -> dict[str, int]:
    """The addresses of numba's C functions (the mathematical ones among them), without importing numba."""
    module = sys.modules.get("numba._helperlib")
    if module is None:
        package = find_spec("numba")
        if package is None or package.origin is None:
            raise Unfit("numba is not there")
        path = str(Path(package.origin).parent / f"_helperlib{EXTENSION_SUFFIXES[0]}")
        loader = ExtensionFileLoader("numba._helperlib", path)
        spec = spec_from_file_location("numba._helperlib", path, loader=loader)
        if spec is None:
            raise Unfit("numba's C library is not there")
        module = module_from_spec(spec)
        loader.exec_module(module)
        sys.modules.pop("numba._helperlib", None)  # numba, if it is imported later, does so itself
    return module.c_helpers


def _symbols(code: bytes):
    """The names in an object file (ELF, 64 bits), and if they are defined there."""
    if code[:6] != b"\x7fELF\x02\x01":
        raise Unfit("no object file that is known here")
    (start,) = struct.unpack_from("<Q", code, 0x28)
    entry_size, n_sections = struct.unpack_from("<HH", code, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, start + i * entry_size) for i in range(n_sections)]
    for _, kind, _, _, offset, size, link_to, _, _, step in sections:
        if kind != 2:  # a table of symbols
            continue
        names = sections[link_to][4]
        for place in range(offset, offset + size, step):
            name, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", code, place)
            text = code[names + name : code.index(b"\0", names + name)].decode()
            if text:
                yield text, section != 0
