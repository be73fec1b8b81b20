"""What a judge of answers may know of the machine. Judges share no code with what writes the answers: this is a
description alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class TargetDisk(Protocol):
    """A disk by the path that an answer would give it; sizes in bytes."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sector(self) -> int: ...
    @property
    def bus(self) -> str:
        """What kind of controller it is on; empty where that is not known."""
        ...


class TargetCard(Protocol):
    @property
    def device(self) -> str: ...
    @property
    def mac(self) -> str: ...


class Target(Protocol):
    """The machine that the answers are for."""

    @property
    def firmware(self) -> str: ...
    @property
    def disks(self) -> Sequence[TargetDisk]: ...
    @property
    def cards(self) -> Sequence[TargetCard]: ...


def target_path(said: str) -> str:
    """What a target calls the disk that an answer names so: sda for /dev/sda; a path below /dev/disk stays."""
    return said.removeprefix("/dev/") if said.count("/") == 2 else said


# Names of SCSI disks, and paths behind which there may be one; but these are of disks whose names are others.
_SCSI = ("sd", "/dev/")
_OTHERS = ("/dev/disk/by-id/virtio-", "/dev/disk/by-id/nvme-")


def named_by_chance(target: Target, named: Collection[str], *, in_order: bool = False) -> tuple[str, ...]:
    """Those of the named disks that may be other ones: sda where not all disks that could be sda are named like that.

    From Linux 5.3 on (f049cf1a7b67) the disks of one controller, too, are looked for side by side, and the one that
    answers first is sda. With `in_order` the kernel is an older one, whose disks are left to chance only where they
    are on controllers of several kinds, each with a driver of its own.
    """
    alike = [disk for disk in target.disks if disk.path.startswith(_SCSI) and not disk.path.startswith(_OTHERS)]
    if in_order and len({disk.bus for disk in alike}) < 2:
        return ()
    guesses = tuple(disk.path for disk in alike if disk.path.startswith("sd") and disk.path in named)
    return guesses if set(guesses) != {disk.path for disk in alike} else ()
