"""What the recipe makes of the disks: that it can be made, that the firmware starts from it, that nothing is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from builder.systems.debian.judge.disks import device, split_partition
from builder.systems.debian.judge.plan import DiskPlan, disk_plan
from builder.systems.debian.judge.reading import Answers
from builder.systems.debian.judge.recipe import METHODS, Entry
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target

_MB = 1000 * 1000
# The least of /boot in the installer's own recipes, and of an EFI system partition (partman-efi, check.d/07efi).
_BOOT_LEAST = {"12": 512, "13": 768}
_EFI_LEAST = 35
# In use on a host that was installed, in MB: 890 of /, beside 220 of packages while they are unpacked, and 77 of /boot
# with one kernel.
_HOST_LEAST = {"/": 1500, "/boot": 100}
_UNITS = {"": 1e9, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18}


def judge_layout(answers: Answers, report: Report, target: Target | None) -> None:
    plan = disk_plan(answers, report, target)
    if plan is None:
        return
    everything = [*(entry for _, entry in plan.partitions), *plan.volumes]
    _entries(everything, plan, report)
    _mounts(answers, everything, plan, report)
    if plan.method in ("lvm", "crypto", "raid"):
        _volumes(answers, plan, report)
    if target is not None:
        _firmware(plan, report, target)
        _sizes(answers, plan, report, target)
    if plan.label == "msdos" and len([e for _, e in plan.partitions if "$primary" in e.flags]) > 4:
        report.add("NLD041", plan.line, "an msdos disk has four primary partitions at most", "take $primary{ } off one")


def _entries(entries: Sequence[Entry], plan: DiskPlan, report: Report) -> None:
    for entry in entries:
        shown = f"the entry of {entry.least} MB"
        if entry.method not in METHODS:
            report.add("NLD028", plan.line, f"{shown} has {'method ' + entry.method if entry.method else 'no method'}",
                       f"method{{ ... }} with one of {', '.join(sorted(METHODS))}")  # fmt: skip
        elif entry.method == "format" and not {"use_filesystem", "filesystem"} <= entry.flags.keys():
            if "$default_filesystem" not in entry.flags:
                report.add("NLD029", plan.line, f"{shown} gets no file system",
                           "use_filesystem{ } filesystem{ ext4 }")  # fmt: skip
        elif entry.method in ("format", "swap", "efi") and "format" not in entry.flags:
            report.add("NLD029", plan.line, f"{shown} is not formatted", "format{ }")


def _mounts(answers: Answers, entries: Sequence[Entry], plan: DiskPlan, report: Report) -> None:
    raid = answers.value("partman-auto-raid/recipe") if plan.method == "raid" else ""
    arrays = [piece.split() for piece in raid.split(" .") if len(piece.split()) > 5]
    mounted = [entry.mountpoint for entry in entries if entry.mountpoint]
    mounted += [words[4] for words in arrays if words[4].startswith("/")]
    if "/" not in mounted:
        report.add("NLD026", plan.line, "nothing is mounted at /", "mountpoint{ / }")
    for place in dict.fromkeys(mounted):
        if mounted.count(place) > 1:
            report.add("NLD027", plan.line, f"{place} is mounted twice", "one entry for each place")
    swap = any(entry.method == "swap" for entry in entries) or " swap " in raid
    if not swap and answers.value("partman-basicfilesystems/no_swap") != "false":
        report.add("NLD030", plan.line, "the installer would ask what is to become of a host without swap",
                   "add an entry for swap, or: d-i partman-basicfilesystems/no_swap boolean false")  # fmt: skip
    for place, size in _sized(entries, arrays, plan):
        if size < _HOST_LEAST.get(place, 0):
            report.add("NLD044", plan.line, f"{place} has {size} MB", f"{_HOST_LEAST[place]} MB at least")
        elif place == "/boot" and size < _BOOT_LEAST[report.release]:
            report.add("NLD033", plan.line, f"/boot has {size} MB", f"{_BOOT_LEAST[report.release]} MB at least")


def _sized(entries: Sequence[Entry], arrays: Sequence[Sequence[str]], plan: DiskPlan) -> Iterator[tuple[str, int]]:
    """(mount point, MB) of what has a size of its own: entries, and arrays that are as large as one member."""
    for entry in entries:
        if entry.mountpoint and entry.most != -1:
            yield entry.mountpoint, entry.most
    numbered = dict(plan.partitions)
    for level, _, _, _, place, members, *_ in arrays:
        found = [numbered.get(split_partition(member)[1]) for member in members.split("#")]
        sizes = [entry.most for entry in found if entry is not None and entry.most != -1]
        if level == "1" and sizes and len(sizes) == len(found):
            yield place, min(sizes)


def _volumes(answers: Answers, plan: DiskPlan, report: Report) -> None:
    if not plan.volumes:
        report.add("NLD031", plan.line, "no entry may become a volume", "$lvmok{ } in the entries for the volume group")
        return
    outside = {entry.mountpoint for _, entry in plan.partitions}
    if any(entry.mountpoint == "/boot" for entry in plan.volumes):
        report.add("NLD032", plan.line, "/boot is a volume", "take $lvmok{ } off it")
    elif plan.method != "raid" and not outside & {"/", "/boot"}:
        report.add("NLD032", plan.line, "/ is a volume, and there is no /boot beside the volume group",
                   "add an entry for /boot without $lvmok{ }")  # fmt: skip
    if plan.method == "raid":
        for entry in plan.volumes:
            if "$defaultignore" not in entry.flags:
                report.add("NLD043", plan.line, f"the volume of {entry.least} MB becomes a partition of each disk, too",
                           "$defaultignore{ }")  # fmt: skip
    said, line = answers.value("partman-auto-lvm/guided_size"), answers.line("partman-auto-lvm/guided_size")
    if said in ("", "max", "100%"):
        report.add("NLD039", line, "the last volume takes all of the volume group, and leaves nothing for guests",
                   "d-i partman-auto-lvm/guided_size string 6000 MB")  # fmt: skip
        return
    size, least = _human(said), sum(entry.least for entry in plan.volumes)
    if size is not None and size < least * _MB:
        report.add("NLD040", line, f"the volumes need {least} MB, and may have {said}", f"{least} MB")


def _human(text: str) -> float | None:
    """Bytes; None for a part of the group. Without a unit it is GB (human2longint of partman-base)."""
    match = re.fullmatch(r"([0-9]+(?:[.,][0-9]*)?) *([kKmMgGtTpPeE]?)(i?)[bB]?", text)
    if match is None:
        return None
    number, unit = float(match[1].replace(",", ".")), match[2].lower()
    powers = "kmgtpe"
    return number * (1024 ** (powers.index(unit) + 1) if match[3] and unit else _UNITS[unit])


def _firmware(plan: DiskPlan, report: Report, target: Target) -> None:
    methods = {entry.method for _, entry in plan.partitions}
    if target.firmware == "uefi":
        if "efi" not in methods:
            report.add("NLD035", plan.line, "there is no EFI system partition, and the machine has UEFI firmware",
                       "538 538 1075 free method{ efi } format{ } .")  # fmt: skip
        if "biosgrub" in methods:
            report.add("NLD037", plan.line, "a biosgrub partition does nothing with UEFI", "leave it out")
        for _, entry in plan.partitions:
            if entry.method == "efi" and entry.most != -1 and entry.most < _EFI_LEAST:
                report.add("NLD036", plan.line, f"an EFI system partition of {entry.most} MB is too small",
                           "538 MB")  # fmt: skip
        return
    if plan.label == "gpt" and "biosgrub" not in methods:
        report.add("NLD034", plan.line, "a disk with GPT has no biosgrub partition, and the machine has a BIOS",
                   "1 1 1 free method{ biosgrub } .")  # fmt: skip
    if plan.label == "msdos" and "biosgrub" in methods:
        report.add("NLD037", plan.line, "a biosgrub partition does nothing on an msdos disk", "leave it out")
    if "efi" in methods:
        report.add("NLD037", plan.line, "an EFI system partition does nothing with a BIOS", "leave it out")


def _sizes(answers: Answers, plan: DiskPlan, report: Report, target: Target) -> None:
    named = answers.words("partman-auto/disk")
    needed = sum(entry.least for _, entry in plan.partitions)
    if plan.method in ("lvm", "crypto"):
        needed += sum(entry.least for entry in plan.volumes)
    for disk in target.disks:
        if device(disk) in named and needed * _MB > disk.size:
            has = disk.size // _MB
            report.add("NLD038", plan.line, f"the recipe needs {needed} MB, and {device(disk)} has {has} MB",
                       "make it smaller")  # fmt: skip
