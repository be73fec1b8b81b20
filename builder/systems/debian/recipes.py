"""Partman's two little languages: what is on the disks, and what arrays are made of it.

A partition is `least priority most filesystem flags... .` with sizes in MB; words are separated by spaces, braces too.
An array is `level devices spares filesystem mountpoint device#device... .`. Source: partman-auto's recipes.sh,
partman-auto-lvm's auto-lvm.sh and partman-auto-raid's auto-raidcfg and display.d scripts, the same in Debian 12 and 13
in what is used here.
"""

from __future__ import annotations

from collections.abc import Iterator

from builder.systems.debian.storage import Partition, Storage
from builder.systems.machine import MachineDisk

# Read while partitions are made and passed over while volumes are, and the other way round.
_PARTITION_ONLY = "$lvmignore{ }"
_VOLUME_ONLY = "$defaultignore{ }"
_MAKE = "method{ format } format{ } use_filesystem{ }"


def method(storage: Storage) -> str:
    """How partman goes about it."""
    if storage.level is not None:
        return "raid"
    return "regular" if storage.plain else "lvm"


def expert_recipe(storage: Storage, filesystem: str) -> tuple[str, ...]:
    """One line for each partition and volume. `filesystem` is that of /."""
    lines = [_partition(storage, partition, filesystem) for partition in storage.partitions]
    if not storage.plain:
        ignored = f" {_VOLUME_ONLY}" if storage.level is not None else ""
        lines += [
            f"{_exactly(storage.root)} {filesystem} $lvmok{{ }}{ignored} lv_name{{ root }} "
            f"{_MAKE} filesystem{{ {filesystem} }} mountpoint{{ / }} .",
            f"{_exactly(storage.swap)} linux-swap $lvmok{{ }}{ignored} lv_name{{ swap }} "
            "method{ swap } format{ } .",
        ]
    return tuple(lines)


def guided_size(storage: Storage) -> str:
    """What of the volume group the installer may use: exactly what its volumes need. With `max` the last one would grow
    over all the room that guests are to have."""
    return f"{storage.root + storage.swap} MB"


def raid_recipe(storage: Storage) -> tuple[str, ...]:
    """One line for each array: /boot on RAID1 whatever the level, and the physical volume."""
    if storage.level is None:
        return ()
    count = len(storage.disks)
    return (
        f"1 {count} 0 ext4 /boot {_members(storage, storage.number('boot'))} .",
        f"{storage.level} {count} 0 lvm - {_members(storage, storage.number('volumes'))} .",
    )


def device(disk: MachineDisk) -> str:
    """The disk's path below /dev."""
    return disk.path if disk.path.startswith("/") else f"/dev/{disk.path}"


def partition_device(disk: MachineDisk, number: int) -> str:
    path = device(disk)
    if path.startswith("/dev/disk/"):
        return f"{path}-part{number}"
    return f"{path}p{number}" if path[-1].isdigit() else f"{path}{number}"


def _members(storage: Storage, number: int) -> str:
    return "#".join(partition_device(disk, number) for disk in storage.disks)


def _exactly(size: int) -> str:
    return f"{size} {size} {size}"


def _partition(storage: Storage, partition: Partition, filesystem: str) -> str:
    flags = list(_flags(storage, partition, filesystem))
    sizes = _exactly(partition.size) if partition.size else "100 1000 -1"
    kinds = {"efi": "fat32", "biosgrub": "ext4", "swap": "linux-swap", "root": filesystem}
    return " ".join([sizes, kinds.get(partition.kind, "ext4"), *flags, "."])


def _flags(storage: Storage, partition: Partition, filesystem: str) -> Iterator[str]:
    """Primary: so that partitions are numbered in the order in which they are written."""
    if storage.label == "msdos":
        yield "$primary{ }"
    if storage.level is not None:
        yield _PARTITION_ONLY
    first = {"root", "boot"}
    if storage.label == "msdos" and partition.kind in first:
        yield "$bootable{ }"
    kind = partition.kind
    if kind == "biosgrub":
        yield "method{ biosgrub }"
    elif kind == "efi":
        yield "method{ efi } format{ }"
    elif kind == "swap":
        yield "method{ swap } format{ }"
    elif storage.level is not None:
        yield "method{ raid }"
    elif kind == "boot":
        yield f"{_MAKE} filesystem{{ ext4 }} mountpoint{{ /boot }}"
    elif kind == "root":
        yield f"{_MAKE} filesystem{{ {filesystem} }} mountpoint{{ / }}"
    else:
        yield "method{ lvm }"
