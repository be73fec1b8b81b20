"""Bridges of a Debian dom0: one over the management card, one over each lab card, named in order."""

from __future__ import annotations

from builder.errors import LabError
from builder.model.lab import Node, Value
from builder.systems.dom0 import bridge_names

MAX_NAME = 15


class Bridge(Value):
    """A bridge over the card with this MAC. `vlans` are (VLAN, addresses) of tagged interfaces on the bridge."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    vlans: tuple[tuple[int, tuple[str, ...]], ...] = ()


def bridges(node: Node) -> tuple[Bridge, ...]:
    """The node's bridges: xenbr0 (management, DHCP), then xenbr1, xenbr2, ... in the order of its networks.

    Raises LabError when the name given for the first leaves no room for the others.
    """
    names = bridge_names(node.xen.bridge, 1 + len(node.nics))
    made = [Bridge(name=names[0], mac=node.management_mac, mtu=1500, addresses=("dhcp",))]
    for name, nic in zip(names[1:], node.nics, strict=True):
        vlans = tuple((vlan, tuple(nic.vlan_addresses.get(vlan, ()))) for vlan in nic.trunk)
        longest = max([len(name), *(len(f"{name}.{vlan}") for vlan, _ in vlans)])
        if longest > MAX_NAME:
            raise LabError(
                f"{node.name}: names made from the bridge '{node.xen.bridge}' grow longer than {MAX_NAME} characters",
                hint="choose a shorter xen.bridge",
            )
        made.append(Bridge(name=name, mac=nic.mac, mtu=nic.mtu, addresses=nic.addresses, vlans=vlans))
    return tuple(made)
