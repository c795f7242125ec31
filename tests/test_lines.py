"""Generators in lines: the same products as with their entries, on sets with holes, with laws of any form."""

import numpy as np
import oracles
import pytest
from scipy.stats import poisson

import cme
from cme.projection.lines import KINDS, Lines
from cme.projection.polynomials import Rows
from cme.projection.propagate import propagate

SEPARABLE = "0 => U @ 2 + 60/(1 + V^2.5); U -> 0 @ 1.1; 0 => V @ 50/(1 + U^1.5); 2 V -> U @ .03; U + V -> V @ .01; U = 0; V = 0"
MIXED = SEPARABLE.replace("@ .01", "@ .01; U => 0 @ U/(1 + U + V); V => U @ .3*V/(2 + U)")
CONSERVED = "S + E <-> ES @ .1, .7; ES -> P + E @ .3; P -> S @ .05; 0 -> X @ 9; X -> 0 @ .5; S = 40; E = 12; ES = 0; P = 0; X = 0"
PAIRS = "0 -> 2 C @ 30; 2 C -> 0 @ .02; 0 => A @ 5/(1 + C); A -> 0 @ .3; 0 -> B @ .2; A = 0; B = 0; C = 0"  # lines in steps of 2


def with_holes(text, size=4000, part=0.1):
    """A generator on a set from which states are taken at random."""
    network = cme.parse(text)
    space = cme.StateSpace.around(network, size=size)
    kept = np.random.default_rng(3).random(len(space)) >= part
    return cme.Generator.from_network(network, space.keep(kept))


def terms(rows, p, n_terms, lines):
    """Sums of Chebyshev terms of I + A/q, two of them, and the norms of the terms."""
    weights = np.random.default_rng(5).random((2, n_terms))
    cursor, norms, out = np.zeros(2, dtype=np.int64), np.zeros(n_terms), np.empty((2, len(p)))
    lines.series(weights, np.ones(n_terms), -1.0, np.inf, 0.0, cursor, rows.sorted(p), np.zeros_like(p), norms, out)
    assert cursor[0] == n_terms
    matrix, known = rows.generator.sparse().toarray() / rows.q + np.eye(len(p)), [p]
    for k in range(1, n_terms):
        known.append(matrix @ p if k == 1 else 2 * matrix @ known[-1] - known[-2])
    sums = weights[:, :-1] @ np.array(known[:-1])
    return rows.restored(out), sums, norms, np.abs(known).sum(axis=1)


@pytest.mark.parametrize("text", [SEPARABLE, MIXED, CONSERVED, PAIRS])
@pytest.mark.parametrize("part", [0.0, 0.02])
@pytest.mark.parametrize("deviation", [0.0, 1e-15])
@pytest.mark.parametrize("n_terms", [7, 8])
def test_a_series_in_lines_is_that_with_entries(text, part, deviation, n_terms):
    generator = with_holes(text, 2300, part)
    rows = Rows(generator, deviation)
    lines = rows.lines
    assert lines is not None
    assert lines.deviation <= deviation
    found, known, norms, sizes = terms(rows, np.random.default_rng(0).random(len(generator)), n_terms, lines)
    assert found == pytest.approx(known, rel=1e-12, abs=1e-12 * np.abs(known).max())
    assert norms == pytest.approx(sizes, rel=1e-12)


def test_rates_that_are_products_come_from_tables():
    tables, kept, exact = (Rows(with_holes(text, 3000), off).lines for text, off in ((SEPARABLE, 1e-15), (MIXED, 1e-15), (MIXED, 0.0)))
    assert tables.n_kept < 600
    assert 2000 < kept.n_kept < exact.n_kept


def test_more_kinds_of_jumps_than_tables():
    jumps = "; ".join(f"0 => {n + 1} X @ .0{n + 1}*(1 + Y)" for n in range(KINDS + 8))
    generator = with_holes(f"{jumps}; X -> 0 @ 1; 0 -> Y @ 3; Y -> 0 @ 1; X = 0; Y = 0", 2500, 0.0)
    rows = Rows(generator, 1e-15)
    found, known, *_ = terms(rows, np.random.default_rng(0).random(len(generator)), 6, rows.lines)
    assert found == pytest.approx(known, rel=1e-12, abs=1e-12 * np.abs(known).max())


def test_states_far_apart_are_not_put_into_lines():
    assert Rows(with_holes(SEPARABLE, 3000, 0.7)).lines is None
    apart = np.arange(3000) + 10**6 * (np.arange(3000) >= 1500)
    assert Rows(cme.Generator.from_rates(np.diag(np.ones(2999), 1), apart)).lines is None
    assert Rows(cme.Generator.from_rates(np.diag(np.ones(2999), 1), np.linspace(0, 1, 3000))).lines is None


@pytest.mark.parametrize("tol", [1e-4, 1e-9, 1e-12])
def test_A1_the_bound_holds_in_lines(tol):
    """Two independent processes on a triangle of states; what rates may be off is in the bound, and below the tolerance."""
    network = cme.parse("0 -> X @ 20; X -> 0 @ 1; 0 -> Y @ 8; Y -> 0 @ 1; X = 30; Y = 0")
    space = cme.StateSpace.reachable(network, within="X + 2*Y <= 170")
    generator = cme.Generator.from_network(network, space)
    assert Rows(generator).lines is not None
    times = np.array([0.3, 2.0])
    run = propagate(generator, np.eye(1, len(space))[0], times, tol=tol, method="chebyshev")
    for t, p, error in zip(times, run.p, run.integration_error, strict=True):
        truth = (
            oracles.immigration_death(171, 20, 1, 30, t)[space.states[:, 0]]
            * oracles.immigration_death(171, 8, 1, 0, t)[space.states[:, 1]]
        )
        assert np.abs(p - truth).sum() <= error + 1e-14
        assert error <= 1.2 * tol + 4e-15 * t * generator.largest_rate


def test_molecules_that_come_in_pairs():  # a Poisson number of pairs
    law = cme.fsp(cme.parse("0 -> 2 C @ 10; 0 -> A @ 0.6; 0 -> B @ 0.2"), [1.0], tol=1e-9, method="projection")
    assert law["C"][0, :60:2] == pytest.approx(poisson.pmf(np.arange(30), 10), abs=1e-9)
    assert law["C"][0, 1::2].sum() == 0


def test_pieces_are_long():
    generator = with_holes(SEPARABLE, 4000, 0.0)
    rows = Rows(generator)
    assert isinstance(rows.lines, Lines)
    assert "entries" not in vars(rows)
