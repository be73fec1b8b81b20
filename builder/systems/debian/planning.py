"""What is decided for a host that the Debian installer installs: its answers, the scripts that make it a Xen host, and
how both get to the installer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.plan import File, Finding, MediaEdit, SystemPlan
from builder.render.templates import Templates
from builder.systems.debian import boot, files, recipes
from builder.systems.debian.installer import boots
from builder.systems.debian.judge import judge_arguments, judge_preseed, judge_script
from builder.systems.debian.options import DebianInstall, Hook
from builder.systems.debian.storage import Storage, storage_of
from builder.systems.debian.traits import TRAITS
from builder.systems.dom0 import serial_speed
from builder.systems.fitness import refuse_uninstallable, stop_at_errors
from builder.systems.guests.files import guest_files, guest_packages
from builder.systems.machine import machine_of
from builder.systems.pieces import User, refuse_users

ANSWER = "preseed.cfg"
FOLDER = "nestlab"
"""Where the scripts and files lie beside the answers."""
VOLUME = "NESTLAB"
"""Label of the volume whose `seed/` is laid over the host's files."""
NO_PASSWORD = "*"  # noqa: S105 - no password has this hash; the installer takes it as set, and "!" as not
SUITES = {"12": "bookworm", "13": "trixie"}

PACKAGES = ("xen-system-amd64", "qemu-system-xen", "openssh-server", "busybox-static", "iproute2", "less", "pciutils")
PATIENCE = "etc/systemd/system.conf.d/nestlab.conf"
"""Only of hosts that were installed: an image has one file system, which its initrd waits for."""
ONCE = ("/usr/sbin/update-initramfs", "/usr/sbin/update-grub")
"""Programs that packages run again and again while they are installed: a minute each time, under emulation two."""
PLAIN = ("TERM=dumb", "DEBCONF_DROP_TRANSLATIONS=1", "mitigations=off")
"""Of the installer alone: plain lines on the serial port instead of a screen that is drawn there, no translations of
questions that nobody is asked, and nothing against attacks from programs that it does not run."""
# Taken off every line before ours are put on: what is there already is not put on again, and the order counts.
REMOVED = ("console=", "vga=", "quiet", "auto=", "priority=", "url=", "file=", "DEBIAN_FRONTEND=")


@dataclass(frozen=True, slots=True)
class _Script:
    """A user's script: `name` is the file's, below the folder."""

    name: str
    content: str
    chroot: bool = False


@dataclass(frozen=True, slots=True)
class _Account:
    """A user as the last script makes it."""

    name: str
    password: str
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    admin: bool

    @property
    def all_groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*(("sudo",) if self.admin else ()), *self.groups)))


def plan(node: Node, templates: Templates) -> SystemPlan:
    """See `Debian.plan`, for a node with a medium."""
    refuse_uninstallable(node, TRAITS)
    options = DebianInstall.model_validate(node.install)
    _refuse(node, options)
    machine = machine_of(node, options.disk_names, options.devices)
    storage = storage_of(node, options, machine)
    text = templates.render("install/preseed.cfg", **_answers(node, options, storage))
    scripts = _scripts(node, options, storage, templates)
    host = _host_files(node, options, templates)
    arguments = _arguments(node, options)
    findings: list[Finding] = [*judge_preseed(text, node.release, machine)]
    findings += judge_arguments(arguments, text, node.release)
    for script in scripts:
        findings += judge_script(script.name, script.content, chroot=script.chroot)
    stop_at_errors(node, "the answers", findings)
    delivered = {"initrd": "initrd", "iso": "iso", "url": "http"}[options.delivery]
    contents = {
        ANSWER: text,
        **{f"{FOLDER}/{script.name}": script.content for script in scripts},
        **{f"{FOLDER}/files{file.path}": file.content for file in host},
    }
    return SystemPlan.model_validate({
        "system": TRAITS.name,
        "release": node.release,
        "answers": [{"name": name, "content": content, "delivery": delivered} for name, content in contents.items()],
        "media_edits": [MediaEdit(kind="arguments", arguments=arguments, remove=REMOVED)],
        "boot_args": boot.boot_args(node),
        "boots": boots(options.end, arrays=storage.level is not None),
        "checks": ["test_debian_dom0.py", "test_debian_installed.py", *(["test_guests.py"] if node.guests else []),
                   *(["test_iommu.py"] if node.iommu else [])],
        "quirks": files.QUIRKS,
        "findings": findings,
    })  # fmt: skip


def _base(options: DebianInstall) -> str:
    """Where the installer sees the folder."""
    if options.delivery == "url":
        return f"{(options.served_at or '').rstrip('/')}/{FOLDER}"
    return f"/{FOLDER}" if options.delivery == "initrd" else f"/cdrom/{FOLDER}"


def _command(options: DebianInstall, script: str) -> str:
    """What the installer is to run. The script itself is a file: a command in the answers would be quoted twice."""
    base = _base(options)
    if options.delivery == "url":
        return f"fetch-url {base}/{script} /tmp/nestlab-{script} && sh /tmp/nestlab-{script}"
    return f"sh {base}/{script}"


def _names(node: Node, options: DebianInstall) -> tuple[str, str]:
    """Host name and domain."""
    name, _, domain = (options.hostname or node.name).partition(".")
    return name, options.domain or domain


def _answers(node: Node, options: DebianInstall, storage: Storage) -> dict[str, Any]:
    name, domain = _names(node, options)
    return {
        "title": f"{name}: {TRAITS.title} {node.release}, {storage.title}",
        "language": options.language,
        "keyboard": options.keyboard,
        "timezone": options.timezone,
        "ntp": options.ntp,
        "card": node.management_mac,
        "hostname": name,
        "domain": domain,
        "static": _static(options),
        "mirror": _mirror(options),
        "proxy": options.proxy or "",
        "suite": SUITES[node.release],
        "udeb_suite": options.udeb_suite,
        "medium_only": options.medium_only,
        "services": options.services,
        "packages": _packages(node, options, storage),
        "root_password": options.root_password or NO_PASSWORD,
        "layout": storage.title,
        "disks": [recipes.device(disk) for disk in storage.disks],
        "method": recipes.method(storage),
        "label": storage.label,
        "recipe": recipes.expert_recipe(storage, options.filesystem),
        "raid": recipes.raid_recipe(storage),
        "volume_group": options.volume_group,
        "guided_size": recipes.guided_size(storage),
        "uefi": node.firmware == "uefi",
        "end": options.end,
        "early_command": _command(options, "early.sh"),
        "partman_command": _command(options, "partman.sh"),
        "late_command": _command(options, "late.sh"),
    }


def _mirror(options: DebianInstall) -> dict[str, str] | None:
    if options.mirror is None:
        return None
    host, slash, directory = options.mirror.removeprefix("http://").partition("/")
    return {"host": host, "directory": f"{slash}{directory}" or "/"}


def _static(options: DebianInstall) -> dict[str, Any] | None:
    network = options.network
    if network.address is None:
        return None
    interface = ipaddress.ip_interface(network.address)
    return {
        "address": str(interface.ip),
        "netmask": str(interface.netmask),
        "gateway": network.gateway,
        "nameservers": network.nameservers,
    }


def _packages(node: Node, options: DebianInstall, storage: Storage) -> tuple[str, ...]:
    more = (
        *(("lvm2",) if storage.plain else ()),
        *(("sudo",) if any(user.admin for user in options.users) else ()),
        *options.packages,
    )
    return tuple(dict.fromkeys((*PACKAGES, *guest_packages(node), *more)))


def _host_files(node: Node, options: DebianInstall, templates: Templates) -> tuple[File, ...]:
    """The dom0's files: those of an image, and what is this node's alone."""
    management: tuple[File, ...] = ()
    if options.network.address is not None:
        line = f"{options.network.address} {options.network.gateway}\n"
        management = (File(path="/etc/nestlab/management", content=line),)
    return (
        *files.host_files(templates, node, root_label=None),
        files.bridge_table(templates, node),
        files.render(templates, "image", PATIENCE, 0o644, {}),
        *management,
        *guest_files(node, templates.overrides),
    )


def _scripts(node: Node, options: DebianInstall, storage: Storage, templates: Templates) -> tuple[_Script, ...]:
    """Ours, and the user's that they run."""
    early = _numbered("early", options.early)
    partman = _numbered("partman", options.partman)
    late = _numbered("late", options.late)
    base = _base(options)
    own: dict[str, dict[str, Any]] = {
        "early.sh": {"scripts": [script.name for script in early], "once": ONCE, "arrays": storage.level is not None},
        "partman.sh": {
            "scripts": [script.name for script in partman],
            "disks": [recipes.device(disk) for disk in storage.disks],
            "arrays": storage.level is not None,
        },
        "late.sh": _late(node, options, storage, templates),
        "last.sh": {"once": ONCE, "efi_copies": _efi_copies(storage), "hooks": late},
    }
    made = (_Script(name, templates.render(f"install/{name}", base=base, **values)) for name, values in own.items())
    return (*made, *early, *partman, *late)


def _numbered(stage: str, given: tuple[Any, ...]) -> tuple[_Script, ...]:
    made = []
    for number, each in enumerate(given, 1):
        file, chroot = (each.file, each.chroot) if isinstance(each, Hook) else (each, False)
        made.append(_Script(f"{stage}-{number}", file.content, chroot))
    return tuple(made)


def _late(node: Node, options: DebianInstall, storage: Storage, templates: Templates) -> dict[str, Any]:
    guests = None
    if storage.plain:
        partition = recipes.partition_device(storage.disks[0], storage.number("volumes"))
        guests = {"volume_group": options.volume_group, "partition": partition}
    return {
        "files": _host_files(node, options, templates),
        "units": files.units(node),
        "guests": guests,
        "root_keys": options.root_keys,
        "users": list(_accounts(options.users)),
        "volume": VOLUME,
    }


def _efi_copies(storage: Storage) -> tuple[str, ...]:
    """The EFI partitions beside the first disk's."""
    if storage.level is None or not storage.has("efi"):
        return ()
    return tuple(recipes.partition_device(disk, storage.number("efi")) for disk in storage.disks[1:])


def _accounts(users: tuple[User, ...]) -> Iterator[_Account]:
    for user in users:
        yield _Account(user.name, user.password or NO_PASSWORD, user.keys, user.groups, user.admin)


def _arguments(node: Node, options: DebianInstall) -> tuple[str, ...]:
    """The installer's. What it must know before it can read its answers is told here."""
    where: tuple[str, ...] = ()
    if options.delivery == "iso":
        where = (f"file=/cdrom/{ANSWER}",)
    elif options.delivery == "url":
        name, domain = _names(node, options)
        where = (
            f"url={(options.served_at or '').rstrip('/')}/{ANSWER}",
            f"interface={node.management_mac}",
            f"hostname={name}",
            *((f"domain={domain}",) if domain else ()),
            *_static_arguments(options),
        )
    return (
        "auto=true",
        "priority=critical",
        *where,
        "DEBIAN_FRONTEND=text",
        *PLAIN,
        f"console=ttyS0,{serial_speed(node.xen)}n8",
    )


def _static_arguments(options: DebianInstall) -> Iterator[str]:
    static = _static(options)
    if static is None:
        return
    yield "netcfg/disable_autoconfig=true"
    for key in ("ipaddress", "netmask", "gateway"):
        yield f"netcfg/get_{key}={static['address' if key == 'ipaddress' else key]}"
    yield f"netcfg/get_nameservers={static['nameservers'][0] if static['nameservers'] else ''}"
    yield "netcfg/confirm_static=true"


def _refuse(node: Node, options: DebianInstall) -> None:
    what = f"{node.name}: install"
    refuse_users(options.users, what)
    if options.delivery == "url" and options.served_at is None:
        raise LabError(f"{what}.delivery url needs served_at", hint="add served_at: http://host/folder")
    if options.domain is not None and "." in (options.hostname or ""):
        raise LabError(f"{what}: hostname has a domain, and domain names one, too", hint="keep one of them")
    network = options.network
    if (network.address is None) != (network.gateway is None):
        raise LabError(f"{what}.network: address and gateway come together; DHCP gives its own", hint="add the other")
    if network.address is not None:
        interface = ipaddress.ip_interface(network.address)
        if interface.version != 4:
            raise LabError(f"{what}.network.address is IPv4", hint="lab cards may have others")
        if ipaddress.ip_address(network.gateway or "") not in interface.network:
            raise LabError(f"{what}.network: the gateway {network.gateway} is not in the network of {network.address}",
                           hint="write an address of the same network")  # fmt: skip
    elif network.nameservers:
        raise LabError(f"{what}.network: name servers come with an address; DHCP gives its own", hint="add address:")
