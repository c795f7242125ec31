"""What every solver asks of its arguments, and the `info` record that every result carries."""

import inspect
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Seed = int | np.random.SeedSequence | np.random.Generator | None


def check_times(times, *, infinity: bool = False) -> np.ndarray:
    """Times as a float64 array (T,): finite, >= 0, strictly increasing. A single number is one time.

    With `infinity`, the single time inf (the stationary answer) is allowed as well.
    """
    try:
        array = np.atleast_1d(np.array(times, dtype=np.float64))  # a copy: a result keeps its times whatever becomes of the argument
    except (TypeError, ValueError):
        array = np.empty(0)
    if times is None or array.size == 0:
        raise ValueError(f"times must be a number or a one-dimensional array of numbers, not {_short(times)}")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"times must be a number or a one-dimensional array of numbers, not shape {np.shape(times)}")
    if infinity and array.size == 1 and array[0] == np.inf:
        return array
    if not np.all(np.isfinite(array)):
        hint = "; for the stationary answer give the single time inf" if infinity else "; for the stationary law use stationary()"
        raise ValueError(f"times must be finite{hint}")
    if array[0] < 0 or np.any(np.diff(array) <= 0):
        raise ValueError(f"times must be >= 0 and strictly increasing, not {np.array2string(array, threshold=6)}")
    return array


def check_count(name: str, value: int, least: int = 1) -> int:
    """A whole number that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer | float | np.floating) or value % 1 != 0:
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def check_number(name: str, value: float) -> float:
    """A finite number."""
    if not _is_finite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """A finite number above zero."""
    if not (_is_finite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, not {value!r}")
    return float(value)


def _is_finite(value) -> bool:
    """Is it a single number and finite?"""
    try:
        return np.ndim(value) == 0 and bool(np.isfinite(value))
    except (TypeError, ValueError):
        return False


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of the named choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def count_arguments(function: Callable) -> int:
    """How many positional arguments without a default a function takes; 1 where it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return 1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)


def check_threads(threads: int | None) -> int:
    """The number of threads; None means one for each processor that this process may use."""
    if threads is not None:
        return check_count("threads", threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_memory(what: str, n_bytes: int) -> None:
    """Refuse an allocation that is larger than this machine, before it is tried."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no such question on this system: the allocation itself will tell
        return
    if n_bytes > machine:
        need, have = n_bytes / 2**30, machine / 2**30
        raise MemoryError(f"{what} take {need:.3g} GiB, this machine has {have:.3g} GiB; ask for fewer, or run in batches")


def check_seed(seed: Seed) -> tuple[np.ndarray, int | str]:
    """A key of two uint64 for the random streams, and what to record so that the run can be repeated.

    An integer or a SeedSequence gives the same key each time; a Generator is advanced; None draws fresh entropy, which is recorded.
    """
    if isinstance(seed, np.random.Generator):
        seed = int.from_bytes(seed.bytes(16), "little")
    if seed is None:
        seed = int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if isinstance(seed, np.random.SeedSequence):
        recorded: int | str = f"SeedSequence({seed.entropy}, spawn_key={seed.spawn_key})"
        return seed.generate_state(2, np.uint64), recorded
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an integer, a SeedSequence, a Generator or None, not {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, not {seed}")
    return np.random.SeedSequence(int(seed)).generate_state(2, np.uint64), int(seed)


def record(solver: str, network: str, started: float, options: Mapping[str, Any], **found: Any) -> dict[str, Any]:
    """The `info` of a result: what ran, with which options, and what it took. Plain values only, so that it travels into files.

    `started` is ``time.perf_counter()`` at the start.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        release = version("cme-networks")
    except PackageNotFoundError:  # run from a checkout that was never installed
        release = "not installed"
    wall = time.perf_counter() - started
    return {"solver": solver, "network": network, **found, "options": dict(options), "wall_seconds": wall, "version": release}
