"""`load` a network from a file or off the shelf; `catalogue` what the shelf holds."""

import csv
import difflib
import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cme.errors import ModelError
from cme.network import Network

if TYPE_CHECKING:
    import pandas as pd

_SBML, _NET, _ANTIMONY = (".xml", ".sbml"), (".net",), (".ant", ".antimony")


def load(source: str | os.PathLike) -> Network:
    """Read a network from a model file, or take one off the shelf.

    Parameters
    ----------
    source
        A path: ``.xml`` and ``.sbml`` files, and files that start with ``<``, are SBML; ``.net`` files are what BioNetGen writes
        (`cme.formats.bionetgen`); ``.ant`` and ``.antimony`` files are Antimony, which needs the extra
        ``pip install 'cme-networks[antimony]'``; any other file is reaction text (`cme.formats.text`).
        Or the name of a shelf model, such as ``"schlogl"`` (see `catalogue`). A string with a dot or a folder separator is always a
        path, any other string is a shelf name first and a file second, and a `pathlib.Path` is always a path. A string that starts
        with ``<`` is SBML itself, such as `Network.to_sbml` gives, and one of several lines, or with a semicolon, is Antimony itself.

    Returns
    -------
    Network
        Named by the file, unless the file says a name.

    Raises
    ------
    ModelError
        If the name is not on the shelf, the file can't be read as a network, or the network means nothing.
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ImportError
        If the source is Antimony, and the library that reads it is not installed.

    Examples
    --------
    >>> import cme
    >>> cme.load("birth_death")
    Network 'birth_death': 1 species, 2 reactions
      birth  0 -> X  propensity k
      death  X -> 0  propensity g*X
      k = 10; g = 1
      X = 0
    """
    if isinstance(source, str):
        if source.lstrip().startswith("<"):
            return _read_sbml(source)
        if "@" in source:
            raise ModelError("load() takes a path or the name of a shelf model; this looks like reaction text: use parse()")
        if "\n" in source or ";" in source:
            return _read_antimony(source) if not re.search(r"(?m)^\s*begin ", source) else _read_net(source)
        if not _looks_like_path(source):
            entry = next((row for row in _index() if row["name"] == source), None)
            if entry is not None:
                return _read(_shelf() / entry["file"])
            if not Path(source).is_file():
                raise ModelError(f"there is no shelf model {source!r} and no file of that name{_near(source)}")
    elif not isinstance(source, os.PathLike):
        raise TypeError(f"load() takes a path or the name of a shelf model, not {type(source).__name__}")
    return _read(Path(source))


def catalogue() -> "pd.DataFrame":
    """What the shelf holds, one row for each model.

    Returns
    -------
    DataFrame
        ``name`` (what `load` takes), ``title``, ``field`` (what it is a model of), ``species`` and ``reactions`` (how many), ``file``,
        ``source`` (the DOI of the paper that the reactions come from), ``licence`` of the file, ``exact`` (what is known exactly about
        the model: a closed form, or a number and how it was found).

    Examples
    --------
    >>> import cme
    >>> int(cme.catalogue().set_index("name").reactions["schlogl"])
    4
    """
    import pandas as pd

    return pd.DataFrame(_index()).astype({"species": int, "reactions": int})


def _looks_like_path(text: str) -> bool:
    return "." in text or "/" in text or os.sep in text


def _read(path: Path) -> Network:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a model file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}{_near(path.stem) if path.parent == Path() else ''}")
    data = path.read_bytes()
    if path.suffix.lower() in _SBML or data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return _read_sbml(path)
    try:
        words = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no text file (byte {error.start + 1} is not UTF-8); give SBML or reaction text") from None
    if path.suffix.lower() in _NET:
        return _read_net(words, path)
    if path.suffix.lower() in _ANTIMONY:
        return _read_antimony(words, path)
    from cme.formats import text

    network = text.parse(words, source=str(path))
    return replace(network, name=path.stem) if network.name == "network" else network


def _read_sbml(source: str | Path) -> Network:
    from cme.formats import sbml

    return sbml.read(source)


def _read_net(words: str, path: Path | None = None) -> Network:
    from cme.formats import bionetgen

    return bionetgen.read(words) if path is None else bionetgen.read(words, name=path.stem, source=str(path))


def _read_antimony(words: str, path: Path | None = None) -> Network:
    from cme.formats import antimony

    if path is None:
        return antimony.read(words)
    network = antimony.read(words, source=str(path), folder=path.parent)
    return replace(network, name=path.stem) if network.name == "__main" else network  # the library's name for no name


def _near(name: str) -> str:
    names = [row["name"] for row in _index()]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or [known for known in names if name.lower() in known][:3]
    return f"; did you mean {' or '.join(repr(near) for near in close)}?" if close else "; catalogue() lists the shelf"


@cache
def _shelf() -> Path:
    """The folder of the shelf: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if (folder / "index.csv").is_file():
            return folder
    raise FileNotFoundError(f"the shelf is missing: no models/index.csv in {package} or beside it; install cme-networks again")


@cache
def _index() -> list[dict[str, str]]:
    with (_shelf() / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
