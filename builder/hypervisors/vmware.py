"""A lab under VMware: .vmx files, and the commands of an ESXi host or of Workstation on Linux."""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.hypervisors.l0 import L0, Machine, Site, bridge_name, machines, mib, network_name, segments
from builder.hypervisors.preparing import prepare
from builder.hypervisors.settings import Documented
from builder.hypervisors.shell import call, here, lib, script
from builder.model.lab import Lab, Nic
from builder.model.plan import File, Finding
from builder.render.quoting import vmx_string

_ALL_TAGS = 4095
_FIRST_VMNET = 2  # 0 is bridged, 1 host-only and 8 NAT wherever Workstation was installed
_TAKEN_VMNETS = (8,)
_GUEST_OS = "centos7-64"
_PER_CONTROLLER = {"lsisas1068": ("scsi0", (*range(7), *range(8, 16))), "nvme": ("nvme0", tuple(range(15)))}


class Vmx:
    """`nestlab export --to vmx`: ESXi, or Workstation with `--l0 workstation`."""

    l0 = L0(
        target="vmx", title="VMware",
        site=Site(folder="/vmfs/volumes/datastore1/{lab}", uplink="vSwitch0"),
        buses={bus: len(units) for bus, (_, units) in _PER_CONTROLLER.items()},
        nics={"e1000": 10, "vmxnet3": 10}, releases=("esxi", "workstation"), iommu=True,
        # The form that OVF carries, which both products import.
        image=("vmdk", "subformat=streamOptimized,adapter_type=lsilogic", "import.vmdk"),
    )  # fmt: skip

    def kind(self, site: Site) -> str:
        return site.release if site.release in self.l0.releases else "esxi"

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:
        found = []
        if self.kind(site) == "workstation" and site.folder.startswith("/vmfs/"):
            message = "Workstation has no datastores: say with --at where the lab is to be"
            found.append(Finding(code="l0-choice", severity="error", message=message, hint="--at /home/me/vmware/lab"))
        for node in lab.nodes:
            if node.cpus % 2:
                found.append(Finding(
                    code="l0-cpus", severity="warning", where=node.name, hint="give an even number of cpus",
                    message=f"{node.name}: {node.cpus} cpus cannot be spread over the two documented sockets; it gets "
                    "one socket",
                ))  # fmt: skip
            tagged = any(nic.vlan is not None for nic in node.nics)
            if tagged and self.kind(site) == "workstation":
                found.append(Finding(code="l0-vlan", severity="error", where=node.name,
                    hint="give the card `trunk:` and tag in the guest",
                    message=f"{node.name}: Workstation's networks have no access ports for VLANs"))  # fmt: skip
        return tuple(found)

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        nodes, kind = machines(lab), self.kind(site)
        files = [File(path=f"{m.node.name}/{m.name}.vmx", content=vmx(m, site, lab, kind)) for m in nodes]
        return (*_scripts(lab, site, nodes, kind), lib("vmware.sh", f"{kind}.sh"), *prepare(nodes, self.l0.image),
                *files)  # fmt: skip


def vmx(machine: Machine, site: Site, lab: Lab, kind: str) -> str:
    """The .vmx file of a node. Disks are named relative to it."""
    node = machine.node
    documented = Documented(kind, node.system)
    keys: list[tuple[str, object]] = [
        (".encoding", "UTF-8"),
        ("config.version", 8),
        ("virtualHW.version", _hardware(machine, site, documented)),
        ("displayName", machine.name),
        ("annotation", f"{node.name} of the lab {lab.name}. Made by nestlab."),
        ("guestOS", _GUEST_OS),
        ("memsize", mib(node.memory)),
        ("numvcpus", node.cpus),
        ("cpuid.coresPerSocket", _cores(node.cpus, int(documented["vmx.sockets"]))),
        ("vhv.enable", documented["vmx.vhv.enable"]),
        ("vpmc.enable", documented["vmx.vpmc.enable"]),
    ]
    if node.iommu:
        keys.append(("vvtd.enable", documented["vmx.vvtd.enable"]))
    if kind == "workstation":
        keys.append(("hypervisor.cpuid.v0", documented["vmx.hypervisor.cpuid.v0"]))
    if node.firmware == "uefi":
        keys.append(("firmware", "efi"))
    # The disk first: an empty one falls through to the medium.
    keys += [("bios.bootOrder", "hdd,cdrom"), *_bridges(), *_disks(machine, site, documented)]
    keys += [*_cards(machine, site, lab, kind, documented), *_serial(machine)]
    return "".join(f"{key} = {vmx_string(value)}\n" for key, value in keys)


def _hardware(machine: Machine, site: Site, documented: Documented) -> str:
    """The first version that has everything."""
    extra = (".nvme" if site.bus == "nvme" else "", ".iommu" if machine.node.iommu else "")
    return str(max(int(documented[f"vmx.virtualHW.version{each}"]) for each in extra))


def _cores(cpus: int, sockets: int) -> int:
    return cpus // sockets if cpus % sockets == 0 else cpus


def _bridges() -> Iterator[tuple[str, object]]:
    """Without these PCI bridges a machine has no slots for its cards."""
    yield "pciBridge0.present", "TRUE"
    for number in range(4, 8):
        yield f"pciBridge{number}.present", "TRUE"
        yield f"pciBridge{number}.virtualDev", "pcieRootPort"
        yield f"pciBridge{number}.functions", 8


def _disks(machine: Machine, site: Site, documented: Documented) -> Iterator[tuple[str, object]]:
    bus = site.bus or documented["disks.bus"]
    controller, units = _PER_CONTROLLER[bus]
    if machine.disks:
        yield f"{controller}.present", "TRUE"
        if controller.startswith("scsi"):
            yield f"{controller}.virtualDev", bus
    for unit, disk in zip(units, machine.disks, strict=False):
        yield f"{controller}:{unit}.present", "TRUE"
        if controller.startswith("scsi"):
            yield f"{controller}:{unit}.deviceType", "scsi-hardDisk"
        yield f"{controller}:{unit}.fileName", f"{disk}.vmdk"
    if machine.installs:
        yield "sata0.present", "TRUE"
        yield "sata0:0.present", "TRUE"
        yield "sata0:0.deviceType", "cdrom-image"
        yield "sata0:0.fileName", f"{site.folder}/{machine.medium}"
        yield "sata0:0.startConnected", "TRUE"


def _cards(machine: Machine, site: Site, lab: Lab, kind: str, documented: Documented) -> Iterator[tuple[str, object]]:
    node = machine.node
    model = site.nic or documented["management_nic"]
    cards = [(node.management_mac, _uplink(lab, site, kind)),
             *((nic.mac, _network(lab, nic, kind)) for nic in node.nics)]  # fmt: skip
    for number, (mac, network) in enumerate(cards):
        card = f"ethernet{number}"
        yield f"{card}.present", "TRUE"
        yield f"{card}.virtualDev", model
        for key, value in network:
            yield f"{card}.{key}", value
        yield f"{card}.addressType", "static"
        yield f"{card}.address", mac
        # Addresses outside VMware's own range are refused otherwise.
        yield f"{card}.checkMACAddress", "FALSE"
        if kind == "workstation":
            yield f"{card}.noPromisc", documented["vmx.ethernet.noPromisc"]


def _uplink(lab: Lab, site: Site, kind: str) -> list[tuple[str, str]]:
    if kind == "esxi":
        return [("networkName", _management(lab))]
    if re.fullmatch(r"vmnet[0-9]{1,3}", site.uplink):
        return [("connectionType", "custom"), ("vnet", site.uplink)]
    return [("connectionType", "nat")]


def _network(lab: Lab, nic: Nic, kind: str) -> list[tuple[str, str]]:
    if kind == "esxi":
        return [("networkName", _group(lab, nic))]
    return [("connectionType", "custom"), ("vnet", vmnet(lab, nic.network))]


def vmnet(lab: Lab, network: str) -> str:
    """Workstation's own network for a lab network: counted in the order of the lab file."""
    free = [number for number in range(_FIRST_VMNET, 255) if number not in _TAKEN_VMNETS]
    return f"vmnet{free[[each.name for each in lab.networks].index(network)]}"


def _management(lab: Lab) -> str:
    return f"nestlab-{lab.name}"


def _group(lab: Lab, nic: Nic) -> str:
    """Port groups of one network: one that passes tags on, and one for each VLAN with access ports."""
    return network_name(lab, nic.network) + (f"-{nic.vlan}" if nic.vlan is not None else "")


def _serial(machine: Machine) -> Iterator[tuple[str, object]]:
    yield "serial0.present", "TRUE"
    yield "serial0.fileType", "file"
    yield "serial0.fileName", f"{machine.name}-console.log"
    yield "serial0.yieldOnMsrRead", "TRUE"
    # A start over the log of an earlier one asks, and waits for the answer: Replace or Append.
    yield "answer.msg.serial.file.open", "Append"


def _networks(lab: Lab, site: Site, kind: str) -> tuple[list[str], list[str]]:
    """Calls that make the lab's networks, and those that remove them."""
    if kind == "workstation":
        return [call("network", each.name, vmnet(lab, each.name)) for each in lab.networks], []
    make = [call("portgroup", _management(lab), site.uplink, 0)]
    drop = [call("unportgroup", _management(lab), site.uplink)]
    for network, vlans in segments(lab):
        switch, group = bridge_name(lab, network.name), network_name(lab, network.name)  # a vSwitch's name is short
        groups = [(group, _ALL_TAGS), *((f"{group}-{vlan}", vlan) for vlan in vlans)]
        make += [call("vswitch", switch, network.mtu), *(call("portgroup", g, switch, vlan) for g, vlan in groups)]
        drop += [*(call("unportgroup", g, switch) for g, _ in groups), call("unvswitch", switch)]
    return make, drop


def _scripts(lab: Lab, site: Site, nodes: tuple[Machine, ...], kind: str) -> list[File]:
    make, drop = _networks(lab, site, kind)
    create, start, eject, remove, discard = list(make), [], [], [], []
    for machine in nodes:
        folder = f"{site.folder}/{machine.name}"
        file = f"{folder}/{machine.name}.vmx"
        create.append(call("mkdir", "-p", "--", folder))
        for number, disk in enumerate(machine.disks):
            path = f"{folder}/{disk}.vmdk"
            create.append(call("import", f"{site.folder}/{disk}.import.vmdk", path) if machine.from_image
                          else call("blank", path, machine.disk_size(number)))  # fmt: skip
            discard.append(call("discard", path))
        if machine.installs:
            medium = f"{site.folder}/{machine.medium}"
            create.append(call("present", medium))
            eject.append(call("eject", machine.name, file))
        create.append(f"place {here(f'{machine.node.name}/{machine.name}.vmx')} {call(file)}")
        create.append(call("register", machine.name, file))
        start.append(call("start", machine.name, file))
        remove.append(call("remove", machine.name, file))
        discard.append(call("rm", "-rf", "--", folder))
    return [
        script("create.sh", f"Makes networks, disks and machines of the lab {lab.name}.", create),
        script("start.sh", "Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first."
               , start),
        script("eject.sh", "Takes the media out of machines that are off.", eject),
        script("remove.sh", "Removes machines, disks and networks of this lab. Media are kept.",
               [*reversed(remove), *discard, *drop]),
    ]  # fmt: skip
