"""What checks and procedures may do to a running host, and to the world around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import Field

from builder.model.lab import Value


class HostResult(Value):
    """A command's end, as seen from outside. `argv` is what was asked."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


class HostFacts(Value):
    """`dialect` is how the host is driven: `xl` (plain Xen), `xe` (XAPI) or `none` (no hypervisor)."""

    dialect: str
    release: str
    versions: Mapping[str, str] = Field(default_factory=dict)


class Host(Protocol):
    """A running host. Every call is recorded in its transcript."""

    name: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:
        """Raises TimedOut, and LabError when the host cannot be reached. A status other than 0 is a result."""
        ...

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None: ...

    def reboot(self, *, wait: float) -> None:
        """Returns when the host answers with another boot id. Raises TimedOut after `wait` seconds."""
        ...

    def facts(self) -> HostFacts: ...

    def transcript(self) -> Sequence[HostResult]: ...


class World(Protocol):
    """Named hosts, and the faults that come from outside them."""

    def host(self, name: str) -> Host: ...

    def pull_disk(self, node: str, disk: str) -> None: ...

    def cut_path(self, node: str, network: str, *, cut: bool = True) -> None: ...

    def capture(self, network: str, *, seconds: float) -> bytes:
        """Frames seen on the network, as a pcap file."""
        ...
