"""Labs to be exported, and where they go: values that are made to be misread among them."""

from __future__ import annotations

from typing import Any

from builder.hypervisors import load_exporter
from builder.hypervisors.l0 import Exporter, Site
from builder.model.lab import Lab, MediumSource, Network, Nic, Node
from builder.model.plan import File
from builder.model.units import GIB
from tests.support.nodes import debian_node, disk, nic

# Nothing in these may be run, expanded or taken for an end.
HOSTILE = "it's $(touch pwned) `touch pwned`; touch pwned | & * ~ %PATH% $HOME #x"
HOSTILE_QUOTED = HOSTILE + ' "two" words'
# PowerShell takes each of these for a single quote.
CURLY = "a\u2018b\u2019c\u201ad\u201be"


def installed(name: str = "host", **changes: Any) -> Node:
    """A node that installs itself, as large as every L0 wants it."""
    values: dict[str, Any] = {
        "name": name, "system": "xcpng", "release": "8.3", "memory": 8 * GIB,
        "disks": (disk("system", size=100 * GIB), disk("guests", size=100 * GIB)),
        "source": MediumSource(path="media/xcp-ng-8.3.iso"),
    }  # fmt: skip
    return debian_node(**{**values, **changes})


def lab(*nodes: Node, networks: tuple[Network, ...] = (Network(name="lan", mtu=9000),), **changes: Any) -> Lab:
    values: dict[str, Any] = {"name": "demo", "description": "for tests", "expires": 0}
    return Lab(**{**values, **changes}, networks=networks, nodes=nodes)


def cards(*changes: dict[str, Any]) -> tuple[Nic, ...]:
    return tuple(nic(number, **change) for number, change in enumerate(changes, 1))


def two_nodes() -> Lab:
    """One that installs itself and one that comes with its disk; the first waits for the second."""
    return lab(
        installed(after=("ready",), nics=cards({}, {"trunk": (100, 200)})),
        debian_node(name="ready", disks=(disk("root", size=60 * GIB),), management_mac="52:54:00:00:00:02",
                    nics=(nic(9),)),
    )  # fmt: skip


def place(exporter: Exporter, made: Lab, **changes: Any) -> Site:
    """The L0's usual places with these changes."""
    site = exporter.l0.site
    return site.model_copy(update={"folder": site.folder.format(lab=made.name), **changes})


def export(target: str, made: Lab, **changes: Any) -> dict[str, File]:
    exporter = load_exporter(target)
    return {file.path: file for file in exporter.export(made, place(exporter, made, **changes))}
