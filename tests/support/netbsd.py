"""NetBSD hosts, for everything that their settings can say."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.model.lab import Guest, GuestDisk, KernelSettings, MediumSource, Node, RaidArray, Vif
from builder.model.plan import SystemPlan
from builder.model.units import GIB, MIB
from builder.systems.netbsd.system import Netbsd
from tests.support.nodes import debian_node, disk, nic, xen
from tests.support.rhel import KEY

HASH = "$2a$10$" + "a" * 53
PAIR = (RaidArray(name="system", level=1, disks=("disk0", "disk1")),)
HOST = "nestlab/host"
SCRIPT = "nestlab/install.sh"


def netbsd_node(*, raid: bool | tuple[RaidArray, ...] = False, bus: Any = "lsilogic", **changes: Any) -> Node:
    """A host with two disks; with `raid` True, its system is on both."""
    values = {
        "name": "host-a",
        "system": "netbsd",
        "release": "10",
        "memory": 2 * GIB,
        "disks": tuple(disk(f"disk{number}", size=16 * GIB, bus=bus) for number in range(2)),
        "raid": PAIR if raid is True else raid or (),
        "xen": dom0(),
        "source": MediumSource(path="/media/netbsd.iso"),
    }
    return debian_node(**{**values, **changes})


def dom0(**changes: Any) -> Any:
    return xen(**{"bridge": "bridge0", **changes})


@dataclass(frozen=True)
class Case:
    """`warned` are the codes of all findings."""

    node: Node
    warned: tuple[str, ...] = ()

    @functools.cached_property
    def plan(self) -> SystemPlan:
        return Netbsd().plan(self.node)

    @functools.cached_property
    def files(self) -> dict[str, str]:
        """The host's files, by path."""
        return {
            answer.name.removeprefix(HOST): answer.content
            for answer in self.plan.answers
            if answer.name.startswith(HOST)
        }

    @functools.cached_property
    def script(self) -> str:
        return next(answer.content for answer in self.plan.answers if answer.name == SCRIPT)


FULL: Mapping[str, Any] = {
    "sets": ["base", "etc", "modules", "rescue", "man", "misc", "text"],
    "xen": "420",
    "packages": "http://192.0.2.9/packages/All",
    "kernel": "http://192.0.2.9/netbsd-XEN3_DOM0.gz",
    "swap": "512MiB",
    "hostname": "host-a.lab.example",
    "timezone": "Europe/Paris",
    "ntp": ["ntp1.example", "192.0.2.123"],
    "root_password": HASH,
    "root_keys": [KEY],
    "network": {"address": "192.0.2.10/24", "gateway": "192.0.2.1", "nameservers": ["192.0.2.53"]},
    "guests": {"mode": "nat", "address": "10.9.0.1/16"},
    "xendomains": ["mail", "www-1"],
    "guest_disks": 24,
    "menu_timeout": 0,
    "keep_going": True,
    "end": "reboot",
}
LANS = (
    nic(1, addresses=("10.0.0.5/24", "fd00::5/64"), mtu=9000),
    nic(2, trunk=(10, 20), vlan_addresses={10: ("10.0.10.5/24", "10.0.10.6/24")}),
    nic(3),
)


GUESTS = tuple(
    Guest(
        name=name, type="pv", os="netbsd", manager="xl", vcpus=1, memory=256 * MIB, maxmem=None, boot="kernel",
        kernel="/netbsd-XEN3_DOMU.gz", ramdisk=None, arguments=(), pci=(), autostart=name != "spare", entropy=False,
        disks=tuple(GuestDisk(path=f"/guests/{name}-{number}", size=GIB) for number in range(2)),
        vifs=(Vif(mac="00:16:3e:00:00:01", bridge="bridge0"),), made=None,
    )
    for name in ("www", "spare", "dns")
)  # fmt: skip


def _console_cases() -> dict[str, Case]:
    made = {}
    for name, console in (("serial", "com1"), ("second-port", "com2"), ("both", "com1,vga"), ("screen", "vga")):
        for raid in (False, True):
            node = netbsd_node(raid=raid, xen=dom0(console=console))
            made[f"{name}{'-raid1' if raid else ''}"] = Case(node)
    return made


def _cases() -> dict[str, Case]:
    made = _console_cases()
    for bus in ("lsilogic", "lsisas1068", "ide", "sata"):
        made[f"bus-{bus}"] = Case(netbsd_node(bus=bus))
        made[f"bus-{bus}-raid1"] = Case(netbsd_node(bus=bus, raid=True))
    for model in ("e1000", "e1000e", "rtl8139"):
        made[f"card-{model}"] = Case(netbsd_node(management_nic=model, nics=(nic(1, model=model),)))
    made["guests-nat"] = Case(netbsd_node(install={"guests": {"mode": "nat"}}))
    made["guests-nat-card"] = Case(netbsd_node(nics=(nic(1),), install={"guests": {"mode": "nat", "card": 1}}))
    made["networks"] = Case(netbsd_node(nics=LANS))
    made["static6"] = Case(netbsd_node(install={"network": {"address": "fd00::9/64", "gateway": "fd00::1"}}))
    made["full"] = Case(
        netbsd_node(
            install=dict(FULL), raid=True,
            xen=dom0(dom0_max_vcpus=1, pciback_hide=("03:00.0", "0000:04:00.1"), console="vga", noreboot=True,
                     arguments=("ucode=scan",)),
            kernel=KernelSettings(arguments=("-v",)),
        ),
        ("NLN095", "NLN083"),
    )  # fmt: skip
    made["half-a-gib"] = Case(netbsd_node(xen=dom0(dom0_memory=512 * MIB)))
    made["little-memory"] = Case(netbsd_node(xen=dom0(dom0_memory=256 * MIB)), ("NLN093",))
    made["pinned"] = Case(netbsd_node(xen=dom0(dom0_vcpus_pin=True)))
    made["other-names"] = Case(
        netbsd_node(raid=True, install={"devices": {"disk0": "ld0", "disk1": "ld1"}, "cards": ["ixg0"]})
    )
    made["one-processor"] = Case(netbsd_node(xen=dom0(dom0_max_vcpus=1)))
    made["mixed-buses"] = Case(netbsd_node(disks=(disk("disk0", bus="sata"), disk("disk1", bus="lsilogic"))))
    made["mixed-cards"] = Case(netbsd_node(nics=(nic(1, model="rtl8139"), nic(2))))
    made["packages-by-name"] = Case(netbsd_node(install={"packages": "https://cdn.example.org/All/"}))
    made["kernel-by-name"] = Case(netbsd_node(install={"kernel": "ftp://cdn.example.org/netbsd-XEN3_DOM0.gz"}))
    made["guest-disks"] = Case(netbsd_node(install={"guest_disks": 4}))
    made["other-bridge"] = Case(netbsd_node(xen=dom0(bridge="bridge7")))
    made["own-guests"] = Case(netbsd_node(guests=GUESTS, install={"xendomains": ["mail"], "guest_disks": 4}))
    made["reboot"] = Case(netbsd_node(install={"end": "reboot"}), ("NLN083",))
    made["shell"] = Case(netbsd_node(install={"keep_going": True}))
    return made


CASES: Mapping[str, Case] = _cases()
