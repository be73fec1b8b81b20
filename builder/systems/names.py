"""What a node calls the other nodes of its lab: a block at the end of its /etc/hosts, on every system.

A node's bare name stands for its addresses on the first segment (network and VLAN) that both are on; NODE.NETWORK and
NODE.vlanN.NETWORK for those on each network. A node that has no address has no name.
"""

from __future__ import annotations

from collections.abc import Iterator

from builder.model.lab import Lab, Node

HOSTS = "/etc/hosts"
_MARK = "# The other nodes of this lab: nestlab writes all from this line on."
_USUAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def hosts_text(lab: Lab, node: Node, before: str = "") -> str:
    """/etc/hosts of a node, given what is in it. The same text once it is right; where it is empty, the usual lines
    come first."""
    own, marked, _ = before.partition(_MARK)
    block = "".join(f"{address}\t{' '.join(names)}\n" for address, names in _names(lab, node))
    if not block and not marked:
        return before
    own = own or _USUAL
    return f"{own if own.endswith(chr(10)) else own + chr(10)}{_MARK}\n{block}"


def _names(lab: Lab, node: Node) -> Iterator[tuple[str, list[str]]]:
    """(address, names), node by node in the order of the lab."""
    near = [segment for segment, _ in _segments(node)]
    for other in lab.nodes:
        if other.name == node.name:
            continue
        theirs = list(_segments(other))
        shared = [segment for segment in near if any(segment == each for each, _ in theirs)]
        main = shared[0] if shared else theirs[0][0] if theirs else None
        for segment, addresses in theirs:
            network, vlan = segment
            full = f"{other.name}.{network}" if vlan == 1 else f"{other.name}.vlan{vlan}.{network}"
            for address in addresses:
                yield address, [other.name, full] if segment == main else [full]


def _segments(node: Node) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """(network, VLAN) with the node's addresses there, in the order of its cards. Untagged is VLAN 1."""
    found: dict[tuple[str, int], list[str]] = {}
    for nic in node.nics:
        for vlan, texts in ((nic.vlan or 1, nic.addresses), *nic.vlan_addresses.items()):
            if texts:
                found.setdefault((nic.network, vlan), []).extend(text.partition("/")[0] for text in texts)
    yield from found.items()
