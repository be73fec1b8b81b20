"""What exports to Linux hosts have in common: bridges for the lab's networks."""

from __future__ import annotations

from builder.hypervisors.l0 import bridge_name, segments
from builder.hypervisors.shell import call
from builder.model.lab import Lab


def bridges(lab: Lab) -> list[str]:
    """Calls that make the bridge of each network."""
    return [call("bridge", bridge_name(lab, network.name), network.mtu) for network, _ in segments(lab)]


def unbridges(lab: Lab) -> list[str]:
    """Calls that take them away again."""
    return [call("unbridge", bridge_name(lab, network.name)) for network, _ in segments(lab)]


def accesses(lab: Lab) -> list[str]:
    """Calls that make one more bridge for each VLAN with access ports, over its network's, which has to be there."""
    return [
        call("access", bridge_name(lab, network.name), vlan, bridge_name(lab, network.name, vlan), network.mtu)
        for network, vlans in segments(lab)
        for vlan in vlans
    ]


def unaccesses(lab: Lab) -> list[str]:
    """Calls that take those away. A VLAN interface goes with the bridge that it is on."""
    return [
        call("unbridge", bridge_name(lab, network.name, vlan)) for network, vlans in segments(lab) for vlan in vlans
    ]
