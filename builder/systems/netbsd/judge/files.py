"""The host's own files together: each by its rules, and all against the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from builder.model.plan import Finding
from builder.systems.netbsd.judge.filter import judge_npf
from builder.systems.netbsd.judge.loader import judge_boot_cfg
from builder.systems.netbsd.judge.raid import judge_raid
from builder.systems.netbsd.judge.report import Report
from builder.systems.netbsd.judge.settings import judge_rc_conf
from builder.systems.target import Target

# Interfaces that drivers make by themselves or on demand; a card's name is any other.
_MADE = re.compile(r"(bridge|vlan|vether|tap|agr|lagg|lo|npflog|xvif)[0-9]")
_DISK = re.compile(r"/dev/((?:wd|sd|ld|raid|xbd)[0-9]+)[a-p]")
_IFCONFIG = "/etc/ifconfig."


def judge_host_files(files: Mapping[str, str], target: Target | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with a host's files, by path. With a target, cards and disks are held against it."""
    found: list[Finding] = []
    disks = {disk.path for disk in target.disks} if target is not None else None
    cards = {card.device for card in target.cards} if target is not None else None
    for path, text in files.items():
        report = Report(path.lstrip("/"))
        if path == "/boot.cfg":
            found += judge_boot_cfg(text)
        elif path == "/etc/rc.conf":
            judge_rc_conf(text, files, report)
        elif path == "/etc/npf.conf":
            _cards(judge_npf(text, files, report), cards, report)
        elif path.startswith(_IFCONFIG):
            _interface(path.removeprefix(_IFCONFIG), text, cards, report)
        elif path == "/etc/fstab":
            _fstab(text, disks, report)
        elif path == "/etc/ttys":
            _ttys(text, report)
        elif re.fullmatch(r"/etc/raid[0-9]+\.conf", path):
            _disks(judge_raid(text, report), disks, report)
        found += report.found
    return tuple(found)


def _cards(named: Iterable[str], cards: set[str] | None, report: Report) -> None:
    for name in sorted(named):
        if cards is not None and name not in cards and not _MADE.match(name):
            report.add("NLN052", f"the machine has no card {name}", f"its cards: {', '.join(sorted(cards))}")


def _disks(named: Iterable[str], disks: set[str] | None, report: Report) -> None:
    for name in sorted(named):
        if disks is not None and name not in disks and not name.startswith("raid"):
            report.add("NLN071", f"the machine has no disk {name}", f"its disks: {', '.join(sorted(disks))}")


def _interface(name: str, text: str, cards: set[str] | None, report: Report) -> None:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    _cards([name], cards, report)
    if not (name.startswith("bridge") or any(line.startswith("!brconfig") for line in lines)):
        return
    if not re.fullmatch(r"bridge[0-9]+", name):
        report.add("NLN053", f"{name} is no name of a bridge", "bridge0")
    if "create" not in lines or "up" not in lines:
        missing = ", ".join(word for word in ("create", "up") if word not in lines)
        report.add("NLN050", f"the bridge lacks: {missing}", "create, !brconfig bridge0 add wm0, up")
    members = [match for line in lines for match in re.findall(r"\badd ([a-z0-9]+)", line)]
    if not members:
        report.add("NLN051", "the bridge has no member", f"!brconfig {name} add wm0")
    _cards(members, cards, report)


def _fstab(text: str, disks: set[str] | None, report: Report) -> None:
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    points = {row[1] for row in rows if len(row) > 1}
    if "/" not in points:
        report.add("NLN070", "nothing is mounted at /", "/dev/wd0a / ffs rw 1 1")
    if not any(row[0] == "kernfs" and row[1:2] == ["/kern"] for row in rows):
        report.add("NLN072", "/kern is not mounted", "kernfs /kern kernfs rw 0 0")
    _disks((match[1] for row in rows if (match := _DISK.fullmatch(row[0]))), disks, report)


def _ttys(text: str, report: Report) -> None:
    lines = [line.partition("#")[0] for line in text.splitlines()]
    if not any(re.search(r"\bgetty\b.*\bon\b", line) for line in lines):
        report.add("NLN073", "no terminal is on", 'console "/usr/libexec/getty Pc" vt100 on secure')
