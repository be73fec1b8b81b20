"""Hosts that anaconda installs, and pykickstart as a judge of what it is told."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from builder.model.lab import DiskBus, KernelSettings, MediumSource, Node, RaidArray, RaidLevel
from builder.model.units import GIB
from builder.systems.rhel.system import Rhel
from tests.support.nodes import debian_node, disk, nic

HANDLERS = {
    "el6": "RHEL6", "el7": "RHEL7", "el8": "RHEL8", "el9": "RHEL9", "el10": "RHEL10", "f44": "F44", "f45": "F45",
}  # fmt: skip
HASH = "$6$saltsalt$" + "a" * 86
RSA = "ssh-rsa " + "A" * 60 + " somebody@example"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA" + "B" * 44 + " somebody@example"


def text_file(content: str, path: str = "hook.sh") -> dict[str, str]:
    """A user's file as it looks after loading."""
    return {"path": path, "content": content}


def rhel_node(
    release: str, disks: int = 4, level: RaidLevel | None = 10, *, bus: DiskBus = "sata", **changes: Any
) -> Node:
    """A host whose system is on an array over all of its disks; level None: on the first disk alone."""
    drives = tuple(disk(f"disk{number}", size=50 * GIB, bus=bus) for number in range(disks))
    array = RaidArray(name="system", level=level, disks=tuple(d.name for d in drives)) if level is not None else None
    values = {
        "name": "host-a",
        "system": "rhel",
        "release": release,
        "memory": 3 * GIB,
        "disks": drives,
        "raid": (array,) if array else (),
        "source": MediumSource(path="/media/install.iso"),
    }
    return debian_node(**{**values, **changes})


def kickstart(node: Node) -> str:
    (answer,) = Rhel().plan(node).answers
    return answer.content


def parsed(text: str, release: str) -> tuple[Any, list[str]]:
    """What pykickstart's class for that release reads, with its warnings. Raises its errors."""
    parser = KickstartParser(makeVersion(HANDLERS[release]))  # type: ignore[no-untyped-call]  # ships no types
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        parser.readKickstartFromString(text)  # type: ignore[no-untyped-call]
    return parser.handler, [" ".join(str(each.message).split()) for each in told]


@dataclass(frozen=True)
class Case:
    """`warned` is everything that pykickstart has to say: it takes each of these lines for a repetition, and they are
    how several disks, or several VLANs of one card, are written."""

    node: Node
    warned: tuple[str, ...] = ()

    @property
    def release(self) -> str:
        return self.node.release

    @functools.cached_property
    def text(self) -> str:
        return kickstart(self.node)

    @functools.cached_property
    def parsed(self) -> tuple[Any, list[str]]:
        return parsed(self.text, self.release)


AGAIN = "A network device with the name {} has already been defined."
TWICE = "A partition with the mountpoint biosboot has already been defined."

FULL: Mapping[str, Any] = {
    "url": "https://mirror.example/el/os/",
    "repositories": [{"name": "extra", "url": "http://mirror.example/extra"}],
    "language": "de_DE.UTF-8",
    "keyboard": "de-nodeadkeys",
    "timezone": "Europe/Berlin",
    "ntp": ["ntp1.example", "192.0.2.123"],
    "hostname": "host-a.lab.example",
    "root_password": HASH,
    "root_keys": [RSA],
    "users": [
        {"name": "alice", "password": HASH, "keys": [RSA], "groups": ["adm"], "admin": True},
        {"name": "bob", "keys": [RSA]},
    ],
    "packages": ["@core", "vim-enhanced", "-iwl7260-firmware"],
    "services_on": ["sshd"],
    "services_off": ["postfix"],
    "selinux": "permissive",
    "firewall": False,
    "swap": "2GiB",
    "boot_size": "2GiB",
    "filesystem": "ext4",
    "volume_group": "system",
    "extent": "32MiB",
    "pre": [{"file": text_file("echo pre\n"), "interpreter": "/bin/bash", "fatal": False}],
    "post": [
        {"file": text_file("echo 'in the host'\n")},
        {"file": text_file("import sys\nprint('%d' % 1)\n"), "interpreter": "/usr/bin/python3", "chroot": False},
    ],
    "end": "reboot",
    "quirks": ["x9scm-nic"],
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


LAYOUTS: tuple[tuple[int, RaidLevel | None], ...] = ((1, None), (2, 1), (4, 10), (6, 10))


def _cases() -> dict[str, Case]:
    made = {}
    for release in HANDLERS:
        for firmware in ("bios", "uefi"):
            for count, level in LAYOUTS:
                name = f"{release}-{firmware}-{'plain' if level is None else f'raid{level}x{count}'}"
                made[name] = Case(rhel_node(release, count, level, firmware=firmware))
        if release != "el6":
            node = rhel_node(release, install={"label": "gpt"})
            made[f"{release}-bios-gpt-raid10x4"] = Case(node, (TWICE,) * 3)
        by_id = rhel_node(release, install={"disk_names": "by-id", "devices": {"disk3": "/dev/disk/by-id/wwn-0x5000"}})
        made[f"{release}-by-id"] = Case(by_id)
        made[f"{release}-full"] = Case(rhel_node(release, install=dict(FULL), kernel=_quiet()))
        lans = rhel_node(release, 1, None, nics=LANS, install={"network": NETWORK})
        made[f"{release}-network"] = Case(lans, (AGAIN.format("eth2"),) * 2)
        made[f"{release}-bond"] = Case(
            rhel_node(
                release, 1, None, nics=(nic(1, addresses=("10.0.0.5/24",), trunk=(7,)), nic(2)),
                install={"network": {"vlan": 12, "bonds": [{"name": "bond0", "cards": [1, 2], "mode": "802.3ad"}]}},
            ),
            (AGAIN.format("bond0"),),
        )  # fmt: skip
    for release in ("el7", "el10", "f45"):
        bridged = {"bonds": [{"name": "bond0", "cards": [1, 2]}],
                   "bridges": [{"name": "br0", "card": 0}, {"name": "br1", "bond": "bond0"}]}  # fmt: skip
        node = rhel_node(
            release, 1, None, nics=(nic(1, addresses=("10.0.0.5/24",)), nic(2)), install={"network": bridged}
        )
        made[f"{release}-bridge"] = Case(node)
    made["el9-raid5"] = Case(rhel_node("el9", 3, 5))
    made["el9-raid6"] = Case(rhel_node("el9", 5, 6))
    made["el9-virtio"] = Case(rhel_node("el9", 8, 10, bus="virtio"))
    return made


def _quiet() -> KernelSettings:
    return KernelSettings(arguments=("quiet", "mitigations=off"))


CASES: Mapping[str, Case] = _cases()
