"""A fast reversible pair by its modes: against all entries of the generator, other integrators, and a closed form."""

import numpy as np
import pytest
from scipy.linalg import expm

import cme
from cme.projection import change_of_form, fast_pair, paired
from cme.projection import march as march_room
from cme.projection.fast_pair import FastPair
from cme.projection.line_matrix import LineMatrix
from cme.projection.march import March
from cme.projection.paired import Paired
from cme.projection.polynomials import Coefficients
from cme.projection.propagate import Integrator, Reach
from cme.states import StateSpace

DIMER = "2 M <-> D @ 4, 30; 0 -> M @ 6; M -> 0 @ 1; D + G <-> H @ .05, .3; G -> G + 3 M @ .4; G = 1; H = 0; M = 3; D = 2"
ISOMER = "A <-> B @ 30, 50; 0 -> A @ 5; B -> 0 @ .6; 2 B -> C @ .01; C -> 0 @ 1; A = 4; B = 2; C = 0"
COMPLEX = "E + S <-> C @ 8, 40; C -> E + P @ 1; 0 -> S @ 2; P -> 0 @ 1; E => 0 @ .05*E; E = 4; S = 6; C = 0; P = 0"
BURDENED = "2 M <-> D @ 4, 30; 0 => M @ 6/(1 + R^2); R -> 0 @ 1; D -> D + R @ .1; D -> 0 @ .3; M -> 0 @ .2; M = 3; D = 2; R = 0"
NETWORKS = {"dimer": DIMER, "isomer": ISOMER, "complex": COMPLEX, "other laws": BURDENED}
MOLECULES = {DIMER: 15, ISOMER: 9, COMPLEX: 10, BURDENED: 10}


def the_pair(network: cme.Network, reaction: int = 0) -> FastPair:
    return next(pair for pair in FastPair.candidates(network) if pair.forward == reaction)


def mean(law: cme.Distribution, name: str) -> np.ndarray:
    return law.mean()[:, law.species.index(name)]


def small_set(network: cme.Network, n_molecules: int) -> tuple[FastPair, StateSpace, StateSpace]:
    """A pair, a few lines, and all the states on them."""
    pair = the_pair(network)
    lines = np.unique(
        pair.lines_of(StateSpace.reachable(network, within=" + ".join(network.species_names) + f" <= {n_molecules}").states)[0], axis=0
    )
    places = [np.arange(n) for n in pair.length(lines[:, pair._of_line])]
    states = np.zeros((sum(map(len, places)), len(network.species)), dtype=np.int64)
    states[:, pair.others] = np.repeat(lines, list(map(len, places)), axis=0)
    states += np.concatenate(places)[:, None] * network.stoichiometry[pair.forward]
    return pair, StateSpace.holding(pair.slow, lines), StateSpace.holding(network, states)


def dense(matrix: LineMatrix) -> np.ndarray:
    """The entries of a matrix of blocks."""
    blocks, n = matrix.blocks, len(matrix.defect)
    found = np.zeros((n, n))
    for line in range(len(blocks.stay)):
        own = slice(blocks.begin[line], blocks.begin[line + 1])
        width = own.stop - own.start
        found[own, own] += np.diag(blocks.stay[line] - 1 + blocks.decay[blocks.decay_at[line] : blocks.decay_at[line] + width])
        for e in range(blocks.pointer[line], blocks.pointer[line + 1]):
            source = slice(blocks.begin[blocks.source[e]], blocks.begin[blocks.source[e] + 1])
            b = blocks.block[e]
            if e < blocks.middle[line]:
                block = np.eye(width)
            else:
                block = blocks.entries[blocks.first[b] : blocks.first[b + 1]].reshape(-1, width).T
            found[own, source] += blocks.factor[e] * block
    return matrix.q * found


def all_modes(pair: FastPair, matrix: LineMatrix, lines: np.ndarray, states: StateSpace) -> np.ndarray:
    """Each mode of each line as a law on all states, (N, modes)."""
    found, at = np.zeros((len(states), len(matrix.defect))), 0
    kinds, kind = pair.kinds(lines)
    for n in matrix.order:
        line = pair.line(kinds[kind[n]])
        on_line = np.zeros((len(line.counts), len(states.states[0])), dtype=np.int64)
        on_line[:, pair.others] = lines[n]
        on_line += np.arange(len(line.counts))[:, None] * pair.network.stoichiometry[pair.forward]
        found[states.index(on_line), at : at + len(line.decay)] = line.modes
        at += len(line.decay)
    return found


@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("n_modes", [4, 8])
def test_the_matrix_of_modes_and_what_strays_from_it(text, n_modes, monkeypatch):
    monkeypatch.setattr(fast_pair, "FIRST_MODES", n_modes)
    pair, lines, states = small_set(cme.parse(text), MOLECULES[text])
    matrix = LineMatrix(pair, lines)
    K, V = dense(matrix), all_modes(pair, matrix, lines.states, states)
    A = cme.Generator.from_network(pair.network, states).sparse().toarray()
    strays = np.abs(A @ V - V @ K).sum(axis=0)
    size = np.abs(A).max()
    assert np.all(strays <= matrix.defect * (1 + 1e-9) + 1e-11 * size)  # each jump by itself, so that they do not cancel
    assert n_modes == 8 or np.count_nonzero(strays > 1e-9) > 10
    assert np.all(matrix.defect <= 30 * strays + 1e-11 * size)
    mass = V.sum(axis=0)
    np.testing.assert_allclose(mass @ K, A.sum(axis=0) @ V, atol=1e-11 * size)  # what leaks
    eigenvalues = np.linalg.eigvals(K)
    assert -2 * matrix.q <= eigenvalues.real.min()
    assert eigenvalues.real.max() < 1e-9 * size
    assert matrix.q < np.abs(K).sum(axis=1).max() <= matrix.roughness * matrix.q  # what rounding errors of a product grow with
    by_kind = matrix.strays(np.ones(len(matrix.defect)))
    np.testing.assert_allclose(by_kind.sum(), matrix.defect.sum(), rtol=1e-6, atol=1e-9)


def test_all_modes_are_all_there_is():
    pair, lines, states = small_set(cme.parse(DIMER), 12)  # lines of at most nine states
    pair.keep_modes(pair.kinds(lines.states)[0], np.full(len(pair.kinds(lines.states)[0]), 12))
    matrix = LineMatrix(pair, lines)
    assert matrix.defect.max() < 1e-10
    p = np.random.default_rng(1).random(len(states))
    p /= p.sum()
    found, x, left_out = pair.project(states.states, p, 0.0)
    np.testing.assert_array_equal(found, lines.states)
    assert left_out < 1e-11
    A = cme.Generator.from_network(pair.network, states).sparse().toarray()
    stepper = Paired(pair, lines, 2.0, 1e-9, Reach())
    step = stepper.step(x, 0.0, np.array([0.3, 2.0]))
    assert step.end == 2.0
    for time, law, error in zip(step.times, step.laws, step.errors, strict=True):
        kept, q = pair.written_out(lines, law, 0.0)
        truth = expm(time * A) @ p
        off = np.abs(truth[states.index(kept)] - q).sum() + truth.sum() - truth[states.index(kept)].sum()
        assert off <= error + 1e-12


def test_a_bound_where_much_strays(monkeypatch):
    monkeypatch.setattr(paired, "AT_FIRST", 1e12)
    pair, lines, states = small_set(cme.parse(DIMER), 20)
    A = cme.Generator.from_network(pair.network, states).sparse().toarray()
    p = np.zeros(len(states))
    p[states.index(np.array([[3, 5, 1, 0]]))] = 1.0
    p = expm(0.5 * A) @ p
    for n_modes in (4, 8):
        pair.keep_modes(pair.kinds(lines.states)[0], np.full(len(pair.kinds(lines.states)[0]), n_modes))
        matrix = LineMatrix(pair, lines)
        _, x, _ = pair.project(states.states, p, np.inf)
        stepper = Paired(pair, lines, 1.0, 1e3, Reach())
        found, strayed = stepper._series(x, 0.0, np.array([1.0]), 1e-9)
        V = all_modes(pair, matrix, lines.states, states)
        off = np.abs(expm(A) @ V @ matrix.flat(x)[0] - V @ matrix.flat(found.p)[0]).sum()
        assert 1e-9 < off <= found.error
        assert strayed > 1e-6  # of which the error is made


def test_a_series_of_any_length_is_within_its_bound():
    pair, lines, _ = small_set(cme.parse(DIMER), 12)
    matrix, stepper = LineMatrix(pair, lines), Paired(pair, lines, 1.0, 1.0, Reach())
    K, x = dense(matrix), np.random.default_rng(2).random((len(lines), 8)) / 100
    lengths = set()
    for digits in np.linspace(1.0, 11.0, 8):
        found, strayed = stepper._series(x, 0.0, np.array([0.02, 0.2]), 10**-digits)
        lengths.add(found.n_products % 2)
        series, terms = Coefficients(matrix.q * found.times), [matrix.flat(x)[0]]
        terms.append(terms[0] + K @ terms[0] / matrix.q)
        for _ in range(found.n_products):
            terms.append(2 * (terms[-1] + K @ terms[-1] / matrix.q) - terms[-2])
        partial = series.weights[:, : found.n_products] @ np.array(terms[: found.n_products])
        np.testing.assert_allclose([matrix.flat(law)[0] for law in found.laws], partial, atol=1e-13)
        for time, law, error in zip(found.times, found.laws, found.errors, strict=True):
            off = matrix.flat(law)[0] - expm(time * K) @ matrix.flat(x)[0]
            of_lines = np.sqrt(np.add.reduceat(off**2, matrix.blocks.begin[:-1]))
            assert of_lines.sum() <= error - strayed * time / found.end + 1e-12
    assert lengths == {0, 1}  # the last terms are added one by one, or two at a time


def test_modes_that_are_not_quite_modes(monkeypatch):
    import scipy.linalg

    real = scipy.linalg.eigh_tridiagonal

    def off(*arguments, **options):
        values, vectors = real(*arguments, **options)
        return values * (1 + 1e-4), vectors

    monkeypatch.setattr(scipy.linalg, "eigh_tridiagonal", off)
    pair, lines, states = small_set(cme.parse(DIMER), 10)
    matrix = LineMatrix(pair, lines)
    A = cme.Generator.from_network(pair.network, states).sparse().toarray()
    V = all_modes(pair, matrix, lines.states, states)
    strays = np.abs(A @ V - V @ dense(matrix)).sum(axis=0)
    assert strays.max() > 1e-3
    assert np.all(strays <= matrix.defect * (1 + 1e-9) + 1e-10)


def test_fewer_modes_than_a_law_has():
    pair, lines, _ = small_set(cme.parse(DIMER), 10)
    stepper = Paired(pair, lines, 1.0, 1.0, Reach())
    x = np.zeros((len(lines), 12))
    x[:, 0], x[3, 10] = 1 / len(lines), 0.01  # eight are kept
    found, _ = stepper._series(x, 0.0, np.array([0.01]), 1e-6)
    assert found.error > 0.01


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


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (DIMER, {0, 4}),
        ("2 M <-> D @ 1, 2; 0 => M @ 3/(1 + D); M -> 0 @ 1", set()),  # a law of the product that is no factor
        ("2 M => D @ .1*M; D -> 2 M @ 1; M -> 0 @ 1", set()),  # not by mass action
        ("A -> 2 B @ 1; 2 B -> A @ 1; A -> 0 @ 1", {1}),
        ("A -> B @ 1; B -> A @ 1; A -> B @ 2; 0 -> A @ 1", set()),  # two ways there
        ("E + A <-> E + B @ 1, 2; 0 -> A @ 1", set()),  # rates that depend on others
        ("3 A <-> B @ 1, 2; 0 -> A @ 1", set()),
        ("2 A <-> 2 B @ 1, 2; 0 -> A @ 1", set()),
        ("0 <-> B @ 1, 2; A -> B @ 1", set()),
        ("A <-> B @ 1, 2", set()),  # nothing else happens
        ("A <-> B @ 1, 2; 0 -> poisson(2) A @ 1; B -> 0 @ 1", set()),
    ],
)
def test_pairs(text, pairs):
    assert {pair.forward for pair in FastPair.candidates(cme.parse(text))} == pairs


def test_lines_and_their_lengths():
    pair = the_pair(cme.parse(COMPLEX))  # E, S, C, P
    lines, place = pair.lines_of(np.array([[1, 2, 3, 9], [4, 5, 0, 9]]))
    np.testing.assert_array_equal(lines, [[4, 5, 9], [4, 5, 9]])
    np.testing.assert_array_equal(place, [3, 0])
    assert pair.length(np.array([4, 5])) == 5
    line = pair.line(np.array([4, 5]))
    pi = np.exp(line.log_pi)
    np.testing.assert_allclose(pi[1:] / pi[:-1], [8 * (4 - c) * (5 - c) / (40 * (c + 1)) for c in range(4)])
    assert np.all(line.decay[:5] <= 0)
    assert line.inexact.max() < 1e-12
    q = pair.line(np.array([60, 80])).q
    np.testing.assert_allclose(q.T @ q, np.eye(8), atol=1e-12)  # on which the bound of 1-norms by 2-norms rests


def test_modes_keep_their_signs_where_more_are_kept():
    pair = the_pair(cme.parse(DIMER), 4)
    kinds = np.array([[g, d] for g in (3, 8, 20, 41) for d in (4, 9, 30, 60)])
    few = [pair.line(kind).q for kind in kinds]
    for n_modes in (12, 20, 40):
        pair.keep_modes(kinds, np.full(len(kinds), n_modes))
        for kind, before in zip(kinds, few, strict=True):
            np.testing.assert_allclose(pair.line(kind).q[:, :8], before, atol=1e-9)


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


def test_the_slow_network_leads_where_the_network_does():
    for text in NETWORKS.values():
        pair, lines, states = small_set(cme.parse(text), 12)
        jumps = lines.grow(np.arange(len(lines)), layers=1)
        wider = states.grow(np.arange(len(states)), layers=1)
        reached = np.unique(pair.lines_of(wider.states)[0], axis=0)
        assert {tuple(line) for line in jumps.states.tolist()} == {tuple(line) for line in reached.tolist()}


def test_weights_integrated_over_time():
    z = np.array([0.4, 30.0])
    series = Coefficients(z)
    fine = np.linspace(0.0, 30.0, 6001)
    weights = np.array([Coefficients(np.array([max(x, 1e-9)])).weights[0, :3] for x in fine])
    np.testing.assert_allclose(series.integrals[1, :3], np.trapezoid(weights, fine, axis=0), rtol=1e-5)


def test_refusals():
    with pytest.raises(cme.ModelError, match=r"method='fast_pair' needs two reactions by mass action .*no third"):
        cme.fsp(cme.parse("0 -> X @ 1; X -> 0 @ 1"), [1.0], method="fast_pair")
    network = cme.parse(DIMER)
    with pytest.raises(ValueError, match="method='fast_pair' takes a network and finds its own states; leave out space"):
        cme.fsp(network, [1.0], method="fast_pair", space=StateSpace.around(network, size=10))
    with pytest.raises(cme.ConvergenceError, match=r"fsp needs \d+ states and more .* raise max_states \(now 60\)"):
        cme.fsp(network, [3.0], method="fast_pair", max_states=60)


def test_no_more_states_are_written_out_than_fit_into_memory(monkeypatch):
    pair, lines, states = small_set(cme.parse(DIMER), 12)
    _, x, _ = pair.project(states.states, np.full(len(states), 1 / len(states)), np.inf)
    assert len(pair.written_out(lines, x, 0.1)[0]) < 0.95 * len(states)
    monkeypatch.setattr(cme.memory, "available", lambda: 20_000)
    with pytest.raises(cme.ConvergenceError, match=r"the \d+ states that the law lies on need about .* loosen tol"):
        pair.written_out(lines, x, 0.0)
