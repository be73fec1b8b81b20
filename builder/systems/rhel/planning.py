"""What is decided for a host that anaconda installs: its kickstart, and how it gets to the installer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.plan import Answer, BootArgs, MediaEdit, Quirk, SystemPlan
from builder.render.arguments import KernelArguments
from builder.render.templates import Templates
from builder.systems.fitness import refuse_uninstallable, stop_at_errors
from builder.systems.machine import machine_of
from builder.systems.pieces import refuse_services, refuse_users
from builder.systems.rhel.judge import judge_arguments, judge_host, judge_kickstart
from builder.systems.rhel.network import network_lines
from builder.systems.rhel.options import Hook, RhelInstall
from builder.systems.rhel.phases import boots
from builder.systems.rhel.releases import RELEASES, Release
from builder.systems.rhel.storage import Storage, storage_lines, storage_of
from builder.systems.rhel.traits import TRAITS
from builder.systems.rhel.words import comma, command

CONSOLES = ("console=tty0", "console=ttyS0,115200n8")
# Taken off every line before ours are put on: what is there already is not put on again, and the order counts.
REMOVED = ("console=", "ks=", "inst.ks=")
NO_PASSWORD = "*"  # noqa: S105 - no password has this hash; anaconda takes it as set, and asks nothing
ANSWER = "ks.cfg"

_QUIRKS: Mapping[str, tuple[Quirk, tuple[str, ...]]] = {
    "x9scm-nic": (
        Quirk(
            name="x9scm-nic",
            reason="Supermicro X9SCM and X9SCL lose their 82574L network cards under load (NETDEV WATCHDOG: transmit "
            "queue timed out) while PCIe power saving is on",
            source="inferred: the known report leaves its parameter out, and a like one for an Intel card on CentOS 6 "
            "names this one",
        ),
        ("pcie_aspm=off",),
    ),
}
_BY_NAME = Quirk(
    name="card-names",
    reason="bonds, bridges, VLANs and release 6 name cards in the kickstart, so cards are called eth0, eth1, ... in "
    "the order of their slots",
    source="anaconda: a hardware address stands for a card alone (modules/network/nm_client.py)",
)
# A line of a script that a kickstart reader takes for its own: pykickstart's parser, _readSection.
_SECTION = re.compile(
    r"^\s*%(?:end|include|ksappend|pre|pre-install|post|onerror|traceback|packages|addon|anaconda|certificate)(?:\s|$)"
)


@dataclass(frozen=True, slots=True)
class _Script:
    """A user's script as a section: `flags` begin with a space."""

    flags: str
    text: str


def plan(node: Node, templates: Templates) -> SystemPlan:
    """See `Rhel.plan`."""
    refuse_uninstallable(node, TRAITS)
    release = RELEASES[node.release]
    options = RhelInstall.model_validate(node.install)
    _refuse(node, options, release)
    machine = machine_of(node, options.disk_names, options.devices)
    network, by_name = network_lines(node, options, release, machine)
    storage = storage_of(node, options, release, machine)
    kernel = _host_arguments(node, options, release, by_name=by_name)
    text = templates.render(
        ANSWER, **_values(node, options, release), layout=storage.title, network=network,
        bootloader=_bootloader(storage, kernel, release), storage=storage_lines(storage, options, release, machine),
    )  # fmt: skip
    delivery = options.delivery or ("volume" if release.prefixed else "initrd")
    installer = _installer_arguments(delivery, options, release, by_name=by_name)
    findings = (
        *judge_host(node),
        *judge_kickstart(text, release.name, machine),
        *judge_arguments(installer, release.name),
    )
    stop_at_errors(node, "the kickstart", findings)
    quirks = [_QUIRKS[name][0] for name in options.quirks] + ([_BY_NAME] if by_name else [])
    return SystemPlan(
        system=TRAITS.name,
        release=node.release,
        answers=(Answer(name=ANSWER, content=text, delivery=delivery),),
        media_edits=(MediaEdit(kind="arguments", arguments=installer, remove=REMOVED),),
        boot_args=BootArgs(kernel=kernel),
        boots=boots(release, options.end),
        quirks=tuple(quirks),
        findings=findings,
        volume_label=VOLUME if release.prefixed else VOLUME_6,
    )


def _bootloader(storage: Storage, kernel: tuple[str, ...], release: Release) -> str:
    return command(
        "bootloader", location="mbr", append=KernelArguments(kernel).join(),
        driveorder=None if release.grub2 else comma(disk.path for disk in storage.disks),
        boot_drive=storage.disks[0].path if release.grub2 else None,
    )  # fmt: skip


def _values(node: Node, options: RhelInstall, release: Release) -> dict[str, Any]:
    """What the template is given beside network and disks."""
    keys = release.ssh_key_command
    return {
        "title": f"{options.hostname or node.name}: {release.title}",
        "release": release,
        "source": command("url", url=options.url) if options.url else "cdrom",
        "repositories": [command("repo", name=each.name, baseurl=each.url) for each in options.repositories],
        "language": options.language,
        "keyboard": options.keyboard,
        "timezone": command("timezone", options.timezone, utc=True,
                            ntpservers=comma(options.ntp) if release.ntp == "timezone" else None),
        "time_servers": [command("timesource", ntp_server=server) for server in options.ntp]
        if release.ntp == "timesource" else [],
        "ntp_by_script": options.ntp if release.ntp == "script" else (),
        "root_password": options.root_password or NO_PASSWORD,
        "accounts": list(_accounts(options, release)),
        "root_keys": () if keys else options.root_keys,
        "users_by_script": [] if keys else [user for user in options.users if user.keys],
        "administrators": [user.name for user in options.users if user.admin],
        "selinux": options.selinux,
        "firewall": options.firewall,
        "services": _services(options, release),
        "trim_timer": options.trim == "timer",
        "end": options.end,
        "packages": _packages(options, release),
        "pre": _scripts(options.pre, "pre", release),
        "pre_install": _scripts(options.pre_install, "pre-install", release),
        "post": _scripts(options.post, "post", release),
        "volume": VOLUME if release.prefixed else VOLUME_6,
    }  # fmt: skip


VOLUME = "OEMDRV"
"""Label of the volume with ks.cfg and `seed/`: anaconda looks for a kickstart there by itself."""
VOLUME_6 = "NESTLAB"
"""The same for release 6, which takes OEMDRV for a disk of drivers."""


def _accounts(options: RhelInstall, release: Release) -> Iterator[str]:
    for user in options.users:
        groups = (*(("wheel",) if user.admin and "wheel" not in user.groups else ()), *user.groups)
        yield command("user", name=user.name, groups=comma(groups), password=user.password,
                      iscrypted=user.password is not None, lock=user.password is None)  # fmt: skip
    if release.ssh_key_command:
        owners = [("root", options.root_keys), *((user.name, user.keys) for user in options.users)]
        for name, keys in owners:
            for key in keys:
                yield command("sshkey", key, username=name)


def _services(options: RhelInstall, release: Release) -> str | None:
    on = (*options.services_on, *(("ntpd",) if release.ntp == "script" and options.ntp else ()))
    if not on and not options.services_off:
        return None
    return command("services", enabled=comma(on), disabled=comma(options.services_off))


def _packages(options: RhelInstall, release: Release) -> tuple[str, ...]:
    more = ("ntp",) if release.ntp == "script" and options.ntp else ()
    sudo = ("sudo",) if any(user.admin for user in options.users) else ()
    return (*options.packages, *(each for each in (*more, *sudo) if each not in options.packages))


def _scripts(hooks: Sequence[Hook], section: str, release: Release) -> list[_Script]:
    made = []
    for number, hook in enumerate(hooks, 1):
        outside = section == "post" and not hook.chroot
        folder = "/tmp" if section != "post" else f"{release.sysroot}/root" if outside else "/root"  # noqa: S108
        flags = command(
            "", interpreter=hook.interpreter, nochroot=outside, erroronfail=hook.fatal,
            log=f"{folder}/nestlab-{section}-{number}.log",
        )  # fmt: skip
        made.append(_Script(flags, hook.file.content.removesuffix("\n")))
    return made


def _names(release: Release, *, by_name: bool) -> tuple[str, ...]:
    """What makes cards be called eth0, eth1, ...: releases 6 and 7 have biosdevname, and all but 6 systemd's names."""
    if not by_name:
        return ()
    return (
        *(("net.ifnames=0",) if release.systemd else ()),
        *(("biosdevname=0",) if release.generation <= 7 else ()),
    )


def _host_arguments(node: Node, options: RhelInstall, release: Release, *, by_name: bool) -> tuple[str, ...]:
    """The installed kernel's. The user's own come last."""
    quirks = [argument for name in options.quirks for argument in _QUIRKS[name][1]]
    return (*CONSOLES, *_names(release, by_name=by_name), *quirks, *node.kernel.arguments)


def _installer_arguments(delivery: str, options: RhelInstall, release: Release, *, by_name: bool) -> tuple[str, ...]:
    places = {"volume": f"hd:LABEL={VOLUME}:/{ANSWER}", "initrd": f"file:/{ANSWER}", "iso": f"cdrom:/{ANSWER}"}
    quirks = [argument for name in options.quirks for argument in _QUIRKS[name][1]]
    prefix = "inst." if release.prefixed else ""
    return (
        f"{prefix}ks={places[delivery]}",
        f"{prefix}text",
        *(("inst.notmux",) if release.plain_console else ()),
        *(("ksdevice=eth0",) if not release.prefixed else ()),
        *_names(release, by_name=by_name),
        *quirks,
        *CONSOLES,
    )


def _refuse(node: Node, options: RhelInstall, release: Release) -> None:
    what = f"{node.name}: install"
    if options.delivery == "volume" and not release.prefixed:
        raise LabError(f"{what}.delivery: {release.title} reads no kickstart from a volume by its label",
                       hint="leave delivery out, or write initrd or iso")  # fmt: skip
    if options.trim == "timer" and not release.systemd:
        raise LabError(f"{what}.trim: {release.title} has no fstrim.timer", hint="write discard or off")
    if options.pre_install and not release.pre_install:
        raise LabError(f"{what}.pre_install: {release.title} has no such stage", hint="use pre or post")
    secrets: list[tuple[str, str | None]] = [("root", options.root_password)]
    secrets += [(user.name, user.password) for user in options.users]
    for name, password in secrets:
        if password is not None and password.startswith("$y$") and not release.yescrypt:
            raise LabError(f"{what}: {release.title} does not know the hash of {name}'s password ($y$)",
                           hint="make one with `openssl passwd -6`")  # fmt: skip
    refuse_users(options.users, what)
    refuse_services(options.services_on, options.services_off, what)
    for section, hooks in (("pre", options.pre), ("pre_install", options.pre_install), ("post", options.post)):
        for hook in hooks:
            for number, line in enumerate(hook.file.content.splitlines(), 1):
                if _SECTION.match(line):
                    raise LabError(
                        f"{what}.{section}: line {number} of {hook.file.path} would be read as part of the kickstart: "
                        f"{line.strip()[:60]}",
                        hint="no line of a script may begin with %end, %include or the name of a section",
                    )
