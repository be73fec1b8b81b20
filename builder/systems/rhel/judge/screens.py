"""What keeps a screen from staying open: everything that the installer would ask for, accounts, and the end."""

from __future__ import annotations

import re

from builder.systems.rhel.judge.reading import Command, Script
from builder.systems.rhel.judge.report import Report
from builder.systems.target import Target

_NEEDED = (
    (("lang",), "the language", "lang en_US.UTF-8"),
    (("keyboard",), "the keyboard", "keyboard us"),
    (("timezone",), "the time zone", "timezone --utc Etc/UTC"),
    (("rootpw",), "the root password", "rootpw --iscrypted ..."),
    (("bootloader",), "the boot loader", "bootloader --location=mbr"),
    (("text", "cmdline", "graphical"), "text or graphical", "text"),
    (("cdrom", "url", "nfs", "harddrive", "hmc", "liveimg", "ostreesetup", "ostreecontainer", "bootc"),
     "where the packages are", "cdrom"),
    (("poweroff", "shutdown", "halt", "reboot"), "what to do at the end", "poweroff"),
)  # fmt: skip
_DISKS = (("part", "partition", "raid", "logvol", "autopart", "mount", "btrfs", "reqpart"), "the disks", "autopart")


def judge_screens(script: Script, report: Report, _target: Target | None) -> None:
    for names, what, hint in (*_NEEDED, _DISKS):
        if not script.all(*names):
            report.add("NLK070", 0, f"the installer would ask for {what}", f"add: {hint}")
    if not any(section.name == "%packages" for section in script.sections):
        report.add("NLK070", 0, "the installer would ask for the packages", "add: %packages with @core")
    for command in script.all("interactive", "autostep"):
        report.add("NLK070", command.line, f"{command.name} makes the installer show its screens", "leave it out")
    for command in script.all("reboot"):
        report.add("NLK071", command.line, "a machine that starts from its medium first would install itself again",
                   "use poweroff, or start from the disk first")  # fmt: skip
    _passwords(script, report)
    _keys(script, report)


def _passwords(script: Script, report: Report) -> None:
    root = script.first("rootpw")
    for command in script.all("rootpw", "user"):
        password = command.text("password") if command.name == "user" else "".join(command.words[:1])
        if not password:
            continue
        if not command.options.get("iscrypted"):
            report.add("NLK072", command.line, f"{command.name}: the password stands in clear",
                       "write --iscrypted and a crypt hash")  # fmt: skip
        elif password.startswith("$y$") and report.generation <= 7:
            report.add("NLK075", command.line, f"{command.name}: hashes with $y$ came with release 8",
                       "make one with `openssl passwd -6`")  # fmt: skip
    locked = root is not None and root.options.get("lock") and report.generation >= 7
    if root is not None and locked and not any(map(_is_admin, script.all("user"))):
        report.add("NLK073", root.line, "root is locked and nobody else may administer the host",
                   "add a user of group wheel, or give root a hash that no password has")  # fmt: skip


def _is_admin(command: Command) -> bool:
    return "wheel" in command.list("groups") and not command.options.get("lock") and bool(command.text("password"))


def _keys(script: Script, report: Report) -> None:
    if report.generation > 6:
        return
    for section in script.sections:
        for line in section.lines if section.name == "%post" else ():
            if re.search(r"\b(ssh-ed25519|ecdsa-sha2-\S+|sk-ssh-\S+) AAAA", line):
                report.add("NLK074", section.command.line, "this release's ssh server knows rsa keys only",
                           "give it an ssh-rsa key")  # fmt: skip
