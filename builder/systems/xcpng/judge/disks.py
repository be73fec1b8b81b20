"""Disks: there, and surely those that are meant; those of a fresh installation large enough, used once, and in an order
that the installer can follow."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from builder.systems.target import Target, TargetDisk, named_by_chance
from builder.systems.xcpng.judge.report import Report

SYSTEM_LEAST = 46 << 30


def judge_disks(root: ET.Element, report: Report, target: Target | None) -> None:
    primary = next(root.iter("primary-disk"), None)
    if primary is None:
        return
    system = _path(primary)
    arrays = {_plain(raid.get("device", "")): [_path(disk) for disk in raid.iter("disk")] for raid in root.iter("raid")}
    guests = [_path(element) for element in root.iter("guest-disk")]
    storage = primary.get("guest-storage", "true").lower() in ("yes", "true")
    _once(report, system, arrays, guests)
    for device, members in arrays.items():
        if len(members) < 2:
            report.add("NLX033", "<raid>", f"{device} has {len(members)} disk", "two at least")
        if device != system:
            report.add("NLX038", "<raid>", f"the system goes to {system}, not to {device}", f"primary-disk {device}")
        elif storage and report.release == "8.3":
            report.add("NLX032", "<primary-disk>", f"storage on {device}, which is not made yet", 'guest-storage="no"')
    if target is not None:
        _target(root, report, target, (system, arrays, guests, storage))


def _once(report: Report, system: str, arrays: dict[str, list[str]], guests: list[str]) -> None:
    seen: set[str] = set()
    for disk in (system, *(member for members in arrays.values() for member in members), *guests):
        if disk in seen:
            report.add("NLX031", "<primary-disk>", f"{disk} is used twice", "name each disk once")
        seen.add(disk)


def _target(
    root: ET.Element, report: Report, target: Target, named: tuple[str, dict[str, list[str]], list[str], bool]
) -> None:
    system, arrays, guests, storage = named
    known = {_plain(disk.path): disk for disk in target.disks}
    members = [member for disks in arrays.values() for member in disks]
    for disk in (system, *members, *guests):
        if disk not in known and disk not in arrays and not disk.startswith("iscsi:"):
            tag = "<primary-disk>" if disk == system else "<guest-disk>"
            report.add("NLX030", tag, f"the machine has no disk {disk}", f"its disks: {', '.join(known)}")
    # Names are good where all disks have one role.
    for tag, role in (("<primary-disk>", arrays.get(system, [system])), ("<guest-disk>", guests)):
        _names(report, target, tag, [known[disk].path for disk in role if disk in known])
    of_system = [known[disk] for disk in arrays.get(system, [system]) if disk in known]
    for found in of_system:
        if found.size < SYSTEM_LEAST:
            report.add("NLX034", "<primary-disk>", f"{found.path} has {found.size >> 30} GiB", "46 GiB at least")
        if found.sector > 512:
            report.add("NLX035", "<primary-disk>", f"{found.path} has sectors of {found.sector} bytes", "use 512e")
    _sectors(root, report, [known[disk] for disk in guests if disk in known] + (of_system if storage else []))


def judge_taken_over(root: ET.Element, report: Report, target: Target | None) -> None:
    """The disks of an upgrade, and of a restore: of what is there already only arrays have names of their own."""
    if target is None:
        return
    known = {_plain(disk.path): disk for disk in target.disks}
    for tag in ("existing-installation", "backup-disk"):
        for disk in [_path(element) for element in root.iter(tag)]:
            if disk not in known and not disk.startswith("md"):
                report.add("NLX030", f"<{tag}>", f"the machine has no disk {disk}", f"its disks: {', '.join(known)}")
            _names(report, target, f"<{tag}>", [known[disk].path] if disk in known else [])


def _names(report: Report, target: Target, tag: str, disks: list[str]) -> None:
    for disk in named_by_chance(target, disks, in_order=True)[:1]:
        report.add("NLX039", tag, f"which of the disks is {disk} depends on which controller answers first",
                   "install.disk_names: by-id, or the paths of the machine itself in install.devices")  # fmt: skip


def _sectors(root: ET.Element, report: Report, disks: list[TargetDisk]) -> None:
    large = [disk for disk in disks if disk.sector > 512]
    # Without a word 8.3 takes what suits; the others take lvm or ext.
    kind = root.get("sr-type", root.get("srtype", "largeblock" if report.release == "8.3" else ""))
    if large and kind != "largeblock":
        told = f"{large[0].path} has sectors of 4096 bytes, which {kind or 'ext'} cannot use"
        report.add("NLX036", "<guest-disk>", told, 'sr-type="largeblock" where the release has it')
    if len({disk.sector for disk in disks}) > 1:
        report.add("NLX037", "<guest-disk>", "disks with sectors of 512 and of 4096 bytes in one storage",
                   "use disks of one kind")  # fmt: skip


def _path(element: ET.Element) -> str:
    return _plain((element.text or "").strip())


def _plain(disk: str) -> str:
    return disk.removeprefix("/dev/")
