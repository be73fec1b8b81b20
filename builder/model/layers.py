"""The lab file as users write it: every key optional, so that layers can be laid over each other.

A node's values come from four layers, later ones win: nestlab's defaults <- the system's defaults <- the lab's
`defaults:` <- the node. Lists are replaced as a whole, except `arguments`, which add up; mappings are merged.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from builder.model.lab import CpuModel, DiskBus, Firmware, NicModel, RaidLevel, SectorSize, Value
from builder.model.units import Arguments, Bdf, InterfaceAddress, Mac, Name, Size, Vlan


class NetworkLayer(Value):
    """A layer-2 network among the nodes of this lab."""

    mtu: Annotated[int, Field(ge=576, le=9216, description="Largest frame payload in bytes.")] = 1500


class DiskLayer(Value):
    """One disk. The first is the one the node boots from."""

    name: Name | None = None
    size: Annotated[Size, Field(description="What the guest sees; the file grows as it is written.")]
    bus: DiskBus | None = Field(None, description="Controller: lsilogic is the documented LSI Logic SCSI.")
    sector: SectorSize = Field("512n", description="512n, 512e (512 logical on 4096 physical) or 4Kn.")


class RaidLayer(Value):
    """A Linux md array over named disks of this node."""

    name: Name
    level: RaidLevel
    disks: tuple[Name, ...]


def _nic(value: Any) -> Any:
    return {"network": value} if isinstance(value, str) else value


class NicLayer(Value):
    """One network card. A bare string is the name of its network."""

    network: Name
    mac: Mac | None = None
    model: NicModel | None = None
    vlan: Vlan | None = Field(None, description="Access port: the guest sees untagged frames of this VLAN.")
    trunk: tuple[Vlan, ...] = Field((), description="Trunk port: these VLANs reach the guest tagged.")
    addresses: tuple[InterfaceAddress, ...] = Field((), description="Static addresses with prefix.")


NicEntry = Annotated[NicLayer, BeforeValidator(_nic)]


class XenLayer(Value):
    """Hypervisor and toolstack settings."""

    dom0_memory: Size | None = Field(None, description="dom0_mem=N,max:N: exactly this much, no ballooning.")
    dom0_max_vcpus: Annotated[int, Field(ge=1, le=64)] | None = None
    dom0_vcpus_pin: bool | None = None
    com1: Annotated[str, Field(pattern=r"^[0-9a-z,.:]+$")] | None = Field(None, description="Such as 115200,8n1.")
    console: Annotated[str, Field(pattern=r"^[a-z0-9,]+$")] | None = Field(
        None, description="Such as com1 or com1,vga."
    )
    loglvl: Annotated[str, Field(pattern=r"^[a-z]+(/[a-z]+)?$")] | None = None
    guest_loglvl: Annotated[str, Field(pattern=r"^[a-z]+(/[a-z]+)?$")] | None = None
    noreboot: bool | None = Field(None, description="Stay stopped after a crash, so that the last words can be read.")
    bridge: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,14}$")] | None = None
    pciback_hide: tuple[Bdf, ...] | None = Field(None, description="PCI devices kept from dom0 for passing to guests.")
    arguments: Arguments = Field((), description="Passed verbatim to the hypervisor.")


class KernelLayer(Value):
    """The host's own kernel: the dom0 kernel where Xen runs."""

    arguments: Arguments = Field((), description="Passed verbatim to the kernel.")


class SourceLayer(Value):
    """`source: image` boots a ready image; `{image: FILE}` your own; `{medium: ISO}` installs from a medium."""

    image: str | None = None
    medium: str | None = None


def _source(value: Any) -> Any:
    if value == "image":
        return {}
    if isinstance(value, str):
        raise ValueError(f"{value!r} is no source; write image, or a mapping with image: FILE or medium: FILE")
    return value


class NodeLayer(Value):
    """What may be said about a node, at any layer."""

    system: str | None = Field(None, description="What is installed on the host.")
    release: Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int | float) else v)] | None = None
    cpus: Annotated[int, Field(ge=1, le=256)] | None = None
    memory: Size | None = None
    firmware: Firmware | None = None
    machine: Literal["pc", "q35"] | None = None
    cpu_model: CpuModel | None = Field(None, description="The documented CPU mode under KVM.")
    management_nic: NicModel | None = Field(None, description="Model of the card that ssh comes in by.")
    disks: tuple[DiskLayer, ...] | None = None
    raid: tuple[RaidLayer, ...] = ()
    networks: tuple[NicEntry, ...] | None = Field(None, description="One card each, in this order.")
    xen: XenLayer = Field(default_factory=XenLayer)
    kernel: KernelLayer = Field(default_factory=KernelLayer)
    source: Annotated[
        SourceLayer | None,
        BeforeValidator(_source),
        WithJsonSchema({"anyOf": [{"const": "image"}, SourceLayer.model_json_schema()]}),
    ] = None
    after: tuple[Name, ...] = Field((), description="Nodes that must be ready before this one starts.")


class LabLayer(Value):
    """A lab file."""

    name: Name
    description: str = ""
    expires: Annotated[str, Field(pattern=r"^(never|[0-9]+[mhd])$")] = Field(
        "12h", description="Lifetime after which the lab is taken down by itself: 30m, 12h, 7d or never."
    )
    networks: dict[Name, NetworkLayer | None] = Field(default_factory=dict)
    defaults: NodeLayer = Field(default_factory=NodeLayer)
    nodes: dict[Name, NodeLayer]
