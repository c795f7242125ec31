"""Deterministic cases of the SBML Test Suite, by its own rule |difference| <= absolute + relative |reference|.

The cases are read from ../shared/sbml-suite, or from the folder that CME_SBML_SUITE names (a checkout of the suite), if there is one.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from tests.verification.sbml_suite import Unsupported, semantic

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "sbml-suite"
LEVELS = ("l3v2", "l3v1", "l2v5", "l2v4", "l2v3", "l2v2", "l2v1", "l1v2")


def folder() -> Path:
    root = Path(os.environ["CME_SBML_SUITE"]) / "cases" if "CME_SBML_SUITE" in os.environ else SHARED
    return root / "semantic"


CASES = sorted(path for path in folder().iterdir() if path.name.isdigit()) if folder().is_dir() else []


def settings(case: Path) -> dict[str, str]:
    lines = (case / f"{case.name}-settings.txt").read_text(encoding="utf-8").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def reference(case: Path) -> tuple[list[str], np.ndarray]:
    with (case / f"{case.name}-results.csv").open(encoding="utf-8") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    return rows[0][1:], np.array([[float(cell) for cell in row] for row in rows[1:]])


@pytest.mark.skipif(not CASES, reason="needs the SBML Test Suite in ../shared/sbml-suite or where CME_SBML_SUITE points")
def test_semantic_cases():
    """No wrong answer; a few may be refused."""
    wrong, refused = [], []
    for case in CASES:
        fields = settings(case)
        columns, values = reference(case)
        named = {kind: [name.strip() for name in fields.get(kind, "").split(",")] for kind in ("amount", "concentration")}
        kinds = [next((kind for kind, names in named.items() if name in names), "value") for name in columns]
        path = next(path for path in (case / f"{case.name}-sbml-{level}.xml" for level in LEVELS) if path.exists())
        try:
            found = semantic(str(path), values[:, 0], columns, kinds)
        except Unsupported as error:
            refused.append(f"{path.name}: {error}")
            continue
        near = np.isclose(found, values[:, 1:], atol=float(fields["absolute"]), rtol=float(fields["relative"]), equal_nan=True)
        if not near.all():
            wrong.append(path.name)
    assert not wrong, f"{len(wrong)} wrong: {wrong[:20]}"
    assert len(refused) <= 0.05 * len(CASES), refused[:20]
