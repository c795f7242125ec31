"""Antimony text, through the `antimony` library (an extra), which turns it into SBML and back."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from cme import ratelaw
from cme.errors import ModelError, refusal
from cme.formats import antimony_worker
from cme.infix import shorten, to_infix
from cme.network import Network
from cme.ratelaw import Expr


def read(text: str, *, source: str = "Antimony text", folder: str | os.PathLike | None = None) -> Network:
    """Read a network from Antimony text.

    Parameters
    ----------
    text
        The model; of several, the last that no other uses, as the antimony library has it.
    source
        What error messages call the text.
    folder
        Where the files are that the text imports.

    Raises
    ------
    ModelError
        With antimony's line, if the text can't be read; as `cme.load` does for SBML, if the network means nothing.
    ImportError
        If the antimony library is not installed.

    Notes
    -----
    The library runs in a process of its own, for at most a minute and in at most 4 GiB.

    References
    ----------
    Smith, Bergmann, Chandran & Sauro, Antimony: a modular model definition language, Bioinformatics 25, 2452 (2009),
    doi:10.1093/bioinformatics/btp401
    """
    from cme.formats import sbml

    document = _ask("sbml", text, source, folder)
    try:
        network = sbml.read(document)
    except ModelError as error:  # its lines are not the user's
        if error.problems:
            raise refusal([each._replace(line=None) for each in error.problems], source) from None
        raise ModelError(f"{source}: {re.sub(r'^SBML text(, line [0-9]+)?: ', '', str(error))}") from None
    if not (network.species or network.reactions or network.parameters or network.rules or network.events):
        raise ModelError(f"{source} holds no model; write for example 'A -> B; k*A; k = 0.1; A = 10'")
    return network


def write(network: Network) -> str:
    """Write a network as Antimony text.

    Raises
    ------
    ModelError
        As `Network.to_sbml` does; or if the text means something else, as where the library loses parentheses.
    ImportError
        If the antimony library is not installed.

    Notes
    -----
    Propensities are written as formulas; that a law is mass action has no place in Antimony.
    """
    from cme.formats import sbml

    document = network.to_sbml()
    text = _ask("antimony", document, repr(network.name), None)
    meant = sbml.read(document)
    try:
        found = read(text)
    except ModelError as error:
        raise ModelError(f"{network.name!r} can't be written as Antimony: the library does not read its own text back ({error})") from None
    theirs = _formulas(found)
    for what, formula in _formulas(meant).items():
        if what not in theirs or not _alike(meant.resolve(formula), found.resolve(theirs[what])):
            raise ModelError(
                f"{network.name!r} can't be written as Antimony: the library loses parentheses in {what}, "
                f"{shorten(to_infix(formula))}; write it without powers of powers and signs after signs, or convert to SBML"
            )
    return text


def _formulas(network: Network) -> dict[str, Expr]:
    """All formulas of a network by what they are."""
    found = {f"the law of reaction {each.name!r}": each.propensity for each in network.reactions}
    found |= {f"the rule for {each.name!r}": each.formula for each in (*network.rules, *network.rate_rules)}
    for event in network.events:
        found[f"the trigger of event {event.name!r}"] = event.trigger
        found |= {f"what event {event.name!r} sets {each.name!r} to": each.formula for each in event.assignments}
    return found


def _alike(a: Expr, b: Expr) -> bool:
    """Do two formulas have the same values, or the same look?"""
    import numpy as np

    if ratelaw.names(a) != ratelaw.names(b):
        return False
    if a == b or ratelaw.has_draws(a):
        return True
    random = np.random.default_rng(1)
    values = {name: random.uniform(0.5, 9.0, 16) for name in sorted(ratelaw.names(a))}
    with np.errstate(all="ignore"):
        return bool(np.allclose(ratelaw.evaluate(a, values), ratelaw.evaluate(b, values), rtol=1e-9, equal_nan=True))


def _ask(to: str, text: str, source: str, folder: str | os.PathLike | None) -> str:
    if find_spec("antimony") is None:
        raise ImportError("Antimony files need the antimony library, which is not installed; pip install 'cme-networks[antimony]'")
    if "\0" in text:
        raise ModelError(f"{source} is no text: it holds a null character")
    for match in re.finditer(r'\bimport\s*"([^"]*)', text if to == "sbml" else ""):
        if folder is None or Path(match[1]).is_absolute() or ".." in Path(match[1]).parts:
            raise ModelError(f"{source}: it imports {match[1]!r}; only files in the folder of an .ant file, or below, can be imported")
    request = json.dumps({"to": to, "text": text, "folder": None if folder is None else str(Path(folder).resolve())})
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-P", antimony_worker.__file__],  # -P: this folder holds another antimony
            input=request, capture_output=True, text=True, encoding="utf-8", timeout=antimony_worker.SECONDS, check=False,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ModelError(f"{source}: the antimony library did not finish within {antimony_worker.SECONDS} s; shorten the model") from None
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        raise ModelError(f"{source}: the antimony library broke down on this text (exit code {done.returncode}); is it Antimony?") from None
    if "error" in answer:
        raise ModelError(_sentence(answer["error"], source))
    return answer["text"]


def _sentence(error: str, source: str) -> str:
    """Antimony's message with the source and the line in front."""
    error = " ".join(error.split())
    match = re.match(r"Error in model string, line (\d+):\s*(.*)", error)
    where, what = (f"{source}, line {match[1]}", match[2]) if match else (source, error)
    return f"{where}: antimony says: {shorten(what, 300)}"
