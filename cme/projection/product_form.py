"""The stationary law of a complex-balanced network: a product of Poisson laws on each class of states that communicate."""

from typing import NamedTuple

import numpy as np

from cme.complex_balance import ComplexBalance, Kinetics, complex_balance
from cme.errors import ConvergenceError, ModelError
from cme.graphs import bounded_species, conservation_laws
from cme.network import Network
from cme.projection.columns import FAR, MOST_FAR, poisson_column, together
from cme.states import StateSpace

REFERENCE = "Anderson, Craciun and Kurtz 2010, doi:10.1007/s11538-010-9517-4"
MOST_TRIED = 20_000  # states in which a way from nothing to one molecule of each species is looked for


class Answer(NamedTuple):
    """A law in closed form on N states: never above the truth but for round-off, and what lies elsewhere."""

    states: np.ndarray
    p: np.ndarray
    lost: float
    rounding: float
    exact_by: str


def product_form(network: Network, initial, tol: float, max_states: int, keep: list[int] | None = None) -> Answer:
    r"""Evaluate the stationary law of a complex-balanced network.

    .. math:: \pi(x) = \frac1Z \prod_i \frac{c_i^{x_i}}{x_i!} \quad \text{on the class of } x

    with amounts c that balance every complex (theorem 4.1 of Anderson, Craciun and Kurtz).

    Raises
    ------
    ModelError
        If the network is not complex balanced, or starts in several classes.
    ConvergenceError
        If the law needs more than `max_states`.

    Notes
    -----
    A class of finitely many states is enumerated, and Z is its sum. Where one molecule of each species can come from nothing, the class
    is all states and Z = 1. Otherwise the part of the class in a box is found, c chosen with the conserved totals of the start; what lies
    outside the box is less than the tails of the Poisson laws, and every state of the box that has the right totals but was not reached
    counts as lost, so that `lost` is a bound in all three cases.
    """
    balance = complex_balance(network, initial)
    start = StateSpace.around(network, initial=initial, size=1).states
    live = balance.kinetics.live
    words = f"product of Poissons ({REFERENCE}): deficiency {balance.deficiency}"
    if balance.deficiency:
        words += ", complexes balanced by these rate constants"
    if _everything_is_reached(balance.kinetics) and not np.any(np.ptp(start[:, ~live], axis=0)):
        return _all_states(balance, start[0], tol, max_states, keep)._replace(exact_by=words)
    if len(start) > 1:
        raise ModelError(f"{network.name!r} starts from several states, which may lie in different classes")
    if set(np.flatnonzero(live).tolist()) <= bounded_species(network):
        return _finite_class(network, initial, balance, max_states)._replace(exact_by=words)
    return _part_of_class(network, start[0], balance, tol, max_states)._replace(exact_by=words)


def _everything_is_reached(kinetics: Kinetics) -> bool:
    """Can one molecule of each species come from nothing?

    Then any state leads to the same with one more of any species, since more molecules hinder no reaction, and back, since each
    reaction can be undone: all states are one class.
    """
    if not np.any(kinetics.sources.sum(axis=1) == 0):
        return False
    live = np.flatnonzero(kinetics.live)
    sources, changes = kinetics.sources[:, live], kinetics.changes[:, live]
    most = int((sources + np.maximum(changes, 0)).max()) + 1
    wanted = {tuple(row) for row in np.eye(len(live), dtype=np.int64).tolist()}
    queue: list[tuple[int, ...]] = [(0,) * len(live)]
    seen = set(queue)
    for state in queue:  # grows while it is read
        after = np.array(state) + changes[np.all(sources <= np.array(state), axis=1)]
        for new in map(tuple, after[np.all(after <= most, axis=1)].tolist()):
            if new not in seen:
                seen.add(new)
                wanted.discard(new)
                queue.append(new)
        if not wanted:
            return True
        if len(queue) > MOST_TRIED:
            return False
    return False


def _all_states(balance: ComplexBalance, start: np.ndarray, tol: float, max_states: int, keep: list[int] | None) -> Answer:
    """Independent Poisson laws, on a box without its improbable states; counts that are not kept stay as they start."""
    live = np.flatnonzero(balance.kinetics.live)
    live = live if keep is None else live[np.isin(live, keep)]
    means = np.exp(balance.log_amounts[live])
    far = len(live) == 1 and 80 * np.sqrt(means[0]) < min(MOST_FAR, max_states)  # one count has room for its tails
    columns = [poisson_column(float(mean), FAR if far else 0.1 * tol / len(live)) for mean in means]
    states, p = together(columns, 0.0 if far else 0.5 * tol, max_states)
    whole = np.repeat(start[None], len(states), axis=0)
    whole[:, live] = states
    spread = float((np.abs(balance.log_amounts[live]) + 1) @ (1 + np.sqrt(means)))
    return Answer(whole, p, max(1.0 - float(p.sum()), 0.0), _rounding(balance, spread), "")


def _log_weights(balance: ComplexBalance, amounts: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Log of the product of c^x / x! for each state, up to a constant; right to a few roundings, from ratios c / x."""
    total = np.zeros(len(states))
    for s in np.flatnonzero(balance.kinetics.live):
        low, high = int(states[:, s].min()), int(states[:, s].max())
        centre = int(np.clip(np.exp(min(amounts[s], 60.0)), low, high))
        if high - low > 10_000_000:
            from scipy.special import gammaln

            n = states[:, s]
            total += n * amounts[s] - gammaln(n + 1.0)
            continue
        steps = amounts[s] - np.log(np.arange(low + 1, high + 1, dtype=np.float64))
        table = np.zeros(high - low + 1)
        table[centre - low + 1 :] = np.cumsum(steps[centre - low :])
        table[: centre - low] = -np.cumsum(steps[: centre - low][::-1])[::-1]
        total += table[states[:, s] - low]
    return total


def _finite_class(network: Network, initial, balance: ComplexBalance, max_states: int) -> Answer:
    states = StateSpace.reachable(network, initial=initial, max_states=max_states).states
    amounts = _with_totals_of(states[0], network, balance)
    logs = _log_weights(balance, amounts, states)
    p = np.exp(logs - logs.max())
    p /= p.sum()
    kept = p > 0  # the others underflow
    spread = float(p @ np.abs(logs - p @ logs)) + float(np.abs(amounts) @ np.sqrt(1.0 + p @ states))
    return Answer(states[kept], p[kept], 0.0, _rounding(balance, spread), "")


def _with_totals_of(state: np.ndarray, network: Network, balance: ComplexBalance) -> np.ndarray:
    """Logarithms of the balancing amounts that have the conserved totals of a state, by Newton's method.

    They are the minimum of a strictly convex function (Birch's theorem). Near zero totals it is left early: any amounts give the same
    law on a class, these only keep the numbers in range.
    """
    live = np.flatnonzero(balance.kinetics.live)
    laws = conservation_laws(network)[:, live].astype(np.float64)
    laws = laws[np.any(laws != 0, axis=1)]
    if not len(laws):
        return balance.log_amounts
    orthogonal = np.linalg.svd(laws, full_matrices=False)
    basis = orthogonal[2][orthogonal[1] > 1e-9 * orthogonal[1][0]]
    base, totals = balance.log_amounts[live], basis @ state[live]
    theta = basis @ (np.log(np.maximum(state[live], 0.5)) - base)

    def value(theta: np.ndarray) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(base + theta @ basis).sum() - theta @ totals)

    for _ in range(200):
        amounts = np.exp(base + theta @ basis)
        gradient, hessian = basis @ amounts - totals, (basis * amounts) @ basis.T
        if np.linalg.norm(gradient) <= 1e-10 * (1 + np.linalg.norm(totals)):
            break
        step = np.linalg.lstsq(hessian, -gradient)[0]
        size, now = 1.0, value(theta)
        while not value(theta + size * step) <= now + 1e-4 * size * float(gradient @ step) and size > 1e-12:
            size /= 2
        theta = theta + size * step
    found = balance.log_amounts.copy()
    found[live] = base + theta @ basis
    return found


def _part_of_class(network: Network, start: np.ndarray, balance: ComplexBalance, tol: float, max_states: int) -> Answer:
    """The part of an infinite class that lies in a box, and a bound on the rest."""
    from scipy.special import gammainc  # not at the top: it is slow to import

    live = np.flatnonzero(balance.kinetics.live)
    amounts = _with_totals_of(start, network, balance)
    means, most = np.exp(amounts[live]), _largest_counts(network, start)[live]
    share = 0.1 * tol / len(live)
    for wider in (False, True):  # a larger box holds more of the tails, but no more of the states that may not be reached
        columns = [poisson_column(float(mean), share) for mean in means]
        ends = np.array([column.first + len(column.p) - 1 for column in columns])
        upper = np.minimum(np.maximum(ends, start[live]), most)
        tails = np.where(upper < most, gammainc(upper + 1.0, means), 0.0)  # P(X > n) for a Poisson law
        bounds = {network.species_names[s]: int(end) for s, end in zip(live, upper, strict=True)}
        reached = StateSpace.reachable(network, initial=start, bounds=bounds, max_states=max_states)
        logs = _log_weights(balance, amounts, reached.states) + _log_weight_at_centre(amounts[live], reached.states[:, live])
        weights = np.exp(logs)
        found, missed = float(weights.sum()), float(tails.sum()) + _not_reached(balance, amounts, reached, live, upper)
        lost = missed / (found + missed)
        if lost <= tol or wider:
            break
        share = 0.05 * tol * min(found, 1.0) / len(live)
    if lost > tol:
        raise ConvergenceError(
            f"states that may or may not be reached hold {lost:.1e} of the law, more than tol={tol:g}; use method='projection'"
        )
    kept = weights > 0
    spread = float(np.abs(amounts[live]) @ (1 + np.sqrt(means)))
    return Answer(reached.states[kept], weights[kept] / (found + missed), lost, _rounding(balance, spread), "")


def _log_weight_at_centre(log_means: np.ndarray, states: np.ndarray) -> float:
    """What makes `_log_weights` the logarithm of a product of Poisson probabilities; its rounding cancels but in what is missing."""
    from scipy.special import gammaln

    low, high = states.min(axis=0), states.max(axis=0)
    centre = np.clip(np.exp(np.minimum(log_means, 60.0)).astype(np.int64), low, high)
    return float(np.sum(centre * log_means - np.exp(log_means) - gammaln(centre + 1.0)))


def _largest_counts(network: Network, start: np.ndarray) -> np.ndarray:
    """The largest count of each species that non-negative conserved sums allow."""
    most = np.full(len(start), np.iinfo(np.int64).max)
    for law in conservation_laws(network):
        if law.min() >= 0:
            most = np.minimum(most, np.where(law > 0, int(law @ start) // np.maximum(law, 1), most))
    return most


def _not_reached(balance: ComplexBalance, amounts: np.ndarray, reached: StateSpace, live: np.ndarray, upper: np.ndarray) -> float:
    """The weight of the states in the box that differ from the start by whole numbers of reactions and were not reached.

    They may be reached through states outside the box. Those in which no reaction can fire are not.
    """
    start, kinetics = reached.states[0], balance.kinetics
    rows = _echelon([list(map(int, row)) for row in kinetics.changes[:, live]])
    points = start[live][None]
    for row in rows:
        pivot = int(np.flatnonzero(row)[0])
        place, top = points[:, pivot] % row[pivot], upper[pivot]
        count = (top - place) // row[pivot] + 1
        which = np.repeat(np.arange(len(points)), np.maximum(count, 0))
        within = np.arange(len(which)) - np.repeat(np.cumsum(np.maximum(count, 0)) - np.maximum(count, 0), np.maximum(count, 0))
        times = (place[which] + within * row[pivot] - points[which, pivot]) // row[pivot]
        points = points[which] + times[:, None] * row
    points = points[np.all((points >= 0) & (points <= upper), axis=1)]
    states = np.repeat(start[None], len(points), axis=0)
    states[:, live] = points
    states = states[reached.index(states) < 0]
    if not len(states):
        return 0.0
    frozen = ~np.any(np.all(states[:, None, :] >= kinetics.sources[None], axis=2), axis=1)
    states = states[~frozen]
    if not len(states):
        return 0.0
    both = np.concatenate([states, reached.states])  # tables are centred alike
    logs = _log_weights(balance, amounts, both)[: len(states)] + _log_weight_at_centre(amounts[live], both[:, live])
    return float(np.exp(logs).sum())


def _echelon(rows: list[list[int]]) -> np.ndarray:
    """A basis in echelon form, with positive pivots, of what whole-number combinations of the rows give."""
    rows, found = [row for row in rows if any(row)], []
    for column in range(len(rows[0]) if rows else 0):
        while len(active := [row for row in rows if row[column]]) > 1:
            least = min(active, key=lambda row: abs(row[column]))
            for row in active:
                if row is not least:
                    times = row[column] // least[column]
                    row[:] = [a - times * b for a, b in zip(row, least, strict=True)]
            rows = [row for row in rows if any(row)]
        if active:
            found.append([value if active[0][column] > 0 else -value for value in active[0]])
            rows = [row for row in rows if row is not active[0]]
    return np.array(found, dtype=np.int64)


def _rounding(balance: ComplexBalance, spread: float) -> float:
    """What rounding may have added, in the 1-norm: a few units in each logarithm, times how far the law spreads."""
    return (4 * np.finfo(np.float64).eps + 2 * balance.defect * (balance.deficiency > 0)) * (4.0 + spread)
