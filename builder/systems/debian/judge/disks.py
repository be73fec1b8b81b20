"""Disks by name: that they are there, and that the machine starts from them."""

from __future__ import annotations

import re

from builder.systems.debian.judge.reading import Answers
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target, TargetDisk, named_by_chance, target_path

_TWO_TIB = 2 << 40
_PARTITION = re.compile(
    r"(/dev/(?:[shv]d[a-z]+|xvd[a-z]+))([0-9]+)|(/dev/\S*[0-9])p([0-9]+)|(/dev/disk/\S+)-part([0-9]+)"
)


def split_partition(path: str) -> tuple[str, int]:
    """The disk and the number of a partition's path; the path itself and 0 for a whole disk."""
    match = _PARTITION.fullmatch(path)
    if match is None:
        return path, 0
    disk, number = [group for group in match.groups() if group is not None]
    return disk, int(number)


def device(disk: TargetDisk) -> str:
    return disk.path if disk.path.startswith("/") else f"/dev/{disk.path}"


def judge_disks(answers: Answers, report: Report, target: Target | None) -> None:
    disks, line = answers.words("partman-auto/disk"), answers.line("partman-auto/disk")
    method = answers.value("partman-auto/method")
    for disk in disks:
        if split_partition(disk)[1]:
            report.add("NLD051", line, f"{disk} is a partition", "name whole disks")
        elif not disk.startswith("/dev/"):
            report.add("NLD051", line, f"{disk} is no path below /dev", f"/dev/{disk}")
    if method == "regular" and len(disks) > 1:
        report.add("NLD052", line, f"method regular uses the first disk alone, and {len(disks)} are named",
                   "use method lvm or raid, or name one disk")  # fmt: skip
    _loader(answers, report, target, disks)
    if target is not None:
        _machine(answers, report, target, disks)
        _names(report, target, disks[:1] if method == "regular" else disks, line)


def _loader(answers: Answers, report: Report, target: Target | None, disks: tuple[str, ...]) -> None:
    uefi = target is not None and target.firmware == "uefi"
    loaders, line = answers.words("grub-installer/bootdev"), answers.line("grub-installer/bootdev")
    if not loaders:
        if not uefi:
            report.add("NLD053", 0, "the installer chooses the disk for the boot loader by itself",
                       "add: d-i grub-installer/bootdev string /dev/...")  # fmt: skip
        return
    for loader in loaders:
        if split_partition(loader)[1]:
            report.add("NLD054", line, f"{loader} is a partition", "name the whole disk")
        elif loader != "default" and disks and loader not in disks:
            report.add("NLD054", line, f"nothing is put on {loader}", f"one of {' '.join(disks)}")
    if answers.value("partman-auto/method") == "raid" and not uefi:
        for disk in disks:
            if disk not in loaders:
                report.add("NLD055", line, f"{disk} gets no boot loader, and its array may be all that is left",
                           f"{' '.join(disks)}")  # fmt: skip


def _names(report: Report, target: Target, used: tuple[str, ...], line: int) -> None:
    """`used` are the disks that the host is put on."""
    for disk in named_by_chance(target, [target_path(said) for said in used])[:1]:
        report.add("NLD073", line, f"which of the disks is {disk} depends on which one answers first",
                   "install.disk_names: by-id, or the paths of the machine itself in install.devices")  # fmt: skip


def _machine(answers: Answers, report: Report, target: Target, disks: tuple[str, ...]) -> None:
    known = {device(disk): disk for disk in target.disks}
    for name in ("partman-auto/disk", "grub-installer/bootdev"):
        for disk in answers.words(name):
            if disk not in known and disk != "default" and disk.startswith("/dev/"):
                report.add("NLD050", answers.line(name), f"the machine has no disk {disk}",
                           f"its disks: {', '.join(known)}")  # fmt: skip
    used = [known[disk] for disk in disks if disk in known]
    line = answers.line("partman-auto/disk")
    if target.firmware == "bios":
        for each in used:
            if each.sector != 512:
                report.add("NLD056", line, f"a BIOS cannot start from {device(each)}, with sectors of 4096 bytes",
                           "use a disk with sectors of 512 bytes, or UEFI firmware")  # fmt: skip
    if len({disk.sector for disk in used}) > 1:
        report.add("NLD057", line, "the disks have sectors of 512 and of 4096 bytes", "use disks of one kind")
    if answers.value("partman-partitioning/default_label") == "msdos":
        for each in used:
            if each.size > _TWO_TIB:
                report.add("NLD058", answers.line("partman-partitioning/default_label"),
                           f"{device(each)} is larger than 2 TiB and gets GPT whatever is said here",
                           "write gpt, and a biosgrub partition")  # fmt: skip
