"""Where findings are collected."""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Finding
from builder.systems.netbsd.judge.codes import CODES


class Report:
    """`where` is the file that is judged."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.found: list[Finding] = []

    def add(self, code: str, message: str, hint: str = "", *, line: int = 0) -> None:
        """`line` counts from 1; 0 is for what is missing, or for the whole."""
        severity: Literal["error", "warning"] = "error" if CODES[code].error else "warning"
        where = f"{self.where}:{line}" if line else self.where
        self.found.append(Finding(code=code, severity=severity, message=message, hint=hint, where=where))
