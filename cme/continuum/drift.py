"""A drift p(x, t), given as a number or a function: checked, evaluated on arrays and tabulated."""

from collections.abc import Callable

import numpy as np


def check_drift(drift: float | Callable) -> None:
    """A drift is a finite number or a function p(x, t)."""
    if not callable(drift) and not (np.ndim(drift) == 0 and np.isfinite(drift)):
        raise ValueError(f"the drift must be a finite number or a function p(x, t), not {drift!r}")


def evaluate_drift(drift: float | Callable, x: np.ndarray, t: float) -> np.ndarray:
    """The drift at positions x and a time, in the shape of x."""
    p = np.asarray(drift(x, t) if callable(drift) else drift, dtype=np.float64)
    if p.shape not in ((), x.shape):
        raise ValueError(f"the drift p(x, t) must give one value for each x, shape {x.shape}, and gives shape {p.shape}")
    return np.broadcast_to(p, x.shape)


def tabulate(function: float | Callable, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A function at all x and times, (B, K); what it says beyond where walks get to does not matter."""
    with np.errstate(all="ignore"):
        return np.stack([evaluate_drift(function, x, float(t)) for t in times])


def describe(drift: float | Callable) -> float | str:
    """A drift as it is written in `info`."""
    return getattr(drift, "__name__", "a function") if callable(drift) else float(drift)
