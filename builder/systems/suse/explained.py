"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.suse.judge.codes import CODES
from builder.systems.suse.phases import boots
from builder.systems.suse.releases import RELEASES

__all__ = ["CAUSES", "CODES", "DEAD"]

CAUSES = of_boots(boot for release in RELEASES.values() for boot in boots(release, "poweroff"))
"""Why an installation or a boot of such a host may have failed."""

_README = "README.SUSE of the package xen, whose text is of SLES 11 in this place"

DEAD: Mapping[str, DeadSetting] = {
    "xen2libvirt": DeadSetting(
        was="made libvirt domains of the guests that xend had managed, at an upgrade from SLES 11",
        today="nothing to convert: guests are files for xl in /etc/xen, or libvirt's own domains",
        why="xend's folder of managed guests is of SLES 11; no release that is installed here was ever run by xend",
        source=_README,
    ),
    "kernel-xen": DeadSetting(
        was="a kernel of its own for dom0 and for paravirtual guests, kept in step with the hypervisor",
        today="kernel-default, which runs with and without Xen",
        why="Linux has had Xen's support in the common kernel since SLES 12 SP2",
        source=f"{_README}; yast's pattern xen_server installs kernel-default",
    ),
    "menu.lst": DeadSetting(
        was="/boot/grub/menu.lst of GRUB legacy, with a kernel line for xen.gz and module lines for dom0",
        today="/etc/default/grub: GRUB_CMDLINE_XEN_DEFAULT and GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT, then "
        "grub2-mkconfig. In a lab file: xen: and kernel:",
        why="GRUB 2 writes its menu itself, from scripts in /etc/grub.d",
        source="20_linux_xen of GRUB 2; yast-bootloader autoyast_converter.rb",
    ),
    "xm/xend": DeadSetting(
        was="the toolstack of Xen up to 4.4: the daemon xend, its command xm and /etc/xen/xend-config.sxp",
        today="xl, which needs no daemon, with /etc/xen/xl.conf; or libvirt",
        why="taken out of Xen in 4.5",
        source="Xen 4.5 release notes; xl(1)",
    ),
    "/lib/tls": DeadSetting(
        was="moved out of the way on 32-bit hosts: glibc's thread storage used segments that trap under Xen",
        today="nothing: 64-bit hosts never had it, and there is no other host",
        why="32-bit dom0 kernels, and paravirtual 32-bit hypervisors, are gone",
        source=_README,
    ),
    "modprobe.conf.local": DeadSetting(
        was="/etc/modprobe.conf.local: options of modules, such as `options loop max_loop=128`",
        today="a file of your own in /etc/modprobe.d/. In a lab file: install.loop_devices",
        why="modprobe reads the folder alone; loop devices beyond those at the start are made when they are needed",
        source="modprobe.d(5); drivers/block/loop.c",
    ),
    "no NetworkManager": DeadSetting(
        was="NetworkManager was to be kept away from hosts with bridges, which it did not know",
        today="Leap 15 and SLES 15 have wicked; releases 16 have NetworkManager alone, and it makes the bridges",
        why="NetworkManager has made bridges since 0.9.8 of 2013",
        source="agama d2870eef products.d: mandatory_packages NetworkManager; nm-settings(5), bridge",
    ),
    "console=ttyS0 under Xen": DeadSetting(
        was="`console=ttyS0, 115200` on dom0's line, for a serial log",
        today="xen_append console=hvc0, and xen_kernel_append console=com1 com1=115200,8n1. In a lab file: xen.com1, "
        "xen.console",
        why="the port is Xen's, which passes on what dom0 writes to hvc0; and the space cut the speed off",
        source="yast-bootloader serial_console.rb, xen_kernel_args and xen_hypervisor_args",
    ),
    "init.d/pciback": DeadSetting(
        was="the script /etc/init.d/pciback, which took devices from their drivers by a list in /etc/sysconfig/pciback",
        today="xen-pciback.hide=(0000:03:00.0) on dom0's line, with the module in the initrd. In a lab file: "
        "xen.pciback_hide",
        why="the script ran when the drivers had the devices already, and systemd runs no such scripts",
        source="init.pciback and sysconfig.pciback in the package's sources; dracut.conf(5), force_drivers",
    ),
    "ifplugd": DeadSetting(
        was="a daemon that took interfaces up and down with their cables; not to be used with bridges",
        today="wicked or NetworkManager do it themselves",
        why="gone since SLES 12",
        source=_README,
    ),
}
