"""`Network`: conventions, checks, variations, what it shows. It knows no solver."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

import cme
from cme import infix
from cme.elements import Initial, MassAction, Reaction, Rule, Species, Values
from cme.network import Network
from cme.ratelaw import Symbol, evaluate


def network(text="2 A + B -> C @ k; A = 5; B = 3; k = 0.1", **options):
    return cme.parse(text, **options)


def with_law(law, reactants=(("A", 1),), products=(), **options):
    parts = {"species": (Species("A"), Species("B")), "initial": Initial(((1.0, 2.0),)), "parameters": Values({"k": 2.0})}
    return Network(reactions=(Reaction("r", reactants, products, law),), **(parts | options))


# ------------------------------------------------------------------------------------------------------ conventions


@pytest.mark.parametrize(
    ("sides", "convention", "formula", "value", "rate"),
    [
        ("0", "combinations", "k", 2, 2),
        ("A", "combinations", "k*A", 14, 14),
        ("2 A", "combinations", "k*A*(A - 1)/2", 42, 49),
        ("2 A", "falling", "k*A*(A - 1)", 84, 98),
        ("3 A", "combinations", "k*A*(A - 1)*(A - 2)/6", 70, 343 / 3),
        ("3 A", "falling", "k*A*(A - 1)*(A - 2)", 420, 686),
        ("2 A + B", "combinations", "k*A*(A - 1)*B/2", 126, 147),
        ("2 A + 2 B", "combinations", "k*A*(A - 1)*B*(B - 1)/4", 126, 220.5),
    ],
)
def test_mass_action_in_both_conventions(sides, convention, formula, value, rate):
    """THEORY 0.2: combinations count sets of reactants, falling factorials count ordered sets."""
    n = network(f"{sides} -> 0 @ k; k = 2; convention {convention}; species A, B")
    counts = {"A": 7.0, "B": 3.0, "k": 2.0}
    assert n.formula(0) == formula
    assert float(evaluate(n.reactions[0].propensity, counts)) == value
    assert float(evaluate(n.reactions[0].rate, counts)) == pytest.approx(rate)


def test_a_product_as_rate_constant_stays_one_product():
    assert network("2 A -> 0 @ k/Om; k = 1; Om = 10").formula(0) == "k/Om*A*(A - 1)/2"
    assert network("A + B -> 0 @ k*Om; k = 1; Om = 10").formula(0) == "k*Om*A*B"


def test_a_whole_propensity_is_its_own_rate():
    n = network("2 A => 0 @ k*A*(A-1); k = 2")
    assert n.reactions[0].rate == n.reactions[0].propensity


def test_stoichiometry_is_the_net_change_and_cannot_be_written():
    n = network("2 A + B -> A + 3 C @ 1; $D -> D + A @ 1; A -> D @ 1")
    assert n.species_names == ("A", "B", "C", "D")
    np.testing.assert_array_equal(n.stoichiometry, [[-1, -1, 3, 0], [1, 0, 0, 0], [-1, 0, 0, 0]])
    with pytest.raises(ValueError, match="read-only"):
        n.stoichiometry[0, 0] = 5


def test_resolve_fills_in_rules_parameters_and_volumes():
    n = network("compartment V = 2; A => 0 @ k*total/V; total := 2*half; half := A + B; species B; k = 3")
    assert infix.to_infix(n.resolve(n.reactions[0].propensity)) == "6*(A + B)/2"


def test_names_of_the_model_hide_constants():
    n = network("pi => 0 @ pi*exponentiale; pi = 4")
    assert float(evaluate(n.resolve(n.reactions[0].propensity), {"pi": 4.0})) == pytest.approx(4 * np.e)


# ------------------------------------------------------------------------------------------------------- variations


def test_with_parameters_gives_a_new_network():
    n = network("compartment V = 1; A -> B @ k; k = 0.1")
    other = n.with_parameters(k=0.2, V=3)
    assert (other.parameters["k"], other.compartments["V"]) == (0.2, 3.0)
    assert (n.parameters["k"], n.compartments["V"]) == (0.1, 1.0)
    assert other.with_parameters(k=0.1, V=1) == n
    with pytest.raises(cme.ModelError, match="'network' has no parameter 'kk'; did you mean 'k'"):
        n.with_parameters(kk=1)
    with pytest.raises(cme.ModelError, match="compartment 'V' has volume -1; a volume must be positive"):
        n.with_parameters(V=-1)


def test_with_initial_takes_names_sequences_and_distributions():
    n = network()
    assert n.with_initial(A=1).initial == n.with_initial({"A": 1}).initial == Initial(((1.0, 3.0, 0.0),))
    assert n.with_initial([4, 5, 6]).initial.states == ((4.0, 5.0, 6.0),)
    mixed = n.with_initial({(1, 0, 0): 0.25, (0, 1, 0): 0.75})
    assert mixed.initial.probabilities == (0.25, 0.75)
    assert "starts from a distribution over 2 states" in repr(mixed)
    with pytest.raises(cme.ModelError, match="starts from a distribution; give the counts of all species"):
        mixed.with_initial(A=1)
    assert mixed.with_initial(A=1, B=2, C=0).initial == Initial(((1.0, 2.0, 0.0),))
    with pytest.raises(TypeError, match="the initial count of 'A' must be a number, not 'x'"):
        n.with_initial(A="x")
    for counts in (5, "A=3"):
        with pytest.raises(TypeError, match=r"must be numbers, in order or by name, such as {'A': 5}, not '?(5|A=3)"):
            n.with_initial(counts)
    with pytest.raises(cme.ModelError, match="has no species 'D'; there are A, B, C"):
        n.with_initial(D=1)
    with pytest.raises(cme.ModelError, match="species 'A' starts at -1; an initial count must be >= 0"):
        cme.ssa(n.with_initial(A=-1), [1.0])
    with pytest.raises(cme.ModelError, match="species 'A' starts at inf; an initial count must be finite"):
        n.with_initial(A=float("inf"))
    with pytest.raises(cme.ModelError, match="an initial state has 2 counts for 3 species"):
        n.with_initial([1, 2])
    with pytest.raises(cme.ModelError, match=r"must be >= 0 and sum to 1; they sum to 0\.5"):
        n.with_initial({(1, 0, 0): 0.5})
    with pytest.raises(TypeError, match="as one mapping or sequence, or by name, not both"):
        n.with_initial([1, 2, 3], A=1)


def test_a_network_is_a_value():
    n = network()
    assert n == network()
    assert hash(n) == hash(network())
    assert pickle.loads(pickle.dumps(n)) == copy.deepcopy(n) == n
    assert n != network().with_parameters(k=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        n.name = "other"
    with pytest.raises(TypeError):
        n.parameters["k"] = 1


# --------------------------------------------------------------------------------------------------------- showing


def test_repr_shows_each_propensity():
    text = repr(network("2 A -> B @ k; 0 => A @ k*B; total := A + 2*B; $S -> A @ 1; k = 0.1; A = 10; S = 2"))
    assert text.splitlines() == [
        "Network 'network': 3 species, 3 reactions",
        "  r1  2 A -> B  propensity k*A*(A - 1)/2",
        "  r2  0 -> A    propensity k*B",
        "  r3  S -> A    propensity 1*S",
        "  total := A + 2*B",
        "  k = 0.1",
        "  A = 10; B = 0; S = 2",
        "  never changed by reactions: S",
    ]


def test_html_shows_the_same_and_escapes():
    html = network("0 => A @ piecewise(1, A < 5, 2)")._repr_html_()
    assert "piecewise(1, A &lt; 5, 2)" in html
    assert html.count("<tr>") == 2


# ---------------------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": (Species("A"), Species("A"))}, "the name 'A' stands for a species and for a species; rename one"),
        ({"parameters": Values({"k": 1, "B": 2})}, "the name 'B' stands for a species and for a parameter"),
        ({"species": (Species("A"), Species("2B"))}, "species '2B' is no valid name; use letters, digits and _"),
        ({"species": (Species("A", "cell"), Species("B"))}, "species 'A' is in compartment 'cell', which does not exist"),
        ({"parameters": Values({"k": float("nan")})}, "parameter 'k' is nan; give it a finite value"),
        ({"initial": Initial(((1.0, float("inf")),))}, "species 'B' starts at inf"),
        ({"initial": Initial((), ())}, "the initial distribution has 0 states and 0 probabilities"),
        ({"rules": (Rule("y", Symbol("q")),)}, "the rule for 'y' uses 'q', which is not defined"),
        ({"rules": (Rule("y", Symbol("z")), Rule("z", Symbol("y")))}, "the assignment rules for y, z depend on each other in a cycle"),
    ],
)
def test_refusals_of_networks(change, message):
    with pytest.raises(cme.ModelError, match=message):
        with_law(Symbol("k"), **change)


def test_everything_that_is_wrong_is_told_at_once():
    rules = tuple(Rule(a, Symbol(b)) for a, b in [("u", "v"), ("v", "u"), ("w", "w"), ("x", "u"), ("y", "A")])
    with pytest.raises(cme.ModelError) as error:
        with_law(Symbol("kk"), parameters=Values({"k": float("nan")}), rules=rules, initial=Initial(((1.0, float("inf")),)))
    assert [(each.kind, each.element, each.what) for each in error.value.problems] == [
        ("parameter", "k", "parameter 'k' is nan; give it a finite value"),
        ("count", "B", "species 'B' starts at inf; an initial count must be finite"),
        ("reaction", "r", "the rate law of reaction 'r' uses 'kk', which is not defined; did you mean 'k'?"),
        ("rule", "u", "the assignment rules for u, v depend on each other in a cycle; solve them for one of the names"),
        ("rule", "w", "the assignment rules for w depend on each other in a cycle; solve them for one of the names"),
    ]
    assert str(error.value).splitlines()[0] == "5 things in this model can't be taken"
    assert pickle.loads(pickle.dumps(error.value)).problems == error.value.problems


@pytest.mark.parametrize(
    ("law", "reactants", "message"),
    [
        (Symbol("kk"), (("A", 1),), "the rate law of reaction 'r' uses 'kk', which is not defined; did you mean 'k'?"),
        (MassAction(Symbol("B")), (("A", 1),), "the rate constant of reaction 'r' uses B; mass action multiplies by its reactants itself"),
        (Symbol("k"), (("X", 1),), "reaction 'r' uses species 'X', which is not declared"),
        (Symbol("k"), (("A", 0),), "reaction 'r' has stoichiometry 0 for 'A'; it must be a positive whole number"),
        (Symbol("k"), (("A", 1.5),), "reaction 'r' has stoichiometry 1.5 for 'A'"),
    ],
)
def test_refusals_of_reactions(law, reactants, message):
    with pytest.raises(cme.ModelError, match=message):
        with_law(law, reactants)


def test_two_reactions_of_one_name_are_refused():
    reaction = Reaction("r", (), (), Symbol("k"))
    with pytest.raises(cme.ModelError, match="two reactions are named 'r'; give each its own name"):
        Network((Species("A"),), (reaction, reaction), Initial(((1.0,),)), Values({"k": 1.0}))


def test_rules_are_ordered_whatever_their_order():
    n = network("A -> 0 @ 1; a := b + 1; b := c + 1; c := A; d := 2*b; A = 3")
    assert n.observables == ("a", "b", "c", "d")
    values = {"A": 3.0}
    assert [float(evaluate(n.resolve(rule.formula), values)) for rule in n.rules] == [5, 4, 3, 8]


def test_sparse_stoichiometry_is_the_matrix_without_its_zeros():
    n = network("2 A + B -> C + B @ 1; $D -> 3 A @ 1; A -> A @ 1; C + C -> 0 @ 1")
    rows, columns, amounts = n.sparse_stoichiometry
    assert rows.tolist() == [0, 0, 1, 3]
    assert [n.species_names[s] for s in columns] == ["A", "C", "A", "C"]
    assert amounts.tolist() == [-2, 1, 3, -2]
    assert np.array_equal(n.stoichiometry[rows, columns], amounts)
    assert np.count_nonzero(n.stoichiometry) == 4
    empty = cme.parse("species A; A' = 1")
    assert [len(each) for each in empty.sparse_stoichiometry] == [0, 0, 0]
    assert empty.stoichiometry.shape == (0, 1)
