"""PCI devices kept from dom0's drivers, ready to be given to guests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from pydantic import Field

from builder.model.host import Host
from builder.model.units import BDF_PATTERN
from builder.procedures.api import Dead, Drill, Evidence, Options, Procedure, Refusal, Words, same
from builder.procedures.asking import ask
from builder.procedures.boot import BootSettings, BootWay, Grub, XenCmdline

DEVICES = "/sys/bus/pci/devices"
# Follows the disks below / and the cards that carry the way to this host down to their PCI devices.
_VITAL = r"""
for link in $(lsblk -nrso NAME "$(findmnt -no SOURCE /)" 2>/dev/null); do readlink -f "/sys/class/block/$link"; done
for card in $(ip -o route get "${SSH_CONNECTION%% *}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p'); do
  readlink -f "/sys/class/net/$card"
  for port in "/sys/class/net/$card/brif/"* "/sys/class/net/$card/lower_"*; do
    [ -e "$port" ] && readlink -f "/sys/class/net/$(basename "$port" | sed 's/^lower_//')"
  done
done
:
"""


class Asked(Options):
    devices: Words = Field(min_length=1, description="PCI addresses as lspci prints them, such as 03:00.0,04:00.1")


def full(device: str) -> str:
    """With the PCI domain, which the driver wants."""
    return device if device.count(":") == 2 else f"0000:{device}"


def vital_devices(host: Host) -> tuple[str, ...]:
    """Those that dom0's root disk or the way to the host hangs on."""
    found = re.findall(r"/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?=/)", ask(host, "sh", "-c", _VITAL))
    return tuple(dict.fromkeys(found))


class _Hide(BootWay[Asked]):
    name = "pci-hide"

    def settings(self, asked: Asked) -> BootSettings:
        hidden = "".join(f"({full(device)})" for device in asked.devices)
        return BootSettings(kernel_keys=("xen-pciback.hide",), kernel=(f"xen-pciback.hide={hidden}",))

    def survey(self, host: Host, asked: Asked) -> Mapping[str, str]:
        there = {d: host.run(["test", "-e", f"{DEVICES}/{full(d)}"]).ok for d in asked.devices if _is_address(d)}
        early = host.run(["sh", "-c", "modinfo -F filename xen_pciback 2>/dev/null"]).stdout.strip()
        return {
            "there": " ".join(device for device, found in there.items() if found),
            "vital": " ".join(vital_devices(host)),
            "driver": "module" if early.endswith((".ko", ".ko.xz", ".ko.zst", ".ko.gz")) else "built in",
        }

    def sample_survey(self) -> Mapping[str, str]:
        return {"update-grub": "yes", "there": "03:00.0", "vital": "0000:00:01.1", "driver": "built in"}

    def judge(self, survey: Mapping[str, str], asked: Asked) -> tuple[Refusal, ...]:
        found = []
        there, vital = survey["there"].split(), survey["vital"].split()
        for device in asked.devices:
            if not _is_address(device):
                found.append(Refusal(code="no-address", message=f"{device} is no PCI address",
                                     hint="write it as lspci prints it: 03:00.0, or 0000:03:00.0"))  # fmt: skip
            elif device not in there:
                found.append(Refusal(code="no-device", message=f"the host has no PCI device {device}",
                                     hint="lspci lists them"))  # fmt: skip
            elif full(device) in vital:
                found.append(Refusal(code="in-use", message=f"{device} carries dom0's root or the way to this host",
                                     hint="give guests another device: without this one the host is dead"))  # fmt: skip
        if survey["driver"] == "module":
            found.append(Refusal(
                code="driver-is-module",
                message="xen-pciback is a module on this host: the kernel does not read its arguments before other "
                "drivers took the device",
                hint="in a lab say xen.pciback_hide in the lab file: it brings modprobe's options and an initramfs "
                "that loads the module first; at run time `xl pci-assignable-add` does it until the next start",
            ))  # fmt: skip
        return tuple(found)

    def seen(self, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        assignable = ask(host, "xl", "pci-assignable-list").split()
        found = []
        for device in map(full, asked.devices):
            driver = host.run(["readlink", f"{DEVICES}/{device}/driver"]).stdout.strip()
            found.append(same(f"driver of {device}", "pciback", PurePosixPath(driver).name))
            found.append(same(f"{device} can be given to a guest, by xl", True, device in assignable))
        return tuple(found)


def _is_address(device: str) -> bool:
    return re.fullmatch(BDF_PATTERN.strip("^$"), device) is not None


PROCEDURE = Procedure(
    name="pci-hide",
    title="PCI devices kept for guests",
    summary="PCI devices are taken by xen-pciback before dom0's drivers see them, so that they can be given to guests.",
    options=Asked,
    ways={"xl": _Hide(Grub()), "xe": _Hide(XenCmdline())},
    sources=(
        "Debian wiki: Xen, Configure PCI pass-through Parameters",
        "NetBSD Xen HowTo: PCI passthrough",
        "XCP-ng guide: PCI passthrough",
    ),
    refuses={
        "no-update-grub": "the host is no Debian host (plain Xen)",
        "no-address": "it is no PCI address",
        "no-device": "the host has no such device",
        "in-use": "dom0's root disk or the way to the host hangs on it",
        "driver-is-module": "xen-pciback is a module, as on Debian",
    },
    drill=Drill(
        options={"devices": "03:00.0"},
        reason="Debian's xen-pciback is a module: hosts of a lab hide devices by their lab file, and its checks see it",
    ),
    dead=(
        Dead(
            says="GRUB_CMDLINE_XEN=\"dom0_mem=512M pciback.hide=(01:08.1)(01:09.2)",
            why="pciback.hide was never an argument of the hypervisor: it is the dom0 kernel's, and is called "
            "xen-pciback.hide since Linux 2.6.32 (the quote is not closed either)",
        ),
        Dead(says="the module's name in /etc/initramfs/modules", why="the file is /etc/initramfs-tools/modules"),
    ),
)  # fmt: skip
