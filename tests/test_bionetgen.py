"""BioNetGen .net files. The laws are those of run_network with counts (`rxn_rate` of Network3)."""

import math
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import cme
from cme import ratelaw
from cme.elements import MassAction, Species
from cme.formats.bionetgen import read
from cme.infix import parse as formula

NETWORKS = Path(os.environ.get("CME_NETWORKS", Path(__file__).resolve().parents[1].parent / "shared" / "networks"))


def net(reactions, *, parameters="", functions="", groups="", species="1 A(b) 5\n 2 B(a~U,c!1).C(d!1) 7\n 3 $D() 2"):
    blocks = {"parameters": parameters, "functions": functions, "species": species, "reactions": reactions, "groups": groups}
    return "".join(f"begin {block}\n {lines}\nend {block}\n" for block, lines in blocks.items() if lines)


def propensity(text, *, r=0, **counts):
    network = read(text)
    values = {**network.constants, **dict(zip(network.species_names, network.initial.states[0], strict=True)), **counts}
    return float(ratelaw.evaluate(network.resolve(network.reactions[r].propensity), values))


def test_everything_at_once():
    text = """# Created by BioNetGen 2.9.3
substanceUnits("Number");
begin parameters
    1 k1   2*k0  # ConstantExpression
    2 k0   1.5e-1  # Constant
    3 N    10^2
    4 angle  sin(_pi/6)
    5 chosen if(N>50,log2(8),rint(2.4))
end parameters
begin molecule types
    1 A(b,c~U~P)
end molecule types
begin functions
    1 f() k1/(k0+Atot())
    2 g(x,y) x+2*y*B
    3 h() g(f(),3)*time()
end functions
begin species
    1 A(b,c~U)  N/2  # half
    2 $Source() 1
    3 @EC::$B() 0.5*N
end species
begin reaction rules
    anything at all: A(b) -> B()  k1 \\
end reaction rules
begin reactions
    1 1,1,3 0 0.5*k1 #_R1
    2 0 1 k0 #_R2
    3 2 2,1 f #_R3
    4 1,1 3 2*h #_R4
end reactions
begin groups
    1 Atot   1,2*3
    2 none
    3 B      3
end groups
"""
    n = read(text, name="all")
    assert n.name == "all"
    assert n.species == (Species("S1"), Species("S2", boundary=True), Species("S3", boundary=True))
    assert n.initial.states == ((50, 1, 50),)
    assert dict(n.parameters) == pytest.approx({"k1": 0.3, "k0": 0.15, "N": 100, "angle": 0.5, "chosen": 3})
    assert [r.name for r in n.reactions] == ["r1", "r2", "r3", "r4"]
    assert n.reactions[0].reactants == (("S1", 2), ("S3", 1))
    assert n.reactions[0].law == MassAction(formula("0.5*k1"), "falling")
    assert n.formula(0) == "0.5*k1*S1*(S1 - 1)*S3"
    assert n.reactions[1].reactants == ()
    assert n.formula(2) == "f*S2"
    assert n.formula(3) == "2*h*S1*(S1 - 1)"
    rules = {rule.name: rule.formula for rule in n.rules}
    assert list(rules) == ["Atot", "none", "B", "f", "h"]
    assert rules["Atot"] == formula("S1 + 2*S3")
    assert rules["none"] == formula("0")
    assert rules["f"] == formula("k1/(k0 + Atot)")
    assert rules["h"] == formula("(f + 2*3*B)*time")
    assert cme.parse(n.to_text(), name="all") == n


@pytest.mark.parametrize(
    ("law", "reactants", "value"),
    [
        ("k", "1", 3 * 5),
        ("0.5*k", "1,1", 0.5 * 3 * 5 * 4),
        ("k", "1,1,1", 3 * 5 * 4 * 3),
        ("k", "1,2", 3 * 5 * 7),
        ("2*f", "1,1", 2 * (3 * 12) * 5 * 4),
        ("f", "0", 36),
        ("Sat k K", "1", 3 * 5 / (2 + 5)),
        ("Sat k K", "1,2", 3 * 5 / (2 + 5) * 7),
        ("2*Sat k K K", "1,2", 2 * 3 * 5 / (2 + 5) * 7 / (2 + 7)),
        ("Sat k K", "1,1", 3 * 5 / (2 + 5) * 4),
        ("Sat k K K", "1,1", 3 * 5 / (2 + 5) * 4 / (2 + 5)),
        ("Sat\tk\tK", "1", 3 * 5 / (2 + 5)),
        ("Sat(k,K)", "1", 3 * 5 / (2 + 5)),
        ("Hill k K n", "1", 3 * 5**1.5 / (2**1.5 + 5**1.5)),
        ("0.5*Hill k K n", "1,2", 0.5 * 3 * 5**1.5 / (2**1.5 + 5**1.5) * 7),
        ("Hill k K n", "1,1", 3 * 5**1.5 / (2**1.5 + 5**1.5) * 4),
        # b = 5 - 2 - 7 = -4, s = (-4 + sqrt(16 + 40))/2
        ("MM k K", "1,2", 3 * 7 * (math.sqrt(56) / 2 - 2) / (2 + math.sqrt(56) / 2 - 2)),
        ("2*MM k K", "1,2,3", 2 * 3 * 9 * (math.sqrt(76) / 2 - 3) / (2 + math.sqrt(76) / 2 - 3)),
    ],
)
def test_propensities_are_those_of_run_network(law, reactants, value):
    text = net(f"1 {reactants} 0 {law}", parameters="1 k 3\n 2 K 2\n 3 n 1.5", functions="1 f() k*all", groups="1 all 1,2")
    assert propensity(text) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("law", ["Sat k K", "Hill k K k", "MM k K", "f"])
def test_without_a_substrate_nothing_happens(law):
    text = net(f"1 1,2 2 {law}", parameters="1 k 3\n 2 K 2", functions="1 f() k", groups="1 all 1,2")
    assert propensity(text, S1=0.0) == 0


def test_a_species_name_gives_way():
    n = read(net("1 1 0 S2", parameters="1 S2 1"))
    assert n.species_names == ("S_1", "S_2", "S_3")


def test_pairs_annihilate_as_counted():
    """A + A with 0.5*k: the mean of A falls by 2 k/2 A(A-1) per unit time."""
    n = read(net("1 1,1 0 0.5*k", parameters="1 k 0.1"))
    law = cme.fsp(n, 1e-3, tol=1e-12)
    assert (5 - float(law.mean()[-1][0])) / 1e-3 == pytest.approx(0.1 * 5 * 4, rel=5e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "BioNetGen text has no block 'species'; a .net file is what generate_network"),
        ("begin species\n", "line 1: the block 'species' has no end"),
        ("end species\n", "line 1: 'end species' without a begin"),
        ("begin species\nbegin reactions\n", "line 2: 'begin reactions' inside the block 'species'"),
        ("begin wonders\n", "line 1: there is no block 'wonders' in a .net file"),
        ("begin species\nend species\nbegin species\n", "line 3: there are two blocks 'species'"),
        ('substanceUnits("Concentration");', "line 1: .* gives concentrations; only counts"),
        (net("1 1 2 k"), "line 7: the rate law uses 'k', which is not defined"),
        (net("1 1 4 2"), "line 7: there is no species '4'; they are counted from 1 to 3"),
        (net("1 1 -1 2"), "there is no species '-1'"),
        (net("1 1 ² 2"), "there is no species '²'"),
        (net("1 1 2"), "line 7: cannot read '1 1 2'; expected 'index reactants products rate'"),
        (net("1 1 2 Sat 3"), "line 7: the rate law 'Sat 3' with 1 reactants is not supported; there are"),
        (net("1 1 2 Sat 3 4 5"), "the rate law 'Sat 3 4 5' with 1 reactants is not supported"),
        (net("1 1 2 MM 3 4"), "the rate law 'MM 3 4' with 1 reactants is not supported"),
        (net("1 0 2 Hill 3 4 5"), "the rate law 'Hill 3 4 5' with 0 reactants is not supported"),
        (net('1 1 2 FunctionProduct("f(x)","g(x)")'), "the rate law 'FunctionProduct.* is not supported"),
        (net("1 1 2 Arrhenius(1,2)"), "the rate law 'Arrhenius.* is not supported"),
        (net("1 1 2 k TotalRate", parameters="1 k 2"), "line 10: cannot read the formula 'k TotalRate': unexpected 'TotalRate'"),
        (net("1 1 2 3", parameters="1 k 2\n 2 k 3"), "line 3: the name 'k' is taken, by line 2"),
        (net("1 1 2 3", parameters="1 k q"), "line 2: parameter 'k' uses 'q', which is no parameter"),
        (net("1 1 2 3", parameters="1 k k+1"), "line 2: 'k' is defined by itself"),
        (net("1 1 2 3", parameters="1 k"), "line 2: cannot read '1 k'; expected 'index name value'"),
        (net("1 1 2 3", parameters="1 time 3"), "line 2: the name 'time' stands for the time; rename it"),
        (net("1 1 2 3", parameters="1 k 1e999"), "line 2: .*the number 1e999 is too large"),
        (net("1 1 2 3", parameters="1 k 0/0"), "parameter 'k' is nan; give it a finite value"),
        (net("1 1 2 3", parameters="1 k mratio(1,2,3)"), r"line 2: the function mratio\(\) is not supported"),
        (net("1 1 2 3", functions="1 f() tfun([0,1],[2,3],time)"), "line 2: "),
        (net("1 1 2 3", functions="1 f() tfun(1)"), r"line 2: tables \(tfun\) are not supported"),
        (net("1 1 2 3", functions="1 f() log(2)"), "line 2: log.. is ambiguous; write ln or log10"),
        (net("1 1 2 3", functions="1 f(x) all(x)", groups="1 all 1"), "line 2: all.. takes no argument; functions of single complexes"),
        (net("1 1 2 3", functions="1 f(x) x\n 2 g() f(1,2)"), "line 3: function f takes 1 argument, not 2"),
        (net("1 1 2 3", functions="1 f() g()\n 2 g() f()"), "the assignment rules for f, g depend on each other in a cycle"),
        (net("1 1 2 3", functions="1 f() q"), "the rule for 'f' uses 'q', which is not defined"),
        (net("1 1 2 3", groups="1 all 4"), "line 10: there is no species '4'"),
        (net("1 1 2 3", groups="1 all q*1"), "line 10: the weight 'q' is no number"),
        (net("1 1 2 3", species="2 A() 1"), "line 2: cannot read '2 A.. 1'; expected '1 pattern count'"),
        (net("1 1 2 3", species="1 A()"), "line 2: cannot read '1 A..'; expected '1 pattern count'"),
        (net("1 1 1 3", species="1 A() k"), "line 2: the count uses 'k', which is no parameter"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(cme.ModelError, match=message):
        read(text)


def test_load_knows_the_suffix_and_the_text(tmp_path):
    path = tmp_path / "model.net"
    path.write_text(net("1 1 2 3"))
    n = cme.load(path)
    assert n.name == "model"
    assert cme.load(net("1 1 2 3")).reactions == n.reactions
    path.write_text(net("1 1 2 k"))
    with pytest.raises(cme.ModelError, match=r"model\.net, line 7: the rate law uses 'k', which is not defined"):
        cme.load(path)


# ----------------------------------------------------------------------------------------- networks of the literature


def published(name):
    path = NETWORKS / name
    if not path.exists():
        pytest.skip(f"{path} is not here; CME_NETWORKS names the folder of the BioNetGen benchmark networks")
    return path


@pytest.mark.parametrize(
    ("name", "species", "reactions", "groups"),
    [
        ("multistate", 9, 18, 4),
        ("multisite2", 66, 288, 3),
        ("egfr_net", 356, 3749, 13),
        ("BCR", 1122, 24388, 9),
        ("fceri_gamma2", 3744, 58276, 6),
    ],
)
def test_published_networks(name, species, reactions, groups):
    n = cme.load(published(f"{name}.net"))
    assert (len(n.species), len(n.reactions), len(n.observables)) == (species, reactions, groups)


def test_loading_takes_linear_memory():
    """The stoichiometry of fceri_gamma2 as a matrix would be 1.7 GB, that of egfr_net 11 MB."""
    path = published("egfr_net.net")
    tracemalloc.start()
    try:
        n = cme.load(path)
        assert tracemalloc.get_traced_memory()[1] < 3000 * len(n.reactions)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["multistate", "multisite2", "egfr_net"])
def test_twin_the_sbml_of_the_same_network(name):
    """BioNetGen's SBML has the rate 0.5*k*A*A where its .net means 0.5*k*A*(A-1): the deterministic rates are equal, with all else."""
    ours, theirs = cme.load(published(f"{name}.net")), cme.load(published(f"{name}.xml"))
    assert ours.species_names == theirs.species_names
    assert ours.initial.states[0] == pytest.approx(theirs.initial.states[0])
    random = np.random.default_rng(1)
    counts = dict(zip(ours.species_names, random.uniform(1, 100, len(ours.species)), strict=True))

    def rates(network):
        values = {**network.constants, **counts}
        return {
            (tuple(sorted(r.reactants)), tuple(sorted(r.products)), f"{float(ratelaw.evaluate(network.resolve(r.rate), values)):.9g}")
            for r in network.reactions
        }

    assert rates(ours) == rates(theirs)


def test_every_problem_of_parameters_and_of_the_network_is_told_at_once():
    with pytest.raises(cme.ModelError) as error:
        cme.load(net("1 1 2 3", parameters="1 k q\n 2 m m\n 3 n 2"))
    assert [(each.line, each.element) for each in error.value.problems] == [(2, "k"), (3, "m")]
    with pytest.raises(cme.ModelError) as error:
        cme.load(net("1 1 2 3", functions="1 f() g()\n 2 g() f()\n 3 h() zz"))
    assert [(each.line, each.element) for each in error.value.problems] == [(2, "f"), (4, "h")]


def test_a_functional_rate_with_two_of_a_species_is_noted():
    network = read(net("1 1,1 2 0.5*f", functions="1 f() 2*O", groups="1 O 2"))
    assert network.notes[0].startswith(
        "reaction 'r1' has a functional rate and takes several of one species: its rate in the rate equations"
    )
    assert read(net("1 1,1 2 0.5*k", parameters="1 k 2")).notes == ()
