"""What the firmware starts from, and the machine that a profile is for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from builder.systems.suse.judge.layout import MAX, Drive
from builder.systems.suse.judge.report import Report
from builder.systems.target import Target, TargetDisk, named_by_chance, target_path

MIB = 1 << 20
TWO_TIB = 2 << 40
BOOT_LEAST, EFI_LEAST = 512 * MIB, 128 * MIB
"""/boot holds a kernel and an initrd of two versions each, and Xen. ESP: volume_specification_builder.rb."""
_ESP, _BIOS_BOOT = ("259", "239"), ("263", "257")


def judge_boot(drives: list[Drive], report: Report, target: Target | None) -> None:
    disks = [drive for drive in drives if drive.kind == "CT_DISK" and drive.parts]
    firmware = target.firmware if target is not None else None
    mounted = any(part.mount == "/boot/efi" for drive in drives for part in drive.parts)
    if firmware == "uefi" and not mounted:
        report.add("NLS068", 0, "there is no /boot/efi, and the machine has UEFI firmware",
                   "add a partition with partition_id 259 and mount /boot/efi")  # fmt: skip
    for drive in disks:
        if firmware == "bios" and drive.label == "gpt" and not any(part.id in _BIOS_BOOT for part in drive.parts):
            report.add("NLS069", drive.line, f"{drive.device} has GPT, and nothing for GRUB's core",
                       "add a partition of 8MiB with partition_id 263")  # fmt: skip
    for drive in drives:
        for part in drive.parts:
            _too_small(drive, drives, report, part.mount, part.size)


def _too_small(drive: Drive, drives: list[Drive], report: Report, mount: str, size: int | None) -> None:
    least = {"/boot": BOOT_LEAST, "/boot/efi": EFI_LEAST}.get(mount)
    if least is None:
        return
    if drive.kind == "CT_MD":
        of_members = [
            part.size
            for each in drives
            for part in each.parts
            if part.array in drive.array_names and part.size is not None and part.size != MAX
        ]
        size = min(of_members) if of_members else None
    if size is not None and size not in (MAX, 0) and size < least:
        report.add("NLS070", drive.line, f"{mount} has {size // MIB} MiB", f"{least // MIB} MiB at least")


def judge_machine(drives: list[Drive], report: Report, target: Target) -> None:
    known = {disk.path: disk for disk in target.disks}
    sectors: dict[str, set[int]] = defaultdict(set)
    for drive in drives:
        if drive.kind != "CT_DISK":
            continue
        disk = known.get(target_path(drive.device))
        if disk is None:
            said = f"the machine has no disk {drive.device}" if drive.device else "no disk is named"
            report.add("NLS051", drive.line, said, f"its disks: {', '.join(known)}")
            continue
        for part in drive.parts:
            if part.array:
                sectors[part.array].add(disk.sector)
        _against(drive, disk, report, target)
    used = {target_path(drive.device): drive.line for drive in reversed(drives) if drive.kind == "CT_DISK"}
    judge_names(used, report, target)
    for drive in drives:
        for name in drive.array_names if drive.kind == "CT_MD" else ():
            if len(sectors[name]) > 1:
                report.add("NLS073", drive.line, f"{name} has members with sectors of 512 and of 4096 bytes",
                           "use disks of one kind")  # fmt: skip


def judge_names(used: Mapping[str, int] | Mapping[str, str], report: Report, target: Target) -> None:
    """`used` are the disks of the profile, each with its place in it."""
    for disk in named_by_chance(target, used)[:1]:
        report.add("NLS074", used[disk], f"which of the disks is {disk} depends on which one answers first",
                   "install.disk_names: by-id, or the paths of the machine itself in install.devices")  # fmt: skip


def _against(drive: Drive, disk: TargetDisk, report: Report, target: Target) -> None:
    total = sum(part.size for part in drive.parts if part.size not in (None, MAX) and part.size is not None)
    if total > disk.size:
        report.add("NLS067", drive.line, f"{total // MIB} MiB of partitions on {drive.device}, which has "
                   f"{disk.size // MIB} MiB", "make them smaller")  # fmt: skip
    if drive.label == "msdos" and disk.size > TWO_TIB:
        report.add("NLS071", drive.line, f"{drive.device} is larger than 2 TiB", "<disklabel>gpt</disklabel>")
    if disk.sector == 4096 and target.firmware == "bios" and _starts(drive):
        report.add("NLS072", drive.line, f"a BIOS does not start from {drive.device}, whose sectors have 4096 bytes",
                   "use a disk with 512e sectors, or firmware: uefi")  # fmt: skip


def _starts(drive: Drive) -> bool:
    """Whether the firmware may start from that disk: it has a part of /boot or of GRUB."""
    return any(
        part.mount in ("/", "/boot") or part.id in _BIOS_BOOT or re.search(r"/boot$", part.array)
        for part in drive.parts
    )
