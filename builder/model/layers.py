"""The lab file as users write it: every key optional, so that layers can be laid over each other.

A node's values come from four layers, later ones win: nestlab's defaults <- the system's defaults <- the lab's
`defaults:` <- the node. Lists are replaced as a whole, except `arguments`, which add up; mappings are merged.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from builder.model.guests import GuestLayer
from builder.model.lab import CpuModel, DiskBus, Firmware, NicModel, RaidLevel, SectorSize, Value
from builder.model.units import (
    BRIDGE_PATTERN,
    Arguments,
    BadValue,
    Bdf,
    InterfaceAddress,
    Mac,
    Name,
    Size,
    Subnet,
    Vlan,
)
from builder.model.words import describe, shorten, written

EXPIRES_PATTERN = r"^(never|[1-9][0-9]{0,4}[mhd])$"
COM1_PATTERN = r"^(auto|[0-9]+)(/[0-9]+)?(,[0-9a-z:.]*)*$"
CONSOLE_PATTERN = r"^[a-z0-9]+(,[a-z0-9]+)*$"
LOGLVL_PATTERN = r"^(none|error|warning|info|debug|all)(/(none|error|warning|info|debug|all))?$"
FOLDER_PATTERN = r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$"
PACKAGE_PATTERN = r"^[a-z0-9][a-z0-9+.-]+$"
MOST_NODES = 10_000
_LEVELS = (0, 1, 5, 6, 10)

Bool = Annotated[bool, Field(strict=True)]


Mtu = Annotated[int, Field(strict=True, ge=576, le=9216)]


class NetworkLayer(Value):
    """A layer-2 network among the nodes of this lab."""

    mtu: Mtu = Field(1500, description="Largest frame payload in bytes.")
    subnets: tuple[Subnet, ...] = Field(
        (), max_length=64, description="Addresses on this network are in one of these, in any VLAN."
    )


class DiskLayer(Value):
    """One disk. The first is the one the node boots from."""

    name: Name | None = Field(None, description="Unique in the node; disk0, disk1 and so on when left out.")
    size: Annotated[Size, Field(description="What the guest sees; the file grows as it is written.")]
    bus: DiskBus | None = Field(None, description="Controller: lsilogic is the documented LSI Logic SCSI.")
    sector: SectorSize = Field("512n", description="512n, 512e (512 logical on 4096 physical) or 4Kn.")


def _level(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value in _LEVELS:
        return int(value)
    raise BadValue("lab-bad-value", f"{describe(value)} is no RAID level", "write 0, 1, 5, 6 or 10")


class RaidLayer(Value):
    """A Linux md array over named disks of this node, made by the system's installer."""

    name: Name = Field(description="Unique in the node.")
    level: Annotated[RaidLevel, BeforeValidator(_level), WithJsonSchema({"type": "integer", "enum": list(_LEVELS)})] = (
        Field(description="0, 1, 5, 6 or 10.")
    )
    disks: tuple[Name, ...] = Field(max_length=64, description="Names of disks of this node, each in one array only.")


def _nic(value: Any) -> Any:
    return {"network": value} if isinstance(value, str) else value


class NicLayer(Value):
    """One network card. A bare string is the name of its network."""

    network: Name = Field(description="A network of this lab.")
    mac: Mac | None = Field(None, description="Made from the names of lab and node when left out.")
    model: NicModel | None = Field(None, description="As the management card's when left out.")
    vlan: Vlan | None = Field(None, description="Access port: the guest sees untagged frames of this VLAN.")
    trunk: tuple[Vlan, ...] = Field((), max_length=4094, description="Trunk port: these VLANs reach the guest tagged.")
    mtu: Mtu | None = Field(None, description="As its network's when left out, and never more.")
    addresses: tuple[InterfaceAddress, ...] = Field((), max_length=64, description="Static addresses with prefix.")
    vlan_addresses: dict[
        Annotated[int, Field(ge=1, le=4094)], Annotated[tuple[InterfaceAddress, ...], Field(max_length=64)]
    ] = Field(default_factory=dict, description="Static addresses of tagged interfaces, by a VLAN of the trunk.")


NicEntry = Annotated[NicLayer, BeforeValidator(_nic)]


class StorageLayer(Value):
    """What the node serves to the others: a storage node. It needs an address on a lab network."""

    iscsi: tuple[Name, ...] = Field(
        (), max_length=64, description="Disks of this node, as LUNs 0, 1, ... of one target, by Linux' LIO."
    )
    nfs: tuple[Annotated[str, Field(pattern=FOLDER_PATTERN, max_length=255)], ...] = Field(
        (), max_length=64, description="Folders, made empty, that every node may write to."
    )


class XenLayer(Value):
    """Hypervisor and toolstack settings."""

    dom0_memory: Size | None = Field(None, description="dom0_mem=N,max:N: exactly this much, no ballooning.")
    dom0_max_vcpus: Annotated[int, Field(strict=True, ge=1, le=64)] | None = Field(
        None, description="dom0_max_vcpus=N: dom0's processors, as many as the node has when left out."
    )
    dom0_vcpus_pin: Bool | None = Field(None, description="Keep each dom0 vCPU on its own processor.")
    com1: Annotated[str, Field(pattern=COM1_PATTERN)] | None = Field(None, description="Such as 115200,8n1.")
    console: Annotated[str, Field(pattern=CONSOLE_PATTERN)] | None = Field(
        None, description="Such as com1 or com1,vga."
    )
    loglvl: Annotated[str, Field(pattern=LOGLVL_PATTERN)] | None = Field(
        None, description="What Xen logs of itself, such as all or error/all."
    )
    guest_loglvl: Annotated[str, Field(pattern=LOGLVL_PATTERN)] | None = Field(
        None, description="What Xen logs of its guests."
    )
    noreboot: Bool | None = Field(None, description="Stay stopped after a crash, so that the last words can be read.")
    bridge: Annotated[str, Field(pattern=BRIDGE_PATTERN)] | None = Field(
        None, description="dom0's bridge over the management card, such as xenbr0."
    )
    pciback_hide: Annotated[tuple[Bdf, ...], Field(max_length=256)] | None = Field(
        None, description="PCI devices kept from dom0 for passing to guests."
    )
    arguments: Arguments = Field((), description="Passed verbatim to the hypervisor.")


class KernelLayer(Value):
    """The host's own kernel: the dom0 kernel where Xen runs."""

    arguments: Arguments = Field((), description="Passed verbatim to the kernel.")


FilePath = Annotated[str, Field(min_length=1, max_length=4096)]
MEDIUM_ADDRESS = "^https?://"
SHA256_PATTERN = "^[0-9A-Fa-f]{64}$"


class SourceLayer(Value):
    """`source: image` boots a ready image; `{image: FILE}` your own; `{medium: ISO}` installs from a medium;
    `source: medium` from the one that the environment names (NESTLAB_ISO_XCPNG_8_3)."""

    image: FilePath | None = Field(None, description="Your own disk image, relative to the lab file.")
    medium: FilePath | None = Field(
        None, description="An installation medium: a file, relative to the lab file, or an http(s) address."
    )
    sha256: Annotated[str, Field(pattern=SHA256_PATTERN)] | None = Field(
        None, description="Of the medium, as its publisher gives it; needed with an address."
    )


def _source(value: Any) -> Any:
    if value == "image":
        return {}
    if value == "medium":
        # A name that nobody can write: the environment has it.
        return SourceLayer.model_construct(_fields_set={"medium"}, medium="")
    if isinstance(value, dict):
        return value
    seen = shorten(value) if isinstance(value, str) else describe(value)
    raise BadValue("lab-bad-value", f"{seen} is no source", "write image, medium, {image: FILE} or {medium: FILE}")


def _release(value: Any) -> Any:
    return written(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class NodeLayer(Value):
    """What may be said about a node, at any layer."""

    system: str | None = Field(None, description="What is installed on the host.")
    release: Annotated[str, BeforeValidator(_release)] | None = Field(
        None, description="The release of the system, as it is written: 13 or 8.10."
    )
    cpus: Annotated[int, Field(strict=True, ge=1, le=256)] | None = Field(None, description="Virtual processors.")
    memory: Size | None = Field(None, description="Such as 4GiB.")
    firmware: Firmware | None = Field(None, description="What starts the node.")
    machine: Literal["pc", "q35"] | None = Field(None, description="Chipset: pc has IDE, q35 has PCIe and SATA.")
    cpu_model: CpuModel | None = Field(None, description="The documented CPU mode under KVM.")
    iommu: Bool | None = Field(
        None,
        description="An emulated VT-d: Xen can give PCI devices to guests. Such a node is a q35 with disks on sata.",
    )
    management_nic: NicModel | None = Field(None, description="Model of the card that ssh comes in by.")
    management_mac: Mac | None = Field(
        None, description="Address of that card, such as a bare-metal machine's own; made from the names when left out."
    )
    disks: Annotated[tuple[DiskLayer, ...], Field(max_length=64)] | None = Field(
        None, description="The first is the one the node starts from."
    )
    raid: tuple[RaidLayer, ...] = Field((), max_length=64, description="Arrays that the system's installer makes.")
    networks: Annotated[tuple[NicEntry, ...], Field(max_length=64)] | None = Field(
        None, description="One card each, in this order."
    )
    xen: XenLayer = Field(default_factory=XenLayer, description="The hypervisor and its dom0.")
    kernel: KernelLayer = Field(default_factory=KernelLayer, description="The host's own kernel.")
    source: Annotated[SourceLayer | None, BeforeValidator(_source)] = Field(
        None,
        description="Where the node's system comes from.",
    )
    after: tuple[Name, ...] = Field((), max_length=1024, description="Nodes that must be ready before this one starts.")
    install: dict[str, Any] = Field(
        default_factory=dict, description="What only the installer of the node's system understands."
    )
    guests: tuple[GuestLayer, ...] = Field((), max_length=256, description="Domains that run on this host.")
    packages: tuple[Annotated[str, Field(pattern=PACKAGE_PATTERN, max_length=120)], ...] = Field(
        (), max_length=256, description="Packages put into the node's ready image, beside those that its system needs."
    )
    storage: StorageLayer | None = Field(None, description="Disks and folders that the node serves to the others.")


class LabLayer(Value):
    """A lab file."""

    name: Name = Field(description="What the lab is called on this machine; unique among those that are up.")
    description: str = Field("", max_length=4096, description="What it is for, in a line.")
    expires: Annotated[str, Field(pattern=EXPIRES_PATTERN)] = Field(
        "12h", description="Lifetime after which the lab is taken down by itself: 30m, 12h, 7d or never."
    )
    networks: dict[Name, NetworkLayer | None] = Field(
        default_factory=dict,
        max_length=4096,
        description="Networks among the nodes, by name. Their traffic never leaves the machine.",
    )
    defaults: NodeLayer = Field(default_factory=NodeLayer, description="What all nodes have in common.")
    nodes: dict[Name, NodeLayer | None] = Field(max_length=MOST_NODES, description="The hosts, by name.")
