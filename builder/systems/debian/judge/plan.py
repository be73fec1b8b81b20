"""What the answers make of the disks: which entries of the recipe become partitions, with which numbers, and which
become volumes. By the rules of decode_recipe, create_primary_partitions and create_partitions (partman-auto)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.systems.debian.judge.reading import Answers
from builder.systems.debian.judge.recipe import Entry, read_recipe
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target

_TWO_TIB = 2 << 40


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """`partitions` are numbered as they will be on each disk. `line` is that of the recipe."""

    method: str
    label: str
    partitions: tuple[tuple[int, Entry], ...]
    volumes: tuple[Entry, ...]
    line: int


def label_of(answers: Answers, target: Target | None) -> str:
    """What the installer makes without being told: default_disk_label and create_new_label (partman-partitioning)."""
    said = answers.value("partman-partitioning/default_label")
    large = target is not None and any(disk.size > _TWO_TIB for disk in target.disks)
    if said and not (said == "msdos" and large):
        return said
    return "gpt" if large or (target is not None and target.firmware == "uefi") else "msdos"


def disk_plan(answers: Answers, report: Report, target: Target | None) -> DiskPlan | None:
    """None without a recipe of one's own. What cannot be read goes to the report."""
    recipe = answers.get("partman-auto/expert_recipe")
    if recipe is None or not recipe.value:
        return None

    def say(code: str, message: str, hint: str) -> None:
        report.add(code, recipe.line, message, hint)

    method, label = answers.value("partman-auto/method"), label_of(answers, target)
    here = [entry for entry in read_recipe(recipe.value, report.release, say) if _for_label(entry, label)]
    grouped = method in ("lvm", "crypto", "raid")
    ignored = "$lvmignore" if method in ("lvm", "crypto") else "$defaultignore"
    partitions = [entry for entry in here if ignored not in entry.flags]
    if method in ("lvm", "crypto"):
        partitions = [entry for entry in partitions if not entry.volume]
    volumes = [entry for entry in here if grouped and entry.volume and "$lvmignore" not in entry.flags]
    return DiskPlan(method, label, tuple(_numbered(partitions, label)), tuple(volumes), recipe.line)


def _for_label(entry: Entry, label: str) -> bool:
    wanted = entry.flags.get("$iflabel")
    return wanted is None or label in wanted.split()


def _numbered(partitions: Sequence[Entry], label: str) -> list[tuple[int, Entry]]:
    """On an msdos disk the first four numbers are for primary ones; the first is one even if none is asked for."""
    if label != "msdos":
        return list(enumerate(partitions, 1))
    primary = [entry for entry in partitions if "$primary" in entry.flags] or list(partitions[:1])
    others = [entry for entry in partitions if not any(entry is each for each in primary)]
    return [*enumerate(primary, 1), *enumerate(others, 5)]
