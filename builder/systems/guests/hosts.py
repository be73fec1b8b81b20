"""What guests find in the host that they run on, by its system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.model.lab import GuestMaker, GuestType
from builder.model.plan import GuestTraits

_LINUX = GuestTraits(
    managers=("xl", "libvirt"),
    makers=("existing", "debootstrap", "xen-tools", "debian-installer", "INSTALL_XEN3_DOMU"),
    kernel=True,
)
_GRUB_XEN = {"pv": "/usr/lib/grub-xen/grub-x86_64-xen.bin", "pvh": "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"}


@dataclass(frozen=True, slots=True)
class GuestHost:
    """`configs` and `suffix`: where xl's files are. `links`: whether systemd-tmpfiles puts links where the start of the
    host looks for them. `kernel` and `ramdisk` are the host's own, `pvgrub2` its GRUB for each type. `lacks`: programs
    that a release no longer has. `packages` are what it needs, by what asks for it."""

    traits: GuestTraits
    configs: str
    suffix: str
    links: bool
    kernel: str = ""
    ramdisk: str = ""
    pvgrub2: Mapping[GuestType, str] = field(default_factory=dict)
    lacks: Mapping[str, tuple[GuestMaker, ...]] = field(default_factory=dict)
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


DEBIAN = GuestHost(
    traits=_LINUX,
    configs="/etc/xen",
    suffix=".cfg",
    links=True,
    # links that linux-base keeps on the newest kernel
    kernel="/vmlinuz",
    ramdisk="/initrd.img",
    # package grub-xen-host of 12 and 13
    pvgrub2=_GRUB_XEN,  # type: ignore[arg-type]  # its keys are types of guests
    lacks={"13": ("xen-tools",)},
    packages={
        "pvgrub2": ("grub-xen-host",),
        "libvirt": ("libvirt-daemon-system", "libvirt-daemon-driver-xen", "libvirt-clients"),
        "volume": ("lvm2",),
        "debootstrap": ("debootstrap",),
        "xen-tools": ("xen-tools",),
        "debian-installer": ("wget",),
        "INSTALL_XEN3_DOMU": ("wget",),
    },
)
SUSE = GuestHost(
    traits=_LINUX.model_copy(update={"makers": ("existing", "debian-installer", "INSTALL_XEN3_DOMU")}),
    configs="/etc/xen",
    suffix=".cfg",
    links=True,
    kernel="/boot/vmlinuz",
    ramdisk="/boot/initrd",
    # grub2.spec of openSUSE, of 2.04 to 2.06; /usr/lib/grub2/x86_64-xen, which README.SUSE names, has a link to it
    pvgrub2={"pv": "/usr/share/grub2/x86_64-xen/grub.xen"},
    packages={
        "pvgrub2": ("grub2-x86_64-xen",),
        "libvirt": ("libvirt-daemon-xen", "libvirt-client"),
        "volume": ("lvm2",),
        "debian-installer": ("wget",),
        "INSTALL_XEN3_DOMU": ("wget",),
    },
)
NETBSD = GuestHost(
    traits=GuestTraits(
        managers=("xl",), makers=("existing", "debian-installer", "netbsd-sets", "INSTALL_XEN3_DOMU"), kernel=False
    ),
    configs="/usr/pkg/etc/xen",
    suffix="",
    links=False,
)
HOSTS: Mapping[str, GuestHost] = {"debian": DEBIAN, "suse": SUSE, "netbsd": NETBSD}
