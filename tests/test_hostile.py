"""Reaction text and .net files that mean harm, or nothing: a ModelError, never another error, whatever is in them."""

import random

import hostile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sbml_documents import assignment, event, function, model, parameter, rate_rule, reaction, rule

import cme
from cme.formats import bionetgen

SIZE = 20_000  # tests/verification has 10 MB of each
NET = """begin parameters
    1 k1   2*k0  # ConstantExpression
    2 k0   1.5e-1
end parameters
begin functions
    1 f() k1/(k0+Atot())
    2 g(x,y) if(x>1,x+2*y*B,_pi)
    3 h() g(f(),3)*time()
end functions
begin species
    1 A(b,c~U)  k0*2
    2 $Source() 1
    3 @EC::$B() 5
end species
begin reactions
    1 1,1,3 0 0.5*k1 #_R1
    2 0 1 k0 #_R2
    3 2 2,1 f #_R3
    4 1,2 3 2*Sat k1 k0
    5 1 3 Hill k1 k0 2
end reactions
begin groups
    1 Atot   1,2*3
    2 B      3
end groups
"""
TEXT = """model "my; model"
convention falling
compartment cell = 3
species in, $B in cell
species A, after
"R 1; #@": 2 A -> B @ [combinations] k
pairs: 2 A -> (2*k) B @ 2*k
A <-> after @ k, max(k, 2)
A <=> B @ k*A - B
0 => A @ piecewise(k, A < 5 && B >= 1, 0)/cell
cell' = -0.1*cell
go: at time >= 25 after 2: A = A + 50, k = 0
at (after > 3) after 2, priority = min(A, 3), persistent = false, t0 = false: after = normal(1, 2)
k = 3; m = 2*k^2
A = 7
A ~ poisson(10)
y := A + in
"""


@pytest.mark.parametrize(("name", "text"), list(hostile.junk(SIZE)), ids=lambda value: value if len(value) < 30 else "")
def test_junk_as_reaction_text(name, text):
    network = hostile.judge(cme.parse, text)
    assert network is None or name in ("quoted", "sum")  # names may hold any number of backslashes, and sums 20 000 terms


@pytest.mark.parametrize(("name", "text"), list(hostile.net_junk(SIZE)), ids=lambda value: value if len(value) < 30 else "")
def test_junk_as_a_net_file(name, text):
    network = hostile.judge(bionetgen.read, text)
    assert network is None or name in ("law sum", "net stars", "net groups")


@pytest.mark.parametrize(("read", "seed_text"), [(cme.parse, TEXT), (bionetgen.read, NET)], ids=["text", "net"])
def test_mutants_are_read_or_refused(read, seed_text):
    rng = random.Random(7)
    assert hostile.judge(read, seed_text) is not None
    read_all = [hostile.judge(read, hostile.mutated(seed_text, rng)) for _ in range(400)]
    assert 10 < sum(network is not None for network in read_all) < 390  # the mutants are neither all dead nor all harmless


def test_mutants_of_sbml_are_read_or_refused():
    parts = {
        "parameters": "".join(parameter(name, 2) for name in "kpxy"),
        "rules": rule("x", "p + S") + rate_rule("p", "x - k"),
        "assignments": assignment("y", "2*k"),
        "reactions": reaction("k*S", local='<localParameter id="q" value="1"/>') + reaction("y/R", name="R2", reactants="", products="S"),
        "functions": function("f", "lambda(a, 2*a)"),
    }
    text, rng = model(event("S > 3", "k = 1; S = f(2)", delay="p", priority="x"), **parts), random.Random(5)
    assert hostile.judge(cme.load, text) is not None
    read_all = [hostile.judge(cme.load, hostile.mutated_xml(text, rng)) for _ in range(300)]
    assert 10 < sum(network is not None for network in read_all) < 290


def test_encodings_that_are_not_known():
    text = model().replace("UTF-8", "no-such")
    with pytest.raises(cme.ModelError, match=r"SBML text: the XML can't be decoded \(unknown encoding: no-such\); write it as UTF-8"):
        cme.load(text)
    with pytest.raises(cme.ModelError, match=r"SBML text holds a character that no file can: '\\ud800'"):
        cme.load(model().replace('id="m"', 'id="\ud800"'))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.sampled_from([*hostile.WORDS, "A", "B", "k", "A -> B @ k", "k = 1", "begin", "\n"]), max_size=25))
def test_words_in_any_order(words):
    hostile.judge(cme.parse, " ".join(words))
    hostile.judge(bionetgen.read, " ".join(words))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(max_size=60))
def test_any_text(text):
    hostile.judge(cme.parse, text)
    hostile.judge(bionetgen.read, text)


def test_nothing_is_executed(tmp_path):
    """Formulas are read, never handed to Python, and names that Python reserves are names like any other."""
    victim = tmp_path / "victim"
    for text in (f"A -> B @ open('{victim}', 'w')", f"A -> B @ __import__('os').system('touch {victim}')", "A -> B @ (lambda: 1)()"):
        with pytest.raises(cme.ModelError):
            cme.parse(text)
    assert not victim.exists()
    network = cme.parse("lambda -> class @ import; import = 2; lambda = 3; None := class")
    assert network.formula(0) == "import*lambda"
    assert cme.parse(network.to_text()) == network
