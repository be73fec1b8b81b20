"""A boot followed phase by phase on the console, until its last phase or a cause that can be named."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from builder.drivers.console import POLL, ConsoleFollower
from builder.drivers.ends import ENDS, RESETS, told
from builder.drivers.hooks import Report
from builder.errors import Interrupted, LabError, NodeFailed, TimedOut
from builder.events import Emit, Outcome
from builder.model.plan import Cause, Phase

_PROGRESS_EVERY = 1.0
_TAIL = 15
_SLOWEST = 10.0
_GOING = {"reboot", "power-off"}
_LAST_WORDS, _GRACE = 1.0, 5.0
"""Seconds in which what failed may still say why, and an installation that reports may send its log."""

Signal = str | Report
"""'ssh', 'reboot' or 'power-off'; 'reset' when the machine restarted itself and goes on; the name of one of `ENDS`; or
what a script of the installation reported."""


class Signals(Protocol):
    """A queue of signals, or of some kinds of them only. Raises queue.Empty."""

    def get_nowait(self) -> Signal: ...


@dataclass(frozen=True, slots=True)
class BootFollower:
    """What to follow. `signals` brings what the console cannot tell.

    `scale` stretches the phases' weights into time-outs; a boot that has been slow so far stretches those of its later
    phases. None is shorter than `least` seconds. `expected` are seconds of each phase in past runs; they go out with
    the events, for progress, and with `left`: seconds to the end of the boot.

    A line that a later console phase awaits ends the phases before it too (a quiet boot loader is no failure), but
    never beyond a phase that ends by a signal. 'ssh' ends the console phases before it; 'reboot' and 'power-off' must
    not come before their time. A report counts as the line that its script prints, `nestlab: MESSAGE`; with a failure
    comes the installer's log, in which causes are looked for first, the newest line before older ones.
    """

    console: Path
    phases: Sequence[Phase]
    node: str
    emit: Emit
    signals: Signals
    offset: int = 0
    scale: float = 1.0
    expected: Mapping[str, float] = field(default_factory=dict)
    least: float = 0.0

    def follow(self, stop: threading.Event | None = None) -> dict[str, float]:
        """Seconds that each phase took. Raises NodeFailed with the cause, TimedOut with the phase, what was awaited
        and the last lines (and a cause, if anything hinted at one), Interrupted when `stop` is set."""
        return _Boot(self, stop or threading.Event()).run()


class _Boot:
    def __init__(self, what: BootFollower, stop: threading.Event) -> None:
        self.what = what
        self.stop = stop
        self.reader = ConsoleFollower(what.console, offset=what.offset)
        self.last: deque[str] = deque(maxlen=_TAIL)
        self.signals: set[str] = set()
        self.resets = 0
        self.clue: Cause | None = None
        self.reported = False
        self.held: tuple[Cause, float] | None = None
        self.current = 0
        self.began = self.told = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.awaits = [
            _compile(what.node, phase.awaits) if phase.signal == "console" else None for phase in what.phases
        ]
        self.reports = [
            _compile(what.node, phase.awaits) if phase.signal in ("console", "http") else None for phase in what.phases
        ]
        self.causes = [[(_compile(what.node, c.pattern), c) for c in phase.causes] for phase in what.phases]

    @property
    def phase(self) -> Phase:
        return self.what.phases[self.current]

    def run(self) -> dict[str, float]:
        partial = ""
        try:
            if self.what.phases:
                self._begin()
            while self.current < len(self.what.phases):
                if self.stop.is_set():
                    self._end("interrupted")
                    raise Interrupted(f"{self.what.node}: the boot was interrupted during {self.phase.name}")
                found = self.reader.read()
                for line in found:
                    self.last.append(line)
                    self._line(line)
                if self.reader.partial != partial:
                    partial = self.reader.partial
                    self._line(partial)
                self._signals()
                if self.held and time.monotonic() > self.held[1]:
                    self._fail(self.held[0])
                if self.current < len(self.what.phases):
                    if not self.held:
                        self._clock()
                    if not found:
                        self.stop.wait(POLL)
        finally:
            self.reader.close()
        return self.seconds

    def _line(self, line: str, *, reported: bool = False) -> None:
        """Causes and awaited lines count from the current phase up to the next that a signal ends."""
        self._search(line)
        if self.held:
            return
        for index in range(self.current, len(self.what.phases)):
            awaited = (self.reports if reported else self.awaits)[index]
            if awaited is None:
                return
            if awaited.search(line):
                self._advance(index + 1)
                return

    def _search(self, line: str) -> None:
        cause = self._cause(line)
        if cause is None:
            return
        if not cause.sure:
            self.clue = cause
        elif not (cause.vague or self.reported):
            self._fail(cause)
        elif self.held is None:
            self.held = (cause, time.monotonic() + (_GRACE if self.reported else _LAST_WORDS))
        elif self.held[0].vague and not cause.vague:
            self.held = (cause, self.held[1])

    def _cause(self, line: str) -> Cause | None:
        for index in range(self.current, len(self.what.phases)):
            for pattern, cause in self.causes[index]:
                if pattern.search(line):
                    return cause
            if self.awaits[index] is None:
                break
        return None

    def _report(self, report: Report) -> None:
        self.reported = True
        line = f"nestlab: {report.message}"
        self.last.append(line)
        self.what.emit("line", node=self.what.node, phase=self.phase.name, text=report.message, source="installer",
                       mark=report.kind, part=report.phase)  # fmt: skip
        if report.kind != "fail":
            self._line(line, reported=True)
            return
        said = [cause for text in (line, *reversed(report.log.splitlines())) if (cause := self._cause(text))]
        self.clue = next((cause for cause in said if not cause.sure), self.clue)
        found = [cause for cause in (*said, *(self.held or ())[:1]) if cause.sure]
        if found:
            self._fail(next((cause for cause in found if not cause.vague), found[-1]))

    def _signals(self) -> None:
        come: list[Signal] = []
        with contextlib.suppress(queue.Empty):
            while True:
                come.append(self.what.signals.get_nowait())
        for signal in come:
            if isinstance(signal, Report):
                if self.current < len(self.what.phases):
                    self._report(signal)
            elif signal == "reset":
                self.resets += 1
            else:
                self.signals.add(signal)
        if come:
            for line in self.reader.read():  # the console may be behind the signal
                self.last.append(line)
                self._line(line)
        while not self.held and self._take_signal():
            pass
        if self.current < len(self.what.phases):
            self._ended()

    def _ended(self) -> None:
        """Fails for what the machine did before its time."""
        for name in ENDS.keys() & self.signals:
            self._fail(ENDS[name])
        if self.held and self.signals & {"power-off", "reboot"}:
            self._fail(self.held[0])
        if self.resets >= RESETS:
            self._fail(ENDS["reset-loop"])
        if "power-off" in self.signals:
            self._fail(ENDS["early-power-off"])
        if "reboot" in self.signals:
            self._fail(ENDS["early-reboot" if told(self._tail()) else "triple-fault"])

    def _clue(self) -> Cause | None:
        """What hinted at a cause, as long as the boot is where it counts."""
        return self.clue if self.clue in self.phase.causes else None

    def _take_signal(self) -> bool:
        """Whether a signal that came ends the next phase that awaits one."""
        for index in range(self.current, len(self.what.phases)):
            if self.awaits[index] is not None:
                continue
            name = self.what.phases[index].signal
            awaited: set[str] = {name}
            if index == len(self.what.phases) - 1 and name in _GOING:
                awaited = _GOING  # an installer that reboots where it was to power off has ended, too
            if not awaited & self.signals or not (index == self.current or name == "ssh"):
                return False
            self.signals -= awaited
            if name == "reboot":
                self.signals.discard("ssh")  # that was the system before
            self._advance(index + 1)
            return True
        return False

    def _clock(self) -> None:
        now = time.monotonic()
        spent, limit = now - self.began, self._limit()
        if spent > limit:
            self._late(spent)
        if now - self.told >= _PROGRESS_EVERY:
            self.told = now
            self.what.emit(
                "progress", node=self.what.node, phase=self.phase.name, elapsed=round(spent, 1), **self._expected()
            )

    def _late(self, spent: float) -> None:
        likely = self._clue() or self.phase.late
        name = likely.name if likely else "timeout"
        self._end("failed", cause=name)
        awaited = f"/{self.phase.awaits}/ on the console" if self.phase.signal == "console" else self.phase.signal
        hint = ENDS["timeout"].cure
        if likely:
            hint = f"perhaps {likely.message} [{likely.name}]: {likely.cure}; {hint}"
        raise TimedOut(
            f"{awaited} (phase {self.phase.name})",
            seconds=spent, node=self.what.node, last_lines=self._tail(), hint=hint, cause=name,
        )  # fmt: skip

    def _advance(self, to: int) -> None:
        """End the current phase and those before `to`; begin the next."""
        while self.current < to:
            now = time.monotonic()
            self.seconds[self.phase.name] = round(now - self.began, 3)
            self._end("ok", seconds=self.seconds[self.phase.name])
            self.current += 1
            self.began = self.told = now
            if self.current < len(self.what.phases):
                self._begin()

    def _begin(self) -> None:
        self.what.emit("begin", node=self.what.node, phase=self.phase.name, **self._expected())

    def _end(self, outcome: Outcome, *, cause: str | None = None, **data: Any) -> None:
        self.what.emit("end", node=self.what.node, phase=self.phase.name, outcome=outcome, cause=cause, **data)

    def _limit(self) -> float:
        return max(self.what.least, self.phase.weight * self.what.scale * self._slowness())

    def _slowness(self) -> float:
        """How many times longer than expected the boot took up to this phase, from 1 to 10: a host that is busy with
        other things gets time in proportion, one where nothing moves does not."""
        expected = sum(phase.weight for phase in self.what.phases[: self.current])
        return min(max(1.0, sum(self.seconds.values()) / expected), _SLOWEST) if expected else 1.0

    def _left(self) -> float:
        """Seconds that this phase and those after it will still take: as in past runs, or by their weights at the pace
        of those that are over."""
        weights = sum(phase.weight for phase in self.what.phases[: self.current])
        pace = sum(self.seconds.values()) / weights if weights else 1.0
        times = [self.what.expected.get(p.name, p.weight * pace) for p in self.what.phases[self.current :]]
        return max(0.0, times[0] - (time.monotonic() - self.began)) + sum(times[1:])

    def _expected(self) -> dict[str, Any]:
        known = {"limit": round(self._limit(), 1), "left": round(self._left())}
        if self.phase.name in self.what.expected:
            known["expected"] = self.what.expected[self.phase.name]
        return known

    def _fail(self, cause: Cause) -> None:
        clue = self._clue()
        if cause.vague and clue is not None:
            cause = clue.model_copy(update={"message": f"{cause.message}: {clue.message}"})
        self._end("failed", cause=cause.name)
        raise NodeFailed(
            self.what.node,
            cause.message,
            cause=cause.name,
            phase=self.phase.name,
            last_lines=self._tail(),
            hint=cause.cure or None,
        )

    def _tail(self) -> list[str]:
        return [*self.last, self.reader.partial][-_TAIL:] if self.reader.partial.strip() else list(self.last)


def _compile(node: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise LabError(f"{node}: the pattern /{pattern}/ of a boot phase is wrong: {error}") from None
