"""Antimony text, through its library in a process of its own."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import cme
from cme import ratelaw
from cme.formats import antimony, antimony_worker

MODEL = """
model decay()
  species A, B
  A -> B; k*A
  A = 10; B = 0; k = 0.5
end
"""
installed = pytest.mark.skipif(find_spec("antimony") is None, reason="the antimony library is not installed")


def propensity(network, r=0, **counts):
    values = {**network.constants, **dict(zip(network.species_names, network.initial.states[0], strict=True)), **counts}
    return float(ratelaw.evaluate(network.resolve(network.reactions[r].propensity), values))


@installed
@pytest.mark.parametrize("way", ["text", "file"])
def test_text_and_files_are_read(way, tmp_path):
    path = tmp_path / "some.ant"
    path.write_text(MODEL, encoding="utf-8")
    network = cme.load(MODEL if way == "text" else path)
    assert network.name == "decay"
    assert set(network.species_names) == {"A", "B"}
    assert propensity(network, A=10) == 5
    assert network.reactions[0].reactants == (("A", 1),)


@installed
def test_a_model_without_a_name_has_that_of_its_file_and_may_import_from_its_folder(tmp_path):
    (tmp_path / "part.ant").write_text(MODEL, encoding="utf-8")
    (tmp_path / "whole.ant").write_text('import "part.ant"\nm: decay();\n m.B -> ; 2*m.B', encoding="utf-8")
    network = cme.load(tmp_path / "whole.ant")
    assert network.name == "whole"
    assert len(network.reactions) == 2


@installed
def test_nothing_is_left_from_one_model_to_the_next():
    assert cme.load(MODEL) == cme.load(MODEL)
    assert cme.load("species X; X -> ; 2*X; X = 3").species_names == ("X",)


@installed
def test_a_network_written_as_antimony_reads_back_with_the_same_propensities(tmp_path):
    from cme.formats.export import export

    network = cme.load("schlogl")
    export(network, tmp_path / "s.ant")
    back = cme.load(tmp_path / "s.ant")
    assert back.initial.states == network.initial.states
    assert [str(r) for r in back.reactions] == [str(r) for r in network.reactions]
    for r in range(4):
        assert propensity(back, r, X=17) == pytest.approx(propensity(network, r, X=17), rel=1e-14)


@installed
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A -> B; 1\nA == 3", r"m\.ant, line 2: antimony says: syntax error"),
        ("x = " + "(" * 100_000, r"m\.ant, line 1: antimony says: memory exhausted"),
        ("junk(", r"m\.ant, line \d: antimony says: "),
        ("A -> B; k*A\0", r"m\.ant is no text: it holds a null character"),
        ("A -> B; q*A; q := r; r := q", r"m\.ant, line 1: antimony says: Loop detected"),
        ("A -> B; delay(A, 1)", r"m\.ant: "),
    ],
)
def test_refusals(text, message, tmp_path):
    path = tmp_path / "m.ant"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(cme.ModelError, match=message) as caught:
        cme.load(path)
    assert len(str(caught.value)) < 2000


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(antimony, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"need the antimony library, which is not installed; pip install 'cme-networks\[antimony\]'"):
        antimony.read(MODEL)


FAKE = """
import os, time
addDirectory = print
def loadAntimonyString(text):
    if text == "stop": os._exit(139)
    if text == "wait": time.sleep(60)
    return -1
loadSBMLString = loadAntimonyString
def getLastError(): return "Error in model string, line 7:  something\\nlong"
def getSBMLString(name): return ""
getAntimonyString, getMainModuleName = getSBMLString, str
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A", "^Antimony text, line 7: antimony says: something long$"),
        ("stop", "^Antimony text: the antimony library broke down on this text .exit code 139.; is it Antimony.$"),
        ("wait", "^Antimony text: the antimony library did not finish within 1 s; shorten the model$"),
    ],
)
def test_a_library_that_fails_takes_nothing_with_it(text, message, tmp_path, monkeypatch):
    (tmp_path / "antimony.py").write_text(FAKE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(antimony_worker, "SECONDS", 1 if text == "wait" else 60)
    with pytest.raises(cme.ModelError, match=message):
        antimony.read(text)


def test_the_worker_imports_nothing_of_the_package():
    assert "cme" not in Path(antimony_worker.__file__).read_text(encoding="utf-8").replace("`cme`", "")


@installed
@pytest.mark.parametrize("text", ["", "\n", "// only a comment\n", "model nothing()\nend\n"])
def test_a_file_without_a_model_is_refused(tmp_path, text):
    path = tmp_path / "empty.ant"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(cme.ModelError, match=r"empty\.ant holds no model; write for example 'A -> B; k\*A; k = 0\.1; A = 10'"):
        cme.load(path)


@installed
def test_every_problem_is_told_at_once_under_the_users_name(tmp_path):
    path = tmp_path / "bad.ant"
    path.write_text("A -> ; delay(A, 1); A = 3\nA -> ; k*A", encoding="utf-8")
    with pytest.raises(cme.ModelError) as error:
        cme.load(path)
    first, *others = str(error.value).splitlines()
    assert first == f"{path}: 2 things in this model can't be taken"
    assert [line.split(";")[0][:51] for line in others] == [
        "  parameter 'k' has no value",
        "  the kinetic law of reaction '_J0': delay() is not",
    ]


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("(p^2)^3", r"loses parentheses in the law of reaction 'r1', \(p\^2\)\^3; write it without powers of powers"),
        ("p*(-(-2))", "does not read its own text back"),
    ],
)
def test_what_the_library_writes_wrongly_is_refused(law, message):
    with pytest.raises(cme.ModelError, match=message):
        antimony.write(cme.parse(f"0 => B @ {law}; p = 2"))
