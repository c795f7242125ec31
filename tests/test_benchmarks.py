"""The parts of the benchmarks that measure nothing: the C yardstick's law, the rows for peers, the tables."""

import sys
from pathlib import Path

import numpy as np
import pytest
import verdict

import cme

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import networks
import peers
import peers_table
import prepare_job
import projections
import worker
import yardstick

needs_a_compiler = pytest.mark.skipif(yardstick.compiler() is None, reason="no C compiler")


@needs_a_compiler
@pytest.mark.parametrize("name", ["dimerisation", "toggle", "schlogl"])
def test_the_yardstick_follows_the_master_equation(name):
    timed = next(each for each in networks.NETWORKS if each.name == name)
    network = cme.parse(timed.text)
    counts, events = yardstick.Yardstick(network).paths([timed.end / 10], 2000, 1)
    exact = cme.fsp(network, [timed.end / 10], tol=1e-8)
    assert events > 2000
    for s, species in enumerate(network.species_names):
        verdict.samples_match_pmf(counts[:, 0, s], exact[species][0], exact.lost[0])


@needs_a_compiler
def test_the_yardstick_on_a_ring_with_blocks():  # THEORY A.2: independent walkers, multinomial
    n, t = 100, 0.7
    hops = "; ".join(f"X{i} -> X{(i + 1) % n} @ 1" for i in range(n))
    network = cme.parse(hops + "; X0 = 1000; " + "; ".join(f"X{i} = 0" for i in range(1, n)))
    counts, _ = yardstick.Yardstick(network).paths([t], 500, 3)
    assert np.all(counts.sum(axis=2) == 1000)
    verdict.samples_match_pmf(
        np.repeat(np.arange(n), counts[:, 0].sum(axis=0)), np.exp(-t) * t ** np.arange(9) / np.cumprod([1, *range(1, 9)])
    )


def test_the_yardstick_of_large_networks_takes_mass_action_alone():
    many = "; ".join(f"0 => X{i} @ 1/(1 + X{i})" for i in range(65)) + "; " + "; ".join(f"X{i} = 0" for i in range(65))
    with pytest.raises(ValueError, match="r1 has another law"):
        yardstick._tables(cme.parse(many))


def test_what_peers_are_given(tmp_path, monkeypatch):
    monkeypatch.setitem(networks.TEXTS, "small", "2 A -> B @ c; 0 => A @ k/(1 + B^2); c = 0.5; k = 3; A = 4; B = 0")
    job = prepare_job.job(networks.Timed("small", 2, end=1.0, length=1.0, paths=10, means="fsp"), tmp_path)
    assert job["reactions"] == [(["A", "A"], ["B"], 0.25), ([], ["A"], "3/(B^2 + 1)")]
    assert job["exact"]["mean"][0] == [4.0, 0.0]
    # run_network's own convention: k x (x-1) for two of a kind
    again = cme.load(job["net"])
    assert [again.formula(r) for r in range(2)] == ["k0*S1*(S1 - 1)", "f1"]
    assert peers.hazard(job, [[0, 0], [4, 0], [4, 1]]) == pytest.approx((3 + 3 + 3 + 1.5) / 2)


def test_short_runs_take_some_time():  # in hundredths of a second, many would take none
    before, taken = worker.cpu(), []
    while len(taken) < 10:
        sum(range(10_000))
        now = worker.cpu()
        if now > before:
            taken.append(now - before)
        before = now
    assert min(taken) < 0.009


def test_the_tables():
    def found(**values):
        return peers.Found(**{"path": [20.0, 10.0], "first": [1.0], "memory": [200.0], "version": "1"} | values)

    ensemble = {"ensemble": [2e-6], "n_paths": [100], "sd": [[[0.0], [2.0]]]}
    table = {
        "one": {"cme": found(**ensemble, mean=[[[0.0], [5.0]]]), "other": found(path=[125.0], **ensemble, mean=[[[0.0], [7.0]]])},
        "two": {"cme": found(), "other": found(path=[], first=[], memory=[], error="more than 600 s")},
    }
    exact = {"one": {"solver": "fsp", "mean": [[0.0], [5.1]], "sd": [[0.0], [2.0]]}, "two": None}
    text = peers_table.markdown(table, exact, {"third": "no environment was given"}, "A machine", 2)
    for line in [
        "A machine. Least of 2 rounds. cme 1, other 1.", "Left out: third (no environment was given).",
        "| one | 10 | 12 |", "| two | 10 | - |", "| one | 2.0 | 1.0 |", "| one | 0.5 | 9.5 |", "No result: two, other: more than 600 s.",
    ]:  # fmt: skip
        assert line in text.splitlines(), line


@pytest.mark.parametrize(("value", "text"), [(0.0123, "0.012"), (1.0, "1.0"), (9.96, "10"), (123.4, "120"), (float("inf"), "inf")])
def test_two_digits(value, text):
    assert peers_table.short(value) == text


@pytest.mark.parametrize("name", [each.name for each in projections.PROJECTIONS])
def test_the_projections_can_be_read(name):
    problem = next(each for each in projections.PROJECTIONS if each.name == name)
    network = cme.parse(problem.text)
    assert set(problem.box or {}) <= set(network.species_names)


@pytest.mark.parametrize(("model", "truth"), [("monomolecular", projections.monomolecular), (None, projections.product_of_birth_deaths)])
def test_the_closed_forms_of_the_projections(model, truth):  # THEORY A.1, A.2
    network = cme.parse(projections.MODELS[model] if model else projections.birth_death(20))
    law = cme.fsp(network, [0.7], tol=1e-9)
    found = truth(law.states, 0.7) if model else truth(law.states, 0.7, 20)
    assert np.abs(found - law.p[0]).sum() < 1e-9
