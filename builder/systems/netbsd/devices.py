"""The machine as NetBSD's kernels see it: disks and cards by the names of their drivers.

Names from the kernels' configuration files (GENERIC of the medium, XEN3_DOM0 of the host, netbsd-10): siop(4) for
LSI Logic's 53c8xx and mpt(4) for its SAS1068 carry sd; pciide(4) and ahcisata(4) carry wd; wm(4) drives Intel's e1000
cards and re(4) the 8139C+ that QEMU's rtl8139 is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from builder.errors import LabError
from builder.model.lab import Disk, DiskBus, NicModel, Node
from builder.systems.machine import Card, Machine, MachineDisk
from builder.systems.netbsd.options import NetbsdInstall

_DISKS: Mapping[DiskBus, str] = {"lsilogic": "sd", "lsisas1068": "sd", "ide": "wd", "sata": "wd", "virtio": "ld"}
_CARDS: Mapping[NicModel, str] = {"e1000": "wm", "e1000e": "wm", "rtl8139": "re", "virtio": "vioif"}


def machine_of(node: Node, options: NetbsdInstall) -> Machine:
    """The node's machine; `path` of a disk is its name, such as wd0.

    Raises LabError for names of disks and cards that do not fit the node, and for those that nobody can tell.
    """
    models = (node.management_nic, *(nic.model for nic in node.nics))
    macs = (node.management_mac, *(nic.mac for nic in node.nics))
    cards = options.cards or tuple(_numbered(_CARDS[model] for model in models))
    if len(cards) != len(macs):
        raise LabError(
            f"{node.name}: install.cards names {len(cards)} cards, and the node has {len(macs)}",
            hint="the management card first, then those of networks:",
        )
    if len(set(cards)) != len(cards):
        raise LabError(f"{node.name}: install.cards gives one name twice", hint="each has a name of its own")
    if not options.cards and "e1000" in models and "e1000e" in models:
        raise LabError(
            f"{node.name}: cards of e1000 and e1000e are all called wm, in an order that depends on their slots",
            hint="use one model for all cards, or install.cards",
        )
    return Machine(
        firmware=node.firmware,
        disks=_disks(node, options),
        cards=tuple(Card(number, name, mac) for number, (name, mac) in enumerate(zip(cards, macs, strict=True))),
        cards_in_order=True,
    )


def _numbered(prefixes: Iterable[str]) -> list[str]:
    counts: Counter[str] = Counter()
    names = []
    for prefix in prefixes:
        names.append(f"{prefix}{counts[prefix]}")
        counts[prefix] += 1
    return names


def _disks(node: Node, options: NetbsdInstall) -> tuple[MachineDisk, ...]:
    for name in options.devices:
        if name not in {disk.name for disk in node.disks}:
            raise LabError(
                f"{node.name}: install.devices names the disk {name!r}, which the node does not have",
                hint=f"disks: {', '.join(disk.name for disk in node.disks)}",
            )
    free = [disk for disk in node.disks if disk.name not in options.devices]
    for prefix in ("wd", "sd"):
        buses = {disk.bus for disk in free if _DISKS[disk.bus] == prefix}
        if len(buses) > 1:
            raise LabError(
                f"{node.name}: disks on {' and '.join(sorted(buses))} are all called {prefix}, in an order that "
                "depends on which controller answers first",
                hint="use one bus, or install.devices",
            )
    names = dict(zip((disk.name for disk in free), _numbered(_DISKS[disk.bus] for disk in free), strict=True))
    names |= options.devices
    for name, count in Counter(names.values()).items():
        if count > 1:
            raise LabError(f"{node.name}: two disks are called {name}", hint="name all of them in install.devices")
    return tuple(_disk(disk, names[disk.name]) for disk in node.disks)


def _disk(disk: Disk, name: str) -> MachineDisk:
    return MachineDisk(disk.name, name, disk.size, 4096 if disk.sector == "4Kn" else 512, disk.bus)
