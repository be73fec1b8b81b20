"""Bad lab files, as in bad_labs.py: addresses, what a node's image gets, and what it serves."""

from __future__ import annotations


def _node(lines: str) -> str:
    """A lab of one host with these lines, indented by four."""
    return f"name: t\nnodes:\n  a:\n    system: host\n{lines}"


def _on(network: str, card: str) -> str:
    """A lab of one host with this card on this network."""
    return f"name: t\nnetworks: {{l: {network}}}\nnodes:\n  a: {{system: host, networks: [{{network: l, {card}}}]}}\n"


def _serving(what: str) -> str:
    """A storage node with a second disk."""
    return (
        "name: t\nnetworks: {l: {}}\nnodes:\n  a:\n    system: host\n"
        "    networks: [{network: l, addresses: [10.0.0.1/24]}]\n"
        f"    disks: [{{name: x, size: 8GiB}}, {{name: y, size: 8GiB}}]\n    storage: {{{what}}}\n"
    )


STRUCTURAL = (
    ("subnet without a prefix", "name: t\nnetworks: {l: {subnets: [¦10.0.0.0]}}\nnodes: {a: {system: host}}\n",
     "lab-address", "10.0.0.0/24"),
    ("package with a version", _node("    packages: [¦open-iscsi=2]\n"), "lab-bad-value", "name alone"),
    ("served folder that climbs", _node("    storage: {nfs: [¦/srv/..]}\n"), "lab-bad-value", "/srv/nfs"),
    ("misspelt key of the storage", _node("    storage: {¦nsf: [/srv]}\n"), "lab-unknown-key", "did you mean nfs?"),
)  # fmt: skip

WHOLE = (
    ("subnet that is an address", "name: t\nnetworks: {l: {subnets: [¦10.0.0.1/24]}}\nnodes: {a: {system: host}}\n",
     "lab-address", "write 10.0.0.0/24"),
    ("address in no subnet", _on("{subnets: [10.0.0.0/24, fd00::/64]}", "addresses: [10.0.0.5/24, ¦10.0.1.5/24]"),
     "lab-address-subnet", "10.0.0.0/24"),
    ("address of another prefix", _on("{subnets: [10.0.0.0/24]}", "addresses: [¦10.0.0.5/16]"), "lab-address-subnet",
     "prefix length counts"),
    ("tagged address in no subnet", _on("{subnets: [10.0.0.0/24]}", "trunk: [7], vlan_addresses: {7: [¦10.7.0.5/24]}"),
     "lab-address-subnet", "its subnets"),
    ("address of the management card", _on("{}", "addresses: [¦10.0.2.9/24]"), "lab-management-address", "10.0.0.0/24"),
    ("the same in a larger network", _on("{}", "addresses: [¦10.0.2.9/8]"), "lab-management-address", "10.0.0.0/24"),
    ("card larger than its network", _on("{mtu: 1400}", "mtu: ¦1500"), "lab-mtu", "mtu: 1500"),
    ("packages without an image", "name: t\nnodes: {a: {system: small, packages: ¦[vim]}}\n", "lab-packages", "remove"),
    ("packages for one's own image", _node("    source: {image: x.qcow2}\n    packages: ¦[vim]\n"), "lab-packages",
     "install: packages"),
    ("storage without an image", "name: t\nnodes: {a: {system: small, storage: ¦{nfs: [/srv]}}}\n", "lab-storage",
     "system: debian"),
    ("storage without an address", _node("    storage: ¦{nfs: [/srv]}\n"), "lab-storage", "add networks:"),
    ("serves an unknown disk", _serving("iscsi: [y, ¦z]"), "lab-storage", "disks: y"),
    ("serves the disk that it starts from", _serving("iscsi: [¦x]"), "lab-storage", "another disk"),
    ("serves a disk twice", _serving("iscsi: [y, ¦y]"), "lab-storage", "once"),
    ("serves a folder twice", _serving("nfs: [/a, ¦/a]"), "lab-storage", "once"),
)  # fmt: skip
