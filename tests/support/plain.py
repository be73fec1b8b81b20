"""Nodes that start from a ready image, with everything that a lab file can say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.model.lab import ImageSource, KernelSettings, Node
from tests.support.nodes import debian_node, disk, nic, tiny_node, xen


@dataclass(frozen=True)
class Case:
    node: Node


_LANS = (
    nic(1, addresses=("10.0.0.5/24", "fd00::5/64"), mtu=9000),
    nic(2, trunk=(10, 20), vlan_addresses={10: ("10.0.10.5/24",)}),
)
_XEN = xen(
    loglvl="all",
    guest_loglvl="all",
    pciback_hide=("03:00.0",),
    arguments=("cpufreq=xen:performance",),
)
_KERNEL = KernelSettings(arguments=("quiet", "mitigations=off"))
CASES: Mapping[str, Case] = {
    "debian-image": Case(debian_node(nics=_LANS, xen=_XEN, kernel=_KERNEL, disks=(disk(), disk("data")))),
    "debian-own-image": Case(debian_node(source=ImageSource(path="/srv/own.qcow2"))),
    "tiny-image": Case(tiny_node(nics=_LANS, kernel=_KERNEL, disks=(disk(),))),
}
