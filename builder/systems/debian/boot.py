"""What a Debian dom0 is told when it starts: arguments of the hypervisor and of its own kernel, by layer."""

from __future__ import annotations

from builder.errors import LabError
from builder.model.lab import Node, XenSettings
from builder.model.plan import BootArgs
from builder.model.units import KIB, MIB
from builder.render.arguments import KernelArguments

# Xen's own memory and what it keeps back of a small machine, so that dom0_mem can be granted in full.
XEN_OVERHEAD = 256 * MIB

# loglevel=6 shows notices (the kernel's first line, which ends the hypervisor's phase) and leaves out the flood of
# informational lines: each character crosses an emulated serial port. The rest costs seconds under emulation and
# protects nothing in a lab. `kernel.arguments` come later on the line, and the last one counts.
# SELinux is named because the kernel falls back to it when AppArmor is off. TERM=dumb keeps colours out of
# the console log, and systemd from asking a terminal that nobody holds for its size.
LAB_KERNEL = (
    *("net.ifnames=0", "loglevel=6", "mitigations=off", "audit=0", "apparmor=0", "selinux=0"),
    *("cryptomgr.notests", "TERM=dumb"),
)


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


def dom0_kernel(node: Node) -> tuple[KernelArguments, KernelArguments]:
    """The dom0 kernel's arguments: those of the lab, and the node's own, which come after and so win."""
    always = KernelArguments(("console=hvc0", *LAB_KERNEL))
    if node.xen.pciback_hide:
        hidden = "".join(f"({device})" for device in pci_devices(node.xen))
        always = always.with_(f"xen-pciback.hide={hidden}")
    return always, KernelArguments(node.kernel.arguments)


def plain_kernel(node: Node) -> KernelArguments:
    """Arguments of the boot entry without Xen, kept for mending a host: there the serial port is the kernel's."""
    return KernelArguments((f"console=ttyS0,{serial_speed(node.xen)}n8", "net.ifnames=0"))


def boot_args(node: Node) -> BootArgs:
    xen, xen_default = hypervisor(node.xen)
    kernel, kernel_default = dom0_kernel(node)
    return BootArgs(hypervisor=(*xen, *xen_default), kernel=(*kernel, *kernel_default))


def memory(size: int) -> str:
    """Bytes in Xen's spelling. Xen counts in KiB at the finest."""
    if size % KIB:
        raise LabError(f"xen.dom0_memory of {size} bytes is no whole number of KiB", hint="write it in MiB or GiB")
    return f"{size // MIB}M" if size % MIB == 0 else f"{size // KIB}K"


def pci_devices(xen: XenSettings) -> tuple[str, ...]:
    """Devices to hide, with the PCI domain that the driver wants to see."""
    return tuple(device if device.count(":") == 2 else f"0000:{device}" for device in xen.pciback_hide)


def serial_speed(xen: XenSettings) -> str:
    """The speed of the first serial port, which the boot loader shares with Xen."""
    speed = xen.com1.partition(",")[0]
    return speed if speed.isdigit() else "115200"


def refuse_impossible(node: Node) -> None:
    """Raises LabError for what Xen or the firmware would answer with a host that does not come up as asked."""
    xen = node.xen
    if xen.dom0_memory + XEN_OVERHEAD > node.memory:
        raise LabError(
            f"{node.name}: dom0_memory {memory(xen.dom0_memory)} does not fit: the node has {node.memory // MIB}M, "
            f"of which Xen needs {XEN_OVERHEAD // MIB}M",
            hint="lower xen.dom0_memory or raise memory",
        )
    if not node.disks:
        raise LabError(f"{node.name}: a Debian host needs a disk to boot from", hint="give the node a disk")
    boot = node.disks[0]
    if node.firmware == "uefi" and boot.bus in ("lsilogic", "lsisas1068"):
        raise LabError(
            f"{node.name}: UEFI firmware cannot boot from a disk on {boot.bus}: OVMF has no driver for it",
            hint="put the first disk on ide or sata, or use firmware: bios",
        )
    if boot.sector == "4Kn":
        raise LabError(
            f"{node.name}: the image's partition table counts sectors of 512 bytes, disk {boot.name} has 4096",
            hint="use sector: 512e for the first disk; other disks may be 4Kn",
        )
