"""Devices of a running domain that come and go: disks unplugged and plugged in again, links of cards taken down.

The domain's own XML, as libvirt has it now, is what tells how things stand: nothing is remembered here.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET

from builder.drivers.virt import Domain, DomainError
from builder.drivers.virt_errors import import_libvirt

_LET_GO = 10.0
"""Seconds for a disk to be gone. SCSI disks go at once; a virtio disk is a PCI card, which its guest has to let go."""


def plugged_disks(domain: Domain) -> dict[str, str]:
    """The disks that are plugged in: libvirt's name of the device by the file. Raises DomainError."""
    found = {}
    for disk in domain.xml().iterfind("devices/disk[@device='disk']"):
        source, alias = disk.find("source"), disk.find("alias")
        if source is not None and alias is not None:
            found[source.get("file", "")] = alias.get("name", "")
    return found


def boot_turns(domain: Domain) -> dict[str, int]:
    """In which turn the firmware tries each disk that is plugged in, from 1, by its file. Raises DomainError."""
    orders = {}
    for disk in domain.xml().iterfind("devices/disk[@device='disk']"):
        source, boot = disk.find("source"), disk.find("boot")
        if source is not None and boot is not None:
            orders[source.get("file", "")] = int(boot.get("order", "0"))
    return {path: turn for turn, path in enumerate(sorted(orders, key=orders.__getitem__), 1)}


def pull_disk(domain: Domain, path: str) -> bool:
    """Unplug the disk whose file is `path`, without the guest's leave; False when it is not plugged in.

    Raises DomainError: its bus cannot, or the guest did not let go of it.
    """
    alias = plugged_disks(domain).get(path)
    if alias is None:
        return False
    domain.qmp("device_del", id=alias)
    deadline = time.monotonic() + _LET_GO
    while path in plugged_disks(domain):
        if time.monotonic() > deadline:
            raise DomainError(
                f"{domain.node}: the guest does not let go of {alias} within {_LET_GO:.0f} s",
                hint="a guest that does not run cannot; disks on lsilogic go without being asked",
            )
        time.sleep(0.05)
    return True


def insert_disk(domain: Domain, element: ET.Element, path: str) -> bool:
    """Plug the disk in as this element of a domain's definition describes it; False when it is plugged in already.

    The firmware tries it last from now on: it is a new one to it, as on real machines.

    Raises DomainError: its bus cannot, or its place is taken.
    """
    if path in plugged_disks(domain):
        return False
    last = max((int(boot.get("order", "0")) for boot in domain.xml().iterfind("devices/*/boot")), default=0)
    for boot in element.iterfind("boot"):
        boot.set("order", str(last + 1))
    libvirt = import_libvirt()
    text = ET.tostring(element, encoding="unicode")
    domain.change("a disk cannot be plugged in", lambda it: it.attachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_LIVE))
    return True


def links(domain: Domain) -> dict[str, bool]:
    """Whether the link is up, by the card's MAC. The management card is not among them. Raises DomainError."""
    return {_mac(card): _is_up(card) for card in domain.xml().iterfind("devices/interface")}


def set_link(domain: Domain, mac: str, *, up: bool) -> bool:
    """Take the link of a card down, or bring it up again, as a switch does that is switched off: the guest sees its
    carrier go. False when it is that way already. Raises DomainError."""
    libvirt = import_libvirt()
    card = next((card for card in domain.xml().iterfind("devices/interface") if _mac(card) == mac), None)
    if card is None:
        raise DomainError(f"{domain.node}: there is no card with the address {mac}")
    if _is_up(card) == up:
        return False
    link = card.find("link")
    (ET.SubElement(card, "link") if link is None else link).set("state", "up" if up else "down")
    text = ET.tostring(card, encoding="unicode")
    flags = libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.change("the link of a card cannot be changed", lambda it: it.updateDeviceFlags(text, flags))
    return True


def _mac(card: ET.Element) -> str:
    mac = card.find("mac")
    return "" if mac is None else mac.get("address", "")


def _is_up(card: ET.Element) -> bool:
    link = card.find("link")
    return link is None or link.get("state") != "down"
