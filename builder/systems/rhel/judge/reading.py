"""A kickstart as commands and sections, read from its text."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from builder.systems.rhel.judge.report import Report

SECTIONS = (
    "%packages",
    "%pre",
    "%pre-install",
    "%post",
    "%onerror",
    "%traceback",
    "%addon",
    "%anaconda",
    "%certificate",
)
# Options that stand alone: pykickstart's of every release, those of sections, and of the words that auth passes on. Any
# other one takes the word after it when it has no "=".
_FLAGS = frozenset((
    "accept", "accepted", "activate", "active", "add-boot", "agree", "agreed", "all", "allow-ssh", "asprimary",
    "autoscreenshot", "autovlan", "backuppassphrase", "cdl", "composefs", "connect-to-insights", "dcb", "default",
    "disable", "disabled", "eject", "enable", "enabled", "enablemd5", "enableshadow", "encrypted", "enforcing",
    "erroronfail", "exclude-weakdeps", "excludeWeakdeps", "excludedocs", "extlinux", "force-secure-boot", "ftp",
    "grow", "hibernation", "http", "ignorebroken", "ignoredeps", "ignoremissing", "initlabel", "install",
    "interactive", "ipv4-ignore-auto-dns", "ipv6-ignore-auto-dns", "isUtc", "iscrypted", "kexec", "lba32",
    "leavebootorder", "linux", "lock", "multilib", "no-activate", "no-secure-boot", "no-signature-verification",
    "nobase", "noboot", "nochroot", "nocore", "nodefroute", "nodns", "noformat", "nogpg", "nohome", "noipv4",
    "noipv6", "nolvm", "nombr", "nomount", "non-interactive", "none", "nontp", "noswap", "notksdevice", "noverifyssl",
    "ntp-disable", "nts", "overprovisioning", "permissive", "plaintext", "recommended", "reconfig", "resize",
    "resolvedeps", "romount", "sdboot", "secure-boot", "skip", "smtp", "ssh", "sshkey", "startxonboot", "subvol",
    "thin", "thinpool", "upgrade", "use-system-defaults", "useexisting", "utc",
))  # fmt: skip
# Options that take a word with these commands and stand alone with others.
_VALUED = {("services", "enabled"), ("services", "disabled"), ("bootloader", "default")}


@dataclass(frozen=True, slots=True)
class Command:
    """`words` are what stands without --; an option that stands alone has the value True."""

    name: str
    words: tuple[str, ...]
    options: dict[str, str | bool]
    line: int

    def text(self, option: str) -> str:
        value = self.options.get(option, "")
        return value if isinstance(value, str) else ""

    def list(self, option: str) -> tuple[str, ...]:
        return tuple(part for part in self.text(option).split(",") if part)

    def number(self, option: str) -> int:
        """0 for an option that is not there or no number."""
        text = self.text(option)
        return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    command: Command
    lines: tuple[str, ...]


@dataclass(slots=True)
class Script:
    commands: list[Command] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def all(self, *names: str) -> list[Command]:
        return [command for command in self.commands if command.name in names]

    def first(self, *names: str) -> Command | None:
        return next(iter(self.all(*names)), None)


def read_kickstart(text: str, report: Report) -> Script:
    """What can be read; the rest goes to the report."""
    script = Script()
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        bare = lines[at].strip()
        at += 1
        command = _command(bare, at, report) if bare and not bare.startswith("#") else None
        if command is None:
            continue
        if command.name == "%include":
            _included(bare, at, report)
        elif command.name.startswith("%"):
            body, at = _body(command, lines, at, report)
            script.sections.append(Section(command.name, command, body))
        else:
            script.commands.append(command)
    return script


def _body(opening: Command, lines: list[str], start: int, report: Report) -> tuple[tuple[str, ...], int]:
    """The lines of a section, and where reading goes on."""
    for at in range(start, len(lines)):
        first = (lines[at].split() or [""])[0]
        if first == "%end":
            return tuple(lines[start:at]), at + 1
        if first == "%include":
            _included(lines[at].strip(), at + 1, report)
        elif first in SECTIONS:
            break
    else:
        at = len(lines)
    report.add("NLK002", opening.line, f"{opening.name} has no %end of its own", "end each section with %end")
    return tuple(lines[start:at]), at


def _included(line: str, number: int, report: Report) -> None:
    report.add("NLK003", number, f"{line[:80]} is not part of this file", "put its lines here")


def _command(text: str, line: int, report: Report) -> Command | None:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        report.add("NLK001", line, f"a quote is left open: {text[:80]}", "close it")
        return None
    plain: list[str] = []
    options: dict[str, str | bool] = {}
    rest = words[1:]
    while rest:
        word, *rest = rest
        if not word.startswith("--") or word == "--":
            plain.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if equals:
            options[name] = value
        elif (name in _FLAGS and (words[0], name) not in _VALUED) or not rest or rest[0].startswith("--"):
            options[name] = True
        else:
            options[name], *rest = rest
    return Command(words[0], tuple(plain), options, line)
