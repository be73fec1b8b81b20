"""What is decided for a NetBSD host: its own files, the script that installs it, and two changes to the medium."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.plan import Answer, BootArgs, MediaEdit, Quirk, SystemPlan
from builder.render.templates import Templates
from builder.systems.dom0 import refuse_dom0_memory, serial_speed
from builder.systems.fitness import refuse_uninstallable, stop_at_errors
from builder.systems.guests.files import guest_files, started_with_host
from builder.systems.machine import Machine
from builder.systems.netbsd.bootcfg import (
    boot_entries,
    console_of,
    dom0_arguments,
    hypervisor_arguments,
)
from builder.systems.netbsd.devices import machine_of
from builder.systems.netbsd.judge import judge_boot_cfg, judge_end, judge_host, judge_host_files, judge_script
from builder.systems.netbsd.network import address_lines, guests_network, interface_files, refuse_network
from builder.systems.netbsd.options import NetbsdInstall
from builder.systems.netbsd.phases import boots
from builder.systems.netbsd.storage import Storage, storage_of
from builder.systems.netbsd.traits import TRAITS

FOLDER = "nestlab"
"""Where our files are on the medium; packages are looked for in `packages/` below it."""
_HOST = re.compile(r"[a-z]+://(\[[^\]]*\]|[^/:]*)")
_READY_DISKS = 4  # vnd0 to vnd3 are made by MAKEDEV all

_QUIRKS = (
    Quirk(
        name="script-for-installer",
        reason="sysinst reads no answer file; the medium logs root in on the console and starts /install.sh, which is "
        "replaced",
        source="NetBSD distrib/amd64/cdroms: etc.rc, etc.ttys, install.sh; usr.sbin/sysinst/main.c",
    ),
    Quirk(
        name="shortest-arguments",
        reason="boot.cfg: dom0_mem in GiB where it can be, no dom0_max_vcpus, root= or ,8n1 that is the default "
        "anyway: each command must fit into 79 bytes",
        source="NetBSD sys/arch/i386/stand/lib/bootmenu.c: char input[80]",
    ),
    Quirk(
        name="root-locked",
        reason="root of the set etc has an empty password: without a hash it is locked, and keys let in",
        source="NetBSD etc/master.passwd",
    ),
)
_MIRROR_QUIRK = Quirk(
    name="softroot",
    reason="raidctl -A softroot instead of root: the array is / when one of its disks was started from, so that a "
    "medium can still be; with root, the installed host would come up instead of the medium",
    source="raidctl(8) of NetBSD 10; sys/arch/xen/x86/autoconf.c: findroot, which takes root= for the disk; not tried",
)


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file of the host; `mode` is the permission bits."""

    path: str
    content: str
    mode: int = 0o644


def plan(node: Node, templates: Templates, overrides: Path | None) -> SystemPlan:
    """See `Netbsd.plan`. `overrides` is the folder of the user's templates, for those of guests."""
    refuse_uninstallable(node, TRAITS)
    options = NetbsdInstall.model_validate(node.install)
    machine = machine_of(node, options)
    storage = storage_of(node, options, machine)
    refuse_dom0_memory(node)
    refuse_network(node, options, machine)
    _refuse(node, options)
    findings = [*judge_host(node, tuple(disk.name for disk in storage.disks))]
    stop_at_errors(node, "NetBSD", findings)

    guests = [HostFile(file.path, file.content, file.mode) for file in guest_files(node, overrides)]
    files = (*_host_files(node, options, machine, storage, templates), *guests)
    script = _script(node, options, machine, storage, files, templates)
    menu = templates.render("medium/boot.cfg", console=console_of(node))
    findings += judge_host_files({file.path: file.content for file in files}, machine)
    findings += judge_boot_cfg(menu, "boot.cfg of the medium")
    findings += judge_script(script)
    findings += judge_end(options.end)
    stop_at_errors(node, "the files", findings)

    answers = [(f"{FOLDER}/install.sh", script), *((f"{FOLDER}/host{file.path}", file.content) for file in files)]
    return SystemPlan.model_validate({
        "system": TRAITS.name,
        "release": node.release,
        "answers": [Answer(name=name, content=content, delivery="iso") for name, content in answers],
        "media_edits": [
            MediaEdit(kind="replace", path="/boot.cfg", content=menu),
            MediaEdit(kind="replace", path="/install.sh", content=templates.render("medium/install.sh"), mode=0o755),
        ],
        "boot_args": BootArgs(
            hypervisor=hypervisor_arguments(node), kernel=dom0_arguments(node, _named(machine, storage))
        ),
        "boots": boots(options.end),
        "quirks": (*_QUIRKS, *((_MIRROR_QUIRK,) if storage.mirrored else ())),
        "findings": findings,
    })  # fmt: skip


def _named(machine: Machine, storage: Storage) -> str | None:
    """What dom0's kernel is told that it was started from, where it would not guess: Xen passes nothing on of where the
    loader found it, and the kernel takes the first disk that it sees. An array with that disk in it is / instead.

    Of disks of one driver the first one is the one with the number 0."""
    first = storage.disks[0].path
    drivers = {disk.path.rstrip("0123456789") for disk in machine.disks}
    return None if len(drivers) == 1 and first.endswith("0") and first[-2:-1].isalpha() else f"{first}a"


def _host_files(
    node: Node, options: NetbsdInstall, machine: Machine, storage: Storage, templates: Templates
) -> Iterator[HostFile]:
    def render(path: str, **values: Any) -> HostFile:
        return HostFile(path, templates.render(f"host{path}", **values))

    console, network, nat = console_of(node), options.network, options.guests.mode == "nat"
    entries = boot_entries(node, _named(machine, storage))
    yield render("/boot.cfg", entries=entries, menu_timeout=options.menu_timeout, console=console)
    gateway = network.gateway or ""
    yield render(
        "/etc/rc.conf",
        hostname=options.hostname or node.name,
        console=console,
        dhcp=machine.cards[0].device if network.address is None else "",
        gateway="" if ":" in gateway else gateway,
        gateway6=gateway if ":" in gateway else "",
        nat=nat,
        xendomains=tuple(dict.fromkeys((*options.xendomains, *started_with_host(node)))),
    )
    yield render("/etc/fstab", root=storage.root)
    yield render("/etc/ttys", console=console)
    for name, lines in interface_files(node, options, machine):
        yield HostFile(f"/etc/ifconfig.{name}", templates.render("host/etc/ifconfig", lines=lines))
    if nat:
        card = machine.cards[options.guests.card].device
        yield render("/etc/npf.conf", outside=card, guests=guests_network(options))
        yield render("/etc/sysctl.conf")
    if storage.mirrored:
        yield render("/etc/raid0.conf", disks=[disk.path for disk in storage.disks])
    if options.ntp:
        yield render("/etc/ntp.conf", ntp=options.ntp)
    if network.nameservers:
        yield render("/etc/resolv.conf", nameservers=network.nameservers)
    if options.root_keys:
        keys = templates.render("host/root/.ssh/authorized_keys", root_keys=options.root_keys)
        yield HostFile("/root/.ssh/authorized_keys", keys, 0o600)


def _script(
    node: Node, options: NetbsdInstall, machine: Machine, storage: Storage, files: tuple[HostFile, ...],
    templates: Templates,
) -> str:  # fmt: skip
    console, network = console_of(node), options.network
    boot_options = [f"timeout={options.menu_timeout}", f"console={console.loader}"]
    if console.port is not None:
        boot_options.append(f"speed={serial_speed(node.xen)}")
    sets = (*(each for each in options.sets if each not in ("base", "etc")), "base", "etc", "kern-GENERIC")
    vnds = max(options.guest_disks, _files(node))
    return templates.render(
        "install.sh",
        title=f"{node.name}: NetBSD {node.release} on {storage.title}",
        disks=[disk.path for disk in storage.disks],
        root=storage.root,
        mirrored=storage.mirrored,
        serial=storage.serial,
        swap=storage.swap,
        xen=options.xen,
        packages=options.packages,
        kernel=options.kernel,
        sets=tuple(dict.fromkeys(sets)),
        nodes=("all", "xen", *(f"vnd{number}" for number in range(_READY_DISKS, vnds))),
        files=files,
        timezone=options.timezone,
        root_password=options.root_password,
        keep_going=options.keep_going,
        end=options.end,
        boot_options=",".join(boot_options),
        network={
            "card": machine.cards[0].device,
            "address": "".join(address_lines((network.address,))) if network.address else "",
            "gateway": network.gateway,
            "nameservers": network.nameservers,
        },
    )


def _files(node: Node) -> int:
    """Disks of guests that are files: each takes a vnd while its guest runs."""
    return sum(not disk.path.startswith("/dev/") for guest in node.guests for disk in guest.disks)


def _refuse(node: Node, options: NetbsdInstall) -> None:
    what = f"{node.name}: install"
    if len(set(options.xendomains)) != len(options.xendomains):
        raise LabError(f"{what}.xendomains: a guest is named twice", hint="name each once")
    network = options.network
    for name, address in (("packages", options.packages), ("kernel", options.kernel)):
        if address is None or network.address is None or network.nameservers:
            continue
        host = _HOST.match(address)
        assert host is not None, "the type of the setting"
        try:
            ipaddress.ip_address(host[1].strip("[]"))
        except ValueError:
            raise LabError(
                f"{what}.{name}: nobody would know the address of {host[1]}: the card has a fixed one and there is no "
                "name server",
                hint="add network: {nameservers: [...]}",
            ) from None
