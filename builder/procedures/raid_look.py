"""What a Linux host says of its arrays and of the disks below them, read from sysfs: the same on every kernel that Xen
hosts have, whatever tools there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.model.host import Host
from builder.procedures.asking import ask

# Disks are known by their serial numbers: names are given by chance, and another time differently.
LOOK = r"""
cd "$1/block" || exit
for name in *; do
  [ -d "$name/md" ] || continue
  case $(cat "$name/md/array_state") in inactive | clear) kind=idle ;; *) kind=array ;; esac
  action=$(cat "$name/md/sync_action" 2>/dev/null) || action=none
  missing=$(cat "$name/md/degraded" 2>/dev/null) || missing=0
  echo "$kind $name $(cat "$name/md/raid_disks") $missing $action $(cat "$name/md/level")"
  for member in "$name"/md/dev-*; do
    [ ! -e "$member/state" ] || echo "member $name ${member##*/dev-} $(cat "$member/state")"
  done
done
for name in *; do
  serial=$(cat "$name/serial" 2>/dev/null || cat "$name/device/serial" 2>/dev/null ||
    tail -c +5 "$name/device/vpd_pg80" 2>/dev/null | tr -d '\000')
  [ -n "$serial" ] || continue
  echo "disk $name $serial"
  for part in "$name/$name"*; do
    [ ! -e "$part/partition" ] || echo "part ${part##*/} $name $(cat "$part/partition")"
  done
done
"""


@dataclass(frozen=True, slots=True)
class Array:
    """`disks` is how many it is made for, `missing` how many of these are not there or not built up. `action` is what
    goes on: idle, resync, recover, check; none for a level that has nothing to build up. `members` are states of
    partitions, by their names now."""

    name: str
    level: str
    disks: int
    missing: int
    action: str
    active: bool
    members: Mapping[str, str]

    @property
    def whole(self) -> bool:
        """Every disk is there and has all of it."""
        built = sum("in_sync" in state.split(",") for state in self.members.values())
        return self.active and not self.missing and built == self.disks

    def __str__(self) -> str:
        doing = "" if self.action in ("idle", "none") else f", {self.action}"
        return f"{self.disks - self.missing} of {self.disks}{doing}"


@dataclass(frozen=True, slots=True)
class Seen:
    """`arrays` by name, `disks` are names by serial number, `parts` the disk's name and the partition's number by the
    partition's name."""

    arrays: Mapping[str, Array]
    disks: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def numbers(self, serial: str) -> dict[str, int]:
        """Of each active array that the disk has a part in, the partition's number; 0 is the whole disk."""
        name = self.disks.get(serial)
        found = {}
        for array in (each for each in self.arrays.values() if each.active):
            for member in array.members:
                disk, number = self.parts.get(member, (member, 0))
                if disk == name:
                    found[array.name] = number
        return found

    def part(self, serial: str, number: int) -> str | None:
        """The name of a partition now; None while it is not there."""
        disk = self.disks.get(serial)
        if number == 0:
            return disk
        return next((name for name, place in self.parts.items() if place == (disk, number)), None)


def look(host: Host, *, timeout: float = 60) -> Seen:
    """Raises LabError, TimedOut."""
    return read(ask(host, "sh", "-c", LOOK, "sh", "/sys", timeout=timeout))


def read(text: str) -> Seen:
    """What LOOK printed."""
    arrays: dict[str, list[str]] = {}
    members: dict[str, dict[str, str]] = {}
    disks: dict[str, str] = {}
    parts: dict[str, tuple[str, int]] = {}
    for kind, name, *rest in (line.split(maxsplit=2) for line in text.splitlines()):
        words = rest[0].split() if rest else []
        if kind in ("array", "idle"):
            arrays[name] = [kind, *words]
        elif kind == "member":
            members.setdefault(name, {})[words[0]] = " ".join(words[1:])
        elif kind == "disk":
            disks[" ".join(words)] = name
        elif kind == "part":
            parts[name] = (words[0], int(words[1]))
    made = {
        name: Array(name, " ".join(level), int(count), int(missing), action, kind == "array", members.get(name, {}))
        for name, (kind, count, missing, action, *level) in arrays.items()
    }
    return Seen(made, disks, parts)
