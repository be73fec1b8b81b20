"""Interfaces: addresses that are whole, cards that are there, and each below one device only."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from builder.systems.suse.judge.reading import Element
from builder.systems.suse.judge.report import Report
from builder.systems.target import Target

_LONGEST = 15


def judge_network(root: Element, report: Report, target: Target | None) -> None:
    networking = root.first("networking")
    section = networking.first("interfaces") if networking is not None else None
    listed = {_name(each): each for each in (section.children if section is not None else ())}
    if networking is None or not networking.value("dns", "hostname"):
        report.add(
            "NLS086", networking.line if networking else 0, "the host is given no name", "add <hostname> to <dns>"
        )
    owner: dict[str, str] = {}
    for name, each in listed.items():
        _one(name, each, listed, report)
        for lower in _below(each):
            if owner.setdefault(lower, name) != name:
                report.add("NLS083", each.line, f"{lower} is below {owner[lower]} and below {name}",
                           "give it to one of them")  # fmt: skip
            elif lower in listed and _addressed(listed[lower]):
                report.add("NLS083", each.line, f"{lower} is below {name} and has an address of its own",
                           f"give the address to {name}, and {lower} bootproto none")  # fmt: skip
    routing = networking.at("routing", "routes") if networking is not None else None
    for route in routing.children if routing is not None else ():
        _route(route, listed, report)
    if target is not None:
        _cards(listed, report, target)


def _name(interface: Element) -> str:
    return interface.value("name") or interface.value("device")


def _below(interface: Element) -> Iterator[str]:
    """Ports and members. What a tagged interface stands on may have an address, and other users."""
    yield from interface.value("bridge_ports").split()
    for number in range(10):
        member = interface.value(f"bonding_slave{number}")
        if member:
            yield member


def _addressed(interface: Element) -> bool:
    return interface.value("bootproto") in ("dhcp", "dhcp4", "dhcp6", "autoip") or bool(interface.value("ipaddr"))


def _one(name: str, interface: Element, listed: dict[str, Element], report: Report) -> None:
    if len(name) > _LONGEST:
        report.add("NLS087", interface.line, f"{name} has {len(name)} characters", f"{_LONGEST} at most")
    if interface.value("lladdr"):
        report.add("NLS085", interface.line, f"lladdr gives {name} another hardware address; it picks no card",
                   "leave it out; <net-udev> names cards")  # fmt: skip
    if interface.value("bootproto") == "static" and _own(interface) is None:
        report.add("NLS081", interface.line, f"{name} is static, and its address is not whole",
                   "add <ipaddr> and <prefixlen>")  # fmt: skip
    parent, tag = interface.value("etherdevice"), interface.value("vlan_id")
    if parent or tag:
        if not (tag.isdecimal() and 1 <= int(tag) <= 4094):
            report.add("NLS084", interface.line, f"'{tag}' is no VLAN", "1 to 4094")
        if parent not in listed:
            report.add("NLS084", interface.line, f"{name} stands on {parent or 'nothing'}", "name an interface")


def _own(interface: Element) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    address = interface.value("ipaddr")
    prefix = interface.value("prefixlen") or interface.value("netmask")
    try:
        return (
            ipaddress.ip_interface(address if "/" in address else f"{address}/{prefix}")
            if prefix or "/" in address
            else None
        )
    except ValueError:
        return None


def _route(route: Element, listed: dict[str, Element], report: Report) -> None:
    gateway, device = route.value("gateway"), route.value("device")
    own = _own(listed[device]) if device in listed else None
    if own is None or not gateway:
        return
    try:
        inside = ipaddress.ip_address(gateway) in own.network
    except ValueError:
        inside = False
    if not inside:
        report.add("NLS082", route.line, f"{gateway} is not in {own.network}", "a gateway is a neighbour")


def _cards(listed: dict[str, Element], report: Report, target: Target) -> None:
    cards = {card.device for card in target.cards}
    for name, each in listed.items():
        made = bool(list(_below(each)) or each.value("etherdevice") or each.value("bridge") == "yes")
        for wanted in (*(() if made else (name,)), *(low for low in _below(each) if low not in listed)):
            if wanted not in cards:
                report.add(
                    "NLS080", each.line, f"the machine has no card {wanted}", f"its cards: {', '.join(sorted(cards))}"
                )
