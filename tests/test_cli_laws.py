"""cme fsp, stationary and first-passage: their options, what they print and write, and one line for what is wrong."""

import json

import pandas as pd
import pytest
from test_cli import column, model, run  # noqa: F401 (fixtures)

import cme

# ------------------------------------------------------------------------------------------------------ fsp, stationary


@pytest.mark.parametrize("command", [("fsp", "--times", "2"), ("stationary",)])
def test_a_method_is_taken_by_name(run, model, command):  # noqa: F811
    name = command[0]
    ran = {}
    for method in ("auto", "projection"):
        rc, out, _ = run(*command[:1], model, *command[1:], "--method", method, "--json")
        assert rc == 0
        ran[method] = json.loads(out)["results"][name]
        assert ran[method]["options"]["method"] == method
    assert "exact_by" in ran["auto"]
    assert "exact_by" not in ran["projection"]
    rc, out, err = run(*command[:1], model, *command[1:], "--method", "guess")
    assert (rc, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: method must be one of 'auto', 'projection'")


def test_an_integrator_is_taken_by_name(run, model):  # noqa: F811
    rc, out, _ = run("fsp", model, "--times", "2", "--method", "krylov", "--json")
    assert (rc, json.loads(out)["results"]["fsp"]["method"]) == (0, "krylov")


@pytest.mark.parametrize("command", [("fsp", "--times", "2"), ("stationary",)])
def test_only_some_species_are_kept(run, command):  # noqa: F811
    words = command[0], "gene_expression", *command[1:]
    rc, out, _ = run(*words, "--keep", "protein")
    assert rc == 0
    assert "mRNA" not in out
    gene = cme.load("gene_expression")
    law = cme.fsp(gene, [2.0]) if command[0] == "fsp" else cme.stationary(gene)
    assert float(column(out, command[0], "mean")) == pytest.approx(law.mean()[0, law.species_index("protein")], rel=1e-4)
    rc, out, _ = run(*words, "--keep", "protein, mRNA", "--json")
    assert json.loads(out)["results"][command[0]]["options"]["keep"] == ["protein", "mRNA"]
    for names, text in (("protein,P", "error: keep names 'P', which is no species; there are mRNA, protein\n"), (",", "keep names ''")):
        rc, out, err = run(*words, "--keep", names)
        assert (rc, out, err.count("\n")) == (1, "", 1)
        assert text in err


def test_a_law_of_one_state_has_its_mean(run, tmp_path):  # noqa: F811
    (tmp_path / "gone.txt").write_text("X -> 0 @ 1; X = 5")
    rc, out, _ = run("stationary", tmp_path / "gone.txt")
    assert (rc, out.splitlines()[-2:]) == (0, ["time  species  method      mean  sd  Fano", "inf   X        stationary     0   0     -"])


def test_the_help_says_what_they_are_for(run, monkeypatch):  # noqa: F811
    monkeypatch.setenv("COLUMNS", "300")
    for command in ("fsp", "stationary"):
        _, out, _ = run(command, "--help")
        assert "Species whose joint law is wanted" in out
        assert "auto, projection" in out


# ------------------------------------------------------------------------------------------------------- first passage


def test_first_passage_prints_where_and_when(run, model, tmp_path):  # noqa: F811
    code, out, err = run("first-passage", model, "X >= 3", "--set", "g=0", "--times", "0.1,0.3")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("FirstPassage to X >= 3: mean time 0.3; 3 states")
    row = next(line for line in out.splitlines() if line.startswith("X >= 3"))
    assert row.split()[3:] == ["1.00000", "0.3", "0.173205"]  # three exponential times of rate 10
    assert "mean time if met" in out
    assert "met by then" in out
    (tmp_path / "growing.txt").write_text("X -> 2 X @ 2; X -> 0 @ 1; X = 5")
    code, out, _ = run("first-passage", tmp_path / "growing.txt", "X == 0", "--json")
    found = json.loads(out)
    assert (code, found["certain"], found["mean"], found["mean_bounds"][1]) == (0, None, None, "inf")
    assert found["targets"][0]["mean"] > 0


def test_first_passage_writes_the_law_of_the_time(run, tmp_path):  # noqa: F811
    words = "first-passage", "schlogl", "off: X <= 82", "on: X >= 563", "--times", "1:20:1"
    code, out, err = run(*words, "--out", tmp_path)
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first_passage.csv", "first_passage.parquet", "first_passage.png"]
    frame = pd.read_csv(tmp_path / "first_passage.csv")
    assert list(frame.columns) == ["time", "target", "cdf", "lower", "upper", "density"]
    assert len(frame) == 40
    assert "wrote" in err
    code, out, _ = run(*words, "--json")
    found = json.loads(out)
    assert code == 0
    assert [each["target"] for each in found["targets"]] == ["off", "on"]
    assert sum(each["probability"] for each in found["targets"]) == pytest.approx(1)
    assert found["results"]["first_passage"]["solver"] == "first_passage"


def test_refusals_of_first_passage(run, model, tmp_path):  # noqa: F811
    assert (
        run("first-passage", model, "X >= 3", "--out", tmp_path)[2] == "error: --out writes and draws the law at some times; give --times\n"
    )
    assert run("first-passage", model, "X >= 3", "X >= 3")[0] == 2
    code, _, err = run("first-passage", model, "Y >= 3")
    assert (code, err.startswith("error: target='Y >= 3' uses 'Y'")) == (1, True)
