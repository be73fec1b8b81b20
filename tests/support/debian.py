"""Hosts that the Debian installer installs, and debconf's own reader as a judge of what it is told."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.model.lab import DiskBus, KernelSettings, MediumSource, Node, RaidArray, RaidLevel
from builder.model.plan import SystemPlan
from builder.model.units import GIB, TIB
from builder.systems.debian.system import Debian
from tests.support.nodes import debian_node, disk, nic, xen

RELEASES = ("12", "13")
HASH = "$6$saltsalt$" + "a" * 86
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA" + "B" * 44 + " somebody@example"


def text_file(content: str, path: str = "hook.sh") -> dict[str, str]:
    """A user's file as it looks after loading."""
    return {"path": path, "content": content}


def install_node(
    release: str = "13", disks: int = 1, level: RaidLevel | None = None, *, bus: DiskBus = "lsilogic", **changes: Any
) -> Node:
    """A host to be installed; with a level its system is on an array over all of its disks."""
    bus = "sata" if changes.get("firmware") == "uefi" else bus
    drives = tuple(disk(f"disk{number}", size=50 * GIB, bus=bus) for number in range(disks))
    array = RaidArray(name="system", level=level, disks=tuple(d.name for d in drives)) if level is not None else None
    values = {
        "name": "host-a",
        "release": release,
        "disks": drives,
        "raid": (array,) if array else (),
        "source": MediumSource(path="/media/debian.iso"),
    }
    return debian_node(**{**values, **changes})


_DATABASES = """\
Config: configdb
Templates: templatedb

Name: configdb
Driver: File
Filename: {folder}/config.dat

Name: templatedb
Driver: File
Filename: {folder}/templates.dat
"""


def debconf(text: str) -> tuple[dict[str, str], str]:
    """The value of each question as debconf itself keeps it, with single blanks, and what it has to say: nothing, when
    all is well. It reads into databases of its own; this machine's are not touched."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "debconf.conf").write_text(_DATABASES.format(folder=folder))
        (folder / "preseed.cfg").write_text(text)
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "DEBCONF_SYSTEMRC": str(folder / "debconf.conf")}
        said = ""
        for options in (["-c"], []):
            done = subprocess.run(
                ["debconf-set-selections", *options, folder / "preseed.cfg"],
                capture_output=True, text=True, check=False, env=environment,
            )  # fmt: skip
            said += done.stderr + (f"status {done.returncode}" if done.returncode else "")
        kept = folder / "config.dat"
        stanzas = kept.read_text().split("\n\n") if kept.exists() else []
    values = {}
    for stanza in stanzas:
        fields = dict(line.partition(":")[::2] for line in stanza.splitlines() if ":" in line)
        if "Name" in fields:
            values[fields["Name"].strip()] = " ".join(fields.get("Value", "").split())
    return values, said


@dataclass(frozen=True)
class Case:
    """`warned` are the codes that our own judge has to tell."""

    node: Node
    warned: tuple[str, ...] = ()

    @property
    def release(self) -> str:
        return self.node.release

    @functools.cached_property
    def plan(self) -> SystemPlan:
        return Debian().plan(self.node)

    @functools.cached_property
    def answers(self) -> Mapping[str, str]:
        return {answer.name: answer.content for answer in self.plan.answers}

    @property
    def text(self) -> str:
        return self.answers["preseed.cfg"]

    @property
    def late(self) -> str:
        return self.answers["nestlab/late.sh"]

    @property
    def last(self) -> str:
        return self.answers["nestlab/last.sh"]

    @functools.cached_property
    def values(self) -> Mapping[str, str]:
        """As debconf keeps them, with single blanks."""
        return debconf(self.text)[0]


FULL: Mapping[str, Any] = {
    "mirror": "http://mirror.example:8080/debian",
    "proxy": "http://proxy.example:3128/",
    "udeb_suite": "dilocal",
    "services": ["security"],
    "language": "de_DE.UTF-8",
    "keyboard": "de",
    "timezone": "Europe/Berlin",
    "ntp": "ntp.example",
    "hostname": "host-a.lab.example",
    "network": {"address": "192.0.2.10/24", "gateway": "192.0.2.1", "nameservers": ["192.0.2.53", "192.0.2.54"]},
    "boot_size": "2GiB",
    "root_size": "8GiB",
    "swap": "512MiB",
    "volume_group": "guests",
    "filesystem": "xfs",
    "root_password": HASH,
    "root_keys": [KEY],
    "users": [
        {"name": "alice", "password": HASH, "keys": [KEY], "groups": ["adm", "disk"], "admin": True},
        {"name": "bob", "keys": [KEY]},
    ],
    "packages": ["vim", "linux-image-amd64/trixie-backports"],
    "early": [text_file("echo early\n")],
    "partman": [text_file("#!/bin/sh\necho partman\n")],
    "late": [
        {"file": text_file("#!/usr/bin/python3\nprint('in the host')\n")},
        {"file": text_file("echo outside\n"), "chroot": False},
    ],
    "end": "reboot",
}
LAYOUTS: tuple[tuple[str, int, RaidLevel | None], ...] = (
    ("plain", 1, None), ("lvm", 1, None), ("raid1", 2, 1), ("raid10", 4, 10), ("raid10", 6, 10),
)  # fmt: skip
LANS = (
    nic(1, addresses=("10.0.0.5/24", "fd00::5/64"), mtu=9000),
    nic(2, trunk=(10, 20), vlan_addresses={10: ("10.0.10.5/24",)}),
)


def _cases() -> dict[str, Case]:
    made = {}
    for release in RELEASES:
        for firmware, label in (("bios", None), ("bios", "gpt"), ("uefi", None)):
            for layout, count, level in LAYOUTS:
                install = ({"layout": layout} if level is None else {}) | ({"label": label} if label else {})
                name = f"{release}-{firmware}{'-gpt' if label else ''}-{layout}{f'x{count}' if level else ''}"
                made[name] = Case(install_node(release, count, level, firmware=firmware, install=install))
        by_id = {"disk_names": "by-id", "devices": {"disk3": "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"}}
        made[f"{release}-by-id"] = Case(install_node(release, 4, 10, install=by_id))
        made[f"{release}-full"] = Case(install_node(release, install=dict(FULL)), ("NLD016",))
        made[f"{release}-lans"] = Case(install_node(release, nics=LANS))
        made[f"{release}-iso"] = Case(install_node(release, install={"delivery": "iso", "medium_only": True}))
        served = {"delivery": "url", "served_at": "http://192.0.2.9:8000/host-a/", "network": FULL["network"]}
        made[f"{release}-url"] = Case(install_node(release, install=served))
        made[f"{release}-xen"] = Case(
            install_node(
                release, xen=xen(dom0_memory=3 * GIB, dom0_vcpus_pin=True, loglvl="all", pciback_hide=("03:00.0",)),
                memory=8 * GIB, kernel=KernelSettings(arguments=("quiet", "earlyprintk=xen")),
            )
        )  # fmt: skip
        made[f"{release}-virtio"] = Case(install_node(release, 8, 10, bus="virtio"))
    made["13-raid5"] = Case(install_node("13", 3, 5))
    made["13-raid6"] = Case(install_node("13", 5, 6))
    large = tuple(disk(f"disk{n}", size=3 * TIB) for n in range(2))
    made["13-large"] = Case(install_node("13", 2, 1).model_copy(update={"disks": large}))
    return made


CASES: Mapping[str, Case] = _cases()
