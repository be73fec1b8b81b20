"""The `install:` mapping of a SUSE host. Sizes are whole MiB or KiB; files are read at loading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.model.install import KibSize, LocalFile, MibSize, Worded
from builder.model.lab import Value
from builder.model.units import InterfaceAddress, Name, Vlan
from builder.systems.pieces import MOST, Bond, Repository, User
from builder.systems.settings import (
    Address,
    Bool,
    CryptHash,
    DevicePath,
    HostName,
    Interpreter,
    Keymap,
    Language,
    Service,
    SshKey,
    Timezone,
    Url,
    VolumeName,
    Withheld,
    Word,
)  # fmt: skip

SusePackage = Annotated[
    str, Worded(r"[A-Za-z0-9][A-Za-z0-9+._-]*", "a package or a pattern", "write its name alone", longest=120)
]
HostPath = Annotated[
    str,
    Worded(
        r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._@+-]+)+",
        "the path of a file in the host",
        "write it in full, as /etc/motd: letters, digits and . _ @ + - between the slashes",
        longest=200,
    ),
]
Mode = Annotated[str, Worded(r"[0-7]{4}", "permissions", "write four digits, as 0644")]
RegistrationCode = Annotated[
    str, Withheld(r"[A-Za-z0-9-]{4,64}", "a registration code", "write it as the customer center shows it")
]
Email = Annotated[str, Worded(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+", "an address", "write it as admin@example.org")]


class Hook(Value):
    """A script of the user's that runs during the installation, or at the host's first start. AutoYaST and Agama note
    that a script failed, and go on."""

    file: LocalFile = Field(description="The script.")
    interpreter: Interpreter = Field("/bin/sh", description="What runs it; first_boot is always run by sh on 15.")
    chroot: Bool = Field(True, description="In post: inside the new system, or outside of it.")


class HostFile(Value):
    """A file of the user's that is put into the host, such as a guest's /etc/xen/NAME."""

    path: HostPath = Field(description="Where it goes.")
    file: LocalFile = Field(description="The file.")
    mode: Mode = Field("0644", description="Permissions.")


class Registration(Value):
    """SLES: packages from the customer center, or from a mirror of it (RMT)."""

    server: Url | None = Field(None, description="Address of the mirror; without one, the customer center.")
    code: RegistrationCode | None = Field(None, description="Mirrors need none. It stands in the answers as it is.")
    email: Email | None = Field(None, description="Whom to write to.")
    version: Literal["15.6", "15.7", "16.0"] = Field("15.7", description="Version of the modules: 15.7 is SP7.")


class DomNetwork(Value):
    """The management card, and what is built over the cards. Every card, and every bond in place of its cards, is below
    a bridge of dom0: xen.bridge is the first one's name. Lab cards have the addresses of the node's networks."""

    address: InterfaceAddress | None = Field(None, description="Of the management card; without one, DHCP.")
    gateway: Address | None = Field(None, description="Of the management card.")
    vlan: Vlan | None = Field(None, description="VLAN that the management card's frames are tagged with.")
    nameservers: tuple[Address, ...] = Field((), max_length=MOST, description="Name servers, in order.")
    bonds: tuple[Bond, ...] = Field((), max_length=MOST, description="Cards that work as one.")
    bridged: Bool = Field(True, description="Bridges for guests; without them cards have their addresses themselves.")


class SuseInstall(Value):
    """What AutoYaST or Agama is told. The disks' layout follows the node's `raid:`: the array that holds the first disk
    holds the system; without one the system is on the first disk alone."""

    delivery: Literal["volume", "iso", "initrd", "http"] | None = Field(
        None, description="How the answers get to the installer; without one, by a volume called OEMDRV."
    )
    served_at: Url | None = Field(None, description="With delivery http: the folder that the answers are served from.")
    url: Url | None = Field(None, description="Installation repository; without one, packages come from the medium.")
    repositories: tuple[Repository, ...] = Field((), max_length=MOST, description="More package repositories.")
    modules: tuple[Word, ...] | None = Field(
        None, max_length=MOST, description="SLES 15: modules of its medium; without them, what a Xen host needs."
    )
    registration: Registration | None = Field(None, description="SLES: without it, packages come from the medium.")
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
    label: Literal["gpt", "msdos"] = Field("gpt", description="Partition table.")
    layout: Literal["lvm", "plain"] = Field(
        "lvm", description="The system in a volume group, or on partitions and arrays of its own."
    )
    boot_size: MibSize | None = Field(None, description="Of /boot; without one, 1GiB.")
    efi_size: MibSize = Field("512MiB", description="Of the EFI system partition, on each disk of the system.")
    swap: MibSize = Field("2GiB", description="Of the swap space.")
    root_size: MibSize | None = Field(
        None, description="Of /; without one, to the end. What is left of a volume group is for guests."
    )
    volume_group: VolumeName = Field("vg", description="Name of the volume group.")
    extent: KibSize = Field("4MiB", description="Extent of the volume group: a power of two.")
    chunk: KibSize = Field("512KiB", description="Chunk of a striped array: a power of two.")
    filesystem: Literal["xfs", "ext4", "btrfs"] = Field("xfs", description="Of /; btrfs without snapshots.")
    trim: Literal["timer", "discard", "off"] = Field(
        "timer", description="How freed blocks get back to the disks: weekly, at once, or never."
    )
    root_password: CryptHash | None = Field(None, description="A crypt hash; without one, only keys let root in.")
    root_keys: tuple[SshKey, ...] = Field(
        (), max_length=MOST, description="Public ssh keys that let root in, beside the lab's own."
    )
    users: tuple[User, ...] = Field((), max_length=MOST, description="More accounts.")
    patterns: tuple[SusePackage, ...] = Field((), max_length=MOST, description="More patterns.")
    packages: tuple[SusePackage, ...] = Field((), max_length=MOST, description="More packages.")
    services_on: tuple[Service, ...] = Field((), max_length=MOST, description="Services to be enabled.")
    services_off: tuple[Service, ...] = Field((), max_length=MOST, description="Services to be disabled.")
    firewall: Bool = Field(True, description="A firewall that lets ssh in.")
    network: DomNetwork = Field(default_factory=DomNetwork, description="Addresses, bonds and bridges.")
    hotplug_timeout: Annotated[int, Field(strict=True, ge=1, le=3600)] | None = Field(
        None, description="Seconds that libxl gives each of a guest's disks to be set up; without it, 40 for all."
    )
    loop_devices: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = Field(
        None, description="Loop devices that are made at once; more are made when they are needed."
    )
    files: tuple[HostFile, ...] = Field((), max_length=MOST, description="Files to be put into the host.")
    pre: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts before the installation.")
    partitioned: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts once the disks are mounted.")
    post: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts after the installation.")
    first_boot: tuple[Hook, ...] = Field((), max_length=MOST, description="Scripts at the host's first start.")
    end: Literal["poweroff", "reboot"] = Field("poweroff", description="What the machine does when it is installed.")
