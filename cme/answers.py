"""How the command line answers: tables or JSON on standard output, files that are written whole or not at all, notes beside."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from cme.comparison import Comparison
    from cme.passages import FirstPassage
    from cme.report import Output


@contextmanager
def open_output(folder: Path | None) -> "Iterator[Output | None]":
    """The folder for the files, tried out before the long work, and the libraries that will write them."""
    if folder is None:
        yield None
        return
    from importlib.util import find_spec

    from cme.report import Output

    for library, extra in (("matplotlib", "plots"), ("pyarrow", "files")):
        if find_spec(library) is None:
            raise ValueError(f"--out writes PNG and Parquet files, and {library} is not installed; pip install 'cme-networks[{extra}]'")
    output = Output(folder)
    try:
        yield output
    finally:
        output.discard()


def finish(
    command: str, result: Any, others: dict[str, Any], frame: Callable[["Comparison"], "pd.DataFrame"], draw: Callable[[], "Figure"],
    output: "Output | None", as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write the frame and the figure, then print the table of `cme.compare`: moments, and distances where there are any."""
    from cme.comparison import compared

    found = compared(result, others)
    written = _write(command, lambda: frame(found), draw, output)
    if as_json:
        rows = [row._asdict() for row in found.rows]
        answer = {"command": command, "reference": found.reference, "results": found.results, "table": rows}
        if getattr(result, "stopped", None) is not None:
            answer["stopped"] = result.stopped.tolist()
        print_json(answer)
    elif not quiet:
        from cme.report import show_comparison

        print(result)
        show_comparison(found.rows)
        if getattr(result, "stopped", None) is not None:
            print(_stopped(result))
        seeds = [f"{name} {record['seed']}" for name, record in found.results.items() if "seed" in record]
        if seeds:
            print(f"seeds: {', '.join(seeds)}")
    _name_files(written, quiet)


def _stopped(result: Any) -> str:
    """How many paths met the condition, and when."""
    import numpy as np

    condition = result.info["options"]["stop"]
    if result.stopped.dtype.kind == "i":  # of an ensemble, by each time
        by = ", ".join(f"{met} by t = {time:g}" for met, time in zip(result.stopped, result.times, strict=True))
        return f"{condition!r} was met by {by} of {result.n_paths} paths"
    met = result.stopped[np.isfinite(result.stopped)]
    mean = f", on the mean of these at t = {met.mean():.6g}" if len(met) else ""
    return f"{condition!r} was met by {len(met)} of {result.n_paths} paths{mean}"


def finish_passage(result: "FirstPassage", draw: Callable[[], "Figure"], output: "Output | None", as_json: bool, quiet: bool) -> None:
    """Write the law of the time and its figure, then print where the paths end and how long they take, and the law at the times."""
    written = _write("first_passage", result.to_frame, draw, output)
    if as_json:
        found: dict[str, Any] = {"command": "first_passage", "results": {"first_passage": dict(result.info)}}
        found |= {"mean": result.mean(), "mean_bounds": list(result.mean_bounds), "never": result.never, "escaped": result.escaped}
        found |= {"certain": result.certain}
        found |= {"targets": result.summary().to_dict("records"), "table": result.to_frame().to_dict("records")}
        print_json(found)
    elif not quiet:
        from cme.report import show_table, with_error

        print(result)
        rows = []
        for name in result.targets:
            low, high = result.probability_bounds(name)
            rows.append([name, with_error(low, low, high), f"{result.mean(name):.10g}", f"{result.sd(name):.6g}"])
        show_table(["target", "probability", "mean time if met", "sd if met"], rows)
        if len(result.times):
            print()
            table: list[Any] = list(result.to_frame().itertuples(index=False))
            cells = [[f"{row.time:g}", row.target, with_error(row.cdf, row.lower, row.upper), f"{row.density:.6g}"] for row in table]
            show_table(["time", "target", "met by then", "density"], cells, left=2)
    _name_files(written, quiet)


def _write(command: str, frame: Callable[[], "pd.DataFrame"], draw: Callable[[], "Figure"], output: "Output | None") -> list[Path]:
    if output is None:
        return []
    table = frame()
    files: dict[str, Callable[[Path], object]] = {
        f"{command}.csv": lambda path: table.to_csv(path, index=False),
        f"{command}.parquet": lambda path: table.to_parquet(path, index=False),
        f"{command}.png": lambda path: draw().savefig(path),
    }
    return output.write(files)


def _name_files(written: list[Path], quiet: bool) -> None:
    if written:
        note(f"wrote {', '.join(map(str, written))}", quiet)


def print_json(value: Any) -> None:
    """Print a value as JSON, which knows no nan and no infinity: null, and the word."""
    print(json.dumps(_strict(value), indent=1))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def note(text: str, quiet: bool) -> None:
    """Say something beside the answer."""
    if not quiet:
        print(text, file=sys.stderr)
