"""What the events of a lab tell of each of its nodes, to be shown as lines or as bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from builder.events import Event

MARKS = {"ok": "done", "cached": "cached", "failed": "FAILED", "undone": "undone", "interrupted": "interrupted"}


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
            self.step, self.phase, self.step_began, self.outcome = short(event), "", event.t_mono, ""
            self.expected, self.passed, self.left, self.note = seconds(event.data), 0, None, ""
            self.phase_began, self.phase_expected = event.t_mono, 0
        else:
            self.step, self.outcome, self.phase = short(event), event.outcome or "ok", ""

    def _take_phase(self, event: Event) -> None:
        if event.kind == "begin":
            self.step = short(event) or self.step
            self.phase, self.phase_began, self.phase_expected = event.phase or "", event.t_mono, seconds(event.data)
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
        name = event.node or short(event) or event.lab
        return self.tracks.setdefault(name, Track(name))


def short(event: Event) -> str:
    """The step without its node: `boot` of `host1/boot`, `image 0bbd2b46e721` of `image:0bbd2b46e721`."""
    return (event.step or "").removeprefix(f"{event.node}/").replace(":", " ")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def seconds(data: Mapping[str, Any]) -> float:
    value = data.get("expected", 0)
    return float(value) if isinstance(value, int | float) and value > 0 else 0
