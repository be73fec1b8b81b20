"""What must have come of a case, written down apart from the generator, held against what the machine reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.model.units import GIB, MIB
from ci.kickstart_storage.cases import Case

Report = Mapping[str, Any]

BOOT = {"f45": 2048}
"""MiB of /boot; 1024 where nothing is said."""
EFI = 600
SWAP = 4 * GIB
EXTENT = 64 * MIB
CHUNK = {10: 512 * 1024, 1: 0}
SECTOR = 512
# /usr/share/uapi: types of GPT partitions, in capitals as sfdisk prints them
BIOSBOOT = "21686148-6449-6E6F-744E-656564454649"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_SLACK = 2 * MIB
"""What a partition table and alignment to a MiB may leave at the end of a disk."""
_SUPERBLOCK = 130 * MIB
"""What an array may take from its members: at most 128 MiB in front of the data, and bits at the end."""


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    wanted: Any
    found: Any

    @property
    def ok(self) -> bool:
        return bool(self.wanted == self.found)


def judge(case: Case, before: Report, after: Report) -> list[Check]:
    return [*_tables(case, before), *_arrays(case, before), *_volumes(case, before), *_formats(case, before),
            *_restart(before, after)]  # fmt: skip


def _tables(case: Case, report: Report) -> Iterator[Check]:
    yield Check("number of disks", case.disks, len(report["disks"]))
    for number, (path, table) in enumerate(report["disks"].items()):
        yield Check(f"{path}: partition table", {"msdos": "dos"}.get(case.table, case.table), table["label"])
        parts = table["partitions"]
        sizes = sorted(part["size"] * SECTOR // MIB for part in parts)
        yield Check(f"{path}: MiB of its partitions but the last", sorted(_small(case, number)), sizes[:-1])
        last = max(parts, key=lambda part: int(part["start"]))
        left = (table["sectors"] - last["start"] - last["size"]) * SECTOR
        yield Check(f"{path}: the last partition goes to the end", True, left <= _SLACK)
        yield Check(f"{path}: the last partition is the largest", True, last["size"] == max(p["size"] for p in parts))
        types = [part["type"] for part in parts]
        yield Check(f"{path}: biosboot partitions", int(_biosboot(case)), types.count(BIOSBOOT))
        alone = case.firmware == "uefi" and case.level is None
        yield Check(f"{path}: plain EFI system partitions", int(alone), types.count(ESP))
        aligned = all(part["start"] * SECTOR % MIB == 0 for part in parts)
        yield Check(f"{path}: partitions begin at whole MiB", True, aligned)


def _biosboot(case: Case) -> bool:
    return case.firmware == "bios" and case.table == "gpt"


def _small(case: Case, number: int) -> Iterator[int]:
    """Sizes of what stands before the large partition; a single disk is the first."""
    if _biosboot(case):
        yield 1
    if case.firmware == "uefi" and (case.level is not None or number == 0):
        yield EFI
    yield BOOT.get(case.release, 1024)


def _arrays(case: Case, report: Report) -> Iterator[Check]:
    arrays = report["arrays"]
    wanted: dict[str, tuple[str, str, int]] = {}
    if case.level is not None:
        wanted = {"boot": ("raid1", "1.2", 0), "pv00": (f"raid{case.level}", "1.2", CHUNK[case.level])}
        if case.firmware == "uefi":
            wanted["boot_efi"] = ("raid1", "1.0", 0)
    yield Check("arrays", sorted(wanted), sorted(arrays))
    for name, (level, metadata, chunk) in wanted.items():
        array = arrays.get(name, {"export": {}})
        export = array["export"]
        yield Check(f"{name}: level", level, export.get("MD_LEVEL"))
        yield Check(f"{name}: metadata", metadata, export.get("MD_METADATA"))
        yield Check(f"{name}: chunk", chunk, array.get("chunk"))
        yield Check(f"{name}: missing members", 0, array.get("degraded"))
        members = [value for key, value in export.items() if key.startswith("MD_DEVICE_") and key.endswith("_DEV")]
        disks = {_disk_of(member) for member in members}
        yield Check(f"{name}: one member on each disk", (case.disks, case.disks), (len(members), len(disks)))
        versions = {report["devices"].get(member, {}).get("VERSION") for member in members}
        yield Check(f"{name}: version in the members themselves", {metadata}, versions)
        sizes = [int(report["devices"][member]["PART_ENTRY_SIZE"]) * SECTOR for member in members]
        copies = len(members) // 2 if level == "raid10" else 1
        lost = min(sizes, default=0) * copies - array.get("size", 0)
        yield Check(f"{name}: all of its members is used", True, 0 <= lost <= _SUPERBLOCK * copies)


def _disk_of(partition: str) -> str:
    return partition.rstrip("0123456789")


def _volumes(case: Case, report: Report) -> Iterator[Check]:
    lvm = report["lvm"]
    yield Check("volume groups", ["vg"], [group["vg_name"] for group in lvm["vgs"]])
    group, volume = lvm["vgs"][0], lvm["pvs"][0]
    yield Check("extent", str(EXTENT), group["vg_extent_size"])
    yield Check("free extents: root goes to the end", "0", group["vg_free_count"])
    yield Check("physical volumes", 1, len(lvm["pvs"]))
    yield Check("physical volume", _below(case, report), volume["pv_name"])
    below = (
        report["arrays"]["pv00"]["size"]
        if case.level is not None
        else int(report["devices"][volume["pv_name"]]["PART_ENTRY_SIZE"]) * SECTOR
    )
    unused = below - int(volume["pv_pe_count"]) * EXTENT
    yield Check("the physical volume leaves less than two extents", True, 0 <= unused < 2 * EXTENT)
    sizes = {row["lv_name"]: int(row["lv_size"]) for row in lvm["lvs"]}
    root = int(group["vg_extent_count"]) * EXTENT - SWAP
    yield Check("logical volumes", {"SystemSwap": SWAP, "SystemRoot": root}, sizes)


def _below(case: Case, report: Report) -> str:
    """The device under the volume group."""
    if case.level is not None:
        return str(report["arrays"]["pv00"]["device"])
    (table,) = report["disks"].values()
    return str(max(table["partitions"], key=lambda part: int(part["size"]))["node"])


def _formats(case: Case, report: Report) -> Iterator[Check]:
    devices = report["devices"]
    group = "/dev/mapper/vg-System"
    yield Check("swap", "swap", devices.get(f"{group}Swap", {}).get("TYPE"))
    yield Check("/", "xfs", devices.get(f"{group}Root", {}).get("TYPE"))
    if case.level is not None:
        places = {"/boot": report["arrays"]["boot"]["device"]}
        if case.firmware == "uefi":
            places["/boot/efi"] = report["arrays"]["boot_efi"]["device"]
    else:
        (table,) = report["disks"].values()
        sizes = {part["size"] * SECTOR // MIB: part["node"] for part in table["partitions"]}
        places = {"/boot": sizes.get(BOOT.get(case.release, 1024))}
        if case.firmware == "uefi":
            places["/boot/efi"] = sizes.get(EFI)
    for mountpoint, kind in (("/boot", "xfs"), ("/boot/efi", "vfat")):
        if mountpoint in places:
            yield Check(mountpoint, kind, devices.get(places[mountpoint], {}).get("TYPE"))


def _restart(before: Report, after: Report) -> Iterator[Check]:
    """Everything is found again by its identity."""
    for name in before["arrays"]:
        again = after["arrays"].get(name, {"export": {}})
        yield Check(
            f"{name} after a restart: identity",
            before["arrays"][name]["export"]["MD_UUID"],
            again["export"].get("MD_UUID"),
        )
        yield Check(f"{name} after a restart: missing members", 0, again.get("degraded"))
    for kind in ("vgs", "lvs"):
        yield Check(f"{kind} after a restart: identities", _identities(kind, before), _identities(kind, after))
    yield Check("volumes after a restart: active", {"active"}, {row["lv_active"] for row in after["lvm"]["lvs"]})
    yield Check("file systems after a restart: identities", _file_systems(before), _file_systems(after))


def _identities(kind: str, report: Report) -> dict[str, str]:
    one = kind.removesuffix("s")
    return {row[f"{one}_name"]: row[f"{one}_uuid"] for row in report["lvm"][kind]}


def _file_systems(report: Report) -> list[str]:
    return sorted(pairs["UUID"] for pairs in report["devices"].values() if pairs.get("USAGE") == "filesystem")
