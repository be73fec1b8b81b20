"""What `nestlab explain` knows of this system: codes, causes, and what became of settings that old documents name."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.debian.installer import boots
from builder.systems.debian.judge.codes import CODES
from builder.systems.living import LivingSetting

__all__ = ["CAUSES", "CODES", "DEAD", "LIVING"]

CAUSES = of_boots(boots("poweroff", arrays=True))
"""Why an installation or a boot of such a host may have failed."""

_XEND = "xend was taken out of Xen in 4.5 (2015); xl talks to libxl itself and reads xl.conf(5)"
_PACKAGES = "Debian 12 and 13: xen-system-amd64, xen-utils-4.17 and 4.20, xen-hypervisor-common"

_WALLCLOCK = DeadSetting(
    was="xen.independent_wallclock in sysctl, and clocksource=jiffies, against clocks that ran backwards.",
    today="nothing: kernels since 3.x take Xen's clock as it is; run an NTP client in dom0 and in guests.",
    why="the setting belonged to the kernels made for Xen, which ended with Debian 6",
    source="Linux arch/x86/xen/time.c has no such setting",
)
DEAD: Mapping[str, DeadSetting] = {
    "xend-config.sxp": DeadSetting(
        was="/etc/xen/xend-config.sxp: settings of the daemon xend.",
        today="dom0_mem and dom0_max_vcpus on Xen's command line (xen.dom0_memory, xen.dom0_max_vcpus in a lab file), "
        "autoballoon and vif.default.bridge in /etc/xen/xl.conf, and bridges made by the host itself. nestlab writes "
        "all of them.",
        why=_XEND,
        source="Xen 4.5 release notes; xl.conf(5)",
    ),
    "dom0-min-mem": DeadSetting(
        was="(dom0-min-mem 1024) in xend-config.sxp: as far as dom0 might be ballooned down.",
        today="dom0_mem=1024M,max:1024M on Xen's command line: xen.dom0_memory in a lab file.",
        why=_XEND,
        source="xen-command-line(7), dom0_mem",
    ),
    "enable-dom0-ballooning": DeadSetting(
        was="(enable-dom0-ballooning no) in xend-config.sxp: dom0 keeps its memory.",
        today='autoballoon="off" in /etc/xen/xl.conf, which nestlab writes.',
        why=_XEND,
        source="xl.conf(5), autoballoon",
    ),
    "dom0-cpus": DeadSetting(
        was="(dom0-cpus 1) in xend-config.sxp: processors of dom0.",
        today="dom0_max_vcpus=1 and dom0_vcpus_pin on Xen's command line: xen.dom0_max_vcpus, xen.dom0_vcpus_pin.",
        why=_XEND,
        source="xen-command-line(7), dom0_max_vcpus",
    ),
    "network-script": DeadSetting(
        was="(network-script network-bridge) in xend-config.sxp: xend made the bridge.",
        today="the host makes its bridges before Xen's daemons start: xen.bridge and networks: in a lab file, "
        "nestlab-network.service in the host.",
        why="the scripts renamed cards under a running host and were never reliable; they are gone with xend",
        source="Xen wiki, Host Configuration/Networking; xen-utils-common has no network-bridge",
    ),
    "inittab": DeadSetting(
        was="/etc/inittab: `1:2345:respawn:/sbin/getty 38400 hvc0` for a login on Xen's console.",
        today="systemd starts serial-getty@hvc0.service where console=hvc0 is on dom0's command line; nestlab enables "
        "it, too. There is no login on ttyS0: the serial port is Xen's.",
        why="systemd took the place of sysvinit in Debian 8 (2015), and does not read the file",
        source="systemd-getty-generator(8)",
    ),
    "xen-linux-system": DeadSetting(
        was="Package with the hypervisor and a kernel made for Xen.",
        today="xen-system-amd64, and the ordinary linux-image-amd64.",
        why="since Debian 7 ordinary kernels can be dom0 and guest: no kernel is made for Xen any more",
        source=_PACKAGES,
    ),
    "xen-qemu-dm-4.0": DeadSetting(
        was="Package with the device model of HVM guests.",
        today="qemu-system-xen, which nestlab installs: xen-utils only recommends it.",
        why="Xen's own copy of QEMU was dropped for the one that everybody has",
        source=_PACKAGES,
    ),
    "dpkg-divert": DeadSetting(
        was="dpkg-divert of /etc/grub.d/20_linux_xen to 08_linux_xen, so that Xen is the first entry.",
        today="XEN_OVERRIDE_GRUB_DEFAULT in /etc/default/grub.d, which makes Xen the default whatever its place; "
        "nestlab writes 1 in a file that is read before Debian's own.",
        why="xen-hypervisor-common brings /etc/default/grub.d/xen.cfg for it; a diverted file also misses "
        "updates of grub-common",
        source="/etc/default/grub.d/xen.cfg of xen-hypervisor-common; run with grub-mkconfig of Debian 12 and 13",
    ),
    "08_linux_xen": DeadSetting(
        was="Name that /etc/grub.d/20_linux_xen was diverted to.",
        today="see dpkg-divert.",
        why="see dpkg-divert",
        source="/etc/default/grub.d/xen.cfg of xen-hypervisor-common",
    ),
    "xm": DeadSetting(
        was="Command of the toolstack: xm create, xm list.",
        today="xl, with the same words for most of them. Python in a guest's configuration is not taken.",
        why=_XEND,
        source="xl(1); libxlutil: 'Arbitrary Python is no longer supported'",
    ),
    "pciback.hide": DeadSetting(
        was="Argument that keeps PCI devices back for guests; old documents put it on Xen's line.",
        today="xen.pciback_hide in a lab file: xen-pciback.hide=(0000:03:00.0) on dom0's command line, the same in "
        "/etc/modprobe.d/xen-pciback.conf, and nestlab-pciback.service, which loads the module before other drivers.",
        why="it was never the hypervisor's; the module has been called xen-pciback since Linux 3.1",
        source="Linux drivers/xen/xen-pciback; run with modprobe of Debian 12",
    ),
    "install e1000e": DeadSetting(
        was="`install e1000e /sbin/modprobe xen-pciback; ...` in /etc/modprobe.d: the module before the card's driver.",
        today="softdep e1000e pre: xen-pciback. nestlab writes such lines for the drivers that an initrd has, and for "
        "all others nestlab-pciback.service loads xen-pciback before they are asked for.",
        why="install lines run a shell for each load, hide the driver from tools, and are ignored in the initrd",
        source="modprobe.d(5)",
    ),
    "/etc/initramfs/modules": DeadSetting(
        was="File that modules for the initrd were to be listed in, xen-pciback among them.",
        today="/etc/initramfs-tools/modules, then update-initramfs -u. Hosts of nestlab need no line there: softdep "
        "in /etc/modprobe.d/xen-pciback.conf brings the module into an initrd with drivers that have to wait.",
        why="the path was never right",
        source="initramfs-tools(7)",
    ),
    "clocksource/0: Time went backwards": _WALLCLOCK,
    "xen.independent_wallclock": _WALLCLOCK,
    "32-bit dom0": DeadSetting(
        was="Debian for i386, or its kernels 686-bigmem and 686-pae, as dom0 below a 64-bit hypervisor (32on64).",
        today="amd64 throughout: what nestlab installs.",
        why="Linux 5.9 (2020) dropped paravirtual kernels of 32 bits, dom0's among them; Debian 13 has no kernel for "
        "i386 at all",
        source="Linux 5.9: x86/xen: remove 32-bit Xen PV guest support; release notes of Debian 13",
    ),
    "pci=nomsi": DeadSetting(
        was="Argument of a guest's kernel that has a PCI device of its own: passing on its MSI was broken.",
        today="nothing; where a device needs it still, the guest's arguments.",
        why="repaired in Linux 3.14 (2014)",
        source="Debian wiki, Xen: PCI pass-through",
    ),
    "unmodified_drivers": DeadSetting(
        was="A folder of Xen's source with drivers for HVM guests, to be built by hand for each kernel.",
        today="nothing: HVM guests find their disks and cards by the drivers of the ordinary kernel.",
        why="Linux has had them since 2.6.36 (2010), and Xen dropped the folder",
        source="Linux drivers/xen/platform-pci.c, CONFIG_XEN_PVHVM",
    ),
}

_GRUB = "/etc/default/grub.d/00-nestlab.cfg"
_WIKI = "Debian wiki, Xen"
_NETWORK = "/usr/local/lib/nestlab/network"
_XENDOMAINS = "/etc/default/xendomains"
_IFUPDOWN = f"{_WIKI}; bridge-utils-interfaces(5), which does the same in /etc/network/interfaces"

LIVING: Mapping[str, LivingSetting] = {
    "GRUB_CMDLINE_XEN": LivingSetting(
        does="Xen's arguments for all of its boot entries.",
        file=_GRUB,
        written='GRUB_CMDLINE_XEN="dom0_mem=',
        lab="xen.dom0_memory, xen.dom0_max_vcpus, xen.dom0_vcpus_pin, xen.com1, xen.console",
        source=f"{_WIKI}; 20_linux_xen of GRUB 2",
    ),
    "GRUB_CMDLINE_XEN_DEFAULT": LivingSetting(
        does="Xen's arguments for all entries but those for recovery, added to the others.",
        file=_GRUB,
        written='GRUB_CMDLINE_XEN_DEFAULT="',
        lab="xen.loglvl, xen.guest_loglvl, xen.noreboot, xen.arguments",
        source=f"{_WIKI}; 20_linux_xen of GRUB 2",
    ),
    "GRUB_CMDLINE_LINUX": LivingSetting(
        does="dom0's kernel arguments, as console=hvc0; on entries without Xen they would send the console astray.",
        file=_GRUB,
        written='GRUB_CMDLINE_LINUX_XEN_REPLACE="console=hvc0',
        lab="kernel.arguments",
        source=f"{_WIKI}; 20_linux_xen of GRUB 2: the REPLACE lines are for Xen's entries alone",
    ),
    "GRUB_TIMEOUT": LivingSetting(
        does="Seconds that the menu is shown.",
        file=_GRUB,
        written="GRUB_TIMEOUT=0",
        lab="not said: hosts start at once; a template of your own may say more",
        source=_WIKI,
    ),
    "GRUB_TERMINAL": LivingSetting(
        does="Where GRUB shows its menu: on the screen and on the serial port.",
        file=_GRUB,
        written='GRUB_TERMINAL="console serial"',
        lab="not said: it is always both",
        source=_WIKI,
    ),
    "GRUB_SERIAL_COMMAND": LivingSetting(
        does="Speed of GRUB's serial port, the one that Xen has afterwards.",
        file=_GRUB,
        written='GRUB_SERIAL_COMMAND="serial --unit=0 --speed=',
        lab="xen.com1",
        source=_WIKI,
    ),
    "dom0_mem": LivingSetting(
        does="dom0's memory, the same at most as at the start.",
        file=_GRUB,
        written="dom0_mem=",
        lab="xen.dom0_memory",
        source=f"{_WIKI}; xen-command-line(7)",
    ),
    "com1": LivingSetting(
        does="Speed and frame of Xen's first serial port.",
        file=_GRUB,
        written="com1=",
        lab="xen.com1",
        source=f"{_WIKI}; xen-command-line(7)",
    ),
    "console=com1,vga": LivingSetting(
        does="Where Xen's messages go, and dom0's console with them; without vga to the serial port alone.",
        file=_GRUB,
        written="console=com1",
        lab="xen.console",
        source=f"{_WIKI}; xen-command-line(7)",
    ),
    "earlyprintk=xen": LivingSetting(
        does="dom0's first messages, from before its console is there.",
        file=_GRUB,
        written="earlyprintk=xen",
        lab="kernel.arguments: [earlyprintk=xen]",
        source=_WIKI,
    ),
    "autoballoon": LivingSetting(
        does="Whether xl takes memory from dom0 to start a guest.",
        file="/etc/xen/xl.conf",
        written='autoballoon="off"',
        lab="not said: dom0 keeps what xen.dom0_memory gave it",
        source="xl.conf(5)",
    ),
    "XENDOMAINS_SAVE": LivingSetting(
        does="Where guests are saved when the host goes down; empty: they are shut down.",
        file=_XENDOMAINS,
        written='XENDOMAINS_SAVE=""',
        lab="not said: guests are shut down",
        source=_WIKI,
    ),
    "XENDOMAINS_RESTORE": LivingSetting(
        does="Whether saved guests come back with the host.",
        file=_XENDOMAINS,
        written="XENDOMAINS_RESTORE=false",
        lab="not said: there are none; guests: autostart: true starts them anew",
        source=_WIKI,
    ),
    "bridge_ports": LivingSetting(
        does="The card that a bridge of /etc/network/interfaces is over.",
        file=_NETWORK,
        written="link set dev $port mtu $mtu master $name up",
        lab="xen.bridge over the management card, and one bridge for each of networks:",
        source=_IFUPDOWN,
    ),
    "bridge_stp": LivingSetting(
        does="The spanning tree protocol, which keeps a new bridge silent for half a minute.",
        file=_NETWORK,
        written="stp_state 0",
        lab="not said: off",
        source=_IFUPDOWN,
    ),
    "bridge_fd": LivingSetting(
        does="Seconds that a bridge listens before it forwards.",
        file=_NETWORK,
        written="forward_delay 0",
        lab="not said: 0",
        source=_IFUPDOWN,
    ),
    "bridge_waitport": LivingSetting(
        does="How long to wait for the card: until its driver has it, 30 seconds at most.",
        file=_NETWORK,
        written='while [ "$tries" -lt 300 ]',
        lab="not said",
        source=_IFUPDOWN,
    ),
    "pygrub": LivingSetting(
        does="A boot loader in dom0 that reads the kernel out of a guest's disk. PvGrub2 does it within the guest.",
        file="/etc/xen/*.cfg",
        written='bootloader = "pygrub"',
        lab="guests: boot: pygrub, pvgrub2, or grub-xen with a kernel: of your own",
        source=f"{_WIKI}; xl.cfg(5)",
    ),
    "xen-create-image": LivingSetting(
        does="Makes a guest's disks and its configuration: xen-tools.",
        file="/make",
        written="xen-create-image",
        lab="guests: make: {by: xen-tools} on release 12; 13 has no such package, use debootstrap",
        source=f"{_WIKI}; xen-create-image(8)",
    ),
}
