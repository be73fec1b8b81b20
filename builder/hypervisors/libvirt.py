"""A lab under a libvirt of its own (KVM): the domain that `up` uses, with libvirt's networks in place of nestlab's."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET

from builder.hypervisors.kvm import MANAGEMENT_SLOT, QEMU_NAMESPACE, domain_xml
from builder.hypervisors.l0 import L0, Machine, Site, bridge_name, machines, network_name, port, segments
from builder.hypervisors.linux import accesses, unaccesses
from builder.hypervisors.preparing import prepare
from builder.hypervisors.shell import call, here, lib, script
from builder.model.lab import Lab, Nic, Node
from builder.model.plan import File, Finding
from builder.model.runtime import NicPorts, UefiFirmware, Wiring

# What remove.sh asks for. It is not the mark of running labs: nothing of nestlab's will reap the domain.
EXPORT_MARK = "urn:nestlab:export:1"
_OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")


class Libvirt:
    """`nestlab export --to libvirt`."""

    l0 = L0(
        target="libvirt", title="libvirt (KVM)",
        site=Site(folder="/var/lib/libvirt/images/{lab}", uplink="default"),
        buses={"lsilogic": 28, "lsisas1068": 28, "ide": 3, "sata": 5, "virtio": 10},
        nics={"e1000": 13, "e1000e": 13, "rtl8139": 13, "virtio": 13}, image=("qcow2", "", "qcow2"), own_devices=True,
        sectors=True, iommu=True,
    )  # fmt: skip

    def kind(self, site: Site) -> str:  # noqa: ARG002 - the protocol's
        return "kvm"

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:  # noqa: ARG002 - loading has looked
        return ()

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        nodes = machines(lab)
        domains = [File(path=f"{m.node.name}/domain.xml", content=exported_domain(m, lab, site)) for m in nodes]
        networks = [
            File(path=f"networks/{network.name}.xml", content=network_xml(lab, network.name, network.mtu))
            for network, _ in segments(lab)
        ]
        library = lib("bridges.sh", "nesting.sh", "libvirt.sh")
        return (*_scripts(lab, site, nodes), library, *prepare(nodes, self.l0.image), *networks, *domains)


def network_xml(lab: Lab, name: str, mtu: int) -> str:
    """A network without address or way out: frames stay among the nodes."""
    network = ET.Element("network")
    ET.SubElement(network, "name").text = network_name(lab, name)
    ET.SubElement(network, "bridge", name=bridge_name(lab, name), stp="off", delay="0")
    ET.SubElement(network, "mtu", size=str(mtu))
    return _text(network)


def exported_domain(machine: Machine, lab: Lab, site: Site) -> str:
    """The domain as libvirt's own daemon runs it."""
    node = _with_choices(machine.node, site)
    root = ET.fromstring(domain_xml(node, _wiring(machine, lab, site)))  # noqa: S314 - it was made a moment ago
    for element in root.findall(f"{{{QEMU_NAMESPACE}}}commandline"):
        root.remove(element)
    metadata = root.find("metadata")
    assert metadata is not None
    metadata.clear()
    ET.SubElement(metadata, "nestlab:export", {"xmlns:nestlab": EXPORT_MARK, "lab": lab.name})
    devices = root.find("devices")
    assert devices is not None
    for nic, interface in zip(node.nics, devices.findall("interface"), strict=True):
        _connect(interface, lab, nic)
    management = _management(node, site)
    console = devices.find("serial")
    assert console is not None
    at = list(devices).index(console)
    devices.remove(console)
    devices.insert(at, _console())
    first = next((n for n, each in enumerate(devices) if each.tag == "interface"), at)
    devices.insert(first, management)
    for driver in devices.iterfind("disk[@device='disk']/driver"):
        driver.set("cache", "none")  # these disks are meant to last, other than those of `up`
    return _text(root)


def _with_choices(node: Node, site: Site) -> Node:
    changes: dict[str, object] = {}
    if site.bus:
        changes["disks"] = tuple(disk.model_copy(update={"bus": site.bus}) for disk in node.disks)
    if site.nic:
        changes["management_nic"] = site.nic
        changes["nics"] = tuple(nic.model_copy(update={"model": site.nic}) for nic in node.nics)
    return node.model_copy(update=changes)


def _wiring(machine: Machine, lab: Lab, site: Site) -> Wiring:
    uefi = None
    if machine.node.firmware == "uefi":
        code, template = _OVMF
        uefi = UefiFirmware(code=code, variables=f"{site.folder}/{machine.name}-vars.fd", template=template)
    return Wiring(
        lab=lab.name, domain=machine.name, accelerator="kvm", uefi=uefi,
        uuid=_uuid(machine.name),
        disks=tuple(f"{site.folder}/{disk}.qcow2" for disk in machine.disks),
        cdrom=f"{site.folder}/{machine.medium}" if machine.installs else None,
        console_log="/unused", console_socket="/unused", ssh_port=1,
        nics=tuple(NicPorts(qemu=1, switch=1) for _ in machine.node.nics),
    )  # fmt: skip


def _uuid(name: str) -> str:
    """The same for the same name: version 8 of RFC 9562, which leaves all other bits to their maker."""
    digest = hashlib.sha256(f"nestlab:{name}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def _connect(interface: ET.Element, lab: Lab, nic: Nic) -> None:
    source = interface.find("source")
    assert source is not None
    source.clear()
    if nic.vlan is None:
        interface.set("type", "network")
        source.set("network", network_name(lab, nic.network))
    else:
        interface.set("type", "bridge")
        source.set("bridge", port(lab, nic))


def _management(node: Node, site: Site) -> ET.Element:
    interface = ET.Element("interface", type="network")
    ET.SubElement(interface, "mac", address=node.management_mac)
    ET.SubElement(interface, "source", network=site.uplink)
    ET.SubElement(interface, "model", type=node.management_nic)
    ET.SubElement(interface, "rom", enabled="no")
    ET.SubElement(interface, "address", type="pci", domain="0x0000", bus="0x00", slot=f"{MANAGEMENT_SLOT:#04x}",
                  function="0x0")  # fmt: skip
    return interface


def _console() -> ET.Element:
    """What `virsh console` attaches to."""
    serial = ET.Element("serial", type="pty")
    ET.SubElement(serial, "target", port="0")
    return serial


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _scripts(lab: Lab, site: Site, nodes: tuple[Machine, ...]) -> list[File]:
    create = ["nesting", call("mkdir", "-p", "--", site.folder)]
    create += [f"{call('network', network_name(lab, each.name))} {here(f'networks/{each.name}.xml')}"
               for each in lab.networks]  # fmt: skip
    # Networks of libvirt have no access ports; VLANs get bridges of their own over the network's.
    create += accesses(lab)
    start, finish, eject, remove, discard = [], [], [], [], []
    for machine in nodes:
        for number, disk in enumerate(machine.disks):
            path = f"{site.folder}/{disk}.qcow2"
            create.append(call("present", path) if machine.from_image
                          else call("blank", path, machine.disk_size(number)))  # fmt: skip
            discard.append(call("rm", "-f", "--", path))
        if machine.installs:
            create.append(call("present", f"{site.folder}/{machine.medium}"))
            drive = "hdc" if machine.node.machine == "pc" else "sdcd"
            eject.append(call("eject", machine.name, drive))
            finish.append(call("finish", machine.name, drive))
        create.append(f"{call('define', machine.name)} {here(f'{machine.node.name}/domain.xml')}")
        start.append(call("start", machine.name))
        remove.append(call("remove", machine.name))
    networks = [call("unnetwork", network_name(lab, each.name)) for each in lab.networks]
    return [
        script("create.sh", f"Makes networks, disks and domains of the lab {lab.name}.", create),
        script("start.sh", "Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first."
               , start),
        script("finish.sh", "For installers that switch the machine off at their end: waits for that, takes the "
               "medium out,\nand starts the node again. After a reboot nothing has to be done.", finish),
        script("eject.sh", "Takes the media out.", eject),
        script("remove.sh", "Removes domains, disks and networks. Media are kept.",
               [*reversed(remove), *discard, *unaccesses(lab), *networks]),
    ]  # fmt: skip
