"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.netbsd.judge.codes import CODES
from builder.systems.netbsd.phases import boots

__all__ = ["CAUSES", "CODES", "DEAD"]

CAUSES = of_boots(boots("poweroff"))
"""Why an installation or a boot of such a host may have failed."""

_HOWTO = "NetBSD wiki, ports/xen/howto 1.160 (2018)"
_DOM0 = "NetBSD sys/arch/amd64/conf/XEN3_DOM0 1.197.4.3 (netbsd-10)"
_TOOLS = "pkgsrc sysutils/xentools418"

DEAD: Mapping[str, DeadSetting] = {
    "dom0 SMP: No": DeadSetting(
        was="The table of the HowTo: a NetBSD dom0 used one processor.",
        today="dom0 uses as many as it is given; xen: {dom0_max_vcpus: N} limits them.",
        why="XEN3_DOM0 is built with options MULTIPROCESSOR.",
        source=f"{_HOWTO}; {_DOM0}",
    ),
    "dom0_max_vcpus=1 dom0_vcpus_pin": DeadSetting(
        was="On the multiboot command, since NetBSD's dom0 used one processor only.",
        today="Leave both out; xen: {dom0_max_vcpus: N, dom0_vcpus_pin: true} where they are wanted.",
        why="dom0 is no longer limited to one, and the two make the command longer than the loader's 79 bytes.",
        source=f"{_HOWTO}; {_DOM0}",
    ),
    "PVH: No": DeadSetting(
        was="The table of the HowTo: NetBSD was a PV or HVM guest only.",
        today="GENERIC starts as a PVH guest: type=\"pvh\" in the guest's file. dom0 itself stays PV.",
        why="PVH came with NetBSD 10; pkgsrc's xenkernel names it as the way for 32-bit guests.",
        source=f"{_HOWTO}; pkgsrc sysutils/xenkernel418/MESSAGE",
    ),
    "netbsd-XEN3PAE_DOM0.gz": DeadSetting(
        was="dom0's kernel in boot.cfg of hosts installed as i386.",
        today="netbsd-XEN3_DOM0.gz of amd64.",
        why="Xen runs in 64-bit mode only, and 32-bit PV is not supported by it any more.",
        source=f"{_HOWTO}; pkgsrc sysutils/xenkernel418/MESSAGE",
    ),
    "netbsd-INSTALL_XEN3PAE_DOMU": DeadSetting(
        was="Kernel to install a 32-bit guest with.",
        today="netbsd-INSTALL_XEN3_DOMU of amd64, or GENERIC's INSTALL as a PVH guest.",
        why="The same as XEN3PAE_DOM0.",
        source=_HOWTO,
    ),
    "xend": DeadSetting(
        was="xend=YES in rc.conf started the daemon that xm talked to.",
        today="xencommons=YES starts xenstored and xenconsoled; xl needs no daemon.",
        why="Xen dropped xend with 4.5.",
        source=f"{_TOOLS}: RCD_SCRIPTS are xen-watchdog, xencommons, xendomains",
    ),
    "xm": DeadSetting(
        was="The command of xend: xm create, xm shutdown -R.",
        today="xl, with the same words for most of it.",
        why="Xen dropped xm with 4.5.",
        source=f"{_HOWTO}; {_TOOLS}/PLIST",
    ),
    "xentools48": DeadSetting(
        was="Packages xenkernel48 and xentools48; also 41, 42, 45, 46, 411, 413.",
        today="xenkernel418 and xentools418, or 420, always of one version: install: {xen: \"418\"}.",
        why="Their Xen gets no fixes any more, and pkgsrc took them out.",
        source=f"{_HOWTO}; pkgsrc sysutils",
    ),
    "/usr/pkg/xen48-kernel/xen.gz": DeadSetting(
        was="Where the package put the hypervisor.",
        today="/usr/pkg/xen418-kernel/xen.gz, copied to /xen.gz.",
        why="The folder has the version in its name.",
        source="pkgsrc sysutils/xenkernel418/PLIST",
    ),
    "INSTALL_XENPAE": DeadSetting(
        was="Kernel to install a guest with, in the first releases that had Xen.",
        today="netbsd-INSTALL_XEN3_DOMU.",
        why="It was renamed with Xen 3, and 32-bit PV is gone.",
        source=_HOWTO,
    ),
    "xencons=tty1": DeadSetting(
        was='extra = "xencons=tty1" gave Linux guests a console.',
        today="Nothing: the console is hvc0, and extra = \"console=hvc0\" puts the kernel's messages on it.",
        why="That argument went with the Xen patches of old kernels.",
        source=f"{_HOWTO}; Linux drivers/tty/hvc/hvc_xen.c",
    ),
    "dkcsum": DeadSetting(
        was="Pseudo-device that matched disks of the firmware, for dom0 to find its root.",
        today="root=wd0a after load; for an array, raidctl -A.",
        why="It is not in XEN3_DOM0.",
        source=_DOM0,
    ),
    "grub": DeadSetting(
        was="GRUB legacy's menu.lst started Xen and dom0.",
        today="NetBSD's own loader: load and multiboot in boot.cfg.",
        why="The loader has known multiboot since NetBSD 5, and GRUB cannot read all of FFS.",
        source=_HOWTO,
    ),
    "/kern/xen/pci": DeadSetting(
        was="Listed the devices that are hidden for guests.",
        today="xl pci-assignable-list; devices are hidden by xen: {pciback_hide: [...]}.",
        why="xl asks the hypervisor's own list.",
        source=f"{_HOWTO}; {_TOOLS}: xl.1",
    ),
}  # fmt: skip
