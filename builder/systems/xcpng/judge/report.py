"""Where findings are collected, and what a judge may know of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from builder.model.plan import Finding
from builder.systems.xcpng.judge.codes import CODES


class TargetDisk(Protocol):
    """A disk by the path that an answer file would give it; sizes in bytes."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sector(self) -> int: ...


class TargetCard(Protocol):
    @property
    def device(self) -> str: ...
    @property
    def mac(self) -> str: ...


class Target(Protocol):
    """The machine that the answers are for."""

    @property
    def disks(self) -> Sequence[TargetDisk]: ...
    @property
    def cards(self) -> Sequence[TargetCard]: ...


class Report:
    def __init__(self, release: str, where: str) -> None:
        self.release = release
        self.where = where
        self.found: list[Finding] = []

    def add(self, code: str, what: str, message: str, hint: str = "") -> None:
        """`what` is the element or argument that it is about; empty for what is missing."""
        severity: Literal["error", "warning"] = "error" if CODES[code].error else "warning"
        where = f"{self.where} {what}".rstrip()
        self.found.append(Finding(code=code, severity=severity, message=message, hint=hint, where=where))
