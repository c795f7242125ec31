"""cme ssa, ensemble and tau-leap: their options, one line for what is wrong, and counts of 1e9 and more."""

import json

import pandas as pd
import pytest
from test_cli import model, run  # noqa: F401 (fixtures)

import cme

QUICK = ("--times", "1,2", "--seed", "1", "--n-paths", "60")


def ends_with(run, rc, text, *words):  # noqa: F811
    """The command fails with this exit code and one line."""
    code, out, err = run(*words)
    assert (code, out) == (rc, "")
    assert err.count("\n") == 1
    assert text in err


def test_ssa_takes_a_method_a_condition_and_threads(run, model):  # noqa: F811
    rc, out, _ = run("ssa", model, *QUICK, "--method", "rejection", "--stop", "X >= 5 and X < 9", "--threads", "2", "--json")
    assert rc == 0
    found = json.loads(out)
    info = found["results"]["ssa"]
    assert (info["method"], info["options"]["stop"], info["options"]["threads"]) == ("rejection", "X >= 5 and X < 9", 2)
    paths = cme.ssa(cme.load(model), [1, 2], n_paths=60, seed=1, method="rejection", stop="X >= 5 and X < 9")
    assert found["stopped"] == [time if time < float("inf") else "inf" for time in paths.stopped.tolist()]
    met = paths.stopped[paths.stopped <= 2]
    rc, out, _ = run("ssa", model, *QUICK, "--method", "rejection", "--stop", "X >= 5 and X < 9")
    assert f"'X >= 5 and X < 9' was met by {len(met)} of 60 paths, on the mean of these at t = {met.mean():.6g}" in out
    ends_with(run, 1, "method must be one of 'auto', 'direct'", "ssa", model, *QUICK, "--method", "guess")
    ends_with(run, 2, "Invalid value for '--threads'", "ssa", model, *QUICK, "--threads", "0")


def test_a_condition_that_is_never_met(run, model):  # noqa: F811
    _, out, _ = run("ssa", model, *QUICK, "--stop", "X > 10000")
    assert "'X > 10000' was met by 0 of 60 paths\n" in out


def test_a_condition_is_met_with_rates_in_time(run, tmp_path):  # noqa: F811
    (tmp_path / "seasons.txt").write_text("0 => X @ 3*(1 + sin(time)); X -> 0 @ 1")
    stop = "X >= 4 && time > 0.5"
    _, out, _ = run("ssa", tmp_path / "seasons.txt", *QUICK, "--stop", stop)
    paths = cme.ssa(cme.load(tmp_path / "seasons.txt"), [1, 2], n_paths=60, seed=1, stop=stop)
    met = paths.stopped[paths.stopped <= 2]
    assert f"{stop!r} was met by {len(met)} of 60 paths, on the mean of these at t = {met.mean():.6g}" in out


def test_ensemble_takes_them_too(run, model):  # noqa: F811
    _, out, _ = run("ensemble", model, *QUICK, "--stop", "X >= 5", "--method", "direct", "--threads", "1")
    met = cme.ensemble(cme.load(model), [1, 2], n_paths=60, seed=1, stop="X >= 5").stopped
    assert f"'X >= 5' was met by {met[0]} by t = 1, {met[1]} by t = 2 of 60 paths" in out


def test_every_event_goes_to_the_files(run, model, tmp_path):  # noqa: F811
    rc, _, _ = run("ssa", model, *QUICK, "--every-event", "--out", tmp_path / "all")
    assert rc == 0
    expected = cme.ssa(cme.load(model), [1, 2], n_paths=60, seed=1, every_event=True).events_frame().reset_index()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "all" / "ssa.csv"), expected, check_dtype=False)
    ends_with(run, 2, "--every-event writes the events to files; give --out", "ssa", model, *QUICK, "--every-event")


def test_tau_leap(run, model, tmp_path):  # noqa: F811
    rc, out, _ = run("tau-leap", model, *QUICK, "--epsilon", "0.05", "--method", "explicit", "--out", tmp_path / "leap")
    assert rc == 0
    assert "tau_leap" in out
    assert "seeds: tau_leap 1" in out
    assert sorted(path.name for path in (tmp_path / "leap").iterdir()) == ["tau_leap.csv", "tau_leap.parquet", "tau_leap.png"]
    expected = cme.tau_leap(cme.load(model), [1, 2], n_paths=60, seed=1, epsilon=0.05, method="explicit")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "leap" / "tau_leap.csv"), expected.to_frame().reset_index(), check_dtype=False)
    ends_with(run, 1, "epsilon must be at most 0.2, not 0.5", "tau-leap", model, "--epsilon", "0.5")


@pytest.mark.parametrize("command", ["ssa", "ensemble", "tau-leap"])
def test_a_single_path_has_values_and_no_errors(run, model, command):  # noqa: F811
    rc, out, _ = run(command, model, "--times", "0,1", "--seed", "1", "--n-paths", "1")
    assert rc == 0
    assert "nan" not in out
    mean = cme.ssa(cme.load(model), [0, 1], n_paths=1, seed=1).mean()
    if command != "tau-leap":
        lines = [line.split() for line in out.splitlines() if f" {command} " in line]
        assert [line[3] for line in lines if len(line) > 5] == [f"{value:g}" for value in mean[:, 0]]


def test_what_is_wrong_with_the_line_is_one_line(run, model):  # noqa: F811
    ends_with(run, 2, "Invalid value for '--seed'", "ssa", model, "--seed", "-1")
    ends_with(run, 2, "Invalid value for '--n-paths'", "ssa", model, "--n-paths", "0")
    ends_with(run, 2, "No such option: --foo", "ssa", model, "--foo")
    ends_with(run, 2, "Option '--method' requires an argument", "ssa", model, "--method")
    ends_with(run, 2, "No such command 'sssa'", "sssa", model)
    ends_with(run, 2, "Missing argument", "ssa")
    ends_with(run, 2, "the range 0:1e9:1e-3 has 1e+12 times; take a longer step, for 1e6 at most", "ssa", model, "--times", "0:1e9:1e-3")


def test_no_command_is_answered_with_the_help(run):  # noqa: F811
    rc, out, err = run()
    assert rc in (0, 2)
    assert "tau-leap" in out + err


@pytest.mark.parametrize("count", [10**9, 10**18])
def test_large_counts(run, tmp_path, count):  # noqa: F811
    path = tmp_path / "large.txt"
    path.write_text(f"A -> B @ 1\nA = {count}")
    words = (path, "--times", 10 / count, "--seed", 1, "--n-paths", 50)
    rc, out, _ = run("ssa", *words, "--out", tmp_path / "figures")
    assert rc == 0
    sd = cme.ssa(cme.load(path), 10 / count, n_paths=50, seed=1)["B"].std(ddof=1)
    assert [float(line.split("±")[1].split()[1]) for line in out.splitlines() if line.split()[:1] == ["B"]] == [pytest.approx(sd, abs=0.1)]
    if count == 10**18:
        ends_with(run, 1, "a count reaches 1e+18, and an ensemble sums counts below 2^53; use ssa", "ensemble", *words)
        return
    assert run("ensemble", *words)[0] == 0
    rc, out, _ = run("compare", *words, "--methods", "ssa,tau_leap,lna")
    assert rc == 0
    assert out.rindex("lna ") > 0
    assert "fsp" in out
