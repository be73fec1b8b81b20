"""What a guest starts from: a kernel of its host with arguments, a boot loader that reads its disk, or firmware."""

from __future__ import annotations

from dataclasses import dataclass, field

from builder.errors import LabError
from builder.model.guests import FOLDER
from builder.model.lab import Guest
from builder.render.arguments import KernelArguments
from builder.systems.guests.hosts import GuestHost


@dataclass(frozen=True, slots=True)
class Start:
    """Nothing is firmware. `once`: what the guest starts ends with it, instead of starting again."""

    kernel: str = ""
    ramdisk: str = ""
    arguments: KernelArguments = field(default_factory=KernelArguments)
    bootloader: str = ""
    once: bool = False


def start_of(guest: Guest, host: GuestHost) -> Start:
    """Raises LabError for a boot loader that the host does not have."""
    if guest.boot == "disk":
        return Start()
    if guest.boot == "pygrub":
        return Start(bootloader="pygrub", arguments=KernelArguments(guest.arguments))
    if guest.boot == "pvgrub2":
        if guest.type not in host.pvgrub2:
            raise LabError(
                f"guest {guest.name}: no package of this host brings a GRUB for {guest.type.upper()} guests",
                hint="use boot: grub-xen with kernel: FILE",
            )
        return Start(kernel=host.pvgrub2[guest.type])
    if guest.boot == "grub-xen":
        return Start(kernel=guest.kernel or "")
    kernel = guest.kernel if guest.boot == "kernel" else host.kernel
    ramdisk = guest.ramdisk or (host.ramdisk if guest.boot == "dom0-kernel" else "")
    return Start(kernel=kernel or "", ramdisk=ramdisk, arguments=_arguments(guest))


def installation_of(guest: Guest) -> Start | None:
    """What installs the guest, or None for one that is not installed by a kernel of its own."""
    folder = f"{FOLDER}/{guest.name}"
    if guest.made is not None and guest.made.by == "INSTALL_XEN3_DOMU":
        return Start(kernel=f"{folder}/netbsd-INSTALL_XEN3_DOMU.gz", once=True)
    if guest.made is not None and guest.made.by == "debian-installer":
        told = KernelArguments((f"console={_console(guest)}",))
        if guest.made.preseed is not None:
            told = told.with_("auto=true", "priority=critical", f"url={guest.made.preseed}")
        return Start(kernel=f"{folder}/linux", ramdisk=f"{folder}/initrd.gz", arguments=told, once=True)
    return None


def _arguments(guest: Guest) -> KernelArguments:
    """Linux is told its console and, where it has a disk, its root; what the user says comes after, and so wins."""
    if guest.os != "linux":
        return KernelArguments(guest.arguments)
    own = KernelArguments(guest.arguments)
    told = KernelArguments((f"console={_console(guest)}",))
    if guest.disks and not own.values("root"):
        told = told.with_("root=/dev/xvda", "ro")
    return told.with_(*guest.arguments)


def _console(guest: Guest) -> str:
    return "ttyS0" if guest.type == "hvm" else "hvc0"


def disk_names(guest: Guest) -> tuple[str, ...]:
    """The names by which the guest finds its disks, in order. NetBSD counts them, and xl takes numbers as names, which
    libvirt does not (xl-disk-configuration(5), vdev). The firmware of an HVM guest starts from an IDE disk, of which
    there are four."""
    if guest.os == "netbsd" and guest.type != "hvm" and guest.manager == "xl":
        return tuple(f"0x{number:x}" for number in range(len(guest.disks)))
    ide = 4 if guest.type == "hvm" else 0
    return tuple(("hd" if number < ide else "xvd") + _letters(number) for number in range(len(guest.disks)))


def _letters(number: int) -> str:
    """a to z, then aa, ab, ..."""
    first, last = divmod(number, 26)
    return (chr(96 + first) if first else "") + chr(97 + last)
