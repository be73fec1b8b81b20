"""PCI devices as dom0 sees them, and which of them may become a guest's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.model.host import Host
from builder.model.lab import Value
from builder.procedures.asking import ask, fields, listed
from builder.procedures.pci_hide import vital_devices

# For each device: is it there, its class, its driver, whether a disk below it is used, how many of the host's real
# network cards are below none of these devices, and the functions of the same device; a virtual one (SR-IOV) is alone.
# Last, whether the driver that holds devices for guests is not there: Debian's is a module, loaded on request.
_DEVICES = r"""
cd /sys/bus/pci/devices
for device in "$@"; do
  [ -e "$device" ] || continue
  driver=$(readlink "$device/driver") || driver=none
  used=
  for disk in $(find "$device/" -path '*/block/*' -prune -printf '%f\n' 2>/dev/null); do
    [ -z "$(lsblk -nro MOUNTPOINT,TYPE "/dev/$disk" | awk 'NF > 1 || ($1 != "disk" && $1 != "part")')" ] || used=$disk
  done
  echo "device $device class=$(cat "$device/class") driver=${driver##*/} used=${used:-no}"
  for other in "${device%.*}".*; do [ -e "$device/physfn" ] || echo "function $other"; done
done
for card in /sys/class/net/*/device; do
  [ -e "$card" ] || continue
  of=$(readlink -f "$card")
  kept=yes
  for device in "$@"; do case "$of/" in */"$device"/*) kept=no ;; esac; done
  echo "card $kept"
done
[ -d /sys/bus/pci/drivers/pciback ] || echo "pciback missing"
"""


class Device(Value):
    """A PCI device as dom0 sees it. `used` is a disk of it that is mounted or part of something."""

    kind: str
    driver: str
    used: str


class Pci(Value):
    """What there is to know of the devices asked for before one is given away."""

    iommu: bool
    devices: Mapping[str, Device]
    functions: tuple[str, ...]
    vital: tuple[str, ...]
    cards: int
    takes_cards: bool
    ready: tuple[str, ...]
    """Those that can be given to guests now, by xl."""
    pciback: bool = True
    """The driver that holds them is in the kernel."""


def pci_of(host: Host, addresses: Sequence[str], kind: str) -> Pci:
    """Reads only. `kind` of the guest: Xen says for which it has an IOMMU."""
    rows = [line.split() for line in ask(host, "sh", "-c", _DEVICES, "sh", *addresses).splitlines()]
    told = {row[1]: dict(word.partition("=")[::2] for word in row[2:]) for row in rows if row[0] == "device"}
    capabilities = fields(ask(host, "xl", "info")).get("virt_caps", "").split()
    cards = [row[1] for row in rows if row[0] == "card"]
    return Pci(
        iommu=("pv_directio" if kind == "pv" else "hvm_directio") in capabilities,
        devices={at: Device(kind=it["class"], driver=it["driver"], used=it["used"]) for at, it in told.items()},
        functions=tuple(dict.fromkeys(row[1] for row in rows if row[0] == "function")),
        vital=vital_devices(host),
        cards=cards.count("yes"),
        takes_cards="no" in cards,
        ready=tuple(sorted(set(ask(host, "xl", "pci-assignable-list").split()) & set(addresses))),
        pciback=["pciback", "missing"] not in rows,
    )


def judge(pci: Pci, addresses: Sequence[str]) -> tuple[tuple[bool, str, str, str], ...]:
    """Rules about devices: without an IOMMU a guest's device writes to all memory, the host's as well."""
    missing = [at for at in addresses if at not in pci.devices]
    bridges = [at for at, device in pci.devices.items() if device.kind.startswith("0x06")]
    used = [f"{at} ({device.used})" for at, device in pci.devices.items() if device.used != "no"]
    vital = [at for at in addresses if at in pci.vital]
    rest = [at for at in pci.functions if at not in addresses]
    return (
        (pci.iommu, "no-iommu", "Xen has no IOMMU for this guest: its device could write to any memory of the host",
         "VT-d or AMD-Vi in the firmware's setup; xl dmesg says whether I/O virtualisation is enabled"),
        (not missing, "no-device", f"the host has no PCI device {listed(missing)}", "lspci lists them"),
        (not bridges, "bridge", f"{listed(bridges)} is a bridge: not it is given to guests, but what is behind it",
         "lspci -t shows what hangs on what"),
        (not vital, "in-use", f"{listed(vital)} carries dom0's root or the way to this host",
         "give guests another device: without this one the host is dead"),
        (not used, "disk-in-use", f"a disk of {listed(used)} is mounted, or part of an array or volume group",
         "take it out of use first"),
        (not pci.takes_cards or pci.cards > 0, "last-card", "the host would be left without a network card",
         "a host keeps one card for itself"),
        (not rest, "functions", f"{listed(rest)} is another function of the same device: what one can do, all can",
         "give the guest all of them, or none"),
    )  # fmt: skip
