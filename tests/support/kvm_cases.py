"""Nodes and wirings that cover every rendering of builder.hypervisors.kvm: one table, several judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.model.lab import Disk, DiskBus, ImageSource, KernelSettings, Nic, NicModel, Node, SectorSize, XenSettings
from builder.model.runtime import DirectBoot, InstallMedia, NicPorts, UefiFirmware, Wiring

GIB = 1 << 30


def disk(name: str, bus: DiskBus, sector: SectorSize = "512n", size: int = GIB) -> Disk:
    return Disk(name=name, size=size, bus=bus, sector=sector)


def disks(bus: DiskBus, count: int) -> tuple[Disk, ...]:
    return tuple(disk(f"d{n}", bus) for n in range(count))


def nics(*models: NicModel) -> tuple[Nic, ...]:
    return tuple(Nic(network="lan", mac=f"52:54:00:aa:00:{n:02x}", model=model) for n, model in enumerate(models, 1))


def node(**changes: Any) -> Node:
    values: dict[str, Any] = {
        "name": "n1",
        "system": "debian",
        "release": "13",
        "cpus": 2,
        "memory": 256 << 20,
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "e1000",
        "management_mac": "52:54:00:bb:00:01",
        "disks": (disk("root", "lsilogic"),),
        "raid": (),
        "nics": nics("e1000"),
        "xen": XenSettings(
            dom0_memory=GIB,
            dom0_max_vcpus=1,
            dom0_vcpus_pin=True,
            com1="115200,8n1",
            console="com1",
            loglvl=None,
            guest_loglvl=None,
            noreboot=False,
            bridge="xenbr0",
            pciback_hide=(),
            arguments=(),
        ),
        "kernel": KernelSettings(arguments=()),
        "source": ImageSource(),
        "after": (),
    }
    return Node(**{**values, **changes})


@dataclass(frozen=True, slots=True)
class Case:
    """`wiring` are the values that differ from the plain wiring. `kvm` cases cannot be started without KVM."""

    node: Node
    wiring: Mapping[str, Any]

    @property
    def startable(self) -> bool:
        return "accelerator" not in self.wiring

    def wire(self, folder: Path | str = "/lab", *, port: int = 20000, **changes: Any) -> Wiring:
        """The wiring with all paths in `folder`; ports count up from `port`."""
        base = str(folder)
        values: dict[str, Any] = {
            "lab": "demo",
            "domain": "demo-n1",
            "uuid": "6f1f0f34-5d5c-4e0a-9a0c-3a7a5a3f0001",
            "accelerator": "tcg",
            "machine_type": "pc-i440fx-7.2" if self.node.machine == "pc" else "pc-q35-7.2",
            "disks": tuple(f"{base}/{d.name}.qcow2" for d in self.node.disks),
            "console_log": f"{base}/console.log",
            "console_socket": f"{base}/console.sock",
            "ssh_port": port,
            "nics": tuple(NicPorts(qemu=port + 1 + 2 * n, switch=port + 2 + 2 * n) for n in range(len(self.node.nics))),
            "expires_at": 1800000000,
        }
        extra = {key: make(base) if callable(make) else make for key, make in self.wiring.items()}
        return Wiring(**{**values, **extra, **changes})


def _case(wiring: Mapping[str, Any] | None = None, **changes: Any) -> Case:
    return Case(node(**changes), wiring or {})


_uefi: Callable[[str], UefiFirmware] = lambda base: UefiFirmware(  # noqa: E731 - a value of the tables below
    code="/usr/share/OVMF/OVMF_CODE_4M.fd",
    variables=f"{base}/vars.fd",
    template="/usr/share/OVMF/OVMF_VARS_4M.fd",
)
_direct: Callable[[str], DirectBoot] = lambda base: DirectBoot(  # noqa: E731
    kernel=f"{base}/kernel", initrd=f"{base}/initrd", arguments="console=ttyS0 quiet"
)
_cdrom: Callable[[str], str] = lambda base: f"{base}/install.iso"  # noqa: E731
_install: Callable[[str], InstallMedia] = lambda base: InstallMedia(  # noqa: E731
    medium=f"{base}/medium.qcow2", volume=f"{base}/install.iso"
)

CASES: Mapping[str, Case] = {
    "tcg-bios-lsi": _case(),
    "tcg-bios-direct": _case({"direct": _direct}, disks=()),
    "tcg-bios-direct-no-initrd": _case(
        {"direct": lambda base: DirectBoot(kernel=f"{base}/kernel", initrd="", arguments="console=ttyS0")}, disks=()
    ),
    "tcg-bios-ide-cdrom": _case({"cdrom": _cdrom, "on_reboot": "end"}, disks=disks("ide", 3)),
    "tcg-bios-lsi-nine-disks": _case(disks=disks("lsilogic", 9)),
    "tcg-bios-sata-on-pc": _case({"cdrom": _cdrom}, disks=disks("sata", 2)),
    "tcg-bios-fusion": _case(disks=disks("lsisas1068", 2)),
    "tcg-bios-lsi-and-fusion": _case(disks=(disk("a", "lsisas1068"), disk("b", "lsilogic"), disk("c", "virtio"))),
    "tcg-bios-sectors": _case(
        disks=(
            disk("a", "lsilogic"),
            disk("b", "lsilogic", "512e"),
            disk("c", "lsilogic", "4Kn"),
            disk("d", "virtio", "4Kn"),
        )
    ),
    "tcg-bios-ide-512e": _case(disks=(disk("a", "ide", "512e"),)),
    "tcg-bios-many-nics": _case(nics=nics("e1000", "e1000", "rtl8139", "virtio"), management_nic="virtio"),
    "tcg-bios-no-lab-nic": _case(nics=(), management_nic="rtl8139"),
    "tcg-uefi-ide": _case({"uefi": _uefi}, firmware="uefi", disks=disks("ide", 1)),
    "tcg-uefi-q35-sata": _case(
        {"uefi": _uefi, "cdrom": _cdrom}, firmware="uefi", machine="q35", disks=disks("sata", 3), nics=nics("e1000e")
    ),
    "tcg-bios-install": _case({"install": _install, "screen": True, "on_reboot": "end"}, disks=disks("ide", 2)),
    "tcg-uefi-q35-install": _case(
        {"uefi": _uefi, "install": _install, "screen": True, "on_reboot": "end"},
        firmware="uefi", machine="q35", disks=disks("sata", 4),
    ),
    "tcg-q35-lsi": _case({"cdrom": _cdrom}, machine="q35", management_nic="e1000e"),
    "tcg-q35-virtio": _case(machine="q35", disks=disks("virtio", 3), nics=nics("virtio"), management_nic="virtio"),
    "tcg-q35-iommu": _case(machine="q35", iommu=True, disks=disks("sata", 1), nics=nics("e1000e", "e1000e")),
    "kvm-q35-iommu": _case(
        {"accelerator": "kvm", "uefi": _uefi},
        firmware="uefi", machine="q35", iommu=True, disks=disks("sata", 1), nics=nics("e1000e"),
    ),
    "kvm-bios-lsi": _case({"accelerator": "kvm"}),
    "kvm-host-model": _case({"accelerator": "kvm"}, cpu_model="host-model"),
    "kvm-uefi-ide": _case({"accelerator": "kvm", "uefi": _uefi}, firmware="uefi", disks=disks("ide", 1)),
}  # fmt: skip
