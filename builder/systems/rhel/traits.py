"""The row of Enterprise Linux and Fedora in the table of systems."""

from __future__ import annotations

from builder.model.lab import Value
from builder.model.plan import Minimum, SystemTraits
from builder.model.units import GIB, MIB


def _options() -> type[Value]:
    from builder.systems.rhel.options import RhelInstall  # noqa: PLC0415 - 10 ms that other labs should not pay

    return RhelInstall


TRAITS = SystemTraits(
    name="rhel",
    title="Enterprise Linux or Fedora",
    releases=("el10", "el9", "el8", "el7", "el6", "f45", "f44"),
    default_release="el10",
    defaults={
        "cpus": 2,
        "memory": "3GiB",
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "virtio",
        "disks": [{"size": "20GiB"}],
    },
    minimum=Minimum(
        memory=1536 * MIB,
        disk=10 * GIB,
        source="RHEL 8 and 9, System requirements reference: 1.5 GiB for a local medium, 10 GiB of disk "
        "(anaconda itself stops below 1070 MB: pyanaconda/core/hw.py)",
    ),
    sources=("medium",),
    xen=False,
    # AHCI is in the kernels of all releases, gives disks the names sda, sdb, ... of real machines, and OVMF drives it.
    # The cards above are virtio: all kernels drive them, too.
    buses={"bios": "sata", "uefi": "sata"},
    footprint=3 * GIB,
    install=_options,
)
