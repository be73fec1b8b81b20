"""What a proof of a medium is asked for, and what it says: the report is these types as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from builder.model.lab import Value
from builder.model.runtime import Accelerator

VERSION = 1
Firmware = Literal["bios", "uefi"]
Attached = Literal["cd", "usb"]
Where = Literal["console", "memory", "screen"]


class Way(Value):
    """How a medium is booted."""

    firmware: Firmware
    attached: Attached

    @property
    def name(self) -> str:
        return f"{self.firmware}-{self.attached}"


class Answer(Value):
    """A file that the booted system shall have. `required`: the kernel unpacks it whatever else happens; for one that
    lies on the medium, it is the installer that may read it, at its own time."""

    path: str
    content: bytes = Field(repr=False)
    required: bool


class Expected(Value):
    """What a boot shall show. `texts` are regular expressions for lines of the console, or of a screen in
    text mode."""

    kernel: tuple[str, ...] = ()
    hypervisor: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    texts: tuple[str, ...] = ()


class ProofRequest(Value):
    """`source` is the vendor's medium, None when there is none to compare with. `files` are local files whose content
    the booted system shall have. `memory` of each machine in bytes. `kept` is a folder for consoles and screenshots;
    None keeps those of failed boots only. `jobs` bounds the boots at once, 0 for as many as this host has cores."""

    iso: Path
    source: Path | None = None
    ways: tuple[Way, ...]
    kernel: tuple[str, ...] = ()
    hypervisor: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    memory: int = Field(2 << 30, ge=64 << 20, le=1 << 40)
    timeout_scale: float = Field(1.0, gt=0, le=1000)
    jobs: int = Field(0, ge=0, le=256)
    kept: Path | None = None


class Seen(Value):
    """Something that was awaited. `where` is None when it did not show."""

    what: str
    where: Where | None = None
    seconds: float | None = None


class BootResult(Value):
    """One boot. `command_line` is what the kernel says it was given, `hypervisor_line` what Xen says. `cause` is the
    stable name of what went wrong. `console` and `screenshot` are files that were kept. Times in seconds from power-on.
    `starts` is 2 when an emulated machine panicked and was started once more: what is told is of the second."""

    firmware: Firmware
    attached: Attached
    outcome: Literal["ok", "failed", "timeout"]
    accelerator: Accelerator
    seconds: float
    starts: int = 1
    command_line: str = ""
    command_line_seen: Where | None = None
    hypervisor_line: str = ""
    arguments: tuple[Seen, ...] = ()
    answers: tuple[Seen, ...] = ()
    texts: tuple[Seen, ...] = ()
    cause: str = ""
    message: str = ""
    last_lines: tuple[str, ...] = ()
    console: str = ""
    screenshot: str = ""


class Judge(Value):
    """An independent reader of boot records. `missing`: the package that has it, when it is not installed."""

    tool: str
    missing: str = ""
    fields: int = 0
    grown: int = 0
    different: tuple[str, ...] = ()


class Files(Value):
    """The trees of both media, file by file: how many are the same in place and content, and which are not."""

    same: int
    changed: tuple[str, ...]
    added: tuple[str, ...]
    moved: tuple[str, ...]
    missing: tuple[str, ...]
    boot: tuple[str, ...]
    identity: bool

    @property
    def ok(self) -> bool:
        """Whether nothing happened but edits: what was changed or added is listed elsewhere."""
        return not (self.moved or self.missing or self.boot) and self.identity


class Digested(Value):
    """A medium by its content. `size` in bytes."""

    name: str
    size: int
    sha256: str


class Report(Value):
    """The proof. `bill` is a CycloneDX document of what was injected; None without a source."""

    v: int = VERSION
    nestlab: str
    date: str
    outcome: Literal["proven", "failed"]
    medium: Digested
    source: Digested | None
    volume_id: str
    installer: str
    judges: tuple[Judge, ...] = ()
    files: Files | None = None
    boots: tuple[BootResult, ...]
    bill: dict[str, Any] | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the comparison found nothing but edits; a medium that was compared with nothing is."""
        return self.files is None or (self.files.ok and not any(judge.different for judge in self.judges))
