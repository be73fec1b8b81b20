"""Domain definitions: exact text, what must hold in each, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from builder.errors import LabError
from builder.hypervisors.kvm import MANAGEMENT_SLOT, TRANSLATIONS_MIB, domain_xml
from builder.model.lab import NicModel
from builder.model.runtime import MARK_NAMESPACE, InstallMedia
from builder.systems.machine import machine_of
from tests.conftest import GOLDEN
from tests.support.kvm_cases import CASES, Case, disk, disks, nics, node

QEMU_ARG = "{http://libvirt.org/schemas/domain/qemu/1.0}commandline/{http://libvirt.org/schemas/domain/qemu/1.0}arg"


def parsed(case: Case, **changes: Any) -> ET.Element:
    return ET.fromstring(domain_xml(case.node, case.wire(**changes)))


@pytest.mark.parametrize("name", CASES)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    case = CASES[name]
    golden(f"kvm/{name}.xml", domain_xml(case.node, case.wire()))


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in (GOLDEN / "kvm").iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_translations_are_bounded_where_there_are_any(name: str) -> None:
    root = parsed(CASES[name])
    size = root.find("features/tcg/tb-cache")
    assert (size is not None) == (root.get("type") == "qemu")
    assert size is None or (size.get("unit"), size.text) == ("MiB", str(TRANSLATIONS_MIB))


@pytest.mark.parametrize("name", CASES)
def test_every_pci_slot_is_given_and_given_once(name: str) -> None:
    """Else libvirt chooses, and may take the slot of the management card that it does not know of."""
    root = parsed(CASES[name])
    addresses = list(root.iterfind(".//address[@type='pci']"))
    places = [(int(a.get("slot", "0"), 16), int(a.get("function", "0"), 16)) for a in addresses]
    assert max(Counter([*places, (MANAGEMENT_SLOT, 0)]).values()) == 1
    shared = {slot for slot, function in places if function}
    whole = {place[0] for a, place in zip(addresses, places, strict=True) if a.get("multifunction") == "on"}
    assert shared == whole and MANAGEMENT_SLOT not in shared, "the others of a slot are only looked for then"
    devices = [*root.iterfind("devices/interface"), *root.iterfind("devices/disk/target[@bus='virtio']/..")]
    assert all(device.find("address[@type='pci']") is not None for device in devices)
    cards = [int(a.get("slot", "0"), 16) for a in root.iterfind("devices/interface/address")]
    assert all(slot > MANAGEMENT_SLOT for slot in cards)  # it is found first, so it is eth0


def test_no_two_lsi_disks_share_a_controller() -> None:
    """QEMU's stops answering when two of its disks are busy."""
    root = parsed(Case(node(disks=(*disks("lsilogic", 28), disk("sas", "lsisas1068"))), {}))
    used = [a.get("controller") for a in root.iterfind("devices/disk/address[@type='drive']")][:28]
    assert len(set(used)) == 28
    models = {c.get("index"): c.get("model") for c in root.iterfind("devices/controller[@type='scsi']")}
    assert [models[index] for index in used] == ["lsilogic"] * 28 and models["28"] == "lsisas1068"


def test_answers_name_a_sas_disk_as_its_machine_does() -> None:
    """udev names it by its address, and not by its serial number (seen in a guest)."""
    given = node(disks=disks("lsisas1068", 2))
    addresses = [element.text for element in parsed(Case(given, {})).iterfind("devices/disk/wwn")]
    paths = [disk.path for disk in machine_of(given, "by-id", {}).disks]
    assert paths == [f"/dev/disk/by-id/wwn-0x{address}" for address in addresses]


@pytest.mark.parametrize("name", CASES)
def test_addresses_and_boot_orders_and_names_are_unique(name: str) -> None:
    root = parsed(CASES[name])
    for path, key in (
        (".//address[@type='drive']", lambda e: (e.get("controller"), e.get("bus"), e.get("target"), e.get("unit"))),
        (".//boot", lambda e: e.get("order")),
        (".//disk/target", lambda e: e.get("dev")),
        (".//disk/wwn", lambda e: e.text),
    ):
        counted = Counter(
            (element.tag, key(element)) if "address" not in path else (_bus(root, element), key(element))
            for element in root.iterfind(path)
        )
        assert all(count == 1 for count in counted.values()), (path, counted)


def _bus(root: ET.Element, address: ET.Element) -> str | None:
    target = next(d.find("target") for d in root.iterfind("devices/disk") if address in list(d))
    return None if target is None else target.get("bus")


@pytest.mark.parametrize("name", CASES)
def test_only_what_may_differ_between_two_starts_differs(name: str) -> None:
    """A saved memory state fits a start with other ports, paths, name and uuid: nothing that the guest sees moved."""
    case = CASES[name]
    one = ET.tostring(_without_wiring(parsed(case)))
    other = parsed(case, folder="/elsewhere", port=30000, lab="fork", domain="fork-n1", uuid="x", expires_at=0)
    assert ET.tostring(_without_wiring(other)) == one


def _without_wiring(root: ET.Element) -> ET.Element:
    for path in ("name", "uuid", "metadata", "os/kernel", "os/initrd", "os/nvram"):
        for element in root.iterfind(path):
            element.clear()
    for path in ("devices/disk/source", "devices/interface/source", "devices/serial/source", "devices/serial/log"):
        for element in root.iterfind(path):
            element.clear()
    for argument in root.iterfind(QEMU_ARG):
        if "hostfwd" in argument.get("value", ""):
            argument.clear()
    return root


def test_emulation_has_its_own_cpu_whatever_the_file_says() -> None:
    for name in ("host-passthrough", "host-model"):
        case = Case(node(cpu_model=name), {})
        cpu = parsed(case).find("cpu")
        assert cpu is not None and cpu.attrib == {"mode": "maximum", "check": "none"}
        assert [feature.attrib for feature in cpu] == [
            {"policy": "disable", "name": "smap"}, {"policy": "disable", "name": "xsave"}
        ]  # fmt: skip
        plain = parsed(Case(node(cpu_model=name, dom0=False), {})).find("cpu")
        assert plain is not None and [feature.get("name") for feature in plain] == ["smap"]
        kvm = parsed(case, accelerator="kvm")
        assert kvm.get("type") == "kvm" and kvm.find(f"cpu[@mode='{name}']") is not None


@pytest.mark.parametrize("name", CASES)
def test_an_iommu_has_its_interrupts_remapped_and_nothing_else_has_them(name: str) -> None:
    """libvirt wants QEMU's own I/O APIC for it. Every card is on the root bus, where VT-d tells them apart."""
    root = parsed(CASES[name])
    driver, ioapic = root.find("devices/iommu[@model='intel']/driver"), root.find("features/ioapic")
    assert (driver is not None) == (ioapic is not None) == CASES[name].node.iommu
    if driver is not None and ioapic is not None:
        assert driver.attrib == {"intremap": "on", "caching_mode": "on"} and ioapic.attrib == {"driver": "qemu"}
        assert {address.get("bus") for address in root.iterfind("devices/interface/address")} == {"0x00"}


def test_the_mark() -> None:
    mark = parsed(CASES["tcg-bios-lsi"]).find(f"metadata/{{{MARK_NAMESPACE}}}mark")
    assert mark is not None
    assert mark.attrib == {"lab": "demo", "node": "n1", "expires": "1800000000"}


def test_boot_order_is_disks_then_medium() -> None:
    root = parsed(CASES["tcg-bios-ide-cdrom"])
    order = {
        source.get("file"): boot.get("order")
        for source, boot in zip(root.iterfind("devices/disk/source"), root.iterfind("devices/disk/boot"), strict=True)
    }
    assert order == {"/lab/d0.qcow2": "1", "/lab/d1.qcow2": "2", "/lab/d2.qcow2": "3", "/lab/install.iso": "4"}
    assert root.findtext("on_reboot") == "destroy"


@pytest.mark.parametrize("name", ["tcg-bios-install", "tcg-uefi-q35-install"])
def test_an_installation_starts_from_its_medium_whatever_is_on_the_disks(name: str) -> None:
    root = parsed(CASES[name])
    drives = {disk.find("source").get("file"): disk for disk in root.iterfind("devices/disk")}  # type: ignore[union-attr]
    order = {path: disk.find("boot") for path, disk in drives.items()}
    assert {path: boot.get("order") for path, boot in order.items() if boot is not None and path != ""} == {
        "/lab/medium.qcow2": "1",
        **{f"/lab/{disk.name}.qcow2": str(number) for number, disk in enumerate(CASES[name].node.disks, 2)},
    }
    assert drives["/lab/medium.qcow2"].find("driver[@type='qcow2']") is not None
    assert drives["/lab/install.iso"].find("readonly") is not None
    assert root.find("devices/video/model[@type='vga']") is not None
    assert parsed(CASES[name], install=None).find("devices/disk[@device='cdrom']") is None


def test_the_alias_of_the_machine_is_used_where_no_version_is_given() -> None:
    assert parsed(CASES["tcg-bios-lsi"], machine_type=None).find("os/type").get("machine") == "pc"  # type: ignore[union-attr]


_MANY: tuple[NicModel, ...] = ("e1000",) * 13


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine": "q35", "disks": disks("ide", 1)}, "machine q35 has no IDE"),
        ({"disks": disks("ide", 4)}, "room for 3 IDE disks"),
        ({"disks": disks("sata", 6)}, "more than 5 SATA"),
        ({"disks": disks("virtio", 11)}, "more than 10 virtio"),
        ({"disks": disks("lsilogic", 33)}, "more SCSI disks than 32 controllers"),
        ({"nics": nics(*_MANY)}, "more than 12 cards"),
        ({"disks": (disk("a", "ide", "4Kn"),)}, "512-byte sectors only"),
        ({"disks": (disk("a", "sata", "4Kn"),)}, "512-byte sectors only"),
        ({"firmware": "uefi"}, "no OVMF given"),
        ({"iommu": True, "disks": disks("ide", 1)}, "machine pc has no IOMMU"),
        ({"iommu": True, "machine": "q35", "disks": disks("lsilogic", 1)}, "53C895A does not work behind an IOMMU"),
    ],
)
def test_what_the_machine_cannot_have_is_refused(changes: dict[str, Any], message: str) -> None:
    case = Case(node(**changes), {})
    with pytest.raises(LabError, match=message) as caught:
        domain_xml(case.node, case.wire())
    assert caught.value.hint or "SCSI" in message


@pytest.mark.parametrize("changes", [{"disks": disks("ide", 3)}, {"machine": "q35", "disks": disks("sata", 5)}])
def test_a_volume_beside_the_medium_needs_a_place(changes: dict[str, Any]) -> None:
    case = Case(node(**changes), {})
    media = InstallMedia(medium="/lab/medium.qcow2", volume="/lab/volume.iso")
    assert domain_xml(case.node, case.wire(install=media.model_copy(update={"volume": None})))
    with pytest.raises(LabError, match="beside the medium and the volume"):
        domain_xml(case.node, case.wire(install=media))


def test_a_wiring_of_another_node_is_refused() -> None:
    case = CASES["tcg-bios-lsi"]
    with pytest.raises(LabError, match="does not fit the node: 0 disks, 1 cards"):
        domain_xml(case.node, case.wire(disks=()))
