"""The lab with every value filled in: what all code after loading sees. Sizes are bytes; nothing is 'unset'.

The shape that users write is in `layers`; `load` turns one into the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from builder.model.units import Arguments, Bdf, Name

Firmware = Literal["bios", "uefi"]
DiskBus = Literal["lsilogic", "ide", "sata", "virtio", "lsisas1068"]
NicModel = Literal["e1000", "e1000e", "rtl8139", "virtio"]
SectorSize = Literal["512n", "512e", "4Kn"]
CpuModel = Literal["host-passthrough", "host-model"]
RaidLevel = Literal[0, 1, 5, 6, 10]
GuestType = Literal["pv", "pvh", "hvm"]
GuestOs = Literal["linux", "netbsd"]
GuestManager = Literal["xl", "libvirt"]
GuestBoot = Literal["dom0-kernel", "kernel", "pygrub", "pvgrub2", "grub-xen", "disk"]
GuestMaker = Literal["existing", "debootstrap", "xen-tools", "debian-installer", "netbsd-sets", "INSTALL_XEN3_DOMU"]
DiskFormat = Literal["raw", "qcow2"]


class Value(BaseModel):
    """A frozen value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Network(Value):
    """A layer-2 segment among the nodes of one lab. Traffic on it never leaves the machine. `mtu` is in bytes; of
    `subnets` are the addresses on it, in any VLAN, where there are any subnets."""

    name: Name
    mtu: int = 1500
    subnets: tuple[str, ...] = ()


class Disk(Value):
    """A thin virtual disk. `size` is what the guest sees, in bytes. `sector` is logical/physical sector size."""

    name: Name
    size: int
    bus: DiskBus
    sector: SectorSize


def sas_address(node: str, disk: str) -> str:
    """The address that the machine of a node gives a disk on SAS, 16 hex digits, by which Linux names it: locally made,
    NAA 5 and QEMU's vendor prefix, the rest from the names."""
    digest = hashlib.sha256(f"{node}\0{disk}".encode()).hexdigest()
    return f"5525400{digest[:9]}"


class RaidArray(Value):
    """A Linux md array over disks of the same node."""

    name: Name
    level: RaidLevel
    disks: tuple[Name, ...]


class Nic(Value):
    """A network card on a lab network. `vlan` makes it an access port of that VLAN, `trunk` a port that
    carries those VLANs tagged (and untagged frames as VLAN 1); with neither it is a plain port. `addresses` are those
    of the card itself, `vlan_addresses` those of the guest's tagged interfaces on a trunk, by VLAN. `mtu` is in bytes;
    its network's, where the card has none of its own."""

    network: Name
    mac: str
    model: NicModel
    vlan: int | None = None
    trunk: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()
    vlan_addresses: Mapping[int, tuple[str, ...]] = Field(default_factory=dict)
    mtu: int = 1500


class Storage(Value):
    """What a node serves to the others. `iscsi` names disks of the node, the LUNs of one target in this order, offered
    at each of its addresses on lab networks; `nfs` are folders, made empty."""

    iscsi: tuple[Name, ...] = ()
    nfs: tuple[str, ...] = ()


class XenSettings(Value):
    """Hypervisor and toolstack settings of a dom0. `dom0_memory` is in bytes and is both initial and maximum."""

    dom0_memory: int
    dom0_max_vcpus: int
    dom0_vcpus_pin: bool
    com1: str
    console: str
    loglvl: str | None
    guest_loglvl: str | None
    noreboot: bool
    bridge: str
    pciback_hide: tuple[Bdf, ...]
    arguments: Arguments


class KernelSettings(Value):
    """Arguments of the host's own kernel (the dom0 kernel where Xen runs), passed verbatim, in order."""

    arguments: Arguments


class ImageSource(Value):
    """The node boots a ready disk image: built by nestlab from the system's recipe, or the user's own qcow2."""

    kind: Literal["image"] = "image"
    path: str | None = None


class MediumSource(Value):
    """The node installs itself from a vendor's installation medium: the file at `path`, or what `url` gives. Where
    there is no such file, and where neither is named, the variable `medium_variable` may name one. `sha256` is what
    the lab file says of it, in lower case."""

    kind: Literal["medium"] = "medium"
    path: str = ""
    url: str | None = None
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """What the medium is called where it lies; empty where only a variable names it."""
        return (self.path or self.url or "").rpartition("/")[2]


def medium_variable(system: str, release: str) -> str:
    """The environment variable that may name the medium of a system's release: NESTLAB_ISO_XCPNG_8_3."""
    return "NESTLAB_ISO_" + re.sub(r"[^A-Z0-9]+", "_", f"{system}_{release}".upper())


Source = Annotated[ImageSource | MediumSource, Field(discriminator="kind")]


class GuestDisk(Value):
    """A guest's disk: a file or block device of the host. `volume` is GROUP/VOLUME where it is a logical volume. `size`
    is in bytes, None where it is there already."""

    path: str
    volume: str | None = None
    size: int | None
    format: DiskFormat = "raw"
    readonly: bool = False


class Vif(Value):
    """A guest's network interface on a bridge of its host."""

    mac: str
    bridge: str


class GuestMake(Value):
    """How a guest's disks get their contents."""

    by: GuestMaker
    release: str | None = None
    mirror: str | None = None
    preseed: str | None = None
    keys: tuple[str, ...] = ()


class Guest(Value):
    """A guest (L2) of a node, in `memory` bytes, up to `maxmem` when its host gives it more. `kernel` and `ramdisk` are
    files of the host. `made` says how its disks come about; None: it has none, or they are there."""

    name: Name
    type: GuestType
    os: GuestOs
    manager: GuestManager
    vcpus: int
    memory: int
    maxmem: int | None
    boot: GuestBoot
    kernel: str | None
    ramdisk: str | None
    arguments: Arguments
    disks: tuple[GuestDisk, ...]
    vifs: tuple[Vif, ...]
    pci: tuple[Bdf, ...]
    autostart: bool
    entropy: bool
    made: GuestMake | None


class Node(Value):
    """One nested host (L1). `memory` is in bytes. `after` names nodes that must be ready before it starts.
    `install` are the settings that only its system's installer understands: the system reads them with its own type.
    `packages` are put into its ready image beside what the system needs. `dom0`: what starts on it is Xen. `iommu`: the
    machine has an emulated VT-d."""

    name: Name
    system: str
    release: str
    cpus: int
    memory: int
    firmware: Firmware
    machine: Literal["pc", "q35"]
    cpu_model: CpuModel
    management_nic: NicModel
    management_mac: str
    disks: tuple[Disk, ...]
    raid: tuple[RaidArray, ...]
    nics: tuple[Nic, ...]
    xen: XenSettings
    kernel: KernelSettings
    source: Source
    after: tuple[Name, ...]
    install: Mapping[str, Any] = Field(default_factory=dict)
    guests: tuple[Guest, ...] = ()
    packages: tuple[str, ...] = ()
    storage: Storage | None = None
    dom0: bool = True
    iommu: bool = False


class Lab(Value):
    """A complete lab. `expires` is the lifetime in seconds after which the keeper takes it down; 0 is never."""

    name: Name
    description: str
    expires: int
    networks: tuple[Network, ...]
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """Raises KeyError for a name the lab does not have."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
