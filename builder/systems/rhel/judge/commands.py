"""Commands and options that come and go with the releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.systems.rhel.judge.reading import Command, Script
from builder.systems.rhel.judge.report import Report
from builder.systems.target import Target

_LAST = 99


@dataclass(frozen=True, slots=True)
class _Life:
    """Generations in which a word is taken. From `ignored` on it is taken with a warning and does nothing."""

    first: int = 0
    last: int = _LAST
    ignored: int = _LAST
    instead: str = ""


COMMANDS: Mapping[str, _Life] = {
    "install": _Life(last=8, ignored=8, instead="leave it out"),
    "upgrade": _Life(last=7, ignored=7, instead="leave it out"),
    "auth": _Life(last=9, ignored=8, instead="use authselect"),
    "authconfig": _Life(last=9, ignored=8, instead="use authselect"),
    "authselect": _Life(first=8, instead="use authconfig"),
    "autostep": _Life(last=9, ignored=9, instead="leave it out"),
    "device": _Life(last=8, ignored=8, instead="leave it out"),
    "deviceprobe": _Life(last=8, ignored=8, instead="leave it out"),
    "dmraid": _Life(last=8, ignored=8, instead="leave it out"),
    "multipath": _Life(last=8, ignored=8, instead="leave it out"),
    "logging": _Life(last=9, ignored=9, instead="leave it out"),
    "module": _Life(first=8, last=11, ignored=10, instead="name packages instead"),
    "sshkey": _Life(first=8, instead="write authorized_keys in %post"),
    "timesource": _Life(first=9, instead="timezone --ntpservers=..."),
    "eula": _Life(first=7, instead="leave it out"),
    "reqpart": _Life(first=7, instead="write the part lines"),
    "mount": _Life(first=8, instead="use part, raid and logvol"),
    "vnc": _Life(last=11, ignored=10, instead="leave it out; a text installation needs no screen"),
    "rdp": _Life(first=10, instead="use vnc"),
    "interactive": _Life(last=6, instead="leave it out"),
    "langsupport": _Life(last=5, instead="leave it out"),
    "mouse": _Life(last=5, instead="leave it out"),
}
OPTIONS: Mapping[tuple[str, str], _Life] = {
    ("clearpart", "disklabel"): _Life(first=7, instead="leave it out"),
    ("bootloader", "boot-drive"): _Life(first=7, instead="--driveorder"),
    ("bootloader", "upgrade"): _Life(last=8, ignored=8, instead="leave it out"),
    ("bootloader", "sdboot"): _Life(first=10, instead="leave it out"),
    ("raid", "chunksize"): _Life(first=7, instead="leave it out"),
    ("raid", "label"): _Life(first=7, instead="leave it out"),
    ("raid", "mkfsoptions"): _Life(first=7, instead="leave it out"),
    ("raid", "metadata"): _Life(first=_LAST, instead="leave it out: no release has it"),
    ("logvol", "label"): _Life(first=7, instead="leave it out"),
    ("logvol", "cachesize"): _Life(first=8, instead="leave it out"),
    ("logvol", "discards"): _Life(first=_LAST, instead="leave it out: no release has it"),
    ("timezone", "isUtc"): _Life(last=9, ignored=9, instead="--utc"),
    ("timezone", "ntpservers"): _Life(first=7, last=9, ignored=9, instead="timesource --ntp-server"),
    ("timezone", "nontp"): _Life(first=7, last=9, ignored=9, instead="timesource --ntp-disable"),
    ("keyboard", "vckeymap"): _Life(first=7, instead="keyboard us"),
    ("keyboard", "xlayouts"): _Life(first=7, instead="keyboard us"),
    ("rootpw", "lock"): _Life(first=7, instead="--iscrypted with a hash that no password has"),
    ("rootpw", "allow-ssh"): _Life(first=9, instead="leave it out"),
    ("network", "bridgeslaves"): _Life(first=7, instead="a script in %post"),
    ("network", "bridgeopts"): _Life(first=7, instead="a script in %post"),
    ("network", "interfacename"): _Life(first=7, instead="leave it out"),
    ("network", "ipv6gateway"): _Life(first=7, instead="a script in %post"),
    ("network", "teamslaves"): _Life(first=7, ignored=10, instead="bondslaves"),
    ("repo", "install"): _Life(first=7, instead="leave it out"),
    ("repo", "metalink"): _Life(first=8, instead="--baseurl"),
    ("url", "metalink"): _Life(first=8, instead="--url"),
    ("url", "mirrorlist"): _Life(first=7, instead="--url"),
    ("text", "non-interactive"): _Life(first=8, instead="text alone"),
    ("firewall", "use-system-defaults"): _Life(first=8, instead="--enabled"),
    ("reboot", "kexec"): _Life(first=8, instead="reboot alone"),
    ("%packages", "nobase"): _Life(last=7, ignored=7, instead="leave it out"),
    ("%packages", "instLangs"): _Life(last=9, ignored=9, instead="--inst-langs"),
    ("%packages", "inst-langs"): _Life(first=9, instead="--instLangs"),
    ("%packages", "excludeWeakdeps"): _Life(first=8, last=9, ignored=9, instead="--exclude-weakdeps"),
    ("%packages", "exclude-weakdeps"): _Life(first=9, instead="leave it out"),
}
# Fedora's handlers warn where Enterprise Linux 10 refuses (pykickstart's F42 to F46 classes).
_FEDORA_ONLY_WARNS = {
    ("timezone", "isUtc"), ("timezone", "ntpservers"), ("timezone", "nontp"),
    ("%packages", "instLangs"), ("%packages", "excludeWeakdeps"),
}  # fmt: skip
# Enterprise Linux 10 ignores it, Fedora does not.
_FEDORA_TAKES = {("network", "teamslaves")}
_SECTIONS = {"%pre-install": 7, "%onerror": 7}


def judge_commands(script: Script, report: Report, _target: Target | None) -> None:
    for command in script.commands:
        _life(command.name, COMMANDS.get(command.name), command, report)
        _options(command, report)
    for section in script.sections:
        first = _SECTIONS.get(section.name, 0)
        if report.generation < first:
            report.add("NLK004", section.command.line, f"{section.name} came with release {first}", "use %pre or %post")
        _options(section.command, report)


def _options(command: Command, report: Report) -> None:
    if command.name == "zerombr" and command.words:
        report.add("NLK013", command.line, f"zerombr takes no word, and {command.words[0]!r} stands there", "zerombr")
    for option in command.options:
        key = (command.name, option)
        life = OPTIONS.get(key)
        if report.fedora and key in _FEDORA_TAKES:
            continue
        if life is not None and report.fedora and key in _FEDORA_ONLY_WARNS:
            life = _Life(first=life.first, ignored=life.ignored, instead=life.instead)
        _life(f"{command.name} --{option}", life, command, report, option=True)


def _life(what: str, life: _Life | None, command: Command, report: Report, *, option: bool = False) -> None:
    if life is None:
        return
    if not life.first <= report.generation <= life.last:
        report.add("NLK011" if option else "NLK010", command.line, f"the release has no {what}", life.instead)
    elif report.generation >= life.ignored:
        report.add("NLK012", command.line, f"{what} is ignored, with a warning", life.instead)
