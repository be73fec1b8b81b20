"""What a Linux dom0 is told when it starts, whoever installed it: arguments of the hypervisor, devices kept back, the
serial port that Xen and the boot loader share, and the names of its bridges."""

from __future__ import annotations

from builder.errors import LabError
from builder.model import bridges
from builder.model.lab import Node, XenSettings
from builder.model.units import KIB, MIB
from builder.render.arguments import KernelArguments

# Xen's own memory and what it keeps back of a small machine, so that dom0_mem can be granted in full.
XEN_OVERHEAD = 256 * MIB

bridge_names = bridges.bridge_names


def hypervisor(xen: XenSettings) -> tuple[KernelArguments, KernelArguments]:
    """Xen's arguments: those of every boot entry, and those that recovery entries do without."""
    size = memory(xen.dom0_memory)
    always = KernelArguments((f"dom0_mem={size},max:{size}", f"dom0_max_vcpus={xen.dom0_max_vcpus}"))
    if xen.dom0_vcpus_pin:
        always = always.with_("dom0_vcpus_pin")
    always = always.with_(f"com1={xen.com1}", f"console={xen.console}")
    more = KernelArguments()
    if xen.loglvl is not None:
        more = more.with_(f"loglvl={xen.loglvl}")
    if xen.guest_loglvl is not None:
        more = more.with_(f"guest_loglvl={xen.guest_loglvl}")
    if xen.noreboot:
        more = more.with_("noreboot")
    return always, more.with_(*xen.arguments)


def memory(size: int) -> str:
    """Bytes in Xen's spelling. Xen counts in KiB at the finest."""
    if size % KIB:
        raise LabError(f"xen.dom0_memory of {size} bytes is no whole number of KiB", hint="write it in MiB or GiB")
    return f"{size // MIB}M" if size % MIB == 0 else f"{size // KIB}K"


def pci_devices(xen: XenSettings) -> tuple[str, ...]:
    """Devices to hide, with the PCI domain that the driver wants to see."""
    return tuple(device if device.count(":") == 2 else f"0000:{device}" for device in xen.pciback_hide)


def pciback_hide(xen: XenSettings) -> tuple[str, ...]:
    """The dom0 kernel's argument that keeps devices back; none when there are none."""
    hidden = "".join(f"({device})" for device in pci_devices(xen))
    return (f"xen-pciback.hide={hidden}",) if hidden else ()


def serial_speed(xen: XenSettings) -> str:
    """The speed of the first serial port, which the boot loader shares with Xen."""
    speed = xen.com1.partition(",")[0]
    return speed if speed.isdigit() else "115200"


def refuse_dom0_memory(node: Node) -> None:
    """Raises LabError for more memory than the node has beside what Xen needs."""
    xen = node.xen
    if xen.dom0_memory + XEN_OVERHEAD > node.memory:
        raise LabError(
            f"{node.name}: dom0_memory {memory(xen.dom0_memory)} does not fit: the node has {node.memory // MIB}M, "
            f"of which Xen needs {XEN_OVERHEAD // MIB}M",
            hint="lower xen.dom0_memory or raise memory",
        )
