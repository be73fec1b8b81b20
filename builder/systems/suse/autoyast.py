"""The AutoYaST profile: what its template is given. Elements, types and defaults are those that YaST's own schema and
readers have: yast-autoinstallation e94d61ec (src/autoyast-rnc), yast-storage-ng d831b098 (autoinst_profile,
proposal/autoinst_*), yast-network 79966f88 and yast-users d3b80a85, of release 15.7 and before."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from builder.model.lab import Node
from builder.model.plan import File
from builder.render.templates import Templates
from builder.systems.guests.files import guest_packages
from builder.systems.machine import Machine
from builder.systems.suse.arguments import dom0_line, hypervisor_line, plain_line, serial_command
from builder.systems.suse.files import Scripts, members, services_off, services_on
from builder.systems.suse.network import Interface
from builder.systems.suse.options import SuseInstall
from builder.systems.suse.releases import Release
from builder.systems.suse.storage import Storage, full_path

ANSWER = "autoinst.xml"
NO_PASSWORD = "*"  # noqa: S105 - no password has this hash
# yast-storage-ng, partition_id.rb: AutoYaST's own numbers, kept from before there was GPT.
_IDS: Mapping[str, int] = {"bios_boot": 263, "esp": 259, "linux": 131, "swap": 130, "raid": 253, "lvm": 142}


def profile(
    node: Node,
    options: SuseInstall,
    release: Release,
    parts: tuple[Machine, Storage, tuple[Interface, ...]],
    given: tuple[tuple[File, ...], Scripts],
    templates: Templates,
) -> str:
    """XML; equal nodes give equal bytes. `given` are files for the host, and scripts."""
    machine, storage, interfaces = parts
    hostname = options.hostname or node.name
    values = {
        "title": f"{hostname}: {release.title} on {storage.title}",
        "release": release,
        "firmware": node.firmware,
        "hostname": hostname,
        "plain": plain_line(node, release),
        "dom0": dom0_line(node, release),
        "hypervisor": hypervisor_line(node),
        "serial": serial_command(node),
        "cards": machine.cards,
        "interfaces": [_interface(each) for each in interfaces],
        "routes": [{"gateway": each.gateway, "device": each.name} for each in interfaces if each.gateway],
        "nameservers": options.network.nameservers,
        "modules": release.modules if options.modules is None else options.modules,
        "patterns": (*release.patterns, *options.patterns),
        "packages": list(_packages(node, options, release, given[1])),
        "services_on": services_on(options),
        "services_off": services_off(options),
        "groups": list(members(options).items()),
        "accounts": list(_accounts(options)),
        "folders": _folders(given[0]),
        "files": given[0],
        "all_scripts": given[1],
        "cdata": cdata,
        **_storage(storage),
        **{name: getattr(options, name) for name in (
            "end", "registration", "repositories", "language", "keyboard", "timezone", "ntp", "firewall")},
    }  # fmt: skip
    return templates.render(ANSWER, **values)


def cdata(text: str) -> Markup:
    """A CDATA section with that text, however it ends; markup, so that the template does not escape it again."""
    return Markup("<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>")  # noqa: S704 - this is the escape


def _storage(storage: Storage) -> dict[str, Any]:
    return {
        "storage": storage,
        "disks": [
            {
                "device": full_path(disk.path),
                "partitions": [
                    {"number": each.number, "id": _IDS[each.kind], "size": _size(each.size), "use": each.use}
                    for each in storage.on(disk)
                ],
            }
            for disk in storage.disks
        ],
        "arrays": [
            {
                "name": each.name,
                "level": f"raid{each.level}",
                # A number alone would be kilobytes of 1,000 bytes: autoinst_md_planner.rb, chunk_size_from_string.
                "chunk": f"{each.chunk}KiB" if each.chunk else None,
                "use": each.use,
            }
            for each in storage.arrays
        ],
        "group": None if storage.group is None else {
            "name": storage.group.name,
            "extent": f"{storage.group.extent}KiB",
            "volumes": [
                {"name": each.name, "size": _size(each.size), "use": each.use} for each in storage.group.volumes
            ],
        },
    }  # fmt: skip


def _size(mib: int | None) -> str:
    return "max" if mib is None else f"{mib}MiB"


def _interface(interface: Interface) -> dict[str, Any]:
    addresses = [ipaddress.ip_interface(each) for each in interface.addresses if each != "dhcp"]
    settings = [
        ("name", interface.name),
        ("bootproto", "dhcp" if interface.dhcp else "static" if addresses else "none"),
        ("startmode", "auto"),
    ]
    if addresses:
        settings += [("ipaddr", str(addresses[0].ip)), ("prefixlen", str(addresses[0].network.prefixlen))]
    if interface.mtu != 1500:
        settings.append(("mtu", str(interface.mtu)))
    settings += _kind(interface)
    aliases = [{"address": str(each.ip), "prefix": str(each.network.prefixlen)} for each in addresses[1:]]
    return {"settings": settings, "aliases": aliases}


def _kind(interface: Interface) -> Iterator[tuple[str, str]]:
    if interface.kind == "bridge":
        yield "bridge", "yes"
        yield "bridge_ports", " ".join(interface.below)
        yield "bridge_stp", "off"
        yield "bridge_forward_delay", "0"
    elif interface.kind == "bond":
        yield "bonding_master", "yes"
        for number, card in enumerate(interface.below):
            yield f"bonding_slave{number}", card
        yield "bonding_module_opts", " ".join(interface.options)
    elif interface.kind == "vlan":
        yield "etherdevice", interface.below[0]
        yield "vlan_id", str(interface.vlan)


def _folders(files: tuple[File, ...]) -> list[str]:
    """Folders of the files: YaST makes none for a file, but those that are named themselves, with a slash at their end
    (AutoinstFile.rb, Write)."""
    folders = {file.path.rpartition("/")[0] for file in files}
    return sorted(f"{folder}/" for folder in folders - {"", "/etc", "/root"})


def _packages(node: Node, options: SuseInstall, release: Release, scripts: Scripts) -> Iterator[str]:
    wanted = [*release.packages, *guest_packages(node)]
    wanted += ["sudo"] if any(user.admin for user in options.users) else []
    wanted += ["chrony"] if options.ntp else []
    # The service that runs init-scripts is in this package, which YaST adds for a second stage only.
    wanted += ["autoyast2-installation"] if scripts.first_boot else []
    yield from dict.fromkeys((*wanted, *options.packages))


@dataclass(frozen=True, slots=True)
class _Account:
    """`home` is None for root, who has one."""

    name: str
    password: str
    keys: tuple[str, ...]
    home: str | None = None


def _accounts(options: SuseInstall) -> Iterator[_Account]:
    yield _Account("root", options.root_password or NO_PASSWORD, options.root_keys)
    for user in options.users:
        yield _Account(user.name, user.password or NO_PASSWORD, user.keys, f"/home/{user.name}")
