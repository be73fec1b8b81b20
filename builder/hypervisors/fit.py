"""Whether an L0 can host a lab: the nodes against the documented settings, the source quoted with each finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from builder.hypervisors.l0 import L0, Exporter, Site
from builder.hypervisors.setting import Setting
from builder.hypervisors.settings import Documented
from builder.model.lab import Lab, MediumSource, Node
from builder.model.plan import Finding
from builder.model.units import GIB, parse_size, show_size

CODES = {
    "l0-refused": "The documents say that this L0 cannot run the node so. The message names document and section.",
    "l0-floor": "The documents ask for more memory, disk or processors under this L0 than the node has.",
    "l0-advised": "The documents advise otherwise for this L0; it may work.",
    "l0-choice": "This L0 has no such disk controller or network card.",
    "l0-full": "The machine has more disks or cards than its controllers carry on this L0.",
    "l0-vlan": "This L0 cannot make access ports (`vlan:`) on a network without a physical card. Trunks go through.",
    "l0-release": "This release of the L0 is not one that its settings are known for.",
    "l0-cpus": "Processors that cannot be spread as documented.",
    "l0-lost": "The lab file asks for what machines of this L0 do not have; they are made without it.",
    "l0-iommu": "Disks on the LSI 53C895A do not work behind an IOMMU (measured): this controller reads its program "
    "from its own memory by DMA, which VT-d refuses.",
    "l0-names": "The answers on the node's medium name disks as the lab file's controllers show them; on this L0 they "
    "have other names.",
    "l0-direct": "The node is a kernel in memory that the emulator starts itself: it has no disk to move elsewhere.",
    "l0-uplink": "The network for the management cards is not one that every host of this release has.",
    "l0-pool-address": "xcp-ng-tests is told the master of a pool alone, and reaches the other hosts at the address "
    "that XAPI has of them: each needs an address that it answers at.",
    "l0-one-pool": "Tests that move guests between pools need two pools: two names after --hosts.",
}
_DECIMAL_GB = 10**9
_LINUX_NAMES = {"virtio": "vd", "nvme": "nvme"}  # all others: sd


def size_of(text: str) -> int:
    """Bytes of a documented size: `60GB` as well as `50GiB`."""
    return int(text[:-2]) * _DECIMAL_GB if text.endswith("GB") else parse_size(text)


def check(exporter: Exporter, lab: Lab, site: Site) -> tuple[Finding, ...]:
    """Everything that speaks against running the lab there, errors first."""
    l0, kind = exporter.l0, exporter.kind(site)
    found = [*_host(l0, kind, site), *exporter.check(lab, site)]
    for node in lab.nodes:
        documented = Documented(kind, node.system, site.release)
        found += [*_firmware(l0, documented, node), *_floors(documented, node), *_devices(l0, documented, node, site)]
        found += [*_vlans(l0, node), *_names(l0, documented, node, site)]
        found += [*_lost(l0, lab, node), *_iommu(l0, node, site)]
    return tuple(sorted(found, key=lambda one: one.severity != "error"))


def quote(row: Setting) -> str:
    """Why, with the source. Between quotation marks stands only what can be found in the document."""
    against = f" Against it: {row.contradicted}" if row.contradicted else ""
    said = f'the document says: "{row.words}"' if row.words else f"in short: {row.says}"
    return f"{said} ({row.source}).{against}"


def _host(l0: L0, kind: str, site: Site) -> Iterator[Finding]:
    rows = Documented(kind, "", site.release)
    for row in rows.find(f"{l0.target}.release", "refused"):
        if row.value == site.release:
            yield Finding(code="l0-refused", severity="error", message=f"{l0.title} {site.release}: {quote(row)}")
            return
    if site.release and site.release not in l0.releases:
        known = ", ".join(l0.releases) or "none are told apart"
        yield Finding(
            code="l0-release", severity="error", message=f"{l0.title}: unknown release {site.release}",
            hint=f"known: {known}",
        )  # fmt: skip
        return
    for row in rows.find(f"{l0.target}.cpu", "refused"):
        if row.value == site.cpu:
            yield Finding(code="l0-refused", severity="error", message=f"{l0.title} on {site.cpu}: {quote(row)}",
                          hint="say which release it is with --l0")  # fmt: skip


def _firmware(l0: L0, documented: Documented, node: Node) -> Iterator[Finding]:
    refused = [row for row in documented.find("firmware", "refused") if row.value == node.firmware]
    if refused:
        yield Finding(code="l0-refused", severity="error", hint="firmware: bios", where=node.name,
                      message=f"{node.name}: {l0.title} cannot start it by {node.firmware.upper()}: "
                      f"{quote(refused[0])}")  # fmt: skip
    for row in documented.floors():
        if row.key == "firmware" and row.value != node.firmware:
            yield Finding(code="l0-advised", severity="warning", hint=f"firmware: {row.value}", where=node.name,
                          message=f"{node.name}: firmware {node.firmware}: {quote(row)}")  # fmt: skip


def _floors(documented: Documented, node: Node) -> Iterator[Finding]:
    sizes = {"memory": node.memory, "disks.size": node.disks[0].size if node.disks else 0}
    for row in documented.floors():
        if row.key == "cpus":
            have, want, said = node.cpus, int(row.value), str(node.cpus)
        elif row.key in sizes:
            have, want = sizes[row.key], size_of(row.value)
            said = show_size(have) if have else "no disk"
        else:
            continue
        if have < want:
            error = row.rule == "least"
            yield Finding(
                code="l0-floor" if error else "l0-advised", severity="error" if error else "warning", where=node.name,
                message=f"{node.name}: {row.key}: {said} where {row.value} "
                f"{'is the least' if error else 'is advised'}: {quote(row)}",
                hint=f"{row.key.rpartition('.')[2]}: {_lab_value(row)}",
            )  # fmt: skip


def _lab_value(row: Setting) -> str:
    """A documented floor as a lab file takes it."""
    return f"{-(-size_of(row.value) // GIB)}GiB" if row.value.endswith("GB") else row.value


def _devices(l0: L0, documented: Documented, node: Node, site: Site) -> Iterator[Finding]:
    models = [node.management_nic, *(nic.model for nic in node.nics)]
    buses = _chosen(l0, site.bus, documented["disks.bus"], [disk.bus for disk in node.disks])
    for bus, count in buses.items():
        yield from _device(l0, documented, node, ("disks.bus", bus, "disks", count), l0.buses)
    for model in _chosen(l0, site.nic, documented["management_nic"], models):
        # A machine has room for so many cards, of whatever model.
        yield from _device(l0, documented, node, ("management_nic", model, "cards", len(models)), l0.nics)


def _chosen(l0: L0, choice: str | None, usual: str, own: Sequence[str]) -> Counter[str]:
    """How many there will be of each kind: of what was chosen, of the node's own, or of the documented."""
    if choice is None and l0.own_devices:
        return Counter(own)
    return Counter({choice or usual: len(own)})


def _device(
    l0: L0, documented: Documented, node: Node, what: tuple[str, str, str, int], carried: Mapping[str, int]
) -> Iterator[Finding]:
    """`what`: the key of the setting, the kind of device, what they are called, and how many."""
    key, value, called, count = what
    refused = [row for row in documented.find(key, "refused") if row.value == value]
    allowed = documented.find(key, "set", "allowed")
    names = list(dict.fromkeys(row.value for row in allowed))
    if refused:
        yield Finding(code="l0-refused", severity="error", where=node.name, hint=f"documented: {', '.join(names)}",
                      message=f"{node.name}: {value} on {l0.title}: {quote(refused[0])}")  # fmt: skip
    elif value not in carried:
        yield Finding(code="l0-choice", severity="error", where=node.name, hint=f"there is: {', '.join(carried)}",
                      message=f"{node.name}: {l0.title} has no {value} for {called}")  # fmt: skip
    elif count > carried[value]:
        room = [f"{name} ({most})" for name, most in carried.items() if most >= count]
        yield Finding(code="l0-full", severity="error", where=node.name,
                      message=f"{node.name}: {count} {called}, and {value} of {l0.title} carries {carried[value]}",
                      hint=f"choose {' or '.join(room)}" if room else f"fewer {called}")  # fmt: skip
    elif value not in names and any(row in documented.own for row in allowed):
        yield Finding(code="l0-advised", severity="warning", where=node.name, hint=f"documented: {', '.join(names)}",
                      message=f"{node.name}: no document names {value} for {called} on {l0.title}")  # fmt: skip


def _vlans(l0: L0, node: Node) -> Iterator[Finding]:
    tagged = Counter(nic.network for nic in node.nics if nic.vlan is not None)
    for network in tagged if not l0.private_vlans else ():
        yield Finding(code="l0-vlan", severity="error", where=node.name,
                      message=f"{node.name}: an access port on network {network}: {l0.title} tags frames of physical "
                      "networks only", hint="give the card `trunk:` and tag in the guest")  # fmt: skip


def _lost(l0: L0, lab: Lab, node: Node) -> Iterator[Finding]:
    """What has no counterpart there."""
    for disk in node.disks if not l0.sectors else ():
        if disk.sector != "512n":
            yield Finding(code="l0-lost", severity="warning", where=node.name, hint="leave `sector:` out",
                          message=f"{node.name}: disk {disk.name} is to have {disk.sector} sectors; on {l0.title} it "
                          "has the L0's own, of 512 bytes")  # fmt: skip
    large = {network.name for network in lab.networks if network.mtu > l0.most_mtu}
    for name in sorted(large & {nic.network for nic in node.nics}):
        yield Finding(code="l0-lost", severity="warning", where=node.name, hint=f"mtu: {l0.most_mtu}",
                      message=f"{node.name}: network {name} is to carry frames of more than {l0.most_mtu} bytes, and "
                      f"the documented card of {l0.title} does not")  # fmt: skip


def _iommu(l0: L0, node: Node, site: Site) -> Iterator[Finding]:
    """A lab file with a disk on lsilogic is refused when it is loaded; here it may have been chosen."""
    if node.iommu and not l0.iommu:
        yield Finding(code="l0-lost", severity="warning", where=node.name, hint="leave `iommu:` out",
                      message=f"{node.name}: it is to have an IOMMU, and no document gives machines of {l0.title} one: "
                      "Xen on it cannot give PCI devices to guests")  # fmt: skip
    if node.iommu and l0.own_devices and site.bus == "lsilogic":
        yield Finding(code="l0-iommu", severity="error", where=node.name, hint="--bus sata",
                      message=f"{node.name}: lsilogic does not work behind an IOMMU: this controller reads its program "
                      "from its own memory by DMA, which VT-d refuses")  # fmt: skip


def _names(l0: L0, documented: Documented, node: Node, site: Site) -> Iterator[Finding]:
    """Answers are made before the move: what they call a disk has to be true there, too."""
    if not isinstance(node.source, MediumSource) or not node.disks:
        return
    own = node.disks[0].bus if l0.own_devices else documented["disks.bus"]
    there = site.bus or own
    shown = "nvme" if l0.target == "xe" and node.firmware == "uefi" else _LINUX_NAMES.get(there, "sd")
    written = _LINUX_NAMES.get(node.disks[0].bus, "sd")
    if shown != written:
        yield Finding(code="l0-names", severity="warning", where=node.name,
                      message=f"{node.name}: its answers name disks {written}..., and {l0.title} shows {shown}...",
                      hint="give the disks a bus of that kind in the lab file before the medium is built")  # fmt: skip
    # libvirt is given the very serials that `up` gives.
    same = l0.target == "libvirt" and site.bus is None
    if node.install.get("disk_names") == "by-id" and not same:
        yield Finding(code="l0-names", severity="warning", where=node.name, hint="leave disk_names out of install:",
                      message=f"{node.name}: its answers name disks by id, as QEMU makes them; {l0.title} has "
                      "others")  # fmt: skip
