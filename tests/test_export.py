"""Networks into files by suffix, and `cme convert`."""

import os
import stat
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

import cme
from cme.cli import app
from cme.formats.export import export

MODEL = "2 A -> B @ k; k = 0.1; A = 10"


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".xml", ".sbml", ".txt", ".TXT"])
def test_files_read_back_equal(suffix, tmp_path):
    network = cme.parse(MODEL, name="model")
    export(network, tmp_path / f"model{suffix}")
    assert cme.load(tmp_path / f"model{suffix}") == network
    assert os.listdir(tmp_path) == [f"model{suffix}"]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("", encoding="utf-8")
    export(cme.parse(MODEL), tmp_path / "model.txt")
    assert stat.S_IMODE((tmp_path / "model.txt").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("model.net", ValueError, r"names no format that can be written; the suffixes are \.xml, \.sbml, \.txt, \.ant, \.antimony"),
        ("model", ValueError, "names no format that can be written"),
        ("nowhere/model.txt", FileNotFoundError, "there is no folder"),
        ("old.txt", FileExistsError, "exists; overwrite it with --force, or name another file"),
        ("folder.txt", IsADirectoryError, "is a folder; name a file"),
    ],
)
def test_refusals(target, error, message, tmp_path):
    (tmp_path / "old.txt").write_text("old", encoding="utf-8")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(error, match=message):
        export(cme.parse(MODEL), tmp_path / target)
    assert sorted(os.listdir(tmp_path)) == ["folder.txt", "old.txt"]
    assert (tmp_path / "old.txt").read_text(encoding="utf-8") == "old"


def test_what_a_format_cannot_hold_leaves_no_file(tmp_path):
    network = cme.parse("A -> 0 @ 1; start 0.5: A = 1; start 0.5: A = 2")
    with pytest.raises(cme.ModelError, match="SBML can't hold an initial distribution over 2 states"):
        export(network, tmp_path / "model.xml")
    assert os.listdir(tmp_path) == []


def test_convert_there_and_back(tmp_path):
    assert run("schlogl", tmp_path / "a.txt").exit_code == 0
    found = run(tmp_path / "a.txt", tmp_path / "b.xml")
    assert (found.exit_code, found.stdout, found.stderr) == (0, "", f"wrote {tmp_path / 'b.xml'}\n")
    assert run(tmp_path / "b.xml", tmp_path / "c.txt", "--quiet").stderr == ""
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == (tmp_path / "c.txt").read_text(encoding="utf-8")


def test_convert_changes_what_it_is_told_to(tmp_path):
    assert run("schlogl", tmp_path / "a.txt", "--set", "k1=0.5", "--initial", "X=7").exit_code == 0
    network = cme.load(tmp_path / "a.txt")
    assert (network.parameters["k1"], network.initial.states) == (0.5, ((7,),))


def test_convert_reads_a_net_file(tmp_path):
    (tmp_path / "a.net").write_text(
        "begin species\n1 A() 3\nend species\nbegin reactions\n1 1,1 0 0.5*2\nend reactions\n", encoding="utf-8"
    )
    assert run(tmp_path / "a.net", tmp_path / "a.txt").exit_code == 0
    assert cme.load(tmp_path / "a.txt") == cme.load(tmp_path / "a.net")


@pytest.mark.skipif(find_spec("antimony") is None, reason="the antimony library is not installed")
def test_convert_reads_and_writes_antimony(tmp_path):
    assert run("birth_death", tmp_path / "a.ant").exit_code == 0
    assert run(tmp_path / "a.ant", tmp_path / "a.txt").exit_code == 0
    assert [str(r) for r in cme.load(tmp_path / "a.txt").reactions] == ["0 -> X", "X -> 0"]


def test_convert_fails_in_one_line(tmp_path):
    (tmp_path / "old.txt").write_text("old", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("A -> B @ k\n", encoding="utf-8")
    for arguments, code, message in [
        (["schlogl", tmp_path / "old.txt"], 1, "exists; overwrite it with --force"),
        (["schlogl", tmp_path / "a.net"], 2, "names no format that can be written"),
        (["schlogl"], 2, "Missing argument"),
        ([tmp_path / "bad.txt", tmp_path / "a.xml"], 1, "uses 'k', which is not defined"),
        ([tmp_path / "none.txt", tmp_path / "a.xml"], 1, "there is no file"),
    ]:
        found = run(*arguments)
        assert found.exit_code == code, found.output
        assert message in found.stderr
        assert code == 2 or found.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["bad.txt", "old.txt"]
    assert run("schlogl", tmp_path / "old.txt", "--force").exit_code == 0
    assert cme.load(tmp_path / "old.txt") == cme.load("schlogl")


def test_convert_without_the_antimony_library(tmp_path, monkeypatch):
    monkeypatch.setattr("cme.formats.antimony.find_spec", lambda name: None)
    found = run("schlogl", tmp_path / "a.ant")
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "pip install 'cme-networks[antimony]'" in found.stderr
    assert os.listdir(tmp_path) == []
