"""What a lab looks like to the L0s it can be moved to: where things are there, the nodes in order, the files made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, Protocol

from builder.errors import LabError
from builder.model.lab import Lab, MediumSource, Network, Nic, Node, Value
from builder.model.plan import File, Finding

Cpu = Literal["intel", "amd"]


class Site(Value):
    """Where things are on the L0, and what was chosen instead of the documented.

    `folder` holds disks and media there. `uplink` is what the management cards are put on (a bridge, network, vSwitch
    or switch that exists), `storage` the storage repository or Proxmox storage. `release` is the L0's own. `bus` and
    `nic` stand in for the documented disk controller and card. Nothing here is checked against the L0.
    """

    folder: str
    uplink: str
    storage: str = ""
    release: str = ""
    cpu: Cpu | None = None
    bus: str | None = None
    nic: str | None = None


class L0(Value):
    """What an exporter can carry, for checks and help.

    `site` are the usual places of an L0 of that kind; `{lab}` in them is the lab's name. `buses` says how many disks
    each controller carries beside the CD-ROM, `nics` how many cards of a model a machine has, `releases` which L0
    releases are told apart, `private_vlans` whether access ports on a lab network can be made.
    `own_devices`: the lab file's controllers and cards are this L0's, so that they are taken as they are; elsewhere the
    documented ones stand in for them. `sectors`: disks have the lab file's sector sizes; `iommu`: machines can have an
    emulated IOMMU; `most_mtu` is what cards carry, in bytes. `image` is qemu-img's name of the disk format, with its
    options and suffix.
    """

    target: str
    title: str
    site: Site
    buses: Mapping[str, int]
    nics: Mapping[str, int]
    image: tuple[str, str, str]
    releases: tuple[str, ...] = ()
    private_vlans: bool = True
    own_devices: bool = False
    sectors: bool = False
    iommu: bool = False
    most_mtu: int = 9216


class Machine(Value):
    """A node as any L0 sees it. `name` is unique among labs; `disks` are names of disk files without a suffix;
    `installs`: it starts from its medium first."""

    node: Node
    name: str
    disks: tuple[str, ...]
    installs: bool

    @property
    def medium(self) -> str:
        return f"{self.name}.iso"

    def disk_size(self, number: int) -> int:
        """The size of a disk, in bytes."""
        return self.node.disks[number].size

    @property
    def from_image(self) -> bool:
        """Whether its disks come with contents: each one of a node that is not installed, as guests may be on any."""
        return not self.installs


class Exporter(Protocol):
    """One way to run a lab elsewhere. Pure: a lab and a site go in, files come out."""

    l0: L0

    def kind(self, site: Site) -> str:
        """The name in the table of settings, which may hang on the release."""
        ...

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        """Raises LabError for a value that the L0's files cannot carry."""
        ...

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:
        """What only this L0 has against the lab."""
        ...


def machines(lab: Lab) -> tuple[Machine, ...]:
    """Every node, those that others wait for first."""
    return tuple(_machine(lab, node) for node in _in_order(lab.nodes))


def _machine(lab: Lab, node: Node) -> Machine:
    name = f"{lab.name}-{node.name}"
    return Machine(
        node=node, name=name, disks=tuple(f"{name}-{disk.name}" for disk in node.disks),
        installs=isinstance(node.source, MediumSource),
    )  # fmt: skip


def _in_order(nodes: tuple[Node, ...]) -> list[Node]:
    """Loading has refused circles."""
    placed: dict[str, Node] = {}
    left = list(nodes)
    while left:
        ready = [node for node in left if set(node.after) <= set(placed)]
        if not ready:
            raise LabError("the nodes wait for each other", hint="`after:` goes round in a circle")
        placed |= {node.name: node for node in ready}
        left = [node for node in left if node.name not in placed]
    return list(placed.values())


def segments(lab: Lab) -> tuple[tuple[Network, tuple[int, ...]], ...]:
    """Every lab network with the VLANs that have access ports on it."""
    ports: dict[str, set[int]] = {network.name: set() for network in lab.networks}
    for node in lab.nodes:
        for nic in node.nics:
            if nic.vlan is not None:
                ports[nic.network].add(nic.vlan)
    return tuple((network, tuple(sorted(ports[network.name]))) for network in lab.networks)


def network_name(lab: Lab, network: str) -> str:
    """What a lab network is called on an L0 with room for names."""
    return f"nestlab-{lab.name}-{network}"


def bridge_name(lab: Lab, network: str, vlan: int | None = None) -> str:
    """What its bridge is called: at most 15 characters, as Linux wants, and the same each time."""
    digest = hashlib.sha256(f"{lab.name}\0{network}".encode()).hexdigest()[:6]
    return f"nl{digest}" if vlan is None else f"nl{digest}v{vlan}"


def port(lab: Lab, nic: Nic) -> str:
    """The bridge that a lab card is on."""
    return bridge_name(lab, nic.network, nic.vlan)


def mib(size: int) -> int:
    """Whole MiB of a size in bytes. Raises LabError for a size that is none."""
    whole, rest = divmod(size, 1 << 20)
    if rest:
        raise LabError(f"{size} bytes are no whole number of MiB", hint="write sizes in MiB or GiB")
    return whole
