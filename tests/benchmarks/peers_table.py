"""The tables of `peers.py`: pure functions from what was found to Markdown."""

import math

FEW = 25  # molecules

TITLES = {
    "path": "One long path: CPU time per event, as a multiple of cme's",
    "ensemble": "Ensemble at 51 times: CPU time, as a multiple of cme's",
    "first": "First result, from a new process that reads the file: CPU time, as a multiple of cme's",
    "whole": "From the file to that and then the ensemble: CPU time of the process, as a multiple of cme's",
    "memory": "Peak memory of all that, as a multiple of cme's",
}
UNITS = {"path": "ns/event", "ensemble": "us/path", "first": "s", "whole": "s", "memory": "MB"}
SCALES = {"path": 1.0, "ensemble": 1e6, "first": 1.0, "whole": 1.0, "memory": 1.0}


def markdown(table: dict, exact: dict, missing: dict[str, str], machine: str, rounds: int) -> str:
    """All tables: networks down, peers across; `table[network][simulator]` is a `peers.Found`."""
    peers = [name for name in next(iter(table.values()), {}) if name != "cme"]
    version = {name: next((row[name].version for row in table.values() if row[name].version), "?") for name in ["cme", *peers]}
    lines = [f"{machine}. Least of {rounds} rounds. " + ", ".join(f"{name} {version[name]}" for name in ["cme", *peers]) + "."]
    if missing:
        lines += ["", "Left out: " + "; ".join(f"{name} ({why})" for name, why in missing.items()) + "."]
    for measure, title in TITLES.items():
        rows = [ratios(name, row, measure, peers) for name, row in table.items() if getattr(row["cme"], measure) or row["cme"].error]
        lines += ["", f"**{title}**", "", *grid(["network", f"cme, {UNITS[measure]}", *peers], rows)]
    rows = [[name, *(error(row[each], exact[name]) for each in ["cme", *peers])] for name, row in table.items() if exact[name]]
    lines += ["", "**Error of the mean, in standard errors (above 5 it is wrong)**", "", *grid(["network", "cme", *peers], rows)]
    solvers = ", ".join(f"{name}: {found['solver']}" for name, found in exact.items() if found)
    lines += ["", f"Exact means by {solvers}."] if solvers else []
    failed = [f"{name}, {each}: {found.error}" for name, row in table.items() for each, found in row.items() if found.error]
    lines += ["", "No result: " + "; ".join(failed) + "."] if failed else []
    return "\n".join(lines) + "\n"


def ratios(network: str, row: dict, measure: str, peers: list[str]) -> list[str]:
    own = getattr(row["cme"], measure)
    cells = [network, short(min(own) * SCALES[measure]) if own else "-"]
    for name in peers:
        theirs = getattr(row[name], measure)
        cells.append(short(min(theirs) / min(own)) if theirs and own else "-")
    return cells


def error(found, exact: dict) -> str:
    """The largest |mean - exact| over species and times in standard errors, all rounds together.

    Where few molecules tell paths apart a mean has no normal law; but a mean without variance has to be the exact one.
    """
    if not found.mean:
        return "-"
    n, worst = sum(found.n_paths), 0.0
    for k, row in enumerate(exact["mean"]):
        for s, expected in enumerate(row):
            mean = math.fsum(m * each[k][s] for m, each in zip(found.n_paths, found.mean, strict=True)) / n
            variance = exact["sd"][k][s] ** 2 if exact["sd"] else _variance(found, k, s)
            off = abs(mean - expected)
            if n * variance >= FEW:
                worst = max(worst, off * math.sqrt(n / variance))
            elif k == 0 and off:
                worst = math.inf
    return f"{worst:.1f}" if worst < 100 else short(worst)


def _variance(found, k: int, s: int) -> float:
    return math.fsum(m * each[k][s] ** 2 for m, each in zip(found.n_paths, found.sd, strict=True)) / sum(found.n_paths)


def short(value: float) -> str:
    """Two significant digits, without an exponent."""
    if not math.isfinite(value) or value <= 0:
        return str(value)
    rounded = float(f"{value:.1e}")
    return f"{rounded:.{max(1 - math.floor(math.log10(rounded)), 0)}f}"


def grid(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---", *["---:"] * (len(head) - 1)], *rows]]
