"""Disks for an array: what they are and hold, and partitions of one size on those that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from builder.model.host import Host
from builder.model.lab import Value
from builder.model.units import MIB
from builder.procedures import raid
from builder.procedures.api import Action, Evidence, holds, run
from builder.procedures.asking import ask

# Of a disk that cannot be read wipefs says nothing, and ends well.
_MARKS = r"""
marks() {
  if ! { found=$(wipefs -n -p "$1") && dd if="$1" of=/dev/null bs=1M count=16; } 2>/dev/null; then
    echo unreadable
    return
  fi
  printf '%s\n' "$found" | sed '/^#/d' | cut -d, -f4 | sort -u | paste -sd+
}
""".lstrip()
# One line for each disk: name, size, logical sector, what it is, what uses or marks it. wipefs says what is written on
# it, lsblk what was made of it.
_LOOK = (
    _MARKS
    + """\
for disk in "$@"; do
  [ -b "$disk" ] || { echo "$disk - - - absent"; continue; }
  marks=$(marks "$disk")
  below=$(lsblk -nro TYPE "$disk" | sed 1d | sort -u | paste -sd+)
  mounted=$(lsblk -nro MOUNTPOINT "$disk" | sed '/^$/d' | paste -sd+)
  size="$(blockdev --getsize64 "$disk") $(blockdev --getss "$disk") $(lsblk -ndro TYPE "$disk")"
  echo "$disk $size ${mounted:+mounted:}$marks${marks:+ }$below"
done
"""
)

# Fails with what lies on the array: a file system, a volume group; and when it cannot be read.
EMPTY = r"""
found=$(wipefs -n -p "$1") && dd if="$1" of=/dev/null bs=1M count=16 2>/dev/null ||
  { echo "$1 cannot be read" >&2; exit 1; }
found=$(printf '%s\n' "$found" | sed '/^#/d')
[ -z "$found" ] || { echo "$1 holds: $found" >&2; exit 1; }
""".lstrip()
# Whether a disk holds nothing but zeroes: all of it is read.
ZERO = r"""
for disk in "$@"; do cmp -s -n "$(blockdev --getsize64 "$disk")" "$disk" /dev/zero || echo "$disk"; done
"""


class Disk(Value):
    """`holds` says what is on the disk or was made of it; empty for an empty disk. `kind` is disk, part or another."""

    path: str
    size: int
    sector: int
    holds: str
    kind: str = "disk"


def device(name: str) -> str:
    return name if name.startswith("/") else f"/dev/{name}"


def look_at(host: Host, paths: Sequence[str]) -> tuple[Disk, ...]:
    """The disks of these names. One that is not there holds `absent`."""
    return tuple(_disk(line) for line in ask(host, "sh", "-c", _LOOK, "sh", *paths).splitlines())


def _disk(line: str) -> Disk:
    path, size, sector, kind, *holds = line.split(maxsplit=4)
    if size == "-":
        return Disk(path=path, size=0, sector=0, holds="absent")
    return Disk(path=path, size=int(size), sector=int(sector), kind=kind, holds=" ".join(holds).strip())


Table = Literal["sfdisk", "sgdisk"]
"""The program that writes partition tables: sfdisk, or where that is too old for a GPT, as XCP-ng's is, sgdisk."""
TYPE = "A19D880F-05FC-4D3B-A006-743F0F84911E"
"""A Linux RAID partition of a GPT; sgdisk calls it fd00."""
KEPT = 2
"""MiB of a disk that no partition has: the table and what aligns the first one, and the table's copy at the end."""
_SFDISK = """\
printf 'label: gpt\\nsize=%sMiB, type=%s, name=%s\\n' "$2" "$3" "$4" | sfdisk -q "$1"
"""
# By the name that our partitions have: disks may be called otherwise than when they were made. What else was made on
# the rest of a disk stays; a table without partitions goes as well.
_CLEAR = """\
lsblk -nro PKNAME,PARTLABEL | while read -r disk name; do
  [ "$name" = "$2" ] || continue
  case $1 in
  sfdisk) sfdisk -q --delete "/dev/$disk" 1 ;;
  sgdisk) sgdisk --delete=1 "/dev/$disk" ;;
  esac || exit 1
  udevadm settle --timeout=30
  [ -n "$(lsblk -nro TYPE "/dev/$disk" | grep part)" ] || wipefs -q -a -f "/dev/$disk" || exit 1
done
"""


def label(array: str) -> str:
    """The name of an array's partitions in the disks' tables."""
    return f"nestlab-{array}"


def first(path: str) -> str:
    """What a disk's first partition is called."""
    if path.startswith("/dev/disk/"):
        return f"{path}-part1"
    return f"{path}p1" if path[-1].isdigit() else f"{path}1"


def common(sizes: Sequence[int]) -> int:
    """The whole MiB that fit on every disk; `sizes` in bytes."""
    return min(sizes) // MIB - KEPT


def partition(table: Table, disk: str, mib: int, array: str) -> Action:
    """One partition of this size on an empty disk."""
    if table == "sgdisk":
        return run("sgdisk", f"--new=1:0:+{mib}M", "--typecode=1:fd00", f"--change-name=1:{label(array)}", disk)
    return run("sh", "-c", _SFDISK, "sh", disk, str(mib), TYPE, label(array))


def clear(table: Table, array: str) -> Action:
    """Takes the array's partitions away from all disks that have one."""
    return run("sh", "-c", _CLEAR, "sh", table, label(array), seconds=120)


def disks_with(host: Host, array: str) -> tuple[str, ...]:
    """The disks that have one of the array's partitions, as they are called now."""
    rows = (line.split() for line in ask(host, "lsblk", "-nro", "PKNAME,PARTLABEL").splitlines())
    return tuple(sorted({row[0] for row in rows if row[1:] == [label(array)]}))


def barred(host: Host, config: str, disks: Sequence[str]) -> tuple[str, ...]:
    """The disks that mdadm.conf lets mdadm not look at, by no name."""
    real = (host.run(["readlink", "-f", each]).stdout.strip() for each in disks)
    return raid.barred(config, [(each, name) if name else (each,) for each, name in zip(disks, real, strict=True)])


def one_size(host: Host, members: Sequence[str]) -> Evidence:
    """That an array's partitions are of one size, by the kernel."""
    sizes = sorted({ask(host, "blockdev", "--getsize64", each).strip() for each in members})
    return holds("sizes of its partitions, in bytes", "one", ", ".join(sizes), len(sizes) == 1)
