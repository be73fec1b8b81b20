"""Collects findings about a lab file, each at the place in the file that it is about."""

from __future__ import annotations

from builder.errors import Problem
from builder.model.document import Document, Path

MOST = 200
_NESTED = ("xen", "kernel", "install")


class Report:
    """What is wrong so far; `left_out` counts what was not put into words, because there is too much of it. A value
    that a node got from `defaults:` is reported there, and once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.left_out = 0
        self._shared: set[tuple[str, Path]] = set()

    def add(self, code: str, message: str, hint: str, path: Path, *, key: bool = False) -> None:
        """`path` is the place as if the node had said everything itself; `key` points at the key, not the value."""
        origin = self._origin(path)
        if origin != path:
            if (code, origin) in self._shared:
                return
            self._shared.add((code, origin))
        line, column = self.document.position(origin, key=key)
        self.problems.append(Problem(code, message, hint, origin, line, column))

    @property
    def full(self) -> bool:
        """Whether there is more than anybody reads; rules that take long may stop."""
        return len(self.problems) >= MOST

    def where(self, path: Path) -> str:
        line, column = self.document.position(self._origin(path))
        return f"line {line}, column {column}"

    def inherited(self, path: Path) -> bool:
        """Whether the value at this path of a node comes from the lab's `defaults:`."""
        return self._origin(path) != path

    def _origin(self, path: Path) -> Path:
        if len(path) < 3 or path[0] != "nodes":
            return path
        depth = 4 if path[2] in _NESTED and len(path) > 3 else 3
        shared: Path = ("defaults", *path[2:])
        if not self.document.has(path[:depth]) and self.document.has(shared[: depth - 1]):
            return shared
        return path
