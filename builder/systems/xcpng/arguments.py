"""Arguments by layer: of the installer's start, and of the installed host. Xen's line and dom0's are never mixed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from builder.errors import LabError
from builder.model.lab import Node
from builder.systems.dom0 import pciback_hide
from builder.systems.machine import Machine
from builder.systems.xcpng.memory import setting
from builder.systems.xcpng.options import XcpngInstall

# Taken off every line before ours are put on: what is there already is not put on again, and the order of consoles
# counts. ISOs built without a signing key carry the first two; with an answer file the installer stops at them.
REMOVED = (
    "no-repo-gpgcheck", "no-gpgcheck", "console=", "com1=", "answerfile=", "rt_answerfile=", "answerfile_generator=",
    "atexit=", "network_device=", "network_config=", "device_mapper_multipath=",
)  # fmt: skip


def installer_hypervisor(node: Node) -> tuple[str, ...]:
    """Xen's own while the installer runs. The port's settings become those of the host's serial boot entry."""
    return (f"com1={node.xen.com1}", f"console={node.xen.console}")


def installer_kernel(options: XcpngInstall, machine: Machine, answer: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """The installer's, on dom0's line. rt_answerfile keeps the screens away and puts the log on the console, which is
    the last one named. `install` is demanded by 8.2 and harmless later. `addresses` are all that it will fetch from."""
    network = options.network
    made = ["install", f"rt_answerfile={answer}", f"atexit={options.end}"]
    if any(not address.startswith("file://") and address != "local" for address in (answer, *addresses)):
        made.append(f"network_device={machine.cards[network.card].mac}")
        config = _network_config(options)
        if config is not None:
            made.append(f"network_config={config}")
    if options.multipath is not None:
        made.append(f"device_mapper_multipath={'enabled' if options.multipath else 'disabled'}")
    return (*made, "console=tty0", "console=hvc0")


def _network_config(options: XcpngInstall) -> str | None:
    network = options.network
    if network.address is None:
        return f"dhcp:vlan={network.vlan}" if network.vlan is not None else None
    interface = ipaddress.ip_interface(network.address)
    parts = [f"static:ip={interface.ip}", f"netmask={interface.network.netmask}"]
    if network.gateway is not None:
        parts.append(f"gateway={network.gateway}")
    if network.nameservers:
        parts.append(f"dns={','.join(network.nameservers)}")
    if network.vlan is not None:
        parts.append(f"vlan={network.vlan}")
    return ";".join(parts)


def host_hypervisor(node: Node) -> tuple[str, ...]:
    """Xen's, set on the installed host. Each has a value: what xen-cmdline does with a bare word is not known."""
    xen = node.xen
    made = [setting(xen.dom0_memory), f"dom0_max_vcpus={xen.dom0_max_vcpus}"]
    made += [f"{name}=true" for name, on in (("dom0_vcpus_pin", xen.dom0_vcpus_pin), ("noreboot", xen.noreboot)) if on]
    made += [f"{key}={level}" for key, level in (("loglvl", xen.loglvl), ("guest_loglvl", xen.guest_loglvl)) if level]
    return (*made, *_valued(node, xen.arguments, "xen.arguments"))


def host_kernel(node: Node) -> tuple[str, ...]:
    """Those of dom0's kernel, set on the installed host."""
    return (*pciback_hide(node.xen), *_valued(node, node.kernel.arguments, "kernel.arguments"))


def _valued(node: Node, arguments: Sequence[str], where: str) -> Sequence[str]:
    seen: set[str] = set()
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise LabError(f"{node.name}: {where}: {key} has no value, and xen-cmdline sets values only",
                           hint=f"write {key}=true if it is a switch")  # fmt: skip
        if key in seen:
            raise LabError(f"{node.name}: {where}: xen-cmdline keeps one {key} only", hint="name it once")
        seen.add(key)
    return arguments
