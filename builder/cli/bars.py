"""The bars of a terminal. Apart from the rest, because rich is worth its import only where they are drawn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from builder.cli.tracks import Board, Track
from builder.events import Event

_MINUTES = 90
"""Seconds: what takes longer is told in minutes."""


class Bars:
    """A bar per node with step, phase, elapsed and expected time. Redrawn in place by rich."""

    def __init__(self, progress: Progress, clock: Callable[[], float]) -> None:
        self._progress = progress
        self._clock = clock
        self._board = Board()
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        if event.node is None and event.step is None:
            return
        with self._lock:
            track = self._board.find(event)
            track.take(event)
            if event.outcome == "undone" and track.name not in self._tasks:
                return
            if track.name not in self._tasks:
                self._tasks[track.name] = self._progress.add_task(track.name, total=None, what="", spent="")
            self._draw(track)

    def tick(self) -> None:
        """Move the bars on although nothing happened."""
        with self._lock:
            for name in self._tasks:
                if not self._board.tracks[name].outcome:
                    self._draw(self._board.tracks[name])

    def _draw(self, track: Track) -> None:
        now = self._clock()
        share = track.share(now)
        left = track.remaining(now)
        usual = f"/{track.expected:.0f}" if track.expected else ""
        rest = f", {left / 60:.0f} min left" if left is not None and left >= _MINUTES else ""
        self._progress.update(
            self._tasks[track.name],
            total=None if share is None else 1.0,
            completed=share or 0,
            what=track.label(now),
            spent="" if track.outcome else f"{max(0, now - track.step_began):.0f}{usual} s{rest}",
        )


@contextmanager
def drawn(color: bool) -> Iterator[Bars]:
    """Bars on stderr for as long as the context lasts."""
    console = Console(stderr=True, no_color=not color)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[spent]}", markup=False),
        TextColumn("{task.fields[what]}", markup=False),
        console=console,
        # The terminal is shared with whatever the user pipes us into.
        redirect_stdout=False,
    )
    bars = Bars(progress, time.monotonic)
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.5):
            bars.tick()

    ticker = threading.Thread(target=tick, name="progress", daemon=True)
    with progress:
        ticker.start()
        try:
            yield bars
        finally:
            over.set()
            ticker.join()
            bars.tick()
