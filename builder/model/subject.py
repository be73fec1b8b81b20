"""A node as the rules see it that judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from builder.model.document import Path
from builder.model.lab import Node
from builder.model.plan import SystemTraits
from builder.model.report import Report
from builder.model.words import shorten


@dataclass(frozen=True, slots=True)
class Subject:
    """A node under judgement, and where findings about it go."""

    node: Node
    traits: SystemTraits
    report: Report

    @property
    def path(self) -> Path:
        """Where the node stands in the file."""
        return ("nodes", self.node.name)

    def add(self, code: str, message: str, hint: str, *path: str | int) -> None:
        """`path` is below the node; the message is told with the node's name before it."""
        full: Path = (*self.path, *path)
        self.report.add(code, f"node {shorten(self.node.name)}: {message}", hint, full)

    def says(self, *path: str | int) -> bool:
        return self.report.document.has((*self.path, *path))


_T = TypeVar("_T")


def repeated(names: list[_T]) -> list[tuple[int, _T]]:
    """Place and name of each that has been there before."""
    first: dict[_T, int] = {}
    return [(index, name) for index, name in enumerate(names) if first.setdefault(name, index) != index]
