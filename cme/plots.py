"""Figures: marginal laws over each other, paths, moments in time, first-passage times.

Every function returns a `matplotlib.figure.Figure` and touches no global state of matplotlib: show it in a notebook, or save it with
``figure.savefig(...)``.
Methods differ in colour (the Okabe-Ito palette, safe for colour-blind readers), and in dash or marker as well.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cme import distances
from cme.comparison import shared_edges
from cme.ensembles import Ensemble
from cme.passages import FirstPassage
from cme.results import Distribution, Marginal, Moments, Trajectories

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = Distribution | Trajectories | Ensemble | Moments
Sampled = Trajectories | Ensemble

_INK, _FILL, _FAINT = "#333333", "#d9d9d9", "#888888"
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "^", "s", "D", "v", "P")
_PANEL = (3.1, 2.35)  # inches, of which margins left, right, bottom, top are:
_MARGINS = (0.66, 0.12, 0.48, 0.3)
_HEAD = 0.3  # for the legend
_MOST_STEPS = 4000  # of a curve: more can't be told apart
_FEW = 16  # times of a curve


def marginals(
    reference: Result, /, *, times: Sequence[float] | None = None, species: Sequence[str] | None = None, **others: Result
) -> "Figure":
    """Draw the marginal laws of a reference, filled, with those of other results over it.

    Laws are lines; samples are points, each for a bin of counts, with 95 % bars; a result with means alone is a vertical line. The total
    variation from the reference stands in the corner of its panel, for samples as a 95 % interval (see `cme.compare`).

    Parameters
    ----------
    reference
        Usually the `Distribution` of `fsp` or `stationary`.
    times
        Times to draw; by default up to four of the reference's (the last alone if there are more than four species).
    species
        Species or observables to draw; by default all species.
    **others
        Results by name; a result that lacks a species is left out of that panel.

    Returns
    -------
    matplotlib.figure.Figure
        One row for each species and one column for each time; with one time, the species fill a grid.
    """
    names = list(species) if species is not None else list(reference.species)
    indices = [reference.time_index(time) for time in times] if times is not None else _some_times(len(reference.times), len(names))
    figure, panels = _panels(len(names), len(indices))
    styles = _styles(others)
    solver = str(reference.info.get("solver", "reference"))
    for panel, (name, t) in zip(panels, [(name, t) for name in names for t in indices], strict=True):
        time = float(reference.times[t])
        laws = {other: result for other, result in others.items() if name in (*result.species, *result.observables)}
        _draw_marginal(panel, reference, name, t, laws, styles, solver)
        panel.set_title(f"{name},  stationary" if time == math.inf else f"{name},  t = {time:g}", loc="left", fontsize=9)
    _legend(figure, panels, others)
    _label_edges(panels, "molecules" if reference.cells is None else "position", "probability")
    return figure


def paths(trajectories: Trajectories, /, *, species: Sequence[str] | None = None, n_paths: int = 20) -> "Figure":
    """Draw some paths, with the mean and a band of one standard deviation over all paths.

    Parameters
    ----------
    trajectories
        With events kept, each path is drawn with every event; otherwise as it was sampled.
    species
        Species or observables to draw; by default all species.
    n_paths
        How many paths to draw.
    """
    names = list(species) if species is not None else list(trajectories.species)
    figure, panels = _panels(len(names), 1)
    times = trajectories.times
    for panel, name in zip(panels, names, strict=True):
        values = trajectories[name]
        for m in range(min(n_paths, trajectories.n_paths)):
            if trajectories.events is not None and trajectories.event_counts is not None and name in trajectories.species:
                when = np.concatenate([[0.0], trajectories.events[m][0]])
                what = trajectories.event_counts[m][:, trajectories.species_index(name)]
                start = trajectories.counts[m, 0, trajectories.species_index(name)] if times[0] == 0 else np.nan
                panel.step(when, np.concatenate([[start], what]), where="post", color=_COLOURS[1], lw=0.5, alpha=0.5)
            else:
                panel.plot(times, values[m], color=_COLOURS[1], lw=0.6, alpha=0.5)
        mean = values.mean(axis=0)
        panel.plot(times, mean, color=_INK, lw=1.8, label=f"mean of {trajectories.n_paths} paths")
        if trajectories.n_paths > 1:
            sd = values.std(axis=0, ddof=1)
            panel.fill_between(times, mean - sd, mean + sd, color=_FAINT, alpha=0.25, lw=0, label="± one standard deviation")
        panel.set_title(name, loc="left", fontsize=9)
    _legend(figure, panels)
    _label_edges(panels, "time", "molecules")
    return figure


def moments(reference: Result, /, *, species: Sequence[str] | None = None, **others: Result) -> "Figure":
    """Draw means in time with bands of one standard deviation: the reference filled, the others as lines between thin lines.

    Parameters
    ----------
    reference
        Any result with several times.
    species
        Species to draw; by default all.
    **others
        Results by name.
    """
    names = list(species) if species is not None else list(reference.species)
    figure, panels = _panels(len(names), 1)
    styles = _styles(others)
    for panel, name in zip(panels, names, strict=True):
        solver = str(reference.info.get("solver", "reference"))
        mean, sd = _mean_and_sd(reference, name)
        panel.plot(reference.times, mean, color=_INK, lw=1.8, label=f"{solver}: mean ± sd", **_dots(reference.times))
        if sd is not None:
            panel.fill_between(reference.times, mean - sd, mean + sd, color=_FILL, lw=0)
        for other, result in others.items():
            if name not in result.species:
                continue
            colour, dash, _ = styles[other]
            mean, sd = _mean_and_sd(result, name)
            panel.plot(result.times, mean, color=colour, ls=dash, lw=1.6, label=other, **_dots(result.times))
            if sd is not None:
                panel.plot(result.times, np.stack([mean - sd, mean + sd], axis=1), color=colour, ls=dash, lw=0.8)
        panel.set_title(name, loc="left", fontsize=9)
    _legend(figure, panels)
    _label_edges(panels, "time", "molecules")
    return figure


def first_passage(passage: FirstPassage, /) -> "Figure":
    """Draw the probability that each target was met by each time, as the band between its bounds, and the density of the time.

    Time is on a logarithmic scale if the times that were asked for span more than two powers of ten.
    """
    times = passage.times
    if len(times) < 2:
        raise ValueError(f"a law of the time is drawn from two times or more, not {len(times)}; give first_passage more times")
    figure, panels = _panels(1, 2)
    for k, name in enumerate(passage.targets):
        colour, dash = _COLOURS[k % len(_COLOURS)], _DASHES[k % len(_DASHES)]
        lower, upper = passage.cdf_bounds(name)
        panels[0].fill_between(times, lower, upper, color=colour, alpha=0.3, lw=0)
        panels[0].plot(times, passage.cdf[:, k], color=colour, ls=dash, lw=1.6, label=name, **_dots(times))
        panels[1].plot(times, passage.density[:, k], color=colour, ls=dash, lw=1.6, **_dots(times))
    panels[0].set_title("met by then", loc="left", fontsize=9)
    panels[1].set_title("density", loc="left", fontsize=9)
    first = times[times > 0]
    for panel in panels:
        if len(first) > 1 and first[-1] > 100 * first[0]:
            panel.set_xscale("log")
        panel.set_ylim(bottom=0)
    _legend(figure, panels)
    _label_edges(panels, "time", "probability")
    return figure


# ----------------------------------------------------------------------------------------------------- one panel


def _draw_marginal(panel: "Axes", reference: Result, name: str, t: int, others: dict[str, Result], styles: dict, solver: str) -> None:
    from matplotlib.ticker import MaxNLocator

    at = {other: result.time_index(float(reference.times[t])) for other, result in others.items()}
    edges = shared_edges(reference, solver, name, t, {other: (result, at[other]) for other, result in others.items()})
    exact = reference.marginal(name, t, edges)
    height = _fill(panel, exact, reference.n_paths if isinstance(reference, Sampled) else None, solver)
    left, right = _range(exact)
    notes = []
    for other, result in others.items():
        colour, dash, marker = styles[other]
        if isinstance(result, Moments) and (result.covariance is None or name in result.observables):
            panel.axvline(float(result[name][at[other]]), color=colour, ls=dash, lw=1.3, label=f"{other} (mean)", zorder=2)
            continue
        law = result.marginal(name, at[other], edges)
        if isinstance(result, Sampled):
            _points(panel, law, result.n_paths, colour, marker, other)
        else:
            lumped = edges is None and law.negative > 1e-3 and law.sd > 3
            first = 1 if lumped else 0  # the lowest cell holds what lies below zero: no point of a smooth curve
            dot = "." if sum(_range(law)) < 12 else None
            at_, p = _curve(law, first)
            panel.plot(_place(law, at_), p, color=colour, ls=dash, marker=dot, lw=1.4, label=other, zorder=4)
            height = max(height, min(p.max(initial=0), 1.6 * height))
        low, high = _range(law)
        left, right = min(left, low), max(right, high)
        sampled = [each.n_paths for each in (reference, result) if isinstance(each, Sampled)]
        notes.append((f"{other}  {_variation(exact, law, sampled)}", colour))
    for line, (text, colour) in enumerate([("total variation", _FAINT), *notes] if notes else []):
        panel.text(1, 0.99 - 0.08 * line, text, transform=panel.transAxes, ha="right", va="top", fontsize=6.5, color=colour)
    start, end = _range(exact)  # a wide approximation must not squeeze the reference
    room = max(0.5, 4 * np.spacing(end))  # large counts have no halves in float64
    left, right = max(left, start - 0.5 * (end - start) - 5) - room, min(right, end + 0.5 * (end - start) + 5) + room
    panel.set_xlim(_place(exact, left), _place(exact, right))
    panel.set_ylim(0, 1.15 * height)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=edges is None))


def _fill(panel: "Axes", law: Marginal, n_paths: int | None, solver: str) -> float:
    """The law as steps over its cells, [n - 1/2, n + 1/2) for counts, or over bins of them for a sample; gives the greatest height."""
    bins, width, mass = _binned(law, n_paths)
    gaps = np.flatnonzero(np.diff(bins) > width)  # between bins that hold something: steps down to nothing
    edges = np.insert(np.append(bins, bins[-1] + width), gaps + 1, bins[gaps] + width) - 0.5
    height = np.insert(np.append(mass, mass[-1]), gaps + 1, 0.0) / width
    panel.fill_between(_place(law, edges), height, step="post", facecolor=_FILL, edgecolor=_FAINT, lw=0.7, label=solver, zorder=1)
    return float(height.max())


def _points(panel: "Axes", law: Marginal, n_paths: int, colour: str, marker: str, label: str) -> None:
    """A sample as the mean over its bins, with 95 % bars."""
    bins, width, mass = _binned(law, n_paths)
    centre, seen = bins + (width - 1) / 2, mass > 0
    bar = 1.96 * np.sqrt(mass * (1 - np.minimum(mass, 1)) / n_paths) / width
    panel.errorbar(
        _place(law, centre[seen]), mass[seen] / width, yerr=bar[seen], fmt=marker, ms=3.2, mfc="white", mec=colour, mew=0.9,
        ecolor=colour, elinewidth=0.7, label=label, zorder=3,
    )  # fmt: skip


def _curve(law: Marginal, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of the cells are from cell `first` on, and the masses of single cells there: no more than can be told apart."""
    cells = law.cells
    kept = np.flatnonzero(cells.lowest >= first)
    if len(kept) > 2 * _MOST_STEPS:
        left, right = _range(law)
        room = right - left
        seen = kept[(cells.lowest[kept] >= left - room) & (cells.lowest[kept] <= right + room)]
        kept = seen[np.unique(np.linspace(0, len(seen) - 1, _MOST_STEPS).astype(np.int64))]
    return cells.lowest[kept] + (cells.size[kept] - 1) / 2, cells.p[kept]


def _place(law: Marginal, index):
    """Where the centre of a cell is: at its index for counts, between its edges for positions."""
    return index if law.edges is None else law.edges[0] + (law.edges[1] - law.edges[0]) * (index + 0.5)


def _binned(law: Marginal, n_paths: int | None) -> tuple[np.ndarray, int, np.ndarray]:
    """Where bins start that hold anything, how many cells they have, and their masses.

    One cell for a law, or as many as can't be told apart; enough to hold many paths for a sample.
    """
    cells, (left, right) = law.cells, _range(law)
    width = max(1, math.ceil((right - left) / (_MOST_STEPS if n_paths is None else min(40, 4 * np.cbrt(n_paths)))))
    if n_paths is not None:
        width = max(width, int(cells.size.max()))
    first, last = cells.lowest // width, (cells.lowest + cells.size - 1) // width
    numbers, number = np.unique(np.concatenate([first, last]), return_inverse=True)
    if np.all(cells.size == 1):
        return numbers * width, width, np.bincount(number[: len(first)], weights=cells.p)
    base = cells.lowest[0]  # large counts are told apart by their distance alone
    knots = np.stack([cells.lowest, cells.lowest + cells.size], axis=1).ravel() - base
    below = np.cumsum(np.stack([np.zeros(len(cells.mass)), cells.mass], axis=1).ravel())
    ends = [np.interp(each * width - base, knots, below) for each in (numbers, numbers + 1)]
    return numbers * width, width, ends[1] - ends[0]


def _variation(exact: Marginal, law: Marginal, sampled: list[int]) -> str:
    """The total variation; as a 95 % interval if one or both are samples of so many paths."""
    value = distances.total_variation(exact.cells, law.cells)
    if not sampled:
        return _short(value)
    errors = [distances.sampled_total_variation((exact.cells, law.cells), n_paths) for n_paths in sampled]
    bias, fluctuation = sum(error[0] for error in errors), math.hypot(*(error[1] for error in errors))
    return f"{_short(max(value - bias - fluctuation, 0))} to {_short(min(value + fluctuation, 1))}"


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.1g}"


def _range(law: Marginal) -> tuple[float, float]:
    """Where all but a thousandth of the law is, with a little room."""
    total = np.cumsum(law.cells.mass)
    first, last = (int(np.searchsorted(total, part * total[-1])) for part in (5e-4, 1 - 5e-4))
    left, right = int(law.cells.lowest[first]), int(law.cells.lowest[last] + law.cells.size[last] - 1)
    room = 0.04 * (right - left)
    return max(left - room, 0), right + room


def _dots(times: np.ndarray) -> dict[str, Any]:
    """Marks what was computed where times are few, so that straight lines between them are not taken for it."""
    return {"marker": "o", "ms": 3} if len(times) <= _FEW else {}


def _mean_and_sd(result: Result, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    s, sd = result.species_index(name), result.sd()
    return result.mean()[:, s], None if sd is None else sd[:, s]


# ------------------------------------------------------------------------------------------------------- layout


def _some_times(n_times: int, n_species: int) -> list[int]:
    """Up to four times, evenly, with the last; the last alone for many species."""
    if n_species > 4:
        return [n_times - 1]
    return sorted({round(i) for i in np.linspace(0, n_times - 1, min(n_times, 4))})


def _styles(others: dict[str, Result]) -> dict[str, tuple]:
    """Colour, dash and marker: laws are told apart by their dashes, samples by their markers."""
    sampled = [other for other, result in others.items() if isinstance(result, Sampled)]
    drawn = [other for other in others if other not in sampled]
    styles = {}
    for i, other in enumerate(others):
        of_kind = (sampled if other in sampled else drawn).index(other)
        styles[other] = (_COLOURS[i % len(_COLOURS)], _DASHES[of_kind % len(_DASHES)], _MARKERS[of_kind % len(_MARKERS)])
    return styles


def _panels(n_rows: int, n_columns: int) -> tuple["Figure", list["Axes"]]:
    """Panels of equal size, laid out by hand in inches: matplotlib's own layout engine takes as long as all the drawing."""
    from matplotlib.figure import Figure

    count = n_rows * n_columns
    columns = n_columns if n_columns > 1 else min(count, max(1, math.ceil(math.sqrt(count))) if count > 3 else count)
    rows = math.ceil(count / columns)
    panel_width, panel_height = max(_PANEL[0], 5.4 / columns), _PANEL[1]
    width, height = columns * panel_width, rows * panel_height + _HEAD
    figure = Figure(figsize=(width, height), dpi=150)
    left, right, bottom, top = _MARGINS
    panels = []
    for i in range(count):
        row, column = divmod(i, columns)
        corner = (column * panel_width + left, height - _HEAD - (row + 1) * panel_height + bottom)
        size = (panel_width - left - right, panel_height - bottom - top)
        panel = figure.add_axes((corner[0] / width, corner[1] / height, size[0] / width, size[1] / height))
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_FAINT)
        panel.tick_params(labelsize=7.5, color=_FAINT)
        panel.locator_params(nbins=5)
        panels.append(panel)
    return figure, panels


def _legend(figure: "Figure", panels: list["Axes"], others: Iterable[str] = ()) -> None:
    """One legend above all panels, each name once: the reference, then the others in order, in as many lines as they need."""
    order = {other: i for i, other in enumerate(others)}
    handles: dict[str, Artist] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = sorted(handles, key=lambda label: order.get(label.removesuffix(" (mean)"), -1))
    width, height = figure.get_size_inches()
    fit = max(1, int((width - 0.2) / (0.62 + 0.065 * max(map(len, labels)))))
    lines = math.ceil(len(labels) / fit)
    figure.legend(
        [handles[label] for label in labels], labels, ncols=math.ceil(len(labels) / lines), loc="upper left", bbox_to_anchor=(0, 1),
        frameon=False, fontsize=8, borderaxespad=0.3,
    )  # fmt: skip
    more = 0.2 * (lines - 1)
    if more:  # make room by moving everything else down
        figure.set_size_inches(width, height + more)
        for panel in panels:
            box = panel.get_position()
            panel.set_position((box.x0, box.y0 * height / (height + more), box.width, box.height * height / (height + more)))


def _label_edges(panels: list["Axes"], x: str, y: str) -> None:
    first = min(panel.get_position().x0 for panel in panels)
    for panel in panels:
        panel.set_xlabel(x, fontsize=8)
        if panel.get_position().x0 == first:
            panel.set_ylabel(y, fontsize=8)
