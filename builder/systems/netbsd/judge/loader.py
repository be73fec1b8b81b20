"""A finished boot.cfg: what the loader would cut, drop, or wait for, and each argument on the layer that reads it."""

from __future__ import annotations

import re

from builder.model.plan import Finding
from builder.systems.netbsd.judge.reading import (
    ELSEWHERE,
    KEYS,
    MOST_BANNERS,
    MOST_BYTES,
    MOST_ENTRIES,
    NUMBERED,
    BootConfig,
    Entry,
    Setting,
    read_boot_cfg,
)
from builder.systems.netbsd.judge.report import Report

MOST_COMMAND = 79
_CONSOLES = ("pc", "auto", *(f"com{n}{kbd}" for n in range(4) for kbd in ("", "kbd")))
_COMMANDS = frozenset(
    ["boot", "pkboot", "dev", "consdev", "menu", "modules", "load", "multiboot", "vesa", "splash", "rndseed", "fs",
     "userconf", "ls", "help", "?", "quit", "prompt"]
)  # fmt: skip
# Who reads what: arguments that old documents put on the other command.
_OF_XEN = re.compile(r"(dom0_mem|dom0_max_vcpus|dom0_vcpus_pin|com[12]|loglvl|guest_loglvl|noreboot|console=com\d)\b")
_OF_DOM0 = re.compile(r"(pciback\.hide|root|bootdev|console=pc|console=xencons)\b|-[asvd]+$")
_XEN_PORT = re.compile(r"\bconsole=(?:[a-z0-9]+,)*com(\d)")


def judge_boot_cfg(text: str, where: str = "boot.cfg") -> tuple[Finding, ...]:
    """Everything that is wrong with the file, in the order of its lines."""
    report = Report(where)
    if len(text.encode()) > MOST_BYTES:
        report.add("NLN001", f"the file has {len(text.encode())} bytes", f"{MOST_BYTES} at most")
        return tuple(report.found)
    config = read_boot_cfg(text)
    _lines(text, config, report)
    for setting in config.settings:
        _setting(setting, report)
    _sums(config, report)
    for entry in config.entries:
        _entry(entry, report)
    _consoles(config, report)
    if config.entries and not any(_boots_alone(entry) for entry in config.entries):
        report.add("NLN021", "no entry starts NetBSD without Xen", "add menu=GENERIC:boot netbsd")
    return tuple(sorted(report.found, key=_line_of))


def _line_of(finding: Finding) -> int:
    _, _, line = finding.where.rpartition(":")
    return int(line) if line.isdecimal() else 0


def _lines(text: str, config: BootConfig, report: Report) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        before, mark, _ = line.partition("#")
        if mark and before.strip():
            report.add("NLN003", f"the line ends at its #: {before.strip()[:60]}", "take the # out", line=number)
    for number, line in config.ignored:
        report.add("NLN005", f"nobody reads the line {line.strip()[:60]!r}", "write KEY=value", line=number)


def _setting(setting: Setting, report: Report) -> None:
    line = setting.line
    if setting.key != setting.written:
        report.add("NLN004", f"{setting.written!r} is taken for {setting.key}", f"write {setting.key}=", line=line)
    elif setting.key not in (*KEYS, *ELSEWHERE):
        report.add("NLN006", f"nobody reads the key {setting.key!r}", f"keys: {', '.join(KEYS)}", line=line)
    if setting.key == "timeout" and not setting.value[:1].isdecimal():
        report.add("NLN010", f"with the timeout {setting.value!r} the loader waits for ever", "timeout=5", line=line)
    if setting.key == "format" and setting.value[:1].lower() not in ("a", "n", "d", "l"):
        report.add("NLN013", f"there is no format {setting.value!r}", "a, n or l", line=line)
    if setting.key == "consdev" and setting.value not in _CONSOLES:
        report.add("NLN014", f"there is no console {setting.value!r}", ", ".join(_CONSOLES), line=line)


def _sums(config: BootConfig, report: Report) -> None:
    menu = [setting for setting in config.settings if setting.key == "menu"]
    for setting in menu:
        if ":" not in setting.value:
            report.add("NLN009", f"the entry {setting.value!r} is dropped", "DESCRIPTION:COMMANDS", line=setting.line)
    whole = [setting for setting in menu if ":" in setting.value]
    if len(whole) > MOST_ENTRIES:
        report.add("NLN007", f"{len(whole)} entries, and {MOST_ENTRIES} places", "remove some")
    elif len(whole) > len(config.entries):
        report.add("NLN012", f"{len(whole)} entries by number, of which {NUMBERED} are kept", "format=l")
    banners = sum(setting.key == "banner" for setting in config.settings)
    if banners > MOST_BANNERS:
        report.add("NLN008", f"{banners} lines of banner, and {MOST_BANNERS} places", "remove some")
    if not config.entries:
        report.add("NLN015", "there is no entry", "menu=Xen:load ...;multiboot ...")
    for setting in config.settings:
        if setting.key == "default" and config.entries:
            asked = setting.value.strip()
            if asked != str(config.default + 1):
                report.add("NLN011", f"there is no entry {asked}: {config.default + 1} is taken",
                           f"1 to {len(config.entries)}", line=setting.line)  # fmt: skip


def _entry(entry: Entry, report: Report) -> None:
    loaded = False
    if not all(entry.commands or ("",)):
        report.add("NLN023", f"the entry {entry.description!r} has an empty command", "name one", line=entry.line)
    for piece in entry.pieces:
        command, size = piece.rstrip(" "), len(piece.encode())
        if size > MOST_COMMAND:
            report.add("NLN002", f"a command of {size} bytes: {command[:60]}...", f"{MOST_COMMAND} at most",
                       line=entry.line)  # fmt: skip
        verb, _, rest = command.partition(" ")
        if command and verb not in _COMMANDS:
            report.add("NLN016", f"there is no command {verb!r}", ", ".join(sorted(_COMMANDS)), line=entry.line)
        if "XEN3PAE" in command:
            report.add("NLN024", f"{rest.split(' ')[0]} is a kernel of i386", "netbsd-XEN3_DOM0.gz", line=entry.line)
        if verb == "load":
            loaded = True
            _layer(rest, _OF_XEN, "load", "multiboot", entry, report)
        elif verb == "multiboot":
            if not loaded:
                report.add("NLN017", "Xen is started before dom0's kernel is there", "load ...;multiboot ...",
                           line=entry.line)  # fmt: skip
            _layer(rest, _OF_DOM0, "multiboot", "load", entry, report)


def _layer(rest: str, others: re.Pattern[str], here: str, there: str, entry: Entry, report: Report) -> None:
    for argument in rest.split()[1:]:
        if others.match(argument):
            report.add("NLN018", f"{argument} is on {here}", f"put it on {there}", line=entry.line)


def _consoles(config: BootConfig, report: Report) -> None:
    for entry in config.entries:
        for command in entry.commands:
            port = _XEN_PORT.search(command) if command.startswith("multiboot ") else None
            if port is None:
                continue
            if port[1] == "0":
                report.add("NLN019", "Xen has no com0", "console=com1", line=entry.line)
                continue
            loader = config.consdev or ""
            if loader.startswith("com") and loader[3:4] != str(int(port[1]) - 1):
                report.add("NLN020", f"the loader is on {loader} and Xen on com{port[1]}",
                           f"consdev=com{int(port[1]) - 1}", line=entry.line)  # fmt: skip
            if any(each.startswith("load ") and "console=pc" in each.split() for each in entry.commands):
                report.add("NLN022", "Xen is on a serial port and dom0 on the screen", "leave console=pc out",
                           line=entry.line)  # fmt: skip


def _boots_alone(entry: Entry) -> bool:
    return any(command.split(" ")[0] in ("boot", "pkboot") for command in entry.commands)
