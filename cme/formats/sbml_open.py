"""An SBML document from disk: broken XML, invalid SBML and elements that are not supported are told apart and refused."""

import os
from pathlib import Path
from typing import Any

from cme.errors import ModelError
from cme.formats.sbml_write import NAMESPACE
from cme.infix import shorten
from cme.ratelaw import MAX_DEPTH, MAX_SIZE


def open_document(source: str | os.PathLike) -> tuple[Any, str]:
    """Parse the XML; every way in which it can be broken gives one line."""
    import libsbml

    if isinstance(source, str) and source.lstrip().startswith("<"):
        label, text = "SBML text", source.lstrip()
        try:
            _check_xml(text.encode(), label)
        except UnicodeEncodeError as broken:
            raise ModelError(f"{label} holds a character that no file can: {broken.object[broken.start]!r}") from None
        document = libsbml.readSBMLFromString(text)
    else:
        path = Path(source)
        label = str(path)
        _check_xml(path.read_bytes(), label)
        document = libsbml.readSBMLFromFile(str(path))
    # Everything is read all the same; expat has already looked at the XML itself.
    harmless = (libsbml.MissingXMLEncoding, libsbml.BadXMLDecl, libsbml.IncorrectOrderInModel)
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() < libsbml.LIBSBML_SEV_ERROR or error.getErrorId() in harmless:
            continue
        message = " ".join(error.getMessage().split())
        if len(message) > 240:
            message = message[:240].rsplit(" ", 1)[0] + " ..."
        raise ModelError(f"{label}, line {error.getLine()}: not valid SBML ({error.getShortMessage()}): {message}")
    if document.getModel() is None:
        raise ModelError(f"{label} holds no SBML model")
    return document, label


_SBML = "http://www.sbml.org/sbml/level"
_NAMESPACES = {
    ("1", "1"): "1", ("1", "2"): "1", ("2", "1"): "2", ("2", "2"): "2/version2", ("2", "3"): "2/version3", ("2", "4"): "2/version4",
    ("2", "5"): "2/version5", ("3", "1"): "3/version1/core", ("3", "2"): "3/version2/core",
}  # fmt: skip


def _check_root(tag: str, attributes: dict[str, str], where: str) -> None:
    """Refuse a level, version and namespace that do not belong together: libsbml would end the process."""
    prefix, _, name = tag.rpartition(":")
    if name != "sbml":
        return
    version = attributes.get("level", ""), attributes.get("version", "")
    namespace = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
    if version not in _NAMESPACES or namespace != _SBML + _NAMESPACES[version]:
        raise ModelError(
            f"{where}: not valid SBML: level {version[0]!r}, version {version[1]!r} and namespace {namespace!r} do not belong together; "
            f"use for example level '3', version '2' and {_SBML + _NAMESPACES['3', '2']!r}"
        )


def _check_xml(data: bytes, label: str) -> None:
    """Refuse broken XML, and what makes libsbml end the process: deep nesting, very wide formulas, levels that do not exist."""
    from xml.parsers import expat

    if not data.strip():
        raise ModelError(f"{label} is empty")
    parser, depth, root = expat.ParserCreate(), 0, list[tuple[str, dict[str, str], str]]()
    size = 0  # elements so far of the formula that is open, 0 if none is

    def start(tag, attributes):
        nonlocal depth, size
        depth += 1
        size = 1 if tag.endswith("math") else size + bool(size)
        if size > MAX_SIZE:
            raise ModelError(f"{label}, line {parser.CurrentLineNumber}: a formula has more than {MAX_SIZE} terms")
        if depth == 1:
            root.append((tag, attributes, f"{label}, line {parser.CurrentLineNumber}"))
        if depth > 5 * MAX_DEPTH:
            raise ModelError(f"{label}, line {parser.CurrentLineNumber}: elements are nested more than {5 * MAX_DEPTH} levels deep")

    def end(tag):
        nonlocal depth, size
        depth -= 1
        size = 0 if tag.endswith("math") else size

    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ModelError(f"{label}, line {error.lineno}: not well-formed XML ({expat.errors.messages[error.code]})") from None
    except ModelError:
        raise
    except (LookupError, ValueError) as error:  # of the encoding that the document names
        raise ModelError(f"{label}: the XML can't be decoded ({error}); write it as UTF-8") from None
    _check_root(*root[0])


def items(parent: Any, kind: str) -> list[Any]:
    """All children of a kind, such as "Reaction"."""
    get = getattr(parent, f"get{kind}")
    return [get(i) for i in range(getattr(parent, f"getNum{kind.removesuffix('s')}s")())]


_PACKAGES = {"distrib", "l3v2extendedmath"}  # required packages that are read


def unsupported(document: Any) -> list[tuple[Any, str]]:
    """What would change the meaning and is not supported: elements, and what is the matter with each."""
    import libsbml

    model, found = document.getModel(), list[tuple[Any, str]]()
    for i in range(document.getNumPlugins() if document.getLevel() >= 3 else 0):
        package = document.getPlugin(i).getPackageName()
        if document.getPackageRequired(package) and package not in _PACKAGES:
            what = f"the model requires the package {package!r}, which is not supported; flatten the model, or write it with SBML core"
            found.append((document, what))
    for rule in items(model, "Rule"):
        if rule.isAlgebraic() and rule.isSetMath():
            what = f"the algebraic rule 0 = {libsbml.formulaToL3String(rule.getMath())} is not supported"
            found.append((rule, f"{what}; solve it for one variable and write an assignment rule"))
    for reaction in items(model, "Reaction"):
        if reaction.getFast():
            what = f"reaction {reaction.getId()!r} is fast (an equilibrium), which is not supported"
            found.append((reaction, f"{what}; give it a large rate, or write its equilibrium as rules"))
    return found


def constraints(document: Any) -> tuple[str, ...]:
    """Constraints say when results are out of bounds. They change none: they are not watched but noted, and written down as notes."""
    import libsbml

    ours = annotation(document.getModel(), "notes")
    found = [] if ours is None else ours["text"].split("\n")
    for number, item in enumerate(items(document.getModel(), "Constraint"), 1):
        if item.isSetMath():
            name = repr(item.getId()) if item.getId() else str(number)
            formula = shorten(libsbml.formulaToL3String(item.getMath()) or "")
            found.append(f"constraint {name} (line {item.getLine()}), {formula}, is not watched; look at the results")
    return tuple(found)


def annotation(element: Any, name: str) -> dict[str, str] | None:
    """The attributes of the annotation that `cme.formats.sbml_write` leaves on an element; None if there is none."""
    root = element.getAnnotation() if element.isSetAnnotation() else None
    if root is None:
        return None
    for i in range(root.getNumChildren()):
        child = root.getChild(i)
        if child.getURI() == NAMESPACE and child.getName() == name:
            return {child.getAttrName(k): child.getAttrValue(k) for k in range(child.getAttributesLength())}
    return None
