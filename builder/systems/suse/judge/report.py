"""Where findings are collected."""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Finding
from builder.systems.suse.judge.codes import CODES

AGAMA = ("16.0", "sles16")
"""Releases whose installer is Agama; the others have YaST."""


class Report:
    """`file` is what is judged."""

    def __init__(self, release: str, file: str) -> None:
        self.release = release
        self.file = file
        self._found: list[tuple[int, Finding]] = []

    def add(self, code: str, place: int | str, message: str, hint: str) -> None:
        """`place` is a line, counted from 1 (0: what is missing), or the path of a value in JSON."""
        severity: Literal["error", "warning"] = "error" if CODES[code].error else "warning"
        where = f"{self.file}:{place}" if place else self.file
        finding = Finding(code=code, severity=severity, message=message, hint=hint, where=where)
        self._found.append((place if isinstance(place, int) else 0, finding))

    def in_order(self) -> tuple[Finding, ...]:
        """By line, then code; those of one place as they were found."""
        return tuple(finding for _, finding in sorted(self._found, key=lambda each: (each[0], each[1].code)))
