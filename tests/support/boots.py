"""A boot to follow, without a machine."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.drivers.boot import BootFollower, Signal
from builder.model.plan import Cause, Phase

PANIC = Cause(pattern=r"Panic on CPU \d+", name="xen-panic", message="Xen panicked", cure="another CPU model")
NO_ROOT = Cause(pattern=r"Unable to mount root", name="no-root", message="the root file system is missing", cure="")
PHASES = (
    Phase(name="firmware", awaits="SeaBIOS", weight=5),
    Phase(name="xen", awaits="Xen version", weight=5, causes=(PANIC,)),
    Phase(name="kernel", awaits="Linux version", weight=5, causes=(NO_ROOT,)),
    Phase(name="login", awaits="login: $", weight=5),
    Phase(name="ssh", signal="ssh", weight=5),
)


class Bench:
    """A log that is written, signals that are sent, and the events that come of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "console.log"
        self.signals: queue.Queue[Signal] = queue.Queue()
        self.events: list[tuple[str, str | None, str | None, Mapping[str, Any]]] = []

    def say(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(text)

    def emit(self, kind: str, *, phase: str | None = None, outcome: str | None = None, **data: Any) -> None:
        self.events.append((kind, phase, outcome, data))

    def follow(self, phases: tuple[Phase, ...] = PHASES, **options: Any) -> dict[str, float]:
        stop = options.pop("stop", None)
        return BootFollower(self.log, phases, "n1", self.emit, self.signals, **options).follow(stop)

    def story(self) -> list[str]:
        return [f"{kind} {phase}" + (f" {outcome}" if outcome else "") for kind, phase, outcome, _ in self.events]
