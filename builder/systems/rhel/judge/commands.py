"""Commands and options that come and go with the releases."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from builder.systems.rhel.judge.reading import SECTIONS, Command, Script
from builder.systems.rhel.judge.report import Report
from builder.systems.target import Target

_LAST = 99


@dataclass(frozen=True, slots=True)
class _Life:
    """Generations in which a word is taken. From `ignored` on it is taken with a warning and does nothing. `fedora` is
    what Fedora's classes say (pykickstart's F42 to F46), where they differ from Enterprise Linux's."""

    first: int = 0
    last: int = _LAST
    ignored: int = _LAST
    instead: str = ""
    fedora: _Life | None = None


_ALWAYS = _Life()
_WITH_WARNING = _Life(ignored=0)
# Commands of every release.
_COMMON = frozenset((
    "autopart", "bootloader", "cdrom", "clearpart", "cmdline", "driverdisk", "fcoe", "firewall", "firstboot",
    "graphical", "group", "halt", "harddrive", "ignoredisk", "iscsi", "iscsiname", "keyboard", "lang", "logging",
    "logvol", "mediacheck", "network", "nfs", "part", "partition", "poweroff", "raid", "reboot", "repo", "rescue",
    "rootpw", "selinux", "services", "shutdown", "skipx", "sshpw", "text", "timezone", "updates", "url", "user",
    "volgroup", "xconfig", "zerombr", "zfcp",
))  # fmt: skip
COMMANDS: Mapping[str, _Life] = {
    "install": _Life(last=8, ignored=8, instead="leave it out"),
    "upgrade": _Life(last=7, ignored=7, instead="leave it out"),
    "auth": _Life(last=9, ignored=8, instead="use authselect"),
    "authconfig": _Life(last=9, ignored=8, instead="use authselect"),
    "authselect": _Life(first=8, instead="use authconfig"),
    "bootc": _Life(first=10, instead="leave it out"),
    "btrfs": _Life(first=7, last=9, ignored=8, instead="use volgroup and logvol", fedora=_ALWAYS),
    "autostep": _Life(last=9, ignored=9, instead="leave it out"),
    "device": _Life(last=8, ignored=8, instead="leave it out"),
    "deviceprobe": _Life(last=8, ignored=8, instead="leave it out"),
    "dmraid": _Life(last=8, ignored=8, instead="leave it out"),
    "multipath": _Life(last=8, ignored=8, instead="leave it out"),
    "hmc": _Life(first=7, instead="leave it out"),
    "key": _Life(last=6, instead="leave it out"),
    "liveimg": _Life(first=7, instead="use url or cdrom"),
    "monitor": _Life(last=6, ignored=6, instead="leave it out"),
    "nvdimm": _Life(first=7, last=9, instead="leave it out", fedora=_Life(last=11, ignored=11)),
    "ostreecontainer": _Life(first=9, instead="leave it out"),
    "ostreesetup": _Life(first=7, instead="leave it out"),
    "realm": _Life(first=7, instead="a script in %post"),
    "rhsm": _Life(first=8, last=10, instead="a script in %post"),
    "snapshot": _Life(first=7, instead="leave it out"),
    "stratisfs": _Life(first=12, instead="use volgroup and logvol"),
    "stratispool": _Life(first=12, instead="use volgroup and logvol"),
    "syspurpose": _Life(first=8, last=10, instead="leave it out"),
    "unsupported_hardware": _Life(last=7, instead="leave it out"),
    "zipl": _Life(first=8, instead="leave it out"),
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
    ("logging", "level"): _Life(last=9, ignored=9, instead="leave it out"),
    ("logvol", "label"): _Life(first=7, instead="leave it out"),
    ("logvol", "cachesize"): _Life(first=8, instead="leave it out"),
    ("logvol", "discards"): _Life(first=_LAST, instead="leave it out: no release has it"),
    ("timezone", "isUtc"): _Life(last=9, ignored=9, instead="--utc", fedora=_WITH_WARNING),
    ("timezone", "ntpservers"): _Life(
        first=7, last=9, ignored=9, instead="timesource --ntp-server", fedora=_WITH_WARNING
    ),
    ("timezone", "nontp"): _Life(first=7, last=9, ignored=9, instead="timesource --ntp-disable", fedora=_WITH_WARNING),
    ("keyboard", "vckeymap"): _Life(first=7, instead="keyboard us"),
    ("keyboard", "xlayouts"): _Life(first=7, instead="keyboard us"),
    ("rootpw", "lock"): _Life(first=7, instead="--iscrypted with a hash that no password has"),
    ("rootpw", "allow-ssh"): _Life(first=9, instead="leave it out"),
    ("network", "bridgeslaves"): _Life(first=7, instead="a script in %post"),
    ("network", "bridgeopts"): _Life(first=7, instead="a script in %post"),
    ("network", "interfacename"): _Life(first=7, instead="leave it out"),
    ("network", "ipv6gateway"): _Life(first=7, instead="a script in %post"),
    ("network", "teamslaves"): _Life(first=7, ignored=10, instead="bondslaves", fedora=_ALWAYS),
    ("repo", "install"): _Life(first=7, instead="leave it out"),
    ("repo", "metalink"): _Life(first=8, instead="--baseurl"),
    ("url", "metalink"): _Life(first=8, instead="--url"),
    ("url", "mirrorlist"): _Life(first=7, instead="--url"),
    ("text", "non-interactive"): _Life(first=8, instead="text alone"),
    ("firewall", "use-system-defaults"): _Life(first=8, instead="--enabled"),
    ("reboot", "kexec"): _Life(first=8, instead="reboot alone"),
    ("%packages", "nobase"): _Life(last=7, ignored=7, instead="leave it out"),
    ("%packages", "instLangs"): _Life(last=9, ignored=9, instead="--inst-langs", fedora=_WITH_WARNING),
    ("%packages", "inst-langs"): _Life(first=9, instead="--instLangs"),
    ("%packages", "excludeWeakdeps"): _Life(
        first=8, last=9, ignored=9, instead="--exclude-weakdeps", fedora=_WITH_WARNING
    ),
    ("%packages", "exclude-weakdeps"): _Life(first=9, instead="leave it out"),
}
_SECTIONS = {"%pre-install": 7, "%onerror": 7}


def judge_commands(script: Script, report: Report, _target: Target | None) -> None:
    for command in script.commands:
        if command.name in COMMANDS:
            _life(command.name, COMMANDS[command.name], "NLK010", command, report)
        elif command.name not in _COMMON:
            _unknown(command, report)
        _options(command, report)
    for section in script.sections:
        if section.name not in SECTIONS:
            _unknown(section.command, report)
        first = _SECTIONS.get(section.name, 0)
        if report.generation < first:
            report.add("NLK004", section.command.line, f"{section.name} came with release {first}", "use %pre or %post")
        _options(section.command, report)


def _unknown(command: Command, report: Report) -> None:
    kind, known = ("section", SECTIONS) if command.name.startswith("%") else ("command", (*_COMMON, *COMMANDS))
    near = difflib.get_close_matches(command.name, sorted(known), 1)
    hint = f"did you mean {near[0]}?" if near else "leave it out"
    report.add("NLK014", command.line, f"there is no {kind} {command.name[:40]}", hint)


def _options(command: Command, report: Report) -> None:
    if command.name == "zerombr" and command.words:
        report.add("NLK013", command.line, f"zerombr takes no word, and {command.words[0]!r} stands there", "zerombr")
    for option in command.options:
        life = OPTIONS.get((command.name, option))
        if life is not None:
            _life(f"{command.name} --{option}", life, "NLK011", command, report)


def _life(what: str, life: _Life, code: str, command: Command, report: Report) -> None:
    here = life.fedora if report.fedora and life.fedora is not None else life
    if not here.first <= report.generation <= here.last:
        report.add(code, command.line, f"the release has no {what}", life.instead)
    elif report.generation >= here.ignored:
        report.add("NLK012", command.line, f"{what} is ignored, with a warning", life.instead)
