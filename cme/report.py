"""Tables for the terminal, and files that are written whole or not at all."""

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cme.comparison import SOURCES, Row

if TYPE_CHECKING:
    import pandas as pd

_HEADS = {
    "mean": "mean", "sd": "sd", "fano": "Fano", "total_variation": "total variation", "wasserstein_1": "Wasserstein-1",
    "mass_outside": "P(X < 0)",
}  # fmt: skip


def show_comparison(table: "pd.DataFrame | list[Row]", *, file: TextIO | None = None) -> None:
    """Print the table of `cme.compare`, or its rows, wide: a row for each time, species and method, then where each method is worst.

    Numbers are written by `with_error`. Metrics that no method has, and negative mass where there is none, get no column. On a terminal
    too narrow for all columns some are left out, with a note.
    """
    cells: dict[tuple, dict[str, str]] = {}
    for row in _plain(table):
        text = with_error(row.value, row.lo, row.hi, 6 if row.metric in ("mean", "sd", "fano") else 3)
        cells.setdefault((row.time, row.species, row.method), {})[row.metric] = text
    means = [metric for metric in ("mean", "sd") if any(metric in found for found in cells.values())]  # also of a law of one state
    metrics = [metric for metric in _HEADS if metric in means or any(found.get(metric, "0") != "0" for found in cells.values())]
    left_out = []
    while _width(cells, metrics) > _room(file) and len(metrics) > 2:
        left_out.append(next(metric for metric in ("mass_outside", "fano", "wasserstein_1", "sd", "mean") if metric in metrics))
        metrics.remove(left_out[-1])
    rows: list[list[str]] = []
    shown: tuple = ()
    for (time, species, method), found in cells.items():
        at = [f"{time:g}" if shown[:1] != (time,) else "", species if shown != (time, species) else ""]
        rows.append([*at, method, *(found.get(metric, "") for metric in metrics)])
        shown = (time, species)
    show_table(["time", "species", "method", *(_HEADS[metric] for metric in metrics)], rows, left=3, file=file)
    if left_out:
        print(f"(no room for {', '.join(head for metric, head in _HEADS.items() if metric in left_out)}: widen the terminal)", file=file)
    worst = worst_variation(table)
    if worst:
        print("\nWhere each method is worst. No probability is off by more than the total variation; its half-widths by source:", file=file)
        show_table(["method", "where", "total variation", *(source.replace("_", " ") for source in SOURCES)], worst, left=2, file=file)


def _width(cells: dict[tuple, dict[str, str]], metrics: list[str]) -> int:
    """How wide the table is, with two spaces between columns."""
    widths = [max([len("species"), *(len(str(key[i])) for key in cells)]) for i in range(3)]
    widths += [max(len(_HEADS[metric]), *(len(found.get(metric, "")) for found in cells.values())) for metric in metrics]
    return sum(widths) + 2 * (len(widths) - 1)


def _room(file: TextIO | None) -> float:
    stream = file or sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else math.inf


def with_error(value: float, lo: float, hi: float, digits: int = 6) -> str:
    """Write a number with as many digits as its error leaves, at most `digits`.

    As ``12.03±0.09``; as the interval ``0.03–0.08`` or ``<0.04`` where the sides differ much or it reaches zero; without the error
    where that is below a thousandth and all digits shown hold.

    Examples
    --------
    >>> with_error(12.0312, 11.9412, 12.1212), with_error(0.0213, 0.0, 0.0304), with_error(316.59168, 316.5906, 316.5927)
    ('12.03±0.09', '<0.031', '316.59')
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return f"{value:.3g}"
    half = max(value - lo, hi - value)
    if math.isnan(half):  # a single path has no error
        return f"{value:.{digits}g}"
    if half <= max(1e-3 * abs(value), 1e-9):
        sure = math.floor(-math.log10(2 * half)) if half else 300
        return f"{value:#.{max(1, min(digits, sure + 1 + math.floor(math.log10(abs(value)))))}g}".rstrip(".") if value else "0"
    if not math.isfinite(half):
        return f"{lo:.2g}–{hi:.2g}"
    decimals = -math.floor(math.log10(half)) + (1 if f"{half:e}"[0] in "12" else 0)
    low, high = math.floor(lo * 10**decimals) / 10**decimals, math.ceil(hi * 10**decimals) / 10**decimals
    if lo == 0:
        return f"<{high:.{digits}g}"
    if min(value - lo, hi - value) < 0.8 * half:
        return f"{low:.{digits}g}–{high:.{digits}g}"
    if 1e-4 < abs(value) < 1e6:
        return f"{round(value, decimals):.{max(decimals, 0)}f}±{round(half, decimals):.{max(decimals, 0)}f}"
    return f"{value:.1e}±{half:.0e}"


def worst_variation(table: "pd.DataFrame | list[Row]") -> list[list[str]]:
    """For each method, where its total variation is largest, how large, and its half-widths by source; best method first."""
    worst: dict[str, Any] = {}
    for row in _plain(table):
        if row.metric == "total_variation" and (row.method not in worst or row.value > worst[row.method].value):
            worst[row.method] = row
    rows = []
    for row in sorted(worst.values(), key=lambda row: row.value):
        sources = [getattr(row, source) for source in SOURCES]
        where = f"{row.species}, t = {row.time:g}"
        rows.append([row.method, where, with_error(row.value, row.lo, row.hi, 3), *(f"{half:.1e}" if half else "0" for half in sources)])
    return rows


def _plain(table: "pd.DataFrame | list[Row]") -> list[Any]:
    return table if isinstance(table, list) else list(table.itertuples(index=False))


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, file: TextIO | None = None) -> None:
    """Print a table in aligned columns, the first `left` of them flush left; on a terminal with a bold head and a rule."""
    rows = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    stream = file or sys.stdout
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        console.print(lines[0], style="bold")
        console.print("─" * len(lines[0]), style="dim")
        lines = lines[1:]
    print("\n".join(lines), file=stream)


# ------------------------------------------------------------------------------------------------------------ files


class Output:
    """A folder into which some files are written, all or none.

    The folder is made and tried out at once, so that a folder that can't be written fails before the long work and not after it.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]  # innermost first
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            self.discard()
            raise OSError(
                f"cannot write into {str(self.folder)!r}: {error.strerror or error}; give --out a folder you may write to"
            ) from None

    def write(self, files: Mapping[str, Callable[[Path], object]]) -> list[Path]:
        """Write each file by its function into a temporary name; when all are there, give them their names."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".writing-") as temporary:
            drafts = [Path(temporary) / name for name in files]
            for draft, write in zip(drafts, files.values(), strict=True):
                write(draft)
            return [draft.replace(self.folder / draft.name) for draft in drafts]

    def discard(self) -> None:
        """Remove the folders that were made for this, where nothing was written into them."""
        for path in self._made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
