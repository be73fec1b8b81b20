"""The disk as the real installer lays it out: GPT, logs, backup, root, boot, swap, and the rest for guests.

Sizes, numbers and types: host-installer constants.py, backend.py and disktools.py; the same in 8.2 and 8.3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .tools import Tools

MIB = 1 << 20
LEAST_GIB = 46
DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
LVM = "E6D6D379-F507-44C2-A23C-238F2A3DF928"
# The real one makes ext3 as mke2fs has it. Fewer inodes and a small journal spare 400 MB of zeros under emulation.
_EXT3 = ("-q", "-F", "-t", "ext3", "-i", "1048576", "-J", "size=16")


@dataclass(frozen=True)
class Part:
    """`mib` 0 is the rest of the disk. `role`: logs, backup, root, boot, swap, storage."""

    role: str
    number: int
    mib: int
    kind: str


def layout(*, uefi: bool, storage: bool) -> tuple[Part, ...]:
    """Partitions in their order on the disk; their numbers are in another. Without storage the boot partition is the
    third, and none has the number 4."""
    parts = [
        Part("logs", 5, 4096, DATA),
        Part("backup", 2, 18432, DATA),
        Part("root", 1, 18432, DATA),
        Part("boot", 4 if storage else 3, 512, EFI_SYSTEM if uefi else BIOS_BOOT),
        Part("swap", 6, 1024, SWAP),
    ]
    return (*parts, Part("storage", 3, 0, LVM)) if storage else tuple(parts)


def table(disk: str, parts: Sequence[Part]) -> str:
    """What sfdisk is told. The first partition begins at 1 MiB."""
    lines, start = ["label: gpt"], 1
    for part in parts:
        size = f"size={part.mib}MiB, " if part.mib else ""
        lines.append(f"{partition(disk, part.number)} : start={start}MiB, {size}type={part.kind}")
        start += part.mib
    return "\n".join(lines) + "\n"


def partition(disk: str, number: int) -> str:
    """Its device: sda1, md127p1, nvme0n1p1."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def size_of(disk: str) -> int:
    """Bytes of a disk."""
    return int((Path("/sys/class/block") / Path(disk).name / "size").read_text()) * 512


def sector_of(disk: str) -> int:
    """Logical sector size. Raises FileNotFoundError for a disk that is not there, as the real one does."""
    return int((Path("/sys/block") / Path(disk).name / "queue/logical_block_size").read_text())


def members(disk: str) -> list[str]:
    """Disks that an array is made of; none for a plain disk."""
    folder = Path("/sys/block") / Path(disk).name / "slaves"
    return sorted(f"/dev/{entry.name}" for entry in folder.iterdir()) if folder.is_dir() else []


def create_arrays(tools: Tools, arrays: Mapping[str, Sequence[str]]) -> None:
    """RAID1 with metadata 1.0, which is at the end. An array whose node is there already is left as it is.

    `--assume-clean`, which the real one does not say: both disks are blank here, and the copying would go on for long.
    """
    for array, disks in arrays.items():
        if Path(array).exists():
            continue
        for disk in disks:
            wipe(disk)
            tools.tries("mdadm", "--zero-superblock", "--force", disk)
        tools.run("mdadm", "--create", array, "--run", "--metadata=1.0", "--level=mirror", "--assume-clean",
                  f"--raid-devices={len(disks)}", *disks)  # fmt: skip


def wipe(disk: str) -> None:
    """Both partition tables go."""
    with Path(disk).open("r+b") as file:
        file.write(bytes(MIB))
        file.seek(-MIB, os.SEEK_END)
        file.write(bytes(MIB))


def write_table(tools: Tools, disk: str, parts: Sequence[Part]) -> None:
    if not Path(disk).exists():
        raise RuntimeError(f"The disk {disk} could not be found.")
    if size_of(disk) // (1 << 30) < LEAST_GIB:
        raise RuntimeError(f"The disk {disk} is smaller than {LEAST_GIB}GB.")
    tools.run("sfdisk", "-q", "--wipe", "always", "--wipe-partitions", "always", disk, stdin=table(disk, parts))


def make_file_systems(tools: Tools, disk: str, parts: Sequence[Part], suffix: str, *, keep_logs: bool = False) -> None:
    """Root, logs, and the EFI system partition. The backup partition is left as it is."""
    for part in parts:
        device = partition(disk, part.number)
        if part.role == "root":
            tools.run("mke2fs", *_EXT3, "-L", f"root-{suffix}", device)
        elif part.role == "logs":
            if keep_logs and tools.tries("e2label", device, f"logs-{suffix}"):
                continue
            tools.run("mke2fs", *_EXT3, "-L", f"logs-{suffix}", device)
        elif part.role == "boot" and part.kind == EFI_SYSTEM:
            tools.run("mkfs.vfat", "-n", f"BOOT-{suffix.upper()}", device)
        elif part.role == "swap":
            tools.run("mkswap", "-L", f"swap-{suffix}", device)


def make_backup_file_system(tools: Tools, disk: str) -> str:
    device = partition(disk, 2)
    tools.run("mke2fs", *_EXT3, device)
    return device
