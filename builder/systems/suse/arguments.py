"""Arguments by layer: of the installer's start, of the hypervisor, of dom0's kernel under Xen, and of the kernel alone.

In AutoYaST's words, which invite swapping: `xen_kernel_append` is the hypervisor's line, `xen_append` is dom0's under
Xen, `append` is that of entries without Xen (autoyast_converter.rb of yast-bootloader, DEFAULT_KERNEL_PARAMS_MAPPING).
"""

from __future__ import annotations

import ipaddress
import re

from builder.errors import LabError
from builder.model.lab import Node
from builder.systems.dom0 import hypervisor, pciback_hide, serial_speed
from builder.systems.suse.options import DomNetwork, SuseInstall
from builder.systems.suse.releases import Release

VOLUME = "OEMDRV"
"""Label of the volume that linuxrc and Agama look for by themselves (linuxrc_and_autoyast.md; auto_loader.rs)."""
# Taken off every line before ours are put on: what is there already is not put on again, and the order counts.
# `quiet` and `splash=` hide the kernel's first line, by which the installer is followed.
REMOVED = ("console=", "quiet", "splash=", "autoyast=", "autoyast2=", "ay=", "inst.auto=", "inst.finish=", "install=")
_NAMES = "net.ifnames=0"
# Neither YaST nor GRUB's own tools quote these in a menu entry, where GRUB would read them as its script's.
_NOT_QUOTED = re.compile(r"[#{}]")


def hypervisor_line(node: Node) -> tuple[str, ...]:
    """All of Xen's arguments: YaST knows one set, of entries that are no recovery entries."""
    always, more = hypervisor(node.xen)
    return _plain(node, (*always, *more))


def dom0_line(node: Node, release: Release) -> tuple[str, ...]:
    """Of dom0's kernel under Xen. The first serial port is Xen's: dom0's console is hvc0."""
    names = (_NAMES,) if release.installer == "agama" else ()
    return _plain(node, ("console=hvc0", *names, *pciback_hide(node.xen), *node.kernel.arguments))


def plain_line(node: Node, release: Release) -> tuple[str, ...]:
    """Of the kernel without Xen, for mending a host: there the serial port is the kernel's own."""
    names = (_NAMES,) if release.installer == "agama" else ()
    return ("console=tty0", f"console=ttyS0,{serial_speed(node.xen)}n8", *names)


def grub_variables(node: Node, release: Release) -> tuple[tuple[str, str], ...]:
    """What Agama cannot be told, by GRUB's names: 20_linux_xen takes the REPLACE line for dom0's alone."""
    return (
        ("GRUB_CMDLINE_XEN_DEFAULT", " ".join(hypervisor_line(node))),
        ("GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT", " ".join(dom0_line(node, release))),
        ("GRUB_TERMINAL", "console serial"),
        ("GRUB_SERIAL_COMMAND", serial_command(node)),
    )


def serial_command(node: Node) -> str:
    return f"serial --unit=0 --speed={serial_speed(node.xen)} --parity=no --word=8"


def installer_line(node: Node, options: SuseInstall, release: Release, answer: str) -> tuple[str, ...]:
    """The installer's. The last console is the one that its log goes to."""
    where = answer_place(options, release, answer)
    consoles = ("console=tty0", f"console=ttyS0,{serial_speed(node.xen)}n8")
    if release.installer == "autoyast":
        source = (f"install={options.url}",) if options.url else ()
        network = _linuxrc_network(options.network) if options.url or options.served_at else ()
        return (f"autoyast={where}", *source, *network, "textmode=1", *consoles)
    source = (f"inst.install_url={options.url}",) if options.url else ()
    network = _dracut_network(options.network) if options.url or options.served_at else ()
    return (f"inst.auto={where}", *source, f"inst.finish={options.end}", _NAMES, *network, *consoles)


def _linuxrc_network(network: DomNetwork) -> tuple[str, ...]:
    """How linuxrc reaches what it fetches; without a word it asks DHCP. ifcfg=DEVICE=ADDRESS,GATEWAY,NAMESERVER."""
    device = "eth0" if network.vlan is None else f"eth0.{network.vlan}"
    if network.address is None:
        return (f"ifcfg={device}=dhcp",) if network.vlan is not None else ()
    return (f"ifcfg={device}={network.address},{network.gateway or ''},{next(iter(network.nameservers), '')}",)


def _dracut_network(network: DomNetwork) -> tuple[str, ...]:
    """The same for Agama's medium, whose initrd is dracut's: dracut.cmdline(7)."""
    device = "eth0" if network.vlan is None else f"eth0.{network.vlan}"
    tagged = (f"vlan={device}:eth0",) if network.vlan is not None else ()
    if network.address is None:
        return (*tagged, f"ip={device}:dhcp")
    own = ipaddress.ip_interface(network.address)
    sixth = own.version == 6
    mask = own.network.prefixlen if sixth else own.network.netmask
    address, gateway = (f"[{own.ip}]", f"[{network.gateway}]") if sixth else (str(own.ip), network.gateway or "")
    servers = (f"nameserver={server}" for server in network.nameservers)
    return (*tagged, f"ip={address}::{gateway if network.gateway else ''}:{mask}::{device}:none", *servers)


def answer_place(options: SuseInstall, release: Release, answer: str) -> str:
    """The address of the answers for that way of delivery."""
    ways = {
        "volume": f"label://{VOLUME}/{answer}",
        "initrd": f"file:///{answer}",
        "iso": f"cd:///{answer}" if release.installer == "autoyast" else f"file:///run/initramfs/live/{answer}",
        "http": f"{(options.served_at or '').rstrip('/')}/{answer}",
    }
    return ways[delivery_of(options)]


def delivery_of(options: SuseInstall) -> str:
    return options.delivery or ("http" if options.served_at else "volume")


def _plain(node: Node, arguments: tuple[str, ...]) -> tuple[str, ...]:
    for argument in arguments:
        if _NOT_QUOTED.search(argument) or re.search(r"\s", argument):
            raise LabError(
                f"{node.name}: the argument {argument} holds a character that the boot loader's tools pass on bare",
                hint="leave #, { and } out of xen.arguments and kernel.arguments",
            )
    return arguments
