"""Where findings are collected."""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Finding
from builder.systems.rhel.judge.codes import CODES

GENERATIONS = {"el6": 6, "el7": 7, "el8": 8, "el9": 9, "el10": 10, "f44": 11, "f45": 12}


class Report:
    def __init__(self, release: str) -> None:
        self.generation = GENERATIONS[release]
        self.found: list[tuple[int, Finding]] = []

    @property
    def fedora(self) -> bool:
        return self.generation > GENERATIONS["el10"]

    def add(self, code: str, line: int, message: str, hint: str = "", *, where: str = "ks.cfg") -> None:
        """`line` counts from 1; 0 is for what is missing."""
        severity: Literal["error", "warning"] = "error" if CODES[code].error else "warning"
        place = f"{where}:{line}" if line else where
        self.found.append((line, Finding(code=code, severity=severity, message=message, hint=hint, where=place)))
