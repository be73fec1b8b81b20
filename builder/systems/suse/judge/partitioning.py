"""Disks, arrays and volume groups of an AutoYaST profile, as yast-storage-ng's planners read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from builder.systems.suse.judge.disks import judge_boot, judge_machine
from builder.systems.suse.judge.layout import Drive, Part, drives_of
from builder.systems.suse.judge.reading import Element
from builder.systems.suse.judge.report import Report
from builder.systems.target import Target

_LEAST = {"raid0": 2, "raid1": 2, "raid5": 3, "raid6": 4, "raid10": 2}
_USES = ("mount", "raid_name", "lvm_group", "btrfs_name", "bcache_backing_for")


def judge_partitioning(root: Element, report: Report, target: Target | None) -> None:
    section = root.first("partitioning")
    drives = drives_of(section)
    disks = [drive for drive in drives if drive.kind == "CT_DISK"]
    if not any(part.mount == "/" for drive in drives for part in drive.parts):
        report.add("NLS050", section.line if section else 0, "nothing is mounted at /", "add a partition with mount /")
    for drive in disks:
        _disk(drive, report)
    for drive in drives:
        for part in drive.parts:
            _part(drive, part, report)
    _mounts(drives, report)
    _arrays(drives, disks, report)
    _groups(drives, report)
    judge_boot(drives, report, target)
    if target is not None:
        judge_machine(drives, report, target)


def _disk(drive: Drive, report: Report) -> None:
    if not drive.use and not drive.initialize:
        report.add("NLS052", drive.line, f"what to do with the partitions of {drive.device or 'the disk'} is not said",
                   "add <use>all</use>")  # fmt: skip


def _part(drive: Drive, part: Part, report: Report) -> None:
    uses = [name for name in _USES if part.element.first(name) is not None]
    if len(uses) > 1:
        report.add("NLS066", part.line, f"only {uses[0]} is taken of {', '.join(uses)}", "keep one of them")
    if part.size is None:
        report.add("NLS064", part.line, f"'{part.said_size}' is no size", "write max, 20GiB or 30%")
    if drive.kind == "CT_LVM" and not part.volume:
        report.add("NLS063", part.line, "a logical volume without a name", "add <lv_name>")


def _mounts(drives: list[Drive], report: Report) -> None:
    seen: Counter[str] = Counter()
    for drive in drives:
        for part in drive.parts:
            for name in filter(None, (part.mount, part.volume and f"the volume {drive.device}/{part.volume}")):
                seen[name] += 1
                if seen[name] == 2 and name != "swap":
                    report.add("NLS065", part.line, f"{name} is made twice", "keep one of them")


def members(disks: list[Drive]) -> Iterator[tuple[Drive, Part]]:
    """Partitions that are parts of arrays, with their disks."""
    for drive in disks:
        for part in drive.parts:
            if part.array:
                yield drive, part


def _arrays(drives: list[Drive], disks: list[Drive], report: Report) -> None:
    arrays = {name: drive for drive in drives if drive.kind == "CT_MD" for name in drive.array_names}
    of: dict[str, list[tuple[Drive, Part]]] = {}
    for drive, part in members(disks):
        of.setdefault(part.array, []).append((drive, part))
        if part.array not in arrays:
            report.add("NLS053", part.line, f"no drive makes the array {part.array}", "add a drive of type CT_MD")
    for name, drive in arrays.items():
        _array(name, drive, of.get(name, []), report)
    for drive in drives:
        if drive.kind == "CT_MD":
            _old_style(drive, report)


def _array(name: str, drive: Drive, its: list[tuple[Drive, Part]], report: Report) -> None:
    level = drive.level(name)
    if level not in _LEAST:
        report.add("NLS055", drive.line, f"{name} has the level '{level}', and becomes RAID1 without a word",
                   f"raid_type: one of {', '.join(_LEAST)}")  # fmt: skip
    if not its:
        report.add("NLS054", drive.line, f"{name} has no members", f"<raid_name>{name}</raid_name> in its partitions")
    elif len(its) < _LEAST.get(level, 0):
        report.add("NLS056", drive.line, f"{level} of {len(its)} members", f"{_LEAST[level]} at least")
    elif level == "raid10" and len(its) % 2:
        report.add("NLS056", drive.line, f"{level} over {len(its)} disks", "use an even number")
    on = Counter(disk.device for disk, _ in its)
    if any(count > 1 for count in on.values()):
        report.add("NLS057", drive.line, f"{name} has two members on one disk", "one member on each disk")
    for part in drive.parts:
        if part.mount == "/boot" and name in drive.array_names and level not in ("raid1", "") and level in _LEAST:
            report.add("NLS058", part.line, f"/boot on {level}", "raid1")


def _old_style(drive: Drive, report: Report) -> None:
    options = drive.element.first("raid_options")
    if options is not None and options.first("raid_name") is not None:
        report.add("NLS059", options.line, "raid_name of a drive is dropped: its name is its device", "leave it out")
    for part in drive.parts if drive.device == "/dev/md" else ():
        if not part.element.value("partition_nr"):
            report.add("NLS059", part.line, "an array of /dev/md has no number, and is left out", "add partition_nr")
    for found in drive.element.walk():
        if found.name == "chunk_size" and found.text.isdecimal():
            report.add("NLS060", found.line, f"{found.text} is taken for {found.text} times 1,000 bytes",
                       f"write {found.text}KiB")  # fmt: skip


def _groups(drives: list[Drive], report: Report) -> None:
    groups: Mapping[str, Drive] = {d.device.rpartition("/")[2]: d for d in drives if d.kind == "CT_LVM"}
    used: set[str] = set()
    for drive in drives:
        for part in drive.parts:
            if part.group:
                used.add(part.group)
                if part.group not in groups:
                    report.add("NLS062", part.line, f"no drive makes the volume group {part.group}",
                               f"add a drive /dev/{part.group} of type CT_LVM")  # fmt: skip
            if part.mount == "/boot" and drive.kind == "CT_LVM":
                report.add("NLS058", part.line, "/boot on a logical volume", "use a partition or RAID1")
    for name, drive in groups.items():
        if name not in used:
            report.add("NLS061", drive.line, f"nothing is in the volume group {name}",
                       f"<lvm_group>{name}</lvm_group> in a partition")  # fmt: skip
