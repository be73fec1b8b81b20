"""Listeners that show events: a bar per node on a terminal, a line per phase elsewhere, or the events themselves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from builder.cli.frame import App, wants_color
from builder.cli.tracks import MARKS, Board, seconds, short
from builder.events import Event

Listener = Callable[[Event], None]
# Seconds: what is expected to take longer is announced, what took less is not worth a line of its own.
_LONG, _SHORT = 10, 0.5
_RUNS_ON = {"kvm": "KVM", "tcg": "emulation (TCG)"}


class Lines:
    """A line for each phase that ends, and each step that took its time; `verbosity` 1 adds all else, 2 the console."""

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._board = Board()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            track = self._board.find(event)
            began, expected = (
                (track.phase_began, track.phase_expected) if event.phase else (track.step_began, track.expected)
            )
            track.take(event)
            text = self._text(event, event.t_mono - began if began else 0, expected)
            if text:
                print(f"{track.name}: {text}", file=self._stream, flush=True)

    def _text(self, event: Event, took: float, expected: float) -> str:
        what = event.phase or (short(event) if event.node else "") or ""
        if event.kind == "begin":
            announced = self._verbosity > 0 or (event.phase is None and seconds(event.data) >= _LONG)
            usual = f", expected {seconds(event.data):.0f} s" if seconds(event.data) else ""
            return f"{what or 'started'} ...{usual}" if announced else ""
        if event.kind == "line":
            told = self._verbosity > 1 or (self._verbosity > 0 and event.data.get("source") == "installer")
            return f"| {event.data.get('text', '')}" if told else ""
        if event.kind == "progress":
            on = _RUNS_ON.get(str(event.data.get("accelerator")))
            return f"runs on {on}: {event.data.get('reason', '')}" if on else ""
        if event.kind == "fault":
            return f"{what} FAILED: {event.data.get('message') or event.cause or 'unknown cause'}".strip()
        return self._end(event, what, took, expected)

    def _end(self, event: Event, what: str, took: float, expected: float) -> str:
        outcome = event.outcome or "ok"
        dull = outcome in ("cached", "undone") or (outcome == "ok" and event.phase is None and took < _SHORT)
        if dull and self._verbosity < 1:
            return ""
        cause = f" [{event.cause}]" if event.cause else ""
        usual = f", expected {expected:.0f}" if expected else ""
        spent = f" ({took:.1f} s{usual})" if took or expected else ""
        return f"{what} {MARKS[outcome]}{cause}{spent}".strip()


def json_lines(stream: TextIO) -> Listener:
    """Each event as a line of JSON, secrets blanked."""

    def listen(event: Event) -> None:
        print(event.to_json(), file=stream, flush=True)

    return listen


@contextmanager
def listening(app: App, how: str = "table") -> Iterator[Listener]:
    """The listener that suits: none when quiet, JSON lines when asked for, bars on a terminal, lines elsewhere."""
    if how == "jsonl":
        yield json_lines(sys.stdout)
    elif app.quiet:
        yield _ignore
    elif app.verbosity == 0 and sys.stderr.isatty() and app.environ.get("TERM") != "dumb":
        from builder.cli.bars import drawn

        with drawn(wants_color(app.environ, stream_is_tty=True)) as bars:
            yield bars
    else:
        yield Lines(sys.stderr, app.verbosity)


def _ignore(event: Event) -> None:
    """For --quiet."""
