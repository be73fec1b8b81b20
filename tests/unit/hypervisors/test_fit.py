"""What an L0 cannot host is refused, and what its documents advise against is told, with document and section."""

from __future__ import annotations

from typing import Any

import pytest

from builder.hypervisors import EXPORTERS, load_exporter
from builder.hypervisors.documented import SETTINGS
from builder.hypervisors.fit import CODES, check, quote, size_of
from builder.hypervisors.setting import Setting
from builder.model.lab import Lab, Network
from builder.model.plan import Finding
from builder.model.units import GIB
from tests.support.exports import cards, installed, lab, place, two_nodes
from tests.support.nodes import debian_node, disk
from tests.support.xcpng_guide import GUIDE, PASSAGES


def findings(target: str, made: Lab, **site: Any) -> tuple[Finding, ...]:
    exporter = load_exporter(target)
    return check(exporter, made, place(exporter, made, **site))


def disks(count: int, **changes: Any) -> tuple[Any, ...]:
    return tuple(disk(f"d{n}", size=100 * GIB, **changes) for n in range(count))


# target, node, site, code, severity, words of the message.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str, str, str]] = {
    "pvscsi on ESXi": ("vmx", {}, {"bus": "pvscsi"}, "l0-refused", "error", "\"PVSCSI controller won't work\""),
    "pvscsi on Workstation": (
        "vmx", {}, {"bus": "pvscsi", "release": "workstation", "folder": "/home/me/vm"}, "l0-refused", "error",
        "section 'Nested XCP-ng using VMware, XCP-ng virtual machine settings'",
    ),
    "uefi on Hyper-V": ("hyperv", {"firmware": "uefi"}, {}, "l0-refused", "error", "generation 1 has a BIOS only"),
    "uefi on libvirt": (
        "libvirt", {"firmware": "uefi", "disks": disks(1, bus="ide")}, {}, "l0-advised", "warning",
        "BIOS rather than UEFI",
    ),
    "uefi on Proxmox": (
        "proxmox", {"firmware": "uefi", "disks": disks(1, bus="ide")}, {}, "l0-advised", "warning",
        "BIOS rather than UEFI",
    ),
    "amd on Server 2016": (
        "hyperv", {}, {"cpu": "amd", "release": "2016"}, "l0-refused", "error", "an Intel CPU is required"
    ),
    "amd on an unknown Windows": ("hyperv", {}, {"cpu": "amd"}, "l0-refused", "error", "Since Windows Server 2022"),
    "Server 2012 R2": ("hyperv", {}, {"release": "2012R2"}, "l0-refused", "error", "Windows Server 2012/2012 R2"),
    "Windows 8": ("hyperv", {}, {"release": "8"}, "l0-refused", "error", "not available with Windows 8 and"),
    "a Windows nobody knows": ("hyperv", {}, {"release": "2031"}, "l0-release", "error", "unknown release 2031"),
    "a release where none are told apart": ("xl", {}, {"release": "4.17"}, "l0-release", "error", "unknown release"),
    "the usual switch on Server 2019": (
        "hyperv", {}, {"release": "2019"}, "l0-uplink", "warning",
        "section 'Differences between Hyper-V on Windows and Hyper-V on Windows Server', 2018-04-07",
    ),
    "the usual switch on Server 2025": (
        "hyperv", {}, {"release": "2025"}, "l0-uplink", "warning", "Windows Server 2025 has no Default Switch"
    ),
    "the usual switch on Windows 10": (
        "hyperv", {}, {"release": "10"}, "l0-uplink", "warning", '"NAT Default Switch (since Windows 10 1709)"'
    ),
    "10 GB on ESXi": ("vmx", {"disks": (disk(size=10 * GIB),)}, {}, "l0-floor", "error", "60GB is the least"),
    "10 GB on KVM": ("libvirt", {"disks": (disk(size=10 * GIB),)}, {}, "l0-floor", "error", "50GiB is the least"),
    "50 GB on XCP-ng": ("xe", {"disks": (disk(size=50 * GIB),)}, {}, "l0-advised", "warning", "100GB is advised"),
    "no disk": ("vmx", {"disks": ()}, {}, "l0-floor", "error", "no disk where 60GB"),
    "2 GiB on Xen": ("xl", {"memory": 2 * GIB}, {}, "l0-floor", "error", "memory: 2GiB where 4GiB"),
    "2 GiB on Hyper-V": ("hyperv", {"memory": 2 * GIB}, {}, "l0-floor", "error", '"4GB minimum"'),
    "4 GiB on KVM": ("libvirt", {"memory": 4 * GIB}, {}, "l0-advised", "warning", "8GiB is advised"),
    "one processor on XCP-ng": ("xe", {"cpus": 1}, {}, "l0-floor", "error", '"minimum 2 vCPU and 4GB RAM"'),
    "three processors on VMware": ("vmx", {"cpus": 3}, {}, "l0-cpus", "warning", "two documented sockets"),
    "four disks on xl": ("xl", {"disks": disks(4)}, {}, "l0-full", "error", "4 disks, and ide"),
    "four disks on Hyper-V": ("hyperv", {"disks": disks(4)}, {}, "l0-full", "error", "4 disks, and ide"),
    "four cards on Hyper-V": ("hyperv", {"nics": cards({}, {}, {}, {})}, {}, "l0-full", "error", "5 cards"),
    "SCSI on Hyper-V": ("hyperv", {}, {"bus": "scsi"}, "l0-refused", "error", "have the necessary drivers\""),
    "a controller nobody has": ("xl", {}, {"bus": "megasas"}, "l0-choice", "error", "has no megasas for disks"),
    "a card nobody has": ("hyperv", {}, {"nic": "vmxnet3"}, "l0-choice", "error", "has no vmxnet3 for cards"),
    "a card no document names": (
        "libvirt", {"management_nic": "rtl8139"}, {}, "l0-advised", "warning", "no document names rtl8139"
    ),
    "access port on XCP-ng": ("xe", {"nics": cards({"vlan": 7})}, {}, "l0-vlan", "error", "physical networks only"),
    "access port on Workstation": (
        "vmx", {"nics": cards({"vlan": 7})}, {"release": "workstation", "folder": "/vm"}, "l0-vlan", "error",
        "no access ports",
    ),
    "three cards with UEFI on XCP-ng": (
        "xe", {"firmware": "uefi", "nics": cards({}, {})}, {}, "l0-full", "error", "shows 2 with UEFI"
    ),
    "a datastore on Workstation": ("vmx", {}, {"release": "workstation"}, "l0-choice", "error", "no datastores"),
    "half a GiB on Proxmox": (
        "proxmox", {"disks": (disk(size=100 * GIB + (1 << 29)),)}, {}, "l0-choice", "error", "whole GiB"
    ),
    "a long name on Proxmox": ("proxmox", {"name": "n" * 32}, {"lab": "l" * 31}, "l0-choice", "error", "(63)"),
    "sectors of 4096 bytes on ESXi": (
        "vmx", {"disks": (disk("d", size=100 * GIB, sector="4Kn"),)}, {}, "l0-lost", "warning", "4Kn sectors"
    ),
    "large frames on Hyper-V": ("hyperv", {"nics": cards({})}, {}, "l0-lost", "warning", "more than 1500 bytes"),
    "an IOMMU on xl": ("xl", {"iommu": True, "machine": "q35"}, {}, "l0-lost", "warning", "no document gives"),
    "an IOMMU on XCP-ng": ("xe", {"iommu": True, "machine": "q35"}, {}, "l0-lost", "warning", "no document gives"),
    "an IOMMU on Hyper-V": ("hyperv", {"iommu": True, "machine": "q35"}, {}, "l0-lost", "warning", "no document gives"),
    "an IOMMU on Proxmox": (
        "proxmox", {"iommu": True, "machine": "q35", "disks": disks(1, bus="sata")}, {}, "l0-lost", "warning",
        "behind one PCI bridge",
    ),
    "LSI chosen behind an IOMMU": (
        "libvirt", {"iommu": True, "machine": "q35", "disks": disks(1, bus="sata")}, {"bus": "lsilogic"}, "l0-iommu",
        "error", "lsilogic does not work behind an IOMMU",
    ),
    "answers for vda on xl": ("xl", {"disks": disks(1, bus="virtio")}, {}, "l0-names", "warning", "name disks vd"),
    "answers for sda on NVMe": ("vmx", {}, {"bus": "nvme"}, "l0-names", "warning", "shows nvme"),
    "answers by id": ("xl", {"install": {"disk_names": "by-id"}}, {}, "l0-names", "warning", "by id"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_findings(name: str) -> None:
    target, node, site, code, severity, words = CASES[name]
    made = lab(installed(**node), name=site.get("lab", "demo"))
    choices = {key: value for key, value in site.items() if key != "lab"}
    found = [one for one in findings(target, made, **choices) if one.code == code]
    assert [one.severity for one in found if words in one.message] == [severity], found
    if code in ("l0-refused", "l0-floor"):
        quoted = next(one.message for one in found if words in one.message)
        said = "in short: generation 1 " if name == "uefi on Hyper-V" else 'the document says: "'
        assert said in quoted and "https://" in quoted and "section '" in quoted


@pytest.mark.parametrize(
    ("target", "site"),
    [(target, {}) for target in EXPORTERS]
    + [("vmx", {"release": "workstation", "folder": "/home/me/vm"}), ("vmx", {"nic": "vmxnet3"}),
       ("hyperv", {"cpu": "amd", "release": "2022", "uplink": "out"}), ("hyperv", {"cpu": "intel", "release": "11"}),
       ("hyperv", {"cpu": "intel", "release": "2016", "uplink": "out"}), ("hyperv", {"release": "10", "uplink": "out"}),
       ("xe", {"release": "8.2"}), ("xl", {"bus": "sata"})],
)  # fmt: skip
def test_what_fits_is_let_through(target: str, site: dict[str, Any]) -> None:
    made = two_nodes()
    if target == "hyperv":
        made = made.model_copy(update={"networks": (Network(name="lan"),)})
    assert findings(target, made, **site) == ()


def test_libvirt_has_the_lab_files_sectors() -> None:
    assert findings("libvirt", lab(installed(disks=disks(1, sector="4Kn")))) == ()


def test_floors_of_xcpng_do_not_bind_others() -> None:
    assert findings("vmx", lab(debian_node(disks=(disk(size=10 * GIB),)))) == ()


def test_libvirt_shows_disks_by_the_ids_that_up_gives() -> None:
    by_id = lab(installed(install={"disk_names": "by-id"}))
    assert findings("libvirt", by_id) == ()
    assert [one.code for one in findings("libvirt", by_id, bus="lsisas1068")] == ["l0-advised", "l0-names"]


def test_every_code_is_explained_and_used() -> None:
    assert {case[3] for case in CASES.values()} == set(CODES) - {"l0-direct", "l0-pool-address", "l0-one-pool"}


def test_errors_come_first() -> None:
    found = findings("hyperv", lab(installed(firmware="uefi", memory=2 * GIB, install={"disk_names": "by-id"})))
    assert [one.severity for one in found] == ["error", "error", "warning"]


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.words], ids=lambda row: f"{row.hypervisor}-{row.value}")
def test_what_is_quoted_stands_in_the_document(row: Setting) -> None:
    assert row.document == GUIDE and row.words in PASSAGES[row.section]
    assert f'the document says: "{row.words}" ({GUIDE}' in quote(row)


def test_what_is_not_quoted_has_no_quotation_marks() -> None:
    """Rows that tell in our words: their own marks are those of values, as in xl's."""
    told = [row for row in SETTINGS if not row.words and row.rule in ("refused", "least", "advised")]
    assert {row.key for row in told} == {"firmware", "hyperv.uplink"}
    assert all(quote(row).startswith("in short: ") and '"' not in quote(row) for row in told)


def test_documents_count_in_both_units() -> None:
    assert (size_of("60GB"), size_of("50GiB")) == (60_000_000_000, 50 * GIB)
