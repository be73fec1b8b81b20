"""Where the system is: one disk, or a mirror over two. Each has one partition from the first MiB to its end."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from builder.errors import LabError
from builder.model.install import in_mib
from builder.model.lab import Node
from builder.systems.arrays import system_disks
from builder.systems.machine import Machine, MachineDisk
from builder.systems.netbsd.options import NetbsdInstall

ROOT_LEAST = 3 * 1024
"""MiB for / below which the sets, the packages and two copies of every kernel do not fit with room to work in."""
_SECTORS = 2048  # of 512 bytes in a MiB


@dataclass(frozen=True, slots=True)
class Storage:
    """`root` is the disk that carries / (a) and swap (b): raid0 for a mirror. `swap` is in sectors; `serial` tells
    this array from others, and is the same each time."""

    disks: tuple[MachineDisk, ...]
    root: str
    swap: int
    serial: int

    @property
    def mirrored(self) -> bool:
        return len(self.disks) > 1

    @property
    def title(self) -> str:
        names = " and ".join(disk.path for disk in self.disks)
        return f"a mirror over {names}" if self.mirrored else names


def storage_of(node: Node, options: NetbsdInstall, machine: Machine) -> Storage:
    """Raises LabError for arrays that the boot blocks could not start from, and for disks that are too small."""
    disks, level = system_disks(node, machine)
    if len(node.raid) > 1 or (level is not None and (level != 1 or len(disks) != 2)):
        raise LabError(
            f"{node.name}: the system is on one disk or on a RAID1 pair; no other array is made here",
            hint="one array of level 1 over two disks",
        )
    swap = in_mib(options.swap)
    rest = min(disk.mib for disk in disks) - 1 - swap
    if rest < ROOT_LEAST:
        raise LabError(
            f"{node.name}: the disks leave {max(rest, 0)} MiB for /, after {options.swap} of swap",
            hint=f"{ROOT_LEAST} MiB at least: larger disks, or a smaller install.swap",
        )
    return Storage(
        disks=disks,
        root="raid0" if len(disks) > 1 else disks[0].path,
        swap=swap * _SECTORS,
        serial=zlib.crc32(node.name.encode()) % 10**8 + 1,
    )
