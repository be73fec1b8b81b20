"""The `install:` mapping of an XCP-ng or XenServer host."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.model.install import LocalFile, Worded
from builder.model.lab import Value
from builder.model.units import InterfaceAddress, Name, Vlan
from builder.systems.settings import (
    Address,
    Bool,
    CryptHash,
    DevicePath,
    HostName,
    Keymap,
    Service,
    SshKey,
    Timezone,
)  # fmt: skip

MOST = 64

Source = Annotated[
    str,
    Worded(
        r"local|(https?|ftp|nfs)://[!#%-;=?-Z_a-z~\[\]]+",
        "a place of packages",
        "write local, or http://..., https://..., ftp://..., nfs://host/path",
        longest=1000,
    ),
]
Served = Annotated[
    str,
    Worded(
        r"(https?|ftp|nfs)://[!#%-;=?-Z_a-z~\[\]]+/",
        "the address of a folder",
        "write http://host/folder/, with the slash at its end",
        longest=1000,
    ),
]
Prefix6 = Annotated[
    str,
    Worded(r"[0-9A-Fa-f:]+/[0-9]{1,3}", "an IPv6 address", "write it with its prefix, such as fd00::5/64", longest=64),
]


class Script(Value):
    """A script of the user's, run by the installer. Its first line names sh, bash or python."""

    file: LocalFile = Field(description="The script.")


class AdminNetwork(Value):
    """The management interface. Card 0 is the node's management card, 1 the first of its networks."""

    card: Annotated[int, Field(strict=True, ge=0, le=8)] = Field(0, description="Number of the card.")
    address: InterfaceAddress | None = Field(None, description="IPv4 with prefix; without one, DHCP.")
    gateway: Address | None = Field(None, description="IPv4 gateway.")
    vlan: Vlan | None = Field(None, description="VLAN that its frames are tagged with.")
    ipv6: Literal["dhcp", "autoconf"] | None = Field(
        None, description="How it gets an IPv6 address, if not a fixed one."
    )
    address6: Prefix6 | None = Field(None, description="Fixed IPv6 address with prefix.")
    gateway6: Address | None = Field(None, description="IPv6 gateway of the fixed address.")
    nameservers: tuple[Address, ...] = Field((), max_length=MOST, description="Name servers, in order.")


class XcpngInstall(Value):
    """What the host installer is told. The node's `raid:` may hold one RAID1 array: the system's."""

    mode: Literal["fresh", "upgrade", "restore"] = Field(
        "fresh", description="New; over an older release on the first disk; or back from the backup that one left."
    )
    sources: tuple[Source, ...] = Field(("local",), max_length=MOST, description="Places of packages.")
    drivers: tuple[Source, ...] = Field((), max_length=MOST, description="Places of driver disks.")
    check_signatures: Bool = Field(True, description="Packages must be signed with the medium's key.")
    check_repository: Bool = Field(True, description="The list of packages must be signed with the medium's key.")
    delivery: Literal["initrd", "served"] | None = Field(
        None, description="The answer file in the installer's own RAM disk, or at `served_at`."
    )
    served_at: Served | None = Field(None, description="Folder where you serve the answer file and the scripts.")
    disk_names: Literal["kernel", "by-id"] = Field("kernel", description="How disks are named: sda, or by identity.")
    devices: dict[Name, DevicePath] = Field(
        default_factory=dict, max_length=MOST, description="Paths of single disks on the machine, by their names."
    )
    sr_type: Literal["ext", "lvm", "largeblock"] = Field("ext", description="Kind of the local storage repository.")
    guest_storage: Bool | None = Field(
        None, description="Local storage on the rest of the system disk; without a word, yes where it works."
    )
    guest_disks: tuple[Name, ...] = Field((), max_length=MOST, description="More disks of the local storage.")
    preserve_first_partition: Literal["true", "false", "if-utility"] | None = Field(
        None, description="Keep the first partition; the installer's own way is if-utility."
    )
    network: AdminNetwork = Field(default_factory=AdminNetwork, description="The management interface.")
    network_backend: Literal["openvswitch", "bridge"] | None = Field(None, description="What switches guests' frames.")
    hostname: HostName | None = Field(None, description="Without one, the node's name.")
    ntp: tuple[HostName, ...] = Field((), max_length=MOST, description="Time servers.")
    ntp_source: Literal["dhcp", "default", "manual"] | None = Field(
        None, description="Where time servers come from, where the release can be told; servers mean manual."
    )
    timezone: Timezone = Field("Etc/UTC", description="Time zone of the host.")
    keyboard: Keymap = Field("us", description="Keyboard map of the host.")
    root_password: CryptHash | None = Field(None, description="A crypt hash; without one, only keys let root in.")
    root_keys: tuple[SshKey, ...] = Field((), max_length=MOST, description="Keys that let root in, beside the lab's.")
    services_on: tuple[Service, ...] = Field((), max_length=MOST, description="Services to be enabled.")
    services_off: tuple[Service, ...] = Field((), max_length=MOST, description="Services to be disabled.")
    at_start: tuple[Script, ...] = Field((), max_length=MOST, description="Scripts before the installation.")
    at_files: tuple[Script, ...] = Field(
        (), max_length=MOST, description="Scripts once the host's files are there; they get their folder."
    )
    at_end: tuple[Script, ...] = Field(
        (), max_length=MOST, description="Scripts at the end; they get 0, or 1 for failed."
    )
    zfs: Bool = Field(False, description="The host will use ZFS, which takes half of dom0's memory as its cache.")
    multipath: Bool | None = Field(None, description="Several paths to one disk are used as one.")
    end: Literal["poweroff", "reboot", "shell"] = Field(
        "poweroff", description="What the machine does when the installer is done, or has failed."
    )
