"""At the end of a run: CPU nanoseconds per event beside the C yardstick."""


def pytest_terminal_summary(terminalreporter):
    session = getattr(terminalreporter.config, "_benchmarksession", None)
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
