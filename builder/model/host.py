"""What checks and procedures may do to a running host, and to the world around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import Field

from builder.model.lab import Value
from builder.model.runtime import DiskStatus, PortStatus


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
    """Named hosts, and the faults that come from outside them. What is that way already is no error; the result of a
    change says whether there was anything to do."""

    def host(self, name: str) -> Host: ...

    def pull_disk(self, node: str, disk: str) -> bool:
        """Take a disk away from the running guest."""
        ...

    def insert_disk(self, node: str, disk: str) -> bool:
        """Plug the very same disk in again. A guest may have to look for it."""
        ...

    def order_disks(self, node: str, disks: Sequence[str]) -> bool:
        """Plug the disks in in this order from the next power-on; the first stays where it is."""
        ...

    def disks(self) -> Sequence[DiskStatus]: ...

    def cut_path(self, node: str, network: str, *, cut: bool = True) -> bool:
        """Lose everything between the node and the network; the link stays up."""
        ...

    def set_link(self, node: str, network: str, *, up: bool) -> bool:
        """What the guest sees: its carrier goes, or comes back."""
        ...

    def shape(self, node: str, network: str, *, delay_ms: float = 0, loss: float = 0) -> bool:
        """Hold each frame back on its way in and out, and lose a part (0 to 1) of them. Without more: as new."""
        ...

    def ports(self) -> Sequence[PortStatus]: ...

    def capture(self, network: str, *, seconds: float) -> bytes:
        """Frames seen on the network, as a pcap file."""
        ...

    def power_cycle(self, node: str) -> None:
        """Pull the plug and power on again; returns when the host is reached. The last host of that name is void."""
        ...
