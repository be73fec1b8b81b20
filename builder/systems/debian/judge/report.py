"""Where findings are collected."""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Finding
from builder.systems.debian.judge.codes import CODES


class Report:
    def __init__(self, release: str) -> None:
        self.release = release
        self._found: list[tuple[int, Finding]] = []

    def add(self, code: str, line: int, message: str, hint: str = "", *, where: str = "preseed.cfg") -> None:
        """`line` counts from 1; 0 is for what is missing."""
        severity: Literal["error", "warning"] = "error" if CODES[code].error else "warning"
        place = f"{where}:{line}" if line else where
        self._found.append((line, Finding(code=code, severity=severity, message=message, hint=hint, where=place)))

    def in_order(self) -> tuple[Finding, ...]:
        return tuple(finding for _, finding in sorted(self._found, key=lambda each: (each[0], each[1].code)))
