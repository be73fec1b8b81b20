"""What tests and drills of host procedures depend on, read from the sources: so that a procedure that was changed is
proven again, and the others need not be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from builder.cli import sources
from builder.procedures import PROCEDURES
from ci.proof import ROOT

WITHIN = ("builder/procedures/", "tests/support/", "tests/nightly/")
"""Imports from elsewhere are not followed."""


def module_file(procedure: str) -> str:
    """A procedure's file, as a path in the project."""
    return PROCEDURES[procedure].replace(".", "/") + ".py"


def reach(*files: str) -> tuple[str, ...]:
    """These files, and those that they import from the folders in `WITHIN`, directly or not. A test imports no
    procedure that it has the command run: it counts when its name is a string there."""
    found: set[str] = set()
    todo = list(files)
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += _uses(file)
    return tuple(sorted(found))


def hosts(*labs: str) -> tuple[str, ...]:
    """What Debian hosts of the nightly parts are made from, and are given in these example labs."""
    kept = (f"tests/golden/{kind}/{lab}" for lab in labs for kind in ("labs", "systems"))
    return (*sources.of_claim("debian", sources.HERE, "image"), *kept)


def _uses(file: str) -> Iterator[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"), file)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from _known(node.module)
            for name in node.names:
                yield from _known(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield from _known(name.name)
        elif file.startswith("tests/") and isinstance(node, ast.Constant) and node.value in PROCEDURES:
            yield module_file(str(node.value))


def _known(module: str) -> Iterator[str]:
    """The file of a module. A package's own is left out: what it lists is looked up, not run."""
    path = PurePosixPath(module.replace(".", "/")).with_suffix(".py").as_posix()
    if path.startswith(WITHIN) and (ROOT / path).is_file():
        yield path
