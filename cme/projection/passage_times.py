"""The law of the first-passage time at given times: as the chain that stops in its targets has it, and late by its slowest mode."""

from typing import NamedTuple

import numpy as np

from cme.errors import ConvergenceError
from cme.projection.stopped import Stopped

# Round-off adds about 1e-16 for each jump that may happen: no more of them are followed than let that be a hundredth of the tolerance.
FOLLOWED = 1e14
GONE, FURTHEST = 40.0, 1e12  # a mode has gone after so many of its times; jumps that are followed until then, whatever the tolerance
MODE = 1e-11  # what the slowest mode, known to thirteen digits, may add at any time


class PassageTimes(NamedTuple):
    """The law at L times of the first of K targets that is met."""

    cdf: np.ndarray  # (L, K)
    density: np.ndarray  # (L, K)
    lost: np.ndarray  # (L,)
    error: np.ndarray  # (L,)
    method: str


def passage_times(chain: Stopped, times: np.ndarray, tol: float) -> PassageTimes:
    """Find the law at all times; `ConvergenceError` where several slow modes are left when the chain can't be followed any longer."""
    n_targets = len(chain.conditions)
    if not len(times):
        return PassageTimes(np.zeros((0, n_targets)), np.zeros((0, n_targets)), np.zeros(0), np.zeros(0), "none")
    last = FOLLOWED * tol / max(chain.generator.largest_rate, 1e-300)
    if times[-1] > last:
        last = max(last, _settled(chain))
    early, late = times[times <= last], times[times > last]
    law = chain.law(early if not len(late) else np.append(early[early < last], last), tol)
    labels = chain.label(law.states)
    cdf = np.array([np.minimum(law.p[:, labels == k].sum(axis=1), 1.0) for k in range(n_targets)]).T  # round-off adds a hair
    density = np.where(labels < 0, law.p, 0.0) @ chain.rates_into(law.states).T
    found = PassageTimes(cdf, density, law.lost, law.integration_error, str(law.info["method"]))
    return found if not len(late) else _late(chain, found, law, early, late, last, tol)


def _settled(chain: Stopped) -> float:
    """When all but the slowest mode has decayed, if the chain can be followed so long, else 0."""
    rates = np.real(chain.closed.decay_rates(2).values)
    when = GONE / rates[1] if len(rates) > 1 and rates[1] > 0 else 0.0
    return float(when) if when * chain.generator.largest_rate <= FURTHEST else 0.0


def _late(chain: Stopped, found: PassageTimes, law, early: np.ndarray, late: np.ndarray, last: float, tol: float) -> PassageTimes:
    """Go on with the slowest mode alone, p(t) = share exp(-rate (t - last)) mode; what p(last) differs from that is an error."""
    states = chain.generator.states
    rows, here = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(law.states))}, law.p[-1]
    slow = chain.closed.decay()
    mode = slow.law
    on_law = np.zeros(len(here))
    outside = 0.0
    for state, p in zip(np.ascontiguousarray(states), mode, strict=True):
        if p > 0:
            i = rows.get(state.tobytes())
            outside += p if i is None else 0.0
            if i is not None:
                on_law[i] = p
    inner = chain.label(law.states) < 0
    alive = np.where(inner, here, 0.0)
    share = float(alive.sum())
    off = float(np.abs(alive - share * on_law).sum()) + share * outside
    if off > 0.1 * tol or not slow.upper - slow.lower <= 1e-9 * slow.rate:
        raise ConvergenceError(
            f"at t={last:.3g}, as far as double precision can follow the chain, more than one slow mode is left "
            f"(by {off:.1e}, tol={tol:g}); ask for earlier times, or start nearer to the target"
        )
    into, leaks, astray = chain.closed.decayed_into(mode)
    total = into.sum() + leaks + astray
    ages = late - last
    gone = -np.expm1(-slow.rate * ages)[:, None]
    kept = np.exp(-slow.rate * ages)[:, None]
    keep = slice(0, len(early))
    cdf = np.concatenate([found.cdf[keep], np.minimum(found.cdf[-1] + share * gone * into / total, 1.0)])
    density = np.concatenate([found.density[keep], share * kept * into])
    # A path may differ from that of the set closed once it would have left; of the set open, what left is lost.
    differs = 0.0 if chain.closed is chain.open else chain.open.escaped
    lost = np.concatenate([found.lost[keep], found.lost[-1] + differs + share * gone[:, 0] * leaks / total])
    error = np.concatenate([found.error[keep], np.full(len(late), found.error[-1] + 2 * off + MODE + differs)])
    return PassageTimes(cdf, density, lost, error, f"{found.method}, slowest mode")
