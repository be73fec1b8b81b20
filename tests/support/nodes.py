"""Nodes as they look after loading, for tests of what is made from them."""

from __future__ import annotations

from typing import Any

from builder.model.lab import Disk, ImageSource, KernelSettings, Nic, Node, XenSettings
from builder.model.units import GIB, MIB

MANAGEMENT_MAC = "52:54:00:00:00:01"


def disk(name: str = "disk0", **changes: Any) -> Disk:
    return Disk(**{"name": name, "size": 16 * GIB, "bus": "lsilogic", "sector": "512n", **changes})


def nic(number: int = 1, **changes: Any) -> Nic:
    """The lab card of that number, counted from 1."""
    mac = f"52:54:00:00:01:{number:02x}"
    return Nic(**{"network": "lan", "mac": mac, "model": "e1000", **changes})


def xen(**changes: Any) -> XenSettings:
    values: dict[str, Any] = {
        "dom0_memory": GIB,
        "dom0_max_vcpus": 2,
        "dom0_vcpus_pin": False,
        "com1": "115200,8n1",
        "console": "com1",
        "loglvl": None,
        "guest_loglvl": None,
        "noreboot": False,
        "bridge": "xenbr0",
        "pciback_hide": (),
        "arguments": (),
    }
    return XenSettings(**{**values, **changes})


def debian_node(**changes: Any) -> Node:
    values: dict[str, Any] = {
        "name": "dom0-a",
        "system": "debian",
        "release": "13",
        "cpus": 2,
        "memory": 4 * GIB,
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "e1000",
        "management_mac": MANAGEMENT_MAC,
        "disks": (disk(),),
        "raid": (),
        "nics": (),
        "xen": xen(),
        "kernel": KernelSettings(arguments=()),
        "source": ImageSource(),
        "after": (),
    }
    return Node(**{**values, **changes})


def tiny_node(**changes: Any) -> Node:
    return debian_node(**{"name": "tiny-a", "system": "tiny", "cpus": 1, "memory": 256 * MIB, "disks": (), **changes})
