"""The `install:` mapping of a node that the Debian installer installs. Sizes are whole MiB; paths are read with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.model.install import LocalFile, MibSize, Worded
from builder.model.lab import Value
from builder.model.units import InterfaceAddress, Name
from builder.systems.pieces import MOST, User
from builder.systems.settings import (
    Address,
    Bool,
    CryptHash,
    DevicePath,
    HostName,
    Language,
    SshKey,
    Timezone,
    VolumeName,
    Word,
)

DebianPackage = Annotated[
    str,
    Worded(
        r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(/[a-z0-9-]+)?",
        "a Debian package",
        "write name, name:architecture or name/suite, in lower case",
        longest=120,
    ),
]
HttpAddress = Annotated[
    str,
    Worded(
        r"http://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/+-]*)?",
        "an address that the installer can fetch from",
        "write it as http://mirror.example/debian, without https: the installer checks signatures instead",
    ),
]


DebianKeymap = Annotated[
    str,
    Worded(
        r"[a-z]{2,5}(\([a-z0-9_]{1,20}\))?",
        "a keyboard map of the Debian installer",
        "write it as us, de or fr(latin9)",
    ),
]


class Hook(Value):
    """A script of the user's that runs at the end of the installation."""

    file: LocalFile = Field(description="The script; its first line names what runs it.")
    chroot: Bool = Field(True, description="Inside the new system, or outside of it (it is then at /target).")


class HostNetwork(Value):
    """The management card. Lab cards have the addresses of the node's networks."""

    address: InterfaceAddress | None = Field(None, description="IPv4, of the management card; without one, DHCP.")
    gateway: Address | None = Field(None, description="Of the management card.")
    nameservers: tuple[Address, ...] = Field((), max_length=MOST, description="Name servers, in order.")


class DebianInstall(Value):
    """What the Debian installer is told. The disks' layout follows the node's `raid:`: the array that holds the first
    disk holds the system; without one the system is on the first disk alone, laid out as `layout` says."""

    delivery: Literal["initrd", "iso", "url"] = Field(
        "initrd", description="How the answers get to the installer: in its initrd, on its medium, or from an address."
    )
    served_at: HttpAddress | None = Field(
        None, description="The address of the folder with the answers, for delivery url."
    )
    mirror: HttpAddress | None = Field(
        None, description="Where packages come from; without one, the installer's own choice."
    )
    medium_only: Bool = Field(False, description="Packages come from the medium alone, which must hold all of them.")
    proxy: HttpAddress | None = Field(None, description="HTTP proxy towards the mirror.")
    udeb_suite: Word | None = Field(
        None, description="Suite of the installer's own components, where not the release's."
    )
    services: tuple[Literal["security", "updates", "backports"], ...] = Field(
        ("security", "updates"), max_length=3, description="Package sources beside the release itself."
    )
    language: Language = Field("en_US.UTF-8", description="Language of the host.")
    keyboard: DebianKeymap = Field("us", description="Keyboard map of the host.")
    timezone: Timezone = Field("Etc/UTC", description="Time zone of the host.")
    ntp: HostName | None = Field(None, description="Time server that the clock is set by during the installation.")
    hostname: HostName | None = Field(None, description="Without one, the node's name.")
    domain: HostName | None = Field(None, description="Domain of the host.")
    network: HostNetwork = Field(default_factory=HostNetwork, description="Addresses of the management card.")
    layout: Literal["plain", "lvm"] = Field(
        "lvm",
        description="Of a single disk. plain: partitions for / and swap, and one for the guests' volume group; lvm: / "
        "and swap in the volume group, beside the guests.",
    )
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
    boot_size: MibSize = Field("1GiB", description="Of /boot, where it has a place of its own.")
    efi_size: MibSize = Field("512MiB", description="Of the EFI system partition.")
    root_size: MibSize = Field("4GiB", description="Of /; the rest of the disk is for guests.")
    swap: MibSize | None = Field(None, description="Without one: dom0's memory, and 2 GiB at most.")
    volume_group: VolumeName = Field("vg0", description="Name of the volume group.")
    filesystem: Literal["ext4", "xfs"] = Field("ext4", description="Of /; /boot is always ext4.")
    root_password: CryptHash | None = Field(None, description="A crypt hash; without one, only keys let root in.")
    root_keys: tuple[SshKey, ...] = Field(
        (), max_length=MOST, description="Public ssh keys that let root in, beside the lab's own."
    )
    users: tuple[User, ...] = Field((), max_length=MOST, description="More accounts.")
    packages: tuple[DebianPackage, ...] = Field((), max_length=MOST, description="More packages.")
    early: tuple[LocalFile, ...] = Field((), max_length=MOST, description="Shell scripts before any question.")
    partman: tuple[LocalFile, ...] = Field(
        (), max_length=MOST, description="Shell scripts before the disks are touched."
    )
    late: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts once the host is installed.")
    end: Literal["poweroff", "reboot"] = Field("poweroff", description="What the machine does when it is installed.")
