"""Why a machine stops, by lines of its console and of installers' logs, whatever is to be installed on it.

Each pattern is quoted from the program that prints the line; what is a system's own stands in its `phases`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from builder.model.plan import Boot, Cause

RUNNING = r"Welcome to (?!GRUB)|systemd \d+.* running in system mode"
"""What systemd says when it begins; GRUB welcomes, too."""

# SeaBIOS boot.c; EDK2 BdsDxe and UefiBootManagerLib
NOTHING_TO_BOOT = Cause(
    pattern=r"No bootable device|Boot failed: (?:not a bootable disk|could not read the boot disk)"
    r"|BdsDxe: No bootable option or device was found|UEFI Interactive Shell",
    name="nothing-to-boot",
    message="the firmware found nothing that it can start",
    cure="is the file of the medium whole, and for this firmware?",
)

# GRUB kern/main.c, kern/rescue_reader.c, normal/main.c
LOADER_RESCUE = Cause(
    pattern=r"grub rescue>|Entering rescue mode|Minimal BASH-like line editing is supported",
    name="loader-rescue",
    message="GRUB did not find its files",
    cure="the boot loader was written to a disk that the firmware does not start from first",
)

# Xen 4.17 to 4.22: arch/x86/pv/dom0_build.c, common/libelf/libelf-loader.c, common/domain.c, arch/x86/traps.c; the
# first was measured with QEMU 7.2.
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
        pattern=r"ELF: not an ELF binary|\bnot ELF\b",
        name="dom0-kernel-refused",
        message="the hypervisor did not take dom0's kernel",
        cure="a kernel packed in a way that this Xen cannot unpack, or one that the loader cut short; NetBSD's was "
        "refused with less than 512 MiB for dom0: raise xen.dom0_memory",
    ),
    Cause(
        pattern=r"Panic on CPU \d+:|FATAL TRAP: vec|Xen BUG at",
        name="xen-panic",
        message="the hypervisor panicked",
        cure="the lines after it on the console tell why; with xen.noreboot: true it stays there",
        vague=True,
    ),
    Cause(
        pattern=r"(?:Hardware )?Dom(?:ain )?0 crashed",
        name="dom0-crashed",
        message="dom0 crashed",
        cure="its last words are on the console; kernel.arguments: earlyprintk=xen shows the earliest ones",
    ),
)

# Xen arch/x86/hvm/hvm.c, hap_supported
NO_NESTED_PAGING = Cause(
    pattern=r"HVM: Hardware Assisted Paging \(HAP\) not detected",
    name="no-nested-paging",
    message="the node's processor has no nested paging (EPT on Intel, NPT on AMD)",
    cure="nested Xen on Intel needs EPT: give the node the host's processor (kvm_intel's nested=1 and ept=1), or "
    "emulate one that has NPT; nestlab doctor looks at this host",
    sure=False,
)


# dracut 004 to 059: init, dracut-lib.sh, dracut-emergency.sh, rdsosreport.sh, and dracut-initqueue.sh, which says it in
# other words since 051; emergency.service of systemd
def no_root(cure: str) -> tuple[Cause, Cause]:
    """What says it for sure, and what only hints at it: dracut's time-out is how an array that lacks a disk starts, for
    its scripts then start what there is. When they do not help, the emergency shell follows."""
    sure = Cause(
        pattern=r"Entering emergency mode|You are in emergency mode|Generating \"/run/initramfs/rdsosreport"
        r"|Boot has failed(?:\. To debug this issue add|, sleeping forever)",
        name="no-root",
        message="the host did not find its root file system",
        cure=cure,
    )
    return sure, sure.model_copy(update={"pattern": r"dracut-initqueue.*timeout", "sure": False})


NO_ROOT, NO_ROOT_YET = no_root("an array or a volume group is not complete, or a driver is missing")

# Linux mm/oom_kill.c, of 2.6.32 to 6.12; Python's own error; NetBSD uvm_pdaemon.c
OUT_OF_MEMORY = Cause(
    pattern=r"Out of memory(?: \(oom_kill_allocating_task\))?: Kill(?:ed)? process|Out of memory and no killable"
    r"|System is deadlocked on memory|^MemoryError|killed: out of swap",
    name="out-of-memory",
    message="the node ran out of memory",
    cure="raise the node's memory; a dom0's own is xen.dom0_memory",
    sure=False,
)

# strerror(ENOSPC), as every program on Linux and NetBSD says it
DISK_FULL = Cause(
    pattern=r"No space left on device",
    name="disk-full",
    message="a file system of the node is full",
    cure="are its disks large enough for what is installed? A full /tmp of an installer wants more memory",
    sure=False,
)

# ISC dhclient.c, NetworkManager nm-dhcp-client.c, busybox dhcpc.c, ifup-eth of initscripts, strerror(ENETUNREACH)
NO_NETWORK = Cause(
    pattern=r"No DHCPOFFERS received|dhcp[46] \(\S+\): request timed out|no lease, failing"
    r"|Determining IP information for \S+ failed|Network is unreachable|No route to host",
    name="no-network",
    message="the node has no address, or no way out of its network",
    cure="is the management card of a model that the installer drives, and does its network answer DHCP? "
    "install.network gives an address by hand",
    sure=False,
)

# curl lib/strerror.c and its exit text, wget's connect.c, Python's urllib, libdnf
MIRROR_UNREACHABLE = Cause(
    pattern=r"[Cc]ould not resolve host|unable to resolve host address|Failed to connect to \S+ port|urlopen error"
    r"|Connection refused|Name or service not known"
    r"|All mirrors were (?:already )?tried|Cannot prepare internal mirrorlist|Failed to download metadata for repo"
    r"|\[Errno 256\] No more mirrors to try",
    name="mirror-unreachable",
    message="what is to be installed cannot be fetched",
    cure="can the node reach the address, by that name, over its management card? A proxy is told with install.proxy "
    "where the system has it",
    sure=False,
)

DURING_INSTALLATION = (OUT_OF_MEMORY, DISK_FULL, NO_NETWORK, MIRROR_UNREACHABLE)
"""Clues that any installer's console or log may show."""

# libxl 4.17 to 4.22: libxl_create.c, libxl_device.c, xg_dom_bzimageloader.c, xg_dom_elfloader.c, xg_dom_core.c,
# libxl_bootloader.c, xl_vmcontrol.c; hotplug/Linux/vif-bridge; the words of xend, which old documents know; Linux
# 2.6.18 to 2.6.32 with Xen's own time code.
GUESTS = (
    Cause(
        pattern=r"\(vif\) could not be connected|[Cc]ould not find bridge(?: device|, and none)"
        r"|unable to add vif devices|scripts/vif-\w+ \w+ \[\d+\] exited with error status",
        name="vif-not-connected",
        message="a guest's network interface could not be connected",
        cure="is the bridge that its vif names in the host (ip link)? nestlab makes xen.bridge over the management "
        "card and one for each of networks:; on a busy host the scripts are late: install.hotplug_timeout (SUSE)",
        sure=False,
    ),
    Cause(
        pattern=r"unable to add disk devices|\(vbd\) could not be connected",
        name="disk-not-connected",
        message="a guest's disk could not be connected",
        cure="is the file or volume there, and used by no other guest? guests: disks: names it",
        sure=False,
    ),
    Cause(
        pattern=r"unknown compression format|unable to\s+\w+ decompress kernel",
        name="kernel-compression",
        message="the toolstack cannot unpack the guest's kernel",
        cure="a newer Xen in the host (xz since 4.1, zstd since 4.15), or boot: pvgrub2, which unpacks it in the guest",
        sure=False,
    ),
    Cause(
        pattern=r"kernel is not an ELF image|xc_dom_find_loader: no loader found",
        name="guest-kernel-refused",
        message="what a guest is to start from is no kernel that the toolstack takes",
        cure="guests: kernel: names a Linux or NetBSD kernel made for this type of guest; a boot loader of Xen is "
        "boot: grub-xen",
        sure=False,
    ),
    Cause(
        pattern=r"failed to free memory for the domain",
        name="guest-memory",
        message="the host has not enough memory for a guest",
        cure="less for dom0 (xen.dom0_memory) or for guests: memory, or more for the node",
        sure=False,
    ),
    Cause(
        pattern=r"bootloader failed - consult logfile",
        name="guest-bootloader",
        message="pygrub found nothing to start on a guest's disk",
        cure="/var/log/xen/bootloader.*.log in the host tells why: is there a /boot/grub/grub.cfg that it can read?",
        sure=False,
    ),
    Cause(
        pattern=r"clocksource/\d+: Time went backwards",
        name="time-went-backwards",
        message="a guest's kernel is one of those that stop when the clock does not run straight",
        cure="a kernel of 3.x or later in the guest; such settings as xen.independent_wallclock ended with Debian 6",
        sure=False,
    ),
)


def kernel_panic(whose: str) -> Cause:
    """`whose` is "the host's kernel"."""
    return Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message=f"{whose} panicked",
        cure="the same line and those before it tell why",
    )


def find_cause(causes: Sequence[Cause], text: str) -> Cause | None:
    """What a whole console or log tells: the newest line that says why it failed, else the newest that hints at it,
    else the oldest that says only that it failed."""
    patterns = [(re.compile(cause.pattern), cause) for cause in causes if cause.pattern]
    best: Cause | None = None
    for line in reversed(text.splitlines()):
        cause = next((cause for pattern, cause in patterns if pattern.search(line)), None)
        if cause is not None and (best is None or best.vague or _rank(cause) > _rank(best)):
            best = cause
    return best


def of_boots(boots: Iterable[Boot]) -> tuple[Cause, ...]:
    """Every cause of these boots, once."""
    rows = [cause for boot in boots for phase in boot.phases for cause in (*phase.causes, phase.late) if cause]
    return tuple(dict.fromkeys(rows))


def _rank(cause: Cause) -> int:
    return 0 if cause.vague else 1 if not cause.sure else 2
