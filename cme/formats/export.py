"""A network into a file, in the format that the file's suffix names."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cme.errors import ModelError
from cme.network import Network


def _to_antimony(network: Network) -> str:
    from cme.formats import antimony

    return antimony.write(network)


WRITERS: Mapping[str, Callable[[Network], str]] = {
    ".xml": Network.to_sbml,
    ".sbml": Network.to_sbml,
    ".txt": Network.to_text,
    ".ant": _to_antimony,
    ".antimony": _to_antimony,
}


def export(network: Network, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a network into a file: SBML (.xml, .sbml), reaction text (.txt) or Antimony (.ant, .antimony).

    Raises
    ------
    ValueError
        If the suffix names no format that can be written.
    FileExistsError
        If the file is there and `overwrite` is not set.
    ModelError
        If the format can't hold the network.

    Notes
    -----
    The file is there whole or not at all.
    """
    target = Path(path)
    check_target(target, overwrite=overwrite)
    text = WRITERS[target.suffix.lower()](network)
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ModelError(f"{network.name!r} holds a character that no file can: {error.object[error.start]!r}") from None
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)  # mkstemp makes files that nobody else may read
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a file that can't be written, before any work."""
    if target.suffix.lower() not in WRITERS:
        raise ValueError(f"{str(target)!r} names no format that can be written; the suffixes are {', '.join(WRITERS)}")
    if target.is_dir():
        raise IsADirectoryError(f"{str(target)!r} is a folder; name a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{str(target)!r} exists; overwrite it with --force, or name another file")
