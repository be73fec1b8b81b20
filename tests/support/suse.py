"""SUSE hosts, for every thing that their answers can say."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from builder.model.lab import DiskBus, KernelSettings, MediumSource, Node, RaidArray, RaidLevel
from builder.model.plan import SystemPlan
from builder.model.units import GIB
from builder.systems.suse.system import Suse
from tests.support.nodes import debian_node, disk, nic, xen
from tests.support.rhel import HASH, KEY, RSA, text_file

YAST = ("15.6", "sles15")
AGAMA = ("16.0", "sles16")
RELEASES = (*YAST, *AGAMA)
YAST_NAMES = "{http://www.suse.com/1.0/yast2ns}"
EXPERIMENT = "NLS115"
"""The warning that every Agama profile has."""


def suse_node(
    release: str = "15.6", disks: int = 1, level: RaidLevel | None = None, *, bus: DiskBus = "sata", **changes: Any
) -> Node:
    """A host whose system is on an array over all of its disks; level None: on the first disk alone."""
    drives = tuple(disk(f"disk{number}", size=60 * GIB, bus=bus) for number in range(disks))
    array = RaidArray(name="system", level=level, disks=tuple(d.name for d in drives)) if level is not None else None
    values = {
        "name": "host-a",
        "system": "suse",
        "release": release,
        "memory": 4 * GIB,
        "disks": drives,
        "raid": (array,) if array else (),
        "xen": xen(dom0_memory=2 * GIB),
        "source": MediumSource(path="/media/install.iso"),
    }
    return debian_node(**{**values, **changes})


@dataclass(frozen=True)
class Case:
    """`warned` are the codes of all findings but the experiment's."""

    node: Node
    warned: tuple[str, ...] = ()

    @functools.cached_property
    def plan(self) -> SystemPlan:
        return Suse().plan(self.node)

    @property
    def text(self) -> str:
        (answer,) = self.plan.answers
        return answer.content


def scripts_of(made: SystemPlan) -> dict[str, str]:
    """Scripts of the answers by their names, as json and lxml read them."""
    (answer,) = made.answers
    if answer.name.endswith(".json"):
        return {
            each["name"]: each["content"] for stage in json.loads(answer.content)["scripts"].values() for each in stage
        }
    scripts = etree.fromstring(answer.content.encode()).iter(f"{YAST_NAMES}script")
    return {
        each.findtext(f"{YAST_NAMES}filename") or "": each.findtext(f"{YAST_NAMES}source") or "" for each in scripts
    }


NETWORK: Mapping[str, Any] = {
    "address": "192.0.2.10/24",
    "gateway": "192.0.2.1",
    "nameservers": ["192.0.2.53", "192.0.2.54"],
}
LANS = (
    nic(1, addresses=("10.0.0.5/24", "fd00::5/64"), mtu=9000),
    nic(2, trunk=(10, 20), vlan_addresses={10: ("10.0.10.5/24",)}),
    nic(3),
)
GUEST = 'name="web"\nmemory=512\nvif=["mac=00:16:3e:00:00:01,bridge=xenbr0"]\ndisk=["phy:/dev/vg/web,xvda,w"]\n'
FULL: Mapping[str, Any] = {
    "url": "https://mirror.example/leap/?a=1&b=2",
    "repositories": [{"name": "extra", "url": "http://mirror.example/extra"}],
    "language": "de_DE.UTF-8",
    "keyboard": "de",
    "timezone": "Europe/Berlin",
    "ntp": ["ntp1.example", "192.0.2.123"],
    "hostname": "host-a.lab.example",
    "root_password": HASH,
    "root_keys": [KEY, RSA],
    "users": [
        {"name": "alice", "password": HASH, "keys": [KEY], "groups": ["audio"], "admin": True},
        {"name": "bob", "keys": [RSA]},
    ],
    "patterns": ["documentation"],
    "packages": ["vim", "tcpdump"],
    "services_on": ["libvirtd.service"],
    "services_off": ["postfix.service"],
    "firewall": False,
    "boot_size": "2GiB",
    "swap": "4GiB",
    "root_size": "20GiB",
    "volume_group": "system",
    "extent": "32MiB",
    "filesystem": "btrfs",
    "trim": "discard",
    "hotplug_timeout": 10,
    "loop_devices": 128,
    "files": [
        {"path": "/etc/xen/web", "file": text_file(GUEST, "web")},
        {"path": "/etc/motd", "file": text_file("<b> & ]]> \"'\n", "motd"), "mode": "0600"},
    ],
    "pre": [{"file": text_file("echo pre\n"), "interpreter": "/bin/bash"}],
    "partitioned": [{"file": text_file("lsblk\n")}],
    "post": [
        {"file": text_file("echo 'in the host' && true < /dev/null\n")},
        {"file": text_file("print('%d' % 1)\n"), "interpreter": "/usr/bin/python3", "chroot": False},
    ],
    "first_boot": [{"file": text_file("#!/bin/sh\ntouch /root/started\n")}],
    "end": "reboot",
}
LAYOUTS: tuple[tuple[int, RaidLevel | None], ...] = ((1, None), (2, 1), (4, 10))
BONDS: Mapping[str, Any] = {"vlan": 12, "bonds": [{"name": "bond0", "cards": [1, 2], "mode": "802.3ad"}]}


def _cases() -> dict[str, Case]:
    made = {}
    for release in RELEASES:
        for firmware in ("bios", "uefi"):
            for count, level in LAYOUTS:
                name = "plain" if level is None else f"raid{level}x{count}"
                made[f"{release}-{firmware}-{name}"] = Case(suse_node(release, count, level, firmware=firmware))
            parts = suse_node(release, 4, 10, firmware=firmware, install={"layout": "plain"})
            made[f"{release}-{firmware}-parts"] = Case(parts)
        full = suse_node(
            release, 4, 10, install=dict(FULL), nics=(nic(1),), kernel=KernelSettings(arguments=("mitigations=off",)),
            xen=xen(dom0_memory=2 * GIB, dom0_vcpus_pin=True, loglvl="all", guest_loglvl="all", noreboot=True,
                    pciback_hide=("03:00.0", "0001:04:00.1"), arguments=("cpufreq=xen:performance",)),
        )  # fmt: skip
        made[f"{release}-full"] = Case(full, ("NLS017",))
        by_id = {"disk_names": "by-id", "devices": {"disk3": "/dev/disk/by-id/wwn-0x5000"}}
        made[f"{release}-by-id"] = Case(suse_node(release, 4, 10, firmware="uefi", install=by_id))
        made[f"{release}-one-part"] = Case(suse_node(release, install={"layout": "plain", "label": "msdos"}))
        made[f"{release}-network"] = Case(suse_node(release, nics=LANS, install={"network": NETWORK}))
        made[f"{release}-bond"] = Case(suse_node(
            release, nics=(nic(1, addresses=("10.0.0.5/24",), trunk=(7,)), nic(2)), install={"network": dict(BONDS)}
        ))  # fmt: skip
        made[f"{release}-no-bridges"] = Case(suse_node(
            release, nics=(nic(1, addresses=("10.0.0.5/24",)),), install={"network": {"bridged": False}}
        ))  # fmt: skip
        made[f"{release}-six"] = Case(suse_node(
            release, install={"network": {"address": "fd00::5/64", "gateway": "fd00::1"}}
        ))  # fmt: skip
        made[f"{release}-served"] = Case(suse_node(
            release, install={"served_at": "http://192.0.2.9/host-a", "delivery": "http",
                              "network": {**NETWORK, "vlan": 7}},
        ))  # fmt: skip
        made[f"{release}-virtio"] = Case(suse_node(release, 6, 10, bus="virtio"))
        made[f"{release}-raid5"] = Case(suse_node(release, 3, 5))
        made[f"{release}-keys"] = Case(suse_node(release, install={"root_keys": [KEY]}))
    made["sles15-registered"] = Case(suse_node(
        "sles15", install={"registration": {"code": "ABC-123", "email": "a@example.org", "version": "15.6"}}
    ))  # fmt: skip
    made["sles15-mirror"] = Case(suse_node("sles15", install={"registration": {"server": "http://rmt.example"}}))
    made["sles16-registered"] = Case(suse_node("sles16", install={"registration": {"code": "ABC-123"}}))
    return made


CASES: Mapping[str, Case] = _cases()
