"""Who may import whom (read from the source, imports inside functions included), and that starting is cheap."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cme

PACKAGE, TESTS = Path(cme.__file__).parent, Path(__file__).parent
# A module imports only from rows above its own.
ROWS = [
    {"errors", "kernels"},
    {"ratelaw", "cells", "memory"},
    {"infix", "stoichiometry", "tables", "affine"},
    {"elements"},
    {"wellformed"},
    {"network", "results", "arguments", "progress", "distances", "cell_rates", "jump_rates", "spectrum", "derivative", "enclosure"},
    {"abilities", "programs", "quadrature", "ensembles", "conditions", "passages"},
    {"compiled", "hybrid", "formats", "graphs", "threads"},
    {"ledger"},
    {"random_ledger", "box", "least_states"},
    {"states", "pieces", "complex_balance", "first_order"},
    {"resolved_times"},
    {"clockwork"},
    {"moving_rates", "rates_in_piece", "times_ahead"},
    {"generator"},
    {"generator_in_time"},
    {"lumping", "kramers_moyal", "checkup"},
    {"sampling", "projection", "continuum"},
    {"law"},
    {"comparison"},
    {"plots", "report"},
    {"answers"},
    {"cli"},
]
ROW = {name: i for i, names in enumerate(ROWS) for name in names}
# The arrows that point back, since a network can write itself, a generator lump itself, and rates may be given as functions of the
# time; the sideways ones; what a family shares.
ALLOWED = {
    ("network", "formats.sbml"),
    ("network", "formats.text_write"),
    ("generator", "lumping"),
    ("generator", "generator_in_time"),
}
SIDEWAYS = {
    ("continuum", "projection.propagate"),
    ("continuum", "projection.propagator"),
    ("continuum", "projection.null_vector"),
    ("sampling", "projection.propagator"),
}
LONGEST = 450  # lines of a file; one that needs more is missing a concept
HEAVY = ["numba", "pandas", "scipy", "libsbml", "matplotlib", "networkx", "rich", "pyarrow"]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Every module of cme that a source imports, and where; type-checking blocks do not run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [each if is_module(each) else node.module for each in below]
        else:
            assert not isinstance(node, ast.ImportFrom), f"line {node.lineno}: a relative import"
            continue
        for name in names:
            yield name, node.lineno


def is_module(name):
    return (PACKAGE.parent / Path(*name.split("."))).with_suffix(".py").exists() or (PACKAGE.parent / Path(*name.split("."))).is_dir()


@pytest.mark.parametrize(("module", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_from_rows_above(module, tree):
    room = module.split(".")[0]
    assert room in ROW, f"{module} is in no row; say where it belongs"
    for name, line in imports(tree):
        top, _, target = name.partition(".")
        if room == "kernels":
            assert top in {"numpy", "numba", "llvmlite"} or name.startswith("cme.kernels") or top in sys.stdlib_module_names, (
                f"{module}:{line} imports {name}"
            )
        elif top == "numba":
            raise AssertionError(f"{module}:{line} imports numba; only kernels do")
        if top != "cme" or target == "":  # 'import cme' takes names lazily; only the command line, at the end, may do it
            assert name != "cme" or room == "cli", f"{module}:{line} imports cme as a whole"
            continue
        other = target.split(".")[0]
        if other == room or (module, target) in ALLOWED or (room, target) in SIDEWAYS:
            continue
        assert other in ROW, f"{module}:{line} imports {target}, which is in no row; say where it belongs"
        assert ROW[other] < ROW[room], f"{module} (row {ROW[room] + 1}), line {line}, imports {target} (row {ROW[other] + 1})"


def test_the_test_sees_imports_inside_functions_and_the_exceptions():
    found = {target for name, tree in modules() if name == "network" for target, _ in imports(tree)}
    assert "cme.formats.sbml" in found


@pytest.mark.parametrize("heavy", ["pandas", "matplotlib", "libsbml", "networkx", "rich", "pyarrow"])
def test_heavy_libraries_are_imported_inside_functions(heavy):
    for module, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not any(name.split(".")[0] == heavy for name in names), f"{module}:{node.lineno} imports {heavy} at the top"


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["cme", "tests"])
def test_no_file_is_too_long_to_read_from_top_to_bottom(folder):
    lengths = {str(path.relative_to(folder)): len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_folder_init_files_hold_a_docstring_only():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path


def loaded(code):
    report = f"import sys, json; sys.stderr.write(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return json.loads(run.stderr.splitlines()[-1])


HELP = """
import sys
sys.argv = ["cme", "--help"]
from cme.cli import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import cme; dir(cme)", []),
        (HELP, []),
        ("import cme; cme.parse('0 -> X @ 1; X -> 0 @ 1')", []),
        ("import cme; cme.load('birth_death')", []),
        ("import cme; cme.fsp(cme.load('birth_death'), 1.0).mean()", ["numba", "scipy"]),
        ("import cme; print(cme.load('gene_expression'))", ["libsbml"]),
    ],
)
def test_only_what_is_needed_is_loaded(code, allowed):
    assert set(loaded(code)) <= set(allowed)


def test_public_names_are_all_there():
    for name in cme.__all__:
        assert getattr(cme, name) is not None
    with pytest.raises(AttributeError, match="module 'cme' has no attribute 'nothing'"):
        getattr(cme, "nothing")  # noqa: B009
