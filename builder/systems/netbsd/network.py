"""Files of the host's network: one /etc/ifconfig.NAME for each card, and the guests' bridge."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from builder.errors import LabError
from builder.model.lab import Node
from builder.systems.dom0 import bridge_names
from builder.systems.machine import Machine
from builder.systems.netbsd.options import NetbsdInstall

INSIDE = "vether0"
"""The host's own end of the guests' network, behind the translation: vether(4), in XEN3_DOM0."""


def interface_files(node: Node, options: NetbsdInstall, machine: Machine) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, lines) of every interface, in the order in which they are made. Lines are arguments of ifconfig(8), or
    commands after an exclamation mark: ifconfig.if(5)."""
    network = options.network
    addresses = (network.address,) if network.address is not None else ()
    yield machine.cards[0].device, ("up", *address_lines(addresses))
    for card, nic in zip(machine.cards[1:], node.nics, strict=True):
        mtu = (f"mtu {nic.mtu}",) if nic.mtu != 1500 else ()
        yield card.device, ("up", *mtu, *address_lines(nic.addresses))
    number = 0
    for card, nic in zip(machine.cards[1:], node.nics, strict=True):
        for vlan in nic.trunk:
            lines = address_lines(nic.vlan_addresses.get(vlan, ()))
            yield f"vlan{number}", ("create", f"vlan {vlan} vlanif {card.device}", "up", *lines)
            number += 1
    yield from _bridges(node, options, machine)


def address_lines(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses with their prefix as arguments of ifconfig; more than one of a kind are aliases."""
    lines = []
    seen: set[int] = set()
    for address in addresses:
        interface = ipaddress.ip_interface(address)
        alias = " alias" if interface.version in seen else ""
        seen.add(interface.version)
        if interface.version == 4:
            lines.append(f"inet {interface.ip} netmask {interface.network.netmask}{alias}")
        else:
            lines.append(f"inet6 {interface.ip} prefixlen {interface.network.prefixlen}{alias}")
    return tuple(lines)


def _bridges(node: Node, options: NetbsdInstall, machine: Machine) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A bridge for each card, as on every host. Behind a translation, the first one leads to the host alone."""
    for number, (name, card) in enumerate(zip(_bridge_names(node), machine.cards, strict=True)):
        if number or options.guests.mode == "bridge":
            members: tuple[str, ...] = (f"!brconfig {name} add {card.device}",)
        else:
            members = (
                f"!ifconfig {INSIDE} create",
                f"!ifconfig {INSIDE} {address_lines((options.guests.address,))[0]} up",
                f"!brconfig {name} add {INSIDE}",
            )
        yield name, ("create", *members, "up")


def _bridge_names(node: Node) -> tuple[str, ...]:
    return bridge_names(node.xen.bridge, 1 + len(node.nics))


def guests_network(options: NetbsdInstall) -> str:
    """The network behind the translation."""
    return str(ipaddress.ip_interface(options.guests.address).network)


def refuse_network(node: Node, options: NetbsdInstall, machine: Machine) -> None:
    """Raises LabError for cards that are not there, and for addresses that do not go together."""
    what = f"{node.name}: install"
    if not re.fullmatch(r"bridge[0-9]{1,3}", node.xen.bridge):
        raise LabError(
            f"{node.name}: xen.bridge: NetBSD knows no bridge called {node.xen.bridge}", hint="bridge0, bridge1, ..."
        )
    if options.guests.card >= len(machine.cards):
        last = len(machine.cards) - 1
        raise LabError(f"{what}.guests: there is no card {options.guests.card}", hint=f"the last one is {last}")
    inside = ipaddress.ip_interface(options.guests.address)
    if inside.version != 4:
        raise LabError(f"{what}.guests.address: only IPv4 is translated here", hint="write it as 10.0.0.1/24")
    network = options.network
    if network.gateway is not None:
        if network.address is None:
            raise LabError(f"{what}.network: a gateway comes with an address; DHCP gives its own", hint="add address:")
        if ipaddress.ip_address(network.gateway) not in ipaddress.ip_interface(network.address).network:
            raise LabError(
                f"{what}.network: the gateway {network.gateway} is not in the network of {network.address}",
                hint="a gateway is a neighbour",
            )
