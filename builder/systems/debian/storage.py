"""The disks' layout: what is on each disk, in order, and what is made of it. `recipes` writes it in partman's language.

Sizes are MB, as partman counts them: a million bytes. The documented layout for a host of guests is 4 GB for /, swap as
large as dom0's memory up to 2 GB, and a volume group in all the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from builder.errors import LabError
from builder.model.install import in_mib
from builder.model.lab import Node, RaidLevel
from builder.model.units import GIB, MIB
from builder.systems.arrays import MSDOS_MOST, refuse_label, system_disks, usable
from builder.systems.debian.options import DebianInstall
from builder.systems.machine import Machine, MachineDisk

SWAP_MOST = 2 * GIB
GUESTS_LEAST = 1000
"""MB of the volume group below which there is no place for any guest."""
_OVERHEAD = 10
"""MB that partition tables, alignment and array headers take on each disk."""

Kind = Literal["biosgrub", "efi", "boot", "root", "swap", "volumes"]
Label = Literal["msdos", "gpt"]
_MB = 1000 * 1000


@dataclass(frozen=True, slots=True)
class Partition:
    """What every disk of the system has in this place. `number` is the partition's, `size` is MB; 0 is all the rest."""

    kind: Kind
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Storage:
    """`level` is None on a single disk. `root` and `swap` are sizes, wherever they are. `raid` and `plain` are never
    both true: an array always carries a volume group."""

    disks: tuple[MachineDisk, ...]
    level: RaidLevel | None
    plain: bool
    label: Label
    partitions: tuple[Partition, ...]
    root: int
    swap: int

    @property
    def title(self) -> str:
        if self.level is not None:
            return f"RAID{self.level} over {len(self.disks)} disks"
        return "one disk, in partitions" if self.plain else "one disk, in a volume group"

    def number(self, kind: Kind) -> int:
        return next(partition.number for partition in self.partitions if partition.kind == kind)

    def has(self, kind: Kind) -> bool:
        return any(partition.kind == kind for partition in self.partitions)


def megabytes(mib: int) -> int:
    """MiB as MB, upwards."""
    return -(-mib * MIB // _MB)


def storage_of(node: Node, options: DebianInstall, machine: Machine) -> Storage:
    """Raises LabError for a layout that the installer or the firmware could not carry out."""
    disks, level = system_disks(node, machine)
    if level is not None:
        _refuse_names(node, disks)
    plain = level is None and options.layout == "plain"
    label = _label(node, options, disks)
    swap = in_mib(options.swap) if options.swap else min(node.xen.dom0_memory, SWAP_MOST) // MIB
    storage = Storage(
        disks=disks,
        level=level,
        plain=plain,
        label=label,
        partitions=_partitions(options, node.firmware == "uefi", label, megabytes(swap) if plain else None),
        root=megabytes(in_mib(options.root_size)),
        swap=megabytes(swap),
    )
    _fits(node, storage)
    return storage


def _refuse_names(node: Node, disks: tuple[MachineDisk, ...]) -> None:
    for disk in disks:
        if "." in disk.path:
            raise LabError(
                f"{node.name}: the installer ends an array's description at a dot, and {disk.path} has one",
                hint="give another identity of that disk under install.devices, such as /dev/disk/by-id/wwn-...",
            )


def _label(node: Node, options: DebianInstall, disks: tuple[MachineDisk, ...]) -> Label:
    large = any(disk.size > MSDOS_MOST for disk in disks)
    label: Label = options.label or ("gpt" if node.firmware == "uefi" or large else "msdos")
    refuse_label(node, node.firmware, label, disks)
    return label


def _partitions(options: DebianInstall, uefi: bool, label: Label, swap: int | None) -> tuple[Partition, ...]:
    """`swap` is its size where the layout is plain."""
    kinds: list[tuple[Kind, int]] = []
    if uefi:
        kinds.append(("efi", megabytes(in_mib(options.efi_size))))
    elif label == "gpt":
        kinds.append(("biosgrub", 1))
    if swap is None:
        kinds.append(("boot", megabytes(in_mib(options.boot_size))))
    else:
        kinds += [("root", megabytes(in_mib(options.root_size))), ("swap", swap)]
    kinds.append(("volumes", 0))
    return tuple(Partition(kind, number, size) for number, (kind, size) in enumerate(kinds, 1))


def _fits(node: Node, storage: Storage) -> None:
    taken = sum(partition.size for partition in storage.partitions) + _OVERHEAD
    each = min(disk.size for disk in storage.disks) // _MB - taken
    rest = usable(storage.level, len(storage.disks), each)
    if not storage.plain:
        rest -= storage.root + storage.swap
    if rest < GUESTS_LEAST:
        raise LabError(
            f"{node.name}: the disks leave {max(rest, 0)} MB for guests, after {storage.root} MB for / and "
            f"{storage.swap} MB of swap",
            hint=f"{GUESTS_LEAST} MB at least: larger disks, or a smaller install.root_size",
        )
