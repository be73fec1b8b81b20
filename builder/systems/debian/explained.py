"""What `nestlab explain` knows of this system: codes, causes, and what became of settings that old documents name."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.debian.installer import boots
from builder.systems.debian.judge.codes import CODES

__all__ = ["CAUSES", "CODES", "DEAD"]

CAUSES = of_boots(boots("poweroff"))
"""Why an installation or a boot of such a host may have failed."""

_XEND = "xend was taken out of Xen in 4.5 (2015); xl talks to libxl itself and reads xl.conf(5)"
_PACKAGES = "Debian 12 and 13: xen-system-amd64, xen-utils-4.17 and 4.20, xen-hypervisor-common"

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
        today="nestlab-pciback.service loads xen-pciback before any other driver is asked for; by hand: "
        "`softdep e1000e pre: xen-pciback`.",
        why="install lines run a shell for each load, hide the driver from tools, and are ignored in the initrd",
        source="modprobe.d(5)",
    ),
    "/etc/initramfs/modules": DeadSetting(
        was="File that modules for the initrd were to be listed in.",
        today="/etc/initramfs-tools/modules, then update-initramfs -u.",
        why="the path was never right",
        source="initramfs-tools(7)",
    ),
    "clocksource/0: Time went backwards": DeadSetting(
        was="xen.independent_wallclock in sysctl, and clocksource=jiffies, against clocks that ran backwards.",
        today="nothing: kernels since 3.x take Xen's clock as it is; run an NTP client in dom0 and in guests.",
        why="the setting belonged to the kernels made for Xen, which ended with Debian 6",
        source="Linux arch/x86/xen/time.c has no such setting",
    ),
}
