"""Findings about the guests of one node: what their host can hold, what each kind of guest starts from, and what two
guests cannot share. Each rule says where it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable

from builder.model.bridges import bridge_names
from builder.model.lab import Guest, GuestMaker, GuestOs
from builder.model.lint_node import XEN_HEAP, XEN_LEAST, XEN_SHARE
from builder.model.plan import GuestTraits
from builder.model.subject import Subject, repeated
from builder.model.units import MIB, show_size
from builder.model.words import shorten, suggest

VIFS_MOST = 7
"""Management tools of Xen hosts attach no more, and a guest was seen to hang with its eighth (XCP-ng users' guide to
many VLANs in a guest)."""

_GUEST_OS: dict[GuestMaker, GuestOs] = {
    "debootstrap": "linux",
    "xen-tools": "linux",
    "debian-installer": "linux",
    "netbsd-sets": "netbsd",
    "INSTALL_XEN3_DOMU": "netbsd",
}
# They fetch a kernel to start an installation, or the sets themselves; the others ask the host's own mirror.
_FETCHES: tuple[GuestMaker, ...] = ("debian-installer", "netbsd-sets", "INSTALL_XEN3_DOMU")
_ROOT_ONLY: tuple[GuestMaker, ...] = ("debootstrap", "xen-tools", "netbsd-sets")
_ARRAY = re.compile(r"/dev/(?:md/(?P<name>[^/]+)|(?P<number>md[0-9]+))")


def lint_guests(it: Subject) -> None:
    """Add everything that is wrong with the node's guests to the report."""
    if not it.node.guests:
        return
    if it.traits.guests is None:
        why = "they are made by the host's own tools, such as xe" if it.traits.xen else "it does not run Xen"
        it.add(
            "lab-no-guests",
            f"guests of {it.traits.title} cannot be declared: {why}",
            "remove guests: from this node",
            "guests",
        )
        return
    _names(it)
    _started_together(it)
    _shared(it)
    for index, guest in enumerate(it.node.guests):
        for rule in _RULES:
            rule(_Guest(it, it.traits.guests, index), guest)


class _Guest:
    """Where findings about one guest go."""

    def __init__(self, it: Subject, host: GuestTraits, index: int) -> None:
        self.it, self.node, self.host = it, it.node, host
        self._index = index

    def add(self, code: str, message: str, hint: str, *path: str | int) -> None:
        """`path` is below the guest; the message is told with the guest's name before it."""
        name = self.node.guests[self._index].name
        self.it.add(code, f"guest {name}: {message}", hint, "guests", self._index, *path)


def _names(it: Subject) -> None:
    guests = it.node.guests
    for index, name in repeated([guest.name for guest in guests]):
        first = next(guest for guest in guests if guest.name == name)
        if first.manager == guests[index].manager:
            it.add("lab-guest-name", f"two guests are called {name}", "rename one of them", "guests", index, "name")
        else:
            it.add(
                "lab-guest-managers",
                f"the domain {name} is left to xl and to libvirt",
                "keep one: each would start it, and neither knows what the other did",
                "guests", index, "manager",
            )  # fmt: skip


def _started_together(it: Subject) -> None:
    started = [guest for guest in it.node.guests if guest.autostart]
    memory, room = sum(guest.memory for guest in started), _room(it)
    if memory > room and all(guest.memory <= room for guest in started):
        it.add(
            "lab-guest-memory",
            f"the guests that start with the host take {show_size(memory)}, and {_shown(room)} are left beside dom0",
            "give them less memory, or the node more, or start fewer of them",
            "guests",
        )


def _shared(it: Subject) -> None:
    disks: dict[str, str] = {}
    devices: dict[str, str] = {}
    for index, guest in enumerate(it.node.guests):
        for at, disk in enumerate(guest.disks):
            first = disks.setdefault(disk.path, guest.name)
            if first != guest.name and not disk.readonly:
                it.add(
                    "lab-guest-shared-disk",
                    f"guests {first} and {guest.name} have one disk, {disk.path}, and may write to it",
                    "give each a disk of its own, or readonly: true",
                    "guests", index, "disks", at,
                )  # fmt: skip
        for at, device in enumerate(guest.pci):
            first = devices.setdefault(_whole(device), guest.name)
            if first != guest.name:
                it.add(
                    "lab-guest-pci",
                    f"guests {first} and {guest.name} both get the device {device}",
                    "a device belongs to one guest",
                    "guests", index, "pci", at,
                )  # fmt: skip


def _room(it: Subject) -> int:
    """Bytes that Xen can give to guests."""
    node = it.node
    return max(0, node.memory - node.xen.dom0_memory - max(XEN_LEAST, XEN_HEAP + node.memory // XEN_SHARE))


def _shown(room: int) -> str:
    return show_size(room // MIB * MIB) if room >= MIB else "none"


def _whole(device: str) -> str:
    return device if device.count(":") == 2 else f"0000:{device}"


def _manager(of: _Guest, guest: Guest) -> None:
    if guest.manager not in of.host.managers:
        of.add(
            "lab-guest-manager",
            f"{of.it.traits.title} has no {guest.manager}",
            f"use manager: {of.host.managers[0]}",
            "manager",
        )


def _memory(of: _Guest, guest: Guest) -> None:
    if guest.maxmem is not None and guest.maxmem < guest.memory:
        of.add(
            "lab-guest-maxmem",
            f"maxmem {show_size(guest.maxmem)} is less than its memory of {show_size(guest.memory)}",
            "maxmem is what it may grow to: raise it, or leave it out",
            "maxmem",
        )
    room = _room(of.it)
    if guest.memory > room:
        of.add(
            "lab-guest-memory",
            f"it takes {show_size(guest.memory)} of memory, and {_shown(room)} are left beside dom0",
            "give it less, or the node more",
            "memory",
        )


def _interfaces(of: _Guest, guest: Guest) -> None:
    if len(guest.vifs) > VIFS_MOST:
        of.add(
            "lab-guest-vifs",
            f"{len(guest.vifs)} interfaces, and {VIFS_MOST} work",
            "carry several networks over one of them as VLANs",
            "vifs", VIFS_MOST,
        )  # fmt: skip
    known = bridge_names(of.node.xen.bridge, 1 + len(of.node.nics))
    for at, vif in enumerate(guest.vifs):
        if vif.bridge not in known:
            of.add(
                "lab-guest-bridge",
                f"the host has no bridge {shorten(vif.bridge)}",
                suggest(vif.bridge, known, kind="bridges"),
                "vifs", at, "bridge",
            )  # fmt: skip


def _start(of: _Guest, guest: Guest) -> None:
    """xl.cfg(5), kernel, bootloader and firmware: what each type can start from."""
    boot, kind = guest.boot, guest.type.upper()

    def wrong(message: str, hint: str, key: str = "boot") -> None:
        of.add("lab-guest-boot", message, hint, key)

    if guest.os == "netbsd" and boot == "pygrub":
        of.add(
            "lab-guest-pygrub",
            "pygrub does not read NetBSD's file system",
            "leave boot out: NetBSD guests start from a kernel in the host",
            "boot",
        )
    elif guest.type == "hvm" and boot in ("pygrub", "pvgrub2", "grub-xen"):
        wrong(f"{boot} starts PV and PVH guests; an HVM guest has firmware", "use boot: disk, or leave it out")
    elif guest.type != "hvm" and boot == "disk":
        wrong(f"{kind} guests have no firmware that reads a disk", "use boot: pvgrub2 or pygrub")
    elif boot == "dom0-kernel" and guest.os == "netbsd":
        wrong("the host's own kernel does not start NetBSD", "leave boot out, or name a kernel:")
    elif boot == "dom0-kernel" and not of.host.kernel:
        wrong("the host's own kernel starts no guest", "name a kernel: of the guest's system, or use boot: pvgrub2")
    elif boot in ("kernel", "grub-xen") and guest.kernel is None:
        wrong(f"boot: {boot} starts a file of the host, and none is named", "add kernel: FILE")
    elif guest.kernel is not None and boot not in ("kernel", "grub-xen"):
        wrong(f"boot: {boot} does not use kernel:", "remove one of them", "kernel")
    elif guest.ramdisk is not None and boot not in ("kernel", "dom0-kernel"):
        wrong(f"boot: {boot} finds its RAM disk by itself", "remove ramdisk:", "ramdisk")
    elif not guest.disks and boot not in ("kernel", "dom0-kernel"):
        of.add("lab-guest-disk", f"it starts from its disk (boot: {boot}), and has none", "add disks: [{size: 4GiB}]")


def _devices(of: _Guest, guest: Guest) -> None:
    """PVH guests are given no devices (xl.cfg(5), pci), and only emulated machines have virtio's."""
    hidden = {_whole(device) for device in of.node.xen.pciback_hide}
    if guest.pci and guest.type == "pvh":
        of.add("lab-guest-type", "a PVH guest cannot be given PCI devices", "use type: pv or hvm", "pci")
    for at, device in enumerate(guest.pci):
        if _whole(device) not in hidden:
            of.add(
                "lab-guest-pci",
                f"the device {device} is dom0's",
                f"keep it from dom0 with xen: {{pciback_hide: ['{device}']}}",
                "pci", at,
            )  # fmt: skip
    if guest.entropy and (guest.type != "hvm" or guest.manager != "xl"):
        of.add(
            "lab-guest-type",
            "Xen has no random number device of its own, and only xl gives an HVM guest virtio's",
            "remove entropy:, or use type: hvm with manager: xl",
            "entropy",
        )


def _storage(of: _Guest, guest: Guest) -> None:
    arrays = [array.name for array in of.node.raid]
    filled = guest.made is not None and guest.made.by != "existing"
    for at, disk in enumerate(guest.disks):
        array = _ARRAY.fullmatch(disk.path)
        if array is not None and array["name"] not in arrays:
            of.add(
                "lab-guest-array",
                f"{disk.path} is an array that the host does not have by that name",
                f"add it under raid:, and write /dev/md/NAME; arrays: {', '.join(arrays) or 'none'}",
                "disks", at,
            )  # fmt: skip
        elif disk.format != "raw" and (disk.path.startswith("/dev/") or filled):
            why = f"{disk.path} is no {disk.format} file" if not filled else "only raw disks are made and filled"
            of.add("lab-guest-disk", why, "remove format:", "disks", at, "format")
        elif filled and disk.size is None:
            of.add(
                "lab-guest-disk",
                f"disk {at + 1} is to be made, and has no size",
                "add size: 4GiB, or say make: {by: existing}",
                "disks", at,
            )  # fmt: skip


def _made(of: _Guest, guest: Guest) -> None:
    made = guest.made
    if made is None or made.by == "existing":
        return

    def wrong(message: str, hint: str, *key: str) -> None:
        of.add("lab-guest-make", message, hint, "make", *key)

    if made.by not in of.host.makers:
        wrong(f"{made.by} does not run on {of.it.traits.title}", f"use one of {', '.join(of.host.makers)}", "by")
    elif _GUEST_OS[made.by] != guest.os:
        wrong(f"{made.by} makes no {guest.os} guest", f"say os: {_GUEST_OS[made.by]}, or use another program", "by")
    elif not guest.disks:
        wrong(f"{made.by} fills a disk, and the guest has none", "add disks: [{size: 4GiB}]")
    elif made.by in _FETCHES and (made.mirror is None or made.release is None):
        wrong(f"{made.by} has to know what it installs and from where", "add release: and mirror:")
    elif made.by in _ROOT_ONLY and guest.boot == "disk":
        wrong(
            f"{made.by} writes no boot sector, by which an HVM guest starts", "use debian-installer, or type: pv", "by"
        )
    elif made.preseed is not None and made.by != "debian-installer":
        wrong(f"{made.by} reads no preseed file", "remove preseed:", "preseed")
    elif made.keys and made.by in ("debian-installer", "INSTALL_XEN3_DOMU"):
        wrong(f"{made.by} is told no keys", "remove keys:", "keys")


_Rule = Callable[[_Guest, Guest], None]
_RULES: tuple[_Rule, ...] = (_manager, _memory, _interfaces, _start, _devices, _storage, _made)
