"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.living import LivingSetting
from builder.systems.suse.judge.codes import CODES
from builder.systems.suse.phases import boots
from builder.systems.suse.releases import RELEASES

__all__ = ["CAUSES", "CODES", "DEAD", "LIVING"]

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
    "xen-dbg.gz": DeadSetting(
        was="the hypervisor with its own checks, written into grub.cfg by hand in place of xen-VERSION.gz",
        today="still in the package: an entry of your own in /boot/grub2/custom.cfg, or /boot/xen.gz linked to it and "
        "grub2-mkconfig run. noreboot and loglvl=all are xen.noreboot and xen.loglvl in a lab file",
        why="grub2-mkconfig makes an entry of what /boot/xen.gz points to and of no other, and overwrites grub.cfg",
        source="README.SUSE of the package xen; openSUSE's grub2-fix-menu-in-xen-host-server.patch, v2",
    ),
    "vm-install": DeadSetting(
        was="a package that made guests, with libvirt or, by --use-xl, without",
        today="virt-install; in a lab file, guests: of the node, for xl or for libvirt",
        why="it was kept beside virt-install, which the same text calls the recommended way, for guests of xl alone",
        source=_README,
    ),
    "relocation, TCP port 8002": DeadSetting(
        was="the port on which xend took in guests from other hosts, which a firewall was to guard",
        today="nothing listens: xl migrates through ssh, and libvirt by its own ports",
        why="gone with xend",
        source=f"{_README}; xl(1), migrate",
    ),
    "blktap": DeadSetting(
        was="a driver for disks in files, against the loop driver's 64 devices",
        today="loop devices as many as are needed, or QEMU in dom0, which libxl chooses by the format",
        why="the kernel's part of blktap never came into Linux, and Xen dropped its own",
        source=f"{_README}; xl-disk-configuration(5), backendtype",
    ),
    "mem= of a guest": DeadSetting(
        was="an argument of the guest's kernel, so that its memory could grow beyond what it started with",
        today="maxmem beside memory; in a lab file, guests: memory and maxmem",
        why="the kernel is told the limit by the toolstack",
        source=f"{_README}; xl.cfg(5), maxmem",
    ),
    "SummaSketch": DeadSetting(
        was="a drawing tablet on a fully virtual guest's second serial port, so that the mouse fits a screen over VNC",
        today='usbdevice = "tablet" in the guest\'s configuration, which virt-install writes by itself',
        why="QEMU emulates a USB tablet, which guests know without being told",
        source=f"{_README}; xl.cfg(5), usbdevice",
    ),
    "40-xen.rules": DeadSetting(
        was="rules of udev that started /etc/xen/scripts/vif-bridge and block for guests' devices",
        today="libxl starts the same scripts itself; install.hotplug_timeout is how long it waits for them",
        why="Xen 4.2 moved it to libxl, so that a failure is told",
        source=f"{_README}; Xen docs/misc/block-scripts.txt",
    ),
}

_ANSWERS = "autoinst.xml"
_BOOT = f"{_README.partition(',')[0]}; yast-bootloader autoyast_converter.rb"
_CLEAR = _README.partition(",")[0]

LIVING: Mapping[str, LivingSetting] = {
    "GRUB_CMDLINE_XEN_DEFAULT": LivingSetting(
        does="Xen's arguments. AutoYaST calls them xen_kernel_append; with Agama a script writes GRUB's own variable.",
        file=_ANSWERS,
        written="<xen_kernel_append>dom0_mem=",
        lab="xen.dom0_memory and the other settings of xen:, xen.arguments for those without a name of their own",
        source=_BOOT,
    ),
    "GRUB_CMDLINE_LINUX_DEFAULT": LivingSetting(
        does="The kernel's arguments. Those of dom0's kernel under Xen are xen_append, of the kernel alone append.",
        file=_ANSWERS,
        written="<xen_append>console=hvc0",
        lab="kernel.arguments",
        source=_BOOT,
    ),
    "dom0_mem": LivingSetting(
        does="dom0's memory, the same at most as at the start.",
        file=_ANSWERS,
        written="dom0_mem=",
        lab="xen.dom0_memory",
        source=_CLEAR,
    ),
    "autoballoon": LivingSetting(
        does="Whether xl takes memory from dom0 to start a guest.",
        file="/etc/xen/xl.conf",
        written='autoballoon="off"',
        lab="not said: dom0 keeps what xen.dom0_memory gave it",
        source=f"{_CLEAR}; xl-conf-disable-autoballoon.patch, by which SUSE's own xl.conf says the same",
    ),
    "console=com1": LivingSetting(
        does="Xen's messages on the serial port, and dom0's with them.",
        file=_ANSWERS,
        written="console=com1",
        lab="xen.console, xen.com1",
        source=_CLEAR,
    ),
    "LIBXL_HOTPLUG_TIMEOUT": LivingSetting(
        does="Seconds that libxl waits for the scripts of each of a guest's devices: a key in xenstore, of SUSE's Xen "
        "alone.",
        file="/etc/systemd/system/xen-LIBXL_HOTPLUG_TIMEOUT.service",
        written="/libxl/suse/per-device-LIBXL_HOTPLUG_TIMEOUT 10",
        lab="install.hotplug_timeout",
        source=f"{_CLEAR}; libxl.LIBXL_HOTPLUG_TIMEOUT.patch",
    ),
    "max_loop": LivingSetting(
        does="Loop devices that are there from the start; more are made when they are needed.",
        file="/etc/modprobe.d/50-nestlab-loop.conf",
        written="options loop max_loop=128",
        lab="install.loop_devices",
        source=f"{_CLEAR}; modprobe.d(5)",
    ),
    "xen_server": LivingSetting(
        does="The pattern of packages that makes a host: Xen, its tools and libvirt.",
        file=_ANSWERS,
        written="<pattern>xen_server</pattern>",
        lab="not said: every host has it; install.patterns for more",
        source=_CLEAR,
    ),
    "br0": LivingSetting(
        does="The bridge over the management card, which guests are on when nothing else is said.",
        file="/etc/xen/xl.conf",
        written='vif.default.bridge="',
        lab="xen.bridge, networks:",
        source=f"{_CLEAR}; xl-conf-default-bridge.patch",
    ),
    "pciback": LivingSetting(
        does="PCI devices that dom0 leaves to guests: the driver takes them in the initrd, before their own.",
        file="/etc/dracut.conf.d/50-nestlab-pciback.conf",
        written="xen-pciback",
        lab="xen.pciback_hide",
        source="sysconfig.pciback in the package's sources; dracut.conf(5), force_drivers",
    ),
    "grub.xen": LivingSetting(
        does="A GRUB that a paravirtual guest is started from, and that reads the kernel out of the guest's own disk.",
        file="/etc/xen/*.cfg",
        written='kernel = "/usr/share/grub2/x86_64-xen/grub.xen"',
        lab="guests: boot: pvgrub2",
        source=f"{_CLEAR}, which has the older path, now a link; grub2.spec of openSUSE",
    ),
    "00:16:3e": LivingSetting(
        does="The range of MAC addresses that is Xen's own: a guest's is fixed, or it finds a new card at each start.",
        file="/etc/xen/*.cfg",
        written="mac=00:16:3e:",
        lab="guests: vifs: mac, and one of that range, always the same, when it is left out",
        source=_CLEAR,
    ),
}
