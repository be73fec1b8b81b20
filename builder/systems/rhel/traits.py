"""The row of Enterprise Linux and Fedora in the table of systems."""

from __future__ import annotations

from builder.model.lab import Value
from builder.model.plan import Minimum, SystemTraits
from builder.model.units import GIB, MIB


def _options() -> type[Value]:
    from builder.systems.rhel.options import RhelInstall  # noqa: PLC0415 - 10 ms that other labs should not pay

    return RhelInstall


# Red Hat's pages of requirements as osinfo-db restates them, release by release (62326e12, data/os/redhat.com and
# fedoraproject.org: rhel-6.0 to rhel-10.0, fedora-44). What anaconda itself stops below is less: 384 MiB in release 6
# (isys/isys.h), 670 in 7 and 1070 in 8 to 10 (MIN_RAM + SQUASHFS_EXTRA_RAM: isys/__init__.py, core/hw.py).
_SOURCE = "osinfo-db, {}: the least for an installation from a medium{}"
_NETWORK = "; 3 GiB for one over the network"
_EL7 = Minimum(memory=GIB, disk=10 * GIB, source=_SOURCE.format("rhel-7.0", "; 1.5 GiB for one over the network"))
_EL6 = Minimum(memory=GIB, disk=10 * GIB, source=_SOURCE.format("rhel-6.0", "; disk as for release 7"))
_FEDORA = Minimum(memory=2 * GIB, disk=15 * GIB, source=_SOURCE.format("fedora-44", ""))

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
    minimum=Minimum(memory=1536 * MIB, disk=10 * GIB, source=_SOURCE.format("rhel-8.0 to rhel-10.0", _NETWORK)),
    minima={"el7": _EL7, "el6": _EL6, "f45": _FEDORA, "f44": _FEDORA},
    sources=("medium",),
    xen=False,
    # AHCI is in the kernels of all releases, gives disks the names sda, sdb, ... of real machines, and OVMF drives it.
    # The cards above are virtio: all kernels drive them, too.
    buses={"bios": "sata", "uefi": "sata"},
    footprint=3 * GIB,
    install=_options,
)
