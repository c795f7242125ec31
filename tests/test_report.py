"""report: numbers with their errors, the table on narrow and wide terminals, files all or none."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

import cme
from cme import report
from cme.results import Distribution, Moments, Trajectories


@pytest.mark.parametrize(
    ("value", "lo", "hi", "digits", "text"),
    [
        (316.59168, 316.59168, 316.59168, 6, "316.592"),
        (1.0, 1.0, 1.0, 6, "1.00000"),
        (566907.0, 566907.0, 566907.0, 6, "566907"),
        (0.0123456, 0.0123456, 0.0123456, 3, "0.0123"),
        (316.59168, 316.5906, 316.5927, 6, "316.59"),  # only digits that hold
        (12.0312, 11.9412, 12.1212, 6, "12.03±0.09"),
        (12.0312, 11.9, 12.1624, 6, "12.03±0.13"),
        (318.2, 311.6, 324.8, 6, "318±7"),
        (0.0213, 0.0, 0.0304, 3, "<0.031"),
        (0.05, 0.031, 0.056, 3, "0.031–0.056"),
        (0.0, 0.0, 0.0, 3, "0"),
        (0.0, 0.0, 3e-11, 3, "0"),
        (0.0, 0.0, 0.00074, 3, "<0.0008"),
        (6e-5, 2e-5, 1e-4, 3, "6.0e-05±4e-05"),
        (np.nan, np.nan, np.nan, 6, "-"),
        (np.inf, 0.1, np.inf, 3, "inf"),
        (3.0, 2.0, np.inf, 6, "2–inf"),
    ],
)
def test_numbers_show_what_their_errors_leave(value, lo, hi, digits, text):
    assert report.with_error(value, lo, hi, digits) == text


def table():
    now, zero = np.array([1.0]), np.zeros(1)
    p = np.array([[0.25, 0.5, 0.25]])
    exact = Distribution(now, ("X",), np.arange(3)[:, None], p, zero, zero, {"solver": "fsp"})
    gauss = Moments(now, ("X",), np.array([[1.0]]), np.array([[[0.5]]]), {"solver": "lna"})
    paths = Trajectories(now, ("X",), np.random.default_rng(0).choice(3, p=p[0], size=(100, 1, 1)), {"solver": "ssa"})
    return cme.compare(exact, ssa=paths, lna=gauss)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_table_is_plain_in_a_file():
    file = io.StringIO()
    report.show_comparison(table(), file=file)
    lines = file.getvalue().splitlines()
    assert lines[0].split() == ["time", "species", "method", "mean", "sd", "Fano", "total", "variation", "Wasserstein-1", "P(X", "<", "0)"]
    assert lines[1].split() == ["1", "X", "fsp", "1.00000", "0.707107", "0.500000"]
    assert lines[2].split()[:1] == ["ssa"]
    assert lines[3].split() == ["lna", "1.00000", "0.707107", "0.500000", "0.0374", "0.0377", "0.0786"]
    assert lines[5] == "Where each method is worst. No probability is off by more than the total variation; its half-widths by source:"
    assert [line.split()[0] for line in lines[6:]] == ["method", "lna", "ssa"]
    assert "\x1b" not in file.getvalue()


def test_a_narrow_terminal_loses_columns_and_says_so(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    file = Terminal()
    report.show_comparison(table(), file=file)
    head = file.getvalue().splitlines()[0]
    assert "total variation" in head
    assert "Fano" not in head
    assert "(no room for sd, Fano, Wasserstein-1, P(X < 0): widen the terminal)" in file.getvalue()


def test_a_table_without_distances_ends_after_the_moments():
    file = io.StringIO()
    exact = table()
    report.show_comparison(exact[exact.method == "fsp"], file=file)
    assert len(file.getvalue().splitlines()) == 2


# ---------------------------------------------------------------------------------------------------------------- files


def test_files_come_all_together(tmp_path):
    output = report.Output(tmp_path / "a" / "b")
    written = output.write({"x.txt": lambda path: path.write_text("x"), "y.txt": lambda path: path.write_text("y")})
    output.discard()
    assert written == [tmp_path / "a" / "b" / "x.txt", tmp_path / "a" / "b" / "y.txt"]
    assert [path.read_text() for path in written] == ["x", "y"]


def test_when_one_file_fails_the_old_ones_stay(tmp_path):
    output = report.Output(tmp_path)
    output.write({"x.txt": lambda path: path.write_text("old")})

    def broken(path: Path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        output.write({"x.txt": lambda path: path.write_text("new"), "y.txt": broken})
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "old"


def test_folders_made_for_nothing_are_removed(tmp_path):
    report.Output(tmp_path / "a" / "b").discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write into '.*file/folder': Not a directory; give --out a folder you may write to"):
        report.Output(tmp_path / "file" / "folder")
