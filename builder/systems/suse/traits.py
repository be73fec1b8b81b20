"""SUSE's row in the table of systems."""

from __future__ import annotations

from builder.model.lab import Value
from builder.model.plan import Minimum, SystemTraits
from builder.model.units import GIB
from builder.systems.guests import hosts


def _options() -> type[Value]:
    from builder.systems.suse.options import SuseInstall  # noqa: PLC0415 - 10 ms that other labs should not pay

    return SuseInstall


TRAITS = SystemTraits(
    name="suse",
    title="openSUSE Leap or SUSE Linux Enterprise Server",
    releases=("15.6", "sles15", "16.0", "sles16"),
    default_release="15.6",
    defaults={
        "cpus": 2,
        "memory": "4GiB",
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "virtio",
        "disks": [{"size": "40GiB"}],
        "xen": {"dom0_memory": "2GiB"},
    },
    minimum=Minimum(
        memory=2 * GIB,
        disk=20 * GIB,
        source="SLES 15, Deployment Guide, x86_64: 1 GiB of memory, 10 GiB of disk; doubled here, for Xen beside dom0 "
        "and for /boot and swap",
    ),
    sources=("medium",),
    # AHCI is in the kernels of all releases, gives disks the names sda, sdb, ... of real machines, and OVMF drives it.
    buses={"bios": "sata", "uefi": "sata"},
    footprint=4 * GIB,
    install=_options,
    guests=hosts.SUSE.traits,
)
