"""graphs: conservation laws, dependency and species-reaction graphs, deficiency."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import cme
from cme import graphs
from cme.elements import Initial, MassAction, Reaction, Species
from cme.ratelaw import Number


def from_stoichiometry(rows):
    """A network with the given net changes; rates mean nothing here."""
    names = [f"S{s}" for s in range(len(rows[0]))]
    reactions = tuple(
        Reaction(
            f"r{r}",
            tuple((name, -n) for name, n in zip(names, row, strict=True) if n < 0),
            tuple((name, n) for name, n in zip(names, row, strict=True) if n > 0),
            MassAction(Number(1.0)),
        )
        for r, row in enumerate(rows)
    )
    return cme.Network(tuple(map(Species, names)), reactions, Initial(((0.0,) * len(names),)))


@pytest.mark.parametrize(
    ("text", "laws"),
    [
        ("0 -> X @ 1; X -> 0 @ 1", np.zeros((0, 1))),
        ("A <-> B @ 1, 1", [[1, 1]]),
        ("2 A <-> B @ 1, 1", [[1, 2]]),
        ("3 A <-> 2 B @ 1, 1", [[2, 3]]),
        ("S + I -> 2 I @ 1; I -> R @ 1", [[1, 1, 1]]),
        ("E + S <-> C @ 1, 1; C -> E + P @ 1", [[1, 0, 1, 0], [0, 1, 1, 1]]),  # Michaelis-Menten: enzyme and substrate
        ("Off <-> On @ 1, 1; On -> On + M @ 1; M -> 0 @ 1", [[1, 1, 0]]),
        ("$A -> X @ 1; X -> 0 @ 1", [[1, 0]]),  # a boundary species is conserved by itself
        ("E + S -> E + P @ 1", [[1, 0, 0], [0, 1, 1]]),  # a catalyst too
        ("A + B -> 0 @ 1; 0 -> A + B @ 1", [[1, -1]]),  # no non-negative law exists
        ("A + B -> C @ 1; C -> A + D @ 1; D -> B @ 1", [[1, 0, 1, 0], [0, 1, 1, 1]]),
    ],
)
def test_known_laws(text, laws):
    found = graphs.conservation_laws(cme.parse(text))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, np.array(laws).reshape(found.shape))


rows = st.integers(1, 5).flatmap(
    lambda s: st.lists(st.lists(st.sampled_from([0, 0, 0, 1, -1, 1, -1, 2, -2]), min_size=s, max_size=s), min_size=1, max_size=4)
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows)
def test_laws_are_an_exact_basis_and_non_negative_where_possible(stoichiometry):
    change = np.array(stoichiometry)
    laws = graphs.conservation_laws(from_stoichiometry(stoichiometry))
    assert not (change @ laws.T).any()
    assert len(laws) == change.shape[1] - np.linalg.matrix_rank(change)
    if len(laws):
        assert np.linalg.matrix_rank(laws) == len(laws)
        assert set(np.gcd.reduce(laws, axis=1)) == {1}
    # The span of all non-negative laws: those that vanish wherever every non-negative law does (linear programming).
    n = change.shape[1]
    reachable = [
        linprog(-np.eye(n)[s], A_eq=change, b_eq=np.zeros(len(change)), bounds=(0, 1)).fun < -1e-9 for s in range(n)
    ]  # species that some non-negative law holds
    forced = np.eye(n)[~np.array(reachable)]
    dimension = n - np.linalg.matrix_rank(np.vstack([change, forced]))
    assert sum(law.min() >= 0 for law in laws) == dimension


def test_a_law_is_kept_by_every_reaction_of_a_long_chain():
    chain = "; ".join(f"A{i} <-> A{i + 1} @ 1, 1" for i in range(400))
    np.testing.assert_array_equal(graphs.conservation_laws(cme.parse(chain)), np.ones((1, 401)))


def test_many_independent_laws():
    pairs = cme.parse("; ".join(f"A{i} <-> B{i} @ 1, 1" for i in range(60)))
    laws = graphs.conservation_laws(pairs)
    assert laws.shape == (60, 120)
    assert (laws.sum(axis=1) == 2).all()
    assert laws.min() == 0


def test_conserved_sums_read_like_equations():
    assert graphs.conserved_sums(cme.parse("2 A <-> B @ 1, 1; A = 5")) == ["A + 2 B = 5"]
    assert graphs.conserved_sums(cme.parse("A + B -> 0 @ 1; A = 2; B = 5")) == ["A - B = -3"]
    spread = cme.parse("A <-> B @ 1, 1").with_initial({(1, 0): 0.5, (3, 0): 0.5})
    assert graphs.conserved_sums(spread) == ["A + B is between 1 and 3, as it starts"]
    assert graphs.conserved_sums(cme.parse("0 -> X @ 1")) == []


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        # complexes, linkage classes, rank by hand; THEORY.md A.11 lists the first three as deficiency zero, weakly reversible
        ("E + S <-> C @ 1, 1; C <-> E + P @ 1, 1", (3, 1, 0, True)),
        ("A -> B @ 1; B -> C @ 1; C -> A @ 1", (3, 1, 0, True)),
        ("A -> 2 B @ 1; 2 B -> C @ 1; C -> A @ 1", (3, 1, 0, True)),
        ("2 X <-> 3 X @ 1, 1; 0 <-> X @ 1, 1", (4, 2, 1, True)),  # Schloegl: 4 - 2 - 1
        ("0 -> X @ 1; X -> 0 @ 1", (2, 1, 0, True)),
        ("0 -> A @ 1; 2 A -> 0 @ 1", (3, 1, 1, False)),  # THEORY.md C2: 3 - 1 - 1
        ("E + S <-> C @ 1, 1; C -> E + P @ 1", (3, 1, 0, False)),
        ("A + X <-> 2 X @ 1, 1; X -> 0 @ 1", (4, 2, 0, False)),  # A.22 with A free: rank 2
        ("$A + X <-> 2 X @ 1, 1; X -> 0 @ 1", (3, 1, 1, False)),  # Keizer's trap, A.22: A is held constant, rank 1
    ],
)
def test_deficiency(text, counts):
    network = cme.parse(text)
    n_complexes, n_classes, deficiency, reversible = counts
    assert len(graphs.complexes(network)) == n_complexes
    assert len(graphs.linkage_classes(network)) == n_classes
    assert graphs.deficiency(network) == deficiency
    assert graphs.is_weakly_reversible(network) is reversible


def test_a_complex_does_not_depend_on_the_order_it_is_written_in():
    assert graphs.complexes(cme.parse("A + B -> C @ 1; C -> B + A @ 1")) == ["A + B", "C"]


def test_dependency_graph_sees_through_rules():
    network = cme.parse("f := 1/(1 + P); a: 0 => M @ f; b: M -> M + P @ 1; c: P -> 0 @ 1; d: $Z -> M @ 1")
    edges = set(graphs.dependency_graph(network).edges)
    assert edges == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "c"), ("d", "b")}


def test_species_reaction_graph():
    graph = graphs.species_reaction_graph(cme.parse("pair: 2 A + $B => C @ k*A*(A-1)*B*E; species E; k = 1"))
    assert graph.nodes["B"] == {"kind": "species", "bipartite": 0, "boundary": True}
    assert graph.nodes["pair"] == {"kind": "reaction", "bipartite": 1}
    stoichiometry = {(a, b): (d["stoichiometry"], d["modifier"]) for a, b, d in graph.edges(data=True)}
    expected = {("A", "pair"): (2, False), ("B", "pair"): (1, False), ("E", "pair"): (0, True), ("pair", "C"): (1, False)}
    assert stoichiometry == expected


def test_a_reaction_named_like_a_species_is_refused_by_the_graph():
    with pytest.raises(
        cme.ModelError, match="'X' names a species and a reaction, and both would be nodes of the graph; rename the reaction"
    ):
        graphs.species_reaction_graph(cme.parse("X: 0 -> X @ 1"))
