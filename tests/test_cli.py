"""The command line: answers, files, and one clear line with the right exit code for whatever goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cme import cli

BIRTH_DEATH = "birth: 0 -> X @ k\ndeath: X -> 0 @ g\nk = 10; g = 1\nX = 0\n"


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line; gives the exit code, standard output and standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["cme", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "bd.txt"
    path.write_text(BIRTH_DEATH)
    return path


def column(text, method, metric):
    """A cell of the printed table (its last time)."""
    lines = [line for line in text.splitlines() if line]
    head = next(line for line in lines if line.startswith("time"))
    row = [line for line in lines if f" {method} " in line][-1]
    end = head.index(metric) + len(metric)
    return row[:end].split()[-1]


# -------------------------------------------------------------------------------------------------------------- answers


def test_models_lists_the_shelf(run):
    code, out, _ = run("models")
    assert code == 0
    assert any(line.startswith("schlogl ") for line in out.splitlines())
    code, out, _ = run("models", "--json")
    assert {"birth_death", "schlogl", "gene_expression"} <= {entry["name"] for entry in json.loads(out)}


def test_info_shows_propensities_and_laws(run):
    code, out, _ = run("info", "schlogl", "--set", "k1=0.031")
    assert code == 0
    assert "propensity k1*X*(X - 1)/2" in out
    assert "k1 = 0.031" in out
    assert "deficiency 1, weakly reversible" in out
    code, out, _ = run("info", "isomerisation", "--json")
    found = json.loads(out)
    assert found["independent_species"] == 1
    assert len(found["conserved"]) == 1


def test_fsp_prints_the_exact_moments(run, model):
    code, out, err = run("fsp", model, "--times", "1,3")
    assert (code, err) == (0, "")
    mean = 10 * (1 - np.exp(-3))  # Poisson, THEORY.md A.1
    assert float(column(out, "fsp", "mean")) == pytest.approx(mean, rel=1e-5)


def test_json_is_the_only_thing_on_standard_output(run, model):
    code, out, err = run("fsp", model, "--times", "3", "--json", "--set", "k=20", "--initial", "X=7")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["results"]["fsp"]["solver"] == "fsp"
    mean = next(row for row in answer["table"] if row["metric"] == "mean")
    assert mean["value"] == pytest.approx(20 + (7 - 20) * np.exp(-3), rel=1e-6)


def test_json_writes_infinity_as_a_word_and_nan_as_null(run, model):
    code, out, _ = run("compare", model, "--times", "inf", "--methods", "lna", "--json")
    assert code == 0
    assert {row["time"] for row in json.loads(out)["table"]} == {"inf"}
    code, out, _ = run("fsp", model, "--times", "0", "--json")
    assert next(row for row in json.loads(out)["table"] if row["metric"] == "fano")["value"] is None


def test_ensemble_writes_means_with_their_errors(run, model, tmp_path):
    code, out, _ = run("ensemble", model, "--seed", 4, "--n-paths", 50, "--times", "1,2", "--out", tmp_path)
    assert code == 0
    assert "seeds: ensemble 4" in out
    frame = pd.read_csv(tmp_path / "ensemble.csv")
    assert list(frame.columns) == ["time", "species", "mean", "sd", "standard_error"]


def test_ssa_repeats_with_its_seed(run, model):
    first, second = (run("ssa", model, "--seed", 4, "--n-paths", 50, "--times", "0:2:0.5") for _ in range(2))
    assert first == second
    assert first[0] == 0
    assert "seeds: ssa 4" in first[1]


def test_stationary(run):
    code, out, _ = run("stationary", "schlogl")
    assert code == 0
    assert column(out, "stationary", "mean") == "454.861"  # THEORY.md C4


def test_compare_writes_the_table_and_a_figure(run, model, tmp_path):
    out_dir = tmp_path / "new" / "folder"
    code, out, err = run(
        "compare", model, "--times", "5", "--methods", "ssa,lna,rate_equations", "--seed", 1, "--n-paths", 500, "--out", out_dir
    )
    assert code == 0
    assert sorted(path.name for path in out_dir.iterdir()) == ["compare.csv", "compare.parquet", "compare.png"]
    assert "wrote" in err
    csv, parquet = pd.read_csv(out_dir / "compare.csv"), pd.read_parquet(out_dir / "compare.parquet")
    pd.testing.assert_frame_equal(csv, parquet)
    assert parquet.attrs["results"]["ssa"]["seed"] == 1
    assert set(csv.method) == {"fsp", "ssa", "lna", "rate_equations"}
    assert (out_dir / "compare.png").read_bytes().startswith(b"\x89PNG")
    worst = out.split("Where each method is worst. No probability is off by more than the total variation; its half-widths by source:\n")[1]
    assert [line.split()[0] for line in worst.splitlines()[:3]] == ["method", "lna", "ssa"]


def test_quiet_says_nothing(run, model, tmp_path):
    code, out, err = run("fsp", model, "--quiet", "--out", tmp_path)
    assert (code, out, err) == (0, "", "")
    assert (tmp_path / "fsp.csv").exists()


def test_a_method_that_cannot_be_used_is_left_out_with_a_note(run, model):
    code, out, err = run("compare", model, "--times", "inf")
    assert code == 0
    assert "ssa is left out: times must be finite; for the stationary law use stationary()" in err
    assert " lna " in out
    code, _, err = run("compare", model, "--times", "inf", "--methods", "ssa")  # asked for by name: an error
    assert (code, err) == (1, "error: times must be finite; for the stationary law use stationary()\n")


def test_ranges_of_times():
    np.testing.assert_allclose(cli._times("0,0.5,1:3:0.5,10"), [0, 0.5, 1, 1.5, 2, 2.5, 3, 10])
    np.testing.assert_allclose(cli._times("0:1:0.1"), np.linspace(0, 1, 11))
    np.testing.assert_allclose(cli._times("0:10:4"), [0, 4, 8])


def test_version_and_help(run):
    assert run("--version")[1].startswith("cme ")
    code, out, _ = run("--help")
    assert code == 0
    for command in ("models", "info", "ssa", "ensemble", "fsp", "stationary", "compare"):
        assert f"  {command}" in out


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--times", "1,x"], "--times '1,x' can't be read; write numbers and ranges start:stop:step, such as 0,1,5:20:5"),
        (["--times", ""], "--times '' can't be read"),
        (["--times", "0:5"], "--times '0:5' can't be read"),
        (["--times", "0:5:-1"], "--times '0:5:-1' can't be read"),
        (["--times", "0:1e9:1e-9"], "--times '0:1e9:1e-9': the range 0:1e9:1e-9 has 1e+18 times"),
        (["--times", "3,1"], "--times '3,1': times must be >= 0 and strictly increasing, not [3. 1.]"),
        (["--times=-1"], "--times '-1': times must be >= 0 and strictly increasing"),
        (["--times", "inf"], "--times 'inf': times must be finite; for the stationary law use stationary()"),
        (["--set", "k"], "--set 'k' can't be read; write --set NAME=NUMBER"),
        (["--set", "k=two"], "--set 'k=two' can't be read; write --set NAME=NUMBER"),
        (["--initial", "=2"], "--initial '=2' can't be read; write --initial NAME=NUMBER"),
    ],
)
def test_a_wrong_command_line_is_code_2(run, model, words, message):
    code, out, err = run("fsp", model, *words)
    assert code == 2
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_an_unknown_method_is_code_2(run, model):
    code, _, err = run("compare", model, "--methods", "ssa,magic")
    assert code == 2
    assert err == "error: --methods: there is no method 'magic'; there are ssa, langevin, fokker_planck, lna, rate_equations, tau_leap\n"


@pytest.mark.parametrize("words", [["fsp"], ["fsp", "schlogl", "--nothing"], ["nothing"], ["ssa", "schlogl", "--n-paths", "0"]])
def test_usage_that_typer_refuses_is_code_2_without_a_traceback(run, words):
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "words", "message"),
    [
        ("m.xml", "<sbml><model></sbml>", [], "line"),  # broken XML
        ("m.txt", BIRTH_DEATH, ["--initial", "Y=3"], "'m' has no species 'Y'; there are X"),
        ("m.txt", BIRTH_DEATH, ["--initial", "X=-3"], "species 'X' starts at -3; an initial count must be >= 0"),
        ("m.txt", BIRTH_DEATH, ["--initial", "X=0.5"], "species 'X' starts at 0.5, not a whole number of molecules"),
        ("m.txt", BIRTH_DEATH, ["--set", "q=1"], "'m' has no parameter 'q'; there are g, k"),
        ("m.txt", "0 => X @ k*q\nk = 1\n", [], "uses 'q', which is not defined"),
        ("m.txt", "0 -> X\n", [], "has no '@'"),
        ("m.txt", "0 -> X @ 1e3; X -> 0 @ 1\n", ["--max-states", "20"], "max_states"),
        ("m.txt", "0 => X @ 5.5 - X\n", [], "is negative in state {X: 6}"),
    ],
)
def test_a_model_that_fails_is_code_1_and_one_line(run, tmp_path, name, text, words, message):
    path = tmp_path / name
    path.write_text(text)
    out_dir = tmp_path / "out"
    code, out, err = run("fsp", path, *words)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not out_dir.exists()


def test_a_missing_file(run, tmp_path):
    code, _, err = run("fsp", tmp_path / "no.xml")
    assert code == 1
    assert err == f"error: there is no file {tmp_path / 'no.xml'}\n"
    code, _, err = run("fsp", "schlog")
    assert code == 1
    assert err.startswith("error: there is no shelf model 'schlog' and no file of that name; did you mean 'schlogl'")


def test_an_out_that_cannot_be_written_fails_before_the_work(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("cme.fsp", lambda *_, **__: pytest.fail("the work was done first"), raising=False)
    occupied = tmp_path / "file"
    occupied.write_text("")
    code, out, err = run("fsp", model, "--out", occupied / "folder")
    assert code == 1
    assert out == ""
    assert err.startswith(f"error: cannot write into {str(occupied / 'folder')!r}: ")
    assert err.endswith("; give --out a folder you may write to\n")


def test_every_reason_has_a_line_of_its_own(run, tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("A -> B @ nowhere\nB -> C @ nothing\n")
    code, _, err = run("check", path)
    assert code == 1
    head, first, second = err.splitlines()
    assert head == f"error: {path}: 2 things in this model can't be taken"
    assert first.startswith("  line 1: ")
    assert "'nowhere'" in first
    assert second.startswith("  line 2: ")
    assert "'nothing'" in second


def test_a_failure_leaves_no_file_behind(run, model, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", broken)
    code, _, err = run("fsp", model, "--out", tmp_path / "out")
    assert (code, err) == (1, "error: no space left\n")
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named_before_the_work(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = run("fsp", model, "--out", tmp_path / "out")
    assert code == 1
    assert err == "error: --out writes PNG and Parquet files, and matplotlib is not installed; pip install 'cme-networks[plots]'\n"


# ------------------------------------------------------------------------------------------------- in a process of its own


def command(*words):
    return [sys.executable, "-c", "from cme.cli import main; main()", *map(str, words)]


def test_a_broken_pipe_is_quiet():
    process = subprocess.Popen(command("models"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_with_130_and_no_files(tmp_path):
    path = tmp_path / "slow.txt"
    path.write_text("0 -> X @ 1e6; X -> 0 @ 1; X = 1000000\n")
    out_dir = tmp_path / "out"
    process = subprocess.Popen(
        command("ssa", path, "--times", "1000", "--n-paths", 1000, "--out", out_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not out_dir.exists() and time.monotonic() < deadline:  # the folder is made just before the work
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1] == "interrupted; no file was written"
    assert not Path(out_dir).exists()


# ------------------------------------------------------------------------------------------- what used to be a traceback


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X => 0 @ k*X/z\nk=1\nz=0\nX=5\n", "is not a finite number in state {X: 5}"),
        ("X => 0 @ (1e200*X)^2\nX=5\n", "is not a finite number in state {X: 5}"),
        ("200 X -> Y @ 1\nX=400\n", "is mass action of 200 molecules"),
    ],
)
def test_arithmetic_that_overflows_is_told_in_one_line(run, tmp_path, text, message):
    path = tmp_path / "model.txt"
    path.write_text(text)
    code, out, err = run("fsp", path)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_parameter_may_be_called_self(run, tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("X -> 0 @ self\nself = 1\nX = 40\n")
    code, out, _ = run("fsp", path, "--set", "self=2", "--times", "1")
    assert code == 0
    assert float(column(out, "fsp", "mean")) == pytest.approx(40 * np.exp(-2), rel=1e-5)


def test_species_named_like_the_columns_keep_their_own(run, tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("0 -> p @ 1\np -> time @ 1\ntime -> 0 @ 2\n")
    out = tmp_path / "out"
    assert run("fsp", path, "--times", "1", "--out", out, "--quiet")[0] == 0
    frame = pd.read_csv(out / "fsp.csv")
    assert list(frame.columns) == ["time_", "p", "time", "p_"]
    assert frame.p_.sum() == pytest.approx(1, abs=1e-6)
    assert (frame.p_ * frame.p).sum() == pytest.approx(1 - np.exp(-1), abs=1e-5)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", ["models", "--help"])
def test_a_full_disk_is_told_in_one_line(words):
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-c", "from cme.cli import main; main()", words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert found.returncode == 1
    assert "No space left on device" in found.stderr.splitlines()[0]
    assert "Traceback" not in found.stderr
