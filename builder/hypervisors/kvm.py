"""A node as a libvirt domain on KVM, or on QEMU's emulation where KVM fails its proof. Pure: values in, XML out.

What the guest can see (card count and order, PCI addresses, CPU, disks' identities) depends on the lab file alone, so
that a saved memory state fits any later start. Ports, paths, name and uuid come from the wiring.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from builder.errors import LabError
from builder.model.lab import Disk, DiskBus, Nic, NicModel, Node, sas_address
from builder.model.runtime import MARK_NAMESPACE, NicPorts, Wiring

# PCI slots of bus 0. The management card comes first, so that Linux calls it eth0 with net.ifnames=0 (cards are
# found in slot order; with different models, drivers load in alias order and this does not hold).
# 0x00 host bridge, 0x01 PIIX on pc, 0x1f ICH9 on q35.
SCREEN_SLOT = 0x02
MANAGEMENT_SLOT = 0x03
NIC_SLOTS = range(0x04, 0x10)
SCSI_SLOTS = range(0x10, 0x14)
SATA_SLOT = 0x14
VIRTIO_SLOTS = range(0x15, 0x1F)

TRANSLATIONS_MIB = 128
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_QEMU_NIC: dict[NicModel, str] = {
    "e1000": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "rtl8139",
    "virtio": "virtio-net-pci",
}
_BLOCK = {"512n": (512, 512), "512e": (512, 4096), "4Kn": (4096, 4096)}
_LIBVIRT_BUS: dict[DiskBus, str] = {
    "lsilogic": "scsi",
    "lsisas1068": "scsi",
    "ide": "ide",
    "sata": "sata",
    "virtio": "virtio",
}
_IDE_UNITS = ((0, 0), (0, 1), (1, 1))  # bus, unit; 1.0 is the CD-ROM's, 1.1 that of a second one
_SATA_DISKS = 5  # of six ports; the last is the CD-ROM's, the one before it that of a second one
_SAS_DISKS = 7  # a controller has eight ids, of which 7 is its own
_FUNCTIONS = 8  # of a slot


def domain_xml(node: Node, wiring: Wiring) -> str:
    """The domain definition, indented, the same text for the same values.

    Raises LabError for what this machine cannot have: a bus it lacks, more disks or cards than slots, 4Kn on a bus
    that only has 512-byte sectors, an IOMMU on pc or over a controller that does not work behind it.
    """
    if len(wiring.disks) != len(node.disks) or len(wiring.nics) != len(node.nics):
        raise LabError(
            f"{node.name}: the wiring does not fit the node: {len(wiring.disks)} disks, {len(wiring.nics)} cards"
        )
    kvm = wiring.accelerator == "kvm"
    domain = ET.Element("domain", {"type": "kvm" if kvm else "qemu", "xmlns:qemu": QEMU_NAMESPACE})
    _text(domain, "name", wiring.domain)
    _text(domain, "uuid", wiring.uuid)
    metadata = ET.SubElement(domain, "metadata")
    ET.SubElement(
        metadata,
        "nestlab:mark",
        {
            "xmlns:nestlab": MARK_NAMESPACE,
            "lab": wiring.lab,
            "node": node.name,
            "expires": f"{wiring.expires_at:.0f}",
        },
    )
    _text(domain, "memory", str(node.memory // 1024), unit="KiB")
    _text(domain, "vcpu", str(node.cpus), placement="static")
    _firmware(domain, node, wiring)
    _features(domain, node, kvm=kvm)
    _cpu(domain, node, kvm=kvm)
    ET.SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart" if wiring.on_reboot == "restart" else "destroy")
    _text(domain, "on_crash", "destroy")
    devices = ET.SubElement(domain, "devices")
    _disks(devices, node, wiring)
    for number, (nic, ports) in enumerate(zip(node.nics, wiring.nics, strict=True)):
        _nic(devices, node, nic, ports, number)
    _console(devices, wiring)
    # Nothing else: each device costs boot time, and what libvirt would add on its own (USB, balloon) is refused. The
    # CPU gives random numbers itself, so there is no virtio-rng either.
    if wiring.screen:
        video = ET.SubElement(devices, "video")
        ET.SubElement(video, "model", type="vga", vram="16384", heads="1", primary="yes")
        _pci(video, SCREEN_SLOT)
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    if node.iommu:
        _iommu(devices, node)
    _management_nic(domain, node, wiring)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _firmware(domain: ET.Element, node: Node, wiring: Wiring) -> None:
    os_ = ET.SubElement(domain, "os")
    _text(os_, "type", "hvm", arch="x86_64", machine=wiring.machine_type or node.machine)
    if node.firmware == "uefi":
        if wiring.uefi is None:
            raise LabError(f"{node.name}: UEFI was asked for and no OVMF given", hint="apt-get install ovmf")
        _text(os_, "loader", wiring.uefi.code, readonly="yes", type="pflash")
        _text(os_, "nvram", wiring.uefi.variables, template=wiring.uefi.template)
    if wiring.direct is not None:
        _text(os_, "kernel", wiring.direct.kernel)
        if wiring.direct.initrd:
            _text(os_, "initrd", wiring.direct.initrd)
        _text(os_, "cmdline", wiring.direct.arguments)
    if node.firmware == "bios":
        # SeaBIOS without a loader element; what it prints comes on the console too. OVMF does that by itself.
        ET.SubElement(os_, "bios", useserial="yes")


def _features(domain: ET.Element, node: Node, *, kvm: bool) -> None:
    features = ET.SubElement(domain, "features")
    for name in ("acpi", "apic"):
        ET.SubElement(features, name)
    if node.iommu:
        # Interrupts are remapped where the I/O APIC is QEMU's own, not KVM's; libvirt refuses intremap without this.
        ET.SubElement(features, "ioapic", driver="qemu")
    if not kvm:
        # QEMU keeps what it has translated of the system before a restart, and throws it away page by page while the
        # next one is loaded over it: with its own cache of 1 GiB a dom0 came back after 145 s, with this one after 35,
        # and the first start takes as long. libvirt >= 8.0, https://libvirt.org/formatdomain.html#hypervisor-features
        ET.SubElement(ET.SubElement(features, "tcg"), "tb-cache", unit="MiB").text = str(TRANSLATIONS_MIB)


def _iommu(devices: ET.Element, node: Node) -> None:
    """VT-d over all that is on the root bus, each device with an address space of its own. libvirt >= 3.4,
    https://libvirt.org/formatdomain.html#iommu-devices. caching_mode is what devices of the real machine would need
    here, and what was tried."""
    if node.machine != "q35":
        raise LabError(f"{node.name}: machine {node.machine} has no IOMMU", hint="machine: q35")
    for disk in node.disks:
        if disk.bus == "lsilogic":
            raise LabError(
                f"{node.name}: disk {disk.name}: the LSI 53C895A does not work behind an IOMMU: it reads its program "
                "from its own memory by DMA, which VT-d refuses",
                hint="bus: sata",
            )
    element = ET.SubElement(devices, "iommu", model="intel")
    ET.SubElement(element, "driver", intremap="on", caching_mode="on")


def _cpu(domain: ET.Element, node: Node, *, kvm: bool) -> None:
    if kvm:
        check = "none" if node.cpu_model == "host-passthrough" else "partial"
        ET.SubElement(domain, "cpu", mode=node.cpu_model, check=check)
        return
    # Emulation knows no host CPU; of all models only this one boots Xen with SVM, and only without SMAP
    # (QEMU 7.2: "d0v0 Unhandled: vec 14, #PF[0001]"; EPYC panics in mwait_idle_with_hints).
    cpu = ET.SubElement(domain, "cpu", mode="maximum", check="none")
    ET.SubElement(cpu, "feature", policy="disable", name="smap")
    if node.dom0:
        # Xen gives PV domains their vector registers when they first touch them: CR0.TS is set until then (of the
        # vendor that emulation shows, AMD, always; of Intel's since XSA-267 no more). QEMU's XSAVE and XRSTOR (7.2,
        # 10.0) do not heed that bit, and dom0 saves and loads what belongs to a guest: heaps and registers of its
        # programs are spoilt as soon as guests are busy. FXSAVE and FXRSTOR do heed it.
        ET.SubElement(cpu, "feature", policy="disable", name="xsave")


def _pci(parent: ET.Element, slot: int, function: int = 0) -> ET.Element:
    return ET.SubElement(
        parent, "address", type="pci", domain="0x0000", bus="0x00", slot=f"{slot:#04x}", function=f"{function:#x}"
    )


def _disks(devices: ET.Element, node: Node, wiring: Wiring) -> None:
    placed: dict[DiskBus, int] = {}
    first = 1 if wiring.install is None else 2
    for number, (disk, path) in enumerate(zip(node.disks, wiring.disks, strict=True)):
        index = placed.get(disk.bus, 0)
        placed[disk.bus] = index + 1
        _disk(devices, node, disk, path, (number, index), boot_order=first + number)
    if wiring.install is not None:
        # Before the disks, whatever is on them: this machine ends with the installation, and the next has no medium.
        _cdrom(devices, node, wiring.install.medium, format_="qcow2", boot_order=1)
        if wiring.install.volume is not None:
            _refuse_second_cdrom(node, placed)
            _cdrom(devices, node, wiring.install.volume, second=True)
    elif wiring.cdrom is not None:
        # After the disks: an empty disk falls through to the medium, an installed one boots with the medium still in.
        _cdrom(devices, node, wiring.cdrom, boot_order=len(node.disks) + 1)
    for controller in _controllers(node, placed):
        devices.append(controller)


def _controllers(node: Node, placed: dict[DiskBus, int]) -> Iterator[ET.Element]:
    """SCSI controllers as many as the disks need, and the SATA one that pc lacks. IDE and q35's SATA are built in."""
    models = _scsi_models(node)
    if len(models) > len(SCSI_SLOTS) * _FUNCTIONS:
        raise LabError(f"{node.name}: more SCSI disks than {len(SCSI_SLOTS) * _FUNCTIONS} controllers carry")
    for index, model in enumerate(models):
        controller = ET.Element("controller", type="scsi", index=str(index), model=model)
        function, slot = divmod(index, len(SCSI_SLOTS))
        address = _pci(controller, SCSI_SLOTS[slot], function)
        if function == 0 and index + len(SCSI_SLOTS) < len(models):
            address.set("multifunction", "on")
        yield controller
    if placed.get("sata") and node.machine == "pc":
        controller = ET.Element("controller", type="sata", index="0")
        _pci(controller, SATA_SLOT)
        yield controller


def _scsi_models(node: Node) -> list[DiskBus]:
    """Models of the SCSI controllers, in index order: all of one model before the other.

    Each lsilogic disk has one of its own: with two busy disks on it QEMU's 53c895a stops answering after seconds, which
    Linux tells as "No MSG IN phase after reselection" (measured, QEMU 7.2; lsisas1068 does not).
    """
    alone: list[DiskBus] = [disk.bus for disk in node.disks if disk.bus == "lsilogic"]
    together: list[DiskBus] = [disk.bus for disk in node.disks if disk.bus == "lsisas1068"]
    return alone + together[::_SAS_DISKS]


def _disk(devices: ET.Element, node: Node, disk: Disk, path: str, place: tuple[int, int], *, boot_order: int) -> None:
    number, index = place
    element = ET.SubElement(devices, "disk", type="file", device="disk")
    # unsafe: a lab's disks are thrown away, and nothing is lost but by a crash of this host. Freed and zeroed blocks
    # give their space back.
    ET.SubElement(element, "driver", name="qemu", type="qcow2", cache="unsafe", discard="unmap", detect_zeroes="unmap")
    ET.SubElement(element, "source", file=path)
    logical, physical = _BLOCK[disk.sector]
    if disk.sector != "512n":
        if logical != 512 and disk.bus in ("ide", "sata"):
            raise LabError(
                f"{node.name}: disk {disk.name}: QEMU's {disk.bus} disks have 512-byte sectors only",
                hint="sector: 512e, or bus: lsilogic or virtio",
            )
        ET.SubElement(element, "blockio", logical_block_size=str(logical), physical_block_size=str(physical))
    ET.SubElement(element, "target", dev=_device(disk.bus, number, index), bus=_LIBVIRT_BUS[disk.bus])
    _text(element, "serial", disk.name[:20])
    if disk.bus == "lsisas1068":
        # The Fusion driver shows no disk without a SAS address (measured).
        _text(element, "wwn", sas_address(node.name, disk.name))
    ET.SubElement(element, "boot", order=str(boot_order))
    _disk_address(element, node, disk, index)


def _disk_address(element: ET.Element, node: Node, disk: Disk, index: int) -> None:
    if disk.bus == "virtio":
        if index >= len(VIRTIO_SLOTS):
            raise LabError(f"{node.name}: more than {len(VIRTIO_SLOTS)} virtio disks", hint="bus: lsilogic for some")
        _pci(element, VIRTIO_SLOTS[index])
        return
    controller, bus, target, unit = 0, 0, 0, index
    if disk.bus == "lsilogic":
        controller, unit = index, 0
    elif disk.bus == "lsisas1068":
        controller, target = divmod(index, _SAS_DISKS)
        controller, unit = controller + _scsi_models(node).index("lsisas1068"), 0
    elif disk.bus == "ide":
        if node.machine == "q35" or index >= len(_IDE_UNITS):
            raise LabError(
                f"{node.name}: disk {disk.name}: machine {node.machine} has "
                + ("no IDE" if node.machine == "q35" else f"room for {len(_IDE_UNITS)} IDE disks beside the CD-ROM"),
                hint="bus: sata, or machine: pc with fewer IDE disks",
            )
        bus, unit = _IDE_UNITS[index]
    elif index >= _SATA_DISKS:
        raise LabError(f"{node.name}: more than {_SATA_DISKS} SATA disks", hint="bus: lsilogic for some")
    ET.SubElement(
        element,
        "address",
        type="drive",
        controller=str(controller),
        bus=str(bus),
        target=str(target),
        unit=str(unit),
    )


def _device(bus: DiskBus, number: int, index: int) -> str:
    """libvirt's target name, unique in the domain: sda ... sdz, sdaa. SCSI and SATA share the prefix, so they count by
    the disk's number in the node; the others by its place on their bus."""
    if bus == "ide" and index < len(_IDE_UNITS):
        channel, unit = _IDE_UNITS[index]
        return f"hd{'abcd'[2 * channel + unit]}"
    rest = 1 + (index if bus == "virtio" else number)
    letters = ""
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return ("vd" if bus == "virtio" else "sd") + letters


def _cdrom(
    devices: ET.Element, node: Node, path: str, *, format_: str = "raw", boot_order: int = 0, second: bool = False
) -> None:
    element = ET.SubElement(devices, "disk", type="file", device="cdrom")
    ET.SubElement(element, "driver", name="qemu", type=format_)
    ET.SubElement(element, "source", file=path)
    ide = node.machine == "pc"
    name = ("hdd" if second else "hdc") if ide else ("sdce" if second else "sdcd")
    ET.SubElement(element, "target", dev=name, bus="ide" if ide else "sata")
    ET.SubElement(element, "readonly")
    if boot_order:
        ET.SubElement(element, "boot", order=str(boot_order))
    bus, unit = ("1", int(second)) if ide else ("0", _SATA_DISKS - int(second))
    ET.SubElement(element, "address", type="drive", controller="0", bus=bus, target="0", unit=str(unit))


def _refuse_second_cdrom(node: Node, placed: dict[DiskBus, int]) -> None:
    bus: DiskBus = "ide" if node.machine == "pc" else "sata"
    most = (len(_IDE_UNITS) if bus == "ide" else _SATA_DISKS) - 1
    if placed.get(bus, 0) > most:
        raise LabError(
            f"{node.name}: a node that is installed has room for {most} {bus} disks beside the medium and the volume "
            "with its keys",
            hint="bus: lsilogic for some",
        )


def _nic(devices: ET.Element, node: Node, nic: Nic, ports: NicPorts, number: int) -> None:
    if number >= len(NIC_SLOTS):
        raise LabError(f"{node.name}: more than {len(NIC_SLOTS)} cards", hint="use VLANs on a trunk")
    element = ET.SubElement(devices, "interface", type="udp")
    ET.SubElement(element, "mac", address=nic.mac)
    source = ET.SubElement(element, "source", address="127.0.0.1", port=str(ports.switch))
    ET.SubElement(source, "local", address="127.0.0.1", port=str(ports.qemu))
    ET.SubElement(element, "model", type=nic.model)
    ET.SubElement(element, "rom", enabled="no")  # no network boot: its ROM costs a second at every start
    _pci(element, NIC_SLOTS[number])


def _console(devices: ET.Element, wiring: Wiring) -> None:
    serial = ET.SubElement(devices, "serial", type="unix")
    ET.SubElement(serial, "source", mode="bind", path=wiring.console_socket)
    ET.SubElement(serial, "log", file=wiring.console_log, append="on")
    ET.SubElement(serial, "target", port="0")


def _management_nic(domain: ET.Element, node: Node, wiring: Wiring) -> None:
    """The card that ssh comes in by. libvirt 9 cannot forward a port to a user-mode network, so QEMU is told."""
    commandline = ET.SubElement(domain, "qemu:commandline")
    model = _QEMU_NIC[node.management_nic]
    bus = "pcie.0" if node.machine == "q35" else "pci.0"
    forward = f"hostfwd=tcp:127.0.0.1:{wiring.ssh_port}-:22"
    for value in (
        "-netdev",
        f"user,id=management,{forward}",
        "-device",
        f"{model},netdev=management,mac={node.management_mac},bus={bus},addr={MANAGEMENT_SLOT:#x},romfile=",
    ):
        ET.SubElement(commandline, "qemu:arg", value=value)
