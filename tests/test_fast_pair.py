"""Modes along the lines of a fast pair, their matrix and what strays from it: against all entries of the generator."""

import numpy as np
import pytest
from fast_pairs import COMPLEX, DIMER, MOLECULES, NETWORKS, all_modes, dense, small_set, the_pair
from scipy.linalg import expm

import cme
from cme.projection import fast_pair, paired
from cme.projection.fast_pair import FastPair
from cme.projection.line_matrix import LineMatrix
from cme.projection.paired import Paired
from cme.projection.polynomials import Coefficients
from cme.projection.propagate import Reach


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


def test_no_more_states_are_written_out_than_fit_into_memory(monkeypatch):
    pair, lines, states = small_set(cme.parse(DIMER), 12)
    _, x, _ = pair.project(states.states, np.full(len(states), 1 / len(states)), np.inf)
    assert len(pair.written_out(lines, x, 0.1)[0]) < 0.95 * len(states)
    monkeypatch.setattr(cme.memory, "available", lambda: 20_000)
    with pytest.raises(cme.ConvergenceError, match=r"the \d+ states that the law lies on need about .* loosen tol"):
        pair.written_out(lines, x, 0.0)
