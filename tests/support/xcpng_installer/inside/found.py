"""What the machine has: cards, disks, and hosts and backups that are on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .answers import Host, Machine
from .disks import partition, sector_of
from .tools import Tools

INVENTORY = "etc/xensource-inventory"
BACKUP_MARK = ".xen-backup-partition"


@dataclass(frozen=True)
class Inventory:
    """A host's own account of itself, from a root or from the backup of one."""

    values: dict[str, str]

    @classmethod
    def read(cls, root: Path) -> Inventory:
        pairs = (line.partition("=") for line in (root / INVENTORY).read_text().splitlines())
        return cls({key: value.strip("'") for key, _, value in pairs})

    def host(self) -> Host:
        return Host(self.values["PRIMARY_DISK"], self.values["PRODUCT_VERSION"])


def machine(tools: Tools) -> Machine:
    return Machine(
        cards=cards(), sector=sector_of, real_path=real_path,
        hosts=lambda: tuple(_found(tools, 1, backup=False)), backups=lambda: tuple(_found(tools, 2, backup=True)),
    )  # fmt: skip


def real_path(path: str) -> str:
    """Where a name leads. The real installer's kernel calls SCSI disks sda, sdb, ... in the order of their addresses;
    newer ones, such as this one, look at several at once and give the names as they come."""
    blocks = [block for block in Path("/sys/block").glob("sd*") if (block / "device").exists()]
    in_order = sorted(blocks, key=lambda block: [int(part) for part in (block / "device").resolve().name.split(":")])
    meant = dict(zip(sorted(f"/dev/{block.name}" for block in blocks), in_order, strict=True))
    return f"/dev/{meant[path].name}" if path in meant else os.path.realpath(path)


def cards() -> dict[str, str]:
    """Addresses of the network cards by name; what has no device below it is none."""
    folders = sorted(Path("/sys/class/net").glob("*/device"))
    return {each.parent.name: (each.parent / "address").read_text().strip() for each in folders}


def memory() -> int:
    """MiB of the whole machine, of which dom0 has a part: the memory devices (type 17) in the firmware's tables."""
    table, total, at = Path("/sys/firmware/dmi/tables/DMI").read_bytes(), 0, 0
    while at + 4 < len(table):
        kind, length = table[at], table[at + 1]
        if kind == 17:
            size = int.from_bytes(table[at + 0x0C : at + 0x0E], "little")
            total += int.from_bytes(table[at + 0x1C : at + 0x20], "little") if size == 0x7FFF else size
        at = table.index(b"\0\0", at + length) + 2
    return total


def link_disks() -> None:
    """Names below /dev/disk/by-id, as udev gives them to QEMU's disks; there is no udev here."""
    links = Path("/dev/disk/by-id")
    links.mkdir(parents=True, exist_ok=True)
    for block in sorted(Path("/sys/block").glob("sd*")):
        page = block / "device/vpd_pg80"
        serial = page.read_bytes()[4:].decode("ascii", "replace").strip() if page.exists() else ""
        ata = (block / "device/vendor").read_text().strip() == "ATA"
        if serial:
            name = f"ata-QEMU_HARDDISK_{serial}" if ata else f"scsi-0QEMU_QEMU_HARDDISK_{serial}"
            (links / name).symlink_to(f"../../{block.name}")


def disks() -> list[str]:
    """Whole disks and arrays, no members of arrays."""
    names = [entry.name for entry in sorted(Path("/sys/block").iterdir())]
    return [
        f"/dev/{name}"
        for name in names
        if name.startswith(("sd", "nvme", "md", "vd", "xvd")) and not any(Path(f"/sys/block/{name}/holders").iterdir())
    ]


def _found(tools: Tools, number: int, *, backup: bool) -> Iterator[Host]:
    for disk in disks():
        device = partition(disk, number)
        point = Path("/tmp/looked-at")
        if not Path(device).exists():
            continue
        point.mkdir(exist_ok=True)
        if not tools.tries("mount", "-t", "ext4", "-o", "ro", device, point):
            continue
        try:
            if (point / INVENTORY).is_file() and (point / BACKUP_MARK).exists() == backup:
                found = Inventory.read(point).host()
                tools.log(f"Found a {'backup' if backup else 'host'} of {found.version} on {device}")
                yield found
        finally:
            tools.run("umount", point)
