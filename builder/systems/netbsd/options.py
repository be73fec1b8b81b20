"""The `install:` mapping of a NetBSD host. Sizes are whole MiB."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.model.install import MibSize, Worded
from builder.model.lab import Value
from builder.model.units import InterfaceAddress, Name
from builder.systems.settings import Address, Bool, HostName, SshKey, Timezone, Withheld

MOST = 64

_SALT = r"[./A-Za-z0-9]"
PasswordHash = Annotated[
    str,
    Withheld(
        rf"\$2a\$[0-9]{{2}}\${_SALT}{{53}}|\$sha1\$[0-9]{{1,9}}\${_SALT}{{1,64}}\${_SALT}{{28}}"
        rf"|\$argon2(id|i|d)\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+",
        "a crypt hash that NetBSD knows",
        "make one with `mkpasswd -m bcrypt-a` ($2a$), or pwhash on NetBSD; it knows no SHA-crypt, yescrypt or $2b$",
    ),
]
DiskDevice = Annotated[
    str, Worded(r"(wd|sd|ld)[0-9]{1,2}", "the name of a disk", "write wd0, sd0 or ld0, as dmesg shows it")
]
CardDevice = Annotated[
    str, Worded(r"[a-z]{2,10}[0-9]{1,2}", "the name of a network card", "write wm0 or re0, as dmesg shows it")
]
SetName = Literal[
    "base", "comp", "etc", "games", "gpufw", "man", "manhtml", "misc", "modules", "rescue", "tests", "text",
    "xbase", "xcomp", "xetc", "xfont", "xserver",
]  # fmt: skip
Folder = Annotated[
    str,
    Worded(
        r"(https?|ftp)://[A-Za-z0-9._~:\[\]@%-]+(/[A-Za-z0-9._~+%-]+)*/?",
        "the address of a folder",
        "write http://host/path/All",
        longest=300,
    ),
]
KernelFile = Annotated[
    str,
    Worded(
        r"(https?|ftp)://[A-Za-z0-9._~:\[\]@%-]+(/[A-Za-z0-9._~+%-]+)+\.gz",
        "the address of a kernel",
        "write http://host/path/netbsd-XEN3_DOM0.gz",
        longest=300,
    ),
]
DomainName = Annotated[
    str,
    Worded(
        r"[A-Za-z0-9][A-Za-z0-9._+-]*", "the name of a guest's file", "write it as it is called in /usr/pkg/etc/xen",
        longest=64,
    ),
]  # fmt: skip


class HostNetwork(Value):
    """The management card. Lab cards have the addresses of the node's networks."""

    address: InterfaceAddress | None = Field(None, description="Of the management card; without one, DHCP.")
    gateway: Address | None = Field(None, description="Of the management card.")
    nameservers: tuple[Address, ...] = Field((), max_length=3, description="Name servers, in order.")


class GuestNetwork(Value):
    """How guests reach the world. Every card has a bridge: the first one has the name of the node's `xen.bridge` and is
    the management card's, the next one is that of the first network."""

    mode: Literal["bridge", "nat"] = Field(
        "bridge", description="On the first bridge: the management card, or the host alone, which translates."
    )
    card: Annotated[int, Field(strict=True, ge=0, le=12)] = Field(
        0, description="With nat: number of the card through which guests leave; 0 is the management card."
    )
    address: InterfaceAddress = Field("10.0.0.1/24", description="With nat: the host's own, on the guests' network.")


class NetbsdInstall(Value):
    """What our script does in place of the medium's own installer. The node's `raid:` may hold one array of level 1:
    the system's."""

    sets: tuple[SetName, ...] = Field(
        ("base", "etc", "modules", "rescue"), max_length=MOST, description="Sets; the kernel's comes by itself."
    )
    xen: Literal["418", "420"] = Field("418", description="Version of the packages xenkernel and xentools.")
    packages: Folder | None = Field(
        None, description="Folder of binary packages; without one, /nestlab/packages on the medium."
    )
    kernel: KernelFile | None = Field(
        None, description="dom0's kernel; without one, netbsd-XEN3_DOM0.gz of the medium."
    )
    devices: dict[Name, DiskDevice] = Field(
        default_factory=dict, max_length=MOST, description="Names of single disks on the machine, by those in the lab."
    )
    cards: tuple[CardDevice, ...] = Field(
        (), max_length=13, description="Names of all cards on the machine, the management card first."
    )
    swap: MibSize = Field("1GiB", description="Of the swap partition; / takes the rest.")
    hostname: HostName | None = Field(None, description="Without one, the node's name.")
    timezone: Timezone = Field("Etc/UTC", description="Time zone of the host.")
    ntp: tuple[HostName, ...] = Field((), max_length=MOST, description="Time servers; without any, NetBSD's own.")
    root_password: PasswordHash | None = Field(None, description="A crypt hash; without one, only keys let root in.")
    root_keys: tuple[SshKey, ...] = Field((), max_length=MOST, description="Keys that let root in, beside the lab's.")
    network: HostNetwork = Field(default_factory=HostNetwork, description="The management card's addresses.")
    guests: GuestNetwork = Field(default_factory=GuestNetwork, description="The guests' network.")
    xendomains: tuple[DomainName, ...] = Field(
        (),
        max_length=MOST,
        description="Guests that start with the host, by the names of their files, before those of `guests:`.",
    )
    guest_disks: Annotated[int, Field(strict=True, ge=4, le=64)] = Field(
        16, description="Disks of guests in files that can be in use at once (vnd)."
    )
    menu_timeout: Annotated[int, Field(strict=True, ge=0, le=3600)] = Field(
        5, description="Seconds that the host's boot menu waits."
    )
    keep_going: Bool = Field(False, description="A failed installation leaves a shell, instead of switching off.")
    end: Literal["poweroff", "reboot"] = Field("poweroff", description="What the machine does when it is installed.")
