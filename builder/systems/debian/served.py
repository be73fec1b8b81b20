"""A storage node: disks offered by Linux' iSCSI target (LIO), folders by its NFS server.

LIO lives in the kernel; its settings are restored at boot from the JSON that `targetcli saveconfig` writes. Source:
rtslib_fb of Debian's python3-rtslib-fb 2.1.75 (root.py: restore; target.py and tcm.py: setup) and its service
rtslib-fb-targetctl, which reads /etc/rtslib-fb-target/saveconfig.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from builder.model.lab import Node
from builder.model.plan import File
from builder.systems.machine import machine_of

# .internal is the top-level domain that nobody else will ever have.
AUTHORITY = "iqn.2024-07.internal.nestlab"
PORT = 3260
SETTINGS = "/etc/rtslib-fb-target/saveconfig.json"
_AFTER = "/etc/systemd/system/rtslib-fb-targetctl.service.d/nestlab.conf"
# Masked in the image because other nodes lose seconds by them.
_CONFIGFS = ("sys-kernel-config.mount", "modprobe@configfs.service")


def target_name(node: Node) -> str:
    """The iSCSI name of the node's one target."""
    return f"{AUTHORITY}:{node.name}"


def served_packages(node: Node) -> tuple[str, ...]:
    if node.storage is None:
        return ()
    iscsi = ("targetcli-fb",) if node.storage.iscsi else ()
    return (*iscsi, *(("nfs-kernel-server",) if node.storage.nfs else ()))


def served_setup(node: Node) -> tuple[tuple[str, ...], ...]:
    """Commands for the image, inside of it."""
    if node.storage is None or not node.storage.iscsi:
        return ()
    return (
        ("systemctl", "unmask", *_CONFIGFS),
        ("systemctl", "enable", "rtslib-fb-targetctl.service"),
    )


def served_files(node: Node) -> tuple[File, ...]:
    """The node's own: what it offers, and to whom: every node of the lab's networks, with root as root."""
    if node.storage is None:
        return ()
    files: list[File] = []
    if node.storage.iscsi:
        text = json.dumps(_target(node), indent=2, sort_keys=True) + "\n"
        files.append(File(path=SETTINGS, content=text, mode=0o600))
        files.append(File(path=_AFTER, content=_wait_for(disk["dev"] for disk in _disks(node))))
    if node.storage.nfs:
        exports = "".join(
            f"{folder} *(rw,sync,no_subtree_check,no_root_squash,fsid={number})\n"
            for number, folder in enumerate(node.storage.nfs, 1)
        )
        files.append(File(path="/etc/exports", content=exports))
        # A folder comes with the first file in it.
        files += [File(path=f"{folder}/.nestlab", content="served by NFS\n") for folder in node.storage.nfs]
    return tuple(files)


def _target(node: Node) -> dict[str, Any]:
    """One target, open to every initiator without a password, as a lab's is."""
    return {
        "fabric_modules": [],
        "storage_objects": _disks(node),
        "targets": [
            {
                "fabric": "iscsi",
                "wwn": target_name(node),
                "tpgs": [
                    {
                        "tag": 1,
                        "enable": True,
                        # Initiators nobody has named may log in, and write.
                        "attributes": {
                            "authentication": 0,
                            "cache_dynamic_acls": 1,
                            "demo_mode_write_protect": 0,
                            "generate_node_acls": 1,
                        },
                        "luns": [
                            {"index": index, "storage_object": f"/backstores/block/{disk['name']}"}
                            for index, disk in enumerate(_disks(node))
                        ],
                        "portals": [{"ip_address": address, "port": PORT} for address in _addresses(node)],
                        "node_acls": [],
                    }
                ],
            }
        ],
    }


def _disks(node: Node) -> list[dict[str, Any]]:
    assert node.storage is not None
    machine = machine_of(node, "by-id", {})
    return [
        {
            "plugin": "block",
            "name": name,
            "dev": machine.disk(name).path,
            "wwn": serial_of(node, name),
            "readonly": False,
            "write_back": False,
        }
        for name in node.storage.iscsi
    ]


def _wait_for(devices: Iterable[str]) -> str:
    """The service does not wait for disks by itself, nor for the addresses that its portals are on."""
    return (
        "[Unit]\nAfter=nestlab-network.service\n\n"
        f"[Service]\nExecStartPre=udevadm wait --timeout=120 {' '.join(devices)}\n"
    )


def _addresses(node: Node) -> Iterator[str]:
    """Each is a path of its own: initiators are told all of them."""
    for nic in node.nics:
        for text in (*nic.addresses, *(text for texts in nic.vlan_addresses.values() for text in texts)):
            address = text.partition("/")[0]
            yield f"[{address}]" if ":" in address else address


def serial_of(node: Node, disk: str) -> str:
    """The unit's serial number, from which initiators see that two paths lead to one disk."""
    text = hashlib.sha256(f"{node.name}\0{disk}".encode()).hexdigest()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))
