"""The storage section of an Agama profile: names that are defined, disks that are there, what the firmware
needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from builder.systems.suse.judge.disks import BOOT_LEAST, EFI_LEAST, MIB, TWO_TIB, judge_names
from builder.systems.suse.judge.report import Report
from builder.systems.target import Target, TargetDisk, target_path

_LEAST = {"raid0": 2, "raid1": 2, "raid5": 3, "raid6": 4, "raid10": 2}
_FACTOR = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
           "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}  # fmt: skip


def judge_storage(storage: Any, report: Report, target: Target | None) -> None:
    section: Mapping[str, Any] = storage if isinstance(storage, dict) else {}
    drives, arrays = _listed(section, "drives"), _listed(section, "mdRaids")
    groups = _listed(section, "volumeGroups")
    _mounts(section, report)
    aliases = _aliases(drives, arrays)
    for number, array in enumerate(arrays):
        _array(f"storage.mdRaids[{number}]", array, aliases, report)
    for number, group in enumerate(groups):
        place = f"storage.volumeGroups[{number}]"
        volumes = _named(group, "physicalVolumes")
        if not group.get("physicalVolumes"):
            report.add(
                "NLS061", place, f"nothing is in the volume group {group.get('name')}", "physicalVolumes: [alias]"
            )
        _defined(place, volumes, aliases, report)
    boot = section.get("boot")
    if isinstance(boot, dict) and boot.get("device") is not None:
        _defined("storage.boot", [str(boot["device"])], aliases, report)
    for number, drive in enumerate(drives):
        _drive(f"storage.drives[{number}]", drive, report)
    if target is not None:
        _machine(section, report, target)


def _listed(section: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = section.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _named(device: Mapping[str, Any], key: str) -> list[str]:
    """The aliases in that list; what else may stand there, such as {"generate": ...}, is left out."""
    found = device.get(key)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _parts(device: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _listed(device, "partitions")


def _aliases(*devices: list[Mapping[str, Any]]) -> dict[str, str]:
    """Each alias with the disk that it is on; an array's own have none."""
    found: dict[str, str] = {}
    for each in devices[0]:
        disk = str(each.get("search"))
        for named in (each, *_parts(each)):
            if named.get("alias"):
                found[str(named["alias"])] = disk
    for array in devices[1]:
        if array.get("alias"):
            found[str(array["alias"])] = ""
    return found


def _defined(place: str, named: list[str], aliases: Mapping[str, str], report: Report) -> None:
    for alias in named:
        if alias not in aliases:
            report.add("NLS104", place, f"nothing has the alias {alias}", f"aliases: {', '.join(sorted(aliases))}")


def _array(place: str, array: Mapping[str, Any], aliases: Mapping[str, str], report: Report) -> None:
    level, devices = str(array.get("level")), _named(array, "devices")
    if level not in _LEAST:
        report.add("NLS055", place, f"'{level}' is no level", f"one of {', '.join(_LEAST)}")
    elif len(devices) < _LEAST[level] or (level == "raid10" and len(devices) % 2):
        report.add("NLS056", place, f"{level} of {len(devices)} members", f"{_LEAST[level]} at least, of raid10 even")
    _defined(place, devices, aliases, report)
    on = Counter(aliases[each] for each in devices if each in aliases)
    if any(count > 1 for count in on.values()):
        report.add("NLS057", place, f"{array.get('name')} has two members on one disk", "one member on each disk")
    if _path(array) == "/boot" and level != "raid1":
        report.add("NLS058", place, f"/boot on {level}", "raid1")


def _path(device: Mapping[str, Any]) -> str:
    filesystem = device.get("filesystem")
    return str(filesystem.get("path", "")) if isinstance(filesystem, dict) else ""


def _all(section: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, inner in (("drives", "partitions"), ("mdRaids", "partitions"), ("volumeGroups", "logicalVolumes")):
        for number, device in enumerate(_listed(section, name)):
            yield f"storage.{name}[{number}]", device
            for index, part in enumerate(_listed(device, inner)):
                yield f"storage.{name}[{number}].{inner}[{index}]", part


def _mounts(section: Mapping[str, Any], report: Report) -> None:
    seen: Counter[str] = Counter()
    generated = False
    for place, device in _all(section):
        path = _path(device)
        generated |= "generate" in device
        seen[path] += 1
        if path not in ("", "swap") and seen[path] == 2:
            report.add("NLS065", place, f"{path} is made twice", "keep one of them")
        least = {"/boot": BOOT_LEAST, "/boot/efi": EFI_LEAST}.get(path)
        size = _size(device.get("size"))
        if least is not None and size is not None and size < least:
            report.add("NLS070", place, f"{path} has {size // MIB} MiB", f"{least // MIB} MiB at least")
    if not seen["/"] and not generated:
        report.add("NLS050", "storage", "nothing is mounted at /", 'add a filesystem with "path": "/"')


def _size(said: Any) -> int | None:
    """Bytes of a fixed size."""
    if isinstance(said, int):
        return said
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", said.lower()) if isinstance(said, str) else None
    return int(float(match[1]) * _FACTOR[match[2]]) if match is not None and match[2] in _FACTOR else None


def _drive(place: str, drive: Mapping[str, Any], report: Report) -> None:
    parts = _parts(drive)
    if parts and not any(part.get("delete") or part.get("deleteIfNeeded") or "search" in part for part in parts):
        report.add("NLS113", place, "what is on the disk stays, and only free space is used",
                   'put {"search": "*", "delete": true} first')  # fmt: skip


def _machine(section: Mapping[str, Any], report: Report, target: Target) -> None:
    known = {disk.path: disk for disk in target.disks}
    drives, arrays = _listed(section, "drives"), _listed(section, "mdRaids")
    of_boot = {alias for array in arrays if _path(array) == "/boot" for alias in _named(array, "devices")}
    used: dict[str, str] = {}
    for number, drive in enumerate(drives):
        place, search = f"storage.drives[{number}]", drive.get("search")
        if not isinstance(search, str) or search == "*":
            continue
        disk = known.get(target_path(search))
        if disk is None:
            report.add("NLS103", place, f"the machine has no disk {search}", f"its disks: {', '.join(known)}")
            continue
        used.setdefault(disk.path, place)
        _against(place, drive, disk, report)
        if disk.sector == 4096 and target.firmware == "bios" and _starts(drive, of_boot):
            report.add("NLS072", place, f"a BIOS does not start from {search}, whose sectors have 4096 bytes",
                       "use a disk with 512e sectors, or firmware: uefi")  # fmt: skip
    judge_names(used, report, target)
    _sectors(arrays, _aliases(drives, arrays), known, report)
    boot = section.get("boot")
    if isinstance(boot, dict) and boot.get("configure") is False:
        _boot(drives, report, target)


def _against(place: str, drive: Mapping[str, Any], disk: TargetDisk, report: Report) -> None:
    total = sum(_size(part.get("size")) or 0 for part in _parts(drive))
    if total > disk.size:
        report.add("NLS067", place, f"{total // MIB} MiB of partitions on {disk.path}, of {disk.size // MIB} MiB",
                   "make them smaller")  # fmt: skip
    if drive.get("ptableType") == "msdos" and disk.size > TWO_TIB:
        report.add("NLS071", place, f"{disk.path} is larger than 2 TiB", '"ptableType": "gpt"')


def _starts(drive: Mapping[str, Any], of_boot: set[str]) -> bool:
    """Whether the firmware may start from that disk: it has a part of /boot or of GRUB. `of_boot` are the members of
    /boot's array."""
    return any(
        part.get("id") == "bios_boot" or _path(part) in ("/", "/boot") or str(part.get("alias")) in of_boot
        for part in _parts(drive)
    )


def _sectors(
    arrays: list[Mapping[str, Any]], aliases: Mapping[str, str], known: Mapping[str, TargetDisk], report: Report
) -> None:
    for number, array in enumerate(arrays):
        disks = [target_path(aliases.get(alias, "")) for alias in _named(array, "devices")]
        if len({known[disk].sector for disk in disks if disk in known}) > 1:
            report.add("NLS073", f"storage.mdRaids[{number}]",
                       f"{array.get('name')} has members with sectors of 512 and of 4096 bytes",
                       "use disks of one kind")  # fmt: skip


def _boot(drives: list[Mapping[str, Any]], report: Report, target: Target) -> None:
    parts = [part for drive in drives for part in _parts(drive)]
    there = {
        "esp": any(_path(part) == "/boot/efi" for part in parts),
        "bios_boot": any(part.get("id") == "bios_boot" for part in parts)
        or any(drive.get("ptableType") == "msdos" for drive in drives),
    }
    wanted = "esp" if target.firmware == "uefi" else "bios_boot"
    if not there[wanted]:
        report.add("NLS118", "storage", f"there is no {wanted}, and Agama is told to add nothing",
                   '"boot": {"configure": true}')  # fmt: skip
