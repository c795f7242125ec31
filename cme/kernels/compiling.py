"""How kernels are compiled: numba with one set of options, its results kept by `cme.kernels.store`."""

import contextlib
import gc
import itertools
import pickle
from functools import cache
from typing import Any

import numba
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils, config
from numba.core.caching import NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.options import DefaultOptions
from numba.core.serialize import dumps
from numba.extending import lower_builtin, type_callable
from numba.np.arrayobj import populate_array

from cme.kernels import door, jit, store

_BARE = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}  # numba does not document it; without it the loops are slower
_NO_DOOR = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_number = itertools.count()


def dispatcher(function, *, bare: bool, inlined: bool, has_door: bool):
    """Numba's object for a function; compiled for each kind of arguments when first asked for."""
    options: dict = {"nogil": True, "error_model": "numpy", "forceinline": inlined}
    options |= (_BARE if bare else {}) | ({} if has_door else {**_NO_DOOR, "pipeline_class": _Compiler})
    # Numba compiles what a function calls with that function's options, unless it has its own: all that an inlined function calls
    # would be inlined too.
    made = njit(**options)(function)
    made._cache = _Cache(function, has_door)
    if not has_door:
        made._insert = lambda *_, **__: None  # there is nothing that could be called
    return made


class _Library(JITCodeLibrary):
    """Code that other code is linked with. Numba would make machine code of each piece; here it is made of whole kernels only."""

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    @property
    def codegen(self):
        return _Codegen(self._codegen)

    def _optimize_final_module(self):
        """Later, once for all that is linked together: faster to compile, and as fast to run."""

    def object_file(self, packed: bool = False) -> bytes:
        """The machine code; where it is `packed`, neighbouring operations on numbers become one on vectors."""
        before = config.SLP_VECTORIZE  # type: ignore[attr-defined]
        config.SLP_VECTORIZE = packed  # type: ignore[attr-defined]
        try:
            super()._optimize_final_module()
        finally:
            config.SLP_VECTORIZE = before  # type: ignore[attr-defined]
        return _target_machine(self._codegen).emit_object(self._final_module)


class _Codegen:
    """Numba's, except that there is no place yet for a pointer to a function's environment; kernels have no use for one."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def set_env(self, name, environment):
        """Do nothing."""


class _Compiler(Compiler):
    def __init__(self, typing_context, target_context, library, *rest):
        if library is None:
            library = _Library(target_context.codegen(), f"part{next(_number)}")
        super().__init__(typing_context, target_context, library, *rest)


@cache
def _target_machine(codegen):
    """What makes machine code, with numba's options."""
    options = {"opt": config.OPT}  # type: ignore[attr-defined]
    codegen._customize_tm_options(options)
    return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(**options)


class _Cache(NullCache):
    """Numba's cache of one function, in files of our own.

    Numba's looks only at the file of the function, so that an edited callee in another file goes unseen (KERNELS: "stale cache"), and
    two processes that write at once can mix up its index.
    """

    def __init__(self, function, has_door):
        self._name, self._source, self._has_door = jit.name(function), function.__code__.co_filename, has_door

    def _key(self, signature, codegen):
        return f"numba {self._has_door} {signature} {codegen.magic_tuple()} {store.stamp(self._source)}"

    def load_overload(self, signature, target_context):
        target_context.refresh()
        try:
            data = store.fetch(self._name, self._key(signature, target_context.codegen()))
            if data is None:
                return None
            reduced = pickle.loads(data)
            return (CompileResult._rebuild if self._has_door else _rebuild)(target_context, *reduced)
        except Exception:  # whatever is wrong with it, compiling anew puts it right
            return None

    def save_overload(self, signature, result):
        if result.lifted or result.library.has_dynamic_globals:
            return
        if self._has_door:
            reduced = result._reduce()
        else:
            result.fndesc.typemap = result.fndesc.calltypes = None  # can't be pickled, and nobody needs them any more
            code = result.library.name, result.library._final_module.as_bitcode()
            reduced = code, result.fndesc, result.environment, result.signature, str(result.type_annotation)
        with contextlib.suppress(OSError):  # no source: compile in each process
            store.keep(self._name, self._key(signature, result.codegen), dumps(reduced))


def _rebuild(target_context, code, descriptor, environment, signature, annotation):
    """A part that was kept on disk, as numba's ``CompileResult._rebuild`` does it for functions that Python calls."""
    library = _Library(target_context.codegen(), code[0])
    library._final_module = binding.parse_bitcode(code[1])
    library._finalized = True
    fields: dict[str, Any] = {
        "target_context": target_context,
        "typing_context": target_context.typing_context,
        "library": library,
        "environment": environment,
        "entry_point": target_context.get_executable(library, descriptor, environment),
        "fndesc": descriptor,
        "type_annotation": annotation,
        "signature": signature,
        "objectmode": False,
        "lifted": (),
        "reload_init": [],
        "referenced_envs": [],
    }
    every: tuple[str, ...] = CompileResult._fields
    return CompileResult(**{name: fields.get(name) for name in every})


def machine_code(compiler, arguments: tuple, packed: bool = False) -> bytes:
    """The machine code of a function for such arguments, with a door as `cme.kernels.door` wants it."""
    if not _BARE:
        raise door.Unfit("this numba always counts references")
    signature = tuple(numba.typeof(each) for each in arguments)
    with global_compiler_lock, _without_collecting_garbage():
        compiler.compile(signature)
        result = compiler.overloads[signature]
        around = _Library(result.target_context.codegen(), "door")
        module = around.create_ir_module("door")
        symbol = f"cme_door_{result.fndesc.mangled_name}"
        returned = types.unliteral(result.signature.return_type)  # a kernel that always returns 0 returns an int64
        _write_door(result.target_context, module, symbol, result.fndesc, signature, returned)
        around.add_ir_module(module)
        around.finalize()
    return door.pack(symbol, str(returned), [result.library.object_file(packed), around.object_file()])


@contextlib.contextmanager
def _without_collecting_garbage():
    """Compiling makes very many objects and little garbage; to look for that takes a tenth of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _write_door(context, module, symbol, descriptor, signature, returned) -> None:
    """A C function (words, place of the result) that unpacks the words, calls the kernel, and returns if that raised an exception."""
    word, pointer = ir.IntType(64), ir.IntType(64).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [pointer, ir.IntType(8).as_pointer()]), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    words, place = function.args
    position = itertools.count()

    def at(address, offset, to):
        """What is at an address plus an offset in bytes."""
        return builder.load(builder.inttoptr(builder.add(address, word(offset)), to.as_pointer()))

    def unpack(kind):
        if isinstance(kind, types.BaseTuple):
            return context.make_tuple(builder, kind, list(map(unpack, kind)))  # type: ignore[call-overload]
        if kind == types.none:
            return context.get_dummy_value()
        value = builder.load(builder.gep(words, [word(next(position))]))
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder)
            dimensions, strides = at(value, door.DIMENSIONS, word), at(value, door.STRIDES, word)
            populate_array(
                array,
                data=builder.inttoptr(at(value, door.DATA, word), array.data.type),
                shape=[at(dimensions, 8 * i, word) for i in range(kind.ndim)],
                strides=[at(strides, 8 * i, word) for i in range(kind.ndim)],
                itemsize=context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype))),
                meminfo=None,
            )
            return array._getvalue()
        if kind == types.boolean:
            return cgutils.is_not_null(builder, builder.and_(value, word(1)))
        if kind == types.float64:
            return builder.bitcast(value, ir.DoubleType())
        if kind in (types.int64, types.uint64):
            return value
        raise door.Unfit(f"{kind} does not go through the door")

    arguments = [unpack(kind) for kind in signature]
    kernel = context.declare_function(module, descriptor)
    status, result = context.call_conv.call_function(builder, kernel, returned, signature, arguments)
    if returned != types.none:
        stored = builder.zext(result, ir.IntType(8)) if returned == types.boolean else result
        builder.store(stored, builder.bitcast(place, stored.type.as_pointer()))
    builder.ret(builder.zext(status.is_error, ir.IntType(32)))


@type_callable(jit.apart)
def _type_apart(_context):
    return lambda: types.none


@lower_builtin(jit.apart)
def _lower_apart(context, builder, _signature, _arguments):
    builder.function.attributes.add("noinline")
    return context.get_dummy_value()


@type_callable(jit.bits_of)
def _type_bits_of(_context):
    return lambda _: types.uint64


@type_callable(jit.number_of)
def _type_number_of(_context):
    return lambda _: types.float64


@lower_builtin(jit.bits_of, types.float64)
@lower_builtin(jit.number_of, types.uint64)
def _lower_bits(context, builder, signature, arguments):
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))
