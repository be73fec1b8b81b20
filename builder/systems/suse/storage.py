"""The disks' layout as AutoYaST and Agama both can be told it: partitions that are alike on every disk of the system,
arrays over them, and a volume group.

On every disk: what the firmware starts from, /boot or its member (RAID1 whatever the level of the rest), and the rest.
The EFI system partition is on each disk by itself: yast-storage-ng warns of one on an array (esp_raid_error in
boot_requirements_strategies/uefi.rb); the first is mounted, the others get a copy at the host's first start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from builder.errors import LabError
from builder.model.install import in_kib, in_mib
from builder.model.lab import Node, RaidLevel
from builder.systems.arrays import refuse_label, refuse_odd_sizes, system_disks, usable
from builder.systems.machine import Machine, MachineDisk
from builder.systems.suse.options import SuseInstall
from builder.systems.suse.releases import Release

ROOT_LEAST = 8192
"""MiB for / below which a server with Xen's tools does not fit with room to work in."""
BIOS_BOOT_SIZE = 8
"""MiB: what YaST proposes at most (volume_specification_builder.rb); GRUB's core takes one."""
_OVERHEAD = 3
"""MiB that partition tables and alignment take on each disk."""

Kind = Literal["bios_boot", "esp", "linux", "swap", "raid", "lvm"]


@dataclass(frozen=True, slots=True)
class Use:
    """What a partition, an array or a volume is for: a file system mounted at `mount` ("swap" too), or a part of the
    array or volume group of that name."""

    mount: str | None = None
    filesystem: str | None = None
    options: str | None = None
    array: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """`number` counts from 1 on its disk. `size` is MiB; None takes the rest."""

    number: int
    kind: Kind
    size: int | None
    use: Use


@dataclass(frozen=True, slots=True)
class Array:
    """`chunk` is KiB, None where the level has none."""

    name: str
    level: RaidLevel
    chunk: int | None
    use: Use


@dataclass(frozen=True, slots=True)
class Volume:
    """A logical volume. `size` is MiB; None takes the rest of its group."""

    name: str
    size: int | None
    use: Use


@dataclass(frozen=True, slots=True)
class Group:
    """A volume group; `extent` is KiB."""

    name: str
    extent: int
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class Storage:
    """`level` is None on a single disk."""

    disks: tuple[MachineDisk, ...]
    level: RaidLevel | None
    label: Literal["gpt", "msdos"]
    partitions: tuple[Partition, ...]
    arrays: tuple[Array, ...]
    group: Group | None

    @property
    def title(self) -> str:
        return "one disk" if self.level is None else f"RAID{self.level} over {len(self.disks)} disks"

    def on(self, disk: MachineDisk) -> tuple[Partition, ...]:
        """Its partitions. Only the first disk's EFI system partition is mounted."""
        if disk == self.disks[0]:
            return self.partitions
        return tuple(
            replace(each, use=replace(each.use, mount=None)) if each.kind == "esp" else each for each in self.partitions
        )

    @property
    def copies_of_esp(self) -> tuple[str, ...]:
        """Device nodes of the EFI system partitions that are not mounted."""
        number = next((each.number for each in self.partitions if each.kind == "esp"), None)
        return () if number is None else tuple(_node(disk.path, number) for disk in self.disks[1:])


def storage_of(node: Node, options: SuseInstall, release: Release, machine: Machine) -> Storage:
    """Raises LabError for a layout that the installer or the firmware could not carry out."""
    disks, level = system_disks(node, machine)
    refuse_label(node, machine.firmware, options.label, disks)
    refuse_odd_sizes(node, {"extent": in_kib(options.extent), "chunk": in_kib(options.chunk)})
    boot = in_mib(options.boot_size) if options.boot_size else release.boot_default
    _fits(node, options, boot, (disks, level))
    plan = _lvm if options.layout == "lvm" else _plain
    partitions, arrays, group = plan(options, level, len(disks))
    first = (*_firmware(machine, options), _boot(boot, level))
    return Storage(
        disks=disks,
        level=level,
        label=options.label,
        partitions=tuple(replace(each, number=number) for number, each in enumerate((*first, *partitions), 1)),
        arrays=((Array("boot", 1, None, _at("/boot", "ext4")), *arrays) if level is not None else ()),
        group=group,
    )


def _firmware(machine: Machine, options: SuseInstall) -> Iterator[Partition]:
    if machine.firmware == "uefi":
        yield Partition(0, "esp", in_mib(options.efi_size), _at("/boot/efi", "vfat"))
    elif options.label == "gpt":
        yield Partition(0, "bios_boot", BIOS_BOOT_SIZE, Use())


def _boot(size: int, level: RaidLevel | None) -> Partition:
    if level is None:
        return Partition(0, "linux", size, _at("/boot", "ext4"))
    return Partition(0, "raid", size, Use(array="boot"))


def _at(mount: str, filesystem: str, options: SuseInstall | None = None) -> Use:
    discard = options is not None and options.trim == "discard"
    return Use(mount=mount, filesystem=filesystem, options="defaults,discard" if discard else None)


_Rest = tuple[tuple[Partition, ...], tuple[Array, ...], Group | None]


def _lvm(options: SuseInstall, level: RaidLevel | None, _disks: int) -> _Rest:
    volumes = (
        Volume("swap", in_mib(options.swap), _at("swap", "swap")),
        Volume("root", _root_size(options), _at("/", options.filesystem, options)),
    )
    group = Group(options.volume_group, in_kib(options.extent), volumes)
    into = Use(group=group.name)
    if level is None:
        return (Partition(0, "lvm", None, into),), (), group
    return (Partition(0, "raid", None, Use(array="system")),), (_array("system", level, options, into),), group


def _plain(options: SuseInstall, level: RaidLevel | None, disks: int) -> _Rest:
    """Swap and / each on a partition, or on an array of their own."""
    swap, root = _at("swap", "swap"), _at("/", options.filesystem, options)
    size = _root_size(options)
    if level is None:
        return (Partition(0, "swap", in_mib(options.swap), swap), Partition(0, "linux", size, root)), (), None
    parts = (
        Partition(0, "raid", _member(in_mib(options.swap), level, disks), Use(array="swap")),
        Partition(0, "raid", None if size is None else _member(size, level, disks), Use(array="root")),
    )
    return parts, (_array("swap", level, options, swap), _array("root", level, options, root)), None


def _array(name: str, level: RaidLevel, options: SuseInstall, use: Use) -> Array:
    return Array(name, level, in_kib(options.chunk) if level != 1 else None, use)


def _member(size: int, level: RaidLevel, disks: int) -> int:
    """MiB of each member of an array that offers `size`, rounded up."""
    return -(-size * 2 // usable(level, disks, 2))


def _root_size(options: SuseInstall) -> int | None:
    return in_mib(options.root_size) if options.root_size else None


def _fits(node: Node, options: SuseInstall, boot: int, where: tuple[tuple[MachineDisk, ...], RaidLevel | None]) -> None:
    disks, level = where
    taken = boot + (in_mib(options.efi_size) if node.firmware == "uefi" else BIOS_BOOT_SIZE) + _OVERHEAD
    rest = usable(level, len(disks), min(disk.mib for disk in disks) - taken) - in_mib(options.swap)
    root = _root_size(options)
    if rest < (root or ROOT_LEAST):
        raise LabError(
            f"{node.name}: the disks leave {max(rest, 0)} MiB for /, after /boot and {options.swap} of swap",
            hint=f"{root or ROOT_LEAST} MiB are wanted: larger disks, or a smaller install.swap or root_size",
        )
    if root is not None and root < ROOT_LEAST:
        raise LabError(f"{node.name}: install.root_size of {root} MiB is too small", hint=f"{ROOT_LEAST}MiB at least")


def full_path(path: str) -> str:
    """/dev/sda for sda."""
    return path if path.startswith("/") else f"/dev/{path}"


def _node(path: str, number: int) -> str:
    full = full_path(path)
    if full.startswith("/dev/disk/"):
        return f"{full}-part{number}"
    return f"{full}p{number}" if full[-1].isdigit() else f"{full}{number}"
