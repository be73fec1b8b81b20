"""What a Debian dom0 is told when it starts: arguments of the hypervisor and of its own kernel, by layer."""

from __future__ import annotations

from builder.errors import LabError
from builder.model.lab import ImageSource, Node
from builder.model.plan import BootArgs
from builder.render.arguments import KernelArguments
from builder.systems.dom0 import hypervisor, pciback_hide, refuse_dom0_memory, serial_speed

# loglevel=6 shows notices (the kernel's first line, which ends the hypervisor's phase) and leaves out the flood of
# informational lines: each character crosses an emulated serial port. The rest costs seconds under emulation and
# protects nothing in a lab. `kernel.arguments` come later on the line, and the last one counts.
# SELinux is named because the kernel falls back to it when AppArmor is off. TERM=dumb keeps colours out of
# the console log, and systemd from asking a terminal that nobody holds for its size.
LAB_KERNEL = (
    *("net.ifnames=0", "loglevel=6", "mitigations=off", "audit=0", "apparmor=0", "selinux=0"),
    *("cryptomgr.notests", "TERM=dumb"),
)


def dom0_kernel(node: Node) -> tuple[KernelArguments, KernelArguments]:
    """The dom0 kernel's arguments: those of the lab, and the node's own, which come after and so win."""
    always = KernelArguments(("console=hvc0", *LAB_KERNEL))
    return always.with_(*pciback_hide(node.xen)), KernelArguments(node.kernel.arguments)


def plain_kernel(node: Node) -> KernelArguments:
    """Arguments of the boot entry without Xen, kept for mending a host: there the serial port is the kernel's."""
    return KernelArguments((f"console=ttyS0,{serial_speed(node.xen)}n8", "net.ifnames=0"))


def boot_args(node: Node) -> BootArgs:
    xen, xen_default = hypervisor(node.xen)
    kernel, kernel_default = dom0_kernel(node)
    return BootArgs(hypervisor=(*xen, *xen_default), kernel=(*kernel, *kernel_default))


def refuse_impossible(node: Node) -> None:
    """Raises LabError for what Xen or the firmware would answer with a host that does not come up as asked."""
    refuse_dom0_memory(node)
    if not node.disks:
        raise LabError(f"{node.name}: a Debian host needs a disk to boot from", hint="give the node a disk")
    boot = node.disks[0]
    if node.firmware == "uefi" and boot.bus in ("lsilogic", "lsisas1068"):
        raise LabError(
            f"{node.name}: UEFI firmware cannot boot from a disk on {boot.bus}: OVMF has no driver for it",
            hint="put the first disk on ide or sata, or use firmware: bios",
        )
    if boot.sector == "4Kn" and isinstance(node.source, ImageSource):
        raise LabError(
            f"{node.name}: the image's partition table counts sectors of 512 bytes, disk {boot.name} has 4096",
            hint="use sector: 512e for the first disk; other disks may be 4Kn",
        )
