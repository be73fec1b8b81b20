"""Listeners that show events: a bar per node on a terminal, a line per phase elsewhere, or the events themselves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from builder.cli.frame import App, wants_color
from builder.events import Event

Listener = Callable[[Event], None]
MARKS = {"ok": "done", "cached": "cached", "failed": "FAILED", "undone": "undone", "interrupted": "interrupted"}


@dataclass(slots=True)
class Track:
    """Where one node (or the lab itself) is. Times are seconds; `expected` 0 means that nobody knows yet."""

    name: str
    step: str = ""
    phase: str = ""
    step_began: float = 0
    phase_began: float = 0
    expected: float = 0
    phase_expected: float = 0
    passed: float = 0
    outcome: str = ""
    line: str = ""

    def take(self, event: Event) -> None:
        """Move on by one event of this node."""
        if event.kind == "line":
            self.line = str(event.data.get("text", ""))
        elif event.kind == "fault":
            self.outcome = "failed"
        elif event.phase is not None:
            self._take_phase(event)
        elif event.kind == "begin":
            self.step, self.phase, self.step_began, self.outcome = event.step or "", "", event.t_mono, ""
            self.expected, self.passed = _seconds(event.data), 0
            self.phase_began, self.phase_expected = event.t_mono, 0
        elif event.kind == "end":
            self.outcome, self.phase = event.outcome or "ok", ""

    def _take_phase(self, event: Event) -> None:
        if event.kind == "begin":
            self.step = event.step or self.step
            self.phase, self.phase_began, self.phase_expected = event.phase or "", event.t_mono, _seconds(event.data)
            self.outcome = ""
        elif event.kind == "end":
            self.passed += self.phase_expected or event.t_mono - self.phase_began
            self.phase_expected = 0
            if event.outcome is not None and event.outcome not in ("ok", "cached"):
                self.outcome = event.outcome

    def share(self, now: float) -> float | None:
        """How much of the step is behind us, 0 to 1, by the expected times; None when these are unknown.

        A phase that takes longer than expected holds the bar just before its end, so it never runs ahead."""
        if self.outcome in ("ok", "cached"):
            return 1
        if not self.expected:
            return None
        inside = now - (self.phase_began if self.phase else self.step_began)
        limit = 0.95 * (self.phase_expected if self.phase else self.expected)
        return min(1, (self.passed + min(inside, limit)) / self.expected)


@dataclass(slots=True)
class Board:
    """The tracks of a lab, by node; the lab's own steps (images) have a track per step."""

    tracks: dict[str, Track] = field(default_factory=dict)

    def take(self, event: Event) -> Track:
        name = event.node or event.step or event.lab
        track = self.tracks.setdefault(name, Track(name))
        track.take(event)
        return track


class Lines:
    """A line for each phase and step that ends, with its seconds; `verbosity` 1 adds beginnings, 2 the console."""

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._board = Board()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            before = self._board.tracks.get(event.node or event.step or event.lab)
            began = (before.phase_began if event.phase else before.step_began) if before else event.t_mono
            expected = (before.phase_expected if event.phase else before.expected) if before else 0
            track = self._board.take(event)
            text = self._text(event, event.t_mono - began, expected)
            if text:
                print(f"{track.name}: {text}", file=self._stream, flush=True)

    def _text(self, event: Event, took: float, expected: float) -> str:
        what = event.phase or event.step or ""
        if event.kind == "begin":
            return f"{what} ..." if self._verbosity > 0 else ""
        if event.kind == "line":
            return f"| {event.data.get('text', '')}" if self._verbosity > 1 else ""
        if event.kind == "fault":
            return f"{what} FAILED: {event.data.get('message') or event.cause or 'unknown cause'}".strip()
        if event.kind == "end" and what:
            usual = f", expected {expected:.0f}" if expected else ""
            cause = f" [{event.cause}]" if event.cause else ""
            return f"{what} {MARKS.get(event.outcome or 'ok', event.outcome)}{cause} ({took:.1f} s{usual})"
        return ""


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


def _seconds(data: Mapping[str, Any]) -> float:
    value = data.get("expected", 0)
    return float(value) if isinstance(value, int | float) and value > 0 else 0
