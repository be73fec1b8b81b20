"""Boot records and partition tables of two media side by side, as programs tell them that are not ours.

Each judge reads both media. A field may be the same, or its numbers may have grown by what the medium grew by, in one
of the units that such records count in: that is how ends, sizes and the places of appended partitions follow. All else
is a difference, and none is known to be harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostLacks, MissingTool
from builder.lifecycle.media_proof_model import Judge
from builder.run import need, run

_TIMEOUT = 300
_UNITS = (1, 512, 2048)
# The tables of folders move and grow when a folder is added. They are no boot record, but isoinfo tells them too.
_FOLDER_TABLES = re.compile(r"path table", re.IGNORECASE)
# How sfdisk and blkid tell which file they read (the two have different names), and sfdisk's advice for editing.
_NO_FIELD = re.compile(r"^(?:DEVNAME=|device: |grain: ).*|^/.*?(?=\d+ : start=)")


@dataclass(frozen=True, slots=True)
class _Tool:
    """`statuses` are those that it ends with when it has read the medium. `only`: the lines that count, when others
    are free text. `fewer`: complaints, of which there must be no new one; their figures do not count."""

    name: str
    package: str
    before: tuple[str, ...]
    after: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (0,)
    only: str = ""
    fewer: bool = False


_TOOLS = (
    _Tool("xorriso", "xorriso", ("-indev",), ("-report_el_torito", "plain", "-report_system_area", "plain"), (0, 32)),
    _Tool("isoinfo", "genisoimage", ("-d", "-i")),
    # Without a partition table it ends with 1, for both media alike.
    _Tool("sfdisk", "fdisk", ("--dump",), statuses=(0, 1)),
    _Tool("sgdisk", "gdisk", ("-v",), statuses=tuple(range(9)), only=r"Problem|Caution|invalid|Invalid", fewer=True),
    _Tool("blkid", "util-linux", ("-p", "-o", "export"), statuses=(0, 2)),
)


def compare_records(source: Path, medium: Path, growth: int) -> tuple[Judge, ...]:
    """What each judge finds, those that are not installed named as missing. `growth`: bytes that `medium` has more.

    Raises HostLacks when none of those that read boot records is there.
    """
    judges = tuple(_judge(tool, source, medium, growth) for tool in _TOOLS)
    if all(judge.missing for judge in judges if judge.tool != "blkid"):
        packages = " ".join(tool.package for tool in _TOOLS if tool.name != "blkid")
        raise HostLacks("no program is installed that could judge the boot records", hint=f"apt-get install {packages}")
    return judges


def _judge(tool: _Tool, source: Path, medium: Path, growth: int) -> Judge:
    try:
        program = need(tool.name, why="judge boot records", package=tool.package)
    except MissingTool:
        return Judge(tool=tool.name, missing=tool.package)
    before, after = (_read(tool, program, path) for path in (source, medium))
    if tool.fewer:
        new = tuple(line for line in sorted(_kinds(after) - _kinds(before)))
        return Judge(tool=tool.name, fields=len(after), different=new)
    return compare_fields(tool.name, before, after, growth)


def _read(tool: _Tool, program: str, path: Path) -> list[str]:
    result = run(
        [program, *tool.before, path.absolute(), *tool.after], timeout=_TIMEOUT, env={"LC_ALL": "C"}, check=False
    )
    if result.returncode not in tool.statuses:
        return [f"{tool.name} ended with status {result.returncode}"]
    said = result.stdout + (result.stderr if tool.fewer else "")  # sgdisk tells broken checksums there
    # Columns are as wide as their numbers.
    lines = [" ".join(_NO_FIELD.sub("", line.strip()).split()) for line in said.splitlines()]
    return [line for line in lines if line and (not tool.only or re.search(tool.only, line))]


def _kinds(lines: Sequence[str]) -> set[str]:
    return {re.sub(r"\d+", "N", line).rstrip(".") for line in lines}


def compare_fields(tool: str, before: Sequence[str], after: Sequence[str], growth: int) -> Judge:
    """Two accounts of the same fields, line by line. `growth`: bytes that the second medium has more."""
    if len(before) != len(after):
        return Judge(tool=tool, fields=len(before), different=tuple(_lost_and_new(before, after)))
    grown, different = 0, []
    for old, new in zip(before, after, strict=True):
        if old == new or (_FOLDER_TABLES.search(old) and _shape(old) == _shape(new)):
            continue
        if _has_grown(old, new, growth):
            grown += 1
        else:
            different.append(f"{old} -> {new}")
    return Judge(tool=tool, fields=len(before), grown=grown, different=tuple(different))


def _lost_and_new(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    yield from (f"lost: {line}" for line in before if line not in after)
    yield from (f"new: {line}" for line in after if line not in before)


def _shape(line: str) -> str:
    return re.sub(r"\d+", "N", line)


def _has_grown(old: str, new: str, growth: int) -> bool:
    pairs = list(zip(re.findall(r"\d+", old), re.findall(r"\d+", new), strict=False))
    allowed = {0, *(growth // unit for unit in _UNITS)}
    return _shape(old) == _shape(new) and all(int(b) - int(a) in allowed for a, b in pairs)
