"""Interfaces of the host, as AutoYaST and Agama both can be told them: cards, bonds over cards, a bridge over each of
the two for guests, and tagged interfaces on top.

Card 0 is the management card. What is built over a card takes its addresses; tagged interfaces have those of a trunk.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from builder.errors import LabError
from builder.model.lab import Node
from builder.systems.dom0 import bridge_names
from builder.systems.machine import Card, Machine
from builder.systems.pieces import Bond, refuse_bonds
from builder.systems.suse.options import DomNetwork

LONGEST_NAME = 15
"""Linux's IFNAMSIZ less its NUL."""


@dataclass(frozen=True, slots=True)
class Interface:
    """`below` are the interfaces that it stands on. `addresses` holds "dhcp", or addresses with their prefix, or
    nothing. `options` are the bonding driver's."""

    name: str
    kind: Literal["card", "bond", "bridge", "vlan"]
    below: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    gateway: str | None = None
    mtu: int = 1500
    vlan: int | None = None
    options: tuple[str, ...] = ()

    @property
    def dhcp(self) -> bool:
        return self.addresses == ("dhcp",)


@dataclass(frozen=True, slots=True)
class _Top:
    """What stands for one network of the host: a card alone or a bond, and the card whose addresses it has."""

    name: str
    first: int
    cards: tuple[int, ...]
    bond: Bond | None = None


def interfaces(node: Node, network: DomNetwork, machine: Machine) -> tuple[Interface, ...]:
    """From the cards upwards. Raises LabError for devices that do not fit together."""
    what = f"{node.name}: install.network"
    refuse_bonds(node, network.bonds, len(machine.cards), what)
    _refuse_management(network, what)
    tops = _tops(network, machine)
    names = bridge_names(node.xen.bridge, len(tops)) if network.bridged else tuple(top.name for top in tops)
    made: list[Interface] = []
    for top, name in zip(tops, names, strict=True):
        made += _one(node, network, machine.cards, top, name)
    order = ("card", "bond", "bridge", "vlan")
    made.sort(key=lambda each: order.index(each.kind))
    for each in made:
        if len(each.name) > LONGEST_NAME:
            raise LabError(
                f"{what}: {each.name} is longer than {LONGEST_NAME} characters", hint="choose a shorter xen.bridge"
            )
    if len({each.name for each in made}) < len(made):
        raise LabError(f"{what}: two devices have one name", hint="give each bond and xen.bridge a name of its own")
    return tuple(made)


def _tops(network: DomNetwork, machine: Machine) -> list[_Top]:
    taken = {card for bond in network.bonds for card in bond.cards}
    tops = [_Top(bond.name, bond.cards[0], bond.cards, bond) for bond in network.bonds]
    tops += [_Top(card.device, card.number, (card.number,)) for card in machine.cards if card.number not in taken]
    return sorted(tops, key=lambda top: min(top.cards))


def _one(node: Node, network: DomNetwork, cards: tuple[Card, ...], top: _Top, name: str) -> Iterator[Interface]:
    """The interfaces of one top, whose uppermost is called `name`."""
    mtu = 1500 if top.first == 0 else node.nics[top.first - 1].mtu
    addresses, gateway, tagged = _addresses(node, network, top)
    lower = tuple(cards[number].device for number in top.cards)
    made = [Interface(device, "card", mtu=mtu) for device in lower]
    if top.bond is not None:
        options = (f"mode={top.bond.mode}", *top.bond.options)
        made.append(Interface(top.name, "bond", below=lower, mtu=mtu, options=options))
    if name != top.name:
        made.append(Interface(name, "bridge", below=(top.name,), mtu=mtu))
    yield from made[:-1]
    yield replace(made[-1], addresses=addresses, gateway=gateway)
    way = network.gateway if top.first == 0 else None
    for vlan, own in tagged:
        yield Interface(f"{name}.{vlan}", "vlan", below=(name,), vlan=vlan, mtu=mtu, addresses=own, gateway=way)


def _addresses(
    node: Node, network: DomNetwork, top: _Top
) -> tuple[tuple[str, ...], str | None, tuple[tuple[int, tuple[str, ...]], ...]]:
    """Addresses of the top itself, its gateway, and its tagged interfaces with theirs."""
    if top.first == 0:
        own = (network.address,) if network.address else ("dhcp",)
        if network.vlan is not None:
            return (), None, ((network.vlan, own),)
        return own, network.gateway, ()
    nic = node.nics[top.first - 1]
    return nic.addresses, None, tuple((vlan, nic.vlan_addresses.get(vlan, ())) for vlan in nic.trunk)


def _refuse_management(network: DomNetwork, what: str) -> None:
    if network.gateway is not None and network.address is None:
        raise LabError(f"{what}: a gateway comes with an address; DHCP gives its own", hint="add address:")
    if network.gateway is not None and network.address is not None:
        own, way = ipaddress.ip_interface(network.address), ipaddress.ip_address(network.gateway)
        if own.version != way.version:
            raise LabError(f"{what}: address and gateway are of different versions", hint="write both as IPv4 or IPv6")
