"""Network lines: cards by their hardware address, and VLANs, bonds and bridges over cards by name.

Card 0 is the management card. What is built over a card takes its addresses: a bridge from its bond, a bond from its
first card. A trunk's tagged interfaces stand on the topmost of them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from builder.errors import LabError
from builder.model.lab import Node
from builder.systems.machine import Machine
from builder.systems.pieces import refuse_bonds, refuse_shared_cards
from builder.systems.rhel.options import RhelInstall
from builder.systems.rhel.releases import Release
from builder.systems.rhel.words import comma, command


@dataclass(frozen=True, slots=True)
class _Device:
    """A device with addresses of its own. `cards` are those below it."""

    name: str
    cards: tuple[int, ...]
    options: dict[str, str] = field(default_factory=dict)


def network_lines(node: Node, options: RhelInstall, release: Release, machine: Machine) -> tuple[tuple[str, ...], bool]:
    """The lines, and whether they depend on cards being called eth0, eth1, ...

    Raises LabError for what the release has no word for, or what no name can be known for.
    """
    _refuse(node, options, release, machine)
    lines: list[str] = []
    network = options.network
    built = [_Device(bond.name, bond.cards, {"bondslaves": _names(machine, bond.cards),
                                             "bondopts": ",".join((f"mode={bond.mode}", *bond.options))})
             for bond in network.bonds]  # fmt: skip
    by_name = {device.name: device for device in built}
    for bridge in network.bridges:
        if bridge.bond is not None:
            lower = by_name[bridge.bond]
            lines.append(_no_address(lower, release))
            built.remove(lower)
            built.append(_Device(bridge.name, lower.cards, {"bridgeslaves": bridge.bond}))
        else:
            assert bridge.card is not None
            slave = _names(machine, (bridge.card,))
            built.append(_Device(bridge.name, (bridge.card,), {"bridgeslaves": slave, "bridgeopts": "stp=no"}))
    taken = {card for device in built for card in device.cards}
    tagged = any(nic.trunk for nic in node.nics) or network.vlan is not None
    named = bool(built) or tagged or not release.by_mac
    plain = [
        _Device(card.device if named else card.mac, (card.number,))
        for card in machine.cards
        if card.number not in taken
    ]
    for device in sorted([*built, *plain], key=lambda each: min(each.cards)):
        lines += _lines_of(device, node, options, release)
    lines.append(command("network", hostname=options.hostname or node.name))
    return tuple(lines), named


def _lines_of(device: _Device, node: Node, options: RhelInstall, release: Release) -> Iterator[str]:
    first = device.cards[0]
    if 0 in device.cards:
        if options.network.vlan is not None:
            if device.options:
                yield _no_address(device, release)
            yield _tagged(device, options.network.vlan, release, **_management(options))
        else:
            yield _line(device, release, **_management(options))
        return
    nic = node.nics[first - 1]
    mtu = {"mtu": str(nic.mtu)} if nic.mtu != 1500 else {}
    yield _line(device, release, **_addresses(nic.addresses, node, release), **mtu)
    for vlan in nic.trunk:
        yield _tagged(device, vlan, release, **_addresses(nic.vlan_addresses.get(vlan, ()), node, release), **mtu)


def _management(options: RhelInstall) -> dict[str, object]:
    network = options.network
    servers = {"nameserver": comma(network.nameservers)}
    if network.address is None:
        return {"bootproto": "dhcp", **servers}
    interface = ipaddress.ip_interface(network.address)
    made = _one_address(interface) | ({"noipv4": True} if interface.version == 6 else {})
    if network.gateway is not None:
        four = ipaddress.ip_address(network.gateway).version == 4
        made["gateway" if four else "ipv6gateway"] = network.gateway
    return {**made, **servers}


def _addresses(addresses: tuple[str, ...], node: Node, release: Release) -> dict[str, object]:
    interfaces = [ipaddress.ip_interface(address) for address in addresses]
    versions = [interface.version for interface in interfaces]
    if len(set(versions)) != len(versions):
        raise LabError(
            f"{node.name}: a kickstart gives one IPv4 and one IPv6 address to a device, not {', '.join(addresses)}",
            hint="keep one of each; a script in install.post can add more",
        )
    if not interfaces:
        return {"noipv4": True, "noipv6": True}
    made: dict[str, object] = {}
    for interface in interfaces:
        made |= _one_address(interface)
    if len(interfaces) == 1:
        made |= {"noipv6": True} if versions == [4] else {"noipv4": True}
    # A lab network leads nowhere: the way out is the management card's.
    return made | ({"nodefroute": True} if release.generation >= 7 else {})


def _one_address(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> dict[str, object]:
    if interface.version == 4:
        return {"bootproto": "static", "ip": interface.ip, "netmask": interface.network.netmask}
    return {"ipv6": interface}


def _line(device: _Device, release: Release, **options: object) -> str:
    return command("network", device=device.name, **device.options, **_up(release), **options)


def _no_address(device: _Device, release: Release) -> str:
    return _line(device, release, noipv4=True, noipv6=True)


def _tagged(device: _Device, vlan: int, release: Release, **options: object) -> str:
    name = f"{device.name}.{vlan}" if release.interface_name else None
    return command("network", device=device.name, vlanid=vlan, interfacename=name, **_up(release), **options)


def _up(release: Release) -> dict[str, object]:
    return {"onboot": "yes", "activate": True} if release.generation >= 7 else {"onboot": "yes"}


def _names(machine: Machine, cards: tuple[int, ...]) -> str:
    return ",".join(machine.cards[card].device for card in cards)


def _refuse(node: Node, options: RhelInstall, release: Release, machine: Machine) -> None:
    network = options.network
    what = f"{node.name}: install.network"
    built = _refuse_devices(node, options, machine, what)
    if network.bridges and not release.bridges:
        raise LabError(f"{what}: {release.title}'s kickstart has no bridges", hint="make them in install.post")
    if network.gateway is not None and ":" in network.gateway and not release.ipv6_gateway:
        raise LabError(f"{what}: {release.title}'s kickstart has no IPv6 gateway", hint="set it in install.post")
    needs_names = built or network.vlan is not None or any(nic.trunk for nic in node.nics) or not release.by_mac
    if needs_names and not machine.cards_in_order:
        raise LabError(
            f"{node.name}: cards of different models get their names in an order that nobody can tell beforehand",
            hint="use one model for all cards; bonds, bridges, VLANs and release 6 go by name",
        )


def _refuse_devices(node: Node, options: RhelInstall, machine: Machine, what: str) -> bool:
    """Whether there are bonds or bridges. Raises LabError for those that do not fit together."""
    network = options.network
    bonds = [bond.name for bond in network.bonds]
    below: list[tuple[str, tuple[int, ...]]] = [(bond.name, bond.cards) for bond in network.bonds]
    for bridge in network.bridges:
        if (bridge.card is None) == (bridge.bond is None):
            raise LabError(f"{what}: {bridge.name} stands on one card or on one bond", hint="give it card: or bond:")
        if bridge.bond is not None and bridge.bond not in bonds:
            raise LabError(
                f"{what}: {bridge.name} needs a bond {bridge.bond} that no other bridge has",
                hint=f"bonds: {', '.join(bonds) or 'none'}",
            )
        if bridge.bond is not None:
            bonds.remove(bridge.bond)
        below.append((bridge.name, () if bridge.card is None else (bridge.card,)))
    refuse_shared_cards(below, len(machine.cards), what)
    refuse_bonds(node, network.bonds, len(machine.cards), what)
    return bool(below)
