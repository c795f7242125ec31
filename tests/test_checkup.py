"""`cme.check` and the command: every remark on a model that deserves it, none on one that does not."""

import json

import pytest
from typer.testing import CliRunner

import cme
from cme.cli import app
from cme.elements import Event, Initial, Rule, Values
from cme.infix import parse
from cme.network import Network


def topics(text):
    return [(each.topic, each.element) for each in cme.check(cme.parse(text)).findings]


@pytest.mark.parametrize("name", ["schlogl", "dimerisation", "telegraph", "toggle_switch", "sir"])
def test_nothing_to_remark_on_a_sound_model(name):
    found = cme.check(cme.load(name), max_states=2000)
    assert found.findings == ()
    assert found.solvers["ssa"] == found.solvers["fsp"] == ""


def test_a_square_that_should_fall():
    (found,) = cme.check(cme.parse("2 A => D @ k*A*A; k = 0.1; A = 10")).findings
    assert (found.severity, found.topic, found.element) == ("warning", "low counts", "r1")
    assert "A*(A - 1) was probably meant in place of A*A, which does not vanish at A = 1" in found.message


def test_a_cube_that_should_fall():
    (found,) = cme.check(cme.parse("3 A => D @ k*A^3; k = 0.1; A = 10")).findings
    assert "A*(A - 1)*(A - 2) was probably meant" in found.message


def test_a_law_that_does_not_vanish():
    (found,) = cme.check(cme.parse("A => 0 @ k/(1 + A); k = 2; A = 10")).findings
    assert "is 2 at A = 0, but the reaction takes 1 of 'A'" in found.message


def test_a_law_that_is_undefined():
    (found,) = cme.check(cme.parse("A => 0 @ k*A/A; k = 2; A = 10")).findings
    assert "is undefined at A = 0" in found.message


@pytest.mark.parametrize("law", ["k*A*(A-1)", "k*A*(A-1)/2", "k*max(A-1, 0)", "piecewise(k, A >= 2, 0)"])
def test_laws_that_vanish(law):
    assert topics(f"2 A => D @ {law}; k = 0.1; A = 10") == []


def test_a_boundary_species_may_be_taken_from():
    network = cme.parse("F => X @ k; X -> 0 @ 1; k = 3; F = 1")
    assert [each.topic for each in cme.check(network).findings] == ["low counts"]


def test_amounts_unchanged_and_unused():
    assert topics("X -> 0 @ 1; X = 5.5; Y = 2; q = 4; X + Y -> X + Y @ 1") == [("amounts", "X"), ("unchanged", "Y"), ("unused", "q")]


def test_concentrations_name_the_factor():
    found = cme.check(cme.load("gene_expression")) if "gene_expression" in set(cme.catalogue()["name"]) else None
    network = cme.load(_document(volume=4))
    (remark,) = [each for each in cme.check(network).findings if each.topic == "conversions"]
    assert remark.message == "laws read the concentration of 'X', which is its count divided by the volume C = 4"
    assert found is None or all(each.severity != "warning" for each in found.findings)


def test_a_volume_that_a_rule_sets():
    network = cme.parse("species X in V; V := 2 + X; X => 0 @ X/V; X = 3")
    (remark,) = [each for each in cme.check(network).findings if each.topic == "conversions"]
    assert remark.message == "laws read the concentration of 'X', which is its count divided by the volume V, which a rule sets"


def test_what_is_conserved_and_how_many_states():
    found = cme.check(cme.parse("A <-> B @ 1, 2; A = 9"))
    assert (found.conserved, found.n_states, found.states) == (("A + B = 9",), 10, "10")
    found = cme.check(cme.parse("0 -> X @ 1; X -> 0 @ 1"), max_states=50)
    assert (found.n_states, found.states) == (None, "more than 50, perhaps without bound")
    found = cme.check(cme.parse("A <-> B @ 1, 2; A = 900"), max_states=50)
    assert found.states == "more than 50, bounded by what is conserved"


def test_who_can_take_it():
    network = cme.parse("0 -> X @ 1; X -> 0 @ 1; X = 5")
    known = Event("reset", parse("time >= 3"), (Rule("X", parse("50")),))
    by_count = Event("kill", parse("X > 40"), (Rule("X", parse("0")),))
    timed = Network(network.species, network.reactions, network.initial, events=(known,))
    found = cme.check(timed)
    assert [name for name, obstacle in found.solvers.items() if not obstacle] == ["ssa", "fsp", "rate_equations", "lna", "langevin"]
    assert found.solvers["fokker_planck"] == "event 'reset' happens at times that are known in advance"
    found = cme.check(Network(network.species, network.reactions, network.initial, events=(known, by_count)))
    assert found.solvers["fsp"] == "event 'kill' happens at times, or remembers values, that depend on counts or on chance"
    drawn = Network(network.species, network.reactions, Initial(((0.0,),), draws=(Rule("X", parse("poisson(4)")),)))
    assert [name for name, obstacle in cme.check(drawn).solvers.items() if not obstacle] == ["ssa"]


def test_rate_rules_are_known_or_not():
    base = cme.parse("0 => X @ k; X -> 0 @ 1; k = 1; X = 5")
    for formula, able in (("-k", True), ("-k*X", False), ("sin(time)", True)):
        network = Network(base.species, base.reactions, base.initial, Values({"k": 1.0}), rate_rules=(Rule("k", parse(formula)),))
        assert (cme.check(network).solvers["fsp"] == "") is able


def test_numbers_of_molecules_that_are_none():
    base = cme.parse("0 => X @ 1; X = 5")
    from dataclasses import replace

    reaction = replace(base.reactions[0], products=(("X", parse("3/2")),))
    found = cme.check(Network(base.species, (reaction,), base.initial))
    assert [(each.topic, each.element) for each in found.findings] == [("stoichiometry", "r1")]
    assert found.conserved is None
    assert found.states == "not counts"
    assert [name for name, obstacle in found.solvers.items() if not obstacle] == ["rate_equations"]


def test_too_many_species_for_a_grid():
    found = cme.check(cme.load("repressilator"), max_states=10)
    assert found.solvers["fokker_planck"] == "6 independent species; it takes one or two"


def test_a_solver_that_may_stop_says_so():
    found = cme.check(cme.parse("0 -> A @ 1; eat: A => 0 @ k/(1 + A); k = 2; A = 10"), max_states=50)
    assert [name for name, stop in found.stops.items() if stop] == ["ssa", "tau_leap", "fsp", "stationary"]
    assert "ssa             yes, but it stops where reaction 'eat' fires with too few molecules left (see the warning)" in repr(found)
    assert found.solvers["ssa"] == ""
    assert found.to_dict()["stops"]["rate_equations"] == ""
    safe = cme.check(cme.parse("2 A => D @ k*A*A; k = 0.1; A = 10"))  # an even number stays even
    assert (safe.n_states, safe.stops["fsp"]) == (6, "")
    several = cme.check(cme.parse("0 -> A @ 1; a: A => 0 @ 1; b: A => 0 @ 2; c: A => 0 @ 3"), max_states=5)
    assert "reaction 'a' or 2 others" in several.stops["ssa"]


def test_a_large_network_is_checked_on_sparse_rows():
    n = 3000
    network = cme.parse("\n".join(f"S{i} <-> S{i + 1} @ 1, 2" for i in range(n)) + "\nS0 = 10")
    found = cme.check(network)
    assert "stoichiometry" not in vars(network)  # 3000 x 6000 numbers, nearly all of them zero
    assert found.findings == ()
    assert found.states == "more than 1666, bounded by what is conserved"
    (total,) = found.conserved
    assert total.startswith("S0 + S1 + S2")
    assert total.endswith(" + S3000 = 10")
    assert len(repr(found)) < 2000


@pytest.mark.parametrize(
    ("law", "states"),
    [
        ("max({})", "6"),
        ("plus({})", "6"),
        ("times({})", "1"),
        ("S0*plus({})", "6"),
        ("piecewise({}, S0 > 3, 0)", "3"),
    ],
)
def test_very_wide_laws(law, states):
    n = 2000
    names = [f"S{i}" for i in range(n)]
    last = ", ".join(names[: n - 1] if "piecewise" not in law else [f"{i}, S0 > 9" for i in range(n)] + ["S0"])
    network = cme.parse(f"S0 => 0 @ {law.format(last)}\nS0 = 5\nspecies {', '.join(names[1:])}")
    assert cme.check(network).states == states
    assert cme.load(network.to_sbml()) == network


def test_a_product_that_has_too_many_terms_to_differentiate():
    found = cme.check(cme.parse("A => 0 @ " + "*".join(["A"] * 2000) + "; A = 1"))
    assert found.solvers["lna"].startswith("reaction 'r1': the derivative of a product of 2000 factors has more than 100000 terms; write")


def test_many_molecules_at_once():
    (found,) = cme.check(cme.parse("100000 A => B @ k*A; k = 2; A = 100001")).findings
    assert found.message.endswith(
        "is 199998 at A = 99999, but the reaction takes 100000 of 'A'; it must vanish there, or the count falls below zero"
    )
    assert topics("100000 A => B @ piecewise(k, A >= 100000, 0); k = 2; A = 200000") == []


def test_the_command(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("2 A => D @ k*A*A; k = 0.1; A = 10")
    shown = CliRunner().invoke(app, ["check", str(path)])
    assert shown.exit_code == 0
    assert "warning: the law k*A*A" in shown.output
    found = json.loads(CliRunner().invoke(app, ["check", str(path), "--json"]).output)
    assert found["findings"][0]["topic"] == "low counts"
    assert found["n_states"] == 6
    assert found["solvers"]["fsp"] == ""


def test_as_a_frame():
    frame = cme.check(cme.parse("2 A => D @ k*A*A; k = 0.1; A = 10")).to_frame()
    assert list(frame.columns) == ["severity", "topic", "element", "message"]
    assert len(frame) == 1


def _document(volume):
    return f"""<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m">
    <listOfCompartments><compartment id="C" spatialDimensions="3" size="{volume}" constant="true"/></listOfCompartments>
    <listOfSpecies><species id="X" compartment="C" initialAmount="8" hasOnlySubstanceUnits="false" boundaryCondition="false"
     constant="false"/></listOfSpecies>
    <listOfReactions><reaction id="out" reversible="false" fast="false"><listOfReactants>
    <speciesReference species="X" stoichiometry="1" constant="true"/></listOfReactants>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>C</ci><ci>X</ci></apply></math></kineticLaw>
    </reaction></listOfReactions></model></sbml>"""


@pytest.mark.parametrize(
    ("formula", "sure"),
    [
        ("X/2", False), ("floor(X/2)", True), ("2*X + 3*B - k", True), ("X*q", False), ("X + v", False), ("X*now(v)", False),
        ("rem(X, 2)^2 + max(X, abs(-B))", True), ("2^X", False), ("X^0.5", False), ("piecewise(X, v > 0.5, 7)", True), ("X + F", False),
        ("piecewise(X/2, v > 0.5, 7)", False), ("poisson(2.5) + binomial(X, 0.5)", True), ("normal(X, 1)", False), ("(v > 1) + X", True),
    ],
)  # fmt: skip
def test_an_event_whose_formula_is_not_sure_to_be_whole(formula, sure):
    text = f"X + $B -> 0 @ 1; X = 3; B = 2; species F; k = 4; q = 0.5; v = 1; h: at time >= 1: X = {formula}, v = v/2, F = 0.5"
    found = [each for each in cme.check(cme.parse(text)).findings if each.topic == "amounts"]
    if sure:
        assert not found
        return
    (only,) = found
    assert (only.severity, only.element) == ("note", "h")
    assert only.message.startswith("event 'h' sets 'X' to ")
    assert only.message.endswith(
        ", which need not be a whole number of molecules; ssa and fsp stop where it is none, so round it with floor()"
    )


def test_a_random_start_that_is_not_sure_to_be_whole():
    found = cme.check(cme.parse("X -> 0 @ 1; Y -> 0 @ 1; X ~ normal(9, 1); Y ~ poisson(3); q ~ normal(0, 1)")).findings
    (only,) = [each for each in found if each.topic == "amounts"]
    assert only.message.startswith("a random start sets 'X' to normal(9, 1), which need not be a whole number of molecules;")


def test_a_state_without_meaning_is_a_warning():
    found = cme.check(cme.parse("E => F @ -k*E; k = 0.1; E = 3"))
    assert any(each.topic == "states" and "is negative in state {E: 3, F: 0}" in each.message for each in found.findings)
    assert found.stops["ssa"] == "in a state that it reaches (see the warning)"


def test_tau_leap_needs_a_whole_start():
    assert cme.check(cme.parse("A -> 0 @ 1; A = 2.5")).solvers["tau_leap"] == "the start is no whole number of molecules"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("A <-> B @ 1, 2; A = 9", ["the stationary law, a product of Poissons (weakly reversible of deficiency 0)", "the law at any time"]),
        ("0 <-> X @ 1, 1; X <-> 2 X @ 1, 2", ["the stationary law, a product of Poissons (its rate constants balance all complexes)"]),
        ("0 -> M @ 2; M -> M + P @ 1; M -> 0 @ 1; P -> 0 @ 1", ["the generating function (each molecule acts alone)"]),
        ("2 A -> B @ 1; B -> 0 @ 1; A = 9", []),
        ("0 -> X @ 1 + time; X -> 0 @ 1", []),
    ],
)
def test_what_is_known_in_closed_form(text, known):
    found = cme.check(cme.parse(text), max_states=100)
    assert len(found.exact) == len(known)
    assert all(each.startswith(wanted) for each, wanted in zip(found.exact, known, strict=True))
    assert ("in closed form: " in repr(found)) == bool(known)
