"""The files of this repository, as tests look at them."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def some(found: Iterable[T]) -> tuple[T, ...]:
    """What was found, which must not be nothing: a loop over an empty glob checks nothing and passes."""
    result = tuple(found)
    assert result, "nothing was found to be checked"
    return result


@functools.cache
def project_files() -> tuple[Path, ...]:
    """Every file that is tracked, or would be with `git add`, that exists."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    return some(ROOT / name for name in sorted(set(listed.split("\0"))) if name and (ROOT / name).is_file())


def text_files() -> Iterator[tuple[Path, str]]:
    """Path from the root, and content, of every project file that is UTF-8 text."""
    for path in project_files():
        try:
            yield path.relative_to(ROOT), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file. `module` is its dotted name; `path` is seen from the root."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@functools.cache
def sources(*folders: str) -> tuple[Source, ...]:
    """The Python files below these top folders, without what runs inside images rather than here."""
    return some(
        _source(path.relative_to(ROOT))
        for path in project_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders and "elements" not in path.parts
    )


def _source(path: Path) -> Source:
    text = (ROOT / path).read_text("utf-8")
    parts = path.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path, module, text, ast.parse(text, str(path)))


def imported_modules(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, inside functions too; relative names made absolute.

    `from package import name` gives `package.name`, since `name` may be a module.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = source.module.split(".")
                parts = parts[: len(parts) - node.level + (1 if source.is_package else 0)]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
