"""NetBSD's row in the table of systems."""

from __future__ import annotations

from builder.model.lab import Value
from builder.model.plan import Minimum, SystemTraits
from builder.model.units import GIB, MIB
from builder.systems.guests import hosts


def _options() -> type[Value]:
    from builder.systems.netbsd.options import NetbsdInstall  # noqa: PLC0415 - 10 ms that other labs should not pay

    return NetbsdInstall


TRAITS = SystemTraits(
    name="netbsd",
    title="NetBSD",
    releases=("10",),
    default_release="10",
    defaults={
        "cpus": 2,
        "memory": "2GiB",
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "e1000",
        "disks": [{"size": "16GiB"}],
        "xen": {"dom0_memory": "1GiB", "bridge": "bridge0"},
    },
    minimum=Minimum(
        memory=GIB,
        disk=4 * GIB,
        source="NetBSD wiki, ports/xen/howto: 512 MiB for dom0 worked reliably, 256 did not; the rest is for Xen and "
        "the sets",
    ),
    sources=("medium",),
    # IDE disks are what NetBSD's own tests run on under QEMU (anita): wd0 on piixide(4), in the kernels of the medium
    # and of dom0. The documented LSI Logic SCSI is esiop(4) there, and can be chosen. Only a BIOS starts the host.
    buses={"bios": "ide", "uefi": "sata"},
    footprint=2 * GIB + 512 * MIB,
    install=_options,
    guests=hosts.NETBSD.traits,
)
