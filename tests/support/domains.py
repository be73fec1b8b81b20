"""Guests of every kind, for the tests of what is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.model.lab import Guest, GuestDisk, GuestMake, MediumSource, Node, Vif
from builder.model.plan import File
from builder.model.units import GIB, MIB
from builder.systems.guests.files import guest_files
from tests.support.nodes import debian_node, disk, nic, xen

KEY = f"ssh-ed25519 {'A' * 60} o'brien"
MIRROR = "http://mirror.example/pub/"


def guest(name: str = "web", **changes: Any) -> Guest:
    values: dict[str, Any] = {
        "name": name,
        "type": "pv",
        "os": "linux",
        "manager": "xl",
        "vcpus": 1,
        "memory": 256 * MIB,
        "maxmem": None,
        "boot": "dom0-kernel",
        "kernel": None,
        "ramdisk": None,
        "arguments": (),
        "disks": (),
        "vifs": (),
        "pci": (),
        "autostart": False,
        "entropy": False,
        "made": None,
    }
    return Guest(**{**values, **changes})


def file_disk(number: int = 0, **changes: Any) -> GuestDisk:
    path = f"/var/lib/nestlab/guests/web/disk{number}.raw"
    return GuestDisk(**{"path": path, "size": 4 * GIB, **changes})


def volume(name: str = "vg0/web", **changes: Any) -> GuestDisk:
    return GuestDisk(**{"path": f"/dev/{name}", "volume": name, "size": 4 * GIB, **changes})


def vif(number: int = 1, bridge: str = "xenbr0") -> Vif:
    return Vif(mac=f"00:16:3e:00:00:{number:02x}", bridge=bridge)


_MEDIUM: Mapping[str, Any] = {
    "source": MediumSource(path="/media/install.iso"),
    "disks": (disk(size=40 * GIB, bus="ide"),),
}
_HOSTS: Mapping[str, Mapping[str, Any]] = {
    "suse": {**_MEDIUM, "release": "15.6", "disks": (disk(size=40 * GIB, bus="sata"),)},
    "netbsd": {**_MEDIUM, "release": "10"},
}


def host(*guests: Guest, system: str = "debian", release: str | None = None) -> Node:
    """A host of that system with these guests, by default of a release that all of them fit."""
    values: dict[str, Any] = {"release": "12", **_HOSTS.get(system, {}), "nics": (nic(1),)}
    if release is not None:
        values["release"] = release
    netbsd = {"bridge": "bridge0", "pciback_hide": ("03:00.0",)}
    values["xen"] = xen(**(netbsd if system == "netbsd" else {"pciback_hide": ("03:00.0", "0001:04:00.1")}))
    return debian_node(**{**values, "name": "dom0", "system": system, "guests": guests})


@dataclass(frozen=True)
class Case:
    guest: Guest
    system: str = "debian"

    @property
    def node(self) -> Node:
        return host(self.guest, system=self.system)

    @property
    def files(self) -> tuple[File, ...]:
        return guest_files(self.node)


_DISKS = (file_disk(), volume("vg0/web-data", readonly=True), file_disk(2, path="/srv/w.qcow2", format="qcow2"))
_FULL: Mapping[str, Any] = {
    "vcpus": 4,
    "memory": 512 * MIB,
    "maxmem": GIB,
    "disks": _DISKS,
    "vifs": (vif(1), vif(2, "xenbr1")),
    "autostart": True,
}
_NETBSD: Mapping[str, Any] = {
    "os": "netbsd",
    "boot": "kernel",
    "kernel": "/var/lib/nestlab/guests/web/netbsd-XEN3_DOMU.gz",
}


def made(by: str, **changes: Any) -> GuestMake:
    return GuestMake.model_validate({"by": by, **changes})


def _starts() -> dict[str, Case]:
    """Every way to start each type, for both toolstacks."""
    cases = {}
    for manager in ("xl", "libvirt"):
        for kind in ("pv", "pvh", "hvm"):
            base: dict[str, Any] = {"type": kind, "manager": manager}
            cases[f"{manager}-{kind}-dom0"] = Case(guest(**base, arguments=("quiet", "a.b=c")))
            cases[f"{manager}-{kind}-kernel"] = Case(
                guest(**base, **_FULL, boot="kernel", kernel="/k/vmlinuz", ramdisk="/k/initrd")
            )
            if kind == "hvm":
                cases[f"{manager}-hvm-disk"] = Case(guest(**base, **_FULL, boot="disk", pci=("03:00.0",)))
                continue
            cases[f"{manager}-{kind}-pvgrub2"] = Case(guest(**base, boot="pvgrub2", disks=_DISKS))
            cases[f"{manager}-{kind}-grub-xen"] = Case(
                guest(**base, boot="grub-xen", kernel="/srv/grub.xen", disks=(volume(),))
            )
            if manager == "xl" or kind == "pv":
                cases[f"{manager}-{kind}-pygrub"] = Case(guest(**base, boot="pygrub", disks=_DISKS))
        cases[f"{manager}-pv-pci"] = Case(guest(manager=manager, pci=("03:00.0", "0001:04:00.1")))
        cases[f"{manager}-netbsd"] = Case(guest(manager=manager, **_NETBSD, disks=(file_disk(), file_disk(1))))
    cases["xl-hvm-entropy"] = Case(guest(type="hvm", boot="disk", disks=_DISKS, entropy=True))
    many = tuple(file_disk(number) for number in range(6))
    cases["xl-hvm-many-disks"] = Case(guest(type="hvm", boot="disk", disks=many))
    cases["xl-seven-vifs"] = Case(guest(vifs=tuple(vif(number) for number in range(7))))
    return cases


def _makers() -> dict[str, Case]:
    keys = (KEY,)
    cases = {
        "debootstrap": Case(
            guest(boot="pvgrub2", disks=(volume(),), made=made("debootstrap", release="trixie", keys=keys))
        ),
        "debootstrap-plain": Case(
            guest(boot="pygrub", disks=(file_disk(),), arguments=("quiet",), made=made("debootstrap"))
        ),
        "xen-tools": Case(
            guest(boot="pygrub", disks=(file_disk(),), made=made("xen-tools", release="bookworm", mirror=MIRROR))
        ),
        "xen-tools-volume": Case(guest(boot="pygrub", disks=(volume(),), made=made("xen-tools", keys=keys))),
    }
    for manager in ("xl", "libvirt"):
        for kind in ("pv", "hvm"):
            installer = made("debian-installer", release="trixie", mirror=MIRROR, preseed="http://x/p?a=1&b='2'")
            start = "disk" if kind == "hvm" else "pvgrub2"
            cases[f"{manager}-{kind}-installer"] = Case(
                guest(manager=manager, type=kind, boot=start, disks=(volume(), file_disk(1)), made=installer)
            )
        cases[f"{manager}-netbsd-install"] = Case(
            guest(
                manager=manager, **_NETBSD, disks=(file_disk(),),
                made=made("INSTALL_XEN3_DOMU", release="10.1", mirror=MIRROR),
            )
        )  # fmt: skip
    for system in ("suse", "netbsd"):
        disks = tuple(file_disk(number) for number in range(6))
        maker = made("netbsd-sets", release="10.1", mirror=MIRROR, keys=keys) if system == "netbsd" else None
        cases[f"{system}-host"] = Case(guest(**_NETBSD, disks=disks, autostart=True, made=maker), system)
    return cases


CASES: Mapping[str, Case] = {**_starts(), **_makers()}
