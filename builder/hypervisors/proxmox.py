"""A lab on Proxmox VE (KVM): calls of qm and pvesh."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from builder.errors import LabError
from builder.hypervisors.l0 import L0, Machine, Site, machines, mib
from builder.hypervisors.preparing import prepare
from builder.hypervisors.settings import Documented
from builder.hypervisors.shell import call, lib, script
from builder.model.lab import Lab, Nic
from builder.model.plan import File, Finding
from builder.model.units import GIB
from builder.render.quoting import shell

# Proxmox takes vmbr0 to vmbr4094 for bridges; the first thousand are left to people.
_FIRST, _COUNT = 1000, 3000
_PREFIX = {"lsilogic": "scsi", "sata": "sata", "ide": "ide", "virtio": "virtio"}
_IDE = (0, 1, 3)  # 2 is the CD-ROM's
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Proxmox:
    """`nestlab export --to proxmox`."""

    l0 = L0(
        target="proxmox", title="Proxmox VE",
        site=Site(folder="/var/lib/vz/nestlab/{lab}", uplink="vmbr0", storage="local-lvm"),
        buses={"lsilogic": 7, "sata": 6, "ide": len(_IDE), "virtio": 16},
        nics={"e1000": 32, "e1000e": 32, "rtl8139": 32, "virtio": 32}, image=("qcow2", "", "qcow2"), own_devices=True,
        iommu=True,
    )  # fmt: skip

    def kind(self, site: Site) -> str:  # noqa: ARG002 - the protocol's
        return "kvm"

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:  # noqa: ARG002 - the protocol's
        """Sizes are whole GiB there, names are those of hosts, and VT-d sees one device in all cards."""
        sizes = [
            Finding(code="l0-choice", severity="error", where=node.name, hint="write the size in whole GiB",
                    message=f"{node.name}: disk {disk.name}: Proxmox VE makes disks of whole GiB")
            for node in lab.nodes for disk in node.disks if disk.size % GIB
        ]  # fmt: skip
        names = [
            Finding(code="l0-choice", severity="error", where=machine.node.name, hint="give lab or node a shorter name",
                    message=f"{machine.node.name}: {machine.name} is longer than a name on Proxmox VE may be (63)")
            for machine in machines(lab) if len(machine.name) > 63
        ]  # fmt: skip
        behind = [
            # qemu-server's pve-q35-4.0.cfg: pci.0, which every card is on, is a bridge behind another.
            Finding(code="l0-lost", severity="warning", where=node.name,
                    hint="give the machine a device of the host with `qm set --hostpci0 BDF,pcie=1`",
                    message=f"{node.name}: its cards are all behind one PCI bridge on Proxmox VE, whose address VT-d "
                    "sees for each of them: no card can be given to a guest by itself")
            for node in lab.nodes if node.iommu
        ]  # fmt: skip
        return (*sizes, *names, *behind)

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        nodes = machines(lab)
        return (*_scripts(lab, site, nodes), lib("nesting.sh", "proxmox.sh"), *prepare(nodes, self.l0.image))


def bridge(lab: Lab, network: str) -> str:
    """The same name each time. Networks of one lab have different ones; what others made, its comment tells."""
    taken: dict[int, str] = {}
    for each in lab.networks:
        number = int(hashlib.sha256(f"{lab.name}\0{each.name}".encode()).hexdigest()[:8], 16) % _COUNT
        while number in taken:
            number = (number + 1) % _COUNT
        taken[number] = each.name
    return next(f"vmbr{_FIRST + number}" for number, name in taken.items() if name == network)


def machine_calls(machine: Machine, lab: Lab, site: Site) -> list[str]:
    """The calls that make one machine, in order. Raises LabError for names that an option of qm cannot carry."""
    node = machine.node
    documented = Documented("kvm", node.system)
    disks = _places(site.bus or disk.bus for disk in node.disks)
    order = [*disks[:1], *(["ide2"] if machine.installs else [])]
    machine_type = f"{node.machine},viommu={documented['proxmox.viommu']}" if node.iommu else node.machine
    options: list[object] = [
        "--ostype", "l26", "--machine", machine_type, "--bios", "ovmf" if node.firmware == "uefi" else "seabios",
        "--cpu", documented["proxmox.cpu"],
        "--sockets", 1, "--cores", node.cpus, "--memory", mib(node.memory), "--balloon", 0,
        "--scsihw", documented["proxmox.scsihw"], "--serial0", "socket",
    ]  # fmt: skip
    if node.firmware == "uefi":
        options += ["--efidisk0", f"{_word(site.storage)}:1,efitype=4m,pre-enrolled-keys=0"]
    lines = [call("begin", machine.name, *options)]
    for number, (place, disk) in enumerate(zip(disks, machine.disks, strict=True)):
        size = f"{_word(site.storage)}:{machine.disk_size(number) // GIB}"
        image = f"{_word(site.storage)}:0,import-from={_path(site.folder)}/{disk}.qcow2"
        lines.append(call("give", f"--{place}", image if machine.from_image else size))
    if machine.installs:
        lines.append(call("give", "--ide2", f"{_path(site.folder)}/{machine.medium},media=cdrom"))
    cards = [
        (node.management_nic, node.management_mac, f"bridge={_word(site.uplink)}"),
        *((nic.model, nic.mac, _port(lab, nic)) for nic in node.nics),
    ]
    for number, (model, mac, place) in enumerate(cards):
        lines.append(call("give", f"--net{number}", f"{site.nic or model}={mac.upper()},{place}"))
    return [*lines, call("give", "--boot", f"order={';'.join(order)}"), "ready"]


def _places(buses: Iterable[str]) -> list[str]:
    """Proxmox's names of the disks, counted on each bus."""
    free = {bus: iter(_IDE if bus == "ide" else range(32)) for bus in _PREFIX}
    return [f"{_PREFIX[bus]}{next(free[bus])}" for bus in buses]


def _port(lab: Lab, nic: Nic) -> str:
    """The card's place: an access port has a tag, a trunk lists its own. Proxmox cards take the bridge's MTU."""
    tag = f",tag={nic.vlan}" if nic.vlan is not None else ""
    trunks = f",trunks={';'.join(str(vlan) for vlan in nic.trunk)}" if nic.trunk else ""
    return f"bridge={bridge(lab, nic.network)}{tag}{trunks}"


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise LabError(f"{text!r} is not a name of Proxmox VE", hint="use letters, digits and _ . -")
    return text


def _path(text: str) -> str:
    """qm reads commas in a value as the next option."""
    if "," in text:
        raise LabError(f"{text!r} cannot stand in an option of qm: it holds a comma", hint="use another folder")
    return text


def _scripts(lab: Lab, site: Site, nodes: tuple[Machine, ...]) -> list[File]:
    mine = [f"LAB={shell(lab.name)}"]
    create = [*mine, "nesting"]
    create += [call("network", bridge(lab, network.name), network.mtu, network.name) for network in lab.networks]
    for machine in nodes:
        create += ["", *machine_calls(machine, lab, site)]
    installing = [machine.name for machine in nodes if machine.installs]
    return [
        script("create.sh", f"Makes bridges and machines of the lab {lab.name}.", create),
        script("start.sh", "Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first."
               , [call("start", machine.name) for machine in nodes]),
        script("finish.sh", "For installers that switch the machine off at their end: waits for that, takes the "
               "medium out,\nand starts the node again. After a reboot nothing has to be done.",
               [call("finish", name) for name in installing]),
        script("eject.sh", "Takes the media out.", [call("eject", name) for name in installing]),
        script("remove.sh", "Removes machines with their disks, and bridges. Media are kept.",
               [*mine, *(call("remove", machine.name) for machine in reversed(nodes)),
                *(call("unnetwork", bridge(lab, network.name), network.name) for network in lab.networks)]),
    ]  # fmt: skip
