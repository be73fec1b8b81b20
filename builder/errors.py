"""The errors nestlab reports. Each says what failed and what to do next, and carries its exit status.

Exit statuses: 0 ok, 1 the lab or its tests failed, 2 usage or lab file, 3 this host lacks something,
4 timeout, 130 interrupted. Anything that is not a LabError is a bug and shows a traceback.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """Root of every error that a user can act on."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class UsageError(LabError):
    """The command was called in a way that cannot work (exit 2)."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a lab file. `path` is the key path; line and column count from 1, 0 when unknown."""

    code: str
    message: str
    hint: str
    path: tuple[str | int, ...] = ()
    line: int = 0
    column: int = 0

    def where(self, file: Path | str) -> str:
        return f"{file}:{self.line}:{self.column}" if self.line else str(file)


class LabFileError(LabError):
    """Everything that is wrong with one lab file, in file order (exit 2)."""

    exit_code = 2

    def __init__(self, file: Path | str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.column, p.code)))
        lines = [f"{p.where(file)}: {p.message} [{p.code}]\n  hint: {p.hint}" for p in self.problems]
        super().__init__("\n".join(lines))


class HostLacks(LabError):
    """This host misses something that the request needs (exit 3). The hint is the exact fix."""

    exit_code = 3


class MissingTool(HostLacks):
    """A program is not installed. `package` is Debian's name for what provides it."""

    def __init__(self, tool: str, *, why: str, package: str) -> None:
        super().__init__(f"{tool} is not installed: it is needed to {why}", hint=f"apt-get install {package}")
        self.tool = tool


class TimedOut(LabError):
    """Something awaited did not come in time (exit 4). `cause` is the stable name of the most likely reason."""

    exit_code = 4

    def __init__(
        self,
        awaited: str,
        *,
        seconds: float,
        node: str | None = None,
        last_lines: Sequence[str] = (),
        hint: str | None = None,
        cause: str = "timeout",
    ) -> None:
        who = f"{node}: " if node else ""
        tail = "".join(f"\n  | {line}" for line in last_lines)
        super().__init__(f"{who}waited {seconds:.0f} s for {awaited}, which did not come{tail}", hint=hint)
        self.awaited = awaited
        self.seconds = seconds
        self.node = node
        self.cause = cause
        self.last_lines = tuple(last_lines)


class CommandFailed(LabError):
    """A program ended with a status that means failure. The message holds one line that can be pasted."""

    def __init__(self, argv: Sequence[str], *, returncode: int, stderr: str, hint: str | None = None) -> None:
        tail = "".join(f"\n  | {line}" for line in stderr.strip().splitlines()[-8:])
        super().__init__(f"command failed with status {returncode}: {shlex.join(argv)}{tail}", hint=hint)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stderr = stderr


class NodeFailed(LabError):
    """A node stopped for a reason that we can name. `cause` is the stable name of the reason."""

    def __init__(
        self,
        node: str,
        message: str,
        *,
        cause: str,
        phase: str | None = None,
        last_lines: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        tail = "".join(f"\n  | {line}" for line in last_lines)
        during = f" (during {phase})" if phase else ""
        super().__init__(f"{node}: {message}{during} [{cause}]{tail}", hint=hint)
        self.node = node
        self.cause = cause
        self.phase = phase


class Interrupted(LabError):
    """The user or the system asked us to stop (exit 130)."""

    exit_code = 130
