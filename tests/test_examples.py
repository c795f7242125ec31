"""The examples run and end with what they claim; the README's program prints what the README says."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(arguments, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_examples():
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) < 60
    assert ast.get_docstring(tree), "an example starts with the sentence that it claims"
    assert isinstance(tree.body[-1], ast.Assert), "and ends with an assert of it"
    run([path], tmp_path)


def test_the_program_of_the_readme_prints_what_it_says(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 120
    assert lines.index("```python") < 10
    program, printed = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL).groups()
    found, said = run(["-c", program], tmp_path).split(), printed.split()
    assert [word for word in found if not number(word)] == [word for word in said if not number(word)]
    assert [float(word) for word in found if number(word)] == pytest.approx([float(word) for word in said if number(word)], abs=0.0015)


def number(word):
    return re.fullmatch(r"\d+\.\d+", word) is not None
