"""The hosts whose kickstarts are carried out: every layout, partition table, firmware, and a word of each release."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.model.lab import Node
from builder.model.load import read_lab
from builder.systems import load_system, traits

SIZE = "16GiB"
"""Of each disk, above the least of all releases. Thin: little of it is ever there."""


@dataclass(frozen=True, slots=True)
class Case:
    """`level` None is a single disk. `handler` is pykickstart's name of the release."""

    release: str
    handler: str
    disks: int
    level: Literal[1, 10] | None
    firmware: Literal["bios", "uefi"] = "bios"
    label: Literal["msdos", "gpt"] | None = None
    bus: str = "sata"
    disk_names: Literal["kernel", "by-id"] = "by-id"

    @property
    def name(self) -> str:
        layout = "plain" if self.level is None else f"raid{self.level}x{self.disks}"
        return "-".join(filter(None, (self.release, self.firmware, self.label, layout)))

    @property
    def table(self) -> Literal["msdos", "gpt"]:
        """The partition table that must come of it."""
        return self.label or ("gpt" if self.firmware == "uefi" else "msdos")

    def node(self) -> Node:
        with tempfile.TemporaryDirectory() as folder:
            lab = Path(folder) / "lab.yaml"
            lab.write_text(self.lab_text(), "utf-8")
            return read_lab(lab, traits()).nodes[0]

    def lab_text(self) -> str:
        names = [f"disk{number}" for number in range(self.disks)]
        raid = f"    raid: [{{name: system, level: {self.level}, disks: [{', '.join(names)}]}}]\n"
        return (
            f"name: {self.name}\n"
            "nodes:\n"
            "  host:\n"
            "    system: rhel\n"
            f"    release: {self.release}\n"
            f"    firmware: {self.firmware}\n"
            "    disks:\n"
            + "".join(f"      - {{name: {name}, size: {SIZE}, bus: {self.bus}}}\n" for name in names)
            + (raid if self.level is not None else "")
            + "    source: {medium: medium.iso}\n"
            f"    install: {{disk_names: {self.disk_names}{f', label: {self.label}' if self.label else ''}}}\n"
        )


def kickstart(node: Node) -> str:
    """What the product makes of the node."""
    return load_system(node.system).plan(node).answers[0].content


_CASES = (
    Case("el10", "RHEL10", 4, 10),
    Case("el10", "RHEL10", 4, 10, label="gpt"),
    Case("el10", "RHEL10", 4, 10, firmware="uefi"),
    # QEMU has five SATA ports for disks
    Case("el10", "RHEL10", 6, 10, bus="virtio"),
    Case("el10", "RHEL10", 2, 1),
    Case("el10", "RHEL10", 2, 1, firmware="uefi"),
    Case("el10", "RHEL10", 1, None),
    Case("el10", "RHEL10", 1, None, firmware="uefi"),
    Case("f45", "F45", 4, 10, label="gpt", disk_names="kernel"),
    Case("el9", "RHEL9", 4, 10, disk_names="kernel"),
    Case("el8", "RHEL8", 4, 10, disk_names="kernel"),
    Case("el7", "RHEL7", 4, 10, disk_names="kernel"),
    # Release 6 is left out: its blivet was another program (msdos unless told otherwise, metadata 1.0 for /boot).
)
CASES: Mapping[str, Case] = {case.name: case for case in _CASES}
