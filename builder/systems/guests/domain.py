"""A guest as a domain of libvirt's xen driver. Pure: values in, XML out."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET

from builder.errors import LabError
from builder.model.lab import Guest
from builder.model.units import KIB
from builder.systems.guests.start import Start, disk_names

_MACHINE = {"pv": ("xenpv", "linux"), "pvh": ("xenpvh", "xenpvh"), "hvm": ("xenfv", "hvm")}


def domain_xml(node: str, guest: Guest, start: Start) -> str:
    """The definition of a guest of that node, indented. Raises LabError for what the driver cannot express."""
    if start.bootloader and guest.type != "pv":
        raise LabError(
            f"{node}: guest {guest.name}: libvirt runs {start.bootloader} for PV guests only",
            hint="use type: pv, boot: pvgrub2, or manager: xl",
        )
    domain = ET.Element("domain", {"type": "xen"})
    _text(domain, "name", guest.name)
    _text(domain, "uuid", _uuid(node, guest))
    _text(domain, "memory", str((guest.maxmem or guest.memory) // KIB), unit="KiB")
    _text(domain, "currentMemory", str(guest.memory // KIB), unit="KiB")
    _text(domain, "vcpu", str(guest.vcpus), placement="static")
    if start.bootloader:
        _text(domain, "bootloader", start.bootloader)
    _os(domain, guest, start)
    if guest.type == "hvm":
        features = ET.SubElement(domain, "features")
        for name in ("acpi", "apic", "pae"):
            ET.SubElement(features, name)
    ET.SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "destroy" if start.once else "restart")
    _text(domain, "on_crash", "destroy")
    _devices(ET.SubElement(domain, "devices"), guest)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _os(domain: ET.Element, guest: Guest, start: Start) -> None:
    machine, kind = _MACHINE[guest.type]
    system = ET.SubElement(domain, "os")
    _text(system, "type", kind, arch="x86_64", machine=machine)
    if start.kernel:
        _text(system, "kernel", start.kernel)
    if start.ramdisk:
        _text(system, "initrd", start.ramdisk)
    if start.arguments:
        _text(system, "cmdline", start.arguments.join())
    if guest.type == "hvm" and not start.kernel:
        ET.SubElement(system, "boot", dev="hd")


def _devices(devices: ET.Element, guest: Guest) -> None:
    for name, disk in zip(disk_names(guest), guest.disks, strict=True):
        block = disk.path.startswith("/dev/")
        element = ET.SubElement(devices, "disk", type="block" if block else "file", device="disk")
        ET.SubElement(element, "driver", name="phy" if block else "qemu", type=disk.format)
        ET.SubElement(element, "source", {"dev" if block else "file": disk.path})
        ET.SubElement(element, "target", dev=name, bus="ide" if name.startswith("hd") else "xen")
        if disk.readonly:
            ET.SubElement(element, "readonly")
    for vif in guest.vifs:
        element = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(element, "mac", address=vif.mac)
        ET.SubElement(element, "source", bridge=vif.bridge)
    for device in guest.pci:
        _pci(devices, device)
    if guest.type == "hvm":
        ET.SubElement(devices, "serial", type="pty")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial" if guest.type == "hvm" else "xen", port="0")


def _pci(devices: ET.Element, device: str) -> None:
    """The host keeps the device for guests already, so that libvirt has not to take it from anybody."""
    segment, bus, rest = (device if device.count(":") == 2 else f"0000:{device}").split(":")
    slot, function = rest.split(".")
    element = ET.SubElement(devices, "hostdev", mode="subsystem", type="pci", managed="no")
    ET.SubElement(
        ET.SubElement(element, "source"), "address",
        domain=f"0x{segment}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}",
    )  # fmt: skip


def _uuid(node: str, guest: Guest) -> str:
    """Always the same for one guest: libvirt would make up another each time that it reads the file."""
    digest = hashlib.sha256(f"nestlab:{node}/{guest.name}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], f"5{digest[13:16]}", f"a{digest[17:20]}", digest[20:32]))
