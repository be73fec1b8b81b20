"""A lab on XCP-ng or XenServer: calls of xe."""

from __future__ import annotations

from builder.hypervisors.l0 import L0, Machine, Site, machines, network_name
from builder.hypervisors.preparing import prepare
from builder.hypervisors.settings import Documented
from builder.hypervisors.shell import call, lib, script
from builder.model.lab import Lab
from builder.model.plan import File, Finding
from builder.render.quoting import shell

_DRIVE = 3  # the last of the four devices that a BIOS sees
_DISKS = (0, 1, 2)
_UEFI_CARDS = 2


class Xe:
    """`nestlab export --to xe`."""

    l0 = L0(
        target="xe", title="XCP-ng (xe)",
        site=Site(folder="/root/nestlab/{lab}", uplink="xenbr0", storage="Local storage"),
        buses={"ide": len(_DISKS)}, nics={"e1000": 7, "rtl8139": 7}, releases=("8.2", "8.3"), private_vlans=False,
        image=("vpc", "subformat=dynamic,force_size=on", "vhd"),
    )  # fmt: skip

    def kind(self, site: Site) -> str:  # noqa: ARG002 - the protocol's
        return "xcpng"

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:  # noqa: ARG002 - the protocol's
        """With UEFI only so many cards are emulated: a host without PV drivers, as any nested Xen is, sees no more."""
        return tuple(
            Finding(
                code="l0-full", severity="error", where=node.name, hint="firmware: bios, or fewer cards",
                message=f"{node.name}: {1 + len(node.nics)} cards, and {self.l0.title} shows {_UEFI_CARDS} with UEFI",
            )
            for node in lab.nodes if node.firmware == "uefi" and 1 + len(node.nics) > _UEFI_CARDS
        )  # fmt: skip

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        nodes = machines(lab)
        return (*_scripts(lab, site, nodes), lib("xe.sh"), *prepare(nodes, self.l0.image))


def nested_keys(release: str) -> tuple[str, ...]:
    """The keys of `platform` that turn nesting on: of one release, or of all when it is not known."""
    return tuple(row.value for row in Documented("xcpng", "xcpng", release).find("xe.nested", "set"))


def machine_calls(machine: Machine, lab: Lab, site: Site) -> list[str]:
    """The calls that make one machine, in order."""
    node = machine.node
    lines = [call("begin", machine.name, node.cpus, node.memory, node.firmware)]
    for number, (disk, device) in enumerate(zip(machine.disks, _DISKS, strict=False)):
        image = [f"{site.folder}/{disk}.vhd"] if machine.from_image else []
        lines.append(call("disk", disk, machine.disk_size(number), device, *image))
    if machine.installs:
        lines.append(call("drive", machine.medium, _DRIVE))
    lines.append(f'card "$UPLINK" {call(0, node.management_mac)}')
    for number, nic in enumerate(node.nics, 1):
        lines.append(f"net=$(lab_network {shell(network_name(lab, nic.network))})")
        lines.append(f'card "$net" {call(number, nic.mac)}')
    return [*lines, "ready"]


def _scripts(lab: Lab, site: Site, nodes: tuple[Machine, ...]) -> list[File]:
    documented = Documented("xcpng", "xcpng", site.release)
    mine = [f"LAB={shell(lab.name)}"]
    create = [
        *mine,
        f"TEMPLATE={shell(documented['xe.template'])}",
        f"NIC={shell(site.nic or documented['management_nic'])}",
        f"NESTED={shell(' '.join(nested_keys(site.release)))}",
        f"SR=$({call('sr_of', site.storage, *(['usual'] if site.storage == Xe.l0.site.storage else []))})",
        f"UPLINK=$(uplink {shell(site.uplink)})",
        *(call("network", network_name(lab, network.name), network.mtu) for network in lab.networks),
    ]
    start, eject, remove, discard = [*mine], [*mine], [*mine], []
    for machine in nodes:
        create += ["", *machine_calls(machine, lab, site)]
        start.append(call("start", machine.name))
        if machine.installs:
            eject.append(call("eject", machine.name))
        discard += [call("discard", disk) for disk in machine.disks]
    finish = [*mine, *(call("finish", machine.name) for machine in nodes if machine.installs)]
    remove += [call("remove", machine.name) for machine in reversed(nodes)]
    networks = [call("unnetwork", network_name(lab, network.name)) for network in lab.networks]
    return [
        script("create.sh", f"Makes machines, disks and networks of the lab {lab.name} in the pool.", create),
        script("start.sh", "Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first."
               , start),
        script("finish.sh", "For installers that switch the machine off at their end: waits for that, takes the "
               "medium out,\nand starts the node again. After a reboot nothing has to be done.", finish),
        script("eject.sh", "Takes the media out.", eject),
        script("remove.sh", "Removes machines, disks and networks of this lab, by their mark. Media are kept.",
               [*remove, *discard, *networks]),
    ]  # fmt: skip
