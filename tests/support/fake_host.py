"""A host that is none: it answers commands from a script and keeps files in memory.

For the logic of procedures, which a real host shows in minutes and cannot be made to fail at will. What commands really
print and do is shown by drills on real Xen; the answers here are what was seen there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from builder.errors import LabError, TimedOut
from builder.model.host import HostFacts, HostResult
from builder.procedures.engine import Machines

Answer = str | int | Callable[[Sequence[str]], "str | int"]
"""What a command prints (and ends well), or the status that it fails with."""


class FakeHost:
    """`answers` are found by the longest start of the command line. Commands that no answer fits end with 127.

    `on_reboot` is called when the host restarts; `changes` are the commands that were run and are not mere questions,
    with files written and restarts, in order.
    """

    QUESTIONS: tuple[str, ...] = (
        "test ", "xl list", "xl info", "xl dmesg", "xl vcpu-list", "nproc", "dmesg", "cat ", "sh -c", "ls ", "readlink",
        "uname", "ps ", "ip -4 -o address", "xenstore-read", "systemctl -q is-", "grub-editenv - list",
        "grub2-editenv - list", "dpkg-query", "stat ",
    )  # fmt: skip

    def __init__(
        self, answers: Mapping[str, Answer], files: Mapping[str, str] | None = None, dialect: str = "xl",
        name: str = "dom0",
    ):  # fmt: skip
        self.name = name
        self.answers = dict(answers)
        self.files = {path: text.encode() for path, text in (files or {}).items()}
        self.modes: dict[str, int] = {}
        self.dialect = dialect
        self.changes: list[str] = []
        self.on_reboot: Callable[[], None] = lambda: None
        self.powered = True
        self._transcript: list[HostResult] = []

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:  # noqa: ARG002
        line = shlex.join(argv)
        status, out = self._answer(argv, line)
        if status == 0 and not line.startswith(self.QUESTIONS) and not re.search("--get-|-param-get ", line):
            self.changes.append(line)
        result = HostResult(
            argv=tuple(argv), returncode=status, stdout=out, stderr=f"{line}: status {status}" * bool(status)
        )
        self._transcript.append(result)
        return result

    def _answer(self, argv: Sequence[str], line: str) -> tuple[int, str]:
        fitting = [start for start in self.answers if line.startswith(start)]
        if fitting:
            answer = self.answers[max(fitting, key=len)]
            said = answer(argv) if callable(answer) else answer
            return (said, "") if isinstance(said, int) else (0, said)
        if argv[0] == "test" and argv[1] in ("-e", "-f", "-d"):
            return int(argv[2] not in self.files), ""
        if argv[0] == "stat" and argv[-1] in self.files:
            return 0, f"{self.modes.get(argv[-1], 0o644):o}\n"
        if argv[0] == "rm":
            self.files.pop(argv[-1], None)
            return 0, ""
        if argv[:2] == ["ls", "-1"]:
            names = [path.rpartition("/")[2] for path in self.files if path.startswith(f"{argv[2]}/")]
            return 0, "".join(f"{name}\n" for name in names)
        if argv[0] == "install":
            return 0, ""
        return 127, ""

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise LabError(f"{self.name}: cannot read {path}")
        return self.files[path]

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        self.files[path] = content
        self.modes[path] = mode
        self.changes.append(f"write {path}")

    def reboot(self, *, wait: float) -> None:  # noqa: ARG002
        self.changes.append("reboot")
        self.on_reboot()

    def facts(self) -> HostFacts:
        return HostFacts(dialect=self.dialect, release="debian 13")

    def transcript(self) -> Sequence[HostResult]:
        return tuple(self._transcript)


class DeadHost(FakeHost):
    """A host that does not come back from a restart."""

    def reboot(self, *, wait: float) -> None:
        raise TimedOut("another boot id after a reboot", seconds=wait, node=self.name)


class FakeWorld:
    """Hosts by name, and no faults."""

    def __init__(self, *hosts: FakeHost) -> None:
        self._hosts = {host.name: host for host in hosts}

    def host(self, name: str) -> FakeHost:
        if name not in self._hosts:
            raise LabError(f"lab fake has no node {name}", hint=f"it has {', '.join(self._hosts)}")
        return self._hosts[name]

    def running(self, node: str) -> bool:
        return self.host(node).powered


def world(*hosts: FakeHost) -> Machines:
    return cast(Machines, cast(Any, FakeWorld(*hosts)))
