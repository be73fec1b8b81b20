"""Arrays: partman-auto-raid/recipe, by the rules of auto-raidcfg and display.d/50 to 56 (partman-auto-raid).

The text is cut at every dot, wherever it stands. A piece is level, devices, spares, file system, mount point, members
with `#` between them, then spare members; what is missing of the members is made up by the word `missing`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from builder.systems.debian.judge.disks import split_partition
from builder.systems.debian.judge.plan import disk_plan
from builder.systems.debian.judge.reading import Answers
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target

_LEAST = {"0": 2, "1": 2, "5": 3, "6": 4, "10": 2}
_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Array:
    level: str
    devices: int
    place: str
    members: tuple[str, ...]


def judge_arrays(answers: Answers, report: Report, target: Target | None) -> None:
    recipe = answers.get("partman-auto-raid/recipe")
    raid = answers.value("partman-auto/method") == "raid"
    if recipe is None or not recipe.value:
        if raid:
            report.add("NLD060", 0, "method raid has no partman-auto-raid/recipe", "1 2 0 ext4 / /dev/sda1#/dev/sdb1 .")
        return
    if not raid:
        report.add("NLD061", recipe.line, "arrays are made by method raid only", "d-i partman-auto/method string raid")
        return
    arrays = _read(recipe.value, recipe.line, report)
    owner: dict[str, str] = {}
    for array in arrays:
        _array(array, recipe.line, report)
        for member in array.members:
            if member in owner:
                report.add("NLD067", recipe.line, f"{member} is a member twice", "one array for each partition")
            owner[member] = array.place
    _members(answers, owner, recipe.line, report, target)


def _read(text: str, line: int, report: Report) -> list[Array]:
    arrays = []
    for piece in text.split("."):
        words = piece.split()
        if not words:
            continue
        if len(words) < _FIELDS or not words[0].isdecimal() or not words[1].isdecimal() or not words[2].isdecimal():
            inside = any("/dev/" in word for word in words[-1:]) or piece[:1].strip()
            if inside and len(words) < _FIELDS:
                report.add("NLD063", line, f"an array's description ends at any dot: {piece.strip()[:60]}",
                           "use names of disks without dots")  # fmt: skip
            else:
                report.add("NLD062", line, f"an array cannot be read: {piece.strip()[:60]}",
                           "level devices spares file-system mount-point /dev/sda1#/dev/sdb1 .")  # fmt: skip
            continue
        level, devices, _, _, place, members = words[:_FIELDS]
        arrays.append(Array(level, int(devices), place, tuple(part for part in members.split("#") if part)))
    return arrays


def _array(array: Array, line: int, report: Report) -> None:
    if array.level not in _LEAST:
        report.add("NLD064", line, f"there is no level {array.level}", f"one of {', '.join(_LEAST)}")
    elif array.devices < _LEAST[array.level]:
        report.add("NLD065", line, f"RAID{array.level} of {array.devices} devices", f"{_LEAST[array.level]} at least")
    if array.devices != len(array.members):
        report.add("NLD066", line, f"{array.devices} devices are announced and {len(array.members)} named: the array "
                   "would start without the others", "name as many")  # fmt: skip
    disks = Counter(split_partition(member)[0] for member in array.members)
    if max(disks.values(), default=0) > 1:
        report.add("NLD072", line, f"{array.place} has two members on one disk", "one member on each disk")
    if array.place == "/boot" and array.level != "1":
        report.add("NLD071", line, f"/boot is on RAID{array.level}", "use level 1")


def _members(answers: Answers, owner: dict[str, str], line: int, report: Report, target: Target | None) -> None:
    disks = answers.words("partman-auto/disk")
    plan = disk_plan(answers, Report(report.release), target)
    if plan is None:
        report.add("NLD042", line, "method raid has no recipe of its own for the disks",
                   "d-i partman-auto/expert_recipe string ...")  # fmt: skip
        return
    made = {number for number, entry in plan.partitions if entry.method == "raid"}
    used = set()
    for member in owner:
        disk, number = split_partition(member)
        used.add(number)
        if disk not in disks:
            report.add("NLD068", line, f"{member} is on a disk that is not laid out", f"one of {' '.join(disks)}")
        elif number not in made:
            report.add("NLD069", line, f"{member} is no RAID partition by the recipe",
                       f"RAID partitions have the numbers {', '.join(map(str, sorted(made))) or 'none'}")  # fmt: skip
    for number in sorted(made - used):
        report.add("NLD070", plan.line, f"no array uses partition {number}", "add it to one, or leave it out")
