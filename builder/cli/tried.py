"""Machines, firmwares, controllers and cards as the part `variants` tried them, with Debian's Xen under emulation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.cli import sources
from builder.paths import data_dir

# Settings of a node, and what the record calls them. The processor is not among them: under emulation it is the
# emulator's, whatever the lab file says.
_CALLED = {"machine": "machine", "firmware": "firmware", "disks.bus": "bus", "management_nic": "nic"}
_PLACE = ("machine", "firmware", "bus")


def tried(key: str, folder: Path | None = None) -> str:
    """What came of each value of a setting, by the record; nothing where there is none, or none of that setting."""
    folder = data_dir("ci") / "proofs" if folder is None else folder
    file = folder / "variants.json"
    if key not in _CALLED or not file.is_file():
        return ""
    record: dict[str, Any] = json.loads(file.read_text("utf-8"))
    name = _CALLED[key]
    found = list(_about(name, record["figures"]["variants"]))
    if not found:
        return ""
    known = {sources.is_fresh(folder.parent.parent, each["inputs"], sources.VARIANTS) for each in found}
    stale = ", stale" if False in known else ", stale or not: only a checkout can tell" if None in known else ""
    told = "; ".join(_told(name, value, each) for value, each in _by_value(name, found).items())
    return f"{told} (Debian's Xen under QEMU's emulation, {record['date'][:10]}{stale}; commit {record['commit']})"


def _about(name: str, variants: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those that differ from the first one, the documented machine, in this and where it depends on them in machine,
    firmware and controller."""
    documented = variants[0]["case"] if variants else {}
    free = _PLACE if name in _PLACE else (name,)
    for each in variants:
        if all(value == documented[key] for key, value in each["case"].items() if key not in free):
            yield each


def _by_value(name: str, found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    values: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        values.setdefault(each["case"][name], []).append(each)
    return values


def _told(name: str, value: str, found: list[dict[str, Any]]) -> str:
    """`nvme works on pc BIOS, fails on q35 BIOS`: each with what else the machine was."""
    ends = {
        said: [_place(each["case"], name) for each in found if bool(each["works"]) is works]
        for said, works in (("works", True), ("fails", False))
    }
    return f"{value} " + ", ".join(f"{said} on {' and '.join(places)}" for said, places in ends.items() if places)


def _place(case: Mapping[str, str], name: str) -> str:
    told = {key: case[key].upper() if key == "firmware" else case[key] for key in _PLACE if key != name}
    return " ".join(told.values())
