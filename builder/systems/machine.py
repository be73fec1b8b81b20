"""The machine as its installer sees it: disks and cards by the names that Linux gives them, in the order of the lab.

Identities under /dev/disk/by-id follow from the serial number that each disk has (its name in the lab) and from udev's
rules: 60-persistent-storage.rules, for QEMU's drives.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from builder.errors import LabError
from builder.model.lab import Disk, Firmware, Node, sas_address
from builder.model.units import MIB

SERIAL_LENGTH = 20


@dataclass(frozen=True, slots=True)
class MachineDisk:
    """`path` is how the answers name it: sda, or /dev/disk/by-id/... `size` is in bytes, `sector` the logical size.
    `bus` is empty where nothing depends on it."""

    name: str
    path: str
    size: int
    sector: int
    bus: str = ""

    @property
    def mib(self) -> int:
        return self.size // MIB


@dataclass(frozen=True, slots=True)
class Card:
    """A network card. With net.ifnames=0 (biosdevname=0 on release 6) cards of one model are eth0, eth1, ... in the
    order of their PCI slots, which is the order of the lab."""

    number: int
    device: str
    mac: str


@dataclass(frozen=True, slots=True)
class Machine:
    firmware: Firmware
    disks: tuple[MachineDisk, ...]
    cards: tuple[Card, ...]
    cards_in_order: bool

    def disk(self, name: str) -> MachineDisk:
        return next(disk for disk in self.disks if disk.name == name)


def machine_of(node: Node, disk_names: Literal["kernel", "by-id"], devices: Mapping[str, str]) -> Machine:
    """The node's machine. `devices` are paths of single disks, by their names in the lab.

    Raises LabError for a path given to a disk that the node does not have. Whether a kernel name can be relied on
    depends on the kernel: the judges ask `named_by_chance`.
    """
    known = [disk.name for disk in node.disks]
    for name in devices:
        if name not in known:
            raise LabError(
                f"{node.name}: install.devices names the disk {name!r}, which the node does not have",
                hint=f"disks: {', '.join(known)}",
            )
    models = {node.management_nic, *(nic.model for nic in node.nics)}
    macs = (node.management_mac, *(nic.mac for nic in node.nics))
    return Machine(
        firmware=node.firmware,
        disks=tuple(_disks(node, disk_names, devices)),
        cards=tuple(Card(number, f"eth{number}", mac) for number, mac in enumerate(macs)),
        cards_in_order=len(models) == 1,
    )


def _disks(node: Node, disk_names: str, devices: Mapping[str, str]) -> Iterator[MachineDisk]:
    counts = {"sd": 0, "vd": 0}
    for disk in node.disks:
        prefix = "vd" if disk.bus == "virtio" else "sd"
        kernel = prefix + _letters(counts[prefix])
        counts[prefix] += 1
        path = devices.get(disk.name) or (_identity(node, disk) if disk_names == "by-id" else kernel)
        yield MachineDisk(disk.name, path.removeprefix("/dev/") if path.count("/") == 2 else path, disk.size,
                          4096 if disk.sector == "4Kn" else 512, disk.bus)  # fmt: skip


def _letters(number: int) -> str:
    """a to z, then aa, ab, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = string.ascii_lowercase[rest] + text
    return text


def _identity(node: Node, disk: Disk) -> str:
    serial = disk.name[:SERIAL_LENGTH]
    if disk.bus == "virtio":
        return f"/dev/disk/by-id/virtio-{serial}"
    if disk.bus in ("ide", "sata"):
        return f"/dev/disk/by-id/ata-QEMU_HARDDISK_{serial}"
    if disk.bus == "lsisas1068":  # such a disk has a SAS address, by which udev goes instead of its serial number
        return f"/dev/disk/by-id/wwn-0x{sas_address(node.name, disk.name)}"
    return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"
