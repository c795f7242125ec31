"""`fsp` by the modes of a fast pair: against other integrators and a closed form, and how a march goes from one form to the other."""

import numpy as np
import pytest
from fast_pairs import DIMER, ISOMER, NETWORKS, the_pair

import cme
from cme.projection import change_of_form, paired
from cme.projection import march as march_room
from cme.projection.fast_pair import FastPair
from cme.projection.march import March
from cme.projection.paired import Paired
from cme.projection.propagate import Integrator
from cme.states import StateSpace


def mean(law: cme.Distribution, name: str) -> np.ndarray:
    return law.mean()[:, law.species.index(name)]


@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS)
def test_a_law_by_modes_is_the_law(text):
    times = [0.0, 0.3, 1.0, 4.0]
    law = cme.fsp(cme.parse(text), times, tol=1e-6, method="fast_pair")
    twin = cme.fsp(cme.parse(text), times, tol=1e-10, method="chebyshev")
    assert law.info["method"].endswith("fast_pair")
    assert " <-> " in law.info["fast_pair"]
    assert np.all(law.lost + law.integration_error <= 1e-6)
    places = {tuple(state): n for n, state in enumerate(twin.states.tolist())}
    for t in range(len(times)):
        q = np.zeros(len(twin.states))
        other = 0.0
        for state, probability in zip(law.states.tolist(), law.p[t].tolist(), strict=True):
            if tuple(state) in places:
                q[places[tuple(state)]] = probability
            else:
                other += probability
        off = np.abs(q - twin.p[t]).sum() + other
        assert off <= law.lost[t] + law.integration_error[t] + 2 * twin.lost[t] + twin.integration_error[t]


def test_monomolecular_law_by_modes():
    network = cme.parse("A <-> B @ 300, 200; 0 -> A @ 40; B -> 0 @ 2; A = 30; B = 0")
    law = cme.fsp(network, [0.5, 2.0], tol=1e-7, method="fast_pair")
    closed = cme.fsp(network, [0.5, 2.0], tol=1e-11, method="monomolecular")
    for t in range(2):
        assert abs(mean(law, "A")[t] - mean(closed, "A")[t]) < 1e-4
        counts = max(law["A"].shape[1], closed["A"].shape[1])
        one, other = (np.pad(each["A"][t], (0, counts - each["A"].shape[1])) for each in (law, closed))
        assert np.abs(one - other).sum() <= law.lost[t] + law.integration_error[t] + 1e-10
    assert law.info["states_in_use"] < 200  # lines


def test_auto_goes_over_where_states_are_many(monkeypatch):
    network = cme.parse("2 M <-> D @ .3, 60; G -> G + M @ 40; M -> 0 @ .02; D + G <-> H @ .002, .5; G = 1; H = 0; M = 60; D = 20")
    plain = cme.fsp(network, [1.0, 3.0], tol=1e-5, method="chebyshev")
    monkeypatch.setattr(change_of_form, "MANY", 500)
    monkeypatch.setattr(change_of_form, "SLOWER", 0.01)
    law = cme.fsp(network, [1.0, 3.0], tol=1e-5)
    assert law.info["method"].endswith(", fast_pair")
    assert law.info["fast_pair"] == "2 M <-> D"
    assert law.info["states_in_use"] < 0.3 * law.info["states"]
    for t in range(2):
        bound = sum(each.lost[t] + each.integration_error[t] for each in (law, plain))
        for name in network.species_names:
            assert abs(mean(law, name)[t] - mean(plain, name)[t]) < bound * 200
    monkeypatch.setattr(change_of_form, "SLOWER", 1e9)
    assert "fast_pair" not in cme.fsp(network, [1.0], tol=1e-5).info["method"]


def test_a_law_that_strays_goes_on_by_states(monkeypatch):
    network = cme.parse(DIMER)
    steps, real = [], Paired.step

    def step(self, *arguments):
        steps.append(arguments)
        if len(steps) > 3:
            raise paired.NotOnModesError
        return real(self, *arguments)

    monkeypatch.setattr(Paired, "step", step)
    law = cme.fsp(network, [0.5, 3.0], tol=1e-6, method="fast_pair")
    assert len(steps) >= 4
    twin = cme.fsp(network, [0.5, 3.0], tol=1e-9, method="chebyshev")
    assert np.all(law.lost + law.integration_error <= 1e-6)
    for name in ("M", "D", "H"):
        np.testing.assert_allclose(mean(law, name), mean(twin, name), atol=1e-4)
        counts = min(law[name].shape[1], twin[name].shape[1])
        assert np.abs(law[name][:, :counts] - twin[name][:, :counts]).sum(axis=1).max() <= 1.1e-6


def a_march(text: str, tol: float, method: str = "chebyshev") -> tuple[March, np.ndarray]:
    """A march on states, and the law at its end."""
    network = cme.parse(text)
    law = cme.fsp(network, [0.5], tol=tol / 10, method=method)
    kept = law.p[0] > 0

    def assemble(space: StateSpace) -> Integrator:
        return Integrator(cme.Generator.from_network(network, space), 4.0, 0.05 * tol)

    march = March(StateSpace.holding(network, law.states[kept]), assemble, tol, 4.0, (10_000, "raise it"), False)
    march.now, march.p, march.stride = 1.0, law.p[0][kept], 0.3
    return march, law.p[0][kept]


def test_what_is_left_of_the_tolerance_goes_to_the_next_march():
    march, p = a_march(DIMER, 1e-5)
    change = change_of_form.ChangeOfForm(cme.parse(DIMER), True)
    following, x = change.look(march)
    left = 0.75
    assert (following.tol, following.horizon, following.stride) == (pytest.approx(0.9 * left * 1e-5), pytest.approx(3.0), 0.3)
    assert x[:, 0].sum() == pytest.approx(p.sum(), abs=1e-14)
    _, _, left_out = the_pair(cme.parse(DIMER), following.form.forward).project(
        march.space.states, p, change_of_form.LEFT_OUT * following.tol
    )
    assert following.error == pytest.approx(left_out)
    assert 0 < left_out <= change_of_form.LEFT_OUT * following.tol
    following.now, following.p = 1.5, x
    back, q = change.undo(following)
    assert (back.tol, back.horizon) == (pytest.approx(0.9 * 0.5 * following.tol), pytest.approx(1.5))
    assert 0 <= p.sum() - q.sum() <= 0.03 * following.tol + 2 * following.error
    assert change.look(march) is None  # waits
    assert change.look(march) is None
    assert change.look(march) is not None


def test_a_law_far_from_the_equilibrium_of_the_pair_stays_on_states():
    network = cme.parse("A <-> B @ 30, 20; 0 -> A @ 4; B -> 0 @ 2; A = 20; B = 0")
    space = StateSpace.around(network, size=300)
    p = np.zeros(len(space))
    p[0] = 1.0

    def assemble(space: StateSpace) -> Integrator:
        return Integrator(cme.Generator.from_network(network, space), 4.0, 1e-3)

    march = March(space, assemble, 1e-2, 4.0, (10_000, "raise it"), False)
    march.now, march.p = 0.0, p
    assert change_of_form.ChangeOfForm(network, True).look(march) is None


def test_lines_that_are_dropped_count_with_all_their_modes(monkeypatch):
    monkeypatch.setattr(march_room, "FIRST_SIZE", 1)
    march, _ = a_march(DIMER, 1e-2)
    following, x = change_of_form.ChangeOfForm(cme.parse(DIMER), True).look(march)
    x[:, 1] += 0.5 * x[:, 0]
    before, mass = following.error, x[:, 0].sum()
    sizes = np.sqrt((x**2).sum(axis=1))
    following.p, following.now = x, 2.0
    kept, place = following._without(x, x[:, 0], np.empty(0, dtype=np.int64), 2.0, 0.0, worth=0.0)
    assert 0 < len(kept) < len(x)
    gone = np.setdiff1d(np.arange(len(x)), np.flatnonzero(np.diff(np.append(-1, place)) > 0))
    assert following.dropped == pytest.approx(mass - kept[:, 0].sum(), abs=1e-15)
    assert following.error - before == pytest.approx(sizes[gone].sum() - x[gone, 0].sum(), rel=1e-9)


def test_errors_of_both_forms_add_up(monkeypatch):
    monkeypatch.setattr(change_of_form, "MANY", 300)
    monkeypatch.setattr(change_of_form, "SLOWER", 0.01)
    real, errors = March.run, []

    def run(self, p, times):
        errors.append(self.error)
        yield from real(self, p, times)
        errors.append(self.error)

    monkeypatch.setattr(March, "run", run)
    law = cme.fsp(cme.parse(DIMER), [0.01, 0.5, 2.0, 4.0], tol=1e-6)
    assert law.info["method"] == "chebyshev, fast_pair"
    assert np.all(np.diff(law.integration_error) > 0)
    started, ended = errors[1], errors[-1]
    assert law.integration_error[-1] > 2 * ended > 2 * started > 0  # and what the first march added


def test_events_between_laws_by_modes():
    network = cme.parse(DIMER + "; e: at time >= 1: M = M + 5")
    law = cme.fsp(network, [0.5, 1.5], tol=1e-6, method="fast_pair")
    twin = cme.fsp(network, [0.5, 1.5], tol=1e-8, method="chebyshev")
    np.testing.assert_allclose(mean(law, "D"), mean(twin, "D"), atol=1e-4)
    assert np.all(law.lost + law.integration_error <= 1e-6)


def test_more_modes_where_more_is_asked():
    few, many = (cme.fsp(cme.parse(ISOMER), [2.0], tol=tol, method="fast_pair") for tol in (1e-3, 1e-9))
    assert many.lost[0] + many.integration_error[0] <= 1e-9 < few.lost[0]


def test_a_law_stays_the_same_where_more_modes_are_kept():
    text = "A <-> B @ 0.439, 5.41; B + X <-> Z @ 14, 0.015; 0 => X @ 1.4/(1+X^2); X -> 0 @ 2.9; A = 8; B = 2; X = 4; Z = 3"
    times = [0.05, 0.1, 0.5]
    law = cme.fsp(cme.parse(text), times, tol=1e-4, method="fast_pair")
    twin = cme.fsp(cme.parse(text), times, tol=1e-10, method="chebyshev")
    at = {tuple(state): i for i, state in enumerate(law.states.tolist())}
    p = np.array([law.p[:, at[state]] if state in at else np.zeros(3) for state in map(tuple, twin.states.tolist())]).T
    off = np.abs(p - twin.p).sum(axis=1) + law.p.sum(axis=1) - p.sum(axis=1)
    assert np.all(off <= law.lost + law.integration_error + 1e-10)


@pytest.mark.parametrize(
    ("text", "times", "tol"),
    [
        ("A <-> B @ 1e3, 1e3; 0 -> P @ 1; 2 P -> 0 @ 1; A = 20; B = 20; P = 0", [1.0, 5.0], 1e-9),  # nothing strays but round-off
        ("E + S <-> C @ 8, 40; C + E -> 0 @ 1; 0 -> E @ 1; 0 -> S @ 1; E = 2; S = 2; C = 0", [1.0, 2.0], 1e-6),  # not on all lines
        ("A -> B @ k; B -> A @ 50; 0 -> A @ 1; B -> 0 @ 1; A = 4; B = 2; k = 30; e: at time >= 1: k = 10", [0.5, 2.0], 1e-6),
        ("A <-> B @ .3, .9; 0 -> B @ .13; B -> 0 @ .54; A + B -> A @ .54; A = 5; B = 15", [1.7], 1e-6),  # modes below zero at the rim
        ("2 M <-> D @ 638, 17300; D -> M @ .01; 0 -> M @ 2; M = 16; D = 6; e: at time >= .5: M = M + 2", [0.0, 0.55], 1e-9),
    ],
)
def test_laws_that_were_hard(text, times, tol):
    law = cme.fsp(cme.parse(text), times, tol=tol, method="fast_pair")
    twin = cme.fsp(cme.parse(text), times, tol=1e-9, method="chebyshev")
    assert np.all(law.lost + law.integration_error <= tol)
    for name in law.species:
        counts = max(law[name].shape[1], twin[name].shape[1])
        one, other = (np.pad(each[name], ((0, 0), (0, counts - each[name].shape[1]))) for each in (law, twin))
        assert np.abs(one - other).sum(axis=1).max() <= tol + 1e-9


def test_long_lines_stay_on_states(monkeypatch):
    march, _ = a_march(DIMER, 1e-5)
    monkeypatch.setattr(change_of_form, "MOST_ENTRIES", 200)
    monkeypatch.setattr(FastPair, "project", None)
    assert change_of_form.ChangeOfForm(cme.parse(DIMER), True).look(march) is None


def test_refusals():
    with pytest.raises(cme.ModelError, match=r"method='fast_pair' needs two reactions by mass action .*no third"):
        cme.fsp(cme.parse("0 -> X @ 1; X -> 0 @ 1"), [1.0], method="fast_pair")
    network = cme.parse(DIMER)
    with pytest.raises(ValueError, match="method='fast_pair' takes a network and finds its own states; leave out space"):
        cme.fsp(network, [1.0], method="fast_pair", space=StateSpace.around(network, size=10))
    with pytest.raises(cme.ConvergenceError, match=r"fsp needs \d+ states and more .* raise max_states \(now 60\)"):
        cme.fsp(network, [3.0], method="fast_pair", max_states=60)
