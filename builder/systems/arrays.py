"""The disks that a host's system is on: the first one, or the array that holds it."""

from __future__ import annotations

from collections.abc import Mapping

from builder.errors import LabError
from builder.model.lab import Firmware, Node, RaidLevel
from builder.model.units import TIB
from builder.systems.machine import Machine, MachineDisk

MSDOS_MOST = 2 * TIB


def system_disks(node: Node, machine: Machine) -> tuple[tuple[MachineDisk, ...], RaidLevel | None]:
    """The disks, and the level of their array; None for the first disk alone.

    Raises LabError for an array without the first disk, and for RAID10 over an odd number of disks.
    """
    first = node.disks[0].name
    others = [array.name for array in node.raid if first not in array.disks]
    if others:
        raise LabError(
            f"{node.name}: the array {others[0]} does not hold the first disk; only the system's array is made here",
            hint=f"take it out of raid:, or let it hold {first}",
        )
    if not node.raid:
        return machine.disks[:1], None
    array = node.raid[0]
    if array.level == 10 and len(array.disks) % 2:
        raise LabError(
            f"{node.name}: RAID10 over {len(array.disks)} disks leaves one of them without its mirror",
            hint="use an even number of disks, from 4",
        )
    return tuple(machine.disk(name) for name in array.disks), array.level


def usable(level: RaidLevel | None, count: int, smallest: int) -> int:
    """What an array over so many members offers, in the unit of `smallest`."""
    if level is None or level == 1:
        return smallest
    if level == 10:
        return smallest * count // 2
    parity = {0: 0, 5: 1, 6: 2}
    return smallest * (count - parity[level])


def refuse_label(node: Node, firmware: Firmware, label: str, disks: tuple[MachineDisk, ...]) -> None:
    """Raises LabError for a partition table that the firmware does not start from, or that ends before the disk."""
    if firmware == "uefi" and label == "msdos":
        raise LabError(f"{node.name}: UEFI firmware starts from GPT disks only here", hint="leave install.label out")
    if label == "msdos" and any(disk.size > MSDOS_MOST for disk in disks):
        raise LabError(f"{node.name}: an msdos partition table ends at 2 TiB", hint="use install.label: gpt")


def refuse_odd_sizes(node: Node, sizes: Mapping[str, int]) -> None:
    """Raises LabError for a size in KiB, by its name in `install:`, that is no power of two."""
    for name, size in sizes.items():
        if size & (size - 1):
            raise LabError(
                f"{node.name}: install.{name} of {size} KiB is no power of two", hint="write 64MiB or 512KiB"
            )
