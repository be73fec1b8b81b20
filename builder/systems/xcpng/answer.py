"""The answer file: elements and attributes by the names that the release knows, written by an XML writer."""

from __future__ import annotations

import ipaddress
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from builder.model.lab import Node
from builder.systems.machine import Machine
from builder.systems.xcpng.options import XcpngInstall
from builder.systems.xcpng.releases import Release

NO_PASSWORD = "*"  # noqa: S105 - no password has this hash; an absent one, or !!, would make the first boot ask
RAID_DEVICE = "md127"


@dataclass(frozen=True, slots=True)
class Stage:
    """A script by the installer's name for its stage and the address where the installer finds it."""

    stage: str
    address: str


def answer_file(node: Node, options: XcpngInstall, release: Release, machine: Machine, stages: Sequence[Stage]) -> str:
    """XML of two elements at most in depth; equal nodes give equal bytes."""
    root = ET.Element("restore" if options.mode == "restore" else "installation")
    if options.mode != "restore":
        _attributes(root, options, release)
        for kind, places in (("source", options.sources), ("driver-source", options.drivers)):
            for place in places:
                _source(root, kind, place)
    first = _first(node, machine)
    if options.mode == "fresh":
        _disks(root, node, options, release, machine)
        _interface(root, options, machine)
        _host(root, node, options, release)
    elif options.mode == "upgrade":
        _text(root, "existing-installation", first)
    else:
        _text(root, "backup-disk", first)
    if options.mode != "restore" and options.network_backend is not None:
        _text(root, "network-backend", options.network_backend)
    for stage in stages:
        _text(root, "script", stage.address, stage=stage.stage, type=_kind(stage.address))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _attributes(root: ET.Element, options: XcpngInstall, release: Release) -> None:
    root.set("mode", options.mode)
    if options.mode == "fresh":
        root.set("sr-type", options.sr_type)
    if release.gpg_attributes:
        root.set("gpgcheck", _truth(options.check_signatures))
        root.set("repo-gpgcheck", _truth(options.check_repository))
    else:
        root.set("netinstall-gpg-check", _truth(options.check_repository and options.check_signatures))


def _source(root: ET.Element, kind: str, place: str) -> None:
    if place == "local":
        _text(root, kind, "", type="local")
    elif place.startswith("nfs://"):
        host, slash, path = place.removeprefix("nfs://").partition("/")
        _text(root, kind, f"{host}:{slash}{path}", type="nfs")
    else:
        _text(root, kind, place, type="url")


def _first(node: Node, machine: Machine) -> str:
    """The disk that the host is on: an array has a name of its own."""
    return RAID_DEVICE if node.raid else machine.disks[0].path.removeprefix("/dev/")


def _disks(root: ET.Element, node: Node, options: XcpngInstall, release: Release, machine: Machine) -> None:
    for array in node.raid:
        raid = ET.SubElement(root, "raid", device=RAID_DEVICE)
        for name in array.disks:
            _text(raid, "disk", machine.disk(name).path.removeprefix("/dev/"))
    attributes = {"guest-storage": _truth(has_guest_storage(node, options, release))}
    if options.preserve_first_partition is not None:
        attributes["preserve-first-partition"] = options.preserve_first_partition
    ET.SubElement(root, "primary-disk", attributes).text = _first(node, machine)
    for name in options.guest_disks:
        _text(root, "guest-disk", machine.disk(name).path.removeprefix("/dev/"))


def has_guest_storage(node: Node, options: XcpngInstall, release: Release) -> bool:
    """Whether the rest of the system disk becomes local storage."""
    if options.guest_storage is None:
        return not (node.raid and release.raid_needs_no_sr)
    return options.guest_storage


def _interface(root: ET.Element, options: XcpngInstall, machine: Machine) -> None:
    network = options.network
    card = machine.cards[network.card]
    attributes = {"hwaddr": card.mac, "proto": "static" if network.address else "dhcp"}
    if network.vlan is not None:
        attributes["vlan"] = str(network.vlan)
    if network.address6 is not None:
        attributes["protov6"] = "static"
    elif network.ipv6 is not None:
        attributes["protov6"] = network.ipv6
    element = ET.SubElement(root, "admin-interface", attributes)
    if network.address is not None:
        interface = ipaddress.ip_interface(network.address)
        _text(element, "ipaddr", str(interface.ip))
        _text(element, "subnet", str(interface.network.netmask))
        _text(element, "gateway", network.gateway or "")
    if network.address6 is not None:
        _text(element, "ipv6", network.address6)
        _text(element, "gatewayv6", network.gateway6 or "")
    for server in network.nameservers:
        _text(root, "name-server", server)


def _host(root: ET.Element, node: Node, options: XcpngInstall, release: Release) -> None:
    _text(root, "hostname", options.hostname or node.name)
    _text(root, "root-password", options.root_password or NO_PASSWORD, type="hash")
    if release.ntp_source:
        source = options.ntp_source or ("manual" if options.ntp else None)
        if source is not None:
            ET.SubElement(root, "ntp", source=source)
    for server in options.ntp:
        _text(root, "ntp-server", server)
    _text(root, "timezone", options.timezone)
    _text(root, "keymap", options.keyboard)
    for state, names in (("enabled", options.services_on), ("disabled", options.services_off)):
        for name in names:
            ET.SubElement(root, "service", name=name, state=state)


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text or None


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _kind(address: str) -> str:
    return "nfs" if address.startswith("nfs://") else "url"
