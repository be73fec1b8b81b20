"""Guests of a node: as they are written in a lab file, and with every value filled in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from builder.model.lab import (
    DiskFormat,
    Guest,
    GuestBoot,
    GuestDisk,
    GuestMake,
    GuestMaker,
    GuestManager,
    GuestOs,
    GuestType,
    Value,
    Vif,
)
from builder.model.texts import GuestPath, GuestRelease, SshKey, Url, Volume
from builder.model.units import BRIDGE_PATTERN, MIB, Arguments, Bdf, Mac, Name, WholeMib

# Where a guest's files are kept when nobody says otherwise: below this, a folder for each guest.
FOLDER = "/var/lib/nestlab/guests"
XEN_PREFIX = "00:16:3e"
"""The addresses that Xen hosts give to their guests (xl-network-configuration(5))."""

Bool = Annotated[bool, Field(strict=True)]

# Kernels of NetBSD's release, binary/kernel: PV guests have one of their own, the others run the common one.
_NETBSD_KERNEL: dict[GuestType, str] = {
    "pv": "netbsd-XEN3_DOMU.gz",
    "pvh": "netbsd-GENERIC.gz",
    "hvm": "netbsd-GENERIC.gz",
}


class GuestDiskLayer(Value):
    """A disk of a guest."""

    size: WholeMib | None = Field(None, description="What the guest sees; left out for what exists already.")
    path: GuestPath | None = Field(None, description="A file or block device of the host; made up when left out.")
    volume: Volume | None = Field(None, description="A logical volume instead of a file, as GROUP/VOLUME.")
    format: DiskFormat = Field("raw", description="Of the file; a volume is raw.")
    readonly: Bool = Field(False, description="The guest may not write to it.")


class VifLayer(Value):
    """A network interface of a guest."""

    mac: Mac | None = Field(None, description="Made in 00:16:3e from the names of lab, node and guest when left out.")
    bridge: Annotated[str, Field(pattern=BRIDGE_PATTERN)] | None = Field(
        None, description="A bridge of the host, the management card's when left out."
    )


class MakeLayer(Value):
    """How the disks of a guest are made, by a script in the host."""

    by: GuestMaker = Field(description="The program that makes them; existing leaves them alone.")
    release: GuestRelease | None = Field(None, description="What is installed, such as trixie, or 10.1 of NetBSD.")
    mirror: Url | None = Field(None, description="Where it comes from.")
    preseed: Url | None = Field(None, description="The answers of the Debian installer.")
    keys: tuple[SshKey, ...] = Field((), max_length=64, description="Public ssh keys of the guest's root.")


class GuestLayer(Value):
    """A guest (L2) of a node."""

    name: Name = Field(description="Of the domain and of its files; unique in the node.")
    type: GuestType = Field("pv", description="Paravirtual, paravirtual in a hardware container, or a full machine.")
    os: GuestOs = Field("linux", description="What runs in it.")
    manager: GuestManager = Field("xl", description="Who starts it; one domain is never left to both.")
    vcpus: Annotated[int, Field(strict=True, ge=1, le=128)] = Field(1, description="Virtual processors.")
    memory: WholeMib = Field(256 * MIB, description="Given at the start.", json_schema_extra={"default": "256MiB"})
    maxmem: WholeMib | None = Field(None, description="What it may be given later, memory when left out.")
    boot: GuestBoot | None = Field(
        None, description="What starts it: for PV and PVH the host's kernel, for HVM its disk, when left out."
    )
    kernel: GuestPath | None = Field(None, description="A kernel, or with boot: grub-xen a GRUB, in the host.")
    ramdisk: GuestPath | None = Field(None, description="The initial RAM disk of that kernel, in the host.")
    arguments: Arguments = Field((), description="Passed verbatim to the kernel.")
    disks: tuple[GuestDiskLayer, ...] = Field((), max_length=64, description="In this order: xvda, xvdb and so on.")
    vifs: tuple[VifLayer, ...] = Field((), max_length=64, description="Network interfaces.")
    pci: tuple[Bdf, ...] = Field((), max_length=64, description="Devices of the host, kept from it by pciback_hide.")
    autostart: Bool = Field(False, description="Started with the host.")
    entropy: Bool = Field(False, description="A virtio random number device, which HVM guests can have.")
    make: MakeLayer | None = Field(None, description="How its disks are made.")


def guest_of(said: GuestLayer, bridge: str, mac: Callable[[int], str]) -> Guest:
    """The guest on a host whose first bridge this is. `mac` gives the address of an interface that has none."""
    boot = said.boot or _boot(said)
    kernel = said.kernel
    if kernel is None and boot == "kernel" and said.os == "netbsd":
        kernel = f"{FOLDER}/{said.name}/{_NETBSD_KERNEL[said.type]}"
    return Guest(
        name=said.name,
        type=said.type,
        os=said.os,
        manager=said.manager,
        vcpus=said.vcpus,
        memory=said.memory,
        maxmem=said.maxmem,
        boot=boot,
        kernel=kernel,
        ramdisk=said.ramdisk,
        arguments=said.arguments,
        disks=tuple(_disk(said.name, number, disk) for number, disk in enumerate(said.disks)),
        vifs=tuple(
            Vif(mac=vif.mac or mac(number), bridge=vif.bridge or bridge) for number, vif in enumerate(said.vifs)
        ),
        pci=said.pci,
        autostart=said.autostart,
        entropy=said.entropy,
        made=None if said.make is None else GuestMake.model_validate(said.make.model_dump()),
    )


def _boot(said: GuestLayer) -> GuestBoot:
    if said.kernel is not None or (said.os == "netbsd" and said.type != "hvm"):
        return "kernel"
    return "disk" if said.type == "hvm" else "dom0-kernel"


def _disk(guest: str, number: int, disk: GuestDiskLayer) -> GuestDisk:
    path = disk.path or (f"/dev/{disk.volume}" if disk.volume else f"{FOLDER}/{guest}/disk{number}.{disk.format}")
    return GuestDisk(path=path, volume=disk.volume, size=disk.size, format=disk.format, readonly=disk.readonly)
