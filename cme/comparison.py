"""`compare`: how far apart the answers of several solvers are, in a table in which each number carries its own errors.

The errors are kept apart by source: Monte Carlo (finitely many paths), truncation (probability that left the kept states), integration (the
time integrator) and grid (cell width or time step). What is left after them is the error of the approximation itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cme import distances
from cme.cells import Cells, on_common_blocks, shifted
from cme.ensembles import Ensemble
from cme.law import Law, Result, law_of
from cme.results import Moments, Trajectories

if TYPE_CHECKING:
    import pandas as pd

SOURCES = ("monte_carlo", "truncation", "integration", "grid")


def compare(reference: Result, /, **others: Result) -> "pd.DataFrame":
    """Compare results with a reference: moments of each, and the distance of each from the reference.

    ::

        total_variation   TV = sum_n |P(n) - Q(n)| / 2     no event's probability differs by more
        hellinger         H, H^2 = 1 - sum_n sqrt(P Q)     H^2 <= TV <= H sqrt(2)
        kl                sum_n P log(P / Q)               nats; P is the reference
        wasserstein_1     sum_n |F(n) - G(n)|              molecules
        mass_outside      probability that the method puts on negative counts

    with P, F the marginal law of a species or observable under the reference and Q, G under the method, on the integer cells
    [n - 1/2, n + 1/2); the lowest cell takes everything below 1/2. If the reference is over positions on a line (a random walk), the
    cells are those of the reference, at positions of any sign; there is then no mass_outside and no Fano factor, and wasserstein_1 is
    in units of length.

    Parameters
    ----------
    reference
        Usually the `Distribution` of `fsp` or `stationary`. In the table it has the name of its solver.
    **others
        Results under the names that they get in the table. Each must have the reference's times (inf: the stationary law) and at
        least one of its species or observables.

    Returns
    -------
    DataFrame
        Columns time, species, method, metric, value, lo, hi, monte_carlo, truncation, integration, grid; ``attrs["results"]`` holds
        the `info` of every result by name. The metrics mean, sd and fano are given for the reference too. A result without covariance
        (`rate_equations`) has a mean only; so has an observable under `Moments`. Observables that are no counts have moments only.

        [lo, hi] holds the metric of the laws themselves, without the errors of computing them; the last four columns are the half-width
        from each source (the wider side, where the sides differ).

    Raises
    ------
    ValueError
        If a result lacks a time of the reference or shares no species with it, or is named like the reference; or if a result is over
        positions and the reference is not.

    Notes
    -----
    What is rigorous, with e the probability that was lost and d the integrator's bound (as rigorous as the solver says):

    - Truncation and integration: bounds for TV (e/2, d/2), Hellinger (sqrt(e/2), sqrt(d/2)) and the lower end of KL. Estimates for mean,
      sd, Fano and Wasserstein-1: the lost mass is put at the edge of the kept states, though it could lie beyond.
    - Monte Carlo: intervals of 95 %. The TV of a sample is biased upwards, by at most sum sqrt(q(1-q)/M)/2 for M paths (q estimated), and
      varies by McDiarmid's inequality exp(-2 M t^2). Wasserstein-1: the bias is at most sum sqrt(F(1-F)/M), the standard deviation at
      most sd/sqrt(M) (Efron-Stein). Hellinger: the chi-square law of 8 M H^2 between a law and its sample (an estimate). Mean, sd and
      Fano: second and fourth moments of the sample, normal for many paths, too narrow where counts that matter were hardly ever
      seen (if all paths agree, the next count is taken to have just been missed). Mass outside: Clopper-Pearson (exact).
    - Grid: an estimate. For moments, and for paths, the change of the metric between this grid or time step and one twice as wide; for
      the distances of a density that between the two grids' laws, since both may lie equally far from the reference (KL: to first order).

    KL is infinite where the method has no mass and the reference has some: always for a sample that misses a possible count. No floor
    is put under it. Only if the reference holds less in such cells, together, than the truncation, integration and grid errors of
    both are they merged with the next cell, since they can't be told from empty (a grid ends somewhere). The lower end is finite
    in any case, by Pinsker's inequality: 2 TV^2 at the lower end of TV.

    Which number says whether a method may be trusted? TV bounds the error of every probability, Wasserstein-1 that of the mean.

    References
    ----------
    Gibbs and Su, Int. Stat. Rev. 70, 419 (2002), doi:10.1111/j.1751-5823.2002.tb00178.x (the metrics and their inequalities).
    McDiarmid, Surveys in Combinatorics 141, 148 (1989), doi:10.1017/CBO9781107359949.008.

    Examples
    --------
    The linear-noise law of a birth-death process against Poisson(10) (Fano factor 1 for both):

    >>> import numpy as np
    >>> from scipy.special import gammaln
    >>> from cme.results import Distribution
    >>> n = np.arange(60)
    >>> p = np.exp(n * np.log(10) - 10 - gammaln(n + 1))
    >>> times, zero = np.array([np.inf]), np.zeros(1)
    >>> exact = Distribution(times, ("X",), n[:, None], p[None], zero, zero, {"solver": "stationary"})
    >>> gauss = Moments(times, ("X",), np.array([[10.0]]), np.array([[[10.0]]]), {"solver": "lna"})
    >>> table = compare(exact, LNA=gauss).set_index(["method", "metric"]).value
    >>> float(table["LNA", "total_variation"].round(4)), float(table["LNA", "wasserstein_1"].round(4))
    (0.0402, 0.164)
    """
    return compared(reference, others).to_frame()


class Row(NamedTuple):
    """A row of the table of `compare`."""

    time: float
    species: str
    method: str
    metric: str
    value: float
    lo: float
    hi: float
    monte_carlo: float
    truncation: float
    integration: float
    grid: float


class Comparison(NamedTuple):
    """What `compare` finds, before it is a data frame: to import pandas takes longer than a small simulation."""

    rows: list[Row]
    reference: str
    results: dict[str, dict]  # what is recorded of each

    def to_frame(self) -> "pd.DataFrame":
        """The table that `compare` returns."""
        import pandas as pd

        table = pd.DataFrame(self.rows, columns=Row._fields)
        table.attrs.update(reference=self.reference, results=self.results)
        return table


def compared(reference: Result, others: Mapping[str, Result]) -> Comparison:
    """The rows of `compare`."""
    name = str(reference.info.get("solver", "reference"))
    if name in others:
        raise ValueError(f"the reference is called {name!r} in the table, after its solver; give the other result another name")
    rows: list[Row] = []
    pairs = {method: _common(reference, name, other, method) for method, other in others.items()}
    wanted = set().union(*pairs.values()) if pairs else {*reference.species, *reference.observables}
    for t, time in enumerate(reference.times):
        for species in (*reference.species, *reference.observables):
            if species not in wanted:
                continue
            at = {method: (other, other.time_index(time)) for method, other in others.items() if species in pairs[method]}
            edges = shared_edges(reference, name, species, t, at)
            exact = law_of(reference, species, t, edges=edges)
            rows += [Row(time, species, name, *row) for row in _moment_rows(exact)]
            for method, (other, s) in at.items():
                law = law_of(other, species, s, at=exact.cells, edges=edges)
                rows += [Row(time, species, method, *row) for row in (*_moment_rows(law), *_distance_rows(exact, law))]
    return Comparison(rows, name, {name: dict(reference.info)} | {method: dict(other.info) for method, other in others.items()})


def _common(reference: Result, name: str, other: Result, method: str) -> set[str]:
    """The species and observables of both, after checking that there are some and that the times agree."""
    for time in reference.times:
        if not np.isclose(other.times, time, rtol=1e-12, atol=0).any():
            have = ", ".join(f"{value:g}" for value in other.times[:8]) + (", ..." if len(other.times) > 8 else "")
            raise ValueError(f"{method} has no time {time:g}, which {name} has; compute both at the same times ({method} has {have})")
    found = {*reference.species, *reference.observables} & {*other.species, *other.observables}
    if not found:
        raise ValueError(
            f"{method} and {name} share no species or observable; {method} has {', '.join(other.species)}, "
            f"{name} has {', '.join(reference.species)}"
        )
    return found


# ------------------------------------------------------------------------------------------------------ laws


def shared_edges(reference: Result, name: str, species: str, t: int, at: dict[str, tuple[Result, int]]) -> np.ndarray | None:
    """For positions, the reference's cells, as many as all the laws need; None for amounts."""
    if reference.cells is None or species not in reference.species:
        for method, (other, _) in at.items():
            if other.cells is not None and species in other.species:
                raise ValueError(
                    f"{species!r} is a position in {method} and not in {name}, whose integer cells would hide what lies below zero; "
                    f"make {method} the reference"
                )
        return None
    spans = [_span(result, species, index) for result, index in [(reference, t), *at.values()]]
    return reference.own_edges(species, t, min(low for low, _ in spans), max(high for _, high in spans))


def _span(result: Result, species: str, t: int) -> tuple[float, float]:
    if isinstance(result, Moments):
        mean, sd = (0.0 if each is None else each[t, result.species_index(species)] for each in (result.mean(), result.sd()))
        return mean - 12 * sd, mean + 12 * sd
    if isinstance(result, Ensemble):
        middle = result.histogram(species, t).bins.middle
        return float(middle.min()), float(middle.max())
    values = result[species][:, t] if isinstance(result, Trajectories) else result.values(species, t)
    low, high = float(values.min()), float(values.max())
    if result.coarse is None:
        return low, high
    ends = _span(result.coarse, species, result.coarse.time_index(result.times[t]))
    return min(low, ends[0]), max(high, ends[1])


# ------------------------------------------------------------------------------------------------------ rows


class _Error(NamedTuple):
    """How far the true metric may lie below and above the value."""

    below: float = 0.0
    above: float = 0.0


def _row(metric: str, value: float, errors: list[_Error], least: float = -np.inf, most: float = np.inf) -> tuple:
    lo = min(max(value - sum(error.below for error in errors), least), value)
    hi = max(min(value + sum(error.above for error in errors), most), value)
    return metric, value, lo, hi, *(max(error) for error in errors)


def _moment_rows(law: Law) -> Iterator[tuple]:
    """Mean, standard deviation and Fano factor, each with its errors in the order of SOURCES."""
    least, most = law.span
    down, up = max(0.0, -least), max(0.0, most)
    variance, far = law.sd**2, max(most - law.mean, law.mean - least) ** 2
    mean_errors = [_Error(law.lost * down, law.lost * up), _Error(*2 * (law.integration * max(down, up),))]
    yield _row("mean", law.mean, [_sampling_error(law, "mean"), *mean_errors, _moment_grid_error(law, _MOMENTS["mean"])])
    if np.isnan(law.sd) and law.samples is None:
        return
    spread = [_Error(0.0, law.lost * far), _Error(*2 * (law.integration * far,))]  # of the variance
    sd_errors = [_Error(law.sd - np.sqrt(max(variance - e.below, 0.0)), np.sqrt(variance + e.above) - law.sd) for e in spread]
    yield _row("sd", law.sd, [_sampling_error(law, "sd"), *sd_errors, _moment_grid_error(law, _MOMENTS["sd"])], least=0.0)
    if law.width is not None:
        return
    fano = _MOMENTS["fano"](law)
    fano_errors = [_fano_error(law.mean, variance, fano, m, v) for m, v in zip(mean_errors, spread, strict=True)]
    yield _row("fano", fano, [_sampling_error(law, "fano"), *fano_errors, _moment_grid_error(law, _MOMENTS["fano"])])


def _fano_error(mean: float, variance: float, fano: float, m: _Error, v: _Error) -> _Error:
    """From the errors of mean and variance, taken to be at their worst together."""
    if not mean > 0:
        return _Error(np.nan, np.nan)
    above = (variance + v.above) / (mean - m.below) if mean > m.below else np.inf
    return _Error(fano - max(variance - v.below, 0.0) / (mean + m.above), above - fano)


_MOMENTS: dict[str, Callable[[Law], float]] = {
    "mean": lambda law: law.mean,
    "sd": lambda law: law.sd,
    "fano": lambda law: law.sd**2 / law.mean if law.mean > 0 else np.nan,
}


def _moment_grid_error(law: Law, moment: Callable[[Law], float]) -> _Error:
    change = abs(moment(law.twin[0]) - moment(law.twin[1])) if law.twin else 0.0
    return _Error(change, change)


def _sampling_error(law: Law, metric: str) -> _Error:
    """Half a 95 % interval from the influence of one path on the moment (the delta method)."""
    if law.samples is None:
        return _Error()
    apart, mean, sd = shifted(law.samples), law.mean, law.sd
    off = law.samples - mean if apart is law.samples else apart - apart.mean()
    if law.n_paths > 1 and not off.any():  # all alike: as many paths as this may have missed the next count
        missed = 1 - 0.025 ** (1 / law.n_paths)
        spread = {"mean": missed, "sd": np.sqrt(missed), "fano": missed / mean if mean > 0 else np.nan}[metric]
        return _Error(float(spread) if metric == "mean" else 0.0, float(spread))
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = {
            "mean": lambda: off,
            "sd": lambda: np.zeros_like(off) if sd == 0 else (off**2 - sd**2) / (2 * sd),
            "fano": lambda: (off**2 - sd**2) / mean - sd**2 * off / mean**2,
        }[metric]()
        half = (
            float(distances.quantile(law.n_paths) * _spread(influence, law.weights) / np.sqrt(law.n_paths)) if law.n_paths > 1 else np.nan
        )
    return _Error(half, half)


def _spread(values: np.ndarray, weights: np.ndarray | None) -> float:
    """The standard deviation of a sample, in which each value may stand for many."""
    if weights is None:
        return float(np.std(values, ddof=1))
    mean = float(weights @ values) / int(weights.sum())
    return float(np.sqrt(weights @ (values - mean) ** 2 / (int(weights.sum()) - 1)))


def _distance_rows(exact: Law, law: Law) -> Iterator[tuple]:
    """The distances of a law from the reference, each with its errors in the order of SOURCES."""
    if exact.cells is None or law.cells is None:
        return
    tv_lo = 0.0
    for metric, distance in _DISTANCES.items():
        if metric == "mass_outside" and law.width is not None:
            continue
        value = distance(exact, law)
        errors = [_distance_sampling_error(metric, exact, law)]
        errors += [_missing_mass_error(metric, exact, law, exact.lost, law.lost)]
        errors += [_missing_mass_error(metric, exact, law, exact.integration, law.integration)]
        errors += [_distance_grid_error(metric, distance, exact, law)]
        row = _row(metric, value, errors, least=0.0, most=np.inf if metric in ("kl", "wasserstein_1") else 1.0)
        if metric == "total_variation":
            tv_lo = row[2]
        if metric == "kl":  # Pinsker
            half_widths = row[4:] if np.isfinite(value) else (np.nan,) * len(SOURCES)
            lo = 2 * tv_lo**2 if not np.isfinite(value) else min(max(row[2], 2 * tv_lo**2), value)
            row = (metric, value, lo, row[3] if np.isfinite(value) else np.inf, *half_widths)
        yield row


def _cells(*laws: Law) -> list[Cells]:
    return [law.cells for law in laws if law.cells is not None]


def _divergence(exact: Law, law: Law) -> float:
    """KL, with cells that are empty under the method merged into the next one if they can't be told from empty."""
    _, size, (p, _), (_, log_q) = on_common_blocks(*_cells(exact, law))
    empty = np.flatnonzero((log_q == -np.inf) & (p > 0))
    resolution = sum(each.lost + each.integration + each.unresolved for each in (exact, law)) + 1e-15  # the last is rounding
    filled = np.flatnonzero(log_q > -np.inf)
    if len(empty) and len(filled) and size[empty] @ p[empty] <= resolution:
        nearest = filled[np.clip(np.searchsorted(filled, empty), 0, len(filled) - 1)]
        moved = size[empty] * p[empty]
        p[empty] = 0.0
        np.add.at(p, nearest, moved / size[nearest])
    return distances.divergence(p, log_q, size)


_DISTANCES: dict[str, Callable[[Law, Law], float]] = {
    "total_variation": lambda exact, law: distances.total_variation(exact.cells, law.cells),
    "hellinger": lambda exact, law: distances.hellinger(exact.cells, law.cells),
    "kl": _divergence,
    "wasserstein_1": lambda exact, law: distances.wasserstein(exact.cells, law.cells) * (exact.width or 1.0),
    "mass_outside": lambda exact, law: law.negative,
}


def _distance_grid_error(metric: str, distance: Callable[[Law, Law], float], exact: Law, law: Law) -> _Error:
    """What the grid or the step does to a distance.

    The difference of two grids may leave a distance as it is and yet move it on the next grid. For a density the whole difference
    counts, by the triangle inequality; for KL the first order in it. The paths at twice the step are compared as they are.
    """
    change = 0.0
    for this, other in ((exact, law), (law, exact)):
        if this.twin is None:
            continue
        fine, coarse = this.twin
        if (this.samples is not None and this.weights is None) or metric == "mass_outside":
            pairs = [(each, other) if this is exact else (other, each) for each in (fine, coarse)]
            change += abs(distance(*pairs[0]) - distance(*pairs[1]))
        elif metric == "kl":
            change += _grid_error_of_kl(this, other, this is exact)
        else:
            change += distance(fine, coarse)
    return _Error(change, change)


def _grid_error_of_kl(this: Law, other: Law, is_exact: bool) -> float:
    """How far KL moves if the masses of one side move by as much as they do between the two grids."""
    assert this.twin is not None
    laws = _cells(*this.twin, other, this)
    lowest, size, (fine, coarse, theirs, ours), _ = on_common_blocks(*laws)
    kept = lowest < min(law.end for law in laws)
    moved = size * np.abs(fine - coarse)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = theirs / ours
        slope = np.abs(np.log(ratio)) if is_exact else np.abs(ratio - 1)
    slope[~np.isfinite(slope)] = 0.0  # where one of the two is empty there is nothing to first order
    return float(moved[kept] @ slope[kept])


def _missing_mass_error(metric: str, exact: Law, law: Law, of_exact: float, of_law: float) -> _Error:
    """What mass `of_exact` and `of_law`, put anywhere, does to a distance (see the Notes of `compare`)."""
    if of_exact == 0 and of_law == 0:
        return _Error()
    top = float(max(cells.end for cells in _cells(exact, law)) - 1) * (exact.width or 1.0)
    half = {
        "total_variation": lambda: (of_exact + of_law) / 2,
        "hellinger": lambda: float(np.sqrt(of_exact / 2) + np.sqrt(of_law / 2)),
        "kl": lambda: _missing_mass_in_kl(exact, law, of_exact, of_law),
        "wasserstein_1": lambda: (of_exact + of_law) * top,
        "mass_outside": lambda: of_law,
    }[metric]()
    return _Error(half, half)


def _missing_mass_in_kl(exact: Law, law: Law, of_exact: float, of_law: float) -> float:
    p, log_q, size = _both_positive(exact, law)
    half = 0.0
    if of_law > 0:
        half += of_law + float((size * p) @ (np.logaddexp(log_q, np.log(of_law)) - log_q))
    if of_exact > 0:  # -x log x bounds what is added below (log-sum inequality); the largest ratio is taken for what is added above
        half += of_exact * (1 - np.log(min(of_exact, 1.0)) + float(np.abs(np.log(p) - log_q).max(initial=0.0)))
    return half


def _both_positive(exact: Law, law: Law) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P and log Q of the counts of blocks where neither is zero, and the sizes of these."""
    _, size, (p, _), (_, log_q) = on_common_blocks(*_cells(exact, law))
    held = (p > 0) & (log_q > -np.inf)
    return p[held], log_q[held], size[held]


def _distance_sampling_error(metric: str, exact: Law, law: Law) -> _Error:
    """Half a 95 % interval from the paths of either side: a bias, which is upwards, and a fluctuation."""
    if metric == "mass_outside":
        if law.samples is None or np.issubdtype(law.samples.dtype, np.integer):  # counts are never negative
            return _Error()
        return _Error(*distances.error_of_sampled_fraction(law.negative, law.n_paths))
    bias = fluctuation = 0.0
    for this, other in ((exact, law), (law, exact)):
        if this.samples is None:
            continue
        guesses = _cells(this, other)  # the true law is unknown: take the one that makes the error larger
        if metric == "total_variation":
            more = distances.sampled_total_variation(guesses, this.n_paths)
        elif metric == "hellinger":
            more = distances.sampled_hellinger(guesses, this.n_paths)
        elif metric == "wasserstein_1":
            width = exact.width or 1.0
            above, about = distances.sampled_wasserstein(guesses, this.sd / width, this.n_paths)
            more = width * above, width * about
        else:
            more = distances.sampled_kullback_leibler(*_both_positive(exact, law), this is exact, this.n_paths)
        bias += more[0]  # that of Hellinger is a triangle inequality for each side, the others' sides are independent
        fluctuation = fluctuation + more[1] if metric == "hellinger" else float(np.hypot(fluctuation, more[1]))
    return _Error(bias + fluctuation, fluctuation)
