"""sampling.channels: what the exact engines are given, against what the network says."""

import itertools

import numpy as np
import pytest

import cme
from cme.compiled import Compiled
from cme.kernels.propensity import NO_LAW
from cme.sampling.channels import prepare_channels, prepare_dependents


def channels_of(text):
    compiled = Compiled(cme.parse(text))
    starts, _ = compiled.start()
    return prepare_channels(compiled, np.ascontiguousarray(starts))


def rows(pointer, values):
    return [values[first:stop].tolist() for first, stop in itertools.pairwise(pointer)]


def test_dependents_are_the_reactions_that_read_what_changed():
    idle = "; ".join(f"$S -> Z{i} @ 1" for i in range(9))  # more than a few reactions: only what changed is computed anew
    channels, _ = channels_of(f"A -> B @ 1; B -> C @ 1; 0 => C @ A*C/(A + C); C -> C + D @ 1; $S -> A @ 1; A = 1; S = 1; {idle}")
    dependents = prepare_dependents(channels)
    assert rows(dependents.pointer, dependents.reaction)[:5] == [[0, 1, 2], [1, 2, 3], [2, 3], [], [0, 2]]
    assert dependents.first[:5].tolist() == [0, 1, 2, 14, 0]


def test_of_few_reactions_all_are_computed_anew_but_those_that_run_a_program():
    channels, _ = channels_of("A -> B @ 1; 0 => A @ 1/(1 + A*B); 0 => B @ 1/(1 + B); $S -> C @ 1; S = 1; A = 1")
    dependents = prepare_dependents(channels)
    assert rows(dependents.pointer, dependents.reaction) == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3]]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A -> B @ 1; B -> C @ 1; C -> 0 @ 0; D -> A @ 1; A = 1", [0, 1]),  # nothing makes D, and the rate constant is zero
        ("A -> B @ 1; B -> C @ 1; D + C -> E @ 1; E -> 0 @ 1; 2 F -> A @ 1; A = 1; F = 1; D = 1", [0, 1, 2, 3]),  # F stays at 1
        ("A -> B @ 1; B -> A @ 1", []),
        ("A => 0 @ max(A, 0); $S -> A @ 2; 0 -> A @ 0", [0]),  # of a law nothing is assumed
        ("$S -> A @ 2; A -> 0 @ 1; S = 3", [0, 1]),
    ],
)
def test_reactions_that_can_not_fire_are_left_out(text, kept):
    assert channels_of(text)[1].tolist() == kept


def test_a_start_that_is_drawn_keeps_what_any_state_can_fire():
    network = cme.parse("A -> 0 @ 1; B -> 0 @ 1; C -> 0 @ 1").with_initial({(1, 0, 0): 0.5, (0, 2, 0): 0.5})
    compiled = Compiled(network)
    assert prepare_channels(compiled, compiled.start()[0])[1].tolist() == [0, 1]


def test_laws_of_one_species_have_tables_and_equal_laws_share_one():
    channels, _ = channels_of(
        "0 => A @ 5/(1 + (B/3)^2); 0 => B @ 5/(1 + (B/3)^2); B => 0 @ I*B/(I + B); 0 => A @ A/(1 + A + B); A -> 0 @ 1; $I -> I @ 1; I = 2"
    )
    assert channels.law.tolist() == [0, 0, 1, 2, NO_LAW, NO_LAW]
    assert channels.table_species.tolist()[:2] == [1, 1]
    sizes = np.diff(channels.table_pointer.astype(int)).tolist()
    assert sizes == [4096, 4096, 0]  # the third law reads two species that move; of the second, the inducer stays
    b = np.arange(4096.0)
    np.testing.assert_allclose(channels.table[:4096], 5 / (1 + (b / 3) ** 2), rtol=1e-15)
    np.testing.assert_allclose(channels.table[4096:], 2 * b / (2 + b), rtol=1e-15)


def test_tables_reach_past_the_start_and_together_have_a_limit():
    channels, _ = channels_of("A => 0 @ 5*A/(1 + A); A = 10000")
    assert len(channels.table) == 40000
    channels, _ = channels_of("; ".join(f"A => 0 @ {i}*A/(1 + A)" for i in range(1, 101)))
    assert len(channels.table) <= 2**17
    assert np.diff(channels.table_pointer.astype(int)).tolist() == [1310] * 100
