"""Imports go down only. The table is the house of CONTRIBUTING.md; a new room is a line here and there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from builder.systems import SYSTEMS
from tests.support.repo import ROOT, Source, imported_modules, sources

FLOORS = {
    "cli": 6, "__main__": 6, "pytest_plugin": 6, "fleet": 6,
    "lifecycle": 5,
    "procedures": 4, "evidence": 4,
    "systems": 3, "hypervisors": 3, "media": 3, "images": 3, "drivers": 3,
    "render": 2,
    "model": 1,
    "errors": 0, "events": 0, "run": 0, "secrets": 0, "paths": 0,
}  # fmt: skip
GROUND = 0  # the modules of this floor are one room: they may use each other
FRONT_DOOR = {"cli", "__main__"}  # `python -m builder` is the command

# Deciding is pure: a node goes in, data comes out. These would let the world in.
PURE = ("systems", "hypervisors")
WORLD = {
    "os", "subprocess", "socket", "time", "random", "secrets", "shutil", "tempfile", "urllib", "threading", "uuid",
    "builder.run", "builder.events",
}  # fmt: skip


def room(module: str) -> str | None:
    """The room of `builder.room.thing`; None for the package itself and for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "builder" and len(parts) > 1 else None


def misplaced(source: Source) -> list[str]:
    here = room(source.module)
    if here is None:
        return []
    found = []
    for line, module in imported_modules(source):
        there = room(module)
        if there is None or there == here or there not in FLOORS or {here, there} == FRONT_DOOR:
            continue
        ground = FLOORS[here] == FLOORS[there] == GROUND
        if FLOORS[there] >= FLOORS[here] and not ground:
            found.append(f"{source.path}:{line}: {here} ({FLOORS[here]}) imports {module} ({FLOORS[there]})")
    return found


def make_source(module: str, text: str) -> Source:
    return Source(Path(module.replace(".", "/") + ".py"), module, text, ast.parse(text))


def test_imports_go_down_only() -> None:
    assert [line for source in sources("builder") for line in misplaced(source)] == []


def test_every_room_is_on_a_floor() -> None:
    rooms = {room(source.module) for source in sources("builder")} - {None}
    assert rooms <= set(FLOORS), "a new room needs a floor in FLOORS and in CONTRIBUTING.md"


def test_the_house_in_contributing_names_every_room() -> None:
    drawn = (ROOT / "CONTRIBUTING.md").read_text()
    existing = {room(source.module) for source in sources("builder")} - {None, "__main__"}
    assert [name for name in sorted(filter(None, existing)) if name not in drawn] == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("builder.model.lab", "from builder.render import quote"),
        ("builder.drivers.ssh", "import builder.systems.debian"),
        ("builder.systems.debian.plan", "def f():\n    from ...images import store"),
        ("builder.lifecycle.up", "from builder.cli import output"),
        ("builder.errors", "from builder import model"),
    ],
)
def test_a_wrong_import_is_found(module: str, text: str) -> None:
    assert len(misplaced(make_source(module, text))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("builder.lifecycle.up", "from builder.drivers import ssh\nimport builder.model.lab, json"),
        ("builder.events", "from builder.secrets import redact"),
        ("builder.systems.debian.plan", "from builder.systems import traits\nfrom . import grub"),
        ("builder.cli.up", "import builder\nfrom builder.lifecycle import up"),
    ],
)
def test_a_right_import_passes(module: str, text: str) -> None:
    assert misplaced(make_source(module, text)) == []


def test_systems_do_not_know_each_other() -> None:
    folders = {target.split(".")[2] for target in SYSTEMS.values()}
    found = [
        f"{source.path}:{line}: {module}"
        for source in sources("builder")
        if source.path.parts[1] == "systems" and len(source.path.parts) > 3
        for line, module in imported_modules(source)
        if module.startswith("builder.systems.")
        and (other := module.split(".")[2]) in folders
        and other != source.path.parts[2]
    ]
    assert found == []


def test_what_decides_is_pure() -> None:
    found = [
        f"{source.path}:{line}: {module}"
        for source in sources("builder")
        if room(source.module) in PURE
        for line, module in imported_modules(source)
        if any(module == name or module.startswith(name + ".") for name in WORLD)
    ]
    assert found == []


def test_only_the_front_doors_print_and_exit() -> None:
    found = [
        f"{source.path}:{node.lineno}: {ast.unparse(node)[:60]}"
        for source in sources("builder")
        if FLOORS.get(room(source.module) or "", 0) < 6
        for statement in source.tree.body
        if not _is_program(statement)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call | ast.Raise) and _talks(node)
    ]
    assert found == []


def _talks(node: ast.Call | ast.Raise) -> bool:
    if isinstance(node, ast.Raise):
        return node.exc is not None and ast.unparse(node.exc).startswith("SystemExit")
    return ast.unparse(node.func) in {
        "print",
        "input",
        "exit",
        "quit",
        "sys.exit",
        "sys.stdout.write",
        "sys.stderr.write",
    }


def _is_program(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":` is what a process of its own, such as the keeper, starts with."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"
