"""The `install:` mapping of a node that anaconda installs. Sizes are whole MiB or KiB; paths are read at loading."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from builder.model.install import KibSize, LocalFile, MibSize
from builder.model.lab import Value
from builder.model.units import InterfaceAddress, Name, Vlan
from builder.systems.pieces import MOST, Bond, CardNumber, Repository, User
from builder.systems.settings import (
    Address,
    Bool,
    CryptHash,
    Device,
    DevicePath,
    HostName,
    Interpreter,
    Keymap,
    Language,
    Package,
    Service,
    SshKey,
    Timezone,
    Url,
    VolumeName,
)  # fmt: skip

QuirkName = Literal["x9scm-nic"]


class Hook(Value):
    """A script of the user's that runs during the installation."""

    file: LocalFile = Field(description="The script.")
    interpreter: Interpreter = Field("/bin/sh", description="What runs it.")
    chroot: Bool = Field(True, description="In %post: inside the new system, or outside of it.")
    fatal: Bool = Field(True, description="A failure of the script ends the installation.")


class Bridge(Value):
    """A bridge over one card or bond, whose addresses it has."""

    name: Device = Field(description="Such as br0.")
    card: CardNumber | None = Field(None, description="Number of the card under it.")
    bond: Device | None = Field(None, description="Name of the bond under it.")


class HostNetwork(Value):
    """The management card, and what is built over the cards. Lab cards have the addresses of the node's networks."""

    address: InterfaceAddress | None = Field(None, description="Of the management card; without one, DHCP.")
    gateway: Address | None = Field(None, description="Of the management card.")
    vlan: Vlan | None = Field(None, description="VLAN that the management card's frames are tagged with.")
    nameservers: tuple[Address, ...] = Field((), max_length=MOST, description="Name servers, in order.")
    bonds: tuple[Bond, ...] = Field((), max_length=MOST, description="Cards that work as one.")
    bridges: tuple[Bridge, ...] = Field((), max_length=MOST, description="Bridges over cards or bonds.")


class RhelInstall(Value):
    """What anaconda is told. The disks' layout follows the node's `raid:`: the array that holds the first disk holds
    the system; without one the system is on the first disk alone."""

    delivery: Literal["volume", "initrd", "iso"] | None = Field(
        None, description="How the kickstart gets to the installer; without one, by a volume (release 6: its initrd)."
    )
    url: Url | None = Field(None, description="Installation tree; without one, packages come from the medium.")
    repositories: tuple[Repository, ...] = Field((), max_length=MOST, description="More package repositories.")
    language: Language = Field("en_US.UTF-8", description="Language of the host.")
    keyboard: Keymap = Field("us", description="Keyboard map of the host.")
    timezone: Timezone = Field("Etc/UTC", description="Time zone of the host.")
    ntp: tuple[HostName, ...] = Field(
        (), max_length=MOST, description="Time servers; without any, the distribution's own."
    )
    hostname: HostName | None = Field(None, description="Without one, the node's name.")
    disk_names: Literal["kernel", "by-id"] = Field(
        "kernel", description="How disks are named: sda, or by an identity that survives a change of cables."
    )
    devices: dict[Name, DevicePath] = Field(
        default_factory=dict,
        max_length=MOST,
        description="Paths of single disks on the machine, by their names in the lab.",
    )
    label: Literal["msdos", "gpt"] | None = Field(
        None, description="Partition table; without one, gpt for UEFI and for disks over 2 TiB, else msdos."
    )
    boot_size: MibSize | None = Field(None, description="Of /boot; without one, what the release wants.")
    efi_size: MibSize = Field("600MiB", description="Of the EFI system partition.")
    swap: MibSize = Field("4GiB", description="Of the swap volume.")
    volume_group: VolumeName = Field("vg", description="Name of the volume group.")
    extent: KibSize = Field("64MiB", description="Extent of the volume group: a power of two.")
    chunk: KibSize = Field("512KiB", description="Chunk of a striped array: a power of two.")
    filesystem: Literal["xfs", "ext4"] | None = Field(
        None, description="Of / and /boot; without one, the release's own."
    )
    trim: Literal["discard", "timer", "off"] = Field(
        "discard", description="How freed blocks get back to the disks: at once, weekly, or never."
    )
    root_password: CryptHash | None = Field(None, description="A crypt hash; without one, only keys let root in.")
    root_keys: tuple[SshKey, ...] = Field(
        (), max_length=MOST, description="Public ssh keys that let root in, beside the lab's own."
    )
    users: tuple[User, ...] = Field((), max_length=MOST, description="More accounts.")
    packages: tuple[Package, ...] = Field(("@core",), max_length=MOST, description="Packages and groups.")
    services_on: tuple[Service, ...] = Field((), max_length=MOST, description="Services to be enabled.")
    services_off: tuple[Service, ...] = Field((), max_length=MOST, description="Services to be disabled.")
    selinux: Literal["enforcing", "permissive", "disabled"] = Field("enforcing", description="SELinux.")
    firewall: Bool = Field(True, description="A firewall that lets ssh in.")
    network: HostNetwork = Field(default_factory=HostNetwork, description="Addresses, bonds and bridges.")
    pre: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts before the installation.")
    pre_install: tuple[Hook, ...] = Field(
        (), max_length=MOST, description="Scripts once the disks are mounted; not in release 6."
    )
    post: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts after the installation.")
    end: Literal["poweroff", "reboot"] = Field("poweroff", description="What the machine does when it is installed.")
    quirks: tuple[QuirkName, ...] = Field((), max_length=MOST, description="Settings for known machines.")
