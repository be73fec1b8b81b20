"""Lines on the console that tell why a machine stopped, whatever was to be installed on it."""

from __future__ import annotations

from builder.model.plan import Cause

NOTHING_TO_BOOT = Cause(
    pattern=r"No bootable device|Boot failed: (?:not a bootable disk|could not read the boot disk)"
    r"|BdsDxe: No bootable option or device was found|UEFI Interactive Shell",
    name="nothing-to-boot",
    message="the firmware found nothing that it can start",
    cure="is the file of the medium whole, and for this firmware?",
)

LOADER_RESCUE = Cause(
    pattern=r"grub rescue>|Entering rescue mode|Minimal BASH-like line editing is supported",
    name="loader-rescue",
    message="GRUB did not find its files",
    cure="the boot loader was written to a disk that the firmware does not start from first",
)

XEN = (
    Cause(
        pattern=r"Unhandled: vec 14, #PF\[0001\]",
        name="dom0-smap-fault",
        message="dom0's kernel died of a page fault that the emulated SMAP feature causes",
        cure="the CPU feature smap must be off under emulation; nestlab turns it off, so the definition was changed",
    ),
    Cause(
        pattern=r"Not enough RAM for (?:domain 0 allocation|domain 0 initrd|DOM0)"
        r"|Domain 0 allocation is too small|Dom0 allocation too small",
        name="dom0-memory-too-small",
        message="Xen could not build dom0 with the memory it was told to give",
        cure="raise xen.dom0_memory, or the node's memory",
    ),
    Cause(
        pattern=r"Panic on CPU \d+:|FATAL TRAP: vec|Xen BUG at",
        name="xen-panic",
        message="the hypervisor panicked",
        cure="the lines after it on the console tell why; with xen.noreboot: true it stays there",
    ),
    Cause(
        pattern=r"(?:Hardware )?Dom(?:ain )?0 crashed",
        name="dom0-crashed",
        message="dom0 crashed",
        cure="its last words are on the console; kernel.arguments: earlyprintk=xen shows the earliest ones",
    ),
)

NO_ROOT = Cause(
    pattern=r"dracut-initqueue.*timeout|Entering emergency mode|You are in emergency mode|Generating "
    r"\"/run/initramfs/rdsosreport",
    name="no-root",
    message="the host did not find its root file system",
    cure="an array or a volume group is not complete, or a driver is missing",
)


def kernel_panic(whose: str) -> Cause:
    """`whose` is "the host's kernel"."""
    return Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message=f"{whose} panicked",
        cure="the same line and those before it tell why",
    )
