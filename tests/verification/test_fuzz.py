"""10 MB of junk and many mutants for the readers of text formats. Run with: pytest tests/verification/test_fuzz.py"""

import os
import random
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import cme
from cme.formats import antimony, bionetgen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import hostile
import test_hostile
from sbml_documents import SUITE_CASES

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = Path(os.environ.get("CME_NETWORKS", ROOT.parent / "shared" / "networks"))
SIZE = 10_000_000
MEMORY = 4 << 30


@pytest.fixture(autouse=True)
def bounded_memory():
    """A reader that needs more than 4 GiB for 10 MB fails."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", [name for name, _ in hostile.junk(10)])
def test_10_mb_of_junk_as_reaction_text(name):
    hostile.judge(cme.parse, dict(hostile.junk(SIZE))[name])


@pytest.mark.parametrize("name", [name for name, _ in hostile.net_junk(100)])
def test_10_mb_of_junk_as_a_net_file(name):
    hostile.judge(bionetgen.read, next(text for each, text in hostile.net_junk(SIZE) if each == name))


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "models").glob("*.txt")), test_hostile.TEXT], ids=lambda path: getattr(path, "stem", "everything")
)
def test_mutants_of_reaction_text(path):
    text, rng = path if isinstance(path, str) else path.read_text(encoding="utf-8"), random.Random(3)
    for _ in range(2000):
        network = hostile.judge(cme.parse, hostile.mutated(text, rng))
        if network is not None and all(value == value for value in network.parameters.values()):
            assert cme.parse(network.to_text()) == network


@pytest.mark.parametrize("name", ["multistate", "multisite2", "everything"])
def test_mutants_of_net_files(name):
    path, rng = NETWORKS / f"{name}.net", random.Random(4)
    if name != "everything" and not path.exists():
        pytest.skip(f"{path} is not here; CME_NETWORKS names the folder of the BioNetGen benchmark networks")
    text = test_hostile.NET if name == "everything" else path.read_text(encoding="utf-8")
    for _ in range(2000):
        hostile.judge(bionetgen.read, hostile.mutated(text, rng))


@pytest.mark.skipif(not SUITE_CASES, reason="the SBML Test Suite is not here; name its folder in CME_SBML_SUITE")
@pytest.mark.parametrize("seed", range(4))
def test_mutants_of_the_sbml_test_suite(seed):
    files, rng = [path for case in SUITE_CASES for path in sorted(case.glob("*-sbml-*.xml"))], random.Random(seed)
    for number in range(1000):
        text = rng.choice(files).read_text(encoding="utf-8").lstrip()
        network = hostile.judge(cme.load, hostile.mutated_xml(text, rng))
        if network is not None and number % 10 == 0:
            repr(cme.check(network, max_states=20))


@pytest.mark.skipif(find_spec("antimony") is None, reason="the antimony library is not installed")
@pytest.mark.parametrize("name", [name for name, _ in hostile.junk(10)])
def test_junk_as_antimony(name):
    hostile.judge(antimony.read, dict(hostile.junk(100_000))[name])
