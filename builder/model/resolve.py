"""From what users wrote to a lab with every value filled in.

A node's values: nestlab's defaults <- its system's defaults <- the lab's `defaults:` <- the node. Later ones win;
`xen`, `kernel` and `install` are merged key by key; `arguments` add up in that order, every other list is replaced.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from builder.model.guests import XEN_PREFIX, guest_of
from builder.model.install import read_install, seen_from
from builder.model.lab import (
    Disk,
    ImageSource,
    KernelSettings,
    Lab,
    MediumSource,
    Network,
    Nic,
    Node,
    RaidArray,
    Source,
    Storage,
    XenSettings,
)
from builder.model.layers import MEDIUM_ADDRESS, LabLayer, NicLayer, NodeLayer, SourceLayer, StorageLayer
from builder.model.plan import SystemTraits
from builder.model.report import Report
from builder.model.units import GIB, MIB
from builder.model.words import shorten, suggest

# What holds when neither the system, nor the lab, nor the node says otherwise. CPU mode, card and disk are those that
# XCP-ng's guide documents for a nested host (docs/guides/xcpng-in-a-vm.md).
_DEFAULTS: Mapping[str, Any] = {
    "cpus": 2,
    "memory": "4GiB",
    "firmware": "bios",
    "machine": "pc",
    "cpu_model": "host-passthrough",
    "iommu": False,
    "management_nic": "e1000",
    "disks": [{"size": "50GiB"}],
    "networks": [],
    "xen": {
        "dom0_vcpus_pin": False,
        "com1": "115200,8n1",
        "console": "com1",
        "noreboot": False,
        "bridge": "xenbr0",
        "pciback_hide": [],
    },
}
QEMU_PREFIX = "52:54:00"
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_NESTED = ("xen", "kernel")
_Merged = dict[str, Any]


def resolve(
    layer: LabLayer,
    report: Report,
    systems: Mapping[str, SystemTraits],
    *,
    folder: FilePath,
) -> Lab:
    """The lab of a file in `folder`, an absolute path. What cannot be filled in goes to the report, and its node is
    left out. The same layer always gives the same lab."""
    networks = tuple(
        Network(name=name, mtu=network.mtu, subnets=network.subnets) if network else Network(name=name)
        for name, network in layer.networks.items()
    )
    builtin = NodeLayer.model_validate(_DEFAULTS)
    by_name = {network.name: network for network in networks}
    bases: dict[str, _Merged] = {}
    macs = _Macs(layer)
    nodes = []
    for name, said in layer.nodes.items():
        own = said or NodeLayer()
        system = own.system or layer.defaults.system
        traits = _traits(name, system, systems, report)
        if traits is None:
            continue
        if traits.name not in bases:
            system_defaults = NodeLayer.model_validate(dict(traits.defaults))
            bases[traits.name] = _overlay(_overlay(_overlay({}, builtin), system_defaults), layer.defaults)
        merged = _overlay(bases[traits.name], own)
        if merged["iommu"] and (own.machine or layer.defaults.machine) is None:
            merged["machine"] = "q35"  # the only one that can have it; a system's usual machine gives way
        asked = layer.defaults.xen.model_fields_set | own.xen.model_fields_set
        merged["xen"] = _fit(merged["xen"], asked, traits, memory=merged["memory"], cpus=merged["cpus"])
        if own.release is None and own.system is not None and own.system != layer.defaults.system:
            # The lab's release is meant for the lab's system, not for a node of another one.
            merged["release"] = None
        if own.system is not None and layer.defaults.system not in (None, own.system):
            # So is what the lab says to its installer.
            merged["install"] = own.install
        merged["install"] = read_install(name, merged.get("install", {}), traits, report, folder=folder)
        if "after" not in own.model_fields_set:
            merged["after"] = tuple(each for each in merged.get("after", ()) if each != name)
        source = merged.get("source")
        if source is not None:
            _check_source(name, source, report)
        nodes.append(_node(name, merged, traits, by_name, macs, folder))
    return Lab(
        name=layer.name,
        description=layer.description,
        expires=_expires(layer.expires),
        networks=networks,
        nodes=tuple(nodes),
    )


def _traits(node: str, system: str | None, systems: Mapping[str, SystemTraits], report: Report) -> SystemTraits | None:
    known = sorted(systems)
    if system is None:
        report.add(
            "lab-no-system",
            f"node {shorten(node)} does not say which system it is",
            f"add system: {known[0] if known else '...'} to it or to `defaults:`; systems: {', '.join(known)}",
            ("nodes", node),
            key=True,
        )
        return None
    if system not in systems:
        report.add(
            "lab-unknown-system",
            f"node {shorten(node)}: no system is called {shorten(system)}",
            suggest(system, known, kind="systems"),
            ("nodes", node, "system"),
        )
        return None
    return systems[system]


def _overlay(base: _Merged, layer: NodeLayer) -> _Merged:
    """A copy of `base` with the layer's values laid over it."""
    merged = dict(base)
    for key in layer.model_fields_set:
        value = getattr(layer, key)
        if key in _NESTED:
            section = dict(merged.get(key, {}))
            for name in value.model_fields_set:
                inner = getattr(value, name)
                section[name] = (*section.get(name, ()), *inner) if name == "arguments" else inner
            merged[key] = section
        elif key == "install":
            merged[key] = {**merged.get(key, {}), **value}
        elif value is not None:
            merged[key] = value
    return merged


def _node(
    name: str,
    said: _Merged,
    traits: SystemTraits,
    networks: Mapping[str, Network],
    macs: _Macs,
    folder: FilePath,
) -> Node:
    return Node(
        name=name,
        system=traits.name,
        release=said.get("release") or traits.default_release,
        cpus=said["cpus"],
        memory=said["memory"],
        firmware=said["firmware"],
        machine=said["machine"],
        cpu_model=said["cpu_model"],
        management_nic=said["management_nic"],
        management_mac=said.get("management_mac") or macs.made(name, "management"),
        disks=tuple(_disks(said, traits)),
        raid=tuple(RaidArray(name=each.name, level=each.level, disks=each.disks) for each in said.get("raid", ())),
        nics=tuple(
            _nic(nic, networks.get(nic.network), nic.mac or macs.made(name, str(index)), said)
            for index, nic in enumerate(said["networks"])
        ),
        xen=_xen(said["xen"]),
        kernel=KernelSettings(arguments=said.get("kernel", {}).get("arguments", ())),
        source=_source(said.get("source"), traits, folder),
        after=said.get("after", ()),
        install=said["install"],
        guests=tuple(
            guest_of(guest, said["xen"]["bridge"], functools.partial(macs.of_guest, name, guest.name))
            for guest in said.get("guests", ())
        ),
        packages=said.get("packages", ()),
        storage=_storage(said.get("storage")),
        dom0=traits.xen,
        iommu=said["iommu"],
    )


def _storage(said: StorageLayer | None) -> Storage | None:
    return None if said is None else Storage(iscsi=said.iscsi, nfs=said.nfs)


def _disks(said: _Merged, traits: SystemTraits) -> Iterator[Disk]:
    documented = traits.usual_bus(said["firmware"], said["machine"], iommu=said["iommu"])
    for index, disk in enumerate(said["disks"]):
        yield Disk(name=disk.name or f"disk{index}", size=disk.size, bus=disk.bus or documented, sector=disk.sector)


def _nic(nic: NicLayer, network: Network | None, mac: str, said: _Merged) -> Nic:
    return Nic(
        network=nic.network,
        mac=mac,
        model=nic.model or said["management_nic"],
        vlan=nic.vlan,
        trunk=nic.trunk,
        addresses=nic.addresses,
        vlan_addresses=nic.vlan_addresses,
        mtu=nic.mtu or (network.mtu if network else 1500),
    )


def _fit(xen: _Merged, asked: set[str], traits: SystemTraits, *, memory: int, cpus: int) -> _Merged:
    """The xen settings with dom0's share filled in. A share that nobody asked for gives way to a small node's size;
    one that was asked for stays as it is. A host without Xen gives all it has to its one kernel."""
    fitted = dict(xen)
    if "dom0_memory" not in asked:
        half = memory // 2 // MIB * MIB
        usual = traits.dom0_memory(memory) if traits.dom0_memory is not None else xen.get("dom0_memory", GIB)
        fitted["dom0_memory"] = min(usual, half) if traits.xen else memory
    if "dom0_max_vcpus" not in asked:
        fitted["dom0_max_vcpus"] = min(xen.get("dom0_max_vcpus", cpus), cpus) if traits.xen else cpus
    return fitted


def _xen(xen: _Merged) -> XenSettings:
    return XenSettings(
        dom0_memory=xen["dom0_memory"],
        dom0_max_vcpus=xen["dom0_max_vcpus"],
        dom0_vcpus_pin=xen["dom0_vcpus_pin"],
        com1=xen["com1"],
        console=xen["console"],
        loglvl=xen.get("loglvl"),
        guest_loglvl=xen.get("guest_loglvl"),
        noreboot=xen["noreboot"],
        bridge=xen["bridge"],
        pciback_hide=xen["pciback_hide"],
        arguments=xen.get("arguments", ()),
    )


def _source(said: SourceLayer | None, traits: SystemTraits, folder: FilePath) -> Source:
    """Where the system can only be installed and nothing is said of a medium, it has no name; lint reports that."""
    if said is None:
        return ImageSource() if "image" in traits.sources else MediumSource()
    if said.medium is not None:
        sha256 = said.sha256.lower() if said.sha256 else None
        if re.match(MEDIUM_ADDRESS, said.medium):
            return MediumSource(url=said.medium, sha256=sha256)
        return MediumSource(path=str(seen_from(folder, said.medium)) if said.medium else "", sha256=sha256)
    return ImageSource(path=None if said.image is None else str(seen_from(folder, said.image)))


def _check_source(node: str, said: SourceLayer, report: Report) -> None:
    """What of a source does not go together."""

    def add(message: str, hint: str) -> None:
        report.add("lab-source", f"node {shorten(node)} {message}", hint, ("nodes", node, "source"))

    if said.image is not None and said.medium is not None:
        add("names both an image and a medium", "keep the one that it starts from")
    elif said.sha256 is not None and said.medium is None:
        add("has a sha256 and no medium", "it is the medium's: {medium: FILE, sha256: ...}")
    elif said.sha256 is None and re.match(MEDIUM_ADDRESS, said.medium or ""):
        add("takes a medium from the network without its sha256", "add sha256: as its publisher gives it")


def _expires(text: str) -> int:
    return 0 if text == "never" else int(text[:-1]) * _SECONDS[text[-1]]


class _Macs:
    """Addresses for cards that were given none: 52:54:00 (QEMU's) and three bytes of a digest of lab, node and card.

    Never 00:16:3e, which guests of Xen hosts have. In a large lab two digests can agree; the later card then
    takes the next digest, so that an address depends on earlier nodes only.
    """

    def __init__(self, layer: LabLayer) -> None:
        self._lab = layer.name
        shared = layer.defaults.networks or ()
        own = (nic for node in layer.nodes.values() if node for nic in node.networks or ())
        said = (layer.defaults, *filter(None, layer.nodes.values()))
        management = {each.management_mac for each in said}
        vifs = {vif.mac for node in said for guest in node.guests for vif in guest.vifs}
        self._taken = {mac for mac in {nic.mac for nic in (*shared, *own)} | vifs | management if mac}

    def of_guest(self, node: str, guest: str, number: int) -> str:
        """The address of a guest's interface, in the range that Xen hosts give to their guests."""
        return self.made(node, f"{guest}/{number}", prefix=XEN_PREFIX)

    def made(self, node: str, card: str, *, prefix: str = QEMU_PREFIX) -> str:
        attempt = 0
        while True:
            text = f"{self._lab}/{node}/{card}/{attempt}"
            tail = hashlib.sha256(text.encode()).digest()[:3].hex(":")
            mac = f"{prefix}:{tail}"
            if mac not in self._taken:
                self._taken.add(mac)
                return mac
            attempt += 1
