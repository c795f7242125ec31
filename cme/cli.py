"""The command ``cme``: models, info, check, convert, ssa, ensemble, tau-leap, fsp, stationary, first-passage, compare.

Exit codes: 0 done, 1 failed (one line on standard error says why), 2 the command line is wrong, 130 interrupted. Files are written
whole or not at all. Solvers, pandas and the rest are imported inside the commands, so that ``cme --help`` answers at once.
"""

import gc
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cme.answers import finish, finish_passage, note, open_output, print_json

if TYPE_CHECKING:
    import numpy as np

    from cme.network import Network

app = typer.Typer(
    help="The chemical master equation of a reaction network, exactly and by its diffusion approximations, and how far apart they are.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_UsageError: Any = typer.BadParameter.__base__  # wherever this version of typer has it
METHODS = ("ssa", "langevin", "fokker_planck", "lna", "rate_equations", "tau_leap")

Model = Annotated[
    str,
    typer.Argument(help="A shelf model (see 'cme models'), or a file: SBML (.xml), reaction text (.txt), BioNetGen .net, Antimony (.ant)."),
]
Times = Annotated[
    str,
    typer.Option(help="Times in the model's unit: numbers and ranges start:stop:step (stop included), with commas, such as 0,1,5:20:5."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the random paths; by default a fresh one, which is reported.")]
Paths = Annotated[int, typer.Option("--n-paths", min=1, help="Number of random paths.")]
Method = Annotated[str, typer.Option(help="How paths are found: auto, direct, lanes, rejection or next_reaction.")]
Stop = Annotated[str | None, typer.Option(metavar="CONDITION", help="End a path where this holds, such as 'X >= 100 and Y == 0'.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of threads; by default one for each processor.")]
Tol = Annotated[float, typer.Option(help="Error allowed in the exact answer, in the 1-norm over all states.")]
Keep = Annotated[str, typer.Option(metavar="NAMES", help="Species whose joint law is wanted, with commas; the others are summed over.")]
States = Annotated[int, typer.Option("--max-states", min=1, help="Give up when more states than this are needed.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the table as CSV and Parquet and a figure as PNG.")]
Json = Annotated[bool, typer.Option("--json", help='Print JSON on standard output, and nothing else there (nan is null, inf is "inf").')]
Quiet = Annotated[bool, typer.Option("--quiet", help="No table, no notes, no progress bar.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter or a volume; may be repeated.")]
Initials = Annotated[list[str] | None, typer.Option("--initial", metavar="NAME=COUNT", help="Change an initial count; may be repeated.")]


def main() -> None:
    """Run the command line."""
    gc.set_threshold(50_000, 20, 20)  # loading the libraries makes a million lasting objects: looking for garbage among them costs 0.5 s
    if sys.stdout is None:
        print("error: standard output is closed", file=sys.stderr)
        raise SystemExit(1)
    try:
        raise SystemExit(app(standalone_mode=False) or 0)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # no command at all
            error.show()
        else:
            command = error.ctx.command_path if error.ctx is not None else "cme"  # an option without its value is of no command
            print(f"error: {_one_line(error.format_message()).rstrip('.')}; see '{command} --help'", file=sys.stderr)
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(130) from None
    except OSError as error:  # the help itself could not be printed
        print(f"error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(1) from None


# ------------------------------------------------------------------------------------------------------- commands


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"cme {version('cme-networks')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def models(json: Json = False) -> None:
    """List the models on the shelf."""
    with _errors():
        from cme import catalogue
        from cme.report import show_table

        shelf = catalogue()
        if json:
            print_json(shelf.to_dict("records"))
        else:
            columns = ["name", "title", "species", "reactions"]
            show_table(columns, [[str(cell) for cell in row] for row in shelf[columns].itertuples(index=False)], left=2)


@app.command()
def info(model: Model, json: Json = False, set_: Sets = None, initial: Initials = None) -> None:
    """Show a model: its reactions with their propensities, its conservation laws, its deficiency."""
    with _errors():
        from cme import graphs

        network = _network(model, set_, initial)
        sums, deficiency = graphs.conserved_sums(network), graphs.deficiency(network)
        reversible = graphs.is_weakly_reversible(network)
        n_free = len(network.species) - len(sums)
        if json:
            reactions = [{"name": r.name, "reaction": str(r), "propensity": network.formula(i)} for i, r in enumerate(network.reactions)]
            found: dict[str, Any] = {"name": network.name, "species": list(network.species_names), "reactions": reactions}
            found |= {"parameters": dict(network.parameters), "compartments": dict(network.compartments)}
            found |= {"conserved": sums, "independent_species": n_free, "deficiency": deficiency, "weakly_reversible": reversible}
            print_json(found)
            return
        print(network)
        print(f"  conserved: {'; '.join(sums) or 'nothing'}  ({n_free} independent species)")
        print(f"  deficiency {deficiency}, {'weakly reversible' if reversible else 'not weakly reversible'}")


@app.command()
def check(model: Model, json: Json = False, set_: Sets = None, initial: Initials = None) -> None:
    """Diagnose a model before any run: laws that go wrong at low counts, conversions, conserved sums, and which solvers can take it."""
    with _errors():
        import cme

        found = cme.check(_network(model, set_, initial))
        if json:
            print_json(found.to_dict())
        else:
            print(found)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A shelf model, or a file: SBML, reaction text, BioNetGen .net, Antimony.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .xml or .sbml, .txt (reaction text), .ant (Antimony).")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT if it exists.")] = False, quiet: Quiet = False,
    set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Convert a model to another format."""
    with _errors():
        from cme.formats.export import WRITERS, check_target, export

        if target.suffix.lower() not in WRITERS:
            _usage(f"{str(target)!r} names no format that can be written; the suffixes are {', '.join(WRITERS)}")
        check_target(target, overwrite=force)
        export(_network(source, set_, initial), target, overwrite=force)
        note(f"wrote {target}", quiet)


@app.command()
def ssa(
    model: Model, times: Times = "1,2,5,10", seed: Seed = None, n_paths: Paths = 1000, method: Method = "auto", stop: Stop = None,
    every_event: Annotated[bool, typer.Option("--every-event", help="Write every event of every path to the files of --out.")] = False,
    threads: Threads = None, out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Simulate exact random paths (Gillespie)."""
    with _errors():
        if every_event and out is None:
            _usage("--every-event writes the events to files; give --out")
        with open_output(out) as output:
            import cme

            when, network = _times(times), _network(model, set_, initial)
            options: dict[str, Any] = {
                "n_paths": n_paths,
                "seed": seed,
                "method": method,
                "stop": stop,
                "every_event": every_event,
                "threads": threads,
            }
            result = cme.ssa(network, when, progress=_progress(quiet), **options)
            frame = result.events_frame if every_event else result.to_frame
            finish("ssa", result, {}, lambda _: frame().reset_index(), lambda: cme.plots.paths(result), output, json, quiet)


@app.command()
def ensemble(
    model: Model, times: Times = "1,2,5,10", seed: Seed = None, n_paths: Paths = 10_000, method: Method = "auto", stop: Stop = None,
    threads: Threads = None, out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Simulate very many exact random paths, of which only means and histograms are kept."""
    with _errors(), open_output(out) as output:
        import cme

        when, network = _times(times), _network(model, set_, initial)
        options: dict[str, Any] = {"n_paths": n_paths, "seed": seed, "method": method, "stop": stop, "threads": threads}
        result = cme.ensemble(network, when, progress=_progress(quiet), **options)
        finish("ensemble", result, {}, lambda _: result.to_frame(), lambda: cme.plots.moments(result), output, json, quiet)


@app.command("tau-leap")
def tau_leap(
    model: Model, times: Times = "1,2,5,10", seed: Seed = None, n_paths: Paths = 1000,
    epsilon: Annotated[float, typer.Option(help="Error that is allowed in a leap, above 0 and up to 0.2.")] = 0.03,
    method: Annotated[str, typer.Option(help="Which leaps are made: auto, explicit or implicit.")] = "auto",
    threads: Threads = None, out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Simulate approximate random paths that leap over many reactions at once; what the leaps cost is in the errors of the table."""
    with _errors(), open_output(out) as output:
        import cme

        when, network = _times(times), _network(model, set_, initial)
        options: dict[str, Any] = {"n_paths": n_paths, "epsilon": epsilon, "seed": seed, "method": method, "threads": threads}
        result = cme.tau_leap(network, when, progress=_progress(quiet), **options)
        finish("tau_leap", result, {}, lambda _: result.to_frame().reset_index(), lambda: cme.plots.paths(result), output, json, quiet)


@app.command()
def fsp(
    model: Model, times: Times = "1,2,5,10", tol: Tol = 1e-6, max_states: States = 1_000_000,
    method: Annotated[str, typer.Option(help="auto, projection, an integrator such as krylov, or the name of a closed form.")] = "auto",
    keep: Keep = "", out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Solve the master equation with a certified error (finite state projection)."""
    with _errors(), open_output(out) as output:
        import cme

        when, network = _times(times), _network(model, set_, initial)
        options: dict[str, Any] = {"tol": tol, "method": method, "max_states": max_states, "keep": _names(keep)}
        result = cme.fsp(network, when, progress=_progress(quiet), **options)
        finish("fsp", result, {}, lambda _: result.to_frame(), lambda: cme.plots.marginals(result), output, json, quiet)


@app.command()
def stationary(
    model: Model, tol: Tol = 1e-6, max_states: States = 1_000_000,
    method: Annotated[str, typer.Option(help="auto, projection, or a closed form: product_form, one_step, generating_function.")] = "auto",
    keep: Keep = "", out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Find the stationary law of the master equation."""
    with _errors(), open_output(out) as output:
        import cme

        network = _network(model, set_, initial)
        options: dict[str, Any] = {"tol": tol, "method": method, "max_states": max_states, "keep": _names(keep)}
        result = cme.stationary(network, progress=_progress(quiet), **options)
        finish("stationary", result, {}, lambda _: result.to_frame(), lambda: cme.plots.marginals(result), output, json, quiet)


@app.command("first-passage")
def first_passage(
    model: Model,
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="Conditions such as 'X >= 5', of which no two hold together; or 'name: X >= 5'."),
    ],
    times: Annotated[str, typer.Option(help="Times at which the law is wanted, as in the other commands; none by default.")] = "",
    tol: Annotated[float, typer.Option(help="Probability that may escape, part of the mean that may change, error of the law.")] = 1e-6,
    max_states: States = 1_000_000, out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Find the time of the first passage to a target, and which of several is met first."""
    with _errors():
        if out is not None and not times:
            _usage("--out writes and draws the law at some times; give --times")
        when, conditions = (_times(times) if times else None), _targets(targets)
        with open_output(out) as output:
            import cme

            network = _network(model, set_, initial)
            result = cme.first_passage(network, conditions, when, tol=tol, max_states=max_states, progress=_progress(quiet))
            finish_passage(result, lambda: cme.plots.first_passage(result), output, json, quiet)


@app.command()
def compare(
    model: Model, times: Times = "1,2,5,10", seed: Seed = None, n_paths: Paths = 5000, tol: Tol = 1e-6, max_states: States = 1_000_000,
    methods: Annotated[str, typer.Option(help=f"Any of {','.join(METHODS)}; by default all but the last that can be used.")] = "",
    out: Out = None, json: Json = False, quiet: Quiet = False, set_: Sets = None, initial: Initials = None,
) -> None:  # fmt: skip
    """Compare the diffusion approximations with the exact answer.

    The reference is fsp, or with --times inf the stationary law. A method that can't be used on the model is left out with a note, or,
    if it was asked for by name, is an error.
    """
    with _errors(), open_output(out) as output:
        import cme
        from cme.comparison import Comparison

        when, chosen = _times(times, infinity=True), _methods(methods)
        network = _network(model, set_, initial)
        show, steady = _progress(quiet), math.isinf(when[0])
        if steady:
            exact = cme.stationary(network, tol=tol, max_states=max_states, progress=show)
        else:
            exact = cme.fsp(network, when, tol=tol, max_states=max_states, progress=show)
        seed = int.from_bytes(os.urandom(4), "little") if seed is None else seed
        solvers: dict[str, Callable] = {
            "ssa": lambda: cme.ssa(network, when, n_paths=n_paths, seed=seed, progress=show),
            "langevin": lambda: cme.langevin(network, when, n_paths=n_paths, seed=seed, progress=show),
            "fokker_planck": lambda: cme.fokker_planck(network, when, progress=show),
            "lna": lambda: cme.lna(network, when),
            "rate_equations": lambda: cme.rate_equations(network, when),
            "tau_leap": lambda: cme.tau_leap(network, when, n_paths=n_paths, seed=seed, progress=show),
        }
        results = {}
        for method in chosen:
            try:
                results[method] = solvers[method]()
            except (ValueError, RuntimeError) as error:  # ModelError and ConvergenceError among them
                if methods:
                    raise
                note(f"{method} is left out: {_one_line(error)}", quiet)
        laws = {method: result for method, result in results.items() if method != "rate_equations"}
        finish("compare", exact, results, Comparison.to_frame, lambda: cme.plots.marginals(exact, **laws), output, json, quiet)


# ------------------------------------------------------------------------------------------------ the command line


def _times(text: str, infinity: bool = False) -> "np.ndarray":
    """Read ``0,1,5`` and ``start:stop:step``; the stop is included where a step lands on it."""
    import numpy as np

    from cme.arguments import check_times

    times: list[float] = []
    try:
        for item in text.split(","):
            numbers = [float(number) for number in item.split(":")]
            if len(numbers) == 1:
                times += numbers
                continue
            start, stop, step = numbers
            if not (step > 0 and stop >= start):
                raise ValueError
            if not (stop - start) / step < 1e6:
                _usage(f"--times {text!r}: the range {item} has {(stop - start) / step:.3g} times; take a longer step, for 1e6 at most")
            times += [start + i * step for i in range(math.floor((stop - start) / step * (1 + 1e-12) + 1e-9) + 1)]
    except ValueError:
        _usage(f"--times {text!r} can't be read; write numbers and ranges start:stop:step, such as 0,1,5:20:5")
    try:
        return check_times(np.array(times), infinity=infinity)
    except ValueError as error:
        _usage(f"--times {text!r}: {error}")


def _names(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None


def _targets(texts: list[str]) -> dict[str, str]:
    """Read conditions, each perhaps after a name and a colon."""
    found: dict[str, str] = {}
    for text in texts:
        name, colon, condition = text.partition(":")
        name, condition = (name.strip(), condition.strip()) if colon else (text, text)
        if name in found:
            _usage(f"there are two targets {name!r}; give them different names, as in 'name: X >= 5'")
        found[name] = condition
    return found


def _methods(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",")] if text else list(METHODS[:-1])
    for name in chosen:
        if name not in METHODS:
            _usage(f"--methods: there is no method {name!r}; there are {', '.join(METHODS)}")
    return chosen


def _network(model: str, sets: list[str] | None, initials: list[str] | None) -> "Network":
    """Read the model and change it as asked."""
    parameters, counts = _assignments("--set", sets), _assignments("--initial", initials)
    from cme import load

    network = load(model)
    if parameters:
        network = network.with_parameters(**parameters)
    return network.with_initial(counts) if counts else network


def _assignments(option: str, texts: list[str] | None) -> dict[str, float]:
    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            _usage(f"{option} {text!r} can't be read; write {option} NAME=NUMBER")
    return found


def _progress(quiet: bool) -> bool | None:
    from cme.kernels import notice

    notice.shown = False if quiet else None  # kernels may be compiled before there is a bar
    return notice.shown


# ----------------------------------------------------------------------------------------------------------- errors


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what may go wrong into one line on standard error and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except KeyboardInterrupt:
        print("interrupted; no file was written", file=sys.stderr)
        raise typer.Exit(130) from None
    except (ValueError, RuntimeError, ArithmeticError, OSError, MemoryError, KeyError, ImportError) as error:
        if isinstance(error, typer.Exit):
            raise
        print(f"error: {_one_line(error) if len(getattr(error, 'problems', ())) < 2 else error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _usage(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    raise typer.Exit(2)


def _one_line(error: BaseException | str) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {str(error.filename)!r}"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__
