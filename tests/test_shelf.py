"""The shelf: every model loads, says where it comes from, and is what its reference says."""

import re
from pathlib import Path

import numpy as np
import pytest

import cme
from cme.compiled import Compiled

SHELF = cme.catalogue()


def test_catalogue():
    assert list(SHELF.columns) == ["name", "title", "field", "species", "reactions", "file", "source", "licence", "exact"]
    assert len(SHELF) >= 40
    fields = {"gene expression", "switching", "oscillation", "signalling", "epidemics", "enzymology", "populations", "reactions"}
    assert set(SHELF.field) == fields
    assert SHELF.name.is_unique
    assert SHELF.map(bool).all().all()
    assert all(re.fullmatch(r"https://doi\.org/10\.\d{4,}/\S+", source) for source in SHELF.source)
    assert set(SHELF.licence) == {"MIT"}


@pytest.mark.parametrize("row", [row for _, row in SHELF.iterrows()], ids=SHELF.name)
def test_every_model_is_what_the_catalogue_says(row):
    network = cme.load(row["name"])
    assert network.name == row["name"]
    assert (len(network.species), len(network.reactions)) == (row.species, row.reactions)
    if not network.is_plain:
        return  # what moves in time has no propensities of its own; test_shelf_timed.py runs these
    propensities = Compiled(network).propensities(Compiled(network).start()[0])
    assert np.all(np.isfinite(propensities))
    assert np.all(propensities >= 0)
    assert propensities.sum() > 0


def test_the_folder_holds_what_the_index_lists():
    folder = Path(cme.__file__).parents[1] / "models"
    if not folder.is_dir():
        pytest.skip("an installed wheel keeps the shelf inside the package")
    assert {path.name for path in folder.iterdir()} == {"index.csv", *SHELF.file}
    for _, row in SHELF.iterrows():
        assert row.source.removeprefix("https://doi.org/") in (folder / row.file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "state", "expected"),
    [
        ("schlogl", [250], [0.015 * 250 * 249, 1e-4 / 6 * 250 * 249 * 248, 200, 875]),  # THEORY C4, standard set
        ("schlogl_wkb", [40], [6, 262, 0.56 * 40 * 39, 0.01 * 40 * 39 * 38]),  # THEORY C4, second set at Om = 10
        ("toggle_switch", [3, 4], [50 / (1 + 4**2.5), 16 / 4, 3, 4]),  # THEORY R1
        ("dimerisation", [100, 7], [0.001 * 100 * 99 / 2, 0.07]),  # THEORY A.9, DSMTS 00030
        ("autoregulated", [1, 5, 2], [12, 60, 5, 1, 6, 1]),  # THEORY A.8
        ("sir", [95, 5, 0], [2 * 95 * 5 / 100, 5]),  # THEORY A.18
        ("michaelis_menten", [3, 1, 0], [1, 3, 0, 0]),  # THEORY A.13
        ("michaelis_menten_closed", [100, 1000, 5, 0], [1e5, 5, 0.5]),  # THEORY R5: the rates per molecule are 1, 1 and 0.1
        ("gene_expression", [6, 48], [6, 12, 6, 12]),
        ("pair_annihilation", [7], [10, 4.2]),  # THEORY C2 at Om = 10
    ],
)
def test_propensities(name, state, expected):
    network = cme.load(name)
    np.testing.assert_allclose(Compiled(network).propensities(np.array(state, dtype=float)), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "species", "mean", "variance"),
    [
        ("gene_expression", "protein", 48, 48 * 2.6),  # THEORY A.5
        ("two_stage", "P", 4, 4 * 2.5),  # THEORY A.5
        ("bursty_expression", "P", 20, 20 * (1 + 10 / 1.05)),  # THEORY A.5
        ("bursty_protein", "P", 20, 220),  # THEORY A.4
        ("random_division", "M", 25, 2 * 30 * 25 / (1.4 + 0.75) + 25 - 625),
        ("batch_immigration", "X", 25, 75),  # THEORY A.7
        ("autoregulated", "P", 21.27050421, 37.97449831),  # THEORY A.8
        ("pair_annihilation", "A", 7.19950536, 5.36662795),  # THEORY A.10, C2
        ("toggle_switch", "U", 11.63077596, 19.450631**2),  # THEORY R1
    ],
)
def test_what_is_known_exactly(name, species, mean, variance):
    law = cme.stationary(cme.load(name), tol=1e-9)
    assert law.mean()[-1][law.species_index(species)] == pytest.approx(mean, rel=2e-7)
    assert law.sd()[-1][law.species_index(species)] ** 2 == pytest.approx(variance, rel=2e-7)


def test_vilar_conserves_its_promoters():
    """Vilar et al. 2002: the two promoters are free or bound."""
    network = cme.load("vilar_oscillator")
    change = dict(zip(network.species_names, network.stoichiometry.T, strict=True))
    assert not np.any(change["DA"] + change["DAp"])
    assert not np.any(change["DR"] + change["DRp"])


# ---------------------------------------------------------------------------------------------------- load()


def test_files_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("decay.txt").write_text("A -> 0 @ 1; A = 3", encoding="utf-8-sig")
    Path("plain").write_text("A -> 0 @ 1")
    Path("sir").write_text("A -> 0 @ 1")
    Path("odd.model").write_text(cme.load("sis").to_sbml())
    assert cme.load("decay.txt").name == cme.load(tmp_path / "decay.txt").name == "decay"
    assert cme.load("plain").species_names == ("A",)
    assert cme.load("sir").name == "sir"
    assert len(cme.load("sir").species) == 3  # a name without a dot or a separator is a shelf name first
    assert len(cme.load("./sir").species) == len(cme.load(Path("sir")).species) == 1
    assert cme.load("odd.model") == cme.load("sis") == cme.load(cme.load("sis").to_sbml())
    Path("named.txt").write_text("model other\nA -> 0 @ 1")
    assert cme.load("named.txt").name == "other"


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            "schloegl",
            cme.ModelError,
            "there is no shelf model 'schloegl' and no file of that name; did you mean 'schlogl' or 'schlogl_wkb'",
        ),
        ("gene", cme.ModelError, "did you mean 'gene_expression'"),
        ("qqq", cme.ModelError, r"there is no shelf model 'qqq' and no file of that name; catalogue\(\) lists the shelf"),
        ("schlogl.xml", FileNotFoundError, "there is no file schlogl.xml; did you mean 'schlogl'"),
        ("no/such.txt", FileNotFoundError, "there is no file no/such.txt$"),
        ("A -> B @ 1", cme.ModelError, r"this looks like reaction text: use parse\(\)"),
        (".", IsADirectoryError, "is a folder, not a model file"),
        (3, TypeError, "takes a path or the name of a shelf model, not int"),
    ],
)
def test_refusals(source, error, message):
    with pytest.raises(error, match=message):
        cme.load(source)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(cme.ModelError, match=r"image.png is no text file \(byte 1 is not UTF-8\); give SBML or reaction text"):
        cme.load(path)


def test_errors_in_a_file_name_its_line(tmp_path):
    path = tmp_path / "wrong.txt"
    path.write_text("A -> 0 @ 1\nB -> 0 @ k*\n")
    with pytest.raises(cme.ModelError, match=r"wrong.txt, line 2: cannot read the formula"):
        cme.load(path)
