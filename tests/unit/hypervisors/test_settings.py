"""The documented settings: complete, sourced, in the lab file's own spelling, and what the definition carries out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

import pytest

from builder.hypervisors import EXPORTERS, load_exporter
from builder.hypervisors.documented import SETTINGS
from builder.hypervisors.fit import size_of
from builder.hypervisors.kvm import domain_xml
from builder.hypervisors.setting import ANY, Setting
from builder.hypervisors.settings import Documented, settings
from builder.model.layers import DiskLayer, NodeLayer
from builder.systems import SYSTEMS
from tests.support.kvm_cases import Case, disk, nics, node

L0S = ("kvm", "xen", "xcpng", "esxi", "workstation", "hyperv")
LAB_KEYS = {"cpus", "memory", "firmware", "cpu_model", "iommu", "management_nic", "disks.bus", "disks.size"}

# What was asked for, L0 by L0: (key, value, what is done with it).
ASKED: dict[str, set[tuple[str, str, str]]] = {
    "kvm": {
        ("cpu_model", "host-passthrough", "set"), ("cpu_model", "host-model", "allowed"),
        ("firmware", "bios", "advised"), ("memory", "4GiB", "least"),
        ("memory", "8GiB", "advised"), ("disks.bus", "lsilogic", "set"), ("disks.size", "50GiB", "least"),
        ("management_nic", "e1000", "set"), ("kvm.ept", "required", "set"),
        ("kvm.nested.intel", "Y", "set"), ("kvm.nested.amd", "1", "set"), ("iommu", "true", "allowed"),
        ("proxmox.viommu", "intel", "set"),
    },
    "xen": {
        ("xl.type", "hvm", "set"), ("xl.nestedhvm", "1", "set"), ("xl.vif.type", "ioemu", "set"),
        ("management_nic", "e1000", "set"), ("xl.disk", "hdc", "set"), ("xl.cdrom", "hdb", "set"),
        ("xl.stdvga", "0", "set"), ("xl.serial", "pty", "set"), ("xl.on_poweroff", "destroy", "set"),
        ("xl.on_reboot", "destroy", "set"), ("xl.on_crash", "destroy", "set"),
    },
    "xcpng": {
        ("xe.template", "CentOS 7", "set"), ("cpus", "2", "least"), ("memory", "4GiB", "least"),
        ("xe.memory", "fixed", "set"), ("disks.size", "100GB", "advised"), ("xe.nested", "nested-virt", "set"),
        ("xe.nested", "exp-nested-hvm", "set"), ("management_nic", "e1000", "set"),
    },
    "esxi": {
        ("vmx.vvtd.enable", "TRUE", "set"), ("vmx.virtualHW.version.iommu", "14", "set"),
        ("esxi.promiscuous", "accept", "set"), ("vmx.vpmc.enable", "FALSE", "set"), ("vmx.vhv.enable", "TRUE", "set"),
        ("vmx.sockets", "2", "set"), ("disks.size", "60GB", "least"), ("disks.bus", "lsisas1068", "set"),
        ("disks.bus", "nvme", "allowed"), ("disks.bus", "pvscsi", "refused"), ("management_nic", "e1000", "set"),
        ("management_nic", "vmxnet3", "allowed"),
    },
    "workstation": {
        ("vmx.vhv.enable", "TRUE", "set"), ("vmx.hypervisor.cpuid.v0", "FALSE", "set"),
        ("vmx.ethernet.noPromisc", "FALSE", "set"), ("management_nic", "e1000", "set"),
        ("management_nic", "vmxnet3", "allowed"),
    },
    "hyperv": {
        ("hyperv.generation", "1", "set"), ("disks.bus", "ide", "set"), ("management_nic", "legacy", "set"),
        ("hyperv.dynamic_memory", "off", "set"), ("hyperv.ExposeVirtualizationExtensions", "$true", "set"),
        ("hyperv.MacAddressSpoofing", "On", "set"), ("hyperv.build", "14393", "set"), ("hyperv.cpu", "amd", "refused"),
        ("hyperv.cpu", "amd", "allowed"), ("firmware", "uefi", "refused"), ("hyperv.release", "8", "refused"),
        ("hyperv.release", "2012", "refused"), ("hyperv.release", "2012R2", "refused"),
    },
}  # fmt: skip


@pytest.mark.parametrize("l0", L0S)
def test_what_was_asked_for_is_there(l0: str) -> None:
    rows = {(row.key, row.value, row.rule) for row in settings(system="xcpng", hypervisor=l0)}
    assert ASKED[l0] - rows == set()


def test_nothing_is_said_twice() -> None:
    said = Counter((row.hypervisor, row.system, row.key, row.rule, row.value, row.releases) for row in SETTINGS)
    assert [row for row, count in said.items() if count > 1] == []
    assert {row.hypervisor for row in SETTINGS} == set(L0S)
    assert {row.system for row in SETTINGS} <= {*SYSTEMS, ANY}


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: f"{row.hypervisor}-{row.key}-{row.rule}-{row.value}")
def test_each_names_its_source_and_is_spelled_as_its_reader_wants(row: Setting) -> None:
    assert row.document.startswith("https://") and row.section and row.says
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.date)
    assert row.key in LAB_KEYS or row.key.partition(".")[0] in {
        "kvm", "proxmox", "xl", "xe", "vmx", "esxi", "hyperv"
    }  # fmt: skip
    if row.key in ("memory", "disks.size"):
        assert 1 << 30 <= size_of(row.value) <= 1 << 37
    elif row.key in LAB_KEYS and row.hypervisor == "kvm":
        key = row.key.removeprefix("disks.")
        value = row.value == "true" if key == "iommu" else row.value
        layer: Any = NodeLayer.model_validate({key: value}) if key == row.key else None
        layer = layer or DiskLayer.model_validate({"size": "1GiB", key: row.value})
        assert getattr(layer, key) is not None


@pytest.mark.parametrize("target", EXPORTERS)
def test_every_l0_documents_the_controller_and_card_that_it_carries(target: str) -> None:
    exporter = load_exporter(target)
    for release in exporter.l0.releases or ("",):
        kind = exporter.kind(exporter.l0.site.model_copy(update={"release": release}))
        documented = Documented(kind, "debian", release)
        assert documented["disks.bus"] in exporter.l0.buses
        assert documented["management_nic"] in exporter.l0.nics


def test_floors_of_one_system_are_not_those_of_another() -> None:
    assert Documented("esxi", "xcpng").floors()
    assert {row.system for row in Documented("esxi", "debian").floors()} <= {ANY}
    assert settings(system="nothing", hypervisor="xen") == settings(system=ANY, hypervisor="xen")


def test_releases_are_told_apart() -> None:
    def keys(release: str) -> list[str]:
        return [row.value for row in Documented("xcpng", "xcpng", release).find("xe.nested", "set")]

    assert keys("8.2") == ["exp-nested-hvm"] and keys("8.3") == ["nested-virt"]
    assert set(keys("")) == {"exp-nested-hvm", "nested-virt"}
    amd = {release: [row.rule for row in Documented("hyperv", "xcpng", release).find("hyperv.cpu")]
           for release in ("2016", "2022")}  # fmt: skip
    assert amd == {"2016": ["refused"], "2022": ["allowed"]}


def test_a_setting_that_no_document_sets_is_not_made_up() -> None:
    with pytest.raises(KeyError):
        Documented("xen", "xcpng")["firmware"]


def test_the_definition_carries_the_documented_settings_out() -> None:
    documented = Documented("kvm", "xcpng")
    size = DiskLayer.model_validate({"size": documented.find("disks.size")[0].value}).size
    memory = NodeLayer.model_validate({"memory": documented.find("memory", "advised")[0].value}).memory
    case = Case(
        node(
            cpu_model=documented["cpu_model"],
            memory=memory,
            firmware=documented.find("firmware", "advised")[0].value,
            management_nic=documented["management_nic"],
            disks=(disk("root", documented["disks.bus"], size=size),),  # type: ignore[arg-type]
            nics=nics("e1000"),
        ),
        {"accelerator": "kvm"},
    )
    root = ET.fromstring(domain_xml(case.node, case.wire()))
    assert root.find("cpu[@mode='host-passthrough']") is not None
    assert root.findtext("memory") == str(8 * 1024 * 1024)
    assert root.find("devices/controller[@model='lsilogic']") is not None
    assert root.find("devices/interface/model[@type='e1000']") is not None
    assert root.find("os/loader") is None and root.find("os/nvram") is None
    assert size == 50 << 30
