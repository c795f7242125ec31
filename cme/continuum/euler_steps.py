"""How many Euler-Maruyama steps the intervals between sampling times are divided into."""

import numpy as np

from cme.errors import ConvergenceError

MAX_STEPS = 50_000
GIVEN = "given"  # why a step is as long as it is


def pairs_of_steps(times: np.ndarray, dt: float, dt_from: str, max_steps: int | None) -> np.ndarray:
    """Pairs of steps, at most dt long, up to each of the times (T,); a step that was chosen may not lead to more than `max_steps`."""
    pairs = np.ceil(np.diff(times, prepend=0.0) / (2 * dt))
    most = MAX_STEPS if max_steps is None else max_steps
    if dt_from != GIVEN and 2 * pairs.sum() > most:
        raise ConvergenceError(
            f"langevin needs {2 * pairs.sum():.0f} steps of {dt:.1e} for a path, because of {dt_from}; raise max_steps (now {most}), give "
            "a longer dt and look at coarse, or use fsp, fokker_planck or lna"
        )
    return pairs.astype(np.int64)
