"""The Agama profile: JSON by the schema of its branch SLE-16 (agama d2870eef, profile.schema.json), which knows less
than later ones: one ssh key, root's alone, and no time servers.

It has no word for a hypervisor: Xen's arguments go to /etc/default/grub by a script that then runs grub2-mkconfig.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from builder.model.lab import Node
from builder.model.plan import File
from builder.systems.guests.files import guest_packages
from builder.systems.suse.arguments import plain_line
from builder.systems.suse.files import Script, Scripts, agama_user
from builder.systems.suse.network import Interface
from builder.systems.suse.options import SuseInstall
from builder.systems.suse.releases import Release
from builder.systems.suse.storage import Partition, Storage, Use, full_path

ANSWER = "autoinst.json"
_TIME_SERVERS = "/etc/chrony.d/nestlab.conf"
_IDS: Mapping[str, str] = {
    "bios_boot": "bios_boot", "esp": "esp", "linux": "linux", "swap": "swap", "raid": "raid", "lvm": "lvm",
}  # fmt: skip
_CLEARED = {"search": "*", "delete": True}
"""What is on the disk goes: without it Agama only uses what is free (storage.schema.json, partitionToDelete)."""


def profile(
    node: Node,
    options: SuseInstall,
    release: Release,
    parts: tuple[Storage, tuple[Interface, ...]],
    given: tuple[tuple[File, ...], Scripts],
) -> str:
    """JSON in the order in which people read it; equal nodes give equal bytes. `given` are files and scripts."""
    storage, interfaces = parts
    files, scripts = given
    made: dict[str, Any] = {
        "product": _product(options, release),
        "hostname": {"static": options.hostname or node.name},
        "localization": {
            "language": options.language, "keyboard": options.keyboard, "timezone": options.timezone,
        },
        "questions": {"policy": "auto"},
        "bootloader": {"timeout": 3, "extraKernelParams": " ".join(plain_line(node, release))},
        "storage": _storage(storage),
        "network": {"connections": [_connection(each, options) for each in interfaces]},
        "software": _software(node, options, release),
        **_accounts(options),
        "files": [_file(each) for each in (*files, *_time_servers(options))],
        "scripts": {
            "pre": [_script(each) for each in scripts.pre],
            "postPartitioning": [_script(each) for each in scripts.partitioned],
            "post": [{**_script(each), "chroot": each.chroot} for each in scripts.post],
            **({"init": [_script(each) for each in scripts.first_boot]} if scripts.first_boot else {}),
        },
    }  # fmt: skip
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _product(options: SuseInstall, release: Release) -> dict[str, Any]:
    made: dict[str, Any] = {"id": release.product}
    if options.registration is not None:
        words = {"registrationCode": options.registration.code, "registrationEmail": options.registration.email,
                 "registrationUrl": options.registration.server}  # fmt: skip
        made |= {key: value for key, value in words.items() if value is not None}
    return made


def _storage(storage: Storage) -> dict[str, Any]:
    drives = []
    for number, disk in enumerate(storage.disks):
        drives.append({
            "search": full_path(disk.path),
            "alias": f"disk{number}",
            "ptableType": storage.label,
            "partitions": [_CLEARED, *(_partition(each, number) for each in storage.on(disk))],
        })  # fmt: skip
    # Agama adds what the firmware needs and the layout lacks, on this disk. The layout lacks nothing.
    made: dict[str, Any] = {"boot": {"configure": True, "device": "disk0"}, "drives": drives}
    if storage.arrays:
        made["mdRaids"] = [
            {
                "alias": f"array-{each.name}",
                "name": each.name,
                "level": f"raid{each.level}",
                **({"chunkSize": f"{each.chunk} KiB"} if each.chunk else {}),
                "devices": [f"{each.name}-{number}" for number in range(len(storage.disks))],
                **_filesystem(each.use),
            }
            for each in storage.arrays
        ]
    if storage.group is not None:
        made["volumeGroups"] = [
            {
                "name": storage.group.name,
                "extentSize": f"{storage.group.extent} KiB",
                "physicalVolumes": ["array-system" if storage.arrays else "volume-0"],
                "logicalVolumes": [
                    {"name": each.name, **_size(each.size), **_filesystem(each.use)} for each in storage.group.volumes
                ],
            }
        ]
    return made


def _partition(partition: Partition, disk: int) -> dict[str, Any]:
    use = partition.use
    alias = f"{use.array}-{disk}" if use.array else f"volume-{disk}" if use.group else None
    return {
        **({"alias": alias} if alias else {}),
        "id": _IDS[partition.kind],
        **_size(partition.size),
        **_filesystem(use),
    }


def _size(mib: int | None) -> dict[str, Any]:
    """A range without an end takes what is left."""
    return {"size": {"min": "1 GiB"}} if mib is None else {"size": f"{mib} MiB"}


def _filesystem(use: Use) -> dict[str, Any]:
    if use.filesystem is None:
        return {}
    kind: Any = {"btrfs": {"snapshots": False}} if use.filesystem == "btrfs" else use.filesystem
    made: dict[str, Any] = {"type": kind}
    if use.mount is not None:
        made |= {"path": use.mount, "mountBy": "uuid"}
    if use.options is not None:
        made["mountOptions"] = use.options.split(",")
    return {"filesystem": made}


def _connection(interface: Interface, options: SuseInstall) -> dict[str, Any]:
    """Every port has a connection of its own: without one Agama refuses the bridge (agama-network, set_ports)."""
    addresses = [ipaddress.ip_interface(each) for each in interface.addresses if each != "dhcp"]
    fourth = any(each.version == 4 for each in addresses)
    sixth = any(each.version == 6 for each in addresses)
    made: dict[str, Any] = {
        "id": interface.name,
        "interface": interface.name,
        "method4": "auto" if interface.dhcp else "manual" if fourth else "disabled",
        "method6": "auto" if interface.dhcp else "manual" if sixth else "disabled",
    }
    if addresses:
        made["addresses"] = [str(each) for each in addresses]
    if interface.gateway is not None:
        made["gateway4" if ipaddress.ip_address(interface.gateway).version == 4 else "gateway6"] = interface.gateway
    if options.network.nameservers and (interface.dhcp or interface.gateway):
        made["nameservers"] = list(options.network.nameservers)
    if interface.mtu != 1500:
        made["mtu"] = interface.mtu
    if interface.kind == "bridge":
        made["bridge"] = {"ports": list(interface.below), "stp": False}
    elif interface.kind == "bond":
        mode, *rest = interface.options
        made["bond"] = {"mode": mode.removeprefix("mode="), "ports": list(interface.below), "options": " ".join(rest)}
    elif interface.kind == "vlan":
        made["vlan"] = {"id": interface.vlan, "parent": interface.below[0]}
    return made


def _software(node: Node, options: SuseInstall, release: Release) -> dict[str, Any]:
    wanted = [*release.packages, *guest_packages(node)]
    wanted += ["sudo"] if any(user.admin for user in options.users) else []
    wanted += ["chrony"] if options.ntp else []
    wanted += ["firewalld"] if options.firewall else []
    made: dict[str, Any] = {"packages": list(dict.fromkeys((*wanted, *options.packages)))}
    if options.patterns or release.patterns:
        made["patterns"] = [*release.patterns, *options.patterns]
    if options.repositories:
        made["extraRepositories"] = [{"alias": each.name, "url": each.url} for each in options.repositories]
    return made


def _accounts(options: SuseInstall) -> dict[str, Any]:
    root: dict[str, Any] = {}
    if options.root_password is not None:
        root |= {"password": options.root_password, "hashedPassword": True}
    if options.root_keys:
        root["sshPublicKey"] = options.root_keys[0]
    made: dict[str, Any] = {"root": root} if root else {"root": {"password": "*", "hashedPassword": True}}
    name = agama_user(options)
    for user in options.users:
        if user.name == name:
            made["user"] = {
                "fullName": user.name, "userName": user.name, "password": user.password, "hashedPassword": True,
            }  # fmt: skip
    return made


def _time_servers(options: SuseInstall) -> tuple[File, ...]:
    if not options.ntp:
        return ()
    content = "".join(f"server {server} iburst\n" for server in options.ntp)
    return (File(path=_TIME_SERVERS, content=content),)


def _file(file: File) -> dict[str, Any]:
    return {"destination": file.path, "content": file.content, "permissions": f"{file.mode:04o}"}


def _script(script: Script) -> dict[str, Any]:
    """Agama runs the file itself, so that its first line says what runs it (scripts/model.rs, ScriptRunner)."""
    content = script.content
    if not content.startswith("#!"):
        content = f"#!{script.interpreter}\n{content}"
    return {"name": script.name, "content": content}
