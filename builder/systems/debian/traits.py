"""Debian's row in the table of systems: its releases, its defaults and its documented floor."""

from __future__ import annotations

from builder.model.lab import Value
from builder.model.plan import Minimum, SystemTraits
from builder.model.units import GIB
from builder.systems.guests import hosts


def _options() -> type[Value]:
    from builder.systems.debian.options import DebianInstall  # noqa: PLC0415 - 10 ms that other labs should not pay

    return DebianInstall


TRAITS = SystemTraits(
    name="debian",
    title="Debian with Xen",
    releases=("13", "12"),
    default_release="13",
    defaults={
        "cpus": 2,
        "memory": "4GiB",
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "e1000",
        "disks": [{"size": "16GiB"}],
        "xen": {
            "dom0_memory": "1GiB",
            "dom0_max_vcpus": 2,
            "dom0_vcpus_pin": False,
            "com1": "115200,8n1",
            "console": "com1",
            "noreboot": False,
            "bridge": "xenbr0",
        },
    },
    minimum=Minimum(
        memory=GIB,
        disk=4 * GIB,
        source="Debian Installation Guide, 2.5 (780 MB) and 3.4 (4 GB without a desktop)",
    ),
    sources=("image", "medium"),
    footprint=GIB,
    guests=hosts.DEBIAN.traits,
    packages=True,
    install=_options,
)
