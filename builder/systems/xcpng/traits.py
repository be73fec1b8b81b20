"""XCP-ng's row in the table of systems."""

from __future__ import annotations

from builder.model.lab import Value
from builder.model.plan import Minimum, SystemTraits
from builder.model.units import GIB
from builder.systems.xcpng.memory import documented


def _options() -> type[Value]:
    from builder.systems.xcpng.options import XcpngInstall  # noqa: PLC0415 - 10 ms that other labs should not pay

    return XcpngInstall


TRAITS = SystemTraits(
    name="xcpng",
    title="XCP-ng or XenServer",
    releases=("8.3", "8.2", "xs8"),
    default_release="8.3",
    defaults={
        "cpus": 2,
        "memory": "8GiB",
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "e1000",
        "disks": [{"size": "100GiB"}],
    },
    minimum=Minimum(
        memory=4 * GIB,
        disk=50 * GIB,
        source="XCP-ng docs, XCP-ng in a VM, KVM: 4 GB minimum, 8 GB recommended, a disk of 50 GiB at least",
    ),
    sources=("medium",),
    # The documented LSI Logic SCSI cannot be started from by OVMF; AHCI can, and dom0's kernel drives it.
    buses={"bios": "lsilogic", "uefi": "sata"},
    footprint=6 * GIB,
    dom0_memory=lambda host: documented(host)[0],
    install=_options,
)
