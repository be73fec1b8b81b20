"""The parts of a Debian dom0's boot as its serial console tells them, and the lines by which a failure is known.

Weights are seconds under emulation on two cores that have some other work, too. A phase that finds the mark of a later
one on the console has been passed, too: which marks are printed depends on the firmware.
"""

from __future__ import annotations

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import GUESTS, NO_NESTED_PAGING, XEN

FIRMWARE = (
    Cause(
        pattern=r"No bootable device|Boot failed: (?:not a bootable disk|could not read the boot disk)",
        name="nothing-to-boot",
        message="the BIOS found no disk that it can boot from",
        cure="check that the first disk is on a controller that SeaBIOS drives (lsilogic, ide, sata, virtio) "
        "and that the image is whole",
    ),
    Cause(
        pattern=r"UEFI Interactive Shell|BdsDxe: No bootable option or device was found|>>Start PXE over",
        name="nothing-to-boot",
        message="the UEFI firmware found no boot loader on any disk",
        cure="OVMF has no driver for the LSI controllers: put the first disk on ide or sata",
    ),
)

LOADER = (
    Cause(
        pattern=r"grub rescue>|Entering rescue mode|error: no such partition",
        name="loader-rescue",
        message="GRUB did not find its files",
        cure="the image's boot partition or its label is damaged: nestlab image build",
    ),
    Cause(
        pattern=r"Minimal BASH-like line editing is supported",
        name="loader-prompt",
        message="GRUB found no configuration and waits at its prompt",
        cure="/boot/grub/grub.cfg is missing from the image: nestlab image build",
    ),
    Cause(
        pattern=r"error: (?:file .* not found|you need to load the kernel first|out of memory)",
        name="loader-failed",
        message="GRUB could not load the hypervisor, the kernel or its initrd",
        cure="look at the console log for the file it names",
    ),
)

KERNEL = (
    Cause(
        pattern=r"VFS: Unable to mount root fs|Cannot open root device"
        r"|nestlab: no disk with the label|mounting \S+ on /mnt failed|ALERT!.*does not exist",
        name="no-root",
        message="the dom0 kernel found no root file system",
        cure="the initrd lacks the driver of the disk's controller, or the file system has another label",
    ),
    Cause(
        pattern=r"Out of memory: Killed process|Out of memory and no killable processes|System is deadlocked on memory",
        name="out-of-memory",
        message="dom0 ran out of memory",
        cure="raise xen.dom0_memory",
    ),
    Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message="the dom0 kernel panicked",
        cure="the same line and those before it tell why",
    ),
)

SERVICES = (
    Cause(
        pattern=r"You are in emergency mode|root account is locked|Reached target.*[Ee]mergency",
        name="emergency-mode",
        message="systemd gave up and went into emergency mode",
        cure="a file system in /etc/fstab or a unit before it failed; the console names it",
    ),
    Cause(
        pattern=r"Failed to start.*OpenBSD Secure Shell",
        name="sshd-failed",
        message="the ssh server did not start",
        cure="look into the image's /etc/ssh/sshd_config.d and host keys",
    ),
)


def boot() -> Boot:
    """From power-on to ssh. Which files are asked for depends on nothing in the node: all marks are always there."""
    running = (*XEN, *KERNEL)
    phases = (
        Phase(
            name="firmware",
            awaits=r"Booting from Hard Disk|BdsDxe: starting Boot|GRUB loading|Welcome to GRUB",
            weight=5,
            causes=FIRMWARE,
        ),
        Phase(
            name="boot loader",
            awaits=r"Xen version \d|\(XEN\) ",
            weight=4,
            causes=(*FIRMWARE, *LOADER),
        ),
        Phase(name="hypervisor", awaits=r"Linux version \d", weight=9, causes=(*running, NO_NESTED_PAGING)),
        Phase(
            name="dom0 kernel",
            awaits=r"Welcome to .*Debian|systemd\[1\]: |systemd \d+.* running in system mode",
            weight=15,
            causes=(*running, NO_NESTED_PAGING),
        ),
        Phase(
            name="services",
            awaits=r"Started.*(?:ssh\.service|OpenBSD Secure Shell)",
            weight=45,
            causes=(*running, *SERVICES, *GUESTS),
        ),
        Phase(name="ssh", signal="ssh", weight=4, causes=(*running, *SERVICES, *GUESTS)),
    )
    return Boot(name="disk", phases=phases)
