"""A bar for bytes that move: on a terminal, for as long as they do; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from builder.cli.frame import App, wants_color

Tell = Callable[[int, int], None]


@contextmanager
def meter(app: App, what: str) -> Iterator[Tell]:
    """A call that takes (bytes done, bytes in all). The bar is on stderr and is gone afterwards."""
    if app.quiet or not sys.stderr.isatty() or app.environ.get("TERM") == "dumb":
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, no_color=not wants_color(app.environ, stream_is_tty=True))
    shape = (TextColumn(what), BarColumn(), DownloadColumn(True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*shape, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _ignore(done: int, total: int) -> None:
    """Where there is nobody to look."""
