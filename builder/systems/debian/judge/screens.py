"""What keeps a question from being asked: all that the installer asks at critical priority, accounts, the end."""

from __future__ import annotations

from builder.systems.debian.judge.reading import Answers
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target

_NEEDED = (
    ("debian-installer/locale", "the language", "en_US.UTF-8"),
    ("keyboard-configuration/xkb-keymap", "the keyboard", "us"),
    ("partman-auto/method", "how to partition", "lvm"),
    ("partman/choose_partition", "whether partitioning is done", "finish"),
    ("partman/confirm_nooverwrite", "whether to write the disks", "true"),
)
_ON_USED_DISKS = (
    ("partman/confirm", "true"),
    ("partman-lvm/device_remove_lvm", "true"),
    ("partman-md/device_remove_md", "true"),
)
_OF_METHOD = {"lvm": ("partman-lvm",), "raid": ("partman-md",), "regular": (), "crypto": ("partman-lvm",)}


def judge_screens(answers: Answers, report: Report, target: Target | None) -> None:
    for name, what, hint in _NEEDED:
        if not answers.value(name):
            report.add("NLD010", 0, f"the installer would ask for {what}", f"add: d-i {name} ... {hint}")
    if answers.get("finish-install/reboot_in_progress") is None:
        report.add("NLD010", 0, "the installer would wait at its last screen",
                   "add: d-i finish-install/reboot_in_progress note")  # fmt: skip
    if target is not None:
        _machine(answers, report, target)
    for module in _OF_METHOD.get(answers.value("partman-auto/method"), ()):
        if answers.value(f"{module}/confirm_nooverwrite") != "true":
            report.add("NLD010", 0, f"the installer would ask whether to write the disks for {module}",
                       f"add: d-i {module}/confirm_nooverwrite boolean true")  # fmt: skip
    used = (
        *_ON_USED_DISKS,
        *((f"{m}/confirm", "true") for m in _OF_METHOD.get(answers.value("partman-auto/method"), ())),
    )
    for name, value in used:
        if answers.value(name) != value:
            report.add("NLD011", 0, f"the installer would ask for {name} on disks that are not empty",
                       f"add: d-i {name} boolean {value}")  # fmt: skip
    _accounts(answers, report)
    _static(answers, report)
    if (
        answers.value("debian-installer/exit/poweroff") != "true"
        and answers.value("debian-installer/exit/halt") != "true"
    ):
        report.add("NLD016", answers.line("debian-installer/exit/poweroff"),
                   "a machine that starts from its medium first would install itself again",
                   "d-i debian-installer/exit/poweroff boolean true, or start from the disk first")  # fmt: skip


def _machine(answers: Answers, report: Report, target: Target) -> None:
    if len(target.disks) > 1 and not answers.value("partman-auto/disk"):
        report.add("NLD010", 0, "the installer would ask for the disk", "add: d-i partman-auto/disk string ...")
    card = answers.value("netcfg/choose_interface")
    if not card and len(target.cards) > 1:
        report.add("NLD010", 0, "the installer would ask for the network card",
                   "add: d-i netcfg/choose_interface select ...")  # fmt: skip
    known = {"auto", *(name for each in target.cards for name in (each.device, each.mac))}
    if card and card.lower() not in known and (card.startswith("eth") or ":" in card):
        report.add("NLD059", answers.line("netcfg/choose_interface"), f"the machine has no card {card}",
                   f"auto, or one of {', '.join(each.mac for each in target.cards)}")  # fmt: skip


def _accounts(answers: Answers, report: Report) -> None:
    for name in ("passwd/root-password", "passwd/user-password"):
        if answers.value(name):
            report.add("NLD013", answers.line(name), f"{name} stands in clear", f"use {name}-crypted")
    root = answers.value("passwd/root-login") != "false"
    user = answers.value("passwd/make-user") != "false"
    crypted = answers.get("passwd/root-password-crypted")
    if crypted is not None and crypted.value == "!" and root:
        report.add("NLD014", crypted.line, "the installer takes ! for no password at all, and asks",
                   "write *, which no password has either")  # fmt: skip
    elif root and not (crypted and crypted.value) and not answers.value("passwd/root-password"):
        report.add("NLD010", 0, "the installer would ask for root's password",
                   "add: d-i passwd/root-password-crypted password ...")  # fmt: skip
    if not root and not user:
        report.add("NLD015", answers.line("passwd/root-login"), "root may not log in, and there is no other account",
                   "let one of them be")  # fmt: skip
    if user:
        wanted = {"passwd/username": "the user's name", "passwd/user-fullname": "the user's full name"}
        if not answers.value("passwd/user-password"):
            wanted["passwd/user-password-crypted"] = "the user's password"
        for name, what in wanted.items():
            if not answers.value(name):
                report.add("NLD010", 0, f"the installer would ask for {what}",
                           f"answer {name}, or passwd/make-user with false")  # fmt: skip


def _static(answers: Answers, report: Report) -> None:
    if not answers.value("netcfg/get_ipaddress"):
        return
    if answers.value("netcfg/disable_autoconfig") != "true" and answers.value("netcfg/disable_dhcp") != "true":
        report.add("NLD017", answers.line("netcfg/get_ipaddress"), "DHCP is tried first, and the address is not used",
                   "add: d-i netcfg/disable_autoconfig boolean true")  # fmt: skip
    for name in ("netcfg/get_netmask", "netcfg/get_gateway", "netcfg/confirm_static"):
        if not answers.value(name):
            report.add("NLD010", 0, f"the installer would ask for {name}", f"add: d-i {name}")
