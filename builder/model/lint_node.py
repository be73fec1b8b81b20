"""Findings about one node with all its values: what its system needs, what its firmware can start from, how many
cards and disks its controllers carry. Each rule says where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from builder.model.lab import DiskBus, Node, RaidLevel, medium_variable
from builder.model.plan import SystemTraits
from builder.model.report import Report
from builder.model.subject import Subject, repeated
from builder.model.units import MIB, show_size
from builder.model.words import shorten, suggest

# What mdadm's users can install on: anaconda (blivet) and YaST refuse less, and mdadm itself for 5 and 6.
RAID_LEAST: Mapping[RaidLevel, int] = {0: 2, 1: 2, 5: 3, 6: 4, 10: 4}

# Disks that a node's controllers carry. IDE has four places and SATA six, of which the CD-ROM drive keeps one, so that
# nothing moves when a medium goes in or out. A SCSI controller takes seven (the eighth id is its own); four of them
# have a PCI slot, whatever their model. A virtio disk or a card takes a slot each.
BUS_MOST: Mapping[DiskBus, int] = {"ide": 3, "sata": 5, "lsilogic": 28, "lsisas1068": 28, "virtio": 10}
SCSI_EACH = 7
SCSI_CONTROLLERS = 4
CARDS_MOST = 12

# What must stay for Xen itself: its heap and reserves, and about 1/32 of the whole for the frame table and for what it
# keeps for each domain; never less than 256 MiB.
XEN_LEAST = 256 * MIB
XEN_HEAP = 128 * MIB
XEN_SHARE = 32

# Arguments of the hypervisor that have a key of their own, by which they must be set.
NAMED = {
    "dom0_mem": "dom0_memory",
    "dom0_max_vcpus": "dom0_max_vcpus",
    "dom0_vcpus_pin": "dom0_vcpus_pin",
    "com1": "com1",
    "console": "console",
    "loglvl": "loglvl",
    "guest_loglvl": "guest_loglvl",
    "noreboot": "noreboot",
}


def lint_node(node: Node, traits: SystemTraits, report: Report) -> None:
    """Add everything that is wrong with the node in itself to the report."""
    subject = Subject(node, traits, report)
    for rule in _RULES:
        rule(subject)


def _release(it: Subject) -> None:
    if it.node.release not in it.traits.releases:
        it.add(
            "lab-unknown-release",
            f"{it.traits.title} has no release {shorten(it.node.release)} here",
            f"releases: {', '.join(it.traits.releases)}",
            "release",
        )


def _source(it: Subject) -> None:
    source = it.node.source
    if source.kind not in it.traits.sources:
        other = "{medium: FILE}" if "medium" in it.traits.sources else "image"
        it.add(
            "lab-source", f"{it.traits.title} does not start from {_a(source.kind)}", f"write source: {other}", "source"
        )
    elif source.kind == "medium" and not it.says("source") and not it.report.inherited((*it.path, "source")):
        it.add(
            "lab-source",
            f"{it.traits.title} is installed from a medium, and none is named",
            "add source: {medium: FILE.iso}; the path is relative to the lab file. source: medium takes the one that "
            f"{medium_variable(it.node.system, it.node.release)} names",
            "source",
        )


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _minimum(it: Subject) -> None:
    node = it.node
    least = it.traits.minimum_of(node.release)
    if node.memory < least.memory:
        it.add(
            "lab-memory-minimum",
            f"memory {show_size(node.memory)} is below the {show_size(least.memory)} that {it.traits.title} needs",
            f"at least {show_size(least.memory)}: {least.source}",
            "memory",
        )
    if not node.disks:
        if least.disk:
            it.add(
                "lab-no-disk",
                f"{it.traits.title} needs a disk",
                f"add disks: [{{size: {show_size(least.disk)}}}]",
                "disks",
            )
    elif node.disks[0].size < least.disk:
        size = show_size(node.disks[0].size)
        it.add(
            "lab-disk-minimum",
            f"disk {node.disks[0].name} of {size} is below the {show_size(least.disk)} that {it.traits.title} needs",
            f"at least {show_size(least.disk)}: {least.source}; disks are thin, so a large one costs nothing",
            "disks", 0, "size",
        )  # fmt: skip


def _disks(it: Subject) -> None:
    node = it.node
    for index, name in repeated([disk.name for disk in node.disks]):
        it.add(
            "lab-duplicate-disk", f"two disks are called {name}", "give each a name of its own", "disks", index, "name"
        )
    for bus, count in Counter(disk.bus for disk in node.disks).items():
        most = BUS_MOST[bus]
        if count > most:
            last = [index for index, disk in enumerate(node.disks) if disk.bus == bus][most]
            why = " beside the CD-ROM drive" if bus in ("ide", "sata") else ""
            # Under Xen the LSI controller is the documented one, and no dom0 is sure to know virtio; elsewhere it is
            # the other way round.
            other = "sata" if bus == "lsilogic" else _scsi(node) if it.traits.xen else "virtio"
            it.add(
                "lab-bus-full",
                f"{count} disks on {bus}, which carries {most}{why}",
                f"put some on another bus, such as bus: {other}",
                "disks", last,
            )  # fmt: skip
    scsi = Counter(disk.bus for disk in node.disks if disk.bus in ("lsilogic", "lsisas1068"))
    if len(scsi) == 2 and sum(-(-count // SCSI_EACH) for count in scsi.values()) > SCSI_CONTROLLERS:
        it.add(
            "lab-bus-full",
            f"{sum(scsi.values())} SCSI disks need more than {SCSI_CONTROLLERS} controllers of {SCSI_EACH} disks",
            "put all of them on one model of controller, or fewer disks",
            "disks",
        )
    for index, disk in enumerate(node.disks):
        if disk.bus == "ide" and node.machine == "q35":
            it.add(
                "lab-bus-machine",
                f"disk {disk.name}: machine q35 has no IDE controller",
                "use bus: sata" + ("" if node.iommu else ", or machine: pc"),
                "disks", index, "bus",
            )  # fmt: skip
        if disk.sector == "4Kn" and disk.bus in ("ide", "sata"):
            it.add(
                "lab-sector",
                f"disk {disk.name}: a drive on {disk.bus} has 512-byte logical sectors in QEMU, never 4Kn",
                f"use sector: 512e, or bus: {_scsi(node)} or virtio",
                "disks", index, "sector",
            )  # fmt: skip


def _scsi(node: Node) -> DiskBus:
    """The SCSI controller to propose."""
    return "lsisas1068" if node.iommu else "lsilogic"


def _iommu(it: Subject) -> None:
    """QEMU has VT-d on q35 alone: "only supported by -machine q35" (qemu(1), -device intel-iommu). Behind it the LSI
    53C895A is dead: it fetches its program from its own memory by DMA, an address that no table of VT-d has (measured,
    QEMU 7.2: DMA Read fault at its BAR, then every SCSI command aborted). What else was tried, works: AHCI, e1000,
    e1000e."""
    node = it.node
    if not node.iommu:
        return
    if node.machine != "q35":
        it.add(
            "lab-iommu-machine",
            f"machine {node.machine} has no IOMMU",
            "leave machine out (a node with iommu: is a q35), or remove iommu:",
            "machine",
        )
    for index, disk in enumerate(node.disks):
        if disk.bus == "lsilogic":
            it.add(
                "lab-iommu-lsilogic",
                f"disk {disk.name}: lsilogic does not work behind an IOMMU: this controller reads its program from its "
                "own memory by DMA, which VT-d refuses",
                "leave bus out (a node with iommu: then gets sata)",
                "disks", index, "bus",
            )  # fmt: skip


def _boot_disk(it: Subject) -> None:
    node = it.node
    if not node.disks:
        return
    boot = node.disks[0]
    if node.firmware == "uefi" and boot.bus == "lsilogic":
        it.add(
            "lab-uefi-lsilogic",
            f"disk {boot.name}: OVMF has no driver for lsilogic and cannot start from it",
            f"leave bus out (a UEFI node then gets {it.traits.usual_bus('uefi', node.machine, iommu=node.iommu)}), or "
            "use firmware: bios",
            "disks", 0, "bus",
        )  # fmt: skip
    if boot.sector != "4Kn":
        return
    if node.firmware == "bios":
        it.add(
            "lab-4kn-boot",
            f"disk {boot.name}: a BIOS reads 512-byte sectors only and cannot start from a 4Kn disk",
            "use sector: 512e for the first disk, or firmware: uefi with an installation medium",
            "disks", 0, "sector",
        )  # fmt: skip
    elif node.source.kind == "image" and node.source.path is None:
        it.add(
            "lab-4kn-boot",
            f"disk {boot.name}: the built image has a partition table for 512-byte sectors",
            "use sector: 512e for the first disk, or install from a medium",
            "disks", 0, "sector",
        )  # fmt: skip


def _raid(it: Subject) -> None:
    node = it.node
    if node.raid and node.source.kind == "image":
        it.add(
            "lab-raid-image",
            "arrays are made by a system's installer, and this node starts from a ready image",
            "remove raid:, or install from a medium with source: {medium: FILE.iso}",
            "raid",
        )
    for index, name in repeated([array.name for array in node.raid]):
        it.add("lab-duplicate-array", f"two arrays are called {name}", "give each a name", "raid", index, "name")
    known = [disk.name for disk in node.disks]
    owner: dict[str, str] = {}
    for index, array in enumerate(node.raid):
        least = RAID_LEAST[array.level]
        if len(set(array.disks)) < least:
            it.add(
                "lab-raid-disks",
                f"array {array.name}: RAID {array.level} needs {least} disks, and {len(set(array.disks))} are named",
                f"name {least} disks of this node in disks:",
                "raid", index, "disks",
            )  # fmt: skip
        for at, disk in enumerate(array.disks):
            where = ("raid", index, "disks", at)
            if disk not in known:
                it.add(
                    "lab-raid-unknown-disk",
                    f"array {array.name}: the node has no disk {shorten(disk)}",
                    suggest(disk, known, kind="disks"),
                    *where,
                )
            elif owner.get(disk) == array.name and disk in array.disks[:at]:
                it.add("lab-raid-repeated-disk", f"array {array.name} names disk {disk} twice", "name it once", *where)
            elif disk in owner:
                it.add(
                    "lab-raid-shared-disk",
                    f"disk {disk} is in two arrays, {owner[disk]} and {array.name}",
                    "a whole disk belongs to one array; add another disk",
                    *where,
                )
            owner.setdefault(disk, array.name)


def _nics(it: Subject) -> None:
    if len(it.node.nics) > CARDS_MOST:
        it.add(
            "lab-cards-most",
            f"{len(it.node.nics)} cards, and {CARDS_MOST} beside the management card fit",
            "carry several networks over one card as a trunk of VLANs",
            "networks", CARDS_MOST,
        )  # fmt: skip
    for index, nic in enumerate(it.node.nics):
        where = ("networks", index)
        if nic.vlan is not None and nic.trunk:
            it.add(
                "lab-vlan-trunk",
                f"card {index + 1} is an access port (vlan) and a trunk at once",
                "keep vlan: for untagged frames of one VLAN, or trunk: for tagged frames",
                *where, "trunk",
            )  # fmt: skip
        for at, vlan in repeated(list(nic.trunk)):
            it.add("lab-trunk-repeated", f"VLAN {vlan} is in the trunk twice", "name it once", *where, "trunk", at)
        if 1 in nic.trunk:
            it.add(
                "lab-trunk-native",
                "VLAN 1 is what untagged frames of a trunk belong to; it cannot be tagged as well",
                "remove 1 from the trunk and put its addresses under addresses:",
                *where, "trunk", nic.trunk.index(1),
            )  # fmt: skip
        for vlan in nic.vlan_addresses:
            if vlan not in nic.trunk:
                carried = f"trunk: [{', '.join(map(str, (*nic.trunk, vlan)))}]"
                it.add(
                    "lab-vlan-address",
                    f"card {index + 1} has addresses on VLAN {vlan}, which it does not carry tagged",
                    f"write {carried}" if nic.vlan is None else "put them under addresses:",
                    *where, "vlan_addresses", str(vlan),
                )  # fmt: skip


def _xen(it: Subject) -> None:
    node, xen = it.node, it.node.xen
    if not it.traits.xen:
        if it.says("xen"):
            it.add("lab-no-xen", f"{it.traits.title} does not run Xen", "remove xen: from this node", "xen")
        return
    if xen.dom0_memory > node.memory:
        it.add(
            "lab-dom0-memory",
            f"dom0_memory {show_size(xen.dom0_memory)} is more than the node's memory of {show_size(node.memory)}",
            "give the node more memory, or dom0 less",
            "xen", "dom0_memory",
        )  # fmt: skip
    elif node.memory - xen.dom0_memory < (needed := max(XEN_LEAST, XEN_HEAP + node.memory // XEN_SHARE)):
        rest = node.memory - xen.dom0_memory
        it.add(
            "lab-dom0-memory",
            f"dom0_memory {show_size(xen.dom0_memory)} of {show_size(node.memory)} leaves "
            f"{show_size(rest) if rest else 'nothing'} for Xen itself and for guests",
            f"leave {-(-needed // MIB)}MiB or more",
            "xen", "dom0_memory",
        )  # fmt: skip
    if xen.dom0_max_vcpus > node.cpus:
        it.add(
            "lab-dom0-vcpus",
            f"dom0_max_vcpus is {xen.dom0_max_vcpus}, and the node has {node.cpus} cpus",
            f"write {node.cpus} or less",
            "xen", "dom0_max_vcpus",
        )  # fmt: skip
    for argument in xen.arguments:
        key = NAMED.get(argument.partition("=")[0])
        if key is not None:
            it.add(
                "lab-argument-named",
                f"{shorten(argument)} has a key of its own",
                f"set {key} under xen:",
                "xen",
                "arguments",
            )
    for index, device in repeated(list(xen.pciback_hide)):
        it.add("lab-pciback-repeated", f"{device} is hidden twice", "name it once", "xen", "pciback_hide", index)


_RULES: tuple[Callable[[Subject], None], ...] = (
    _release, _source, _minimum, _disks, _iommu, _boot_disk, _raid, _nics, _xen,
)  # fmt: skip
