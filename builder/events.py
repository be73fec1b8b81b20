"""What happens to a lab, told as numbered events. Progress, JUnit and evidence read only these.

An event log is a file of JSON lines; `seq` grows by one and has no holes, which a reader may rely on.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from builder.secrets import redact

VERSION = 1
Kind = Literal["begin", "progress", "line", "end", "fault"]
Outcome = Literal["ok", "failed", "cached", "undone", "interrupted"]


@dataclass(frozen=True, slots=True)
class Event:
    """`t_wall` is seconds since the epoch, `t_mono` seconds of a clock that never goes back."""

    v: int
    seq: int
    t_wall: float
    t_mono: float
    lab: str
    kind: Kind
    node: str | None = None
    step: str | None = None
    phase: str | None = None
    outcome: Outcome | None = None
    cause: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        shown = {key: _blanked(value) for key, value in asdict(self).items() if value not in (None, {})}
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Event:
        """Raises ValueError for a line that is no event, or is of an unknown version."""
        raw = json.loads(line)
        if not isinstance(raw, dict) or raw.get("v") != VERSION:
            raise ValueError(f"not an event of version {VERSION}")
        return cls(**raw)


def _blanked(value: Any) -> Any:
    """The value with the secrets in its texts blanked: in the finished line that could break its syntax, as the first
    line of a private key does, and the log would have a hole."""
    if isinstance(value, Mapping):
        return {key: _blanked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_blanked(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


class Emit(Protocol):
    """How the parts that do things tell what they do. The caller numbers and times."""

    def __call__(
        self,
        kind: Kind,
        *,
        node: str | None = None,
        step: str | None = None,
        phase: str | None = None,
        outcome: Outcome | None = None,
        cause: str | None = None,
        **data: Any,
    ) -> None: ...


def about(
    emit: Emit, *, node: str | None = None, step: str | None = None, seen: Callable[[str], None] | None = None
) -> Emit:
    """An Emit that fills in whose events they are. `seen` is told each phase that begins."""
    about_node, about_step = node, step

    def tell(
        kind: Kind,
        *,
        node: str | None = None,
        step: str | None = None,
        phase: str | None = None,
        outcome: Outcome | None = None,
        cause: str | None = None,
        **data: Any,
    ) -> None:
        if seen is not None and kind == "begin" and phase is not None:
            seen(phase)
        emit(kind, node=node or about_node, step=step or about_step, phase=phase, outcome=outcome, cause=cause, **data)

    return tell


def transfer(emit: Emit, phase: str) -> Callable[[int, int], None]:
    """To be called with (bytes done, bytes to do, 0 if nobody knows) while they are on their way, and once before the
    first where some are there already: progress of that phase, once a second, with `left`: seconds to its end."""
    told = time.monotonic()
    first: tuple[float, int] | None = None

    def tell(done: int, total: int) -> None:
        nonlocal first, told
        now = time.monotonic()
        began, there = first = first or (now, done)
        if now - told < 1 or not done:
            return
        told = now
        data: dict[str, Any] = {"done": done}
        if total:
            data["total"] = total
            if done > there:  # the speed is that of what has come since
                data["left"] = round((now - began) * max(0, total - done) / (done - there), 1)
        emit("progress", phase=phase, **data)

    return tell


class EventLog:
    """Numbers events, appends them to a file (if one is given) and hands them to listeners. Thread-safe.

    A file that cannot be written any more, because the disk is full, ends there: what happens goes on without it.
    """

    def __init__(self, lab: str, path: Path | None = None, *listeners: Callable[[Event], None]) -> None:
        self._lab = lab
        self._lock = threading.Lock()
        self._listeners = list(listeners)
        self._seq = 0
        self._fd: int | None = None
        if path is not None:
            self._seq = _last_seq(path)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def emit(
        self,
        kind: Kind,
        *,
        node: str | None = None,
        step: str | None = None,
        phase: str | None = None,
        outcome: Outcome | None = None,
        cause: str | None = None,
        **data: Any,
    ) -> None:
        with self._lock:
            self._seq += 1
            event = Event(
                v=VERSION, seq=self._seq, t_wall=time.time(), t_mono=time.monotonic(), lab=self._lab, kind=kind,
                node=node, step=step, phase=phase, outcome=outcome, cause=cause, data=data,
            )  # fmt: skip
            self._write(event)
            for listener in tuple(self._listeners):
                listener(event)

    def _write(self, event: Event) -> None:
        if self._fd is None:
            return
        line = (event.to_json() + "\n").encode()
        try:
            whole = os.write(self._fd, line) == len(line)
        except OSError:
            whole = False
        if not whole:
            self.close()

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Add a listener; the returned call removes it."""
        with self._lock:
            self._listeners.append(listener)

        def remove() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return remove

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read_events(path: Path) -> Iterator[Event]:
    """Events of a log, oldest first. A last line cut short by a crash is left out."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield Event.from_json(line)
        except (ValueError, TypeError):
            continue


def _last_seq(path: Path) -> int:
    """The number to go on from; mends a torn last line so that the next event starts on a line of its own."""
    last = 0
    for event in read_events(path):
        last = event.seq
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    return last
