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
# Seconds: what is expected to take longer is announced, what took less is not worth a line of its own.
_LONG, _SHORT = 10, 0.5
_RUNS_ON = {"kvm": "KVM", "tcg": "emulation (TCG)"}


@dataclass(slots=True)
class Track:
    """Where a node (or a step of the lab itself) is. Times are seconds; `expected` 0 means that nobody knows yet.
    `left` is what the boot said would be left of it, and when; `note` what the installer last told."""

    name: str
    step: str = ""
    phase: str = ""
    step_began: float = 0
    phase_began: float = 0
    expected: float = 0
    phase_expected: float = 0
    passed: float = 0
    left: tuple[float, float] | None = None
    note: str = ""
    outcome: str = ""

    def take(self, event: Event) -> None:
        """Move on by one event of this node."""
        if event.phase is not None and "left" in event.data:
            self.left = (_number(event.data["left"]), event.t_mono)
        if event.kind == "fault":
            self.outcome = "failed"
        elif event.kind == "line" and event.data.get("source") == "installer":
            self.note = str(event.data.get("text", ""))
        elif event.kind not in ("begin", "end"):
            return
        elif event.phase is not None:
            self._take_phase(event)
        elif event.kind == "begin":
            self.step, self.phase, self.step_began, self.outcome = _short(event), "", event.t_mono, ""
            self.expected, self.passed, self.left, self.note = _seconds(event.data), 0, None, ""
            self.phase_began, self.phase_expected = event.t_mono, 0
        else:
            self.step, self.outcome, self.phase = _short(event), event.outcome or "ok", ""

    def _take_phase(self, event: Event) -> None:
        if event.kind == "begin":
            self.step = _short(event) or self.step
            self.phase, self.phase_began, self.phase_expected = event.phase or "", event.t_mono, _seconds(event.data)
            self.outcome = ""
        else:
            self.passed += self.phase_expected or event.t_mono - self.phase_began
            self.phase, self.phase_began, self.phase_expected = "", event.t_mono, 0
            if event.outcome is not None and event.outcome not in ("ok", "cached"):
                self.outcome = event.outcome

    def share(self, now: float) -> float | None:
        """How much of the step is behind us, 0 to 1, by the expected times; None when these are unknown.

        A phase that takes longer than expected holds the bar just before its end, so it never runs ahead."""
        if self.outcome in ("ok", "cached"):
            return 1
        if not self.expected:
            left = self.remaining(now)
            spent = now - self.step_began
            return None if left is None or spent <= 0 else spent / (spent + left)
        inside = now - self.phase_began
        limit = 0.95 * (self.phase_expected or self.expected - self.passed)
        return max(0, min(1, (self.passed + min(inside, limit)) / self.expected))

    def remaining(self, now: float) -> float | None:
        """Seconds that are left of the step, as far as it is known."""
        if self.expected:
            return max(0, self.step_began + self.expected - now)
        return None if self.left is None else max(0, self.left[0] - (now - self.left[1]))

    def label(self, now: float) -> str:
        """What it does right now, in a few words: `boot: hypervisor 3/4 s`, `ready`."""
        if self.outcome:
            return "ready" if (self.step, self.outcome) == ("session", "ok") else f"{self.step} {MARKS[self.outcome]}"
        if not self.phase:
            return self.step
        usual = f"/{self.phase_expected:.0f}" if self.phase_expected else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.step}: {self.phase} {max(0, now - self.phase_began):.0f}{usual} s{note}"


@dataclass(slots=True)
class Board:
    """The tracks of a lab: one for each node, and one for each step that belongs to no node (images)."""

    tracks: dict[str, Track] = field(default_factory=dict)

    def find(self, event: Event) -> Track:
        name = event.node or _short(event) or event.lab
        return self.tracks.setdefault(name, Track(name))


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
        what = event.phase or (_short(event) if event.node else "") or ""
        if event.kind == "begin":
            announced = self._verbosity > 0 or (event.phase is None and _seconds(event.data) >= _LONG)
            usual = f", expected {_seconds(event.data):.0f} s" if _seconds(event.data) else ""
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


def _short(event: Event) -> str:
    """The step without its node: `boot` of `host1/boot`, `image 0bbd2b46e721` of `image:0bbd2b46e721`."""
    return (event.step or "").removeprefix(f"{event.node}/").replace(":", " ")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _seconds(data: Mapping[str, Any]) -> float:
    value = data.get("expected", 0)
    return float(value) if isinstance(value, int | float) and value > 0 else 0
