"""XCP-ng hosts, for every thing that an answer file can say."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.model.lab import MediumSource, Node, RaidArray
from builder.model.units import GIB
from builder.systems.xcpng.system import Xcpng
from tests.support.nodes import debian_node, disk, nic, xen
from tests.support.rhel import HASH, KEY, text_file

RELEASES = ("8.2", "8.3", "xs8")
PAIR = (RaidArray(name="system", level=1, disks=("disk0", "disk1")),)


def xcpng_node(
    release: str = "8.3", *, raid: bool | tuple[RaidArray, ...] = False, firmware: str = "bios", **changes: Any
) -> Node:
    """A host with three disks; with `raid` True, its system is on the first two."""
    bus: Any = "lsilogic" if firmware == "bios" else "sata"
    values = {
        "name": "host-a",
        "system": "xcpng",
        "release": release,
        "memory": 8 * GIB,
        "firmware": firmware,
        "disks": tuple(disk(f"disk{number}", size=100 * GIB, bus=bus) for number in range(3)),
        "raid": PAIR if raid is True else raid or (),
        "xen": xen(dom0_memory=4 * GIB),
        "source": MediumSource(path="/media/xcp-ng.iso"),
    }
    return debian_node(**{**values, **changes})


@dataclass(frozen=True)
class Case:
    """`warned` are the codes of all findings."""

    node: Node
    warned: tuple[str, ...] = ()

    @functools.cached_property
    def files(self) -> dict[str, str]:
        return {answer.name: answer.content for answer in Xcpng().plan(self.node).answers}

    @property
    def text(self) -> str:
        return self.files["answerfile.xml"]


STATIC: Mapping[str, Any] = {
    "address": "192.0.2.10/24", "gateway": "192.0.2.1", "vlan": 7, "nameservers": ["192.0.2.53", "192.0.2.54"],
}  # fmt: skip
FULL: Mapping[str, Any] = {
    "sources": ["local", "https://user:secret@mirror.example/xcp/?a=1&b=2", "nfs://files.example/srv/xcp"],
    "drivers": ["http://mirror.example/drivers"],
    "check_signatures": False,
    "check_repository": False,
    "sr_type": "lvm",
    "guest_disks": ["disk1", "disk2"],
    "preserve_first_partition": "false",
    "network": STATIC,
    "network_backend": "bridge",
    "hostname": "host-a.lab.example",
    "ntp": ["ntp1.example", "192.0.2.123"],
    "timezone": "Europe/Paris",
    "keyboard": "fr",
    "root_password": HASH,
    "root_keys": [KEY],
    "services_on": ["sshd"],
    "services_off": ["postfix", "xcp-rrdd"],
    "at_start": [{"file": text_file("#!/bin/sh\necho start\n")}],
    "at_files": [{"file": text_file("#!/usr/bin/python\nprint('files')\n")}],
    "at_end": [{"file": text_file("#!/usr/bin/env python\nprint('end')\n")}],
    "multipath": True,
    "end": "shell",
}
SIX: Mapping[str, Any] = {"address6": "fd00::5/64", "gateway6": "fd00::1"}


def _cases() -> dict[str, Case]:
    made = {}
    for release in RELEASES:
        made[f"{release}-plain"] = Case(xcpng_node(release))
        made[f"{release}-uefi"] = Case(xcpng_node(release, firmware="uefi"), ("NLX082",))
        made[f"{release}-full"] = Case(
            xcpng_node(
                release, install=dict(FULL), nics=(nic(1),),
                xen=xen(dom0_memory=4 * GIB, dom0_vcpus_pin=True, loglvl="all", guest_loglvl="all", noreboot=True,
                        pciback_hide=("03:00.0", "0001:04:00.1"), arguments=("cpufreq=xen:performance",)),
            )
        )  # fmt: skip
        made[f"{release}-by-id"] = Case(xcpng_node(release, install={"disk_names": "by-id", "guest_disks": ["disk1"]}))
        made[f"{release}-upgrade"] = Case(xcpng_node(release, install={"mode": "upgrade"}))
        made[f"{release}-restore"] = Case(xcpng_node(release, install={"mode": "restore"}))
        made[f"{release}-six"] = Case(xcpng_node(release, install={"network": dict(SIX)}))
        made[f"{release}-served"] = Case(xcpng_node(release, install={"served_at": "http://192.0.2.9/host-a/"}))
        made[f"{release}-no-storage"] = Case(xcpng_node(release, install={"guest_storage": False}))
        made[f"{release}-small"] = Case(xcpng_node(release, memory=4 * GIB, xen=xen(dom0_memory=2 * GIB)))
        made[f"{release}-large"] = Case(xcpng_node(release, memory=256 * GIB), ("NLX080",))
        made[f"{release}-reboot"] = Case(xcpng_node(release, install={"end": "reboot"}), ("NLX076",))
    for release in ("8.2", "8.3"):
        made[f"{release}-raid"] = Case(xcpng_node(release, raid=True, install={"guest_disks": ["disk2"]}))
    for release in ("8.3", "xs8"):
        made[f"{release}-ntp-dhcp"] = Case(xcpng_node(release, install={"ntp_source": "dhcp"}))
    made["8.3-largeblock"] = Case(
        xcpng_node(install={"sr_type": "largeblock", "guest_storage": False, "guest_disks": ["disk1"]}, disks=(
            disk("disk0", size=100 * GIB), disk("disk1", size=100 * GIB, sector="4Kn")))
    )  # fmt: skip
    return made


CASES: Mapping[str, Case] = _cases()
