"""RAIDframe's configuration file, restated from raidctl(8)."""

from __future__ import annotations

import re

from builder.systems.netbsd.judge.report import Report

SECTIONS = ("array", "disks", "spare", "layout", "queue", "debug")
_NEEDED = ("array", "disks", "layout", "queue")
_MEMBER = re.compile(r"/dev/((?:wd|sd|ld|dk|xbd)[0-9]+)([a-p])?")


def judge_raid(text: str, report: Report) -> set[str]:
    """What is wrong with the file; the disks of its members."""
    sections = _sections(text, report)
    for name in _NEEDED:
        if not sections.get(name):
            report.add("NLN060", f"the section {name} is missing or empty", f"START {name}")
    disks = sections.get("disks", [])
    _shape(sections, disks, report)
    return _members(disks, report)


def _sections(text: str, report: Report) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        word, _, name = bare.partition(" ")
        if word == "START":
            if name not in SECTIONS or name in found:
                report.add("NLN060", f"there is no other section {name!r}", ", ".join(SECTIONS), line=number)
            current = found.setdefault(name, [])
        elif current is None:
            report.add("NLN060", f"{bare!r} stands before every section", "START array", line=number)
        else:
            current.append((number, bare))
    return found


def _numbers(rows: list[tuple[int, str]]) -> list[str]:
    return rows[0][1].split() if rows else []


def _shape(sections: dict[str, list[tuple[int, str]]], disks: list[tuple[int, str]], report: Report) -> None:
    array, layout = sections.get("array", []), sections.get("layout", [])
    shape = _numbers(array)
    if array and not _is_shape(shape):
        report.add("NLN060", f"the array is {array[0][1]!r}", "columns and spares: 2 0", line=array[0][0])
    elif array and int(shape[-2]) != len(disks):
        report.add(
            "NLN061", f"{shape[-2]} columns and {len(disks)} disks", "one disk for each column", line=array[0][0]
        )
    words = _numbers(layout)
    if layout and not (len(words) == 4 and all(word.isdecimal() for word in words)):
        report.add("NLN060", f"the layout is {layout[0][1]!r}", "128 1 1 1", line=layout[0][0])
    elif layout and words[3] != "1":
        report.add(
            "NLN062", f"the array is of level {words[3]}", "level 1, or boot from another disk", line=layout[0][0]
        )
    queue = sections.get("queue", [])
    if queue and not re.fullmatch(r"(fifo|cvscan|sstf|scan|cscan) [0-9]+", queue[0][1]):
        report.add("NLN060", f"the queue is {queue[0][1]!r}", "fifo 100", line=queue[0][0])


def _is_shape(words: list[str]) -> bool:
    """Columns and spares. Older configurations begin with the number of rows, which is 1."""
    return all(word.isdecimal() for word in words) and (len(words) == 2 or (len(words) == 3 and words[0] == "1"))


def _members(disks: list[tuple[int, str]], report: Report) -> set[str]:
    found: set[str] = set()
    for number, path in disks:
        match = _MEMBER.fullmatch(path)
        if match is None or (match[2] is None and not match[1].startswith("dk")):
            report.add("NLN063", f"{path} is no partition", "/dev/wd0a", line=number)
        elif match[1] in found:
            report.add("NLN063", f"{match[1]} has two members", "a disk of its own for each", line=number)
        else:
            found.add(match[1])
    return found
