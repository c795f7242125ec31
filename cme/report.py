"""Tables for the terminal, and files that are written whole or not at all."""

import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cme.comparison import SOURCES

if TYPE_CHECKING:
    import pandas as pd

_HEADS = {
    "mean": "mean", "sd": "sd", "fano": "Fano", "total_variation": "total variation", "wasserstein_1": "Wasserstein-1",
    "mass_outside": "P(X < 0)",
}  # fmt: skip


def show_comparison(table: "pd.DataFrame", *, file: TextIO | None = None) -> None:
    """Print the table of `cme.compare` wide: a row for each time, species and method, then the verdict and the error budget.

    A number is shown with its error, ``12.03±0.09``, ``0.02 [0, 0.04]`` where the sides differ, or ``<0.0007`` for a zero. Where the error
    is below a thousandth, only digits that hold are shown.
    Metrics that no method has, and negative mass where there is none, get no column. On a terminal the table is set by rich.
    """
    metrics = [metric for metric in _HEADS if (table.metric == metric).any()]
    if not (table.value[table.metric == "mass_outside"] > 0).any():
        metrics = [metric for metric in metrics if metric != "mass_outside"]
    cells: dict[tuple, dict[str, str]] = {}
    for row in _plain(table):
        text = with_error(row.value, row.lo, row.hi, 6 if row.metric in ("mean", "sd", "fano") else 3)
        cells.setdefault((row.time, row.species, row.method), {})[row.metric] = text
    rows: list[list[str]] = []
    shown: tuple = ()
    for (time, species, method), found in cells.items():
        at = [f"{time:g}" if shown[:1] != (time,) else "", species if shown != (time, species) else ""]
        rows.append([*at, method, *(found.get(metric, "") for metric in metrics)])
        shown = (time, species)
    show_table(["time", "species", "method", *(_HEADS[metric] for metric in metrics)], rows, left=3, file=file)
    for line in verdict(table):
        print(line, file=file)
    budget = error_budget(table)
    if budget:
        print("\nhalf-widths of the total variation, by source, at their largest", file=file)
        show_table(["method", *(source.replace("_", " ") for source in SOURCES)], budget, left=1, file=file)


def with_error(value: float, lo: float, hi: float, digits: int = 6) -> str:
    """Write a number with as many digits as its error leaves, at most `digits`.

    Examples
    --------
    >>> with_error(12.0312, 11.9412, 12.1212), with_error(0.0213, 0.0, 0.0304), with_error(316.59168, 316.5906, 316.5927)
    ('12.03±0.09', '0.021 [0, 0.03]', '316.59')
    """
    if math.isnan(value):
        return "-"
    below, above = value - lo, hi - value
    if math.isinf(value) or not (math.isfinite(below) and math.isfinite(above)):
        return f"{value:.3g} [{lo:.2g}, {hi:.2g}]"
    half = max(below, above)
    if value == lo == 0:
        return f"<{hi:.1g}" if hi > 1e-9 else "0"
    if half <= 1e-3 * abs(value):  # write only digits that hold
        sure = math.floor(-math.log10(2 * half)) if half else 300
        return f"{value:#.{min(digits, sure + 1 + math.floor(math.log10(abs(value))))}g}".rstrip(".") if value else "0"
    decimals = -math.floor(math.log10(half)) + (1 if f"{half:e}"[0] in "12" else 0)
    if min(below, above) > 0.8 * half and 1e-4 < abs(value) < 1e6:
        return f"{round(value, decimals):.{max(decimals, 0)}f}±{round(half, decimals):.{max(decimals, 0)}f}"
    if min(below, above) > 0.8 * half:
        return f"{value:.1e}±{half:.0e}"
    return "{:.10g} [{:.10g}, {:.10g}]".format(*(round(number, decimals) for number in (value, lo, hi)))


def verdict(table: "pd.DataFrame") -> list[str]:
    """Say for each method where its total variation is largest: no probability that it gives is off by more."""
    distances = table[table.metric == "total_variation"]
    if distances.empty:
        return []
    worst = _plain(distances.loc[distances.groupby("method", sort=False).value.idxmax()].sort_values("value"))
    found = [f"{row.method} {with_error(row.value, row.lo, row.hi, 3)} ({row.species}, t = {row.time:g})" for row in worst]
    return ["largest total variation (no probability is off by more): " + "; ".join(found)]


def _plain(table: "pd.DataFrame") -> list[Any]:
    return list(table.itertuples(index=False))


def error_budget(table: "pd.DataFrame") -> list[list[str]]:
    """The largest half-width of the total variation from each source, a row for each method."""
    distances = table[table.metric == "total_variation"]
    largest = distances.groupby("method", sort=False)[list(SOURCES)].max()
    return [
        [str(method), *(f"{half:.1e}" if half else "0" for half in row)]
        for method, row in zip(largest.index, largest.to_numpy(), strict=True)
    ]


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, file: TextIO | None = None) -> None:
    """Print a table: by rich on a terminal, in plain aligned columns elsewhere. The first `left` columns are flush left."""
    rows = [list(row) for row in rows]
    stream = file or sys.stdout
    if stream.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for i, name in enumerate(head):
            table.add_column(name, justify="left" if i < left else "right", no_wrap=i < left)
        for row in rows:
            table.add_row(*row)
        Console(file=stream, highlight=False, markup=False).print(table)
        return
    widths = [max(len(row[i]) for row in [list(head), *rows]) for i in range(len(head))]
    for row in [list(head), *rows]:
        cells = [cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip(), file=stream)


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
