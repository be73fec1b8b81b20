"""Where findings are collected."""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Finding
from builder.systems.xcpng.judge.codes import CODES


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
