"""The disks' layout: one recipe for a single disk and for mirrored and striped arrays, from the 4-disk RAID10 recipe.

On every disk of the system: what the firmware needs, a member of /boot (RAID1 whatever the level), and the rest as a
member of the physical volume. In the volume group: swap, and / to the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.errors import LabError
from builder.model.install import in_kib, in_mib
from builder.model.lab import Node, RaidLevel
from builder.systems.arrays import MSDOS_MOST, refuse_label, refuse_odd_sizes, system_disks, usable
from builder.systems.machine import Machine, MachineDisk
from builder.systems.rhel.options import RhelInstall
from builder.systems.rhel.releases import Release
from builder.systems.rhel.words import comma, command

ROOT_LEAST = 4096
"""MiB for / below which a minimal installation does not fit with room to work in."""
_OVERHEAD = 2
"""MiB that partition tables and alignment take on each disk."""


@dataclass(frozen=True, slots=True)
class Storage:
    """`level` is None on a single disk. `label` is None where the release takes the one that suits its firmware."""

    disks: tuple[MachineDisk, ...]
    level: RaidLevel | None
    label: str | None
    boot_size: int
    efi_size: int
    filesystem: str

    @property
    def title(self) -> str:
        return "one disk" if self.level is None else f"RAID{self.level} over {len(self.disks)} disks"


def storage_of(node: Node, options: RhelInstall, release: Release, machine: Machine) -> Storage:
    """Raises LabError for a layout that the installer or the firmware could not carry out."""
    disks, level = system_disks(node, machine)
    label = _label(node, options, release, machine, disks)
    storage = Storage(
        disks=disks,
        level=level,
        label=label if release.disklabel else None,
        boot_size=in_mib(options.boot_size) if options.boot_size else release.boot_default,
        efi_size=in_mib(options.efi_size),
        filesystem=options.filesystem or release.filesystem,
    )
    refuse_odd_sizes(node, {"extent": in_kib(options.extent), "chunk": in_kib(options.chunk)})
    _fits(node, options, storage)
    return storage


def _label(node: Node, options: RhelInstall, release: Release, machine: Machine, disks: tuple[MachineDisk, ...]) -> str:
    large = any(disk.size > MSDOS_MOST for disk in disks)
    label = options.label or ("gpt" if machine.firmware == "uefi" or large else "msdos")
    refuse_label(node, machine.firmware, label, disks)
    if not release.disklabel and label == "gpt" and machine.firmware == "bios":
        raise LabError(
            f"{node.name}: {release.title} cannot be told to use GPT, and its GRUB cannot start from it with a BIOS",
            hint="use disks up to 2 TiB and leave install.label out, or firmware: uefi",
        )
    return label


def _fits(node: Node, options: RhelInstall, storage: Storage) -> None:
    taken = storage.boot_size + (storage.efi_size if node.firmware == "uefi" else 1) + _OVERHEAD
    rest = usable(storage.level, len(storage.disks), min(disk.mib for disk in storage.disks) - taken)
    root = rest - in_mib(options.swap)
    if root < ROOT_LEAST:
        raise LabError(
            f"{node.name}: the disks leave {max(root, 0)} MiB for /, after /boot and {options.swap} of swap",
            hint=f"{ROOT_LEAST} MiB at least: larger disks, or a smaller install.swap",
        )


def storage_lines(storage: Storage, options: RhelInstall, release: Release, machine: Machine) -> tuple[str, ...]:
    """Everything about disks, in the order in which people read it."""
    paths = [disk.path for disk in storage.disks]
    return (
        command("zerombr"),
        command("ignoredisk", only_use=comma(paths)),
        command("clearpart", all=True, initlabel=True, disklabel=storage.label, drives=comma(paths)),
        *_firmware_parts(storage, release, machine),
        *_boot(storage, release),
        *_volumes(storage, options, release),
    )


def _firmware_parts(storage: Storage, release: Release, machine: Machine) -> Iterator[str]:
    paths = [disk.path for disk in storage.disks]
    if machine.firmware == "bios":
        if storage.label == "gpt":
            for path in paths:
                yield command("part", "biosboot", fstype="biosboot", size=1, ondisk=path)
        return
    mount = {"fstype": "efi", "fsoptions": "umask=0077,shortname=winnt"}
    if storage.level is None or not release.efi_on_raid:
        yield command("part", "/boot/efi", **mount, size=storage.efi_size, ondisk=paths[0])
        return
    yield from (
        command("part", member, size=storage.efi_size, ondisk=path) for member, path in _members(1, paths).items()
    )
    yield command("raid", "/boot/efi", *_members(1, paths), level="RAID1", device="boot_efi", **mount)


def _boot(storage: Storage, release: Release) -> Iterator[str]:
    paths = [disk.path for disk in storage.disks]
    if storage.level is None:
        yield command("part", "/boot", fstype=storage.filesystem, size=storage.boot_size, ondisk=paths[0])
        return
    for member, path in _members(2, paths).items():
        yield command("part", member, size=storage.boot_size, ondisk=path)
    device = "boot" if release.free_md_names else "md0"
    yield command("raid", "/boot", *_members(2, paths), level="RAID1", device=device, fstype=storage.filesystem)


def _volumes(storage: Storage, options: RhelInstall, release: Release) -> Iterator[str]:
    paths = [disk.path for disk in storage.disks]
    if storage.level is None:
        yield command("part", "pv.01", size=1, grow=True, ondisk=paths[0])
    else:
        for member, path in _members(3, paths).items():
            yield command("part", member, size=1, grow=True, ondisk=path)
        striped = release.chunk_size and storage.level != 1
        yield command(
            "raid", "pv.01", *_members(3, paths), level=f"RAID{storage.level}",
            device="pv00" if release.free_md_names else "md1",
            chunksize=in_kib(options.chunk) if striped else None,
        )  # fmt: skip
    group = options.volume_group
    yield command("volgroup", group, "pv.01", pesize=in_kib(options.extent))
    yield command("logvol", "swap", fstype="swap", name="SystemSwap", vgname=group, size=in_mib(options.swap))
    yield command(
        "logvol", "/", fstype=storage.filesystem, name="SystemRoot", vgname=group, size=1024, grow=True,
        fsoptions="defaults,discard" if options.trim == "discard" else None,
    )  # fmt: skip


def _members(kind: int, paths: list[str]) -> dict[str, str]:
    """Names of the members of one array, each with its disk: raid.201, raid.202, ..."""
    return {f"raid.{kind}{number:02}": path for number, path in enumerate(paths, 1)}
