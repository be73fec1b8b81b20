"""The installer's questions that answers usually name: their types and values, by the templates of its components.

Held against the templates of the real components in the tests.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from builder.systems.debian.judge.reading import Answer, Answers
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target


@dataclass(frozen=True, slots=True)
class Question:
    """`values` are all that it takes; `pattern` is what its reader accepts. Without either, any text will do."""

    kind: str
    values: tuple[str, ...] = ()
    pattern: str = ""


def _row(kind: str, names: str) -> dict[str, Question]:
    return {name: Question(kind) for name in names.split()}


# xkb-keymap's, which differ in three between the releases.
KEYMAPS = (
    *("al", "ara", "ba", "bd", "be", "bg", "bg(phonetic)", "br", "bt", "by", "ca", "ch", "ch(fr)", "cn", "cn(tib)"),
    *("cn(ug)", "cz", "de", "dk", "ee", "epo", "es", "es(ast)", "es(cat)", "et", "fi", "fr(latin9)", "gb", "ge", "gr"),
    *("hr", "hu", "ie", "il", "in", "in(ben)", "in(guj)", "in(guru)", "in(jhelum)", "in(kan)", "in(mal)", "in(tam)"),
    *("in(tel)", "ir", "is", "it", "jp", "kg", "kh", "kr(kr104)", "kz", "la", "latam", "lk", "lt", "lv", "mk", "mm"),
    *("nl", "no", "no(smi)", "np", "ph", "pk(snd)", "pl", "pt", "ro", "rs", "ru", "se", "si", "sk", "th", "tj", "tr"),
    *("tr(f)", "tr(ku)", "tr(ku_f)", "ua", "us", "us(dvorak)", "vn"),
)
KEYMAPS_OF = {"12": ("ca(multi)", "dz(la)"), "13": ("ca(multix)", "dz", "tw(indigenous)")}
_KEYMAP = "keyboard-configuration/xkb-keymap"

_ADDRESS = r"[0-9.]+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_HOST = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"

QUESTIONS: Mapping[str, Question] = {
    **_row("boolean", """
        anna/no_kernel_modules apt-setup/cdrom/set-double apt-setup/cdrom/set-failed apt-setup/cdrom/set-first
        apt-setup/cdrom/set-next apt-setup/contrib apt-setup/disable-cdrom-entries
        apt-setup/enable-source-repositories apt-setup/no_mirror apt-setup/non-free apt-setup/non-free-firmware
        apt-setup/use_mirror auto-install/enable base-installer/install-recommends cdrom-detect/eject
        cdrom-detect/load_media clock-setup/ntp clock-setup/utc debian-installer/allow_unauthenticated
        debian-installer/allow_unauthenticated_ssl debian-installer/exit/always_halt debian-installer/exit/halt
        debian-installer/exit/poweroff debian-installer/framebuffer finish-install/keep-consoles
        grub-installer/force-efi-extra-removable grub-installer/make_active grub-installer/only_debian
        grub-installer/skip grub-installer/update-nvram grub-installer/with_other_os hw-detect/load_firmware
        hw-detect/load_media keyboard-configuration/ctrl_alt_bksp netcfg/confirm_static netcfg/disable_autoconfig
        netcfg/disable_dhcp netcfg/enable netcfg/use_autoconfig partman-auto-lvm/no_boot
        partman-basicfilesystems/no_mount_point partman-basicfilesystems/no_swap partman-basicmethods/method_only
        partman-efi/non_efi_system partman-ext3/boot_not_bootable partman-lvm/confirm
        partman-lvm/confirm_nochanges partman-lvm/confirm_nooverwrite partman-lvm/device_remove_lvm
        partman-lvm/vgdelete_confirm partman-md/confirm partman-md/confirm_nochanges partman-md/confirm_nooverwrite
        partman-md/device_remove_md partman-partitioning/confirm_new_label
        partman-partitioning/confirm_write_new_label partman/confirm partman/confirm_nochanges
        partman/confirm_nooverwrite passwd/make-user passwd/root-login pkgsel/run_tasksel
        popularity-contest/participate preseed/interactive"""),
    **_row("string", """
        anna/retriever apt-setup/local0/comment apt-setup/local0/repository apt-setup/local0/key
        apt-setup/multiarch apt-setup/security_host base-installer/debootstrap_script base-installer/includes
        clock-setup/ntp-server debian-installer/add-kernel-opts debian-installer/country debian-installer/language
        grub-installer/bootdev mirror/codename mirror/country mirror/http/proxy mirror/udeb/suite
        netcfg/dhcp_hostname netcfg/get_domain netcfg/get_nameservers partman-auto-lvm/new_vg_name
        partman-auto-raid/recipe partman-auto/disk partman-auto/expert_recipe partman-auto/expert_recipe_file
        partman/default_filesystem partman/early_command passwd/user-default-groups passwd/user-fullname
        pkgsel/include preseed/early_command preseed/include preseed/include_command preseed/late_command
        preseed/run"""),
    **_row("password", """
        grub-installer/password grub-installer/password-crypted passwd/root-password
        passwd/root-password-again passwd/root-password-crypted passwd/user-password passwd/user-password-again
        passwd/user-password-crypted"""),
    **_row("select", """
        base-installer/kernel/image keyboard-configuration/layout keyboard-configuration/model
        keyboard-configuration/variant mirror/suite partman-auto/choose_recipe"""),
    **_row("multiselect", "anna/choose_modules tasksel/first"),
    **_row("note", "finish-install/reboot_in_progress"),
    "apt-setup/services-select": Question("multiselect", ("security", "updates", "backports")),
    "base-installer/initramfs-tools/driver-policy": Question("select", ("most", "dep")),
    "debconf/priority": Question("select", ("critical", "high", "medium", "low")),
    "debian-installer/locale": Question("select", pattern=r"C(\.UTF-8)?|[a-z]{2,3}(_[A-Z]{2})?(\.[\w-]+)?(@\w+)?"),
    _KEYMAP: Question("select", KEYMAPS),
    "mirror/http/directory": Question("string", pattern=r"/.*"),
    "mirror/http/hostname": Question("string", pattern=r"[A-Za-z0-9.-]+(:[0-9]+)?"),
    "mirror/protocol": Question("select", ("http", "https", "ftp")),
    "netcfg/choose_interface": Question("select", pattern=r"auto|[A-Za-z][\w.:-]*|([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"),
    "netcfg/dhcp_timeout": Question("string", pattern=r"[0-9]+"),
    "netcfg/get_gateway": Question("string", pattern=_ADDRESS),
    "netcfg/get_hostname": Question("string", pattern=rf"{_HOST}(\.{_HOST})*"),
    "netcfg/get_ipaddress": Question("string", pattern=_ADDRESS),
    "netcfg/get_netmask": Question("string", pattern=_ADDRESS),
    "netcfg/hostname": Question("string", pattern=rf"{_HOST}(\.{_HOST})*"),
    "netcfg/link_wait_timeout": Question("string", pattern=r"[0-9]+"),
    "netcfg/target_network_config": Question("select", ("nm_config", "ifupdown", "loopback")),
    "partman-auto-lvm/guided_size": Question(
        "string", pattern=r"max|[1-9][0-9]* *%|[0-9]+([.,][0-9]*)? *([kKmMgGtTpPeE]i?)?[bB]?"
    ),
    "partman-auto/cap-ram": Question("string", pattern=r"false|[0-9]+"),
    "partman-auto/method": Question("string", ("regular", "lvm", "raid", "crypto")),
    "partman-partitioning/choose_label": Question("select", ("msdos", "gpt")),
    "partman-partitioning/default_label": Question("string", ("msdos", "gpt")),
    "partman/choose_partition": Question("select", ("finish",)),
    "partman/mount_style": Question("select", ("traditional", "label", "uuid")),
    "passwd/user-uid": Question("string", pattern=r"[0-9]*"),
    "passwd/username": Question("string", pattern=r"[a-z][-a-z0-9_]{0,31}"),
    "pkgsel/update-policy": Question("select", ("none", "unattended-upgrades")),
    "pkgsel/upgrade": Question("select", ("none", "safe-upgrade", "full-upgrade")),
    "time/zone": Question("select", pattern=r"[A-Z][\w+-]*(/[\w+-]+){0,2}"),
}  # fmt: skip
"""By name. What is not here is found by nobody if it is misspelt."""

WITHOUT_TEMPLATE = {
    "mirror/udeb/suite", "apt-setup/local0/comment", "apt-setup/local0/repository", "apt-setup/local0/key",
    "partman-lvm/confirm_nooverwrite", "partman-md/confirm_nooverwrite",
}  # fmt: skip
"""Asked for by the installer's scripts, or made while it runs: no template has them."""
# The owner decides whether an answer is kept for the installed system.
_OWNERS = {"tasksel/first": "tasksel", "popularity-contest/participate": "popularity-contest"}
KINDS = {"boolean", "string", "password", "select", "multiselect", "note", "text", "seen"}


def judge_questions(answers: Answers, report: Report, _target: Target | None) -> None:
    seen: dict[str, int] = {}
    for answer in answers.all:
        if answer.kind == "seen":
            continue
        if answer.name in seen:
            report.add("NLD007", answer.line, f"{answer.name} has an answer in line {seen[answer.name]} already",
                       "keep one of them")  # fmt: skip
        seen[answer.name] = answer.line
        _judge(answer, report)


def _judge(answer: Answer, report: Report) -> None:
    if answer.kind not in KINDS:
        report.add("NLD005", answer.line, f"there is no type {answer.kind}", f"one of {', '.join(sorted(KINDS))}")
        return
    question = QUESTIONS.get(answer.name)
    if question is None:
        if answer.owner == "d-i":
            near = difflib.get_close_matches(answer.name, QUESTIONS, n=1)
            report.add("NLD004", answer.line, f"{answer.name} is no question that is known here",
                       f"did you mean {near[0]}?" if near else "if it is right, this does no harm")  # fmt: skip
        return
    if answer.kind != question.kind and {answer.kind, question.kind} != {"string", "select"}:
        report.add("NLD006", answer.line, f"{answer.name} is a {question.kind}, not a {answer.kind}",
                   f"write {question.kind}")  # fmt: skip
    owner = _OWNERS.get(answer.name, "d-i")
    if answer.owner != owner:
        report.add("NLD009", answer.line, f"{answer.name} belongs to {owner}, not to {answer.owner}", f"write {owner}")
    _value(answer, question, report)


def _value(answer: Answer, question: Question, report: Report) -> None:
    hint = ""
    if question.kind == "boolean":
        right, hint = answer.value in ("true", "false"), "write true or false"
    elif question.kind == "multiselect" and question.values:
        right = all(part.strip() in question.values for part in answer.value.split(",") if part.strip())
        hint = f"some of {', '.join(question.values)}, with commas between them"
    elif question.values:
        values = (*question.values, *(KEYMAPS_OF[report.release] if answer.name == _KEYMAP else ()))
        right, hint = answer.value in values, f"one of {', '.join(values)}"
    else:
        right = not question.pattern or re.fullmatch(question.pattern, answer.value) is not None
    if not right:
        report.add("NLD008", answer.line, f"{answer.name} does not take {answer.value[:60]!r}", hint)
