"""Findings about the static addresses of lab cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from builder.model.document import Path
from builder.model.lab import Lab, Node
from builder.model.report import Report
from builder.model.words import listing, shorten

# What QEMU's user-mode network gives to every management card, and how its addresses begin.
MANAGEMENT = "10.0.2.0/24"
_BEGIN = "10.0.2."


class Placed(NamedTuple):
    """An address (`text` with its prefix) on a network and VLAN, and where it stands in the file. Untagged frames of
    trunks and of plain ports are VLAN 1."""

    node: str
    network: str
    vlan: int
    text: str
    path: Path

    @property
    def address(self) -> str:
        return self.text.partition("/")[0]


def lint_addresses(lab: Lab, report: Report) -> None:
    """Add every address that is not where it could be used."""
    subnets = {network.name: network.subnets for network in lab.networks}
    seen: dict[tuple[str, int, str], Path] = {}
    for node in lab.nodes:
        for placed in placed_addresses(node):
            _place(placed, subnets.get(placed.network, ()), report)
            what = (placed.network, placed.vlan, placed.address)
            first = seen.setdefault(what, placed.path)
            if first != placed.path:
                report.add(
                    "lab-duplicate-address",
                    f"node {shorten(node.name)}: {placed.address} on network {placed.network} is taken by node "
                    f"{shorten(str(first[1]))} ({report.where(first)})",
                    "give each card an address of its own",
                    placed.path,
                )


def placed_addresses(node: Node) -> Iterator[Placed]:
    """Every address of the node's lab cards, card by card."""
    for index, nic in enumerate(node.nics):
        card: Path = ("nodes", node.name, "networks", index)
        for at, text in enumerate(nic.addresses):
            yield Placed(node.name, nic.network, nic.vlan or 1, text, (*card, "addresses", at))
        for vlan, texts in nic.vlan_addresses.items():
            for at, text in enumerate(texts):
                yield Placed(node.name, nic.network, vlan, text, (*card, "vlan_addresses", str(vlan), at))


def _place(placed: Placed, subnets: tuple[str, ...], report: Report) -> None:
    if placed.text.startswith(_BEGIN):
        report.add(
            "lab-management-address",
            f"node {shorten(placed.node)}: {placed.text} is where the management card is, in {MANAGEMENT}",
            "take another network, such as 10.0.0.0/24: with this one the node could not be reached",
            placed.path,
        )
    elif subnets and _network(placed.text) not in subnets:
        report.add(
            "lab-address-subnet",
            f"node {shorten(placed.node)}: {placed.text} is in no subnet of network {placed.network}",
            f"its subnets: {listing(list(subnets))}; the prefix length counts",
            placed.path,
        )


def _network(text: str) -> str:
    import ipaddress  # noqa: PLC0415 - many labs have no subnets, and starting up is measured

    return str(ipaddress.ip_interface(text).network)
