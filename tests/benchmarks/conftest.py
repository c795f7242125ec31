"""At the end of a run: CPU nanoseconds per event beside the C yardstick; CPU seconds of `fsp` beside other integrators, and errors."""


def pytest_terminal_summary(terminalreporter):
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    _projections(terminalreporter, [bench for bench in session.benchmarks if "bound" in bench.extra_info] if session else [])
    found: dict[tuple[str, str], dict[str, float]] = {}
    for bench in session.benchmarks if session else []:
        if "events" in bench.extra_info:
            kind, engine = bench.extra_info["kind"], bench.extra_info["engine"]
            found.setdefault((bench.extra_info["network"], kind), {})[engine] = 1e9 * bench.stats.min / bench.extra_info["events"]
    if found:
        terminalreporter.section("ssa: CPU nanoseconds per event, least of the rounds, one thread")
        terminalreporter.line(f"{'network':16}{'':10}{'cme':>9}{'C direct':>10}{'ratio':>8}")
    for (name, kind), ns in found.items():
        ratio = f"{ns['cme'] / ns['C']:8.2f}" if len(ns) == 2 else ""
        cells = "".join(f"{ns[engine]:{width}.1f}" if engine in ns else " " * width for engine, width in (("cme", 9), ("C", 10)))
        terminalreporter.line(f"{name:16}{kind:10}{cells}{ratio}")


def _projections(terminalreporter, benches):
    """A row for each problem and solver."""
    if benches:
        terminalreporter.section("finite state projection: CPU seconds, least of the rounds, everything included")
        terminalreporter.line(f"{'problem':24}{'solver':15}{'CPU s':>9}{'states':>9}{'bound':>9}{'error':>9}")
    for bench in sorted(benches, key=lambda bench: bench.extra_info["projection"]):
        info = bench.extra_info
        errors = "".join(" " * 9 if info[key] is None else f"{info[key]:9.1e}" for key in ("bound", "error"))
        terminalreporter.line(f"{info['projection']:24}{info['solver']:15}{bench.stats.min:9.3f}{info['states']:9d}{errors}")
