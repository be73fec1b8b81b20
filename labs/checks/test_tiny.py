"""What a tiny node must be, asked of the running node: `nestlab test LAB` runs this."""

from __future__ import annotations

import pytest
import testinfra.host

from builder.model.lab import Lab, Nic, Node

Host = testinfra.host.Host


def card_of(host: Host, mac: str) -> str:
    """The name of the card with that address, not of a VLAN interface over it."""
    shown = host.check_output("cd /sys/class/net; for d in */device; do echo ${d%%/*} $(cat ${d%%/*}/address); done")
    return {mac: name for name, mac in (line.split() for line in str(shown).splitlines())}[mac]


def addresses(host: Host, name: str) -> set[str]:
    """Addresses with prefix that somebody gave to an interface (its own link-local one is not counted)."""
    words = [line.split() for line in str(host.check_output("ip address show dev %s", name)).splitlines()]
    return {line[1] for line in words if line[0] in ("inet", "inet6") and "link" not in line}


def test_the_node_is_who_it_was_told_to_be(host: Host, node: Node) -> None:
    assert host.check_output("hostname") == node.name


def test_the_kernel_was_given_its_arguments(host: Host, node: Node) -> None:
    found = str(host.check_output("cat /proc/cmdline")).split()
    assert [word for word in found if word in node.kernel.arguments] == list(node.kernel.arguments)


def test_cards_have_their_mtu_and_addresses(host: Host, node: Node) -> None:
    assert addresses(host, card_of(host, node.management_mac))
    for nic in node.nics:
        name = card_of(host, nic.mac)
        assert int(host.check_output("cat /sys/class/net/%s/mtu", name)) == nic.mtu
        assert addresses(host, name) == set(nic.addresses)
        for vlan in nic.trunk:
            assert addresses(host, f"{name}.{vlan}") == set(nic.vlan_addresses.get(vlan, ()))


def peers(lab: Lab, node: Node) -> list[tuple[str, int]]:
    """Addresses of other nodes that this node must reach, with the MTU of the network between them."""

    def segments(nic: Nic) -> dict[tuple[str, int], tuple[str, ...]]:
        """Addresses by network and VLAN; what is untagged at a port without a VLAN of its own is VLAN 1."""
        tagged = {(nic.network, vlan): nic.vlan_addresses.get(vlan, ()) for vlan in nic.trunk}
        return {(nic.network, nic.vlan or 1): nic.addresses, **tagged}

    own = {segment for nic in node.nics for segment, mine in segments(nic).items() if mine}
    return [
        (address.partition("/")[0], nic.mtu)
        for other in lab.nodes
        if other.name != node.name
        for nic in other.nics
        for segment, theirs in segments(nic).items()
        if segment in own
        for address in theirs
    ]


def test_peers_answer_frames_as_large_as_the_network_carries(host: Host, lab: Lab, node: Node) -> None:
    """IP and ICMP headers take 28 bytes of the MTU (48 with IPv6)."""
    if not peers(lab, node):
        pytest.skip("this node shares no network with another")
    for address, mtu in peers(lab, node):
        size = mtu - (48 if ":" in address else 28)
        host.check_output("ping -c 1 -W 5 -s %s %s", str(size), address)
