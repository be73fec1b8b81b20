"""boot.cfg of the host, and of the medium that installs it.

The loader copies each command into 80 bytes without looking: whatever does not fit is refused here. Arguments are
written in the shortest form that means the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.units import GIB
from builder.systems.dom0 import memory

XEN = "/xen.gz"
DOM0 = "/netbsd-XEN3_DOM0.gz"
OLD_XEN = "/xen.ok"
OLD_DOM0 = "/netbsd-XEN3_DOM0.ok"
OLD_GENERIC = "netbsd.ok"
"""What is kept of the first installation, for the day when an update does not start. The loader knows packed files by
their content; these names are no longer than the others, so that the same arguments fit."""
LONGEST = 79
_SERIAL = re.compile(r"(?:^|,)com([12])(?:,|$)")
_DEFAULT_CONSOLE = "vga"
_PLAIN_PORT = ",8n1"
_PLAIN = re.compile(r"[!\"$-:<-~]+")  # all that can be printed, but space, # and ;


@dataclass(frozen=True, slots=True)
class Console:
    """`port` is Xen's serial port, from 1; None for the screen alone."""

    port: int | None

    @property
    def loader(self) -> str:
        """The same for the loader and for boot blocks, which count from 0."""
        return "pc" if self.port is None else f"com{self.port - 1}"


def console_of(node: Node) -> Console:
    """Where the host's messages go: serial as soon as Xen's console names a port."""
    match = _SERIAL.search(node.xen.console)
    return Console(int(match[1]) if match else None)


def hypervisor_arguments(node: Node) -> tuple[str, ...]:
    """What follows `multiboot /xen.gz`."""
    xen = node.xen
    size = memory(xen.dom0_memory) if xen.dom0_memory % GIB else f"{xen.dom0_memory // GIB}G"
    made = [f"dom0_mem={size},max:{size}"]
    if xen.dom0_max_vcpus != node.cpus:  # as many as there are is what Xen gives without a word
        made.append(f"dom0_max_vcpus={xen.dom0_max_vcpus}")
    if xen.dom0_vcpus_pin:
        made.append("dom0_vcpus_pin")
    if xen.console != _DEFAULT_CONSOLE:
        made.append(f"console={xen.console}")
    port = console_of(node).port
    if port is not None:
        made.append(f"com{port}={xen.com1.removesuffix(_PLAIN_PORT)}")
    made += [f"{key}={level}" for key, level in (("loglvl", xen.loglvl), ("guest_loglvl", xen.guest_loglvl)) if level]
    if xen.noreboot:
        made.append("noreboot")
    return (*made, *xen.arguments)


def dom0_arguments(node: Node, root: str | None) -> tuple[str, ...]:
    """What follows `load /netbsd-XEN3_DOM0.gz`. `root` is the partition that the host is started from, None for that
    of the first disk."""
    made = [] if console_of(node).port is not None else ["console=pc"]
    if root is not None:
        made.append(f"root={root}")
    devices = "".join(f"({_device(node, each)})" for each in node.xen.pciback_hide)
    if devices:
        made.append(f"pciback.hide={devices}")
    return (*made, *node.kernel.arguments)


def _device(node: Node, address: str) -> str:
    """Bus, device and function: the kernel takes no domain."""
    domain, _, rest = address.rpartition(":")[0].rpartition(":")
    if domain not in ("", "0000"):
        raise LabError(
            f"{node.name}: xen.pciback_hide: NetBSD names devices of domain 0 only, not {address}",
            hint="write it as 03:00.0",
        )
    return f"{rest}:{address.rpartition(':')[2]}"


def boot_entries(node: Node, root: str | None) -> tuple[str, ...]:
    """Lines of the menu: Xen first, then what is left when it does not start.

    Raises LabError for arguments that the loader would cut or split, and for commands that are too long for it.
    """
    xen, dom0 = hypervisor_arguments(node), dom0_arguments(node, root)
    entries = (
        ("Xen", _xen(DOM0, dom0, XEN, xen)),
        ("Xen, single user", _xen(DOM0, (*dom0, "-s"), XEN, xen)),
        ("Xen, as it was installed", _xen(OLD_DOM0, dom0, OLD_XEN, xen)),
        ("NetBSD without Xen", ("boot netbsd",)),
        ("NetBSD without Xen, single user", ("boot netbsd -s",)),
        ("NetBSD without Xen, as it was installed", (f"boot {OLD_GENERIC}",)),
        ("Boot prompt", ("prompt",)),
    )
    for where, arguments in (("xen", xen), ("kernel", dom0)):
        for argument in arguments:
            if not _PLAIN.fullmatch(argument):
                raise LabError(
                    f"{node.name}: {where}.arguments: boot.cfg cannot carry {argument!r}: the loader cuts at ; # and "
                    "spaces, and knows ASCII only",
                    hint="leave that argument out",
                )
    for title, commands in entries:
        for command in commands:
            _fits(node, title, command)
    return tuple(f"menu={title}:{';'.join(commands)}" for title, commands in entries)


def _xen(kernel: str, dom0: tuple[str, ...], hypervisor: str, xen: tuple[str, ...]) -> tuple[str, ...]:
    return " ".join(("load", kernel, *dom0)), " ".join(("multiboot", hypervisor, *xen))


def _fits(node: Node, title: str, command: str) -> None:
    size = len(command)
    if size > LONGEST:
        raise LabError(
            f"{node.name}: the boot entry {title!r} has a command of {size} bytes, and the loader has room for "
            f"{LONGEST}: {command}",
            hint="fewer arguments in xen: or kernel:; dom0_max_vcpus as large as cpus, and a whole number of GiB for "
            "dom0_memory, take none or less",
        )
