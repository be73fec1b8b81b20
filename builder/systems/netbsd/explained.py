"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.living import LivingSetting
from builder.systems.netbsd.judge.codes import CODES
from builder.systems.netbsd.phases import boots

__all__ = ["CAUSES", "CODES", "DEAD", "LIVING"]

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

LIVING: Mapping[str, LivingSetting] = {
    "menu=Xen:load": LivingSetting(
        does="The entry of the boot menu that loads dom0's kernel, and Xen before it.",
        file="/boot.cfg",
        written="menu=Xen:load /netbsd-XEN3_DOM0.gz",
        lab="xen: and kernel.arguments; install.menu_timeout",
        source=f"{_HOWTO}; boot.cfg(5)",
    ),
    "dom0_mem": LivingSetting(
        does="dom0's memory; 512M or more, since with 256M kernels were not found to start.",
        file="/boot.cfg",
        written="multiboot /xen.gz dom0_mem=",
        lab="xen.dom0_memory",
        source=_HOWTO,
    ),
    "console=pc": LivingSetting(
        does="dom0's console on the screen; without it, it is where Xen's is.",
        file="/boot.cfg",
        written="load /netbsd-XEN3_DOM0.gz console=pc",
        lab="xen.console: vga",
        source=_HOWTO,
    ),
    "com1": LivingSetting(
        does="Speed of Xen's first serial port, which NetBSD calls com0.",
        file="/boot.cfg",
        written="console=com1 com1=",
        lab="xen.com1, xen.console",
        source=_HOWTO,
    ),
    "pciback.hide": LivingSetting(
        does="PCI devices that dom0 leaves to guests: an argument of its kernel, not of Xen.",
        file="/boot.cfg",
        written="pciback.hide=(03:00.0)",
        lab="xen.pciback_hide",
        source=f"{_HOWTO}; {_DOM0}",
    ),
    "xencommons": LivingSetting(
        does="The service that starts xenstored and xenconsoled. It cannot be started anew while guests run.",
        file="/etc/rc.conf",
        written="xencommons=YES",
        lab="not said: every host has it",
        source=f"{_HOWTO}; {_TOOLS}",
    ),
    "xendomains": LivingSetting(
        does="Guests that start and go down with the host, in this order.",
        file="/etc/rc.conf",
        written="xendomains=",
        lab="guests: autostart: true",
        source=_HOWTO,
    ),
    "examples/rc.d/xen*": LivingSetting(
        does="The packages' scripts of services, which are copied to /etc/rc.d.",
        file="install.sh",
        written="/usr/pkg/share/examples/rc.d/xen*",
        lab="not said: done by the installation",
        source=f"{_HOWTO}; {_TOOLS}",
    ),
    "brconfig": LivingSetting(
        does="The bridge that guests and the card are on.",
        file="/etc/ifconfig.bridge0",
        written="!brconfig bridge0 add wm0",
        lab="xen.bridge, networks:",
        source=f"{_HOWTO}, whose file lacks create and up; ifconfig.if(5)",
    ),
    "NAT": LivingSetting(
        does="Guests behind the host's address instead of beside it: a bridge of their own, and npf.",
        file="/etc/npf.conf",
        written="map ",
        lab="install.guests: {mode: nat}",
        source=f"{_HOWTO}, which leaves it open; npf.conf(5)",
    ),
    "MAKEDEV vnd4": LivingSetting(
        does="Nodes for more than four disks of guests that are files; the first four are always there.",
        file="install.sh",
        written=" vnd4",
        lab="guests: disks: as many as there are",
        source=_HOWTO,
    ),
    "installboot": LivingSetting(
        does="The boot blocks; those of a mirror go on both of its disks.",
        file="install.sh",
        written="installboot -v",
        lab="raid: [{level: 1, ...}] for a mirror",
        source=f"{_HOWTO}; installboot(8)",
    ),
    "powerd": LivingSetting(
        does="Answers the power button, which is how the host and its guests are shut down.",
        file="/etc/rc.conf",
        written="powerd=YES",
        lab="not said: hosts and guests have it",
        source=_HOWTO,
    ),
}
