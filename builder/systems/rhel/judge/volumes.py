"""Arrays, volume groups and what is mounted from them: every name that is used is made, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from builder.systems.rhel.judge.reading import Command, Script
from builder.systems.rhel.judge.report import Report
from builder.systems.target import Target

_LEAST = {"0": 2, "1": 2, "4": 3, "5": 3, "6": 4, "10": 4}
_NO_BTRFS = (8, 9, 10)
_BOOT_LEAST = {6: 200, 7: 200, 8: 512, 9: 512, 10: 512, 11: 1024}
_EFI_LEAST = {6: 50, 7: 50, 8: 200, 9: 200, 10: 200, 11: 500}


def judge_volumes(script: Script, report: Report, target: Target | None) -> None:
    parts = script.all("part", "partition")
    disks = {command.words[0]: command.text("ondisk") for command in parts if command.words}
    _twice(script, report)
    _arrays(script, report, disks)
    _groups(script, report)
    _mounts(script, report)
    _formats(script, report)
    if target is not None:
        sectors = {disk.path: disk.sector for disk in target.disks}
        for array in script.all("raid"):
            of_members = {sectors[disks[m]] for m in array.words[1:] if disks.get(m) in sectors}
            if len(of_members) > 1:
                report.add("NLK041", array.line, f"{array.words[0]} has members with sectors of 512 and of 4096 bytes",
                           "use disks of one kind")  # fmt: skip


def _twice(script: Script, report: Report) -> None:
    seen: Counter[str] = Counter()
    for command in script.all("part", "partition", "raid"):
        name = command.words[0] if command.words else ""
        if name.startswith(("raid.", "pv.", "/")):
            seen[name] += 1
            if seen[name] > 1:
                report.add("NLK031", command.line, f"{name} is made twice", "give each a name of its own")
    for command in script.all("logvol"):
        name = f"{command.text('vgname')}/{command.text('name')}"
        seen[name] += 1
        if seen[name] > 1:
            report.add("NLK031", command.line, f"the volume {name} is made twice", "give each a name of its own")


def _arrays(script: Script, report: Report, disks: Mapping[str, str]) -> None:
    owner: dict[str, str] = {}
    for array in script.all("raid"):
        if not array.words or "useexisting" in array.options or "noformat" in array.options:
            continue
        place, members = array.words[0], array.words[1:]
        level = array.text("level").upper().removeprefix("RAID")
        for member in members:
            if member not in disks:
                report.add("NLK030", array.line, f"no line makes {member}", f"part {member} --size=... --ondisk=...")
            if member in owner:
                report.add("NLK032", array.line, f"{member} is in {owner[member]} already", "one array for each member")
            owner[member] = place
        on = [disks[member] for member in dict.fromkeys(members) if disks.get(member)]
        if len(set(on)) < len(on):
            report.add("NLK038", array.line, f"{place} has two members on one disk", "one member on each disk")
        spares = array.number("spares")
        if len(members) - spares < _LEAST.get(level, 0):
            report.add(
                "NLK034", array.line, f"RAID{level} of {len(members) - spares} members", f"{_LEAST[level]} at least"
            )
        elif level == "10" and (len(members) - spares) % 2:
            report.add("NLK035", array.line, f"RAID10 over {len(members) - spares} disks", "use an even number")
        _array_of(place, level, array, report)
    for member in disks:
        if member.startswith("raid.") and member not in owner:
            line = next(c.line for c in script.all("part", "partition") if c.words[:1] == (member,))
            report.add("NLK033", line, f"no array uses {member}", "add it to an array, or leave it out")


def _array_of(place: str, level: str, array: Command, report: Report) -> None:
    if place == "/boot" and level != "1":
        report.add("NLK036", array.line, f"/boot on RAID{level}", "--level=RAID1")
    if place == "/boot/efi":
        if report.generation < 7:
            report.add("NLK029", array.line, "/boot/efi is on an array", "part /boot/efi on the first disk")
        elif level != "1" or array.text("fstype") != "efi":
            report.add("NLK028", array.line, "/boot/efi is on an array other than RAID1 of format efi",
                       "--level=RAID1 --fstype=efi")  # fmt: skip
    elif array.text("fstype") == "efi":
        report.add("NLK028", array.line, "an array of format efi is not at /boot/efi", "raid /boot/efi")
    if place.startswith("pv.") and array.text("fstype"):
        report.add("NLK039", array.line, f"--fstype of {place} is ignored", "leave it out")
    device = array.text("device")
    if report.generation < 7 and not device.removeprefix("md").isdecimal():
        report.add("NLK040", array.line, f"an array of this release cannot be called {device}", "--device=md0")


def _groups(script: Script, report: Report) -> None:
    volumes = {
        c.words[0]: c for c in script.all("part", "partition", "raid") if c.words and c.words[0].startswith("pv.")
    }
    groups: dict[str, Command] = {}
    used: set[str] = set()
    for group in script.all("volgroup"):
        if not group.words:
            continue
        groups[group.words[0]] = group
        for volume in group.words[1:]:
            used.add(volume)
            if volume not in volumes:
                report.add("NLK050", group.line, f"no line makes {volume}", f"part {volume} or raid {volume}")
        size = group.number("pesize")
        if "pesize" in group.options and (size == 0 or size & (size - 1)):
            report.add(
                "NLK053", group.line, f"an extent of {group.options['pesize']} KiB", "a power of two: 4096, 65536"
            )
    for name, command in volumes.items():
        if name not in used:
            report.add("NLK052", command.line, f"no volume group uses {name}", f"volgroup vg {name}")
    for logical in script.all("logvol"):
        if logical.text("vgname") not in groups and "noformat" not in logical.options:
            report.add("NLK051", logical.line, f"no line makes the volume group {logical.text('vgname')}",
                       f"volgroups: {', '.join(groups) or 'none'}")  # fmt: skip


def _formats(script: Script, report: Report) -> None:
    for command in script.all("part", "partition", "raid", "logvol", "autopart"):
        kind = command.text("fstype") or command.text("type")
        if kind == "btrfs" and report.generation in _NO_BTRFS:
            report.add("NLK044", command.line, "the release has no btrfs", "xfs or ext4")
        keeps = {"noformat", "useexisting"} & set(command.options)
        if command.name in ("part", "partition") and keeps and not {"onpart", "usepart"} & set(command.options):
            report.add("NLK043", command.line, f"--{min(keeps)} does not say which partition is kept", "--onpart=sda1")


def _mounts(script: Script, report: Report) -> None:
    if script.all("autopart", "mount"):
        return
    where = {c.words[0]: c for c in script.all("part", "partition", "raid", "logvol", "btrfs") if c.words}
    sizes = {c.words[0]: c.number("size") for c in script.all("part", "partition") if c.words}
    if "/" not in where:
        report.add("NLK054", 0, "nothing is mounted at /", "add a line for /")
    elif where["/"].name == "logvol" and "/boot" not in where and not script.all("reqpart"):
        report.add("NLK057", where["/"].line, "/ is on a logical volume, and there is no /boot", "add a line for /boot")
    if "/boot" in where and where["/boot"].name == "logvol":
        report.add("NLK037", where["/boot"].line, "/boot is on a logical volume", "use a partition or RAID1")
    for place, code, least in (("/boot", "NLK055", _BOOT_LEAST), ("/boot/efi", "NLK056", _EFI_LEAST)):
        command = where.get(place)
        if command is None:
            continue
        of_members = [sizes[member] for member in command.words[1:] if member in sizes]
        size = min(of_members) if command.name == "raid" and of_members else command.number("size")
        wanted = least[min(report.generation, max(least))]
        if 0 < size < wanted and "grow" not in command.options:
            report.add(code, command.line, f"{place} has {size} MiB", f"{wanted} MiB at least")
