"""The package list is one file. What errors and doctor tell people to install must be in it."""

from __future__ import annotations

import ast
import re

from tests.support.repo import ROOT, sources

# Named in code and not in the list, with the reason.
OPTIONAL = {
    "apt": "part of every Debian",
    "dpkg": "part of every Debian",
    "python3-diskimage-builder": "comes with nestlab itself, from ci/requirements.lock",
    "libvirt-daemon-system": "only for --connect qemu:///system, which is the user's own set-up",
}


def listed() -> dict[str, str]:
    rows = [line.split(None, 2) for line in (ROOT / "ci/packages.txt").read_text().splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    assert all(len(row) == 3 and row[0] in {"run", "test"} for row in rows), "SECTION PACKAGE REASON"
    names = [row[1] for row in rows]
    assert len(names) == len(set(names)), "a package is listed twice"
    return {name: section for section, name, _ in rows}


def named_in_code() -> dict[str, str]:
    """Packages after `apt-get install` and in `package=` of the product, with the place."""
    found = {}
    for source in sources("builder"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.keyword) and node.arg == "package" and isinstance(node.value, ast.Constant):
                found.update(dict.fromkeys(str(node.value.value).split(), f"{source.path}:{node.value.lineno}"))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for names in re.findall(r"apt-get install ((?:[a-z0-9][a-z0-9+.-]+ ?)+)", node.value):
                    found.update(dict.fromkeys(names.split(), f"{source.path}:{node.lineno}"))
    return found


def test_every_package_named_in_code_is_listed() -> None:
    named = named_in_code()
    assert named
    assert {name: place for name, place in named.items() if name not in listed() and name not in OPTIONAL} == {}


def test_the_list_is_read_as_the_scripts_read_it() -> None:
    assert {"run", "test"} == set(listed().values())
    assert "qemu-system-x86" in listed()
