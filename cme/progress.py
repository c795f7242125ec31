"""Progress on long work: a bar in a terminal or a notebook, nothing elsewhere, nothing on short work."""

from collections.abc import Iterator
from contextlib import contextmanager

from cme.kernels import notice


class Progress:
    """Counts up to a total. `to` may be called as often as you like."""

    def __init__(self, bar=None):
        self._bar = bar

    def to(self, done: float, note: str = "") -> None:
        """Say how much is done, and what is being done."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)


@contextmanager
def progress(label: str, total: float, show: bool | None = None) -> Iterator[Progress]:
    """A progress bar over `total` units that appears after half a second; inside, kernels that are compiled say so under the same rule.

    `show` None means: if standard error is a terminal or this is a notebook.
    """
    show = notice.is_watched() if show is None else show
    before, notice.shown = notice.shown, show
    try:
        if not show:
            yield Progress()
            return
        from tqdm.auto import tqdm

        form = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
        with tqdm(total=total, desc=label, delay=0.5, leave=False, bar_format=form) as bar:
            yield Progress(bar)
    finally:
        notice.shown = before
