"""A lab under plain Xen: HVM guests of xl, with nested hardware virtualization."""

from __future__ import annotations

import re

from builder.errors import LabError
from builder.hypervisors.l0 import L0, Machine, Site, machines, mib, port
from builder.hypervisors.linux import accesses, bridges, unaccesses, unbridges
from builder.hypervisors.preparing import prepare
from builder.hypervisors.settings import Documented
from builder.hypervisors.shell import call, here, lib, script
from builder.model.lab import Lab
from builder.model.plan import File, Finding
from builder.render.quoting import comment, xl_string

_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MANY = ("hda", "hdc", "hdd")  # hdb is the CD-ROM
_AHCI = ("hda", "hdc", "hdd", "hde", "hdf")


class Xl:
    """`nestlab export --to xl`."""

    l0 = L0(
        target="xl", title="Xen (xl)",
        site=Site(folder="/var/lib/nestlab/{lab}", uplink="xenbr0"),
        buses={"ide": len(_MANY), "sata": len(_AHCI)}, nics={"e1000": 8, "rtl8139": 8},
        image=("raw", "", "img"),
    )  # fmt: skip

    def kind(self, site: Site) -> str:  # noqa: ARG002 - the protocol's
        return "xen"

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:  # noqa: ARG002 - nothing that the table lacks
        return ()

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        nodes = machines(lab)
        configs = []
        for machine in nodes:
            configs.append(File(path=f"{machine.node.name}/host.cfg", content=config(machine, site, lab)))
            if machine.installs:
                text = config(machine, site, lab, installing=True)
                configs.append(File(path=f"{machine.node.name}/install.cfg", content=text))
        return (*_scripts(lab, site, nodes), lib("bridges.sh", "xl.sh"), *prepare(nodes, self.l0.image), *configs)


def config(machine: Machine, site: Site, lab: Lab, *, installing: bool = False) -> str:
    """The xl configuration of a node; while `installing`, with its medium and the documented end at a reboot.

    Raises LabError for a path or bridge that this language cannot carry.
    """
    node = machine.node
    documented = Documented("xen", node.system)
    what = "its installation" if installing else "the host"
    bus = site.bus or documented["disks.bus"]
    lines = [
        comment(f"{node.name} of the lab {lab.name}: {what}. Made by nestlab."),
        f"name = {xl_string(machine.name)}",
        f"type = {xl_string(documented['xl.type'])}",
        f"vcpus = {node.cpus}",
        f"memory = {mib(node.memory)}",
        f"nestedhvm = {documented['xl.nestedhvm']}",
        f"hap = {documented['xl.hap']}",
        f"bios = {xl_string('ovmf' if node.firmware == 'uefi' else 'seabios')}",
        f"stdvga = {documented['xl.stdvga']}",
        f"serial = {xl_string(documented['xl.serial'])}",
        # The disk first: an empty one falls through to the medium.
        'boot = "cd"',
        *(['hdtype = "ahci"'] if bus == "sata" else []),
        _list("disk", _disks(machine, site, documented, installing=installing)),
        _list("vif", _vifs(machine, site, documented, lab)),
        f"on_poweroff = {xl_string(documented['xl.on_poweroff'])}",
        f"on_reboot = {xl_string(documented['xl.on_reboot'] if installing else 'restart')}",
        f"on_crash = {xl_string(documented['xl.on_crash'])}",
    ]
    return "\n".join(lines) + "\n"


def _disks(machine: Machine, site: Site, documented: Documented, *, installing: bool) -> list[str]:
    places = _AHCI if site.bus == "sata" else _MANY if len(machine.disks) > 1 else (documented["xl.disk"],)
    found = [
        f"format=raw, vdev={place}, access=rw, target={site.folder}/{disk}.img"
        for place, disk in zip(places, machine.disks, strict=False)
    ]
    if installing:
        found.append(
            f"format=raw, vdev={documented['xl.cdrom']}, devtype=cdrom, access=ro, "
            f"target={site.folder}/{machine.medium}"
        )
    return found


def _vifs(machine: Machine, site: Site, documented: Documented, lab: Lab) -> list[str]:
    node = machine.node
    kind, model = documented["xl.vif.type"], site.nic or documented["management_nic"]
    cards = [(node.management_mac, site.uplink), *((nic.mac, port(lab, nic)) for nic in node.nics)]
    for _, bridge in cards:
        if not _BRIDGE.fullmatch(bridge):
            raise LabError(f"{bridge!r} is not the name of a bridge", hint="--uplink takes a bridge of dom0, as xenbr0")
    return [f"mac={mac}, type={kind}, model={model}, bridge={bridge}" for mac, bridge in cards]


def _list(key: str, items: list[str]) -> str:
    return "\n".join([f"{key} = [", *(f"    {xl_string(item)}," for item in items), "]"])


def _scripts(lab: Lab, site: Site, nodes: tuple[Machine, ...]) -> list[File]:
    create = [call("mkdir", "-p", "--", site.folder), *bridges(lab), *accesses(lab)]
    start, eject, stop, marks = [], [], [], []
    for machine in nodes:
        node = machine.node.name
        started, mark = f"{site.folder}/{machine.name}.started", f"{site.folder}/{machine.name}.installed"
        for number, disk in enumerate(machine.disks):
            path = f"{site.folder}/{disk}.img"
            known = machine.from_image
            create.append(call("present", path) if known else call("blank", path, machine.disk_size(number)))
        if machine.installs:
            create.append(call("present", f"{site.folder}/{machine.medium}"))
            rest = call(started, mark, *(f"{site.folder}/{disk}.img" for disk in machine.disks))
            start.append(f"{call('install', machine.name)} {here(f'{node}/install.cfg')} {rest}")
            eject.append(call("eject", machine.name, "hdb", mark))
            marks.append(call("rm", "-f", "--", mark))
        start.append(f"{call('up', machine.name)} {here(f'{node}/host.cfg')} {call(started)}")
        stop.append(call("stop", machine.name, started))
    disks = [call("rm", "-f", "--", f"{site.folder}/{disk}.img") for machine in nodes for disk in machine.disks]
    return [
        script("create.sh", f"Makes disks and networks of the lab {lab.name} in dom0.", create),
        script("start.sh", "Starts the nodes. One that installs itself ends with a reboot, which ends its domain "
               "(on_reboot=destroy):\nit is started again from its disk.", start),
        script("eject.sh", "Takes the media out.", eject),
        script("remove.sh", "Removes nodes, disks and networks. Media are kept.",
               [*reversed(stop), *disks, *marks, *unaccesses(lab), *unbridges(lab)]),
    ]  # fmt: skip
