"""A word to whoever waits while kernels are compiled, shown where progress bars are."""

import sys

shown: bool | None = None  # as the user said about progress (see `cme.progress`); None: in a terminal or a notebook
_RATE = 5000  # letters of source that a machine of 2024 compiles in a second


def is_watched() -> bool:
    """If standard error is a terminal, or this is a notebook."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def compiling(name: str, letters: int) -> None:
    """Say that a kernel is being compiled, if that takes more than a moment."""
    seconds = 1 + letters // _RATE
    if seconds > 2 and (is_watched() if shown is None else shown):
        print(f"cme: compiling {name}, once per machine, about {seconds} s", file=sys.stderr, flush=True)
