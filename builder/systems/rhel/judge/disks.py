"""Disks and boot loaders: which disks are used, what their partition tables need, where the firmware starts from."""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatch

from builder.systems.rhel.judge.reading import Command, Script
from builder.systems.rhel.judge.report import Report
from builder.systems.target import Target, named_by_chance, target_path

_TABLES = ("msdos", "gpt")
_MIB = 1 << 20
_TWO_TIB = 2 << 40
_EACH_DISK = 10  # first generation that looks at every disk with a boot loader
_SIDE_BY_SIDE = 9  # first generation whose kernel looks for disks side by side
_GPT_FIRST = 10  # first generation that prefers GPT when nothing is said, with a BIOS as well


def judge_disks(script: Script, report: Report, target: Target | None) -> None:
    used = _used(script)
    _cleared(script, report, used)
    _tables(script, report, target, used)
    _loader(script, report, used)
    if target is not None:
        _machine(script, report, target, used)


def _used(script: Script) -> dict[str, Command]:
    """Each disk with the first line that puts something on it."""
    found: dict[str, Command] = {}
    for command in script.all("part", "partition"):
        disk = target_path(command.text("ondisk") or command.text("ondrive"))
        if disk:
            found.setdefault(disk, command)
    return found


def _listed(command: Command, option: str) -> tuple[str, ...]:
    return tuple(target_path(disk) for disk in command.list(option))


def _among(disk: str, listed: tuple[str, ...]) -> bool:
    return any(fnmatch(disk, pattern) for pattern in listed)


def _cleared(script: Script, report: Report, used: dict[str, Command]) -> None:
    clear, zero = script.first("clearpart"), script.first("zerombr")
    if zero is None and not script.all("autopart"):
        report.add("NLK061", 0, "zerombr is missing: an unreadable disk makes the installer ask", "add: zerombr")
    if clear is None or not ({"all", "initlabel", "drives", "linux"} & set(clear.options)):
        report.add("NLK061", clear.line if clear else 0, "no disk is cleared", "add: clearpart --all --initlabel")
    if clear is not None:
        drives = _listed(clear, "drives")
        for disk, command in used.items():
            if drives and not _among(disk, drives):
                report.add("NLK060", command.line, f"{disk} is not among the disks of clearpart", "add it to --drives")
    for ignore in script.all("ignoredisk"):
        only, without = _listed(ignore, "only-use"), _listed(ignore, "drives")
        for disk, command in used.items():
            if (only and not _among(disk, only)) or _among(disk, without):
                report.add("NLK060", command.line, f"{disk} is left out by ignoredisk", "add it to --only-use")


def _tables(script: Script, report: Report, target: Target | None, used: dict[str, Command]) -> None:
    clear = script.first("clearpart")
    label = clear.text("disklabel") if clear is not None else ""
    if clear is not None and label and label not in _TABLES:
        report.add("NLK025", clear.line, f"there is no partition table {label}", "gpt or msdos")
    bios = target.firmware == "bios" if target is not None else not _efi(script)
    gpt = label == "gpt" or (not label and report.generation >= _GPT_FIRST)
    marked = {target_path(c.text("ondisk")): c for c in script.all("part", "partition") if "biosboot" in c.words[:1]}
    if bios and gpt and not script.all("autopart", "reqpart"):
        wanted = _boot_disks(script) or list(used)
        if report.generation < _EACH_DISK:
            loader = script.first("bootloader")
            drive = target_path(loader.text("boot-drive")) if loader else ""
            wanted = [drive] if drive else wanted[:1]
        for disk in wanted:
            if disk not in marked:
                line = used[disk].line if disk in used else 0
                report.add("NLK023", line, f"{disk} has GPT and no biosboot partition",
                           f"part biosboot --fstype=biosboot --size=1 --ondisk={disk}")  # fmt: skip
    if not bios or label == "msdos":
        for command in marked.values():
            report.add("NLK024", command.line, "a biosboot partition does nothing here", "leave it out")
    if not bios and not _efi(script) and not script.all("autopart", "reqpart"):
        report.add("NLK027", 0, "there is no /boot/efi, and the machine has UEFI firmware", "add: part /boot/efi")
    if target is not None and bios and label == "msdos":
        for large in target.disks:
            if large.path in used and large.size > _TWO_TIB:
                report.add("NLK026", used[large.path].line, f"{large.path} is larger than 2 TiB",
                           "clearpart --disklabel=gpt")  # fmt: skip


def _efi(script: Script) -> bool:
    return any("/boot/efi" in command.words for command in script.all("part", "partition", "raid"))


def _boot_disks(script: Script) -> list[str]:
    """Disks that hold /boot, or /: with a BIOS, all of them get the boot loader."""
    members = {c.words[0]: target_path(c.text("ondisk")) for c in script.all("part", "partition") if c.words}
    for place in ("/boot", "/"):
        if members.get(place):
            return [members[place]]
        for array in script.all("raid"):
            if array.words[:1] == (place,):
                return [members[member] for member in array.words[1:] if members.get(member)]
    return []


def _loader(script: Script, report: Report, used: dict[str, Command]) -> None:
    for command in script.all("bootloader"):
        if command.options.get("location") == "partition" and report.generation >= 7:
            report.add("NLK020", command.line, "GRUB 2 does not go to a partition", "--location=mbr")
        if "driveorder" in command.options and report.generation >= 7:
            report.add("NLK022", command.line, "--driveorder does not name the disk to start from", "--boot-drive=...")
        drives = (*_listed(command, "driveorder"), *_listed(command, "boot-drive"))
        for disk in drives:
            if used and not _among(disk, tuple(used)):
                report.add("NLK021", command.line, f"nothing is put on {disk}", f"one of {', '.join(used)}")


def _machine(script: Script, report: Report, target: Target, used: dict[str, Command]) -> None:
    known = {disk.path: disk for disk in target.disks}
    listed = {
        disk: command
        for command in reversed(script.all("clearpart", "ignoredisk", "bootloader"))
        for option in ("drives", "only-use", "boot-drive", "driveorder")
        for disk in _listed(command, option)
    }
    for disk, command in {**listed, **used}.items():
        if not any(fnmatch(path, disk) for path in known):
            report.add("NLK062", command.line, f"the machine has no disk {disk}", f"its disks: {', '.join(known)}")
    by_chance = named_by_chance(target, used or listed, in_order=report.generation < _SIDE_BY_SIDE)
    if by_chance:
        report.add("NLK064", (used or listed)[by_chance[0]].line,
                   f"which of the disks is {by_chance[0]} depends on which one answers first",
                   "install.disk_names: by-id, or the paths of the machine itself in install.devices")  # fmt: skip
    for disk in _boot_disks(script) if target.firmware == "bios" else ():
        if disk in known and known[disk].sector > 512:
            report.add("NLK042", used[disk].line, f"a BIOS does not start from {disk}, whose sectors have 4096 bytes",
                       "use a disk with 512e sectors, or firmware: uefi")  # fmt: skip
    sizes: dict[str, int] = defaultdict(int)
    for command in script.all("part", "partition"):
        sizes[target_path(command.text("ondisk"))] += command.number("size")
    for name, size in sizes.items():
        if name in known and size * _MIB > known[name].size:
            report.add("NLK063", used[name].line, f"{size} MiB of partitions on {name}, which has "
                       f"{known[name].size // _MIB} MiB", "make them smaller")  # fmt: skip
