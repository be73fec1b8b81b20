"""The machines that are tried, and which of them a lab file can ask for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import get_args

from builder.model.lab import DiskBus, NicModel


@dataclass(frozen=True, slots=True)
class Case:
    """What one start is made of. `bus` and `nic` are called as in lab files where these have them."""

    machine: str = "pc"
    firmware: str = "bios"
    bus: str = "lsilogic"
    nic: str = "e1000"
    cpu: str = "max,-smap,-xsave"

    @property
    def name(self) -> str:
        return "-".join(asdict(self).values()).replace(",", "")


DOCUMENTED = Case()
_BUSES = {
    ("pc", "bios"): ("lsilogic", "lsisas1068", "megasas", "pvscsi", "virtio", "ide", "sata", "nvme"),
    ("pc", "uefi"): ("ide", "lsilogic", "lsisas1068", "megasas", "virtio", "sata", "nvme"),
    ("q35", "bios"): ("sata", "lsilogic", "virtio", "nvme"),
    ("q35", "uefi"): ("sata", "virtio", "nvme"),
}
_NICS = ("e1000e", "rtl8139", "virtio", "vmxnet3")
_CPUS = ("max", "max,-smap", "qemu64", "qemu64,+svm,+npt", "EPYC", "Haswell-noTSX,-smap")


def cases() -> list[Case]:
    """The documented machine first; each other differs from it in one thing, or in machine, firmware and controller."""
    machines = [Case(machine, firmware, bus) for (machine, firmware), buses in _BUSES.items() for bus in buses]
    cards = [replace(DOCUMENTED, nic=nic) for nic in _NICS]
    return [*machines, *cards, *(replace(DOCUMENTED, cpu=cpu) for cpu in _CPUS)]


def is_offered(case: Case) -> bool:
    """Whether a lab file can ask for it and is not refused: that has to work. Under emulation nestlab chooses the
    processor, whatever the file says."""
    known = case.bus in get_args(DiskBus) and case.nic in get_args(NicModel) and case.cpu == DOCUMENTED.cpu
    without_driver = case.firmware == "uefi" and case.bus in ("lsilogic", "lsisas1068")
    return known and not without_driver
